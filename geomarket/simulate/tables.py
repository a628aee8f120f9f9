"""Sales and baskets as ibis tables on an in-process DuckDB."""

from __future__ import annotations

from typing import Any

import ibis.expr.types as ir
import numpy as np
import pandas as pd
import pyarrow as pa

from geomarket.market.connection import connect
from geomarket.simulate.network import Network
from geomarket.simulate.people import Customers, Trips
from geomarket.simulate.products import Range
from geomarket.simulate.settings import SimulationSettings
from geomarket.simulate.shopping import Baskets
from geomarket.simulate.trade import Lines, Trade
from geomarket.simulate.world import FIRST_DAY, World

__all__ = ["basket_lines", "load_tables", "sales_lines", "weekly_money", "yearly_totals"]


def load_tables(world: World) -> tuple[ir.Table, ir.Table]:
    """Return (sales, baskets) in one new DuckDB database."""
    connection = connect()
    trade = world.trade
    _store(connection, "sales", sales_lines(world.network, world.skus, world.periods, trade.store, trade))
    of = (world.network, world.skus, world.customers, world.trips)
    _store(connection, "baskets", basket_lines(*of, world.baskets))
    return connection.table("sales"), connection.table("baskets")


def sales_lines(
    network: Network, skus: Range, periods: np.ndarray, store: np.ndarray, lines: Lines | Trade
) -> pa.Table:
    """Return lines of sales as the market's table; ``store`` is each line's row of the stores."""
    return pa.table(
        {
            "store_id": _named(network.stores["store_id"], store),
            "sku": _named(skus.products["sku"], lines.sku),
            "period": pa.array(periods[lines.week].astype("datetime64[D]"), pa.date32()),
            "units": lines.units.astype(np.int64),
            "revenue": _money(lines.takings),
        }
    )


def basket_lines(
    network: Network, skus: Range, customers: Customers, trips: Trips, baskets: Baskets
) -> pa.Table:
    """Return lines of baskets as the market's table."""
    trip = baskets.trip
    return pa.table(
        {
            "customer_id": _named(customers.table["customer_id"], trips.customer[trip]),
            "basket_id": trip.astype(np.int64) + 1,
            "store_id": _named(network.stores["store_id"], trips.store[trip]),
            "date": pa.array(FIRST_DAY + trips.day[trip].astype("timedelta64[D]"), pa.date32()),
            "channel": _named(pd.Series(["store", "online"]), trips.online[trip].astype(np.int64)),
            "sku": _named(skus.products["sku"], baskets.sku),
            "units": baskets.units.astype(np.int64),
            "revenue": _money(baskets.units * baskets.cents.astype(np.int64)),
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


def _named(names: pd.Series, codes: np.ndarray) -> pa.DictionaryArray:
    """Identifiers as codes into a dictionary, spelt out only inside DuckDB."""
    return pa.DictionaryArray.from_arrays(
        pa.array(codes, pa.int32()), pa.array(names.to_numpy(), pa.string())
    )


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


def weekly_money(world: World) -> np.ndarray:
    """Return what each own store took each week, €, shape (n_stores, weeks)."""
    trade, shape = world.trade, (len(world.network.stores), len(world.periods))
    place = trade.store * np.int64(shape[1]) + trade.week
    return np.bincount(place, trade.takings / 100.0, shape[0] * shape[1]).reshape(shape)


def yearly_totals(
    settings: SimulationSettings, network: Network, periods: np.ndarray, money: np.ndarray
) -> pd.DataFrame:
    """Return store_id, year, revenue: own stores as sold, competitors as a market researcher would estimate them.

    A week belongs to the year of its Monday. Competitors take the same money per unit of Huff demand as the chain,
    known to within about 8%.

    Parameters
    ----------
    settings, network, periods
        The parts built before.
    money : ndarray of shape (n_stores, weeks)
        What each own store took each week, €.
    """
    years = periods.astype("datetime64[Y]").astype(int) + 1970
    first, n_years, n = int(years.min()), int(years.max() - years.min()) + 1, len(network.stores)
    own = np.stack([money[:, years == first + i].sum(axis=1) for i in range(n_years)], axis=1)
    per_share = own.sum(axis=0) / network.demand_share[:n].sum()
    noise = np.exp(0.08 * settings.stream("totals").normal(size=len(network.competitors)))
    rivals = network.demand_share[n:, None] * per_share[None, :] * noise[:, None]
    ids = np.concatenate([network.stores["store_id"], network.competitors["store_id"]])
    return pd.DataFrame(
        {
            "store_id": np.repeat(ids, n_years),
            "year": np.tile(np.arange(first, first + n_years), len(ids)),
            "revenue": np.concatenate([own, rivals]).ravel().round(2),
        }
    )
