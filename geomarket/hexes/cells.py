"""H3 cells as int64 arrays: from points, to polygons, parents, neighbours, areas.

Everything works on whole arrays. Cells are int64 (an H3 index is below 2**63) in every frame; hexadecimal
strings exist only at the edges (:func:`cell_strings`, :func:`cells_from_strings`).
"""

from __future__ import annotations

from numbers import Integral
from typing import Any

import h3ronpy
import h3ronpy.vector as h3vector
import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import shapely

from geomarket.errors import SettingsError, TableError
from geomarket.hexes.projection import cylinder_area, to_cylinder

__all__ = [
    "cell_areas_km2",
    "cell_centres",
    "cell_polygons",
    "cell_resolutions",
    "cell_strings",
    "cells_from_strings",
    "neighbours",
    "parents",
    "points_to_cells",
]

CellArray = npt.NDArray[np.int64]
FloatArray = npt.NDArray[np.float64]

_RESOLUTION_SHIFT = 52
_RESOLUTION_MASK = 0xF
_DIGIT_BITS = 3
_FINEST = 15
_HEXAGON_WKB_BYTES = 1 + 4 + 4 + 4 + 7 * 16
_HEXAGON_WKB_HEADER = 13


def check_resolution(resolution: int) -> int:
    """Return an H3 resolution (0 to 15) as int or say what is wrong with it."""
    if isinstance(resolution, bool) or not isinstance(resolution, Integral) or not 0 <= resolution <= _FINEST:
        raise SettingsError(f"resolution must be a whole number from 0 to {_FINEST}, got {resolution!r}.")
    return int(resolution)


def check_cells(cells: npt.ArrayLike) -> CellArray:
    """Return cells as an int64 array; anything that is no H3 cell is an error naming the first few."""
    raw = np.asarray(cells)
    if raw.size == 0:
        return np.empty(0, dtype=np.int64)
    if raw.dtype.kind not in "iu":
        raise TableError(
            f"cells must be int64 H3 indexes, got {raw.dtype}. Turn strings such as '88283082b1fffff' into "
            "cells with cells_from_strings; missing values have no cell, so leave them out."
        )
    values = np.ascontiguousarray(raw.astype(np.int64, copy=False))
    valid = pa.array(h3ronpy.cells_valid(values.view(np.uint64), booleanarray=True)).to_numpy(
        zero_copy_only=False
    )
    if not valid.all():
        bad = np.flatnonzero(~valid)
        raise TableError(
            f"cells: {len(bad):,} of {len(values):,} values are not H3 cells (first at positions "
            f"{bad[:3].tolist()}: {values[bad[:3]].tolist()})."
        )
    return values


def points_to_cells(lon: npt.ArrayLike, lat: npt.ArrayLike, resolution: int) -> CellArray:
    """H3 cell of each point.

    Parameters
    ----------
    lon, lat : array-like of shape (n,)
        Degrees (WGS 84). Longitudes from -360 to 360 are taken as they wrap.
    resolution : int
        H3 resolution, 0 to 15; 8 is about 0.74 km² a cell.

    Returns
    -------
    ndarray of int64, shape (n,)

    Raises
    ------
    TableError
        If a coordinate is missing or no place on Earth. Set such rows aside first.

    Examples
    --------
    >>> from geomarket.hexes import cell_strings, points_to_cells
    >>> cell_strings(points_to_cells([-93.62], [41.59], 8)).tolist()
    ['88260d8763fffff']
    """
    resolution = check_resolution(resolution)
    x, y = _lon_lat(lon, lat)
    if not len(x):
        return np.empty(0, dtype=np.int64)
    found = pa.array(h3vector.coordinates_to_cells(y, x, resolution))
    return found.to_numpy(zero_copy_only=False).astype(np.uint64, copy=False).view(np.int64)


def _lon_lat(lon: npt.ArrayLike, lat: npt.ArrayLike) -> tuple[FloatArray, FloatArray]:
    x = np.array(lon, dtype=np.float64).ravel()
    y = np.array(lat, dtype=np.float64).ravel()
    if len(x) != len(y):
        raise TableError(f"points: {len(x):,} longitudes but {len(y):,} latitudes; give one pair a point.")
    missing = ~(np.isfinite(x) & np.isfinite(y))
    if missing.any():
        rows = np.flatnonzero(missing)
        raise TableError(
            f"points: {len(rows):,} of {len(x):,} have a missing coordinate (first at positions "
            f"{rows[:3].tolist()}). A point without coordinates has no cell: set those rows aside first."
        )
    off = (np.abs(y) > 90) | (np.abs(x) > 360)
    if off.any():
        rows = np.flatnonzero(off)
        looks_swapped = bool((np.abs(x) <= 90).all() and (np.abs(y) <= 360).all())
        cure = (
            "Longitude and latitude look swapped: give lon first."
            if looks_swapped
            else "Give degrees (WGS 84), longitude first; project metres to EPSG:4326 before."
        )
        shown = [(float(x[i]), float(y[i])) for i in rows[:3]]
        raise TableError(f"points: {len(rows):,} of {len(x):,} are not on Earth (lon, lat: {shown}). {cure}")
    return x, y


def cell_centres(cells: npt.ArrayLike) -> tuple[FloatArray, FloatArray]:
    """Longitude and latitude (degrees) of each cell's centre.

    Examples
    --------
    >>> from geomarket.hexes import cell_centres, cells_from_strings
    >>> lon, lat = cell_centres(cells_from_strings(["88260d8763fffff"]))
    >>> round(float(lon[0]), 3), round(float(lat[0]), 3)
    (-93.625, 41.591)
    """
    values = check_cells(cells)
    if not len(values):
        return np.empty(0), np.empty(0)
    found = pa.record_batch(h3vector.cells_to_coordinates(values.view(np.uint64)))
    return np.array(found.column("lng"), dtype=np.float64), np.array(found.column("lat"), dtype=np.float64)


def cell_boundaries(cells: CellArray) -> tuple[FloatArray, npt.NDArray[np.bool_], list[FloatArray]]:
    """Corners of cells in lon/lat: hexagons as one array, the odd ones apart.

    Returns
    -------
    corners : ndarray of shape (n, 6, 2)
        Longitude and latitude of the corners, anticlockwise, longitudes of a cell on the antimeridian
        continued beyond 180; NaN for a cell that is no plain hexagon.
    hexagon : ndarray of bool, shape (n,)
    others : list of ndarray of shape (k, 2)
        Corners of the cells that are not plain hexagons (pentagons, and cells cut by an edge of the
        icosahedron, which have extra corners), in order.
    """
    corners = np.full((len(cells), 6, 2), np.nan)
    if not len(cells):
        return corners, np.zeros(0, dtype=bool), []
    wkb = pa.array(h3vector.cells_to_wkb_polygons(cells.view(np.uint64))).cast(pa.large_binary())
    _, offset_buffer, data_buffer = wkb.buffers()
    offsets = np.frombuffer(offset_buffer, dtype=np.int64)[wkb.offset : wkb.offset + len(wkb) + 1]
    data = np.frombuffer(data_buffer, dtype=np.uint8)
    hexagon = np.diff(offsets) == _HEXAGON_WKB_BYTES
    # A plain hexagon is always the same 125 bytes of WKB, so its corners are read straight from the buffer.
    if hexagon.all():
        records = data[offsets[0] : offsets[-1]].reshape(len(cells), _HEXAGON_WKB_BYTES)
    else:
        records = data[offsets[:-1][hexagon, None] + np.arange(_HEXAGON_WKB_BYTES)]
    body = np.ascontiguousarray(records[:, _HEXAGON_WKB_HEADER:]).view("<f8").reshape(-1, 7, 2)
    corners[hexagon] = body[:, :6]
    others = [
        shapely.get_coordinates(shapely.from_wkb(wkb[int(i)].as_py()))[:-1] for i in np.flatnonzero(~hexagon)
    ]
    _continue_over_antimeridian(corners)
    for ring in others:
        _continue_over_antimeridian(ring[None])
    return corners, hexagon, others


def _continue_over_antimeridian(corners: FloatArray) -> None:
    lon = corners[..., 0]
    crossing = np.ptp(lon, axis=1) > 180
    lon[crossing] = np.where(lon[crossing] < 0, lon[crossing] + 360, lon[crossing])


def cell_polygons(cells: npt.ArrayLike) -> npt.NDArray[np.object_]:
    """Polygons of cells in lon/lat (EPSG:4326), as a shapely array.

    A cell on the antimeridian becomes two pieces, one on each side (RFC 7946), so that maps draw it right.

    Examples
    --------
    >>> from geomarket.hexes import cell_polygons, cells_from_strings
    >>> cell_polygons(cells_from_strings(["88260d8763fffff"]))[0].geom_type
    'Polygon'
    """
    values = check_cells(cells)
    corners, hexagon, others = cell_boundaries(values)
    out = np.empty(len(values), dtype=object)
    out[hexagon] = shapely.polygons(corners[hexagon])
    for i, ring in zip(np.flatnonzero(~hexagon), others, strict=True):
        out[i] = shapely.Polygon(ring)
    east = shapely.bounds(out)[:, 2] if len(out) else np.empty(0)
    for i in np.flatnonzero(east > 180):
        out[i] = _cut_at_antimeridian(out[i])
    return out


def _cut_at_antimeridian(polygon: Any) -> Any:
    west = shapely.intersection(polygon, shapely.box(-180, -90, 180, 90))
    east = shapely.intersection(polygon, shapely.box(180, -90, 540, 90))
    moved = shapely.transform(east, lambda xy: xy - np.array([360.0, 0.0]))
    return shapely.MultiPolygon([p for p in (west, moved) if not p.is_empty])


def cell_areas_km2(cells: npt.ArrayLike) -> FloatArray:
    """Area of each cell on the WGS 84 ellipsoid, km² (straight edges in EPSG:6933).

    The same areas the interpolation uses; H3's own figure is for a sphere and differs by up to 1%.

    Examples
    --------
    >>> from geomarket.hexes import cell_areas_km2, cells_from_strings
    >>> cell_areas_km2(cells_from_strings(["88260d8763fffff"])).round(2).tolist()
    [0.73]
    """
    values = check_cells(cells)
    corners, hexagon, others = cell_boundaries(values)
    area = np.empty(len(values))
    area[hexagon] = cylinder_area(to_cylinder(corners[hexagon]))
    for i, ring in zip(np.flatnonzero(~hexagon), others, strict=True):
        area[i] = cylinder_area(to_cylinder(ring)[None])[0]
    return area / 1e6


def cell_resolutions(cells: npt.ArrayLike) -> npt.NDArray[np.int64]:
    """H3 resolution (0 to 15) of each cell.

    Examples
    --------
    >>> from geomarket.hexes import cell_resolutions
    >>> cell_resolutions([613158982088916991]).tolist()
    [8]
    """
    return (check_cells(cells) >> _RESOLUTION_SHIFT) & _RESOLUTION_MASK


def parents(cells: npt.ArrayLike, resolution: int) -> CellArray:
    """Parent of each cell at a coarser (or the same) resolution.

    Examples
    --------
    >>> from geomarket.hexes import cell_strings, cells_from_strings, parents
    >>> cell_strings(parents(cells_from_strings(["88260d8763fffff"]), 6)).tolist()
    ['86260d877ffffff']
    """
    resolution = check_resolution(resolution)
    values = check_cells(cells)
    own = (values >> _RESOLUTION_SHIFT) & _RESOLUTION_MASK
    if (own < resolution).any():
        raise SettingsError(
            f"parents: resolution {resolution} is finer than the cells' own ({int(own.min())}); "
            "a parent is never finer."
        )
    cleared = values & ~np.int64(_RESOLUTION_MASK << _RESOLUTION_SHIFT)
    unused_digits = np.int64((1 << (_DIGIT_BITS * (_FINEST - resolution))) - 1)
    return cleared | np.int64(resolution << _RESOLUTION_SHIFT) | unused_digits


def neighbours(cells: npt.ArrayLike, k: int = 1, among_cells: bool = False) -> pd.DataFrame:
    """Cells within k rings of each cell, without the cell itself.

    Parameters
    ----------
    cells : array-like of int64, shape (n,)
        Each cell once.
    k : int
        Rings, 1 or more.
    among_cells : bool
        True leaves out neighbours that are not in ``cells``.

    Returns
    -------
    DataFrame
        cell, neighbour (int64), ring (1 to k). A pentagon has five neighbours in its first ring.

    Examples
    --------
    >>> from geomarket.hexes import cells_from_strings, neighbours
    >>> neighbours(cells_from_strings(["88260d8763fffff"]), k=2)["ring"].value_counts().to_dict()
    {2: 12, 1: 6}
    """
    if not isinstance(k, int | np.integer) or k < 1:
        raise SettingsError(f"neighbours: k must be a whole number of 1 or more rings, got {k!r}.")
    values = check_cells(cells)
    if len(np.unique(values)) < len(values):
        raise TableError("neighbours: cells holds duplicates; give each cell once (for example np.unique).")
    if not len(values):
        empty = np.empty(0, dtype=np.int64)
        return pd.DataFrame({"cell": empty, "neighbour": empty, "ring": empty})
    disk = pa.record_batch(h3ronpy.grid_disk_distances(values.view(np.uint64), k, flatten=True))
    found = np.array(disk.column("cell"), dtype=np.uint64).view(np.int64)
    ring = np.array(disk.column("k"), dtype=np.int64)
    # The disk of each cell starts with the cell itself at distance 0.
    owner = values[np.cumsum(ring == 0) - 1]
    keep = ring > 0
    if among_cells:
        keep &= np.isin(found, values)
    return pd.DataFrame({"cell": owner[keep], "neighbour": found[keep], "ring": ring[keep]})


def cell_strings(cells: npt.ArrayLike) -> npt.NDArray[np.object_]:
    """Hexadecimal strings of cells, as H3 tools write them.

    Examples
    --------
    >>> from geomarket.hexes import cell_strings
    >>> cell_strings([613158982088916991]).tolist()
    ['88260d8763fffff']
    """
    values = check_cells(cells)
    if not len(values):
        return np.empty(0, dtype=object)
    return np.array(pa.array(h3ronpy.cells_to_string(values.view(np.uint64))).to_pylist(), dtype=object)


def cells_from_strings(strings: npt.ArrayLike) -> CellArray:
    """Cells of hexadecimal strings; the inverse of :func:`cell_strings`.

    Examples
    --------
    >>> from geomarket.hexes import cells_from_strings
    >>> cells_from_strings(["88260d8763fffff"]).tolist()
    [613158982088916991]
    """
    texts = pd.Series(np.asarray(strings, dtype=object)).astype("string")
    if not len(texts):
        return np.empty(0, dtype=np.int64)
    hexadecimal = texts.str.fullmatch(r"[0-9a-fA-F]{15,16}").fillna(False).to_numpy(dtype=bool)
    if not hexadecimal.all():
        bad = np.flatnonzero(~hexadecimal)
        raise TableError(
            f"cells: {len(bad):,} of {len(texts):,} strings are not H3 cells (first at positions "
            f"{bad[:3].tolist()}: {texts.iloc[bad[:3]].tolist()}). Expected 15 hexadecimal digits."
        )
    return check_cells(np.array([int(t, 16) for t in texts], dtype=np.uint64).view(np.int64))
