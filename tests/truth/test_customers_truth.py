"""Customer figures against what must be true: coverage of the intervals, exact identities."""

import numpy as np
import pytest
from scipy.stats import norm

from geomarket.customers import wilson_interval
from geomarket.customers.place import index_interval


def test_wilson_covers_at_small_counts_where_the_usual_interval_does_not():
    # n = 30, p = 0.05: the exact coverage of the 90 % Wilson interval is 0.94, that of Wald 0.78
    rng = np.random.default_rng(0)
    x = rng.binomial(30, 0.05, 20_000)
    low, high = wilson_interval(x, np.full(len(x), 30), confidence=0.9)
    assert 0.92 <= ((low <= 0.05) & (high >= 0.05)).mean() <= 0.96
    half = norm.ppf(0.95) * np.sqrt(x / 30 * (1 - x / 30) / 30)
    assert (np.abs(x / 30 - 0.05) <= half).mean() < 0.85


def test_wilson_agrees_with_statsmodels():
    from statsmodels.stats.proportion import proportion_confint

    x, n = np.array([0, 1, 7, 30]), np.array([12, 40, 20, 30])
    low, high = wilson_interval(x, n, confidence=0.95)
    oracle = proportion_confint(x, n, alpha=0.05, method="wilson")
    assert np.allclose(low, oracle[0], atol=1e-12)
    assert np.allclose(high, oracle[1], atol=1e-12)


def test_index_interval_covers_the_true_index():
    rng = np.random.default_rng(1)
    population = np.array([2000.0, 5000.0, 9000.0, 20000.0])
    rate = np.array([0.03, 0.01, 0.02, 0.015])
    truth = 100 * rate / (rate @ population / population.sum())
    covered = []
    for _ in range(2000):
        _, low, high = index_interval(rng.binomial(population.astype(int), rate), population, confidence=0.9)
        covered.append((low <= truth) & (truth <= high))
    # 3 standard errors of 2,000 draws are 0.02
    assert np.all(np.abs(np.mean(covered, axis=0) - 0.9) < 0.025)


def test_population_weighted_index_is_100():
    rng = np.random.default_rng(2)
    population = rng.integers(500, 5000, 8).astype(float)
    index, _, _ = index_interval(rng.binomial(population.astype(int), 0.05), population)
    assert index @ population / population.sum() == pytest.approx(100, rel=1e-12)
