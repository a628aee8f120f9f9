"""What a response fit can be trusted with: what is refused, and what is cautioned about."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import stats

from geomarket.errors import TableError
from geomarket.promotions.loglinear import fit_loglinear
from geomarket.promotions.panel import PANEL_COLUMNS
from geomarket.promotions.poisson import Block, PoissonFit, fit_poisson
from geomarket.promotions.terms import BEFORE, block_of, design

__all__ = ["CategoryFit", "Needs", "cautions", "check_panel", "errors_of", "fit_category", "fit_in_form"]

Floats = npt.NDArray[np.float64]
Form = Literal["log", "poisson"]

#: Share of store periods without a sale above which logs are not taken.
ZEROS = 0.05
#: A rise before the offer of more than this share of the lift on offer tells of offers timed to peaks.
BEFORE_SHARE = 0.25


@dataclass(frozen=True)
class Needs:
    """What an estimate needs."""

    min_offers: int
    min_skus: int
    min_variation: float
    max_influence: float
    dip_form: Literal["after", "depth"]
    form: Literal["auto", "log", "poisson"]
    names: tuple[str, ...]

    def offered(self, terms: Floats) -> npt.NDArray[np.bool_]:
        """Rows on which something is offered."""
        acts = [j for j, name in enumerate(self.names) if name not in ("dip", BEFORE)]
        return np.asarray((terms[:, acts] != 0).any(axis=1))


@dataclass(frozen=True)
class CategoryFit:
    """One category's fit over all clusters: terms that could not be supported are NaN."""

    fit: PoissonFit
    offers: list[int]
    form: Form
    zero_share: float
    skus: pd.Index


def check_panel(panel: pd.DataFrame) -> None:
    """Raise TableError where a column is missing or holds what can't be."""
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


def fit_in_form(blocks: Sequence[Block], form: Form) -> PoissonFit:
    """Fit counts or logs."""
    return fit_loglinear(blocks) if form == "log" else fit_poisson(blocks)


def errors_of(fit: PoissonFit, level: float) -> Floats:
    """Standard errors that give, times the normal quantile, the width Student's t asks for with so few SKUs.

    Degrees of freedom are those of the SKUs of equal weight that would tell as much.
    """
    place = 0.5 + level / 2
    few = np.maximum(np.minimum(fit.effective_groups, fit.n_groups) - 1, 1.0)
    return np.asarray(np.sqrt(np.diag(fit.covariance)) * stats.t.ppf(place, few) / stats.norm.ppf(place))


def count_offers(panel: pd.DataFrame, terms: Floats) -> tuple[list[int], list[int]]:
    """Offers (SKU and period) and SKUs on offer, by term."""
    sku = pd.factorize(panel["sku"])[0]
    period, periods = pd.factorize(panel["period"])
    offer = sku * max(len(periods), 1) + period
    on = terms != 0
    offers = [int(np.unique(offer[on[:, j]]).size) for j in range(terms.shape[1])]
    skus = [int(np.unique(sku[on[:, j]]).size) for j in range(terms.shape[1])]
    return offers, skus


def zero_share(panel: pd.DataFrame) -> float:
    """Share of store periods without a sale (of rows, where the panel doesn't say)."""
    if "zeros" in panel:
        return float(panel["zeros"].sum() / max(panel["stores"].sum(), 1))
    return float((panel["units"] == 0).mean())


def fit_category(
    category: str, panel: pd.DataFrame, needs: Needs, refusals: list[tuple[str, str]]
) -> CategoryFit | None:
    """Fit one category over all clusters, or say why not."""
    terms = design(panel, needs.names, needs.dip_form)
    offers, skus = count_offers(panel, terms)
    acts = [j for j, name in enumerate(needs.names) if name not in ("dip", BEFORE)]
    n_offers = len(panel.loc[needs.offered(terms), ["sku", "period"]].drop_duplicates())
    most = max(skus[j] for j in acts)
    if n_offers < needs.min_offers or most < needs.min_skus:
        reason = f"{n_offers} offers of {most} SKUs; an estimate needs {needs.min_offers} of {needs.min_skus}"
        refusals.append((category, reason))
        return None
    if offers[0] == 0:
        reason = "no price variation: no SKU was ever sold below its regular price"
        refusals.append((f"{category}: price", reason))
    names = pd.Index(sorted(panel["sku"].astype(object).unique()))
    zeros = zero_share(panel)
    form: Form = "log" if needs.form == "log" or (needs.form == "auto" and zeros <= ZEROS) else "poisson"
    blocks = [
        block_of(mine, names, needs.names, needs.dip_form)
        for _, mine in panel.groupby("store_cluster", observed=True, sort=True)
    ]
    fit = fit_in_form(blocks, form)
    estimate = fit.estimate.copy()
    for j, name in enumerate(needs.names):
        reason = _unsupported(fit, j, offers[j], skus[j], names, needs)
        if reason:
            estimate[j] = np.nan
            if offers[j]:
                refusals.append((f"{category}: {name}", reason))
    against = _whole_category_refused(fit, estimate, terms, needs)
    if against:
        refusals.append((category, against))
        return None
    if not np.isfinite(estimate[acts]).any():
        return None
    return CategoryFit(replace(fit, estimate=estimate), offers, form, zeros, names)


def _unsupported(fit: PoissonFit, j: int, offers: int, skus: int, names: pd.Index, needs: Needs) -> str:
    """Return why a term's estimate can't be used, or an empty string."""
    if offers < needs.min_offers or skus < needs.min_skus:
        return f"{offers} offers of {skus} SKUs; it needs {needs.min_offers} of {needs.min_skus}"
    if not fit.own_variation[j] >= needs.min_variation:
        return (
            f"collinear: only {fit.own_variation[j]:.1%} of its variation within SKUs differs from the "
            "period's (the season) and from the other terms; offers at other times than the whole "
            "category's would tell them apart"
        )
    if fit.top_share[j] > needs.max_influence:
        return (
            f"rests on one SKU: {names[fit.top_group[j]]} carries {fit.top_share[j]:.0%} of what is known; "
            "what it did can't stand for the category"
        )
    return ""


def _whole_category_refused(fit: PoissonFit, estimate: Floats, terms: Floats, needs: Needs) -> str:
    """Return why nothing of a category can be used, or an empty string."""
    errors = errors_of(fit, 0.9)
    if estimate[0] > 0:
        return (
            f"wrong sign: units fall with price cuts (elasticity {estimate[0]:+.1f}, standard error "
            f"{errors[0]:.1f}); offers were probably timed to weak sales, or moved trade between SKUs"
        )
    if not fit.converged:
        return "the fit did not converge"
    if BEFORE in needs.names:
        j = needs.names.index(BEFORE)
        acts = [k for k, name in enumerate(needs.names) if name not in ("dip", BEFORE)]
        on = needs.offered(terms)
        lift = float((terms[on][:, acts] @ np.nan_to_num(fit.estimate[acts])).mean()) if on.any() else 0.0
        before = fit.estimate[j]
        if before - 1.645 * errors[j] > 0 and before > BEFORE_SHARE * max(lift, 0.0):
            return (
                f"promotions timed to peaks: sales stand {np.expm1(before):+.0%} above the usual already in the "
                f"period before an offer, against {np.expm1(lift):+.0%} on offer, so that the offer can't be told "
                "from the peak; offers at quiet times, or in some stores only, would tell them apart"
            )
    return ""


def cautions(panel: pd.DataFrame, means: pd.DataFrame) -> tuple[str, ...]:
    """Return what a reader of the estimates must know."""
    found = []
    states = panel.groupby(["category", "sku", "period"], observed=True)["depth"].agg(["min", "max", "size"])
    on = states[states["max"] > 0]
    uniform = (on["min"] == on["max"]).mean() if len(on) else 0.0
    if uniform > 0.95:
        found.append(
            f"{uniform:.0%} of the price cuts ran in every store at once: the response is known only by comparison "
            "with SKUs of the category that were not on offer in the same period. Trade that offers take from those "
            "makes it look larger than it is, and neither that, nor cross-price effects, nor effects on other "
            "categories can be told from the season."
        )
    price = means[means["term"] == "price"]
    vague = price[price["estimate"] + 1.645 * price["se"] > 0]
    if len(vague):
        found.append(
            f"A price cut's effect can't be told from none in {', '.join(vague['category'].astype(str))} (90% "
            "interval reaches zero)."
        )
    caution = _one_depth_only(panel)
    if caution:
        found.append(caution)
    peaks = _timed_to_peaks(panel)
    if peaks:
        found.append(
            f"Offers run in periods when SKUs not on offer also sell above average in {', '.join(peaks)} (correlation "
            "above 0.5): period effects take that out as far as the category shares it, not a SKU's own season."
        )
    return tuple(found)


def _one_depth_only(panel: pd.DataFrame) -> str:
    """Mechanics that always came with the same price cut."""
    if "mechanic" not in panel:
        return ""
    cuts = panel.loc[panel["depth"] > 0, ["mechanic", "depth"]].assign(depth=lambda f: f["depth"].round(2))
    depths = cuts.groupby("mechanic", observed=True)["depth"].agg(["nunique", "first"])
    single = depths[depths["nunique"] == 1]
    if single.empty or len(depths) == 1:
        return ""
    which = ", ".join(f"{name} ({depth:.0%})" for name, depth in single["first"].items())
    return (
        f"Mechanics that only ran at one depth: {which}. What is theirs and what is a bend in the response to "
        "price can't be told apart; they are planned at that depth only."
    )


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
