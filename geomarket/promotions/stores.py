"""Response store by store: each store and SKU's own, shrunk to its store cluster's mean."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import stats
from threadpoolctl import threadpool_limits

from geomarket.errors import NotSupportedError, TableError
from geomarket.promotions.grid import OfferGrid, offer_grids
from geomarket.promotions.loglinear import fit_loglinear
from geomarket.promotions.poisson import Block, fit_poisson
from geomarket.promotions.shrinkage import between_variance, shrink
from geomarket.promotions.terms import TERMS
from geomarket.results import Result

__all__ = ["StoreResponse", "fit_store_response", "response_by_type"]

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

#: The cross-price term: mean log price of the category's other SKUs in the store.
CROSS = "cross"
TABLE_COLUMNS = ["store_cluster", "store_id", "category", "sku", "term", "estimate", "se", "low", "high"]
TABLE_COLUMNS += ["raw", "raw_se", "form"]
MEAN_COLUMNS = ["store_cluster", "category", "term", "estimate", "se", "own_variation"]
#: Share of zeros above which a pair is fitted as counts.
ZEROS = 0.05
#: Rounds in which effects of periods and of pairs take turns.
ROUNDS = 30


@dataclass(frozen=True)
class StoreResponse(Result):
    """Response of every store and SKU.

    Attributes
    ----------
    table : DataFrame
        One row per store, SKU and term (price, display, mailer, dip): estimate, se, low, high (90%), raw and raw_se
        (the pair's own; NaN where it has too few offers), form ("log" or "poisson").
    means : DataFrame
        store_cluster, category, term, estimate, se, own_variation: the pooled estimates by store cluster, cross-price
        included where it is identified.
    spread : DataFrame
        store_cluster, category, sku, term, mean, between: what the pairs of a SKU are shrunk to, and the standard
        deviation of the stores around it.
    refusals : DataFrame
        scope, reason.
    """

    table: pd.DataFrame
    means: pd.DataFrame
    spread: pd.DataFrame
    refusals: pd.DataFrame

    def by_store(self, term: str = "price") -> pd.DataFrame:
        """Return store_id, estimate, se: each store at its level of response over SKUs, on the chain mix.

        From the pairs' own estimates, taken as distances from their category's mean over all stores.
        """
        mine = self.table[(self.table["term"] == term) & self.table["raw"].notna()].copy()
        weight = 1 / (mine["raw_se"] ** 2 + between_variance(mine["raw"], mine["raw_se"]))

        def mean_by(keys: str, values: pd.Series) -> pd.Series:
            sums = pd.DataFrame({"w": weight, "wx": weight * values}).groupby(mine[keys]).sum()
            return sums["wx"] / sums["w"]

        usual = mean_by("category", mine["raw"])
        distance = mine["raw"] - mine["category"].map(usual).astype("float64")
        table = pd.DataFrame({"estimate": mean_by("store_id", distance) + usual.mean()})
        table["se"] = weight.groupby(mine["store_id"]).sum() ** -0.5
        return table.rename_axis("store_id").reset_index()

    def summary(self) -> list[str]:
        """Say how much stores of one cluster differ, and whether cross-price effects could be told."""
        price = self.table[self.table["term"] == "price"]
        spread = self.spread[self.spread["term"] == "price"]
        lines = []
        if len(price):
            lines.append(
                f"Price elasticities of {price[['store_id', 'sku']].drop_duplicates().shape[0]:,} store and SKU pairs, "
                f"each shrunk to its store cluster's mean: median {price['estimate'].median():.1f}; stores of one "
                f"cluster differ by a standard deviation of {spread['between'].median():.2f} (median SKU)."
            )
        cross = self.means[self.means["term"] == CROSS]
        if len(cross):
            lines.append(
                f"Cross-price elasticity within the category: median {cross['estimate'].median():+.2f}."
            )
        unknown = self.refusals["reason"].str.startswith("cross-price").sum()
        if unknown:
            lines.append(
                f"Cross-price effects are not identified in {unknown} of the categories and clusters."
            )
        return lines


def fit_store_response(
    sales: pd.DataFrame,
    promotions: pd.DataFrame,
    listings: pd.DataFrame,
    clusters: pd.DataFrame,
    products: pd.DataFrame,
    periods: Sequence[Any] | None = None,
    *,
    min_offers: int = 4,
    min_variation: float = 0.05,
    level: float = 0.9,
) -> StoreResponse:
    """Estimate the response of every store and SKU and shrink it to its store cluster's mean, never to zero.

    First the response common to a category in a store cluster is fitted with effects for each pair and each period;
    then each pair's own deviation, the period effects taken as known: least squares of log units where at most 5% of
    the pair's periods are without a sale, a Poisson fit otherwise. Estimates of one SKU in one cluster are shrunk to
    their mean by empirical Bayes (how far stores spread around it is taken as the same for all SKUs of the category
    in the cluster), that mean to the category's in the cluster. Intervals count that means and spread
    are estimated too.

    Cross-price is how a SKU's sales move with the mean log price of the category's other SKUs in the store. With
    effects for each period it can be told only where stores of a cluster differ in what they promote; where
    they don't it is refused and said so.

    Parameters
    ----------
    sales, promotions, listings, clusters, products, periods
        As for :func:`geomarket.promotions.promotion_panel`.
    min_offers : int
        Periods on offer a pair needs for an estimate of its own.
    min_variation : float
        Share of a common term's variation that must be left once pair and period effects are out.
    level : float
        Level of the intervals.

    Returns
    -------
    StoreResponse

    Raises
    ------
    NotSupportedError
        If nothing is ever offered.

    Notes
    -----
    Montgomery (1997), Creating micro-marketing pricing strategies using supermarket scanner data; Morris (1983),
    Parametric empirical Bayes inference. Errors of neighbouring periods are taken as independent.
    """
    rows, means, spreads = [], [], []
    refusals: list[tuple[str, str]] = []
    for grid in offer_grids(sales, promotions, listings, clusters, products, periods):
        for cluster, members in grid.pairs.groupby("store_cluster", sort=True).indices.items():
            if not (grid.on & grid.listed)[members].any():
                continue
            cell = _Cell.of(grid, np.asarray(members))
            # The matrices are small: more threads only wait for each other.
            with threadpool_limits(1, user_api="blas"):
                common, level_of = cell.common(min_variation, f"{grid.category} in {cluster}", refusals)
                own, errors, form = cell.own(level_of, {line[0]: line[1] for line in common}, min_offers)
                lines, spread = _shrunk(cell, common, own, errors, form, level)
            means += [(str(cluster), grid.category, *line) for line in common]
            rows.append(lines.assign(store_cluster=str(cluster), category=grid.category))
            spreads.append(spread.assign(store_cluster=str(cluster), category=grid.category))
    if not rows:
        raise NotSupportedError(
            "promotions: no listed SKU was ever on offer, so no response can be estimated."
        )
    return StoreResponse(
        pd.concat(rows, ignore_index=True)[TABLE_COLUMNS],
        pd.DataFrame(means, columns=MEAN_COLUMNS),
        pd.concat(spreads, ignore_index=True)[
            ["store_cluster", "category", "sku", "term", "mean", "between"]
        ],
        pd.DataFrame(refusals, columns=["scope", "reason"]),
    )


@dataclass(frozen=True)
class _Cell:
    """One category in one store cluster: terms of shape (n_pairs, n_periods, n_terms)."""

    pairs: pd.DataFrame
    listed: Bools
    units: Floats
    terms: Floats
    names: tuple[str, ...]

    @classmethod
    def of(cls, grid: OfferGrid, members: npt.NDArray[np.int64]) -> _Cell:
        listed, depth = grid.listed[members], grid.depth[members]
        after = (grid.lag_depth[members] > 0) & (depth == 0)
        price = np.where(listed, np.log1p(-depth), 0.0)
        pairs = grid.pairs.iloc[members].reset_index(drop=True)
        terms = [price, grid.display[members], grid.mailer[members], after, _rivals(pairs, price, listed)]
        return cls(
            pairs,
            listed,
            np.maximum(grid.units[members], 0.0),
            np.stack([np.where(listed, term, 0.0) for term in terms], axis=2),
            (*TERMS, CROSS),
        )

    def common(
        self, min_variation: float, scope: str, refusals: list[tuple[str, str]]
    ) -> tuple[list[tuple[str, float, float, float]], Floats]:
        """Fit what all pairs share: (term, estimate, se, own variation), and the log effect of each period."""
        pair, period = np.nonzero(self.listed)
        units = self.units[pair, period]
        zeros = float((units <= 0).mean())
        names = pd.factorize(self.pairs["sku"], sort=True)[0]
        group = names if len(np.unique(names)) > 2 else np.arange(len(names))
        block = Block(
            units,
            np.zeros(units.size),
            self.terms[pair, period],
            np.unique(pair, return_inverse=True)[1],
            np.unique(period, return_inverse=True)[1],
            group[pair].astype(np.int64),
        )
        fitted = fit_loglinear if zeros <= ZEROS else fit_poisson
        fit = fitted([block])
        cross = self.names.index(CROSS)
        alike = fit.own_variation[cross]
        if not (np.isfinite(fit.estimate[cross]) and alike >= min_variation):
            # Where the others' prices can't be told from the own, the own stands for both.
            kept = block.terms * (np.arange(block.terms.shape[1]) != cross)
            fit = fitted([replace(block, terms=kept)])
            fit.own_variation[cross] = alike
        known = np.isfinite(fit.estimate) & (fit.own_variation >= min_variation)
        for j in np.flatnonzero(~known):
            if self.terms[:, :, j].any():
                what = "cross-price: the other SKUs' prices" if self.names[j] == CROSS else self.names[j]
                reason = (
                    f"{what} moved together in all stores: {fit.own_variation[j]:.1%} of the variation is left once "
                    "periods and other terms are out"
                )
                refusals.append((f"{scope}: {self.names[j]}", reason))
        effect = self.terms @ np.where(known, np.nan_to_num(fit.estimate), 0.0)
        lines = [
            (
                self.names[j],
                float(fit.estimate[j]),
                float(fit.covariance[j, j] ** 0.5),
                float(fit.own_variation[j]),
            )
            for j in np.flatnonzero(known)
        ]
        return lines, self._periods(effect)

    def _periods(self, effect: Floats) -> Floats:
        """Log effect of each period, given the offers': pairs and periods fitted in turns to their totals."""
        usual = np.where(self.listed, np.exp(effect), 0.0)
        period = np.ones(self.units.shape[1])
        total = np.where(self.listed, self.units, 0.0)
        for _ in range(ROUNDS):
            pair = total.sum(axis=1) / np.maximum(usual @ period, 1e-12)
            period = total.sum(axis=0) / np.maximum(pair @ usual, 1e-12)
        return np.log(np.maximum(period, 1e-9))

    def own(
        self, level_of: Floats, common: dict[str, float], min_offers: int
    ) -> tuple[Floats, Floats, npt.NDArray[np.str_]]:
        """Estimates and errors of each pair and term, shape (n_pairs, n_terms); NaN where there is too little."""
        n_terms = len(TERMS)
        offset = level_of[None, :] + self.terms[:, :, n_terms] * common.get(CROSS, 0.0)
        offers = (self.terms[:, :, :n_terms] != 0).sum(axis=1)
        enough = offers >= min_offers
        design = np.where(enough[:, None, :], self.terms[:, :, :n_terms], 0.0)
        # What a pair can't tell of itself is taken from the cluster.
        given = np.array([common.get(name, 0.0) for name in TERMS])
        offset = offset + np.where(enough[:, None, :], 0.0, self.terms[:, :, :n_terms]) @ given
        weight = self.listed.astype(float)
        zeros = ((self.units <= 0) & self.listed).sum(axis=1) / np.maximum(self.listed.sum(axis=1), 1)
        dense = zeros <= ZEROS
        estimate, error = np.full(enough.shape, np.nan), np.full(enough.shape, np.nan)
        for chosen, fit in ((dense, _least_squares), (~dense, _counts)):
            if chosen.any():
                estimate[chosen], error[chosen] = fit(
                    self.units[chosen], design[chosen], offset[chosen], weight[chosen]
                )
        # A term that stands for another (a display with every cut) has no error to speak of, or a huge one.
        good = enough & np.isfinite(error) & (error > 0) & (error < 10)
        form = np.where(dense, "log", "poisson")
        return np.where(good, estimate, np.nan), np.where(good, error, np.nan), form


def _rivals(pairs: pd.DataFrame, price: Floats, listed: Bools) -> Floats:
    """Mean log price of the other SKUs the store lists in the period."""
    store = np.unique(pairs["store_id"].astype(str), return_inverse=True)[1]
    total, number = np.zeros((store.max() + 1, price.shape[1])), np.zeros((store.max() + 1, price.shape[1]))
    np.add.at(total, store, price)
    np.add.at(number, store, listed)
    others = number[store] - listed
    return (total[store] - price) / np.where(others > 0, others, 1)


def _solved(bread: Floats, moment: Floats) -> tuple[Floats, Floats]:
    """Batched solution and inverse; terms without any variation get 0, terms that can't be told apart a huge error."""
    size = np.diagonal(bread, axis1=1, axis2=2)
    ridge = np.where(size > 1e-9, 1e-10 * size, 1.0)
    inverse = np.linalg.inv(bread + ridge[:, :, None] * np.eye(bread.shape[1]))
    return np.asarray((inverse @ moment[:, :, None])[:, :, 0]), np.asarray(inverse, dtype=float)


def _least_squares(units: Floats, design: Floats, offset: Floats, weight: Floats) -> tuple[Floats, Floats]:
    """Log units of each pair on its terms; rows without a sale left out."""
    use = weight * (units > 0)
    y = np.where(use > 0, np.log(np.maximum(units, 1e-9)) - offset, 0.0)
    n = np.maximum(use.sum(axis=1), 1)[:, None]
    x = (design - (design * use[:, :, None]).sum(axis=1, keepdims=True) / n[:, :, None]) * use[:, :, None]
    y = (y - (y * use).sum(axis=1, keepdims=True) / n) * use
    bread = np.einsum("ptj,ptk->pjk", x, x)
    estimate, inverse = _solved(bread, np.einsum("ptj,pt->pj", x, y))
    residual = y - (x @ estimate[:, :, None])[:, :, 0]
    used = (np.diagonal(bread, axis1=1, axis2=2) > 1e-9).sum(axis=1)
    freedom = n[:, 0] - 1 - used
    variance = (residual**2).sum(axis=1) / np.maximum(freedom, 1)
    diagonal = np.diagonal(inverse, axis1=1, axis2=2)
    widen = stats.t.ppf(0.95, np.maximum(freedom, 1)) / stats.norm.ppf(0.95)
    error = np.sqrt(np.maximum(diagonal * variance[:, None], 0.0)) * widen[:, None]
    return estimate, np.where(freedom[:, None] > 0, error, np.nan)


def _counts(units: Floats, design: Floats, offset: Floats, weight: Floats) -> tuple[Floats, Floats]:
    """Poisson fit of each pair on its terms and a level, errors widened by the pair's own overdispersion."""
    n_terms = design.shape[2]
    x = np.concatenate([design, np.ones((*design.shape[:2], 1))], axis=2)
    base = np.exp(offset) * weight
    level = np.log(np.maximum((units * weight).sum(axis=1), 0.5) / np.maximum(base.sum(axis=1), 1e-12))
    estimate = np.zeros((len(units), n_terms + 1))
    estimate[:, -1] = level
    active = np.ones(len(units), dtype=bool)
    for _ in range(40):
        step = np.zeros_like(estimate)
        mean = _fitted(base[active], x[active], estimate[active])
        bread = np.einsum("ptj,pt,ptk->pjk", x[active], mean, x[active], optimize=True)
        moment = np.einsum("ptj,pt->pj", x[active], (units[active] - mean) * weight[active])
        # Large steps are where a pair sold nothing on offer: its estimate runs off and is dropped for its error.
        step[active] = np.clip(_solved(bread, moment)[0], -1.0, 1.0)
        estimate += step
        active = np.abs(step).max(axis=1) > 1e-8
        if not active.any():
            break
    mean = _fitted(base, x, estimate)
    bread = np.einsum("ptj,pt,ptk->pjk", x, mean, x, optimize=True)
    inverse = _solved(bread, np.zeros_like(estimate))[1]
    used = (np.diagonal(bread, axis1=1, axis2=2) > 1e-9).sum(axis=1)
    pearson = (weight * (units - mean) ** 2 / np.maximum(mean, 1e-9)).sum(axis=1)
    dispersion = np.maximum(pearson / np.maximum(weight.sum(axis=1) - used, 1), 1.0)
    diagonal = np.diagonal(inverse, axis1=1, axis2=2)[:, :n_terms]
    return estimate[:, :n_terms], np.sqrt(np.maximum(diagonal * dispersion[:, None], 0.0))


def _fitted(base: Floats, x: Floats, estimate: Floats) -> Floats:
    return np.asarray(base * np.exp(np.clip((x @ estimate[:, :, None])[:, :, 0], -20, 20)))


def _shrunk(
    cell: _Cell,
    common: list[tuple[str, float, float, float]],
    own: Floats,
    errors: Floats,
    form: npt.NDArray[np.str_],
    level: float,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Pairs to their SKU's mean in the cluster, that to the category's."""
    width = stats.norm.ppf(0.5 + level / 2)
    skus = cell.pairs["sku"].astype(str).to_numpy()
    lines, spread = [], []
    pooled = {line[0]: line for line in common}
    for j, term in enumerate(TERMS):
        if term not in pooled:
            continue
        names = np.unique(skus)
        place = [np.flatnonzero(skus == name) for name in names]
        means = [_mean(own[rows, j], errors[rows, j]) for rows in place]
        known = np.isfinite([m[0] for m in means])
        centre, centre_se = pooled[term][1], pooled[term][2]
        if known.sum() > 1:
            centre, centre_se = _mean(np.array([m[0] for m in means]), np.array([m[1] for m in means]))
        upper = shrink([m[0] for m in means], [m[1] for m in means], centre, centre_se)
        sku = np.searchsorted(names, skus)
        result = shrink(own[:, j], errors[:, j], upper.estimate[sku], upper.se[sku], max(int(known.sum()), 1))
        spread += [(name, term, float(mean), result.between) for name, mean in zip(names, upper.estimate)]
        lines.append(
            pd.DataFrame(
                {
                    "store_id": cell.pairs["store_id"].to_numpy(),
                    "sku": skus,
                    "term": term,
                    "estimate": result.estimate,
                    "se": result.se,
                    "low": result.estimate - width * result.se,
                    "high": result.estimate + width * result.se,
                    "raw": own[:, j],
                    "raw_se": errors[:, j],
                    "form": form,
                }
            )
        )
    columns = ["store_id", "sku", "term", "estimate", "se", "low", "high", "raw", "raw_se", "form"]
    return (
        pd.concat(lines, ignore_index=True) if lines else pd.DataFrame(columns=columns),
        pd.DataFrame(spread, columns=["sku", "term", "mean", "between"]),
    )


def _mean(values: Floats, errors: Floats) -> tuple[float, float]:
    """Mean of the truths behind estimates, and its error as the mean of just these; NaN without any."""
    good = np.isfinite(values) & np.isfinite(errors)
    if not good.any():
        return np.nan, np.nan
    values, errors = values[good], errors[good]
    between = between_variance(values, errors)
    weight = 1 / (errors**2 + between)
    weight = weight / weight.sum()
    return float(weight @ values), float(np.sqrt((weight**2) @ (errors**2 + between)))


def response_by_type(
    response: StoreResponse,
    profile: pd.DataFrame,
    *,
    terms: Sequence[str] = ("price", "mailer"),
    level: float = 0.9,
) -> pd.DataFrame:
    """Estimate response by neighbourhood type from how it goes along with the mix of stores' catchments.

    A regression over stores of their response on the shares of the types in their trade, each type shrunk to the
    common mean. It is ecological: it says how response differs between stores by whom they serve, which is how
    the shoppers themselves differ only if those of one type respond alike everywhere.

    Parameters
    ----------
    response : StoreResponse
        From :func:`fit_store_response`.
    profile : DataFrame
        store_id, neighbourhood, share (of the store's trade).
    terms : sequence of str
        Terms to describe.
    level : float
        Level of the intervals.

    Returns
    -------
    DataFrame
        term, neighbourhood, estimate, se, low, high, stores (number the estimate rests on, as a sum of shares).

    Raises
    ------
    TableError
        If ``profile`` lacks a column or shares no store with the response.
    NotSupportedError
        If there are not at least twice as many stores as types.

    Notes
    -----
    Types as random effects around a common mean, variance by maximum likelihood.
    """
    missing = [c for c in ("store_id", "neighbourhood", "share") if c not in profile]
    if missing:
        raise TableError(
            f"profile: no column {', '.join(missing)}. It needs store_id, neighbourhood and share."
        )
    mix = profile.pivot_table(
        index="store_id", columns="neighbourhood", values="share", aggfunc="sum"
    ).fillna(0.0)
    mix = mix.div(mix.sum(axis=1), axis=0)
    parts = []
    for term in terms:
        stores = response.by_store(term).set_index("store_id")
        if stores.empty:
            raise NotSupportedError(
                f"response by neighbourhood: no store has a response of its own to {term}."
            )
        both = stores.index.intersection(mix.index)
        if both.empty:
            raise TableError("profile: none of its stores has a response. Use the same store_ids in both.")
        if len(both) < 2 * mix.shape[1]:
            raise NotSupportedError(
                f"response by neighbourhood: {len(both)} stores for {mix.shape[1]} types; it needs at least twice as "
                "many stores as types. Use coarser types (supergroups)."
            )
        mine = stores.loc[both]
        parts.append(_types(term, mix.loc[both], mine["estimate"].to_numpy(), mine["se"].to_numpy(), level))
    if not parts:
        raise NotSupportedError("response by neighbourhood: no term was estimated store by store.")
    return pd.concat(parts, ignore_index=True)


def _types(term: str, mix: pd.DataFrame, values: Floats, errors: Floats, level: float) -> pd.DataFrame:
    shares = mix.to_numpy(dtype=float)
    scale = float(np.var(values, ddof=1)) + 1e-9
    best: tuple[float, Floats, Floats] | None = None
    for types in scale * np.array([1e-4, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0]):
        for rest in scale * np.array([0.0, 0.03, 0.1, 0.3, 1.0]):
            covariance = types * shares @ shares.T + np.diag(errors**2 + rest)
            found = _mixed(shares, values, covariance, types)
            if best is None or found[0] > best[0]:
                best = found
    assert best is not None
    _, estimate, error = best
    width = stats.norm.ppf(0.5 + level / 2)
    return pd.DataFrame(
        {
            "term": term,
            "neighbourhood": mix.columns.astype(str),
            "estimate": estimate,
            "se": error,
            "low": estimate - width * error,
            "high": estimate + width * error,
            "stores": shares.sum(axis=0),
        }
    )


def _mixed(shares: Floats, values: Floats, covariance: Floats, types: float) -> tuple[float, Floats, Floats]:
    """Restricted log likelihood, best linear unbiased predictions of the types, and their errors."""
    inverse = np.linalg.inv(covariance)
    ones = np.ones(len(values))
    information = ones @ inverse @ ones
    mean = (ones @ inverse @ values) / information
    residual = values - mean
    _, determinant = np.linalg.slogdet(covariance)
    likelihood = -0.5 * (determinant + residual @ inverse @ residual + np.log(information))
    gain = types * shares.T @ inverse
    estimate = mean + gain @ residual
    left = 1 - gain @ ones
    variance = types * np.eye(shares.shape[1]) - gain @ shares * types + np.outer(left, left) / information
    return float(likelihood), estimate, np.sqrt(np.maximum(np.diag(variance), 0.0))
