"""Sales and baskets: read, checked and netted inside DuckDB, never loaded whole."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import duckdb
import pyarrow as pa

from geomarket.errors import TableError
from geomarket.market.casting import identifier, literal
from geomarket.market.column_types import caster_of, check_types
from geomarket.market.context import Context
from geomarket.market.contract import TABLES, Column
from geomarket.market.findings import ADDED_UP, KEPT, LEFT_OUT, NETTED, Findings
from geomarket.market.reading import RawTable
from geomarket.market.schemas import MISSING, limit_reason
from geomarket.market.small_tables import file_rows, note_read

__all__ = ["clean_baskets", "clean_sales"]

NO_REVENUE = "units without revenue (zero price)"
NO_UNITS = "revenue without units"
OPPOSITE_SIGNS = "units and revenue have opposite signs"
MORE_RETURNED = "more returned than sold in the period"


@dataclass(frozen=True)
class _Fault:
    """One way a row can be unusable: SQL that is true for it, and SQL of the value to show."""

    column: str
    reason: str
    condition: str
    value: str


def clean_sales(
    connection: duckdb.DuckDBPyConnection, raw: RawTable, context: Context, findings: Findings
) -> str:
    """Check sales and net them to one row per store, SKU and period.

    Returns are subtracted within store × SKU × period. Where more was returned than sold in a period, the period's
    rows are set aside; where the two cancel out there was no trade and no row.

    Parameters
    ----------
    connection : DuckDB connection
        Holds the raw relation; gets the table ``sales``.
    raw : RawTable
        The table as read.
    context : Context
        Stores, products, the calendar.
    findings : Findings
        Gets what was found.

    Returns
    -------
    str
        Name of the DuckDB table.

    Raises
    ------
    TableError
        If most values of a column can't be used.
    """
    checked = _checked(connection, raw, context, findings)
    plan = context.settings.plan
    start = f"CAST(date_trunc({literal(plan.period)}, period) AS DATE)"
    connection.execute(
        f"CREATE OR REPLACE TEMP TABLE netted_sales AS SELECT store_id, sku, {start} AS period, "
        "CAST(sum(units) AS BIGINT) AS units, CAST(sum(revenue) AS DECIMAL(18, 2)) AS revenue, "
        "count(*) AS lines, count(*) FILTER (units < 0) AS returns "
        f"FROM {checked} WHERE fault = 0 AND wanted GROUP BY ALL"
    ).fetchall()
    _count_netting(connection, raw, findings)
    _count_part_periods(connection, raw, checked, plan.period, findings)
    connection.execute(
        "CREATE OR REPLACE TABLE sales AS SELECT store_id, sku, period, units, revenue FROM netted_sales "
        "WHERE units > 0 ORDER BY store_id, sku, period"
    ).fetchall()
    for name in ("netted_sales", "known_store_id", "known_sku"):
        connection.execute(f"DROP TABLE IF EXISTS {identifier(name)}").fetchall()
    return "sales"


def clean_baskets(
    connection: duckdb.DuckDBPyConnection, raw: RawTable, context: Context, findings: Findings
) -> str:
    """Check basket lines. They stay lines; returns stay negative.

    Basket identifiers that are not whole numbers are numbered in their alphabetical order.

    Parameters
    ----------
    connection, raw, context, findings
        As in :func:`clean_sales`; the connection gets the table ``baskets``.

    Returns
    -------
    str
        Name of the DuckDB table.

    Raises
    ------
    TableError
        If most values of a column can't be used.
    """
    checked = _checked(connection, raw, context, findings)
    usable = f"FROM {checked} WHERE fault = 0 AND wanted"
    texts, returns = connection.execute(
        f"SELECT count(*) FILTER (TRY_CAST(basket_id AS BIGINT) IS NULL), count(*) FILTER (units < 0) {usable}"
    ).fetchall()[0]
    basket = (
        "CAST(dense_rank() OVER (ORDER BY basket_id) AS BIGINT)" if texts else "CAST(basket_id AS BIGINT)"
    )
    connection.execute(
        f"CREATE OR REPLACE TABLE baskets AS SELECT customer_id, {basket} AS basket_id, store_id, "
        f"period AS date, channel, sku, units, revenue {usable} ORDER BY customer_id, basket_id, sku, units, revenue"
    ).fetchall()
    if returns:
        message = f"baskets: {returns:,} of {raw.total:,} lines are returns; kept as negative lines."
        findings.note("baskets", "units", "returns", returns, raw.total, KEPT, message)
    for name in ("known_store_id", "known_sku", "known_customer_id"):
        connection.execute(f"DROP TABLE IF EXISTS {identifier(name)}").fetchall()
    return "baskets"


def _checked(
    connection: duckdb.DuckDBPyConnection, raw: RawTable, context: Context, findings: Findings
) -> str:
    """Make a view of typed rows with ``fault`` (0: none) and ``wanted``; count and list the faulty ones."""
    note_read(raw, findings)
    settings = context.settings.tables.given()[raw.name]
    check_types(connection, raw, settings)
    for column, ids in context.references(raw.name).items():
        known = [(value, True) for value in sorted(ids.usable)] + [
            (value, False) for value in sorted(ids.set_aside)
        ]
        _known_table(connection, f"known_{column}", known)
    faults = _faults(raw, context)
    cases = " ".join(f"WHEN {fault.condition} THEN {i + 1}" for i, fault in enumerate(faults))
    view = identifier(f"checked_{raw.name}")
    judged = f"SELECT *, CASE {cases} ELSE 0 END AS fault, {_wanted(context)} AS wanted"
    connection.execute(
        f"CREATE OR REPLACE TEMP VIEW {view} AS {judged} FROM ({_typed(raw, context)})"
    ).fetchall()
    # Rows are numbered only to list faulty ones: numbering keeps DuckDB from scanning in parallel.
    numbered = f"({judged} FROM ({_typed(raw, context, numbered=True)}))"
    _count_faults(connection, raw, (view, numbered), faults, context, findings)
    _count_unwanted(connection, raw, view, context, findings)
    return view


def _known_table(connection: duckdb.DuckDBPyConnection, name: str, ids: list[tuple[str, bool]]) -> None:
    connection.execute(f"CREATE OR REPLACE TABLE {identifier(name)} (id VARCHAR, usable BOOLEAN)").fetchall()
    if ids:
        table = pa.table({"id": [value for value, _ in ids], "usable": [usable for _, usable in ids]})
        connection.register("geomarket_incoming", table)
        connection.execute(f"INSERT INTO {identifier(name)} SELECT * FROM geomarket_incoming").fetchall()
        connection.unregister("geomarket_incoming")


def _typed(raw: RawTable, context: Context, numbered: bool = False) -> str:
    """SQL of the typed columns, their texts (``text_…``), and whether their identifiers are known (``known_…``)."""
    caster = caster_of(context.settings.tables.given()[raw.name])
    parts, joins = [], []
    for column in TABLES[raw.name].columns:
        ours = _inner(column)
        if column.name not in raw.columns:
            parts += [f"{literal(str(column.default))} AS {ours}", f"NULL AS text_{ours}"]
            continue
        sql, kind = raw.columns[column.name]
        value = caster.value(column, f"raw.{sql}", kind)
        text = caster.text(column, f"raw.{sql}", kind)
        if column.default is not None:
            value = f"coalesce({value}, {literal(str(column.default))})"
        parts += [f"{value} AS {ours}", f"{text} AS text_{ours}"]
    if numbered:
        parts.append("row_number() OVER () AS row")
    inner = f"SELECT {', '.join(parts)} FROM {raw.relation} AS raw"
    known = []
    for name in context.references(raw.name):
        joins.append(f"LEFT JOIN known_{name} ON known_{name}.id = typed.{name}")
        known.append(f", known_{name}.usable AS known_{name}")
    return f"SELECT typed.*{''.join(known)} FROM ({inner}) AS typed {' '.join(joins)}"


def _inner(column: Column) -> str:
    return "period" if column.kind == "date" else column.name


def _faults(raw: RawTable, context: Context) -> list[_Fault]:
    """All ways a row can be unusable, in the order in which they are tried."""
    faults = []
    references = context.references(raw.name)
    for column in TABLES[raw.name].columns:
        ours = _inner(column)
        text = f"text_{ours}"
        if column.default is None:
            faults.append(_Fault(column.name, MISSING, f"{text} IS NULL", "''"))
            faults.append(_Fault(column.name, limit_reason(column), f"{ours} IS NULL", text))
        if column.name in references:
            table, known = references[column.name].table, f"known_{column.name}"
            faults.append(_Fault(column.name, f"is not in {table}", f"{known} IS NULL", ours))
            faults.append(_Fault(column.name, f"was set aside in {table}", f"NOT {known}", ours))
        if column.kind == "date":
            early, late = (f"DATE {literal(day.isoformat())}" for day in (context.earliest, context.latest))
            faults.append(_Fault(column.name, f"before {context.earliest}", f"{ours} < {early}", text))
            faults.append(
                _Fault(column.name, f"after {context.latest} (in the future)", f"{ours} > {late}", text)
            )
    both = "CAST(units AS VARCHAR) || ', ' || CAST(revenue AS VARCHAR)"
    faults.append(_Fault("revenue", OPPOSITE_SIGNS, "units * sign(revenue) < 0", both))
    faults.append(_Fault("units", NO_UNITS, "units = 0 AND revenue <> 0", both))
    if context.settings.quality.on_zero_price == "quarantine":
        faults.append(_Fault("revenue", NO_REVENUE, "units > 0 AND revenue = 0", both))
    return faults


def _wanted(context: Context) -> str:
    plan = context.settings.plan
    conditions = ["units <> 0"]
    if plan.start:
        conditions.append(f"period >= DATE {literal(plan.start.isoformat())}")
    if plan.end:
        conditions.append(f"period < DATE {literal(plan.end.isoformat())}")
    return f"({' AND '.join(conditions)})"


def _count_faults(
    connection: duckdb.DuckDBPyConnection,
    raw: RawTable,
    relations: tuple[str, str],
    faults: list[_Fault],
    context: Context,
    findings: Findings,
) -> None:
    view, numbered = relations
    counts: dict[int, int] = dict(
        connection.execute(f"SELECT fault, count(*) FROM {view} WHERE fault > 0 GROUP BY fault").fetchall()
    )
    if not counts:
        return
    listed = _listed(connection, numbered, faults, sorted(counts), findings.cap)
    references = context.references(raw.name)
    for number in sorted(counts):
        fault = faults[number - 1]
        rows = [(row, value) for found, row, value in listed if found == number]
        numbers = file_rows((row for row, _ in rows), raw)
        values = [value for _, value in rows]
        cure = ""
        if fault.reason.startswith("is not in"):
            cure = references[fault.column].cure(values)
        elif fault.reason == NO_REVENUE:
            cure = 'Set on_zero_price = "keep" in [quality] if they were given away.'
        findings.set_aside(
            raw.name, fault.column, fault.reason, zip(numbers, values), counts[number], raw.total, cure
        )
    _refuse_mostly_bad(raw, faults, counts, listed)


def _listed(
    connection: duckdb.DuckDBPyConnection, numbered: str, faults: list[_Fault], found: list[int], cap: int
) -> list[tuple[int, int, Any]]:
    """Fault, row and value of the first faulty rows, up to the cap for each fault."""
    values = " ".join(f"WHEN {i} THEN CAST({faults[i - 1].value} AS VARCHAR)" for i in found)
    return connection.execute(
        f"SELECT fault, row, CASE fault {values} END FROM "
        f"{numbered} WHERE fault > 0 "
        f"QUALIFY row_number() OVER (PARTITION BY fault ORDER BY row) <= {int(cap)} ORDER BY fault, row"
    ).fetchall()


def _refuse_mostly_bad(
    raw: RawTable, faults: list[_Fault], counts: dict[int, int], listed: list[tuple[int, int, Any]]
) -> None:
    """A sales table none of whose stores or SKUs are known was joined to the wrong tables."""
    for number, count in counts.items():
        fault = faults[number - 1]
        if fault.reason.startswith("is not in") and count == raw.rows:
            examples = ", ".join(dict.fromkeys(str(value) for found, _, value in listed if found == number))[
                :60
            ]
            raise TableError(
                f"{raw.name}: no row has a {fault.column} that {fault.reason.replace('is not in', 'is in')} "
                f"({examples}). Do both tables write it alike (leading zeros, prefixes)?"
            )


def _count_unwanted(
    connection: duckdb.DuckDBPyConnection, raw: RawTable, view: str, context: Context, findings: Findings
) -> None:
    idle, out = connection.execute(
        f"SELECT count(*) FILTER (units = 0), count(*) FILTER (units <> 0) FROM {view} WHERE fault = 0 AND NOT wanted"
    ).fetchall()[0]
    name = raw.name
    if idle:
        message = f"{name}: {idle:,} of {raw.total:,} rows have neither units nor revenue; {LEFT_OUT}."
        findings.note(name, "units", "no trade", idle, raw.total, LEFT_OUT, message)
    if out:
        plan = context.settings.plan
        window = f"{plan.start or 'the beginning'} to {plan.end or 'the end'}"
        message = (
            f"{name}: {out:,} of {raw.total:,} rows are outside the plan's window ({window}); {LEFT_OUT}."
        )
        findings.note(name, "period", "outside the window", out, raw.total, LEFT_OUT, message)


def _count_netting(connection: duckdb.DuckDBPyConnection, raw: RawTable, findings: Findings) -> None:
    returns, several, cancelled, negative = connection.execute(
        "SELECT coalesce(sum(returns), 0), coalesce(sum(lines) FILTER (lines > 1), 0), "
        "coalesce(sum(lines) FILTER (units = 0), 0), coalesce(sum(lines) FILTER (units < 0), 0) FROM netted_sales"
    ).fetchall()[0]
    total = raw.total
    if returns:
        words = f"{returns:,} of {total:,} rows are returns (negative units)"
        message = f"sales: {words}; {NETTED} within store, SKU and period."
        findings.note("sales", "units", "returns", returns, total, NETTED, message)
    if several:
        message = (
            f"sales: {several:,} of {total:,} rows share their store, SKU and period with others; {ADDED_UP}. "
            "If each should be there once, check for data loaded twice."
        )
        findings.note(
            "sales", "store_id, sku, period", "several rows for one key", several, total, ADDED_UP, message
        )
    if cancelled:
        message = (
            f"sales: {cancelled:,} of {total:,} rows cancel out within store, SKU and period; {LEFT_OUT}."
        )
        findings.note("sales", "units", "cancelled out", cancelled, total, LEFT_OUT, message)
    if negative:
        rows = connection.execute(
            "SELECT NULL, store_id || ', ' || sku || ', ' || CAST(period AS VARCHAR) || ': ' || CAST(units AS VARCHAR) "
            f"FROM netted_sales WHERE units < 0 ORDER BY store_id, sku, period LIMIT {findings.cap}"
        ).fetchall()
        findings.set_aside("sales", "units", MORE_RETURNED, rows, int(negative), total)


def _count_part_periods(
    connection: duckdb.DuckDBPyConnection, raw: RawTable, view: str, period: str, findings: Findings
) -> None:
    """Say so where daily data begin or end in the middle of a period, or weeks are not ISO weeks."""
    start, stamp = f"date_trunc({literal(period)}, period)", "isodow" if period == "week" else "day"
    first, last, opening, closing, stamps, weekday = connection.execute(
        f"SELECT min(period), max(period), CAST(min({start}) AS DATE), "
        f"CAST(max({start}) + INTERVAL 1 {period} AS DATE), count(DISTINCT {stamp}(period)), dayname(min(period)) "
        f"FROM {view} WHERE fault = 0 AND wanted"
    ).fetchall()[0]
    if stamps == 1 and period == "week" and first > opening:
        message = f"sales: weeks are dated by their {weekday}; each counts as the week, Monday to Sunday, it lies in."
        findings.note("sales", "period", "weeks not dated by Monday", 0, raw.total, KEPT, message)
    if stamps <= 1:
        return
    ends = [f"the first {period} begins on {first}"] if first > opening else []
    if (closing - last).days > 1:
        ends.append(f"the last {period} ends on {last}")
    if ends:
        message = (
            f"sales: {' and '.join(ends)}: not a whole {period}. Set start and end in [plan] to leave it out."
        )
        findings.note("sales", "period", "part of a period", 0, raw.total, KEPT, message)
