"""One set of expressions, two engines: the same rows and the same numbers on DuckDB and on Spark."""

import shutil
import sys

import pandas as pd
import pytest

from geomarket import engine
from geomarket.simulate import simulate_market

pytestmark = pytest.mark.spark


@pytest.fixture(scope="module")
def market():
    return simulate_market(n_customers=400, n_stores=6, n_skus=40, weeks=14, seed=2)


@pytest.fixture(scope="module")
def spark_tables(market, tmp_path_factory):
    if shutil.which("java") is None:
        pytest.skip("JAVA MISSING: install Java 17 to run the Spark tests")
    pyspark_sql = pytest.importorskip("pyspark.sql", reason="PYSPARK MISSING: pip install geomarket[spark]")
    import os

    import ibis

    os.environ["PYSPARK_PYTHON"] = sys.executable
    session = (
        pyspark_sql.SparkSession.builder.master("local[1]")
        .config("spark.ui.enabled", "false")
        .config("spark.sql.session.timeZone", "UTC")
        .config("spark.sql.shuffle.partitions", "2")
        .config("spark.sql.ansi.enabled", "false")
        .getOrCreate()
    )
    connection = ibis.pyspark.connect(session)
    folder = tmp_path_factory.mktemp("spark")
    tables = {}
    for name in ("sales", "baskets"):
        path = folder / f"{name}.parquet"
        getattr(market, name).to_parquet(path)
        session.read.parquet(str(path)).createOrReplaceTempView(name)
        tables[name] = connection.table(name)
    yield tables
    session.stop()


CELLS = pd.DataFrame({"customer_id": [f"C{i:07d}" for i in range(1, 401)]}).assign(
    cell=lambda frame: 600_000_000_000_000_000 + frame.index % 7
)
CASES = {
    "store_sku_periods": lambda sales, baskets, products: engine.store_sku_periods(sales),
    "sales_by_period": lambda sales, baskets, products: engine.sales_by_period(sales, ("store_id", "sku")),
    "a window": lambda sales, baskets, products: engine.store_sku_periods(sales, ("2023-02-06", None)),
    "customer_totals": lambda sales, baskets, products: engine.customer_totals(baskets, products),
    "customer_store_trips": lambda sales, baskets, products: engine.customer_store_trips(baskets),
    "customer_items": lambda sales, baskets, products: engine.customer_items(baskets, products, top=2),
    "cell_category_months": lambda sales, baskets, products: engine.cell_category_months(
        baskets, CELLS, products
    ),
    "customer_category": lambda sales, baskets, products: engine.customer_category(baskets, products),
}


@pytest.mark.parametrize("case", CASES)
def test_both_engines_give_exactly_the_same_frame(case, market, spark_tables):
    here = CASES[case](market.sales, market.baskets, market.products)
    there = CASES[case](spark_tables["sales"], spark_tables["baskets"], market.products)
    assert len(here) > 0
    pd.testing.assert_frame_equal(here, there, check_exact=True)


def test_periods_agree(market, spark_tables):
    assert engine.periods_of(market.sales) == engine.periods_of(spark_tables["sales"])


def test_periods_of_some_skus_agree(market, spark_tables):
    some = market.products["sku"].tolist()[:12]
    here, there = market.sales, spark_tables["sales"]
    assert engine.periods_of(here.filter(here["sku"].isin(some))) == engine.periods_of(
        there.filter(there["sku"].isin(some))
    )
