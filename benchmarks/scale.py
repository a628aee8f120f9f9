"""A whole retailer, end to end: simulated to files, planned from the files, killed and resumed, ranges on local Spark.

Usage: python benchmarks/scale.py [--write] [--stores 1000] [--skus 5000] [--customers 1000000] [--weeks 52]
                                  [--folder DIR] [--without spark]

Every part is a process of its own, started as an operator would start it; peak memory is that of the process and all
it started, read every second. The plan's categories are the simulated market's 34 subcategories. With --write the
table goes to benchmarks/results/scale.md. With --folder the files stay there and are used again.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import pyarrow.parquet as pq
from _machine import machine_lines

RESULTS = Path(__file__).parent / "results" / "scale.md"
PACKAGES = ("duckdb", "ibis-framework", "pandas", "highspy", "joblib", "pyspark")
DOCUMENTS = ("report.html", "plan.xlsx")
KILL_IN, BEFORE = "Ranges", "Demand"  # stages are logged as they end


@dataclass
class Ran:
    """One process: how it ended, wall seconds, peak MB of it and its children, and its log."""

    status: int
    wall: float
    peak: float
    log: list[dict]

    def reused(self) -> list[str]:
        """Steps that were found again."""
        said = [line["message"] for line in self.log]
        return [message.removesuffix(": reused") for message in said if message.endswith(": reused")]

    def stages(self) -> dict[str, tuple[float, float]]:
        """Seconds of each finished stage, and the main process's peak GB up to its end."""
        found = {}
        for line in self.log:
            if match := re.fullmatch(r"(.+): ([\d.]+) s, peak (\d+) MB", line["message"]):
                found[match[1]] = (float(match[2]), float(match[3]) / 1024)
        return found

    def reading(self) -> float:
        """Seconds until the first stage began."""
        stages = self.stages()
        first = next((line for line in self.log if line["message"].startswith("Hexagons: ")), None)
        if first is None:
            return float("nan")
        begun = [datetime.fromisoformat(line["time"]) for line in (self.log[0], first)]
        return (begun[1] - begun[0]).total_seconds() - stages["Hexagons"][0]


def run(arguments: list[str], kill_after: str | None = None) -> Ran:
    """Run geomarket's command line; with ``kill_after``, kill it and its children once that stage is done."""
    with tempfile.NamedTemporaryFile("w+", suffix=".log") as log:
        start = time.perf_counter()
        child = subprocess.Popen(
            [sys.executable, "-m", "geomarket", "--log", "json", *arguments],
            stdout=subprocess.DEVNULL,
            stderr=log,
            start_new_session=True,
        )
        peak = 0.0
        while child.poll() is None:
            peak = max(peak, tree_mb(child.pid))
            if kill_after and f'"{kill_after}: ' in Path(log.name).read_text():
                os.killpg(child.pid, signal.SIGKILL)
                child.wait()
            time.sleep(1)
        lines = []
        for line in Path(log.name).read_text().splitlines():
            try:
                lines.append(json.loads(line))
            except ValueError:
                continue
        return Ran(child.returncode, time.perf_counter() - start, peak, lines)


def tree_mb(root: int) -> float:
    """Proportional memory of a process and what it started: pages they share count once."""
    parents: dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parents[int(entry.name)] = int((entry / "stat").read_text().rsplit(")", 1)[1].split()[1])
            except (OSError, IndexError):
                continue
    mine, grew = {root}, True
    while grew:
        more = {pid for pid, parent in parents.items() if parent in mine} - mine
        grew, mine = bool(more), mine | more
    total = 0.0
    for pid in mine:
        try:
            lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
            total += sum(int(line.split()[1]) for line in lines if line.startswith("Pss:")) / 1024
        except (OSError, ValueError):
            continue
    return total


def make(folder: Path, options: argparse.Namespace) -> Ran:
    """Simulate the market into files, its subcategories as categories."""
    size = ["--stores", options.stores, "--skus", options.skus, "--customers", options.customers]
    ran = run(["new", str(folder), "--simulated", *map(str, size), "--weeks", str(options.weeks)])
    plan = folder / "plan.toml"
    path = '[tables.products]\npath = "products.parquet"\n'
    text = plan.read_text()
    assert path in text
    plan.write_text(text.replace(path, path + 'columns = { category = "subcategory" }\n'))
    return ran


def same_bytes(one: Path, other: Path) -> bool:
    """Whether two runs published the same bytes, timings apart."""
    names = sorted(
        str(p.relative_to(one)) for p in one.rglob("*") if p.is_file() and p.name != "timings.json"
    )
    theirs = sorted(
        str(p.relative_to(other)) for p in other.rglob("*") if p.is_file() and p.name != "timings.json"
    )
    return names == theirs and all((one / n).read_bytes() == (other / n).read_bytes() for n in names)


def report(options: argparse.Namespace, folder: Path) -> str:
    """Run everything and return the page."""
    market, out, kept = folder / "market", folder / "out", folder / "kept"
    spark, spark_kept = folder / "spark", folder / "spark_kept"
    rows: list[tuple[str, Ran, str]] = []
    if not market.exists():
        rows.append(("simulated, written to files store by store", make(market, options), ""))
    for old in (out, kept, spark, spark_kept):
        shutil.rmtree(old, ignore_errors=True)
    plan = ["plan", str(market / "plan.toml"), "--jobs", "2"]
    killed = run([*plan, "--out", str(out), "--checkpoints", str(kept)], kill_after=BEFORE)
    rows.append((f"planned from the files until killed (signal 9) in the stage {KILL_IN}", killed, ""))
    shutil.copytree(kept, spark_kept)
    resumed = run([*plan, "--out", str(out), "--checkpoints", str(kept), "--resume"])
    if resumed.status:
        raise SystemExit(f"the plan ended with status {resumed.status}: {resumed.log[-1:]}")
    rows.append(("… resumed to the end", resumed, f"{len(resumed.reused())} steps reused"))
    if "spark" not in options.without:
        command = [*plan, "--out", str(spark), "--checkpoints", str(spark_kept), "--resume"]
        ran = run([*command, "--backend", "spark"])
        same = "the same bytes" if same_bytes(out, spark) else "OTHER BYTES"
        rows.append(
            (
                "… resumed to the end on local Spark (--backend spark)",
                ran,
                f"{len(ran.reused())} steps reused; {same}",
            )
        )
    lines = {
        name: pq.ParquetFile(market / f"{name}.parquet").metadata.num_rows
        for name in ("sales", "baskets", "promotions")
    }
    sizes = {name: (out / name).stat().st_size / 1e6 for name in DOCUMENTS}
    first, then = killed.stages(), resumed.stages()
    done = sum(seconds for seconds, _ in then.values()) + resumed.reading()
    text = [
        "# A whole retailer",
        "",
        *machine_lines(PACKAGES),
        "",
        f"Simulated: {options.stores:,} stores, {options.skus:,} SKUs in 34 categories, {options.customers:,} customers, "
        f"{options.weeks} weeks; {lines['sales'] / 1e6:.1f} million lines of weekly sales, {lines['baskets'] / 1e6:.1f} "
        f"million basket lines, {lines['promotions'] / 1e6:.1f} million offers (store, SKU, week). Two cores. Peak memory is "
        "that of the process and all it started.",
        "",
        "| what | wall min | peak memory GB | |",
        "|---|---|---|---|",
        *(f"| {what} | {ran.wall / 60:.1f} | {ran.peak / 1024:.1f} | {said} |" for what, ran, said in rows),
        "",
        f"Both runs of the plan together, the second beginning by reading the tables again: "
        f"{(killed.wall + resumed.wall) / 60:.1f} minutes. "
        f"Report {sizes['report.html']:.1f} MB, workbook {sizes['plan.xlsx']:.1f} MB.",
        "",
        "## Where the time goes",
        "",
        "Seconds by stage; in the resumed run, steps that were found again cost their reading. Peak: of the main process, "
        "up to the stage's end.",
        "",
        "| stage | until killed s | peak GB | resumed s | peak GB |",
        "|---|---|---|---|---|",
        f"| Reading and checking the tables | {killed.reading():.0f} | | {resumed.reading():.0f} | |",
        *(f"| {name} | {cells(first.get(name))} | {cells(then.get(name))} |" for name in {**first, **then}),
        f"| Writing | | | {resumed.wall - done:.0f} | {resumed.peak / 1024:.1f} |",
    ]
    return "\n".join(text) + "\n"


def cells(stage: tuple[float, float] | None) -> str:
    """Write seconds and GB as two cells of a table."""
    return " | " if stage is None else f"{stage[0]:.0f} | {stage[1]:.1f}"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for name, default in (("stores", 1_000), ("skus", 5_000), ("customers", 1_000_000), ("weeks", 52)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--folder", type=Path, help="keep the files here, and use a market that is here")
    parser.add_argument("--without", nargs="*", default=[], choices=["spark"], help="parts to leave out")
    parser.add_argument("--write", action="store_true", help="write benchmarks/results/scale.md")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = options.folder or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        text = report(options, folder)
    print(text)
    if options.write:
        RESULTS.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
