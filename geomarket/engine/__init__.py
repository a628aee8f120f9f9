"""Big tables are aggregated where they live.

Every function here builds one ibis expression and fetches only its small result. The expressions are
written once and run on the embedded DuckDB and on Spark; tests run them on SQLite and Polars too, and
``benchmarks/results/engine.md`` says what ran where. Three habits keep engines equal:

* money is summed as decimals (as whole cents where an engine holds it as floating numbers) and units as
  whole numbers, so a sum does not depend on the order of the rows;
* every result column is cast, because an engine's own type of a sum differs (DuckDB's ``sum`` of integers
  is a 128-bit integer that other tools read as a float; dates come back as timestamps);
* every result is ordered by its keys.

In the frames that come back, dates are midnight ``datetime64[ns]`` without a time zone. A date window is
a pair ``(start, end)``, half open: start is in, end is out; either may be None.
"""

from __future__ import annotations

from geomarket.engine.baskets import (
    cell_category_months,
    customer_category,
    customer_channel_trips,
    customer_items,
    customer_store_trips,
    customer_totals,
    trade_of,
    trade_on_pairs,
)
from geomarket.engine.expressions import Window
from geomarket.engine.offers import units_on_offer
from geomarket.engine.sales import periods_of, sales_by_period, store_sku_periods, trade_by_period
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
    "units_on_offer",
]
