"""A whole plan, small: complete, repeatable, checked, and silent about single customers."""

import dataclasses
import hashlib
import json
import re
import shutil

import geopandas as gpd
import numpy as np
import openpyxl
import pandas as pd
import pytest

import geomarket
from geomarket.errors import SettingsError
from geomarket.market import parse_settings
from geomarket.market.connection import sales_table
from geomarket.neighbourhoods import NeighbourhoodClassifier, classify
from geomarket.planning import DEMO_SETTINGS, audit_folder, claim_folder, run_plan, write_outputs
from geomarket.planning.dictionary import TABLE_MEANINGS
from geomarket.planning.offers import next_periods, past_spend, sampled_stores, season_index
from geomarket.report import write_report, write_workbook
from geomarket.simulate import simulate_market

DOCUMENTS = {"report.html": write_report, "plan.xlsx": write_workbook}
SETTINGS = parse_settings(
    DEMO_SETTINGS["simulated"] + "\n[store_clusters]\nn_clusters = 3\nmax_clusters = 4\n"
)


def small_market():
    return simulate_market(n_customers=1_500, n_stores=12, n_skus=80, weeks=40, seed=3)


@pytest.fixture(scope="module")
def plan():
    return run_plan(small_market(), SETTINGS)


@pytest.fixture(scope="module")
def folder(plan, tmp_path_factory):
    out = tmp_path_factory.mktemp("plan") / "out"
    claim_folder(out)
    write_outputs(plan, out, DOCUMENTS)
    return out


def hashes(folder):
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != "timings.json"
    }


def test_everything_promised_is_written(folder):
    names = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    tables = {
        "hexes",
        "neighbourhoods",
        "portraits",
        "stores",
        "catchments",
        "customers_by_cell",
        "customers_by_neighbourhood",
        "demand",
        "assortment",
        "changes",
        "promotions",
        "frontier",
        "quarantine",
    }
    assert {"report.html", "plan.xlsx", "manifest.json", "timings.json", "neighbourhood_scheme.json"} <= names
    assert {f"tables/{name}.parquet" for name in tables} <= names
    assert not [name for name in names if name.endswith(".part")]


def test_hexes_are_geoparquet_and_hold_the_population(folder, plan):
    hexes = gpd.read_parquet(folder / "tables" / "hexes.parquet")
    assert hexes.crs.to_epsg() == 4326
    assert hexes["cell"].map(type).eq(str).all()
    people = plan.market.areas[0].frame[plan.market.areas[0].population].sum()
    assert hexes["population"].sum() == pytest.approx(people, rel=1e-9)


def test_the_scheme_that_is_written_gives_the_same_types_again(folder, plan):
    scheme = NeighbourhoodClassifier.from_json((folder / "neighbourhood_scheme.json").read_text("utf-8"))
    again = classify(plan.hexes, classifier=scheme)
    pd.testing.assert_frame_equal(again.table, plan.neighbourhoods.table)
    assert scheme.frozen_ and scheme.version == plan.settings.plan.name


def test_same_input_settings_and_seed_give_the_same_bytes(folder, tmp_path):
    again = tmp_path / "again"
    claim_folder(again)
    write_outputs(run_plan(small_market(), SETTINGS), again, DOCUMENTS)
    assert hashes(again) == hashes(folder)


def test_manifest_says_how_the_plan_was_made(folder, plan):
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["complete"] is True
    assert manifest["settings"]["store_clusters"]["n_clusters"] == 3
    assert manifest["inputs"] == plan.market.inputs
    assert manifest["tables"]["changes"]["rows"] == len(plan.ranges.changes)
    assert "seconds" not in json.dumps(manifest)


def test_no_table_holds_a_row_per_customer(folder, plan):
    ids = set(plan.market.customers["customer_id"])
    for path in (folder / "tables").glob("*.parquet"):
        frame = pd.read_parquet(path)
        assert "customer_id" not in frame.columns, path.name
        for column in frame.drop(columns="geometry", errors="ignore").select_dtypes(["object", "string"]):
            assert not set(frame[column].dropna().astype(str)) & ids, (path.name, column)


def test_no_published_count_of_customers_is_below_k(folder):
    for name in ("customers_by_cell", "customers_by_neighbourhood"):
        counts = pd.read_parquet(folder / "tables" / f"{name}.parquet")["customers"].dropna()
        assert not ((counts > 0) & (counts < 10)).any(), name


def test_ranges_keep_every_rule_outside_the_solver(plan):
    assert set(plan.ranges.solver["status"]) == {"optimal"}
    assert plan.ranges.checks["worst_violation"].max() < 1e-6
    used = plan.ranges.spaces
    assert (used["used"] <= used["capacity"] + 1e-6).all()


def test_sentences_name_the_currency_of_an_amount(plan, folder):
    """An amount to the cent that stands in a sentence carries the market's sign."""
    bare = re.compile(r"(?<![\d.,€])\d[\d,]*\.\d\d\b(?!\s*(?:%|l\b|kg\b|×))")
    stages = [plan.ranges, plan.promotions, plan.targeting, plan.rehearsal]
    said = [line for stage in stages if stage is not None for line in stage.summary()]
    said += plan.ranges.table["reason"].tolist() + plan.promotions.table["reason"].tolist()
    wrong = [line for line in said if bare.search(line)]
    assert len(said) > 200 and sum("€" in line for line in said) > 100
    assert not wrong, wrong[:5]


def test_changes_lead_from_todays_range_to_the_planned_one(plan):
    changes = plan.ranges.changes
    assert set(changes["action"]) <= {"list", "delist", "keep"}
    assert not changes.duplicated(["store_id", "sku"]).any()
    planned = changes[changes["action"] != "delist"]
    tiers = plan.ranges.planograms.set_index(["store_id", "category"])["tier"]
    assert {(s, c) for s, c in zip(planned["store_id"], planned["category"], strict=True)} <= set(tiers.index)


def test_workbook_reads_back_with_its_sheets(folder, plan):
    book = openpyxl.load_workbook(folder / "plan.xlsx", read_only=True)
    expected = [
        "Read me",
        "Store clusters",
        "Range by cluster",
        "Changes by store",
        "Promotions",
        "Neighbourhoods",
        "Data quality",
    ]
    assert [name for name in expected if name not in book.sheetnames] == []
    rows = sum(1 for _ in book["Changes by store"].iter_rows())
    moving = (plan.ranges.changes["action"] != "keep").sum()
    assert rows >= moving


def test_report_asks_the_network_for_nothing(folder):
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert "simulated" in page.lower()
    assert "<script src" not in page and '<link rel="stylesheet"' not in page
    assert "default-src &#39;none&#39;" in page


def test_a_market_without_optional_tables_is_planned_and_says_what_was_skipped():
    market = dataclasses.replace(
        small_market(),
        customers=None,
        baskets=None,
        contacts=None,
        promotions=None,
        competitors=None,
        travel=None,
        points=None,
        store_totals=None,
        boundaries=None,
    )
    plan = run_plan(market, SETTINGS)
    assert {"customers", "promotions", "targeting"} <= set(plan.skipped)
    assert all(reason for reason in plan.skipped.values())
    assert plan.customers is None and plan.promotions is None
    assert len(plan.ranges.changes)


def test_somebody_elses_folder_is_refused(tmp_path):
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(SettingsError, match="not written by geomarket"):
        claim_folder(tmp_path)
    assert (tmp_path / "thesis.txt").read_text() == "years of work"


def test_own_folder_is_accepted_again(folder):
    claim_folder(folder)


def test_a_failing_document_leaves_no_half_file(plan, tmp_path):
    def broken(plan, path):
        path.write_text("half")
        raise RuntimeError("pen broke")

    claim_folder(tmp_path / "out")
    with pytest.raises(RuntimeError):
        write_outputs(plan, tmp_path / "out", {"report.html": broken})
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["manifest.json"]
    assert json.loads((tmp_path / "out" / "manifest.json").read_text())["complete"] is False


def test_past_spend_counts_store_and_chain_wide_offers():
    sales = pd.DataFrame(
        {
            "store_id": ["1", "1", "2"],
            "sku": ["a", "b", "a"],
            "period": pd.to_datetime(["2024-01-01"] * 3),
            "units": [10.0, 5.0, 2.0],
        }
    )
    offers = pd.DataFrame(
        {"store_id": [None, "1"], "sku": ["a", "b"], "period": ["2024-01-01"] * 2, "depth": [0.1, 0.5]}
    )
    products = pd.DataFrame({"sku": ["a", "b"], "price": [2.0, 4.0]})
    spend = past_spend(
        sales_table(sales.assign(revenue=1.0)), offers, products, [pd.Timestamp("2024-01-01").date()]
    )
    assert spend == pytest.approx(0.1 * 2 * 12 + 0.5 * 4 * 5)


def test_a_large_chain_s_response_rests_on_stores_of_every_size():
    stores = [f"{i:03d}" for i in range(300)]
    pairs = pd.DataFrame({"store_id": np.repeat(stores, np.arange(300) % 50 + 1)})
    clusters = pd.DataFrame({"store_id": stores, "store_cluster": ["A"] * 200 + ["B"] * 92 + ["C"] * 8})
    chosen = sampled_stores(pairs, clusters, len(pairs) // 5)
    of = clusters.set_index("store_id")["store_cluster"]
    assert of[chosen].value_counts().to_dict() == {"A": 40, "B": 18, "C": 8}
    carried = pairs["store_id"].value_counts()
    assert carried[[s for s in chosen if of[s] == "A"]].mean() == pytest.approx(25.5, abs=1)
    assert sampled_stores(pairs, clusters, len(pairs)) == stores


def test_next_periods_follow_the_last_one():
    weeks = next_periods(pd.Timestamp("2024-12-23").date(), 2, "week", None)
    months = next_periods(pd.Timestamp("2021-12-01").date(), 2, "month", None)
    assert [str(day) for day in weeks] == ["2024-12-30", "2025-01-06"]
    assert [str(day) for day in months] == ["2022-01-01", "2022-02-01"]


def test_season_index_averages_one_over_its_year():
    days = pd.date_range("2023-01-02", periods=52, freq="7D")
    sales = pd.DataFrame({"store_id": "1", "sku": "a", "period": days, "units": range(1, 53)})
    products = pd.DataFrame({"sku": ["a"], "category": ["tea"]})
    horizon = [day.date() for day in days + pd.Timedelta(weeks=52)]
    index = season_index(sales, products, [d.date() for d in days], horizon, "week")
    assert index["index"].mean() == pytest.approx(1.0)
    assert index["index"].iloc[0] == pytest.approx(1 / 26.5)


def test_a_category_nobody_sells_is_named():
    settings = parse_settings('[assortment]\ncategories = ["Anvils"]')
    with pytest.raises(SettingsError, match=r"Anvils.*products have"):
        run_plan(small_market(), settings)


def test_public_names_resolve():
    assert [name for name in geomarket.__all__ if not hasattr(geomarket, name)] == []


def test_every_column_of_every_table_is_explained(folder, plan):
    book = pd.read_parquet(folder / "tables" / "dictionary.parquet")
    tables = {
        path.stem: gpd.read_parquet(path) if path.stem == "hexes" else pd.read_parquet(path)
        for path in (folder / "tables").glob("*.parquet")
    }
    told = set(zip(book["table"], book["column"]))
    assert told == {(name, column) for name, frame in tables.items() for column in frame.columns}
    mute = book[book["meaning"].str.strip() == ""]
    assert mute[["table", "column"]].values.tolist() == []
    assert set(tables) <= set(TABLE_MEANINGS)


def test_extra_folders_are_whole_replaced_and_go_with_the_plan(plan, tmp_path):
    out = tmp_path / "out"
    claim_folder(out)

    def fill(plan, folder):
        folder.mkdir()
        (folder / "a.txt").write_text("a")

    def fail(plan, folder):
        fill(plan, folder)
        raise RuntimeError("full")

    write_outputs(plan, out, {}, {"pages": fill, "figures": fill})
    assert (out / "pages" / "a.txt").exists()
    with pytest.raises(RuntimeError):
        write_outputs(plan, out, {}, {"pages": fill, "figures": fail})
    assert (out / "figures" / "a.txt").exists()
    assert not [path for path in out.iterdir() if path.name.endswith(".part")]
    write_outputs(plan, out, {}, {"pages": fill})
    assert not (out / "figures").exists()
    (out / "exports").mkdir()
    (out / "exports" / "mine.txt").write_text("mine")
    write_outputs(plan, out, {}, {})
    assert (out / "exports" / "mine.txt").exists()
    with pytest.raises(SettingsError, match="was not written by geomarket"):
        write_outputs(plan, out, {}, {"exports": fill})


def test_the_attacker_learns_nothing_from_a_whole_folder_unless_a_leak_is_planted(folder, tmp_path):
    found = audit_folder(folder)
    assert found.passed, found.table.to_string()
    assert found.narrowest >= 10
    examined = set(found.checked["table"])
    assert {"cell", "neighbourhood", "segment", "decile", "category", "item_a x item_b"} <= examined
    leaky = tmp_path / "leaky"
    shutil.copytree(folder, leaky)
    path = leaky / "tables" / "customers_by_cell.parquet"
    cells = pd.read_parquet(path)
    row = cells.index[cells["customers"].isna() & cells["neighbourhood"].notna()][0]
    cells.loc[row, "customers"] = 4.0
    cells.to_parquet(path, index=False)
    problems = set(audit_folder(leaky).table["problem"])
    assert problems & {"shown", "contradiction"}
    assert not audit_folder(leaky, folder).passed
