"""Fit the Huff model where only the totals of stores are known."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from geomarket.catchments.choice import ChoiceSets, independent_columns, newton_ascent
from geomarket.errors import NotSupportedError, SettingsError

__all__ = ["TotalsFit", "expected_totals", "fit_store_totals"]

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class TotalsFit:
    """Coefficients fitted to store totals, with covariances on the columns' own scale (NaN: not identified)."""

    beta: Floats
    covariance: Floats
    robust_covariance: Floats
    scale: float
    dispersion: float
    n_stores: int
    n_iterations: int


def expected_totals(sets: ChoiceSets, beta: Floats, market: Floats) -> Floats:
    """Return what each store draws: the market of every cell times the store's share of it.

    Parameters
    ----------
    sets : ChoiceSets
        What each cell chooses among.
    beta : ndarray of shape (n_terms,)
        Coefficients.
    market : ndarray of shape (n_cells,)
        Market size of each cell, in the order of ``sets.cells``; any unit.
    """
    return sets.by_store_sum(sets.per_pair(market) * sets.probabilities(beta))


def fit_store_totals(
    sets: ChoiceSets,
    totals: Floats,
    market: Floats,
    loss: Literal["log", "poisson"] = "log",
    start: Floats | None = None,
    max_iterations: int = 200,
    tolerance: float = 1e-6,
) -> TotalsFit:
    """Fit attraction and distance so that market × share, summed over cells, meets the stores' totals.

    The level (money per unit of market) is free: expected totals are scaled to the observed sum over the
    stores whose totals are known.

    Parameters
    ----------
    sets : ChoiceSets
        What each cell chooses among.
    totals : ndarray of shape (n_stores,)
        Observed totals; NaN where unknown (such a store competes but is not fitted to).
    market : ndarray of shape (n_cells,)
        Relative market size of each cell, ≥ 0.
    loss : {"log", "poisson"}
        "log": least squares of log totals, right when errors are proportional to size. "poisson":
        quasi-Poisson, right when the variance grows with the total; large stores weigh more.
    start : ndarray or None
        Coefficients to start from (zeros by default).
    max_iterations, tolerance
        Of the damped scoring steps, on standardised columns.

    Returns
    -------
    TotalsFit
        ``robust_covariance`` is a sandwich over stores; neighbouring stores are taken as independent.

    Raises
    ------
    NotSupportedError
        Fewer stores with a positive total than coefficients + 2.
    SolverError
        No convergence.

    Notes
    -----
    Quasi-likelihood scoring (Wedderburn 1974), Gauss–Newton for the log loss.
    """
    if loss not in ("log", "poisson"):
        raise SettingsError(f"loss '{loss}' is not supported. Use 'log' or 'poisson'.")
    known = np.isfinite(totals) & (totals > 0) & (expected_totals(sets, np.zeros(sets.n_terms), market) > 0)
    scale, keep = _totals_columns(sets, market, known)
    n_free = int(keep.sum())
    if known.sum() < n_free + 2:
        raise NotSupportedError(
            f"totals: {int(known.sum())} stores have a positive total and customers in reach, but {n_free} "
            "coefficients are to be fitted. Use fewer attraction columns or give totals of more stores."
        )
    work = sets.columns(keep).scaled(scale[keep])
    observed = totals[known]

    by_pair = work.per_pair(market)
    last: dict[bytes, Floats] = {}

    def shares(beta: Floats) -> Floats:
        # the point a step ends at is the one the next begins at: evaluated once
        key = beta.tobytes()
        if key not in last:
            last.clear()
            last[key] = work.probabilities(beta)
        return last[key]

    def expected_and_slopes(beta: Floats) -> tuple[Floats, Floats]:
        share = shares(beta)
        weight = by_pair * share
        mean = work.by_store_sum(weight)
        slopes = _store_slopes(work, share, weight)
        level = observed.sum() / mean[known].sum()
        mean, slopes = mean[known] * level, slopes[known] * level
        return mean, slopes - np.outer(mean, slopes.sum(axis=0) / observed.sum())

    def objective(beta: Floats) -> float:
        mean = work.by_store_sum(by_pair * shares(beta))[known]
        mean = np.maximum(mean, 1e-300) * (observed.sum() / max(mean.sum(), 1e-300))
        if loss == "log":
            error = np.log(observed / mean)
            return -0.5 * float(((error - error.mean()) ** 2).sum())
        return float((observed * np.log(mean)).sum()) / observed.mean()

    def pieces(beta: Floats) -> tuple[Floats, Floats]:
        """Residuals and slopes whose least squares step is the scoring step."""
        mean, slopes = expected_and_slopes(beta)
        if loss == "log":
            relative = slopes / mean[:, None]
            error = np.log(observed / mean)
            return error - error.mean(), relative - relative.mean(axis=0)
        root = np.sqrt(mean * observed.mean())
        return (observed - mean) / root, slopes / root[:, None]

    def derivatives(beta: Floats) -> tuple[Floats, Floats]:
        residual, slopes = pieces(beta)
        return slopes.T @ residual, slopes.T @ slopes + 1e-10 * np.eye(slopes.shape[1])

    begin = np.zeros(n_free) if start is None else np.nan_to_num(start)[keep] * scale[keep]
    beta, n_iterations = newton_ascent(objective, derivatives, begin, max_iterations, tolerance, "totals")
    residual, slopes = pieces(beta)
    bread = np.linalg.pinv(slopes.T @ slopes)
    n = int(known.sum())
    dispersion = float(residual @ residual) / (n - n_free - 1)
    meat = (slopes * residual[:, None] ** 2).T @ slopes * n / (n - n_free - 1)
    own_scale = np.outer(scale[keep], scale[keep])
    mean = expected_totals(work, beta, market)[known]
    return TotalsFit(
        beta=_expand(beta / scale[keep], keep),
        covariance=_expand(bread * dispersion / own_scale, keep),
        robust_covariance=_expand(bread @ meat @ bread / own_scale, keep),
        scale=float(observed.sum() / mean.sum()),
        dispersion=dispersion,
        n_stores=n,
        n_iterations=n_iterations,
    )


def _store_slopes(sets: ChoiceSets, share: Floats, weight: Floats) -> Floats:
    """Derivative of every store's expected total by every coefficient: shape (n_stores, n_terms)."""
    return sets.store_moments(weight) - sets.pull_to_stores(weight, sets.cell_moments(share))


def _totals_columns(
    sets: ChoiceSets, market: Floats, known: NDArray[np.bool_]
) -> tuple[Floats, NDArray[np.bool_]]:
    """Scale of the columns, and which of them move the known totals apart, judged at equal shares."""
    scale = np.concatenate((sets.by_store.std(axis=0), sets.by_pair.std(axis=0)))
    scale = np.where(scale > 0, scale, 1.0)
    plain = sets.scaled(scale)
    share = plain.probabilities(np.zeros(plain.n_terms))
    weight = plain.per_pair(market) * share
    mean = plain.by_store_sum(weight)[known]
    slopes = _store_slopes(plain, share, weight)[known] / mean[:, None]
    slopes = slopes - slopes.mean(axis=0)
    return scale, independent_columns(slopes.T @ slopes / len(slopes))


def _expand(values: Floats, keep: NDArray[np.bool_]) -> Floats:
    out = np.full((len(keep),) * values.ndim, np.nan)
    out[np.ix_(*(keep,) * values.ndim)] = values
    return out
