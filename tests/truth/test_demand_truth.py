"""Demand for SKUs not carried, in worlds whose truth is known.

Stores have a mix of four catchment types. In the "linear" world tastes follow that mix, in the "latent" one they
follow two traits of the stores nobody has recorded, in the "none" world all stores alike. Stores list what sells
locally, as they see it; a share of pairs is listed at random.
"""

import numpy as np
import pandas as pd
import pytest

from geomarket.demand import LowRank, fit_demand, learn_discount
from geomarket.store_clusters import store_features

PERIODS = 26


def world(kind, seed, n_stores=100, n_skus=90, strength=0.5, trials=0.0):
    rng = np.random.default_rng([seed, 3])
    mix = rng.dirichlet(np.full(4, 0.8), n_stores)
    size, rate = rng.lognormal(0, 0.4, n_stores), rng.lognormal(0.3, 0.8, n_skus)
    group = rng.integers(0, 6, n_skus)
    tastes = rng.normal(0, strength, (4, 6))[:, group] + rng.normal(0, strength / 2, (4, n_skus))
    local = (mix - mix.mean(axis=0)) / mix.std(axis=0) @ tastes * 0.6
    if kind == "latent":
        local = rng.normal(size=(n_stores, 2)) @ rng.normal(0, strength, (2, n_skus))
    elif kind == "none":
        local = np.zeros((n_stores, n_skus))
    truth = size[:, None] * rate * np.exp(local + rng.normal(0, 0.2, local.shape))
    truth *= (size[:, None] * rate).sum() / truth.sum()
    # What sells chain-wide weighs less than what sells here, and no SKU is left without a store.
    seen = np.log(truth / size[:, None]) - 0.6 * np.log(rate) + rng.normal(0, 0.4, truth.shape)
    listed = (seen >= np.quantile(seen, 0.45, axis=1, keepdims=True)) | (seen >= np.sort(seen, axis=0)[-5])
    trial = rng.random(truth.shape) < trials
    ids, skus = (
        np.array([f"s{i:03d}" for i in range(n_stores)]),
        np.array([f"k{i:03d}" for i in range(n_skus)]),
    )
    profile = pd.DataFrame(mix, index=ids, columns=list("ABCD")).rename_axis("store_id").reset_index()
    stores = pd.DataFrame({"store_id": ids})
    features = store_features(
        profile.melt("store_id", var_name="neighbourhood", value_name="share"), None, stores
    )
    products = pd.DataFrame(
        {"sku": skus, "category": "tea", "kind": [f"g{g}" for g in group], "price": 3.0, "cost": 2.0}
    )

    units = rng.poisson(truth * PERIODS).astype(float)

    def sales(pairs):
        store, sku = np.nonzero(pairs)
        sold = {
            "store_id": ids[store],
            "sku": skus[sku],
            "units": units[store, sku],
            "exposure": float(PERIODS),
        }
        return pd.DataFrame(sold)

    tables = {"stores": stores, "products": products, "store_clusters": None, "n_periods": PERIODS}
    return sales, listed, trial, truth, tables, features.points()


def wmape(demand, truth, where):
    forecast = demand.table["units"].to_numpy().reshape(truth.shape)
    return np.abs(forecast - truth)[where].sum() / truth[where].sum()


def fits(kind, seeds):
    found = []
    for seed in seeds:
        sales, listed, _, _, tables, points = world(kind, seed)
        found.append(
            fit_demand(sales(listed), **tables, features=points, attributes=["kind"], random_state=seed)
        )
    return found


def gains(demands):
    """Fall in WMAPE on held-out pairs against the baseline, by family and for the families chosen."""
    rows = []
    for demand in demands:
        overall = demand.holdout[demand.holdout["category"] == "all"].set_index("family")["wmape"]
        rows.append(overall["baseline"] - overall)
    return pd.DataFrame(rows).mean()


def test_where_tastes_follow_the_catchment_local_forecasts_beat_size_times_rate():
    gain = gains(fits("linear", range(2)))
    assert gain["chosen"] >= 0.02
    assert gain[["nearest by mix", "nearest by sales", "mix affinity", "low rank", "blend"]].min() > 0.02


def test_where_stores_are_alike_nothing_is_lost():
    found = fits("none", range(2))
    assert gains(found)["chosen"] >= -0.004
    assert all(demand.chosen["family"].tolist() == ["baseline"] for demand in found)


def test_where_tastes_follow_no_recorded_trait_the_right_family_is_found():
    gain = gains(fits("latent", range(2)))
    assert gain["chosen"] >= 0.02
    assert gain["chosen"] >= gain.drop("chosen").max() - 0.01
    # A planner who had trusted the recorded mix would have gained nothing.
    assert gain["mix affinity"] < 0.01


@pytest.mark.parametrize(("kind", "runs_high_by"), [("linear", 0.4), ("none", 0.1), ("latent", 0.3)])
def test_forecasts_for_unlisted_pairs_run_high_until_random_trials_correct_them(kind, runs_high_by):
    before, after = [], []
    for seed in range(2):
        sales, listed, trial, truth, tables, points = world(kind, seed, trials=0.075)
        tables |= {
            "features": points,
            "families": [LowRank(rank=2, ridge=6.0, weighting="precision")],
            "tune": False,
        }
        first = fit_demand(sales(listed), **tables)
        assert not first.validated and any("UNVALIDATED" in line for line in first.summary())
        assert 200 < (trial & ~listed).sum() < 420
        discount = learn_discount(first, sales(listed | trial), PERIODS)
        corrected = fit_demand(sales(listed), **tables, discount=discount)
        assert corrected.validated
        rest = ~listed & ~trial
        for demand, bias in ((first, before), (corrected, after)):
            forecast = demand.table["units"].to_numpy().reshape(truth.shape)
            bias.append(forecast[rest].sum() / truth[rest].sum() - 1)
        assert wmape(corrected, truth, rest) < wmape(first, truth, rest)
    assert np.mean(before) > runs_high_by
    assert np.abs(after).max() < 0.10
