"""The pieces that all expressions are made of, and the road of a result into a frame."""

from __future__ import annotations

import contextlib
import datetime as dt
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import duckdb
import ibis
import ibis.expr.types as ir
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from geomarket.errors import TableError
from geomarket.market.connection import out_of_room
from geomarket.writing import replacing

__all__ = [
    "Window",
    "fetch",
    "fetch_or_write",
    "money",
    "strings",
    "trade",
    "whole",
    "with_products",
    "within",
]

Day: TypeAlias = str | dt.date | pd.Timestamp | None
Window: TypeAlias = tuple[Day, Day]

_BATCH = 100_000


def within(table: ir.Table, column: str, window: Window | None) -> ir.Table:
    """Keep the rows whose date is in a half-open window."""
    if window is None:
        return table
    start, end = (None if day is None else pd.Timestamp(day).date() for day in window)
    if start is not None:
        table = table.filter(table[column] >= ibis.literal(start, type="date"))
    if end is not None:
        table = table.filter(table[column] < ibis.literal(end, type="date"))
    return table


def whole(units: Any) -> Any:
    """Sum whole numbers as whole numbers; a float once, when it leaves the engine."""
    return units.sum().cast("float64")


def money(amount: Any, where: Any = None) -> Any:
    """Sum money exactly."""
    # Made a float once, when it leaves the engine.
    if amount.type().is_floating():  # an engine without decimals: whole cents are exact as well
        return _scaled(amount, 100).sum(where=where).cast("float64") / 100.0
    return amount.cast("decimal(18, 2)").sum(where=where).cast("float64")


def trade(table: ir.Table) -> dict[str, Any]:
    """Return the sums of revenue, margin, costed revenue and units; the table has a column cost."""
    known = table.cost.notnull()
    if table.revenue.type().is_floating():
        parts = _scaled(table.revenue, 100) * 100 - table.units * _scaled(table.cost.cast("float64"), 10_000)
        margin = parts.sum(where=known).cast("float64") / 10_000.0
    else:
        cost = (table.units.cast("decimal(14, 0)") * table.cost).cast("decimal(18, 4)")
        exact = (table.revenue.cast("decimal(18, 4)") - cost).cast("decimal(18, 4)")
        margin = exact.sum(where=known).cast("float64")
    return {
        "revenue": money(table.revenue),
        "margin": margin,
        "costed_revenue": ibis.coalesce(money(table.revenue, where=known), ibis.literal(0.0)),
        "units": whole(table.units),
    }


def _scaled(amount: Any, parts: int) -> Any:
    return (amount * float(parts)).round().cast("int64")


def with_products(baskets: ir.Table, products: pd.DataFrame, columns: list[str]) -> ir.Table:
    """Join columns of products to a table by SKU; rows of other SKUs stay, with missing values."""
    missing = [column for column in ["sku", *columns] if column not in products.columns]
    if missing:
        raise TableError(f"products: no column {', '.join(missing)}; it is needed to value the baskets.")
    small = ibis.memtable(products[["sku", *columns]].drop_duplicates("sku"))
    typed = small.select(
        sku=small.sku.cast("string"),
        **{c: small[c].cast("decimal(18, 4)" if c == "cost" else "string") for c in columns},
    )
    return baskets.left_join(typed, "sku")


def strings(frame: pd.DataFrame, columns: list[str]) -> ir.Table:
    """Turn the distinct rows of a frame into a table of texts."""
    small = ibis.memtable(frame[columns].drop_duplicates().astype(str))
    return small.select(**{c: small[c].cast("string") for c in columns})


def fetch(expression: ir.Table, coded: Sequence[str] = ()) -> pd.DataFrame:
    """Run an expression and return its rows with the types geomarket uses.

    Parameters
    ----------
    expression : ibis table
        What is asked for.
    coded : sequence of str
        Columns of texts to return as categoricals in sorted order: of tens of millions of rows they take a fraction
        of the memory.
    """
    schema = expression.schema()
    # By way of Arrow: as pandas, ibis makes a Python object of every date.
    with _in_words():
        table = expression.to_pyarrow()
    columns = {}
    for name, kind in schema.items():
        column = table[name]
        table = table.drop_columns([name])  # what is done with is let go, for results may be large
        if name in coded:
            columns[name] = _coded(column)
            continue
        if kind.is_date():
            column = column.cast(pa.timestamp("ns"))
        elif kind.is_floating():
            column = column.cast(pa.float64())
        values = column.to_pandas()
        columns[name] = values.astype("int64") if kind.is_integer() else values
        if kind.is_date():
            columns[name] = values.astype("datetime64[ns]")
    return pd.DataFrame(columns)


def fetch_or_write(expression: ir.Table, file: str | Path | None) -> pd.DataFrame | Path:
    """Return the rows of an expression, or write them to a Parquet file as they come and return its path."""
    if file is None:
        return fetch(expression)
    path = Path(file)
    with _in_words(), replacing(path) as temporary:
        batches = _batches(expression)
        with pq.ParquetWriter(temporary, batches.schema, compression="zstd") as writer:
            for batch in batches:
                writer.write_batch(batch)
    return path


def _batches(expression: ir.Table) -> pa.RecordBatchReader:
    """Rows in parts, so that DuckDB's result never stands in memory whole; other engines may hold it."""
    backend = ibis.get_backend(expression)
    if backend.name != "duckdb":
        return expression.to_pyarrow_batches(chunk_size=_BATCH)
    # As ibis' own to_pyarrow_batches, which asks by a name that DuckDB 2 no longer has; its to_parquet takes no path
    # with a quotation mark.
    backend._run_pre_execute_hooks(expression)
    return backend.con.sql(backend.compile(expression)).to_arrow_reader(_BATCH)


@contextlib.contextmanager
def _in_words() -> Iterator[None]:
    """Say in words what went wrong in DuckDB, where it is the data or the room."""
    try:
        yield
    except (duckdb.ConversionException, duckdb.OutOfRangeException) as err:
        raise TableError(
            "sales, baskets or products: figures too large to be added up to the cent "
            f"({' '.join(str(err).split())[:160]}). Look for extreme units, revenue, prices and costs."
        ) from err
    except duckdb.Error as err:
        short = out_of_room("Adding up sales or baskets", err)
        if short is None:
            raise
        raise short from err


def _coded(column: pa.ChunkedArray) -> pd.Series:
    """Texts as a categorical in sorted order."""
    values = column.dictionary_encode().unify_dictionaries().combine_chunks()
    words = values.dictionary.to_pandas()
    order = words.argsort().to_numpy()
    place = np.empty(len(order), dtype=np.int64)
    place[order] = np.arange(len(order))
    codes = values.indices.fill_null(-1).to_numpy(zero_copy_only=False)
    known = codes >= 0
    sorted_codes = np.where(known, place[codes] if len(place) else -1, -1)
    return pd.Series(pd.Categorical.from_codes(sorted_codes, categories=pd.Index(words.take(order))))
