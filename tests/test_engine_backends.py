"""The same expressions on engines of other kinds: the rows DuckDB gives, to the last digit. Spark has its own test."""

from __future__ import annotations

import importlib

import pandas as pd
import pytest
from engine_cases import CASES, ENGINES, cases_market

from geomarket import engine

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
