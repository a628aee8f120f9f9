"""What is known of the other tables, the map and the calendar while one table is checked."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from dataclasses import dataclass, field

from geomarket.market.contract import TABLES
from geomarket.market.places import Extent
from geomarket.market.settings import PlanSettings

__all__ = ["Context", "KnownIds"]


@dataclass(frozen=True)
class KnownIds:
    """Identifiers a table may refer to.

    Parameters
    ----------
    table : str
        Where they are from ("stores").
    usable : frozenset of str
        Those that are there and usable.
    set_aside : frozenset of str
        Those that are there but were set aside.
    left_out : frozenset of str
        Those that are there, are fine, and are not needed.
    """

    table: str
    usable: frozenset[str]
    set_aside: frozenset[str] = frozenset()
    left_out: frozenset[str] = frozenset()

    def __or__(self, other: KnownIds) -> KnownIds:
        usable = self.usable | other.usable
        left_out = (self.left_out | other.left_out) - usable
        set_aside = (self.set_aside | other.set_aside) - usable - left_out
        return KnownIds(f"{self.table} or {other.table}", usable, set_aside, left_out)

    def cure(self, unknown: Iterable[str]) -> str:
        """Say what to do about identifiers that are not known, such as ones that lost their leading zeros."""
        bare = {value.lstrip("0") for value in self.usable}
        words = f"Add them to {self.table} to use them."
        if any(str(value).lstrip("0") in bare for value in unknown):
            words += (
                " Some differ by leading zeros only: a spreadsheet may have dropped them; store them as text."
            )
        return words


@dataclass
class Context:
    """The plan's settings, today's date, the reference layer's extent, and identifiers by table."""

    settings: PlanSettings
    today: dt.date
    extent: Extent | None = None
    known: dict[str, KnownIds] = field(default_factory=dict)

    @property
    def earliest(self) -> dt.date:
        """Dates before this are mistakes."""
        return self.settings.quality.earliest

    @property
    def latest(self) -> dt.date:
        """Dates after this are mistakes."""
        return self.settings.quality.latest or self.today

    def references(self, table: str) -> dict[str, KnownIds]:
        """Return column -> the identifiers it may hold, for columns that refer to a table that was read."""
        own, others = self.known.get("stores"), self.known.get("competitors")
        any_store = own | others if own and others else own
        stores = any_store if table in ("store_totals", "travel") else own
        references: dict[str, KnownIds | None] = {
            "store_id": None if table in ("stores", "competitors", "sites") else stores,
            "sku": None if table == "products" else self.known.get("products"),
            "customer_id": None if table == "customers" else self.known.get("customers"),
        }
        columns = TABLES[table].names
        return {name: ids for name, ids in references.items() if ids is not None and name in columns}
