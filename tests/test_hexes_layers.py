"""Geometry as it comes: repaired and counted, or refused with the cure; and the machinery under the areas."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import geopandas as gpd
import h3
import numba
import numpy as np
import pyproj
import pytest
import shapely
from shapely import box

from geomarket.errors import NotSupportedError, TableError
from geomarket.hexes import (
    cell_areas_km2,
    cell_polygons,
    cell_strings,
    interpolate,
    kernel,
    points_to_cells,
    threads,
)
from geomarket.hexes.covering import candidate_cells, cell_shapes
from geomarket.hexes.kernel import clip_areas
from geomarket.hexes.layers import prepare_layer
from geomarket.hexes.overlaps import overlap_shares, reference_areas
from geomarket.hexes.pieces import Pieces, halved
from geomarket.hexes.projection import CIRCUMFERENCE, latitude_of, to_cylinder
from geomarket.market.model import AreaLayer, Variable

PEOPLE = (Variable("people", "people", "count", "n"),)


def layer_of(*shapes, crs=4326, name="t"):
    frame = gpd.GeoDataFrame(
        {
            "area_id": [f"a{i}" for i in range(len(shapes))],
            "n": [100.0 * (i + 1) for i in range(len(shapes))],
        },
        geometry=list(shapes),
        crs=crs,
    )
    return AreaLayer(name, frame, PEOPLE, population="n")


def checks_of(found):
    return found.checks.set_index("check")


# --- the plane ---


def test_projection_is_epsg_6933():
    rng = np.random.default_rng(0)
    lon_lat = np.column_stack([rng.uniform(-179, 179, 500), rng.uniform(-85, 85, 500)])
    transformer = pyproj.Transformer.from_crs(4326, 6933, always_xy=True)
    expected = np.column_stack(transformer.transform(lon_lat[:, 0], lon_lat[:, 1]))
    found = to_cylinder(lon_lat)
    np.testing.assert_allclose(found, expected, atol=1e-6)
    np.testing.assert_allclose(latitude_of(found[:, 1]), lon_lat[:, 1], atol=2e-8)
    # Beyond 180° it goes on where PROJ would wrap.
    assert to_cylinder(np.array([[190.0, 10.0]]))[0, 0] == pytest.approx(CIRCUMFERENCE * 190 / 360)


def test_straight_edges_of_the_layer_stay_straight_in_its_own_projection():
    # A 200 km edge on the British grid bends by more than 100 m when projected; the neighbour with a corner
    # half way must not overlap it.
    left = shapely.Polygon([(300_000, 200_000), (400_000, 250_000), (400_000, 600_000), (300_000, 600_000)])
    low = shapely.Polygon([(300_000, 200_000), (350_000, 225_000), (400_000, 250_000), (400_000, 200_000)])
    found = interpolate(layer_of(left, low, crs=27700), 5)
    assert not len(found.checks) or found.checks["km2"].max() < 0.01


# --- repaired or kept, and counted ---


def test_invalid_polygons_are_repaired_and_counted():
    bowtie = shapely.Polygon([(0, 50), (1, 51), (1, 50), (0, 51)])
    found = interpolate(layer_of(bowtie, box(2, 50, 3, 51)), 6)
    assert checks_of(found).loc["invalid polygons", "areas"] == 1
    assert "Self-intersection 1" in checks_of(found).loc["invalid polygons", "message"]
    assert found.table["people"].sum() == pytest.approx(300)
    surface = found.table["coverage"] @ cell_areas_km2(found.table["cell"])
    whole = gpd.GeoSeries([shapely.make_valid(bowtie).union(box(2, 50, 3, 51))], crs=4326).segmentize(0.05)
    assert surface == pytest.approx(whole.to_crs(6933).area.sum() / 1e6, rel=1e-5)


def test_part_inside_a_part_is_a_hole_and_crossing_parts_are_united():
    inner = box(0.4, 50.4, 0.6, 50.6)
    found = interpolate(layer_of(shapely.MultiPolygon([box(0, 50, 1, 51), inner]), inner), 6)
    assert checks_of(found)["areas"].to_dict() == {"overlapping parts": 1}
    crossing = shapely.MultiPolygon([box(0, 50, 1, 51), box(0.5, 50, 1.5, 51)])
    prepared = prepare_layer(layer_of(crossing))
    assert prepared.area[0] == pytest.approx(prepare_layer(layer_of(box(0, 50, 1.5, 51))).area[0], rel=1e-9)


@pytest.mark.parametrize(
    ("other", "common"),
    [
        (box(0.5, 50, 1.5, 51), box(0.5, 50, 1, 51)),
        (box(0, 50, 1, 51), box(0, 50, 1, 51)),
        (box(0.4, 50.4, 0.5, 50.5), box(0.4, 50.4, 0.5, 50.5)),
    ],
)
def test_overlaps_between_areas_are_measured(other, common):
    found = interpolate(layer_of(box(0, 50, 1, 51), other), 6)
    row = checks_of(found).loc["overlapping areas"]
    assert row["areas"] == 2
    assert row["km2"] == pytest.approx(gpd.GeoSeries([common], crs=4326).to_crs(6933).area[0] / 1e6, rel=1e-9)
    assert found.table["people"].sum() == pytest.approx(300)
    assert found.table["coverage"].max() <= 1


def test_neighbours_with_different_corners_do_not_overlap():
    found = interpolate(layer_of(box(0, 50, 1, 51), box(1, 50, 2, 50.5), box(1, 50.5, 2, 51)), 6)
    assert not len(found.checks)


def test_slivers_and_areas_smaller_than_a_cell_are_kept():
    sliver, tiny = box(1, 50, 1 + 1e-7, 51), box(0.5, 50.5, 0.50001, 50.50001)
    found = interpolate(layer_of(sliver, tiny), 8)
    assert found.table["people"].sum() == pytest.approx(300, rel=1e-9)
    assert 0 < found.table["coverage"].min() < 1e-5


def test_areas_without_surface_or_geometry():
    flat = shapely.Polygon([(0.5, 50.5), (0.6, 50.5), (0.7, 50.5)])
    found = interpolate(layer_of(box(0, 50, 1, 51), flat, None, shapely.Polygon()), 6)
    checks = checks_of(found)
    assert checks.loc["no surface", "areas"] == 1 and checks.loc["no geometry", "areas"] == 2
    row = found.conservation.iloc[0]
    assert row["hex_total"] == pytest.approx(300) and row["uncovered"] == 700 and row["conserved"]
    assert any("no geometry in 2 areas" in line for line in found.summary())


def test_points_put_their_mass_into_their_cell():
    found = interpolate(
        layer_of(box(0, 50, 1, 51), shapely.Point(3, 50), shapely.MultiPoint([(4, 50), (5, 50)])), 6
    )
    table = found.table.assign(name=cell_strings(found.table["cell"])).set_index("name")
    assert table.loc[h3.latlng_to_cell(50, 3, 6), "people"] == 200
    assert table.loc[h3.latlng_to_cell(50, 5, 6), "people"] == 150
    assert table.loc[h3.latlng_to_cell(50, 3, 6), "coverage"] == 0
    assert checks_of(found).loc["points", "areas"] == 2
    assert interpolate(layer_of(shapely.Point(3, 50)), 8).table["people"].tolist() == [100]


def test_islands_share_by_surface():
    isles = shapely.MultiPolygon([box(0, 50, 0.1, 50.1), box(-170, -20, -169.9, -19.9)])
    found = interpolate(layer_of(isles), 7).table
    north = cell_areas_km2(found["cell"]) @ (found["coverage"] * (cell_lat(found) > 0))
    south = cell_areas_km2(found["cell"]) @ (found["coverage"] * (cell_lat(found) < 0))
    assert found.loc[cell_lat(found) > 0, "people"].sum() == pytest.approx(100 * north / (north + south))


def cell_lat(table):
    return np.array([h3.cell_to_latlng(c)[0] for c in cell_strings(table["cell"])])


def test_third_dimension_and_lines_beside_polygons_play_no_part():
    plain = interpolate(layer_of(box(0, 50, 1, 51)), 6).table
    mixed = shapely.GeometryCollection([box(0, 50, 1, 51), shapely.LineString([(0, 50), (5, 52)])])
    for shape in (shapely.force_3d(box(0, 50, 1, 51), 7.0), mixed):
        np.testing.assert_allclose(interpolate(layer_of(shape), 6).table, plain, rtol=1e-12)


# --- odd places ---


def test_antimeridian_however_it_is_written():
    ring = [(178, -18), (-178, -18), (-178, -16), (178, -16)]
    ways = [
        shapely.MultiPolygon([box(178, -18, 180, -16), box(-180, -18, -178, -16)]),
        box(178, -18, 182, -16),
        box(-182, -18, -178, -16),
        shapely.Polygon(ring),
    ]
    tables = [interpolate(layer_of(way), 5).table for way in ways]
    # The same box ten degrees further west has the same surface.
    surface = prepare_layer(layer_of(box(168, -18, 172, -16))).area[0] / 1e6
    for table in tables:
        np.testing.assert_array_equal(table["cell"], tables[0]["cell"])
        np.testing.assert_allclose(table["people"], tables[0]["people"], rtol=1e-9)
        assert table["people"].sum() == pytest.approx(100, rel=1e-12)
        assert table["coverage"] @ cell_areas_km2(table["cell"]) == pytest.approx(surface, rel=1e-9)
    assert any(p.geom_type == "MultiPolygon" for p in cell_polygons(tables[0]["cell"]))


def test_antimeridian_with_a_hole_and_in_a_projection():
    shell = [(178, -18), (-178, -18), (-178, -16), (178, -16)]
    solid = prepare_layer(layer_of(box(178, -18, 182, -16), box(179.5, -17.5, 180.5, -16.5))).area / 1e6
    across = [(179.5, -17.5), (-179.5, -17.5), (-179.5, -16.5), (179.5, -16.5)]
    for hole in (across, box(-179.7, -17.5, -178.7, -16.5).exterior.coords):
        with_hole = interpolate(layer_of(shapely.Polygon(shell, [hole])), 5).table
        surface = with_hole["coverage"] @ cell_areas_km2(with_hole["cell"])
        assert surface == pytest.approx(solid[0] - solid[1], rel=1e-9)
    pacific = "+proj=eqc +lon_0=150 +datum=WGS84"
    drawn = gpd.GeoSeries([box(168, -18, 172, -16)], crs=4326).to_crs("+proj=eqc +lon_0=140 +datum=WGS84")
    moved = interpolate(layer_of(drawn[0], crs=pacific), 5).table
    assert moved["people"].sum() == pytest.approx(100, rel=1e-12)
    assert moved["coverage"] @ cell_areas_km2(moved["cell"]) == pytest.approx(solid[0], rel=1e-6)


@pytest.mark.parametrize("resolution", [0, 1, 2, 3, 6, 7])
def test_pentagons(resolution):
    cell = h3.get_pentagons(resolution)[5]
    lat, lon = h3.cell_to_latlng(cell)
    half = 1.0
    found = interpolate(layer_of(box(lon - half, lat - half, lon + half, lat + half)), resolution).table
    found = found.assign(name=cell_strings(found["cell"])).set_index("name")
    assert found["people"].sum() == pytest.approx(100, rel=1e-9)
    if resolution > 3:
        assert found.loc[cell, "coverage"] == pytest.approx(1, abs=1e-9)
        assert found.loc[cell, "people"] / found.loc[cell, "coverage"] == pytest.approx(
            found["people"].sum() * cell_areas_km2(found["cell"])[found.index == cell][0]
            / (found["coverage"] @ cell_areas_km2(found["cell"])), rel=1e-9,
        )  # fmt: skip


def test_cells_with_more_than_six_corners():
    # Odd resolutions have them where an edge of the icosahedron runs: half way between neighbouring pentagons.
    lat, lon = np.radians([h3.cell_to_latlng(c) for c in h3.get_pentagons(7)]).T
    x = np.column_stack([np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)])
    middle = x[5] + x[np.argsort(-(x @ x[5]))[1]]
    lat, lon = np.degrees([np.arcsin(middle[2] / np.linalg.norm(middle)), np.arctan2(middle[1], middle[0])])
    found = interpolate(layer_of(box(lon - 0.6, lat - 0.6, lon + 0.6, lat + 0.6)), 7).table
    corners = np.array([len(h3.cell_to_boundary(c)) for c in cell_strings(found["cell"])])
    assert (corners > 6).sum() > 5
    inner = found["coverage"] > 0.5
    assert found.loc[(corners > 6) & inner, "coverage"].max() == pytest.approx(1, abs=1e-9)
    assert found["people"].sum() == pytest.approx(100, rel=1e-9)


def test_north_of_80_degrees_still_works_and_the_pole_does_not():
    found = interpolate(layer_of(box(0, 83, 2, 84.9)), 5).table
    assert found["people"].sum() == pytest.approx(100, rel=1e-9)
    with pytest.raises(NotSupportedError, match="beyond 85° latitude"):
        interpolate(layer_of(box(0, 80, 20, 86)), 5)
    with pytest.raises(NotSupportedError, match="round a pole"):
        interpolate(layer_of(shapely.Polygon([(-120, 70), (0, 70), (120, 70)])), 5)
    with pytest.raises(NotSupportedError, match="very coarse resolution"):
        interpolate(layer_of(box(0, 83, 2, 84.9)), 1)


# --- refused with the cure ---


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        (lambda: layer_of(box(0, 50, 1, 51), crs=None), r"set_crs\('EPSG"),
        (lambda: layer_of(box(41, -94, 42, -93)), "look swapped"),
        (lambda: layer_of(box(4e5, 3e5, 4.1e5, 3.1e5)), "says degrees"),
        (lambda: layer_of(box(-1, 51, 0, 52), crs=27700), "look like degrees"),
        (lambda: layer_of(box(4e8, 3e5, 4.1e8, 4e5), crs=27700), "outside what the CRS"),
        (lambda: layer_of(shapely.LineString([(0, 0), (1, 1)])), "neither polygons nor points .LineString"),
        (lambda: layer_of(None), "not one of 1 rows has a geometry"),
        (lambda: layer_of(), "no rows"),
        (lambda: renamed(area_id="id"), "no column area_id"),
        (lambda: assigned(area_id=["a", "a"]), "2 of 2 rows repeat an area_id .a."),
        (lambda: assigned(area_id=["a", None]), r"missing in rows \[1\]"),
        (lambda: AreaLayer("t", two().frame.drop(columns="geometry"), PEOPLE), "expected a GeoDataFrame"),
    ],
)
def test_layers_that_cannot_be_used_are_refused(layer, message):
    with pytest.raises(TableError, match=message):
        interpolate(layer(), 6)


def two():
    return layer_of(box(0, 50, 1, 51), box(1, 50, 2, 51))


def renamed(**names):
    return AreaLayer("t", two().frame.rename(columns=names), PEOPLE)


def assigned(**columns):
    return AreaLayer("t", two().frame.assign(**columns), PEOPLE)


# --- the machinery ---


def test_candidates_miss_no_cell():
    rng = np.random.default_rng(2)
    for lon, lat, resolution in [
        (0.1, 51.5, 8),
        (179.99, -17, 7),
        (-60, 79, 9),
        (36.5, -50.1, 5),
        (10, 0, 3),
    ]:
        centre = h3.latlng_to_cell(lat, lon, resolution)
        disk = set(h3.grid_disk(centre, int(rng.integers(2, 6))))
        points = np.array([h3.cell_to_latlng(c) for c in disk])[:, ::-1]
        points[:, 0] += np.where(points[:, 0] < lon - 180, 360, 0)
        bounds = np.array([[*points.min(axis=0), *points.max(axis=0)]])
        assert disk <= set(cell_strings(candidate_cells(bounds, resolution)))


def test_candidates_hold_a_cell_of_which_only_a_corner_is_met():
    rng = np.random.default_rng(4)
    lon, lat = rng.uniform(-179, 179, 150), rng.uniform(-84, 84, 150)
    for cell in points_to_cells(lon, lat, 8):
        name = cell_strings([cell])[0]
        centre = np.array(h3.cell_to_latlng(name))[::-1]
        for corner in np.array(h3.cell_to_boundary(name))[:, ::-1]:
            x, y = 0.999 * corner + 0.001 * centre
            assert cell in candidate_cells(np.array([[x, y, x, y]]), 8)


def test_there_are_122_cells_at_resolution_0_and_each_seven_children():
    anywhere = np.array([[0.0, 0.0, 1.0, 1.0]])
    assert [len(candidate_cells(anywhere, r)) for r in (0, 1, 2)] == [122, 842, 5882]
    assert len(candidate_cells(np.empty((0, 4)), 8)) == 0


def fjord(corners=3_000):
    """A ring that winds in and out, and a hole in it."""
    angle = np.linspace(0, 2 * np.pi, corners, endpoint=False)
    reach = 0.3 * (1 + 0.4 * np.sin(37 * angle) * np.cos(11 * angle))
    ring = np.column_stack([0.5 + reach * np.cos(angle), 50.5 + reach * np.sin(angle)])
    return shapely.Polygon(ring, [box(0.45, 50.45, 0.55, 50.55).exterior.coords])


def test_large_intricate_polygons_are_halved_without_changing_a_share():
    prepared = prepare_layer(layer_of(fjord()))
    shapes = cell_shapes(candidate_cells(np.array([[0, 50, 1, 51.0]]), 7))
    pieces = halved(prepared.pieces, float(np.median(shapes.area)))
    assert len(pieces) > 4 and pieces.areas().sum() == pytest.approx(prepared.area[0], rel=1e-12)
    expected = np.zeros(len(shapes.cells))
    _, cell, area = reference_areas(prepared.pieces, shapes.shapes())
    expected[cell] = area
    for way in (pieces, prepared.pieces):
        found = np.zeros(len(shapes.cells))
        _, cell, area = clip_areas(way, shapes.corners)
        np.add.at(found, cell, area)
        np.testing.assert_allclose(found, expected, atol=1e-3)


def test_pieces_taken_joined_and_moved():
    polygons = np.array([box(0, 0, 2, 2), fjord(40), box(5, 5, 6, 7)], dtype=object)
    pieces = Pieces.of(polygons, np.array([7, 8, 9]))
    np.testing.assert_allclose(pieces.areas(), shapely.area(polygons))
    np.testing.assert_allclose(pieces.bounds(), shapely.bounds(polygons))
    some = pieces.take(np.array([2, 1])).joined(pieces.moved(np.array([True, False, False]), 10.0))
    assert some.owner.tolist() == [9, 8, 7]
    assert shapely.equals(some.shapes(), np.array([polygons[2], polygons[1], box(10, 0, 12, 2)])).all()
    empty = Pieces.of(np.empty(0, dtype=object), np.empty(0, dtype=np.int64))
    assert len(empty) == len(empty.areas()) == len(empty.bounds()) == len(empty.shapes()) == 0


def test_number_of_threads_changes_no_digit(monkeypatch):
    # Small slices, so that there is something to share out.
    monkeypatch.setattr(kernel, "_PIECES_A_TASK", 3)
    monkeypatch.setattr(kernel, "_CELLS_A_TASK", 10)
    layer = layer_of(*(box(i / 10, 50, i / 10 + 0.1, 50.3) for i in range(20)))
    tables = []
    for number in (1, 4):
        monkeypatch.setattr(threads, "_threads", lambda number=number: number)
        tables.append(interpolate(layer, 7).table)
    assert tables[0].equals(tables[1])


def test_several_threads_may_interpolate_at_once():
    layers = [
        layer_of(*(box(i / 10, lat, i / 10 + 0.1, lat + 0.3) for i in range(10))) for lat in range(45, 53)
    ]
    alone = [interpolate(layer, 7).table for layer in layers]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda layer: interpolate(layer, 7).table, layers))
    assert all(a.equals(b) for a, b in zip(alone, together, strict=True))


def test_an_error_in_a_thread_is_raised():
    def task(part):
        if part.start == 6:
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        threads.each_slice(task, 10, 2)


def test_kernel_compiles_without_a_cache_where_nothing_can_be_written(monkeypatch):
    real = numba.njit

    def njit(*args, **kwargs):
        if kwargs.get("cache"):
            raise RuntimeError("cannot cache function: no locator available")
        return real(*args, **kwargs)

    monkeypatch.setattr(numba, "njit", njit)
    assert kernel.compiled(lambda x: x + 1)(2) == 3


def test_import_compiles_nothing():
    code = (
        "from geomarket.hexes import kernel as k\n"
        "print([len(f.signatures) for f in (k._count_pairs, k._fill_pairs, k._spread_rows)])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[0, 0, 0]"


def test_shares_of_every_area_add_up():
    prepared = prepare_layer(layer_of(fjord(), box(0.2, 50.9, 0.3, 51)))
    overlaps = overlap_shares(prepared, 8)
    np.testing.assert_allclose(overlaps.shares.sum(axis=0), 1, rtol=1e-12)
    assert overlaps.closure < 1e-12
