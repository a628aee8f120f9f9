"""Big tables: geomarket's expressions beside hand-written SQL, pandas, Polars and PySpark.

Usage: python benchmarks/engine.py [--write] [--lines 50] [--growth 1 3 10 30 100] [--rounds 2] [--without PySpark]

Sales lines (basket, customer, store, SKU, day, units, revenue) are made up with fixed seeds as Parquet files and added
up twice: to (hexagon, category, month), which joins customers and products, and to (store, SKU, week). Every road runs
in a process of its own and starts from the files; what it imports counts, save pandas and pyarrow, which all need. All
rows of the results are compared. Peak memory is what the system holds resident for the process and those it starts
(Spark's Java), looked at every tenth of a second. With --write the tables go to benchmarks/results/engine.md after every
measurement, so that a run cut short leaves what it found, and a picture beside it.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
from _engine_roads import (
    CELLS_A_STORE,
    FILE_LIMIT,
    LINES_A_STORE,
    MEMORY_LIMIT,
    ROADS,
    SKUS,
    TO_FILES,
    make,
    row_hashes,
)
from _machine import machine_lines

RESULTS = Path(__file__).parent / "results" / "engine.md"
PACKAGES = ("duckdb", "ibis-framework", "pandas", "polars", "pyspark", "datafusion", "pyarrow")
OURS, BY_HAND = "geomarket", "hand-written DuckDB SQL"
GROWING = (OURS, BY_HAND, TO_FILES)
TIME_LIMIT = 1_100
_OFFSET = {"textcoords": "offset points", "color": "#555555"}
# The retailer it is projected to: stores, SKUs, customers, lines a customer buys a week.
LARGE = (3_000, 50_000, 40_000_000, 8)


@dataclass
class Found:
    """What was measured so far."""

    million: float
    growth: list[float]
    roads: list[str]
    runs: dict[str, list[dict]] = field(default_factory=dict)
    sizes: dict[float, dict] = field(default_factory=dict)
    grown: dict[float, dict[str, dict]] = field(default_factory=dict)
    elsewhere: list[str] = field(default_factory=list)


# ------------------------------------------------------------------------------------------------ one measurement


def measure(road: str, folder: Path) -> dict:
    load = os.getloadavg()[0]
    measured = _measured(road, folder)
    return {**measured, "load": load}


def _measured(road: str, folder: Path) -> dict:
    command = [sys.executable, "-W", "ignore", __file__, "--child", road, "--folder", str(folder)]
    try:
        ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=TIME_LIMIT)
    except subprocess.TimeoutExpired:
        return {"failed": f"not done in {TIME_LIMIT} s"}
    if ended.returncode:
        lines = [line for line in ended.stderr.splitlines() if "Error:" in line]
        return {"failed": (lines or [f"signal {-ended.returncode}"])[-1][:160]}
    return json.loads(ended.stdout.splitlines()[-1])


def child(road: str, folder: Path) -> None:
    peak = [0.0, 0.0]
    done = threading.Event()

    def watch() -> None:
        while not done.wait(0.1):
            peak[0] = max(peak[0], _of_tree()[0])
            peak[1] = max(peak[1], _spilled_mb(folder))

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    start, cpu = time.perf_counter(), _of_tree()[1]
    tables = ROADS[road](folder)
    wall, cpu = time.perf_counter() - start, _of_tree()[1] - cpu
    done.set()
    watcher.join()
    name = "".join(letter for letter in road if letter.isalnum())
    tables = [pd.read_parquet(table) if isinstance(table, Path) else table for table in tables]
    for part, table in zip(("cells", "weeks"), tables):
        np.save(folder / f"{name}-{part}.npy", row_hashes(table))
    rows = [len(table) for table in tables]
    print(
        json.dumps(
            {"wall": wall, "cpu": cpu, "peak": peak[0], "spilled": peak[1], "rows": rows, "name": name}
        )
    )


def elsewhere() -> list[str]:
    """Try the expressions in other engines, in a process of its own."""
    command = [sys.executable, "-W", "ignore", __file__, "--child", "elsewhere", "--folder", "."]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=TIME_LIMIT)
    return json.loads(ended.stdout.splitlines()[-1]) if ended.returncode == 0 else []


def differing(folder: Path, one: dict, other: dict) -> int:
    """Count the rows that are in one result only."""
    total = 0
    for part in ("cells", "weeks"):
        a, b = (np.load(folder / f"{run['name']}-{part}.npy") for run in (one, other))
        if len(a) != len(b) or (a != b).any():
            total += len(np.setdiff1d(a, b)) + len(np.setdiff1d(b, a)) or abs(len(a) - len(b)) or 1
    return total


def _spilled_mb(folder: Path) -> float:
    return sum(_folder_mb(path) for path in folder.glob("spill*"))


def _folder_mb(folder: Path) -> float:
    total = 0
    for path in folder.rglob("*"):
        try:
            total += path.stat().st_size
        except OSError:
            continue
    return total / 1e6


def _of_tree() -> tuple[float, float]:
    """Resident memory in MB, and seconds of processor time, of this process and those it started."""
    stats: dict[int, list[str]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                stats[int(entry.name)] = (entry / "stat").read_text().rsplit(")", 1)[1].split()
            except (OSError, IndexError):
                continue
    mine, grew = {os.getpid()}, True
    while grew:
        more = {pid for pid, stat in stats.items() if int(stat[1]) in mine} - mine
        grew, mine = bool(more), mine | more
    pages = sum(int(stats[pid][21]) for pid in mine if pid in stats)
    ticks = sum(int(stats[pid][11]) + int(stats[pid][12]) for pid in mine if pid in stats)
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6, ticks / os.sysconf("SC_CLK_TCK")


# ---------------------------------------------------------------------------------------------------- all of them


def run(found: Found, rounds: int, scratch: Path) -> Iterator[None]:
    """Measure one thing after the other; what is slow and large comes last."""
    found.elsewhere = elsewhere()
    yield
    slow = [road for road in found.roads if road.startswith("PySpark")]
    folder = scratch / "full"
    _make(found, found.million, folder)
    for turn in range(rounds):
        for road in found.roads:
            if road not in slow and (turn == 0 or road in GROWING):
                _add(found, road, folder)
                yield
    for million in sorted(found.growth):
        if million == found.million:
            continue
        other = scratch / f"{million:g}"
        _make(found, million, other)
        for road in GROWING:
            found.grown.setdefault(million, {})[road] = measure(road, other)
            yield
        pair = found.grown[million]
        for road in (BY_HAND, TO_FILES):
            if "failed" not in pair[OURS] and "failed" not in pair[road]:
                pair[road]["differing"] = differing(other, pair[OURS], pair[road])
        shutil.rmtree(other)
    for road in slow:
        _add(found, road, folder)
        yield


def _make(found: Found, million: float, folder: Path) -> None:
    folder.mkdir()
    stores, customers = make(folder, int(million * 1e6))
    found.sizes[million] = {"stores": stores, "customers": customers, "mb": _folder_mb(folder)}


def _add(found: Found, road: str, folder: Path) -> None:
    measured = measure(road, folder)
    ours = next((r for r in found.runs.get(OURS, []) if "failed" not in r), None)
    if ours is not None and "failed" not in measured:
        measured["differing"] = differing(folder, ours, measured)
    found.runs.setdefault(road, []).append(measured)


def best(runs: list[dict]) -> dict:
    return min(runs, key=lambda one: one.get("wall", np.inf))


# ------------------------------------------------------------------------------------------------------- the text


def report(found: Found) -> str:
    text = ["# Big tables", "", *machine_lines(PACKAGES), "", *_of_roads(found), *_of_growth(found)]
    text += found.elsewhere
    text += _of_load(found)
    waiting = [road for road in found.roads if road not in found.runs]
    sizes = [million for million in found.growth if million != found.million]
    waiting += [f"{million:g} million lines" for million in sizes if len(found.grown.get(million, {})) < 2]
    waiting += [] if found.elsewhere else ["which expressions run where"]
    if waiting:
        text += ["", f"**The run was cut short.** Not measured: {', '.join(waiting)}."]
    return "\n".join(text) + "\n"


def _of_roads(found: Found) -> list[str]:
    if found.million not in found.sizes:
        return []
    size = found.sizes[found.million]
    ours = best(found.runs.get(OURS, [{}]))
    base = best(found.runs.get(BY_HAND, [{}])).get("wall")
    work = min((run["cpu"] for run in found.runs.get(BY_HAND, []) if "cpu" in run), default=None)
    cells, weeks = ours.get("rows", (0, 0))
    text = [
        f"{found.million:g} million sales lines of {size['customers'] / 1e6:g} million customers in a year, {SKUS:,} SKUs, "
        f"{size['stores']:,} stores and {size['stores'] * CELLS_A_STORE:,} hexagons ({size['mb']:,.0f} MB of Parquet), added "
        f"up to (hexagon, category, month), which joins customers and products, and to (store, SKU, week): {cells:,} and "
        f"{weeks:,} rows, fetched as pandas frames. A store has {LINES_A_STORE / 52:,.0f} lines a week, so that a store, SKU "
        f"and week has about {found.million * 1e6 / max(weeks, 1):.1f} of them; more stores would have too few each. geomarket "
        f"and the hand-written SQL run under DuckDB's memory_limit = {MEMORY_LIMIT}; the frames come on top of it. To files the rows "
        f"go as they come (`file=` of both functions), under {FILE_LIMIT}, meant to keep the whole process inside 2 GB.",
        "",
        f"Each in a fresh process, from the files to the frames, with what it imports; the better of "
        f"{max(map(len, found.runs.values()), default=1)} for those that the next table has too. Money is compared in cents.",
        "",
        "| road | wall s | times hand-written | CPU s | times hand-written | peak memory MB | spilled MB | rows that differ "
        "from geomarket's |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for road, runs in found.runs.items():
        one = best(runs)
        if "failed" in one:
            text.append(f"| {road} | – | – | – | – | – | – | failed: {one['failed']} |")
            continue
        times = f"{one['wall'] / base:.2f}" if base else "–"
        cpu = min(run["cpu"] for run in runs if "cpu" in run)
        effort = f"{cpu / work:.2f}" if work else "–"
        peak = max(run.get("peak", 0.0) for run in runs)
        same = "" if road == OURS else f"{max(run.get('differing', 0) for run in runs):,}"
        text.append(
            f"| {road} | {one['wall']:.1f} | {times} | {cpu:.0f} | {effort} | {peak:,.0f} | {one['spilled']:,.0f} | {same} |"
        )
    return text


def _rows(found: Found) -> list[tuple[float, dict, dict, dict]]:
    """Million lines, ours, by hand, and ours to files, where all were tried and ours went through."""
    sets = dict(found.grown)
    if all(road in found.runs for road in GROWING):
        sets[found.million] = {road: best(found.runs[road]) for road in GROWING}
    done = {
        m: p for m, p in sets.items() if len(p) == 3 and not any("failed" in p[r] for r in (OURS, TO_FILES))
    }
    return [(million, *(done[million][road] for road in GROWING)) for million in sorted(done)]


def _of_load(found: Found) -> list[str]:
    """Say so where the machine had other work to do."""
    runs = [run for runs in found.runs.values() for run in runs]
    loads = [run["load"] for run in (*runs, *(run for pair in found.grown.values() for run in pair.values()))]
    # What a road leaves behind in the load average is its own two threads.
    if not loads or max(loads) < 3:
        return []
    return [
        "",
        f"**The machine was not quiet**: its load average before each measurement was {min(loads):.0f} to {max(loads):.0f} "
        f"on {os.cpu_count()} cores. Wall times are too long, some more than others; processor time (CPU) is the fairer figure.",
    ]


def _of_growth(found: Found) -> list[str]:
    rows = _rows(found)
    failed = [
        f"At {million:g} million lines {road} failed: {run['failed'].rstrip('.')}."
        for million, pair in found.grown.items()
        for road, run in pair.items()
        if "failed" in run
    ]
    if len(rows) < 2:
        return failed
    text = [
        "",
        "## How the cost grows",
        "",
        "Stores, their customers and hexagons grow with the lines, under the same memory limit. DuckDB spills much of this, "
        "but not all, many distinct counts for one. Where the limit is reached all the same geomarket starts again in parts of "
        "the first key (hexagons, stores); what was done in vain is in its time.",
        "",
        "| million lines | stores | customers | rows found | wall s | s a million lines | peak memory MB | spilled MB | "
        "hand-written SQL, wall s | times hand-written, wall | CPU | to Parquet files, wall s | peak memory MB | "
        "rows that differ |",
        "|---|---|---|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for million, ours, sql, filed in rows:
        size = found.sizes[million]
        if "failed" in sql:
            beside = "out of memory | – | –" if "Memory" in sql["failed"] else "failed | – | –"
        else:
            beside = f"{sql['wall']:.1f} | {ours['wall'] / sql['wall']:.2f} | {ours['cpu'] / sql['cpu']:.2f}"
        text.append(
            f"| {million:g} | {size['stores']:,} | {size['customers']:,} | {sum(ours['rows']):,} | {ours['wall']:.1f} | "
            f"{ours['wall'] / million:.2f} | {ours['peak']:,.0f} | {ours['spilled']:,.0f} | {beside} | "
            f"{filed['wall']:.1f} | {filed['peak']:,.0f} | "
            f"{max(sql.get('differing', 0), filed.get('differing', 0)):,} |"
        )
    draw(rows)
    text += ["", *failed, "![Wall time and memory against lines](engine.png)", *_projection(found, rows)]
    return text


def _projection(found: Found, rows: list[tuple[float, dict, dict, dict]]) -> list[str]:
    late = [row for row in rows if row[0] >= 10] or rows[-2:]
    if len(late) < 2:
        return []
    lines, walls = np.log([row[0] for row in late]), np.log([row[3]["wall"] for row in late])
    power = float(np.polyfit(lines, walls, 1)[0])
    last, _, _, filed = rows[-1]
    stores, skus, customers, weekly = LARGE
    million = customers * weekly * 52 / 1e6
    straight = filed["wall"] / last * million / 3600
    bent = filed["wall"] * (million / last) ** max(power, 1.0) / 3600
    disk = found.sizes[last]["mb"] / last * million / 1e3
    hours = f"{straight:.0f}" if round(bent) <= round(straight) else f"{straight:.0f} to {bent:.0f}"
    return [
        "",
        f"## A retailer of {stores:,} stores, {skus:,} SKUs and {customers / 1e6:g} million customers",
        "",
        f"At {weekly} lines a customer and week that is {million / 1e3:.1f} thousand million lines a year, "
        f"{million * 1e6 / stores / 52:,.0f} a store and week. From {late[0][0]:g} to {last:g} million lines the wall time to "
        f"files grew with the power {power:.2f} of the lines. One machine like this one would take {hours} hours for both tables of a year "
        f"and hold {disk:,.0f} GB of such Parquet; month by month, as such tables arrive, a twelfth of each.",
        "",
        "What this rests on:",
        "",
        f"* nothing above {last:g} million lines was run: the figure is {million / last:,.0f} times as far as was measured;",
        "* larger means more stores of the same kind here, so that groups grow with lines. A chain with more lines a store "
        "has fewer groups a line, which costs less; one with more SKUs has more, which costs more memory and spilling;",
        "* it is the road to Parquet files (`file=`): the frames of such a result would not fit into memory. The engine sorts "
        "what it finds on the way, on disk: memory does not grow with the lines, the room it spills to does;",
        "* DuckDB spills to a disk as fast as this one. Threads share the work: more cores take less time, not measured here.",
    ]


def draw(rows: list[tuple[float, dict, dict, dict]]) -> None:
    import matplotlib

    matplotlib.use("agg")
    import matplotlib.pyplot as plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(8, 3.2), layout="constrained")
    lines = [row[0] for row in rows]
    for axes, key, label in ((left, "wall", "wall time, s"), (right, "peak", "peak memory, MB")):
        axes.plot(lines, [row[1][key] for row in rows], marker="o", color="#0b6e6e", label=OURS)
        axes.plot(
            lines,
            [row[2].get(key, np.nan) for row in rows],
            marker="s",
            ms=4,
            ls="--",
            color="#b5651d",
            label=BY_HAND,
        )
        axes.set_xscale("log")
        axes.set_xticks(lines, [f"{million:g}" for million in lines])
        axes.minorticks_off()
        axes.set_xlabel("million sales lines")
        axes.set_ylabel(label)
        axes.grid(axis="y", color="#e5e5e5", linewidth=0.7)
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)
    right.plot(
        lines, [row[3]["peak"] for row in rows], marker="^", ms=4, ls=":", color="#5b4b8a", label=TO_FILES
    )
    left.set_yscale("log")
    left.yaxis.set_major_formatter("{x:g}")
    right.legend(frameon=False, fontsize=8, loc="upper left")
    right.set_ylim(bottom=0)
    right.axhline(2_000, color="#888888", linewidth=0.8, linestyle=":")
    right.annotate(
        f"DuckDB's memory_limit, {MEMORY_LIMIT}", (lines[0], 2_000), xytext=(0, 3), fontsize=7, **_OFFSET
    )
    figure.savefig(RESULTS.with_suffix(".png"), dpi=110, metadata={"Software": None})
    plt.close(figure)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--lines", type=float, default=50, help="millions of lines of the main table")
    parser.add_argument("--growth", type=float, nargs="*", default=[1, 3, 10, 30, 100])
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--without", nargs="*", default=[], help="roads to leave out")
    parser.add_argument("--scratch", help="folder for the files; a temporary one by default")
    parser.add_argument("--write", action="store_true", help="write benchmarks/results/engine.md")
    for internal in ("--child", "--folder"):
        parser.add_argument(internal, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child == "elsewhere":
        from _engine_backends import tried

        print(json.dumps(tried()))
        return
    if options.child:
        child(options.child, Path(options.folder))
        return
    roads = [road for road in ROADS if not any(road.startswith(name) for name in options.without)]
    found = Found(options.lines, options.growth, roads)
    if not options.write:
        global RESULTS
        RESULTS = Path(tempfile.gettempdir()) / "engine.md"
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the files go
    with tempfile.TemporaryDirectory(dir=options.scratch) as scratch:
        for _ in run(found, options.rounds, Path(scratch)):
            RESULTS.write_text(report(found), encoding="utf-8")
    text = report(found)
    RESULTS.write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
