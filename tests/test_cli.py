"""The command line: exit codes, messages, and the template that runs as it is."""

import json
import os
import signal

import pytest
from typer.testing import CliRunner

from geomarket.cli import app

runner = CliRunner()


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    folder = tmp_path_factory.mktemp("new") / "plan"
    result = runner.invoke(app, ["new", str(folder)])
    assert result.exit_code == 0, result.output
    return folder


def test_new_then_plan_runs_as_it_is(template, tmp_path):
    out = tmp_path / "out"
    more = ["--pages", "--figures", "--format", "csv,kml"]
    result = runner.invoke(app, ["plan", str(template / "plan.toml"), "--out", str(out), *more])
    assert result.exit_code == 0, result.output
    assert result.output.rstrip().endswith("report.html")
    assert json.loads((out / "manifest.json").read_text())["complete"] is True
    assert (out / "pages" / "index.html").is_file()
    assert (out / "figures" / "map_neighbourhoods.svg").is_file()
    assert {path.name for path in (out / "exports").iterdir() if path.is_dir()} == {"csv", "kml"}
    assert (out / "exports" / "kml" / "catchments.kml").is_file()


def test_an_unknown_export_format_is_named_before_anything_runs(template, tmp_path):
    arguments = ["plan", str(template / "plan.toml"), "--out", str(tmp_path / "out"), "--format", "xls"]
    result = runner.invoke(app, arguments)
    assert result.exit_code == 2
    assert "xls can't be written" in result.output
    assert not (tmp_path / "out").exists()


def test_check_prints_the_quality_report(template):
    result = runner.invoke(app, ["check", str(template / "plan.toml")])
    assert result.exit_code == 0
    assert "A plan can be made" in result.output


def test_an_unknown_key_ends_with_2_and_the_nearest_one(template, tmp_path):
    text = (template / "plan.toml").read_text().replace("[plan]", "[plan]\nsed = 1", 1)
    (template / "typo.toml").write_text(text)
    result = runner.invoke(app, ["plan", str(template / "typo.toml"), "--out", str(tmp_path / "out")])
    assert result.exit_code == 2
    assert "seed" in result.output


def test_a_missing_file_ends_with_2(tmp_path):
    result = runner.invoke(app, ["plan", str(tmp_path / "none.toml"), "--out", str(tmp_path / "out")])
    assert result.exit_code == 2
    assert "none.toml" in result.output


def test_a_foreign_folder_ends_with_2_and_is_left_alone(template, tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    result = runner.invoke(app, ["plan", str(template / "plan.toml"), "--out", str(tmp_path)])
    assert result.exit_code == 2
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_iowa_without_its_data_says_where_to_get_them(tmp_path, monkeypatch):
    monkeypatch.delenv("GEOMARKET_DATA", raising=False)
    result = runner.invoke(app, ["demo", "--market", "iowa", "--out", str(tmp_path / "out")])
    assert result.exit_code == 2
    assert "State of Iowa open data" in result.output.replace("\n", " ")


def test_boundaries_are_written(tmp_path):
    result = runner.invoke(app, ["boundaries", str(tmp_path)])
    assert result.exit_code == 0
    assert sorted(path.suffix for path in tmp_path.iterdir()) == [".geojson", ".geojson"]


def test_version_is_the_packages():
    from importlib.metadata import version

    assert runner.invoke(app, ["version"]).output.strip() == version("geomarket")


def run_process(*arguments, **options):
    import subprocess
    import sys

    return subprocess.Popen(
        [sys.executable, "-m", "geomarket", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # A shell that starts tests in the background lets them ignore Ctrl-C, and children inherit that.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        **options,
    )


@pytest.mark.parametrize(("number", "code"), [("SIGTERM", 143), ("SIGINT", 130)])
def test_a_run_that_is_stopped_leaves_no_part_and_says_how_to_go_on(number, code, tmp_path):
    import time

    out = tmp_path / "out"
    started = run_process("--log", "json", "demo", "--size", "small", "--out", str(out))
    for line in started.stderr:
        if "Hexagons" in line:
            break
    time.sleep(0.2)
    started.send_signal(getattr(signal, number))
    left = started.communicate(timeout=60)[1]
    assert started.returncode == code
    assert "--resume" in left
    assert "Traceback" not in left
    assert [path.name for path in out.rglob("*") if path.name.endswith(".part")] == []


def test_a_query_that_a_signal_stopped_is_no_fault(monkeypatch):
    """DuckDB answers a signal with an error of its own."""
    import typer

    from geomarket import console

    def interrupted():
        try:
            signal.raise_signal(signal.SIGTERM)
        except BaseException:
            raise RuntimeError("Query interrupted") from None

    said = []
    monkeypatch.setattr(console, "_say", said.append)
    with pytest.raises(typer.Exit) as stopped, console.errors_to_exit_codes():
        interrupted()
    assert stopped.value.exit_code == 143 and "--resume" in said[0]
    with pytest.raises(typer.Exit) as failed, console.errors_to_exit_codes():
        raise RuntimeError("Query interrupted")
    assert failed.value.exit_code == 1 and "unforeseen" in said[1]


def test_a_second_run_into_the_same_folder_is_refused(tmp_path):
    from geomarket.planning import hold_folder

    with hold_folder(tmp_path / "out"):
        result = runner.invoke(app, ["demo", "--size", "small", "--out", str(tmp_path / "out")])
    assert result.exit_code == 2
    assert "another run" in result.output


def test_json_logs_are_one_object_a_line(tmp_path):
    started = run_process(
        "--log", "json", "plan", str(tmp_path / "none.toml"), "--out", str(tmp_path / "out")
    )
    lines = started.communicate(timeout=60)[1].splitlines()
    assert started.returncode == 2
    assert any("none.toml" in json.loads(line)["message"] for line in lines)


@pytest.fixture(scope="module")
def finished(template, tmp_path_factory):
    base = tmp_path_factory.mktemp("run")
    arguments = ["plan", str(template / "plan.toml"), "--checkpoints", str(base / "kept")]
    first = runner.invoke(app, [*arguments, "--out", str(base / "out")])
    assert first.exit_code == 0, first.output
    return base, arguments


def contents(folder):
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != "timings.json"
    }


def test_resume_reuses_every_step_and_gives_the_same_bytes(finished):
    base, arguments = finished
    again = runner.invoke(app, [*arguments, "--out", str(base / "again"), "--resume"])
    assert again.exit_code == 0, again.output
    assert "Reused from an earlier run: Hexagons" in again.output
    assert contents(base / "again") == contents(base / "out")


def test_a_changed_setting_redoes_what_depends_on_it_only(finished, template, tmp_path):
    arguments = finished[1]
    text = (template / "plan.toml").read_text()
    changed = template / "dearer.toml"
    assert "\ncost_per_cluster = " in text
    changed.write_text(text.replace("\ncost_per_cluster = ", "\ncost_per_cluster = 9"))
    run = runner.invoke(
        app, ["plan", str(changed), *arguments[2:], "--out", str(tmp_path / "out"), "--resume"]
    )
    assert run.exit_code == 0, run.output
    reused = next(line for line in run.output.splitlines() if line.startswith("Reused"))
    assert "Catchments" in reused
    assert "How local to go" not in reused


def test_workers_do_not_change_the_bytes(finished):
    base, arguments = finished
    run = runner.invoke(app, [*arguments, "--out", str(base / "two"), "--jobs", "2"])
    assert run.exit_code == 0, run.output
    assert contents(base / "two") == contents(base / "out")


def test_threads_of_the_machine_do_not_change_the_bytes(template, tmp_path):
    found = []
    for threads in ("1", "2"):
        out = tmp_path / threads
        started = run_process(
            *(
                "plan",
                str(template / "plan.toml"),
                "--out",
                str(out),
                "--checkpoints",
                str(tmp_path / "kept"),
            ),
            env={**os.environ, "OMP_NUM_THREADS": threads, "OPENBLAS_NUM_THREADS": threads},
        )
        assert started.wait(timeout=300) == 0, started.stderr.read()
        found.append(contents(out))
    assert found[0] == found[1]


def test_new_simulated_writes_tables_that_check_reads(tmp_path):
    folder = tmp_path / "city"
    size = ["--stores", "8", "--skus", "60", "--customers", "600", "--weeks", "20"]
    made = runner.invoke(app, ["new", str(folder), "--simulated", *size])
    assert made.exit_code == 0, made.output
    checked = runner.invoke(app, ["check", str(folder / "plan.toml")])
    assert checked.exit_code == 0, checked.output
    again = runner.invoke(app, ["new", str(folder), "--simulated"])
    assert again.exit_code == 2 and "not an empty folder" in again.output
