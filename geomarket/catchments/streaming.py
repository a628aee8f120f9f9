"""A whole country at once: a fitted model evaluated over many cells without holding all pairs in memory."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from geomarket.catchments.choice import ChoiceSets
from geomarket.catchments.distances import nearest_stores
from geomarket.catchments.huff import Huff
from geomarket.errors import SettingsError, TableError

__all__ = ["Evaluation", "evaluate"]


@dataclass(frozen=True)
class Evaluation:
    """Sums over the pairs of a large problem.

    Attributes
    ----------
    stores : DataFrame
        store_id, volume (market drawn, in the market's unit).
    cells : DataFrame
        cell, own_share, nearest_km.
    """

    stores: pd.DataFrame
    cells: pd.DataFrame


def evaluate(
    model: Huff,
    cells: pd.DataFrame,
    stores: pd.DataFrame,
    market: pd.Series | None = None,
    k_nearest: int = 30,
    floor_km: float = 0.5,
    chunk_cells: int = 50_000,
) -> Evaluation:
    """Evaluate a fitted model over many cells in pieces.

    Parameters
    ----------
    model : Huff
        Fitted, on distances in km; an outside option is kept as fitted.
    cells : DataFrame
        cell, lon, lat, and population where ``market`` is not given.
    stores : DataFrame
        store_id, lon, lat, the attraction columns, and own (bool; all own where the column is missing).
    market : Series or None
        Market size by cell; population by default. Missing counts as empty.
    k_nearest, floor_km
        As in :func:`distance_pairs`.
    chunk_cells : int
        Cells held at a time: memory is about 100 bytes × chunk_cells × k_nearest.

    Returns
    -------
    Evaluation

    Raises
    ------
    SettingsError
        The model runs on minutes.

    Examples
    --------
    >>> cells = pd.DataFrame({"cell": [1, 2], "lon": [0.0, 0.1], "lat": [0.0, 0.0], "population": [10.0, 30.0]})
    >>> stores = pd.DataFrame({"store_id": ["A", "B"], "lon": [0.0, 0.12], "lat": [0.0, 0.0]})
    >>> result = evaluate(Huff().fix(stores, {"log_km": -2.0}), cells, stores)
    >>> float(result.stores["volume"].sum())
    40.0
    """
    if model.distance != "km":
        raise SettingsError(
            "evaluate: the model runs on minutes; a travel table is not read in pieces. Fit it on km."
        )
    if market is None and "population" not in cells.columns:
        raise TableError("cells: column population is missing; give it, or market.")
    values = cells.set_index("cell")["population"] if market is None else market.reindex(cells["cell"])
    size = np.nan_to_num(values.to_numpy(dtype=float))
    ordered = stores.sort_values("store_id", kind="stable").reset_index(drop=True)
    by_store = model.encoder_.transform(ordered)
    own = (
        ordered["own"].to_numpy(dtype=bool) if "own" in ordered.columns else np.ones(len(ordered), dtype=bool)
    )
    volume = np.zeros(len(ordered))
    own_share, nearest = np.empty(len(cells)), np.empty(len(cells))
    lon, lat = cells["lon"].to_numpy(dtype=float), cells["lat"].to_numpy(dtype=float)
    ids = cells["cell"].to_numpy(np.int64)
    for begin in range(0, len(cells), chunk_cells):
        part = slice(begin, begin + chunk_cells)
        index, km = nearest_stores(lon[part], lat[part], ordered["lon"], ordered["lat"], k_nearest)
        sets = _chunk_sets(model, ids[part], index, np.maximum(km, floor_km), by_store)
        share = sets.probabilities(model.beta_)
        volume += sets.by_store_sum(sets.per_pair(size[part]) * share)
        own_share[part] = sets.by_cell_sum(share * own[sets.store])
        nearest[part] = km[:, 0]
    return Evaluation(
        stores=pd.DataFrame({"store_id": ordered["store_id"], "volume": volume}),
        cells=pd.DataFrame({"cell": ids, "own_share": own_share, "nearest_km": nearest}),
    )


def _chunk_sets(
    model: Huff,
    cells: NDArray[np.int64],
    index: NDArray[np.intp],
    km: NDArray[np.float64],
    by_store: NDArray[np.float64],
) -> ChoiceSets:
    n, k = index.shape
    return ChoiceSets(
        cells=cells,
        start=np.arange(0, n * k + 1, k, dtype=np.intp),
        store=index.ravel(),
        by_store=by_store,
        by_pair=model.distance_columns(pd.DataFrame({"km": km.ravel()})),
        order=np.arange(n * k, dtype=np.intp),
        outside=model.outside_,
    )
