"""The promotion stage: what past offers did, and which offers of the coming periods pay."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import Literal

import pandas as pd

from geomarket import engine
from geomarket.assortment import RangePlan, SolverOptions
from geomarket.demand import Demand
from geomarket.market import Market, PlanSettings
from geomarket.planning.trade import Trade
from geomarket.promotions import (
    PromotionPlan,
    PromotionResponse,
    PromotionRules,
    fit_response,
    plan_promotions,
    promotion_panel,
)
from geomarket.store_clusters import StoreClustering

__all__ = ["find_promotions", "next_periods", "past_spend", "season_index"]


def find_promotions(
    market: Market,
    trade: Trade,
    demand: Demand,
    ranges: RangePlan,
    clusters: StoreClustering,
    settings: PlanSettings,
) -> tuple[PromotionResponse, PromotionPlan]:
    """Estimate what offers did and plan the offers that pay."""
    assert market.promotions is not None
    chosen = settings.promotions
    by_pair = engine.sales_by_period(trade.sales, ("store_id", "sku"))
    by_cluster = clusters.table[["store_id", "store_cluster"]]
    offers = market.promotions[market.promotions["sku"].isin(trade.products["sku"])]
    offers = offers[offers["store_id"].isna() | offers["store_id"].isin(trade.stores["store_id"])]
    panel = promotion_panel(by_pair, offers, trade.pairs, by_cluster, trade.products, trade.periods)
    response = fit_response(panel, dip_form="after" if market.period == "week" else "depth")
    kept = ranges.changes[ranges.changes["action"] != "delist"]
    shown: list[Literal["display", "mailer"]] = [
        name for name in ("display", "mailer") if bool(offers[name].any())
    ]
    budget = chosen.budget
    if budget is None:
        budget = past_spend(by_pair, offers, trade.products, trade.periods[-chosen.horizon :])
    rules = PromotionRules(
        depths=chosen.depths,
        channels=("shelf", *shown),
        budget=budget * (1 - chosen.funding_share) if chosen.budget is None else budget,
        max_per_category_period=chosen.max_per_category_period,
        max_per_sku=chosen.max_per_sku,
        spacing=chosen.spacing,
        funding_share=chosen.funding_share,
        contact_cost={"mailer": chosen.contact_cost} if "mailer" in shown else {},
    )
    horizon = next_periods(trade.periods[-1], chosen.horizon, market.period, chosen.start)
    plan = plan_promotions(
        response,
        demand.table,
        trade.products,
        by_cluster,
        rules,
        periods=horizon,
        season=season_index(by_pair, trade.products, trade.periods, horizon, market.period),
        listings=kept[["store_id", "sku"]],
        solver=SolverOptions(gap=chosen.gap, time_limit=chosen.time_limit),
    )
    return response, plan


def past_spend(
    sales: pd.DataFrame, offers: pd.DataFrame, products: pd.DataFrame, periods: Sequence[dt.date]
) -> float:
    """Return what price cuts cost in some past periods: depth × price × units sold on offer.

    Parameters
    ----------
    sales : DataFrame
        store_id, sku, period, units.
    offers : DataFrame
        store_id (missing: every store), sku, period, depth.
    products : DataFrame
        sku, price.
    periods : sequence of date
        The periods counted.
    """
    wanted = pd.to_datetime(pd.Series(list(periods)))
    sold = sales[pd.to_datetime(sales["period"]).isin(wanted)]
    offers = offers[pd.to_datetime(offers["period"]).isin(wanted)].assign(
        period=lambda t: pd.to_datetime(t["period"])
    )
    everywhere = offers["store_id"].isna()
    keys = ["sku", "period"]
    on = pd.concat(
        [
            sold.merge(offers.loc[everywhere, [*keys, "depth"]], on=keys),
            sold.merge(offers.loc[~everywhere, ["store_id", *keys, "depth"]], on=["store_id", *keys]),
        ]
    )
    price = on["sku"].map(products.set_index("sku")["price"])
    return float((on["depth"] * price * on["units"]).sum())


def next_periods(last: dt.date, n: int, period: str, start: dt.date | None) -> list[dt.date]:
    """Return the first days of the ``n`` periods after ``last``, or from ``start`` on."""
    first = pd.Timestamp(start or last)
    if period == "month":
        days = pd.date_range(first.replace(day=1), periods=n + 1, freq="MS")
    else:
        days = pd.date_range(first - pd.Timedelta(days=first.weekday()), periods=n + 1, freq="7D")
    days = days[:n] if start else days[1:]
    return [day.date() for day in days]


def season_index(
    sales: pd.DataFrame,
    products: pd.DataFrame,
    periods: Sequence[dt.date],
    horizon: Sequence[dt.date],
    period: str,
) -> pd.DataFrame | None:
    """Return category, period, index: units a year before the planned period, over the category's mean that year.

    None with less than a year of sales: the plan then takes every period as average.
    """
    year = 52 if period == "week" else 12
    if len(periods) < year:
        return None
    recent = pd.to_datetime(pd.Series(list(periods[-year:])))
    sold = sales.assign(category=sales["sku"].map(products.set_index("sku")["category"]))
    sold = sold[pd.to_datetime(sold["period"]).isin(recent)]
    units = sold.pivot_table(index="period", columns="category", values="units", aggfunc="sum", observed=True)
    index = units / units.mean()
    index.index = pd.to_datetime(index.index)
    rows = []
    for day in pd.to_datetime(pd.Series(list(horizon))):
        before = day - (pd.Timedelta(weeks=52) if period == "week" else pd.DateOffset(years=1))
        if before in index.index:
            year_ago = index.loc[before]
            rows.append(
                pd.DataFrame({"category": year_ago.index, "period": day, "index": year_ago.to_numpy()})
            )
    return pd.concat(rows, ignore_index=True) if rows else None
