"""Pairs of alike units that are far enough apart: an optimal choice."""

from __future__ import annotations

import logging

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import optimize, sparse

from geomarket.errors import SolverError
from geomarket.experiments.panel import Panel
from geomarket.hexes import neighbours

__all__ = ["match_units", "matching_traits", "near_units", "trait_distances"]

_log = logging.getLogger(__name__)

Floats = npt.NDArray[np.float64]

GOOD_ENOUGH = 0.01
"""A choice proven this near to the best, counted in pairs and likeness together, counts as best."""
MOST_EXACT = 400
"""Up to this many units the choice of pairs is an integer programme; beyond, greedy with exchanges."""
CANDIDATES = 12
"""Partners considered for a unit: its most alike ones."""
NODES = 50
"""Nodes of the search tree: a limit that, unlike seconds, gives the same pairs on every machine."""


def matching_traits(panel: Panel, features: pd.DataFrame | None = None, year: int = 52) -> pd.DataFrame:
    """Describe units by what makes their sales move alike.

    Parameters
    ----------
    panel : Panel
        Sales before the test.
    features : DataFrame, optional
        Index the units, numeric columns (catchment mix, size …). Missing values count as the mean.
    year : int
        Periods in a year.

    Returns
    -------
    DataFrame
        Index the units. Columns ``level``, ``quarter 1`` …, then the features; each of mean 0, and scaled so that the
        three blocks weigh alike.

    Notes
    -----
    Level: log of mean sales. Quarters: how sales of each quarter of a year lie against the unit's own mean, less the
    same of all units; together they hold trend and season. They are scaled as one block: each on its own would make as
    much of a quarter in which units hardly differ as of one in which they do.
    """
    logs = np.log(np.maximum(panel.values, 1e-9 * max(panel.values.max(), 1e-300)))
    path = logs - logs.mean(axis=1, keepdims=True)
    path = path - path.mean(axis=0)
    n_slices = max(1, round(4 * path.shape[1] / year))
    slices = np.array_split(np.arange(path.shape[1]), n_slices)
    quarters = {f"quarter {k + 1}": path[:, part].mean(axis=1) for k, part in enumerate(slices)}
    level = {"level": np.log(np.maximum(panel.values.mean(axis=1), 1e-300))}
    blocks = [_centred(pd.DataFrame(level)), _centred(pd.DataFrame(quarters))]
    if features is not None and features.shape[1]:
        known = features.reindex(panel.units).astype(float)
        known = known.fillna(known.mean()).reset_index(drop=True)
        # features come in different units
        varied = known.loc[:, known.std(ddof=0) > 1e-12]
        blocks.append(_centred(varied / varied.std(ddof=0)))
    return pd.concat(blocks, axis=1).set_index(panel.units)


def _centred(block: pd.DataFrame) -> pd.DataFrame:
    """Return a block of mean 0 and total variance 1, or without columns where nothing varies."""
    varied = block.loc[:, block.std(ddof=0) > 1e-12]
    return (varied - varied.mean()) / np.sqrt(max(float(varied.var(ddof=0).sum()), 1e-300))


def trait_distances(traits: pd.DataFrame) -> Floats:
    """Return the Euclidean distances between units, shape (n_units, n_units)."""
    values = traits.to_numpy(dtype=float)
    squares = (values**2).sum(axis=1)
    return np.sqrt(np.maximum(squares[:, None] + squares - 2 * values @ values.T, 0.0))


def near_units(footprints: pd.DataFrame, unit: str, rings: int) -> pd.DataFrame:
    """Find units whose footprints come within some rings of hexagons of each other.

    Parameters
    ----------
    footprints : DataFrame
        ``unit`` and cell (int64): the hexagons a unit must have to itself, such as the one it stands in.
    unit : str
        Column.
    rings : int
        Two units are near where a cell of one lies at most this many rings from a cell of the other; 0: where they
        share a cell.

    Returns
    -------
    DataFrame
        ``unit`` and other: every near pair twice, once each way; ordered.

    Examples
    --------
    >>> from geomarket.hexes import points_to_cells
    >>> cells = points_to_cells([4.40, 4.41, 4.60], [51.2, 51.2, 51.2], 8)
    >>> near_units(pd.DataFrame({"store_id": ["a", "b", "c"], "cell": cells}), "store_id", 2).values.tolist()
    [['a', 'b'], ['b', 'a']]
    """
    mine = pd.DataFrame({"unit": footprints[unit], "cell": footprints["cell"]}).drop_duplicates()
    reach = mine
    if rings > 0:
        around = neighbours(np.unique(mine["cell"].to_numpy(dtype=np.int64)), rings)
        reach = pd.concat(
            [mine, mine.merge(around, on="cell").drop(columns="cell").rename(columns={"neighbour": "cell"})]
        )
    met = reach[["unit", "cell"]].merge(mine.rename(columns={"unit": "other"}), on="cell")
    met = met.loc[met["unit"] != met["other"], ["unit", "other"]].drop_duplicates()
    return met.sort_values(["unit", "other"], ignore_index=True).rename(columns={"unit": unit})


def match_units(
    distance: Floats, near: npt.NDArray[np.bool_], max_pairs: int | None = None
) -> tuple[npt.NDArray[np.int64], bool]:
    """Choose pairs so that as many units as can be are in one, their partners are alike, and no two are near.

    Every unit is in at most one pair; of two near units at most one is in any: then neither a pair's own units nor
    those of different pairs disturb each other, whichever way arms are drawn. A further pair is worth any distance.

    Parameters
    ----------
    distance : ndarray of shape (n_units, n_units)
        How unlike units are.
    near : ndarray of bool, shape (n_units, n_units)
        Units too near to each other; symmetric.
    max_pairs : int, optional
        Most pairs; the most alike are kept.

    Returns
    -------
    pairs : ndarray of int, shape (n_pairs, 2)
        Positions, the smaller first; ordered.
    optimal : bool
        Whether the choice is proven best, to 1%, among each unit's dozen most alike partners.

    Raises
    ------
    SolverError
        If the pairs break a rule, which would be a defect.

    Notes
    -----
    Optimal non-bipartite matching (Lu, Greevy, Xu and Beck, 2011) with apartness as further constraints, as an integer
    programme. Beyond 400 units, or where the search tree grows past its limit without a solution: greedy by distance,
    then exchanges of partners while they help.

    Examples
    --------
    >>> place = np.array([0.0, 10.0, 1.0, 11.0, 5.0])
    >>> apart = np.zeros((5, 5), dtype=bool)
    >>> match_units(abs(place[:, None] - place), apart)[0].tolist()
    [[0, 2], [1, 3]]
    """
    edges = _candidates(distance, near)
    if not len(edges):
        return np.empty((0, 2), dtype=np.int64), True
    pairs, optimal = None, False
    if len(distance) <= MOST_EXACT:
        pairs, optimal = _exact(edges, distance, near, max_pairs)
    if pairs is None:
        pairs = _exchanged(_greedy(edges, distance, near), distance, near)
        if max_pairs is not None:
            worst = np.argsort(distance[pairs[:, 0], pairs[:, 1]], kind="stable")
            pairs = pairs[worst[:max_pairs]]
    pairs = np.sort(pairs, axis=1)
    pairs = pairs[np.lexsort((pairs[:, 1], pairs[:, 0]))]
    chosen = pairs.ravel()
    if len(np.unique(chosen)) < len(chosen) or near[np.ix_(chosen, chosen)].any():
        raise SolverError(
            "pairs: a unit was used twice, or two near units were both chosen; please report it."
        )
    _log.info(
        "matching: %d pairs of %d units, %s", len(pairs), len(distance), "optimal" if optimal else "heuristic"
    )
    return pairs, optimal


def _candidates(distance: Floats, near: npt.NDArray[np.bool_]) -> npt.NDArray[np.int64]:
    free = np.where(near, np.inf, distance)
    np.fill_diagonal(free, np.inf)
    keep = min(CANDIDATES, len(free) - 1)
    if keep < 1:
        return np.empty((0, 2), dtype=np.int64)
    partner = np.argsort(free, axis=1, kind="stable")[:, :keep]
    first = np.repeat(np.arange(len(free)), keep)
    second = partner.ravel()
    usable = np.isfinite(free[first, second])
    edges = np.sort(np.column_stack([first, second])[usable], axis=1)
    return np.unique(edges, axis=0)


def _exact(
    edges: npt.NDArray[np.int64], distance: Floats, near: npt.NDArray[np.bool_], max_pairs: int | None
) -> tuple[npt.NDArray[np.int64] | None, bool]:
    n_edges = len(edges)
    length = distance[edges[:, 0], edges[:, 1]]
    worth = 1.01 * float(length.max()) + 1e-9
    column = np.arange(n_edges)
    incidence = sparse.csr_array(
        (np.ones(2 * n_edges), (edges.T.ravel(), np.concatenate([column, column]))), (len(distance), n_edges)
    )
    cliques = _cliques(near)
    members = sparse.csr_array(
        (
            np.ones(sum(map(len, cliques))),
            (
                np.repeat(np.arange(len(cliques)), [len(clique) for clique in cliques]),
                np.concatenate(cliques),
            ),
        ),
        (len(cliques), len(distance)),
    )
    rows = [members @ incidence]
    if max_pairs is not None:
        rows.append(sparse.csr_array(np.ones((1, n_edges))))
    matrix = sparse.vstack(rows, format="csr")
    limit = np.ones(matrix.shape[0])
    if max_pairs is not None:
        limit[-1] = max_pairs
    result = optimize.milp(
        (length - worth) / worth,
        constraints=optimize.LinearConstraint(matrix, -np.inf, limit),
        integrality=np.ones(n_edges),
        bounds=optimize.Bounds(0, 1),
        options={"node_limit": NODES, "mip_rel_gap": 1e-6},
    )
    if result.x is None:
        return None, False
    return edges[result.x > 0.5], bool(result.mip_gap <= GOOD_ENOUGH)


def _cliques(near: npt.NDArray[np.bool_]) -> list[npt.NDArray[np.int64]]:
    """Cover units and near pairs by sets of units all near to each other: of each set one unit at most is chosen.

    One constraint for a whole town bounds the programme far better than one for every two stores of it.
    """
    open_pairs = np.triu(near, 1)
    found: list[npt.NDArray[np.int64]] = [np.array([i]) for i in np.flatnonzero(~near.any(axis=1))]
    for a, b in zip(*np.nonzero(open_pairs)):
        if not open_pairs[a, b]:
            continue
        clique = [int(a), int(b)]
        common = near[a] & near[b]
        while common.any():
            # the candidate that leaves most pairs covered at once
            candidates = np.flatnonzero(common)
            inside = np.array(clique)
            gain = open_pairs[inside][:, candidates].sum(axis=0) + open_pairs[candidates][:, inside].sum(
                axis=1
            )
            new = int(candidates[np.argmax(gain)])
            clique.append(new)
            common &= near[new]
        found.append(np.array(sorted(clique)))
        open_pairs[np.ix_(found[-1], found[-1])] = False
    return found


def _greedy(
    edges: npt.NDArray[np.int64], distance: Floats, near: npt.NDArray[np.bool_]
) -> npt.NDArray[np.int64]:
    order = np.argsort(distance[edges[:, 0], edges[:, 1]], kind="stable")
    barred = np.zeros(len(distance), dtype=bool)
    pairs = []
    for a, b in edges[order]:
        if not (barred[a] or barred[b]):
            pairs.append((a, b))
            barred |= near[a] | near[b]
            barred[[a, b]] = True
    return np.array(pairs, dtype=np.int64).reshape(-1, 2)


def _exchanged(
    pairs: npt.NDArray[np.int64], distance: Floats, near: npt.NDArray[np.bool_]
) -> npt.NDArray[np.int64]:
    """Swap partners between two pairs while that brings the partners closer; the units chosen stay the same."""
    pairs = pairs.copy()
    for _ in range(20):
        changed = False
        for i in range(len(pairs)):
            a, b = pairs[i]
            c, d = pairs[:, 0], pairs[:, 1]
            now = distance[a, b] + distance[c, d]
            for other in (c, d):
                rest = np.where(other == c, d, c)
                gain = now - distance[a, other] - distance[b, rest]
                gain[i] = 0.0
                best = int(np.argmax(gain))
                if gain[best] > 1e-12:
                    pairs[i] = a, other[best]
                    pairs[best] = b, rest[best]
                    changed = True
                    break
        if not changed:
            break
    return pairs
