"""Files at URLs: in an object store, or behind a web server.

They are listed and opened by way of fsspec, with the package for each kind of store (s3fs, gcsfs, adlfs …) and the
credentials that package finds in the environment; none belong into plan.toml. The Parquet files of large tables are
read where they are, column by column; all others are fetched first.
"""

from __future__ import annotations

import copy
import datetime as dt
import os
import re
import shutil
import tempfile
import weakref
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit
from urllib.request import url2pathname

from geomarket.errors import MissingDataError, SettingsError

__all__ = ["FetchedCopy", "RemoteFile", "find_remote", "for_duckdb", "is_url", "local_path", "refuse_secrets"]

_PACKAGES = {
    "s3": "s3fs",
    "s3a": "s3fs",
    "gs": "gcsfs",
    "gcs": "gcsfs",
    "abfs": "adlfs",
    "abfss": "adlfs",
    "az": "adlfs",
    "http": "aiohttp",
    "https": "aiohttp",
}
_TAGS = ("ETag", "etag", "md5Hash", "content_md5", "checksum")
_TIMES = ("LastModified", "last_modified", "updated", "mtime", "modified", "created")
_SECRET = re.compile(
    r"signature|credential|token|secret|passw|(api|access)_?-?key|^(sig|key)$", re.IGNORECASE
)


@dataclass(frozen=True)
class RemoteFile:
    """One file at a URL, as its store describes it.

    Parameters
    ----------
    url : str
        Its address.
    filesystem : fsspec filesystem
        What lists and opens it.
    size : int or None
        Bytes, where the store says.
    tag : str or None
        What changes with its content (an ETag, a checksum), where the store says.
    changed : str or None
        When it was last changed, where the store says.
    """

    url: str
    filesystem: Any
    size: int | None = None
    tag: str | None = None
    changed: str | None = None

    @property
    def facts(self) -> str:
        """What is known of its content, in words: it stands where a local file has its hash."""
        known = [f"tag {self.tag}"] if self.tag else [f"changed {self.changed}"] if self.changed else []
        known += [f"{self.size} bytes"] if self.size is not None else []
        return ", ".join(known) or "nothing known of its content"

    @property
    def is_watched(self) -> bool:
        """Whether a change of its content would show."""
        return bool(self.tag or self.changed)

    def now(self) -> RemoteFile:
        """Ask the store again."""
        self.filesystem.invalidate_cache()
        return _described(self.filesystem, self.url)


def is_url(pattern: str) -> bool:
    """Tell a URL from the name of a file.

    Examples
    --------
    >>> is_url("s3://bucket/sales/*.parquet"), is_url("sales/*.parquet")
    (True, False)
    """
    return re.match(r"[A-Za-z][A-Za-z0-9+.-]*://", pattern) is not None


def local_path(url: str) -> str | None:
    """Return the local file a ``file://`` URL means; None for others.

    Examples
    --------
    >>> local_path("file:///data/sales%202024.csv")
    '/data/sales 2024.csv'
    """
    found = re.fullmatch(r"file://(?:localhost)?(/.*)", url, re.IGNORECASE)
    return url2pathname(found[1]) if found else None


def refuse_secrets(table: str, url: str) -> None:
    """Raise SettingsError if a URL carries a password or a signature: it would stand in the manifest and the report."""
    try:
        parts = urlsplit(url)
    except ValueError as err:
        raise SettingsError(f"[tables.{table}] path = {url!r}: this is no address ({err}).") from err
    names = [name for name, _ in parse_qsl(parts.query, keep_blank_values=True)]
    user = (
        parts.password if parts.scheme in ("abfs", "abfss") else parts.username
    )  # there it is the container
    if user or parts.password or any(_SECRET.search(name) for name in names):
        shown = f"{parts.scheme}://{parts.hostname or ''}{unquote(parts.path)}"
        raise SettingsError(
            f"[tables.{table}] path = {shown!r}: leave passwords, keys and signatures out of the address. Give them in "
            "the environment, as the package for this store reads them."
        )


def find_remote(table: str, pattern: str, suffixes: frozenset[str]) -> list[RemoteFile]:
    """Find the files a URL means.

    Parameters
    ----------
    table : str
        Name of the table, for messages.
    pattern : str
        URL of a file or of a folder, or one with ``*`` and ``?``.
    suffixes : frozenset of str
        Files taken of a folder.

    Returns
    -------
    list of RemoteFile
        By name.

    Raises
    ------
    SettingsError
        If the kind of store isn't known, its package isn't installed, or the URL carries a secret.
    MissingDataError
        If nothing is there, or the store refuses.
    """
    refuse_secrets(table, pattern)
    filesystem = _filesystem(table, pattern)
    is_web = pattern.startswith(("http://", "https://"))
    try:
        filesystem.invalidate_cache()
        if is_web or filesystem.isfile(pattern):
            return [_described(filesystem, pattern)]
        if any(mark in pattern for mark in "*?["):
            names = [name for name in filesystem.glob(pattern) if filesystem.isfile(name)]
        else:
            found = filesystem.find(pattern)
            names = [name for name in found if PurePosixPath(name).suffix.lower() in suffixes]
        files = [_described(filesystem, filesystem.unstrip_protocol(name)) for name in sorted(names)]
    except Exception as err:  # every store's package raises errors of its own
        first = next((line.strip() for line in str(err).splitlines() if line.strip()), "")
        raise MissingDataError(
            f"{table}: {pattern} can't be opened ({type(err).__name__}: {first[:120]}). Check the address, and the "
            "credentials in the environment."
        ) from err
    if not files:
        raise MissingDataError(f"{table}: nothing to read at {pattern}. Check [tables.{table}] path.")
    return files


class FetchedCopy:
    """A fetched file in a temporary folder, which goes with this object.

    Folders named ``key=value`` keep their names, for they hold columns.

    Parameters
    ----------
    table : str
        Name of the table, for messages.
    file : RemoteFile
        What to fetch.

    Raises
    ------
    MissingDataError
        If it can't be read.
    """

    def __init__(self, table: str, file: RemoteFile) -> None:
        folder = Path(tempfile.mkdtemp(prefix="geomarket-fetched-"))
        weakref.finalize(self, _remove, folder, os.getpid())
        *above, name = PurePosixPath(urlsplit(file.url).path).parts
        self.path = folder.joinpath(*(part for part in above if "=" in part.strip("=")), Path(name).name)
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            file.filesystem.get_file(file.url, str(self.path))
        except Exception as err:  # every store's package raises errors of its own
            raise MissingDataError(f"{table}: {file.url} can't be read ({type(err).__name__}).") from err


def for_duckdb(filesystem: Any) -> Any:
    """Return what DuckDB opens files of a store with.

    DuckDB asks each file when it was changed. A web server may not say, and fsspec then raises: such a file counts as
    never changed here, for :meth:`RemoteFile.now` is what watches it.
    """
    opener = copy.copy(filesystem)

    def modified(path: str) -> dt.datetime:
        try:
            return filesystem.modified(path)
        except Exception:  # NotImplementedError, KeyError and others: every package says it in its own way
            return dt.datetime(1970, 1, 1, tzinfo=dt.UTC)

    opener.modified = modified
    return opener


def _remove(folder: Path, process: int) -> None:
    if os.getpid() == process:
        shutil.rmtree(folder, ignore_errors=True)


def _filesystem(table: str, url: str) -> Any:
    kind = url.split("://", 1)[0].lower()
    shown = f"[tables.{table}] path = {url!r}"
    try:
        import fsspec

        return fsspec.filesystem(kind)
    except Exception as err:  # besides ImportError and ValueError, whatever a kind that needs more says
        if not isinstance(err, ImportError) and kind not in _PACKAGES:
            raise SettingsError(
                f"{shown}: {kind}:// is no kind of store fsspec knows; expected s3, gs, abfss, https or another it has "
                "a package for. Or copy the files here."
            ) from err
        needed = ["fsspec", _PACKAGES[kind]] if kind in _PACKAGES else ["fsspec"]
        raise SettingsError(
            f"{shown}: reading {kind}:// needs {' and '.join(needed)}. pip install {' '.join(needed)}, or copy the "
            "files here."
        ) from err


def _described(filesystem: Any, url: str) -> RemoteFile:
    facts: Mapping[str, Any] = filesystem.info(url)
    size, tag, changed = (_first(facts, names) for names in (("size",), _TAGS, _TIMES))
    moment = changed.isoformat() if hasattr(changed, "isoformat") else changed
    return RemoteFile(
        url,
        filesystem,
        None if size is None else int(size),
        None if tag is None else str(tag).strip('"'),
        None if moment is None else str(moment),
    )


def _first(facts: Mapping[str, Any], names: tuple[str, ...]) -> Any:
    return next((facts[name] for name in names if facts.get(name) is not None), None)
