"""Polygon layers made ready to be laid over cells: checked, repaired, projected, taken apart into pieces.

What was found and done is counted in ``checks``; nothing is dropped. An area without a geometry keeps its row,
and its mass is reported as not placed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import geopandas as gpd
import numpy as np
import numpy.typing as npt
import pandas as pd
import pyproj
import shapely

from geomarket.errors import NotSupportedError, TableError
from geomarket.hexes.pieces import Pieces
from geomarket.hexes.projection import MAX_LATITUDE, to_cylinder
from geomarket.market.model import AreaLayer

__all__ = ["CHECK_COLUMNS", "PreparedLayer", "prepare_layer"]

CHECK_COLUMNS = ["layer", "check", "areas", "km2", "message"]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

_POLYGON, _MULTIPOLYGON, _POINT, _MULTIPOINT, _COLLECTION = 3, 6, 0, 4, 7
_NO_SURFACE_M2 = 1e-2
_LONGEST_EDGE_M = 10_000.0
_METRES_A_DEGREE = 111_320.0


@dataclass(frozen=True)
class PreparedLayer:
    """A layer in the equal-area plane, areas sorted by ``area_id`` so that row order plays no part.

    Attributes
    ----------
    name : str
    area_ids : ndarray of str
    order : ndarray of int
        Row of the layer's frame each area came from.
    pieces : Pieces
    area : ndarray of float
        Area of each area, m²; 0 where it has no surface.
    spots : dict of int to ndarray of shape (k, 2)
        Areas without a surface (points, or less than 100 cm²): where they are, lon/lat degrees.
    checks : list of dict
        One row a check that found something (columns ``CHECK_COLUMNS``).
    """

    name: str
    area_ids: npt.NDArray[np.object_]
    order: IntArray
    pieces: Pieces
    area: FloatArray
    spots: dict[int, FloatArray]
    checks: list[dict[str, Any]]


def prepare_layer(layer: AreaLayer) -> PreparedLayer:
    """Check a layer's geometry, repair and project it.

    Raises
    ------
    TableError
        No CRS, no or repeated ``area_id``, lines instead of polygons, coordinates that don't fit the CRS or
        look swapped.
    NotSupportedError
        Polygons beyond 85° latitude or around a pole.
    """
    frame = _checked_frame(layer)
    order = np.argsort(frame["area_id"].astype(str).to_numpy(), kind="stable")
    checks: list[dict[str, Any]] = []
    geometry = np.asarray(frame.geometry.to_numpy(), dtype=object)[order]
    placed = ~(shapely.is_missing(geometry) | shapely.is_empty(geometry))
    if not placed.all():
        _note(checks, layer, "no geometry", int((~placed).sum()), 0.0, "their mass could not be placed")
    points, polygons, owner = _taken_apart(layer, geometry, placed)
    polygons, owner = _in_plane(layer, frame.crs, polygons, owner, checks)
    pieces = Pieces.of(polygons, owner)
    area = np.zeros(len(geometry))
    np.add.at(area, pieces.owner, pieces.areas())
    spots = _spots(layer, frame.crs, points, pieces, area, placed, geometry, checks)
    keep = area[pieces.owner] > 0
    if not keep.all():
        pieces = pieces.take(np.flatnonzero(keep))
    ids = frame["area_id"].astype(str).to_numpy(dtype=object)[order]
    return PreparedLayer(layer.name, ids, order, pieces, area, spots, checks)


def _note(
    checks: list[dict[str, Any]], layer: AreaLayer, check: str, areas: int, km2: float, message: str
) -> None:
    checks.append({"layer": layer.name, "check": check, "areas": areas, "km2": km2, "message": message})


def _checked_frame(layer: AreaLayer) -> gpd.GeoDataFrame:
    frame = layer.frame
    if not isinstance(frame, gpd.GeoDataFrame):
        raise TableError(
            f"areas '{layer.name}': expected a GeoDataFrame with a geometry column, got {type(frame).__name__}."
        )
    if not len(frame):
        raise TableError(f"areas '{layer.name}': the layer has no rows.")
    if "area_id" not in frame.columns:
        raise TableError(
            f"areas '{layer.name}': no column area_id (columns: {', '.join(map(str, frame.columns[:6]))} …). "
            "Rename the column that identifies an area."
        )
    if frame["area_id"].isna().any():
        rows = np.flatnonzero(frame["area_id"].isna().to_numpy())
        raise TableError(f"areas '{layer.name}': area_id is missing in rows {rows[:3].tolist()} (0-based).")
    twice = frame["area_id"].astype(str).duplicated(keep=False)
    if twice.any():
        shown = ", ".join(frame["area_id"].astype(str)[twice].unique()[:3])
        raise TableError(
            f"areas '{layer.name}': {int(twice.sum()):,} of {len(frame):,} rows repeat an area_id ({shown}). "
            "Dissolve pieces of one area into one row first."
        )
    if frame.crs is None:
        raise TableError(
            f"areas '{layer.name}': the layer has no coordinate reference system, so its coordinates could "
            "mean anything. Look it up at the publisher and set it: frame.set_crs('EPSG:…')."
        )
    _check_coordinates(layer, frame)
    return frame


def _check_coordinates(layer: AreaLayer, frame: gpd.GeoDataFrame) -> None:
    bounds = frame.total_bounds
    if np.isnan(bounds).all():
        raise TableError(f"areas '{layer.name}': not one of {len(frame):,} rows has a geometry.")
    xmin, ymin, xmax, ymax = (float(b) for b in bounds)
    shown = f"x from {xmin:g} to {xmax:g}, y from {ymin:g} to {ymax:g}"
    if not np.isfinite(bounds).all():
        raise TableError(f"areas '{layer.name}': coordinates are not finite ({shown}).")
    if frame.crs.is_geographic:
        if max(abs(ymin), abs(ymax)) > 90 and max(abs(xmin), abs(xmax)) <= 90:
            raise TableError(
                f"areas '{layer.name}': longitude and latitude look swapped ({shown}). x must be longitude; "
                "turn them round with geometry.map(lambda g: shapely.transform(g, lambda c: c[:, ::-1]))."
            )
        if max(abs(ymin), abs(ymax)) > 90 or max(abs(xmin), abs(xmax)) > 540:
            raise TableError(
                f"areas '{layer.name}': the CRS ({frame.crs.to_string()[:40]}) says degrees but the coordinates "
                f"are no degrees ({shown}). Set the CRS they were drawn in: frame.set_crs('EPSG:…', "
                "allow_override=True)."
            )
    elif max(abs(xmin), abs(xmax)) <= 360 and max(abs(ymin), abs(ymax)) <= 90:
        raise TableError(
            f"areas '{layer.name}': the CRS ({frame.crs.to_string()[:40]}) is in metres or feet but the "
            f"coordinates look like degrees ({shown}). Probably frame.set_crs('EPSG:4326', allow_override=True)."
        )


def _taken_apart(
    layer: AreaLayer, geometry: npt.NDArray[np.object_], placed: npt.NDArray[np.bool_]
) -> tuple[dict[int, Any], npt.NDArray[np.object_], IntArray]:
    """Points by area, and single polygons with the area each belongs to."""
    flat, owner = shapely.get_parts(geometry[placed], return_index=True)
    owner = np.flatnonzero(placed)[owner]
    if (shapely.get_type_id(flat) == _COLLECTION).any() or (shapely.get_type_id(flat) == _MULTIPOLYGON).any():
        flat, inner = shapely.get_parts(flat, return_index=True)
        owner = owner[inner]
    kind = shapely.get_type_id(flat)
    known = (kind == _POLYGON) | (kind == _POINT)
    solid = np.zeros(len(geometry), dtype=bool)
    solid[owner[known]] = True
    lines = placed & ~solid
    if lines.any():
        rows = np.flatnonzero(lines)
        raise TableError(
            f"areas '{layer.name}': {len(rows):,} of {len(geometry):,} geometries are neither polygons nor "
            f"points ({shapely.from_wkb(shapely.to_wkb(geometry[rows[0]])).geom_type} …). Give polygons."
        )
    polygon = (kind == _POLYGON) & ~shapely.is_empty(flat)
    with_polygon = np.zeros(len(geometry), dtype=bool)
    with_polygon[owner[polygon]] = True
    points: dict[int, Any] = {}
    for i in np.flatnonzero((kind == _POINT) & ~with_polygon[owner]):
        points.setdefault(int(owner[i]), []).append(flat[i])
    return points, shapely.force_2d(flat[polygon]), owner[polygon]


def _in_plane(
    layer: AreaLayer,
    crs: pyproj.CRS,
    polygons: npt.NDArray[np.object_],
    owner: IntArray,
    checks: list[dict[str, Any]],
) -> tuple[npt.NDArray[np.object_], IntArray]:
    """Repair, densify and project single polygons."""
    if not len(polygons):
        return polygons, owner
    if crs.is_geographic:
        polygons = _unwrapped(layer, polygons)
    polygons, owner = _repaired(layer, polygons, owner, checks)
    polygons = _densified(polygons, crs)
    flat = _unwrapped(layer, _to_degrees(layer, polygons, crs))
    _refuse_poles(layer, flat)
    polygons, owner = _repaired(layer, shapely.transform(flat, to_cylinder), owner, None)
    return _parts_united(layer, polygons, owner, checks)


def _repaired(
    layer: AreaLayer,
    polygons: npt.NDArray[np.object_],
    owner: IntArray,
    checks: list[dict[str, Any]] | None,
) -> tuple[npt.NDArray[np.object_], IntArray]:
    """Invalid polygons made valid; what was found is counted where ``checks`` is given."""
    invalid = ~shapely.is_valid(polygons)
    if not invalid.any():
        return polygons, owner
    fixed = shapely.make_valid(polygons[invalid], method="structure", keep_collapsed=False)
    if checks is not None:
        reasons = pd.Series(shapely.is_valid_reason(polygons[invalid])).str.split("[", regex=False).str[0]
        common = ", ".join(f"{k} {v}" for k, v in reasons.value_counts().sort_index().items())
        _note(
            checks, layer, "invalid polygons", len(np.unique(owner[invalid])), np.nan, f"repaired ({common})"
        )
    parts, index = shapely.get_parts(fixed, return_index=True)
    if (shapely.get_type_id(parts) == _MULTIPOLYGON).any():
        parts, inner = shapely.get_parts(parts, return_index=True)
        index = index[inner]
    solid = (shapely.get_type_id(parts) == _POLYGON) & ~shapely.is_empty(parts)
    new_owner = owner[invalid][index[solid]]
    polygons = np.concatenate([polygons[~invalid], parts[solid]])
    owner = np.concatenate([owner[~invalid], new_owner])
    order = np.argsort(owner, kind="stable")
    return polygons[order], owner[order]


def _parts_united(
    layer: AreaLayer, polygons: npt.NDArray[np.object_], owner: IntArray, checks: list[dict[str, Any]]
) -> tuple[npt.NDArray[np.object_], IntArray]:
    """Parts of one area that lie over each other united, so that no ground counts twice."""
    several = np.flatnonzero(np.bincount(owner)[owner] > 1) if len(owner) else owner
    if not len(several):
        return polygons, owner
    owners, dense = np.unique(owner[several], return_inverse=True)
    multi = shapely.multipolygons(polygons[several], indices=dense)
    invalid = ~shapely.is_valid(multi)
    if not invalid.any():
        return polygons, owner
    whole = [_one_surface(shapely.get_parts(m)) for m in multi[invalid]]
    change = float(shapely.area(whole).sum() - shapely.area(multi[invalid]).sum())
    _note(
        checks, layer, "overlapping parts", int(invalid.sum()), abs(change) / 1e6,
        "parts of one area lay over each other: a part inside another was taken as a hole, others were united",
    )  # fmt: skip
    parts, index = shapely.get_parts(np.array(whole, dtype=object), return_index=True)
    keep = ~np.isin(owner, owners[invalid])
    polygons = np.concatenate([polygons[keep], parts])
    owner = np.concatenate([owner[keep], owners[invalid][index]])
    order = np.argsort(owner, kind="stable")
    return polygons[order], owner[order]


def _one_surface(parts: npt.NDArray[np.object_]) -> Any:
    """Parts made one valid surface: nested ones are holes that lost their tag, others are united."""
    parts = parts[np.argsort(-shapely.area(parts), kind="stable")]
    surface = parts[0]
    for part in parts[1:]:
        nested = shapely.area(shapely.difference(part, surface)) < _NO_SURFACE_M2
        surface = shapely.difference(surface, part) if nested else shapely.union(surface, part)
    return surface


def _densified(polygons: npt.NDArray[np.object_], crs: pyproj.CRS) -> npt.NDArray[np.object_]:
    """Corners added along edges longer than 10 km, which bend when projected."""
    longest = _LONGEST_EDGE_M / _metres_a_unit(crs)
    bounds = shapely.bounds(polygons)
    large = (bounds[:, 2] - bounds[:, 0] > longest) | (bounds[:, 3] - bounds[:, 1] > longest)
    if not large.any():
        return polygons
    out = polygons.copy()
    out[large] = shapely.segmentize(polygons[large], longest)
    return out


def _metres_a_unit(crs: pyproj.CRS) -> float:
    if crs.is_geographic:
        return _METRES_A_DEGREE
    return float(crs.axis_info[0].unit_conversion_factor or 1.0)


def _to_degrees(layer: AreaLayer, geometry: npt.NDArray[np.object_], crs: pyproj.CRS) -> Any:
    if crs.to_epsg() == 4326:
        return geometry
    transformer = pyproj.Transformer.from_crs(crs, 4326, always_xy=True)

    def to_degrees(xy: FloatArray) -> FloatArray:
        return np.column_stack(transformer.transform(xy[:, 0], xy[:, 1]))

    out = shapely.transform(geometry, to_degrees)
    if not np.isfinite(shapely.get_coordinates(out)).all():
        raise TableError(
            f"areas '{layer.name}': some coordinates lie outside what the CRS ({crs.to_string()[:40]}) covers. "
            "Check that the CRS is the one the layer was drawn in."
        )
    return out


def _unwrapped(layer: AreaLayer, polygons: npt.NDArray[np.object_]) -> npt.NDArray[np.object_]:
    """Rings that jump from 180° to -180° made continuous; each polygon starts within [-180, 180)."""
    _, coords, (rings, starts) = shapely.to_ragged_array(polygons)
    step = np.diff(coords[:, 0], append=coords[-1:, 0])
    step[rings[1:] - 1] = 0.0
    jump = (np.abs(step) > 180) & (np.abs(step) < 359.999)
    first = coords[rings[starts[:-1]], 0]
    if not jump.any() and first.min() >= -180 and coords[:, 0].max() <= 180:
        return polygons
    coords = coords.copy()
    turns = np.where(jump, -np.round(step / 360), 0.0)
    for r in np.unique(np.searchsorted(rings, np.flatnonzero(jump), side="right") - 1):
        part = slice(rings[r], rings[r + 1])
        moved = np.concatenate([[0.0], np.cumsum(turns[part])[:-1]]) * 360
        coords[part, 0] += moved
        if abs(coords[rings[r + 1] - 1, 0] - coords[rings[r], 0]) > 180:
            raise NotSupportedError(
                f"areas '{layer.name}': a polygon goes round a pole, which this projection can't draw. "
                f"Cut it at {MAX_LATITUDE:g}° latitude and at the antimeridian."
            )
    low = np.minimum.reduceat(coords[:, 0], rings[:-1])
    outer = starts[:-1]
    # Whole turns: the outer ring starts in [-180, 180), its holes lie within the outer ring.
    shift = np.zeros(len(rings) - 1)
    shift[outer] = -360 * np.floor((low[outer] + 180) / 360)
    outer_of = np.repeat(outer, np.diff(starts))
    outer_low = low[outer_of] + shift[outer_of]
    hole = np.ones(len(shift), dtype=bool)
    hole[outer] = False
    shift[hole] = 360 * np.ceil((outer_low[hole] - low[hole]) / 360 - 1e-12)
    coords[:, 0] += np.repeat(shift, np.diff(rings))
    return shapely.from_ragged_array(shapely.GeometryType.POLYGON, coords, (rings, starts))


def _refuse_poles(layer: AreaLayer, polygons: npt.NDArray[np.object_]) -> None:
    bounds = shapely.bounds(polygons)
    beyond = (bounds[:, 3] > MAX_LATITUDE) | (bounds[:, 1] < -MAX_LATITUDE)
    if beyond.any():
        raise NotSupportedError(
            f"areas '{layer.name}': {int(beyond.sum()):,} polygons reach beyond {MAX_LATITUDE:g}° latitude, "
            "where the equal-area projection can't be used. Leave them out or clip them."
        )


def _spots(
    layer: AreaLayer,
    crs: pyproj.CRS,
    points: dict[int, Any],
    pieces: Pieces,
    area: FloatArray,
    placed: npt.NDArray[np.bool_],
    geometry: npt.NDArray[np.object_],
    checks: list[dict[str, Any]],
) -> dict[int, FloatArray]:
    """Where areas without a surface are; ``area`` of those is set to 0."""
    spots: dict[int, FloatArray] = {}
    for i, found in points.items():
        flat = _to_degrees(layer, np.array(found, dtype=object), crs)
        spots[i] = _on_the_globe(shapely.get_coordinates(flat))
    thin = placed & (area < _NO_SURFACE_M2)
    thin[list(points)] = False
    area[thin] = 0.0
    for i in np.flatnonzero(thin).tolist():
        centre = shapely.get_coordinates(geometry[i])[:1]
        flat = _to_degrees(layer, shapely.points(centre), crs)
        spots[i] = _on_the_globe(shapely.get_coordinates(flat))
    if points:
        _note(
            checks,
            layer, "points", len(points), 0.0,
            "areas given as points: the whole mass sits in the hexagon of the point",
        )  # fmt: skip
    if thin.any():
        _note(
            checks,
            layer, "no surface", int(thin.sum()), 0.0,
            "polygons of less than 100 cm²: the whole mass sits in one hexagon",
        )  # fmt: skip
    return spots


def _on_the_globe(lon_lat: FloatArray) -> FloatArray:
    out = lon_lat.copy()
    out[:, 0] = (out[:, 0] + 180) % 360 - 180
    return out
