"""Read back what an output folder publishes about people: tables, exports, map layers, sheets, tables of the page."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import openpyxl
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pyogrio

from geomarket.errors import SettingsError
from geomarket.safeguards.published import COUNT, GIVES_AWAY, KEYS, PARTS, PERSON_KEYS

__all__ = ["Page", "not_read", "read_pages"]

DICTIONARY = "Data dictionary"
LAYERS = ("geojson", "kml", "gpkg")
# the sheet of neighbourhood types calls its key as the tables of types do
ALIASES = {"code": "neighbourhood"}


@dataclass(frozen=True)
class Page:
    """One published table that counts people, or lists them.

    ``complete``: its empty figures are hidden ones; otherwise they may belong to rows that are not about people.
    """

    source: str
    frame: pd.DataFrame
    complete: bool


def read_pages(folder: Path) -> list[Page]:
    """Return all that a folder publishes about people, tables first; then exports, workbooks, pages.

    Raises
    ------
    SettingsError
        A file can't be read.
    """
    pages = []
    tables = sorted((folder / "tables").glob("*.parquet"))
    for path in tables:
        pages += _parquet(path, f"tables/{path.name}", True)
    for path in sorted(set(folder.rglob("*.parquet")) - set(tables)):
        pages += _parquet(path, str(path.relative_to(folder)), False)
    for path in sorted(folder.rglob("*.csv")):
        pages += _csv(path, str(path.relative_to(folder)))
    for path in sorted(path for kind in LAYERS for path in folder.rglob(f"*.{kind}")):
        pages += _layers(path, str(path.relative_to(folder)))
    for path in sorted(folder.rglob("*.xlsx")):
        pages += _sheets(path)
    for path in sorted(folder.rglob("*.html")):
        pages += _html_tables(path, str(path.relative_to(folder)))
    return pages


def not_read(folder: Path) -> dict[str, int]:
    """Return how many files of a folder no page comes from, by suffix: pictures, settings."""
    files = [path for path in folder.rglob("*") if path.is_file() and not path.name.startswith(".")]
    kinds = pd.Series(
        [path.suffix[1:].lower() for path in files if path.name != "manifest.json"], dtype=object
    )
    counted = kinds[~kinds.isin(["parquet", "csv", "xlsx", "html", *LAYERS])].value_counts()
    return {str(kind): int(counted[kind]) for kind in sorted(counted.index)}


def _about_people(names: list[str]) -> bool:
    return any(name in names for name in (COUNT, *PARTS, *PERSON_KEYS))


def _wanted(names: list[str]) -> list[str]:
    kept = {*KEYS, *PERSON_KEYS, COUNT, *PARTS, *GIVES_AWAY, f"{COUNT}_a", f"{COUNT}_b"}
    return [name for name in names if name in kept]


def _parquet(path: Path, name: str, complete: bool) -> list[Page]:
    try:
        names = pq.read_schema(path).names
        if not _about_people(names):
            return []
        return [Page(name, pq.read_table(path, columns=_wanted(names)).to_pandas(), complete)]
    except (OSError, pa.ArrowException) as error:
        raise SettingsError(f"{path}: can't be read as Parquet ({error}). Run the plan again.") from error


def _layers(path: Path, name: str) -> list[Page]:
    """Read the figures of a file of map layers, without its shapes."""
    pages = []
    try:
        for layer, _ in pyogrio.list_layers(path):
            names = pyogrio.read_info(path, layer=layer)["fields"].tolist()
            if _about_people(names):
                frame = pyogrio.read_dataframe(path, layer=layer, read_geometry=False)
                pages.append(Page(name, _keyed(pd.DataFrame(frame)), False))
    except (OSError, ValueError, pyogrio.errors.DataSourceError) as error:
        raise SettingsError(f"{path}: can't be read as map layers ({error}). Run the plan again.") from error
    return pages


def _csv(path: Path, name: str) -> list[Page]:
    try:
        # every figure as it stands: ids must not become numbers
        frame = pd.read_csv(path, dtype=str)
    except (OSError, ValueError) as error:
        raise SettingsError(f"{path}: can't be read as CSV ({error}). Run the plan again.") from error
    if not _about_people(list(frame.columns)):
        return []
    frame = _keyed(frame)
    figures = [str(c) for c in frame if c not in KEYS and c not in PERSON_KEYS]
    return [Page(name, frame.assign(**{c: _figures(frame[c].fillna("")) for c in figures}), False)]


def _sheets(path: Path) -> list[Page]:
    try:
        with warnings.catch_warnings():
            # it tells that bars and colours of the cells mean nothing to it: nor do they to us
            warnings.simplefilter("ignore", UserWarning)
            return _pages_of(openpyxl.load_workbook(path, read_only=True, data_only=True), path.name)
    except Exception as error:  # openpyxl raises many kinds for a damaged file
        raise SettingsError(f"{path}: can't be read as a workbook ({error}). Run the plan again.") from error


def _pages_of(book: Any, name: str) -> list[Page]:
    columns: dict[str, dict[str, str]] = {}
    if DICTIONARY in book.sheetnames:
        for sheet, head, column, *_ in book[DICTIONARY].iter_rows(min_row=2, values_only=True):
            columns.setdefault(str(sheet), {})[str(head)] = str(column)
    pages = []
    for sheet in book.sheetnames:
        rows = book[sheet].iter_rows(values_only=True)
        heads = [str(head) for head in next(rows, ())]
        # a sheet the dictionary does not know is judged by its heads
        names = [columns.get(sheet, {}).get(head, _plain(head)) for head in heads]
        if _about_people(names):
            frame = pd.DataFrame(list(rows), columns=names)
            pages.append(Page(f"{name}: {sheet}", _keyed(frame), False))
    book.close()
    return pages


def _plain(head: str) -> str:
    return head.strip().lower().replace(" ", "_")


def _keyed(frame: pd.DataFrame) -> pd.DataFrame:
    if not any(key in frame for key in KEYS):
        frame = frame.rename(columns=ALIASES)
    frame = frame[_wanted([str(c) for c in frame.columns])]
    return frame.loc[:, ~frame.columns.duplicated()]


class _Tables(HTMLParser):
    """Collects the tables of a page: caption, names of the columns, cells."""

    def __init__(self) -> None:
        super().__init__()
        self.tables: list[tuple[str, list[str], list[list[str]]]] = []
        self._caption, self._names, self._rows = "", [""], [[""]]
        self._text: list[str] | None = None
        self._value: str | None = None

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag == "table":
            self._names, self._rows = [], []
        elif tag == "tr":
            self._rows.append([])
        elif tag in {"th", "td", "figcaption"}:
            self._text, self._value = [], given.get("data-name") or given.get("data-v")

    def handle_data(self, data: str) -> None:
        if self._text is not None:
            self._text.append(data)

    def handle_endtag(self, tag: str) -> None:
        text = "".join(self._text or []).strip()
        if tag == "figcaption":
            self._caption = text
        elif tag == "th":
            self._names.append(self._value or _plain(text))
        elif tag == "td" and self._rows:
            self._rows[-1].append(self._value or text)
        elif tag == "table":
            self.tables.append((self._caption, self._names, [row for row in self._rows if row]))
        if tag in {"th", "td", "figcaption"}:
            self._text = None


def _html_tables(path: Path, name: str) -> list[Page]:
    parser = _Tables()
    parser.feed(path.read_text(encoding="utf-8"))
    pages = []
    for caption, names, rows in parser.tables:
        if not _about_people(names) or any(len(row) != len(names) for row in rows):
            continue
        frame = _keyed(pd.DataFrame(rows, columns=names))
        figures = [str(c) for c in frame if c not in KEYS and c not in PERSON_KEYS]
        frame = frame.assign(**{c: _figures(frame[c]) for c in figures})
        pages.append(Page(f"{name}: {caption}", frame, False))
    return pages


def _figures(text: pd.Series) -> pd.Series:
    plain = text.str.replace(",", "", regex=False)
    number = pd.to_numeric(plain, errors="coerce")
    return number if number.notna().any() else text.where(text.str.strip() != "")
