"""Forecasts judged on listed pairs they have not seen, and the family chosen by it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from geomarket.demand.pairs import Pairs

__all__ = ["choose_families", "deviance", "holdout_metrics", "holdout_table", "quasi_deviance", "split_pairs"]

TRAIN, INNER, OUTER = 0, 1, 2


def split_pairs(pairs: Pairs, share: float = 0.2, random_state: int = 0) -> np.ndarray:
    """Part the pairs of every SKU into those to fit, those to choose by (inner) and those to report on (outer).

    Parameters
    ----------
    pairs : Pairs
        All listed pairs.
    share : float
        Share of each SKU's pairs in the inner and in the outer part; a SKU in fewer than 1 / ``share`` stores
        stays out of both, because nothing would be left to learn it from.
    random_state : int
        Seed.

    Returns
    -------
    ndarray of int, shape (n,)
        0 fit, 1 inner, 2 outer.
    """
    rng = np.random.default_rng([random_state, 20])
    order = np.lexsort((rng.random(len(pairs)), pairs.sku))
    count = np.bincount(pairs.sku, minlength=pairs.shape[1])
    start = np.concatenate([[0], np.cumsum(count)[:-1]])
    place = np.empty(len(pairs), dtype=int)
    place[order] = np.arange(len(pairs)) - start[pairs.sku[order]]
    held = np.floor(share * count).astype(int)[pairs.sku]
    return np.where(place < held, OUTER, np.where(place < 2 * held, INNER, TRAIN))


def deviance(units: np.ndarray, mean: np.ndarray) -> np.ndarray:
    """Return each pair's Poisson deviance of the units seen from those expected.

    Parameters
    ----------
    units, mean : ndarray of shape (n,)
        Units seen and expected; an expectation of 0 is taken as 1e-9.

    Returns
    -------
    ndarray of shape (n,)

    Examples
    --------
    >>> deviance(np.array([0.0, 3.0]), np.array([1.0, 3.0])).tolist()
    [2.0, 0.0]
    """
    mu = np.maximum(mean, 1e-9)
    log = np.log(np.where(units > 0, units / mu, 1.0))
    return 2.0 * (units * log - (units - mu))


def quasi_deviance(
    units: np.ndarray,
    mean: np.ndarray,
    dispersion: np.ndarray | float,
    heterogeneity: np.ndarray | float,
) -> np.ndarray:
    """Return each pair's deviance under variance = dispersion × mean + heterogeneity × mean².

    Unlike Poisson's it doesn't let the few pairs that sell most decide alone: a forecast that is off by half costs
    much the same at 20 units as at 2,000.

    Parameters
    ----------
    units, mean : ndarray of shape (n,)
        Units seen and expected.
    dispersion, heterogeneity : ndarray or float
        Scatter of the pairs; heterogeneity 0 gives Poisson's deviance over the dispersion.

    Returns
    -------
    ndarray of shape (n,)

    Notes
    -----
    The quasi-deviance of a negative binomial variance (McCullagh & Nelder 1989, chapter 9).

    Examples
    --------
    >>> quasi_deviance(np.array([3.0]), np.array([3.0]), 2.0, 0.5).tolist()
    [0.0]
    """
    mu = np.maximum(mean, 1e-9)
    size = np.asarray(dispersion) / np.maximum(heterogeneity, 1e-6)
    log = np.log(np.where(units > 0, units / mu, 1.0))
    return (
        2.0 / np.asarray(dispersion) * (units * log - (units + size) * np.log((units + size) / (mu + size)))
    )


def holdout_metrics(
    sku: np.ndarray, units: np.ndarray, exposure: np.ndarray, mean_rate: np.ndarray, smallest: int = 5
) -> dict[str, float]:
    """Judge forecasts of units per period on pairs not used for them.

    Parameters
    ----------
    sku : ndarray of int, shape (n,)
        SKU of each pair.
    units, exposure : ndarray of shape (n,)
        Units sold, periods listed.
    mean_rate : ndarray of shape (n,)
        Forecast units per period.
    smallest : int
        Pairs a SKU needs for its rank correlation over stores to count.

    Returns
    -------
    dict
        pairs; wmape: sum of absolute errors over units sold; poisson_deviance: mean per pair;
        spearman_within_sku: rank correlation over the stores of a SKU, mean over SKUs weighted by pairs (NaN where
        no SKU has enough); bias: forecast over sold, less 1.
    """
    mean = mean_rate * exposure
    total = units.sum()
    return {
        "pairs": len(units),
        "wmape": float(np.abs(units - mean).sum() / total) if total > 0 else np.nan,
        "poisson_deviance": float(deviance(units, mean).mean()) if len(units) else np.nan,
        "spearman_within_sku": _spearman_within(sku, units / exposure, mean_rate, smallest),
        "bias": float(mean.sum() / total - 1) if total > 0 else np.nan,
    }


def _spearman_within(sku: np.ndarray, seen: np.ndarray, forecast: np.ndarray, smallest: int) -> float:
    frame = pd.DataFrame({"sku": sku, "seen": seen, "forecast": forecast})
    grouped = frame.groupby("sku")
    ranks = grouped[["seen", "forecast"]].rank()
    count = grouped["seen"].transform("size").to_numpy()
    centred = ranks.to_numpy() - (count[:, None] + 1) / 2
    size = int(sku.max()) + 1 if len(sku) else 0
    number = np.bincount(sku, minlength=size)
    product = np.bincount(sku, weights=centred[:, 0] * centred[:, 1], minlength=size)
    spread = np.sqrt(
        np.bincount(sku, weights=centred[:, 0] ** 2, minlength=size)
        * np.bincount(sku, weights=centred[:, 1] ** 2, minlength=size)
    )
    use = (number >= smallest) & (spread > 0)
    if not use.any():
        return float("nan")
    return float(np.average(product[use] / spread[use], weights=number[use]))


def choose_families(
    categories: Sequence[str] | pd.Index,
    category: np.ndarray,
    store: np.ndarray,
    losses: Mapping[str, np.ndarray],
    baseline: str = "baseline",
) -> pd.DataFrame:
    """Choose one family per category on the inner part; the baseline unless another is clearly better.

    Parameters
    ----------
    categories : sequence of str
        Names.
    category, store : ndarray of int, shape (n,)
        Category and store of each inner pair.
    losses : mapping of str to ndarray of shape (n,)
        Deviance of each inner pair by family, fitted without the inner and outer part.
    baseline : str
        The family that wins ties.

    Returns
    -------
    DataFrame
        category, family, pairs (inner), gain (fall in deviance against the baseline, as a share of the baseline's),
        gain_se (over stores), reason.

    Notes
    -----
    A family is clearly better when its deviance is lower by more than one standard error of the paired difference,
    stores taken as independent (the one-standard-error rule; Breiman et al. 1984).
    """
    rows = [
        _choose_one(name, np.flatnonzero(category == c), losses, store, baseline)
        for c, name in enumerate(categories)
    ]
    return pd.DataFrame(rows, columns=["category", "family", "pairs", "gain", "gain_se", "reason"])


def _choose_one(
    category: str, rows: np.ndarray, losses: Mapping[str, np.ndarray], store: np.ndarray, baseline: str
) -> tuple[str, str, int, float, float, str]:
    usable = rows[np.isfinite(losses[baseline][rows])]
    if len(usable) < 20 or len(np.unique(store[usable])) < 5:
        return category, baseline, len(usable), np.nan, np.nan, "too few pairs to choose by"
    total = losses[baseline][usable].sum()
    best, best_gain, best_se = baseline, 0.0, 0.0
    for name, loss in losses.items():
        if name == baseline:
            continue
        saved = losses[baseline][usable] - loss[usable]
        gain, error = saved.sum(), _clustered_error(saved, store[usable])
        if gain > error and gain > best_gain:
            best, best_gain, best_se = name, gain, error
    share, share_se = (best_gain / total, best_se / total) if total > 0 else (0.0, 0.0)
    reason = "no family clearly better" if best == baseline else "lowest deviance on the inner hold-out"
    return category, best, len(usable), float(share), float(share_se), reason


def _clustered_error(values: np.ndarray, group: np.ndarray) -> float:
    """Return the standard error of a sum whose terms are independent between groups only."""
    sums = np.bincount(np.unique(group, return_inverse=True)[1], weights=values)
    n = len(sums)
    return float(np.sqrt(n / (n - 1) * ((sums - sums.mean()) ** 2).sum())) if n > 1 else float("inf")


def holdout_table(
    pairs: Pairs, outer: np.ndarray, forecasts: Mapping[str, np.ndarray], chosen: Sequence[str]
) -> pd.DataFrame:
    """Report every family, and the chosen ones together, on the outer part: per category and over all.

    Parameters
    ----------
    pairs : Pairs
        All listed pairs.
    outer : ndarray of int, shape (n,)
        Places of the outer pairs.
    forecasts : mapping of str to ndarray of shape (n,)
        Units per period of the outer pairs by family, fitted without them.
    chosen : sequence of str
        Family chosen for each category.

    Returns
    -------
    DataFrame
        category ("all" for the whole shop), family ("chosen" for the mixture over categories), chosen (bool) and
        the figures of :func:`holdout_metrics`.
    """
    category = pairs.category[pairs.sku[outer]]
    mixed = np.empty(len(outer))
    for c, name in enumerate(chosen):
        mixed[category == c] = forecasts[name][category == c]
    known = np.isfinite(mixed)
    groups = [("all", known)] + [(name, known & (category == c)) for c, name in enumerate(pairs.categories)]
    rows = []
    for place, (name, inside) in enumerate(groups):
        judged = {**forecasts, "chosen": mixed} if place == 0 else forecasts
        index = outer[inside]
        for family, rate in judged.items():
            figures = holdout_metrics(
                pairs.sku[index], pairs.units[index], pairs.exposure[index], rate[inside]
            )
            picked = family == "chosen" if place == 0 else family == chosen[place - 1]
            rows.append({"category": name, "family": family, "chosen": picked, **figures})
    return pd.DataFrame(rows)
