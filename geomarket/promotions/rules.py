"""The rules a promotion plan has to keep."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from geomarket.errors import SettingsError, TableError

__all__ = ["Ban", "Blackout", "PromotionRules"]

Channel = Literal["shelf", "display", "mailer"]
CHANNELS = ("shelf", "display", "mailer")
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Blackout:
    """Days on which nothing, or nothing of some categories, may be on offer.

    Parameters
    ----------
    first, last : date
        Inclusive; a period that holds any of the days is blacked out.
    categories : tuple of str
        All where empty.
    """

    first: dt.date
    last: dt.date
    categories: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.last < self.first:
            raise SettingsError(f"blackout: it ends ({self.last}) before it begins ({self.first}).")


@dataclass(frozen=True)
class Ban:
    """A law or a house rule: offers that must not be made of some products.

    A product is meant if it is in one of ``categories``, is one of ``skus``, or has a true value in the products'
    column ``attribute``; all products where none of the three is given. Of those, offers with one of ``mechanics``
    (any where empty) on one of ``channels`` (any where empty) are banned; with ``max_depth``, only deeper ones.

    Parameters
    ----------
    name : str
        As it stands in messages, such as "multibuys on food high in fat, sugar or salt".
    categories, skus, mechanics, channels : tuple of str
    attribute : str
        Column of products that marks the products meant; empty for none.
    max_depth : float
        Price cuts up to this deep are allowed; 0 bans all.
    """

    name: str
    categories: tuple[str, ...] = ()
    skus: tuple[str, ...] = ()
    attribute: str = ""
    mechanics: tuple[str, ...] = ()
    channels: tuple[str, ...] = ()
    max_depth: float = 0.0

    def meant(self, products: pd.DataFrame) -> pd.Index:
        """Return the SKUs that are meant."""
        if self.attribute and self.attribute not in products:
            raise TableError(
                f"products: no column {self.attribute}, by which the ban {self.name!r} knows its products. "
                f"Its columns are {', '.join(map(str, products.columns))}."
            )
        if not (self.categories or self.skus or self.attribute):
            return pd.Index(products["sku"])
        hit = products["category"].isin(self.categories) | products["sku"].isin(self.skus)
        if self.attribute:
            flag = products[self.attribute]
            hit = hit | flag.isin([True, 1, "1", "true", "True", "yes", "Y", "y"])
        return pd.Index(products.loc[hit, "sku"])

    def hits(self, offers: pd.DataFrame, products: pd.DataFrame) -> Bools:
        """Return which offers are banned."""
        hit = offers["sku"].isin(self.meant(products)) & (offers["depth"] > self.max_depth + 1e-9)
        if self.mechanics:
            hit &= offers["mechanic"].isin(self.mechanics)
        if self.channels:
            hit &= offers["channel"].isin(self.channels)
        return hit.to_numpy()


@dataclass(frozen=True)
class PromotionRules:
    """What may be promoted, how often, for how much.

    Parameters
    ----------
    depths : tuple of float
        Price cuts to choose from, as shares of the price.
    mechanics : tuple of str, optional
        Mechanics to choose from; all whose effect is known where not given. One seen at a single depth only is
        planned at that depth.
    channels : tuple of {"shelf", "display", "mailer"}
        How an offer is shown: at the shelf only, on a display, or in the leaflet. Displays and leaflets are planned
        only where their effect could be estimated.
    budget : float
        Money for the whole horizon: price cuts on all units sold on offer, plus contact cost, less funding.
    channel_budgets : mapping of channel to float
        The same for the offers on one channel.
    max_per_category_period : int
        Most offers of a category in one period and store cluster.
    channel_slots : mapping of channel to int
        Most offers of a category on that channel in one period and store cluster. Channels not named have no limit
        of their own.
    max_per_sku : int
        Most offers of a SKU over the horizon in one store cluster.
    spacing : int
        Periods from one offer of a SKU to its next, at least (4: on offer at most every fourth period).
    max_depth : float
        Deepest price cut.
    max_depth_by : mapping of category to float
        Deepest price cut of some categories.
    price_endings : tuple of float
        What an offer's price must end in, in major units (0.99 and 0.49, say); any where empty. The price is the
        nearest such one, and the depth what it makes of it. For the commonest mechanic: others have no one price.
    blackouts : tuple of Blackout
        When there are no offers.
    bans : tuple of Ban
        What the law or the house does not allow.
    vendor_column : str
        Column of products that names the vendor.
    vendor_minimums : mapping of vendor to int
        Offers (SKU, store cluster and period) a vendor was promised. They are planned even if they lose money.
    funding_share : float
        Share (0..1) of the price cut that the supplier pays, on every unit sold on offer.
    contact_cost : mapping of channel to float
        Money per store and period for one offer on that channel.
    cannibalisation : float
        Share (0..1) of an offer's extra units that other SKUs of the category in the same stores lose: an
        assumption, used for categories for which it could not be estimated.
    halo : bool
        Whether known effects on other categories count.
    confidence : float
        How sure it must be that an offer nets more than nothing (0.5 to 1): offers with a smaller chance are not
        planned. 0.5 plans by the expected response alone.

    Examples
    --------
    >>> PromotionRules(depths=(0.2,), budget=1000.0).spacing
    4
    >>> Ban("no multibuys on sweets", categories=("sweets",), mechanics=("3 for 2",)).max_depth
    0.0
    """

    depths: tuple[float, ...] = (0.1, 0.2, 0.3)
    mechanics: tuple[str, ...] | None = None
    channels: tuple[Channel, ...] = ("shelf", "display", "mailer")
    budget: float = math.inf
    channel_budgets: Mapping[str, float] = field(default_factory=dict)
    max_per_category_period: int = 3
    channel_slots: Mapping[str, int] = field(default_factory=lambda: {"display": 1, "mailer": 1})
    max_per_sku: int = 3
    spacing: int = 4
    max_depth: float = 0.9
    max_depth_by: Mapping[str, float] = field(default_factory=dict)
    price_endings: tuple[float, ...] = ()
    blackouts: tuple[Blackout, ...] = ()
    bans: tuple[Ban, ...] = ()
    vendor_column: str = "vendor"
    vendor_minimums: Mapping[str, int] = field(default_factory=dict)
    funding_share: float = 0.0
    contact_cost: Mapping[str, float] = field(default_factory=dict)
    cannibalisation: float = 0.25
    halo: bool = True
    confidence: float = 0.8

    def __post_init__(self) -> None:
        if not self.depths or any(not 0 < depth < 1 for depth in self.depths):
            raise SettingsError(
                f"depths is {self.depths}; give price cuts between 0 and 1, such as (0.1, 0.2)."
            )
        if len(set(self.depths)) < len(self.depths) or len(set(self.channels)) < len(self.channels):
            raise SettingsError("depths or channels names the same choice twice.")
        for name in ("channels", "channel_slots", "contact_cost", "channel_budgets"):
            unknown = sorted(set(getattr(self, name)) - set(CHANNELS))
            if unknown:
                raise SettingsError(
                    f"{name}: channel {unknown[0]!r} is not known. Use shelf, display or mailer."
                )
        for name in ("funding_share", "cannibalisation", "max_depth"):
            if not 0 <= getattr(self, name) <= 1:
                raise SettingsError(f"{name} is {getattr(self, name)}; give a share between 0 and 1.")
        if not 0.5 <= self.confidence < 1:
            raise SettingsError(f"confidence is {self.confidence}; give a chance from 0.5 to below 1.")
        for where, budget in [("budget", self.budget), *self.channel_budgets.items()]:
            if math.isnan(budget) or budget < 0:
                raise SettingsError(f"{where} is {budget}; give an amount of at least 0.")
        if self.spacing < 1 or self.max_per_sku < 0 or self.max_per_category_period < 0:
            raise SettingsError(
                "spacing must be at least 1; max_per_sku and max_per_category_period at least 0."
            )
        if any(not math.isfinite(cost) or cost < 0 for cost in self.contact_cost.values()):
            raise SettingsError("contact_cost must be finite and at least 0 on every channel.")
        if any(not 0 <= ending < 1 for ending in self.price_endings):
            raise SettingsError(
                f"price_endings is {self.price_endings}; give parts of one unit of money, such as (0.99, 0.49)."
            )
        if any(count < 0 for count in self.vendor_minimums.values()):
            raise SettingsError("vendor_minimums must be at least 0 for every vendor.")

    def deepest(self, category: pd.Series) -> npt.NDArray[np.float64]:
        """Return the deepest price cut allowed, by category."""
        own = category.map(dict(self.max_depth_by)).astype(float)
        return np.minimum(own.fillna(self.max_depth).to_numpy(dtype=float), self.max_depth)

    def blacked_out(self, offers: pd.DataFrame, calendar: Sequence[Any]) -> Bools:
        """Return which offers fall into a blackout."""
        first = pd.DatetimeIndex(pd.to_datetime(list(calendar)))
        step = first[-1] - first[-2] if len(first) > 1 else pd.Timedelta(days=7)
        end = first[1:].append(pd.DatetimeIndex([first[-1] + step])) - pd.Timedelta(days=1)
        hit = np.zeros(len(offers), dtype=bool)
        t = offers["t"].to_numpy(dtype=np.int64)
        for blackout in self.blackouts:
            out = np.asarray((first <= pd.Timestamp(blackout.last)) & (end >= pd.Timestamp(blackout.first)))
            mine = out[t] if len(offers) else hit
            if blackout.categories:
                mine = mine & offers["category"].isin(blackout.categories).to_numpy()
            hit |= mine
        return hit

    def ended(
        self, price: npt.NDArray[np.float64], depth: npt.NDArray[np.float64]
    ) -> npt.NDArray[np.float64]:
        """Return the depth that the nearest price with an allowed ending makes; NaN where that is no cut."""
        if not self.price_endings:
            return depth
        target = price * (1 - depth)
        whole = np.floor(target)[:, None] + np.array([-1.0, 0.0, 1.0])[None, :]
        candidates = (whole[:, :, None] + np.array(sorted(self.price_endings))[None, None, :]).reshape(
            len(price), -1
        )
        candidates = np.where(
            (candidates > 0.005) & (candidates < price[:, None] - 0.005), candidates, np.inf
        )
        nearest = np.abs(candidates - target[:, None]).argmin(axis=1)
        best = candidates[np.arange(len(price)), nearest]
        return np.where(np.isfinite(best), 1 - np.where(np.isfinite(best), best, 0.0) / price, np.nan)

    def check_names(self, products: pd.DataFrame, mechanics: Sequence[str]) -> None:
        """Raise where a rule names a category, SKU, vendor or mechanic that does not exist.

        Raises
        ------
        SettingsError
            Naming what is unknown and what there is.
        TableError
            If products lacks the vendors' column.
        """
        categories = sorted(products["category"].dropna().astype(str).unique())
        named = [("max_depth_by", tuple(self.max_depth_by))]
        named += [("blackouts", b.categories) for b in self.blackouts]
        named += [(f"ban {ban.name!r}", ban.categories) for ban in self.bans]
        for rule, given in named:
            _known(rule, "category", given, categories)
        for ban in self.bans:
            _known(f"ban {ban.name!r}", "SKU", ban.skus, products["sku"].astype(str).tolist())
            _known(f"ban {ban.name!r}", "channel", ban.channels, list(CHANNELS))
        _known("mechanics", "mechanic", self.mechanics or (), list(mechanics))
        if self.vendor_minimums:
            if self.vendor_column not in products:
                raise TableError(
                    f"products: no column {self.vendor_column}, which vendor_minimums needs. Set vendor_column to the "
                    "column that names the vendor."
                )
            vendors = sorted(products[self.vendor_column].dropna().astype(str).unique())
            _known("vendor_minimums", "vendor", tuple(self.vendor_minimums), vendors)


def _known(rule: str, what: str, given: Sequence[str], there: Sequence[str]) -> None:
    unknown = sorted(set(given) - set(there))
    if unknown:
        shown = ", ".join(list(there)[:8]) + (" …" if len(there) > 8 else "")
        raise SettingsError(f"{rule}: {what} {unknown[0]!r} is not known. There are {shown or 'none'}.")
