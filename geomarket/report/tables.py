"""Tables of the page: what a cell shows and what it is sorted by."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
from markupsafe import Markup

__all__ = ["Cell", "Column", "Table", "frame_table"]


@dataclass(frozen=True)
class Cell:
    """One cell: text (escaped by the template) or ready-made markup, a number to sort by, a second line."""

    text: str
    value: float | None = None
    markup: Markup | None = None
    note: str = ""

    @property
    def sort_key(self) -> str | None:
        """What the page's script sorts by; None sorts by the text."""
        if self.value is None:
            return None
        if pd.isna(self.value):
            return "NaN"
        # the script reads a plain count from its text
        return None if self.text.replace(",", "") == f"{self.value:.0f}" else f"{self.value:.6g}"


@dataclass(frozen=True)
class Column:
    """A column's head. ``kind`` is "text", "number", "chart", "wide" (long text) or "main" (two lines).

    ``name`` is the column of the tables folder it shows, if it is one: geomarket audit finds it by that.
    """

    label: str
    kind: str = "text"
    name: str = ""


@dataclass(frozen=True)
class Table:
    """A table with a caption; ``more`` says where the rest is when rows were left out."""

    caption: str
    columns: Sequence[Column]
    rows: Sequence[Sequence[Cell]]
    more: str = ""

    @property
    def full_width(self) -> bool:
        """Long text takes the room there is; figures alone stay close together."""
        return any(column.kind in {"wide", "main"} for column in self.columns)

    @property
    def sortable(self) -> bool:
        """A single row needs no sorting."""
        return len(self.rows) > 1


def frame_table(
    frame: pd.DataFrame,
    caption: str,
    columns: Mapping[str, tuple[str, str, Callable[[Any], str] | None]],
    *,
    limit: int | None = None,
    more: str = "",
) -> Table:
    """Make a page table from a frame.

    Parameters
    ----------
    frame : DataFrame
        One row per line.
    caption : str
        What the table shows.
    columns : mapping
        Frame's column -> (head, kind, how to write a value or None for text). Columns that the frame lacks are
        left out.
    limit : int or None
        Rows shown.
    more : str
        Where the others are; written after their number.
    """
    present = {name: spec for name, spec in columns.items() if name in frame}
    shown = frame if limit is None else frame.head(limit)
    rows = [[_cell(row[name], spec) for name, spec in present.items()] for row in shown.to_dict("records")]
    left_out = len(frame) - len(shown)
    note = f"{left_out:,} more {more}" if left_out > 0 and more else ""
    heads = [Column(label, kind, name) for name, (label, kind, _) in present.items()]
    return Table(caption, heads, rows, note)


def _cell(value: Any, spec: tuple[str, str, Callable[[Any], str] | None]) -> Cell:
    _, kind, write = spec
    if kind == "number":
        number = float("nan") if value is None or pd.isna(value) else float(value)
        return Cell(write(value) if write else f"{number:g}", number)
    if value is None or (not isinstance(value, (list, tuple)) and pd.isna(value)):
        return Cell("")
    return Cell(write(value) if write else str(value))
