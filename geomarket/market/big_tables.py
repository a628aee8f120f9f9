"""Sales and baskets: read, checked and netted inside DuckDB, never loaded whole."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, field
from typing import Any

import duckdb
import pyarrow as pa

from geomarket.errors import TableError
from geomarket.market.casting import identifier, literal, typed_select
from geomarket.market.column_types import caster_of, check_types, columns_of, count_values
from geomarket.market.context import Context
from geomarket.market.contract import TABLES, Column
from geomarket.market.findings import ADDED_UP, KEPT, LEFT_OUT, NETTED, Findings
from geomarket.market.reading import RawTable
from geomarket.market.schemas import MISSING, limit_reason
from geomarket.market.scratch import fill, in_parts
from geomarket.market.small_tables import file_rows, note_read

__all__ = [
    "MORE_RETURNED",
    "NO_REVENUE",
    "NO_UNITS",
    "OPPOSITE_SIGNS",
    "clean_baskets",
    "clean_sales",
    "note_part_periods",
]

NO_REVENUE = "units without revenue (zero price)"
NO_UNITS = "revenue without units"
OPPOSITE_SIGNS = "units and revenue have opposite signs"
MORE_RETURNED = "more returned than sold in the period"

_WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")


@dataclass(frozen=True)
class _Fault:
    """One way a row can be unusable: SQL that is true for it, and SQL of the value to show."""

    column: str
    reason: str
    condition: str
    value: str


@dataclass(frozen=True)
class _Checked:
    """A view of typed rows with ``fault`` (0: none) and ``wanted``, and what one pass over it counted.

    ``numbered`` is SQL of the same with row numbers. ``faults``: rows by number of the fault. ``idle``, ``outside``:
    good rows without trade, and outside the window. ``first``, ``last``, ``stamps``: of the rows to use, the first
    and last day, and on how many days of the week (of the month) their dates fall.
    """

    view: str
    numbered: str
    faults: dict[int, int]
    idle: int = 0
    outside: int = 0
    first: dt.date | None = None
    last: dt.date | None = None
    stamps: int = 0


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
    usable = f"SELECT store_id, sku, {start} AS period, units, revenue FROM {checked.view} WHERE fault = 0 AND wanted"
    counted = _Netting()
    with in_parts(connection, "sales", usable, raw.total) as parts:
        for number, part in enumerate(parts):
            connection.execute(
                "CREATE OR REPLACE TEMP TABLE netted_sales AS SELECT store_id, sku, period, "
                "CAST(sum(units) AS BIGINT) AS units, CAST(sum(revenue) AS DECIMAL(18, 2)) AS revenue, "
                f"count(*) AS lines, count(*) FILTER (units < 0) AS returns FROM ({part}) GROUP BY ALL"
            ).fetchall()
            counted.add(connection, findings.cap)
            fill(
                connection,
                "sales",
                "SELECT store_id, sku, period, units, revenue FROM netted_sales WHERE units > 0 "
                "ORDER BY store_id, sku, period",
                raw.total,
                more=number > 0,
            )
    counted.tell(raw, findings)
    note_part_periods((checked.first, checked.last), checked.stamps, raw.total, plan.period, findings)
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
    usable = f"FROM {checked.view} WHERE fault = 0 AND wanted"
    texts, returns = connection.execute(
        f"SELECT count(*) FILTER (TRY_CAST(basket_id AS BIGINT) IS NULL), count(*) FILTER (units < 0) {usable}"
    ).fetchall()[0]
    basket = (
        "CAST(dense_rank() OVER (ORDER BY basket_id) AS BIGINT)" if texts else "CAST(basket_id AS BIGINT)"
    )
    fill(
        connection,
        "baskets",
        f"SELECT customer_id, {basket} AS basket_id, store_id, period AS date, channel, sku, units, revenue {usable} "
        "ORDER BY customer_id, basket_id, sku, units, revenue",
        raw.total,
    )
    if returns:
        message = f"baskets: {returns:,} of {raw.total:,} lines are returns; kept as negative lines."
        findings.note("baskets", "units", "returns", returns, raw.total, KEPT, message)
    for name in ("known_store_id", "known_sku", "known_customer_id"):
        connection.execute(f"DROP TABLE IF EXISTS {identifier(name)}").fetchall()
    return "baskets"


def _checked(
    connection: duckdb.DuckDBPyConnection, raw: RawTable, context: Context, findings: Findings
) -> _Checked:
    """Judge every row; count and list the faulty ones."""
    note_read(raw, findings)
    settings = context.settings.tables.given()[raw.name]
    check_types(connection, raw, settings, count_values(connection, raw, settings), findings)
    for column, ids in context.references(raw.name).items():
        known = [(value, True) for value in sorted(ids.usable)] + [
            (value, False) for value in sorted(ids.set_aside)
        ]
        _known_table(connection, f"known_{column}", known)
    faults = _faults(raw, context)
    cases = " ".join(f"WHEN {fault.condition} THEN {i + 1}" for i, fault in enumerate(faults))
    judged = f"SELECT *, CASE {cases} ELSE 0 END AS fault, {_wanted(context)} AS wanted"
    view = identifier(f"checked_{raw.name}")
    connection.execute(
        f"CREATE OR REPLACE TEMP VIEW {view} AS {judged} FROM ({_typed(raw, context)})"
    ).fetchall()
    # Rows are numbered only to list faulty ones: numbering keeps DuckDB from scanning in parallel.
    numbered = f"({judged} FROM ({_typed(raw, context, numbered=True)}))"
    checked = _counted(connection, view, numbered, context.settings.plan.period)
    _note_faults(connection, raw, checked, faults, context, findings)
    _note_unwanted(raw, checked, context, findings)
    return checked


def _counted(connection: duckdb.DuckDBPyConnection, view: str, numbered: str, period: str) -> _Checked:
    stamp = "isodow" if period == "week" else "day"
    rows = connection.execute(
        "SELECT fault, fault = 0 AND wanted, count(*), count(*) FILTER (units = 0), "
        "min(period) FILTER (fault = 0), max(period) FILTER (fault = 0), "
        f"count(DISTINCT {stamp}(period)) FILTER (fault = 0) FROM {view} GROUP BY ALL"
    ).fetchall()
    faults: dict[int, int] = {}
    idle = outside = stamps = 0
    first = last = None
    for fault, used, count, without_trade, earliest, latest, days in rows:
        if used:
            first, last, stamps = earliest, latest, days
        elif fault:
            faults[fault] = faults.get(fault, 0) + count
        else:
            idle, outside = idle + without_trade, outside + count - without_trade
    return _Checked(view, numbered, faults, idle, outside, first, last, stamps)


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
    further = ["row_number() OVER () AS row"] if numbered else []
    typed = typed_select(caster, columns_of(raw), raw.relation, further)
    parts = ["row"] if numbered else []
    for column in TABLES[raw.name].columns:
        ours, default = _inner(column), literal(str(column.default))
        if column.name not in raw.columns:
            parts += [f"{default} AS {ours}", f"NULL AS text_{ours}"]
            continue
        value = identifier(f"value {column.name}")
        value = value if column.default is None else f"coalesce({value}, {default})"
        parts += [f"{value} AS {ours}", f"{identifier(f'text {column.name}')} AS text_{ours}"]
    names = list(context.references(raw.name))
    joins = " ".join(f"LEFT JOIN known_{name} ON known_{name}.id = typed.{name}" for name in names)
    known = "".join(f", known_{name}.usable AS known_{name}" for name in names)
    return f"SELECT typed.*{known} FROM (SELECT {', '.join(parts)} FROM ({typed})) AS typed {joins}"


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


def _note_faults(
    connection: duckdb.DuckDBPyConnection,
    raw: RawTable,
    checked: _Checked,
    faults: list[_Fault],
    context: Context,
    findings: Findings,
) -> None:
    counts = checked.faults
    if not counts:
        return
    listed = _listed(connection, checked.numbered, faults, sorted(counts), findings.cap)
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


def _note_unwanted(raw: RawTable, checked: _Checked, context: Context, findings: Findings) -> None:
    name, plan = raw.name, context.settings.plan
    if checked.idle:
        message = (
            f"{name}: {checked.idle:,} of {raw.total:,} rows have neither units nor revenue; {LEFT_OUT}."
        )
        findings.note(name, "units", "no trade", checked.idle, raw.total, LEFT_OUT, message)
    if checked.outside:
        window = f"{plan.start or 'the beginning'} to {plan.end or 'the end'}"
        words = f"{checked.outside:,} of {raw.total:,} rows are outside the plan's window ({window})"
        message = f"{name}: {words}; {LEFT_OUT}."
        findings.note(name, "period", "outside the window", checked.outside, raw.total, LEFT_OUT, message)


@dataclass
class _Netting:
    """What netting did, added up over the parts of the sales."""

    returns: int = 0
    several: int = 0
    cancelled: int = 0
    negative: int = 0
    below: list[tuple[Any, str]] = field(default_factory=list)

    def add(self, connection: duckdb.DuckDBPyConnection, cap: int) -> None:
        """Count the part in ``netted_sales``."""
        returns, several, cancelled, negative = connection.execute(
            "SELECT coalesce(sum(returns), 0), coalesce(sum(lines) FILTER (lines > 1), 0), "
            "coalesce(sum(lines) FILTER (units = 0), 0), coalesce(sum(lines) FILTER (units < 0), 0) FROM netted_sales"
        ).fetchall()[0]
        self.returns, self.several = self.returns + int(returns), self.several + int(several)
        self.cancelled, self.negative = self.cancelled + int(cancelled), self.negative + int(negative)
        if negative and len(self.below) < cap:
            words = (
                "store_id || ', ' || sku || ', ' || CAST(period AS VARCHAR) || ': ' || CAST(units AS VARCHAR)"
            )
            self.below += connection.execute(
                f"SELECT NULL, {words} FROM netted_sales WHERE units < 0 ORDER BY store_id, sku, period "
                f"LIMIT {cap - len(self.below)}"
            ).fetchall()

    def tell(self, raw: RawTable, findings: Findings) -> None:
        """Note it."""
        total, key = raw.total, "store_id, sku, period"
        if self.returns:
            words = f"{self.returns:,} of {total:,} rows are returns (negative units)"
            message = f"sales: {words}; {NETTED} within store, SKU and period."
            findings.note("sales", "units", "returns", self.returns, total, NETTED, message)
        if self.several:
            message = (
                f"sales: {self.several:,} of {total:,} rows share their store, SKU and period with others; {ADDED_UP}. "
                "If each should be there once, check for data loaded twice."
            )
            findings.note("sales", key, "several rows for one key", self.several, total, ADDED_UP, message)
        if self.cancelled:
            words = f"{self.cancelled:,} of {total:,} rows cancel out within store, SKU and period"
            message = f"sales: {words}; {LEFT_OUT}."
            findings.note("sales", "units", "cancelled out", self.cancelled, total, LEFT_OUT, message)
        if self.negative:
            findings.set_aside("sales", "units", MORE_RETURNED, self.below, self.negative, total)


def note_part_periods(
    span: tuple[dt.date | None, dt.date | None], stamps: int, total: int, period: str, findings: Findings
) -> None:
    """Say so where daily data begin or end in the middle of a period, or weeks are not ISO weeks.

    Parameters
    ----------
    span : (first, last)
        Days of the first and the last sale used.
    stamps : int
        On how many days of the week (of the month) sales are dated.
    total : int
        Rows of the table.
    period : {"week", "month"}
        Grain of the plan.
    findings : Findings
        Gets the notes.
    """
    first, last = span
    if first is None or last is None:
        return
    starts_whole = first.weekday() == 0 if period == "week" else first.day == 1
    next_day = last + dt.timedelta(days=1)
    ends_whole = next_day.weekday() == 0 if period == "week" else next_day.day == 1
    if stamps == 1:
        if period == "week" and not starts_whole:
            words = f"weeks are dated by their {_WEEKDAYS[first.weekday()]}"
            message = f"sales: {words}; each counts as the week, Monday to Sunday, it lies in."
            findings.note("sales", "period", "weeks not dated by Monday", 0, total, KEPT, message)
        return
    ends = [] if starts_whole else [f"the first {period} begins on {first}"]
    if not ends_whole:
        ends.append(f"the last {period} ends on {last}")
    if ends:
        message = (
            f"sales: {' and '.join(ends)}: not a whole {period}. Set start and end in [plan] to leave it out."
        )
        findings.note("sales", "period", "part of a period", 0, total, KEPT, message)
