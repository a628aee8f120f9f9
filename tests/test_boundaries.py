"""Boundary files: the catalogue, reading official ones, writing the simulated city's."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
import shapely
from pyproj import CRS

from geomarket.datasets.boundaries import boundary_sources, census_sources, load_boundaries, write_boundaries
from geomarket.errors import CoverageWarning, MissingDataError, SettingsError, TableError

COMMITTED = Path(__file__).parents[1] / "boundaries"
MOST_BYTES = 600_000


pytestmark = pytest.mark.filterwarnings("ignore:'crs' was not provided")


def tracts(**columns: object) -> gpd.GeoDataFrame:
    boxes = [shapely.box(-93.7, 41.6, -93.6, 41.7), shapely.box(-93.6, 41.6, -93.5, 41.7)]
    data = {"GEOID": ["19153000101", "19153000102"], "NAMELSAD": ["Census Tract 1.01", "Census Tract 1.02"]}
    return gpd.GeoDataFrame({**data, "ALAND": [1, 2], **columns}, geometry=boxes, crs="EPSG:4269")


# ------------------------------------------------------------------ the simulated city's files
def test_committed_files_are_what_the_code_makes(tmp_path: Path) -> None:
    written = write_boundaries(tmp_path)
    assert [path.name for path in written] == ["simulated_districts.geojson", "simulated_areas.geojson"]
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(path.name for path in written)
    for path in written:
        assert path.read_bytes() == (COMMITTED / path.name).read_bytes()
        assert path.stat().st_size < MOST_BYTES


def test_simulated_files_tile_the_city() -> None:
    areas = gpd.read_file(COMMITTED / "simulated_areas.geojson").to_crs("EPSG:3035")
    districts = gpd.read_file(COMMITTED / "simulated_districts.geojson").to_crs("EPSG:3035")
    assert areas.is_valid.all() and districts.is_valid.all()
    assert areas["area_id"].is_unique and set(areas["district_id"]) == set(districts["district_id"])
    whole = areas.union_all().area
    assert areas.area.sum() == pytest.approx(whole, rel=1e-9)
    assert districts.area.sum() == pytest.approx(whole, rel=1e-9)
    by_district = areas.dissolve("district_id").area
    np.testing.assert_allclose(districts.set_index("district_id").area, by_district, rtol=1e-9)
    assert (
        "simulated" in json.loads((COMMITTED / "simulated_areas.geojson").read_text(encoding="utf-8"))["name"]
    )


# ------------------------------------------------------------------ the catalogue
def test_catalogue_is_complete_and_usable() -> None:
    sources = boundary_sources()
    assert sources.index.is_unique
    assert {"US", "CA", "AU", "EU", "NZ"} <= set(sources["country"])
    assert {"GB-EAW", "GB-SCT", "GB-NIR"} <= set(sources["country"])
    for column in ("publisher", "holds", "id", "licence", "page", "site", "note"):
        assert sources[column].str.len().gt(0).all(), column
    for entry in sources.itertuples():
        assert all(CRS.from_user_input(crs).to_epsg() for crs in entry.crs)
        west, south, east, north = entry.extent
        assert west < east and south < north
        assert str(entry.vintage) in entry.Index
        for crs in entry.crs:
            use = CRS.from_user_input(crs).area_of_use
            assert use is not None
            across = use.west > use.east  # over the antimeridian
            home = shapely.box(
                -180 if across else use.west, use.south, 180 if across else use.east, use.north
            )
            extent = shapely.box(*entry.extent)
            assert home.intersection(extent).area > 0.2 * min(home.area, extent.area), (entry.Index, crs)


def test_census_tables_join_to_known_boundaries() -> None:
    known = set(boundary_sources().index)
    for joins in census_sources()["joins"]:
        assert joins and set(joins) <= known


# ------------------------------------------------------------------ reading
@pytest.mark.parametrize(
    "name", ["tracts.gpkg", "tracts.shp", "tracts.geojson", "tracts.parquet", "tracts.zip"]
)
def test_every_format_reads_alike(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    frame = tracts()
    if path.suffix == ".parquet":
        frame.to_parquet(path)
    elif path.suffix == ".zip":
        frame.to_file(tmp_path / "inner.shp")
        with zipfile.ZipFile(path, "w") as archive:
            for part in tmp_path.glob("inner.*"):
                archive.write(part, part.name)
    else:
        (frame.to_crs("EPSG:4326") if path.suffix == ".geojson" else frame).to_file(path)
    areas = load_boundaries(path, "us-tract-2020")
    assert areas.columns.tolist() == ["area_id", "name", "ALAND", "geometry"]
    assert areas["area_id"].tolist() == ["19153000101", "19153000102"]
    assert areas["name"].tolist() == ["Census Tract 1.01", "Census Tract 1.02"]
    assert areas.crs.is_geographic
    np.testing.assert_allclose(areas.total_bounds, frame.total_bounds, atol=1e-4)


def test_code_read_as_a_number_gets_its_zeros_back(tmp_path: Path) -> None:
    path = tmp_path / "counties.gpkg"
    tracts(GEOID=[1001, 19153]).to_file(path)
    assert load_boundaries(path, "us-county-2020")["area_id"].tolist() == ["01001", "19153"]


def test_column_case_and_shapefile_cut_are_forgiven(tmp_path: Path) -> None:
    lower = tmp_path / "lsoa.gpkg"
    square = [shapely.box(530_000, 180_000, 531_000, 181_000)]
    gpd.GeoDataFrame(
        {"lsoa21cd": ["E01000001"], "lsoa21nm": ["City 001A"]}, geometry=square, crs="EPSG:27700"
    ).to_file(lower)
    assert load_boundaries(lower, "uk-lsoa-2021")[["area_id", "name"]].values.tolist() == [
        ["E01000001", "City 001A"]
    ]
    cut = tmp_path / "sa1.gpkg"
    square = [shapely.box(1_750_000, 5_420_000, 1_751_000, 5_421_000)]
    gpd.GeoDataFrame({"SA12023_V1": ["7000001"]}, geometry=square, crs="EPSG:2193").to_file(cut)
    areas = load_boundaries(cut, "nz-sa1-2023")
    assert areas[["area_id", "name"]].values.tolist() == [["7000001", "7000001"]]


def test_file_without_crs_takes_the_only_one_its_publisher_ships(tmp_path: Path) -> None:
    path = tmp_path / "tracts.gpkg"
    tracts().set_crs(None, allow_override=True).to_file(path)
    assert load_boundaries(path, "us-tract-2020").crs == "EPSG:4269"


def test_file_without_crs_where_several_are_shipped_must_be_told(tmp_path: Path) -> None:
    path = tmp_path / "oa.gpkg"
    square = [shapely.box(530_000, 180_000, 531_000, 181_000)]
    gpd.GeoDataFrame({"OA21CD": ["E00000001"]}, geometry=square).to_file(path)
    with pytest.raises(TableError, match=r"EPSG:27700 and EPSG:4326.*crs="):
        load_boundaries(path, "uk-oa-2021")
    assert load_boundaries(path, "uk-oa-2021", crs="EPSG:27700").crs == "EPSG:27700"
    with pytest.raises(TableError, match="outside GB-EAW"):
        load_boundaries(path, "uk-oa-2021", crs="EPSG:3035")
    with pytest.raises(SettingsError, match="not a coordinate system"):
        load_boundaries(path, "uk-oa-2021", crs="EPSG:none")


def test_swapped_axes_are_caught(tmp_path: Path) -> None:
    path = tmp_path / "oa.gpkg"
    square = [shapely.box(51.5, -0.2, 51.6, -0.1)]
    gpd.GeoDataFrame({"OA21CD": ["E00000001"]}, geometry=square, crs="EPSG:4326").to_file(path)
    with pytest.raises(TableError, match="swapped"):
        load_boundaries(path, "uk-oa-2021")


def test_unknown_source_suggests_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="did you mean 'us-tract-2020'"):
        load_boundaries(tmp_path / "x.gpkg", "us-tracts-2020")


def test_missing_file_says_where_to_get_it(tmp_path: Path) -> None:
    with pytest.raises(MissingDataError, match="Census Bureau: TIGER/Line"):
        load_boundaries(tmp_path / "none.gpkg", "us-tract-2020")


@pytest.mark.parametrize("column", ["GEOID", "NAMELSAD"])
def test_missing_column_names_the_cure(tmp_path: Path, column: str) -> None:
    path = tmp_path / "tracts.gpkg"
    tracts().rename(columns={column: f"{column}_X"}).to_file(path)
    argument = "id_column" if column == "GEOID" else "name_column"
    with pytest.raises(TableError, match=rf"no column '{column}'.*did you mean '{column}_X'.*{argument}="):
        load_boundaries(path, "us-tract-2020")
    areas = load_boundaries(path, "us-tract-2020", **{argument: f"{column}_X"})
    assert areas["area_id"].iloc[0] == "19153000101" and areas["name"].iloc[0] == "Census Tract 1.01"


@pytest.mark.parametrize(
    ("ids", "words"),
    [(["19153000101"] * 2, "more than once.*19153000101"), (["19153000101", None], "empty in 1 of 2 rows")],
)
def test_bad_ids_are_refused(tmp_path: Path, ids: list[str | None], words: str) -> None:
    path = tmp_path / "tracts.gpkg"
    tracts(GEOID=ids).to_file(path)
    with pytest.raises(TableError, match=words):
        load_boundaries(path, "us-tract-2020")


def test_file_that_is_no_boundary_file(tmp_path: Path) -> None:
    text = tmp_path / "notes.gpkg"
    text.write_text("not a GeoPackage")
    with pytest.raises(TableError, match=r"notes\.gpkg can't be read"):
        load_boundaries(text, "us-tract-2020")
    empty = tmp_path / "empty.gpkg"
    tracts().iloc[:0].to_file(empty)
    with pytest.raises(TableError, match="no rows"):
        load_boundaries(empty, "us-tract-2020")


def test_area_without_polygon_is_kept_and_told(tmp_path: Path) -> None:
    path = tmp_path / "tracts.gpkg"
    frame = tracts()
    frame.loc[1, "geometry"] = None
    frame.to_file(path)
    with pytest.warns(CoverageWarning, match="1 of 2 areas have no polygon \\(19153000102"):
        areas = load_boundaries(path, "us-tract-2020")
    assert len(areas) == 2
