"""One category's best ranges: program, search, solver, and the check afterwards."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd

from geomarket.assortment.audit import check_ranges
from geomarket.assortment.problem import RangeProblem
from geomarket.assortment.program import RULE_WORDS, STRUCTURE, RangeProgram, range_program
from geomarket.assortment.rules import RangeRules
from geomarket.assortment.search import RangeSearch
from geomarket.assortment.solving import SolverOptions, SolverResult, clashing_groups
from geomarket.assortment.worker import SolverProcess, solve
from geomarket.errors import InfeasibleError, SolverError

__all__ = ["solve_ranges"]


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
