"""What every stage hands back: a table, a few plain sentences, a figure."""

from __future__ import annotations

import html
from typing import Any

import pandas as pd

__all__ = ["Result"]

_SHOWN = 8


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
        head = self.table.drop(columns="geometry", errors="ignore").head(_SHOWN)
        left_out = len(self.table) - len(head)
        more = f"<p>{left_out:,} more rows in <code>.table</code></p>" if left_out > 0 else ""
        return f"<h4>{html.escape(type(self).__name__)}</h4><ul>{points}</ul>{pd.DataFrame(head).to_html()}{more}"
