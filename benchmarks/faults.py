"""Faults, many of them: what was tried and what came of it.

Usage: python benchmarks/faults.py [--write] [--settings 8000] [--tables 2000] [--kills 20]

Mutated plan.toml files and tables are drawn with hypothesis from a fixed seed; each is accepted, refused in words, or
counts as a traceback. Runs of the template plan are killed with signal 9 after random times and gone on with; the bytes
of what they publish are compared with those of an undisturbed run. With --write the counts go to benchmarks/faults.md.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from _machine import machine_lines
from hypothesis import HealthCheck, given, settings

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
import faults

from geomarket.market import write_template

RESULTS = Path(__file__).parent / "faults.md"
PACKAGES = ("pandas", "duckdb", "pydantic", "hypothesis")
TABLES = ("stores", "products", "sales", "customers", "baskets", "competitors", "promotions")


def drawn(number: int) -> settings:
    return settings(
        max_examples=number,
        deadline=None,
        database=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
    )


def try_settings(folder: Path, number: int) -> tuple[Counter, list[str]]:
    seen: Counter = Counter()
    odd: list[str] = []

    @drawn(number)
    @given(faults.toml_texts((folder / "plan.toml").read_text(encoding="utf-8")))
    def tried(text: str) -> None:
        try:
            seen[faults.settings_outcome(text)] += 1
        except Exception as error:
            seen["traceback"] += 1
            odd.append(f"plan.toml: {type(error).__name__}: {error}")

    tried()
    return seen, odd


def try_tables(folder: Path, number: int) -> tuple[dict[str, Counter], list[str]]:
    found: dict[str, Counter] = {}
    odd: list[str] = []
    for name in TABLES:
        found[name], more = try_table(folder, name, max(number // len(TABLES), 1))
        odd += more
    return found, odd


def try_table(folder: Path, name: str, number: int) -> tuple[Counter, list[str]]:
    path = folder / f"{name}.csv"
    whole = path.read_bytes()
    seen: Counter = Counter()
    odd: list[str] = []

    @drawn(number)
    @given(faults.table_bytes(whole))
    def tried(content: bytes) -> None:
        path.write_bytes(content)
        try:
            seen[faults.market_outcome(folder / "plan.toml")] += 1
        except Exception as error:
            seen["traceback"] += 1
            odd.append(f"{name}: {type(error).__name__}: {error}")

    tried()
    path.write_bytes(whole)
    return seen, odd


def try_kills(folder: Path, base: Path, number: int) -> tuple[list[tuple[float, str, bool]], float]:
    arguments = ("plan", str(folder / "plan.toml"), "--pages", "--figures")
    env = {"XDG_CACHE_HOME": str(base / "cache")}
    start = time.perf_counter()
    code, said = faults.run(*arguments, "--out", str(base / "whole"), env=env)
    took = time.perf_counter() - start
    if code:
        raise SystemExit(said)
    whole = faults.contents(base / "whole")
    order = random.Random(0)
    rows = []
    for i in range(number):
        out, wait = base / f"out{i}", order.uniform(0.3, took)
        env = {"XDG_CACHE_HOME": str(base / f"cache{i}")}
        code, _ = faults.run(*arguments, "--out", str(out), kill_after=wait, env=env)
        again, said = faults.run(*arguments, "--out", str(out), "--resume", env=env)
        reused = next((line for line in said.splitlines() if line.startswith("Reused")), "")
        words = f"{reused.count(',') + 1} steps reused" if reused else "nothing to reuse"
        rows.append((wait, words, again == 0 and faults.contents(out) == whole))
    return rows, took


def report(n_settings: int, n_tables: int, n_kills: int) -> str:
    lines = ["# Faults tried", "", *machine_lines(PACKAGES), ""]
    with tempfile.TemporaryDirectory() as scratch:
        base = Path(scratch)
        folder = base / "plan"
        write_template(folder)
        seen, odd = try_settings(folder, n_settings)
        lines += [
            "## Mutated settings and tables",
            "",
            "Edits are drawn with hypothesis: lines, values and bytes dropped, doubled, cut off or replaced (by SQL, "
            "formulas, paths, huge and odd numbers, other scripts), other encodings, separators and line ends.",
            "",
            "| what | tried | accepted | would stop the plan, saying why | refused in words | traceback |",
            "|---|---|---|---|---|---|",
        ]
        tables, odd_tables = try_tables(folder, n_tables)
        for name, counts in {"plan.toml": seen, **{f"{n}.csv": c for n, c in tables.items()}}.items():
            parts = [f"{counts[key]:,}" for key in ("accepted", "would stop", "refused", "traceback")]
            lines.append(f"| {name} | {sum(counts.values()):,} | {' | '.join(parts)} |")
        lines += ["", *(f"* {line[:200]}" for line in [*odd, *odd_tables])]
        kills, took = try_kills(folder, base, n_kills)
    same = sum(1 for *_, equal in kills if equal)
    lines += [
        "",
        "## Killed and gone on with",
        "",
        f"The template plan with pages and figures takes {took:.0f} s here. It was killed (signal 9, with all it had "
        f"started) at {len(kills)} random moments and run again with `--resume`: {same} of {len(kills)} times the "
        "published bytes equal those of an undisturbed run.",
        "",
        "| killed after s | the resumed run | same bytes |",
        "|---|---|---|",
        *(f"| {wait:.1f} | {words} | {'yes' if equal else 'NO'} |" for wait, words, equal in sorted(kills)),
        "",
        "Full disks, truncated Parquet, unwritable folders, killed workers, overdue jobs, decimal-comma locales, Windows "
        "line ends, clocks set back, climbing file names, bombs in workbooks and SQL in column names are single cases: "
        "tests/test_faults.py and tests/test_jobs.py.",
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--settings", type=int, default=8_000)
    parser.add_argument("--tables", type=int, default=2_000)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--write", action="store_true", help="write benchmarks/faults.md")
    options = parser.parse_args()
    text = report(options.settings, options.tables, options.kills)
    print(text)
    if options.write:
        RESULTS.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
