"""What checking the tables turned up: every finding counted, every row set aside listed (up to a cap)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import pandas as pd

from geomarket.market.model import QUALITY_COLUMNS, QUARANTINE_COLUMNS

__all__ = [
    "ADDED_UP",
    "KEPT",
    "LEFT_OUT",
    "NETTED",
    "READ",
    "REPAIRED",
    "SET_ASIDE",
    "SET_TO_MISSING",
    "STOP",
    "Findings",
    "numbered",
]

READ = "read"
"""The rows a table has."""
SET_ASIDE = "set aside"
"""Rows that can't be used: they are in the quarantine and count towards the share that stops a plan."""
LEFT_OUT = "left out"
"""Rows that are fine but not wanted (outside the window, without trade): counted, not in the quarantine."""
SET_TO_MISSING = "set to missing"
"""Single values that can't be used, in columns a plan can do without."""
NETTED = "netted"
"""Returns, subtracted from sales."""
ADDED_UP = "added up"
"""Several rows that became one."""
REPAIRED = "repaired"
"""Put right without loss."""
KEPT = "kept"
"""Used as it is; worth knowing."""
STOP = "stops the plan"
"""A plan must not be made of this."""

_LONGEST_VALUE = 200


@dataclass
class Findings:
    """Collects the rows of ``Market.quality`` and ``Market.quarantine``.

    Parameters
    ----------
    cap : int
        Rows listed in the quarantine per table, column and reason.
    """

    cap: int = 1000
    _quality: list[dict[str, object]] = field(default_factory=list)
    _quarantine: list[dict[str, object]] = field(default_factory=list)

    def note(
        self, table: str, column: str, check: str, rows: int, of_rows: int, action: str, message: str
    ) -> None:
        """Count a finding."""
        row = (table, column, check, int(rows), int(of_rows), action, message)
        self._quality.append(dict(zip(QUALITY_COLUMNS, row)))

    def set_aside(
        self,
        table: str,
        column: str,
        reason: str,
        rows: Iterable[tuple[int | None, object]],
        count: int,
        of_rows: int,
        cure: str = "",
    ) -> None:
        """Count rows set aside for one reason and list them up to the cap.

        Parameters
        ----------
        table, column, reason : str
            Where, and why.
        rows : iterable of (row, value)
            Row numbers, counted from 1 without the header, and the values found there.
        count, of_rows : int
            How many rows, of how many the table has.
        cure : str
            A sentence on what to do about it.
        """
        listed = self.list_rows(table, column, reason, rows)
        examples = ", ".join(dict.fromkeys(value for _, value in listed[:50] if value))
        examples = examples if len(examples) <= 60 else examples[:57] + "..."
        message = f"{table}: {count:,} of {of_rows:,} rows: {column}: {reason}"
        message += f" ({examples})" if examples else ""
        message += f"; {SET_ASIDE}." + (f" {cure}" if cure else "")
        self.note(table, column, reason, count, of_rows, SET_ASIDE, message)

    def list_rows(
        self, table: str, column: str, reason: str, rows: Iterable[tuple[int | None, object]]
    ) -> list[tuple[int | None, str]]:
        """Put rows into the quarantine, up to the cap, without counting them; return those listed."""
        listed = [(row, _shown(value)) for _, (row, value) in zip(range(self.cap), rows)]
        for row, value in listed:
            line = (table, None if row is None else int(row), column, value, reason)
            self._quarantine.append(dict(zip(QUARANTINE_COLUMNS, line)))
        return listed

    @property
    def quality(self) -> pd.DataFrame:
        """The findings, in the order they were made."""
        frame = pd.DataFrame(self._quality, columns=QUALITY_COLUMNS)
        return frame.astype({"rows": "int64", "of_rows": "int64"})

    @property
    def quarantine(self) -> pd.DataFrame:
        """The rows set aside; ``row`` is missing where one line stands for several rows of the file."""
        frame = pd.DataFrame(self._quarantine, columns=QUARANTINE_COLUMNS)
        return frame.astype({"row": "Int64"})


def _shown(value: object) -> str:
    if value is None or value is pd.NA or value != value:
        return ""
    text = str(value)
    return text if len(text) <= _LONGEST_VALUE else text[: _LONGEST_VALUE - 3] + "..."


def numbered(rows: Iterable[int], values: Iterable[object]) -> Iterator[tuple[int, object]]:
    """Number rows from 1, as a person counts them: pairs for :meth:`Findings.list_rows`."""
    return ((int(row) + 1, value) for row, value in zip(rows, values, strict=True))
