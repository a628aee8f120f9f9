"""One category's best ranges: program, search, solver, and the check afterwards."""

from __future__ import annotations

import itertools
import time
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pandas as pd

from geomarket.assortment.audit import check_ranges
from geomarket.assortment.milp import relative_gap
from geomarket.assortment.problem import RangeProblem
from geomarket.assortment.program import RULE_WORDS, STRUCTURE, RangeProgram, range_program
from geomarket.assortment.rules import RangeRules
from geomarket.assortment.search import RangeSearch
from geomarket.assortment.solving import SolverOptions, SolverResult, clashing_groups
from geomarket.assortment.worker import SolverProcess, solve
from geomarket.errors import InfeasibleError, SolverError

__all__ = ["solve_ranges"]

#: Clusters up to which every choice of those that share a range is bounded by itself.
MOST_ENUMERATED = 8


def solve_ranges(
    problem: RangeProblem,
    rules: RangeRules,
    options: SolverOptions | None = None,
    process: SolverProcess | None = None,
) -> tuple[npt.NDArray[np.int64], SolverResult, pd.DataFrame]:
    """Solve one category.

    Parameters
    ----------
    problem : RangeProblem
        The category.
    rules : RangeRules
        What has to hold.
    options : SolverOptions, optional
        Gap, time limit, seed.
    process : SolverProcess, optional
        Where large programs are solved.

    Returns
    -------
    facings : ndarray of int, shape (n_planograms, n_skus)
        Facings of each SKU; 0 where not listed.
    result : SolverResult
        Status, objective, bounds and gap.
    checks : DataFrame
        rule, checked, worst_violation: each rule recomputed from ``facings`` alone.

    Raises
    ------
    InfeasibleError
        If no range satisfies the rules; names a set of rules that clash, none of which can be left out of it.
    SolverError
        If no range was found in time, or the one found breaks a rule.
    """
    options = options or SolverOptions()
    if rules.range_cost and 1 < len(problem.clusters) <= MOST_ENUMERATED:
        problem, formulated, result = _solve_sharing(problem, rules, options, process)
    else:
        problem = replace(problem, shared=None if rules.range_cost else ())
        formulated = range_program(problem, rules)
        result = solve(formulated.program, options, RangeSearch(problem, rules, formulated), process)
    if result.status == "infeasible":
        raise InfeasibleError(_clash(problem, formulated, options, process))
    if result.x is None:
        raise SolverError(
            f"{problem.category}: no range found in {options.time_limit:.0f} s. Raise the time limit or relax a rule."
        )
    facings = formulated.facings(result.x)
    checks = check_ranges(problem, rules, facings, result.objective)
    broken = checks[checks["worst_violation"] > 1e-6]
    if len(broken):
        raise SolverError(
            f"{problem.category}: the solver's range breaks {', '.join(broken['rule'])}; it is not used. "
            "Please report this with the input."
        )
    return facings, result, checks


def _solve_sharing(
    problem: RangeProblem, rules: RangeRules, options: SolverOptions, process: SolverProcess | None
) -> tuple[RangeProblem, RangeProgram, SolverResult]:
    """Try which clusters share a range, each choice a program of its own with a tight relaxation.

    Sharing only takes freedom away: what a set of clusters can earn bounds what any larger set can. So small sets are
    bounded first, and sets that contain one not worth it are not looked at.
    """
    began = time.perf_counter()
    n = len(problem.clusters)
    best: tuple[RangeProblem, RangeProgram, SolverResult] | None = None
    margins: dict[tuple[int, ...], float] = {}
    ceiling, columns, rows, tried, late = -np.inf, 0, 0, 0, False
    for shared in [(), *(s for size in range(2, n + 1) for s in itertools.combinations(range(n), size))]:
        cost = rules.range_cost * (n - len(shared) + bool(shared))
        value = best[2].objective if best else -np.inf
        # Up to the gap asked for, a set needn't be told from the best.
        cutoff = value + options.gap * max(abs(value), 1.0) if best else -np.inf
        above = min((margins[s] for s in margins if set(s) <= set(shared)), default=np.inf)
        if above - cost <= cutoff:
            ceiling = max(ceiling, above - cost)
            continue
        left = options.time_limit - (time.perf_counter() - began)
        if left <= 0 and best:
            ceiling, late = max(ceiling, above - cost), True
            continue
        choice = replace(problem, shared=shared)
        formulated = range_program(choice, rules)
        limited = replace(options, time_limit=max(left, 0.1))
        result = solve(formulated.program, limited, RangeSearch(choice, rules, formulated), process, cutoff)
        tried += 1
        columns, rows = columns + result.n_columns, rows + result.n_rows
        if result.status == "infeasible":
            if not shared:
                return choice, formulated, result
            margins[shared] = -np.inf
            continue
        margins[shared] = result.bound + cost
        ceiling = max(ceiling, result.bound)
        if result.x is not None and result.objective > value:
            best = (choice, formulated, result)
    if best is None:
        return choice, formulated, result
    choice, formulated, result = best
    bound = max(ceiling, result.objective)
    gap = relative_gap(bound, result.objective)
    proven = gap <= options.gap * (1 + 1e-6) + 1e-7 and not (late and gap > options.gap)
    return (
        choice,
        formulated,
        replace(
            result,
            status="optimal" if proven else "time limit",
            bound=bound,
            lp_bound=max(bound, result.lp_bound),
            gap=gap,
            seconds=time.perf_counter() - began,
            road=f"{tried} choices of clusters that share; {result.road}",
            n_columns=columns,
            n_rows=rows,
        ),
    )


def _clash(
    problem: RangeProblem, formulated: RangeProgram, options: SolverOptions, process: SolverProcess | None
) -> str:
    program = formulated.program
    isolated = process is not None and program.cost.size >= options.isolate_from
    found = (
        process.clashing_groups(program, options)
        if process and isolated
        else clashing_groups(program, options)
    )
    groups = [g for g in found if g[0] not in STRUCTURE]
    words = list(dict.fromkeys(RULE_WORDS[rule].format(scope=scope) for rule, scope in groups))
    if not words:
        return (
            f"{problem.category}: no range satisfies the rules; which of them clash was not settled in time."
        )
    rooms = ", ".join(
        f"{problem.name(i)} has room for {problem.capacity[i]:g}"
        for i in range(len(problem.tiers))
        if ("space", problem.name(i)) in groups
    )
    return (
        f"{problem.category}: no range satisfies {' and '.join(words)} together. "
        f"{rooms + '. ' if rooms else ''}Relax one of them."
    )
