"""Models of repeat buying: BG/NBD for how often and how long, Gamma-Gamma for how much."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import OptimizeResult, minimize
from scipy.special import betaincinv, digamma, gammaln, hyp2f1
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from geomarket.errors import FitWarning, NotSupportedError, SolverError, TableError

__all__ = ["BgNbd", "GammaGamma"]

_log = logging.getLogger(__name__)

Floats = NDArray[np.float64]
# Gauss–Legendre nodes on (0, 1), for the one integral that has no usable closed form
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(64)
_NODES, _WEIGHTS = (_NODES + 1) / 2, _WEIGHTS / 2
_BOUND = 8.0


class BgNbd(BaseEstimator):
    """Beta-geometric / negative binomial model of trips: a buying rate that varies, and a chance to leave after each.

    While active, a customer shops at random at rate λ ~ Gamma(r, α); after each trip she leaves for good with
    probability p ~ Beta(a, b).

    Parameters
    ----------
    max_iterations : int
        Steps before the fit gives up.

    Attributes
    ----------
    r_, alpha_, a_, b_ : float
        alpha in the time unit of the data.
    covariance_ : ndarray of shape (4, 4)
        Of the logarithms of r, alpha, a, b.
    log_likelihood_ : float
    n_customers_ : int

    Notes
    -----
    Fader, Hardie & Lee (2005). Trips of one customer are taken as independent of the season and of one another;
    for staples bought in a fixed rhythm the model's spread is too wide. a and b are weakly told apart; judge the
    model by its forecasts.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> active_weeks = np.minimum(rng.exponential(40.0, 500), 40.0)
    >>> frequency = rng.poisson(rng.gamma(1.0, 0.2, 500) * active_weeks)
    >>> recency = active_weeks * rng.beta(np.maximum(frequency, 1), 1.0) * (frequency > 0)
    >>> model = BgNbd().fit(frequency, recency, np.full(500, 40.0))
    >>> seen_lately, not_for_long = model.alive([4, 4], [39.0, 12.0], [40.0, 40.0])
    >>> bool(seen_lately > not_for_long)
    True
    """

    def __init__(self, max_iterations: int = 500) -> None:
        self.max_iterations = max_iterations

    def fit(self, frequency: ArrayLike, recency: ArrayLike, age: ArrayLike) -> BgNbd:
        """Fit by maximum likelihood.

        Parameters
        ----------
        frequency : array_like of shape (n,)
            Repeat trips: all after the first.
        recency : array_like of shape (n,)
            Time from the first to the last trip; 0 without repeat trips.
        age : array_like of shape (n,)
            Time from the first trip to the end of the data, same unit.

        Returns
        -------
        BgNbd
            self.

        Raises
        ------
        TableError
            A frequency is negative, or a recency exceeds its age.
        NotSupportedError
            No customer came back.
        SolverError
            No convergence.
        """
        x, tx, t = _history(frequency, recency, age)
        if not (x > 0).any():
            raise NotSupportedError(
                "totals: no customer has a second trip, so nothing can be said about repeat buying."
            )
        # equal histories count once, with their number
        unique, count = np.unique(np.column_stack([x, tx, t]), axis=0, return_counts=True)
        x, tx, t = unique.T
        # a typical age as unit of time keeps the search well scaled
        unit = float(np.average(t, weights=count)) or 1.0

        def loss(log_params: Floats) -> tuple[float, Floats]:
            value, gradient = _bgnbd_log_likelihood(np.exp(log_params), x, tx / unit, t / unit)
            return -float(count @ value) / count.sum(), -(gradient @ count) * np.exp(log_params) / count.sum()

        result = _minimise(loss, np.zeros(4), self.max_iterations, "BG/NBD")
        self.r_, alpha, self.a_, self.b_ = (float(v) for v in np.exp(result.x))
        self.alpha_ = alpha * unit
        self.covariance_ = _covariance(loss, result.x, int(count.sum()))
        self.n_customers_ = int(count.sum())
        # the change of time unit multiplies the density of each of the x trips
        self.log_likelihood_ = -float(result.fun) * self.n_customers_ - float(count @ x) * np.log(unit)
        return self

    @property
    def params(self) -> Floats:
        """r, alpha, a, b."""
        check_is_fitted(self, "r_")
        return np.array([self.r_, self.alpha_, self.a_, self.b_])

    def alive(self, frequency: ArrayLike, recency: ArrayLike, age: ArrayLike) -> Floats:
        """Return the probability that each customer is still active."""
        return alive_probability(self.params, *_history(frequency, recency, age))

    def expected_trips(
        self, horizon: float, frequency: ArrayLike, recency: ArrayLike, age: ArrayLike
    ) -> Floats:
        """Return the trips expected of each customer in the next ``horizon``, given the history."""
        return conditional_trips(self.params, horizon, *_history(frequency, recency, age))


class GammaGamma(BaseEstimator):
    """Gamma-Gamma model of the money per trip: every customer has a mean, trips scatter around it.

    Parameters
    ----------
    max_iterations : int
        Steps before the fit gives up.

    Attributes
    ----------
    p_, q_, v_ : float
        Weakly told apart from one another; the mean they imply is not.
    covariance_ : ndarray of shape (3, 3)
        Of the logarithms of p, q, v.
    log_likelihood_ : float
    n_customers_ : int

    Notes
    -----
    Fader, Hardie & Lee (2005b), Colombo & Jiang (1999). Assumes that how much and how often are unrelated.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> trips = rng.integers(2, 12, 500)
    >>> mean_value = rng.gamma(5.0 * trips, 1 / rng.gamma(4.0, 1 / 18, 500)) / trips
    >>> model = GammaGamma().fit(trips, mean_value)
    >>> few, many = model.expected_value([2, 50], [90.0, 90.0])
    >>> bool(model.mean_ < few < many < 90)
    True
    """

    def __init__(self, max_iterations: int = 500) -> None:
        self.max_iterations = max_iterations

    def fit(self, trips: ArrayLike, mean_value: ArrayLike) -> GammaGamma:
        """Fit by maximum likelihood.

        Parameters
        ----------
        trips : array_like of shape (n,)
            Trips the mean is taken over, at least 1.
        mean_value : array_like of shape (n,)
            Mean money per trip, positive.

        Returns
        -------
        GammaGamma
            self.

        Raises
        ------
        TableError
            A number of trips is below 1, or a mean is not positive.
        SolverError
            No convergence.
        """
        n, m = np.asarray(trips, dtype=float), np.asarray(mean_value, dtype=float)
        bad = ~((n >= 1) & (m > 0))
        if bad.any():
            raise TableError(
                f"{int(bad.sum()):,} of {len(n):,} customers have no trip or no positive mean spend; leave them out "
                "of the fit (customers who returned what they bought have no spend to model)."
            )
        unit = float(m.mean())

        def loss(log_params: Floats) -> tuple[float, Floats]:
            value, gradient = _gamma_gamma_log_likelihood(np.exp(log_params), n, m / unit)
            return -float(value.mean()), -gradient.mean(axis=1) * np.exp(log_params)

        result = _minimise(loss, np.array([1.0, 1.5, 0.5]), self.max_iterations, "Gamma-Gamma")
        self.p_, self.q_, v = (float(x) for x in np.exp(result.x))
        self.v_ = v * unit
        self.covariance_ = _covariance(loss, result.x, len(n))
        self.n_customers_ = len(n)
        self.log_likelihood_ = -float(result.fun) * len(n) - len(n) * np.log(unit)
        return self

    @property
    def params(self) -> Floats:
        """p, q, v."""
        check_is_fitted(self, "p_")
        return np.array([self.p_, self.q_, self.v_])

    @property
    def mean_(self) -> float:
        """Mean money per trip over all customers; infinite where q ≤ 1."""
        return self.p_ * self.v_ / (self.q_ - 1) if self.q_ > 1 else np.inf

    def expected_value(self, trips: ArrayLike, mean_value: ArrayLike) -> Floats:
        """Return each customer's expected money per trip: her own mean, shrunk to everybody's."""
        n, m = np.asarray(trips, dtype=float), np.asarray(mean_value, dtype=float)
        check_is_fitted(self, "p_")
        return self.p_ * (self.v_ + n * m) / (self.p_ * n + self.q_ - 1)


def alive_probability(params: ArrayLike, x: Floats, tx: Floats, t: Floats) -> Floats:
    """Return P(active | history) of the BG/NBD; 1 for customers without a repeat trip, who had no chance to leave."""
    r, alpha, a, b = np.asarray(params, dtype=float)
    repeat = x > 0
    with np.errstate(over="ignore"):
        odds_left = a / (b + np.maximum(x, 1) - 1) * np.exp((r + x) * np.log((alpha + t) / (alpha + tx)))
    return np.where(repeat, 1 / (1 + odds_left), 1.0)


def conditional_trips(params: ArrayLike, horizon: float, x: Floats, tx: Floats, t: Floats) -> Floats:
    """Return E[trips in the next ``horizon`` | history] of the BG/NBD."""
    r, alpha, a, b = np.asarray(params, dtype=float)
    alive = alive_probability(params, x, tx, t)
    c = a + b + x - 1
    # with large or vanishing parameters the closed form divides nothing by nothing
    if abs(a - 1) < 1e-3 or max(a, b, r) > 50 or (c < 1e-3).any():
        return alive * _trips_if_alive(r, alpha, a, b, horizon, x, t)
    z = horizon / (alpha + t + horizon)
    # Euler's transformation: the textbook form has parameters that grow with x and overflows
    bracket = 1 - (1 - z) ** (a - 1) * hyp2f1(a + b - 1 - r, a - 1, c, z)
    return alive * np.maximum(c / (a - 1) * bracket, 0.0)


def _trips_if_alive(
    r: float, alpha: float, a: float, b: float, horizon: float, x: Floats, t: Floats
) -> Floats:
    """Trips expected of a customer who is active, by quadrature over her probability to leave."""
    counts, which = np.unique(x, return_inverse=True)
    p = np.maximum(betaincinv(a, (b + counts)[:, None], _NODES[None, :]), 1e-300)[which]
    base = (alpha + t)[:, None]
    trips = -np.expm1(-(r + x)[:, None] * np.log1p(p * horizon / base)) / p
    return np.asarray(trips @ _WEIGHTS, dtype=float)


def _history(frequency: ArrayLike, recency: ArrayLike, age: ArrayLike) -> tuple[Floats, Floats, Floats]:
    x, tx, t = (np.atleast_1d(np.asarray(v, dtype=float)) for v in (frequency, recency, age))
    bad = ~((x >= 0) & (tx >= 0) & (tx <= t) & ((x > 0) | (tx == 0)))
    if bad.any():
        first = ", ".join(f"({x[i]:g}, {tx[i]:g}, {t[i]:g})" for i in np.flatnonzero(bad)[:3])
        raise TableError(
            f"{int(bad.sum()):,} of {len(x):,} histories (frequency, recency, age) are impossible, e.g. {first}: "
            "frequency ≥ 0 and 0 ≤ recency ≤ age are expected, and recency 0 without repeat trips."
        )
    return x, tx, t


def _bgnbd_log_likelihood(params: Floats, x: Floats, tx: Floats, t: Floats) -> tuple[Floats, Floats]:
    """Log likelihood of every history, and its gradient by r, alpha, a, b: shape (4, n)."""
    r, alpha, a, b = params
    repeat = x > 0
    last = np.maximum(x, 1) - 1
    common = gammaln(r + x) - gammaln(r) + r * np.log(alpha)
    common = common + gammaln(a + b) + gammaln(b + x) - gammaln(b) - gammaln(a + b + x)
    stayed = -(r + x) * np.log(alpha + t)
    left = np.where(repeat, np.log(a) - np.log(b + last) - (r + x) * np.log(alpha + tx), -np.inf)
    either = np.logaddexp(stayed, left)
    w_left = np.exp(left - either)
    w_stayed = 1 - w_left
    by_r = (
        digamma(r + x)
        - digamma(r)
        + np.log(alpha)
        - w_stayed * np.log(alpha + t)
        - w_left * np.log(alpha + tx)
    )
    by_alpha = r / alpha - (r + x) * (w_stayed / (alpha + t) + w_left / (alpha + tx))
    joint = digamma(a + b) - digamma(a + b + x)
    by_a = joint + w_left / a
    by_b = joint + digamma(b + x) - digamma(b) - w_left / (b + last)
    return common + either, np.vstack([by_r, by_alpha, by_a, by_b])


def _gamma_gamma_log_likelihood(params: Floats, n: Floats, m: Floats) -> tuple[Floats, Floats]:
    p, q, v = params
    pn, total = p * n, n * m
    value = gammaln(pn + q) - gammaln(pn) - gammaln(q) + q * np.log(v) + (pn - 1) * np.log(m) + pn * np.log(n)
    value = value - (pn + q) * np.log(total + v)
    by_p = n * (digamma(pn + q) - digamma(pn) + np.log(m) + np.log(n) - np.log(total + v))
    by_q = digamma(pn + q) - digamma(q) + np.log(v) - np.log(total + v)
    by_v = q / v - (pn + q) / (total + v)
    return value, np.vstack([by_p, by_q, by_v])


def _minimise(
    loss: Callable[[Floats], tuple[float, Floats]], start: Floats, max_iterations: int, name: str
) -> OptimizeResult:
    # bounds on the logarithms keep a flat likelihood from running to infinity
    result = minimize(
        loss,
        start,
        jac=True,
        method="L-BFGS-B",
        bounds=[(-_BOUND, _BOUND)] * len(start),
        options={"maxiter": max_iterations, "ftol": 1e-15, "gtol": 1e-9, "maxls": 60},
    )
    gradient = np.where(np.abs(result.x) < _BOUND - 0.1, loss(result.x)[1], 0.0)
    if np.abs(gradient).max() > 1e-4:
        raise SolverError(
            f"{name}: the fit did not converge ({result.message}; largest slope {np.abs(gradient).max():.1e}). "
            "There may be too few customers: give more, or a longer period."
        )
    if (np.abs(result.x) > _BOUND - 0.1).any():
        warnings.warn(
            f"{name}: customers hardly differ in one respect, and a parameter that measures it ran to its bound. "
            "Forecasts can be used, the parameters and their intervals cannot.",
            FitWarning,
            stacklevel=3,
        )
    return result


def _covariance(loss: Callable[[Floats], tuple[float, Floats]], at: Floats, n: int) -> Floats:
    """Inverse information of the log parameters, from central differences of the gradient."""
    step = 1e-5
    hessian = np.empty((len(at), len(at)))
    for j in range(len(at)):
        shift = np.zeros(len(at))
        shift[j] = step
        hessian[j] = (loss(at + shift)[1] - loss(at - shift)[1]) / (2 * step)
    values, vectors = np.linalg.eigh((hessian + hessian.T) / 2 * n)
    # along a flat direction the data say nothing and forecasts do not change: no spread there
    kept = values > 1e-6 * values.max()
    return np.asarray((vectors[:, kept] / values[kept]) @ vectors[:, kept].T, dtype=float)


def history_of(totals: pd.DataFrame, as_of: pd.Timestamp) -> pd.DataFrame:
    """Turn customer totals into frequency (repeat trips), recency and age in weeks, one row per customer."""
    first, last = pd.to_datetime(totals["first_date"]), pd.to_datetime(totals["last_date"])
    frequency = totals["trips"].to_numpy(dtype=float) - 1
    recency = np.where(frequency > 0, (last - first).dt.days / 7, 0.0)
    age = ((as_of - first).dt.days / 7).to_numpy(dtype=float)
    late = (last > as_of).to_numpy()
    if late.any():
        ids = ", ".join(totals.loc[late, "customer_id"].astype(str).head(3))
        raise TableError(
            f"totals: {int(late.sum()):,} of {len(totals):,} customers shopped after as_of = {as_of:%Y-%m-%d} ({ids})."
        )
    return pd.DataFrame({"frequency": frequency, "recency": recency, "age": age}, index=totals.index)
