"""Figures of the offers: what promotions bring, when they run, where leaflets go."""

from __future__ import annotations

from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle

from geomarket.report.figures.slides import INK, UP, pages_of, slide, waterfall
from geomarket.report.map import NeighbourhoodKey
from geomarket.report.names import natural_key, slug
from geomarket.report.numbers import money_short, money_tick, percent, plural
from geomarket.report.promotions import CHANNELS, by_channel, calendar_rows
from geomarket.report.sections import promotion_steps
from geomarket.report.targeting import door_steps

__all__ = ["promotion_calendars", "promotions", "targeting"]

_TRACK = "#f0eee8"


def promotions(plan: Any, key: NeighbourhoodKey) -> Figure | None:
    """What the planned promotions bring, from the margin of extra units to the net."""
    if plan.promotions is None or plan.promotions.table.empty:
        return None
    table, currency = plan.promotions.table, plan.market.currency
    net = float(table["net"].sum())
    risk = getattr(plan.promotions, "risk", {})
    doubt = (
        f", between {money_short(risk['low'], currency)} and {money_short(risk['high'], currency)}"
        if risk
        else ""
    )
    figure = slide(
        plan,
        f"{plural(len(table), 'planned promotion')} net {money_short(net, currency)}{doubt}",
        "Margin over the horizon of the plan, by what it comes from and what it costs",
    )
    waterfall(
        figure.add_subplot(),
        promotion_steps(plan),
        ("Net", net),
        lambda value: money_short(value, currency),
        lambda value: money_tick(value, currency),
    )
    return figure


def promotion_calendars(plan: Any) -> dict[str, list[Figure]]:
    """When promotions run: one calendar a channel, and one a store cluster."""
    if plan.promotions is None or plan.promotions.table.empty:
        return {}
    table = plan.promotions.table
    periods = sorted(table["period"].unique())
    found = {}
    for channel in [name for name in CHANNELS if (table["channel"] == name).any()]:
        mine = table[table["channel"] == channel]
        title = f"{CHANNELS[channel]}: {plural(len(mine), 'promotion')} over all store clusters"
        found[f"promotion_calendar_{channel}"] = _calendar(plan, mine, title, "category", periods)
    names = plan.store_clusters.table.drop_duplicates("store_cluster").set_index("store_cluster")["name"]
    for cluster in sorted(table["store_cluster"].astype("str").unique(), key=natural_key):
        mine = by_channel(table[table["store_cluster"] == cluster])
        title = f"{cluster} · {names.get(cluster, '')}: {plural(len(mine), 'promotion')}"
        found[f"promotion_calendar_{slug(cluster)}"] = _calendar(
            plan, mine, title, "category and channel", periods
        )
    return found


def _calendar(plan: Any, mine: pd.DataFrame, title: str, rows_are: str, periods: list[Any]) -> list[Figure]:
    rows, _ = calendar_rows(mine, periods)
    deepest = max(depth for _, cells in rows for number, depth in cells if number)
    figures = []
    for page in pages_of(rows, 16):
        figure = slide(
            plan,
            f"{title}, price cuts up to {percent(deepest)}",
            f"Number of promotions by {rows_are} and first day ({plan.market.period} by {plan.market.period}); darker "
            "is a deeper price cut",
        )
        axes = figure.add_subplot()
        for r, (_, cells) in enumerate(page):
            for k, (number, depth) in enumerate(cells):
                colour = _tint(depth / deepest) if number else _TRACK
                axes.add_patch(Rectangle((k + 0.04, r + 0.1), 0.92, 0.8, facecolor=colour, edgecolor="none"))
                if number:
                    dark = depth / deepest > 0.7
                    axes.text(
                        k + 0.5,
                        r + 0.5,
                        str(number),
                        ha="center",
                        va="center",
                        color="white" if dark else INK,
                    )
        axes.set_xlim(0, len(periods))
        axes.set_ylim(max(len(page), 6), 0)
        every = max(1, -(-len(periods) // 14))
        ticks = np.arange(0, len(periods), every)
        axes.set_xticks(ticks + 0.5, [f"{pd.Timestamp(periods[k]):%d %b}" for k in ticks])
        axes.xaxis.tick_top()
        axes.set_yticks(np.arange(len(page)) + 0.5, [label for label, _ in page], fontsize=12)
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)
        depths = sorted({round(float(d), 4) for _, cells in rows for n, d in cells if n})
        if len(depths) > 4:
            depths = [depths[0], depths[len(depths) // 2], depths[-1]]
        axes.legend(
            handles=[Patch(color=_tint(d / deepest), label=f"{percent(d)} off") for d in depths],
            loc="upper left",
            bbox_to_anchor=(1.0, 1.0),
            frameon=False,
        )
        figures.append(figure)
    return figures


def _tint(share: float) -> str:
    """Return the colour of a price cut, as a share of the deepest."""
    mixed = np.array(matplotlib.colors.to_rgb("white")) * (1 - 0.15 - 0.85 * share)
    mixed = mixed + np.array(matplotlib.colors.to_rgb(UP)) * (0.15 + 0.85 * share)
    return matplotlib.colors.to_hex((float(mixed[0]), float(mixed[1]), float(mixed[2])))


def targeting(plan: Any, key: NeighbourhoodKey) -> Figure | None:
    """What becomes of what leaflets at every door would bring."""
    found = getattr(plan, "targeting", None)
    if found is None:
        return None
    currency = plan.market.currency
    steps = door_steps(found.doors)
    whole = float(found.doors.money["amount"].iloc[-1])
    reached = float(found.doors.table["benefit"].sum()) if len(found.doors.table) else 0.0
    title = "No door drop pays for itself"
    if reached > 0:
        cost = float(found.doors.table["cost"].sum())
        where = plural(int((found.doors.cells["drops"] > 0).sum()), "hexagon")
        title = (
            f"Door drops in {where} bring {money_short(reached, currency)} for {money_short(cost, currency)}: "
            f"{percent(reached / whole)} of what leaflets at every door would bring"
        )
    figure = slide(plan, title, "Margin that leaflets at every door would bring, by what becomes of it")
    waterfall(
        figure.add_subplot(),
        steps,
        ("What leaflets at every door would bring", whole),
        lambda value: money_short(value, currency),
        lambda value: money_tick(value, currency),
    )
    return figure
