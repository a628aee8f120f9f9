"""The hexagon painter inside a Leaflet map, with a stand-in for the few parts of Leaflet it calls.

Leaflet itself comes from a network in folium's pages, so it isn't here; the stand-in has the same calls with the
same meaning, for a map that doesn't move.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from geomarket.hexes.cells import cell_centres, neighbours, points_to_cells
from geomarket.hexmap import (
    HexColumn,
    as_script_json,
    asset_text,
    bundle,
    class_colours,
    class_view,
    encode_hexes,
    format_for,
    number_view,
    project,
)

pytestmark = pytest.mark.browser
playwright = pytest.importorskip(
    "playwright.sync_api", reason="browser tests need playwright (geomarket[browser])"
)

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run"]
ZOOM, SIZE = 12, 600
STAND_IN = """
const point = (x, y) => ({ x, y });
const handlers = {};
const container = document.querySelector("#map");
const scale = 256 * 2 ** ZOOM;
const origin = point(Math.round(CENTRE[0] * scale - SIZE / 2), Math.round(CENTRE[1] * scale - SIZE / 2));
const map = {
  getZoom: () => ZOOM,
  getPixelOrigin: () => origin,
  getContainer: () => container,
  project: (place) => place,
  on(names, act) { names.split(" ").forEach((name) => { handlers[name] = act; }); },
};
function Renderer() {}
Renderer.prototype._update = function () {
  this._bounds = { min: point(0, 0), getSize: () => point(SIZE, SIZE) };
};
Renderer.extend = (members) => {
  function Layer() { this._map = map; }
  Layer.prototype = Object.assign(Object.create(Renderer.prototype), members);
  Layer.prototype.fire = () => {};
  Layer.prototype.addTo = function () {
    this._initContainer();
    container.append(this._container);
    this._update();
    return this;
  };
  return Layer;
};
const tip = document.createElement("div");
tip.id = "tip";
const L = {
  Renderer,
  DomUtil: {
    setPosition() {},
    create(tag, name) {
      const element = document.createElement(tag);
      element.className = name;
      return element;
    },
  },
  tooltip: () => ({
    setContent(content) { tip.replaceChildren(content); return this; },
    setLatLng() { return this; },
    addTo() { document.body.append(tip); return this; },
    remove() { tip.remove(); },
  }),
  control: () => ({ addTo() { container.append(this.onAdd()); } }),
};
"""


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> Any:
    if CHROMIUM is None:
        pytest.skip("browser tests need Chromium: no chromium or google-chrome on PATH")
    middle = points_to_cells([4.4], [51.2], 8)
    cells = np.sort(np.append(neighbours(middle, 6)["neighbour"].to_numpy(), middle))
    kind = np.where(np.arange(len(cells)) % 3 == 0, 0, 1)
    kind[5] = -1
    people = np.arange(len(cells), dtype=float)
    packed = encode_hexes(cells, [HexColumn("kind", kind, "class"), HexColumn("people", people, "sum")])
    views = [
        class_view("kind", "Kind", ["A · <b>", "B"], class_colours(2), missing=1),
        number_view("people", "People", people, format_for("count", "people", people)),
    ]
    x, y = project([4.4], [51.2])
    code = bundle([asset_text("hexpainter.js"), asset_text("leaflethost.js")])
    page_text = (
        '<!doctype html><meta charset="utf-8"><link rel="icon" href="data:,"><div id="map"></div>'
        '<script type="module">'
        f"const ZOOM = {ZOOM}, SIZE = {SIZE}, CENTRE = [{x[0] / 2**24}, {y[0] / 2**24}];{STAND_IN}{code}"
        f"window.layer = addHexLayer(map, {as_script_json(packed)}, {as_script_json(views)}, 0.8);"
        "window.handlers = handlers;</script>"
    )
    path: Path = tmp_path_factory.mktemp("explore") / "map.html"
    path.write_text(page_text, encoding="utf-8")
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        page = browser.new_page()
        heard: list[str] = []
        page.on("console", lambda message: heard.append(message.text))
        page.on("pageerror", lambda error: heard.append(str(error)))
        page.goto(path.as_uri())
        page.wait_for_selector("[data-hexes]")
        yield page, pd.DataFrame({"cell": cells, "kind": kind, "people": people}), heard
        browser.close()


def test_hexagons_are_painted_in_the_shares_of_their_kinds(shown):
    page, table, heard = shown
    found = page.evaluate(
        """() => {
          const canvas = document.querySelector("canvas");
          const data = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
          const found = {};
          for (let k = 0; k < data.length; k += 4) {
            const hex = "#" + [0, 1, 2].map((c) => data[k + c].toString(16).padStart(2, "0")).join("");
            if (data[k + 3] === 255) found[hex] = (found[hex] ?? 0) + 1;
          }
          return found;
        }"""
    )
    painted = np.array([found.get(colour.lower(), 0) for colour in class_colours(2)], dtype=float)
    assert painted.sum() > 20_000
    share = table["kind"].value_counts()[[0, 1]].to_numpy() / (table["kind"] >= 0).sum()
    np.testing.assert_allclose(painted / painted.sum(), share, atol=0.03)
    assert heard == []


def test_tooltip_and_legend_hold_text_not_markup(shown):
    page, table, heard = shown
    i = 9
    lon, lat = cell_centres(table["cell"].to_numpy()[[i]])
    x, y = project(lon, lat)
    scale = 256 * 2**ZOOM / 2**24
    page.evaluate(
        "([x, y]) => handlers.mousemove({ latlng: { x, y } })", [float(x[0] * scale), float(y[0] * scale)]
    )
    text = page.locator("#tip").inner_text()
    assert "Kind: A · <b>" in text
    assert "People: 9" in text
    legend = page.locator("#map .leaflet-bar").inner_text()
    assert legend.split("\n")[:3] == ["Kind", "A · <b>", "B"]
    assert "no data" in legend
    page.evaluate("handlers.mousemove({ latlng: { x: 0, y: 0 } })")
    assert page.locator("#tip").count() == 0
    assert heard == []
