"""Charts of the test: what it can see, where its stores are, and what it found."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from markupsafe import Markup, escape

from geomarket.hexes import cell_resolutions, parents
from geomarket.hexmap import central_meridian, level_world, project
from geomarket.report.charts import _scale, _svg, _text, nice_ticks
from geomarket.report.minimap import _outline, _rings
from geomarket.report.numbers import plural

__all__ = ["arms_map", "gap_chart", "power_chart"]

_COARSER = 2
_LABEL = 15


def power_chart(design: Any, title: str, *, width: int = 560, height: int = 330) -> Markup:
    """Draw the smallest change a test sees against its number of pairs, a line for each length.

    Parameters
    ----------
    design : PairedDesign
        ``power``, ``periods``, ``n_pairs``, ``mde``, ``wanted``, ``expected``, ``period``.
    title : str
        For screen readers.
    width, height : int
        Pixels.
    """
    left, right, above, below = 52, 84, 16, 46
    table = design.power.dropna(subset=["mde"])
    last = table.loc[table["pairs"] == table["pairs"].max(), "mde"]
    top = max(2.5 * design.mde, 1.3 * float(last.max()), 1.4 * design.wanted)
    ticks = nice_ticks(0.0, top, 5)
    x = _scale(float(table["pairs"].min()), float(table["pairs"].max()), left + 6, width - right)
    y = _scale(0.0, ticks[-1], height - below, above)
    parts = [f'<path class="grid" d="M{left},{y(t):.1f}H{width - right}"/>' for t in ticks]
    parts += [_text(left - 8, y(t) + 4, _percent(t, ticks), "chart-tick", "end") for t in ticks]
    steps = [t for t in nice_ticks(0, float(table["pairs"].max()), 6) if t >= table["pairs"].min()]
    parts += [
        _text(x(t), height - below + 20, f"{t:.0f}", "chart-tick", "middle")
        for t in steps
        if t <= table["pairs"].max()
    ]
    parts.append(_text((left + width - right) / 2, height - 6, "pairs of stores", "chart-tick", "middle"))
    ends = []
    for periods, mine in table.groupby("periods"):
        mine = mine.sort_values("pairs")
        shown = mine[mine["mde"] <= ticks[-1]]
        if shown.empty:
            continue
        points = "L".join(f"{x(n):.1f},{y(v):.1f}" for n, v in zip(shown["pairs"], shown["mde"]))
        css = "line-2" if periods == design.periods else "line-1"
        parts.append(f'<path class="line {css}" d="M{points}"/>')
        ends.append(
            (y(float(shown["mde"].iloc[-1])), plural(int(periods), design.period), periods == design.periods)
        )
    for place, (label, chosen) in _apart([end[0] for end in ends], [end[1:] for end in ends]):
        parts.append(_text(width - right + 8, place + 4, label, "chart-value" if chosen else "chart-tick"))
    for value, label in ((design.wanted, "that matters"), (design.expected, "expected")):
        if np.isfinite(value) and 0 < value <= ticks[-1]:
            parts.append(f'<path class="chosen-line" d="M{left},{y(value):.1f}H{width - right}"/>')
            parts.append(_text(left + 6, y(value) - 5, f"{value:.1%} {label}", "chart-tick"))
    if design.mde <= ticks[-1]:
        parts.append(f'<circle class="dot" cx="{x(design.n_pairs):.1f}" cy="{y(design.mde):.1f}" r="6"/>')
    return _svg(width, height, title, parts)


def _apart(places: Sequence[float], labels: Sequence[Any]) -> list[tuple[float, Any]]:
    """Push labels down until none lies on another."""
    found: list[tuple[float, Any]] = []
    for place, label in sorted(zip(places, labels), key=lambda pair: pair[0]):
        found.append((max(place, found[-1][0] + _LABEL) if found else place, label))
    return found


def _percent(value: float, ticks: Sequence[float]) -> str:
    fine = any(abs(100 * t - round(100 * t)) > 1e-9 for t in ticks)
    return f"{100 * value:.1f}%" if fine else f"{100 * value:.0f}%"


def gap_chart(
    periods: Sequence[Any],
    gap: Sequence[float],
    start: Any,
    title: str,
    *,
    width: int = 720,
    height: int = 300,
) -> Markup:
    """Draw how far test stores lie above their partners, period by period; ``start`` is when they changed.

    Examples
    --------
    >>> days = pd.date_range("2024-01-01", periods=4, freq="7D")
    >>> str(gap_chart(days, [0.0, 0.01, 0.05, 0.04], days[2], "t")).count('class="line')
    1
    """
    left, right, above, below = 56, 14, 26, 34
    values = 100 * np.expm1(np.asarray(gap, dtype=float))
    days = pd.DatetimeIndex(pd.Series(list(periods)))
    known = values[np.isfinite(values)]
    low, high = (float(known.min()), float(known.max())) if len(known) else (-1.0, 1.0)
    ticks = nice_ticks(min(low, 0.0), max(high, 0.0), 5)
    stamps = days.to_numpy().astype("datetime64[s]").astype("int64").astype(float)
    x = _scale(float(stamps[0]), float(stamps[-1]), left + 6, width - right - 6)
    y = _scale(ticks[0], ticks[-1], height - below, above)
    begun = x(float(pd.Timestamp(start).timestamp()))
    parts = [
        f'<rect class="band" x="{begun:.1f}" y="{above}" width="{max(width - right - begun, 1):.1f}" '
        f'height="{height - below - above}"/>'
    ]
    parts += [f'<path class="grid" d="M{left},{y(t):.1f}H{width - right}"/>' for t in ticks]
    parts += [_text(left - 8, y(t) + 4, f"{t:+g}%" if t else "0%", "chart-tick", "end") for t in ticks]
    parts.append(f'<path class="axis" d="M{left},{y(0):.1f}H{width - right}"/>')
    every = max(1, int(np.ceil(len(days) * 74 / (width - left - right))))
    for k in range(0, len(days), every):
        parts.append(_text(x(stamps[k]), height - below + 20, f"{days[k]:%d %b %y}", "chart-tick", "middle"))
    points = "L".join(f"{x(s):.1f},{y(v):.1f}" for s, v in zip(stamps, values) if np.isfinite(v))
    parts.append(f'<path class="line line-2" d="M{points}"/>')
    anchor = "end" if begun > width * 0.7 else "start"
    parts.append(
        _text(begun + (-6 if anchor == "end" else 6), above - 8, "test stores change", "chart-tick", anchor)
    )
    return _svg(width, height, title, parts)


def arms_map(
    cells: npt.NDArray[np.int64], stores: pd.DataFrame, title: str, *, width: int = 420, height: int = 340
) -> Markup:
    """Draw where test and control stores are, on the ground the plan covers.

    Parameters
    ----------
    cells : ndarray of int64, shape (n_cells,)
        The plan's hexagons; drawn two steps coarser.
    stores : DataFrame
        name, lon, lat, arm, pair.
    title : str
        For screen readers.
    width, height : int
        Pixels.
    """
    cells = np.asarray(cells, dtype=np.int64)
    resolution = max(0, int(cell_resolutions(cells[:1])[0]) - _COARSER)
    ground = np.unique(parents(cells, resolution))
    world = level_world(resolution)
    meridian = central_meridian(stores["lon"].to_numpy(dtype=float))
    rings = _rings(ground, meridian, world)
    sx, sy = project(
        stores["lon"].to_numpy(dtype=float), stores["lat"].to_numpy(dtype=float), meridian, world
    )
    corners = np.vstack([*rings, np.column_stack([sx, sy]).astype(float)])
    low, high = corners.min(axis=0), corners.max(axis=0)
    scale = min((width - 16) / max(high[0] - low[0], 1), (height - 16) / max(high[1] - low[1], 1))
    shift = np.array([width, height]) / 2 - scale * (low + high) / 2
    parts = [f'<path class="ground" d="{"".join(_outline(ring * scale + shift) for ring in rings)}"/>']
    order = {"out": 0, "control": 1, "test": 2}
    ranked = stores.assign(x=sx, y=sy).sort_values("arm", key=lambda arms: arms.map(order), kind="stable")
    for row in ranked.to_dict("records"):
        x, y = scale * float(row["x"]) + shift[0], scale * float(row["y"]) + shift[1]
        arm = str(row["arm"])
        words = f"{row['name']}: {arm}" if arm == "out" else f"{row['name']}: {arm}, pair {int(row['pair'])}"
        note = f"<title>{escape(words)}</title>"
        if arm == "control":
            parts.append(
                f'<rect class="arm-control" x="{x - 4.5:.1f}" y="{y - 4.5:.1f}" width="9" height="9">{note}</rect>'
            )
        else:
            radius = 6 if arm == "test" else 3
            parts.append(f'<circle class="arm-{arm}" cx="{x:.1f}" cy="{y:.1f}" r="{radius}">{note}</circle>')
    return _svg(width, height, title, parts)
