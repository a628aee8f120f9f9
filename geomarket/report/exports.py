"""A plan's tables for other programs: CSV for spreadsheets, GeoParquet, GeoJSON and KML for GIS."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import geopandas as gpd
import pandas as pd
import pyogrio
import shapely

from geomarket.errors import NotSupportedError, SettingsError
from geomarket.hexes import cell_polygons, cells_from_strings
from geomarket.planning import plan_tables
from geomarket.report.workbook import looks_like_formula, write_dictionary
from geomarket.writing import replacing

__all__ = ["EXPORT_FORMATS", "map_layers", "neutral_text", "write_exports"]

EXPORT_FORMATS = ("csv", "parquet", "geoparquet", "geojson", "kml")
_METRE = 6  # decimals of a degree: a tenth of a metre
_SUFFIXES = {"geoparquet": "parquet", "geojson": "geojson", "kml": "kml"}
_KML_DRIVERS = ("LIBKML", "KML")
_CATCHMENT_LAYER = {
    "store_id": "Id of the own store.",
    "name": "Name of the store.",
    "band": "Share of the store's expected trade that the band's and all stronger hexagons hold at least.",
    "hexagons": "Hexagons in the shape.",
    "share": "Share of the store's expected trade from within the shape.",
    "geometry": "Outline of these hexagons together.",
}


def write_exports(
    plan: Any, folder: str | os.PathLike[str], formats: Iterable[str] = EXPORT_FORMATS
) -> list[Path]:
    """Write a plan's tables in the formats that spreadsheets and GIS read.

    ``csv`` and ``parquet`` hold every table (:func:`geomarket.plan_tables`, with its ``dictionary``); ``geoparquet``,
    ``geojson`` and ``kml`` hold three map layers: hexagons, own stores, catchments (see :func:`map_layers`). Each
    format has a folder of its own.

    Parameters
    ----------
    plan : Plan
        A finished plan.
    folder : path-like
        Made if missing; files of the same name are replaced.
    formats : iterable of {"csv", "parquet", "geoparquet", "geojson", "kml"}
        What to write.

    Returns
    -------
    list of Path
        The files, last ``dictionary.xlsx``: what every column of every table and layer means. The same plan gives the
        same bytes under the same versions of GDAL and Arrow.

    Raises
    ------
    SettingsError
        If a format is not one of the five.
    NotSupportedError
        If this GDAL can't write KML. Install pyogrio from its wheel, or leave KML out.

    Notes
    -----
    In CSV files a text that a spreadsheet would run as a formula (it begins with = + - @) gets an apostrophe in front;
    read Parquet where texts have to stay as they are. Coordinates are WGS 84, in text formats to a tenth of a metre.
    """
    formats = list(dict.fromkeys(formats))
    unknown = sorted(set(formats) - set(EXPORT_FORMATS))
    if unknown:
        raise SettingsError(
            f"formats: {', '.join(unknown)} can't be written; choose from {', '.join(EXPORT_FORMATS)}."
        )
    folder = Path(folder)
    tables = plan_tables(plan)
    wanted = [name for name in formats if name in _SUFFIXES]
    layers = map_layers(tables) if wanted else {}
    tables = {**tables, "dictionary": _with_layers(tables["dictionary"], layers)}
    written = []
    for name, frame in tables.items():
        if "csv" in formats:
            written.append(_write_csv(frame, folder / "csv" / f"{name}.csv"))
        if "parquet" in formats:
            path = folder / "parquet" / f"{name}.parquet"
            with replacing(path) as temporary:
                plain = pd.DataFrame(frame.drop(columns="geometry", errors="ignore"))
                plain.to_parquet(temporary, index=False, compression="zstd")
            written.append(path)
    for name in wanted:
        for layer, frame in layers.items():
            written.append(_write_layer(frame, name, folder / name / f"{layer}.{_SUFFIXES[name]}", layer))
    with replacing(folder / "dictionary.xlsx") as temporary:
        write_dictionary(tables["dictionary"], temporary)
    return [*written, folder / "dictionary.xlsx"]


def _with_layers(dictionary: pd.DataFrame, layers: dict[str, gpd.GeoDataFrame]) -> pd.DataFrame:
    """Add the columns of map layers that mean something else than in the table of the same name."""
    if "catchments" not in layers:
        return dictionary
    types = dict(zip(dictionary["column"], dictionary["type"]))
    rows = [
        ("catchments (map layer)", column, types.get(column, "text"), meaning)
        for column, meaning in _CATCHMENT_LAYER.items()
    ]
    added = pd.DataFrame(rows, columns=["table", "column", "type", "meaning"])
    return pd.concat([dictionary, added], ignore_index=True)


def map_layers(tables: dict[str, pd.DataFrame]) -> dict[str, gpd.GeoDataFrame]:
    """Return the map layers of a plan's tables.

    Parameters
    ----------
    tables : dict of DataFrame
        From :func:`geomarket.plan_tables`.

    Returns
    -------
    dict of GeoDataFrame
        ``hexes`` (polygons), ``stores`` (points) and, where known, ``catchments``: per store and band the polygon that
        the band's and all stronger hexagons make together, with ``hexagons`` and ``share`` of the store's trade.
    """
    stores = tables["stores"].dropna(subset=["lon", "lat"]).reset_index(drop=True)
    layers = {
        "hexes": gpd.GeoDataFrame(tables["hexes"]),
        "stores": gpd.GeoDataFrame(
            stores, geometry=gpd.points_from_xy(stores["lon"], stores["lat"]), crs="EPSG:4326"
        ),
    }
    if "catchments" in tables:
        layers["catchments"] = _catchments(tables["catchments"], stores)
    return layers


def _catchments(areas: pd.DataFrame, stores: pd.DataFrame) -> gpd.GeoDataFrame:
    """Dissolve every store's bands: 50%, then 70% with the first in it, then 90% with both."""
    names = dict(zip(stores["store_id"].astype("str"), stores["name"].astype("str")))
    polygons = pd.Series(cell_polygons(cells_from_strings(areas["cell"])), index=areas.index)
    rows = []
    for store, mine in areas.groupby("store_id", sort=True):
        for band in sorted(mine["band"].unique()):
            held = mine[mine["band"] <= band]
            rows.append(
                {
                    "store_id": str(store),
                    "name": names.get(str(store), str(store)),
                    "band": float(band),
                    "hexagons": len(held),
                    "share": float(held["share"].sum()),
                    "geometry": shapely.union_all(polygons[held.index].to_numpy()),
                }
            )
    columns = ["store_id", "name", "band", "hexagons", "share", "geometry"]
    return gpd.GeoDataFrame(pd.DataFrame(rows, columns=columns), geometry="geometry", crs="EPSG:4326")


def neutral_text(value: Any) -> Any:
    """Put an apostrophe before a text that a spreadsheet would run as a formula.

    Examples
    --------
    >>> neutral_text("=1+1"), neutral_text("Tea - green"), neutral_text(-3.5)
    ("'=1+1", 'Tea - green', -3.5)
    """
    return f"'{value}" if isinstance(value, str) and looks_like_formula(value) else value


def _write_csv(frame: pd.DataFrame, path: Path) -> Path:
    plain = pd.DataFrame(frame.drop(columns="geometry", errors="ignore"))
    texts = [name for name in plain if not pd.api.types.is_numeric_dtype(plain[name])]
    plain = plain.assign(**{str(name): plain[name].astype(object).map(neutral_text) for name in texts})
    plain.columns = [neutral_text(str(name)) for name in plain.columns]
    with replacing(path) as temporary:
        plain.to_csv(temporary, index=False, encoding="utf-8", lineterminator="\n")
    return path


def _write_layer(frame: gpd.GeoDataFrame, kind: str, path: Path, layer: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    # LIBKML looks at the suffix: the name stays, in a folder that goes
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".", suffix=".part") as aside:
        temporary = Path(aside) / path.name
        if kind == "geoparquet":
            frame.to_parquet(temporary, index=False, compression="zstd")
        elif kind == "geojson":
            options = {"RFC7946": "YES", "COORDINATE_PRECISION": str(_METRE), "WRITE_NAME": "NO"}
            _plain_layer(frame).to_file(temporary, driver="GeoJSON", engine="pyogrio", layer_options=options)
        else:
            _plain_layer(frame).to_file(temporary, driver=_kml_driver(), engine="pyogrio", layer=layer)
        os.replace(temporary, path)
    return path


def _plain_layer(frame: gpd.GeoDataFrame) -> gpd.GeoDataFrame:
    """Return the layer in types that every GIS format can hold: dates as texts, whole numbers of 32 bits."""
    odd = [
        name
        for name in frame
        if name != "geometry"
        and not (pd.api.types.is_numeric_dtype(frame[name]) or pd.api.types.is_bool_dtype(frame[name]))
    ]
    texts = {name: frame[name].astype(object).map(str, na_action="ignore") for name in odd}
    whole = frame.select_dtypes("integer")
    narrow = {name: column.astype("int32") for name, column in whole.items() if column.abs().max() < 2**31}
    rounded = shapely.set_precision(frame.geometry.to_numpy(), 10.0**-_METRE, mode="pointwise")
    return frame.assign(**texts, **narrow, geometry=rounded)


def _kml_driver() -> str:
    able = pyogrio.list_drivers(write=True)
    for driver in _KML_DRIVERS:
        if driver in able:
            return driver
    raise NotSupportedError(
        "KML: this GDAL has no driver that writes it. Install pyogrio from its wheel, or leave KML out."
    )
