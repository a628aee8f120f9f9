"""Sales by store, SKU and period."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from pathlib import Path
from typing import overload

import ibis
import ibis.expr.types as ir
import numpy as np
import pandas as pd

from geomarket.engine.expressions import Window, money, trade, whole, with_products, within
from geomarket.engine.fetching import fetch, fetch_or_write
from geomarket.errors import TableError

__all__ = ["periods_of", "sales_by_period", "store_sku_periods", "trade_by_period"]

_SALES_KEYS = ("store_id", "sku")


def periods_of(sales: ir.Table, periods: Window | None = None) -> list[dt.date]:
    """List the distinct periods with trade, in order.

    Parameters
    ----------
    sales : ibis table
        ``Market.sales``.
    periods : (start, end), optional
        Half-open window of dates.

    Returns
    -------
    list of date

    Examples
    --------
    >>> from geomarket.market.connection import sales_table
    >>> sales = sales_table(pd.DataFrame({"store_id": ["1", "1"], "sku": ["a", "a"], "units": [1, 2],
    ...     "period": ["2024-02-01", "2024-01-01"], "revenue": [1.0, 2.0]}))
    >>> [day.isoformat() for day in periods_of(sales)]
    ['2024-01-01', '2024-02-01']
    """
    table = within(sales, "period", periods)
    # Not distinct(): for Spark ibis then keeps the columns that a filter before it used, and with them doublets.
    frame = fetch(table.group_by("period").aggregate(rows=table.count().cast("int64")).order_by("period"))
    return [stamp.date() for stamp in frame["period"]]


def store_sku_periods(sales: ir.Table, periods: Window | None = None) -> pd.DataFrame:
    """Add up sales per store and SKU, with the exposure each pair had.

    ``periods_listed`` counts the trading periods from the pair's first to its last sale in the window,
    both included. That is a proxy for being on the shelf: a SKU listed long before its first sale, or
    still there after its last, is under-counted; one out of stock in between is over-counted.

    Parameters
    ----------
    sales : ibis table
        ``Market.sales``.
    periods : (start, end), optional
        Half-open window of dates; the whole table when None.

    Returns
    -------
    DataFrame
        store_id, sku, units (float), revenue (money, float), periods_listed (int), periods_sold (int:
        periods with units above zero), first_period, last_period; ordered by store_id and sku. Pairs
        whose trade nets to zero stay in.

    Examples
    --------
    >>> from geomarket.market.connection import sales_table
    >>> sales = sales_table(pd.DataFrame({"store_id": ["1", "1", "2"], "sku": ["a", "a", "a"],
    ...     "period": ["2024-01-01", "2024-03-01", "2024-02-01"], "units": [1, 2, 4],
    ...     "revenue": [1.0, 2.0, 4.0]}))
    >>> store_sku_periods(sales)[["store_id", "units", "periods_listed"]].values.tolist()
    [['1', 3.0, 3], ['2', 4.0, 1]]
    >>> store_sku_periods(sales, periods=("2024-02-01", None))["units"].tolist()
    [2.0, 4.0]
    """
    table = within(sales, "period", periods)
    sold = ibis.cases((table.units > 0, table.period), else_=ibis.null("date"))
    frame = fetch(
        table.group_by(list(_SALES_KEYS))
        .aggregate(
            units=whole(table.units),
            revenue=money(table.revenue),
            periods_sold=sold.nunique().cast("int64"),
            first_period=table.period.min().cast("date"),
            last_period=table.period.max().cast("date"),
        )
        .order_by(list(_SALES_KEYS)),
        spread=table.store_id,
    )
    calendar = np.array(periods_of(sales, periods), dtype="datetime64[D]")
    first = np.searchsorted(calendar, frame["first_period"].to_numpy().astype("datetime64[D]"))
    last = np.searchsorted(calendar, frame["last_period"].to_numpy().astype("datetime64[D]"))
    frame["periods_listed"] = (last - first + 1).astype("int64")
    order = ["units", "revenue", "periods_listed", "periods_sold", "first_period", "last_period"]
    return frame[[*_SALES_KEYS, *order]]


@overload
def sales_by_period(
    sales: ir.Table, keys: Sequence[str] = ("store_id",), periods: Window | None = None, file: None = None
) -> pd.DataFrame: ...
@overload
def sales_by_period(
    sales: ir.Table,
    keys: Sequence[str] = ("store_id",),
    periods: Window | None = None,
    *,
    file: str | Path,
) -> Path: ...
def sales_by_period(
    sales: ir.Table,
    keys: Sequence[str] = ("store_id",),
    periods: Window | None = None,
    file: str | Path | None = None,
) -> pd.DataFrame | Path:
    """Add up sales per period and any of store and SKU.

    Parameters
    ----------
    sales : ibis table
        ``Market.sales``.
    keys : sequence of {"store_id", "sku"}
        What to keep apart besides the period; empty for the whole chain.
    periods : (start, end), optional
        Half-open window of dates.
    file : path, optional
        Parquet file to write the rows to instead, for results larger than memory, as in
        :func:`geomarket.engine.cell_category_months`.

    Returns
    -------
    DataFrame, or Path
        The keys, period, units (float), revenue (money, float); ordered by keys and period. Periods
        without trade have no row. The path of the file, where one was asked for.

    Raises
    ------
    TableError
        If a key is not a column of the table.

    Examples
    --------
    >>> from geomarket.market.connection import sales_table
    >>> sales = sales_table(pd.DataFrame({"store_id": ["1", "2"], "sku": ["a", "a"], "units": [1, 4],
    ...     "period": ["2024-01-01", "2024-01-01"], "revenue": [0.1, 0.2]}))
    >>> sales_by_period(sales, keys=("sku",))[["sku", "units", "revenue"]].values.tolist()
    [['a', 5.0, 0.3]]
    """
    unknown = [key for key in keys if key not in sales.columns]
    if unknown:
        raise TableError(
            f"sales: no column {', '.join(unknown)} to group by; it has {', '.join(sales.columns)}."
        )
    table = within(sales, "period", periods)
    by = [*keys, "period"]
    found = table.group_by(by).aggregate(units=whole(table.units), revenue=money(table.revenue))
    return fetch_or_write(found.order_by(by), file, spread=table[by[0]])


def trade_by_period(
    sales: ir.Table,
    products: pd.DataFrame,
    keys: Sequence[str] = ("store_id",),
    periods: Window | None = None,
) -> pd.DataFrame:
    """Add up sales and margin of the given products per period and any of store and SKU.

    Parameters
    ----------
    sales : ibis table
        ``Market.sales``.
    products : DataFrame
        sku and cost (money per unit, may be missing). Sales of other SKUs are left out.
    keys : sequence of {"store_id", "sku"}
        What to keep apart besides the period.
    periods : (start, end), optional
        Half-open window of dates.

    Returns
    -------
    DataFrame
        The keys, period, units (float), revenue, margin (money: revenue less cost of the lines whose cost is known;
        NaN where none is), costed_revenue (revenue of those lines); ordered by keys and period.

    Raises
    ------
    TableError
        If products lack sku or cost.

    Examples
    --------
    >>> from geomarket.market.connection import sales_table
    >>> sales = sales_table(pd.DataFrame({"store_id": ["1", "1"], "sku": ["a", "z"], "units": [2, 9],
    ...     "period": "2024-01-01", "revenue": [5.0, 9.0]}))
    >>> found = trade_by_period(sales, pd.DataFrame({"sku": ["a"], "cost": [2.0]}))
    >>> found[["units", "revenue", "margin"]].values.tolist()
    [[2.0, 5.0, 1.0]]
    """
    table = with_products(
        within(sales, "period", periods), products.assign(known_sku="yes"), ["cost", "known_sku"]
    )
    table = table.filter(table.known_sku.notnull())
    by = [*keys, "period"]
    order = [*by, "units", "revenue", "margin", "costed_revenue"]
    found = table.group_by(by).aggregate(**trade(table))
    return fetch(found.order_by(by), spread=table[by[0]])[order]
