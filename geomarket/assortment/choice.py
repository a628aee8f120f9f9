"""Ranges under a mixed multinomial logit: customers of several types choose among what is listed."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from geomarket.assortment.milp import LinearProgram, ProgramBuilder
from geomarket.assortment.solving import SolverOptions, SolverResult
from geomarket.assortment.worker import SolverProcess, solve
from geomarket.errors import InfeasibleError, SettingsError

__all__ = ["ChoiceProblem", "ChoiceRange", "best_range", "expected_margin", "revenue_ordered", "search_range"]

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

#: Swaps are tried between so many of the likeliest SKUs on either side.
CANDIDATES = 120


@dataclass(frozen=True)
class ChoiceProblem:
    """One range for customers of several types.

    A customer of type t buys listed SKU i with probability ``v_ti / (1 + sum of v_tj over listed j)``, and nothing with
    the rest.

    Parameters
    ----------
    margin : ndarray of shape (n_skus,)
        Money per unit sold.
    attraction : ndarray of shape (n_types, n_skus)
        ``v``: exponential of utility, relative to buying nothing; 0 where a type never considers a SKU.
    customers : ndarray of shape (n_types,)
        Choices per period by type.
    space : ndarray of shape (n_skus,), optional
        What a listing takes; 1 each by default.
    capacity : float
        Space there is.
    cost : ndarray of shape (n_skus,), optional
        Money per period for listing a SKU.
    must, banned : ndarray of bool, shape (n_skus,), optional
        Listings demanded and forbidden.

    Examples
    --------
    >>> two = ChoiceProblem(np.array([4.0, 1.0]), np.array([[1.0, 8.0]]), np.array([10.0]))
    >>> [expected_margin(two, np.array(listed)) for listed in ([True, False], [True, True])]
    [20.0, 12.0]
    """

    margin: Floats
    attraction: Floats
    customers: Floats
    space: Floats | None = None
    capacity: float = math.inf
    cost: Floats | None = None
    must: Bools | None = None
    banned: Bools | None = None

    def __post_init__(self) -> None:
        n_types, n_skus = self.attraction.shape
        shapes = {
            "margin": n_skus,
            "customers": n_types,
            "space": n_skus,
            "cost": n_skus,
            "must": n_skus,
            "banned": n_skus,
        }
        for name, size in shapes.items():
            values = getattr(self, name)
            if values is not None and values.shape != (size,):
                raise SettingsError(
                    f"{name} has shape {values.shape}, attraction {self.attraction.shape}; give ({size},)."
                )
        for name, lowest in (("attraction", 0.0), ("customers", 0.0), ("margin", -math.inf), ("cost", 0.0)):
            values = getattr(self, name)
            if values is not None and (not np.isfinite(values).all() or (values < lowest).any()):
                raise SettingsError(f"{name} must be finite{' and at least 0' if lowest == 0 else ''}.")
        if self.space is not None and not (self.space > 0).all():
            raise SettingsError("space must be above 0 for every SKU.")

    @property
    def n_skus(self) -> int:
        """Number of SKUs."""
        return self.margin.size

    @property
    def spaces(self) -> Floats:
        """What each listing takes."""
        return np.ones(self.n_skus) if self.space is None else self.space

    @property
    def costs(self) -> Floats:
        """What each listing costs."""
        return np.zeros(self.n_skus) if self.cost is None else self.cost

    @property
    def required(self) -> Bools:
        """Listings demanded."""
        return np.zeros(self.n_skus, dtype=bool) if self.must is None else self.must

    @property
    def closed(self) -> Bools:
        """Listings forbidden."""
        return np.zeros(self.n_skus, dtype=bool) if self.banned is None else self.banned

    def allows(self, listed: Bools) -> bool:
        """Whether a range keeps space and lists."""
        fits = float(self.spaces[listed].sum()) <= self.capacity + 1e-9
        return fits and not (self.required & ~listed).any() and not (self.closed & listed).any()


@dataclass(frozen=True)
class ChoiceRange:
    """A range and how good it is.

    Attributes
    ----------
    listed : ndarray of bool, shape (n_skus,)
    value, bound, gap : float
        Expected margin net of listing cost, the proven upper bound, and the share between them.
    status : {"optimal", "time limit"}
    road : str
        How it was found.
    """

    listed: Bools
    value: float
    bound: float
    gap: float
    status: str
    road: str


def expected_margin(problem: ChoiceProblem, listed: Bools) -> float:
    """Return the expected margin per period of a range, net of listing cost."""
    on = np.asarray(listed, dtype=float)
    weight = problem.attraction * on
    sold = (weight @ problem.margin) / (1 + weight.sum(axis=1))
    return float(problem.customers @ sold - problem.costs @ on)


def revenue_ordered(problem: ChoiceProblem) -> Bools:
    """Return the best range that lists SKUs in order of their margin, as many as pay and fit.

    Optimal for one type, no cost and no limit (Talluri and van Ryzin, 2004, Revenue management under a general
    discrete choice model of consumer behavior); otherwise a baseline.
    """
    listed = problem.required.copy()
    best, best_value = listed.copy(), expected_margin(problem, listed)
    for sku in np.argsort(-problem.margin, kind="stable"):
        if (
            problem.closed[sku]
            or problem.spaces[listed].sum() + problem.spaces[sku] > problem.capacity + 1e-9
        ):
            continue
        listed[sku] = True
        value = expected_margin(problem, listed)
        if value > best_value:
            best, best_value = listed.copy(), value
    return best


def search_range(
    problem: ChoiceProblem, n_starts: int = 10, random_state: int = 0, seconds: float = math.inf
) -> Bools:
    """Find a range by adding, dropping and swapping, from several starts.

    Parameters
    ----------
    problem : ChoiceProblem
        What to solve.
    n_starts : int
        The revenue-ordered range first, then each type's own revenue-ordered range, then random ones.
    random_state : int
        Seed of the random starts.
    seconds : float
        Time after which no further start is begun.

    Returns
    -------
    ndarray of bool, shape (n_skus,)
        Feasible if the must-list fits.
    """
    rng = np.random.default_rng(random_state)
    deadline = time.perf_counter() + seconds
    best, best_value = problem.required, -math.inf
    for start in range(n_starts):
        if start and time.perf_counter() > deadline:
            break
        listed = _climb(problem, _start(problem, start, rng))
        value = expected_margin(problem, listed)
        if value > best_value + 1e-12:
            best, best_value = listed, value
    return best


def _start(problem: ChoiceProblem, number: int, rng: np.random.Generator) -> Bools:
    if number == 0:
        return revenue_ordered(problem)
    if number <= min(problem.customers.size, 5):
        largest = np.argsort(-problem.customers, kind="stable")[number - 1]
        own = ChoiceProblem(
            problem.margin,
            problem.attraction[[largest]],
            problem.customers[[largest]],
            problem.space,
            problem.capacity,
            problem.cost,
            problem.must,
            problem.banned,
        )
        return revenue_ordered(own)
    listed = problem.required.copy()
    share = rng.uniform(0.05, 0.9)
    for sku in rng.permutation(problem.n_skus):
        fits = problem.spaces[listed].sum() + problem.spaces[sku] <= problem.capacity + 1e-9
        if fits and not problem.closed[sku] and rng.random() < share:
            listed[sku] = True
    return listed


def _climb(problem: ChoiceProblem, listed: Bools) -> Bools:
    """Take the best of all single adds, drops and swaps until none pays."""
    listed = listed.copy()
    current = expected_margin(problem, listed)
    weighted = problem.attraction * problem.margin
    while True:
        earned = weighted @ listed
        total = 1 + problem.attraction @ listed
        sign = np.where(listed, -1.0, 1.0)
        flips = problem.customers @ (
            (earned[:, None] + weighted * sign) / (total[:, None] + problem.attraction * sign)
        )
        flips -= problem.costs @ listed + problem.costs * sign
        room = problem.capacity - problem.spaces[listed].sum() + 1e-9
        stuck = np.where(listed, problem.required, problem.closed | (problem.spaces > room))
        flips[stuck] = -math.inf
        swap, out, new = _best_swap(problem, listed, earned, total, weighted, flips, room)
        flip = int(np.argmax(flips))
        if max(flips[flip], swap) <= current + 1e-10 * max(1.0, abs(current)):
            return listed
        if flips[flip] >= swap:
            listed[flip] = ~listed[flip]
        else:
            listed[out], listed[new] = False, True
        current = expected_margin(problem, listed)


def _best_swap(
    problem: ChoiceProblem,
    listed: Bools,
    earned: Floats,
    total: Floats,
    weighted: Floats,
    flips: Floats,
    room: float,
) -> tuple[float, int, int]:
    """Value of the best swap, what it drops and what it lists."""
    outs = np.flatnonzero(listed & ~problem.required)
    ins = np.flatnonzero(~listed & ~problem.closed)
    if not outs.size or not ins.size:
        return -math.inf, 0, 0
    if outs.size > CANDIDATES:
        outs = outs[np.argsort(-flips[outs], kind="stable")[:CANDIDATES]]
    if ins.size > CANDIDATES:
        alone = problem.customers @ (weighted[:, ins] / total[:, None])
        ins = ins[np.argsort(-alone, kind="stable")[:CANDIDATES]]
    value = -(problem.costs @ listed - problem.costs[outs][:, None] + problem.costs[ins][None, :])
    for t, customers in enumerate(problem.customers):
        numerator = earned[t] - weighted[t, outs][:, None] + weighted[t, ins][None, :]
        denominator = total[t] - problem.attraction[t, outs][:, None] + problem.attraction[t, ins][None, :]
        value += customers * numerator / denominator
    value[problem.spaces[ins][None, :] - problem.spaces[outs][:, None] > room] = -math.inf
    i, j = np.unravel_index(np.argmax(value), value.shape)
    return float(value[i, j]), int(outs[i]), int(ins[j])


def best_range(
    problem: ChoiceProblem,
    options: SolverOptions | None = None,
    *,
    n_starts: int = 10,
    process: SolverProcess | None = None,
) -> ChoiceRange:
    """Find the best range, proven where the time allows.

    Search first; then the exact program with the search's range as its start. Small problems come back proven
    optimal, large ones with the gap that is left.

    Parameters
    ----------
    problem : ChoiceProblem
        What to solve.
    options : SolverOptions, optional
        Gap (1e-6 by default), time limit, seed. A time limit of 0 leaves it at the search.
    n_starts : int
        Starts of the search.
    process : SolverProcess, optional
        Where large programs are solved.

    Returns
    -------
    ChoiceRange

    Raises
    ------
    InfeasibleError
        If the must-list does not fit or clashes with the must-not list.

    Notes
    -----
    Probabilities as variables, linearised: Méndez-Díaz, Miranda-Bront, Vulcano and Zabala (2014), A branch-and-cut
    algorithm for the latent-class logit assortment problem.

    Examples
    --------
    >>> two = ChoiceProblem(np.array([4.0, 1.0]), np.array([[1.0, 8.0]]), np.array([10.0]))
    >>> best_range(two).listed.tolist()
    [True, False]
    """
    options = options or SolverOptions(gap=1e-6)
    if not problem.allows(problem.required):
        both = int((problem.required & problem.closed).sum())
        words = (
            f"{both} SKUs are on the must-list and the must-not list"
            if both
            else (
                f"the must-list takes {problem.spaces[problem.required].sum():g} of a space of {problem.capacity:g}"
            )
        )
        raise InfeasibleError(f"choice range: {words}. Shorten one of the lists or make room.")
    listed = search_range(problem, n_starts, options.random_state, 0.3 * options.time_limit)
    value = expected_margin(problem, listed)
    ceiling = float(problem.customers.sum() * max(0.0, problem.margin.max(initial=0.0)))
    if options.time_limit <= 0:
        gap = (ceiling - value) / max(abs(value), 1.0)
        return ChoiceRange(listed, value, ceiling, gap, "time limit", "search")
    program, columns = _program(problem)
    start = _Start(problem, listed)
    result: SolverResult = solve(program, options, start, process)
    if result.x is not None:
        found = result.x[columns] > 0.5
        # Worth is recomputed from the choice model, not read off the program.
        if problem.allows(found) and expected_margin(problem, found) > value:
            listed, value = found, expected_margin(problem, found)
    # What nobody considers takes a place for nothing.
    listed = listed & ((problem.attraction > 0).any(axis=0) | problem.required)
    value = expected_margin(problem, listed)
    bound = max(result.bound, value)
    gap = (bound - value) / max(abs(value), 1.0)
    status = "optimal" if gap <= options.gap + 1e-7 else "time limit"
    return ChoiceRange(listed, value, bound, gap, status, f"search; {result.road}")


@dataclass(frozen=True)
class _Start:
    """Hands the range found by search to the solver."""

    problem: ChoiceProblem
    listed: Bools

    def __call__(self, relaxed: Floats, seconds: float) -> Floats:
        on = self.listed.astype(float)
        weight = self.problem.attraction * on
        none = 1 / (1 + weight.sum(axis=1))
        return np.concatenate([on, none, (weight * none[:, None]).ravel()])


def _program(problem: ChoiceProblem) -> tuple[LinearProgram, npt.NDArray[np.int64]]:
    """Columns: listed; probability of buying nothing by type; probability of each SKU by type, in this order."""
    builder = ProgramBuilder()
    v = problem.attraction
    n_types, n_skus = v.shape
    x = builder.columns(-problem.costs, lower=problem.required.astype(float), upper=1.0 - problem.closed)
    most = 1 / (1 + v[:, problem.required].sum(axis=1))
    none = builder.columns(np.zeros(n_types), lower=1 / (1 + v.sum(axis=1)), upper=most, integer=False)
    share = v / (1 + v)
    bought = builder.columns(problem.customers[:, None] * problem.margin, upper=share, integer=False)
    ones = np.ones(n_skus)
    for t in range(n_types):
        nothing = np.repeat(none[t], n_skus)
        builder.rows(np.append(bought[t], none[t]), 1.0, rule="choice", lower=1.0, upper=1.0)
        builder.rows(
            np.column_stack([bought[t], nothing]), np.column_stack([ones, -v[t]]), rule="choice", upper=0.0
        )
        builder.rows(
            np.column_stack([bought[t], x]), np.column_stack([ones, -share[t]]), rule="choice", upper=0.0
        )
        builder.rows(
            np.column_stack([bought[t], nothing, x]),
            np.column_stack([ones, -v[t], -v[t] * most[t]]),
            rule="choice",
            lower=-v[t] * most[t],
        )
    if math.isfinite(problem.capacity):
        builder.rows(x, problem.spaces, rule="space", upper=problem.capacity)
    return builder.compile(), x
