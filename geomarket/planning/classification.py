"""Neighbourhood types of a plan: fitted anew, or a frozen scheme applied unchanged; with the planner's corrections."""

from __future__ import annotations

from dataclasses import replace

from geomarket.errors import GeomarketError, SettingsError
from geomarket.hexes import Hexes
from geomarket.market import NeighbourhoodFiles, PlanSettings
from geomarket.neighbourhoods import NeighbourhoodClassifier, Neighbourhoods, classify

__all__ = ["SCHEME_FILE", "find_neighbourhoods", "scheme_text"]

SCHEME_FILE = "neighbourhood_scheme.json"
"""Name of the file a plan's types are kept in."""


def find_neighbourhoods(
    hexes: Hexes, settings: PlanSettings, files: NeighbourhoodFiles | None = None
) -> Neighbourhoods:
    """Group the hexagons into types of neighbourhood.

    Parameters
    ----------
    hexes : Hexes
        The grid.
    settings : PlanSettings
        Section ``[neighbourhoods]`` and the seed.
    files : NeighbourhoodFiles, optional
        A scheme to be applied instead of fitting one; names and overrides.

    Returns
    -------
    Neighbourhoods

    Raises
    ------
    GeomarketError
        If the settings, the scheme or a correction can't be used; the message names the file.
    """
    files = files if files is not None else NeighbourhoodFiles()
    if files.scheme is not None:
        found = _by_scheme(hexes, settings, files.scheme)
    else:
        found = _fitted(hexes, settings)
    return _corrected(found, settings, files)


def _fitted(hexes: Hexes, settings: PlanSettings) -> Neighbourhoods:
    chosen = settings.neighbourhoods
    unknown = sorted(set(chosen.exclude) - {variable.name for variable in hexes.variables})
    if unknown:
        raise SettingsError(
            f"[neighbourhoods] exclude names {', '.join(unknown)}, which no layer of areas has; "
            f"it has {', '.join(variable.name for variable in hexes.variables)}."
        )
    described = tuple(
        replace(variable, classify=variable.classify and variable.name not in chosen.exclude)
        for variable in hexes.variables
    )
    classifier = NeighbourhoodClassifier(
        chosen.levels,
        transform=chosen.transform,
        scaling=chosen.scaling,
        max_correlation=chosen.max_correlation,
        min_population=chosen.min_population,
        n_init=chosen.n_init,
        weights=chosen.weights or None,
        shrink=chosen.shrink,
        random_state=settings.plan.seed,
    )
    return classify(
        replace(hexes, variables=described), classifier=classifier, random_state=settings.plan.seed
    )


def _by_scheme(hexes: Hexes, settings: PlanSettings, text: str) -> Neighbourhoods:
    try:
        return classify(hexes, classifier=NeighbourhoodClassifier.from_json(text))
    except GeomarketError as err:
        raise type(err)(f"[neighbourhoods] scheme = {settings.neighbourhoods.scheme!r}: {err}") from err


def _corrected(found: Neighbourhoods, settings: PlanSettings, files: NeighbourhoodFiles) -> Neighbourhoods:
    chosen = settings.neighbourhoods
    try:
        what = f"names = {chosen.names!r}"
        found = found.corrected(names=files.names)
        what = f"overrides = {chosen.overrides!r}"
        found = found.corrected(overrides=files.overrides)
    except SettingsError as err:
        raise SettingsError(f"[neighbourhoods] {what}: {err}") from err
    if found.edits.empty:
        return found
    kinds = found.edits.drop_duplicates(["kind", "target"], keep="last")["kind"].value_counts()
    authors = ", ".join(sorted(set(found.edits["author"])))
    notes = [
        f"Corrections by hand: {kinds.get('rename', 0):,} types renamed, {kinds.get('override', 0):,} hexagons given "
        f"another type (by {authors})."
    ]
    if files.scheme is None:
        notes.append(
            "These corrections name types by their code, and the types were fitted in this plan: with other data a "
            f"code may come to mean another type. Keep {SCHEME_FILE} and name it as scheme to hold on to these."
        )
    return replace(found, notes=(*found.notes, *notes))


def scheme_text(neighbourhoods: Neighbourhoods, settings: PlanSettings) -> str:
    """Return the plan's scheme as JSON text, frozen: a scheme that was given keeps its version.

    Parameters
    ----------
    neighbourhoods : Neighbourhoods
        The plan's types.
    settings : PlanSettings
        ``[neighbourhoods] version``; the plan's name where it is empty.

    Returns
    -------
    str
    """
    scheme = neighbourhoods.classifier
    if not scheme.frozen_:
        scheme = scheme.freeze(settings.neighbourhoods.version or settings.plan.name)
    return scheme.to_json() + "\n"
