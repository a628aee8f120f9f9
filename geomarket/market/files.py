"""Finding the files a plan names, and making sure they are what was checked."""

from __future__ import annotations

import codecs
import glob
import hashlib
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from geomarket.errors import MissingDataError, SettingsError, TableError
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
        Where it is.
    name : str
        How the plan names it: relative to the plan's folder, with forward slashes.
    sha256 : str
        Hash of its bytes (and of its companions', for a Shapefile).
    stamp : tuple of (int, int)
        Size and time of last change when it was hashed.
    """

    path: Path
    name: str
    sha256: str
    stamp: tuple[int, int]

    @property
    def suffix(self) -> str:
        """Extension in lower case."""
        return self.path.suffix.lower()


def find_sources(table: str, patterns: Iterable[str], folder: Path) -> list[Source]:
    """Find a table's files.

    Parameters
    ----------
    table : str
        Name of the table, for messages.
    patterns : iterable of str
        File names, patterns with ``*`` and ``?``, or folders (all Parquet or CSV files below them).
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
        If a name is a URL.
    TableError
        If the kind of file isn't known, or the files are of several kinds.
    """
    paths: list[Path] = []
    for pattern in patterns:
        paths += [path for path in _matching(table, pattern, folder) if path not in paths]
    kinds = {_kind(table, path) for path in paths}
    if len(kinds) > 1:
        raise TableError(
            f"{table}: files of several kinds ({', '.join(sorted(kinds))}). Use one kind for a table."
        )
    return [_source(table, path, folder) for path in paths]


def check_unchanged(table: str, sources: Iterable[Source]) -> None:
    """Raise TableError if a file changed since it was hashed."""
    for source in sources:
        try:
            now = _stamp(source.path)
        except OSError:
            now = (-1, -1)
        if now != source.stamp:
            raise TableError(
                f"{table}: {source.name} changed while it was being read. Run again when it is complete."
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
    if "://" in pattern or pattern.startswith(("/vsi", "\\\\")):
        raise SettingsError(
            f"[tables.{table}] path = {pattern!r}: only local files are read. Copy it here first."
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


def _source(table: str, path: Path, folder: Path) -> Source:
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
    return Source(path, _shown_name(path, folder), digest.hexdigest(), stamp)


def _stamp(path: Path) -> tuple[int, int]:
    stat = path.stat()
    return stat.st_size, stat.st_mtime_ns


def _shown_name(path: Path, folder: Path) -> str:
    try:
        relative = os.path.relpath(path, folder)
    except ValueError:  # another drive
        return path.name
    return path.name if os.path.isabs(relative) or relative.count("..") > 1 else Path(relative).as_posix()
