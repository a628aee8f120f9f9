"""Families of local forecasts: each says how far a store × SKU departs from size × rate.

A family is fitted on pairs seen listed and gives a lift for every store × SKU, listed or not. Which family speaks
for a category is decided by a hold-out, never here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import pandas as pd

from geomarket.demand.evidence import Evidence
from geomarket.demand.shrinkage import fit_scatter, shrunk_ratios
from geomarket.errors import TableError

__all__ = ["BaselineFamily", "ClusterFamily", "Family"]


class Family(Protocol):
    """What a family of forecasts must offer."""

    @property
    def name(self) -> str:
        """What the family is called in tables."""
        ...

    def variants(self, n_stores: int) -> Sequence[Family]:
        """Return the settings to choose from on the hold-out; itself where there is nothing to set."""
        ...

    def lift(self, evidence: Evidence) -> np.ndarray:
        """Return lifts of shape (n_stores, n_skus) over ``evidence.base``, learnt from its pairs alone."""
        ...


@dataclass(frozen=True)
class BaselineFamily:
    """No local departure: size × rate as it is."""

    name: str = "baseline"

    def variants(self, n_stores: int) -> Sequence[BaselineFamily]:
        """Return itself."""
        return [self]

    def lift(self, evidence: Evidence) -> np.ndarray:
        """Return 1 for every store × SKU."""
        return np.ones(evidence.base.shape)


@dataclass(frozen=True)
class ClusterFamily:
    """Store cluster × SKU lifts, drawn towards 1 as far as chance explains their spread.

    Attributes
    ----------
    clusters : Series
        store_cluster by store_id (index); a store without one keeps a lift of 1.

    Notes
    -----
    Observed over expected units of a cluster × SKU, shrunk by empirical Bayes with a spread estimated per category
    (Clayton & Kaldor 1987). Chance includes what the pairs of a cluster differ among themselves, so a lift resting
    on one store counts for little.
    """

    clusters: pd.Series
    name: str = "cluster"

    def variants(self, n_stores: int) -> Sequence[ClusterFamily]:
        """Return itself."""
        return [self]

    def lift(self, evidence: Evidence) -> np.ndarray:
        """Return the lifts of every store × SKU."""
        pairs, mean = evidence.pairs, evidence.mean
        if not self.clusters.index.is_unique:
            raise TableError("store_clusters: a store_id repeats. Give each store one cluster.")
        names = self.clusters.reindex(pairs.stores)
        cluster, found = pd.factorize(names, sort=True)
        n_clusters, n_skus = len(found), pairs.shape[1]
        lifts = np.ones((n_clusters + 1, n_skus))  # the last row stands for stores without a cluster
        if n_clusters < 2:
            return lifts[cluster]
        home = cluster[pairs.store]
        for c in range(len(pairs.categories)):
            rows = np.flatnonzero((pairs.pair_category == c) & (home >= 0) & (mean > 0))
            if len(rows) < 10:
                continue
            columns = np.flatnonzero(pairs.category == c)
            lifts[:-1, columns] = _cluster_lifts(
                home[rows],
                np.searchsorted(columns, pairs.sku[rows]),
                pairs.units[rows],
                mean[rows],
                n_clusters,
                len(columns),
            )
        return lifts[cluster]


def _cluster_lifts(
    home: np.ndarray, sku: np.ndarray, units: np.ndarray, mean: np.ndarray, n_clusters: int, n_skus: int
) -> np.ndarray:
    cell = home * n_skus + sku
    cells = n_clusters * n_skus
    observed = np.bincount(cell, weights=units, minlength=cells)
    expected = np.bincount(cell, weights=mean, minlength=cells)
    of_sku = np.bincount(sku, weights=mean, minlength=n_skus)
    share = expected / np.tile(np.maximum(of_sku, 1e-300), n_clusters)
    lift = np.ones(cells)
    for _ in range(2):
        # Scatter about the lifted expectation: what clusters explain must not count as chance.
        scatter = fit_scatter(units, mean * lift[cell], lost=float(n_skus))
        variance = np.bincount(cell, weights=scatter.variance(mean), minlength=cells)
        lift = np.maximum(shrunk_ratios(observed, expected, variance, share)[0], 0.0)
    return lift.reshape(n_clusters, n_skus)
