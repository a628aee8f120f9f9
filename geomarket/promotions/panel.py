"""The promotion panel: what was sold, offered and not offered, small enough to fit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from geomarket.errors import TableError

__all__ = ["PANEL_COLUMNS", "promotion_panel"]

PANEL_COLUMNS = [
    "store_cluster",
    "category",
    "sku",
    "period",
    "units",
    "exposure",
    "stores",
    "depth",
    "display",
    "mailer",
    "lag_depth",
]
#: Depths closer than this are one offer.
DEPTH_STEP = 1e-4


def promotion_panel(
    sales: pd.DataFrame,
    promotions: pd.DataFrame,
    listings: pd.DataFrame,
    clusters: pd.DataFrame,
    products: pd.DataFrame,
    periods: Sequence[Any] | None = None,
) -> pd.DataFrame:
    """Add up sales by store cluster, SKU, period and offer, periods without a sale included.

    Stores of a cluster that made the same offer for a SKU in a period (depth, display, mailer, and depth the period
    before) share a row; stores that did not are in another. So no offer is averaged with its absence,
    and a multiplicative response to the offer holds for the sum exactly as for each store. ``exposure`` is what those
    stores sell of the SKU in a plain period (no offer in it or just before it), the offset of a Poisson fit.

    Parameters
    ----------
    sales : DataFrame
        store_id, sku, period, units: one row per store, SKU and period with trade. Where returns exceed what a row
        of the panel sold, its units are set to 0.
    promotions : DataFrame
        store_id, sku, period, depth (0..1), display, mailer. A missing store_id means every store. Of two offers
        for one store, SKU and period the deeper counts, with the display and mailer of both.
    listings : DataFrame
        store_id, sku, and where known first_period, last_period: which pairs are on the shelf, and from when to
        when (inclusive). Sales outside are not used. Being out of stock counts as being on the shelf.
    clusters : DataFrame
        store_id, store_cluster.
    products : DataFrame
        sku, category.
    periods : sequence of dates, optional
        All trading periods in order; by default those with any sale.

    Returns
    -------
    DataFrame
        store_cluster, category, sku (all categorical), period, units, exposure, stores, depth, display, mailer,
        lag_depth. SKUs that a cluster never sold are left out: a Poisson fit learns nothing from them.

    Raises
    ------
    TableError
        If a table lacks a column.

    Examples
    --------
    >>> sales = pd.DataFrame({"store_id": ["1", "2", "1"], "sku": "a", "units": [4.0, 2.0, 9.0],
    ...                       "period": pd.to_datetime(["2024-01-01", "2024-01-01", "2024-01-08"])})
    >>> offers = pd.DataFrame({"store_id": ["1"], "sku": ["a"], "period": pd.to_datetime(["2024-01-08"]),
    ...                        "depth": [0.2], "display": [False], "mailer": [True]})
    >>> pairs = pd.DataFrame({"store_id": ["1", "2"], "sku": ["a", "a"]})
    >>> panel = promotion_panel(sales, offers, pairs, pairs.assign(store_cluster="C1"),
    ...                         pd.DataFrame({"sku": ["a"], "category": ["tea"]}))
    >>> panel[["units", "stores", "depth"]].to_numpy().tolist()
    [[6.0, 2.0, 0.0], [0.0, 1.0, 0.0], [9.0, 1.0, 0.2]]
    """
    _require("sales", sales, ["store_id", "sku", "period", "units"])
    _require("promotions", promotions, ["store_id", "sku", "period", "depth", "display", "mailer"])
    _require("listings", listings, ["store_id", "sku"])
    _require("clusters", clusters, ["store_id", "store_cluster"])
    _require("products", products, ["sku", "category"])
    dates = _dates(sales["period"] if periods is None else pd.Series(list(periods)))
    calendar = pd.DatetimeIndex(dates.unique()).sort_values()
    cluster_of = clusters.drop_duplicates("store_id").set_index("store_id")["store_cluster"]
    category_of = products.drop_duplicates("sku").set_index("sku")["category"]
    pairs = listings.drop_duplicates(["store_id", "sku"]).sort_values(["store_id", "sku"], ignore_index=True)
    pairs = pairs.assign(
        store_cluster=pairs["store_id"].map(cluster_of), category=pairs["sku"].map(category_of)
    )
    pairs = pairs.dropna(subset=["store_cluster", "category"])
    pairs["first"] = _position(pairs, "first_period", calendar, 0)
    pairs["last"] = _position(pairs, "last_period", calendar, len(calendar) - 1)
    sales = sales.assign(
        _t=calendar.get_indexer(pd.DatetimeIndex(_dates(sales["period"]))), _c=sales["sku"].map(category_of)
    )
    offers = promotions.assign(
        _t=calendar.get_indexer(pd.DatetimeIndex(_dates(promotions["period"]))),
        _c=promotions["sku"].map(category_of),
    )
    sales, offers = sales[sales["_t"] >= 0], offers[offers["_t"] >= 0]
    sales_of, offers_of = dict(list(sales.groupby("_c"))), dict(list(offers.groupby("_c")))
    parts = []
    for category, mine in pairs.groupby("category", sort=True):
        grid = _Grid(mine.reset_index(drop=True), len(calendar))
        grid.sell(sales_of.get(category, sales.iloc[:0]))
        grid.offer(offers_of.get(category, offers.iloc[:0]))
        parts.append(grid.panel(calendar).assign(category=category))
    panel = pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=PANEL_COLUMNS)
    for column in ("store_cluster", "category", "sku"):
        panel[column] = pd.Categorical(panel[column], categories=sorted(panel[column].unique()))
    return panel[PANEL_COLUMNS]


class _Grid:
    """One category's pairs by periods, dense."""

    def __init__(self, pairs: pd.DataFrame, n_periods: int) -> None:
        self.pairs = pairs
        self.index = pd.MultiIndex.from_frame(pairs[["store_id", "sku"]])
        shape = (len(pairs), n_periods)
        self.units = np.zeros(shape)
        self.depth = np.zeros(shape)
        self.display = np.zeros(shape, dtype=bool)
        self.mailer = np.zeros(shape, dtype=bool)
        period = np.arange(n_periods)
        self.listed = (period >= pairs["first"].to_numpy()[:, None]) & (
            period <= pairs["last"].to_numpy()[:, None]
        )

    def sell(self, sales: pd.DataFrame) -> None:
        pair = self.index.get_indexer(pd.MultiIndex.from_frame(sales[["store_id", "sku"]]))
        known = pair >= 0
        np.add.at(
            self.units,
            (pair[known], sales["_t"].to_numpy()[known]),
            sales["units"].to_numpy(dtype=float)[known],
        )

    def offer(self, offers: pd.DataFrame) -> None:
        everywhere = offers["store_id"].isna()
        local = offers[~everywhere]
        pair = self.index.get_indexer(pd.MultiIndex.from_frame(local[["store_id", "sku"]]))
        self._put(local[pair >= 0], pair[pair >= 0])
        chain = offers[everywhere].reset_index(drop=True)
        if len(chain):
            members = pd.DataFrame({"sku": self.pairs["sku"], "pair": np.arange(len(self.pairs))})
            spread = chain.merge(members, on="sku")
            self._put(spread, spread["pair"].to_numpy())

    def _put(self, offers: pd.DataFrame, pair: npt.NDArray[np.int64]) -> None:
        place = (pair, offers["_t"].to_numpy())
        depth = np.round(offers["depth"].to_numpy(dtype=float) / DEPTH_STEP) * DEPTH_STEP
        np.maximum.at(self.depth, place, np.nan_to_num(depth))
        np.logical_or.at(self.display, place, offers["display"].to_numpy(dtype=bool))
        np.logical_or.at(self.mailer, place, offers["mailer"].to_numpy(dtype=bool))

    def panel(self, calendar: pd.DatetimeIndex) -> pd.DataFrame:
        lag = np.zeros_like(self.depth)
        lag[:, 1:] = self.depth[:, :-1]
        plain = self.listed & (self.depth == 0) & (lag == 0) & ~self.display & ~self.mailer
        cells, first = np.unique(
            self.pairs["store_cluster"].astype(str) + "\x00" + self.pairs["sku"].astype(str),
            return_inverse=True,
        )
        pair, period = np.nonzero(self.listed)
        cell = first[pair]
        weight = self._plain_rate(plain, first, len(cells))[pair]
        steps = np.round(self.depth[pair, period] / DEPTH_STEP).astype(np.int64)
        lags = np.round(lag[pair, period] / DEPTH_STEP).astype(np.int64)
        state = ((lags * 20_000 + steps) * 2 + self.display[pair, period]) * 2 + self.mailer[pair, period]
        states, state = np.unique(state, return_inverse=True)
        key = (cell * len(calendar) + period) * len(states) + state
        rows, group = np.unique(key, return_inverse=True)
        units = np.maximum(np.bincount(group, self.units[pair, period], len(rows)), 0.0)
        exposure = np.bincount(group, weight, len(rows))
        stores = np.bincount(group, minlength=len(rows))
        which = states[rows % len(states)]
        rest = rows // len(states)
        names = np.array([c.split("\x00") for c in cells], dtype=object).reshape(-1, 2)[rest // len(calendar)]
        sold = exposure > 0
        return pd.DataFrame(
            {
                "store_cluster": names[:, 0],
                "sku": names[:, 1],
                "period": calendar[rest % len(calendar)],
                "units": units,
                "exposure": exposure,
                "stores": stores,
                "depth": np.round((which // 4) % 20_000 * DEPTH_STEP, 4),
                "display": (which // 2) % 2 == 1,
                "mailer": which % 2 == 1,
                "lag_depth": np.round(which // 80_000 * DEPTH_STEP, 4),
            }
        )[sold]

    def _plain_rate(
        self, plain: npt.NDArray[np.bool_], cell: npt.NDArray[np.int64], n_cells: int
    ) -> npt.NDArray[np.float64]:
        """Units of each pair in a plain period, with one period's weight on its cluster's mean for the SKU.

        Where a SKU sold in its cluster in no plain period, all listed ones stand in; where never, the rate is 0.
        """
        sold = np.bincount(cell, np.where(plain, self.units, 0).sum(axis=1), n_cells)
        usable = np.where((sold > 0)[cell][:, None], plain, self.listed)
        units, periods = np.where(usable, self.units, 0).sum(axis=1), usable.sum(axis=1)
        cell_periods = np.bincount(cell, periods, n_cells)
        mean = np.bincount(cell, units, n_cells) / np.maximum(cell_periods, 1)
        return (units + mean[cell]) / (periods + 1)


def _position(
    pairs: pd.DataFrame, column: str, calendar: pd.DatetimeIndex, otherwise: int
) -> npt.NDArray[np.int64] | int:
    if column not in pairs:
        return otherwise
    dates = _dates(pairs[column])
    filled = pd.DatetimeIndex(dates.fillna(calendar[0]))
    if otherwise == 0:
        place = calendar.searchsorted(filled, side="left")
    else:
        place = calendar.searchsorted(filled, side="right") - 1
    return np.where(dates.isna(), otherwise, place)


def _dates(values: pd.Series) -> pd.Series:
    return pd.to_datetime(values).astype("datetime64[ns]")


def _require(table: str, frame: pd.DataFrame, columns: list[str]) -> None:
    missing = [column for column in columns if column not in frame]
    if missing:
        raise TableError(
            f"{table}: no column {', '.join(missing)}. Its columns are {', '.join(map(str, frame.columns))}."
        )
