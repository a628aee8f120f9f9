"""The page and workbook on what the ranges bring, when changes are made, and how local to go."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd
import pytest
from report_fixture import make_plan

from geomarket.planning.rehearsal import Rehearsal
from geomarket.report import render_report, write_workbook
from geomarket.report.ranges import changes_tile, first_phase, gain_tile, steps_chart

NASTY = '<img src=x onerror=alert(1)> "too dear"'


@pytest.fixture(scope="module")
def plan():
    plan = make_plan()
    clusters = plan.store_clusters.table
    rng = np.random.default_rng(3)
    stores = pd.DataFrame({"store_id": clusters["store_id"], "store_cluster": clusters["store_cluster"]})
    stores["today"] = rng.uniform(80e3, 120e3, len(stores))
    for step, factor in (("first phase", 1.02), ("all phases", 1.03), ("whole plan", 1.05)):
        stores[step] = stores["today"] * (factor + rng.normal(0, 0.01, len(stores)))
    totals = stores[["today", "first phase", "all phases", "whole plan"]].sum()
    table = pd.DataFrame({"ranges": totals.index, "margin": totals.to_numpy()})
    table["gain"] = table["margin"] - totals["today"]
    for name, shift in (("low", -9e3), ("high", 9e3)):
        table[name] = np.where(table["ranges"] == "today", 0.0, table["gain"] + shift)
    for name in ("gain", "low", "high"):
        table[f"{name}_share"] = table[name] / totals["today"]
    table["claimed"], table["claimed_share"] = 2 * table["gain"], 2 * table["gain_share"]
    table["listed"], table["delisted"], table["changes"] = (
        3 * table["gain"],
        2 * table["gain"],
        [0, 40, 60, 400],
    )
    categories = table.iloc[[2]].drop(columns="ranges").assign(category="Tea", today=totals["today"])
    changes = plan.ranges.changes
    moved = changes["action"] != "keep"
    when = np.where(
        moved, rng.choice(["phase 1", "phase 2", "waits"], len(changes), p=[0.3, 0.2, 0.5]), "stays"
    )
    plan.ranges.changes = changes.assign(when=when)
    counts = plan.ranges.changes[moved].groupby("when")["action"].value_counts().unstack(fill_value=0)
    phases = (
        counts.rename(columns={"list": "listings", "delist": "delistings"}).rename_axis("phase").reset_index()
    )
    for name in ("listings", "delistings"):
        phases[f"{name}_median"], phases[f"{name}_max"] = 2.0, 7
    plan.ranges.phases = phases.assign(stores=9, margin=1.0)
    plan.rehearsal = Rehearsal(table, categories, stores, ("A note on what it can't show.",), "€")
    plan.frontier.verdict.explanation = ("Four were chosen.", "They bring this.", "That is most of it.")
    plan.frontier.categories = pd.DataFrame(
        {
            "category": ["Tea", "Soup"],
            "kind": ["national", "cluster"],
            "n_clusters": [1, 3],
            "gain_holdout": [0.0, 5_300.0],
            "low": [0.0, 2_100.0],
            "high": [0.0, 8_500.0],
            "cost": [0.0, 900.0],
            "net": [0.0, 4_400.0],
            "national_margin": [91e3, 77e3],
        }
    )
    line = plan.ranges.table.iloc[0]
    plan.overrides = pd.DataFrame(
        {
            "store_cluster": ["old", "gone"],
            "sku": [line["sku"], "X1"],
            "name": [line["name"], "Lost"],
            "rule": ["must_not", "must_list"],
            "reason": [NASTY, ""],
            "cluster_now": [line["store_cluster"], None],
            "applied": [True, False],
            "remark": ["", "there is no store cluster gone now"],
            "outcome": ["not listed", "not in force"],
        }
    )
    return plan


@pytest.fixture(scope="module")
def page(plan) -> str:
    return render_report(plan)


def section(page: str, name: str) -> str:
    found = re.search(rf'<section id="{name}".*?</section>', page, flags=re.DOTALL)
    assert found, name
    return found.group()


def test_the_headline_is_the_figure_on_other_periods(plan, page) -> None:
    ranges = section(page, "ranges")
    lead = re.search(r'<p class="lead">(.*?)</p>', ranges, flags=re.DOTALL).group(1)
    assert "valued on another" in lead and "claim" not in lead
    row = plan.rehearsal.table.set_index("ranges").loc["all phases"]
    assert f"{row['gain_share']:+.1%}" in lead
    assert gain_tile(plan)["value"] == f"{row['gain_share']:+.1%}".replace(".0%", "%")
    assert "in sample, and flattering" in ranges
    assert "A note on what it can&#39;t show." in ranges
    # No cluster is told of by the forecasts it was chosen by.
    assert "by the same forecasts" not in section(page, "clusters")


def test_every_store_is_told_the_first_phase_and_what_comes_later(plan, page) -> None:
    changes = plan.ranges.changes
    first = first_phase(changes)
    assert set(first["when"]) == {"phase 1"}
    monday = section(page, "monday")
    assert f"{len(first):,} changes" in monday and "in the first phase" in monday
    made = changes[changes["action"] != "keep"]
    assert f"{len(made) - len(first):,} more come in later phases" in monday
    assert changes_tile(plan)["value"] == f"{len(first):,}"
    assert "Waits for proof" in section(page, "ranges")


def test_the_verdict_is_explained_and_told_by_category(page) -> None:
    frontier = section(page, "frontier")
    for line in ("Four were chosen.", "They bring this.", "That is most of it."):
        assert f"<li>{line}</li>" in frontier
    assert "<td>one range</td>" in frontier and "<td>3 ranges</td>" in frontier


def test_decisions_are_shown_with_their_reason_as_text(page) -> None:
    ranges = section(page, "ranges")
    assert "<img" not in ranges and "&lt;img src=x" in ranges
    assert "there is no store cluster gone now" in ranges


def test_the_workbook_holds_the_same(plan, tmp_path) -> None:
    path = write_workbook(plan, tmp_path / "plan.xlsx")
    gain = pd.read_excel(path, sheet_name="Gain over today")
    assert gain["Gain"].to_numpy() == pytest.approx(plan.rehearsal.table["gain"].to_numpy())
    verdicts = pd.read_excel(path, sheet_name="Verdict by category")
    assert verdicts["Verdict"].tolist() == ["one range", "3 ranges"]
    assert pd.read_excel(path, sheet_name="Phases")["To list"].sum() == plan.ranges.phases["listings"].sum()
    decisions = pd.read_excel(path, sheet_name="Your decisions", dtype=str)
    assert decisions["Decision"].tolist() == ["do not list", "list"] and decisions["Reason"][0] == NASTY
    changes = pd.read_excel(path, sheet_name="Changes by store", dtype=str)
    assert set(changes["When"]) == {"phase 1", "phase 2", "waits"}


def test_a_plan_without_them_has_no_such_parts() -> None:
    page = render_report(make_plan())
    assert 'id="ranges"' not in page and "How local, category by category" not in page


def test_the_chart_draws_what_is_known() -> None:
    svg = steps_chart(["one", "two"], [0.02, -0.01], [0.01, np.nan], [0.03, np.nan], [0.05, np.nan], "Gain")
    assert (
        svg.count('class="dot"') == 2 and svg.count('class="band"') == 1 and svg.count('class="whisker"') == 1
    )
    assert "one +2%" in svg and "two −1%" in svg
