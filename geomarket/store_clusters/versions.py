"""Planner's overrides, frozen versions of a clustering, and who moved between two of them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy.optimize import linear_sum_assignment
from sklearn.metrics import adjusted_rand_score

from geomarket.errors import TableError
from geomarket.results import Result
from geomarket.store_clusters.clustering import StoreClustering, describe_clusters
from geomarket.store_clusters.features import StoreFeatures

__all__ = [
    "ClusterMoves",
    "clustering_version",
    "compare_clusters",
    "continued_codes",
    "freeze_clusters",
    "frozen_labels",
    "override_clusters",
    "thaw_clusters",
]

_FORMAT = "geomarket store clusters 1"


def override_clusters(
    clustering: StoreClustering,
    features: StoreFeatures,
    overrides: pd.DataFrame,
    weights: Mapping[str, float] | None = None,
) -> StoreClustering:
    """Move stores to clusters a planner has chosen, and describe the clusters anew.

    Parameters
    ----------
    clustering : StoreClustering
        What the stores' features say.
    features : StoreFeatures
        The features it was made from.
    overrides : DataFrame
        store_id, store_cluster, reason: one row per store to move. A code that isn't in use yet starts a new
        cluster.
    weights : mapping of block to weight, optional
        See :meth:`StoreFeatures.points`.

    Returns
    -------
    StoreClustering
        With the planner's reason beside each moved store. Codes stay as they are; a cluster left empty is gone.

    Raises
    ------
    TableError
        If a store is unknown or appears twice, or a reason is missing: an override without a reason can't be judged
        a year later.
    """
    missing = [
        column for column in ("store_id", "store_cluster", "reason") if column not in overrides.columns
    ]
    if missing:
        raise TableError(
            f"overrides: column '{missing[0]}' is missing. Expected store_id, store_cluster, reason."
        )
    stores = overrides["store_id"].astype(str)
    labels = clustering.labels
    unknown = sorted(set(stores) - set(labels.index))
    if unknown:
        raise TableError(f"overrides: {len(unknown)} stores are not clustered ({', '.join(unknown[:3])}).")
    if stores.duplicated().any():
        raise TableError(
            f"overrides: store {stores[stores.duplicated()].iloc[0]} appears twice. Keep one row per store."
        )
    silent = overrides["reason"].isna() | (overrides["reason"].astype(str).str.strip() == "")
    if silent.any() or overrides["store_cluster"].isna().any():
        shown = ", ".join(stores[silent | overrides["store_cluster"].isna()].head(3))
        raise TableError(f"overrides: store_cluster and reason are needed in every row (stores {shown}).")
    reasons = clustering.table.set_index("store_id")["reason"].where(
        lambda text: text != "alone in its cluster", ""
    )
    moved, why = labels.copy(), reasons.copy()
    moved.loc[stores] = overrides["store_cluster"].astype(str).to_numpy()
    why.loc[stores] = ("planner: " + overrides["reason"].astype(str).str.strip()).to_numpy()
    return describe_clusters(features, moved, weights=weights, reasons=why, evidence=clustering.evidence)


def clustering_version(labels: pd.Series) -> str:
    """Return a short fingerprint of who is in which cluster, whatever the order of rows.

    Parameters
    ----------
    labels : Series
        store_cluster by store_id (index).

    Returns
    -------
    str
        Twelve hexadecimal digits.

    Examples
    --------
    >>> clustering_version(pd.Series({"1": "C1", "2": "C2"})) == clustering_version(pd.Series({"2": "C2", "1": "C1"}))
    True
    """
    pairs = sorted((str(store), str(code)) for store, code in labels.items())
    return hashlib.sha256(json.dumps(pairs).encode()).hexdigest()[:12]


def freeze_clusters(clustering: StoreClustering) -> str:
    """Write a clustering down as JSON, with its version, so that ranges can be planned on it as it is.

    Parameters
    ----------
    clustering : StoreClustering
        To be frozen.

    Returns
    -------
    str
        The same text for the same clustering.
    """
    rows = clustering.table[["store_id", "store_cluster", "reason"]].astype(str)
    names = clustering.clusters.set_index("store_cluster")["name"].astype(str)
    return json.dumps(
        {
            "format": _FORMAT,
            "version": clustering_version(clustering.labels),
            "names": dict(sorted(names.items())),
            "stores": rows.sort_values("store_id").to_dict("records"),
        },
        indent=1,
        ensure_ascii=False,
        sort_keys=True,
    )


def frozen_labels(text: str) -> pd.Series:
    """Read who was in which cluster from a frozen clustering.

    Parameters
    ----------
    text : str
        From :func:`freeze_clusters`.

    Returns
    -------
    Series
        store_cluster by store_id (index), stores closed since included.

    Raises
    ------
    TableError
        If the text isn't a frozen clustering, or was changed by hand since (its version no longer fits).
    """
    return _read_frozen(text)[0]


def _read_frozen(text: str) -> tuple[pd.Series, pd.Series, dict[str, str]]:
    """Return labels and reasons by store, and names by code."""
    try:
        held = json.loads(text)
        labels = pd.Series({row["store_id"]: row["store_cluster"] for row in held["stores"]}, dtype="str")
        reasons = pd.Series({row["store_id"]: row["reason"] for row in held["stores"]}, dtype="str")
        names, version, known = dict(held["names"]), held["version"], held["format"]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise TableError(
            "store clusters: the text is not a frozen clustering. Write it with freeze_clusters."
        ) from error
    if known != _FORMAT:
        raise TableError(f"store clusters: format {known!r} is not known; expected {_FORMAT!r}.")
    if clustering_version(labels) != version:
        raise TableError(
            f"store clusters: version {version} doesn't fit the stores listed. Change clusters with override_clusters "
            "and freeze again."
        )
    return labels.rename_axis("store_id"), reasons, names


def thaw_clusters(
    text: str, features: StoreFeatures, weights: Mapping[str, float] | None = None
) -> StoreClustering:
    """Read a frozen clustering back for the stores there are today.

    Parameters
    ----------
    text : str
        From :func:`freeze_clusters`.
    features : StoreFeatures
        Today's features, for the profile and for the place of new stores.
    weights : mapping of block to weight, optional
        See :meth:`StoreFeatures.points`.

    Returns
    -------
    StoreClustering
        Frozen stores keep their cluster and clusters their name. A store opened since goes to the nearest cluster
        and says so in ``reason``; stores closed since are left out.

    Raises
    ------
    TableError
        If the text isn't a frozen clustering, or was changed by hand since (its version no longer fits).
    """
    labels, reasons, names = _read_frozen(text)
    points = features.points(weights)
    old = points.index.isin(labels.index)
    if not old.any():
        raise TableError("store clusters: none of the frozen stores is there any more.")
    here = labels.reindex(points.index).to_numpy(dtype=object)
    why = reasons.reindex(points.index).fillna("").replace("alone in its cluster", "").to_numpy(dtype=object)
    centres = points[old].groupby(here[old]).mean()
    for row in np.flatnonzero(~old):
        distance = ((centres.to_numpy() - points.iloc[row].to_numpy()) ** 2).sum(axis=1)
        here[row] = str(centres.index[int(distance.argmin())])
        why[row] = "opened since the clusters were frozen: nearest cluster"
    codes, texts = (pd.Series(values, index=points.index, dtype="str") for values in (here, why))
    described = describe_clusters(features, codes, weights=weights, reasons=texts)
    table = described.table.assign(
        name=described.table["store_cluster"].map(names).fillna(described.table["name"])
    )
    clusters = described.clusters.assign(
        name=described.clusters["store_cluster"].map(names).fillna(described.clusters["name"])
    )
    return StoreClustering(table, described.profile, clusters, None)


@dataclass(frozen=True)
class ClusterMoves(Result):
    """Who moved between two clusterings.

    Attributes
    ----------
    table : DataFrame
        store_id, before, after (codes of each clustering; missing where the store isn't in it), after_matched (the
        code of the earlier cluster that the later one continues), change ("stayed", "moved", "opened", "closed").
    matches : DataFrame
        before, after, stores: clusters that continue each other (most stores in common).
    agreement : float
        Adjusted Rand index over the stores in both.
    """

    table: pd.DataFrame
    matches: pd.DataFrame
    agreement: float

    def plot(self, ax: Any = None) -> Any:
        """Draw how many stores went from which cluster to which; return the axes."""
        import matplotlib.pyplot as plt

        both = self.table.fillna({"before": "opened", "after": "closed"})
        moves = pd.crosstab(both["before"], both["after"])
        size = (1.6 + 0.6 * moves.shape[1], 1.2 + 0.45 * moves.shape[0])
        axes = plt.subplots(figsize=size, layout="constrained")[1] if ax is None else ax
        axes.imshow(moves, cmap="Blues", vmin=0, vmax=1.5 * moves.to_numpy().max(initial=1), aspect="auto")
        for (row, column), stores in np.ndenumerate(moves.to_numpy(dtype=int)):
            if stores:
                axes.text(column, row, f"{stores:,}", ha="center", va="center")
        axes.set_xticks(range(moves.shape[1]), moves.columns)
        axes.set_yticks(range(moves.shape[0]), moves.index)
        axes.set(xlabel="cluster after", ylabel="cluster before")
        return axes

    def summary(self) -> list[str]:
        """Say how many stores moved, opened and closed."""
        count = self.table["change"].value_counts()
        both = int(count.get("stayed", 0) + count.get("moved", 0))
        moved = int(count.get("moved", 0))
        return [
            f"{moved:,} of {both:,} stores moved to another cluster (agreement, adjusted Rand index, "
            f"{self.agreement:.2f}); {int(count.get('opened', 0)):,} opened, {int(count.get('closed', 0)):,} closed."
        ]


def compare_clusters(before: pd.Series, after: pd.Series) -> ClusterMoves:
    """Show who moved between two clusterings, whatever their codes.

    Parameters
    ----------
    before, after : Series
        store_cluster by store_id (index).

    Returns
    -------
    ClusterMoves

    Raises
    ------
    TableError
        If the two have no store in common.

    Notes
    -----
    Clusters are matched one to one so that most stores stay (Kuhn 1955).
    """
    both = before.index.intersection(after.index)
    if both.empty:
        raise TableError("store clusters: the two clusterings have no store in common.")
    counts = pd.crosstab(before[both].to_numpy(), after[both].to_numpy()).sort_index().sort_index(axis=1)
    rows, columns = linear_sum_assignment(-counts.to_numpy())
    matches = pd.DataFrame(
        {
            "before": counts.index[rows],
            "after": counts.columns[columns],
            "stores": counts.to_numpy()[rows, columns],
        }
    )
    continued = dict(zip(matches["after"], matches["before"]))
    stores = before.index.union(after.index).sort_values()
    table = pd.DataFrame({"store_id": stores})
    table["before"], table["after"] = (codes.reindex(stores).to_numpy() for codes in (before, after))
    fresh = table["after"].map(lambda code: f"new {code}", na_action="ignore")
    table["after_matched"] = table["after"].map(continued).fillna(fresh)
    table["change"] = np.select(
        [table["before"].isna(), table["after"].isna(), table["before"] == table["after_matched"]],
        ["opened", "closed", "stayed"],
        "moved",
    )
    agreement = float(adjusted_rand_score(before[both].to_numpy(), after[both].to_numpy()))
    return ClusterMoves(table, matches, agreement)


def continued_codes(before: pd.Series, after: pd.Series) -> pd.Series:
    """Give the clusters of a refresh the codes of the clusters they continue, so that C3 stays C3.

    Parameters
    ----------
    before, after : Series
        store_cluster by store_id (index).

    Returns
    -------
    Series
        ``after`` with the codes of ``before``; clusters that continue none get the next free numbers.

    Examples
    --------
    >>> before = pd.Series({"a": "C1", "b": "C1", "c": "C2"})
    >>> continued_codes(before, pd.Series({"a": "C2", "b": "C2", "c": "C1", "d": "C3"})).tolist()
    ['C1', 'C1', 'C2', 'C3']
    """
    moves = compare_clusters(before, after)
    code = dict(zip(moves.matches["after"], moves.matches["before"]))
    taken = set(before.unique())
    number = 1
    for name in sorted(set(after.unique()) - set(code), key=lambda text: (len(text), text)):
        while f"C{number}" in taken:
            number += 1
        code[name] = f"C{number}"
        taken.add(code[name])
    return after.map(code).astype("str")
