"""Store × SKU pairs with trade, as arrays the models work on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import pandas as pd

from geomarket.demand.exposure import listing_exposure
from geomarket.errors import TableError

__all__ = ["Pairs", "make_pairs"]


@dataclass(frozen=True)
class Pairs:
    """Pairs seen listed, in the order of store and SKU.

    Attributes
    ----------
    store, sku : ndarray of int, shape (n,)
        Places in ``stores`` and ``skus``.
    units : ndarray of shape (n,)
        Units sold in the window.
    exposure : ndarray of shape (n,)
        Periods listed, > 0.
    stores, skus : Index
        Ids with at least one pair, sorted.
    category : ndarray of int, shape (n_skus,)
        Place of each SKU's category in ``categories``.
    categories : Index
        Names, sorted.
    unused : DataFrame
        table, id, reason: stores and SKUs nothing can be said about.
    notes : tuple of str
        What was changed on the way in.
    """

    store: np.ndarray
    sku: np.ndarray
    units: np.ndarray
    exposure: np.ndarray
    stores: pd.Index
    skus: pd.Index
    category: np.ndarray
    categories: pd.Index
    unused: pd.DataFrame
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.store)

    @property
    def shape(self) -> tuple[int, int]:
        """Number of stores and of SKUs."""
        return len(self.stores), len(self.skus)

    @property
    def pair_category(self) -> np.ndarray:
        """Place of each pair's category in ``categories``."""
        return self.category[self.sku]

    def only(self, keep: np.ndarray) -> Pairs:
        """Return the pairs marked in ``keep``; stores, SKUs and categories stay as they are."""
        return replace(
            self,
            store=self.store[keep],
            sku=self.sku[keep],
            units=self.units[keep],
            exposure=self.exposure[keep],
        )

    def sum_by(self, what: np.ndarray, key: np.ndarray, size: int) -> np.ndarray:
        """Add up a figure per pair over a key with ``size`` values."""
        return np.bincount(key, weights=what, minlength=size)


def make_pairs(
    sales: pd.DataFrame,
    stores: pd.DataFrame,
    products: pd.DataFrame,
    n_periods: int,
    *,
    calendar: Sequence[Any] | None = None,
    exposure: Literal["extended", "span", "window"] = "extended",
) -> Pairs:
    """Check the tables against each other and turn them into arrays.

    Parameters
    ----------
    sales : DataFrame
        store_id, sku, units and either ``exposure`` (periods listed and in stock), ``in_stock_periods`` or what
        :func:`~geomarket.demand.exposure.listing_exposure` needs. One row per pair.
    stores : DataFrame
        store_id.
    products : DataFrame
        sku, category.
    n_periods : int
        Periods in the window.
    calendar : sequence of dates, optional
        The window's periods.
    exposure : {"extended", "span", "window"}
        How the time on the shelf is judged where it isn't given.

    Returns
    -------
    Pairs

    Raises
    ------
    TableError
        If ids repeat, are unknown or missing, or if no pair sold anything.
    """
    for name, frame, columns in (
        ("sales", sales, ["store_id", "sku", "units"]),
        ("stores", stores, ["store_id"]),
        ("products", products, ["sku", "category"]),
    ):
        missing = [column for column in columns if column not in frame.columns]
        if missing:
            raise TableError(f"{name}: column '{missing[0]}' is missing. Expected {', '.join(columns)}.")
    _unique(stores, "stores", ["store_id"])
    _unique(products, "products", ["sku"])
    _unique(sales, "sales", ["store_id", "sku"])
    no_category = products["category"].isna()
    if no_category.any():
        shown = ", ".join(products.loc[no_category, "sku"].astype(str).head(3))
        raise TableError(
            f"products: {int(no_category.sum())} SKUs have no category ({shown}). Give each one."
        )
    for column, table, known in (
        ("store_id", "stores", stores["store_id"]),
        ("sku", "products", products["sku"]),
    ):
        unknown = sorted(set(sales[column]) - set(known))
        if unknown:
            raise TableError(
                f"sales: {len(unknown)} values of {column} are not in {table} ({', '.join(map(str, unknown[:3]))}). "
                f"Add them to {table} or leave their sales out."
            )

    frame = sales.sort_values(["store_id", "sku"], kind="stable", ignore_index=True)
    units = frame["units"].to_numpy(dtype=float)
    listed_for = _exposure(frame, n_periods, calendar, exposure)
    notes = []
    if (units < 0).any():
        notes.append(
            f"{int((units < 0).sum()):,} pairs with more returns than sales count as selling nothing."
        )
        units = np.maximum(units, 0.0)
    contradictory = (listed_for <= 0) & (units > 0)
    if contradictory.any():
        row = frame.loc[contradictory].iloc[0]
        raise TableError(
            f"sales: {int(contradictory.sum())} pairs sold without any time on the shelf "
            f"(store {row['store_id']}, SKU {row['sku']}). Correct 'exposure' or leave it out."
        )
    keep = (listed_for > 0) & np.isfinite(units)
    if not (units[keep] > 0).any():
        raise TableError("sales: no pair sold anything in the window. Choose a window with trade.")
    frame, units, listed_for = frame[keep], units[keep], listed_for[keep]
    store_code, store_ids = pd.factorize(frame["store_id"], sort=True)
    sku_code, sku_ids = pd.factorize(frame["sku"], sort=True)
    names = products.set_index("sku")["category"].astype("str").reindex(sku_ids)
    category, categories = pd.factorize(names.to_numpy(), sort=True)
    return Pairs(
        store=store_code,
        sku=sku_code,
        units=units,
        exposure=listed_for,
        stores=pd.Index(store_ids, name="store_id"),
        skus=pd.Index(sku_ids, name="sku"),
        category=category,
        categories=pd.Index(categories, name="category"),
        unused=_unused(stores, products, store_ids, sku_ids),
        notes=tuple(notes),
    )


def _unique(frame: pd.DataFrame, table: str, keys: list[str]) -> None:
    repeated = frame.duplicated(keys)
    if repeated.any():
        shown = frame.loc[repeated, keys].head(3).astype(str).agg(" × ".join, axis=1).tolist()
        raise TableError(
            f"{table}: {int(repeated.sum())} rows repeat {' × '.join(keys)} ({', '.join(shown)}). Keep one row each."
        )


def _exposure(
    frame: pd.DataFrame,
    n_periods: int,
    calendar: Sequence[Any] | None,
    method: Literal["extended", "span", "window"],
) -> np.ndarray:
    for column in ("exposure", "in_stock_periods"):
        if column in frame.columns:
            return frame[column].to_numpy(dtype=float)
    return listing_exposure(frame, n_periods, calendar=calendar, method=method)


def _unused(
    stores: pd.DataFrame, products: pd.DataFrame, store_ids: pd.Index, sku_ids: pd.Index
) -> pd.DataFrame:
    lost_stores = sorted(set(stores["store_id"]) - set(store_ids))
    lost_skus = sorted(set(products["sku"]) - set(sku_ids))
    return pd.DataFrame(
        {
            "table": ["stores"] * len(lost_stores) + ["products"] * len(lost_skus),
            "id": [*lost_stores, *lost_skus],
            "reason": ["no sales in the window: its size is unknown"] * len(lost_stores)
            + ["no sales in the window: its rate is unknown"] * len(lost_skus),
        }
    )
