"""Big tables are aggregated where they live.

Every function here builds one ibis expression and fetches only its small result. The expressions are
written once and run on the embedded DuckDB; they use nothing that PySpark does not have too. Three habits
keep engines equal:

* money is summed as decimals and units as whole numbers, so a sum does not depend on the order of the rows;
* every result column is cast, because an engine's own type of a sum differs (DuckDB's ``sum`` of integers
  is a 128-bit integer that other tools read as a float; dates come back as timestamps);
* every result is ordered by its keys.

In the frames that come back, dates are midnight ``datetime64[ns]`` without a time zone. A date window is
a pair ``(start, end)``, half open: start is in, end is out; either may be None.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import Any, TypeAlias

import ibis
import ibis.expr.types as ir
import numpy as np
import pandas as pd

from geomarket.errors import TableError
from geomarket.market.connection import connect

__all__ = [
    "Window",
    "cell_category_months",
    "connect",
    "customer_category",
    "customer_channel_trips",
    "customer_items",
    "customer_store_trips",
    "customer_totals",
    "periods_of",
    "sales_by_period",
    "store_sku_periods",
    "trade_by_period",
    "trade_of",
    "trade_on_pairs",
]

Day: TypeAlias = str | dt.date | pd.Timestamp | None
Window: TypeAlias = tuple[Day, Day]

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
    table = _within(sales, "period", periods)
    # Not distinct(): for Spark ibis then keeps the columns that a filter before it used, and with them doublets.
    frame = _fetch(table.group_by("period").aggregate(rows=table.count().cast("int64")).order_by("period"))
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
    table = _within(sales, "period", periods)
    sold = ibis.cases((table.units > 0, table.period), else_=ibis.null("date"))
    frame = _fetch(
        table.group_by(list(_SALES_KEYS))
        .aggregate(
            units=_whole(table.units).cast("float64"),
            revenue=_money(table.revenue),
            periods_sold=sold.nunique().cast("int64"),
            first_period=table.period.min().cast("date"),
            last_period=table.period.max().cast("date"),
        )
        .order_by(list(_SALES_KEYS))
    )
    calendar = np.array(periods_of(sales, periods), dtype="datetime64[D]")
    first = np.searchsorted(calendar, frame["first_period"].to_numpy().astype("datetime64[D]"))
    last = np.searchsorted(calendar, frame["last_period"].to_numpy().astype("datetime64[D]"))
    frame["periods_listed"] = (last - first + 1).astype("int64")
    order = ["units", "revenue", "periods_listed", "periods_sold", "first_period", "last_period"]
    return frame[[*_SALES_KEYS, *order]]


def sales_by_period(
    sales: ir.Table, keys: Sequence[str] = ("store_id",), periods: Window | None = None
) -> pd.DataFrame:
    """Add up sales per period and any of store and SKU.

    Parameters
    ----------
    sales : ibis table
        ``Market.sales``.
    keys : sequence of {"store_id", "sku"}
        What to keep apart besides the period; empty for the whole chain.
    periods : (start, end), optional
        Half-open window of dates.

    Returns
    -------
    DataFrame
        The keys, period, units (float), revenue (money, float); ordered by keys and period. Periods
        without trade have no row.

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
    table = _within(sales, "period", periods)
    by = [*keys, "period"]
    return _fetch(
        table.group_by(by)
        .aggregate(units=_whole(table.units).cast("float64"), revenue=_money(table.revenue))
        .order_by(by)
    )


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
    table = _with_products(
        _within(sales, "period", periods), products.assign(known_sku="yes"), ["cost", "known_sku"]
    )
    table = table.filter(table.known_sku.notnull())
    by = [*keys, "period"]
    order = [*by, "units", "revenue", "margin", "costed_revenue"]
    return _fetch(table.group_by(by).aggregate(**_trade(table)).order_by(by))[order]


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
    table = _with_products(_within(baskets, "date", periods), products, ["cost"])
    return _fetch(
        table.group_by("customer_id")
        .aggregate(
            trips=table.basket_id.nunique().cast("int64"),
            first_date=table.date.min().cast("date"),
            last_date=table.date.max().cast("date"),
            **_trade(table),
        )
        .order_by("customer_id")
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
    table = _within(baskets, "date", periods)
    keys = ["customer_id", "store_id"]
    return _fetch(
        table.group_by(keys)
        .aggregate(trips=table.basket_id.nunique().cast("int64"), revenue=_money(table.revenue))
        .order_by(keys)
    )


def customer_category(
    baskets: ir.Table, products: pd.DataFrame, periods: Window | None = None
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
    table = _with_products(_within(baskets, "date", periods), products, ["category", "cost"])
    keys = ["customer_id", "category"]
    return _fetch(
        table.group_by(keys)
        .aggregate(trips=table.basket_id.nunique().cast("int64"), **_trade(table))
        .order_by(keys)
    )


def cell_category_months(
    baskets: ir.Table,
    cells: pd.DataFrame | ir.Table,
    products: pd.DataFrame,
    periods: Window | None = None,
) -> pd.DataFrame:
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

    Returns
    -------
    DataFrame
        cell, category, month (its first day), customers (int: distinct), units (float), revenue (money); ordered by the
        keys. Counts are as they are: suppress them before they are shown (:func:`geomarket.suppress`).

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
    table = _with_products(_within(baskets, "date", periods), products, ["category"])
    placed = ibis.memtable(cells[["customer_id", "cell"]]) if isinstance(cells, pd.DataFrame) else cells
    placed = placed.select(customer_id=placed.customer_id.cast("string"), cell=placed.cell.cast("int64"))
    table = table.inner_join(placed, "customer_id")
    # By way of a timestamp: Spark truncates to one where ibis expects a date, and so drops a plain cast.
    table = table.mutate(month=table.date.truncate("M").cast("timestamp").cast("date"))
    keys = ["cell", "category", "month"]
    return _fetch(
        table.group_by(keys)
        .aggregate(
            customers=table.customer_id.nunique().cast("int64"),
            units=_whole(table.units).cast("float64"),
            revenue=_money(table.revenue),
        )
        .order_by(keys)
    )


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
    table = _within(baskets, "date", periods)
    keys = ["customer_id", "channel"]
    return _fetch(
        table.group_by(keys).aggregate(trips=table.basket_id.nunique().cast("int64")).order_by(keys)
    )


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
    table = _with_products(_within(baskets, "date", periods), products, ["category"])
    mine = table.semi_join(_strings(customers, keys), keys).select(*keys, "store_id", "sku", "revenue")
    marked = mine.left_join(_strings(pairs, ["store_id", "sku"]).mutate(on_pair=True), ["store_id", "sku"])
    zero = ibis.literal(0).cast("decimal(18, 2)")
    return _fetch(
        marked.group_by(keys)
        .aggregate(
            revenue=_money(marked.revenue),
            on_pairs=_money(ibis.cases((marked.on_pair.notnull(), marked.revenue), else_=zero)),
        )
        .order_by(keys)
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
    table = _with_products(_within(baskets, "date", periods), products, ["category"])
    mine = table.semi_join(_strings(customers, who), who)
    keys = [*who, "store_id", "sku"]
    return _fetch(mine.group_by(keys).aggregate(revenue=_money(mine.revenue)).order_by(keys))


def _strings(frame: pd.DataFrame, columns: list[str]) -> ir.Table:
    small = ibis.memtable(frame[columns].drop_duplicates().astype(str))
    return small.select(**{c: small[c].cast("string") for c in columns})


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
    table = _within(baskets, "date", periods)
    if item != "sku":
        table = _with_products(table, products, [item])
    bought = table.filter(table.units > 0).select("customer_id", item=table[item])
    pairs = bought.filter(bought.item.notnull()).distinct()
    reach = pairs.group_by("item").aggregate(customers=pairs.customer_id.count())
    kept = reach.order_by([ibis.desc("customers"), "item"]).limit(top).select("item")
    return _fetch(pairs.semi_join(kept, "item").order_by(["customer_id", "item"]))


def _within(table: ir.Table, column: str, window: Window | None) -> ir.Table:
    if window is None:
        return table
    start, end = (None if day is None else pd.Timestamp(day).date() for day in window)
    if start is not None:
        table = table.filter(table[column] >= ibis.literal(start, type="date"))
    if end is not None:
        table = table.filter(table[column] < ibis.literal(end, type="date"))
    return table


def _whole(units: Any) -> Any:
    # By way of a decimal, because ibis drops a cast of the sum to int64 as needless while DuckDB gives a
    # HUGEINT.
    return units.cast("decimal(18, 0)").sum().cast("int64")


def _money(amount: Any) -> Any:
    # Exact as a decimal; made a float once, when it leaves the engine.
    return amount.cast("decimal(18, 2)").sum().cast("float64")


def _trade(table: ir.Table) -> dict[str, Any]:
    known = table.cost.notnull()
    cost = (table.units.cast("decimal(14, 0)") * table.cost).cast("decimal(18, 4)")
    margin = (table.revenue.cast("decimal(18, 4)") - cost).cast("decimal(18, 4)")
    return {
        "revenue": _money(table.revenue),
        "margin": margin.sum(where=known).cast("float64"),
        "costed_revenue": ibis.coalesce(
            table.revenue.cast("decimal(18, 2)").sum(where=known).cast("float64"), ibis.literal(0.0)
        ),
        "units": _whole(table.units).cast("float64"),
    }


def _with_products(baskets: ir.Table, products: pd.DataFrame, columns: list[str]) -> ir.Table:
    missing = [column for column in ["sku", *columns] if column not in products.columns]
    if missing:
        raise TableError(f"products: no column {', '.join(missing)}; it is needed to value the baskets.")
    small = ibis.memtable(products[["sku", *columns]].drop_duplicates("sku"))
    typed = small.select(
        sku=small.sku.cast("string"),
        **{c: small[c].cast("decimal(18, 4)" if c == "cost" else "string") for c in columns},
    )
    return baskets.left_join(typed, "sku")


def _fetch(expression: ir.Table) -> pd.DataFrame:
    frame = expression.to_pandas()
    for column, kind in expression.schema().items():
        if kind.is_date():
            frame[column] = pd.to_datetime(frame[column]).astype("datetime64[ns]")
        elif kind.is_string():
            frame[column] = frame[column].astype("str") if frame[column].notna().all() else frame[column]
        elif kind.is_integer():
            frame[column] = frame[column].astype("int64")
        elif kind.is_floating():
            frame[column] = frame[column].astype("float64")
    return frame
