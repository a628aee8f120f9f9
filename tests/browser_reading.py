"""Opens pages in headless Chromium and lets axe-core read them."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run"]
SIZES = {"desktop": (1280, 900), "tablet": (820, 1100), "phone": (390, 844)}
SERIOUS = {"serious", "critical"}


@contextmanager
def running_browser() -> Iterator[Any]:
    playwright = pytest.importorskip(
        "playwright.sync_api", reason="browser tests need playwright (geomarket[browser])"
    )
    if CHROMIUM is None:
        pytest.skip("browser tests need Chromium: no chromium or google-chrome on PATH")
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


def findings(page: Any) -> list[str]:
    """What axe-core finds serious, as one line each: rule, element, what is wrong."""
    axe = pytest.importorskip(
        "axe_playwright_python.sync_playwright", reason="browser tests need axe-core (geomarket[browser])"
    )
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
