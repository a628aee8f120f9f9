"""Baskets: the units of sales that card customers carried home."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from geomarket.simulate.people import Customers, Trips
from geomarket.simulate.settings import SimulationSettings
from geomarket.simulate.trade import Trade
from geomarket.simulate.types import TYPES

__all__ = ["Baskets", "build_baskets"]

# At most this share of a store's weekly units goes to card customers, and this much more than they mean to spend is
# laid out for them, so that nearly every trip finds its money's worth.
_MOST_CARD_SHARE = 0.70
_SLACK = 1.20


@dataclass(frozen=True)
class Baskets:
    """Lines of card trips, in order of trip: trip and SKU (rows), units, price of one unit in cents."""

    trip: np.ndarray
    sku: np.ndarray
    units: np.ndarray
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
    rng = settings.stream("baskets")
    weeks, n_types = settings.weeks, len(TYPES)
    n_groups = (int(trade.store.max()) + 1) * weeks
    trip_week = trips.store * weeks + trips.day // 7
    trip_type = customers.type[trips.customer]
    money = np.bincount(trip_week * n_types + trip_type, trips.cents, n_groups * n_types).reshape(-1, n_types)

    sale_week = trade.store * weeks + trade.week
    takings = np.bincount(sale_week, trade.units * trade.cents, n_groups)
    wanted = np.divide(_SLACK * money.sum(axis=1), takings, out=np.zeros(n_groups), where=takings > 0)
    carded = rng.binomial(trade.units, np.minimum(wanted, _MOST_CARD_SHARE)[sale_week])
    line = np.repeat(np.arange(len(carded)), carded)
    sku, cents = trade.sku[line], trade.cents[line]
    kind = _types_of_units(rng, money[sale_week[line]], taste, sku)
    trip = _fill(rng, sale_week[line] * n_types + kind, cents, trip_week * n_types + trip_type, trips.cents)
    trip = _fill_empty(trip, sale_week[line], trip_week)

    kept = np.flatnonzero(trip >= 0)
    order = kept[np.lexsort((cents[kept], sku[kept], trip[kept]))]
    trip, sku, cents = trip[order], sku[order], cents[order]
    first = np.ones(len(trip), dtype=bool)
    first[1:] = (trip[1:] != trip[:-1]) | (sku[1:] != sku[:-1])
    starts = np.flatnonzero(first)
    units = np.diff(np.append(starts, len(trip)))
    return Baskets(trip[starts], sku[starts], units.astype(np.int64), cents[starts])


def _types_of_units(
    rng: np.random.Generator, money: np.ndarray, taste: np.ndarray, sku: np.ndarray
) -> np.ndarray:
    kind = np.empty(len(sku), dtype=np.int64)
    draw = rng.random(len(sku))
    for part in np.array_split(np.arange(len(sku)), max(1, len(sku) // 250_000)):
        weight = np.cumsum(money[part] * taste[:, sku[part]].T, axis=1)
        kind[part] = (weight < draw[part, None] * weight[:, -1:]).sum(axis=1).clip(0, len(taste) - 1)
    return kind


def _fill(
    rng: np.random.Generator,
    unit_group: np.ndarray,
    cents: np.ndarray,
    trip_group: np.ndarray,
    purse: np.ndarray,
) -> np.ndarray:
    """Return the trip each unit goes to, -1 where its group's trips have spent their money.

    Units and trips of a group are laid end to end by money in random order; a unit belongs to the trip in whose
    stretch its middle falls.
    """
    span = np.int64(4_000_000_000_000)
    unit_order = np.lexsort((rng.random(len(unit_group)), unit_group))
    trip_order = np.lexsort((rng.random(len(trip_group)), trip_group))
    group, price = unit_group[unit_order], cents[unit_order]
    middle = _running(price, group) * 2 - price
    end = _running(purse[trip_order], trip_group[trip_order]) * 2
    # Groups are numbered without gaps, which keeps the line of money inside 64 bits.
    names, codes = np.unique(np.concatenate([trip_group, unit_group]), return_inverse=True)
    trip_code, unit_code = codes[: len(trip_group)][trip_order], codes[len(trip_group) :][unit_order]
    if len(names) * float(span) > 2**62:
        span = np.int64(2**62 // len(names))
    found = np.searchsorted(trip_code * span + end, unit_code * span + middle, side="right")
    found = np.minimum(found, len(trip_order) - 1)
    same = trip_code[found] == unit_code
    trip = np.empty(len(group), dtype=np.int64)
    trip[unit_order] = np.where(same, trip_order[found], -1)
    return trip


def _running(values: np.ndarray, group: np.ndarray) -> np.ndarray:
    """Running total within each run of equal groups."""
    total = np.cumsum(values)
    starts = np.flatnonzero(np.append(True, group[1:] != group[:-1]))
    before = np.where(starts > 0, total[starts - 1], 0)
    return total - np.repeat(before, np.diff(np.append(starts, len(group))))


def _fill_empty(trip: np.ndarray, unit_week: np.ndarray, trip_week: np.ndarray) -> np.ndarray:
    """Give each trip still empty one unit left over in the same store and week, where there is one."""
    empty = np.flatnonzero(np.bincount(trip[trip >= 0], minlength=len(trip_week)) == 0)
    spare = np.flatnonzero(trip < 0)
    empty = empty[np.argsort(trip_week[empty], kind="stable")]
    spare = spare[np.argsort(unit_week[spare], kind="stable")]
    place = _rank(trip_week[empty]) + np.searchsorted(unit_week[spare], trip_week[empty])
    usable = place < np.searchsorted(unit_week[spare], trip_week[empty], side="right")
    filled = trip.copy()
    filled[spare[place[usable]]] = empty[usable]
    return filled


def _rank(sorted_groups: np.ndarray) -> np.ndarray:
    """0, 1, 2 … within each run of equal groups."""
    return (
        _running(np.ones(len(sorted_groups), dtype=np.int64), sorted_groups) - 1
        if len(sorted_groups)
        else sorted_groups
    )
