"""Charts as inline SVG, drawn by hand: two kilobytes each, sharp on paper, readable in the dark.

Every chart has a title for screen readers; the page puts a table of the same figures beside it. Colours are
classes of the page's style sheet, so that a chart follows the reader's light or dark setting.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup, escape

__all__ = [
    "IndexBar",
    "as_figure",
    "calendar_chart",
    "decay_chart",
    "frontier_chart",
    "index_bars",
    "interval_chart",
    "nice_ticks",
    "share_bar",
    "waterfall_chart",
]


@dataclass(frozen=True)
class IndexBar:
    """One row of an index chart: 100 is the average. ``low`` and ``high`` are the interval, where known."""

    label: str
    index: float
    low: float = float("nan")
    high: float = float("nan")


def nice_ticks(low: float, high: float, wanted: int = 5) -> list[float]:
    """Return round tick positions that cover low to high.

    Examples
    --------
    >>> nice_ticks(0, 97)
    [0.0, 20.0, 40.0, 60.0, 80.0, 100.0]
    """
    span = max(high - low, 1e-12)
    rough = span / max(wanted, 1)
    power = 10.0 ** np.floor(np.log10(rough))
    step = next(k * power for k in (1, 2, 2.5, 5, 10) if k * power >= rough * 0.999)
    first, last = np.floor(low / step + 1e-9), np.ceil(high / step - 1e-9)
    return [float(round(k * step, 12)) for k in np.arange(first, last + 1)]


def index_bars(
    bars: Sequence[IndexBar],
    title: str,
    *,
    width: int = 340,
    top: float | None = None,
    missing: str = "no data",
    among: Sequence[IndexBar] | None = None,
) -> Markup:
    """Draw bars left and right of 100, label above each bar; longer than ``top`` ends in an arrow.

    The length is proportional to index minus 100. An interval, where known, is a thin line. ``among`` are the bars of
    several charts that are to have one scale.
    """
    known = [bar for bar in among or bars if np.isfinite(bar.index)]
    reach = max([abs(bar.index - 100) for bar in known] + [20.0])
    reach = min(reach, top - 100 if top else 150.0)
    left_room = min(100.0, max([100 - bar.index for bar in known] + [20.0]))
    scale = width / (left_room + reach)
    zero = left_room * scale
    row = 36
    height = row * len(bars) + 4
    parts = []
    for k, bar in enumerate(bars):
        y = k * row
        parts.append(_text(0, y + 13, bar.label, "chart-label"))
        if not np.isfinite(bar.index):
            parts.append(_text(width, y + 13, missing, "chart-tick", "end"))
            continue
        parts.append(_text(width, y + 13, f"{bar.index:.0f}", "chart-value", "end"))
        end = float(np.clip(zero + (bar.index - 100) * scale, 0, width))
        start, length = min(zero, end), abs(end - zero)
        parts.append(f'<rect class="track" x="0" y="{y + 19}" width="{width}" height="9" rx="1"/>')
        css = "up" if bar.index > 100 else "down"
        box = f'x="{start:.1f}" y="{y + 19}" width="{max(length, 0.8):.1f}" height="9"'
        parts.append(f'<rect class="{css}" {box}/>')
        parts.append(f'<path class="axis" d="M{zero:.1f},{y + 16.5}v14"/>')
        if zero + (bar.index - 100) * scale > width:
            parts.append(f'<path class="up" d="M{width - 5},{y + 16}l5,7.5l-5,7.5z"/>')
        if np.isfinite(bar.low) and np.isfinite(bar.high):
            a, b = (float(np.clip(zero + (v - 100) * scale, 0, width)) for v in (bar.low, bar.high))
            parts.append(
                f'<path class="whisker" d="M{a:.1f},{y + 23.5}H{b:.1f}M{a:.1f},{y + 20.5}v6M{b:.1f},{y + 20.5}v6"/>'
            )
    return _svg(width, height, title, parts)


def as_figure(chart: Markup, name: str) -> Markup:
    """Return the chart with the name of the static figure that shows the same, for slides.

    Examples
    --------
    >>> as_figure(Markup('<svg class="chart" role="img"></svg>'), "frontier")
    Markup('<svg class="chart" data-figure="frontier" role="img"></svg>')
    """
    return Markup(str(chart).replace(' role="img"', f' data-figure="{escape(name)}" role="img"', 1))


def share_bar(
    shares: Iterable[tuple[str, float, str]], title: str, *, width: int = 160, height: int = 12
) -> Markup:
    """Draw a bar split by shares; each is (label, share, colour)."""
    parts, x, words = [], 0.0, []
    for label, share, colour in shares:
        if share <= 0:
            continue
        wide = share * width
        left = f"{round(x, 1):g}"
        parts.append(f'<path fill="{escape(colour)}" d="M{left},0h{round(wide, 1):g}v{height}H{left}z"/>')
        words.append(f"{label} {share:.0%}")
        x += wide
    return _svg(width, height, f"{title}: {', '.join(words)}", parts, css="chart chart-share")


def interval_chart(
    value: float, low: float, high: float, title: str, write: Callable[[float], str], *, width: int = 360
) -> Markup:
    """Draw one figure with its interval against zero."""
    ticks = nice_ticks(min(low, 0.0), max(high, 0.0), 4)
    place = _scale(ticks[0], ticks[-1], 14, width - 14)
    parts = [f'<path class="grid" d="M{place(t):.1f},26V58"/>' for t in ticks]
    parts += [_text(place(t), 74, write(t), "chart-tick", "middle") for t in ticks]
    parts.append(f'<path class="axis" d="M{place(0):.1f},18V58"/>')
    parts.append(
        f'<rect class="band" x="{place(low):.1f}" y="34" width="{place(high) - place(low):.1f}" height="16" rx="8"/>'
    )
    parts.append(f'<circle class="dot" cx="{place(value):.1f}" cy="42" r="6"/>')
    return _svg(width, 80, title, parts)


def frontier_chart(
    labels: Sequence[str],
    series: dict[str, Sequence[float]],
    low: Sequence[float],
    high: Sequence[float],
    chosen: int,
    title: str,
    write: Callable[[float], str],
    *,
    width: int = 720,
    height: int = 340,
) -> Markup:
    """Draw gain against the number of store clusters.

    Parameters
    ----------
    labels : sequence of str
        One per number of clusters, placed at equal distances.
    series : dict
        Name -> values, in the order drawn: "in sample", "held out", "net". The band belongs to the last.
    chosen : int
        Position of the recommended number.
    low, high : sequence of float
        The band.
    title : str
        For screen readers.
    write : callable
        Writes a value on the axis.
    width, height : int
        Pixels.
    """
    left, right, above, below = 64, 14, 18, 46
    known = [v for values in (*series.values(), low, high) for v in values if np.isfinite(v)]
    top = max([*known, 1.0])
    # a plan that loses many times what others gain would flatten everything else: cut, and say so at the foot
    floor = max(min([*known, 0.0]), -0.6 * top)
    ticks = nice_ticks(floor, top, 5)
    low, high = ([max(v, ticks[0]) for v in edge] for edge in (low, high))
    x = _scale(0, max(len(labels) - 1, 1), left + 12, width - right - 18)
    y = _scale(ticks[0], ticks[-1], height - below, above)
    parts = [f'<path class="grid" d="M{left},{y(t):.1f}H{width - right}"/>' for t in ticks]
    parts += [_text(left - 8, y(t) + 4, write(t), "chart-tick", "end") for t in ticks]
    parts.append(f'<path class="axis" d="M{left},{y(0):.1f}H{width - right}"/>')
    parts.append(f'<path class="chosen-line" d="M{x(chosen):.1f},{above}V{height - below}"/>')
    finite = [k for k in range(len(labels)) if np.isfinite(low[k]) and np.isfinite(high[k])]
    if finite:
        edge = [f"{x(k):.1f},{y(high[k]):.1f}" for k in finite] + [
            f"{x(k):.1f},{y(low[k]):.1f}" for k in reversed(finite)
        ]
        parts.append(f'<path class="band" d="M{"L".join(edge)}Z"/>')
    for number, (name, values) in enumerate(series.items()):
        points = [f"{x(k):.1f},{y(max(v, ticks[0])):.1f}" for k, v in enumerate(values) if np.isfinite(v)]
        parts.append(
            f'<path class="line line-{number}" d="M{"L".join(points)}"><title>{escape(name)}</title></path>'
        )
    net = list(series.values())[-1]
    for k, value in enumerate(net):
        if np.isfinite(value) and value < ticks[0]:
            foot = y(ticks[0])
            parts.append(f'<path class="point" d="M{x(k) - 5:.1f},{foot - 7:.1f}h10l-5,7z"/>')
            parts.append(_text(x(k) - 9, foot - 4, write(value), "chart-tick", "end"))
        elif np.isfinite(value):
            css, radius = ("dot", 6) if k == chosen else ("point", 3)
            parts.append(f'<circle class="{css}" cx="{x(k):.1f}" cy="{y(value):.1f}" r="{radius}"/>')
    every = _label_step(labels, width - left - right)
    for k, label in enumerate(labels):
        last = k == len(labels) - 1
        crowded = not last and k > len(labels) - 1 - every and k != chosen
        if (k % every == 0 or last or k == chosen) and not (every > 1 and crowded):
            anchor = "end" if last and len(label) > 3 else "start" if k == 0 and len(label) > 3 else "middle"
            at = x(k) + (12 if anchor == "end" else -12 if anchor == "start" else 0)
            parts.append(
                _text(
                    at, height - below + 20, label, "chart-tick" + (" chosen" if k == chosen else ""), anchor
                )
            )
    return _svg(width, height, title, parts)


def waterfall_chart(
    steps: Sequence[tuple[str, float]],
    total: str,
    title: str,
    write: Callable[[float], str],
    *,
    width: int = 400,
) -> Markup:
    """Draw how amounts add up to their total, one row each, label above its bar.

    Examples
    --------
    >>> str(waterfall_chart([("gain", 5.0), ("cost", -2.0)], "net", "t", str)).count("<rect")
    3
    """
    amounts = [amount for _, amount in steps]
    edges = np.concatenate([[0.0], np.cumsum(amounts)])
    place = _scale(min(0.0, float(edges.min())), max(0.0, float(edges.max())), 0, width)
    rows = [
        (label, float(start), float(end), "up" if end >= start else "down")
        for (label, _), start, end in zip(steps, edges, edges[1:])
    ]
    rows.append((total, 0.0, float(edges[-1]), "total"))
    parts = []
    for k, (label, start, end, css) in enumerate(rows):
        y = 38 * k
        amount = end - start
        parts.append(_text(0, y + 13, label, "chart-value" if css == "total" else "chart-label"))
        parts.append(_text(width, y + 13, write(amount), "chart-value", "end"))
        left, right = sorted((place(start), place(end)))
        parts.append(
            f'<rect class="{css}" x="{left:.1f}" y="{y + 19}" width="{max(right - left, 1):.1f}" height="12"/>'
        )
    parts += [f'<path class="axis" d="M{place(0):.1f},{38 * k + 17}v16"/>' for k in range(len(rows))]
    return _svg(width, 38 * len(rows) + 2, title, parts)


def calendar_chart(
    rows: Sequence[tuple[str, Sequence[tuple[int, float]]]],
    columns: Sequence[str],
    title: str,
    *,
    width: int = 400,
) -> Markup:
    """Draw how many promotions start when: a strip per category, darker for deeper price cuts.

    Each row is (label, [(number, deepest price cut), …]), one pair per column; nothing is drawn for 0.
    """
    box = width / max(len(columns), 1)
    deepest = max((depth for _, cells in rows for n, depth in cells if n), default=1.0) or 1.0
    every = max(1, int(np.ceil(52 / box)))
    parts = [
        _text(box * (k + 0.5), 12, label, "chart-tick", "middle")
        for k, label in enumerate(columns)
        if k % every == 0
    ]
    for r, (label, cells) in enumerate(rows):
        y = 22 + 44 * r
        parts.append(_text(0, y + 13, label, "chart-label"))
        for k, (number, depth) in enumerate(cells):
            place = f'x="{box * k + 1:.1f}" y="{y + 18}" width="{box - 2:.1f}" height="20" rx="2"'
            if not number:
                parts.append(f'<rect class="track" {place}/>')
                continue
            tint = 0.2 + 0.5 * depth / deepest
            note = f"{label}, {columns[k]}: {number}, up to {depth:.0%} off"
            parts.append(
                f'<rect class="up" fill-opacity="{tint:.2f}" {place}><title>{escape(note)}</title></rect>'
                + _text(box * (k + 0.5), y + 32, str(number), "chart-value", "middle")
            )
    return _svg(width, 22 + 44 * len(rows), title, parts)


def bar_chart(
    rows: Sequence[tuple[str, float, str]], title: str, *, chosen: int = 0, width: int = 400
) -> Markup:
    """Draw one bar per row, its label above and its words at the end; bars go left of the line below 0.

    Each row is (label, value, words); a value that is missing has its words and no bar.

    Examples
    --------
    >>> str(bar_chart([("fitted", 0.5, "0.50"), ("guess", -0.1, "−0.10")], "Scores")).count("<rect")
    2
    """
    values = [value for _, value, _ in rows if np.isfinite(value)]
    place = _scale(min([0.0, *values]), max([0.0, *values]) or 1.0, 0, width)
    parts = []
    for k, (label, value, words) in enumerate(rows):
        y = 38 * k
        parts.append(_text(0, y + 13, label, "chart-value" if k == chosen else "chart-label"))
        parts.append(_text(width, y + 13, words, "chart-value", "end"))
        if np.isfinite(value):
            left, right = sorted((place(0.0), place(value)))
            css = "up" if k == chosen else "plain"
            parts.append(
                f'<rect class="{css}" x="{left:.1f}" y="{y + 19}" width="{max(right - left, 1):.1f}" height="12"/>'
            )
        parts.append(f'<path class="axis" d="M{place(0.0):.1f},{y + 17}v16"/>')
    return _svg(width, 38 * len(rows) + 2, title, parts)


def ratio_chart(
    rows: Sequence[tuple[str, float, float, float]],
    band: tuple[float, float],
    title: str,
    *,
    width: int = 400,
) -> Markup:
    """Draw ratios with their intervals on a doubling scale, beside the band that counts as equal.

    Each row is (label, ratio, low, high).

    Examples
    --------
    >>> str(ratio_chart([("breadth", 1.1, 1.0, 1.2)], (0.8, 1.25), "Ratios")).count("<circle")
    1
    """
    ends = [end for row in rows for end in row[1:] if np.isfinite(end) and end > 0]
    low, high = min([0.5, *ends]), max([2.0, *ends])
    scale = _scale(np.log2(low), np.log2(high), 12, width - 12)
    foot = 44 * len(rows) + 8

    def place(value: float) -> float:
        return scale(float(np.log2(min(max(value, low), high))))

    parts = []
    for k, (label, ratio, lowest, highest) in enumerate(rows):
        y = 44 * k + 32
        parts.append(_text(0, y - 16, label, "chart-label"))
        parts.append(
            f'<rect class="band" x="{place(band[0]):.1f}" y="{y - 10}" '
            f'width="{place(band[1]) - place(band[0]):.1f}" height="20"/>'
        )
        parts.append(f'<path class="axis" d="M{place(1.0):.1f},{y - 10}v20"/>')
        if np.isfinite(ratio) and ratio > 0:
            if np.isfinite(lowest) and np.isfinite(highest):
                parts.append(f'<path class="whisker" d="M{place(lowest):.1f},{y}H{place(highest):.1f}"/>')
            parts.append(f'<circle class="dot" cx="{place(ratio):.1f}" cy="{y}" r="5"/>')
    ticks = [tick for tick in (0.25, 0.5, band[0], 1.0, band[1], 2.0, 4.0) if low <= tick <= high]
    parts += [_text(place(tick), foot + 16, f"{tick:g}", "chart-tick", "middle") for tick in ticks]
    return _svg(width, foot + 22, title, parts)


def decay_chart(
    km: Sequence[float],
    share: Sequence[float],
    reach: dict[float, float],
    title: str,
    *,
    seen: Sequence[tuple[float, float]] = (),
    width: int = 400,
) -> Markup:
    """Draw the share of trade from within a distance; ``reach`` marks shares with their distance.

    ``seen`` marks (distance, share) of what was observed.
    """
    height, left, below = 240, 44, 40
    ticks = nice_ticks(0.0, max(km), 6)
    x = _scale(0.0, ticks[-1], left, width - 14)
    y = _scale(0.0, 1.0, height - below, 12)
    parts = [f'<path class="grid" d="M{left},{y(t):.1f}H{width - 14}"/>' for t in (0.25, 0.5, 0.75, 1.0)]
    parts += [_text(left - 6, y(t) + 4, f"{t:.0%}", "chart-tick", "end") for t in (0.0, 0.25, 0.5, 0.75, 1.0)]
    parts += [_text(x(t), height - below + 18, f"{t:g}", "chart-tick", "middle") for t in ticks]
    parts.append(_text((left + width) / 2, height - 4, "km from the store", "chart-tick", "middle"))
    parts.append(f'<path class="axis" d="M{left},{y(0):.1f}H{width - 14}"/>')
    points = "L".join(f"{x(a):.1f},{y(b):.1f}" for a, b in zip(km, share))
    parts.append(f'<path class="line line-2" d="M{points}"/>')
    parts += [
        f'<path class="seen" d="M{x(a) - 4:.1f},{y(b) - 4:.1f}l8,8m0,-8l-8,8"/>'
        for a, b in seen
        if a <= ticks[-1]
    ]
    for part, far in reach.items():
        parts.append(f'<circle class="dot" cx="{x(far):.1f}" cy="{y(part):.1f}" r="5"/>')
        parts.append(_text(x(far) + 9, y(part) + 13, f"{part:.0%}: {far:.1f} km", "chart-label"))
    return _svg(width, height, title, parts)


def _label_step(labels: Sequence[str], room: float) -> int:
    widest = max((len(label) for label in labels[1:-1]), default=1) * 7.2 + 10
    return max(1, int(np.ceil(widest * len(labels) / room)))


def _scale(low: float, high: float, start: float, end: float) -> Callable[[float], float]:
    span = high - low or 1.0
    return lambda value: start + (value - low) / span * (end - start)


def _text(x: float, y: float, text: str, css: str, anchor: str = "start") -> str:
    place = "" if anchor == "start" else f' text-anchor="{anchor}"'
    return f'<text class="{css}" x="{x:.1f}" y="{y:.1f}"{place}>{escape(text)}</text>'


def _svg(width: float, height: float, title: str, parts: Iterable[str], css: str = "chart") -> Markup:
    body = "".join(parts)
    return Markup(
        f'<svg class="{css}" role="img" viewBox="0 0 {width:g} {height:g}" width="{width:g}" height="{height:g}">'
        f"<title>{escape(title)}</title>{body}</svg>"
    )
