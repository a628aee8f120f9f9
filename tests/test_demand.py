import dataclasses

import numpy as np
import pandas as pd
import pytest
from scipy.stats import gamma

from geomarket.demand import (
    ClusterFamily,
    fit_baseline,
    fit_biproportional,
    fit_demand,
    holdout_metrics,
    learn_discount,
    listing_exposure,
    make_pairs,
    poisson_gamma,
)
from geomarket.demand.baseline import Baseline
from geomarket.demand.evidence import gather_evidence
from geomarket.demand.holdout import INNER, OUTER, TRAIN, deviance, split_pairs
from geomarket.demand.shrinkage import fit_scatter, spread_of_ratios
from geomarket.errors import NotSupportedError, TableError


def tables(
    n_stores=30, n_skus=40, n_categories=2, listed=0.6, periods=26, lift=None, heterogeneity=0.1, seed=0
):
    """A small chain: rates are size × rate × lift × a pair's own taste, listings are random."""
    rng = np.random.default_rng(seed)
    size = rng.lognormal(0, 0.4, n_stores)
    rate = rng.lognormal(0.5, 0.8, n_skus)
    taste = rng.gamma(1 / heterogeneity, heterogeneity, (n_stores, n_skus))
    truth = size[:, None] * rate * taste * (1 if lift is None else lift)
    on_sale = rng.random((n_stores, n_skus)) < listed
    store, sku = np.nonzero(on_sale)
    sales = pd.DataFrame(
        {
            "store_id": [f"s{i:02d}" for i in store],
            "sku": [f"k{k:02d}" for k in sku],
            "units": rng.poisson(truth[store, sku] * periods).astype(float),
            "exposure": float(periods),
        }
    )
    stores = pd.DataFrame({"store_id": [f"s{i:02d}" for i in range(n_stores)]})
    products = pd.DataFrame(
        {
            "sku": [f"k{k:02d}" for k in range(n_skus)],
            "category": [f"cat{k % n_categories}" for k in range(n_skus)],
            "price": rng.uniform(2, 9, n_skus),
            "cost": 1.0,
        }
    )
    return sales, stores, products, truth


def test_biproportional_fit_keeps_totals_and_is_the_poisson_estimate():
    import statsmodels.api as sm

    rng = np.random.default_rng(3)
    store, sku = np.nonzero(rng.random((8, 10)) < 0.6)
    exposure = rng.integers(3, 20, len(store)).astype(float)
    units = rng.poisson(exposure * rng.uniform(0.5, 2, 8)[store] * rng.uniform(0.5, 4, 10)[sku]).astype(float)
    size, rate = fit_biproportional(store, sku, units, exposure, 8, 10, tolerance=1e-12)
    mean = exposure * size[store] * rate[sku]
    for key in (store, sku):
        np.testing.assert_allclose(np.bincount(key, mean), np.bincount(key, units), rtol=1e-8)
    dummies = pd.get_dummies(pd.DataFrame({"s": store, "k": sku}).astype(str), dtype=float).drop(
        columns="s_0"
    )
    oracle = sm.GLM(units, dummies, family=sm.families.Poisson(), offset=np.log(exposure)).fit(tol=1e-12)
    np.testing.assert_allclose(mean, oracle.mu, rtol=1e-6)


def test_a_store_is_not_small_because_it_lists_little():
    size, rate = np.array([1.0, 1.0, 2.0]), np.array([1.0, 5.0, 20.0])
    store, sku = np.array([0, 0, 0, 1, 2, 2]), np.array([0, 1, 2, 0, 0, 1])
    fitted, _ = fit_biproportional(store, sku, (size[store] * rate[sku]) * 10, np.full(6, 10.0), 3, 3)
    np.testing.assert_allclose(fitted / fitted[0], [1, 1, 2], rtol=1e-6)


def test_baseline_category_sizes_are_drawn_to_the_whole_shop():
    sales, stores, products, _ = tables(heterogeneity=0.02)
    pairs = make_pairs(sales, stores, products, 26)
    fitted = fit_baseline(pairs)
    # No store has a taste for a category here, so category sizes should nearly agree.
    relative = fitted.size[:, 0] / fitted.size[:, 1]
    assert np.std(relative / relative.mean()) < 0.08
    lifted, *_ = tables(
        heterogeneity=0.02, lift=np.where(np.arange(30)[:, None] < 15, [[3.0, 1.0] * 20], 1.0)
    )
    fitted = fit_baseline(make_pairs(lifted, stores, products, 26))
    relative = fitted.size[:, 0] / fitted.size[:, 1]
    assert relative[:15].mean() / relative[15:].mean() == pytest.approx(3.0, rel=0.1)


def test_listed_estimate_is_the_poisson_gamma_posterior():
    sales, stores, products, _ = tables()
    demand = fit_demand(sales, stores, products, None, 26, random_state=1)
    pairs = make_pairs(sales, stores, products, 26)
    prior = fit_baseline(pairs).surface(pairs.category)[pairs.store, pairs.sku]
    scatter = demand.scatter.set_index("category").loc[pairs.categories[pairs.pair_category]]
    shape = (scatter["dispersion"] / scatter["heterogeneity"]).to_numpy()
    expected = (shape + pairs.units) / (shape / prior + pairs.exposure)
    listed = demand.table[demand.table["listed"]]
    np.testing.assert_allclose(listed["units"], expected, rtol=1e-12)
    np.testing.assert_allclose(
        poisson_gamma(pairs.units, pairs.exposure, shape, shape / prior), expected, rtol=1e-15
    )
    assert (listed["family"] == "observed+shrunk").all()


def test_table_has_every_pair_once_with_ordered_intervals():
    sales, stores, products, _ = tables()
    table = fit_demand(sales, stores, products, None, 26).table
    assert len(table) == 30 * 40 and not table.duplicated(["store_id", "sku"]).any()
    assert (table["low"] <= table["units"]).all() and (table["units"] <= table["high"]).all()
    money = products.set_index("sku").eval("price - cost")
    np.testing.assert_allclose(table["margin"], table["units"] * table["sku"].map(money))
    assert table["transferable_share"].isna().all()
    assert table["listed"].sum() == len(sales)


def test_ninety_percent_intervals_hold_the_truth_about_that_often():
    sales, stores, products, truth = tables(n_stores=40, n_skus=60, seed=4)
    table = fit_demand(sales, stores, products, None, 26).table
    inside = (table["low"].to_numpy() <= truth.ravel()) & (truth.ravel() <= table["high"].to_numpy())
    listed = table["listed"].to_numpy()
    assert 0.84 < inside[listed].mean() < 0.96
    assert 0.84 < inside[~listed].mean() < 0.96


def test_rows_may_come_in_any_order_and_input_is_left_alone():
    sales, stores, products, _ = tables()
    before = sales.copy(deep=True)
    first = fit_demand(sales, stores, products, None, 26)
    again = fit_demand(
        sales.sample(frac=1, random_state=1), stores[::-1], products.sample(frac=1, random_state=2), None, 26
    )
    pd.testing.assert_frame_equal(first.table, again.table)
    pd.testing.assert_frame_equal(first.holdout, again.holdout)
    pd.testing.assert_frame_equal(sales, before)


def test_cluster_family_is_chosen_where_clusters_differ_and_not_elsewhere():
    cluster = np.arange(30) % 3
    rng = np.random.default_rng(1)
    local = np.ones((30, 40))
    local[:, ::2] = rng.lognormal(0, 0.7, (3, 20))[cluster]
    sales, stores, products, truth = tables(lift=local, seed=2)
    clusters = pd.Series([f"C{c + 1}" for c in cluster], index=stores["store_id"])
    demand = fit_demand(sales, stores, products, clusters, 26)
    chosen = demand.chosen.set_index("category")
    assert chosen.loc["cat0", "family"] == "cluster" and chosen.loc["cat0", "gain"] > 0
    assert chosen.loc["cat1", "family"] == "baseline"
    overall = demand.holdout[demand.holdout["category"] == "all"].set_index("family")
    assert overall.loc["chosen", "wmape"] < overall.loc["baseline", "wmape"] - 0.02
    unlisted = ~demand.table["listed"].to_numpy()
    wrong = {
        name: np.abs(d.table["units"].to_numpy() - truth.ravel())[unlisted].sum()
        for name, d in {"cluster": demand, "baseline": fit_demand(sales, stores, products, None, 26)}.items()
    }
    assert wrong["cluster"] < 0.9 * wrong["baseline"]


def test_cluster_lifts_are_mild_without_clusters_in_the_truth():
    sales, stores, products, _ = tables()
    pairs = make_pairs(sales, stores, products, 26)
    base = fit_baseline(pairs).surface(pairs.category)
    clusters = pd.Series([f"C{i % 5}" for i in range(30)], index=stores["store_id"])
    lift = ClusterFamily(clusters).lift(gather_evidence(pairs, base))
    assert np.std(lift) < 0.05
    none = ClusterFamily(clusters.drop("s00")).lift(gather_evidence(pairs, base))
    np.testing.assert_array_equal(none[0], 1.0)


def test_scatter_is_recovered():
    rng = np.random.default_rng(0)
    mean = rng.lognormal(2, 1.2, 20_000)
    # Cases of 6 make the variance six times the mean; tastes with squared cv 0.25 add to it.
    units = 6.0 * rng.poisson(mean * rng.gamma(4, 0.25, len(mean)) / 6)
    scatter = fit_scatter(units, mean)
    assert scatter.dispersion == pytest.approx(6.0, rel=0.15)
    assert scatter.heterogeneity == pytest.approx(0.25, rel=0.15)
    poisson = fit_scatter(rng.poisson(mean).astype(float), mean)
    assert poisson.dispersion < 1.1 and poisson.heterogeneity < 0.01


def test_spread_of_ratios():
    rng = np.random.default_rng(0)
    noise = rng.uniform(0.01, 0.2, 4000)
    ratio = 1 + rng.normal(0, 0.3, 4000) + rng.normal(0, np.sqrt(noise))
    assert spread_of_ratios(ratio, noise) == pytest.approx(0.09, rel=0.15)
    assert spread_of_ratios(1 + rng.normal(0, np.sqrt(noise) * 0.8), noise) == 0.0


def test_split_leaves_every_sku_something_to_learn_from():
    sales, stores, products, _ = tables(listed=0.3)
    pairs = make_pairs(sales, stores, products, 26)
    part = split_pairs(pairs, 0.2, 0)
    for k in range(pairs.shape[1]):
        mine = part[pairs.sku == k]
        assert (mine == OUTER).sum() == (mine == INNER).sum() == int(0.2 * len(mine))
        assert (mine == TRAIN).sum() >= 0.6 * len(mine)


def test_metrics_match_their_definitions():
    sku = np.repeat([0, 1], 6)
    units = np.array([1, 2, 3, 4, 5, 6, 6, 5, 4, 3, 2, 1.0])
    forecast = np.tile(np.arange(1.0, 7.0), 2)
    found = holdout_metrics(sku, units, np.full(12, 2.0), forecast)
    assert found["wmape"] == pytest.approx(np.abs(units - 2 * forecast).sum() / units.sum())
    assert found["bias"] == pytest.approx(1.0)
    assert found["spearman_within_sku"] == pytest.approx(0.0)
    from sklearn.metrics import mean_poisson_deviance

    assert found["poisson_deviance"] == pytest.approx(mean_poisson_deviance(units, 2 * forecast))
    assert deviance(np.zeros(1), np.zeros(1))[0] == pytest.approx(0, abs=1e-8)


def test_exposure_from_dates_of_sale():
    months = pd.date_range("2024-01-01", periods=12, freq="MS")
    sales = pd.DataFrame(
        {
            "store_id": ["1", "1", "2"],
            "sku": ["slow", "fast", "slow"],
            "periods_sold": [2, 12, 4],
            "first_period": months[[3, 0, 0]],
            "last_period": months[[6, 11, 11]],
        }
    )
    assert listing_exposure(sales, 12, method="span").tolist() == [4, 12, 12]
    assert listing_exposure(sales, 12, method="window").tolist() == [12, 12, 12]
    given = listing_exposure(sales, 12, calendar=list(months))
    np.testing.assert_allclose(given, listing_exposure(sales, 12))
    with pytest.raises(TableError, match="calendar"):
        listing_exposure(sales, 12, calendar=list(months[:6]))


def test_exposure_is_about_right_for_pairs_listed_throughout():
    rng = np.random.default_rng(0)
    sold = rng.random((300, 52)) < 0.25
    weeks = pd.date_range("2024-01-01", periods=52, freq="W-MON")
    first, last = sold.argmax(axis=1), 51 - sold[:, ::-1].argmax(axis=1)
    sales = pd.DataFrame(
        {
            "store_id": [f"{i % 30}" for i in range(300)],
            "sku": [f"{i // 30}" for i in range(300)],
            "periods_sold": sold.sum(axis=1),
            "first_period": weeks[first],
            "last_period": weeks[last],
        }
    )
    assert listing_exposure(sales, 52, method="span").mean() < 47
    assert 49 < listing_exposure(sales, 52).mean() <= 52


def test_part_listed_and_out_of_stock_periods_are_exposure_not_low_demand():
    sales, stores, products, _ = tables(heterogeneity=0.01)
    half = sales["sku"].isin([f"k{k:02d}" for k in range(0, 40, 2)])
    part = sales.assign(
        units=sales["units"].where(~half, (sales["units"] / 2).round()),
        exposure=sales["exposure"].where(~half, 13.0),
    )
    whole, less = (fit_demand(s, stores, products, None, 26).table["units"] for s in (sales, part))
    assert (less / whole).median() == pytest.approx(1.0, abs=0.02)


def test_unlisted_forecasts_are_called_unvalidated_until_discounted():
    sales, stores, products, _ = tables()
    demand = fit_demand(sales, stores, products, None, 26)
    assert not demand.validated and any("UNVALIDATED" in line for line in demand.summary())
    rng = np.random.default_rng(5)
    unlisted = demand.table[~demand.table["listed"]].sample(250, random_state=0)
    later = pd.DataFrame(
        {
            "store_id": unlisted["store_id"],
            "sku": unlisted["sku"],
            "units": rng.poisson(0.6 * unlisted["units"] * 26).astype(float),
            "exposure": 26.0,
        }
    )
    later = pd.concat([sales, later], ignore_index=True)
    discount = learn_discount(demand, later, 26)
    row = discount.table.iloc[0]
    assert row["ratio"] == pytest.approx(0.6, abs=0.03)
    assert row["low"] < row["discount"] < row["high"] < row["low"] + 0.15
    sold, meant = (
        discount.pairs["observed"].sum(),
        (discount.pairs["predicted"] * discount.pairs["factor"]).sum(),
    )
    assert meant == pytest.approx(sold, rel=0.02)
    assert discount.growth == pytest.approx(1.0, abs=0.02)
    discounted = fit_demand(sales, stores, products, None, 26, discount=discount)
    assert discounted.validated and not any("UNVALIDATED" in line for line in discounted.summary())
    listed = demand.table["listed"]
    pd.testing.assert_series_equal(discounted.table.loc[listed, "units"], demand.table.loc[listed, "units"])
    ratio = discounted.table.loc[~listed, "units"] / demand.table.loc[~listed, "units"]
    assert ratio.between(0.5, 0.7).all()
    with pytest.raises(TableError, match="already carries a discount"):
        learn_discount(discounted, later, 26)
    with pytest.raises(NotSupportedError, match="only 0 pairs were listed later"):
        learn_discount(demand, sales, 26)


def test_growth_of_the_chain_is_not_taken_for_a_discount():
    sales, stores, products, _ = tables()
    demand = fit_demand(sales, stores, products, None, 26)
    unlisted = demand.table[~demand.table["listed"]].sample(300, random_state=0)
    later = pd.concat(
        [
            sales.assign(units=sales["units"] * 2),
            unlisted[["store_id", "sku"]].assign(units=(unlisted["units"] * 52).round(), exposure=26.0),
        ]
    )
    discount = learn_discount(demand, later, 26)
    assert discount.overall == pytest.approx(1.0, abs=0.03) and discount.raw == pytest.approx(2.0, abs=0.05)


def test_unknown_and_unused_ids():
    sales, stores, products, _ = tables()
    idle = pd.concat([stores, pd.DataFrame({"store_id": ["s99"]})])
    demand = fit_demand(sales, idle, products, None, 26)
    assert demand.unused[["table", "id"]].values.tolist() == [["stores", "s99"]]
    assert any("1 of stores" in line for line in demand.summary())
    with pytest.raises(TableError, match=r"values of store_id are not in stores \(s00"):
        fit_demand(sales, stores[1:], products, None, 26)
    with pytest.raises(TableError, match="rows repeat store_id × sku"):
        fit_demand(pd.concat([sales, sales[:1]]), stores, products, None, 26)
    with pytest.raises(TableError, match="column 'cost' is missing"):
        fit_demand(sales, stores, products.drop(columns="cost"), None, 26)
    with pytest.raises(TableError, match="have no category"):
        fit_demand(
            sales,
            stores,
            products.assign(category=products["category"].where(products["sku"] != "k03")),
            None,
            26,
        )
    with pytest.raises(TableError, match="without any time on the shelf"):
        fit_demand(sales.assign(exposure=0.0), stores, products, None, 26)
    with pytest.raises(TableError, match="Exposure is judged from"):
        fit_demand(sales.drop(columns="exposure"), stores, products, None, 26)


def test_returns_beyond_sales_are_said():
    sales, stores, products, _ = tables()
    sales.loc[0, "units"] = -3.0
    demand = fit_demand(sales, stores, products, None, 26)
    assert any("more returns than sales" in line for line in demand.summary())


def test_without_holdout_the_notes_say_so():
    sales, stores, products, _ = tables()
    clusters = pd.Series("C1", index=stores["store_id"])
    demand = fit_demand(sales, stores, products, clusters, 26, holdout_share=0)
    assert demand.holdout.empty and any("without proof" in line for line in demand.summary())


def test_gamma_interval_of_an_unlisted_pair_follows_its_scatter():
    sales, stores, products, _ = tables()
    demand = fit_demand(sales, stores, products, None, 26)
    row = demand.table[~demand.table["listed"]].iloc[0]
    spread = demand.scatter.set_index("category").loc[row["category"]]
    mine = sales[sales["sku"] == row["sku"]]
    cv2 = spread["heterogeneity"] * (1 + 1 / len(mine)) + spread["dispersion"] / mine["units"].sum()
    assert row["high"] == pytest.approx(row["units"] * gamma.ppf(0.95, 1 / cv2) * cv2)


def test_surface_is_size_times_rate():
    surface = Baseline(np.array([[1.0, 2.0]]), np.array([3.0, 4.0, 5.0])).surface(np.array([0, 1, 1]))
    assert surface.tolist() == [[3.0, 8.0, 10.0]]


def test_what_was_not_beaten_on_held_out_pairs_is_said():
    sales, stores, products, _ = tables()
    demand = fit_demand(sales, stores, products, None, 26)
    assert "no family beats size × rate clearly" in demand.against_baselines()
    rows = {"baseline": 0.5, "nearest by mix": 0.4, "nearest by sales": 0.3, "blend": 0.35, "chosen": 0.35}
    holdout = pd.DataFrame(
        {"category": "all", "family": list(rows), "wmape": list(rows.values()), "pairs": 9}
    )
    blended = dataclasses.replace(
        demand,
        holdout=holdout.assign(spearman_within_sku=0.1, bias=0.0),
        chosen=demand.chosen.assign(family="blend"),
    )
    said = blended.against_baselines()
    assert "beat the nearest stores by mix, size × rate, but do NOT beat the nearest stores by sales" in said
    assert said in blended.summary()
    unjudged = fit_demand(sales, stores, products, None, 26, holdout_share=0)
    assert unjudged.against_baselines() == ""
