"""What changed between two real runs, and why."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pandas as pd
import pytest
from typer.testing import CliRunner

from geomarket.cli import app
from geomarket.errors import MissingDataError, NotSupportedError, SettingsError
from geomarket.market import load_market, read_settings, write_template
from geomarket.planning import claim_folder, diff_runs, diff_text, run_plan, write_diff, write_outputs

HEAD = "[assortment]\n"
LEAN = HEAD + "substitution = 'none'\n"


def run(toml: Path, out: Path) -> Path:
    settings = read_settings(toml)
    claim_folder(out)
    write_outputs(run_plan(load_market(settings), settings), out, {})
    return out


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> dict[str, Path]:
    """The same small market planned as it is, with one setting changed, and with other sales."""
    base = tmp_path_factory.mktemp("diff")
    write_template(base / "new")
    toml = base / "new" / "plan.toml"
    text = toml.read_text(encoding="utf-8").replace("[promotions]\n", "[promotions]\nenabled = false\n", 1)
    text = text.replace(HEAD, LEAN, 1)
    toml.write_text(text, encoding="utf-8")
    found = {"first": run(toml, base / "first")}
    toml.write_text(text.replace(LEAN, LEAN + "cost_per_change = 40.0\n", 1), encoding="utf-8")
    found["dearer"] = run(toml, base / "dearer")
    toml.write_text(text, encoding="utf-8")
    sales = pd.read_csv(base / "new" / "sales.csv", dtype=str)
    for column in ("units", "revenue"):
        value = sales[column].astype(float)
        sales[column] = value.where(sales["store_id"] != sales["store_id"].iloc[0], 3 * value)
    sales.to_csv(base / "new" / "sales.csv", index=False)
    found["sales"] = run(toml, base / "sales")
    return found


def test_the_same_run_twice_is_no_change(runs, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(runs["first"], copy)
    found = diff_runs(runs["first"], copy)
    assert found.same and found.summary() == [
        "Nothing changed: the same inputs, settings, versions and results."
    ]
    done = CliRunner().invoke(app, ["diff", str(runs["first"]), str(copy)])
    assert done.exit_code == 0 and "Nothing changed" in done.output


def test_one_setting_is_named_as_the_cause_of_all_that_changed(runs) -> None:
    found = diff_runs(runs["first"], runs["dearer"])
    assert found.causes[["kind", "item", "before", "after"]].to_numpy().tolist() == [
        ["setting", "[assortment] cost_per_change", "0.0", "40.0"]
    ]
    changed = found.stages.set_index("stage")["changed"]
    assert changed["ranges"]
    assert not changed[["neighbourhoods", "customers", "catchments", "demand", "store clusters"]].any()
    why = found.stages.set_index("stage")["why"]
    assert why["ranges"] == "changed with setting [assortment] cost_per_change"
    assert "One thing differs" in " ".join(found.summary())
    # The numbers are those of the tables.
    first, dearer = (
        pd.read_parquet(runs[name] / "tables" / "changes.parquet") for name in ("first", "dearer")
    )
    row = found.table[found.table["item"] == "changes in the first phase"].iloc[0]
    assert [row["before"], row["after"]] == [f"{(t['when'] == 'phase 1').sum():,}" for t in (first, dearer)]
    planned = [
        set(map(tuple, t.loc[t["action"] != "delist", ["store_id", "sku"]].to_numpy()))
        for t in (first, dearer)
    ]
    moved = len(planned[0] ^ planned[1])
    assert found.table["item"].eq(f"{moved:,} listings by store differ").any() == (moved > 0)
    done = CliRunner().invoke(app, ["diff", str(runs["first"]), str(runs["dearer"])])
    assert done.exit_code == 1 and "cost_per_change: 0.0 → 40.0" in done.output


def test_a_changed_sales_file_is_followed_through_the_stages(runs, tmp_path: Path) -> None:
    found = diff_runs(runs["first"], runs["sales"])
    assert found.causes["item"].tolist() == ["sales.csv (sales)"]
    why = found.stages.set_index("stage")["why"]
    assert why["neighbourhoods"] == ""
    assert why["demand"].startswith("changed with input sales.csv (sales)")
    assert "through" in why["ranges"] and "demand" in why["ranges"]
    assert set(found.table["part"]) >= {"money", "ranges"}
    text = diff_text(found, most=1)
    assert "What went in" in text and "more (--out diff.md has all)" in text

    for name in ("diff.md", "diff.html", "diff.json", "diff.txt"):
        path = write_diff(found, tmp_path / name)
        assert "sales.csv" in path.read_text(encoding="utf-8").replace("\\", "")
    content = json.loads((tmp_path / "diff.json").read_text(encoding="utf-8"))
    assert content["same"] is False and len(content["changes"]) == len(found.table)
    page = (tmp_path / "diff.html").read_text(encoding="utf-8")
    assert page.count("<tr>") >= len(found.table) and "<script" not in page
    with pytest.raises(SettingsError, match=r"\.md, \.html, \.json"):
        write_diff(found, tmp_path / "diff.pdf")


def test_codes_alone_are_no_change(runs, tmp_path: Path) -> None:
    """Renaming the clusters moves no store and no product."""
    other = tmp_path / "renamed"
    shutil.copytree(runs["first"], other)
    for name in ("store_cluster_members", "assortment"):
        path = other / "tables" / f"{name}.parquet"
        frame = pd.read_parquet(path)
        codes = sorted(frame["store_cluster"].unique())
        swapped = dict(zip(codes, [*codes[1:], codes[0]]))
        frame.assign(store_cluster=frame["store_cluster"].map(swapped)).to_parquet(path)
    found = diff_runs(runs["first"], other)
    assert not found.table["part"].isin(["store clusters", "ranges"]).any()
    assert "please report this" in " ".join(found.summary())


def test_user_text_is_escaped(runs, tmp_path: Path) -> None:
    other = tmp_path / "<img src=x>|run"
    shutil.copytree(runs["sales"], other)
    found = diff_runs(runs["first"], other)
    page = write_diff(found, tmp_path / "d.html").read_text(encoding="utf-8")
    assert "<img" not in page and "&lt;img" in page
    assert "<img" not in write_diff(found, tmp_path / "d.md").read_text(encoding="utf-8")


def test_folders_that_are_no_finished_runs_are_refused(runs, tmp_path: Path) -> None:
    with pytest.raises(MissingDataError, match=r"manifest\.json"):
        diff_runs(tmp_path, runs["first"])
    (tmp_path / "manifest.json").write_text('{"written_by": "someone"}')
    with pytest.raises(NotSupportedError, match="not written by geomarket"):
        diff_runs(runs["first"], tmp_path)
    (tmp_path / "manifest.json").write_text('{"written_by": "geomarket plan", "complete": false}')
    with pytest.raises(NotSupportedError, match="did not finish"):
        diff_runs(runs["first"], tmp_path)
    (tmp_path / "manifest.json").write_text("{")
    done = CliRunner().invoke(app, ["diff", str(runs["first"]), str(tmp_path)])
    assert done.exit_code not in (0,) and "not readable" in done.output
