"""Basket lines by customer, and by where customers live."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import overload

import ibis
import ibis.expr.types as ir
import pandas as pd

from geomarket.engine.expressions import Window, money, strings, trade, whole, with_products, within
from geomarket.engine.fetching import fetch, fetch_or_write

__all__ = [
    "cell_category_months",
    "customer_category",
    "customer_channel_trips",
    "customer_items",
    "customer_store_trips",
    "customer_totals",
    "trade_of",
    "trade_on_pairs",
]


def customer_totals(baskets: ir.Table, products: pd.DataFrame, periods: Window | None = None) -> pd.DataFrame:
    """Add up each customer's trade.

    Parameters
    ----------
    baskets : ibis table
        ``Market.baskets``.
    products : DataFrame
        ``Market.products``; sku and cost (money per unit) are used.
    periods : (start, end), optional
        Half-open window of dates.

    Returns
    -------
    DataFrame
        customer_id, trips (int: distinct baskets), first_date, last_date, revenue (money), margin (money:
        revenue less cost of the lines whose cost is known; NaN where none is), costed_revenue (money:
        revenue of those lines), units (float); ordered by customer_id. Returns are netted.

    Examples
    --------
    >>> from geomarket.market.connection import baskets_table
    >>> lines = pd.DataFrame({"customer_id": ["c", "c"], "basket_id": [1, 2], "store_id": ["1", "1"],
    ...     "date": ["2024-01-05", "2024-02-01"], "channel": ["store", "store"], "sku": ["a", "b"],
    ...     "units": [2, 1], "revenue": [4.0, 3.0]})
    >>> products = pd.DataFrame({"sku": ["a", "b"], "cost": [1.5, 2.0]})
    >>> customer_totals(baskets_table(lines), products)[["trips", "revenue", "margin"]].values.tolist()
    [[2.0, 7.0, 2.0]]
    """
    table = with_products(within(baskets, "date", periods), products, ["cost"])
    return fetch(
        table.group_by("customer_id")
        .aggregate(
            trips=table.basket_id.nunique().cast("int64"),
            first_date=table.date.min().cast("date"),
            last_date=table.date.max().cast("date"),
            **trade(table),
        )
        .order_by("customer_id"),
        spread=table.customer_id,
    )


def customer_store_trips(baskets: ir.Table, periods: Window | None = None) -> pd.DataFrame:
    """Count each customer's trips to each store.

    Parameters
    ----------
    baskets : ibis table
        ``Market.baskets``.
    periods : (start, end), optional
        Half-open window of dates.

    Returns
    -------
    DataFrame
        customer_id, store_id, trips (int: distinct baskets), revenue (money); ordered by both keys.

    Examples
    --------
    >>> from geomarket.market.connection import baskets_table
    >>> lines = pd.DataFrame({"customer_id": ["c", "c"], "basket_id": [1, 1], "store_id": ["7", "7"],
    ...     "date": ["2024-01-05", "2024-01-05"], "channel": ["store", "store"], "sku": ["a", "b"],
    ...     "units": [2, 1], "revenue": [4.0, 3.0]})
    >>> customer_store_trips(baskets_table(lines)).values.tolist()
    [['c', '7', 1, 7.0]]
    """
    table = within(baskets, "date", periods)
    keys = ["customer_id", "store_id"]
    return fetch(
        table.group_by(keys)
        .aggregate(trips=table.basket_id.nunique().cast("int64"), revenue=money(table.revenue))
        .order_by(keys),
        spread=table.customer_id,
    )


def customer_category(
    baskets: ir.Table,
    products: pd.DataFrame,
    periods: Window | None = None,
    figures: Sequence[str] | None = None,
    coded: bool = False,
) -> pd.DataFrame:
    """Add up each customer's trade by product category.

    Parameters
    ----------
    baskets : ibis table
        ``Market.baskets``.
    products : DataFrame
        ``Market.products``; sku, category and cost are used.
    periods : (start, end), optional
        Half-open window of dates.
    figures : sequence of str, optional
        Which of the figures; all by default. A large chain's take much memory.
    coded : bool
        Whether customers and categories come as categoricals, which take a fraction of the memory.

    Returns
    -------
    DataFrame
        customer_id, category, trips (int: baskets with the category), revenue, margin, costed_revenue,
        units as in :func:`customer_totals`; ordered by both keys. SKUs that products does not hold come
        under a missing category.

    Examples
    --------
    >>> from geomarket.market.connection import baskets_table
    >>> lines = pd.DataFrame({"customer_id": ["c", "c"], "basket_id": [1, 1], "store_id": ["7", "7"],
    ...     "date": ["2024-01-05", "2024-01-05"], "channel": ["store", "store"], "sku": ["a", "b"],
    ...     "units": [2, 1], "revenue": [4.0, 3.0]})
    >>> products = pd.DataFrame({"sku": ["a", "b"], "category": ["Tea", "Jam"], "cost": [1.0, 1.0]})
    >>> customer_category(baskets_table(lines), products)[["category", "margin"]].values.tolist()
    [['Jam', 2.0], ['Tea', 2.0]]
    """
    table = with_products(within(baskets, "date", periods), products, ["category", "cost"])
    keys = ["customer_id", "category"]
    sums = {"trips": table.basket_id.nunique().cast("int64"), **trade(table)}
    wanted = sums if figures is None else {name: sums[name] for name in figures}
    found = table.group_by(keys).aggregate(**wanted).order_by(keys)
    return fetch(found, coded=keys if coded else (), spread=table.customer_id)


@overload
def cell_category_months(
    baskets: ir.Table,
    cells: pd.DataFrame | ir.Table,
    products: pd.DataFrame,
    periods: Window | None = None,
    file: None = None,
) -> pd.DataFrame: ...
@overload
def cell_category_months(
    baskets: ir.Table,
    cells: pd.DataFrame | ir.Table,
    products: pd.DataFrame,
    periods: Window | None = None,
    *,
    file: str | Path,
) -> Path: ...
def cell_category_months(
    baskets: ir.Table,
    cells: pd.DataFrame | ir.Table,
    products: pd.DataFrame,
    periods: Window | None = None,
    file: str | Path | None = None,
) -> pd.DataFrame | Path:
    """Add up trade by the hexagon customers live in, product category and month.

    Parameters
    ----------
    baskets : ibis table
        ``Market.baskets``.
    cells : DataFrame or ibis table
        customer_id, cell (int): where customers live, as :func:`geomarket.place_customers` finds it. Customers without
        a cell are left out.
    products : DataFrame
        ``Market.products``; sku and category are used.
    periods : (start, end), optional
        Half-open window of dates.
    file : path, optional
        Parquet file to write the rows to instead, for results larger than memory: from DuckDB they go to disk as they
        come, so that the process stays within little more than DuckDB's memory limit. Replaced only when it is whole.

    Returns
    -------
    DataFrame, or Path
        cell, category, month (its first day), customers (int: distinct), units (float), revenue (money); ordered by the
        keys. Counts are as they are: suppress them before they are shown (:func:`geomarket.suppress`). The path of the
        file, where one was asked for.

    Examples
    --------
    >>> from geomarket.market.connection import baskets_table
    >>> lines = pd.DataFrame({"customer_id": ["c", "d"], "basket_id": [1, 2], "store_id": "7", "channel": "store",
    ...     "date": ["2024-01-05", "2024-01-20"], "sku": "a", "units": [2, 1], "revenue": [4.0, 3.0]})
    >>> cells = pd.DataFrame({"customer_id": ["c", "d"], "cell": [5, 5]})
    >>> products = pd.DataFrame({"sku": ["a"], "category": ["Tea"]})
    >>> cell_category_months(baskets_table(lines), cells, products)[["cell", "customers", "revenue"]].values.tolist()
    [[5.0, 2.0, 7.0]]
    """
    table = with_products(within(baskets, "date", periods), products, ["category"])
    placed = ibis.memtable(cells[["customer_id", "cell"]]) if isinstance(cells, pd.DataFrame) else cells
    placed = placed.select(customer_id=placed.customer_id.cast("string"), cell=placed.cell.cast("int64"))
    table = table.inner_join(placed, "customer_id")
    # By way of a timestamp: Spark truncates to one where ibis expects a date, and so drops a plain cast.
    table = table.mutate(month=table.date.truncate("M").cast("timestamp").cast("date"))
    keys = ["cell", "category", "month"]
    found = table.group_by(keys).aggregate(
        customers=table.customer_id.nunique().cast("int64"),
        units=whole(table.units),
        revenue=money(table.revenue),
    )
    return fetch_or_write(found.order_by(keys), file, spread=placed.cell)


def customer_channel_trips(baskets: ir.Table, periods: Window | None = None) -> pd.DataFrame:
    """Count each customer's trips by channel.

    Parameters
    ----------
    baskets : ibis table
        ``Market.baskets``.
    periods : (start, end), optional
        Half-open window of dates.

    Returns
    -------
    DataFrame
        customer_id, channel, trips (int: distinct baskets); ordered by both keys.

    Examples
    --------
    >>> from geomarket.market.connection import baskets_table
    >>> lines = pd.DataFrame({"customer_id": "c", "basket_id": [1, 1, 2], "store_id": "7", "date": "2024-01-05",
    ...     "channel": ["store", "store", "online"], "sku": ["a", "b", "a"], "units": 1, "revenue": 2.0})
    >>> customer_channel_trips(baskets_table(lines)).values.tolist()
    [['c', 'online', 1], ['c', 'store', 1]]
    """
    table = within(baskets, "date", periods)
    keys = ["customer_id", "channel"]
    found = table.group_by(keys).aggregate(trips=table.basket_id.nunique().cast("int64"))
    return fetch(found.order_by(keys), spread=table.customer_id)


def trade_on_pairs(
    baskets: ir.Table,
    products: pd.DataFrame,
    customers: pd.DataFrame,
    pairs: pd.DataFrame,
    periods: Window | None = None,
) -> pd.DataFrame:
    """Add up what some customers buy in a category, and how much of it is of certain SKUs in certain stores.

    Parameters
    ----------
    baskets : ibis table
        ``Market.baskets``.
    products : DataFrame
        ``Market.products``; sku and category are used.
    customers : DataFrame
        customer_id, category: who, and where.
    pairs : DataFrame
        store_id, sku: for instance what a plan takes off the shelf.
    periods : (start, end), optional
        Half-open window of dates.

    Returns
    -------
    DataFrame
        customer_id, category, revenue, on_pairs (money: the part of it on the pairs); ordered by both keys.

    Examples
    --------
    >>> from geomarket.market.connection import baskets_table
    >>> lines = pd.DataFrame({"customer_id": "c", "basket_id": [1, 2], "store_id": ["7", "8"],
    ...     "date": "2024-01-05", "channel": "store", "sku": "a", "units": 1, "revenue": [4.0, 3.0]})
    >>> products = pd.DataFrame({"sku": ["a"], "category": ["Tea"]})
    >>> who = pd.DataFrame({"customer_id": ["c"], "category": ["Tea"]})
    >>> gone = pd.DataFrame({"store_id": ["8"], "sku": ["a"]})
    >>> trade_on_pairs(baskets_table(lines), products, who, gone).values.tolist()
    [['c', 'Tea', 7.0, 3.0]]
    """
    keys = ["customer_id", "category"]
    table = with_products(within(baskets, "date", periods), products, ["category"])
    mine = table.semi_join(strings(customers, keys), keys).select(*keys, "store_id", "sku", "revenue")
    marked = mine.left_join(strings(pairs, ["store_id", "sku"]).mutate(on_pair=True), ["store_id", "sku"])
    on_pairs = money(marked.revenue, where=marked.on_pair.notnull())
    return fetch(
        marked.group_by(keys)
        .aggregate(
            revenue=money(marked.revenue),
            on_pairs=ibis.coalesce(on_pairs, ibis.literal(0.0)),
        )
        .order_by(keys),
        spread=marked.customer_id,
    )


def trade_of(
    baskets: ir.Table, products: pd.DataFrame, customers: pd.DataFrame, periods: Window | None = None
) -> pd.DataFrame:
    """Add up what some customers buy in a category by store and SKU.

    Parameters
    ----------
    baskets : ibis table
        ``Market.baskets``.
    products : DataFrame
        ``Market.products``; sku and category are used.
    customers : DataFrame
        customer_id, category: who, and where.
    periods : (start, end), optional
        Half-open window of dates.

    Returns
    -------
    DataFrame
        customer_id, category, store_id, sku, revenue (money); ordered by the keys.

    Examples
    --------
    >>> from geomarket.market.connection import baskets_table
    >>> lines = pd.DataFrame({"customer_id": ["c", "d"], "basket_id": [1, 2], "store_id": "7",
    ...     "date": "2024-01-05", "channel": "store", "sku": "a", "units": 1, "revenue": [4.0, 3.0]})
    >>> products = pd.DataFrame({"sku": ["a"], "category": ["Tea"]})
    >>> who = pd.DataFrame({"customer_id": ["c"], "category": ["Tea"]})
    >>> trade_of(baskets_table(lines), products, who).values.tolist()
    [['c', 'Tea', '7', 'a', 4.0]]
    """
    who = ["customer_id", "category"]
    table = with_products(within(baskets, "date", periods), products, ["category"])
    mine = table.semi_join(strings(customers, who), who)
    keys = [*who, "store_id", "sku"]
    found = mine.group_by(keys).aggregate(revenue=money(mine.revenue))
    return fetch(found.order_by(keys), spread=mine.customer_id)


def customer_items(
    baskets: ir.Table,
    products: pd.DataFrame,
    item: str = "category",
    top: int = 60,
    periods: Window | None = None,
) -> pd.DataFrame:
    """List which customer buys which of the items most customers buy.

    Parameters
    ----------
    baskets : ibis table
        ``Market.baskets``.
    products : DataFrame
        ``Market.products``; sku and the column ``item`` are used.
    item : str
        Column of products that is an item: category, subcategory, or sku itself.
    top : int
        Items kept: those with most customers; of equal ones the first by name.
    periods : (start, end), optional
        Half-open window of dates.

    Returns
    -------
    DataFrame
        customer_id, item: one row per pair with a purchase; ordered by both. SKUs without an item (or not in
        products) are in none.

    Examples
    --------
    >>> from geomarket.market.connection import baskets_table
    >>> lines = pd.DataFrame({"customer_id": ["c", "c", "d"], "basket_id": [1, 1, 2], "store_id": "7",
    ...     "date": "2024-01-05", "channel": "store", "sku": ["a", "b", "a"], "units": 1, "revenue": 2.0})
    >>> products = pd.DataFrame({"sku": ["a", "b"], "category": ["Tea", "Jam"]})
    >>> customer_items(baskets_table(lines), products, top=1).values.tolist()
    [['c', 'Tea'], ['d', 'Tea']]
    """
    table = within(baskets, "date", periods)
    if item != "sku":
        table = with_products(table, products, [item])
    bought = table.filter(table.units > 0).select("customer_id", item=table[item])
    pairs = bought.filter(bought.item.notnull()).distinct()
    reach = pairs.group_by("item").aggregate(customers=pairs.customer_id.count())
    kept = reach.order_by([ibis.desc("customers"), "item"]).limit(top).select("item")
    return fetch(pairs.semi_join(kept, "item").order_by(["customer_id", "item"]))
