import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from geomarket.demand import (
    assumed_transference,
    attribute_similarity,
    exogenous_demand,
    first_choices,
    fit_demand,
    learn_transference,
    logit_demand,
    logit_diversion,
    substitution_matrix,
    with_transfer,
)
from geomarket.demand.transference import _Stayed
from geomarket.errors import SettingsError, TableError


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def teas(n=12):
    return pd.DataFrame(
        {
            "sku": [f"k{i:02d}" for i in range(n)],
            "category": "tea",
            "subcategory": [f"g{i % 2}" for i in range(n)],
            "kind": [f"t{i % 3}" for i in range(n)],
            "price": np.linspace(1, 5, n),
            "cost": 0.5,
        }
    )


def test_sold_and_lost_add_up_to_first_choices(rng):
    for _ in range(20):
        wants = rng.gamma(1, 5, (7, 12))
        alike = attribute_similarity(teas(), ["kind", "price"], sharpness=rng.uniform(0, 6))
        matrix = substitution_matrix(rng.gamma(1, 1, 12), alike, rng.random(12))
        for listed in (rng.random((7, 12)) < 0.5, rng.random((7, 12)), np.zeros((7, 12)), np.ones((7, 12))):
            sold, lost = exogenous_demand(wants, listed, matrix)
            np.testing.assert_allclose(sold.sum(axis=1) + lost, wants.sum(axis=1), rtol=1e-12)
            assert (sold >= 0).all() and (lost >= -1e-9).all()
            assert (sold[np.asarray(listed) == 0] == 0).all()


def test_logit_sold_and_lost_add_up_and_ratios_do_not_depend_on_the_rest(rng):
    attraction = rng.gamma(1, 1, (5, 8))
    listed = rng.random((5, 8)) < 0.6
    listed[:, :2] = True
    sold, lost = logit_demand(attraction, listed, 2.0, 100.0)
    np.testing.assert_allclose(sold.sum(axis=1) + lost, 100.0, rtol=1e-12)
    np.testing.assert_allclose(sold[:, 0] / sold[:, 1], attraction[:, 0] / attraction[:, 1])


def test_logit_diversion_is_what_the_logit_does_when_one_leaves(rng):
    attraction = rng.gamma(1, 1, (1, 6))
    everything = np.ones((1, 6), dtype=bool)
    full, _ = logit_demand(attraction, everything, 1.5, 1.0)
    matrix = logit_diversion(full[0])
    for gone in range(6):
        without = everything.copy()
        without[0, gone] = False
        left, _ = logit_demand(attraction, without, 1.5, 1.0)
        np.testing.assert_allclose(left[0] - full[0] * without[0], full[0, gone] * matrix[gone], atol=1e-12)
    assert (matrix.sum(axis=1) < 1).all()
    with pytest.raises(TableError, match="sum to at most 1"):
        logit_diversion(np.array([0.7, 0.6]))


def test_substitution_goes_to_the_alike_and_the_well_selling():
    products = teas()
    alike = attribute_similarity(products, ["kind"], within="subcategory", sharpness=5.0)
    matrix = substitution_matrix(np.ones(12), alike, 0.4)
    np.testing.assert_allclose(matrix.sum(axis=1), 0.4)
    same_group = products["subcategory"].to_numpy()[:, None] == products["subcategory"].to_numpy()[None]
    assert (matrix[~same_group] == 0).all() and (np.diag(matrix) == 0).all()
    assert matrix[0, 6] > 5 * matrix[0, 2]
    popular = substitution_matrix(np.where(np.arange(12) == 2, 3.0, 1.0), alike, 0.4)
    assert popular[0, 2] / popular[0, 4] == pytest.approx(3.0)
    alone = substitution_matrix(np.ones(1), np.zeros((1, 1)), 0.4)
    assert alone.tolist() == [[0.0]]


def test_missing_attributes_are_half_alike_and_unknown_columns_an_error():
    products = teas(3).assign(kind=["a", None, "a"])
    alike = attribute_similarity(products, ["kind"], sharpness=2.0)
    assert alike[0, 1] == pytest.approx(np.exp(-1)) and alike[0, 2] == 1.0
    with pytest.raises(TableError, match="column 'colour' is missing"):
        attribute_similarity(products, ["colour"])
    with pytest.raises(SettingsError, match="between 0 and 1"):
        substitution_matrix(np.ones(3), alike, 1.4)


def test_first_choices_undo_substitution(rng):
    wants = rng.gamma(4, 2, (40, 12))
    listed = rng.random((40, 12)) < 0.7
    matrix = substitution_matrix(wants.mean(axis=0), attribute_similarity(teas(), ["kind"]), 0.5)
    sold, _ = exogenous_demand(wants, listed, matrix)
    # Forecasts for absent SKUs come from stores that list them, and so hold the same inflow on average.
    rise = sold.sum(axis=0) / (wants * listed).sum(axis=0)
    units = np.where(listed, sold, wants * rise)
    np.testing.assert_allclose(first_choices(units, listed, matrix), wants, rtol=1e-6)


def moving_world(share, seed, n_stores=50, n_skus=30, periods=26):
    """Two windows in which a fifth of the SKUs of a store are listed in one only."""
    rng = np.random.default_rng(seed)
    products = teas(n_skus)
    wants = rng.lognormal(0, 0.3, n_stores)[:, None] * rng.lognormal(1.5, 0.5, n_skus)
    matrix = substitution_matrix(
        wants.mean(axis=0), attribute_similarity(products, ["kind"], sharpness=4.0), share
    )
    stays = rng.random((n_stores, n_skus)) < 0.6
    comes = ~stays & (rng.random(stays.shape) < 0.3)
    goes = ~stays & ~comes & (rng.random(stays.shape) < 0.4)
    windows = []
    for listed in (stays | goes, stays | comes):
        sold, _ = exogenous_demand(wants, listed, matrix)
        store, sku = np.nonzero(listed)
        windows.append(
            pd.DataFrame(
                {
                    "store_id": [f"s{i:02d}" for i in store],
                    "sku": [f"k{k:02d}" for k in sku],
                    "units": rng.poisson(sold[store, sku] * periods).astype(float),
                    "exposure": float(periods),
                }
            )
        )
    stores = pd.DataFrame({"store_id": [f"s{i:02d}" for i in range(n_stores)]})
    both = pd.concat(windows).groupby(["store_id", "sku"], as_index=False).sum()
    demand = fit_demand(both, stores, products, None, 2 * periods)
    return demand, windows, products


@pytest.mark.parametrize("share", [0.0, 0.3, 0.6])
def test_share_of_buyers_who_substitute_is_recovered(share):
    found = []
    for seed in range(3):
        demand, (before, after), products = moving_world(share, seed)
        learnt = learn_transference(demand, before, after, products, ["kind"], (26, 26))
        assert learnt.table["source"].tolist() == ["learnt"]
        found.append(learnt.table["share"].iloc[0])
        if share:
            assert learnt.sharpness in (2.0, 4.0, 8.0)
    assert np.mean(found) == pytest.approx(share, abs=0.05)


def test_without_moves_the_share_is_assumed_and_said():
    demand, (before, _), products = moving_world(0.3, 0)
    learnt = learn_transference(demand, before, before, products, ["kind"], (26, 26))
    assert learnt.table["source"].tolist() == ["assumed"] and learnt.table["share"].tolist() == [0.4]
    assert "assumed, not learnt" in learnt.summary()[0] and "40%" in learnt.summary()[0]


def test_transferable_share_counts_substitutes_in_the_store():
    demand, _, products = moving_world(0.5, 0)
    transference = assumed_transference(["tea"], ["kind"], 0.5)
    table = with_transfer(demand, products, transference)
    assert table["transferable_share"].between(0, 0.5 + 1e-9).all()
    pd.testing.assert_frame_equal(
        table.drop(columns="transferable_share"), demand.table.drop(columns="transferable_share")
    )
    # A store with more of the range keeps more.
    breadth = table.groupby("store_id")["listed"].sum()
    kept = table.groupby("store_id")["transferable_share"].mean()
    assert breadth.corr(kept) > 0.5
    row = table.iloc[0]
    mine = table[(table["store_id"] == row["store_id"]) & table["listed"] & (table["sku"] != row["sku"])]
    units = demand.table.groupby("sku")["units"].mean()
    matrix = pd.DataFrame(
        transference.matrix(products, units.loc[products["sku"]].to_numpy()), products["sku"], products["sku"]
    )
    assert row["transferable_share"] == pytest.approx(matrix.loc[row["sku"], mine["sku"]].sum())
    with pytest.raises(SettingsError, match="category 'coffee' is not known"):
        assumed_transference(["tea"], ["kind"], {"coffee": 0.3})


def test_where_stores_drop_what_stopped_selling_the_share_is_assumed():
    demand, (before, after), products = moving_world(0.0, 0)
    kind = products.set_index("sku")["kind"]
    gone = before.merge(after[["store_id", "sku"]], how="left", indicator=True)
    gone = gone[gone["_merge"] == "left_only"].assign(kind=gone["sku"].map(kind))
    dying = pd.MultiIndex.from_frame(gone[["store_id", "kind"]])
    here = pd.MultiIndex.from_arrays([after["store_id"], after["sku"].map(kind)])
    fallen = after.assign(units=np.where(here.isin(dying), (after["units"] * 0.7).round(), after["units"]))
    learnt = learn_transference(demand, before, fallen, products, ["kind"], (26, 26))
    assert learnt.table["source"].tolist() == ["assumed"]
    assert any("stopped selling" in line for line in learnt.summary())


def test_effects_taken_out_by_sums_are_those_of_dummies(rng):
    """Information and scores per store, against columns with every store and SKU dummy regressed out."""
    n_stores, sizes = 9, (5, 4, 6)
    category, store, sku = (
        np.concatenate(part)
        for part in zip(
            *(
                (np.full(len(rows), c), rows, columns + sum(sizes[:c]))
                for c, size in enumerate(sizes)
                for rows, columns in [np.nonzero(rng.random((n_stores, size)) < 0.8)]
            )
        )
    )
    weight, slope, change = rng.gamma(2, 1, len(sku)), rng.normal(size=len(sku)), rng.normal(size=len(sku))
    by_sku, by_store = np.bincount(sku, weight), np.bincount(store, weight)
    crossed = sparse.csr_array((weight, (store, sku)))
    left_of_store = np.linalg.pinv(np.diag(by_store) - (crossed.multiply(1 / by_sku) @ crossed.T).toarray())
    stayed = _Stayed(category, store, sku, change, weight, by_sku, by_store, crossed, left_of_store)
    dummies = np.hstack([np.eye(n_stores)[store], np.eye(sum(sizes))[sku]]) * np.sqrt(weight)[:, None]
    columns = np.where(category[:, None] == np.arange(3), slope[:, None], 0.0)

    def plain(values):
        scaled = values * np.sqrt(weight)[:, None]
        fitted = dummies @ np.linalg.lstsq(dummies, scaled, rcond=None)[0]
        return (scaled - fitted) / np.sqrt(weight)[:, None]

    x, left = plain(columns), stayed.without_effects(change)
    np.testing.assert_allclose(left, plain(change[:, None])[:, 0], atol=1e-10)
    information, effects = stayed.information(slope, category, 3)
    np.testing.assert_allclose(information, (x.T * weight) @ x, atol=1e-10)
    scores = [np.bincount(store, weight * left * column) for column in x.T]
    np.testing.assert_allclose(
        stayed.scores(slope, category, left, effects), np.transpose(scores), atol=1e-10
    )
