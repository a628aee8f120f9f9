"""Promotions of the Complete Journey: what was on display and in the leaflet, by store and week, and price cuts."""

from __future__ import annotations

from dataclasses import dataclass

import ibis
import numpy as np
import pandas as pd

from geomarket.datasets.complete_journey import CompleteJourney, week_start
from geomarket.errors import MissingDataError
from geomarket.market.connection import connect
from geomarket.market.findings import ADDED_UP, REPAIRED, SET_ASIDE, Findings
from geomarket.results import Result

__all__ = ["JourneyPromotions", "load_journey_promotions"]

#: Places that are no display: none, and the product's own place on the shelf.
NO_DISPLAY = ("0", "A")
NO_MAILER = "0"
#: Price cuts below this are rounding and single shoppers' cards.
LEAST_CUT = 0.03
#: Price cuts above this are mistakes of the till or clearances.
DEEPEST_CUT = 0.7
#: Price cuts are rounded to so many, for offers to be comparable.
STEPS = 0.01


@dataclass(frozen=True)
class JourneyPromotions(Result):
    """Sales and promotions of the panel's better-known products, in the shape that a promotion panel is made from.

    Attributes
    ----------
    sales : DataFrame
        store_id, sku, period (Monday), units.
    promotions : DataFrame
        store_id (missing: every store), sku, period, depth, display, mailer. Price cuts stand once for all stores.
    listings : DataFrame
        store_id, sku, first_period, last_period.
    products : DataFrame
        sku, name, category, price (regular, median over weeks).
    quality : DataFrame
        What was cleaned and left out.
    """

    sales: pd.DataFrame
    promotions: pd.DataFrame
    listings: pd.DataFrame
    products: pd.DataFrame
    quality: pd.DataFrame

    @property
    def table(self) -> pd.DataFrame:  # type: ignore[override]
        """The promotions."""
        return self.promotions

    def summary(self) -> list[str]:
        """Say how much there is."""
        cuts = self.promotions["depth"] > 0
        return [
            f"{len(self.products):,} products in {self.products['category'].nunique()} categories, "
            f"{self.listings['store_id'].nunique()} stores, {len(self.sales):,} rows of sales.",
            f"{int(cuts.sum()):,} price cuts (product and week), {int(self.promotions['display'].sum()):,} displays "
            f"and {int(self.promotions['mailer'].sum()):,} leaflet places (product, store and week).",
        ]


def load_journey_promotions(
    journey: CompleteJourney,
    *,
    min_weeks: int = 40,
    min_stores: int = 10,
    min_weeks_in_store: int = 6,
    min_products: int = 8,
) -> JourneyPromotions:
    """Read display, leaflet and price cuts of the products the panel buys often enough to learn from.

    A price cut is the share of the regular price that the loyalty card took off in a week: what the middle unit sold
    was cut by, over all stores. The data say no price where nothing was sold, and a cut seen in one store only may be
    one shopper's, so all stores are taken to have had it. Where nobody bought it, no cut is assumed.
    Coupons are not in it: they are single households'.

    Parameters
    ----------
    journey : CompleteJourney
        From :func:`geomarket.load_complete_journey`.
    min_weeks, min_stores : int
        Weeks and stores that a product must have been sold in.
    min_weeks_in_store : int
        Weeks that a product must have been sold in a store to count as listed there.
    min_products : int
        Products a category needs.

    Returns
    -------
    JourneyPromotions

    Raises
    ------
    MissingDataError
        If ``promotions.parquet`` is not in the journey's folder.

    Notes
    -----
    Source: 84.51°/dunnhumby, The Complete Journey. The panel is a sample of households, so units are the panel's,
    not the stores': effects in per cent are comparable, money is not.
    """
    path = journey.folder / "promotions.parquet"
    if not path.is_file():
        raise MissingDataError(
            f"{journey.folder}: no promotions.parquet. Put the data set's promotions table into that folder."
        )
    findings = Findings()
    weekly = _weekly(journey)
    kept = _often_bought(weekly, journey.products, min_weeks, min_stores, min_products, findings)
    weekly = weekly[weekly["sku"].isin(kept["sku"])]
    shown = _shown(str(path), kept["sku"], findings)
    weekly = weekly[weekly["store_id"].isin(shown["store_id"])]
    cuts, price = _cuts(weekly, findings)
    listings = _listings(weekly, min_weeks_in_store)
    pairs = listings[["store_id", "sku"]]
    shown = shown.merge(pairs, on=["store_id", "sku"])
    last = weekly["week"].max()
    promotions = pd.concat([cuts, shown], ignore_index=True)
    # The first week of the file is one day.
    promotions = promotions[promotions["week"].between(2, last)]
    sales = weekly[weekly["week"] > 1].merge(pairs, on=["store_id", "sku"])
    return JourneyPromotions(
        sales=_dated(sales)[["store_id", "sku", "period", "units"]].reset_index(drop=True),
        promotions=_dated(promotions)[
            ["store_id", "sku", "period", "depth", "display", "mailer"]
        ].reset_index(drop=True),
        listings=listings,
        products=kept.assign(price=kept["sku"].map(price))[["sku", "name", "category", "price"]],
        quality=findings.quality,
    )


def _weekly(journey: CompleteJourney) -> pd.DataFrame:
    lines = journey.lines
    table = lines.group_by(["store_id", "sku", "week"]).aggregate(
        units=lines.units.sum().cast("float64"),
        paid=(lines.revenue + lines.coupon_match_disc).sum().cast("float64"),
        cut=lines.retail_disc.sum().cast("float64"),
    )
    return table.order_by(["store_id", "sku", "week"]).to_pandas()


def _often_bought(
    weekly: pd.DataFrame,
    products: pd.DataFrame,
    min_weeks: int,
    min_stores: int,
    min_products: int,
    findings: Findings,
) -> pd.DataFrame:
    by_sku = weekly.groupby("sku").agg(weeks=("week", "nunique"), stores=("store_id", "nunique"))
    often = by_sku.index[(by_sku["weeks"] >= min_weeks) & (by_sku["stores"] >= min_stores)]
    kept = products[products["sku"].isin(often)].dropna(subset=["category"])
    sizes = kept["category"].map(kept["category"].value_counts())
    kept = kept[sizes >= min_products].sort_values("sku", ignore_index=True)
    n = int(weekly["sku"].nunique())
    message = (
        f"{n - len(kept):,} of {n:,} products were sold in fewer than {min_weeks} weeks or {min_stores} stores, or in "
        f"a category of fewer than {min_products} such: too little to learn a response from, left out"
    )
    findings.note("transactions", "product_id", "bought too seldom", n - len(kept), n, SET_ASIDE, message)
    return kept


def _shown(path: str, skus: pd.Series, findings: Findings) -> pd.DataFrame:
    """Displays and leaflet places of some products, one row per store, product and week."""
    connection = connect()
    raw = connection.read_parquet(path)
    raw = raw.semi_join(ibis.memtable(pd.DataFrame({"product_id": skus.astype("int64")})), "product_id")
    display = raw.display_location.cast("string").notin(NO_DISPLAY)
    mailer = raw.mailer_location.cast("string") != NO_MAILER
    grouped = raw.group_by(["store_id", "product_id", "week"]).aggregate(
        display=display.any(), mailer=mailer.any(), rows=raw.count()
    )
    table = grouped.to_pandas()
    total = int(table["rows"].sum())
    repeats = total - len(table)
    findings.note(
        "promotions",
        "product_id",
        "repeated key",
        repeats,
        total,
        ADDED_UP,
        f"{repeats:,} of {total:,} rows name a product, store and week again: one offer with all its places",
    )
    nothing = ~(table["display"] | table["mailer"])
    findings.note(
        "promotions",
        "display_location",
        "no display and no leaflet",
        int(nothing.sum()),
        len(table),
        SET_ASIDE,
        f"{int(nothing.sum()):,} of {len(table):,} rows are neither on a display nor in the leaflet (code A is the "
        "product's own place on the shelf): left out",
    )
    table = table[~nothing].rename(columns={"product_id": "sku"})
    table[["store_id", "sku"]] = table[["store_id", "sku"]].astype(str)
    table = table.sort_values(["store_id", "sku", "week"], ignore_index=True)
    return table.assign(depth=0.0)[["store_id", "sku", "week", "depth", "display", "mailer"]]


def _cuts(weekly: pd.DataFrame, findings: Findings) -> tuple[pd.DataFrame, pd.Series]:
    """Price cuts of each product and week, over all stores; and the regular price."""
    regular = weekly["paid"] + weekly["cut"]
    sold = weekly[regular > 0].assign(depth=weekly["cut"] / regular, price=regular / weekly["units"])
    sold = sold.sort_values(["sku", "week", "depth"], ignore_index=True)
    by_week = sold.groupby(["sku", "week"])["units"]
    # The depth that half of the units or more were sold at: single stores' and shoppers' cuts are no offer.
    middle = sold[by_week.cumsum() >= 0.5 * by_week.transform("sum")]
    sums = middle.drop_duplicates(["sku", "week"]).reset_index(drop=True)
    odd = sums["depth"] > DEEPEST_CUT
    findings.note(
        "transactions",
        "retail_disc",
        f"price cut above {DEEPEST_CUT:.0%}",
        int(odd.sum()),
        len(sums),
        REPAIRED,
        f"{int(odd.sum()):,} of {len(sums):,} products and weeks were cut by more than {DEEPEST_CUT:.0%}: clearances "
        "or mistakes, taken as no offer",
    )
    real = sums[(sums["depth"] >= LEAST_CUT) & ~odd]
    cuts = pd.DataFrame(
        {
            "store_id": None,
            "sku": real["sku"].to_numpy(),
            "week": real["week"].to_numpy(),
            "depth": np.round(real["depth"].to_numpy() / STEPS) * STEPS,
            "display": False,
            "mailer": False,
        }
    )
    return cuts, sums.groupby("sku")["price"].median()


def _listings(weekly: pd.DataFrame, min_weeks: int) -> pd.DataFrame:
    grouped = weekly[weekly["week"] > 1].groupby(["store_id", "sku"])["week"]
    table = grouped.agg(first="min", last="max", weeks="nunique").reset_index()
    table = table[table["weeks"] >= min_weeks].reset_index(drop=True)
    return table.assign(first_period=week_start(table["first"]), last_period=week_start(table["last"]))[
        ["store_id", "sku", "first_period", "last_period"]
    ]


def _dated(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.assign(period=week_start(frame["week"]).to_numpy())
