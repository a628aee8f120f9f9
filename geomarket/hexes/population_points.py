"""Dasymetric interpolation: an area's mass goes where its population points are."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import scipy.sparse as sp
import shapely

from geomarket.errors import TableError
from geomarket.hexes.cells import cell_areas_km2, points_to_cells
from geomarket.hexes.layers import PreparedLayer
from geomarket.hexes.overlaps import Overlaps
from geomarket.hexes.projection import CIRCUMFERENCE, to_cylinder

__all__ = ["check_points", "spread_by_points"]

IntArray = npt.NDArray[np.int64]


def check_points(points: pd.DataFrame) -> pd.DataFrame:
    """Population points, sorted, or an error that says what is wrong with them."""
    absent = [c for c in ("lon", "lat", "weight") if c not in points.columns]
    if absent:
        raise TableError(f"points: no column {', '.join(absent)}. Expected lon, lat and weight.")
    out = points[["lon", "lat", "weight"]].astype(np.float64)
    values = out.to_numpy()
    bad = ~np.isfinite(values).all(axis=1) | (values[:, 2] < 0)
    if bad.any():
        rows = np.flatnonzero(bad)
        raise TableError(
            f"points: {len(rows):,} of {len(out):,} rows have a missing or negative lon, lat or weight (first "
            f"{rows[:3].tolist()}, 0-based). Leave those rows out, or give the weight as 0."
        )
    return out.sort_values(["lon", "lat", "weight"], ignore_index=True)


def spread_by_points(
    layer: PreparedLayer,
    overlaps: Overlaps,
    points: pd.DataFrame,
    resolution: int,
    checks: list[dict[str, Any]],
) -> Overlaps:
    """Replace the shares of areas that hold weighted points; the others keep their split by surface.

    A point on the border of several areas belongs to the first of them by ``area_id``.
    """
    table = check_points(points)
    weight = table["weight"].to_numpy()
    point, area = _points_in_areas(layer, table)
    _refuse_swapped(layer, table, len(point))
    heavy = weight[point] > 0
    point, area = point[heavy], area[heavy]
    found = points_to_cells(table["lon"].to_numpy()[point], table["lat"].to_numpy()[point], resolution)
    by_area = np.bincount(area, weights=weight[point], minlength=len(layer.area_ids))
    has_points = by_area > 0
    cells = np.union1d(overlaps.cells, found)
    at = np.searchsorted(cells, overlaps.cells)
    kept = overlaps.shares.tocoo()
    by_surface = ~has_points[kept.col]
    rows = np.concatenate([at[kept.row[by_surface]], np.searchsorted(cells, found)])
    columns = np.concatenate([kept.col[by_surface], area])
    shares = np.concatenate([kept.data[by_surface], weight[point] / by_area[area]])
    matrix = sp.coo_array((shares, (rows, columns)), shape=(len(cells), len(layer.area_ids))).tocsr()
    coverage, km2 = np.zeros(len(cells)), cell_areas_km2(cells)
    coverage[at] = overlaps.coverage
    _note_points(layer, table, point, has_points, checks)
    return Overlaps(cells, sp.csr_array(matrix), coverage, km2, overlaps.closure)


def _points_in_areas(layer: PreparedLayer, table: pd.DataFrame) -> tuple[IntArray, IntArray]:
    """Position of each point that lies in an area, and of that area."""
    # A piece that reaches beyond the antimeridian is also looked for one turn back.
    pieces = layer.pieces
    beyond = pieces.bounds()[:, 2] > CIRCUMFERENCE / 2
    if beyond.any():
        pieces = pieces.joined(pieces.moved(beyond, -CIRCUMFERENCE))
    plane = to_cylinder(table[["lon", "lat"]].to_numpy())
    # Only where needed: the sum would shift a point that lies exactly on a border.
    plane[plane[:, 0] > CIRCUMFERENCE / 2, 0] -= CIRCUMFERENCE
    plane[plane[:, 0] < -CIRCUMFERENCE / 2, 0] += CIRCUMFERENCE
    point, piece = shapely.STRtree(pieces.shapes()).query(shapely.points(plane), predicate="intersects")
    owner = pieces.owner[piece]
    order = np.lexsort((owner, point))
    point, owner = point[order], owner[order]
    first = np.ones(len(point), dtype=bool)
    first[1:] = point[1:] != point[:-1]
    return point[first], owner[first]


def _refuse_swapped(layer: PreparedLayer, table: pd.DataFrame, n_inside: int) -> None:
    if n_inside or not len(table) or (table["lon"].abs() > 90).any():
        return
    turned = table.rename(columns={"lon": "lat", "lat": "lon"})
    if len(_points_in_areas(layer, turned)[0]):
        raise TableError(
            f"points: none of {len(table):,} points lies in an area of '{layer.name}', but with longitude and "
            "latitude exchanged they do. Swap the columns lon and lat."
        )


def _note_points(
    layer: PreparedLayer,
    table: pd.DataFrame,
    point: IntArray,
    has_points: npt.NDArray[np.bool_],
    checks: list[dict[str, Any]],
) -> None:
    without = int((~has_points).sum())
    if without:
        checks.append(
            {
                "layer": layer.name, "check": "no population point", "areas": without,
                "km2": float(layer.area[~has_points].sum() / 1e6),
                "message": "no weighted point lies in them: their mass was split by surface",
            }
        )  # fmt: skip
    total = float(table["weight"].sum())
    outside = total - float(table["weight"].to_numpy()[point].sum())
    if total > 0 and outside > 1e-9 * total:
        checks.append(
            {
                "layer": layer.name, "check": "points outside", "areas": 0, "km2": np.nan,
                "message": f"{outside / total:.2%} of the points' weight lies in no area and was not used",
            }
        )  # fmt: skip
