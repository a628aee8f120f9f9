"""Weighted k-means that reaches the same partition from every seed, in seconds, on national tables.

Near-equal fits can hide different partitions, so restarts matter more than speed per start. Many starts are
made on a summary of the rows (weighted micro-centroids), and the best clearly different ones are then followed
to convergence on all rows. Tables of a few thousand rows are started on all rows.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise

import numba as nb
import numpy as np
from threadpoolctl import threadpool_limits

from geomarket.errors import NotSupportedError, SettingsError, TableError
from geomarket.neighbourhoods.checks import checked_points, checked_weights

__all__ = ["KMeansFit", "fit_kmeans", "nearest"]

SUMMARY_ROWS = 1_500
ROWS_PER_TYPE = 250
SAMPLE_PER_MICRO = 20
CHUNKS = 16  # fixed, so that sums don't depend on the number of threads
SAME_BASIN = 0.85  # starts whose partitions agree this much (adjusted Rand index) end in the same optimum
TWINS = 0.98  # runners this alike are on the way to the same optimum
MAX_ITERATIONS = 1_000


@dataclass(frozen=True)
class KMeansFit:
    """One k-means partition.

    Attributes
    ----------
    centroids : ndarray of shape (k, p)
        Weighted means of the rows of each cluster.
    labels : ndarray of shape (n,)
        Nearest centroid of each row, 0..k-1.
    wcss : float
        Weighted within-cluster sum of squares on all rows.
    cluster_wcss : ndarray of shape (k,)
        The same by cluster.
    candidates : tuple of float
        WCSS on all rows of every clearly different start that was followed to the end, best first: a runner-up
        close to the best says that another partition fits nearly as well.
    iterations : int
        Lloyd passes over all rows, all candidates together.

    Examples
    --------
    >>> found = fit_kmeans(np.array([[0.0], [1.0], [10.0], [11.0]]), 2)
    >>> sorted(found.centroids.ravel().tolist()), found.wcss
    ([0.5, 10.5], 1.0)
    """

    centroids: np.ndarray
    labels: np.ndarray
    wcss: float
    cluster_wcss: np.ndarray
    candidates: tuple[float, ...]
    iterations: int


def fit_kmeans(
    points: np.ndarray,
    k: int,
    weights: np.ndarray | None = None,
    n_init: int = 100,
    random_state: int = 0,
    summary_rows: int = SUMMARY_ROWS,
    keep: int = 8,
) -> KMeansFit:
    """Partition weighted points into k clusters of least within-cluster sum of squares.

    k-means++ seeds, Lloyd iterations to a fixed point (no row changes cluster). Large tables are first summarised
    to weighted micro-centroids, 250 a cluster but at most ``summary_rows``; tables of no more than twice that many
    rows are started on all rows.

    Parameters
    ----------
    points : ndarray of shape (n, p)
        Coordinates without missing values.
    k : int
        Number of clusters, at most the number of distinct rows.
    weights : ndarray of shape (n,), optional
        Non-negative weight of each row; 1 by default.
    n_init : int
        Number of starts.
    random_state : int
        Seed.
    summary_rows : int
        Largest size of the summary.
    keep : int
        How many clearly different starts (adjusted Rand index of their partitions below 0.85) are tried on
        all rows.

    Returns
    -------
    KMeansFit

    Raises
    ------
    NotSupportedError
        If there are fewer distinct rows than clusters: ask for fewer clusters.
    TableError
        If values are missing, or weights don't fit the rows.
    SettingsError
        If k or ``n_init`` is below 1.

    Notes
    -----
    Lloyd (1982); seeding of Arthur and Vassilvitskii (2007). The summary is the usual data-squashing idea
    (DuMouchel et al. 1999) with two Lloyd passes from randomly drawn rows, the first of them on a sample.

    Examples
    --------
    >>> import numpy as np
    >>> points = np.array([[0.0], [0.1], [5.0], [5.1]])
    >>> fit = fit_kmeans(points, 2, n_init=5)
    >>> sorted(fit.centroids.ravel().round(2).tolist())
    [0.05, 5.05]
    """
    points = checked_points(points, "points")
    weights = checked_weights(weights, len(points))
    if k < 1 or n_init < 1:
        raise SettingsError(f"k-means needs at least one cluster and one start, got k {k}, n_init {n_init}.")
    if k == 1:
        centre = np.average(points, axis=0, weights=weights)[None, :]
        centroids, labels, own = _settle(points, weights, centre)
        return KMeansFit(centroids, labels, float(own.sum()), own, (float(own.sum()),), 0)
    _check_distinct(points, k)
    rng = np.random.default_rng(random_state)
    single = points.astype(np.float32)
    rows = min(summary_rows, ROWS_PER_TYPE * max(k, 2))
    with _threads() as pool:
        if len(points) > 2 * rows:
            ground, mass = _summarise(pool, single, weights, rows, rng)
        else:
            ground, mass = single, weights
        starts = _starts(pool, ground, mass, rng.random((n_init, k)))
        runners, scores, passes = _race(pool, single, weights, _distinct(starts, mass, keep))
    centroids, labels, own = _settle(points, weights, runners[0])
    wcss = float(own.sum())
    others = tuple(wcss + score - scores[0] for score in scores[1:])
    return KMeansFit(centroids, labels, wcss, own, (wcss, *others), passes)


def nearest(points: np.ndarray, centroids: np.ndarray) -> tuple[np.ndarray, ...]:
    """Return the nearest and second-nearest centroid of every row, with both distances.

    Parameters
    ----------
    points : ndarray of shape (n, p)
        NaN coordinates are left out and the distance is scaled up to all p (Dixon 1979).
    centroids : ndarray of shape (k, p)
        Complete.

    Returns
    -------
    first, second : ndarray of shape (n,)
        Row of ``centroids``; second is -1 where there is only one.
    distance, second_distance : ndarray of shape (n,)
        Euclidean distances; the second is NaN where there is only one centroid.

    Raises
    ------
    TableError
        If the centroids are none, incomplete, or of another number of variables.

    Notes
    -----
    Each row is worked out by itself in double precision, so the answer doesn't depend on which other rows are
    in the table. Source: J. K. Dixon (1979), Pattern recognition with partly missing data.

    Examples
    --------
    >>> import numpy as np
    >>> first, second, d1, d2 = nearest(np.array([[1.0]]), np.array([[0.0], [3.0]]))
    >>> int(first[0]), int(second[0]), float(d1[0]), float(d2[0])
    (0, 1, 1.0, 2.0)
    """
    points = checked_points(points, "points", complete=False)
    centroids = checked_points(centroids, "centroids")
    if len(centroids) == 0 or points.shape[1] != centroids.shape[1]:
        raise TableError(
            f"centroids: expected one or more rows of {points.shape[1]} variables, got shape {centroids.shape}."
        )
    first = np.empty(len(points), dtype=np.int64)
    second = np.empty(len(points), dtype=np.int64)
    near = np.empty(len(points))
    far = np.empty(len(points))
    edges = _edges(len(points))
    with _threads() as pool:
        jobs = [
            pool.submit(_nearest_rows, points, centroids, first, second, near, far, a, b) for a, b in edges
        ]
        for job in jobs:
            job.result()
    return first, second, np.sqrt(near), np.where(second < 0, np.nan, np.sqrt(far))


@contextmanager
def _threads() -> Iterator[ThreadPoolExecutor]:
    available = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    with ThreadPoolExecutor(max_workers=min(available, CHUNKS)) as pool:
        yield pool


def _edges(n: int) -> list[tuple[int, int]]:
    cuts = np.linspace(0, n, CHUNKS + 1).astype(np.int64)
    return [(int(a), int(b)) for a, b in pairwise(cuts) if b > a]


def _check_distinct(points: np.ndarray, k: int) -> None:
    distinct = len(np.unique(points[: 50 * k], axis=0))
    if distinct < k:
        distinct = len(np.unique(points, axis=0))
    if distinct < k:
        raise NotSupportedError(
            f"neighbourhoods: {k} types were asked for, but only {distinct:,} different profiles are in the "
            f"{len(points):,} areas. Ask for at most {distinct} types, or give more areas or variables."
        )


def _summarise(
    pool: ThreadPoolExecutor, points: np.ndarray, weights: np.ndarray, rows: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Weighted micro-centroids: Lloyd passes from randomly drawn rows, the first on a sample, the last on all."""
    centres = points[rng.choice(len(points), size=rows, replace=False)]
    sample = rng.choice(len(points), size=min(len(points), SAMPLE_PER_MICRO * rows), replace=False)
    for part in (np.sort(sample), slice(None)):
        labels = _assign_many(pool, points[part], centres)
        sums, mass = _sums(points[part], weights[part], labels, len(centres))
        filled = mass > 0
        centres = (sums[filled] / mass[filled, None]).astype(np.float32)
    return np.ascontiguousarray(centres), mass[filled]


def _assign_many(
    pool: ThreadPoolExecutor, points: np.ndarray, centres: np.ndarray, block: int = 512
) -> np.ndarray:
    """Nearest of many centres by matrix products, in blocks that stay in cache."""
    half = 0.5 * np.einsum("ij,ij->i", centres, centres)
    flipped = np.ascontiguousarray(centres.T)
    labels = np.empty(len(points), dtype=np.int64)

    def run(edges: tuple[int, int]) -> None:
        for start in range(*edges, block):
            stop = min(start + block, edges[1])
            score = points[start:stop] @ flipped
            score -= half
            labels[start:stop] = score.argmax(axis=1)

    # many small products: BLAS threads would spend their time waiting for each other
    with threadpool_limits(1, user_api="blas"):
        list(pool.map(run, _edges(len(points))))
    return labels


def _starts(
    pool: ThreadPoolExecutor, ground: np.ndarray, mass: np.ndarray, seeds: np.ndarray
) -> list[tuple[float, np.ndarray, np.ndarray]]:
    """Run every start on the ground; return (score, centres, labels), best first, ties by start number."""

    def run(batch: Iterable[int]) -> list[tuple[float, int, np.ndarray, np.ndarray]]:
        out = []
        for number in batch:
            labels = np.full(len(ground), -1, dtype=np.int64)
            centres = _plus_plus(ground, mass, seeds[number])
            score = _lloyd(ground, mass, centres, labels, 200)
            out.append((score, number, centres, labels.astype(np.int32)))
        return out

    batches = [range(first, len(seeds), CHUNKS) for first in range(min(CHUNKS, len(seeds)))]
    done = [item for part in pool.map(run, batches) for item in part]
    done.sort(key=lambda item: item[:2])
    return [(score, centres, labels) for score, _, centres, labels in done]


def _distinct(
    starts: list[tuple[float, np.ndarray, np.ndarray]], mass: np.ndarray, keep: int
) -> list[np.ndarray]:
    """Best starts whose partitions are clearly different: near-equal fit can hide another partition."""
    chosen: list[tuple[np.ndarray, np.ndarray]] = []
    for _, centres, labels in starts:
        if all(_agreement(labels, other, mass) < SAME_BASIN for _, other in chosen):
            chosen.append((centres, labels))
        if len(chosen) == keep:
            break
    return [centres for centres, _ in chosen]


def _agreement(a: np.ndarray, b: np.ndarray, mass: np.ndarray) -> float:
    """Adjusted Rand index of two partitions of weighted rows (Hubert and Arabie 1985)."""
    wide = int(b.max()) + 1
    table = np.bincount(a.astype(np.int64) * wide + b, mass, minlength=(int(a.max()) + 1) * wide)
    table = table.reshape(-1, wide) / mass.sum()
    both, rows, columns = (table**2).sum(), (table.sum(axis=1) ** 2).sum(), (table.sum(axis=0) ** 2).sum()
    expected, most = rows * columns, (rows + columns) / 2
    return 1.0 if most == expected else float((both - expected) / (most - expected))


def _race(
    pool: ThreadPoolExecutor, points: np.ndarray, weights: np.ndarray, chosen: list[np.ndarray]
) -> tuple[list[np.ndarray], list[float], int]:
    """Follow candidates on all rows, dropping the worse half and twins after 6 and after 24 passes."""
    runners = [(0.0, centres, np.full(len(points), -1, dtype=np.int64)) for centres in chosen]
    passes = 0
    for leg in (6, 18, MAX_ITERATIONS):
        moved = []
        for _, centres, labels in runners:
            score, used, after = _polish(pool, points, weights, centres, labels, leg)
            passes += used
            moved.append((score, after, labels))
        moved.sort(key=lambda runner: runner[0])
        left = len(moved) if leg == MAX_ITERATIONS else max(2, -(-len(moved) // 2))
        runners = []
        for runner in moved[:left]:
            if all(_agreement(runner[2], other[2], weights) < TWINS for other in runners):
                runners.append(runner)
    return [runner[1] for runner in runners], [runner[0] for runner in runners], passes


def _polish(
    pool: ThreadPoolExecutor,
    points: np.ndarray,
    weights: np.ndarray,
    centres: np.ndarray,
    labels: np.ndarray,
    passes: int,
) -> tuple[float, int, np.ndarray]:
    k, p = centres.shape
    edges = _edges(len(points))
    score = np.inf
    used = 0
    while used < passes:
        used += 1
        sums = np.zeros((len(edges), k, p))
        mass = np.zeros((len(edges), k))
        jobs = [
            pool.submit(_pass, points, weights, centres, labels, a, b, sums[i], mass[i])
            for i, (a, b) in enumerate(edges)
        ]
        parts = [job.result() for job in jobs]
        score = sum(part[0] for part in parts)
        changed = sum(part[1] for part in parts)
        total, filled = sums.sum(axis=0), mass.sum(axis=0)
        moved = centres.copy()
        moved[filled > 0] = total[filled > 0] / filled[filled > 0, None]
        centres = moved
        if changed == 0:
            break
    return score, used, centres


def _settle(
    points: np.ndarray, weights: np.ndarray, start: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Lloyd in double precision to a fixed point: labels are the nearest centroids, centroids the means."""
    k = len(start)
    centroids = start.astype(np.float64)
    labels = np.full(len(points), -1, dtype=np.int64)
    for _ in range(MAX_ITERATIONS):
        new, _, distance, _ = nearest(points, centroids)
        if np.array_equal(new, labels):
            break
        labels = new
        sums, mass = _sums(points, weights, labels, k)
        filled = mass > 0
        centroids = centroids.copy()
        centroids[filled] = sums[filled] / mass[filled, None]
    own = np.bincount(labels, weights * distance**2, minlength=k)
    return centroids, labels, own


@nb.njit(nogil=True, cache=True)
def _sums(points, weights, labels, k):  # type: ignore[no-untyped-def]
    """Weighted sums and mass of each cluster."""
    n, p = points.shape
    sums = np.zeros((k, p))
    mass = np.zeros(k)
    for i in range(n):
        mass[labels[i]] += weights[i]
        for j in range(p):
            sums[labels[i], j] += weights[i] * points[i, j]
    return sums, mass


@nb.njit(nogil=True, fastmath=True, cache=True)
def _plus_plus(points, weights, draws):  # type: ignore[no-untyped-def]
    n, p = points.shape
    k = len(draws)
    centres = np.empty((k, p), dtype=points.dtype)
    distance = np.full(n, 1e300)
    cumulative = np.cumsum(weights)
    for c in range(k):
        row = min(np.searchsorted(cumulative, draws[c] * cumulative[n - 1], side="right"), n - 1)
        for j in range(p):
            centres[c, j] = points[row, j]
        total = 0.0
        for i in range(n):
            gap = points[0, 0] * 0
            for j in range(p):
                gap += (points[i, j] - centres[c, j]) ** 2
            distance[i] = min(distance[i], gap)
            total += weights[i] * distance[i]
            cumulative[i] = total
    return centres


@nb.njit(nogil=True, fastmath=True, cache=True)
def _pass(points, weights, centres, labels, start, end, sums, mass):  # type: ignore[no-untyped-def]
    """One Lloyd pass over rows start..end: |x - c|² without |x|², summed, and the number of changed rows."""
    p = points.shape[1]
    k = centres.shape[0]
    half = np.empty(k, dtype=points.dtype)
    for c in range(k):
        square = points[0, 0] * 0
        for j in range(p):
            square += centres[c, j] * centres[c, j]
        half[c] = square / 2
    changed = 0
    score = 0.0
    for i in range(start, end):
        best = points[0, 0] * 0
        label = -1
        for c in range(k):
            value = points[0, 0] * 0
            for j in range(p):
                value += points[i, j] * centres[c, j]
            value -= half[c]
            if label < 0 or value > best:
                best = value
                label = c
        if labels[i] != label:
            changed += 1
            labels[i] = label
        score -= 2 * weights[i] * best
        mass[label] += weights[i]
        for j in range(p):
            sums[label, j] += weights[i] * points[i, j]
    return score, changed


@nb.njit(nogil=True, fastmath=True, cache=True)
def _lloyd(points, weights, centres, labels, passes):  # type: ignore[no-untyped-def]
    """Lloyd iterations in place until no row changes cluster."""
    k, p = centres.shape
    score = 0.0
    for _ in range(passes):
        sums = np.zeros((k, p))
        mass = np.zeros(k)
        score, changed = _pass(points, weights, centres, labels, 0, len(points), sums, mass)
        for c in range(k):
            if mass[c] > 0:
                for j in range(p):
                    centres[c, j] = sums[c, j] / mass[c]
        if changed == 0:
            break
    return score


@nb.njit(nogil=True, cache=True)
def _nearest_rows(points, centroids, first, second, near, far, start, end):  # type: ignore[no-untyped-def]
    p = points.shape[1]
    for i in range(start, end):
        first[i] = -1
        second[i] = -1
        near[i] = np.inf
        far[i] = np.inf
        for c in range(centroids.shape[0]):
            square = 0.0
            known = 0
            for j in range(p):
                gap = points[i, j] - centroids[c, j]
                if gap == gap:
                    square += gap * gap
                    known += 1
            if known == 0:
                continue
            square *= p / known
            if square < near[i]:
                far[i], second[i] = near[i], first[i]
                near[i], first[i] = square, c
            elif square < far[i]:
                far[i], second[i] = square, c
