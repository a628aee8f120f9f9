"""How a program is solved: relaxation, restricted program, exactly reduced program; a bound always comes back."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import highspy
import numpy as np

from geomarket.assortment.milp import (
    Bools,
    Floats,
    Ints,
    LinearProgram,
    dual_bound,
    relative_gap,
    value,
    violation,
)
from geomarket.errors import SolverError

__all__ = ["Report", "SolverOptions", "SolverResult", "Start", "clashing_groups", "solve_here"]

_log = logging.getLogger(__name__)

#: A column or row may be off by this much and still count as feasible or integral.
TOLERANCE = 1e-6
#: Rounds of cuts, and by how much a row must be violated to be added.
CUT_ROUNDS = 8
CUT_VIOLATION = 0.02
#: Told of each better bound ("bound", float) and point ("point", ndarray) as soon as it is known.
Report = Callable[[str, Any], None]
#: Takes the relaxation's solution and the seconds left; returns a feasible point or None.
Start = Callable[[Floats, float], Floats | None]


@dataclass(frozen=True)
class SolverOptions:
    """How long and how exactly to solve.

    Parameters
    ----------
    gap : float
        Relative gap between incumbent and bound at which a solve may stop (0.001 = 0.1%).
    time_limit : float
        Seconds for one program. When it strikes, the incumbent found so far comes back with its bound, and
        results may then differ between machines.
    random_state : int
        Seed handed to HiGHS; it runs on one thread.
    isolate_from : int
        Programs with at least so many columns are solved in a process of their own, which is killed should HiGHS
        overrun its time limit (it was seen to). 0 for all programs.
    """

    gap: float = 1e-3
    time_limit: float = 60.0
    random_state: int = 0
    isolate_from: int = 30_000


@dataclass(frozen=True)
class SolverResult:
    """What a solve ended with.

    Attributes
    ----------
    status : {"optimal", "time limit", "infeasible", "cut off"}
        ``optimal``: the gap asked for is proven. ``cut off``: not worth solving, by its bound.
    x : ndarray of shape (n_columns,) or None
        The incumbent, integers rounded; None without one.
    objective, bound, lp_bound : float
        Value of the incumbent; the smallest proven upper bound; the upper bound of the linear relaxation.
    gap : float
        ``(bound - objective) / max(|objective|, 1)`` as a share; infinite without an incumbent.
    seconds : float
        Wall time (never part of a result that must repeat).
    road : str
        Which steps led there, for the log and the benchmark.
    n_columns, n_rows : int
        Size of the program.
    """

    status: str
    x: Floats | None
    objective: float
    bound: float
    lp_bound: float
    gap: float
    seconds: float
    road: str
    n_columns: int = 0
    n_rows: int = 0


class _Search:
    """Incumbent, bounds and clock of one solve."""

    def __init__(self, program: LinearProgram, options: SolverOptions, report: Report) -> None:
        self.program, self.options, self.report = program, options, report
        self.began = time.perf_counter()
        self.best: Floats | None = None
        self.bound = self.lp_bound = dual_bound(program, np.zeros(program.row_lower.size))[0]
        self.road: list[str] = []

    @property
    def left(self) -> float:
        return max(0.1, self.options.time_limit - (time.perf_counter() - self.began))

    @property
    def objective(self) -> float:
        return -np.inf if self.best is None else value(self.program, self.best)

    @property
    def done(self) -> bool:
        return self.best is not None and relative_gap(self.bound, self.objective) <= self.options.gap

    @property
    def target(self) -> float:
        """An objective that is near enough to the bound to stop at."""
        return self.bound - 0.999 * self.options.gap * max(abs(self.bound) / (1 + self.options.gap), 1.0)

    def offer(self, x: Floats | None) -> bool:
        """Take a point as incumbent if it is better; whether it was usable."""
        if x is None:
            return False
        if value(self.program, x) > self.objective:
            self.best = x
            self.report("point", x)
        return True

    def tighten(self, bound: float) -> None:
        if bound < self.bound:
            self.bound = bound
            self.report("bound", bound)

    def result(self, status: str | None = None) -> SolverResult:
        gap = np.inf if self.best is None else relative_gap(self.bound, self.objective)
        # The solver's own gap test and ours divide by slightly different numbers.
        proven = gap <= self.options.gap * (1 + 1e-6) + 1e-7
        result = SolverResult(
            status or ("optimal" if proven else "time limit"),
            self.best,
            self.objective,
            max(self.bound, self.objective),
            max(self.lp_bound, self.objective),
            gap,
            time.perf_counter() - self.began,
            "; ".join(self.road),
            self.program.cost.size,
            self.program.row_lower.size,
        )
        _log.debug("%s, gap %.2e, %.2f s: %s", result.status, gap, result.seconds, result.road)
        return result


def solve_here(
    program: LinearProgram,
    options: SolverOptions | None = None,
    start: Start | None = None,
    report: Report | None = None,
    cutoff: float = -np.inf,
) -> SolverResult:
    """Solve a program in this process.

    1. The linear relaxation, with the rows of the program's pool that cut off its solution added in a few rounds,
       gives the bound and a reduced cost for each column.
    2. ``start`` makes an incumbent of it (of large programs, a first one before).
    3. Integers at 0 in the relaxation that its prices rule out are fixed; the small program left is solved.
    4. If the gap is still too wide, every integer whose reduced cost exceeds ``bound - incumbent`` is fixed:
       no better solution can use it. What is left is solved, and its bound holds for the whole program.

    The relaxation's bound is worked out from the duals by weak duality, so it holds whatever the solver says of itself.

    Parameters
    ----------
    program : LinearProgram
        What to solve.
    options : SolverOptions, optional
        Gap, time limit and seed.
    start : callable, optional
        Takes the relaxation's solution and the seconds left, and returns a feasible point or None: the
        first incumbent, and the last resort where HiGHS finds none in time.
    report : callable, optional
        Told of better bounds and points on the way.
    cutoff : float
        Stop as soon as the bound is no higher: nothing better is to be had here. The status is then "cut off".

    Returns
    -------
    SolverResult

    Raises
    ------
    SolverError
        If HiGHS fails, or returns a point that violates the program.
    """
    search = _Search(program, options or SolverOptions(), report or (lambda kind, what: None))
    if not np.isfinite(program.cost).all():  # the solver would look for ever
        raise SolverError("A value of the program is no number; please report this with the input.")
    if program.cost.size == 0:
        search.offer(np.zeros(0))
        return search.result()
    if start is not None and program.cost.size >= search.options.isolate_from:
        # Something to hand back, should the relaxation alone take all the time there is.
        point = start(np.zeros(program.cost.size), 0.2 * search.left)
        if point is not None and search.offer(usable(program, point)):
            search.road.append("search")
    highs = _Highs(program, search.options, search.report)
    status, relaxed, duals = highs.relaxation(search.left)
    if status == highspy.HighsModelStatus.kInfeasible:
        search.road.append("relaxation infeasible")
        return search.result("infeasible")
    bound, reduced = dual_bound(program, duals)
    search.tighten(bound)
    if status == highspy.HighsModelStatus.kOptimal:
        relaxed, reduced = _cut(search, highs, relaxed, reduced)
    search.lp_bound = search.bound
    if search.bound <= cutoff:
        search.road.append("cut off")
        return search.result("cut off")
    if status == highspy.HighsModelStatus.kOptimal:
        search.road.append("relaxation")
        search.offer(usable(program, relaxed))
    else:
        search.road.append("relaxation not finished")
    if start is not None and not search.done:
        point = start(np.clip(relaxed, program.lower, program.upper), search.left)
        search.road.append(
            "start" if point is not None and search.offer(usable(program, point)) else "no start"
        )
    if not search.done:
        _restrict(search, highs, relaxed, reduced)
    if not search.done and search.left > 0.2 and not _exact(search, highs, reduced):
        return search.result("infeasible")
    return search.result()


def _cut(search: _Search, highs: _Highs, relaxed: Floats, reduced: Floats) -> tuple[Floats, Floats]:
    """Add rows of the pool that the relaxation violates, while the bound falls by something."""
    if search.program.pool is None:
        return relaxed, reduced
    pool, upper = search.program.pool
    used = np.zeros(0, dtype=np.int64)
    for _ in range(CUT_ROUNDS):
        broken = pool @ relaxed - upper
        broken[used] = 0.0
        new = np.flatnonzero(broken > CUT_VIOLATION)
        if not new.size or search.left < 0.5 * search.options.time_limit:
            break
        before = search.bound
        used = np.append(used, new)
        highs.add(search.program, new)
        status, point, duals = highs.relaxation(search.left)
        if status != highspy.HighsModelStatus.kOptimal:
            break
        relaxed = point
        bound, priced = dual_bound(highs.program, duals)
        reduced = priced if bound <= search.bound else reduced
        search.tighten(bound)
        if before - search.bound < 0.02 * search.options.gap * max(abs(search.bound), 1.0):
            break
    search.road.append(f"{used.size} cuts")
    return relaxed, reduced


def _restrict(search: _Search, highs: _Highs, relaxed: Floats, reduced: Floats) -> None:
    """Solve with the integers fixed that are at their lower bound in the relaxation and priced out of it."""
    program = search.program
    at_lower = program.integer & (relaxed <= program.lower + TOLERANCE) & (reduced < -TOLERANCE)
    free = int((program.integer & ~at_lower).sum())
    if search.best is not None and free >= int(
        (program.integer & ~_priced_out(search, reduced).any(axis=0)).sum()
    ):
        return  # the exact reduction leaves no more than this
    found, _ = highs.integers(
        at_lower, np.zeros_like(at_lower), search.best, 0.5 * search.left, search.target
    )
    search.offer(found)
    search.road.append(f"restricted to {free} of {int(program.integer.sum())}")


def _exact(search: _Search, highs: _Highs, reduced: Floats) -> bool:
    """Solve with only those integers fixed that no better solution can use; False if nothing is feasible."""
    at_lower, at_upper = _priced_out(search, reduced)
    had = search.best is not None
    found, proven = highs.integers(at_lower, at_upper, search.best, search.left, search.target)
    search.offer(found)
    search.road.append(f"exact on {int((search.program.integer & ~at_lower & ~at_upper).sum())}")
    if not had and found is None and proven == -np.inf:
        return False
    if search.best is not None:
        search.tighten(max(proven, search.objective))
    return True


def _priced_out(search: _Search, reduced: Floats) -> Bools:
    """Integers fixed at their lower and at their upper bound, shape (2, n_columns)."""
    slack = search.lp_bound - search.objective
    # A hair of safety: duals and incumbent are only exact to the solver's tolerance.
    slack = slack * (1 + 1e-9) + 1e-9 * (1 + abs(search.lp_bound))
    integer = search.program.integer
    return np.vstack([integer & (reduced < -slack), integer & (reduced > slack)])


class _Highs:
    """A program loaded in HiGHS, as a minimisation."""

    def __init__(self, program: LinearProgram, options: SolverOptions, report: Report) -> None:
        self.program, self.options, self.report = program, options, report
        self.highs = highspy.Highs()
        for name, setting in (
            ("output_flag", False),
            ("log_to_console", False),
            ("threads", 1),
            ("parallel", "off"),
            ("random_seed", int(options.random_state)),
            ("mip_rel_gap", float(options.gap)),
            ("mip_abs_gap", 1e-9),
            ("mip_feasibility_tolerance", 1e-7),
        ):
            self.highs.setOptionValue(name, setting)
        columns = program.matrix.tocsc()
        columns.sort_indices()
        lp = highspy.HighsLp()
        lp.num_col_, lp.num_row_ = program.cost.size, program.row_lower.size
        lp.col_cost_ = -program.cost
        lp.offset_ = -program.constant
        lp.col_lower_, lp.col_upper_ = program.lower, program.upper
        lp.row_lower_ = np.where(np.isfinite(program.row_lower), program.row_lower, -highspy.kHighsInf)
        lp.row_upper_ = np.where(np.isfinite(program.row_upper), program.row_upper, highspy.kHighsInf)
        lp.a_matrix_.format_ = highspy.MatrixFormat.kColwise
        lp.a_matrix_.start_ = columns.indptr.astype(np.int32)
        lp.a_matrix_.index_ = columns.indices.astype(np.int32)
        lp.a_matrix_.value_ = columns.data
        if self.highs.passModel(lp) == highspy.HighsStatus.kError:
            raise SolverError(
                "HiGHS refused the program; check that margins, widths and capacities are finite."
            )

    def add(self, program: LinearProgram, cuts: Ints) -> None:
        """Add rows of the pool of ``program``."""
        if program.pool is None:
            return
        rows, upper = program.pool[0][cuts], program.pool[1][cuts]
        self.highs.addRows(
            cuts.size,
            np.full(cuts.size, -highspy.kHighsInf),
            upper,
            rows.nnz,
            rows.indptr[:-1].astype(np.int32),
            rows.indices.astype(np.int32),
            rows.data,
        )
        self.program = self.program.with_cuts(cuts)

    def run(self, seconds: float) -> highspy.HighsModelStatus:
        # The limit counts from the creation of the object, not from the call.
        self.highs.setOptionValue("time_limit", float(self.highs.getRunTime() + seconds))
        if self.highs.run() == highspy.HighsStatus.kError:
            raise SolverError("HiGHS stopped with an error; please report this with the input.")
        status = self.highs.getModelStatus()
        if status == highspy.HighsModelStatus.kUnboundedOrInfeasible:  # every column is bounded
            return highspy.HighsModelStatus.kInfeasible
        return status

    def relaxation(self, seconds: float) -> tuple[highspy.HighsModelStatus, Floats, Floats]:
        """Status, columns, and row duals in the sense of the maximisation."""
        status = self.run(seconds)
        solution = self.highs.getSolution()
        columns, duals = (
            np.asarray(solution.col_value, dtype=float),
            -np.asarray(solution.row_dual, dtype=float),
        )
        if columns.size != self.program.cost.size:
            columns = np.zeros(self.program.cost.size)
        if duals.size != self.program.row_lower.size or not np.isfinite(duals).all():
            duals = np.zeros(self.program.row_lower.size)
        return status, columns, duals

    def declare_integers(self) -> None:
        numbers = np.flatnonzero(self.program.integer).astype(np.int32)
        kinds = np.full(numbers.size, int(highspy.HighsVarType.kInteger), dtype=np.uint8)
        self.highs.changeColsIntegrality(numbers.size, numbers, kinds)

    def integers(
        self, at_lower: Bools, at_upper: Bools, start: Floats | None, seconds: float, target: float
    ) -> tuple[Floats | None, float]:
        """Solve with some integers fixed; return the best point and the bound proven for what is left."""
        program, highs = self.program, self.highs
        lower = np.where(at_upper, program.upper, program.lower)
        upper = np.where(at_lower, program.lower, program.upper)
        every = np.arange(program.cost.size, dtype=np.int32)
        highs.changeColsBounds(every.size, every, lower, upper)
        self.declare_integers()
        highs.clearSolver()
        highs.setOptionValue("objective_target", -target)
        if start is not None and violation(replace(program, lower=lower, upper=upper), start) <= TOLERANCE:
            point = highspy.HighsSolution()
            point.col_value = start
            highs.setSolution(point)

        def improved(event: Any) -> None:
            found = usable(program, np.asarray(event.data_out.mip_solution, dtype=float))
            if found is not None:
                self.report("point", found)

        highs.cbMipImprovingSolution.subscribe(improved)
        status = self.run(seconds)
        highs.cbMipImprovingSolution.unsubscribe(improved)
        if status == highspy.HighsModelStatus.kInfeasible:
            return None, -np.inf
        info = highs.getInfo()
        bound = -float(info.mip_dual_bound)
        bound = bound if np.isfinite(bound) else np.inf
        if info.primal_solution_status != 2:  # 2: a feasible point is held
            return None, bound
        x = usable(program, np.asarray(highs.getSolution().col_value, dtype=float))
        if x is None:
            raise SolverError(
                "HiGHS returned a point that breaks the program; please report this with the input."
            )
        return x, bound


def usable(program: LinearProgram, x: Floats) -> Floats | None:
    """Round the integers of ``x`` and return it if it satisfies the program, else None."""
    rounded = np.where(program.integer, np.round(x), x)
    if np.abs(rounded - x).max(initial=0.0) > 1e-4:
        return None
    return rounded if violation(program, rounded) <= TOLERANCE else None


def clashing_groups(program: LinearProgram, options: SolverOptions | None = None) -> list[tuple[str, str]]:
    """Return a set of row groups that no point satisfies together, none of which can be left out of it.

    Deletion filter (Chinneck and Dravnieks, 1991) over groups: leave one out; if what remains still has no solution,
    it was not needed. First by rule, then by scope inside the rules that remain. Empty where a point exists, or where
    that was not settled in time.
    """
    options = options or SolverOptions()
    feasibility = replace(program, cost=np.zeros_like(program.cost))
    if _feasible(feasibility, options) is not False:
        return []
    rules = list(dict.fromkeys(rule for rule, _ in program.groups))
    kept = set(range(len(program.groups)))
    for rule in rules:
        kept = _without(feasibility, kept, {i for i in kept if program.groups[i][0] == rule}, options)
    for group in sorted(kept):
        kept = _without(feasibility, kept, {group}, options)
    return [program.groups[i] for i in sorted(kept)]


def _without(program: LinearProgram, kept: set[int], drop: set[int], options: SolverOptions) -> set[int]:
    trial = kept - drop
    if not drop or not trial:
        return kept
    gone = ~np.isin(program.row_group, sorted(trial))
    return trial if _feasible(program.without_rows(gone), options) is False else kept


def _feasible(program: LinearProgram, options: SolverOptions) -> bool | None:
    """Whether a point exists: True, False, or None where the time limit left it open."""
    highs = _Highs(program, options, lambda kind, what: None)
    if highs.run(options.time_limit) == highspy.HighsModelStatus.kInfeasible:
        return False
    highs.declare_integers()
    status = highs.run(options.time_limit)
    if status == highspy.HighsModelStatus.kInfeasible:
        return False
    return True if status == highspy.HighsModelStatus.kOptimal else None
