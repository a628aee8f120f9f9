"""Sales as a matrix of units and periods: what pairs are matched and measured on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from geomarket.errors import TableError

__all__ = ["Panel", "build_panel"]

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Panel:
    """Sales of units (stores, hexagons, markets) by period, dense.

    Attributes
    ----------
    units : Index of shape (n_units,)
        In sorted order.
    periods : DatetimeIndex of shape (n_periods,)
        In order.
    values : ndarray of shape (n_units, n_periods)
        A unit without a row in a period sold nothing: 0.
    """

    units: pd.Index
    periods: pd.DatetimeIndex
    values: Floats

    def take(self, units: pd.Index) -> Panel:
        """Return the rows of some units, in their order."""
        place = self.units.get_indexer(units)
        if (place < 0).any():
            absent = ", ".join(map(str, units[place < 0][:3]))
            raise TableError(f"sales: no rows of {int((place < 0).sum())} units ({absent}).")
        return Panel(units, self.periods, self.values[place])

    def window(self, start: int, stop: int) -> Panel:
        """Return the periods from position ``start`` up to, not with, ``stop``."""
        return Panel(self.units, self.periods[start:stop], self.values[:, start:stop])


def build_panel(sales: pd.DataFrame, unit: str, value: str) -> Panel:
    """Turn sales into a dense panel.

    Parameters
    ----------
    sales : DataFrame
        ``unit``, period (date) and ``value``; rows of one unit and period are added up.
    unit, value : str
        Columns.

    Returns
    -------
    Panel
        Independent of the order of the rows.

    Raises
    ------
    TableError
        If a column is missing, or values are not finite. Leave out or repair the rows named.

    Examples
    --------
    >>> sales = pd.DataFrame({"store_id": ["2", "1", "1"], "period": ["2024-01-01", "2024-01-01", "2024-01-08"],
    ...                       "revenue": [5.0, 1.0, 2.0]})
    >>> build_panel(sales, "store_id", "revenue").values.tolist()
    [[1.0, 2.0], [5.0, 0.0]]
    """
    missing = [column for column in (unit, "period", value) if column not in sales]
    if missing:
        raise TableError(
            f"sales: no column {', '.join(missing)}; it has {', '.join(map(str, sales.columns))}."
        )
    if sales.empty:
        raise TableError("sales: the table is empty; expected one row per unit and period with trade.")
    amounts = sales[value].to_numpy(dtype=float)
    bad = ~np.isfinite(amounts)
    if bad.any():
        rows = ", ".join(map(str, sales.index[bad][:3]))
        raise TableError(
            f"sales: {int(bad.sum())} of {len(sales):,} rows have no finite {value} (rows {rows}). Leave them out, "
            "or measure on another column."
        )
    dates = pd.to_datetime(sales["period"]).astype("datetime64[ns]")
    units, row = np.unique(sales[unit].to_numpy(), return_inverse=True)
    periods, column = np.unique(dates.to_numpy(), return_inverse=True)
    # sorted before adding up, so that a float sum doesn't depend on the order of the rows
    order = np.lexsort((amounts, column, row))
    values = np.zeros((len(units), len(periods)))
    np.add.at(values, (row[order], column[order]), amounts[order])
    return Panel(pd.Index(units, name=unit), pd.DatetimeIndex(periods), values)
