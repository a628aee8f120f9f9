"""Reasons in words: why a line is in the range, or no longer."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd

from geomarket.amounts import as_money
from geomarket.assortment.data import CategoryData
from geomarket.assortment.problem import RangeProblem
from geomarket.assortment.rules import RangeRules

__all__ = ["change_reasons", "line_reasons"]

#: A local rate within this factor of the chain's is "about the chain rate".
ABOUT_THE_SAME = 1.15


def line_reasons(
    lines: pd.DataFrame,
    data: CategoryData,
    problem: RangeProblem,
    cluster: int,
    facings: npt.NDArray[np.int64],
    rules: RangeRules,
    period: str,
    currency: str = "",
) -> list[str]:
    """Return a reason for every SKU of one cluster, in the order of ``problem.skus``.

    ``lines`` holds lift, rank, status, tier, margin and stores_planned of each SKU.
    """
    listed = facings > 0
    largest = int(problem.largest[cluster])
    places = int(problem.capacity[largest]) if rules.unit == "count" else int(listed[largest].sum())
    core = _core_words(problem, rules, listed)
    swaps = _swap_words(data, problem, cluster, listed[largest])
    held_back = _Obstacles(problem, rules, facings, cluster, period, currency)
    reasons = []
    columns = ("status", "tier", "lift", "rank", "margin", "stores_planned")
    for i, (status, tier, lift, rank, margin, stores) in enumerate(
        zip(*(lines[c].tolist() for c in columns))
    ):
        if status == "delist":
            parts = [f"delisted: {held_back.why(i, rank, places, margin)}"]
            if np.isfinite(margin):
                parts += [_earns(as_money(margin, currency), period, "where it is listed today"), _rate(lift)]
            parts += [swaps[i]] if swaps[i] else []
            reasons.append("; ".join(parts))
            continue
        rule = "on the must-list" if problem.must[largest, i] else core[i]
        others = "" if rank <= places or rule else " (others did not fit or were kept out by rules)"
        parts = [rule] if rule else []
        parts += [_rate(lift), f"ranks {rank} for {places} places{others}"]
        parts.append(
            _earns(as_money(margin, currency), period, f"in {stores} {'store' if stores == 1 else 'stores'}")
        )
        if swaps[i]:
            parts.append(swaps[i])
        if tier != "all":
            parts.append(f"only in size {tier}" if tier == "L" else f"from size {tier} up")
        reasons.append("; ".join(parts))
    return reasons


class _Obstacles:
    """What keeps a SKU out of a cluster's largest planogram, the nearest cause first."""

    def __init__(
        self,
        problem: RangeProblem,
        rules: RangeRules,
        facings: npt.NDArray[np.int64],
        cluster: int,
        period: str,
        currency: str,
    ) -> None:
        self.problem, self.rules, self.period, self.currency = problem, rules, period, currency
        self.largest = int(problem.largest[cluster])
        listed = facings > 0
        here = listed[self.largest]
        worth, _ = problem.listing_value(rules)
        self.margin, self.net = problem.margin[self.largest], worth[self.largest]
        self.room = float(problem.capacity[self.largest] - facings[self.largest] @ problem.space)
        self.in_chain = problem.stores @ listed
        self.national = here & listed[problem.core_planograms(rules)].all(axis=0)
        self.forced = here & (
            problem.must[self.largest] | problem.core | (self.national & (rules.core_share > 0))
        )
        self.full_kinds = [
            limit
            for limit in problem.limits
            if limit.where[self.largest] and here[limit.members].sum() >= limit.most
        ]

    def why(self, sku: int, rank: int, places: int, margin: float) -> str:
        """Name the cause for one SKU that is not listed."""
        problem, rules, here = self.problem, self.rules, f"ranks {rank} for {places} places"
        if problem.banned[self.largest, sku]:
            return "on the must-not list" if np.isfinite(margin) else "no forecast here"
        if problem.slow is not None and problem.slow[self.largest, sku]:
            return f"a case would last longer than {rules.case_periods:g} {self.period}s in the average store"
        if self.margin[sku] <= 0:
            return "expected to earn nothing here"
        if self.net[sku] <= 0:
            return (
                f"its {as_money(self.margin[sku], self.currency)} a {self.period} would not cover listing and changes "
                f"({as_money(self.margin[sku] - self.net[sku], self.currency)})"
            )
        if rank > places:
            return f"{here} in this cluster"
        if self.in_chain[sku] == 0 and rules.min_stores > 1:
            return f"{here}, but fewer than {rules.min_stores} stores of the chain have a place for it"
        if self.in_chain[sku] == 0 and rules.order_periods is not None:
            return f"{here}, but the chain would sell too little of it for an order"
        if self.in_chain[sku] == 0 and (rules.max_distinct is not None or rules.sku_cost or rules.dc_cost):
            return f"{here}, but the chain carries fewer SKUs than would sell"
        for limit in self.full_kinds:
            if limit.members[sku]:
                return f"{here}, but the range holds {limit.words}"
        density = self.net / problem.space
        weaker = int((self.forced & (density < density[sku])).sum())
        if weaker:
            return f"{here}, but {weaker} core or must-list SKUs that earn less for their space hold places"
        if problem.pairs.size:
            return f"{here}, but listed SKUs take over its buyers"
        if rules.unit == "width_cm" and self.room < problem.space[sku] - 1e-9:
            return f"{here}, but {self.room:.1f} cm are left and it needs {problem.space[sku]:.1f}"
        if rules.max_changes is not None:
            return f"{here}, but changes in a store are limited to {rules.max_changes}"
        if rules.range_cost > 0:
            return f"{here}, but a range shared with other clusters saves more"
        return f"{here}, but other SKUs together earn more in the space"


def _core_words(problem: RangeProblem, rules: RangeRules, listed: npt.NDArray[np.bool_]) -> list[str]:
    held = np.asarray(listed[problem.core_planograms(rules)].all(axis=0))
    worth = problem.margin / problem.space
    by_cluster = np.vstack(
        [worth[problem.cluster == number].sum(axis=0) for number in range(len(problem.clusters))]
    )
    # Worst place over the clusters, as the share of candidates that do no worse.
    places = np.argsort(np.argsort(-by_cluster, axis=1, kind="stable"), axis=1, kind="stable") + 1
    top = np.ceil(100 * places.max(axis=0) / problem.skus.size).astype(int)
    words = []
    for i in range(problem.skus.size):
        if problem.core[i]:
            words.append("in the national core, as the rules name it")
        elif rules.core_share > 0 and held[i]:
            best = f": top {top[i]}% in every cluster" if top[i] <= 50 else ""
            words.append(f"in the national core{best}")
        else:
            words.append("")
    return words


def _swap_words(
    data: CategoryData, problem: RangeProblem, cluster: int, listed: npt.NDArray[np.bool_]
) -> list[str]:
    """What a listed SKU takes over and from which, and how many buyers of an unlisted one find another."""
    words = [""] * problem.skus.size
    if not data.substitution.nnz:
        return words
    units = problem.units if problem.units is not None else np.zeros(problem.shape)
    here = units[problem.cluster == cluster].sum(axis=0)
    pairs = data.substitution.tocoo()
    found = np.bincount(pairs.coords[0], pairs.data * listed[pairs.coords[1]], problem.skus.size)
    for i in np.flatnonzero(~listed & (found > 0)):
        words[i] = f"{found[i]:.0%} of its buyers find another SKU here"
    most = np.zeros(problem.skus.size)
    for i, j, share in zip(*pairs.coords, pairs.data):
        moved = here[i] * share
        if listed[j] and not listed[i] and moved > most[j]:
            most[j] = moved
            words[j] = f"replaces {data.names[i]}, which {share:.0%} of buyers would swap for it"
    return words


def _rate(lift: float) -> str:
    if not np.isfinite(lift):
        return "no expected sales in the chain"
    if lift >= ABOUT_THE_SAME or lift <= 1 / ABOUT_THE_SAME:
        return (
            f"sells {lift:.1f}× the chain rate here"
            if lift >= 0.095
            else f"sells {lift:.2f}× the chain rate here"
        )
    return "sells at about the chain rate here"


def _earns(margin: str, period: str, where: str) -> str:
    return f"earns {margin} a {period} {where}" if margin else "no forecast here"


def change_reasons(changes: pd.DataFrame, lines: pd.DataFrame) -> npt.NDArray[np.object_]:
    """Return a reason for each store's change, from the line of its cluster."""
    keyed = lines.set_index(["store_cluster", "sku"])[["tier", "status", "reason"]]
    line = keyed.reindex(pd.MultiIndex.from_frame(changes[["store_cluster", "sku"]]))
    reason = line["reason"].to_numpy(dtype=object)
    # Planned in the cluster, but not in this store's size.
    too_small = (changes["action"].to_numpy() == "delist") & (line["status"].to_numpy() != "delist")
    words = (
        "delisted: planned only from size " + line["tier"].astype(object).to_numpy() + " up, this store's is "
    )
    reason[too_small] = (words + changes["tier"].to_numpy(dtype=object))[too_small]
    return reason
