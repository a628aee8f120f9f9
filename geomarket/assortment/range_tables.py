"""The frames of a range plan: lines by cluster, changes by store, space."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from geomarket.assortment.data import CategoryData
from geomarket.assortment.phases import Phases
from geomarket.assortment.problem import RangeProblem
from geomarket.assortment.rules import RangeRules
from geomarket.assortment.wording import change_reasons, line_reasons

__all__ = [
    "CHANGE_COLUMNS",
    "LINE_COLUMNS",
    "PHASE_COLUMNS",
    "SPACE_COLUMNS",
    "Outcome",
    "change_table",
    "line_table",
    "margin_steps",
    "space_table",
]

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

LINE_COLUMNS = [
    "store_cluster",
    "category",
    "tier",
    "sku",
    "name",
    "scope",
    "status",
    "stores",
    "stores_planned",
    "stores_today",
    "facings",
    "units",
    "margin",
    "low",
    "high",
    "margin_low",
    "margin_high",
    "units_transferred",
    "width_cm",
    "lift",
    "rank",
    "reason",
]
CHANGE_COLUMNS = [
    "store_id",
    "store_cluster",
    "category",
    "tier",
    "sku",
    "action",
    "when",
    "facings",
    "units",
    "margin",
    "reason",
]
PHASE_COLUMNS = [
    "phase",
    "stores",
    "listings",
    "delistings",
    "listings_median",
    "listings_max",
    "delistings_median",
    "delistings_max",
    "margin",
]
SPACE_COLUMNS = [
    "store_cluster",
    "category",
    "tier",
    "stores",
    "capacity",
    "used",
    "unit",
    "today_low",
    "today_high",
    "margin_today",
    "margin",
]


@dataclass(frozen=True)
class Outcome:
    """Plan and today, by store and SKU."""

    facings: Ints
    units: Floats
    margin: Floats
    gained: Floats
    units_today: Floats
    margin_today: Floats

    @classmethod
    def of(cls, data: CategoryData, facings: Ints, rules: RangeRules) -> Outcome:
        """Work out a plan's outcome and today's, by the same forecasts; ``facings`` by planogram."""
        returns = np.concatenate([[0.0, 1.0], 1.0 + np.cumsum(rules.facing_returns)])
        by_store = facings[data.planogram]
        units_today, margin_today, _ = data.outcome(data.today.astype(np.int64), returns)
        return cls(by_store, *data.outcome(by_store, returns), units_today, margin_today)


def line_table(
    data: CategoryData,
    problem: RangeProblem,
    facings: Ints,
    outcome: Outcome,
    rules: RangeRules,
    period: str,
    currency: str = "",
) -> pd.DataFrame:
    """One row per cluster and SKU planned or listed today."""
    listed, planned = facings > 0, outcome.facings > 0
    national = listed[problem.largest].all(axis=0)
    chain_units = np.nansum(data.units, axis=0)
    chain_share = chain_units / max(chain_units.sum(), 1e-12)
    parts = []
    for number, cluster in enumerate(problem.clusters):
        here = data.store_cluster == cluster
        mine = np.flatnonzero(problem.cluster == number)
        sizes = listed[mine].sum(axis=0)
        units_here = np.nansum(data.units[here], axis=0)
        with np.errstate(invalid="ignore", divide="ignore"):
            lift = units_here / max(units_here.sum(), 1e-12) / chain_share
        stores_planned, stores_today = planned[here].sum(axis=0), data.today[here].sum(axis=0)
        tiers = np.array([problem.tiers[i] for i in mine], dtype=object)
        smallest = tiers[np.maximum(mine.size - sizes, 0) % mine.size]
        frame = pd.DataFrame(
            {
                "store_cluster": cluster,
                "category": data.category,
                "tier": np.where(sizes == 0, "none", np.where(sizes == mine.size, "all", smallest)),
                "sku": data.skus.astype(object),
                "name": data.names,
                "scope": np.where(national, "national", "local"),
                "status": np.where(
                    sizes == 0, "delist", np.where(2 * stores_today >= stores_planned, "keep", "list")
                ),
                "stores": int(here.sum()),
                "stores_planned": stores_planned,
                "stores_today": stores_today,
                "facings": facings[mine[-1]],
                "units_transferred": outcome.gained[here].sum(axis=0),
                "width_cm": data.width,
                "lift": lift,
                "rank": _rank(problem.margin[mine].sum(axis=0) / problem.space),
            }
        )
        counted = np.where(sizes[None, :] > 0, planned[here], data.today[here])
        for column in ("units", "margin"):
            now, after = getattr(outcome, f"{column}_today")[here], getattr(outcome, column)[here]
            frame[column] = _sum_over(np.where(sizes[None, :] > 0, after, now), counted)
        for column, direct, prefix in (("units", data.units, ""), ("margin", data.margin, "margin_")):
            # What further facings add and what moves over from other SKUs comes on top, as expected.
            extra = frame[column].to_numpy() - _sum_over(direct[here], counted)
            for end, units in (("low", data.low), ("high", data.high)):
                with np.errstate(invalid="ignore", divide="ignore"):
                    bound = np.where(data.units > 0, direct * units / data.units, direct)
                frame[f"{prefix}{end}"] = _sum_over(bound[here], counted) + extra
        frame["reason"] = line_reasons(frame, data, problem, number, facings, rules, period, currency)
        parts.append(frame[(sizes > 0) | (stores_today > 0)])
    table = pd.concat(parts, ignore_index=True)
    table["_last"] = table["status"].eq("delist")
    table = table.sort_values(["store_cluster", "_last", "rank", "sku"], kind="stable", ignore_index=True)
    return table[LINE_COLUMNS]


def _rank(worth: Floats) -> Ints:
    rank = np.empty(worth.size, dtype=np.int64)
    rank[np.argsort(-worth, kind="stable")] = np.arange(1, worth.size + 1)
    return rank


def _sum_over(values: Floats, counted: npt.NDArray[np.bool_]) -> Floats:
    """Sum over stores where counted; NaN where no counted store has a value."""
    known = counted & np.isfinite(values)
    return np.where(known.any(axis=0), np.where(known, values, 0.0).sum(axis=0), np.nan)


def margin_steps(
    data: CategoryData, outcome: Outcome, phases: Phases, rules: RangeRules
) -> tuple[float, ...]:
    """Margin per period today, after each phase, and of the whole plan."""
    returns = np.concatenate([[0.0, 1.0], 1.0 + np.cumsum(rules.facing_returns)])
    margins = [float(np.nansum(outcome.margin_today))]
    for phase in range(1, phases.last + 1):
        listed = phases.listed_after(phase, data.today, outcome.facings > 0)
        facings = np.where(listed, np.maximum(outcome.facings, 1), 0)
        margins.append(float(np.nansum(data.outcome(facings, returns)[1])))
    return (*margins, float(np.nansum(outcome.margin)))


def change_table(
    data: CategoryData, problem: RangeProblem, outcome: Outcome, phases: Phases, lines: pd.DataFrame
) -> pd.DataFrame:
    """One row per store and SKU planned or listed today."""
    planned = outcome.facings > 0
    store, sku = np.nonzero(planned | data.today)
    stays = planned[store, sku]
    frame = pd.DataFrame(
        {
            "store_id": data.store_ids[store],
            "store_cluster": data.store_cluster[store],
            "category": data.category,
            "tier": np.array(problem.tiers, dtype=object)[data.planogram[store]],
            "sku": data.skus.astype(object)[sku],
            "action": np.where(stays & data.today[store, sku], "keep", np.where(stays, "list", "delist")),
            "when": phases.names()[store, sku],
            "facings": outcome.facings[store, sku],
            "units": np.where(stays, outcome.units[store, sku], outcome.units_today[store, sku]),
            "margin": np.where(stays, outcome.margin[store, sku], outcome.margin_today[store, sku]),
        }
    )
    frame["reason"] = change_reasons(frame, lines)
    return frame[CHANGE_COLUMNS].sort_values(["store_id", "sku"], kind="stable", ignore_index=True)


def space_table(
    data: CategoryData, problem: RangeProblem, facings: Ints, outcome: Outcome, rules: RangeRules
) -> pd.DataFrame:
    """One row per planogram: room, what is used of it, and its stores' margin."""
    by_store = pd.DataFrame(
        {
            "planogram": data.planogram,
            "space": data.space_today,
            "margin_today": np.nansum(outcome.margin_today, axis=1),
            "margin": np.nansum(outcome.margin, axis=1),
        }
    ).groupby("planogram")
    return pd.DataFrame(
        {
            "store_cluster": [problem.clusters[i] for i in problem.cluster],
            "category": data.category,
            "tier": problem.tiers,
            "stores": problem.stores,
            "capacity": problem.capacity,
            "used": facings @ problem.space,
            "unit": rules.unit,
            "today_low": by_store["space"].min().to_numpy(),
            "today_high": by_store["space"].max().to_numpy(),
            "margin_today": by_store["margin_today"].sum().to_numpy(),
            "margin": by_store["margin"].sum().to_numpy(),
        }
    )
