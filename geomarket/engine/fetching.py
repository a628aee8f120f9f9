"""The road of a result out of the engine, into a frame or a file."""

from __future__ import annotations

import contextlib
import itertools
import logging
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

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

__all__ = ["fetch", "fetch_or_write"]

_log = logging.getLogger(__name__)
_T = TypeVar("_T")
_BATCH = 100_000
_EDGES = 256
"""About as many values parts may begin at, so the most parts there can be."""


def fetch(expression: ir.Table, coded: Sequence[str] = (), spread: ir.Column | None = None) -> pd.DataFrame:
    """Run an expression and return its rows with the types geomarket uses.

    Parameters
    ----------
    expression : ibis table
        What is asked for.
    coded : sequence of str
        Columns of texts to return as categoricals in sorted order: of tens of millions of rows they take a fraction
        of the memory.
    spread : ibis column, optional
        The expression's first key, by which it is ordered, before anything is added up. Where DuckDB's memory limit is
        reached (not all of its work can be spilled), the same rows are then found in parts of that key.
    """
    schema = expression.schema()
    # By way of Arrow: as pandas, ibis makes a Python object of every date.
    with _in_words():
        table = pa.concat_tables(_in_parts(expression, spread, lambda part: part.to_pyarrow()))
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


def fetch_or_write(
    expression: ir.Table, file: str | Path | None, spread: ir.Column | None = None
) -> pd.DataFrame | Path:
    """Return the rows of an expression, or write them to a Parquet file as they come and return its path."""
    if file is None:
        return fetch(expression, spread=spread)
    path = Path(file)
    with (
        _in_words(),
        replacing(path) as temporary,
        tempfile.TemporaryDirectory(dir=path.parent, prefix=".", suffix=".part") as aside,
    ):
        names = (Path(aside) / f"{number}.parquet" for number in itertools.count())
        pieces = _in_parts(expression, spread, lambda part: _write(_batches(part), next(names)))
        if len(pieces) == 1:
            os.replace(pieces[0], temporary)
        else:
            schema = pq.read_schema(pieces[0])
            rows = (batch for piece in pieces for batch in pq.ParquetFile(piece).iter_batches(_BATCH))
            _write(pa.RecordBatchReader.from_batches(schema, rows), temporary)
    return path


def _write(batches: pa.RecordBatchReader, path: Path) -> Path:
    with pq.ParquetWriter(path, batches.schema, compression="zstd") as writer:
        for batch in batches:
            writer.write_batch(batch)
    return path


def _batches(expression: ir.Table) -> pa.RecordBatchReader:
    """Rows as they come, so that DuckDB's result never stands in memory whole; other engines may hold it."""
    backend = ibis.get_backend(expression)
    if backend.name != "duckdb":
        return expression.to_pyarrow_batches(chunk_size=_BATCH)
    # As ibis' own to_pyarrow_batches, which asks by a name that DuckDB 2 no longer has; its to_parquet takes no path
    # with a quotation mark.
    backend._run_pre_execute_hooks(expression)
    return backend.con.sql(backend.compile(expression)).to_arrow_reader(_BATCH)


def _in_parts(expression: ir.Table, spread: ir.Column | None, run: Callable[[ir.Table], _T]) -> list[_T]:
    """Run an expression whole or, where the memory limit doesn't allow that, in parts of its first column, in order."""
    done: list[_T] = []
    edges: list[Any] = []
    widest: int | None = None  # edges apart; what was too much once is not tried again
    # From edge to edge: 0 is before the first, None after the last.
    waiting: list[tuple[int, int | None]] = [(0, None)]
    while waiting:
        start, end = waiting.pop()
        width = (len(edges) + 1 if end is None else end) - start
        if widest is not None and width > widest:
            middle = start + width // 2
            waiting += [(middle, end), (start, middle)]
            continue
        try:
            done.append(run(_between(expression, edges, start, end)))
        except duckdb.OutOfMemoryException:
            if spread is None or (widest is not None and width < 2):
                raise
            if widest is None:
                edges = _edges(spread)
                width = len(edges) + 1
            _log.info("DuckDB's memory limit is reached: adding up by %s in parts", expression.columns[0])
            widest = (width + 1) // 2
            waiting.append((start, end))
    return done


def _between(expression: ir.Table, edges: list[Any], start: int, end: int | None) -> ir.Table:
    """Rows whose key is from edge ``start`` to below edge ``end``, counted from 1; without a key they come last."""
    key = expression[expression.columns[0]]
    if end is not None:
        expression = expression.filter(key < edges[end - 1])
    if start:
        from_here = key >= edges[start - 1]
        expression = expression.filter(from_here if end is not None else from_here | key.isnull())
    return expression


def _edges(spread: ir.Column) -> list[Any]:
    """A few hundred of a column's values, in order, picked by their hash."""
    values = spread.name("value").as_table()
    several = values["value"].approx_nunique().to_pyarrow().as_py() // _EDGES
    picked = values.filter((values["value"].hash() % ibis.literal(max(several, 1), "int64")) == 0).distinct()
    return picked.filter(picked["value"].notnull()).order_by("value").to_pyarrow()["value"].to_pylist()


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
