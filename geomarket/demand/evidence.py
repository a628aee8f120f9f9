"""What the listed pairs say about local departures from size × rate, laid out store by SKU."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd

from geomarket.demand.pairs import Pairs
from geomarket.demand.shrinkage import fit_scatter

__all__ = ["Evidence", "attribute_matrix", "gather_evidence", "store_coordinates"]


@dataclass(frozen=True)
class Evidence:
    """Listed pairs, the units expected of them by size × rate, and how far those seen may stray by chance.

    Attributes
    ----------
    pairs : Pairs
        Listed pairs.
    base : ndarray of shape (n_stores, n_skus)
        Size × rate, units per period.
    mean, variance : ndarray of shape (n_pairs,)
        Units expected, and the variance of units about that; 0 where nothing is expected.
    """

    pairs: Pairs
    base: np.ndarray
    mean: np.ndarray
    variance: np.ndarray

    def grid(self, values: np.ndarray) -> np.ndarray:
        """Lay a figure per pair out store by SKU, with 0 where a pair isn't listed."""
        laid = np.zeros(self.pairs.shape)
        laid[self.pairs.store, self.pairs.sku] = values
        return laid

    @cached_property
    def units_grid(self) -> np.ndarray:
        """Units seen, store by SKU."""
        return self.grid(np.where(self.mean > 0, self.pairs.units, 0.0))

    @cached_property
    def mean_grid(self) -> np.ndarray:
        """Units expected, store by SKU."""
        return self.grid(self.mean)

    @cached_property
    def variance_grid(self) -> np.ndarray:
        """Variance of units, store by SKU."""
        return self.grid(self.variance)

    @property
    def precision(self) -> np.ndarray:
        """One over the variance of each pair's ratio of seen to expected."""
        return np.divide(self.mean**2, self.variance, out=np.zeros_like(self.mean), where=self.variance > 0)

    def working(self, log_lift: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return working response and weight of a log-linear model at given log lifts, per pair.

        The step from the current fit is held within (-1, 2), so that one freak pair can't throw the fit.

        Parameters
        ----------
        log_lift : ndarray of shape (n_pairs,)
            Current fit.

        Returns
        -------
        tuple of two ndarrays of shape (n_pairs,)
        """
        mean = self.mean * np.exp(log_lift)
        known = mean > 0
        step = np.divide(self.pairs.units - mean, mean, out=np.zeros_like(mean), where=known)
        # The part of the variance that grows with the mean follows the lift; so does, squared, the part that grows
        # with its square.
        chance = np.divide(self.variance, self.mean, out=np.zeros_like(mean), where=known)
        weight = np.divide(mean, chance, out=np.zeros_like(mean), where=known & (chance > 0))
        return log_lift + np.clip(step, -1.0, 2.0), weight


def gather_evidence(pairs: Pairs, base: np.ndarray) -> Evidence:
    """Compare what was seen with what size × rate expects, with the scatter of each category.

    Parameters
    ----------
    pairs : Pairs
        Listed pairs.
    base : ndarray of shape (n_stores, n_skus)
        Expected units per period.

    Returns
    -------
    Evidence
    """
    mean = pairs.exposure * np.nan_to_num(base[pairs.store, pairs.sku])
    variance = np.zeros(len(pairs))
    for c in range(len(pairs.categories)):
        rows = np.flatnonzero((pairs.pair_category == c) & (mean > 0))
        if len(rows):
            lost = float(len(np.unique(pairs.sku[rows])) + len(np.unique(pairs.store[rows])))
            variance[rows] = fit_scatter(pairs.units[rows], mean[rows], lost=lost).variance(mean[rows])
    return Evidence(pairs, base, mean, variance)


def store_coordinates(
    features: pd.DataFrame, stores: pd.Index, n_components: int | None = None
) -> np.ndarray:
    """Return store coordinates in the order of ``stores``, or their leading principal components.

    Parameters
    ----------
    features : DataFrame
        Index store_id; weighted coordinates as of ``StoreFeatures.points()``. Stores that are missing get the mean.
    stores : Index
        Ids wanted.
    n_components : int, optional
        Number of components, each scaled to unit variance; all coordinates as they are when None.

    Returns
    -------
    ndarray of shape (n_stores, n_features or n_components)
    """
    points = features.reindex(stores).astype(float)
    values = points.fillna(points.mean()).fillna(0.0).to_numpy()
    if n_components is None:
        return values
    centred = values - values.mean(axis=0)
    left, singular, right = np.linalg.svd(centred, full_matrices=False)
    keep = min(n_components, int((singular > 1e-9 * max(singular.max(initial=0.0), 1e-300)).sum()))
    # Signs of singular vectors are arbitrary: fix them, so that results don't hang on the library.
    sign = np.sign(right[np.arange(keep), np.abs(right[:keep]).argmax(axis=1)]) if keep else np.zeros(0)
    return left[:, :keep] * sign * np.sqrt(max(len(values) - 1, 1))


def attribute_matrix(products: pd.DataFrame, skus: pd.Index, columns: Sequence[str]) -> np.ndarray:
    """Turn product attributes into numbers: a column of ones, categories, words as 0/1, figures scaled.

    Parameters
    ----------
    products : DataFrame
        sku, category and the attribute columns.
    skus : Index
        SKUs wanted, in order.
    columns : sequence of str
        Attributes. Of words the 12 commonest count, if five SKUs share them; the rest is "other". A missing figure
        counts as the mean. Figures that are all positive and span more than a factor of five are taken in logs
        (price, pack size).

    Returns
    -------
    ndarray of shape (n_skus, n_columns)
    """
    indexed = products.set_index("sku").reindex(skus)
    parts = [np.ones((len(skus), 1)), _dummies(indexed["category"])]
    for column in columns:
        values = indexed[column]
        if pd.api.types.is_bool_dtype(values):
            parts.append(values.astype(float).to_numpy()[:, None] - float(values.mean()))
        elif pd.api.types.is_numeric_dtype(values):
            parts.append(_scaled(values.astype(float)))
        else:
            parts.append(_dummies(values))
    return np.hstack(parts)


def _dummies(values: pd.Series) -> np.ndarray:
    words = values.astype("str").fillna("missing")
    counts = words.value_counts().sort_index().sort_values(ascending=False, kind="stable")
    common = words.isin(counts.index[counts >= 5][:12])
    return pd.get_dummies(words.where(common, "other"), dtype=float).sort_index(axis=1).to_numpy()


def _scaled(values: pd.Series) -> np.ndarray:
    known = values[values.notna()]
    if len(known) and known.min() > 0 and known.max() > 5 * known.min():
        values = pd.Series(np.log(values), index=values.index)
    spread = values.std(ddof=0)
    scaled = (values - values.mean()) / (spread if spread > 0 else 1.0)
    return scaled.fillna(0.0).to_numpy()[:, None]
