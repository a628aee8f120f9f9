"""The Market: every table a plan needs, checked, in one object."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

import geopandas as gpd
import ibis.expr.types as ir
import pandas as pd

__all__ = ["AreaLayer", "Market", "Variable"]

QUARANTINE_COLUMNS = ["table", "row", "column", "value", "reason"]
QUALITY_COLUMNS = ["table", "column", "check", "rows", "of_rows", "action", "message"]


@dataclass(frozen=True)
class Variable:
    """One census variable of an :class:`AreaLayer`.

    Parameters
    ----------
    name : str
        Name of the variable in every later table (``age_20_29``).
    label : str
        What a planner reads ("aged 20 to 29").
    kind : {"count", "rate", "mean"}
        ``count``: an amount that adds up over areas (people, households).
        ``rate``: ``column`` is a numerator count and ``denominator`` the count it is a share of; the two are
        interpolated apart and then divided.
        ``mean``: ``column`` is a per-head figure or a share (median income, percent with a degree);
        ``denominator`` is the count it is weighted by.
    column : str
        Column of the layer's frame that holds it.
    denominator : str or None
        Count column of the same layer; required for ``rate`` and ``mean``.
    classify : bool
        Whether the variable describes the neighbourhood types. Counts never do.
    protected : bool
        A protected trait (ethnicity, religion …): described if asked for, never used for targeting and never
        part of a neighbourhood's name.
    unit : str
        Unit for legends ("people", "share", "$").
    """

    name: str
    label: str
    kind: Literal["count", "rate", "mean"]
    column: str
    denominator: str | None = None
    classify: bool = True
    protected: bool = False
    unit: str = ""


@dataclass(frozen=True)
class AreaLayer:
    """One polygon layer: a frame keyed by ``area_id`` with ``geometry`` (any CRS), and its variables.

    ``population`` names the count column that weighs this layer (people or households), or None.
    """

    name: str
    frame: gpd.GeoDataFrame
    variables: tuple[Variable, ...]
    population: str | None = None
    vintage: int | None = None
    source: str = ""


@dataclass(frozen=True)
class Market:
    """All tables of one chain in one region.

    ``sales`` and ``baskets`` are ibis tables, because they may be too large to load; all others are frames.
    Optional tables are None when not given: the stage that needs them is skipped and the report says so.

    Attributes
    ----------
    stores : DataFrame
        store_id (str), name, lon, lat, chain, format, size_m2 (NaN where unknown), further columns kept.
    competitors : DataFrame or None
        As stores.
    products : DataFrame
        sku (str), name, category, subcategory, brand, price, cost, width_cm, case_pack; further columns are
        attributes (listed in ``product_attributes``).
    sales : ibis table
        store_id (str), sku (str), period (date: first day), units (int64), revenue (decimal(18, 2)).
        One row per store, SKU and period with trade. Own stores only.
    period : {"week", "month"}
        Grain of ``sales.period``; weeks begin on ISO Monday.
    areas : tuple of AreaLayer
        Polygon layers, finest first; the first layer's population is the reference population.
    store_totals : DataFrame or None
        store_id, year (int), revenue: yearly totals of own stores and competitors, where known.
    customers : DataFrame or None
        customer_id (str), lon, lat, joined (date), consent_mail, consent_mobile, consent_email (bool).
    baskets : ibis table or None
        customer_id (str), basket_id (int64), store_id (str), date (date), channel ("store"/"online"), sku (str),
        units (int64), revenue (decimal(18, 2)).
    contacts : DataFrame or None
        customer_id, date, channel (mail, door_drop, mobile, email), responded (bool).
    promotions : DataFrame or None
        store_id, sku, period, depth (share of the regular price taken off, 0..1), mechanic (str), display (bool),
        mailer (bool). store_id may be missing (NaN): the promotion ran in every store.
    points : DataFrame or None
        lon, lat, weight: population points for dasymetric interpolation.
    travel : DataFrame or None
        store_id, cell (int64), minutes.
    boundaries : GeoDataFrame or None
        name, geometry: lines the map is drawn on (districts, towns).
    sites : DataFrame or None
        As stores: places considered for new own stores.
    measured : DataFrame or None
        test, kpi, promised, lift, se, pairs, start, end: past tests of plans.
    quarantine : DataFrame
        table, row, column, value, reason: one line per row set aside (all rows listed up to a cap per reason).
    quality : DataFrame
        table, column, check, rows, of_rows, action, message: what was found, counted, and done.
    notes : tuple of str
        Caveats every report of this market must state.
    inputs : dict
        File name -> sha256 of the bytes read (or of the settings of a simulation).
    truth : object or None
        What is really so, known only for a simulated market.
    """

    name: str
    stores: pd.DataFrame
    products: pd.DataFrame
    sales: ir.Table
    areas: tuple[AreaLayer, ...]
    period: Literal["week", "month"] = "week"
    competitors: pd.DataFrame | None = None
    store_totals: pd.DataFrame | None = None
    customers: pd.DataFrame | None = None
    baskets: ir.Table | None = None
    contacts: pd.DataFrame | None = None
    promotions: pd.DataFrame | None = None
    points: pd.DataFrame | None = None
    travel: pd.DataFrame | None = None
    boundaries: gpd.GeoDataFrame | None = None
    sites: pd.DataFrame | None = None
    measured: pd.DataFrame | None = None
    product_attributes: tuple[str, ...] = ()
    currency: str = "€"
    simulated: bool = False
    quarantine: pd.DataFrame = field(default_factory=lambda: pd.DataFrame(columns=QUARANTINE_COLUMNS))
    quality: pd.DataFrame = field(default_factory=lambda: pd.DataFrame(columns=QUALITY_COLUMNS))
    notes: tuple[str, ...] = ()
    inputs: dict[str, str] = field(default_factory=dict)
    truth: Any = None

    @property
    def periods_per_year(self) -> float:
        """Sales periods in a year: 52.1775 weeks or 12 months."""
        return 365.2425 / 7 if self.period == "week" else 12.0
