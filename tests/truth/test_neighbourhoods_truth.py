"""Truth tests of the classification: worlds whose types are known (methods T2.1 to T2.7)."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from sklearn.cluster import KMeans
from sklearn.metrics import adjusted_rand_score

from geomarket.market.model import Variable
from geomarket.neighbourhoods import NeighbourhoodClassifier, classify, fit_kmeans, suggest_levels


def make_world(
    areas: int,
    variables: int,
    supergroups: int,
    groups: int,
    between: float,
    within: float,
    noise: float,
    seed: int,
) -> tuple[pd.DataFrame, np.ndarray, np.ndarray]:
    """Logit-normal rates around group profiles around supergroup profiles; returns rates and both true labels."""
    rng = np.random.default_rng(seed)
    tops = rng.normal(-1, between, (supergroups, variables))
    lows = tops[:, None, :] + rng.normal(0, within, (supergroups, groups, variables))
    # unequal sizes: real types are
    share = rng.dirichlet(np.full(supergroups * groups, 5.0))
    kind = rng.choice(supergroups * groups, size=areas, p=share)
    odds = lows.reshape(-1, variables)[kind] + rng.normal(0, noise, (areas, variables))
    rates = pd.DataFrame(1 / (1 + np.exp(-odds)), columns=[f"v{j:02d}" for j in range(variables)])
    return rates, kind // groups, kind


def separated(seed: int = 0, areas: int = 3_000) -> tuple[pd.DataFrame, np.ndarray, np.ndarray]:
    return make_world(areas, 30, 8, 3, between=1.0, within=0.4, noise=0.25, seed=seed)


def plain(**settings: object) -> NeighbourhoodClassifier:
    return NeighbourhoodClassifier(**{"max_correlation": None, "n_init": 30, **settings})


@pytest.fixture(scope="module")
def fitted() -> tuple[NeighbourhoodClassifier, pd.DataFrame, np.ndarray, np.ndarray]:
    rates, top, low = separated()
    return plain(levels=(8, 3)).fit(rates), rates, top, low


def test_t2_1_a_separated_world_is_found_at_both_levels(fitted):
    classifier, _, top, low = fitted
    assert adjusted_rand_score(top, classifier.labels_["supergroup"]) >= 0.98
    assert adjusted_rand_score(low, classifier.labels_["group"]) >= 0.95


def test_t2_2_a_hard_world_is_mostly_found():
    scores = []
    for seed in range(10):
        rng = np.random.default_rng(1000 + seed)
        rates, top, _ = make_world(1_500, 25, 8, 1, between=0.45, within=0.0, noise=0.5, seed=seed)
        counts = rng.binomial(80, rates.to_numpy())  # small areas: sampling noise on top
        noisy = pd.DataFrame(counts / 80, columns=rates.columns)
        labels = plain(levels=(8,), n_init=20).fit(noisy).labels_["code"]
        scores.append(adjusted_rand_score(top, labels))
    assert np.mean(scores) >= 0.85


def test_t2_3_base_weighted_indices_average_to_100():
    rates, _, _ = separated(seed=3, areas=1_200)
    rng = np.random.default_rng(3)
    table = rates.assign(cell=np.arange(len(rates)), population=rng.lognormal(5, 1.5, len(rates)))
    bases = pd.DataFrame(rng.uniform(0, 400, rates.shape), columns=rates.columns)
    bases[bases < 20] = 0.0
    table[rates.columns] = table[rates.columns].where(bases > 0)
    variables = tuple(Variable(name, name, "rate", name, "people") for name in rates.columns)
    hexes = SimpleNamespace(table=table, variables=variables, denominators=bases.assign(cell=table["cell"]))
    found = classify(hexes, classifier=plain(levels=(4, 2)))
    weighted = found.index.assign(total=found.index["index"] * found.index["base"])
    sums = weighted.groupby(["level", "variable"])[["total", "base"]].sum()
    assert np.abs(sums["total"] / sums["base"] - 100).max() < 1e-9
    # and against the definition, by hand, for one type and variable
    code, name = "B", "v04"
    inside = (found.table["supergroup"] == code).to_numpy()
    typed = found.table["supergroup"].notna().to_numpy()
    numerator = table[name].fillna(0).to_numpy() * bases[name].to_numpy()
    mean = numerator[inside].sum() / bases[name][inside].sum()
    overall = numerator[typed].sum() / bases[name][typed].sum()
    row = found.index.query("code == @code and variable == @name").iloc[0]
    assert row["index"] == pytest.approx(100 * mean / overall, rel=1e-12)


def test_t2_4_assigning_the_training_areas_again_gives_their_labels(fitted):
    classifier, rates, _, _ = fitted
    again = NeighbourhoodClassifier.from_json(classifier.to_json())
    assert (again.predict(rates) == classifier.labels_["code"].to_numpy()).all()
    some = rates.sample(200, random_state=1)  # and it doesn't hang on which other areas are asked about
    assert (again.predict(some) == classifier.labels_.loc[some.index, "code"].to_numpy()).all()


def test_t2_5_bootstrap_agreement_is_highest_at_the_true_number():
    # centres at equal distances: elsewhere a coarser number can be just as stable
    rng = np.random.default_rng(8)
    kind = rng.integers(0, 6, 900)
    odds = -2 + 1.5 * (np.arange(24)[None, :] // 4 == kind[:, None]) + rng.normal(0, 0.4, (900, 24))
    rates = pd.DataFrame(1 / (1 + np.exp(-odds))).rename(columns=str)
    found = suggest_levels(rates, candidates=range(4, 10), levels=1, n_bootstrap=8, classifier=plain())
    table = found.table.set_index("k")
    assert table["bootstrap_ari"].idxmax() == 6
    assert table["silhouette"].idxmax() == 6
    assert found.levels == (6,)


def test_t2_6_uncertain_cells_are_where_the_errors_are():
    rates, top, _ = make_world(6_000, 25, 8, 1, between=0.45, within=0.0, noise=0.62, seed=4)
    classifier = plain(levels=(8,), n_init=20).fit(rates)
    labels = classifier.labels_["code"]
    matched = pd.crosstab(labels, top).idxmax(axis=1)
    wrong = labels.map(matched).to_numpy() != top
    fifth = pd.qcut(classifier.labels_["uncertainty"], 5, labels=False).to_numpy()
    errors = np.bincount(fifth, wrong)
    assert errors[4] > 20, "the world is too easy to test anything"
    assert errors[4] > 5 * errors[:3].sum()


def test_t2_7_shuffled_rows_get_the_same_codes(fitted):
    classifier, rates, _, _ = fitted
    order = np.random.default_rng(5).permutation(len(rates))
    shuffled = plain(levels=(8, 3)).fit(rates.iloc[order])
    assert (shuffled.labels_["code"].loc[rates.index] == classifier.labels_["code"]).all()
    assert np.array_equal(shuffled.centroids_.to_numpy(), classifier.centroids_.to_numpy())


def test_another_seed_gives_the_same_codes(fitted):
    classifier, rates, _, _ = fitted
    other = plain(levels=(8, 3), random_state=99).fit(rates)
    assert (other.labels_["code"] == classifier.labels_["code"]).all()


def test_the_fit_is_at_least_as_good_as_scikit_learn_with_many_starts():
    rates, _, _ = make_world(2_500, 20, 12, 1, between=0.3, within=0.0, noise=0.5, seed=6)
    points = rates.to_numpy()
    weights = np.random.default_rng(6).uniform(0.2, 3.0, len(points))
    peer = KMeans(9, n_init=30, random_state=0).fit(points, sample_weight=weights)
    ours = fit_kmeans(points, 9, weights, n_init=60)
    assert ours.wcss <= peer.inertia_ * (1 + 1e-4)
    # its WCSS is what it says, and it is a fixed point: labels are nearest centroids, centroids are means
    gaps = ((points[:, None, :] - ours.centroids[None]) ** 2).sum(axis=2)
    assert ours.wcss == pytest.approx((weights * gaps.min(axis=1)).sum(), rel=1e-12)
    assert (gaps.argmin(axis=1) == ours.labels).all()
    means = np.stack(
        [np.average(points[ours.labels == c], axis=0, weights=weights[ours.labels == c]) for c in range(9)]
    )
    np.testing.assert_allclose(ours.centroids, means, rtol=1e-10)


def test_starting_on_a_summary_loses_nothing():
    rates, _, _ = make_world(5_000, 20, 9, 1, between=0.4, within=0.0, noise=0.4, seed=7)
    whole = fit_kmeans(rates.to_numpy(), 9, n_init=60, summary_rows=10_000)
    for seed in range(3):
        summary = fit_kmeans(rates.to_numpy(), 9, n_init=60, summary_rows=800, random_state=seed)
        assert summary.wcss == pytest.approx(whole.wcss, rel=1e-3)
        assert adjusted_rand_score(summary.labels, whole.labels) >= 0.95
