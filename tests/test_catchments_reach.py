"""Reach, overlap, twins and voids."""

import numpy as np
import pandas as pd
import pytest

from geomarket.catchments import (
    distance_decay,
    find_voids,
    store_overlap,
    store_reach,
    stores_in_areas,
    trade_areas,
    twin_areas,
)
from geomarket.errors import SettingsError, TableError
from geomarket.hexes.cells import cell_centres, neighbours, points_to_cells


def make_demand(seed=0):
    rng = np.random.default_rng(seed)
    pairs = pd.MultiIndex.from_product([range(60), list("ABCD")], names=["cell", "store_id"]).to_frame(
        index=False
    )
    return pairs.assign(demand=rng.gamma(0.5, 10, len(pairs)), km=rng.uniform(0, 40, len(pairs)))


def test_the_decay_curve_holds_all_custom():
    demand = make_demand()
    market = pd.Series(100.0, index=range(60))
    curve = distance_decay(demand, market=market)
    assert curve["value"].sum() == pytest.approx(demand["demand"].sum())
    assert curve["cumulative"].iloc[-1] == pytest.approx(1)
    assert curve["pairs"].sum() == len(demand)
    assert curve["market"].sum() == pytest.approx(100.0 * len(demand))
    near = demand[demand["km"].between(2, 3)]
    row = curve.set_index("from").loc[2.0]
    assert row["value"] == pytest.approx(near["demand"].sum())
    assert row["penetration"] == pytest.approx(near["demand"].sum() / (100 * len(near)))
    assert np.isnan(curve.set_index("from").loc[50.0, "penetration"])
    with pytest.raises(SettingsError, match="ascending distances"):
        distance_decay(demand, edges=(3, 1))


def test_reach_is_the_smallest_distance_that_holds_the_share():
    demand = make_demand()
    reach = store_reach(demand).set_index(["store_id", "share"])["km"]
    for (store, share), km in reach.items():
        rows = demand[demand["store_id"] == store]
        held = rows.loc[rows["km"] <= km, "demand"].sum() / rows["demand"].sum()
        before = rows.loc[rows["km"] < km, "demand"].sum() / rows["demand"].sum()
        assert before < share <= held + 1e-12
    with pytest.raises(SettingsError, match="above 0"):
        store_reach(demand, shares=(0.0,))


def test_overlap_matches_its_definition():
    demand = make_demand()
    demand.loc[(demand["store_id"] == "D") & (demand["cell"] < 30), "demand"] = 0.0
    result = store_overlap(demand).set_index(["store_id", "other"])
    wide = demand.pivot(index="cell", columns="store_id", values="demand")
    share = wide / wide.sum()
    for a in "ABCD":
        for b in "ABCD":
            if a != b:
                expected = np.minimum(share[a], share[b]).sum()
                assert result.loc[(a, b), "overlap"] == pytest.approx(expected)
                assert result.loc[(a, b), "shared"] == pytest.approx(share.loc[wide[b] > 0, a].sum())
    same = pd.concat(
        [demand[demand["store_id"] == "A"], demand[demand["store_id"] == "A"].assign(store_id="Z")]
    )
    assert store_overlap(same)["overlap"].tolist() == pytest.approx([1.0, 1.0])
    apart = pd.DataFrame({"cell": [1, 2], "store_id": ["A", "B"], "demand": [1.0, 1.0]})
    assert store_overlap(apart).empty


def test_twins_are_the_nearest_in_mix_whatever_their_size():
    rng = np.random.default_rng(0)
    mix = rng.dirichlet(np.ones(5), 20)
    size = rng.uniform(1, 1000, 20)
    profile = pd.DataFrame(
        {
            "store_id": np.repeat([f"S{i:02d}" for i in range(20)], 5),
            "neighbourhood": np.tile(list("abcde"), 20),
            "share": (mix * size[:, None]).ravel(),
        }
    )
    twins = twin_areas(profile, n=3)
    assert twins.groupby("store_id").size().eq(3).all()
    assert (twins["store_id"] != twins["twin"]).all()
    distance = np.sqrt(((np.sqrt(mix[0]) - np.sqrt(mix)) ** 2).sum(axis=1) / 2)
    best = np.argsort(distance)[1:4]
    assert twins[twins["store_id"] == "S00"]["twin"].tolist() == [f"S{i:02d}" for i in best]
    assert twins["distance"].between(0, 1).all()
    with_empty = pd.concat(
        [profile, pd.DataFrame({"store_id": ["E"], "neighbourhood": ["a"], "share": [0.0]})]
    )
    assert "E" not in set(twin_areas(with_empty)["store_id"])
    with pytest.raises(TableError, match="negative share"):
        twin_areas(profile.assign(share=-1.0))


def test_a_planted_void_is_found_and_chance_is_told():
    rng = np.random.default_rng(1)
    areas = [f"S{i}" for i in range(8)]
    size = pd.Series(rng.uniform(5_000, 20_000, 8), index=areas)
    rows = [
        (a, item, rng.poisson(rate * size[a] / 10_000))
        for a in areas
        for item, rate in (("bakery", 6.0), ("bank", 4.0), ("organic", 5.0))
    ]
    presence = pd.DataFrame(rows, columns=["store_id", "item", "amount"])
    presence.loc[(presence["store_id"] == "S0") & (presence["item"] == "organic"), "amount"] = 0
    voids = find_voids(presence, "S0", areas[1:], size)
    table = voids.table.set_index("item")
    assert table["void"].to_dict() == {"organic": True, "bakery": False, "bank": False}
    assert voids.table["item"].iloc[0] == "organic"
    others = presence[(presence["store_id"] != "S0") & (presence["item"] == "organic")]["amount"].sum()
    assert table.loc["organic", "expected"] == pytest.approx(others / size[areas[1:]].sum() * size["S0"])
    assert table.loc["organic", "chance"] == pytest.approx(np.exp(-table.loc["organic", "expected"]))
    assert "organic" in voids.summary()[0]
    assert (
        "lacks nothing" in find_voids(presence[presence["item"] != "organic"], "S0", areas[1:]).summary()[0]
    )
    with pytest.raises(TableError, match="area 'X'"):
        find_voids(presence, "X", areas)
    with pytest.raises(TableError, match="not positive for S3"):
        find_voids(presence, "S0", areas[1:], size.drop("S3"))


def test_stores_are_counted_where_they_stand():
    centre = points_to_cells([5.1], [52.1], 8)[0]
    ring = neighbours([centre], 1)["neighbour"].to_numpy()
    area = trade_areas(
        pd.DataFrame({"cell": [centre, *ring], "store_id": "S0", "demand": [10.0] + [1.0] * len(ring)}),
        bands=(0.5, 1.0),
    )
    lon, lat = cell_centres(np.array([centre, ring[0], ring[1]]))
    stores = pd.DataFrame(
        {"store_id": ["S0", "R0", "R1"], "lon": lon, "lat": lat, "format": ["super", "super", "city"]}
    )
    wide = stores_in_areas(area, stores, band=1.0).set_index("item")["amount"]
    assert wide.to_dict() == {"city": 1, "super": 2}
    core = stores_in_areas(area, stores, band=0.5).set_index("item")["amount"]
    assert core.to_dict() == {"city": 0, "super": 1}
    with pytest.raises(TableError, match=r"column\(s\) kind missing"):
        stores_in_areas(area, stores, item="kind")
