"""Sales and baskets that stay in a warehouse ibis speaks to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import ibis.expr.types as ir

from geomarket.errors import TableError
from geomarket.market.connection import BASKETS_SCHEMA, SALES_SCHEMA
from geomarket.market.spelling import did_you_mean

__all__ = ["warehouse_baskets", "warehouse_sales"]


def warehouse_sales(
    table: ir.Table, columns: Mapping[str, str] | None = None, period: Literal["week", "month"] = "week"
) -> ir.Table:
    """Shape a warehouse's sales as ``Market.sales``, without moving them.

    Put the result into a market by ``dataclasses.replace(market, sales=...)``: every stage then adds up in the
    warehouse. Rows are netted within store, SKU and period; where more was returned than sold there is no row. Nothing
    else is checked: that stores and SKUs are known, and what :func:`geomarket.load_market` sets aside, is for the
    warehouse to see to. Every stage asks anew, so a table that changes under a run gives a plan of two minds: hand in a
    snapshot. Checkpoints need an engine that can hash rows, which SQLite can't.

    Parameters
    ----------
    table : ibis table
        Of any backend; which ones were tried stands in ``benchmarks/results/engine.md``.
    columns : mapping, optional
        Our column name -> name in the table; those not named have our names already: store_id, sku, period (any day of
        it), units (whole numbers, returns negative), revenue (money).
    period : {"week", "month"}
        Grain of the market.

    Returns
    -------
    ibis table
        store_id, sku, period, units, revenue; one row per store, SKU and period with trade.

    Raises
    ------
    TableError
        If a column is missing or of a type that can't be used. Name it in ``columns``, or cast it in the warehouse.

    Examples
    --------
    >>> import ibis, pandas as pd
    >>> there = ibis.memtable(pd.DataFrame({"filiale": "7", "sku": "a", "units": [3, -1], "revenue": [6.0, -2.0],
    ...     "period": pd.to_datetime(["2024-01-03", "2024-01-04"])}))
    >>> warehouse_sales(there, {"store_id": "filiale"}).to_pandas()[["store_id", "units"]].values.tolist()
    [['7', 2]]
    """
    lines = _shaped(table, "sales", SALES_SCHEMA, columns or {})
    unit: Literal["W", "M"] = "W" if period == "week" else "M"
    # By way of a timestamp: Spark truncates to one where ibis expects a date, and so drops a plain cast.
    lines = lines.mutate(period=lines.period.truncate(unit).cast("timestamp").cast("date"))
    netted = lines.group_by("store_id", "sku", "period").aggregate(
        units=lines.units.sum().cast("int64"), revenue=_summed(lines.revenue)
    )
    return netted.filter(netted.units > 0)


def warehouse_baskets(table: ir.Table, columns: Mapping[str, str] | None = None) -> ir.Table:
    """Shape a warehouse's basket lines as ``Market.baskets``, without moving them.

    Parameters
    ----------
    table : ibis table
        Of any backend, one row per basket line; see :func:`warehouse_sales` for what is not checked.
    columns : mapping, optional
        Our column name -> name in the table; those not named have our names already: customer_id, basket_id (whole
        numbers), store_id, date, channel ("store" or "online"), sku, units, revenue.

    Returns
    -------
    ibis table

    Raises
    ------
    TableError
        If a column is missing or of a type that can't be used. Name it in ``columns``, or cast it in the warehouse.
    """
    return _shaped(table, "baskets", BASKETS_SCHEMA, columns or {})


def _shaped(table: ir.Table, name: str, schema: Mapping[str, str], columns: Mapping[str, str]) -> ir.Table:
    found: dict[str, Any] = {}
    for ours, kind in schema.items():
        theirs = columns.get(ours, ours)
        if theirs not in table.columns:
            near = did_you_mean(theirs, list(table.columns)) or "."
            raise TableError(f'{name}: no column {theirs!r}{near} Name it: columns={{"{ours}": "…"}}.')
        value = table[theirs]
        if not _fits(value.type(), kind):
            raise TableError(
                f"{name}: column {theirs!r} holds {value.type()}; expected {kind}. Cast it in the warehouse."
            )
        # An engine without decimals keeps its floating money: it is added in whole cents.
        found[ours] = value if value.type().is_floating() and ours == "revenue" else value.cast(kind)
    return table.select(**found)


def _fits(there: Any, kind: str) -> bool:
    if kind == "int64":
        return there.is_integer()
    if kind == "date":
        return there.is_date() or there.is_timestamp()
    if kind.startswith("decimal"):
        return there.is_numeric()
    return there.is_string() or there.is_integer()


def _summed(revenue: Any) -> Any:
    if revenue.type().is_floating():
        return (revenue * 100.0).round().cast("int64").sum().cast("float64") / 100.0
    return revenue.sum().cast("decimal(18, 2)")
