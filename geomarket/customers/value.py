"""Recency, frequency, value, and who the heavy customers are."""

from __future__ import annotations

import datetime as dt
import logging
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from geomarket.errors import SettingsError, TableError
from geomarket.results import Result

__all__ = ["SEGMENTS", "CustomerValue", "cumulative_segments", "quintiles", "value_customers"]

_log = logging.getLogger(__name__)

SEGMENTS = ("heavy", "medium", "light")


@dataclass(frozen=True)
class CustomerValue(Result):
    """What every customer has been worth.

    Attributes
    ----------
    table : DataFrame
        customer_id, recency (days since the last trip), frequency (trips), monetary (revenue), margin (money,
        NaN where unknown), r, f, m (quintiles, 5 = best), segment ("heavy"/"medium"/"light"). One row per
        person: never publish it as it is.
    segments : DataFrame
        segment, customers, customer_share, revenue, revenue_share, trips_per_customer.
    as_of : date
        The day recency is counted to.
    """

    table: pd.DataFrame
    segments: pd.DataFrame
    as_of: dt.date

    def summary(self) -> list[str]:
        """Return how spending is spread over customers."""
        shares = self.segments.set_index("segment")[["customer_share", "revenue_share"]]
        of_customers, of_revenue = shares.loc["heavy"].to_numpy(dtype=float)
        lines = [
            f"{len(self.table):,} customers up to {self.as_of:%d %b %Y}: "
            f"{of_customers:.0%} of them are heavy and bring "
            f"{of_revenue:.0%} of the revenue."
        ]
        negative = int((self.table["monetary"] <= 0).sum())
        if negative:
            lines.append(f"{negative:,} customers returned as much as they bought; they count as light.")
        return lines

    def plot(self, ax: Any = None) -> Any:
        """Draw the share of revenue held by the best customers (a Lorenz curve from the top)."""
        import matplotlib.pyplot as plt

        axes = plt.subplots(figsize=(4.5, 4))[1] if ax is None else ax
        spend = np.sort(self.table["monetary"].clip(lower=0).to_numpy(dtype=float))[::-1]
        people = np.arange(len(spend) + 1) / max(len(spend), 1)
        axes.plot(people, np.append(0.0, np.cumsum(spend)) / max(spend.sum(), 1e-300))
        axes.plot([0, 1], [0, 1], color="0.6", linewidth=0.8)
        axes.set_xlabel("Share of customers, best first")
        axes.set_ylabel("Share of revenue")
        return axes


def value_customers(
    totals: pd.DataFrame,
    as_of: dt.date | str | pd.Timestamp | None = None,
    heavy_share: float = 0.5,
    medium_share: float = 0.3,
) -> CustomerValue:
    """Score customers by recency, frequency and value and split them into heavy, medium and light.

    Parameters
    ----------
    totals : DataFrame
        customer_id, trips, last_date, revenue, and optionally margin: one row per customer
        (:func:`geomarket.engine.customer_totals`).
    as_of : date or None
        Day recency is counted to; by default the day after the last trip of anyone.
    heavy_share, medium_share : float
        Heavy customers are the best ones who together bring ``heavy_share`` of the revenue, medium the next
        ones who bring ``medium_share``; the rest are light.

    Returns
    -------
    CustomerValue

    Raises
    ------
    TableError
        A column is missing, a customer repeats, or a trip is later than ``as_of``.
    SettingsError
        The shares leave no room for light customers.

    Notes
    -----
    Recency–frequency–monetary scoring by quintile (Hughes 1994), with ties at their average rank so that equal
    customers score equally. Heavy half: Twedt (1964).

    Examples
    --------
    >>> totals = pd.DataFrame({"customer_id": ["a", "b", "c"], "trips": [9, 3, 1],
    ...     "last_date": pd.to_datetime(["2024-03-01", "2024-02-01", "2024-01-01"]), "revenue": [60.0, 30.0, 10.0]})
    >>> value_customers(totals).table[["customer_id", "recency", "segment"]].values.tolist()
    [['a', 1, 'heavy'], ['b', 30, 'medium'], ['c', 61, 'light']]
    """
    if not (0 < heavy_share < 1 and medium_share > 0 and heavy_share + medium_share <= 1):
        raise SettingsError(
            f"heavy_share = {heavy_share}, medium_share = {medium_share}: positive shares of at most 1 together."
        )
    _check_totals(totals)
    last = pd.to_datetime(totals["last_date"])
    day = last.max() + pd.Timedelta(days=1) if as_of is None else pd.Timestamp(as_of)
    late = last > day
    if late.any():
        first = ", ".join(totals.loc[late, "customer_id"].astype(str).head(3))
        raise TableError(
            f"totals: {int(late.sum()):,} of {len(totals):,} customers shopped after as_of = {day:%Y-%m-%d} "
            f"({first}). Aggregate baskets up to that day, or set a later one."
        )
    table = pd.DataFrame(
        {
            "customer_id": totals["customer_id"].to_numpy(),
            "recency": (day - last).dt.days.to_numpy(),
            "frequency": totals["trips"].to_numpy(),
            "monetary": totals["revenue"].to_numpy(dtype=float),
            "margin": totals["margin"].to_numpy(dtype=float) if "margin" in totals.columns else np.nan,
        }
    )
    table["r"] = quintiles(-table["recency"])
    table["f"] = quintiles(table["frequency"])
    table["m"] = quintiles(table["monetary"])
    table["segment"] = cumulative_segments(table["monetary"], heavy_share, medium_share)
    return CustomerValue(table=table, segments=_segment_table(table), as_of=day.date())


def quintiles(values: pd.Series) -> pd.Series:
    """Return each value's quintile by rank, 5 = highest; equal values share their average rank.

    Examples
    --------
    >>> quintiles(pd.Series([1, 2, 3, 4, 5, 5, 5, 5, 5, 5])).tolist()
    [1, 1, 2, 2, 4, 4, 4, 4, 4, 4]
    """
    rank = values.rank(method="average")
    score = np.ceil(5 * rank.to_numpy(dtype=float) / values.notna().sum()).clip(1, 5)
    return pd.Series(score, index=values.index).astype("int64")


def cumulative_segments(spend: pd.Series, heavy_share: float = 0.5, medium_share: float = 0.3) -> pd.Series:
    """Return heavy, medium or light for each spend; the same spend always falls in the same segment.

    A customer is heavy while those who spend strictly more bring less than ``heavy_share`` of the whole, so the
    customer who crosses the line is still heavy. Spends at or below 0 are light and count 0.

    Examples
    --------
    >>> cumulative_segments(pd.Series([50.0, 30.0, 15.0, 5.0])).tolist()
    ['heavy', 'medium', 'light', 'light']
    """
    positive = spend.clip(lower=0).fillna(0.0)
    by_value = positive.groupby(positive).sum().sort_index(ascending=False)
    share_above = (by_value.cumsum() - by_value) / max(float(by_value.sum()), 1e-300)
    above = positive.map(share_above)
    # a rounding error must not push the customer at the line across it
    heavy = above < heavy_share - 1e-9
    medium = above < heavy_share + medium_share - 1e-9
    labels = np.select([(positive > 0) & heavy, (positive > 0) & medium], ["heavy", "medium"], "light")
    return pd.Series(labels, index=spend.index, dtype=str)


def _check_totals(totals: pd.DataFrame) -> None:
    missing = [c for c in ("customer_id", "trips", "last_date", "revenue") if c not in totals.columns]
    if missing:
        raise TableError(
            f"totals: column(s) {', '.join(missing)} missing; geomarket.engine.customer_totals makes such a table."
        )
    if totals.empty:
        raise TableError(
            "totals: no customers; leave this stage out, or check the dates baskets are taken from."
        )
    repeated = totals["customer_id"].duplicated()
    if repeated.any():
        first = ", ".join(totals.loc[repeated, "customer_id"].astype(str).head(3))
        raise TableError(
            f"totals: {int(repeated.sum()):,} rows repeat a customer_id ({first}); one row each is expected."
        )


def _segment_table(table: pd.DataFrame) -> pd.DataFrame:
    by = table.groupby("segment").agg(
        customers=("customer_id", "size"), revenue=("monetary", "sum"), trips=("frequency", "sum")
    )
    by = by.reindex(list(SEGMENTS), fill_value=0)
    out = pd.DataFrame({"segment": list(SEGMENTS), "customers": by["customers"].to_numpy()})
    out["customer_share"] = out["customers"] / len(table)
    out["revenue"] = by["revenue"].to_numpy(dtype=float)
    out["revenue_share"] = out["revenue"] / out["revenue"].sum() if out["revenue"].sum() > 0 else np.nan
    out["trips_per_customer"] = (by["trips"] / by["customers"].where(by["customers"] > 0)).to_numpy(
        dtype=float
    )
    return out
