"""Who the customers are, what they are worth, and where they live."""

from geomarket.customers.associations import Associations, basket_associations
from geomarket.customers.channels import ChannelPreference, channel_preference, channel_response
from geomarket.customers.lifetime import BgNbd, GammaGamma
from geomarket.customers.place import (
    Penetration,
    PlacedCustomers,
    index_interval,
    penetration,
    place_customers,
    wilson_interval,
)
from geomarket.customers.prospects import Prospects, quadrants, score_prospects
from geomarket.customers.relationship import Relationship, relationship_value
from geomarket.customers.value import CustomerValue, cumulative_segments, quintiles, value_customers
from geomarket.customers.worth import (
    LifetimeCheck,
    LifetimeValue,
    check_lifetime,
    lifetime_value,
    value_deciles,
    worth_contacting,
)

__all__ = [
    "Associations",
    "BgNbd",
    "ChannelPreference",
    "CustomerValue",
    "GammaGamma",
    "LifetimeCheck",
    "LifetimeValue",
    "Penetration",
    "PlacedCustomers",
    "Prospects",
    "Relationship",
    "basket_associations",
    "channel_preference",
    "channel_response",
    "check_lifetime",
    "cumulative_segments",
    "index_interval",
    "lifetime_value",
    "penetration",
    "place_customers",
    "quadrants",
    "quintiles",
    "relationship_value",
    "score_prospects",
    "value_customers",
    "value_deciles",
    "wilson_interval",
    "worth_contacting",
]
