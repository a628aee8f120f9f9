"""What a sheet of the workbook is: a frame, its columns, what each means."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import pandas as pd

__all__ = ["Field", "Kind", "Sheet"]

Kind = Literal[
    "id", "text", "wide", "count", "number", "money", "share", "index", "date", "flag", "action", "input"
]


@dataclass(frozen=True)
class Field:
    """One column of a sheet: where it is in the frame, its head, how it is written, what it means."""

    column: str
    head: str
    kind: Kind
    meaning: str


@dataclass(frozen=True)
class Sheet:
    """One sheet: ``intro`` stands over the table; ``choices`` are drop-downs of columns the planner fills in."""

    name: str
    intro: str
    frame: pd.DataFrame
    fields: Sequence[Field]
    choices: tuple[tuple[str, tuple[str, ...]], ...] = ()

    @property
    def shown(self) -> list[Field]:
        """The fields whose column the frame has."""
        return [field for field in self.fields if field.column in self.frame.columns]
