"""What the page and the workbook say of how the store clusters came about."""

import dataclasses
from types import SimpleNamespace

import pandas as pd
import pytest

from geomarket.market import parse_settings
from geomarket.report.page import environment
from geomarket.report.store_groups import store_group_sheets, store_groups_section
from geomarket.store_clusters import cluster_range, compare_clusters, describe_clusters, store_features


@pytest.fixture
def plan():
    stores = pd.DataFrame(
        {
            "store_id": list("abcdef"),
            "name": [f"Store <{x}>" for x in "abcdef"],
            "size_m2": [1, 2, 3, 90, 91, 95],
        }
    )
    tried = cluster_range(store_features(None, None, stores), 3, n_bootstrap=3)
    table = tried.table.assign(offered=[True, True, False])
    clustering = describe_clusters(store_features(None, None, stores), tried.labels[2])
    members = clustering.table.copy()
    members.loc[0, "reason"] = "planner: <b>harbour</b>"
    before = tried.labels[2].where(tried.labels[2].index != "a", "C2")
    return SimpleNamespace(
        market=SimpleNamespace(stores=stores, currency="€"),
        settings=parse_settings('[store_clusters]\nfrozen = "old.json"'),
        store_clusters=dataclasses.replace(
            clustering,
            table=members,
            evidence=dataclasses.replace(tried, table=table, reason="2 store clusters: why."),
        ),
        frontier=SimpleNamespace(table=pd.DataFrame({"n_clusters": [1, 2], "net": [0.0, 5000.0]})),
        cluster_moves=compare_clusters(before, tried.labels[2]),
    )


def shown(section):
    return environment().get_template("store_groups.html.j2").render(store_groups=section)


def test_numbers_overrides_and_moves_are_told_and_escaped(plan):
    section = store_groups_section(plan)
    assert section["kept"] and section["moved"].startswith("1 of 6 stores moved")
    assert [cell.text for cell in section["moves"].rows[0]][1:] == ["C2", "C1", "moved"]
    notes = [row[-1].text for row in section["numbers"].rows]
    assert notes == ["weighed", "taken", "not stable enough"]
    page = shown(section)
    assert "2 store clusters: why." in page and "If they were made anew" in page
    assert "&lt;b&gt;harbour&lt;/b&gt;" in page and "<b>harbour" not in page and "Store &lt;a&gt;" in page
    assert section["version"] in page


def test_without_a_frozen_clustering_there_are_no_moves(plan):
    plan.cluster_moves = None
    section = store_groups_section(plan)
    assert section["moves"] is None and store_group_sheets(plan) == []
    assert "made anew" not in shown(section)
    plan.store_clusters = dataclasses.replace(plan.store_clusters, evidence=None)
    assert store_groups_section(plan) is None


def test_the_workbook_has_a_line_per_store_that_could_move(plan):
    (sheet,) = store_group_sheets(plan)
    assert sheet.frame["change"].value_counts().to_dict() == {"stayed": 5, "moved": 1}
    assert {field.column for field in sheet.shown} >= {"before", "after_matched", "change"}
