"""What lies at URLs, as the classes Spark reads them with (Hadoop's) know it."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Sequence
from typing import Any

from geomarket.errors import MissingDataError

__all__ = ["files_at"]


def files_at(session: Any, table: str, urls: Sequence[str]) -> dict[str, str] | None:
    """List the files at URLs with what is known of their content.

    Parameters
    ----------
    session : SparkSession
        Holds how its stores are reached.
    table : str
        Name of the table, for messages.
    urls : sequence of str
        Of files, of folders (all files below them), or with ``*``.

    Returns
    -------
    dict of str to str, or None
        URL of a file -> when it was changed, and its size, in words; by URL. None where Spark does not tell (Spark
        Connect).

    Raises
    ------
    MissingDataError
        If nothing is there, or the store can't be reached. Its classes and credentials are given in [engine] options.
    """
    if not urls:
        return {}
    try:
        machine, configuration = session._jvm, session._jsc.hadoopConfiguration()
    except Exception:  # Spark Connect has no such bridge, and says so in its own way
        return None
    found = {}
    for url in urls:
        try:
            path = machine.org.apache.hadoop.fs.Path(url)
            filesystem = path.getFileSystem(configuration)
            for status in _files(filesystem, list(filesystem.globStatus(path) or [])):
                changed = dt.datetime.fromtimestamp(status.getModificationTime() / 1000, dt.UTC)
                facts = f"changed {changed.isoformat()}, {status.getLen()} bytes"
                found[str(status.getPath().toString())] = facts
        except Exception as error:  # py4j wraps whatever the store's classes raise
            lines = [line.strip() for line in str(error).splitlines() if "Exception" in line]
            said = (lines or [type(error).__name__])[0][:160]
            raise MissingDataError(
                f"{table}: {url} can't be opened by Spark ({said}). Check the address, and what options in [engine] "
                "say of the store (spark.jars.packages, spark.hadoop.fs…)."
            ) from error
    if not found:
        raise MissingDataError(f"{table}: nothing to read at {', '.join(urls)}. Check [tables.{table}] path.")
    return dict(sorted(found.items()))


def _files(filesystem: Any, pending: list[Any]) -> Iterator[Any]:
    while pending:
        status = pending.pop()
        path = status.getPath()
        if path.getName().startswith(("_", ".")):  # Spark leaves these out as well
            continue
        if status.isDirectory():
            pending += list(filesystem.listStatus(path))
        else:
            yield status
