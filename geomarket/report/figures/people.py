"""Figures of people: neighbourhood types, customers, and where the types moved."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.patches import Patch, PathPatch, Rectangle
from matplotlib.path import Path

from geomarket.report.charts import IndexBar, nice_ticks
from geomarket.report.customers import CHANNEL_COLOURS, pair_bars, quadrant_points
from geomarket.report.figures.slides import (
    ACCENT,
    INK,
    MUTED,
    UP,
    bare,
    heading,
    index_bars,
    pages_of,
    panels,
    same_scale,
    slide,
    spread,
    stacked_bars,
)
from geomarket.report.map import NeighbourhoodKey
from geomarket.report.numbers import percent
from geomarket.report.people import customer_bars, strongest_bars, type_traits

__all__ = [
    "channels",
    "customer_forecast",
    "customer_value",
    "customers",
    "migration",
    "neighbourhoods",
    "pairs",
    "quadrants",
]

_UNKNOWN = "#8c8c8c"
_CORNERS = ("core", "niche", "developmental", "monitor")


def neighbourhoods(plan: Any, key: NeighbourhoodKey) -> list[Figure]:
    """What sets each neighbourhood type apart."""
    figures = []
    shares = plan.neighbourhoods.types.set_index("code")["population_share"]
    for codes in pages_of(key.codes, 9):
        figure = slide(
            plan,
            f"{len(key.codes)} neighbourhood types, and what sets their residents apart",
            "Index of the strongest traits: 100 is the average resident of the market, 200 twice the average share",
        )
        every = panels(figure, len(codes))
        for axes, code in zip(every, codes):
            index_bars(axes, strongest_bars(type_traits(plan, code)), letters=28, top=260.0, size=10)
            share = f" ({percent(shares[code])})" if code in shares.index else ""
            heading(axes, f"{key.label(code)}{share}", 32)
        same_scale(every)
        figures.append(figure)
    return figures


def migration(plan: Any, key: NeighbourhoodKey) -> Figure | None:
    """What the types of the earlier plan became."""
    vintages = getattr(plan, "vintages", None)
    if vintages is None or vintages.table.empty:
        return None
    figure = slide(
        plan,
        f"{percent(vintages.moved, 1)} of residents live where the neighbourhood type changed since the earlier plan",
        "Residents by neighbourhood type before (left) and now (right): bands are as wide as the residents are many, "
        "pale where the type changed",
    )
    axes = figure.add_subplot()
    flows = vintages.table.sort_values(["old", "new"])
    total = float(flows["population"].sum()) or 1.0
    tops = {side: _stack(flows, side, total) for side in ("old", "new")}
    used = {side: dict.fromkeys(tops[side], 0.0) for side in tops}
    for row in flows.to_dict("records"):
        thick = float(row["population"]) / total
        a, b = (tops[side][row[side]] + used[side][row[side]] for side in ("old", "new"))
        used["old"][row["old"]] += thick
        used["new"][row["new"]] += thick
        colour = key.colour(str(row["new"])) if row["new"] in key.codes else _UNKNOWN
        axes.add_patch(
            PathPatch(
                _band(a, b, thick), facecolor=colour, edgecolor="none", alpha=0.85 if row["matched"] else 0.3
            )
        )
    for side, x, anchor in (("old", 0.0, "right"), ("new", 1.0, "left")):
        for code, top in tops[side].items():
            height = used[side][code]
            colour = key.colour(str(code)) if side == "new" and code in key.codes else _UNKNOWN
            axes.add_patch(
                Rectangle((x - (0.012 if side == "old" else 0), top), 0.012, height, facecolor=colour)
            )
            words = key.label(str(code)) if side == "new" else str(code)
            away = -0.02 if side == "old" else 0.02
            axes.text(
                x + away,
                top + height / 2,
                f"{words} ({percent(height)})",
                ha=anchor,
                va="center",
                fontsize=12,
            )
    foot = max(tops[side][code] + used[side][code] for side in tops for code in tops[side])
    axes.set_xlim(-0.12, 1.45)
    axes.set_ylim(foot + 0.01, -0.01)
    axes.axis("off")
    return figure


def _stack(flows: pd.DataFrame, side: str, total: float) -> dict[str, float]:
    starts, at = {}, 0.0
    for code, size in flows.groupby(side)["population"].sum().sort_index().items():
        starts[str(code)] = at
        at += float(size) / total + 0.02
    return starts


def _band(a: float, b: float, thick: float) -> Path:
    points = [
        (0, a),
        (0.5, a),
        (0.5, b),
        (1, b),
        (1, b + thick),
        (0.5, b + thick),
        (0.5, a + thick),
        (0, a + thick),
        (0, a),
    ]
    codes = [Path.MOVETO, *[Path.CURVE4] * 3, Path.LINETO, *[Path.CURVE4] * 3, Path.CLOSEPOLY]
    return Path(points, codes)


def customers(plan: Any, key: NeighbourhoodKey) -> list[Figure] | None:
    """Customers per resident by neighbourhood."""
    if plan.customers is None or plan.customers.table.empty:
        return None
    _, bars = customer_bars(plan)
    known = [bar for bar in bars if np.isfinite(bar.index)]
    title = "Customers per resident by neighbourhood"
    if len(known) > 1:
        title = f"Customers are most frequent among {known[0].label} (index {known[0].index:.0f}), and rarest among "
        title += f"{known[-1].label} ({known[-1].index:.0f})"
    hidden = len(bars) - len(known)
    note = f"Fewer than {plan.settings.privacy.k} customers are not shown." if hidden else ""
    return _bar_slides(
        plan,
        bars,
        title,
        "Customers per resident: index, 100 is the market; lines are intervals",
        note,
        top=300.0,
    )


def _bar_slides(
    plan: Any, bars: Sequence[IndexBar], title: str, subtitle: str, note: str = "", *, top: float
) -> list[Figure]:
    """Draw bars in one column, or in two where they are many."""
    figures = []
    for page in pages_of(bars, 36):
        figure = slide(plan, title, subtitle, note)
        halves = pages_of(page, 18)
        every = [figure.add_subplot(1, len(halves), k + 1) for k in range(len(halves))]
        for axes, half in zip(every, halves):
            index_bars(
                axes,
                half,
                top=top,
                size=12 if len(half) <= 12 else 11,
                letters=70 if len(halves) == 1 else 40,
            )
        same_scale(every)
        figures.append(figure)
    return figures


def customer_value(plan: Any, key: NeighbourhoodKey) -> Figure | None:
    """How much the best customers bring."""
    people = getattr(plan, "people", None)
    if people is None or people.deciles.empty:
        return None
    shares = people.deciles["share"].to_numpy(dtype=float)
    best = percent(shares[0]) if np.isfinite(shares[0]) else "–"
    figure = slide(
        plan,
        f"The best tenth of customers is expected to bring {best} of the next {people.horizon_months} months' value",
        f"Share of the expected {people.measure}, by tenths of customers, best first",
    )
    axes = figure.add_subplot()
    place = np.arange(len(shares))
    axes.bar(place, np.nan_to_num(shares), width=0.7, color=UP)
    for k, share in enumerate(shares):
        words = percent(share, 1 if share < 0.1 else 0) if np.isfinite(share) else "too few"
        axes.annotate(
            words,
            (k, share if np.isfinite(share) else 0),
            xytext=(0, 5),
            textcoords="offset points",
            ha="center",
        )
    axes.set_xticks(place, [f"{decile:.0f}" for decile in people.deciles["decile"]])
    axes.set_xlabel("customers in tenths, best first")
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
    bare(axes)
    return figure


def customer_forecast(plan: Any, key: NeighbourhoodKey) -> Figure | None:
    """Trips made against trips foretold."""
    people = getattr(plan, "people", None)
    if people is None or people.calibration.empty or people.calibration["actual"].isna().all():
        return None
    table = people.calibration.dropna(subset=["predicted", "actual", "low", "high"])
    foretold = float((table["predicted"] * table["customers"]).sum())
    made = float((table["actual"] * table["customers"]).sum())
    off = made / foretold - 1 if foretold > 0 else float("nan")
    title = "Customers made as many trips as foretold"
    if abs(off) >= 0.005:
        title = f"Customers made {percent(abs(off))} {'more' if off > 0 else 'fewer'} trips than foretold"
    figure = slide(
        plan,
        title,
        "Trips per customer in the second half of the window against those foretold from the first, by tenths of "
        "customers; on the slanting line the forecast was right",
    )
    axes = figure.add_subplot()
    axes.errorbar(
        table["predicted"],
        table["actual"],
        yerr=[table["actual"] - table["low"], table["high"] - table["actual"]],
        fmt="o",
        color=ACCENT,
        ecolor=INK,
        elinewidth=1.4,
        markersize=9,
    )
    end = nice_ticks(0.0, float(max(table["predicted"].max(), table["high"].max(), 0.1)), 5)[-1]
    axes.plot([0, end], [0, end], ":", color=MUTED, linewidth=1.6)
    axes.set_xlim(0, end)
    axes.set_ylim(0, end)
    axes.set_xlabel("trips foretold per customer")
    axes.set_ylabel("trips made per customer")
    bare(axes, "both")
    return figure


def quadrants(plan: Any, key: NeighbourhoodKey) -> Figure | None:
    """Types by how many customers they hold and how well they are penetrated."""
    people = getattr(plan, "people", None)
    if people is None:
        return None
    names = dict(zip(plan.neighbourhoods.types["code"], plan.neighbourhoods.types["name"].astype(str)))
    table, points = quadrant_points(people, names)
    if not points:
        return None
    members = table.dropna(subset=["quadrant"]).groupby("quadrant")["neighbourhood"].agg(list)
    told = [f"{corner}: {', '.join(map(str, members[corner]))}" for corner in _CORNERS if corner in members]
    figure = slide(
        plan,
        "; ".join(told[:2])[:1].upper() + "; ".join(told[:2])[1:],
        "Neighbourhood types by share of all customers and penetration index (100 is the market); a ring is not "
        "clearly above or below 100",
    )
    axes = figure.add_subplot()
    known = [point for point in points if np.isfinite([point.share, point.index]).all()]
    line = 1.0 / max(len(table), 1)
    for point in known:
        face = ACCENT if point.certain else "white"
        axes.plot(
            point.share,
            point.index,
            "o",
            markersize=11,
            color=face,
            markeredgecolor=ACCENT,
            markeredgewidth=1.8,
        )
    axes.axhline(100, color=INK, linewidth=1)
    axes.axvline(line, color=INK, linewidth=1)
    axes.set_xlim(0, nice_ticks(0.0, max([point.share for point in known] + [1.5 * line, 0.01]), 5)[-1])
    ticks = nice_ticks(min([p.index for p in known] + [60.0]), max([p.index for p in known] + [140.0]), 6)
    axes.set_ylim(ticks[0], ticks[-1])
    for corner, x, y, across, up in (
        ("niche", 0.01, 0.97, "left", "top"),
        ("core", 0.99, 0.97, "right", "top"),
        ("monitor", 0.01, 0.03, "left", "bottom"),
        ("developmental", 0.99, 0.03, "right", "bottom"),
    ):
        axes.text(
            x,
            y,
            corner,
            transform=axes.transAxes,
            ha=across,
            va=up,
            color=ACCENT,
            fontweight="bold",
            fontsize=14,
        )
    axes.xaxis.set_major_formatter(lambda value, _: f"{100 * value:.3g}%")
    axes.set_xlabel("share of all customers")
    axes.set_ylabel("penetration index")
    bare(axes, "both")
    spread(axes, [(point.share, point.index) for point in known], [point.code for point in known])
    return figure


def channels(plan: Any, key: NeighbourhoodKey) -> list[Figure] | None:
    """Where each type shops."""
    people = getattr(plan, "people", None)
    if people is None or people.channels.empty:
        return None
    names = dict(zip(plan.neighbourhoods.types["code"], plan.neighbourhoods.types["name"].astype(str)))
    wide = people.channels.pivot(index="neighbourhood", columns="channel", values="preference")
    every = sorted(wide.columns)
    palette = [CHANNEL_COLOURS[k % len(CHANNEL_COLOURS)] for k in range(len(every))]
    # of shares that add up to one, the smallest channel tells most
    told = min(every, key=lambda channel: float(wide[channel].mean()))
    low, high = wide[told].idxmin(), wide[told].idxmax()
    title = (
        f"{str(told).capitalize()} takes {percent(wide[told][low])} of the trips of {low}, and "
        f"{percent(wide[told][high])} of those of {high}"
    )
    figures = []
    for codes in pages_of(list(wide.index), 20):
        figure = slide(plan, title, "Share of trips by channel, drawn to everybody's where little is known")
        axes = figure.add_subplot()
        labels = [f"{code} · {names.get(str(code), '')}" for code in codes]
        rows = wide.loc[list(codes), every].to_numpy(dtype=float)
        stacked_bars(axes, labels, rows, palette, size=11, letters=60)
        axes.legend(
            handles=[
                Patch(color=colour, label=str(name).capitalize()) for name, colour in zip(every, palette)
            ],
            loc="upper left",
            bbox_to_anchor=(1.0, 1.0),
            frameon=False,
        )
        figures.append(figure)
    return figures


def pairs(plan: Any, key: NeighbourhoodKey) -> list[Figure] | None:
    """What the same customers buy."""
    people = getattr(plan, "people", None)
    if people is None or people.associations.empty:
        return None
    _, bars, items = pair_bars(people, plan)
    best = bars[0]
    title = f"{best.label} are bought by the same customers {best.index / 100:.1f} times as often as chance would give"
    return _bar_slides(
        plan,
        bars,
        title,
        f"{items.capitalize()} bought by the same customers: index, 100 is what chance would give",
        top=600.0,
    )
