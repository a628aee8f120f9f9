"""From today's range to the planned one in steps a store can take, the surest first."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from geomarket.assortment.data import CategoryData
from geomarket.assortment.problem import RangeProblem
from geomarket.assortment.rules import RangeRules

__all__ = ["STAYS", "WAITS", "Phases", "deal_phases", "phase_name"]

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

STAYS, WAITS = "stays", "waits"
_STAYS, _WAITS = 0, -1


def phase_name(number: int) -> str:
    """Write a phase's number as it stands in the tables.

    Examples
    --------
    >>> [phase_name(number) for number in (0, 1, -1)]
    ['stays', 'phase 1', 'waits']
    """
    return {_STAYS: STAYS, _WAITS: WAITS}.get(number, f"phase {number}")


@dataclass(frozen=True)
class Phases:
    """When each change is made.

    Attributes
    ----------
    number : ndarray of int, shape (n_stores, n_skus)
        Phase of each change; 0 where nothing changes, -1 where the change waits for proof.
    """

    number: Ints

    @property
    def last(self) -> int:
        """Number of the last phase."""
        return int(self.number.max(initial=0))

    def names(self) -> npt.NDArray[np.object_]:
        """Words for each change, shape (n_stores, n_skus)."""
        known = {number: phase_name(number) for number in np.unique(self.number)}
        return np.vectorize(known.get, otypes=[object])(self.number)

    def listed_after(self, phase: int, today: Bools, planned: Bools) -> Bools:
        """The ranges once a phase is done; changes that wait are not made."""
        done = (self.number > 0) & (self.number <= phase)
        return np.where(done, planned, today)


@dataclass(frozen=True)
class _Worth:
    """What a listing brings to today's range, or a delisting takes from it, at first order; with bounds."""

    mean: Floats
    low: Floats
    high: Floats


def deal_phases(data: CategoryData, problem: RangeProblem, planned: Bools, rules: RangeRules) -> Phases:
    """Deal a category's changes to phases, store by store.

    The listing that brings most is paired with the delistings that cost least and make room for it, then the next,
    so every phase fits the space the store itself has. A pair waits for proof where, at the lower end of the 90%
    interval of what it brings, it does not earn the cost of its changes; demanded listings and forbidden SKUs never
    wait. A store may have less space than its planogram, or more: listings it has no room for yet, and delistings that
    only give space back, wait too. Where nothing is to wait for proof, they come last.

    Parameters
    ----------
    data : CategoryData
        Forecasts and today's range by store.
    problem : RangeProblem
        Planograms.
    planned : ndarray of bool, shape (n_stores, n_skus)
        The ranges planned.
    rules : RangeRules
        ``phase_share``, ``wait_for_proof`` and ``change_cost`` are used.

    Returns
    -------
    Phases
    """
    worth = _first_order(data)
    must = problem.must[data.planogram] | problem.core[None, :]
    banned = problem.closed[data.planogram]
    number = np.zeros(planned.shape, dtype=np.int64)
    for store in range(planned.shape[0]):
        steps = _steps(
            planned[store] & ~data.today[store],
            data.today[store] & ~planned[store],
            _Worth(worth.mean[store], worth.low[store], worth.high[store]),
            problem.space,
            (float(data.space_today[store]), float(data.room[store])),
            (must[store], banned[store]),
            rules,
        )
        size = max(int(data.today[store].sum()), int(planned[store].sum()))
        _number(number[store], steps, size, rules)
    return Phases(number)


def _first_order(data: CategoryData) -> _Worth:
    """Worth of each SKU beside the store's range of today: its own margin less what its substitutes would keep."""
    units, margin = np.nan_to_num(data.units), np.nan_to_num(data.margin)
    kept = np.zeros_like(margin)
    if data.substitution.nnz:
        kept = units * ((data.today * data.unit_margin) @ data.substitution.T)
    mean = margin - kept
    with np.errstate(invalid="ignore", divide="ignore"):
        low = np.where(units > 0, mean * np.fmin(data.low / units, 1.0), mean)
        high = np.where(units > 0, mean * np.fmax(data.high / units, 1.0), mean)
    return _Worth(mean, np.where(np.isfinite(low), low, mean), np.where(np.isfinite(high), high, mean))


@dataclass
class _Step:
    """SKUs listed and delisted together; ``waits``: not proven to pay."""

    listed: list[int]
    delisted: list[int]
    waits: bool = False


def _steps(
    listed: Bools,
    delisted: Bools,
    worth: _Worth,
    space: Floats,
    rooms: tuple[float, float],
    forced: tuple[Bools, Bools],
    rules: RangeRules,
) -> list[_Step]:
    must, banned = forced
    density = worth.mean / space
    # SKU order breaks ties, so that nothing hangs on the order of rows.
    new = sorted(np.flatnonzero(listed).tolist(), key=lambda k: (not must[k], -density[k], k))
    old = sorted(np.flatnonzero(delisted).tolist(), key=lambda k: (not banned[k], density[k], k))
    room, used = max(rooms), rooms[0]
    steps, left = [_Step([], [k]) for k in old if banned[k]], []
    used -= float(space[[k for k in old if banned[k]]].sum())
    old = [k for k in old if not banned[k]]
    for k in new:
        freed, partners = 0.0, []
        for other in old:
            if used + space[k] - freed <= room + 1e-9:
                break
            partners.append(other)
            freed += float(space[other])
        fits = used + space[k] - freed <= room + 1e-9
        if not must[k] and not (
            fits and (not rules.wait_for_proof or _pays(worth, k, partners, rules.change_cost))
        ):
            left.append(k)
            continue
        steps.append(_Step([k], partners))
        used += float(space[k]) - freed
        old = old[len(partners) :]
    steps += [_Step([], [k], waits=rules.wait_for_proof) for k in old]
    return steps + [_Step([k], [], waits=rules.wait_for_proof) for k in left]


def _pays(worth: _Worth, new: int, old: list[int], change_cost: float) -> bool:
    """Whether a swap earns its cost at the lower end of its interval, errors of its SKUs taken as independent."""
    gain = worth.mean[new] - worth.mean[old].sum()
    error = np.hypot(
        worth.mean[new] - worth.low[new], np.sqrt(((worth.high[old] - worth.mean[old]) ** 2).sum())
    )
    return bool(gain - error > change_cost * (1 + len(old)))


def _number(number: Ints, steps: list[_Step], size: int, rules: RangeRules) -> None:
    """Number the phases of one store in place: as many listings, and delistings, in each as the rules allow."""
    cap = size if rules.phase_share is None else max(1, int(rules.phase_share * size + 1e-9))
    cap = max(cap, 1)
    phase, come, gone = 1, 0, 0
    for step in steps:
        if step.waits:
            number[step.listed + step.delisted] = _WAITS
            continue
        come, gone = come + len(step.listed), gone + len(step.delisted)
        # A single step larger than a phase is one all the same.
        if max(come, gone) > cap and (come, gone) != (len(step.listed), len(step.delisted)):
            phase, come, gone = phase + 1, len(step.listed), len(step.delisted)
        number[step.listed + step.delisted] = phase
