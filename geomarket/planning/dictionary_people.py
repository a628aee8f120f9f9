"""What the columns of the tables about customers mean."""

from __future__ import annotations

__all__ = ["COLUMNS_OF_PEOPLE", "MEANINGS_OF_PEOPLE"]

MEANINGS_OF_PEOPLE = {
    "customer_segments": "Heavy, medium and light customers: how many, and what they bring.",
    "customer_deciles": "Customers in tenths by expected value: what each tenth is expected to bring.",
    "customer_lifetime": "What all customers together are expected to bring, with interval.",
    "customer_calibration": "Trips foretold by a model that knew the first half of the window, against those made.",
    "customer_contacts_worth": "One row per channel: customers who agreed to it, and whether a contact repays.",
    "customer_relationship": "One row per category: customers who are small there and big overall.",
    "customer_channels": "One row per neighbourhood type and channel: by what its customers shop.",
    "customer_consent": "One row per neighbourhood type and channel: how many may be reached.",
    "customer_answers": "One row per channel: how past contacts were answered.",
    "customer_quadrants": "One row per neighbourhood type and category: core, developmental, niche or monitor.",
    "prospects": "One row per hexagon: how much it is like where heavy customers live.",
    "prospect_lift": "How well that score finds customers it has not seen.",
    "associations": "One row per pair of items: how many customers buy both, against chance.",
}

_INTERVAL = {"low": "Low end of its interval.", "high": "High end of its interval."}

COLUMNS_OF_PEOPLE = {
    "customer_segments": {
        "segment": "heavy: the best, who together bring the share of revenue set; medium: the next; light: the rest.",
        "revenue": "What they brought over the window.",
        "revenue_share": "Share of the revenue.",
        "trips_per_customer": "Trips over the window per customer.",
    },
    "customer_deciles": {
        "decile": "1 is the tenth of the customers expected to bring most.",
        "value": "What they are expected to bring over the horizon, discounted.",
        "share": "Share of the whole.",
        "cumulative": "Share of this tenth and all better ones.",
    },
    "customer_lifetime": {
        "measure": "trips, revenue or lifetime_value (margin where costs are known; discounted).",
        "expected": "Expected over the horizon, all customers together.",
        **_INTERVAL,
    },
    "customer_calibration": {
        "forecast_decile": "1 is the tenth foretold most trips.",
        "predicted": "Trips per customer foretold for the second half of the window.",
        "actual": "Trips per customer made.",
        **_INTERVAL,
    },
    "customer_contacts_worth": {
        "channel": "How they would be reached.",
        "contact": "Whether the expected gain of one contact is above its cost.",
        "customers": "Customers who agreed to the channel; missing where too few.",
        "cost": "Cost of one contact.",
        "gain": "Expected margin of one contact of each, by the effect assumed.",
        "saved": "Cost less gain of leaving them out.",
    },
    "customer_relationship": {
        "customers": "Customers who buy in the category; missing where too few, or too few do not.",
        "flagged": "Of them: in the bottom half of the category and the top fifth of the business.",
        "value_here": "What the flagged bring in the category.",
        "value_overall": "What they bring in all.",
        "share_overall": "Share of everybody's.",
        "hit": "Flagged customers of whom at least half of what they buy there leaves their stores.",
        "value_hit": "What those bring in all.",
    },
    "customer_channels": {
        "channel": "Where they shop.",
        "preference": "Share of trips, drawn to everybody's where little is known.",
        **_INTERVAL,
    },
    "customer_consent": {
        "consent_channel": "How they may be reached.",
        "reachable": "Customers who agreed to it; missing where few did or few did not.",
        "reachable_share": "Share of them.",
    },
    "customer_answers": {
        "contact_channel": "How they were reached.",
        "customers": "Customers contacted.",
        "responders": "Of them, who answered at least once.",
        "contacts": "Contacts made.",
        "rate": "Answers per contact; an answer is not an effect.",
        **_INTERVAL,
    },
    "customer_quadrants": {
        "neighbourhood": "Neighbourhood type; none: in no type or not on the map.",
        "category": "Category its customers buy; all: any.",
        "customer_share": "Share of the category's customers who live in the type.",
        "index": "100 is the market's: customers of the category per resident.",
        "quadrant": "core: many, index above 100; developmental: many, below; niche: few, above; monitor: few, below.",
        "certain": "Whether the index is clearly above or below 100.",
    },
    "prospects": {
        "score": "100 is average: heavy customers per resident in places like it, by a model that has not seen it.",
        "expected": "Heavy customers one would expect among its residents.",
    },
    "prospect_lift": {
        "population_share": "Share of the people, in the hexagons scored best.",
        "customer_share": "Share of the heavy customers who live there.",
        "lift": "The one over the other; 1 is chance.",
        **_INTERVAL,
    },
    "associations": {
        "items": "Kind of item: category, subcategory or sku.",
        "item_a": "First item.",
        "item_b": "Second item.",
        "customers": "Customers who buy both.",
        "customers_a": "Customers who buy the first.",
        "customers_b": "Customers who buy the second.",
        "support": "Share of all customers who buy both.",
        "confidence_ab": "Share of the first's customers who buy the second.",
        "confidence_ba": "Share of the second's customers who buy the first.",
        "lift": "Support over what chance would give; 1 is chance.",
        "lift_alike": "The same among customers who come equally often.",
        **_INTERVAL,
    },
}
