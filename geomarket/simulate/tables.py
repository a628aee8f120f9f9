"""Sales and baskets as ibis tables on an in-process DuckDB."""

from __future__ import annotations

from typing import Any

import ibis.expr.types as ir
import numpy as np
import pandas as pd
import pyarrow as pa

from geomarket.market.connection import connect
from geomarket.simulate.people import Trips
from geomarket.simulate.shopping import Baskets
from geomarket.simulate.trade import Trade

__all__ = ["load_tables"]


def load_tables(
    trade: Trade,
    baskets: Baskets,
    trips: Trips,
    ids: dict[str, np.ndarray],
    periods: np.ndarray,
) -> tuple[ir.Table, ir.Table]:
    """Return (sales, baskets) in one new DuckDB database.

    Parameters
    ----------
    trade, baskets, trips
        What was sold, and the part of it on cards.
    ids : dict
        ``store``, ``sku``, ``customer``: identifiers by row number.
    periods : ndarray of datetime64[D]
        First day of each week.
    """
    connection = connect()
    _store(connection, "sales", _sales(trade, ids, periods))
    _store(connection, "baskets", _lines(baskets, trips, ids, periods))
    return connection.table("sales"), connection.table("baskets")


def _sales(trade: Trade, ids: dict[str, np.ndarray], periods: np.ndarray) -> pa.Table:
    return pa.table(
        {
            "store_id": _named(ids["store"], trade.store),
            "sku": _named(ids["sku"], trade.sku),
            "period": pa.array(periods[trade.week].astype("datetime64[D]"), pa.date32()),
            "units": trade.units.astype(np.int64),
            "revenue": _money(trade.units * trade.cents),
        }
    )


def _lines(baskets: Baskets, trips: Trips, ids: dict[str, np.ndarray], periods: np.ndarray) -> pa.Table:
    trip = baskets.trip
    dates = (periods[0] + trips.day[trip].astype("timedelta64[D]")).astype("datetime64[D]")
    return pa.table(
        {
            "customer_id": _named(ids["customer"], trips.customer[trip]),
            "basket_id": trip.astype(np.int64) + 1,
            "store_id": _named(ids["store"], trips.store[trip]),
            "date": pa.array(dates, pa.date32()),
            "channel": _named(np.array(["store", "online"]), trips.online[trip].astype(np.int64)),
            "sku": _named(ids["sku"], baskets.sku),
            "units": baskets.units.astype(np.int64),
            "revenue": _money(baskets.units * baskets.cents),
        }
    )


def _store(connection: Any, name: str, table: pa.Table) -> None:
    """Create a DuckDB table in the order of the rows.

    In plain SQL, because ibis' create_table of an in-memory table ends in a DROP that DuckDB 2.0 refuses.
    """
    columns = ", ".join(
        f"CAST({column} AS {_sql_type(table, column)}) AS {column}" for column in table.column_names
    )
    connection.con.register("incoming", table)
    connection.con.execute(f"CREATE TABLE {name} AS SELECT {columns} FROM incoming")
    connection.con.unregister("incoming")


def _named(names: np.ndarray, codes: np.ndarray) -> pa.DictionaryArray:
    """Identifiers as codes into a dictionary, spelt out only inside DuckDB."""
    return pa.DictionaryArray.from_arrays(pa.array(codes, pa.int32()), pa.array(names, pa.string()))


def _sql_type(table: pa.Table, column: str) -> str:
    kind = table.schema.field(column).type
    if pa.types.is_dictionary(kind):
        return "VARCHAR"
    return {pa.date32(): "DATE", pa.int64(): "BIGINT", pa.decimal128(18, 2): "DECIMAL(18, 2)"}[kind]


def _money(cents: np.ndarray) -> pa.Array:
    """Whole cents as decimal(18, 2), without passing through floats."""
    words = np.zeros((len(cents), 2), dtype=np.int64)
    words[:, 0] = cents
    words[:, 1] = np.where(cents < 0, -1, 0)
    return pa.Array.from_buffers(pa.decimal128(18, 2), len(cents), [None, pa.py_buffer(words)])


def yearly_totals(
    trade: Trade,
    stores: pd.DataFrame,
    competitors: pd.DataFrame,
    demand_share: np.ndarray,
    noise: np.ndarray,
    periods: np.ndarray,
) -> pd.DataFrame:
    """Return store_id, year, revenue: own stores as sold, competitors as a market researcher would estimate them."""
    years = periods.astype("datetime64[Y]").astype(int) + 1970
    first, n_years = int(years.min()), int(years.max() - years.min()) + 1
    n = len(stores)
    money = np.bincount(
        trade.store * n_years + (years[trade.week] - first), trade.units * trade.cents / 100.0, n * n_years
    ).reshape(n, n_years)
    # Competitors take the same money per unit of Huff demand as the chain does.
    per_share = money.sum(axis=0) / demand_share[:n].sum()
    rivals = demand_share[n:, None] * per_share[None, :] * np.exp(0.08 * noise)[:, None]
    ids = np.concatenate([stores["store_id"], competitors["store_id"]])
    return pd.DataFrame(
        {
            "store_id": np.repeat(ids, n_years),
            "year": np.tile(np.arange(first, first + n_years), len(ids)),
            "revenue": np.concatenate([money, rivals]).ravel().round(2),
        }
    )
