"""Neighbourhoods of a hexagon grid: types, names, portraits, and the planner's corrections."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import pandas as pd
from sklearn.base import clone

from geomarket.errors import NotSupportedError, SettingsError, TableError
from geomarket.market.model import Variable
from geomarket.neighbourhoods.checks import status_notes
from geomarket.neighbourhoods.classifier import NeighbourhoodClassifier
from geomarket.neighbourhoods.corrections import (
    EDIT_COLUMNS,
    copy_of,
    corrected,
    portrayed,
    with_overrides,
    with_sizes,
)
from geomarket.neighbourhoods.hierarchy import LEVELS
from geomarket.neighbourhoods.index import index_table
from geomarket.neighbourhoods.portraits import name_types, sensitive
from geomarket.results import Result

if TYPE_CHECKING:
    import folium

__all__ = ["UNCERTAINTY_BREAKS", "HexTable", "Neighbourhoods", "classify"]

_log = logging.getLogger(__name__)


UNCERTAINTY_BREAKS = (0.5, 0.7, 0.8, 0.9)
"""Class limits of the uncertainty on maps: from clear to as near to the next type."""


class HexTable(Protocol):
    """What classification needs of a hexagon grid (``hexes.Hexes`` has it)."""

    @property
    def table(self) -> pd.DataFrame:
        """Frame with cell, population and one column per variable."""

    @property
    def variables(self) -> tuple[Variable, ...]:
        """The variables of the table."""

    @property
    def denominators(self) -> pd.DataFrame:
        """Frame with cell and one column of denominators per rate variable."""


@dataclass(frozen=True)
class Neighbourhoods(Result):
    """Every cell's neighbourhood type, and what the types are like.

    Attributes
    ----------
    table : DataFrame
        cell, neighbourhood (finest code), supergroup, group (subgroup), name, uncertainty (distance to the own
        supergroup over distance to the next: 0 clear, 1 undecided), second (that next supergroup), own_distance
        (to the centroid of the finest type, in the prepared space), n_missing,
        status ("complete", "partial data", "unpopulated", "too little data", "set by hand").
        Codes are missing where a cell has no type.
    types : DataFrame
        code, level, parent, name, portrait, cells, population, population_share.
    index : DataFrame
        As :func:`index_table`: code, level, variable, label, mean, overall, index …
    classifier : NeighbourhoodClassifier
        The fitted scheme: predicts new areas, is saved as JSON.
    edits : DataFrame
        kind ("rename" or "override"), target (code or cell), old, new, reason, author.
    notes : tuple of str
        What a reader must know.
    base : {"people", "areas"}
        What the shares of the types are of; areas where no population was given.

    Examples
    --------
    >>> from types import SimpleNamespace
    >>> from geomarket.hexes import points_to_cells
    >>> rent = np.repeat([0.2, 0.7], [6, 4]) + 0.01 * np.arange(10)
    >>> cells = points_to_cells(5 + 0.02 * np.arange(10), np.full(10, 50.0), 8)
    >>> table = pd.DataFrame({"cell": cells, "population": 500.0, "rent": rent})
    >>> variables = (Variable("rent", "renting", "rate", "rent", "population"),)
    >>> hexes = SimpleNamespace(table=table, denominators=table[["cell"]], variables=variables)
    >>> found = classify(hexes, classifier=NeighbourhoodClassifier(levels=(2,), min_areas=1), min_areas=2)
    >>> found.types[["code", "name", "cells", "population_share"]].values.tolist()
    [['A', 'Mixed households', 6, 0.6], ['B', 'Renters', 4, 0.4]]
    >>> found.summary()[0]
    '10 of 10 hexagons sorted into 2 supergroups.'
    """

    table: pd.DataFrame
    types: pd.DataFrame
    index: pd.DataFrame
    classifier: NeighbourhoodClassifier
    edits: pd.DataFrame
    notes: tuple[str, ...] = ()
    base: str = "people"

    def summary(self) -> list[str]:
        """Return the types and the caveats in plain sentences."""
        top = self.types[self.types["level"] == LEVELS[0]]
        finest = self.types["level"].iloc[-1]
        number = int((self.types["level"] == finest).sum())
        typed = self.table["neighbourhood"].notna()
        lines = [
            f"{typed.sum():,} of {len(self.table):,} hexagons sorted into {len(top)} supergroups"
            + (f" and {number} {finest}s." if finest != LEVELS[0] else ".")
        ]
        lines += [f"{row.code} {row.name}: {row.portrait}" for row in top.itertuples(index=False)]
        lines += list(self.notes)
        if len(self.edits):
            lines.append(f"{len(self.edits)} corrections by hand (see .edits).")
        return lines

    def explore(self, level: str = "supergroup", **options: Any) -> folium.Map:
        """Show the types on a map that can be panned and zoomed.

        Parameters
        ----------
        level : {"supergroup", "neighbourhood", "uncertainty"}
            What the hexagons are coloured by; "neighbourhood" is the finest type.
        **options
            Passed to :func:`geomarket.explore_cells`: ``stores``, ``tooltip``, ``tiles``, ``palette``, ``breaks``.

        Returns
        -------
        folium.Map

        Examples
        --------
        >>> from types import SimpleNamespace
        >>> from geomarket.hexes import points_to_cells
        >>> rent = np.repeat([0.2, 0.7], [6, 4]) + 0.01 * np.arange(10)
        >>> cells = points_to_cells(5 + 0.02 * np.arange(10), np.full(10, 50.0), 8)
        >>> table = pd.DataFrame({"cell": cells, "population": 500.0, "rent": rent})
        >>> variables = (Variable("rent", "renting", "rate", "rent", "population"),)
        >>> hexes = SimpleNamespace(table=table, denominators=table[["cell"]], variables=variables)
        >>> found = classify(hexes, classifier=NeighbourhoodClassifier(levels=(2,), min_areas=1), min_areas=2)
        >>> "Renters" in found.explore(tiles=None).get_root().render()
        True
        """
        from geomarket.hexmap import explore_cells

        names = {
            code: f"{code} · {name}"
            for code, name in zip(self.types["code"], self.types["name"], strict=True)
        }
        shown: dict[str, Any] = {"label": "Neighbourhood type", "labels": names}
        if level == "uncertainty":
            shown = {"label": "Uncertainty of the type (1: undecided)", "breaks": UNCERTAINTY_BREAKS}
        return explore_cells(self.table, level, **{**shown, **options})

    def plot(self, ax: Any = None, code: str | None = None) -> Any:
        """Draw the index bars of one type (the largest by default); return the axes.

        Examples
        --------
        >>> import matplotlib
        >>> matplotlib.use("Agg")
        >>> from types import SimpleNamespace
        >>> from geomarket.hexes import points_to_cells
        >>> rent = np.repeat([0.2, 0.7], [6, 4]) + 0.01 * np.arange(10)
        >>> cells = points_to_cells(5 + 0.02 * np.arange(10), np.full(10, 50.0), 8)
        >>> table = pd.DataFrame({"cell": cells, "population": 500.0, "rent": rent})
        >>> variables = (Variable("rent", "renting", "rate", "rent", "population"),)
        >>> hexes = SimpleNamespace(table=table, denominators=table[["cell"]], variables=variables)
        >>> found = classify(hexes, classifier=NeighbourhoodClassifier(levels=(2,), min_areas=1), min_areas=2)
        >>> [label.get_text() for label in found.plot(code="B").get_yticklabels()]
        ['renting']
        """
        from geomarket.neighbourhoods.figures import plot_type

        return plot_type(self.index, self.types, code or str(self.types["code"].iloc[0]), ax=ax)

    def rename(self, code: str, name: str, reason: str, author: str) -> Neighbourhoods:
        """Return a copy in which a type has the planner's name; old name, reason and author are kept.

        Raises
        ------
        SettingsError
            Unknown code, a name in use, an empty reason or author.

        Examples
        --------
        >>> from types import SimpleNamespace
        >>> from geomarket.hexes import points_to_cells
        >>> rent = np.repeat([0.2, 0.7], [6, 4]) + 0.01 * np.arange(10)
        >>> cells = points_to_cells(5 + 0.02 * np.arange(10), np.full(10, 50.0), 8)
        >>> table = pd.DataFrame({"cell": cells, "population": 500.0, "rent": rent})
        >>> variables = (Variable("rent", "renting", "rate", "rent", "population"),)
        >>> hexes = SimpleNamespace(table=table, denominators=table[["cell"]], variables=variables)
        >>> found = classify(hexes, classifier=NeighbourhoodClassifier(levels=(2,), min_areas=1), min_areas=2)
        >>> edited = found.rename("B", "Old town", "known by that name here", "J. Planner")
        >>> edited.table["name"].iloc[-1], edited.edits[["old", "new", "author"]].values.tolist()
        ('Old town', [['Renters', 'Old town', 'J. Planner']])
        """
        row = {"neighbourhood": code, "name": name, "reason": reason, "author": author}
        return corrected(self, names=pd.DataFrame([row]))

    def override(self, cell: int, code: str, reason: str, author: str) -> Neighbourhoods:
        """Return a copy in which one cell has the type a planner knows it to have.

        The sizes of the types follow; centroids and indices stay as fitted, so that one correction by hand
        doesn't redefine a type. The reason, the author and the old code are kept.

        Parameters
        ----------
        cell : int
            H3 cell of the table.
        code : str
            A code of the finest level.
        reason : str
            Why; not empty.
        author : str
            Who decided; not empty.

        Raises
        ------
        SettingsError
            Unknown cell or code, an empty reason or author.

        Examples
        --------
        >>> from types import SimpleNamespace
        >>> from geomarket.hexes import points_to_cells
        >>> rent = np.repeat([0.2, 0.7], [6, 4]) + 0.01 * np.arange(10)
        >>> cells = points_to_cells(5 + 0.02 * np.arange(10), np.full(10, 50.0), 8)
        >>> table = pd.DataFrame({"cell": cells, "population": 500.0, "rent": rent})
        >>> variables = (Variable("rent", "renting", "rate", "rent", "population"),)
        >>> hexes = SimpleNamespace(table=table, denominators=table[["cell"]], variables=variables)
        >>> found = classify(hexes, classifier=NeighbourhoodClassifier(levels=(2,), min_areas=1), min_areas=2)
        >>> edited = found.override(cells[0], "B", "student halls opened", "J. Planner")
        >>> edited.table[["neighbourhood", "status"]].iloc[0].tolist(), edited.types["cells"].tolist()
        (['B', 'set by hand'], [5, 5])
        """
        row = {"cell": cell, "neighbourhood": code, "reason": reason, "author": author}
        return corrected(self, overrides=pd.DataFrame([row]))

    def corrected(
        self, names: pd.DataFrame | None = None, overrides: pd.DataFrame | None = None
    ) -> Neighbourhoods:
        """Return a copy with a whole table of renames, of overrides, or of both.

        A correction that is already in force, with the same reason and author, isn't made twice.

        Parameters
        ----------
        names : DataFrame, optional
            neighbourhood (code of any level), name, reason, author.
        overrides : DataFrame, optional
            cell (int64), neighbourhood (code of the finest level), reason, author.

        Raises
        ------
        SettingsError
            As :meth:`rename` and :meth:`override`.

        Examples
        --------
        >>> from types import SimpleNamespace
        >>> from geomarket.hexes import points_to_cells
        >>> rent = np.repeat([0.2, 0.7], [6, 4]) + 0.01 * np.arange(10)
        >>> cells = points_to_cells(5 + 0.02 * np.arange(10), np.full(10, 50.0), 8)
        >>> table = pd.DataFrame({"cell": cells, "population": 500.0, "rent": rent})
        >>> variables = (Variable("rent", "renting", "rate", "rent", "population"),)
        >>> hexes = SimpleNamespace(table=table, denominators=table[["cell"]], variables=variables)
        >>> found = classify(hexes, classifier=NeighbourhoodClassifier(levels=(2,), min_areas=1), min_areas=2)
        >>> rows = pd.DataFrame({"cell": cells[:2], "neighbourhood": "B", "reason": "new halls", "author": "Ada"})
        >>> found.corrected(overrides=rows).types["cells"].tolist()
        [4, 6]
        """
        return corrected(self, names, overrides)

    def examples(self, n: int = 3) -> pd.DataFrame:
        """Return typical and extreme cells of every type, for a look on the ground.

        Parameters
        ----------
        n : int
            Cells of each kind and type.

        Returns
        -------
        DataFrame
            code, kind ("typical": nearest the centroid; "extreme": farthest from it), rank, cell, own_distance,
            population. Only cells with complete data, and none set by hand.

        Examples
        --------
        >>> from types import SimpleNamespace
        >>> from geomarket.hexes import points_to_cells
        >>> rent = np.repeat([0.2, 0.7], [6, 4]) + 0.01 * np.arange(10)
        >>> cells = points_to_cells(5 + 0.02 * np.arange(10), np.full(10, 50.0), 8)
        >>> table = pd.DataFrame({"cell": cells, "population": 500.0, "rent": rent})
        >>> variables = (Variable("rent", "renting", "rate", "rent", "population"),)
        >>> hexes = SimpleNamespace(table=table, denominators=table[["cell"]], variables=variables)
        >>> found = classify(hexes, classifier=NeighbourhoodClassifier(levels=(2,), min_areas=1), min_areas=2)
        >>> found.examples(n=1)[["code", "kind", "rank"]].values.tolist()
        [['A', 'typical', 1], ['A', 'extreme', 1], ['B', 'typical', 1], ['B', 'extreme', 1]]
        """
        cells = self.table[self.table["status"] == "complete"]
        parts = []
        for kind, ascending in (("typical", True), ("extreme", False)):
            ranked = cells.sort_values(["own_distance", "cell"], ascending=[ascending, True], kind="stable")
            ranked = ranked.groupby("neighbourhood", sort=True).head(n)
            parts.append(ranked.assign(kind=kind, rank=ranked.groupby("neighbourhood").cumcount() + 1))
        table = pd.concat(parts).rename(columns={"neighbourhood": "code"})
        table = table.sort_values(["code", "kind", "rank"], ascending=[True, False, True], kind="stable")
        return table[["code", "kind", "rank", "cell", "own_distance", "population"]].reset_index(drop=True)

    def to_json(self) -> str:
        """Return scheme, names and corrections as JSON text (see ``NeighbourhoodClassifier.to_json``)."""
        return self.classifier.to_json()


def classify(
    hexes: HexTable,
    levels: Sequence[Any] = (6, 3),
    *,
    classifier: NeighbourhoodClassifier | None = None,
    use_protected: Sequence[str] = (),
    describe_protected: bool = False,
    min_areas: int = 5,
    min_base: float = 100.0,
    random_state: int = 0,
) -> Neighbourhoods:
    """Sort hexagons into neighbourhood types and describe them.

    Parameters
    ----------
    hexes : Hexes
        ``table`` (cell, population, one column per variable), ``variables`` and ``denominators``.
    levels : sequence of int
        Supergroups, groups in each (subgroups in each). Ignored when ``classifier`` is given.
    classifier : NeighbourhoodClassifier, optional
        With other settings: a clone is fitted. Already fitted (say, read from JSON): its types are applied
        unchanged, with its names and corrections.
    use_protected : sequence of str
        Protected variables to classify by all the same. None by default; none is ever part of a name.
    describe_protected : bool
        Whether protected variables appear in index tables and portraits.
    min_areas, min_base : int, float
        Indices on less aren't used in names and portraits.
    random_state : int
        Seed.

    Returns
    -------
    Neighbourhoods

    Raises
    ------
    NotSupportedError
        No variable to classify by, or too few populated cells.
    SettingsError
        ``use_protected`` names something else.

    Examples
    --------
    >>> from types import SimpleNamespace
    >>> rng = np.random.default_rng(1)
    >>> renting = np.repeat([0.2, 0.7], [60, 40]) + rng.normal(0, 0.02, 100)
    >>> young = np.repeat([0.1, 0.4], [60, 40]) + rng.normal(0, 0.02, 100)
    >>> table = pd.DataFrame({"cell": np.arange(100), "population": 500.0, "rent": renting, "young": young})
    >>> hexes = SimpleNamespace(table=table, denominators=table[["cell"]], variables=(
    ...     Variable("rent", "renting", "rate", "rent", "population"),
    ...     Variable("young", "aged 20 to 29", "rate", "young", "population")))
    >>> plain = NeighbourhoodClassifier(levels=(2,), max_correlation=None)
    >>> found = classify(hexes, classifier=plain)
    >>> found.types[["code", "name", "cells"]].values.tolist()[1]
    ['B', 'Young renters', 40]
    """
    if "cell" not in hexes.table:
        raise TableError(
            f"hexes: no column cell (columns: {', '.join(map(str, hexes.table.columns[:6]))} …). Give a table of cells."
        )
    table = hexes.table.set_index("cell")
    if not table.index.is_unique:
        twice = table.index[table.index.duplicated()][:3].tolist()
        raise TableError(f"hexes: cell repeats ({twice}). Every cell must be one row.")
    population = table["population"].astype(float) if "population" in table else None
    if population is not None and population.isna().all():
        population = None
    denominators = _denominators(hexes.denominators, hexes.variables, table.index)
    if classifier is not None and hasattr(classifier, "centroids_"):
        scheme = copy_of(classifier)
        labels = scheme.assign(
            table[[c for c in scheme.preparation_.variables if c in table]], population, denominators
        )
        notes = _notes_of_scheme(scheme, hexes.variables, table.index)
    else:
        chosen = _chosen(hexes.variables, table.columns, use_protected)
        scheme = (
            clone(classifier)
            if classifier is not None
            else NeighbourhoodClassifier(levels=levels, random_state=random_state)
        )
        if isinstance(scheme.multiplier, float | int):
            scheme.multiplier = _multipliers(chosen, float(scheme.multiplier))
        scheme.fit(
            table[[v.name for v in chosen]].astype(float), population, _of_shares(denominators, chosen)
        )
        labels = scheme.labels_
        scheme.notes_ += _protected_notes(hexes.variables, chosen, use_protected)
        notes = scheme.notes_
    described = [
        v
        for v in hexes.variables
        if v.kind != "count" and v.name in table and (describe_protected or not v.protected)
    ]
    notes = [*status_notes(labels, scheme.min_population), *notes]
    return _build(table, labels, scheme, described, population, denominators, min_areas, min_base, notes)


def _build(
    table: pd.DataFrame,
    labels: pd.DataFrame,
    scheme: NeighbourhoodClassifier,
    described: list[Variable],
    population: pd.Series | None,
    denominators: pd.DataFrame,
    min_areas: int,
    min_base: float,
    notes: list[str],
) -> Neighbourhoods:
    levels = [level for level in LEVELS if level in labels]
    rates = table[[v.name for v in described]].astype(float)
    index = index_table(rates, labels[levels], described, population, denominators, min_areas, min_base)
    if not scheme.names_:
        scheme.names_ = name_types(index[index["code"].isin(scheme.types_["code"])])
    cells = labels.rename(columns={"code": "neighbourhood"})
    cells.insert(len(levels) + 1, "name", cells["neighbourhood"].map(scheme.names_))
    people = np.ones(len(cells)) if population is None else population.to_numpy()
    cells.insert(0, "population", people)
    cells = cells.rename_axis("cell").reset_index()
    edits = pd.DataFrame(scheme.edits_, columns=EDIT_COLUMNS)
    types = scheme.types_[["code", "level", "parent"]].assign(name=scheme.types_["code"].map(scheme.names_))
    cells = with_overrides(cells, edits, types)
    types = with_sizes(types, cells)
    base = "people" if population is not None else "areas"
    types = portrayed(types, index, base)
    return Neighbourhoods(cells, types, index, scheme, edits, tuple(notes), base)


def _denominators(given: pd.DataFrame | None, variables: Sequence[Variable], cells: pd.Index) -> pd.DataFrame:
    """Denominator columns by variable name, on the cells of the table."""
    if given is None:
        return pd.DataFrame(index=cells)
    frame = given.set_index("cell") if "cell" in given else given
    frame = frame.rename(columns=lambda name: str(name).removesuffix("__den"))
    return frame[[c for c in frame.columns if c in {v.name for v in variables}]].reindex(cells)


def _of_shares(denominators: pd.DataFrame, chosen: Sequence[Variable]) -> pd.DataFrame:
    """Denominators of shares alone: only these have a chance variation that shrinkage could take out."""
    shares = {v.name for v in chosen if v.kind == "rate"}
    return denominators[[name for name in denominators.columns if name in shares]]


def _chosen(variables: Sequence[Variable], columns: pd.Index, use_protected: Sequence[str]) -> list[Variable]:
    protected = {v.name for v in variables if v.protected and v.kind != "count"}
    wrong = [name for name in use_protected if name not in protected]
    if wrong:
        raise SettingsError(
            f"use_protected names {', '.join(wrong[:5])}, which are no protected rates. "
            f"Protected are: {', '.join(sorted(protected)) or 'none'}."
        )
    chosen = [
        v
        for v in variables
        if v.name in columns
        and v.kind != "count"
        and ((v.classify and not v.protected) or v.name in use_protected)
    ]
    if not chosen:
        raise NotSupportedError(
            "neighbourhoods: no variable to classify by. Give rates or means with classify = true; counts describe "
            "how many people there are, not what a neighbourhood is like."
        )
    return chosen


def _multipliers(chosen: list[Variable], percent: float) -> dict[str, float]:
    """Shares become percentages; figures with a unit of their own stay as they are."""
    share = {v.name for v in chosen if v.unit == "share" or (v.kind == "rate" and not v.unit)}
    return {v.name: percent if v.name in share else 1.0 for v in chosen}


def _notes_of_scheme(
    scheme: NeighbourhoodClassifier, variables: Sequence[Variable], cells: pd.Index
) -> list[str]:
    """What a reader must know of types that were fitted before, perhaps on other ground."""
    notes = [f"The types of scheme '{scheme.version}' were applied as they are."]
    used = set(scheme.preparation_.variables)
    protected = [v.label for v in variables if v.protected and v.name in used]
    if protected:
        notes.append(f"The scheme rests on protected traits: {', '.join(protected)}.")
    targets = [int(edit["target"]) for edit in scheme.edits_ if edit["kind"] == "override"]
    away = len(set(targets) - set(cells))
    if away:
        notes.append(f"{away:,} of the scheme's corrections by hand are of hexagons that aren't here.")
    return notes


def _protected_notes(
    variables: Sequence[Variable], chosen: list[Variable], use_protected: Sequence[str]
) -> list[str]:
    notes = []
    left = [v.label for v in variables if v.protected and v.name not in use_protected and v.kind != "count"]
    if left:
        notes.append(f"Not classified by, being protected traits: {', '.join(left)}.")
    if use_protected:
        notes.append(f"Protected traits used on purpose: {', '.join(use_protected)}; no name speaks of them.")
    unflagged = [v.label for v in chosen if not v.protected and sensitive(f"{v.label} {v.name}")]
    if unflagged:
        notes.append(
            f"{', '.join(unflagged)}: read like protected traits but aren't flagged so. They were classified by and "
            "kept out of names; flag them as protected to leave them out."
        )
    return notes
