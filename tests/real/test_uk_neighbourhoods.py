"""England and Wales, 188,880 output areas, against the published 2021 output area classification."""

from __future__ import annotations

import itertools
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import adjusted_rand_score

from geomarket.market.model import Variable
from geomarket.neighbourhoods import NeighbourhoodClassifier, assign_to_centroids, classify, fit_kmeans

pytestmark = pytest.mark.real

# Published labels fit 106,809; the best of 50 scikit-learn restarts 102,136. Both on these 44 variables, with
# density times 100, which is how the target was measured.
TARGET_WCSS = 102_136.0


@pytest.fixture(scope="module")
def areas(data_home: str) -> SimpleNamespace:
    folder = Path(data_home) / "uk"
    raw = pd.read_parquet(folder / "ew_oa21_inputs_x100.parquet").set_index("OA")
    rates = raw.drop(columns=["population", "households"]).astype(float) / 1e4
    rates["pop_density"] = raw["pop_density"].astype(float)
    published = (
        pd.read_parquet(folder / "oac2021_labels_england_wales.parquet").set_index("OA").loc[raw.index]
    )
    centroids = pd.read_parquet(folder / "oac2021_centroids_supergroup.parquet").set_index("Supergroup8")
    names = pd.read_csv(folder / "oac2021_variables.csv").set_index("column")["oac_name"]
    return SimpleNamespace(rates=rates, raw=raw, published=published, centroids=centroids, names=names)


def test_eight_supergroups_are_the_best_known_fit_from_every_seed(areas):
    classifier = NeighbourhoodClassifier(max_correlation=None, multiplier=100.0)
    points, weights, _ = classifier.learn_preparation(areas.rates)
    assert points.shape == (188_880, 44)
    fits = [fit_kmeans(points, 8, weights, random_state=seed) for seed in range(3)]
    for fit in fits:
        assert fit.wcss <= TARGET_WCSS
    for a, b in itertools.combinations(fits, 2):
        assert a.wcss == pytest.approx(b.wcss, rel=1e-3)
        assert adjusted_rand_score(a.labels, b.labels) >= 0.95


def test_assignment_to_the_published_supergroups_agrees(areas):
    ours = areas.rates.rename(columns={"x_age_5_15": "age_5_14"})
    # density goes in as people per km2: only then do its published centroids match the published classes
    found = assign_to_centroids(ours, areas.centroids, multiplier={"pop_density": 1.0})
    agreed = found.table["code"].to_numpy() == areas.published["supergroup"].to_numpy()
    assert agreed.mean() >= 0.866
    assert len(found.absent) == 16
    # where the assignment calls itself clear it must be right more often than where it is undecided
    fifth = pd.qcut(found.table["uncertainty"], 5, labels=False).to_numpy()
    assert agreed[fifth == 0].mean() > 0.97 > 0.75 > agreed[fifth == 4].mean()
    assert adjusted_rand_score(found.table["code"], areas.published["supergroup"]) >= 0.72


def test_names_indices_and_the_saved_scheme_hold_on_real_data(areas):
    variables = tuple(
        Variable(
            name,
            areas.names.get(name, "Aged 5 to 15"),
            "rate",
            name,
            "population",
            protected=name.startswith(("cob_", "rel_")),
            unit="people per km²" if name == "pop_density" else "share",
        )
        for name in areas.rates
    )
    table = areas.rates.assign(
        cell=np.arange(len(areas.rates)), population=areas.raw["population"].astype(float)
    )
    hexes = SimpleNamespace(table=table, variables=variables, denominators=None)
    template = NeighbourhoodClassifier(levels=(8, 21), counts="total", area_weights="equal", n_init=30)
    found = classify(hexes, classifier=template)
    assert found.types["level"].value_counts().to_dict() == {"group": 21, "supergroup": 8}
    assert found.types["name"].is_unique
    assert (
        not found.types["name"]
        .str.contains(r"Christian|Africa|religi|Europe|marri|English", case=False)
        .any()
    )
    sums = found.index.assign(total=found.index["index"] * found.index["base"])
    sums = sums.groupby(["level", "variable"])[["total", "base"]].sum()
    assert np.abs(sums["total"] / sums["base"] - 100).max() < 1e-9
    assert found.classifier.dropped_["variable"].tolist() == ["part_time"]  # it is what full_time leaves
    again = NeighbourhoodClassifier.from_json(found.to_json())
    rates = table.set_index("cell")
    assert (again.predict(rates, rates["population"]) == found.table["neighbourhood"].to_numpy()).all()
