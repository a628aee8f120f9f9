"""Bad input, killed runs, full disks: a clear word, nothing half-written, never a wrong plan.

benchmarks/faults.py tries the same with many more cases and publishes the counts.
"""

import json
import os
import shutil
import subprocess
import sys
import time
import zipfile
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import faults
import pytest
import wrong_tables
from hypothesis import HealthCheck, given, settings
from typer.testing import CliRunner

from geomarket.cli import app
from geomarket.errors import GeomarketError, SolverError
from geomarket.market import load_market, read_settings, write_template
from geomarket.planning import hold_folder
from geomarket.planning.folders import clear_leftovers
from geomarket.writing import replacing


class Undisturbed(NamedTuple):
    files: dict[str, str]
    seconds: float


FEW = settings(
    max_examples=12,
    deadline=None,
    database=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
)
MANY = settings(FEW, max_examples=400)


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    folder = tmp_path_factory.mktemp("faults") / "plan"
    write_template(folder)
    return folder


@pytest.fixture(scope="module")
def undisturbed(template):
    """What a run gives that nothing disturbs."""
    out = template.parent / "undisturbed"
    start = time.perf_counter()
    code, said = faults.run(
        "plan", str(template / "plan.toml"), "--out", str(out), env=cache(template.parent)
    )
    assert code == 0, said
    return Undisturbed(faults.contents(out), time.perf_counter() - start)


def cache(folder):
    return {"XDG_CACHE_HOME": str(folder / "cache")}


def test_mutated_settings_are_accepted_or_refused_in_words(template):
    seen = Counter()

    @MANY
    @given(faults.toml_texts((template / "plan.toml").read_text(encoding="utf-8")))
    def tried(text):
        seen[faults.settings_outcome(text)] += 1

    tried()
    assert min(seen["accepted"], seen["refused"]) > 50, seen


@pytest.mark.parametrize("name", ["stores", "products", "sales", "promotions"])
def test_mutated_tables_are_read_or_refused_in_words(name, template, tmp_path):
    folder = faults.copy_of(template, tmp_path / "plan")
    path = folder / f"{name}.csv"
    seen = Counter()

    @FEW
    @given(faults.table_bytes(path.read_bytes()))
    def tried(content):
        path.write_bytes(content)
        seen[faults.market_outcome(folder / "plan.toml")] += 1

    tried()
    assert sum(seen.values()) >= 10


@pytest.mark.parametrize("moment", [0.5, 0.8, 0.9])
def test_a_killed_run_goes_on_to_the_same_bytes(moment, template, undisturbed, tmp_path):
    """Killed while it computes, and while it writes: before and after the last checkpoint."""
    out = tmp_path / "out"
    arguments = ("plan", str(template / "plan.toml"), "--out", str(out))
    faults.run(*arguments, kill_after=moment * undisturbed.seconds, env=cache(tmp_path))
    manifest = out / "manifest.json"
    if manifest.exists():
        json.loads(manifest.read_text(encoding="utf-8"))
    code, said = faults.run(*arguments, "--resume", env=cache(tmp_path))
    assert code == 0, said
    left = faults.contents(out)
    assert {name for name in left if ".part" in name} == set()
    assert left == undisturbed.files


def test_what_a_killed_run_left_is_cleared(tmp_path):
    (tmp_path / "tables").mkdir()
    (tmp_path / "tables" / ".hexes.parquet.0a1b2c3d.part").write_bytes(b"half")
    (tmp_path / ".pages.0a1b2c3d.part").mkdir()
    (tmp_path / ".pages.0a1b2c3d.part" / "index.html").write_text("half")
    (tmp_path / "report.html").write_text("whole")
    clear_leftovers(tmp_path)
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["report.html", "tables"]


def test_decimal_comma_locale_and_windows_line_ends_change_nothing(template, undisturbed, tmp_path):
    folder = faults.copy_of(template, tmp_path / "plan")
    for path in folder.glob("*.csv"):
        path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    code, said = faults.run(
        "plan",
        str(folder / "plan.toml"),
        "--out",
        str(tmp_path / "out"),
        env=cache(tmp_path) | {"LC_ALL": "de_DE.UTF-8", "LANG": "de_DE.UTF-8", "TZ": "Pacific/Apia"},
    )
    assert code == 0, said
    found = faults.contents(tmp_path / "out")
    # The manifest holds the hashes of the input files, which differ.
    apart = {"manifest.json", "report.html", "plan.xlsx"}
    assert {n: h for n, h in found.items() if n not in apart} == {
        n: h for n, h in undisturbed.files.items() if n not in apart
    }


def full_disk(path, size="2m"):
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(path)], capture_output=True, check=False
    )
    if done.returncode:
        pytest.skip("A SMALL DISK CAN'T BE MADE HERE: mounting a tmpfs needs root")


def test_a_full_disk_is_said_and_leaves_nothing_half_written(template, tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    full_disk(disk, "300k")
    try:
        code, said = faults.run(
            "plan", str(template / "plan.toml"), "--out", str(disk / "out"), env=cache(tmp_path)
        )
        assert code == 1, said
        assert "disk is full" in said or "No space left" in said
        assert "Traceback" not in said
        assert not [name for name in faults.contents(disk / "out") if name.endswith(".part")]
        manifest = json.loads((disk / "out" / "manifest.json").read_text())
        assert manifest["complete"] is False
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_an_unwritable_folder_is_refused_before_any_work():
    code, said = faults.run("demo", "--size", "small", "--out", "/proc/geomarket")
    assert code == 2
    assert "can't be written" in said


def test_a_file_that_fails_half_way_keeps_the_old_one(tmp_path):
    path = tmp_path / "report.html"
    path.write_text("old")
    with pytest.raises(RuntimeError), replacing(path) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["report.html"]


def test_truncated_parquet_is_refused_in_words(template, tmp_path):
    import pandas as pd

    folder = faults.copy_of(template, tmp_path / "plan")
    pd.read_csv(folder / "sales.csv", dtype=str).to_parquet(folder / "sales.parquet")
    whole = (folder / "sales.parquet").read_bytes()
    text = (folder / "plan.toml").read_text().replace("sales.csv", "sales.parquet")
    (folder / "plan.toml").write_text(text)
    load_market(read_settings(folder / "plan.toml"))
    for share in (0.1, 0.5, 0.99):
        (folder / "sales.parquet").write_bytes(whole[: int(len(whole) * share)])
        with pytest.raises(GeomarketError, match=r"sales.parquet can't be read"):
            load_market(read_settings(folder / "plan.toml"))


def test_file_names_do_not_lead_out_of_the_folder(template, tmp_path):
    """Names from the data name files of pages and campaigns: none may climb."""
    folder = faults.copy_of(template, tmp_path / "plan")
    text = (folder / "stores.csv").read_text()
    first = text.splitlines()[1].split(",")[0]
    for path in folder.glob("*.csv"):
        content = path.read_text()
        path.write_text(
            content.replace(f"\n{first},", "\n../../../evil,").replace(f",{first},", ",../../../evil,")
        )
    out = tmp_path / "deep" / "down" / "out"
    code, said = faults.run(
        "plan", str(folder / "plan.toml"), "--out", str(out), "--pages", env=cache(tmp_path)
    )
    assert code == 0, said
    outside = [p for p in tmp_path.rglob("*evil*") if out not in p.parents]
    assert outside == []
    assert not list((tmp_path / "deep").glob("*evil*"))


def test_bombs_in_workbooks_are_refused(template, tmp_path):
    folder = faults.copy_of(template, tmp_path / "plan")
    text = (folder / "plan.toml").read_text().replace("stores.csv", "stores.xlsx")
    (folder / "plan.toml").write_text(text)
    with zipfile.ZipFile(folder / "stores.xlsx", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("xl/worksheets/sheet1.xml", b"0" * (2**28))
    with pytest.raises(GeomarketError, match="would unpack to"):
        load_market(read_settings(folder / "plan.toml"))
    laughs = "".join(f'<!ENTITY l{i + 1} "{f"&l{i};" * 10}">' for i in range(9))
    bomb = f'<?xml version="1.0"?><!DOCTYPE x [<!ENTITY l0 "ha">{laughs}]><workbook>&l9;</workbook>'
    with zipfile.ZipFile(folder / "stores.xlsx", "w") as archive:
        archive.writestr("[Content_Types].xml", bomb)
        archive.writestr("xl/workbook.xml", bomb)
    with pytest.raises(GeomarketError, match="can't be read as an Excel workbook"):
        load_market(read_settings(folder / "plan.toml"))


def test_sql_in_names_is_a_name(template, tmp_path):
    folder = faults.copy_of(template, tmp_path / "plan")
    evil = 'units"); DROP TABLE sales; --'
    content = (folder / "sales.csv").read_text()
    head, rest = content.split("\n", 1)
    quoted = '"' + evil.replace('"', '""') + '"'
    (folder / "sales.csv").write_text(head.replace("units", quoted) + "\n" + rest)
    toml = (
        (folder / "plan.toml")
        .read_text()
        .replace('path = "sales.csv"', 'path = "sales.csv"\ncolumns = { units = \'' + evil + "' }")
    )
    (folder / "plan.toml").write_text(toml)
    market = load_market(read_settings(folder / "plan.toml"))
    assert int(market.sales.count().execute()) > 1_000


def test_a_lock_dies_with_its_process(tmp_path):
    code = "import os, sys, pathlib\nfrom geomarket.planning import hold_folder\n"
    code += "with hold_folder(pathlib.Path(sys.argv[1])):\n    os.kill(os.getpid(), 9)"
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "out")], check=False)
    with hold_folder(tmp_path / "out"):
        assert Path(tmp_path / "out").is_dir()


def test_a_clock_set_back_between_runs_changes_nothing(template, undisturbed, tmp_path):
    """Results are found by content: times of files play no part."""
    folder = faults.copy_of(template, tmp_path / "plan")
    arguments = ("plan", str(folder / "plan.toml"), "--out", str(tmp_path / "out"))
    assert faults.run(*arguments, env=cache(tmp_path))[0] == 0
    for path in [*folder.iterdir(), *(tmp_path / "cache").rglob("*")]:
        os.utime(path, (4_000_000_000, 4_000_000_000))
    code, said = faults.run(*arguments, "--resume", env=cache(tmp_path))
    assert code == 0, said
    assert "Reused" in said
    assert faults.contents(tmp_path / "out") == undisturbed.files


@pytest.mark.skipif(
    shutil.which("faketime") is None, reason="FAKETIME MISSING: install faketime to set clocks back"
)
def test_a_run_whose_clock_is_set_back_gives_the_same_bytes(template, undisturbed, tmp_path):
    out, kept = tmp_path / "out", kept_of(template, tmp_path)
    command = [sys.executable, "-m", "geomarket", "plan", str(template / "plan.toml"), "--out", str(out)]
    back = ["faketime", "2024-12-24 12:00:00", *command, "--resume", "--checkpoints", str(kept)]
    done = subprocess.run(back, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "Reused" in done.stdout
    assert faults.contents(out) == undisturbed.files


def kept_of(template, folder):
    """Return a copy of what the undisturbed run kept."""
    (kept,) = (template.parent / "cache" / "geomarket").iterdir()
    return faults.copy_of(kept, folder / "kept")


@pytest.mark.parametrize("kind", [kind for kind in wrong_tables.WRONG if kind != "two of these"])
def test_tables_wrong_in_meaning_are_read_or_refused_in_words(kind, template, tmp_path):
    folder = faults.copy_of(template, tmp_path / "plan")
    faults.with_what_it_needs(folder, "sales")
    path = folder / "sales.csv"
    path.write_bytes(wrong_tables.changed_bytes(path.read_bytes(), wrong_tables.WRONG[kind], 1))
    assert faults.market_outcome(folder / "plan.toml") in ("accepted", "would stop", "refused")


def test_what_is_planned_of_a_faulty_table_holds_what_every_plan_must(template, tmp_path):
    """Rows of sales that mean nothing are set aside and counted; what must hold is recomputed from the file."""
    folder = faults.copy_of(template, tmp_path / "plan")
    head, *rows = (folder / "sales.csv").read_text().splitlines()
    bad = ["S99,1002,2024-01-01,7,42.63", "S01,1002,2024-01-08,-5,30.45", "S01,1002,2199-01-01,7,42.63"]
    (folder / "sales.csv").write_text("\n".join([head, *rows, *bad]) + "\n")
    outcome, plan = wrong_tables.planned(folder / "plan.toml")
    assert outcome == "planned"
    aside = plan.market.quarantine[plan.market.quarantine["table"] == "sales"]
    assert sorted(aside["row"].dropna().astype(int)) == [len(rows) + 1, len(rows) + 2, len(rows) + 3]
    assert wrong_tables.wrong_in(plan, folder) == []
    (folder / "sales.csv").write_text("\n".join([head, *rows[1:]]) + "\n")
    assert any("revenue" in line for line in wrong_tables.wrong_in(plan, folder)), "the check finds nothing"


def test_rows_and_columns_in_another_order_give_the_same_plan(template, undisturbed, tmp_path):
    folder = faults.copy_of(template, tmp_path / "plan")
    for name in wrong_tables.TABLES:
        content = whole = (folder / f"{name}.csv").read_bytes()
        for change in wrong_tables.HARMLESS.values():
            content = wrong_tables.changed_bytes(content, change, seed=0)
        assert content != whole
        (folder / f"{name}.csv").write_bytes(content)
    code, said = faults.run(
        "plan", str(folder / "plan.toml"), "--out", str(tmp_path / "out"), env=cache(tmp_path)
    )
    assert code == 0, said
    about_files = ("data_quality", "quarantine", "dictionary")
    before, after = (
        {name: digest for name, digest in files.items() if name.startswith("tables")}
        for files in (undisturbed.files, faults.contents(tmp_path / "out"))
    )
    differ = {name for name in before | after if before.get(name) != after.get(name)}
    assert len(before) > 30 and all(Path(name).stem in about_files for name in differ), differ


def test_a_csv_cut_in_mid_line_is_said(template, tmp_path):
    folder = faults.copy_of(template, tmp_path / "plan")
    whole = (folder / "sales.csv").read_bytes()
    rows = whole.count(b"\n") - 1

    def checked(content):
        (folder / "sales.csv").write_bytes(content)
        quality = load_market(read_settings(folder / "plan.toml")).quality
        return quality[quality["table"] == "sales"].set_index("check")

    assert "no last line end" not in checked(whole).index
    within_a_value = checked(whole[:-2])
    assert within_a_value.loc["rows read", "rows"] == rows
    assert "may be wrong" in within_a_value.loc["no last line end", "message"]
    within_a_line = checked(whole[: whole.rindex(b",")])
    assert (within_a_line["action"] == "set aside").sum() == 1
    assert "no last line end" in within_a_line.index


def test_a_category_that_fails_fails_alone(template, undisturbed, tmp_path, monkeypatch):
    """The rest is delivered, the failure is in report, manifest and exit code; the next run does what is missing."""
    from geomarket.planning import range_jobs
    from geomarket.planning.checkpoints import MISSING

    find = range_jobs.Keeper.find
    monkeypatch.setattr(
        range_jobs.Keeper,
        "find",
        lambda keeper, name, on: MISSING if name == "Range of Coffee" else find(keeper, name, on),
    )

    def plan_category(job):
        raise SolverError(f"{job.category}: no range found in 60 s.")

    monkeypatch.setattr(range_jobs, "plan_category", plan_category)
    out = tmp_path / "out"
    arguments = ["plan", str(template / "plan.toml"), "--resume", "--out", str(out)]
    arguments += ["--checkpoints", str(kept_of(template, tmp_path))]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 1, result.output
    assert "FAILED: Range of Coffee" in result.output
    manifest = json.loads((out / "manifest.json").read_text(encoding="utf-8"))
    assert manifest["complete"] is True
    assert "Range of Coffee" in [failure["name"] for failure in manifest["failures"]]
    assert "NOT PLANNED: Range of Coffee" in (out / "report.html").read_text(encoding="utf-8")
    monkeypatch.undo()
    again = CliRunner().invoke(app, arguments)
    assert again.exit_code == 0, again.output
    reused = next(line for line in again.output.splitlines() if line.startswith("Reused"))
    assert "Range of Biscuits" in reused
    assert "Range of Coffee" not in reused
    assert faults.contents(out) == undisturbed.files


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (MemoryError(), "not enough memory"),
        (ImportError("lib.so: failed to map segment from shared object"), "not enough memory"),
        (OSError(28, "No space left on device", "sales.duckdb"), "disk is full"),
        (KeyError("column"), "unforeseen: KeyError"),
    ],
)
def test_a_run_that_breaks_says_why_and_leaves_no_half_file(error, words, template, tmp_path, monkeypatch):
    def broken(*given, **named):
        raise error

    monkeypatch.setattr("geomarket.planning.run_plan", broken)
    out = tmp_path / "out"
    result = CliRunner().invoke(app, ["plan", str(template / "plan.toml"), "--out", str(out)])
    assert result.exit_code == 1
    assert words in result.output
    assert "Traceback" not in result.output
    assert [path.name for path in out.rglob("*")] == [".geomarket.lock"]


def test_json_logs_hold_what_others_write_to_standard_error():
    code = """if True:
    import logging, os, subprocess, sys, warnings
    from geomarket.console import errors_to_exit_codes, set_up_logging
    set_up_logging(False, as_json=True)
    logging.getLogger("geomarket").warning("of ours")
    os.write(2, b"of a library\\n")
    subprocess.run([sys.executable, "-c", "import sys; print('of a worker', file=sys.stderr)"])
    warnings.warn("of a programmer")
    raise RuntimeError("of nobody")
    """
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    records = [json.loads(line) for line in done.stderr.splitlines()]
    said = " ".join(record["message"] for record in records)
    for words in ("of ours", "of a library", "of a worker", "of a programmer", "RuntimeError: of nobody"):
        assert words in said
