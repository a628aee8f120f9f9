"""Shared fixtures: the real data folder where there is one; skips that must not be silent."""

from __future__ import annotations

import os
from collections.abc import Generator
from pathlib import Path

import pytest

# parts that .ci/run installs everything for: there, a skip is a failure
REQUIRED = {name for name in os.environ.get("GEOMARKET_REQUIRE", "").split(",") if name}


@pytest.fixture(scope="session")
def data_home() -> str:
    home = os.environ.get("GEOMARKET_DATA")
    if not home or not Path(home).is_dir():
        pytest.skip("real data missing: set GEOMARKET_DATA to the data folder")
    return home


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo) -> Generator:
    outcome = yield
    report = outcome.get_result()
    needed = REQUIRED & {marker.name for marker in item.iter_markers()}
    if report.skipped and needed and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"{', '.join(sorted(needed))} tests may not be skipped here: {report.longrepr}"


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say loudly what did not run and why."""
    reasons: dict[str, int] = {}
    for report in terminalreporter.stats.get("skipped", []):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        reasons[reason] = reasons.get(reason, 0) + 1
    for reason, n in sorted(reasons.items()):
        terminalreporter.write_line(
            f"!! {n} NOT RUN: {reason.removeprefix('Skipped: ')}", red=True, bold=True
        )
