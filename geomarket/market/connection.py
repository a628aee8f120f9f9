"""The embedded DuckDB every big table lives in, and the shape of those tables."""

from __future__ import annotations

import contextlib
import functools
import os
import platform
import re
import shutil
import tempfile
import weakref
from pathlib import Path
from typing import Any

import duckdb
import ibis
import ibis.expr.types as ir
import pandas as pd

from geomarket.errors import SettingsError, TableError

__all__ = ["BASKETS_SCHEMA", "SALES_SCHEMA", "baskets_table", "connect", "out_of_room", "sales_table"]

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

_SPILL = "geomarket-spill-"


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
        Folder DuckDB spills to, made if it is not there; the system's folder for temporary files by default. What is
        spilled lies in a folder of its own in it that only this user can read, and goes with the connection; what a
        killed process left there goes with the next one.

    Returns
    -------
    ibis.backends.duckdb.Backend

    Raises
    ------
    SettingsError
        If DuckDB does not accept a setting, or the folder can't be written to. Write the limit as a number and a
        unit: ``"2GB"``.

    Examples
    --------
    >>> connection = connect(memory_limit="500MB", threads=1)
    >>> connection.raw_sql("SELECT 40 + 2").fetchall()
    [(42,)]
    """
    spill = _spill_folder(temp_dir)
    config: dict[str, Any] = {
        "memory_limit": memory_limit,
        "temp_directory": str(spill),
        "autoinstall_known_extensions": False,
        "autoload_known_extensions": False,
    }
    if threads is not None:
        config["threads"] = threads
    try:
        backend = ibis.duckdb.connect(**config)
    except Exception as err:  # duckdb raises several of its own types here, all about the settings
        _remove(spill, os.getpid())
        raise SettingsError(
            f"[engine] DuckDB does not accept memory_limit = {memory_limit!r}, threads = {threads!r}: {err} "
            'Write the limit as a number and a unit, such as "2GB", and threads as a number of at least 1.'
        ) from err
    weakref.finalize(backend.con, _remove, spill, os.getpid())
    return backend


def out_of_room(what: str, error: duckdb.Error) -> SettingsError | None:
    """Return the error to raise where DuckDB ran out of memory or of room to spill, else None.

    Parameters
    ----------
    what : str
        What was being done, the first words of the message.
    error : duckdb.Error
        What DuckDB raised.
    """
    text = " ".join(str(error).split())
    spilling = "offload" in text or "max_temp_directory_size" in text or "No space left" in text
    if not isinstance(error, duckdb.OutOfMemoryException) and not spilling:
        return None
    if spilling:
        words, cure = "the spill folder is full", "name a spill_folder with more room, or raise memory_limit"
    else:
        words = "the memory limit is reached, and this can't be done in parts on disk"
        cure = "raise memory_limit, or lower threads"
    return SettingsError(f"{what}: {words} ({text[:160]}). In [engine], {cure}.")


def _spill_folder(parent: str | Path | None) -> Path:
    base = Path(parent) if parent else Path(tempfile.gettempdir())
    try:
        base.mkdir(parents=True, exist_ok=True)
        _clear_left_behind(base)
        return Path(tempfile.mkdtemp(prefix=f"{_SPILL}{_host()}-{os.getpid()}-", dir=base))
    except (OSError, ValueError) as err:
        said = getattr(err, "strerror", None) or err
        raise SettingsError(
            f"[engine] spill_folder = {str(base)!r} can't be written to ({said}). Name a folder on a "
            "disk with room for what does not fit into memory_limit."
        ) from err


@functools.cache
def _clear_left_behind(base: Path) -> None:
    """Remove what processes of this machine and user that are no more have spilled."""
    if os.name != "posix":  # elsewhere there is no harmless way to ask whether a process is there
        return
    for folder in base.glob(f"{_SPILL}{_host()}-*"):
        found = re.fullmatch(r"(\d+)-\w+", folder.name.removeprefix(f"{_SPILL}{_host()}-"))
        if found is None or folder.is_symlink():
            continue
        try:
            os.kill(int(found[1]), 0)
        except ProcessLookupError:
            shutil.rmtree(folder, ignore_errors=True)
        except (OSError, OverflowError):  # it runs, as another user's
            continue


def _host() -> str:
    # A folder may be shared by machines and containers, whose process numbers say nothing here.
    return re.sub(r"\W", "_", platform.node())


def _remove(folder: Path, process: int) -> None:
    # A forked child holds a copy of the connection, not the folder.
    if os.getpid() == process:
        with contextlib.suppress(OSError):
            shutil.rmtree(folder)


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
