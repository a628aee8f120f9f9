"""Empirical Bayes: pull noisy local estimates towards their mean."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

__all__ = ["Shrunk", "between_variance", "shrink"]

Floats = npt.NDArray[np.float64]

#: Values of the spread that the standard errors are averaged over.
GRID = 60


@dataclass(frozen=True)
class Shrunk:
    """Shrunken ``estimate`` and ``se``, shape (n,), and ``between``, the standard deviation of the truths."""

    estimate: Floats
    se: Floats
    between: float


def between_variance(estimate: npt.ArrayLike, se: npt.ArrayLike, fitted: int = 1) -> float:
    """Return the variance of the true values behind noisy estimates, 0 or more (Paule and Mandel, 1982).

    ``fitted`` is the number of means: 1 unless the estimates are distances from several means that they gave.

    Examples
    --------
    >>> between_variance([1.0, 1.0, 1.0], [0.5, 0.5, 0.5])
    0.0
    """
    values, variances = np.asarray(estimate, dtype=float), np.asarray(se, dtype=float) ** 2

    def excess(between: float) -> float:
        weight = 1 / (variances + between)
        mean = (weight * values).sum() / weight.sum()
        return float((weight * (values - mean) ** 2).sum()) - (values.size - fitted)

    if values.size <= fitted or excess(0.0) <= 0:
        return 0.0
    low, high = 0.0, float(np.var(values, ddof=1)) + 1e-12
    while excess(high) > 0:
        high *= 2
    for _ in range(100):
        middle = (low + high) / 2
        low, high = (middle, high) if excess(middle) > 0 else (low, middle)
    return (low + high) / 2


def shrink(
    estimate: npt.ArrayLike,
    se: npt.ArrayLike,
    mean: npt.ArrayLike,
    mean_se: npt.ArrayLike,
    fitted: int = 1,
) -> Shrunk:
    """Shrink estimates towards a mean, never towards zero (normal-normal, Morris 1983).

    ``truth ~ Normal(mean, between²)``, ``estimate ~ Normal(truth, se²)``, with the between of
    :func:`between_variance`. The standard error counts that the mean is estimated, from estimates with errors and from
    a few truths only, and that the spread is estimated too: it is the root of the mean squared distance of the truth
    from the shrunken estimate over the posterior of the spread (Gelman, 2006, Prior distributions for variance
    parameters in hierarchical models). Plug-in intervals cover too little. A missing estimate becomes the mean, with
    the spread of the truths around it.

    Parameters
    ----------
    estimate, se : array-like of shape (n,)
        NaN where there is none.
    mean, mean_se : float or array-like of shape (n,)
        What to shrink towards, and its standard error as the mean of just these truths. Where estimates have
        different means, the spread around them is one, estimated from all.
    fitted : int
        Number of means that the estimates gave.

    Returns
    -------
    Shrunk

    Examples
    --------
    >>> shrink([-1.0, -3.0], [1.0, 1.0], mean=-2.0, mean_se=0.1).estimate.tolist()
    [-1.5, -2.5]
    """
    values, errors = np.asarray(estimate, dtype=float), np.asarray(se, dtype=float)
    mean = np.broadcast_to(np.asarray(mean, dtype=float), values.shape)
    mean_se = np.broadcast_to(np.asarray(mean_se, dtype=float), values.shape)
    known = np.isfinite(values) & np.isfinite(errors) & (errors > 0)
    around = values - mean if np.ptp(mean) > 0 else values
    between = between_variance(around[known], errors[known], fitted)
    plug_in, _ = _given(values, errors, known, mean, mean_se, np.array([between]))
    spreads, weight = _spread_posterior((values - mean)[known], errors[known], between, fitted)
    centre, variance = _given(values, errors, known, mean, mean_se, spreads)
    squared = weight @ (variance + (centre - plug_in) ** 2)
    return Shrunk(plug_in[0], np.sqrt(squared), float(np.sqrt(between)))


def _given(
    values: Floats,
    errors: Floats,
    known: npt.NDArray[np.bool_],
    mean: Floats,
    mean_se: Floats,
    between: Floats,
) -> tuple[Floats, Floats]:
    """Posterior means and variances given each of several variances between, shape (n_between, n)."""
    squares = np.where(known, errors, 1.0)[None, :] ** 2
    pull = np.where(known[None, :], squares / (squares + between[:, None]), 1.0)
    centre = mean[None, :] + (1 - pull) * np.where(known, values - mean, 0.0)[None, :]
    mean_variance = mean_se[None, :] ** 2 + (between / max(int(known.sum()), 1))[:, None]
    variance = np.where(
        known[None, :],
        (1 - pull) * squares + pull**2 * mean_variance,
        between[:, None] + mean_variance,
    )
    return centre, variance


def _spread_posterior(around: Floats, errors: Floats, between: float, fitted: int) -> tuple[Floats, Floats]:
    """Grid of variances between and their posterior weights.

    The prior on the standard deviation is flat from four estimates on; with fewer it is a half Cauchy of the size
    of the errors, without which it would have no end. With fewer than two, the plug-in value is all there is.
    """
    if around.size <= fitted:
        return np.array([between]), np.ones(1)
    size = float(np.median(errors))
    top = 4 * max(float(np.sqrt(between)), size, float(np.std(around)))
    spread = np.linspace(0.0, top, GRID)
    total = errors[None, :] ** 2 + spread[:, None] ** 2
    left = (around.size - fitted + 1) / around.size
    likelihood = -0.5 * (left * np.log(total) + around[None, :] ** 2 / total).sum(axis=1)
    prior = np.zeros(GRID) if around.size > 3 else -np.log1p((spread / size) ** 2)
    weight = np.exp(likelihood + prior - (likelihood + prior).max())
    return spread**2, weight / weight.sum()
