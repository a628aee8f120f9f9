"""Reports of ordinary and odd markets at every size, light and dark: painted, every control, quiet, accessible."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import report_fixture
from browser_reading import running_browser, use

import geomarket
from geomarket.market import parse_settings
from geomarket.planning import DEMO_SETTINGS, run_plan
from geomarket.report import write_report

pytestmark = pytest.mark.browser
SMALL = {"radius_km": 3.0, "n_stores": 4, "n_clusters": 2, "skus_per_category": 3}
MARKETS: dict[str, dict[str, Any]] = {
    "one store": {"n_stores": 1, "n_clusters": 1},
    "no customers": {"customers": False, "promotions": False, "catchments": False, "n_competitors": 0},
    "antimeridian": {"centre": (179.98, -16.5)},
}


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with running_browser() as browser:
        yield browser


@pytest.mark.parametrize("market", list(MARKETS))
def test_odd_markets(browser, market, tmp_path):
    plan = report_fixture.make_plan(**{**SMALL, **MARKETS[market]})
    assert use(browser, write_report(plan, tmp_path / "report.html")) == []


def test_a_planned_market(browser, tmp_path):
    market = geomarket.simulate_market(n_customers=900, n_stores=8, n_skus=40, weeks=30)
    plan = run_plan(market, parse_settings(DEMO_SETTINGS["simulated"]))
    assert plan.skipped == {}
    assert use(browser, write_report(plan, tmp_path / "report.html"), thorough=True) == []
