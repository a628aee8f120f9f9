"""How the types lie in space: autocorrelation of what they leave unexplained, and contiguity smoothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numba as nb
import numpy as np
import pandas as pd
from scipy import sparse, stats
from scipy.sparse.csgraph import connected_components

from geomarket.errors import NotSupportedError, SettingsError, TableError
from geomarket.neighbourhoods.checks import check_rates
from geomarket.neighbourhoods.classifier import NeighbourhoodClassifier
from geomarket.results import Result

__all__ = ["SmoothedTypes", "morans_i", "residual_autocorrelation", "smooth_types"]


def morans_i(values: pd.DataFrame, neighbours: pd.DataFrame) -> pd.DataFrame:
    """Moran's I of every column, with row-standardised neighbour weights.

    Parameters
    ----------
    values : DataFrame of shape (n_cells, n_variables)
        Index the cells; rows with a missing value are left out.
    neighbours : DataFrame
        First two columns: cell and neighbour, as from ``hexes.neighbours``. Pairs with unknown cells are ignored.

    Returns
    -------
    DataFrame
        variable, morans_i, expected, z, p (one-sided, for positive autocorrelation, under randomisation), cells,
        islands (cells without a neighbour, left out).

    Raises
    ------
    NotSupportedError
        If fewer than four cells have neighbours.

    Notes
    -----
    Moran (1950); moments under randomisation by Cliff and Ord (1981). A short sparse formula of our own: esda
    gives the same numbers, but would bring its dependencies for these few lines.

    Examples
    --------
    >>> line = pd.DataFrame({"cell": [0, 1, 1, 2, 2, 3, 3, 4], "neighbour": [1, 0, 2, 1, 3, 2, 4, 3]})
    >>> morans_i(pd.DataFrame({"x": [1.0, 2.0, 3.0, 4.0, 5.0]}), line)["morans_i"].round(3).tolist()
    [0.6]
    """
    check_rates(values)
    complete = values.dropna()
    matrix, linked = _weights(complete.index, neighbours)
    if linked.sum() < 4:
        raise NotSupportedError(
            "Moran's I: fewer than four cells have a neighbour. Give pairs of adjacent cells."
        )
    matrix = matrix[linked][:, linked]
    matrix = sparse.diags_array(1 / np.asarray(matrix.sum(axis=1)).ravel()) @ matrix
    data = complete.to_numpy(dtype=float)[linked]
    n = len(data)
    moments = _moments(matrix, n)
    rows = []
    for j, name in enumerate(values.columns):
        z = data[:, j] - data[:, j].mean()
        square = float(z @ z)
        if square == 0:
            rows.append((name, np.nan, -1 / (n - 1), np.nan, np.nan))
            continue
        found = float(z @ (matrix @ z)) / square * n / moments[0]
        score = (found + 1 / (n - 1)) / np.sqrt(_variance(z, n, moments))
        rows.append((name, found, -1 / (n - 1), float(score), float(stats.norm.sf(score))))
    table = pd.DataFrame(rows, columns=["variable", "morans_i", "expected", "z", "p"])
    return table.assign(cells=n, islands=int((~linked).sum()))


def residual_autocorrelation(
    classifier: NeighbourhoodClassifier,
    rates: pd.DataFrame,
    codes: pd.Series,
    neighbours: pd.DataFrame,
    denominators: pd.DataFrame | None = None,
) -> pd.DataFrame:
    """Moran's I of what the types leave unexplained, variable by variable.

    Positive values say that nearby cells depart from their types in the same way: there is regional structure
    the classification doesn't hold.

    Parameters
    ----------
    classifier : NeighbourhoodClassifier
        Fitted.
    rates : DataFrame
        Its variables, by cell.
    codes : Series
        Code of each cell, at any level; missing is left out.
    neighbours : DataFrame
        As in :func:`morans_i`.
    denominators : DataFrame, optional
        For a scheme that shrinks rates.

    Returns
    -------
    DataFrame
        As :func:`morans_i`, strongest first, with ``before``: Moran's I of the variable itself.

    Examples
    --------
    >>> rates = pd.DataFrame({"rent": [0.1, 0.12, 0.15, 0.7, 0.72, 0.75]})
    >>> found = NeighbourhoodClassifier(levels=(2,), min_areas=1).fit(rates)
    >>> pairs = pd.DataFrame({"cell": [0, 1, 1, 2, 2, 3, 3, 4, 4, 5], "neighbour": [1, 0, 2, 1, 3, 2, 4, 3, 5, 4]})
    >>> table = residual_autocorrelation(found, rates, found.labels_["code"], pairs)
    >>> bool((table["morans_i"] < table["before"]).all())
    True
    """
    typed = codes.dropna()
    _check_typed(classifier, rates, typed)
    points = classifier.transform_rates(rates.loc[typed.index], _at(denominators, typed.index))
    residuals = points - classifier.centroids_.loc[typed.to_numpy()].to_numpy()
    table = morans_i(residuals, neighbours)
    table["before"] = morans_i(points.loc[residuals.dropna().index], neighbours)["morans_i"]
    return table.sort_values("morans_i", ascending=False, kind="stable").reset_index(drop=True)


@dataclass(frozen=True)
class SmoothedTypes(Result):
    """Types after contiguity smoothing, and what it cost.

    Attributes
    ----------
    table : DataFrame
        On the index of the codes: code (smoothed), before, changed.
    fit_cost : float
        Rise of the within-cluster sum of squares, as a share of it before.
    moved : float
        Share of the typed cells that changed type.
    patches : tuple of int
        Connected patches of one type, before and after.
    alike : tuple of float
        Share of neighbour pairs of the same type, before and after.

    Examples
    --------
    >>> rates = pd.DataFrame({"rent": [0.1, 0.12, 0.35, 0.1, 0.8, 0.82]})
    >>> scheme = NeighbourhoodClassifier(levels=(2,), min_areas=1).fit(rates)
    >>> pairs = pd.DataFrame({"cell": [0, 1, 1, 2, 2, 3, 3, 4, 4, 5], "neighbour": [1, 0, 2, 1, 3, 2, 4, 3, 5, 4]})
    >>> smoothed = smooth_types(scheme, rates, scheme.labels_["code"], pairs, strength=20)
    >>> smoothed.table["changed"].tolist(), smoothed.fit_cost > 0
    ([False, False, True, False, False, False], True)
    """

    table: pd.DataFrame
    fit_cost: float
    moved: float
    patches: tuple[int, int]
    alike: tuple[float, float]

    def summary(self) -> list[str]:
        """Return what smoothing gained and what it cost."""
        return [
            f"Smoothing moved {100 * self.moved:.1f}% of cells to another type: {self.patches[0]:,} patches "
            f"became {self.patches[1]:,}, and {100 * self.alike[1]:.0f}% of neighbours are alike (before: "
            f"{100 * self.alike[0]:.0f}%).",
            f"It cost {100 * self.fit_cost:.1f}% of fit (within-cluster sum of squares).",
        ]


def smooth_types(
    classifier: NeighbourhoodClassifier,
    rates: pd.DataFrame,
    codes: pd.Series,
    neighbours: pd.DataFrame,
    strength: float = 0.5,
    population: pd.Series | None = None,
    denominators: pd.DataFrame | None = None,
) -> SmoothedTypes:
    """Trade fit for larger patches: a cell may take a neighbour's type where its own fits hardly better.

    Parameters
    ----------
    classifier : NeighbourhoodClassifier
        Fitted; its centroids stay as they are.
    rates : DataFrame
        Its variables, by cell.
    codes : Series
        Codes of one level. Missing stays missing.
    neighbours : DataFrame
        As in :func:`morans_i`.
    strength : float
        Cost of a cell's neighbours (of an average number) all being of another type, in mean squared distances
        of a cell to its centroid. 0 changes nothing.
    population : Series, optional
        Weighs the fit.
    denominators : DataFrame, optional
        For a scheme that shrinks rates.

    Returns
    -------
    SmoothedTypes

    Raises
    ------
    SettingsError
        Negative strength.

    Notes
    -----
    Iterated conditional modes on a Potts field (Besag 1986), cells in the order of their index, so the order of
    rows doesn't matter. Every step lowers the energy, so it ends. The classification itself is never smoothed
    unless asked for: neighbourhoods next to each other need not be alike.

    Examples
    --------
    >>> rates = pd.DataFrame({"rent": [0.1, 0.12, 0.35, 0.1, 0.8, 0.82]})
    >>> found = NeighbourhoodClassifier(levels=(2,), min_areas=1).fit(rates)
    >>> pairs = pd.DataFrame({"cell": [0, 1, 1, 2, 2, 3, 3, 4, 4, 5], "neighbour": [1, 0, 2, 1, 3, 2, 4, 3, 5, 4]})
    >>> smooth_types(found, rates, found.labels_["code"], pairs, strength=20).patches
    (4, 2)
    """
    if not strength >= 0:
        raise SettingsError(f"smoothing strength {strength} is negative; give 0 (none) or more.")
    typed = codes.dropna().sort_index()
    _check_typed(classifier, rates, typed)
    if population is not None and not typed.index.isin(population.index).all():
        raise TableError(
            "smoothing: population has no row for some of the cells. Select it from the same table."
        )
    kinds = np.array(sorted(set(typed)), dtype=object)
    points = classifier.transform_rates(rates.loc[typed.index], _at(denominators, typed.index)).to_numpy()
    squares = _squares(points, classifier.centroids_.loc[kinds].to_numpy())
    start = np.searchsorted(kinds.astype(str), typed.to_numpy().astype(str)).astype(np.int64)
    matrix, _ = _weights(typed.index, neighbours)
    own = squares[np.arange(len(start)), start]
    # one price for every pair, both ways alike: only then does each step lower one energy, and the steps end
    matrix = sparse.csr_array(matrix.maximum(matrix.T))
    degree = np.diff(matrix.indptr)
    price = strength * own.mean() / degree[degree > 0].mean() if matrix.nnz else 0.0
    labels = start.copy()
    _icm(squares, labels, matrix.indptr, matrix.indices, price)
    mass = np.ones(len(typed)) if population is None else population.loc[typed.index].to_numpy(dtype=float)
    after = squares[np.arange(len(labels)), labels]
    table = pd.DataFrame({"code": codes, "before": codes, "changed": False}, index=codes.index)
    table.loc[typed.index, "code"] = kinds[labels]
    table.loc[typed.index, "changed"] = labels != start
    return SmoothedTypes(
        table,
        float(mass @ after / (mass @ own) - 1),
        float((labels != start).mean()),
        (_patches(matrix, start), _patches(matrix, labels)),
        (_alike(matrix, start), _alike(matrix, labels)),
    )


def _check_typed(classifier: NeighbourhoodClassifier, rates: pd.DataFrame, typed: pd.Series) -> None:
    """Refuse codes that aren't of the scheme, or of cells without rates."""
    wrong = sorted(set(typed.astype(str)) - set(classifier.centroids_.index))
    if wrong:
        raise TableError(f"codes {', '.join(wrong[:5])} aren't types of this scheme.")
    lost = typed.index[~typed.index.isin(rates.index)]
    if len(lost):
        raise TableError(
            f"rates: cells {lost[:3].tolist()} have a type but no row. Give codes and rates of one table, by cell."
        )


def _weights(cells: pd.Index, neighbours: pd.DataFrame) -> tuple[sparse.csr_array, np.ndarray]:
    """Binary neighbour matrix in the order of the cells, and which cells have a neighbour."""
    if neighbours.shape[1] < 2:
        raise TableError(
            "neighbours: expected two columns, cell and neighbour, as geomarket.neighbours returns them."
        )
    place = pd.Series(np.arange(len(cells)), index=cells)
    here = place.reindex(neighbours.iloc[:, 0]).to_numpy()
    there = place.reindex(neighbours.iloc[:, 1]).to_numpy()
    known = ~(np.isnan(here) | np.isnan(there))
    i, j = here[known].astype(np.int64), there[known].astype(np.int64)
    matrix = sparse.csr_array((np.ones(len(i)), (i, j)), shape=(len(cells), len(cells)))
    matrix.setdiag(0)
    matrix.eliminate_zeros()
    matrix.data[:] = 1.0
    matrix.sort_indices()
    return matrix, np.diff(matrix.indptr) > 0


def _moments(matrix: Any, n: int) -> tuple[float, float, float]:
    """S0, S1 and S2 of Cliff and Ord."""
    both = matrix + matrix.T
    s1 = float(both.power(2).sum()) / 2
    s2 = float(((np.asarray(matrix.sum(axis=1)).ravel() + np.asarray(matrix.sum(axis=0)).ravel()) ** 2).sum())
    return float(matrix.sum()), s1, s2


def _variance(z: np.ndarray, n: int, moments: tuple[float, float, float]) -> float:
    s0, s1, s2 = moments
    kurtosis = (z**4).mean() / (z**2).mean() ** 2
    first = n * ((n * n - 3 * n + 3) * s1 - n * s2 + 3 * s0 * s0)
    second = kurtosis * ((n * n - n) * s1 - 2 * n * s2 + 6 * s0 * s0)
    return (first - second) / ((n - 1) * (n - 2) * (n - 3) * s0 * s0) - 1 / (n - 1) ** 2


def _at(frame: pd.DataFrame | None, cells: pd.Index) -> pd.DataFrame | None:
    return None if frame is None else frame.loc[cells]


def _squares(points: np.ndarray, centroids: np.ndarray) -> np.ndarray:
    """Squared distances to every centroid; missing coordinates left out and scaled up."""
    out = np.empty((len(points), len(centroids)))
    for c, centroid in enumerate(centroids):
        gaps = (points - centroid) ** 2
        out[:, c] = np.nanmean(gaps, axis=1) * gaps.shape[1]
    return out


def _patches(matrix: sparse.csr_array, labels: np.ndarray) -> int:
    pairs = matrix.tocoo()
    same = labels[pairs.row] == labels[pairs.col]
    inside = sparse.csr_array((pairs.data[same], (pairs.row[same], pairs.col[same])), shape=matrix.shape)
    return int(connected_components(inside, directed=False)[0])


def _alike(matrix: sparse.csr_array, labels: np.ndarray) -> float:
    pairs = matrix.tocoo()
    return float((labels[pairs.row] == labels[pairs.col]).mean()) if len(pairs.row) else np.nan


@nb.njit(cache=True)
def _icm(squares, labels, starts, neighbours, price):  # type: ignore[no-untyped-def]
    """Iterated conditional modes in place: each cell takes the label of least distance plus unlike neighbours."""
    n, k = squares.shape
    changed = True
    while changed:
        changed = False
        for i in range(n):
            like = np.zeros(k)
            for place in range(starts[i], starts[i + 1]):
                like[labels[neighbours[place]]] += price
            best = labels[i]
            least = squares[i, best] - like[best]
            for c in range(k):
                cost = squares[i, c] - like[c]
                if cost < least - 1e-12:
                    least = cost
                    best = c
            if best != labels[i]:
                labels[i] = best
                changed = True
