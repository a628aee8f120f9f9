"""How far custom comes from, and how much two stores live on the same people."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy import sparse

from geomarket.errors import SettingsError, TableError

__all__ = ["distance_decay", "store_overlap", "store_reach"]


def distance_decay(
    demand: pd.DataFrame,
    value: str = "demand",
    distance: str = "km",
    edges: Sequence[float] = (0, 1, 2, 3, 5, 8, 12, 20, 30, 50),
    market: pd.Series | None = None,
) -> pd.DataFrame:
    """Split custom by distance: the decay curve, observed or modelled.

    Parameters
    ----------
    demand : DataFrame
        cell, store_id, ``value``, ``distance``: every pair in reach, those without custom too if ``market`` is
        given (they are people who could have come).
    value, distance : str
        Columns of ``demand``.
    edges : sequence of float
        Lower edges of the bands, ascending; the last band is open.
    market : Series or None
        Market size by cell (its index): adds how much of it is won at each distance.

    Returns
    -------
    DataFrame
        from, to (NaN for the last), value, share, cumulative, pairs, and with ``market`` also market (of the cells in
        the band, once per store) and penetration (value over market). Where a band has no pairs, penetration is NaN.

    Examples
    --------
    >>> demand = pd.DataFrame({"cell": [1, 2, 3], "store_id": "A", "demand": [6.0, 3.0, 1.0], "km": [0.5, 1.5, 9.0]})
    >>> distance_decay(demand, edges=(0, 1, 5))[["from", "share"]].values.tolist()
    [[0.0, 0.6], [1.0, 0.3], [5.0, 0.1]]
    """
    lower = np.asarray(edges, dtype=float)
    if not len(lower) or (np.diff(lower) <= 0).any() or lower[0] < 0:
        raise SettingsError(f"edges = {list(edges)}: ascending distances from 0 are expected.")
    _require(demand, ["cell", "store_id", value, distance])
    band = np.searchsorted(lower, demand[distance].to_numpy(dtype=float), side="right") - 1
    n = len(lower)
    outside = band < 0
    total = np.bincount(band[~outside], weights=demand[value].to_numpy(dtype=float)[~outside], minlength=n)
    out = pd.DataFrame({"from": lower, "to": np.append(lower[1:], np.nan), "value": total})
    out["share"] = out["value"] / demand[value].sum()
    out["cumulative"] = out["share"].cumsum()
    out["pairs"] = np.bincount(band[~outside], minlength=n)
    if market is not None:
        size = demand["cell"].map(market).fillna(0.0).to_numpy(dtype=float)
        out["market"] = np.bincount(band[~outside], weights=size[~outside], minlength=n)
        out["penetration"] = out["value"] / out["market"].where(out["market"] > 0)
    return out


def store_reach(
    demand: pd.DataFrame,
    value: str = "demand",
    distance: str = "km",
    shares: Sequence[float] = (0.5, 0.7, 0.9),
) -> pd.DataFrame:
    """Find the distance within which each store's nearest 50, 70 and 90% of custom comes.

    Parameters
    ----------
    demand : DataFrame
        cell, store_id, ``value``, ``distance``.
    value, distance : str
        Columns of ``demand``.
    shares : sequence of float
        Shares of a store's custom, above 0 and up to 1.

    Returns
    -------
    DataFrame
        store_id, share, and ``distance``: the smallest distance that holds that share; stores without custom are
        left out.

    Examples
    --------
    >>> demand = pd.DataFrame({"cell": [1, 2], "store_id": "A", "demand": [6.0, 4.0], "km": [0.5, 7.0]})
    >>> store_reach(demand, shares=(0.5, 0.9))["km"].tolist()
    [0.5, 7.0]
    """
    if any(not 0 < share <= 1 for share in shares):
        raise SettingsError(f"shares = {list(shares)}: values above 0 and up to 1 are expected.")
    _require(demand, ["cell", "store_id", value, distance])
    held = demand[demand[value] > 0].sort_values(["store_id", distance, "cell"], kind="stable")
    by_store = held.groupby("store_id", sort=False)[value]
    held = held.assign(_part=by_store.cumsum() / by_store.transform("sum"))
    parts = []
    for share in shares:
        reached = held[held["_part"] >= share - 1e-12].groupby("store_id")[distance].min()
        parts.append(reached.rename_axis("store_id").reset_index().assign(share=share))
    out = pd.concat(parts, ignore_index=True)[["store_id", "share", distance]]
    return out.sort_values(["store_id", "share"], ignore_index=True)


def store_overlap(demand: pd.DataFrame, value: str = "demand", min_overlap: float = 0.01) -> pd.DataFrame:
    """Measure how much of two stores' custom comes from the same places.

    Parameters
    ----------
    demand : DataFrame
        cell, store_id, ``value`` (customers, trips or money; modelled or observed).
    value : str
        Column of ``demand``.
    min_overlap : float
        Pairs of stores below this are left out.

    Returns
    -------
    DataFrame
        store_id, other, overlap, shared; one row each way, strongest first. overlap: the sum over cells of the smaller
        of the two stores' shares: 0 no cell in common, 1 the same catchment. shared: the share of ``store_id``'s custom
        from cells ``other`` serves too (near 1 for modelled demand, which reaches every cell a little).

    Notes
    -----
    The overlap coefficient of two distributions (Schoener 1970).

    Examples
    --------
    >>> demand = pd.DataFrame({"cell": [1, 2, 2, 3], "store_id": list("AABB"), "demand": [1.0, 1.0, 1.0, 3.0]})
    >>> store_overlap(demand)[["store_id", "other", "overlap"]].values.tolist()
    [['A', 'B', 0.25], ['B', 'A', 0.25]]
    """
    _require(demand, ["cell", "store_id", value])
    held = demand[demand[value] > 0]
    store, ids = pd.factorize(held["store_id"], sort=True)
    cell, cells = pd.factorize(held["cell"], sort=True)
    matrix = sparse.csr_array(
        (held[value].to_numpy(dtype=float), (store, cell)), shape=(len(ids), len(cells))
    )
    total = matrix.sum(axis=1)
    share = sparse.csr_array(matrix.multiply(1 / total[:, None]))
    columns = sparse.csc_array(share)
    rows = []
    for a in range(len(ids)):
        own = share[[a]]
        near = columns[:, own.indices]
        mine = np.repeat(own.data, np.diff(near.indptr))
        overlap = np.bincount(near.indices, weights=np.minimum(near.data, mine), minlength=len(ids))
        shared = np.bincount(near.indices, weights=mine, minlength=len(ids))
        for b in np.flatnonzero(overlap >= min_overlap).tolist():
            if b != a:
                rows.append((ids[a], ids[b], float(overlap[b]), float(shared[b])))
    out = pd.DataFrame(rows, columns=["store_id", "other", "overlap", "shared"])
    return out.sort_values(["overlap", "store_id", "other"], ascending=[False, True, True], ignore_index=True)


def _require(demand: pd.DataFrame, columns: Sequence[str]) -> None:
    missing = [c for c in columns if c not in demand.columns]
    if missing:
        raise TableError(f"demand: column(s) {', '.join(missing)} missing; {', '.join(columns)} are needed.")
    if not len(demand):
        raise TableError("demand: no rows; give the pairs of at least one store.")
