"""What a plan says about its customers: groups only, fit to publish."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from geomarket.results import Result
from geomarket.safeguards.published import COUNT

__all__ = ["COLUMNS", "People", "empty_part", "people_tables"]


@dataclass(frozen=True)
class People(Result):
    """Customers as groups. Missing figures are about too few people; a part not worked out is an empty table.

    Attributes
    ----------
    segments : DataFrame
        segment ("heavy"/"medium"/"light"), customers, customer_share, revenue, revenue_share, trips_per_customer.
    deciles : DataFrame
        decile (1 = best), customers, value, share, cumulative: expected value over the horizon.
    lifetime : DataFrame
        measure ("trips", "revenue", "lifetime_value"), expected, low, high: of all customers over the horizon.
    calibration : DataFrame
        forecast_decile (1 = most trips foretold), customers, predicted, actual (trips per customer in the second half
        of the window, by a model that knew the first), low, high.
    worth : DataFrame
        channel, contact ("worth it", "not worth it"), customers (with consent for the channel), cost (of one contact),
        gain (expected margin one contact of each brings), saved (cost less gain of leaving them out).
    relationship : DataFrame
        category, customers, flagged (small here, big overall), value_here, value_overall, share_overall, hit (flagged
        customers of whom at least half of what they buy in the category leaves their stores), value_hit (all they
        bring).
    channels : DataFrame
        neighbourhood, channel, preference (share of trips, shrunk to everybody's), low, high.
    consent : DataFrame
        neighbourhood, consent_channel, customers, reachable (with consent), reachable_share.
    response : DataFrame
        contact_channel, customers (contacted), responders, contacts, rate (answers per contact), low, high.
    quadrants : DataFrame
        neighbourhood, category ("all": any), customers, customer_share, index, index_low, index_high, quadrant,
        certain.
    prospects : DataFrame
        cell, score (100 = average), expected (best customers one would expect among its people).
    lift : DataFrame
        population_share, customer_share, lift, low, high: of the score on hexagons it had not seen.
    associations : DataFrame
        items ("category", "subcategory", "sku"), item_a, item_b, customers, customers_a, customers_b, support,
        confidence_ab, confidence_ba, lift, low, high, lift_alike.
    k : int
    measure : str
        What value is: "margin", or "revenue" where costs are unknown.
    horizon_months : int
    with_baskets : int
        Customers with a basket; all, where too few are without.
    words : tuple of str
        The findings in sentences.
    notes : tuple of str
        What a reader must know.
    skipped : dict
        Part -> why it was left out.
    """

    segments: pd.DataFrame
    deciles: pd.DataFrame
    lifetime: pd.DataFrame
    calibration: pd.DataFrame
    worth: pd.DataFrame
    relationship: pd.DataFrame
    channels: pd.DataFrame
    consent: pd.DataFrame
    response: pd.DataFrame
    quadrants: pd.DataFrame
    prospects: pd.DataFrame
    lift: pd.DataFrame
    associations: pd.DataFrame
    k: int
    measure: str
    horizon_months: int
    with_baskets: int
    words: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    skipped: dict[str, str] = field(default_factory=dict)

    @property
    def table(self) -> pd.DataFrame:  # type: ignore[override]
        """The value segments."""
        return self.segments

    def summary(self) -> list[str]:
        """Return the findings in sentences, and what was left out."""
        return [*self.words, *self.notes, *(f"Left out: {p} ({why})." for p, why in self.skipped.items())]

    def plot(self, ax: Any = None) -> Any:
        """Draw the share of expected value by tenths of the customers."""
        import matplotlib.pyplot as plt

        axes = plt.subplots(figsize=(5, 3))[1] if ax is None else ax
        axes.bar(self.deciles["decile"], self.deciles["share"])
        axes.set_xlabel("Customers in tenths, best first")
        axes.set_ylabel("Share of expected value")
        return axes


COLUMNS = {
    "segments": ("segment", COUNT, "customer_share", "revenue", "revenue_share", "trips_per_customer"),
    "deciles": ("decile", COUNT, "value", "share", "cumulative"),
    "lifetime": ("measure", "expected", "low", "high"),
    "calibration": ("forecast_decile", COUNT, "predicted", "actual", "low", "high"),
    "worth": ("channel", "contact", COUNT, "cost", "gain", "saved"),
    "relationship": (
        *("category", COUNT, "flagged", "value_here", "value_overall", "share_overall"),
        *("hit", "value_hit"),
    ),
    "channels": ("neighbourhood", "channel", "preference", "low", "high"),
    "consent": ("neighbourhood", "consent_channel", COUNT, "reachable", "reachable_share"),
    "response": ("contact_channel", COUNT, "responders", "contacts", "rate", "low", "high"),
    "quadrants": (
        *("neighbourhood", "category", COUNT, "customer_share", "index", "index_low", "index_high"),
        *("quadrant", "certain"),
    ),
    "prospects": ("cell", "score", "expected"),
    "lift": ("population_share", "customer_share", "lift", "low", "high"),
    "associations": (
        *("items", "item_a", "item_b", COUNT, "customers_a", "customers_b", "support"),
        *("confidence_ab", "confidence_ba", "lift", "low", "high", "lift_alike"),
    ),
}


def empty_part(name: str) -> pd.DataFrame:
    """Return a part that was not worked out: its columns, no rows."""
    return pd.DataFrame(columns=list(COLUMNS[name]))


def people_tables(people: People) -> dict[str, pd.DataFrame]:
    """Return the tables a plan publishes about its customers; those not worked out are left out."""
    names = {
        "customer_segments": people.segments,
        "customer_deciles": people.deciles,
        "customer_lifetime": people.lifetime,
        "customer_calibration": people.calibration,
        "customer_contacts_worth": people.worth,
        "customer_relationship": people.relationship,
        "customer_channels": people.channels,
        "customer_consent": people.consent,
        "customer_answers": people.response,
        "customer_quadrants": people.quadrants,
        "prospects": people.prospects,
        "prospect_lift": people.lift,
        "associations": people.associations,
    }
    return {name: frame for name, frame in names.items() if len(frame)}
