"""Who the customers are, what they are worth, and where they live."""

from geomarket.customers.place import (
    Penetration,
    PlacedCustomers,
    penetration,
    place_customers,
    wilson_interval,
)
from geomarket.customers.value import CustomerValue, cumulative_segments, quintiles, value_customers

__all__ = [
    "CustomerValue",
    "Penetration",
    "PlacedCustomers",
    "cumulative_segments",
    "penetration",
    "place_customers",
    "quintiles",
    "value_customers",
    "wilson_interval",
]
