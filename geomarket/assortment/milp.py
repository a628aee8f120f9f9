"""Mixed-integer programs as arrays, handed to HiGHS without a modelling layer.

The road: solve the linear relaxation, price every column with its duals, drop the integers that the prices
rule out, solve the small program that is left. The bound that comes back is computed here from the duals by
weak duality, so it holds whatever the solver says of itself.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import highspy
import numpy as np
import numpy.typing as npt
from scipy import sparse

from geomarket.errors import SolverError

__all__ = ["LinearProgram", "ProgramBuilder", "SolverOptions", "SolverResult", "solve"]

_log = logging.getLogger(__name__)

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

#: A column or row may be off by this much and still count as feasible or integral.
TOLERANCE = 1e-6


@dataclass(frozen=True)
class SolverOptions:
    """How long and how exactly to solve.

    Parameters
    ----------
    gap : float
        Relative gap between incumbent and bound at which a solve may stop (0.001 = 0.1 %).
    time_limit : float
        Seconds for one program. When it strikes, the incumbent found so far comes back with its bound, and
        results may then differ between machines.
    random_state : int
        Seed handed to HiGHS; it runs on one thread.
    """

    gap: float = 1e-3
    time_limit: float = 60.0
    random_state: int = 0


@dataclass(frozen=True)
class LinearProgram:
    """Maximise ``cost @ x`` subject to ``row_lower <= matrix @ x <= row_upper`` and column bounds.

    ``row_group[i]`` indexes ``groups``, the rule (and its scope) that row ``i`` belongs to. All columns must have
    finite bounds: the bound by weak duality needs them.
    """

    cost: Floats
    lower: Floats
    upper: Floats
    integer: Bools
    matrix: sparse.csr_array
    row_lower: Floats
    row_upper: Floats
    row_group: Ints
    groups: tuple[tuple[str, str], ...]

    def without_rows(self, drop: Bools) -> LinearProgram:
        """Return the program without the rows marked in ``drop``."""
        keep = ~drop
        return LinearProgram(
            self.cost,
            self.lower,
            self.upper,
            self.integer,
            self.matrix[np.flatnonzero(keep)],
            self.row_lower[keep],
            self.row_upper[keep],
            self.row_group[keep],
            self.groups,
        )


@dataclass
class ProgramBuilder:
    """Collects blocks of columns and rows and compiles them into a :class:`LinearProgram`."""

    _cost: list[Floats] = field(default_factory=list)
    _lower: list[Floats] = field(default_factory=list)
    _upper: list[Floats] = field(default_factory=list)
    _integer: list[Bools] = field(default_factory=list)
    _n_columns: int = 0
    _entries: list[tuple[Ints, Ints, Floats]] = field(default_factory=list)
    _row_lower: list[Floats] = field(default_factory=list)
    _row_upper: list[Floats] = field(default_factory=list)
    _row_group: list[Ints] = field(default_factory=list)
    _n_rows: int = 0
    _groups: dict[tuple[str, str], int] = field(default_factory=dict)

    def columns(
        self,
        cost: npt.ArrayLike,
        *,
        lower: npt.ArrayLike = 0.0,
        upper: npt.ArrayLike = 1.0,
        integer: bool = True,
    ) -> Ints:
        """Add one column per entry of ``cost`` (any shape) and return their numbers in that shape."""
        costs = np.asarray(cost, dtype=float)
        numbers = np.arange(self._n_columns, self._n_columns + costs.size, dtype=np.int64)
        self._n_columns += costs.size
        self._cost.append(costs.ravel())
        self._lower.append(np.broadcast_to(np.asarray(lower, dtype=float), costs.shape).ravel())
        self._upper.append(np.broadcast_to(np.asarray(upper, dtype=float), costs.shape).ravel())
        self._integer.append(np.full(costs.size, integer))
        return numbers.reshape(costs.shape)

    def rows(
        self,
        columns: npt.ArrayLike,
        values: npt.ArrayLike,
        *,
        rule: str,
        scope: str = "",
        lower: npt.ArrayLike = -np.inf,
        upper: npt.ArrayLike = np.inf,
    ) -> None:
        """Add rows: ``columns`` of shape (n_rows, n_terms), ``values`` broadcast to it, one rule for all."""
        numbers = np.atleast_2d(np.asarray(columns, dtype=np.int64))
        n_rows, n_terms = numbers.shape
        if n_rows == 0:
            return
        coefficients = np.broadcast_to(np.asarray(values, dtype=float), numbers.shape)
        row_numbers = np.repeat(np.arange(self._n_rows, self._n_rows + n_rows, dtype=np.int64), n_terms)
        self._entries.append((row_numbers, numbers.ravel(), coefficients.ravel()))
        self._n_rows += n_rows
        self._row_lower.append(np.broadcast_to(np.asarray(lower, dtype=float), (n_rows,)))
        self._row_upper.append(np.broadcast_to(np.asarray(upper, dtype=float), (n_rows,)))
        group = self._groups.setdefault((rule, scope), len(self._groups))
        self._row_group.append(np.full(n_rows, group, dtype=np.int64))

    def at_most(self, smaller: npt.ArrayLike, larger: npt.ArrayLike, *, rule: str, scope: str = "") -> None:
        """Add ``x[smaller] <= x[larger]``, element by element."""
        low, high = np.broadcast_arrays(np.asarray(smaller), np.asarray(larger))
        self.rows(
            np.column_stack([low.ravel(), high.ravel()]), [1.0, -1.0], rule=rule, scope=scope, upper=0.0
        )

    def compile(self) -> LinearProgram:
        """Return the program collected so far."""

        def joined(parts: list[npt.NDArray], dtype: type) -> npt.NDArray:
            return np.concatenate(parts).astype(dtype) if parts else np.zeros(0, dtype=dtype)

        rows = joined([entry[0] for entry in self._entries], np.int64)
        columns = joined([entry[1] for entry in self._entries], np.int64)
        values = joined([entry[2] for entry in self._entries], float)
        matrix = sparse.coo_array((values, (rows, columns)), shape=(self._n_rows, self._n_columns)).tocsr()
        return LinearProgram(
            joined(self._cost, float),
            joined(self._lower, float),
            joined(self._upper, float),
            joined(self._integer, bool),
            matrix,
            joined(self._row_lower, float),
            joined(self._row_upper, float),
            joined(self._row_group, np.int64),
            tuple(self._groups),
        )


@dataclass(frozen=True)
class SolverResult:
    """What a solve ended with.

    Attributes
    ----------
    status : {"optimal", "time limit", "infeasible"}
        ``optimal``: the gap asked for is proven.
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


def relative_gap(bound: float, objective: float) -> float:
    """Return the gap between bound and incumbent as a share of the incumbent."""
    return max(0.0, bound - objective) / max(abs(objective), 1.0)


def dual_bound(program: LinearProgram, duals: Floats) -> tuple[float, Floats]:
    """Return a proven upper bound and the reduced costs, from any row duals (weak duality).

    For a maximisation, ``y >= 0`` prices the upper side of a row and ``y <= 0`` its lower side; a dual that
    would price a side that is not there is set to zero first, so the bound holds for any ``duals``.
    """
    y = np.where((duals > 0) & ~np.isfinite(program.row_upper), 0.0, duals)
    y = np.where((y < 0) & ~np.isfinite(program.row_lower), 0.0, y)
    reduced = program.cost - program.matrix.T @ y
    rows = np.where(y > 0, y * np.where(y > 0, program.row_upper, 0), 0.0)
    rows += np.where(y < 0, y * np.where(y < 0, program.row_lower, 0), 0.0)
    columns = np.maximum(reduced * program.lower, reduced * program.upper)
    return float(rows.sum() + columns.sum()), reduced


def violation(program: LinearProgram, x: Floats) -> float:
    """Return the worst violation of any row, column bound or integrality by ``x``."""
    activity = program.matrix @ x
    worst = [0.0]
    for shortfall in (
        program.row_lower - activity,
        activity - program.row_upper,
        program.lower - x,
        x - program.upper,
        np.abs(x - np.round(x))[program.integer],
    ):
        if shortfall.size:
            worst.append(float(shortfall.max()))
    return max(worst)


def solve(
    program: LinearProgram,
    options: SolverOptions | None = None,
    start: Callable[[Floats], Floats | None] | None = None,
) -> SolverResult:
    """Solve a program: relaxation, restricted program, and the exactly reduced program if the gap asks for it.

    1. The linear relaxation gives the bound and a reduced cost for each column.
    2. Integers at 0 in it that its prices rule out are fixed; the small program left gives an incumbent.
    3. If the gap is still too wide, every integer whose reduced cost exceeds ``bound - incumbent`` is fixed:
       no better solution can use it. What is left is solved, and its bound holds for the whole program.

    Parameters
    ----------
    program : LinearProgram
        What to solve.
    options : SolverOptions, optional
        Gap, time limit and seed.
    start : callable, optional
        Takes the relaxation's solution, shape (n_columns,), and returns a feasible one (or None): the first
        incumbent, and the last resort when HiGHS finds none in time.

    Returns
    -------
    SolverResult

    Raises
    ------
    SolverError
        If HiGHS fails, or returns a point that violates the program.
    """
    options = options or SolverOptions()
    began = time.perf_counter()
    if program.cost.size == 0:
        return SolverResult("optimal", np.zeros(0), 0.0, 0.0, 0.0, 0.0, 0.0, "empty")

    def left() -> float:
        return max(0.1, options.time_limit - (time.perf_counter() - began))

    highs = _load(program, options)
    status = _run(highs, left())
    if status == highspy.HighsModelStatus.kInfeasible:
        return _no_solution("infeasible", np.inf, time.perf_counter() - began, "relaxation infeasible")
    solution = highs.getSolution()
    # HiGHS reports duals for the sense it was given (maximise): positive on a binding upper side.
    lp_bound, reduced = dual_bound(program, np.asarray(solution.row_dual, dtype=float))
    relaxed = np.asarray(solution.col_value, dtype=float)
    road = ["relaxation"]
    best: Floats | None = None
    if status == highspy.HighsModelStatus.kOptimal and start is not None:
        best = _checked(program, start(relaxed))
        road.append("start" if best is not None else "no start")
    elif status != highspy.HighsModelStatus.kOptimal:
        road.append("relaxation not finished")
        if start is not None:
            best = _checked(program, start(np.clip(relaxed, program.lower, program.upper)))
    if status == highspy.HighsModelStatus.kOptimal:
        candidate = _checked(program, relaxed, strict=False)
        best = _better(program, best, candidate)
    bound = lp_bound

    if best is None or relative_gap(bound, _value(program, best)) > options.gap:
        at_zero = program.integer & (relaxed <= program.lower + TOLERANCE) & (reduced < -TOLERANCE)
        found, _ = _restricted(highs, program, at_zero, np.zeros_like(at_zero), best, left(), options)
        best = _better(program, best, found)
        road.append(
            f"restricted to {int((program.integer & ~at_zero).sum())} of {int(program.integer.sum())}"
        )

    if (best is None or relative_gap(bound, _value(program, best)) > options.gap) and left() > 0.2:
        slack = np.inf if best is None else bound - _value(program, best)
        # A hair of safety: duals and incumbent are only exact to the solver's tolerance.
        slack = slack * (1 + 1e-9) + 1e-9
        at_lower = program.integer & (reduced < -slack)
        at_upper = program.integer & (reduced > slack)
        found, proven = _restricted(highs, program, at_lower, at_upper, best, left(), options)
        if best is None and found is None and proven == -np.inf:
            return _no_solution("infeasible", lp_bound, time.perf_counter() - began, "; ".join(road))
        best = _better(program, best, found)
        if best is not None:
            bound = min(bound, max(proven, _value(program, best)))
        road.append(f"exact on {int((program.integer & ~at_lower & ~at_upper).sum())}")

    seconds = time.perf_counter() - began
    if best is None:
        return _no_solution("time limit", lp_bound, seconds, "; ".join(road))
    objective = _value(program, best)
    gap = relative_gap(bound, objective)
    # The solver's own gap test and ours divide by slightly different numbers.
    done = gap <= options.gap * (1 + 1e-6) + 1e-7
    result = SolverResult(
        "optimal" if done else "time limit",
        best,
        objective,
        max(bound, objective),
        max(lp_bound, objective),
        gap,
        seconds,
        "; ".join(road),
        program.cost.size,
        program.row_lower.size,
    )
    _log.debug("solved to gap %.2e in %.2f s: %s", gap, seconds, result.road)
    return result


def clashing_groups(program: LinearProgram, options: SolverOptions | None = None) -> list[tuple[str, str]]:
    """Return a smallest-by-deletion set of row groups that no point satisfies together.

    Deletion filter (Chinneck and Dravnieks, 1991) over groups: leave one out; if what remains still has no solution,
    it was not needed. First by rule, then by scope inside the rules that remain. Dropping any one group of the answer
    makes the rest feasible (as far as the time limit allows it to be decided).
    """
    options = options or SolverOptions()
    feasibility = LinearProgram(
        np.zeros_like(program.cost),
        program.lower,
        program.upper,
        program.integer,
        program.matrix,
        program.row_lower,
        program.row_upper,
        program.row_group,
        program.groups,
    )
    if _feasible(feasibility, options) is not False:
        return []
    rules = list(dict.fromkeys(rule for rule, _ in program.groups))
    kept = set(range(len(program.groups)))
    for rule in rules:
        kept = _filter(feasibility, kept, {i for i in kept if program.groups[i][0] == rule}, options)
    for group in sorted(kept):
        kept = _filter(feasibility, kept, {group}, options)
    return [program.groups[i] for i in sorted(kept)]


def _filter(program: LinearProgram, kept: set[int], drop: set[int], options: SolverOptions) -> set[int]:
    trial = kept - drop
    if not drop or not trial:
        return kept
    gone = ~np.isin(program.row_group, sorted(trial))
    return trial if _feasible(program.without_rows(gone), options) is False else kept


def _feasible(program: LinearProgram, options: SolverOptions) -> bool | None:
    """Whether a point exists: True, False, or None where the time limit left it open."""
    highs = _load(program, options)
    if _run(highs, options.time_limit) == highspy.HighsModelStatus.kInfeasible:
        return False
    _set_integers(highs, program)
    status = _run(highs, options.time_limit)
    if status == highspy.HighsModelStatus.kInfeasible:
        return False
    return True if status == highspy.HighsModelStatus.kOptimal else None


def _load(program: LinearProgram, options: SolverOptions) -> highspy.Highs:
    highs = highspy.Highs()
    for name, value in (
        ("output_flag", False),
        ("log_to_console", False),
        ("threads", 1),
        ("parallel", "off"),
        ("random_seed", int(options.random_state)),
        ("mip_rel_gap", float(options.gap) / 2),
        ("mip_abs_gap", 1e-9),
        ("mip_feasibility_tolerance", 1e-7),
    ):
        highs.setOptionValue(name, value)
    columns = program.matrix.tocsc()
    columns.sort_indices()
    lp = highspy.HighsLp()
    lp.num_col_ = program.cost.size
    lp.num_row_ = program.row_lower.size
    lp.sense_ = highspy.ObjSense.kMaximize
    lp.col_cost_ = program.cost
    lp.col_lower_ = program.lower
    lp.col_upper_ = program.upper
    lp.row_lower_ = np.where(np.isfinite(program.row_lower), program.row_lower, -highspy.kHighsInf)
    lp.row_upper_ = np.where(np.isfinite(program.row_upper), program.row_upper, highspy.kHighsInf)
    lp.a_matrix_.format_ = highspy.MatrixFormat.kColwise
    lp.a_matrix_.start_ = columns.indptr.astype(np.int32)
    lp.a_matrix_.index_ = columns.indices.astype(np.int32)
    lp.a_matrix_.value_ = columns.data
    if highs.passModel(lp) == highspy.HighsStatus.kError:
        raise SolverError("HiGHS refused the program; check that margins, widths and capacities are finite.")
    return highs


def _run(highs: highspy.Highs, seconds: float) -> highspy.HighsModelStatus:
    # HiGHS counts its time limit from the creation of the object, not from the call.
    highs.setOptionValue("time_limit", float(highs.getRunTime() + seconds))
    if highs.run() == highspy.HighsStatus.kError:
        raise SolverError(
            "HiGHS stopped with an error. Raise the log level of geomarket.assortment to see it."
        )
    status = highs.getModelStatus()
    if status == highspy.HighsModelStatus.kUnboundedOrInfeasible:  # every column is bounded
        return highspy.HighsModelStatus.kInfeasible
    return status


def _set_integers(highs: highspy.Highs, program: LinearProgram) -> None:
    numbers = np.flatnonzero(program.integer).astype(np.int32)
    kinds = np.full(numbers.size, int(highspy.HighsVarType.kInteger), dtype=np.uint8)
    highs.changeColsIntegrality(numbers.size, numbers, kinds)


def _restricted(
    highs: highspy.Highs,
    program: LinearProgram,
    at_lower: Bools,
    at_upper: Bools,
    start: Floats | None,
    seconds: float,
    options: SolverOptions,
) -> tuple[Floats | None, float]:
    """Solve with some integers fixed at a bound; return the best point and the bound proven for it."""
    lower = np.where(at_upper, program.upper, program.lower)
    upper = np.where(at_lower, program.lower, program.upper)
    every = np.arange(program.cost.size, dtype=np.int32)
    highs.changeColsBounds(every.size, every, lower, upper)
    _set_integers(highs, program)
    highs.clearSolver()
    if start is not None:
        point = highspy.HighsSolution()
        point.col_value = np.clip(start, lower, upper)
        point.value_valid = True
        highs.setSolution(point)
    status = _run(highs, seconds)
    if status == highspy.HighsModelStatus.kInfeasible:
        return None, -np.inf
    info = highs.getInfo()
    bound = float(info.mip_dual_bound)
    if info.primal_solution_status != 2:  # 2: a feasible point is held
        return None, bound if np.isfinite(bound) else np.inf
    x = _checked(program, np.asarray(highs.getSolution().col_value, dtype=float))
    return x, bound if np.isfinite(bound) else np.inf


def _checked(program: LinearProgram, x: Floats | None, strict: bool = True) -> Floats | None:
    """Round the integers of ``x`` and return it if it satisfies the program; complain if it should have."""
    if x is None:
        return None
    rounded = np.where(program.integer, np.round(x), x)
    if strict and np.abs(rounded - x).max(initial=0.0) > 1e-4:
        raise SolverError("HiGHS returned fractional integers; tighten mip_feasibility_tolerance.")
    if not strict and np.abs(rounded - x).max(initial=0.0) > TOLERANCE:
        return None
    worst = violation(program, rounded)
    if worst <= TOLERANCE * max(
        1.0, float(np.abs(program.row_upper[np.isfinite(program.row_upper)]).max(initial=1.0))
    ):
        return rounded
    if strict:
        raise SolverError(f"HiGHS returned a point that breaks a rule by {worst:.2e}; it is not used.")
    return None


def _value(program: LinearProgram, x: Floats) -> float:
    return float(program.cost @ x)


def _better(program: LinearProgram, a: Floats | None, b: Floats | None) -> Floats | None:
    if a is None or b is None:
        return b if a is None else a
    return b if _value(program, b) > _value(program, a) else a


def _no_solution(status: str, bound: float, seconds: float, road: str) -> SolverResult:
    return SolverResult(status, None, -np.inf, bound, bound, np.inf, seconds, road)
