"""Sheets on what the ranges bring, when changes are made, the verdict by category, and decisions in force."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from geomarket.report.sheet_types import Field, Sheet

__all__ = ["STANDING_SHEET", "WITHDRAW", "range_sheets"]

STANDING_SHEET = "Your decisions"
WITHDRAW = ("yes",)


def range_sheets(plan: Any) -> list[Sheet]:
    """Return the sheets the plan has something for."""
    found = [_gain(plan), _phases(plan), _categories(plan), _decisions(plan)]
    return [sheet for sheet in found if sheet is not None]


def _gain(plan: Any) -> Sheet | None:
    rehearsal = getattr(plan, "rehearsal", None)
    if rehearsal is None:
        return None
    fields = [
        Field("ranges", "Ranges", "text", "today; after the first phase; after all phases; the whole plan."),
        Field("margin", "Margin a year", "money", "On the judging periods."),
        Field("gain", "Gain", "money", "Over today's ranges, valued the same way."),
        Field("low", "Gain, low", "money", "Low end of its 90% interval."),
        Field("high", "Gain, high", "money", "High end of its 90% interval."),
        Field("gain_share", "Gain, share", "share", "Of today's margin."),
        Field("low_share", "Low, share", "share", "Of today's margin."),
        Field("high_share", "High, share", "share", "Of today's margin."),
        Field("claimed_share", "Claimed in sample", "share", "By the forecasts planned by. Flatters."),
        Field("listed", "New listings earn", "money", "By forecasts of SKUs the stores don't carry."),
        Field("delisted", "Delisted earned", "money", "What is given up."),
        Field("changes", "Changes", "count", "Listings and delistings in the rehearsal."),
    ]
    intro = "What planning brings on periods that were not planned on, against today's ranges."
    return Sheet("Gain over today", intro, rehearsal.table, fields)


def _phases(plan: Any) -> Sheet | None:
    phases = getattr(plan.ranges, "phases", None)
    if phases is None or phases.empty:
        return None
    fields = [
        Field("phase", "Phase", "text", "waits: not before a trial proves it."),
        Field("stores", "Stores", "count", "Stores that change something."),
        Field("listings", "To list", "count", "All stores together."),
        Field("delistings", "To delist", "count", "All stores together."),
        Field("listings_median", "To list, median", "count", "In the median store."),
        Field("listings_max", "To list, most", "count", "In the store with most."),
        Field("delistings_median", "To delist, median", "count", "In the median store."),
        Field("delistings_max", "To delist, most", "count", "In the store with most."),
    ]
    intro = "When changes are made: those worth most first, a share of the range at a time."
    return Sheet("Phases", intro, phases[phases["phase"] != "today"], fields)


def _categories(plan: Any) -> Sheet | None:
    categories = getattr(plan.frontier, "categories", None)
    if categories is None or categories.empty:
        return None
    frame = categories.assign(advice=[advice(row) for row in categories.to_dict("records")])
    fields = [
        Field("category", "Category", "text", "Category."),
        Field("advice", "Verdict", "text", "How local to go in this category alone."),
        Field("n_clusters", "Clusters", "count", "Number of ranges."),
        Field("national_margin", "Margin, one range", "money", "A year with one range for all."),
        Field("gain_holdout", "Kept", "money", "Gain a year on periods the plan had not seen."),
        Field("low", "Kept, low", "money", "Low end of its interval."),
        Field("high", "Kept, high", "money", "High end of its interval."),
        Field("cost", "Cost", "money", "Share of the cost of more ranges."),
        Field("net", "Net", "money", "Kept less cost."),
    ]
    intro = "How local is worth it, category by category; one range is a full answer."
    return Sheet("Verdict by category", intro, frame, fields)


def advice(row: dict[Any, Any]) -> str:
    """Write a category's verdict in words.

    Examples
    --------
    >>> advice({"kind": "cluster", "n_clusters": 4}), advice({"kind": "national", "n_clusters": 1})
    ('4 ranges', 'one range')
    """
    words = {"national": "one range", "store": "a range for every store"}
    return words.get(str(row["kind"]), f"{int(row['n_clusters'])} ranges")


def _decisions(plan: Any) -> Sheet | None:
    table = getattr(plan, "overrides", None)
    if table is None or table.empty:
        return None
    known = table["cluster_now"].notna()
    frame = table.assign(
        decided_for=table["store_cluster"],
        store_cluster=table["cluster_now"].astype(object).where(known, None),
        wish=np.where(table["rule"] == "must_list", "list", "do not list"),
        withdraw=None,
    )
    fields = [
        Field("store_cluster", "Cluster", "id", "Store cluster of this plan; empty where it is gone."),
        Field("decided_for", "Decided for", "id", "Its code when it was decided."),
        Field("sku", "SKU", "id", "Id of the product."),
        Field("name", "Product", "text", "Name of the product."),
        Field("wish", "Decision", "text", "list or do not list."),
        Field("reason", "Reason", "wide", "As given."),
        Field("outcome", "Result", "text", "What became of it in this plan."),
        Field("remark", "Remark", "wide", "Why it is not in force, or what changed."),
        Field("withdraw", "Withdraw", "input", "Yours: yes takes the decision back."),
    ]
    intro = "Decisions about earlier plans that this one had to honour. They carry on unless withdrawn."
    return Sheet(STANDING_SHEET, intro, pd.DataFrame(frame), fields, (("withdraw", WITHDRAW),))
