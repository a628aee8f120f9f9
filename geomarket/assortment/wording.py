"""Reasons in words: why a line is in the range, or no longer."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd

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
    listed: npt.NDArray[np.bool_],
    rules: RangeRules,
    period: str,
) -> list[str]:
    """Return a reason for every SKU of one cluster, in the order of ``problem.skus``.

    ``lines`` holds lift, rank, status, tier, margin and stores_planned of each SKU.
    """
    largest = int(problem.largest[cluster])
    places = int(listed[largest].sum())
    core = _core_words(problem, rules, listed)
    swaps = _swap_words(data, problem, cluster, listed[largest])
    reasons = []
    columns = ("status", "tier", "lift", "rank", "margin", "stores_planned")
    for i, (status, tier, lift, rank, margin, stores) in enumerate(
        zip(*(lines[c].tolist() for c in columns))
    ):
        if status == "delist":
            words = _delist(problem, rules, largest, i, lift, rank, places, margin, period)
            reasons.append(f"{words}; {swaps[i]}" if swaps[i] else words)
            continue
        rule = "on the must-list" if problem.must[largest, i] else core[i]
        others = "" if rank <= places or rule else " (space or rules passed over others)"
        parts = [rule] if rule else []
        parts += [_rate(lift), f"ranks {rank} for {places} places{others}"]
        parts.append(_earns(margin, period, f"in {stores} {'store' if stores == 1 else 'stores'}"))
        if swaps[i]:
            parts.append(swaps[i])
        if tier != "all":
            parts.append(f"only in size {tier}" if tier == "L" else f"from size {tier} up")
        reasons.append("; ".join(parts))
    return reasons


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
            best = f": top {top[i]} % in every cluster" if top[i] <= 50 else ""
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


def _earns(margin: float, period: str, where: str) -> str:
    return f"earns {margin:,.2f} a {period} {where}" if np.isfinite(margin) else "no forecast here"


def _delist(
    problem: RangeProblem,
    rules: RangeRules,
    largest: int,
    sku: int,
    lift: float,
    rank: int,
    places: int,
    margin: float,
    period: str,
) -> str:
    if problem.banned[largest, sku]:
        return "delisted: on the must-not list" if np.isfinite(margin) else "delisted: no forecast here"
    earns = _earns(margin, period, "where it is listed today")
    if problem.slow is not None and problem.slow[largest, sku]:
        return f"delisted: a case would last longer than {rules.case_periods:g} {period}s in the average store; {earns}"
    worth = float(problem.margin[problem.cluster == problem.cluster[largest], sku].sum())
    if worth <= rules.listing_cost:
        cost = (
            "nothing"
            if rules.listing_cost == 0
            else f"less than the listing cost of {rules.listing_cost:,.2f}"
        )
        return f"delisted: would earn {worth:,.2f} a {period} over the cluster, {cost}; {_rate(lift)}"
    if rank > places:
        return f"delisted: ranks {rank} for {places} places in this cluster; {earns}; {_rate(lift)}"
    why = _other_rules(problem, rules)
    because = " or ".join(why) if why else "a set of other SKUs earns more in the space"
    return f"delisted: ranks {rank} for {places} places, but {because}; {earns}"


def _other_rules(problem: RangeProblem, rules: RangeRules) -> list[str]:
    """Rules in force that can keep out a SKU whose rank would have got it in."""
    why = []
    if rules.min_stores > 1:
        why.append(f"fewer than {rules.min_stores} stores would list it")
    if rules.order_periods is not None:
        why.append("the chain would sell too little for an order")
    if rules.core_share > 0 or problem.core.any() or problem.must.any():
        why.append("the core or must-list takes its place")
    if rules.max_distinct is not None or rules.sku_cost or rules.dc_cost:
        why.append("the chain carries fewer SKUs")
    if rules.max_changes is not None or rules.change_cost:
        why.append("changes are limited or cost more")
    if problem.limits:
        why.append("a limit on its kind is reached")
    if problem.pairs.size:
        why.append("its buyers take others")
    if rules.max_facings > 1:
        why.append("further facings of others earn more")
    if rules.unit == "width_cm":
        why.append("it does not fit beside the others")
    if rules.range_cost > 0:
        why.append("a common range saves more")
    return why


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
