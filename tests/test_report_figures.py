"""Static figures: one for every chart and map layer of the page, stable, and painted in the colours of the data."""

from __future__ import annotations

import dataclasses
import re
import warnings

import numpy as np
import pytest
import report_fixture
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from PIL import Image

from geomarket.errors import SettingsError
from geomarket.hexmap import class_colours
from geomarket.market import parse_settings
from geomarket.planning import run_plan
from geomarket.planning.demo import DEMO_SETTINGS
from geomarket.report import map_figure, render_report, write_figures
from geomarket.report.figures import writing
from geomarket.report.map import build_map, neighbourhood_key
from geomarket.report.pages import write_pages
from geomarket.results import Result
from geomarket.simulate import simulate_market

_CHART = re.compile(r'<svg class="chart[^>]*?(?: data-figure="([^"]*)")? role="img"[^>]*>\s*<title>([^<]*)')


def small_plan(**options):
    return report_fixture.make_plan(
        **{"radius_km": 4.0, "n_stores": 6, "n_clusters": 2, "skus_per_category": 4, **options}
    )


def with_few_variables(plan, number=2):
    """The plan with fewer census figures to map: each map takes its time."""
    hexes = plan.hexes
    kept = (*hexes.variables[:number], *(v for v in hexes.variables if v.protected))
    return dataclasses.replace(plan, hexes=dataclasses.replace(hexes, variables=kept))


@pytest.fixture(scope="module")
def real_plan():
    market = simulate_market(n_customers=1_500, n_stores=12, n_skus=40, weeks=52)
    return with_few_variables(run_plan(market, parse_settings(DEMO_SETTINGS["simulated"])))


@pytest.fixture(scope="module")
def drawn(real_plan, tmp_path_factory):
    """Every figure of a real plan as SVG; a warning of matplotlib's fails."""
    folder = tmp_path_factory.mktemp("figures")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        write_figures(real_plan, folder, ("svg",))
    return folder


def painted(figure) -> np.ndarray:
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].reshape(-1, 3)


def words_of(path) -> str:
    return " ".join(re.findall(r"<text[^>]*>([^<]*)</text>", path.read_text(encoding="utf-8")))


def test_every_chart_of_the_page_has_its_figure(real_plan, drawn, tmp_path):
    pages = [render_report(real_plan)]
    pages += [path.read_text(encoding="utf-8") for path in write_pages(real_plan, tmp_path / "pages")[:4]]
    charts = [found for page in pages for found in _CHART.findall(page)]
    assert len(charts) > 50
    assert [title for name, title in charts if not name] == []
    assert {name for name, _ in charts} <= {path.stem for path in drawn.iterdir()}


def test_every_layer_of_the_map_has_its_figure(real_plan, drawn):
    views = build_map(real_plan, neighbourhood_key(real_plan.neighbourhoods))["details"]["views"]
    maps = [path for path in drawn.iterdir() if path.stem.startswith("map_")]
    assert len(maps) == len(views) + 3
    told = " ".join(words_of(path) for path in maps)
    assert [view["label"] for view in views if view["label"].split()[-1] not in told] == []
    # a legend's every class is written on its map
    penetration = next(view for view in views if view["key"] == "trade:penetration")
    words = words_of(drawn / "map_penetration.svg")
    assert all(label in words for label in penetration["classLabels"])
    assert "too few customers" in words and " km" in words and "12 own stores" in words


def two_maps(monkeypatch):
    names = {"map_neighbourhoods": "supergroup", "map_own_share": "trade:own_share"}
    monkeypatch.setattr(writing.PlanMap, "names", lambda self: names)


def test_the_figures_of_one_plan_are_the_same_bytes_again(monkeypatch, tmp_path):
    two_maps(monkeypatch)
    tiny = {"radius_km": 1.5, "n_stores": 2, "n_clusters": 2}
    first = write_figures(small_plan(**tiny), tmp_path / "a", ("svg",))
    second = write_figures(small_plan(**tiny), tmp_path / "b", ("svg",))
    monkeypatch.setattr(writing, "_DRAWINGS", {})
    first += write_figures(small_plan(**tiny), tmp_path / "a", ("png",), dpi=36)
    second += write_figures(small_plan(**tiny), tmp_path / "b", ("png",), dpi=36)
    assert [path.name for path in first] == [path.name for path in second]
    for one, two in zip(first, second):
        assert one.read_bytes() == two.read_bytes(), one.name
        assert one.stat().st_size > 2500
        if one.suffix == ".png":
            with Image.open(one) as picture:
                assert picture.size == (480, 270)


def test_words_stay_words_and_carry_no_date(drawn):
    page = (drawn / "frontier.svg").read_text(encoding="utf-8")
    assert "dc:date" not in page and "Arial" in page and "sans-serif" in page
    assert "net of costs" in words_of(drawn / "frontier.svg")


def test_a_dollar_is_no_formula(monkeypatch, tmp_path):
    plan = small_plan()
    object.__setattr__(plan.market, "currency", "$")
    plan.market.stores["name"] = "a$b_{c}$ <script>"
    two_maps(monkeypatch)
    monkeypatch.setattr(writing, "_DRAWINGS", {n: writing._DRAWINGS[n] for n in ("frontier", "store_trade")})
    write_figures(plan, tmp_path, ("svg",))
    assert "$" in words_of(tmp_path / "frontier.svg")
    assert "a$b_{c}$ &lt;script&gt;" in words_of(tmp_path / "store_trade.svg")


def test_what_doesnt_fit_one_slide_goes_on_on_the_next(monkeypatch, tmp_path):
    plan = small_plan(n_stores=62, n_clusters=10, radius_km=3.0)
    two_maps(monkeypatch)
    monkeypatch.setattr(
        writing, "_DRAWINGS", {n: writing._DRAWINGS[n] for n in ("store_clusters", "store_trade")}
    )
    monkeypatch.setattr(writing.offers, "promotion_calendars", lambda plan: {})
    stems = [path.stem for path in write_figures(plan, tmp_path, ("svg",))]
    assert stems[-4:] == ["store_clusters", "store_clusters_2", "store_trade", "store_trade_2"]
    told = words_of(tmp_path / "store_trade.svg") + words_of(tmp_path / "store_trade_2.svg")
    assert all(name.split(",")[0] in told for name in plan.market.stores["name"])


def test_optional_parts_are_left_out(tmp_path):
    plan = small_plan(catchments=False, customers=False, promotions=False)
    names = [path.stem for path in write_figures(plan, tmp_path, ("svg",), dpi=36)]
    assert [name for name in names if not name.startswith("map_")] == [
        "verdict",
        "neighbourhoods",
        "store_clusters",
        "frontier",
        "forecasts",
    ]
    assert not {"map_own_share", "map_penetration", "map_catchments"} & set(names)


def test_map_is_painted_in_the_shares_of_the_types():
    plan = small_plan()
    pixels = painted(map_figure(plan))
    share = plan.neighbourhoods.table["supergroup"].value_counts(normalize=True).sort_index()
    rgb = [np.round(np.array(to_rgb(colour)) * 255) for colour in class_colours(len(share))]
    found = np.array([(np.abs(pixels - colour) <= 1).all(axis=1).sum() for colour in rgb], dtype=float)
    np.testing.assert_allclose(found / found.sum(), share.to_numpy(), atol=0.05)


def test_protected_traits_are_not_drawn(real_plan):
    protected = [variable.name for variable in real_plan.hexes.variables if variable.protected]
    assert protected
    with pytest.raises(SettingsError, match=f"no column '{protected[0]}'"):
        map_figure(real_plan, protected[0])


def test_a_market_on_the_antimeridian_is_drawn_in_one_piece():
    figure = map_figure(small_plan(centre=(179.99, -16.5)))
    left, right = figure.axes[0].get_xlim()
    bottom, top = figure.axes[0].get_ylim()
    assert right - left < 3 * (top - bottom)


def test_scale_bar_has_its_length():
    plan = small_plan()
    figure = map_figure(plan)
    axes = figure.axes[0]
    bar = next(line for line in axes.lines if len(line.get_xdata()) == 4)
    km = float(axes.texts[-1].get_text().split()[0])
    xs = bar.get_xdata()
    lat = np.radians(plan.hexes.table["lat"].mean())
    assert (xs[2] - xs[1]) / 2**24 * 40_075.017 * np.cos(lat) == pytest.approx(km, rel=0.01)


def test_a_stores_catchment_is_outlined_and_an_unknown_store_named():
    plan = small_plan()
    store = plan.market.stores["store_id"].iloc[0]
    labels = [text.get_text() for text in map_figure(plan, store_id=store).legends[0].get_texts()]
    assert f"50% of the trade of {store}" in labels
    with pytest.raises(SettingsError, match="no catchment of a store 'X9'"):
        map_figure(plan, store_id="X9")


def test_unknown_columns_and_formats_are_named(tmp_path):
    with pytest.raises(SettingsError, match="no column 'incom'"):
        map_figure(small_plan(), "incom")
    with pytest.raises(SettingsError, match="gif"):
        write_figures(small_plan(), tmp_path, ("gif",))


def results_in(holder, depth=0):
    """Every result a result holds, itself first."""
    if isinstance(holder, Result):
        yield holder
    if dataclasses.is_dataclass(holder) and depth < 4:
        for field in dataclasses.fields(holder):
            yield from results_in(getattr(holder, field.name), depth + 1)


def test_every_result_of_a_plan_shows_itself_in_a_notebook(real_plan):
    import matplotlib.pyplot as plt

    shown = {type(result).__name__: result for result in results_in(real_plan)}
    assert {"Plan", "Hexes", "Demand", "StoreClustering", "RangePlan", "People", "Fairness"} <= set(shown)
    # a relationship is a list of pairs
    for name in sorted(set(shown) - {"Relationship"}):
        plt.close("all")
        axes = shown[name].plot()
        figure = np.ravel(axes)[0].figure
        figure.canvas.draw()
        assert any(ax.has_data() or ax.texts for ax in figure.axes), name
        page = shown[name]._repr_html_()
        assert f"<h4>{name}</h4>" in page and len(page) < 60_000, name
        if hasattr(shown[name], "explore"):
            assert len(shown[name].explore(tiles=None)._repr_html_()) > 1_000
    for column in ("own_share", "penetration", "score", "population"):
        assert "tooltip" in real_plan.explore(column, tiles=None).get_root().render()
    plt.close("all")
