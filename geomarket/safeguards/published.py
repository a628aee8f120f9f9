"""How published tables name counts of people, and which of their other columns tell those counts.

Whoever publishes a table about people uses these names, so that what must be hidden together is hidden together, and
so that :func:`geomarket.audit_folder` can find it.
"""

from __future__ import annotations

import itertools

import pandas as pd

__all__ = ["COUNT", "GIVES_AWAY", "KEYS", "ONCE", "PARTS", "PERSON_KEYS", "key_of"]

COUNT = "customers"
"""Column that counts the people a row is about."""

PARTS: dict[str, tuple[str, ...]] = {
    "heavy": ("heavy_share",),
    "flagged": ("flagged_share", "value_here", "value_overall", "share_overall"),
    "reachable": ("reachable_share",),
}
"""Columns that count some of those people -> columns that tell the part."""

GIVES_AWAY = (
    "customer_share",
    "penetration",
    "low",
    "high",
    "index",
    "index_low",
    "index_high",
    "quadrant",
    "revenue",
    "revenue_share",
    "margin",
    "trips",
    "trips_per_customer",
    "value",
    "value_per_customer",
    "share",
    "cumulative",
    "predicted",
    "actual",
    "preference",
    "untapped",
    "saved",
    *(part for part in PARTS),
    *(column for columns in PARTS.values() for column in columns),
)
"""Columns that tell the count, or are about so few people that they tell about each."""

ONCE = {"everyone": ("cell", "neighbourhood", "supergroup"), "valued": ("segment", "decile")}
"""Keys by which every person is counted once: of all customers, and of those with baskets."""

KEYS = (
    *ONCE["everyone"],
    *ONCE["valued"],
    "channel",
    "category",
    "subcategory",
    "items",
    "item_a",
    "item_b",
    "store_id",
    "store_cluster",
    "sku",
    "contact",
    "forecast_decile",
    "repeat_trips",
)
"""Columns that may be keys of a table about people."""

PERSON_KEYS = ("customer_id", "household_id")
"""Columns that make a row one person's: in no published table."""


def key_of(frame: pd.DataFrame, known: tuple[str, ...] = KEYS) -> tuple[str, ...]:
    """Return the fewest columns of known keys that tell the rows apart; all text columns where none do.

    Examples
    --------
    >>> key_of(pd.DataFrame({"cell": [1, 2], "neighbourhood": ["A1", "A1"], "customers": [12, 30]}))
    ('cell',)
    """
    present = [name for name in known if name in frame]
    for size in range(1, len(present) + 1):
        for names in itertools.combinations(present, size):
            if not frame.duplicated(list(names)).any():
                return names
    return tuple(c for c in frame.columns if not pd.api.types.is_numeric_dtype(frame[c]))
