"""The Complete Journey: a year of a grocer's panel, with campaigns and coupons, cleaned and counted."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ibis
import ibis.expr.types as ir
import pandas as pd

from geomarket.errors import MissingDataError
from geomarket.market.connection import BASKETS_SCHEMA, connect
from geomarket.market.findings import ADDED_UP, KEPT, REPAIRED, SET_ASIDE, Findings
from geomarket.results import Result

__all__ = ["CompleteJourney", "load_complete_journey"]

SOURCE = "84.51°/dunnhumby, The Complete Journey (CC0 in its R package completejourney)"
FILES = (
    "transactions",
    "products",
    "demographics",
    "campaigns",
    "campaign_descriptions",
    "coupons",
    "coupon_redemptions",
)
MOST_ITEMS = 1000
SMALL_STORE = 100.0
# the weeks of the file change at five in the morning: its clock is Greenwich's, its shops' is five hours behind
CLOCK_HOURS_AHEAD = 5
FIRST_MONDAY = pd.Timestamp("2016-12-26")


@dataclass(frozen=True)
class CompleteJourney(Result):
    """A grocer's panel of 2017: households, what they bought, and the coupons they were sent.

    Attributes
    ----------
    customers : DataFrame
        customer_id of every household with a line (also where all were set aside), and age, income, home_ownership,
        marital_status, household_size, household_comp, kids_count where known (about a third of them).
    products : DataFrame
        sku, name, category (303), subcategory, department, brand ("National"/"Private"), vendor, size, cost (NaN:
        not in the data).
    stores : DataFrame
        store_id, revenue, baskets, customers, small (revenue below 100: hardly the panel's store).
    baskets : ibis table
        Lines with the columns of ``Market.baskets``: customer_id, basket_id, store_id, date, channel ("store"), sku,
        units, revenue.
    lines : ibis table
        The same lines with week (1 to 53, see ``week_start``), retail_disc, coupon_disc and coupon_match_disc
        (money, positive).
    campaigns : DataFrame
        campaign_id, type, start_date, end_date.
    contacts : DataFrame
        campaign_id, customer_id: who was sent what.
    coupons : DataFrame
        coupon_upc, sku, campaign_id.
    redemptions : DataFrame
        customer_id, coupon_upc, campaign_id, date.
    quality : DataFrame
        What was cleaned: table, column, check, rows, of_rows, action, message.
    notes : tuple of str
    inputs : dict
        File -> SHA-256.
    folder : Path
        Where the files lie.
    """

    customers: pd.DataFrame
    products: pd.DataFrame
    stores: pd.DataFrame
    baskets: ir.Table
    lines: ir.Table
    campaigns: pd.DataFrame
    contacts: pd.DataFrame
    coupons: pd.DataFrame
    redemptions: pd.DataFrame
    quality: pd.DataFrame
    notes: tuple[str, ...]
    inputs: dict[str, str]
    folder: Path

    @property
    def table(self) -> pd.DataFrame:  # type: ignore[override]
        """The campaigns with how many they reached and how many of those redeemed a coupon."""
        reached = self.contacts.groupby("campaign_id").size()
        redeemed = self.redemptions.groupby("campaign_id")["customer_id"].nunique()
        return self.campaigns.assign(
            contacts=self.campaigns["campaign_id"].map(reached).fillna(0).astype(int),
            redeemers=self.campaigns["campaign_id"].map(redeemed).fillna(0).astype(int),
        )

    def summary(self) -> list[str]:
        """Return what is in it and what was cleaned."""
        size = self.baskets.aggregate(
            lines=self.baskets.count(), revenue=self.baskets.revenue.sum().cast("float64")
        ).to_pandas()
        return [
            f"{len(self.customers):,} households, {int(size['lines'][0]):,} lines, {size['revenue'][0]:,.0f} dollars, "
            f"{len(self.campaigns)} campaigns, {len(self.redemptions):,} coupons redeemed.",
            *self.quality["message"],
            *self.notes,
        ]

    def plot(self, ax: Any = None) -> Any:
        """Draw the panel's revenue by week."""
        import matplotlib.pyplot as plt

        axes = plt.subplots(figsize=(6, 3))[1] if ax is None else ax
        by_week = (
            self.lines.group_by("week")
            .aggregate(revenue=self.lines.revenue.sum().cast("float64"))
            .order_by("week")
            .to_pandas()
        )
        axes.plot(week_start(by_week["week"]), by_week["revenue"])
        axes.set_ylabel("Revenue a week, dollars")
        return axes


def week_start(week: pd.Series) -> pd.Series:
    """Return the Monday each of the panel's weeks begins with; week 1 holds its Sunday only.

    Examples
    --------
    >>> week_start(pd.Series([1, 2])).dt.strftime("%a %Y-%m-%d").tolist()
    ['Mon 2016-12-26', 'Mon 2017-01-02']
    """
    return FIRST_MONDAY + pd.to_timedelta((week.astype("int64") - 1) * 7, unit="D")


def load_complete_journey(data_dir: str | os.PathLike[str] | None = None) -> CompleteJourney:
    """Load the panel, with lines that are no goods set aside and every cleaning counted.

    Lines of quantity 0 (voided) and above 1,000 (fuel by volume, and coupons by value) are set aside: their quantity
    counts no items. The money of that fuel goes with them, so nobody's worth includes it.

    Parameters
    ----------
    data_dir : path, optional
        Folder that holds ``completejourney/``. Default: the environment variable ``GEOMARKET_DATA``.

    Returns
    -------
    CompleteJourney

    Raises
    ------
    MissingDataError
        If the folder or a file is not there; the message says where the data come from.

    Notes
    -----
    No coordinates, no store attributes, no costs: this panel tells about value, campaigns and baskets, and nothing
    about places or margins.

    Examples
    --------
    >>> import os, pytest
    >>> if "GEOMARKET_DATA" not in os.environ: pytest.skip("needs GEOMARKET_DATA")
    >>> len(load_complete_journey().customers)
    2469
    """
    folder = _folder(data_dir)
    findings = Findings()
    products = _products(folder, findings)
    lines = _lines(folder, products, findings)
    stores = _stores(lines, findings)
    campaigns = pd.read_parquet(folder / "campaign_descriptions.parquet").rename(
        columns={"campaign_type": "type"}
    )
    contacts = _named(pd.read_parquet(folder / "campaigns.parquet"))
    redemptions = _named(pd.read_parquet(folder / "coupon_redemptions.parquet")).rename(
        columns={"redemption_date": "date"}
    )
    for frame in (campaigns, contacts, redemptions):
        frame["campaign_id"] = frame["campaign_id"].astype(str)
    redemptions["coupon_upc"] = redemptions["coupon_upc"].astype(str)
    return CompleteJourney(
        customers=_customers(folder),
        products=products,
        stores=stores,
        baskets=lines.select(*BASKETS_SCHEMA),
        lines=lines,
        campaigns=campaigns.sort_values("start_date", kind="stable", ignore_index=True),
        contacts=contacts.sort_values(["campaign_id", "customer_id"], ignore_index=True),
        coupons=_coupons(folder, findings),
        redemptions=redemptions.sort_values(
            ["date", "customer_id", "coupon_upc"], kind="stable", ignore_index=True
        ),
        quality=findings.quality,
        notes=(
            "Costs are not in these data: value is revenue, not margin.",
            "Week 1 holds one day (Sunday 1 January 2017); the last week ends on 31 December.",
            "Households were chosen as frequent shoppers of the chain: their values are not those of all its "
            "customers.",
            f"Source: {SOURCE}.",
        ),
        inputs={f"completejourney/{name}.parquet": _sha256(folder / f"{name}.parquet") for name in FILES},
        folder=folder,
    )


def _folder(data_dir: str | os.PathLike[str] | None) -> Path:
    home = data_dir if data_dir is not None else os.environ.get("GEOMARKET_DATA")
    cure = (
        f"The files are made from {SOURCE}. Put them into a folder completejourney/ and set the environment "
        "variable GEOMARKET_DATA to the folder above it, or pass data_dir."
    )
    if not home:
        raise MissingDataError(
            f"load_complete_journey: GEOMARKET_DATA is not set and no data_dir was given. {cure}"
        )
    folder = Path(home) / "completejourney"
    missing = [f"{name}.parquet" for name in FILES if not (folder / f"{name}.parquet").is_file()]
    if missing:
        raise MissingDataError(f"load_complete_journey: {folder} lacks {', '.join(missing)}. {cure}")
    return folder


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _named(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.rename(columns={"household_id": "customer_id"}).astype({"customer_id": str})


def _tidy(text: pd.Series, otherwise: str) -> pd.Series:
    return text.str.strip().str.capitalize().fillna(otherwise).astype(str)


def _products(folder: Path, findings: Findings) -> pd.DataFrame:
    raw = pd.read_parquet(folder / "products.parquet")
    nameless = raw["product_category"].isna()
    findings.note(
        "products",
        "product_category",
        "no category",
        int(nameless.sum()),
        len(raw),
        REPAIRED,
        f"{int(nameless.sum()):,} of {len(raw):,} products have no category: they come under their department's name",
    )
    department = _tidy(raw["department"], "Unknown")
    category = _tidy(raw["product_category"], "").where(~nameless, department)
    kind = _tidy(raw["product_type"], "").where(raw["product_type"].notna(), category)
    size = raw["package_size"].fillna("").str.strip()
    return pd.DataFrame(
        {
            "sku": raw["product_id"].astype(str),
            "name": (kind + " " + size).str.strip(),
            "category": category,
            "subcategory": kind,
            "department": department,
            "brand": raw["brand"].astype(str),
            "vendor": raw["manufacturer_id"].astype(str),
            "size": size,
            "cost": float("nan"),
        }
    )


def _lines(folder: Path, products: pd.DataFrame, findings: Findings) -> ir.Table:
    connection = connect()
    raw = connection.read_parquet(str(folder / "transactions.parquet"))
    n = int(raw.count().execute())
    for check, odd, words in (
        ("quantity 0", raw.quantity <= 0, "voided items and coupons without goods"),
        (
            f"quantity above {MOST_ITEMS:,}",
            raw.quantity > MOST_ITEMS,
            "fuel by volume and coupons by value, not items",
        ),
    ):
        found = raw.aggregate(
            rows=odd.sum().cast("int64"), money=raw.sales_value.sum(where=odd).fill_null(0.0)
        ).to_pandas()
        rows, money = int(found["rows"][0]), float(found["money"][0])
        findings.note(
            "transactions",
            "quantity",
            check,
            rows,
            n,
            SET_ASIDE,
            f"{rows:,} of {n:,} lines have {check} ({words}; {money:,.0f} dollars): set aside",
        )
    kept = raw.filter((raw.quantity > 0) & (raw.quantity <= MOST_ITEMS))
    unknown = int(
        kept.anti_join(
            ibis.memtable(pd.DataFrame({"product_id": products["sku"].astype("int64")})), "product_id"
        )
        .count()
        .execute()
    )
    findings.note(
        "transactions",
        "product_id",
        "product not in the product list",
        unknown,
        n,
        KEPT,
        f"{unknown:,} lines of products that are not in the product list: kept, under no category",
    )
    local = kept.transaction_timestamp - ibis.interval(hours=CLOCK_HOURS_AHEAD)
    table = kept.select(
        customer_id=kept.household_id.cast("string"),
        basket_id=kept.basket_id.cast("int64"),
        store_id=kept.store_id.cast("string"),
        date=local.date(),
        channel=ibis.literal("store"),
        sku=kept.product_id.cast("string"),
        units=kept.quantity.cast("int64"),
        revenue=kept.sales_value.cast("decimal(18, 2)"),
        week=kept.week.cast("int64"),
        retail_disc=kept.retail_disc.cast("decimal(18, 2)"),
        coupon_disc=kept.coupon_disc.cast("decimal(18, 2)"),
        coupon_match_disc=kept.coupon_match_disc.cast("decimal(18, 2)"),
    )
    return connection.create_table("lines", table.order_by(["customer_id", "basket_id", "sku"]))


def _stores(lines: ir.Table, findings: Findings) -> pd.DataFrame:
    stores = (
        lines.group_by("store_id")
        .aggregate(
            revenue=lines.revenue.sum().cast("float64"),
            baskets=lines.basket_id.nunique().cast("int64"),
            customers=lines.customer_id.nunique().cast("int64"),
        )
        .order_by("store_id")
        .to_pandas()
    )
    stores["small"] = stores["revenue"] < SMALL_STORE
    few = int(stores["small"].sum())
    findings.note(
        "transactions",
        "store_id",
        "store with hardly any trade",
        few,
        len(stores),
        KEPT,
        f"{few} of {len(stores)} stores took under {SMALL_STORE:,.0f} dollars from the panel: kept and marked small",
    )
    return stores


def _customers(folder: Path) -> pd.DataFrame:
    bought = pd.read_parquet(folder / "transactions.parquet", columns=["household_id"])
    ids = pd.DataFrame({"customer_id": sorted(bought["household_id"].drop_duplicates().astype(str))})
    told = _named(pd.read_parquet(folder / "demographics.parquet"))
    return ids.merge(told, on="customer_id", how="left", validate="one_to_one")


def _coupons(folder: Path, findings: Findings) -> pd.DataFrame:
    raw = pd.read_parquet(folder / "coupons.parquet").rename(columns={"product_id": "sku"}).astype(str)
    once = raw.drop_duplicates(ignore_index=True)
    findings.note(
        "coupons",
        "coupon_upc",
        "repeated row",
        len(raw) - len(once),
        len(raw),
        ADDED_UP,
        f"{len(raw) - len(once):,} of {len(raw):,} rows repeat another: kept once",
    )
    return once.sort_values(["campaign_id", "coupon_upc", "sku"], ignore_index=True)
