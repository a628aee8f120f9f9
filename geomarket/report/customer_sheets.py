"""Sheets of the workbook about customers: groups only, small ones hidden."""

from __future__ import annotations

from typing import Any

import pandas as pd

from geomarket.planning.dictionary_people import COLUMNS_OF_PEOPLE, MEANINGS_OF_PEOPLE
from geomarket.report.sheet_types import Field, Kind, Sheet

__all__ = ["customer_sheets"]

_CUSTOMERS: tuple[str, str, Kind] = ("customers", "Customers", "count")
_TYPE: tuple[str, str, Kind] = ("neighbourhood", "Type", "id")
_INTERVAL: tuple[tuple[str, str, Kind], ...] = (("low", "Low", "number"), ("high", "High", "number"))
_MEANINGS = {
    "customers": "Customers; empty where too few to show.",
    "customer_share": "Share of all customers.",
    "neighbourhood": "Code of the neighbourhood type.",
    "category": "Category, as in your table of products.",
    "name": "Name of the neighbourhood type.",
    "index_low": "Low end of the index's interval.",
    "index_high": "High end of the index's interval.",
}
_SHEETS: tuple[tuple[str, str, str, tuple[tuple[str, str, Kind], ...]], ...] = (
    (
        "Customer segments",
        "customer_segments",
        "segments",
        (
            ("segment", "Segment", "id"),
            _CUSTOMERS,
            ("customer_share", "Of customers", "share"),
            ("revenue", "Revenue", "money"),
            ("revenue_share", "Of revenue", "share"),
            ("trips_per_customer", "Trips each", "number"),
        ),
    ),
    (
        "Customer tenths",
        "customer_deciles",
        "deciles",
        (
            ("decile", "Tenth", "count"),
            _CUSTOMERS,
            ("value", "Expected value", "money"),
            ("share", "Share", "share"),
            ("cumulative", "Together", "share"),
        ),
    ),
    (
        "Small here, big overall",
        "customer_relationship",
        "relationship",
        (
            ("category", "Category", "text"),
            _CUSTOMERS,
            ("flagged", "Small here, big overall", "count"),
            ("value_here", "They bring here", "money"),
            ("value_overall", "They bring in all", "money"),
            ("share_overall", "Of everybody's", "share"),
            ("hit", "Hit by the range plan", "count"),
            ("value_hit", "Those bring in all", "money"),
        ),
    ),
    (
        "Worth contacting",
        "customer_contacts_worth",
        "worth",
        (
            ("channel", "Channel", "id"),
            ("contact", "A contact is", "text"),
            _CUSTOMERS,
            ("cost", "Costs each", "money"),
            ("gain", "Brings together", "money"),
            ("saved", "Saved by leaving out", "money"),
        ),
    ),
    (
        "Consent",
        "customer_consent",
        "consent",
        (
            _TYPE,
            ("name", "Name", "text"),
            ("consent_channel", "Channel", "text"),
            _CUSTOMERS,
            ("reachable", "Agreed", "count"),
            ("reachable_share", "Of customers", "share"),
        ),
    ),
    (
        "Where they shop",
        "customer_channels",
        "channels",
        (
            _TYPE,
            ("name", "Name", "text"),
            ("channel", "Channel", "text"),
            ("preference", "Of trips", "share"),
            ("low", "Low", "share"),
            ("high", "High", "share"),
        ),
    ),
    (
        "Quadrants",
        "customer_quadrants",
        "quadrants",
        (
            _TYPE,
            ("name", "Name", "text"),
            ("category", "Category", "text"),
            _CUSTOMERS,
            ("customer_share", "Of the category's customers", "share"),
            ("index", "Index", "index"),
            ("index_low", "Index, low", "count"),
            ("index_high", "Index, high", "count"),
            ("quadrant", "Quadrant", "text"),
            ("certain", "Clear of 100", "flag"),
        ),
    ),
    (
        "What goes together",
        "associations",
        "associations",
        (
            ("items", "Items are", "text"),
            ("item_a", "First", "text"),
            ("item_b", "Second", "text"),
            ("customers", "Customers of both", "count"),
            ("customers_a", "Of the first", "count"),
            ("customers_b", "Of the second", "count"),
            ("support", "Of all customers", "share"),
            ("confidence_ab", "First's who buy the second", "share"),
            ("confidence_ba", "Second's who buy the first", "share"),
            ("lift", "Lift", "number"),
            *_INTERVAL,
            ("lift_alike", "Lift, equally frequent", "number"),
        ),
    ),
)


def customer_sheets(plan: Any) -> list[Sheet]:
    """Return the sheets about customers; none where the stage was skipped or a part has no figures."""
    people = getattr(plan, "people", None)
    if people is None:
        return []
    names = dict(zip(plan.neighbourhoods.types["code"], plan.neighbourhoods.types["name"].astype(str)))
    products = dict(zip(plan.market.products["sku"], plan.market.products["name"].astype(str)))
    sheets = []
    for sheet, table, attribute, columns in _SHEETS:
        frame: pd.DataFrame = getattr(people, attribute)
        if frame.empty:
            continue
        if "neighbourhood" in frame:
            frame = frame.assign(name=frame["neighbourhood"].map(names))
        if attribute == "associations":
            frame = _named_products(frame, products)
        meanings = {**_MEANINGS, **COLUMNS_OF_PEOPLE[table]}
        fields = [Field(column, head, kind, meanings[column]) for column, head, kind in columns]
        sheets.append(Sheet(sheet, MEANINGS_OF_PEOPLE[table], frame, fields))
    return sheets


def _named_products(frame: pd.DataFrame, products: dict[str, str]) -> pd.DataFrame:
    """Add a product's name to its id; categories are names already."""
    of_skus = frame["items"] == "sku"
    named = {
        c: frame[c].where(~of_skus, frame[c] + " · " + frame[c].map(products).fillna(""))
        for c in ("item_a", "item_b")
    }
    return frame.assign(**named)
