"""The baseline every other forecast has to beat: how big the store is times how well the SKU sells."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from geomarket.demand.pairs import Pairs
from geomarket.demand.shrinkage import fit_scatter, shrunk_ratios
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


def fit_baseline(pairs: Pairs, *, rounds: int = 3) -> Baseline:
    """Fit the baseline: whole-shop sizes, category sizes drawn to them, rates of SKUs.

    A store's size in a category is its whole-shop size times a lift, and the lift is believed only as far as the
    spread of lifts over stores exceeds what chance would give (empirical Bayes). So a store that lists two SKUs of
    a category is not called a giant of that category because one of them sold well. Rates of SKUs that few stores
    list are drawn to the category's middle in the same manner.

    Parameters
    ----------
    pairs : Pairs
        Listed cells.
    rounds : int
        Times lifts and rates are fitted to each other.

    Returns
    -------
    Baseline
    """
    n_stores, n_skus = pairs.shape
    n_categories = len(pairs.categories)
    overall, rate = fit_biproportional(
        pairs.store, pairs.sku, pairs.units, pairs.exposure, n_stores, n_skus, tolerance=1e-6
    )
    of_category = [np.flatnonzero(pairs.pair_category == c) for c in range(n_categories)]
    sku_units = np.bincount(pairs.sku, weights=pairs.units, minlength=n_skus)
    whole = np.where(np.isfinite(overall), overall, 0.0)
    lift = np.ones((n_stores, n_categories))
    for _ in range(rounds):
        mean = pairs.exposure * whole[pairs.store] * np.nan_to_num(rate[pairs.sku])
        for c, rows in enumerate(of_category):
            lift[:, c] = _category_lift(pairs, rows, mean[rows])
        sized = pairs.exposure * (whole[:, None] * lift)[pairs.store, pairs.pair_category]
        total = np.bincount(pairs.sku, weights=sized, minlength=n_skus)
        rate = np.where(np.isfinite(rate), _ratio(sku_units, total), np.nan)
    size = whole[:, None] * lift
    mean = pairs.exposure * size[pairs.store, pairs.pair_category] * np.nan_to_num(rate[pairs.sku])
    for rows in of_category:
        seen = np.unique(pairs.sku[rows])
        rate[seen] = _drawn_rates(pairs, rows, seen, rate[seen], mean[rows])
    return Baseline(np.where(np.isfinite(overall)[:, None], size, np.nan), rate)


def _drawn_rates(
    pairs: Pairs, rows: np.ndarray, seen: np.ndarray, rate: np.ndarray, mean: np.ndarray
) -> np.ndarray:
    """Draw the rates of SKUs that few stores list towards the category's middle, on the log scale.

    What one store sold of a SKU says as much about that store as about the SKU.
    """
    stores_seen = len(np.unique(pairs.store[rows]))
    scatter = fit_scatter(pairs.units[rows], mean, lost=float(stores_seen + len(seen)))
    place = np.searchsorted(seen, pairs.sku[rows])
    total = np.bincount(place, weights=mean, minlength=len(seen))
    variance = np.bincount(place, weights=scatter.variance(mean), minlength=len(seen))
    positive = (rate > 0) & (total > 0)
    if positive.sum() < 5:
        return rate
    log, noise = np.log(rate[positive]), variance[positive] / total[positive] ** 2
    spread = max(float(log.var(ddof=1) - np.mean(np.minimum(noise, log.var(ddof=1)))), 0.0)
    weight = 1 / (spread + noise)
    middle = np.average(log, weights=weight)
    drawn = rate.copy()
    drawn[positive] = (
        np.exp(middle + (log - middle) * spread / (spread + noise)) if spread > 0 else np.exp(middle)
    )
    return drawn


def _category_lift(pairs: Pairs, rows: np.ndarray, mean: np.ndarray) -> np.ndarray:
    """Return how much larger each store is in one category than over the whole shop, shrunk."""
    n_stores = pairs.shape[0]
    store, units = pairs.store[rows], pairs.units[rows]
    if mean.sum() <= 0:
        return np.ones(n_stores)
    centre = units.sum() / mean.sum()
    if centre <= 0:
        return np.ones(n_stores)
    mean = mean * centre
    observed = np.bincount(store, weights=units, minlength=n_stores)
    expected = np.bincount(store, weights=mean, minlength=n_stores)
    fitted = _ratio(observed, expected)[store] * mean
    stores_seen = len(np.unique(store))
    scatter = fit_scatter(units, fitted, lost=stores_seen + len(np.unique(pairs.sku[rows])))
    variance = np.bincount(store, weights=scatter.variance(mean), minlength=n_stores)
    return shrunk_ratios(observed, expected, variance, expected / expected.sum())[0]


def _ratio(top: np.ndarray, bottom: np.ndarray) -> np.ndarray:
    return np.divide(top, bottom, out=np.zeros_like(top), where=bottom > 0)
