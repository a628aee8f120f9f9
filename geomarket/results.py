"""What every stage hands back: a table, a few plain sentences, a figure."""

from __future__ import annotations

import html
from typing import Any

import pandas as pd

__all__ = ["Result"]

_SHOWN, _COLUMNS = 8, 14


class Result:
    """Mixin of the frozen result dataclasses: shows itself in a notebook.

    A subclass is a frozen dataclass with a ``table`` (pandas or geopandas frame) and overrides
    :meth:`summary` and, where a figure helps, ``plot(ax=None)``, which returns the axes.
    """

    table: pd.DataFrame

    def summary(self) -> list[str]:
        """Return the finding in a few plain sentences, most important first."""
        return [f"{type(self).__name__} with {len(self.table):,} rows."]

    def plot(self, ax: Any = None) -> Any:
        """Draw the result on matplotlib axes and return them."""
        raise NotImplementedError(f"{type(self).__name__} has no figure of its own; draw from .table")

    def __str__(self) -> str:
        return "\n".join(self.summary())

    def _repr_html_(self) -> str:
        points = "".join(f"<li>{html.escape(line)}</li>" for line in self.summary())
        whole = self.table.drop(columns="geometry", errors="ignore")
        head = pd.DataFrame(whole.head(_SHOWN).iloc[:, :_COLUMNS])
        named = not isinstance(head.index, pd.RangeIndex)
        shown = head.to_html(border=0, index=named, na_rep="–", float_format=_short)
        left_out = [
            f"{number:,} more {what}"
            for number, what in (
                (len(whole) - len(head), "rows"),
                (whole.shape[1] - head.shape[1], "columns"),
            )
            if number > 0
        ]
        more = f"<p>{' and '.join(left_out)} in <code>.table</code></p>" if left_out else ""
        return f"<h4>{html.escape(type(self).__name__)}</h4><ul>{points}</ul>{shown}{more}"


def _short(value: float) -> str:
    """Write a number to four figures, without an exponent where it can be read."""
    if value == round(value) or abs(value) >= 10_000:
        return f"{value:,.0f}"
    return f"{value:,.4g}"
