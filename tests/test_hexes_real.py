"""Official boundaries as published: the kernel against shapely, and a layer with invalid polygons."""

import os
from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
import scipy.sparse as sp

from geomarket.hexes import interpolate
from geomarket.hexes.covering import cell_shapes
from geomarket.hexes.kernel import clip_areas
from geomarket.hexes.layers import prepare_layer
from geomarket.hexes.overlaps import overlap_shares, reference_areas
from geomarket.market.model import AreaLayer, Variable

DATA = Path(os.environ.get("GEOMARKET_DATA", "."))
pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif("GEOMARKET_DATA" not in os.environ, reason="GEOMARKET_DATA is not set"),
]


def test_leeds_output_areas_agree_with_shapely():
    frame = gpd.read_parquet(DATA / "uk" / "leeds_oa11_boundaries.parquet").rename(columns={"OA": "area_id"})
    prepared = prepare_layer(AreaLayer("leeds", frame, ()))
    shapes = cell_shapes(overlap_shares(prepared, 9).cells)
    size = (len(prepared.pieces), len(shapes.cells))
    piece, cell, area = clip_areas(prepared.pieces, shapes.corners)
    ours = sp.csr_array((area, (piece, cell)), shape=size)
    piece, cell, area = reference_areas(prepared.pieces, shapes.shapes())
    theirs = sp.csr_array((area, (piece, cell)), shape=size)
    assert ours.nnz > 15_000
    assert abs(ours - theirs).max() < 1e-9 * shapes.area.mean()


def test_iowa_tracts_of_2000_have_lost_the_tags_of_their_holes():
    frame = gpd.read_parquet(DATA / "iowa" / "iowa_tracts_2000_sf1.parquet")
    frame["area_id"] = frame.index.astype(str)
    people = Variable("people", "people", "count", "pop2000")
    found = interpolate(AreaLayer("tracts 2000", frame, (people,), population="pop2000"), 7)
    # Tracts inside other tracts are drawn as parts of both; read as holes, nothing lies over anything.
    assert found.checks.set_index("check")["areas"].to_dict() == {
        "overlapping parts": int((~frame.is_valid).sum())
    }
    assert found.table["people"].sum() == pytest.approx(2_926_324, rel=1e-9)
    surface = prepare_layer(AreaLayer("t", frame, ())).area.sum() / 1e6
    assert surface == pytest.approx(145_746, rel=0.001)  # the state's surface, km²
    assert np.isfinite(found.table["people"]).all()
