"""How far to believe a rate seen: Poisson–gamma shrinkage, with the strength taken from the data."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

__all__ = ["Scatter", "fit_scatter", "poisson_gamma", "shrunk_ratios", "spread_of_ratios"]

_KURTOSIS = 10.0
"""Variance of a squared residual over its squared expectation (2 for a normal; sales have longer tails)."""

_PRIOR_SD = 2.0
"""Standard deviation of the prior of the dispersion about 1, so that few pairs don't call all scatter chance."""


@dataclass(frozen=True)
class Scatter:
    """How pairs scatter about their expected units: variance = dispersion × mean + heterogeneity × mean².

    Attributes
    ----------
    dispersion : float
        Chance, at least 1 (Poisson). Above 1 where units come in cases or purchases are bunched.
    heterogeneity : float
        Squared coefficient of variation of the pairs' own true rates about the expectation; lasts however long
        one watches.
    """

    dispersion: float
    heterogeneity: float

    def variance(self, mean: np.ndarray) -> np.ndarray:
        """Return the variance of units at a given expectation."""
        return self.dispersion * mean + self.heterogeneity * mean**2

    def prior(self, mean_rate: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return shape a and rate b of the gamma prior of a pair's units per period.

        Its mean is ``mean_rate`` and its strength such that chance beyond Poisson counts as less evidence.
        """
        shape = np.full(np.shape(mean_rate), self.dispersion / max(self.heterogeneity, 1e-9))
        rate = np.divide(
            shape, mean_rate, out=np.full(np.shape(mean_rate), np.inf), where=np.asarray(mean_rate) > 0
        )
        return shape, rate


def poisson_gamma(
    units: np.ndarray, exposure: np.ndarray, shape: np.ndarray | float, rate: np.ndarray | float
) -> np.ndarray:
    """Return the posterior mean rate (a + y) / (b + E) of counts y over exposure E under a gamma(a, b) prior.

    Parameters
    ----------
    units : ndarray
        Units sold, y.
    exposure : ndarray
        Periods listed, E.
    shape, rate : ndarray or float
        Shape a and rate b of the prior; its mean is a / b. An infinite b fixes the rate at 0.

    Returns
    -------
    ndarray
        Units per period.

    Notes
    -----
    Conjugate analysis of a Poisson rate (Gelman et al. 2013, section 2.6).

    Examples
    --------
    >>> float(poisson_gamma(np.array(10.0), np.array(5.0), 2.0, 1.0))
    2.0
    """
    return np.asarray((np.asarray(shape) + units) / (np.asarray(rate) + exposure), dtype=float)


def fit_scatter(units: np.ndarray, mean: np.ndarray, *, lost: float = 0.0, rounds: int = 25) -> Scatter:
    """Estimate how pairs scatter about their expectation.

    Parameters
    ----------
    units : ndarray of shape (n,)
        Units seen.
    mean : ndarray of shape (n,)
        Expected units (> 0 to be used).
    lost : float
        Degrees of freedom the expectations cost (0 for expectations made without these pairs).
    rounds : int
        Rounds of reweighting.

    Returns
    -------
    Scatter

    Notes
    -----
    Squared residuals over the mean are regressed on the mean (dispersion + heterogeneity × mean) with weights that
    follow the fit itself, as in pseudo-likelihood for variance functions (Davidian & Carroll 1987); a weak prior puts
    the dispersion near Poisson's 1.
    """
    use = mean > 0
    n = int(use.sum())
    if n < 3:
        return Scatter(1.0, 1.0)
    mu = mean[use]
    z = (units[use] - mu) ** 2 / mu * (n / max(n - lost, 0.25 * n))
    dispersion, heterogeneity = max(1.0, float(np.median(z))), 0.1
    for _ in range(rounds):
        weight = 1 / (_KURTOSIS * (dispersion + heterogeneity * mu) ** 2)
        # The prior says Poisson: where all expectations are alike the two parts can't be told apart.
        w, wx, wxx = weight.sum() + _PRIOR_SD**-2, (weight * mu).sum(), (weight * mu * mu).sum()
        wz, wxz = (weight * z).sum() + _PRIOR_SD**-2, (weight * mu * z).sum()
        determinant = w * wxx - wx * wx
        new = (
            ((wxx * wz - wx * wxz) / determinant, (w * wxz - wx * wz) / determinant)
            if determinant > 0
            else (0, 0)
        )
        if new[0] < 1.0:
            new = (1.0, (wxz - wx) / wxx)
        if new[1] < 0.0:
            new = (max(1.0, wz / w), 0.0)
        settled = abs(new[0] - dispersion) + abs(new[1] - heterogeneity) < 1e-6 * (1 + dispersion)
        dispersion, heterogeneity = float(new[0]), float(max(new[1], 1e-6))
        if settled:
            break
    return Scatter(dispersion, heterogeneity)


def spread_of_ratios(ratio: np.ndarray, variance: np.ndarray, share: np.ndarray | float = 0.0) -> float:
    """Estimate the variance of true ratios about 1 from noisy ones.

    Parameters
    ----------
    ratio : ndarray of shape (n,)
        Observed over expected, centred on 1.
    variance : ndarray of shape (n,)
        Sampling variance of each.
    share : ndarray or float
        Share each has in its own expectation, by which its distance from 1 comes out too small.

    Returns
    -------
    float
        0 where chance explains all of the spread.

    Notes
    -----
    The moment estimator of Paule & Mandel (1982), solved by bisection.
    """
    free = 1.0 - np.clip(np.broadcast_to(share, np.shape(ratio)), 0.0, 0.95)
    use = np.isfinite(ratio) & np.isfinite(variance) & (variance > 0)
    distance, noise = (ratio[use] - 1.0) ** 2 / free[use], variance[use]
    n = len(distance)
    if n < 2 or (distance / noise).sum() <= n:
        return 0.0
    low, high = 0.0, float(distance.max())
    for _ in range(60):
        middle = (low + high) / 2
        if (distance / (noise + middle)).sum() > n:
            low = middle
        else:
            high = middle
    return (low + high) / 2


def shrunk_ratios(
    observed: np.ndarray, expected: np.ndarray, variance: np.ndarray, share: np.ndarray | float = 0.0
) -> tuple[np.ndarray, float]:
    """Draw observed-over-expected ratios towards 1 as far as chance explains their spread.

    Parameters
    ----------
    observed, expected : ndarray of shape (n,)
        Units seen and expected; a ratio without expectation comes back as 1.
    variance : ndarray of shape (n,)
        Variance of the units seen about those expected.
    share : ndarray or float
        See :func:`spread_of_ratios`.

    Returns
    -------
    ratios : ndarray of shape (n,)
    spread : float
        Variance of the true ratios.
    """
    known = expected > 0
    ratio = np.divide(observed, expected, out=np.ones_like(expected), where=known)
    noise = np.divide(variance, expected**2, out=np.full_like(expected, np.inf), where=known)
    shares = np.broadcast_to(share, ratio.shape)
    spread = spread_of_ratios(ratio[known], noise[known], shares[known])
    belief = np.where(known, spread / (spread + noise), 0.0) if spread > 0 else np.zeros_like(ratio)
    return 1.0 + belief * (ratio - 1.0), spread
