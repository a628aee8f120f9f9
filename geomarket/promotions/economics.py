"""What an offer would bring: every option's money, line by line."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from geomarket.promotions.response import PromotionResponse
from geomarket.promotions.rules import PromotionRules

__all__ = ["MONEY_COLUMNS", "offer_options"]

#: The waterfall: net = incremental_margin - subsidised - cannibalised + halo - dip + funding - contact_cost.
MONEY_COLUMNS = ["incremental_margin", "subsidised", "cannibalised", "halo", "dip", "funding", "contact_cost"]


def offer_options(
    base: pd.DataFrame,
    response: PromotionResponse,
    rules: PromotionRules,
    periods: list[Any],
    season: pd.DataFrame,
) -> pd.DataFrame:
    """Value every option: store cluster, SKU, period, depth and channel.

    Parameters
    ----------
    base : DataFrame
        store_cluster, sku, category, name, price, baseline (units a period over the stores that list it),
        unit_margin, stores, others_margin (mean unit margin of the category's other SKUs in the cluster).
    response : PromotionResponse
        Effects by store cluster and category.
    rules : PromotionRules
        Depths, channels, funding, contact cost, cannibalisation.
    periods : list
        Periods to plan, in order.
    season : DataFrame
        Index category, columns the periods and one more: baseline multiplier.

    Returns
    -------
    DataFrame
        One row per option with baseline_units, uplift_units, the columns of ``MONEY_COLUMNS``, net, net_low (at the
        lower 90 % bound of the response), cost, and position t of the period. The dip is charged on the period
        after the offer, also where that is beyond the horizon.
    """
    coefficients = response.coefficients()
    errors = response.table.pivot(index=["store_cluster", "category"], columns="term", values="se")
    errors = errors.reindex(columns=["price", "display", "mailer", "dip"]).fillna(0.0)
    known = pd.MultiIndex.from_frame(base[["store_cluster", "category"]])
    effect = coefficients.reindex(known).reset_index(drop=True)
    spread = errors.reindex(known).fillna(0.0).reset_index(drop=True)
    rise = season.reindex(base["category"]).to_numpy(dtype=float)
    parts = []
    for channel in rules.channels:
        shown = effect[channel] if channel != "shelf" else pd.Series(0.0, index=effect.index)
        shown_se = spread[channel] if channel != "shelf" else pd.Series(0.0, index=effect.index)
        for depth in rules.depths:
            usable = (effect["price"].notna() & shown.notna()).to_numpy()
            log_price = np.log1p(-depth)
            log_lift = (effect["price"] * log_price + shown).to_numpy()[usable]
            # Terms of a fit err together in part; adding their variances is the usual approximation.
            error = np.sqrt((spread["price"] * log_price) ** 2 + shown_se**2).to_numpy()[usable]
            # More sales after an offer than before are no effect to bank on.
            dip = effect["dip"].fillna(0.0).clip(upper=0.0).to_numpy()[usable]
            dip = dip if response.dip_form == "after" else -dip * log_price
            parts.append(
                _money(base[usable], rise[usable], np.exp(log_lift), error, dip, depth, channel, rules)
            )
    offers = pd.concat(parts, ignore_index=True)
    return offers.assign(period=pd.Index(periods).take(offers["t"].to_numpy()))


def _money(
    base: pd.DataFrame,
    season: np.ndarray,
    lift: np.ndarray,
    error: np.ndarray,
    dip: np.ndarray,
    depth: float,
    channel: str,
    rules: PromotionRules,
) -> pd.DataFrame:
    """Options of one depth and channel: every SKU of ``base`` in every period (``season`` has one more)."""
    n_periods = season.shape[1] - 1
    long = np.repeat(np.arange(len(base)), n_periods)
    t = np.tile(np.arange(n_periods), len(base))

    def of(column: str) -> np.ndarray:
        return base[column].to_numpy()[long]

    unit_margin, cut, mean = of("unit_margin"), depth * of("price"), of("baseline")
    baseline = mean * season[long, t]
    uplift = baseline * (lift[long] - 1)
    low = baseline * (lift * np.exp(-stats.norm.ppf(0.95) * error) - 1)[long]
    # What an extra unit brings, funding and what it takes from its neighbours included.
    per_unit = unit_margin - cut * (1 - rules.funding_share) - rules.cannibalisation * of("others_margin")
    frame = pd.DataFrame(
        {
            "store_cluster": of("store_cluster"),
            "sku": of("sku"),
            "name": of("name"),
            "category": of("category"),
            "stores": of("stores"),
            "t": t,
            "depth": depth,
            "mechanic": "price cut",
            "channel": channel,
            "baseline_units": baseline,
            "uplift_units": uplift,
            "incremental_margin": uplift * (unit_margin - cut),
            "subsidised": baseline * cut,
            "cannibalised": rules.cannibalisation * uplift * of("others_margin"),
            "halo": 0.0,
            "dip": mean * season[long, t + 1] * -np.expm1(dip)[long] * unit_margin,
            "funding": rules.funding_share * cut * (baseline + uplift),
            "contact_cost": rules.contact_cost.get(channel, 0.0) * of("stores"),
        }
    )
    frame["net"] = net_of(frame)
    frame["net_low"] = frame["net"] + np.minimum(per_unit * (low - uplift), 0.0)
    frame["cost"] = cut * (baseline + uplift) + frame["contact_cost"] - frame["funding"]
    return frame


def net_of(frame: pd.DataFrame) -> pd.Series:
    """Add up the waterfall."""
    return (
        frame["incremental_margin"]
        - frame["subsidised"]
        - frame["cannibalised"]
        + frame["halo"]
        - frame["dip"]
        + frame["funding"]
        - frame["contact_cost"]
    )
