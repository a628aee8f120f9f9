"""What the ranges bring, judged on other periods, and when each store changes what."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
from markupsafe import Markup

from geomarket.report.charts import _scale, _svg, _text, as_figure, nice_ticks
from geomarket.report.numbers import count, money_short, plural
from geomarket.report.range_sheets import advice
from geomarket.report.tables import Table, frame_table

__all__ = [
    "RANGES",
    "category_verdicts",
    "changes_tile",
    "cluster_gain",
    "first_phase",
    "gain_tile",
    "ranges_section",
    "signed_share",
    "steps_chart",
]

WAITS = "waits"
RANGES = {
    "first phase": "After the first phase",
    "all phases": "After all phases",
    "whole plan": "With what waits for proof",
}


def first_phase(changes: pd.DataFrame) -> pd.DataFrame:
    """Return the changes to make first; all of them where they are not dealt to phases."""
    made = changes[changes["action"] != "keep"]
    return made[made["when"] == "phase 1"] if "when" in made else made


def ranges_section(plan: Any) -> dict[str, Any] | None:
    """Return the gain over today's ranges as chart, table and sentences, and the phases of the changes."""
    rehearsal, phases = getattr(plan, "rehearsal", None), getattr(plan.ranges, "phases", None)
    if phases is not None and phases.empty:
        phases = None
    if rehearsal is None and phases is None:
        return None
    section: dict[str, Any] = {"lines": [], "notes": [], "wide": None, "narrow": None, "gain": None}
    section |= {"categories": None, "phases": None if phases is None else _phase_table(phases)}
    section["decisions"] = _decision_table(plan)
    if rehearsal is None:
        return section
    words = rehearsal.summary()
    rows = rehearsal.table[rehearsal.table["ranges"] != "today"]

    def draw(width: int) -> Markup:
        chart = steps_chart(
            [RANGES.get(str(name), str(name)) for name in rows["ranges"]],
            rows["gain_share"].tolist(),
            rows["low_share"].tolist(),
            rows["high_share"].tolist(),
            rows["claimed_share"].tolist(),
            "Gain over today's ranges, judged on other periods, beside what the forecasts had claimed",
            width=width,
        )
        return as_figure(chart, "range_gain")

    section["lines"], section["notes"] = words[:2], words[2:]
    section["wide"], section["narrow"] = draw(720), draw(360)
    section["gain"] = _gain_table(plan, rehearsal.table)
    section["categories"] = _category_gains(plan, rehearsal.categories)
    return section


def steps_chart(
    labels: list[str],
    values: list[float],
    lows: list[float],
    highs: list[float],
    claims: list[float],
    title: str,
    *,
    width: int = 720,
) -> Markup:
    """Draw shares with their intervals under each other, and a ring where an earlier claim stood."""
    known = [v for v in (*values, *lows, *highs, *claims, 0.0) if np.isfinite(v)]
    ticks = nice_ticks(min(known), max(known), 4)
    wide = width >= 600
    left, step = (230.0, 44.0) if wide else (14.0, 58.0)
    place = _scale(ticks[0], ticks[-1], left, width - 16)
    bottom = 14 + step * len(labels)
    parts = [f'<path class="grid" d="M{place(t):.1f},8V{bottom:.1f}"/>' for t in ticks]
    parts += [_text(place(t), bottom + 18, signed_share(t), "chart-tick", "middle") for t in ticks]
    parts.append(f'<path class="axis" d="M{place(0):.1f},8V{bottom:.1f}"/>')
    for i, (label, value, low, high, claim) in enumerate(zip(labels, values, lows, highs, claims)):
        y = 14 + step * i + (step / 2 if wide else step - 16)
        words = f"{label} {signed_share(value)}"
        parts.append(
            _text(left - 14, y + 4, words, "chart-label", "end")
            if wide
            else _text(left, y - 18, words, "chart-label")
        )
        if np.isfinite([low, high]).all():
            span = place(high) - place(low)
            parts.append(
                f'<rect class="band" x="{place(low):.1f}" y="{y - 8:.1f}" width="{span:.1f}" height="16" rx="8"/>'
            )
        parts.append(f'<circle class="dot" cx="{place(value):.1f}" cy="{y:.1f}" r="6"/>')
        if np.isfinite(claim):
            parts.append(f'<circle class="whisker" cx="{place(claim):.1f}" cy="{y:.1f}" r="6"/>')
    return _svg(width, bottom + 26, title, parts)


def signed_share(value: float) -> str:
    """Write a share with its sign, to a tenth of a percent."""
    return "0%" if abs(value) < 5e-4 else f"{value:+.1%}".replace("-", "−").replace(".0%", "%")


def _writer(plan: Any) -> Callable[[Any], str]:
    return lambda value: money_short(value, plan.market.currency)


def _gain_table(plan: Any, table: pd.DataFrame) -> Table:
    write = _writer(plan)
    named = table.assign(ranges=[RANGES.get(str(name), "Today's ranges") for name in table["ranges"]])
    return frame_table(
        named,
        "Margin a year on periods not planned on",
        {
            "ranges": ("Ranges", "text", None),
            "margin": ("Margin", "number", write),
            "gain": ("Gain", "number", write),
            "low": ("Low", "number", write),
            "high": ("High", "number", write),
            "gain_share": ("Gain, share", "number", signed_share),
            "claimed_share": ("Claimed in sample", "number", signed_share),
            "listed": ("New listings earn (forecast)", "number", write),
            "delisted": ("Delisted earned", "number", write),
            "changes": ("Changes rehearsed", "number", count),
        },
    )


def _category_gains(plan: Any, table: pd.DataFrame) -> Table | None:
    if table.empty:
        return None
    write = _writer(plan)
    return frame_table(
        table,
        "By category, after all phases",
        {
            "category": ("Category", "text", None),
            "today": ("Margin today", "number", write),
            "gain": ("Gain", "number", write),
            "low": ("Low", "number", write),
            "high": ("High", "number", write),
            "gain_share": ("Gain, share", "number", signed_share),
        },
    )


def _phase_table(phases: pd.DataFrame) -> Table:
    made = phases[phases["phase"] != "today"]
    named = made.assign(
        phase=["Waits for proof" if name == WAITS else str(name).capitalize() for name in made["phase"]]
    )

    def whole(value: Any) -> str:
        return count(value, 0)

    return frame_table(
        named,
        "When changes are made, and how many in a store",
        {
            "phase": ("Phase", "text", None),
            "stores": ("Stores", "number", count),
            "listings": ("To list", "number", count),
            "delistings": ("To delist", "number", count),
            "listings_median": ("To list, median store", "number", whole),
            "listings_max": ("Most", "number", count),
            "delistings_median": ("To delist, median store", "number", whole),
            "delistings_max": ("Most", "number", count),
        },
    )


def _decision_table(plan: Any) -> Table | None:
    table = getattr(plan, "overrides", None)
    if table is None or table.empty:
        return None
    shown = table.assign(
        wish=np.where(table["rule"] == "must_list", "list", "do not list"),
        cluster=table["cluster_now"]
        .astype(object)
        .where(table["cluster_now"].notna(), table["store_cluster"]),
        product=[name or sku for name, sku in zip(table["name"], table["sku"])],
    )
    limit = int(plan.settings.report.max_changes)
    return frame_table(
        shown,
        "Planner's decisions about an earlier plan",
        {
            "product": ("Product", "text", None),
            "cluster": ("Cluster", "text", None),
            "wish": ("Decision", "text", None),
            "reason": ("Reason", "wide", None),
            "outcome": ("Result", "text", None),
            "remark": ("Remark", "wide", None),
        },
        limit=limit,
        more="in the workbook",
    )


def gain_tile(plan: Any) -> dict[str, str] | None:
    """Return the tile with what the planned ranges bring over today's, judged on other periods."""
    rehearsal = getattr(plan, "rehearsal", None)
    if rehearsal is None:
        return None
    row = rehearsal.table.set_index("ranges").loc["all phases"]
    low, high = (signed_share(float(row[name])) for name in ("low_share", "high_share"))
    return {
        "value": signed_share(float(row["gain_share"])),
        "label": "margin over today's ranges",
        "note": f"{low} to {high}, on periods not planned on",
    }


def cluster_gain(plan: Any, cluster: str) -> str:
    """Return what a cluster's range brings over today's, judged on other periods."""
    rehearsal = getattr(plan, "rehearsal", None)
    if rehearsal is None:
        return ""
    table = rehearsal.by_cluster()
    mine = table[table["store_cluster"] == cluster]
    if mine.empty:
        return ""
    row = mine.iloc[0].to_dict()
    gain = money_short(row["gain"], plan.market.currency)
    between = (
        f", between {signed_share(row['low_share'])} and {signed_share(row['high_share'])}"
        if np.isfinite(row["low_share"])
        else ""
    )
    return (
        f"After all phases it brings {gain} a year ({signed_share(row['gain_share'])}{between}) over today's ranges, "
        "judged on periods not planned on."
    )


def category_verdicts(plan: Any) -> Table | None:
    """Return how local to go in each category alone."""
    table = getattr(plan.frontier, "categories", None)
    if table is None or table.empty:
        return None
    write = _writer(plan)
    shown = table.assign(advice=[advice(row) for row in table.to_dict("records")])
    return frame_table(
        shown,
        "How local, category by category",
        {
            "category": ("Category", "text", None),
            "advice": ("Verdict", "text", None),
            "national_margin": ("Margin, one range", "number", write),
            "gain_holdout": ("Kept (held out)", "number", write),
            "low": ("Low", "number", write),
            "high": ("High", "number", write),
            "cost": ("Cost", "number", write),
            "net": ("Net", "number", write),
        },
    )


def changes_tile(plan: Any) -> dict[str, str]:
    """Return the tile with the first phase's changes and how many a store makes."""
    changes = plan.ranges.changes
    made, first = changes[changes["action"] != "keep"], first_phase(changes)
    n_stores = max(1, plan.store_clusters.table["store_id"].nunique())
    by_store = first["store_id"].value_counts().reindex(plan.store_clusters.table["store_id"], fill_value=0)
    note = f"{by_store.median():.0f} in the median store, {int(by_store.max())} at most"
    if len(first) < len(made):
        later = len(made) - len(first)
        return {
            "value": f"{len(first):,}",
            "label": "changes in the first phase",
            "note": f"{note}; {later:,} later or not before proof",
        }
    return {
        "value": f"{len(made):,}",
        "label": "changes to make",
        "note": f"{note}, {plural(n_stores, 'store')}",
    }
