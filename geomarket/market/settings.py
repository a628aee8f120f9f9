"""Every setting of a plan, with its default: the sections of ``plan.toml`` as pydantic models.

The sections of the stages are in :mod:`geomarket.market.stage_settings` and :mod:`geomarket.market.offer_settings`;
this module holds the plan itself, where its tables are and how strict to be with them.
"""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, PrivateAttr, field_validator, model_validator

from geomarket.market.contract import FIRST_AND_LAST_YEAR, TABLES
from geomarket.market.offer_settings import (
    FairnessSettings,
    MeasurementSettings,
    PromotionSettings,
    TargetingSettings,
)
from geomarket.market.spelling import did_you_mean
from geomarket.market.stage_settings import (
    AssortmentSettings,
    CatchmentSettings,
    CustomerSettings,
    DemandSettings,
    EngineSettings,
    FrontierSettings,
    HexSettings,
    NeighbourhoodSettings,
    PrivacySettings,
    ReportSettings,
    Section,
    StoreClusterSettings,
)

__all__ = [
    "AreaCategories",
    "AreaCount",
    "AreaMean",
    "AreaRate",
    "AreaSettings",
    "GeneralSettings",
    "PlanSettings",
    "QualitySettings",
    "TableSettings",
    "TablesSettings",
]


class GeneralSettings(Section):
    """Section ``[plan]``."""

    name: str = Field(default="Local plan", min_length=1, max_length=200)
    """Title of the plan and its report."""
    seed: int = Field(default=0, ge=0, lt=2**32)
    """Seed of everything random; the same seed gives the same plan."""
    currency: str = Field(default="€", min_length=1, max_length=8)
    """Sign money is written with."""
    period: Literal["week", "month"] = "week"
    """Grain of sales: ISO weeks (beginning on Monday) or calendar months."""
    start: dt.date | None = None
    """First day of sales used; earlier rows are left out and counted."""
    end: dt.date | None = None
    """Day after the last day of sales used (half open)."""

    @model_validator(mode="after")
    def _window_runs_forward(self) -> GeneralSettings:
        if self.start and self.end and self.start >= self.end:
            raise ValueError(f"start ({self.start}) must be before end ({self.end})")
        return self


class TableSettings(Section):
    """Section ``[tables.<name>]``: where a table is and how to read it."""

    path: str | tuple[str, ...]
    """File, or several files of one shape; relative to the folder of plan.toml; * and ? stand for any characters. A
    folder means all Parquet or CSV files below it; its folders named key=value hold columns. Also a URL of one of these
    (s3://, gs://, abfss://, https://): needs fsspec and that store's package, with credentials in the environment."""
    columns: dict[str, str] = Field(default_factory=dict)
    """Our column name = name in the file. Columns that already have our name need no entry."""
    crs: str | None = None
    """Coordinate reference system, such as "EPSG:27700", of x and y given as lon and lat, or of a file without one."""
    layer: str | None = None
    """Layer of a GeoPackage."""
    sheet: str | None = None
    """Sheet of an Excel workbook; the first by default."""
    encoding: str = "utf-8"
    """Character encoding of a CSV file, such as "cp1252"."""
    decimal: Literal[".", ","] = "."
    """Decimal mark of a CSV file."""
    separator: str | None = Field(default=None, min_length=1, max_length=1)
    """Character between the values of a CSV file; found from its first line by default."""
    date_format: str | None = None
    """How dates are written, such as "%d/%m/%Y"; ISO (2024-01-31) by default."""
    timezone: str | None = None
    """Time zone whose calendar days count, such as "Europe/Berlin", where times carry one."""

    @property
    def paths(self) -> tuple[str, ...]:
        """The path or paths, always as a tuple."""
        return (self.path,) if isinstance(self.path, str) else self.path

    @field_validator("path")
    @classmethod
    def _path_is_usable(cls, value: str | tuple[str, ...]) -> str | tuple[str, ...]:
        paths = (value,) if isinstance(value, str) else value
        if not paths or any(not path.strip() or "\0" in path for path in paths):
            raise ValueError("expected the name of a file, or a list of names")
        return value

    @field_validator("timezone")
    @classmethod
    def _zone_is_known(cls, value: str | None) -> str | None:
        if value is not None:
            _check_zone(value)
        return value

    @field_validator("encoding")
    @classmethod
    def _encoding_is_known(cls, value: str) -> str:
        try:
            "".encode(value)
        except (LookupError, ValueError) as err:
            raise ValueError(f'{value!r} is not an encoding Python knows; try "utf-8" or "cp1252"') from err
        return value

    @field_validator("crs")
    @classmethod
    def _crs_is_known(cls, value: str | None) -> str | None:
        if value is not None:
            _check_crs(value)
        return value


class TablesSettings(Section):
    """Section ``[tables]``: one sub-section per table."""

    stores: TableSettings | None = None
    """Own stores (needed)."""
    products: TableSettings | None = None
    """SKUs (needed)."""
    sales: TableSettings | None = None
    """Sales by store, SKU and period (needed)."""
    competitors: TableSettings | None = None
    """Stores of others."""
    sites: TableSettings | None = None
    """Sites considered for new own stores."""
    store_totals: TableSettings | None = None
    """Yearly revenue of stores."""
    customers: TableSettings | None = None
    """Loyalty customers."""
    baskets: TableSettings | None = None
    """Basket lines of those customers."""
    contacts: TableSettings | None = None
    """Mailings and other contacts."""
    promotions: TableSettings | None = None
    """Promotions that ran."""
    points: TableSettings | None = None
    """Population points."""
    travel: TableSettings | None = None
    """Travel times."""
    boundaries: TableSettings | None = None
    """Lines for the map."""
    measured: TableSettings | None = None
    """Past tests of plans: what was promised and what was found."""

    def given(self) -> dict[str, TableSettings]:
        """The tables that have a section, by name."""
        return {name: getattr(self, name) for name in TABLES if getattr(self, name) is not None}


class AreaCount(Section):
    """One amount that adds up over areas (people, households); a bare name stands for ``{name = "…"}``."""

    name: str = Field(min_length=1)
    """Our name for it."""
    column: str | None = None
    """Column in the file; the name by default."""
    label: str | None = None
    """What a planner reads; made from the name by default."""
    unit: str = ""
    """Unit for legends."""

    @model_validator(mode="before")
    @classmethod
    def _name_alone(cls, value: Any) -> Any:
        return {"name": value} if isinstance(value, str) else value


class AreaRate(Section):
    """One share: a numerator count over a denominator count."""

    name: str = Field(min_length=1)
    """Our name for it."""
    numerator: str
    """Column in the file: the part."""
    denominator: str
    """Column in the file: the whole."""
    label: str | None = None
    """What a planner reads; made from the name by default."""
    protected: bool = False
    """A protected trait (ethnicity, religion, …): never used for targeting, never in a name."""
    classify: bool = True
    """Whether it describes the neighbourhood types."""


class AreaMean(Section):
    """One per-head figure or ready-made percentage (median income, percent with a degree)."""

    name: str = Field(min_length=1)
    """Our name for it."""
    column: str | None = None
    """Column in the file; the name by default."""
    weight: str
    """Column in the file: the count it is an average over (people, households)."""
    scale: float = Field(default=1.0, gt=0)
    """Factor applied on reading: 0.01 makes a share of a percentage."""
    label: str | None = None
    """What a planner reads; made from the name by default."""
    unit: str = ""
    """Unit for legends."""
    protected: bool = False
    """A protected trait: never used for targeting, never in a name."""
    classify: bool = True
    """Whether it describes the neighbourhood types."""


class AreaCategories(Section):
    """One column of categories (urban class, land use), taken as shares; a bare name stands for ``{column = "…"}``."""

    column: str = Field(min_length=1)
    """Column in the file: one category an area."""
    by: str | None = None
    """Count column the shares are of; the layer's population by default, or surface where it has none."""
    protected: bool = False
    """A protected trait: never used for targeting, never in a name."""
    classify: bool = True
    """Whether the shares describe the neighbourhood types."""

    @model_validator(mode="before")
    @classmethod
    def _column_alone(cls, value: Any) -> Any:
        return {"column": value} if isinstance(value, str) else value


class AreaSettings(Section):
    """Section ``[[areas]]``: one polygon layer. The first is the reference: its population, its extent."""

    name: str = Field(min_length=1)
    """Name of the layer."""
    path: str = Field(min_length=1)
    """GeoParquet, GeoPackage, Shapefile or GeoJSON; relative to the folder of plan.toml."""
    id: str
    """Column that identifies an area."""
    crs: str | None = None
    """Coordinate reference system, where the file does not say."""
    layer: str | None = None
    """Layer of a GeoPackage."""
    encoding: str = "utf-8"
    """Character encoding of a Shapefile's table."""
    population: str | None = None
    """Column of people or households the layer is weighed by."""
    vintage: int | None = Field(default=None, ge=1700, le=2200)
    """Year the figures are from."""
    source: str = ""
    """Where they are from, for the report."""
    counts: tuple[AreaCount, ...] = ()
    """Amounts that add up over areas."""
    rates: tuple[AreaRate, ...] = ()
    """Shares of a count."""
    means: tuple[AreaMean, ...] = ()
    """Per-head figures and ready-made percentages."""
    categories: tuple[AreaCategories, ...] = ()
    """Columns of categories; each becomes one share of people a category."""

    @field_validator("path")
    @classmethod
    def _path_is_usable(cls, value: str) -> str:
        if not value.strip() or "\0" in value:
            raise ValueError("expected the name of a file")
        return value

    @field_validator("encoding")
    @classmethod
    def _encoding_is_known(cls, value: str) -> str:
        return TableSettings._encoding_is_known(value)

    @field_validator("crs")
    @classmethod
    def _crs_is_known(cls, value: str | None) -> str | None:
        if value is not None:
            _check_crs(value)
        return value


class QualitySettings(Section):
    """Section ``[quality]``: what to do with bad rows, and when to stop."""

    max_quarantine_share: float = Field(default=0.05, ge=0, le=1)
    """The plan stops where more than this share of a table's rows can't be used."""
    on_unknown_store: Literal["quarantine", "stop"] = "quarantine"
    """Rows whose store is in no stores table: set aside, or stop at the first."""
    on_unknown_sku: Literal["quarantine", "stop"] = "quarantine"
    """Rows whose SKU is not in products: set aside, or stop at the first."""
    on_zero_price: Literal["quarantine", "keep"] = "quarantine"
    """Sales of units without revenue: set aside, or keep as free goods."""
    max_overlap_share: float = Field(default=0.01, ge=0, le=1)
    """The plan stops where more than this share of a layer's area lies in more than one polygon."""
    max_outside_km: float = Field(default=25.0, ge=0)
    """Points farther than this from every area are set aside."""
    earliest: dt.date = Field(default=dt.date(1990, 1, 1), gt=dt.date(FIRST_AND_LAST_YEAR[0], 1, 1))
    """Dates before this are mistakes."""
    latest: dt.date | None = Field(default=None, lt=dt.date(FIRST_AND_LAST_YEAR[1], 1, 1))
    """Dates after this are mistakes; today by default."""
    quarantine_rows: int = Field(default=1000, ge=1, le=1_000_000)
    """Rows listed per reason; all are counted."""


class PlanSettings(Section):
    """All of ``plan.toml``. ``PlanSettings()`` has every default and no tables.

    Examples
    --------
    >>> settings = PlanSettings()
    >>> settings.neighbourhoods.levels
    (6, 3)
    >>> settings.resolved()["privacy"]
    {'k': 10}
    """

    plan: GeneralSettings = GeneralSettings()
    """Name, seed, currency, grain and window."""
    tables: TablesSettings = TablesSettings()
    """Where the tables are."""
    areas: tuple[AreaSettings, ...] = ()
    """Polygon layers."""
    quality: QualitySettings = QualitySettings()
    """What to do with bad rows."""
    hexes: HexSettings = HexSettings()
    """The hexagon grid."""
    neighbourhoods: NeighbourhoodSettings = NeighbourhoodSettings()
    """The neighbourhood types."""
    catchments: CatchmentSettings = CatchmentSettings()
    """Who shops where."""
    customers: CustomerSettings = CustomerSettings()
    """Customer value."""
    store_clusters: StoreClusterSettings = StoreClusterSettings()
    """Groups of stores."""
    demand: DemandSettings = DemandSettings()
    """What would sell where."""
    assortment: AssortmentSettings = AssortmentSettings()
    """Ranges."""
    promotions: PromotionSettings = PromotionSettings()
    """Promotions."""
    targeting: TargetingSettings = TargetingSettings()
    """Where leaflets and messages go."""
    fairness: FairnessSettings = FairnessSettings()
    """What deprived areas are offered."""
    measurement: MeasurementSettings = MeasurementSettings()
    """The test that comes with the plan."""
    frontier: FrontierSettings = FrontierSettings()
    """How local to go."""
    privacy: PrivacySettings = PrivacySettings()
    """Protection of persons."""
    report: ReportSettings = ReportSettings()
    """The report."""
    engine: EngineSettings = EngineSettings()
    """Where big tables are aggregated."""

    _folder: Path = PrivateAttr(default_factory=Path)
    _file: Path | None = PrivateAttr(default=None)

    @property
    def folder(self) -> Path:
        """Folder that relative paths start from: that of plan.toml, or the working folder."""
        return self._folder

    @property
    def spill_folder(self) -> Path | None:
        """Folder for what does not fit into memory; None for the system's folder for temporary files."""
        spill = self.engine.spill_folder
        return self.folder / spill if spill else None

    @property
    def file(self) -> Path | None:
        """The plan.toml these settings were read from, if any."""
        return self._file

    def resolved(self) -> dict[str, Any]:
        """Every setting with its value, defaults included, ready for JSON; no path of this machine in it."""
        return self.model_dump(mode="json")

    @model_validator(mode="after")
    def _columns_are_known(self) -> PlanSettings:
        for name, table in self.tables.given().items():
            known = TABLES[name].names
            for ours in table.columns:
                if ours not in known:
                    raise ValueError(
                        f"[tables.{name}.columns] {ours!r} is not a column of {name}{did_you_mean(ours, known, '.')}"
                        f" Its columns are {', '.join(known)}; further columns keep their names and need no entry."
                    )
        return self

    @model_validator(mode="after")
    def _area_names_differ(self) -> PlanSettings:
        layers = [layer.name for layer in self.areas]
        variables = [
            variable.name
            for layer in self.areas
            for group in (layer.counts, layer.rates, layer.means)
            for variable in group
        ]
        for what, names in (("layer", layers), ("variable", variables)):
            twice = sorted({name for name in names if names.count(name) > 1})
            if twice:
                raise ValueError(f"[[areas]] {what} {', '.join(twice)} is named twice; names must differ")
        return self


def _check_zone(name: str) -> None:
    from zoneinfo import ZoneInfo

    try:
        ZoneInfo(name)
    except Exception as err:  # ZoneInfo raises KeyError, ValueError and OSError for names it can't use
        raise ValueError(
            f'{name!r} is not a time zone; expected a name such as "Europe/Berlin" or "UTC"'
        ) from err


def _check_crs(name: str) -> None:
    import pyproj

    try:
        pyproj.CRS.from_user_input(name)
    except pyproj.exceptions.CRSError as err:
        raise ValueError(
            f'{name!r} is not a coordinate reference system; expected a code such as "EPSG:4326"'
        ) from err
