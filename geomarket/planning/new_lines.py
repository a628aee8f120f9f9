"""SKUs a plan may list although no store has sold them yet: which they are, and what they would sell."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pandas as pd

from geomarket import engine
from geomarket.assortment import RangePlan
from geomarket.demand import (
    Demand,
    Family,
    LaunchEvidence,
    NewListingDiscount,
    fit_demand,
    forecast_new_skus,
    learn_launches,
    with_new_skus,
)
from geomarket.errors import NotSupportedError, SettingsError
from geomarket.market import Market, PlanSettings
from geomarket.planning.trade import Trade

__all__ = ["add_new_skus", "mark_new_skus"]

_NEW = "sold nowhere yet, forecast from its attributes"


def add_new_skus(
    market: Market,
    trade: Trade,
    demand: Demand,
    families: Sequence[Family],
    discount: NewListingDiscount | None,
    settings: PlanSettings,
) -> tuple[Demand, Trade, list[str]]:
    """Forecast the SKUs without sales that the settings name, and let the ranges choose among them.

    Parameters
    ----------
    market : Market
        Its products hold the new SKUs, with category, price, cost and attributes.
    trade : Trade
        What sells today.
    demand : Demand
        Of that.
    families : sequence of Family
        Those the demand was fitted with.
    discount : NewListingDiscount or None
        For its growth, and as a stand-in where too few SKUs were launched.
    settings : PlanSettings
        ``[demand] new_skus``; must-lists and core SKUs without sales are new SKUs too.

    Returns
    -------
    demand : Demand
        With family "attributes" for the new SKUs.
    trade : Trade
        With the new SKUs among its products.
    notes : list of str

    Raises
    ------
    SettingsError
        If a SKU named is not in products, or has sales.
    """
    wanted, notes = _wanted(market, trade, settings)
    if not wanted:
        return demand, trade, notes
    attributes = ["brand", "subcategory", *market.product_attributes]
    products = pd.concat(
        [trade.products, market.products[market.products["sku"].isin(wanted)]], ignore_index=True
    )
    launches = _launches(trade, families, discount, attributes, settings)
    try:
        forecast = forecast_new_skus(
            demand, products, wanted, attributes, launches=launches, random_state=settings.plan.seed
        )
    except NotSupportedError as reason:
        return demand, trade, [*notes, f"New SKUs are not planned: {reason}"]
    return with_new_skus(demand, forecast), replace(trade, products=products), notes + forecast.summary()


def _wanted(market: Market, trade: Trade, settings: PlanSettings) -> tuple[list[str], list[str]]:
    """Return the new SKUs that can be forecast, and what is to be said of the others."""
    asked, rules = settings.demand.new_skus, settings.assortment
    named = [] if isinstance(asked, bool) else list(asked)
    products = market.products.drop_duplicates("sku").set_index("sku")
    candidates = [*named, *rules.must_list, *rules.core]
    if not candidates and asked is not True:
        return [], []
    sold = set(engine.sales_by_period(market.sales, ("sku",))["sku"])
    for problem, wrong in (
        ("are not in products", [sku for sku in named if sku not in products.index]),
        ("have sales and so are not new", [sku for sku in named if sku in sold]),
    ):
        if wrong:
            raise SettingsError(
                f"[demand] new_skus: {len(wrong)} SKUs {problem} ({', '.join(wrong[:3])}). Take them out of the list."
            )
    if asked is True:
        candidates += products.index.tolist()
    fresh = [sku for sku in dict.fromkeys(candidates) if sku in products.index and sku not in sold]
    if rules.categories:
        fresh = [sku for sku in fresh if products.loc[sku, "category"] in rules.categories]
    mine = products.loc[fresh]
    usable = mine[["category", "price", "cost"]].notna().all(axis=1)
    usable &= mine["category"].isin(trade.products["category"])
    notes = []
    if not usable.all():
        left = mine.index[~usable].tolist()
        notes.append(
            f"{len(left)} new SKUs lack a price, a cost or a category in which anything sells, and are not planned "
            f"({', '.join(left[:3])})."
        )
    return sorted(mine.index[usable]), notes


def _launches(
    trade: Trade,
    families: Sequence[Family],
    discount: NewListingDiscount | None,
    attributes: Sequence[str],
    settings: PlanSettings,
) -> LaunchEvidence | None:
    """Hold forecasts from the first half of the window against SKUs launched in the second; None if too few were."""
    half = len(trade.periods) // 2
    middle = trade.periods[half]
    early = engine.store_sku_periods(trade.sales, (None, middle))
    late = engine.store_sku_periods(trade.sales, (middle, None))
    try:
        before = fit_demand(
            early,
            trade.stores,
            trade.products,
            None,
            half,
            families=families,
            tune=False,
            calendar=trade.periods[:half],
            random_state=settings.plan.seed,
        )
        return learn_launches(
            before,
            late,
            len(trade.periods) - half,
            trade.products,
            attributes,
            calendar=trade.periods[half:],
            growth=discount.growth if discount is not None else 1.0,
            random_state=settings.plan.seed,
        )
    except NotSupportedError:
        return None


def mark_new_skus(ranges: RangePlan, demand: Demand) -> RangePlan:
    """Say of every line with a new SKU that its figures are a forecast from attributes.

    Parameters
    ----------
    ranges : RangePlan
        With a reason for each line.
    demand : Demand
        With family "attributes" for new SKUs.

    Returns
    -------
    RangePlan
    """
    new = set(demand.table.loc[demand.table["family"] == "attributes", "sku"])
    if not new:
        return ranges
    marked = {}
    for name in ("table", "changes"):
        frame = getattr(ranges, name)
        mine = frame["sku"].isin(new)
        marked[name] = frame.assign(
            reason=frame["reason"].mask(mine, f"{_NEW}; " + frame["reason"].astype("str"))
        )
    return replace(ranges, **marked)
