"""Customer figures against what must be true: coverage of the intervals, exact identities."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import norm

from geomarket.customers import BgNbd, GammaGamma, lifetime_value, wilson_interval
from geomarket.customers.lifetime import _trips_if_alive, alive_probability, conditional_trips
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


TRUE = np.array([0.8, 4.0, 0.6, 2.4])


def simulate_trips(n, seed, weeks=52.0, future=26.0):
    """Histories of a BG/NBD population followed for ``weeks``, and the trips of the ``future`` weeks after."""
    rng = np.random.default_rng(seed)
    r, alpha, a, b = TRUE
    rate, leave = rng.gamma(r, 1 / alpha, n), rng.beta(a, b, n)
    x, tx, later, now = np.zeros(n), np.zeros(n), np.zeros(n), np.zeros(n)
    active = np.ones(n, dtype=bool)
    while active.any():
        i = np.flatnonzero(active)
        now[i] += rng.exponential(1 / rate[i])
        over = now[i] > weeks + future
        active[i[over]] = False
        i = i[~over]
        seen = now[i] <= weeks
        x[i[seen]] += 1
        tx[i[seen]] = now[i[seen]]
        later[i[~seen]] += 1
        active[i[rng.random(len(i)) < leave[i]]] = False
    return x, tx, np.full(n, weeks), later


@pytest.mark.parametrize("seed", [0, 1])
def test_bgnbd_recovers_the_population(seed):
    # thresholds are about 4 standard deviations over seeds at this size
    x, tx, age, later = simulate_trips(10_000, seed)
    model = BgNbd().fit(x, tx, age)
    r, alpha, a, b = model.params
    assert abs(r / 0.8 - 1) < 0.08
    assert abs(alpha / 4 - 1) < 0.12
    assert abs(a / (a + b) / 0.2 - 1) < 0.08
    assert abs(r / alpha / 0.2 - 1) < 0.08
    expected = model.expected_trips(26, x, tx, age)
    assert abs(expected.sum() / later.sum() - 1) < 0.05
    assert np.corrcoef(expected, later)[0, 1] > 0.75
    # P(alive) is a probability one can bet on: among customers at about p, about p come back or were still active
    alive = model.alive(x, tx, age)
    assert later[alive < 0.1].mean() < 0.15 * later[alive > 0.8].mean()


def test_bgnbd_standard_errors_match_the_spread_over_worlds():
    estimates, errors = [], []
    for seed in range(30):
        model = BgNbd().fit(*simulate_trips(1500, 100 + seed)[:3])
        estimates.append(np.log(model.params[:2]))
        errors.append(np.sqrt(np.diag(model.covariance_))[:2])
    # the ratio of a standard deviation from 30 draws has a standard error of 0.13
    ratio = np.std(estimates, axis=0, ddof=1) / np.mean(errors, axis=0)
    assert np.all(np.abs(ratio - 1) < 0.4)


def test_lifetime_models_agree_with_the_lifetimes_package():
    lifetimes = pytest.importorskip("lifetimes")
    x, tx, age, _ = simulate_trips(2000, 3)
    ours, theirs = BgNbd().fit(x, tx, age), lifetimes.BetaGeoFitter().fit(x, tx, age)
    assert np.allclose(ours.params, theirs.params_.to_numpy(), rtol=1e-4)
    given = theirs.params_.to_numpy()
    oracle = theirs.conditional_expected_number_of_purchases_up_to_time(26, x, tx, age)
    assert np.allclose(conditional_trips(given, 26, x, tx, age), oracle, rtol=0, atol=1e-9)
    assert np.allclose(
        alive_probability(given, x, tx, age), theirs.conditional_probability_alive(x, tx, age), atol=1e-12
    )
    rng = np.random.default_rng(0)
    n = rng.integers(1, 20, 2000)
    mean = rng.gamma(6 * n, 1 / rng.gamma(4, 1 / 15, 2000)) / n
    money, oracle = GammaGamma().fit(n, mean), lifetimes.GammaGammaFitter().fit(n, mean)
    assert np.allclose(money.params, oracle.params_.to_numpy(), rtol=1e-3)
    assert np.allclose(
        money.expected_value(n, mean), oracle.conditional_expected_average_profit(n, mean), rtol=1e-4
    )


def test_the_closed_form_agrees_with_the_integral_also_where_it_has_no_value():
    x, tx, age, _ = simulate_trips(300, 4)
    for a in (0.6, 2.2):
        params = np.array([0.8, 4.0, a, 2.4])
        closed = conditional_trips(params, 26, x, tx, age)
        integral = alive_probability(params, x, tx, age) * _trips_if_alive(0.8, 4.0, a, 2.4, 26, x, age)
        assert np.allclose(closed, integral, rtol=1e-4)
    at_one = conditional_trips(np.array([0.8, 4.0, 1.0, 2.4]), 26, x, tx, age)
    beside = [conditional_trips(np.array([0.8, 4.0, a, 2.4]), 26, x, tx, age) for a in (0.998, 1.002)]
    assert np.allclose(at_one, np.mean(beside, axis=0), rtol=1e-4)
    # a + b below 1 and no repeat trip: the textbook formula breaks down, the expectation does not
    small = conditional_trips(np.array([0.8, 4.0, 0.3, 0.5]), 26, x, tx, age)
    assert np.all(np.isfinite(small) & (small >= 0))


def test_gamma_gamma_recovers_the_mean_spend():
    # p = 6, q = 4, v = 15: mean 30; the standard deviation over seeds is 0.23
    rng = np.random.default_rng(5)
    n = rng.integers(1, 20, 5000)
    mean = rng.gamma(6 * n, 1 / rng.gamma(4, 1 / 15, 5000)) / n
    assert GammaGamma().fit(n, mean).mean_ == pytest.approx(30, rel=0.03)


def as_totals(x, tx, age, seed):
    rng = np.random.default_rng(seed)
    end = pd.Timestamp("2024-06-01")
    first = end - pd.to_timedelta(np.round(age * 7), unit="D")
    trips = (x + 1).astype(int)
    scale = rng.gamma(4, 1 / 15, len(x))
    totals = pd.DataFrame(
        {
            "customer_id": [f"c{i:05d}" for i in range(len(x))],
            "trips": trips,
            "first_date": first,
            "last_date": first + pd.to_timedelta(np.floor(tx * 7), unit="D"),
            "revenue": rng.gamma(6.0 * trips, 1 / scale),
        }
    )
    return totals, scale, end


def test_intervals_hold_the_future():
    inside, whole = [], []
    for seed in range(12):
        x, tx, age, later = simulate_trips(1500, 200 + seed)
        totals, scale, end = as_totals(x, tx, age, seed)
        value = lifetime_value(
            totals, end, horizon_months=6, discount_rate=0.0, n_draws=100, random_state=seed
        )
        # 6 months are 26.09 weeks, the simulated future 26
        money = np.random.default_rng(seed).gamma(np.maximum(6 * later, 1e-9), 1 / scale)
        money[later == 0] = 0.0
        row = value.totals.set_index("measure").loc["revenue"]
        whole.append(row["low"] <= money.sum() <= row["high"])
        inside.append(((value.table["low"] <= money) & (money <= value.table["high"])).mean())
    # counts are discrete, so the interval of one customer holds more than it must
    assert 0.88 <= np.mean(inside) <= 0.99
    # 12 draws at 0.9: fewer than 7 would be a 1-in-5,000 accident
    assert sum(whole) >= 7
