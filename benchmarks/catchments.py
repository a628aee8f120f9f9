"""Catchments and customers: how good on real trade, how fast at scale.

Usage: python benchmarks/catchments.py [--write] [--only iowa|flows|country|lifetime]

* iowa: a model of every spirits store in the state, fitted to the totals of 2020 without knowing one customer,
  judged on 2021 and on stores hidden from the fit, beside models anyone could guess (needs GEOMARKET_DATA);
* flows: 20,000 cells x 200 stores with simulated trips, fitted by maximum likelihood;
* country: 1,000,000 cells x 5,000 stores, the 30 nearest, evaluated;
* lifetime: BG/NBD on a year of a grocer's panel, fitted on the first 39 weeks, judged on the last 13 (needs
  GEOMARKET_DATA).

Every measurement runs in a process of its own. With --write the tables go to benchmarks/results/catchments.md.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from _machine import machine_lines

RESULTS = Path(__file__).parent / "results" / "catchments.md"


def peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


class Watch:
    """Wall and processor time since it was made; on a busy machine the second is the one to compare."""

    def __init__(self) -> None:
        self.wall, self.cpu = time.perf_counter(), time.process_time()

    def __str__(self) -> str:
        return f"{time.perf_counter() - self.wall:.1f} s ({time.process_time() - self.cpu:.1f} s of processor time)"


def table(frame: pd.DataFrame) -> list[str]:
    """Markdown of a frame, numbers to three digits."""

    def text(value: Any) -> str:
        if isinstance(value, float):
            return "–" if np.isnan(value) else f"{value:,.3f}"
        return f"{value:,}" if isinstance(value, (int, np.integer)) else str(value)

    head = ["| " + " | ".join(frame.columns) + " |", "|" + "---|" * frame.shape[1]]
    return head + ["| " + " | ".join(text(v) for v in row) + " |" for row in frame.itertuples(index=False)]


def iowa() -> list[str]:
    from geomarket.catchments import map_catchments
    from geomarket.datasets import load_iowa
    from geomarket.hexes import build_hexes

    market = load_iowa()
    cells = build_hexes(market.areas, 7, points=market.points).table
    watch = Watch()
    result = map_catchments(
        cells, market.stores, market.competitors, totals=market.store_totals, fit_year=2020, judge_year=2021
    )
    took = str(watch)
    n_stores = len(market.stores) + len(market.competitors)
    scores = ["stores", "r2_log", "r2_pattern", "mape", "median_ape", "wmape", "spearman"]
    lines = [
        f"{len(cells):,} hexagons (resolution 7) x the 30 nearest of {n_stores:,} stores; attraction: format and chain "
        f"(no sizes are known); log loss. {took} for the whole stage "
        f"(two models, each fitted to all stores and to four fifths of them), "
        f"peak {peak_mb():,.0f} MB with loading.",
        "",
        *table(result.comparison[["label", "test", *scores]]),
        "",
        "Judged on 2021, by format (bias: expected over observed sum − 1):",
        "",
        *table(result.by_format[["format", *scores, "bias"]]),
        "",
        *table(
            result.params[result.params["term"] == "log_km"][["term", "estimate", "robust_se", "low", "high"]]
        ),
        "",
    ]
    rows = []
    for decay in ("power", "exponential", "none"):
        for loss in ("log", "poisson"):
            other = map_catchments(
                cells,
                market.stores,
                market.competitors,
                totals=market.store_totals,
                fit_year=2020,
                judge_year=2021,
                decay=decay,
                loss=loss,
            )
            own = other.comparison[other.comparison["model"] == "huff"].set_index("test")
            rows.append(
                {
                    "decay": decay,
                    "loss": loss,
                    "2021 r2_log": own.loc["other year", "r2_log"],
                    "2021 wmape": own.loc["other year", "wmape"],
                    "hidden stores r2_log": own.loc["stores held out", "r2_log"],
                    "hidden stores spearman": own.loc["stores held out", "spearman"],
                }
            )
    return [*lines, "Other forms of the model:", "", *table(pd.DataFrame(rows))]


def flows() -> list[str]:
    from geomarket.catchments import Huff, distance_pairs

    rng = np.random.default_rng(0)
    n_cells, n_stores = 20_000, 200
    cells = pd.DataFrame(
        {"cell": np.arange(n_cells), "lon": rng.uniform(0, 2, n_cells), "lat": rng.uniform(0, 2, n_cells)}
    )
    stores = pd.DataFrame(
        {
            "store_id": [f"S{i}" for i in range(n_stores)],
            "lon": rng.uniform(0, 2, n_stores),
            "lat": rng.uniform(0, 2, n_stores),
            "size_m2": np.exp(rng.normal(7, 0.6, n_stores)),
            "discount": rng.integers(0, 2, n_stores),
        }
    )
    truth = {"log_size": 0.8, "discount": 0.3, "log_km": -1.8}
    pairs = distance_pairs(cells, stores, k_nearest=n_stores)
    model = Huff(("log_size", "discount"))
    shares = model.fix(stores, truth).predict(pairs, stores)
    trips = shares.assign(trips=rng.poisson(100 * shares["probability"])).query("trips > 0")
    trips = trips[["cell", "store_id", "trips"]]
    del shares
    watch = Watch()
    fit = model.fit(pairs, stores, trips)
    took = str(watch)
    out = fit.params_.assign(true=list(truth.values()))[["term", "true", "estimate", "se", "clustered_se"]]
    return [
        f"{len(pairs):,} pairs, {int(trips['trips'].sum()):,} trips: fitted in {took}, "
        f"{fit.n_iterations_} steps, peak {peak_mb():,.0f} MB.",
        "",
        *table(out),
    ]


def country() -> list[str]:
    from geomarket.catchments import Huff, evaluate

    rng = np.random.default_rng(0)
    n_cells, n_stores = 1_000_000, 5_000
    cells = pd.DataFrame(
        {
            "cell": np.arange(n_cells),
            "lon": rng.uniform(0, 10, n_cells),
            "lat": rng.uniform(45, 52, n_cells),
            "population": rng.gamma(0.5, 100, n_cells),
        }
    )
    stores = pd.DataFrame(
        {
            "store_id": [f"S{i:04d}" for i in range(n_stores)],
            "lon": rng.uniform(0, 10, n_stores),
            "lat": rng.uniform(45, 52, n_stores),
            "size_m2": np.exp(rng.normal(7, 0.6, n_stores)),
            "own": rng.random(n_stores) < 0.1,
        }
    )
    model = Huff(("log_size",)).fix(stores, {"log_size": 0.8, "log_km": -1.8})
    watch = Watch()
    result = evaluate(model, cells, stores)
    took = str(watch)
    off = abs(result.stores["volume"].sum() / cells["population"].sum() - 1)
    return [
        f"30,000,000 pairs in {took}, peak {peak_mb():,.0f} MB; volumes add up to the market "
        f"within {max(off, 1e-16):.0e}."
    ]


def lifetime() -> list[str]:
    from geomarket.customers import check_lifetime

    folder = Path(os.environ["GEOMARKET_DATA"]) / "completejourney"
    lines = pd.read_parquet(folder / "transactions.parquet")
    lines["date"] = pd.to_datetime(lines["transaction_timestamp"]).dt.normalize()
    trips = lines.groupby(["household_id", "date"], as_index=False)["sales_value"].sum()
    start = trips["date"].min()
    cut, end = start + pd.Timedelta(weeks=39), trips["date"].max() + pd.Timedelta(days=1)

    def totals(part: pd.DataFrame) -> pd.DataFrame:
        by = part.groupby("household_id")
        out = by.agg(trips=("date", "size"), first_date=("date", "min"), last_date=("date", "max"))
        return out.reset_index().rename(columns={"household_id": "customer_id"}).astype({"customer_id": str})

    watch = Watch()
    check = check_lifetime(totals(trips[trips["date"] < cut]), totals(trips[trips["date"] >= cut]), cut, end)
    took = str(watch)
    return [
        f"{int(check.table['customers'].sum()):,} households, days with a purchase counted as trips; {check.weeks:.0f} "
        f"weeks foretold: {check.ratio - 1:+.1%} of the trips made, "
        f"rank correlation {check.spearman:.2f} ({took}).",
        "",
        *table(check.table[["decile", "customers", "predicted", "actual", "low", "high"]]),
    ]


PARTS = {
    "iowa": ("Iowa: every spirits store, from totals alone", iowa, True),
    "flows": ("Fit to flows: 20,000 cells x 200 stores", flows, False),
    "country": ("Evaluation: 1,000,000 cells x 5,000 stores, 30 nearest", country, False),
    "lifetime": ("Lifetime model on a grocer's panel (Complete Journey)", lifetime, True),
}


def run(part: str) -> list[str]:
    """Measure one part in a process of its own."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    child = subprocess.run(
        [sys.executable, __file__, "--child", part],
        capture_output=True,
        text=True,
        env=environment,
        check=False,
    )
    if child.returncode:
        raise SystemExit(f"{part}: {child.stderr}")
    return json.loads(child.stdout.splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", help="write the tables to benchmarks/results")
    parser.add_argument("--only", choices=list(PARTS), action="append")
    parser.add_argument("--child", choices=list(PARTS), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        print(json.dumps(PARTS[options.child][1]()))
        return
    lines = ["# Catchments and customers", "", *machine_lines(), ""]
    for part in options.only or PARTS:
        title, _, needs_data = PARTS[part]
        lines += [f"## {title}", ""]
        if needs_data and not os.environ.get("GEOMARKET_DATA"):
            lines += ["Not run: GEOMARKET_DATA is not set.", ""]
            continue
        lines += [*run(part), ""]
        print("\n".join(lines[-40:]), flush=True)
    if "iowa" in (options.only or PARTS):
        lines += [
            "Data: State of Iowa open data (Iowa Liquor Sales), US Census; orders by retailers, not till sales."
        ]
    if "lifetime" in (options.only or PARTS):
        lines += ["Data: 84.51°/dunnhumby The Complete Journey (CC0 in its R package)."]
    if options.write:
        RESULTS.parent.mkdir(exist_ok=True)
        RESULTS.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
