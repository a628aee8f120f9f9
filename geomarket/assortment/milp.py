"""Mixed-integer programs as arrays, without a modelling layer: columns, rows, bounds by weak duality."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt
from scipy import sparse

__all__ = ["LinearProgram", "ProgramBuilder", "dual_bound", "relative_gap", "value", "violation"]

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class LinearProgram:
    """Maximise ``cost @ x + constant`` subject to ``row_lower <= matrix @ x <= row_upper`` and column bounds.

    ``row_group[i]`` indexes ``groups``, the rule (and its scope) that row ``i`` belongs to. All columns must have
    finite bounds: the bound by weak duality needs them. ``pool`` holds further rows ``matrix @ x <= upper`` that every
    integral point satisfies anyway: a solver may add those that cut off a fractional one.
    """

    cost: Floats
    lower: Floats
    upper: Floats
    integer: Bools
    matrix: sparse.csr_array
    row_lower: Floats
    row_upper: Floats
    row_group: Ints
    groups: tuple[tuple[str, str], ...]
    constant: float = 0.0
    pool: tuple[sparse.csr_array, Floats] | None = None

    def without_rows(self, drop: Bools) -> LinearProgram:
        """Return the program without the rows marked in ``drop``."""
        keep = ~drop
        return replace(
            self,
            matrix=self.matrix[np.flatnonzero(keep)],
            row_lower=self.row_lower[keep],
            row_upper=self.row_upper[keep],
            row_group=self.row_group[keep],
        )

    def with_cuts(self, chosen: Ints) -> LinearProgram:
        """Return the program with some rows of its pool added."""
        if self.pool is None or not chosen.size:
            return self
        matrix, upper = self.pool
        return replace(
            self,
            matrix=sparse.vstack([self.matrix, matrix[chosen]], format="csr"),
            row_lower=np.append(self.row_lower, np.full(chosen.size, -np.inf)),
            row_upper=np.append(self.row_upper, upper[chosen]),
            row_group=np.append(self.row_group, np.full(chosen.size, -1)),
        )


@dataclass
class ProgramBuilder:
    """Collects blocks of columns and rows and compiles them into a :class:`LinearProgram`."""

    _cost: list[Floats] = field(default_factory=list)
    _lower: list[Floats] = field(default_factory=list)
    _upper: list[Floats] = field(default_factory=list)
    _integer: list[Bools] = field(default_factory=list)
    _n_columns: int = 0
    _entries: list[tuple[Ints, Ints, Floats]] = field(default_factory=list)
    _row_lower: list[Floats] = field(default_factory=list)
    _row_upper: list[Floats] = field(default_factory=list)
    _row_group: list[Ints] = field(default_factory=list)
    _n_rows: int = 0
    _groups: dict[tuple[str, str], int] = field(default_factory=dict)
    _cuts: list[tuple[Ints, Floats, float]] = field(default_factory=list)

    def columns(
        self,
        cost: npt.ArrayLike,
        *,
        lower: npt.ArrayLike = 0.0,
        upper: npt.ArrayLike = 1.0,
        integer: bool = True,
    ) -> Ints:
        """Add one column per entry of ``cost`` (any shape) and return their numbers in that shape."""
        costs = np.asarray(cost, dtype=float)
        numbers = np.arange(self._n_columns, self._n_columns + costs.size, dtype=np.int64)
        self._n_columns += costs.size
        self._cost.append(costs.ravel())
        self._lower.append(np.broadcast_to(np.asarray(lower, dtype=float), costs.shape).ravel())
        self._upper.append(np.broadcast_to(np.asarray(upper, dtype=float), costs.shape).ravel())
        self._integer.append(np.full(costs.size, integer))
        return numbers.reshape(costs.shape)

    def rows(
        self,
        columns: npt.ArrayLike,
        values: npt.ArrayLike,
        *,
        rule: str,
        scope: str = "",
        lower: npt.ArrayLike = -np.inf,
        upper: npt.ArrayLike = np.inf,
    ) -> None:
        """Add rows: ``columns`` of shape (n_rows, n_terms), ``values`` broadcast to it, one rule for all."""
        numbers = np.atleast_2d(np.asarray(columns, dtype=np.int64))
        n_rows, n_terms = numbers.shape
        if n_rows == 0:
            return
        coefficients = np.broadcast_to(np.asarray(values, dtype=float), numbers.shape)
        row_numbers = np.repeat(np.arange(self._n_rows, self._n_rows + n_rows, dtype=np.int64), n_terms)
        self._entries.append((row_numbers, numbers.ravel(), coefficients.ravel()))
        self._count(n_rows, lower, upper, rule, scope)

    def _count(self, n_rows: int, lower: npt.ArrayLike, upper: npt.ArrayLike, rule: str, scope: str) -> None:
        self._n_rows += n_rows
        self._row_lower.append(np.broadcast_to(np.asarray(lower, dtype=float), (n_rows,)))
        self._row_upper.append(np.broadcast_to(np.asarray(upper, dtype=float), (n_rows,)))
        group = self._groups.setdefault((rule, scope), len(self._groups))
        self._row_group.append(np.full(n_rows, group, dtype=np.int64))

    def group_rows(self, columns: Ints, group: Ints, most: float, *, rule: str) -> None:
        """Add ``sum of x <= most`` for each group of columns; groups too small to break it get no row."""
        _, number, size = np.unique(group, return_inverse=True, return_counts=True)
        keep = (size > most)[number]
        if not keep.any():
            return
        _, rows = np.unique(number[keep], return_inverse=True)
        n_rows = int(rows.max()) + 1
        self._entries.append((rows + self._n_rows, columns[keep], np.ones(rows.size)))
        self._count(n_rows, -np.inf, most, rule, "")

    def cuts(self, columns: npt.ArrayLike, values: npt.ArrayLike, upper: float) -> None:
        """Add rows to the pool: ``columns`` of shape (n_rows, n_terms), implied by integrality."""
        numbers = np.atleast_2d(np.asarray(columns, dtype=np.int64))
        if numbers.size:
            self._cuts.append(
                (numbers, np.broadcast_to(np.asarray(values, dtype=float), numbers.shape), upper)
            )

    def at_most(self, smaller: npt.ArrayLike, larger: npt.ArrayLike, *, rule: str, scope: str = "") -> None:
        """Add ``x[smaller] <= x[larger]``, element by element."""
        low, high = np.broadcast_arrays(np.asarray(smaller), np.asarray(larger))
        self.rows(
            np.column_stack([low.ravel(), high.ravel()]), [1.0, -1.0], rule=rule, scope=scope, upper=0.0
        )

    def compile(self, constant: float = 0.0) -> LinearProgram:
        """Return the program collected so far, with a constant added to its objective."""

        def joined(parts: list[npt.NDArray], dtype: type) -> npt.NDArray:
            return np.concatenate(parts).astype(dtype) if parts else np.zeros(0, dtype=dtype)

        rows = joined([entry[0] for entry in self._entries], np.int64)
        columns = joined([entry[1] for entry in self._entries], np.int64)
        values = joined([entry[2] for entry in self._entries], float)
        matrix = sparse.coo_array((values, (rows, columns)), shape=(self._n_rows, self._n_columns)).tocsr()
        return LinearProgram(
            joined(self._cost, float),
            joined(self._lower, float),
            joined(self._upper, float),
            joined(self._integer, bool),
            matrix,
            joined(self._row_lower, float),
            joined(self._row_upper, float),
            joined(self._row_group, np.int64),
            tuple(self._groups),
            constant,
            self._pool(),
        )

    def _pool(self) -> tuple[sparse.csr_array, Floats] | None:
        if not self._cuts:
            return None
        parts = [
            sparse.csr_array(
                (values.ravel(), numbers.ravel(), np.arange(0, numbers.size + 1, numbers.shape[1])),
                shape=(len(numbers), self._n_columns),
            )
            for numbers, values, _ in self._cuts
        ]
        upper = np.concatenate([np.full(len(numbers), limit) for numbers, _, limit in self._cuts])
        return sparse.vstack(parts, format="csr"), upper


def relative_gap(bound: float, objective: float) -> float:
    """Return the gap between bound and incumbent as a share of the incumbent."""
    return max(0.0, bound - objective) / max(abs(objective), 1.0)


def dual_bound(program: LinearProgram, duals: Floats) -> tuple[float, Floats]:
    """Return a proven upper bound and the reduced costs, from any row duals (weak duality).

    For a maximisation, ``y >= 0`` prices the upper side of a row and ``y <= 0`` its lower side; a dual that
    would price a side that is not there is set to zero first, so the bound holds for any ``duals``.
    """
    y = np.where((duals > 0) & ~np.isfinite(program.row_upper), 0.0, duals)
    y = np.where((y < 0) & ~np.isfinite(program.row_lower), 0.0, y)
    reduced = program.cost - program.matrix.T @ y
    rows = np.where(y > 0, y * np.where(y > 0, program.row_upper, 0), 0.0)
    rows += np.where(y < 0, y * np.where(y < 0, program.row_lower, 0), 0.0)
    columns = np.maximum(reduced * program.lower, reduced * program.upper)
    return float(rows.sum() + columns.sum()) + program.constant, reduced


def violation(program: LinearProgram, x: Floats) -> float:
    """Return the worst violation of any row, column bound or integrality by ``x``.

    A row's counts in thousandths of its bound where that is above 1,000: sums of many terms are rounded.
    """
    activity = program.matrix @ x
    worst = [0.0]
    sizes = [
        np.where(np.isfinite(b), np.maximum(1.0, 1e-3 * np.abs(b)), 1.0)
        for b in (program.row_lower, program.row_upper)
    ]
    for shortfall in (
        (program.row_lower - activity) / sizes[0],
        (activity - program.row_upper) / sizes[1],
        program.lower - x,
        x - program.upper,
        np.abs(x - np.round(x))[program.integer],
    ):
        if shortfall.size:
            worst.append(float(shortfall.max()))
    return max(worst)


def value(program: LinearProgram, x: Floats) -> float:
    """Return the objective of a point."""
    return float(program.cost @ x) + program.constant
