"""Sales and offers of one category at a time: every pair of store and SKU, every period, dense."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from geomarket.errors import TableError

__all__ = ["DEPTH_STEP", "OfferGrid", "offer_grids", "require"]

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
Ints = npt.NDArray[np.int64]

#: Depths closer than this are one offer.
DEPTH_STEP = 1e-4


@dataclass(frozen=True)
class OfferGrid:
    """One category, arrays of shape (n_pairs, n_periods).

    Attributes
    ----------
    category : str
    pairs : DataFrame
        store_id, sku, store_cluster, in the order of the arrays' rows.
    calendar : DatetimeIndex
    listed : ndarray of bool
    units, depth : ndarray of float
    display, mailer : ndarray of bool
    mechanic : ndarray of int
        Position in ``mechanics``; -1 where no price cut is on.
    mechanics : tuple of str
        All mechanics of the history, the commonest first, the same in every category.
    """

    category: str
    pairs: pd.DataFrame
    calendar: pd.DatetimeIndex
    listed: Bools
    units: Floats
    depth: Floats
    display: Bools
    mailer: Bools
    mechanic: Ints
    mechanics: tuple[str, ...]

    @property
    def on(self) -> Bools:
        """Where anything is offered."""
        return (self.depth > 0) | self.display | self.mailer

    @property
    def lag_depth(self) -> Floats:
        """Price cut of the period before."""
        lag = np.zeros_like(self.depth)
        lag[:, 1:] = self.depth[:, :-1]
        return lag

    @property
    def lead(self) -> Bools:
        """Where nothing is offered, but will be in the next period."""
        ahead = np.zeros_like(self.display)
        ahead[:, :-1] = self.on[:, 1:] & ~self.on[:, :-1]
        return ahead

    @property
    def plain(self) -> Bools:
        """Where a pair is listed and there is no offer in the period or just before it."""
        return self.listed & ~self.on & (self.lag_depth == 0)

    def plain_rate(self, cell: Ints, n_cells: int) -> Floats:
        """Units of each pair in a plain period, with one period's weight on the mean of its ``cell``.

        Where a SKU sold in its cell in no plain period, all listed ones stand in; where never, the rate is 0.
        """
        plain = self.plain
        sold = np.bincount(cell, np.where(plain, self.units, 0).sum(axis=1), n_cells)
        usable = np.where((sold > 0)[cell][:, None], plain, self.listed)
        units, periods = np.where(usable, self.units, 0).sum(axis=1), usable.sum(axis=1)
        cell_periods = np.bincount(cell, periods, n_cells)
        mean = np.bincount(cell, units, n_cells) / np.maximum(cell_periods, 1)
        return (units + mean[cell]) / (periods + 1)


def offer_grids(
    sales: pd.DataFrame,
    promotions: pd.DataFrame,
    listings: pd.DataFrame,
    clusters: pd.DataFrame,
    products: pd.DataFrame,
    periods: Sequence[Any] | None = None,
) -> Iterator[OfferGrid]:
    """Yield the grid of each category, in order of their names.

    Parameters are those of :func:`geomarket.promotions.promotion_panel`.
    """
    require("sales", sales, ["store_id", "sku", "period", "units"])
    require("promotions", promotions, ["store_id", "sku", "period", "depth", "display", "mailer"])
    require("listings", listings, ["store_id", "sku"])
    require("clusters", clusters, ["store_id", "store_cluster"])
    require("products", products, ["sku", "category"])
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
    mechanics = _mechanics(promotions)
    sold = _Rows.of(sales, ["store_id", "sku", "units"], calendar, category_of)
    if "mechanic" not in promotions:
        promotions = promotions.assign(mechanic=mechanics[0])
    offered = _Rows.of(
        promotions, ["store_id", "sku", "depth", "display", "mailer", "mechanic"], calendar, category_of
    )
    for category, mine in pairs.groupby("category", sort=True):
        grid = _empty(str(category), mine.reset_index(drop=True), calendar, mechanics)
        _sell(grid, sold.of_category(category))
        _offer(grid, offered.of_category(category))
        yield grid


def require(table: str, frame: pd.DataFrame, columns: list[str]) -> None:
    """Raise TableError where a column is missing."""
    missing = [column for column in columns if column not in frame]
    if missing:
        raise TableError(
            f"{table}: no column {', '.join(missing)}. Its columns are {', '.join(map(str, frame.columns))}."
        )


@dataclass(frozen=True)
class _Rows:
    """A long table with its rows by category, taken out one category at a time to save memory."""

    frame: pd.DataFrame
    places: dict[Any, Ints]

    @classmethod
    def of(
        cls, table: pd.DataFrame, columns: list[str], calendar: pd.DatetimeIndex, category_of: pd.Series
    ) -> _Rows:
        """Keep ``columns`` and the position ``_t`` of the period."""
        place = calendar.get_indexer(pd.DatetimeIndex(_dates(table["period"])))
        category = table["sku"].map(category_of).where(place >= 0)
        groups = category.groupby(category, observed=True).indices
        return cls(table[columns].assign(_t=place), {name: np.asarray(rows) for name, rows in groups.items()})

    def of_category(self, category: Any) -> pd.DataFrame:
        """Rows of one category."""
        return self.frame.take(self.places.get(category, np.zeros(0, dtype=np.int64)))


def _mechanics(promotions: pd.DataFrame) -> tuple[str, ...]:
    """Mechanics of price cuts, the commonest first."""
    if "mechanic" not in promotions:
        return ("price cut",)
    cuts = promotions.loc[promotions["depth"] > 0, "mechanic"].dropna().astype(str)
    counts = cuts.value_counts()
    names = sorted(counts.index, key=lambda name: (-int(counts[name]), name))
    return tuple(names) or ("price cut",)


def _empty(
    category: str, pairs: pd.DataFrame, calendar: pd.DatetimeIndex, mechanics: tuple[str, ...]
) -> OfferGrid:
    shape = (len(pairs), len(calendar))
    period = np.arange(len(calendar))
    listed = (period >= pairs["first"].to_numpy()[:, None]) & (period <= pairs["last"].to_numpy()[:, None])
    return OfferGrid(
        category,
        pairs,
        calendar,
        listed,
        np.zeros(shape),
        np.zeros(shape),
        np.zeros(shape, dtype=bool),
        np.zeros(shape, dtype=bool),
        np.full(shape, -1, dtype=np.int64),
        mechanics,
    )


def _sell(grid: OfferGrid, sales: pd.DataFrame) -> None:
    pair = _index(grid).get_indexer(pd.MultiIndex.from_frame(sales[["store_id", "sku"]]))
    known = pair >= 0
    place = (pair[known], sales["_t"].to_numpy()[known])
    np.add.at(grid.units, place, sales["units"].to_numpy(dtype=float)[known])


def _offer(grid: OfferGrid, offers: pd.DataFrame) -> None:
    everywhere = offers["store_id"].isna()
    local = offers[~everywhere]
    pair = _index(grid).get_indexer(pd.MultiIndex.from_frame(local[["store_id", "sku"]]))
    _put(grid, local[pair >= 0], pair[pair >= 0])
    chain = offers[everywhere].reset_index(drop=True)
    if len(chain):
        members = pd.DataFrame({"sku": grid.pairs["sku"], "pair": np.arange(len(grid.pairs))})
        spread = chain.merge(members, on="sku")
        _put(grid, spread, spread["pair"].to_numpy())


def _put(grid: OfferGrid, offers: pd.DataFrame, pair: npt.NDArray[Any]) -> None:
    place = (pair, offers["_t"].to_numpy())
    depth = np.nan_to_num(np.round(offers["depth"].to_numpy(dtype=float) / DEPTH_STEP) * DEPTH_STEP)
    before = grid.depth[place]
    np.maximum.at(grid.depth, place, depth)
    np.logical_or.at(grid.display, place, offers["display"].to_numpy(dtype=bool))
    np.logical_or.at(grid.mailer, place, offers["mailer"].to_numpy(dtype=bool))
    # The deepest offer's mechanic counts; of equally deep ones the rarest.
    raised = grid.depth[place] > before
    grid.mechanic[pair[raised], place[1][raised]] = -1
    deepest = (depth > 0) & (depth >= grid.depth[place])
    code = np.maximum(pd.Index(grid.mechanics).get_indexer(pd.Index(offers["mechanic"].astype(object))), 0)
    np.maximum.at(grid.mechanic, (pair[deepest], place[1][deepest]), code[deepest])


def _index(grid: OfferGrid) -> pd.MultiIndex:
    return pd.MultiIndex.from_frame(grid.pairs[["store_id", "sku"]])


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
