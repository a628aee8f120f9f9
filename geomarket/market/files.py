"""Finding the files a plan names, and making sure they are what was checked."""

from __future__ import annotations

import codecs
import glob
import hashlib
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from geomarket.errors import MissingDataError, SettingsError, TableError
from geomarket.market.contract import BIG_TABLES
from geomarket.market.remote import FetchedCopy, RemoteFile, find_remote, is_url, local_path
from geomarket.market.spelling import did_you_mean

__all__ = ["CSV", "EXCEL", "GEO", "PARQUET", "Source", "check_unchanged", "find_sources", "require_text"]

CSV = {".csv", ".tsv", ".txt"}
PARQUET = {".parquet", ".pq", ".geoparquet"}
EXCEL = {".xlsx", ".xlsm"}
GEO = {".gpkg", ".shp", ".geojson", ".json", ".fgb"}

_CURES = {
    ".xls": "Save it as .xlsx or CSV.",
    ".ods": "Save it as .xlsx or CSV.",
    ".gz": "Unpack it first.",
    ".zip": "Unpack it first.",
    ".kml": "Save it as GeoPackage or GeoJSON.",
}
_SIDECARS = (".shx", ".dbf", ".prj", ".cpg")
_CHUNK = 1 << 20


@dataclass(frozen=True)
class Source:
    """One file as it was found.

    Parameters
    ----------
    path : Path
        Where it is; of a file at a URL, its copy, or its name if it is read where it is.
    name : str
        How the plan names it: relative to the plan's folder, with forward slashes; or its URL.
    sha256 : str
        Hash of its bytes (and of its companions', for a Shapefile); of a file that is read at its URL, what its store
        says of its content.
    stamp : tuple of (int, int)
        Size and time of last change when it was hashed.
    keys : tuple of str
        Columns that the names of its folders hold (``period=2024-01-01``), outermost first.
    remote : RemoteFile or None
        Of a file at a URL.
    copy : FetchedCopy or None
        Of a file at a URL that was fetched.
    """

    path: Path
    name: str
    sha256: str
    stamp: tuple[int, int]
    keys: tuple[str, ...] = ()
    remote: RemoteFile | None = None
    copy: FetchedCopy | None = None

    @property
    def suffix(self) -> str:
        """Extension in lower case."""
        return self.path.suffix.lower()

    @property
    def is_in_place(self) -> bool:
        """Whether it is read at its URL."""
        return self.remote is not None and self.copy is None

    @property
    def location(self) -> str:
        """What an engine is to open."""
        return self.remote.url if self.remote is not None and self.copy is None else str(self.path)


def find_sources(table: str, patterns: Iterable[str], folder: Path) -> list[Source]:
    """Find a table's files.

    Parameters
    ----------
    table : str
        Name of the table, for messages.
    patterns : iterable of str
        File names, patterns with ``*`` and ``?``, folders (all Parquet or CSV files below them), or URLs of such.
    folder : Path
        Where relative names start from.

    Returns
    -------
    list of Source
        In a fixed order: as given, and by name within a pattern.

    Raises
    ------
    MissingDataError
        If nothing is there (the message suggests the nearest name in that folder) or it can't be read.
    SettingsError
        If a URL can't be read with what is installed, or carries a secret.
    TableError
        If the kind of file isn't known, the files are of several kinds, or their folders hold different columns.
    """
    found: list[Path | RemoteFile] = []
    for pattern in patterns:
        here = local_path(pattern)
        if is_url(pattern) and here is None:
            some: Sequence[Path | RemoteFile] = find_remote(table, pattern, frozenset(CSV | PARQUET))
        else:
            some = _matching(table, pattern if here is None else here, folder)
        found += [one for one in some if one not in found]
    kinds = {_kind(table, _path_of(one)) for one in found}
    if len(kinds) > 1:
        raise TableError(
            f"{table}: files of several kinds ({', '.join(sorted(kinds))}). Use one kind for a table."
        )
    sources = [_source(table, one, folder) for one in found]
    for source in sources[1:]:
        if source.keys != sources[0].keys:
            raise TableError(
                f"{table}: the folders of {source.name} hold the columns {', '.join(source.keys) or 'none'}, those of "
                f"{sources[0].name} {', '.join(sources[0].keys) or 'none'}. Partition all files alike."
            )
    return sources


def check_unchanged(table: str, sources: Iterable[Source]) -> None:
    """Raise TableError if a file changed since it was hashed."""
    for source in sources:
        if source.remote is not None:
            _check_remote(table, source.remote)
            continue
        try:
            now = _stamp(source.path)
        except OSError:
            now = (-1, -1)
        if now != source.stamp:
            raise TableError(
                f"{table}: {source.name} changed while it was being read. Run again when it is complete."
            )


def _check_remote(table: str, remote: RemoteFile) -> None:
    try:
        same = remote.now() == remote
    except Exception:  # it is gone, or its store no longer answers: every package has errors of its own
        same = False
    if not same:
        raise TableError(
            f"{table}: {remote.url} changed while it was being read. Run again when it is complete."
        )


def require_text(table: str, source: Source, encoding: str) -> None:
    """Raise TableError, naming the line, if a text file is not in the encoding it should be in."""
    decoder = codecs.getincrementaldecoder(encoding)()
    line = 1
    with source.path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            try:
                decoder.decode(chunk)
            except UnicodeDecodeError as err:
                line += chunk[: max(err.start, 0)].count(b"\n")
                raise TableError(_not_decodable(table, source, encoding, line, chunk)) from err
            if b"\0" in chunk and not encoding.lower().startswith(("utf-16", "utf_16", "utf-32", "utf_32")):
                line += chunk[: chunk.index(b"\0")].count(b"\n")
                raise TableError(
                    f"{table}: {source.name} line {line} holds a zero byte: it is no text file. {_wide()}"
                )
            line += chunk.count(b"\n")
    try:
        decoder.decode(b"", final=True)
    except UnicodeDecodeError as err:
        raise TableError(_not_decodable(table, source, encoding, line, b"")) from err


def _not_decodable(table: str, source: Source, encoding: str, line: int, chunk: bytes) -> str:
    wide = chunk[:2] in (b"\xff\xfe", b"\xfe\xff")
    cure = (
        _wide()
        if wide
        else 'Save it as UTF-8, or set encoding = "cp1252" (Windows, Western Europe) or another.'
    )
    return f"{table}: {source.name} is not {encoding} (line {line}). {cure}"


def _wide() -> str:
    return 'If it was saved as "Unicode text", set encoding = "utf-16".'


def _matching(table: str, pattern: str, folder: Path) -> list[Path]:
    if pattern.startswith(("/vsi", "\\\\")):
        raise SettingsError(
            f"[tables.{table}] path = {pattern!r}: only files and URLs are read. Copy it here first."
        )
    path = folder / pattern
    try:
        if path.is_dir():
            found = sorted(p for p in path.rglob("*") if p.suffix.lower() in CSV | PARQUET and p.is_file())
            if not found:
                raise MissingDataError(f"{table}: no Parquet or CSV file in the folder {pattern}.")
            return found
        if path.is_file():
            return [path]
        if glob.has_magic(pattern):
            found = sorted(Path(p) for p in glob.glob(str(path), recursive=True) if Path(p).is_file())
            if found:
                return found
            raise MissingDataError(f"{table}: no file matches {pattern}. Check [tables.{table}] path.")
        near = did_you_mean(path.name, _names_in(path.parent))
    except (OSError, ValueError) as err:
        if isinstance(err, MissingDataError):
            raise
        raise MissingDataError(f"{table}: {pattern!r} can't be used as a file name ({err}).") from err
    cure = near or ". Paths are relative to the folder of plan.toml."
    raise MissingDataError(f"{table}: no file {pattern}{cure}")


def _names_in(folder: Path) -> list[str]:
    try:
        return sorted(entry.name for entry in folder.iterdir())
    except OSError:
        return []


def _kind(table: str, path: Path) -> str:
    for kind, suffixes in (("CSV", CSV), ("Parquet", PARQUET), ("Excel", EXCEL), ("map", GEO)):
        if path.suffix.lower() in suffixes:
            return kind
    cure = _CURES.get(path.suffix.lower(), "")
    known = "CSV, Parquet, GeoParquet, GeoPackage, Shapefile, GeoJSON or Excel (.xlsx)"
    raise TableError(
        f"{table}: {path.name}: files of this kind are not read; expected {known}. {cure}".rstrip()
    )


def _path_of(found: Path | RemoteFile) -> Path:
    return found if isinstance(found, Path) else Path(urlsplit(found.url).path)


def _source(table: str, found: Path | RemoteFile, folder: Path) -> Source:
    if isinstance(found, Path):
        sha256, stamp = _hashed(table, found)
        return Source(found, _shown_name(found, folder), sha256, stamp, _keys(found, folder))
    path = _path_of(found)
    keys = _keys(path, Path("/"))
    if table in BIG_TABLES and path.suffix.lower() in PARQUET:
        return Source(path, found.url, found.facts, (found.size or 0, 0), keys, found)
    if path.suffix.lower() == ".shp":
        raise TableError(
            f"{table}: {found.url}: a Shapefile is several files. Give it as GeoPackage, GeoJSON or GeoParquet."
        )
    fetched = FetchedCopy(table, found)
    sha256, stamp = _hashed(table, fetched.path)
    return Source(fetched.path, found.url, sha256, stamp, keys, found, fetched)


def _keys(path: Path, folder: Path) -> tuple[str, ...]:
    """Columns in the names of the folders between the plan's folder, or the root, and a file."""
    try:
        parts = path.relative_to(folder).parts[:-1]
    except ValueError:
        parts = path.parts[:-1]
    return tuple(part.split("=", 1)[0] for part in parts if "=" in part.strip("="))


def _hashed(table: str, path: Path) -> tuple[str, tuple[int, int]]:
    parts = [path]
    if path.suffix.lower() == ".shp":
        parts += [p for suffix in _SIDECARS for p in [path.with_suffix(suffix)] if p.exists()]
    digest = hashlib.sha256()
    try:
        stamp = _stamp(path)
        for part in parts:
            with part.open("rb") as file:
                while chunk := file.read(_CHUNK):
                    digest.update(chunk)
    except OSError as err:
        raise MissingDataError(f"{table}: {path.name} can't be read ({err.strerror or err}).") from err
    return digest.hexdigest(), stamp


def _stamp(path: Path) -> tuple[int, int]:
    stat = path.stat()
    return stat.st_size, stat.st_mtime_ns


def _shown_name(path: Path, folder: Path) -> str:
    try:
        relative = os.path.relpath(path, folder)
    except ValueError:  # another drive
        return path.name
    return path.name if os.path.isabs(relative) or relative.count("..") > 1 else Path(relative).as_posix()
