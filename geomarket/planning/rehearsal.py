"""The rehearsal: ranges planned on one part of the periods, and judged on another, against today's.

What planned ranges earn by the forecasts they were chosen by is flattering: the winners were picked for their
forecasts. So the plan is made once more, with the same rules and store clusters, from the frontier's planning fold
alone, and valued by forecasts from its reporting fold alone, beside today's ranges valued the same way.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import norm
from scipy.stats import t as student

from geomarket.assortment import RangePlan
from geomarket.assortment.pairs import Pairs
from geomarket.assortment.valuation import range_margins_of
from geomarket.demand import Demand, NewListingDiscount
from geomarket.planning.range_jobs import RangeJobs
from geomarket.planning.ranging import RangeBrief, find_ranges, ready_forecasts
from geomarket.results import Result

__all__ = ["STEPS", "Rehearsal", "ranges_of", "rehearse"]

_log = logging.getLogger(__name__)

STEPS = ("today", "first phase", "all phases", "whole plan")
"""Ranges compared: today's, after the first phase, after all phases, and with what waits."""

NO_SUBSTITUTION = (
    "No buyer is taken to switch to another SKU, as the sales can't tell it: what the gain of new listings takes from "
    "SKUs beside them is not taken off, so the gain is an upper bound."
)


@dataclass(frozen=True)
class Rehearsal(Result):
    """What planning brings on periods that were not planned on.

    Attributes
    ----------
    table : DataFrame
        ranges ("today", "first phase", "all phases", "whole plan" with what waits), margin, gain, low, high (money a
        year, on the reporting periods; 90%), gain_share, low_share, high_share (of today's margin), claimed,
        claimed_share (gain by the forecasts the ranges were chosen by: in sample), listed (what the new listings
        earn, by forecasts of SKUs the stores don't carry), delisted (what the delisted SKUs earned), changes.
    categories : DataFrame
        category and, for all phases, today, gain, low, high, gain_share.
    stores : DataFrame
        store_id, store_cluster, one column of money a year for each step.
    notes : tuple of str
        What the comparison can't show.
    currency : str
    """

    table: pd.DataFrame
    categories: pd.DataFrame
    stores: pd.DataFrame
    notes: tuple[str, ...]
    currency: str = ""

    def summary(self) -> list[str]:
        """Say what the first phase and all phases bring, on what it rests, and what the forecasts had promised."""
        rows = self.table.set_index("ranges")
        first, every = rows.loc["first phase"].to_dict(), rows.loc["all phases"].to_dict()
        bound = " at most" if NO_SUBSTITUTION in self.notes else ""
        lines = [
            f"Ranges planned on one part of the periods and valued on another bring{bound} "
            f"{self._money(every['gain'])} a year more than today's ({every['gain_share']:+.1%}; 90% interval "
            f"{every['low_share']:+.1%} to {every['high_share']:+.1%}), {self._money(first['gain'])} "
            f"({first['gain_share']:+.1%}) of it from the first phase of changes.",
            f"New listings earn {self._money(every['listed'])} by forecasts of SKUs their stores do not carry, and "
            f"{self._money(every['delisted'])} of today's margin is given up: only a trial can prove the first.",
            f"The forecasts the ranges were chosen by claim {every['claimed_share']:+.1%}: in sample, and flattering.",
        ]
        return [*lines, *self.notes]

    def by_cluster(self) -> pd.DataFrame:
        """Return store_cluster, today, gain, low, high (money a year, all phases) and shares; 90% over stores."""
        rows = []
        for code, stores in self.stores.groupby("store_cluster", sort=True):
            today = float(stores["today"].sum())
            gain, error = _sum_and_error((stores["all phases"] - stores["today"]).to_numpy())
            rows.append(
                {
                    "store_cluster": code,
                    "stores": len(stores),
                    "today": today,
                    **_interval(gain, error, today),
                }
            )
        return pd.DataFrame(rows)

    def _money(self, amount: float) -> str:
        sign = "−" if round(amount) < 0 else ""
        return f"{sign}{self.currency}{abs(amount):,.0f}"

    def plot(self, ax: Any = None) -> Any:
        """Draw the gain over today's ranges after each step, with its interval, beside what was claimed."""
        import matplotlib.pyplot as plt

        axes = plt.subplots(figsize=(6, 3), layout="constrained")[1] if ax is None else ax
        rows = self.table.iloc[1:]
        place = np.arange(len(rows))
        error = np.abs(np.vstack([rows["gain"] - rows["low"], rows["high"] - rows["gain"]]))
        axes.barh(place, 100 * rows["gain_share"], color="#2a6f97", label="on other periods")
        axes.errorbar(
            100 * rows["gain_share"],
            place,
            xerr=100 * error / self.table["margin"].iloc[0],
            fmt="none",
            color="0.2",
            capsize=3,
        )
        axes.plot(100 * rows["claimed_share"], place, "o", mfc="none", color="0.5", label="claimed in sample")
        axes.set_yticks(place, rows["ranges"])
        axes.invert_yaxis()
        axes.set_xlabel("gain over today's ranges, %")
        axes.legend(frameon=False, loc="lower left", bbox_to_anchor=(0.0, 1.0), ncols=2)
        axes.spines[["top", "right"]].set_visible(False)
        return axes


def rehearse(
    fits: Sequence[Demand],
    brief: RangeBrief,
    discount: NewListingDiscount | None = None,
    run: RangeJobs | None = None,
) -> Rehearsal:
    """Plan on the first fold, with the plan's own rules and store clusters, and value it on the last.

    Parameters
    ----------
    fits : sequence of Demand
        Forecasts from each fold alone (:func:`geomarket.frontier.fold_demand`); the first is planned on, the last
        reported on.
    brief : RangeBrief
        As of the plan.
    discount : NewListingDiscount, optional
        The one the forecasts carry: its error is in the intervals.
    run : RangeJobs, optional
        Does the categories.

    Returns
    -------
    Rehearsal

    Notes
    -----
    Intervals: stores are taken as independent (Student's t over their gains), and the new-listing discount as off by
    the same share for all new listings; both are added as variances. A plan made on all periods will do somewhat better
    than this one, made on a third of them.
    """
    planned = find_ranges(fits[0].table, brief, run, rehearsed=True)
    ranges = ranges_of(planned)
    del planned
    year = brief.market.periods_per_year
    values = {}
    for name, which in (("claimed", 0), ("reported", -1)):
        demand, substitutes = ready_forecasts(fits[which].table, brief)
        values[name] = range_margins_of(demand, ranges, substitutes)
        if name == "reported":
            moved = _moved(demand, ranges, year)
        del demand
    discount_error = float(discount.table["se"].iloc[0]) if discount is not None else 0.0
    money = _by_store(values["reported"], year)
    claimed = _by_store(values["claimed"], year)
    rows = []
    for step in STEPS:
        by_store = (money[step] - money["today"]).to_numpy()
        listed, delisted = moved[step]
        gain, error = _sum_and_error(by_store)
        error = float(np.hypot(error, norm.ppf(0.95) * discount_error * listed))
        today, promise = float(money["today"].sum()), float((claimed[step] - claimed["today"]).sum())
        rows.append(
            {
                "ranges": step,
                "margin": float(money[step].sum()),
                **_interval(gain, error, today),
                "claimed": promise,
                "claimed_share": promise / float(claimed["today"].sum()),
                "listed": listed,
                "delisted": delisted,
                "changes": _changes(ranges["today"], ranges[step]),
            }
        )
    clusters = money.index.to_series().map(brief.clusters).rename("store_cluster")
    stores = pd.concat([clusters, money[list(STEPS)]], axis=1).rename_axis("store_id").reset_index()
    rehearsal = Rehearsal(
        pd.DataFrame(rows),
        _categories(values["reported"], year),
        stores,
        _notes(discount, brief.transference is not None),
        brief.market.currency,
    )
    _log.info("rehearsal: %s", rehearsal.summary()[0])
    return rehearsal


def ranges_of(plan: RangePlan) -> dict[str, pd.DataFrame]:
    """Return the ranges today, after the first phase, after all phases and of the whole plan: store_id, sku."""
    return {step: plan.shelf(step) for step in STEPS}


def _changes(before: pd.DataFrame, after: pd.DataFrame) -> int:
    """Count the pairs of store and SKU that are in one of two ranges alone."""
    one, other = (pd.MultiIndex.from_frame(shelf).unique() for shelf in (before, after))
    return len(one) + len(other) - 2 * int(one.isin(other).sum())


def _moved(
    demand: pd.DataFrame, ranges: dict[str, pd.DataFrame], year: float
) -> dict[str, tuple[float, float]]:
    """Return what new listings earn, and what delisted SKUs earned, by their own demand (money a year)."""
    pairs = Pairs(demand)
    there = {step: pairs.among(listed) for step, listed in ranges.items()}
    margin = demand["margin"].fillna(0.0).to_numpy() * year
    today = there["today"]
    return {
        step: (float(margin[later & ~today].sum()), float(margin[today & ~later].sum()))
        for step, later in there.items()
    }


def _by_store(values: dict[str, pd.DataFrame], year: float) -> pd.DataFrame:
    return pd.DataFrame(
        {step: frame.groupby("store_id")["margin"].sum() * year for step, frame in values.items()}
    )


def _sum_and_error(by_store: np.ndarray) -> tuple[float, float]:
    """Return the sum over stores and the half width of its 90% interval."""
    n = by_store.size
    if n < 2:
        return float(by_store.sum()), float("nan")
    return float(by_store.sum()), float(student.ppf(0.95, n - 1) * np.sqrt(n * by_store.var(ddof=1)))


def _interval(gain: float, error: float, today: float) -> dict[str, float]:
    ends = {"gain": gain, "low": gain - error, "high": gain + error}
    share = {f"{name}_share": value / today if today > 0 else float("nan") for name, value in ends.items()}
    return ends | share


def _categories(values: dict[str, pd.DataFrame], year: float) -> pd.DataFrame:
    both = values["today"].merge(values["all phases"], on=["store_id", "category"], suffixes=("", "_after"))
    rows = []
    for category, mine in both.groupby("category", sort=True):
        today = float(mine["margin"].sum()) * year
        gain, error = _sum_and_error(((mine["margin_after"] - mine["margin"]) * year).to_numpy())
        rows.append({"category": category, "today": today, **_interval(gain, error, today)})
    return pd.DataFrame(rows)


def _notes(discount: NewListingDiscount | None, substitution: bool) -> tuple[str, ...]:
    notes = [] if substitution else [NO_SUBSTITUTION]
    notes += [
        "The rehearsal takes chance out, not what forecasts get wrong in every period alike: what a SKU would sell "
        "where it never stood is a forecast in the judging periods too."
    ]
    if discount is None:
        notes.append(
            "Forecasts of unlisted SKUs carry no new-listing discount: the gain is unvalidated and runs high."
        )
    return tuple(notes)
