"""What given ranges earn by given forecasts, whoever chose them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import pandas as pd

from geomarket.assortment.pairs import Pairs
from geomarket.errors import TableError

__all__ = ["range_margins", "range_margins_of"]


def range_margins(
    demand: pd.DataFrame, listed: pd.DataFrame, substitutes: pd.DataFrame | None = None
) -> pd.DataFrame:
    """Value ranges by store: their own demand, and what comes over from SKUs they lack.

    Parameters
    ----------
    demand : DataFrame
        store_id, sku, category, units, margin per period: first-choice demand if listed.
    listed : DataFrame
        store_id, sku: the ranges. A pair without a forecast earns nothing.
    substitutes : DataFrame, optional
        sku, substitute, share: of an absent SKU's demand, once and no further, as :func:`plan_ranges` counts it.

    Returns
    -------
    DataFrame
        store_id, category, margin; every store and category with a forecast, in order.

    Raises
    ------
    TableError
        If ``demand`` has more than one row for a store and SKU.

    Examples
    --------
    >>> demand = pd.DataFrame({"store_id": "1", "sku": ["a", "b"], "category": "tea", "units": [4.0, 2.0],
    ...                        "margin": [4.0, 4.0]})
    >>> moves = pd.DataFrame({"sku": ["a"], "substitute": ["b"], "share": [0.5]})
    >>> range_margins(demand, pd.DataFrame({"store_id": ["1"], "sku": ["b"]}), moves)
      store_id category  margin
    0        1      tea     8.0
    """
    return range_margins_of(demand, {"": listed}, substitutes)[""]


def range_margins_of(
    demand: pd.DataFrame, ranges: Mapping[str, pd.DataFrame], substitutes: pd.DataFrame | None = None
) -> dict[str, pd.DataFrame]:
    """Value several ranges by the same demand at once; arguments and errors as of :func:`range_margins`.

    Parameters
    ----------
    demand : DataFrame
        As of :func:`range_margins`.
    ranges : mapping of str to DataFrame
        Name -> store_id, sku.
    substitutes : DataFrame, optional
        As of :func:`range_margins`.

    Returns
    -------
    dict of str to DataFrame
        Name -> what :func:`range_margins` returns.
    """
    pairs = Pairs(demand)
    if pairs.repeat():
        raise TableError("demand: some pairs of store and SKU have more than one row. Give one row each.")
    there = {name: pairs.among(listed) for name, listed in ranges.items()}
    of_pair, categories = pd.factorize(demand["category"], sort=True)
    by_category = np.argsort(of_pair, kind="stable")
    edges = np.searchsorted(of_pair[by_category], np.arange(len(categories) + 1))
    units, margin = (demand[name].fillna(0.0).to_numpy(dtype=float) for name in ("units", "margin"))
    parts: dict[str, list[pd.DataFrame]] = {name: [] for name in ranges}
    for category, start, end in zip(categories, edges[:-1], edges[1:]):
        rows = by_category[start:end]
        stores, row = np.unique(pairs.store[rows], return_inverse=True)
        skus, column = np.unique(pairs.sku[rows], return_inverse=True)
        grid = _Grid(row, column, (len(stores), len(skus)))
        units_here, margin_here = grid.of(units[rows]), grid.of(margin[rows])
        if substitutes is not None:
            matrix, unit_margin = (
                _matrix(substitutes, pairs.skus[skus]),
                _unit_margin(units_here, margin_here),
            )
        for name, listed in there.items():
            on_shelf = grid.of(listed[rows])
            earned = (margin_here * on_shelf).sum(axis=1)
            if substitutes is not None:
                moved = (units_here * (1 - on_shelf)) @ matrix
                earned += (moved * on_shelf * unit_margin).sum(axis=1)
            frame = {"store_id": pairs.stores[stores], "category": category, "margin": earned}
            parts[name].append(pd.DataFrame(frame))
    return {
        name: pd.concat(some, ignore_index=True).sort_values(["store_id", "category"], ignore_index=True)
        if some
        else pd.DataFrame({"store_id": [], "category": [], "margin": []})
        for name, some in parts.items()
    }


class _Grid(NamedTuple):
    """Places of a category's rows in a table of stores by SKUs."""

    row: np.ndarray
    column: np.ndarray
    shape: tuple[int, int]

    def of(self, values: np.ndarray) -> np.ndarray:
        """Lay values out; zero where there is no row."""
        grid = np.zeros(self.shape)
        grid[self.row, self.column] = values
        return grid


def _matrix(substitutes: pd.DataFrame, skus: pd.Index) -> np.ndarray:
    left, right = (skus.get_indexer(pd.Index(substitutes[name])) for name in ("sku", "substitute"))
    known = (left >= 0) & (right >= 0)
    shares = np.zeros((len(skus), len(skus)))
    shares[left[known], right[known]] = substitutes["share"].to_numpy(dtype=float)[known]
    return shares


def _unit_margin(units: np.ndarray, margin: np.ndarray) -> np.ndarray:
    """Margin of a unit in each store; the chain's where a store expects none."""
    total = units.sum(axis=0)
    chain = np.divide(margin.sum(axis=0), total, out=np.zeros_like(total), where=total > 0)
    return np.divide(margin, units, out=np.broadcast_to(chain, units.shape).copy(), where=units > 0)
