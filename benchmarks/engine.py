"""Big tables: geomarket's expressions beside hand-written SQL, pandas, Polars and PySpark.

Usage: python benchmarks/engine.py [--write] [--lines 50000000] [--customers 2000000] [--growth 1 3 10 30 100] [--spark]

Sales lines (basket, customer, store, SKU, day, units, revenue) are made up with fixed seeds as Parquet files and added
up twice: to (hexagon, category, month), which joins customers and products, and to (store, SKU, week). Every road runs
in a process of its own and starts from the files; results are compared row by row. Peak memory is the operating
system's figure for the process, for Spark with its Java process. With --write the tables go to
benchmarks/results/engine.md and a picture beside it.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from _machine import machine_lines

RESULTS = Path(__file__).parent / "results" / "engine.md"
PACKAGES = ("duckdb", "ibis-framework", "pandas", "polars", "pyspark", "pyarrow")
STORES, SKUS, CELLS, CATEGORIES, DAYS = 100, 1_000, 20_000, 30, 364
FIRST_DAY = np.datetime64("2023-01-02")
CHUNK = 5_000_000
MEMORY_LIMIT = "2GB"


def make(folder: Path, lines: int, customers: int) -> None:
    rng = np.random.default_rng(0)
    ids = np.char.add("C", np.arange(customers).astype(str).astype("U8"))
    cells = 613_000_000_000_000_000 + rng.zipf(1.3, customers) % CELLS
    pq.write_table(
        pa.table({"customer_id": ids, "cell": cells.astype("int64")}), folder / "customers.parquet"
    )
    skus = np.char.add("S", np.arange(SKUS).astype(str))
    category = np.char.add("category ", (np.arange(SKUS) % CATEGORIES).astype(str))
    pq.write_table(pa.table({"sku": skus, "category": category}), folder / "products.parquet")
    (folder / "lines").mkdir()
    stores = np.char.add("T", np.arange(STORES).astype(str))
    for number, start in enumerate(range(0, lines, CHUNK)):
        n = min(CHUNK, lines - start)
        sku = (SKUS * rng.beta(0.6, 2.5, n)).astype("int64")
        who = rng.integers(0, customers, n)
        units = rng.geometric(0.7, n).astype("int64")
        cents = units * (100 + sku % 900)
        table = {
            "customer_id": pa.DictionaryArray.from_arrays(who.astype("int32"), ids).cast(pa.string()),
            "basket_id": (start + np.arange(n)) // 8,
            "store_id": pa.DictionaryArray.from_arrays((who % STORES).astype("int32"), stores).cast(
                pa.string()
            ),
            "date": FIRST_DAY + rng.integers(0, DAYS, n).astype("timedelta64[D]"),
            "channel": pa.array(["store"]).take(pa.array(np.zeros(n, dtype="int8"))),
            "sku": pa.DictionaryArray.from_arrays(sku.astype("int32"), skus).cast(pa.string()),
            "units": units,
            "revenue": pa.array(cents / 100.0).cast(pa.decimal128(18, 2), safe=False),
        }
        pq.write_table(pa.table(table), folder / "lines" / f"part-{number:03d}.parquet", compression="zstd")


def by_geomarket(folder: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    from geomarket import engine

    connection = engine.connect(memory_limit=MEMORY_LIMIT)
    lines = connection.read_parquet(str(folder / "lines" / "*.parquet"))
    customers = connection.read_parquet(str(folder / "customers.parquet"))
    products = pd.read_parquet(folder / "products.parquet")
    cells = engine.cell_category_months(lines, customers, products)
    weeks = lines.mutate(period=lines.date.truncate("W").cast("date"))
    return cells, engine.sales_by_period(weeks, ("store_id", "sku"))


CELLS_SQL = """
SELECT cell, category, CAST(date_trunc('month', date) AS DATE) AS month, count(DISTINCT customer_id) AS customers,
       CAST(sum(units) AS DOUBLE) AS units, CAST(sum(revenue) AS DOUBLE) AS revenue
FROM lines JOIN customers USING (customer_id) LEFT JOIN products USING (sku) GROUP BY ALL ORDER BY ALL"""
WEEKS_SQL = """
SELECT store_id, sku, CAST(date_trunc('week', date) AS DATE) AS period, CAST(sum(units) AS DOUBLE) AS units,
       CAST(sum(revenue) AS DOUBLE) AS revenue
FROM lines GROUP BY ALL ORDER BY store_id, sku, period"""


def by_sql(folder: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    import duckdb

    connection = duckdb.connect(
        config={"memory_limit": MEMORY_LIMIT, "temp_directory": str(folder / "spill")}
    )
    for name, path in (("lines", "lines/*"), ("customers", "customers"), ("products", "products")):
        connection.execute(f"CREATE VIEW {name} AS SELECT * FROM read_parquet('{folder}/{path}.parquet')")
    return connection.execute(CELLS_SQL).df(), connection.execute(WEEKS_SQL).df()


def by_pandas(folder: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    columns = ["customer_id", "store_id", "sku", "date", "units", "revenue"]
    lines = pq.read_table(folder / "lines", columns=columns)
    names = ["customer_id", "store_id", "sku"]
    for name in names:
        at = lines.schema.get_field_index(name)
        lines = lines.set_column(at, name, lines[name].dictionary_encode())
    at = lines.schema.get_field_index("revenue")
    frame = lines.set_column(at, "revenue", lines["revenue"].cast(pa.float64())).to_pandas(self_destruct=True)
    del lines
    frame["date"] = frame["date"].astype("datetime64[s]")
    customers = pd.read_parquet(folder / "customers.parquet").set_index("customer_id")["cell"]
    products = pd.read_parquet(folder / "products.parquet").set_index("sku")["category"]
    keys = pd.DataFrame(
        {
            "cell": frame["customer_id"]
            .cat.categories.map(customers)
            .to_numpy()[frame["customer_id"].cat.codes],
            "category": pd.Categorical(frame["sku"].cat.categories.map(products))[frame["sku"].cat.codes],
            "month": frame["date"].dt.to_period("M").dt.to_timestamp(),
            "customer": frame["customer_id"].cat.codes,
            "units": frame["units"],
            "revenue": frame["revenue"],
        }
    )
    grouped = keys.groupby(["cell", "category", "month"], observed=True)
    cells = grouped.agg(customers=("customer", "nunique"), units=("units", "sum"), revenue=("revenue", "sum"))
    del keys
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
    sums = (pl.col("units").sum(), pl.col("revenue").sum())
    cells = joined.group_by("cell", "category", month).agg(
        pl.col("customer_id").n_unique().alias("customers"), *sums
    )
    weeks = lines.group_by("store_id", "sku", week).agg(*sums)
    return tuple(query.collect(engine="streaming").to_pandas() for query in (cells, weeks))  # type: ignore[return-value]


def by_pyspark(folder: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    import os

    from pyspark.sql import SparkSession

    os.environ["PYSPARK_PYTHON"] = sys.executable
    session = (
        SparkSession.builder.master("local[2]")
        .config("spark.driver.memory", "6g")
        .config("spark.ui.enabled", "false")
        .config("spark.sql.session.timeZone", "UTC")
        .config("spark.sql.shuffle.partitions", "8")
        .getOrCreate()
    )
    for name, path in (
        ("lines", "lines"),
        ("customers", "customers.parquet"),
        ("products", "products.parquet"),
    ):
        session.read.parquet(str(folder / path)).createOrReplaceTempView(name)
    return session.sql(CELLS_SQL.replace("ORDER BY ALL", "")).toPandas(), session.sql(WEEKS_SQL).toPandas()


ROADS = {
    "geomarket": by_geomarket,
    "hand-written DuckDB SQL": by_sql,
    "Polars, streaming": by_polars,
    "pandas": by_pandas,
    "PySpark, local[2], 6 GB": by_pyspark,
}


def checksum(frame: pd.DataFrame) -> dict[str, float]:
    money = pd.to_numeric(frame["revenue"])
    found = {
        "rows": len(frame),
        "units": float(frame["units"].sum()),
        "revenue": round(float(money.sum()), 2),
    }
    if "customers" in frame:
        found["customers"] = float(frame["customers"].sum())
    # Weighted by a hash of the keys, so that money in the wrong row shows.
    keys = [name for name in ("cell", "category", "month", "store_id", "sku", "period") if name in frame]
    plain = frame[keys].astype({name: str for name in keys if name not in ("month", "period", "cell")})
    for name in ("month", "period"):
        if name in plain:
            plain[name] = pd.to_datetime(plain[name]).astype("datetime64[s]")
    weight = pd.util.hash_pandas_object(plain, index=False).to_numpy() % 1_000
    found["by row"] = round(float((weight * money.to_numpy(dtype=float)).sum()), 0)
    return found


def tree_mb() -> float:
    """Resident memory of this process and what it started."""
    import os

    total = 0
    parents: dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parents[int(entry.name)] = int((entry / "stat").read_text().rsplit(")", 1)[1].split()[1])
            except (OSError, IndexError):
                continue
    mine, grew = {os.getpid()}, True
    while grew:
        more = {pid for pid, parent in parents.items() if parent in mine} - mine
        grew, mine = bool(more), mine | more
    for pid in mine:
        try:
            total += int(Path(f"/proc/{pid}/statm").read_text().split()[1])
        except (OSError, IndexError):
            continue
    return total * 4096 / 2**20


def child(road: str, folder: Path) -> None:
    peak = [0.0]
    done = threading.Event()

    def watch() -> None:
        while not done.wait(0.2):
            peak[0] = max(peak[0], tree_mb())

    watcher = threading.Thread(target=watch)
    watcher.start()
    start = time.perf_counter()
    cells, weeks = ROADS[road](folder)
    wall = time.perf_counter() - start
    done.set()
    watcher.join()
    figures = {"wall": wall, "peak_mb": peak[0], "cells": checksum(cells), "weeks": checksum(weeks)}
    print(json.dumps(figures))


def measure(road: str, folder: Path) -> dict:
    command = [sys.executable, "-W", "ignore", __file__, "--child", road, "--folder", str(folder)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    if ended.returncode:
        return {"failed": (ended.stderr.strip().splitlines() or [f"signal {-ended.returncode}"])[-1][:160]}
    return json.loads(ended.stdout.splitlines()[-1])


def report(lines: int, customers: int, growth: list[float], roads: list[str], rounds: int) -> str:
    text = ["# Big tables", "", *machine_lines(PACKAGES), ""]
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "full"
        folder.mkdir()
        make(folder, lines, customers)
        size = sum(path.stat().st_size for path in folder.rglob("*.parquet")) / 2**20
        found: dict[str, list[dict]] = {road: [] for road in roads}
        for turn in range(rounds):
            for road in roads:
                if turn == 0 or road in ("geomarket", "hand-written DuckDB SQL"):
                    found[road].append(measure(road, folder))
        ours = found["geomarket"][0]
        base = min(run["wall"] for run in found["hand-written DuckDB SQL"])
        text += [
            f"{lines / 1e6:g} million sales lines of {customers / 1e6:g} million customers, {SKUS:,} SKUs, {STORES} stores and a "
            f"year ({size:,.0f} MB of Parquet), added up to (hexagon, category, month) and to (store, SKU, week): "
            f"{ours['cells']['rows']:,} and {ours['weeks']['rows']:,} rows. geomarket and the hand-written SQL run under "
            f"memory_limit = {MEMORY_LIMIT}. Fresh process each; best of {rounds} rounds for the first two.",
            "",
            "| road | wall s | times hand-written | peak memory MB | same rows and sums |",
            "|---|---|---|---|---|",
        ]
        for road, runs in found.items():
            best = min(runs, key=lambda run: run.get("wall", np.inf))
            if "failed" in best:
                text.append(f"| {road} | – | – | – | failed: {best['failed']} |")
                continue
            same = all(best[part] == ours[part] for part in ("cells", "weeks"))
            wall, peak = best["wall"], max(run["peak_mb"] for run in runs)
            text.append(
                f"| {road} | {wall:.1f} | {wall / base:.2f} | {peak:,.0f} | {'yes' if same else 'NO'} |"
            )
        rows = []
        for million in growth:
            folder = Path(scratch) / f"{million}"
            folder.mkdir()
            make(folder, int(million * 1e6), max(int(million * 1e6 / lines * customers), 1_000))
            rows.append((million, measure("geomarket", folder)))
            for path in folder.rglob("*.parquet"):
                path.unlink()
    text += [
        "",
        "## How the cost grows",
        "",
        "Customers grow with the lines. geomarket, under the same memory limit.",
        "",
        "| million lines | wall s | s a million lines | peak memory MB |",
        "|---|---|---|---|",
        *(
            f"| {million:g} | {run['wall']:.1f} | {run['wall'] / million:.2f} | {run['peak_mb']:,.0f} |"
            for million, run in rows
            if "failed" not in run
        ),
        *(f"| {million:g} | failed: {run['failed']} | | |" for million, run in rows if "failed" in run),
    ]
    draw([(million, run) for million, run in rows if "failed" not in run])
    last = [(m, run) for m, run in rows if "failed" not in run][-1]
    yearly = 40e6 * 52 * 8
    hours = last[1]["wall"] / last[0] * yearly / 1e6 / 3600
    text += [
        "",
        "![Wall time and memory against lines](engine.png)",
        "",
        f"A retailer of 3,000 stores, 50,000 SKUs and 40 million customers who buy 8 lines a week has {yearly / 1e9:.1f} thousand "
        f"million lines a year. At the last row's {last[1]['wall'] / last[0]:.2f} s a million lines, were that to hold, one machine like "
        f"this takes {hours:.1f} hours for both tables of a year; measured up to {last[0]:g} million lines only, so this is an "
        "extrapolation, and disks, spilling and the number of groups may bend it.",
    ]
    return "\n".join(text) + "\n"


def draw(rows: list[tuple[float, dict]]) -> None:
    import matplotlib

    matplotlib.use("agg")
    import matplotlib.pyplot as plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(8, 3.2), layout="constrained")
    lines = [million for million, _ in rows]
    for axes, values, label in (
        (left, [run["wall"] for _, run in rows], "wall time, s"),
        (right, [run["peak_mb"] for _, run in rows], "peak memory, MB"),
    ):
        axes.plot(lines, values, marker="o", color="#0b6e6e")
        axes.set_xscale("log")
        axes.set_ylim(bottom=0)
        axes.set_xlabel("million sales lines")
        axes.set_ylabel(label)
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(RESULTS.with_suffix(".png"), dpi=110, metadata={"Software": None})


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--lines", type=int, default=50_000_000)
    parser.add_argument("--customers", type=int, default=2_000_000)
    parser.add_argument("--growth", type=float, nargs="+", default=[1, 3, 10, 30, 100])
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--without", nargs="*", default=[], help="roads to leave out")
    parser.add_argument("--write", action="store_true", help="write benchmarks/results/engine.md")
    for internal in ("--child", "--folder"):
        parser.add_argument(internal, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        child(options.child, Path(options.folder))
        return
    roads = [road for road in ROADS if not any(road.startswith(name) for name in options.without)]
    text = report(options.lines, options.customers, options.growth, roads, options.rounds)
    print(text)
    if options.write:
        RESULTS.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
