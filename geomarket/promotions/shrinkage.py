"""Empirical Bayes: pull noisy local estimates towards their mean."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

__all__ = ["Shrunk", "between_variance", "shrink"]

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Shrunk:
    """Shrunken ``estimate`` and ``se``, shape (n,), and ``between``, the standard deviation of the truths."""

    estimate: Floats
    se: Floats
    between: float


def between_variance(estimate: npt.ArrayLike, se: npt.ArrayLike) -> float:
    """Return the variance of the true values behind noisy estimates, 0 or more (Paule and Mandel, 1982).

    Examples
    --------
    >>> between_variance([1.0, 1.0, 1.0], [0.5, 0.5, 0.5])
    0.0
    """
    values, variances = np.asarray(estimate, dtype=float), np.asarray(se, dtype=float) ** 2

    def excess(between: float) -> float:
        weight = 1 / (variances + between)
        mean = (weight * values).sum() / weight.sum()
        return float((weight * (values - mean) ** 2).sum()) - (values.size - 1)

    if values.size < 2 or excess(0.0) <= 0:
        return 0.0
    low, high = 0.0, float(np.var(values, ddof=1)) + 1e-12
    while excess(high) > 0:
        high *= 2
    for _ in range(100):
        middle = (low + high) / 2
        low, high = (middle, high) if excess(middle) > 0 else (low, middle)
    return (low + high) / 2


def shrink(estimate: npt.ArrayLike, se: npt.ArrayLike, mean: float, mean_se: float) -> Shrunk:
    """Shrink estimates towards a mean, never towards zero (normal-normal, Morris 1983).

    ``truth ~ Normal(mean, between²)``, ``estimate ~ Normal(truth, se²)``. The standard error counts that the mean is
    estimated, from estimates with errors and from a few truths only, and for four and more estimates that the
    spread is estimated too. A missing estimate becomes the mean, with the spread of the truths around it.

    Parameters
    ----------
    estimate, se : array-like of shape (n,)
        NaN where there is none.
    mean, mean_se : float
        What to shrink towards, and its standard error as the mean of just these truths.

    Returns
    -------
    Shrunk

    Examples
    --------
    >>> shrink([-1.0, -3.0], [1.0, 1.0], mean=-2.0, mean_se=0.1).estimate.tolist()
    [-1.5, -2.5]
    """
    values, errors = np.asarray(estimate, dtype=float), np.asarray(se, dtype=float)
    known = np.isfinite(values) & np.isfinite(errors) & (errors > 0)
    between = between_variance(values[known], errors[known])
    pull = np.ones(values.size)
    pull[known] = errors[known] ** 2 / (errors[known] ** 2 + between)
    gap = np.where(known, values - mean, 0.0)
    result = mean + (1 - pull) * gap
    mean_variance = mean_se**2 + between / max(int(known.sum()), 1)
    variance = (1 - pull) * np.where(known, errors, 0.0) ** 2 + pull**2 * mean_variance
    variance = np.where(known, variance, between + mean_variance)
    if known.sum() > 3:
        variance = variance + np.where(known, 2 / (known.sum() - 3) * pull**2 * gap**2, 0.0)
    return Shrunk(result, np.sqrt(variance), float(np.sqrt(between)))
