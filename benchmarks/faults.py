"""Faults, many of them: what was tried and what came of it.

Usage: python benchmarks/faults.py [--write] [--settings 8000] [--tables 2000] [--wrong 400] [--plans 40] [--kills 20]

Mutated plan.toml files and tables are drawn with hypothesis from a fixed seed; each is accepted, refused in words, or
counts as a traceback. Tables that are wrong in meaning (units of measure, swapped columns, other keys) are made by
tests/wrong_tables.py. Of what is accepted, some are planned to the end, and what must hold of any plan is recomputed.
Runs of the template plan are killed with signal 9 after random times, half of them while they write, and gone on with;
the bytes of what they publish are compared with those of an undisturbed run. The single cases of the test suite are
run and counted. With --write the counts go to benchmarks/faults.md.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import warnings
import xml.etree.ElementTree as ElementTree
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

from _machine import machine_lines
from hypothesis import HealthCheck, given, settings

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
import faults
import wrong_tables

from geomarket.market import write_template
from geomarket.planning import plan_tables
from geomarket.report import write_report, write_workbook

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "faults.md"
PACKAGES = ("pandas", "duckdb", "pydantic", "hypothesis", "pytest")
TABLES = wrong_tables.TABLES
OUTCOMES = ("accepted", "would stop", "refused", "traceback")
SINGLE_CASES = (
    "test_faults.py",
    "test_jobs.py",
    "test_checkpoints.py",
    "test_market_files.py",
    "test_market_rows.py",
    "test_market_places.py",
    "test_market_settings.py",
)
APART = {"data_quality", "quarantine", "dictionary"}


class Part(NamedTuple):
    """One part of the work: outcomes counted, what went wrong, tables kept for planning, further rows."""

    counts: Counter
    wrong: list[str]
    kept: list[tuple[str, bytes]]
    rows: list[tuple]


def drawn(number: int) -> settings:
    return settings(
        max_examples=number,
        deadline=None,
        database=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
    )


def template(base: Path) -> Path:
    folder = base / "plan"
    write_template(folder)
    return folder


def try_settings(number: int) -> Part:
    seen: Counter = Counter()
    odd: list[str] = []
    with tempfile.TemporaryDirectory() as scratch:
        text = (template(Path(scratch)) / "plan.toml").read_text(encoding="utf-8")

    @drawn(number)
    @given(faults.toml_texts(text))
    def tried(text: str) -> None:
        try:
            seen[faults.settings_outcome(text)] += 1
        except Exception as error:
            seen["traceback"] += 1
            odd.append(f"plan.toml: {_said(error)}")

    tried()
    return Part(seen, odd, [], [])


def try_form(name: str, number: int) -> Part:
    """Mutate a table as text and bytes; keep one of twenty that are accepted, to be planned."""
    seen: Counter = Counter()
    odd: list[str] = []
    kept: list[tuple[str, bytes]] = []
    with tempfile.TemporaryDirectory() as scratch:
        folder = template(Path(scratch))
        faults.with_what_it_needs(folder, name)
        path = folder / f"{name}.csv"
        whole = path.read_bytes()

        @drawn(number)
        @given(faults.table_bytes(whole))
        def tried(content: bytes) -> None:
            path.write_bytes(content)
            try:
                outcome = faults.market_outcome(folder / "plan.toml")
            except Exception as error:
                outcome = "traceback"
                odd.append(f"{name}.csv: {_said(error)}")
            seen[outcome] += 1
            if outcome == "accepted" and content != whole and seen["accepted"] % 20 == 10:
                kept.append((name, content))

        tried()
    return Part(seen, odd, kept, [])


def try_meaning(kind: str, each: int) -> Part:
    """Make tables that are wrong in meaning; keep one of five that are accepted, to be planned."""
    seen: Counter = Counter()
    odd: list[str] = []
    kept: list[tuple[str, bytes]] = []
    with tempfile.TemporaryDirectory() as scratch:
        for name in TABLES:
            folder = template(Path(scratch) / name)
            faults.with_what_it_needs(folder, name)
            path = folder / f"{name}.csv"
            whole = path.read_bytes()
            for seed in range(each):
                content = wrong_tables.changed_bytes(whole, wrong_tables.WRONG[kind], seed)
                if content == whole:
                    continue
                path.write_bytes(content)
                try:
                    outcome = faults.market_outcome(folder / "plan.toml")
                except Exception as error:
                    outcome = "traceback"
                    odd.append(f"{name}.csv, {kind}, {seed}: {_said(error)}")
                seen[outcome] += 1
                if outcome == "accepted" and seen["accepted"] % 5 == 2:
                    kept.append((name, content))
    return Part(seen, odd, kept, [])


def try_plans(tables: list[tuple[str, bytes]]) -> Part:
    """Plan changed tables to the end, with report and workbook, and look for what can't be right."""
    seen: Counter = Counter()
    odd: list[str] = []
    with tempfile.TemporaryDirectory() as scratch:
        folder = template(Path(scratch))
        for name, content in tables:
            path = folder / f"{name}.csv"
            whole = path.read_bytes()
            path.write_bytes(content)
            try:
                outcome, plan = wrong_tables.planned(folder / "plan.toml")
                found = [] if plan is None else wrong_tables.wrong_in(plan, folder)
                if plan is not None:
                    with warnings.catch_warnings():
                        warnings.simplefilter("ignore")
                        write_report(plan, Path(scratch) / "report.html")
                        write_workbook(plan, Path(scratch) / "plan.xlsx")
                seen["wrong" if found else outcome] += 1
                odd += [f"{name}.csv: {line}" for line in found]
            except Exception as error:
                seen["traceback"] += 1
                odd.append(f"{name}.csv, planned: {_said(error)}")
            path.write_bytes(whole)
    return Part(seen, odd, [], [])


def try_harmless() -> Part:
    """Change what means nothing and plan; the tables of the plan have to be the same."""
    seen: Counter = Counter()
    odd: list[str] = []
    with tempfile.TemporaryDirectory() as scratch:
        folder = template(Path(scratch))
        before = _tables(folder)
        for kind, change in wrong_tables.HARMLESS.items():
            for path in (folder / f"{name}.csv" for name in TABLES):
                path.write_bytes(wrong_tables.changed_bytes(path.read_bytes(), change, 0))
            after = _tables(folder)
            differ = [name for name in before if not before[name].equals(after.get(name))]
            seen["wrong" if differ else "same"] += 1
            odd += [f"{kind}: other {', '.join(differ)}"] if differ else []
    return Part(seen, odd, [], [])


def _tables(folder: Path) -> dict[str, Any]:
    plan = wrong_tables.planned(folder / "plan.toml")[1]
    assert plan is not None
    return {name: table for name, table in plan_tables(plan).items() if name not in APART}


def try_kills(writing: bool, number: int) -> Part:
    rows: list[tuple] = []
    with tempfile.TemporaryDirectory() as scratch:
        base = Path(scratch)
        arguments = ("plan", str(template(base) / "plan.toml"), "--pages", "--figures")
        started = time.perf_counter()
        first = _begin_of_writing(base / "whole" / "manifest.json")
        code, said = faults.run(*arguments, "--out", str(base / "whole"), env=_cache(base, "whole"))
        if code:
            raise SystemExit(said)
        ended = time.perf_counter()
        span = (0.0, ended - first[0]) if writing else (0.3, ended - started)
        whole = faults.contents(base / "whole")
        order = random.Random(0)
        while len(rows) < number:
            out, wait = base / f"out{len(rows)}", order.uniform(*span)
            env = _cache(base, out.name)
            since = out / "manifest.json" if writing else None
            code, _ = faults.run(*arguments, "--out", str(out), kill_after=wait, counted_from=since, env=env)
            if code == 0:  # it was done before: that is no kill, and the runs take less time than was thought
                shutil.rmtree(out)
                span = (span[0], wait)
                continue
            half = "writing" if (out / "manifest.json").exists() else "computing"
            again, said = faults.run(*arguments, "--out", str(out), "--resume", env=env)
            reused = next((line for line in said.splitlines() if line.startswith("Reused")), "")
            words = f"{reused.count(',') + 1} steps reused" if reused else "nothing to reuse"
            rows.append((half, wait, words, again == 0 and faults.contents(out) == whole))
            shutil.rmtree(out)
    return Part(Counter(), [], [], rows)


def _begin_of_writing(manifest: Path) -> list[float]:
    """Return a list that gets the time when the first file of a run is there."""
    seen: list[float] = []

    def watch() -> None:
        while not manifest.exists():
            time.sleep(0.005)
        seen.append(time.perf_counter())

    threading.Thread(target=watch, daemon=True).start()
    return seen


def _cache(base: Path, name: str) -> dict[str, str]:
    return {"XDG_CACHE_HOME": str(base / f"cache-{name}")}


def try_single_cases() -> Part:
    """Run the tests of single cases; a row for each: file, what the file is about, case, outcome."""
    rows: list[tuple] = []
    with tempfile.TemporaryDirectory() as scratch:
        told = Path(scratch) / "told.xml"
        files = [str(ROOT / "tests" / name) for name in SINGLE_CASES]
        command = [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-p",
            "no:cacheprovider",
            f"--junitxml={told}",
            *files,
        ]
        subprocess.run(command, cwd=ROOT, capture_output=True, check=False)
        for case in ElementTree.parse(told).iter("testcase"):
            kinds = {child.tag for child in case}
            outcome = (
                "failed" if kinds & {"failure", "error"} else "skipped" if "skipped" in kinds else "passed"
            )
            name = str(case.get("name")).removeprefix("test_").replace("_", " ")
            rows.append((str(case.get("classname")).rsplit(".", 1)[-1], name, outcome))
    return Part(Counter(), [], [], rows)


def _said(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".replace("\n", " ")[:300]


def counted(title: str, rows: dict[str, Counter], outcomes: tuple[str, ...], head: str) -> list[str]:
    lines = [f"| {title} | tried | {head} |", "|---" * (2 + len(outcomes)) + "|"]
    total: Counter = Counter()
    for name, counts in rows.items():
        total += counts
        lines.append(_row(name, counts, outcomes))
    return [*lines, _row("**all**", total, outcomes), ""]


def _row(name: str, counts: Counter, outcomes: tuple[str, ...]) -> str:
    return f"| {name} | {sum(counts.values()):,} | {' | '.join(f'{counts[key]:,}' for key in outcomes)} |"


def of_single_cases(rows: list[tuple]) -> list[str]:
    passed = sum(1 for *_, outcome in rows if outcome == "passed")
    lines = [
        "## Single cases",
        "",
        f"{len(rows)} cases of the test suite, run for this table: {passed} passed.",
        "",
        "| tests/ | case | variants | passed | failed | not run here |",
        "|---|---|---|---|---|---|",
    ]
    found: dict[tuple[str, str], Counter] = {}
    for file, name, outcome in rows:
        found.setdefault((file, name.split("[")[0]), Counter())[outcome] += 1
    for (file, name), counts in found.items():
        parts = " | ".join(str(counts[key] or "") for key in ("passed", "failed", "skipped"))
        lines.append(f"| {file} | {name} | {sum(counts.values())} | {parts} |")
    return lines


def of_kills(rows: list[tuple]) -> list[str]:
    same = sum(1 for *_, equal in rows if equal)
    writing = sum(1 for half, *_ in rows if half == "writing")
    return [
        "## Killed and gone on with",
        "",
        f"The template plan, with pages and figures, was killed (signal 9, with all it had started) at {len(rows)} "
        f"random moments, {writing} of them while it wrote its folder, and run again with `--resume`: {same} of "
        f"{len(rows)} times the published bytes equal those of an undisturbed run.",
        "",
        "| killed while | after s (of writing, where it wrote) | the resumed run | same bytes |",
        "|---|---|---|---|",
        *(
            f"| {half} | {wait:.1f} | {words} | {'yes' if equal else 'NO'} |"
            for half, wait, words, equal in sorted(rows)
        ),
        "",
    ]


def report(options: argparse.Namespace) -> str:
    each = -(-options.tables // len(TABLES))
    seeds = max(options.wrong // (len(TABLES) * len(wrong_tables.WRONG)), 1)
    with ProcessPoolExecutor(options.workers) as pool:
        kills = [pool.submit(try_kills, writing, options.kills // 2) for writing in (False, True)]
        form = {f"{name}.csv": pool.submit(try_form, name, each) for name in TABLES}
        meaning = {kind: pool.submit(try_meaning, kind, seeds) for kind in wrong_tables.WRONG}
        single = pool.submit(try_single_cases)
        of_settings = pool.submit(try_settings, options.settings)
        harmless = pool.submit(try_harmless)
        for name, part in {**form, **meaning, "single cases": single, "settings": of_settings}.items():
            part.add_done_callback(lambda done, name=name: print("done:", name, file=sys.stderr, flush=True))
        parts = [*(p.result() for p in form.values()), *(p.result() for p in meaning.values())]
        kept = [table for part in parts for table in part.kept]
        random.Random(0).shuffle(kept)
        chosen = kept[: options.plans]
        plans = [pool.submit(try_plans, chosen[i :: options.workers]) for i in range(options.workers)]
        through = sum((p.result().counts for p in plans), Counter())
        parts += [of_settings.result(), harmless.result(), *(p.result() for p in plans)]
        rows = [row for part in kills for row in part.result().rows]
        cases = single.result().rows
    wrong = [line for part in parts for line in part.wrong]
    head = "accepted | would stop the plan, saying why | refused in words | traceback"
    lines = [
        "# Faults tried",
        "",
        *machine_lines(PACKAGES),
        "",
        "All of it in one run of `benchmarks/faults.py --write`.",
        "",
        "## Settings and tables mutated in form",
        "",
        "Edits are drawn with hypothesis: lines, values and bytes dropped, doubled, cut off or replaced (by SQL, formulas, "
        "paths, huge and odd numbers, other scripts), other encodings, separators and line ends. A table is read with those "
        "a plan needs and those it goes with.",
        "",
        *counted(
            "what",
            {"plan.toml": of_settings.result().counts, **{n: p.result().counts for n, p in form.items()}},
            OUTCOMES,
            head,
        ),
        "## Tables wrong in meaning",
        "",
        f"Each kind of fault in each of {len(TABLES)} tables, in one row, a few, a third or all. Accepted means that rows "
        "were set aside and counted, or that nothing tells the fault from a fact.",
        "",
        *counted("fault", {kind: p.result().counts for kind, p in meaning.items()}, OUTCOMES, head),
        "## Planned to the end",
        "",
        f"{len(chosen)} of the accepted tables above were planned, with report and workbook. Of each plan was recomputed: units "
        "and revenue of the file less the rows set aside are those of the market; every SKU and store exists; ranges "
        "keep their space; changes start from today's ranges; forecasts lie in their intervals; people and shares "
        "are conserved; offers keep the budget and are on the shelf; the verdict is the plan; no figure is infinite, and no "
        "sentence tells a missing one.",
        "",
        "| planned | nothing wrong | refused in words on the way | something wrong | traceback |",
        "|---|---|---|---|---|",
        f"| {len(chosen)} | {through['planned']} | {through['refused'] + through['would stop']} | {through['wrong']} | "
        f"{through['traceback']} |",
        "",
        f"With the rows of all tables in another order, and with their columns, the plan has to be the same: "
        f"{harmless.result().counts['same']} of {len(wrong_tables.HARMLESS)} times it is.",
        "",
        *(f"* {line}" for line in wrong),
        *([""] if wrong else []),
        *of_kills(rows),
        *of_single_cases(cases),
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--settings", type=int, default=8_000)
    parser.add_argument("--tables", type=int, default=2_000)
    parser.add_argument("--wrong", type=int, default=400)
    parser.add_argument("--plans", type=int, default=40)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--write", action="store_true", help="write benchmarks/faults.md")
    options = parser.parse_args()
    text = report(options)
    print(text)
    if options.write:
        RESULTS.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
