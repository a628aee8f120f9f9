"""Figures of how the plan is checked: what its test can see, and whether it is fair."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
from matplotlib.dates import AutoDateLocator, DateFormatter, date2num
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from geomarket.report.charts import nice_ticks
from geomarket.report.fairness import FAIRNESS_TITLE
from geomarket.report.figures.slides import ACCENT, INK, MUTED, bare, slide
from geomarket.report.map import NeighbourhoodKey
from geomarket.report.measurement import KPI_WORDS
from geomarket.report.numbers import percent, plural
from geomarket.report.ranges import signed_share

__all__ = ["fairness", "measured", "measurement_power"]

_WHITE: Any = {"facecolor": "white", "edgecolor": "none", "pad": 1.5}


def measurement_power(plan: Any, key: NeighbourhoodKey) -> Figure | None:
    """The smallest change the plan's test sees, by number of pairs and length."""
    experiment = getattr(plan, "experiment", None)
    if experiment is None:
        return None
    design = experiment.design
    kpi = KPI_WORDS[design.value]
    figure = slide(
        plan,
        f"{plural(int(design.n_pairs), 'pair')} of stores over {plural(int(design.periods), design.period)} see a "
        f"change of {percent(design.mde, 1)} in {kpi}",
        f"Smallest change of {kpi} that is seen {percent(design.wanted_power)} of the time, by number of pairs of "
        "stores and length of the test; the dot is this plan's test",
    )
    axes = figure.add_subplot()
    table = design.power.dropna(subset=["mde"])
    last = table.loc[table["pairs"] == table["pairs"].max(), "mde"]
    top = nice_ticks(0.0, max(2.5 * design.mde, 1.3 * float(last.max()), 1.4 * design.wanted), 5)[-1]
    ends = []
    for periods, mine in table.groupby("periods"):
        shown = mine[mine["mde"] <= top].sort_values("pairs")
        if shown.empty:
            continue
        chosen = periods == design.periods
        axes.plot(
            shown["pairs"],
            shown["mde"],
            color=ACCENT if chosen else MUTED,
            linewidth=3 if chosen else 1.5,
            linestyle="-" if chosen else "--",
        )
        ends.append((float(shown["mde"].iloc[-1]), float(shown["pairs"].iloc[-1]), int(periods), chosen))
    at = -np.inf
    for mde, pairs, periods, chosen in sorted(ends):
        at = max(mde, at + 0.045 * top)
        axes.annotate(
            plural(periods, design.period),
            (pairs, at),
            xytext=(10, 0),
            textcoords="offset points",
            va="center",
            color=ACCENT if chosen else MUTED,
            fontweight="bold" if chosen else "normal",
            annotation_clip=False,
            bbox=_WHITE,
        )
    for value, label in ((design.wanted, "that matters"), (design.expected, "expected")):
        if np.isfinite(value) and 0 < value <= top:
            ends_at = [float(table["pairs"].min()), float(table["pairs"].max())]
            axes.plot(ends_at, [value, value], color=INK, linewidth=1.2, linestyle=(0, (1, 3)))
            axes.annotate(
                f"{value:.1%} {label}",
                (float(table["pairs"].min()), value),
                xytext=(4, 7),
                textcoords="offset points",
                bbox=_WHITE,
            )
    if design.mde <= top:
        axes.plot([design.n_pairs], [design.mde], "o", color=ACCENT, markersize=14)
    axes.set_xlim(float(table["pairs"].min()), 1.1 * float(table["pairs"].max()))
    axes.set_ylim(0, top)
    axes.yaxis.set_major_formatter(lambda value, _: f"{100 * value:.3g}%")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel("pairs of stores")
    axes.set_ylabel(f"smallest change of {kpi} seen")
    bare(axes)
    return figure


def fairness(plan: Any, key: NeighbourhoodKey) -> Figure | None:
    """What deprived areas are offered over well-off ones."""
    found = getattr(plan, "fairness", None)
    if found is None or found.table.empty:
        return None
    table = found.table.reset_index(drop=True)
    figure = slide(
        plan,
        _fair(table),
        f"{FAIRNESS_TITLE} (by “{found.attribute_label}”), with {percent(found.confidence)} intervals; the band counts "
        "as alike",
    )
    axes = figure.add_subplot()
    axes.axvspan(*found.band, color=ACCENT, alpha=0.12, linewidth=0)
    axes.axvline(1, color=INK, linewidth=1)
    ends = [1.0, *found.band]
    for k, row in enumerate(table.to_dict("records")):
        ratio, low, high = (float(row[name]) for name in ("ratio", "low", "high"))
        if not (np.isfinite(ratio) and ratio > 0):
            axes.annotate("not known", (1.0, k), ha="center", va="center", color=MUTED)
            continue
        span = [max(low, 0.05), high] if np.isfinite([low, high]).all() else [ratio, ratio]
        ends += [ratio, *span]
        axes.plot(span, [k, k], color=INK, linewidth=2)
        axes.plot([ratio], [k], "o", color=ACCENT, markersize=13)
        axes.annotate(f"{ratio:.2f}", (ratio, k), xytext=(0, 13), textcoords="offset points", ha="center")
    axes.set_xscale("log", base=2)
    axes.set_xlim(min(0.5, *ends) * 0.95, max(2.0, *ends) * 1.05)
    low, high = axes.get_xlim()
    ticks = [
        t for t in (0.125, 0.25, 0.5, found.band[0], 1.0, found.band[1], 2.0, 4.0, 8.0) if low <= t <= high
    ]
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.set_xticks([], minor=True)
    axes.set_yticks(range(len(table)), [str(label) for label in table["label"]], fontsize=14)
    axes.set_ylim(len(table) - 0.4, -0.6)
    axes.set_xlabel("ratio, most deprived fifth over least deprived fifth")
    axes.spines["left"].set_visible(False)
    bare(axes, "x")
    return figure


def measured(found: Any) -> Figure:
    """What a plan's test found: how far test stores lie above their partners, before and during the test."""
    lift = found.lift
    path = lift.path[lift.path["kpi"] == lift.kpi]
    kpi = KPI_WORDS.get(lift.kpi, lift.kpi)
    headed = SimpleNamespace(market=SimpleNamespace(name=found.market, simulated=found.simulated))
    figure = slide(
        headed,
        found.summary()[0].removesuffix("."),
        f"{kpi.capitalize()} of test stores over their partners', {lift.period} by {lift.period}, each pair's usual "
        "gap taken off",
    )
    axes = figure.add_subplot()
    days = path["period"].to_numpy(dtype="datetime64[D]")
    axes.axvspan(date2num(lift.start), date2num(days[-1]), color=ACCENT, alpha=0.12, linewidth=0)
    axes.axhline(0, color=INK, linewidth=1)
    axes.plot(
        days, np.expm1(path["gap"].to_numpy(dtype=float)), "o-", color=ACCENT, linewidth=2.5, markersize=5
    )
    axes.annotate(
        "test stores change",
        (date2num(lift.start), 1.0),
        xycoords=("data", "axes fraction"),
        xytext=(0, 4),
        textcoords="offset points",
        va="bottom",
    )
    axes.xaxis.set_major_locator(AutoDateLocator(minticks=3, maxticks=8))
    axes.xaxis.set_major_formatter(DateFormatter("%d %b %y"))
    axes.yaxis.set_major_formatter(lambda value, _: signed_share(value))
    bare(axes)
    return figure


def _fair(table: Any) -> str:
    """Say what differs most, if anything does."""
    unequal = table[table["verdict"] == "unequal"]
    if len(unequal):
        far = unequal.assign(far=np.abs(np.log(unequal["ratio"].astype(float)))).sort_values("far").iloc[-1]
        less = "less" if far["ratio"] < 1 else "more"
        label = str(far["label"])
        return f"Deprived areas get {less}: {label[:1].lower() + label[1:]}, {far['ratio']:.2f} of what others get"
    if (table["verdict"] == "unclear").any():
        return "No offer clearly differs between deprived and well-off areas, but some may"
    return "Deprived and well-off areas are offered alike"
