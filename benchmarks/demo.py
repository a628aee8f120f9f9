"""Wall time and peak memory of the whole demo, by stage.

Usage: python benchmarks/demo.py [--write]

Each market is planned in a process of its own; its peak memory is the operating system's own figure for that
process. With --write the table goes to benchmarks/results/demo.md.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from _machine import machine_lines

RESULTS = Path(__file__).parent / "results" / "demo.md"


def run(market: str, folder: Path) -> tuple[float, float, list[dict]]:
    """Run one demo; return wall seconds, peak MB, and the stages' own timings."""
    start = time.perf_counter()
    child = subprocess.Popen(
        [sys.executable, "-m", "geomarket", "demo", "--market", market, "--out", str(folder)],
        stdout=subprocess.DEVNULL,
    )
    _, status, usage = os.wait4(child.pid, 0)
    wall = time.perf_counter() - start
    if status:
        raise SystemExit(f"demo --market {market} ended with status {status}")
    timings = json.loads((folder / "timings.json").read_text())["timings"]
    return wall, usage.ru_maxrss / 1024, timings


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", help="write the table to benchmarks/results")
    options = parser.parse_args()
    markets = ["simulated"] + (["iowa"] if os.environ.get("GEOMARKET_DATA") else [])
    lines = ["# The demo, end to end", "", *machine_lines(), ""]
    lines += ["| market | wall s | peak MB | report MB | workbook MB |", "|---|---|---|---|---|"]
    stages = []
    with tempfile.TemporaryDirectory() as temporary:
        for market in markets:
            folder = Path(temporary) / market
            wall, peak, timings = run(market, folder)
            size = {name: (folder / name).stat().st_size / 1e6 for name in ("report.html", "plan.xlsx")}
            lines.append(
                f"| {market} | {wall:.1f} | {peak:,.0f} | {size['report.html']:.2f} | {size['plan.xlsx']:.2f} |"
            )
            stages += ["", f"## {market}, by stage", "", "| stage | s | peak so far MB |", "|---|---|---|"]
            stages += [f"| {t['stage']} | {t['seconds']:.1f} | {t['peak_mb']:,.0f} |" for t in timings]
    if "iowa" not in markets:
        lines.append("| iowa | not run: GEOMARKET_DATA is not set | | | |")
    text = "\n".join(lines + stages) + "\n"
    print(text)
    if options.write:
        RESULTS.parent.mkdir(exist_ok=True)
        RESULTS.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
