"""Which stores each cell can reach, and how far they are."""

from __future__ import annotations

import logging

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.spatial import cKDTree

from geomarket.errors import SettingsError, TableError

__all__ = ["distance_pairs", "great_circle_km", "nearest_stores"]

_log = logging.getLogger(__name__)

EARTH_RADIUS_KM = 6371.0088
_TRAVEL_BANDS_KM = (0.0, 2.0, 5.0, 10.0, 20.0, 50.0, np.inf)


def great_circle_km(
    lon_a: ArrayLike, lat_a: ArrayLike, lon_b: ArrayLike, lat_b: ArrayLike
) -> NDArray[np.float64]:
    """Return great-circle distances between points, element by element.

    Parameters
    ----------
    lon_a, lat_a, lon_b, lat_b : array_like
        Degrees; broadcast against each other.

    Returns
    -------
    ndarray of float
        Kilometres on a sphere of mean Earth radius (within 0.6% of the ellipsoid).

    Notes
    -----
    Haversine formula (Sinnott 1984), accurate at small distances.

    Examples
    --------
    >>> round(float(great_circle_km(0.0, 0.0, 1.0, 0.0)), 3)
    111.195
    """
    lam_a, phi_a, lam_b, phi_b = (
        np.radians(np.asarray(v, dtype=float)) for v in (lon_a, lat_a, lon_b, lat_b)
    )
    half_chord = (
        np.sin((phi_b - phi_a) / 2) ** 2 + np.cos(phi_a) * np.cos(phi_b) * np.sin((lam_b - lam_a) / 2) ** 2
    )
    return np.asarray(2 * EARTH_RADIUS_KM * np.arcsin(np.sqrt(np.clip(half_chord, 0.0, 1.0))))


def nearest_stores(
    lon: ArrayLike, lat: ArrayLike, store_lon: ArrayLike, store_lat: ArrayLike, k_nearest: int
) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """Find the k nearest stores of every point by great-circle distance.

    Parameters
    ----------
    lon, lat : array_like of shape (n,)
        Points in degrees.
    store_lon, store_lat : array_like of shape (m,)
        Stores in degrees.
    k_nearest : int
        Stores to find per point; all of them when it exceeds m.

    Returns
    -------
    index : ndarray of shape (n, k)
        Positions of the stores, nearest first.
    km : ndarray of shape (n, k)
        Distances in kilometres.

    Examples
    --------
    >>> index, km = nearest_stores([0.0], [0.0], [2.0, 1.0, 9.0], [0.0, 0.0, 0.0], k_nearest=2)
    >>> index.tolist(), km.round(1).tolist()
    ([[1, 0]], [[111.2, 222.4]])
    """
    stores = _unit_vectors(store_lon, store_lat)
    k = min(int(k_nearest), len(stores))
    # chords on the unit sphere rank like great circles, so a Euclidean tree finds the true neighbours
    chord, index = cKDTree(stores).query(_unit_vectors(lon, lat), k=k)
    km = 2 * EARTH_RADIUS_KM * np.arcsin(np.clip(chord / 2, 0.0, 1.0))
    return index.reshape(-1, k).astype(np.intp), km.reshape(-1, k)


def distance_pairs(
    cells: pd.DataFrame,
    stores: pd.DataFrame,
    k_nearest: int = 30,
    travel: pd.DataFrame | None = None,
    floor_km: float = 0.5,
    floor_minutes: float = 1.0,
    max_km: float | None = None,
) -> pd.DataFrame:
    """Pair every cell with the stores its people choose among, with the distance of each.

    Keeping the k nearest stores of each cell is what lets a country fit in memory; a store that is not
    among them gets no custom from that cell.

    Parameters
    ----------
    cells : DataFrame
        cell (int64), lon, lat (degrees) of the cell's centre.
    stores : DataFrame
        store_id (str), lon, lat; own stores and competitors together.
    k_nearest : int
        Stores kept per cell, by great-circle distance.
    travel : DataFrame or None
        store_id, cell, minutes. A pair the table lacks gets its distance at the table's median pace in the
        same distance band, and ``minutes_estimated`` is True there.
    floor_km, floor_minutes : float
        Smallest distance and time: people of a cell do not all live at its centre, and the logarithm of
        zero has no value.
    max_km : float or None
        Stores farther than this are out of reach; a cell with none in reach has no row. No limit by default.

    Returns
    -------
    DataFrame
        cell, store_id, km, and with ``travel`` also minutes, minutes_estimated; cells in the order given,
        nearest store first (equal distances by store_id).

    Raises
    ------
    TableError
        A coordinate is missing or out of range, an id repeats, or the travel table fits no pair.
    SettingsError
        k_nearest below 1 or a floor that is not positive.

    Examples
    --------
    >>> cells = pd.DataFrame({"cell": [10, 11], "lon": [0.0, 0.15], "lat": [0.0, 0.0]})
    >>> stores = pd.DataFrame({"store_id": ["A", "B"], "lon": [0.0, 0.2], "lat": [0.0, 0.0]})
    >>> distance_pairs(cells, stores, k_nearest=1).round(2).to_dict("list")
    {'cell': [10, 11], 'store_id': ['A', 'B'], 'km': [0.5, 5.56]}
    """
    if k_nearest < 1:
        raise SettingsError(f"k_nearest is {k_nearest}; give at least 1 store per cell.")
    if floor_km <= 0 or floor_minutes <= 0:
        raise SettingsError(f"floor_km = {floor_km}, floor_minutes = {floor_minutes}: both must be positive.")
    _check_points(cells, "cells", "cell")
    _check_points(stores, "stores", "store_id")
    # sorted ids make equal distances fall the same way whatever the row order
    ordered = stores[["store_id", "lon", "lat"]].sort_values("store_id", kind="stable").reset_index(drop=True)
    index, km = nearest_stores(cells["lon"], cells["lat"], ordered["lon"], ordered["lat"], k_nearest)
    rank = np.lexsort((index, np.round(km, 9)), axis=1)
    index, km = np.take_along_axis(index, rank, axis=1), np.take_along_axis(km, rank, axis=1)
    pairs = pd.DataFrame(
        {
            "cell": np.repeat(cells["cell"].to_numpy(np.int64), index.shape[1]),
            "store_id": ordered["store_id"].take(index.ravel()).to_numpy(),
            "km": np.maximum(km.ravel(), floor_km),
        }
    )
    if max_km is not None:
        pairs = pairs[pairs["km"] <= max(max_km, floor_km)].reset_index(drop=True)
        if pairs.empty:
            raise SettingsError(
                f"max_km = {max_km}: no store is that near to any cell; raise it or leave it out."
            )
    return pairs if travel is None else _with_minutes(pairs, travel, floor_minutes)


def _unit_vectors(lon: ArrayLike, lat: ArrayLike) -> NDArray[np.float64]:
    lam, phi = np.radians(np.asarray(lon, dtype=float)), np.radians(np.asarray(lat, dtype=float))
    return np.column_stack((np.cos(phi) * np.cos(lam), np.cos(phi) * np.sin(lam), np.sin(phi)))


def _check_points(frame: pd.DataFrame, table: str, key: str) -> None:
    missing = [c for c in (key, "lon", "lat") if c not in frame.columns]
    if missing:
        raise TableError(f"{table}: column(s) {', '.join(missing)} missing; {key}, lon and lat are needed.")
    if frame.empty:
        raise TableError(f"{table}: no rows; at least one is needed to measure distances.")
    repeated = frame[key].duplicated()
    if repeated.any():
        first = ", ".join(str(v) for v in frame.loc[repeated, key].head(3))
        raise TableError(
            f"{table}: {int(repeated.sum())} of {len(frame):,} rows repeat a {key} ({first}); "
            f"each {key} must stand once. Drop or rename the copies."
        )
    bad = ~(frame["lon"].between(-180, 180) & frame["lat"].between(-90, 90))
    if bad.any():
        first = ", ".join(str(v) for v in frame.loc[bad, key].head(3))
        raise TableError(
            f"{table}: {int(bad.sum())} of {len(frame):,} rows have lon/lat missing or out of range "
            f"({key} {first}); degrees expected. Geocode these rows or set them aside."
        )


def _with_minutes(pairs: pd.DataFrame, travel: pd.DataFrame, floor_minutes: float) -> pd.DataFrame:
    needed = ["store_id", "cell", "minutes"]
    missing = [c for c in needed if c not in travel.columns]
    if missing:
        raise TableError(f"travel: column(s) {', '.join(missing)} missing; {', '.join(needed)} are needed.")
    bad = travel["minutes"] < 0
    if bad.any():
        raise TableError(
            f"travel: {int(bad.sum())} of {len(travel):,} rows have negative minutes; correct them."
        )
    times = travel[needed].dropna().groupby(["cell", "store_id"], as_index=False, sort=False)["minutes"].min()
    joined = pairs.merge(times, on=["cell", "store_id"], how="left", validate="one_to_one")
    known = joined["minutes"].notna()
    if not known.any():
        raise TableError(
            f"travel: none of its {len(travel):,} rows matches a (cell, store) pair. Its cells must be H3 indices "
            "(int64) of the plan's resolution and its store_id those of stores and competitors."
        )
    joined["minutes_estimated"] = ~known
    if not known.all():
        _log.info(
            "travel: %d of %d pairs have no time; estimated from distance", int((~known).sum()), len(joined)
        )
        joined.loc[~known, "minutes"] = minutes_from_km(joined["km"], joined[known])[~known]
    joined["minutes"] = joined["minutes"].clip(lower=floor_minutes)
    return joined


def minutes_from_km(km: pd.Series, reference: pd.DataFrame) -> pd.Series:
    """Estimate travel times from distances at the median pace (minutes per km) of known pairs in the same band."""
    pace = reference["minutes"] / reference["km"]
    by_band = pace.groupby(_band(reference["km"])).median()
    return km * _band(km).map(by_band).fillna(pace.median())


def _band(km: pd.Series) -> pd.Series:
    return pd.Series(pd.cut(km, _TRAVEL_BANDS_KM, labels=False, include_lowest=True), index=km.index)
