"""One category's range problem as arrays."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from geomarket.assortment.rules import RangeRules

__all__ = ["Limit", "RangeProblem", "empty_transfer"]

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Limit:
    """Least and most of the SKUs marked in ``members`` (shape (n_skus,)) in the planograms marked in ``where``."""

    members: Bools
    where: Bools
    least: int
    most: int
    words: str


def empty_transfer() -> tuple[Ints, Floats]:
    """No substitution: no pairs of SKUs."""
    return np.zeros((0, 2), dtype=np.int64), np.zeros((0, 0))


@dataclass(frozen=True)
class RangeProblem:
    """A category over all planograms (one per store cluster and size).

    Attributes
    ----------
    category : str
    skus : ndarray of shape (n_skus,)
    clusters : tuple of str
        Store clusters with space for the category.
    cluster : ndarray of shape (n_planograms,)
        Number of the planogram's cluster; a cluster's planograms follow each other, smallest first.
    tiers : tuple of str
        Size of each planogram ("S", "M", "L" or "all").
    stores : ndarray of shape (n_planograms,)
        Stores that use it.
    capacity : ndarray of shape (n_planograms,)
    space : ndarray of shape (n_skus,)
        What one facing takes, in the capacity's unit.
    margin : ndarray of shape (n_planograms, n_skus)
        Money per period if all stores of the planogram list the SKU, first-choice demand alone.
    core : ndarray of shape (n_skus,)
        SKUs named for the core.
    must, banned : ndarray of shape (n_planograms, n_skus)
        Listings demanded and forbidden.
    slow : ndarray of shape (n_planograms, n_skus)
        Listings forbidden because a case would last too long.
    units : ndarray of shape (n_planograms, n_skus)
        First-choice units per period; needed with a minimum order quantity.
    pairs : ndarray of shape (n_pairs, 2)
        SKU and its substitute, where demand moves from the one to the other when the one is not listed.
    transfer : ndarray of shape (n_planograms, n_pairs)
        Money per period the substitute gains in the stores of the planogram.
    listed_today : ndarray of shape (n_planograms, n_skus)
        Stores of the planogram that list the SKU today.
    ranges_today, store_planogram : ndarray of shape (n_stores, n_skus) and (n_stores,)
        Today's range of each store, and its planogram; needed with a cap on changes.
    centres : ndarray of shape (n_centres, n_planograms)
        Which distribution centre serves a store of which planogram.
    order_units : ndarray of shape (n_skus,)
        Units per period the chain has to sell of a listed SKU.
    at_stake : ndarray of shape (n_planograms, n_skus)
        Money per period that is lost elsewhere where the SKU leaves the shelf.
    limits : tuple of Limit
    shared : tuple of int or None
        Numbers of the clusters that take one common range: all their planograms are nested by size. None leaves it
        to the program which clusters do.
    """

    category: str
    skus: npt.NDArray[np.str_]
    clusters: tuple[str, ...]
    cluster: Ints
    tiers: tuple[str, ...]
    stores: Ints
    capacity: Floats
    space: Floats
    margin: Floats
    core: Bools
    must: Bools
    banned: Bools
    slow: Bools | None = None
    units: Floats | None = None
    pairs: Ints = field(default_factory=lambda: empty_transfer()[0])
    transfer: Floats = field(default_factory=lambda: empty_transfer()[1])
    listed_today: Ints | None = None
    ranges_today: Bools | None = None
    store_planogram: Ints | None = None
    centres: Bools | None = None
    order_units: Floats | None = None
    at_stake: Floats | None = None
    limits: tuple[Limit, ...] = ()
    shared: tuple[int, ...] | None = ()

    @property
    def shape(self) -> tuple[int, int]:
        """Planograms and SKUs."""
        return self.capacity.size, self.skus.size

    @property
    def closed(self) -> Bools:
        """Listings forbidden for any reason."""
        return self.banned if self.slow is None else self.banned | self.slow

    @property
    def largest(self) -> Ints:
        """Number of the largest planogram of each cluster."""
        return np.flatnonzero(np.append(self.cluster[1:] != self.cluster[:-1], True))

    @property
    def smallest(self) -> Ints:
        """Number of the smallest planogram of each cluster."""
        return np.flatnonzero(np.append(True, self.cluster[1:] != self.cluster[:-1]))

    @property
    def chains(self) -> list[Ints]:
        """The ranges: planograms of which each is part of the next, of one cluster or of those that share."""
        alone = [number for number in range(len(self.clusters)) if number not in (self.shared or ())]
        runs = [np.flatnonzero(self.cluster == number) for number in alone]
        if self.shared:
            together = np.flatnonzero(np.isin(self.cluster, self.shared))
            runs.append(together[np.argsort(self.capacity[together], kind="stable")])
        return runs

    @property
    def nested(self) -> Ints:
        """Pairs of planograms, the first of which is part of the second, shape (n_pairs, 2)."""
        pairs = [np.column_stack([run[:-1], run[1:]]) for run in self.chains]
        return np.concatenate([np.zeros((0, 2), dtype=np.int64), *pairs])

    def core_planograms(self, rules: RangeRules) -> Ints:
        """Planograms a core SKU must be in (with nesting, all larger ones follow)."""
        return self.smallest if rules.core_in == "every_store" else self.largest

    def core_needed(self, rules: RangeRules) -> float:
        """Space the common core must fill: a share of the smallest range; whole SKUs when counted."""
        need = rules.core_share * float(self.capacity[self.core_planograms(rules)].min())
        return math.ceil(need - 1e-9) if rules.unit == "count" else need

    def name(self, planogram: int) -> str:
        """Words for one planogram."""
        cluster = self.clusters[self.cluster[planogram]]
        tier = self.tiers[planogram]
        return cluster if tier == "all" else f"{cluster} size {tier}"

    def listing_value(self, rules: RangeRules) -> tuple[Floats, float]:
        """Money of each listing net of costs that hang on it alone, and the money of listing nothing.

        A listing saves the delistings of the stores that have the SKU today and costs the listings of the others.
        """
        worth = self.margin.copy()
        worth[self.largest] -= rules.listing_cost
        nothing = 0.0
        if self.at_stake is not None:
            worth += self.at_stake
            nothing -= float(self.at_stake.sum())
        if rules.change_cost and self.listed_today is not None:
            others = self.stores[:, None] - self.listed_today
            worth += rules.change_cost * (self.listed_today - others)
            nothing -= rules.change_cost * float(self.listed_today.sum())
        return worth, nothing

    def worth(self, facings: Ints, rules: RangeRules) -> float:
        """Money per period of a plan, worked out from the facings alone."""
        listed = facings > 0
        returns = np.concatenate([[0.0, 1.0], 1.0 + np.cumsum(rules.facing_returns)])
        money = float((self.margin * returns[facings]).sum())
        if self.pairs.size:
            moved = ~listed[:, self.pairs[:, 0]] & listed[:, self.pairs[:, 1]]
            money += float((self.transfer * moved).sum())
        money -= rules.listing_cost * int(listed[self.largest].sum())
        money -= rules.sku_cost * int(listed.any(axis=0).sum())
        if rules.dc_cost and self.centres is not None:
            money -= rules.dc_cost * sum(int(listed[served].any(axis=0).sum()) for served in self.centres)
        if rules.change_cost and self.listed_today is not None:
            changes = np.where(listed, self.stores[:, None] - self.listed_today, self.listed_today)
            money -= rules.change_cost * float(changes.sum())
        if self.at_stake is not None:
            money -= float((self.at_stake * ~listed).sum())
        if rules.range_cost:
            money -= rules.range_cost * self.distinct_ranges(listed)
        return money

    def distinct_ranges(self, listed: Bools) -> int:
        """Count the ranges there are: clusters whose planograms fit one nested ladder share one.

        Only one ladder is shared, as in the program; the largest set of clusters on it is searched exactly.
        """
        n = len(self.clusters)
        order = np.argsort(self.capacity, kind="stable")

        def nested(a: int, b: int) -> bool:
            ladder = listed[order[np.isin(self.cluster[order], [a, b])]]
            return not (ladder[:-1] & ~ladder[1:]).any()

        pairs = np.eye(n, dtype=bool)
        for a in range(n):
            for b in range(a):
                pairs[a, b] = pairs[b, a] = nested(a, b)
        return n + 1 - _largest_clique(pairs) if n else 0


def _largest_clique(pairs: Bools) -> int:
    """Size of the largest set of mutually nested clusters (nesting is pairwise)."""
    best = 0

    def grow(size: int, candidates: list[int]) -> None:
        nonlocal best
        best = max(best, size)
        for i, vertex in enumerate(candidates):
            if size + len(candidates) - i <= best:
                return
            grow(size + 1, [other for other in candidates[i + 1 :] if pairs[vertex, other]])

    grow(0, list(range(len(pairs))))
    return best
