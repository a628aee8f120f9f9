"""Figures of the advice: the verdict, how local to go, what new ranges bring, how well forecasts did."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from geomarket.report.figures.slides import ACCENT, INK, MUTED, bare, marked, slide
from geomarket.report.map import NeighbourhoodKey
from geomarket.report.numbers import money_short, money_tick, percent
from geomarket.report.ranges import RANGES, signed_share
from geomarket.report.sections import chosen_row, verdict_section
from geomarket.report.validation import doubted

__all__ = ["forecasts", "frontier", "range_gain", "verdict"]


def verdict(plan: Any, key: NeighbourhoodKey) -> Figure | None:
    """The advice with its money and its doubt."""
    section = doubted(plan, verdict_section(plan), "verdict")
    row, currency = chosen_row(plan), plan.market.currency
    if "chart" not in section or row is None:
        return None
    figure = slide(
        plan,
        section["headline"],
        "Net gain a year over one range for all stores: best estimate and interval, on periods the plan had not seen",
    )
    net, low, high = (float(row[name]) for name in ("net", "net_low", "net_high"))
    axes = figure.add_subplot()
    axes.plot([low, high], [0, 0], color=ACCENT, alpha=0.25, linewidth=46, solid_capstyle="butt")
    axes.plot([net], [0], "o", color=ACCENT, markersize=24)
    axes.axvline(0, color=INK, linewidth=1.2)
    for value, up, size in ((net, 34, 24), (low, -46, 15), (high, -46, 15)):
        axes.annotate(
            money_short(value, currency),
            (value, 0),
            xytext=(0, up),
            textcoords="offset points",
            ha="center",
            va="bottom" if up > 0 else "top",
            fontsize=size,
            fontweight="bold" if up > 0 else "normal",
        )
    edge = 0.12 * (max(high, 0.0) - min(low, 0.0))
    axes.set_xlim(min(low, 0.0) - edge, max(high, 0.0) + edge)
    axes.set_ylim(-1, 1)
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    axes.xaxis.set_major_formatter(lambda value, _: money_tick(value, currency))
    bare(axes, "x")
    return figure


def frontier(plan: Any, key: NeighbourhoodKey) -> Figure:
    """Gain against the number of store clusters."""
    table, currency = plan.frontier.table.reset_index(drop=True), plan.market.currency
    row = chosen_row(plan)
    title = "How local is worth it?"
    if row is not None and int(row["n_clusters"]) <= 1:
        title = "One range for all stores is advised: more store clusters don't keep more than they cost"
    elif row is not None:
        net, low, high = (money_short(row[name], currency) for name in ("net", "net_low", "net_high"))
        title = marked(
            plan,
            f"{int(row['n_clusters'])} store clusters are advised: {net} a year net, between {low} and {high}",
        )
    figure = slide(
        plan,
        title,
        "Gain a year over one range for all, by number of store clusters: promised on the data planned on, kept on "
        "held-out periods, and net of costs",
    )
    axes = figure.add_subplot()
    place = np.arange(len(table))
    columns = ["gain_in_sample", "gain_holdout", "net", "net_low", "net_high"]
    promised, kept, net, low, high = (table[name].to_numpy(dtype=float) for name in columns)
    # what is promised for a range a store would flatten all that can be kept
    top = max(1.6 * float(np.nanmax([*kept, *high])), 1.0)
    top = min(top, max(float(np.nanmax([*promised, *kept, *high])), 1.0))
    # a plan that loses many times what others gain would flatten everything else
    floor = max(float(np.nanmin([*net, *low, 0.0])), -0.6 * top) * 1.08
    axes.fill_between(
        place,
        np.maximum(low, floor),
        high,
        color=ACCENT,
        alpha=0.16,
        linewidth=0,
        label="interval of the net gain",
    )
    axes.plot(place, promised, ":", color=MUTED, linewidth=2, label="promised (in sample)")
    axes.plot(place, kept, color=INK, linewidth=1.8, label="kept (held out)")
    axes.plot(
        place, np.maximum(net, floor), "o-", color=ACCENT, linewidth=3, markersize=6, label="net of costs"
    )
    for k in np.flatnonzero(table["chosen"].astype(bool).to_numpy()):
        axes.axvline(float(k), color=ACCENT, linestyle=(0, (2, 3)), linewidth=1.5, zorder=0)
        axes.plot([k], [net[k]], "o", color=ACCENT, markersize=14)
        axes.annotate("advised", (k, top * 1.06), ha="center", va="bottom", color=ACCENT, fontweight="bold")
    for k in np.flatnonzero(net < floor):
        axes.plot([k], [floor], marker="v", color=ACCENT, markersize=11, clip_on=False)
        axes.annotate(
            f"{money_short(net[k], currency)} net",
            (k, floor),
            xytext=(-34, 8),
            textcoords="offset points",
            ha="right",
            va="bottom",
        )
    for k in np.flatnonzero(promised > top * 1.06):
        axes.annotate(
            f"{money_short(promised[k], currency)} promised",
            (k, top),
            xytext=(12, -2),
            textcoords="offset points",
            ha="right",
            va="center",
            color=MUTED,
        )
    axes.axhline(0, color=INK, linewidth=1)
    axes.set_ylim(floor, top * 1.06)
    axes.set_xticks(place, [str(int(n)) for n in table["n_clusters"]])
    axes.yaxis.set_major_formatter(lambda value, _: money_tick(value, currency))
    axes.set_xlabel("store clusters (1: one range for all)")
    axes.legend(frameon=False, loc="lower center", bbox_to_anchor=(0.5, 1.06), ncols=4)
    bare(axes)
    return figure


def range_gain(plan: Any, key: NeighbourhoodKey) -> Figure | None:
    """What the new ranges bring over today's."""
    rehearsal = getattr(plan, "rehearsal", None)
    if rehearsal is None:
        return None
    rows = rehearsal.table[rehearsal.table["ranges"] != "today"]
    main = rows.set_index("ranges").loc["all phases"]
    words = [signed_share(float(main[name])) for name in ("gain_share", "low_share", "high_share")]
    figure = slide(
        plan,
        marked(
            plan,
            f"After all phases the new ranges bring {words[0]} margin, between {words[1]} and {words[2]}",
        ),
        "Gain over today's ranges as a share of today's margin, on periods not planned on, with 90% intervals; the "
        "ring is what the forecasts had claimed in sample",
    )
    axes = figure.add_subplot()
    for k, row in enumerate(rows.to_dict("records")):
        low, high, gain, claimed = (
            float(row[c]) for c in ("low_share", "high_share", "gain_share", "claimed_share")
        )
        axes.plot([low, high], [k, k], color=ACCENT, alpha=0.25, linewidth=26, solid_capstyle="butt")
        axes.plot([gain], [k], "o", color=ACCENT, markersize=15)
        axes.plot(
            [claimed],
            [k],
            "o",
            markerfacecolor="none",
            markeredgecolor=INK,
            markeredgewidth=1.6,
            markersize=15,
        )
        axes.annotate(
            f"{signed_share(gain)} ({money_short(row['gain'], plan.market.currency)} a year)",
            (gain, k),
            xytext=(0, 20),
            textcoords="offset points",
            ha="center",
            fontsize=14,
        )
    axes.axvline(0, color=INK, linewidth=1)
    axes.set_yticks(
        range(len(rows)), [RANGES.get(str(name), str(name)) for name in rows["ranges"]], fontsize=14
    )
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.xaxis.set_major_formatter(lambda value, _: signed_share(value))
    axes.margins(x=0.12)
    axes.spines["left"].set_visible(False)
    bare(axes, "x")
    return figure


def forecasts(plan: Any, key: NeighbourhoodKey) -> Figure | None:
    """The error of the forecasts used beside the baseline's, on held-out pairs."""
    table = plan.demand.holdout
    if table.empty:
        return None
    base = table[table["family"] == "baseline"].drop_duplicates("category").set_index("category")["wmape"]
    used = (
        table[table["chosen"].astype(bool)]
        .drop_duplicates("category", keep="last")
        .set_index("category")["wmape"]
    )
    both = pd.DataFrame({"base": base, "used": used}).dropna()
    if both.empty:
        return None
    both = both.reindex(sorted(both.index, key=lambda name: (name != "all", str(name)))).tail(24)
    main = both.iloc[0]
    whose = "" if both.index[0] == "all" else f" ({both.index[0]})"
    figure = slide(
        plan,
        f"Forecasts are off by {percent(main['used'])} of what was sold, the simple baseline by "
        f"{percent(main['base'])}{whose}",
        "Error of forecasts for listed pairs of store and product that were held out: weighted absolute error (WMAPE)",
    )
    axes = figure.add_subplot()
    place = np.arange(len(both))
    axes.hlines(place, both["base"], both["used"], color="#c9c5b9", linewidth=4, zorder=1)
    axes.plot(
        both["base"],
        place,
        "o",
        markerfacecolor="white",
        markeredgecolor=INK,
        markeredgewidth=1.6,
        markersize=11,
        label="baseline",
    )
    axes.plot(both["used"], place, "o", color=ACCENT, markersize=11, label="forecast used")
    labels = ["All categories" if name == "all" else str(name) for name in both.index]
    axes.set_yticks(place, labels)
    axes.set_ylim(len(both) - 0.4, -0.6)
    axes.xaxis.set_major_formatter(lambda value, _: f"{100 * value:.3g}%")
    axes.margins(x=0.1)
    axes.spines["left"].set_visible(False)
    axes.legend(frameon=False, loc="lower left", bbox_to_anchor=(0.0, 1.0), ncols=2)
    bare(axes, "x")
    return figure
