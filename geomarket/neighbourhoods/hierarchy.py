"""The top-down tree of types: splits, how many children a parent gets, and codes in a fixed order."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd

from geomarket.errors import SettingsError
from geomarket.neighbourhoods.kmeans import KMeansFit, fit_kmeans

__all__ = ["LEVELS", "Tree", "grow", "in_code_order"]

LEVELS = ("supergroup", "group", "subgroup")
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


@dataclass(frozen=True)
class Tree:
    """Types of all levels.

    Attributes
    ----------
    types : DataFrame
        code, level, parent, areas, mass, wcss; level by level in code order.
    centroids : ndarray of shape (n_types, n_variables)
        In the order of ``types``.
    notes : list of str
        Parents that could not be split as asked.
    """

    types: pd.DataFrame
    centroids: np.ndarray
    notes: list[str]


def grow(
    points: np.ndarray,
    weights: np.ndarray,
    mass: np.ndarray,
    levels: Sequence[Any],
    counts: Literal["each", "total"] = "each",
    max_children: int = 4,
    min_areas: int = 5,
    n_init: int = 100,
    random_state: int = 0,
) -> Tree:
    """Split areas into supergroups, these into groups, these into subgroups.

    Parameters
    ----------
    points : ndarray of shape (n_areas, n_variables)
        Prepared coordinates without missing values.
    weights : ndarray of shape (n_areas,)
        Weight in the sum of squares.
    mass : ndarray of shape (n_areas,)
        People in each area; orders the codes.
    levels, counts, max_children, min_areas, n_init, random_state
        As in :class:`~geomarket.neighbourhoods.NeighbourhoodClassifier`.

    Returns
    -------
    Tree

    Raises
    ------
    SettingsError
        If the numbers of a level don't fit the types above it.

    Examples
    --------
    >>> points = np.array([[0.0], [0.1], [0.2], [5.0], [5.1]])
    >>> tree = grow(points, np.ones(5), np.ones(5), levels=(2,), min_areas=1)
    >>> tree.types[["code", "areas"]].values.tolist()
    [['A', 3], ['B', 2]]
    """

    def split(members: np.ndarray, k: int) -> KMeansFit:
        return fit_kmeans(points[members], k, weights[members], n_init, random_state)

    notes: list[str] = []
    everyone = np.arange(len(points))
    rows = in_code_order("", LEVELS[0], split(everyone, int(levels[0])), mass)
    everything = [record for record, _ in rows]
    for depth in range(1, len(levels)):
        most = [_room(points[members], min_areas) for _, members in rows]
        splits = _Splits(split, [members for _, members in rows])
        wanted = levels[depth]
        if counts == "total" and isinstance(wanted, (int, np.integer)):
            numbers = _share_out(int(wanted), [min(room, max_children) for room in most], splits, depth)
        else:
            numbers = _numbers_each(wanted, len(rows), depth)
        short = [rows[i][0]["code"] for i in range(len(rows)) if numbers[i] > most[i]]
        if short:
            notes.append(
                f"{', '.join(short)}: too few areas for the number of {LEVELS[depth]}s asked for; split into fewer "
                f"(at least {min_areas} areas a type)."
            )
        below = []
        for i, (parent, members) in enumerate(rows):
            fit = splits(i, min(numbers[i], most[i]))
            children = in_code_order(parent["code"], LEVELS[depth], fit, mass[members])
            below += [(record, members[inside]) for record, inside in children]
        rows = below
        everything += [record for record, _ in rows]
    table = pd.DataFrame(everything)
    centroids = np.vstack(table.pop("centroid").tolist())
    return Tree(table, centroids, notes)


def in_code_order(
    parent: str, level: str, fit: KMeansFit, mass: np.ndarray
) -> list[tuple[dict[str, Any], np.ndarray]]:
    """Give the clusters of one split their codes: by people, then areas, then centroid.

    Parameters
    ----------
    parent : str
        Code of the parent, "" at the top.
    level : {"supergroup", "group", "subgroup"}
        Decides between letters and numbers.
    fit : KMeansFit
        The split.
    mass : ndarray of shape (n_areas,)
        People in each area of the parent.

    Returns
    -------
    list of (dict, ndarray)
        Record (code, level, parent, areas, mass, wcss, centroid) and row numbers of each, in code order.

    Examples
    --------
    >>> fit = fit_kmeans(np.array([[0.0], [0.1], [5.0]]), 2)
    >>> [(record["code"], rows.tolist()) for record, rows in in_code_order("B", "group", fit, np.ones(3))]
    [('B1', [0, 1]), ('B2', [2])]
    """
    found = []
    for c, centroid in enumerate(fit.centroids):
        rows = np.flatnonzero(fit.labels == c)
        # fsum: the order must not hang on the order of rows through rounding
        found.append((-math.fsum(mass[rows]), -len(rows), tuple(centroid.round(12)), c, rows))
    found.sort(key=lambda item: item[:3])
    out = []
    for place, (people, areas, _, c, rows) in enumerate(found):
        sign = str(place + 1) if level == "group" else LETTERS[place]
        record: dict[str, Any] = {
            "code": parent + (sign.lower() if level == "subgroup" else sign),
            "level": level,
            "parent": parent,
            "areas": -areas,
            "mass": -people,
            "wcss": float(fit.cluster_wcss[c]),
            "centroid": fit.centroids[c],
        }
        out.append((record, rows))
    return out


class _Splits:
    """Splits of each parent, worked out once for each number of children."""

    def __init__(self, split: Callable[[np.ndarray, int], KMeansFit], members: list[np.ndarray]) -> None:
        self.split = split
        self.members = members
        self.known: dict[tuple[int, int], KMeansFit] = {}

    def __call__(self, i: int, k: int) -> KMeansFit:
        if (i, k) not in self.known:
            self.known[i, k] = self.split(self.members[i], k)
        return self.known[i, k]


def _numbers_each(wanted: Any, parents: int, depth: int) -> list[int]:
    numbers = [int(wanted)] * parents if isinstance(wanted, (int, np.integer)) else [int(k) for k in wanted]
    if len(numbers) != parents or min(numbers) < 1 or max(numbers) > 26:
        raise SettingsError(
            f"levels[{depth}] is {wanted!r}; give one number, or one for each of the {parents} types above it "
            "(each 1 to 26)."
        )
    return numbers


def _share_out(total: int, limits: list[int], splits: _Splits, depth: int) -> list[int]:
    """Two children each (one where the total is too small), the rest where they lower WCSS most."""
    if not len(limits) <= total <= sum(limits):
        raise SettingsError(
            f"levels[{depth}] asks for {total} {LEVELS[depth]}s in all; the {len(limits)} types above it allow "
            f"{len(limits)} to {sum(limits)} (max_children, min_areas)."
        )
    floor = 2 if total >= sum(min(2, limit) for limit in limits) else 1
    numbers = [min(floor, limit) for limit in limits]
    while sum(numbers) < total:
        gains = [
            splits(i, k).wcss - splits(i, k + 1).wcss if k < limits[i] else -np.inf
            for i, k in enumerate(numbers)
        ]
        numbers[int(np.argmax(gains))] += 1
    return numbers


def _room(points: np.ndarray, min_areas: int) -> int:
    """Most types these areas can be split into."""
    room = max(1, len(points) // max(1, min_areas))
    return min(room, len(np.unique(points[:2_000], axis=0)), 26)
