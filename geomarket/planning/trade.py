"""What the chain trades today: live stores and SKUs, today's range, yearly money."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import ibis.expr.types as ir
import pandas as pd

from geomarket import engine
from geomarket.demand import listing_spans
from geomarket.errors import NotSupportedError, SettingsError
from geomarket.market import Market

__all__ = ["Trade", "current_trade", "trade_in"]

LIVE_PERIODS = {"week": 13, "month": 3}
"""Without a sale in the last so many periods a store counts as closed and a SKU as discontinued."""
ESTABLISHED_PERIODS = {"week": 26, "month": 6}
"""A SKU sold in fewer periods than this is an in-and-out item: no rate can be told from it."""
ESTABLISHED_STORES = 3
"""A SKU sold in fewer stores than this says nothing about other stores."""


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


def trade_in(trade: Trade, categories: Sequence[str]) -> Trade:
    """Return the part of the trade that is in some categories, and the stores that sell them.

    Raises
    ------
    SettingsError
        If no category is named, or one that no product has.
    """
    known = sorted(trade.products["category"].unique())
    unknown = sorted(set(categories) - set(known))
    if unknown or not categories:
        said = f"names {', '.join(unknown)}, which no product has" if unknown else "names none"
        raise SettingsError(
            f'[store_clusters] scope = "categories" groups stores by [assortment] categories, which {said}; '
            f"products have {', '.join(known)}."
        )
    products = trade.products[trade.products["category"].isin(list(categories))].reset_index(drop=True)
    mine = set(products["sku"])
    pairs = trade.pairs[trade.pairs["sku"].isin(mine)].reset_index(drop=True)
    stores = trade.stores[trade.stores["store_id"].isin(pairs["store_id"])].reset_index(drop=True)
    return replace(
        trade,
        sales=trade.sales.filter(trade.sales["sku"].isin(sorted(mine))),
        stores=stores,
        products=products,
        pairs=pairs,
        today=trade.today[trade.today["sku"].isin(mine)].reset_index(drop=True),
        notes=(*trade.notes, f"Planned for {', '.join(sorted(categories))} alone, store clusters included."),
    )


def current_trade(market: Market, needed: Sequence[str] = ("price", "cost")) -> Trade:
    """Leave out closed stores, discontinued and in-and-out SKUs, and find today's range.

    A SKU that sold in few stores or few periods (a single barrel, a gift pack, a launch of last month) has no rate
    that could be carried to other stores, and one without a price or cost can't be weighed against others. Such SKUs
    stay where they are: they are neither planned nor delisted, and the space they take is not given away.

    Whether a SKU is on the shelf is not in the data: it counts as listed today where its sales, stretched by its
    own usual gap between two sales, reach the last period (:func:`geomarket.demand.listing_spans`).

    Parameters
    ----------
    market : Market
        The tables.
    needed : sequence of str
        Columns of products a SKU needs a value in; one that no SKU has is left to whoever needs it to refuse.

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
    history = engine.sales_by_period(market.sales, ("sku",)).groupby("sku")["period"].nunique()
    spread = pairs.groupby("sku")["store_id"].nunique()
    least = min(ESTABLISHED_PERIODS[market.period], len(periods) // 2)
    established = set(history.index[history >= least]) & set(spread.index[spread >= ESTABLISHED_STORES])
    passing = live_skus - established
    live_skus &= established
    missing = _lacking(market.products[market.products["sku"].isin(live_skus)], needed)
    live_skus -= missing.keys()
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
    if passing:
        notes.append(
            f"{len(passing)} SKUs sold in fewer than {ESTABLISHED_STORES} stores or {least} {market.period}s "
            "(in-and-out items, launches): too little to plan by; they stay where they are."
        )
    if missing:
        what = " or ".join(name.removesuffix("_cm") for name in needed if name in missing.values())
        few = ", ".join(list(missing)[:3]) + (" …" if len(missing) > 3 else "")
        notes.append(
            f"{len(missing)} SKUs ({few}) have no {what} in products and can't be weighed against others; they stay "
            "where they are."
        )
    if gone := len(market.products) - len(products) - len(passing) - len(missing):
        notes.append(
            f"{gone} SKUs that no own store sold in {span} count as discontinued and are not planned."
        )
    return Trade(sales, stores, products, pairs, today, periods, tuple(notes))


def _lacking(products: pd.DataFrame, needed: Sequence[str]) -> dict[str, str]:
    """Return SKU -> the first needed column it has no value in, in order of SKUs."""
    found: dict[str, str] = {}
    for name in needed:
        if name in products and products[name].notna().any():
            found |= {
                sku: name for sku in products.loc[products[name].isna(), "sku"].tolist() if sku not in found
            }
    return dict(sorted(found.items()))
