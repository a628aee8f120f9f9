"""Iowa's spirits trade: every dirty row found and counted as the data's own README lists it."""

import numpy as np
import pytest

import geomarket.datasets.iowa as iowa
from geomarket.errors import MissingDataError, SettingsError

pytestmark = pytest.mark.real


@pytest.fixture(scope="module")
def market(data_home):
    return iowa.load_iowa(data_home)


def found(market, check):
    return int(market.quality.loc[market.quality["check"] == check, "rows"].sum())


@pytest.mark.parametrize(
    ("check", "rows"),
    [
        ("without coordinates", 125 + 1),  # and one ZIP point
        ("far from its city", 11),
        ("same point as another", 393),
        ("never ordered", 63),
        ("closed id", 589),
        ("bottle of 0 ml", 5),
        ("category mixes families", 673),
        ("invalid polygon", 12),
    ],
)
def test_dirty_rows_are_counted(market, check, rows):
    assert found(market, check) == rows


def test_cities_spelt_two_ways_are_found(market):
    assert found(market, "city spelt two ways") > 0
    assert not market.stores["city"].isin(["Clearlake", "Mt Pleasant", "St Ansgar"]).any()


def test_populations_are_the_published_ones(market):
    tracts2020, tracts2000 = market.areas[0], market.areas[1]
    assert tracts2020.frame["pop_2020"].sum() == 3_190_369
    assert tracts2000.frame["pop2000"].sum() == 2_926_324


def test_zip_areas_cover_the_state_once(market):
    zips = market.areas[3].frame.to_crs(26915)
    counties = market.areas[2].frame.to_crs(26915)
    assert zips.area.sum() == pytest.approx(counties.union_all().area, rel=1e-6)


def test_sales_are_the_chains_orders_in_the_raw_files(market, data_home):
    import pandas as pd

    raw = pd.concat(
        pd.read_parquet(f"{data_home}/iowa/sales_store_item_month_{year}.parquet") for year in (2020, 2021)
    )
    raw = raw[raw["store_id"].astype(str).isin(market.stores["store_id"])]
    lost = market.quality.loc[market.quality["check"] == "item not in the product list", "rows"].sum()
    sales = market.sales.to_pandas()
    kept = raw[raw["item_id"].astype(str).isin(set(market.products["sku"]))]
    assert len(raw) - len(kept) == lost
    assert sales["units"].sum() == kept["bottles"].sum()
    assert float(sales["revenue"].sum()) == pytest.approx(
        float(kept["dollars"].astype(float).sum()), rel=1e-6
    )
    assert not sales.duplicated(["store_id", "sku", "period"]).any()


def test_protected_traits_are_marked_and_never_classify(market):
    protected = [v for layer in market.areas for v in layer.variables if v.protected]
    assert {"white_alone", "black_alone", "asian_alone"} <= {v.name for v in protected}
    assert not any(v.classify for v in protected)


def test_competitors_have_places_and_totals(market):
    assert len(market.competitors) > 1_500
    assert np.isfinite(market.competitors[["lon", "lat", "sales_total"]].to_numpy(float)).all()
    assert "HY-VEE" not in set(market.competitors["chain"])


def test_unknown_chain_names_the_large_ones(data_home):
    with pytest.raises(SettingsError, match="CASEYS"):
        iowa.load_iowa(data_home, chain="Hyvee")


def test_missing_folder_says_where_the_data_come_from(tmp_path):
    with pytest.raises(MissingDataError, match=r"State of Iowa open data.*GEOMARKET_DATA"):
        iowa.load_iowa(tmp_path)
