"""What an offer would bring: every option's money, line by line."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import stats

from geomarket.promotions.response import PromotionResponse
from geomarket.promotions.rules import PromotionRules
from geomarket.promotions.terms import mechanic_term

__all__ = ["MONEY_COLUMNS", "money", "net_of", "offer_options"]

Floats = npt.NDArray[np.float64]

#: The waterfall: net = incremental_margin - subsidised - cannibalised + halo - dip + funding - contact_cost.
MONEY_COLUMNS = ["incremental_margin", "subsidised", "cannibalised", "halo", "dip", "funding", "contact_cost"]
#: Columns that an option carries so that its money can be worked out again for another response.
INPUT_COLUMNS = [
    "price",
    "unit_margin",
    "others_margin",
    "cannibalisation",
    "category_units",
    "mean_units",
    "season",
    "season_after",
]


def offer_options(
    base: pd.DataFrame,
    response: PromotionResponse,
    rules: PromotionRules,
    periods: list[Any],
    season: pd.DataFrame,
    gains: pd.DataFrame | None = None,
) -> pd.DataFrame:
    """Value every option: store cluster, SKU, period, depth, mechanic and channel.

    Parameters
    ----------
    base : DataFrame
        store_cluster, sku, category, name, price, baseline (units a period over the stores that list it),
        unit_margin, stores, others_margin (mean unit margin of the category's other SKUs in the cluster),
        category_units (usual units a period of the whole category in the cluster), cannibalisation.
    response : PromotionResponse
        Effects by store cluster and category.
    rules : PromotionRules
        Depths, mechanics, channels, funding, contact cost, price endings.
    periods : list
        Periods to plan, in order.
    season : DataFrame
        Index category, columns the periods and one more: baseline multiplier.
    gains : DataFrame, optional
        store_cluster, category, gains, units, mailer, margin: known effects on other categories and what those
        earn in a usual period.

    Returns
    -------
    DataFrame
        One row per option with baseline_units, uplift_units, the columns of ``MONEY_COLUMNS``, net, net_low (at the
        lower 90% bound of the response), chance (that net is above 0), cost, and position t of the period. The dip is
        charged on the period after the offer, also where that is beyond the horizon.
    """
    base = base.reset_index(drop=True)
    known = pd.MultiIndex.from_frame(base[["store_cluster", "category"]])
    effect = response.coefficients().reindex(known).reset_index(drop=True)
    spread = response.errors().reindex(known).fillna(0.0).reset_index(drop=True)
    rise = season.reindex(base["category"]).to_numpy(dtype=float)
    parts = []
    for mechanic, target in _choices(response, rules):
        term = mechanic_term(mechanic)
        extra = effect[term] if term in effect else pd.Series(0.0, index=effect.index)
        extra_se = spread[term] if term in spread else pd.Series(0.0, index=effect.index)
        plain = np.full(len(base), target)
        ends = mechanic == response.base
        depth = rules.ended(base["price"].to_numpy(dtype=float), plain) if ends else plain
        seen = _within(base["category"], mechanic, depth, target, response)
        for channel in rules.channels:
            shown = effect[channel] if channel != "shelf" else pd.Series(0.0, index=effect.index)
            shown_se = spread[channel] if channel != "shelf" else pd.Series(0.0, index=effect.index)
            usable = (effect["price"].notna() & shown.notna() & extra.notna()).to_numpy() & np.isfinite(depth)
            cut = np.log1p(-np.where(usable, depth, 0.0))
            # Terms of a fit err together in part; adding their variances is the usual approximation.
            error = np.sqrt((spread["price"] * cut) ** 2 + shown_se**2 + extra_se**2)
            # More sales after an offer than before are no effect to bank on.
            dip = effect["dip"].fillna(0.0).clip(upper=0.0).to_numpy()
            frame = base.assign(
                depth=depth,
                mechanic=mechanic,
                channel=channel,
                target=target,
                seen=seen,
                log_lift=effect["price"] * cut + shown + extra,
                log_error=error,
                log_dip=dip if response.dip_form == "after" else -dip * cut,
            )
            parts.append(_periods(frame[usable], rise[usable]))
    offers = pd.concat(parts, ignore_index=True)
    worth = money(offers, offers["log_lift"].to_numpy(), offers["log_dip"].to_numpy(), rules, gains, season)
    offers = offers.assign(**worth)
    _risk(offers, rules, gains, season)
    return offers.assign(period=pd.Index(periods).take(offers["t"].to_numpy()))


def _choices(response: PromotionResponse, rules: PromotionRules) -> list[tuple[str, float]]:
    """Mechanics with the depths they are planned at."""
    known = [response.base]
    known += [
        name
        for name in sorted(set(response.mechanics["mechanic"].astype(str)))
        if name != response.base and mechanic_term(name) in set(response.table["term"])
    ]
    choices = []
    for name in known if rules.mechanics is None else [m for m in known if m in rules.mechanics]:
        mine = response.mechanics[response.mechanics["mechanic"].astype(str) == name]
        single = len(mine) and mine["deepest"].max() - mine["shallowest"].min() < 0.005
        depths = (float(mine["deepest"].max()),) if single and name != response.base else rules.depths
        choices += [(name, depth) for depth in depths]
    return choices


def _within(
    category: pd.Series, mechanic: str, depth: Floats, target: float, response: PromotionResponse
) -> npt.NDArray[np.bool_]:
    """Whether a depth lies between the shallowest and the deepest seen of the mechanic in the category."""
    seen = response.depths
    if mechanic != response.base and len(response.mechanics):
        seen = response.mechanics[response.mechanics["mechanic"].astype(str) == mechanic]
    bounds = seen.assign(category=seen["category"].astype(str)).set_index("category")
    low = category.map(bounds["shallowest"]).to_numpy(dtype=float)
    high = category.map(bounds["deepest"]).to_numpy(dtype=float)
    # A tenth of a point: depths in the history are averages and rounded. A price ending may move a depth by more;
    # it is the depth asked for that must have been seen, and the one that comes of it must not be much deeper.
    asked = (target <= high + 1e-3) & (target >= low - 1e-3)
    return np.asarray(asked & (depth <= np.maximum(high + 1e-3, target)) & (depth >= 0.5 * low))


def _periods(frame: pd.DataFrame, rise: Floats) -> pd.DataFrame:
    """Repeat options over the periods (``rise`` has one more)."""
    n_periods = rise.shape[1] - 1
    long = np.repeat(np.arange(len(frame)), n_periods)
    t = np.tile(np.arange(n_periods), len(frame))
    kept = frame.rename(columns={"baseline": "mean_units"})
    return (
        kept.iloc[long]
        .reset_index(drop=True)
        .assign(t=t, season=rise[long, t], season_after=rise[long, t + 1])
    )


def money(
    offers: pd.DataFrame,
    log_lift: Floats,
    log_dip: Floats,
    rules: PromotionRules,
    gains: pd.DataFrame | None,
    season: pd.DataFrame,
) -> dict[str, Floats]:
    """Work out the waterfall of each option for one response or many.

    Parameters
    ----------
    offers : DataFrame
        Options with ``INPUT_COLUMNS``, store_cluster, sku, category, channel, depth, stores, t.
    log_lift, log_dip : ndarray of shape (n_offers,) or (n_draws, n_offers)
        Log change of its units on offer and in the period after.
    rules : PromotionRules
        Funding and contact cost.
    gains, season : DataFrame
        As for :func:`offer_options`.

    Returns
    -------
    dict
        baseline_units, uplift_units, the waterfall, net and cost, each of the shape of ``log_lift`` or of the offers.
    """
    column = {name: offers[name].to_numpy(dtype=float) for name in INPUT_COLUMNS}
    cut = offers["depth"].to_numpy(dtype=float) * column["price"]
    baseline = column["mean_units"] * column["season"]
    uplift = baseline * np.expm1(log_lift)
    contact = offers["channel"].map(dict(rules.contact_cost)).astype(float).fillna(0.0).to_numpy()
    parts = {
        "baseline_units": baseline,
        "uplift_units": uplift,
        "incremental_margin": uplift * (column["unit_margin"] - cut),
        "subsidised": baseline * cut,
        "cannibalised": column["cannibalisation"] * uplift * column["others_margin"],
        "halo": _halo(offers, uplift, gains if rules.halo else None, season),
        "dip": column["mean_units"] * column["season_after"] * -np.expm1(log_dip) * column["unit_margin"],
        "funding": rules.funding_share * cut * (baseline + uplift),
        "contact_cost": contact * offers["stores"].to_numpy(dtype=float),
    }
    parts["net"] = net_of(parts)
    parts["cost"] = cut * (baseline + uplift) + parts["contact_cost"] - parts["funding"]
    return parts


def _halo(offers: pd.DataFrame, uplift: Floats, gains: pd.DataFrame | None, season: pd.DataFrame) -> Floats:
    """Margin that other categories gain, each offer taken by itself."""
    total = np.zeros(uplift.shape)
    if gains is None or gains.empty or offers.empty:
        return total
    cluster = offers["store_cluster"].astype(str).to_numpy()
    category = offers["category"].astype(str).to_numpy()
    usual = offers["category_units"].to_numpy(dtype=float)
    change = np.log1p(np.maximum(uplift / (usual * offers["season"].to_numpy(dtype=float)), -0.9))
    mailed = np.where(offers["channel"] == "mailer", offers["mean_units"].to_numpy(dtype=float) / usual, 0.0)
    t = offers["t"].to_numpy(dtype=np.int64)
    for (where, source), mine in gains.groupby(["store_cluster", "category"], sort=True):
        rows = np.flatnonzero((cluster == where) & (category == source))
        if not rows.size:
            continue
        for target, units, mailer, margin in zip(
            mine["gains"], mine["units"], mine["mailer"], mine["margin"]
        ):
            rise = season.loc[str(target)].to_numpy(dtype=float)[t[rows]]
            grown = np.expm1(units * change[..., rows] + mailer * mailed[rows])
            total[..., rows] += margin * rise * grown
    return total


def _risk(
    offers: pd.DataFrame, rules: PromotionRules, gains: pd.DataFrame | None, season: pd.DataFrame
) -> None:
    """Add net at the worse end of the 90% interval of the response, and the chance that net is above 0."""
    lift, error = offers["log_lift"].to_numpy(), offers["log_error"].to_numpy()
    dip, net = offers["log_dip"].to_numpy(), offers["net"].to_numpy()
    width = stats.norm.ppf(0.95) * error
    low = money(offers, lift - width, dip, rules, gains, season)["net"]
    high = money(offers, lift + width, dip, rules, gains, season)["net"]
    offers["net_low"] = np.minimum(net, np.minimum(low, high))
    # Net is a line in the lift but for the halo, which is nearly one.
    rise = np.exp(lift + width) - np.exp(lift - width)
    slope = np.divide(high - low, rise, out=np.zeros_like(net), where=rise > 0)
    even = np.exp(lift) - np.divide(net, slope, out=np.zeros_like(net), where=slope != 0)
    with np.errstate(divide="ignore", invalid="ignore"):
        distance = (lift - np.log(np.maximum(even, 0.0))) * np.sign(slope) / error
    certain = ~np.isfinite(distance) | (slope == 0) | (error <= 0)
    offers["chance"] = np.where(certain, (net > 0) * 1.0, stats.norm.cdf(distance))


def net_of(frame: Any) -> Any:
    """Add up the waterfall of a table or of arrays by name."""
    return (
        frame["incremental_margin"]
        - frame["subsidised"]
        - frame["cannibalised"]
        + frame["halo"]
        - frame["dip"]
        + frame["funding"]
        - frame["contact_cost"]
    )
