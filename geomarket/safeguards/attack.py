"""The attacker: what published counts and sums together give away about hidden ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import highspy
import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse.csgraph import connected_components

from geomarket.errors import SolverError

__all__ = ["Bounds", "Relation", "attack"]

Floats = NDArray[np.float64]
_TOLERANCE = 1e-6


@dataclass(frozen=True)
class Relation:
    """Counts of one table that add up to those of another.

    Parameters
    ----------
    parent, child : int
        Positions of the two tables.
    parent_of : ndarray of shape (n_child_rows,)
        Row of the parent table each row of the child table is part of; −1 where of none.
    """

    parent: int
    child: int
    parent_of: NDArray[np.intp]


@dataclass(frozen=True)
class Bounds:
    """What each hidden count can be, given all that is published: arrays per table, NaN where not hidden.

    Attributes
    ----------
    low, high : list of ndarray
        Exact where the range is narrower than the width asked for. Elsewhere two values the count can take that
        lie at least that far apart.
    equations : list of tuple
        (relation, row of the parent table) of every sum with something hidden in it.
    """

    low: list[Floats]
    high: list[Floats]
    equations: list[tuple[int, int]]

    def exposed(self, width: float) -> list[NDArray[np.bool_]]:
        """Return which hidden counts are pinned to a range narrower than ``width``."""
        ranges = (high - low for low, high in zip(self.low, self.high))
        return [np.nan_to_num(r, nan=np.inf, posinf=np.inf) < width - _TOLERANCE for r in ranges]


@dataclass(frozen=True)
class _System:
    """Sums with something hidden: matrix @ hidden = right."""

    matrix: sparse.csr_array
    right: Floats
    table: NDArray[np.intp]
    row: NDArray[np.intp]
    equations: list[tuple[int, int]]


def attack(
    published: Sequence[Floats],
    relations: Sequence[Relation],
    width: float,
    caps: Sequence[Floats] | None = None,
) -> Bounds:
    """Bound every hidden count by linear programming over all published sums.

    The attacker knows which counts are hidden, that none is negative, and all published figures; not why a count
    is hidden.

    Parameters
    ----------
    published : sequence of ndarray
        Counts per table; NaN where hidden.
    relations : sequence of Relation
        What adds up to what.
    width : float
        Range from which a count is safe: the search for its bounds stops there.
    caps : sequence of ndarray or None
        Per table, what each count is known not to exceed (a part cannot be more than its published whole); infinite
        where nothing is known.

    Returns
    -------
    Bounds

    Raises
    ------
    SolverError
        The published figures contradict one another, or the solver fails.

    Notes
    -----
    The audit problem of cell suppression (Fischetti & Salazar 2001), solved part by part: sums that share no hidden
    count do not speak about each other. A solution found for one count is evidence for all others, so most need no
    program of their own.
    """
    system = _system(published, relations)
    low, high = ([np.full(len(p), np.nan) for p in published] for _ in range(2))
    n = len(system.row)
    cap = np.concatenate([c[np.isnan(p)] for c, p in zip(caps, published)]) if caps else np.full(n, np.inf)
    lows, highs = np.zeros(n), cap.copy()
    graph = sparse.block_array([[None, system.matrix], [system.matrix.T, None]]) if n else None
    if graph is not None and system.matrix.shape[0]:
        _, part = connected_components(graph, directed=False)
        m = system.matrix.shape[0]
        order = np.argsort(part[m:], kind="stable")
        for columns in np.split(order, np.flatnonzero(np.diff(part[m:][order])) + 1):
            rows = np.unique(system.matrix[:, columns].nonzero()[0])
            if len(rows):
                lows[columns], highs[columns] = _bound_part(system, rows, columns, width, cap[columns])
    for i in range(n):
        low[system.table[i]][system.row[i]], high[system.table[i]][system.row[i]] = lows[i], highs[i]
    return Bounds(low=low, high=high, equations=system.equations)


def _system(published: Sequence[Floats], relations: Sequence[Relation]) -> _System:
    hidden = [np.isnan(p) for p in published]
    offset = np.append(0, np.cumsum([h.sum() for h in hidden]))
    position = [np.where(h, o + np.cumsum(h) - 1, -1) for h, o in zip(hidden, offset)]
    blocks, right, equations = [], [], []
    for index, relation in enumerate(relations):
        n_parents = len(published[relation.parent])
        part = relation.parent_of >= 0
        known = part & ~hidden[relation.child]
        shown = np.bincount(
            relation.parent_of[known], weights=published[relation.child][known], minlength=n_parents
        )
        unknown = np.flatnonzero(part & hidden[relation.child])
        hidden_parents = np.flatnonzero(hidden[relation.parent])
        entries = np.concatenate([np.ones(len(unknown)), -np.ones(len(hidden_parents))])
        rows = np.concatenate([relation.parent_of[unknown], hidden_parents])
        columns = np.concatenate(
            [position[relation.child][unknown], position[relation.parent][hidden_parents]]
        )
        block = sparse.csr_array((entries, (rows, columns)), shape=(n_parents, offset[-1]))
        used = np.unique(rows)
        # parents without any part in the child table say nothing about it
        used = used[np.bincount(relation.parent_of[part], minlength=n_parents)[used] > 0]
        blocks.append(block[used])
        right.append((np.nan_to_num(published[relation.parent]) - shown)[used])
        equations += [(index, int(row)) for row in used]
    matrix = sparse.csr_array(sparse.vstack(blocks)) if blocks else sparse.csr_array((0, int(offset[-1])))
    table = np.concatenate([np.full(int(h.sum()), t) for t, h in enumerate(hidden)])
    row = np.concatenate([np.flatnonzero(h) for h in hidden])
    return _System(
        matrix,
        np.concatenate(right) if right else np.zeros(0),
        table.astype(np.intp),
        row.astype(np.intp),
        equations,
    )


def _bound_part(
    system: _System, rows: NDArray[np.intp], columns: NDArray[np.intp], width: float, cap: Floats
) -> tuple[Floats, Floats]:
    matrix, right = sparse.csr_array(system.matrix[rows][:, columns]), system.right[rows]
    # hidden counts in exactly the same sums are one unknown, split among them at will
    merged, group = _merge_equal_columns(matrix)
    finite = float(np.abs(right).sum()) + 10 * width
    cap = np.minimum(cap, finite)
    whole = np.bincount(group, weights=cap)
    if len(rows) == 1 and (matrix.data > 0).all():
        low = high = np.array([right[0]])
    else:
        low, high = _bound_columns(merged, right, width, np.minimum(whole, finite))
    # one of them is least when the others hold all they can, and most when they hold nothing
    return np.maximum(low[group] - (whole[group] - cap), 0.0), np.minimum(high[group], cap)


def _merge_equal_columns(matrix: sparse.csr_array) -> tuple[sparse.csr_array, NDArray[np.intp]]:
    by_column = sparse.csc_array(matrix)
    by_column.sort_indices()
    first: dict[tuple[bytes, bytes], int] = {}
    group = np.empty(matrix.shape[1], dtype=np.intp)
    kept: list[int] = []
    for j in range(matrix.shape[1]):
        part = slice(by_column.indptr[j], by_column.indptr[j + 1])
        key = (by_column.indices[part].tobytes(), by_column.data[part].tobytes())
        if key not in first:
            first[key] = len(kept)
            kept.append(j)
        group[j] = first[key]
    return sparse.csr_array(by_column[:, kept]), group


def _bound_columns(
    matrix: sparse.csr_array, right: Floats, width: float, cap: Floats
) -> tuple[Floats, Floats]:
    n = matrix.shape[1]
    solver = _Solver(matrix, right, cap)
    low, high = np.full(n, np.inf), np.full(n, -np.inf)
    for j in range(n):
        for sign in (-1.0, 1.0):
            if high[j] - low[j] < width:
                solution = solver.optimise(j, sign)
                low, high = np.minimum(low, solution), np.maximum(high, solution)
    return low, high


class _Solver:
    """One linear program, solved again and again for another objective."""

    def __init__(self, matrix: sparse.csr_array, right: Floats, cap: Floats) -> None:
        self.highs = highspy.Highs()
        self.highs.setOptionValue("output_flag", False)
        self.highs.setOptionValue("threads", 1)
        program = highspy.HighsLp()
        program.num_row_, program.num_col_ = matrix.shape
        program.col_cost_ = np.zeros(matrix.shape[1])
        program.col_lower_ = np.zeros(matrix.shape[1])
        # finite even where nothing is known: that spares the solver an unbounded ray
        program.col_upper_ = cap
        program.row_lower_ = program.row_upper_ = right
        program.a_matrix_.format_ = highspy.MatrixFormat.kRowwise
        program.a_matrix_.start_ = matrix.indptr
        program.a_matrix_.index_ = matrix.indices
        program.a_matrix_.value_ = matrix.data
        self.highs.passModel(program)

    def optimise(self, column: int, sign: float) -> Floats:
        """Return a solution with the least (sign 1) or the largest (sign −1) value of one column."""
        self.highs.changeColCost(column, sign)
        self.highs.run()
        status = self.highs.getModelStatus()
        self.highs.changeColCost(column, 0.0)
        if status != highspy.HighsModelStatus.kOptimal:
            raise SolverError(
                f"audit: the solver ended with status {self.highs.modelStatusToString(status)}. If it is infeasible, "
                "the published counts and sums contradict one another: they were not made from the same table."
            )
        return np.asarray(self.highs.getSolution().col_value, dtype=float)
