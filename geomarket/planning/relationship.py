"""The whole relationship in the plan of one category: what is at stake beside the category's own margin."""

from __future__ import annotations

import pandas as pd

from geomarket import engine
from geomarket.customers import relationship_value
from geomarket.market import Market, PlanSettings

__all__ = ["money_at_stake"]


def money_at_stake(market: Market, settings: PlanSettings) -> tuple[pd.DataFrame | None, list[str]]:
    """Work out what customers who are small in a category and big overall may take with them.

    A share of all the margin such a customer brings (``[customers] relationship_risk``, an assumption) is spread over
    what they buy in the category, by store and SKU. Ranges weigh it against the margin of what could stand there
    instead. Customers who are not known by name have no such weight.

    Parameters
    ----------
    market : Market
        With baskets, and products with costs; otherwise nothing is at stake.
    settings : PlanSettings
        The share at risk.

    Returns
    -------
    DataFrame or None
        store_id, sku, money a period; None where nothing is known or asked for.
    list of str
        What a reader of the plan must know.
    """
    risk = settings.customers.relationship_risk
    if risk == 0 or market.baskets is None:
        return None, []
    by_category = engine.customer_category(market.baskets, market.products, figures=["margin"], coded=True)
    if not by_category["margin"].notna().any():
        return None, []
    flagged = relationship_value(by_category, "margin").flags
    del by_category
    flagged = flagged[flagged["overall"] > 0]
    if flagged.empty:
        return None, []
    days = market.baskets.aggregate(
        first=market.baskets.date.min().cast("date"), last=market.baskets.date.max().cast("date")
    ).to_pandas()
    span = (pd.Timestamp(days["last"].iloc[0]) - pd.Timestamp(days["first"].iloc[0])).days + 1
    periods = max(span * market.periods_per_year / 365.2425, 1.0)
    bought = engine.trade_of(market.baskets, market.products, flagged)
    bought = bought[bought["revenue"] > 0].merge(
        flagged[["customer_id", "category", "overall"]],
        on=["customer_id", "category"],
        validate="many_to_one",
    )
    whole = bought.groupby(["customer_id", "category"])["revenue"].transform("sum")
    money = risk * bought["overall"] / periods * bought["revenue"] / whole
    stakes = money.groupby([bought["store_id"], bought["sku"]]).sum().rename("money").reset_index()
    words = (
        f"Ranges weigh whole relationships: {risk:.0%} of what customers bring who are small in a category and big "
        f"overall is taken to go where their products leave the shelf ({market.currency}{stakes['money'].sum():,.0f} "
        f"a {market.period} in all; an assumption, relationship_risk in [customers])."
    )
    return stakes, [words]
