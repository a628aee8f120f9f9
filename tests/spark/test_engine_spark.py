"""One set of expressions, two engines: the same rows and the same numbers on DuckDB and on Spark."""

import shutil
import sys

import pandas as pd
import pytest
from engine_cases import CASES, cases_market

from geomarket import engine

pytestmark = pytest.mark.spark


@pytest.fixture(scope="module")
def market():
    return cases_market()


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


@pytest.mark.parametrize("case", CASES)
def test_both_engines_give_exactly_the_same_frame(case, market, spark_tables):
    here = CASES[case](market.sales, market.baskets, market)
    there = CASES[case](spark_tables["sales"], spark_tables["baskets"], market)
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
