"""The sections of ``plan.toml`` that belong to the stages, with their defaults.

Those of offers, and of what is made of them, are in :mod:`geomarket.market.offer_settings`.
"""

from __future__ import annotations

import datetime as dt
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

__all__ = [
    "AssortmentSettings",
    "CatchmentSettings",
    "ChangedStore",
    "CustomerSettings",
    "DemandSettings",
    "EngineSettings",
    "FrontierSettings",
    "HexSettings",
    "NeighbourhoodSettings",
    "OpenStore",
    "PrivacySettings",
    "RangeLimitSettings",
    "ReportSettings",
    "Section",
    "StoreClusterSettings",
    "WhatIfSettings",
]

Share = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0)]


class Section(BaseModel):
    """A section of ``plan.toml``: frozen, unknown keys refused, documented field by field."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, use_attribute_docstrings=True, allow_inf_nan=False
    )


class HexSettings(Section):
    """Section ``[hexes]``."""

    resolution: Literal["auto"] | Annotated[int, Field(ge=4, le=11)] = "auto"
    """H3 resolution: 7 is about 5 km², 8 about 0.7 km², 9 about 0.1 km². "auto" fits it to the areas' size."""
    points: bool = True
    """Use population points, where given, to place people inside their area."""


class NeighbourhoodSettings(Section):
    """Section ``[neighbourhoods]``."""

    levels: tuple[Annotated[int, Field(ge=1, le=26)], ...] = Field(default=(6, 3), min_length=1, max_length=3)
    """Number of supergroups, then of groups within each, then of subgroups within each group."""
    transform: Literal["asinh", "log", "yeo-johnson", "none"] = "asinh"
    """What is done to each rate against skew."""
    scaling: Literal["range", "z", "inter-decile"] = "range"
    """What brings the variables to one scale."""
    max_correlation: Share = 0.9
    """Of two variables more correlated than this one is left out."""
    min_population: float = Field(default=10.0, ge=0)
    """Hexagons with fewer people are left without a type."""
    n_init: int = Field(default=20, ge=1, le=1000)
    """Starts of k-means; the best is kept."""
    weights: dict[str, Positive] = {}
    """Weights of single variables, such as { income = 2 }; the others weigh 1."""
    exclude: tuple[str, ...] = ()
    """Variables that do not describe the types."""
    shrink: bool = False
    """Pull shares of small bases towards the average first (empirical Bayes); its gain is not established."""
    scheme: Annotated[str, Field(min_length=1)] | None = None
    """The neighbourhood_scheme.json of an earlier plan: its types, names and corrections are applied unchanged, so
    that figures of two plans can be compared. The settings above then do nothing and must be left out."""
    version: str = Field(default="", max_length=100)
    """Version the types are frozen under in neighbourhood_scheme.json; the plan's name by default."""
    earlier: Annotated[str, Field(min_length=1)] | None = None
    """hexes.parquet of an earlier plan's folder tables: the report then shows what its types became."""
    names: Annotated[str, Field(min_length=1)] | None = None
    """Table of types to rename (CSV, Excel or Parquet): neighbourhood (code), name, reason, author."""
    overrides: Annotated[str, Field(min_length=1)] | None = None
    """Table of hexagons whose type a planner knows better: cell, neighbourhood (code of the finest level), reason,
    author."""

    @model_validator(mode="after")
    def _scheme_stands_alone(self) -> NeighbourhoodSettings:
        if self.scheme is None:
            return self
        fitted = ("levels", "transform", "scaling", "max_correlation", "min_population", "n_init", "weights")
        further = (*fitted, "exclude", "shrink", "version")
        fields = type(self).model_fields
        changed = [name for name in further if getattr(self, name) != fields[name].get_default()]
        if changed:
            raise ValueError(
                f"scheme gives the types as they were fitted, so {', '.join(changed)} would do nothing; leave "
                f"{'it' if len(changed) == 1 else 'them'} out, or leave out scheme to fit anew"
            )
        return self


class OpenStore(Section):
    """A store that a what-if opens."""

    name: str = Field(min_length=1)
    """What the report calls it."""
    lon: float = Field(ge=-180, le=180)
    """Longitude, degrees."""
    lat: float = Field(ge=-90, le=90)
    """Latitude, degrees."""
    size_m2: Positive | None = None
    """Sales floor, square metres."""
    format: str | None = None
    """Format, as other stores have it."""
    chain: str | None = None
    """Chain, as other stores have it."""
    own: bool = True
    """false: a competitor opens it."""
    attributes: dict[str, float | str] = {}
    """Further columns that draw people, where the catchment model has any."""


class ChangedStore(Section):
    """A store that a what-if changes; what is not given stays."""

    store_id: str = Field(min_length=1)
    """Which store."""
    size_m2: Positive | None = None
    """New sales floor, square metres."""
    format: str | None = None
    """New format."""
    attributes: dict[str, float | str] = {}
    """New values of further columns that draw people."""


class WhatIfSettings(Section):
    """Section ``[[catchments.what_if]]``: stores that open, close or change together."""

    name: str = Field(min_length=1)
    """What the report calls it."""
    open: tuple[OpenStore, ...] = ()
    """Stores to open: name, lon, lat, size_m2, format."""
    close: tuple[str, ...] = ()
    """store_id to close, own or competitor."""
    resize: tuple[ChangedStore, ...] = ()
    """Stores to change: store_id and its new size_m2 or format."""

    @model_validator(mode="after")
    def _something_happens(self) -> WhatIfSettings:
        if not (self.open or self.close or self.resize):
            raise ValueError("name at least one store to open, close or resize")
        return self


class CatchmentSettings(Section):
    """Section ``[catchments]``."""

    attraction: tuple[str, ...] = ("log_size",)
    """What draws people: log_size, or numeric columns of stores and competitors."""
    decay: Literal["power", "exponential", "combined", "none"] = "power"
    """How attraction falls with distance."""
    fit: Literal["auto", "flows", "totals", "given"] = "auto"
    """Where the exponents come from: customers' trips, store totals, or the figures below; auto takes the first
    of these the data allow."""
    size_exponent: float = Field(default=1.0, ge=0, le=5)
    """Exponent of size where fit = "given"."""
    distance_exponent: float = Field(default=2.0, gt=0, le=10)
    """Exponent of distance (power), or decay per km (exponential), where fit = "given"."""
    distance: Literal["auto", "km", "minutes"] = "auto"
    """What the model runs on: "km" as the crow flies, "minutes" of the travel table; "auto" takes what foretells
    trade better."""
    outside_share: float = Field(default=0.0, ge=0, lt=1)
    """Share of the market spent at none of the stores given. Above 0 a new store can also win from there."""
    loss: Literal["log", "poisson"] = "log"
    """For a fit to store totals: "log" weighs all stores alike, "poisson" large ones more."""
    k_nearest: Annotated[int, Field(ge=1, le=1000)] | None = None
    """Stores a hexagon chooses among: its nearest ones; all, up to 3 million pairs, where not given."""
    floor_km: Positive = 0.5
    """Distances below this count as this."""
    max_km: Positive | None = None
    """Stores farther than this are out of reach; no limit by default."""
    bands: tuple[Annotated[float, Field(gt=0, le=1)], ...] = Field(default=(0.5, 0.7, 0.9), min_length=1)
    """Shares of a store's demand that bound its trade areas, from core to outer."""
    what_if: tuple[WhatIfSettings, ...] = ()
    """Stores that might open, close or change; each what-if is a [[catchments.what_if]] of its own with a name and
    open = [{ name, lon, lat, size_m2, format }], close = ["store_id"], resize = [{ store_id, size_m2 }]."""

    @model_validator(mode="after")
    def _what_ifs_differ(self) -> CatchmentSettings:
        names = [case.name for case in self.what_if]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"what_if {', '.join(twice)} is named twice; names must differ")
        return self

    @model_validator(mode="after")
    def _bands_rise(self) -> CatchmentSettings:
        if list(self.bands) != sorted(set(self.bands)):
            raise ValueError(f"bands must rise, such as [0.5, 0.7, 0.9]; got {list(self.bands)}")
        return self


class CustomerSettings(Section):
    """Section ``[customers]``."""

    heavy_share: Share = 0.5
    """Heavy shoppers: the top ones who together spend this share of all."""
    medium_share: Share = 0.3
    """Medium shoppers: the next ones who together spend this share; the rest are light."""
    relationship_risk: Share = 0.05
    """Share of all that a customer brings who is small in a category and big overall, taken to be lost where what they
    buy in the category leaves the shelf: an assumption; 0 plans each category by itself."""
    as_of: dt.date | None = None
    """Day recency is counted to; the day after the last basket by default."""
    confidence: float = Field(default=0.9, gt=0, lt=1)
    """Level of the intervals."""
    horizon_months: int = Field(default=12, ge=1, le=120)
    """Months ahead that customers' lifetime value is added up over."""
    discount_rate: float = Field(default=0.1, ge=0, le=1)
    """Rate a year at which money to come is discounted."""
    contact_lift: float = Field(default=0.05, ge=0, le=5)
    """Share by which a letter or message raises what a customer buys while it works: an assumption until a test tells.
    What a contact costs is set in [targeting]."""
    contact_weeks: Positive = 4.0
    """Weeks a contact works."""
    prospects: bool = True
    """Whether hexagons are scored by how many heavy customers live in places like them."""
    associations: bool = True
    """Whether to count what the same customers buy."""
    association_items: int = Field(default=60, ge=2, le=500)
    """Items compared with each other: those most customers buy."""

    @model_validator(mode="after")
    def _shares_add_up(self) -> CustomerSettings:
        if self.heavy_share + self.medium_share > 1:
            raise ValueError("heavy_share and medium_share must together be at most 1")
        return self


class StoreClusterSettings(Section):
    """Section ``[store_clusters]``."""

    scope: Literal["shop", "categories"] = "shop"
    """"shop": stores are grouped, and local is weighed against national, by all they sell. "categories": by the
    categories named in [assortment] alone, and nothing else is planned; one such plan a category gives each its own
    store clusters."""
    n_clusters: Literal["auto"] | Annotated[int, Field(ge=1, le=100)] = "auto"
    """Number of store clusters; "auto" takes the frontier's choice."""
    max_clusters: int = Field(default=10, ge=1, le=100)
    """Most clusters tried."""
    catchment_weight: float = Field(default=1.0, ge=0)
    """Weight of who lives around a store."""
    mix_weight: float = Field(default=1.0, ge=0)
    """Weight of what the store sells, by subcategory."""
    size_weight: float = Field(default=0.1, ge=0)
    """Weight of the store's size; small, because planogram sizes within a cluster serve small and large stores."""
    format_weight: float = Field(default=0.1, ge=0)
    """Weight of the store's format."""
    competition_weight: float = Field(default=0.0, ge=0)
    """Weight of the share of nearby trade that goes to competitors, by the catchment model."""
    features: dict[str, Positive] = {}
    """Further features and their weights, such as { median_income = 0.5, region = 0.2 }: rates and means of area layers
    (averaged over the catchment) or columns of stores. Revenue and protected traits are refused."""
    composition: Literal["hellinger", "clr"] = "hellinger"
    """How shares become distances: Hellinger, or centred log-ratios, which let small shares weigh as much as large."""
    min_stability: Share = 0.5
    """Numbers of clusters that come back less well than this when stores are resampled (adjusted Rand index) are not
    offered to the frontier, unless none does better."""
    merge_single: bool = True
    """A store that is alone in its cluster joins the next-nearest one."""
    overrides: str | None = None
    """Table with store_id, store_cluster, reason: stores the planner puts into another cluster."""
    frozen: str | None = None
    """store_clusters.json of an earlier plan: its clusters are kept, new stores join the nearest."""
    refresh: bool = False
    """With frozen: cluster anew all the same, and show who moved."""

    @model_validator(mode="after")
    def _something_weighs(self) -> StoreClusterSettings:
        weights = (self.catchment_weight, self.mix_weight, self.size_weight, self.format_weight)
        if sum(weights) + self.competition_weight + sum(self.features.values()) <= 0:
            raise ValueError("at least one of the weights must be above 0")
        if self.refresh and self.frozen is None:
            raise ValueError("refresh needs frozen, the clustering to compare with")
        return self


class DemandSettings(Section):
    """Section ``[demand]``."""

    families: tuple[Literal["baseline", "cluster", "neighbours", "mix", "factors"], ...] = (
        "baseline",
        "cluster",
        "neighbours",
        "mix",
        "factors",
    )
    """Kinds of model tried, and a blend of them; the one that does best on held-out pairs is used, category by
    category, and the baseline where none is clearly better."""
    holdout_share: float = Field(default=0.2, gt=0, lt=0.9)
    """Share of store and SKU pairs held out to compare them."""
    new_listing_discount: Literal["auto", "none"] = "auto"
    """What is taken off forecasts of SKUs a store does not carry: "auto" learns it from new listings, if any."""
    new_skus: bool | tuple[str, ...] = ()
    """SKUs of products without any sales that the ranges may list, forecast from their attributes; true means all of
    them. Must-lists and core SKUs without sales are forecast in any case."""


class RangeLimitSettings(Section):
    """One ``[[assortment.limits]]``: least and most SKUs of a kind in every planogram."""

    column: str
    """Column of products, such as subcategory or brand; price_tier (low, middle, high: thirds of a category by price)
    is made where products have none."""
    value: str
    """The kind: its value in that column."""
    least: int = Field(default=0, ge=0)
    """Fewest SKUs of it in a planogram."""
    most: int | None = Field(default=None, ge=0)
    """Most SKUs of it in a planogram."""
    store_cluster: str | None = None
    """Only in this store cluster; in all by default."""

    @model_validator(mode="after")
    def _least_below_most(self) -> RangeLimitSettings:
        if self.most is not None and self.least > self.most:
            raise ValueError(f"least ({self.least}) must be at most most ({self.most})")
        return self


class AssortmentSettings(Section):
    """Section ``[assortment]``."""

    categories: tuple[str, ...] = ()
    """Categories planned; all by default."""
    space: Literal["count", "width_cm"] = "count"
    """What a range takes: a number of SKUs, or shelf width."""
    size: Literal["today"] | Positive = "today"
    """Space of each category and store cluster: as today, or this much."""
    size_by_category: dict[str, Positive] = {}
    """Space of single categories, where it differs, such as { Coffee = 40 }."""
    planogram_sizes: int = Field(default=3, ge=1, le=10)
    """Sizes of planogram (S, M, L) within a store cluster."""
    max_facings: int = Field(default=1, ge=1, le=10)
    """Most facings of a SKU; each takes its place or width again."""
    facing_returns: tuple[Share, ...] = ()
    """What the second, third … facing adds, as shares of a SKU's margin with one: your assumption, one for each."""
    core_share: Share = 0.5
    """Share of each range that is the same in every store."""
    core_in: Literal["every_cluster", "every_store"] = "every_cluster"
    """Where the core stands: in each store cluster's largest planogram at least, or in every planogram."""
    core: tuple[str, ...] = ()
    """SKUs that are in the core whatever they earn."""
    min_stores: int = Field(default=1, ge=1)
    """A SKU is listed in at least this many stores, or nowhere."""
    max_distinct: int | None = Field(default=None, ge=1)
    """Most SKUs of a category in the whole chain; no limit by default."""
    limits: tuple[RangeLimitSettings, ...] = ()
    """Fewest and most SKUs by subcategory, brand, price tier …, each a [[assortment.limits]]."""
    order_periods: Positive | None = None
    """Periods of the chain's sales that a minimum order (column moq of products, in units) may last; a SKU whose order
    would last longer is not listed. Not looked at by default."""
    case_periods: Positive | None = None
    """Periods that a case (column case_pack of products) may last in a store; not looked at by default."""
    cost_per_range: float = Field(default=0.0, ge=0)
    """Money a year for each further range of a category (planogram, file, training)."""
    cost_per_sku: float = Field(default=0.0, ge=0)
    """Money a year for each SKU in the range of a store cluster; the frontier counts SKUs beyond the national range."""
    cost_per_chain_sku: float = Field(default=0.0, ge=0)
    """Money a year for each SKU that any store of the chain lists."""
    cost_per_centre_sku: float = Field(default=0.0, ge=0)
    """Money a year for each SKU that a distribution centre stocks, for the stores it serves."""
    centre_column: str = "centre"
    """Column of stores that names the distribution centre, where cost_per_centre_sku is set."""
    cost_per_change: float = Field(default=0.0, ge=0)
    """Money for one listing or delisting in one store (shelf work, leftovers), to be earned back within a year."""
    max_changes: int | None = Field(default=None, ge=0)
    """Most listings and delistings together in one store and category; no limit by default."""
    phase_share: float = Field(default=0.1, gt=0, le=1)
    """Most of a store's range in a category that one phase lists, and delists: changes are dealt to phases, those worth
    most first; 1 makes them all at once. The range planned stays the same."""
    wait_for_proof: bool = True
    """A swap that at the lower end of its 90% interval does not earn cost_per_change is in no phase: it waits until a
    trial proves it."""
    substitution: Literal["auto", "none"] | Share = "auto"
    """Share of an absent SKU's buyers who take another of the category: "auto" learns it from SKUs that came and went,
    a figure assumes it, "none" plans as if nobody did."""
    min_proven_share: Share = 0.1
    """A listing in a further store counts only where at least this share of its cluster's stores list the SKU today:
    what few stores sell says little about the others. Must-lists are free of it."""
    must_list: tuple[str, ...] = ()
    """SKUs every store lists."""
    must_not_list: tuple[str, ...] = ()
    """SKUs no store lists."""
    overrides: str | None = None
    """File of a planner's decisions about an earlier plan: overrides.toml as "geomarket apply-overrides" writes it, or
    the filled-in plan.xlsx itself; relative to the folder of plan.toml."""
    time_limit: Positive = 60.0
    """Seconds for one category."""
    gap: Share = 0.005
    """A solution proven this close to the best possible is good enough."""

    @model_validator(mode="after")
    def _lists_do_not_clash(self) -> AssortmentSettings:
        both = sorted(set(self.must_not_list) & (set(self.must_list) | set(self.core)))
        if both:
            raise ValueError(f"SKU {', '.join(both[:5])} is in must_not_list and in must_list or core")
        return self

    @model_validator(mode="after")
    def _each_facing_has_its_return(self) -> AssortmentSettings:
        if len(self.facing_returns) != self.max_facings - 1:
            raise ValueError(
                f"max_facings is {self.max_facings} and facing_returns has {len(self.facing_returns)} values; "
                "give one for each facing after the first, such as max_facings = 3, facing_returns = [0.2, 0.1]"
            )
        return self


class FrontierSettings(Section):
    """Section ``[frontier]``."""

    max_clusters: int = Field(default=10, ge=1, le=100)
    """Most store clusters tried."""
    cost_per_cluster: float = Field(default=0.0, ge=0)
    """Money a year for each store cluster beyond the first."""


class PrivacySettings(Section):
    """Section ``[privacy]``."""

    k: int = Field(default=10, ge=1)
    """Figures about fewer customers than this are not shown."""


class ReportSettings(Section):
    """Section ``[report]``."""

    title: str = ""
    """Title of the report; the plan's name by default."""
    max_changes: int = Field(default=50, ge=1, le=10_000)
    """Lines shown of a long table; the workbook has all."""
    protected_on_map: bool = False
    """Whether the map can be coloured by protected traits."""
    online_tiles: bool = False
    """Whether a reader may switch on an online map under the hexagons; the page then may ask that one server."""
    tile_url: str = Field(
        default="https://tile.openstreetmap.org/{z}/{x}/{y}.png",
        pattern=r"^https?://[A-Za-z0-9.:-]+/[^\s'\";,]*$",
    )
    """Address of the tiles, with {z}, {x} and {y}."""
    tile_attribution: str = "© OpenStreetMap contributors"
    """Whom the tiles' terms ask to be named."""
    tile_max_zoom: int = Field(default=19, ge=1, le=24)
    """Closest zoom the server has tiles for."""

    @model_validator(mode="after")
    def _tiles_have_a_place(self) -> ReportSettings:
        lost = [name for name in ("{z}", "{x}", "{y}") if name not in self.tile_url]
        if lost:
            raise ValueError(
                f"tile_url has no {', '.join(lost)}; expected an address with {{z}}, {{x}} and {{y}}"
            )
        return self


class EngineSettings(Section):
    """Section ``[engine]``."""

    kind: Literal["duckdb", "spark"] = "duckdb"
    """Where sales and baskets are read and aggregated: in this process, or by Spark (geomarket[spark] and Java 17)."""
    master: str = Field(default="local[*]", min_length=1)
    """Spark master, such as "local[*]", "yarn" or "spark://host:7077"."""
    scratch: str | None = Field(default=None, min_length=1)
    """Folder or URL that all of Spark's workers can write to; a temporary folder of this machine by default."""
    options: dict[str, str | int | float | bool] = {}
    """Spark's own settings, such as { "spark.executor.memory" = "8g" }."""
    memory_limit: str = Field(default="2GB", pattern=r"^\s*\d+(\.\d+)?\s*(KB|MB|GB|TB|KiB|MiB|GiB|TiB)\s*$")
    """Most memory DuckDB uses before it spills to disk."""
    spill_folder: str | None = Field(default=None, min_length=1)
    """Folder on a disk with room that DuckDB spills to; the system's folder for temporary files by default."""
    threads: int | None = Field(default=None, ge=1, le=1024)
    """Threads of DuckDB; all cores by default."""
