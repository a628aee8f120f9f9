"""Choice sets as sparse arrays, and the conditional logit fitted on them by maximum likelihood."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import linalg, sparse

from geomarket.errors import NotSupportedError, SolverError, TableError

__all__ = ["ChoiceSets", "LogitFit", "fit_conditional_logit", "newton_ascent"]

_log = logging.getLogger(__name__)

Floats = NDArray[np.float64]

SEPARATED = (
    "{table}: a column separates the stores that are visited from those that are not, so its coefficient has no "
    "finite value. Merge rare store formats, or leave that column out."
)


@dataclass(frozen=True)
class ChoiceSets:
    """Which stores each cell chooses among, and what describes every (cell, store) pair.

    The columns of a pair are those of its store (``by_store``) followed by its own (``by_pair``, such as log
    distance). Keeping the two apart means no array of pairs × columns is ever built.

    Parameters
    ----------
    cells : ndarray of shape (n_cells,)
        Cell ids, ascending.
    start : ndarray of shape (n_cells + 1,)
        Where the pairs of each cell begin.
    store : ndarray of shape (n_pairs,)
        Position of the pair's store in ``by_store``.
    by_store : ndarray of shape (n_stores, n_store_terms)
    by_pair : ndarray of shape (n_pairs, n_pair_terms)
    order : ndarray of shape (n_pairs,)
        Row of the frame each pair came from.
    outside : float
        Utility of spending at none of the stores (columns 0); minus infinity where that is no choice.
    """

    cells: NDArray[np.int64]
    start: NDArray[np.intp]
    store: NDArray[np.intp]
    by_store: Floats
    by_pair: Floats
    order: NDArray[np.intp]
    outside: float = -np.inf

    @classmethod
    def from_frame(
        cls, pairs: pd.DataFrame, store_ids: pd.Index, by_store: Floats, by_pair: Floats
    ) -> ChoiceSets:
        """Build choice sets from a long frame (cell, store_id) in any row order."""
        store = store_ids.get_indexer(pd.Index(pairs["store_id"]))
        unknown = store < 0
        if unknown.any():
            first = ", ".join(pd.unique(pairs["store_id"].to_numpy()[unknown])[:3])
            raise TableError(
                f"pairs: {int(unknown.sum()):,} of {len(pairs):,} rows have a store_id not in stores ({first}). "
                "Give the same stores (own and competitors) as to distance_pairs."
            )
        cell = pairs["cell"].to_numpy(np.int64)
        order = np.lexsort((store, cell))
        cell, store = cell[order], store[order]
        if len(cell) > 1 and ((cell[1:] == cell[:-1]) & (store[1:] == store[:-1])).any():
            raise TableError("pairs: a (cell, store_id) stands more than once; drop the copies.")
        cells, first_pair = np.unique(cell, return_index=True)
        start = np.append(first_pair, len(cell)).astype(np.intp)
        return cls(cells, start, store.astype(np.intp), by_store, by_pair[order], order.astype(np.intp))

    @property
    def n_cells(self) -> int:
        """Number of cells."""
        return len(self.cells)

    @property
    def n_stores(self) -> int:
        """Number of stores, chosen or not."""
        return len(self.by_store)

    @property
    def n_terms(self) -> int:
        """Number of columns."""
        return self.by_store.shape[1] + self.by_pair.shape[1]

    @property
    def sizes(self) -> NDArray[np.intp]:
        """Stores in each cell's choice set."""
        return np.diff(self.start)

    def scaled(self, scale: Floats) -> ChoiceSets:
        """Return the same sets with every column centred and divided by ``scale``; shares do not change.

        Beside an outside option a shift of a column would change them, so there columns are not centred.
        """
        k = self.by_store.shape[1]
        centre = 0.0 if np.isfinite(self.outside) else 1.0
        by_store = (self.by_store - centre * self.by_store.mean(axis=0, keepdims=True)) / scale[:k]
        by_pair = (self.by_pair - centre * self.by_pair.mean(axis=0, keepdims=True)) / scale[k:]
        return replace(self, by_store=by_store, by_pair=by_pair)

    def columns(self, keep: NDArray[np.bool_]) -> ChoiceSets:
        """Return the same sets with some of the columns."""
        k = self.by_store.shape[1]
        return replace(self, by_store=self.by_store[:, keep[:k]], by_pair=self.by_pair[:, keep[k:]])

    def with_outside(self, utility: float) -> ChoiceSets:
        """Return the same sets with another utility of the outside option."""
        return replace(self, outside=utility)

    def subset(self, cells: NDArray[np.bool_]) -> ChoiceSets:
        """Return the sets of some of the cells."""
        pair = np.repeat(cells, self.sizes)
        start = np.append(0, np.cumsum(self.sizes[cells])).astype(np.intp)
        return replace(
            self,
            cells=self.cells[cells],
            start=start,
            store=self.store[pair],
            by_pair=self.by_pair[pair],
            order=self.order[pair],
        )

    def per_pair(self, by_cell: Floats) -> Floats:
        """Repeat a value of each cell over its pairs."""
        return np.repeat(by_cell, self.sizes)

    def utilities(self, beta: Floats) -> Floats:
        """Return the linear predictor of every pair."""
        k = self.by_store.shape[1]
        return (self.by_store @ beta[:k])[self.store] + self.by_pair @ beta[k:]

    def probabilities(self, beta: Floats) -> Floats:
        """Return the share of its cell each store draws; a cell's shares sum to 1 less what goes outside."""
        utility = self.utilities(beta)
        top = np.maximum(np.maximum.reduceat(utility, self.start[:-1]), self.outside)
        utility = np.exp(utility - self.per_pair(top))
        return utility / self.per_pair(np.add.reduceat(utility, self.start[:-1]) + np.exp(self.outside - top))

    def log_probabilities(self, beta: Floats) -> Floats:
        """Return the logarithm of :meth:`probabilities`, exact where they underflow."""
        utility = self.utilities(beta)
        top = np.maximum(np.maximum.reduceat(utility, self.start[:-1]), self.outside)
        utility -= self.per_pair(top)
        total = np.add.reduceat(np.exp(utility), self.start[:-1]) + np.exp(self.outside - top)
        return utility - self.per_pair(np.log(total))

    def by_cell_sum(self, weight: Floats) -> Floats:
        """Sum a value of each pair over the stores of its cell."""
        return np.add.reduceat(weight, self.start[:-1])

    def by_store_sum(self, weight: Floats) -> Floats:
        """Sum a value of each pair over the cells of its store."""
        return np.bincount(self.store, weights=weight, minlength=self.n_stores).astype(float)

    def cell_moments(self, weight: Floats) -> Floats:
        """Sum weight × columns over the stores of each cell: shape (n_cells, n_terms)."""
        own = [np.add.reduceat(weight * column, self.start[:-1]) for column in self.by_pair.T]
        return np.column_stack([self._matrix(weight) @ self.by_store, *own])

    def pull_to_stores(self, weight: Floats, by_cell: Floats) -> Floats:
        """Sum weight × values of the pair's cell (n_cells, m) over the cells of each store: (n_stores, m)."""
        return self._matrix(weight).T @ by_cell

    def store_moments(self, weight: Floats) -> Floats:
        """Sum weight × columns over the cells of each store: shape (n_stores, n_terms)."""
        own = [self.by_store_sum(weight * column) for column in self.by_pair.T]
        return np.column_stack([self.by_store * self.by_store_sum(weight)[:, None], *own])

    def _matrix(self, weight: Floats) -> sparse.csr_array:
        return sparse.csr_array((weight, self.store, self.start), shape=(self.n_cells, self.n_stores))

    def gram(self, weight: Floats) -> Floats:
        """Sum weight × columns × columnsᵀ over all pairs: shape (n_terms, n_terms)."""
        k = self.by_store.shape[1]
        out = np.empty((self.n_terms, self.n_terms))
        moments = self.store_moments(weight)
        out[:k, :] = self.by_store.T @ moments
        out[k:, :k] = out[:k, k:].T
        out[k:, k:] = self.by_pair.T @ (self.by_pair * weight[:, None])
        return out

    def spread(self, weight: Floats) -> Floats:
        """Sum weight × (column − its cell's weighted mean)(…)ᵀ over all pairs: the within-cell scatter."""
        total = self.by_cell_sum(weight)
        moments = self.cell_moments(weight)
        filled = np.where(total > 0, total, 1.0)[:, None]
        return self.gram(weight) - moments.T @ (moments / filled)


@dataclass(frozen=True)
class LogitFit:
    """Coefficients of a conditional logit and their covariances, on the columns' own scale.

    Columns that do not vary within any choice set, or repeat earlier ones, carry NaN.
    """

    beta: Floats
    covariance: Floats
    robust_covariance: Floats
    clustered_covariance: Floats
    log_likelihood: float
    n_trips: float
    n_clusters: int
    n_iterations: int

    @property
    def identified(self) -> NDArray[np.bool_]:
        """Which columns the data can speak about."""
        return ~np.isnan(self.beta)


def fit_conditional_logit(
    sets: ChoiceSets, trips: Floats, max_iterations: int = 100, tolerance: float = 1e-10
) -> LogitFit:
    """Fit a conditional logit to trips from cells to stores by maximum likelihood.

    The estimates equal those of a Poisson regression of the trips with one effect per cell. Newton steps on
    standardised columns with backtracking: an undamped Newton can diverge on this problem without an error.

    Parameters
    ----------
    sets : ChoiceSets
        What each cell chooses among.
    trips : ndarray of shape (n_pairs,)
        Trips, customers or money, in the order of ``sets``; not negative.
    max_iterations : int
        Newton steps before giving up.
    tolerance : float
        Largest step of a standardised coefficient at which the fit has converged.

    Returns
    -------
    LogitFit
        With model-based, pair-robust (sandwich) and cell-clustered covariances.

    Raises
    ------
    NotSupportedError
        No cell has trips and a choice, or the trips are separated by a column (its best value is infinite).
    SolverError
        No convergence within ``max_iterations``.

    Notes
    -----
    McFadden (1974) for the model; White (1982) and Liang & Zeger (1986) for the covariances.
    """
    by_cell = sets.by_cell_sum(trips)
    informative = (by_cell > 0) & (sets.sizes > 1)
    if not informative.any():
        raise NotSupportedError(
            "flows: no cell has both trips and at least two stores to choose from, so nothing can be learned "
            "about distance or attraction. Give flows of more stores, or raise k_nearest."
        )
    pair = np.repeat(informative, sets.sizes)
    sets, trips, by_cell = sets.subset(informative), trips[pair], by_cell[informative]
    scale, keep = _identified_columns(sets, by_cell)
    work = sets.columns(keep).scaled(scale[keep])

    def objective(beta: Floats) -> float:
        return float(trips @ work.log_probabilities(beta))

    def derivatives(beta: Floats) -> tuple[Floats, Floats]:
        expected = work.per_pair(by_cell) * work.probabilities(beta)
        return work.store_moments(trips - expected).sum(axis=0), work.spread(expected)

    beta, n_iterations = newton_ascent(
        objective, derivatives, np.zeros(int(keep.sum())), max_iterations, tolerance, "flows"
    )
    value = objective(beta)
    residual = trips - work.per_pair(by_cell) * work.probabilities(beta)
    information = derivatives(beta)[1]
    if len(beta) and linalg.eigvalsh(information)[0] < 1e-9 * trips.sum():
        raise NotSupportedError(SEPARATED.format(table="flows"))
    bread = _inverse(information)
    n_clusters = work.n_cells
    scores = work.cell_moments(residual)
    clustered = bread @ (scores.T @ scores) @ bread * n_clusters / max(n_clusters - 1, 1)
    robust = bread @ _pair_scatter(work, residual, beta) @ bread
    return LogitFit(
        beta=_expand(beta / scale[keep], keep),
        covariance=_expand(bread / np.outer(scale[keep], scale[keep]), keep),
        robust_covariance=_expand(robust / np.outer(scale[keep], scale[keep]), keep),
        clustered_covariance=_expand(clustered / np.outer(scale[keep], scale[keep]), keep),
        log_likelihood=value,
        n_trips=float(trips.sum()),
        n_clusters=n_clusters,
        n_iterations=n_iterations,
    )


def newton_ascent(
    objective: Callable[[Floats], float],
    derivatives: Callable[[Floats], tuple[Floats, Floats]],
    start: Floats,
    max_iterations: int,
    tolerance: float,
    table: str,
) -> tuple[Floats, int]:
    """Maximise ``objective`` by Newton (or scoring) steps with backtracking; columns must be standardised."""
    beta, value = start, objective(start)
    for iteration in range(1, max_iterations + 1):
        if not len(beta):
            return beta, 0
        gradient, information = derivatives(beta)
        step = _inverse(information) @ gradient
        rise = float(gradient @ step)
        if np.abs(step).max() < tolerance or rise < 1e-13 * max(1.0, abs(value)):
            # the rise is below the rounding of the objective: the last step is right, a comparison would not be
            return beta + step, iteration
        length = 1.0
        candidate, new = beta + step, objective(beta + step)
        while not new >= value + 1e-4 * length * rise and length > 1e-10:
            length /= 2
            candidate = beta + length * step
            new = objective(candidate)
        if not new >= value:
            break
        beta, value = candidate, new
        if np.abs(beta).max() > 50:
            raise NotSupportedError(SEPARATED.format(table=table))
    raise SolverError(
        f"{table}: the fit did not converge in {max_iterations} steps (last step {np.abs(step).max():.2g}). "
        "Look for columns that nearly repeat one another, or raise max_iterations."
    )


def _identified_columns(sets: ChoiceSets, by_cell: Floats) -> tuple[Floats, NDArray[np.bool_]]:
    """Scale of each column within choice sets, and which columns add something to those before them."""
    weight = sets.per_pair(by_cell / sets.sizes)
    plain = sets.scaled(_overall_scale(sets))
    scatter = plain.spread(weight) / by_cell.sum()
    within = np.sqrt(np.clip(np.diag(scatter), 0.0, None))
    return _overall_scale(sets) * np.where(within > 1e-7, within, 1.0), independent_columns(scatter)


def independent_columns(scatter: Floats, tolerance: float = 1e-9) -> NDArray[np.bool_]:
    """Which columns of a scatter matrix are not a combination of earlier ones (in the order given)."""
    scale = np.sqrt(np.clip(np.diag(scatter), 0.0, None))
    keep = scale > 1e-7
    for j in np.flatnonzero(keep):
        before = np.flatnonzero(keep[:j])
        if not len(before):
            continue
        block = scatter[np.ix_(before, before)] / np.outer(scale[before], scale[before])
        cross = scatter[before, j] / (scale[before] * scale[j])
        explained = cross @ linalg.lstsq(block, cross)[0]
        keep[j] = 1.0 - explained > tolerance
    return keep


def _overall_scale(sets: ChoiceSets) -> Floats:
    scale = np.concatenate((sets.by_store.std(axis=0), sets.by_pair.std(axis=0)))
    return np.where(scale > 0, scale, 1.0)


def _pair_scatter(sets: ChoiceSets, residual: Floats, beta: Floats) -> Floats:
    """Sum of residual² (x − x̄)(x − x̄)ᵀ over pairs, x̄ the cell's expected column."""
    square = residual**2
    centre = sets.cell_moments(sets.probabilities(beta))
    cross = sets.cell_moments(square).T @ centre
    total = sets.by_cell_sum(square)[:, None]
    return sets.gram(square) - cross - cross.T + centre.T @ (centre * total)


def _inverse(information: Floats) -> Floats:
    try:
        return linalg.inv(information)
    except linalg.LinAlgError as error:
        raise SolverError(
            "The information matrix of the fit is singular: columns repeat one another. Leave one of them out."
        ) from error


def _expand(values: Floats, keep: NDArray[np.bool_]) -> Floats:
    """Put the values of the kept columns back in their places, NaN elsewhere."""
    out = np.full((len(keep),) * values.ndim, np.nan)
    out[np.ix_(*(keep,) * values.ndim)] = values
    return out
