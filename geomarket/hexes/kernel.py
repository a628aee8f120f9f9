"""Compiled clipping: the area of polygon ∩ cell for every pair whose boxes meet.

A cell is convex, so cutting a ring at its six edges one after another (Sutherland and Hodgman, 1974) leaves a
ring whose *signed area* is right even where the polygon is concave and the cut falls into several parts: the
connecting edges run along the cut line there and back and enclose nothing. Holes are rings of opposite sign.

The functions compile on first use and are cached on disk. They hold no lock and share no state, so pieces are
spread over plain threads; every piece is summed on its own, so the number of threads changes no digit.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numba
import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from geomarket.hexes.pieces import Pieces
from geomarket.hexes.threads import each_slice

__all__ = ["clip_areas", "compiled", "spread"]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

_PIECES_A_TASK = 1_000
_CELLS_A_TASK = 8_192
_CORNER_PRECISION_M = 1e-8
_NEGLIGIBLE_SHARE = 1e-10


def compiled(function: Callable[..., Any]) -> Any:
    """Compile lazily without the interpreter lock, cached on disk where some folder can be written."""
    try:
        return numba.njit(cache=True, nogil=True, error_model="numpy")(function)
    except RuntimeError:
        # Neither the package's folder nor the user's cache folder is writable: compile in every process.
        return numba.njit(nogil=True, error_model="numpy")(function)


@compiled
def _first_not_below(values: FloatArray, start: int, stop: int, limit: float) -> int:
    low, high = start, stop
    while low < high:
        middle = (low + high) // 2
        if values[middle] < limit:
            low = middle + 1
        else:
            high = middle
    return low


@compiled
def _count_pairs(
    boxes: FloatArray,
    rows: FloatArray,
    row_starts: IntArray,
    cell_boxes: FloatArray,
    widest: float,
    row_height: float,
    out: IntArray,
) -> None:
    lefts = cell_boxes[:, 0]
    for p in range(len(boxes)):
        xmin, ymin, xmax, ymax = boxes[p, 0], boxes[p, 1], boxes[p, 2], boxes[p, 3]
        found = 0
        row = _first_not_below(rows, 0, len(rows), np.floor(ymin / row_height) - 1)
        last = np.floor(ymax / row_height)
        while row < len(rows) and rows[row] <= last:
            cell = _first_not_below(lefts, row_starts[row], row_starts[row + 1], xmin - widest)
            while cell < row_starts[row + 1] and lefts[cell] < xmax:
                if cell_boxes[cell, 2] > xmin and cell_boxes[cell, 1] < ymax and cell_boxes[cell, 3] > ymin:
                    found += 1
                cell += 1
            row += 1
        out[p] = found


@compiled
def _clipped_area(
    ring: FloatArray, n: int, corners: FloatArray, front: FloatArray, back: FloatArray
) -> float:
    """Signed area of the ring inside the cell; coordinates are taken from the cell's first corner."""
    x0, y0 = corners[0, 0], corners[0, 1]
    for i in range(n):
        front[i, 0] = ring[i, 0] - x0
        front[i, 1] = ring[i, 1] - y0
    for e in range(6):
        f = (e + 1) % 6
        ax, ay = corners[e, 0] - x0, corners[e, 1] - y0
        dx, dy = corners[f, 0] - corners[e, 0], corners[f, 1] - corners[e, 1]
        lowest, highest = np.inf, -np.inf
        for i in range(n):
            side = dx * (front[i, 1] - ay) - dy * (front[i, 0] - ax)
            front[i, 2] = side
            lowest = min(lowest, side)
            highest = max(highest, side)
        if highest <= 0.0:
            return 0.0
        if lowest >= 0.0:
            continue
        m = 0
        px, py, ps = front[n - 1, 0], front[n - 1, 1], front[n - 1, 2]
        for i in range(n):
            x, y, s = front[i, 0], front[i, 1], front[i, 2]
            if (s > 0.0 and ps < 0.0) or (s < 0.0 and ps > 0.0):
                # From the inner end, so that an edge walked the other way is cut at the same point.
                if s > 0.0:
                    t = s / (s - ps)
                    back[m, 0] = x + t * (px - x)
                    back[m, 1] = y + t * (py - y)
                else:
                    t = ps / (ps - s)
                    back[m, 0] = px + t * (x - px)
                    back[m, 1] = py + t * (y - py)
                m += 1
            if s >= 0.0:
                back[m, 0] = x
                back[m, 1] = y
                m += 1
            px, py, ps = x, y, s
        front, back = back, front
        n = m
        if n < 3:
            return 0.0
    area = 0.0
    bx, by = front[0, 0], front[0, 1]
    for i in range(1, n - 1):
        area += (front[i, 0] - bx) * (front[i + 1, 1] - by) - (front[i + 1, 0] - bx) * (front[i, 1] - by)
    return 0.5 * area


@compiled
def _fill_pairs(
    first: int,
    boxes: FloatArray,
    coords: FloatArray,
    rings: IntArray,
    polygons: IntArray,
    signs: FloatArray,
    rows: FloatArray,
    row_starts: IntArray,
    cell_boxes: FloatArray,
    widest: float,
    row_height: float,
    corners: FloatArray,
    offsets: IntArray,
    out_piece: npt.NDArray[np.int32],
    out_cell: npt.NDArray[np.int32],
    out_area: FloatArray,
) -> None:
    longest = 0
    for p in range(len(boxes)):
        for r in range(polygons[first + p], polygons[first + p + 1]):
            longest = max(longest, rings[r + 1] - rings[r])
    # A cut adds at most half as many corners as it meets; six cuts make less than a factor of 12.
    front = np.empty((12 * longest + 16, 3))
    back = np.empty((12 * longest + 16, 3))
    lefts = cell_boxes[:, 0]
    for p in range(len(boxes)):
        xmin, ymin, xmax, ymax = boxes[p, 0], boxes[p, 1], boxes[p, 2], boxes[p, 3]
        at = offsets[p]
        row = _first_not_below(rows, 0, len(rows), np.floor(ymin / row_height) - 1)
        last = np.floor(ymax / row_height)
        while row < len(rows) and rows[row] <= last:
            cell = _first_not_below(lefts, row_starts[row], row_starts[row + 1], xmin - widest)
            while cell < row_starts[row + 1] and lefts[cell] < xmax:
                if cell_boxes[cell, 2] > xmin and cell_boxes[cell, 1] < ymax and cell_boxes[cell, 3] > ymin:
                    area = 0.0
                    for r in range(polygons[first + p], polygons[first + p + 1]):
                        # The closing corner of a ring is its first one again.
                        n = rings[r + 1] - rings[r] - 1
                        ring = coords[rings[r] : rings[r + 1]]
                        area += signs[r] * _clipped_area(ring, n, corners[cell], front, back)
                    out_piece[at] = first + p
                    out_cell[at] = cell
                    out_area[at] = area
                    at += 1
                cell += 1
            row += 1


class _Rows(NamedTuple):
    """Cells in rows of equal height by their lower edge, within a row by their left edge."""

    rows: FloatArray
    starts: IntArray
    boxes: FloatArray
    widest: float
    height: float


def _in_rows(corners: FloatArray) -> tuple[IntArray, _Rows]:
    boxes = np.hstack([corners.min(axis=1), corners.max(axis=1)])
    height = float((boxes[:, 3] - boxes[:, 1]).max())
    row = np.floor(boxes[:, 1] / height)
    order = np.lexsort((boxes[:, 0], row))
    rows, starts = np.unique(row[order], return_index=True)
    widest = float((boxes[:, 2] - boxes[:, 0]).max())
    return order, _Rows(rows, np.append(starts, len(order)), boxes[order], widest, height)


def _ring_signs(pieces: Pieces) -> FloatArray:
    """What turns a ring's signed area into surface: outer rings count up, holes count down."""
    signs = -np.sign(pieces.ring_areas())
    signs[pieces.polygons[:-1]] *= -1
    return signs


def clip_areas(pieces: Pieces, corners: FloatArray) -> tuple[npt.NDArray[np.int32], IntArray, FloatArray]:
    """Area of piece ∩ cell for every pair that meets.

    Parameters
    ----------
    pieces : Pieces
        Polygons with holes in the plane.
    corners : ndarray of shape (n_cells, 6, 2)
        Convex hexagons, corners anticlockwise.

    Returns
    -------
    piece, cell : ndarray of int, shape (n_pairs,)
        Positions.
    area : ndarray of shape (n_pairs,)
        m². Pairs that only touch, to within the precision of a corner, are left out.
    """
    if not len(pieces) or not len(corners):
        return np.empty(0, dtype=np.int32), np.empty(0, dtype=np.int64), np.empty(0)
    order, where = _in_rows(corners)
    corners = np.ascontiguousarray(corners[order])
    boxes, signs = pieces.bounds(), _ring_signs(pieces)
    counts = np.empty(len(pieces), dtype=np.int64)
    _count_pairs(boxes, *where, counts)
    offsets, total = np.cumsum(counts) - counts, int(counts.sum())
    piece, cell = np.empty(total, dtype=np.int32), np.empty(total, dtype=np.int32)
    area = np.empty(total)

    def task(part: slice) -> None:
        outlines = (part.start, boxes[part], pieces.coords, pieces.rings, pieces.polygons, signs)
        _fill_pairs(*outlines, *where, corners, offsets[part], piece, cell, area)

    each_slice(task, len(pieces), _PIECES_A_TASK)
    rim = _CORNER_PRECISION_M * 2 * (where.widest + where.height)
    meets = area > np.minimum(rim, _NEGLIGIBLE_SHARE * pieces.areas()[piece])
    return piece[meets], order[cell[meets]], area[meets]


@compiled
def _spread_rows(
    first: int,
    last: int,
    starts: npt.NDArray[np.int32],
    areas: npt.NDArray[np.int32],
    shares: FloatArray,
    amounts: FloatArray,
    out: FloatArray,
) -> None:
    n_amounts = amounts.shape[1]
    held = np.empty(n_amounts)
    for cell in range(first, last):
        held[:] = 0.0
        for k in range(starts[cell], starts[cell + 1]):
            share, area = shares[k], areas[k]
            for j in range(n_amounts):
                held[j] += share * amounts[area, j]
        for j in range(n_amounts):
            out[j, cell] = held[j]


def spread(shares: sp.csr_array, amounts: FloatArray) -> FloatArray:
    """Amounts of areas handed to cells: the product ``shares @ amounts``, one contiguous row an amount.

    Parameters
    ----------
    shares : scipy CSR array of shape (n_cells, n_areas)
        Share of each area in each cell.
    amounts : ndarray of shape (n_areas, n_amounts)
        One column an amount, no NaN.

    Returns
    -------
    ndarray of shape (n_amounts, n_cells)
    """
    out = np.empty((amounts.shape[1], shares.shape[0]))
    amounts = np.ascontiguousarray(amounts)

    def task(part: slice) -> None:
        _spread_rows(part.start, part.stop, shares.indptr, shares.indices, shares.data, amounts, out)

    each_slice(task, shares.shape[0], _CELLS_A_TASK)
    return out
