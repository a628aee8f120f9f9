"""Texts as numbers."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd

__all__ = ["numbered"]


def numbered(values: pd.Series) -> tuple[npt.NDArray[np.int64], pd.Index]:
    """Return a number for each text, -1 where there is none, and the texts themselves in order.

    Categoricals in sorted order give the same as their texts.

    Examples
    --------
    >>> codes, names = numbered(pd.Series(["b", "a", "b"], dtype="category"))
    >>> codes.tolist(), names.tolist(), isinstance(names, pd.CategoricalIndex)
    ([1, 0, 1], ['a', 'b'], False)
    """
    codes, names = pd.factorize(values, sort=True)
    index = pd.Index(names)
    if isinstance(index, pd.CategoricalIndex):
        index = index.astype(index.categories.dtype)
    return codes, index
