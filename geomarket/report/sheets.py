"""The sheets of the workbook as plain frames: which columns, in which order, what each means."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from geomarket.report.customer_sheets import customer_sheets
from geomarket.report.map import neighbourhood_key, trade_by_type
from geomarket.report.measurement_sheets import measurement_sheets
from geomarket.report.promotions import promotion_sheets
from geomarket.report.range_sheets import range_sheets
from geomarket.report.ranges import WAITS
from geomarket.report.sheet_types import Field, Sheet
from geomarket.report.store_groups import store_group_sheets
from geomarket.report.validation import doubted_sheets

__all__ = [
    "DECISIONS",
    "OWN_CHOICES",
    "RANGE_SHEET",
    "Field",
    "Sheet",
    "dictionary_sheet",
    "plan_sheets",
    "readme_lines",
]

DECISIONS = ("accept", "reject", "override")
OWN_CHOICES = ("list", "delist")
RANGE_SHEET = "Range by cluster"
_MOST_CHANGES = 200_000


def plan_sheets(plan: Any) -> list[Sheet]:
    """Return the sheets of a plan, in the order of the workbook (without Read me and Data dictionary)."""
    sheets = [
        _store_clusters(plan),
        *store_group_sheets(plan),
        _range_by_cluster(plan),
        _changes_by_store(plan),
        _promotions(plan),
        *promotion_sheets(plan),
        _neighbourhoods(plan),
        _neighbourhood_traits(plan),
        *customer_sheets(plan),
        _frontier(plan),
        *range_sheets(plan),
        *measurement_sheets(plan),
        _data_quality(plan),
        _set_aside(plan),
    ]
    return doubted_sheets(plan, sheets)


def _names(plan: Any) -> dict[str, str]:
    return dict(zip(plan.market.stores["store_id"].astype("str"), plan.market.stores["name"].astype("str")))


def _per(plan: Any) -> str:
    return str(getattr(plan.ranges, "period", plan.market.period))


def _store_clusters(plan: Any) -> Sheet:
    frame = plan.store_clusters.table.rename(columns={"name": "cluster_name"})
    stores = plan.market.stores
    details = [c for c in ("store_id", "name", "format", "size_m2") if c in stores]
    frame = frame.merge(stores[details], on="store_id", how="left")
    known = plan.stores
    wanted = [c for c in ("revenue_year", "catchment_demand") if known is not None and c in known]
    if wanted:
        frame = frame.merge(known[["store_id", *wanted]], on="store_id", how="left")
    counts = plan.ranges.changes.groupby(["store_id", "action"]).size().unstack(fill_value=0)
    for action in ("list", "delist", "keep"):
        column = counts[action] if action in counts else pd.Series(dtype=float)
        frame[f"to_{action}"] = frame["store_id"].map(column).fillna(0)
    fields = [
        Field("store_id", "Store", "id", "Id of the store, as in your table."),
        Field("name", "Name", "text", "Name of the store."),
        Field(
            "store_cluster", "Cluster", "id", "Store cluster: stores with one range. An order, not a grade."
        ),
        Field("cluster_name", "Cluster name", "text", "What sets the cluster apart."),
        Field("medoid", "Typical", "flag", "Yes: the store nearest to the middle of its cluster."),
        Field("flagged", "Alone", "flag", "Yes: the only store of its cluster; look at it by itself."),
        Field("reason", "Remark", "wide", "Why a store is alone or was moved."),
        Field("format", "Format", "text", "Format, as in your table."),
        Field("size_m2", "Sales area, m²", "count", "Sales area in square metres."),
        Field("revenue_year", "Revenue a year", "money", "Revenue a year, from the sales table."),
        Field(
            "catchment_demand",
            "Expected trade",
            "number",
            "Trade a year the catchment model expects, in its unit.",
        ),
        Field("to_list", "To list", "count", "Products to be listed."),
        Field("to_delist", "To delist", "count", "Products to be delisted."),
        Field("to_keep", "Stay", "count", "Products that stay."),
    ]
    if plan.catchments is not None:
        key = neighbourhood_key(plan.neighbourhoods)
        shares = trade_by_type(plan).pivot(index="store_id", columns="supergroup", values="share").fillna(0.0)
        for code in key.codes:
            frame[f"share_{code}"] = frame["store_id"].map(shares[code]) if code in shares else np.nan
            meaning = "Share of the store's trade from this neighbourhood type, by the catchment model."
            fields.append(Field(f"share_{code}", f"From {key.label(code)}", "share", meaning))
    frame = frame.sort_values(["store_cluster", "store_id"], key=_natural, ignore_index=True)
    return Sheet("Store clusters", "One line per store.", frame, fields)


def _natural(column: pd.Series) -> pd.Series:
    """Sort key: C2 before C10."""
    return column.astype("str").str.replace(r"\d+", lambda found: found.group().zfill(12), regex=True)


def _range_by_cluster(plan: Any) -> Sheet:
    per = _per(plan)
    frame = plan.ranges.table.assign(decision=None, own_choice=None, planner_reason=None)
    fields = [
        Field("store_cluster", "Cluster", "id", "Store cluster."),
        Field("category", "Category", "text", "Category, as in your table."),
        Field("sku", "SKU", "id", "Id of the product, as in your table."),
        Field("name", "Product", "text", "Name of the product."),
        Field(
            "status",
            "Plan",
            "action",
            "list: new here; keep: listed today by most of the stores; delist: to go.",
        ),
        Field("scope", "Scope", "text", "national: in every cluster with space for it; local: not."),
        Field(
            "tier",
            "Planogram",
            "text",
            "Smallest planogram that lists it: all, M, L; none where it is to go.",
        ),
        Field("stores", "Stores", "count", "Stores of the cluster with space for the category."),
        Field("stores_planned", "Stores planned", "count", "Stores that are to list it."),
        Field("stores_today", "Stores today", "count", "Stores that list it today."),
        Field("facings", "Facings", "count", "Facings in each store."),
        Field("units", f"Units a {per}", "number", f"Expected units a {per}, all planned stores together."),
        Field(
            "units_transferred",
            "Units moved here",
            "number",
            "Part of the units that comes from products it replaces.",
        ),
        Field("low", "Units, low", "number", "Low ends of the stores' intervals, added up."),
        Field("high", "Units, high", "number", "High ends of the stores' intervals, added up."),
        Field("margin", f"Margin a {per}", "money", f"Expected margin a {per}, all planned stores together."),
        Field("margin_low", "Margin, low", "money", "Low ends of the stores' intervals, added up."),
        Field("margin_high", "Margin, high", "money", "High ends of the stores' intervals, added up."),
        Field("lift", "Lift", "number", "Share of the category's units here over its share in the chain."),
        Field("rank", "Rank", "count", "Place in the cluster by margin per space; 1 is best."),
        Field("width_cm", "Width, cm", "number", "Width of a facing."),
        Field("reason", "Why", "wide", "Reason in words."),
        Field(
            "decision",
            "Decision",
            "input",
            "Yours: accept the line, reject it (leave as today), or override.",
        ),
        Field("own_choice", "Own choice", "input", "Yours, with override: list or delist."),
        Field("planner_reason", "Your reason", "input", "Yours: why."),
    ]
    intro = (
        "What each store cluster lists. Fill in the last columns to overrule a line: "
        "empty means accept; override needs a choice."
    )
    choices = (("decision", DECISIONS), ("own_choice", OWN_CHOICES))
    return Sheet(RANGE_SHEET, intro, frame.reset_index(drop=True), fields, choices)


def _changes_by_store(plan: Any) -> Sheet:
    per = _per(plan)
    changes = plan.ranges.changes
    frame = changes[changes["action"] != "keep"].copy()
    intro = "What each store lists or delists against today."
    waiting = frame.get("when", pd.Series("", index=frame.index)) == WAITS
    if len(frame) > _MOST_CHANGES and waiting.any():
        intro += (
            f" {int(waiting.sum()):,} changes that wait for a trial are too many to list here: they are in "
            "tables/changes.parquet."
        )
        frame = frame[~waiting]
    products = plan.market.products.drop_duplicates("sku").set_index("sku")["name"]
    frame["store_name"] = frame["store_id"].map(_names(plan))
    frame["product"] = frame["sku"].map(products)
    keys = ["store_id", "category", "action", "sku"]
    frame = frame.sort_values(
        keys, key=lambda c: _natural(c) if c.name == "store_id" else c, ignore_index=True
    )
    fields = [
        Field("store_id", "Store", "id", "Id of the store."),
        Field("store_name", "Name", "text", "Name of the store."),
        Field("store_cluster", "Cluster", "id", "Its store cluster."),
        Field("category", "Category", "text", "Category."),
        Field("tier", "Planogram", "text", "Size of the store's planogram in the category."),
        Field("sku", "SKU", "id", "Id of the product."),
        Field("product", "Product", "text", "Name of the product."),
        Field("action", "Action", "action", "list or delist, against what the store lists today."),
        Field("when", "When", "text", "Phase of the change; waits: not before a trial proves that it pays."),
        Field("units", f"Units a {per}", "number", f"Expected units a {per} in this store while listed."),
        Field("margin", f"Margin a {per}", "money", f"Expected margin a {per} in this store while listed."),
        Field("reason", "Why", "wide", "Reason in words."),
    ]
    return Sheet("Changes by store", intro, frame, fields)


def _skipped_sheet(plan: Any, name: str, stage: str) -> Sheet:
    reason = plan.skipped.get(stage, "the stage was not run")
    return Sheet(name, f"Left out: {reason}", pd.DataFrame(), [])


def _promotions(plan: Any) -> Sheet:
    if plan.promotions is None:
        return _skipped_sheet(plan, "Promotions", "promotions")
    frame = plan.promotions.table.sort_values(["period", "store_cluster", "sku"], ignore_index=True)
    fields = [
        Field("period", "From", "date", "First day."),
        Field("store_cluster", "Cluster", "id", "Store cluster."),
        Field("category", "Category", "text", "Category."),
        Field("sku", "SKU", "id", "Id of the product."),
        Field("name", "Product", "text", "Name of the product."),
        Field("depth", "Price cut", "share", "Share of the regular price taken off."),
        Field("mechanic", "Mechanic", "text", "How it is offered."),
        Field("channel", "Channel", "text", "How shoppers hear of it."),
        Field("stores", "Stores", "count", "Stores that run it."),
        Field("baseline_units", "Baseline units", "number", "Units expected without the promotion."),
        Field("uplift_units", "Extra units", "number", "Units expected on top."),
        Field("incremental_margin", "Margin of extra units", "money", "At the reduced price."),
        Field("subsidised", "Given away", "money", "The price cut on units that would have sold anyway."),
        Field("cannibalised", "Lost on others", "money", "Margin lost on products that sell less."),
        Field("halo", "Gained on others", "money", "Margin gained on products that sell along."),
        Field("dip", "Dip after", "money", "Margin lost later, to shoppers who stocked up."),
        Field("funding", "Funding", "money", "Paid by the supplier."),
        Field("contact_cost", "Contact cost", "money", "Cost of telling shoppers."),
        Field("cost", "Budget used", "money", "What counts against the budget."),
        Field("net", "Net", "money", "Everything added up."),
        Field("net_low", "Net, low", "money", "The same if the response is at its lower bound."),
        Field("chance", "Chance to pay", "share", "Chance that it nets more than nothing."),
        Field(
            "offer_price",
            "Promoted price",
            "money",
            "Price on offer; empty where the mechanic has no one price.",
        ),
        Field("promised", "Promised", "flag", "Planned because its vendor was promised it."),
        Field("reason", "Why", "wide", "Reason in words."),
    ]
    return Sheet("Promotions", "What to promote where, and what it nets.", frame, fields)


def _neighbourhoods(plan: Any) -> Sheet:
    frame = plan.neighbourhoods.types
    if plan.customers is not None:
        wanted = ["neighbourhood", "customers", "penetration", "low", "high", "index", "heavy_share"]
        known = plan.customers.table[[c for c in wanted if c in plan.customers.table]]
        frame = frame.merge(known.rename(columns={"neighbourhood": "code"}), on="code", how="left")
    fields = [
        Field("level", "Level", "text", "supergroup, group or subgroup."),
        Field("code", "Code", "id", "Code of the type: B2 is the second group of supergroup B."),
        Field("parent", "Part of", "id", "Code of the type it is part of."),
        Field("name", "Name", "text", "Name, from its strongest traits."),
        Field("population", "Residents", "count", "Residents."),
        Field("population_share", "Share of residents", "share", "Share of all residents."),
        Field("cells", "Hexagons", "count", "Hexagons of the type."),
        Field("customers", "Customers", "count", "Customers; empty where too few to show."),
        Field("penetration", "Penetration", "share", "Customers over residents."),
        Field("low", "Penetration, low", "share", "Low end of its interval."),
        Field("high", "Penetration, high", "share", "High end of its interval."),
        Field("index", "Penetration index", "index", "100 is the market's penetration."),
        Field("heavy_share", "Heavy customers", "share", "Share of its customers who are heavy customers."),
        Field("portrait", "Portrait", "wide", "Who lives there, in words."),
    ]
    return Sheet("Neighbourhoods", "The neighbourhood types and who lives there.", frame, fields)


def _neighbourhood_traits(plan: Any) -> Sheet:
    fields = [
        Field("level", "Level", "text", "supergroup, group or subgroup."),
        Field("code", "Code", "id", "Code of the type."),
        Field("label", "Trait", "text", "Census variable in words."),
        Field("variable", "Variable", "id", "Name of the variable in the tables."),
        Field("mean", "Here", "number", "Average over residents of the type (shares as 0 to 1)."),
        Field("overall", "Market", "number", "Average over all residents."),
        Field("index", "Index", "index", "100 is the market's average."),
        Field("n_areas", "Hexagons", "count", "Hexagons the average rests on."),
        Field("base", "Base", "count", "Residents the average rests on."),
    ]
    frame = plan.neighbourhoods.index.sort_values(["level", "code", "variable"], ignore_index=True)
    return Sheet(
        "Neighbourhood traits", "Every trait of every type as an index; 100 is average.", frame, fields
    )


def _frontier(plan: Any) -> Sheet:
    fields = [
        Field("n_clusters", "Clusters", "count", "Number of store clusters; 1 is one range for all."),
        Field("label", "Plan", "text", "The plan in words."),
        Field(
            "gain_in_sample", "Promised", "money", "Gain a year on the data the plan was made on. Flatters."
        ),
        Field("gain_holdout", "Kept", "money", "Gain a year on periods the plan had not seen."),
        Field("low", "Kept, low", "money", "Low end of its interval."),
        Field("high", "Kept, high", "money", "High end of its interval."),
        Field("cost", "Cost", "money", "Cost a year of more ranges."),
        Field("net", "Net", "money", "Kept less cost, a year."),
        Field("net_low", "Net, low", "money", "Low end of its interval."),
        Field("net_high", "Net, high", "money", "High end of its interval."),
        Field("picked", "Picked", "flag", "Yes: chosen on the second part of the periods alone."),
        Field("chosen", "Advised", "flag", "Yes: picked, and surely worth it on the third part."),
    ]
    return Sheet(
        "Frontier", "How local is worth it: gain by number of store clusters.", plan.frontier.table, fields
    )


def _data_quality(plan: Any) -> Sheet:
    fields = [
        Field("table", "Table", "text", "Table of the input."),
        Field("column", "Column", "text", "Its column."),
        Field("check", "Check", "text", "What was looked for."),
        Field("rows", "Rows", "count", "Rows found."),
        Field("of_rows", "Of", "count", "Rows of the table."),
        Field("action", "Done", "text", "What was done with them."),
        Field("message", "In words", "wide", "The finding in words."),
    ]
    intro = "What the checks found. The rows themselves, as far as listed, are on the next sheet."
    return Sheet("Data quality", intro, plan.market.quality, fields)


def _set_aside(plan: Any) -> Sheet:
    fields = [
        Field("table", "Table", "text", "Table of the input."),
        Field("row", "Row", "count", "Row of the input, as counted by the reader (0 is the first)."),
        Field("column", "Column", "text", "Column at fault."),
        Field("value", "Value", "text", "What it held."),
        Field("reason", "Reason", "wide", "Why the row could not be used."),
    ]
    frame = plan.market.quarantine
    return Sheet("Rows set aside", "Rows that could not be used (up to a cap per reason).", frame, fields)


def dictionary_sheet(sheets: Sequence[Sheet]) -> Sheet:
    """Return the sheet that explains every column of the others."""
    rows = [
        (sheet.name, field.head, field.column, field.meaning) for sheet in sheets for field in sheet.shown
    ]
    frame = pd.DataFrame(rows, columns=["sheet", "head", "column", "meaning"])
    fields = [
        Field("sheet", "Sheet", "text", "Sheet of this workbook."),
        Field("head", "Column", "text", "Head of the column."),
        Field(
            "column", "Name in tables/", "id", "Name of the column in the Parquet tables, where it is there."
        ),
        Field("meaning", "Meaning", "wide", "What it holds."),
    ]
    return Sheet("Data dictionary", "Every column of this workbook.", frame, fields)


def readme_lines(plan: Any, sheets: Sequence[Sheet]) -> list[tuple[str, str]]:
    """Return the Read-me sheet as (style, text): style is title, badge, head, text or item."""
    market = plan.market
    lines = [("title", f"{plan.settings.report.title or market.name}: local marketing plan")]
    if market.simulated:
        lines.append(("badge", "Simulated market: no such stores, products or people exist."))
    lines += [("text", note) for note in market.notes]
    lines += [("head", "The verdict"), ("text", str(plan.frontier.verdict.sentence))]
    lines.append(("head", "The sheets"))
    lines += [("item", f"{sheet.name}: {sheet.intro}") for sheet in sheets]
    lines.append(("head", "How to work with it"))
    lines += [
        ("item", "Every sheet can be filtered and sorted by its heads; heads and ids stay in sight."),
        ("item", "Range by cluster takes your decisions in its last three columns."),
        ("item", f"Units and margins are per {_per(plan)} and per cluster or store, as the sheet says."),
        ("item", "An empty cell is a figure that is not known or not shown; it is never zero."),
        (
            "item",
            "Text that begins with = + - or @ is kept as text; no cell holds a formula from your tables.",
        ),
    ]
    if not bool(getattr(plan.demand, "validated", False)):
        lines.append(("head", "Take care"))
        lines.append(
            (
                "text",
                "Forecasts for products a store does not list are not validated: stores list what sells locally, "
                "so listed products say too much about unlisted ones. Try gains out before counting on them.",
            )
        )
    warnings = [str(warning) for warning in plan.warnings if str(warning) not in market.notes]
    if warnings:
        lines.append(("head", "To know"))
        lines += [("item", warning) for warning in warnings]
    if plan.skipped:
        lines.append(("head", "Left out"))
        lines += [("item", f"{stage}: {reason}") for stage, reason in plan.skipped.items()]
    lines.append(("head", "Privacy"))
    k = plan.settings.privacy.k
    lines.append(
        ("text", f"No line about a single person; figures about fewer than {k} customers are left out.")
    )
    return lines
