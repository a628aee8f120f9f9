"""k-means on weighted feature blocks, the evidence for each number of clusters, and what each cluster is."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import pandas as pd
from scipy.cluster.hierarchy import fcluster, linkage
from sklearn.cluster import KMeans
from sklearn.metrics import adjusted_rand_score, silhouette_score

from geomarket.errors import NotSupportedError, SettingsError, TableError
from geomarket.results import Result
from geomarket.store_clusters.features import StoreFeatures
from geomarket.store_clusters.naming import cluster_names

__all__ = ["ClusterRange", "StoreClustering", "cluster_range", "cluster_stores", "describe_clusters"]

STABLE_ARI = 0.7
"""A number of clusters is called stable when its bootstrap ARI reaches this."""


@dataclass(frozen=True)
class ClusterRange(Result):
    """Clusterings for several numbers of clusters, and the evidence for each number.

    Attributes
    ----------
    table : DataFrame
        n_clusters, explained (share of the variance of the weighted features), silhouette, bootstrap_ari (mean
        agreement with clusterings of resampled stores), ari_low (its 10% quantile), smallest (stores in the
        smallest cluster), chosen.
    labels : dict of int to Series
        Number of clusters -> store_cluster by store_id (index).
    chosen : int
        Number of clusters by evidence of structure alone; what it is worth in money is the frontier's question.
    reason : str
    nested : bool
        True when every clustering splits the one before (``method="ward"``, nothing merged).
    reasons : dict of int to Series
        Why a store is not where the features put it (merged, because it stood alone), by store_id.
    """

    table: pd.DataFrame
    labels: dict[int, pd.Series]
    chosen: int
    reason: str
    nested: bool
    reasons: dict[int, pd.Series] = field(default_factory=dict)

    def summary(self) -> list[str]:
        """Say which number of clusters the evidence speaks for, and how clearly."""
        return [self.reason]

    def plot(self, ax: Any = None) -> Any:
        """Draw silhouette and bootstrap ARI against the number of clusters; return the axes."""
        import matplotlib.pyplot as plt

        axes = plt.subplots(figsize=(6, 3.5))[1] if ax is None else ax
        for column, label in (("bootstrap_ari", "stability (bootstrap ARI)"), ("silhouette", "silhouette")):
            axes.plot(self.table["n_clusters"], self.table[column], marker="o", label=label)
        axes.axvline(self.chosen, color="0.6", linestyle=":")
        axes.set(xlabel="store clusters", ylim=(None, 1.02))
        axes.legend(frameon=False)
        return axes


def cluster_range(
    features: StoreFeatures,
    max_clusters: int = 12,
    *,
    numbers: Iterable[int] | None = None,
    weights: Mapping[str, float] | None = None,
    method: Literal["kmeans", "ward"] = "kmeans",
    merge_single: bool = False,
    n_init: int = 20,
    n_bootstrap: int = 20,
    random_state: int = 0,
) -> ClusterRange:
    """Cluster the stores for every number of clusters up to ``max_clusters`` and weigh the evidence.

    Parameters
    ----------
    features : StoreFeatures
        From :func:`store_features`.
    max_clusters : int
        Largest number of clusters (cut to the number of stores).
    numbers : iterable of int, optional
        The numbers to try instead of 1 … ``max_clusters``.
    weights : mapping, optional
        Block weights, see :meth:`StoreFeatures.points`.
    method : {"kmeans", "ward"}
        ``ward`` gives nested clusters (each step splits one), ``kmeans`` tighter ones for each number.
    merge_single : bool
        Give stores that are alone in their cluster to the next-nearest one. A clustering then stands under the number
        of clusters it really has, and a number that comes up twice keeps the first. A clustering of single stores
        throughout stays as it is.
    n_init : int
        Starts of k-means.
    n_bootstrap : int
        Resamples of stores behind the stability figure; 0 leaves it out (NaN).
    random_state : int
        Seed of the starts and resamples.

    Returns
    -------
    ClusterRange

    Notes
    -----
    Stability: stores are drawn with replacement, clustered again, every store is given to the nearest new centre
    and compared with the full clustering by the adjusted Rand index (Hubert & Arabie 1985; Hennig 2007 for the
    scheme). Chosen is, among numbers with a bootstrap ARI of at least 0.7, the one with the highest silhouette
    (Rousseeuw 1987); with none that stable, the most stable one. Neither says what the clusters are worth.
    """
    points = features.points(weights)
    n_stores = len(points)
    wanted = sorted({int(g) for g in (numbers if numbers is not None else range(1, max_clusters + 1))})
    if not wanted or wanted[0] < 1:
        raise SettingsError("the number of store clusters must be 1 or more.")
    wanted = [g for g in wanted if g <= n_stores]
    if not wanted:
        raise SettingsError(f"there are only {n_stores} stores: ask for at most that many store clusters.")
    values = points.to_numpy()
    total = float(((values - values.mean(axis=0)) ** 2).sum())
    tree = linkage(values, "ward") if method == "ward" and n_stores > 1 else None
    labels: dict[int, pd.Series] = {}
    reasons: dict[int, pd.Series] = {}
    rows = []
    for asked in wanted:
        raw = _partition(values, asked, n_init, random_state, tree)
        codes = _code(raw, points.index)
        if merge_single:
            codes, why = _merge_single(points, codes, pd.Series("", index=points.index, dtype="str"))
            raw = pd.factorize(codes)[0]
        n_clusters = codes.nunique()
        if n_clusters in labels:
            continue
        labels[n_clusters] = codes
        if merge_single:
            reasons[n_clusters] = why
        within = sum(
            float(((values[raw == g] - values[raw == g].mean(axis=0)) ** 2).sum()) for g in np.unique(raw)
        )
        agreement = _bootstrap_ari(values, raw, n_clusters, n_bootstrap, n_init, random_state, method)
        many = 1 < len(np.unique(raw)) < n_stores
        rows.append(
            {
                "n_clusters": n_clusters,
                "explained": 1 - within / total if total > 0 else np.nan,
                "silhouette": float(silhouette_score(values, raw)) if many else np.nan,
                "bootstrap_ari": float(np.mean(agreement)) if len(agreement) else np.nan,
                "ari_low": float(np.quantile(agreement, 0.1)) if len(agreement) else np.nan,
                "smallest": int(codes.value_counts().min()),
            }
        )
    table = pd.DataFrame(rows)
    chosen, reason = _choose(table)
    table["chosen"] = table["n_clusters"] == chosen
    nested = method == "ward" and not any(why.ne("").any() for why in reasons.values())
    return ClusterRange(table, labels, chosen, reason, nested, reasons)


def _partition(
    values: np.ndarray, n_clusters: int, n_init: int, random_state: int, tree: np.ndarray | None = None
) -> np.ndarray:
    if n_clusters == 1:
        return np.zeros(len(values), dtype=int)
    if n_clusters == len(values):
        return np.arange(len(values))
    if tree is not None:
        return np.asarray(fcluster(tree, n_clusters, criterion="maxclust")) - 1
    distinct = len(np.unique(values, axis=0))
    if distinct < n_clusters:
        raise NotSupportedError(
            f"{n_clusters} store clusters were asked for, but the stores have only {distinct} different descriptions. "
            "Ask for fewer clusters or give more features."
        )
    fitted = KMeans(n_clusters, n_init=n_init, random_state=random_state).fit(values)
    return np.asarray(fitted.labels_)


def _code(raw: np.ndarray, ids: pd.Index) -> pd.Series:
    """Name clusters C1, C2 … by number of stores, ties by the smallest store id."""
    order = sorted(np.unique(raw), key=lambda g: (-(raw == g).sum(), min(ids[raw == g])))
    code = {g: f"C{place}" for place, g in enumerate(order, start=1)}
    return pd.Series([code[g] for g in raw], index=ids, name="store_cluster", dtype="str")


def _bootstrap_ari(
    values: np.ndarray,
    labels: np.ndarray,
    n_clusters: int,
    n_bootstrap: int,
    n_init: int,
    random_state: int,
    method: str,
) -> np.ndarray:
    n = len(values)
    if not 1 < n_clusters < n:
        return np.array([])
    rng = np.random.default_rng([random_state, n_clusters])
    scores = []
    for _ in range(n_bootstrap):
        sample = values[rng.integers(0, n, n)]
        if len(np.unique(sample, axis=0)) < n_clusters:
            continue
        tree = linkage(sample, "ward") if method == "ward" else None
        drawn = _partition(sample, n_clusters, max(3, n_init // 5), int(rng.integers(2**31)), tree)
        centres = np.stack([sample[drawn == g].mean(axis=0) for g in np.unique(drawn)])
        nearest = ((values[:, None, :] - centres[None]) ** 2).sum(axis=2).argmin(axis=1)
        scores.append(adjusted_rand_score(labels, nearest))
    return np.array(scores)


def _choose(table: pd.DataFrame) -> tuple[int, str]:
    tried = table[table["silhouette"].notna()]
    if tried.empty:
        only = int(table["n_clusters"].iloc[0])
        return only, "No number of store clusters between 1 and the number of stores was tried."
    if tried["bootstrap_ari"].isna().all():
        best = tried.nlargest(1, "silhouette").iloc[0]
        g = int(best["n_clusters"])
        return (
            g,
            f"{g} store clusters: the highest silhouette ({best['silhouette']:.2f}); stability was not measured.",
        )
    stable = tried[tried["bootstrap_ari"] >= STABLE_ARI]
    if len(stable):
        best = stable.nlargest(1, "silhouette").iloc[0]
        g = int(best["n_clusters"])
        return g, (
            f"{g} store clusters: the highest silhouette ({best['silhouette']:.2f}) of the numbers that come back "
            f"when stores are resampled (bootstrap ARI {best['bootstrap_ari']:.2f}, {STABLE_ARI} asked for)."
        )
    best = tried.nlargest(1, "bootstrap_ari").iloc[0]
    g = int(best["n_clusters"])
    return g, (
        f"{g} store clusters come back best when stores are resampled (bootstrap ARI {best['bootstrap_ari']:.2f}), "
        f"but no number reaches {STABLE_ARI}: the stores form a continuum and any border between clusters is a choice."
    )


@dataclass(frozen=True)
class StoreClustering(Result):
    """Stores in clusters, with names, a typical store each, and a profile against the chain.

    Attributes
    ----------
    table : DataFrame
        store_id, store_cluster ("C1", "C2" … by number of stores: an order, not a grade), name, medoid (the
        store nearest to its cluster's centre in the sum of distances), flagged (alone in its cluster), reason.
    profile : DataFrame
        store_cluster, feature, block, label, value, chain (means over stores), index (100 = chain).
    clusters : DataFrame
        store_cluster, name, stores, medoid (store_id), flagged.
    evidence : ClusterRange or None
        Why this number, when ``n_clusters="auto"``.
    """

    table: pd.DataFrame
    profile: pd.DataFrame
    clusters: pd.DataFrame
    evidence: ClusterRange | None = None

    @property
    def labels(self) -> pd.Series:
        """store_cluster by store_id (index)."""
        return self.table.set_index("store_id")["store_cluster"]

    def plot(self, ax: Any = None, features: int = 14) -> Any:
        """Draw what sets the clusters apart: the index of the features that differ most; return the axes.

        Parameters
        ----------
        ax : matplotlib axes, optional
            Made if missing.
        features : int
            How many are drawn. Orange is below the chain's average (100), purple above; colours end at 33 and 300.
        """
        import matplotlib.pyplot as plt

        index = self.profile.pivot(index="label", columns="store_cluster", values="index").astype(float)
        index = index[list(self.clusters["store_cluster"])]
        far = (index.clip(lower=1) / 100).map(np.log)
        order = far.abs().max(axis=1).sort_values(ascending=False, kind="stable").index[:features]
        size = (4.5 + 0.8 * len(index.columns), 0.34 * len(order) + 1.2)
        axes = plt.subplots(figsize=size, layout="constrained")[1] if ax is None else ax
        axes.imshow(far.loc[order], cmap="PuOr", vmin=-np.log(3), vmax=np.log(3), aspect="auto")
        for (row, column), value in np.ndenumerate(index.loc[order].to_numpy(dtype=float)):
            if np.isfinite(value):
                pale = 100 / 2.4 < value < 240
                axes.text(column, row, f"{value:.0f}", ha="center", va="center", color="k" if pale else "w")
        axes.set_xticks(range(len(index.columns)), index.columns)
        axes.set_yticks(range(len(order)), order)
        axes.set_title("Index: 100 is the chain", loc="left")
        return axes

    def summary(self) -> list[str]:
        """Name the clusters, the stores that stand alone, and why there are this many."""
        lines = [
            f"{len(self.table):,} stores in {len(self.clusters)} cluster{'s' if len(self.clusters) > 1 else ''}: "
            + "; ".join(
                f"{row.store_cluster} {row.name} ({row.stores})"
                for row in self.clusters.itertuples(index=False)
            )
            + "."
        ]
        alone = self.clusters.loc[self.clusters["flagged"], "store_cluster"].tolist()
        if alone:
            lines.append(
                f"One store only: {', '.join(alone)}. Nothing can be learnt from its neighbours; look at it."
            )
        if self.evidence is not None:
            lines.append(self.evidence.reason)
        return lines


def cluster_stores(
    features: StoreFeatures,
    n_clusters: int | Literal["auto"] = "auto",
    weights: Mapping[str, float] | None = None,
    *,
    max_clusters: int = 12,
    merge_single: bool = False,
    n_init: int = 20,
    random_state: int = 0,
) -> StoreClustering:
    """Group stores that are alike by k-means on weighted feature blocks.

    Parameters
    ----------
    features : StoreFeatures
        From :func:`store_features`.
    n_clusters : int or "auto"
        ``auto`` takes the number :func:`cluster_range` chooses among 2 … ``max_clusters``.
    weights : mapping of block to weight, optional
        See :meth:`StoreFeatures.points`.
    max_clusters : int
        Largest number ``auto`` looks at.
    merge_single : bool
        Give a store that is alone in its cluster to the nearest larger cluster (said in ``reason``) instead of
        only flagging it. Fewer clusters than asked for may come back.
    n_init : int
        Starts of k-means.
    random_state : int
        Seed of the starts and resamples.

    Returns
    -------
    StoreClustering

    Raises
    ------
    SettingsError
        If ``n_clusters`` is below 1 or above the number of stores.

    Examples
    --------
    >>> from geomarket.store_clusters import store_features
    >>> stores = pd.DataFrame({"store_id": list("abcdef"), "size_m2": [300, 310, 320, 2900, 3000, 3100]})
    >>> found = cluster_stores(store_features(None, None, stores), n_clusters=2)
    >>> found.clusters[["store_cluster", "name", "stores"]].values.tolist()
    [['C1', 'Small stores', 3], ['C2', 'Large stores', 3]]
    """
    points = features.points(weights)
    evidence = None
    if n_clusters == "auto":
        numbers = range(min(2, len(points)), min(max_clusters, len(points)) + 1)
        evidence = cluster_range(
            features, numbers=numbers, weights=weights, n_init=n_init, random_state=random_state
        )
        codes = evidence.labels[evidence.chosen]
    else:
        if not 1 <= int(n_clusters) <= len(points):
            raise SettingsError(f"n_clusters must lie between 1 and the number of stores ({len(points)}).")
        codes = _code(_partition(points.to_numpy(), int(n_clusters), n_init, random_state), points.index)
    reasons = pd.Series("", index=points.index, dtype="str")
    if merge_single:
        codes, reasons = _merge_single(points, codes, reasons)
    return describe_clusters(features, codes, weights=weights, reasons=reasons, evidence=evidence)


def _merge_single(points: pd.DataFrame, codes: pd.Series, reasons: pd.Series) -> tuple[pd.Series, pd.Series]:
    sizes = codes.value_counts()
    single, larger = sizes.index[sizes == 1], sizes.index[sizes > 1]
    if len(single) == 0 or len(larger) == 0:
        return codes, reasons
    homes = sorted(larger)
    centres = points.groupby(codes).mean().loc[homes].to_numpy()
    moved, why = codes.to_numpy(dtype=object), reasons.to_numpy(dtype=object)
    for row in np.flatnonzero(codes.isin(single)):
        distance = ((centres - points.iloc[row].to_numpy()) ** 2).sum(axis=1)
        moved[row] = homes[int(distance.argmin())]
        why[row] = "alone in its cluster: moved to the nearest larger one"
    return _code(moved, codes.index), pd.Series(why, index=codes.index, dtype="str")


def describe_clusters(
    features: StoreFeatures,
    codes: pd.Series,
    *,
    weights: Mapping[str, float] | None = None,
    reasons: pd.Series | None = None,
    evidence: ClusterRange | None = None,
) -> StoreClustering:
    """Name, profile and check a given clustering (a planner's own, or one of :func:`cluster_range`).

    Parameters
    ----------
    features : StoreFeatures
        From :func:`store_features`.
    codes : Series
        store_cluster by store_id (index); must cover every store of ``features``.
    weights : mapping, optional
        Block weights, see :meth:`StoreFeatures.points`.
    reasons : Series, optional
        Why a store is where it is, by store_id.
    evidence : ClusterRange, optional
        Why this number of clusters.

    Returns
    -------
    StoreClustering

    Raises
    ------
    TableError
        If a store has no cluster.
    """
    points = features.points(weights)
    labels = codes.astype("str").reindex(points.index)
    if labels.isna().any():
        without = labels.index[labels.isna()].tolist()
        raise TableError(
            f"store clusters: {len(without)} stores have no cluster ({', '.join(without[:3])}). "
            "Give every store of the features a cluster."
        )
    order = sorted(labels.unique(), key=_natural)
    profile = _profile(features, labels, order)
    names = cluster_names(features, labels, order, weights)
    medoids = {code: _medoid(points[labels.to_numpy() == code]) for code in order}
    sizes = labels.value_counts()
    alone = labels.map(sizes) == 1
    given = pd.Series("", index=points.index) if reasons is None else reasons.reindex(points.index).fillna("")
    reason = given.where(given.ne("") | ~alone, "alone in its cluster")
    if len(points) == 1:
        alone[:] = False
    table = pd.DataFrame(
        {
            "store_id": points.index,
            "store_cluster": labels.to_numpy(),
            "name": labels.map(names).to_numpy(),
            "medoid": points.index.isin(list(medoids.values())),
            "flagged": alone.to_numpy(),
            "reason": reason.to_numpy(),
        }
    )
    clusters = pd.DataFrame(
        {
            "store_cluster": order,
            "name": [names[code] for code in order],
            "stores": [int(sizes[code]) for code in order],
            "medoid": [medoids[code] for code in order],
            "flagged": [bool(alone[labels == code].any()) for code in order],
        }
    )
    return StoreClustering(table, profile, clusters, evidence)


def _natural(code: str) -> tuple[int, str]:
    digits = "".join(character for character in code if character.isdigit())
    return (int(digits) if digits else 0, code)


def _medoid(points: pd.DataFrame) -> str:
    values = points.to_numpy()
    distance = np.sqrt(((values[:, None, :] - values[None]) ** 2).sum(axis=2)).sum(axis=1)
    return str(points.index[int(distance.round(12).argmin())])


def _profile(features: StoreFeatures, labels: pd.Series, order: Sequence[str]) -> pd.DataFrame:
    raw = features.table.set_index("store_id").astype(float)
    chain = raw.mean().to_numpy()
    means = raw.groupby(labels).mean().loc[list(order)].to_numpy()
    described = features.features.set_index("feature").loc[raw.columns]
    n_clusters, n_features = means.shape
    overall = np.tile(chain, n_clusters)
    value = means.ravel()
    return pd.DataFrame(
        {
            "store_cluster": np.repeat(list(order), n_features),
            "feature": np.tile(raw.columns.to_numpy(), n_clusters),
            "block": np.tile(described["block"].to_numpy(), n_clusters),
            "label": np.tile(described["label"].to_numpy(), n_clusters),
            "value": value,
            "chain": overall,
            "index": np.divide(100 * value, overall, out=np.full_like(value, np.nan), where=overall != 0),
        }
    ).astype({"store_cluster": "str", "feature": "str", "block": "str", "label": "str"})
