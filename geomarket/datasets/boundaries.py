"""Boundary files: official ones read with their columns mapped, and those of the simulated city written."""

from __future__ import annotations

import json
import logging
import os
import tomllib
import warnings
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely
from shapely.geometry.polygon import orient

from geomarket.errors import CoverageWarning, MissingDataError, SettingsError, TableError
from geomarket.market.spelling import did_you_mean
from geomarket.simulate.geography import CITY, build_city

__all__ = ["BoundarySource", "boundary_sources", "census_sources", "load_boundaries", "write_boundaries"]

_log = logging.getLogger(__name__)

_PARQUET = (".parquet", ".geoparquet", ".pq")
# Column names of shapefiles end after ten letters.
_SHAPEFILE_LETTERS = 10
_DECIMALS = 5


@dataclass(frozen=True)
class BoundarySource:
    """One entry of the catalogue of official boundary files; fields as in the head of ``sources.toml``.

    ``name`` is empty where the areas have no name but their code; ``id_length`` is None where codes are not made of
    digits only. ``extent`` is west, south, east, north in degrees.
    """

    source: str
    publisher: str
    country: str
    holds: str
    vintage: int
    id: str
    name: str
    crs: tuple[str, ...]
    extent: tuple[float, float, float, float]
    licence: str
    page: str
    site: str
    note: str
    id_length: int | None = None


def boundary_sources() -> pd.DataFrame:
    """Return the catalogue of official boundary files, one row per source.

    Returns
    -------
    DataFrame
        Indexed by ``source``, the name to give to :func:`load_boundaries`; columns publisher, country, holds,
        vintage, id, name, id_length, crs, extent, licence, page, site, note.

    Examples
    --------
    >>> sources = boundary_sources()
    >>> sources.loc["us-tract-2020", ["publisher", "id"]].tolist()
    ['U.S. Census Bureau', 'GEOID']
    >>> sorted(sources["country"].str[:2].unique())
    ['AU', 'CA', 'EU', 'GB', 'NZ', 'US']
    """
    return pd.DataFrame([vars(entry) for entry in _catalogue().values()]).set_index("source")


def census_sources() -> pd.DataFrame:
    """Return the catalogue of official census tables that join to the boundaries, one row per source.

    Returns
    -------
    DataFrame
        Indexed by ``source``; columns publisher, country, holds, joins (boundary sources), id (column of the area
        code, empty where it differs from table to table), site, note.

    Examples
    --------
    >>> census_sources().loc["us-acs-5-year", "id"]
    'GEO_ID'
    """
    entries = _read_catalogue()["census"]
    return pd.DataFrame.from_dict(entries, orient="index").rename_axis("source")


def load_boundaries(
    path: str | Path,
    source: str = "us-tract-2020",
    *,
    layer: str | None = None,
    crs: str | None = None,
    id_column: str | None = None,
    name_column: str | None = None,
) -> gpd.GeoDataFrame:
    """Read an official boundary file with its columns mapped to ours.

    The file is one the user has got from its publisher; nothing is downloaded.

    Parameters
    ----------
    path : path
        GeoPackage, Shapefile, GeoJSON or GeoParquet file, or a zip of one of them.
    source : str
        Name of the source in the catalogue: see :func:`boundary_sources`.
    layer : str, optional
        Layer of a file that has several.
    crs : str, optional
        Coordinate system of a file that names none and whose publisher ships several.
    id_column, name_column : str, optional
        Columns to take instead of the catalogue's.

    Returns
    -------
    GeoDataFrame
        area_id (str; leading zeros restored), name (str; the code where areas have no name), the file's further
        columns, geometry in the file's own coordinate system. Areas without a polygon are kept and warned of.

    Raises
    ------
    SettingsError
        The source is not in the catalogue, or ``crs`` is no coordinate system. The nearest is suggested.
    MissingDataError
        There is no such file. The message says where the publisher has it.
    TableError
        The file can't be read, is empty, lacks the id or name column, has an id twice or not at all, names no
        coordinate system where several are possible, or lies outside the source's country. Each names its cure.

    Examples
    --------
    >>> import tempfile
    >>> tract = gpd.GeoDataFrame({"GEOID": ["19153000101"], "NAMELSAD": ["Census Tract 1.01"]},
    ...                          geometry=[shapely.box(-93.7, 41.6, -93.6, 41.7)], crs="EPSG:4269")
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     tract.to_file(f"{folder}/tracts.gpkg")
    ...     areas = load_boundaries(f"{folder}/tracts.gpkg", "us-tract-2020")
    >>> areas[["area_id", "name"]].values.tolist()
    [['19153000101', 'Census Tract 1.01']]
    """
    entry = _find(source)
    frame = _read(Path(path), entry, layer)
    if frame.empty:
        raise TableError(
            f"{Path(path).name}: no rows. Check the layer, or get the file anew from {entry.page}."
        )
    ids = _pick(frame, id_column or entry.id, "id_column", Path(path).name, entry)
    wanted_name = name_column if name_column is not None else entry.name
    names = _pick(frame, wanted_name, "name_column", Path(path).name, entry) if wanted_name else None
    area_id = _codes(frame[ids], entry.id_length)
    _check_ids(area_id, ids, Path(path).name)
    name = frame[names].astype("string").fillna(area_id.astype("string")) if names else area_id
    rest = frame.drop(
        columns=[column for column in (ids, names, "area_id", "name") if column in frame.columns]
    )
    rest = _with_crs(rest, entry, crs, Path(path).name)
    _check_extent(rest, entry, Path(path).name)
    _warn_of_missing(rest, area_id, Path(path).name)
    rest.insert(0, "area_id", area_id.astype(str))
    rest.insert(1, "name", name.astype(str))
    _log.info("%s: %s areas of %s", Path(path).name, len(rest), entry.source)
    return rest


def write_boundaries(folder: str | Path) -> list[Path]:
    """Write the simulated city's districts and census areas (seed 0) as GeoJSON.

    Coordinates are rounded to five decimals, about a metre. Each file is written under another name first and then
    renamed, so that no half-written file is left behind.

    Parameters
    ----------
    folder : path
        Folder to write to; made if it is not there.

    Returns
    -------
    list of Path
        The files written: districts, areas.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     [path.name for path in write_boundaries(folder)]
    ['simulated_districts.geojson', 'simulated_areas.geojson']
    """
    city = build_city(0)
    target = Path(folder)
    target.mkdir(parents=True, exist_ok=True)
    written = []
    for name, frame in (("simulated_districts", city.districts), ("simulated_areas", city.areas)):
        path = target / f"{name}.geojson"
        partial = path.with_name(f".{path.name}.{os.getpid()}.part")
        partial.write_text(
            _geojson(f"{CITY} (simulated, an invented city)", frame), encoding="utf-8", newline="\n"
        )
        partial.replace(path)
        written.append(path)
    return written


def _geojson(title: str, frame: gpd.GeoDataFrame) -> str:
    """One feature per line, shortest numbers, keys in a fixed order: small, and easy to compare."""
    lines = []
    properties = frame.drop(columns="geometry").to_dict(orient="records")
    # Normalised, so that the bytes don't depend on where a ring begins; then turned, as RFC 7946 wants its rings.
    polygons = [orient(polygon) for polygon in shapely.normalize(frame.geometry.to_numpy())]
    geometries = shapely.transform(polygons, lambda xy: xy.round(_DECIMALS))
    for values, geometry in zip(properties, geometries):
        feature = {
            "type": "Feature",
            "properties": values,
            "geometry": json.loads(shapely.to_geojson(geometry)),
        }
        lines.append(json.dumps(feature, ensure_ascii=False, separators=(",", ":")))
    head = json.dumps({"type": "FeatureCollection", "name": title}, ensure_ascii=False, separators=(",", ":"))
    return head[:-1] + ',"features":[\n' + ",\n".join(lines) + "\n]}\n"


@lru_cache(maxsize=1)
def _read_catalogue() -> dict[str, Any]:
    """Read sources.toml: beside this module in a wheel, in ``boundaries/`` in a clone."""
    here = Path(__file__).resolve().parent
    for path in (here / "sources.toml", here.parents[1] / "boundaries" / "sources.toml"):
        if path.is_file():
            return tomllib.loads(path.read_text(encoding="utf-8"))
    raise MissingDataError(
        "The catalogue sources.toml is missing from this installation of geomarket. Install geomarket again."
    )


@lru_cache(maxsize=1)
def _catalogue() -> dict[str, BoundarySource]:
    catalogue = {}
    for source, entry in _read_catalogue()["boundaries"].items():
        fields: dict[str, Any] = {
            key: tuple(value) if isinstance(value, list) else value for key, value in entry.items()
        }
        catalogue[source] = BoundarySource(source=source, **fields)
    return catalogue


def _find(source: str) -> BoundarySource:
    catalogue = _catalogue()
    if source not in catalogue:
        raise SettingsError(
            f"source = {source!r} is not in the catalogue of boundary sources{did_you_mean(source, catalogue, '.')} "
            f"Known: {', '.join(catalogue)}."
        )
    return catalogue[source]


def _read(path: Path, entry: BoundarySource, layer: str | None) -> gpd.GeoDataFrame:
    if not path.exists():
        raise MissingDataError(
            f"There is no file {path}. Get it from {entry.publisher}: {entry.page}, {entry.site}, then give its path."
        )
    try:
        if path.suffix.lower() in _PARQUET:
            frame = gpd.read_parquet(path)
        else:
            frame = gpd.read_file(path, layer=layer) if layer else gpd.read_file(path)
    except Exception as err:  # the drivers raise many types, and all of them mean an unreadable file
        raise TableError(
            f"{path.name} can't be read as a boundary file: {err} Give a GeoPackage, Shapefile, GeoJSON or GeoParquet "
            "file, or a zip of one."
        ) from err
    if not isinstance(frame, gpd.GeoDataFrame):
        raise TableError(
            f"{path.name} has no polygons. Take the boundary file of {entry.page}, not its table of codes."
        )
    return frame.rename_geometry("geometry") if frame.geometry.name != "geometry" else frame


def _pick(frame: gpd.GeoDataFrame, wanted: str, argument: str, file: str, entry: BoundarySource) -> str:
    """Find a column, whatever its case, or cut to ten letters as shapefiles do."""
    columns = [column for column in frame.columns if column != frame.geometry.name]
    if wanted in columns:
        return wanted
    for same in (_same, _same_cut):
        found = [column for column in columns if same(column, wanted)]
        if len(found) == 1:
            return found[0]
    listed = ", ".join(columns[:12]) + (" …" if len(columns) > 12 else "")
    raise TableError(
        f"{file}: no column {wanted!r}, which {entry.source} should have{did_you_mean(wanted, columns, '.')} The file "
        f"has {listed}. Choose the source the file is from, or say which column it is with {argument}=…."
    )


def _same(column: str, wanted: str) -> bool:
    return column.casefold() == wanted.casefold()


def _same_cut(column: str, wanted: str) -> bool:
    return len(wanted) > _SHAPEFILE_LETTERS and _same(column, wanted[:_SHAPEFILE_LETTERS])


def _codes(values: pd.Series, length: int | None) -> pd.Series:
    """Codes as text; a code read as a number gets its leading zeros back."""
    if not pd.api.types.is_numeric_dtype(values):
        return values.astype("string").str.strip()
    if not (values.dropna() % 1 == 0).all():
        return values.astype("string")
    codes = values.astype("Int64").astype("string")
    return codes.str.zfill(length) if length else codes


def _check_ids(ids: pd.Series, column: str, file: str) -> None:
    missing = np.flatnonzero(ids.isna() | (ids == ""))
    if len(missing):
        raise TableError(
            f"{file}: column {column!r} is empty in {len(missing):,} of {len(ids):,} rows (row {missing[0] + 1} first)."
            " Every area needs a code: leave those rows out of the file, or choose another id_column."
        )
    twice = ids[ids.duplicated()].unique()
    if len(twice):
        raise TableError(
            f"{file}: {len(twice):,} codes of column {column!r} occur more than once ({', '.join(twice[:3])} …). "
            "Dissolve their parts into one area each, take a file of one level, or choose another id_column."
        )


def _with_crs(frame: gpd.GeoDataFrame, entry: BoundarySource, crs: str | None, file: str) -> gpd.GeoDataFrame:
    if frame.crs is not None:
        return frame
    if crs is None and len(entry.crs) > 1:
        raise TableError(
            f"{file} does not name its coordinate system, and {entry.publisher} ships {' and '.join(entry.crs)}. "
            "Say which with crs=…, or keep the .prj file beside the shapefile."
        )
    try:
        return frame.set_crs(crs or entry.crs[0])
    except Exception as err:  # pyproj's own types
        raise SettingsError(
            f"crs = {crs!r} is not a coordinate system: {err} Give one such as 'EPSG:4326'."
        ) from err


def _check_extent(frame: gpd.GeoDataFrame, entry: BoundarySource, file: str) -> None:
    """Swapped axes and a wrong CRS put a file somewhere else on the globe."""
    west, south, east, north = entry.extent
    bounds = frame.geometry.to_crs("EPSG:4326").total_bounds
    inside = bounds[0] >= west and bounds[1] >= south and bounds[2] <= east and bounds[3] <= north
    if not inside:
        raise TableError(
            f"{file} spans {bounds[0]:.2f} to {bounds[2]:.2f} degrees east and {bounds[1]:.2f} to {bounds[3]:.2f} "
            f"north, outside {entry.country} ({entry.source}: {west:g} to {east:g}, {south:g} to {north:g}). Its "
            "coordinate system is wrong, longitude and latitude are swapped, or the source is another one."
        )


def _warn_of_missing(frame: gpd.GeoDataFrame, area_id: pd.Series, file: str) -> None:
    missing = frame.geometry.isna() | frame.geometry.is_empty
    if missing.any():
        first = ", ".join(area_id[missing].head(3))
        warnings.warn(
            f"{file}: {int(missing.sum()):,} of {len(frame):,} areas have no polygon ({first} …). They are kept; no "
            "hexagon can cover them.",
            CoverageWarning,
            stacklevel=3,
        )
