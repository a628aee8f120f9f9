"""What if a store opens, closes or changes: who gains, who loses, and that it adds up."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import expit

from geomarket.catchments.distances import distance_pairs, great_circle_km, minutes_from_km
from geomarket.catchments.huff import Huff
from geomarket.catchments.mapping import Catchments
from geomarket.errors import SettingsError, TableError
from geomarket.hexes.cells import cell_centres
from geomarket.results import Result

__all__ = ["WhatIf", "rank_sites", "what_if"]

DISTANCES = ("km", "minutes", "minutes_estimated")


@dataclass(frozen=True)
class WhatIf(Result):
    """Demand before and after a change of the stores.

    Attributes
    ----------
    table : DataFrame
        store_id, own (bool), role ("opened", "closed", "changed", "own", "competitor"), before, after, change:
        expected demand of every store, in ``unit``.
    cells : DataFrame
        cell, own_share_before, own_share_after, unserved_change (demand that goes to no store, after − before).
    balance : DataFrame
        flow ("opened and changed stores", "closed stores", "other own stores", "competitors", "no store"),
        change. The changes sum to 0: what one side gains another loses.
    unit : str
    notes : tuple of str
    """

    table: pd.DataFrame
    cells: pd.DataFrame
    balance: pd.DataFrame
    unit: str
    notes: tuple[str, ...] = ()

    @property
    def net_own(self) -> float:
        """Change of all own stores together, those opened, closed or changed included."""
        return float(self.table.loc[self.table["own"], "change"].sum())

    def summary(self) -> list[str]:
        """Return who gains and who loses."""
        moved = self.table[self.table["role"].isin(["opened", "closed", "changed"])]
        lines = [
            f"{row['store_id']} ({row['role']}): {row['before']:,.0f} → {row['after']:,.0f} {self.unit}."
            for _, row in moved.iterrows()
        ]
        flow = self.balance.set_index("flow")["change"]
        lines.append(
            f"Other own stores {flow['other own stores']:+,.0f}, competitors {flow['competitors']:+,.0f}, "
            f"no store {flow['no store']:+,.0f}; the chain as a whole {self.net_own:+,.0f} {self.unit}."
        )
        volume = float(moved["change"].sum())
        if volume and np.sign(flow["other own stores"]) == -np.sign(volume):
            lines.append(
                f"{-flow['other own stores'] / volume:.0%} of that comes from or goes to own stores."
            )
        return [*lines, *self.notes]

    def plot(self, ax: Any = None) -> Any:
        """Draw the balance as bars."""
        import matplotlib.pyplot as plt

        axes = plt.subplots(figsize=(6, 2.5))[1] if ax is None else ax
        axes.barh(self.balance["flow"][::-1], self.balance["change"][::-1])
        axes.axvline(0, color="0.3", linewidth=0.8)
        axes.set_xlabel(f"Change of demand ({self.unit})")
        return axes


def what_if(
    catchments: Catchments,
    open_stores: pd.DataFrame | None = None,
    close: Sequence[str] = (),
    change: pd.DataFrame | None = None,
    travel: pd.DataFrame | None = None,
) -> WhatIf:
    """Move demand as the model would if stores opened, closed or changed.

    Parameters
    ----------
    catchments : Catchments
        The fitted state of today.
    open_stores : DataFrame or None
        store_id, lon, lat, own (bool; True where the column is missing) and the model's attraction columns.
    close : sequence of str
        store_id to close, own or competitor.
    change : DataFrame or None
        store_id and the columns that change (``size_m2``, ``format``), one row per store.
    travel : DataFrame or None
        store_id, cell, minutes of the opened stores, where the model runs on minutes; otherwise their times are
        estimated from distance at the pace of the stores around.

    Returns
    -------
    WhatIf

    Raises
    ------
    TableError
        A store to close or change does not exist, or one to open already does.
    SettingsError
        Nothing is changed.

    Notes
    -----
    The choice set of a cell keeps its stores; an opened store joins it where it is nearer than the farthest of
    them. By independence of irrelevant alternatives it draws from each in proportion to its share, near or far,
    like it or unlike it: true cannibalisation of a similar neighbour is understated. Huff (1964).
    """
    if open_stores is None and not len(close) and change is None:
        raise SettingsError("what_if: name at least one store to open, close or change.")
    today, stores = catchments.table, catchments.stores
    _check_known(stores, list(close), "close")
    after_stores = _changed(stores, change)
    notes: list[str] = []
    if open_stores is not None:
        opened = _opened(catchments, open_stores)
        after_stores = pd.concat([after_stores, opened], ignore_index=True)
    pairs = today.loc[~today["store_id"].isin(close), ["cell", "store_id", *_distances(today)]]
    if open_stores is not None:
        pairs = pd.concat(
            [pairs, _new_pairs(today, opened, catchments.model.distance, travel)], ignore_index=True
        )
    market = catchments.cells.set_index("cell")["market"]
    after = catchments.model.predict(pairs, after_stores)
    after["demand"] = after["probability"] * after["cell"].map(market)
    after["own"] = after["store_id"].map(after_stores.set_index("store_id")["own"]).astype(bool)
    emptied = len(set(today["cell"]) - set(after["cell"]))
    if emptied:
        notes.append(f"{emptied:,} cells are left without a store in reach; their demand goes to no store.")
    changed = [] if change is None else change["store_id"].tolist()
    opened_ids = [] if open_stores is None else open_stores["store_id"].tolist()
    table = _table(catchments, after, after_stores, opened_ids, list(close), changed)
    cells = _cells(catchments, after, market)
    return WhatIf(table, cells, _balance(table, cells), catchments.unit, tuple(notes))


def rank_sites(catchments: Catchments, sites: pd.DataFrame) -> pd.DataFrame:
    """Score many candidate sites for one more own store, each as if it opened alone.

    Parameters
    ----------
    catchments : Catchments
        The fitted state of today.
    sites : DataFrame
        As ``open_stores`` of :func:`what_if`, one row per candidate.

    Returns
    -------
    DataFrame
        store_id, volume, from_own, from_competitors, from_no_store, net_own, in the order of net_own; demand in
        the catchments' unit.
    """
    _check_new(catchments.stores, sites)
    sites = sites.assign(own=True)
    model, market = catchments.model, catchments.cells.set_index("cell")["market"]
    sets = model.choice_sets(catchments.table, catchments.stores)
    # a store's utility less the log of its share is the cell's log-sum, the same whichever store is taken
    log_sum = (sets.utilities(model.beta_) - sets.log_probabilities(model.beta_))[sets.start[:-1]]
    size = np.nan_to_num(market.reindex(sets.cells).to_numpy(dtype=float))
    own = catchments.stores["own"].to_numpy(dtype=bool)[sets.store]
    share = sets.probabilities(model.beta_)
    own_share, store_share = sets.by_cell_sum(share * own), sets.by_cell_sum(share)
    reach = catchments.table.groupby("cell")["km"].max().reindex(sets.cells).to_numpy()
    lon, lat = cell_centres(sets.cells)
    n_store_terms = sets.by_store.shape[1]
    by_store = model.encoder_.transform(sites) @ model.beta_[:n_store_terms]
    rows = []
    site_lon, site_lat = sites["lon"].to_numpy(dtype=float), sites["lat"].to_numpy(dtype=float)
    for position, site in enumerate(sites["store_id"]):
        km = great_circle_km(lon, lat, site_lon[position], site_lat[position])
        km = np.maximum(km, catchments.table["km"].min())
        within = np.flatnonzero(km <= reach)
        pull = by_store[position] + _distance_utility(model, catchments.table, km[within])
        drawn = size[within] * expit(pull - log_sum[within])
        volume, from_own = float(drawn.sum()), float(drawn @ own_share[within])
        from_stores = float(drawn @ store_share[within])
        rows.append(
            {
                "store_id": site,
                "volume": volume,
                "from_own": from_own,
                "from_competitors": from_stores - from_own,
                # without an outside option nothing comes from there but rounding
                "from_no_store": volume - from_stores if np.isfinite(model.outside_) else 0.0,
                "net_own": volume - from_own,
            }
        )
    ranked = pd.DataFrame(rows)
    return ranked.sort_values(["net_own", "store_id"], ascending=[False, True], ignore_index=True)


def _distance_utility(model: Huff, pairs: pd.DataFrame, km: NDArray[np.float64]) -> NDArray[np.float64]:
    frame = pd.DataFrame({"km": km})
    if model.distance == "minutes":
        frame["minutes"] = minutes_from_km(frame["km"], pairs).clip(lower=pairs["minutes"].min())
    columns = model.distance_columns(frame)
    return columns @ model.beta_[len(model.beta_) - columns.shape[1] :]


def _distances(frame: pd.DataFrame) -> list[str]:
    return [column for column in DISTANCES if column in frame.columns]


def _check_known(stores: pd.DataFrame, ids: list[str], what: str) -> None:
    unknown = [i for i in ids if i not in set(stores["store_id"])]
    if unknown:
        raise TableError(
            f"{what}: {len(unknown)} of {len(ids)} store_id are not among the stores and competitors "
            f"({', '.join(unknown[:3])})."
        )


def _check_new(stores: pd.DataFrame, new: pd.DataFrame) -> None:
    missing = [c for c in ("store_id", "lon", "lat") if c not in new.columns]
    if missing:
        raise TableError(
            f"open_stores: column(s) {', '.join(missing)} missing; store_id, lon and lat are needed."
        )
    known = new["store_id"][new["store_id"].isin(stores["store_id"]) | new["store_id"].duplicated()]
    if len(known):
        raise TableError(
            f"open_stores: {len(known)} store_id are taken already ({', '.join(known.head(3))}); rename them."
        )


def _changed(stores: pd.DataFrame, change: pd.DataFrame | None) -> pd.DataFrame:
    if change is None:
        return stores
    _check_known(stores, change["store_id"].tolist(), "change")
    unknown = [c for c in change.columns if c not in stores.columns]
    if unknown:
        raise TableError(f"change: stores have no column {', '.join(unknown)}; name attributes of the model.")
    changed = stores.set_index("store_id")
    for column in change.columns.drop("store_id"):
        changed.loc[change["store_id"], column] = change[column].to_numpy()
    return changed.reset_index()[stores.columns]


def _opened(catchments: Catchments, new: pd.DataFrame) -> pd.DataFrame:
    _check_new(catchments.stores, new)
    opened = new.assign(own=new["own"].astype(bool) if "own" in new.columns else True)
    # coded once for its checks: joined to the other stores, a column left out would pass as unknown
    catchments.model.encoder_.transform(opened)
    return opened


def _new_pairs(
    today: pd.DataFrame, opened: pd.DataFrame, distance: str, travel: pd.DataFrame | None
) -> pd.DataFrame:
    reach = today.groupby("cell")["km"].max()
    lon, lat = cell_centres(reach.index.to_numpy())
    cells = pd.DataFrame({"cell": reach.index.to_numpy(), "lon": lon, "lat": lat})
    pairs = distance_pairs(cells, opened, k_nearest=len(opened), floor_km=float(today["km"].min()))
    pairs = pairs[pairs["km"] <= pairs["cell"].map(reach)].reset_index(drop=True)
    if distance != "minutes":
        return pairs
    floor = float(today["minutes"].min())
    estimated = minutes_from_km(pairs["km"], today)
    if travel is not None:
        known = pairs.merge(travel[["cell", "store_id", "minutes"]], on=["cell", "store_id"], how="left")[
            "minutes"
        ]
        pairs["minutes_estimated"] = known.isna().to_numpy()
        estimated = known.fillna(estimated)
    return pairs.assign(minutes=estimated.clip(lower=floor))


def _table(
    catchments: Catchments,
    after: pd.DataFrame,
    stores: pd.DataFrame,
    opened: Sequence[str],
    closed: Sequence[str],
    changed: Sequence[str],
) -> pd.DataFrame:
    table = stores[["store_id", "own"]].assign(own=stores["own"].astype(bool))
    role = np.where(table["own"], "own", "competitor").astype(object)
    for name, ids in (("opened", opened), ("closed", closed), ("changed", changed)):
        role[table["store_id"].isin(ids).to_numpy()] = name
    table["role"] = role.astype(str)
    for name, frame in (("before", catchments.table), ("after", after)):
        table[name] = table["store_id"].map(frame.groupby("store_id")["demand"].sum()).fillna(0.0)
    table["change"] = table["after"] - table["before"]
    return table.reset_index(drop=True)


def _cells(catchments: Catchments, after: pd.DataFrame, market: pd.Series) -> pd.DataFrame:
    cells = catchments.cells[["cell"]].copy()
    for name, frame in (("before", catchments.table), ("after", after)):
        own = frame[frame["own"]].groupby("cell")["probability"].sum()
        cells[f"own_share_{name}"] = cells["cell"].map(own).fillna(0.0)
    served = {
        name: cells["cell"].map(frame.groupby("cell")["probability"].sum()).fillna(0.0)
        for name, frame in (("before", catchments.table), ("after", after))
    }
    cells["unserved_change"] = (served["before"] - served["after"]) * cells["cell"].map(market)
    return cells


def _balance(table: pd.DataFrame, cells: pd.DataFrame) -> pd.DataFrame:
    by_role = table.groupby("role")["change"].sum()
    flows = {
        "opened and changed stores": by_role.get("opened", 0.0) + by_role.get("changed", 0.0),
        "closed stores": by_role.get("closed", 0.0),
        "other own stores": by_role.get("own", 0.0),
        "competitors": by_role.get("competitor", 0.0),
        "no store": float(cells["unserved_change"].sum()),
    }
    return pd.DataFrame({"flow": list(flows), "change": [float(v) for v in flows.values()]})
