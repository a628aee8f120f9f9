"""How much of each area lies in each cell: one sparse matrix a layer, which then serves every variable."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp
import shapely

from geomarket.errors import NotSupportedError
from geomarket.hexes.cells import points_to_cells
from geomarket.hexes.covering import CellShapes, candidate_cells, cell_shapes
from geomarket.hexes.kernel import clip_areas
from geomarket.hexes.layers import PreparedLayer
from geomarket.hexes.pieces import Pieces, halved
from geomarket.hexes.projection import CIRCUMFERENCE, from_cylinder_x, latitude_of

__all__ = ["CLOSURE_LIMIT", "Overlaps", "overlap_shares", "reference_areas"]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

CLOSURE_LIMIT = 1e-6
"""How far the shares of one area may be from adding up to 1 before its layer is refused."""


@dataclass(frozen=True)
class Overlaps:
    """Shares of areas in cells.

    Attributes
    ----------
    cells : ndarray of int64, shape (n_cells,)
        Every cell any area overlaps, ascending.
    shares : scipy CSR array of shape (n_cells, n_areas)
        Share of each area's mass that belongs to each cell; columns add up to 1 (0 for an area without
        geometry).
    coverage : ndarray of shape (n_cells,)
        Share of each cell's surface that the layer covers; above 1 where areas lie over each other.
    cell_km2 : ndarray of shape (n_cells,)
    closure : float
        Largest distance of a column sum from 1, as measured.
    """

    cells: IntArray
    shares: sp.csr_array
    coverage: FloatArray
    cell_km2: FloatArray
    closure: float


def overlap_shares(layer: PreparedLayer, resolution: int) -> Overlaps:
    """Exact share of each area in each cell, in the equal-area plane.

    Raises
    ------
    NotSupportedError
        If the shares of an area do not add up to 1 (cells beyond the projection's reach), or the grid would be
        too large.
    """
    shapes = cell_shapes(candidate_cells(_boxes(layer), resolution))
    area_of, cell, met = _areas_met(layer.pieces, shapes)
    n_areas, n_cells = len(layer.area_ids), len(shapes.cells)
    closure = _closure(layer, np.bincount(area_of, weights=met, minlength=n_areas))
    covered = np.bincount(cell, weights=met, minlength=n_cells)
    share = met / layer.area[area_of]
    if layer.spots:
        area_of, cell, share = _with_spots(layer, shapes.cells, resolution, area_of, cell, share)
    used = np.zeros(n_cells, dtype=bool)
    used[cell] = True
    position = (np.cumsum(used) - 1).astype(np.int32)
    kept = int(used.sum())
    shares = sp.coo_array((share, (position[cell], area_of.astype(np.int32))), shape=(kept, n_areas)).tocsr()
    return Overlaps(
        shapes.cells[used],
        sp.csr_array(shares),
        covered[used] / shapes.area[used],
        shapes.area[used] / 1e6,
        closure,
    )


def _boxes(layer: PreparedLayer) -> FloatArray:
    """Boxes in degrees around everything the layer holds."""
    bounds = layer.pieces.bounds()
    boxes = np.column_stack(
        [
            from_cylinder_x(bounds[:, 0]),
            latitude_of(bounds[:, 1]),
            from_cylinder_x(bounds[:, 2]),
            latitude_of(bounds[:, 3]),
        ]
    )
    if not layer.spots:
        return boxes
    spots = np.vstack(list(layer.spots.values()))
    return np.vstack([boxes, np.hstack([spots, spots])])


def _closure(layer: PreparedLayer, total: npt.NDArray[Any]) -> float:
    """Largest relative difference between what the cells hold of an area and its surface."""
    solid = np.flatnonzero(layer.area > 0)
    if not len(solid):
        return 0.0
    held = total[solid] / layer.area[solid]
    worst = int(np.argmax(np.abs(held - 1)))
    closure = float(abs(held[worst] - 1))
    if closure > CLOSURE_LIMIT:
        raise NotSupportedError(
            f"areas '{layer.name}': the hexagons hold {held[worst]:.6f} of area {layer.area_ids[solid[worst]]} "
            "instead of all of it. Near a pole, or at a very coarse resolution, the grid can't be drawn in the "
            "equal-area plane; take a finer resolution or clip the layer."
        )
    return closure


def _areas_met(pieces: Pieces, shapes: CellShapes) -> tuple[npt.NDArray[Any], npt.NDArray[Any], FloatArray]:
    """Area of piece ∩ cell: owner of the piece, position of the cell, m².

    Plain hexagons go through the compiled kernel, the others through shapely.
    """
    pieces = _around_the_seam(pieces, shapes)
    pieces = halved(pieces, float(np.nanmedian(shapes.area)) if len(shapes.area) else 1.0)
    plain = np.flatnonzero(shapes.plain)
    every = len(plain) == len(shapes.plain)
    piece, cell, area = clip_areas(pieces, shapes.corners if every else shapes.corners[plain])
    if not shapes.others:
        return pieces.owner[piece], cell if every else plain[cell], area
    odd = np.array(list(shapes.others), dtype=np.int64)
    polygons = np.array(list(shapes.others.values()), dtype=object)
    more_piece, more_cell, more_area = reference_areas(pieces, polygons)
    return (
        pieces.owner[np.concatenate([piece, more_piece])],
        np.concatenate([plain[cell], odd[more_cell]]),
        np.concatenate([area, more_area]),
    )


def reference_areas(
    pieces: Pieces, polygons: npt.NDArray[np.object_]
) -> tuple[IntArray, IntArray, FloatArray]:
    """Area of piece ∩ polygon by shapely for every pair that meets: piece, polygon (positions), m².

    The checked reference of the compiled kernel, and the road for cells that are no plain hexagons.
    """
    shapes = pieces.shapes()
    piece, cell = shapely.STRtree(polygons).query(shapes)
    area = shapely.area(shapely.intersection(shapes[piece], polygons[cell]))
    meets = area > 0
    return piece[meets], cell[meets], area[meets]


def _around_the_seam(pieces: Pieces, shapes: CellShapes) -> Pieces:
    """Pieces at the antimeridian, copied to its other side.

    Cells are drawn once, those on the seam to the east of 180°. A piece that reaches beyond 180° also meets
    cells at -180°, and a piece at -180° also meets the cells on the seam.
    """
    seam = CIRCUMFERENCE / 2
    bounds = pieces.bounds()
    if not len(bounds):
        return pieces
    east = np.nanmax(shapes.corners[..., 0], initial=-np.inf)
    east = max([east, *(p.bounds[2] for p in shapes.others.values())])
    out = pieces
    beyond = bounds[:, 2] > seam
    if beyond.any():
        out = out.joined(pieces.moved(beyond, -CIRCUMFERENCE))
    before = bounds[:, 0] < east - CIRCUMFERENCE
    if before.any():
        out = out.joined(pieces.moved(before, CIRCUMFERENCE))
    return out


def _with_spots(
    layer: PreparedLayer,
    cells: IntArray,
    resolution: int,
    area_of: npt.NDArray[Any],
    cell: npt.NDArray[Any],
    share: FloatArray,
) -> tuple[npt.NDArray[Any], npt.NDArray[Any], FloatArray]:
    """Areas without a surface: their mass goes to the cells of their points, in equal parts."""
    counts = [len(places) for places in layer.spots.values()]
    places = np.vstack(list(layer.spots.values()))
    found = np.searchsorted(cells, points_to_cells(places[:, 0], places[:, 1], resolution))
    owner = np.repeat(np.array(list(layer.spots), dtype=np.int64), counts)
    return (
        np.concatenate([area_of, owner]),
        np.concatenate([cell, found]),
        np.concatenate([share, np.repeat(1 / np.array(counts, dtype=np.float64), counts)]),
    )
