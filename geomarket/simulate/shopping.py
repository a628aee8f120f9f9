"""Baskets: the units of sales that card customers carried home."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from geomarket.simulate.people import Customers, Trips
from geomarket.simulate.settings import SimulationSettings
from geomarket.simulate.trade import Lines, Trade
from geomarket.simulate.types import TYPES

__all__ = ["Baskets", "StoreTrips", "build_baskets", "store_baskets", "trips_by_store"]

# At most this share of a store's weekly units goes to card customers, and this much more than they mean to spend is
# laid out for them, so that nearly every trip finds its money's worth.
_MOST_CARD_SHARE = 0.70
_SLACK = 1.25
_BALANCING_ROUNDS = 8
_ORDER_SPREAD = 0.7


@dataclass(frozen=True)
class Baskets:
    """Lines of card trips, in order of trip: trip and SKU (rows), units, price of one unit in cents."""

    trip: np.ndarray
    sku: np.ndarray
    units: np.ndarray
    cents: np.ndarray


@dataclass(frozen=True)
class StoreTrips:
    """Card trips to one store: their rows among all trips, week, customer's type and money in cents."""

    row: np.ndarray
    week: np.ndarray
    type: np.ndarray
    cents: np.ndarray


def build_baskets(
    settings: SimulationSettings, trade: Trade, customers: Customers, trips: Trips, taste: np.ndarray
) -> Baskets:
    """Share out units already sold among the card trips of the same store and week.

    Every basket line is thereby a part of a line of sales. A unit goes to a type of customer in proportion to the
    money that type brings to the store that week and to its taste for the SKU; within the type, trips are filled one
    after the other until their money is spent, to within the price of one unit.

    Parameters
    ----------
    settings, trade, customers, trips
        The parts built before.
    taste : ndarray of shape (n_types, n_skus)
        Relative taste (not log) of each type for each SKU.
    """
    ends = np.searchsorted(trade.store, np.arange(settings.n_stores + 1))
    parts = [
        store_baskets(settings, store, trade.lines(slice(ends[store], ends[store + 1])), visits, taste)
        for store, visits in enumerate(trips_by_store(settings, customers, trips))
    ]
    trip, sku, units, cents = (
        np.concatenate([getattr(part, name) for part in parts]) for name in ("trip", "sku", "units", "cents")
    )
    order = np.argsort(trip, kind="stable")
    return Baskets(trip[order], sku[order], units[order], cents[order])


def trips_by_store(settings: SimulationSettings, customers: Customers, trips: Trips) -> Iterator[StoreTrips]:
    """Yield the card trips to one store after the other."""
    by_store = np.argsort(trips.store, kind="stable")
    ends = np.searchsorted(trips.store[by_store], np.arange(settings.n_stores + 1))
    for store in range(settings.n_stores):
        row = by_store[ends[store] : ends[store + 1]]
        yield StoreTrips(row, trips.day[row] // 7, customers.type[trips.customer[row]], trips.cents[row])


def store_baskets(
    settings: SimulationSettings, store: int, lines: Lines, visits: StoreTrips, taste: np.ndarray
) -> Baskets:
    """Return the lines of one store's card trips, in order of trip and SKU; as :func:`build_baskets` does."""
    rng, weeks, n_types = settings.stream("baskets", store), settings.weeks, len(TYPES)
    money = np.bincount(visits.week * n_types + visits.type, visits.cents, weeks * n_types).reshape(
        weeks, n_types
    )
    week, sold, price = lines.week, lines.units, lines.cents.astype(np.int64)
    takings = np.bincount(week, sold * price, weeks)
    wanted = np.divide(_SLACK * money.sum(axis=1), takings, out=np.zeros(weeks), where=takings > 0)
    carded = rng.binomial(sold, np.minimum(wanted, _MOST_CARD_SHARE)[week])
    unit = np.repeat(np.arange(len(carded)), carded)
    week, sku, cents = week[unit], lines.sku[unit], price[unit]
    weight = taste * _balance(money.sum(axis=0), np.bincount(sku, cents, taste.shape[1]), taste)[:, None]
    liking = np.cumsum(money[week] * weight.T[sku], axis=1)
    kind = (liking < rng.random(len(unit))[:, None] * liking[:, -1:]).sum(axis=1).clip(0, n_types - 1)
    trip = _fill(rng, week * n_types + kind, cents, visits.week * n_types + visits.type, visits.cents)
    trip = _fill_empty(trip, week, visits.week)

    kept = np.flatnonzero(trip >= 0)
    trip, sku, cents = visits.row[trip[kept]], sku[kept], cents[kept]
    order = np.lexsort((sku, trip))
    trip, sku, cents = trip[order], sku[order], cents[order]
    starts = np.flatnonzero(np.append(True, (trip[1:] != trip[:-1]) | (sku[1:] != sku[:-1]))[: len(trip)])
    units = np.diff(np.append(starts, len(trip)))
    return Baskets(trip[starts], sku[starts], units, cents[starts])


def _balance(money: np.ndarray, takings: np.ndarray, taste: np.ndarray) -> np.ndarray:
    """Factors by type under which every type is laid out its share of the money, whatever its tastes.

    Without them a type that likes little of what sells would go home with less than it meant to spend.
    """
    factor = np.ones(len(money))
    for _ in range(_BALANCING_ROUNDS):
        claim = (factor * money)[:, None] * taste
        given = claim @ np.divide(takings, claim.sum(axis=0), out=np.zeros_like(takings), where=takings > 0)
        factor *= np.divide(
            money / max(money.sum(), 1), given / max(given.sum(), 1), out=np.ones_like(money), where=given > 0
        )
    return factor


def _fill(
    rng: np.random.Generator,
    unit_group: np.ndarray,
    cents: np.ndarray,
    trip_group: np.ndarray,
    purse: np.ndarray,
) -> np.ndarray:
    """Return the trip each unit goes to, -1 where its group's trips have spent their money.

    As many units as the group's money buys are picked at random. They and the trips are then laid end to end by
    money, a unit belonging to the trip in whose stretch its middle falls; both in a random order that leans from
    large to small, so that small purses buy cheap things.
    """
    trip = np.full(len(unit_group), -1)
    if not len(unit_group) or not len(trip_group):
        return trip
    order = np.lexsort((rng.random(len(unit_group)), unit_group))
    budget = np.bincount(trip_group, purse, unit_group.max() + 1)[unit_group[order]]
    picked = order[_middles(cents[order], unit_group[order]) <= 2 * budget]
    unit_order = picked[np.lexsort((_leaning(rng, cents[picked]), unit_group[picked]))]
    trip_order = np.lexsort((_leaning(rng, purse), trip_group))
    unit_group, trip_group = unit_group[unit_order], trip_group[trip_order]
    middle = _middles(cents[unit_order], unit_group)
    end = 2 * _running(purse[trip_order], trip_group)
    span = 1 + max(int(middle.max(initial=0)), int(end.max()))
    found = np.searchsorted(trip_group * span + end, unit_group * span + middle, side="right")
    found = np.minimum(found, len(trip_order) - 1)
    trip[unit_order] = np.where(trip_group[found] == unit_group, trip_order[found], -1)
    return trip


def _middles(cents: np.ndarray, group: np.ndarray) -> np.ndarray:
    """Where the middle of each unit falls along its group's money; twice the cents, to stay whole."""
    return 2 * _running(cents, group) - cents


def _leaning(rng: np.random.Generator, cents: np.ndarray) -> np.ndarray:
    return _ORDER_SPREAD * rng.normal(size=len(cents)) - np.log(cents)


def _fill_empty(trip: np.ndarray, unit_week: np.ndarray, trip_week: np.ndarray) -> np.ndarray:
    """Give each trip still empty one unit left over in the same week, where there is one."""
    empty = np.flatnonzero(np.bincount(trip[trip >= 0], minlength=len(trip_week)) == 0)
    spare = np.flatnonzero(trip < 0)
    empty = empty[np.argsort(trip_week[empty], kind="stable")]
    spare = spare[np.argsort(unit_week[spare], kind="stable")]
    week, spare_week = trip_week[empty], unit_week[spare]
    turn = _running(np.ones(len(empty), dtype=np.int64), week) - 1
    place = np.searchsorted(spare_week, week) + turn
    usable = place < np.searchsorted(spare_week, week, side="right")
    filled = trip.copy()
    filled[spare[place[usable]]] = empty[usable]
    return filled


def _running(values: np.ndarray, group: np.ndarray) -> np.ndarray:
    """Running total within each run of equal groups."""
    total = np.cumsum(values)
    starts = np.flatnonzero(np.append(True, group[1:] != group[:-1])[: len(group)])
    before = np.where(starts > 0, total[starts - 1], 0)
    return total - np.repeat(before, np.diff(np.append(starts, len(group))))
