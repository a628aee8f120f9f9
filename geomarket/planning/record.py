"""What is recorded of a run: how it was made, and what it means for each store."""

from __future__ import annotations

import dataclasses
import platform
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import pandas as pd

from geomarket.catchments import Catchments
from geomarket.hexes import Hexes, points_to_cells
from geomarket.market import Market
from geomarket.neighbourhoods import Neighbourhoods
from geomarket.planning.plan import Plan
from geomarket.planning.trade import Trade
from geomarket.store_clusters import clustering_version

__all__ = ["manifest_of", "store_table"]

PACKAGES = (
    "numpy",
    "scipy",
    "pandas",
    "geopandas",
    "shapely",
    "h3",
    "h3ronpy",
    "scikit-learn",
    "statsmodels",
    "duckdb",
    "ibis-framework",
    "highspy",
    "numba",
)


def store_table(
    trade: Trade,
    hexes: Hexes,
    neighbourhoods: Neighbourhoods,
    catchments: Catchments,
    clusters: pd.DataFrame,
    changes: pd.DataFrame,
    market: Market,
) -> pd.DataFrame:
    """Return one row per planned store: place, cluster, yearly revenue, catchment, numbers of changes."""
    kept = ["store_id", "name", "lon", "lat", "chain", "format", "size_m2"]
    stores = trade.stores[kept].copy()
    stores["cell"] = points_to_cells(stores["lon"], stores["lat"], hexes.resolution)
    types = neighbourhoods.table.set_index("cell")["neighbourhood"]
    stores["neighbourhood"] = stores["cell"].map(types)
    named = clusters.rename(columns={"name": "cluster_name"})
    stores = stores.merge(named[["store_id", "store_cluster", "cluster_name", "medoid"]], on="store_id")
    years = len(trade.periods) / market.periods_per_year
    revenue = trade.pairs.groupby("store_id")["revenue"].sum() / years
    stores["revenue_year"] = stores["store_id"].map(revenue)
    own = catchments.table[catchments.table["own"]]
    stores["catchment_demand"] = stores["store_id"].map(own.groupby("store_id")["demand"].sum())
    counts = changes.pivot_table(index="store_id", columns="action", values="sku", aggfunc="count")
    for action in ("list", "delist", "keep"):
        column = counts[action] if action in counts else pd.Series(dtype=float)
        stores[f"n_{action}"] = stores["store_id"].map(column).fillna(0).astype(int)
    return stores.sort_values("store_id", ignore_index=True)


def manifest_of(plan: Plan, trade: Trade) -> dict[str, Any]:
    """Return inputs, settings, versions, counts and the verdict: nothing that differs from run to run."""
    market = plan.market
    rows = {
        name: len(frame)
        for name in (
            "stores",
            "competitors",
            "sites",
            "products",
            "store_totals",
            "customers",
            "promotions",
            "points",
            "travel",
        )
        if (frame := getattr(market, name)) is not None
    }
    rows["sales"] = int(market.sales.count().execute())
    if market.baskets is not None:
        rows["baskets"] = int(market.baskets.count().execute())
    return {
        "geomarket": version("geomarket"),
        "python": platform.python_version(),
        "versions": _versions(PACKAGES),
        "market": market.name,
        "simulated": market.simulated,
        "seed": plan.settings.plan.seed,
        "settings": plan.settings.resolved(),
        "inputs": market.inputs,
        "input_rows": rows,
        "people": _people_counted(plan),
        "areas": {layer.name: len(layer.frame) for layer in market.areas},
        "window": [str(trade.periods[0]), str(trade.periods[-1])],
        "resolution": plan.hexes.resolution,
        "store_clusters_version": clustering_version(plan.store_clusters.labels),
        "quarantined_rows": len(market.quarantine),
        "skipped": plan.skipped,
        "failures": [dataclasses.asdict(failure) for failure in plan.failures],
        "warnings": list(plan.warnings),
        "verdict": plan.frontier.verdict.sentence,
        "experiment": None if plan.experiment is None else plan.experiment.manifest(),
        "solver": plan.ranges.solver.drop(columns="seconds").to_dict("records"),
    }


def _people_counted(plan: Plan) -> dict[str, int | None]:
    """Return how many customers the published counts add up to; None where a number is hidden."""
    if plan.customers is None or plan.market.customers is None:
        return {}
    return {
        "customers": len(plan.market.customers),
        "unplaced": plan.customers.unplaced,
        "outside": plan.customers.outside,
        "unplaced_heavy": plan.customers.heavy_elsewhere[0],
        "outside_heavy": plan.customers.heavy_elsewhere[1],
        **({"with_baskets": plan.people.with_baskets} if plan.people is not None else {}),
    }


def _versions(packages: Iterable[str]) -> dict[str, str]:
    found = {}
    for package in packages:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found
