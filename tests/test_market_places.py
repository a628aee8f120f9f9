"""Points and polygons that are where, or as, they can't be."""

from __future__ import annotations

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
from market_files import areas, aside, changed, load, refused, rows_of, tables, write_market
from shapely.geometry import LineString, Point, Polygon, box

from geomarket.market import read_settings, stop_reasons

# Places


def test_swapped_coordinates_of_a_whole_table(tmp_path):
    stores = tables()["stores"].rename(columns={"lon": "lat", "lat": "lon"})
    found = refused(write_market(tmp_path, {"stores": stores}))
    assert "stores: lon and lat are swapped: 4 of 4 rows" in found
    assert '[tables.stores.columns] lon = "lat" and lat = "lon"' in found
    plan = write_market(
        tmp_path, {"stores": stores}, sections={"stores": {"columns": {"lon": "lat", "lat": "lon"}}}
    )
    assert load(plan).stores["lon"].tolist() == [10.05, 10.15, 10.05, 10.15]


def test_swapped_coordinates_of_one_row(tmp_path):
    market = load(write_market(tmp_path, {"stores": changed("stores", 2, lon=50.05, lat=10.05)}))
    assert aside(market, "stores") == [(3, "lon", "50.05, 10.05", "lon and lat look swapped")]


def test_a_point_outside_the_areas(tmp_path):
    market = load(write_market(tmp_path, {"stores": changed("stores", 2, lon=12.0)}))
    assert aside(market, "stores") == [(3, "lon", "12.0, 50.05", "more than 25 km outside the areas")]
    far = load(
        write_market(
            tmp_path, {"stores": changed("stores", 2, lon=12.0)}, extra="[quality]\nmax_outside_km = 500\n"
        )
    )
    assert len(far.stores) == 4


def test_a_whole_table_outside_the_areas(tmp_path):
    found = refused(
        write_market(tmp_path, {"stores": tables()["stores"].assign(lon=lambda f: f["lon"] + 20)})
    )
    assert "stores: 4 of 4 rows lie outside the areas" in found and "crs" in found


def test_competitors_elsewhere_are_left_out_with_their_totals(tmp_path):
    rivals = tables()["stores"].assign(store_id=["K1", "K2", "K3", "K4"])
    rivals.loc[3, "lon"] = 30.0
    totals = pd.DataFrame({"store_id": ["007", "K1", "K4", "Z9"], "year": 2023, "revenue": 5})
    market = load(write_market(tmp_path, {"competitors": rivals, "store_totals": totals}))
    assert market.competitors["store_id"].tolist() == ["K1", "K2", "K3"]
    assert rows_of(market, "competitors", "left out")["rows"].tolist() == [1]
    assert market.store_totals["store_id"].tolist() == ["007", "K1"]
    assert aside(market, "store_totals") == [(4, "store_id", "Z9", "is not in stores or competitors")]


def test_missing_coordinates_and_null_island(tmp_path):
    stores = tables()["stores"].astype(object)
    stores.loc[0, "lat"] = ""
    stores.loc[1, ["lon", "lat"]] = 0
    market = load(write_market(tmp_path, {"stores": stores}))
    assert aside(market, "stores") == [(2, "lon", "0, 0", "0, 0 is no place"), (1, "lat", "", "missing")]


def test_metres_without_a_crs_name_the_cure(tmp_path):
    stores = tables()["stores"]
    grid = gpd.GeoSeries(gpd.points_from_xy(stores["lon"], stores["lat"]), crs="EPSG:4326").to_crs(
        "EPSG:25832"
    )
    metres = stores.assign(lon=grid.x, lat=grid.y)
    found = refused(write_market(tmp_path, {"stores": metres}))
    assert "stores: lon: 4 of 4 values are not a longitude" in found and "set crs" in found
    market = load(write_market(tmp_path, {"stores": metres}, sections={"stores": {"crs": "EPSG:25832"}}))
    assert np.allclose(market.stores["lon"], stores["lon"], atol=1e-8)
    far = metres.assign(lon=1e30)
    wrong = write_market(tmp_path, {"stores": far}, sections={"stores": {"crs": "EPSG:25832"}})
    assert "EPSG:25832" in refused(wrong)


# Polygons


def test_invalid_polygons_are_repaired_and_counted(tmp_path):
    layer = areas()
    bowtie = Polygon([(10.0, 50.0), (10.1, 50.1), (10.1, 50.0), (10.0, 50.1)])
    layer.loc[0, "geometry"] = bowtie
    market = load(write_market(tmp_path, layer=layer))
    found = rows_of(market, "areas:blocks", "repaired")
    assert found["rows"].tolist() == [1] and "(a)" in found["message"].iloc[0]
    mended = market.areas[0].frame.geometry[0]
    assert mended.is_valid and mended.area == pytest.approx(0.005, rel=1e-9)
    assert not bowtie.is_valid


def test_overlapping_polygons_are_measured_and_stop_past_a_share(tmp_path):
    layer = areas()
    layer.loc[1, "geometry"] = box(10.05, 50.0, 10.2, 50.1)
    plan = write_market(tmp_path, layer=layer)
    market = load(plan)
    reasons = stop_reasons(market, read_settings(plan))
    # Half an area of four and a half in all lies in two.
    assert len(reasons) == 1 and "areas:blocks: 11.1" in reasons[0] and "a and b" in reasons[0]
    lax = write_market(tmp_path, layer=layer, extra="[quality]\nmax_overlap_share = 0.2\n")
    assert stop_reasons(load(lax), read_settings(lax)) == []
    assert rows_of(load(lax), "areas:blocks", "kept")["check"].tolist() == ["overlap"]


def test_no_crs_names_the_cure(tmp_path):
    layer = areas()
    layer.to_file(tmp_path / "areas.shp")
    (tmp_path / "areas.prj").unlink()
    plan = write_market(tmp_path, areas_path="areas.shp")
    text = plan.read_text().replace("degree_percent", "degree_per")
    plan.write_text(text)
    found = refused(plan)
    assert "areas:blocks: areas.shp does not say which coordinate reference system" in found
    assert 'crs = "EPSG:' in found
    plan.write_text(text.replace('id = "area"', 'id = "area"\ncrs = "EPSG:4326"'))
    assert len(load(plan).areas[0].frame) == 4


def test_a_wrong_crs_is_found(tmp_path):
    layer = areas().to_crs("EPSG:25832").set_crs("EPSG:4326", allow_override=True)
    assert "coordinates make no sense as EPSG:4326" in refused(write_market(tmp_path, layer=layer))


def test_areas_without_an_id_a_shape_or_of_another_kind(tmp_path):
    layer = pd.concat([areas(), areas(), areas().head(2)], ignore_index=True)
    layer["area"] = [*"abcd", None, "a", "e", "f", "g", "h"]
    layer.loc[6, "geometry"] = None
    layer.loc[7, "geometry"] = LineString([(10, 50), (10.1, 50.1)])
    layer.loc[8, "geometry"] = Point(10.05, 50.05)
    layer.loc[9, "geometry"] = box(10.2, 50.0, 10.3, 50.1)
    market = load(write_market(tmp_path, layer=layer))
    assert sorted((row[0], row[3]) for row in aside(market, "areas:blocks")) == [
        (5, "missing"),
        (6, "is there already (the first row is used)"),
        (7, "no shape"),
        (8, "not a polygon"),
        (9, "not a polygon"),
    ]
    assert market.areas[0].frame["area_id"].tolist() == ["a", "b", "c", "d", "h"]


def test_figures_of_areas_that_are_wrong(tmp_path):
    layer = areas().astype({"people": object, "young": object})
    layer.loc[0, "people"] = "many"
    layer.loc[1, "young"] = -5
    layer.loc[2, "young"] = 999
    layer["people"] = layer["people"].astype(str)
    layer["young"] = layer["young"].astype(float)
    market = load(write_market(tmp_path, layer=layer))
    frame = market.areas[0].frame
    assert np.isnan(frame["people"][0]) and np.isnan(frame["young"][1]) and frame["people"][3] == 400
    assert set(rows_of(market, "areas:blocks", "set to missing")["check"]) == {
        "not a number",
        "a count below 0",
    }
    assert "young exceeds people in 1" in rows_of(market, "areas:blocks", "kept")["message"].iloc[0]


def test_a_missing_column_of_areas(tmp_path):
    found = refused(write_market(tmp_path, layer=areas().rename(columns={"people": "peoples"})))
    assert "areas:blocks: no column 'people'" in found and "did you mean 'peoples'" in found


def test_a_missing_layer_of_a_geopackage(tmp_path):
    plan = write_market(tmp_path)
    plan.write_text(plan.read_text().replace('id = "area"', 'id = "area"\nlayer = "area"'))
    assert "did you mean 'areas'" in refused(plan)
