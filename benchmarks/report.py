"""The report's map beside folium's GeoJson layer and geopandas' explore: size, build, first paint, panning.

Usage: python benchmarks/report.py [--write] [--hexes 10000 50000] [--figures 6 12] [--slow-up-to 10000] [--leaflet DIR]

Every page holds the same invented market: hexagons of resolution 8, six or twelve figures a hexagon, spread out from
census areas (so that neighbouring hexagons often share a value, as interpolated data do), and 500 stores. Each page
is built in a process of its own and opened from disk in headless Chromium with software raster. folium and geopandas
pages load Leaflet from a network; with --leaflet DIR (a folder with leaflet.js and leaflet.css) they are given that
copy instead, and without a network and without it they are left out. "First paint" is the time from navigation to
the second frame after everything was drawn; "worst pan frame" the longest time between two frames while the map is
dragged by 40 steps. Sizes above --slow-up-to are not tried with the two slow ones.
"""

from __future__ import annotations

import argparse
import itertools
import json
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
from _machine import machine_lines
from scipy.spatial import cKDTree

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

import report_fixture

from geomarket.hexes.cells import cell_polygons
from geomarket.hexmap import explore_cells
from geomarket.report import write_report

RESULTS = Path(__file__).parent / "results" / "report.md"
PACKAGES = ("numpy", "pandas", "geopandas", "folium", "h3ronpy", "playwright")
ROADS = {
    "report": "geomarket's report, whole page",
    "explore": "geomarket's explore (painter in folium)",
    "geojson": "folium.GeoJson, prefer_canvas",
    "geopandas": "geopandas.explore, prefer_canvas",
}
SLOW = ("geojson", "geopandas")
N_STORES = 500
KM2 = 0.66
FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run"]


def market(n_hexes: int, figures: int = 12) -> Any:
    """A plan of about n_hexes cells with 6 or 12 figures, constant within areas of about ten cells."""
    radius = float(np.sqrt(n_hexes * KM2 / np.pi))
    plan = report_fixture.make_plan(
        radius_km=radius,
        n_stores=N_STORES,
        n_competitors=2_000,
        n_clusters=8,
        catchments=False,
        customers=False,
    )
    rng = np.random.default_rng(0)
    table = plan.hexes.table
    points = np.column_stack([table["lon"] * 0.63, table["lat"]]) * 111.0
    _, area = cKDTree(points[rng.choice(len(points), max(len(points) // 10, 1), replace=False)]).query(points)
    for variable in plan.hexes.variables[1:]:
        table[variable.name] = (
            table[variable.name].groupby(area).transform("mean").where(table["population"] > 0)
        )
    plan.catchments = catchments(table, points, plan.market.stores)
    report_fixture.add_trips(plan, n_customers=500_000)
    # beside the census: own share, market and whitespace; with all twelve, how sure the type is
    census = figures - (4 if figures >= 12 else 3)
    dropped = [variable.name for variable in plan.hexes.variables[census:]]
    plan.hexes.table = table.drop(columns=dropped)
    plan.hexes.variables = plan.hexes.variables[:census]
    if figures < 12:
        plan.neighbourhoods.table = plan.neighbourhoods.table.drop(columns="uncertainty")
    return plan


def catchments(table: pd.DataFrame, points: np.ndarray, stores: pd.DataFrame) -> Any:
    """Every store's catchment: the cells within 3, 5 and 8 km."""
    tree = cKDTree(points)
    places = np.column_stack([stores["lon"] * 0.63, stores["lat"]]) * 111.0
    parts, trade, inner = [], [], [set() for _ in places]
    for km, band in ((3.0, 0.5), (5.0, 0.7), (8.0, 0.9)):
        for k, members in enumerate(tree.query_ball_point(places, km)):
            new = sorted(set(members) - inner[k])
            inner[k] |= set(members)
            cells = table["cell"].to_numpy()[new]
            store = stores["store_id"].iloc[k]
            parts.append(
                pd.DataFrame(
                    {"store_id": store, "cell": cells, "band": band, "share": 0.2 / max(len(new), 1)}
                )
            )
            far = np.hypot(*(points[new] - places[k]).T)
            people = table["population"].to_numpy()[new]
            trade.append(
                pd.DataFrame(
                    {
                        "store_id": store,
                        "cell": cells,
                        "own": True,
                        "km": far,
                        "probability": 0.1,
                        "demand": people / 10,
                    }
                )
            )
    share = np.random.default_rng(1).random(len(table)).round(3)
    people = table["population"]
    cells = pd.DataFrame(
        {
            "cell": table["cell"],
            "own_share": share,
            "market": people,
            "whitespace": (1 - share) * people,
            "nearest_own_km": cKDTree(places).query(points)[0],
        }
    )
    types = list("ABCDE")
    mix = np.random.default_rng(2).dirichlet(np.ones(len(types)), len(stores)).ravel()
    profile = pd.DataFrame(
        {
            "store_id": np.repeat(stores["store_id"].to_numpy(), len(types)),
            "neighbourhood": types * len(stores),
            "share": mix,
            "demand": 100.0 * mix,
        }
    )
    return SimpleNamespace(
        table=pd.concat(trade, ignore_index=True),
        areas=pd.concat(parts, ignore_index=True),
        profile=profile,
        cells=cells,
        params=pd.DataFrame(),
        comparison=pd.DataFrame(),
        unit="people",
        summary=lambda: ["Catchments."],
    )


def frame_of(plan: Any) -> pd.DataFrame:
    types = plan.neighbourhoods.table[["cell", "supergroup"]]
    return plan.hexes.table.merge(types, on="cell").merge(plan.catchments.cells, on="cell")


def build(road: str, n_hexes: int, path: Path, n_figures: int) -> None:
    """Build one page; print its seconds and number of hexagons."""
    plan = market(n_hexes, n_figures)
    table = frame_of(plan)
    figures = [name for name in table.columns if name not in {"cell", "lon", "lat", "supergroup"}]
    began = time.perf_counter()
    if road == "report":
        write_report(plan, path)
    elif road == "explore":
        shown = explore_cells(
            table,
            "supergroup",
            weight="population",
            tooltip={name: name for name in figures},
            stores=plan.market.stores,
        )
        path.write_text(shown.get_root().render(), encoding="utf-8")
    else:
        path.write_text(_slow_page(road, table, figures), encoding="utf-8")
    print(json.dumps({"seconds": time.perf_counter() - began, "hexes": len(table)}))


def _slow_page(road: str, table: pd.DataFrame, figures: list[str]) -> str:
    import folium
    import geopandas as gpd

    frame = gpd.GeoDataFrame(
        table[["supergroup", *figures]].round(4), geometry=cell_polygons(table["cell"].to_numpy()), crs=4326
    )
    frame["supergroup"] = frame["supergroup"].fillna("none")
    middle = [float(table["lat"].mean()), float(table["lon"].mean())]
    if road == "geopandas":
        return frame.explore("supergroup", prefer_canvas=True, tiles=None).get_root().render()
    shown = folium.Map(middle, zoom_start=11, prefer_canvas=True, tiles=None)
    colours = dict(zip("ABCDE", ["#4477AA", "#EE6677", "#228833", "#CCBB44", "#66CCEE"]))
    folium.GeoJson(
        frame,
        style_function=lambda f: {
            "fillColor": colours.get(f["properties"]["supergroup"], "#ccc"),
            "weight": 0.5,
        },
        tooltip=folium.GeoJsonTooltip(figures),
    ).add_to(shown)
    return shown.get_root().render()


FRAMES = """() => new Promise((resolve) =>
  requestAnimationFrame(() => requestAnimationFrame(() => resolve(performance.now()))))"""
RECORD = """() => {
  window.frames_ = [];
  let last = performance.now();
  const step = (now) => {
    window.frames_.push(now - last);
    last = now;
    requestAnimationFrame(step);
  };
  requestAnimationFrame(step);
}"""


def look(road: str, path: Path, leaflet: Path | None, limit: float) -> dict[str, Any]:
    """Open a page; return milliseconds to its first full paint and of its worst frame while panning."""
    from playwright.sync_api import Error, sync_playwright

    with sync_playwright() as started:
        browser = started.chromium.launch(executable_path=shutil.which("chromium"), args=FLAGS)
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        page.set_default_timeout(limit * 1000)
        asked: list[str] = []
        heard: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        page.on("console", lambda message: heard.append(message.text))
        if leaflet is not None:
            page.route("**/*", lambda route: _serve(route, leaflet))
        try:
            page.goto(path.as_uri(), wait_until="load")
            box = "#map-app [data-map=box]" if road == "report" else ".leaflet-container"
            if road == "report":
                page.wait_for_selector("#map-app[data-ready=true]")
            elif road == "explore":
                page.wait_for_selector("[data-hexes]")
            painted = page.evaluate(FRAMES)
            frame = page.locator(box)
            frame.scroll_into_view_if_needed()
            edge = frame.bounding_box()
            x, y = edge["x"] + edge["width"] / 2, edge["y"] + edge["height"] / 2
            page.wait_for_timeout(400)
            page.evaluate(RECORD)
            page.mouse.move(x, y)
            page.mouse.down()
            for step in range(40):
                page.mouse.move(x - 8 * step, y - 3 * step)
            page.mouse.up()
            page.wait_for_timeout(600)
            worst = page.evaluate("Math.max(...window.frames_)")
        except Error as error:
            return {"failed": str(error).splitlines()[0][:80]}
        finally:
            browser.close()
    return {"paint": painted, "pan": worst, "requests": len(asked) - 1, "messages": len(heard)}


def _serve(route: Any, leaflet: Path) -> None:
    url = route.request.url
    if url.startswith("file:"):
        route.continue_()
    elif url.endswith(("leaflet.js", "leaflet.css")):
        route.fulfill(path=leaflet / url.rsplit("/", 1)[1])
    else:
        route.fulfill(body="", content_type="text/css" if url.endswith("css") else "text/javascript")


def measure(road: str, n_hexes: int, n_figures: int, folder: Path, leaflet: Path | None, limit: float) -> str:
    path = folder / f"{road}_{n_hexes}.html"
    command = [sys.executable, __file__, "--child", road, "--hexes", str(n_hexes)]
    command += ["--figures", str(n_figures), "--path", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{road} with {n_hexes} hexagons failed:\n{done.stderr[-2000:]}")
    built = json.loads(done.stdout.splitlines()[-1])
    seen = look(road, path, leaflet, limit)
    megabytes = path.stat().st_size / 1e6
    start = f"| {ROADS[road]} | {built['hexes']:,} | {n_figures} | {megabytes:.2f} | {built['seconds']:.1f} |"
    if "failed" in seen:
        return f"{start} {seen['failed']} | – | – |"
    return f"{start} {seen['paint']:,.0f} | {seen['pan']:,.0f} | {seen['requests']} |"


def report(options: argparse.Namespace, folder: Path) -> str:
    lines = ["# The report's map", "", *machine_lines(PACKAGES), ""]
    lines += [
        f"Hexagons of resolution 8 with 6 or 12 figures each, {N_STORES} stores and, in the report, their catchments, "
        "500,000 known customers' trips and 2,000 competitors. Opened from disk in headless Chromium at 1280 × 900, software raster; one process a "
        "page. Each was opened once: read the ratios. The report is the whole page with all its parts; the "
        "others are the map alone. Requests are those beside the page itself; folium's and geopandas' pages got "
        "a local copy of Leaflet and empty files for the rest, so their times hold no network.",
        "",
        "| page | hexagons | figures | MB | built in s | first full paint ms | worst pan frame ms | requests |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for n_hexes, n_figures, road in itertools.product(options.hexes, options.figures, ROADS):
        too_slow = road in SLOW and n_hexes > options.slow_up_to
        if too_slow or (road != "report" and options.leaflet is None):
            continue
        lines.append(measure(road, n_hexes, n_figures, folder, options.leaflet, options.limit))
        print(lines[-1], flush=True)
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--hexes", type=int, nargs="+", default=[10_000, 50_000, 200_000])
    parser.add_argument("--figures", type=int, nargs="+", default=[6, 12], help="figures a hexagon: 6 to 12")
    parser.add_argument(
        "--slow-up-to", type=int, default=10_000, help="largest size for folium.GeoJson and geopandas"
    )
    parser.add_argument("--leaflet", type=Path, default=None, help="folder with leaflet.js and leaflet.css")
    parser.add_argument("--limit", type=float, default=180.0, help="seconds a page may take to show")
    parser.add_argument("--write", action="store_true", help=f"write {RESULTS.name} in benchmarks/results")
    for internal in ("--child", "--path"):
        parser.add_argument(internal, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        build(options.child, options.hexes[0], Path(options.path), options.figures[0])
        return
    if options.leaflet is None:
        print("!! NOT MEASURED without --leaflet DIR: explore, folium.GeoJson, geopandas.explore")
    with tempfile.TemporaryDirectory() as folder:
        text = report(options, Path(folder))
    print(text)
    if options.write:
        RESULTS.parent.mkdir(exist_ok=True)
        RESULTS.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
