"""How fast SKUs sell by their attributes: a ridge regression over existing SKUs, judged on SKUs held out whole."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.stats import spearmanr

from geomarket.demand.holdout import holdout_metrics
from geomarket.demand.model import Demand
from geomarket.demand.substitution import attribute_similarity

__all__ = [
    "FOLDS",
    "NEW",
    "Shelf",
    "cross_validated",
    "judged_interval",
    "likeness",
    "predicted_rates",
    "store_pattern",
]

NEW = "attributes"
"""What the demand table calls the family of these forecasts."""
FOLDS = 5
_RIDGES = (0.3, 1.0, 3.0, 10.0, 30.0, 100.0)
_MOST_WORDS = 200
_SHARPNESS = 6.0
"""How fast the pull of an existing SKU's local pattern falls with unlikeness."""
_STEADY = 5.0
"""Stores a SKU must sell in for its rate to count half as much as one known exactly."""


@dataclass(frozen=True)
class Shelf:
    """What sells: log rate of each SKU, size of each store in each category, local pattern of each SKU."""

    stores: pd.Index
    skus: pd.Index
    categories: pd.Index
    category: np.ndarray
    rate: np.ndarray
    weight: np.ndarray
    size: np.ndarray
    lift: np.ndarray
    units: np.ndarray
    listed: np.ndarray

    @classmethod
    def of(cls, demand: Demand, indexed: pd.DataFrame) -> Shelf:
        """Read rates, sizes and patterns off a demand; ``indexed`` has the products by sku."""
        table = demand.table[demand.table["family"] != NEW]
        units = table.pivot(index="store_id", columns="sku", values="units")
        listed = table.pivot(index="store_id", columns="sku", values="listed").to_numpy(dtype=bool)
        category, categories = pd.factorize(indexed.loc[units.columns, "category"], sort=True)
        values = np.nan_to_num(units.to_numpy(dtype=float))
        totals = np.stack([values[:, category == c].sum(axis=1) for c in range(len(categories))], axis=1)
        size = totals / np.maximum(totals.mean(axis=0), 1e-300)
        mine = size[:, category]
        # The level is that of the stores that list a SKU: forecasts for the others are models' own words.
        sold, room = (values * listed).sum(axis=0), (mine * listed).sum(axis=0)
        rate = np.divide(sold, room, out=np.full(len(sold), np.nan), where=room > 0)
        expected = mine * np.where(rate > 0, rate, np.nan)
        lift = np.nan_to_num(values / np.where(expected > 0, expected, np.nan), nan=1.0)
        middle = lift.mean(axis=0)
        lift = lift / np.where(middle > 0, middle, 1.0)
        n = listed.sum(axis=0)
        known = (n > 0) & (rate > 0)
        keep = np.flatnonzero(known)
        return cls(
            stores=units.index,
            skus=units.columns[keep],
            categories=pd.Index(categories),
            category=category[keep],
            rate=np.log(rate[keep]),
            weight=n[keep] / (n[keep] + _STEADY),
            size=size,
            lift=lift[:, keep],
            units=values[:, keep],
            listed=listed[:, keep],
        )


def _design(
    known: pd.DataFrame, wanted: pd.DataFrame, columns: Sequence[str]
) -> tuple[np.ndarray, np.ndarray, int]:
    """Return attributes as numbers for known and wanted SKUs; the first columns are categories (no ridge)."""
    categories = sorted(known["category"].astype(str).unique())
    blocks = [_words(known["category"], wanted["category"], categories)]
    free = len(categories)
    for column in columns:
        mine, theirs = known[column], wanted[column]
        if pd.api.types.is_numeric_dtype(mine) and not pd.api.types.is_bool_dtype(mine):
            blocks += _figures(mine.astype(float), theirs.astype(float), known, wanted, categories)
        else:
            counts = mine.dropna().astype(str).value_counts()
            counts = counts.sort_index().sort_values(ascending=False, kind="stable")
            blocks.append(_words(mine, theirs, counts.index[counts >= 2][:_MOST_WORDS]))
    first, second = (np.hstack([pair[side] for pair in blocks]) for side in (0, 1))
    return first, second, free


def _words(
    mine: pd.Series, theirs: pd.Series, words: Sequence[str] | pd.Index
) -> tuple[np.ndarray, np.ndarray]:
    index = pd.Index(words)
    found = []
    for values in (mine, theirs):
        place = index.get_indexer(pd.Index(values.where(values.isna(), values.astype(str))))
        dummies = np.zeros((len(values), len(index)))
        rows = np.flatnonzero(place >= 0)
        dummies[rows, place[rows]] = 1.0
        found.append(dummies)
    return found[0], found[1]


def _figures(
    mine: pd.Series, theirs: pd.Series, known: pd.DataFrame, wanted: pd.DataFrame, categories: Sequence[str]
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return a figure, its square and its slope by category, in logs where it is positive, centred by category."""
    if (mine.dropna() > 0).all() and (theirs.dropna() > 0).all():
        mine, theirs = np.log(mine), np.log(theirs)
    middle = mine.groupby(known["category"].astype(str)).mean()
    centred = [
        (values - frame["category"].astype(str).map(middle)).fillna(0.0).to_numpy()
        for values, frame in ((mine, known), (theirs, wanted))
    ]
    spread = float(centred[0].std()) or 1.0
    scaled = [np.clip(values / spread, -3.0, 3.0)[:, None] for values in centred]
    group = _words(known["category"], wanted["category"], categories)
    return [
        (scaled[0], scaled[1]),
        (scaled[0] ** 2 - 1.0, scaled[1] ** 2 - 1.0),
        (scaled[0] * group[0], scaled[1] * group[1]),
    ]


def predicted_rates(
    known: pd.DataFrame,
    wanted: pd.DataFrame,
    response: np.ndarray,
    weight: np.ndarray,
    columns: Sequence[str],
    ridges: Sequence[float],
) -> np.ndarray:
    """Return log rates by weighted ridge regression on the known SKUs, shape (n_ridges, n_wanted)."""
    x, z, free = _design(known, wanted, columns)
    middle = float(np.average(response, weights=weight))
    curvature, pull = (x.T * weight) @ x, x.T @ (weight * (response - middle))
    found = []
    for ridge in ridges:
        penalty = np.full(x.shape[1], ridge)
        penalty[:free] = 1e-6
        found.append(middle + z @ np.linalg.solve(curvature + np.diag(penalty), pull))
    return np.stack(found)


def likeness(known: pd.DataFrame, wanted: pd.DataFrame, columns: Sequence[str]) -> np.ndarray:
    """Return how alike each known SKU (row) is to each wanted one (column), 0 across categories."""
    found = np.zeros((len(known), len(wanted)))
    for category in wanted["category"].unique():
        rows = np.flatnonzero((known["category"] == category).to_numpy())
        places = np.flatnonzero((wanted["category"] == category).to_numpy())
        both = pd.concat([known.iloc[rows], wanted.iloc[places]])
        alike = attribute_similarity(both, columns, sharpness=_SHARPNESS)
        found[np.ix_(rows, places)] = alike[: len(rows), len(rows) :]
    return found


def store_pattern(shelf: Shelf, known: pd.DataFrame, wanted: pd.DataFrame, alike: np.ndarray) -> np.ndarray:
    """Return size × local lift of each store for each wanted SKU: the lifts of the SKUs most alike, averaged."""
    rows = shelf.skus.get_indexer(known.index)
    pull = alike * shelf.weight[rows][:, None]
    total = pull.sum(axis=0)
    lift = np.where(
        total > 0, shelf.lift[:, rows] @ np.divide(pull, total, where=total > 0, out=np.zeros_like(pull)), 1.0
    )
    column = shelf.categories.get_indexer(pd.Index(wanted["category"]))
    return np.asarray(np.take(shelf.size, column, axis=1) * lift)


def cross_validated(
    shelf: Shelf, indexed: pd.DataFrame, columns: Sequence[str], folds: np.ndarray
) -> tuple[float, dict[str, np.ndarray]]:
    """Choose the ridge, and forecast every existing SKU from the others: in a store of average size, and by store."""
    everything = indexed.loc[shelf.skus]
    predicted = {ridge: np.empty(len(shelf.skus)) for ridge in _RIDGES}
    pattern = np.empty_like(shelf.units)
    plain = np.empty(len(shelf.skus))
    for fold in range(FOLDS):
        out = np.flatnonzero(folds == fold)
        rest = np.flatnonzero(folds != fold)
        known, wanted = everything.iloc[rest], everything.iloc[out]
        rates = predicted_rates(known, wanted, shelf.rate[rest], shelf.weight[rest], columns, _RIDGES)
        for ridge, values in zip(_RIDGES, rates):
            predicted[ridge][out] = values
        weight, category = shelf.weight[rest], shelf.category[rest]
        total = np.bincount(category, weights=weight, minlength=len(shelf.categories))
        summed = np.bincount(category, weights=weight * shelf.rate[rest], minlength=len(shelf.categories))
        overall = summed.sum() / total.sum()
        mean = np.divide(summed, total, out=np.full(len(total), overall), where=total > 0)
        plain[out] = mean[shelf.category[out]]
        pattern[:, out] = store_pattern(shelf, known, wanted, likeness(known, wanted, columns))
    errors = {
        ridge: float(np.average((shelf.rate - values) ** 2, weights=shelf.weight))
        for ridge, values in predicted.items()
    }
    best = min(errors, key=lambda ridge: errors[ridge])
    size = shelf.size[:, shelf.category]
    return best, {
        NEW: np.exp(predicted[best]) * pattern,
        "category average": np.exp(plain) * size,
    }


def judged_interval(
    shelf: Shelf, held: dict[str, np.ndarray], folds: np.ndarray
) -> tuple[float, float, float, pd.DataFrame]:
    """Return the factor that makes the mean right, the interval as factors on a forecast, and the figures."""
    store, sku = np.nonzero(shelf.listed & (shelf.units > 0))
    seen = shelf.units[store, sku]
    rows, found = [], {}
    for name in (NEW, "category average"):
        raw = held[name][store, sku]
        level = float(seen.sum() / raw.sum())
        ratio = seen / np.maximum(raw * level, 1e-300)
        low, high = _spread(ratio, sku)
        inside = np.empty(len(seen))
        for fold in range(FOLDS):  # the interval is judged on SKUs that had no part in it
            out = folds[sku] == fold
            least, most = _spread(ratio[~out], sku[~out])
            inside[out] = (ratio[out] >= least) & (ratio[out] <= most)
        figures = holdout_metrics(sku, seen, np.ones(len(seen)), raw * level)
        by_sku = pd.DataFrame({"seen": seen, "ahead": raw}).groupby(sku).mean()
        rows.append(
            {
                "model": name,
                "skus": len(by_sku),
                "pairs": len(seen),
                "wmape": figures["wmape"],
                "bias": figures["bias"],
                "spearman": float(spearmanr(by_sku["seen"], by_sku["ahead"])[0]),
                "coverage": float(np.average(inside, weights=1 / np.bincount(sku)[sku])),
            }
        )
        found[name] = (level, low, high)
    return (*found[NEW], pd.DataFrame(rows))


def _spread(ratio: np.ndarray, sku: np.ndarray) -> tuple[float, float]:
    """Return the 5% and 95% points of the ratios, every SKU counting alike, moved out for their small number."""
    n = len(np.unique(sku))
    weight = 1 / np.bincount(sku)[sku]
    order = np.argsort(ratio, kind="stable")
    reached = np.cumsum(weight[order]) / n
    tail = max(0.05 - 1.0 / n, 0.0)
    low = int(np.searchsorted(reached, tail))
    high = min(int(np.searchsorted(reached, 1.0 - tail)), len(order) - 1)
    return float(ratio[order[low]]), float(ratio[order[high]])
