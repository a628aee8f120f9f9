"""Ranges under the multinomial logit against enumeration and theory."""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np
import pytest

from geomarket.assortment import SolverOptions
from geomarket.assortment.choice import (
    ChoiceProblem,
    best_range,
    expected_margin,
    revenue_ordered,
    search_range,
)
from geomarket.errors import InfeasibleError, SettingsError


def random_problem(seed: int, n_types: int = 1, n_skus: int = 9, *, full: bool = False) -> ChoiceProblem:
    """With ``full``: space, listing cost, a must and a must-not."""
    rng = np.random.default_rng(seed)
    problem = ChoiceProblem(
        margin=rng.uniform(1, 10, n_skus),
        attraction=rng.lognormal(0, 1.2, (n_types, n_skus)) * (rng.random((n_types, n_skus)) < 0.8),
        customers=rng.uniform(1, 20, n_types),
    )
    if not full:
        return problem
    marked = np.arange(n_skus)
    return dataclasses.replace(
        problem,
        space=rng.uniform(1, 4, n_skus),
        capacity=10.0,
        cost=rng.uniform(0, 3, n_skus),
        must=marked == rng.integers(n_skus),
        banned=np.zeros(n_skus, dtype=bool),
    )


def enumerated(problem: ChoiceProblem) -> float:
    """Best value over all ranges, the choice model written out a second time."""
    best = -np.inf
    for bits in itertools.product([False, True], repeat=problem.n_skus):
        listed = np.array(bits)
        if problem.space is not None and problem.space[listed].sum() > problem.capacity:
            continue
        if problem.space is None and listed.sum() > problem.capacity:
            continue
        if problem.must is not None and (problem.must & ~listed).any():
            continue
        value = 0.0 if problem.cost is None else -problem.cost[listed].sum()
        for v, customers in zip(problem.attraction, problem.customers):
            value += customers * sum(problem.margin[listed] * v[listed]) / (1 + sum(v[listed]))
        best = max(best, value)
    return best


@pytest.mark.parametrize("seed", range(20))
def test_logit_ranges_equal_enumeration(seed: int) -> None:
    """T7.2: one type, without limit and with a number of places."""
    problem = random_problem(seed)
    for capacity in (np.inf, 1 + seed % 5):
        limited = dataclasses.replace(problem, capacity=float(capacity))
        result = best_range(limited)
        assert result.status == "optimal"
        assert result.value == pytest.approx(enumerated(limited), abs=1e-6)
        assert limited.allows(result.listed)


@pytest.mark.parametrize("seed", range(20))
def test_mixed_logit_with_space_and_cost_equals_enumeration(seed: int) -> None:
    """T7.3: one to four types, space, listing cost, a must-list."""
    problem = random_problem(50 + seed, n_types=1 + seed % 4, full=True)
    result = best_range(problem)
    best = enumerated(problem)
    assert result.status == "optimal"
    assert result.value == pytest.approx(best, abs=1e-6)
    assert result.bound >= best - 1e-6
    assert expected_margin(problem, result.listed) == result.value


def test_revenue_order_is_optimal_for_the_plain_logit() -> None:
    """T7.5 (Talluri and van Ryzin, 2004): forty instances, larger ones too."""
    for seed in range(40):
        problem = random_problem(100 + seed, n_skus=9 if seed < 30 else 40)
        ordered = expected_margin(problem, revenue_ordered(problem))
        assert ordered == pytest.approx(best_range(problem).value, rel=1e-6)


def test_revenue_order_is_not_optimal_with_costs_or_types() -> None:
    """T7.6: instances where it loses more than 2%, of one type with listing cost and of several without."""
    worst = {}
    for name, types, full in (("cost", 1, True), ("types", 4, False)):
        losses = []
        for seed in range(25):
            problem = random_problem(200 + seed, n_types=types, full=full)
            problem = problem if full else dataclasses.replace(problem, attraction=problem.attraction**3)
            best = best_range(problem).value
            losses.append(1 - expected_margin(problem, revenue_ordered(problem)) / best)
        assert min(losses) >= -1e-6
        worst[name] = max(losses)
    assert worst["cost"] > 0.02
    assert worst["types"] > 0.02


def test_search_finds_what_is_proven() -> None:
    """Saturated markets of 40 products and 8 types with few considered by each: search against the proven optimum."""
    losses = []
    for seed in range(8):
        rng = np.random.default_rng(seed)
        margin = rng.lognormal(0, 1, 40)
        considered = rng.random((8, 40)) < 0.12
        attraction = np.exp(rng.normal(0, 1, (8, 40)) - np.log(margin)) * 25 * considered
        problem = ChoiceProblem(margin, attraction, rng.dirichlet(np.ones(8)) * 100)
        proven = best_range(problem, SolverOptions(gap=1e-6, time_limit=60.0))
        assert proven.status == "optimal"
        losses.append(1 - expected_margin(problem, search_range(problem, 6)) / proven.value)
    assert max(losses) <= 2e-4
    assert np.mean(np.array(losses) <= 1e-9) >= 0.7


def test_same_seed_same_range_and_limits_are_kept() -> None:
    problem = dataclasses.replace(random_problem(7, n_types=3, n_skus=30, full=True), capacity=20.0)
    first, second = (search_range(problem, 8, random_state=3) for _ in range(2))
    assert np.array_equal(first, second)
    assert problem.allows(first)
    found = best_range(problem, SolverOptions(time_limit=0.0))
    assert (found.status, found.road) == ("time limit", "search")
    assert found.bound >= found.value


def test_bad_problems_say_what_is_wrong() -> None:
    problem = random_problem(1, full=True)
    with pytest.raises(InfeasibleError, match="must-list takes"):
        best_range(dataclasses.replace(problem, must=np.ones(9, dtype=bool), capacity=3.0))
    with pytest.raises(InfeasibleError, match="must-list and the must-not list"):
        best_range(dataclasses.replace(problem, banned=problem.must))
    with pytest.raises(SettingsError, match="margin has shape"):
        dataclasses.replace(problem, margin=np.ones(3))
    with pytest.raises(SettingsError, match="attraction must be finite and at least 0"):
        dataclasses.replace(problem, attraction=-problem.attraction)
