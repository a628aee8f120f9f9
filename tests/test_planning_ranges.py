"""The range stage of a plan: decisions carried from run to run, settings that reach the optimiser, the rehearsal."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import openpyxl
import pandas as pd
import pytest
from typer.testing import CliRunner

from geomarket.cli import app
from geomarket.errors import InfeasibleError, MissingDataError, SettingsError, TableError
from geomarket.market import load_market, parse_settings, read_settings, write_template
from geomarket.planning import Overrides, Plan, read_overrides, run_plan, write_overrides
from geomarket.planning.overrides import COLUMNS
from geomarket.report import write_workbook
from geomarket.simulate import simulate_market

CLUSTERS = pd.Series({"s1": "C1", "s2": "C1", "s3": "C2", "s4": "C2", "s5": "C2"})
BASE = """
[assortment]
cost_per_change = 5.0
core_share = 0.1
[store_clusters]
n_clusters = 2
max_clusters = 3
[promotions]
enabled = false
"""


def decided(*rows: tuple[str, ...]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=COLUMNS)


@pytest.fixture(scope="module")
def market():
    market = simulate_market(n_customers=600, n_stores=10, n_skus=60, weeks=40, seed=5)
    return dataclasses.replace(market, customers=None, baskets=None, contacts=None, promotions=None)


@pytest.fixture(scope="module")
def plan(market) -> Plan:
    return run_plan(market, parse_settings(BASE))


# decisions ---------------------------------------------------------------------------------------------------------


def test_a_cluster_is_found_again_by_its_stores() -> None:
    made = Overrides(
        decided(
            ("A", "k1", "Tea", "must_not", "no"),
            ("B", "k1", "Tea", "must_list", "yes"),
            ("C", "k2", "Jam", "must_not", ""),
            ("all", "k3", "Oil", "must_list", "law"),
            ("B", "gone", "Rum", "must_list", "sells"),
        ),
        {"A": ("s3", "s4", "s1"), "B": ("s1", "s2"), "C": ("s9",)},
    )
    matched = made.match(CLUSTERS, {"k1", "k2", "k3"})
    assert matched.rule("must_not") == {"C2": ("k1",)}
    assert matched.rule("must_list") == {"C1": ("k1", "k3"), "C2": ("k3",)}
    remarks = matched.table.set_index(["store_cluster", "sku"])["remark"]
    assert remarks["A", "k1"] == "2 of the 3 stores of A are in C2 now"
    assert remarks["C", "k2"] == "there is no store cluster C now"
    assert "no forecast" in remarks["B", "gone"]
    assert matched.summary()[0].startswith("4 of 6 decisions")


def test_scattered_and_contradicting_decisions_are_not_applied() -> None:
    scattered = Overrides(decided(("A", "k1", "", "must_not", "")), {"A": ("s1", "s3", "x", "y")})
    spread = pd.Series({"s1": "C1", "s3": "C2", "x": "C3", "y": "C4"})
    assert not scattered.match(spread, {"k1"}).table["applied"].any()
    torn = Overrides(
        decided(("A", "k1", "", "must_not", ""), ("B", "k1", "", "must_list", "")),
        {"A": ("s1",), "B": ("s2",)},
    )
    table = torn.match(CLUSTERS, {"k1"}).table
    assert not table["applied"].any() and table["remark"].str.contains("both ways").all()


def test_the_file_holds_any_text_and_gives_the_same_bytes(tmp_path: Path) -> None:
    nasty = 'say "no"\n\\ ünïcode = [[decision]] \x7f # not a comment'
    made = Overrides(decided(("C1", "00017", "Earl \t Grey", "must_not", nasty)), {"C1": ("s 1", 's"2')})
    first = write_overrides(made, tmp_path / "one.toml").read_bytes()
    assert write_overrides(made, tmp_path / "two.toml").read_bytes() == first
    back = read_overrides(tmp_path / "one.toml")
    pd.testing.assert_frame_equal(back.table, made.table.astype("str"))
    assert back.members == {"C1": ("s 1", 's"2')}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[[decision]]\nstore_cluster = 'C1'", "decision 1 of .* needs"),
        ("[[decision]]\nstore_cluster='C1'\nsku='1'\nrule='ban'", "must_not"),
        ("[[decision]]\nstore_cluster='C1'\nsku=1\nrule='must_not'", "as text"),
        ("[decisions]\na = 1", "may hold"),
        ("[[decision", "not readable as TOML"),
    ],
)
def test_bad_files_say_what_is_wrong(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "overrides.toml"
    path.write_text(text)
    with pytest.raises(TableError, match=words):
        read_overrides(path)
    with pytest.raises(MissingDataError, match="apply-overrides"):
        read_overrides(tmp_path / "nothing.toml")


def fill_in(path: Path, sheet: str, key: dict[str, str], values: dict[str, str]) -> None:
    book = openpyxl.load_workbook(path)
    page = book[sheet]
    heads = {cell.value: cell.column for cell in page[1]}
    for row in range(2, page.max_row + 1):
        if all(str(page.cell(row, heads[head]).value) == value for head, value in key.items()):
            for head, value in values.items():
                page.cell(row, heads[head]).value = value
            break
    else:
        raise AssertionError(f"no line {key}")
    book.save(path)


def test_a_rejected_listing_is_gone_in_the_next_plan_and_says_why(tmp_path: Path) -> None:
    """The whole round: plan, decide in the workbook, apply, plan again, withdraw, plan a third time."""
    write_template(tmp_path / "new")
    toml = tmp_path / "new" / "plan.toml"
    text = toml.read_text(encoding="utf-8").replace("[promotions]\n", "[promotions]\nenabled = false\n", 1)
    toml.write_text(text, encoding="utf-8")
    market = load_market(read_settings(toml))
    first = run_plan(market, read_settings(toml))
    book = tmp_path / "plan.xlsx"
    write_workbook(first, book)
    lines = first.ranges.table
    line = lines[lines["status"] == "list"].sort_values("margin").iloc[-1]
    cluster, sku = line["store_cluster"], line["sku"]
    fill_in(
        book,
        "Range by cluster",
        {"Cluster": cluster, "SKU": sku},
        {"Decision": "reject", "Your reason": "the supplier is closing"},
    )
    runner = CliRunner()
    done = runner.invoke(app, ["apply-overrides", str(book), "--settings", str(toml)])
    assert done.exit_code == 0, done.output
    assert "1 decisions" in done.output and 'overrides = "overrides.toml"' in done.output

    head = "[assortment]\n"
    assert head in text
    toml.write_text(text.replace(head, head + 'overrides = "overrides.toml"\n', 1), encoding="utf-8")
    settings = read_settings(toml)
    second = run_plan(load_market(settings), settings)
    ours = second.store_clusters.labels
    now = ours[first.store_clusters.labels[first.store_clusters.labels == cluster].index].mode()[0]
    listed = second.ranges.changes[second.ranges.changes["action"] != "delist"]
    assert not ((listed["store_cluster"] == now) & (listed["sku"] == sku)).any()
    assert second.overrides["outcome"].tolist() == ["not listed"]
    assert "overrides.toml" in second.manifest["inputs"]

    again = tmp_path / "second.xlsx"
    write_workbook(second, again)
    sheet = pd.read_excel(again, sheet_name="Your decisions", dtype=str)
    assert sheet["Reason"].tolist() == ["the supplier is closing"] and sheet["SKU"].tolist() == [sku]
    # The decision carries on by itself, until it is withdrawn.
    carried = read_overrides(again)
    assert carried.table[["sku", "rule"]].to_numpy().tolist() == [[sku, "must_not"]]
    fill_in(again, "Your decisions", {"SKU": sku}, {"Withdraw": "yes"})
    assert read_overrides(again).table.empty
    assert (
        "already names it"
        in runner.invoke(app, ["apply-overrides", str(again), "--settings", str(toml)]).output
    )


def test_a_demanded_listing_is_there_with_its_reason(market, plan, tmp_path: Path) -> None:
    labels = plan.store_clusters.labels
    listed = set(plan.ranges.changes.loc[plan.ranges.changes["action"] != "delist", "sku"])
    asked = sorted(set(plan.demand.table["sku"]) - listed)[0]
    made = Overrides(
        decided(("C1", asked, "", "must_list", "a local brand")),
        {"C1": tuple(labels.index[labels == "C1"])},
    )
    path = write_overrides(made, tmp_path / "overrides.toml")
    found = run_plan(
        market, parse_settings(BASE.replace("[assortment]", f'[assortment]\noverrides = "{path}"'))
    )
    line = found.ranges.table.set_index(["store_cluster", "sku"]).loc[("C1", asked)]
    assert line["status"] in ("list", "keep") and line["stores_planned"] == line["stores"]
    assert line["reason"].startswith("planner's decision: a local brand; on the must-list")
    changes = found.ranges.changes[found.ranges.changes["sku"] == asked]
    here = changes[changes["store_cluster"] == "C1"]
    assert here["action"].isin(["list", "keep"]).all() and here["when"].isin(["phase 1", "stays"]).all()
    assert found.overrides["outcome"].str.startswith("listed in").all()
    clash = BASE.replace("[assortment]", f'[assortment]\noverrides = "{path}"\nmust_not_list = ["{asked}"]')
    with pytest.raises(SettingsError, match="decides the opposite"):
        run_plan(market, parse_settings(clash))


# rehearsal ---------------------------------------------------------------------------------------------------------


def test_the_headline_is_told_on_periods_not_planned_on(plan) -> None:
    table = plan.rehearsal.table.set_index("ranges")
    assert table.index.tolist() == ["today", "first phase", "all phases", "whole plan"]
    assert table.loc["today", ["gain", "low", "high", "changes"]].eq(0).all()
    assert (table["low"] <= table["gain"]).all() and (table["gain"] <= table["high"]).all()
    money = plan.rehearsal.stores[table.index.tolist()].sum()
    assert money.to_numpy() == pytest.approx(table["margin"].to_numpy())
    by_cluster, by_category = plan.rehearsal.by_cluster(), plan.rehearsal.categories
    assert by_cluster["gain"].sum() == pytest.approx(table.loc["all phases", "gain"])
    assert by_category["gain"].sum() == pytest.approx(table.loc["all phases", "gain"])
    lines = plan.summary()
    headline = next(i for i, line in enumerate(lines) if "valued on another" in line)
    claims = [i for i, line in enumerate(lines) if "in sample" in line]
    assert not claims or min(claims) > headline
    assert plan.ranges.summary()[-1].count("in sample and flattering") == 1
    axes = plan.rehearsal.plot()
    assert len(axes.patches) == 3


# settings ----------------------------------------------------------------------------------------------------------


def ranged(market, text: str):
    settings = parse_settings(BASE.replace("[assortment]", "[assortment]\n" + text))
    return run_plan(market, settings).ranges


def test_settings_of_the_toml_reach_the_optimiser(market, plan) -> None:
    kinds = market.products.set_index("sku")["subcategory"]
    free = plan.ranges.table[plan.ranges.table["status"] != "delist"]
    counts = free.groupby([free["sku"].map(kinds), "store_cluster"])["sku"].nunique()
    kind = counts.idxmax()[0]
    assert counts.max() > 1
    stores = market.stores.assign(centre=["north", "south"] * 5)
    products = market.products.assign(moq="12")
    given = dataclasses.replace(market, stores=stores, products=products)
    text = f"""
space = "width_cm"
max_facings = 2
facing_returns = [0.9]
core_in = "every_store"
max_distinct = 30
cost_per_chain_sku = 20.0
cost_per_centre_sku = 10.0
order_periods = 8.0
case_periods = 30.0
phase_share = 0.25
limits = [
    {{ column = "subcategory", value = "{kind}", most = 1 }},
    {{ column = "price_tier", value = "low", least = 1 }},
]
"""
    found = ranged(given, text)
    rules = found.rules
    assert rules.max_facings == 2 and rules.facing_returns == (0.9,) and rules.core_in == "every_store"
    assert rules.sku_cost == pytest.approx(20 / market.periods_per_year) and rules.phase_share == 0.25
    assert set(found.checks["rule"]) >= {"space", "facings", "max_distinct", "order", "case_pack", "limit"}
    assert found.checks["worst_violation"].max() < 1e-6
    lines = found.table[(found.table["status"] != "delist")]
    assert lines["facings"].max() == 2
    assert lines.groupby("category")["sku"].nunique().max() <= 30
    held = lines[lines["sku"].map(kinds) == kind].groupby("store_cluster")["sku"].nunique()
    assert not held.max() > 1  # no line left is kept too


def test_rules_that_clash_are_named(market, plan) -> None:
    traded = sorted(plan.demand.table["sku"].unique())
    with pytest.raises(InfeasibleError, match=r"No category could be planned.*no range satisfies .*together"):
        ranged(market, f"size = 1.0\nmust_list = {traded}")


def test_bad_settings_of_ranges_name_the_cure(market) -> None:
    with pytest.raises(SettingsError, match="one for each facing"):
        parse_settings("[assortment]\nmax_facings = 3\nfacing_returns = [0.2]")
    with pytest.raises(SettingsError, match="least"):
        parse_settings("[[assortment.limits]]\ncolumn = 'brand'\nvalue = 'X'\nleast = 3\nmost = 2")
    with pytest.raises(SettingsError, match="no column 'centre'"):
        ranged(market, "cost_per_centre_sku = 5.0")
    letters = dataclasses.replace(market, products=market.products.assign(moq="a few"))
    with pytest.raises(TableError, match="moq that is no number"):
        ranged(letters, "order_periods = 4.0")
