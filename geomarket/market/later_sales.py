"""Sales that came in after a plan, read and checked as the plan's own were."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import ibis.expr.types as ir
import pandas as pd

from geomarket.errors import MissingDataError, TableError
from geomarket.market.big_tables import clean_sales
from geomarket.market.connection import connect, out_of_room
from geomarket.market.context import Context, KnownIds
from geomarket.market.files import check_unchanged
from geomarket.market.findings import Findings
from geomarket.market.reading import RawTable, read_raw
from geomarket.market.settings import PlanSettings

__all__ = ["LaterSales", "read_later_sales"]

# how a table was read says how a later file of the same system is read; where it was does not
_OF_THE_FILE = {"path", "sheet", "layer"}


@dataclass(frozen=True)
class LaterSales:
    """Sales of a later time: an ibis table as ``Market.sales``, what was found in it, and the files' hashes."""

    sales: ir.Table
    quality: pd.DataFrame
    quarantine: pd.DataFrame
    inputs: dict[str, str]


def read_later_sales(
    path: str | Path,
    stores: Iterable[str],
    settings: Mapping[str, Any],
    today: dt.date | None = None,
) -> LaterSales:
    """Read sales of a time after a plan.

    Parameters
    ----------
    path : path
        CSV, Parquet or Excel file, or a folder of them, with the columns of the plan's sales table: under our names, or
        under those that the plan's settings give.
    stores : iterable of str
        Stores of the plan; rows of others are set aside.
    settings : mapping
        The plan's settings as its manifest holds them: grain, columns, date format … are taken from there.
    today : date, optional
        Dates after this are in the future; the clock's day by default.

    Returns
    -------
    LaterSales

    Raises
    ------
    MissingDataError
        If there is no such file.
    TableError
        If the table can't be used as a whole; the message says why.
    """
    file = Path(path)
    if not file.exists():
        raise MissingDataError(f"--sales {path}: no such file or folder.")
    asked = (settings.get("tables") or {}).get("sales") or {}
    asked = {name: value for name, value in asked.items() if name not in _OF_THE_FILE and value is not None}
    backend = connect()
    raw, used = _opened(backend.con, file.resolve(), asked, settings)
    findings = Findings()
    context = Context(used, today or dt.date.today())
    context.known["stores"] = KnownIds("the plan's stores", frozenset(stores))
    try:
        table = backend.table(clean_sales(backend.con, raw, context, findings))
    except duckdb.Error as err:
        words = f"sales: {file.name} can't be checked ({str(err).splitlines()[0]})."
        raise (out_of_room("sales", err) or TableError(words)) from err
    check_unchanged("sales", raw.sources)
    hashes = {Path(source.name).name: source.sha256 for source in raw.sources}
    return LaterSales(table, findings.quality, findings.quarantine, hashes)


def _opened(
    connection: duckdb.DuckDBPyConnection, file: Path, asked: dict[str, Any], settings: Mapping[str, Any]
) -> tuple[RawTable, PlanSettings]:
    """Open the file with the plan's column names, or else with ours."""
    first: TableError | None = None
    for table in (asked, {name: value for name, value in asked.items() if name != "columns"}):
        used = _settings(file, table, settings)
        section = used.tables.sales
        assert section is not None
        try:
            return read_raw(connection, "sales", section, file.parent), used
        except TableError as err:
            first = first or err
            if not asked.get("columns"):
                break
    assert first is not None
    raise first


def _settings(file: Path, table: Mapping[str, Any], settings: Mapping[str, Any]) -> PlanSettings:
    plan = settings.get("plan") or {}
    content = {
        "plan": {"period": plan.get("period", "week")},
        "tables": {"sales": {**table, "path": file.name}},
    }
    return PlanSettings.model_validate_json(json.dumps(content))
