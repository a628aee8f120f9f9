"""What the columns of the tables on catchments, targeting and fairness mean."""

from __future__ import annotations

__all__ = ["COLUMNS_OF", "MEANINGS"]

MEANINGS = {
    "catchment_stores": "One row per own store: reach, trade area, strongest overlap, twin and what it lacks.",
    "catchments_observed": "One row per store and hexagon that most of its known customers' trips come from.",
    "catchment_decay": "One row per distance from the store: share of trade, modelled and observed.",
    "store_overlap": "One row per pair of own stores that live on the same places.",
    "twin_areas": "One row per own store and store most like it in who shops there.",
    "whitespace": "One row per hexagon with most trade that goes to others.",
    "what_ifs": "One row per what-if: what opening, closing or resizing stores moves.",
    "what_if_stores": "One row per what-if and store: demand before and after.",
    "sites": "One row per candidate site, best first, each as if it opened alone.",
    "door_drops": "One row per planned door drop: hexagon, period, leaflet, doors, money.",
    "door_drop_hexagons": "One row per hexagon: its door drops, or why it gets none.",
    "door_drop_money": "What leaflets at every door would bring, split by what becomes of it.",
    "contacts": "Customers by what becomes of them: reached by which channel, or why not.",
    "fairness": "One row per thing offered: most over least deprived fifth of the people.",
    "fairness_fifths": "One row per thing offered and fifth of the people by deprivation.",
}

_DROP = {
    "benefit": "Margin expected from the people behind these doors, by the leaflet.",
    "benefit_low": "The same at the lower bound of the leaflet's effect.",
    "cost": "Cost of the drops.",
    "net": "Benefit less cost.",
    "doors": "Doors of the hexagon.",
    "drops": "Door drops over the horizon.",
    "reason": "Reached, or why not.",
    "period": "First day of the period.",
    "store_cluster": "Store cluster whose leaflet is dropped.",
}
_MOVED = "in the catchment model's unit a year"

COLUMNS_OF = {
    "catchment_stores": {
        "demand": f"Trade expected of the store, {_MOVED}.",
        **{
            f"{who}{what}_{band}": f"{words} {band}% of its trade{seen}."
            for band in range(1, 101)
            for who, seen in (("", ", by the model"), ("observed_", ", by known customers' trips"))
            for what, words in (
                ("km", "Distance in km that holds"),
                ("hexagons", "Fewest hexagons that hold"),
                ("km2", "Square kilometres of the hexagons that hold"),
            )
        },
        "overlap_with": "Own store whose trade area overlaps its own most.",
        "overlap": "How much of the two trade areas is the same, 0 to 1.",
        "twin": "Own store most like it in who shops there.",
        "twin_distance": "0: the same mix of neighbourhood types; 1: nothing in common.",
        "voids": "Formats absent from its trade area that most areas like it have.",
    },
    "catchments_observed": {
        "band": "Smallest share of known customers' trips the hexagon belongs to.",
        "joined": "Hexagons joined with it, so that they stand for enough customers together.",
        "shown": "Share of the store's trips from places with enough customers; wider bands are not drawn.",
    },
    "catchment_decay": {
        "from": "Lower end of the distance, km.",
        "to": "Upper end of the distance, km; missing for the last.",
        "modelled": "Share of trade from that distance, by the model.",
        "observed": "Share of known customers' trips from that distance.",
        "people_won": "Share of the market at that distance that a store wins.",
    },
    "store_overlap": {
        "other": "The other own store.",
        "other_name": "Its name.",
        "overlap": "How much of the two trade areas is the same, 0 to 1.",
        "shared": "Share of the store's trade from hexagons that the other serves too.",
        "observed": "Overlap of known customers' trips.",
    },
    "twin_areas": {
        "twin": "A store like it.",
        "rank": "1 is the most alike.",
        "distance": "0: the same mix of neighbourhood types; 1: nothing in common.",
    },
    "whitespace": {
        "place": "Boundary or census area the hexagon lies in.",
        "nearest_store": "Nearest own store.",
        "nearest_own_km": "Its distance in km.",
        "name": "Name of the neighbourhood type.",
    },
    "what_ifs": {
        "what_if": "Name of the what-if.",
        "opened": "Stores it opens.",
        "closed_stores": "Stores it closes.",
        "resized": "Stores it changes.",
        "volume": f"Change of the own stores opened and changed, {_MOVED}.",
        "closed": f"Change of the own stores closed, {_MOVED}.",
        "other_own": f"Change of all other own stores, {_MOVED}: cannibalisation where negative.",
        "competitors": f"Change of competitors, {_MOVED}.",
        "no_store": f"Change of what goes to no store, {_MOVED}.",
        "net_own": f"Change of all own stores together, {_MOVED}.",
        "imbalance": "Sum of all changes: 0 but for rounding.",
    },
    "what_if_stores": {
        "what_if": "Name of the what-if.",
        "own": "Whether it is an own store.",
        "role": "opened, closed, changed, own or competitor.",
        "before": f"Trade today, {_MOVED}.",
        "after": f"Trade afterwards, {_MOVED}.",
        "change": "After less before.",
    },
    "sites": {
        "store_id": "Id of the site, as in your table.",
        "name": "Name of the site.",
        "volume": f"Trade of a store there, {_MOVED}.",
        "from_own": f"Part of it that own stores lose, {_MOVED}.",
        "from_competitors": f"Part of it that competitors lose, {_MOVED}.",
        "from_no_store": f"Part of it that went to no store, {_MOVED}.",
        "net_own": f"What the chain as a whole gains, {_MOVED}.",
    },
    "door_drops": _DROP,
    "door_drop_hexagons": _DROP,
    "door_drop_money": {"part": "What becomes of it.", "amount": "Margin."},
    "contacts": {
        "reason": "Reached, or why not.",
        "channel": "Channel of the customer's first contact.",
        "store_cluster": "Store cluster whose offers the first contact tells of.",
        "contacts": "Letters and messages; missing with the customers.",
        "benefit": "Margin expected from them; missing with the customers.",
        "cost": "What they cost; missing with the customers.",
        "net": "Benefit less cost; missing with the customers.",
        "suppressed": "Whether the count is hidden.",
    },
    "fairness": {
        "exposure": "What is offered.",
        "label": "The same in words.",
        "ratio": "What the most deprived fifth of the people gets over what the least deprived fifth gets.",
        "low": "Low end of its interval.",
        "high": "High end of its interval.",
        "verdict": "equal, unequal, or unclear (outside the band, the interval reaches into it).",
    },
    "fairness_fifths": {
        "exposure": "What is offered.",
        "label": "The same in words.",
        "quintile": "Fifth of the people; 5 is the most deprived.",
        "hexagons": "Hexagons they live in.",
        "people": "People.",
        "mean": "Mean of what is offered to them.",
    },
}
