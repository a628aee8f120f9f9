"""What the chain trades today: live stores and SKUs, today's range, yearly money."""

from __future__ import annotations

from dataclasses import dataclass

import ibis.expr.types as ir
import pandas as pd

from geomarket import engine
from geomarket.demand import listing_spans
from geomarket.errors import NotSupportedError
from geomarket.market import Market

__all__ = ["Trade", "current_trade"]

LIVE_PERIODS = {"week": 13, "month": 3}
"""Without a sale in the last so many periods a store counts as closed and a SKU as discontinued."""


@dataclass(frozen=True)
class Trade:
    """The sales a plan is made from.

    Attributes
    ----------
    sales : ibis table
        Sales of live stores and SKUs.
    stores, products : DataFrame
        Those that are live.
    pairs : DataFrame
        One row per store and SKU with trade (:func:`geomarket.engine.store_sku_periods`).
    today : DataFrame
        store_id, sku: on the shelf at the end of the window, as far as sales tell.
    periods : list of date
        All trading periods, in order.
    notes : tuple of str
        What was left out.
    """

    sales: ir.Table
    stores: pd.DataFrame
    products: pd.DataFrame
    pairs: pd.DataFrame
    today: pd.DataFrame
    periods: list
    notes: tuple[str, ...]


def current_trade(market: Market) -> Trade:
    """Leave out closed stores and discontinued SKUs, and find today's range.

    Whether a SKU is on the shelf is not in the data: it counts as listed today where its sales, stretched by its
    own usual gap between two sales, reach the last period (:func:`geomarket.demand.listing_spans`).

    Raises
    ------
    NotSupportedError
        If fewer than two stores or no SKU trade at the end of the window.
    """
    periods = engine.periods_of(market.sales)
    if not periods:
        raise NotSupportedError("sales: the table has no row with trade; give at least a year of sales.")
    recent = periods[-min(LIVE_PERIODS[market.period], len(periods)) :][0]
    pairs = engine.store_sku_periods(market.sales)
    last = pairs["last_period"] >= pd.Timestamp(recent)
    live_stores = set(pairs.loc[last, "store_id"])
    live_skus = set(pairs.loc[last, "sku"])
    stores = market.stores[market.stores["store_id"].isin(live_stores)].reset_index(drop=True)
    products = market.products[market.products["sku"].isin(live_skus)].reset_index(drop=True)
    if len(stores) < 2 or products.empty:
        raise NotSupportedError(
            f"sales: {len(stores)} stores and {len(products)} SKUs sold something since {recent}; a plan by store "
            "cluster needs at least two stores. Check the dates of the sales table."
        )
    kept = pairs["store_id"].isin(stores["store_id"]) & pairs["sku"].isin(products["sku"])
    pairs = pairs[kept].reset_index(drop=True)
    sales = market.sales
    if len(stores) < len(market.stores):
        sales = sales.filter(sales["store_id"].isin(stores["store_id"].tolist()))
    if len(products) < len(market.products):
        sales = sales.filter(sales["sku"].isin(products["sku"].tolist()))
    _, end = listing_spans(pairs, len(periods), calendar=periods)
    today = pairs.loc[end > len(periods) - 1, ["store_id", "sku"]].reset_index(drop=True)
    span = f"the last {LIVE_PERIODS[market.period]} {market.period}s"
    notes = []
    if closed := len(market.stores) - len(stores):
        notes.append(f"{closed} own stores without a sale in {span} count as closed and are not planned for.")
    if gone := len(market.products) - len(products):
        notes.append(
            f"{gone} SKUs that no own store sold in {span} count as discontinued and are not planned."
        )
    return Trade(sales, stores, products, pairs, today, periods, tuple(notes))
