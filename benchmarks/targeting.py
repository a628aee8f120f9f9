"""Targeting at scale: hexagons and customers chosen within a budget, and how near the best possible they are.

Usage: python benchmarks/targeting.py [--write]

* leaflet: 20,000 hexagons, one leaflet of one store cluster; also given to HiGHS as a 0/1 program, for its value;
* season: the same hexagons, 10 store clusters, 13 weeks, at most 4 drops in a hexagon;
* contacts: 200,000 customers, 13 weeks, letters and messages, at most 2 to a customer.

Trade falls with distance from 200 stores, doors are as uneven as people; budgets buy about a fifth of what would pay.
"""

from __future__ import annotations

import argparse
import resource
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from _machine import machine_lines
from scipy.optimize import Bounds, LinearConstraint, milp

from geomarket.promotions.targeting import target_customers, target_hexagons

RESULTS = Path(__file__).parent / "results" / "targeting.md"
N_CELLS, N_CLUSTERS, N_WEEKS, N_CUSTOMERS = 20_000, 10, 13, 200_000
COST_PER_DOOR = 0.08


def world(seed: int, n_clusters: int, n_weeks: int) -> tuple[pd.DataFrame, pd.DataFrame, pd.Series]:
    """Values of leaflets, trade by hexagon and cluster, doors."""
    rng = np.random.default_rng(seed)
    x, y = rng.uniform(0, 100, (2, N_CELLS))
    stores_x, stores_y = rng.uniform(0, 100, (2, 200))
    cluster = rng.integers(0, n_clusters, 200)
    doors = rng.gamma(0.6, 700.0, N_CELLS)
    rivals_x, rivals_y = rng.uniform(0, 100, (2, 300))
    pull = np.maximum(np.hypot(x[:, None] - stores_x, y[:, None] - stores_y), 0.5) ** -2.0
    rival = np.maximum(np.hypot(x[:, None] - rivals_x, y[:, None] - rivals_y), 0.5) ** -2.0
    share = pull / (pull.sum(axis=1, keepdims=True) + rival.sum(axis=1, keepdims=True))
    demand = share * doors[:, None] * 60.0
    by_cluster = np.stack([demand[:, cluster == g].sum(axis=1) for g in range(n_clusters)], axis=1)
    names = [f"C{g + 1}" for g in range(n_clusters)]
    trade = pd.DataFrame(
        {
            "cell": np.tile(np.arange(N_CELLS), n_clusters),
            "store_cluster": np.repeat(names, N_CELLS),
            "demand": by_cluster.T.ravel(),
        }
    )
    weeks = pd.date_range("2024-01-01", periods=n_weeks, freq="7D")
    values = pd.DataFrame(
        [
            (name, week, 0.004 * by_cluster[:, g].sum() * rng.gamma(4.0, 0.25))
            for g, name in enumerate(names)
            for week in weeks
        ],
        columns=["store_cluster", "period", "value"],
    )
    return values, trade, pd.Series(doors, index=np.arange(N_CELLS))


def timed(work: Any) -> tuple[Any, float, float]:
    wall, processor = time.perf_counter(), time.process_time()
    found = work()
    return found, time.perf_counter() - wall, time.process_time() - processor


def row(name: str, found: Any, chosen: int, units: int, wall: float, processor: float) -> dict[str, Any]:
    line = found.certificate.iloc[0]
    return {
        "instance": name,
        "units": f"{units:,}",
        "chosen": f"{chosen:,}",
        "cost": f"{line['cost']:,.0f}",
        "net": f"{line['net']:,.1f}",
        "bound": f"{line['bound']:,.1f}",
        "gap": f"{line['gap']:.1e}",
        "wall s": f"{wall:.2f}",
        "processor s": f"{processor:.2f}",
    }


def hexagon_rows() -> tuple[list[dict[str, Any]], str]:
    rows, against = [], ""
    for name, n_clusters, n_weeks, most in (("leaflet", 1, 1, None), ("season", N_CLUSTERS, N_WEEKS, 4)):
        values, trade, doors = world(0, n_clusters, n_weeks)
        free = target_hexagons(values, trade, doors, COST_PER_DOOR, most=most)
        budget = free.certificate["cost"].iloc[0] / 5
        found, wall, processor = timed(
            lambda v=values, t=trade, d=doors, m=most, b=budget: target_hexagons(
                v, t, d, COST_PER_DOOR, budget=b, most=m
            )
        )
        rows.append(row(name, found, len(found.table), N_CELLS, wall, processor))
        if name == "leaflet":
            against = against_milp(free.table, budget, found)
    return rows, against


def against_milp(worth: pd.DataFrame, budget: float, found: Any) -> str:
    """The same knapsack given to HiGHS as a 0/1 program, to a gap of 1e-6."""
    net, cost = worth["net"].to_numpy(), worth["cost"].to_numpy()
    solved, wall, _ = timed(
        lambda: milp(
            -net,
            integrality=np.ones(len(net)),
            bounds=Bounds(0, 1),
            constraints=LinearConstraint(cost[None, :], ub=budget),
            options={"time_limit": 60.0, "mip_rel_gap": 1e-6},
        )
    )
    if solved.x is None:
        return f"HiGHS found no 0/1 solution of the leaflet in {wall:.0f} s."
    line = found.certificate.iloc[0]
    return (
        f"HiGHS on the leaflet ({len(net):,} binaries that pay, {wall:.1f} s, gap {solved.mip_gap:.0e}): {-solved.fun:,.1f}; "
        f"ours {line['net']:,.1f}, that is {line['net'] / -solved.fun:.6f} of it."
    )


def contact_row() -> dict[str, Any]:
    rng = np.random.default_rng(1)
    values, _, _ = world(1, N_CLUSTERS, N_WEEKS)
    ids = np.array([f"K{i:06d}" for i in range(N_CUSTOMERS)])
    spend = pd.DataFrame(
        {"customer_id": ids, "store_cluster": rng.choice(values["store_cluster"].unique(), N_CUSTOMERS)}
    )
    spend["share"] = rng.lognormal(0.0, 1.2, N_CUSTOMERS)
    spend["share"] /= spend.groupby("store_cluster")["share"].transform("sum") * 40
    consent = {"mail": ids[rng.random(N_CUSTOMERS) < 0.5], "mobile": ids[rng.random(N_CUSTOMERS) < 0.3]}
    price = {"mail": 0.7, "mobile": 0.05}

    def target(budget: float) -> Any:
        return target_customers(
            values, spend, consent, price, budget=budget, most=2, response={"mail": 2.0, "mobile": 1.5}
        )

    budget = target(np.inf).certificate["cost"].iloc[0] / 5
    found, wall, processor = timed(lambda: target(budget))
    return row("contacts", found, len(found.table), N_CUSTOMERS, wall, processor)


def table(rows: list[dict[str, Any]]) -> list[str]:
    heads = list(rows[0])
    lines = ["| " + " | ".join(heads) + " |", "|" + "---|" * len(heads)]
    return lines + ["| " + " | ".join(str(line[head]) for head in heads) + " |" for line in rows]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--write", action="store_true", help="write the results page")
    chosen = parser.parse_args()
    rows, against = hexagon_rows()
    rows.append(contact_row())
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10
    lines = [
        "# Targeting",
        "",
        *machine_lines(),
        "",
        "Drops and letters chosen by net gain per money at the price of money at which the budget is just spent; the gap",
        "is against the bound of the linear program. Budgets are a fifth of what everything that pays would cost.",
        "",
        *table(rows),
        "",
        against,
        "",
        f"Peak memory of all three: {peak:,.0f} MB.",
    ]
    text = "\n".join(lines) + "\n"
    print(text)
    if chosen.write:
        RESULTS.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
