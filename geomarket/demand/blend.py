"""A blend of families: their log lifts, weighted by how well they do together on held-out pairs."""

from __future__ import annotations

import numpy as np
from scipy.optimize import minimize

from geomarket.demand.holdout import quasi_deviance

__all__ = ["blend_weights", "blended"]


def blended(base: np.ndarray, lifts: dict[str, np.ndarray], weights: dict[str, float]) -> np.ndarray:
    """Return base × product of lifts, each to the power of its weight.

    Parameters
    ----------
    base : ndarray
        Size × rate.
    lifts : dict of str to ndarray
        Lifts by family, of the shape of ``base``.
    weights : dict of str to float
        Weights by family; what they lack to 1 is the baseline's.

    Returns
    -------
    ndarray
    """
    log = np.zeros(np.shape(base))
    for name, weight in weights.items():
        log += weight * np.log(np.maximum(lifts[name], 1e-6))
    return base * np.exp(log)


def blend_weights(
    units: np.ndarray,
    mean: np.ndarray,
    lifts: dict[str, np.ndarray],
    dispersion: np.ndarray,
    heterogeneity: np.ndarray,
) -> dict[str, float]:
    """Choose weights of log lifts that minimise the deviance of held-out pairs.

    Parameters
    ----------
    units, mean : ndarray of shape (n,)
        Units seen, and expected by the baseline.
    lifts : dict of str to ndarray of shape (n,)
        Lift of each pair by family, none of them fitted on these pairs.
    dispersion, heterogeneity : ndarray of shape (n,)
        Scatter of each pair.

    Returns
    -------
    dict of str to float
        Weights of 0 or more that sum to at most 1; weights below 0.02 are dropped.

    Notes
    -----
    Stacking with non-negative weights (Breiman 1996), on the log scale.
    """
    names = sorted(lifts)
    logs = np.stack([np.log(np.maximum(lifts[name], 1e-6)) for name in names])

    def loss(free: np.ndarray) -> float:
        share = np.exp(free - free.max())
        weights = share[1:] / share.sum()
        return float(quasi_deviance(units, mean * np.exp(weights @ logs), dispersion, heterogeneity).mean())

    found = minimize(
        loss, np.zeros(len(names) + 1), method="L-BFGS-B", bounds=[(-6.0, 6.0)] * (len(names) + 1)
    )
    share = np.exp(found.x - found.x.max())
    weights = share[1:] / share.sum()
    return {name: float(weight) for name, weight in zip(names, weights) if weight >= 0.02}
