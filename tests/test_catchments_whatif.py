"""What-ifs: what one side gains another loses."""

import numpy as np
import pandas as pd
import pytest

from geomarket.catchments import map_catchments, rank_sites, what_if
from geomarket.errors import SettingsError, TableError
from geomarket.hexes.cells import cell_centres, points_to_cells


@pytest.fixture(scope="module")
def world():
    rng = np.random.default_rng(0)
    cells = np.unique(points_to_cells(rng.uniform(5, 5.3, 3000), rng.uniform(52, 52.2, 3000), 7))
    lon, lat = cell_centres(cells)
    table = pd.DataFrame({"cell": cells, "lon": lon, "lat": lat, "population": rng.gamma(2, 500, len(cells))})

    def shops(n, prefix):
        return pd.DataFrame(
            {
                "store_id": [f"{prefix}{i}" for i in range(n)],
                "lon": rng.uniform(5, 5.3, n),
                "lat": rng.uniform(52, 52.2, n),
                "size_m2": np.exp(rng.normal(7, 0.5, n)),
            }
        )

    return table, shops(6, "S"), shops(9, "R")


PARAMETERS = {"attraction": ("log_size",), "parameters": {"log_size": 0.8, "log_km": -1.6}}
SITE = {"store_id": ["NEW"], "lon": [5.15], "lat": [52.1], "size_m2": [1500.0]}


def check_balance(result):
    scale = result.table["before"].sum()
    assert abs(result.balance["change"].sum()) < 1e-9 * scale
    assert result.table["change"].sum() + result.cells["unserved_change"].sum() == pytest.approx(
        0, abs=1e-9 * scale
    )


@pytest.mark.parametrize("outside_share", [0.0, 0.2])
@pytest.mark.parametrize("k_nearest", [5, 30])
def test_opening_a_store_takes_what_others_lose(world, outside_share, k_nearest):
    cells, own, rivals = world
    state = map_catchments(cells, own, rivals, k_nearest=k_nearest, outside_share=outside_share, **PARAMETERS)
    result = what_if(state, open_stores=pd.DataFrame(SITE))
    check_balance(result)
    flow = result.balance.set_index("flow")["change"]
    volume = flow["opened and changed stores"]
    assert volume > 0
    assert -flow["other own stores"] - flow["competitors"] - flow["no store"] == pytest.approx(
        volume, rel=1e-9
    )
    assert (flow["no store"] < -1e-9 * volume) == (outside_share > 0)
    assert result.net_own == pytest.approx(volume + flow["other own stores"])
    assert (result.cells["own_share_after"] >= result.cells["own_share_before"] - 1e-12).all()
    assert len(result.summary()) == 3


def test_closing_gives_a_stores_demand_to_the_others(world):
    cells, own, rivals = world
    state = map_catchments(cells, own, rivals, **PARAMETERS)
    result = what_if(state, close=["S0", "R3"])
    check_balance(result)
    rows = result.table.set_index("store_id")
    assert rows.loc[["S0", "R3"], "after"].eq(0).all()
    assert rows.loc[["S0", "R3"], "role"].eq("closed").all()
    assert (rows.drop(index=["S0", "R3"])["change"] > 0).all()


def test_opening_then_closing_the_same_store_changes_nothing(world):
    cells, own, rivals = world
    state = map_catchments(cells, own, rivals, **PARAMETERS)
    opened = map_catchments(cells, pd.concat([own, pd.DataFrame(SITE)]), rivals, **PARAMETERS)
    back = what_if(opened, close=["NEW"]).table.set_index("store_id")["after"].drop("NEW")
    today = state.table.groupby("store_id")["demand"].sum()
    assert np.allclose(back, today.reindex(back.index))


def test_resizing_moves_demand_towards_the_larger_store(world):
    cells, own, rivals = world
    state = map_catchments(cells, own, rivals, **PARAMETERS)
    size = own.set_index("store_id").loc["S1", "size_m2"]
    result = what_if(state, change=pd.DataFrame({"store_id": ["S1"], "size_m2": [2 * size]}))
    check_balance(result)
    rows = result.table.set_index("store_id")
    assert rows.loc["S1", "change"] > 0
    assert (rows.drop(index="S1")["change"] < 0).all()
    same = what_if(state, change=pd.DataFrame({"store_id": ["S1"], "size_m2": [size]}))
    assert np.allclose(same.table["change"], 0, atol=1e-9)


def test_the_last_store_of_a_cell_leaves_its_demand_unserved(world):
    cells, own, rivals = world
    state = map_catchments(cells, own, rivals, k_nearest=1, **PARAMETERS)
    result = what_if(state, close=["S0"])
    check_balance(result)
    unserved = result.balance.set_index("flow")["change"]["no store"]
    assert unserved == pytest.approx(state.table.query("store_id == 'S0'")["demand"].sum())
    assert any("without a store in reach" in note for note in result.notes)


@pytest.mark.parametrize("outside_share", [0.0, 0.3])
def test_ranking_sites_agrees_with_opening_them_one_by_one(world, outside_share):
    cells, own, rivals = world
    state = map_catchments(cells, own, rivals, k_nearest=6, outside_share=outside_share, **PARAMETERS)
    rng = np.random.default_rng(1)
    sites = pd.DataFrame(
        {
            "store_id": [f"N{i}" for i in range(5)],
            "lon": rng.uniform(5, 5.3, 5),
            "lat": rng.uniform(52, 52.2, 5),
            "size_m2": 1000.0,
        }
    )
    ranked = rank_sites(state, sites).set_index("store_id")
    assert ranked["net_own"].is_monotonic_decreasing
    for i in range(5):
        one = what_if(state, open_stores=sites.iloc[[i]])
        flow = one.balance.set_index("flow")["change"]
        row = ranked.loc[f"N{i}"]
        assert row["volume"] == pytest.approx(flow["opened and changed stores"])
        assert row["from_own"] == pytest.approx(-flow["other own stores"])
        assert row["from_competitors"] == pytest.approx(-flow["competitors"])
        assert row["from_no_store"] == pytest.approx(-flow["no store"], abs=1e-9 * row["volume"])
        assert row["net_own"] == pytest.approx(one.net_own)


def test_a_new_store_needs_what_the_model_knows_of_stores(world):
    cells, own, rivals = world
    given = {"attraction": ("log_size", "own"), "parameters": {"log_size": 0.8, "own": 0.5, "log_km": -1.6}}
    state = map_catchments(cells, own, rivals, **given)
    site = pd.DataFrame(SITE)
    opened = what_if(state, open_stores=site).table.set_index("store_id").loc["NEW"]
    assert opened["own"]
    assert rank_sites(state, site)["volume"].iloc[0] == pytest.approx(opened["after"])
    rival = what_if(state, open_stores=site.assign(own=False))
    assert rival.table.set_index("store_id").loc["NEW", "after"] < opened["after"]
    assert rival.net_own < 0
    for act in (lambda s: what_if(state, open_stores=s), lambda s: rank_sites(state, s)):
        with pytest.raises(TableError, match=r"column\(s\) size_m2 missing"):
            act(site.drop(columns="size_m2"))
        with pytest.raises(TableError, match="1 of 1 rows have no size_m2"):
            act(site.assign(size_m2=np.nan))


def test_on_travel_times_a_new_store_is_as_slow_as_its_surroundings(world):
    cells, own, rivals = world
    ids = pd.concat([own, rivals])["store_id"]
    travel = pd.MultiIndex.from_product([cells["cell"], ids], names=["cell", "store_id"]).to_frame(
        index=False
    )
    base = map_catchments(cells, own, rivals, **PARAMETERS).table
    travel = travel.merge(base, on=["cell", "store_id"]).assign(minutes=lambda t: 3 * t["km"])
    given = {"attraction": ("log_size",), "parameters": {"log_size": 0.8, "log_minutes": -1.6}}
    state = map_catchments(cells, own, rivals, travel=travel, **given)
    by_time = what_if(state, open_stores=pd.DataFrame(SITE)).table
    by_km = what_if(map_catchments(cells, own, rivals, **PARAMETERS), open_stores=pd.DataFrame(SITE)).table
    assert np.allclose(by_time["after"], by_km["after"])
    far = travel.drop_duplicates("cell").assign(store_id="NEW", minutes=1e6)
    slow = what_if(state, open_stores=pd.DataFrame(SITE), travel=far).table.set_index("store_id")
    assert slow.loc["NEW", "after"] < 1e-3 * slow["after"].mean()
    assert rank_sites(state, pd.DataFrame(SITE))["volume"].iloc[0] == pytest.approx(
        by_time.set_index("store_id").loc["NEW", "after"]
    )


def test_bad_changes_are_named(world):
    cells, own, rivals = world
    state = map_catchments(cells, own, rivals, **PARAMETERS)
    with pytest.raises(SettingsError, match="at least one store"):
        what_if(state)
    with pytest.raises(TableError, match=r"close: 1 of 1 store_id are not among the stores .* \(X\)"):
        what_if(state, close=["X"])
    with pytest.raises(TableError, match=r"1 store_id are taken already \(S0\)"):
        what_if(state, open_stores=pd.DataFrame(SITE).assign(store_id="S0"))
    with pytest.raises(TableError, match="stores have no column sise"):
        what_if(state, change=pd.DataFrame({"store_id": ["S0"], "sise": [1.0]}))
    with pytest.raises(TableError, match=r"column\(s\) lat missing"):
        what_if(state, open_stores=pd.DataFrame(SITE).drop(columns="lat"))


def test_the_figure_shows_the_balance(world):
    import matplotlib

    matplotlib.use("Agg")
    cells, own, rivals = world
    state = map_catchments(cells, own, rivals, **PARAMETERS)
    assert len(what_if(state, close=["S0"]).plot().patches) == 5
