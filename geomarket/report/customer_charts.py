"""Charts of the customers' section, as inline SVG drawn by hand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup, escape

from geomarket.report.charts import _label_step as label_step
from geomarket.report.charts import _scale as scale
from geomarket.report.charts import _svg as svg
from geomarket.report.charts import _text as text
from geomarket.report.charts import nice_ticks

__all__ = ["QuadrantPoint", "column_chart", "forecast_chart", "quadrant_chart"]


def column_chart(
    labels: Sequence[str], values: Sequence[float], title: str, foot: str, *, width: int = 400
) -> Markup:
    """Draw shares as columns, each with its figure; a missing one stays empty.

    Examples
    --------
    >>> str(column_chart(["1", "2"], [0.7, 0.3], "t", "tenth")).count("<rect")
    2
    """
    height, left, above, below = 230, 6, 22, 42
    top = max([v for v in values if np.isfinite(v)] + [0.01])
    y = scale(0.0, top, height - below, above)
    box = (width - 2 * left) / max(len(values), 1)
    every = label_step(labels, width)
    parts = [f'<path class="axis" d="M{left},{height - below}H{width - left}"/>']
    for k, (label, value) in enumerate(zip(labels, values)):
        middle = left + box * (k + 0.5)
        if k % every == 0:
            parts.append(text(middle, height - below + 17, label, "chart-tick", "middle"))
        if np.isfinite(value):
            tall = height - below - y(value)
            parts.append(
                f'<rect class="up" x="{middle - 0.36 * box:.1f}" y="{y(value):.1f}" width="{0.72 * box:.1f}" '
                f'height="{max(tall, 0.8):.1f}"/>'
            )
            parts.append(text(middle, y(value) - 5, f"{value:.0%}", "chart-value", "middle"))
    parts.append(text(width / 2, height - 4, foot, "chart-tick", "middle"))
    return svg(width, height, title, parts)


def forecast_chart(
    predicted: Sequence[float],
    actual: Sequence[float],
    low: Sequence[float],
    high: Sequence[float],
    title: str,
    axes: tuple[str, str],
    *,
    width: int = 400,
) -> Markup:
    """Draw what came against what was foretold; on the slanting line the forecast was right."""
    height, left, below = 300, 44, 42
    known = [v for values in (predicted, high) for v in values if np.isfinite(v)]
    ticks = nice_ticks(0.0, max([*known, 0.1]), 5)
    x, y = scale(0.0, ticks[-1], left, width - 14), scale(0.0, ticks[-1], height - below, 26)
    parts = [f'<path class="grid" d="M{left},{y(t):.1f}H{width - 14}"/>' for t in ticks[1:]]
    parts += [text(left - 6, y(t) + 4, f"{t:g}", "chart-tick", "end") for t in ticks]
    parts += [text(x(t), height - below + 17, f"{t:g}", "chart-tick", "middle") for t in ticks[1:]]
    parts.append(f'<path class="axis" d="M{left},{y(0):.1f}H{width - 14}"/>')
    parts.append(
        f'<path class="line line-0" d="M{x(0):.1f},{y(0):.1f}L{x(ticks[-1]):.1f},{y(ticks[-1]):.1f}"/>'
    )
    for p, a, lo, hi in zip(predicted, actual, low, high):
        if np.isfinite([p, a, lo, hi]).all():
            parts.append(f'<path class="whisker" d="M{x(p):.1f},{y(lo):.1f}V{y(hi):.1f}"/>')
            parts.append(f'<circle class="point" cx="{x(p):.1f}" cy="{y(a):.1f}" r="4.5"/>')
    parts.append(text(left, 13, axes[1], "chart-tick"))
    parts.append(text((left + width) / 2, height - 4, axes[0], "chart-tick", "middle"))
    return svg(width, height, title, parts)


@dataclass(frozen=True)
class QuadrantPoint:
    """One neighbourhood type: its code, share of the customers, index, and whether the index is clear of 100."""

    code: str
    share: float
    index: float
    certain: bool
    note: str = ""


def quadrant_chart(points: Sequence[QuadrantPoint], line: float, title: str, *, width: int = 560) -> Markup:
    """Draw types by how many customers they hold (right) and how well they are penetrated (up).

    A full disc is clearly above or below 100, a ring is not. The four corners are named.
    """
    height, left, right, above, below = 380, 48, 14, 26, 44
    known = [p for p in points if np.isfinite(p.share) and np.isfinite(p.index)]
    shares = nice_ticks(0.0, max([p.share for p in known] + [line * 1.5, 0.01]), 5)
    rows = nice_ticks(min([p.index for p in known] + [60.0]), max([p.index for p in known] + [140.0]), 6)
    x, y = scale(0.0, shares[-1], left, width - right), scale(rows[0], rows[-1], height - below, above)
    parts = [f'<path class="grid" d="M{left},{y(t):.1f}H{width - right}"/>' for t in rows]
    parts += [text(left - 6, y(t) + 4, f"{t:g}", "chart-tick", "end") for t in rows]
    parts += [text(x(t), height - below + 17, f"{t:.0%}", "chart-tick", "middle") for t in shares]
    parts.append(
        f'<path class="axis" d="M{left},{y(100):.1f}H{width - right}M{x(line):.1f},{above}V{height - below}"/>'
    )
    for name, px, py, anchor in (
        ("niche", left + 6, above + 12, "start"),
        ("core", width - right - 6, above + 12, "end"),
        ("monitor", left + 6, height - below - 7, "start"),
        ("developmental", width - right - 6, height - below - 7, "end"),
    ):
        parts.append(text(px, py, name, "chart-tick chosen", anchor))
    places = _apart([(x(p.share), y(p.index)) for p in known])
    for p, (tx, ty) in zip(known, places):
        css = "point" if p.certain else "ring"
        parts.append(
            f'<circle class="{css}" cx="{x(p.share):.1f}" cy="{y(p.index):.1f}" r="5">'
            f"<title>{escape(p.note or p.code)}</title></circle>"
        )
        parts.append(text(tx, ty, p.code, "chart-label"))
    parts.append(text(left - 40, 10, "index", "chart-tick"))
    parts.append(text((left + width) / 2, height - 4, "share of all customers", "chart-tick", "middle"))
    return svg(width, height, title, parts)


def _apart(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Return a place for each label: right of its point, or the first of a few others that covers no label or point."""
    taken: list[tuple[float, float]] = [(x - 6, y + 4) for x, y in points]
    places = []
    for x, y in points:
        tries = [
            (x + 8, y + 4),
            (x - 26, y + 4),
            (x - 8, y - 9),
            (x - 8, y + 19),
            (x + 6, y - 8),
            (x + 6, y + 16),
        ]
        others = [t for t in taken if t != (x - 6, y + 4)]
        free = [p for p in tries if all(abs(p[0] - q[0]) > 20 or abs(p[1] - q[1]) > 12 for q in others)]
        places.append((free or tries)[0])
        taken.append(places[-1])
    return places
