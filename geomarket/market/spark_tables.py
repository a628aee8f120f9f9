"""Sales and baskets on Spark: read, checked and netted where they live, never collected.

The rules are those of :mod:`geomarket.market.big_tables`, written as ibis expressions; a test runs both on the same
files and compares every row and every finding. Two things differ: Spark numbers no rows, so rows set aside are listed
without their number; and a line of a CSV file that has too few values counts as a row with missing values.
"""

from __future__ import annotations

import datetime as dt
import logging
import os
import shutil
import sys
import tempfile
import weakref
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import ibis
import ibis.expr.types as ir

from geomarket.errors import SettingsError, TableError
from geomarket.market.big_tables import (
    MORE_RETURNED,
    NO_REVENUE,
    NO_UNITS,
    OPPOSITE_SIGNS,
    note_part_periods,
)
from geomarket.market.column_types import cure_of
from geomarket.market.context import Context, KnownIds
from geomarket.market.contract import TABLES, Column
from geomarket.market.files import CSV, Source
from geomarket.market.findings import ADDED_UP, KEPT, LEFT_OUT, NETTED, READ, Findings
from geomarket.market.remote import is_url, refuse_secrets
from geomarket.market.schemas import MISSING, limit_reason
from geomarket.market.settings import TableSettings
from geomarket.market.spark_urls import files_at
from geomarket.market.spelling import did_you_mean
from geomarket.market.stage_settings import EngineSettings

__all__ = ["SparkTables", "open_spark"]

_log = logging.getLogger(__name__)

_NULL_WORDS = ("", "na", "n/a", "nan", "null", "none")
_ISO_DAY = r"^[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}"
_WHOLE_LIMIT = float(2**53)


def open_spark(settings: EngineSettings) -> tuple[Any, str]:
    """Start Spark, or join the session that runs, as ``[engine]`` says.

    Returns
    -------
    ibis.backends.pyspark.Backend
    str
        Folder of the tables made on the way. One of our own goes with the session.

    Raises
    ------
    SettingsError
        If PySpark or Java is missing, or Spark does not start; the message says what to install.
    """
    try:
        from pyspark.sql import SparkSession
    except ImportError as error:
        raise SettingsError(
            '[engine] kind = "spark": PySpark is not installed. pip install "geomarket[spark]", or set kind = "duckdb".'
        ) from error
    if shutil.which("java") is None and not os.environ.get("JAVA_HOME"):
        raise SettingsError(
            '[engine] kind = "spark": no Java was found. Install Java 17 (Debian: openjdk-17-jre-headless) or set '
            'JAVA_HOME, or set kind = "duckdb".'
        )
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    own = None if settings.scratch else tempfile.mkdtemp(prefix="geomarket-spark-")
    scratch = settings.scratch or own or ""
    builder = (
        SparkSession.builder.appName("geomarket")
        .master(settings.master)
        .config("spark.ui.enabled", "false")
        # As DuckDB: what can't be read is missing and counted, and days are those of the calendar in the file.
        .config("spark.sql.ansi.enabled", "false")
        .config("spark.sql.session.timeZone", "UTC")
        # "007" in the name of a folder is no number.
        .config("spark.sql.sources.partitionColumnTypeInference.enabled", "false")
        # Results come as Arrow batches, not row by row.
        .config("spark.sql.execution.arrow.pyspark.enabled", "true")
    )
    for name, value in settings.options.items():
        builder = builder.config(name, value)
    try:
        session = builder.getOrCreate()
    except Exception as error:  # py4j and pyspark raise several kinds
        _remove(own)
        first = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
        raise SettingsError(
            f'[engine] kind = "spark": Spark does not start at master = "{settings.master}" ({first[:160]}).'
        ) from error
    session.sparkContext.setLogLevel("ERROR")
    backend = ibis.pyspark.connect(session)
    weakref.finalize(backend, _remove, own)
    return backend, scratch


def _remove(folder: str | None) -> None:
    if folder is not None:
        shutil.rmtree(folder, ignore_errors=True)


@dataclass(frozen=True)
class _Fault:
    """One way a row can be unusable: an expression that is true for it, and the value to show."""

    column: str
    reason: str
    condition: Any
    value: Any


@dataclass(frozen=True)
class _Counts:
    """What one pass over the judged rows found."""

    total: int
    faults: dict[int, int]
    idle: int
    outside: int
    first: dt.date | None
    last: dt.date | None
    stamps: int


class SparkTables:
    """Reads the big tables of a plan with Spark.

    Parameters
    ----------
    backend : ibis.backends.pyspark.Backend
    scratch : str
        Both from :func:`open_spark`.
    context : Context
        Settings, stores, products, customers and the calendar.
    findings : Findings
        Gets what was found.
    """

    def __init__(self, backend: Any, scratch: str, context: Context, findings: Findings) -> None:
        self.backend, self.scratch = backend, scratch
        self.context, self.findings = context, findings
        self.facts: dict[str, dict[str, str]] = {}

    def table(
        self, name: str, settings: TableSettings, folder: Path, sources: Sequence[Source] = ()
    ) -> ir.Table:
        """Read, check and net a table; rows that can't be used are counted and listed.

        Parameters
        ----------
        name : str
            Name of the table.
        settings : TableSettings
            Its section.
        folder : Path
            Folder of plan.toml.
        sources : sequence of Source
            Those of its files that lie here; what is at URLs Spark finds itself.

        Raises
        ------
        MissingDataError
            If nothing is there.
        TableError
            If it can't be read, lacks a column, or nothing in it is known.
        """
        typed = self._typed(name, settings, self._read(name, settings, folder, sources))
        judged, faults = self._judged(name, typed)
        # Kept, because it is gone through several times.
        judged = self._stored(f"judged_{name}", judged)
        counts = self._count(judged)
        self._note(name, judged, faults, counts)
        used = judged.filter((judged.fault == 0) & judged.wanted)
        clean = self._netted(used, counts) if name == "sales" else self._lines(used, counts)
        return self._stored(name, clean)

    def _read(self, name: str, settings: TableSettings, folder: Path, sources: Sequence[Source]) -> ir.Table:
        urls = [path for path in settings.paths if is_url(path)]
        for url in urls:
            refuse_secrets(name, url)
        found = files_at(self.backend._session, name, urls)
        here = [str(source.path) for source in sources]
        names = here + (urls if found is None else list(found))
        reader = self.backend._session.read
        if sources and not urls:
            # Folders named key=value count from the plan's folder on, as for DuckDB.
            inside = all(source.path.is_relative_to(folder) for source in sources)
            reader = reader.option("basePath", str(folder) if inside else "/")
        try:
            if any(PurePosixPath(path).suffix.lower() in CSV for path in names):
                options = {
                    "header": True,
                    "sep": settings.separator or ",",
                    "encoding": settings.encoding,
                    "escape": '"',
                }
                frame = reader.options(**options).csv([*here, *urls])
            else:
                frame = reader.parquet(*here, *urls)
        except Exception as error:  # whatever Spark raises is about these files
            first = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
            raise TableError(
                f"{name}: can't be read by Spark ({first[:160]}). Is the file complete?"
            ) from error
        self._note_urls(name, urls, found)
        view = f"raw_{name}"
        frame.createOrReplaceTempView(view)
        return self.backend.table(view)

    def _note_urls(self, name: str, urls: Sequence[str], found: dict[str, str] | None) -> None:
        self.facts[name] = found or {}
        if not urls:
            return
        words = f"{name}: files at {len(urls):,} URLs are read, not hashed; Spark does not tell their size and time."
        if found is not None:
            words = f"{name}: {len(found):,} files are read at URLs, not hashed; time and size would show a change."
        self.findings.note(name, "", "read at a URL", 0, 0, KEPT, words)

    def check_unchanged(self, name: str, settings: TableSettings) -> None:
        """Raise TableError if a file at a URL is another than when the table was read."""
        before = self.facts.get(name)
        urls = [path for path in settings.paths if is_url(path)]
        if before and files_at(self.backend._session, name, urls) != before:
            raise TableError(
                f"{name}: files changed while they were being read. Run again when they are complete."
            )

    def _stored(self, name: str, table: ir.Table) -> ir.Table:
        """Write a table to the scratch folder and read it from there: it is gone through more than once."""
        path = f"{self.scratch}/{name}"
        self.backend._run_pre_execute_hooks(table)
        session = self.backend._session
        session.sql(self.backend.compile(table)).write.mode("overwrite").parquet(path)
        session.read.parquet(path).createOrReplaceTempView(name)
        return self.backend.table(name)

    def _typed(self, name: str, settings: TableSettings, raw: ir.Table) -> ir.Table:
        """Return text and value of every column of the contract: ``text_<name>`` and ``<name>``."""
        columns = {}
        for column in TABLES[name].columns:
            theirs = settings.columns.get(column.name, column.name)
            if theirs not in raw.columns:
                if column.required or column.name in settings.columns:
                    near = did_you_mean(theirs, list(raw.columns)) or "."
                    raise TableError(
                        f"{name}: no column {theirs!r} ({column.doc}){near} "
                        f'Set [tables.{name}.columns] {column.name} = "<name in the file>".'
                    )
                columns[f"text_{column.name}"] = ibis.null("string")
                columns[column.name] = ibis.literal(str(column.default))
                continue
            text, value = _cast(column, raw[theirs], settings)
            columns[f"text_{column.name}"] = text
            columns[column.name] = (
                value if column.default is None else ibis.coalesce(value, ibis.literal(str(column.default)))
            )
        return raw.select(**columns)

    def _judged(self, name: str, typed: ir.Table) -> tuple[ir.Table, list[_Fault]]:
        for column, ids in self.context.references(name).items():
            known = _known_ids(column, ids)
            typed = typed.left_join(known, typed[column] == known[f"id_{column}"]).drop(f"id_{column}")
        faults = self._faults(name, typed)
        number = ibis.cases(
            *((fault.condition.fill_null(False), i + 1) for i, fault in enumerate(faults)), else_=0
        )
        shown = ibis.cases(
            *((fault.condition.fill_null(False), fault.value) for fault in faults), else_=ibis.null("string")
        )
        day = typed[_day_of(name)]
        wanted = (typed.units != 0).fill_null(False)
        plan = self.context.settings.plan
        inside = ibis.literal(True)
        if plan.start:
            inside = inside & (day >= ibis.literal(plan.start, type="date"))
        if plan.end:
            inside = inside & (day < ibis.literal(plan.end, type="date"))
        plain = {column.name: typed[column.name] for column in TABLES[name].columns}
        judged = typed.select(
            **plain,
            fault=number.cast("int64"),
            shown=shown,
            idle=(typed.units == 0).fill_null(False),
            wanted=wanted & inside.fill_null(False),
        )
        return judged, faults

    def _faults(self, name: str, typed: ir.Table) -> list[_Fault]:
        references = self.context.references(name)
        faults: list[_Fault] = []
        empty = ibis.literal("")
        for column in TABLES[name].columns:
            value, text = typed[column.name], typed[f"text_{column.name}"]
            if column.default is None:
                faults.append(_Fault(column.name, MISSING, text.isnull(), empty))
                faults.append(_Fault(column.name, limit_reason(column), value.isnull(), text))
            if column.name in references:
                table, known = references[column.name].table, typed[f"known_{column.name}"]
                faults.append(_Fault(column.name, f"is not in {table}", known.isnull(), value))
                faults.append(_Fault(column.name, f"was set aside in {table}", ~known, value))
            if column.kind == "date":
                early, late = self.context.earliest, self.context.latest
                for reason, condition in (
                    (f"before {early}", value < ibis.literal(early, type="date")),
                    (f"after {late} (in the future)", value > ibis.literal(late, type="date")),
                ):
                    faults.append(_Fault(column.name, reason, condition, text))
        units, revenue = typed.units, typed.revenue
        both = units.cast("string") + ", " + revenue.cast("string")
        opposite = ((units > 0) & (revenue < 0)) | ((units < 0) & (revenue > 0))
        faults.append(_Fault("revenue", OPPOSITE_SIGNS, opposite, both))
        faults.append(_Fault("units", NO_UNITS, (units == 0) & (revenue != 0), both))
        if self.context.settings.quality.on_zero_price == "quarantine":
            faults.append(_Fault("revenue", NO_REVENUE, (units > 0) & (revenue == 0), both))
        return faults

    def _count(self, judged: ir.Table) -> _Counts:
        day = judged[_day_of_columns(judged)]
        week = self.context.settings.plan.period == "week"
        stamp = day.day_of_week.index() if week else day.day()
        good = judged.fault == 0
        rows = (
            judged.group_by("fault", "wanted")
            .aggregate(
                rows=judged.count().cast("int64"),
                idle=judged.idle.sum().cast("int64"),
                first=day.min(where=good).cast("date"),
                last=day.max(where=good).cast("date"),
                stamps=stamp.nunique(where=good).cast("int64"),
            )
            .to_pandas()
        )
        used = rows[(rows["fault"] == 0) & rows["wanted"]]
        left = rows[(rows["fault"] == 0) & ~rows["wanted"]]
        faulty = rows[rows["fault"] > 0].groupby("fault")["rows"].sum()
        return _Counts(
            total=int(rows["rows"].sum()),
            faults={int(i): int(n) for i, n in faulty.items()},
            idle=int(left["idle"].sum()),
            outside=int(left["rows"].sum() - left["idle"].sum()),
            first=_date(used["first"].iloc[0]) if len(used) else None,
            last=_date(used["last"].iloc[0]) if len(used) else None,
            stamps=int(used["stamps"].iloc[0]) if len(used) else 0,
        )

    def _note(self, name: str, judged: ir.Table, faults: list[_Fault], counts: _Counts) -> None:
        note, total = self.findings.note, counts.total
        note(name, "", "rows read", total, total, READ, f"{name}: {total:,} rows read.")
        if total == 0:
            raise TableError(f"{name}: no rows. Fill it.")
        references = self.context.references(name)
        for number in sorted(counts.faults):
            fault, count = faults[number - 1], counts.faults[number]
            some = (
                judged.filter(judged.fault == number)
                .select("shown")
                .order_by("shown")
                .limit(self.findings.cap)
            )
            values = ["" if value is None else str(value) for value in some.to_pandas()["shown"]]
            if fault.reason.startswith("is not in") and count == total:
                raise TableError(
                    f"{name}: no row has a {fault.column} that {fault.reason.replace('is not in', 'is in')} "
                    f"({', '.join(dict.fromkeys(values))[:60]}). Do both tables write it alike "
                    "(leading zeros, prefixes)?"
                )
            if fault.reason == limit_reason(TABLES[name].column(fault.column)) and 2 * count > total:
                raise TableError(
                    f"{name}: {count:,} of {total:,} values of {fault.column} are {fault.reason} "
                    f"({', '.join(dict.fromkeys(values))[:60]}). {cure_of(name, fault.column)}"
                )
            cure = ""
            if fault.reason.startswith("is not in"):
                cure = references[fault.column].cure(values)
            elif fault.reason == NO_REVENUE:
                cure = 'Set on_zero_price = "keep" in [quality] if they were given away.'
            self.findings.set_aside(
                name, fault.column, fault.reason, ((None, value) for value in values), count, total, cure
            )
        if counts.idle:
            message = f"{name}: {counts.idle:,} of {total:,} rows have neither units nor revenue; {LEFT_OUT}."
            note(name, "units", "no trade", counts.idle, total, LEFT_OUT, message)
        if counts.outside:
            plan = self.context.settings.plan
            window = f"{plan.start or 'the beginning'} to {plan.end or 'the end'}"
            words = f"{counts.outside:,} of {total:,} rows are outside the plan's window ({window})"
            note(
                name,
                "period",
                "outside the window",
                counts.outside,
                total,
                LEFT_OUT,
                f"{name}: {words}; {LEFT_OUT}.",
            )

    def _netted(self, used: ir.Table, counts: _Counts) -> ir.Table:
        plan = self.context.settings.plan
        # Spark truncates to a timestamp where ibis expects a date, and so drops a plain cast.
        start = used.period.truncate("W" if plan.period == "week" else "M").cast("timestamp").cast("date")
        lines = used.mutate(period=start)
        netted = self._stored(
            "netted_sales",
            lines.group_by("store_id", "sku", "period").aggregate(
                units=lines.units.sum().cast("int64"),
                revenue=lines.revenue.cast("decimal(18, 2)").sum().cast("decimal(18, 2)"),
                lines=lines.count().cast("int64"),
                returns=(lines.units < 0).sum().cast("int64"),
            ),
        )
        found = netted.aggregate(
            returns=netted.returns.sum().cast("int64"),
            several=netted.lines.sum(where=netted.lines > 1).cast("int64"),
            cancelled=netted.lines.sum(where=netted.units == 0).cast("int64"),
            negative=netted.lines.sum(where=netted.units < 0).cast("int64"),
        ).to_pandas()
        found = found.fillna(0).astype("int64").iloc[0]
        note, total = self.findings.note, counts.total
        if found["returns"]:
            words = f"{found['returns']:,} of {total:,} rows are returns (negative units)"
            message = f"sales: {words}; {NETTED} within store, SKU and period."
            note("sales", "units", "returns", found["returns"], total, NETTED, message)
        if found["several"]:
            message = (
                f"sales: {found['several']:,} of {total:,} rows share their store, SKU and period with others; "
                f"{ADDED_UP}. If each should be there once, check for data loaded twice."
            )
            note(
                "sales",
                "store_id, sku, period",
                "several rows for one key",
                found["several"],
                total,
                ADDED_UP,
                message,
            )
        if found["cancelled"]:
            words = f"{found['cancelled']:,} of {total:,} rows cancel out"
            message = f"sales: {words} within store, SKU and period; {LEFT_OUT}."
            note("sales", "units", "cancelled out", found["cancelled"], total, LEFT_OUT, message)
        if found["negative"]:
            below = (
                netted.filter(netted.units < 0).order_by("store_id", "sku", "period").limit(self.findings.cap)
            )
            rows = [
                (None, f"{row.store_id}, {row.sku}, {_date(row.period)}: {row.units}")
                for row in below.to_pandas().itertuples()
            ]
            self.findings.set_aside("sales", "units", MORE_RETURNED, rows, int(found["negative"]), total)
        note_part_periods((counts.first, counts.last), counts.stamps, total, plan.period, self.findings)
        kept = netted.filter(netted.units > 0)
        return kept.select("store_id", "sku", "period", "units", "revenue")

    def _lines(self, used: ir.Table, counts: _Counts) -> ir.Table:
        found = used.aggregate(
            texts=used.basket_id.cast("int64").isnull().sum().cast("int64"),
            returns=(used.units < 0).sum().cast("int64"),
        ).to_pandas()
        found = found.fillna(0).astype("int64").iloc[0]
        if found["returns"]:
            message = f"baskets: {found['returns']:,} of {counts.total:,} lines are returns; kept as negative lines."
            self.findings.note("baskets", "units", "returns", found["returns"], counts.total, KEPT, message)
        basket = used.basket_id.cast("int64")
        if found["texts"]:
            basket = ibis.dense_rank().over(order_by=used.basket_id).cast("int64") + 1
        return used.select(
            customer_id=used.customer_id,
            basket_id=basket,
            store_id=used.store_id,
            date=used.date,
            channel=used.channel,
            sku=used.sku,
            units=used.units,
            revenue=used.revenue,
        )


def _known_ids(column: str, ids: KnownIds) -> ir.Table:
    import pandas as pd

    known = [(value, True) for value in sorted(ids.usable)] + [
        (value, False) for value in sorted(ids.set_aside)
    ]
    frame = pd.DataFrame(known, columns=[f"id_{column}", f"known_{column}"])
    schema = {f"id_{column}": "string", f"known_{column}": "boolean"}
    return ibis.memtable(frame.astype({f"id_{column}": object}), schema=schema)


def _cast(column: Column, raw: Any, settings: TableSettings) -> tuple[Any, Any]:
    """Return a column as text (missing where the file means no value) and as its type (missing where it can't be)."""
    kind = raw.type()
    text = raw.cast("string")
    if kind.is_floating():
        whole = (raw == raw.floor()) & (raw.abs() < _WHOLE_LIMIT)
        text = ibis.cases(
            (raw.isnan(), ibis.null("string")), (whole, raw.cast("int64").cast("string")), else_=text
        )
    text = text.strip()
    if column.kind in ("id", "text"):
        text = text.nullif("")
        return text, text
    text = ibis.cases((text.lower().isin(_NULL_WORDS), ibis.null("string")), else_=text)
    if column.kind == "date":
        return text, _day(column, raw, text, settings)
    digits = text.replace(",", ".") if settings.decimal == "," else text
    odd = text.contains("_") | (text.contains(".") if settings.decimal == "," else ibis.literal(False))
    digits = ibis.cases((odd, ibis.null("string")), else_=digits)
    number = raw.cast("float64") if kind.is_numeric() else digits.cast("float64")
    finite = ~(number.isnan() | number.isinf())
    if column.kind == "money":
        exact = raw if kind.is_numeric() else digits
        money = exact.cast("decimal(18, 2)")
        return text, ibis.cases((finite.fill_null(False), money), else_=ibis.null("decimal(18, 2)"))
    fits = finite & (number == number.floor()) & (number.abs() < _WHOLE_LIMIT)
    return text, ibis.cases((fits.fill_null(False), number.cast("int64")), else_=ibis.null("int64"))


def _day(column: Column, raw: Any, text: Any, settings: TableSettings) -> Any:
    kind = raw.type()
    if kind.is_date():
        return raw
    if kind.is_timestamp():
        if settings.timezone:
            raise SettingsError(
                f"[tables] timezone: times are not moved between zones on Spark. Give {column.name} as days."
            )
        return raw.cast("date")
    if settings.date_format:
        raise SettingsError(
            f"[tables] date_format: on Spark dates are read as ISO (2024-01-31) only. Give {column.name} as such."
        )
    iso = text.re_search(_ISO_DAY + r"([T ].*)?$")
    month = text.re_search("^[0-9]{4}-[0-9]{2}$")
    return ibis.cases(
        (iso, text.re_extract(f"({_ISO_DAY})", 1).cast("date")),
        (month, (text + "-01").cast("date")),
        else_=ibis.null("date"),
    )


def _day_of(name: str) -> str:
    return next(column.name for column in TABLES[name].columns if column.kind == "date")


def _day_of_columns(table: ir.Table) -> str:
    return "period" if "period" in table.columns else "date"


def _date(value: Any) -> dt.date | None:
    if value is None or value != value:
        return None
    return value.date() if hasattr(value, "date") else value
