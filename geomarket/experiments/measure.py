"""What a paired test found: lift, money, return, and what spilt over to the neighbours."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from geomarket.errors import NotSupportedError, TableError
from geomarket.experiments.design import CONTROL, OUT, TEST
from geomarket.experiments.intervals import change_words, paired_estimate
from geomarket.experiments.panel import Panel, build_panel
from geomarket.results import Result

__all__ = ["KPIS", "PairedLift", "measure_pairs"]

Day = str | dt.date | pd.Timestamp

KPIS = ("units", "revenue", "margin")
"""What is measured where the sales have it."""


@dataclass(frozen=True)
class PairedLift(Result):
    """What a test found.

    Attributes
    ----------
    table : DataFrame
        kpi, lift, se, low, high, p (Student's t), flip_low, flip_high, flip_p (sign flips), pairs, groups, actual (of
        the test units over the test), incremental, incremental_low, incremental_high (same unit). Lifts are relative
        (0.03: 3%); ``se`` is on the log scale.
    pairs : DataFrame
        One row per pair and kpi: pair, test, control, kpi, before_test, after_test, before_control, after_control
        (means a period), difference (of logs: the test unit's change less its partner's).
    path : DataFrame
        kpi, period, gap: mean over pairs of log test less log control, with each pair's gap before the test taken off.
    spillover : DataFrame
        compared (what with what), kpi, change, low, high, near, far (numbers of units): change of units left out that
        lie next to test units, against those next to control units, or next to neither.
    dropped : DataFrame
        pair, reason: pairs that could not be used.
    roi : dict
        cost, incremental_margin, roi, low, high; empty without a cost or a margin.
    start, end : Timestamp
        The test, half open: ``end`` is the first day after it.
    n_periods, baseline : int
        Periods of the test, and before it.
    confidence : float
        Level of the intervals.
    kpi : str
        The one the sentence is about.
    """

    table: pd.DataFrame
    pairs: pd.DataFrame
    path: pd.DataFrame
    spillover: pd.DataFrame
    dropped: pd.DataFrame
    roi: dict[str, float]
    start: pd.Timestamp
    end: pd.Timestamp
    n_periods: int
    baseline: int
    confidence: float
    kpi: str
    period: str = "week"
    currency: str = ""
    unit: str = "store_id"

    @property
    def main(self) -> dict[str, Any]:
        """The row of the table that the sentence is about."""
        row = self.table[self.table["kpi"] == self.kpi].iloc[0]
        return {str(name): value for name, value in row.items()}

    @property
    def sentence(self) -> str:
        """The finding in one sentence."""
        row = self.main
        span = f"in {self.n_periods} {self.period}s"
        what = "stores" if self.unit == "store_id" else "units"
        interval = f"{self.confidence:.0%} interval {change_words(row['low'])} to {change_words(row['high'])}"
        money = self._amount(row["incremental"])
        if row["low"] > 0 or row["high"] < 0:
            way = "more" if row["lift"] > 0 else "less"
            return (
                f"{int(row['pairs'])} test {what} made {abs(row['lift']):.1%} {way} {self.kpi} than their partners "
                f"({interval}), {money} {span}."
            )
        return (
            f"No difference in {self.kpi} can be told between {int(row['pairs'])} test {what} and their partners: "
            f"{change_words(row['lift'])} ({interval}) {span}."
        )

    def summary(self) -> list[str]:
        """Say what the change brought, whether it paid, and what it did to the neighbours."""
        lines = [self.sentence]
        if self.roi:
            low, high = self.roi["low"], self.roi["high"]
            lines.append(
                f"Every {self.currency or 'unit of money '}1 spent brought back {_figure(self.roi['roi'] + 1)} of "
                f"margin ({self.confidence:.0%} interval {_figure(low + 1)} to {_figure(high + 1)})."
            )
        row = self.main
        if np.isfinite(row["flip_low"]):
            agrees = (row["low"] > 0 or row["high"] < 0) == (row["flip_low"] > 0 or row["flip_high"] < 0)
            if not agrees:
                lines.append(
                    "Sign flips, which assume less, do not bear out Student's t: their interval is "
                    f"{change_words(row['flip_low'])} to {change_words(row['flip_high'])}. Take the finding as open."
                )
        lines.append(self._spilt())
        if len(self.dropped):
            lines.append(f"{len(self.dropped)} pairs could not be used; see dropped.")
        return lines

    def _spilt(self) -> str:
        what = "stores" if self.unit == "store_id" else "units"
        mine = self.spillover[self.spillover["kpi"] == self.kpi]
        if mine.empty:
            return (
                f"Whether sales moved over from neighbours can't be told: too few {what} next to test {what}."
            )
        row = mine.iloc[0]
        clear = row["low"] > 0 or row["high"] < 0
        told = "changed" if clear else "did not change by more than chance"
        return (
            f"{what.capitalize()} next to test {what} {told} against those {row['compared']}: "
            f"{change_words(row['change'])} ({self.confidence:.0%} interval {change_words(row['low'])} to "
            f"{change_words(row['high'])})."
        )

    def _amount(self, value: float) -> str:
        sign = "−" if value < 0 else ""
        if self.kpi == "units":
            return f"about {sign}{abs(value):,.0f} units"
        return f"about {sign}{self.currency}{abs(value):,.0f}"

    def plot(self, ax: Any = None) -> Any:
        """Draw the gap between test and control by period, before and during the test."""
        if ax is None:
            import matplotlib.pyplot as plt

            _, ax = plt.subplots(figsize=(7, 3.5), layout="constrained")
        mine = self.path[self.path["kpi"] == self.kpi]
        ax.plot(mine["period"], 100 * np.expm1(mine["gap"]), color="#0B6663")
        ax.axvline(self.start, color="#999999", lw=0.8)
        ax.axhline(0, color="#999999", lw=0.8)
        ax.set_ylabel(f"{self.kpi}, test over control, %")
        ax.spines[["top", "right"]].set_visible(False)
        return ax


def measure_pairs(
    design: pd.DataFrame,
    sales: pd.DataFrame,
    start: Day,
    end: Day | None = None,
    *,
    unit: str = "store_id",
    kpis: Sequence[str] = KPIS,
    kpi: str | None = None,
    baseline: int = 26,
    cost: float | None = None,
    clusters: pd.Series | None = None,
    confidence: float = 0.9,
    period: str = "week",
    currency: str = "",
    random_state: int = 0,
) -> PairedLift:
    """Measure a paired test by difference in differences, one row per pair.

    For each pair, the log of the test unit's mean sales during the test less before it, less the same of its partner.
    Periods are averaged first: treating each period as an observation of its own makes intervals far too narrow,
    because a unit's good and bad spells last (Bertrand, Duflo and Mullainathan, 2004, How much should we trust
    differences-in-differences estimates?).

    Parameters
    ----------
    design : DataFrame
        ``unit``, arm, pair, near: :attr:`PairedDesign.table`, or your own.
    sales : DataFrame
        ``unit``, period (date) and any of units, revenue, margin: before and during the test.
    start, end : date
        The test, half open; to the last period where ``end`` is not given.
    unit : str
        Column of the units.
    kpis : sequence of str
        Columns measured, where the sales have them.
    kpi : str, optional
        The one the sentence is about; margin, else revenue, else the first.
    baseline : int
        Periods before the test it is compared with; fewer where the sales begin later.
    cost : float, optional
        Money the change cost over the test in all test units together; gives the return.
    clusters : Series, optional
        Index the pairs: pairs of one cluster share what happens to them, and the interval counts clusters.
    confidence : float
        Level of the intervals.
    period : {"week", "month"}
        For the words.
    currency : str
        For the words.
    random_state : int
        Seed of the sign flips.

    Returns
    -------
    PairedLift

    Raises
    ------
    TableError
        If a column is missing, or no period lies before or in the test.
    NotSupportedError
        If fewer than two pairs can be used.

    Notes
    -----
    The lift is the geometric mean over pairs: each pair counts alike. Incremental amounts apply it to what the test
    units sold: actual × (1 − 1 / (1 + lift)); they assume that the lift does not go with the unit's size.

    Examples
    --------
    >>> store = ["a", "b", "c", "d"]
    >>> design = pd.DataFrame({"store_id": store, "arm": ["test", "control"] * 2, "pair": [1, 1, 2, 2], "near": ""})
    >>> sales = pd.DataFrame({"store_id": store * 2, "period": ["2024-01-01"] * 4 + ["2024-01-08"] * 4,
    ...                       "revenue": [100.0, 50, 80, 40, 110, 50, 90, 40]})
    >>> found = measure_pairs(design, sales, "2024-01-08")
    >>> found.table[["lift", "incremental"]].round(3).values.tolist()
    [[0.112, 20.213]]
    """
    present = [name for name in kpis if name in sales]
    if not present:
        raise TableError(
            f"sales: none of the columns {', '.join(kpis)}; it has {', '.join(map(str, sales.columns))}."
        )
    missing = [name for name in (unit, "arm", "pair") if name not in design]
    if missing:
        raise TableError(
            f"design: no column {', '.join(missing)}; it has {', '.join(map(str, design.columns))}."
        )
    window = _Window.of(sales, start, end, baseline)
    members = _members(design, unit)
    rows, lines, paths, spills = [], [], [], []
    dropped: dict[Any, str] = {}
    for name in present:
        if sales[name].isna().all():
            continue
        panel = build_panel(sales.dropna(subset=[name]), unit, name)
        frame, why = _changes(panel, members, window)
        dropped |= why
        if len(frame) < 2:
            continue
        lines.append(frame.assign(kpi=name))
        groups = None if clusters is None else frame["pair"].map(clusters).to_numpy()
        rows.append(_row(name, frame, groups, confidence, random_state, window.n))
        paths.append(_path(panel, frame, window).assign(kpi=name))
        spills.append(_spillover(panel, design, unit, window, confidence).assign(kpi=name))
    if not rows:
        raise NotSupportedError(
            f"{len(members)} pairs, of which fewer than two sold something in all their units before and during the "
            f"test ({'; '.join(sorted(set(dropped.values()))) or 'no pair in the design'}). Check start, end and ids."
        )
    table = pd.DataFrame(rows)
    measured = table["kpi"].tolist()
    main = next((k for k in (kpi, "margin", "revenue", *measured) if k in measured), measured[0])
    pair_columns = [
        "pair",
        "test",
        "control",
        "kpi",
        "before_test",
        "after_test",
        "before_control",
        "after_control",
    ]
    return PairedLift(
        table=table,
        pairs=pd.concat(lines, ignore_index=True)[[*pair_columns, "difference"]],
        path=pd.concat(paths, ignore_index=True)[["kpi", "period", "gap"]],
        spillover=pd.concat(spills, ignore_index=True),
        dropped=pd.DataFrame({"pair": list(dropped), "reason": list(dropped.values())}),
        roi=_roi(table, cost),
        start=window.start,
        end=window.end,
        n_periods=window.n,
        baseline=window.n_before,
        confidence=confidence,
        kpi=main,
        period=period,
        currency=currency,
        unit=unit,
    )


@dataclass(frozen=True)
class _Window:
    """Periods before and in the test."""

    before: pd.DatetimeIndex
    during: pd.DatetimeIndex
    start: pd.Timestamp
    end: pd.Timestamp

    @property
    def n(self) -> int:
        return len(self.during)

    @property
    def n_before(self) -> int:
        return len(self.before)

    @classmethod
    def of(cls, sales: pd.DataFrame, start: Day, end: Day | None, baseline: int) -> _Window:
        days = pd.DatetimeIndex(
            pd.to_datetime(sales["period"]).astype("datetime64[ns]").unique()
        ).sort_values()
        first = pd.Timestamp(start)
        last = pd.Timestamp(end) if end is not None else days[-1] + pd.Timedelta(days=1)
        before, during = days[days < first][-baseline:], days[(days >= first) & (days < last)]
        if not len(before) or not len(during):
            raise TableError(
                f"sales: {len(before)} periods before {first.date()} and {len(during)} from then to {last.date()}; "
                f"both are needed. The table runs from {days[0].date()} to {days[-1].date()}."
            )
        return cls(before, during, first, last)

    def means(self, panel: Panel) -> tuple[np.ndarray, np.ndarray]:
        """Mean a period of each unit, before and during the test; a period without a row is 0."""
        old = panel.values[:, panel.periods.isin(self.before)].sum(axis=1) / self.n_before
        new = panel.values[:, panel.periods.isin(self.during)].sum(axis=1) / self.n
        return old, new


def _members(design: pd.DataFrame, unit: str) -> pd.DataFrame:
    """Return pair, test, control."""
    inside = design[design["arm"].isin([TEST, CONTROL])]
    twice = inside.duplicated(["pair", "arm"])
    if twice.any():
        raise TableError(
            f"design: pairs {', '.join(map(str, inside.loc[twice, 'pair'].unique()[:3]))} have two units in one arm; "
            "expected one test and one control unit each."
        )
    wide = inside.pivot(index="pair", columns="arm", values=unit).reindex(columns=[TEST, CONTROL])
    return wide.dropna().rename_axis(columns=None).reset_index()


def _changes(panel: Panel, members: pd.DataFrame, window: _Window) -> tuple[pd.DataFrame, dict[Any, str]]:
    """Return one row per usable pair, and why others are not."""
    old, new = window.means(panel)
    frame = members.copy()
    for arm in (TEST, CONTROL):
        place = panel.units.get_indexer(pd.Index(frame[arm]))
        known = place >= 0
        frame[f"before_{arm}"] = np.where(known, old[place], 0.0)
        frame[f"after_{arm}"] = np.where(known, new[place], 0.0)
    dropped: dict[Any, str] = {}
    for stage, words in (("before", "before the test"), ("after", "during the test")):
        for arm in (TEST, CONTROL):
            empty = frame[f"{stage}_{arm}"] <= 0
            for row in frame[empty].itertuples():
                dropped.setdefault(row.pair, f"{getattr(row, arm)} sold nothing {words}")
    frame = frame[~frame["pair"].isin(list(dropped))].reset_index(drop=True)
    frame["difference"] = np.log(frame["after_test"] / frame["before_test"]) - np.log(
        frame["after_control"] / frame["before_control"]
    )
    return frame, dropped


def _row(
    name: str, frame: pd.DataFrame, groups: Any, confidence: float, random_state: int, n_periods: int
) -> dict[str, Any]:
    found = paired_estimate(frame["difference"], confidence, groups, random_state)
    actual = float(frame["after_test"].sum()) * n_periods
    incremental = {
        key: actual * -np.expm1(-value)
        for key, value in (
            ("incremental", found.estimate),
            ("incremental_low", found.low),
            ("incremental_high", found.high),
        )
    }
    return {
        "kpi": name,
        "lift": float(np.expm1(found.estimate)),
        "se": found.se,
        "low": float(np.expm1(found.low)),
        "high": float(np.expm1(found.high)),
        "p": found.p,
        # without end on the log scale is no bound, not a loss of everything
        "flip_low": float(np.expm1(found.flip_low)) if np.isfinite(found.flip_low) else -np.inf,
        "flip_high": float(np.expm1(found.flip_high)),
        "flip_p": found.flip_p,
        "pairs": len(frame),
        "groups": found.groups,
        "actual": actual,
        **incremental,
    }


def _path(panel: Panel, frame: pd.DataFrame, window: _Window) -> pd.DataFrame:
    days = window.before.append(window.during)
    column = panel.periods.get_indexer(days)
    logs = {}
    for arm in (TEST, CONTROL):
        values = panel.values[panel.units.get_indexer(pd.Index(frame[arm]))]
        values = np.where(column >= 0, values[:, column], 0.0)
        logs[arm] = np.log(np.where(values > 0, values, np.nan))
    level = np.log(frame["before_test"].to_numpy() / frame["before_control"].to_numpy())
    gap = logs[TEST] - logs[CONTROL] - level[:, None]
    known = np.isfinite(gap)
    total = np.where(known, gap, 0.0).sum(axis=0)
    mean = np.divide(total, known.sum(axis=0), out=np.full(len(days), np.nan), where=known.any(axis=0))
    return pd.DataFrame({"period": days, "gap": mean})


def _spillover(
    panel: Panel, design: pd.DataFrame, unit: str, window: _Window, confidence: float
) -> pd.DataFrame:
    """Compare the change of units left out next to test units with that of others left out (Welch's t)."""
    columns = ["compared", "change", "low", "high", "near", "far"]
    if "near" not in design:
        return pd.DataFrame(columns=columns)
    old, new = window.means(panel)
    with np.errstate(divide="ignore", invalid="ignore"):
        change = pd.Series(np.log(new / old), index=panel.units).replace([np.inf, -np.inf], np.nan)
    out = design[design["arm"] == OUT]
    side = out["near"].fillna("").astype("str")
    mine = out[unit].map(change)
    near = mine[side == TEST].dropna()
    what = "stores" if unit == "store_id" else "units"
    rows = []
    for word, others in (
        (f"next to control {what}", mine[side == CONTROL].dropna()),
        ("next to neither", mine[side == ""].dropna()),
    ):
        if len(near) < 2 or len(others) < 2:
            continue
        test = stats.ttest_ind(near, others, equal_var=False)
        edge = test.confidence_interval(confidence)
        rows.append(
            (
                word,
                float(np.expm1(near.mean() - others.mean())),
                float(np.expm1(edge.low)),
                float(np.expm1(edge.high)),
                len(near),
                len(others),
            )
        )
    return pd.DataFrame(rows, columns=columns)


def _figure(value: float) -> str:
    return f"{value:.2f}".replace("-", "−")


def _roi(table: pd.DataFrame, cost: float | None) -> dict[str, float]:
    margin = table[table["kpi"] == "margin"]
    if cost is None or not cost > 0 or margin.empty:
        return {}
    row = margin.iloc[0]
    return {
        "cost": float(cost),
        "incremental_margin": float(row["incremental"]),
        "roi": float(row["incremental"] / cost - 1),
        "low": float(row["incremental_low"] / cost - 1),
        "high": float(row["incremental_high"] / cost - 1),
    }
