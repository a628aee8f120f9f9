"""A comparison of two runs as text, Markdown, one HTML page, or JSON."""

from __future__ import annotations

import html
import json
from pathlib import Path

import pandas as pd

from geomarket.errors import SettingsError
from geomarket.planning.diff import RunDiff
from geomarket.writing import replacing

__all__ = ["DIFF_FORMATS", "diff_text", "write_diff"]

DIFF_FORMATS = (".md", ".html", ".json", ".txt")
_MOST_LINES = 12
_HEADS = {
    "verdict": "Verdict",
    "money": "Money",
    "neighbourhoods": "Neighbourhoods",
    "store clusters": "Store clusters",
    "ranges": "Ranges",
    "promotions": "Promotions",
    "left out": "Left out",
    "data": "Data",
}
_STYLE = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#1b2422;"
    "background:#f7f6f2}table{border-collapse:collapse;width:100%}th,td{text-align:left;vertical-align:top;"
    "padding:.3rem 1rem .3rem 0;border-bottom:1px solid #dddad1;overflow-wrap:anywhere}"
    "@media (prefers-color-scheme:dark){body{color:#e8e6df;background:#161b1a}th,td{border-color:#39423f}}"
)


def diff_text(diff: RunDiff, most: int | None = _MOST_LINES) -> str:
    """Write a comparison for a terminal; ``most`` lines of each part, all where None.

    Returns
    -------
    str
    """
    lines = [f"{diff.before} → {diff.after}", *(f"• {line}" for line in diff.summary())]
    if diff.same:
        return "\n".join(lines) + "\n"
    for head, rows in _parts(diff):
        lines += ["", head]
        shown = rows if most is None else rows[:most]
        lines += [f"  {_line(row)}" for row in shown]
        if len(shown) < len(rows):
            lines.append(f"  … and {len(rows) - len(shown):,} more (--out diff.md has all)")
    return "\n".join(lines) + "\n"


def _parts(diff: RunDiff) -> list[tuple[str, list[tuple[str, str, str]]]]:
    """Return every part's head and lines: item, before, after."""
    found = []
    if len(diff.causes):
        rows = list(
            zip(diff.causes["kind"] + " " + diff.causes["item"], diff.causes["before"], diff.causes["after"])
        )
        found.append(("What went in", rows))
    for part, lines in diff.table.groupby("part", sort=False):
        rows = list(zip(lines["item"], lines["before"], lines["after"]))
        found.append((_HEADS.get(str(part), str(part).capitalize()), rows))
    if diff.other_tables:
        found.append(("Other tables that differ", [(name, "", "") for name in diff.other_tables]))
    return found


def _line(row: tuple[str, str, str]) -> str:
    item, before, after = row
    if before and after:
        return f"{item}: {before} → {after}"
    return f"{item}: {before or after}" if before or after else item


def _markdown(diff: RunDiff) -> str:
    lines = [f"# What changed: {_cell(diff.before)} → {_cell(diff.after)}", ""]
    lines += [f"- {_cell(line)}" for line in diff.summary()]
    for head, rows in [] if diff.same else _parts(diff):
        lines += ["", f"## {head}", "", "| what | before | after |", "|---|---|---|"]
        lines += [f"| {' | '.join(_cell(value) or ' ' for value in row)} |" for row in rows]
    return "\n".join(lines) + "\n"


def _cell(value: str) -> str:
    escaped = html.escape(str(value), quote=False).replace("\\", "\\\\")
    for mark in "|`*_[]":
        escaped = escaped.replace(mark, "\\" + mark)
    return " ".join(escaped.split())


def _html(diff: RunDiff) -> str:
    def escape(value: str) -> str:
        return html.escape(str(value))

    title = f"What changed: {escape(diff.before)} → {escape(diff.after)}"
    body = [f"<h1>{title}</h1><ul>", *(f"<li>{escape(line)}</li>" for line in diff.summary()), "</ul>"]
    for head, rows in [] if diff.same else _parts(diff):
        cells = ["".join(f"<td>{escape(value)}</td>" for value in row) for row in rows]
        body.append(
            f"<h2>{escape(head)}</h2><table><thead><tr><th>What</th><th>Before</th><th>After</th></tr></thead><tbody>"
        )
        body += [f"<tr>{row}</tr>" for row in cells]
        body.append("</tbody></table>")
    return (
        '<!doctype html><html lang="en-GB"><head><meta charset="utf-8"><meta http-equiv="Content-Security-Policy" '
        "content=\"default-src 'none'; style-src 'unsafe-inline'\">"
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><title>{title}</title>'
        f"<style>{_STYLE}</style></head><body>{''.join(body)}</body></html>\n"
    )


def _json(diff: RunDiff) -> str:
    def records(frame: pd.DataFrame) -> list[dict[str, object]]:
        return json.loads(frame.to_json(orient="records"))

    content = {
        "before": diff.before,
        "after": diff.after,
        "same": diff.same,
        "summary": diff.summary(),
        "causes": records(diff.causes),
        "stages": records(diff.stages),
        "changes": records(diff.table),
        "other_tables": list(diff.other_tables),
    }
    return json.dumps(content, indent=1, ensure_ascii=False) + "\n"


def write_diff(diff: RunDiff, path: Path) -> Path:
    """Write a comparison as Markdown, HTML, JSON or text, by the file's ending.

    Raises
    ------
    SettingsError
        If the ending is none of .md, .html, .json, .txt.
    """
    writers = {".md": _markdown, ".html": _html, ".json": _json, ".txt": lambda d: diff_text(d, None)}
    writer = writers.get(path.suffix.lower())
    if writer is None:
        raise SettingsError(f"--out {path.name}: write to a file that ends in {', '.join(DIFF_FORMATS)}.")
    with replacing(path) as temporary:
        temporary.write_text(writer(diff), encoding="utf-8", newline="\n")
    return path
