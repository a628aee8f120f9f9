"""What each table must hold: columns, types, limits. One list, checked by pandera and in SQL alike."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = [
    "BIG_TABLES",
    "FIRST_AND_LAST_YEAR",
    "POINT_TABLES",
    "REQUIRED_TABLES",
    "TABLES",
    "Column",
    "TableContract",
]

_HIGHEST_PRICE = 1e9
"""Of one unit, in any currency; what is higher could not be added up to the cent beside the others."""

Kind = Literal["id", "text", "number", "whole", "money", "date", "flag", "lon", "lat", "cell"]


@dataclass(frozen=True)
class Column:
    """One column of a table.

    Parameters
    ----------
    name : str
        Our name.
    kind : str
        ``id``: kept as text, leading zeros and all. ``text``. ``number``: a float. ``whole``: a whole number.
        ``money``: major units. ``date``: a day. ``flag``: true or false. ``lon``, ``lat``: degrees, WGS 84.
        ``cell``: an H3 cell, as hex text or as an integer.
    required : bool
        Whether the table must have it.
    nullable : bool
        Whether single values may be missing. A value of such a column that can't be read or lies past its
        limits is set to missing and counted; in any other column its row is set aside.
    minimum, maximum : float or None
        Limits a usable value lies within.
    above : float or None
        A usable value is greater than this.
    default : object
        What an absent column, or a missing value in a column that may not be missing, is filled with.
    doc : str
        What it holds.
    """

    name: str
    kind: Kind
    required: bool = False
    nullable: bool = False
    minimum: float | None = None
    maximum: float | None = None
    above: float | None = None
    default: str | bool | None = None
    doc: str = ""

    @property
    def expected(self) -> str:
        """What a value of this column should look like, in words."""
        words = {
            "id": "an identifier",
            "text": "text",
            "number": "a number",
            "whole": "a whole number",
            "money": "an amount of money",
            "date": "a date",
            "flag": "true or false",
            "lon": "a longitude in degrees",
            "lat": "a latitude in degrees",
            "cell": "an H3 cell",
        }[self.kind]
        if self.above is not None:
            words += f" above {self.above:g}"
        if self.minimum is not None and self.maximum is not None:
            words += f" from {self.minimum:g} to {_figure(self.maximum)}"
        elif self.minimum is not None:
            words += f" of at least {self.minimum:g}"
        elif self.maximum is not None:
            words += f" {'and' if self.above is not None else 'of'} at most {_figure(self.maximum)}"
        return words


def _figure(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1e5 else f"{value:g}"


@dataclass(frozen=True)
class TableContract:
    """One table: its columns, the columns that identify a row, and whether further columns are kept."""

    name: str
    columns: tuple[Column, ...]
    key: tuple[str, ...] = ()
    keep_further: bool = False
    doc: str = ""

    def column(self, name: str) -> Column:
        """Return the column of that name."""
        return next(column for column in self.columns if column.name == name)

    @property
    def names(self) -> tuple[str, ...]:
        """Our column names, in order."""
        return tuple(column.name for column in self.columns)

    @property
    def required(self) -> tuple[str, ...]:
        """Names of the columns the table must have."""
        return tuple(column.name for column in self.columns if column.required)


def _lon_lat(required: bool = True) -> tuple[Column, Column]:
    return (
        Column("lon", "lon", required, minimum=-180, maximum=180, doc="longitude"),
        Column("lat", "lat", required, minimum=-90, maximum=90, doc="latitude"),
    )


_SITE_COLUMNS = (
    Column("store_id", "id", True, doc="identifier, unique over stores and competitors"),
    Column("name", "text", nullable=True, doc="what people call it"),
    *_lon_lat(),
    Column("chain", "text", default="", doc="banner it trades under"),
    Column("format", "text", default="", doc="hypermarket, supermarket, convenience …"),
    Column("size_m2", "number", nullable=True, above=0, doc="sales floor, square metres"),
)

_ALL = (
    TableContract("stores", _SITE_COLUMNS, ("store_id",), True, "own stores"),
    TableContract("competitors", _SITE_COLUMNS, ("store_id",), True, "stores of others"),
    TableContract("sites", _SITE_COLUMNS, ("store_id",), True, "sites considered for new own stores"),
    TableContract(
        "products",
        (
            Column("sku", "id", True, doc="identifier, unique"),
            Column("name", "text", nullable=True, doc="what the shelf label says"),
            Column("category", "text", True, doc="ranges are planned category by category"),
            Column("subcategory", "text", default="", doc="segment within the category"),
            Column("brand", "text", default="", doc="brand"),
            Column(
                "price", "number", True, True, above=0, maximum=_HIGHEST_PRICE, doc="regular price per unit"
            ),
            Column("cost", "number", True, True, minimum=0, maximum=_HIGHEST_PRICE, doc="cost per unit"),
            Column("width_cm", "number", nullable=True, above=0, doc="shelf width of a facing"),
            Column("case_pack", "number", nullable=True, above=0, doc="units in a case"),
        ),
        ("sku",),
        True,
        "the SKUs",
    ),
    TableContract(
        "sales",
        (
            Column("store_id", "id", True, doc="as in stores"),
            Column("sku", "id", True, doc="as in products"),
            Column("period", "date", True, doc="any day of the week or month"),
            Column("units", "whole", True, doc="units sold; returns negative"),
            Column("revenue", "money", True, doc="money taken for them"),
        ),
        doc="what each store sold of each SKU, own stores only",
    ),
    TableContract(
        "store_totals",
        (
            Column("store_id", "id", True, doc="as in stores or competitors"),
            Column("year", "whole", True, minimum=1990, maximum=2100, doc="calendar year"),
            Column("revenue", "money", True, minimum=0, doc="the store's revenue of that year"),
        ),
        ("store_id", "year"),
        doc="yearly revenue of stores, own and competing, where known",
    ),
    TableContract(
        "customers",
        (
            Column("customer_id", "id", True, doc="identifier, unique"),
            *_lon_lat(),
            Column("joined", "date", nullable=True, doc="day the customer joined"),
            Column("consent_mail", "flag", default=False, doc="may be written to"),
            Column("consent_mobile", "flag", default=False, doc="may be messaged"),
            Column("consent_email", "flag", default=False, doc="may be e-mailed"),
        ),
        ("customer_id",),
        doc="customers of the loyalty programme",
    ),
    TableContract(
        "baskets",
        (
            Column("customer_id", "id", True, doc="as in customers"),
            Column("basket_id", "id", True, doc="one trip; unique over stores and days"),
            Column("store_id", "id", True, doc="as in stores"),
            Column("date", "date", True, doc="day of the trip"),
            Column("channel", "text", default="store", doc='"store" or "online"'),
            Column("sku", "id", True, doc="as in products"),
            Column("units", "whole", True, doc="units; returns negative"),
            Column("revenue", "money", True, doc="money taken for them"),
        ),
        doc="what customers put in their baskets",
    ),
    TableContract(
        "contacts",
        (
            Column("customer_id", "id", True, doc="as in customers"),
            Column("date", "date", True, doc="day of the contact"),
            Column("channel", "text", True, doc="mail, door_drop, mobile or email"),
            Column("responded", "flag", True, doc="whether the customer acted on it"),
        ),
        ("customer_id", "date", "channel"),
        doc="who was written to, and whether it worked",
    ),
    TableContract(
        "promotions",
        (
            Column("store_id", "id", nullable=True, doc="as in stores; empty: in every store"),
            Column("sku", "id", True, doc="as in products"),
            Column("period", "date", True, doc="any day of the week or month"),
            Column("depth", "number", True, minimum=0, maximum=0.95, doc="share of the price taken off"),
            Column("mechanic", "text", default="price", doc="price, multibuy …"),
            Column("display", "flag", default=False, doc="shown on a display"),
            Column("mailer", "flag", default=False, doc="shown in the leaflet"),
        ),
        ("store_id", "sku", "period"),
        doc="promotions that ran",
    ),
    TableContract(
        "points",
        (*_lon_lat(), Column("weight", "number", True, minimum=0, doc="people or dwellings there")),
        doc="population points, to place people inside their area",
    ),
    TableContract(
        "travel",
        (
            Column("store_id", "id", True, doc="as in stores or competitors"),
            Column("cell", "cell", True, doc="H3 cell"),
            Column("minutes", "number", True, minimum=0, maximum=1440, doc="travel time"),
        ),
        ("store_id", "cell"),
        doc="travel times",
    ),
    TableContract(
        "measured",
        (
            Column("test", "id", True, doc="name of the test"),
            Column("kpi", "text", default="", doc="what was measured"),
            Column(
                "promised", "number", nullable=True, above=-1, doc="change the plan promised, 0.03 for 3%"
            ),
            Column("lift", "number", True, above=-1, doc="change the test found"),
            Column("se", "number", True, above=0, doc="its standard error, log scale"),
            Column("pairs", "whole", nullable=True, minimum=2, doc="pairs of stores"),
            Column("start", "date", nullable=True, doc="first day of the test"),
            Column("end", "date", nullable=True, doc="day after its last"),
        ),
        ("test", "kpi"),
        doc="past tests of plans, as `geomarket measure` writes them (measured.csv)",
    ),
    TableContract(
        "boundaries",
        (Column("name", "text", default="", doc="name of the district or town"),),
        doc="lines the map is drawn on",
    ),
)

TABLES: dict[str, TableContract] = {table.name: table for table in _ALL}
"""Name -> contract of every table but the area layers, whose columns the user names."""

REQUIRED_TABLES = ("stores", "products", "sales")
"""Tables no plan can do without (besides at least one area layer)."""

BIG_TABLES = ("sales", "baskets")
"""Tables that stay in DuckDB."""

FIRST_AND_LAST_YEAR = (1700, 2200)
"""Whatever the settings say, dates outside these years are mistakes (pandas holds 1677 to 2262)."""

POINT_TABLES = ("stores", "competitors", "sites", "customers", "points")
"""Tables with lon and lat, which may also come as a file of points."""
