"""Nearest stores: what a store would sell is what the stores most like it sell."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from geomarket.demand.evidence import Evidence, store_coordinates
from geomarket.demand.shrinkage import shrunk_ratios

__all__ = ["NearestByMix", "NearestBySales"]

NEIGHBOURS = (5, 10, 20, 40)


@dataclass(frozen=True)
class NearestByMix:
    """Lifts from the stores nearest in catchment, category mix, size and format.

    Attributes
    ----------
    features : DataFrame
        Index store_id; weighted coordinates as of ``StoreFeatures.points()``.
    k : int
        Number of neighbours; a store isn't its own neighbour.

    Notes
    -----
    Units over expected units of the neighbours, drawn to 1 as far as chance explains their spread.
    """

    features: pd.DataFrame
    k: int = 10
    name: str = "nearest by mix"

    def variants(self, n_stores: int) -> Sequence[NearestByMix]:
        """Return the numbers of neighbours to choose from."""
        return [replace(self, k=k) for k in NEIGHBOURS if k < n_stores / 2] or [self]

    def lift(self, evidence: Evidence) -> np.ndarray:
        """Return the lifts of every store × SKU."""
        points = store_coordinates(self.features, evidence.pairs.stores)
        apart = ((points[:, None, :] - points[None]) ** 2).sum(axis=2)
        return _neighbour_lifts(evidence, _nearest(-apart, self.k))


@dataclass(frozen=True)
class NearestBySales:
    """Lifts from the stores whose departures from size × rate go together with the store's own.

    Attributes
    ----------
    k : int
        Number of neighbours, weighted by similarity; a store isn't its own neighbour.

    Notes
    -----
    Similarity is the cosine of standardised departures on the SKUs both stores list, over all categories (Sarwar et
    al. 2001 for the scheme), drawn to 0 for stores with few SKUs in common.
    """

    k: int = 10
    name: str = "nearest by sales"

    def variants(self, n_stores: int) -> Sequence[NearestBySales]:
        """Return the numbers of neighbours to choose from."""
        return [replace(self, k=k) for k in NEIGHBOURS if k < n_stores / 2] or [self]

    def lift(self, evidence: Evidence) -> np.ndarray:
        """Return the lifts of every store × SKU."""
        alike = np.maximum(_similarity(evidence), 0.0)
        return _neighbour_lifts(evidence, _nearest(alike, self.k) * alike)


def _similarity(evidence: Evidence, pseudo: float = 20.0) -> np.ndarray:
    error = np.sqrt(evidence.variance)
    apart = np.divide(evidence.pairs.units - evidence.mean, error, out=np.zeros_like(error), where=error > 0)
    grid = evidence.grid(np.clip(apart, -3.0, 3.0))
    together = (grid**2) @ (evidence.variance_grid > 0).T.astype(float)
    return (grid @ grid.T) / (np.sqrt(together * together.T) + pseudo)


def _nearest(closeness: np.ndarray, k: int) -> np.ndarray:
    """Mark each store's k closest others with 1; ties go to the store that comes first."""
    n = len(closeness)
    ranked = closeness.astype(float).copy()
    np.fill_diagonal(ranked, -np.inf)
    order = np.argsort(-ranked, axis=1, kind="stable")[:, : min(k, n - 1)]
    marks = np.zeros((n, n))
    np.put_along_axis(marks, order, 1.0, axis=1)
    return marks


def _neighbour_lifts(evidence: Evidence, weight: np.ndarray) -> np.ndarray:
    pairs = evidence.pairs
    observed, expected = weight @ evidence.units_grid, weight @ evidence.mean_grid
    variance = (weight**2) @ evidence.variance_grid
    lifts = np.ones_like(observed)
    for c in range(len(pairs.categories)):
        columns = pairs.category == c
        shape = observed[:, columns].shape
        ratios, _ = shrunk_ratios(*(grid[:, columns].ravel() for grid in (observed, expected, variance)))
        lifts[:, columns] = np.maximum(ratios, 0.02).reshape(shape)
    return lifts
