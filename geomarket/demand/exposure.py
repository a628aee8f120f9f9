"""How long a SKU was on sale in a store, judged from when it sold.

A pair that sold twice in a year, in March and in June, was on the shelf for at least four months, and probably for
some months either side. Counting only the months between the first and the last sale makes slow sellers look fast:
one sale in one month of exposure is twelve a year.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import pandas as pd

from geomarket.errors import SettingsError, TableError

__all__ = ["listing_exposure", "listing_spans"]

_PSEUDO_GAPS = 5.0
"""Gaps of the mean length over all SKUs that are added to each SKU's own."""


def listing_exposure(
    sales: pd.DataFrame,
    n_periods: int,
    *,
    calendar: Sequence[Any] | None = None,
    method: Literal["extended", "span", "window"] = "extended",
) -> np.ndarray:
    """Estimate for how many periods each store × SKU pair was listed.

    Parameters
    ----------
    sales : DataFrame
        store_id, sku, first_period, last_period, periods_sold; one row per pair.
    n_periods : int
        Periods in the window the sales were added up over.
    calendar : sequence of dates, optional
        The window's periods in order. Without it the places of the dates in the window are worked out from
        ``n_periods`` and the earliest and latest date, which is exact when trade spans the whole window.
    method : {"extended", "span", "window"}
        ``span``: periods from first to last sale. ``extended``: the span plus, at each end, as many periods as
        there are on average without a sale between two with one; the SKU's mean gap over all stores counts as one
        more gap of the pair, and is all there is to go by for a pair that sold in one period only. ``window``: all
        periods in which both the store and the SKU traded.

    Returns
    -------
    ndarray of shape (n_pairs,)
        Periods, at least the span and at most the time in which both the store and the SKU traded.

    Notes
    -----
    With sales falling in random periods of a listing, extending the span by its own mean gap makes the mean length
    right (the estimator of the number of serial numbers from the largest and smallest seen; Goodman 1952). Short
    listings and slow sales look alike in a pair that sold once; and what was listed and never sold can't be seen at
    all. Rates of very slow sellers stay uncertain and rather too high, whichever method: give a column ``exposure``
    where listings are on record.

    Examples
    --------
    >>> sales = pd.DataFrame({"store_id": ["1", "1", "2"], "sku": ["slow", "fast", "slow"],
    ...     "periods_sold": [2, 12, 4],
    ...     "first_period": pd.to_datetime(["2024-04-01", "2024-01-01", "2024-01-01"]),
    ...     "last_period": pd.to_datetime(["2024-07-01", "2024-12-01", "2024-12-01"])})
    >>> listing_exposure(sales, 12, method="span").tolist()
    [4.0, 12.0, 12.0]
    >>> listing_exposure(sales, 12).round(1).tolist()
    [7.5, 12.0, 12.0]
    """
    start, end = listing_spans(sales, n_periods, calendar=calendar, method=method)
    return end - start


def listing_spans(
    sales: pd.DataFrame,
    n_periods: int,
    *,
    calendar: Sequence[Any] | None = None,
    method: Literal["extended", "span", "window"] = "extended",
) -> tuple[np.ndarray, np.ndarray]:
    """Estimate from when to when each pair was listed; see :func:`listing_exposure`.

    Parameters
    ----------
    sales : DataFrame
        As for :func:`listing_exposure`.
    n_periods : int
        Periods in the window.
    calendar : sequence of dates, optional
        The window's periods in order.
    method : {"extended", "span", "window"}
        How the span is judged.

    Returns
    -------
    tuple of two ndarrays of shape (n_pairs,)
        Start and end in periods from the window's start (0 … ``n_periods``, fractions possible).

    Raises
    ------
    TableError
        If a column is missing, or the dates don't fit into ``n_periods``.
    """
    needed = ["store_id", "sku", "first_period", "last_period", "periods_sold"]
    missing = [column for column in needed if column not in sales.columns]
    if missing:
        raise TableError(
            f"sales: column '{missing[0]}' is missing. Exposure is judged from {', '.join(needed)}; "
            "or give a column 'exposure' (periods listed and in stock)."
        )
    first, last = _places(sales, n_periods, calendar)
    if method == "span":
        return first.astype(float), last + 1.0
    store = pd.factorize(sales["store_id"])[0]
    sku = pd.factorize(sales["sku"])[0]
    earliest = np.maximum(_grouped(np.minimum, first, store), _grouped(np.minimum, first, sku)).astype(float)
    latest = np.minimum(_grouped(np.maximum, last, store), _grouped(np.maximum, last, sku)) + 1.0
    if method == "window":
        return earliest, latest
    if method != "extended":
        raise SettingsError(f"exposure method {method!r} is not known. Use 'extended', 'span' or 'window'.")
    reach = _reach(last - first + 1.0, sales["periods_sold"].to_numpy(dtype=float), sku)
    return np.maximum(first - reach, earliest), np.minimum(last + 1 + reach, latest)


def _reach(length: np.ndarray, sold: np.ndarray, sku: np.ndarray) -> np.ndarray:
    """Return the periods without a sale to expect at either end of each pair's span.

    The mean gap between a pair's own sales, to which the mean gap of its SKU adds one more: all there is to go by
    for a pair that sold in one period only.
    """
    gaps = np.maximum(sold - 1, 0.0)
    empty = np.where(gaps > 0, np.maximum(length - sold, 0.0), 0.0)
    size = int(sku.max()) + 1 if len(sku) else 0
    typical = empty.sum() / gaps.sum() if gaps.sum() > 0 else np.inf
    if not np.isfinite(typical):
        return np.full(len(length), np.inf)
    pooled = np.bincount(sku, weights=empty, minlength=size) + _PSEUDO_GAPS * typical
    of_sku = pooled / (np.bincount(sku, weights=gaps, minlength=size) + _PSEUDO_GAPS)
    return (of_sku[sku] + empty) / (1.0 + gaps)


def _places(
    sales: pd.DataFrame, n_periods: int, calendar: Sequence[Any] | None
) -> tuple[np.ndarray, np.ndarray]:
    """Return the place in the window (0 … n_periods - 1) of each pair's first and last sale."""
    first = pd.to_datetime(sales["first_period"]).to_numpy().astype("datetime64[D]")
    last = pd.to_datetime(sales["last_period"]).to_numpy().astype("datetime64[D]")
    if calendar is not None:
        days = pd.to_datetime(pd.Series(list(calendar))).sort_values().to_numpy().astype("datetime64[D]")
        if len(first) and (first.min() < days[0] or last.max() > days[-1]):
            raise TableError(
                f"sales: first_period and last_period run from {first.min()} to {last.max()}, "
                f"the calendar from {days[0]} to {days[-1]}. Give the periods the sales were added up over."
            )
        return np.searchsorted(days, first, side="right") - 1, np.searchsorted(days, last, side="right") - 1
    if not len(first):
        return np.zeros(0, dtype=int), np.zeros(0, dtype=int)
    start, stop = first.min(), last.max()
    days_per_period = (stop - start).astype(float) / max(n_periods - 1, 1)
    if days_per_period <= 0:
        return np.zeros(len(first), dtype=int), np.zeros(len(first), dtype=int)
    return (
        np.rint((first - start).astype(float) / days_per_period).astype(int),
        np.rint((last - start).astype(float) / days_per_period).astype(int),
    )


def _grouped(reduce: np.ufunc, values: np.ndarray, group: np.ndarray) -> np.ndarray:
    """Return for each row the smallest (or largest) value of its group."""
    size = int(group.max()) + 1 if len(group) else 0
    best = np.full(size, values.max() if reduce is np.minimum else values.min()) if size else values[:0]
    reduce.at(best, group, values)
    return best[group]
