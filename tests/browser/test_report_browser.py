"""The report in a real browser: painted, pointed at, clicked, sorted; no requests, no messages."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import report_fixture

from geomarket.hexes.cells import cell_boundaries, cell_centres, neighbours, parents
from geomarket.hexmap import central_meridian, class_colours, level_world, project
from geomarket.report import write_report
from geomarket.report.map import neighbourhood_key

pytestmark = pytest.mark.browser

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]
SIZES = {"desktop": (1280, 900), "tablet": (820, 1100), "phone": (390, 844)}

playwright = pytest.importorskip(
    "playwright.sync_api", reason="browser tests need playwright (geomarket[browser])"
)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    if CHROMIUM is None:
        pytest.skip("browser tests need Chromium: no chromium or google-chrome on PATH")
    with playwright.sync_playwright() as started:
        running = started.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield running
        running.close()


@pytest.fixture(scope="module")
def plan() -> Any:
    plan = report_fixture.make_plan(radius_km=10.0, n_stores=10, n_clusters=3, skus_per_category=6)
    return report_fixture.add_trial(report_fixture.add_trips(plan))


@pytest.fixture(scope="module")
def report(plan: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_report(plan, tmp_path_factory.mktemp("report") / "report.html")


def open_page(browser: Any, path: Path, size: str = "desktop", **options: Any) -> SimpleNamespace:
    """Open a page; every console message, page error and request is written down."""
    width, height = SIZES[size]
    context = browser.new_context(
        viewport={"width": width, "height": height}, has_touch=size == "phone", **options
    )
    page = context.new_page()
    heard: list[str] = []
    page.on("console", lambda message: heard.append(f"{message.type}: {message.text}"))
    page.on("pageerror", lambda error: heard.append(f"error: {error}"))
    page.on("dialog", lambda dialog: heard.append(f"dialog: {dialog.message}"))
    page.on("request", lambda request: heard.append(f"request: {request.url}"))
    page.goto(path.as_uri())
    page.wait_for_selector("#map-app[data-ready=true]", timeout=30_000)
    assert heard.pop(0) == f"request: {path.as_uri()}"
    # instant jumps, so that positions hold still
    page.evaluate("document.documentElement.style.scrollBehavior = 'auto'")
    page.locator("[data-map=box]").scroll_into_view_if_needed()
    return SimpleNamespace(page=page, heard=heard, close=context.close)


@pytest.fixture(scope="module")
def opened_pages(browser: Any, report: Path) -> Iterator[dict[str, SimpleNamespace]]:
    """One page per size, shared by the tests: opening takes longer than most of them."""
    pages = {size: open_page(browser, report, size) for size in SIZES}
    yield pages
    for opened in pages.values():
        opened.close()


def as_at_first(opened: SimpleNamespace) -> SimpleNamespace:
    opened.page.mouse.move(0, 0)
    opened.page.evaluate(
        """() => {
          const app = document.querySelector("#map-app").mapApp;
          app.selectStore(null);
          app.showOnly(null);
          app.showTrial();
          app.view.fit(app.data.bounds);
          app.view.paint();
          app.box.scrollIntoView({ block: "center" });
        }"""
    )
    return opened


@pytest.fixture(params=list(SIZES))
def shown(
    request: pytest.FixtureRequest, opened_pages: dict[str, SimpleNamespace]
) -> Iterator[SimpleNamespace]:
    opened = as_at_first(opened_pages[request.param])
    yield opened
    assert opened.heard == []


@pytest.fixture
def desktop(opened_pages: dict[str, SimpleNamespace]) -> Iterator[SimpleNamespace]:
    opened = as_at_first(opened_pages["desktop"])
    yield opened
    assert opened.heard == []


def pixels(page: Any, layer: str = "hexes", opaque: bool = True) -> dict[str, int]:
    """Colours of a canvas and how many pixels have them: opaque ones, or all that are not empty."""
    return page.evaluate(
        """([layer, opaque]) => {
          const canvas = document.querySelector(`.map-${layer}`);
          // a copy: reading the map's own canvas again and again makes Chromium complain
          const copy = document.createElement("canvas");
          copy.width = canvas.width;
          copy.height = canvas.height;
          const pen = copy.getContext("2d", { willReadFrequently: true });
          pen.drawImage(canvas, 0, 0);
          const data = new Uint32Array(pen.getImageData(0, 0, copy.width, copy.height).data.buffer);
          const counted = new Map();
          for (const pixel of data) {
            if (opaque ? pixel >>> 24 === 255 : pixel) counted.set(pixel, (counted.get(pixel) ?? 0) + 1);
          }
          const found = {};
          for (const [pixel, count] of counted) {
            const bytes = [0, 8, 16].map((shift) => ((pixel >>> shift) & 255).toString(16).padStart(2, "0"));
            found[`#${bytes.join("")}`] = count;
          }
          return found;
        }""",
        [layer, opaque],
    )


def at_cell(page: Any, i: int) -> tuple[float, float]:
    """Where the centre of a finest cell lies on the screen."""
    x, y = page.evaluate(
        """(i) => {
          const app = document.querySelector("#map-app").mapApp;
          const level = app.levels[0];
          const [px, py] = app.view.toPixel(level.x[i] / level.world, level.y[i] / level.world);
          const box = app.box.getBoundingClientRect();
          return [box.left + px, box.top + py];
        }""",
        i,
    )
    return x, y


def at_store(page: Any, store_id: str) -> tuple[float, float]:
    x, y = page.evaluate(
        """(id) => {
          const app = document.querySelector("#map-app").mapApp;
          const store = app.stores.find((s) => s.id === id);
          const [px, py] = app.view.toPixel(store.x, store.y);
          const box = app.box.getBoundingClientRect();
          return [box.left + px, box.top + py];
        }""",
        store_id,
    )
    return x, y


def lonely_cell(page: Any, plan: Any) -> int:
    """A populated cell in the middle of the market with no marker near it."""
    cells = plan.hexes.table.sort_values("cell", ignore_index=True)
    markers = page.evaluate(
        """() => {
          const app = document.querySelector("#map-app").mapApp;
          return [...app.stores, ...app.rivals.flat()].map((m) => app.view.toPixel(m.x, m.y));
        }"""
    )
    spots = page.evaluate(
        """() => {
          const app = document.querySelector("#map-app").mapApp;
          const level = app.levels[0];
          return Array.from(level.x, (x, i) => app.view.toPixel(x / level.world, level.y[i] / level.world));
        }"""
    )
    spots, markers = np.array(spots), np.array(markers)
    gap = np.sqrt(((spots[:, None] - markers[None]) ** 2).sum(axis=2)).min(axis=1)
    middle = np.hypot(*(spots - spots.mean(axis=0)).T) < 0.6 * np.ptp(spots[:, 1]) / 2
    gap[(cells["population"].to_numpy() <= 0) | ~middle] = 0
    assert gap.max() > 14
    return int(np.argmax(gap))


def test_map_is_painted_in_the_legends_colours(shown, plan):
    found = pixels(shown.page)
    table = plan.neighbourhoods.table
    share = table["supergroup"].value_counts(normalize=True)
    codes = sorted(share.index)
    painted = np.array([found.get(colour.lower(), 0) for colour in class_colours(len(codes))], dtype=float)
    assert painted.sum() > 8_000
    np.testing.assert_allclose(painted / painted.sum(), share[codes].to_numpy(), atol=0.03)


def test_page_fits_its_width(shown):
    wide = shown.page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
    assert wide[0] == wide[1]


def test_tooltip_tells_the_hexagon_under_the_pointer(shown, plan):
    i = lonely_cell(shown.page, plan)
    if shown.page.viewport_size["width"] < 500:
        shown.page.touchscreen.tap(*at_cell(shown.page, i))
    else:
        shown.page.mouse.move(*at_cell(shown.page, i))
    tip = shown.page.locator("[data-map=tip]")
    tip.wait_for(state="visible")
    cells = plan.hexes.table.sort_values("cell", ignore_index=True)
    kind = plan.neighbourhoods.table.set_index("cell").loc[cells["cell"][i]]
    key = neighbourhood_key(plan.neighbourhoods)
    text = tip.inner_text()
    assert key.label(kind["supergroup"]) in text
    assert f"{kind['neighbourhood']} · " in text
    people = int(re.search(r"People\s+([\d,]+)", text)[1].replace(",", ""))
    assert people == pytest.approx(cells["population"][i], rel=0.001, abs=1)
    box, frame = tip.bounding_box(), shown.page.locator("[data-map=box]").bounding_box()
    assert box["x"] >= frame["x"]
    assert box["x"] + box["width"] <= frame["x"] + frame["width"] + 1


def test_a_layer_is_switched_off_and_on(shown):
    page = shown.page
    before = pixels(page)
    page.get_by_label("Hexagons", exact=True).uncheck()
    assert pixels(page) == {}
    page.get_by_label("Hexagons", exact=True).check()
    assert pixels(page) == before
    marks = pixels(page, "marks")
    page.get_by_label("Own stores (10)").uncheck()
    assert sum(pixels(page, "marks").values()) < sum(marks.values())
    page.get_by_label("Own stores (10)").check()
    assert pixels(page, "marks") == marks


def test_colour_by_a_number_and_its_legend(shown, plan):
    page = shown.page
    page.get_by_label("Colour by").select_option("population")
    view = page.evaluate("document.querySelector('#map-app').mapApp.current")
    assert page.locator("[data-map=legend-title]").inner_text() == "People, people a hexagon"
    assert page.locator("[data-map=legend] button").count() == len(view["colours"])
    found = pixels(page)
    population = plan.hexes.table["population"].to_numpy()
    classes = np.bincount(
        np.searchsorted(view["breaks"], population, side="right"), minlength=len(view["colours"])
    )
    painted = np.array([found.get(colour, 0) for colour in view["colours"]], dtype=float)
    np.testing.assert_allclose(painted / painted.sum(), classes / classes.sum(), atol=0.04)


def test_a_legend_entry_hides_its_hexagons(desktop, plan):
    page = desktop.page
    colour = class_colours(5)[1].lower()
    assert pixels(page)[colour] > 500
    entry = page.locator("[data-map=legend] button").nth(1)
    entry.click()
    assert entry.get_attribute("aria-pressed") == "false"
    assert pixels(page).get(colour, 0) == 0
    entry.click()
    assert pixels(page)[colour] > 500


def edges_drawn(page: Any) -> dict[str, list[int]]:
    """How many edges every band of the chosen store's outlines has."""
    return page.evaluate(
        """() => {
          const found = {};
          for (const { source, segments } of document.querySelector("#map-app").mapApp.outline)
            (found[source] ??= []).push(segments.length / 4);
          return found;
        }"""
    )


def readable(inside: set[int], plan: Any) -> set[int]:
    """What the map draws an edge around: small gaps and empty places filled, single hexagons left out."""
    cells = plan.hexes.table["cell"].to_numpy()
    near = neighbours(cells, 1)
    near = near[near["neighbour"].isin(cells) & (near["neighbour"] != near["cell"])]
    empty = plan.neighbourhoods.table.set_index("cell")["supergroup"].isna()
    for _ in range(2):
        touching = near[near["neighbour"].isin(inside)].groupby("cell").size()
        needed = np.where(empty[touching.index], 3, 5)
        inside = inside | set(touching.index[touching.to_numpy() >= needed])
    linked = near[near["cell"].isin(inside) & near["neighbour"].isin(inside)]
    degree = linked.groupby("cell").size()
    paired = linked[linked["cell"].map(degree).eq(1) & linked["neighbour"].map(degree).eq(1)]
    return {cell for cell in inside if cell in degree.index} - set(paired["cell"])


def edges_of(inside: set[int]) -> int:
    """Edges between a cell of a set and one outside."""
    pairs = neighbours(np.array(sorted(inside)), 1)
    return int((~pairs["neighbour"].isin(inside)).sum())


def test_a_clicked_store_shows_its_catchment_and_card(shown, plan):
    page = shown.page
    store = plan.market.stores.iloc[4]
    page.mouse.click(*at_store(page, store["store_id"]))
    card = page.locator("[data-map=card]")
    card.wait_for(state="visible")
    assert store["name"] in card.inner_text()
    assert (
        plan.store_clusters.table.set_index("store_id").loc[store["store_id"], "store_cluster"]
        in card.inner_text()
    )
    drawn = edges_drawn(page)
    for source, areas in (("modelled", plan.catchments.areas), ("observed", plan.catchment_details.observed)):
        mine = areas[areas["store_id"] == store["store_id"]]
        for band in (0.5, 0.7, 0.9):
            inside = readable(set(mine.loc[mine["band"] <= band, "cell"]), plan)
            assert drawn[source].pop(0) == edges_of(inside)
    card.get_by_label("Close the store's card").click()
    assert not card.is_visible()


def test_lines_of_a_store_are_told_apart_and_can_be_hidden(desktop, plan):
    page = desktop.page
    page.get_by_label("Find a store").fill("S003")
    page.keyboard.press("Enter")
    card = page.locator("[data-map=card]")
    seen = page.evaluate("getComputedStyle(document.body).getPropertyValue('--map-observed')").strip()
    both = pixels(page, "marks")
    assert both[seen] > 500
    card.get_by_text("of known customers' trips").click()
    modelled = pixels(page, "marks")
    assert seen not in modelled
    card.get_by_text("of its trade, by the model").click()
    assert modelled["#000000"] > 500 + pixels(page, "marks").get("#000000", 0)
    for source in ("of known customers' trips", "of its trade, by the model"):
        card.get_by_text(source).click()
    assert pixels(page, "marks") == both


def test_stores_of_the_trial_are_framed_and_say_with_whom(desktop, plan):
    page = desktop.page
    pair = plan.experiment.design.pairs.iloc[0]
    names = plan.market.stores.set_index("store_id")["name"]
    for arm, other in (("test", "control"), ("control", "test")):
        count = plan.experiment.design.n_pairs
        label = page.get_by_label(re.compile(f"{arm} stores: .* \\({count}\\)", re.IGNORECASE))
        framed = pixels(page, "marks")
        label.uncheck()
        assert framed["#000000"] > pixels(page, "marks").get("#000000", 0) + 20 * count
        label.check()
        assert pixels(page, "marks") == framed
        page.mouse.move(*at_store(page, pair[arm]))
        said = re.compile(f"{arm}, (changes first|waits until .*), matched with {names[pair[other]]}")
        assert said.search(page.locator("[data-map=tip]").inner_text())
        page.mouse.click(*at_store(page, pair[arm]))
        assert said.search(page.locator("[data-map=card]").inner_text())
        page.evaluate("document.querySelector('#map-app').mapApp.selectStore(null)")
    page.evaluate("document.querySelector('#map-app').mapApp.view.paint()")
    page.get_by_label(re.compile("Test stores")).uncheck()
    page.locator("[data-show-trial]").click()
    assert page.get_by_label(re.compile("Test stores")).is_checked()


def test_a_second_tap_of_a_finger_opens_the_type(opened_pages, plan):
    opened = as_at_first(opened_pages["phone"])
    page = opened.page
    i = lonely_cell(page, plan)
    page.touchscreen.tap(*at_cell(page, i))
    assert page.locator("[data-map=tip]").is_visible()
    card = page.locator("[data-map=card]")
    assert not card.is_visible()
    page.touchscreen.tap(*at_cell(page, i))
    cell = plan.hexes.table.sort_values("cell", ignore_index=True)["cell"][i]
    code = plan.neighbourhoods.table.set_index("cell")["supergroup"][cell]
    assert plan.neighbourhoods.types.set_index("code")["portrait"][code] in card.inner_text()
    # the card stands below the map, which stays in sight
    frame = page.locator("[data-map=box]").bounding_box()
    assert card.bounding_box()["y"] >= frame["y"] + frame["height"] - 1
    assert opened.heard == []


def test_keys_point_choose_and_close(desktop, plan):
    page = desktop.page
    page.locator("[data-map=box]").focus()
    page.keyboard.press("+")
    status = page.locator("[data-map=status]")
    assert re.search("Type: . · .*; Group: .*; People: ", status.inner_text())
    page.keyboard.press("Enter")
    card = page.locator("[data-map=card]")
    assert card.is_visible()
    page.keyboard.press("Tab")
    for _ in range(3):  # past the map's own buttons
        page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.closest('[data-map=card]') !== null")
    page.keyboard.press("Escape")
    assert not card.is_visible()
    assert page.evaluate("document.activeElement.dataset.map") == "box"
    store = plan.market.stores.iloc[2]
    page.evaluate(
        """(id) => {
          const app = document.querySelector("#map-app").mapApp;
          const store = app.stores.find((s) => s.id === id);
          app.view.show(store.x, store.y, app.view.scale * 3);
          app.view.paint();
        }""",
        store["store_id"],
    )
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowLeft")
    assert store["name"] in status.inner_text()
    page.keyboard.press("Enter")
    assert store["name"] in card.inner_text()


def test_every_colouring_paints_its_legend(desktop):
    page = desktop.page
    style = "getComputedStyle(document.body).getPropertyValue"
    shades = [page.evaluate(f"{style}('--map-nodata{part}')").strip() for part in ("", "-line")]
    for key in page.evaluate("document.querySelector('#map-app').mapApp.data.views.map((view) => view.key)"):
        page.get_by_label("Colour by").select_option(key)
        legend = page.evaluate("document.querySelector('#map-app').mapApp.current")
        entries = page.locator("[data-map=legend] button").all_inner_texts()
        expected = legend["names"] if legend["kind"] == "class" else legend["classLabels"][::-1]
        assert entries == expected + ([legend["missingLabel"]] if legend["missing"] else [])
        found = pixels(page)
        assert sum(found.get(colour.lower(), 0) for colour in legend["colours"]) > 8_000
        plain = {colour for colour, count in found.items() if count > 200}
        others = plain - {colour.lower() for colour in legend["colours"]}
        assert all(is_hatch(colour, shades) for colour in others)


def is_hatch(colour: str, shades: list[str]) -> bool:
    """Whether a colour lies between the two of the "no data" hatch."""
    return all(
        min(part) <= int(colour[k : k + 2], 16) <= max(part)
        for k in (1, 3, 5)
        for part in [[int(shade[k : k + 2], 16) for shade in shades]]
    )


def test_every_layer_can_be_hidden_and_shown(desktop):
    page = desktop.page
    boxes = page.locator("[data-map=layers] input")
    layers = ("grid", "hexes", "marks")

    def drawn() -> dict[str, dict[str, int]]:
        return {layer: pixels(page, layer, opaque=False) for layer in layers}

    whole = drawn()
    assert boxes.count() >= 8
    for k in range(boxes.count()):
        boxes.nth(k).uncheck()
        assert drawn() != whole
        boxes.nth(k).check()
    assert drawn() == whole


def test_a_clicked_hexagon_shows_its_type_and_all_of_it(desktop, plan):
    page = desktop.page
    i = lonely_cell(page, plan)
    spot = at_cell(page, i)
    page.mouse.click(*spot)
    card = page.locator("[data-map=card]")
    card.wait_for(state="visible")
    cell = plan.hexes.table.sort_values("cell", ignore_index=True)["cell"][i]
    table = plan.neighbourhoods.table.set_index("cell")
    code = table["supergroup"][cell]
    portrait = plan.neighbourhoods.types.set_index("code")["portrait"][code]
    assert portrait in card.inner_text()
    assert card.locator("a").get_attribute("href") == f"#type-{code}"
    members = table.index[table["supergroup"] == code].to_numpy()
    pairs = neighbours(members, 1)
    drawn = page.evaluate("document.querySelector('#map-app').mapApp.outline[0].segments.length / 4")
    assert drawn == (~pairs["neighbour"].isin(set(members))).sum()
    page.mouse.click(*spot)
    assert not card.is_visible()


def test_a_store_is_found_by_name(desktop, plan):
    page = desktop.page
    store = plan.market.stores.iloc[7]
    page.get_by_label("Find a store").fill(store["name"][:-2])
    page.keyboard.press("Enter")
    page.locator("[data-map=card]").wait_for(state="visible")
    found = page.evaluate("document.querySelector('#map-app').mapApp.store")
    assert found["name"].startswith(store["name"][:-2])
    # its whole catchment is in sight
    corners = page.evaluate(
        """() => {
          const { view, outline } = document.querySelector("#map-app").mapApp;
          const far = outline.at(-1).segments;
          const spots = [];
          for (let k = 0; k < far.length; k += 2) spots.push(view.toPixel(far[k], far[k + 1]));
          return { spots, width: view.width, height: view.height };
        }"""
    )
    x, y = np.array(corners["spots"]).T
    assert x.min() >= 0
    assert x.max() <= corners["width"]
    assert y.min() >= 0
    assert y.max() <= corners["height"]


def test_a_table_is_sorted_by_number_and_back(shown, plan):
    table = shown.page.locator("#monday table").first
    table.scroll_into_view_if_needed()
    heads = table.locator("th button")

    def column(k: int) -> list[str]:
        return table.locator(f"tbody td:nth-child({k + 1})").all_inner_texts()

    heads.nth(3).click()
    rising = [int(value) for value in column(3)]
    assert rising == sorted(rising)
    assert table.locator("th").nth(3).get_attribute("aria-sort") == "ascending"
    heads.nth(3).click()
    assert [int(value) for value in column(3)] == sorted(rising, reverse=True)
    heads.nth(0).click()
    names = dict(zip(plan.market.stores["store_id"], plan.market.stores["name"]))
    assert [text.split("\n")[0] for text in column(0)] == sorted(names.values())
    heads.nth(1).click()
    assert column(1) == sorted(plan.store_clusters.table["store_cluster"])
    assert table.locator("th[aria-sort]").count() == 1


def test_wheel_drag_and_keys_move_the_map(desktop):
    page = desktop.page
    box = page.locator("[data-map=box]").bounding_box()
    middle = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2

    def state() -> dict[str, float]:
        return page.evaluate(
            "(({view}) => ({x: view.x, y: view.y, scale: view.scale}))(document.querySelector('#map-app').mapApp)"
        )

    page.wait_for_timeout(400)
    start = state()
    page.mouse.move(*middle)
    page.mouse.wheel(0, -300)
    page.wait_for_function(
        "(s) => document.querySelector('#map-app').mapApp.view.scale > s * 1.2", arg=start["scale"]
    )
    zoomed = state()
    # what was under the pointer stays under it
    assert zoomed["x"] == pytest.approx(start["x"], abs=2 / zoomed["scale"])
    page.mouse.down()
    page.mouse.move(middle[0] - 120, middle[1] - 40, steps=4)
    page.mouse.up()
    dragged = state()
    assert (dragged["x"] - zoomed["x"]) * zoomed["scale"] == pytest.approx(120, abs=6)
    page.locator("[data-map=box]").focus()
    page.keyboard.press("ArrowRight")
    assert state()["x"] > dragged["x"]
    page.keyboard.press("-")
    assert state()["scale"] < dragged["scale"]
    page.keyboard.press("0")
    assert state()["scale"] == pytest.approx(start["scale"])
    # the buttons lie over the hexagons
    for name, compare in (("Zoom in", 1.6), ("Zoom out", 1.0)):
        page.get_by_label(name).click()
        assert state()["scale"] == pytest.approx(compare * start["scale"])
    page.wait_for_timeout(200)
    page.get_by_label("Zoom in").click()
    page.get_by_label("Show the whole market").click()
    assert state()["scale"] == pytest.approx(start["scale"])
    page.wait_for_timeout(300)
    assert sum(pixels(page).values()) > 10_000


def test_page_can_be_read_past_the_map(desktop):
    page = desktop.page
    page.evaluate("window.scrollTo(0, 0)")
    page.mouse.move(400, 500)
    scale = page.evaluate("document.querySelector('#map-app').mapApp.view.scale")
    for _ in range(12):
        page.mouse.wheel(0, 150)
        page.wait_for_timeout(40)
    assert page.evaluate("window.scrollY") > 1500
    assert page.evaluate("document.querySelector('#map-app').mapApp.view.scale") == scale


def test_browser_decodes_what_python_packed(desktop, plan):
    found = desktop.page.evaluate(
        """() => {
          const level = document.querySelector("#map-app").mapApp.levels[0];
          return { x: [...level.x], y: [...level.y], corners: [...level.corners], income: [...level.values.income] };
        }"""
    )
    cells = np.sort(plan.hexes.table["cell"].to_numpy())
    meridian = central_meridian(plan.hexes.table["lon"].to_numpy())
    world = level_world(8)
    x, y = project(*cell_centres(cells), meridian, world)
    assert np.abs(np.array(found["x"]) - x).max() <= 0.63
    assert np.abs(np.array(found["y"]) - y).max() <= 0.63
    corners = cell_boundaries(cells)[0]
    cx, _ = project(corners[..., 0], corners[..., 1], meridian, world)
    offsets = np.array(found["corners"]).reshape(-1, 6, 2)[..., 0]
    assert np.abs(np.array(found["x"])[:, None] + offsets - cx).max() <= 1.2
    income = plan.hexes.table.sort_values("cell")["income"].to_numpy()
    step = next(
        c["step"]
        for c in desktop.page.evaluate("document.querySelector('#map-app').mapApp.data.hexes.columns")
        if c["name"] == "income"
    )
    assert step <= np.ptp(income[np.isfinite(income)]) / 200
    np.testing.assert_allclose(np.array(found["income"], dtype=float), income, atol=0.51 * step)


def test_zoomed_out_hexagons_say_they_are_summaries(desktop):
    page = desktop.page
    least = page.evaluate("document.querySelector('#map-app').mapApp.view.minScale")
    page.evaluate(
        """() => {
          const { view } = document.querySelector("#map-app").mapApp;
          view.minScale = 0;
          view.scale /= 30;
          view.paint();
        }"""
    )
    app = "document.querySelector('#map-app').mapApp"
    assert page.evaluate(f"{app}.level.resolution") < 8
    assert page.locator("[data-map=summary]").is_visible()
    assert "sums up about" in page.locator("[data-map=summary]").inner_text()
    found = pixels(page)
    assert any(colour.lower() in found for colour in class_colours(5))
    page.evaluate(f"{app}.view.minScale = {least}")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_light_and_dark(browser, report, scheme):
    opened = open_page(browser, report, color_scheme=scheme)
    ground = opened.page.evaluate("getComputedStyle(document.body).backgroundColor")
    red = int(ground.removeprefix("rgb(").split(",")[0])
    assert red > 200 if scheme == "light" else red < 60
    assert opened.heard == []
    opened.close()


def test_reader_changes_to_dark_while_reading(desktop):
    before = pixels(desktop.page, "grid")
    desktop.page.emulate_media(color_scheme="dark")
    desktop.page.wait_for_timeout(200)
    after = pixels(desktop.page, "grid")
    desktop.page.emulate_media(color_scheme="light")
    assert max(before, key=before.get) != max(after, key=after.get)


def test_paper_gets_the_map(desktop):
    page = desktop.page
    page.evaluate("window.dispatchEvent(new Event('beforeprint'))")
    assert page.evaluate("document.querySelector('.map-hexes').width") == 2 * 690
    assert sum(pixels(page).values()) > 30_000
    page.evaluate("window.dispatchEvent(new Event('afterprint'))")
    assert page.evaluate("document.querySelector('.map-hexes').width") != 2 * 690
    pdf = page.pdf(format="A4")
    assert pdf.startswith(b"%PDF")
    assert len(pdf) > 50_000
    # a canvas that was cleared by a stroke would be printed as a mask (with a transfer function) over its page
    assert re.search(rb"/TR \d+ 0 R", pdf) is None


def test_hostile_names_are_only_text(browser, tmp_path):
    plan = report_fixture.make_plan(radius_km=3.0, n_stores=3, n_clusters=1, skus_per_category=3)
    evil = "<script>alert(1)</script><img src=x onerror=alert(2)>\"'"
    for frame in (
        plan.market.stores,
        plan.market.competitors,
        plan.market.boundaries,
        plan.neighbourhoods.types,
    ):
        frame["name"] = evil
    plan.market.competitors["chain"] = evil
    opened = open_page(browser, write_report(plan, tmp_path / "report.html"))
    page = opened.page
    page.mouse.click(*at_store(page, "S002"))
    page.locator("[data-map=card]").wait_for(state="visible")
    assert evil in page.locator("[data-map=card] h3").inner_text()
    page.mouse.move(*at_store(page, "S001"))
    assert evil in page.locator("[data-map=tip]").inner_text()
    assert page.locator("img").count() == 0
    assert opened.heard == []
    opened.close()


def test_neighbourhood_and_store_buttons_lead_to_the_map(desktop, plan):
    page = desktop.page
    page.locator("[data-show-type='2']").click()
    found = pixels(page)
    colours = [colour.lower() for colour in class_colours(5)]
    assert found[colours[2]] > 500
    assert not any(found.get(colour) for k, colour in enumerate(colours) if k != 2)
    page.evaluate("document.querySelectorAll('details').forEach((d) => (d.open = true))")
    page.locator("a[href='#store-S003']").click()
    assert plan.market.stores["name"][2] in page.locator("[data-map=card]").inner_text()


APP = "document.querySelector('#map-app').mapApp"


def test_an_address_leads_to_what_was_on_the_map(browser, report, plan):
    opened = open_page(browser, report)
    page = opened.page
    assert page.evaluate("location.hash") == ""
    page.get_by_label("Colour by").select_option("income")
    page.locator("[data-map=box]").focus()
    page.keyboard.press("+")
    page.keyboard.press("ArrowRight")
    page.get_by_label("Find a store").fill("S004")
    page.keyboard.press("Enter")
    page.wait_for_function("() => location.hash.includes('store=S004')")
    page.wait_for_timeout(600)
    shown = page.evaluate(f"({{x: {APP}.view.x, y: {APP}.view.y, scale: {APP}.view.scale}})")
    address = page.evaluate("location.hash")
    assert "by=income" in address
    opened.close()

    context = browser.new_context(viewport=dict(zip(("width", "height"), SIZES["desktop"])))
    again = context.new_page()
    again.goto(report.as_uri() + address)
    again.wait_for_selector("#map-app[data-ready=true]")
    again.wait_for_function(f"() => {APP}.store !== null")
    assert again.evaluate(f"{APP}.current.key") == "income"
    assert again.evaluate(f"{APP}.store.id") == "S004"
    for axis, value in shown.items():
        assert again.evaluate(f"{APP}.view.{axis}") == pytest.approx(
            value, rel=0.005 if axis == "scale" else 1e-6
        )
    assert again.evaluate("Math.abs(document.querySelector('#map').getBoundingClientRect().top)") < 900
    context.close()


def test_a_link_to_a_store_opens_its_card_and_nonsense_is_ignored(browser, report, plan):
    context = browser.new_context(viewport=dict(zip(("width", "height"), SIZES["desktop"])))
    page = context.new_page()
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto(report.as_uri() + "#store-S006")
    page.wait_for_selector("#map-app[data-ready=true]")
    page.locator("[data-map=card]").wait_for(state="visible")
    assert plan.market.stores["name"][5] in page.locator("[data-map=card]").inner_text()
    for nonsense in ("#store-none", "#map=a,b,c", "#map=51&by=<b>", "#store-%E0%A4%A"):
        page.goto(report.as_uri() + nonsense)
        page.wait_for_selector("#map-app[data-ready=true]")
    assert errors == []
    context.close()


def test_coarser_hexagons_sum_up_the_finest(desktop, plan):
    found = desktop.page.evaluate(
        f"""() => {{
          const level = {APP}.levels[1];
          const values = {{}};
          for (const name of ["supergroup", "income", "population"]) values[name] = [...level.values[name]];
          return {{ values, children: [...level.children] }};
        }}"""
    )
    cells = plan.hexes.table.merge(plan.neighbourhoods.table[["cell", "supergroup"]], on="cell")
    cells["parent"] = parents(cells["cell"].to_numpy(), 7)
    sizes = cells.groupby("parent").size()
    assert found["children"] == sizes.tolist()
    people = cells.groupby("parent")["population"].mean()
    assert np.array(found["values"]["population"]) == pytest.approx(people.to_numpy(), rel=0.005, abs=0.5)
    known = cells.dropna(subset=["income"])
    held = known.assign(product=known["income"] * known["population"]).groupby("parent")[
        ["product", "population"]
    ]
    income = (held.sum()["product"] / held.sum()["population"]).reindex(sizes.index).to_numpy()
    seen = np.array([np.nan if v is None else v for v in found["values"]["income"]], dtype=float)
    np.testing.assert_allclose(seen, income, rtol=0.01)
    mass = known.groupby(["parent", "supergroup"])["population"].sum().unstack(fill_value=0.0)
    clear = mass[(mass.max(axis=1) > 1.02 * mass.apply(lambda row: row.nlargest(2).iloc[-1], axis=1))]
    codes = neighbourhood_key(plan.neighbourhoods).codes
    best = dict(zip(sizes.index, found["values"]["supergroup"]))
    assert [codes[best[parent]] for parent in clear.index] == clear.idxmax(axis=1).tolist()
    assert len(clear) > 0.9 * len(mass)


def tiled(tmp_path: Path) -> Path:
    plan = report_fixture.make_plan(radius_km=4.0, n_stores=3, n_clusters=1, skus_per_category=3)
    settings = plan.settings.report.model_copy(
        update={"online_tiles": True, "tile_url": "https://tiles.example/{z}/{x}/{y}.png"}
    )
    plan.settings = plan.settings.model_copy(update={"report": settings})
    return write_report(plan, tmp_path / "report.html")


TILE = (
    b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR\x00\x00\x00\x01\x00\x00\x00\x01\x08\x02\x00\x00\x00\x90wS\xde"
    b"\x00\x00\x00\x0cIDATx\x9cc\xf8\xcf\xc0\x00\x00\x03\x01\x01\x00\xc9\xfe\x92\xef\x00\x00\x00\x00IEND\xaeB`\x82"
)


def test_online_tiles_come_only_when_asked_for_and_from_one_server(browser, tmp_path):
    path = tiled(tmp_path)
    opened = open_page(browser, path)
    page = opened.page
    page.route("https://tiles.example/**", lambda route: route.fulfill(body=TILE, content_type="image/png"))
    assert opened.heard == []
    box = page.get_by_label("Online map (asks its server for tiles)")
    assert not box.is_checked()
    box.check()
    page.wait_for_function(f"() => {APP}.tiles.loaded > 3")
    asked = [line for line in opened.heard if line.startswith("request: ")]
    assert asked
    assert all(line.startswith("request: https://tiles.example/") for line in asked)
    assert [line for line in opened.heard if not line.startswith("request: ")] == []
    assert "OpenStreetMap contributors" in page.locator(".map-credit").inner_text()
    # another server is beyond the page's policy
    page.evaluate("new Image().src = 'https://other.example/a.png'")
    page.wait_for_timeout(200)
    assert any("Content Security Policy" in line for line in opened.heard)
    opened.close()


def test_an_online_map_out_of_reach_is_withdrawn(browser, tmp_path):
    opened = open_page(browser, tiled(tmp_path))
    page = opened.page
    page.route("https://tiles.example/**", lambda route: route.abort())
    for _ in range(2):  # a second try fails no less quietly
        # click, not check: the box goes back by itself
        page.get_by_label("Online map (asks its server for tiles)").click()
        page.wait_for_function(f"() => !{APP}.shown.tiles")
    assert not page.get_by_label("Online map (asks its server for tiles)").is_checked()
    assert "can't be reached" in page.locator("[data-map=status]").inner_text()
    assert sum(pixels(page).values()) > 10_000
    opened.close()
