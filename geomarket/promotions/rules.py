"""The rules a promotion plan has to keep."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from geomarket.errors import SettingsError

__all__ = ["PromotionRules"]

Channel = Literal["shelf", "display", "mailer"]


@dataclass(frozen=True)
class PromotionRules:
    """What may be promoted, how often, for how much.

    Parameters
    ----------
    depths : tuple of float
        Price cuts to choose from, as shares of the price.
    channels : tuple of {"shelf", "display", "mailer"}
        How an offer is shown: at the shelf only, on a display, or in the leaflet. Displays and leaflets are planned
        only where their effect could be estimated.
    budget : float
        Money for the whole horizon: price cuts on all units sold on offer, plus contact cost, less funding.
    max_per_category_period : int
        Most offers of a category in one period and store cluster.
    channel_slots : mapping of channel to int
        Most offers of a category on that channel in one period and store cluster. Channels not named have no limit
        of their own.
    max_per_sku : int
        Most offers of a SKU over the horizon in one store cluster.
    spacing : int
        Periods from one offer of a SKU to its next, at least (4: on offer at most every fourth period).
    funding_share : float
        Share (0..1) of the price cut that the supplier pays, on every unit sold on offer.
    contact_cost : mapping of channel to float
        Money per store and period for one offer on that channel.
    cannibalisation : float
        Share (0..1) of an offer's extra units that other SKUs of the category in the same stores lose. An
        assumption: it is not estimated.

    Examples
    --------
    >>> PromotionRules(depths=(0.2,), budget=1000.0).spacing
    4
    """

    depths: tuple[float, ...] = (0.1, 0.2, 0.3)
    channels: tuple[Channel, ...] = ("shelf", "display", "mailer")
    budget: float = math.inf
    max_per_category_period: int = 3
    channel_slots: Mapping[str, int] = field(default_factory=lambda: {"display": 1, "mailer": 1})
    max_per_sku: int = 3
    spacing: int = 4
    funding_share: float = 0.0
    contact_cost: Mapping[str, float] = field(default_factory=dict)
    cannibalisation: float = 0.25

    def __post_init__(self) -> None:
        if not self.depths or any(not 0 < depth < 1 for depth in self.depths):
            raise SettingsError(
                f"depths is {self.depths}; give price cuts between 0 and 1, such as (0.1, 0.2)."
            )
        if len(set(self.depths)) < len(self.depths) or len(set(self.channels)) < len(self.channels):
            raise SettingsError("depths or channels names the same choice twice.")
        known = {"shelf", "display", "mailer"}
        for name in ("channels", "channel_slots", "contact_cost"):
            unknown = sorted(set(getattr(self, name)) - known)
            if unknown:
                raise SettingsError(
                    f"{name}: channel {unknown[0]!r} is not known. Use shelf, display or mailer."
                )
        for name in ("funding_share", "cannibalisation"):
            if not 0 <= getattr(self, name) <= 1:
                raise SettingsError(f"{name} is {getattr(self, name)}; give a share between 0 and 1.")
        if math.isnan(self.budget) or self.budget < 0:
            raise SettingsError(f"budget is {self.budget}; give an amount of at least 0.")
        if self.spacing < 1 or self.max_per_sku < 0 or self.max_per_category_period < 0:
            raise SettingsError(
                "spacing must be at least 1; max_per_sku and max_per_category_period at least 0."
            )
        if any(not math.isfinite(cost) or cost < 0 for cost in self.contact_cost.values()):
            raise SettingsError("contact_cost must be finite and at least 0 on every channel.")
