"""Demand transference: how much of the demand for an absent SKU stays in the store, learnt or assumed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import sparse
from scipy.stats import norm

from geomarket.demand.exposure import listing_exposure
from geomarket.demand.model import Demand
from geomarket.demand.substitution import (
    ASSUMED_SHARE,
    attribute_similarity,
    first_choices,
    substitution_matrix,
)
from geomarket.errors import SettingsError
from geomarket.results import Result

__all__ = ["Transference", "assumed_transference", "learn_transference", "with_transfer"]

_Z90 = float(norm.ppf(0.95))


@dataclass(frozen=True)
class Transference(Result):
    """Share of an absent SKU's buyers who take a substitute, by category.

    Attributes
    ----------
    table : DataFrame
        category, share, se, low, high (90%), pairs (store × SKU pairs it rests on), source ("learnt", "drawn" to the
        other categories for want of evidence of its own, or "assumed").
    notes : tuple of str
        Why shares could not be learnt, where they couldn't.
    attributes : tuple of str
        What makes SKUs alike.
    within : str
        Column of products across whose groups nobody substitutes.
    sharpness : float
        See :func:`attribute_similarity`.
    """

    table: pd.DataFrame
    notes: tuple[str, ...]
    attributes: tuple[str, ...]
    within: str
    sharpness: float

    def summary(self) -> list[str]:
        """Say how much of the demand for an absent SKU stays in the store, and how that is known."""
        learnt = self.table[self.table["source"] != "assumed"]
        if learnt.empty:
            return [
                "What share of the buyers of an absent SKU take a substitute is assumed, not learnt "
                f"({self.table['share'].min():.0%} to {self.table['share'].max():.0%} by category).",
                *self.notes,
            ]
        return [
            f"Of the buyers of an absent SKU {learnt['share'].min():.0%} to {learnt['share'].max():.0%} take a "
            f"substitute, by category (learnt from SKUs that came and went in {len(learnt)} categories).",
            *self.notes,
        ]

    def matrix(self, products: pd.DataFrame, rate: np.ndarray) -> np.ndarray:
        """Return the substitution matrix of the given SKUs.

        Parameters
        ----------
        products : DataFrame
            One row per SKU, in order: category and the attributes.
        rate : ndarray of shape (n_skus,)
            How well each sells.

        Returns
        -------
        ndarray of shape (n_skus, n_skus)
        """
        share = products["category"].map(self.table.set_index("category")["share"]).fillna(ASSUMED_SHARE)
        alike = attribute_similarity(products, self.attributes, within=self.within, sharpness=self.sharpness)
        return substitution_matrix(rate, alike, share.to_numpy(dtype=float))


def with_transfer(demand: Demand, products: pd.DataFrame, transference: Transference) -> pd.DataFrame:
    """Return the demand table with ``transferable_share`` filled in.

    For a listed SKU: the share of its demand that would stay in the store if it were delisted. For an unlisted one:
    the share that other SKUs of the store sell now and would lose.

    Parameters
    ----------
    demand : Demand
        Units by store × SKU.
    products : DataFrame
        sku, category and the attributes.
    transference : Transference
        From :func:`learn_transference`, or assumed.

    Returns
    -------
    DataFrame
    """
    table = demand.table.copy()
    shares = pd.Series(np.nan, index=table.index)
    indexed = products.set_index("sku")
    for _, rows in table.groupby("category", sort=True):
        listed = rows.pivot(index="store_id", columns="sku", values="listed").to_numpy(dtype=float)
        units = rows.pivot(index="store_id", columns="sku", values="units")
        mine = indexed.loc[units.columns].reset_index()
        matrix = transference.matrix(mine, np.nan_to_num(units.to_numpy()).mean(axis=0))
        kept = pd.DataFrame(listed @ matrix.T, index=units.index, columns=units.columns)
        shares.loc[rows.index] = (
            kept.stack().loc[pd.MultiIndex.from_frame(rows[["store_id", "sku"]])].to_numpy()
        )
    table["transferable_share"] = shares
    return table


def learn_transference(
    demand: Demand,
    before: pd.DataFrame,
    after: pd.DataFrame,
    products: pd.DataFrame,
    attributes: Sequence[str],
    n_periods: tuple[int, int],
    *,
    within: str | None = None,
    sharpness: float | None = None,
    min_pairs: int = 200,
) -> Transference:
    """Learn how many buyers substitute from SKUs that came or went while others stayed.

    Where a SKU leaves a store, its substitutes there should sell more than the same SKUs elsewhere, and the other way
    round where one comes. The rise is compared with what it would be if all buyers of the absent SKU turned to them.

    Parameters
    ----------
    demand : Demand
        Forecasts of what each store would sell of each SKU (with a new-listing discount if there is one).
    before, after : DataFrame
        Sales per store × SKU in two windows, as :func:`~geomarket.demand.model.fit_demand` takes them.
    products : DataFrame
        sku, category and the attributes.
    attributes : sequence of str
        What makes SKUs alike.
    n_periods : (int, int)
        Periods in the two windows.
    within : str, optional
        Column of products across whose groups nobody substitutes; "category", or "subcategory" where there is such a
        column, whichever explains the changes better, when None.
    sharpness : float, optional
        See :func:`attribute_similarity`; the value of 0, 2, 4 and 8 that explains the changes best when None.
    min_pairs : int
        Pairs that stayed and whose substitutes came or went, that a category needs for an estimate of its own.

    Returns
    -------
    Transference
        Categories without enough evidence are drawn to the others. Where most estimates come out clearly below zero,
        or there is no evidence at all, the share is assumed: 0.4, and ``source`` says "assumed".

    Notes
    -----
    Log change of each pair's rate between the windows on the log change of its inflow, with effects of SKU and of
    store, weighted least squares iterated over the shares (a difference-in-differences design; standard errors over
    stores). With a single category there are no effects of store, or nothing would be left to tell the share by. Two
    things blur it: retailers drop SKUs where demand for their kind falls, which pulls the estimate down, and times on
    the shelf guessed from dates of sale, which push it up. In simulated grocers it came out up to a sixth too high.
    """
    grids = _grids(demand, before, after, products, n_periods)
    stayed = _Stayed.of(grids)
    steps = (sharpness,) if sharpness is not None else ((0.0, 2.0, 4.0, 8.0) if attributes else (0.0,))
    groups = (within,) if within is not None else ("category", "subcategory")
    tried = [(group, step) for group in groups if group in products.columns for step in steps]
    fits = [_fit_shares(grids, stayed, attributes, group, step, rounds=1) for group, step in tried]
    group, step = tried[int(np.argmin([misfit for _, misfit in fits]))]
    table, _ = _fit_shares(grids, stayed, attributes, group, step, rounds=3)
    return Transference(*_drawn(table, min_pairs), tuple(attributes), group, step)


@dataclass(frozen=True)
class _Grid:
    """One category, store by SKU: forecasts, and units, exposure and share of time listed in both windows."""

    category: str
    products: pd.DataFrame
    stores: pd.Index
    forecast: np.ndarray
    units: tuple[np.ndarray, np.ndarray]
    exposure: tuple[np.ndarray, np.ndarray]
    there: tuple[np.ndarray, np.ndarray]

    @property
    def stayed(self) -> np.ndarray:
        """Pairs that sold in both windows."""
        return (self.units[0] > 0) & (self.units[1] > 0)


def _grids(
    demand: Demand,
    before: pd.DataFrame,
    after: pd.DataFrame,
    products: pd.DataFrame,
    n_periods: tuple[int, int],
) -> list[_Grid]:
    panel = demand.table[["store_id", "sku", "category", "units"]].rename(columns={"units": "forecast"})
    for number, (frame, periods) in enumerate(zip((before, after), n_periods)):
        listed = (
            frame["exposure"].to_numpy(dtype=float)
            if "exposure" in frame.columns
            else listing_exposure(frame, periods)
        )
        mine = frame[["store_id", "sku"]].assign(
            **{f"y{number}": frame["units"].to_numpy(dtype=float), f"e{number}": listed}
        )
        panel = panel.merge(mine, on=["store_id", "sku"], how="left", validate="one_to_one")
    indexed = products.set_index("sku")
    found = []
    for category, part in panel.groupby("category", sort=True):
        wide = part.pivot(index="store_id", columns="sku")
        y, e = ([wide[f"{kind}{number}"].fillna(0.0).to_numpy() for number in (0, 1)] for kind in "ye")
        there = [np.clip(exposure / periods, 0.0, 1.0) for exposure, periods in zip(e, n_periods)]
        forecast = wide["forecast"].fillna(0.0)
        mine = indexed.loc[forecast.columns].reset_index()
        codes, values = forecast.index, forecast.to_numpy()
        found.append(
            _Grid(str(category), mine, codes, values, (y[0], y[1]), (e[0], e[1]), (there[0], there[1]))
        )
    return found


_OWN_CHANGE = 0.02
"""Variance of a pair's log change of rate beyond chance."""


@dataclass(frozen=True)
class _Stayed:
    """Pairs of all categories that sold in both windows, and how to take effects of SKU and store out."""

    category: np.ndarray
    store: np.ndarray
    sku: np.ndarray
    change: np.ndarray
    weight: np.ndarray
    by_sku: np.ndarray
    by_store: np.ndarray
    crossed: sparse.csr_array
    left_of_store: np.ndarray | None

    @classmethod
    def of(cls, grids: Sequence[_Grid]) -> _Stayed:
        parts = [np.nonzero(grid.stayed) for grid in grids]
        category = np.repeat(np.arange(len(grids)), [len(rows) for rows, _ in parts])
        store = pd.factorize(
            np.concatenate([grid.stores[r].to_numpy(dtype=object) for grid, (r, _) in zip(grids, parts)])
        )[0]
        start = np.cumsum([0, *(grid.forecast.shape[1] for grid in grids)])
        sku = np.concatenate([columns + start[c] for c, (_, columns) in enumerate(parts)])
        y = [np.concatenate([grid.units[n][grid.stayed] for grid in grids]) + 0.5 for n in (0, 1)]
        e = [np.concatenate([grid.exposure[n][grid.stayed] for grid in grids]) for n in (0, 1)]
        # Rates of a pair change a little from window to window for reasons of their own.
        weight = 1 / (1 / y[0] + 1 / y[1] + _OWN_CHANGE)
        by_sku = np.maximum(np.bincount(sku, weights=weight, minlength=int(start[-1])), 1e-12)
        n_stores = int(store.max(initial=-1)) + 1
        by_store = np.bincount(store, weights=weight, minlength=n_stores)
        crossed = sparse.csr_array((weight, (store, sku)), shape=(n_stores, int(start[-1])))
        left = None
        if len(grids) > 1:
            # What is left to tell store effects by once those of SKUs are out; one direction is free.
            scaled = crossed.multiply(1 / by_sku[None, :]).tocsr()
            left = np.linalg.pinv(np.diag(by_store) - (scaled @ crossed.T).toarray(), rcond=1e-10)
        change = np.log(y[1] / e[1]) - np.log(y[0] / e[0])
        return cls(category, store, sku, change, weight, by_sku, by_store, crossed, left)

    def without_effects(self, column: np.ndarray) -> np.ndarray:
        """Take weighted effects of SKU and, where there are several categories, of store out of a column."""
        weighted = self.weight * column
        of_sku = np.bincount(self.sku, weights=weighted, minlength=len(self.by_sku))
        if self.left_of_store is None:
            return column - (of_sku / self.by_sku)[self.sku]
        of_store = np.bincount(self.store, weights=weighted, minlength=len(self.by_store))
        store = self.left_of_store @ (of_store - self.crossed @ (of_sku / self.by_sku))
        sku = (of_sku - self.crossed.T @ store) / self.by_sku
        return column - store[self.store] - sku[self.sku]

    def information(self, slope: np.ndarray, place: np.ndarray, n: int) -> tuple[np.ndarray, _Effects]:
        """Return the information of one column a category, effects taken out, and those effects.

        The column of a category is ``slope`` on its own pairs and 0 elsewhere, so that sums by store and by SKU
        tell all: the columns themselves, millions of rows each, are never made.

        Parameters
        ----------
        slope : ndarray
            By pair.
        place : ndarray of int
            Number of each pair's column, 0 to n - 1.
        n : int
            Columns.
        """
        weighted, n_skus = self.weight * slope, len(self.by_sku)
        of_sku = np.bincount(self.sku, weights=weighted, minlength=n_skus)
        column_of_sku = np.zeros(n_skus, dtype=np.int64)
        column_of_sku[self.sku] = place
        sku = np.zeros((n_skus, n))
        sku[np.arange(n_skus), column_of_sku] = of_sku / self.by_sku
        own = np.bincount(place, weights=weighted * slope, minlength=n)
        information = np.diag(own - np.bincount(column_of_sku, weights=of_sku**2 / self.by_sku, minlength=n))
        store = np.zeros((len(self.by_store), n))
        if self.left_of_store is not None:
            rest = _by_store(self.store, place, weighted, store.shape) - self.crossed @ sku
            store = self.left_of_store @ rest
            information -= rest.T @ store
            sku -= (self.crossed.T @ store) / self.by_sku[:, None]
        return information, _Effects(store, sku)

    def scores(self, slope: np.ndarray, place: np.ndarray, left: np.ndarray, effects: _Effects) -> np.ndarray:
        """Return each store's score of every column, shape (n_stores, n); ``left`` is what is left to explain."""
        weighted, shape = self.weight * left, effects.store.shape
        crossed = sparse.csr_array((weighted, (self.store, self.sku)), shape=(shape[0], len(self.by_sku)))
        told = np.bincount(self.store, weights=weighted, minlength=shape[0])
        own = _by_store(self.store, place, weighted * slope, shape)
        return own - effects.store * told[:, None] - crossed @ effects.sku


@dataclass(frozen=True)
class _Effects:
    """Effects of store and of SKU on the columns: arrays of shape (n_stores, n) and (n_skus, n)."""

    store: np.ndarray
    sku: np.ndarray


def _by_store(store: np.ndarray, place: np.ndarray, values: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Add values up by store and column."""
    cell = store * np.int64(shape[1]) + place
    return np.bincount(cell, weights=values, minlength=shape[0] * shape[1]).reshape(shape)


def _fit_shares(
    grids: Sequence[_Grid],
    stayed: _Stayed,
    attributes: Sequence[str],
    within: str,
    sharpness: float,
    rounds: int,
) -> tuple[pd.DataFrame, float]:
    """Fit the share of every category at once; return them and the sum of squares left."""
    alike = [
        attribute_similarity(grid.products, attributes, within=within, sharpness=sharpness) for grid in grids
    ]
    shares = np.full(len(grids), ASSUMED_SHARE)
    first = second = np.zeros(0)
    error, misfit = np.full(len(grids), np.nan), np.inf
    for number in range(rounds):
        # What listed SKUs sell holds what came from absent ones, so wants have to be known with the shares.
        known = np.clip(shares, 0.0, 1.0) if number else np.zeros(len(grids))
        inflows = [_inflows(grid, likeness, share) for grid, likeness, share in zip(grids, alike, known)]
        first, second = (np.concatenate([pair[window] for pair in inflows]) for window in (0, 1))
        shares, error, misfit = _least_squares(stayed, first, second, shares)
    moved = np.bincount(stayed.category, weights=np.abs(second - first) > 0.02, minlength=len(grids)).astype(
        int
    )
    columns = {"category": [grid.category for grid in grids], "raw": shares, "raw_se": error, "pairs": moved}
    return pd.DataFrame(columns), misfit


def _inflows(grid: _Grid, alike: np.ndarray, share: float) -> tuple[np.ndarray, np.ndarray]:
    """Return what would come to the pairs that stayed if all buyers of absent SKUs did, over their own demand."""
    usual = (grid.there[0] + grid.there[1]) / 2
    matrix = substitution_matrix(grid.forecast.mean(axis=0), alike, share)
    wanted = first_choices(grid.forecast, usual, matrix) if share > 0 else grid.forecast
    everyone = substitution_matrix(wanted.mean(axis=0), alike, 1.0)
    found = []
    for there in grid.there:
        came = (wanted * (1 - there)) @ everyone
        ratio = np.divide(came, wanted, out=np.zeros_like(came), where=wanted > 0)[grid.stayed]
        # A pair that hardly sells itself would be swamped by the smallest inflow.
        found.append(np.minimum(ratio, _MOST_INFLOW))
    return found[0], found[1]


_MOST_INFLOW = 5.0
"""Inflow over own demand beyond which it counts no further."""


def _least_squares(
    stayed: _Stayed, first: np.ndarray, second: np.ndarray, start: np.ndarray
) -> tuple[np.ndarray, np.ndarray, float]:
    """Fit the shares by Gauss-Newton."""
    n = len(start)
    present = np.unique(stayed.category)
    shares, error, misfit = start.copy(), np.full(n, np.nan), np.inf
    if not len(present):
        return shares, error, misfit
    weight, place = stayed.weight, np.searchsorted(present, stayed.category)
    for _ in range(15):
        share = shares[stayed.category]
        expected = np.log1p(share * second) - np.log1p(share * first)
        slope = second / (1 + share * second) - first / (1 + share * first)
        left = stayed.without_effects(stayed.change - expected)
        information, effects = stayed.information(slope, place, len(present))
        # A category in which nothing came or went says nothing about its share.
        silent = np.diag(information) < 1e-6
        information[np.diag_indices_from(information)] += np.where(silent, 1.0, 0.0)
        inverse = np.linalg.inv(information)
        step = inverse @ np.bincount(place, weights=weight * slope * left, minlength=len(present))
        misfit = float((weight * left**2).sum())
        scores = stayed.scores(slope, place, left, effects)
        spread = np.sqrt(np.diag(inverse @ scores.T @ scores @ inverse))
        # Shares a little below 0 or above 1 are let stand until the end, or chance at the border would bias them.
        new = np.clip(shares[present] + step, -0.19, 1.5)
        settled = np.abs(new - shares[present]).max() < 1e-6
        shares[present] = new
        error[present] = np.where(silent, np.nan, spread)
        if settled:
            break
    return shares, error, misfit


def _drawn(table: pd.DataFrame, min_pairs: int) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """Draw the categories' shares to their mean as far as chance explains the spread; set aside what can't be."""
    known = table["raw_se"].notna() & (table["pairs"] >= min_pairs) & (table["raw_se"] < 0.5)
    # Nobody buys less of a SKU because its substitute is gone: such an estimate shows that SKUs were dropped where
    # demand for their kind fell.
    absurd = known & (table["raw"] < -_Z90 * table["raw_se"])
    notes = []
    if absurd.any():
        notes.append(
            f"In {int(absurd.sum())} of {int(known.sum())} categories SKUs sold less where their substitutes had gone: "
            "stores dropped what had stopped selling, and the share can't be told from it."
        )
    if absurd.sum() > known.sum() / 2:
        known &= False
    known &= ~absurd
    if not known.any():
        assumed = table.assign(share=ASSUMED_SHARE, se=np.nan, low=0.0, high=1.0, source="assumed")
        return assumed[_COLUMNS], tuple(notes)
    raw, noise = table.loc[known, "raw"].to_numpy(), table.loc[known, "raw_se"].to_numpy() ** 2
    middle = float(np.average(raw, weights=1 / noise))
    spread = (
        max(0.0, float(np.average((raw - middle) ** 2 - noise, weights=1 / noise))) if len(raw) > 1 else 0.0
    )
    belief = spread / (spread + noise) if len(raw) > 1 else np.ones(1)
    sure = float(1 / (1 / noise).sum())
    share, variance = pd.Series(middle, index=table.index), pd.Series(spread + sure, index=table.index)
    share[known] = middle + belief * (raw - middle)
    variance[known] = belief * noise + (1 - belief) ** 2 * sure
    error = np.sqrt(variance)
    found = table.assign(
        share=share.clip(0.0, 1.0),
        se=error,
        low=(share - _Z90 * error).clip(0.0, 1.0),
        high=(share + _Z90 * error).clip(0.0, 1.0),
        source=np.where(known, "learnt", "drawn"),
    )
    return found[_COLUMNS], tuple(notes)


_COLUMNS = ["category", "share", "se", "low", "high", "pairs", "source"]


def assumed_transference(
    categories: Sequence[str],
    attributes: Sequence[str],
    shares: Mapping[str, float] | float = ASSUMED_SHARE,
    *,
    within: str = "category",
    sharpness: float = 3.0,
) -> Transference:
    """Return a transference somebody has decided on.

    Parameters
    ----------
    categories : sequence of str
        Categories it holds for.
    attributes : sequence of str
        What makes SKUs alike.
    shares : mapping of category to share, or float
        Share of an absent SKU's buyers who take a substitute.
    within : str
        Column of products across whose groups nobody substitutes.
    sharpness : float
        See :func:`attribute_similarity`.

    Returns
    -------
    Transference
    """
    given = dict(shares) if isinstance(shares, Mapping) else dict.fromkeys(categories, float(shares))
    unknown = sorted(set(given) - set(categories))
    if unknown:
        raise SettingsError(
            f"transference: category {unknown[0]!r} is not known. Use one of {', '.join(categories)}."
        )
    if any(not 0 <= share <= 1 for share in given.values()):
        raise SettingsError("transference: shares must lie between 0 and 1.")
    share = [given.get(name, ASSUMED_SHARE) for name in categories]
    table = pd.DataFrame(
        {"category": list(categories), "share": share, "se": np.nan, "low": 0.0, "high": 1.0}
    )
    return Transference(
        table.assign(pairs=0, source="assumed")[_COLUMNS], (), tuple(attributes), within, sharpness
    )
