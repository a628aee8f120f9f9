"""Polygon layers: read, mended, their figures checked."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely

from geomarket.errors import TableError
from geomarket.market.files import Source, find_sources
from geomarket.market.findings import KEPT, READ, REPAIRED, SET_TO_MISSING, STOP, Findings
from geomarket.market.model import AreaLayer, Variable
from geomarket.market.reading import read_geometry
from geomarket.market.settings import AreaSettings, QualitySettings
from geomarket.market.spelling import did_you_mean

__all__ = ["read_areas", "read_boundaries"]

_EQUAL_AREA = "EPSG:6933"
_SLIVER = 1e-6


def read_areas(
    settings: AreaSettings, quality: QualitySettings, folder: Path, findings: Findings
) -> tuple[AreaLayer, list[Source]]:
    """Read and check one polygon layer.

    Invalid polygons are repaired (Shapely's ``make_valid``); polygons without an identifier or a shape, and ones whose
    identifier is there already, are set aside; overlaps are measured.

    Parameters
    ----------
    settings : AreaSettings
        The layer's section.
    quality : QualitySettings
        How much overlap is too much.
    folder : Path
        Folder of plan.toml.
    findings : Findings
        Gets what was found, under the table name ``areas:<name>``.

    Returns
    -------
    layer : AreaLayer
    sources : list of Source

    Raises
    ------
    MissingDataError
        If there is no such file.
    TableError
        If it can't be read, has no CRS, no polygons, or lacks a column.
    """
    table = f"areas:{settings.name}"
    sources = find_sources(table, [settings.path], folder)
    frame = read_geometry(table, sources[0], settings.layer, settings.crs, settings.encoding)
    if frame.empty:
        raise TableError(f"{table}: {sources[0].name} has no rows.")
    _require_columns(frame, settings, table, sources[0])
    total = len(frame)
    findings.note(table, "", "areas read", total, total, READ, f"{table}: {total:,} areas read.")
    frame = _with_ids(frame, settings, table, findings)
    frame = _with_shapes(frame, table, total, findings)
    _check_place(frame, table)
    frame = _with_figures(frame, settings, table, total, findings)
    _measure_overlap(frame, quality, table, findings)
    return _layer(frame.reset_index(drop=True), settings), sources


def read_boundaries(
    source: Source, settings_crs: str | None, layer: str | None, name: str
) -> gpd.GeoDataFrame:
    """Read the lines the map is drawn on.

    Parameters
    ----------
    source : Source
        The file.
    settings_crs : str or None
        Coordinate reference system where the file does not say.
    layer : str or None
        Layer of a GeoPackage.
    name : str
        Column of names; need not be there.

    Returns
    -------
    GeoDataFrame
        name, geometry, in WGS 84.
    """
    frame = read_geometry("boundaries", source, layer, settings_crs)
    frame = frame[~(frame.geometry.isna() | frame.geometry.is_empty)].to_crs("EPSG:4326")
    if frame.empty:
        raise TableError(
            f"boundaries: {source.name} has no shapes. Fill it, or leave out [tables.boundaries]."
        )
    names = frame[name].astype(str) if name in frame else ""
    return gpd.GeoDataFrame({"name": names}, geometry=frame.geometry, crs="EPSG:4326").reset_index(drop=True)


def _columns_of(settings: AreaSettings) -> Iterator[tuple[str, str]]:
    """Yield each column the layer must have, and the key of plan.toml that names it."""
    yield settings.id, "id"
    if settings.population is not None:
        yield settings.population, "population"
    for count in settings.counts:
        yield count.column or count.name, f"counts, {count.name}"
    for rate in settings.rates:
        yield rate.numerator, f"rates, {rate.name}: numerator"
        yield rate.denominator, f"rates, {rate.name}: denominator"
    for mean in settings.means:
        yield mean.column or mean.name, f"means, {mean.name}"
        yield mean.weight, f"means, {mean.name}: weight"
    for categories in settings.categories:
        yield categories.column, f"categories, {categories.column}"
        if categories.by is not None:
            yield categories.by, f"categories, {categories.column}: by"


def _is_text(key: str) -> bool:
    """Whether the column of this key holds categories rather than figures."""
    return key.startswith("categories, ") and not key.endswith(": by")


def _require_columns(frame: gpd.GeoDataFrame, settings: AreaSettings, table: str, source: Source) -> None:
    there = [str(name) for name in frame.columns if name != "geometry"]
    lines = [
        f"{table}: no column {column!r} ({key}) in {source.name}{did_you_mean(column, there, '.')}"
        for column, key in _columns_of(settings)
        if column not in there
    ]
    if lines:
        raise TableError("\n".join([*lines, f"Columns of {source.name}: {', '.join(there[:40])}."]))


def _with_ids(
    frame: gpd.GeoDataFrame, settings: AreaSettings, table: str, findings: Findings
) -> gpd.GeoDataFrame:
    """Index rows from 1, add area_id as text, set rows without a new identifier aside."""
    total = len(frame)
    frame = frame.set_axis(pd.RangeIndex(1, total + 1), axis="index")
    ids = frame[settings.id]
    if pd.api.types.is_float_dtype(ids) and (ids.dropna() % 1 == 0).all():
        ids = ids.astype("Int64")
    text = ids.astype("string").str.strip()
    missing = text.isna() | (text == "")
    if missing.any():
        rows = [(int(row), "") for row in frame.index[missing]]
        findings.set_aside(table, settings.id, "missing", rows, len(rows), total)
    again = text.duplicated() & ~missing
    if again.any():
        rows = [(int(row), text[row]) for row in frame.index[again]]
        cure = "Dissolve areas of several parts into one row each."
        findings.set_aside(
            table, settings.id, "is there already (the first row is used)", rows, len(rows), total, cure
        )
    keep = ~(missing | again)
    return frame.assign(area_id=text.astype(object))[keep.to_numpy(dtype=bool)]


def _with_shapes(frame: gpd.GeoDataFrame, table: str, total: int, findings: Findings) -> gpd.GeoDataFrame:
    """Repair invalid polygons; set rows that are no polygons aside."""
    shapes = frame.geometry
    absent = shapes.isna() | shapes.is_empty
    invalid = ~absent & ~shapes.is_valid
    if invalid.any():
        mended = shapely.make_valid(shapes[invalid].to_numpy())
        frame = frame.copy()
        frame.loc[invalid, "geometry"] = [_polygonal(shape) for shape in mended]
        shapes = frame.geometry
        examples = ", ".join(frame.loc[invalid, "area_id"].head(3))
        message = f"{table}: {invalid.sum():,} of {total:,} polygons are invalid ({examples}); {REPAIRED}."
        findings.note(table, "geometry", "invalid polygon", int(invalid.sum()), total, REPAIRED, message)
    absent = shapes.isna() | shapes.is_empty
    other = ~absent & ~shapes.geom_type.isin(["Polygon", "MultiPolygon"])
    for reason, bad in (("no shape", absent), ("not a polygon", other)):
        if bad.any():
            rows = [(int(row), frame.at[row, "area_id"]) for row in frame.index[bad]]
            findings.set_aside(table, "geometry", reason, rows, len(rows), total)
    frame = frame[~(absent | other)]
    if frame.empty:
        raise TableError(f"{table}: no row is a polygon; expected polygons. Is it the right file or layer?")
    return frame


def _polygonal(shape: shapely.Geometry) -> shapely.Geometry:
    """Keep the polygons of what make_valid returns; lines and points have no area."""
    if shape.geom_type in ("Polygon", "MultiPolygon"):
        return shape
    parts = [part for part in shapely.get_parts(shape) if part.geom_type in ("Polygon", "MultiPolygon")]
    return shapely.union_all(parts) if parts else shapely.Polygon()


def _check_place(frame: gpd.GeoDataFrame, table: str) -> None:
    west, south, east, north = frame.geometry.to_crs("EPSG:4326").total_bounds
    if not np.isfinite([west, south, east, north]).all() or south < -90.001 or north > 90.001:
        raise TableError(
            f"{table}: the coordinates make no sense as {frame.crs.to_string()}. "
            "Check crs: the file may be in a national grid, or have latitude before longitude."
        )


def _with_figures(
    frame: gpd.GeoDataFrame, settings: AreaSettings, table: str, total: int, findings: Findings
) -> gpd.GeoDataFrame:
    """Make every figure a number, NaN where missing, not readable or below zero (for counts)."""
    frame = frame.copy()
    means = {mean.column or mean.name for mean in settings.means}
    columns = dict.fromkeys(
        column for column, key in _columns_of(settings) if key != "id" and not _is_text(key)
    )
    texts = {column for column, key in _columns_of(settings) if _is_text(key)}
    if both := sorted(texts & set(columns)):
        raise TableError(
            f"{table}: {', '.join(both)} is given as categories and as a figure. Give it as one of them."
        )
    for column in columns:
        given = frame[column].notna()
        numbers = pd.to_numeric(frame[column], errors="coerce").astype("float64")
        unreadable = given & ~np.isfinite(numbers)
        if unreadable.sum() > 0.5 * max(given.sum(), 1):
            example = frame.loc[unreadable, column].iloc[0]
            raise TableError(
                f"{table}: {column}: {unreadable.sum():,} of {given.sum():,} values are not numbers ({example!r})."
            )
        negative = numbers < 0 if column not in means else pd.Series(False, index=frame.index)
        for what, bad in (("not a number", unreadable), ("a count below 0", negative)):
            if bad.any():
                examples = ", ".join(frame.loc[bad, "area_id"].head(3))
                message = f"{table}: {bad.sum():,} of {total:,} values of {column} are {what} ({examples})"
                findings.note(
                    table,
                    column,
                    what,
                    int(bad.sum()),
                    total,
                    SET_TO_MISSING,
                    f"{message}; {SET_TO_MISSING}.",
                )
        numbers[unreadable | negative] = np.nan
        gaps = int((~given).sum())
        if gaps:
            message = f"{table}: {column} is missing in {gaps:,} of {len(frame):,} areas."
            findings.note(table, column, "missing values", gaps, total, KEPT, message)
        frame[column] = numbers
    _count_odd_rates(frame, settings, table, total, findings)
    return frame


def _count_odd_rates(
    frame: gpd.GeoDataFrame, settings: AreaSettings, table: str, total: int, findings: Findings
) -> None:
    for rate in settings.rates:
        over = int((frame[rate.numerator] > frame[rate.denominator]).sum())
        if over:
            words = f"{rate.numerator} exceeds {rate.denominator} in {over:,} of {len(frame):,} areas"
            message = f"{table}: {rate.name}: {words}; {KEPT}. Is the denominator the right one?"
            findings.note(table, rate.name, "rate above 1", over, total, KEPT, message)


def _measure_overlap(
    frame: gpd.GeoDataFrame, quality: QualitySettings, table: str, findings: Findings
) -> None:
    """Measure how much of the layer lies in more than one polygon."""
    shapes = frame.geometry.to_crs(_EQUAL_AREA).to_numpy()
    if shapely.coverage_is_valid(shapes):
        return
    # Only polygons whose edges do not fit their neighbours' can overlap any.
    suspects = np.flatnonzero(~shapely.is_empty(shapely.coverage_invalid_edges(shapes)))
    tree = shapely.STRtree(shapes)
    left, right = tree.query(shapes[suspects], predicate="intersects")
    left = suspects[left]
    pairs = np.unique(np.sort(np.stack([left, right])[:, left != right], axis=0), axis=1)
    shared = shapely.area(shapely.intersection(shapes[pairs[0]], shapes[pairs[1]]))
    share = float(shared.sum() / shapely.area(shapes).sum())
    if share <= _SLIVER:
        return
    worst = pairs[:, int(np.argmax(shared))]
    ids = " and ".join(frame["area_id"].to_numpy()[worst])
    touched = len(np.unique(pairs[:, shared > _SLIVER * shapely.area(shapes).mean()]))
    stops = share > quality.max_overlap_share
    words = f"{table}: {share:.2%} of the area lies in more than one polygon (most in {ids})"
    limit = f"the limit is {quality.max_overlap_share:.2%} (max_overlap_share in [quality])"
    message = f"{words}; {limit}. Cut the layer so that areas do not overlap." if stops else f"{words}; kept."
    findings.note(table, "geometry", "overlap", touched, len(frame), STOP if stops else KEPT, message)


def _layer(frame: gpd.GeoDataFrame, settings: AreaSettings) -> AreaLayer:
    variables = [
        Variable(c.name, c.label or _label(c.name), "count", c.column or c.name, None, False, False, c.unit)
        for c in settings.counts
    ]
    variables += [
        Variable(
            r.name,
            r.label or _label(r.name),
            "rate",
            r.numerator,
            r.denominator,
            r.classify,
            r.protected,
            "share",
        )
        for r in settings.rates
    ]
    scaled = {}
    for mean in settings.means:
        column = mean.column or mean.name
        if mean.scale != 1:
            scaled[f"{column} × {mean.scale:g}"] = frame[column] * mean.scale
            column = f"{column} × {mean.scale:g}"
        label = mean.label or _label(mean.name)
        variables.append(
            Variable(mean.name, label, "mean", column, mean.weight, mean.classify, mean.protected, mean.unit)
        )
    figures = dict.fromkeys(column for column, key in _columns_of(settings) if key != "id")
    parts = {
        "area_id": frame["area_id"].infer_objects(),
        **{column: frame[column] for column in figures},
        **scaled,
    }
    shapes = gpd.GeoDataFrame(parts, geometry=frame.geometry, crs=frame.crs)
    return AreaLayer(
        settings.name, shapes, tuple(variables), settings.population, settings.vintage, settings.source
    )


def _label(name: str) -> str:
    return name.replace("_", " ").strip() or name
