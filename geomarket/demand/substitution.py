"""Demand transference: where buyers turn when what they want isn't there.

Two models. Exogenous substitution: each buyer has a first choice; if it is absent, a share of them turns once to a
substitute, the likelier the more alike and the better selling it is, and who finds that absent too is lost.
Multinomial logit: buyers choose among what is there and an outside option, in proportion to how attractive each is.
In both, what is sold and what is lost add up to what was wanted.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from geomarket.errors import SettingsError, TableError

__all__ = [
    "ASSUMED_SHARE",
    "attribute_similarity",
    "exogenous_demand",
    "first_choices",
    "logit_demand",
    "logit_diversion",
    "substitution_matrix",
]

ASSUMED_SHARE = 0.4
"""Share of an absent SKU's buyers who take a substitute, where the data can't tell: a middling figure of the studies
of grocery stock-outs (Gruen, Corsten & Bharadwaj 2002; Campo, Gijsbrechts & Nisol 2003)."""


def attribute_similarity(
    products: pd.DataFrame, attributes: Sequence[str], *, within: str = "category", sharpness: float = 3.0
) -> np.ndarray:
    """Return how alike SKUs are, 0 to 1, by the attributes they share.

    Parameters
    ----------
    products : DataFrame
        One row per SKU, in the order of the result: ``within`` and the attributes.
    attributes : sequence of str
        Words count 1 where equal and else 0, figures 1 less their distance over the range seen within the group.
        A missing attribute counts as half alike.
    within : str
        SKUs of different groups in this column are not substitutes at all.
    sharpness : float
        How fast likeness falls: exp(-sharpness × (1 - mean agreement)). 0 makes all SKUs of a group alike.

    Returns
    -------
    ndarray of shape (n_skus, n_skus)
        0 on the diagonal.

    Notes
    -----
    Gower's (1971) coefficient in an exponential kernel.

    Examples
    --------
    >>> tea = pd.DataFrame({"category": "tea", "kind": ["green", "green", "black"], "price": [2.0, 3.0, 2.0]})
    >>> attribute_similarity(tea, ["kind", "price"], sharpness=2.0).round(3)
    array([[0.   , 0.368, 0.368],
           [0.368, 0.   , 0.135],
           [0.368, 0.135, 0.   ]])
    """
    missing = [column for column in (within, *attributes) if column not in products.columns]
    if missing:
        raise TableError(f"products: column '{missing[0]}' is missing. Name attributes the table has.")
    if sharpness < 0:
        raise SettingsError("transference: sharpness must be 0 or more.")
    group = pd.factorize(products[within])[0]
    same = group[:, None] == group[None, :]
    total = np.zeros(same.shape)
    for column in attributes:
        total += _agreement(products[column], group)
    agreement = total / len(attributes) if len(attributes) else np.ones(same.shape)
    similarity = np.where(same, np.exp(-sharpness * (1.0 - agreement)), 0.0)
    np.fill_diagonal(similarity, 0.0)
    return similarity


def _agreement(values: pd.Series, group: np.ndarray) -> np.ndarray:
    unknown = values.isna().to_numpy()
    either = unknown[:, None] | unknown[None, :]
    if pd.api.types.is_numeric_dtype(values) and not pd.api.types.is_bool_dtype(values):
        given = values.astype(float)
        spread = given.groupby(group).transform(lambda part: part.max() - part.min()).to_numpy()
        figures = given.to_numpy()
        apart = np.abs(figures[:, None] - figures[None, :])
        scale = np.where(spread > 0, spread, 1.0)[:, None]
        return np.where(either, 0.5, 1.0 - np.clip(apart / scale, 0.0, 1.0))
    codes = pd.factorize(values)[0]
    return np.where(either, 0.5, (codes[:, None] == codes[None, :]).astype(float))


def substitution_matrix(
    rate: np.ndarray, similarity: np.ndarray, share: np.ndarray | float = ASSUMED_SHARE
) -> np.ndarray:
    """Return the share of each SKU's buyers who turn to each other one when theirs is absent.

    Parameters
    ----------
    rate : ndarray of shape (n_skus,)
        How well each SKU sells; only proportions matter.
    similarity : ndarray of shape (n_skus, n_skus)
        From :func:`attribute_similarity`.
    share : ndarray or float
        Share of each SKU's buyers who take any substitute, 0 to 1.

    Returns
    -------
    ndarray of shape (n_skus, n_skus)
        Row i, column j: from i to j. Rows sum to ``share``, or to 0 where a SKU has no substitute.

    Notes
    -----
    Smith & Agrawal (2000); Kök & Fisher (2007). Buyers turn in proportion to similarity × rate.

    Examples
    --------
    >>> alike = np.ones((3, 3)) - np.eye(3)
    >>> substitution_matrix(np.array([1.0, 1.0, 3.0]), alike, 0.4)
    array([[0. , 0.1, 0.3],
           [0.1, 0. , 0.3],
           [0.2, 0.2, 0. ]])
    """
    shares = np.broadcast_to(np.asarray(share, dtype=float), np.shape(rate))
    if ((shares < 0) | (shares > 1)).any():
        raise SettingsError("transference: the share of buyers who substitute must lie between 0 and 1.")
    pull = similarity * np.nan_to_num(rate)[None, :]
    total = pull.sum(axis=1, keepdims=True)
    return shares[:, None] * np.divide(pull, total, out=np.zeros_like(pull), where=total > 0)


def exogenous_demand(
    first_choice: np.ndarray, listed: np.ndarray, matrix: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return what sells under a range, and what is lost, when buyers of absent SKUs turn once to another.

    Parameters
    ----------
    first_choice : ndarray of shape (n_stores, n_skus)
        Demand for each SKU if all were there.
    listed : ndarray of bool, shape (n_stores, n_skus)
        What is there; or the share of time it is, 0 to 1.
    matrix : ndarray of shape (n_skus, n_skus)
        From :func:`substitution_matrix`.

    Returns
    -------
    sold : ndarray of shape (n_stores, n_skus)
    lost : ndarray of shape (n_stores,)
        sold and lost sum to first choices.

    Examples
    --------
    >>> wants, listed = np.array([[10.0, 20.0]]), np.array([[False, True]])
    >>> sold, lost = exogenous_demand(wants, listed, np.array([[0.0, 0.4], [0.3, 0.0]]))
    >>> sold.tolist(), lost.tolist()
    ([[0.0, 24.0]], [6.0])
    """
    there = np.asarray(listed, dtype=float)
    absent = first_choice * (1.0 - there)
    sold = there * (first_choice + absent @ matrix)
    return sold, first_choice.sum(axis=1) - sold.sum(axis=1)


def first_choices(units: np.ndarray, listed: np.ndarray, matrix: np.ndarray, rounds: int = 15) -> np.ndarray:
    """Take out of what SKUs sell what came to them from absent ones.

    Parameters
    ----------
    units : ndarray of shape (n_stores, n_skus)
        What listed SKUs sell, and what is forecast for the others from stores that list them.
    listed : ndarray of shape (n_stores, n_skus)
        What is there, or the share of time it is.
    matrix : ndarray of shape (n_skus, n_skus)
        From :func:`substitution_matrix`.
    rounds : int
        Rounds of the fixed point at most.

    Returns
    -------
    ndarray of shape (n_stores, n_skus)
        Demand for each SKU if all were there. Forecasts of absent SKUs shrink as their SKU does where it is listed.

    Examples
    --------
    >>> listed = np.array([[1.0, 0.0], [1.0, 1.0]])
    >>> first_choices(np.array([[14.0, 20.0], [10.0, 20.0]]), listed, np.array([[0.0, 0.3], [0.2, 0.0]])).round(2)
    array([[10., 20.],
           [10., 20.]])
    """
    there = np.asarray(listed, dtype=float)
    sold = (units * there).sum(axis=0)
    wanted = np.array(units, dtype=float)
    for _ in range(rounds):
        came = (wanted * (1.0 - there)) @ matrix
        own = np.maximum(units - came, 0.1 * units)
        shrunk = np.divide((own * there).sum(axis=0), sold, out=np.ones_like(sold), where=sold > 0)
        new = there * own + (1.0 - there) * units * shrunk
        settled = np.abs(new - wanted).sum() <= 1e-7 * max(np.abs(units).sum(), 1e-12)
        wanted = new
        if settled:
            break
    return wanted


def logit_demand(
    attraction: np.ndarray, listed: np.ndarray, outside: np.ndarray | float, market: np.ndarray | float
) -> tuple[np.ndarray, np.ndarray]:
    """Return what sells under a range, and what goes elsewhere, under a multinomial logit.

    Parameters
    ----------
    attraction : ndarray of shape (n_stores, n_skus)
        exp(utility) of each SKU.
    listed : ndarray of bool, shape (n_stores, n_skus)
        What is there.
    outside : ndarray of shape (n_stores,) or float
        exp(utility) of buying nothing here.
    market : ndarray of shape (n_stores,) or float
        Buyers.

    Returns
    -------
    sold : ndarray of shape (n_stores, n_skus)
    lost : ndarray of shape (n_stores,)
        sold and lost sum to ``market``.

    Notes
    -----
    McFadden (1974). All absent SKUs' buyers spread over the rest in proportion to their sales, however unlike
    (independence of irrelevant alternatives).
    """
    there = np.where(np.asarray(listed, dtype=bool), attraction, 0.0)
    total = there.sum(axis=1) + outside
    buyers = np.broadcast_to(np.asarray(market, dtype=float), total.shape)
    sold = buyers[:, None] * there / total[:, None]
    return sold, buyers - sold.sum(axis=1)


def logit_diversion(shares: np.ndarray) -> np.ndarray:
    """Return the share of each SKU's buyers who turn to each other one under a multinomial logit.

    Parameters
    ----------
    shares : ndarray of shape (n_skus,)
        Choice shares with everything there; what lacks to 1 is the outside option.

    Returns
    -------
    ndarray of shape (n_skus, n_skus)
        Row i, column j: share of i's buyers who take j when i is absent; 0 on the diagonal. A row lacks to 1 what
        goes outside.

    Examples
    --------
    >>> logit_diversion(np.array([0.2, 0.4]))
    array([[0.        , 0.5       ],
           [0.33333333, 0.        ]])
    """
    if (shares < 0).any() or shares.sum() > 1 + 1e-9 or (shares >= 1).any():
        raise TableError("transference: choice shares must be 0 or more, below 1 and sum to at most 1.")
    matrix = shares[None, :] / (1.0 - shares[:, None])
    np.fill_diagonal(matrix, 0.0)
    return matrix
