"""Whether points lie where the polygons are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import geopandas as gpd
import numpy as np
import pyproj
import shapely

from geomarket.errors import TableError

__all__ = ["Extent", "to_degrees"]

INSIDE, SWAPPED, OUTSIDE = 0, 1, 2

_KM_PER_DEGREE_LON = 111.320
_KM_PER_DEGREE_LAT = 110.574


@dataclass(frozen=True)
class Extent:
    """The land the reference layer of areas covers.

    Distances are measured on a plane tangent at the layer's middle latitude; they are good to a few percent within
    a few hundred kilometres, which is what a test "is this point far outside?" needs.

    Parameters
    ----------
    tree : STRtree
        The polygons, in kilometres on that plane.
    latitude : float
        Middle latitude, degrees.
    """

    tree: Any
    latitude: float

    @classmethod
    def of(cls, frame: gpd.GeoDataFrame) -> Extent:
        """Build the extent of a layer of polygons in any CRS."""
        degrees = frame.geometry.to_crs("EPSG:4326")
        _, south, _, north = degrees.total_bounds
        latitude = float((south + north) / 2)
        scale = np.array([_km_per_lon(latitude), _KM_PER_DEGREE_LAT])
        return cls(shapely.STRtree(shapely.transform(degrees.to_numpy(), lambda xy: xy * scale)), latitude)

    def km_away(self, lon: np.ndarray, lat: np.ndarray) -> np.ndarray:
        """Return the distance to the nearest polygon, 0 inside, NaN where a coordinate is missing.

        Parameters
        ----------
        lon, lat : ndarray of shape (n,)
            Degrees.

        Returns
        -------
        ndarray of shape (n,)
            Kilometres.
        """
        away = np.full(len(lon), np.nan)
        there = np.flatnonzero(np.isfinite(lon) & np.isfinite(lat))
        if len(there) == 0 or len(self.tree) == 0:
            return away
        points = shapely.points(lon[there] * _km_per_lon(self.latitude), lat[there] * _KM_PER_DEGREE_LAT)
        inside = self.tree.query(points, predicate="intersects")[0]
        away[there[inside]] = 0.0
        rest = np.flatnonzero(np.isnan(away[there]))
        (which, _), distance = self.tree.query_nearest(points[rest], return_distance=True, all_matches=False)
        away[there[rest[which]]] = distance
        return away

    def judge(self, lon: np.ndarray, lat: np.ndarray, max_km: float) -> tuple[np.ndarray, np.ndarray]:
        """Tell points that are where they should be from swapped ones and ones far outside.

        Parameters
        ----------
        lon, lat : ndarray of shape (n,)
            Degrees, NaN where missing.
        max_km : float
            Farther than this from every polygon is outside.

        Returns
        -------
        verdict : ndarray of shape (n,)
            0 inside or missing, 1 inside if longitude and latitude were exchanged, 2 outside.
        km : ndarray of shape (n,)
            Distance to the nearest polygon.
        """
        km = self.km_away(lon, lat)
        verdict = np.where(km > max_km, OUTSIDE, INSIDE)
        far = np.flatnonzero(verdict == OUTSIDE)
        if len(far):
            exchanged = self.km_away(lat[far], lon[far])
            verdict[far[exchanged <= max_km]] = SWAPPED
        return verdict, km


def to_degrees(table: str, x: np.ndarray, y: np.ndarray, crs: str) -> tuple[np.ndarray, np.ndarray]:
    """Turn coordinates of any CRS into longitude and latitude (WGS 84).

    Raises
    ------
    TableError
        If the coordinates make no sense in that CRS.
    """
    transformer = pyproj.Transformer.from_crs(crs, "EPSG:4326", always_xy=True)
    lon, lat = transformer.transform(x, y)
    lon, lat = np.asarray(lon, dtype=float), np.asarray(lat, dtype=float)
    given = np.isfinite(x) & np.isfinite(y)
    lost = given & ~(np.isfinite(lon) & np.isfinite(lat))
    if given.any() and lost.sum() > given.sum() / 2:
        raise TableError(f"{table}: the coordinates are not {crs}: most have no place in it. Check crs.")
    return np.where(np.isfinite(lon), lon, np.nan), np.where(np.isfinite(lat), lat, np.nan)


def _km_per_lon(latitude: float) -> float:
    return float(_KM_PER_DEGREE_LON * np.cos(np.radians(latitude)))
