"""Clusters of a category of its own: milk follows one trait of the stores, tea another."""

import numpy as np
import pandas as pd
import pytest

from geomarket.errors import TableError
from geomarket.frontier import FoldedSales, category_frontiers, fold_demand
from geomarket.store_clusters import category_features, cluster_range

STORES, SKUS, PERIODS = 32, 60, 20


@pytest.fixture(scope="module")
def world():
    rng = np.random.default_rng(4)
    ids = [f"s{i:02d}" for i in range(STORES)]
    skus = [f"k{i:02d}" for i in range(SKUS)]
    category = np.array(["milk", "tea", "salt"])[np.arange(SKUS) % 3]
    kind = np.array(["x", "y"])[(np.arange(SKUS) // 3) % 2]
    by_milk, by_tea = np.arange(STORES) % 2, np.arange(STORES) // (STORES // 2)
    lift = np.zeros((STORES, SKUS))
    for name, group in (("milk", by_milk), ("tea", by_tea)):
        likes = np.where((kind == "x")[None, :] == (group == 0)[:, None], 0.6, -0.6)
        lift = np.where((category == name)[None, :], likes, lift)
    rate = rng.lognormal(1.5, 0.5, SKUS)
    truth = rng.lognormal(0, 0.2, STORES)[:, None] * rate * np.exp(lift + rng.normal(0, 0.1, lift.shape))
    store, sku = np.nonzero(rng.random(truth.shape) < 0.75)
    folds = [
        pd.DataFrame(
            {
                "store_id": np.array(ids)[store],
                "sku": np.array(skus)[sku],
                "fold": fold,
                "units": rng.poisson(truth[store, sku] * PERIODS).astype(float),
                "exposure": float(PERIODS),
            }
        )
        for fold in range(3)
    ]
    table = pd.concat(folds, ignore_index=True)
    calendar = pd.DataFrame({"period": range(3 * PERIODS), "fold": np.repeat([0, 1, 2], PERIODS)})
    products = pd.DataFrame(
        {"sku": skus, "category": category, "subcategory": kind, "price": 3.0, "cost": 2.0}
    )
    stores = pd.DataFrame({"store_id": ids})
    sales = table.assign(revenue=3.0 * table["units"])
    features = category_features(sales, products, stores)
    truth_groups = {"milk": pd.Series(by_milk, ids), "tea": pd.Series(by_tea, ids)}
    return FoldedSales(table, calendar), stores, products, sales, features, truth_groups


@pytest.fixture(scope="module")
def found(world):
    folds, stores, products, _, features, _ = world
    tried = {name: cluster_range(f, 3, n_bootstrap=0).labels for name, f in features.items()}
    both = pd.Series([f"C{i % 2}" for i in range(STORES)], index=stores["store_id"])
    # Forecasts may lean on four groups, milk's and tea's crossed, whatever the number of ranges.
    crossed = pd.Series(
        [f"D{2 * (i % 2) + i // (STORES // 2)}" for i in range(STORES)], index=stores["store_id"]
    )
    fits = fold_demand(folds, stores, products, store_clusters=crossed)
    space = pd.DataFrame(
        {"store_id": np.repeat(stores["store_id"], 24), "sku": np.tile(products["sku"][:24], STORES)}
    )
    shop = {2: both}
    return category_frontiers(
        folds, stores, products, tried, shop, fits, periods_per_year=52, today=space, cost_per_cluster=1_500.0
    )


def test_each_category_groups_the_stores_by_what_they_sell_of_it(world):
    *_, features, truth = world
    assert list(features) == ["milk", "salt", "tea"]
    for name, groups in truth.items():
        labels = cluster_range(features[name], numbers=[2], n_bootstrap=0).labels[2]
        table = pd.crosstab(labels, groups)
        assert (table.max(axis=1) == table.sum(axis=1)).all()


def test_clusters_of_its_own_pay_where_shared_ones_miss_the_category(found):
    table = found.table.set_index("category")
    assert table.loc["tea", "kind"] == "cluster" and table.loc["tea", "n_clusters"] == 2
    assert table.loc["tea", "own_over_shop"] > 0.01 * table.loc["tea", "national_margin"]
    # The shared clusters happen to be milk's.
    assert abs(table.loc["milk", "own_over_shop"]) < 0.002 * table.loc["milk", "national_margin"]
    assert table.loc["salt", "kind"] == "national" and table.loc["salt", "net"] == 0
    assert "2 of 3 categories leave the national range" in found.summary()[0]


def test_bad_input_names_the_cure(world):
    folds, stores, products, sales, _, _ = world
    with pytest.raises(TableError, match="column 'aisle' is missing"):
        category_features(sales, products, stores, kind="aisle")
    with pytest.raises(TableError, match="category 'rope' is not in products"):
        category_frontiers(folds, stores, products, {"rope": {}}, {}, [], periods_per_year=52)
