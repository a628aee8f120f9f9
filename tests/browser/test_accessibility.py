"""Read by axe-core: pages of stores and clusters; the report itself is read in test_markets_browser."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import report_fixture
from browser_reading import findings, read, running_browser

from geomarket.report import write_pages

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with running_browser() as browser:
        yield browser


def test_pages_of_stores_and_clusters(browser, tmp_path):
    plan = report_fixture.make_plan(radius_km=3.0, n_stores=3, n_clusters=1, skus_per_category=3)
    for path in write_pages(plan, tmp_path / "pages")[:3]:
        assert read(browser, path, "phone", "light") == []


def test_axe_is_awake(browser, tmp_path):
    page = browser.new_page()
    page.set_content("<main><img src='data:,'><button></button></main>")
    assert {line.split(":")[0] for line in findings(page)} >= {"image-alt", "button-name"}
    page.close()
