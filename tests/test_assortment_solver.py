"""The solver's road, its bounds, and the process that can be killed."""

from __future__ import annotations

import os
import signal
from typing import Any

import numpy as np
import pytest

from geomarket.assortment import worker
from geomarket.assortment.milp import LinearProgram, ProgramBuilder, dual_bound, value, violation
from geomarket.assortment.solving import SolverOptions, clashing_groups, solve_here
from geomarket.assortment.worker import SolverProcess, solve

ISOLATED = SolverOptions(gap=0.0, time_limit=20.0, isolate_from=0)


def knapsacks(seed: int = 0, n_items: int = 40, n_rows: int = 4, slack: float = 0.4) -> LinearProgram:
    """Several knapsacks over the same items."""
    rng = np.random.default_rng(seed)
    builder = ProgramBuilder()
    x = builder.columns(rng.integers(5, 50, n_items).astype(float))
    for row in range(n_rows):
        weight = rng.integers(1, 20, n_items).astype(float)
        builder.rows(x, weight, rule=f"knapsack {row}", upper=slack * weight.sum())
    return builder.compile(constant=7.0)


def test_small_programs_are_solved_to_the_optimum() -> None:
    for seed in range(5):
        program = knapsacks(seed, n_items=14)
        result = solve_here(program, SolverOptions(gap=0.0))
        points = (np.arange(2**14)[:, None] >> np.arange(14)) & 1
        fits = (program.row_upper + 1e-9 >= (program.matrix @ points.T).T).all(axis=1)
        assert result.status == "optimal"
        assert result.objective == pytest.approx((points[fits] @ program.cost).max() + 7.0, abs=1e-6)
        assert result.lp_bound >= result.bound >= result.objective
        assert violation(program, result.x) <= 1e-9


def test_the_bound_holds_for_any_duals() -> None:
    program = knapsacks(3, n_items=12)
    best = solve_here(program, SolverOptions(gap=0.0)).objective
    rng = np.random.default_rng(0)
    for _ in range(50):
        assert dual_bound(program, rng.normal(0, 3, 4))[0] >= best - 1e-9


def test_a_wide_gap_stops_early_and_says_so() -> None:
    program = knapsacks(1, n_items=60)
    rough, exact = solve_here(program, SolverOptions(gap=0.05)), solve_here(program, SolverOptions(gap=0.0))
    assert rough.gap <= 0.05
    assert rough.objective <= exact.objective <= rough.bound + 1e-6
    assert rough.bound >= exact.bound - 1e-6


def test_a_start_is_used_and_a_bad_one_is_not() -> None:
    program = knapsacks(2)
    best = solve_here(program, SolverOptions(gap=0.0))
    given = solve_here(program, SolverOptions(gap=0.0), start=lambda relaxed, seconds: best.x)
    assert given.objective == best.objective
    assert "start" in given.road
    wrong = solve_here(program, SolverOptions(gap=0.0), start=lambda relaxed, seconds: np.ones(40))
    assert wrong.objective == pytest.approx(best.objective)
    assert "no start" in wrong.road


def test_the_child_process_gives_the_same_answer() -> None:
    program = knapsacks(4)
    here = solve_here(program, ISOLATED)
    with SolverProcess() as process:
        there = process.solve(program, ISOLATED)
        first = process.pid
        again = solve(knapsacks(5), ISOLATED, process=process)
        assert process.pid == first
    assert there.objective == here.objective
    assert np.array_equal(there.x, here.x)
    assert again.status == "optimal"
    assert process.pid is None


def test_a_stuck_child_is_killed_and_its_best_comes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """The child is stopped (not ended) as soon as it has told of a point: it can't answer, nor keep its limit."""
    monkeypatch.setattr(worker, "GRACE", 0.5)

    class Stopped(SolverProcess):
        stopped = 0

        def _next(self, deadline: float) -> tuple[str, Any]:
            message = super()._next(deadline)
            if message[0] == "point" and not self.stopped:
                self.stopped = self.pid or 0
                os.kill(self.stopped, signal.SIGSTOP)
                self._messages.queue.clear()
            return message

    program = knapsacks(6, n_items=300, n_rows=30)
    options = SolverOptions(gap=0.0, time_limit=1.0, isolate_from=0)
    with Stopped() as process:
        result = process.solve(program, options)
        with pytest.raises(ProcessLookupError):
            os.kill(process.stopped, 0)
        assert result.status == "time limit"
        assert violation(program, result.x) <= 1e-6
        assert result.objective == pytest.approx(value(program, result.x))
        assert result.bound >= result.objective
        assert "killed" in result.road
        # The next program gets a new child.
        assert process.solve(knapsacks(7), ISOLATED).status == "optimal"


def test_clashing_rules_are_the_fewest() -> None:
    builder = ProgramBuilder()
    x = builder.columns(np.ones(4))
    builder.rows(x, 1.0, rule="at most two", upper=2.0)
    builder.rows(x[:2], 1.0, rule="harmless", upper=2.0)
    builder.rows(x.reshape(-1, 1)[:3], 1.0, rule="three named", lower=1.0)
    program = builder.compile()
    assert clashing_groups(program) == [("at most two", ""), ("three named", "")]
    assert solve_here(program).status == "infeasible"
    with SolverProcess() as process:
        assert process.clashing_groups(program, ISOLATED) == [("at most two", ""), ("three named", "")]
    builder = ProgramBuilder()
    builder.rows(builder.columns(np.ones(2)), 1.0, rule="fine", upper=1.0)
    assert clashing_groups(builder.compile()) == []


def test_no_integer_point_is_infeasible_too() -> None:
    """The relaxation has a solution, the program none: two of three must be equal to one half together."""
    builder = ProgramBuilder()
    x = builder.columns(np.ones(2))
    builder.rows(x, 2.0, rule="odd", lower=1.0, upper=1.0)
    assert solve_here(builder.compile()).status == "infeasible"
    assert clashing_groups(builder.compile()) == [("odd", "")]
