"""A plan's test from end to end: designed, written, run in a simulated market with a planted effect, measured."""

import dataclasses
import json
import re
import shutil

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from geomarket.cli import app
from geomarket.errors import MissingDataError, NotSupportedError, SettingsError, TableError
from geomarket.experiments import design_test
from geomarket.market import parse_settings
from geomarket.planning import claim_folder, measure_plan, run_plan, write_measurement, write_outputs
from geomarket.planning.clusters import describe_stores
from geomarket.planning.measurement import expected_gain, share_taken_from_controls, try_test
from geomarket.planning.trade import current_trade
from geomarket.report import (
    render_report,
    write_measurement_figures,
    write_measurement_page,
    write_workbook,
)
from geomarket.simulate import simulate_market

runner = CliRunner()
LIFT = 0.3
CUT = pd.Timestamp("2023-11-27")
SETTINGS = parse_settings(
    "[promotions]\nenabled = false\n[store_clusters]\nmax_clusters = 2\n[assortment]\ncost_per_change = 1.0\n"
    "[measurement]\nbuffer_rings = 1\n"
)


@pytest.fixture(scope="module")
def whole():
    market = simulate_market(n_customers=1_500, n_stores=14, n_skus=50, weeks=60, seed=5)
    # what is known of customers has no part in the test of a plan
    return dataclasses.replace(market, customers=None, baskets=None, contacts=None)


@pytest.fixture(scope="module")
def plan(whole):
    sales = whole.sales.filter(whole.sales["period"] < CUT.date())
    return run_plan(dataclasses.replace(whole, sales=sales), SETTINGS)


@pytest.fixture(scope="module")
def folder(plan, tmp_path_factory):
    out = tmp_path_factory.mktemp("plan") / "out"
    claim_folder(out)
    write_outputs(plan, out, {})
    return out


@pytest.fixture(scope="module")
def later(whole):
    frame = whole.sales.to_pandas()
    return frame[pd.to_datetime(frame["period"]) >= CUT].astype({"revenue": "float64"})


@pytest.fixture(scope="module")
def planted(later, plan, tmp_path_factory):
    """Sales of the test with a known effect in test stores, as a CSV file."""
    table = plan.experiment.design.table
    test = later["store_id"].isin(table.loc[table["arm"] == "test", "store_id"])
    raised = later.copy()
    # units a thousand times as large, so that whole units hold the effect exactly enough
    raised["units"] = (later["units"] * np.where(test, 1 + LIFT, 1.0)).round().astype(int)
    raised["revenue"] = (later["revenue"] * np.where(test, 1 + LIFT, 1.0)).round(2)
    path = tmp_path_factory.mktemp("sales") / "planted.csv"
    raised.to_csv(path, index=False)
    return path


@pytest.fixture(scope="module")
def plain(later, tmp_path_factory):
    path = tmp_path_factory.mktemp("sales") / "plain.parquet"
    later.to_parquet(path)
    return path


def test_the_plan_comes_with_its_test(plan, folder):
    experiment = plan.experiment
    assert experiment.design.start == CUT
    assert experiment.summary()[0] in plan.summary()
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["experiment"]["pairs"] == experiment.design.n_pairs >= 3
    assert manifest["experiment"]["start"] == str(CUT.date())
    design = pd.read_parquet(folder / "tables" / "test_design.parquet")
    assert sorted(design["store_id"]) == sorted(plan.stores["store_id"])
    assert design["cell"].map(type).eq(str).all()
    assert design["arm"].value_counts()["test"] == design["arm"].value_counts()["control"]
    explained = pd.read_parquet(folder / "tables" / "dictionary.parquet")
    mine = explained[explained["table"].str.startswith("test_")]
    assert (mine["meaning"] != "").all() and mine["table"].nunique() == 7


def test_only_stores_that_change_are_in_the_test(plan):
    inside = plan.experiment.design.table.query("arm != 'out'")["store_id"]
    changed = plan.ranges.changes.query("action != 'keep'")["store_id"]
    assert set(inside) <= set(changed)


def test_a_planted_effect_is_measured(folder, planted, plain):
    found = measure_plan(folder, planted, cost=100.0)
    row = found.table.set_index("kpi").loc["revenue"]
    assert row["low"] < LIFT < row["high"] and row["low"] > 0
    nothing = measure_plan(folder, plain).table.set_index("kpi").loc["revenue"]
    # the planted effect, to the cent that revenue is rounded to
    assert (1 + row["lift"]) / (1 + nothing["lift"]) == pytest.approx(1 + LIFT, abs=1e-4)
    assert nothing["low"] < 0 < nothing["high"]
    assert found.lift.roi["cost"] == 100.0
    assert found.lift.n_periods == 13


def test_the_finding_has_its_figure_for_slides(folder, planted, tmp_path):
    found = measure_plan(folder, planted)
    written = write_measurement_figures(found, tmp_path, ("svg",))
    again = write_measurement_figures(found, tmp_path / "again", ("svg",))
    assert written[0].read_bytes() == again[0].read_bytes()
    page = write_measurement_page(found, tmp_path / "page.html").read_text()
    named = set(re.findall(r'data-figure="([^"]*)"', page))
    assert named == {path.stem for path in written} and page.count("data-figure") == page.count(
        '<svg class="chart'
    )
    assert found.summary()[0].split(" ")[0] in written[0].read_text()


def test_units_and_margin_are_those_of_the_sales(folder, later, plain, plan):
    found = measure_plan(folder, plain)
    design = plan.experiment.design
    test = design.table.loc[design.table["arm"] == "test", "store_id"]
    mine = later[later["store_id"].isin(test) & later["sku"].isin(plan.experiment.products["sku"])]
    cost = mine["sku"].map(plan.market.products.set_index("sku")["cost"])
    actual = found.table.set_index("kpi")["actual"]
    assert actual["units"] == pytest.approx(mine["units"].sum())
    assert actual["revenue"] == pytest.approx(mine["revenue"].sum())
    assert actual["margin"] == pytest.approx((mine["revenue"] - mine["units"] * cost).sum())


def test_the_command_writes_page_tables_and_json(folder, planted, tmp_path):
    out = tmp_path / "found"
    result = runner.invoke(app, ["measure", str(folder), "--sales", str(planted), "--out", str(out)])
    assert result.exit_code == 0, result.output
    assert "test stores made" in result.output and result.output.rstrip().endswith("measurement.html")
    content = json.loads((out / "measurement.json").read_text())
    assert content["periods"] == 13 and content["roi"]["cost"] > 0
    assert {row["kpi"] for row in content["effects"]} == {"units", "revenue", "margin"}
    page = (out / "measurement.html").read_text()
    assert "What the test found" in page and "<script src" not in page and " style=" not in page
    history = pd.read_csv(out / "measured.csv")
    assert history["promised"].notna().sum() == 1
    first = {path.name: path.read_bytes() for path in out.iterdir()}
    again = runner.invoke(app, ["measure", str(folder), "--sales", str(planted), "--out", str(out)])
    assert again.exit_code == 0
    assert {path.name: path.read_bytes() for path in out.iterdir()} == first


def test_a_shorter_stretch_is_measured_and_said(folder, planted):
    found = measure_plan(folder, planted, end=CUT + pd.Timedelta(weeks=4))
    assert found.lift.n_periods == 4
    assert any("designed for 13 weeks; 4 are in the sales" in line for line in found.summary())


def design_again(plan, market, skipped):
    """The last stage alone, on the results of the others."""
    trade = current_trade(market)
    features = describe_stores(trade, plan.hexes, plan.catchments, plan.neighbourhoods, SETTINGS)
    found = (plan.ranges, plan.rehearsal, plan.promotions, plan.catchments, features, plan.hexes.resolution)
    return try_test(market, trade, *found, SETTINGS, skipped)


def test_the_stage_is_the_same_by_itself(plan):
    again = design_again(plan, plan.market, {})
    pd.testing.assert_frame_equal(again.design.table, plan.experiment.design.table)


def test_what_was_found_scales_the_next_plan(plan, folder, planted):
    rows = measure_plan(folder, planted).history.dropna(subset=["promised"])
    half = rows.assign(promised=0.2, lift=0.05, se=0.02)
    again = design_again(plan, dataclasses.replace(plan.market, measured=half), {})
    assert again.kept.tests == 1 and again.kept.estimate < 0.5
    assert again.design.expected == pytest.approx(again.promised * again.kept.estimate)
    assert again.kept.sentence() in again.summary()


@pytest.fixture
def copy(folder, tmp_path):
    return shutil.copytree(folder, tmp_path / "copy")


def test_a_folder_without_a_test_says_why(copy, plain):
    manifest = json.loads((copy / "manifest.json").read_text())
    for skipped, words in (
        ({"measurement": "3 units can be in a test"}, "3 units"),
        ({}, "made before plans"),
    ):
        (copy / "manifest.json").write_text(json.dumps(manifest | {"experiment": None, "skipped": skipped}))
        result = runner.invoke(app, ["measure", str(copy), "--sales", str(plain)])
        assert result.exit_code == 2
        assert words in result.output.replace("\n", " ")
    (copy / "manifest.json").write_text(json.dumps(manifest | {"complete": False}))
    with pytest.raises(MissingDataError, match="not finished"):
        measure_plan(copy, plain)
    (copy / "manifest.json").unlink()
    with pytest.raises(MissingDataError, match=r"no manifest\.json"):
        measure_plan(copy, plain)


def test_a_missing_table_is_named(copy, plain):
    (copy / "tables" / "test_sales.parquet").unlink()
    with pytest.raises(MissingDataError, match=r"test_sales\.parquet"):
        measure_plan(copy, plain)
    (copy / "tables" / "test_sales.parquet").write_bytes(b"no parquet")
    with pytest.raises(TableError, match="can't be read"):
        measure_plan(copy, plain)


def test_bad_sales_end_with_2_and_the_cure(folder, later, tmp_path):
    cases = {
        "lacks.csv": (later.drop(columns="units"), "units"),
        "old.csv": (later.assign(period="2020-01-06"), "both are needed"),
        "others.csv": (later.assign(store_id="elsewhere"), "store_id"),
    }
    for name, (frame, words) in cases.items():
        frame.to_csv(tmp_path / name, index=False)
        result = runner.invoke(app, ["measure", str(folder), "--sales", str(tmp_path / name)])
        assert result.exit_code == 2, result.output
        assert words in result.output.replace("\n", " ")
    result = runner.invoke(app, ["measure", str(folder), "--sales", str(tmp_path / "none.csv")])
    assert result.exit_code == 2 and "no such file" in result.output.replace("\n", " ")
    with pytest.raises(SettingsError, match="half open"):
        measure_plan(folder, tmp_path / "old.csv", start="2024-01-01", end="2024-01-01")


def test_products_the_plan_does_not_know_are_left_out_and_told(folder, later, tmp_path):
    new = later.assign(sku="brand new").drop_duplicates(["store_id", "period"])
    pd.concat([later, new]).to_csv(tmp_path / "new.csv", index=False)
    found = measure_plan(folder, tmp_path / "new.csv")
    later.to_csv(tmp_path / "old.csv", index=False)
    pd.testing.assert_frame_equal(found.table, measure_plan(folder, tmp_path / "old.csv").table)
    assert any(line.startswith("Left out:") for line in found.summary())


def test_columns_are_read_by_the_names_the_plan_had(copy, later, tmp_path):
    manifest = json.loads((copy / "manifest.json").read_text())
    named = {"path": "x.csv", "columns": {"store_id": "Filiale", "revenue": "Umsatz"}, "decimal": ","}
    manifest["settings"]["tables"]["sales"] = named
    (copy / "manifest.json").write_text(json.dumps(manifest))
    german = later.rename(columns={"store_id": "Filiale", "revenue": "Umsatz"})
    german.to_csv(tmp_path / "german.csv", index=False, sep=";", decimal=",")
    later.to_parquet(tmp_path / "ours.parquet")
    found = [measure_plan(copy, tmp_path / name).table for name in ("german.csv", "ours.parquet")]
    pd.testing.assert_frame_equal(*found)


def test_foreign_files_are_left_alone(folder, plain, tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    found = measure_plan(folder, plain)
    with pytest.raises(SettingsError, match="Name another folder"):
        write_measurement(found, tmp_path, write_measurement_page)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_a_market_without_enough_stores_is_skipped_with_the_reason(plan):
    few = plan.stores["store_id"].head(5).tolist()
    sales = plan.market.sales.filter(plan.market.sales["store_id"].isin(few))
    skipped = {}
    assert design_again(plan, dataclasses.replace(plan.market, sales=sales), skipped) is None
    assert "needs at least 6" in skipped["measurement"]
    without = dataclasses.replace(plan, experiment=None, skipped=skipped)
    page = render_report(without)
    assert "How it will be measured" not in page and "needs at least 6" in page


def test_it_can_be_switched_off():
    off = parse_settings("[measurement]\nenabled = false")
    skipped = {}
    assert try_test(*[None] * 7, 8, off, skipped) is None
    assert skipped == {"measurement": "switched off in the settings"}


def test_report_and_workbook_show_it(plan, tmp_path):
    page = render_report(plan)
    assert "How it will be measured" in page
    section = page[page.index('<section id="measurement"') :]
    section = section[: section.index("</section>")]
    for store in plan.experiment.design.table["store_id"]:
        assert store in section
    assert " style=" not in section and section.count("<svg") >= 3
    sheets = pd.read_excel(write_workbook(plan, tmp_path / "plan.xlsx"), sheet_name=None)
    assert len(sheets["Test stores"]) == len(plan.stores)
    assert {"Pairs", "Smallest change"} <= set(sheets["What a test can see"].columns)


def test_names_are_escaped_in_the_page(folder, plain, copy, tmp_path):
    stores = pd.read_parquet(copy / "tables" / "stores.parquet")
    stores["name"] = "<script>alert(1)</script>"
    stores.to_parquet(copy / "tables" / "stores.parquet")
    page = write_measurement_page(measure_plan(copy, plain), tmp_path / "page.html").read_text()
    assert "<script>alert" not in page and "&lt;script&gt;alert" in page


def test_share_taken_from_controls_follows_the_model(plan):
    share = plan.experiment.taken
    assert 0 <= share <= 1
    table = plan.catchments.table
    none = plan.experiment.design.table.assign(arm="test")
    assert share_taken_from_controls(table, none) == 0.0


def test_expected_gain_takes_the_rehearsal_where_there_is_one(plan):
    told = plan.rehearsal.table.set_index("ranges").loc["first phase", "gain_share"]
    assert expected_gain(plan.ranges, plan.rehearsal, None, 13) == pytest.approx(told)
    spaces = plan.ranges.spaces
    planned = spaces["margin"].sum() / spaces["margin_today"].sum() - 1
    assert expected_gain(plan.ranges, None, None, 13) == pytest.approx(planned)


def test_too_short_a_history_is_skipped(plan):
    sales = plan.experiment.sales
    with pytest.raises(NotSupportedError, match="too few for a test"):
        design_test(sales[sales["period"] < "2023-02-01"], plan.experiment.design.table[["store_id", "cell"]])
