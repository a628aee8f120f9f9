"""Ranges against enumeration, and against what must hold of any range."""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np
import pytest

from geomarket.assortment import RangeRules, SolverOptions, optimise
from geomarket.assortment.audit import check_ranges
from geomarket.assortment.milp import violation
from geomarket.assortment.optimise import solve_ranges
from geomarket.assortment.problem import Limit, RangeProblem
from geomarket.assortment.program import range_program
from geomarket.assortment.search import RangeSearch
from geomarket.errors import InfeasibleError

EXACT = SolverOptions(gap=0.0, time_limit=60.0)


def small_problem(seed: int, *, widths: bool = False, n_skus: int = 5) -> RangeProblem:
    """Two clusters, the first with two planogram sizes; 4, 2 and 3 stores; two distribution centres."""
    rng = np.random.default_rng(seed)
    margin = rng.gamma(1.0, 5.0, (3, n_skus)) - 1.0
    store_planogram = np.repeat([0, 1, 2], [4, 2, 3])
    ranges_today = rng.random((9, n_skus)) < 0.5
    pairs = np.array([(i, j) for i in range(n_skus) for j in range(n_skus) if i != j and rng.random() < 0.5])
    return RangeProblem(
        category="tea",
        skus=np.array([f"k{i}" for i in range(n_skus)]),
        clusters=("C1", "C2"),
        cluster=np.array([0, 0, 1]),
        tiers=("S", "L", "all"),
        stores=np.array([4, 2, 3]),
        capacity=np.array([11.0, 21.0, 16.0]) if widths else np.array([2.0, 4.0, 3.0]),
        space=rng.uniform(3, 9, n_skus).round(1) if widths else np.ones(n_skus),
        margin=margin,
        core=np.zeros(n_skus, dtype=bool),
        must=np.zeros((3, n_skus), dtype=bool),
        banned=np.zeros((3, n_skus), dtype=bool),
        units=rng.gamma(2.0, 5.0, (3, n_skus)),
        pairs=pairs,
        transfer=np.zeros((3, len(pairs))),
        listed_today=np.array([ranges_today[store_planogram == n].sum(axis=0) for n in range(3)]),
        ranges_today=ranges_today,
        store_planogram=store_planogram,
        centres=np.array([[True, False, True], [False, True, False]]),
        order_units=rng.gamma(2.0, 6.0, n_skus),
    )


def best_by_enumeration(problem: RangeProblem, rules: RangeRules) -> float:
    """Value of the best range, by trying every one; all rules written out a second time."""
    levels = range(rules.max_facings + 1)
    states = np.array(list(itertools.product(levels, repeat=problem.skus.size)))
    mine = [states[states @ problem.space <= room + 1e-9] for room in problem.capacity]
    value = [np.array([_planogram_value(problem, rules, n, s) for s in mine[n]]) for n in range(3)]
    index = np.array(np.meshgrid(*(np.arange(len(m)) for m in mine), indexing="ij")).reshape(3, -1)
    index = index[:, (mine[0][index[0]] <= mine[1][index[1]]).all(axis=1)]  # small is part of large
    total = sum(value[n][index[n]] for n in range(3))
    small, large, other = (mine[n][index[n]] > 0 for n in range(3))
    fine = ((small | ~problem.must[0]) & (large | ~problem.must[1]) & (other | ~problem.must[2])).all(axis=1)
    fine &= ~((small & problem.banned[0]) | (large & problem.banned[1]) | (other & problem.banned[2])).any(
        axis=1
    )
    everywhere = (small if rules.core_in == "every_store" else large) & other
    fine &= (everywhere | ~problem.core).all(axis=1)
    smallest = min(problem.capacity[0 if rules.core_in == "every_store" else 1], problem.capacity[2])
    fine &= everywhere @ problem.space >= rules.core_share * smallest - 1e-9
    carried = small | large | other
    stores = 4 * small + 2 * large + 3 * other
    fine &= ((stores == 0) | (stores >= rules.min_stores)).all(axis=1)
    if rules.order_periods:
        sold = small * problem.units[0] + large * problem.units[1] + other * problem.units[2]
        fine &= (~carried | (sold >= problem.order_units - 1e-9)).all(axis=1)
    if rules.max_distinct is not None:
        fine &= carried.sum(axis=1) <= rules.max_distinct
    if rules.max_changes is not None:
        for store, planogram in enumerate(problem.store_planogram):
            changed = ((small, large, other)[planogram] != problem.ranges_today[store]).sum(axis=1)
            fine &= changed <= rules.max_changes
    for limit in problem.limits:
        for n, ranges in enumerate((small, large, other)):
            count = ranges[:, limit.members].sum(axis=1)
            fine &= ~limit.where[n] | ((count >= limit.least) & (count <= limit.most))
    total = total - rules.sku_cost * carried.sum(axis=1)
    total = total - rules.dc_cost * ((small | other).sum(axis=1) + large.sum(axis=1))
    # One ladder: by capacity the planograms run S of C1, C2, L of C1.
    ladder = (small <= other).all(axis=1) & (other <= large).all(axis=1)
    total = total - rules.range_cost * np.where(ladder, 1, 2)
    return float(total[fine].max()) if fine.any() else -np.inf


def _planogram_value(problem: RangeProblem, rules: RangeRules, n: int, facings: np.ndarray) -> float:
    extra = [0.0, 1.0]
    for share in rules.facing_returns:
        extra.append(extra[-1] + share)
    money = sum(problem.margin[n, k] * extra[f] for k, f in enumerate(facings))
    for (i, j), moved in zip(problem.pairs, problem.transfer[n]):
        if facings[i] == 0 and facings[j] > 0:
            money += moved
    if n > 0:
        money -= rules.listing_cost * (facings > 0).sum()
    for store in np.flatnonzero(problem.store_planogram == n):
        money -= rules.change_cost * ((facings > 0) != problem.ranges_today[store]).sum()
    return money


def assert_solved(problem: RangeProblem, rules: RangeRules) -> bool:
    """Solved to the enumerated optimum, or infeasible where enumeration finds nothing; whether it was feasible."""
    best = best_by_enumeration(problem, rules)
    if best == -np.inf:
        with pytest.raises(InfeasibleError):
            solve_ranges(problem, rules, EXACT)
        return False
    facings, result, _ = solve_ranges(problem, rules, EXACT)
    assert result.status == "optimal"
    assert result.objective == pytest.approx(best, abs=1e-6)
    assert result.lp_bound >= result.bound >= best - 1e-6
    assert problem.worth(facings, rules) == pytest.approx(best, abs=1e-6)
    return True


RULES = {
    "space": RangeRules(),
    "listing cost": RangeRules(listing_cost=2.5),
    "core share": RangeRules(core_share=0.5, listing_cost=0.5),
    "core in stores": RangeRules(core_share=0.5, core_in="every_store"),
    "min stores": RangeRules(min_stores=5),
    "min stores and cost": RangeRules(min_stores=7, listing_cost=1.0),
    "common range": RangeRules(range_cost=3.0),
    "common range, core": RangeRules(range_cost=12.0, min_stores=5, core_share=0.3),
    "SKU cost": RangeRules(sku_cost=4.0),
    "most SKUs": RangeRules(max_distinct=3),
    "centres": RangeRules(dc_cost=3.0, min_stores=4),
    "cost of changes": RangeRules(change_cost=0.8),
    "most changes": RangeRules(max_changes=3, listing_cost=0.5),
    "orders": RangeRules(order_periods=1.0),
    "all at once": RangeRules(
        max_distinct=4,
        sku_cost=0.5,
        dc_cost=0.3,
        change_cost=0.2,
        order_periods=1.0,
        min_stores=3,
        core_share=0.2,
    ),
}


@pytest.mark.parametrize("widths", [False, True], ids=["count", "width"])
@pytest.mark.parametrize("name", RULES)
def test_ranges_equal_enumeration(name: str, widths: bool) -> None:
    """T7.1 in kind: 3 instances for each set of rules and both units, to 1e-6."""
    rules = dataclasses.replace(RULES[name], unit="width_cm" if widths else "count")
    feasible = 0
    for seed in range(3):
        problem = small_problem(seed, widths=widths)
        if seed == 1:
            problem.core[int(problem.margin.sum(axis=0).argmin())] = True
        if seed == 2:
            problem.banned[2, int(problem.margin[2].argmax())] = True
        feasible += assert_solved(problem, rules)
    assert feasible >= 1


@pytest.mark.parametrize("seed", range(20))
def test_facings_equal_enumeration(seed: int) -> None:
    """T7.1: up to three facings with stepwise returns, shelf width, twenty instances; rising returns in some."""
    problem = small_problem(100 + seed, widths=True, n_skus=4)
    returns = (0.2, 0.5) if seed % 4 == 3 else (0.5, 0.2)
    rules = RangeRules(unit="width_cm", max_facings=3, facing_returns=returns, listing_cost=0.3 * (seed % 3))
    assert assert_solved(problem, rules)


@pytest.mark.parametrize("seed", range(20))
def test_substitution_equals_enumeration(seed: int) -> None:
    """T7.4: demand of unlisted SKUs moves to listed ones, some of which lose money; twenty instances."""
    rng = np.random.default_rng(seed)
    problem = small_problem(200 + seed, widths=bool(seed % 2))
    money = rng.gamma(1.0, 3.0, problem.transfer.shape) * np.where(
        rng.random(problem.transfer.shape) < 0.15, -1, 1
    )
    problem = dataclasses.replace(problem, transfer=money)
    unit = "width_cm" if seed % 2 else "count"
    rules = [
        RangeRules(unit=unit),
        RangeRules(unit=unit, core_share=0.3, listing_cost=1.0),
        RangeRules(unit=unit, min_stores=5, sku_cost=1.0),
        RangeRules(unit=unit, max_facings=2, facing_returns=(0.3,)),
    ][seed % 4]
    assert assert_solved(problem, rules)


@pytest.mark.parametrize("seed", range(6))
def test_limits_equal_enumeration(seed: int) -> None:
    """Least and most of a kind, in all planograms or in one cluster's."""
    problem = small_problem(300 + seed)
    kinds = np.array([True, True, False, False, True])
    limits = (
        Limit(kinds, np.ones(3, dtype=bool), 0, 1, "at most 1 red"),
        Limit(~kinds, np.array([False, False, True]), 2, 2, "exactly 2 blue in C2"),
    )
    assert assert_solved(dataclasses.replace(problem, limits=limits), RangeRules(listing_cost=0.2 * seed))


def test_search_alone_is_feasible_and_near() -> None:
    """Add, drop and swap from a worthless relaxation: every rule holds, and the mean loss stays under 6%."""
    loss = []
    for seed in range(30):
        problem = small_problem(400 + seed, widths=bool(seed % 2))
        rng = np.random.default_rng(seed)
        problem = dataclasses.replace(problem, transfer=rng.gamma(1.0, 1.0, problem.transfer.shape))
        rules = RangeRules(unit="width_cm" if seed % 2 else "count", listing_cost=0.5)
        formulated = range_program(problem, rules)
        point = RangeSearch(problem, rules, formulated)(np.zeros(formulated.program.cost.size), 10.0)
        assert point is not None
        assert violation(formulated.program, point) <= 1e-9
        checks = check_ranges(problem, rules, formulated.facings(point), formulated.program.cost @ point)
        assert (checks["worst_violation"] <= 1e-9).all()
        best = best_by_enumeration(problem, rules)
        loss.append(1 - problem.worth(formulated.facings(point), rules) / best)
    assert min(loss) >= -1e-9
    assert np.mean(loss) < 0.06


@pytest.mark.parametrize("seed", range(6))
def test_who_shares_a_range_two_ways(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every choice of clusters that share, and one program with the choice in it, agree; sharing does occur."""
    rng = np.random.default_rng(seed)
    n_skus, cluster = 7, np.array([0, 0, 1, 2, 2, 3])
    base = rng.gamma(1.0, 5.0, n_skus)
    problem = RangeProblem(
        category="tea",
        skus=np.array([f"k{i}" for i in range(n_skus)]),
        clusters=("C1", "C2", "C3", "C4"),
        cluster=cluster,
        tiers=("S", "L", "all", "S", "L", "all"),
        stores=rng.integers(1, 5, 6),
        capacity=np.array([2.0, 4.0, 3.0, 2.0, 5.0, 3.0]),
        space=np.ones(n_skus),
        margin=base * np.exp(rng.normal(0, 0.5, (4, n_skus)))[cluster],
        core=np.zeros(n_skus, dtype=bool),
        must=np.zeros((6, n_skus), dtype=bool),
        banned=np.zeros((6, n_skus), dtype=bool),
    )
    values, ranges = [], []
    for cost in (0.02, 2.0, 5.0, 20.0):
        rules = RangeRules(range_cost=cost, listing_cost=0.3, min_stores=2)
        facings, result, _ = solve_ranges(problem, rules, EXACT)
        with monkeypatch.context() as patch:
            patch.setattr(optimise, "MOST_ENUMERATED", 0)
            _, other, _ = solve_ranges(problem, rules, EXACT)
        assert result.status == other.status == "optimal"
        assert result.objective == pytest.approx(other.objective, abs=1e-6)
        assert problem.worth(facings, rules) == pytest.approx(result.objective, abs=1e-6)
        values.append(result.objective)
        ranges.append(problem.distinct_ranges(facings > 0))
    assert values == sorted(values, reverse=True)
    assert ranges == sorted(ranges, reverse=True)
    assert ranges[-1] == 1
    assert ranges[0] > 1


@pytest.mark.parametrize("name", RULES)
def test_search_without_a_relaxation_keeps_the_rules_or_hands_back_nothing(name: str) -> None:
    """What is left when the solver finds nothing in time: feasible by the program, for nearly all rules and seeds."""
    found = 0
    for seed in range(6):
        problem = small_problem(seed)
        formulated = range_program(problem, RULES[name])
        point = RangeSearch(problem, RULES[name], formulated)(np.zeros(formulated.program.cost.size), 5.0)
        if point is not None and violation(formulated.program, point) <= 1e-9:
            worth = problem.worth(formulated.facings(point), RULES[name])
            assert worth <= best_by_enumeration(problem, RULES[name]) + 1e-9
            found += 1
    assert found >= (0 if name in ("most changes", "all at once") else 5)


def test_more_space_never_earns_less() -> None:
    """T7.7."""
    problem = small_problem(4, widths=True)
    values = []
    for factor in np.linspace(0.4, 2.5, 12):
        roomier = dataclasses.replace(problem, capacity=problem.capacity * factor)
        values.append(solve_ranges(roomier, RangeRules(unit="width_cm", min_stores=3), EXACT)[1].objective)
    assert np.all(np.diff(values) >= -1e-6)
    assert values[-1] > values[0] + 1.0


def test_a_broken_rule_is_seen_outside_the_solver() -> None:
    """T7.8, the other half: the check finds each violation planted into a good range."""
    problem = small_problem(0)
    problem.core[0] = problem.must[2, 1] = problem.banned[:2, 2] = True
    rules = RangeRules(core_share=0.6, min_stores=5)
    listed, result, checks = solve_ranges(problem, rules, EXACT)
    assert (checks["worst_violation"] <= 1e-9).all()
    planted = {
        "space": np.ones_like(listed),
        "nested": np.array([[1, 1, 0, 0, 0], [1, 0, 0, 0, 1], [1, 1, 0, 0, 0]], dtype=bool),
        "core": np.where(problem.core, False, listed),
        "core_share": np.array([[0, 1, 0, 0, 0], [0, 1, 0, 0, 0], [1, 0, 0, 0, 0]], dtype=bool),
        "must_list": np.where(problem.must, False, listed),
        "must_not": np.where(problem.banned, True, listed),
        "min_stores": np.array([[1, 1, 0, 0, 0], [1, 1, 0, 0, 1], [1, 1, 0, 0, 0]], dtype=bool),
    }
    for rule, broken in planted.items():
        found = check_ranges(problem, rules, broken.astype(int), 0.0).set_index("rule")["worst_violation"]
        assert found[rule] > 0.1, rule
    dearer = check_ranges(problem, rules, listed, result.objective + 1.0).set_index("rule")["worst_violation"]
    assert dearer["money"] > 1e-3
