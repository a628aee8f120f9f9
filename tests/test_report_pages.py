"""Pages per cluster and store: complete, linked, safe, replaced as a whole."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd
import pytest
import report_fixture
from test_report import Page

from geomarket.hexes.cells import neighbours, points_to_cells
from geomarket.report import write_pages
from geomarket.report.minimap import catchment_map
from geomarket.report.numbers import plural


def small_plan(**options):
    return report_fixture.make_plan(
        **{"radius_km": 3.0, "n_stores": 6, "n_clusters": 2, "skus_per_category": 4, **options}
    )


@pytest.fixture(scope="module")
def plan():
    return small_plan()


@pytest.fixture(scope="module")
def folder(plan, tmp_path_factory):
    place = tmp_path_factory.mktemp("pages") / "pages"
    write_pages(plan, place)
    return place


def test_every_store_and_cluster_has_a_page_and_links_lead_somewhere(plan, folder):
    names = {path.name for path in folder.glob("*.html")}
    assert names == {
        "index.html",
        *(f"cluster-{code}.html" for code in plan.store_clusters.table["store_cluster"]),
        *(f"store-{store}.html" for store in plan.market.stores["store_id"]),
    }
    for path in folder.glob("*.html"):
        page = Page(path.read_text(encoding="utf-8"))
        assert page.unclosed == []
        links = [value for tag, name, value in page.attributes if (tag, name) == ("a", "href")]
        assert set(links) <= names
        assert not [name for _, name, _ in page.attributes if name == "style" or name.startswith("on")]


def test_a_stores_page_lists_its_changes_and_no_others(plan, folder):
    store = plan.market.stores["store_id"][2]
    text = " ".join(Page((folder / f"store-{store}.html").read_text(encoding="utf-8")).text)
    mine = plan.ranges.changes.query(f"store_id == '{store}'")
    lists, delists = (mine[mine["action"] == action]["sku"] for action in ("list", "delist"))
    assert f"Put on the shelf: {plural(len(lists), 'product')}" in text
    shown = re.findall(r"\b\d0\d\d\b", text.split("Promotions")[0])
    for sku in [*lists, *delists]:
        assert shown.count(sku) == 1
    for sku in mine[mine["action"] == "keep"]["sku"]:
        assert sku not in shown


def test_a_clusters_page_has_every_line(plan, folder):
    text = " ".join(Page((folder / "cluster-C1.html").read_text(encoding="utf-8")).text)
    lines = plan.ranges.table.query("store_cluster == 'C1' and status != 'keep'")
    assert all(name in text for name in lines["name"])
    assert "more in the workbook" not in text.split("To delist")[1].split("Promotions")[0]


def test_pages_are_the_same_again_and_stale_ones_go(plan, folder):
    before = {path.name: path.read_bytes() for path in folder.glob("*.html")}
    (folder / "store-GONE.html").write_text("old")
    (folder / "notes.txt").write_text("mine")
    write_pages(small_plan(), folder)
    assert {path.name: path.read_bytes() for path in folder.glob("*.html")} == before
    assert (folder / "notes.txt").read_text() == "mine"


def test_somebody_elses_folder_is_left_alone(plan, tmp_path):
    (tmp_path / "thesis.html").write_text("mine")
    with pytest.raises(FileExistsError, match="did not write"):
        write_pages(plan, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.html"]


def test_odd_ids_and_names_are_harmless(tmp_path):
    plan = small_plan(catchments=False, promotions=False)
    ids = ["../../evil", "a/b", "a b", "A B", "<script>alert(1)</script>", "S006"]
    rename = dict(zip(plan.market.stores["store_id"], ids))
    for frame in (plan.market.stores, plan.store_clusters.table, plan.ranges.changes, plan.stores):
        frame["store_id"] = frame["store_id"].map(rename)
    plan.market.stores["name"] = "<img src=x onerror=alert(1)>"
    for frame in (
        plan.store_clusters.table,
        plan.ranges.table,
        plan.ranges.changes,
        plan.store_clusters.profile,
    ):
        frame["store_cluster"] = frame["store_cluster"].replace("C1", "City / north")
    written = write_pages(plan, tmp_path / "pages")
    assert len({path.name.lower() for path in written}) == len(written) == 1 + 2 + 6
    assert all(path.parent == tmp_path / "pages" for path in written)
    for path in written:
        page = Page(path.read_text(encoding="utf-8"))
        assert "img" not in page.tags
        assert page.tags.count("script") == 1


def test_minimap_draws_each_cell_once_inside_its_frame():
    middle = points_to_cells([4.4], [51.2], 8)
    cells = np.append(neighbours(middle, 3)["neighbour"].to_numpy(), middle)
    core = frozenset(neighbours(middle, 1)["neighbour"].tolist())
    colours = {int(cell): "#4477AA" if cell % 2 else "#EE6677" for cell in cells}
    picture = str(catchment_map(cells, colours, core, (4.4, 51.2), "t <b>"))
    paths = re.findall(r'<path ([^>]*)d="([^"]*)"', picture)
    assert [d.count("M") for attributes, d in paths if "core" in attributes] == [6]
    assert sum(d.count("M") for attributes, d in paths if "core" not in attributes) == len(cells)
    assert "<b>" not in picture
    for _, d in paths:
        for ring in d.split("z")[:-1]:
            start, steps = ring.removeprefix("M").split("l")
            points = np.array([[float(v) for v in p.split(",")] for p in (start, *steps.split(" "))]).cumsum(
                axis=0
            )
            assert len(points) == 6
            assert points.min() >= 0
            assert points[:, 0].max() <= 340
            assert points[:, 1].max() <= 280


def test_a_store_sees_the_offers_on_what_it_sells_the_next_ones_first(plan, folder):
    offers = plan.promotions.table
    weeks = sorted(offers["period"].unique())
    seen = 0
    for row in plan.store_clusters.table.to_dict("records"):
        mine = offers[offers["store_cluster"] == row["store_cluster"]]
        changes = plan.ranges.changes.query(f"store_id == '{row['store_id']}' and action != 'delist'")
        sold = mine[mine["sku"].isin(changes["sku"])]
        page = (folder / f"store-{row['store_id']}.html").read_text(encoding="utf-8")
        part = page.split("<h2>Promotions</h2>")[1].split("</section>")[0]
        soon, _, later = part.partition("<details")
        for text, kept in ((soon, sold["period"].isin(weeks[:4])), (later, ~sold["period"].isin(weeks[:4]))):
            named = re.findall(r"<small>(\d0\d\d) · ", text)
            assert sorted(named) == sorted(sold.loc[kept, "sku"])
        seen += len(sold)
        missing = len(mine) - len(sold)
        assert (f"{plural(missing, 'further promotion')} of the cluster" in part) == (missing > 0)
    assert 0 < seen < len(offers) * 3


def test_a_store_that_waits_in_the_trial_is_told_so(tmp_path):
    plan = report_fixture.add_trial(
        report_fixture.make_plan(radius_km=10.0, n_stores=10, n_clusters=2, skus_per_category=3)
    )
    folder = tmp_path / "pages"
    write_pages(plan, folder)
    names = plan.market.stores.set_index("store_id")["name"]
    start = plan.experiment.design.start
    end = start + pd.Timedelta(weeks=8)
    for pair in plan.experiment.design.pairs.to_dict("records"):
        test, control = (
            " ".join(Page((folder / f"store-{pair[arm]}.html").read_text(encoding="utf-8")).text)
            for arm in ("test", "control")
        )
        assert f"test, changes first, matched with {names[pair['control']]}." in test
        assert f"control, waits until {end.day} {end:%B %Y}, matched with {names[pair['test']]}." in control
        assert "Change nothing before that day" in control
        assert "Change nothing" not in test
    index = (folder / "index.html").read_text(encoding="utf-8")
    assert (
        index.count("<td>test</td>") == index.count("<td>control</td>") == len(plan.experiment.design.pairs)
    )


def test_a_minimap_leaves_out_what_lies_beyond_its_frame_and_shows_the_ground():
    middle = points_to_cells([4.4], [51.2], 8)
    near = np.append(neighbours(middle, 2)["neighbour"].to_numpy(), middle)
    far = neighbours(middle, 14)["neighbour"].to_numpy()[-1:]
    ground = np.append(neighbours(middle, 15)["neighbour"].to_numpy(), middle)
    colours = dict.fromkeys([*near.tolist(), *far.tolist()], "#4477AA")
    picture = str(
        catchment_map(np.append(near, far), colours, frozenset(), (4.4, 51.2), "t", ground=ground, frame=near)
    )
    drawn = {
        css: d.count("M")
        for css, d in re.findall(r'<path (?:fill="[^"]*" )?class="(\w+)" d="([^"]*)"', picture)
    }
    assert drawn["cells"] == len(near)
    assert 10 < drawn["ground"] < len(ground) - len(near)


def test_what_waits_for_a_trial_is_not_for_the_store_to_do(tmp_path):
    plan = report_fixture.make_plan(radius_km=3.0, n_stores=3, n_clusters=1, skus_per_category=4)
    changes = plan.ranges.changes
    store = plan.market.stores["store_id"][0]
    mine = changes["store_id"].eq(store) & changes["action"].ne("keep")
    changes["when"] = np.where(changes["action"] == "keep", "stays", "phase 1")
    changes.loc[changes.index[mine][1:], "when"] = "waits"
    folder = tmp_path / "pages"
    write_pages(plan, folder)
    text = (folder / f"store-{store}.html").read_text()
    table = text.split("<h2>What changes</h2>")[1].split("</section>")[0]
    first = changes[mine].iloc[0]
    assert f">{first['sku']} · " in table
    for sku in changes[mine]["sku"].iloc[1:]:
        assert f">{sku} · " not in table
    assert f"{mine.sum() - 1} further change" in table
