"""The section on fairness: what deprived and well-off areas are offered."""

from __future__ import annotations

from typing import Any

from geomarket.report.charts import as_figure, ratio_chart
from geomarket.report.numbers import count, percent
from geomarket.report.tables import frame_table

__all__ = ["FAIRNESS_TITLE", "fairness_section"]

FAIRNESS_TITLE = (
    "What the most deprived fifth of the people is offered, over the least deprived fifth; 1 is alike"
)
_SHORT = {
    "breadth": "Products, as planned",
    "breadth_today": "Products, today",
    "depth": "Price cuts",
    "door_drops": "Leaflets a door",
}
_VERDICTS = {"equal": "alike", "unclear": "may differ", "unequal": "differs"}


def fairness_section(plan: Any) -> dict[str, Any] | None:
    """Return the parts of the section; None where nothing could be compared."""
    fairness = getattr(plan, "fairness", None)
    if fairness is None:
        return None
    rows = [
        (str(row["label"]), float(row["ratio"]), float(row["low"]), float(row["high"]))
        for row in fairness.table.to_dict("records")
    ]
    title = FAIRNESS_TITLE
    share = percent(fairness.confidence)
    fifths = fairness.quintiles.pivot_table(index="quintile", columns="label", values="mean", sort=False)
    fifths = fifths[list(dict.fromkeys(fairness.quintiles["label"]))].reset_index()
    people = fairness.quintiles.drop_duplicates("quintile").set_index("quintile")["people"]
    fifths["people"] = fifths["quintile"].map(people)
    fifths["fifth"] = fifths["quintile"].map({1: "1, least deprived", 5: "5, most deprived"})
    fifths["fifth"] = fifths["fifth"].fillna(fifths["quintile"].astype(int).astype(str))
    columns: dict[str, Any] = {
        "fifth": ("Fifth of the people", "text", None),
        "people": ("People", "number", count),
    }
    exposures = dict(zip(fairness.quintiles["label"], fairness.quintiles["exposure"]))
    for label, exposure in exposures.items():
        small = exposure == "depth"
        columns[label] = (
            _SHORT.get(exposure, label),
            "number",
            (lambda v: percent(v, 2)) if small else (lambda v: count(v, 1)),
        )
    return {
        "attribute": fairness.attribute_label,
        "warnings": list(fairness.warnings),
        "notes": list(fairness.notes),
        "band": f"{fairness.band[0]:g} to {fairness.band[1]:g}",
        "confidence": share,
        "chart": as_figure(ratio_chart(rows, fairness.band, title), "fairness"),
        "title": title,
        "table": frame_table(
            fairness.table.assign(verdict=fairness.table["verdict"].map(_VERDICTS)),
            f"The same in figures, with {share} intervals",
            {
                "label": ("Offered", "text", None),
                "ratio": ("Ratio", "number", lambda v: count(v, 2)),
                "low": ("Low", "number", lambda v: count(v, 2)),
                "high": ("High", "number", lambda v: count(v, 2)),
                "verdict": ("Verdict", "text", None),
            },
        ),
        "fifths": frame_table(fifths, "What each fifth of the people is offered, on average", columns),
    }
