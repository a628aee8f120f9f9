"""Store clusters of a plan: how stores are described, which numbers are weighed, and who ends up where."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pandas as pd

from geomarket.catchments import Catchments
from geomarket.errors import GeomarketError, SettingsError
from geomarket.frontier import Frontier
from geomarket.hexes import Hexes
from geomarket.market import ClusterFiles, PlanSettings
from geomarket.neighbourhoods import Neighbourhoods
from geomarket.planning.trade import Trade
from geomarket.store_clusters import (
    DEFAULT_WEIGHTS,
    ClusterMoves,
    ClusterRange,
    StoreClustering,
    StoreFeatures,
    category_mix,
    cluster_range,
    cluster_stores,
    clustering_version,
    compare_clusters,
    continued_codes,
    describe_clusters,
    freeze_clusters,
    frozen_labels,
    override_clusters,
    store_features,
    thaw_clusters,
)

__all__ = [
    "CLUSTERS_FILE",
    "SettledClusters",
    "block_weights",
    "clusters_text",
    "describe_stores",
    "offered_clusterings",
    "settle_clusters",
    "try_clusterings",
]

CLUSTERS_FILE = "store_clusters.json"
"""Name of the file a plan's clustering is frozen in."""

_NOT_FEATURES = {
    "store_id": "it tells every store from every other",
    "name": "it tells every store from every other",
    "lon": "stores are described by who lives around them, not by where they are",
    "lat": "stores are described by who lives around them, not by where they are",
    "format": "it has a weight of its own, format_weight",
    "size_m2": "it has a weight of its own, size_weight",
}


@dataclass(frozen=True)
class SettledClusters:
    """The clusters ranges are planned for.

    Attributes
    ----------
    clustering : StoreClustering
        With the planner's overrides in it; ``evidence`` has every number tried, and which were offered.
    moves : ClusterMoves or None
        Who moved against the frozen clustering, or would if it were made anew; None where none was given.
    notes : tuple of str
    """

    clustering: StoreClustering
    moves: ClusterMoves | None
    notes: tuple[str, ...]


def describe_stores(
    trade: Trade,
    hexes: Hexes,
    catchments: Catchments | None,
    neighbourhoods: Neighbourhoods,
    settings: PlanSettings,
) -> StoreFeatures:
    """Describe every store by who lives around it, what it sells, its size, its format, and what the settings add.

    Raises
    ------
    SettingsError
        If ``[store_clusters] features`` names something that is neither a column of stores nor a rate or mean of the
        area layers, or that must not be used: revenue, protected traits.
    """
    chosen = settings.store_clusters
    finest = trade.products["subcategory"].fillna(trade.products["category"])
    mix = category_mix(trade.pairs, trade.products.assign(category=finest))
    labels = dict(zip(neighbourhoods.types["code"], neighbourhoods.types["name"], strict=True))
    profile, competition = None, None
    if catchments is not None:
        profile = catchments.profile[catchments.profile["store_id"].isin(trade.stores["store_id"])]
        if chosen.competition_weight > 0:
            competition = _competition(trade, catchments)
    extra = None
    if chosen.features:
        extra = trade.stores[["store_id"]].copy()
        for name in chosen.features:
            extra[name], label = _feature(name, trade, hexes, catchments)
            labels.setdefault(name, label)
    return store_features(
        profile,
        mix,
        trade.stores,
        competition=competition,
        extra=extra,
        labels=labels,
        composition=chosen.composition,
    )


def _reach(trade: Trade, catchments: Catchments) -> pd.DataFrame:
    """Return cell, store_id, demand of the planned stores' catchments."""
    table = catchments.table
    inside = (
        table["own"].astype(bool) & table["demand"].gt(0) & table["store_id"].isin(trade.stores["store_id"])
    )
    return table.loc[inside, ["cell", "store_id", "demand"]]


def _catchment_mean(values: pd.Series, trade: Trade, catchments: Catchments) -> pd.Series:
    """Return the mean of a figure by cell over each store's catchment, weighted by expected trade."""
    reach = _reach(trade, catchments)
    reach = reach.assign(value=reach["cell"].map(values)).dropna(subset=["value"])
    sums = reach.assign(value=reach["value"] * reach["demand"]).groupby("store_id")[["value", "demand"]].sum()
    return sums["value"] / sums["demand"]


def _competition(trade: Trade, catchments: Catchments) -> pd.Series:
    """Return the share of the trade near each store that competitors take, by the catchment model."""
    others = 1.0 - catchments.cells.set_index("cell")["own_share"].astype(float)
    return _catchment_mean(others, trade, catchments).rename("competition")


def _feature(name: str, trade: Trade, hexes: Hexes, catchments: Catchments | None) -> tuple[pd.Series, str]:
    """Return a figure or word for every store of ``trade``, on its index, and a readable name."""
    where = f"[store_clusters] features names {name!r}"
    if name in _NOT_FEATURES:
        raise SettingsError(f"{where}: {_NOT_FEATURES[name]}. Leave it out.")
    if name in trade.stores.columns:
        return trade.stores[name], name.replace("_", " ")
    variables = {variable.name: variable for variable in hexes.variables}
    if name not in variables:
        columns = sorted(set(trade.stores.columns) - set(_NOT_FEATURES))
        averages = sorted(v.name for v in hexes.variables if v.kind != "count" and not v.protected)
        raise SettingsError(
            f"{where}, which is no column of stores ({', '.join(columns) or 'it has none further'}) and no rate or "
            f"mean of the area layers ({', '.join(averages) or 'they have none'})."
        )
    variable = variables[name]
    if variable.protected:
        raise SettingsError(
            f"{where}: a protected trait is never used to decide what a store sells. Leave it out."
        )
    if variable.kind == "count":
        raise SettingsError(
            f"{where}, a count of the area layers: a catchment has an average of rates and means only. "
            "Declare it as a rate in [[areas]]."
        )
    if catchments is None:
        raise SettingsError(f"{where}, which is averaged over catchments, and there are none.")
    by_store = _catchment_mean(hexes.table.set_index("cell")[name], trade, catchments)
    return trade.stores["store_id"].map(by_store), variable.label


def block_weights(features: StoreFeatures, settings: PlanSettings) -> dict[str, float]:
    """Return the weight of each block of store features."""
    chosen = settings.store_clusters
    weights = {
        "catchment": chosen.catchment_weight,
        "mix": chosen.mix_weight,
        "size": chosen.size_weight,
        "format": chosen.format_weight,
        "competition": chosen.competition_weight,
        **chosen.features,
    }
    known = {*DEFAULT_WEIGHTS, *features.features["block"]}  # a block that tells no stores apart is gone
    return {block: weight for block, weight in weights.items() if block in known}


def try_clusterings(features: StoreFeatures, settings: PlanSettings) -> ClusterRange:
    """Cluster the stores for every number the settings allow, and measure how stable each is."""
    chosen = settings.store_clusters
    n_stores = len(features.table)
    most = min(settings.frontier.max_clusters, chosen.max_clusters, n_stores - 1)
    numbers = set(range(1, most + 1))
    if chosen.n_clusters != "auto":
        numbers.add(min(chosen.n_clusters, n_stores))
    return cluster_range(
        features,
        numbers=numbers,
        weights=block_weights(features, settings),
        merge_single=chosen.merge_single,
        random_state=settings.plan.seed,
    )


def _stable(tried: ClusterRange, settings: PlanSettings) -> set[int]:
    """Return the numbers of clusters that come back when stores are resampled; all, if none does."""
    table = tried.table
    sure = table["bootstrap_ari"] >= settings.store_clusters.min_stability
    several = table["n_clusters"] > 1
    return set(table.loc[(sure | ~several) if (sure & several).any() else slice(None), "n_clusters"])


def offered_clusterings(
    tried: ClusterRange, features: StoreFeatures, files: ClusterFiles, settings: PlanSettings
) -> dict[int, pd.Series]:
    """Return the clusterings the frontier weighs: stable ones, the number asked for, and a frozen one that is kept."""
    stable = _stable(tried, settings)
    asked = settings.store_clusters.n_clusters
    offered = {n: labels for n, labels in tried.labels.items() if n in stable or n == asked}
    if files.frozen is not None and not settings.store_clusters.refresh:
        kept = _thawed(files, features, settings).labels
        offered[kept.nunique()] = kept
    return dict(sorted(offered.items()))


def _thawed(files: ClusterFiles, features: StoreFeatures, settings: PlanSettings) -> StoreClustering:
    assert files.frozen is not None
    try:
        return thaw_clusters(files.frozen, features, block_weights(features, settings))
    except GeomarketError as error:
        raise type(error)(f"[store_clusters] frozen = {settings.store_clusters.frozen!r}: {error}") from error


def settle_clusters(
    frontier: Frontier,
    tried: ClusterRange,
    features: StoreFeatures,
    files: ClusterFiles,
    settings: PlanSettings,
    closed: set[str] | None = None,
) -> SettledClusters:
    """Take the frontier's verdict, the number the settings ask for or the frozen clustering; then the overrides.

    Parameters
    ----------
    frontier : Frontier
        Of the clusterings offered.
    tried : ClusterRange
        All clusterings.
    features : StoreFeatures
        The stores that are planned.
    files : ClusterFiles
        Frozen clustering and overrides, if any.
    settings : PlanSettings
        Section ``[store_clusters]``.
    closed : set of str, optional
        Stores of the market that aren't planned: overrides for them are left aside with a note.

    Returns
    -------
    SettledClusters
    """
    chosen = settings.store_clusters
    weights = block_weights(features, settings)
    fresh = _fresh(frontier, tried, features, weights, settings)
    settled, before, notes = fresh, None, []
    if files.frozen is not None:
        thawed = _thawed(files, features, settings)
        before = frozen_labels(files.frozen)
        codes = continued_codes(before, fresh.labels)
        reasons = fresh.table.set_index("store_id")["reason"]
        fresh = describe_clusters(features, codes, weights=weights, reasons=reasons)
        settled = fresh if chosen.refresh else thawed
    if files.overrides is not None:
        moved, left = _known_overrides(files.overrides, features, closed or set(), settings)
        fresh, settled = (_overridden(each, features, moved, weights, settings) for each in (fresh, settled))
        notes += left
        notes.append(
            f"{len(moved)} stores are in the cluster the planner put them in; the frontier was measured without that."
        )
    moves = None
    if before is not None:
        moves = compare_clusters(before, fresh.labels)
        notes.append(_moves_note(moves, before, chosen.refresh))
    reason = _why_this_many(settled, frontier, tried, settings)
    evidence = replace(
        tried,
        table=tried.table.assign(offered=tried.table["n_clusters"].isin(_stable(tried, settings))),
        chosen=len(settled.clusters),
        reason=reason,
    )
    notes.insert(0, reason)
    return SettledClusters(replace(settled, evidence=evidence), moves, tuple(notes))


def _fresh(
    frontier: Frontier,
    tried: ClusterRange,
    features: StoreFeatures,
    weights: dict[str, float],
    settings: PlanSettings,
) -> StoreClustering:
    chosen = settings.store_clusters
    if chosen.n_clusters == "auto" and frontier.verdict.kind == "store":
        ids = features.table["store_id"].tolist()
        codes = pd.Series([f"C{i}" for i in range(1, len(ids) + 1)], index=ids)
        return describe_clusters(features, codes, weights=weights)
    wanted = frontier.verdict.n_clusters if chosen.n_clusters == "auto" else chosen.n_clusters
    if wanted in tried.labels:
        return describe_clusters(
            features, tried.labels[wanted], weights=weights, reasons=tried.reasons.get(wanted)
        )
    return cluster_stores(
        features, wanted, weights, merge_single=chosen.merge_single, random_state=settings.plan.seed
    )


def _known_overrides(
    overrides: pd.DataFrame, features: StoreFeatures, closed: set[str], settings: PlanSettings
) -> tuple[pd.DataFrame, list[str]]:
    planned = overrides["store_id"].isin(features.table["store_id"])
    unknown = overrides.loc[~planned & ~overrides["store_id"].isin(closed), "store_id"].tolist()
    if unknown:
        raise SettingsError(
            f"[store_clusters] overrides = {settings.store_clusters.overrides!r}: {len(unknown)} stores are not in "
            f"stores ({', '.join(unknown[:3])}). Correct the ids, or take the lines out."
        )
    left = overrides.loc[~planned, "store_id"].tolist()
    notes = []
    if left:
        notes.append(
            f"Overrides of store clusters for stores that are not planned are left aside: {', '.join(left[:5])}."
        )
    return overrides[planned], notes


def _overridden(
    clustering: StoreClustering,
    features: StoreFeatures,
    moved: pd.DataFrame,
    weights: dict[str, float],
    settings: PlanSettings,
) -> StoreClustering:
    try:
        return override_clusters(clustering, features, moved, weights)
    except GeomarketError as error:
        where = f"[store_clusters] overrides = {settings.store_clusters.overrides!r}"
        raise type(error)(f"{where}: {error}") from error


def _moves_note(moves: ClusterMoves, before: pd.Series, refresh: bool) -> str:
    first = "Clusters were made anew" if refresh else "If the clusters were made anew"
    return f"{first} (frozen version {clustering_version(before)}): {moves.summary()[0]}"


def _why_this_many(
    settled: StoreClustering, frontier: Frontier, tried: ClusterRange, settings: PlanSettings
) -> str:
    """Say where the number of clusters comes from, and what stability has to say about it."""
    chosen, n = settings.store_clusters, len(settled.clusters)
    many = "One range for all stores" if n == 1 else f"{n} store clusters"
    advised = frontier.verdict.n_clusters
    advice = {"national": "one range for all", "store": "a range for every store"}.get(
        frontier.verdict.kind, f"{advised} store clusters"
    )
    known = tried.table.set_index("n_clusters")["bootstrap_ari"]
    stability = known.get(n, float("nan"))
    back = ""
    if stability >= chosen.min_stability:
        back = (
            f" Resampled stores give much the same {n} clusters back (adjusted Rand index {stability:.2f})."
        )
    elif not pd.isna(stability):
        back = (
            f" Resampled stores give other clusters back (adjusted Rand index {stability:.2f}): "
            "where their borders run is a choice."
        )
    if chosen.frozen is not None and not chosen.refresh:
        return f"{many}, kept from the frozen clustering; the frontier advises {advice}."
    if chosen.n_clusters != "auto":
        return f"{many}, as the settings ask; the frontier advises {advice}.{back}"
    unstable = len(tried.table) - len(_stable(tried, settings))
    among = (
        f" among the numbers stable enough to be offered ({unstable} of {len(tried.table)} not)"
        if unstable
        else ""
    )
    return f"{many}: the frontier's choice{among}.{back}"


def clusters_text(clustering: StoreClustering) -> str:
    """Return the clustering frozen as JSON text."""
    return freeze_clusters(clustering) + "\n"
