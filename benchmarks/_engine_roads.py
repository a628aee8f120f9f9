"""What benchmarks/engine.py compares: the data, the roads from files to two tables, and how tables are compared."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

__all__ = [
    "CELLS_A_STORE",
    "FILE_LIMIT",
    "LINES_A_CUSTOMER",
    "LINES_A_STORE",
    "MEMORY_LIMIT",
    "ROADS",
    "SKUS",
    "TO_FILES",
    "make",
    "row_hashes",
]

# A retailer is made larger by adding stores with their customers: one store of 10,000 loyalty lines a week, so that a
# store, SKU and week has some five lines, as in a chain of supermarkets.
LINES_A_STORE, LINES_A_CUSTOMER, CELLS_A_STORE = 500_000, 25, 200
SKUS, CATEGORIES, DAYS = 3_000, 30, 364
FIRST_DAY = np.datetime64("2023-01-02")
CHUNK = 5_000_000
MEMORY_LIMIT = "2GB"
FILE_LIMIT = "1.5GB"  # leaves Python and its packages half a gigabyte of two
SPARK_MEMORY = "6g"


def make(folder: Path, lines: int) -> tuple[int, int]:
    """Write the Parquet files of a retailer; return its stores and customers."""
    rng = np.random.default_rng(0)
    n_stores, customers = max(lines // LINES_A_STORE, 1), max(lines // LINES_A_CUSTOMER, 1_000)
    ids = _names("C", customers)
    home = np.arange(customers) % n_stores
    cells = 613_000_000_000_000_000 + home * CELLS_A_STORE + rng.zipf(1.3, customers) % CELLS_A_STORE
    customer_table = pa.table({"customer_id": ids, "cell": cells.astype("int64")})
    pq.write_table(customer_table, folder / "customers.parquet")
    skus = _names("S", SKUS)
    category = np.char.add("category ", (np.arange(SKUS) % CATEGORIES).astype(str))
    pq.write_table(pa.table({"sku": skus, "category": category}), folder / "products.parquet")
    (folder / "lines").mkdir()
    stores = _names("T", n_stores)
    for number, start in enumerate(range(0, lines, CHUNK)):
        n = min(CHUNK, lines - start)
        sku = (SKUS * rng.beta(0.6, 2.5, n)).astype("int64")
        who = rng.integers(0, customers, n)
        units = rng.geometric(0.7, n).astype("int64")
        cents = units * (100 + sku % 900)
        table = {
            "customer_id": _named(who, ids),
            "basket_id": (start + np.arange(n)) // 8,
            "store_id": _named(home[who], stores),
            "date": FIRST_DAY + rng.integers(0, DAYS, n).astype("timedelta64[D]"),
            "channel": _named(np.zeros(n), pa.array(["store"])),
            "sku": _named(sku, skus),
            "units": units,
            "revenue": pa.array(cents / 100.0).cast(pa.decimal128(18, 2), safe=False),
        }
        pq.write_table(pa.table(table), folder / "lines" / f"part-{number:03d}.parquet", compression="zstd")
    return n_stores, customers


def _named(codes: np.ndarray, names: pa.Array) -> pa.Array:
    return pa.DictionaryArray.from_arrays(codes.astype("int32"), names).cast(pa.string())


def _names(letters: str, n: int) -> pa.Array:
    # By way of a list: of millions of numpy texts Arrow makes several chunks, which a dictionary can't have.
    return pa.array([f"{letters}{number}" for number in range(n)], pa.string())


def by_geomarket(folder: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    from geomarket import engine

    connection = engine.connect(memory_limit=MEMORY_LIMIT, temp_dir=folder / "spill")
    lines = connection.read_parquet(str(folder / "lines" / "*.parquet"))
    customers = connection.read_parquet(str(folder / "customers.parquet"))
    products = pd.read_parquet(folder / "products.parquet")
    cells = engine.cell_category_months(lines, customers, products)
    weeks = lines.mutate(period=lines.date.truncate("W").cast("date"))
    return cells, engine.sales_by_period(weeks, ("store_id", "sku"))


def by_geomarket_to_files(folder: Path) -> tuple[Path, Path]:
    from geomarket import engine

    connection = engine.connect(memory_limit=FILE_LIMIT, temp_dir=folder / "spill_files")
    lines = connection.read_parquet(str(folder / "lines" / "*.parquet"))
    customers = connection.read_parquet(str(folder / "customers.parquet"))
    products = pd.read_parquet(folder / "products.parquet")
    cells = engine.cell_category_months(lines, customers, products, file=folder / "cells.parquet")
    weeks = lines.mutate(period=lines.date.truncate("W").cast("date"))
    return cells, engine.sales_by_period(weeks, ("store_id", "sku"), file=folder / "weeks.parquet")


CELLS_SQL = """
SELECT cell, category, CAST(date_trunc('month', date) AS DATE) AS month, count(DISTINCT customer_id) AS customers,
       CAST(sum(units) AS DOUBLE) AS units, CAST(sum(revenue) AS DOUBLE) AS revenue
FROM lines JOIN customers USING (customer_id) LEFT JOIN products USING (sku)
GROUP BY ALL ORDER BY cell, category, month"""
WEEKS_SQL = """
SELECT store_id, sku, CAST(date_trunc('week', date) AS DATE) AS period, CAST(sum(units) AS DOUBLE) AS units,
       CAST(sum(revenue) AS DOUBLE) AS revenue
FROM lines GROUP BY ALL ORDER BY store_id, sku, period"""
_FILES = {"lines": "lines", "customers": "customers.parquet", "products": "products.parquet"}


def by_sql(folder: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    import duckdb

    spill = str(folder / "spill_sql")
    connection = duckdb.connect(config={"memory_limit": MEMORY_LIMIT, "temp_directory": spill})
    for name, path in _FILES.items():
        files = f"{folder}/{path}" + ("/*.parquet" if name == "lines" else "")
        connection.execute(f"CREATE VIEW {name} AS SELECT * FROM read_parquet('{files}')")
    return connection.execute(CELLS_SQL).df(), connection.execute(WEEKS_SQL).df()


def by_pandas(folder: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    columns = ["customer_id", "store_id", "sku", "date", "units", "revenue"]
    lines = pq.read_table(folder / "lines", columns=columns)
    for name in ("customer_id", "store_id", "sku"):
        at = lines.schema.get_field_index(name)
        lines = lines.set_column(at, name, lines[name].dictionary_encode())
    at = lines.schema.get_field_index("revenue")
    frame = lines.set_column(at, "revenue", lines["revenue"].cast(pa.float64())).to_pandas(self_destruct=True)
    del lines
    frame["date"] = frame["date"].astype("datetime64[s]")
    customers = pd.read_parquet(folder / "customers.parquet").set_index("customer_id")["cell"]
    products = pd.read_parquet(folder / "products.parquet").set_index("sku")["category"]
    who, sku = frame["customer_id"].cat, frame["sku"].cat
    keys = pd.DataFrame(
        {
            "cell": who.categories.map(customers).to_numpy()[who.codes],
            "category": pd.Categorical(sku.categories.map(products))[sku.codes],
            "month": frame["date"].dt.to_period("M").dt.to_timestamp(),
            "customer": who.codes,
            "units": frame["units"],
            "revenue": frame["revenue"],
        }
    )
    grouped = keys.groupby(["cell", "category", "month"], observed=True)
    cells = grouped.agg(customers=("customer", "nunique"), units=("units", "sum"), revenue=("revenue", "sum"))
    del keys, grouped
    frame["period"] = frame["date"] - pd.to_timedelta(frame["date"].dt.dayofweek, unit="D")
    weeks = frame.groupby(["store_id", "sku", "period"], observed=True)[["units", "revenue"]].sum()
    return cells.reset_index(), weeks.reset_index()


def by_polars(folder: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    import polars as pl

    lines = pl.scan_parquet(folder / "lines" / "*.parquet")
    joined = lines.join(pl.scan_parquet(folder / "customers.parquet"), on="customer_id").join(
        pl.scan_parquet(folder / "products.parquet"), on="sku", how="left"
    )
    month = pl.col("date").dt.truncate("1mo").alias("month")
    week = pl.col("date").dt.truncate("1w").alias("period")
    sums = (pl.col("units").sum(), pl.col("revenue").sum().cast(pl.Float64))
    reach = pl.col("customer_id").n_unique().alias("customers")
    cells = joined.group_by("cell", "category", month).agg(reach, *sums).sort("cell", "category", "month")
    weeks = lines.group_by("store_id", "sku", week).agg(*sums).sort("store_id", "sku", "period")
    return cells.collect(engine="streaming").to_pandas(), weeks.collect(engine="streaming").to_pandas()


def by_pyspark(folder: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    from pyspark.sql import SparkSession

    os.environ["PYSPARK_PYTHON"] = sys.executable
    session = (
        SparkSession.builder.master("local[2]")
        .config("spark.driver.memory", SPARK_MEMORY)
        .config("spark.driver.maxResultSize", "0")
        .config("spark.local.dir", str(folder / "spill_spark"))
        .config("spark.ui.enabled", "false")
        .config("spark.sql.session.timeZone", "UTC")
        .config("spark.sql.shuffle.partitions", "32")
        .config("spark.sql.execution.arrow.pyspark.enabled", "true")
        .getOrCreate()
    )
    for name, path in _FILES.items():
        session.read.parquet(str(folder / path)).createOrReplaceTempView(name)
    return session.sql(CELLS_SQL).toPandas(), session.sql(WEEKS_SQL).toPandas()


TO_FILES = f"geomarket, to Parquet files, {FILE_LIMIT}"
ROADS = {
    "geomarket": by_geomarket,
    TO_FILES: by_geomarket_to_files,
    "hand-written DuckDB SQL": by_sql,
    "Polars, streaming": by_polars,
    "pandas": by_pandas,
    f"PySpark, local[2], {SPARK_MEMORY}": by_pyspark,
}


def row_hashes(frame: pd.DataFrame) -> np.ndarray:
    """Return a 64-bit hash of every row, keys and figures (money in cents), sorted."""
    plain = {}
    for name, values in frame.items():
        if name in ("month", "period"):
            plain[name] = pd.to_datetime(values).astype("datetime64[s]")
        elif name == "revenue":
            plain[name] = pd.Series((values.to_numpy(dtype="float64") * 100).round().astype("int64"))
        elif name in ("store_id", "sku", "category"):
            plain[name] = pd.Categorical(values).rename_categories(lambda value: str(value))
        else:
            plain[name] = values.to_numpy(dtype="int64")
    columns = sorted(plain)
    return np.sort(pd.util.hash_pandas_object(pd.DataFrame(plain)[columns], index=False).to_numpy())
