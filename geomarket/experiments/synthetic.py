"""Synthetic control: what treated markets would have sold, from a mix of markets that were left alone."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from math import comb
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import optimize

from geomarket.errors import NotSupportedError
from geomarket.experiments.panel import build_panel
from geomarket.results import Result

__all__ = [
    "SyntheticControl",
    "conformal_p",
    "placebo_gaps",
    "rank_interval",
    "simplex_weights",
    "synthetic_control",
]

Floats = npt.NDArray[np.float64]
Day = str | dt.date | pd.Timestamp


def simplex_weights(target: npt.ArrayLike, donors: npt.ArrayLike) -> Floats:
    """Return the weights, none below 0 and 1 in sum, whose mix of donors comes nearest to a target.

    Parameters
    ----------
    target : array-like of shape (n_periods,)
        What is to be matched.
    donors : array-like of shape (n_periods, n_donors)
        What it is matched with.

    Returns
    -------
    ndarray of shape (n_donors,)

    Notes
    -----
    Exact, by one non-negative least squares: as weights sum to 1, the residual is the same mix of the donors' own
    residuals M, and the nearest point to 0 of their convex hull is the direction of the u >= 0 that minimises
    ``|M u|² + (sum(u) - 1)²`` (Lawson and Hanson, 1974, chapter 23).

    Examples
    --------
    >>> simplex_weights([2.0, 4.0, 3.0], [[1.0, 3.0], [3.0, 5.0], [2.0, 4.0]]).round(6).tolist()
    [0.5, 0.5]
    """
    gap = np.asarray(donors, dtype=float) - np.asarray(target, dtype=float)[:, None]
    size = np.sqrt((gap**2).sum(axis=0).max())
    scaled = gap / size if size > 0 else gap
    # the triangle of a QR decomposition has the same inner products in fewer rows
    if scaled.shape[0] > scaled.shape[1]:
        scaled = np.linalg.qr(scaled, mode="r")
    rows = np.vstack([scaled, np.ones(scaled.shape[1])])
    aim = np.zeros(len(rows))
    aim[-1] = 1.0
    weights, _ = optimize.nnls(rows, aim, maxiter=30 * rows.shape[1])
    return weights / weights.sum()


def placebo_gaps(values: npt.ArrayLike, n_before: int, sets: Sequence[Sequence[int]]) -> Floats:
    """Return actual less synthetic sales for each of several sets of units taken as treated.

    Parameters
    ----------
    values : array-like of shape (n_units, n_periods)
        Sales.
    n_before : int
        Periods before the treatment: those the mix is fitted on, each unit's mean taken off (a fixed effect).
    sets : sequence of sequences of int
        Units averaged and taken as treated; all others are the donors.

    Returns
    -------
    ndarray of shape (n_sets, n_periods)
    """
    panel = np.asarray(values, dtype=float)
    centred = panel - panel[:, :n_before].mean(axis=1, keepdims=True)
    gaps = []
    for members in sets:
        rest = np.delete(np.arange(len(panel)), members)
        target = centred[list(members)].mean(axis=0)
        weights = simplex_weights(target[:n_before], centred[rest, :n_before].T)
        gaps.append(target - weights @ centred[rest])
    return np.array(gaps)


def rank_interval(
    effect: float, placebo: npt.ArrayLike, level: float = 0.9, scale: float = 1.0
) -> tuple[float, float]:
    """Return the interval around an effect that placebo effects of its size leave.

    The reach is the placebo effect of rank ceil(level × (n + 1)) by size: the treated one counts as one of n + 1 that
    could as well have been drawn. With fewer than level / (1 - level) placebos the interval is infinite.

    Parameters
    ----------
    effect : float
        Measured.
    placebo : array-like of shape (n_placebos,)
        Effects where there is none, each divided by its own size of error where ``scale`` is given.
    level : float
        Confidence.
    scale : float
        The treated unit's size of error.

    Examples
    --------
    >>> rank_interval(10.0, [1, -2, 3, -4, 5, -6, 7, -8, 9], level=0.9)
    (1.0, 19.0)
    """
    sizes = np.sort(np.abs(np.asarray(placebo, dtype=float)))
    rank = int(np.ceil(level * (len(sizes) + 1) - 1e-9))
    reach = scale * float(sizes[rank - 1]) if 0 < rank <= len(sizes) else np.inf
    return effect - reach, effect + reach


@dataclass(frozen=True)
class SyntheticControl(Result):
    """What treated markets sold against their synthetic control.

    Attributes
    ----------
    table : DataFrame
        period, actual, synthetic, gap: mean over the treated markets; after: whether the period is in the test.
    weights : DataFrame
        unit, weight: donors with a weight above 0, largest first.
    placebo : DataFrame
        unit (names joined by " + "), effect, before_rmse, after_rmse: the same for markets that were not treated.
    effect : float
        Mean gap a period and treated market during the test (average effect on the treated).
    low, high : float
        Rank interval from placebos.
    scaled_low, scaled_high : float
        The same with each placebo's gap in units of its own fit before the test.
    lift, lift_low, lift_high : float
        Effect and interval over mean synthetic sales.
    incremental, incremental_low, incremental_high : float
        Over all treated markets and periods of the test.
    p : float
        Share of markets (the treated one among them) whose ratio of errors after and before is as large.
    p_time : float
        Share of shifts of the gaps in time whose mean size in the test's place is as large, the mix fitted with all
        periods as if there were no effect (Chernozhukov, Wüthrich and Zhu, 2021).
    before_rmse, fit : float
        Error before the test; and over the error of an even mix of all donors (0: perfect, 1: no better).
    treated : tuple of str
    confidence : float
    start, end : Timestamp
        The test, half open.
    """

    table: pd.DataFrame
    weights: pd.DataFrame
    placebo: pd.DataFrame
    effect: float
    low: float
    high: float
    scaled_low: float
    scaled_high: float
    lift: float
    lift_low: float
    lift_high: float
    incremental: float
    incremental_low: float
    incremental_high: float
    p: float
    p_time: float
    before_rmse: float
    fit: float
    treated: tuple[str, ...]
    confidence: float
    start: pd.Timestamp
    end: pd.Timestamp

    def summary(self) -> list[str]:
        """Say what the treated markets gained, how sure that is, and how good the synthetic control was before."""
        names = " and ".join(self.treated)
        n, size = int(self.table["after"].sum()), len(self.treated)
        among = f"{len(self.placebo) + 1} " + ("markets" if size == 1 else f"sets of {size} markets")
        lines = [
            f"{names}: {self.lift:+.1%} over {n} periods against the synthetic control ({self.confidence:.0%} interval "
            f"{self.lift_low:+.1%} to {self.lift_high:+.1%}), {self.incremental:,.0f} in all; p {self.p:.2f} among "
            f"{among}.",
            f"Before the test the control missed by {self.before_rmse:,.4g} a period, {self.fit:.0%} of what an even "
            f"mix of all markets would have; it mixes {len(self.weights)} markets.",
        ]
        if self.fit > 0.5:
            lines.append("That is a poor fit: the control says little about what would have been.")
        return lines

    def plot(self, ax: Any = None) -> Any:
        """Draw actual and synthetic sales."""
        if ax is None:
            import matplotlib.pyplot as plt

            _, ax = plt.subplots(figsize=(7, 3.5), layout="constrained")
        ax.plot(self.table["period"], self.table["actual"], color="#1B2422", lw=1, label="actual")
        ax.plot(
            self.table["period"], self.table["synthetic"], color="#0B6663", lw=1, ls="--", label="synthetic"
        )
        ax.axvline(self.start, color="#999999", lw=0.8)
        ax.legend(frameon=False)
        ax.spines[["top", "right"]].set_visible(False)
        return ax


def synthetic_control(
    sales: pd.DataFrame,
    treated: Sequence[object] | str,
    start: Day,
    end: Day | None = None,
    *,
    unit: str = "store_id",
    value: str = "revenue",
    donors: Sequence[object] | None = None,
    confidence: float = 0.9,
    most_placebos: int = 500,
    random_state: int = 0,
) -> SyntheticControl:
    """Measure an effect on one or more treated markets against a mix of untreated ones.

    Each market's mean before the test is taken off; the mix (weights of 0 or more, 1 in sum) that follows the treated
    markets best before the test stands for them during it. Intervals and p come from doing the same to markets that
    were not treated.

    Parameters
    ----------
    sales : DataFrame
        ``unit``, period (date), ``value``.
    treated : sequence, or one unit
        Treated markets; several are averaged.
    start, end : date
        The test, half open; to the last period where ``end`` is not given.
    unit, value : str
        Columns.
    donors : sequence, optional
        Markets the mix may use; all others by default. Leave out neighbours that the test may spill over to.
    confidence : float
        Level of the intervals.
    most_placebos : int
        With several treated markets, placebos are sets of as many donors: all, or this many drawn at random.
    random_state : int
        Seed of that draw.

    Returns
    -------
    SyntheticControl

    Raises
    ------
    TableError
        If a market or a period is missing.
    NotSupportedError
        If there are fewer than two donors or periods before the test.

    Notes
    -----
    Abadie, Diamond and Hainmueller (2010), Synthetic control methods for comparative case studies; with the means taken
    off: Doudchenko and Imbens (2016), Ferman and Pinto (2021).

    Examples
    --------
    >>> day = pd.date_range("2024-01-01", periods=8)
    >>> path = {"a": [1, 2, 1, 2, 1, 2, 1, 2], "b": [3, 3, 4, 4, 3, 3, 4, 4], "c": [5, 5, 5, 6, 6, 6, 5, 5]}
    >>> path["t"] = [2.0, 2.5, 2.5, 3.0, 2.0, 2.5, 3.5, 4.0]
    >>> sales = pd.concat([pd.DataFrame({"store_id": k, "period": day, "revenue": v}) for k, v in path.items()])
    >>> found = synthetic_control(sales, "t", day[6])
    >>> round(found.effect, 6), round(found.incremental, 6), found.weights["unit"].tolist()
    (1.0, 2.0, ['a', 'b'])
    """
    names = [treated] if isinstance(treated, str) or not isinstance(treated, Sequence) else list(treated)
    panel = build_panel(sales, unit, value)
    pool = (
        [u for u in panel.units if u not in set(names)]
        if donors is None
        else list(pd.Index(np.unique(np.array(list(donors)))).difference(pd.Index(names)))
    )
    panel = panel.take(pd.Index([*names, *pool], name=unit))
    first = pd.Timestamp(start)
    last = pd.Timestamp(end) if end is not None else panel.periods[-1] + pd.Timedelta(days=1)
    kept = panel.periods < last
    periods, values = panel.periods[kept], panel.values[:, kept]
    n_before, n_treated = int((periods < first).sum()), len(names)
    if len(pool) < 2 * n_treated or n_before < 2 or n_before == len(periods):
        raise NotSupportedError(
            f"synthetic control: {len(pool)} donors for {n_treated} treated markets, {n_before} periods before "
            f"{first.date()} and {len(periods) - n_before} from then on; it needs twice as many donors as treated "
            "markets, two periods before and one during the test."
        )
    mine = np.arange(n_treated)
    centred = values - values[:, :n_before].mean(axis=1, keepdims=True)
    weights = simplex_weights(centred[mine].mean(axis=0)[:n_before], centred[n_treated:, :n_before].T)
    gap = centred[mine].mean(axis=0) - weights @ centred[n_treated:]
    even = centred[mine].mean(axis=0) - centred[n_treated:].mean(axis=0)
    sets = _placebo_sets(len(pool), n_treated, most_placebos, random_state)
    # donors of a placebo are the other untreated markets: the treated ones carry the effect
    gaps = placebo_gaps(values[n_treated:], n_before, sets)
    effects, before, after = _sizes(gaps, n_before)
    effect, my_before, my_after = (float(x[0]) for x in _sizes(gap[None], n_before))
    low, high = rank_interval(effect, effects, confidence)
    floor = 1e-12 * max(float(np.abs(values).max()), 1e-300)
    scaled = rank_interval(effect, effects / np.maximum(before, floor), confidence, my_before)
    ratio = my_after / max(my_before, floor)
    actual = values[mine].mean(axis=0)
    synthetic = actual - gap
    base, amount = float(synthetic[n_before:].mean()), n_treated * (len(periods) - n_before)
    order = np.argsort(-weights, kind="stable")
    order = order[weights[order] > 1e-9]
    return SyntheticControl(
        table=pd.DataFrame(
            {
                "period": periods,
                "actual": actual,
                "synthetic": synthetic,
                "gap": gap,
                "after": periods >= first,
            }
        ),
        weights=pd.DataFrame({"unit": [pool[i] for i in order], "weight": weights[order]}),
        placebo=pd.DataFrame(
            {
                "unit": [" + ".join(str(pool[i]) for i in members) for members in sets],
                "effect": effects,
                "before_rmse": before,
                "after_rmse": after,
            }
        ),
        effect=effect,
        low=low,
        high=high,
        scaled_low=scaled[0],
        scaled_high=scaled[1],
        lift=effect / base,
        lift_low=low / base,
        lift_high=high / base,
        incremental=effect * amount,
        incremental_low=low * amount,
        incremental_high=high * amount,
        p=float((1 + (after / np.maximum(before, floor) >= ratio).sum()) / (len(sets) + 1)),
        p_time=conformal_p(values, n_treated, n_before),
        before_rmse=my_before,
        fit=my_before / max(float(np.sqrt((even[:n_before] ** 2).mean())), floor),
        treated=tuple(str(name) for name in names),
        confidence=confidence,
        start=first,
        end=last,
    )


def _placebo_sets(n_donors: int, size: int, most: int, random_state: int) -> list[tuple[int, ...]]:
    if comb(n_donors, size) <= most:
        return list(combinations(range(n_donors), size))
    rng = np.random.default_rng(random_state)
    found: set[tuple[int, ...]] = set()
    while len(found) < most:
        found.add(tuple(sorted(int(i) for i in rng.choice(n_donors, size, replace=False))))
    return sorted(found)


def _sizes(gaps: Floats, n_before: int) -> tuple[Floats, Floats, Floats]:
    """Return mean gap after, root mean square before and after, by row."""
    before, after = gaps[:, :n_before], gaps[:, n_before:]
    return after.mean(axis=1), np.sqrt((before**2).mean(axis=1)), np.sqrt((after**2).mean(axis=1))


def conformal_p(
    values: npt.ArrayLike,
    n_treated: int,
    n_before: int,
    *,
    shuffles: int | None = None,
    random_state: int = 0,
) -> float:
    """Return the p of no effect from moving the gaps in time.

    Parameters
    ----------
    values : array-like of shape (n_units, n_periods)
        Sales, the treated units first.
    n_treated, n_before : int
        Number of treated units; periods before the test.
    shuffles : int, optional
        Shuffle the periods so many times, as if they were independent. By default the gaps are shifted around the
        calendar, once for every period, which keeps what neighbouring periods have in common.
    random_state : int
        Seed of the shuffles.

    Notes
    -----
    The mix is fitted on all periods, as if there were no effect; the statistic is the mean size of the gaps in the
    test's place (Chernozhukov, Wüthrich and Zhu, 2021).
    """
    panel = np.asarray(values, dtype=float)
    centred = panel - panel.mean(axis=1, keepdims=True)
    target, pool = centred[:n_treated].mean(axis=0), centred[n_treated:]
    gap = np.abs(target - simplex_weights(target, pool.T) @ pool)
    if shuffles is None:
        moved = np.array([np.roll(gap, shift)[n_before:].sum() for shift in range(len(gap))])
    else:
        rng = np.random.default_rng(random_state)
        moved = np.array(
            [gap[n_before:].sum(), *(rng.permutation(gap)[n_before:].sum() for _ in range(shuffles))]
        )
    return float((moved >= moved[0] * (1 - 1e-12)).mean())
