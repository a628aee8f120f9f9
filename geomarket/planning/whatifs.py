"""What the planner asks of the catchments: stores that might open, close or change, and sites to choose among."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from geomarket.catchments import Catchments, WhatIf, rank_sites, what_if
from geomarket.errors import SettingsError, SolverError, TableError
from geomarket.market import Market, PlanSettings
from geomarket.market.stage_settings import OpenStore, WhatIfSettings
from geomarket.results import Result

__all__ = ["WhatIfs", "find_what_ifs"]

FLOWS = ("volume", "closed", "other_own", "competitors", "no_store")
TOLERANCE = 1e-9
"""Of the market: what one side gains and the others lose may differ by rounding only."""


@dataclass(frozen=True)
class WhatIfs(Result):
    """The what-ifs of a plan, and candidate sites ranked.

    Attributes
    ----------
    table : DataFrame
        what_if, opened, closed_stores, resized (names, in words), and changes of demand in ``unit``: volume (own
        stores opened and changed), closed (own stores closed), other_own (own stores besides: cannibalisation where
        negative), competitors (those that open or close too), no_store, net_own (all own stores together: the first
        three), imbalance (the sum of all, 0 but for rounding).
    stores : DataFrame
        what_if, store_id, name, own, role, before, after, change: every store a what-if moves.
    sites : DataFrame
        store_id, name, volume, from_own, from_competitors, from_no_store, net_own, best first; empty where no
        sites were given.
    results : dict of str to WhatIf
        Each what-if in full.
    unit : str
    notes : tuple of str
    """

    table: pd.DataFrame
    stores: pd.DataFrame
    sites: pd.DataFrame
    results: dict[str, WhatIf]
    unit: str
    notes: tuple[str, ...] = ()

    def summary(self) -> list[str]:
        """Return one sentence for each what-if and one for the best site."""
        lines = [
            f"{row['what_if']}: the chain {row['net_own']:+,.0f} {self.unit}; other own stores "
            f"{row['other_own']:+,.0f}, competitors {row['competitors']:+,.0f}."
            for row in self.table.to_dict("records")
        ]
        if len(self.sites):
            best = self.sites.iloc[0]
            lines.append(
                f"Of {len(self.sites)} sites {best['name']} adds most to the chain: {best['net_own']:+,.0f} "
                f"{self.unit} ({best['volume']:,.0f} in the store, {best['from_own']:,.0f} of it from own stores)."
            )
        return [*lines, *self.notes]

    def plot(self, ax: Any = None) -> Any:
        """Draw what each what-if changes for the chain as a whole."""
        import matplotlib.pyplot as plt

        axes = plt.subplots(figsize=(6, 0.5 * len(self.table) + 1))[1] if ax is None else ax
        axes.barh(self.table["what_if"][::-1], self.table["net_own"][::-1])
        axes.axvline(0, color="0.3", linewidth=0.8)
        axes.set_xlabel(f"Change of the chain's demand ({self.unit})")
        return axes


def find_what_ifs(
    catchments: Catchments,
    market: Market,
    settings: PlanSettings,
    travel: pd.DataFrame | None = None,
) -> WhatIfs | None:
    """Work out every what-if of the settings and rank the market's sites.

    Parameters
    ----------
    catchments : Catchments
        The fitted state of today.
    market : Market
        ``sites`` are ranked, where given.
    settings : PlanSettings
        ``catchments.what_if``.
    travel : DataFrame, optional
        Travel times of the stores a what-if opens, by their name as store_id.

    Returns
    -------
    WhatIfs or None
        None where neither a what-if nor a site was given.

    Raises
    ------
    SettingsError
        If a what-if names an unknown store or lacks what the catchment model knows stores by.
    SolverError
        If gains and losses do not add up.
    """
    cases = settings.catchments.what_if
    sites = market.sites if market.sites is not None and len(market.sites) else None
    if not cases and sites is None:
        return None
    results = {case.name: _evaluate(case, catchments, travel) for case in cases}
    names = catchments.stores.set_index("store_id")["name"]
    rows, stores = [], []
    total = float(catchments.cells["market"].sum())
    for case in cases:
        result = results[case.name]
        rows.append(_row(case, result, names, total))
        moved = result.table[result.table["change"].abs() > TOLERANCE * total]
        called: dict[Any, Any] = names.to_dict()
        called |= {_new_id(store): store.name for store in case.open}
        moved = moved.assign(name=moved["store_id"].map(called), what_if=case.name)
        stores.append(moved.sort_values(["change", "store_id"], ascending=[False, True]))
    columns = ["what_if", "store_id", "name", "own", "role", "before", "after", "change"]
    return WhatIfs(
        table=pd.DataFrame(
            rows,
            columns=[
                *("what_if", "opened", "closed_stores", "resized"),
                *FLOWS,
                *("net_own", "imbalance"),
            ],
        ),
        stores=pd.concat(stores, ignore_index=True)[columns] if stores else pd.DataFrame(columns=columns),
        sites=_ranked(catchments, sites),
        results=results,
        unit=catchments.unit,
        notes=tuple(f"{name}: {note}" for name, result in results.items() for note in result.notes),
    )


def _evaluate(case: WhatIfSettings, catchments: Catchments, travel: pd.DataFrame | None) -> WhatIf:
    known = set(catchments.stores["store_id"])
    twice = sorted(set(case.close) & {store.store_id for store in case.resize})
    if twice:
        raise SettingsError(f"[[catchments.what_if]] {case.name}: {twice[0]} is both closed and resized.")
    lost = [store for store in [*case.close, *(s.store_id for s in case.resize)] if store not in known]
    if lost:
        raise SettingsError(
            f"[[catchments.what_if]] {case.name}: no store or competitor has the store_id {', '.join(lost[:3])}."
        )
    try:
        return what_if(
            catchments,
            _opened(case.open, catchments) if case.open else None,
            case.close,
            _changed(case, catchments) if case.resize else None,
            travel,
        )
    except TableError as reason:
        raise SettingsError(f"[[catchments.what_if]] {case.name}: {reason}") from reason


def _new_id(store: OpenStore) -> str:
    return f"new: {store.name}"


def _opened(stores: Sequence[OpenStore], catchments: Catchments) -> pd.DataFrame:
    """One row per opened store, its chain the commonest of its side where it is not given."""
    usual = {
        own: side["chain"].mode().get(0) if "chain" in side else None
        for own in (True, False)
        for side in [catchments.stores[catchments.stores["own"].astype(bool) == own]]
    }
    rows = []
    for store in stores:
        row: dict[str, Any] = {
            "store_id": _new_id(store),
            "lon": store.lon,
            "lat": store.lat,
            "own": store.own,
        }
        given = {"size_m2": store.size_m2, "format": store.format, "chain": store.chain or usual[store.own]}
        rows.append(
            row | {key: value for key, value in given.items() if value is not None} | store.attributes
        )
    return pd.DataFrame(rows)


def _changed(case: WhatIfSettings, catchments: Catchments) -> pd.DataFrame:
    """One row per changed store with every column any of them changes; the others keep their values."""
    rows = []
    for store in case.resize:
        given = {"size_m2": store.size_m2, "format": store.format}
        new = {key: value for key, value in given.items() if value is not None} | store.attributes
        if not new:
            raise SettingsError(
                f"[[catchments.what_if]] {case.name}: {store.store_id} is to be resized, but nothing about it changes; "
                "give size_m2 or format."
            )
        rows.append({"store_id": store.store_id, **new})
    frame = pd.DataFrame(rows)
    unknown = [str(column) for column in frame if column not in catchments.stores]
    if unknown:
        raise SettingsError(
            f"[[catchments.what_if]] {case.name}: stores have no column {', '.join(unknown)}."
        )
    today = catchments.stores.set_index("store_id").loc[frame["store_id"]].reset_index()
    return frame.fillna(today[frame.columns])


def _row(case: WhatIfSettings, result: WhatIf, names: pd.Series, market: float) -> dict[str, Any]:
    moved, own = result.table["change"], result.table["own"].astype(bool)
    role = result.table["role"]
    parts = {
        "volume": moved[own & role.isin(["opened", "changed"])],
        "closed": moved[own & (role == "closed")],
        "other_own": moved[own & (role == "own")],
        "competitors": moved[~own],
        "no_store": result.cells["unserved_change"],
    }
    flow = {name: float(parts[name].sum()) for name in FLOWS}
    imbalance = sum(flow.values())
    if abs(imbalance) > TOLERANCE * market:
        raise SolverError(
            f"[[catchments.what_if]] {case.name}: gains and losses differ by {imbalance:,.6f} of a market of "
            f"{market:,.0f}; the figures are not used."
        )
    return {
        "what_if": case.name,
        "opened": ", ".join(store.name for store in case.open),
        "closed_stores": ", ".join(str(names.get(store, store)) for store in case.close),
        "resized": ", ".join(str(names.get(store.store_id, store.store_id)) for store in case.resize),
        **flow,
        "net_own": flow["volume"] + flow["closed"] + flow["other_own"],
        "imbalance": imbalance,
    }


def _ranked(catchments: Catchments, sites: pd.DataFrame | None) -> pd.DataFrame:
    columns = ["volume", "from_own", "from_competitors", "from_no_store", "net_own"]
    if sites is None:
        return pd.DataFrame(columns=["store_id", "name", *columns])
    ranked = rank_sites(catchments, sites)
    ranked.insert(1, "name", ranked["store_id"].map(sites.set_index("store_id")["name"]))
    return ranked[["store_id", "name", *columns]]
