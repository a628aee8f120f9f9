"""The rules a range has to keep."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Literal

from geomarket.errors import SettingsError

__all__ = ["RangeRules", "SkuList"]

#: SKUs for the whole chain, or a mapping from store cluster to its SKUs.
SkuList = Sequence[str] | Mapping[str, Sequence[str]]


@dataclass(frozen=True)
class RangeRules:
    """What a planner demands of the ranges, category by category.

    Money is per sales period, the unit of the demand table's ``margin``: a listing that costs 52 a year costs
    1 a week.

    Parameters
    ----------
    unit : {"count", "width_cm"}
        What a planogram's space is counted in: SKUs, or centimetres of shelf (``products.width_cm``).
    max_tiers : int
        Planogram sizes a store cluster may have in a category (1 to 3). A smaller one is always part of the next.
    tier_spread : float
        A cluster gets another size while its stores' space today deviates from their size's mean by more than
        this share on average.
    core : SkuList
        SKUs that must be in the range of every store cluster.
    core_share : float
        Share (0..1) of the smallest range that has to be common to all clusters; the model picks which SKUs.
    core_in : {"every_cluster", "every_store"}
        Where the core is listed: in the largest planogram of each cluster at least, or in every planogram.
    must_list, must_not : SkuList
        SKUs that every store lists, or none does: chain-wide, or by store cluster.
    min_stores : int
        A SKU is listed in at least so many stores, or in none.
    listing_cost : float
        Money per period for each SKU in each store cluster's range.
    range_cost : float
        Money per period for each distinct range. A cluster that takes the chain's common range (one nested
        ladder from the smallest planogram to the largest) shares its cost with the others that do. At 0 every
        cluster has a range of its own.

    Examples
    --------
    >>> RangeRules(core_share=0.2, min_stores=3).core_share
    0.2
    """

    unit: Literal["count", "width_cm"] = "count"
    max_tiers: int = 3
    tier_spread: float = 0.15
    core: SkuList = ()
    core_share: float = 0.0
    core_in: Literal["every_cluster", "every_store"] = "every_cluster"
    must_list: SkuList = ()
    must_not: SkuList = ()
    min_stores: int = 1
    listing_cost: float = 0.0
    range_cost: float = 0.0

    def __post_init__(self) -> None:
        if self.unit not in ("count", "width_cm"):
            raise SettingsError(f"unit {self.unit!r} is not supported. Use 'count' or 'width_cm'.")
        if self.core_in not in ("every_cluster", "every_store"):
            raise SettingsError(
                f"core_in {self.core_in!r} is not supported. Use 'every_cluster' or 'every_store'."
            )
        if not 1 <= self.max_tiers <= 3:
            raise SettingsError(f"max_tiers is {self.max_tiers}; a cluster has 1 to 3 planogram sizes.")
        if not 0 <= self.core_share <= 1:
            raise SettingsError(f"core_share is {self.core_share}; give a share between 0 and 1.")
        if isinstance(self.core, Mapping):
            raise SettingsError(
                "core is the same in every store cluster: give SKUs, not a mapping. See must_list."
            )
        for name in (f.name for f in fields(self)):
            value = getattr(self, name)
            if isinstance(value, str) and name in ("core", "must_list", "must_not"):
                raise SettingsError(f"{name} is one string; give a list of SKUs.")
            if isinstance(value, (int, float)) and (not math.isfinite(value) or value < 0):
                raise SettingsError(f"{name} is {value}; give a finite number of at least 0.")


def skus_of(rule: SkuList, store_cluster: str) -> frozenset[str]:
    """Return the SKUs a list names for one store cluster."""
    if isinstance(rule, Mapping):
        return frozenset(rule.get(store_cluster, ()))
    return frozenset(rule)


def all_skus(rule: SkuList) -> frozenset[str]:
    """Return every SKU a list names for any store cluster."""
    if isinstance(rule, Mapping):
        return frozenset(sku for skus in rule.values() for sku in skus)
    return frozenset(rule)
