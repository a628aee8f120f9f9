"""Low-rank lifts: a few hidden tastes that stores have and SKUs serve."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from geomarket.demand.evidence import Evidence, gather_evidence
from geomarket.demand.pairs import Pairs

__all__ = ["LowRank"]

_OWN_EFFECTS = {"store": 1.0, "sku": 4.0, "store_category": 5.0}
"""Prior precision of the main effects, in pairs."""


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
        Prior precision of the factors: larger keeps lifts nearer to 1.
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
    ridge: float = 15.0
    weighting: Literal["equal", "precision"] = "equal"
    rounds: int = 5
    name: str = "low rank"

    def variants(self, n_stores: int) -> Sequence[LowRank]:
        """Return the ranks and weightings to choose from."""
        ranks = [rank for rank in (2, 8) if rank <= n_stores / 4] or [1]
        ways: tuple[Literal["equal", "precision"], ...] = ("equal", "precision")
        return [replace(self, rank=rank, weighting=weighting) for rank in ranks for weighting in ways]

    def lift(self, pairs: Pairs, base: np.ndarray) -> np.ndarray:
        """Return the lifts of every store × SKU."""
        evidence = gather_evidence(pairs, base)
        listed = evidence.mean > 0
        weight = self._weights(evidence, listed)
        response = _log_ratio(evidence, listed)
        effects = _Effects(
            np.zeros(pairs.shape[1]),
            np.zeros(pairs.shape[0]),
            np.zeros((pairs.shape[0], len(pairs.categories))),
        )
        for _ in range(4):
            effects.refit(response, weight, pairs.category)
        left = response - effects.total(pairs.category)
        skus = _start(left * weight / (weight + self.ridge), self.rank)
        tastes = np.zeros(response.shape)
        for _ in range(self.rounds):
            stores = _solve(skus, left, weight, self.ridge)
            skus = _solve(stores, left.T, weight.T, self.ridge)
            tastes = stores @ skus.T
            effects.refit(response - tastes, weight, pairs.category)
            left = response - effects.total(pairs.category)
        lift = np.exp(np.clip(effects.total(pairs.category) + tastes, -4.0, 4.0))
        return lift * _levels(evidence, lift, pairs.category)

    def _weights(self, evidence: Evidence, listed: np.ndarray) -> np.ndarray:
        if self.weighting == "equal":
            return listed.astype(float)
        precision = evidence.weight()
        return precision / precision[listed].mean()


def _log_ratio(evidence: Evidence, listed: np.ndarray) -> np.ndarray:
    """Return log of seen over expected, half a purchase added to both so that nothing sold has a logarithm."""
    dispersion = np.divide(evidence.variance, evidence.mean, out=np.ones_like(evidence.mean), where=listed)
    # The smallest ratio of variance to mean in sight is what one purchase amounts to.
    purchase = max(1.0, float(np.quantile(dispersion[listed], 0.05)))
    ratio = (evidence.units + purchase / 2) / np.where(listed, evidence.mean + purchase / 2, 1.0)
    return np.where(listed, np.log(np.maximum(ratio, 1e-12)), 0.0)


@dataclass
class _Effects:
    """Main effects on the log scale: of SKUs, of stores, of stores in a category."""

    sku: np.ndarray
    store: np.ndarray
    own: np.ndarray

    def total(self, category: np.ndarray) -> np.ndarray:
        return self.sku + self.store[:, None] + self.own[:, category]

    def refit(self, response: np.ndarray, weight: np.ndarray, category: np.ndarray) -> None:
        """Refit one kind after the other, each drawn to 0 (SKUs to the mean of their category)."""
        groups = np.eye(self.own.shape[1])[category]
        left = response - self.store[:, None] - self.own[:, category]
        count, total = weight.sum(axis=0), (weight * left).sum(axis=0)
        raw = total / np.maximum(count, 1e-9)
        trust = count / (count + _OWN_EFFECTS["sku"])
        middle = (groups.T @ (raw * trust)) / np.maximum(groups.T @ trust, 1e-9)
        self.sku = (total + _OWN_EFFECTS["sku"] * (groups @ middle)) / (count + _OWN_EFFECTS["sku"])
        left = response - self.sku
        self.store = (weight * (left - self.own[:, category])).sum(axis=1)
        self.store /= weight.sum(axis=1) + _OWN_EFFECTS["store"]
        left = left - self.store[:, None]
        self.own = ((weight * left) @ groups) / (weight @ groups + _OWN_EFFECTS["store_category"])


def _levels(evidence: Evidence, lift: np.ndarray, category: np.ndarray) -> np.ndarray:
    """Return the factor per SKU that makes its category's forecasts meet what listed pairs sold."""
    seen = np.bincount(category, weights=evidence.units.sum(axis=0))
    meant = np.bincount(category, weights=(evidence.mean * lift).sum(axis=0))
    return np.divide(seen, meant, out=np.ones_like(seen), where=meant > 0)[category]


def _start(shrunk: np.ndarray, rank: int) -> np.ndarray:
    """Return SKU factors from the leading singular vectors, with signs fixed."""
    _, singular, right = np.linalg.svd(shrunk, full_matrices=False)
    rank = min(rank, len(singular))
    sign = np.sign(right[np.arange(rank), np.abs(right[:rank]).argmax(axis=1)])
    return right[:rank].T * np.sqrt(singular[:rank]) * sign


def _solve(other: np.ndarray, response: np.ndarray, weight: np.ndarray, ridge: float) -> np.ndarray:
    """Return each row's factors given those of the columns: one ridge regression per row."""
    rank = other.shape[1]
    squares = (other[:, :, None] * other[:, None, :]).reshape(len(other), rank * rank)
    curvature = (weight @ squares).reshape(-1, rank, rank) + ridge * np.eye(rank)
    return np.linalg.solve(curvature, ((weight * response) @ other)[..., None])[..., 0]
