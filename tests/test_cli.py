"""The command line: exit codes, messages, and the template that runs as it is."""

import json

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
    result = runner.invoke(app, ["plan", str(template / "plan.toml"), "--out", str(out)])
    assert result.exit_code == 0, result.output
    assert result.output.rstrip().endswith("report.html")
    assert json.loads((out / "manifest.json").read_text())["complete"] is True


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
        **options,
    )


@pytest.mark.parametrize(("number", "code"), [("SIGTERM", 143), ("SIGINT", 130)])
def test_a_run_that_is_stopped_leaves_no_part_and_says_how_to_go_on(number, code, tmp_path):
    import signal
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


def test_a_second_run_into_the_same_folder_is_refused(tmp_path):
    from geomarket.planning import hold_folder

    with hold_folder(tmp_path / "out"):
        result = runner.invoke(app, ["demo", "--size", "small", "--out", str(tmp_path / "out")])
    assert result.exit_code == 2
    assert "another run" in result.output


def test_json_logs_are_one_object_a_line(tmp_path):
    started = run_process("--log", "json", "plan", str(tmp_path / "none.toml"), "--out", str(tmp_path / "out"))
    lines = started.communicate(timeout=60)[1].splitlines()
    assert started.returncode == 2
    assert any("none.toml" in json.loads(line)["message"] for line in lines)
