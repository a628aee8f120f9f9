"""Polygons to hexagons: geomarket side by side with tobler, wall time and peak memory.

Usage: python benchmarks/hexes.py [--write] [--rounds 3] [--polygons 30000] [--resolution 8 9]

The polygons are a Voronoi diagram of 30,000 points, clustered like towns, on the surface of England and Wales,
with 60 counts each. Every measurement runs in a process of its own; wall time starts with the polygons in memory
and ends with one table of 60 columns, cells as rows. tobler takes its target as polygons, so making the hexagons'
polygons is part of its time; they are made in bulk with h3ronpy, the fastest road we know. The polygons are drawn
in the equal-area plane both compute in, so that both mean the same surfaces. With GEOMARKET_DATA set, the LSOAs of
England and Wales are interpolated too. With --write the tables go to benchmarks/results/hexes.md.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely
from _machine import machine_lines

RESULTS = Path(__file__).parent / "results" / "hexes.md"
PACKAGES = ("numpy", "scipy", "pandas", "geopandas", "shapely", "h3ronpy", "numba", "tobler")
N_VARIABLES = 60
SIDE_M = 388_000.0
LSOA = Path("uk") / "ew_lsoa21_boundaries.parquet"


def voronoi_polygons(n: int, seed: int = 0) -> gpd.GeoDataFrame:
    """Irregular polygons that fill a square without gaps, small in towns and large between them."""
    rng = np.random.default_rng(seed)
    towns = rng.uniform(0, SIDE_M, (300, 2))
    size = rng.pareto(1.5, 300) + 0.2
    home = rng.choice(300, int(n * 0.7), p=size / size.sum())
    spread = rng.normal(0, 1, (len(home), 2)) * (3_000 + 1_500 * np.sqrt(size[home]))[:, None]
    points = np.vstack([towns[home] + spread, rng.uniform(0, SIDE_M, (2 * n, 2))])
    points = points[(points > 0).all(axis=1) & (points < SIDE_M).all(axis=1)][:n]
    square = shapely.box(0, 0, SIDE_M, SIDE_M)
    cells = shapely.voronoi_polygons(shapely.multipoints(points), extend_to=square)
    polygons = shapely.intersection(shapely.get_parts(cells), square)
    # At about 52° N.
    polygons = shapely.transform(polygons, lambda xy: xy + np.array([-388_000.0, 5_700_000.0]))
    frame = gpd.GeoDataFrame({"area_id": [f"p{i:06d}" for i in range(n)]}, geometry=polygons, crs=6933)
    return with_values(frame, rng)


def with_values(frame: gpd.GeoDataFrame, rng: np.random.Generator) -> gpd.GeoDataFrame:
    """60 counts of a few hundred an area."""
    values = rng.gamma(2.0, 100.0, (len(frame), N_VARIABLES))
    return frame.join(
        pd.DataFrame(values, columns=[f"v{j:02d}" for j in range(N_VARIABLES)], index=frame.index)
    )


def layer_of(frame: gpd.GeoDataFrame, columns: list[str]) -> Any:
    from geomarket.market.model import AreaLayer, Variable

    return AreaLayer("areas", frame, tuple(Variable(c, c, "count", c) for c in columns))


def run_geomarket(frame: gpd.GeoDataFrame, columns: list[str], resolution: int) -> Any:
    from geomarket.hexes import interpolate

    table = interpolate(layer_of(frame, columns), resolution).table
    return table["cell"].to_numpy(), table[columns]


def run_reference(frame: gpd.GeoDataFrame, columns: list[str], resolution: int) -> Any:
    """geomarket with shapely's intersection in the place of the compiled kernel."""
    from geomarket.hexes import overlaps

    overlaps.clip_areas = lambda pieces, corners: overlaps.reference_areas(pieces, shapely.polygons(corners))
    return run_geomarket(frame, columns, resolution)


def run_tobler(frame: gpd.GeoDataFrame, columns: list[str], resolution: int, n_jobs: int = 1) -> Any:
    import h3ronpy
    import h3ronpy.vector as h3vector
    import pyarrow as pa
    from tobler.area_weighted import area_interpolate

    wkb = shapely.to_wkb(frame.geometry.to_crs(4326).to_numpy())
    covers = h3ronpy.ContainmentMode.Covers
    cells = np.unique(pa.array(h3vector.wkb_to_cells(wkb, resolution, containment_mode=covers, flatten=True)))
    polygons = shapely.from_wkb(
        pa.array(h3vector.cells_to_wkb_polygons(cells)).to_numpy(zero_copy_only=False)
    )
    target = gpd.GeoDataFrame(geometry=polygons, crs=4326).to_crs(6933)
    table = area_interpolate(frame.to_crs(6933), target, extensive_variables=columns, n_jobs=n_jobs)
    return cells.view(np.int64), table[columns]


def run_tobler_2_jobs(frame: gpd.GeoDataFrame, columns: list[str], resolution: int) -> Any:
    return run_tobler(frame, columns, resolution, n_jobs=2)


ROADS = {
    "geomarket": run_geomarket,
    "tobler": run_tobler,
    "tobler, n_jobs=2": run_tobler_2_jobs,
    "geomarket with shapely for the kernel": run_reference,
}


REPEATED = ("geomarket", "tobler")


def peak_mb() -> float:
    """Peak resident memory of this process.

    On Linux ru_maxrss starts from what the parent held when it forked, so the kernel's own mark is read there.
    """
    status = Path("/proc/self/status")
    if status.exists():
        mark = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(mark.split()[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (
        1024 if sys.platform != "darwin" else 1024**2
    )


def child(road: str, path: str, resolution: int, out: str | None) -> None:
    """One measurement; figures go to stdout as JSON, the table to ``out`` where given."""
    frame = gpd.read_parquet(path)
    columns = [c for c in frame.columns if c.startswith("v")]
    start = time.perf_counter()
    # The first call imports, and compiles or reads numba's cache; a user pays for that once.
    ROADS[road](frame.iloc[:20], columns, resolution)
    first_call = time.perf_counter() - start
    start, start_cpu = time.perf_counter(), time.process_time()
    cells, table = ROADS[road](frame, columns, resolution)
    wall, cpu = time.perf_counter() - start, time.process_time() - start_cpu
    peak = peak_mb()
    if out:
        order = np.argsort(cells)
        np.savez(out, cells=cells[order], values=table.to_numpy()[order])
    figures = {
        "wall": wall,
        "cpu": cpu,
        "first_call": first_call,
        "peak_mb": peak,
        "cells": len(cells),
    }
    print(json.dumps(figures))


def measure(
    road: str, path: Path, resolution: int, out: Path | None = None, cache: Path | None = None
) -> dict[str, float]:
    command = [
        sys.executable,
        __file__,
        "--child",
        road,
        "--path",
        str(path),
        "--resolution",
        str(resolution),
    ]
    command += ["--out", str(out)] if out else []
    environment = os.environ | ({"NUMBA_CACHE_DIR": str(cache)} if cache else {})
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    if done.returncode:
        raise SystemExit(f"{road} at resolution {resolution} failed:\n{done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def differences(ours: Path, theirs: Path) -> tuple[float, float]:
    """Largest difference on the cells of either, absolute and as a share of the larger value (or of 1).

    A cell one of them lacks holds 0 there.
    """
    a, b = np.load(ours), np.load(theirs)
    cells = np.union1d(a["cells"], b["cells"])
    at_a, at_b = np.searchsorted(cells, a["cells"]), np.searchsorted(cells, b["cells"])
    values_a, values_b = a["values"], b["values"]
    absolute = relative = 0.0
    for j in range(values_a.shape[1]):
        x, y = np.zeros(len(cells)), np.zeros(len(cells))
        x[at_a], y[at_b] = values_a[:, j], values_b[:, j]
        gap = np.abs(x - y)
        absolute = max(absolute, float(gap.max()))
        relative = max(relative, float((gap / np.maximum(np.maximum(np.abs(x), np.abs(y)), 1.0)).max()))
    return absolute, relative


def side_by_side(folder: Path, path: Path, resolution: int, rounds: int) -> list[str]:
    """Table rows of one data set at one resolution; the roads take turns."""
    runs: dict[str, list[dict[str, float]]] = {road: [] for road in ROADS}
    tables = {road: folder / f"{i}.npz" for i, road in enumerate(ROADS)}
    for turn in range(rounds):
        for road in ROADS:
            if turn == 0 or road in REPEATED:
                runs[road].append(measure(road, path, resolution, tables[road] if turn == 0 else None))
    base = statistics.median(r["wall"] for r in runs["geomarket"])
    rows = []
    for road, found in runs.items():
        wall = statistics.median(r["wall"] for r in found)
        every = ", ".join(f"{r['wall']:.1f}" for r in found)
        peak = max(r["peak_mb"] for r in found)
        cpu = f"{statistics.median(r['cpu'] for r in found):.1f}"
        gap = (
            ""
            if road == "geomarket"
            else "{:.1e} ({:.1e})".format(*differences(tables["geomarket"], tables[road]))
        )
        rows.append(
            f"| {resolution} | {road} | {found[0]['cells']:,} | {wall:.1f} | {every} | {wall / base:.1f} | "
            f"{cpu} | {peak:,.0f} | {gap} |"
        )
    return rows


HEAD = [
    "| resolution | road | cells | wall s, median | wall s, all rounds | wall, times geomarket's | "
    "processor s, median | peak memory MB | largest difference (relative) |",
    "|---|---|---|---|---|---|---|---|---|",
]


def lsoa_layer(data: Path) -> gpd.GeoDataFrame:
    frame = gpd.read_parquet(data / LSOA).rename(columns={"lsoa21_code": "area_id"})[["area_id", "geometry"]]
    # Projected first, so that tobler and geomarket mean the same edges: by itself geomarket keeps a layer's edges
    # straight in the layer's own projection, and long ones bend.
    return with_values(frame.to_crs(6933), np.random.default_rng(0))


def report(folder: Path, n: int, rounds: int, resolutions: list[int]) -> str:
    path = folder / "polygons.parquet"
    voronoi_polygons(n).to_parquet(path)
    lines = ["# Polygons to hexagons", "", *machine_lines(PACKAGES), ""]
    lines += [
        f"{n:,} Voronoi polygons × {N_VARIABLES} counts (a few hundred each) on {(SIDE_M / 1000) ** 2:,.0f} km². One "
        "fresh process a measurement; from polygons in memory to one table. tobler's time includes making the "
        "hexagons' polygons, which it needs (in bulk with h3ronpy). The roads took turns, and other jobs ran on the "
        "same machine: read the ratios, not the seconds. Processor time and peak memory are the operating system's "
        "figures for the process that was measured; tobler's workers (n_jobs=2) come on top of them.",
        "",
        "Differences are absolute, on counts of up to about 2,000 an area, and in brackets relative to the value (or "
        "to 1 where it is smaller). tobler keeps its table of areas in single precision, which is what its "
        "differences are; shapely's intersection in double precision agrees with the kernel to rounding.",
        "",
        *HEAD,
    ]
    for resolution in resolutions:
        lines += side_by_side(folder, path, resolution, rounds)
    cold = measure("geomarket", path, resolutions[0], cache=folder / "numba")
    warm = measure("geomarket", path, resolutions[0])
    lines += [
        "",
        f"The very first call also compiles: {cold['first_call']:.1f} s on 20 polygons with an empty numba cache, "
        f"{warm['first_call']:.1f} s in a later process.",
    ]
    data = os.environ.get("GEOMARKET_DATA")
    if data and (Path(data) / LSOA).exists():
        path = folder / "lsoa.parquet"
        lsoa_layer(Path(data)).to_parquet(path)
        lines += [
            "",
            "England and Wales, 35,672 generalised LSOA polygons (Office for National Statistics, Open Government "
            "Licence v3) × 60 made-up counts:",
            "",
            *HEAD,
            *side_by_side(folder, path, 8, rounds),
        ]
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--polygons", type=int, default=30_000)
    parser.add_argument("--resolution", type=int, nargs="+", default=[8, 9])
    parser.add_argument("--write", action="store_true", help="write benchmarks/results/hexes.md")
    for internal in ("--child", "--path", "--out"):
        parser.add_argument(internal, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        child(options.child, options.path, options.resolution[0], options.out)
        return
    with tempfile.TemporaryDirectory() as folder:
        text = report(Path(folder), options.polygons, options.rounds, options.resolution)
    print(text)
    if options.write:
        RESULTS.parent.mkdir(exist_ok=True)
        RESULTS.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
