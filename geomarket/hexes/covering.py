"""Which cells a layer may overlap, and their shapes in the equal-area plane."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import h3ronpy
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import shapely

from geomarket.errors import NotSupportedError
from geomarket.hexes.cells import cell_boundaries, points_to_cells
from geomarket.hexes.pieces import ranges
from geomarket.hexes.projection import cylinder_area, to_cylinder
from geomarket.hexes.threads import each_slice

__all__ = ["CellShapes", "candidate_cells", "cell_shapes"]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

MAX_CELLS = 30_000_000
"""Grids larger than this are refused: one column of them takes 240 MB."""

_HEXAGONS_AT_RESOLUTION_0 = 122
_ALL_CELLS_UP_TO = 2
_SMALLEST_CELL = 0.6  # of the mean cell area, near pentagons
_EARTH_KM2 = 510_065_621.7
_KM_A_DEGREE = 111.32
_DRAWN_UP_TO = 86.0
_LATTICE_STEP = 0.6  # of the side of a square as large as the smallest cell
_LATTICE_MARGIN = 3
_LATTICE_ENDS = 89.9
_CELLS_A_TASK = 8_192


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
        m²; NaN for a cell beyond the projection's reach.
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
    """Cells projected; hexagons that are not convex in the plane join the odd ones.

    Cells that reach beyond 86° latitude are neither plain nor among the others: they can't be drawn here, and
    layers that would need them are refused because their shares do not add up.
    """
    corners = np.empty((len(cells), 6, 2))
    plain = np.zeros(len(cells), dtype=bool)
    area = np.full(len(cells), np.nan)
    odd: dict[int, FloatArray] = {}

    def task(part: slice) -> None:
        lon_lat, hexagon, rings = cell_boundaries(cells[part])
        drawn = np.abs(lon_lat[..., 1]).max(axis=1) <= _DRAWN_UP_TO
        plane = to_cylinder(lon_lat)
        edge = np.roll(plane, -1, axis=1) - plane
        following = np.roll(edge, -1, axis=1)
        turn = edge[..., 0] * following[..., 1] - edge[..., 1] * following[..., 0]
        plain[part] = hexagon & drawn & (turn > 0).all(axis=1)
        corners[part], area[part] = plane, cylinder_area(plane)
        rest = zip(np.flatnonzero(~hexagon).tolist(), rings, strict=True)
        odd.update({part.start + i: to_cylinder(r) for i, r in rest if np.abs(r[:, 1]).max() <= _DRAWN_UP_TO})
        for i in np.flatnonzero(hexagon & drawn & ~plain[part]).tolist():
            odd[part.start + i] = plane[i]

    each_slice(task, len(cells), _CELLS_A_TASK)
    corners[~plain] = np.nan
    others = {i: shapely.Polygon(odd[i]) for i in sorted(odd)}
    for i, polygon in others.items():
        area[i] = polygon.area
    return CellShapes(cells, corners, plain, others, area)


def candidate_cells(bounds: FloatArray, resolution: int) -> IntArray:
    """Every cell that may overlap one of the boxes, and some around them.

    A lattice of points in and around the boxes (rows of latitude, each with its own step of longitude) meets
    coarser parents, which are opened into children. The steps are smaller than a parent's inner circle, and the
    lattice goes three of them beyond a box, further than the centre of a parent any of whose children reaches
    into it. That no cell was missed shows later, too: the shares of every area must add up to 1.

    Parameters
    ----------
    bounds : ndarray of shape (n, 4)
        Boxes in degrees: west, south, east, north.
    resolution : int
        H3 resolution.
    """
    if not len(bounds):
        return np.empty(0, dtype=np.int64)
    if resolution <= _ALL_CELLS_UP_TO:
        roots = np.array([0x8001FFFFFFFFFFF + (b << 45) for b in range(_HEXAGONS_AT_RESOLUTION_0)])
        return _children(roots.astype(np.int64), resolution)
    parent = resolution - 1
    mean_km2 = _EARTH_KM2 / (2 + 120 * 7**parent)
    side_km = np.sqrt(mean_km2 * _SMALLEST_CELL)
    step = _LATTICE_STEP * side_km / _KM_A_DEGREE
    points_a_cell = mean_km2 / (step * _KM_A_DEGREE) ** 2 / 7
    lon, lat = _lattice(bounds, step, limit=int(MAX_CELLS * points_a_cell), resolution=resolution)
    return _children(_unique(points_to_cells(lon, lat, parent)), resolution)


def _unique(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """As np.unique, by sorting: several times faster on data that come nearly in order."""
    ordered = np.sort(values, kind="stable")
    fresh = np.ones(len(ordered), dtype=bool)
    fresh[1:] = ordered[1:] != ordered[:-1]
    return ordered[fresh]


def _children(cells: IntArray, resolution: int) -> IntArray:
    """Children of ascending cells, ascending."""
    opened = pa.array(h3ronpy.change_resolution(cells.view(np.uint64), resolution))
    return np.sort(opened.to_numpy(zero_copy_only=False), kind="stable").view(np.int64)


def _lattice(bounds: FloatArray, step: float, limit: int, resolution: int) -> tuple[FloatArray, FloatArray]:
    """Points of a lattice of about ``step`` degrees of latitude, in and around each box, none twice."""
    first = np.floor(bounds[:, 1] / step).astype(np.int64) - _LATTICE_MARGIN
    n_rows = np.ceil(bounds[:, 3] / step).astype(np.int64) + _LATTICE_MARGIN - first + 1
    _refuse_too_many(int(n_rows.sum()), limit, resolution)
    box, row = np.repeat(np.arange(len(bounds)), n_rows), ranges(first, n_rows)
    lon_step = _step_along(row, step)
    left = np.floor(bounds[box, 0] / lon_step).astype(np.int64) - _LATTICE_MARGIN
    right = np.ceil(bounds[box, 2] / lon_step).astype(np.int64) + _LATTICE_MARGIN
    row, left, right = _merged_runs(row, left, right)
    length = right - left + 1
    _refuse_too_many(int(length.sum()), limit, resolution)
    rows = np.repeat(row, length)
    lon = ranges(left, length) * _step_along(rows, step)
    return (lon + 180) % 360 - 180, np.clip(rows * step, -_LATTICE_ENDS, _LATTICE_ENDS)


def _step_along(row: IntArray, step: float) -> FloatArray:
    """Degrees of longitude between the lattice points of a row."""
    return step / np.cos(np.radians(np.clip(row * step, -_LATTICE_ENDS, _LATTICE_ENDS)))


def _merged_runs(row: IntArray, left: IntArray, right: IntArray) -> tuple[IntArray, IntArray, IntArray]:
    """Runs of columns (both ends included) with those of a row that overlap made one."""
    order = np.lexsort((left, row))
    row, left, right = row[order], left[order], right[order]
    # Rows set apart from each other, so that one running maximum serves all of them.
    apart = (row - row.min()) * np.int64(2 * (np.abs(left).max() + np.abs(right).max() + 2))
    reach = np.maximum.accumulate(right + apart) - apart
    fresh = np.ones(len(row), dtype=bool)
    fresh[1:] = (row[1:] != row[:-1]) | (left[1:] > reach[:-1])
    starts = np.flatnonzero(fresh)
    return row[starts], left[starts], reach[np.append(starts[1:], len(row)) - 1]


def _refuse_too_many(points: int, limit: int, resolution: int) -> None:
    if points > limit:
        raise NotSupportedError(
            f"The boxes around the areas hold more than {MAX_CELLS:,} hexagons of resolution {resolution}. Take a "
            "coarser resolution (advise_resolution lists their sizes), or a smaller region."
        )
