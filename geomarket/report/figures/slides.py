"""What all static figures share: a slide's size, its heading, and the bars most of them are made of."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any, ParamSpec, TypeVar

import matplotlib
import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.textpath import text_to_path

from geomarket.report.charts import IndexBar
from geomarket.report.validation import UNVALIDATED, is_validated

__all__ = [
    "ACCENT",
    "DOWN",
    "INK",
    "MUTED",
    "NO_DATA",
    "RULE",
    "UP",
    "bare",
    "heading",
    "index_bars",
    "key_above",
    "marked",
    "pages_of",
    "panels",
    "same_scale",
    "settled",
    "slide",
    "spread",
    "stacked_bars",
    "styled",
    "waterfall",
]

INK, MUTED, RULE, ACCENT = "#1b2422", "#5a6561", "#dddad1", "#0b6663"
UP, DOWN, NO_DATA = "#0b7a75", "#b3541e", "#eae8e1"
_WIDTH, _HEIGHT = 40 / 3, 7.5
_LEFT, _RIGHT, _FOOT = 0.035, 0.965, 0.075
_STYLE: Any = {
    "font.family": "sans-serif",
    "font.sans-serif": ["Helvetica Neue", "Arial", "Liberation Sans", "DejaVu Sans"],
    "font.size": 13,
    "text.color": INK,
    # a currency sign is no formula
    "text.parse_math": False,
    "axes.edgecolor": MUTED,
    "axes.labelcolor": MUTED,
    "axes.labelsize": 13,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlelocation": "left",
    "axes.titleweight": "bold",
    "axes.titlesize": 13,
    "axes.unicode_minus": True,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": MUTED,
    "ytick.labelcolor": INK,
    "hatch.linewidth": 0.5,
    "hatch.color": "#b9b5a8",
    # SVG elements get ids from this instead of a random number
    "svg.hashsalt": "geomarket",
    # words stay words: searchable, and editable on the slide
    "svg.fonttype": "none",
}

_P = ParamSpec("_P")
_R = TypeVar("_R")


def styled(draw: Callable[_P, _R]) -> Callable[_P, _R]:
    """Run a function in the style of the figures, whatever the user's own style is."""

    @wraps(draw)
    def run(*args: _P.args, **kwargs: _P.kwargs) -> _R:
        with matplotlib.rc_context():
            matplotlib.rcdefaults()
            matplotlib.rcParams.update(_STYLE)
            return draw(*args, **kwargs)

    return run


def slide(plan: Any, title: str, subtitle: str, note: str = "") -> Figure:
    """Return an empty slide, 16 by 9, with its heading; what is drawn on it is laid out beneath.

    Parameters
    ----------
    plan : Plan
        Its market's name stands at the foot.
    title : str
        What the figure shows, as a sentence.
    subtitle : str
        What is drawn, and in which unit.
    note : str
        A remark at the foot.
    """
    figure = Figure(figsize=(_WIDTH, _HEIGHT), layout="constrained", facecolor="white")
    size, lines = _fitting(title, (24, 20, 17), "bold")
    top = 0.955
    figure.text(_LEFT, top, "\n".join(lines), fontsize=size, fontweight="bold", va="top", linespacing=1.12)
    top -= len(lines) * size * 1.22 / (72 * _HEIGHT) + 0.008
    small, words = _fitting(subtitle, (14, 12), "normal")
    figure.text(_LEFT, top, "\n".join(words), fontsize=small, color=MUTED, va="top", linespacing=1.15)
    top -= len(words) * small * 1.22 / (72 * _HEIGHT) + 0.022
    market = plan.market
    name = f"{market.name}: simulated market" if _unsaid(market) else str(market.name)
    figure.text(_LEFT, 0.028, name, fontsize=10.5, color=MUTED)
    if note:
        remark = "\n".join(_balanced(note, 10.5, "normal", 0.62))
        figure.text(_RIGHT, 0.022, remark, fontsize=10.5, color=MUTED, ha="right", linespacing=1.1)
    layout: Any = figure.get_layout_engine()
    layout.set(
        rect=(_LEFT, _FOOT, _RIGHT - _LEFT, top - _FOOT), w_pad=0.06, h_pad=0.06, wspace=0.03, hspace=0.05
    )
    figure.set_label(title)
    return figure


def key_above(figure: Figure, handles: Sequence[Any], columns: int = 3) -> None:
    """Write the key of colours in a strip between the heading and the chart."""
    engine: Any = figure.get_layout_engine()
    left, foot, width, height = engine.get()["rect"]
    strip = 0.036 * -(-len(handles) // columns) + 0.012
    engine.set(rect=(left, foot, width, height - strip))
    figure.legend(
        handles=handles,
        loc="upper left",
        bbox_to_anchor=(left - 0.008, foot + height + 0.012),
        frameon=False,
        ncols=columns,
        fontsize=11,
    ).set_in_layout(False)


def settled(figure: Figure) -> Figure:
    """Fix where everything stands: solving the layout anew would move it by rounding errors, which differ by run."""
    if not isinstance(figure.get_layout_engine(), ConstrainedLayoutEngine):
        return figure
    figure.draw_without_rendering()
    figure.set_layout_engine("none")
    for axes in figure.axes:
        left, foot, width, height = (round(edge, 4) for edge in axes.get_position(original=True).bounds)
        axes.set_position((left, foot, width, height))
    return figure


def _unsaid(market: Any) -> bool:
    """Whether the market's name leaves out that it is simulated."""
    return bool(getattr(market, "simulated", False)) and "simulated" not in str(market.name).lower()


def _fitting(text: str, sizes: Sequence[float], weight: str) -> tuple[float, list[str]]:
    """Return the largest of the sizes at which the text takes two lines, and its lines."""
    for size in sizes:
        lines = _balanced(text, size, weight, _RIGHT - _LEFT)
        if len(lines) <= 2:
            break
    return size, lines


def _balanced(text: str, size: float, weight: str, share: float) -> list[str]:
    """Break a text into as few lines as fit a share of the slide's width, about equally long."""
    font = FontProperties(family="sans-serif", weight=weight, size=size)
    room = share * _WIDTH * 72

    # "A · Families" is one word as far as lines are concerned
    words = text.replace(" · ", "\u00a0·\u00a0").split(" ")
    wide = {word: text_to_path.get_text_width_height_descent(word, font, False)[0] for word in {*words, "n"}}

    def width(line: Sequence[str]) -> float:
        return sum(wide[word] for word in line) + 0.5 * wide["n"] * (len(line) - 1)

    def broken(limit: float) -> list[list[str]]:
        lines: list[list[str]] = [[]]
        for word in words:
            if lines[-1] and width([*lines[-1], word]) > limit:
                lines.append([])
            lines[-1].append(word)
        return lines

    lines = broken(room)
    for part in np.linspace(0.5, 1.0, 26):
        tried = broken(part * room)
        if len(tried) == len(lines) and all(width(line) <= room for line in tried):
            lines = tried
            break
    return [" ".join(line) for line in lines]


def marked(plan: Any, words: str) -> str:
    """Return words about a gain, with the doubt where it rests on unvalidated forecasts."""
    return words if is_validated(plan) else f"{words} ({UNVALIDATED})"


def heading(axes: Any, text: str, letters: int) -> None:
    """Write what one of several panels shows, above all of it: also above the labels at its left."""
    axes.set_title("\n".join(textwrap.wrap(text, letters)[:2]), fontsize=12, color=INK)


def pages_of(items: Sequence[Any], most: int) -> list[Sequence[Any]]:
    """Split into pages of about equally many, none with more than ``most``.

    Examples
    --------
    >>> [list(page) for page in pages_of([1, 2, 3, 4, 5], 4)]
    [[1, 2, 3], [4, 5]]
    """
    number = max(1, -(-len(items) // most))
    size = -(-len(items) // number)
    return [items[k : k + size] for k in range(0, len(items), size)] or [items]


def panels(figure: Figure, number: int) -> list[Any]:
    """Return axes in rows and columns, wider than high."""
    columns = min(number, 3 if number != 4 else 2)
    rows = -(-number // columns)
    return [figure.add_subplot(rows, columns, k + 1) for k in range(number)]


def bare(axes: Any, along: str = "y") -> None:
    """Take away what only frames: grid lines along one axis, behind the data."""
    axes.grid(axis=along, color=RULE, linewidth=0.9)
    axes.set_axisbelow(True)
    axes.tick_params(length=0)


def _wrapped(labels: Sequence[str], letters: int) -> list[str]:
    return ["\n".join(textwrap.wrap(label, letters)[:3]) or label for label in labels]


def index_bars(
    axes: Any,
    bars: Sequence[IndexBar],
    *,
    letters: int = 34,
    top: float = 400.0,
    missing: str = "too few to show",
    size: float = 12,
) -> None:
    """Draw bars from 100, with intervals where known and the number at the end.

    Bars longer than ``top`` are cut there, with an arrow; the number says how long they are. A bar that is missing
    has words instead.
    """
    place = np.arange(len(bars))
    values = np.array([bar.index for bar in bars], dtype=float)
    shown = np.clip(values, None, top)
    known = np.isfinite(values)
    heights = np.where(known, shown - 100, 0.0)
    axes.barh(place, heights, left=100, height=0.62, color=np.where(heights > 0, UP, DOWN))
    axes.axvline(100, color=INK, linewidth=0.9)
    axes.set_yticks(place, _wrapped([bar.label for bar in bars], letters), fontsize=size)
    axes.set_ylim(len(bars) - 0.4, -0.6)
    axes.spines["left"].set_visible(False)
    ends = shown.copy()
    for k, bar in enumerate(bars):
        if known[k] and np.isfinite([bar.low, bar.high]).all():
            low, high = np.clip([bar.low, bar.high], None, top)
            axes.plot([low, high], [k, k], color=INK, linewidth=1.4, solid_capstyle="butt")
            ends[k] = max(high, shown[k]) if values[k] > 100 else min(low, shown[k])
        if known[k] and values[k] > top:
            axes.plot([top], [k], marker=">", color=UP, markersize=9, clip_on=False)
        right = not known[k] or values[k] > 100
        axes.annotate(
            f"{values[k]:.0f}" if known[k] else missing,
            (ends[k] if known[k] else 100, k),
            xytext=((7 if values[k] > top else 5) if right else -5, 0),
            textcoords="offset points",
            ha="left" if right else "right",
            va="center",
            fontsize=size,
            color=INK if known[k] else MUTED,
        )
    axes.margins(x=0.2)
    axes.tick_params(axis="y", length=0)
    axes.tick_params(axis="x", labelsize=size - 1, length=0)
    axes.locator_params(axis="x", nbins=5)
    axes.grid(axis="x", color=RULE, linewidth=0.7)
    axes.set_axisbelow(True)


def same_scale(every: Sequence[Any]) -> None:
    """Give panels beside each other one scale, so that their bars can be compared."""
    limits = [axes.get_xlim() for axes in every]
    for axes in every:
        axes.set_xlim(min(low for low, _ in limits), max(high for _, high in limits))


def stacked_bars(
    axes: Any,
    labels: Sequence[str],
    shares: Sequence[Sequence[float]] | npt.NDArray[np.float64],
    colours: Sequence[str],
    *,
    size: float = 12,
    letters: int = 34,
    written: bool = True,
) -> None:
    """Draw one bar a row, split by shares; a share is written where there is room for it."""
    place = np.arange(len(labels))
    table = np.nan_to_num(np.asarray(shares, dtype=float))
    starts = np.zeros(len(labels))
    for k, colour in enumerate(colours):
        axes.barh(
            place, table[:, k], left=starts, height=0.72, color=colour, edgecolor="white", linewidth=0.6
        )
        for row in np.flatnonzero(table[:, k] >= 0.045) if written else ():
            axes.text(
                starts[row] + table[row, k] / 2,
                row,
                f"{table[row, k]:.0%}",
                ha="center",
                va="center",
                fontsize=size - 1,
                color=_on(colour),
            )
        starts = starts + table[:, k]
    axes.set_yticks(place, _wrapped(labels, letters), fontsize=size)
    axes.set_ylim(len(labels) - 0.4, -0.6)
    axes.set_xlim(0, 1)
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
    axes.tick_params(length=0, axis="both")
    axes.tick_params(axis="x", labelsize=size - 1)
    axes.spines["left"].set_visible(False)
    axes.spines["bottom"].set_visible(False)


def _on(colour: str) -> str:
    """Return black or white, whichever is read more easily on a colour."""
    channels = np.array(matplotlib.colors.to_rgb(colour))
    linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
    light = float(linear @ [0.2126, 0.7152, 0.0722])
    return INK if (light + 0.05) / 0.066 > 1.05 / (light + 0.05) else "white"


def waterfall(
    axes: Any,
    steps: Sequence[tuple[str, float]],
    total: tuple[str, float],
    write: Callable[[float], str],
    tick: Callable[[float], str],
) -> None:
    """Draw how amounts add up to their total, one row each, the amount beside its bar.

    ``write`` writes the amounts, ``tick`` the round ones of the scale.
    """
    amounts = np.array([amount for _, amount in steps], dtype=float)
    ends = np.append(np.cumsum(amounts), total[1])
    starts = np.concatenate([[0.0], np.cumsum(amounts)[:-1], [0.0]])
    labels = [label for label, _ in steps] + [total[0]]
    place = np.arange(len(labels))
    colours = [UP if amount > 0 else DOWN for amount in amounts] + [INK]
    axes.barh(place, ends - starts, left=starts, height=0.62, color=colours)
    for k, (start, end) in enumerate(zip(starts, ends)):
        if k + 1 < len(labels):
            axes.plot([end, end], [k + 0.31, k + 0.69], color=MUTED, linewidth=0.9)
        axes.annotate(
            write(end - start),
            (max(start, end), k),
            xytext=(6, 0),
            textcoords="offset points",
            va="center",
            fontsize=13,
            fontweight="bold" if k == len(labels) - 1 else "normal",
        )
    axes.axvline(0, color=INK, linewidth=0.9)
    axes.set_yticks(place, _wrapped(labels, 36), fontsize=13)
    axes.get_yticklabels()[-1].set_fontweight("bold")
    axes.set_ylim(len(labels) - 0.4, -0.6)
    axes.margins(x=0.12)
    axes.xaxis.set_major_formatter(lambda value, _: tick(value))
    axes.locator_params(axis="x", nbins=7)
    axes.spines["left"].set_visible(False)
    bare(axes, "x")


def spread(axes: Any, points: Sequence[tuple[float, float]], labels: Sequence[str], size: float = 12) -> None:
    """Write labels beside their points, each where it covers neither another label nor a point, if there is room."""
    figure = axes.figure.figure
    figure.draw_without_rendering()
    places = axes.transData.transform(np.asarray(points, dtype=float).reshape(-1, 2)) * 72 / figure.dpi
    taken = [(x, y, 9.0, 9.0) for x, y in places]
    for (x, y), (px, py), label in zip(points, places, labels):
        wide, high = 0.62 * size * len(label) / 2, 0.6 * size
        tries = [(9 + wide, 0.0), (-9 - wide, 0.0), (0.0, 9 + high), (0.0, -9 - high)]
        tries += [
            (7 + wide, 9 + high / 2),
            (7 + wide, -9 - high / 2),
            (-7 - wide, 9 + high / 2),
            (-7 - wide, -9 - high / 2),
        ]
        free = [
            (dx, dy)
            for dx, dy in tries
            if all(
                abs(px + dx - tx) > wide + tw or abs(py + dy - ty) > high + th
                for tx, ty, tw, th in taken
                if (tx, ty, tw, th) != (px, py, 9.0, 9.0)
            )
        ]
        dx, dy = (free or tries)[0]
        taken.append((px + dx, py + dy, wide, high))
        axes.annotate(
            label,
            (x, y),
            xytext=(dx, dy),
            textcoords="offset points",
            ha="center",
            va="center",
            fontsize=size,
        )
