"""The report read by axe-core: no serious finding at any size, light or dark, on ordinary and odd markets."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import report_fixture

from geomarket.report import write_pages, write_report

pytestmark = pytest.mark.browser
playwright = pytest.importorskip(
    "playwright.sync_api", reason="browser tests need playwright (geomarket[browser])"
)
axe = pytest.importorskip(
    "axe_playwright_python.sync_playwright", reason="browser tests need axe-core (geomarket[browser])"
)

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run"]
SIZES = {"desktop": (1280, 900), "tablet": (820, 1100), "phone": (390, 844)}
SERIOUS = {"serious", "critical"}
MARKETS: dict[str, dict[str, Any]] = {
    "ordinary": {},
    "one store": {"n_stores": 1, "n_clusters": 1},
    "bare": {"customers": False, "promotions": False, "catchments": False, "n_competitors": 0},
    "antimeridian": {"centre": (179.98, -16.5)},
}


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    if CHROMIUM is None:
        pytest.skip("browser tests need Chromium: no chromium or google-chrome on PATH")
    with playwright.sync_playwright() as started:
        running = started.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield running
        running.close()


@pytest.fixture(scope="module")
def reports(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("reports")
    small = {"radius_km": 3.0, "n_stores": 4, "n_clusters": 2, "skus_per_category": 3}
    return {
        name: write_report(report_fixture.make_plan(**{**small, **options}), folder / f"{number}.html")
        for number, (name, options) in enumerate(MARKETS.items())
    }


def findings(page: Any) -> list[str]:
    """What axe-core finds serious, as one line each: rule, element, what is wrong."""
    found = axe.Axe().run(page, options={"resultTypes": ["violations"]}).response["violations"]
    return [
        f"{rule['id']}: {node['html'][:120]} ({node.get('failureSummary', '').splitlines()[-1].strip()})"
        for rule in found
        if rule["impact"] in SERIOUS
        for node in rule["nodes"]
    ]


def read(browser: Any, path: Path, size: str, scheme: str) -> list[str]:
    """Open a page, unfold everything, show a store's card, and hand it to axe-core."""
    width, height = SIZES[size]
    context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=scheme)
    page = context.new_page()
    page.goto(path.as_uri())
    if page.locator("#map-app").count():
        page.wait_for_selector("#map-app[data-ready=true]")
        page.evaluate(
            "() => { const app = document.querySelector('#map-app').mapApp; app.selectStore(app.stores[0].id); }"
        )
    page.evaluate("() => document.querySelectorAll('details').forEach((fold) => (fold.open = true))")
    found = findings(page)
    context.close()
    return found


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


@pytest.mark.real
def test_the_report_on_iowa(browser, tmp_path):
    finished = os.environ.get("GEOMARKET_IOWA_REPORT")
    if not finished or not Path(finished).is_file():
        pytest.skip("name a finished report of the Iowa demo in GEOMARKET_IOWA_REPORT")
    for size in SIZES:
        for scheme in ("light", "dark"):
            assert read(browser, Path(finished), size, scheme) == []
