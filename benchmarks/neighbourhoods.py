"""Neighbourhoods: England and Wales, 188,880 output areas x 44 census variables (needs GEOMARKET_DATA).

Usage: python benchmarks/neighbourhoods.py [--write] [--only PART] [--peer-python PYTHON]

* top: eight supergroups from five seeds, beside scikit-learn's KMeans with 50 starts in the same process;
* hierarchy: the whole classification, 8 supergroups, 21 groups, 52 subgroups;
* published: beside the published 2021 output area classification;
* levels: the evidence for 2 to 12 supergroups;
* peer: geosnap's ``cluster`` on the same prepared table. geosnap needs an environment of its own: --peer-python names
  its interpreter (``python -m venv peer && peer/bin/pip install geosnap``).

Every part runs in a process of its own. Other work on the machine lengthens wall times; CPU seconds of the process
(all threads) and ratios in one run are steadier. With --write the tables go to benchmarks/results/neighbourhoods.md.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from _machine import machine_lines

RESULTS = Path(__file__).parent / "results" / "neighbourhoods.md"
TARGET = 102_136.0


def peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


class Clock:
    """Wall and CPU seconds since it was made."""

    def __init__(self) -> None:
        self.wall, self.cpu = time.perf_counter(), time.process_time()

    def read(self) -> tuple[float, float]:
        return time.perf_counter() - self.wall, time.process_time() - self.cpu


def table(rows: list[dict[str, Any]]) -> list[str]:
    def text(value: Any) -> str:
        if isinstance(value, (float, np.floating)):
            if np.isnan(value):
                return "–"
            return f"{value:,.1f}" if abs(value) >= 100 else f"{value:.4g}"
        return f"{value:,}" if isinstance(value, (int, np.integer)) else str(value)

    head = list(rows[0])
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return lines + ["| " + " | ".join(text(row[name]) for name in head) + " |" for row in rows]


def load_rates() -> tuple[pd.DataFrame, pd.DataFrame]:
    """Shares 0..1 (density as people per km²) and the published labels, on the output area code."""
    folder = Path(os.environ["GEOMARKET_DATA"]) / "uk"
    raw = pd.read_parquet(folder / "ew_oa21_inputs_x100.parquet").set_index("OA")
    rates = raw.drop(columns=["population", "households"]).astype(float) / 1e4
    rates["pop_density"] = raw["pop_density"].astype(float)
    labels = pd.read_parquet(folder / "oac2021_labels_england_wales.parquet").set_index("OA").loc[raw.index]
    return rates, labels


def prepared() -> tuple[np.ndarray, np.ndarray, pd.DataFrame, pd.DataFrame]:
    from geomarket.neighbourhoods import NeighbourhoodClassifier

    rates, labels = load_rates()
    scheme = NeighbourhoodClassifier(max_correlation=None)
    scheme.learn_preparation(rates)
    points = scheme.preparation_.apply(rates)
    return points, np.ones(len(points)), rates, labels


def top() -> list[str]:
    from sklearn.cluster import KMeans
    from sklearn.metrics import adjusted_rand_score
    from threadpoolctl import threadpool_limits

    from geomarket.neighbourhoods import fit_kmeans

    points, weights, _, _ = prepared()
    fit_kmeans(points[:2_000], 3, n_init=2)  # compiles, or reads the cache
    rows, fits = [], []
    for seed in range(5):
        clock = Clock()
        fit = fit_kmeans(points, 8, weights, random_state=seed)
        wall, cpu = clock.read()
        fits.append(fit)
        rows.append({"fit": f"geomarket, seed {seed}", "WCSS": fit.wcss, "wall s": wall, "CPU s": cpu})
    clock = Clock()
    peer = KMeans(8, n_init=50, random_state=0).fit(points)
    wall, cpu = clock.read()
    rows.append(
        {"fit": "scikit-learn KMeans, n_init=50", "WCSS": float(peer.inertia_), "wall s": wall, "CPU s": cpu}
    )
    clock = Clock()
    with threadpool_limits(1):
        single = KMeans(8, n_init=50, random_state=0).fit(points)
    alone, alone_cpu = clock.read()
    rows.append(
        {"fit": "the same, one thread", "WCSS": float(single.inertia_), "wall s": alone, "CPU s": alone_cpu}
    )
    clock = Clock()
    again = fit_kmeans(points, 8, weights, random_state=5)
    last, last_cpu = clock.read()
    rows.append({"fit": "geomarket, seed 5, after it", "WCSS": again.wcss, "wall s": last, "CPU s": last_cpu})
    ours = [fit.labels for fit in fits]
    pairs = [adjusted_rand_score(a, b) for a, b in itertools.combinations(ours, 2)]
    values = np.array([fit.wcss for fit in fits])
    mean_wall = float(np.mean([row["wall s"] for row in rows[:5]] + [last]))
    mean_cpu = float(np.mean([row["CPU s"] for row in rows[:5]] + [last_cpu]))
    return [
        *table(rows),
        "",
        f"Five seeds: WCSS within {100 * (values.max() / values.min() - 1):.4f}% of the best (asked: 0.1%), at most "
        f"{values.max():,.1f} (asked: {TARGET:,.0f}); smallest pairwise adjusted Rand index {min(pairs):.4f} (asked: "
        f"0.95), with scikit-learn's {min(adjusted_rand_score(a, peer.labels_) for a in ours):.4f}.",
        "",
        f"Mean of ours over scikit-learn's: {mean_wall / wall:.3f} of the wall time, {mean_cpu / cpu:.3f} of the CPU "
        "time (asked: 0.1). On a busy machine its threads wait for each other; held to one thread "
        f"ours is {mean_cpu / alone_cpu:.3f} of its CPU time. The published labels fit 106,809.",
    ]


def hierarchy() -> list[str]:
    from geomarket.neighbourhoods import NeighbourhoodClassifier, fit_kmeans

    rates, _ = load_rates()
    fit_kmeans(rates.to_numpy()[:2_000], 3, n_init=2)
    loaded = peak_mb()
    clock = Clock()
    scheme = NeighbourhoodClassifier(levels=(8, 21, 52), counts="total", max_correlation=None).fit(rates)
    wall, cpu = clock.read()
    counts = scheme.types_["level"].value_counts()
    rows = [
        {"level": level, "types": int(counts[level]), "WCSS": wcss, "smallest type": int(part["areas"].min())}
        for (level, wcss), (_, part) in zip(
            scheme.wcss_.items(), scheme.types_.groupby("level", sort=False), strict=True
        )
    ]
    return [
        *table(rows),
        "",
        f"Transform, three levels, codes and uncertainty: {wall:.1f} s wall, {cpu:.1f} s CPU (asked: 60 s); peak "
        f"{peak_mb():,.0f} MB of which {loaded:,.0f} MB before the fit (asked: 2,000 MB).",
    ]


def published() -> list[str]:
    from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score

    from geomarket.neighbourhoods import assign_to_centroids, fit_kmeans

    points, weights, rates, labels = prepared()
    folder = Path(os.environ["GEOMARKET_DATA"]) / "uk"
    ours = rates.rename(columns={"x_age_5_15": "age_5_14"})
    truth = labels["supergroup"].to_numpy()
    centroids = pd.read_parquet(folder / "oac2021_centroids_supergroup.parquet").set_index("Supergroup8")
    rows = []
    for words, times in (("people per km²", 1.0), ("times 100", 100.0)):
        found = (
            assign_to_centroids(ours, centroids, multiplier={"pop_density": times}).table["code"].to_numpy()
        )
        rows.append(
            {
                "nearest published centroid, density as": words,
                "agrees": f"{100 * (found == truth).mean():.2f}%",
                "adjusted Rand index": adjusted_rand_score(truth, found),
            }
        )
    fresh = fit_kmeans(points, 8, weights)
    return [
        *table(rows),
        "",
        "Asked: 86.6%. Density as people per km² gives the published density centroids to 0.01 from the published "
        "labels; times 100 does not, but is what the WCSS targets were measured with.",
        "",
        f"A fresh 8-means (WCSS {fresh.wcss:,.1f}) against the published supergroups: adjusted Rand index "
        f"{adjusted_rand_score(truth, fresh.labels):.3f}, normalised mutual information "
        f"{normalized_mutual_info_score(truth, fresh.labels):.3f}. It is another classification, not a reproduction: "
        "16 of the 60 published variables and the rest of the United Kingdom are missing.",
    ]


def levels() -> list[str]:
    from geomarket.neighbourhoods import NeighbourhoodClassifier, suggest_levels

    rates, _ = load_rates()
    clock = Clock()
    template = NeighbourhoodClassifier(max_correlation=None)
    found = suggest_levels(rates, candidates=range(2, 13), levels=1, classifier=template)
    wall, cpu = clock.read()
    names = [
        "k",
        "explained",
        "silhouette",
        "calinski_harabasz",
        "bootstrap_ari",
        "gap",
        "smallest_share",
        "peaks",
        "score",
    ]
    rows = [{name: row[name] for name in names} for row in found.table.to_dict("records")]
    return [*table(rows), "", *found.summary(), "", f"{wall:.0f} s wall, {cpu:.0f} s CPU."]


def peer(python: str) -> list[str]:
    from sklearn.metrics import adjusted_rand_score

    from geomarket.neighbourhoods import fit_kmeans

    points, weights, _, _ = prepared()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "points.npy"
        np.save(path, points)
        done = subprocess.run(
            [python, __file__, "--geosnap", str(path)], capture_output=True, text=True, check=True
        )
        answer = json.loads(done.stdout.strip().splitlines()[-1])
        labels = np.load(answer["labels"])
    fit_kmeans(points[:2_000], 3, n_init=2)
    clock = Clock()
    ours = fit_kmeans(points, 8, weights)
    wall, cpu = clock.read()
    rows = [
        {"fit": "geosnap " + row["what"], "WCSS": row["wcss"], "wall s": row["wall"], "CPU s": row["cpu"]}
        | {"peak MB": row["peak_mb"]}
        for row in answer["rows"]
    ]
    rows.append({"fit": "geomarket", "WCSS": ours.wcss, "wall s": wall, "CPU s": cpu, "peak MB": peak_mb()})
    return [
        *table(rows),
        "",
        f"geosnap {answer['version']} in an environment of its own. Above 12,000 rows its k-means is scikit-learn's "
        f"mini-batch version. Adjusted Rand index of its first partition to ours: "
        f"{adjusted_rand_score(labels, ours.labels):.3f}. Peak memory includes the imports and, for geosnap, the table "
        "of points it asks for.",
    ]


def run_geosnap(path: str) -> None:
    """In the peer's interpreter: cluster the prepared points, unscaled, from three seeds."""
    from importlib.metadata import version

    import geopandas as gpd
    from geosnap.analyze import cluster

    points = np.load(path)
    names = [f"v{j:02d}" for j in range(points.shape[1])]
    frame = gpd.GeoDataFrame(
        pd.DataFrame(points, columns=names).assign(geoid=np.arange(len(points)).astype(str), year=2021),
        geometry=gpd.points_from_xy(np.zeros(len(points)), np.zeros(len(points))),
        crs="EPSG:4326",
    )
    rows, labels = [], []
    for seed in range(3):
        clock = Clock()
        out = cluster(
            frame,
            n_clusters=8,
            method="kmeans",
            columns=names,
            scaler=None,
            random_state=seed,
            model_colname="type",
        )
        wall, cpu = clock.read()
        kind = out.set_index("geoid").loc[frame["geoid"], "type"].astype(int).to_numpy()
        means = np.stack([points[kind == c].mean(axis=0) for c in range(8)])
        wcss = float(((points - means[kind]) ** 2).sum())
        rows.append(
            {"what": f"cluster, seed {seed}", "wcss": wcss, "wall": wall, "cpu": cpu, "peak_mb": peak_mb()}
        )
        labels.append(kind)
    np.save(path, labels[0])
    print(json.dumps({"rows": rows, "labels": path, "version": version("geosnap")}))


PARTS: dict[str, tuple[str, Callable[..., list[str]]]] = {
    "top": ("Eight supergroups, beside scikit-learn", top),
    "hierarchy": ("The whole hierarchy", hierarchy),
    "published": ("Beside the published classification", published),
    "levels": ("How many supergroups", levels),
    "peer": ("Beside geosnap", peer),
}


def run(part: str, python: str | None) -> list[str]:
    command = [sys.executable, __file__, "--child", part]
    if python:
        command += ["--peer-python", python]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{part} failed:\n{done.stderr}")
    return json.loads(done.stdout.strip().splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--write", action="store_true", help="write the tables to benchmarks/results")
    parser.add_argument("--only", choices=list(PARTS), action="append")
    parser.add_argument("--peer-python", help="interpreter of an environment with geosnap")
    parser.add_argument("--child", choices=list(PARTS), help=argparse.SUPPRESS)
    parser.add_argument("--geosnap", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.geosnap:
        run_geosnap(options.geosnap)
        return
    if options.child:
        extra = [options.peer_python] if options.child == "peer" else []
        print(json.dumps(PARTS[options.child][1](*extra)))
        return
    if not os.environ.get("GEOMARKET_DATA"):
        raise SystemExit("Set GEOMARKET_DATA to the data folder first.")
    busy = f"Load of the machine when it began: {os.getloadavg()[0]:.1f}; wall times include waiting for other work."
    lines = ["# Neighbourhoods", "", *machine_lines(), "", busy, ""]
    lines += [
        "188,880 output areas of England and Wales, Census 2021, 44 variables: percent, asinh, range, every area "
        "counting the same; density times 100 as in the WCSS targets. WCSS is the within-cluster sum of squares.",
        "",
    ]
    for part in options.only or PARTS:
        if part == "peer" and not options.peer_python:
            lines += [f"## {PARTS[part][0]}", "", "Not run: --peer-python was not given.", ""]
            continue
        lines += [f"## {PARTS[part][0]}", "", *run(part, options.peer_python), ""]
        print("\n".join(lines), flush=True)
    lines += [
        "Data: Census 2021, Office for National Statistics, Open Government Licence v3; UK 2021 Output Area "
        "Classification (labels, centroids, variables)."
    ]
    if options.write:
        RESULTS.parent.mkdir(exist_ok=True)
        RESULTS.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
