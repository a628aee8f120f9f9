"""Sheets on the test of the plan: which stores change first, and what can be seen."""

from __future__ import annotations

from typing import Any

from geomarket.report.sheet_types import Field, Sheet

__all__ = ["measurement_sheets"]


def measurement_sheets(plan: Any) -> list[Sheet]:
    """Return the sheets of the test; none where the plan has no test."""
    experiment = getattr(plan, "experiment", None)
    if experiment is None:
        return []
    design = experiment.design
    names = plan.market.stores.drop_duplicates("store_id").set_index("store_id")["name"].astype("str")
    stores = design.table.assign(name=design.table["store_id"].map(names))
    order = {"test": 0, "control": 1, "out": 2}
    stores = stores.sort_values(
        ["pair", "arm", "store_id"],
        key=lambda column: column.map(order) if column.name == "arm" else column,
        na_position="last",
        ignore_index=True,
    )
    stores["pair"] = stores["pair"].astype("float")
    kpi = design.value
    return [
        Sheet(
            "Test stores",
            experiment.verdict,
            stores,
            [
                Field("store_id", "Store", "id", "Id of the store, as in your table."),
                Field("name", "Name", "text", "Name of the store."),
                Field(
                    "arm", "Part", "text", "test: changes first; control: waits; out: waits, not compared."
                ),
                Field("pair", "Pair", "count", "Number of its pair; partners are alike."),
                Field("level", f"Mean {kpi}", "number", f"Mean {kpi} a {design.period} before the test."),
                Field("near", "Near to", "text", "Part of the stores that a store left out is near to."),
                Field("reason", "Why left out", "wide", "Reason in words."),
            ],
        ),
        Sheet(
            "What a test can see",
            f"Smallest change of {kpi} seen {design.wanted_power:.0%} of the time, by length and number of pairs.",
            design.power,
            [
                Field("periods", f"Length, {design.period}s", "count", "Length of the test."),
                Field("pairs", "Pairs", "count", "Pairs of stores."),
                Field("sd", "Usual difference", "share", "Spread of a pair's difference without an effect."),
                Field("mde", "Smallest change", "share", "Smallest change that is seen."),
                Field("power_wanted", "Chance, wanted", "share", f"Chance to see {design.wanted:.1%}."),
                Field("power_expected", "Chance, expected", "share", "Chance to see what the plan expects."),
                Field("pairs_needed", "Pairs needed", "count", f"Pairs that see {design.wanted:.1%}."),
            ],
        ),
    ]
