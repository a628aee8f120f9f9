import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import adjusted_rand_score

from geomarket.errors import NotSupportedError, SettingsError, TableError
from geomarket.store_clusters import (
    category_mix,
    cluster_range,
    cluster_stores,
    compare_clusters,
    composition_coordinates,
    describe_clusters,
    freeze_clusters,
    override_clusters,
    store_features,
    thaw_clusters,
)

KINDS = ["A1", "A2", "B1", "B2"]


def world(n=40, seed=0, concentration=60.0):
    """Stores of four kinds: catchment and category mix follow the kind, size does not."""
    rng = np.random.default_rng(seed)
    kind = np.arange(n) % 4
    centre = np.full((4, 4), 0.1) + 0.6 * np.eye(4)
    shares = np.stack([rng.dirichlet(concentration * centre[k]) for k in kind])
    mixes = np.stack([rng.dirichlet(concentration * centre[k][::-1]) for k in kind])
    ids = [f"s{i:03d}" for i in rng.permutation(n)]
    profile = pd.DataFrame(shares, index=ids, columns=KINDS).rename_axis("store_id").reset_index()
    mix = (
        pd.DataFrame(mixes, index=ids, columns=["beer", "tea", "wine", "milk"])
        .rename_axis("store_id")
        .reset_index()
    )
    stores = pd.DataFrame(
        {"store_id": ids, "size_m2": rng.uniform(500, 3000, n), "format": rng.choice(["super", "express"], n)}
    )
    return (
        profile.melt("store_id", var_name="neighbourhood", value_name="share"),
        mix.melt("store_id", var_name="category", value_name="share"),
        stores,
        pd.Series(kind, index=ids),
    )


def test_hellinger_distance_does_not_depend_on_a_stores_size():
    counts = np.random.default_rng(1).poisson(20, (6, 5)).astype(float)
    counts[0, 1] = 0
    scaled = counts * np.array([1, 10, 0.1, 3, 7, 1000])[:, None]
    apart = [composition_coordinates(x) for x in (counts, scaled)]
    np.testing.assert_allclose(apart[0], apart[1], atol=1e-15)
    p, q = counts[0] / counts[0].sum(), counts[1] / counts[1].sum()
    affinity = np.sqrt(p * q).sum()
    distance = np.linalg.norm(apart[0][0] - apart[0][1])
    assert distance == pytest.approx(np.sqrt(2) * np.sqrt(1 - affinity), abs=1e-12)


def test_clr_keeps_ratios_and_replaces_zeros():
    shares = np.array([[0.2, 0.3, 0.5], [0.0, 0.5, 0.5], [0.1, 0.1, 0.8]])
    points = composition_coordinates(shares, "clr")
    np.testing.assert_allclose(points.sum(axis=1), 0, atol=1e-12)
    np.testing.assert_allclose(points[0, 2] - points[0, 1], np.log(0.5 / 0.3))
    np.testing.assert_allclose(points[1, 2] - points[1, 1], 0, atol=1e-12)
    assert np.isfinite(points).all() and points[1, 0] < points[2, 0]


@pytest.mark.parametrize("bad", [[[1.0, -1.0]], [[0.0, 0.0]], [[np.nan, 1.0]]])
def test_compositions_must_be_amounts(bad):
    with pytest.raises(TableError, match="amounts"):
        composition_coordinates(np.array(bad))


def test_every_block_has_unit_variance_before_weights():
    profile, mix, stores, _ = world()
    features = store_features(profile, mix, stores)
    blocks = features.features.set_index("feature")["block"]
    total = features.coordinates.var(ddof=0).groupby(blocks).sum()
    np.testing.assert_allclose(total, 1.0)
    assert set(total.index) == {"catchment", "mix", "size", "format"}
    weighted = features.points({"mix": 3.0}).var(ddof=0).groupby(blocks).sum()
    np.testing.assert_allclose(weighted["mix"], 3.0)


def test_planted_kinds_are_found_and_rows_may_come_in_any_order():
    profile, mix, stores, kind = world()
    weights = {"size": 0.0, "format": 0.0}
    first = cluster_stores(store_features(profile, mix, stores), 4, weights)
    assert adjusted_rand_score(kind.loc[first.table["store_id"]], first.table["store_cluster"]) == 1.0
    again = cluster_stores(
        store_features(
            profile.sample(frac=1, random_state=3), mix[::-1], stores.sample(frac=1, random_state=5)
        ),
        4,
        weights,
    )
    pd.testing.assert_frame_equal(first.table, again.table)
    assert first.clusters["medoid"].is_unique and first.table["medoid"].sum() == 4


def test_revenue_is_not_a_feature():
    profile, mix, stores, _ = world()
    rich = stores.assign(revenue=np.geomspace(1, 1e6, len(stores)))
    pd.testing.assert_frame_equal(
        store_features(profile, mix, rich).coordinates, store_features(profile, mix, stores).coordinates
    )


def test_codes_follow_number_of_stores_then_smallest_id():
    stores = pd.DataFrame({"store_id": list("abcdefg"), "size_m2": [1000, 1010, 100, 101, 102, 10, 11]})
    found = cluster_stores(store_features(None, None, stores), 3).labels
    assert found.to_dict() == dict(zip("abcdefg", ["C2", "C2", "C1", "C1", "C1", "C3", "C3"]))


def test_names_are_distinct_and_say_what_sets_a_cluster_apart():
    profile, mix, stores, kind = world()
    labels = dict(zip(KINDS, ["Young renters", "Comfortable families", "Rural retired", "Students"]))
    features = store_features(profile, mix, stores, labels=labels)
    found = cluster_stores(features, 4, {"size": 0, "format": 0, "mix": 0.1})
    assert sorted(found.clusters["name"]) == sorted(labels.values())
    store_of_kind = kind.index[kind == 2][0]
    assert found.table.set_index("store_id").loc[store_of_kind, "name"] == "Rural retired"
    many = cluster_stores(features, 12)
    assert many.clusters["name"].is_unique
    assert cluster_stores(features, 1).clusters["name"].tolist() == ["All stores"]


def test_profile_index_is_against_the_chain():
    profile, mix, stores, _ = world()
    found = cluster_stores(store_features(profile, mix, stores), 3)
    sizes = found.clusters.set_index("store_cluster")["stores"]
    weighted = found.profile.assign(n=found.profile["store_cluster"].map(sizes)).dropna(subset=["index"])
    mean = weighted.groupby("feature")[["index", "n"]].apply(lambda g: np.average(g["index"], weights=g["n"]))
    np.testing.assert_allclose(mean, 100.0)


def test_unknown_values_are_imputed_and_said():
    profile, mix, stores, _ = world()
    stores.loc[0, "size_m2"] = np.nan
    lost = stores["store_id"].iloc[1]
    features = store_features(profile[profile["store_id"] != lost], mix, stores)
    assert set(features.imputed["store_id"]) == {stores["store_id"].iloc[0], lost}
    same_format = stores["format"] == stores["format"].iloc[0]
    assert features.imputed.loc[features.imputed["feature"] == "size:size_m2", "value"].iloc[
        0
    ] == pytest.approx(stores.loc[same_format, "size_m2"].median())
    assert features.coordinates.notna().all().all()
    assert len(features.table) == len(stores)
    assert any("typical value" in line for line in features.summary())


def test_blocks_that_cannot_tell_stores_apart_are_dropped_and_said():
    _, mix, stores, _ = world()
    features = store_features(None, mix, stores.assign(format="super", size_m2=np.nan))
    assert set(features.dropped["block"]) == {"size", "format"}
    with pytest.raises(NotSupportedError, match="tells the stores apart"):
        store_features(None, None, stores.assign(format="super", size_m2=100.0))


def test_one_store_clusters_are_flagged_or_merged():
    stores = pd.DataFrame({"store_id": list("abcde"), "size_m2": [100, 101, 1000, 1001, 90000]})
    features = store_features(None, None, stores)
    found = cluster_stores(features, 3)
    assert found.table.set_index("store_id").loc["e", "flagged"]
    assert any("One store only: C3" in line for line in found.summary())
    merged = cluster_stores(features, 3, merge_single=True)
    assert len(merged.clusters) == 2 and not merged.table["flagged"].any()
    row = merged.table.set_index("store_id").loc["e"]
    assert row["store_cluster"] == merged.labels["c"] and "nearest larger" in row["reason"]


def test_evidence_finds_the_planted_number_and_says_so():
    profile, mix, stores, _ = world(n=60)
    features = store_features(profile, mix, stores)
    weights = {"size": 0, "format": 0}
    evidence = cluster_range(features, 7, weights=weights, n_bootstrap=10)
    assert evidence.chosen == 4
    table = evidence.table.set_index("n_clusters")
    assert table["bootstrap_ari"].drop(1).idxmax() == 4 and np.isnan(table.loc[1, "silhouette"])
    auto = cluster_stores(features, "auto", weights, max_clusters=7)
    assert len(auto.clusters) == 4 and auto.evidence is not None


def test_no_structure_is_called_a_continuum():
    rng = np.random.default_rng(0)
    ids = [f"{i:03d}" for i in range(80)]
    mix = pd.DataFrame(rng.dirichlet(np.full(8, 30.0), 80), index=ids).rename_axis("store_id").reset_index()
    features = store_features(
        None, mix.melt("store_id", var_name="category", value_name="share"), pd.DataFrame({"store_id": ids})
    )
    evidence = cluster_range(features, numbers=range(3, 8), n_bootstrap=8, n_init=5)
    assert "continuum" in evidence.reason


def test_ward_clusters_are_nested():
    profile, mix, stores, _ = world(concentration=8)
    found = cluster_range(store_features(profile, mix, stores), 8, method="ward", n_bootstrap=0)
    for g in range(1, 8):
        assert (pd.crosstab(found.labels[g + 1], found.labels[g]) > 0).sum(axis=1).eq(1).all()


def test_every_store_its_own_cluster():
    profile, mix, stores, _ = world(n=12)
    found = cluster_range(store_features(profile, mix, stores), numbers=[1, 12, 99], n_bootstrap=2)
    assert sorted(found.labels) == [1, 12] and found.labels[12].is_unique


def test_category_mix_shares_sum_to_one():
    sales = pd.DataFrame({"store_id": ["1", "1", "2"], "sku": ["a", "b", "a"], "revenue": [3.0, 1.0, 0.0]})
    products = pd.DataFrame({"sku": ["a", "b"], "category": ["x", "y"]})
    mix = category_mix(sales, products)
    assert mix["store_id"].tolist() == ["1", "1"] and mix["share"].tolist() == [0.75, 0.25]
    with pytest.raises(TableError, match="1 SKUs are not in products"):
        category_mix(sales.assign(sku=["a", "b", "z"]), products)


def test_bad_input_names_the_cure():
    profile, mix, stores, _ = world(n=12)
    with pytest.raises(TableError, match="store_id repeats"):
        store_features(profile, mix, pd.concat([stores, stores]))
    with pytest.raises(TableError, match="not in stores"):
        store_features(profile, mix, stores[1:])
    with pytest.raises(TableError, match="'neighbourhood' is missing"):
        store_features(profile.drop(columns="neighbourhood"), mix, stores)
    features = store_features(profile, mix, stores)
    with pytest.raises(SettingsError, match="unknown block 'mixx'"):
        cluster_stores(features, 2, {"mixx": 1})
    with pytest.raises(SettingsError, match="between 1 and"):
        cluster_stores(features, 13)
    with pytest.raises(TableError, match="have no cluster"):
        describe_clusters(features, pd.Series("north", index=features.coordinates.index[:5]))


def test_a_planners_own_clusters_get_names_and_a_profile():
    profile, mix, stores, kind = world(n=12)
    features = store_features(profile, mix, stores)
    own = kind.map({0: "North", 1: "South", 2: "East", 3: "West"})
    found = describe_clusters(features, own)
    assert set(found.labels) == {"North", "South", "East", "West"} and found.clusters["name"].is_unique


def test_overrides_need_a_reason_and_keep_the_rest():
    profile, mix, stores, _ = world(n=20)
    features = store_features(profile, mix, stores)
    found = cluster_stores(features, 4)
    store = found.labels.index[found.labels == "C1"][0]
    moves = pd.DataFrame({"store_id": [store], "store_cluster": ["C3"], "reason": ["serves the airport"]})
    changed = override_clusters(found, features, moves)
    assert changed.labels[store] == "C3"
    pd.testing.assert_series_equal(changed.labels.drop(store), found.labels.drop(store))
    assert changed.table.set_index("store_id").loc[store, "reason"] == "planner: serves the airport"
    own = override_clusters(found, features, moves.assign(store_cluster="Airport"))
    assert own.labels[store] == "Airport" and own.table.set_index("store_id").loc[store, "flagged"]
    with pytest.raises(TableError, match="store_cluster and reason are needed"):
        override_clusters(found, features, moves.assign(reason=" "))
    with pytest.raises(TableError, match="appears twice"):
        override_clusters(found, features, pd.concat([moves, moves]))
    with pytest.raises(TableError, match="not clustered"):
        override_clusters(found, features, moves.assign(store_id="nowhere"))


def test_a_frozen_clustering_comes_back_as_it_was_and_takes_new_stores():
    profile, mix, stores, _ = world(n=20)
    found = cluster_stores(store_features(profile, mix, stores), 4)
    text = freeze_clusters(found)
    again = thaw_clusters(text, store_features(profile, mix, stores))
    pd.testing.assert_frame_equal(again.table, found.table)
    assert freeze_clusters(again) == text
    more_profile, more_mix, more_stores, _ = world(n=24)
    features = store_features(more_profile, more_mix, more_stores)
    whole = cluster_stores(features, 4, {"size": 0, "format": 0})
    gone = whole.labels.index[0]
    kept = whole.labels.index[4:]
    part = describe_clusters(
        store_features(
            *(frame[frame["store_id"].isin(kept)] for frame in (more_profile, more_mix, more_stores))
        ),
        whole.labels[kept],
    )
    thawed = thaw_clusters(freeze_clusters(part), features)
    assert thawed.labels[gone] == whole.labels[gone]
    assert "opened since" in thawed.table.set_index("store_id").loc[gone, "reason"]


def test_a_frozen_clustering_changed_by_hand_is_refused():
    profile, mix, stores, _ = world(n=20)
    features = store_features(profile, mix, stores)
    text = freeze_clusters(cluster_stores(features, 2))
    with pytest.raises(TableError, match="doesn't fit the stores listed"):
        thaw_clusters(text.replace('"store_cluster": "C1"', '"store_cluster": "C2"', 1), features)
    with pytest.raises(TableError, match="not a frozen clustering"):
        thaw_clusters("[]", features)


def test_who_moved_is_told_whatever_the_codes():
    before = pd.Series(["C1"] * 4 + ["C2"] * 3, index=list("abcdefg"))
    after = pd.Series(["C2"] * 4 + ["C1"] * 3 + ["C3"], index=[*"abce", *"dfg", "h"])
    moves = compare_clusters(before, after)
    change = moves.table.set_index("store_id")["change"]
    assert change.to_dict() == {**dict.fromkeys("abcfg", "stayed"), "d": "moved", "e": "moved", "h": "opened"}
    assert "2 of 7 stores moved" in moves.summary()[0]
    assert compare_clusters(before, before).agreement == 1.0
    assert compare_clusters(before, before.drop("a")).table["change"].tolist()[0] == "closed"
    with pytest.raises(TableError, match="no store in common"):
        compare_clusters(before, pd.Series(["C1"], index=["z"]))
