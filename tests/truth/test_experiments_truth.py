"""Truth tests of the measurement: coverage, power, exact fits, and an established package.

Coverage and power come from simulated stores whose level drifts slowly, so that a store's weeks hang together: what
makes weekly rows taken as independent so misleading.
"""

import numpy as np
import pandas as pd
import pytest

from geomarket.experiments import (
    measure_pairs,
    paired_estimate,
    power_of,
    sign_flip_interval,
    simplex_weights,
    synthetic_control,
)
from geomarket.experiments.intervals import t_interval
from geomarket.experiments.matching import match_units
from geomarket.experiments.synthetic import placebo_gaps, rank_interval

LIFT = 0.03
WEEKS = 13


def simulate_logs(reps, pairs, rng, persistence=0.8, drift=0.028, noise=0.03):
    """Log sales (reps, pairs, 2 arms, 2 × WEEKS): each store's slow drift, weekly noise, a common season."""
    shape = (reps, pairs, 2, 2 * WEEKS)
    shocks = rng.normal(0, drift * np.sqrt(1 - persistence**2), shape)
    slow = np.empty(shape)
    slow[..., 0] = rng.normal(0, drift, shape[:-1])
    for t in range(1, shape[-1]):
        slow[..., t] = persistence * slow[..., t - 1] + shocks[..., t]
    season = 0.2 * np.sin(np.arange(shape[-1]) / 4)
    logs = slow + rng.normal(0, noise, shape) + season + rng.normal(8, 0.5, shape[:2])[..., None, None]
    logs[:, :, 0, WEEKS:] += np.log1p(LIFT)
    return logs


def pair_differences(logs):
    sales = np.exp(logs)
    change = np.log(sales[..., WEEKS:].mean(-1)) - np.log(sales[..., :WEEKS].mean(-1))
    return change[..., 0] - change[..., 1]


@pytest.fixture(scope="module")
def differences():
    rng = np.random.default_rng(9)
    return {n: pair_differences(simulate_logs(1_000, n, rng)) for n in (6, 10, 20, 40)}


@pytest.mark.parametrize("pairs", [6, 10, 20, 40])
def test_t9_1_intervals_of_pairs_cover(differences, pairs):
    _, _, low, high = t_interval(differences[pairs], 0.9)
    truth = np.log1p(LIFT)
    assert 0.85 <= np.mean((low <= truth) & (truth <= high)) <= 0.95


@pytest.mark.parametrize("pairs", [6, 12])
def test_t9_1_sign_flip_intervals_cover(pairs):
    values = pair_differences(simulate_logs(500, pairs, np.random.default_rng(90)))
    edges = np.array([sign_flip_interval(row, 0.9) for row in values])
    truth = np.log1p(LIFT)
    assert 0.85 <= np.mean((edges[:, 0] <= truth) & (truth <= edges[:, 1])) <= 0.97


def test_t9_1_what_is_measured_is_what_was_simulated():
    logs = simulate_logs(1, 8, np.random.default_rng(3))
    weeks = pd.date_range("2024-01-01", periods=2 * WEEKS, freq="7D")
    store = [f"{arm}{p}" for p in range(8) for arm in "tc"]
    design = pd.DataFrame(
        {"store_id": store, "arm": ["test", "control"] * 8, "pair": np.repeat(range(8), 2), "near": ""}
    )
    sales = pd.DataFrame(
        {
            "store_id": np.repeat(store, 2 * WEEKS),
            "period": np.tile(weeks, 16),
            "revenue": np.exp(logs[0]).reshape(16, -1).ravel(),
        }
    )
    found = measure_pairs(design, sales.sample(frac=1, random_state=0), weeks[WEEKS], baseline=WEEKS)
    mean, se, low, high = t_interval(pair_differences(logs)[0])
    row = found.table.iloc[0]
    assert np.log1p(row[["lift", "low", "high"]].astype(float)).tolist() == pytest.approx(
        [mean, low, high], abs=1e-12
    )
    assert row["se"] == pytest.approx(se, abs=1e-12)


@pytest.mark.parametrize("pairs", [6, 20])
def test_t9_2_weekly_rows_taken_as_independent_do_not_cover(pairs):
    logs = simulate_logs(400, pairs, np.random.default_rng(91))
    gap = logs[:, :, 0] - logs[:, :, 1]
    weekly = gap[..., WEEKS:] - gap[..., :WEEKS]
    _, _, low, high = t_interval(weekly.reshape(len(weekly), -1), 0.9)
    truth = np.log1p(LIFT)
    assert np.mean((low <= truth) & (truth <= high)) < 0.80


@pytest.mark.parametrize("pairs", [6, 10, 20, 40])
def test_t9_3_the_power_formula_is_the_simulated_power(differences, pairs):
    _, _, low, high = t_interval(differences[pairs], 0.9)
    seen = np.mean((low > 0) | (high < 0))
    sd = float(np.concatenate([d.ravel() for d in differences.values()]).std())
    assert power_of(LIFT, sd, pairs, 0.9) == pytest.approx(seen, abs=0.07)


def test_t9_4_a_mix_of_donors_is_found_exactly():
    rng = np.random.default_rng(4)
    donors = rng.normal(100, 10, (60, 20))
    weights = np.zeros(20)
    weights[[2, 7, 11]] = 0.5, 0.3, 0.2
    np.testing.assert_allclose(simplex_weights(donors @ weights, donors), weights, atol=1e-9)


def test_t9_4_the_effect_on_a_mix_is_exact():
    rng = np.random.default_rng(5)
    day = pd.date_range("2024-01-01", periods=50)
    donors = {f"d{i}": rng.normal(100, 10, 50) for i in range(12)}
    treated = 0.6 * donors["d1"] + 0.4 * donors["d5"] + 7 + np.where(np.arange(50) >= 40, 3.0, 0)
    frames = [
        pd.DataFrame({"store_id": k, "period": day, "revenue": v})
        for k, v in (donors | {"t": treated}).items()
    ]
    found = synthetic_control(pd.concat(frames), "t", day[40])
    assert found.effect == pytest.approx(3.0, abs=1e-8)
    assert found.weights["unit"].tolist() == ["d1", "d5"]
    assert found.p == pytest.approx(1 / 13)


def test_weights_are_the_best_on_the_simplex():
    """No vertex is a direction of descent: the condition for the best mix."""
    rng = np.random.default_rng(6)
    for _ in range(20):
        donors, target = rng.normal(0, 1, (30, 39)), rng.normal(0, 1, 30)
        weights = simplex_weights(target, donors)
        slope = donors.T @ (donors @ weights - target)
        assert weights.min() >= 0 and weights.sum() == pytest.approx(1)
        assert slope.min() >= slope @ weights - 1e-8 * np.abs(slope).max()


def test_weights_and_gaps_agree_with_pysyncon():
    pysyncon = pytest.importorskip("pysyncon")
    rng = np.random.default_rng(7)
    common = rng.normal(0, 1, (3, 40)).cumsum(axis=1)
    values = rng.normal(0, 1, (11, 3)) @ common + rng.normal(0, 0.3, (11, 40)) + 50
    centred = pd.DataFrame(values.T - values[:, :30].mean(axis=1), columns=[f"u{i}" for i in range(11)])
    before = centred.iloc[:30]
    other = pysyncon.Synth()
    donors, target = before.iloc[:, 1:], before.iloc[:, 0]
    # it divides each period by its spread over markets; these weights undo that
    other.fit(X0=donors, X1=target, Z0=donors, Z1=target, custom_V=before.var(axis=1).to_numpy())
    mine = simplex_weights(target, donors)
    loss = [((target - donors @ w) ** 2).sum() for w in (mine, other.W)]
    assert loss[0] <= loss[1] * (1 + 1e-9)
    np.testing.assert_allclose(mine, other.W, atol=0.01)
    theirs = centred.iloc[:, 0] - centred.iloc[:, 1:] @ other.W
    np.testing.assert_allclose(placebo_gaps(values, 30, [[0]])[0], theirs, atol=0.05)


def test_t9_5_rank_intervals_of_synthetic_control_cover():
    """600 markets of 40 with common factors: the treated one's effect lies in the interval."""
    rng = np.random.default_rng(95)
    n, before, after, effect = 40, 30, 8, 2.0
    plain, scaled = [], []
    for _ in range(600):
        factors = rng.normal(0, 1, (2, before + after)).cumsum(axis=1)
        values = rng.normal(1, 0.5, (n, 2)) @ factors + rng.normal(0, 1, (n, before + after))
        values[0, before:] += effect
        mine = placebo_gaps(values, before, [[0]])[0]
        gaps = placebo_gaps(values[1:], before, [[j] for j in range(n - 1)])
        effects, errors = gaps[:, before:].mean(1), np.sqrt((gaps[:, :before] ** 2).mean(1))
        found, error = mine[before:].mean(), np.sqrt((mine[:before] ** 2).mean())
        low, high = rank_interval(found, effects, 0.9)
        plain.append(low <= effect <= high)
        low, high = rank_interval(found, effects / errors, 0.9, error)
        scaled.append(low <= effect <= high)
    assert 0.84 <= np.mean(plain) <= 0.95
    assert 0.84 <= np.mean(scaled) <= 0.95


def test_pairs_are_as_good_as_networkx_finds_them():
    networkx = pytest.importorskip("networkx")
    rng = np.random.default_rng(8)
    for n in (9, 12):
        place = rng.normal(0, 1, (n, 3))
        distance = np.sqrt(((place[:, None] - place) ** 2).sum(-1))
        pairs, optimal = match_units(distance, np.zeros((n, n), dtype=bool))
        graph = networkx.Graph()
        graph.add_weighted_edges_from((i, j, 100 - distance[i, j]) for i in range(n) for j in range(i))
        theirs = np.array(list(networkx.max_weight_matching(graph, maxcardinality=True)))
        assert optimal and len(pairs) == len(theirs) == n // 2
        assert distance[pairs[:, 0], pairs[:, 1]].sum() == pytest.approx(
            distance[theirs[:, 0], theirs[:, 1]].sum()
        )


def test_pairs_kept_apart_are_the_best_there_are():
    """Against every possible choice, on graphs small enough to try all."""
    rng = np.random.default_rng(10)

    def best(free, distance, near, taken=()):
        options = [(len(taken), -sum(distance[i, j] for i, j in taken))]
        for a in range(len(free)):
            for b in range(a + 1, len(free)):
                i, j = free[a], free[b]
                if near[i, j] or any(near[k, u] for pair in taken for k in pair for u in (i, j)):
                    continue
                rest = [u for u in free[a + 1 :] if u != j]
                options.append(best(rest, distance, near, (*taken, (i, j))))
        return max(options)

    for _ in range(8):
        place = rng.normal(0, 1, (8, 2))
        distance = np.sqrt(((place[:, None] - place) ** 2).sum(-1))
        near = np.triu(rng.random((8, 8)) < 0.15, 1)
        near |= near.T
        pairs, optimal = match_units(distance, near)
        number, cost = best(list(range(8)), distance, near)
        assert optimal
        assert len(pairs) == number
        assert -distance[pairs[:, 0], pairs[:, 1]].sum() == pytest.approx(cost)


def test_clustered_pairs_cover_where_plain_ones_do_not():
    """Ten stores with six hexagon pairs each: what happens to a store happens to all its hexagons."""
    rng = np.random.default_rng(11)
    store = np.repeat(np.arange(10), 6)
    plain, clustered = [], []
    for _ in range(400):
        values = LIFT + rng.normal(0, 0.04, 10)[store] + rng.normal(0, 0.04, 60)
        for found, clusters in ((plain, None), (clustered, store)):
            _, _, low, high = (
                t_interval(values) if clusters is None else t_interval(values.reshape(10, 6).mean(axis=1))
            )
            found.append(low <= LIFT <= high)
    estimate = paired_estimate(values, 0.9, store)
    _, se, low, high = t_interval(values.reshape(10, 6).mean(axis=1))
    assert (estimate.se, estimate.low, estimate.high) == pytest.approx((se, low, high))
    assert np.mean(plain) < 0.80
    assert 0.85 <= np.mean(clustered) <= 0.95
