"""Intervals of a mean of pair differences: Student's t, and sign flips."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import stats

from geomarket.errors import NotSupportedError

__all__ = ["PairedEstimate", "change_words", "paired_estimate", "sign_flip_interval", "t_interval"]

Floats = npt.NDArray[np.float64]

MOST_EXACT = 14
"""Up to this many differences all sign flips are looked at; beyond, a random draw of them."""
DRAWS = 9_999


@dataclass(frozen=True)
class PairedEstimate:
    """Mean of pair differences, its error and two kinds of interval.

    ``low``, ``high``, ``p``: Student's t. ``flip_low``, ``flip_high``, ``flip_p``: sign flips, which assume nothing but
    the randomisation; infinite where there are too few pairs for the level. ``groups``: independent differences.
    """

    estimate: float
    se: float
    low: float
    high: float
    p: float
    flip_low: float
    flip_high: float
    flip_p: float
    groups: int


def change_words(share: float) -> str:
    """Write a relative change with its sign.

    Examples
    --------
    >>> change_words(0.031), change_words(-0.005)
    ('+3.1%', '−0.5%')
    """
    return f"{share:+.1%}".replace("-", "−")


def t_interval(differences: npt.ArrayLike, level: float = 0.9) -> tuple[Floats, Floats, Floats, Floats]:
    """Return mean, standard error, low and high along the last axis.

    Parameters
    ----------
    differences : array-like of shape (..., n_pairs)
        One difference per pair; never one per pair and period, whose errors hang together.
    level : float
        Confidence.

    Examples
    --------
    >>> [round(float(x), 3) for x in t_interval([0.0, 0.1, 0.2, 0.1])]
    [0.1, 0.041, 0.004, 0.196]
    """
    values = np.asarray(differences, dtype=float)
    n = values.shape[-1]
    if n < 2:
        raise NotSupportedError(f"{n} pair: an interval needs at least two. Design a test with more pairs.")
    mean = values.mean(axis=-1)
    se = values.std(axis=-1, ddof=1) / np.sqrt(n)
    reach = stats.t.ppf(0.5 + level / 2, n - 1) * se
    return mean, se, mean - reach, mean + reach


def sign_flip_interval(
    differences: npt.ArrayLike, level: float = 0.9, random_state: int = 0
) -> tuple[float, float]:
    """Return the interval of all effects that a sign-flip test of the mean does not reject.

    Under randomisation within pairs, the sign of each difference from the true effect is a coin's throw. Flipping a set
    of signs leaves the mean as it is exactly where the effect equals the mean of that set: the means of all subsets
    split the line into equally likely parts (Hartigan, 1969, Using subsample values as typical values).

    Parameters
    ----------
    differences : array-like of shape (n_pairs,)
        One difference per pair.
    level : float
        Confidence; never less is delivered.
    random_state : int
        Seed of the draw where there are more than 14 pairs.

    Returns
    -------
    low, high : float
        Infinite where so few pairs can't give the level (4 pairs and fewer for 90%).

    Examples
    --------
    >>> low, high = sign_flip_interval([0.00, 0.10, 0.20, 0.10, 0.15])
    >>> round(low, 3), round(high, 3)
    (0.0, 0.2)
    >>> sign_flip_interval([0.1, 0.2])
    (-inf, inf)
    """
    values = np.asarray(differences, dtype=float)
    means = np.sort(_subset_means(values, random_state))
    k = int(np.floor((1 - level) / 2 * (len(means) + 1) + 1e-9))
    if k < 1:
        return -np.inf, np.inf
    return float(means[k - 1]), float(means[-k])


def _subset_means(values: Floats, random_state: int) -> Floats:
    n = len(values)
    if n <= MOST_EXACT:
        members = (np.arange(1, 2**n)[:, None] >> np.arange(n)) & 1
    else:
        members = np.random.default_rng(random_state).integers(0, 2, (DRAWS, n))
        members = members[members.any(axis=1)]
    return members @ values / members.sum(axis=1)


def _sign_flip_p(values: Floats, random_state: int) -> float:
    """Return the share of sign flips whose mean is as far from 0, the one that happened included."""
    n = len(values)
    if n <= MOST_EXACT:
        signs = 1 - 2 * ((np.arange(2**n)[:, None] >> np.arange(n)) & 1)
    else:
        drawn = np.random.default_rng(random_state).integers(0, 2, (DRAWS, n))
        signs = np.vstack([np.ones((1, n), dtype=int), 1 - 2 * drawn])
    sums = np.abs(signs @ values)
    return float((sums >= abs(values.sum()) * (1 - 1e-12)).mean())


def paired_estimate(
    differences: npt.ArrayLike,
    level: float = 0.9,
    clusters: npt.ArrayLike | None = None,
    random_state: int = 0,
) -> PairedEstimate:
    """Estimate the mean of pair differences with both intervals.

    Parameters
    ----------
    differences : array-like of shape (n_pairs,)
        One difference per pair.
    level : float
        Confidence.
    clusters : array-like of shape (n_pairs,), optional
        Pairs of one cluster share what happens to them (hexagon pairs around one store). The interval then rests on
        the number of clusters: each one's sum counts as one observation, and its signs flip together.
    random_state : int
        Seed of the sign flips.

    Raises
    ------
    NotSupportedError
        If there are fewer than two pairs or clusters.

    Examples
    --------
    >>> found = paired_estimate([0.02, 0.04, 0.03, 0.05, 0.01, 0.03])
    >>> round(found.estimate, 3), found.groups, found.flip_p
    (0.03, 6, 0.03125)
    """
    values = np.asarray(differences, dtype=float)
    names = np.arange(len(values)) if clusters is None else np.asarray(clusters)
    _, group = np.unique(names, return_inverse=True)
    n_groups = int(group.max()) + 1 if len(values) else 0
    if n_groups < 2:
        kind = "pair" if clusters is None else "cluster of pairs"
        raise NotSupportedError(
            f"{n_groups} {kind}: an interval needs at least two. Design a test with more pairs."
        )
    mean = float(values.mean())
    sums = np.bincount(group, values - mean, n_groups)
    se = float(np.sqrt(n_groups / (n_groups - 1) * (sums**2).sum()) / len(values))
    t = stats.t(n_groups - 1)
    reach = float(t.ppf(0.5 + level / 2)) * se
    p = float(2 * t.sf(abs(mean) / se)) if se > 0 else float(mean == 0)
    # the mean over pairs is the mean over clusters of their sums, each scaled by the mean size
    scaled = np.bincount(group, values, n_groups) * n_groups / len(values)
    low, high = sign_flip_interval(scaled, level, random_state)
    return PairedEstimate(
        mean, se, mean - reach, mean + reach, p, low, high, _sign_flip_p(scaled, random_state), n_groups
    )
