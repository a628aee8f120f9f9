"""Opens pages in headless Chromium, uses every control, and lets axe-core read them."""

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


USE_EVERY_CONTROL = """() => {
  const app = document.querySelector("#map-app").mapApp;
  const all = (selector) => [...document.querySelectorAll(selector)];
  const problems = [];
  const thumb = document.createElement("canvas");
  [thumb.width, thumb.height] = [64, 64];
  const pen = thumb.getContext("2d", { willReadFrequently: true });
  const painted = (layer) => {
    pen.clearRect(0, 0, 64, 64);
    pen.drawImage(document.querySelector(`.map-${layer}`), 0, 0, 64, 64);
    return pen.getImageData(0, 0, 64, 64).data.filter((_, k) => k % 4 === 3).filter(Boolean).length;
  };
  const expect = (holds, what) => holds || problems.push(what);
  const choose = (field, value) => {
    field.value = value;
    field.dispatchEvent(new Event("change", { bubbles: true }));
  };
  const card = document.querySelector("[data-map=card]");
  const colour = document.querySelector("[data-map=colour]");
  for (const { value } of colour.options) {
    choose(colour, value);
    expect(painted("hexes") > 200, `coloured by ${value}: little is painted`);
  }
  choose(colour, colour.options[0].value);
  const whole = painted("hexes");
  all("[data-map=legend] button").forEach((entry) => entry.click());
  expect(painted("hexes") === 0, "the legend hides no hexagons");
  all("[data-map=legend] button").forEach((entry) => entry.click());
  expect(painted("hexes") === whole, "the legend does not bring hexagons back");
  for (const box of all("[data-map=layers] input")) {
    box.click();
    box.click();
  }
  expect(painted("marks") > 0, "no marker is painted");
  ["in", "out", "fit"].forEach((name) => document.querySelector(`[data-map=${name}]`).click());
  choose(document.querySelector("[data-map=search]"), app.stores[0].id);
  expect(!card.hidden && card.textContent.includes(app.stores[0].name), "search finds no store");
  card.querySelectorAll("input").forEach((box) => box.click());
  card.querySelector("button").click();
  expect(card.hidden, "the card stays open");
  all("[data-show-type], [data-show-trial], th button").forEach((button) => button.click());
  app.showOnly(null);
  app.view.fit(app.data.bounds);
  app.view.paint();
  all("details").forEach((fold) => (fold.open = true));
  expect(document.documentElement.scrollWidth <= innerWidth, "the page is wider than its window");
  document.documentElement.style.scrollBehavior = "auto";
  app.box.scrollIntoView({ block: "center" });
  const [px, py] = app.view.toPixel(app.stores[0].x, app.stores[0].y);
  const { left, top } = app.box.getBoundingClientRect();
  return { problems, spot: [left + px, top + py], name: app.stores[0].name };
}"""


def use(browser: Any, path: Path, *, thorough: bool = False) -> list[str]:
    """Open a report at every size, light and dark, and use all of it; return what was wrong, and where.

    Wrong is a request, a message, a map that is not painted, a control that does nothing, a serious finding of
    axe-core. Dark colours are read by axe-core on a desktop only, unless ``thorough``: they are the same at every size.
    """
    wrong = []
    for size, (width, height) in SIZES.items():
        context = browser.new_context(viewport={"width": width, "height": height}, has_touch=size == "phone")
        page = context.new_page()
        heard: list[str] = []
        page.on("console", lambda message, heard=heard: heard.append(f"{message.type}: {message.text}"))
        page.on("pageerror", lambda error, heard=heard: heard.append(f"error: {error}"))
        page.on("request", lambda request, heard=heard: heard.append(f"request: {request.url}"))
        page.goto(path.as_uri())
        page.wait_for_selector("#map-app[data-ready=true]", timeout=30_000)
        if heard.pop(0) != f"request: {path.as_uri()}":
            heard.append("the page itself was not asked for first")
        for scheme in ("light", "dark"):
            page.emulate_media(color_scheme=scheme)
            found = page.evaluate(USE_EVERY_CONTROL)
            (page.touchscreen.tap if size == "phone" else page.mouse.click)(*found["spot"])
            if found["name"] not in page.locator("[data-map=card]").inner_text():
                found["problems"].append("a click on a store shows no card")
            read_now = thorough or scheme == "light" or size == "desktop"
            lines = [*found["problems"], *heard, *(findings(page) if read_now else [])]
            wrong += [f"{size}, {scheme}: {line}" for line in lines]
            heard.clear()
        context.close()
    return wrong
