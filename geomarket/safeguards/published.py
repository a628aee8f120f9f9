"""How published tables name counts of people, and which of their other columns tell those counts.

Whoever publishes a table about people uses these names, so that what must be hidden together is hidden together, and
so that :func:`geomarket.audit_folder` can find it.
"""

from __future__ import annotations

import itertools

import pandas as pd

__all__ = [
    "COUNT",
    "GIVES_AWAY",
    "KEYS",
    "ONCE",
    "PARTS",
    "PEOPLE_TABLES",
    "PERSON_KEYS",
    "key_of",
    "publishable_findings",
]

COUNT = "customers"
"""Column that counts the people a row is about."""

PARTS: dict[str, tuple[str, ...]] = {
    "heavy": ("heavy_share",),
    "flagged": ("flagged_share", "value_here", "value_overall", "share_overall"),
    "hit": ("value_hit",),
    "reachable": ("reachable_share",),
    "responders": ("rate",),
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
    "gain",
    "benefit",
    "net",
    "contacts",
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
    "consent_channel",
    "contact_channel",
    "reason",
    "period",
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


PEOPLE_TABLES = ("customers", "baskets", "contacts")
"""Input tables whose rows are about single people."""


def publishable_findings(
    quality: pd.DataFrame, quarantine: pd.DataFrame, k: int = 10
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return what the checks found without a line, a value or a small count about single people.

    Parameters
    ----------
    quality, quarantine : DataFrame
        Of a market: findings, and rows set aside.
    k : int
        Smallest count of rows shown.

    Returns
    -------
    quality, quarantine : DataFrame
        Findings about tables of people say how many rows, never which, and not even how many below ``k``; rows set
        aside from them stand as one line a reason, without row number and value. Others are as they were.

    Examples
    --------
    >>> quality = pd.DataFrame({"table": ["customers"], "column": ["lon"], "check": ["no number"], "rows": [2],
    ...     "of_rows": [500], "action": ["set aside"], "message": ["customers: 2 of 500 rows (C17, C80)"]})
    >>> rows = pd.DataFrame({"table": "customers", "row": [17, 80], "column": "lon", "value": ["x", "y"],
    ...     "reason": "no number"})
    >>> told, left = publishable_findings(quality, rows)
    >>> told["message"].tolist(), len(left)
    (['customers: fewer than 10 of 500 rows: lon: no number; set aside.'], 1)
    """
    told = quality.copy()
    people = told["table"].isin(PEOPLE_TABLES)
    few = people & told["rows"].between(1, k - 1)
    for row in told.index[people]:
        number = f"fewer than {k}" if few[row] else f"{int(told.loc[row, 'rows']):,}"
        of, column, check, action = (told.loc[row, c] for c in ("of_rows", "column", "check", "action"))
        about = f"{column}: {check}" if column else str(check)
        told.loc[row, "message"] = (
            f"{told.loc[row, 'table']}: {number} of {int(of):,} rows: {about}; {action}."
        )
    if few.any():
        told["rows"] = told["rows"].astype(float).mask(few)
    lines = quarantine["table"].isin(PEOPLE_TABLES)
    if lines.any():
        rest = quarantine.assign(
            row=quarantine["row"].astype("Int64").mask(lines), value=quarantine["value"].mask(lines, "")
        )
        quarantine = (
            pd.concat([rest[~lines], rest[lines].drop_duplicates()]).sort_index().reset_index(drop=True)
        )
    return told, quarantine
