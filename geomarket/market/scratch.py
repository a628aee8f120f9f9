"""Large tables on disk, compressed: what would not fit into memory is worked on in parts, and kept in a file.

A table in an in-memory DuckDB is not compressed; past the memory limit it is written out at its full size and read
back at every query. From :data:`LARGE` rows on tables lie in a database file in the folder DuckDB spills to, a tenth
the size, and are made part by part, so that no step has to spill.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb

from geomarket.market.casting import identifier, literal

__all__ = ["LARGE", "PART", "fill", "in_parts"]

LARGE = 20_000_000
"""Rows from which a table is large."""
PART = 8_000_000
"""Rows that are grouped and sorted at once; about 1 GB."""


@contextmanager
def in_parts(
    connection: duckdb.DuckDBPyConnection, name: str, query: str, rows: int
) -> Iterator[tuple[str, ...]]:
    """Cut what a query gives into parts by store, the stores of a part before those of the next.

    Parameters
    ----------
    connection : DuckDB connection
        With the table ``known_store_id`` (id).
    name : str
        What to call the parts' folder.
    query : str
        SQL that gives a column store_id.
    rows : int
        How many rows it gives at most.

    Yields
    ------
    tuple of str
        SQL of each part: the query itself where it is not large.
    """
    if rows < LARGE:
        yield (query,)
        return
    folder = _folder(connection) / f"{name}_parts"
    shutil.rmtree(folder, ignore_errors=True)
    n = -(-rows // PART)
    connection.execute(
        "CREATE OR REPLACE TEMP TABLE part_of_store AS SELECT id, "
        f"(row_number() OVER (ORDER BY id) - 1) * {n} // count(*) OVER () AS part FROM known_store_id"
    ).fetchall()
    try:
        connection.execute(
            f"COPY (SELECT q.*, part FROM ({query}) AS q JOIN part_of_store ON part_of_store.id = q.store_id) "
            f"TO {literal(str(folder))} (FORMAT parquet, PARTITION_BY (part), COMPRESSION lz4)"
        ).fetchall()
        files = [sorted((folder / f"part={part}").glob("*.parquet")) for part in range(n)]
        listed = [", ".join(literal(str(file)) for file in some) for some in files if some]
        # Nothing at all is a part too: the table is made, and empty.
        yield tuple(f"SELECT * FROM read_parquet([{some}])" for some in listed) or (query,)
    finally:
        connection.execute("DROP TABLE IF EXISTS part_of_store").fetchall()
        shutil.rmtree(folder, ignore_errors=True)


def fill(connection: duckdb.DuckDBPyConnection, name: str, query: str, rows: int, more: bool = False) -> None:
    """Make a table from a query, or add to it; a large one lies on disk, under a view of its name.

    Parameters
    ----------
    connection : DuckDB connection
        Where to.
    name : str
        Name of the table.
    query : str
        SQL of its rows, in their order.
    rows : int
        How many rows the whole table has at most.
    more : bool
        Whether the rows are added.
    """
    table = identifier(name)
    if rows < LARGE:
        connection.execute(
            f"INSERT INTO {table} {query}" if more else f"CREATE OR REPLACE TABLE {table} AS {query}"
        ).fetchall()
        return
    stored = f"{_attached(connection)}.{table}"
    connection.execute(
        f"INSERT INTO {stored} {query}" if more else f"CREATE OR REPLACE TABLE {stored} AS {query}"
    ).fetchall()
    connection.execute(f"CREATE OR REPLACE VIEW {table} AS SELECT * FROM {stored}").fetchall()


def _folder(connection: duckdb.DuckDBPyConnection) -> Path:
    """The folder DuckDB spills to."""
    folder = Path(connection.execute("SELECT current_setting('temp_directory')").fetchall()[0][0])
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    return folder


def _attached(connection: duckdb.DuckDBPyConnection) -> str:
    """Name of the database file's catalogue, attached when first asked for."""
    names = connection.execute("SELECT database_name FROM duckdb_databases()").fetchall()
    if ("geomarket_scratch",) not in names:
        file = literal(str(_folder(connection) / "tables.duckdb"))
        connection.execute(f"ATTACH {file} AS geomarket_scratch").fetchall()
    return "geomarket_scratch.main"
