"""How much an offer moves sales, by store cluster and category."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import stats

from geomarket.errors import NotSupportedError, TableError
from geomarket.promotions.panel import PANEL_COLUMNS
from geomarket.promotions.poisson import Block, PoissonFit, fit_poisson
from geomarket.promotions.shrinkage import shrink
from geomarket.results import Result

__all__ = ["TERMS", "PromotionResponse", "fit_response"]

_log = logging.getLogger(__name__)

#: Terms in the order of the fit.
TERMS = ("price", "display", "mailer", "dip")
TABLE_COLUMNS = [
    "store_cluster",
    "category",
    "term",
    "estimate",
    "se",
    "low",
    "high",
    "n",
    "raw",
    "raw_se",
    "shrunk_from",
    "between",
]
MEAN_COLUMNS = ["category", "term", "estimate", "se", "n", "own_variation", "between"]


@dataclass(frozen=True)
class PromotionResponse(Result):
    """Response to offers.

    Attributes
    ----------
    table : DataFrame
        One row per store cluster, category and term. ``price``: elasticity, log units per log price. ``display``,
        ``mailer``: log units. ``dip``: log units in the period after an offer (``dip_form`` "after"), or per log price
        of the period before ("depth": forward buying). ``estimate`` is shrunk towards the category's mean over all
        clusters, ``raw`` is the cluster's own, NaN where its data don't support one; ``shrunk_from`` says which of
        the two the estimate is ("own" or "category"). ``low``, ``high``: 90 % interval. ``n``: offers (SKU and
        period) behind the own estimate. ``between``: standard deviation of the clusters around the mean.
    means : DataFrame
        category, term, estimate, se, n, own_variation (share of the term's variation within SKUs that neither
        the period nor other terms explain), between.
    refusals : DataFrame
        scope, reason: what the data could not support.
    cautions : tuple of str
        How far the figures can be trusted.
    depths : DataFrame
        category, shallowest, deepest: the price cuts seen, beyond which nothing is known.
    dip_form : {"after", "depth"}
    """

    table: pd.DataFrame
    means: pd.DataFrame
    refusals: pd.DataFrame
    cautions: tuple[str, ...]
    depths: pd.DataFrame
    dip_form: Literal["after", "depth"] = "after"

    def coefficients(self) -> pd.DataFrame:
        """Return estimates wide: index store_cluster and category, one column per term (NaN where refused)."""
        wide = self.table.pivot(index=["store_cluster", "category"], columns="term", values="estimate")
        return wide.reindex(columns=list(TERMS)).rename_axis(columns=None)

    def summary(self) -> list[str]:
        """Say what a price cut does, where response differs, and what was refused."""
        lines = []
        prices = self.means[self.means["term"] == "price"]
        if len(prices):
            lift = np.expm1(prices["estimate"] * np.log(0.8))
            lines.append(
                f"20 % off lifts a SKU's units by {lift.min():.0%} to {lift.max():.0%}, by category "
                f"(median {lift.median():.0%})."
            )
        words = {"display": "A display", "mailer": "A place in the leaflet"}
        for term, subject in words.items():
            mine = self.means.loc[self.means["term"] == term, "estimate"]
            if len(mine):
                lines.append(f"{subject} adds {np.expm1(mine.median()):+.0%} units in the median category.")
        dip = self.means.loc[self.means["term"] == "dip", "estimate"]
        if len(dip):
            change = np.expm1(dip.median() if self.dip_form == "after" else -dip.median() * np.log(0.8))
            lines.append(
                f"The period after, sales change by {change:+.0%} in the median category (stocking up)."
            )
        own = self.table["shrunk_from"] == "own"
        if len(own):
            lines.append(
                f"{own.mean():.0%} of the estimates by store cluster rest on its own offers, shrunk towards the "
                "category's mean; the others are that mean."
            )
        lines.extend(self.cautions)
        if len(self.refusals):
            lines.append(f"{len(self.refusals)} estimates were refused; see refusals.")
        return lines

    def plot(self, ax: Any = None) -> Any:
        """Draw price elasticity by category and store cluster with 90 % intervals."""
        if ax is None:
            import matplotlib.pyplot as plt

            _, ax = plt.subplots(figsize=(7, 4), layout="constrained")
        price = self.table[self.table["term"] == "price"]
        clusters = sorted(price["store_cluster"].unique())
        categories = sorted(price["category"].unique())
        for i, cluster in enumerate(clusters):
            mine = price[price["store_cluster"] == cluster].set_index("category").reindex(categories)
            place = np.arange(len(categories)) + (i - (len(clusters) - 1) / 2) * 0.8 / max(len(clusters), 1)
            error = np.vstack([mine["estimate"] - mine["low"], mine["high"] - mine["estimate"]])
            ax.errorbar(mine["estimate"], place, xerr=error, fmt="o", ms=4, lw=1, label=cluster)
        ax.set_yticks(range(len(categories)), categories)
        ax.axvline(0, color="#999999", lw=0.8)
        ax.set_xlabel("price elasticity (log units per log price)")
        ax.legend(frameon=False, title="store cluster")
        ax.spines[["top", "right"]].set_visible(False)
        return ax


def fit_response(
    panel: pd.DataFrame,
    *,
    dip_form: Literal["after", "depth"] = "after",
    min_offers: int = 20,
    min_skus: int = 3,
    min_variation: float = 0.05,
    level: float = 0.9,
) -> PromotionResponse:
    """Estimate the response to price cuts, displays and leaflets, and the dip after them.

    Poisson regression of units on log price, display, mailer and dip with the plain-period sales as exposure, and
    effects for each SKU and each period of a category in a store cluster. What SKUs not on offer do in the same period
    therefore stands for what the offered ones would have done: where every store makes the same offer at the same
    time, that comparison between SKUs is all that identifies the response, and sales that an offer takes from other
    SKUs of the category make it look larger than it is.

    Each category is fitted over all clusters and in each cluster; cluster estimates are shrunk to the category's by
    empirical Bayes. Standard errors are clustered by SKU, with the leverage of each taken out, and widened for the few
    SKUs there are (Student's t), so that the intervals can be read as normal ones.

    Parameters
    ----------
    panel : DataFrame
        From :func:`promotion_panel`.
    dip_form : {"after", "depth"}
        What the dip hangs on: there being no offer after one (weeks), or how deep the price cut of the period before
        was, whatever is on now (months, where offers cover parts of periods).
    min_offers, min_skus : int
        Offers (SKU and period) and SKUs on offer that an estimate needs.
    min_variation : float
        Share of the price's variation within SKUs that must be left once periods and other terms are out.
    level : float
        Level of the intervals.

    Returns
    -------
    PromotionResponse
        ``table`` is empty where everything was refused.

    Raises
    ------
    TableError
        If the panel lacks a column or holds impossible values.
    NotSupportedError
        If there is no price cut, display or leaflet in the panel at all.

    Notes
    -----
    Shrinkage of promotion response towards a mean, not zero: Montgomery (1997), Creating micro-marketing pricing
    strategies using supermarket scanner data.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> sku, period = (a.ravel() for a in np.meshgrid(np.arange(12), np.arange(40), indexing="ij"))
    >>> depth = np.where(rng.random(sku.size) < 0.2, 0.2, 0.0)
    >>> panel = pd.DataFrame({"store_cluster": "C1", "category": "tea", "sku": sku.astype(str),
    ...     "period": pd.Timestamp("2024-01-01") + pd.to_timedelta(period * 7, unit="D"), "exposure": 50.0, "stores": 5,
    ...     "units": rng.poisson(50 * (1 - depth) ** -2.0), "depth": depth, "display": False, "mailer": False,
    ...     "lag_depth": 0.0})
    >>> response = fit_response(panel)
    >>> bool(abs(response.means.set_index("term").loc["price", "estimate"] + 2.0) < 0.15)
    True
    """
    _check(panel)
    panel = panel[panel["exposure"] > 0]
    offered = (panel["depth"] > 0) | panel["display"] | panel["mailer"]
    if not offered.any():
        raise NotSupportedError(
            "promotions: the history holds no price cut, display or leaflet of a listed SKU, so no response can be "
            "estimated. Give promotions that ran, or leave the stage out."
        )
    refusals: list[tuple[str, str]] = []
    rows, means, depths = [], [], []
    needs = _Needs(min_offers, min_skus, min_variation, dip_form)
    for category, mine in panel.groupby("category", observed=True, sort=True):
        fit, counts = _fit_category(str(category), mine, needs, refusals)
        if fit is None:
            continue
        cut = mine.loc[mine["depth"] > 0, "depth"]
        depths.append((category, cut.min() if len(cut) else np.nan, cut.max() if len(cut) else np.nan))
        lines, between = _shrunk_lines(str(category), mine, fit, needs, level, refusals)
        rows.extend(lines)
        for j, term in enumerate(TERMS):
            if np.isfinite(fit.estimate[j]):
                se = float(_errors(fit, level)[j])
                means.append(
                    (
                        category,
                        term,
                        fit.estimate[j],
                        se,
                        counts[j],
                        fit.own_variation[j],
                        between.get(term, np.nan),
                    )
                )
    table = pd.DataFrame(rows, columns=TABLE_COLUMNS)
    mean_table = pd.DataFrame(means, columns=MEAN_COLUMNS)
    _log.info("response: %d estimates, %d refusals", len(table), len(refusals))
    return PromotionResponse(
        table=table.sort_values(["store_cluster", "category", "term"], kind="stable", ignore_index=True),
        means=mean_table,
        refusals=pd.DataFrame(refusals, columns=["scope", "reason"]),
        cautions=_cautions(panel, mean_table),
        depths=pd.DataFrame(depths, columns=["category", "shallowest", "deepest"]),
        dip_form=dip_form,
    )


@dataclass(frozen=True)
class _Needs:
    min_offers: int
    min_skus: int
    min_variation: float
    dip_form: Literal["after", "depth"]


def _check(panel: pd.DataFrame) -> None:
    missing = [column for column in PANEL_COLUMNS if column not in panel]
    if missing:
        raise TableError(f"promotion panel: no column {', '.join(missing)}. Build it with promotion_panel.")
    for column, low, high in (
        ("depth", 0, 1),
        ("lag_depth", 0, 1),
        ("units", 0, np.inf),
        ("exposure", 0, np.inf),
    ):
        values = panel[column].to_numpy(dtype=float)
        bad = ~((values >= low) & (values < high))
        if bad.any():
            raise TableError(
                f"promotion panel: {int(bad.sum())} of {len(panel):,} rows have {column} outside {low} to {high} "
                f"({', '.join(map(str, values[bad][:3]))}). Depth is a share of the price; units are net of returns."
            )


def _terms(panel: pd.DataFrame, dip_form: str) -> npt.NDArray[np.float64]:
    depth, lag = panel["depth"].to_numpy(dtype=float), panel["lag_depth"].to_numpy(dtype=float)
    after = (lag > 0) & (depth == 0) if dip_form == "after" else -np.log1p(-lag)
    return np.column_stack(
        [
            np.log1p(-depth),
            panel["display"].to_numpy(dtype=float),
            panel["mailer"].to_numpy(dtype=float),
            np.asarray(after, dtype=float),
        ]
    )


def _block(panel: pd.DataFrame, skus: pd.Index, dip_form: str) -> Block:
    group = skus.get_indexer(pd.Index(panel["sku"].astype(object)))
    return Block(
        panel["units"].to_numpy(dtype=float),
        np.log(panel["exposure"].to_numpy(dtype=float)),
        _terms(panel, dip_form),
        np.unique(group, return_inverse=True)[1],
        np.unique(panel["period"], return_inverse=True)[1],
        group.astype(np.int64),
    )


def _offers(panel: pd.DataFrame, terms: npt.NDArray[np.float64]) -> tuple[list[int], list[int]]:
    """Offers (SKU and period) and SKUs on offer, by term."""
    offers, skus = [], []
    for j in range(len(TERMS)):
        on = panel.loc[terms[:, j] != 0, ["sku", "period"]].drop_duplicates()
        offers.append(len(on))
        skus.append(on["sku"].nunique())
    return offers, skus


def _fit_category(
    category: str, panel: pd.DataFrame, needs: _Needs, refusals: list[tuple[str, str]]
) -> tuple[PoissonFit | None, list[int]]:
    terms = _terms(panel, needs.dip_form)
    offers, skus = _offers(panel, terms)
    on_offer = (terms[:, :3] != 0).any(axis=1)
    n_offers = len(panel.loc[on_offer, ["sku", "period"]].drop_duplicates())
    if n_offers < needs.min_offers or max(skus[:3]) < needs.min_skus:
        refusals.append(
            (
                category,
                f"{n_offers} offers of {max(skus[:3])} SKUs; an estimate needs {needs.min_offers} of {needs.min_skus}",
            )
        )
        return None, offers
    if offers[0] == 0:
        refusals.append(
            (f"{category}: price", "no price variation: no SKU was ever sold below its regular price")
        )
    names = pd.Index(sorted(panel["sku"].astype(object).unique()))
    blocks = [
        _block(mine, names, needs.dip_form)
        for _, mine in panel.groupby("store_cluster", observed=True, sort=True)
    ]
    fit = fit_poisson(blocks)
    estimate = fit.estimate.copy()
    for j, term in enumerate(TERMS):
        if offers[j] == 0:
            estimate[j] = np.nan
            continue
        scope = f"{category}: {term}"
        if offers[j] < needs.min_offers or skus[j] < needs.min_skus:
            estimate[j] = np.nan
            refusals.append(
                (
                    scope,
                    f"{offers[j]} offers of {skus[j]} SKUs; it needs {needs.min_offers} of {needs.min_skus}",
                )
            )
        elif not fit.own_variation[j] >= needs.min_variation:
            estimate[j] = np.nan
            refusals.append(
                (
                    scope,
                    f"collinear: only {fit.own_variation[j]:.1%} of its variation within SKUs differs from the "
                    "period's (the season) and from the other terms; offers at other times than the whole "
                    "category's would tell them apart",
                )
            )
    if estimate[0] > 0:
        error = float(_errors(fit, 0.9)[0])
        refusals.append(
            (
                category,
                f"wrong sign: units fall with price cuts (elasticity {estimate[0]:+.1f}, standard error {error:.1f}); "
                "offers were probably timed to weak sales, or moved trade between SKUs",
            )
        )
        return None, offers
    if not fit.converged:
        refusals.append((category, "the fit did not converge"))
        return None, offers
    if not np.isfinite(estimate[:3]).any():
        return None, offers
    return replace(fit, estimate=estimate), offers


def _errors(fit: PoissonFit, level: float) -> npt.NDArray[np.float64]:
    """Standard errors that give, times the normal quantile, the width Student's t asks for with so few SKUs."""
    place = 0.5 + level / 2
    widen = stats.t.ppf(place, max(fit.n_groups - 1, 1)) / stats.norm.ppf(place)
    return np.sqrt(np.diag(fit.covariance)) * widen


def _shrunk_lines(
    category: str,
    panel: pd.DataFrame,
    mean: PoissonFit,
    needs: _Needs,
    level: float,
    refusals: list[tuple[str, str]],
) -> tuple[list[tuple], dict[str, float]]:
    clusters, raw, raw_se, counts = [], [], [], []
    names = pd.Index(sorted(panel["sku"].astype(object).unique()))
    for cluster, mine in panel.groupby("store_cluster", observed=True, sort=True):
        block = _block(mine, names, needs.dip_form)
        offers, skus = _offers(mine, block.terms)
        fit = fit_poisson([block])
        enough = (
            np.isfinite(mean.estimate)
            & (np.array(offers) >= needs.min_offers)
            & (np.array(skus) >= needs.min_skus)
            & (fit.own_variation >= needs.min_variation)
            & fit.converged
        )
        clusters.append(str(cluster))
        counts.append(offers)
        raw.append(np.where(enough, fit.estimate, np.nan))
        raw_se.append(np.where(enough, _errors(fit, level), np.nan))
        thin = [TERMS[j] for j in range(len(TERMS)) if np.isfinite(mean.estimate[j]) and not enough[j]]
        if thin:
            refusals.append(
                (
                    f"{category} in {cluster}: {', '.join(thin)}",
                    "too few offers of its own: the category's mean stands in",
                )
            )
    width = stats.norm.ppf(0.5 + level / 2)
    lines, between = [], {}
    for j, term in enumerate(TERMS):
        if not np.isfinite(mean.estimate[j]):
            continue
        own, own_se = np.array([r[j] for r in raw]), np.array([r[j] for r in raw_se])
        if len(clusters) == 1:  # the category's mean is this cluster's own estimate
            own, own_se = np.array([np.nan]), np.array([np.nan])
        shrunk = shrink(own, own_se, float(mean.estimate[j]), float(_errors(mean, level)[j]))
        between[term] = shrunk.between
        for i, cluster in enumerate(clusters):
            source = "own" if np.isfinite(own[i]) else "category"
            value, se = shrunk.estimate[i], shrunk.se[i]
            lines.append(
                (
                    cluster,
                    category,
                    term,
                    value,
                    se,
                    value - width * se,
                    value + width * se,
                    counts[i][j],
                    own[i],
                    own_se[i],
                    source,
                    shrunk.between,
                )
            )
    return lines, between


def _cautions(panel: pd.DataFrame, means: pd.DataFrame) -> tuple[str, ...]:
    cautions = []
    states = panel.groupby(["category", "sku", "period"], observed=True)["depth"].agg(["min", "max", "size"])
    on = states[states["max"] > 0]
    uniform = (on["min"] == on["max"]).mean() if len(on) else 0.0
    if uniform > 0.95:
        cautions.append(
            f"{uniform:.0%} of the price cuts ran in every store at once: the response is known only by comparison "
            "with SKUs of the category that were not on offer in the same period, and trade that offers take from "
            "those makes it look larger than it is."
        )
    price = means[means["term"] == "price"]
    vague = price[price["estimate"] + 1.645 * price["se"] > 0]
    if len(vague):
        cautions.append(
            f"A price cut's effect can't be told from none in {', '.join(vague['category'].astype(str))} (90 % "
            "interval reaches zero)."
        )
    peaks = _timed_to_peaks(panel)
    if peaks:
        cautions.append(
            f"Offers run in periods when SKUs not on offer also sell above average in {', '.join(peaks)} (correlation "
            "above 0.5): period effects take that out as far as the category shares it, not a SKU's own season."
        )
    return tuple(cautions)


def _timed_to_peaks(panel: pd.DataFrame) -> list[str]:
    """Categories whose share of SKUs on offer goes along with the sales of those that are not."""
    found = []
    for category, mine in panel.groupby("category", observed=True, sort=True):
        plain = mine[(mine["depth"] == 0) & ~mine["display"] & ~mine["mailer"] & (mine["lag_depth"] == 0)]
        sums = plain.groupby("period")[["units", "exposure"]].sum()
        rate = sums["units"] / sums["exposure"]
        share = (mine["depth"] > 0).groupby(mine["period"]).mean().reindex(rate.index)
        if len(rate) > 5 and share.std() > 0 and rate.std() > 0 and np.corrcoef(rate, share)[0, 1] > 0.5:
            found.append(str(category))
    return found
