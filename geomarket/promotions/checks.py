"""Every rule of a promotion plan, worked out again from the chosen offers alone."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from geomarket.promotions.economics import net_of
from geomarket.promotions.rules import PromotionRules

__all__ = ["check_promotions"]


def check_promotions(
    chosen: pd.DataFrame,
    rules: PromotionRules,
    objective: float,
    calendar: Sequence[Any],
    products: pd.DataFrame,
    base: str = "price cut",
) -> pd.DataFrame:
    """Recompute every rule from the chosen offers alone.

    Parameters
    ----------
    chosen : DataFrame
        The offers, with their money and position ``t`` in the calendar.
    rules : PromotionRules
        What they have to keep.
    objective : float
        What the solver says they are worth.
    calendar : sequence of dates
        Periods planned.
    products : DataFrame
        sku, category, price, vendor, attributes.
    base : str
        The mechanic price endings hold for.

    Returns
    -------
    DataFrame
        rule, checked, worst_violation (0 where it is kept).
    """
    lines: list[tuple[str, int, float]] = []

    def check(rule: str, excess: Any) -> None:
        values = np.atleast_1d(np.asarray(excess, dtype=float))
        lines.append((rule, values.size, float(max(0.0, values.max(initial=0.0)))))

    ordered = chosen.sort_values(["store_cluster", "sku", "t"])
    gaps = ordered.groupby(["store_cluster", "sku"])["t"].diff().dropna()
    check("spacing", rules.spacing - gaps)
    check("max_per_sku", chosen.groupby(["store_cluster", "sku"]).size() - rules.max_per_sku)
    slots = ["store_cluster", "category", "t"]
    check("max_per_category_period", chosen.groupby(slots).size() - rules.max_per_category_period)
    for name, most in rules.channel_slots.items():
        check(f"slots on {name}", chosen[chosen["channel"] == name].groupby(slots).size() - most)
    if math.isfinite(rules.budget):
        check("budget", (chosen["cost"].sum() - rules.budget) / max(1.0, rules.budget))
    for name, amount in rules.channel_budgets.items():
        spent = chosen.loc[chosen["channel"] == name, "cost"].sum()
        check(f"budget of {name}", (spent - amount) / max(1.0, amount))
    _check_content(chosen, rules, calendar, products, base, check)
    worth = float(net_of(chosen).sum())
    pays = chosen[~chosen["promised"].astype(bool)]
    check("pays", -pays["net"])
    check("confidence", rules.confidence - pays["chance"])
    check("money", abs(objective - worth) / max(1.0, abs(worth)))
    return pd.DataFrame(lines, columns=["rule", "checked", "worst_violation"])


def _check_content(
    chosen: pd.DataFrame,
    rules: PromotionRules,
    calendar: Sequence[Any],
    products: pd.DataFrame,
    base: str,
    check: Any,
) -> None:
    """Depths, days, bans, promises and prices, from the products' own rows."""
    listed = products.drop_duplicates("sku").set_index("sku")
    depth = chosen["depth"].to_numpy(dtype=float)
    most = [min(rules.max_depth, rules.max_depth_by.get(str(c), 1.0)) for c in chosen["category"]]
    check("max_depth", depth - np.array(most, dtype=float) - 1e-9)
    first = pd.to_datetime(pd.Series(list(calendar))).sort_values(ignore_index=True)
    length = first.diff().dropna().iloc[-1] if len(first) > 1 else pd.Timedelta(days=7)
    ends = [*(first.iloc[1:] - pd.Timedelta(days=1)), first.iloc[-1] + length - pd.Timedelta(days=1)]
    last_day = dict(zip(first, ends))
    for blackout in rules.blackouts:
        mine = chosen[chosen["category"].isin(blackout.categories)] if blackout.categories else chosen
        starts = pd.to_datetime(mine["period"])
        inside = [
            start <= pd.Timestamp(blackout.last) and last_day[start] >= pd.Timestamp(blackout.first)
            for start in starts
        ]
        check(f"blackout from {blackout.first}", np.array(inside, dtype=float))
    for ban in rules.bans:
        hit = []
        for sku, how, where, cut in zip(chosen["sku"], chosen["mechanic"], chosen["channel"], depth):
            row = listed.loc[sku]
            everyone = not (ban.categories or ban.skus or ban.attribute)
            marked = bool(ban.attribute) and str(row[ban.attribute]).lower() in ("true", "1", "yes", "y")
            meant = everyone or row["category"] in ban.categories or sku in ban.skus or marked
            how_meant = not ban.mechanics or how in ban.mechanics
            where_meant = not ban.channels or where in ban.channels
            hit.append(meant and how_meant and where_meant and cut > ban.max_depth + 1e-9)
        check(f"ban: {ban.name}", np.array(hit, dtype=float))
    for vendor, least in rules.vendor_minimums.items():
        made = chosen["sku"].map(listed[rules.vendor_column].astype(str)).eq(vendor).sum()
        check(f"promise to {vendor}", least - made)
        forced = chosen.loc[chosen["promised"].astype(bool), "sku"].map(
            listed[rules.vendor_column].astype(str)
        )
        check(f"no more than promised to {vendor}", forced.eq(vendor).sum() - least)
    if rules.price_endings:
        mine = chosen[chosen["mechanic"] == base]
        price = mine["sku"].map(listed["price"]).to_numpy(dtype=float) * (
            1 - mine["depth"].to_numpy(dtype=float)
        )
        away = np.abs((price % 1.0)[:, None] - np.array(rules.price_endings)[None, :])
        check(
            "price_endings", np.minimum(away, 1 - away).min(axis=1, initial=1.0) - 1e-6 if len(mine) else 0.0
        )
