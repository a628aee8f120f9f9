"""What a category's offers do to its own total and to other categories: the whole basket, store by store."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import stats
from threadpoolctl import threadpool_limits

from geomarket.errors import NotSupportedError
from geomarket.promotions.grid import OfferGrid, offer_grids
from geomarket.promotions.loglinear import fit_loglinear
from geomarket.promotions.poisson import Block, PoissonFit, fit_poisson
from geomarket.promotions.shrinkage import between_variance, shrink
from geomarket.promotions.terms import MECHANIC
from geomarket.results import Result

if TYPE_CHECKING:
    from geomarket.promotions.response import PromotionResponse

__all__ = ["Relationship", "fit_relationship"]

Floats = npt.NDArray[np.float64]

TABLE_COLUMNS = ["category", "gains", "kind", "estimate", "se", "low", "high", "raw", "raw_se", "p", "known"]
#: Share of false discoveries among the halos that count as known.
FALSE_DISCOVERIES = 0.1


@dataclass(frozen=True)
class Relationship(Result):
    """Effects of a category's offers beyond the offered SKUs.

    Attributes
    ----------
    table : DataFrame
        One row per category on offer, category that gains (or loses), and kind: ``units`` (log units per expected log
        change of the offering category's own trade), ``mailer`` (log units when all of the offering category's usual
        trade is in the leaflet). ``estimate`` is shrunk to the mean over all pairs of that kind; ``raw`` is the pair's
        own; ``low``, ``high``: 90% interval; ``known``: told apart from nothing with at most 10% false discoveries
        over all pairs (Benjamini and Hochberg, 1995). Only those are planned with.
    cannibalisation : DataFrame
        category, share (of an offer's extra units that the category does not keep: other SKUs of it lose them), se,
        low, high, raw, raw_se. 1 less the response of the category's total to what its offers should add by SKU.
    refusals : DataFrame
        scope, reason.
    """

    table: pd.DataFrame
    cannibalisation: pd.DataFrame
    refusals: pd.DataFrame

    def summary(self) -> list[str]:
        """Say what an offer takes from its own category and brings to others."""
        lines = []
        if len(self.cannibalisation):
            share = self.cannibalisation["share"]
            lines.append(
                f"Of an offer's extra units, other SKUs of the category lose {share.min():.0%} to {share.max():.0%} "
                f"(median {share.median():.0%}): estimated from the categories' totals, store by store."
            )
        else:
            lines.append("What offers take from other SKUs of the category could not be estimated.")
        known = self.table[self.table["known"]]
        if len(known):
            best = known.reindex(known["estimate"].abs().sort_values(ascending=False, kind="stable").index)
            words = "; ".join(
                f"{row.category} {'in the leaflet' if row.kind == 'mailer' else 'on offer'} moves {row.gains} "
                f"({row.estimate:+.2f} log units at full strength)"
                for row in best.head(3).itertuples()
            )
            lines.append(f"{len(known)} of {len(self.table)} effects on other categories are known: {words}.")
        elif len(self.table):
            lines.append(
                f"None of {len(self.table)} possible effects on other categories can be told from nothing."
            )
        return lines


def fit_relationship(
    response: PromotionResponse,
    sales: pd.DataFrame,
    promotions: pd.DataFrame,
    listings: pd.DataFrame,
    clusters: pd.DataFrame,
    products: pd.DataFrame,
    periods: Sequence[Any] | None = None,
    *,
    min_stores: int = 8,
    min_variation: float = 0.1,
    most_sources: int = 12,
    level: float = 0.9,
) -> Relationship:
    """Estimate cannibalisation within categories and halo between them.

    Every store and period of a category is one observation. Its units are explained by the expected change of the
    category's own trade (what :func:`geomarket.promotions.fit_response` says its offers should add, SKU by SKU),
    by the same of every other category, and by the share of every other category's usual trade that is in the
    leaflet, with effects for each store and each period. So it is stores without an offer in the same period that tell
    what an offer does: where all stores offer the same at the same time nothing can be estimated, and it is refused.

    Standard errors are the larger of those clustered by store and by period.

    Parameters
    ----------
    response : PromotionResponse
        From the same sales and promotions.
    sales, promotions, listings, clusters, products, periods
        As for :func:`geomarket.promotions.promotion_panel`.
    min_stores : int
        Stores needed.
    min_variation : float
        Share of a term's variation within stores that must be left once periods and the other terms are out.
    most_sources : int
        Categories whose effect on others is asked for: those with the most trade on offer. With more, none can be told.
    level : float
        Level of the intervals.

    Returns
    -------
    Relationship

    Raises
    ------
    NotSupportedError
        If there are too few stores, or every store makes the same offers at the same time.
    """
    if clusters["store_id"].nunique() < min_stores:
        raise NotSupportedError(
            f"halo: {clusters['store_id'].nunique()} stores; effects on other categories need {min_stores}, some of "
            "which are without the offer at the time."
        )
    stores = pd.Index(sorted(clusters["store_id"].unique()))
    known = set(response.table["category"])
    trades = [
        _Trade.of(grid, response, stores, grid.category in known)
        for grid in offer_grids(sales, promotions, listings, clusters, products, periods)
    ]
    refusals: list[tuple[str, str]] = []
    rows, own = [], []
    ranked = sorted(trades, key=lambda trade: (-trade.on_offer, trade.category))
    sources = [trade for trade in ranked[:most_sources] if trade.on_offer > 0]
    if len(ranked) > len(sources):
        reason = f"effects on other categories are asked for of the {most_sources} with the most trade on offer only"
        refusals += [(trade.category, reason) for trade in ranked[len(sources) :] if trade.on_offer > 0]
    for trade in trades:
        with threadpool_limits(1, user_api="blas"):
            found = _fit_target(trade, sources, min_variation, refusals)
        rows += [row for row in found if row[2] != "own"]
        own += [row for row in found if row[2] == "own"]
    if not rows and not own:
        raise NotSupportedError(
            "halo: every store makes the same offers at the same time, so effects on the rest of the trade can't be "
            "told from the season. Offers that differ by region or store would tell."
        )
    return Relationship(
        _shrunk(rows, level),
        _cannibalisation(own, level),
        pd.DataFrame(refusals, columns=["scope", "reason"]),
    )


@dataclass(frozen=True, eq=False)
class _Trade:
    """One category's trade, arrays of shape (n_stores, n_periods)."""

    category: str
    units: Floats
    plain: Floats
    change: Floats
    mailed: Floats

    @property
    def on_offer(self) -> float:
        """Usual trade that offers move or that is in the leaflet."""
        return float((self.plain * (np.abs(self.change) + self.mailed)).sum())

    @classmethod
    def of(cls, grid: OfferGrid, response: PromotionResponse, stores: pd.Index, known: bool) -> _Trade:
        """Add up a grid by store."""
        store = stores.get_indexer(pd.Index(grid.pairs["store_id"]))
        cell = np.unique(grid.pairs["sku"].astype(str), return_inverse=True)[1]
        rate = grid.plain_rate(cell, int(cell.max(initial=-1)) + 1)[:, None] * grid.listed

        def by_store(values: Floats) -> Floats:
            total = np.zeros((len(stores), values.shape[1]))
            np.add.at(total, store, values)
            return total

        plain = by_store(rate)
        usual = np.where(plain > 0, plain, 1.0)
        lift = np.expm1(_log_lift(grid, response)) if known else np.zeros_like(rate)
        return cls(
            grid.category,
            np.maximum(by_store(grid.units * grid.listed), 0.0),
            plain,
            np.log1p(np.maximum(by_store(rate * lift) / usual, -0.9)),
            by_store(rate * grid.mailer) / usual,
        )


def _log_lift(grid: OfferGrid, response: PromotionResponse) -> Floats:
    """Expected log change of each pair and period."""
    wide = response.coefficients()
    index = pd.MultiIndex.from_arrays(
        [grid.pairs["store_cluster"].astype(str), [grid.category] * len(grid.pairs)]
    )
    effect = wide.reindex(index).fillna(0.0)

    def of(term: str) -> Floats:
        return np.asarray(effect[term].to_numpy(dtype=float)[:, None])

    lag = grid.lag_depth
    after = (lag > 0) & (grid.depth == 0) if response.dip_form == "after" else -np.log1p(-lag)
    total = of("price") * np.log1p(-grid.depth) + of("display") * grid.display + of("mailer") * grid.mailer
    total = total + of("dip") * after
    for term in effect.columns:
        if term.startswith(MECHANIC):
            code = grid.mechanics.index(term.removeprefix(MECHANIC))
            total = total + of(term) * ((grid.mechanic == code) & (grid.depth > 0))
    return np.asarray(total)


def _fit_target(
    target: _Trade, sources: list[_Trade], min_variation: float, refusals: list[tuple[str, str]]
) -> list[tuple[str, str, str, float, float]]:
    """Fit one category's total: (category, gains, kind, estimate, se) of what the data can tell."""
    use = target.plain > 0
    columns, names = [], []
    for trade in [*([] if target in sources else [target]), *sources]:
        kind = "own" if trade is target else "units"
        for kind_of, values in ((kind, trade.change), ("mailer", trade.mailed)):
            if not (trade is target and kind_of == "mailer") and np.ptp(values[use]) > 0:
                columns.append(values[use])
                names.append((trade.category, target.category, kind_of))
    if not columns or use.sum() < 5 * len(columns):
        return []
    store, period = np.nonzero(use)
    units = target.units[use]
    fit = fit_loglinear if (units <= 0).mean() <= 0.05 else fit_poisson

    def fitted(group: npt.NDArray[Any]) -> PoissonFit:
        block = Block(
            units,
            np.log(target.plain[use]),
            np.column_stack(columns),
            np.unique(store, return_inverse=True)[1],
            np.unique(period, return_inverse=True)[1],
            group.astype(np.int64),
        )
        return fit([block])

    by_store, by_period = fitted(store), fitted(period)
    variance = np.maximum(np.diag(by_store.covariance), np.diag(by_period.covariance))
    tell = np.isfinite(variance) & (variance > 0) & (by_store.own_variation >= min_variation)
    few = max(min(by_store.n_groups, by_period.n_groups) - 1, 1)
    widen = stats.t.ppf(0.95, few) / stats.norm.ppf(0.95)
    for name in (n for n, good in zip(names, tell) if not good):
        refusals.append(
            (
                f"{name[0]} on {name[1]} ({name[2]})",
                "not identified: the offers ran in all stores at the same time, or along with another category's",
            )
        )
    return [
        (*name, float(by_store.estimate[j]), float(np.sqrt(variance[j]) * widen))
        for j, name in enumerate(names)
        if tell[j]
    ]


def _shrunk(rows: list[tuple[str, str, str, float, float]], level: float) -> pd.DataFrame:
    table = pd.DataFrame(rows, columns=["category", "gains", "kind", "raw", "raw_se"])
    if table.empty:
        return pd.DataFrame(columns=TABLE_COLUMNS)
    parts = []
    for _, mine in table.groupby("kind", sort=True):
        mean, mean_se = _mean(mine["raw"].to_numpy(), mine["raw_se"].to_numpy())
        result = shrink(mine["raw"], mine["raw_se"], mean, mean_se)
        parts.append(mine.assign(estimate=result.estimate, se=result.se))
    table = pd.concat(parts)
    width = stats.norm.ppf(0.5 + level / 2)
    table["p"] = 2 * stats.norm.sf(np.abs(table["raw"] / table["raw_se"]))
    table["known"] = stats.false_discovery_control(table["p"]) <= FALSE_DISCOVERIES
    table = table.assign(
        low=table["estimate"] - width * table["se"], high=table["estimate"] + width * table["se"]
    )
    return table.sort_values(["category", "gains", "kind"], ignore_index=True)[TABLE_COLUMNS]


def _cannibalisation(own: list[tuple[str, str, str, float, float]], level: float) -> pd.DataFrame:
    columns = ["category", "share", "se", "low", "high", "raw", "raw_se"]
    if not own:
        return pd.DataFrame(columns=columns)
    kept, errors = np.array([row[3] for row in own]), np.array([row[4] for row in own])
    mean, mean_se = _mean(kept, errors)
    result = shrink(kept, errors, mean, mean_se)
    width = stats.norm.ppf(0.5 + level / 2)
    share = 1 - result.estimate
    table = pd.DataFrame(
        {
            "category": [row[0] for row in own],
            "share": np.clip(share, 0.0, 1.0),
            "se": result.se,
            "low": np.clip(share - width * result.se, 0.0, 1.0),
            "high": np.clip(share + width * result.se, 0.0, 1.0),
            "raw": 1 - kept,
            "raw_se": errors,
        }
    )
    return table.sort_values("category", ignore_index=True)[columns]


def _mean(values: Floats, errors: Floats) -> tuple[float, float]:
    """Mean of the truths behind estimates, and its error as the mean of just these."""
    weight = 1 / (errors**2 + between_variance(values, errors))
    weight = weight / weight.sum()
    return float(weight @ values), float(np.sqrt((weight**2) @ errors**2))
