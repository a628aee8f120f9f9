"""The small files of ``[neighbourhoods]``: a scheme made before, and corrections by hand of types and hexagons."""

from __future__ import annotations

import csv
import re
from collections.abc import Callable
from dataclasses import dataclass

import h3
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from geomarket.errors import TableError
from geomarket.market.files import CSV, EXCEL, PARQUET, Source, find_sources, require_text
from geomarket.market.settings import PlanSettings
from geomarket.market.spelling import did_you_mean

__all__ = ["NeighbourhoodFiles", "read_neighbourhood_files", "refuse_twice", "single_source", "table_as_text"]

_SEPARATORS = ",;\t"
_OVERRIDES = ("cell", "neighbourhood", "reason", "author")
_NAMES = ("neighbourhood", "name", "reason", "author")
_SHOWN = 3
_LARGEST_MB = 200


@dataclass(frozen=True)
class NeighbourhoodFiles:
    """What the files of ``[neighbourhoods]`` hold.

    Attributes
    ----------
    scheme : str or None
        JSON text of a scheme, unread.
    overrides : DataFrame or None
        cell (int64), neighbourhood, reason, author.
    names : DataFrame or None
        neighbourhood, name, reason, author.
    earlier : DataFrame or None
        Table ``hexes`` of an earlier plan, without its shapes; cell as int64.
    sources : tuple of Source
        The files.
    """

    scheme: str | None = None
    overrides: pd.DataFrame | None = None
    names: pd.DataFrame | None = None
    sources: tuple[Source, ...] = ()
    earlier: pd.DataFrame | None = None

    @property
    def hashes(self) -> dict[str, str]:
        """File name -> SHA-256 of its bytes."""
        return {source.name: source.sha256 for source in self.sources}


def read_neighbourhood_files(settings: PlanSettings) -> NeighbourhoodFiles:
    """Read the files that ``[neighbourhoods]`` names: ``scheme``, ``overrides``, ``names``, ``earlier``.

    Parameters
    ----------
    settings : PlanSettings
        Relative names start from its folder.

    Returns
    -------
    NeighbourhoodFiles
        None for a file the settings don't name.

    Raises
    ------
    MissingDataError
        If a file isn't there.
    TableError
        If one can't be read, lacks a column or a value, holds something that is no H3 cell, or names a cell or type
        twice. These tables are short and made by hand, so nothing in them is set aside: every row must be right.

    Examples
    --------
    >>> read_neighbourhood_files(PlanSettings()).sources
    ()
    """
    chosen = settings.neighbourhoods
    sources: list[Source] = []

    def source_of(key: str, name: str) -> Source:
        sources.append(single_source(f"neighbourhoods {key}", name, settings))
        return sources[-1]

    scheme = overrides = names = None
    if chosen.scheme is not None:
        source = source_of("scheme", chosen.scheme)
        if source.suffix != ".json":
            raise TableError(
                f"neighbourhoods scheme: {source.name} is no .json file; expected the neighbourhood_scheme.json that a "
                "plan wrote."
            )
        require_text("neighbourhoods scheme", source, "utf-8")
        scheme = source.path.read_text(encoding="utf-8-sig")
    if chosen.overrides is not None:
        source = source_of("overrides", chosen.overrides)
        rows = table_as_text("neighbourhoods overrides", source, _OVERRIDES)
        overrides = rows.assign(cell=_cells("neighbourhoods overrides", source, rows["cell"]))
        refuse_twice("neighbourhoods overrides", source, overrides["cell"], lambda cell: f"{cell:x}")
    if chosen.names is not None:
        source = source_of("names", chosen.names)
        names = table_as_text("neighbourhoods names", source, _NAMES)
        refuse_twice("neighbourhoods names", source, names["neighbourhood"], str)
    earlier = None
    if chosen.earlier is not None:
        earlier = _earlier_hexes(source_of("earlier", chosen.earlier))
    return NeighbourhoodFiles(scheme, overrides, names, tuple(sources), earlier)


def _earlier_hexes(source: Source) -> pd.DataFrame:
    """Read the hexagons of an earlier plan."""
    what = "neighbourhoods earlier"
    if source.suffix not in PARQUET:
        raise TableError(
            f"{what}: {source.name} is no Parquet file; expected hexes.parquet of an earlier plan's folder tables."
        )
    try:
        table = pq.read_table(source.path)
    except (OSError, ValueError, pa.ArrowException) as err:
        raise TableError(f"{what}: {source.name} can't be read ({err}).") from err
    absent = [name for name in ("cell", "supergroup") if name not in table.column_names]
    if absent:
        raise TableError(
            f"{what}: no column {', '.join(map(repr, absent))} in {source.name}; expected hexes.parquet of an earlier "
            "plan's folder tables."
        )
    frame = table.drop_columns([name for name in ("geometry",) if name in table.column_names]).to_pandas()
    return frame.assign(cell=_cells(what, source, frame["cell"].astype("str")))


def single_source(what: str, name: str, settings: PlanSettings) -> Source:
    """Find the one file a setting names.

    Parameters
    ----------
    what : str
        The setting, for messages.
    name : str
        As the setting has it.
    settings : PlanSettings
        Relative names start from its folder.

    Returns
    -------
    Source

    Raises
    ------
    MissingDataError
        If there is no such file.
    TableError
        If the name stands for several files, or for a file of a size no such file has.
    """
    found = find_sources(what, [name], settings.folder)
    if len(found) > 1:
        raise TableError(f"{what}: {name} stands for several files; expected one.")
    if found[0].stamp[0] > _LARGEST_MB * 2**20:
        raise TableError(f"{what}: {found[0].name} is larger than {_LARGEST_MB} MB; is it the file you mean?")
    return found[0]


def table_as_text(what: str, source: Source, columns: tuple[str, ...]) -> pd.DataFrame:
    """Read a short table made by hand as text; every value of the columns must be there.

    Parameters
    ----------
    what : str
        The setting, for messages.
    source : Source
        CSV, Excel or Parquet.
    columns : tuple of str
        Those it must have; others are left out.

    Returns
    -------
    DataFrame
        Indexed by line of the file.

    Raises
    ------
    TableError
        If it can't be read, or lacks a column or a value.
    """
    frame = _as_text(what, source)
    absent = [name for name in columns if name not in frame.columns]
    if absent:
        free = [str(name) for name in frame.columns if name not in columns]
        near = did_you_mean(absent[0], free, f"; columns are {', '.join(map(str, frame.columns[:20]))}.")
        raise TableError(
            f"{what}: no column {', '.join(map(repr, absent))} in {source.name}{near} "
            f"Expected {', '.join(columns)}."
        )
    frame = frame[list(columns)].apply(lambda values: values.str.strip())
    frame = frame[(frame != "").any(axis=1)]
    for name in columns:
        empty = frame.index[frame[name] == ""]
        if len(empty):
            cure = "Every correction needs a reason and an author, so that others can follow it."
            raise TableError(
                f"{what}: {source.name} line {_lines(empty)}: {name} is empty. "
                + (cure if name in ("reason", "author") else "Fill it, or take the line out.")
            )
    return frame


def _as_text(what: str, source: Source) -> pd.DataFrame:
    """Read a CSV, Excel or Parquet file with every value as text, missing ones empty, indexed by line."""
    try:
        if source.suffix in CSV:
            require_text(what, source, "utf-8")
            with source.path.open(encoding="utf-8-sig", newline="") as file:
                first = file.readline()
                file.seek(0)
                separator = max(_SEPARATORS, key=first.count)
                lines = list(csv.reader(file, delimiter=separator, strict=True))
            header, body = (lines[0] if lines else []), lines[1:]
            ragged = [i + 2 for i, row in enumerate(body) if len(row) not in (0, len(header))]
            if ragged:
                raise TableError(
                    f"{what}: {source.name} line {ragged[0]} has another number of values than the first line. "
                    "A value that holds a comma needs quotation marks."
                )
            body = [row or [""] * len(header) for row in body]
            frame = pd.DataFrame(body, columns=[name.strip() for name in header], dtype=object)
        elif source.suffix in EXCEL:
            frame = pd.read_excel(source.path, dtype=str, keep_default_na=False)
        elif source.suffix in PARQUET:
            frame = pd.read_parquet(source.path)
        else:
            raise TableError(f"{what}: {source.name}: expected a CSV, Excel (.xlsx) or Parquet file.")
    except TableError:
        raise
    except Exception as err:  # csv, openpyxl, zipfile and pyarrow raise many types of their own
        raise TableError(f"{what}: {source.name} can't be read ({str(err).splitlines()[0]}).") from err
    if not frame.columns.is_unique:
        twice = frame.columns[frame.columns.duplicated()][0]
        raise TableError(f"{what}: {source.name} has two columns named {twice!r}. Rename one.")
    if frame.empty:
        raise TableError(f"{what}: {source.name} has no rows. Fill it, or leave the setting out.")
    frame = frame.where(frame.notna(), "").astype(str)
    frame.index = pd.RangeIndex(2, len(frame) + 2)
    return frame


def _cells(what: str, source: Source, texts: pd.Series) -> np.ndarray:
    cells = [_cell(text) for text in texts]
    wrong = [i for i, cell in enumerate(cells) if cell is None]
    if wrong:
        raise TableError(
            f"{what}: {source.name} line {_lines(texts.index[wrong])}: "
            f"{', '.join(repr(texts.iloc[i]) for i in wrong[:_SHOWN])} is no H3 cell. Expected its 15 hexadecimal "
            'digits, as the tables of a plan have them, such as "88260d8763fffff".'
        )
    return np.array(cells, dtype=np.int64)


def _cell(text: str) -> int | None:
    """Read a cell as hexadecimal text or as the whole number some tools write."""
    if re.fullmatch(r"[0-9]{18,19}", text):
        text = f"{int(text):x}"
    if re.fullmatch(r"[0-9a-fA-F]{15,16}", text) and h3.is_valid_cell(text):
        return h3.str_to_int(text)
    return None


def refuse_twice(what: str, source: Source, values: pd.Series, shown: Callable[..., str]) -> None:
    """Raise a TableError that names the lines where ``values`` (indexed by line) holds something twice."""
    twice = values[values.duplicated(keep=False)]
    if len(twice):
        raise TableError(
            f"{what}: {source.name} names {shown(twice.iloc[0])} more than once (line {_lines(twice.index)}). "
            "Keep the one that holds."
        )


def _lines(index: pd.Index) -> str:
    shown = ", ".join(str(line) for line in index[:_SHOWN])
    return shown + (f" and {len(index) - _SHOWN:,} more" if len(index) > _SHOWN else "")
