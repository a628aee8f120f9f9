"""Ranges by search: a first range from the relaxation, bettered by adding, dropping and swapping.

Gives the solver an incumbent early, and the planner a range when the solver finds none in time.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import sparse

from geomarket.assortment.problem import RangeProblem
from geomarket.assortment.program import RangeProgram
from geomarket.assortment.rules import RangeRules

__all__ = ["RangeSearch"]

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

#: Drops and adds that are paired for a swap.
CANDIDATES = 40
EPS = 1e-9


@dataclass(frozen=True)
class RangeSearch:
    """Makes a feasible range of the relaxation's solution, if it can, and improves it.

    Rules on a SKU over the whole chain are kept by never changing which SKUs are carried once the first range
    satisfies them; the caps on changes and the common range are left to the solver's check: where they fail, there
    is no point to hand back.
    """

    problem: RangeProblem
    rules: RangeRules
    formulated: RangeProgram

    def __call__(self, relaxed: Floats, seconds: float) -> Floats | None:
        """Return a point of the program, or None."""
        deadline = time.perf_counter() + seconds
        state = _State(self.problem, self.rules)
        share = relaxed[self.formulated.facing].sum(axis=0)
        carried = relaxed[self.formulated.carried] if self.formulated.carried.size else None
        if carried is not None and not share.any():  # no relaxation to go by: the best in all
            carried = _ranks(self.problem.margin.sum(axis=0)[None, :])[0]
        if not state.build(share, carried):
            return None
        state.improve(deadline)
        return self.formulated.point(self.problem, self.rules, state.facings)


class _State:
    """A range being built: facings of each planogram and SKU, and the room left."""

    def __init__(self, problem: RangeProblem, rules: RangeRules) -> None:
        self.problem, self.rules = problem, rules
        n_planograms, n_skus = problem.shape
        self.facings = np.zeros((n_planograms, n_skus), dtype=np.int64)
        self.room = problem.capacity.astype(float).copy()
        worth, _ = problem.listing_value(rules)
        steps = [worth, *(problem.margin * share for share in rules.facing_returns)]
        # Gain of the step from f to f + 1 facings; one past the last can't be taken.
        self.steps = np.stack([*steps, np.full(worth.shape, -np.inf)])
        self.allowed = ~problem.closed
        self.kept = problem.must.copy()
        self.below, self.above = np.full(n_planograms, -1), np.full(n_planograms, -1)
        for smaller, larger in problem.nested:
            self.below[larger], self.above[smaller] = smaller, larger
        self.order = np.concatenate(problem.chains)
        for planogram in problem.core_planograms(rules):
            self.kept[np.ix_(self._from(planogram), np.flatnonzero(problem.core))] = True
        self.leads_to, self.comes_from = self._transfers()

    def _from(self, planogram: int) -> Ints:
        """A planogram and those it is part of."""
        run = [int(planogram)]
        while self.above[run[-1]] >= 0:
            run.append(int(self.above[run[-1]]))
        return np.array(run, dtype=np.int64)

    def _transfers(self) -> tuple[list[sparse.csr_array], list[sparse.csr_array]]:
        """Money that SKU j gains when i isn't listed, by planogram, indexed [j, i] and [i, j]."""
        pairs, n = self.problem.pairs, self.problem.skus.size
        if not pairs.size:
            return [], []
        comes_from = [
            sparse.csr_array((money, (pairs[:, 1], pairs[:, 0])), shape=(n, n))
            for money in self.problem.transfer
        ]
        return [m.T.tocsr() for m in comes_from], comes_from

    # ---- building -------------------------------------------------------------------------------------------

    def build(self, share: Floats, carried: Floats | None) -> bool:
        """Fill the planograms in the order of the relaxation; whether every rule seen here holds."""
        order = share + 1e-6 * _ranks(self.steps[0] / self.problem.space)
        self._keep_core(order)
        for _ in range(8):
            if carried is not None:
                self.allowed &= self._carriable(carried)
            self.facings[:] = 0
            self.room = self.problem.capacity.astype(float).copy()
            self._fill(order, share)
            short = self._short()
            if not bool(short.any()):
                return bool((self.room >= -EPS).all()) and not (self.kept & (self.facings == 0)).any()
            if (self.kept & short).any():
                return False
            self.allowed &= ~short
            carried = None
        return False

    def _keep_core(self, order: Floats) -> None:
        if self.rules.core_share == 0:
            return
        held = self.problem.core_planograms(self.rules)
        free = np.asarray(self.allowed[held].all(axis=0))
        need = self.problem.core_needed(self.rules)
        best = np.argsort(-np.where(free, order[held].min(axis=0) + 1e-3 * order[held].mean(axis=0), -np.inf))
        chosen = best[: int(np.searchsorted(np.cumsum(self.problem.space[best]), need - EPS)) + 1]
        for planogram in held:
            self.kept[np.ix_(self._from(planogram), chosen[free[chosen]])] = True

    def _carriable(self, carried: Floats) -> Bools:
        """SKUs worth carrying: those the relaxation carries, as many as there may be."""
        most = self.rules.max_distinct
        wanted = (carried > 1e-6) | self.kept.any(axis=0)
        if most is not None and wanted.sum() > most:
            rank = np.argsort(-(carried + 2.0 * self.kept.any(axis=0)), kind="stable")
            wanted = np.zeros_like(wanted)
            wanted[rank[:most]] = True
        return wanted[None, :] | self.kept

    def _fill(self, order: Floats, share: Floats) -> None:
        for planogram in self.order:
            # What a smaller planogram lists, this one lists too.
            if self.below[planogram] >= 0:
                self._put(planogram, self.facings[self.below[planogram]])
            for sku in np.flatnonzero(self.kept[planogram] & (self.facings[planogram] == 0)):
                self._put_one(planogram, int(sku))
            self._fill_limits(planogram, order[planogram])
            wanted = np.argsort(-order[planogram], kind="stable")
            if not share.any():  # no relaxation to go by
                share = (self.steps[0] > 0).astype(float)
            for sku in wanted[share[planogram, wanted] > 0.5]:
                while self.facings[planogram, sku] < round(share[planogram, sku]) and self._fits(
                    planogram, int(sku)
                ):
                    self._put_one(planogram, int(sku))

    def _fill_limits(self, planogram: int, order: Floats) -> None:
        for limit in self.problem.limits:
            if not limit.where[planogram] or not limit.least:
                continue
            listed = self.facings[planogram] > 0
            open_skus = np.flatnonzero(limit.members & ~listed & self.allowed[planogram])
            missing = limit.least - int(listed[limit.members].sum())
            for sku in open_skus[np.argsort(-order[open_skus], kind="stable")][: max(0, missing)]:
                self._put_one(planogram, int(sku))

    def _put(self, planogram: int, facings: Ints) -> None:
        more = np.maximum(facings - self.facings[planogram], 0)
        self.facings[planogram] += more
        self.room[planogram] -= float(more @ self.problem.space)

    def _put_one(self, planogram: int, sku: int) -> None:
        self.facings[planogram, sku] += 1
        self.room[planogram] -= float(self.problem.space[sku])

    def _fits(self, planogram: int, sku: int) -> bool:
        return bool(
            self.allowed[planogram, sku] and self.problem.space[sku] <= self.room[planogram] + EPS
        ) and (self.facings[planogram, sku] > 0 or self._limits_allow(planogram, sku, 1))

    def _limits_allow(self, planogram: int, sku: int, change: int, other: int = -1) -> bool:
        for limit in self.problem.limits:
            if limit.where[planogram] and limit.members[sku]:
                count = int((self.facings[planogram, limit.members] > 0).sum()) + change
                if other >= 0 and limit.members[other]:
                    count -= change
                if not limit.least <= count <= limit.most:
                    return False
        return True

    def _short(self) -> Bools:
        """SKUs listed in too few stores, or sold too little, to be listed at all."""
        listed = self.facings > 0
        stores = self.problem.stores @ listed
        short = (stores > 0) & (stores < self.rules.min_stores)
        problem = self.problem
        if (
            self.rules.order_periods is not None
            and problem.order_units is not None
            and problem.units is not None
        ):
            short |= (stores > 0) & ((problem.units * listed).sum(axis=0) < problem.order_units)
        return short

    # ---- improving ------------------------------------------------------------------------------------------

    def improve(self, deadline: float) -> None:
        """Add, drop and swap while it pays and there is time."""
        self._freeze_chain()
        for _ in range(50):
            changed = False
            # Largest first, so that what a smaller planogram may take is there.
            for planogram in self.order[::-1]:
                while time.perf_counter() < deadline and self._step(planogram):
                    changed = True
            if not changed or time.perf_counter() >= deadline:
                return

    def _freeze_chain(self) -> None:
        """Keep rules over the whole chain by keeping the SKUs they touch as they are carried now."""
        rules, listed = self.rules, self.facings > 0
        carried = np.asarray(listed.any(axis=0))
        self.thresholds = rules.min_stores > 1 or rules.order_periods is not None
        if self.thresholds or rules.sku_cost or rules.max_distinct is not None or rules.dc_cost:
            self.allowed &= carried[None, :] | self.kept
        if rules.core_share > 0:
            held = self.problem.core_planograms(rules)
            common = np.asarray(listed[held].all(axis=0))
            spare = float(self.problem.space[common].sum()) - self.problem.core_needed(rules)
            weakest = np.flatnonzero(common)[np.argsort(self.steps[0][:, common].sum(axis=0))]
            for sku in weakest:  # all the core stays but what is not needed
                if self.problem.space[sku] <= spare + EPS and not self.kept[held, sku].any():
                    spare -= float(self.problem.space[sku])
                    continue
                for planogram in held:
                    self.kept[self._from(planogram), sku] = True

    def _gains(self, planogram: int) -> tuple[Floats, Floats]:
        """Money gained by one facing more, and lost by one fewer, of each SKU."""
        facings = self.facings[planogram]
        sku = np.arange(facings.size)
        gain = self.steps[facings, planogram, sku].copy()
        loss = self.steps[np.maximum(facings - 1, 0), planogram, sku].copy()
        if self.comes_from:
            listed = facings > 0
            inflow = self.comes_from[planogram] @ (~listed).astype(float)
            outflow = self.leads_to[planogram] @ listed.astype(float)
            gain += np.where(listed, 0.0, inflow - outflow)
            loss += np.where(facings == 1, inflow - outflow, 0.0)
        return gain, loss

    def _movable(self, planogram: int) -> tuple[Bools, Bools]:
        """SKUs that may have a facing more, and one fewer, here."""
        facings = self.facings[planogram]
        more = self.allowed[planogram] & (facings < self.rules.max_facings)
        if self.above[planogram] >= 0:
            more &= facings < self.facings[self.above[planogram]]
        fewer = (facings > 0) & ~((facings == 1) & self.kept[planogram])
        if self.below[planogram] >= 0:
            fewer &= facings > self.facings[self.below[planogram]]
        if self.thresholds:
            listed = self.facings > 0
            stores = self.problem.stores @ listed - self.problem.stores[planogram]
            enough = (stores == 0) | (stores >= self.rules.min_stores)
            problem = self.problem
            if problem.order_units is not None and problem.units is not None:
                sold = (problem.units * listed).sum(axis=0) - problem.units[planogram]
                enough &= (stores == 0) | (sold >= problem.order_units)
            fewer &= (facings > 1) | enough
        return more, fewer

    def _step(self, planogram: int) -> bool:
        """Take the best single move; whether there was one."""
        gain, loss = self._gains(planogram)
        more, fewer = self._movable(planogram)
        space, room = self.problem.space, self.room[planogram]
        facings = self.facings[planogram]
        for sku in np.flatnonzero(fewer & (loss < -EPS)):
            if facings[sku] > 1 or self._limits_allow(planogram, int(sku), -1):
                self._move(planogram, int(sku), -1)
                return True
        fitting = np.flatnonzero(more & (space <= room + EPS) & (gain > EPS))
        for sku in fitting[np.argsort(-(gain / space)[fitting], kind="stable")]:
            if facings[sku] > 0 or self._limits_allow(planogram, int(sku), 1):
                self._move(planogram, int(sku), 1)
                return True
        return self._swap(planogram, gain, loss, more, fewer)

    def _swap(self, planogram: int, gain: Floats, loss: Floats, more: Bools, fewer: Bools) -> bool:
        space = self.problem.space
        outs, ins = np.flatnonzero(fewer), np.flatnonzero(more & (gain > EPS))
        if not outs.size or not ins.size:
            return False
        outs = outs[np.argsort((loss / space)[outs], kind="stable")][:CANDIDATES]
        dense = ins[np.argsort(-(gain / space)[ins], kind="stable")][:CANDIDATES]
        rich = ins[np.argsort(-gain[ins], kind="stable")][:CANDIDATES]
        ins = np.unique(np.concatenate([dense, rich]))
        better = gain[ins][None, :] - loss[outs][:, None]
        fits = space[ins][None, :] - space[outs][:, None] <= self.room[planogram] + EPS
        better = np.where(fits & (outs[:, None] != ins[None, :]), better, -np.inf)
        if self.comes_from:
            better = better + self._together(planogram, outs, ins)
        for place in np.argsort(-better, axis=None, kind="stable")[:200]:
            i, j = np.unravel_index(place, better.shape)
            if better[i, j] <= 1e-7:
                return False
            out, new = int(outs[i]), int(ins[j])
            drops, lists = self.facings[planogram, out] == 1, self.facings[planogram, new] == 0
            if drops and not self._limits_allow(planogram, out, -1, new if lists else -1):
                continue
            if lists and not self._limits_allow(planogram, new, 1, out if drops else -1):
                continue
            self._move(planogram, out, -1)
            self._move(planogram, new, 1)
            return True
        return False

    def _together(self, planogram: int, outs: Ints, ins: Ints) -> Floats:
        """What a swap brings beyond drop and add apart: the buyers of the one that take the other."""
        drops = (self.facings[planogram, outs] == 1)[:, None]
        lists = (self.facings[planogram, ins] == 0)[None, :]
        # Gained by the new from the dropped; and the dropped no longer gains from the new not being there.
        new_from_old = self.comes_from[planogram][np.ix_(ins, outs)].toarray().T
        old_from_new = self.comes_from[planogram][np.ix_(outs, ins)].toarray()
        return np.where(drops & lists, new_from_old + old_from_new, 0.0)

    def _move(self, planogram: int, sku: int, change: int) -> None:
        self.facings[planogram, sku] += change
        self.room[planogram] -= change * float(self.problem.space[sku])


def _ranks(values: Floats) -> Floats:
    """Place of each value in its row as a share, 1 the largest."""
    order = np.argsort(np.argsort(values, axis=1, kind="stable"), axis=1, kind="stable")
    return (order + 1.0) / values.shape[1]
