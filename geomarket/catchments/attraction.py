"""Store attributes as the columns of an attraction model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from geomarket.errors import TableError

__all__ = ["AttractionEncoder"]

OTHER, UNKNOWN = "(other)", "(unknown)"


@dataclass(frozen=True)
class _Numeric:
    column: str
    source: str
    log: bool
    mean: float
    has_missing: bool

    @property
    def terms(self) -> list[str]:
        return [self.column, f"{self.column} unknown"] if self.has_missing else [self.column]

    def transform(self, stores: pd.DataFrame) -> NDArray[np.float64]:
        values = _numeric_values(stores, self.source, self.log)
        missing = np.isnan(values)
        if missing.any() and not self.has_missing:
            raise TableError(
                f"stores: {int(missing.sum())} of {len(stores):,} rows have no {self.source}, which every store the "
                "model was fitted to has. Give it."
            )
        filled = np.where(missing, self.mean, values)
        return np.column_stack((filled, missing.astype(float))) if self.has_missing else filled[:, None]


@dataclass(frozen=True)
class _Levels:
    column: str
    reference: str
    levels: tuple[str, ...]

    @property
    def source(self) -> str:
        return self.column

    @property
    def terms(self) -> list[str]:
        return [f"{self.column}={level}" for level in self.levels]

    def transform(self, stores: pd.DataFrame) -> NDArray[np.float64]:
        values = _level_values(stores, self.column)
        known = values.isin([self.reference, *self.levels])
        fallback = OTHER if OTHER in self.levels or self.reference == OTHER else self.reference
        named = values.where(known, fallback).to_numpy(dtype=object)
        return (named[:, None] == np.array(self.levels, dtype=object)[None, :]).astype(float)


class AttractionEncoder:
    """Turn attribute columns of stores into numeric terms, the same way for fitting and for prediction.

    A numeric or boolean column is one term. ``log_<column>`` is the logarithm of a positive column, so that
    its coefficient is Huff's exponent; ``log_size`` is short for ``log_size_m2``. A missing number takes the
    average of the known ones and, where any is missing, a second term says so. A text column becomes one 0/1
    term per level against its most frequent level; levels with fewer than ``min_stores`` stores, or beyond the
    ``max_levels`` most frequent, are merged into ``(other)``, and missing values form the level ``(unknown)``.

    Parameters
    ----------
    attraction : sequence of str
        Columns of the stores frame, or ``log_<column>``.
    min_stores : int
        Fewest stores a level of its own needs.
    max_levels : int
        Most levels kept per text column, ``(other)`` not counted.

    Attributes
    ----------
    terms_ : list of str
        Names of the terms, e.g. ``log_size_m2``, ``format=grocery``.

    Examples
    --------
    >>> stores = pd.DataFrame({"size_m2": [100.0, 400.0], "format": ["city", "super"]})
    >>> encoder = AttractionEncoder(["log_size_m2", "format"], min_stores=1).fit(stores)
    >>> encoder.terms_
    ['log_size_m2', 'format=super']
    >>> encoder.transform(stores).round(2).tolist()
    [[4.61, 0.0], [5.99, 1.0]]
    """

    def __init__(self, attraction: Sequence[str], min_stores: int = 5, max_levels: int = 12) -> None:
        self.attraction = attraction
        self.min_stores = min_stores
        self.max_levels = max_levels

    def fit(self, stores: pd.DataFrame) -> AttractionEncoder:
        """Learn levels and averages from a frame of stores, and return self.

        Raises
        ------
        TableError
            A named column does not exist, or a logarithm is asked of values that are not positive.
        """
        self.columns_: list[_Numeric | _Levels] = [self._column(name, stores) for name in self.attraction]
        self.terms_ = [term for column in self.columns_ for term in column.terms]
        return self

    def transform(self, stores: pd.DataFrame) -> NDArray[np.float64]:
        """Return the terms as an array of shape (n_stores, n_terms); a level never seen counts as ``(other)``.

        Raises
        ------
        TableError
            A column the terms were learnt from is missing.
        """
        missing = sorted({column.source for column in self.columns_} - set(stores.columns))
        if missing:
            raise TableError(
                f"stores: column(s) {', '.join(missing)} missing, which the model's attraction uses; give them for "
                "every store, new ones too (empty where unknown)."
            )
        if not self.columns_:
            return np.zeros((len(stores), 0))
        return np.column_stack([column.transform(stores) for column in self.columns_])

    def _column(self, name: str, stores: pd.DataFrame) -> _Numeric | _Levels:
        if name in stores.columns:
            if pd.api.types.is_numeric_dtype(stores[name]):
                return _numeric(name, name, False, stores)
            return self._levels(name, stores)
        source = "size_m2" if name == "log_size" else name.removeprefix("log_")
        if name.startswith("log_") and source in stores.columns:
            return _numeric(name, source, True, stores)
        raise TableError(
            f"stores: no column '{name}' to use as attraction (columns: {', '.join(map(str, stores.columns))}). "
            "Name a column, or log_<column> for the logarithm of one."
        )

    def _levels(self, name: str, stores: pd.DataFrame) -> _Levels:
        values = _level_values(stores, name)
        count = values.value_counts()
        # by frequency, then by name: the encoding must not hang on row order
        ranked = sorted(count.index, key=lambda level: (-int(count[level]), level))
        kept = [level for level in ranked if count[level] >= self.min_stores][: self.max_levels] or ranked[:1]
        levels = kept + ([OTHER] if len(kept) < len(ranked) and OTHER not in kept else [])
        return _Levels(name, levels[0], tuple(levels[1:]))


def _numeric(name: str, source: str, log: bool, stores: pd.DataFrame) -> _Numeric:
    values = _numeric_values(stores, source, log)
    known = values[~np.isnan(values)]
    if not len(known):
        raise TableError(f"stores: column '{source}' has no values; leave '{name}' out of the attraction.")
    return _Numeric(name, source, log, float(known.mean()), bool(len(known) < len(values)))


def _numeric_values(stores: pd.DataFrame, source: str, log: bool) -> NDArray[np.float64]:
    values = pd.to_numeric(stores[source]).to_numpy(dtype=float, na_value=np.nan)
    if not log:
        return values
    bad = values <= 0
    if bad.any():
        label = stores["store_id"] if "store_id" in stores.columns else pd.Series(stores.index)
        first = ", ".join(str(v) for v in label[bad].head(3))
        raise TableError(
            f"stores: {int(bad.sum())} of {len(stores):,} rows have {source} at or below 0 ({first}), which has no "
            "logarithm. Correct them, or leave them empty if unknown."
        )
    return np.log(values)


def _level_values(stores: pd.DataFrame, column: str) -> pd.Series:
    return stores[column].astype(object).where(stores[column].notna(), UNKNOWN).astype(str)
