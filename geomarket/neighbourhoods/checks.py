"""Checks of the tables that are to be classified, and what is said of areas that could not be."""

from __future__ import annotations

import numpy as np
import pandas as pd

from geomarket.errors import TableError

__all__ = [
    "canonical_order",
    "check_rates",
    "checked_denominators",
    "checked_points",
    "checked_population",
    "checked_weights",
    "status_notes",
]


def check_rates(X: pd.DataFrame) -> None:
    """Refuse rates that can't be classified: text, infinite values, repeated columns or areas."""
    if not isinstance(X, pd.DataFrame):
        raise TableError(
            f"areas: expected a DataFrame of rates, got {type(X).__name__}. Wrap it with column names."
        )
    if not X.columns.is_unique or not X.index.is_unique:
        which = "columns" if not X.columns.is_unique else "index"
        twice = getattr(X, which)[getattr(X, which).duplicated()][:3].tolist()
        raise TableError(f"areas: the {which} repeats {twice}. Every area and variable must be there once.")
    text = [str(c) for c in X.columns if not pd.api.types.is_numeric_dtype(X[c].dtype)]
    if text:
        raise TableError(
            f"areas: columns {', '.join(text[:5])} aren't numbers. Give rates as floats, missing as NaN."
        )
    endless = [str(c) for c in X.columns if np.isinf(X[c].to_numpy(dtype=float)).any()]
    if endless:
        rows = X.index[np.isinf(X[endless[0]].to_numpy(dtype=float))][:3].tolist()
        raise TableError(
            f"areas: {', '.join(endless[:5])} hold infinite values (areas {rows}), as after dividing by 0. "
            "Make a rate with a zero denominator NaN."
        )


def checked_population(population: pd.Series | None, index: pd.Index) -> pd.Series | None:
    """Return the population as floats, or refuse it: another index, negative values."""
    if population is None:
        return None
    if not population.index.equals(index):
        raise TableError(
            "population: its index isn't the index of the rates. Select it from the same table, in the same order."
        )
    if (population < 0).any():
        rows = population.index[population < 0][:3].tolist()
        raise TableError(
            f"population: negative in areas {rows}. People can't be fewer than none; correct the table."
        )
    return population.astype(float)


def checked_points(points: np.ndarray, what: str, complete: bool = True) -> np.ndarray:
    """Return coordinates as a C-ordered array of doubles, or refuse them: wrong shape, missing or infinite values."""
    array = np.ascontiguousarray(points, dtype=np.float64)
    if array.ndim != 2 or array.shape[1] == 0:
        raise TableError(f"{what}: expected an array of shape (n, p), got {array.shape}.")
    bad = ~np.isfinite(array) if complete else np.isinf(array)
    if bad.any():
        rows = np.flatnonzero(bad.any(axis=1))
        raise TableError(
            f"{what}: {len(rows):,} of {len(array):,} rows hold missing or infinite values (first {rows[:3].tolist()})."
            " Leave them out."
        )
    return array


def checked_weights(weights: np.ndarray | None, n: int) -> np.ndarray:
    """Return weights as doubles (1 where none are given), or refuse them."""
    if weights is None:
        return np.ones(n)
    array = np.ascontiguousarray(weights, dtype=np.float64)
    if array.shape != (n,):
        raise TableError(f"weights: expected one for each of {n:,} rows, got shape {array.shape}.")
    if not np.isfinite(array).all() or (array < 0).any() or array.sum() <= 0:
        raise TableError(
            "weights: some are negative, missing or infinite, or all are 0. Give 0 or more, not all 0."
        )
    return array


def checked_denominators(
    denominators: pd.DataFrame | None, X: pd.DataFrame, needed: pd.Index
) -> pd.DataFrame:
    """Return the denominators, or refuse them: missing, another index, columns lacking."""
    if denominators is None or not denominators.index.equals(X.index) or not set(needed) <= set(denominators):
        raise TableError(
            "denominators: this scheme shrinks rates, so it needs the counts they are shares of, on the index of "
            f"the rates{', for ' + ', '.join(map(str, needed[:5])) if len(needed) else ''}."
        )
    return denominators


def canonical_order(X: pd.DataFrame, mass: pd.Series | None) -> np.ndarray:
    """Order of rows that hangs on their content only, so that shuffled tables are fitted alike."""
    columns = [X[name].to_numpy(dtype=float) + 0.0 for name in X.columns]
    if mass is not None:
        columns.append(mass.to_numpy(dtype=float) + 0.0)
    key = np.zeros(len(X), dtype=np.uint64)
    for column in columns:
        key = key * np.uint64(0x9E3779B97F4A7C15) + np.ascontiguousarray(column).view(np.uint64)
        key ^= key >> np.uint64(29)
    return np.argsort(key, kind="stable")


def status_notes(labels: pd.DataFrame, min_population: float) -> list[str]:
    """Say how many areas have no type, or a type on partial data, and why.

    Parameters
    ----------
    labels : DataFrame
        As from :meth:`~geomarket.neighbourhoods.NeighbourhoodClassifier.assign`.
    min_population : float
        The least population an area needed.

    Returns
    -------
    list of str

    Examples
    --------
    >>> status_notes(pd.DataFrame({"status": ["complete", "unpopulated"]}), 10)
    ['1 of 2 areas have a population below 10 and no type.']
    """
    words = {
        "unpopulated": f"have a population below {min_population:g} and no type",
        "too little data": "have people but too little data, and no type",
        "partial data": "lack some variables and are typed by the others",
    }
    counts = labels["status"].value_counts()
    return [
        f"{counts[key]:,} of {len(labels):,} areas {text}." for key, text in words.items() if key in counts
    ]
