"""The engine's aggregates equal plain pandas on the same rows, whatever their order and the number of threads."""

from __future__ import annotations

import datetime as dt
import gc
import os
import subprocess
import sys
from decimal import Decimal

import ibis
import ibis.expr.types as ir
import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from geomarket import engine
from geomarket.cli import app
from geomarket.errors import SettingsError, TableError
from geomarket.market import baskets_table, connect, sales_table, write_template


@pytest.fixture(scope="module")
def frame() -> pd.DataFrame:
    rng = np.random.default_rng(3)
    n = 4000
    weeks = pd.date_range("2024-01-01", periods=20, freq="7D")
    data = pd.DataFrame(
        {
            "store_id": rng.choice([f"{i:03d}" for i in range(12)], n),
            "sku": rng.choice([f"{i:04d}" for i in range(30)], n),
            "period": rng.choice(weeks, n),
        }
    ).drop_duplicates(ignore_index=True)
    data["units"] = rng.poisson(3, len(data))
    data["revenue"] = (data["units"] * rng.integers(50, 999, len(data)) / 100).round(2)
    return data


@pytest.fixture(scope="module")
def lines() -> pd.DataFrame:
    rng = np.random.default_rng(4)
    n = 3000
    basket = rng.integers(0, 900, n)
    return pd.DataFrame(
        {
            "customer_id": [f"{b % 150:05d}" for b in basket],
            "basket_id": basket,
            "store_id": [f"{b % 7:02d}" for b in basket],
            "date": pd.Timestamp("2024-01-01") + pd.to_timedelta(basket % 60, unit="D"),
            "channel": "store",
            "sku": rng.choice([f"{i:03d}" for i in range(20)], n),
            "units": rng.integers(-1, 5, n),
            "revenue": rng.integers(-100, 2000, n) / 100,
        }
    )


PRODUCTS = pd.DataFrame(
    {
        "sku": [f"{i:03d}" for i in range(19)],
        "category": [f"C{i % 3}" for i in range(19)],
        "cost": [np.nan if i == 5 else 0.3 + i / 100 for i in range(19)],
    }
)


def cents(values: pd.Series) -> pd.Series:
    return values.mul(100).round().astype("int64")


def test_store_sku_periods_equals_pandas(frame):
    got = engine.store_sku_periods(sales_table(frame))
    calendar = sorted(frame["period"].unique())
    place = frame["period"].map({period: i for i, period in enumerate(calendar)})
    want = (
        frame.assign(place=place, sold=frame["units"] > 0, cents=cents(frame["revenue"]))
        .groupby(["store_id", "sku"])
        .agg(
            units=("units", "sum"),
            cents=("cents", "sum"),
            sold=("sold", "sum"),
            lo=("place", "min"),
            hi=("place", "max"),
            first=("period", "min"),
            last=("period", "max"),
        )
        .reset_index()
    )
    assert got[["store_id", "sku"]].values.tolist() == want[["store_id", "sku"]].values.tolist()
    assert (got["units"] == want["units"]).all() and (cents(got["revenue"]) == want["cents"]).all()
    assert (got["periods_sold"] == want["sold"]).all()
    assert (got["periods_listed"] == want["hi"] - want["lo"] + 1).all()
    assert (got["first_period"] == want["first"]).all() and (got["last_period"] == want["last"]).all()


def test_the_window_is_half_open(frame):
    sales = sales_table(frame)
    window = ("2024-01-15", dt.date(2024, 3, 4))
    got = engine.store_sku_periods(sales, window)
    inside = frame[(frame["period"] >= "2024-01-15") & (frame["period"] < "2024-03-04")]
    assert got["units"].sum() == inside["units"].sum()
    assert got["first_period"].min() == pd.Timestamp("2024-01-15")
    assert got["last_period"].max() == pd.Timestamp("2024-02-26")
    assert got["periods_listed"].max() <= 7
    assert engine.periods_of(sales, window) == [
        dt.date(2024, 1, 15) + dt.timedelta(weeks=i) for i in range(7)
    ]
    before, after = (
        engine.store_sku_periods(sales, w)["units"].sum() for w in ((None, window[0]), (window[0], None))
    )
    assert before > 0 and before + after == frame["units"].sum()


def test_exposure_counts_trading_periods_only():
    """A period in which the whole chain was closed is nobody's exposure."""
    sales = sales_table(
        pd.DataFrame(
            {
                "store_id": ["1", "1", "1"],
                "sku": ["a", "a", "b"],
                "period": ["2024-01-01", "2024-01-29", "2024-01-08"],
                "units": [1, 1, 1],
                "revenue": [1, 1, 1],
            }
        )
    )
    assert engine.store_sku_periods(sales)["periods_listed"].tolist() == [3, 1]


@pytest.mark.parametrize("keys", [("store_id",), ("sku",), ("store_id", "sku"), ()])
def test_sales_by_period_equals_pandas(frame, keys):
    got = engine.sales_by_period(sales_table(frame), keys)
    by = [*keys, "period"]
    want = frame.assign(cents=cents(frame["revenue"])).groupby(by)[["units", "cents"]].sum().reset_index()
    assert got[by].astype(str).values.tolist() == want[by].astype(str).values.tolist()
    assert (got["units"] == want["units"]).all() and (cents(got["revenue"]) == want["cents"]).all()


def test_an_unknown_key_names_the_columns(frame):
    with pytest.raises(TableError, match=r"no column category.*store_id, sku"):
        engine.sales_by_period(sales_table(frame), ("category",))


def test_customer_totals_equal_pandas(lines):
    got = engine.customer_totals(baskets_table(lines), PRODUCTS).set_index("customer_id")
    joined = lines.merge(PRODUCTS, on="sku", how="left")
    joined["known"] = joined["cost"].notna()
    joined["margin"] = joined["revenue"] - joined["units"] * joined["cost"]
    want = joined.groupby("customer_id").agg(
        trips=("basket_id", "nunique"), first=("date", "min"), last=("date", "max"), units=("units", "sum")
    )
    assert got.index.tolist() == want.index.tolist()
    assert (got["trips"] == want["trips"]).all() and (got["units"] == want["units"]).all()
    assert (got["first_date"] == want["first"]).all() and (got["last_date"] == want["last"]).all()
    assert np.allclose(got["revenue"], joined.groupby("customer_id")["revenue"].sum(), atol=1e-9)
    assert np.allclose(got["margin"], joined.groupby("customer_id")["margin"].sum(), atol=1e-9)
    costed = joined[joined["known"]].groupby("customer_id")["revenue"].sum().reindex(got.index, fill_value=0)
    assert np.allclose(got["costed_revenue"], costed, atol=1e-9)
    assert (got["costed_revenue"] < got["revenue"]).any()


def test_a_margin_nobody_knows_is_missing_not_zero(lines):
    unknown = PRODUCTS.assign(cost=np.nan)
    got = engine.customer_totals(baskets_table(lines), unknown)
    assert got["margin"].isna().all() and (got["costed_revenue"] == 0).all()
    assert got["revenue"].abs().sum() > 0


def test_customer_store_trips_equal_pandas(lines):
    got = engine.customer_store_trips(baskets_table(lines))
    want = lines.groupby(["customer_id", "store_id"]).agg(
        trips=("basket_id", "nunique"), revenue=("revenue", "sum")
    )
    assert got[["customer_id", "store_id"]].values.tolist() == [list(key) for key in want.index]
    assert (got["trips"].to_numpy() == want["trips"].to_numpy()).all()
    assert np.allclose(got["revenue"], want["revenue"], atol=1e-9)


@pytest.mark.parametrize("item", ["category", "sku"])
def test_customer_items_are_those_most_customers_buy(lines, item):
    baskets = baskets_table(lines)
    found = engine.customer_items(baskets, PRODUCTS, item, top=2, periods=("2024-01-10", "2024-02-10"))
    bought = lines[(lines["units"] > 0) & lines["date"].between("2024-01-10", "2024-02-09")]
    bought = bought.merge(PRODUCTS, on="sku", how="left") if item == "category" else bought
    bought = bought.dropna(subset=[item])
    reach = bought.groupby(item)["customer_id"].nunique()
    top = reach.sort_index().sort_values(ascending=False, kind="stable").index[:2]
    wanted = bought.loc[bought[item].isin(top), ["customer_id", item]].drop_duplicates()
    wanted = wanted.sort_values(["customer_id", item])
    assert found.to_numpy().tolist() == wanted.to_numpy().tolist()


def test_customer_category_adds_up_to_the_totals(lines):
    baskets = baskets_table(lines)
    by_category = engine.customer_category(baskets, PRODUCTS)
    totals = engine.customer_totals(baskets, PRODUCTS)
    assert by_category["category"].isna().any()  # the SKU that products does not hold
    for column in ("revenue", "units", "costed_revenue"):
        assert np.allclose(by_category.groupby("customer_id")[column].sum(), totals[column], atol=1e-9)
    window = engine.customer_totals(baskets, PRODUCTS, ("2024-01-10", "2024-01-20"))
    assert window["first_date"].min() >= pd.Timestamp("2024-01-10")
    assert window["last_date"].max() < pd.Timestamp("2024-01-20")


def test_products_without_a_cost_column_name_it(lines):
    with pytest.raises(TableError, match="products: no column cost"):
        engine.customer_totals(baskets_table(lines), PRODUCTS.drop(columns="cost"))


def test_the_result_does_not_depend_on_row_order_or_threads(frame, lines):
    shuffled = frame.sample(frac=1, random_state=1)
    one, many = connect(threads=1), connect(threads=4)
    for call in (engine.store_sku_periods, engine.sales_by_period):
        pd.testing.assert_frame_equal(call(sales_table(frame, one)), call(sales_table(shuffled, many)))
    mixed = lines.sample(frac=1, random_state=2)
    pd.testing.assert_frame_equal(
        engine.customer_totals(baskets_table(lines, one), PRODUCTS),
        engine.customer_totals(baskets_table(mixed, many), PRODUCTS.sample(frac=1, random_state=3)),
    )


def test_money_is_added_exactly():
    """0.1 ten thousand times is 1,000, which a float sum misses."""
    n = 10_000
    sales = sales_table(
        pd.DataFrame({"store_id": "1", "sku": "a", "period": "2024-01-01", "units": 1, "revenue": [0.1] * n})
    )
    assert np.add.accumulate([0.1] * n)[-1] != 1000.0
    assert engine.sales_by_period(sales)["revenue"].tolist() == [1000.0]


def test_types_are_those_of_the_contract(frame):
    table = sales_table(frame)
    assert table.schema() == ibis.schema(
        {
            "store_id": "string",
            "sku": "string",
            "period": "date",
            "units": "int64",
            "revenue": "decimal(18, 2)",
        }
    )
    assert isinstance(table.revenue.max().to_pyarrow().as_py(), Decimal)
    got = engine.store_sku_periods(table)
    assert got.dtypes.astype(str)[["units", "revenue", "periods_listed", "periods_sold"]].tolist() == [
        "float64",
        "float64",
        "int64",
        "int64",
    ]
    assert str(got["first_period"].dtype) == "datetime64[ns]"
    assert got["store_id"].map(type).eq(str).all()


def test_an_empty_window_gives_an_empty_frame_of_the_same_columns(frame):
    sales = sales_table(frame)
    got = engine.store_sku_periods(sales, ("2030-01-01", None))
    assert got.empty and got.columns.tolist() == engine.store_sku_periods(sales).columns.tolist()
    assert engine.periods_of(sales, ("2030-01-01", None)) == []


def test_a_frame_without_a_column_names_it(frame):
    with pytest.raises(TableError, match="sales: no column units; expected store_id"):
        sales_table(frame.drop(columns="units"))


def test_engine_settings_duckdb_refuses_name_the_cure():
    with pytest.raises(SettingsError, match=r"memory_limit = 'much'.*2GB"):
        connect(memory_limit="much")


def many_groups(connection):
    """More distinct keys than fit into 40 MB."""
    n = 700_000
    connection.raw_sql(
        "CREATE VIEW wide AS SELECT 's' || (i % 1000) AS store_id, 'k' || (i % 701) AS sku, units, period, "
        f"CAST(1.25 AS DECIMAL(18, 2)) AS revenue FROM (SELECT i % {n} AS i, CAST(2 AS BIGINT) AS units, "
        "DATE '2024-01-01' AS period FROM range(2 * {n}) t(i))".replace("{n}", str(n))
    )
    return connection.table("wide")


def test_a_small_memory_limit_spills_and_gives_the_same(tmp_path):
    """What does not fit goes by way of the spill folder, and the answer is the same; nothing of it stays."""
    small = connect(memory_limit="40MB", threads=1, temp_dir=tmp_path / "deep" / "spill")
    found = engine.sales_by_period(many_groups(small), ("store_id", "sku"))
    assert len(found) == 700_000 and found["units"].sum() == 2_800_000
    assert (found["revenue"] == found["units"] * 0.625).all()
    small.raw_sql("SET max_temp_directory_size = '1MB'")
    wide = small.table("wide")
    # Where the spill folder is full, parts that need none of it are enough; of one store there are no parts.
    pd.testing.assert_frame_equal(engine.sales_by_period(wide, ("store_id", "sku")), found)
    one_store = wide.mutate(store_id=ibis.literal("1"), sku=wide.store_id.concat(wide.sku))
    with pytest.raises(SettingsError, match=r"the spill folder is full .*name a spill_folder with more room"):
        engine.sales_by_period(one_store, ("store_id", "sku"))
    assert [path.stat().st_mode & 0o777 for path in (tmp_path / "deep" / "spill").iterdir()] == [0o700]
    del small, found, wide, one_store
    gc.collect()
    assert list((tmp_path / "deep" / "spill").iterdir()) == []


def test_what_can_not_be_spilled_is_found_in_parts(tmp_path, caplog):
    """Where spilling isn't enough, rows are found by parts of the first key, in order."""
    rng = np.random.default_rng(8)
    n, people = 400_000, 80_000
    ids = np.array([f"c{number:05d}" for number in range(people)])
    who, sku = rng.integers(0, people, n), rng.integers(0, 20, n)
    lines = pd.DataFrame(
        {
            "customer_id": np.where(np.arange(n) % 1000 == 0, None, ids[who]),  # cash customers come last
            "basket_id": np.arange(n) // 3,
            "sku": np.array([f"s{number:02d}" for number in range(20)])[sku],
            "date": pd.Timestamp("2024-01-01") + pd.to_timedelta(rng.integers(0, 360, n), unit="D"),
            "units": rng.integers(1, 5, n),
            "revenue": rng.integers(100, 900, n) / 100,
        }
    )
    lines.to_parquet(tmp_path / "lines.parquet")
    cells = pd.DataFrame({"customer_id": ids, "cell": np.arange(people) % 500})
    products = pd.DataFrame({"sku": [f"s{number:02d}" for number in range(20)]})
    products["category"] = "c" + (products.index % 5).astype(str)

    def table_of(memory_limit: str) -> ir.Table:
        connection = connect(memory_limit=memory_limit, threads=1, temp_dir=tmp_path / "spill")
        table = connection.read_parquet(str(tmp_path / "lines.parquet"))
        return table.mutate(revenue=table.revenue.cast("decimal(18, 2)"))

    large, small = table_of("2GB"), table_of("22MB")
    want = engine.cell_category_months(large, cells, products)
    trips = engine.customer_category(large, products.assign(cost=1.0))
    assert len(want) == 30_000 and trips["customer_id"].isna().sum() == 5 and not caplog.records
    with caplog.at_level("INFO", logger="geomarket.engine.fetching"):
        got = engine.cell_category_months(small, cells, products)
        pd.testing.assert_frame_equal(got, want, check_exact=True)
        assert "adding up by cell in parts" in caplog.text
        caplog.clear()
        file = engine.cell_category_months(small, cells, products, file=tmp_path / "out" / "cells.parquet")
        got = pd.read_parquet(file).astype({"month": "datetime64[ns]"})
        pd.testing.assert_frame_equal(got, want, check_exact=True)
        assert "adding up by cell in parts" in caplog.text
        got = engine.customer_category(small, products.assign(cost=1.0))
        pd.testing.assert_frame_equal(got, trips, check_exact=True)
        assert "adding up by customer_id in parts" in caplog.text
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["cells.parquet"]


def test_a_memory_limit_too_small_for_anything_is_named_with_the_cure(tmp_path, frame):
    tiny = connect(memory_limit="1MB", threads=1, temp_dir=tmp_path)
    with pytest.raises(
        SettingsError, match=r"Adding up sales or baskets: the memory limit is reached.*raise memory_limit"
    ):
        engine.sales_by_period(many_groups(tiny), ("store_id", "sku"))


def test_a_plan_whose_memory_limit_is_reached_says_so_in_one_line(tmp_path):
    base = tmp_path / "plan"
    write_template(base)
    toml = (base / "plan.toml").read_text(encoding="utf-8")
    limits = '\n[engine]\nmemory_limit = "2MB"\nthreads = 1\nspill_folder = "spill"\n'
    (base / "plan.toml").write_text(toml.replace("\n[engine]\n", limits), encoding="utf-8")
    ended = CliRunner().invoke(app, ["check", str(base / "plan.toml")])
    assert ended.exit_code == 2, ended.output
    assert "memory limit" in ended.output and "raise memory_limit" in " ".join(ended.output.split())
    assert "Traceback" not in ended.output


def test_a_spill_folder_that_can_not_be_is_refused_at_once(tmp_path):
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(SettingsError, match=r"spill_folder = .*Name a folder on a disk with room"):
        connect(temp_dir=tmp_path / "file")
    with pytest.raises(SettingsError, match=r"spill_folder"):
        connect(temp_dir=f"{tmp_path}/a\0b")


@pytest.mark.skipif(os.name != "posix", reason="asking whether a process is there needs POSIX")
def test_what_a_killed_process_spilled_goes_with_the_next(tmp_path):
    lines = [
        "import os, sys",
        "from geomarket.market import connect",
        "kept = connect(temp_dir=sys.argv[1])",
        "os.kill(os.getpid(), 9)",
    ]
    subprocess.run([sys.executable, "-c", "\n".join(lines), str(tmp_path)], check=False)
    left = list(tmp_path.iterdir())
    assert len(left) == 1
    mine = tmp_path / left[0].name.replace(left[0].name.split("-")[-2], str(os.getpid()))
    mine.mkdir()
    (tmp_path / "geomarket-spill-of-somebody").mkdir()
    kept = connect(temp_dir=tmp_path)
    assert not left[0].exists() and mine.exists() and (tmp_path / "geomarket-spill-of-somebody").exists()
    assert kept.raw_sql("SELECT 1").fetchall() == [(1,)]


def test_nothing_is_downloaded():
    settings = dict(
        connect()
        .raw_sql("SELECT name, value FROM duckdb_settings() WHERE name LIKE '%known_extensions'")
        .fetchall()
    )
    assert settings == {"autoinstall_known_extensions": "false", "autoload_known_extensions": "false"}
