"""Store clusters of a plan: described and weighted by the settings, frozen, overridden, made anew."""

import dataclasses
import json

import pandas as pd
import pytest
from sklearn.metrics import adjusted_rand_score

from geomarket.errors import SettingsError, TableError
from geomarket.market import ClusterFiles, PlanSettings, parse_settings, read_cluster_files
from geomarket.planning import clusters as store_groups
from geomarket.planning import plan_tables, run_plan
from geomarket.planning.classification import find_neighbourhoods
from geomarket.planning.steps import find_catchments, find_hexes
from geomarket.planning.trade import current_trade
from geomarket.simulate import simulate_market
from geomarket.store_clusters import freeze_clusters, frozen_labels, store_features


@pytest.fixture(scope="module")
def market():
    made = simulate_market(n_customers=300, n_stores=14, n_skus=80, weeks=40, seed=3)
    regions = ["north" if lat > made.stores["lat"].median() else "south" for lat in made.stores["lat"]]
    stores = made.stores.assign(region=regions, parking=range(len(made.stores)))
    return dataclasses.replace(
        made, stores=stores, promotions=None, customers=None, baskets=None, contacts=None
    )


@pytest.fixture(scope="module")
def stages(market):
    settings = PlanSettings()
    hexes = find_hexes(market, settings)
    neighbourhoods = find_neighbourhoods(hexes, settings)
    catchments = find_catchments(market, hexes, neighbourhoods, None, settings)
    return current_trade(market), hexes, catchments, neighbourhoods


def clustered(text):
    return parse_settings(f"[store_clusters]\n{text}")


def written(folder, name, text):
    (folder / name).write_text(text, encoding="utf-8")
    return name


def test_settings_add_competition_catchment_figures_and_columns_of_stores(stages):
    trade, hexes, catchments, neighbourhoods = stages
    settings = clustered(
        'competition_weight = 0.5\nfeatures = { median_income = 0.5, region = 0.2, parking = 0.1 }\ncomposition = "clr"'
    )
    features = store_groups.describe_stores(trade, hexes, catchments, neighbourhoods, settings)
    assert {"competition", "median_income", "region", "parking"} <= set(features.features["block"])
    weights = store_groups.block_weights(features, settings)
    assert weights["median_income"] == 0.5 and weights["competition"] == 0.5
    table = features.table.set_index("store_id")
    reach = (
        catchments.table[catchments.table["own"]]
        .merge(hexes.table[["cell", "median_income"]], on="cell")
        .dropna()
    )
    store = trade.stores["store_id"].iloc[0]
    mine = reach[reach["store_id"] == store]
    expected = (mine["median_income"] * mine["demand"]).sum() / mine["demand"].sum()
    assert table.loc[store, "median_income"] == pytest.approx(expected, rel=1e-9)
    assert table["competition:competition"].between(0, 1).all()
    assert table["region:north"].isin([0.0, 1.0]).all()
    assert features.points(weights).notna().all().all()


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("nonsense", "no column of stores .*parking, .*region.*median_income"),
        ("population", "a count of the area layers"),
        ("born_abroad", "a protected trait is never used"),
        ("size_m2", "weight of its own"),
        ("revenue_last_year", "revenue and volume are kept out"),
    ],
)
def test_features_that_must_not_describe_a_store_are_refused(stages, name, said):
    trade, hexes, catchments, neighbourhoods = stages
    stores = trade.stores.assign(revenue_last_year=1.0)
    trade = dataclasses.replace(trade, stores=stores)
    with pytest.raises(SettingsError, match=said):
        store_groups.describe_stores(
            trade, hexes, catchments, neighbourhoods, clustered(f"features = {{ {name} = 1.0 }}")
        )


def test_only_numbers_that_come_back_are_offered_unless_none_does(stages):
    trade, hexes, catchments, neighbourhoods = stages
    settings = clustered("max_clusters = 5")
    features = store_groups.describe_stores(trade, hexes, catchments, neighbourhoods, settings)
    tried = store_groups.try_clusterings(features, settings)
    ari = tried.table.set_index("n_clusters")["bootstrap_ari"].drop(1)
    border = float(ari.sort_values().iloc[-1]) - 1e-6
    strict = clustered(f"max_clusters = 5\nmin_stability = {border}")
    offered = store_groups.offered_clusterings(tried, features, ClusterFiles(), strict)
    assert sorted(offered) == sorted({1, int(ari.idxmax())})
    none = clustered("max_clusters = 5\nmin_stability = 1.0")
    assert sorted(store_groups.offered_clusterings(tried, features, ClusterFiles(), none)) == sorted(
        tried.labels
    )
    asked = clustered(f"n_clusters = {int(ari.idxmin())}\nmin_stability = {border}")
    assert int(ari.idxmin()) in store_groups.offered_clusterings(tried, features, ClusterFiles(), asked)


def test_lone_stores_join_the_next_nearest_cluster():
    stores = pd.DataFrame({"store_id": list("abcdef"), "size_m2": [100, 101, 102, 1000, 1001, 90000]})
    tried = store_groups.try_clusterings(store_features(None, None, stores), clustered("max_clusters = 3"))
    assert sorted(tried.labels) == [1, 2]
    assert tried.labels[2]["f"] == tried.labels[2]["e"]
    apart = store_groups.try_clusterings(
        store_features(None, None, stores), clustered("max_clusters = 3\nmerge_single = false")
    )
    assert sorted(apart.labels) == [1, 2, 3]


def test_a_plan_is_frozen_overridden_and_made_anew(market, tmp_path):
    shared = "n_clusters = 3\nmax_clusters = 4"
    plain = run_plan(market, clustered(shared))
    assert plain.cluster_moves is None
    assert plain.store_clusters.evidence.table.set_index("n_clusters").index.tolist()[:3] == [1, 2, 3]
    assert any("as the settings ask" in line for line in plain.warnings)

    labels = plain.store_clusters.labels
    store = str(labels.index[labels == "C1"][0])
    codes = labels.where(labels.index != store, "C3")
    frozen = freeze_clusters(
        dataclasses.replace(
            plain.store_clusters, table=plain.store_clusters.table.assign(store_cluster=codes.to_numpy())
        )
    )
    written(tmp_path, "old.json", frozen)
    other = str(labels.index[labels == "C2"][0])
    written(tmp_path, "moves.csv", f"store_id,store_cluster,reason\n{other},C1,serves the harbour\n")
    text = f'{shared}\nfrozen = "old.json"\noverrides = "moves.csv"'
    settings = parse_settings(f"[store_clusters]\n{text}", tmp_path / "plan.toml")
    kept = run_plan(market, settings)
    after = kept.store_clusters.labels
    pd.testing.assert_series_equal(after.drop(other), codes.drop(other), check_names=False)
    assert after[other] == "C1"
    remarks = kept.store_clusters.table.set_index("store_id")["reason"]
    assert remarks[other] == "planner: serves the harbour"
    change = kept.cluster_moves.table.set_index("store_id")["change"]
    # Made anew, the store put aside by hand would go back; the override holds in both.
    assert change[store] == "moved" and (change == "moved").sum() == 2
    assert {"store_cluster_moves", "store_cluster_evidence"} <= set(plan_tables(kept))
    assert {"old.json", "moves.csv"} <= set(kept.manifest["inputs"])
    assert set(kept.ranges.changes["store_cluster"]) <= set(after)

    anew = store_groups.settle_clusters(
        kept.frontier,
        kept.store_clusters.evidence,
        store_groups.describe_stores(
            current_trade(market), kept.hexes, kept.catchments, kept.neighbourhoods, settings
        ),
        read_cluster_files(settings),
        parse_settings(f"[store_clusters]\n{text}\nrefresh = true", tmp_path / "plan.toml"),
    )
    assert anew.clustering.labels[store] == "C1"
    assert any("Clusters were made anew" in note for note in anew.notes)
    assert frozen_labels(store_groups.clusters_text(kept.store_clusters)).to_dict() == after.to_dict()
    json.loads(store_groups.clusters_text(kept.store_clusters))


def test_files_of_store_clusters_are_checked(stages, tmp_path):
    with pytest.raises(SettingsError, match="refresh needs frozen"):
        clustered("refresh = true")
    written(tmp_path, "twice.csv", "store_id,store_cluster,reason\n1,C1,a\n1,C2,b\n")
    with pytest.raises(TableError, match="names 1 more than once"):
        read_cluster_files(
            parse_settings('[store_clusters]\noverrides = "twice.csv"', tmp_path / "plan.toml")
        )
    written(tmp_path, "mute.csv", "store_id,store_cluster,reason\n1,C1,\n")
    with pytest.raises(TableError, match="reason is empty"):
        read_cluster_files(parse_settings('[store_clusters]\noverrides = "mute.csv"', tmp_path / "plan.toml"))
    written(tmp_path, "not.json", "[]")
    settings = parse_settings('[store_clusters]\nfrozen = "not.json"', tmp_path / "plan.toml")
    trade, hexes, catchments, neighbourhoods = stages
    features = store_groups.describe_stores(trade, hexes, catchments, neighbourhoods, settings)
    tried = store_groups.try_clusterings(features, settings)
    with pytest.raises(TableError, match=r"frozen = 'not.json': .*not a frozen clustering"):
        store_groups.offered_clusterings(tried, features, read_cluster_files(settings), settings)


def test_a_category_can_have_store_clusters_of_its_own():
    market = simulate_market(n_customers=1_000, n_stores=12, n_skus=120, weeks=40, seed=3)
    plans = {}
    for category in sorted(market.products["category"].unique())[:2]:
        text = f'[assortment]\ncategories = ["{category}"]\n[store_clusters]\nscope = "categories"\n'
        plans[category] = plan = run_plan(
            market, parse_settings(text + "catchment_weight = 0.0\nn_clusters = 3\nmax_clusters = 4\n")
        )
        assert set(plan.demand.table["category"]) == {category}
        assert set(plan.ranges.table["category"]) == {category}
        assert set(plan.frontier.categories["category"]) <= {category, "all"}
        assert category in " ".join(plan.warnings)
    groups = [plan.store_clusters.labels.sort_index() for plan in plans.values()]
    assert adjusted_rand_score(*groups) < 0.999
    with pytest.raises(SettingsError, match=r"names none; products have"):
        run_plan(market, parse_settings('[store_clusters]\nscope = "categories"\n'))
