"""Forecasts of SKUs that nobody has sold, in worlds where attributes tell part of what they would sell."""

import dataclasses

import numpy as np
import pandas as pd
import pytest

from geomarket.demand import fit_demand, forecast_new_skus, learn_launches, with_new_skus
from geomarket.errors import NotSupportedError, TableError

PERIODS, STORES, OLD, NEW = 20, 24, 110, 50
ATTRIBUTES = ["brand", "flavour", "pack"]


def world(seed, unexplained=0.35):
    """Rates follow brand, flavour, pack size and price, and chance; half of the stores like "dear" brands."""
    rng = np.random.default_rng([seed, 5])
    n = OLD + NEW
    products = pd.DataFrame(
        {
            "sku": [f"k{i:03d}" for i in range(n)],
            "category": np.where(np.arange(n) % 2, "tea", "milk"),
            "brand": rng.choice(["own", "plain", "dear", "rare"], n),
            "flavour": rng.choice(list("abcdef"), n),
            "pack": rng.choice([1.0, 2.0, 6.0], n),
            "price": rng.uniform(1.0, 6.0, n),
        }
    )
    products["cost"] = 0.6 * products["price"]
    of_brand = products["brand"].map({"own": 0.8, "plain": 0.0, "dear": -0.3, "rare": -0.9}).to_numpy()
    of_flavour = products["flavour"].map(dict(zip("abcdef", rng.normal(0, 0.3, 6)))).to_numpy()
    log_rate = 1.5 + of_brand + of_flavour - 0.8 * np.log(products["price"]) - 0.3 * np.log(products["pack"])
    log_rate = log_rate.to_numpy() + rng.normal(0, unexplained, n)
    fond = np.arange(STORES) % 2 == 0
    taste = np.where(fond[:, None] & (products["brand"] == "dear").to_numpy(), 0.6, 0.0)
    truth = rng.lognormal(0, 0.3, STORES)[:, None] * np.exp(log_rate + taste)
    return rng, products, truth


def sales_of(rng, truth, columns, share=0.7):
    store, place = np.nonzero(rng.random((STORES, len(columns))) < share)
    sku = np.asarray(columns)[place]
    return pd.DataFrame(
        {
            "store_id": [f"s{i:02d}" for i in store],
            "sku": [f"k{j:03d}" for j in sku],
            "units": rng.poisson(truth[store, sku] * PERIODS).astype(float),
            "exposure": float(PERIODS),
        }
    )


def fitted(rng, products, truth):
    stores = pd.DataFrame({"store_id": [f"s{i:02d}" for i in range(STORES)]})
    kinds = pd.Series([f"C{i % 2}" for i in range(STORES)], index=stores["store_id"])
    return fit_demand(sales_of(rng, truth, range(OLD)), stores, products[:OLD], kinds, PERIODS)


@pytest.fixture(scope="module")
def forecasts():
    found = []
    for seed in range(4):
        rng, products, truth = world(seed)
        demand = fitted(rng, products, truth)
        new = products["sku"][OLD:].tolist()
        found.append((forecast_new_skus(demand, products, new, ATTRIBUTES), truth[:, OLD:], demand, products))
    return found


def test_the_truth_of_new_skus_lies_in_the_interval_about_as_often_as_it_says(forecasts):
    inside = []
    for found, truth, _, _ in forecasts:
        low, high = (found.table[name].to_numpy().reshape(truth.shape) for name in ("low", "high"))
        inside.append(((truth >= low) & (truth <= high)).mean())
    assert 0.80 <= np.mean(inside) <= 0.97
    claimed = [found.holdout.set_index("model").loc["attributes", "coverage"] for found, *_ in forecasts]
    assert 0.80 <= np.mean(claimed) <= 0.95
    assert abs(np.mean(claimed) - np.mean(inside)) < 0.08


def test_attributes_tell_new_skus_better_than_the_category_does_and_say_by_how_much(forecasts):
    misses, plain, biases = [], [], []
    for found, truth, demand, products in forecasts:
        units = found.table["units"].to_numpy().reshape(truth.shape)
        misses.append(np.abs(units - truth).sum() / truth.sum())
        biases.append(units.sum() / truth.sum() - 1)
        mean = demand.table.groupby(["store_id", "category"])["units"].mean().unstack()
        rough = mean[products["category"][OLD:]].to_numpy()
        plain.append(np.abs(rough - truth).sum() / truth.sum())
        held = found.holdout.set_index("model")
        assert held.loc["attributes", "wmape"] < held.loc["category average", "wmape"] - 0.1
        assert held.loc["attributes", "wmape"] == pytest.approx(misses[-1], abs=0.15)
    assert np.mean(misses) < np.mean(plain) - 0.15
    assert abs(np.mean(biases)) < 0.12


def test_local_taste_follows_the_alike(forecasts):
    found, _, _, products = forecasts[0]
    brand = found.table["sku"].map(products.set_index("sku")["brand"])
    size = found.table[brand == "plain"].groupby("store_id")["units"].sum()
    share = found.table[brand == "dear"].groupby("store_id")["units"].sum() / size
    of_fond = share[[store for store in share.index if int(store[1:]) % 2 == 0]].mean()
    assert of_fond > 1.08 * share.mean()


def test_without_attributes_that_matter_the_category_average_is_not_beaten_by_much():
    rng, products, truth = world(9)
    blind = products.assign(brand=rng.permutation(products["brand"]), price=3.0, cost=2.0)
    found = forecast_new_skus(fitted(rng, blind, truth), blind, blind["sku"][OLD:].tolist(), ["brand"])
    held = found.holdout.set_index("model")["wmape"]
    assert held["attributes"] < held["category average"] + 0.05


def test_launches_tell_how_high_forecasts_run_and_only_they_validate():
    found = []
    for seed in range(4, 10):
        rng, products, truth = world(seed)
        demand = fitted(rng, products, truth)
        later = sales_of(rng, 0.5 * truth, range(OLD, OLD + 40))
        found.append(learn_launches(demand, later, PERIODS, products, ATTRIBUTES))
    evidence = found[-1]
    assert evidence.skus == 40 and all(0.35 < each.ratio < 0.65 for each in found)
    assert np.mean([each.ratio for each in found]) == pytest.approx(0.5, abs=0.06)
    assert 0.75 <= np.mean([each.coverage for each in found]) <= 0.97
    assert min(each.spearman for each in found) > 0.5
    new = products["sku"][OLD + 40 :].tolist()
    plain = forecast_new_skus(demand, products, new, ATTRIBUTES)
    backed = forecast_new_skus(demand, products, new, ATTRIBUTES, launches=evidence)
    assert not plain.validated and any("UNVALIDATED" in line for line in plain.summary())
    assert backed.validated and backed.source == "launches"
    np.testing.assert_allclose(backed.table["units"], evidence.ratio * plain.table["units"])
    lucky = dataclasses.replace(evidence, ratio=1.4)
    raised = forecast_new_skus(demand, products, new, ATTRIBUTES, launches=lucky)
    np.testing.assert_allclose(raised.table["units"], plain.table["units"])
    with pytest.raises(NotSupportedError, match="only 40 were launched"):
        learn_launches(demand, later, PERIODS, products, ATTRIBUTES, min_skus=41)


def test_the_demand_table_takes_them_in_and_says_so(forecasts):
    found, truth, demand, _ = forecasts[0]
    both = with_new_skus(demand, found)
    assert len(both.table) == len(demand.table) + truth.size
    assert not both.table.duplicated(["store_id", "sku"]).any()
    mine = both.table[both.table["family"] == "attributes"]
    assert len(mine) == truth.size and not mine["listed"].any()
    assert (mine["low"] <= mine["units"]).all() and (mine["units"] <= mine["high"]).all()
    assert any("UNVALIDATED" in note for note in both.notes)


def test_bad_new_skus_name_the_cure(forecasts):
    _, _, demand, products = forecasts[0]
    new = products["sku"][OLD:].tolist()
    with pytest.raises(TableError, match="k000 have sales already"):
        forecast_new_skus(demand, products, ["k000"], ATTRIBUTES)
    with pytest.raises(TableError, match="not in products"):
        forecast_new_skus(demand, products, ["zzz"], ATTRIBUTES)
    bare = products.assign(cost=products["cost"].where(products["sku"] != new[0]))
    with pytest.raises(TableError, match="lacks a category, price or cost"):
        forecast_new_skus(demand, bare, new, ATTRIBUTES)
    odd = products.assign(category=products["category"].where(products["sku"] != new[0], "rope"))
    with pytest.raises(TableError, match="'rope', in which nothing sells"):
        forecast_new_skus(demand, odd, new, ATTRIBUTES)
