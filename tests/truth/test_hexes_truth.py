"""Areal interpolation against what must hold exactly, and against established packages.

Tobler and Goodchild & Lam's identities: totals kept, constants kept, sources kept; tobler as a second opinion;
shapely's intersection as the reference of the compiled kernel.
"""

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from tobler.area_weighted import area_interpolate

from geomarket.hexes import cell_polygons, interpolate, points_to_cells
from geomarket.hexes.kernel import clip_areas
from geomarket.hexes.layers import prepare_layer
from geomarket.hexes.overlaps import overlap_shares, reference_areas
from geomarket.hexes.pieces import Pieces
from geomarket.market.model import AreaLayer, Variable

EQUAL_AREA = 6933


def voronoi(n=100, seed=0, side=20_000.0, west=-150_000.0, south=5_900_000.0):
    """Irregular polygons that fill a square of the equal-area plane."""
    rng = np.random.default_rng(seed)
    square = shapely.box(west, south, west + side, south + side)
    points = np.array([west, south]) + rng.uniform(0, side, (n, 2))
    cells = shapely.voronoi_polygons(shapely.multipoints(points), extend_to=square)
    polygons = shapely.intersection(shapely.get_parts(cells), square)
    people = rng.gamma(2.0, 100.0, n)
    return gpd.GeoDataFrame(
        {
            "area_id": [f"a{i:04d}" for i in range(n)],
            "people": people,
            "young": people * rng.uniform(0.1, 0.6, n),
            "income": rng.uniform(15, 80, n),
            "constant": 7.5,
        },
        geometry=polygons,
        crs=EQUAL_AREA,
    )


VARIABLES = (
    Variable("people", "people", "count", "people"),
    Variable("young", "aged under 30", "rate", "young", denominator="people"),
    Variable("income", "income", "mean", "income", denominator="people"),
    Variable("constant", "constant", "mean", "constant", denominator="people"),
)


def layer_of(frame, variables=VARIABLES, population="people"):
    return AreaLayer("census", frame, tuple(variables), population=population)


def test_t1_1_counts_are_conserved_to_1e_9():
    frame = voronoi()
    found = interpolate(layer_of(frame), 8)
    assert found.table["people"].sum() == pytest.approx(frame["people"].sum(), rel=1e-9)
    assert (found.conservation["relative_error"] < 1e-9).all()
    assert (found.conservation["uncovered"] == 0).all()


def test_t1_2_a_grid_of_centres_alone_loses_mass_and_says_how_much():
    frame = voronoi()
    everything = interpolate(layer_of(frame), 8)
    outline = frame.to_crs(4326).union_all()
    lon_lat = shapely.centroid(cell_polygons(everything.table["cell"]))
    centred = everything.table["cell"][shapely.contains(outline, lon_lat)]
    found = interpolate(layer_of(frame), 8, cells=centred)
    row = found.conservation.set_index(["variable", "part"]).loc[("people", "count")]
    lost = 1 - found.table["people"].sum() / frame["people"].sum()
    assert lost > 0.01
    assert row["uncovered"] / row["source_total"] == pytest.approx(lost, rel=1e-9)
    assert row["conserved"]


def test_t1_3_a_constant_stays_constant_and_means_keep_their_population_average():
    frame = voronoi()
    table = interpolate(layer_of(frame), 8).table
    np.testing.assert_allclose(table["constant"], 7.5, rtol=1e-9)
    for name, weights in (("income", "people"), ("young", "people")):
        value = frame[name] / frame["people"] if name == "young" else frame[name]
        before = np.average(value, weights=frame[weights])
        assert np.average(table[name], weights=table[f"{name}__den"]) == pytest.approx(before, rel=1e-9)


def test_t1_4_population_points_keep_every_source_total():
    frame = voronoi(40)
    rng = np.random.default_rng(1)
    xy = np.array(frame.total_bounds[:2]) + rng.uniform(0, 20_000, (800, 2))
    points = gpd.GeoSeries(gpd.points_from_xy(*xy.T), crs=EQUAL_AREA).to_crs(4326)
    table = pd.DataFrame({"lon": points.x, "lat": points.y, "weight": rng.integers(0, 20, 800)})
    # One variable an area, so that each source's total is seen on its own.
    alone = np.diag(frame["people"])
    sources = [f"from_{a}" for a in frame["area_id"]]
    wide = frame.join(pd.DataFrame(alone, columns=sources))
    apart = interpolate(layer_of(wide, [Variable(s, s, "count", s) for s in sources]), 9, points=table).table
    np.testing.assert_allclose(apart[sources].sum(), frame["people"], rtol=1e-9)
    # Where the mass is: in each cell the sum over its points of people × weight / weight in the area.
    inside = gpd.sjoin(gpd.GeoDataFrame(table, geometry=points.to_crs(EQUAL_AREA)), frame, predicate="within")
    inside["mass"] = (
        inside["weight"] * inside["people"] / inside.groupby("area_id")["weight"].transform("sum")
    )
    by_cell = inside.groupby(points_to_cells(inside["lon"], inside["lat"], 9))["mass"].sum()
    found = interpolate(layer_of(frame), 9, points=table)
    assert found.checks["check"].tolist() == []
    got = found.table.set_index("cell")["people"]
    np.testing.assert_allclose(got[by_cell.index], by_cell, rtol=1e-9)
    assert got.drop(by_cell.index).abs().max() < 1e-9


def test_t1_5_agrees_with_tobler_to_1e_4():
    frame = voronoi()
    variables = (VARIABLES[0], Variable("by_surface", "income", "mean", "income"))
    ours = interpolate(layer_of(frame, variables, population=None), 8).table
    target = gpd.GeoDataFrame(geometry=cell_polygons(ours["cell"]), crs=4326).to_crs(EQUAL_AREA)
    theirs = area_interpolate(frame, target, extensive_variables=["people"], intensive_variables=["income"])
    assert np.abs(ours["people"].to_numpy() - theirs["people"].to_numpy()).max() < 1e-4
    assert np.abs(ours["by_surface"].to_numpy() - theirs["income"].to_numpy()).max() < 1e-4


def star(rng, x, y, radius, corners):
    """A polygon without self-intersections, strongly concave."""
    angle = np.sort(rng.uniform(0, 2 * np.pi, corners))
    reach = radius * rng.uniform(0.1, 1.0, corners)
    return np.column_stack([x + reach * np.cos(angle), y + reach * np.sin(angle)])


@settings(max_examples=40, deadline=None, derandomize=True)
@given(
    seed=st.integers(0, 2**32 - 1),
    corners=st.integers(3, 60),
    size=st.floats(0.02, 8.0),
    with_hole=st.booleans(),
    lattice=st.booleans(),
)
def test_clipping_agrees_with_shapely(seed, corners, size, with_hole, lattice):
    """Concave polygons with holes over hexagons of side 1; on a lattice, so that corners fall on edges."""
    rng = np.random.default_rng(seed)
    shell = star(rng, *rng.uniform(-2, 2, 2), size, corners)
    if lattice:
        shell = np.round(shell * 4) / 4
    polygon = shapely.make_valid(shapely.Polygon(shell), method="structure")
    if with_hole and not polygon.is_empty:
        middle = shapely.point_on_surface(polygon).coords[0]
        hole = shapely.make_valid(shapely.Polygon(star(rng, *middle, size / 4, 7)), method="structure")
        polygon = polygon.difference(hole)
    parts = shapely.get_parts(polygon)
    parts = parts[(shapely.get_type_id(parts) == 3) & (shapely.area(parts) > 1e-9)]
    pieces = Pieces.of(parts, np.arange(len(parts)))
    corner = np.pi / 3 * np.arange(6)
    hexagon = np.column_stack([np.cos(corner), np.sin(corner)])
    centres = [(1.5 * i, np.sqrt(3) * (j + i % 2 / 2)) for i in range(-8, 9) for j in range(-8, 9)]
    cells = np.array(centres)[:, None] + hexagon
    ours = np.zeros((len(parts), len(cells)))
    piece, cell, area = clip_areas(pieces, cells)
    ours[piece, cell] = area
    theirs = np.zeros_like(ours)
    piece, cell, area = reference_areas(pieces, shapely.polygons(cells))
    theirs[piece, cell] = area
    np.testing.assert_allclose(ours, theirs, atol=1e-7)


@settings(max_examples=25, deadline=None, derandomize=True)
@given(
    seed=st.integers(0, 2**32 - 1),
    lon=st.floats(-180, 180),
    lat=st.floats(-80, 80),
    resolution=st.integers(3, 10),
    size=st.floats(0.01, 12.0),
    corners=st.integers(3, 40),
)
def test_any_polygon_anywhere_is_conserved(seed, lon, lat, resolution, size, corners):
    """From a hundredth of a cell to a dozen cells across, at any place, over the antimeridian too."""
    rng = np.random.default_rng(seed)
    radius = size * np.sqrt(510e6 / (2 + 120 * 7**resolution)) / 111.3
    ring = star(rng, 0.0, 0.0, radius, corners)
    ring = np.column_stack([lon + ring[:, 0] / np.cos(np.radians(lat)), np.clip(lat + ring[:, 1], -84, 84)])
    polygon = shapely.make_valid(shapely.Polygon(ring), method="structure")
    frame = gpd.GeoDataFrame({"area_id": ["a"], "people": [123.0]}, geometry=[polygon], crs=4326)
    layer = layer_of(frame, VARIABLES[:1])
    found = interpolate(layer, resolution)
    assert found.table["people"].sum() == pytest.approx(123.0, rel=1e-9)
    prepared = prepare_layer(layer)
    overlaps = overlap_shares(prepared, resolution)
    assert overlaps.closure < 1e-9
    assert overlaps.coverage @ overlaps.cell_km2 == pytest.approx(prepared.area.sum() / 1e6, rel=1e-9)
    assert (found.table["coverage"] <= 1).all() and (found.table["coverage"] > 0).all()
