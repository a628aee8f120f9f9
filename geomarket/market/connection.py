"""The embedded DuckDB every big table lives in, and the shape of those tables."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

import ibis
import ibis.expr.types as ir
import pandas as pd

from geomarket.errors import SettingsError, TableError

__all__ = ["BASKETS_SCHEMA", "SALES_SCHEMA", "baskets_table", "connect", "sales_table"]

SALES_SCHEMA = {
    "store_id": "string",
    "sku": "string",
    "period": "date",
    "units": "int64",
    "revenue": "decimal(18, 2)",
}
"""Column -> ibis type of ``Market.sales``."""

BASKETS_SCHEMA = {
    "customer_id": "string",
    "basket_id": "int64",
    "store_id": "string",
    "date": "date",
    "channel": "string",
    "sku": "string",
    "units": "int64",
    "revenue": "decimal(18, 2)",
}
"""Column -> ibis type of ``Market.baskets``."""


def connect(memory_limit: str = "2GB", threads: int | None = None, temp_dir: str | Path | None = None) -> Any:
    """Open an embedded, in-memory DuckDB that spills to disk past its memory limit.

    Nothing is downloaded: installing and loading DuckDB extensions on demand is switched off.

    Parameters
    ----------
    memory_limit : str
        Most memory DuckDB may use, with its unit (``"2GB"``, ``"800MB"``).
    threads : int, optional
        Worker threads; DuckDB's own choice (all cores) when None. Results do not depend on it.
    temp_dir : path, optional
        Folder DuckDB spills to. By default one in the system's folder for temporary files, made only when
        needed.

    Returns
    -------
    ibis.backends.duckdb.Backend

    Raises
    ------
    SettingsError
        If DuckDB does not accept a setting. Write the limit as a number and a unit: ``"2GB"``.

    Examples
    --------
    >>> connection = connect(memory_limit="500MB", threads=1)
    >>> connection.raw_sql("SELECT 40 + 2").fetchall()
    [(42,)]
    """
    spill = Path(temp_dir) if temp_dir else Path(tempfile.gettempdir()) / f"geomarket-duckdb-{os.getpid()}"
    config: dict[str, Any] = {
        "memory_limit": memory_limit,
        "temp_directory": str(spill),
        "autoinstall_known_extensions": False,
        "autoload_known_extensions": False,
    }
    if threads is not None:
        config["threads"] = threads
    try:
        return ibis.duckdb.connect(**config)
    except Exception as err:  # duckdb raises several of its own types here, all about the settings
        raise SettingsError(
            f"[engine] DuckDB does not accept memory_limit = {memory_limit!r}, threads = {threads!r}: {err} "
            'Write the limit as a number and a unit, such as "2GB", and threads as a number of at least 1.'
        ) from err


def sales_table(data: pd.DataFrame, connection: Any = None) -> ir.Table:
    """Put a frame of sales into DuckDB with the types of ``Market.sales``.

    Parameters
    ----------
    data : DataFrame
        store_id, sku, period (dates), units (whole numbers), revenue (money, rounded to cents).
    connection : ibis DuckDB backend, optional
        Where to put it; a new one by default.

    Returns
    -------
    ibis table
        The five columns, ordered by store_id, sku and period.

    Raises
    ------
    TableError
        If a column is missing. Rename the frame's columns.

    Examples
    --------
    >>> sales = sales_table(pd.DataFrame({"store_id": ["007"], "sku": ["12"], "period": ["2024-01-01"],
    ...                                   "units": [3], "revenue": [4.5]}))
    >>> sales.to_pandas()["store_id"].tolist()
    ['007']
    """
    return _stored(data, SALES_SCHEMA, "sales", ["store_id", "sku", "period"], connection)


def baskets_table(data: pd.DataFrame, connection: Any = None) -> ir.Table:
    """Put a frame of basket lines into DuckDB with the types of ``Market.baskets``.

    Parameters
    ----------
    data : DataFrame
        customer_id, basket_id, store_id, date, channel, sku, units, revenue.
    connection : ibis DuckDB backend, optional
        Where to put it; a new one by default.

    Returns
    -------
    ibis table

    Raises
    ------
    TableError
        If a column is missing. Rename the frame's columns.
    """
    return _stored(data, BASKETS_SCHEMA, "baskets", ["customer_id", "basket_id", "sku"], connection)


def _stored(
    data: pd.DataFrame, schema: dict[str, str], name: str, order: list[str], connection: Any
) -> ir.Table:
    missing = [column for column in schema if column not in data.columns]
    if missing:
        raise TableError(f"{name}: no column {', '.join(missing)}; expected {', '.join(schema)}.")
    connection = connection or connect()
    raw = data[list(schema)]
    dates = [column for column, kind in schema.items() if kind == "date"]
    raw = raw.assign(**{column: pd.to_datetime(raw[column]) for column in dates})
    loose = ibis.memtable(raw)
    typed = loose.select(**{column: loose[column].cast(kind) for column, kind in schema.items()})
    # Not create_table(overwrite=True): ibis then writes a DROP that DuckDB 2.0 refuses.
    connection.raw_sql(f'DROP TABLE IF EXISTS "{name}"')
    return connection.create_table(name, typed.order_by(order))
