"""Faults to try: mutations of plan.toml and of tables, and how a run is killed and gone on with.

Shared by the tests, which try few, and by benchmarks/faults.py, which tries many and counts.
"""

from __future__ import annotations

import csv
import hashlib
import io
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
import warnings
from pathlib import Path

from hypothesis import strategies as st

from geomarket.errors import GeomarketError
from geomarket.market import load_market, parse_settings, read_settings, stop_reasons

NASTY = (
    "",
    " ",
    "NaN",
    "inf",
    "-inf",
    "-1",
    "0",
    "1e309",
    "9" * 40,
    "1,5",
    "1.234,5",
    "0x1F",
    "true",
    "null",
    "2024-13-45",
    "31.12.2024",
    "9999-12-31",
    "0001-01-01",
    "=cmd|' /C calc'!A0",
    "@SUM(1+1)",
    "'; DROP TABLE sales; --",
    '"); DELETE FROM raw_sales; --',
    "../../../../etc/passwd",
    "<script>alert(1)</script>",
    "Zürich – 東京 💥",
    "x" * 5_000,
    "a\tb",
    "\u202eright to left",
)

TOML_BITS = (
    "[plan",
    "]]",
    "= = =",
    '"""',
    "\x00",
    "nan",
    "inf",
    "1979-05-27T07:32:00Z",
    "{ a = 1, b = }",
    "[[tables]]",
    'path = "../../../../etc/passwd"',
    'path = "/dev/zero"',
    'path = "*"',
    "seed = 1e999",
    "levels = [9999999]",
    "k = -5",
    'columns = { store_id = "\'; DROP TABLE sales; --" }',
    'memory_limit = "0GB"',
    'currency = "=HYPERLINK(1)"',
)


@st.composite
def toml_texts(draw: st.DrawFn, text: str) -> str:
    """Return ``text`` with up to four edits: lines dropped, doubled, swapped, bytes changed, bits put in."""
    lines = text.splitlines()
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, max(len(lines) - 1, 0)))
        edit = draw(
            st.sampled_from(["drop", "double", "cut", "insert", "value", "key", "character", "uncomment"])
        )
        if not lines:
            break
        line = lines[at]
        if edit == "drop":
            del lines[at]
        elif edit == "double":
            lines.insert(at, line)
        elif edit == "cut":
            lines = [*lines[:at], line[: draw(st.integers(0, len(line)))]]
        elif edit == "insert":
            lines.insert(at, draw(st.sampled_from(TOML_BITS)))
        elif edit == "value" and "=" in line:
            value = draw(
                st.one_of(
                    st.sampled_from(NASTY).map(lambda t: '"' + t.replace("\\", "").replace('"', "'") + '"'),
                    st.integers(-(10**20), 10**20).map(str),
                    st.floats(allow_nan=False, allow_infinity=False).map(repr),
                    st.sampled_from(["true", "[]", "{}", "[1, 2, 2]", '["a", 1]', "2024-01-01"]),
                )
            )
            lines[at] = line.split("=")[0] + "= " + value
        elif edit == "key" and "=" in line:
            lines[at] = (
                draw(st.text("abcdefgh_-. [\"'", min_size=1, max_size=12)) + " =" + line.split("=", 1)[1]
            )
        elif edit == "character":
            place = draw(st.integers(0, len(line)))
            lines[at] = line[:place] + draw(st.characters()) + line[place:]
        elif edit == "uncomment":
            lines[at] = line.removeprefix("# ")
    return "\n".join(lines)


@st.composite
def table_bytes(draw: st.DrawFn, content: bytes) -> bytes:
    """Return a CSV file with up to three edits: cells, columns, rows, separators, bytes, its end."""
    for _ in range(draw(st.integers(1, 3))):
        edit = draw(
            st.sampled_from(
                [
                    "cell",
                    "cell",
                    "column",
                    "rows",
                    "truncate",
                    "bytes",
                    "ends",
                    "quote",
                    "separator",
                    "encoding",
                    "head",
                ]
            )
        )
        if edit == "truncate":
            content = content[: draw(st.integers(0, len(content)))]
        elif edit == "bytes" and content:
            at = draw(st.integers(0, len(content) - 1))
            content = content[:at] + draw(st.binary(min_size=1, max_size=6)) + content[at + 1 :]
        elif edit == "ends":
            content = draw(st.sampled_from([b"\r\n", b"\r", b"\n\n"])).join(content.split(b"\n"))
        elif edit == "quote" and content:
            at = draw(st.integers(0, len(content) - 1))
            content = content[:at] + b'"' + content[at:]
        elif edit == "separator":
            content = content.replace(b",", draw(st.sampled_from([b";", b"\t", b"|", b", ", b""])))
        elif edit == "encoding":
            text = content.decode("utf-8", "replace")
            content = text.encode(
                draw(st.sampled_from(["utf-16", "latin-1", "utf-8-sig", "cp1252"])), "replace"
            )
        elif edit == "head":
            content = content.split(b"\n", 1)[-1]
        else:
            content = _edited_rows(draw, content, edit)
    return content


def _edited_rows(draw: st.DrawFn, content: bytes, edit: str) -> bytes:
    try:
        rows = list(csv.reader(io.StringIO(content.decode("utf-8", "replace"))))
    except csv.Error:
        return content
    if len(rows) < 2:
        return content
    if edit == "cell":
        for _ in range(draw(st.integers(1, 5))):
            row = rows[draw(st.integers(1, len(rows) - 1))]
            if row:
                row[draw(st.integers(0, len(row) - 1))] = draw(st.sampled_from(NASTY))
    elif edit == "column":
        at = draw(st.integers(0, max(len(rows[0]) - 1, 0)))
        how = draw(st.sampled_from(["drop", "rename", "fill", "double"]))
        fill = draw(st.sampled_from(NASTY))
        for number, row in enumerate(rows):
            if at >= len(row):
                continue
            if how == "drop":
                del row[at]
            elif (how == "rename" and number == 0) or (how == "fill" and number):
                row[at] = fill
            elif how == "double":
                row.insert(at, row[at])
    else:
        order = random.Random(draw(st.integers(0, 10**6)))
        how = draw(st.sampled_from(["shuffle", "double", "half", "none"]))
        body = rows[1:]
        if how == "shuffle":
            order.shuffle(body)
        elif how == "double":
            body = body + body
        elif how == "half":
            body = order.sample(body, len(body) // 2)
        else:
            body = []
        rows = [rows[0], *body]
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows(rows)
    return out.getvalue().encode("utf-8", "replace")


GO_TOGETHER = {"customers": {"baskets"}, "baskets": {"customers"}}


def with_what_it_needs(folder: Path, table: str) -> None:
    """Leave out of a plan.toml the tables that a plan can do without, but for ``table`` and what goes with it."""
    kept = {"stores", "products", "sales", table} | GO_TOGETHER.get(table, set())
    path = folder / "plan.toml"
    parts = re.split(r"(?m)^(?=\[)", path.read_text(encoding="utf-8"))
    heads = [re.match(r"\[tables\.(\w+)\]", part) for part in parts]
    path.write_text(
        "".join(p for p, head in zip(parts, heads) if head is None or head[1] in kept), encoding="utf-8"
    )


def settings_outcome(text: str) -> str:
    """Return "accepted" or "refused"; anything else is raised."""
    try:
        parse_settings(text)
    except GeomarketError as error:
        assert str(error).strip(), "an error without words"
        return "refused"
    return "accepted"


def market_outcome(settings_file: Path) -> str:
    """Return whether the tables were accepted, refused, or would stop the plan; anything else is raised."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            settings = read_settings(settings_file)
            market = load_market(settings)
            stopped = stop_reasons(market, settings)
        except GeomarketError as error:
            assert str(error).strip(), "an error without words"
            return "refused"
    return "would stop" if stopped else "accepted"


def contents(folder: Path) -> dict[str, str]:
    """Return file -> hash of all that a run publishes; wall times and the lock are not part of it."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name not in ("timings.json", ".geomarket.lock")
    }


def run(
    *arguments: str,
    kill_after: float | None = None,
    counted_from: Path | None = None,
    env: dict[str, str] | None = None,
) -> tuple[int, str]:
    """Run the command line in a process of its own; kill it, and what it started, after some seconds.

    The seconds count from its start, or from when a file is there.
    """
    started = subprocess.Popen(
        [sys.executable, "-m", "geomarket", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
        env=os.environ | (env or {}),
    )
    if kill_after is not None:
        while counted_from is not None and not counted_from.exists() and started.poll() is None:
            time.sleep(0.005)
        time.sleep(kill_after)
        if started.poll() is None:
            os.killpg(started.pid, signal.SIGKILL)
    said = started.communicate()[0]
    return started.returncode, said


def copy_of(folder: Path, to: Path) -> Path:
    """Copy a folder of tables, replacing what is there."""
    shutil.rmtree(to, ignore_errors=True)
    shutil.copytree(folder, to)
    return to
