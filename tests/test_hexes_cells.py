"""Cells: the array functions agree with the h3 package one by one, everywhere on Earth."""

import h3
import numpy as np
import pandas as pd
import pyproj
import pytest
import shapely

from geomarket.errors import SettingsError, TableError
from geomarket.hexes import (
    cell_areas_km2,
    cell_centres,
    cell_polygons,
    cell_resolutions,
    cell_strings,
    cells_from_strings,
    neighbours,
    parents,
    points_to_cells,
)


@pytest.fixture(scope="module")
def world():
    rng = np.random.default_rng(0)
    return rng.uniform(-180, 180, 200), np.degrees(np.arcsin(rng.uniform(-0.99, 0.99, 200)))


@pytest.mark.parametrize("resolution", [0, 1, 7, 8, 15])
def test_points_centres_and_parents_agree_with_h3(world, resolution):
    lon, lat = world
    cells = points_to_cells(lon, lat, resolution)
    assert cells.dtype == np.int64
    assert cell_strings(cells).tolist() == [
        h3.latlng_to_cell(y, x, resolution) for x, y in zip(lon, lat, strict=True)
    ]
    centre_lon, centre_lat = cell_centres(cells)
    expected = np.array([h3.cell_to_latlng(c) for c in cell_strings(cells)])
    np.testing.assert_allclose(centre_lat, expected[:, 0], atol=1e-9)
    np.testing.assert_allclose(centre_lon, expected[:, 1], atol=1e-9)
    assert (cell_resolutions(cells) == resolution).all()
    for coarser in {0, resolution // 2, resolution}:
        found = cell_strings(parents(cells, coarser)).tolist()
        assert found == [h3.cell_to_parent(c, coarser) for c in cell_strings(cells)]


def test_strings_and_cells_are_inverse(world):
    cells = points_to_cells(*world, 9)
    assert (cells_from_strings(cell_strings(cells)) == cells).all()


def test_areas_agree_with_geodesic_areas_on_the_ellipsoid(world):
    lon, lat = world
    near = np.abs(lat) < 85
    cells = points_to_cells(lon[near], lat[near], 8)
    geod = pyproj.Geod(ellps="WGS84")
    expected = [
        abs(geod.polygon_area_perimeter(*np.array(h3.cell_to_boundary(c)).T[::-1])[0]) / 1e6
        for c in cell_strings(cells)
    ]
    # What is left is the bow of a cell's edge: straight in the plane here, a geodesic there.
    np.testing.assert_allclose(cell_areas_km2(cells), expected, rtol=2e-5)


def test_polygons_agree_with_h3():
    cells = cells_from_strings(["88283082b1fffff", h3.get_pentagons(8)[0], "87283082bffffff"])
    for cell, polygon in zip(cell_strings(cells), cell_polygons(cells), strict=True):
        expected = shapely.Polygon([(x, y) for y, x in h3.cell_to_boundary(cell)])
        assert polygon.symmetric_difference(expected).area < 1e-12


def test_polygon_on_the_antimeridian_is_cut_in_two():
    cells = points_to_cells([180.0], [-17.0], 4)
    polygon = cell_polygons(cells)[0]
    west, _, east, _ = polygon.bounds
    assert polygon.geom_type == "MultiPolygon" and west >= -180 and east <= 180
    assert all(np.ptp(part.bounds[::2]) < 2 for part in polygon.geoms)


def test_neighbours_agree_with_h3_at_a_pentagon_too():
    cells = cells_from_strings([h3.get_pentagons(7)[3], "872830829ffffff"])
    table = neighbours(cells, k=2)
    for cell in cells:
        found = table[table["cell"] == cell]
        name = cell_strings([cell])[0]
        for ring in (1, 2):
            expected = set(h3.grid_disk(name, ring)) - set(h3.grid_disk(name, ring - 1))
            assert set(cell_strings(found.loc[found["ring"] == ring, "neighbour"])) == expected
    assert (table["cell"] == cells[0]).sum() == 5 + 10


def test_neighbours_among_cells():
    cells = cells_from_strings(h3.grid_disk("872830829ffffff", 1))
    table = neighbours(cells, among_cells=True)
    assert set(table["neighbour"]) <= set(cells)
    # The centre has 6 neighbours there, each of the others 3.
    assert sorted(table.groupby("cell").size()) == [3] * 6 + [6]


def test_empty_input_gives_empty_output():
    none = np.empty(0, dtype=np.int64)
    assert len(points_to_cells([], [], 8)) == len(cell_polygons(none)) == len(cell_areas_km2(none)) == 0
    assert len(cell_strings(none)) == len(cells_from_strings([])) == len(parents(none, 3)) == 0
    assert list(neighbours(none).columns) == ["cell", "neighbour", "ring"]
    assert [len(x) for x in cell_centres(none)] == [0, 0]


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: points_to_cells([41.6], [-93.6], 8), TableError, "swapped"),
        (lambda: points_to_cells([400_000.0], [300_000.0], 8), TableError, "degrees"),
        (lambda: points_to_cells([np.nan, 1], [5, 5], 8), TableError, r"missing coordinate .*\[0\]"),
        (lambda: points_to_cells([1, 2], [5], 8), TableError, "one pair"),
        (lambda: points_to_cells([1], [5], 16), SettingsError, "0 to 15"),
        (lambda: points_to_cells([1], [5], 8.5), SettingsError, "whole number"),
        (lambda: cell_centres([0]), TableError, "not H3 cells"),
        (lambda: cell_centres(["88283082b1fffff"]), TableError, "cells_from_strings"),
        (lambda: cells_from_strings(["88283082b1fffff", "nonsense"]), TableError, r"\[1\]"),
        (lambda: cells_from_strings(pd.Series(["88283082b1fffff", None])), TableError, "not H3 cells"),
        (lambda: parents(points_to_cells([1], [5], 4), 5), SettingsError, "finer"),
        (lambda: neighbours(points_to_cells([1], [5], 4), k=0), SettingsError, "1 or more"),
        (lambda: neighbours(points_to_cells([1, 1], [5, 5], 4)), TableError, "duplicates"),
    ],
)
def test_bad_input_is_refused_with_the_cure(call, error, message):
    with pytest.raises(error, match=message):
        call()
