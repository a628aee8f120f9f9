"""Plan the ranges of all store clusters, category by category."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from geomarket.amounts import as_money
from geomarket.assortment.data import SKIPPED_COLUMNS, RangeInputs, category_problem
from geomarket.assortment.optimise import solve_ranges
from geomarket.assortment.phases import WAITS, deal_phases, phase_name
from geomarket.assortment.range_tables import (
    CHANGE_COLUMNS,
    LINE_COLUMNS,
    PHASE_COLUMNS,
    SPACE_COLUMNS,
    Outcome,
    change_table,
    line_table,
    margin_steps,
    space_table,
)
from geomarket.assortment.rules import RangeRules
from geomarket.assortment.solving import SolverOptions, SolverResult
from geomarket.assortment.worker import SolverProcess
from geomarket.errors import SettingsError, SolverError, TableError
from geomarket.results import Result

__all__ = ["CategoryJob", "CategoryPart", "RangePlan", "plan_category", "plan_ranges"]

_log = logging.getLogger(__name__)

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class RangePlan(Result):
    """Ranges by store cluster and what they change in each store.

    Attributes
    ----------
    table : DataFrame
        One row per store cluster and SKU that is planned or listed today: store_cluster, category, tier, sku, name,
        scope, status, stores, stores_planned, stores_today, facings, units, margin, low, high, margin_low,
        margin_high, units_transferred, width_cm, lift, rank, reason.

        ``tier``: the smallest planogram that lists it ("all" where every size does, "none" where none does).
        ``scope``: "national" where every cluster with space lists it, else "local".
        ``status``: "keep" if planned and listed today by at least half of the stores planned, "list" if planned
        and listed by fewer, "delist" if not planned.
        ``facings``: in the cluster's largest planogram.
        ``units``, ``margin`` a period, summed over the stores that are to list it (for a delisting: that list it
        today), with what moves to it from SKUs not listed (``units_transferred``, part of units). ``low``, ``high``:
        bounds of the units, and ``margin_low``, ``margin_high`` of the margin: the stores' 90% bounds added up, hence
        wider than 90% unless the stores err together; what moves over counts as expected.
        ``lift``: the SKU's share of the cluster's expected units in the category, over its share in the chain.
        ``rank``: place in the cluster by expected margin per space, 1 the best.
    changes : DataFrame
        store_id, store_cluster, category, tier (the store's planogram size), sku, action ("list", "delist",
        "keep"), when ("phase 1" …, "waits", "stays"), facings, units, margin (that store's, per period; of a
        delisting what it brings today), reason.
    solver : DataFrame
        category, status, objective, bound, lp_bound, gap, seconds, columns, rows, constraints_checked,
        worst_violation. The objective is the margin less the costs in the rules. ``seconds`` differ from run to run.
    spaces : DataFrame
        store_cluster, category, tier, stores, capacity, used, unit, today_low, today_high (least and most space of
        its stores today), margin_today, margin (per period, by the same forecasts).
    planograms : DataFrame
        store_id, store_cluster, category, tier: which size each store uses.
    checks : DataFrame
        category, rule, checked, worst_violation: every rule recomputed outside the solver.
    skipped : DataFrame
        store_id, category, sku, reason: what could not be planned.
    phases : DataFrame
        phase ("today", "phase 1" …, "waits"), stores, listings, delistings, their median and largest number
        in a store, margin (per period once the phase is done, by the same forecasts).
    rules : RangeRules
    period : str
        What units and margin are counted in ("week", "month").
    currency : str
        Sign money is written with.
    """

    table: pd.DataFrame
    changes: pd.DataFrame
    solver: pd.DataFrame
    spaces: pd.DataFrame
    planograms: pd.DataFrame
    checks: pd.DataFrame
    skipped: pd.DataFrame
    rules: RangeRules
    period: str = "period"
    currency: str = ""
    phases: pd.DataFrame = field(default_factory=lambda: pd.DataFrame(columns=PHASE_COLUMNS))

    def shelf(self, step: str = "first phase") -> pd.DataFrame:
        """Return what stands in each store after a step.

        Parameters
        ----------
        step : {"today", "first phase", "all phases", "whole plan"}
            "all phases" leaves out what waits, "whole plan" does not.

        Returns
        -------
        DataFrame
            store_id, sku.

        Raises
        ------
        SettingsError
            If there is no such step.
        """
        when = self.changes["when"]
        steps = {
            "today": when != when,
            "first phase": when == phase_name(1),
            "all phases": when.str.startswith("phase"),
            "whole plan": when == when,
        }
        if step not in steps:
            raise SettingsError(f"shelf: step {step!r} is not supported. Use {', '.join(map(repr, steps))}.")
        action, made = self.changes["action"], steps[step]
        there = (action == "keep") | ((action == "list") & made) | ((action == "delist") & ~made)
        return self.changes.loc[there, ["store_id", "sku"]].reset_index(drop=True)

    def summary(self) -> list[str]:
        """Say what changes, when, how surely the ranges are the best, and last what the forecasts promise."""
        actions = self.changes["action"].value_counts()
        n_stores = max(1, self.planograms["store_id"].nunique())
        lines = [
            f"{int(actions.get('list', 0)):,} listings and {int(actions.get('delist', 0)):,} delistings over "
            f"{n_stores:,} stores: {int(actions.get('list', 0)) / n_stores:.1f} and "
            f"{int(actions.get('delist', 0)) / n_stores:.1f} a store; {int(actions.get('keep', 0)):,} stay.",
        ]
        lines = [*self._phase_words(), *lines]
        planned_lines = self.table[self.table["status"] != "delist"]
        national = planned_lines.loc[planned_lines["scope"] == "national", "sku"].nunique()
        lines.append(
            f"{national:,} of {planned_lines['sku'].nunique():,} planned SKUs are listed in every store cluster."
        )
        moved = planned_lines["units_transferred"].sum()
        if moved > 0:
            lines.append(
                f"{moved / planned_lines['units'].sum():.1%} of the expected units move over from SKUs not listed, by "
                "the substitution shares given."
            )
        if self.rules.max_facings > 1:
            shares = ", ".join(f"{value:.0%}" for value in self.rules.facing_returns)
            lines.append(f"Assumed, not estimated: further facings add {shares} of a SKU's margin.")
        if len(self.solver):
            lines.append(
                f"Within {self.solver['gap'].max():.2%} of the best possible in every category; "
                f"{int(self.solver['constraints_checked'].sum()):,} constraints re-checked outside the solver, "
                f"worst violation {self.solver['worst_violation'].max():.1e}."
            )
            late = self.solver.loc[self.solver["status"] != "optimal", "category"]
            if len(late):
                lines.append(f"Not proven to the gap asked for: {', '.join(late)}.")
        if len(self.skipped):
            lines.append(f"{len(self.skipped):,} entries could not be planned; see skipped.")
        lines.append(self.claim())
        return lines

    def claim(self) -> str:
        """What the forecasts that the ranges were chosen by promise: flattering, and said to be."""
        planned, today = self.spaces["margin"].sum(), self.spaces["margin_today"].sum()
        share = f" ({planned / today - 1:+.1%})" if today > 0 else ""
        return (
            f"By the forecasts they were chosen by, planned ranges earn {as_money(planned, self.currency)} a "
            f"{self.period} against {as_money(today, self.currency)} for today's{share}: in sample and flattering, "
            "since listings chosen for a high forecast tend to fall short of it. Judge them on other periods."
        )

    def _phase_words(self) -> list[str]:
        first, waiting = (
            self.phases[self.phases["phase"] == name].to_dict("records") for name in (phase_name(1), WAITS)
        )
        last = int(self.phases["phase"].astype(str).str.startswith("phase").sum())
        lines = []
        for row in first:
            begin = f"The first of {last} phases makes" if last > 1 else "All at once:"
            lines.append(
                f"{begin} {row['listings_median']:.0f} listings and {row['delistings_median']:.0f} delistings in the "
                f"median store, {row['listings_max']} and {row['delistings_max']} at most."
            )
        for row in waiting:
            lines.append(
                f"{row['listings']:,} listings and {row['delistings']:,} delistings wait: at the lower end of what "
                "they bring they do not earn the cost of the change, or they only give space back."
            )
        return lines

    def plot(self, ax: Any = None) -> Any:
        """Draw expected margin of the planned ranges against today's, by store cluster."""
        if ax is None:
            import matplotlib.pyplot as plt

            _, ax = plt.subplots(figsize=(7, 4), layout="constrained")
        money = self.spaces.groupby("store_cluster")[["margin_today", "margin"]].sum()
        place = np.arange(len(money))
        ax.barh(place + 0.2, money["margin_today"], height=0.38, color="#b8b8b8", label="today's range")
        ax.barh(place - 0.2, money["margin"], height=0.38, color="#2a6f97", label="planned range")
        ax.set_yticks(place, money.index)
        ax.invert_yaxis()
        ax.set_xlabel(f"expected margin a {self.period}")
        ax.legend(frameon=False, loc="lower left", bbox_to_anchor=(0.0, 1.0), ncols=2)
        ax.spines[["top", "right"]].set_visible(False)
        return ax


def plan_ranges(
    demand: pd.DataFrame,
    products: pd.DataFrame,
    clusters: pd.DataFrame,
    rules: RangeRules | None = None,
    today: pd.DataFrame | None = None,
    *,
    spaces: pd.DataFrame | None = None,
    substitutes: pd.DataFrame | None = None,
    centres: pd.DataFrame | None = None,
    stakes: pd.DataFrame | None = None,
    solver: SolverOptions | None = None,
    period: str = "period",
    currency: str = "",
    run: Callable[[Sequence[CategoryJob]], Sequence[CategoryPart | None]] | None = None,
) -> RangePlan:
    """Plan which SKUs each store cluster lists, all clusters of a category in one program.

    Maximises the expected margin over all stores, less the costs in ``rules``, subject to the space of each
    planogram and the rules. A cluster's stores share up to three planogram sizes, each part of the next, sized by
    the stores' space today.

    Without ``substitutes`` a SKU earns the same whatever else is listed. With them, the given share of a SKU's
    first-choice demand goes to each listed substitute where the SKU is not listed, once and no further (exogenous
    substitution); the rest is lost. Choosing the highest forecasts flatters their sum either way: judge the gain
    on held-out periods.

    Parameters
    ----------
    demand : DataFrame
        store_id, sku, category, units, margin (both per period if listed), and low, high where known (bounds of
        units). One row per store and SKU that may be listed; a pair without a row or margin can't be listed.
    products : DataFrame
        sku, name, category, and what the rules ask for: width_cm, moq, case_pack, price, columns of the limits.
    clusters : DataFrame
        store_id, store_cluster.
    rules : RangeRules, optional
        What the ranges have to keep; without it, space alone.
    today : DataFrame
        store_id, sku: what each store lists now.
    spaces : DataFrame, optional
        store_id, category, capacity in the unit of the rules. Without it a store has the space its range takes
        today, at one facing each.
    substitutes : DataFrame, optional
        sku, substitute, share (0..1; at most 1 in all for a SKU).
    centres : DataFrame, optional
        store_id, centre: the distribution centres that serve a store; needed with ``dc_cost``.
    stakes : DataFrame, optional
        store_id, sku, money (per period, at least 0): what is lost elsewhere if the SKU leaves that store's shelf, such
        as customers who take their whole trade away. Weighed against the margin; no part of the margins reported.
    solver : SolverOptions, optional
        Gap, time limit per category, seed.
    period : str
        Word for the unit of time of ``demand``.
    currency : str
        Sign money is written with, in reasons and summary.
    run : callable, optional
        Does the jobs, one a category, with :func:`plan_category`, and returns their parts in the same order, None for
        those that failed; one after the other where not given.

    Returns
    -------
    RangePlan

    Raises
    ------
    TableError
        If a table lacks a column, has duplicate keys, or names something the others don't know.
    InfeasibleError
        If the rules contradict each other; names those that clash.

    Notes
    -----
    Multi-store assortment as a mixed-integer program: Kök, Fisher and Vaidyanathan (2015), Assortment
    planning: review of literature and industry practice. Exogenous substitution: Smith and Agrawal (2000),
    Management of multi-item retail inventory systems with demand substitution.

    Examples
    --------
    >>> demand = pd.DataFrame({
    ...     "store_id": ["1", "1", "2", "2"], "sku": ["a", "b", "a", "b"], "category": "tea",
    ...     "units": [9.0, 2.0, 1.0, 8.0], "margin": [9.0, 2.0, 1.0, 8.0]})
    >>> products = pd.DataFrame({"sku": ["a", "b"], "name": ["Assam", "Ceylon"], "category": "tea",
    ...                          "width_cm": [8.0, 8.0]})
    >>> clusters = pd.DataFrame({"store_id": ["1", "2"], "store_cluster": ["C1", "C2"]})
    >>> today = pd.DataFrame({"store_id": ["1", "2"], "sku": ["a", "a"]})
    >>> plan = plan_ranges(demand, products, clusters, RangeRules(), today)
    >>> plan.table[["store_cluster", "sku", "status"]].to_numpy().tolist()
    [['C1', 'a', 'keep'], ['C2', 'b', 'list'], ['C2', 'a', 'delist']]
    """
    rules = rules or RangeRules()
    options = solver or SolverOptions()
    if today is None:
        raise TableError("today: no table given. Pass store_id and sku of what each store lists now.")
    inputs = RangeInputs.of(demand, products, clusters, rules, today, spaces, substitutes, centres, stakes)
    jobs = [
        CategoryJob(inputs.of_category(category), category, rules, options, period, currency)
        for category in inputs.categories
    ]
    parts = [part for part in (run or _one_by_one)(jobs) if part is not None]
    if jobs and not parts:
        raise SolverError("No category could be planned; the log says why for each.")
    return RangePlan(
        table=_joined((p.table for p in parts), LINE_COLUMNS),
        changes=_joined((p.changes for p in parts), CHANGE_COLUMNS),
        solver=pd.DataFrame([p.solver for p in parts if p.solver]),
        spaces=_joined((p.spaces for p in parts), SPACE_COLUMNS),
        planograms=_joined((p.planograms for p in parts), ["store_id", "store_cluster", "category", "tier"]),
        checks=_joined((p.checks for p in parts), ["category", "rule", "checked", "worst_violation"]),
        skipped=_joined([inputs.skipped, *(p.skipped for p in parts)], SKIPPED_COLUMNS),
        rules=rules,
        period=period,
        currency=currency,
        phases=_phases([p for p in parts if p.steps]),
    )


def _joined(frames: Iterable[pd.DataFrame], columns: list[str]) -> pd.DataFrame:
    filled = [frame for frame in frames if len(frame)]
    if not filled:
        return pd.DataFrame(columns=columns)
    return pd.concat(filled, ignore_index=True)[columns]


@dataclass(frozen=True)
class CategoryJob:
    """All that planning one category needs: independent of the others, and fit to be sent to a worker."""

    inputs: RangeInputs
    category: str
    rules: RangeRules
    options: SolverOptions
    period: str
    currency: str = ""


def plan_category(job: CategoryJob) -> CategoryPart:
    """Plan one category, with a solver of its own."""
    with SolverProcess() as process:
        return _plan_category(job, process)


def _one_by_one(jobs: Sequence[CategoryJob]) -> list[CategoryPart | None]:
    with SolverProcess() as process:
        return [_plan_category(job, process) for job in jobs]


@dataclass(frozen=True)
class CategoryPart:
    """One category's share of the plan."""

    table: pd.DataFrame
    changes: pd.DataFrame
    solver: dict[str, Any]
    spaces: pd.DataFrame
    planograms: pd.DataFrame
    checks: pd.DataFrame
    skipped: pd.DataFrame
    steps: tuple[float, ...] = ()
    """Margin per period today, after each phase, and with what waits."""


def _plan_category(job: CategoryJob, process: SolverProcess) -> CategoryPart:
    category, rules = job.category, job.rules
    data, problem, skipped = category_problem(job.inputs, category, rules)
    empty = pd.DataFrame()
    if data is None or problem is None:
        return CategoryPart(empty, empty, {}, empty, empty, empty, skipped)
    facings, result, checks = solve_ranges(problem, rules, job.options, process)
    _log.info("%s: %s, gap %.2e, %.2f s", category, result.status, result.gap, result.seconds)
    outcome = Outcome.of(data, facings, rules)
    lines = line_table(data, problem, facings, outcome, rules, job.period, job.currency)
    phases = deal_phases(data, problem, outcome.facings > 0, rules)
    planograms = pd.DataFrame(
        {
            "store_id": data.store_ids,
            "store_cluster": data.store_cluster,
            "category": category,
            "tier": np.array(problem.tiers, dtype=object)[data.planogram],
        }
    )
    return CategoryPart(
        lines,
        change_table(data, problem, outcome, phases, lines),
        _solver_line(category, result, checks),
        space_table(data, problem, facings, outcome, rules),
        planograms,
        checks.assign(category=category),
        skipped,
        margin_steps(data, outcome, phases, rules),
    )


def _solver_line(category: str, result: SolverResult, checks: pd.DataFrame) -> dict[str, Any]:
    return {
        "category": category,
        "status": result.status,
        "objective": result.objective,
        "bound": result.bound,
        "lp_bound": result.lp_bound,
        "gap": result.gap,
        "seconds": result.seconds,
        "columns": result.n_columns,
        "rows": result.n_rows,
        "constraints_checked": int(checks["checked"].sum()),
        "worst_violation": float(checks["worst_violation"].max()),
    }


def _phases(parts: list[CategoryPart]) -> pd.DataFrame:
    """Count the changes of each phase over all categories; a category that is done keeps what it earns."""
    if not parts:
        return pd.DataFrame(columns=PHASE_COLUMNS)
    n_stores = len(set().union(*(p.changes["store_id"].unique() for p in parts)))
    columns = ["store_id", "action", "when"]
    changes = pd.concat([p.changes.loc[p.changes["action"] != "keep", columns] for p in parts])
    last = max(len(p.steps) for p in parts) - 2
    rows: list[dict[str, Any]] = []
    for place, name in enumerate(["today", *(phase_name(n) for n in range(1, last + 1)), WAITS]):
        mine = changes[changes["when"] == name]
        whole = name == WAITS
        if whole and mine.empty:
            continue
        row: dict[str, Any] = {"phase": name, "stores": mine["store_id"].nunique()}
        for action, column in (("list", "listings"), ("delist", "delistings")):
            by_store = np.zeros(n_stores)
            counts = mine.loc[mine["action"] == action, "store_id"].value_counts().to_numpy()
            by_store[: counts.size] = counts
            row |= {
                column: int(by_store.sum()),
                f"{column}_median": float(np.median(by_store)),
                f"{column}_max": int(by_store.max()),
            }
        row["margin"] = sum(p.steps[-1] if whole else p.steps[min(place, len(p.steps) - 2)] for p in parts)
        rows.append(row)
    return pd.DataFrame(rows, columns=PHASE_COLUMNS)
