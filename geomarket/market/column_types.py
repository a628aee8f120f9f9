"""Whether a whole column is of the wrong type: then the table or a setting is wrong, not single rows."""

from __future__ import annotations

import duckdb

from geomarket.errors import SettingsError, TableError
from geomarket.market.casting import Caster, comma_number, identifier, typed_select, zone_of
from geomarket.market.contract import TABLES, Column
from geomarket.market.reading import RawTable
from geomarket.market.settings import TableSettings

__all__ = ["caster_of", "check_types", "columns_of", "cure_of"]

_CURES = {
    "depth": "Write a share: 0.2 for 20 % off.",
    "lon": 'Are these metres of a grid? Then set crs = "EPSG:…".',
    "lat": 'Are these metres of a grid? Then set crs = "EPSG:…".',
    "units": "Units are whole: give packs or pieces, not weights.",
}
_MOST = 0.5


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


def check_types(connection: duckdb.DuckDBPyConnection, raw: RawTable, settings: TableSettings) -> None:
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

    Raises
    ------
    TableError
        If most values of a column can't be read, or its dates mix time zones and none is set.
    SettingsError
        If date_format is no format.
    """
    columns = columns_of(raw)
    typed = typed_select(caster_of(settings), columns, raw.relation)
    parts = []
    for ours in columns:
        text, value = identifier(f"text {ours}"), identifier(f"value {ours}")
        bad = f"{text} IS NOT NULL AND {value} IS NULL"
        commas = f"count(*) FILTER ({bad} AND {comma_number(text)})"
        parts += [f"count({text})", f"count(*) FILTER ({bad})", commas, f"min({text}) FILTER ({bad})"]
    try:
        counts = connection.execute(f"SELECT {', '.join(parts)} FROM ({typed})").fetchall()[0]
    except duckdb.InvalidInputException as err:
        if settings.date_format is None:
            raise
        raise SettingsError(
            f"[tables.{raw.name}] date_format = {settings.date_format!r} can't be used; expected a format such as "
            '"%d/%m/%Y".'
        ) from err
    for i, ours in enumerate(raw.columns):
        _check_column(raw, ours, counts[4 * i : 4 * i + 4], settings)
    _refuse_mixed_zones(connection, raw, settings)


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


def _refuse_mixed_zones(
    connection: duckdb.DuckDBPyConnection, raw: RawTable, settings: TableSettings
) -> None:
    if settings.timezone:
        return
    for ours, (sql, kind) in raw.columns.items():
        if TABLES[raw.name].column(ours).kind != "date" or kind != "VARCHAR":
            continue
        zones = connection.execute(
            f"SELECT DISTINCT {zone_of(sql)} FROM {raw.relation} WHERE nullif(trim({sql}), '') IS NOT NULL ORDER BY 1"
        ).fetchall()
        names = ["none" if zone == "" else zone for (zone,) in zones]
        if len(names) > 1:
            raise TableError(
                f"{raw.name}: {ours} mixes time zones ({', '.join(names[:6])}). Set timezone in [tables.{raw.name}] to "
                'the one whose calendar days count, such as "Europe/Berlin".'
            )
