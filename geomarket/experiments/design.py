"""The test that comes with a plan: matched pairs, drawn arms, and what they can see, before anything runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from geomarket.errors import NotSupportedError, TableError
from geomarket.experiments.intervals import change_words, paired_estimate
from geomarket.experiments.matching import match_units, matching_traits, near_units, trait_distances
from geomarket.experiments.panel import Panel, build_panel
from geomarket.experiments.power import minimum_detectable_effect, placebo_differences, power_of, power_table
from geomarket.results import Result

__all__ = ["CONTROL", "OUT", "TEST", "PairedDesign", "design_test"]

TEST, CONTROL, OUT = "test", "control", "out"

FEWEST_PAIRS = 3
JUDGED_SHARE = 1 / 3
"""Last share of the history that pairs matched on the rest are judged on."""


@dataclass(frozen=True)
class PairedDesign(Result):
    """A paired test, drawn and ready.

    Attributes
    ----------
    table : DataFrame
        One row per unit: the unit's column, arm ("test", "control", "out"), pair (number, missing where out), cell
        (missing where unknown), level (mean sales a period), near (arm that a unit left out is near to: "test",
        "control", "both" or ""), reason.
    pairs : DataFrame
        pair, test, control, distance (in traits), placebo_sd (of the pair's own placebo differences).
    power : DataFrame
        periods, pairs, sd, se, mde, power_wanted, power_expected, pairs_needed: what tests of several lengths and sizes
        would see. ``sd`` comes from pairs matched on the earlier history and judged on the later.
    placebo : DataFrame
        start, end (days, half open), estimate, low, high, p: the drawn arms on past periods in which nothing happened
        (A/A check).
    balance : DataFrame
        trait, test, control, gap (in standard deviations over all units): the arms before the test.
    unit, value : str
        Column of the units; what is measured.
    periods, baseline : int
        Length of the test, and of the stretch before it that the test is compared with.
    start : Timestamp or None
        First day the test may begin: the period after the history.
    wanted, expected, confidence, wanted_power : float
        Relative effect to be seen; relative effect the change is expected to have (NaN where unknown); level of the
        intervals; chance wanted.
    sd, mde, power_wanted, power_expected : float
        For this design and ``periods``.
    buffer_rings : int
        Rings of hexagons kept between any two units in the test.
    optimal : bool
        Whether the choice of pairs is proven best, to 1%, among alike partners.
    random_state : int
        Seed of the draw.
    """

    table: pd.DataFrame
    pairs: pd.DataFrame
    power: pd.DataFrame
    placebo: pd.DataFrame
    balance: pd.DataFrame
    unit: str
    value: str
    periods: int
    baseline: int
    start: pd.Timestamp | None
    wanted: float
    expected: float
    confidence: float
    wanted_power: float
    sd: float
    mde: float
    power_wanted: float
    power_expected: float
    buffer_rings: int
    optimal: bool
    random_state: int
    period: str = "week"

    @property
    def n_pairs(self) -> int:
        """Number of pairs."""
        return len(self.pairs)

    @property
    def visible(self) -> bool | None:
        """Whether the expected effect is seen with the power wanted; None where none is expected."""
        if not np.isfinite(self.expected):
            return None
        return bool(self.power_expected >= self.wanted_power)

    def periods_needed(self, effect: float) -> int | None:
        """Return the shortest length tried at which this number of pairs sees an effect; None where none does."""
        mine = self.power[self.power["pairs"] == self.n_pairs]
        enough = mine.loc[mine["mde"] <= effect, "periods"]
        return int(enough.min()) if len(enough) else None

    def summary(self) -> list[str]:
        """Say what the test can see, what is expected, and how the arms did when nothing happened."""
        what = f"{self.n_pairs} pairs over {self.periods} {self.period}s"
        lines = [
            f"{what} see a change of {self.value} of {self.mde:.1%} or more, {self.wanted_power:.0%} of the time "
            f"({self.confidence:.0%} interval)."
        ]
        lines.append(self._verdict())
        left = self.table.loc[self.table["arm"] == OUT, "reason"].value_counts()
        if len(left):
            lines.append(
                f"{int(left.sum())} left out: " + ", ".join(f"{why} ({n})" for why, n in left.items()) + "."
            )
        if len(self.placebo):
            found = int(((self.placebo["low"] > 0) | (self.placebo["high"] < 0)).sum())
            lines.append(
                f"On {len(self.placebo)} past stretches in which nothing happened, the arms differed {found} times by "
                f"more than their interval; {(1 - self.confidence) * len(self.placebo):.1f} are to be expected."
            )
        if not self.optimal:
            lines.append("The pairs come from a quick search, not proven best.")
        return lines

    def _verdict(self) -> str:
        span = f"{self.periods} {self.period}s"
        if self.visible is None:
            return f"No gain in {self.value} is expected in figures, so whether {span} suffice can't be said."
        if self.expected <= 0:
            return "The plan expects no gain: there is nothing to be seen."
        if self.visible:
            often = (
                "nearly always" if self.power_expected > 0.995 else f"{self.power_expected:.0%} of the time"
            )
            return f"The expected {change_words(self.expected)} can be seen in {span} ({often})."
        longer = self.periods_needed(self.expected)
        cure = (
            f"it takes {longer} {self.period}s"
            if longer is not None and longer > self.periods
            else "no length tried suffices with so few pairs"
        )
        return (
            f"The expected {change_words(self.expected)} can't be relied on to be seen in {span} (seen "
            f"{self.power_expected:.0%} of the time): {cure}."
        )

    def plot(self, ax: Any = None) -> Any:
        """Draw the smallest effect seen against the number of pairs, one line per length."""
        if ax is None:
            import matplotlib.pyplot as plt

            _, ax = plt.subplots(figsize=(6, 3.5), layout="constrained")
        for periods, mine in self.power.groupby("periods"):
            ax.plot(mine["pairs"], 100 * mine["mde"], marker="o", ms=3, label=f"{periods} {self.period}s")
        if np.isfinite(self.expected) and self.expected > 0:
            ax.axhline(100 * self.expected, color="#999999", lw=0.8)
        ax.axvline(self.n_pairs, color="#999999", lw=0.8, ls=":")
        ax.set_xlabel("pairs")
        ax.set_ylabel(f"smallest change of {self.value} seen, %")
        ax.legend(frameon=False)
        ax.spines[["top", "right"]].set_visible(False)
        return ax


def design_test(
    sales: pd.DataFrame,
    places: pd.DataFrame,
    features: pd.DataFrame | None = None,
    *,
    unit: str = "store_id",
    value: str = "revenue",
    eligible: Sequence[object] | None = None,
    footprints: pd.DataFrame | None = None,
    period: str = "week",
    periods: int = 13,
    lengths: Sequence[int] = (2, 4, 8, 13, 26),
    baseline: int = 26,
    wanted: float = 0.03,
    expected: float = float("nan"),
    confidence: float = 0.9,
    power: float = 0.8,
    buffer_rings: int = 2,
    max_pairs: int | None = None,
    random_state: int = 0,
) -> PairedDesign:
    """Pair alike units, draw test and control within each pair, and work out what the test can see.

    Units are stores, hexagons, or whatever has sales and a place. Pairs are alike in level, trend and season of their
    sales and in the features given; all units of the test are kept apart by a buffer of hexagons, so that no customer
    of a test unit is next door to a control unit, whichever way the arms fall.

    Parameters
    ----------
    sales : DataFrame
        ``unit``, period (date), ``value`` (money or units): history before the test. No row: nothing was sold.
    places : DataFrame
        ``unit`` and cell (int64), one row per unit: where it stands.
    features : DataFrame, optional
        Index the units, numeric columns: what else partners should be alike in.
    unit, value : str
        Columns.
    eligible : sequence, optional
        Units that may be in the test (those the plan changes); all by default.
    footprints : DataFrame, optional
        ``unit`` and cell, several rows per unit: the hexagons kept apart, such as core catchments; a unit's own
        hexagon by default.
    period : {"week", "month"}
        Grain of the sales.
    periods : int
        Length of the test.
    lengths : sequence of int
        Lengths in the power table; ``periods`` is added.
    baseline : int
        Periods before the test that it is compared with. Shortened where the history is short.
    wanted, expected : float
        Relative effects: the smallest that matters, and what the change is expected to bring.
    confidence, power : float
        Level of the two-sided interval; chance of seeing the effect.
    buffer_rings : int
        Rings of hexagons that must lie between two units' footprints.
    max_pairs : int, optional
        Most pairs; the most alike are kept.
    random_state : int
        Seed of the draw of arms.

    Returns
    -------
    PairedDesign
        The same for any order of the rows.

    Raises
    ------
    NotSupportedError
        If fewer than three pairs are possible, or the history is too short for the test.
    TableError
        If a table lacks a column, or a unit has two places.

    Notes
    -----
    Pairs and randomisation within them: Imai, King and Nall (2009), The essential role of pair matching in
    cluster-randomized experiments. The standard error is the standard deviation of pair differences over the root of
    their number; that deviation is taken from placebo tests on the last third of the history, with pairs matched on
    what came before, because pairs look more alike on the periods they were matched on than they will be.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> store = np.repeat([f"s{i:02d}" for i in range(12)], 60)
    >>> week = np.tile(pd.date_range("2023-01-02", periods=60, freq="7D"), 12)
    >>> sales = pd.DataFrame({"store_id": store, "period": week, "revenue": rng.lognormal(8, 0.05, 720)})
    >>> from geomarket.hexes import points_to_cells
    >>> cells = points_to_cells(np.arange(12), np.full(12, 50), 8)
    >>> places = pd.DataFrame({"store_id": np.unique(store), "cell": cells})
    >>> design = design_test(sales, places)
    >>> design.n_pairs, int((design.table["arm"] == "test").sum())
    (6, 6)
    """
    panel, places, left_out = _usable(sales, places, unit, value, eligible)
    year = 52 if period == "week" else 12
    baseline = min(baseline, max(len(panel.periods) - periods, 0), max(2 * len(panel.periods) // 3, 1))
    if baseline < 2 or periods < 1:
        raise NotSupportedError(
            f"measurement: {len(panel.periods)} {period}s of sales are too few for a test of {periods}; set a smaller "
            "[measurement] periods or give a longer history."
        )
    footprints = places if footprints is None else footprints[footprints[unit].isin(panel.units)]
    near = _near_matrix(near_units(footprints, unit, buffer_rings), panel.units, unit)
    chosen, optimal = _pairs_on(panel, features, year, near, max_pairs)
    if len(chosen) < FEWEST_PAIRS:
        raise NotSupportedError(
            f"measurement: {len(chosen)} pairs among {len(panel.units)} units with {buffer_rings} rings of hexagons "
            f"kept between them; a test needs at least {FEWEST_PAIRS}. Set a smaller [measurement] buffer_rings."
        )
    spread = _spread(panel, features, year, near, max_pairs, sorted({*lengths, periods}), baseline)
    order, pair_sd = _draw(panel, chosen, random_state), _pair_sd(panel, chosen, periods, baseline)
    traits = matching_traits(panel, features, year)
    sizes = sorted(
        {n for n in (3, 4, 6, 8, 10, 12, 15, 20, 30, 40, 60, 80, 120) if n <= 2 * len(order)} | {len(order)}
    )
    sd = float(spread.loc[periods])
    return PairedDesign(
        table=_unit_table(panel, places, left_out, order, near, unit),
        pairs=pd.DataFrame(
            {
                "pair": np.arange(1, len(order) + 1),
                "test": panel.units[order[:, 0]],
                "control": panel.units[order[:, 1]],
                "distance": trait_distances(traits)[order[:, 0], order[:, 1]],
                "placebo_sd": pair_sd,
            }
        ),
        power=power_table(spread, sizes, wanted, expected, confidence, power),
        placebo=_aa_check(panel, order, periods, baseline, confidence, random_state),
        balance=_balance(traits, order),
        unit=unit,
        value=value,
        periods=periods,
        baseline=baseline,
        start=_next_period(panel.periods, period),
        wanted=wanted,
        expected=float(expected),
        confidence=confidence,
        wanted_power=power,
        sd=sd,
        mde=minimum_detectable_effect(sd, len(order), confidence, power),
        power_wanted=power_of(wanted, sd, len(order), confidence),
        power_expected=power_of(expected, sd, len(order), confidence)
        if np.isfinite(expected)
        else float("nan"),
        buffer_rings=buffer_rings,
        optimal=optimal,
        random_state=random_state,
        period=period,
    )


def _usable(
    sales: pd.DataFrame, places: pd.DataFrame, unit: str, value: str, eligible: Sequence[object] | None
) -> tuple[Panel, pd.DataFrame, pd.DataFrame]:
    """Return the panel of units that can be compared, their places, and the others with the reason."""
    missing = [column for column in (unit, "cell") if column not in places]
    if missing:
        raise TableError(
            f"places: no column {', '.join(missing)}; it has {', '.join(map(str, places.columns))}."
        )
    # where hexagons are the units, the two are one column
    places = pd.DataFrame({unit: places[unit], "cell": places["cell"]})
    places = places.drop_duplicates().sort_values(unit, ignore_index=True)
    twice = places[unit].duplicated()
    if twice.any():
        raise TableError(
            f"places: {int(twice.sum())} units stand in two hexagons "
            f"({', '.join(map(str, places.loc[twice, unit][:3]))}); expected one row per unit."
        )
    panel = build_panel(sales, unit, value)
    placed = set(places[unit])
    asked = placed if eligible is None else set(eligible)
    thin = (panel.values <= 0).mean(axis=1) > 0.1
    reasons = {
        name: "without sales in more than one period of ten" for name, bad in zip(panel.units, thin) if bad
    }
    reasons |= dict.fromkeys(placed - set(panel.units), "without sales")
    reasons |= dict.fromkeys(placed - asked, "nothing changes there")
    good = panel.units[[name in placed and name not in reasons for name in panel.units]]
    left_out = pd.DataFrame({unit: sorted(placed & set(reasons))})
    left_out["reason"] = left_out[unit].map(reasons)
    # an empty column without a type would turn hexagons into floats, and lose their last digits
    left_out = left_out.astype({unit: places[unit].dtype})
    if len(good) < 2 * FEWEST_PAIRS:
        raise NotSupportedError(
            f"measurement: {len(good)} units can be in a test; it needs at least {2 * FEWEST_PAIRS} to make "
            f"{FEWEST_PAIRS} pairs."
        )
    return panel.take(good), places, left_out


def _near_matrix(near: pd.DataFrame, units: pd.Index, unit: str) -> npt.NDArray[np.bool_]:
    matrix = np.zeros((len(units), len(units)), dtype=bool)
    a, b = units.get_indexer(pd.Index(near[unit])), units.get_indexer(pd.Index(near["other"]))
    known = (a >= 0) & (b >= 0)
    matrix[a[known], b[known]] = True
    return matrix


def _pairs_on(
    panel: Panel,
    features: pd.DataFrame | None,
    year: int,
    near: npt.NDArray[np.bool_],
    max_pairs: int | None,
) -> tuple[npt.NDArray[np.int64], bool]:
    return match_units(trait_distances(matching_traits(panel, features, year)), near, max_pairs)


def _spread(
    panel: Panel,
    features: pd.DataFrame | None,
    year: int,
    near: npt.NDArray[np.bool_],
    max_pairs: int | None,
    lengths: Sequence[int],
    baseline: int,
) -> pd.Series:
    """Return the standard deviation of placebo differences by length, judged on periods not matched on.

    Lengths that the history has no room for are left out.
    """
    n_periods = len(panel.periods)
    split = round(n_periods * (1 - JUDGED_SHARE))
    early, _ = _pairs_on(panel.window(0, split), features, year, near, max_pairs)
    found = {}
    for length in lengths:
        if length + baseline > n_periods:
            continue
        differences = placebo_differences(
            panel.values[early[:, 0]], panel.values[early[:, 1]], length, baseline, split
        )
        # arms are drawn: differences have mean 0 over the draws, so their size counts from 0
        found[length] = float(np.sqrt(np.nanmean(differences**2)))
    return pd.Series(found, dtype=float)


def _pair_sd(
    panel: Panel, chosen: npt.NDArray[np.int64], periods: int, baseline: int
) -> npt.NDArray[np.float64]:
    differences = placebo_differences(
        panel.values[chosen[:, 0]], panel.values[chosen[:, 1]], periods, baseline
    )
    return np.sqrt(np.nanmean(differences**2, axis=1))


def _draw(panel: Panel, chosen: npt.NDArray[np.int64], random_state: int) -> npt.NDArray[np.int64]:
    """Return test and control of each pair: a coin's throw each."""
    heads = np.random.default_rng(random_state).integers(0, 2, len(chosen)).astype(bool)
    return np.where(heads[:, None], chosen, chosen[:, ::-1])


def _aa_check(
    panel: Panel, order: npt.NDArray[np.int64], periods: int, baseline: int, level: float, random_state: int
) -> pd.DataFrame:
    differences = placebo_differences(panel.values[order[:, 0]], panel.values[order[:, 1]], periods, baseline)
    n_tests = differences.shape[1]
    ends = [len(panel.periods) - periods * (n_tests - 1 - k) for k in range(n_tests)]
    rows = []
    for k, end in enumerate(ends):
        known = differences[np.isfinite(differences[:, k]), k]
        found = paired_estimate(known, level, random_state=random_state)
        rows.append(
            {
                "start": panel.periods[end - periods],
                "end": panel.periods[end - 1],
                "estimate": np.expm1(found.estimate),
                "low": np.expm1(found.low),
                "high": np.expm1(found.high),
                "p": found.p,
            }
        )
    return pd.DataFrame(rows)


def _balance(traits: pd.DataFrame, order: npt.NDArray[np.int64]) -> pd.DataFrame:
    spread = traits.std(ddof=0).replace(0, 1.0)
    test, control = (traits.iloc[order[:, k]].mean() / spread for k in (0, 1))
    return pd.DataFrame(
        {
            "trait": traits.columns,
            "test": test.to_numpy(),
            "control": control.to_numpy(),
            "gap": (test - control).to_numpy(),
        }
    )


def _unit_table(
    panel: Panel,
    places: pd.DataFrame,
    left_out: pd.DataFrame,
    order: npt.NDArray[np.int64],
    near: npt.NDArray[np.bool_],
    unit: str,
) -> pd.DataFrame:
    table = pd.DataFrame(
        {unit: panel.units, "arm": OUT, "pair": pd.array([pd.NA] * len(panel.units), "Int64")}
    )
    for k, arm in enumerate((TEST, CONTROL)):
        table.loc[order[:, k], "arm"] = arm
        table.loc[order[:, k], "pair"] = np.arange(1, len(order) + 1)
    beside = {arm: near[:, order[:, k]].any(axis=1) for k, arm in enumerate((TEST, CONTROL))}
    both = beside[TEST] & beside[CONTROL]
    table["near"] = np.select([both, beside[TEST], beside[CONTROL]], ["both", TEST, CONTROL], "")
    table["level"] = panel.values.mean(axis=1)
    table["reason"] = np.where(
        table["arm"] != OUT,
        "",
        np.where(table["near"] != "", "too near to a store of the test", "no alike partner left"),
    )
    if unit != "store_id":
        table["reason"] = table["reason"].str.replace("a store", "a unit")
    others = left_out.assign(arm=OUT, near="", level=np.nan)
    table = pd.concat([table, others], ignore_index=True).merge(places, on=unit, how="left")
    columns = [unit, "arm", "pair", "cell", "level", "near", "reason"]
    return table[list(dict.fromkeys(columns))].sort_values(unit, ignore_index=True)


def _next_period(periods: pd.DatetimeIndex, period: str) -> pd.Timestamp:
    return periods[-1] + (pd.Timedelta(days=7) if period == "week" else pd.DateOffset(months=1))
