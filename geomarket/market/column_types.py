"""Whether a whole column is of the wrong type: then the table or a setting is wrong, not single rows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import duckdb

from geomarket.errors import SettingsError, TableError
from geomarket.market.casting import Caster, comma_number, identifier, typed_select, zone_of
from geomarket.market.contract import TABLES, Column
from geomarket.market.findings import KEPT, Findings
from geomarket.market.reading import RawTable
from geomarket.market.settings import TableSettings

__all__ = ["caster_of", "check_types", "columns_of", "count_values", "cure_of", "naming_the_format"]

_CURES = {
    "depth": "Write a share: 0.2 for 20% off.",
    "lon": 'Are these metres of a grid? Then set crs = "EPSG:…".',
    "lat": 'Are these metres of a grid? Then set crs = "EPSG:…".',
    "units": "Units are whole: give packs or pieces, not weights.",
}
_MOST = 0.5
_GREENWICH = ("UTC", "Z", "z", "+00:00", "+0000", "+00")


def caster_of(settings: TableSettings) -> Caster:
    """Return how a table's values are cast."""
    return Caster(settings.decimal, settings.date_format, settings.timezone)


def cure_of(table: str, column: str) -> str:
    """Return a sentence on what to do about a column whose values are not what they should be."""
    return _CURES.get(column, f"Is [tables.{table}.columns] {column} the right column?")


def columns_of(raw: RawTable) -> dict[str, tuple[Column, str, str]]:
    """Return name -> (column of the contract, SQL of the column as read, its SQL type)."""
    contract = TABLES[raw.name]
    return {ours: (contract.column(ours), sql, kind) for ours, (sql, kind) in raw.columns.items()}


@contextmanager
def naming_the_format(raw: RawTable, settings: TableSettings) -> Iterator[None]:
    """Turn DuckDB's error about a date format into one that names the setting."""
    try:
        yield
    except duckdb.InvalidInputException as err:
        if settings.date_format is None:
            raise
        raise SettingsError(
            f"[tables.{raw.name}] date_format = {settings.date_format!r} can't be used; expected a format such as "
            '"%d/%m/%Y".'
        ) from err


def count_values(
    connection: duckdb.DuckDBPyConnection, raw: RawTable, settings: TableSettings
) -> dict[str, tuple[int, int]]:
    """Return column -> how many values there are, and how many of them can't be read; counted by DuckDB."""
    columns = columns_of(raw)
    typed = typed_select(caster_of(settings), columns, raw.relation)
    parts = []
    for ours in columns:
        parts += [f"count({identifier(f'text {ours}')})", f"count(*) FILTER ({_unreadable(ours)})"]
    with naming_the_format(raw, settings):
        counts = connection.execute(f"SELECT {', '.join(parts)} FROM ({typed})").fetchall()[0]
    return {ours: (counts[2 * i], counts[2 * i + 1]) for i, ours in enumerate(columns)}


def check_types(
    connection: duckdb.DuckDBPyConnection,
    raw: RawTable,
    settings: TableSettings,
    counts: Mapping[str, tuple[int, int]],
    findings: Findings,
) -> None:
    """Check that most values of each column can be read, and that its dates are of one time zone.

    Decimal commas are the commonest reason why they can't; the message then names the setting that mends it.

    Parameters
    ----------
    connection : DuckDB connection
        Holds the raw relation.
    raw : RawTable
        The table as read.
    settings : TableSettings
        Its section.
    counts : mapping
        Column -> how many values there are, and how many of them can't be read.
    findings : Findings
        Gets a note where days were cut off by the clock of Greenwich.

    Raises
    ------
    TableError
        If most values of a column can't be read, or its dates mix time zones and none is set.
    """
    columns = columns_of(raw)
    typed = typed_select(caster_of(settings), columns, raw.relation)
    for ours, (given, bad) in counts.items():
        if bad:
            text = identifier(f"text {ours}")
            commas, example = connection.execute(
                f"SELECT count(*) FILTER ({comma_number(text)}), min({text}) FROM ({typed}) WHERE {_unreadable(ours)}"
            ).fetchall()[0]
            _check_column(raw, ours, (given, bad, commas, example), settings)
    _check_zones(connection, raw, settings, findings)


def _unreadable(ours: str) -> str:
    return f"{identifier(f'text {ours}')} IS NOT NULL AND {identifier(f'value {ours}')} IS NULL"


def _check_column(
    raw: RawTable, ours: str, counts: tuple[int, int, int, str], settings: TableSettings
) -> None:
    given, bad, commas, example = counts
    column = TABLES[raw.name].column(ours)
    if bad and commas >= _MOST * bad and settings.decimal == ".":
        raise TableError(
            f"{raw.name}: {ours}: {commas:,} of {given:,} values have a decimal comma ({example!r}). "
            f'Set decimal = "," in [tables.{raw.name}].'
        )
    if bad <= _MOST * given:
        return
    cure = cure_of(raw.name, ours)
    if column.kind == "date":
        cure = f'Set date_format in [tables.{raw.name}], such as "%d/%m/%Y".'
    elif settings.decimal == "," and "." in str(example):
        cure = f'Set decimal = "." in [tables.{raw.name}].'
    words = f"{bad:,} of {given:,} values are not {column.expected} (such as {example!r})"
    raise TableError(f"{raw.name}: {ours}: {words}. {cure}")


def _check_zones(
    connection: duckdb.DuckDBPyConnection, raw: RawTable, settings: TableSettings, findings: Findings
) -> None:
    if settings.timezone:
        return
    for ours, (column, sql, kind) in columns_of(raw).items():
        if column.kind != "date":
            continue
        zones = ["UTC"] if kind == "TIMESTAMP WITH TIME ZONE" else []
        if kind == "VARCHAR":
            found = connection.execute(
                f"SELECT DISTINCT {zone_of(sql)} FROM {raw.relation} "
                f"WHERE nullif(trim({sql}), '') IS NOT NULL ORDER BY 1"
            ).fetchall()
            zones = [zone or "none" for (zone,) in found]
        cure = f'Set timezone in [tables.{raw.name}] to the one whose calendar days count, such as "Europe/Berlin".'
        if len(zones) > 1:
            raise TableError(f"{raw.name}: {ours} mixes time zones ({', '.join(zones[:6])}). {cure}")
        if zones and zones[0] in _GREENWICH:
            message = f"{raw.name}: {ours} is in UTC, and so are the days. {cure}"
            findings.note(raw.name, ours, "times in UTC", raw.rows, raw.total, KEPT, message)
