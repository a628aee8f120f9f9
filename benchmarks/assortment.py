"""The range optimiser at scale, beside the same program given to HiGHS cold.

Usage: python benchmarks/assortment.py [--write] [--seeds 3] [--cold 180] [--only substitution facings choice]

Two kinds of instance, one planogram per store cluster, 20% of the range common to all clusters, every SKU listed in
at least 3 clusters' stores or in none:

* substitution: 20 clusters x 300 SKUs, six substitutes each; counted places;
* facings: 20 clusters x 2,000 SKUs x up to 4 facings; shelf width.

"Tight" has room for 15% of the SKUs, "loose" for 45%. The cold run gets the same matrix (without cuts) in one HiGHS
call with the same gap and one thread, in a process that is killed 30 s past its limit. "Textbook" is the cold run of
the usual formulation of substitution: a column z <= x_j, z <= 1 - x_i for each ordered pair.

* choice: mixed multinomial logit, saturated markets in which each customer type considers a tenth of the SKUs, which is
  hard on revenue-ordered ranges ("sparse"); or every type considers every SKU ("dense"), which is hard to prove. The
  search alone is compared with the proven optimum, or with the bound where there is none.
"""

from __future__ import annotations

import argparse
import dataclasses
import pickle
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import highspy
import numpy as np
from _machine import machine_lines
from scipy import sparse

from geomarket.assortment.choice import (
    ChoiceProblem,
    best_range,
    expected_margin,
    revenue_ordered,
    search_range,
)
from geomarket.assortment.milp import LinearProgram
from geomarket.assortment.optimise import solve_ranges
from geomarket.assortment.problem import RangeProblem
from geomarket.assortment.program import range_program
from geomarket.assortment.rules import RangeRules
from geomarket.assortment.solving import SolverOptions, _Highs

RESULTS = Path(__file__).parent / "results" / "assortment.md"
CLUSTERS = 20


def instance(seed: int, n_skus: int, share: float, kind: str) -> tuple[RangeProblem, RangeRules]:
    """A category with a long tail, local tastes, and SKUs of different width."""
    rng = np.random.default_rng([seed, n_skus, int(100 * share)])
    stores = rng.integers(3, 15, CLUSTERS)
    rate = rng.lognormal(0.0, 1.2, n_skus) * rng.lognormal(0.0, 0.5, (CLUSTERS, n_skus))
    unit_margin = rng.uniform(0.4, 3.0, n_skus)
    units = stores[:, None] * rate
    width = rng.uniform(5.0, 25.0, n_skus).round(1) if kind == "facings" else np.ones(n_skus)
    pairs = np.zeros((0, 2), dtype=np.int64)
    transfer = np.zeros((CLUSTERS, 0))
    if kind == "substitution":
        position = rng.random((n_skus, 3))
        distance = ((position[:, None] - position[None]) ** 2).sum(axis=2) + np.diag(np.full(n_skus, 9.0))
        nearest = np.argsort(distance, axis=1)[:, :6]
        weight = np.exp(-4 * np.take_along_axis(distance, nearest, axis=1))
        weight = 0.7 * weight / weight.sum(axis=1, keepdims=True)
        pairs = np.column_stack([np.repeat(np.arange(n_skus), 6), nearest.ravel()])
        transfer = units[:, pairs[:, 0]] * unit_margin[pairs[:, 1]] * weight.ravel()
    nothing = np.zeros((CLUSTERS, n_skus), dtype=bool)
    capacity = share * n_skus * rng.uniform(0.8, 1.2, CLUSTERS) * width.mean()
    problem = RangeProblem(
        category=kind,
        skus=np.array([f"k{i:04d}" for i in range(n_skus)]),
        clusters=tuple(f"C{g}" for g in range(CLUSTERS)),
        cluster=np.arange(CLUSTERS),
        tiers=("all",) * CLUSTERS,
        stores=stores,
        capacity=capacity if kind == "facings" else np.floor(capacity),
        space=width,
        margin=units * unit_margin,
        core=np.zeros(n_skus, dtype=bool),
        must=nothing,
        banned=nothing,
        units=units,
        pairs=pairs,
        transfer=transfer,
    )
    rules = RangeRules(
        unit="width_cm" if kind == "facings" else "count",
        core_share=0.2,
        min_stores=25,
        listing_cost=1.0,
        max_facings=4 if kind == "facings" else 1,
        facing_returns=(0.12, 0.06, 0.03) if kind == "facings" else (),
    )
    return problem, rules


def cpu() -> float:
    """CPU seconds of this process and its ended children."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(u.ru_utime + u.ru_stime for u in used)


def cold(program: LinearProgram, seconds: float, gap: float) -> tuple[str, float]:
    """Give the whole program to HiGHS in a process that is killed 30 s past its limit; how it ended, and its gap."""
    with tempfile.TemporaryDirectory() as folder:
        data, answer = Path(folder) / "program", Path(folder) / "answer"
        data.write_bytes(pickle.dumps((program, seconds, gap)))
        child = subprocess.Popen([sys.executable, __file__, "--cold-child", str(data), str(answer)])
        try:
            child.wait(seconds + 30)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
            return "ignored its limit, killed", np.inf
        return pickle.loads(answer.read_bytes())


def textbook(problem: RangeProblem, rules: RangeRules) -> LinearProgram:
    """The same problem with one column per ordered pair of substitutes."""
    plain = range_program(
        dataclasses.replace(problem, pairs=problem.pairs[:0], transfer=problem.transfer[:, :0]), rules
    )
    base, x = plain.program, plain.facing[0]
    n, n_moved = base.cost.size, problem.transfer.size
    z = n + np.arange(n_moved).reshape(problem.transfer.shape)
    left, right = x[:, problem.pairs[:, 0]].ravel(), x[:, problem.pairs[:, 1]].ravel()
    rows = np.repeat(np.arange(2 * n_moved), 2)
    columns = np.column_stack([np.r_[z.ravel(), z.ravel()], np.r_[right, left]]).ravel()
    values = np.column_stack([np.ones(2 * n_moved), np.r_[-np.ones(n_moved), np.ones(n_moved)]]).ravel()
    moved = sparse.coo_array((values, (rows, columns)), shape=(2 * n_moved, n + n_moved)).tocsr()
    wider = sparse.csr_array(
        (base.matrix.data, base.matrix.indices, base.matrix.indptr), shape=(base.matrix.shape[0], n + n_moved)
    )
    return dataclasses.replace(
        base,
        cost=np.r_[base.cost, problem.transfer.ravel()],
        lower=np.r_[base.lower, np.zeros(n_moved)],
        upper=np.r_[base.upper, np.ones(n_moved)],
        integer=np.r_[base.integer, np.zeros(n_moved, dtype=bool)],
        matrix=sparse.vstack([wider, moved], format="csr"),
        row_lower=np.r_[base.row_lower, np.full(2 * n_moved, -np.inf)],
        row_upper=np.r_[base.row_upper, np.zeros(n_moved), np.ones(n_moved)],
        row_group=np.r_[base.row_group, np.full(2 * n_moved, -1)],
    )


def cold_line(program: LinearProgram, seconds: float, gap: float) -> str:
    began, used = time.perf_counter(), cpu()
    ended, found = cold(program, seconds, gap)
    words = "nothing found" if np.isinf(found) else f"gap {found:.3%}"
    return f"{ended}, {words}: {time.perf_counter() - began:.0f} s, CPU {cpu() - used:.1f} s"


def cold_child(data: Path, answer: Path) -> None:
    program, seconds, gap = pickle.loads(data.read_bytes())
    highs = _Highs(program, SolverOptions(gap=gap, time_limit=seconds), lambda kind, what: None)
    highs.declare_integers()
    status = highs.run(seconds)
    info = highs.highs.getInfo()
    found = info.mip_gap if info.primal_solution_status == 2 else np.inf
    words = {highspy.HighsModelStatus.kOptimal: "solved", highspy.HighsModelStatus.kTimeLimit: "time limit"}
    answer.write_bytes(pickle.dumps((words.get(status, str(status)), float(found))))


def ranges(kind: str, n_skus: int, seeds: int, seconds: float, gap: float = 1e-3) -> list[str]:
    """One line per instance."""
    lines = [
        f"## {kind}: {CLUSTERS} clusters x {n_skus:,} SKUs, to {gap:.1%}",
        "",
        "| room | seed | columns | wall s | CPU s | gap to LP bound | road | cold | textbook, cold |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for share, room in ((0.15, "tight"), (0.45, "loose")):
        for seed in range(seeds):
            problem, rules = instance(seed, n_skus, share, kind)
            began, used = time.perf_counter(), cpu()
            _, result, _ = solve_ranges(
                problem, rules, SolverOptions(gap=gap, time_limit=120.0, isolate_from=0)
            )
            wall, work = time.perf_counter() - began, cpu() - used
            to_lp = (result.lp_bound - result.objective) / result.objective
            line = f"| {room} | {seed} | {result.n_columns:,} | {wall:.1f} | {work:.1f} | {to_lp:.3%} | {result.road} |"
            if seconds:
                line += f" {cold_line(range_program(problem, rules).program, seconds, gap)} |"
                line += f" {cold_line(textbook(problem, rules), seconds, gap) if kind == 'substitution' else ''} |"
            else:
                line += " not run | |"
            print(line, flush=True)
            lines.append(line)
    return [*lines, ""]


def choice_instance(seed: int, n_skus: int, n_types: int, kind: str) -> ChoiceProblem:
    rng = np.random.default_rng([seed, n_skus, n_types])
    margin = rng.lognormal(0, 1, n_skus)
    taste, scale, slope = rng.normal(0, 1, (n_types, n_skus)), 1000 / n_skus, 1.0
    considered = rng.random((n_types, n_skus)) < 0.1
    if kind == "dense":
        considered, scale, slope = np.ones((n_types, n_skus), dtype=bool), 100 / n_skus, 1.5
    attraction = np.exp(taste - slope * np.log(margin)) * scale * considered
    return ChoiceProblem(margin, attraction, 1000 * rng.dirichlet(np.ones(n_types)))


def choices(kind: str, sizes: list[tuple[int, int]], instances: int, seconds: float) -> list[str]:
    """One line per size: the search and the revenue-ordered range against the optimum or its bound."""
    lines = [
        f"## choice, {kind}: mixed multinomial logit, {instances} instances of each size, at most {seconds:.0f} s each",
        "",
        "| SKUs | types | proven | CPU s, mean | widest gap | search: CPU s, mean | search = optimum | off by, worst "
        "| revenue-ordered off by, mean | worst |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for n_skus, n_types in sizes:
        proof, quick, gaps, off, ordered = [], [], [], [], []
        for seed in range(instances):
            problem = choice_instance(seed, n_skus, n_types, kind)
            used = cpu()
            searched = expected_margin(problem, search_range(problem))
            quick.append(cpu() - used)
            used = cpu()
            best = best_range(problem, SolverOptions(gap=1e-6, time_limit=seconds))
            proof.append(cpu() - used)
            gaps.append(best.gap)
            ordered.append(1 - expected_margin(problem, revenue_ordered(problem)) / best.value)
            if best.status == "optimal":
                off.append(1 - searched / best.value)
        same = sum(loss <= 2e-6 for loss in off)
        lines.append(
            f"| {n_skus} | {n_types} | {len(off)} of {instances} | {np.mean(proof):.1f} | {max(gaps):.3%} | "
            f"{np.mean(quick):.2f} | {same} of {len(off)} | {max(off, default=np.nan):.4%} | {np.mean(ordered):.2%} | "
            f"{max(ordered):.2%} |"
        )
        print(lines[-1], flush=True)
    return [*lines, ""]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--write", action="store_true", help="write the table to benchmarks/results")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--cold", type=float, default=180.0, help="seconds for the cold run; 0 for none")
    parser.add_argument("--only", nargs="*", default=["substitution", "facings", "choice"])
    parser.add_argument("--cold-child", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.cold_child:
        cold_child(*map(Path, options.cold_child))
        return
    lines = ["# Ranges at scale", "", *machine_lines(("numpy", "scipy", "highspy")), ""]
    lines += [
        "Wall seconds depend on what else the machine does; CPU seconds (children included) are the figure to compare. "
        "Ours includes the start of the solver's process, building the program, search and all checks.",
        "",
    ]
    if "substitution" in options.only:
        lines += ranges("substitution", 300, options.seeds, options.cold)
    if "facings" in options.only:
        lines += ranges("facings", 2000, options.seeds, options.cold)
    if "choice" in options.only:
        sizes = [(50, 5), (50, 25), (100, 10), (100, 25), (200, 10), (200, 25)]
        lines += choices("sparse", sizes, 5 * options.seeds, 60.0)
        lines += choices("dense", [(50, 10), (100, 10), (200, 25)], 2 * options.seeds, 30.0)
    if options.write:
        RESULTS.parent.mkdir(exist_ok=True)
        RESULTS.write_text("\n".join(lines))


if __name__ == "__main__":
    main()
