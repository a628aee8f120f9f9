"""What a paired test can see: power, minimum detectable effect, pairs and periods needed."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import optimize, stats

from geomarket.errors import NotSupportedError

__all__ = ["minimum_detectable_effect", "pairs_needed", "placebo_differences", "power_of", "power_table"]

Floats = npt.NDArray[np.float64]


def power_of(effect: float, sd: float, n_pairs: int, level: float = 0.9) -> float:
    """Return the chance that the interval of a paired test excludes 0.

    Parameters
    ----------
    effect : float
        True relative effect (0.03 for 3%); pair differences are of logarithms.
    sd : float
        Standard deviation of the pair differences without an effect; the standard error is sd / sqrt(n_pairs).
    n_pairs : int
        Pairs.
    level : float
        Confidence of the two-sided interval.

    Examples
    --------
    >>> round(power_of(0.03, 0.047, 20), 2)
    0.86
    """
    if n_pairs < 2:
        return float("nan")
    if sd <= 0:
        return 1.0 if effect else 1 - level
    t = stats.t.ppf(0.5 + level / 2, n_pairs - 1)
    shift = abs(np.log1p(effect)) * np.sqrt(n_pairs) / sd
    return _seen(t, n_pairs, shift) + _seen(t, n_pairs, -shift)


def _seen(t: float, n_pairs: int, shift: float) -> float:
    """Return the chance that the t statistic lies above ``t``."""
    if abs(shift - t) > 30:
        # certain either way; the noncentral t of scipy is not a number so far out
        return float(shift > t)
    return float(np.nan_to_num(stats.nct.sf(t, n_pairs - 1, shift)))


def minimum_detectable_effect(sd: float, n_pairs: int, level: float = 0.9, power: float = 0.8) -> float:
    """Return the relative effect that a paired test sees with the given power; NaN below two pairs.

    Parameters
    ----------
    sd : float
        Standard deviation of the pair differences without an effect, log scale.
    n_pairs : int
        Pairs.
    level, power : float
        Confidence of the two-sided interval, and the chance wanted.

    Examples
    --------
    >>> round(minimum_detectable_effect(0.047, 20), 4)
    0.0275
    """
    if n_pairs < 2 or not np.isfinite(sd):
        return float("nan")
    if sd <= 0:
        return 0.0
    t = stats.t.ppf(0.5 + level / 2, n_pairs - 1)

    # a sign the wrong way round is not seen: one tail only
    shift = optimize.brentq(lambda x: _seen(t, n_pairs, x) - power, 0.0, 10 * t + 20)
    return float(np.expm1(shift * sd / np.sqrt(n_pairs)))


def pairs_needed(
    effect: float, sd: float, level: float = 0.9, power: float = 0.8, most: int = 10_000
) -> int | None:
    """Return the fewest pairs that see an effect; None where even ``most`` don't.

    Examples
    --------
    >>> pairs_needed(0.03, 0.047)
    18
    """
    low, high = 2, most
    if not effect or not np.isfinite(sd) or power_of(effect, sd, high, level) < power:
        return None
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if power_of(effect, sd, middle, level) >= power else (middle + 1, high)
    return low


def placebo_differences(
    first: npt.ArrayLike, second: npt.ArrayLike, length: int, baseline: int, earliest: int = 0
) -> Floats:
    """Return what a test that never ran would have measured, on past periods.

    The same figure as in the analysis: log of the mean over ``length`` periods less log of the mean over the
    ``baseline`` periods before, first unit of the pair less second. Placebo tests do not overlap, and the latest ends
    with the last period.

    Parameters
    ----------
    first, second : array-like of shape (n_pairs, n_periods)
        Sales of the two units of each pair.
    length, baseline : int
        Periods of the test and before it.
    earliest : int
        No placebo test begins before this position (one always fits where the history is long enough).

    Returns
    -------
    ndarray of shape (n_pairs, n_tests)
        NaN where a unit sold nothing.

    Examples
    --------
    >>> placebo_differences([[1, 1, 1, 2.0]], [[1, 1, 1, 1.0]], length=1, baseline=2).round(2).tolist()
    [[0.0, 0.69]]
    """
    a, b = np.asarray(first, dtype=float), np.asarray(second, dtype=float)
    n_periods = a.shape[1]
    starts = list(range(n_periods - length, max(baseline, earliest) - 1, -length))
    if not starts and n_periods - length >= baseline:
        starts = [n_periods - length]
    if not starts:
        raise NotSupportedError(
            f"{n_periods} periods of history: a test of {length} periods, with {baseline} before it to compare with, "
            f"needs {length + baseline}. Give a longer history, or plan a shorter test."
        )
    found = []
    for start in sorted(starts):
        test, before = slice(start, start + length), slice(start - baseline, start)
        change = [_log(x[:, test].mean(axis=1)) - _log(x[:, before].mean(axis=1)) for x in (a, b)]
        found.append(change[0] - change[1])
    return np.column_stack(found)


def _log(values: Floats) -> Floats:
    return np.log(np.where(values > 0, values, np.nan))


def power_table(
    spread: pd.Series, n_pairs: Sequence[int], wanted: float, expected: float, level: float, power: float
) -> pd.DataFrame:
    """Return what tests of several lengths and sizes would see.

    Parameters
    ----------
    spread : Series
        Standard deviation of placebo differences, by length of the test in periods.
    n_pairs : sequence of int
        Numbers of pairs.
    wanted, expected : float
        Relative effects: the one that must be seen, and the one the plan expects (NaN where unknown).
    level, power : float
        Confidence of the interval; chance of seeing the effect.

    Returns
    -------
    DataFrame
        periods, pairs, sd, se, mde, power_wanted, power_expected, pairs_needed (for ``wanted``; missing where none
        suffices).

    Examples
    --------
    >>> table = power_table(pd.Series({13: 0.047}), [10, 20], 0.03, float("nan"), 0.9, 0.8)
    >>> table[["pairs", "mde", "pairs_needed"]].round(3).values.tolist()
    [[10.0, 0.041, 18.0], [20.0, 0.027, 18.0]]
    """
    rows = []
    for periods, sd in spread.items():
        needed = pairs_needed(wanted, sd, level, power)
        for n in n_pairs:
            rows.append(
                {
                    "periods": periods,
                    "pairs": n,
                    "sd": sd,
                    "se": sd / np.sqrt(n),
                    "mde": minimum_detectable_effect(sd, n, level, power),
                    "power_wanted": power_of(wanted, sd, n, level),
                    "power_expected": power_of(expected, sd, n, level) if np.isfinite(expected) else np.nan,
                    "pairs_needed": np.nan if needed is None else float(needed),
                }
            )
    return pd.DataFrame(rows)
