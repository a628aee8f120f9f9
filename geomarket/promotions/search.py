"""Plans by search: offers taken greedily in the order of the relaxation, then exchanged while it pays."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from geomarket.promotions.rules import PromotionRules

__all__ = ["OfferSearch"]

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class OfferSearch:
    """Makes a plan that keeps every rule from the relaxation's solution.

    Attributes
    ----------
    net, cost : ndarray of shape (n_offers,)
    period : ndarray of shape (n_offers,)
    sku, slot, channel_slot : ndarray of shape (n_offers,)
        Numbers of the SKU in its cluster, of the category, cluster and period, and of that with the channel.
    channel_most : ndarray of shape (n_channel_slots,)
        Most offers of each.
    channel, vendor : ndarray of shape (n_offers,)
        Positions in ``channel_budget`` and ``vendor_least``.
    channel_budget : ndarray of shape (n_channels,)
        Money for each channel.
    vendor_least : ndarray of shape (n_vendors,)
        Offers each vendor was promised.
    forced : ndarray of shape (n_offers,)
        Offers that may only be in the plan to keep a promise.
    rules : PromotionRules
    """

    net: Floats
    cost: Floats
    period: Ints
    sku: Ints
    slot: Ints
    channel_slot: Ints
    channel_most: Floats
    channel: Ints
    channel_budget: Floats
    vendor: Ints
    vendor_least: Ints
    forced: npt.NDArray[np.bool_]
    rules: PromotionRules

    @classmethod
    def of(cls, offers: pd.DataFrame, rules: PromotionRules) -> OfferSearch:
        """Number what the rules count."""
        slot = ["store_cluster", "category", "t"]
        by_channel = offers.groupby([*slot, "channel"], sort=False)
        most = by_channel["channel"].first().map(lambda name: rules.channel_slots.get(name, math.inf))
        channel, channels = pd.factorize(offers["channel"], sort=True)
        named = offers["vendor"] if rules.vendor_minimums else pd.Series("", index=offers.index)
        vendor, vendors = pd.factorize(named.astype(str), sort=True)
        forced = np.zeros(len(offers), dtype=bool)
        if "promised" in offers:
            forced = offers["promised"].to_numpy(dtype=bool)
        return cls(
            offers["net"].to_numpy(dtype=float),
            offers["cost"].to_numpy(dtype=float),
            offers["t"].to_numpy(dtype=np.int64),
            np.asarray(offers.groupby(["store_cluster", "sku"], sort=False).ngroup(), dtype=np.int64),
            np.asarray(offers.groupby(slot, sort=False).ngroup(), dtype=np.int64),
            np.asarray(by_channel.ngroup(), dtype=np.int64),
            most.to_numpy(dtype=float),
            channel.astype(np.int64),
            np.array([rules.channel_budgets.get(str(name), math.inf) for name in channels], dtype=float),
            vendor.astype(np.int64),
            np.array([rules.vendor_minimums.get(str(name), 0) for name in vendors], dtype=np.int64),
            forced,
            rules,
        )

    def __call__(self, relaxed: Floats, seconds: float) -> Floats:
        """Return a point of the program."""
        deadline = time.perf_counter() + seconds
        worth = self.net / np.maximum(self.cost, 1e-9) if math.isfinite(self.rules.budget) else self.net
        plan = _Plan(self)
        # What the relaxation wants first, then what it leaves out, the best for the money first.
        order = np.lexsort((-worth, -np.round(relaxed, 6)))
        promised = self.vendor_least[self.vendor] > 0
        for offer in order[promised[order]]:
            if plan.of_vendor[self.vendor[offer]] < self.vendor_least[self.vendor[offer]]:
                plan.add(int(offer))
        for offer in order[(self.net[order] > 0) & ~self.forced[order]]:
            plan.add(int(offer))
        plan.exchange(deadline)
        return plan.chosen.astype(float)


class _Plan:
    """Offers chosen so far, and what is left of each limit."""

    def __init__(self, search: OfferSearch) -> None:
        self.search = search
        n = search.net.size
        self.chosen = np.zeros(n, dtype=bool)
        self.spent = 0.0
        self.in_slot = np.zeros(1 + int(search.slot.max(initial=-1)), dtype=np.int64)
        self.on_channel = np.zeros(1 + int(search.channel_slot.max(initial=-1)), dtype=np.int64)
        self.spent_on = np.zeros(search.channel_budget.size)
        self.of_vendor = np.zeros(search.vendor_least.size, dtype=np.int64)
        self.of_sku: list[list[int]] = [[] for _ in range(1 + int(search.sku.max(initial=-1)))]

    def fits(self, offer: int) -> bool:
        search, rules = self.search, self.search.rules
        mine = self.of_sku[search.sku[offer]]
        channel = search.channel[offer]
        return (
            not self.chosen[offer]
            and self.spent + search.cost[offer] <= rules.budget
            and self.spent_on[channel] + search.cost[offer] <= search.channel_budget[channel]
            and self.in_slot[search.slot[offer]] < rules.max_per_category_period
            and self.on_channel[search.channel_slot[offer]] < search.channel_most[search.channel_slot[offer]]
            and len(mine) < rules.max_per_sku
            and all(abs(int(search.period[offer] - search.period[other])) >= rules.spacing for other in mine)
        )

    def add(self, offer: int) -> bool:
        if not self.fits(offer):
            return False
        self._count(offer, 1)
        return True

    def exchange(self, deadline: float) -> None:
        """Replace an offer by one of the same SKU or slot that brings more, while there is one and time."""
        search = self.search
        by_sku, by_slot = _members(search.sku), _members(search.slot)
        improved = True
        while improved and time.perf_counter() < deadline:
            improved = False
            for old in np.flatnonzero(self.chosen)[np.argsort(search.net[self.chosen], kind="stable")]:
                self._count(int(old), -1)
                rivals = np.concatenate([by_sku[search.sku[old]], by_slot[search.slot[old]]])
                rivals = rivals[(search.net[rivals] > search.net[old] + 1e-9) & ~self.chosen[rivals]]
                rivals = rivals[~search.forced[rivals]]
                if self.of_vendor[search.vendor[old]] < search.vendor_least[search.vendor[old]]:
                    rivals = rivals[search.vendor[rivals] == search.vendor[old]]
                better = next(
                    (
                        int(r)
                        for r in rivals[np.argsort(-search.net[rivals], kind="stable")]
                        if self.fits(int(r))
                    ),
                    -1,
                )
                self._count(better if better >= 0 else int(old), 1)
                improved |= better >= 0
                if time.perf_counter() >= deadline:
                    return

    def _count(self, offer: int, change: int) -> None:
        search = self.search
        self.chosen[offer] = change > 0
        self.spent += change * float(search.cost[offer])
        self.in_slot[search.slot[offer]] += change
        self.on_channel[search.channel_slot[offer]] += change
        self.spent_on[search.channel[offer]] += change * float(search.cost[offer])
        self.of_vendor[search.vendor[offer]] += change
        if change > 0:
            self.of_sku[search.sku[offer]].append(offer)
        else:
            self.of_sku[search.sku[offer]].remove(offer)


def _members(group: Ints) -> list[Ints]:
    """Offers of each group."""
    order = np.argsort(group, kind="stable")
    cuts = np.flatnonzero(np.diff(group[order])) + 1
    return np.split(order, cuts)
