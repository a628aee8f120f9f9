"""The baseline every other forecast has to beat: how big the store is times how well the SKU sells."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from geomarket.demand.pairs import Pairs
from geomarket.demand.shrinkage import fit_scatter, spread_of_ratios
from geomarket.errors import SolverError

__all__ = ["Baseline", "fit_baseline", "fit_biproportional"]


@dataclass(frozen=True)
class Baseline:
    """Expected units per period if listed: size of the store in the category × rate of the SKU.

    Attributes
    ----------
    size : ndarray of shape (n_stores, n_categories)
        Relative size of each store in each category; the store's size over the whole shop, drawn towards what it
        sells in the category as far as that is more than chance.
    rate : ndarray of shape (n_skus,)
        Units per period in a store of size 1, drawn to the category's middle where few stores list the SKU; NaN for a
        SKU without a pair.
    """

    size: np.ndarray
    rate: np.ndarray

    def surface(self, category: np.ndarray) -> np.ndarray:
        """Return the expected units per period of every store × SKU, shape (n_stores, n_skus)."""
        return self.size[:, category] * self.rate[None, :]


def fit_biproportional(
    store: np.ndarray,
    sku: np.ndarray,
    units: np.ndarray,
    exposure: np.ndarray,
    n_stores: int,
    n_skus: int,
    *,
    tolerance: float = 1e-8,
    max_iter: int = 2000,
) -> tuple[np.ndarray, np.ndarray]:
    """Fit units ~ exposure × size(store) × rate(SKU) on the given cells only.

    The fit reproduces every store's and every SKU's total on those cells, which makes it the maximum likelihood
    estimate of a Poisson model with store and SKU effects. A store isn't called small because it lists little.

    Parameters
    ----------
    store, sku : ndarray of int, shape (n,)
        Cell of each observation.
    units, exposure : ndarray of shape (n,)
        Units sold, and periods listed (> 0).
    n_stores, n_skus : int
        Number of rows and columns.
    tolerance : float
        Largest relative change of a size in the last round.
    max_iter : int
        Rounds at most.

    Returns
    -------
    size : ndarray of shape (n_stores,)
        Mean 1 over the stores that have cells, weighted by exposure; NaN for stores without.
    rate : ndarray of shape (n_skus,)
        Units per period in a store of size 1; NaN for SKUs without a cell.

    Raises
    ------
    SolverError
        If the rounds do not settle. Raise ``max_iter``.

    Notes
    -----
    Iterative proportional fitting (Deming & Stephan 1940) on an incomplete table (Bishop, Fienberg & Holland 1975).
    Where stores fall into groups that share no SKU, sizes of different groups can't be compared; each group keeps
    its own scale.

    Examples
    --------
    >>> size, rate = fit_biproportional(np.array([0, 0, 1]), np.array([0, 1, 0]), np.array([2.0, 4.0, 6.0]),
    ...                                 np.ones(3), 2, 2)
    >>> (size[1] / size[0]).round(6).item(), (rate[1] / rate[0]).round(6).item()
    (3.0, 2.0)
    """
    store_units = np.bincount(store, weights=units, minlength=n_stores)
    sku_units = np.bincount(sku, weights=units, minlength=n_skus)
    weight = np.bincount(store, weights=exposure, minlength=n_stores)
    known = weight > 0
    size = np.where(known, 1.0, np.nan)
    rate = np.zeros(n_skus)
    for _ in range(max_iter):
        rate = _ratio(sku_units, np.bincount(sku, weights=exposure * size[store], minlength=n_skus))
        new = _ratio(store_units, np.bincount(store, weights=exposure * rate[sku], minlength=n_stores))
        new = new / np.average(new[known], weights=weight[known])
        change = np.max(np.abs(new[known] - size[known]) / np.maximum(size[known], 1e-12))
        size = np.where(known, new, np.nan)
        if change < tolerance:
            break
    else:
        raise SolverError(
            f"demand baseline: store sizes still move by {change:.1e} after {max_iter} rounds. Raise max_iter."
        )
    expected = np.bincount(sku, weights=exposure * size[store], minlength=n_skus)
    return size, np.where(np.bincount(sku, minlength=n_skus) > 0, _ratio(sku_units, expected), np.nan)


def fit_baseline(pairs: Pairs, *, rounds: int = 60, tolerance: float = 1e-3) -> Baseline:
    """Fit the baseline: whole-shop sizes, category sizes drawn to them, rates of SKUs.

    Starts from :func:`fit_biproportional` and goes on with each pair weighted by how precisely its sales tell its
    rate. Matching totals lets the few pairs that sell most decide; where pairs differ lastingly from size × rate,
    those say no more than others.

    A store's size in a category is its whole-shop size times a lift, and the lift is believed only as far as the
    spread of lifts over stores exceeds what chance would give (empirical Bayes). So a store that lists two SKUs of
    a category is not called a giant of that category because one of them sold well. Rates of SKUs that few stores
    list are drawn to the category's middle in the same manner. In the end each category's level is set so that the
    units expected of listed pairs are those they sold.

    Parameters
    ----------
    pairs : Pairs
        Listed cells.
    rounds : int
        Times sizes, lifts and rates are fitted to each other, at most.
    tolerance : float
        Largest change of a log size in a category at which to stop.

    Returns
    -------
    Baseline
    """
    n_stores, n_skus = pairs.shape
    n_categories = len(pairs.categories)
    whole, rate = fit_biproportional(
        pairs.store, pairs.sku, pairs.units, pairs.exposure, n_stores, n_skus, tolerance=1e-6
    )
    known = np.isfinite(whole)
    whole, rate = np.where(known, whole, 0.0), np.nan_to_num(rate)
    lift = np.ones((n_stores, n_categories))
    cell = pairs.store * n_categories + pairs.pair_category

    def expected() -> np.ndarray:
        return pairs.exposure * (whole[:, None] * lift)[pairs.store, pairs.pair_category] * rate[pairs.sku]

    dispersion = heterogeneity = weight = np.zeros(len(pairs))
    size = np.zeros((int(known.sum()), n_categories))
    for number in range(rounds):
        if number % 3 == 0 and number < 12:
            # Anew: what sizes and lifts explain by now must not count as scatter.
            dispersion, heterogeneity = _scatter_of(pairs, expected())
        weight = _precision(expected(), dispersion, heterogeneity)
        rate = rate * _mean_ratio(pairs, expected(), weight, pairs.sku, n_skus)
        whole = whole * _mean_ratio(pairs, expected(), weight, pairs.store, n_stores)
        ratio = _mean_ratio(pairs, expected(), weight, cell, n_stores * n_categories) * lift.ravel()
        total = np.bincount(cell, weights=weight, minlength=n_stores * n_categories)
        before = size
        lift = _category_lifts(ratio.reshape(lift.shape), total.reshape(lift.shape))
        size = np.log(np.maximum(whole[known, None] * lift[known], 1e-12))
        size = size - size.mean()
        if number >= 12 and np.abs(size - before).max() < tolerance:
            break
    listed = np.bincount(pairs.sku, minlength=n_skus) > 0
    rate = np.where(listed, rate, np.nan)
    precision = np.bincount(pairs.sku, weights=weight, minlength=n_skus)
    for c in range(n_categories):
        inside = np.flatnonzero((pairs.category == c) & listed)
        rate[inside] = _drawn_rates(rate[inside], precision[inside])
    seen = np.bincount(pairs.pair_category, weights=pairs.units, minlength=n_categories)
    meant = np.bincount(pairs.pair_category, weights=np.nan_to_num(expected()), minlength=n_categories)
    rate = rate * np.where(meant > 0, _ratio(seen, meant), 1.0)[pairs.category]
    return Baseline(np.where(known[:, None], whole[:, None] * lift, np.nan), rate)


def _scatter_of(pairs: Pairs, mean: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return dispersion and heterogeneity of each pair's category about the expectation."""
    dispersion, heterogeneity = np.ones(len(pairs)), np.ones(len(pairs))
    for c in range(len(pairs.categories)):
        rows = np.flatnonzero(pairs.pair_category == c)
        lost = float(len(np.unique(pairs.store[rows])) + len(np.unique(pairs.sku[rows])))
        scatter = fit_scatter(pairs.units[rows], mean[rows], lost=lost)
        dispersion[rows], heterogeneity[rows] = scatter.dispersion, scatter.heterogeneity
    return dispersion, heterogeneity


def _precision(mean: np.ndarray, dispersion: np.ndarray, heterogeneity: np.ndarray) -> np.ndarray:
    """Return one over the variance of each pair's ratio of seen to expected."""
    chance = np.divide(dispersion, mean, out=np.full_like(mean, np.inf), where=mean > 0)
    return 1.0 / (chance + heterogeneity)


def _mean_ratio(pairs: Pairs, mean: np.ndarray, weight: np.ndarray, key: np.ndarray, size: int) -> np.ndarray:
    """Return the weighted mean of seen over expected for each key; 1 where nothing is known."""
    ratio = np.divide(pairs.units, mean, out=np.zeros_like(mean), where=mean > 0)
    total = np.bincount(key, weights=weight, minlength=size)
    return np.divide(
        np.bincount(key, weights=weight * ratio, minlength=size), total, out=np.ones(size), where=total > 0
    )


def _category_lifts(ratio: np.ndarray, precision: np.ndarray) -> np.ndarray:
    """Draw each store's lifts in a category to the category's mean as far as chance explains their spread."""
    lifts = np.ones_like(ratio)
    for c in range(ratio.shape[1]):
        has = precision[:, c] > 0
        if has.sum() < 5:
            continue
        centre = np.average(ratio[has, c], weights=precision[has, c])
        relative, noise = ratio[has, c] / centre, 1 / (precision[has, c] * centre**2)
        spread = spread_of_ratios(relative, noise, precision[has, c] / precision[has, c].sum())
        # The centre itself is left to the rates.
        lifts[has, c] = 1 + (relative - 1) * spread / (spread + noise) if spread > 0 else 1.0
    return np.maximum(lifts, 1e-3)


def _drawn_rates(rate: np.ndarray, precision: np.ndarray) -> np.ndarray:
    """Draw the rates of SKUs that few stores list towards the category's middle, on the log scale.

    What one store sold of a SKU says as much about that store as about the SKU.
    """
    positive = (rate > 0) & (precision > 0)
    if positive.sum() < 5:
        return rate
    log, noise = np.log(rate[positive]), 1 / precision[positive]
    seen = float(log.var(ddof=1))
    spread = max(seen - float(np.mean(np.minimum(noise, seen))), 0.0)
    middle = np.average(log, weights=1 / (spread + noise))
    drawn = rate.copy()
    drawn[positive] = np.exp(middle + (log - middle) * spread / (spread + noise))
    return drawn


def _ratio(top: np.ndarray, bottom: np.ndarray) -> np.ndarray:
    return np.divide(top, bottom, out=np.zeros_like(top), where=bottom > 0)
