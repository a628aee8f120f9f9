"""Ranges against enumeration, and against what must hold of any range."""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np
import pytest

from geomarket.assortment import RangeRules, SolverOptions
from geomarket.assortment.audit import check_ranges
from geomarket.assortment.optimise import solve_ranges
from geomarket.assortment.problem import RangeProblem
from geomarket.errors import InfeasibleError

EXACT = SolverOptions(gap=0.0, time_limit=60.0)


def small_problem(seed: int, *, widths: bool = False) -> RangeProblem:
    """Two clusters, the first with two planogram sizes, five SKUs."""
    rng = np.random.default_rng(seed)
    n_skus = 5
    return RangeProblem(
        category="tea",
        skus=np.array([f"k{i}" for i in range(n_skus)]),
        clusters=("C1", "C2"),
        cluster=np.array([0, 0, 1]),
        tiers=("S", "L", "all"),
        stores=np.array([4, 2, 3]),
        capacity=np.array([11.0, 21.0, 16.0]) if widths else np.array([2.0, 4.0, 3.0]),
        space=rng.uniform(3, 9, n_skus).round(1) if widths else np.ones(n_skus),
        margin=rng.gamma(1.0, 5.0, (3, n_skus)) - 1.0,
        core=np.zeros(n_skus, dtype=bool),
        must=np.zeros((3, n_skus), dtype=bool),
        banned=np.zeros((3, n_skus), dtype=bool),
    )


def best_by_enumeration(problem: RangeProblem, rules: RangeRules) -> float:
    """Value of the best range, by trying every one; rules written out again, not shared with the package."""
    subsets = [
        np.array(bits, dtype=bool) for bits in itertools.product([False, True], repeat=problem.skus.size)
    ]
    fitting = [[s for s in subsets if problem.space[s].sum() <= room + 1e-9] for room in problem.capacity]
    best = -np.inf
    for small, large, other in itertools.product(*fitting):
        if (small & ~large).any():
            continue
        everywhere = (small if rules.core_in == "every_store" else large) & other
        if (problem.core & ~everywhere).any():
            continue
        smallest = min(
            problem.capacity[0] if rules.core_in == "every_store" else problem.capacity[1],
            problem.capacity[2],
        )
        if problem.space[everywhere].sum() < rules.core_share * smallest - 1e-9:
            continue
        ranges = np.array([small, large, other])
        if (problem.must & ~ranges).any() or (problem.banned & ranges).any():
            continue
        stores = problem.stores @ ranges
        if ((stores > 0) & (stores < rules.min_stores)).any():
            continue
        # One ladder: by capacity the planograms run S of C1, C2, L of C1.
        one_ladder = not (small & ~other).any() and not (other & ~large).any()
        value = (problem.margin * ranges).sum() - rules.listing_cost * (large.sum() + other.sum())
        best = max(best, value - rules.range_cost * (1 if one_ladder else 2))
    return best


RULES = [
    RangeRules(),
    RangeRules(listing_cost=2.5),
    RangeRules(core_share=0.5, listing_cost=0.5),
    RangeRules(core_share=0.5, core_in="every_store"),
    RangeRules(min_stores=5),
    RangeRules(min_stores=7, listing_cost=1.0),
    RangeRules(range_cost=3.0),
    RangeRules(range_cost=12.0, min_stores=5, core_share=0.3),
]


@pytest.mark.parametrize("widths", [False, True], ids=["count", "width"])
@pytest.mark.parametrize("rules", RULES, ids=range(len(RULES)))
def test_ranges_equal_enumeration(rules: RangeRules, widths: bool) -> None:
    """T7.1 and T7.2 in kind: 3 instances for each of 8 sets of rules and both units, to 1e-6."""
    rules = dataclasses.replace(rules, unit="width_cm" if widths else "count")
    for seed in range(3):
        problem = small_problem(seed, widths=widths)
        if seed == 1:
            problem.core[int(problem.margin.sum(axis=0).argmin())] = True
        if seed == 2:
            problem.banned[2, int(problem.margin[2].argmax())] = True
        best = best_by_enumeration(problem, rules)
        if best == -np.inf:
            with pytest.raises(InfeasibleError):
                solve_ranges(problem, rules, EXACT)
            continue
        listed, result, _ = solve_ranges(problem, rules, EXACT)
        assert result.status == "optimal"
        assert result.objective == pytest.approx(best, abs=1e-6)
        assert result.bound >= best - 1e-6
        assert (listed[0] <= listed[1]).all()


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
        assert found[rule] > 0.5, rule
    dearer = check_ranges(problem, rules, listed, result.objective + 1.0).set_index("rule")["worst_violation"]
    assert dearer["money"] > 1e-3
