"""How much an offer moves sales, by store cluster and category."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import pandas as pd
from scipy import stats
from threadpoolctl import threadpool_limits

from geomarket.errors import NotSupportedError
from geomarket.promotions.relationship import Relationship
from geomarket.promotions.shrinkage import shrink
from geomarket.promotions.support import (
    CategoryFit,
    Needs,
    cautions,
    check_panel,
    count_offers,
    errors_of,
    fit_category,
    fit_in_form,
)
from geomarket.promotions.terms import BEFORE, MECHANIC, TERMS, base_mechanic, block_of, term_names
from geomarket.results import Result

__all__ = ["TERMS", "PromotionResponse", "fit_response"]

_log = logging.getLogger(__name__)

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
MEAN_COLUMNS = [
    "category",
    "term",
    "estimate",
    "se",
    "n",
    "own_variation",
    "between",
    "effective_skus",
    "top_sku",
    "top_share",
]


@dataclass(frozen=True)
class PromotionResponse(Result):
    """Response to offers.

    Attributes
    ----------
    table : DataFrame
        One row per store cluster, category and term. ``price``: elasticity, log units per log price. ``display``,
        ``mailer``: log units. ``mechanic: x``: log units on top of what a price cut of that depth does. ``dip``: log
        units in the period after an offer (``dip_form`` "after"), or per log price of the period before ("depth":
        forward buying). ``estimate`` is shrunk towards the category's mean over all clusters, ``raw`` is the cluster's
        own, NaN where its data don't support one; ``shrunk_from`` says which of the two the estimate is ("own" or
        "category"). ``low``, ``high``: 90% interval. ``n``: offers (SKU and period) behind the own estimate.
        ``between``: standard deviation of the clusters around the mean.
    means : DataFrame
        category, term, estimate, se, n, own_variation (share of the term's variation within SKUs that neither
        the period nor other terms explain), between, effective_skus (SKUs of equal weight that would tell as
        much), top_sku and top_share (who tells most). The term ``before`` is a placebo: the period before an offer.
    refusals : DataFrame
        scope, reason: what the data could not support.
    cautions : tuple of str
        How far the figures can be trusted.
    depths : DataFrame
        category, shallowest, deepest: the price cuts seen, beyond which nothing is known.
    dip_form : {"after", "depth"}
    forms : DataFrame
        category, form ("log" or "poisson"), zero_share (store periods without a sale).
    mechanics : DataFrame
        category, mechanic, shallowest, deepest: the price cuts each mechanic was seen with.
    base : str
        The mechanic the price term stands for.
    relationship : Relationship or None
        What a category's offers do to its own total and to other categories, where the data can tell.
    holdout : DataFrame or None
        Errors on offers held out, from :func:`geomarket.promotions.response_holdout`.
    by_type : DataFrame or None
        Response by neighbourhood type, from :func:`geomarket.promotions.response_by_type`.
    answers : DataFrame or None
        How often contacts were answered by channel and neighbourhood type, few customers suppressed. An answer is not
        an effect: only a test with a control group tells what a contact adds.
    """

    table: pd.DataFrame
    means: pd.DataFrame
    refusals: pd.DataFrame
    cautions: tuple[str, ...]
    depths: pd.DataFrame
    dip_form: Literal["after", "depth"] = "after"
    forms: pd.DataFrame = field(
        default_factory=lambda: pd.DataFrame(columns=["category", "form", "zero_share"])
    )
    mechanics: pd.DataFrame = field(
        default_factory=lambda: pd.DataFrame(columns=["category", "mechanic", "shallowest", "deepest"])
    )
    base: str = "price cut"
    relationship: Relationship | None = None
    holdout: pd.DataFrame | None = None
    by_type: pd.DataFrame | None = None
    answers: pd.DataFrame | None = None

    def coefficients(self) -> pd.DataFrame:
        """Return estimates wide: index store_cluster and category, one column per term (NaN where refused)."""
        return self._wide("estimate")

    def errors(self) -> pd.DataFrame:
        """Return standard errors in the shape of :meth:`coefficients`."""
        return self._wide("se")

    def _wide(self, values: str) -> pd.DataFrame:
        wide = self.table.pivot(index=["store_cluster", "category"], columns="term", values=values)
        more = sorted(term for term in wide.columns if term.startswith(MECHANIC))
        return wide.reindex(columns=[*TERMS, *more]).rename_axis(columns=None)

    def summary(self) -> list[str]:
        """Say what a price cut does, where response differs, and what was refused."""
        lines = []
        prices = self.means[self.means["term"] == "price"]
        if len(prices):
            lift = np.expm1(prices["estimate"] * np.log(0.8))
            lines.append(
                f"20% off lifts a SKU's units by {lift.min():.0%} to {lift.max():.0%}, by category "
                f"(median {lift.median():.0%})."
            )
        words = {"display": "A display", "mailer": "A place in the leaflet"}
        for term, subject in words.items():
            mine = self.means.loc[self.means["term"] == term, "estimate"]
            if len(mine):
                lines.append(f"{subject} adds {np.expm1(mine.median()):+.0%} units in the median category.")
        more = self.means[self.means["term"].str.startswith(MECHANIC)] if len(self.means) else self.means
        for name, known in more.groupby("term")["estimate"]:
            lines.append(
                f"As {str(name).removeprefix(MECHANIC)}, the same price cut sells {np.expm1(known.median()):+.0%} "
                "units in the median category."
            )
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
        if len(self.forms):
            dense = int((self.forms["form"] == "log").sum())
            lines.append(
                f"{dense} of {len(self.forms)} categories sell densely enough to be fitted to log units; the others "
                "are fitted as counts (Poisson)."
            )
        if self.relationship is not None:
            lines.extend(self.relationship.summary())
        if self.holdout is not None and len(self.holdout):
            lines.append(_holdout_words(self.holdout))
        lines.extend(self.cautions)
        if len(self.refusals):
            lines.append(f"{len(self.refusals)} estimates were refused; see refusals.")
        return lines

    def plot(self, ax: Any = None) -> Any:
        """Draw price elasticity by category and store cluster with 90% intervals."""
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
    max_influence: float = 0.8,
    form: Literal["auto", "log", "poisson"] = "auto",
    level: float = 0.9,
) -> PromotionResponse:
    """Estimate the response to price cuts, mechanics, displays and leaflets, and the dip after them.

    Regression of units on log price, mechanic, display, mailer and dip with the plain-period sales as exposure, and
    effects for each SKU and each period of a category in a store cluster: of log units where a category sells
    densely (at most 5% of store periods without a sale), of counts (Poisson) elsewhere. What SKUs not on offer do in
    the same period therefore stands for what the offered ones would have done: where every store makes the same offer
    at the same time, that comparison between SKUs is all that identifies the response, and sales that an offer takes
    from other SKUs of the category make it look larger than it is.

    Each category is fitted over all clusters and in each cluster; cluster estimates are shrunk to the category's by
    empirical Bayes, never to zero. Standard errors are clustered by SKU, with the leverage of each taken out, and
    widened for the few SKUs that tell most of it (Student's t), so that the intervals can be read as normal ones.

    Refused are estimates from too few offers, from one SKU in effect, of terms that go along with the season or with
    another term, with no price variation, with the wrong sign, and where sales had already risen in the period
    before the offers (promotions timed to peaks).

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
    max_influence : float
        Largest share of what is known of a term that one SKU may carry.
    form : {"auto", "log", "poisson"}
        Logs or counts; by each category's zeros where "auto".
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
    check_panel(panel)
    panel = panel[panel["exposure"] > 0]
    offered = (panel["depth"] > 0) | panel["display"] | panel["mailer"]
    if not offered.any():
        raise NotSupportedError(
            "promotions: the history holds no price cut, display or leaflet of a listed SKU, so no response can be "
            "estimated. Give promotions that ran, or leave the stage out."
        )
    refusals: list[tuple[str, str]] = []
    rows, means, depths, forms = [], [], [], []
    needs = Needs(min_offers, min_skus, min_variation, max_influence, dip_form, form, term_names(panel))
    for category, mine in panel.groupby("category", observed=True, sort=True):
        # The matrices are small: more threads only wait for each other.
        with threadpool_limits(1, user_api="blas"):
            whole = fit_category(str(category), mine, needs, refusals)
            if whole is None:
                continue
            lines, between = _shrunk_lines(str(category), mine, whole, needs, level, refusals)
        cut = mine.loc[mine["depth"] > 0, "depth"]
        depths.append((category, cut.min() if len(cut) else np.nan, cut.max() if len(cut) else np.nan))
        forms.append((category, whole.form, whole.zero_share))
        rows.extend(lines)
        means.extend(_mean_lines(str(category), whole, between, needs, level))
    table = pd.DataFrame(rows, columns=TABLE_COLUMNS)
    mean_table = pd.DataFrame(means, columns=MEAN_COLUMNS)
    _log.info("response: %d estimates, %d refusals", len(table), len(refusals))
    return PromotionResponse(
        table=table.sort_values(["store_cluster", "category", "term"], kind="stable", ignore_index=True),
        means=mean_table,
        refusals=pd.DataFrame(refusals, columns=["scope", "reason"]),
        cautions=cautions(panel, mean_table),
        depths=pd.DataFrame(depths, columns=["category", "shallowest", "deepest"]),
        dip_form=dip_form,
        forms=pd.DataFrame(forms, columns=["category", "form", "zero_share"]),
        mechanics=_mechanics_seen(panel),
        base=base_mechanic(panel),
    )


def _mechanics_seen(panel: pd.DataFrame) -> pd.DataFrame:
    cuts = panel[panel["depth"] > 0]
    mechanic = (
        cuts["mechanic"].astype(str) if "mechanic" in cuts else pd.Series("price cut", index=cuts.index)
    )
    keys = [cuts["category"].astype(str), mechanic.rename("mechanic")]
    seen = cuts.groupby(keys)["depth"].agg(shallowest="min", deepest="max")
    return seen.reset_index()


def _mean_lines(
    category: str, whole: CategoryFit, between: dict[str, float], needs: Needs, level: float
) -> list[tuple]:
    fit, errors = whole.fit, errors_of(whole.fit, level)
    return [
        (
            category,
            term,
            fit.estimate[j],
            float(errors[j]),
            whole.offers[j],
            fit.own_variation[j],
            between.get(term, np.nan),
            float(fit.effective_groups[j]),
            str(whole.skus[fit.top_group[j]]),
            float(fit.top_share[j]),
        )
        for j, term in enumerate(needs.names)
        if np.isfinite(fit.estimate[j])
    ]


def _shrunk_lines(
    category: str,
    panel: pd.DataFrame,
    whole: CategoryFit,
    needs: Needs,
    level: float,
    refusals: list[tuple[str, str]],
) -> tuple[list[tuple], dict[str, float]]:
    clusters, raw, raw_se, counts = [], [], [], []
    mean, names = whole.fit, whole.skus
    for cluster, mine in panel.groupby("store_cluster", observed=True, sort=True):
        block = block_of(mine, names, needs.names, needs.dip_form)
        offers, skus = count_offers(mine, block.terms)
        fit = fit_in_form([block], whole.form)
        enough = (
            np.isfinite(mean.estimate)
            & (np.array(offers) >= needs.min_offers)
            & (np.array(skus) >= needs.min_skus)
            & (fit.own_variation >= needs.min_variation)
            & (fit.top_share <= needs.max_influence)
            & fit.converged
        )
        clusters.append(str(cluster))
        counts.append(offers)
        raw.append(np.where(enough, fit.estimate, np.nan))
        raw_se.append(np.where(enough, errors_of(fit, level), np.nan))
        thin = [
            term
            for j, term in enumerate(needs.names)
            if term != BEFORE and np.isfinite(mean.estimate[j]) and not enough[j]
        ]
        if thin:
            refusals.append(
                (
                    f"{category} in {cluster}: {', '.join(thin)}",
                    "too few offers of its own, or of one SKU only: the category's mean stands in",
                )
            )
    width = stats.norm.ppf(0.5 + level / 2)
    lines, between = [], {}
    for j, term in enumerate(needs.names):
        if not np.isfinite(mean.estimate[j]) or term == BEFORE:
            continue
        own, own_se = np.array([r[j] for r in raw]), np.array([r[j] for r in raw_se])
        if len(clusters) == 1:  # the category's mean is this cluster's own estimate
            own, own_se = np.array([np.nan]), np.array([np.nan])
        shrunk = shrink(own, own_se, float(mean.estimate[j]), float(errors_of(mean, level)[j]))
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


def _holdout_words(holdout: pd.DataFrame) -> str:
    line = holdout[holdout["category"] == "all"].set_index("model")
    errors = line["wmape"]
    words = (
        f"On {int(line['rows'].iloc[0]):,} offers held out of the fit, units are missed by {errors['response']:.0%} "
        f"on average; by {errors['no promotion']:.0%} if no offer had any effect, by {errors['pooled']:.0%} with one "
        "response for all categories and clusters."
    )
    if errors["response"] >= errors["no promotion"]:
        words += (
            " That is no better than taking offers to do nothing: what single offers will sell can't be forecast from "
            "this history. Try them in some stores before all have them."
        )
    return words
