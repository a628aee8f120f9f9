"""Files into raw DuckDB relations: nothing is judged or converted here, only opened.

A CSV file is read as text throughout, so that "007" stays "007" and every value that can't be converted
is found by row. Parquet is not copied: its relation is a view on the files.
"""

from __future__ import annotations

import csv
import datetime as dt
import shutil
import tempfile
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import duckdb
import geopandas as gpd
import pyarrow as pa
import pyarrow.parquet as pq

from geomarket.errors import TableError
from geomarket.market.casting import identifier, literal
from geomarket.market.connection import out_of_room
from geomarket.market.contract import POINT_TABLES, TABLES, TableContract
from geomarket.market.files import CSV, EXCEL, GEO, Source, find_sources, require_text
from geomarket.market.remote import for_duckdb
from geomarket.market.settings import TableSettings
from geomarket.market.spelling import did_you_mean

__all__ = ["RawTable", "Reject", "read_geometry", "read_raw"]

_SEPARATORS = (",", ";", "\t", "|")
_LARGEST_WORKBOOK = 2**31
_HIGHEST_COMPRESSION = 500
_READABLE = {
    *("VARCHAR", "BOOLEAN", "DATE", "TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT", "FLOAT", "DOUBLE"),
    *("UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT", "UHUGEINT", "DECIMAL", "ENUM"),
    *("TIMESTAMP", "TIMESTAMP_S", "TIMESTAMP_MS", "TIMESTAMP_NS", "TIMESTAMP WITH TIME ZONE"),
}


@dataclass(frozen=True)
class Reject:
    """A line of a CSV file that is no row: it has too many or too few values."""

    line: int
    text: str
    reason: str


@dataclass(frozen=True)
class RawTable:
    """A table as it was read.

    Parameters
    ----------
    name : str
        Name of the table.
    relation : str
        SQL of the relation that holds it (quoted).
    columns : dict
        Our column name -> (SQL of the column, its SQL type), for the columns of the contract that are there.
    further : dict
        Name in the file -> (SQL of the column, its SQL type), for all other columns.
    rows : int
        Rows in the relation.
    sources : tuple of Source
        The files.
    rejects : tuple of Reject
        Lines that are not in the relation.
    is_text : bool
        Whether everything was read as text (CSV and Excel).
    in_degrees : bool
        Whether lon and lat were made from the geometry of a map file.
    """

    name: str
    relation: str
    columns: dict[str, tuple[str, str]]
    further: dict[str, tuple[str, str]]
    rows: int
    sources: tuple[Source, ...]
    rejects: tuple[Reject, ...] = ()
    is_text: bool = False
    in_degrees: bool = False

    @property
    def total(self) -> int:
        """Rows and rejected lines together."""
        return self.rows + len(self.rejects)


@dataclass
class _Opened:
    """A relation, and what its columns are called in the file and in SQL."""

    relation: str
    names: dict[str, str]
    rejects: list[Reject] = field(default_factory=list)
    is_text: bool = False
    in_degrees: bool = False


def read_raw(
    connection: duckdb.DuckDBPyConnection, name: str, settings: TableSettings, folder: Path
) -> RawTable:
    """Open a table's files and find the contract's columns in them.

    Parameters
    ----------
    connection : DuckDB connection
        Where the relation is made, under the name ``raw_<name>``.
    name : str
        A table of the contract.
    settings : TableSettings
        Its section.
    folder : Path
        Folder of plan.toml.

    Returns
    -------
    RawTable

    Raises
    ------
    MissingDataError
        If a file isn't there.
    TableError
        If a file can't be read as what it should be, has no rows, or lacks a column.
    """
    sources = find_sources(name, settings.paths, folder)
    suffix = sources[0].suffix
    try:
        if suffix in CSV:
            opened = _open_csv(connection, name, sources, settings)
        elif suffix in EXCEL:
            opened = _open_excel(connection, name, sources, settings)
        elif suffix in GEO or _is_points_only(name, sources, settings):
            opened = _open_points(connection, name, sources, settings)
        else:
            opened = _open_parquet(connection, name, sources)
        return _with_columns(connection, TABLES[name], opened, tuple(sources), settings)
    except duckdb.Error as err:
        raise (out_of_room(name, err) or TableError(_cant_read(name, sources, err))) from err


def read_geometry(
    table: str, source: Source, layer: str | None, crs: str | None, encoding: str = "utf-8"
) -> gpd.GeoDataFrame:
    """Read a file with geometry.

    Raises
    ------
    TableError
        If it can't be read, has no geometry, or nobody says what its coordinates mean.
    """
    try:
        if source.suffix in GEO:
            options: dict[str, Any] = {"layer": layer} if layer is not None else {}
            if source.suffix == ".shp":
                options["encoding"] = encoding
            frame = gpd.read_file(source.path, **options)
        elif source.suffix in CSV | EXCEL:
            raise TableError(
                f"{table}: {source.name} has no geometry; expected GeoParquet, GeoPackage, Shapefile or GeoJSON."
            )
        else:
            frame = gpd.read_parquet(source.path)
    except TableError:
        raise
    except Exception as err:  # GDAL, pyogrio and pyarrow raise many types of their own
        raise TableError(
            f"{table}: {source.name} can't be read ({_first_line(err)}){_layers(source, layer)}"
        ) from err
    if not isinstance(frame, gpd.GeoDataFrame) or frame.active_geometry_name is None:
        raise TableError(f"{table}: {source.name} has no geometry column.")
    if frame.active_geometry_name != "geometry":
        frame = frame.rename_geometry("geometry")
    if frame.crs is None:
        if crs is None:
            raise TableError(
                f"{table}: {source.name} does not say which coordinate reference system it is in. "
                'Set crs = "EPSG:…" (4326 for longitude and latitude; a national grid has its own number).'
            )
        frame = frame.set_crs(crs)
    return frame


def _with_columns(
    connection: duckdb.DuckDBPyConnection,
    contract: TableContract,
    opened: _Opened,
    sources: tuple[Source, ...],
    settings: TableSettings,
) -> RawTable:
    kinds = {
        column: kind.split("(")[0]
        for column, kind, *_ in connection.execute(f"DESCRIBE {opened.relation}").fetchall()
    }
    there = {theirs: (identifier(column), kinds[column]) for theirs, column in opened.names.items()}
    wanted = {ours: settings.columns.get(ours, ours) for ours in contract.names}
    _require_columns(contract, wanted, list(there), sources, settings)
    columns = {ours: there[theirs] for ours, theirs in wanted.items() if theirs in there}
    for ours, (_, kind) in columns.items():
        if kind not in _READABLE:
            raise TableError(
                f"{contract.name}: column {wanted[ours]!r} of {sources[0].name} holds {kind.lower()} values; "
                f"expected {contract.column(ours).expected}."
            )
    used = {wanted[ours] for ours in columns} | set(contract.names)
    further = {name: sql for name, sql in there.items() if name not in used and sql[1] in _READABLE}
    count = connection.execute(f"SELECT count(*) FROM {opened.relation}").fetchall()[0][0]
    if count == 0:
        raise TableError(
            f"{contract.name}: {sources[0].name} has no rows. Fill it"
            + (
                "."
                if contract.name in ("stores", "products", "sales")
                else f", or leave out [tables.{contract.name}]."
            )
        )
    return RawTable(
        contract.name,
        opened.relation,
        columns,
        further,
        count,
        sources,
        tuple(opened.rejects),
        opened.is_text,
        opened.in_degrees,
    )


def _require_columns(
    contract: TableContract,
    wanted: dict[str, str],
    there: list[str],
    sources: tuple[Source, ...],
    settings: TableSettings,
) -> None:
    lines = []
    for ours, theirs in wanted.items():
        if theirs in there or (ours not in contract.required and ours not in settings.columns):
            continue
        free = [name for name in there if name not in wanted.values()]
        near = did_you_mean(theirs, free)
        cure = f'Set [tables.{contract.name}.columns] {ours} = "<name in the file>".'
        what = f"no column {theirs!r} ({contract.column(ours).doc}) in {sources[0].name}"
        lines.append(f"{contract.name}: {what}{near or '.'} {cure}")
    if not lines:
        return
    if len(there) == 1 and sources[0].suffix in CSV:
        lines.append(
            f'The whole line was taken for one column: set separator = ";" or another in [tables.{contract.name}].'
        )
    raise TableError("\n".join([*lines, f"Columns of {sources[0].name}: {', '.join(there[:40])}."]))


def _open_csv(
    connection: duckdb.DuckDBPyConnection, name: str, sources: list[Source], settings: TableSettings
) -> _Opened:
    utf8 = settings.encoding.lower().replace("_", "-") in ("utf-8", "utf8", "utf-8-sig", "ascii", "us-ascii")
    for source in sources:
        require_text(name, source, settings.encoding)
    header, separator = _header(name, sources[0], settings)
    for source in sources[1:]:
        if _header(name, source, settings)[0] != header:
            raise TableError(
                f"{name}: {source.name} has other columns than {sources[0].name}. Make them alike."
            )
    relation = identifier(f"raw_{name}")
    keys = sources[0].keys
    made = "c"
    while any(key.startswith(made) for key in keys):
        made += "_"
    columns = ", ".join(f"'{made}{i}': 'VARCHAR'" for i in range(len(header)))
    with tempfile.TemporaryDirectory(prefix="geomarket-") as scratch:
        paths = [
            source.path if utf8 else _as_utf8(source, settings.encoding, Path(scratch), i)
            for i, source in enumerate(sources)
        ]
        files = ", ".join(literal(str(path)) for path in paths)
        connection.execute(
            f"CREATE OR REPLACE TABLE {relation} AS SELECT * FROM read_csv([{files}], auto_detect = false, "
            f"header = true, delim = {literal(separator)}, quote = '\"', escape = '\"', columns = {{{columns}}}, "
            f"{_partitions(sources)}, store_rejects = true, "
            "rejects_limit = 0, rejects_scan = 'reject_scans', rejects_table = 'reject_lines')"
        ).fetchall()
    rejects = _rejects(connection, name, sources[0])
    names = {title: f"{made}{i}" for i, title in enumerate(header)}
    return _Opened(relation, {**names, **{key: key for key in keys}}, rejects, True)


def _header(name: str, source: Source, settings: TableSettings) -> tuple[list[str], str]:
    encoding = (
        "utf-8-sig" if settings.encoding.lower().replace("_", "-") in ("utf-8", "utf8") else settings.encoding
    )
    with source.path.open(encoding=encoding, newline="") as file:
        first = file.readline()
        if not first.strip():
            raise TableError(f"{name}: {source.name} is empty; expected a line of column names, then rows.")
        separator = settings.separator or max(_SEPARATORS, key=first.count)
        file.seek(0)
        try:
            header = [title.strip() for title in next(csv.reader(file, delimiter=separator))]
        except (csv.Error, StopIteration) as err:
            raise TableError(
                f"{name}: the first line of {source.name} can't be read as column names ({err})."
            ) from err
    twice = sorted({title for title in header if title and header.count(title) > 1})
    if twice:
        raise TableError(
            f"{name}: {source.name} has two columns named {', '.join(map(repr, twice))}. Rename one."
        )
    return [title or f"column {i + 1}" for i, title in enumerate(header)], separator


def _as_utf8(source: Source, encoding: str, scratch: Path, number: int) -> Path:
    # DuckDB reads UTF-8; other encodings would need an extension that has to be downloaded.
    folders = [part for part in source.path.parts[:-1] if part.split("=", 1)[0] in source.keys]
    target = scratch.joinpath(str(number), *folders, "utf8.csv")
    target.parent.mkdir(parents=True)
    with (
        source.path.open(encoding=encoding, newline="") as old,
        target.open("w", encoding="utf-8", newline="") as new,
    ):
        shutil.copyfileobj(old, new)
    return target


def _rejects(connection: duckdb.DuckDBPyConnection, name: str, source: Source) -> list[Reject]:
    rows = connection.execute(
        "SELECT line, any_value(csv_line), any_value(CAST(error_type AS VARCHAR)), any_value(error_message) "
        "FROM reject_lines GROUP BY file_id, line ORDER BY file_id, line"
    ).fetchall()
    connection.execute("DROP TABLE IF EXISTS reject_lines").fetchall()
    connection.execute("DROP TABLE IF EXISTS reject_scans").fetchall()
    for line, _, kind, message in rows:
        if kind not in ("MISSING COLUMNS", "TOO MANY COLUMNS"):
            raise TableError(
                f"{name}: {source.name} line {line}: {message} All lines after it are in doubt: mend the file "
                "(a quotation mark inside a value must be doubled)."
            )
    words = {
        "MISSING COLUMNS": "too few values in the line",
        "TOO MANY COLUMNS": "too many values in the line",
    }
    return [Reject(int(line), text or "", words[kind]) for line, text, kind, _ in rows]


def _open_parquet(connection: duckdb.DuckDBPyConnection, name: str, sources: list[Source]) -> _Opened:
    relation = identifier(f"raw_{name}")
    _register(connection, sources)
    files = ", ".join(literal(source.location) for source in sources)
    connection.execute(
        f"CREATE OR REPLACE VIEW {relation} AS SELECT * FROM read_parquet([{files}], {_partitions(sources)})"
    ).fetchall()
    names = [row[0] for row in connection.execute(f"DESCRIBE {relation}").fetchall()]
    return _Opened(relation, {title: title for title in names})


def _partitions(sources: list[Source]) -> str:
    # Their values stay texts, as in a CSV file: "007" in a folder's name is no number.
    return f"hive_partitioning = {'true' if sources[0].keys else 'false'}, hive_types_autocast = false"


def _register(connection: duckdb.DuckDBPyConnection, sources: list[Source]) -> None:
    """Let DuckDB open what lies at URLs."""
    for source in sources:
        if source.is_in_place and source.remote is not None:
            kinds = source.remote.filesystem.protocol
            kinds = {kinds} if isinstance(kinds, str) else set(kinds)
            if not kinds & set(connection.list_filesystems()):
                connection.register_filesystem(for_duckdb(source.remote.filesystem))


def _open_excel(
    connection: duckdb.DuckDBPyConnection, name: str, sources: list[Source], settings: TableSettings
) -> _Opened:
    header: list[str] | None = None
    columns: list[list[str | None]] = []
    for source in sources:
        rows = _sheet(name, source, settings.sheet)
        titles = next(rows, None)
        if titles is None:
            raise TableError(f"{name}: {source.name} is empty; expected a row of column names, then rows.")
        while titles and titles[-1] is None:
            titles.pop()
        named = [title or f"column {i + 1}" for i, title in enumerate(titles)]
        if header is None:
            header, columns = named, [[] for _ in named]
        elif header != named:
            raise TableError(
                f"{name}: {source.name} has other columns than {sources[0].name}. Make them alike."
            )
        for row in rows:
            for i, values in enumerate(columns):
                values.append(row[i] if i < len(row) else None)
    header = header or []
    twice = sorted({title for title in header if header.count(title) > 1})
    if twice:
        raise TableError(
            f"{name}: {sources[0].name} has two columns named {', '.join(map(repr, twice))}. Rename one."
        )
    arrays = {f"c{i}": pa.array(values, pa.string()) for i, values in enumerate(columns)}
    _store(connection, f"raw_{name}", pa.table(arrays))
    return _Opened(
        identifier(f"raw_{name}"), {title: f"c{i}" for i, title in enumerate(header)}, is_text=True
    )


def _sheet(name: str, source: Source, sheet: str | None) -> Iterator[list[str | None]]:
    """Yield the rows of a sheet as text, without empty rows."""
    import openpyxl

    _refuse_zip_bomb(name, source)
    try:
        book = openpyxl.load_workbook(source.path, read_only=True, data_only=True, keep_links=False)
    except Exception as err:  # openpyxl lets errors of zipfile, ElementTree and its own through
        raise TableError(
            f"{name}: {source.name} can't be read as an Excel workbook ({_first_line(err)})."
        ) from err
    try:
        if sheet is not None and sheet not in book.sheetnames:
            near = did_you_mean(sheet, book.sheetnames, f"; it has {', '.join(book.sheetnames)}.")
            raise TableError(f"{name}: no sheet {sheet!r} in {source.name}{near}")
        page = book[sheet] if sheet is not None else book.worksheets[0]
        for row in page.iter_rows(values_only=True):
            values = [_cell_text(value) for value in row]
            if any(value is not None for value in values):
                yield values
    except TableError:
        raise
    except Exception as err:  # a broken sheet shows only while it is read
        raise TableError(
            f"{name}: {source.name} can't be read as an Excel workbook ({_first_line(err)})."
        ) from err
    finally:
        book.close()


def _refuse_zip_bomb(name: str, source: Source) -> None:
    try:
        with zipfile.ZipFile(source.path) as archive:
            parts = archive.infolist()
    except (OSError, zipfile.BadZipFile) as err:
        raise TableError(f"{name}: {source.name} is not an Excel workbook (.xlsx) ({err}).") from err
    unpacked = sum(part.file_size for part in parts)
    packed = max(sum(part.compress_size for part in parts), 1)
    if unpacked > _LARGEST_WORKBOOK or (unpacked > 2**27 and unpacked / packed > _HIGHEST_COMPRESSION):
        raise TableError(
            f"{name}: {source.name} would unpack to {unpacked / 2**20:,.0f} MB. Give large tables as CSV or Parquet."
        )


def _cell_text(value: object) -> str | None:
    if value is None:
        return None
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        return str(int(value))
    if isinstance(value, dt.datetime) and value.time() == dt.time():
        return value.date().isoformat()
    if isinstance(value, dt.date | dt.time):
        return value.isoformat()
    text = str(value).strip()
    return text or None


def _is_points_only(name: str, sources: list[Source], settings: TableSettings) -> bool:
    """Whether a Parquet file holds its places as geometry rather than as two columns."""
    if name not in POINT_TABLES:
        return False
    try:
        schema = pq.read_schema(sources[0].path)
    except (OSError, pa.ArrowException):
        return False
    has_columns = all(settings.columns.get(axis, axis) in schema.names for axis in ("lon", "lat"))
    return not has_columns and b"geo" in (schema.metadata or {})


def _open_points(
    connection: duckdb.DuckDBPyConnection, name: str, sources: list[Source], settings: TableSettings
) -> _Opened:
    if name not in POINT_TABLES:
        raise TableError(f"{name}: {sources[0].name} is a map file; expected CSV, Parquet or Excel.")
    if len(sources) > 1:
        raise TableError(f"{name}: several map files; expected one.")
    frame = read_geometry(name, sources[0], settings.layer, settings.crs, settings.encoding)
    there = ~(frame.geometry.isna() | frame.geometry.is_empty)
    kinds = sorted(set(frame.geometry[there].geom_type) - {"Point"})
    if kinds:
        raise TableError(
            f"{name}: {sources[0].name} holds {', '.join(kinds)}; expected one point for each row."
        )
    places = frame.geometry.to_crs("EPSG:4326")
    table = frame.drop(columns="geometry").assign(lon=places.x.where(there), lat=places.y.where(there))
    _store(connection, f"raw_{name}", pa.Table.from_pandas(table, preserve_index=False))
    titles = {str(title): str(title) for title in table.columns}
    return _Opened(identifier(f"raw_{name}"), titles, in_degrees=True)


def _store(connection: duckdb.DuckDBPyConnection, relation: str, table: pa.Table) -> None:
    connection.register("geomarket_incoming", table)
    connection.execute(
        f"CREATE OR REPLACE TABLE {identifier(relation)} AS SELECT * FROM geomarket_incoming"
    ).fetchall()
    connection.unregister("geomarket_incoming")


def _layers(source: Source, layer: str | None) -> str:
    if layer is None or source.suffix != ".gpkg":
        return "."
    try:
        names = [str(name) for name in gpd.list_layers(source.path)["name"]]
    except Exception:  # the file can't be read at all, which the message says already
        return "."
    return did_you_mean(layer, names, f"; it has the layers {', '.join(names)}.")


def _cant_read(name: str, sources: list[Source], err: duckdb.Error) -> str:
    first = _first_line(err)
    cure = "Is the file complete?" if sources[0].suffix not in CSV else "Check the lines around it."
    return f"{name}: {sources[0].name} can't be read ({first}). {cure}"


def _first_line(err: Exception) -> str:
    text = next((line.strip() for line in str(err).splitlines() if line.strip()), type(err).__name__)
    return text if len(text) <= 160 else text[:157] + "..."
