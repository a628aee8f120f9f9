"""The sections of ``plan.toml`` on offers: what is promoted, who is told, who is left out, how it is measured."""

from __future__ import annotations

import datetime as dt
from typing import Annotated, Literal

from pydantic import Field, model_validator

from geomarket.market.stage_settings import Positive, Section, Share

__all__ = [
    "BanSettings",
    "BlackoutSettings",
    "FairnessSettings",
    "MeasurementSettings",
    "PromotionSettings",
    "TargetingSettings",
]


class BlackoutSettings(Section):
    """One ``[[promotions.blackouts]]``."""

    first: dt.date
    """First day without promotions."""
    last: dt.date
    """Last day without promotions."""
    categories: tuple[str, ...] = ()
    """Categories meant; all by default."""

    @model_validator(mode="after")
    def _in_order(self) -> BlackoutSettings:
        if self.last < self.first:
            raise ValueError(f"a blackout ends ({self.last}) before it begins ({self.first})")
        return self


class BanSettings(Section):
    """One ``[[promotions.bans]]``."""

    name: str
    """What it is, as it stands in messages."""
    categories: tuple[str, ...] = ()
    """Categories meant."""
    skus: tuple[str, ...] = ()
    """SKUs meant."""
    attribute: str = ""
    """Column of products that is true for the products meant."""
    mechanics: tuple[str, ...] = ()
    """Mechanics banned; any by default."""
    channels: tuple[Literal["shelf", "display", "mailer"], ...] = ()
    """Channels banned; any by default."""
    max_depth: float = Field(default=0.0, ge=0, le=0.9)
    """Price cuts up to this deep are allowed."""


class PromotionSettings(Section):
    """Section ``[promotions]``."""

    enabled: bool = True
    """Whether promotions are planned, where their history is given."""
    budget: float | None = Field(default=None, ge=0)
    """Money for the whole horizon, net of suppliers' funding; as much as in the last such stretch by default."""
    horizon: int = Field(default=13, ge=1, le=106)
    """Periods planned."""
    start: dt.date | None = None
    """First day planned; the period after the last sales by default."""
    depths: tuple[Annotated[float, Field(gt=0, le=0.9)], ...] = Field(default=(0.1, 0.2, 0.3), min_length=1)
    """Price cuts to choose from, as shares of the price."""
    max_per_category_period: int = Field(default=3, ge=0)
    """Most promotions of a category in one period and store cluster."""
    max_per_sku: int = Field(default=3, ge=0)
    """Most promotions of a SKU over the horizon in one store cluster."""
    spacing: int = Field(default=4, ge=1)
    """Periods from one promotion of a SKU to its next."""
    funding_share: Share = 0.0
    """Share of the price cut that suppliers pay."""
    contact_cost: float = Field(default=0.0, ge=0)
    """Money for showing one promotion in the leaflet of one store for one period."""
    display_cost: float = Field(default=0.0, ge=0)
    """Money for showing one promotion on a display in one store for one period."""
    mechanics: tuple[str, ...] | None = None
    """Mechanics to choose from, named as in promotions; all whose effect is known by default."""
    channels: tuple[Literal["shelf", "display", "mailer"], ...] = Field(
        default=("shelf", "display", "mailer"), min_length=1
    )
    """How promotions may be shown; displays and leaflets only where the history has them."""
    channel_budgets: dict[Literal["shelf", "display", "mailer"], Annotated[float, Field(ge=0)]] = Field(
        default_factory=dict
    )
    """Money for the promotions on one channel, such as { mailer = 5000.0 }; only the whole budget by default."""
    channel_slots: dict[Literal["shelf", "display", "mailer"], Annotated[int, Field(ge=0)]] = Field(
        default={"display": 1, "mailer": 1}
    )
    """Most promotions of a category on one channel in one period and store cluster."""
    max_depth: float = Field(default=0.9, gt=0, le=0.9)
    """Deepest price cut."""
    max_depth_by: dict[str, Annotated[float, Field(ge=0, le=0.9)]] = Field(default_factory=dict)
    """Deepest price cut of some categories, such as { Wine = 0.2 }."""
    price_endings: tuple[Annotated[float, Field(ge=0, lt=1)], ...] = ()
    """What promoted prices end in, such as [0.99, 0.49]; anything by default."""
    blackouts: tuple[BlackoutSettings, ...] = ()
    """Days without promotions: first, last (inclusive) and, if not for all, categories."""
    bans: tuple[BanSettings, ...] = ()
    """What law or house forbids: name; categories, skus or attribute (a column of products); mechanics, channels,
    max_depth."""
    most_pairs: int = Field(default=200_000, ge=1_000)
    """Most pairs of store and SKU the response is estimated from; of larger chains a part of the stores."""
    vendor_column: str = "vendor"
    """Column of products that names the vendor."""
    vendor_minimums: dict[str, Annotated[int, Field(ge=0)]] = Field(default_factory=dict)
    """Promotions (SKU, store cluster and period) promised to vendors, such as { Acme = 4 }; made even at a loss."""
    cannibalisation: Share = 0.25
    """Share of extra units that other SKUs of the category lose: an assumption where it can't be estimated."""
    halo: bool = True
    """Whether known effects on other categories count."""
    confidence: float = Field(default=0.8, ge=0.5, lt=1)
    """How sure it must be that a promotion pays; 0.5 plans by the expected response alone."""
    holdout: bool = True
    """Whether the response is checked on promotions held out of the fit."""
    time_limit: Positive = 120.0
    """Seconds for the planner."""
    gap: Share = 0.001
    """A solution proven this close to the best possible is good enough."""

    @model_validator(mode="after")
    def _depths_rise(self) -> PromotionSettings:
        if list(self.depths) != sorted(set(self.depths)):
            raise ValueError(f"depths must rise, such as [0.1, 0.2]; got {list(self.depths)}")
        return self


Channel = Literal["mail", "mobile", "email"]


class TargetingSettings(Section):
    """Section ``[targeting]``."""

    enabled: bool = True
    """Whether the plan says where leaflets and messages about its promotions should go."""
    leaflet_lift: Literal["auto"] | Annotated[float, Field(gt=0, le=5)] = "auto"
    """Extra units of an offer among those its leaflet reaches (0.2: a fifth more); "auto" takes what the history of
    leaflets shows, category by category."""
    cost_per_door: float = Field(default=0.08, ge=0)
    """Money for one leaflet, printed and dropped at one door."""
    door_drop_budget: float | None = Field(default=None, ge=0)
    """Most money for door drops over the horizon; wherever they pay by default."""
    max_drops_per_hexagon: int | None = Field(default=None, ge=0)
    """Most door drops in one hexagon over the horizon; one a period by default."""
    doors: str = "households"
    """Count of the area layers that stands for doors; people / people_per_door where no layer has it."""
    people_per_door: Positive = 2.2
    """People behind one door, where doors are not counted."""
    only_where: dict[str, float] = Field(default={})
    """Hexagons below any of these values of census variables get no door drop, such as { hh_children = 0.3 }."""
    channels: tuple[Channel, ...] = ("mail", "mobile")
    """Channels customers may be addressed by, where they consented."""
    cost_per_mail: float = Field(default=0.7, ge=0)
    """Money for one letter."""
    cost_per_mobile: float = Field(default=0.05, ge=0)
    """Money for one message or coupon on the phone."""
    cost_per_email: float = Field(default=0.01, ge=0)
    """Money for one e-mail."""
    contact_budget: float | None = Field(default=None, ge=0)
    """Most money for letters and messages over the horizon; wherever they pay by default."""
    max_contacts_per_customer: int = Field(default=2, ge=0)
    """Most letters and messages together to one customer over the horizon."""
    spend_periods: int = Field(default=26, ge=1)
    """Periods whose spending says what a customer is expected to spend."""
    contact_lists: tuple[Channel, ...] = ()
    """Channels whose list of customer_id is written into the output, such as ["mail"]. None by default: the output
    then holds no line about a single person."""
    allow_protected: tuple[str, ...] = ()
    """Protected traits that may steer targeting after all, each by its name. None by default."""

    @model_validator(mode="after")
    def _channels_differ(self) -> TargetingSettings:
        for name, values in (("channels", self.channels), ("contact_lists", self.contact_lists)):
            if len(set(values)) < len(values):
                raise ValueError(f"{name} names a channel twice")
        if unused := sorted(set(self.contact_lists) - set(self.channels)):
            raise ValueError(f"contact_lists names {', '.join(unused)}, which channels does not")
        return self


class FairnessSettings(Section):
    """Section ``[fairness]``."""

    enabled: bool = True
    """Whether the plan says what deprived and well-off areas are offered."""
    attribute: str = "auto"
    """Census variable by which areas are ranked, such as "income_low"; "auto" takes the first of the usual measures of
    deprivation the layers have."""
    low_is_deprived: bool | None = None
    """true where low values mean deprived, as for an income; told from the name by default."""
    band: tuple[Positive, Positive] = (0.8, 1.25)
    """Ratios outside are warned of: what the most deprived fifth of the people is offered over the least deprived."""
    confidence: float = Field(default=0.9, gt=0, lt=1)
    """Level of the intervals."""

    @model_validator(mode="after")
    def _band_is_around_one(self) -> FairnessSettings:
        if not self.band[0] < 1 < self.band[1]:
            raise ValueError(f"band must lie around 1, such as [0.8, 1.25]; got {list(self.band)}")
        return self


class MeasurementSettings(Section):
    """Section ``[measurement]``."""

    enabled: bool = True
    """Whether a test of the plan is designed: which stores change first, which wait, and what can be seen."""
    periods: Annotated[int, Field(ge=1, le=106)] | None = None
    """Length of the test; 13 weeks or 3 months by default."""
    baseline: Annotated[int, Field(ge=2, le=212)] | None = None
    """Periods before the test it is compared with; twice its length by default."""
    kpi: Literal["auto", "margin", "revenue", "units"] = "auto"
    """What is measured; "auto" takes margin where nearly all costs are known, else revenue."""
    wanted_effect: float = Field(default=0.03, gt=0, le=1)
    """Smallest change that matters, as a share of the kpi."""
    confidence: float = Field(default=0.9, gt=0.5, lt=1)
    """Level of the two-sided intervals."""
    power: float = Field(default=0.8, gt=0.5, lt=1)
    """Chance wanted of seeing an effect that is there."""
    buffer_rings: int = Field(default=2, ge=0, le=30)
    """Rings of hexagons kept between any two stores of the test."""
    keep_apart: Literal["stores", "catchments"] = "stores"
    """What the rings are counted between: the stores' own hexagons, or their core catchments, which leaves fewer."""
    max_pairs: Annotated[int, Field(ge=3)] | None = None
    """Most pairs of stores; as many as there are by default."""
    seed: Annotated[int, Field(ge=0, lt=2**32)] | None = None
    """Seed of the draw of test and control; the plan's seed by default."""
