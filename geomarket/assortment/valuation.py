"""What given ranges earn by given forecasts, whoever chose them."""

from __future__ import annotations

import numpy as np
import pandas as pd

from geomarket.errors import TableError

__all__ = ["range_margins"]


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
    if demand.duplicated(["store_id", "sku"]).any():
        raise TableError("demand: some pairs of store and SKU have more than one row. Give one row each.")
    shelf = pd.MultiIndex.from_frame(listed[["store_id", "sku"]])
    there = pd.MultiIndex.from_frame(demand[["store_id", "sku"]]).isin(shelf)
    parts = []
    for category, rows in demand.assign(there=there).groupby("category", sort=True):
        wide = rows.pivot(index="store_id", columns="sku", values=["units", "margin", "there"])
        units = wide["units"].to_numpy(dtype=float, na_value=0.0)
        margin = wide["margin"].to_numpy(dtype=float, na_value=0.0)
        on_shelf = wide["there"].eq(True).to_numpy(dtype=float)
        earned = (margin * on_shelf).sum(axis=1)
        if substitutes is not None:
            moved = (units * (1 - on_shelf)) @ _matrix(substitutes, wide["units"].columns)
            earned += (moved * on_shelf * _unit_margin(units, margin)).sum(axis=1)
        parts.append(pd.DataFrame({"store_id": wide.index, "category": category, "margin": earned}))
    if not parts:
        return pd.DataFrame({"store_id": [], "category": [], "margin": []})
    return pd.concat(parts, ignore_index=True).sort_values(["store_id", "category"], ignore_index=True)


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
