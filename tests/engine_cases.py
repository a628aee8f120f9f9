"""Every aggregation of the engine on one small market, and the same tables in other engines.

Used by the tests and by benchmarks/engine.py, which publishes what runs where.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ibis
import pandas as pd

from geomarket import engine
from geomarket.market import Market
from geomarket.simulate import simulate_market

__all__ = ["CASES", "ENGINES", "cases_market"]

WINDOW = ("2023-02-06", "2023-03-06")


def cases_market() -> Market:
    """A market with baskets, some products of which have no cost or are not listed."""
    market = simulate_market(n_customers=400, n_stores=6, n_skus=40, weeks=14, seed=2)
    products = market.products.iloc[:-3].copy()
    products.loc[products.index[::7], "cost"] = float("nan")
    return _with(market, products=products)


def _with(market: Market, **fields: Any) -> Market:
    import dataclasses

    return dataclasses.replace(market, **fields)


def _cells(market: Market) -> pd.DataFrame:
    who = market.customers["customer_id"]
    return pd.DataFrame({"customer_id": who, "cell": 613_000_000_000_000_000 + who.index % 7})


def _who(market: Market) -> pd.DataFrame:
    some = market.customers["customer_id"].iloc[:300].to_numpy()
    return pd.DataFrame({"customer_id": some, "category": market.products["category"].iloc[0]})


def _pairs(market: Market) -> pd.DataFrame:
    return pd.DataFrame(
        {"store_id": market.stores["store_id"].iloc[0], "sku": market.products["sku"].iloc[:20].to_numpy()}
    )


def _offers(market: Market) -> pd.DataFrame:
    skus = market.products["sku"].iloc[:4].tolist()
    stores = [market.stores["store_id"].iloc[0], None, None, market.stores["store_id"].iloc[1]]
    return pd.DataFrame(
        {"store_id": stores, "sku": skus, "period": "2023-02-06", "depth": [0.1, 0.2, 0.25, 0.3]}
    )


def _read_back(write: Callable[[Path], Path]) -> pd.DataFrame:
    """What a Parquet file written under an awkward name holds."""
    with tempfile.TemporaryDirectory() as folder:
        file = write(Path(folder) / "new" / """it's "here".parquet""")
        assert [path.name for path in file.parent.iterdir()] == [file.name]
        frame = pd.read_parquet(file)
    days = [name for name in ("month", "period") if name in frame]
    return frame.astype(dict.fromkeys(days, "datetime64[ns]"))


CASES: dict[str, Callable[[Any, Any, Market], pd.DataFrame]] = {
    "periods_of": lambda sales, baskets, m: pd.DataFrame({"period": engine.periods_of(sales)}),
    "store_sku_periods": lambda sales, baskets, m: engine.store_sku_periods(sales),
    "store_sku_periods, in a window": lambda sales, baskets, m: engine.store_sku_periods(sales, WINDOW),
    "sales_by_period": lambda sales, baskets, m: engine.sales_by_period(sales, ("store_id", "sku")),
    "trade_by_period": lambda sales, baskets, m: engine.trade_by_period(sales, m.products),
    "units_on_offer": lambda sales, baskets, m: engine.units_on_offer(sales, _offers(m)),
    "customer_totals": lambda sales, baskets, m: engine.customer_totals(baskets, m.products),
    "customer_totals, in a window": lambda sales, baskets, m: engine.customer_totals(
        baskets, m.products, WINDOW
    ),
    "customer_store_trips": lambda sales, baskets, m: engine.customer_store_trips(baskets),
    "customer_channel_trips": lambda sales, baskets, m: engine.customer_channel_trips(baskets),
    "customer_category": lambda sales, baskets, m: engine.customer_category(baskets, m.products),
    "customer_items": lambda sales, baskets, m: engine.customer_items(baskets, m.products, top=2),
    "cell_category_months": lambda sales, baskets, m: engine.cell_category_months(
        baskets, _cells(m), m.products
    ),
    "sales_by_period, to a file": lambda sales, baskets, m: _read_back(
        lambda file: engine.sales_by_period(sales, ("store_id", "sku"), file=file)
    ),
    "cell_category_months, to a file": lambda sales, baskets, m: _read_back(
        lambda file: engine.cell_category_months(baskets, _cells(m), m.products, file=file)
    ),
    "trade_of": lambda sales, baskets, m: engine.trade_of(baskets, m.products, _who(m)),
    "trade_on_pairs": lambda sales, baskets, m: engine.trade_on_pairs(
        baskets, m.products, _who(m), _pairs(m)
    ),
}
"""Name -> what it gives of sales, baskets and the other tables."""


def in_sqlite(market: Market, folder: Path) -> tuple[Any, Any]:
    """SQLite knows neither dates nor decimals: days are ISO texts in a DATE column, money is floating."""
    backend = ibis.sqlite.connect()
    kinds = {"units": "INTEGER", "basket_id": "INTEGER", "revenue": "REAL", "period": "DATE", "date": "DATE"}
    for name in ("sales", "baskets"):
        data = getattr(market, name).to_pyarrow()
        columns = ", ".join(f"{column} {kinds.get(column, 'TEXT')}" for column in data.column_names)
        backend.con.execute(f"CREATE TABLE {name} ({columns})")
        rows = zip(*(_plain(data[column]) for column in data.column_names))
        marks = ", ".join("?" * data.num_columns)
        backend.con.executemany(f"INSERT INTO {name} VALUES ({marks})", rows)
    return backend.table("sales"), backend.table("baskets")


def _plain(column: Any) -> list[Any]:
    values = column.to_pylist()
    if column.type in ("date32[day]",) or str(column.type).startswith("date"):
        return [value.isoformat() for value in values]
    return [float(value) for value in values] if str(column.type).startswith("decimal") else values


def in_polars(market: Market, folder: Path) -> tuple[Any, Any]:
    backend = ibis.polars.connect()
    sales, baskets = (backend.create_table(n, getattr(market, n).to_pyarrow()) for n in ("sales", "baskets"))
    return sales, baskets


def _files(market: Market, folder: Path) -> dict[str, str]:
    paths = {name: str(folder / f"{name}.parquet") for name in ("sales", "baskets")}
    for name, path in paths.items():
        if not Path(path).exists():
            getattr(market, name).to_parquet(path)
    return paths


def in_datafusion(market: Market, folder: Path) -> tuple[Any, Any]:
    backend = ibis.datafusion.connect()
    sales, baskets = (backend.read_parquet(p, table_name=n) for n, p in _files(market, folder).items())
    return sales, baskets


def in_spark(market: Market, folder: Path) -> tuple[Any, Any]:
    from geomarket.market.spark_tables import open_spark
    from geomarket.market.stage_settings import EngineSettings

    options = {"spark.sql.shuffle.partitions": 2}
    backend, _ = open_spark(EngineSettings(kind="spark", master="local[1]", options=options))
    for name, path in _files(market, folder).items():
        backend._session.read.parquet(path).createOrReplaceTempView(name)
    return backend.table("sales"), backend.table("baskets")


ENGINES: dict[str, Callable[[Market, Path], tuple[Any, Any]]] = {
    "SQLite": in_sqlite,
    "Polars": in_polars,
    "DataFusion": in_datafusion,
    "PySpark": in_spark,
}
"""Name -> sales and baskets of a market in that engine; a folder for files on the way."""
