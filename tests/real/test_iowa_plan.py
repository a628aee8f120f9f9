"""The whole plan on Iowa's real trade: Hy-Vee's spirits, end to end."""

import pytest
from browser_reading import running_browser, use

from geomarket.planning import claim_folder, demo_plan, write_outputs
from geomarket.report import write_report, write_workbook

pytestmark = pytest.mark.real


@pytest.fixture(scope="module")
def plan(data_home):
    return demo_plan("iowa")


def test_four_layers_meet_on_one_grid_and_conserve_their_totals(plan):
    assert len(plan.hexes.layers) == 4
    assert plan.hexes.conservation["conserved"].all()
    assert plan.hexes.table["population"].sum() == pytest.approx(3_190_369, rel=1e-9)


def test_what_has_no_data_is_skipped_and_said(plan):
    assert "customers" in plan.skipped
    said = " ".join(plan.warnings)
    assert "sell-in" in said
    assert "same price" in said
    assert "no customers" in said


def test_the_plan_covers_the_chains_live_stores(plan):
    assert 170 <= len(plan.stores) <= 190
    assert set(plan.ranges.changes["store_id"]) <= set(plan.stores["store_id"])
    assert plan.ranges.checks["worst_violation"].max() < 1e-6


def test_catchments_beat_the_uniform_baseline_out_of_sample(plan):
    judged = plan.catchments.comparison
    other_year = judged[(judged["sample"] == "out") & (judged["test"] == "other year")].set_index("model")
    assert other_year.loc["huff", "r2_log"] > other_year.loc["uniform", "r2_log"]


def test_promotions_know_that_cuts_were_chain_wide(plan):
    assert plan.response is not None
    assert any("every store at once" in caution for caution in plan.response.cautions)


def test_report_stays_under_3_mb(plan, tmp_path):
    claim_folder(tmp_path / "out")
    write_outputs(plan, tmp_path / "out", {"report.html": write_report, "plan.xlsx": write_workbook})
    assert (tmp_path / "out" / "report.html").stat().st_size < 3_000_000


@pytest.mark.browser
def test_report_works_at_every_size_light_and_dark(plan, tmp_path):
    path = write_report(plan, tmp_path / "report.html")
    with running_browser() as browser:
        assert use(browser, path, thorough=True) == []
