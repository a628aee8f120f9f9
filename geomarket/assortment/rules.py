"""The rules a range has to keep."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Literal

from geomarket.errors import SettingsError

__all__ = ["RangeLimit", "RangeRules", "SkuList"]

#: SKUs for the whole chain, or a mapping from store cluster to its SKUs.
SkuList = Sequence[str] | Mapping[str, Sequence[str]]


@dataclass(frozen=True)
class RangeLimit:
    """Least and most SKUs of a kind in every planogram.

    Parameters
    ----------
    column : str
        Column of the products table ("subcategory", "brand", "price_tier" …); "price_tier" is made from the price
        where the table has none ("low", "middle", "high": thirds of the category).
    value : str
        The kind: its value in that column.
    least, most : int
        SKUs of it in a planogram.
    store_cluster : str, optional
        Only in this cluster.

    Examples
    --------
    >>> RangeLimit("subcategory", "Decaf", least=1).words
    'at least 1 SKU with subcategory Decaf'
    """

    column: str
    value: str
    least: int = 0
    most: int = 1_000_000
    store_cluster: str | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.least <= self.most:
            raise SettingsError(
                f"limit on {self.column} {self.value}: least is {self.least} and most {self.most}; "
                "give 0 <= least <= most."
            )

    @property
    def words(self) -> str:
        """What the limit demands."""
        parts = [f"at least {self.least}"] if self.least else []
        parts += [f"at most {self.most}"] if self.most < 1_000_000 else []
        plural = "" if (self.most if self.most < 1_000_000 else self.least) == 1 else "s"
        where = f" in {self.store_cluster}" if self.store_cluster else ""
        return f"{' and '.join(parts) or 'any number of'} SKU{plural} with {self.column} {self.value}{where}"


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
    sku_cost : float
        Money per period for each SKU that any store of the chain lists.
    max_distinct : int or None
        Most SKUs of a category in the whole chain.
    dc_cost : float
        Money per period for each SKU that a distribution centre stocks; which centre serves which store is given to
        :func:`plan_ranges`.
    change_cost : float
        Money per period for each listing and each delisting in a store against today, what it costs once spread
        over the time the range stands.
    max_changes : int or None
        Most listings and delistings together in any one store and category.
    phase_share : float or None
        Most of a store's range in a category that one phase lists, and delists, as a share of its SKUs (one at
        least). The changes worth most come first; without it they are all made at once. Unlike ``max_changes`` this
        never changes the range planned, only when each change is made.
    wait_for_proof : bool
        A swap that does not earn ``change_cost`` at the lower end of its 90% interval waits for a trial.
    max_facings : int
        Most facings of a SKU; each takes its width again (or a place, if counted).
    facing_returns : tuple of float
        Extra margin from the second, third … facing, as shares of the margin with one. An assumption of the planner.
    limits : tuple of RangeLimit
        Least and most SKUs of a kind.
    order_periods : float or None
        Periods of the chain's sales that one order to the supplier may cover. A SKU whose minimum order quantity
        (``products.moq``, units) would last longer is not listed.
    case_periods : float or None
        Periods that one case may last in a store. A SKU of which the average store of a planogram would take longer
        to sell a case (``products.case_pack``, units) is not listed there.
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
    sku_cost: float = 0.0
    max_distinct: int | None = None
    dc_cost: float = 0.0
    change_cost: float = 0.0
    max_changes: int | None = None
    phase_share: float | None = None
    wait_for_proof: bool = False
    max_facings: int = 1
    facing_returns: tuple[float, ...] = ()
    limits: tuple[RangeLimit, ...] = ()
    order_periods: float | None = None
    case_periods: float | None = None
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
        if self.phase_share is not None and not 0 < self.phase_share <= 1:
            raise SettingsError(f"phase_share is {self.phase_share}; give a share above 0 and at most 1.")
        if not 0 <= self.core_share <= 1:
            raise SettingsError(f"core_share is {self.core_share}; give a share between 0 and 1.")
        if self.max_facings < 1 or len(self.facing_returns) != self.max_facings - 1:
            raise SettingsError(
                f"max_facings is {self.max_facings} and facing_returns has {len(self.facing_returns)} values; give one "
                "for each facing after the first."
            )
        if any(not math.isfinite(share) or share < 0 for share in self.facing_returns):
            raise SettingsError("facing_returns must be finite shares of at least 0.")
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
