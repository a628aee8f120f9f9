"""Areas like this one, and what they have that it lacks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy.spatial.distance import cdist
from scipy.stats import poisson

from geomarket.errors import SettingsError, TableError
from geomarket.hexes.cells import cell_resolutions, points_to_cells
from geomarket.results import Result

__all__ = ["Voids", "find_voids", "stores_in_areas", "twin_areas"]


def twin_areas(
    profile: pd.DataFrame,
    n: int = 5,
    key: str = "store_id",
    item: str = "neighbourhood",
    value: str = "share",
) -> pd.DataFrame:
    """Find the areas whose people are most alike.

    Parameters
    ----------
    profile : DataFrame
        ``key``, ``item``, ``value``: what each area is made of (``Catchments.profile``).
    n : int
        Twins per area.
    key, item, value : str
        Columns of ``profile``.

    Returns
    -------
    DataFrame
        ``key``, twin, rank (1 = most alike), distance (Hellinger: 0 the same mix, 1 nothing in common). Areas
        whose values are all missing or 0 have no twin.

    Examples
    --------
    >>> profile = pd.DataFrame({"store_id": list("AABBCC"), "neighbourhood": ["x", "y"] * 3,
    ...     "share": [0.9, 0.1, 0.8, 0.2, 0.1, 0.9]})
    >>> twin_areas(profile, n=1)[["store_id", "twin"]].values.tolist()
    [['A', 'B'], ['B', 'A'], ['C', 'B']]
    """
    if n < 1:
        raise SettingsError(f"n = {n}: at least 1 twin is expected.")
    wide = _wide(profile, key, item, value)
    total = wide.sum(axis=1)
    wide = wide[total > 0].div(total[total > 0], axis=0)
    root = np.sqrt(wide.to_numpy())
    distance = cdist(root, root) / np.sqrt(2)
    np.fill_diagonal(distance, np.inf)
    n = min(n, max(len(wide) - 1, 0))
    # equal distances by id: rounding first, so that noise does not decide
    nearest = np.argsort(np.round(distance, 12), axis=1, kind="stable")[:, :n]
    return pd.DataFrame(
        {
            key: np.repeat(wide.index.to_numpy(), n),
            "twin": wide.index.to_numpy()[nearest].ravel(),
            "rank": np.tile(np.arange(1, n + 1), len(wide)),
            "distance": np.take_along_axis(distance, nearest, axis=1).ravel(),
        }
    )


def stores_in_areas(
    areas: pd.DataFrame, stores: pd.DataFrame, item: str = "format", band: float = 0.9
) -> pd.DataFrame:
    """Count the stores of each kind that stand inside each trade area.

    Parameters
    ----------
    areas : DataFrame
        store_id, cell, band (:func:`trade_areas`).
    stores : DataFrame
        store_id, lon, lat, ``item``: own stores and competitors.
    item : str
        Column of ``stores`` that says what kind a store is; stores without one are left out.
    band : float
        Widest band of the areas that counts.

    Returns
    -------
    DataFrame
        store_id (of the area), item, amount (stores; 0 where an area has none of a kind).
    """
    missing = [c for c in ("store_id", "lon", "lat", item) if c not in stores.columns]
    if missing:
        raise TableError(
            f"stores: column(s) {', '.join(missing)} missing; store_id, lon, lat and {item} are needed."
        )
    inside = areas[areas["band"] <= band]
    resolution = int(cell_resolutions(inside["cell"].to_numpy())[0])
    known = stores[stores[item].notna()]
    standing = pd.DataFrame(
        {
            "cell": points_to_cells(known["lon"], known["lat"], resolution),
            "item": known[item].astype(str).to_numpy(),
        }
    )
    found = inside.merge(standing, on="cell").groupby(["store_id", "item"]).size()
    index = pd.MultiIndex.from_product(
        [sorted(areas["store_id"].unique()), sorted(standing["item"].unique())], names=["store_id", "item"]
    )
    return found.reindex(index, fill_value=0).rename("amount").reset_index()


@dataclass(frozen=True)
class Voids(Result):
    """What the reference areas have and the area lacks.

    Attributes
    ----------
    table : DataFrame
        item, here (amount), expected (at the reference areas' amount per unit of size), gap (expected − here),
        present_in (share of the reference areas that have any), chance (probability of so few or fewer by chance,
        were the area like the others; Poisson), void (none here, while at least ``min_present`` of the reference
        areas have it); largest gap first.
    area : str
    reference : tuple of str
    """

    table: pd.DataFrame
    area: str
    reference: tuple[str, ...]

    def summary(self) -> list[str]:
        """Return what is missing."""
        voids = self.table[self.table["void"]]
        against = f"of {len(self.reference)} areas like it"
        if voids.empty:
            return [f"{self.area} lacks nothing that most {against} have."]
        named = ", ".join(
            f"{row['item']} ({row['expected']:.1f} expected, in {row['present_in']:.0%})"
            for _, row in voids.head(5).iterrows()
        )
        return [f"{self.area} has none of what most {against} have: {named}."]

    def plot(self, ax: Any = None) -> Any:
        """Draw what is here beside what would be expected."""
        import matplotlib.pyplot as plt

        axes = plt.subplots(figsize=(6, 0.3 * len(self.table) + 1))[1] if ax is None else ax
        rows = self.table[::-1]
        axes.barh(rows["item"], rows["expected"], color="0.8", label="expected")
        axes.plot(rows["here"], rows["item"], "o", label="here")
        axes.legend()
        return axes


def find_voids(
    presence: pd.DataFrame,
    area: str,
    reference: Sequence[str],
    size: pd.Series | None = None,
    key: str = "store_id",
    min_present: float = 0.5,
) -> Voids:
    """Compare what an area has with what areas like it have.

    Parameters
    ----------
    presence : DataFrame
        ``key``, item, amount (counts ≥ 0): kinds of stores, categories or brands per area
        (:func:`stores_in_areas`).
    area : str
        The area in question.
    reference : sequence of str
        Areas to compare with, such as its twins (:func:`twin_areas`).
    size : Series or None
        People or market by area (its index), to compare per head; all areas count alike by default.
    key : str
        Column of ``presence`` that names the area.
    min_present : float
        Share of the reference areas that must have an item for its absence to be a void.

    Returns
    -------
    Voids

    Raises
    ------
    TableError
        The area, or all reference areas, are not in ``presence``, or a size is missing.

    Notes
    -----
    Void analysis as retail leasing uses it, with the Poisson probability of the shortfall beside it: with small
    counts an absence is often chance.

    Examples
    --------
    >>> presence = pd.DataFrame({"store_id": list("AABBCC"), "item": ["deli", "bank"] * 3,
    ...     "amount": [0, 1, 2, 1, 1, 1]})
    >>> find_voids(presence, "A", ["B", "C"]).table[["item", "here", "expected", "void"]].values.tolist()
    [['deli', 0.0, 1.5, True], ['bank', 1.0, 1.0, False]]
    """
    wide = _wide(presence, key, "item", "amount")
    others = [a for a in reference if a in wide.index and a != area]
    if area not in wide.index or not others:
        raise TableError(
            f"presence: area '{area}' or all of its {len(reference)} reference areas have no rows; give every area "
            "a row, with amount 0 where it has none of an item."
        )
    weight = pd.Series(1.0, index=wide.index) if size is None else size.reindex(wide.index).astype(float)
    bad = weight.loc[[area, *others]]
    if not (bad > 0).all():
        names = ", ".join(str(a) for a in bad.index[~(bad > 0)][:3])
        raise TableError(f"size: missing or not positive for {names}; every area compared needs one.")
    here, rest = wide.loc[area], wide.loc[others]
    expected = rest.sum() / weight.loc[others].sum() * weight.loc[area]
    table = pd.DataFrame({"item": wide.columns, "here": here.to_numpy(), "expected": expected.to_numpy()})
    table["gap"] = table["expected"] - table["here"]
    table["present_in"] = (rest > 0).mean().to_numpy()
    table["chance"] = poisson.cdf(table["here"], table["expected"])
    table["void"] = (table["here"] == 0) & (table["present_in"] >= min_present)
    table = table.sort_values(["gap", "item"], ascending=[False, True], ignore_index=True)
    return Voids(table=table, area=area, reference=tuple(others))


def _wide(frame: pd.DataFrame, key: str, item: str, value: str) -> pd.DataFrame:
    missing = [c for c in (key, item, value) if c not in frame.columns]
    if missing:
        raise TableError(
            f"profile: column(s) {', '.join(missing)} missing; {key}, {item} and {value} are needed."
        )
    if (frame[value] < 0).any():
        raise TableError(
            f"profile: {int((frame[value] < 0).sum())} rows have negative {value}; 0 or more is expected."
        )
    return frame.pivot_table(index=key, columns=item, values=value, aggfunc="sum", fill_value=0.0).astype(
        float
    )
