"""All parts of a simulation, built in the order in which they depend on each other."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from geomarket.simulate.demand import Demand, build_demand
from geomarket.simulate.geography import City, build_city
from geomarket.simulate.network import Network, build_network
from geomarket.simulate.people import Customers, Trips, build_customers, build_trips
from geomarket.simulate.products import Range, build_range
from geomarket.simulate.settings import SimulationSettings
from geomarket.simulate.shopping import Baskets, build_baskets
from geomarket.simulate.trade import Trade, build_trade

__all__ = ["FIRST_DAY", "World", "build_world", "people_of", "relative_taste", "weeks_of"]

FIRST_DAY = np.datetime64("2023-01-02", "D")  # an ISO Monday
_PEOPLE = 820_000


@dataclass(frozen=True)
class World:
    """One simulation.

    Attributes
    ----------
    settings : SimulationSettings
        What it was made from.
    periods : ndarray of datetime64[ns], shape (weeks,)
        First day of each week.
    taste : ndarray of shape (n_types, n_skus)
        Relative liking of each type for each SKU; 1 is the average of the chain's trade.
    city, network, skus, customers, trips, demand, trade, baskets
        The parts, each described in its own module.
    """

    settings: SimulationSettings
    periods: np.ndarray
    taste: np.ndarray
    city: City
    network: Network
    skus: Range
    customers: Customers
    trips: Trips
    demand: Demand
    trade: Trade
    baskets: Baskets

    @property
    def lost_trips(self) -> int:
        """Card trips that found nothing left to buy."""
        return len(self.trips.customer) - len(np.unique(self.baskets.trip))


def build_world(settings: SimulationSettings) -> World:
    """Return every part of a simulation."""
    city = build_city(settings.seed)
    network = build_network(settings, city)
    skus = build_range(settings)
    customers = build_customers(settings, city, network, FIRST_DAY)
    trips = build_trips(settings, network, customers)
    demand = build_demand(settings, network, skus, card_money=float(trips.cents.sum()) / 100)
    periods = weeks_of(settings)
    trade = build_trade(settings, network, skus, demand, periods)
    taste = relative_taste(settings, network, skus)
    return World(
        settings=settings,
        periods=periods,
        taste=taste,
        city=city,
        network=network,
        skus=skus,
        customers=customers,
        trips=trips,
        demand=demand,
        trade=trade,
        baskets=build_baskets(settings, trade, customers, trips, taste),
    )


def people_of(settings: SimulationSettings) -> int:
    """Return the residents of the city."""
    return max(_PEOPLE, 4 * settings.n_customers)


def weeks_of(settings: SimulationSettings) -> np.ndarray:
    """Return the first day of each week."""
    return (FIRST_DAY + np.arange(settings.weeks) * np.timedelta64(7, "D")).astype("datetime64[ns]")


def relative_taste(settings: SimulationSettings, network: Network, skus: Range) -> np.ndarray:
    """Return the liking of each type for each SKU, shape (n_types, n_skus); 1 is the average of the chain's trade."""
    if settings.localisation != "strong":
        return np.ones_like(skus.taste)
    taste = np.exp(skus.taste)
    chain_mix = network.size / network.size.sum() @ network.mix
    return taste / (chain_mix @ taste)
