"""Known open markets read from a data folder, and official boundary files."""

from geomarket.datasets.boundaries import boundary_sources, census_sources, load_boundaries, write_boundaries
from geomarket.datasets.complete_journey import CompleteJourney, load_complete_journey
from geomarket.datasets.complete_journey_promotions import JourneyPromotions, load_journey_promotions
from geomarket.datasets.iowa import load_iowa

__all__ = [
    "CompleteJourney",
    "JourneyPromotions",
    "boundary_sources",
    "census_sources",
    "load_boundaries",
    "load_complete_journey",
    "load_iowa",
    "load_journey_promotions",
    "write_boundaries",
]
