"""Low-rank lifts: a few hidden tastes that stores have and SKUs serve."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from geomarket.demand.evidence import Evidence
from geomarket.demand.pairs import Pairs

__all__ = ["LowRank"]

_OWN_EFFECTS = {"store": 1.0, "sku": 4.0, "store_category": 5.0}
"""Prior precision of the main effects, in pairs of mean weight."""


@dataclass(frozen=True)
class LowRank:
    """Log sales as store, SKU and store × category effects plus products of store and SKU factors.

    Everything is fitted on the log scale, where a pair that sold ten times its forecast counts as much as one that
    sold a tenth of it, and over all categories together, so that what a store's vodka says about its whisky is used.
    The level of each category is then set so that listed pairs are met on average.

    Attributes
    ----------
    rank : int
        Number of hidden tastes.
    ridge : float
        Prior precision of the factors, times the variance main effects leave: larger keeps lifts nearer to 1.
    weighting : {"equal", "precision"}
        Whether every listed pair counts alike, or by how precisely its sales tell its rate.
    rounds : int
        Rounds of alternating least squares.

    Notes
    -----
    Matrix factorisation for incomplete tables with a ridge on both factors (Koren, Bell & Volinsky 2009), solved by
    alternating least squares from the leading singular vectors of the shrunk residuals, so no seed is involved.
    """

    rank: int = 8
    ridge: float = 25.0
    weighting: Literal["equal", "precision"] = "equal"
    rounds: int = 5
    name: str = "low rank"

    def variants(self, n_stores: int) -> Sequence[LowRank]:
        """Return the ranks, ridges and weightings to choose from."""
        ranks = [rank for rank in (2, 8) if rank <= n_stores / 4] or [1]
        ways: tuple[Literal["equal", "precision"], ...] = ("equal", "precision")
        return [
            replace(self, rank=rank, ridge=ridge, weighting=way)
            for rank in ranks
            for ridge in (6.0, 25.0)
            for way in ways
        ]

    def lift(self, evidence: Evidence) -> np.ndarray:
        """Return the lifts of every store × SKU."""
        pairs = evidence.pairs
        weight = self._weights(evidence)
        response = _log_ratio(evidence)
        effects = _Effects.none(pairs)
        for _ in range(4):
            effects.refit(response, weight)
        left = response - effects.at_pairs()
        weights = evidence.grid(weight)
        ridge = self.ridge * float(np.average(left**2, weights=weight))
        stores, skus = np.zeros((pairs.shape[0], 1)), np.zeros((pairs.shape[1], 1))
        if self.rank > 0:
            skus = _start(evidence.grid(left * weight / (weight + ridge)), self.rank)
        for _ in range(self.rounds if self.rank > 0 else 0):
            weighted = evidence.grid(weight * left)
            stores = _solve(skus, weighted, weights, ridge)
            skus = _solve(stores, weighted.T, weights.T, ridge)
            tastes = (stores[pairs.store] * skus[pairs.sku]).sum(axis=1)
            effects.refit(response - tastes, weight)
            left = response - effects.at_pairs()
        lift = np.exp(np.clip(effects.surface() + stores @ skus.T, -4.0, 4.0))
        return lift * _levels(evidence, lift)

    def _weights(self, evidence: Evidence) -> np.ndarray:
        known = evidence.mean > 0
        if self.weighting == "equal":
            return known.astype(float)
        precision = evidence.precision
        return precision / precision[known].mean()


def _log_ratio(evidence: Evidence) -> np.ndarray:
    """Return log of seen over expected, half a purchase added to both so that nothing sold has a logarithm."""
    known = evidence.mean > 0
    dispersion = np.divide(evidence.variance, evidence.mean, out=np.ones_like(evidence.mean), where=known)
    # The smallest ratio of variance to mean in sight is what one purchase amounts to.
    purchase = max(1.0, float(np.quantile(dispersion[known], 0.05)))
    return np.where(
        known, np.log((evidence.pairs.units + purchase / 2) / (evidence.mean + purchase / 2)), 0.0
    )


@dataclass
class _Effects:
    """Main effects on the log scale: of SKUs, of stores, of stores in a category."""

    pairs: Pairs
    sku: np.ndarray
    store: np.ndarray
    own: np.ndarray

    @classmethod
    def none(cls, pairs: Pairs) -> _Effects:
        n_stores, n_skus = pairs.shape
        return cls(pairs, np.zeros(n_skus), np.zeros(n_stores), np.zeros((n_stores, len(pairs.categories))))

    def at_pairs(self) -> np.ndarray:
        own = self.own[self.pairs.store, self.pairs.pair_category]
        return self.sku[self.pairs.sku] + self.store[self.pairs.store] + own

    def surface(self) -> np.ndarray:
        return self.sku + self.store[:, None] + self.own[:, self.pairs.category]

    def refit(self, response: np.ndarray, weight: np.ndarray) -> None:
        """Refit one kind after the other, each drawn to 0 (SKUs to the mean of their category)."""
        pairs, (n_stores, n_skus) = self.pairs, self.pairs.shape
        n_categories = self.own.shape[1]
        cell = pairs.store * n_categories + pairs.pair_category
        own = self.own.ravel()[cell]

        left = response - self.store[pairs.store] - own
        count = np.bincount(pairs.sku, weights=weight, minlength=n_skus)
        total = np.bincount(pairs.sku, weights=weight * left, minlength=n_skus)
        trust = count / (count + _OWN_EFFECTS["sku"])
        raw = total / np.maximum(count, 1e-9)
        middle = np.bincount(pairs.category, weights=raw * trust) / np.maximum(
            np.bincount(pairs.category, weights=trust), 1e-9
        )
        self.sku = trust * raw + (1 - trust) * middle[pairs.category]

        left = response - self.sku[pairs.sku]
        count = np.bincount(pairs.store, weights=weight, minlength=n_stores)
        total = np.bincount(pairs.store, weights=weight * (left - own), minlength=n_stores)
        self.store = total / (count + _OWN_EFFECTS["store"])

        left = left - self.store[pairs.store]
        count = np.bincount(cell, weights=weight, minlength=n_stores * n_categories)
        total = np.bincount(cell, weights=weight * left, minlength=n_stores * n_categories)
        self.own = (total / (count + _OWN_EFFECTS["store_category"])).reshape(n_stores, n_categories)


def _levels(evidence: Evidence, lift: np.ndarray) -> np.ndarray:
    """Return the factor per SKU that makes its category's forecasts meet what listed pairs sold."""
    pairs = evidence.pairs
    meant = evidence.mean * lift[pairs.store, pairs.sku]
    seen_by, meant_by = (np.bincount(pairs.pair_category, weights=x) for x in (pairs.units, meant))
    return np.divide(seen_by, meant_by, out=np.ones_like(seen_by), where=meant_by > 0)[pairs.category]


def _start(shrunk: np.ndarray, rank: int) -> np.ndarray:
    """Return SKU factors from the leading singular vectors, with signs fixed."""
    wide = shrunk.shape[0] <= shrunk.shape[1]
    values, vectors = np.linalg.eigh(shrunk @ shrunk.T if wide else shrunk.T @ shrunk)
    singular = np.sqrt(np.maximum(values[::-1][:rank], 1e-24))
    leading = vectors[:, ::-1][:, :rank]
    factors = shrunk.T @ leading / np.sqrt(singular) if wide else leading * np.sqrt(singular)
    sign = np.sign(factors[np.abs(factors).argmax(axis=0), np.arange(factors.shape[1])])
    return factors * sign


def _solve(other: np.ndarray, weighted: np.ndarray, weight: np.ndarray, ridge: float) -> np.ndarray:
    """Return each row's factors given those of the columns: one ridge regression per row."""
    rank = other.shape[1]
    squares = (other[:, :, None] * other[:, None, :]).reshape(len(other), rank * rank)
    curvature = (weight @ squares).reshape(-1, rank, rank) + ridge * np.eye(rank)
    return np.linalg.solve(curvature, (weighted @ other)[..., None])[..., 0]
