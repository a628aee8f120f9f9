"""Two vintages of a classification compared: which type became which, how much moved, which variables drifted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy.optimize import linear_sum_assignment
from sklearn.metrics import adjusted_rand_score

from geomarket.errors import NotSupportedError, TableError
from geomarket.neighbourhoods.preparation import Preparation
from geomarket.results import Result

__all__ = ["VintageComparison", "compare_vintages", "population_stability"]


@dataclass(frozen=True)
class VintageComparison(Result):
    """How a classification changed between two vintages.

    Attributes
    ----------
    table : DataFrame
        Migration table: old, new (codes), matched (whether new is what old became), areas, population, share.
    matches : DataFrame
        old, new (missing where a type has no counterpart), distance between the centroids in the old prepared
        space, kept (share of the old type's population that is in the new one).
    psi : DataFrame
        variable, psi, verdict ("stable", "shifted", "strongly shifted").
    ari : float
        Adjusted Rand index of the two partitions.
    moved : float
        Share of the population in areas whose new type isn't what their old type became.
    notes : tuple of str

    Examples
    --------
    >>> rates = pd.DataFrame({"renting": [0.1, 0.1, 0.8, 0.9], "owning": [0.9, 0.8, 0.2, 0.2]})
    >>> from geomarket.neighbourhoods import prepare
    >>> old, new = pd.Series(["A", "A", "B", "B"]), pd.Series(["B", "B", "A", "B"])
    >>> found = compare_vintages(old, new, rates, rates, prepare(rates, np.ones(4)))
    >>> found.summary()[0]
    '25.0% of people live where the type changed (adjusted Rand index 0.00).'
    """

    table: pd.DataFrame
    matches: pd.DataFrame
    psi: pd.DataFrame
    ari: float
    moved: float
    notes: tuple[str, ...] = ()

    def summary(self) -> list[str]:
        """Return what moved, what drifted, and which types came or went."""
        lines = [
            f"{100 * self.moved:.1f}% of people live where the type changed (adjusted Rand index {self.ari:.2f})."
        ]
        gone = self.matches.loc[self.matches["new"].isna(), "old"].tolist()
        came = self.matches.loc[self.matches["old"].isna(), "new"].tolist()
        if gone:
            lines.append(f"Without a counterpart now: {', '.join(gone)}.")
        if came:
            lines.append(f"New: {', '.join(came)}.")
        drifted = self.psi[self.psi["verdict"] != "stable"]
        if len(drifted):
            told = ", ".join(f"{row.variable} ({row.psi:.2f})" for row in drifted.head(5).itertuples())
            lines.append(f"{len(drifted)} of {len(self.psi)} variables drifted (PSI above 0.1): {told}.")
        else:
            lines.append("No variable drifted (all PSI below 0.1).")
        return lines + list(self.notes)

    def plot(self, ax: Any = None) -> Any:
        """Draw the migration table (share of each old type); return the axes.

        Examples
        --------
        >>> import matplotlib
        >>> matplotlib.use("Agg")
        >>> rates = pd.DataFrame({"renting": [0.1, 0.1, 0.8, 0.9], "owning": [0.9, 0.8, 0.2, 0.2]})
        >>> from geomarket.neighbourhoods import prepare
        >>> old, new = pd.Series(["A", "A", "B", "B"]), pd.Series(["B", "B", "A", "B"])
        >>> found = compare_vintages(old, new, rates, rates, prepare(rates, np.ones(4)))
        >>> found.plot().get_ylabel()
        'old type (% of its people)'
        """
        from geomarket.neighbourhoods.figures import plot_migration

        return plot_migration(self.table, ax=ax)


def compare_vintages(
    old_codes: pd.Series,
    new_codes: pd.Series,
    old_rates: pd.DataFrame,
    new_rates: pd.DataFrame,
    preparation: Preparation,
    population: pd.Series | None = None,
) -> VintageComparison:
    """Match the types of two vintages and measure what changed.

    Parameters
    ----------
    old_codes, new_codes : Series
        Code of each area by the old and the new classification (one level); areas in both are compared.
    old_rates, new_rates : DataFrame
        The variables of ``preparation`` for the same areas at both dates.
    preparation : Preparation
        The old scheme's stored transform (``classifier.preparation_``): both vintages are measured in its space.
    population : Series, optional
        People in each area (new vintage); weighs the shares.

    Returns
    -------
    VintageComparison

    Raises
    ------
    NotSupportedError
        If no area has a type in both.

    Notes
    -----
    Types are matched one to one so that the summed distance of their centroids is least (Kuhn 1955). Population
    stability index by deciles of the old vintage; below 0.1 is read as stable, above 0.25 as strongly shifted.

    Examples
    --------
    >>> rates = pd.DataFrame({"renting": [0.1, 0.2, 0.7, 0.8]})
    >>> from geomarket.neighbourhoods import prepare
    >>> stored = prepare(rates, np.ones(4))
    >>> old, new = pd.Series(["A", "A", "B", "B"]), pd.Series(["B", "B", "A", "B"])
    >>> found = compare_vintages(old, new, rates, rates, stored)
    >>> found.matches[["old", "new"]].values.tolist(), found.moved
    ([['A', 'B'], ['B', 'A']], 0.25)
    """
    for name, index in (("old_codes", old_codes.index), ("new_codes", new_codes.index)):
        if not index.is_unique:
            twice = index[index.duplicated()][:3].tolist()
            raise TableError(f"{name}: areas repeat ({twice}). Give one code an area.")
    areas = old_codes.index[old_codes.notna()].intersection(new_codes.index[new_codes.notna()], sort=False)
    if len(areas) == 0:
        raise NotSupportedError(
            "vintages: no area has a type in both. Put both on the same areas (or hexagons) first."
        )
    for name, frame in (("old_rates", old_rates), ("new_rates", new_rates)):
        if not areas.isin(frame.index).all():
            lost = areas[~areas.isin(frame.index)][:3].tolist()
            raise TableError(
                f"{name}: areas {lost} have a type but no row. Give the rates of all typed areas."
            )
    if population is not None and not population.reindex(areas).ge(0).all():
        lost = areas[~population.reindex(areas).ge(0)][:3].tolist()
        raise TableError(
            f"population: missing or negative in areas {lost}, which have a type in both vintages."
        )
    old, new = old_codes.loc[areas].astype(str), new_codes.loc[areas].astype(str)
    mass = np.ones(len(areas)) if population is None else population.loc[areas].to_numpy(dtype=float)
    before = preparation.apply(old_rates.loc[areas])
    after = preparation.apply(new_rates.loc[areas])
    matches = _match(_centroids(before, old, mass), _centroids(after, new, mass))
    table = _migration(old, new, mass, matches)
    kept = table[table["matched"]].set_index("old")["population"]
    total = table.groupby("old")["population"].sum()
    matches["kept"] = matches["old"].map((kept / total).fillna(0.0))
    moved = float(table.loc[~table["matched"], "population"].sum() / table["population"].sum())
    psi = population_stability(
        old_rates.loc[areas, preparation.variables], new_rates.loc[areas, preparation.variables], mass
    )
    ari = float(adjusted_rand_score(old, new))
    alone = int(old_codes.notna().sum() - len(areas)), int(new_codes.notna().sum() - len(areas))
    notes = []
    if any(alone):
        notes.append(
            f"{alone[0]:,} areas have a type in the old vintage only and {alone[1]:,} in the new only; not compared."
        )
    return VintageComparison(table, matches, psi, ari, moved, tuple(notes))


def population_stability(
    old: pd.DataFrame, new: pd.DataFrame, weights: np.ndarray | None = None, bins: int = 10
) -> pd.DataFrame:
    """Population stability index of every variable, by quantile bins of the old values.

    Parameters
    ----------
    old, new : DataFrame
        The same columns.
    weights : ndarray, optional
        Weight of each row, where both have the same rows.
    bins : int
        Number of bins; fewer where values repeat.

    Returns
    -------
    DataFrame
        variable, psi, verdict; largest first.

    Notes
    -----
    Sum over bins of (new - old) * ln(new / old). Half an area is added to every bin, so an empty one doesn't
    make it infinite. Values outside the old range count in the outer bins; missing ones are a bin of their own.

    Examples
    --------
    >>> old = pd.DataFrame({"renting": np.linspace(0, 0.5, 101)})
    >>> population_stability(old, old)["psi"].round(6).tolist()
    [0.0]
    """
    absent = [str(name) for name in old.columns if name not in new.columns]
    if absent:
        raise TableError(f"new: no column {', '.join(absent[:5])}. Give the same variables at both dates.")
    rows = []
    for name in old.columns:
        known = old[name].dropna().to_numpy(dtype=float)
        cuts = np.unique(np.quantile(known, np.linspace(0, 1, bins + 1)[1:-1])) if len(known) else np.empty(0)
        shares = []
        for values in (old[name].to_numpy(dtype=float), new[name].to_numpy(dtype=float)):
            place = np.where(np.isnan(values), len(cuts) + 1, np.searchsorted(cuts, values, side="right"))
            mass = np.ones(len(values)) if weights is None else weights * len(values) / weights.sum()
            counts = np.bincount(place, mass, minlength=len(cuts) + 2) + 0.5
            shares.append(counts / counts.sum())
        p, q = shares
        psi = float(((q - p) * np.log(q / p)).sum())
        verdict = "stable" if psi < 0.1 else "shifted" if psi < 0.25 else "strongly shifted"
        rows.append((str(name), psi, verdict))
    table = pd.DataFrame(rows, columns=["variable", "psi", "verdict"])
    return table.sort_values("psi", ascending=False, kind="stable").reset_index(drop=True)


def _centroids(points: np.ndarray, codes: pd.Series, mass: np.ndarray) -> pd.DataFrame:
    frame = pd.DataFrame(points, index=codes.index)
    weight = frame.notna().mul(mass, axis=0)
    sums = frame.mul(mass, axis=0).groupby(codes).sum()
    return sums / weight.groupby(codes).sum()


def _match(old: pd.DataFrame, new: pd.DataFrame) -> pd.DataFrame:
    distance = np.sqrt(((old.to_numpy()[:, None, :] - new.to_numpy()[None]) ** 2).sum(axis=2))
    rows, columns = linear_sum_assignment(distance)
    pairs = [
        {"old": old.index[i], "new": new.index[j], "distance": float(distance[i, j])}
        for i, j in zip(rows, columns, strict=True)
    ]
    pairs += [
        {"old": code, "new": None, "distance": np.nan} for i, code in enumerate(old.index) if i not in rows
    ]
    pairs += [
        {"old": None, "new": code, "distance": np.nan} for j, code in enumerate(new.index) if j not in columns
    ]
    return pd.DataFrame(pairs)


def _migration(old: pd.Series, new: pd.Series, mass: np.ndarray, matches: pd.DataFrame) -> pd.DataFrame:
    frame = pd.DataFrame({"old": old.to_numpy(), "new": new.to_numpy(), "population": mass})
    table = frame.groupby(["old", "new"])["population"].agg(areas="size", population="sum").reset_index()
    became = dict(zip(matches["old"], matches["new"], strict=True))
    table.insert(2, "matched", table["old"].map(became) == table["new"])
    table["share"] = table["population"] / table.groupby("old")["population"].transform("sum")
    return table
