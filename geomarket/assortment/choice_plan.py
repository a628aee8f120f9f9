"""Ranges by store cluster where customers of each neighbourhood type choose by a logit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from geomarket.amounts import as_money
from geomarket.assortment.choice import (
    ChoiceProblem,
    ChoiceRange,
    best_range,
    expected_margin,
    revenue_ordered,
)
from geomarket.assortment.rules import SkuList, all_skus, skus_of
from geomarket.assortment.solving import SolverOptions
from geomarket.assortment.worker import SolverProcess
from geomarket.errors import TableError
from geomarket.results import Result

__all__ = ["ChoicePlan", "plan_choice_ranges"]

LINE_COLUMNS = [
    "store_cluster",
    "category",
    "sku",
    "name",
    "units",
    "margin",
    "main_buyers",
    "main_share",
    "reason",
]


@dataclass(frozen=True)
class ChoicePlan(Result):
    """Ranges under a mixed multinomial logit.

    Attributes
    ----------
    table : DataFrame
        One row per listed SKU: store_cluster, category, sku, name, units, margin (per period, by the choice model),
        main_buyers (the neighbourhood type that buys most of it), main_share (of its units), reason.
    solver : DataFrame
        store_cluster, category, status, value, bound, gap, places, listed, buying (share of customers who buy
        something), revenue_ordered (value of the best range by order of margin), road.
    currency : str
        Sign written before amounts.
    """

    table: pd.DataFrame
    solver: pd.DataFrame
    currency: str = ""

    def summary(self) -> list[str]:
        """Say what the ranges earn and how surely they are the best."""
        if self.solver.empty:
            return ["No range to plan."]
        value, simple = self.solver["value"].sum(), self.solver["revenue_ordered"].sum()
        proven = (self.solver["status"] == "optimal").sum()
        more = (
            f", {value / simple - 1:.1%} more than the best ranges that list SKUs in the order of their margin"
            if simple > 0
            else ""
        )
        return [
            f"{len(self.solver)} ranges are expected to earn {as_money(value, self.currency)} a period{more}.",
            f"{proven} of {len(self.solver)} are proven best; the widest gap left is {self.solver['gap'].max():.2%}.",
            "All by the choice model given: customers of a type choose in proportion to attraction among what is "
            "listed, and each store cluster's customers only there.",
        ]

    def plot(self, ax: Any = None) -> Any:
        """Draw each store cluster's expected margin beside that of ranges by order of margin."""
        if ax is None:
            import matplotlib.pyplot as plt

            _, ax = plt.subplots(figsize=(7, 4), layout="constrained")
        money = self.solver.groupby("store_cluster")[["revenue_ordered", "value"]].sum()
        place = np.arange(len(money))
        ax.barh(
            place + 0.2, money["revenue_ordered"], height=0.38, color="#b8b8b8", label="by order of margin"
        )
        ax.barh(place - 0.2, money["value"], height=0.38, color="#2a6f97", label="planned")
        ax.set_yticks(place, money.index)
        ax.invert_yaxis()
        ax.set_xlabel("expected margin a period")
        ax.legend(frameon=False)
        ax.spines[["top", "right"]].set_visible(False)
        return ax


def plan_choice_ranges(
    attraction: pd.DataFrame,
    customers: pd.DataFrame,
    products: pd.DataFrame,
    spaces: pd.DataFrame,
    *,
    listing_cost: float = 0.0,
    must_list: SkuList = (),
    must_not: SkuList = (),
    solver: SolverOptions | None = None,
    currency: str = "",
) -> ChoicePlan:
    """Plan each store cluster's range for the mix of neighbourhood types that shop there.

    Each cluster and category by itself: the search, then the exact program (see
    :func:`geomarket.assortment.choice.best_range`). Unlike :func:`plan_ranges` demand is not fixed per SKU but moves
    among whatever is listed, by type; there are no rules between clusters.

    Parameters
    ----------
    attraction : DataFrame
        neighbourhood, sku, attraction: exponential of utility, relative to buying nothing in the category. A pair
        without a row is never considered.
    customers : DataFrame
        store_cluster, category, neighbourhood, customers: choices per period.
    products : DataFrame
        sku, name, category, price, cost.
    spaces : DataFrame
        store_cluster, category, capacity: number of SKUs.
    listing_cost : float
        Money per period for each SKU in each cluster's range.
    must_list, must_not : SkuList
        Listings demanded and forbidden, chain-wide or by store cluster.
    solver : SolverOptions, optional
        Gap (1e-4 by default), time limit for each range, seed.
    currency : str
        Sign written before amounts in reasons and summary.

    Returns
    -------
    ChoicePlan

    Raises
    ------
    TableError
        If a table lacks a column or holds impossible values.
    InfeasibleError
        If a must-list does not fit.

    Examples
    --------
    >>> attraction = pd.DataFrame({"neighbourhood": ["A1", "A1", "B1"], "sku": ["x", "y", "y"],
    ...                            "attraction": [1.0, 8.0, 1.0]})
    >>> customers = pd.DataFrame({"store_cluster": ["C1", "C2"], "category": "tea",
    ...                           "neighbourhood": ["A1", "B1"], "customers": 10.0})
    >>> products = pd.DataFrame({"sku": ["x", "y"], "name": ["Assam", "Bags"], "category": "tea",
    ...                          "price": [6.0, 2.0], "cost": [2.0, 1.0]})
    >>> spaces = customers[["store_cluster", "category"]].assign(capacity=2)
    >>> plan = plan_choice_ranges(attraction, customers, products, spaces)
    >>> plan.table[["store_cluster", "sku"]].to_numpy().tolist()
    [['C1', 'x'], ['C2', 'y']]
    """
    options = solver or SolverOptions(gap=1e-4)
    for table, frame, columns in (
        ("attraction", attraction, ["neighbourhood", "sku", "attraction"]),
        ("customers", customers, ["store_cluster", "category", "neighbourhood", "customers"]),
        ("products", products, ["sku", "name", "category", "price", "cost"]),
        ("spaces", spaces, ["store_cluster", "category", "capacity"]),
    ):
        missing = [column for column in columns if column not in frame]
        if missing:
            raise TableError(
                f"{table}: no column {', '.join(missing)}. Its columns are {', '.join(frame.columns)}."
            )
    unknown = sorted((set(attraction["sku"]) | all_skus(must_list)) - set(products["sku"]))
    if unknown:
        raise TableError(
            f"attraction: {len(unknown)} SKUs are not in products ({', '.join(map(str, unknown[:3]))})."
        )
    if not (attraction["attraction"] >= 0).all() or not (customers["customers"] >= 0).all():
        raise TableError("attraction and customers must be at least 0 and not missing.")
    goods = products.sort_values("sku").set_index("sku")
    lines, solved = [], []
    with SolverProcess() as process:
        ordered = spaces.sort_values(["category", "store_cluster"])
        for cluster, category, capacity in zip(
            *(ordered[c].tolist() for c in ("store_cluster", "category", "capacity"))
        ):
            here = customers[(customers["store_cluster"] == cluster) & (customers["category"] == category)]
            mine = goods[goods["category"] == category]
            if here.empty or mine.empty:
                continue
            weight = here.groupby("neighbourhood")["customers"].sum()
            problem = _problem(
                attraction, mine, weight, float(capacity), listing_cost, skus_of(must_list, cluster),
                skus_of(must_not, cluster),
            )  # fmt: skip
            found = best_range(problem, options, process=process)
            lines.append(
                _lines(problem, found, mine, weight, currency).assign(
                    store_cluster=cluster, category=category
                )
            )
            solved.append(_solver_line(problem, found, cluster, category))
    chosen = (
        pd.concat(lines, ignore_index=True)[LINE_COLUMNS] if lines else pd.DataFrame(columns=LINE_COLUMNS)
    )
    return ChoicePlan(chosen, pd.DataFrame(solved), currency)


def _problem(
    attraction: pd.DataFrame,
    goods: pd.DataFrame,
    customers: pd.Series,
    capacity: float,
    listing_cost: float,
    must: frozenset[str],
    banned: frozenset[str],
) -> ChoiceProblem:
    wide = attraction.pivot(index="neighbourhood", columns="sku", values="attraction")
    values = wide.reindex(index=customers.index, columns=goods.index).fillna(0.0)
    return ChoiceProblem(
        margin=(goods["price"] - goods["cost"]).to_numpy(dtype=float),
        attraction=values.to_numpy(dtype=float),
        customers=customers.to_numpy(dtype=float),
        capacity=capacity,
        cost=np.full(len(goods), listing_cost),
        must=goods.index.isin(must),
        banned=goods.index.isin(banned),
    )


def _lines(
    problem: ChoiceProblem, found: ChoiceRange, goods: pd.DataFrame, customers: pd.Series, currency: str
) -> pd.DataFrame:
    weight = problem.attraction * found.listed
    bought = problem.customers[:, None] * weight / (1 + weight.sum(axis=1, keepdims=True))
    units = bought.sum(axis=0)
    main = bought.argmax(axis=0)
    share = np.divide(bought.max(axis=0), units, out=np.zeros_like(units), where=units > 0)
    frame = pd.DataFrame(
        {
            "sku": goods.index,
            "name": goods["name"].to_numpy(),
            "units": units,
            "margin": units * problem.margin,
            "main_buyers": customers.index.to_numpy()[main],
            "main_share": share,
        }
    )
    value = expected_margin(problem, found.listed)
    without = []
    for sku in range(len(goods)):
        rest = found.listed.copy()
        rest[sku] = False
        without.append(value - expected_margin(problem, rest))
    frame["reason"] = [
        f"{share:.0%} of its buyers live in {main}; earns {as_money(margin, currency)}, of which "
        f"{as_money(gain, currency)} would be lost without it"
        for share, main, margin, gain in zip(
            frame["main_share"], frame["main_buyers"], frame["margin"], without
        )
    ]
    kept = frame[found.listed].sort_values(["margin", "sku"], ascending=[False, True])
    return kept.reset_index(drop=True)


def _solver_line(problem: ChoiceProblem, found: ChoiceRange, cluster: str, category: str) -> dict[str, Any]:
    weight = (problem.attraction * found.listed).sum(axis=1)
    buying = problem.customers @ (weight / (1 + weight)) / max(problem.customers.sum(), 1e-12)
    return {
        "store_cluster": cluster,
        "category": category,
        "status": found.status,
        "value": found.value,
        "bound": found.bound,
        "gap": found.gap,
        "places": problem.capacity,
        "listed": int(found.listed.sum()),
        "buying": float(buying),
        "revenue_ordered": expected_margin(problem, revenue_ordered(problem)),
        "road": found.road,
    }
