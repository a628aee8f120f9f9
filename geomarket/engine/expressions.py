"""The pieces that all expressions are made of."""

from __future__ import annotations

import datetime as dt
from typing import Any, TypeAlias

import ibis
import ibis.expr.types as ir
import pandas as pd

from geomarket.errors import TableError

__all__ = [
    "Window",
    "money",
    "strings",
    "trade",
    "whole",
    "with_products",
    "within",
]

Day: TypeAlias = str | dt.date | pd.Timestamp | None
Window: TypeAlias = tuple[Day, Day]


def within(table: ir.Table, column: str, window: Window | None) -> ir.Table:
    """Keep the rows whose date is in a half-open window."""
    if window is None:
        return table
    start, end = (None if day is None else pd.Timestamp(day).date() for day in window)
    if start is not None:
        table = table.filter(table[column] >= ibis.literal(start, type="date"))
    if end is not None:
        table = table.filter(table[column] < ibis.literal(end, type="date"))
    return table


def whole(units: Any) -> Any:
    """Sum whole numbers as whole numbers; a float once, when it leaves the engine."""
    return units.sum().cast("float64")


def money(amount: Any, where: Any = None) -> Any:
    """Sum money exactly."""
    # Made a float once, when it leaves the engine.
    if amount.type().is_floating():  # an engine without decimals: whole cents are exact as well
        return _scaled(amount, 100).sum(where=where).cast("float64") / 100.0
    return amount.cast("decimal(18, 2)").sum(where=where).cast("float64")


def trade(table: ir.Table) -> dict[str, Any]:
    """Return the sums of revenue, margin, costed revenue and units; the table has a column cost."""
    known = table.cost.notnull()
    if table.revenue.type().is_floating():
        parts = _scaled(table.revenue, 100) * 100 - table.units * _scaled(table.cost.cast("float64"), 10_000)
        margin = parts.sum(where=known).cast("float64") / 10_000.0
    else:
        cost = (table.units.cast("decimal(14, 0)") * table.cost).cast("decimal(18, 4)")
        exact = (table.revenue.cast("decimal(18, 4)") - cost).cast("decimal(18, 4)")
        margin = exact.sum(where=known).cast("float64")
    return {
        "revenue": money(table.revenue),
        "margin": margin,
        "costed_revenue": ibis.coalesce(money(table.revenue, where=known), ibis.literal(0.0)),
        "units": whole(table.units),
    }


def _scaled(amount: Any, parts: int) -> Any:
    return (amount * float(parts)).round().cast("int64")


def with_products(baskets: ir.Table, products: pd.DataFrame, columns: list[str]) -> ir.Table:
    """Join columns of products to a table by SKU; rows of other SKUs stay, with missing values."""
    missing = [column for column in ["sku", *columns] if column not in products.columns]
    if missing:
        raise TableError(f"products: no column {', '.join(missing)}; it is needed to value the baskets.")
    small = ibis.memtable(products[["sku", *columns]].drop_duplicates("sku"))
    typed = small.select(
        sku=small.sku.cast("string"),
        **{c: small[c].cast("decimal(18, 4)" if c == "cost" else "string") for c in columns},
    )
    return baskets.left_join(typed, "sku")


def strings(frame: pd.DataFrame, columns: list[str]) -> ir.Table:
    """Turn the distinct rows of a frame into a table of texts."""
    small = ibis.memtable(frame[columns].drop_duplicates().astype(str))
    return small.select(**{c: small[c].cast("string") for c in columns})
