"""Pairs of store and SKU, millions of them, as numbers: which are among others, and which repeat."""

from __future__ import annotations

from functools import cached_property

import numpy as np
import numpy.typing as npt
import pandas as pd

__all__ = ["Pairs"]


class Pairs:
    """The pairs of a table: store_id, sku.

    Attributes
    ----------
    store, sku : int arrays, shape (n_rows,)
        Positions in ``stores`` and ``skus``.
    stores, skus : Index
        The different ones, sorted.

    Examples
    --------
    >>> demand = pd.DataFrame({"store_id": ["1", "1", "2"], "sku": ["a", "b", "a"]})
    >>> today = pd.DataFrame({"store_id": ["2", "9"], "sku": ["a", "a"]})
    >>> Pairs(demand).among(today).tolist()
    [False, False, True]
    """

    def __init__(self, table: pd.DataFrame) -> None:
        self.store, stores = pd.factorize(table["store_id"], sort=True)
        self.sku, skus = pd.factorize(table["sku"], sort=True)
        self.stores, self.skus = pd.Index(stores), pd.Index(skus)

    @cached_property
    def number(self) -> npt.NDArray[np.int64]:
        """One number a pair."""
        return self.store.astype(np.int64) * len(self.skus) + self.sku

    def numbers_of(self, other: pd.DataFrame) -> npt.NDArray[np.int64]:
        """The numbers of another table's pairs; those with a store or SKU unknown here are left out."""
        store = self.stores.get_indexer(pd.Index(other["store_id"]))
        sku = self.skus.get_indexer(pd.Index(other["sku"]))
        known = (store >= 0) & (sku >= 0)
        return store[known].astype(np.int64) * len(self.skus) + sku[known]

    def among(self, other: pd.DataFrame) -> npt.NDArray[np.bool_]:
        """Say of every row whether its pair is in another table."""
        return np.isin(self.number, self.numbers_of(other))

    def repeat(self) -> bool:
        """Whether a pair has more than one row."""
        return len(np.unique(self.number)) < len(self.number)
