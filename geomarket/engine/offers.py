"""What was sold on offer, added up where the sales live."""

from __future__ import annotations

import ibis
import ibis.expr.types as ir
import pandas as pd

from geomarket.engine.expressions import whole
from geomarket.engine.fetching import fetch

__all__ = ["units_on_offer"]

_STEPS = 10_000


def units_on_offer(sales: ir.Table, offers: pd.DataFrame) -> pd.DataFrame:
    """Add up units sold while on offer.

    Parameters
    ----------
    sales : ibis table
        ``Market.sales``.
    offers : DataFrame
        store_id (missing: every store), sku, period (as in sales), depth (share of the price). A sale on an offer of
        its store and on one of every store counts once for each; offers that are there twice count once.

    Returns
    -------
    DataFrame
        sku, depth (to 4 decimals), units (float); ordered by SKU and depth.

    Examples
    --------
    >>> from geomarket.market.connection import sales_table
    >>> sales = sales_table(pd.DataFrame({"store_id": ["1", "2"], "sku": "a", "units": [2, 9],
    ...     "period": "2024-01-01", "revenue": [5.0, 9.0]}))
    >>> offers = pd.DataFrame({"store_id": [None], "sku": ["a"], "period": ["2024-01-01"], "depth": [0.2]})
    >>> units_on_offer(sales, offers).values.tolist()
    [['a', 0.2, 11.0]]
    """
    own = offers["store_id"].notna()
    parts = [
        _sold(sales, offers[chosen], keys)
        for chosen, keys in ((own, ["store_id", "sku", "period"]), (~own, ["sku", "period"]))
        if chosen.any()
    ]
    if not parts:
        return pd.DataFrame({"sku": pd.Series(dtype=str), "depth": [], "units": []})
    found = pd.concat(parts).groupby(["sku", "steps"], as_index=False)["units"].sum()
    return pd.DataFrame({"sku": found["sku"], "depth": found["steps"] / _STEPS, "units": found["units"]})


def _sold(sales: ir.Table, offers: pd.DataFrame, keys: list[str]) -> pd.DataFrame:
    """Units by SKU and depth in whole steps: a key every engine compares alike."""
    steps = (offers["depth"].astype(float) * _STEPS).round().astype("int64")
    rows = offers[keys].assign(steps=steps, period=pd.to_datetime(offers["period"])).drop_duplicates()
    small = ibis.memtable(rows)
    named = {name: small[name].cast("date" if name == "period" else "string") for name in keys}
    joined = sales.inner_join(small.select(**named, steps=small.steps.cast("int64")), keys)
    found = joined.group_by(["sku", "steps"]).aggregate(units=whole(joined.units))
    return fetch(found.order_by(["sku", "steps"]))
