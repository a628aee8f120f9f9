"""The workbook's sheets on catchments, targeting and fairness."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from geomarket.hexes import cell_strings
from geomarket.report.sheets import Field, Sheet

__all__ = ["reach_sheets"]


def reach_sheets(plan: Any) -> list[Sheet]:
    """Return the sheets of the stages that were run; a stage without a result has none."""
    made = [_trade_areas(plan), _whitespace(plan), _what_ifs(plan), _sites(plan)]
    made += [_door_drops(plan), _contacts(plan), _fairness(plan)]
    return [sheet for sheet in made if sheet is not None]


def _trade_kind(plan: Any) -> Any:
    return "money" if str(getattr(plan.catchments, "unit", "")) == "revenue" else "number"


def _trade_areas(plan: Any) -> Sheet | None:
    details = getattr(plan, "catchment_details", None)
    if details is None or details.table.empty:
        return None
    fields = [
        Field("store_id", "Store", "id", "Id of the store."),
        Field("name", "Name", "text", "Name of the store."),
        Field("demand", "Expected trade", _trade_kind(plan), "Trade the catchment model expects."),
    ]
    bands = details.bands
    for band in bands:
        words = f"{band}% of its trade comes, by the model."
        fields += [
            Field(f"km_{band}", f"{band}% within, km", "number", f"Distance within which {words}"),
            Field(f"hexagons_{band}", f"Hexagons, {band}%", "count", f"Fewest hexagons from which {words}"),
            Field(f"km2_{band}", f"Area, {band}%, km²", "number", f"Their area, from which {words}"),
        ]
    seen = "of known customers' trips; empty where too few."
    fields += [
        *(
            Field(
                f"observed_km_{band}",
                f"Known trips: {part}, km",
                "number",
                f"Distance that holds {part} {seen}",
            )
            for band in dict.fromkeys((*bands[:1], *bands[-1:]))
            for part in ["half" if band == "50" else f"{band}%"]
        ),
        Field("overlap_with", "Overlaps most with", "text", "Own store that lives most on the same places."),
        Field("overlap", "Overlap", "share", "How much of the two trade areas is the same."),
        Field("twin", "Most alike", "text", "Own store most like it in who shops there."),
        Field("twin_distance", "Unlikeness", "number", "0: the same neighbourhood types; 1: none in common."),
        Field("voids", "Lacks", "text", "Store formats absent here that most areas like it have."),
    ]
    return Sheet("Trade areas", "Reach, overlap, twins and gaps of every own store.", details.table, fields)


def _whitespace(plan: Any) -> Sheet | None:
    details = getattr(plan, "catchment_details", None)
    if details is None or details.whitespace.empty:
        return None
    frame = details.whitespace.assign(cell=_hexagons(details.whitespace["cell"]))
    kind = _trade_kind(plan)
    fields = [
        Field("cell", "Hexagon", "id", "H3 index."),
        Field("place", "In", "text", "Boundary or census area it lies in."),
        Field("neighbourhood", "Type", "id", "Code of the neighbourhood type."),
        Field("name", "Neighbourhood", "text", "Name of the neighbourhood type."),
        Field("population", "Residents", "count", "Residents."),
        Field("market", "Market", kind, "Trade of its residents, all stores together."),
        Field("own_share", "Own share", "share", "Share of it that own stores win, by the model."),
        Field("whitespace", "Goes elsewhere", kind, "Trade that goes to others."),
        Field("nearest_store", "Nearest own store", "text", "Nearest own store."),
        Field("nearest_own_km", "Distance, km", "number", "Its distance."),
    ]
    return Sheet("Whitespace", "Hexagons with most trade that goes to others.", frame, fields)


def _hexagons(cells: pd.Series) -> Any:
    return cell_strings(cells.to_numpy(dtype=np.int64))


def _what_ifs(plan: Any) -> Sheet | None:
    found = getattr(plan, "whatifs", None)
    if found is None or found.stores.empty:
        return None
    kind = _trade_kind(plan)
    fields = [
        Field("what_if", "What if", "text", "Name of the what-if."),
        Field("store_id", "Store", "id", "Id of the store."),
        Field("name", "Name", "text", "Name of the store."),
        Field("own", "Own", "flag", "Yes: an own store."),
        Field("role", "Role", "text", "opened, closed, changed, own or competitor."),
        Field("before", "Before", kind, "Trade today, by the model."),
        Field("after", "After", kind, "Trade afterwards."),
        Field("change", "Change", kind, "After less before. The changes of a what-if sum to 0."),
    ]
    return Sheet("What-ifs", "What opening, closing or resizing stores moves.", found.stores, fields)


def _sites(plan: Any) -> Sheet | None:
    found = getattr(plan, "whatifs", None)
    if found is None or found.sites.empty:
        return None
    kind = _trade_kind(plan)
    fields = [
        Field("store_id", "Site", "id", "Id of the site, as in your table."),
        Field("name", "Name", "text", "Name of the site."),
        Field("volume", "Trade there", kind, "Trade of a store there, by the model."),
        Field("from_own", "From own stores", kind, "What own stores lose to it."),
        Field("from_competitors", "From competitors", kind, "What competitors lose to it."),
        Field("from_no_store", "From no store", kind, "What went to no store."),
        Field("net_own", "The chain gains", kind, "Trade there less what own stores lose."),
    ]
    return Sheet("Sites", "Candidate sites, best first, each as if it opened alone.", found.sites, fields)


def _door_drops(plan: Any) -> Sheet | None:
    targeting = getattr(plan, "targeting", None)
    if targeting is None or targeting.doors.table.empty:
        return None
    table = targeting.doors.table
    frame = table.assign(cell=_hexagons(table["cell"]))
    frame = frame.sort_values(["period", "store_cluster", "cell"], ignore_index=True)
    fields = [
        Field("period", "From", "date", "First day."),
        Field("store_cluster", "Leaflet of", "id", "Store cluster whose leaflet is dropped."),
        Field("cell", "Hexagon", "id", "H3 index of the hexagon."),
        Field("doors", "Doors", "count", "Doors of the hexagon."),
        Field("benefit", "Brings", "money", "Margin expected from the people there, by the leaflet."),
        Field("benefit_low", "Brings, low", "money", "The same at the lower bound of the leaflet's effect."),
        Field("cost", "Cost", "money", "Cost of the drop."),
        Field("net", "Net", "money", "What it brings less its cost."),
    ]
    return Sheet("Door drops", "Which hexagons get whose leaflet when, and what that brings.", frame, fields)


def _contacts(plan: Any) -> Sheet | None:
    targeting = getattr(plan, "targeting", None)
    if targeting is None or targeting.contacts is None:
        return None
    fields = [
        Field("reason", "What becomes of them", "text", "reached, or why not."),
        Field("channel", "Channel", "text", "Channel of the first contact."),
        Field("store_cluster", "Offers of", "id", "Store cluster whose offers the first contact tells of."),
        Field(
            "customers", "Customers", "count", "Customers, each counted once; empty where too few to show."
        ),
        Field("contacts", "Contacts", "count", "Letters and messages; empty with the customers."),
        Field("benefit", "Brings", "money", "Margin expected from them."),
        Field("cost", "Cost", "money", "What they cost."),
        Field("net", "Net", "money", "What they bring less their cost."),
    ]
    return Sheet(
        "Contacts", "Customers by what becomes of them; no single person.", targeting.contacts, fields
    )


def _fairness(plan: Any) -> Sheet | None:
    fairness = getattr(plan, "fairness", None)
    if fairness is None:
        return None
    means = fairness.quintiles.pivot_table(index="exposure", columns="quintile", values="mean", sort=False)
    means.columns = [f"fifth_{int(column)}" for column in means.columns]
    frame = fairness.table.merge(means.reset_index(), on="exposure", how="left")
    fields = [
        Field("label", "Offered", "text", "What is offered."),
        Field("ratio", "Ratio", "number", "Most deprived fifth of the people over the least deprived."),
        Field("low", "Ratio, low", "number", "Low end of its interval."),
        Field("high", "Ratio, high", "number", "High end of its interval."),
        Field("verdict", "Verdict", "text", "equal; unequal; unclear: outside the band, perhaps by chance."),
        *(
            Field(f"fifth_{k}", f"Fifth {k}", "number", f"Mean in fifth {k} of the people{words}.")
            for k, words in (
                (1, ", the least deprived"),
                (2, ""),
                (3, ""),
                (4, ""),
                (5, ", the most deprived"),
            )
        ),
    ]
    intro = f"What deprived and well-off areas are offered, ranked by: {fairness.attribute_label}."
    return Sheet("Fairness", intro, frame, fields)
