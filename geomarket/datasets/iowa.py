"""Iowa's spirits trade as a market: one chain's stores are own, everybody else competes."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import ibis
import ibis.expr.types as ir
import numpy as np
import pandas as pd

from geomarket.datasets.iowa_areas import iowa_areas, iowa_boundaries
from geomarket.errors import MissingDataError, SettingsError
from geomarket.market.connection import connect
from geomarket.market.findings import KEPT, LEFT_OUT, NETTED, REPAIRED, SET_ASIDE, Findings, numbered
from geomarket.market.model import Market

__all__ = ["load_iowa"]

SOURCE = (
    "State of Iowa open data (data.iowa.gov): Iowa Liquor Sales, Iowa Liquor Stores, Iowa Liquor Products; "
    "US Census Bureau: TIGER/Line tracts, counties and places, Census 2000 and 2020, ACS (public domain)"
)

FILES = (
    "stores",
    "products",
    "sales_store_item_month_2020",
    "sales_store_item_month_2021",
    "sales_store_month_2012_2021",
    "item_price_week_2019_2021",
    "iowa_tracts_2020",
    "iowa_tracts_2000_sf1",
    "iowa_counties",
    "iowa_zips_acs2012",
    "iowa_places_2020",
)

MAX_BELIEVABLE_DEPTH = 0.6


def load_iowa(
    data_home: str | os.PathLike[str] | None = None,
    chain: str = "HY-VEE",
    assumed_markup: float = 0.25,
) -> Market:
    """Load Iowa's spirits trade 2020–2021 as the market of one chain.

    The chain's stores are own; all other licensed stores are competitors whose yearly totals are known.
    Three polygon layers (tracts of 2020 and of 2000, counties with ACS 2015–19) and ZIP points (ACS about
    2012, spread over the nearest-point areas of the ZIP centroids) describe the population.

    What these data are, and are not: they are **orders by retailers from the state monopoly** (sell-in), not
    till sales, at **one price for every store**; there are **no customers** in them. They support range and mix
    by store cluster and the response to the state's own temporary price cuts, not price elasticity
    across stores, and nothing about single shoppers.

    Parameters
    ----------
    data_home : path, optional
        Folder that holds ``iowa/``. Default: the environment variable ``GEOMARKET_DATA``.
    chain : str
        Chain whose stores are own, as spelt in ``stores.parquet`` ("HY-VEE", "FAREWAY", "CASEYS").
    assumed_markup : float
        The retailer's own shelf price is not in the data. ``price`` is the state's price to the store times
        (1 + assumed_markup), ``cost`` is the state's price; so all margins are this assumption times
        purchases. ``sales.revenue`` is left as ordered, at the state's price.

    Returns
    -------
    Market
        With ``period = "month"`` and every dirty row counted in ``quality`` or listed in ``quarantine``.

    Raises
    ------
    MissingDataError
        If the folder or a file is not there; the message says where the data come from.
    SettingsError
        If the chain has no stores.

    References
    ----------
    State of Iowa open data: Iowa Liquor Sales, store and product lists. US Census Bureau (public domain).

    Examples
    --------
    >>> import os, pytest
    >>> if "GEOMARKET_DATA" not in os.environ: pytest.skip("needs GEOMARKET_DATA")
    >>> market = load_iowa()
    >>> market.period, len(market.areas)
    ('month', 4)
    """
    folder = _folder(data_home)
    findings = Findings()
    all_stores = pd.read_parquet(folder / "stores.parquet")
    totals = _store_totals(folder, all_stores, findings)
    own, competitors = _stores(all_stores, totals, chain, findings)
    products = _products(folder, assumed_markup, findings)
    sales = _sales(folder, own, products, findings)
    sold = set(sales.select("sku").distinct().to_pandas()["sku"])
    findings.note(
        "products",
        "sku",
        "not ordered by the chain",
        int((~products["sku"].isin(sold)).sum()),
        len(products),
        LEFT_OUT,
        f"items on the state's list that {chain} never ordered in 2020–2021: nothing to estimate from",
    )
    products = products[products["sku"].isin(sold)].reset_index(drop=True)
    traded = set(sales.select("store_id").distinct().to_pandas()["store_id"])
    idle = own[~own["store_id"].isin(traded)]
    findings.note(
        "stores",
        "store_id",
        "own store without orders",
        len(idle),
        len(own),
        SET_ASIDE,
        f"{chain} stores with no order in 2020–2021 (closed before, or opened after)",
    )
    findings.list_rows(
        "stores",
        "store_id",
        "own store without an order in 2020–2021",
        numbered(idle["row"], idle["store_id"]),
    )
    own = own[own["store_id"].isin(traded)].reset_index(drop=True)
    areas = iowa_areas(folder, findings)
    return Market(
        name=f"{chain.title()} in Iowa: spirits, 2020–2021",
        stores=own.drop(columns="row"),
        competitors=competitors.drop(columns="row"),
        products=products,
        sales=sales,
        period="month",
        areas=areas,
        store_totals=totals,
        promotions=_promotions(folder, products, findings),
        boundaries=iowa_boundaries(folder),
        product_attributes=("subcategory", "vendor", "size_band", "price_tier", "proof_band"),
        currency="$",
        quarantine=findings.quarantine,
        quality=findings.quality,
        notes=(
            "These are retailers' orders from a state monopoly (sell-in), not till sales: stock-ups move trade "
            "between months.",
            "Every store pays the same price, so nothing here is a price elasticity across stores.",
            "There are no customers in these data: customer value, penetration and channels are skipped.",
            f"The stores' own shelf prices are unknown: margin is assumed to be {assumed_markup:.0%} of the "
            "state's price.",
            "Census figures are of 2020, 2000, 2015–19 and about 2012; ZIP figures are spread over the "
            "areas nearest to each ZIP's centre point.",
            f"Sources: {SOURCE}.",
        ),
        inputs={f"iowa/{name}.parquet": _sha256(folder / f"{name}.parquet") for name in FILES},
    )


def _folder(data_home: str | os.PathLike[str] | None) -> Path:
    home = data_home if data_home is not None else os.environ.get("GEOMARKET_DATA")
    cure = (
        f"The files are made from {SOURCE}. Put them into a folder iowa/ and set the environment "
        "variable GEOMARKET_DATA to the folder above it, or pass data_home."
    )
    if not home:
        raise MissingDataError(f"load_iowa: GEOMARKET_DATA is not set and no data_home was given. {cure}")
    folder = Path(home) / "iowa"
    missing = [f"{name}.parquet" for name in FILES if not (folder / f"{name}.parquet").is_file()]
    if missing:
        raise MissingDataError(f"load_iowa: {folder} lacks {', '.join(missing)}. {cure}")
    return folder


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _store_totals(folder: Path, stores: pd.DataFrame, findings: Findings) -> pd.DataFrame:
    monthly = pd.read_parquet(folder / "sales_store_month_2012_2021.parquet")
    known = monthly["store_id"].isin(stores["store_id"])
    closed = sorted(monthly.loc[~known, "store_id"].unique())
    findings.note(
        "store_totals",
        "store_id",
        "closed id",
        len(closed),
        monthly["store_id"].nunique(),
        SET_ASIDE,
        f"store ids with orders 2012–2021 that are in no store list ({int((~known).sum()):,} monthly rows): "
        "no place is known for them",
    )
    findings.list_rows(
        "store_totals", "store_id", "id in no store list (closed)", ((None, value) for value in closed)
    )
    monthly = monthly[known]
    yearly = (
        monthly.assign(year=monthly["month"].str[:4].astype(int), revenue=monthly["dollars"].astype(float))
        .groupby(["store_id", "year"], as_index=False)
        .agg(revenue=("revenue", "sum"))
    )
    return yearly.assign(store_id=yearly["store_id"].astype(str), revenue=yearly["revenue"].round(2))


def _stores(
    raw: pd.DataFrame, totals: pd.DataFrame, chain: str, findings: Findings
) -> tuple[pd.DataFrame, pd.DataFrame]:
    n = len(raw)
    no_point = raw["coord_source"].ne("state_store_list") | raw["coord_source"].isna()
    nowhere = raw["lon"].isna() | raw["lat"].isna()
    findings.note(
        "stores",
        "lon",
        "without coordinates",
        int(no_point.sum()),
        n,
        REPAIRED,
        f"stores without coordinates in the state's list: {int((no_point & ~nowhere).sum())} placed at "
        f"their ZIP's centre, {int(nowhere.sum())} quarantined",
    )
    findings.list_rows(
        "stores",
        "lon",
        "no coordinates and no usable ZIP",
        numbered(raw.index[nowhere], raw.loc[nowhere, "name"]),
    )
    suspect = raw["coord_suspect"].fillna(False).astype(bool)
    findings.note(
        "stores",
        "lon",
        "far from its city",
        int(suspect.sum()),
        n,
        KEPT,
        "stores sited 10–61 km from the city they name: kept where the list puts them, so their "
        "catchments are doubtful: " + ", ".join(raw.loc[suspect, "store_id"].astype(str)),
    )
    shared = raw["n_stores_same_point"].fillna(0) > 1
    findings.note(
        "stores",
        "lon",
        "same point as another",
        int(shared.sum()),
        n,
        KEPT,
        "stores at exactly another store's point (renamed or re-licensed, or two licences under one roof)",
    )
    never = raw["first_order"].isna()
    findings.note(
        "stores",
        "first_order",
        "never ordered",
        int(never.sum()),
        n,
        SET_ASIDE,
        "stores on the list that never ordered",
    )
    findings.list_rows(
        "stores", "first_order", "never ordered", numbered(raw.index[never], raw.loc[never, "name"])
    )
    cities = raw["city"].dropna()
    plain = cities.map(_plain_city)
    spellings = cities.groupby(plain).nunique()
    findings.note(
        "stores",
        "city",
        "city spelt two ways",
        int(plain.isin(spellings[spellings > 1].index).sum()),
        n,
        REPAIRED,
        "stores whose city is spelt in more than one way: "
        + ", ".join(
            " / ".join(sorted(cities[plain == city].unique())) for city in spellings[spellings > 1].index
        ),
    )

    frame = pd.DataFrame(
        {
            "store_id": raw["store_id"].astype(str),
            "name": raw["name"].map(_store_name),
            "lon": raw["lon"],
            "lat": raw["lat"],
            "chain": raw["chain"].fillna("INDEPENDENT").astype(str),
            "format": raw["format"].astype(str),
            "size_m2": np.nan,
            "city": raw["city"].map(lambda c: _plain_city(c).title() if isinstance(c, str) else ""),
            "county": raw["county"].astype(str),
            "row": raw.index,
        }
    )
    chains = frame["chain"].unique()
    if chain not in chains:
        named = ", ".join(frame["chain"].value_counts().index[:8])
        raise SettingsError(
            f"load_iowa: no store belongs to chain {chain!r}. The largest chains are {named}; "
            "spell it as there."
        )
    frame = frame[~(nowhere | never).to_numpy()]
    own = frame[frame["chain"] == chain]
    rest = frame[frame["chain"] != chain]
    latest = totals[totals["year"].isin([2020, 2021])].groupby("store_id")["revenue"].sum() / 2
    rest = rest.assign(sales_total=rest["store_id"].map(latest))
    trading = rest["sales_total"].notna()
    findings.note(
        "competitors",
        "store_id",
        "not trading",
        int((~trading).sum()),
        len(rest),
        LEFT_OUT,
        "competitors without an order in 2020–2021",
    )
    return own.reset_index(drop=True), rest[trading].reset_index(drop=True)


def _plain_city(name: str) -> str:
    words = name.upper().replace("'", "").replace(".", "").split()
    short = {"MT": "MOUNT", "ST": "SAINT", "FT": "FORT"}
    words = [short.get(w, w) for w in words]
    joined = {"CLEARLAKE": "CLEAR LAKE", "LECLAIRE": "LE CLAIRE", "GRAND MOUNDS": "GRAND MOUND"}
    name = " ".join(words)
    return joined.get(name, name)


def _store_name(name: str) -> str:
    tidy = " ".join(str(name).replace("/", " / ").split()).title()
    return tidy.replace("'S", "'s").replace(" And ", " and ")


_FAMILY = {
    "WHISKY": "Whisky",
    "VODKA": "Vodka",
    "LIQUEUR/SCHNAPPS": "Liqueur & schnapps",
    "TEQUILA/MEZCAL": "Tequila & mezcal",
    "RUM": "Rum",
    "GIN": "Gin",
    "BRANDY": "Brandy",
    "COCKTAILS": "Cocktails",
    "OTHER": "Specialities & packs",
}


def _products(folder: Path, markup: float, findings: Findings) -> pd.DataFrame:
    raw = pd.read_parquet(folder / "products.parquet")
    n = len(raw)
    dry = raw["bottle_ml"] <= 0
    findings.note(
        "products",
        "bottle_ml",
        "bottle of 0 ml",
        int(dry.sum()),
        n,
        KEPT,
        "products of 0 ml: kept, their size is unknown",
    )
    mixed = raw["category"].eq("TEMPORARY & SPECIALTY PACKAGES")
    findings.note(
        "products",
        "category",
        "category mixes families",
        int(mixed.sum()),
        n,
        KEPT,
        "products of the category Temporary & Specialty Packages, which mixes all families: kept "
        f"together under '{_FAMILY['OTHER']}'",
    )
    unpriced = ~(raw["bottle_retail"] > 0)
    findings.note(
        "products",
        "bottle_retail",
        "no price",
        int(unpriced.sum()),
        n,
        SET_ASIDE,
        "products without a positive price",
    )
    findings.list_rows(
        "products",
        "bottle_retail",
        "no positive price",
        numbered(raw.index[unpriced], raw.loc[unpriced, "item_id"]),
    )
    ml = raw["bottle_ml"].where(~dry).astype(float)
    price = raw["bottle_retail"].astype(float)
    family = raw["family"].map(_FAMILY)
    frame = pd.DataFrame(
        {
            "sku": raw["item_id"].astype(str),
            "name": [
                f"{str(d).title()} {_size(v)}".strip() for d, v in zip(raw["description"], ml, strict=True)
            ],
            "category": family,
            "subcategory": raw["category"].str.title(),
            "brand": raw["vendor"].map(lambda v: " ".join(str(v).split()).title()),
            "price": (price * (1 + markup)).round(2),
            "cost": price.round(2),
            "width_cm": np.nan,
            "case_pack": raw["pack"].astype(int),
            "vendor": raw["vendor"].map(lambda v: " ".join(str(v).split()).title()),
            "bottle_ml": ml,
            "size_band": pd.cut(
                ml,
                [0, 100, 250, 400, 800, 1100, np.inf],
                labels=["miniature", "200 ml", "375 ml", "750 ml", "1 litre", "1.75 litre"],
            )
            .astype(object)
            .where(ml.notna(), "unknown"),
            "proof_band": pd.cut(
                raw["proof"].astype(float),
                [-1, 40, 79, 90, 250],
                labels=["below 40", "40 to 79", "80 to 90", "over 90"],
            )
            .astype(object)
            .fillna("unknown"),
        }
    )
    per_litre = price / ml * 1000
    rank = per_litre.groupby(family).rank(pct=True)
    frame["price_tier"] = (
        pd.cut(rank, [0, 0.33, 0.67, 0.9, 1.0], labels=["value", "mainstream", "premium", "super premium"])
        .astype(object)
        .fillna("unknown")
    )
    return frame[~unpriced.to_numpy()].reset_index(drop=True)


def _size(ml: float) -> str:
    if not np.isfinite(ml):
        return ""
    return f"{ml / 1000:g} l" if ml >= 1000 else f"{ml:g} ml"


def _sales(folder: Path, own: pd.DataFrame, products: pd.DataFrame, findings: Findings) -> ir.Table:
    con = connect()
    lines = ibis.union(
        *(con.read_parquet(str(folder / f"sales_store_item_month_{year}.parquet")) for year in (2020, 2021))
    )
    ids = ibis.memtable(pd.DataFrame({"store_id": own["store_id"].astype("int64")}))
    mine = lines.semi_join(ids, "store_id").mutate(
        store_id=lines.store_id.cast("string"), sku=lines.item_id.cast("string")
    )
    listed = ibis.memtable(products[["sku"]])
    unknown = (
        mine.anti_join(listed, "sku")
        .group_by("sku")
        .agg(rows=ibis._.count(), dollars=ibis._.dollars.cast("float64").sum())
        .order_by("sku")
        .to_pandas()
    )
    n = int(mine.count().execute())
    findings.note(
        "sales",
        "item_id",
        "item not in the product list",
        int(unknown["rows"].sum()),
        n,
        SET_ASIDE,
        f"orders of {len(unknown)} items that are not in the product list or have no price "
        f"(${unknown['dollars'].sum():,.0f})",
    )
    findings.list_rows(
        "sales", "item_id", "item not in the product list", ((None, value) for value in unknown["sku"])
    )
    known = mine.semi_join(listed, "sku")
    negative = int((known.bottles < 0).sum().fill_null(0).execute())
    findings.note("sales", "bottles", "negative quantity", negative, n, NETTED, "returns, netted per month")
    table = (
        known.group_by(["store_id", "sku", known.month.cast("date").name("period")])
        .agg(units=known.bottles.sum().cast("int64"), revenue=known.dollars.cast("decimal(18,2)").sum())
        .mutate(revenue=lambda t: t.revenue.cast("decimal(18,2)"))
        .order_by(["store_id", "sku", "period"])
    )
    return con.create_table("sales", table)


def _promotions(folder: Path, products: pd.DataFrame, findings: Findings) -> pd.DataFrame:
    raw = pd.read_parquet(folder / "item_price_week_2019_2021.parquet")
    raw["sku"] = raw["item_id"].astype(str)
    raw = raw[raw["promo"] & raw["sku"].isin(products["sku"])]
    wild = raw["discount"] > MAX_BELIEVABLE_DEPTH
    findings.note(
        "promotions",
        "discount",
        "price cut beyond belief",
        int(wild.sum()),
        len(raw),
        SET_ASIDE,
        f"weekly prices more than {MAX_BELIEVABLE_DEPTH:.0%} below the regular price (data errors or clearances)",
    )
    findings.list_rows(
        "promotions",
        "discount",
        f"cut of more than {MAX_BELIEVABLE_DEPTH:.0%}",
        numbered(raw.index[wild], raw.loc[wild, "discount"]),
    )
    raw = raw[~wild]
    # a week belongs to the month that holds its Thursday, as in the ISO calendar
    thursday = pd.to_datetime(raw["week"]) + pd.Timedelta(days=3)
    raw = raw.assign(month=thursday.dt.to_period("M").dt.to_timestamp())
    raw = raw[raw["month"].between("2020-01-01", "2021-12-31")]
    first = pd.Timestamp("2019-12-30") + pd.Timedelta(days=3)
    weeks = pd.Series(pd.date_range(first, "2021-12-31", freq="7D"))
    weeks_in = weeks.dt.to_period("M").dt.to_timestamp().value_counts()
    cut = raw.groupby(["sku", "month"], as_index=False).agg(total=("discount", "sum"))
    depth = cut["total"].astype(float) / cut["month"].map(weeks_in)
    return pd.DataFrame(
        {
            "store_id": pd.Series(np.nan, index=cut.index, dtype=object),
            "sku": cut["sku"],
            "period": cut["month"].dt.date,
            "depth": depth.round(4).clip(upper=MAX_BELIEVABLE_DEPTH),
            "mechanic": "state price cut",
            "display": False,
            "mailer": False,
        }
    )
