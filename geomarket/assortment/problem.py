"""One category's range problem: arrays, its program, and the check of a solution outside the solver."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from geomarket.assortment.milp import (
    LinearProgram,
    ProgramBuilder,
    SolverOptions,
    SolverResult,
    clashing_groups,
    solve,
)
from geomarket.assortment.rules import RangeRules
from geomarket.errors import InfeasibleError, SolverError

__all__ = ["RangeProblem", "check_ranges", "range_program", "solve_ranges"]

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

#: What each rule is called when it clashes with others.
RULE_WORDS = {
    "space": "the space of {scope}",
    "nested": "smaller planograms being part of larger ones",
    "core": "the core list",
    "core_share": "the share of the range that must be common",
    "must_list": "the must-list of {scope}",
    "must_not": "the must-not list of {scope}",
    "min_stores": "the least number of stores per SKU",
    "range_cost": "the common range",
}


@dataclass(frozen=True)
class RangeProblem:
    """A category over all planograms (one per store cluster and size).

    Attributes
    ----------
    category : str
    skus : ndarray of shape (n_skus,)
    clusters : tuple of str
        Store clusters with space for the category.
    cluster : ndarray of shape (n_planograms,)
        Number of the planogram's cluster; a cluster's planograms follow each other, smallest first.
    tiers : tuple of str
        Size of each planogram ("S", "M", "L" or "all").
    stores : ndarray of shape (n_planograms,)
        Stores that use it.
    capacity : ndarray of shape (n_planograms,)
    space : ndarray of shape (n_skus,)
        What one listing takes, in the capacity's unit.
    margin : ndarray of shape (n_planograms, n_skus)
        Money per period if all stores of the planogram list the SKU.
    core : ndarray of shape (n_skus,)
        SKUs named for the core.
    must, banned : ndarray of shape (n_planograms, n_skus)
        Listings demanded and forbidden.
    """

    category: str
    skus: npt.NDArray[np.str_]
    clusters: tuple[str, ...]
    cluster: Ints
    tiers: tuple[str, ...]
    stores: Ints
    capacity: Floats
    space: Floats
    margin: Floats
    core: Bools
    must: Bools
    banned: Bools

    @property
    def largest(self) -> Ints:
        """Number of the largest planogram of each cluster."""
        return np.flatnonzero(np.append(self.cluster[1:] != self.cluster[:-1], True))

    @property
    def smallest(self) -> Ints:
        """Number of the smallest planogram of each cluster."""
        return np.flatnonzero(np.append(True, self.cluster[1:] != self.cluster[:-1]))

    def core_planograms(self, rules: RangeRules) -> Ints:
        """Planograms a core SKU must be in (with nesting, all larger ones follow)."""
        return self.smallest if rules.core_in == "every_store" else self.largest

    def core_needed(self, rules: RangeRules) -> float:
        """Space the common core must fill: a share of the smallest range; whole SKUs when counted."""
        need = rules.core_share * float(self.capacity[self.core_planograms(rules)].min())
        return math.ceil(need - 1e-9) if rules.unit == "count" else need

    def name(self, planogram: int) -> str:
        """Words for one planogram."""
        cluster = self.clusters[self.cluster[planogram]]
        tier = self.tiers[planogram]
        return f"{cluster}" if tier == "all" else f"{cluster} size {tier}"


def range_program(problem: RangeProblem, rules: RangeRules) -> tuple[LinearProgram, Ints]:
    """Write the category as a mixed-integer program; return it and the listing columns, shaped as ``margin``.

    Binary ``x[planogram, sku]``; a column per SKU for "common" and "carried anywhere" only where a rule needs it.
    """
    builder = ProgramBuilder()
    n_skus = problem.skus.size
    gain = problem.margin.copy()
    gain[problem.largest] -= rules.listing_cost
    x = builder.columns(gain)
    _space_rows(builder, problem, x)
    for smaller in np.flatnonzero(problem.cluster[1:] == problem.cluster[:-1]):
        builder.at_most(x[smaller], x[smaller + 1], rule="nested")
    held = problem.core_planograms(rules)
    if problem.core.any():
        builder.rows(x[np.ix_(held, problem.core)].reshape(-1, 1), 1.0, rule="core", lower=1.0)
    if rules.core_share > 0:
        common = builder.columns(np.zeros(n_skus), integer=False)
        for planogram in held:
            builder.at_most(common, x[planogram], rule="core_share")
        builder.rows(common, problem.space, rule="core_share", lower=problem.core_needed(rules))
    for rule, marked, bound in (("must_list", problem.must, "lower"), ("must_not", problem.banned, "upper")):
        for number, cluster in enumerate(problem.clusters):
            mine = marked & (problem.cluster == number)[:, None]
            limits = {"lower": 1.0} if bound == "lower" else {"upper": 0.0}
            builder.rows(x[mine].reshape(-1, 1), 1.0, rule=rule, scope=cluster, **limits)
    if rules.min_stores > 1:
        carried = builder.columns(np.zeros(n_skus), integer=True)
        for planogram in problem.largest:
            builder.at_most(x[planogram], carried, rule="min_stores")
        counts = np.append(problem.stores.astype(float), -float(rules.min_stores))
        builder.rows(np.vstack([x, carried]).T, counts, rule="min_stores", lower=0.0)
    if rules.range_cost > 0:
        _common_range(builder, problem, rules, x)
    return builder.compile(), x


def _space_rows(builder: ProgramBuilder, problem: RangeProblem, x: Ints) -> None:
    for planogram, row in enumerate(x):
        builder.rows(
            row, problem.space, rule="space", scope=problem.name(planogram), upper=problem.capacity[planogram]
        )


def _common_range(builder: ProgramBuilder, problem: RangeProblem, rules: RangeRules, x: Ints) -> None:
    """Clusters that aren't ``own`` all follow one nested ladder, ordered by the planograms' capacity."""
    own = builder.columns(np.full(len(problem.clusters), -rules.range_cost))
    shared = builder.columns(np.array([-rules.range_cost]), integer=False)
    builder.rows(
        np.column_stack([own, np.repeat(shared, own.size)]), 1.0, rule="range_cost", lower=1.0
    )  # someone shares it
    ladder = builder.columns(np.zeros(x.shape), integer=False)
    order = np.argsort(problem.capacity, kind="stable")
    for below, above in itertools.pairwise(order):
        builder.at_most(ladder[below], ladder[above], rule="range_cost")
    for planogram, row in enumerate(x):
        switch = np.repeat(own[problem.cluster[planogram]], row.size)
        for here, there in ((row, ladder[planogram]), (ladder[planogram], row)):
            builder.rows(
                np.column_stack([here, there, switch]), [1.0, -1.0, -1.0], rule="range_cost", upper=0.0
            )


def solve_ranges(
    problem: RangeProblem, rules: RangeRules, options: SolverOptions
) -> tuple[Bools, SolverResult, pd.DataFrame]:
    """Solve one category.

    Returns
    -------
    listed : ndarray of bool, shape (n_planograms, n_skus)
    result : SolverResult
    checks : DataFrame
        rule, checked, worst_violation: each rule recomputed from ``listed`` alone.

    Raises
    ------
    InfeasibleError
        If no range satisfies the rules; names a set of rules that clash, none of which can be left out of it.
    SolverError
        If no range was found in time, or the one found breaks a rule.
    """
    program, x = range_program(problem, rules)
    result = solve(program, options)
    if result.status == "infeasible":
        raise InfeasibleError(_clash(problem, program, options))
    if result.x is None:
        raise SolverError(
            f"{problem.category}: no range found in {options.time_limit:.0f} s. Raise the time limit or relax a rule."
        )
    listed = result.x[x] > 0.5
    checks = check_ranges(problem, rules, listed, result.objective)
    broken = checks[checks["worst_violation"] > 1e-6]
    if len(broken):
        raise SolverError(
            f"{problem.category}: the solver's range breaks {', '.join(broken['rule'])}; it is not used. "
            "Please report this with the input."
        )
    return listed, result, checks


def _clash(problem: RangeProblem, program: LinearProgram, options: SolverOptions) -> str:
    groups = [g for g in clashing_groups(program, options) if g[0] != "nested"]
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


def check_ranges(problem: RangeProblem, rules: RangeRules, listed: Bools, objective: float) -> pd.DataFrame:
    """Recompute every rule from the listings alone, with no part of the program.

    ``objective`` is what the solver claims; the last line is how far the money recomputed here is from it,
    relative to it.
    """
    lines: list[tuple[str, int, float]] = []

    def check(rule: str, excess: npt.ArrayLike) -> None:
        values = np.atleast_1d(np.asarray(excess, dtype=float))
        lines.append((rule, values.size, float(max(0.0, values.max(initial=0.0)))))

    check("space", listed @ problem.space - problem.capacity)
    follows = problem.cluster[1:] == problem.cluster[:-1]
    check("nested", (listed[:-1] & ~listed[1:])[follows].sum(axis=1))
    held = listed[problem.core_planograms(rules)]
    check("core", (~held[:, problem.core]).sum(axis=1))
    if rules.core_share > 0:
        check("core_share", problem.core_needed(rules) - problem.space[held.all(axis=0)].sum())
    check("must_list", (problem.must & ~listed).sum(axis=1))
    check("must_not", (problem.banned & listed).sum(axis=1))
    if rules.min_stores > 1:
        stores = problem.stores @ listed
        check("min_stores", np.where(stores > 0, rules.min_stores - stores, 0))
    worth = float((problem.margin * listed).sum())
    worth -= rules.listing_cost * int(listed[problem.largest].sum())
    worth -= rules.range_cost * distinct_ranges(problem, listed)
    # Fewer distinct ranges than the solver paid for is no violation.
    check("money", (objective - worth) / max(1.0, abs(worth)))
    return pd.DataFrame(lines, columns=["rule", "checked", "worst_violation"])


def distinct_ranges(problem: RangeProblem, listed: Bools) -> int:
    """Count the ranges there are: clusters whose planograms fit one nested ladder share one.

    The largest set of clusters on a common ladder is searched exactly for up to 12 clusters, greedily beyond.
    """
    n = len(problem.clusters)
    order = np.argsort(problem.capacity, kind="stable")

    def nested(members: list[int]) -> bool:
        ladder = listed[order[np.isin(problem.cluster[order], members)]]
        return not (ladder[:-1] & ~ladder[1:]).any()

    pairs = np.eye(n, dtype=bool)
    for a in range(n):
        for b in range(a):
            pairs[a, b] = pairs[b, a] = nested([a, b])
    return n + 1 - _largest_clique(pairs) if n else 0


def _largest_clique(pairs: Bools) -> int:
    """Size of the largest set of mutually nested clusters (nesting is pairwise)."""
    best = 0

    def grow(size: int, candidates: list[int]) -> None:
        nonlocal best
        best = max(best, size)
        for i, vertex in enumerate(candidates):
            if size + len(candidates) - i <= best:
                return
            grow(size + 1, [other for other in candidates[i + 1 :] if pairs[vertex, other]])

    grow(0, list(range(len(pairs))))
    return best
