"""How much of each area lies in each cell: one sparse matrix a layer, which then serves every variable."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import h3ronpy
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import scipy.sparse as sp
import shapely

from geomarket.errors import NotSupportedError
from geomarket.hexes.cells import cell_boundaries, points_to_cells
from geomarket.hexes.layers import Pieces, PreparedLayer
from geomarket.hexes.projection import CIRCUMFERENCE, cylinder_area, from_cylinder_x, to_cylinder

__all__ = ["Overlaps", "candidate_cells", "overlap_shares"]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

CLOSURE_LIMIT = 1e-6
_HEXAGONS_AT_RESOLUTION_0 = 122
_ALL_CELLS_UP_TO = 2
_SMALLEST_CELL = 0.6  # of the mean cell area, near pentagons
_EARTH_KM2 = 510_065_621.7


@dataclass(frozen=True)
class CellShapes:
    """Cells in the equal-area plane.

    Attributes
    ----------
    cells : ndarray of int64, shape (n,)
    corners : ndarray of shape (n, 6, 2)
        x, y in metres, anticlockwise; NaN where the cell is no plain convex hexagon.
    plain : ndarray of bool, shape (n,)
    others : dict of int to shapely polygon
        The cells that are not plain, by position.
    area : ndarray of shape (n,)
        m².
    """

    cells: IntArray
    corners: FloatArray
    plain: npt.NDArray[np.bool_]
    others: dict[int, Any]
    area: FloatArray

    def shapes(self) -> npt.NDArray[np.object_]:
        """All cells as shapely polygons in the plane."""
        out = np.empty(len(self.cells), dtype=object)
        out[self.plain] = shapely.polygons(self.corners[self.plain])
        for i, polygon in self.others.items():
            out[i] = polygon
        return out


def cell_shapes(cells: IntArray) -> CellShapes:
    """Cells projected; hexagons that are not convex in the plane join the odd ones."""
    corners, hexagon, rings = cell_boundaries(cells)
    corners = to_cylinder(corners)
    edge = np.roll(corners, -1, axis=1) - corners
    following = np.roll(edge, -1, axis=1)
    turn = edge[..., 0] * following[..., 1] - edge[..., 1] * following[..., 0]
    plain = hexagon & (turn > 0).all(axis=1)
    others = {
        int(i): shapely.Polygon(to_cylinder(ring))
        for i, ring in zip(np.flatnonzero(~hexagon), rings, strict=True)
    }
    for odd in np.flatnonzero(hexagon & ~plain).tolist():
        others[odd] = shapely.Polygon(corners[odd])
    area = np.empty(len(cells))
    area[plain] = cylinder_area(corners[plain])
    for i, polygon in others.items():
        area[i] = polygon.area
    corners[~plain] = np.nan
    return CellShapes(cells, corners, plain, others, area)


@dataclass(frozen=True)
class Overlaps:
    """Shares of areas in cells.

    Attributes
    ----------
    cells : ndarray of int64, shape (n_cells,)
        Every cell any area overlaps, ascending.
    shares : scipy CSR array of shape (n_areas, n_cells)
        Share of each area's mass that belongs to each cell; rows add up to 1 (0 for an area without geometry).
    coverage : ndarray of shape (n_cells,)
        Share of each cell's surface that the layer covers; above 1 where areas lie over each other.
    cell_km2 : ndarray of shape (n_cells,)
    closure : float
        Largest distance of a row sum from 1, before anything else was done with it.
    """

    cells: IntArray
    shares: sp.csr_array
    coverage: FloatArray
    cell_km2: FloatArray
    closure: float


def candidate_cells(bounds: FloatArray, resolution: int) -> IntArray:
    """Every cell that may overlap one of the boxes, and some around them.

    Coarser parents are found from a lattice of points (rows of latitude, each with its own step of longitude),
    widened by one ring and opened into children. That no cell was missed shows later: the shares of every area
    must add up to 1.

    Parameters
    ----------
    bounds : ndarray of shape (n, 4)
        Boxes in degrees: west, south, east, north.
    resolution : int
        H3 resolution.
    resolution : int
    """
    if resolution <= _ALL_CELLS_UP_TO:
        roots = np.array([0x8001FFFFFFFFFFF + (b << 45) for b in range(_HEXAGONS_AT_RESOLUTION_0)])
        return _children(roots.astype(np.int64), resolution)
    parent = resolution - 1
    mean_km2 = _EARTH_KM2 / (2 + 120 * 7**parent)
    step = 0.6 * np.sqrt(mean_km2 * _SMALLEST_CELL) / 111.32
    lon, lat = _lattice(bounds, step)
    found = np.unique(points_to_cells(lon, lat, parent))
    disk = pa.array(h3ronpy.grid_disk(found.view(np.uint64), 1, flatten=True)).to_numpy(zero_copy_only=False)
    return _children(np.unique(disk).view(np.int64), resolution)


def _children(cells: IntArray, resolution: int) -> IntArray:
    opened = h3ronpy.change_resolution(cells.view(np.uint64), resolution)
    return np.unique(pa.array(opened).to_numpy(zero_copy_only=False)).view(np.int64)


def _lattice(bounds: FloatArray, step: float) -> tuple[FloatArray, FloatArray]:
    """Points of a lattice of about ``step`` degrees of latitude, in and one step around each box."""
    first = np.floor(bounds[:, 1] / step).astype(np.int64) - 1
    last = np.ceil(bounds[:, 3] / step).astype(np.int64) + 1
    n_rows = last - first + 1
    box = np.repeat(np.arange(len(bounds)), n_rows)
    row = np.arange(n_rows.sum()) - np.repeat(np.cumsum(n_rows) - n_rows, n_rows) + np.repeat(first, n_rows)
    lat = np.clip(row * step, -89.9, 89.9)
    lon_step = step / np.cos(np.radians(lat))
    left = np.floor(bounds[box, 0] / lon_step).astype(np.int64) - 1
    right = np.ceil(bounds[box, 2] / lon_step).astype(np.int64) + 1
    # Runs of a row that touch or overlap are merged, so that no point comes twice.
    order = np.lexsort((left, row))
    row, left, right = row[order], left[order], right[order]
    span = np.int64(2 * (np.abs(left).max() + np.abs(right).max() + 2))
    key_right = np.maximum.accumulate(right + (row - row.min()) * span) - (row - row.min()) * span
    fresh = np.ones(len(row), dtype=bool)
    fresh[1:] = (row[1:] != row[:-1]) | (left[1:] > key_right[:-1])
    starts = np.flatnonzero(fresh)
    ends = np.append(starts[1:], len(row)) - 1
    row, left, right = row[starts], left[starts], key_right[ends]
    length = right - left + 1
    column = np.arange(length.sum()) - np.repeat(np.cumsum(length) - length, length) + np.repeat(left, length)
    lat = np.clip(np.repeat(row, length) * step, -89.9, 89.9)
    lon = column * step / np.cos(np.radians(lat))
    return (lon + 180) % 360 - 180, lat


def overlap_shares(layer: PreparedLayer, resolution: int) -> Overlaps:
    """Exact share of each area in each cell, in the equal-area plane.

    Raises
    ------
    NotSupportedError
        If the shares of an area do not add up to 1 (cells beyond the projection's reach).
    """
    cells = _cells_for(layer, resolution)
    shapes = cell_shapes(cells)
    pieces = _around_the_seam(layer.pieces, shapes)
    piece, cell, area = reference_areas(pieces, shapes)
    n_areas = len(layer.area_ids)
    met = sp.coo_array((area, (pieces.owner[piece], cell)), shape=(n_areas, len(cells))).tocsr()
    met.sum_duplicates()
    total = np.asarray(met.sum(axis=1)).ravel()
    solid = layer.area > 0
    closure = float(np.abs(total[solid] / layer.area[solid] - 1).max()) if solid.any() else 0.0
    if closure > CLOSURE_LIMIT:
        worst = int(np.argmax(np.where(solid, np.abs(total / np.where(solid, layer.area, 1) - 1), 0)))
        raise NotSupportedError(
            f"areas '{layer.name}': the hexagons hold {total[worst] / layer.area[worst]:.6f} of area "
            f"{layer.area_ids[worst]} instead of all of it. Near a pole or at a very coarse resolution the grid "
            "can't be drawn in the equal-area plane; take a finer resolution or clip the layer."
        )
    coverage = np.asarray(met.sum(axis=0)).ravel() / shapes.area
    met.data /= np.repeat(np.where(solid, layer.area, 1.0), np.diff(met.indptr))
    met = _with_spots(met, layer, cells, resolution)
    used = np.diff(met.tocsc().indptr) > 0
    return Overlaps(cells[used], sp.csr_array(met[:, used]), coverage[used], shapes.area[used] / 1e6, closure)


def _cells_for(layer: PreparedLayer, resolution: int) -> IntArray:
    bounds = layer.pieces.bounds()
    spots = np.vstack(list(layer.spots.values())) if layer.spots else np.empty((0, 2))
    bounds = np.vstack([bounds, np.hstack([spots, spots])])
    degrees = np.column_stack(
        [
            from_cylinder_x(bounds[:, 0]),
            _latitude(bounds[:, 1]),
            from_cylinder_x(bounds[:, 2]),
            _latitude(bounds[:, 3]),
        ]
    )
    return candidate_cells(degrees, resolution)


def _latitude(y: FloatArray) -> FloatArray:
    """Latitude of y, by interpolation in a fine table: good to far less than a lattice step."""
    lat = np.linspace(-89.99, 89.99, 200_001)
    table = to_cylinder(np.column_stack([np.zeros_like(lat), lat]))[:, 1]
    return np.interp(y, table, lat)


def _around_the_seam(pieces: Pieces, shapes: CellShapes) -> Pieces:
    """Pieces at the antimeridian, copied to its other side.

    Cells are drawn once, those on the seam to the east of 180°. A piece that reaches beyond 180° also meets
    cells at -180°, and a piece at -180° also meets the cells on the seam.
    """
    seam = CIRCUMFERENCE / 2
    east = np.nanmax(shapes.corners[..., 0], initial=-np.inf)
    east = max([east, *(p.bounds[2] for p in shapes.others.values())])
    bounds = pieces.bounds()
    out = pieces
    beyond = bounds[:, 2] > seam
    if beyond.any():
        out = out.joined(pieces.moved(beyond, -CIRCUMFERENCE))
    before = bounds[:, 0] < east - CIRCUMFERENCE
    if before.any():
        out = out.joined(pieces.moved(before, CIRCUMFERENCE))
    return out


def _with_spots(met: sp.csr_array, layer: PreparedLayer, cells: IntArray, resolution: int) -> sp.csr_array:
    if not layer.spots:
        return met
    rows, columns, share = [], [], []
    for area, places in layer.spots.items():
        lon = from_cylinder_x(places[:, 0])
        found = points_to_cells(lon, _latitude(places[:, 1]), resolution)
        rows.append(np.full(len(found), area))
        columns.append(np.searchsorted(cells, found))
        share.append(np.full(len(found), 1 / len(found)))
    extra = sp.coo_array(
        (np.concatenate(share), (np.concatenate(rows), np.concatenate(columns))), shape=met.shape
    )
    return (met + extra.tocsr()).tocsr()


def reference_areas(pieces: Pieces, shapes: CellShapes) -> tuple[IntArray, IntArray, FloatArray]:
    """Area of piece ∩ cell by shapely for every pair that meets: piece, cell (positions), m²."""
    polygons, hexagons = pieces.shapes(), shapes.shapes()
    piece, cell = shapely.STRtree(hexagons).query(polygons)
    area = shapely.area(shapely.intersection(polygons[piece], hexagons[cell]))
    meets = area > 0
    return piece[meets], cell[meets], area[meets]
