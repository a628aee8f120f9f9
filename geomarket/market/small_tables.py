"""Tables that fit into memory: typed, checked with pandera, bad rows set aside."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import duckdb
import h3
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from geomarket.errors import TableError
from geomarket.market.casting import identifier, typed_select
from geomarket.market.column_types import caster_of, check_types, columns_of, cure_of, naming_the_format
from geomarket.market.context import Context
from geomarket.market.contract import FIRST_AND_LAST_YEAR, POINT_TABLES, TABLES, Column
from geomarket.market.files import CSV
from geomarket.market.findings import KEPT, LEFT_OUT, READ, SET_TO_MISSING, Findings
from geomarket.market.places import OUTSIDE, SWAPPED, to_degrees
from geomarket.market.reading import RawTable
from geomarket.market.schemas import MISSING, RowCheck, duplicates, failures, limit_reason

__all__ = ["CleanTable", "clean_table", "file_rows", "note_read"]

_LEFT_OUT_IF_FAR = ("competitors", "points")
_MOST = 0.5
_BATCH = 1_000_000


@dataclass(frozen=True)
class CleanTable:
    """The usable rows of a table, and the identifiers (first key column) of the others.

    Parameters
    ----------
    frame : DataFrame
        The contract's columns (absent ones filled with their default or NaN), then further columns where the
        contract keeps them; in the order of the file, indexed from 0.
    set_aside : frozenset of str
        Identifiers of rows that can't be used.
    left_out : frozenset of str
        Identifiers of rows that are not needed.
    """

    frame: pd.DataFrame
    set_aside: frozenset[str]
    left_out: frozenset[str]


def clean_table(
    connection: duckdb.DuckDBPyConnection, raw: RawTable, context: Context, findings: Findings
) -> CleanTable:
    """Type and check a table and return its usable rows.

    Parameters
    ----------
    connection : DuckDB connection
        Holds the raw relation.
    raw : RawTable
        The table as read.
    context : Context
        Other tables, the map, the calendar.
    findings : Findings
        Gets what was found.

    Returns
    -------
    CleanTable

    Raises
    ------
    TableError
        If most values of a needed column can't be used: then it is the table, not single rows, that is wrong.
    """
    note_read(raw, findings)
    cleaning = _Cleaning(connection, raw, context, findings)
    check_types(connection, raw, cleaning.settings, cleaning.counts(), findings)
    return cleaning.usable()


def note_read(raw: RawTable, findings: Findings) -> None:
    """Count the rows of a table, and set aside the lines of its files that are no rows."""
    findings.note(
        raw.name, "", "rows read", raw.total, raw.total, READ, f"{raw.name}: {raw.total:,} rows read."
    )
    for reason in dict.fromkeys(reject.reason for reject in raw.rejects):
        lines = [(reject.line - 1, reject.text) for reject in raw.rejects if reject.reason == reason]
        findings.set_aside(raw.name, "", reason, lines, len(lines), raw.total, "Mend the file.")
    for source in raw.sources:
        if source.suffix in CSV and not source.is_in_place and _is_open_ended(source.path):
            message = (
                f"{raw.name}: {source.name} ends without a line end. If it was cut off while it was written or "
                "copied, rows are missing and its last value may be wrong."
            )
            findings.note(raw.name, "", "no last line end", 1, raw.total, KEPT, message)


def _is_open_ended(path: Path) -> bool:
    """Whether the last line of a file is not ended; a line cut within its last value looks like a whole one."""
    with path.open("rb") as file:
        file.seek(max(path.stat().st_size - 2, 0))
        end = file.read()
    return bool(end) and b"\n" not in end and b"\r" not in end


def file_rows(rows: Iterable[int], raw: RawTable) -> list[int]:
    """Turn row numbers of the relation into those of the file, by counting the rejected lines back in."""
    numbers = np.fromiter(rows, dtype="int64")
    for line in sorted(reject.line - 1 for reject in raw.rejects) if len(raw.sources) == 1 else []:
        numbers[numbers >= line] += 1
    return [int(number) for number in numbers]


def _joined(frame: pd.DataFrame) -> pd.Series:
    """Return the values of each row as one text; a dash stands for none."""
    return frame.astype(object).where(frame.notna(), "–").astype(str).agg(", ".join, axis=1)


class _Texts:
    """What the file says, column by column, of the rows that are left; kept in Arrow, where it is small."""

    def __init__(self, columns: dict[str, pa.ChunkedArray], rows: pd.Index) -> None:
        self.columns, self.rows = columns, rows

    @property
    def names(self) -> tuple[str, ...]:
        """The columns the file has."""
        return tuple(self.columns)

    def given(self, name: str) -> pd.Series:
        """Where there is a text at all."""
        valid = self.columns[name].is_valid().to_numpy()
        return pd.Series(valid[self.rows.to_numpy() - 1], self.rows)

    def of(self, name: str, rows: Iterable[int]) -> pd.Series:
        """Texts of some rows, None where there is none; empty ones of a column the file doesn't have."""
        index = pd.Index(list(rows), dtype="int64")
        if name not in self.columns:
            return pd.Series("", index=index, dtype=object)
        return pd.Series(self.columns[name].take(pa.array(index - 1)).to_pylist(), index=index, dtype=object)

    def examples(self, name: str, rows: Iterable[int]) -> str:
        """The first three different texts of some rows."""
        return ", ".join(self.of(name, rows).dropna().astype(str).unique()[:3])

    def without(self, rows: pd.Index) -> _Texts:
        """The same less some rows."""
        return _Texts(self.columns, self.rows.drop(rows))


def _series(fetched: pa.Table, name: str, index: pd.Index) -> pd.Series:
    """One column; equal texts are one Python object, which keeps millions of rows small."""
    column = fetched[name]
    if not pa.types.is_dictionary(column.type):
        return pd.Series(column.to_pandas().to_numpy(), index)
    encoded = column.combine_chunks()
    words = np.array([*encoded.dictionary.to_pylist(), None], dtype=object)
    codes = encoded.indices.fill_null(len(words) - 1).to_numpy(zero_copy_only=False)
    return pd.Series(words[codes], index, dtype=object)


def _fetched(connection: duckdb.DuckDBPyConnection, query: str) -> pa.Table:
    """Return a query's rows with texts as codes into a dictionary, made batch by batch."""
    reader = connection.sql(query).to_arrow_reader(_BATCH)
    batches = []
    for batch in reader:
        columns = [
            pc.dictionary_encode(column) if pa.types.is_string(column.type) else column
            for column in batch.columns
        ]
        batches.append(pa.table(columns, names=batch.schema.names))
    if not batches:
        fields = [
            pa.field(f.name, pa.dictionary(pa.int32(), f.type) if pa.types.is_string(f.type) else f.type)
            for f in reader.schema
        ]
        return pa.schema(fields).empty_table()
    return pa.concat_tables(batches).unify_dictionaries()


class _Cleaning:
    """One table on its way from raw to usable. Frames are indexed by row of the relation, from 1."""

    def __init__(
        self, connection: duckdb.DuckDBPyConnection, raw: RawTable, context: Context, findings: Findings
    ) -> None:
        self.raw, self.context, self.findings = raw, context, findings
        self.contract = TABLES[raw.name]
        self.settings = context.settings.tables.given()[raw.name]
        self.references = context.references(raw.name)
        self.frame, self.texts = self._fetch(connection)
        self.unreadable = {
            name: self.texts.given(name) & self.frame[name].isna() for name in self.texts.names
        }

    def counts(self) -> dict[str, tuple[int, int]]:
        """Column -> how many values there are, and how many of them can't be read."""
        return {
            name: (int(self.texts.given(name).sum()), int(bad.sum())) for name, bad in self.unreadable.items()
        }

    def usable(self) -> CleanTable:
        """Run all checks and return what is left."""
        before = self._ids()
        self._leave_referring_out()
        self._project()
        self._fill_defaults()
        if "period" in self.frame:
            self.frame["period"] = _period_start(self.frame["period"], self.context.settings.plan.period)
        checks = [*self._date_checks(), *self._reference_checks(), *self._place_checks()]
        failed = self._say_unreadable(failures(self.frame, self.contract, checks))
        self._refuse_mostly_bad(failed)
        failed = self._give_up_values(failed, checks)
        self._set_aside(failed)
        self.frame = self.frame.drop(index=list(failed["row"].unique()))
        self._set_duplicates_aside()
        good = self._ids()
        self._leave_far_out()
        self._count_missing()
        return CleanTable(self._finished(), before - good, good - self._ids())

    def _ids(self) -> frozenset[str]:
        if not self.contract.key:
            return frozenset()
        return frozenset(str(value) for value in self.frame[self.contract.key[0]].dropna())

    def _fetch(self, connection: duckdb.DuckDBPyConnection) -> tuple[pd.DataFrame, _Texts]:
        """Return the typed columns and, beside them, what the file says."""
        further = self.raw.further if self.contract.keep_further else {}
        extra = [f"{sql} AS {identifier(f'further {i}')}" for i, (sql, _) in enumerate(further.values())]
        columns = columns_of(self.raw)
        typed = typed_select(caster_of(self.settings), columns, self.raw.relation, extra)
        parts = [identifier(f"further {i}") for i in range(len(further))]
        for ours, (column, _, _) in columns.items():
            value = _for_pandas(column, identifier(f"value {ours}"))
            parts += [f"{value} AS {identifier(ours)}", identifier(f"text {ours}")]
        with naming_the_format(self.raw, self.settings):
            fetched = _fetched(connection, f"SELECT {', '.join(parts)} FROM ({typed})")
        index = pd.RangeIndex(1, fetched.num_rows + 1)
        texts = {ours: fetched[f"text {ours}"] for ours in self.raw.columns}
        own = {
            c.name: _typed(c, _series(fetched, c.name, index) if c.name in columns else None, index)
            for c in self.contract.columns
        }
        others = {
            name: _further(_series(fetched, f"further {i}", index), self.raw.is_text)
            for i, name in enumerate(further)
        }
        return pd.DataFrame({**own, **others}, index=index), _Texts(texts, index)

    def _project(self) -> None:
        crs = self.settings.crs
        if self.raw.name in POINT_TABLES and crs and not self.raw.in_degrees:
            x, y = self.frame["lon"].to_numpy(), self.frame["lat"].to_numpy()
            self.frame["lon"], self.frame["lat"] = to_degrees(self.raw.name, x, y, crs)

    def _fill_defaults(self) -> None:
        frame, table = self.frame, self.raw.name
        for column in self.contract.columns:
            if column.default is None:
                continue
            gaps = frame[column.name].isna()
            if column.kind == "flag" and column.name in self.raw.columns and gaps.any():
                message = (
                    f"{table}: {column.name}: {gaps.sum():,} missing or unreadable values count as false."
                )
                self._note(column.name, MISSING, int(gaps.sum()), KEPT, message)
            frame[column.name] = frame[column.name].where(~gaps, column.default)
            if column.kind == "flag":
                frame[column.name] = frame[column.name].astype(bool)
        if "name" in frame and self.contract.key:
            frame["name"] = frame["name"].where(frame["name"].notna(), frame[self.contract.key[0]])

    def _date_checks(self) -> list[RowCheck]:
        checks, earliest, latest = [], self.context.earliest, self.context.latest
        for column in self.contract.columns:
            if column.kind == "date":
                days = self.frame[column.name]
                early, late = days < pd.Timestamp(earliest), days > pd.Timestamp(latest)
                checks.append(RowCheck(column.name, f"before {earliest}", ~early, softens=True))
                checks.append(RowCheck(column.name, f"after {latest} (in the future)", ~late, softens=True))
        return checks

    def _reference_checks(self) -> list[RowCheck]:
        checks, frame = [], self.frame
        for column, ids in self.references.items():
            values = frame[column]
            lost = values.isin(ids.set_aside)
            checks.append(RowCheck(column, f"was set aside in {ids.table}", ~lost))
            checks.append(
                RowCheck(column, f"is not in {ids.table}", values.isin(ids.usable) | lost | values.isna())
            )
        if self.raw.name in ("competitors", "sites") and "stores" in self.context.known:
            own = frame["store_id"].isin(self.context.known["stores"].usable)
            checks.append(RowCheck("store_id", "is also one of the own stores", ~own))
        if self.raw.name == "sites" and "competitors" in self.context.known:
            taken = frame["store_id"].isin(self.context.known["competitors"].usable)
            checks.append(RowCheck("store_id", "is also one of the competitors", ~taken))
        if self.raw.name == "travel":
            valid = {cell: h3.is_valid_cell(f"{int(cell):x}") for cell in frame["cell"].dropna().unique()}
            passed = frame["cell"].map(lambda cell: valid.get(cell, True)).astype(bool)
            checks.append(RowCheck("cell", "not an H3 cell", passed))
        return checks

    def _place_checks(self) -> list[RowCheck]:
        if self.raw.name not in POINT_TABLES:
            return []
        frame, extent = self.frame, self.context.extent
        nowhere = (frame["lon"] == 0) & (frame["lat"] == 0)
        checks = [RowCheck("lon", "0, 0 is no place", ~nowhere)]
        if extent is None:
            return checks
        max_km = self.context.settings.quality.max_outside_km
        # Latitudes up to 180 are let in here: swapped ones look like that.
        placed = frame["lon"].between(-180, 180) & frame["lat"].between(-180, 180) & ~nowhere
        lon, lat = frame["lon"].where(placed).to_numpy(), frame["lat"].where(placed).to_numpy()
        verdict, km = extent.judge(lon, lat, max_km)
        swapped, outside = verdict == SWAPPED, verdict == OUTSIDE
        self._refuse_misplaced(int(placed.sum()), swapped, outside, km)
        checks.insert(0, RowCheck("lon", "lon and lat look swapped", pd.Series(~swapped, frame.index)))
        if self.raw.name not in _LEFT_OUT_IF_FAR:
            reason = f"more than {max_km:g} km outside the areas"
            checks.append(RowCheck("lon", reason, pd.Series(~outside, frame.index)))
        return checks

    def _refuse_misplaced(
        self, placed: int, swapped: np.ndarray, outside: np.ndarray, km: np.ndarray
    ) -> None:
        table = self.raw.name
        if swapped.sum() > _MOST * placed:
            used = {axis: self.settings.columns.get(axis, axis) for axis in ("lon", "lat")}
            raise TableError(
                f"{table}: lon and lat are swapped: {swapped.sum():,} of {placed:,} rows lie in the areas only when "
                f'they are exchanged. Set [tables.{table}.columns] lon = "{used["lat"]}" and lat = "{used["lon"]}".'
            )
        if table not in _LEFT_OUT_IF_FAR and outside.sum() > _MOST * placed:
            raise TableError(
                f"{table}: {outside.sum():,} of {placed:,} rows lie outside the areas (the nearest of them by "
                f"{np.nanmin(km[outside]):,.0f} km). Do the tables cover the same region? Are lon and lat degrees, "
                "or is crs missing?"
            )

    def _say_unreadable(self, failed: pd.DataFrame) -> pd.DataFrame:
        """Say "not a number" rather than "missing" of a value that is there but can't be read."""
        failed = failed.copy()
        for name, bad in self.unreadable.items():
            here = (
                (failed["column"] == name)
                & (failed["reason"] == MISSING)
                & failed["row"].isin(bad.index[bad])
            )
            failed.loc[here, "reason"] = limit_reason(self.contract.column(name))
        return failed

    def _refuse_mostly_bad(self, failed: pd.DataFrame) -> None:
        table = self.raw.name
        for name in self.unreadable:
            column = self.contract.column(name)
            rows = failed.loc[(failed["column"] == name) & (failed["reason"] == limit_reason(column)), "row"]
            given = int(self.texts.given(name).sum())
            if not column.nullable and len(rows) > _MOST * given:
                examples = self.texts.examples(name, rows)
                words = f"{len(rows):,} of {given:,} values are not {column.expected} ({examples})"
                raise TableError(f"{table}: {name}: {words}. {cure_of(table, name)}")

    def _give_up_values(self, failed: pd.DataFrame, checks: list[RowCheck]) -> pd.DataFrame:
        """Set single bad values to missing where the column allows; return the failures that cost whole rows."""
        costs_row = pd.Series(True, index=failed.index)
        for column in self.contract.columns:
            if not column.nullable:
                continue
            own = limit_reason(column)
            bad = self.unreadable.get(column.name)
            lost = {own: set() if bad is None else set(bad.index[bad])}
            for reason in [own, *(c.reason for c in checks if c.softens and c.column == column.name)]:
                here = (failed["column"] == column.name) & (failed["reason"] == reason)
                lost.setdefault(reason, set()).update(failed.loc[here, "row"])
                costs_row &= ~here
            for reason, rows in lost.items():
                self._forget(column, reason, sorted(rows))
        return failed[costs_row]

    def _forget(self, column: Column, reason: str, rows: list[int]) -> None:
        if not rows:
            return
        self.frame.loc[rows, column.name] = pd.NaT if column.kind == "date" else np.nan
        examples = self.texts.examples(column.name, rows)
        words = f"{len(rows):,} of {self.raw.total:,} values of {column.name}: {reason} ({examples})"
        self._note(
            column.name, reason, len(rows), SET_TO_MISSING, f"{self.raw.name}: {words}; {SET_TO_MISSING}."
        )

    def _set_aside(self, failed: pd.DataFrame) -> None:
        first = failed.drop_duplicates("row")
        for (name, reason), rows in first.groupby(["column", "reason"], sort=False)["row"]:
            name, reason = str(name), str(reason)
            if name in ("lon", "lat") and reason != MISSING:
                values = _joined(pd.DataFrame({axis: self.texts.of(axis, rows) for axis in ("lon", "lat")}))
            else:
                values = self.texts.of(name, rows)
            unknown = name in self.references and reason.startswith("is not in")
            cure = self.references[name].cure(values) if unknown else ""
            lines = zip(file_rows(rows, self.raw), values)
            self.findings.set_aside(self.raw.name, name, reason, lines, len(rows), self.raw.total, cure)

    def _set_duplicates_aside(self) -> None:
        key = list(self.contract.key)
        rows = list(duplicates(self.frame, key)) if key else []
        if len(rows):
            values = _joined(self.frame.loc[rows, key])
            lines = zip(file_rows(rows, self.raw), values)
            reason, total = "is there already (the first row is used)", self.raw.total
            cure = "Keep one row for each."
            self.findings.set_aside(self.raw.name, ", ".join(key), reason, lines, len(rows), total, cure)
            self.frame = self.frame.drop(index=rows)

    def _leave_referring_out(self) -> None:
        """Rows about a competitor that is not needed are not needed either."""
        for name, ids in self.references.items():
            rows = self.frame.index[self.frame[name].isin(ids.left_out)]
            if len(rows):
                words = f"{len(rows):,} of {self.raw.total:,} rows are about stores far outside the areas"
                self._note(
                    name,
                    f"was left out of {ids.table}",
                    len(rows),
                    LEFT_OUT,
                    f"{self.raw.name}: {words}; {LEFT_OUT}.",
                )
                self.frame, self.texts = self.frame.drop(index=rows), self.texts.without(rows)
                self.unreadable = {key: bad.drop(index=rows) for key, bad in self.unreadable.items()}

    def _leave_far_out(self) -> None:
        """Competitors and population points of a wider region are no mistakes; they are just not needed."""
        extent, frame, table = self.context.extent, self.frame, self.raw.name
        if table not in _LEFT_OUT_IF_FAR or extent is None or frame.empty:
            return
        max_km = self.context.settings.quality.max_outside_km
        rows = frame.index[extent.km_away(frame["lon"].to_numpy(), frame["lat"].to_numpy()) > max_km]
        reason = f"more than {max_km:g} km outside the areas"
        if len(rows) == len(frame):
            raise TableError(f"{table}: all rows lie {reason}. Do the tables cover the same region?")
        if len(rows):
            message = f"{table}: {len(rows):,} of {self.raw.total:,} rows lie {reason}; {LEFT_OUT}."
            self._note("lon", reason, len(rows), LEFT_OUT, message)
            self.frame = frame.drop(index=list(rows))

    def _count_missing(self) -> None:
        for name in self.raw.columns:
            means_all = self.raw.name == "promotions" and name == "store_id"
            gaps = int(self.frame[name].isna().sum())
            if gaps and self.contract.column(name).nullable and not means_all:
                message = (
                    f"{self.raw.name}: {name} is missing in {gaps:,} of {len(self.frame):,} usable rows."
                )
                self._note(name, "missing values", gaps, KEPT, message)

    def _note(self, column: str, check: str, rows: int, action: str, message: str) -> None:
        self.findings.note(self.raw.name, column, check, rows, self.raw.total, action, message)

    def _finished(self) -> pd.DataFrame:
        frame = self.frame.reset_index(drop=True)
        for column in self.contract.columns:
            if column.kind in ("whole", "cell"):
                frame[column.name] = frame[column.name].map(int).astype("int64")
            elif column.kind in ("id", "text") and frame[column.name].notna().any():
                frame[column.name] = frame[column.name].infer_objects()
        # Whatever order the file has them in: sums and draws, and with them the plan, stay the same.
        if len(self.contract.key) == 1 and not frame[self.contract.key[0]].is_monotonic_increasing:
            frame = frame.sort_values(self.contract.key[0], ignore_index=True)
        return frame


def _for_pandas(column: Column, value: str) -> str:
    """Cast to what pandas takes over without loss: an H3 index among missing values would become a float."""
    if column.kind == "date":
        # Dates pandas can't hold, such as 9999-12-31, become ones that are as far out of range.
        early, late = (f"DATE '{year}-01-01'" for year in FIRST_AND_LAST_YEAR)
        held = f"CASE WHEN {value} < {early} THEN {early} WHEN {value} > {late} THEN {late} ELSE {value} END"
        return f"CAST({held} AS TIMESTAMP)"
    target = {"money": "DOUBLE", "whole": "DOUBLE", "cell": "VARCHAR"}.get(column.kind)
    return f"CAST({value} AS {target})" if target else value


def _typed(column: Column, values: pd.Series | None, index: pd.Index) -> pd.Series:
    if column.kind in ("number", "whole", "money", "lon", "lat"):
        numbers = pd.Series(np.nan, index) if values is None else values
        return numbers.astype("float64")
    if column.kind == "date":
        days = pd.Series(pd.NaT, index) if values is None else values
        return days.astype("datetime64[ns]")
    if values is None:
        return pd.Series(np.nan, index, dtype=object)
    return values.astype(object).where(values.notna(), np.nan)


def _further(values: pd.Series, is_text: bool) -> pd.Series:
    """Type a column the contract does not know: numbers where all are, unless leading zeros say they are codes."""
    if not is_text:
        numeric = pd.api.types.is_numeric_dtype(values) and not pd.api.types.is_bool_dtype(values)
        return values.astype("float64") if numeric and values.isna().any() else values
    text = values.where(values.notna() & (values.str.strip() != ""), np.nan)
    given = text.dropna()
    numbers = pd.to_numeric(given, errors="coerce")
    if len(given) and not given.str.match(r"^0\d").any() and np.isfinite(numbers).all():
        return numbers.reindex(text.index).astype("float64")
    return text


def _period_start(days: pd.Series, period: str) -> pd.Series:
    if period == "month":
        return days - pd.to_timedelta(days.dt.day - 1, unit="D")
    return days - pd.to_timedelta(days.dt.day_of_week, unit="D")
