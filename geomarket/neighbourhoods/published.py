"""Assignment to somebody else's published classification, given as a table of centroids."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from geomarket.errors import NotSupportedError, TableError
from geomarket.neighbourhoods.checks import check_rates
from geomarket.neighbourhoods.kmeans import nearest
from geomarket.neighbourhoods.preparation import (
    SCALINGS,
    TRANSFORMS,
    Scaling,
    Transform,
    check_choice,
    prepare,
)
from geomarket.results import Result

__all__ = ["PublishedTypes", "assign_to_centroids"]


@dataclass(frozen=True)
class PublishedTypes(Result):
    """Areas sorted into published types.

    Attributes
    ----------
    table : DataFrame
        On the index of the rates: code, second, distance, second_distance, uncertainty (nearest over
        second-nearest: 0 clear, 1 undecided), n_missing. Code is missing where no variable is known.
    used : tuple of str
        Variables both sides have.
    absent : tuple of str
        Variables of the published centroids that the areas don't have.
    notes : tuple of str

    Examples
    --------
    >>> rates = pd.DataFrame({"renting": [0.0, 0.1, 0.9], "owning": [1.0, 0.8, 0.0]})
    >>> published = pd.DataFrame({"renting": [0.2, 0.9], "owning": [0.9, 0.2]}, index=["1", "2"])
    >>> found = assign_to_centroids(rates, published)
    >>> found.summary()[0]
    '3 areas assigned; largest: 1 67%, 2 33%.'
    """

    table: pd.DataFrame
    used: tuple[str, ...]
    absent: tuple[str, ...]
    notes: tuple[str, ...] = ()

    def plot(self, ax: Any = None) -> Any:
        """Draw the share of areas of each type, the largest first; return the axes.

        Examples
        --------
        >>> import matplotlib
        >>> matplotlib.use("Agg")
        >>> rates = pd.DataFrame({"renting": [0.0, 0.1, 0.9], "owning": [1.0, 0.8, 0.0]})
        >>> published = pd.DataFrame({"renting": [0.2, 0.9], "owning": [0.9, 0.2]}, index=["1", "2"])
        >>> len(assign_to_centroids(rates, published).plot().patches)
        2
        """
        import matplotlib.pyplot as plt

        shares = 100 * self.table["code"].value_counts(normalize=True)[::-1]
        axes = (
            plt.subplots(figsize=(6, 0.3 * len(shares) + 1.2), layout="constrained")[1] if ax is None else ax
        )
        axes.barh(shares.index.astype(str), shares, color="#2a6f97")
        axes.set(xlabel="% of areas", ylabel="type")
        axes.spines[["top", "right"]].set_visible(False)
        return axes

    def summary(self) -> list[str]:
        """Return the largest types and what the assignment rests on."""
        shares = self.table["code"].value_counts(normalize=True)
        largest = ", ".join(f"{code} {100 * share:.0f}%" for code, share in shares.head(5).items())
        return [f"{self.table['code'].notna().sum():,} areas assigned; largest: {largest}.", *self.notes]


def assign_to_centroids(
    rates: pd.DataFrame,
    centroids: pd.DataFrame,
    transform: Transform = "asinh",
    scaling: Scaling = "range",
    multiplier: float | Mapping[str, float] = 100.0,
    bounds: pd.DataFrame | None = None,
) -> PublishedTypes:
    """Give every area the published type whose centroid is nearest.

    Parameters
    ----------
    rates : DataFrame of shape (n_areas, n_variables)
        Under the published variables' names; missing is NaN.
    centroids : DataFrame of shape (n_types, n_published)
        Index the codes; in the published (transformed and scaled) space.
    transform, scaling, multiplier
        How the publisher prepared the values, as in :func:`~geomarket.neighbourhoods.prepare`. A mapping of
        multipliers leaves variables it doesn't name at 100.
    bounds : DataFrame, optional
        Index variable; columns ``centre`` and ``spread`` of the published scaling, in transformed units. Without
        it they are learnt from ``rates``, which is right only if these are about the areas the publisher used.

    Returns
    -------
    PublishedTypes

    Raises
    ------
    NotSupportedError
        If fewer than half of the published variables are there.
    TableError
        If the centroids have missing or repeated entries.

    Examples
    --------
    >>> rates = pd.DataFrame({"renting": [0.0, 0.1, 0.9], "owning": [1.0, 0.8, 0.0]})
    >>> published = pd.DataFrame({"renting": [0.2, 0.9], "owning": [0.9, 0.2]}, index=["1", "2"])
    >>> assign_to_centroids(rates, published).table["code"].tolist()
    ['1', '1', '2']
    """
    check_rates(rates)
    check_choice(transform, TRANSFORMS, "transform")
    check_choice(scaling, SCALINGS, "scaling")
    _check_centroids(centroids)
    used = [name for name in centroids.columns if name in rates.columns]
    absent = [str(name) for name in centroids.columns if name not in rates.columns]
    if len(used) * 2 < len(centroids.columns):
        raise NotSupportedError(
            f"centroids: only {len(used)} of {len(centroids.columns)} published variables are columns of the areas "
            f"(missing {', '.join(absent[:5])} …). Rename the columns to the published names, or get the variables."
        )
    complete = rates[used].dropna()
    if complete.empty:
        raise NotSupportedError(
            f"areas: none of {len(rates):,} areas has all of the {len(used)} variables, so their "
            f"scaling can't be learnt (most missing: {rates[used].isna().sum().idxmax()}). Leave that variable out."
        )
    notes = []
    same = [name for name in used if complete[name].nunique() < 2] if bounds is None else []
    if same and len(complete) > 1:
        used = [name for name in used if name not in same]
        notes.append(
            f"{', '.join(map(str, same[:8]))}: the same in every area, so not scaled without the publisher's bounds; "
            "left out."
        )
    preparation = prepare(complete[used], np.ones(len(complete)), transform, scaling, multiplier)
    if bounds is None:
        notes.append(
            f"The {scaling} of every variable was taken from these {len(rates):,} areas, not from the publisher."
        )
    else:
        _check_bounds(bounds, used)
        learnt = preparation.table
        learnt[["centre", "spread"]] = bounds.loc[used, ["centre", "spread"]].to_numpy(dtype=float)
    if absent:
        notes.append(
            f"{len(absent)} of {len(centroids.columns)} published variables aren't there ({', '.join(absent[:8])}"
            + (" …" if len(absent) > 8 else "")
            + "); types that rest on them are harder to tell apart."
        )
    points = preparation.apply(rates)
    first, second, near, far = nearest(points, centroids[used].to_numpy(dtype=float))
    codes = np.array([*centroids.index.astype(str), None], dtype=object)  # -1, no centroid, is the last
    table: dict[str, Any] = {
        "code": codes[first].tolist(),
        "second": codes[second].tolist(),
        "distance": np.where(first < 0, np.nan, near),
        "second_distance": far,
    }
    out = pd.DataFrame(table, index=rates.index)
    out["uncertainty"] = (out["distance"] / out["second_distance"]).where(out["second_distance"] > 0)
    out["n_missing"] = np.isnan(points).sum(axis=1)
    return PublishedTypes(out, tuple(map(str, used)), tuple(absent), tuple(notes))


def _check_centroids(centroids: pd.DataFrame) -> None:
    if centroids.empty or not centroids.index.is_unique or not centroids.columns.is_unique:
        raise TableError("centroids: no rows, or codes or variables repeat. Give one row for each type.")
    text = [str(c) for c in centroids.columns if not pd.api.types.is_numeric_dtype(centroids[c].dtype)]
    if text:
        raise TableError(
            f"centroids: {', '.join(text[:5])} aren't numbers. Make the codes the index, variables the columns."
        )
    if not np.isfinite(centroids.to_numpy(dtype=float)).all():
        raise TableError("centroids: values are missing. Give one complete row for each type.")


def _check_bounds(bounds: pd.DataFrame, used: list[Any]) -> None:
    absent = [name for name in ("centre", "spread") if name not in bounds.columns]
    if absent:
        raise TableError(f"bounds: no column {', '.join(absent)}. Give centre and spread of every variable.")
    lacking = [str(name) for name in used if name not in bounds.index]
    if lacking:
        raise TableError(f"bounds: no row for {', '.join(lacking[:5])}. Make the variables the index.")
    values = bounds.loc[used, ["centre", "spread"]].to_numpy(dtype=float)
    if not np.isfinite(values).all() or (values[:, 1] <= 0).any():
        raise TableError("bounds: centre or spread is missing, or a spread isn't above 0.")
