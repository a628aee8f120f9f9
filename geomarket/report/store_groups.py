"""How the store clusters came about: why this many, who was moved by hand, who moved since they were frozen."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from geomarket.report.names import natural_key
from geomarket.report.numbers import count, money_short
from geomarket.report.sheet_types import Field, Sheet
from geomarket.report.tables import Table, frame_table
from geomarket.store_clusters import clustering_version

__all__ = ["store_group_sheets", "store_groups_section"]

_CHANGES = {"moved": "moved", "opened": "new store", "closed": "no longer planned"}


def store_groups_section(plan: Any) -> dict[str, Any] | None:
    """Return reason and evidence of the number of clusters, overrides and moves; None where nothing is known."""
    evidence = getattr(plan.store_clusters, "evidence", None)
    if evidence is None:
        return None
    moves = getattr(plan, "cluster_moves", None)
    return {
        "reason": evidence.reason,
        "version": clustering_version(plan.store_clusters.labels),
        "numbers": _numbers(plan, evidence),
        "overrides": _overrides(plan),
        "moves": None if moves is None else _moves(plan, moves),
        "moved": "" if moves is None else moves.summary()[0],
        "kept": bool(plan.settings.store_clusters.frozen and not plan.settings.store_clusters.refresh),
    }


def store_group_sheets(plan: Any) -> list[Sheet]:
    """Return the sheet of stores that moved against the frozen clustering, if there is one."""
    moves = getattr(plan, "cluster_moves", None)
    if moves is None:
        return []
    frame = moves.table.assign(name=_named(plan, moves.table["store_id"]))
    fields = [
        Field("store_id", "Store", "id", "Id of the store."),
        Field("name", "Name", "text", "Name of the store."),
        Field("before", "Frozen cluster", "id", "Its cluster in the frozen clustering."),
        Field(
            "after_matched",
            "Made anew",
            "id",
            "Its cluster made anew, by the code of the cluster it continues.",
        ),
        Field("change", "Change", "text", "stayed, moved, opened or closed."),
    ]
    return [
        Sheet("Cluster moves", f"Frozen store clusters against new ones: {moves.summary()[0]}", frame, fields)
    ]


def _numbers(plan: Any, evidence: Any) -> Table:
    """Every number of clusters: how well it comes back, and what it nets."""
    net = plan.frontier.table.set_index("n_clusters")["net"]
    shown = evidence.table.assign(net=evidence.table["n_clusters"].map(net))
    offered = shown["offered"] if "offered" in shown else pd.Series(True, index=shown.index)
    taken = len(plan.store_clusters.clusters)
    shown["note"] = np.select(
        [shown["n_clusters"] == taken, ~offered.astype(bool)], ["taken", "not stable enough"], "weighed"
    )
    currency = plan.market.currency

    def share(value: Any) -> str:
        return "" if pd.isna(value) else f"{value:.2f}"

    return frame_table(
        shown,
        "How many clusters: stability when stores are resampled (1 is the same again), and net gain a year",
        {
            "n_clusters": ("Clusters", "number", count),
            "bootstrap_ari": ("Stability", "number", share),
            "smallest": ("Stores in the smallest", "number", count),
            "net": (
                "Net gain",
                "number",
                lambda value: "" if pd.isna(value) else money_short(value, currency),
            ),
            "note": ("", "text", None),
        },
    )


def _named(plan: Any, stores: pd.Series) -> pd.Series:
    names = plan.market.stores.drop_duplicates("store_id").set_index("store_id")["name"].astype("str")
    return stores.map(names).fillna(stores)


def _overrides(plan: Any) -> Table | None:
    table = plan.store_clusters.table
    mine = table[table["reason"].astype("str").str.startswith("planner: ")]
    if mine.empty:
        return None
    shown = mine.assign(
        store=_named(plan, mine["store_id"]), reason=mine["reason"].str.removeprefix("planner: ")
    )
    return frame_table(
        shown.sort_values("store_id"),
        "Stores put into their cluster by the planner",
        {
            "store": ("Store", "text", None),
            "store_cluster": ("Cluster", "text", None),
            "reason": ("Reason", "wide", None),
        },
    )


def _moves(plan: Any, moves: Any) -> Table | None:
    table = moves.table[moves.table["change"] != "stayed"]
    if table.empty:
        return None
    shown = table.assign(
        store=_named(plan, table["store_id"]),
        change=table["change"].map(_CHANGES),
        before=table["before"].fillna(""),
        after=table["after"].fillna(""),
    ).sort_values(["after", "store_id"], key=lambda values: values.map(natural_key))
    return frame_table(
        shown,
        "Stores that change cluster when the clusters are made anew",
        {
            "store": ("Store", "text", None),
            "before": ("Frozen cluster", "text", None),
            "after": ("Made anew", "text", None),
            "change": ("Change", "text", None),
        },
        limit=int(plan.settings.report.max_changes),
        more="in the workbook",
    )
