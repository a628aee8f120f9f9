"""The report page: complete, safe, self-contained, the same from run to run."""

from __future__ import annotations

import base64
import hashlib
import re
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest
import report_fixture

from geomarket.report import render_report, write_report
from geomarket.report.charts import (
    IndexBar,
    calendar_chart,
    decay_chart,
    frontier_chart,
    index_bars,
    interval_chart,
    nice_ticks,
    share_bar,
    waterfall_chart,
)
from geomarket.report.map import build_map, neighbourhood_key
from geomarket.report.numbers import money_short
from geomarket.report.sections import decay_section, promotion_section

EVIL = "<script>alert(1)</script>\"&'</textarea>{{ 7 * 7 }}"


class Page(HTMLParser):
    """Collects what the tests ask about."""

    VOID = frozenset({"meta", "link", "br", "input"})

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.ids: list[str] = []
        self.links: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.tags: list[str] = []
        self.open: list[str] = []
        self.unclosed: list[str] = []
        self.text: list[str] = []
        self.scripts: list[str] = []
        self.styles: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        for name, value in attrs:
            self.attributes.append((tag, name, value or ""))
            if name == "id":
                self.ids.append(value)
            if name == "href" and value.startswith("#"):
                self.links.append(value[1:])
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in self.VOID:  # <path/> opens nothing
            self.open.pop()

    def handle_endtag(self, tag):
        if self.open and self.open[-1] == tag:
            self.open.pop()
        else:
            self.unclosed.append(tag)

    def handle_data(self, data):
        inside = self.open[-1] if self.open else ""
        {"script": self.scripts, "style": self.styles}.get(inside, self.text).append(data)


@pytest.fixture(scope="module")
def plan():
    return report_fixture.make_plan(radius_km=6.0)


@pytest.fixture(scope="module")
def html(plan):
    return render_report(plan)


@pytest.fixture(scope="module")
def page(html):
    return Page(html)


def test_page_is_well_formed_and_its_links_lead_somewhere(page):
    assert page.unclosed == []
    assert page.open == []
    assert len(page.ids) == len(set(page.ids))
    assert set(page.links) <= set(page.ids)
    assert {
        "verdict",
        "map",
        "neighbourhoods",
        "clusters",
        "frontier",
        "monday",
        "trust",
        "data",
        "method",
    } <= set(page.ids)


def test_page_asks_for_nothing(html, page):
    assert not re.findall(r"(?:https?:)?//[a-z0-9.-]+\.[a-z]{2,}", html.replace("http-equiv", ""))
    loads = {("script", "src"), ("img", "src"), ("iframe", "src"), ("link", "href")}
    assert [value for tag, name, value in page.attributes if (tag, name) in loads] == ["data:,"]


def test_policy_lets_exactly_this_script_and_style_run(page):
    policy = next(v for _, name, v in page.attributes if name == "content" and "default-src" in v)
    module = page.scripts[-1]

    def digest(text: str) -> str:
        return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()

    assert f"script-src '{digest(module)}'" in policy
    assert f"style-src '{digest(page.styles[0])}'" in policy
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    # such a policy forbids style attributes and handlers in markup: there must be none
    assert not [name for _, name, _ in page.attributes if name == "style" or name.startswith("on")]


def test_figures_are_those_of_the_plan(plan, page):
    text = " ".join(page.text)
    chosen = plan.frontier.table[plan.frontier.table["chosen"]].iloc[0]
    clause, rest = plan.frontier.verdict.sentence.split(": ")
    assert clause in text
    assert rest[1:] in text
    for name in ("net", "net_low", "net_high"):
        assert money_short(chosen[name], "€") in text
    listed = plan.ranges.changes["action"].isin(["list", "delist"]).sum()
    assert f"{listed:,} changes" in text
    for name in plan.neighbourhoods.types.query("level == 'supergroup'")["name"]:
        assert name in text
    best = plan.ranges.table.query("status == 'list'").sort_values("margin").iloc[-1]
    assert best["name"] in text
    assert best["reason"] in text


def test_every_chart_has_a_title_and_a_role(html):
    charts = re.findall(r"<svg class=\"chart.*?</svg>", html, re.DOTALL)
    assert len(charts) > 10
    for chart in charts:
        assert 'role="img"' in chart
        assert re.match(r"<svg[^>]*><title>[^<]+</title>", chart)


def test_same_plan_same_bytes(plan, html, tmp_path):
    path = write_report(plan, tmp_path / "report.html")
    assert path.read_bytes() == html.encode()
    assert write_report(report_fixture.make_plan(radius_km=6.0), path).read_bytes() == html.encode()
    assert [p.name for p in tmp_path.iterdir()] == ["report.html"]


def test_a_failed_report_leaves_the_old_one(plan, tmp_path, monkeypatch):
    path = tmp_path / "report.html"
    path.write_text("old")
    monkeypatch.setattr("geomarket.report.page.render_report", lambda plan: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        write_report(plan, path)
    assert path.read_text() == "old"
    assert len(list(tmp_path.iterdir())) == 1


def test_text_of_the_user_is_never_markup():
    plan = report_fixture.make_plan(radius_km=4.0, n_stores=4, n_clusters=2, skus_per_category=4)
    calm = Page(render_report(plan))
    market = plan.market
    market.name = market.currency = EVIL
    for frame, columns in (
        (market.stores, ["name", "chain", "format"]),
        (market.competitors, ["name", "chain"]),
        (market.products, ["name", "category"]),
        (market.boundaries, ["name"]),
        (market.quality, ["table", "column", "check", "action", "message"]),
        (market.quarantine, ["table", "reason", "value"]),
        (plan.neighbourhoods.types, ["name", "portrait"]),
        (plan.neighbourhoods.table, ["name"]),
        (plan.neighbourhoods.index, ["label"]),
        (plan.store_clusters.table, ["name"]),
        (plan.store_clusters.profile, ["label"]),
        (plan.ranges.table, ["name", "reason", "category"]),
        (plan.promotions.table, ["name", "reason", "mechanic", "channel"]),
        (plan.promotions.refusals, ["scope", "reason"]),
        (plan.frontier.table, ["label"]),
        (plan.demand.holdout, ["category"]),
        (plan.customers.table, ["name"]),
        (plan.catchments.comparison, ["label", "test"]),
        (plan.catchments.params, ["term"]),
    ):
        for column in columns:
            frame[column] = EVIL
    market.notes = plan.warnings = (EVIL,)
    plan.skipped = {EVIL: EVIL}
    plan.manifest = {EVIL: EVIL, "settings": {EVIL: [EVIL]}}
    plan.frontier.verdict.sentence = EVIL
    html = render_report(plan)
    found = Page(html)
    assert "<script>alert(1)" not in html
    assert found.tags.count("script") == calm.tags.count("script") == 2
    assert set(found.tags) == set(calm.tags)
    assert found.unclosed == []
    assert EVIL in "".join(found.text)


@pytest.mark.parametrize(
    "options",
    [
        {"customers": False, "promotions": False},
        {"catchments": False, "n_competitors": 0},
        {"n_stores": 1, "n_clusters": 1, "radius_km": 2.0},
        {"radius_km": 0.3, "n_stores": 2, "n_clusters": 1, "n_competitors": 1},
        {"centre": (179.98, -16.5)},
    ],
)
def test_optional_parts_may_be_missing(options):
    plan = report_fixture.make_plan(
        **{"radius_km": 3.0, "n_stores": 6, "n_clusters": 2, "skus_per_category": 3, **options}
    )
    found = Page(render_report(plan))
    assert found.unclosed == []
    assert set(found.links) <= set(found.ids)
    text = " ".join(found.text)
    for stage, reason in plan.skipped.items():
        assert stage.capitalize() in text
        assert reason in text


def test_unvalidated_forecasts_are_called_so():
    plan = report_fixture.make_plan(radius_km=3.0, n_stores=4, n_clusters=2, skus_per_category=3)
    assert "not validated" not in render_report(plan)
    plan.demand.validated = False
    assert "are not validated" in render_report(plan)


def test_protected_traits_are_not_drawn():
    plan = report_fixture.make_plan(radius_km=3.0, n_stores=4, n_clusters=2, skus_per_category=3)
    object.__setattr__(plan.hexes.variables[1], "protected", True)
    label = plan.hexes.variables[1].label
    cards = render_report(plan).split('id="neighbourhoods"')[1].split('id="clusters"')[0]
    assert label not in cards


def test_28k_hexagons_180_stores_2000_competitors_stay_under_3_mb(tmp_path):
    plan = report_fixture.make_plan(
        radius_km=210.0, resolution=7, n_stores=180, n_competitors=2000, n_clusters=8, skus_per_category=40
    )
    assert len(plan.hexes.table) > 26_000
    size = write_report(plan, tmp_path / "report.html").stat().st_size
    assert size < 3_000_000


def test_map_shows_what_the_plan_holds(plan):
    key = neighbourhood_key(plan.neighbourhoods)
    packed = build_map(plan, key)
    data = packed["details"]
    views = {view["key"]: view for view in data["views"]}
    assert next(iter(views)) == "supergroup"
    assert {"neighbourhood", "trade:own_share", "trade:whitespace", "trade:penetration", "income"} <= set(
        views
    )
    assert views["type:uncertainty"]["classLabels"][-1] == "0.90 or more", "undecided: a class of its own"
    assert views["supergroup"]["names"] == [f"{c} · {n}" for c, n in zip(key.codes, key.names)]
    assert views["supergroup"]["missing"] == plan.neighbourhoods.table["supergroup"].isna().sum()
    assert views["trade:penetration"]["missing"] == plan.customers.cells["penetration"].isna().sum()
    assert [store["id"] for store in data["stores"]] == sorted(plan.market.stores["store_id"])
    west, north, east, south = data["bounds"]
    assert all(west <= store["x"] <= east and north <= store["y"] <= south for store in data["stores"])
    assert (
        sum(k == 0 for k in data["competitors"]["chain"])
        == plan.market.competitors["chain"].value_counts().max()
    )
    first = data["stores"][0]
    profile = plan.catchments.profile.query(f"store_id == '{first['id']}'")
    assert sum(share for _, share in first["shares"]) == pytest.approx(1, abs=0.001)
    assert len(first["shares"]) == (profile["share"] > 0).sum()
    members = plan.catchments.areas["band"].isin([0.5, 0.7, 0.9]).sum()
    assert packed["catchments"]["members"]["members"] == members


def test_boundaries_shared_by_two_areas_are_drawn_once(plan):
    data = build_map(plan, neighbourhood_key(plan.neighbourhoods))
    assert {name["name"] for name in data["details"]["names"]} == set(plan.market.boundaries["name"])
    outlines = sum(len(shape.exterior.coords) - 1 for shape in plan.market.boundaries.geometry)
    edges = data["lines"]["points"] - data["lines"]["lines"]
    assert outlines == 16
    # 8 edges lie on the outside (6 after straight ones are joined is allowed), 4 are shared
    assert edges <= 12


def test_group_colours_are_shades_of_their_supergroup(plan):
    key = neighbourhood_key(plan.neighbourhoods)
    assert len(set(key.group_colours)) == len(key.group_codes)
    for code in key.group_codes:
        red = int(key.colour(code)[1:3], 16), int(key.colour(code[0])[1:3], 16)
        blue = int(key.colour(code)[5:], 16), int(key.colour(code[0])[5:], 16)
        assert (red[0] - red[1]) * (blue[0] - blue[1]) >= 0


def test_index_bars_show_direction_and_arrow():
    chart = str(
        index_bars([IndexBar("a", 150, 140, 160), IndexBar("b", 40), IndexBar("c", 900)], "t", top=260)
    )
    assert chart.count('class="up"') == 3
    assert chart.count('class="down"') == 1
    assert chart.count('class="whisker"') == 1
    assert "no data" in index_bars([IndexBar("a", float("nan"))], "t")


def test_charts_stay_inside_their_frame():
    labels = [str(n) for n in (1, 2, 3, 5, 8, 13, 200)]
    rng = np.random.default_rng(0)
    values = {name: rng.normal(0, 1e6, 7).tolist() for name in ("a", "b", "c")}
    low, high = (np.array(values["c"]) - 1e5).tolist(), (np.array(values["c"]) + 1e5).tolist()
    for width, height in ((720, 340), (360, 300)):
        chart = frontier_chart(labels, values, low, high, 3, "t", str, width=width, height=height)
        numbers = re.findall(r'(?:cx|x)="(-?[\d.]+)"', chart)
        assert all(0 <= float(x) <= width for x in numbers)
        heights = re.findall(r'(?:cy|y)="(-?[\d.]+)"', chart)
        assert all(0 <= float(y) <= height for y in heights)
    for low_end, high_end in ((-5.0, 3.0), (1.0, 2.0), (-2.0, -1.0), (0.0, 0.0)):
        chart = interval_chart((low_end + high_end) / 2, low_end, high_end, "t", str)
        assert all(0 <= float(x) <= 360 for x in re.findall(r'(?:cx|x)="(-?[\d.]+)"', chart))


def test_a_plan_that_loses_everything_does_not_flatten_the_others():
    net = [0.0, 10.0, 12.0, -900.0]
    chart = str(frontier_chart(["1", "2", "3", "90"], {"net": net}, net, net, 2, "t", "{:.0f}".format))
    assert "-900" in chart
    y = [float(value) for value in re.findall(r'cy="([\d.]+)"', chart)]
    # three points on the chart, the fourth an arrow at its foot; gains take a third of the height and more
    assert len(y) == 3
    assert y[0] - y[2] > 100


def test_waterfall_ends_where_its_steps_add_up():
    chart = str(
        waterfall_chart([("gain", 50.0), ("cost", -80.0), ("paid", 40.0)], "Net", "t", "{:.0f}".format)
    )
    bars = re.findall(r'<rect class="(\w+)" x="([\d.]+)" y="\d+" width="([\d.]+)"', chart)
    assert [css for css, _, _ in bars] == ["up", "down", "up", "total"]
    spans = [(float(x), float(x) + float(w)) for _, x, w in bars]
    assert spans[0][1] == pytest.approx(spans[1][1], abs=0.2)
    assert spans[1][0] == pytest.approx(spans[2][0], abs=0.2)
    assert spans[3] == pytest.approx((spans[0][0], spans[2][1]), abs=0.2)
    assert ">10</text>" in chart


def test_calendar_counts_and_darkens():
    rows = [("Tea", [(2, 0.1), (0, float("nan")), (1, 0.3)])]
    chart = str(calendar_chart(rows, ["6 Jan", "13 Jan", "20 Jan"], "t"))
    assert chart.count('class="track"') == 1
    tints = [float(value) for value in re.findall(r'fill-opacity="([\d.]+)"', chart)]
    assert tints[0] < tints[1]
    assert "Tea, 20 Jan: 1, up to 30% off" in chart


def test_decay_marks_the_reach(plan):
    section = decay_section(plan)
    trade = plan.catchments.table.sort_values("km")
    share = trade["demand"].cumsum() / trade["demand"].sum()
    half = float(trade["km"][share >= 0.5].iloc[0])
    assert f"within {half:.1f} km" in section["words"]
    assert section["chart"].count('class="dot"') == 3
    assert decay_chart([0, 1], [0, 1], {0.5: 0.5}, "t").count("<text") > 5


def test_promotions_add_up_to_their_net(plan):
    section = promotion_section(plan)
    amounts = [row[1].value for row in section["table"].rows]
    assert sum(amounts[:-1]) == pytest.approx(amounts[-1])
    assert amounts[-1] == pytest.approx(plan.promotions.table["net"].sum())


def test_shares_fill_the_bar():
    chart = share_bar(
        [("a", 0.25, "#111111"), ("none", 0.0, "#333333"), ("b", 0.75, "#222222")], "t", width=200
    )
    assert [float(w) for w in re.findall(r"h([\d.]+)v", chart)] == [50, 150]
    assert "<title>t: a 25%, b 75%</title>" in chart


@pytest.mark.parametrize(("low", "high"), [(0, 1), (-7, 3), (0.001, 0.0013), (0, 4.4e6)])
def test_ticks_cover_and_are_few(low, high):
    ticks = nice_ticks(low, high)
    assert ticks[0] <= low + 1e-9
    assert ticks[-1] >= high - 1e-9
    assert 3 <= len(ticks) <= 9
    assert np.allclose(np.diff(ticks), ticks[1] - ticks[0])


def test_missing_figures_are_a_dash_not_a_zero():
    plan = report_fixture.make_plan(radius_km=3.0, n_stores=4, n_clusters=2, skus_per_category=3)
    plan.ranges.table["margin"] = np.nan
    plan.neighbourhoods.types["population"] = pd.NA
    text = " ".join(Page(render_report(plan)).text)
    assert "€0" not in text.split("What changes on Monday")[1].split("How sure")[0]
