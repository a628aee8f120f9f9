"""Finished steps, kept on disk under the hash of everything they depend on.

A checkpoint holds whatever object a step returned, as a pickle. Unpickling runs code, so the folder has to be one that
only this user can write to; anything else is refused. A checkpoint that is damaged, or was made by other code or other
versions, is a checkpoint that isn't there.
"""

from __future__ import annotations

import dataclasses
import enum
import functools
import hashlib
import json
import logging
import os
import pickle
import secrets
import stat
import tempfile
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any, BinaryIO

import geopandas as gpd
import ibis.expr.types as ir
import numpy as np
import pandas as pd
import shapely

from geomarket.errors import SettingsError
from geomarket.results import Result

__all__ = ["MISSING", "Checkpoints", "code_version", "default_folder", "fingerprint"]

_log = logging.getLogger(__name__)

MISSING = object()
"""What :meth:`Checkpoints.load` returns when there is nothing under a key; None may be a step's result."""

_SUFFIX = ".checkpoint"
_DIGEST = 32
_PIECE = 1 << 22
_PACKAGES = (
    "numpy",
    "scipy",
    "pandas",
    "geopandas",
    "shapely",
    "h3",
    "h3ronpy",
    "scikit-learn",
    "statsmodels",
)
_ENGINES = ("duckdb", "ibis-framework", "highspy", "numba", "joblib")


class Checkpoints:
    """A folder of finished steps.

    Parameters
    ----------
    folder : path
        Made where missing, readable by this user alone.

    Raises
    ------
    SettingsError
        If the folder belongs to, or can be written by, somebody else: what is in it can't be trusted.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     checkpoints = Checkpoints(Path(folder) / "steps")
    ...     checkpoints.save("ab12", {"answer": 42})
    ...     checkpoints.load("ab12"), checkpoints.load("cd34") is MISSING
    ({'answer': 42}, True)
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = Path(folder)
        try:
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as error:
            raise SettingsError(f"--checkpoints {self.folder}: can't be made ({error.strerror}).") from error
        self._check_trust()
        self.used: set[str] = set()

    def load(self, key: str) -> Any:
        """Return what was saved under ``key``; :data:`MISSING` if nothing, or nothing whole, is there."""
        path = self.folder / (key + _SUFFIX)
        try:
            with path.open("rb") as file:
                digest = file.read(_DIGEST)
                if _rest(file) != digest:
                    _log.warning("checkpoint %s is damaged; the step is done again", path.name)
                    return MISSING
                file.seek(_DIGEST)
                value = pickle.load(file)
        except OSError:
            return MISSING
        self.used.add(key)
        return value

    def save(self, key: str, value: Any) -> None:
        """Keep ``value`` under ``key``. Failing to (a full disk) costs time later and nothing now."""
        self.used.add(key)
        path = self.folder / (key + _SUFFIX)
        temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
        try:
            with temporary.open("wb") as file:
                # The hash goes before what it is of, and is known after it: no second copy in memory.
                file.write(bytes(_DIGEST))
                hashed = _Hashed(file)
                pickle.dump(value, hashed, protocol=5)
                file.seek(0)
                file.write(hashed.digest.digest())
            os.replace(temporary, path)
        except OSError as error:
            _log.warning("checkpoint not kept (%s); a resumed run will do this step again", error.strerror)
        finally:
            temporary.unlink(missing_ok=True)

    def prune(self) -> None:
        """Remove what the finished run neither used nor made."""
        for path in self.folder.glob(f"*{_SUFFIX}"):
            if path.name.removesuffix(_SUFFIX) not in self.used:
                path.unlink(missing_ok=True)
        for left in self.folder.glob(".*.part"):
            left.unlink(missing_ok=True)

    def _check_trust(self) -> None:
        if not hasattr(os, "getuid"):
            return
        about = self.folder.stat()
        if about.st_uid != os.getuid():
            raise SettingsError(
                f"--checkpoints {self.folder} belongs to another user; what is in it can't be trusted. Name another."
            )
        if about.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            raise SettingsError(
                f"--checkpoints {self.folder} can be written by others; what is in it can't be trusted. "
                f"Make it yours alone (chmod 700 {self.folder}), or name another."
            )


class _Hashed:
    """A file whose bytes are hashed as they are written."""

    def __init__(self, file: BinaryIO) -> None:
        self.file, self.digest = file, hashlib.sha256()

    def write(self, data: Any) -> int:
        """Write bytes, or a buffer of them."""
        self.digest.update(data)
        return self.file.write(data)


def _rest(file: BinaryIO) -> bytes:
    """Hash of the file from here on."""
    digest = hashlib.sha256()
    while piece := file.read(_PIECE):
        digest.update(piece)
    return digest.digest()


def default_folder(out: Path) -> Path:
    """Return the folder for the checkpoints of runs into ``out``: under the user's cache, one for each output folder.

    Checkpoints hold figures of single customers, so they never lie in the folder that is handed on.

    Examples
    --------
    >>> default_folder(Path("plan")) == default_folder(Path("other"))
    False
    """
    base = os.environ.get("XDG_CACHE_HOME") or os.environ.get("LOCALAPPDATA")
    try:
        root = Path(base) if base else Path.home() / ".cache"
    except RuntimeError:  # no home folder, as in some containers
        root = Path(tempfile.gettempdir()) / f"cache-{getattr(os, 'getuid', int)()}"
    name = hashlib.sha256(str(out.resolve()).encode("utf-8")).hexdigest()[:16]
    return root / "geomarket" / name


@functools.cache
def code_version() -> str:
    """Return a hash of geomarket's own source and of the versions of what it computes with.

    Examples
    --------
    >>> len(code_version())
    64
    """
    digest = hashlib.sha256()
    root = Path(__file__).resolve().parents[1]
    for path in sorted(root.rglob("*.py")):
        digest.update(str(path.relative_to(root)).encode() + b"\0" + path.read_bytes() + b"\0")
    for package in (*_PACKAGES, *_ENGINES):
        digest.update(f"{package}={version(package)};".encode())
    return digest.hexdigest()


def fingerprint(*values: Any) -> str:
    """Return a hash of values that is the same in every process: of frames, arrays, settings, results, ibis tables.

    Rows count in their order, except those of ibis tables, where the sum of the rows' hashes is taken in the engine.

    Raises
    ------
    TypeError
        For a kind of value whose content can't be seen.

    Examples
    --------
    >>> frame = pd.DataFrame({"a": [1, 2]})
    >>> fingerprint(frame, {"x": 1.0}) == fingerprint(frame.copy(), {"x": 1.0})
    True
    >>> fingerprint(frame) == fingerprint(frame.assign(a=[1, 3]))
    False
    """
    digest = hashlib.sha256()
    for value in values:
        _feed(digest, value)
    return digest.hexdigest()


def _feed(digest: Any, value: Any) -> None:
    digest.update(f"<{type(value).__name__}>".encode())
    if value is None or isinstance(value, (bool, int, float, str, bytes)):
        digest.update(repr(value).encode())
    elif isinstance(value, enum.Enum):
        digest.update(str(value).encode())
    elif isinstance(value, np.ndarray):
        _feed_array(digest, value)
    elif isinstance(value, (pd.DataFrame, pd.Series, pd.Index)):
        _feed_frame(digest, value)
    elif isinstance(value, ir.Table):
        _feed_table(digest, value)
    elif isinstance(value, (list, tuple)):
        for item in value:
            _feed(digest, item)
    elif isinstance(value, (set, frozenset)):
        for item in sorted(value, key=repr):
            _feed(digest, item)
    elif isinstance(value, Mapping):
        for key in value:
            _feed(digest, key)
            _feed(digest, value[key])
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        for field in dataclasses.fields(value):
            digest.update(field.name.encode())
            _feed(digest, getattr(value, field.name))
    elif hasattr(value, "model_dump_json"):
        digest.update(value.model_dump_json().encode())
    elif hasattr(value, "isoformat") or isinstance(value, np.generic):
        digest.update(repr(value).encode())
    elif isinstance(value, Result) or hasattr(value, "__dict__"):
        _feed(digest, vars(value))
    else:
        raise TypeError(f"a {type(value).__name__} can't be hashed by content")
    digest.update(b"</>")


def _feed_array(digest: Any, value: np.ndarray) -> None:
    digest.update(f"{value.dtype}{value.shape}".encode())
    if value.dtype == object:
        digest.update(json.dumps([repr(item) for item in value.ravel()]).encode())
    else:
        digest.update(np.ascontiguousarray(value).tobytes())


def _feed_frame(digest: Any, value: pd.DataFrame | pd.Series | pd.Index) -> None:
    if isinstance(value, pd.Index):
        frame = value.to_frame(index=False)
    elif isinstance(value, pd.Series):
        frame = value.to_frame().reset_index()
    else:
        frame = value if isinstance(value.index, pd.RangeIndex) else value.reset_index()
    digest.update(repr([str(column) for column in frame.columns]).encode())
    digest.update(repr(None if isinstance(value, pd.Index) else value.index.names).encode())
    if isinstance(value, gpd.GeoDataFrame):
        digest.update(str(value.crs).encode())
    for position in range(frame.shape[1]):
        column = frame.iloc[:, position]
        digest.update(str(column.dtype).encode())
        if column.dtype == "geometry":
            for shape in shapely.to_wkb(column.to_numpy()):
                digest.update(shape or b"-")
        elif column.dtype == object:
            digest.update(json.dumps([repr(item) for item in column]).encode())
        else:
            digest.update(pd.util.hash_pandas_object(column, index=False).to_numpy().tobytes())


def _feed_table(digest: Any, table: ir.Table) -> None:
    digest.update(str(table.schema()).encode())
    columns = [table[name].cast("string").fill_null("\x00") for name in table.columns]
    line = functools.reduce(lambda a, b: a + "\x1f" + b, columns)
    # A sum does not depend on the rows' order, and 64-bit hashes would overflow it: hence the decimal.
    parts = table.select(h=line.hash().cast("decimal(38, 0)"))
    found = parts.aggregate(rows=parts.count(), total=parts.h.sum()).execute()
    digest.update(repr([str(item) for item in found.iloc[0]]).encode())
