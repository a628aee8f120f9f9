"""The report read by axe-core: no serious finding at any size, light or dark, on ordinary and odd markets."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import report_fixture
from browser_reading import SIZES, findings, read, running_browser

from geomarket.report import write_pages, write_report

pytestmark = pytest.mark.browser
MARKETS: dict[str, dict[str, Any]] = {
    "ordinary": {},
    "one store": {"n_stores": 1, "n_clusters": 1},
    "bare": {"customers": False, "promotions": False, "catchments": False, "n_competitors": 0},
    "antimeridian": {"centre": (179.98, -16.5)},
}


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with running_browser() as browser:
        yield browser


@pytest.fixture(scope="module")
def reports(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("reports")
    small = {"radius_km": 3.0, "n_stores": 4, "n_clusters": 2, "skus_per_category": 3}
    return {
        name: write_report(report_fixture.make_plan(**{**small, **options}), folder / f"{number}.html")
        for number, (name, options) in enumerate(MARKETS.items())
    }


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", list(SIZES))
def test_an_ordinary_report(browser, reports, size, scheme):
    assert read(browser, reports["ordinary"], size, scheme) == []


@pytest.mark.parametrize("market", [name for name in MARKETS if name != "ordinary"])
def test_odd_markets(browser, reports, market):
    assert read(browser, reports[market], "desktop", "light") == []


def test_pages_of_stores_and_clusters(browser, tmp_path):
    plan = report_fixture.make_plan(radius_km=3.0, n_stores=3, n_clusters=1, skus_per_category=3)
    for path in write_pages(plan, tmp_path / "pages")[:3]:
        assert read(browser, path, "phone", "light") == []


def test_axe_is_awake(browser, tmp_path):
    page = browser.new_page()
    page.set_content("<main><img src='data:,'><button></button></main>")
    assert {line.split(":")[0] for line in findings(page)} >= {"image-alt", "button-name"}
    page.close()
