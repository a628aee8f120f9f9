"""How local to go, in worlds where the answer is known."""

import numpy as np
import pandas as pd
import pytest

from geomarket.frontier import FoldedSales, local_frontier

PERIODS = 17


def world(kind, seed, n_stores=50, n_skus=60, taste=0.2, volume=3.0):
    """Stores of five mini-chains, of a continuous mix of them, or all alike; they list what sells locally."""
    rng = np.random.default_rng([seed, 7])
    size, rate = rng.lognormal(0, 0.3, n_stores), rng.lognormal(np.log(volume), 0.7, n_skus)
    group = np.arange(n_stores) % 5
    if kind == "chains":
        lift = rng.lognormal(0, 0.6, (5, n_skus))[group]
    elif kind == "mix":
        lift = np.exp(rng.dirichlet(np.ones(5), n_stores) @ rng.normal(0, 0.8, (5, n_skus)))
    else:
        lift = np.ones((n_stores, n_skus))
    truth = size[:, None] * rate * lift * np.exp(taste * rng.normal(size=(n_stores, n_skus)))
    wanted = np.log(truth / size[:, None]) + rng.normal(0, 0.7, truth.shape)
    store, sku = np.nonzero(wanted >= np.quantile(wanted, 0.3, axis=1, keepdims=True))
    ids, skus = (
        np.array([f"s{i:02d}" for i in range(n_stores)]),
        np.array([f"k{i:02d}" for i in range(n_skus)]),
    )
    parts = [
        pd.DataFrame(
            {
                "store_id": ids[store],
                "sku": skus[sku],
                "fold": fold,
                "units": rng.poisson(truth[store, sku] * PERIODS).astype(float),
                "exposure": float(PERIODS),
            }
        )
        for fold in range(3)
    ]
    calendar = pd.DataFrame({"period": range(3 * PERIODS), "fold": np.repeat([0, 1, 2], PERIODS)})
    products = pd.DataFrame({"sku": skus, "category": "c", "price": rng.uniform(2, 6, n_skus)})
    products["cost"] = 0.7 * products["price"]
    block = np.arange(n_stores) // 5
    labels = {g: np.minimum(group, g - 1) for g in range(2, 6)} | {
        10: group + 5 * (block % 2),
        20: group + 5 * (block % 4),
    }
    return {
        "folds": FoldedSales(pd.concat(parts, ignore_index=True), calendar),
        "stores": pd.DataFrame({"store_id": ids}),
        "products": products,
        "clusterings": {g: pd.Series([f"C{x}" for x in value], index=ids) for g, value in labels.items()},
        # Every store has room for 18 SKUs.
        "today": pd.DataFrame({"store_id": np.repeat(ids, 18), "sku": np.tile(skus[:18], n_stores)}),
        "periods_per_year": 52.0,
    }


@pytest.fixture(scope="module")
def chains():
    # The lifts of the demand model may follow the true groups: the question is how many ranges to plan.
    worlds = [world("chains", seed) for seed in range(10)]
    return [local_frontier(**w, store_clusters=w["clusterings"][5], cost_per_cluster=300.0) for w in worlds]


@pytest.fixture(scope="module")
def macro():
    worlds = [world("macro", seed, taste=0.0) for seed in range(10)]
    return [local_frontier(**w, store_clusters=w["clusterings"][5]) for w in worlds]


def test_five_mini_chains_ask_for_about_five_clusters(chains):
    found = [frontier.verdict for frontier in chains]
    assert sum(v.kind == "cluster" and 4 <= v.n_clusters <= 6 for v in found) >= 9
    assert all(frontier.table.set_index("n_clusters").loc[5, "low"] > 0 for frontier in chains)


def test_stores_that_are_all_alike_ask_for_one_range(macro):
    assert sum(frontier.verdict.kind == "national" for frontier in macro) >= 9


@pytest.mark.parametrize("kind", ["mix", "macro", "chains"])
def test_at_store_level_the_gain_is_smaller_than_the_plan_claims(kind):
    for seed in range(3):
        w = world(kind, seed, volume=0.5)
        store = local_frontier(**w, store_clusters=w["clusterings"][5]).table.iloc[-1]
        assert store["label"] == "store level"
        assert store["gain_holdout"] < store["gain_in_sample"]


def test_gains_claimed_by_nested_plans_never_fall():
    for seed in range(3):
        w = world("mix", seed)
        claimed = local_frontier(**w).table.set_index("n_clusters")["gain_in_sample"]
        assert (np.diff(claimed.loc[[1, 2, 3, 4, 5, 10, 20, 50]]) >= -1e-9 * claimed.iloc[-1]).all()


def test_a_higher_cost_of_complexity_never_leads_to_more_clusters():
    for seed in range(2):
        w = world("mix", seed)
        found = [
            local_frontier(**w, store_clusters=w["clusterings"][5], cost_per_cluster=cost).verdict.n_clusters
            for cost in (0.0, 30.0, 100.0, 300.0, 3000.0)
        ]
        assert (np.diff(found) <= 0).all() and found[0] > found[-1] == 1
