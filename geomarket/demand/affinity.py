"""Mix affinity: SKUs sell more where the store's catchment and trade suit them, as their attributes foretell."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from geomarket.demand.evidence import Evidence, attribute_matrix, store_coordinates

__all__ = ["MixAffinity"]


@dataclass(frozen=True)
class MixAffinity:
    """Log lifts linear in the store's features, with slopes of each SKU drawn to what its attributes foretell.

    log lift = x(store) · (B a(SKU) + d(SKU)), with a ridge on B and another on d.

    Attributes
    ----------
    features : DataFrame
        Index store_id; weighted coordinates as of ``StoreFeatures.points()``.
    products : DataFrame
        sku, category and the attributes.
    attributes : sequence of str
        Columns of ``products``; empty for categories alone.
    n_components : int
        Principal components of the features that are used.
    common, own : float
        Ridge on B and on d, in units of the precision of a pair.

    Notes
    -----
    A hierarchical regression (Rossi, Allenby & McCulloch 2005, chapter 5) fitted by penalised quasi-likelihood
    (Breslow & Clayton 1993): iterated weighted ridge with working responses.
    """

    features: pd.DataFrame
    products: pd.DataFrame
    attributes: Sequence[str] = ()
    n_components: int = 8
    common: float = 30.0
    own: float = 30.0
    rounds: int = 3
    name: str = "mix affinity"

    def variants(self, n_stores: int) -> Sequence[MixAffinity]:
        """Return the strengths of the ridge to choose from."""
        return [replace(self, common=common, own=own) for common in (30.0,) for own in (20.0, 80.0, 320.0)]

    def lift(self, evidence: Evidence) -> np.ndarray:
        """Return the lifts of every store × SKU."""
        pairs = evidence.pairs
        x = store_coordinates(
            self.features, pairs.stores, min(self.n_components, max(pairs.shape[0] // 6, 1))
        )
        a = attribute_matrix(self.products, pairs.skus, self.attributes)
        log_lift = np.zeros(pairs.shape)
        for _ in range(self.rounds):
            response, weight = evidence.working(log_lift[pairs.store, pairs.sku])
            slopes = self._slopes(x, a, evidence.grid(weight), evidence.grid(weight * response))
            log_lift = np.clip(x @ slopes.T, -3.0, 3.0)
        return np.exp(log_lift)

    def _slopes(self, x: np.ndarray, a: np.ndarray, weight: np.ndarray, weighted: np.ndarray) -> np.ndarray:
        """Return the slopes of every SKU, shape (n_skus, n_components)."""
        d, p = x.shape[1], a.shape[1]
        products = (x[:, :, None] * x[:, None, :]).reshape(len(x), d * d)
        curvature = (weight.T @ products).reshape(-1, d, d)
        pull = weighted.T @ x
        squares = (a[:, :, None] * a[:, None, :]).reshape(len(a), p * p)
        whole = (
            (curvature.reshape(-1, d * d).T @ squares)
            .reshape(d, d, p, p)
            .transpose(0, 2, 1, 3)
            .reshape(d * p, d * p)
        )
        right = (pull.T @ a).ravel()
        common = np.linalg.solve(whole + self.common * np.eye(d * p), right).reshape(d, p)
        foretold = a @ common.T
        left_over = pull - np.einsum("kde,ke->kd", curvature, foretold)
        own = np.linalg.solve(curvature + self.own * np.eye(d), left_over[..., None])[..., 0]
        return foretold + own
