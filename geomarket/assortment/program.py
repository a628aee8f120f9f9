"""A category's ranges as a mixed-integer program."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from geomarket.assortment.milp import LinearProgram, ProgramBuilder
from geomarket.assortment.problem import RangeProblem
from geomarket.assortment.rules import RangeRules

__all__ = ["RULE_WORDS", "RangeProgram", "range_program"]

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

#: What each rule is called when it clashes with others.
RULE_WORDS = {
    "space": "the space of {scope}",
    "core": "the core list",
    "core_share": "the share of the range that must be common",
    "must_list": "the must-list of {scope}",
    "must_not": "the must-not list of {scope}",
    "min_stores": "the least number of stores per SKU",
    "case_pack": "the longest a case may last in {scope}",
    "order": "the minimum order quantities",
    "max_distinct": "the most SKUs in the chain",
    "max_changes": "the most changes in a store",
    "limit": "{scope}",
    "range_cost": "the common range",
}
#: Rules that hold by construction and are never named in a clash.
STRUCTURE = ("nested", "facings", "substitution", "carried", "centres")


@dataclass(frozen=True)
class RangeProgram:
    """The program of a category and where its columns are; -1 where a group of columns isn't needed.

    Attributes
    ----------
    program : LinearProgram
    facing : ndarray of shape (n_facings, n_planograms, n_skus)
        Binary "has at least so many facings"; the first is "is listed".
    both : ndarray of shape (n_planograms, n_edges)
        Both SKUs of a pair with substitution are listed; ``edges``, shape (n_edges, 2), are those pairs.
    common, carried : ndarray of shape (n_skus,)
        In the common core; listed anywhere.
    stocked : ndarray of shape (n_centres, n_skus)
    own : ndarray of shape (n_clusters,)
        The cluster has a range of its own; only where ``RangeProblem.shared`` leaves that open.
    """

    program: LinearProgram
    facing: Ints
    both: Ints
    edges: Ints
    common: Ints
    carried: Ints
    stocked: Ints
    own: Ints

    def facings(self, x: Floats) -> Ints:
        """Facings of each planogram and SKU in a solution."""
        return (x[self.facing] > 0.5).sum(axis=0).astype(np.int64)

    def point(self, problem: RangeProblem, rules: RangeRules, facings: Ints) -> Floats:
        """The solution with these facings: all other columns follow from them."""
        listed = facings > 0
        x = np.zeros(self.program.cost.size)
        x[self.facing] = facings[None] > np.arange(len(self.facing))[:, None, None]
        if self.both.size:
            x[self.both] = listed[:, self.edges[:, 0]] & listed[:, self.edges[:, 1]]
        if self.common.size:
            x[self.common] = listed[problem.core_planograms(rules)].all(axis=0)
        if self.carried.size:
            x[self.carried] = listed.any(axis=0)
        if self.stocked.size and problem.centres is not None:
            x[self.stocked] = np.array([listed[served].any(axis=0) for served in problem.centres])
        x[self.own] = 1.0
        return x


def range_program(problem: RangeProblem, rules: RangeRules) -> RangeProgram:
    """Write the category as a mixed-integer program.

    Columns beside the binary facings are continuous wherever they are integral once the facings are.
    """
    builder = ProgramBuilder()
    worth, constant = problem.listing_value(rules)
    edges, shared_money = _edges(problem)
    for (_, substitute), money in zip(problem.pairs, problem.transfer.T):
        worth[:, substitute] += money
    returns = [worth, *(problem.margin * share for share in rules.facing_returns)]
    facing = builder.columns(np.array(returns))
    x = facing[0]
    for planogram, capacity in enumerate(problem.capacity):
        terms, space = facing[:, planogram].ravel(), np.tile(problem.space, len(facing))
        builder.rows(terms, space, rule="space", scope=problem.name(planogram), upper=capacity)
    for more, fewer in zip(facing[1:], facing[:-1]):
        builder.at_most(more, fewer, rule="facings")
    for smaller, larger in problem.nested:
        builder.at_most(facing[:, smaller], facing[:, larger], rule="nested")
    both = _substitution(builder, x, edges, shared_money)
    _lists(builder, problem, rules, x)
    common = _core(builder, problem, rules, x)
    carried = _carried(builder, problem, rules, x)
    stocked = _centres(builder, problem, rules, x)
    for limit in problem.limits:
        rows = x[np.ix_(limit.where, limit.members)]
        builder.rows(
            rows, 1.0, rule="limit", scope=limit.words, lower=float(limit.least), upper=float(limit.most)
        )
    if rules.max_changes is not None:
        _changes(builder, problem, rules.max_changes, x)
    own = _common_range(builder, problem, rules, x)
    if problem.shared is not None:
        constant -= rules.range_cost * len(problem.chains)
    return RangeProgram(builder.compile(constant), facing, both, edges, common, carried, stocked, own)


def _edges(problem: RangeProblem) -> tuple[Ints, Floats]:
    """Pairs of SKUs with substitution either way, and the money that doesn't move when both are listed."""
    if not problem.pairs.size:
        return np.zeros((0, 2), dtype=np.int64), np.zeros((problem.shape[0], 0))
    edges, number = np.unique(np.sort(problem.pairs, axis=1), axis=0, return_inverse=True)
    money = np.zeros((problem.shape[0], len(edges)))
    np.add.at(money.T, number, problem.transfer.T)
    return edges, money


def _substitution(builder: ProgramBuilder, x: Ints, edges: Ints, money: Floats) -> Ints:
    """Demand moves from SKU i to j where j is listed and i is not.

    ``T x_j (1 - x_i) = T x_j - T y`` with ``y = x_i x_j``, one column for both directions. Triangles of SKUs that
    substitute for each other give the cuts ``x_i + x_j + x_k - y_ij - y_jk - y_ik <= 1`` (Padberg, 1989, The boolean
    quadric polytope), without which the relaxation lists halves.
    """
    if not len(edges):
        return np.zeros((0, 0), dtype=np.int64)
    both = builder.columns(-money, integer=False)
    one, other = x[:, edges[:, 0]], x[:, edges[:, 1]]
    gain, loss = money > 0, money < 0
    builder.rows(
        np.column_stack([one[gain], other[gain], both[gain]]),
        [1.0, 1.0, -1.0],
        rule="substitution",
        upper=1.0,
    )
    # Buyers switch to a SKU that loses money just the same.
    for end in (one, other):
        builder.at_most(both[loss], end[loss], rule="substitution")
    corners, sides = _triangles(edges)
    if len(corners):
        usable = gain[:, sides].all(axis=2)
        columns = np.concatenate([x[:, corners], both[:, sides]], axis=2)
        builder.cuts(columns[usable], [1.0, 1.0, 1.0, -1.0, -1.0, -1.0], 1.0)
    return both


def _triangles(edges: Ints) -> tuple[Ints, Ints]:
    """Corners and sides (numbers of edges) of every triangle, each of shape (n_triangles, 3)."""
    number = {(int(a), int(b)): i for i, (a, b) in enumerate(edges)}
    after: dict[int, list[int]] = {}
    for a, b in number:
        after.setdefault(a, []).append(b)
    corners, sides = [], []
    for (a, b), side in number.items():
        for c in after.get(b, ()):
            if (a, c) in number:
                corners.append((a, b, c))
                sides.append((side, number[b, c], number[a, c]))
    return np.array(corners, dtype=np.int64).reshape(-1, 3), np.array(sides, dtype=np.int64).reshape(-1, 3)


def _lists(builder: ProgramBuilder, problem: RangeProblem, rules: RangeRules, x: Ints) -> None:
    if problem.core.any():
        held = problem.core_planograms(rules)
        builder.rows(x[np.ix_(held, problem.core)].reshape(-1, 1), 1.0, rule="core", lower=1.0)
    for number, cluster in enumerate(problem.clusters):
        here = (problem.cluster == number)[:, None]
        builder.rows(x[problem.must & here].reshape(-1, 1), 1.0, rule="must_list", scope=cluster, lower=1.0)
        builder.rows(x[problem.banned & here].reshape(-1, 1), 1.0, rule="must_not", scope=cluster, upper=0.0)
        if problem.slow is not None:
            builder.rows(
                x[problem.slow & here].reshape(-1, 1), 1.0, rule="case_pack", scope=cluster, upper=0.0
            )


def _core(builder: ProgramBuilder, problem: RangeProblem, rules: RangeRules, x: Ints) -> Ints:
    if rules.core_share == 0:
        return np.zeros(0, dtype=np.int64)
    common = builder.columns(np.zeros(problem.skus.size), integer=False)
    for planogram in problem.core_planograms(rules):
        builder.at_most(common, x[planogram], rule="core_share")
    builder.rows(common, problem.space, rule="core_share", lower=problem.core_needed(rules))
    return common


def _carried(builder: ProgramBuilder, problem: RangeProblem, rules: RangeRules, x: Ints) -> Ints:
    """Rules on a SKU over the whole chain."""
    orders = rules.order_periods is not None and problem.order_units is not None
    if not (rules.min_stores > 1 or rules.sku_cost or rules.max_distinct is not None or orders):
        return np.zeros(0, dtype=np.int64)
    carried = builder.columns(np.full(problem.skus.size, -rules.sku_cost), integer=False)
    for planogram in problem.largest:
        builder.at_most(x[planogram], carried, rule="carried")
    both = np.vstack([x, carried]).T
    if rules.min_stores > 1:
        counts = np.append(problem.stores.astype(float), -float(rules.min_stores))
        builder.rows(both, counts, rule="min_stores", lower=0.0)
    if orders and problem.units is not None and problem.order_units is not None:
        needed = problem.order_units
        ordered = np.column_stack([problem.units.T, -needed])[needed > 0]
        # Scaled, so that the solver's tolerance is a share of the order.
        scale = np.where(needed > 0, needed, 1.0)[needed > 0][:, None]
        builder.rows(both[needed > 0], ordered / scale, rule="order", lower=0.0)
    if rules.max_distinct is not None:
        builder.rows(carried, 1.0, rule="max_distinct", upper=float(rules.max_distinct))
    return carried


def _centres(builder: ProgramBuilder, problem: RangeProblem, rules: RangeRules, x: Ints) -> Ints:
    if not rules.dc_cost or problem.centres is None:
        return np.zeros((0, 0), dtype=np.int64)
    stocked = builder.columns(
        np.full((len(problem.centres), problem.skus.size), -rules.dc_cost), integer=False
    )
    for centre, served in enumerate(problem.centres):
        for planogram in np.flatnonzero(served):
            builder.at_most(x[planogram], stocked[centre], rule="centres")
    return stocked


def _changes(builder: ProgramBuilder, problem: RangeProblem, most: int, x: Ints) -> None:
    """Each store: listings plus delistings against today."""
    if problem.ranges_today is None or problem.store_planogram is None:
        return
    signs = np.where(problem.ranges_today, -1.0, 1.0)
    free = most - problem.ranges_today.sum(axis=1).astype(float)
    builder.rows(x[problem.store_planogram], signs, rule="max_changes", upper=free)


def _common_range(builder: ProgramBuilder, problem: RangeProblem, rules: RangeRules, x: Ints) -> Ints:
    """Clusters that aren't ``own`` all follow one nested ladder, ordered by the planograms' capacity."""
    if not rules.range_cost or problem.shared is not None:
        return np.zeros(0, dtype=np.int64)
    own = builder.columns(np.full(len(problem.clusters), -rules.range_cost))
    shared = builder.columns(np.array([-rules.range_cost]), integer=False)
    builder.rows(np.column_stack([own, np.repeat(shared, own.size)]), 1.0, rule="range_cost", lower=1.0)
    ladder = builder.columns(np.zeros(x.shape), integer=False)
    for below, above in itertools.pairwise(np.argsort(problem.capacity, kind="stable")):
        builder.at_most(ladder[below], ladder[above], rule="range_cost")
    for planogram, row in enumerate(x):
        switch = np.repeat(own[problem.cluster[planogram]], row.size)
        for here, there in ((row, ladder[planogram]), (ladder[planogram], row)):
            builder.rows(
                np.column_stack([here, there, switch]), [1.0, -1.0, -1.0], rule="range_cost", upper=0.0
            )
    return own
