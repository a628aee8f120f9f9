"""Planogram sizes: how much room each store cluster's stores have for a category."""

from __future__ import annotations

import itertools

import numpy as np
import numpy.typing as npt

__all__ = ["TIER_NAMES", "planogram_sizes"]

#: Names of a cluster's planogram sizes, smallest first, by how many there are.
TIER_NAMES: dict[int, tuple[str, ...]] = {1: ("all",), 2: ("S", "L"), 3: ("S", "M", "L")}


def planogram_sizes(
    space: npt.ArrayLike, max_tiers: int = 3, spread: float = 0.15, min_stores: int = 2
) -> npt.NDArray[np.int64]:
    """Sort stores into as few planogram sizes as describe their space.

    Natural breaks (Fisher, 1958; Jenks, 1977): the split of the sorted values into contiguous groups with the least
    squared deviation from the group means, for the smallest number of groups in which a store is off its group's
    mean by no more than ``spread`` on average.

    Parameters
    ----------
    space : array-like of shape (n_stores,)
        Space of each store, positive, any unit.
    max_tiers : int
        Most sizes to use.
    spread : float
        Mean deviation from the own size's mean, as a share of that mean, at which a number of sizes will do.
    min_stores : int
        Fewest stores that make a size of their own.

    Returns
    -------
    ndarray of shape (n_stores,)
        Size of each store, 0 the smallest.

    Examples
    --------
    >>> planogram_sizes([10, 31, 11, 30, 10, 32]).tolist()
    [0, 1, 0, 1, 0, 1]
    """
    values = np.asarray(space, dtype=float)
    order = np.argsort(values, kind="stable")
    ordered = values[order]
    n = ordered.size
    labels = np.zeros(n, dtype=np.int64)
    for tiers in range(1, max(1, min(max_tiers, n // max(min_stores, 1))) + 1):
        cuts = _natural_breaks(ordered, tiers, min_stores if tiers > 1 else 1)
        if cuts is None:
            break
        labels = np.zeros(n, dtype=np.int64)
        labels[cuts[1:-1]] = 1
        labels = np.cumsum(labels)
        means = np.array([ordered[a:b].mean() for a, b in itertools.pairwise(cuts)])
        if (np.abs(ordered - means[labels]) / means[labels]).mean() <= spread:
            break
    result = np.empty(n, dtype=np.int64)
    result[order] = labels
    return result


def _natural_breaks(ordered: npt.NDArray[np.float64], tiers: int, smallest: int) -> list[int] | None:
    """Cut points of the best split into ``tiers`` groups of distinct values, or None where there is none."""
    n = ordered.size
    sums = np.concatenate([[0.0], np.cumsum(ordered - ordered.mean())])
    squares = np.concatenate([[0.0], np.cumsum((ordered - ordered.mean()) ** 2)])
    cost = np.full((tiers + 1, n + 1), np.inf)
    back = np.zeros((tiers + 1, n + 1), dtype=np.int64)
    cost[0, 0] = 0.0
    for tier in range(1, tiers + 1):
        for end in range(tier * smallest, n + 1):
            begin = np.arange(0, end - smallest + 1)
            count = end - begin
            within = squares[end] - squares[begin] - (sums[end] - sums[begin]) ** 2 / count
            total = cost[tier - 1, begin] + within
            # Equal stores stay together: a cut between equal values would depend on row order.
            total[(begin > 0) & (ordered[begin - 1] == ordered[begin])] = np.inf
            best = int(np.argmin(total))
            cost[tier, end], back[tier, end] = total[best], begin[best]
    if not np.isfinite(cost[tiers, n]):
        return None
    cuts = [n]
    for tier in range(tiers, 0, -1):
        cuts.append(int(back[tier, cuts[-1]]))
    return cuts[::-1]
