"""Iowa's census geographies: three polygon layers and ZIP points, of four vintages."""

from __future__ import annotations

from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely

from geomarket.market.findings import REPAIRED, SET_ASIDE, Findings, numbered
from geomarket.market.model import AreaLayer, Variable

__all__ = ["iowa_areas", "iowa_boundaries"]

TOWN_LINES_FROM = 10_000


def _read_polygons(path: Path) -> gpd.GeoDataFrame:
    frame = pd.read_parquet(path)
    return gpd.GeoDataFrame(
        frame.drop(columns="geometry"),
        geometry=shapely.from_wkb(frame["geometry"].to_numpy()),
        crs="EPSG:4326",
    )


def iowa_areas(folder: Path, findings: Findings) -> tuple[AreaLayer, ...]:
    """Read tracts of 2020 and 2000, counties and ZIP points as layers, broken polygons mended and counted."""
    tracts = _read_polygons(folder / "iowa_tracts_2020.parquet").rename(columns={"GEOID": "area_id"})
    census2000 = _read_polygons(folder / "iowa_tracts_2000_sf1.parquet").rename(columns={"fips11": "area_id"})
    counties = _read_polygons(folder / "iowa_counties.parquet").rename(columns={"fips": "area_id"})
    for name, layer in (("tracts 2020", tracts), ("tracts 2000", census2000), ("counties", counties)):
        broken = ~layer.geometry.is_valid
        findings.note(
            f"areas: {name}",
            "geometry",
            "invalid polygon",
            int(broken.sum()),
            len(layer),
            REPAIRED,
            f"invalid polygons of {name}, made valid",
        )
        if broken.any():
            layer.loc[broken, "geometry"] = layer.loc[broken, "geometry"].make_valid()
    pieces = census2000["area_id"].duplicated(keep="first")
    findings.note(
        "areas: tracts 2000",
        "area_id",
        "tract in two pieces",
        int(pieces.sum()),
        len(census2000),
        REPAIRED,
        "tracts that come as two polygons of the same id (the published total of the layer is that of all rows): "
        "kept apart, the second under an id of its own",
    )
    census2000.loc[pieces, "area_id"] = census2000.loc[pieces, "area_id"] + "-2"
    zips = _zip_areas(folder, counties, findings)
    return (
        AreaLayer("Tracts 2020", _keyed(tracts), _TRACT_2020, "pop_2020", 2020, "Census 2020"),
        AreaLayer("Tracts 2000", _keyed(census2000), _TRACT_2000, "pop2000", 2000, "Census 2000, SF1"),
        AreaLayer("Counties", _keyed(counties), _COUNTY, "pop", 2019, "ACS 2015–19"),
        AreaLayer("ZIP areas", _keyed(zips), _ZIP, "total_population", 2012, "ACS about 2012"),
    )


def _keyed(frame: gpd.GeoDataFrame) -> gpd.GeoDataFrame:
    frame = frame.assign(area_id=frame["area_id"].astype(str)).reset_index(drop=True)
    numbers = frame.select_dtypes("number").columns
    return frame.assign(**{c: frame[c].astype(float) for c in numbers})


def _zip_areas(folder: Path, counties: gpd.GeoDataFrame, findings: Findings) -> gpd.GeoDataFrame:
    """ZIP centre points spread over the area nearest to each (Voronoi), clipped to the state."""
    zips = pd.read_parquet(folder / "iowa_zips_acs2012.parquet")
    nowhere = zips["longitude"].isna() | zips["latitude"].isna()
    findings.note(
        "areas: ZIP areas",
        "longitude",
        "without coordinates",
        int(nowhere.sum()),
        len(zips),
        SET_ASIDE,
        "ZIP points without coordinates",
    )
    findings.list_rows(
        "areas: ZIP areas",
        "longitude",
        "no coordinates",
        numbered(zips.index[nowhere], zips.loc[nowhere, "zip"]),
    )
    zips = zips[~nowhere]
    same = zips.duplicated(["longitude", "latitude"], keep="first")
    findings.note(
        "areas: ZIP areas",
        "longitude",
        "ZIP at another ZIP's point",
        int(same.sum()),
        len(zips),
        SET_ASIDE,
        "ZIP points at exactly another ZIP's point: the first is used",
    )
    findings.list_rows(
        "areas: ZIP areas",
        "longitude",
        "same point as another ZIP",
        numbered(zips.index[same], zips.loc[same, "zip"]),
    )
    zips = zips[~same].reset_index(drop=True)
    for column in ("per_capita_income", "median_rent", "median_age"):
        zero = zips[column] <= 0
        if zero.any():
            findings.note(
                "areas: ZIP areas",
                column,
                "zero stands for missing",
                int(zero.sum()),
                len(zips),
                REPAIRED,
                f"{column} of 0 read as missing",
            )
        zips.loc[zero, column] = np.nan
    state = shapely.union_all(counties.geometry.to_numpy())
    points = gpd.GeoSeries.from_xy(zips["longitude"], zips["latitude"], crs=4326).to_crs(26915)
    outline = gpd.GeoSeries([state], crs=4326).to_crs(26915).iloc[0]
    cells = np.asarray(
        shapely.voronoi_polygons(shapely.MultiPoint(points.to_numpy()), extend_to=outline).geoms
    )
    of_cell, of_point = shapely.STRtree(points.to_numpy()).query(cells, predicate="intersects")
    first = ~pd.Series(of_point).duplicated().to_numpy()
    polygons = np.full(len(zips), None, dtype=object)
    polygons[of_point[first]] = shapely.intersection(cells[of_cell[first]], outline)
    frame = gpd.GeoDataFrame(zips.rename(columns={"zip": "area_id"}), geometry=polygons, crs=26915)
    return frame[frame.geometry.notna() & ~frame.geometry.is_empty].to_crs(4326)


def iowa_boundaries(folder: Path) -> gpd.GeoDataFrame:
    """Read counties and larger towns as lines for the map."""
    counties = _read_polygons(folder / "iowa_counties.parquet")
    towns = _read_polygons(folder / "iowa_places_2020.parquet")
    towns = towns[towns["pop2020"] >= TOWN_LINES_FROM]
    lines = pd.concat(
        [
            counties.assign(name=counties["county"].astype(str) + " County", kind="county"),
            towns.assign(name=towns["name"].astype(str), kind="town"),
        ]
    )
    lines = lines[["name", "kind", "geometry"]].reset_index(drop=True)
    return gpd.GeoDataFrame(lines, geometry="geometry", crs="EPSG:4326")


def _rate(name: str, label: str, column: str, denominator: str, protected: bool = False) -> Variable:
    return Variable(name, label, "rate", column, denominator, not protected, protected, "share")


_RACES = {
    "white_alone": "white",
    "black_alone": "Black or African American",
    "native_alone": "American Indian",
    "asian_alone": "Asian",
    "two_or_more": "two or more races",
}

_TRACT_2020 = (
    Variable("population", "people in 2020", "count", "pop_2020", unit="people"),
    *(_rate(c, f"{label} (2020)", c, "pop_2020", protected=True) for c, label in _RACES.items()),
)

_TRACT_2000 = (
    _rate("age_under_5", "aged under 5", "age_under5", "pop2000"),
    _rate("age_5_17", "aged 5 to 17", "age_5_17", "pop2000"),
    _rate("age_18_21", "aged 18 to 21", "age_18_21", "pop2000"),
    _rate("age_22_29", "aged 22 to 29", "age_22_29", "pop2000"),
    _rate("age_30_39", "aged 30 to 39", "age_30_39", "pop2000"),
    _rate("age_40_49", "aged 40 to 49", "age_40_49", "pop2000"),
    _rate("age_50_64", "aged 50 to 64", "age_50_64", "pop2000"),
    _rate("age_65_up", "aged 65 and over", "age_65_up", "pop2000"),
    _rate("one_person", "living alone", "hh_1person", "households"),
    _rate("married_children", "married couples with children", "marhh_chd", "households"),
    _rate("married_no_children", "married couples without children", "marhh_no_c", "households"),
    _rate("single_mother", "single mothers", "fhh_child", "households", protected=True),
    _rate("renting", "renting their home", "hh_renter", "hh_occupied"),
    _rate("vacant", "homes standing empty", "hh_vacant", "hh_units"),
)


def _mean(
    name: str, label: str, column: str, denominator: str, unit: str = "%", classify: bool = True
) -> Variable:
    return Variable(name, label, "mean", column, denominator, classify, unit=unit)


# one figure for some 300 hexagons: counties describe the types, but their borders must not draw them
_COUNTY = (
    _mean("bachelors", "with a bachelor's degree", "bachelors", "pop", classify=False),
    _mean(
        "median_household_income",
        "median household income",
        "median_household_income",
        "households",
        "$",
        classify=False,
    ),
    _mean("broadband", "households with broadband", "household_has_broadband", "households", classify=False),
    _mean("unemployment", "unemployed", "unemployment_rate", "pop", classify=False),
    _mean("uninsured", "uninsured", "uninsured", "pop", classify=False),
    _mean("veterans", "veterans", "veterans", "pop", classify=False),
)

_ZIP = (
    _mean("per_capita_income", "income per head", "per_capita_income", "total_population", "$"),
    _mean("median_rent", "median rent", "median_rent", "total_population", "$"),
    _mean("median_age", "median age", "median_age", "total_population", "years"),
)
