"""Substitution matrices made small enough to optimise over."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd

from geomarket.errors import TableError

__all__ = ["strongest_substitutes"]


def strongest_substitutes(
    matrix: npt.ArrayLike, skus: Sequence[str], most: int = 6, keep_total: bool = True
) -> pd.DataFrame:
    """Return the strongest substitutes of each SKU as pairs.

    Every pair is a column of the optimiser's program for every planogram: a few strong ones say nearly as much as all.

    Parameters
    ----------
    matrix : array-like of shape (n_skus, n_skus)
        Row i, column j: share of SKU i's buyers who take j where i is not listed.
    skus : sequence of str
        SKUs of rows and columns.
    most : int
        Substitutes kept for a SKU.
    keep_total : bool
        Scale the kept shares up so that they add up to what the whole row did. A SKU's buyers then all go to its
        strongest substitutes; without it, those of the weaker ones are lost.

    Returns
    -------
    DataFrame
        sku, substitute, share, as :func:`geomarket.assortment.plan_ranges` takes them.

    Raises
    ------
    TableError
        If the matrix and the SKUs don't match, or a row adds up to more than 1.

    Examples
    --------
    >>> strongest_substitutes([[0, 0.4, 0.1], [0.3, 0, 0.0], [0, 0, 0]], ["a", "b", "c"], most=1)
      sku substitute  share
    0   a          b    0.5
    1   b          a    0.3
    """
    shares = np.array(matrix, dtype=float)
    names = np.array(list(skus), dtype=object)
    if shares.shape != (names.size, names.size):
        raise TableError(
            f"substitutes: a matrix of shape {shares.shape} for {names.size} SKUs; give one row each."
        )
    np.fill_diagonal(shares, 0.0)
    total = shares.sum(axis=1)
    if not np.isfinite(shares).all() or (shares < 0).any() or (total > 1 + 1e-9).any():
        raise TableError(
            "substitutes: shares must be at least 0 and add up to at most 1 in each row of the matrix."
        )
    order = np.argsort(-shares, axis=1, kind="stable")[:, : max(0, most)]
    kept = np.take_along_axis(shares, order, axis=1)
    if keep_total:
        held = kept.sum(axis=1)
        kept = kept * np.divide(total, held, out=np.ones_like(total), where=held > 0)[:, None]
    row, place = np.nonzero(kept)
    frame = pd.DataFrame(
        {"sku": names[row], "substitute": names[order[row, place]], "share": kept[row, place]}
    )
    return frame.sort_values(["sku", "substitute"], ignore_index=True)
