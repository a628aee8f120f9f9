"""The promotion stage: what past offers did, and which offers of the coming periods pay."""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Sequence
from typing import Any, Literal

import h3.api.basic_int as h3
import ibis.expr.types as ir
import numpy as np
import pandas as pd

from geomarket import engine
from geomarket.assortment import RangePlan, SolverOptions
from geomarket.customers import channel_response
from geomarket.demand import Demand
from geomarket.errors import NotSupportedError
from geomarket.hexes import points_to_cells
from geomarket.market import Market, PlanSettings
from geomarket.market.offer_settings import PromotionSettings
from geomarket.neighbourhoods import Neighbourhoods
from geomarket.planning.trade import Trade
from geomarket.promotions import (
    Ban,
    Blackout,
    PromotionPlan,
    PromotionResponse,
    PromotionRules,
    fit_relationship,
    fit_response,
    fit_store_response,
    plan_promotions,
    promotion_panel,
    response_by_type,
    response_holdout,
)
from geomarket.safeguards import suppress
from geomarket.store_clusters import StoreClustering

__all__ = [
    "find_promotions",
    "next_periods",
    "past_spend",
    "promotion_rules",
    "sampled_stores",
    "season_index",
]

_LEAST_STORES = 10


def find_promotions(
    market: Market,
    trade: Trade,
    demand: Demand,
    ranges: RangePlan,
    clusters: StoreClustering,
    settings: PlanSettings,
    profile: pd.DataFrame | None = None,
    neighbourhoods: Neighbourhoods | None = None,
) -> tuple[PromotionResponse, PromotionPlan]:
    """Estimate what offers did and plan the offers that pay.

    ``profile`` (store_id, neighbourhood, share: who the stores' trade comes from) and ``neighbourhoods`` add the
    response by neighbourhood type.
    """
    assert market.promotions is not None
    chosen = settings.promotions
    by_cluster = clusters.table[["store_id", "store_cluster"]]
    offers = _only(market.promotions, market.promotions["sku"].isin(trade.products["sku"]))
    offers = _only(offers, offers["store_id"].isna() | offers["store_id"].isin(trade.stores["store_id"]))
    history, sampled = _history(trade, offers, by_cluster, chosen.most_pairs)
    panel = promotion_panel(*history)
    dip_form: Literal["after", "depth"] = "after" if market.period == "week" else "depth"
    if profile is not None and neighbourhoods is not None:
        profile = _coarse_enough(profile, neighbourhoods)
    response = _with_context(fit_response(panel, dip_form=dip_form), panel, history, profile, chosen)
    if sampled:
        response = dataclasses.replace(response, cautions=(*response.cautions, sampled))
    if neighbourhoods is not None:
        response = dataclasses.replace(response, answers=_answers(market, neighbourhoods, settings))
    # what waits for proof, or for a later phase, is not on the shelf to be promoted
    kept = ranges.shelf("first phase")
    shown = [name for name in ("display", "mailer") if bool(offers[name].any())]
    budget = chosen.budget
    if budget is None:
        past = past_spend(trade.sales, offers, trade.products, trade.periods[-chosen.horizon :])
        budget = past * (1 - chosen.funding_share)
    horizon = next_periods(trade.periods[-1], chosen.horizon, market.period, chosen.start)
    plan = plan_promotions(
        response,
        demand.table,
        trade.products,
        by_cluster,
        promotion_rules(chosen, budget, shown),
        periods=horizon,
        season=season_index(
            engine.sales_by_period(trade.sales, ("sku",)),
            trade.products,
            trade.periods,
            horizon,
            market.period,
        ),
        listings=kept[["store_id", "sku"]],
        solver=SolverOptions(gap=chosen.gap, time_limit=chosen.time_limit),
        random_state=settings.plan.seed,
        currency=market.currency,
    )
    return response, plan


def promotion_rules(settings: PromotionSettings, budget: float, shown: Sequence[str]) -> PromotionRules:
    """Return the rules that a plan's settings ask for.

    Parameters
    ----------
    settings : PromotionSettings
        Section ``[promotions]``.
    budget : float
        Money for the whole horizon.
    shown : sequence of str
        Channels besides the shelf that the history has.
    """
    there = {"shelf", *shown}
    costs = {"mailer": settings.contact_cost, "display": settings.display_cost}
    return PromotionRules(
        depths=settings.depths,
        mechanics=settings.mechanics,
        channels=tuple(channel for channel in settings.channels if channel in there) or ("shelf",),
        budget=budget,
        channel_budgets={str(name): most for name, most in settings.channel_budgets.items()},
        max_per_category_period=settings.max_per_category_period,
        channel_slots={str(name): most for name, most in settings.channel_slots.items()},
        max_per_sku=settings.max_per_sku,
        spacing=settings.spacing,
        max_depth=settings.max_depth,
        max_depth_by=dict(settings.max_depth_by),
        price_endings=settings.price_endings,
        blackouts=tuple(Blackout(b.first, b.last, b.categories) for b in settings.blackouts),
        bans=tuple(
            Ban(b.name, b.categories, b.skus, b.attribute, b.mechanics, b.channels, b.max_depth)
            for b in settings.bans
        ),
        vendor_column=settings.vendor_column,
        vendor_minimums=dict(settings.vendor_minimums),
        funding_share=settings.funding_share,
        contact_cost={channel: cost for channel, cost in costs.items() if channel in there},
        cannibalisation=settings.cannibalisation,
        halo=settings.halo,
        confidence=settings.confidence,
    )


def _with_context(
    response: PromotionResponse,
    panel: pd.DataFrame,
    history: tuple,
    profile: pd.DataFrame | None,
    settings: PromotionSettings,
) -> PromotionResponse:
    """Add what offers do beyond their SKU, how well they are forecast, and how types of neighbourhood respond."""
    if response.table.empty:
        return response
    found: dict[str, Any] = {}
    why = list(response.cautions)
    try:
        found["relationship"] = fit_relationship(response, *history)
    except NotSupportedError as reason:
        why.append(str(reason))
    if settings.holdout:
        try:
            found["holdout"] = response_holdout(panel, dip_form=response.dip_form, only=3)
        except NotSupportedError as reason:
            why.append(str(reason))
    if profile is not None and len(profile):
        try:
            stores = fit_store_response(*history)
            terms = [t for t in ("price", "display", "mailer") if stores.means["term"].eq(t).any()]
            found["by_type"] = response_by_type(stores, profile, terms=terms)
        except NotSupportedError as reason:
            why.append(str(reason))
    return dataclasses.replace(response, cautions=tuple(why), **found)


def _coarse_enough(profile: pd.DataFrame, neighbourhoods: Neighbourhoods) -> pd.DataFrame:
    """Put supergroups for the finest types where there are fewer than two stores for each of those."""
    if profile["store_id"].nunique() >= 2 * profile["neighbourhood"].nunique():
        return profile
    whole = neighbourhoods.table.dropna(subset=["neighbourhood"]).drop_duplicates("neighbourhood")
    supergroup = profile["neighbourhood"].map(whole.set_index("neighbourhood")["supergroup"])
    return profile.assign(neighbourhood=supergroup.fillna(profile["neighbourhood"]))


def _answers(market: Market, neighbourhoods: Neighbourhoods, settings: PlanSettings) -> pd.DataFrame | None:
    """Return how contacts were answered by channel and neighbourhood type, small numbers of people suppressed."""
    if market.contacts is None or market.contacts.empty or market.customers is None:
        return None
    homes = market.customers.dropna(subset=["lon", "lat"])
    known = neighbourhoods.table.dropna(subset=["neighbourhood"])
    cells = points_to_cells(homes["lon"], homes["lat"], h3.get_resolution(int(known["cell"].iloc[0])))
    types = known.set_index("cell")["supergroup"].reindex(cells).to_numpy()
    type_of = pd.Series(types, index=homes["customer_id"]).dropna()
    contacts = market.contacts.assign(neighbourhood=market.contacts["customer_id"].map(type_of))
    contacts = contacts.dropna(subset=["neighbourhood"])
    if contacts.empty:
        return None
    keys = ["channel", "neighbourhood"]
    rates = channel_response(contacts, by="neighbourhood").set_index(keys)
    people = contacts.groupby(keys)["customer_id"].nunique()
    answered = contacts[contacts["responded"].astype(bool)].groupby(keys)["customer_id"].nunique()
    table = pd.DataFrame(
        {"customers": people, "responders": answered.reindex(people.index).fillna(0).astype(int)}
    )
    table = table.join(rates[["contacts", "rate", "low", "high", "expected"]]).reset_index()
    told = ("rate", "low", "high", "expected")
    hidden = suppress(
        table,
        "customers",
        settings.privacy.k,
        margins=(("channel",),),
        dependent=["contacts", *told],
        parts={"responders": told},
    )
    return hidden.table.drop(columns="suppressed")


def past_spend(
    sales: ir.Table, offers: pd.DataFrame, products: pd.DataFrame, periods: Sequence[dt.date]
) -> float:
    """Return what price cuts cost in some past periods: depth × price × units sold on offer.

    Parameters
    ----------
    sales : ibis table
        ``Market.sales``.
    offers : DataFrame
        store_id (missing: every store), sku, period, depth.
    products : DataFrame
        sku, price.
    periods : sequence of date
        The periods counted.
    """
    wanted = pd.to_datetime(pd.Series(list(periods)))
    sold = engine.units_on_offer(sales, offers[pd.to_datetime(offers["period"]).isin(wanted)])
    price = sold["sku"].map(products.set_index("sku")["price"])
    return float((sold["depth"] * price * sold["units"]).sum())


def _history(trade: Trade, offers: pd.DataFrame, clusters: pd.DataFrame, most: int) -> tuple[tuple, str]:
    """Return what the response is estimated from, and what to say where that is a part of the stores.

    Where there are more pairs of store and SKU than ``most``, every so-manieth store of each store cluster is taken,
    in the order of what it carries, so that large and small ones are there as in the cluster.
    """
    chosen = sampled_stores(trade.pairs, clusters, most)
    whole = (trade.sales, offers, trade.pairs, clusters)
    said = ""
    if len(chosen) < clusters["store_id"].nunique():
        whole = (
            trade.sales.filter(trade.sales["store_id"].isin(chosen)),
            offers[offers["store_id"].isna() | offers["store_id"].isin(chosen)],
            trade.pairs[trade.pairs["store_id"].isin(chosen)],
            clusters[clusters["store_id"].isin(chosen)],
        )
        said = (
            f"The response to offers is estimated from {len(chosen):,} of {clusters['store_id'].nunique():,} stores, "
            "drawn evenly from large to small within each store cluster ([promotions] most_pairs)."
        )
    by_pair = engine.sales_by_period(whole[0], ("store_id", "sku"))
    return (by_pair, *whole[1:], trade.products, trade.periods), said


def sampled_stores(pairs: pd.DataFrame, clusters: pd.DataFrame, most: int) -> list[str]:
    """Return the stores that estimates rest on: all, or as many as keep pairs of store and SKU below ``most``.

    Parameters
    ----------
    pairs : DataFrame
        store_id, sku: one row per pair with trade.
    clusters : DataFrame
        store_id, store_cluster.
    most : int
        Most pairs; each cluster keeps at least ten stores, or all it has.

    Returns
    -------
    list of str
        In order.

    Examples
    --------
    >>> pairs = pd.DataFrame({"store_id": [str(i) for i in range(40)], "sku": "a"})
    >>> clusters = pd.DataFrame({"store_id": [str(i) for i in range(40)], "store_cluster": "C1"})
    >>> len(sampled_stores(pairs, clusters, 1_000)), len(sampled_stores(pairs, clusters, 20))
    (40, 20)
    """
    carried = clusters.assign(skus=clusters["store_id"].map(pairs["store_id"].value_counts()).fillna(0))
    share = min(1.0, most / max(float(carried["skus"].sum()), 1.0))
    kept: list[str] = []
    for _, mine in carried.sort_values(["skus", "store_id"]).groupby("store_cluster", sort=True):
        n = min(len(mine), max(_LEAST_STORES, round(share * len(mine))))
        # the middles of n stretches of equal length
        places = (np.arange(n) * len(mine) + len(mine) // 2) // n
        kept += mine["store_id"].iloc[places].tolist()
    return sorted(kept)


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


def _only(offers: pd.DataFrame, wanted: pd.Series) -> pd.DataFrame:
    """Rows of a table; the table itself, not a copy of millions of rows, where all are wanted."""
    return offers if wanted.all() else offers[wanted]
