"""Two vintages of the neighbourhood types on the page: who lives where the type changed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
from markupsafe import Markup, escape

from geomarket.report.charts import as_figure
from geomarket.report.map import NeighbourhoodKey
from geomarket.report.numbers import count, percent
from geomarket.report.tables import Table, frame_table

__all__ = ["migration_chart", "migration_section"]

_HEAD, _GAP, _BLOCK, _TEXT = 20.0, 7.0, 12.0, 60.0
_UNKNOWN = "#8c8c8c"


def migration_chart(
    flows: pd.DataFrame,
    labels: Mapping[str, tuple[str, str]],
    colours: Mapping[str, str],
    title: str,
    *,
    width: int = 720,
    height: int = 340,
) -> Markup:
    """Draw what the types of one vintage became in the next: bands as wide as the people who live there.

    Parameters
    ----------
    flows : DataFrame
        old, new (codes), matched (whether new is what old became), population: as
        :attr:`geomarket.neighbourhoods.VintageComparison.table`.
    labels : mapping
        Code -> (its text on the left, its text on the right).
    colours : mapping
        Code of the new vintage -> colour.
    title : str
        For screen readers.
    width, height : int
        Pixels.

    Examples
    --------
    >>> flows = pd.DataFrame({"old": ["A", "A"], "new": ["A", "B"], "matched": [True, False], "population": [3.0, 1.0]})
    >>> str(migration_chart(flows, {}, {}, "t")).count('class="flow')
    2
    """
    total = float(flows["population"].sum()) or 1.0
    old, new = sorted(flows["old"].unique()), sorted(flows["new"].unique())
    usable = height - _HEAD - _GAP * (max(len(old), len(new)) - 1)
    scale = usable / total
    text = min(_TEXT, width * 0.3)
    left, right = text + _BLOCK, width - text - _BLOCK
    starts = {side: _stack(flows, side, codes, scale) for side, codes in (("old", old), ("new", new))}
    parts = [
        f'<text class="chart-tick" x="{text:.0f}" y="12" text-anchor="end">before</text>',
        f'<text class="chart-tick" x="{width - text:.0f}" y="12">now</text>',
    ]
    used = {side: dict.fromkeys(codes, 0.0) for side, codes in (("old", old), ("new", new))}
    for row in flows.sort_values(["old", "new"]).to_dict("records"):
        one, other, people = str(row["old"]), str(row["new"]), float(row["population"])
        thick = people * scale
        a = starts["old"][one] + used["old"][one]
        b = starts["new"][other] + used["new"][other]
        used["old"][one] += thick
        used["new"][other] += thick
        words = f"{one} to {other}: {percent(people / total, 1)} of residents"
        colour = colours.get(other, _UNKNOWN)
        parts.append(_band(left, right, a, b, thick, colour, bool(row["matched"]), words))
    for code in old:
        parts.append(_block(left - _BLOCK, starts["old"][code], used["old"][code], _UNKNOWN))
        middle = starts["old"][code] + used["old"][code] / 2 + 4
        parts.append(_label(left - _BLOCK - 6, middle, labels.get(code, (code, code))[0], "end"))
    for code in new:
        parts.append(_block(right, starts["new"][code], used["new"][code], colours.get(code, _UNKNOWN)))
        middle = starts["new"][code] + used["new"][code] / 2 + 4
        parts.append(_label(right + _BLOCK + 6, middle, labels.get(code, (code, code))[1], "start"))
    return Markup(
        f'<svg class="chart" role="img" viewBox="0 0 {width} {height}" width="{width}" height="{height}">'
        f"<title>{escape(title)}</title>{''.join(parts)}</svg>"
    )


def _stack(flows: pd.DataFrame, side: str, codes: Sequence[str], scale: float) -> dict[str, float]:
    """Return where each code's block begins from the top."""
    sizes = flows.groupby(side)["population"].sum() * scale
    starts, at = {}, _HEAD
    for code in codes:
        starts[code] = at
        at += float(sizes[code]) + _GAP
    return starts


def _band(
    left: float, right: float, a: float, b: float, thick: float, colour: str, kept: bool, words: str
) -> str:
    middle = (left + right) / 2
    path = (
        f"M{left:.1f},{a:.1f}C{middle:.1f},{a:.1f} {middle:.1f},{b:.1f} {right:.1f},{b:.1f}"
        f"v{thick:.1f}C{middle:.1f},{b + thick:.1f} {middle:.1f},{a + thick:.1f} {left:.1f},{a + thick:.1f}z"
    )
    css = "flow kept" if kept else "flow"
    return f'<path class="{css}" fill="{escape(colour)}" d="{path}"><title>{escape(words)}</title></path>'


def _block(x: float, y: float, height: float, colour: str) -> str:
    place = f'x="{x:.1f}" y="{y:.1f}" width="{_BLOCK:.0f}" height="{max(height, 0.8):.1f}"'
    return f'<rect fill="{escape(colour)}" {place}/>'


def _label(x: float, y: float, text: str, anchor: str) -> str:
    return f'<text class="chart-label" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'


def migration_section(plan: Any, key: NeighbourhoodKey) -> dict[str, Any] | None:
    """Return what changed since an earlier vintage, as chart and table; None where there is none to compare with."""
    vintages = getattr(plan, "vintages", None)
    if vintages is None or vintages.table.empty:
        return None
    flows = vintages.table
    names = dict(zip(key.codes, key.names))
    codes = sorted({*flows["old"], *flows["new"]})
    words = f"{percent(vintages.moved, 1)} of residents live where the type changed"
    short = {code: (code, code) for code in codes}
    colours = {code: key.colour(code) for code in codes}

    def draw(width: int, height: int) -> Markup:
        return as_figure(
            migration_chart(flows, short, colours, words, width=width, height=height), "migration"
        )

    drifted = vintages.psi[vintages.psi["verdict"] != "stable"]
    labels = {variable.name: variable.label for variable in plan.hexes.variables}
    return {
        "words": words,
        "agreement": f"{vintages.ari:.2f}",
        "wide": draw(720, 300),
        "narrow": draw(340, 300),
        "key": [(code, names.get(code, code)) for code in sorted(flows["new"].unique())],
        "table": frame_table(
            flows.sort_values(["old", "new"]),
            "What the types became",
            {
                "old": ("Before", "text", None),
                "new": ("Now", "text", lambda code: f"{code} · {names.get(code, code)}"),
                "areas": ("Hexagons", "number", count),
                "population": ("Residents", "number", count),
                "share": ("Of the old type", "number", lambda value: percent(value, 1)),
            },
        ),
        "drift": _drift(drifted, labels),
    }


def _drift(drifted: pd.DataFrame, labels: Mapping[str, str]) -> Table | None:
    if drifted.empty:
        return None
    named = drifted.assign(label=drifted["variable"].map(labels).fillna(drifted["variable"]))
    return frame_table(
        named,
        "Census figures that drifted (population stability index above 0.1)",
        {
            "label": ("Figure", "text", None),
            "psi": ("Index", "number", lambda value: count(value, 2)),
            "verdict": ("Verdict", "text", None),
        },
    )
