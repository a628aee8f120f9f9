"""The same expressions on engines of other kinds: the rows DuckDB gives, to the last digit. Spark has its own test."""

from __future__ import annotations

import dataclasses
import importlib

import ibis
import pandas as pd
import pytest
from engine_cases import CASES, ENGINES, cases_market

from geomarket import engine
from geomarket.errors import TableError
from geomarket.market import sales_table, warehouse_baskets, warehouse_sales

NEEDS = {"SQLite": "sqlite3", "Polars": "polars"}


@pytest.fixture(scope="module")
def market():
    return cases_market()


@pytest.fixture(scope="module")
def expected(market):
    return {name: case(market.sales, market.baskets, market) for name, case in CASES.items()}


@pytest.fixture(scope="module", params=NEEDS)
def elsewhere(request, market, tmp_path_factory):
    try:
        importlib.import_module(NEEDS[request.param])
    except ImportError:
        pytest.skip(f"{request.param.upper()} MISSING: pip install {NEEDS[request.param]}")
    return ENGINES[request.param](market, tmp_path_factory.mktemp("tables"))


def test_the_cases_are_all_there_is():
    functions = {name for name in engine.__all__ if name.islower() and name != "connect"}
    assert {name.split(",")[0] for name in CASES} == functions


@pytest.mark.parametrize("case", CASES)
def test_another_engine_gives_exactly_the_same_rows(case, elsewhere, market, expected):
    found = CASES[case](*elsewhere, market)
    assert len(found) > 0
    pd.testing.assert_frame_equal(found, expected[case], check_exact=True)


def test_a_warehouse_with_names_of_its_own_serves_every_stage(market, tmp_path):
    """Daily lines and returns under other names, in SQLite: netted there to the market's own sales."""
    sales, baskets = ENGINES["SQLite"](market, tmp_path)
    daily = sales.mutate(filiale=sales.store_id, tag=sales.period, stueck=sales.units).drop(
        "store_id", "period", "units"
    )
    returned = daily.mutate(stueck=-daily.stueck, revenue=-daily.revenue)
    twice = ibis.union(ibis.union(daily, daily), returned)
    names = {"store_id": "filiale", "period": "tag", "units": "stueck"}
    there = dataclasses.replace(
        market, sales=warehouse_sales(twice, names), baskets=warehouse_baskets(baskets)
    )
    keys = ("store_id", "sku")
    for window in (None, ("2023-02-06", "2023-03-06")):
        pd.testing.assert_frame_equal(
            engine.sales_by_period(there.sales, keys, window),
            engine.sales_by_period(market.sales, keys, window),
        )
    pd.testing.assert_frame_equal(
        engine.customer_totals(there.baskets, market.products),
        engine.customer_totals(market.baskets, market.products),
    )
    months = engine.sales_by_period(warehouse_sales(twice, names, "month"), ())
    assert months["period"].dt.day.eq(1).all() and months["units"].sum() == market.sales.units.sum().execute()


@pytest.mark.parametrize("case", [name for name in CASES if name.endswith(", to a file")])
def test_a_file_holds_the_rows_of_the_frame(case, expected):
    pd.testing.assert_frame_equal(
        expected[case], expected[case.removesuffix(", to a file")], check_exact=True
    )


def test_a_file_that_could_not_be_written_whole_leaves_the_old_one(market, tmp_path):
    file = tmp_path / "sales.parquet"
    file.write_text("what was there")
    sales = sales_table(
        pd.DataFrame({"store_id": ["1", "2"], "sku": "a", "period": "2024-01-01", "units": 1, "revenue": 1})
    )
    broken = sales.mutate(revenue=sales.sku.cast("decimal(18, 2)"))
    with pytest.raises(TableError, match="Look for extreme units"):
        engine.sales_by_period(broken, ("sku",), file=file)
    assert file.read_text() == "what was there" and list(tmp_path.iterdir()) == [file]


def test_what_cancels_out_in_the_warehouse_is_no_sale(market, tmp_path):
    sales, _ = ENGINES["SQLite"](market, tmp_path)
    back = sales.mutate(units=-sales.units, revenue=-sales.revenue)
    assert engine.sales_by_period(warehouse_sales(ibis.union(sales, back)), ("sku",)).empty


def test_a_warehouse_table_that_does_not_fit_is_refused(market):
    sales = market.sales
    with pytest.raises(TableError, match=r"sales: no column 'umsatz'.*columns=\{\"revenue\""):
        warehouse_sales(sales, {"revenue": "umsatz"})
    with pytest.raises(TableError, match=r"sales: column 'units' holds float64; expected int64"):
        warehouse_sales(sales.mutate(units=sales.units.cast("float64")))
    with pytest.raises(TableError, match=r"baskets: column 'basket_id' holds string; expected int64"):
        warehouse_baskets(market.baskets.mutate(basket_id=market.baskets.basket_id.cast("string")))
