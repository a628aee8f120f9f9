"""How many types? Evidence side by side: clustergram, silhouette, Calinski–Harabasz, bootstrap agreement, gap."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from sklearn.base import clone
from sklearn.metrics import adjusted_rand_score, silhouette_score

from geomarket.errors import NotSupportedError, SettingsError
from geomarket.neighbourhoods.classifier import NeighbourhoodClassifier
from geomarket.neighbourhoods.hierarchy import LEVELS, in_code_order
from geomarket.neighbourhoods.kmeans import KMeansFit, fit_kmeans, nearest
from geomarket.results import Result

__all__ = ["LevelEvidence", "level_evidence", "suggest_levels"]

CRITERIA = {
    "silhouette": "silhouette",
    "calinski_harabasz": "Calinski–Harabasz",
    "bootstrap_ari": "bootstrap agreement",
}
EVIDENCE_COLUMNS = [
    "level",
    "parent",
    "k",
    "wcss",
    "explained",
    "silhouette",
    "calinski_harabasz",
    "bootstrap_ari",
    "bootstrap_ari_se",
    "gap",
    "gap_se",
    "smallest_share",
    "peaks",
    "score",
    "suggested",
]
STABLE = 0.95


@dataclass(frozen=True)
class LevelEvidence(Result):
    """What speaks for each number of types.

    Attributes
    ----------
    table : DataFrame
        level, parent ("" for the supergroups), k, wcss, explained (share of the variance between types),
        silhouette, calinski_harabasz, bootstrap_ari and its standard error, gap and its standard error (a
        diagnostic, not counted), smallest_share (of the mass), peaks (criteria with a peak at this k), score (mean
        of silhouette and Calinski–Harabasz scaled to 0..1; missing where refits don't agree), suggested (one k a
        parent).
    clustergram : DataFrame
        level, parent, k, cluster, position (weighted mean of the first principal component), share.
    flows : DataFrame
        level, parent, k, cluster, next_cluster (at k + 1), share of the mass that goes there.
    levels : tuple
        The suggestion as :class:`NeighbourhoodClassifier` takes it.
    notes : tuple of str
        How the figures were made.

    Examples
    --------
    >>> rates = pd.DataFrame({"rent": np.repeat([0.1, 0.4, 0.8], 20) + np.tile(np.linspace(0, 0.05, 20), 3),
    ...     "own": np.repeat([0.7, 0.5, 0.1], 20) + np.tile(np.linspace(0, 0.03, 20), 3)})
    >>> found = suggest_levels(rates, candidates=range(2, 5), levels=1, n_bootstrap=3)
    >>> found.table.loc[found.table["suggested"], "k"].tolist()
    [3]
    >>> found.summary()[0].split(":")[0]
    '3 supergroups suggested'
    """

    table: pd.DataFrame
    clustergram: pd.DataFrame
    flows: pd.DataFrame
    levels: tuple[Any, ...]
    notes: tuple[str, ...] = ()

    def summary(self) -> list[str]:
        """Return the suggestion for every parent in words."""
        lines = []
        for (level, parent), rows in self.table.groupby(["level", "parent"], sort=False):
            lines.append(_in_words(str(level), str(parent), rows))
        return lines + list(self.notes)

    def plot(self, ax: Any = None, parent: str = "") -> Any:
        """Draw the clustergram of one parent ("" for the supergroups); return the axes.

        Examples
        --------
        >>> import matplotlib
        >>> matplotlib.use("Agg")
        >>> rates = pd.DataFrame({"rent": np.repeat([0.1, 0.4, 0.8], 20) + np.tile(np.linspace(0, 0.05, 20), 3),
        ...     "own": np.repeat([0.7, 0.5, 0.1], 20) + np.tile(np.linspace(0, 0.03, 20), 3)})
        >>> found = suggest_levels(rates, candidates=range(2, 5), levels=1, n_bootstrap=3)
        >>> found.plot().get_xlabel()
        'number of types'
        """
        from geomarket.neighbourhoods.figures import plot_clustergram

        return plot_clustergram(_of(self.clustergram, parent), _of(self.flows, parent), ax=ax)

    def plot_evidence(self, parent: str = "") -> Any:
        """Draw clustergram and criteria side by side in a new figure; return its array of axes.

        Examples
        --------
        >>> import matplotlib
        >>> matplotlib.use("Agg")
        >>> rates = pd.DataFrame({"rent": np.repeat([0.1, 0.4, 0.8], 20) + np.tile(np.linspace(0, 0.05, 20), 3),
        ...     "own": np.repeat([0.7, 0.5, 0.1], 20) + np.tile(np.linspace(0, 0.03, 20), 3)})
        >>> found = suggest_levels(rates, candidates=range(2, 5), levels=1, n_bootstrap=3)
        >>> [ax.get_title() for ax in found.plot_evidence()[1:]]
        ['silhouette', 'Calinski–Harabasz', 'bootstrap agreement', 'gap (diagnostic)']
        """
        from geomarket.neighbourhoods.figures import plot_evidence

        return plot_evidence(_of(self.table, parent), _of(self.clustergram, parent), _of(self.flows, parent))


def suggest_levels(
    X: pd.DataFrame,
    population: pd.Series | None = None,
    candidates: Sequence[int] = tuple(range(2, 13)),
    children: Sequence[int] = (2, 3, 4),
    levels: int = 2,
    supergroups: int | None = None,
    classifier: NeighbourhoodClassifier | None = None,
    n_bootstrap: int = 20,
    sample: int = 10_000,
    random_state: int = 0,
) -> LevelEvidence:
    """Weigh how many supergroups, and how many groups in each, the areas support.

    No number is taken on one criterion. Of those k whose bootstrap agreement is within 5% of the best, the one
    with the best score is suggested: the mean of silhouette and Calinski–Harabasz, each scaled from its worst (0)
    to its best (1) k. The words say at which k each criterion peaks; an end of the range is no peak. Both
    criteria favour few types where areas shade into each other, as real ones do. The planner decides.

    Parameters
    ----------
    X : DataFrame of shape (n_areas, n_variables)
        Rates, as for :meth:`NeighbourhoodClassifier.fit`.
    population : Series, optional
        People in each area.
    candidates : sequence of int
        Numbers of supergroups, consecutive.
    children : sequence of int
        Numbers of types a parent may be split into.
    levels : {1, 2, 3}
        How many levels to weigh.
    supergroups : int, optional
        The number already chosen; otherwise the suggested one is split further.
    classifier : NeighbourhoodClassifier, optional
        Unfitted, with the transform and other settings to use; its ``levels`` are ignored.
    n_bootstrap : int
        Resamples for the bootstrap agreement.
    sample : int
        Rows used for bootstrap and gap (half as many for the silhouette), drawn by weight where there are more.
    random_state : int
        Seed.

    Returns
    -------
    LevelEvidence

    Raises
    ------
    SettingsError
        Candidates that aren't consecutive numbers from 2 up.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> centres = np.array([[0.1, 0.1, 0.5], [0.8, 0.2, 0.1], [0.2, 0.9, 0.3], [0.6, 0.6, 0.9]])
    >>> rates = pd.DataFrame(np.repeat(centres, 30, axis=0) + rng.normal(0, 0.02, (120, 3)), columns=list("abc"))
    >>> found = suggest_levels(rates, candidates=range(2, 7), levels=1, n_bootstrap=5)
    >>> found.levels
    (4,)
    """
    if levels not in (1, 2, 3):
        raise SettingsError(f"levels is {levels!r}; weigh 1, 2 or 3 levels.")
    settings = clone(classifier) if classifier is not None else NeighbourhoodClassifier()
    settings.set_params(levels=(2,), random_state=random_state)
    points, weights, _ = settings.learn_preparation(X, population)
    rng = np.random.default_rng(random_state)
    parts: list[tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]] = []
    chosen: list[Any] = []
    parents = [("", np.arange(len(points)))]
    for depth in range(levels):
        numbers, below = [], []
        for parent, rows in parents:
            ks = _candidates(candidates if depth == 0 else children, len(rows), settings.min_areas)
            table, gram, flows, fits = level_evidence(
                points[rows], weights[rows], ks, n_bootstrap, sample, int(rng.integers(2**31))
            )
            k = supergroups if depth == 0 and supergroups else int(table.loc[table["suggested"], "k"].iloc[0])
            for frame in (table, gram, flows):
                frame.insert(0, "level", LEVELS[depth])
                frame.insert(1, "parent", parent)
            parts.append((table, gram, flows))
            numbers.append(k)
            fit = fits.get(k) or fit_kmeans(points[rows], k, weights[rows], random_state=random_state)
            for record, inside in in_code_order(parent, LEVELS[depth], fit, weights[rows]):
                below.append((record["code"], rows[inside]))
        chosen.append(numbers[0] if depth == 0 else tuple(numbers))
        parents = below
    frames = [pd.concat(kind, ignore_index=True) for kind in zip(*parts, strict=True)]
    notes = _notes(points, sample, n_bootstrap)
    return LevelEvidence(frames[0][EVIDENCE_COLUMNS], frames[1], frames[2], tuple(chosen), notes)


def level_evidence(
    points: np.ndarray,
    weights: np.ndarray,
    ks: Sequence[int],
    n_bootstrap: int = 20,
    sample: int = 10_000,
    random_state: int = 0,
) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame, dict[int, KMeansFit]]:
    """Work out the evidence for each k on prepared coordinates.

    Parameters
    ----------
    points : ndarray of shape (n_areas, n_variables)
        Prepared coordinates without missing values.
    weights : ndarray of shape (n_areas,)
        Weight of each area.
    ks : sequence of int
        Consecutive numbers of types.
    n_bootstrap, sample, random_state
        As in :func:`suggest_levels`.

    Returns
    -------
    table, clustergram, flows : DataFrame
        As in :class:`LevelEvidence`, without level and parent.
    fits : dict of int to KMeansFit
        The partition at each k.

    Notes
    -----
    Silhouette (Rousseeuw 1987) on rows drawn by weight; Calinski and Harabasz (1974); agreement of partitions
    fitted to bootstrap resamples, on the original rows, with the partition fitted to these (adjusted Rand index;
    after Fang and Wang 2012); gap against uniform draws from the principal-component box (Tibshirani, Walther
    and Hastie 2001); clustergram (Schonlau 2002).

    Examples
    --------
    >>> points = np.repeat([[0.0, 0.0], [0.0, 1.0], [1.0, 0.5]], 20, axis=0)
    >>> points = points + np.random.default_rng(0).normal(0, 0.05, points.shape)
    >>> table, clustergram, flows, fits = level_evidence(points, np.ones(60), range(2, 6), n_bootstrap=3)
    >>> int(table.loc[table["suggested"], "k"].iloc[0]), len(clustergram), sorted(fits)
    (3, 14, [2, 3, 4, 5])
    """
    ks = list(ks)
    if n_bootstrap < 2:
        raise SettingsError(f"n_bootstrap is {n_bootstrap}; agreement needs at least 2 resamples, better 20.")
    rng = np.random.default_rng(random_state)
    fits = {k: fit_kmeans(points, k, weights, random_state=random_state) for k in ks}
    some = _draw(weights, sample, rng)
    ground, mass = (points[some], np.ones(len(some))) if len(some) < len(points) else (points, weights)
    total = float(weights @ ((points - np.average(points, axis=0, weights=weights)) ** 2).sum(axis=1))
    agreement = _bootstrap(ground, mass, ks, n_bootstrap, rng)
    gaps = _gap(ground, mass, ks, rng)
    few = _draw(weights, max(2, sample // 2), rng)
    rows = []
    for k in ks:
        fit = fits[k]
        rows.append(
            {
                "k": k,
                "wcss": fit.wcss,
                "explained": 1 - fit.wcss / total,
                "silhouette": _silhouette(points[few], fit.labels[few]),
                "calinski_harabasz": ((total - fit.wcss) / (k - 1)) / (fit.wcss / (len(points) - k)),
                "bootstrap_ari": float(np.mean(agreement[k])),
                "bootstrap_ari_se": float(np.std(agreement[k], ddof=1) / np.sqrt(n_bootstrap)),
                "gap": gaps[k][0],
                "gap_se": gaps[k][1],
                "smallest_share": float(np.bincount(fit.labels, weights, minlength=k).min() / weights.sum()),
            }
        )
    table = _with_suggestion(pd.DataFrame(rows))
    gram, flows = _clustergram(points, weights, fits)
    return table, gram, flows, fits


def _candidates(wanted: Sequence[int], areas: int, min_areas: int) -> list[int]:
    ks = sorted({int(k) for k in wanted})
    if not ks or ks[0] < 2 or ks != list(range(ks[0], ks[-1] + 1)):
        raise SettingsError(
            f"candidates {list(wanted)} must be consecutive numbers from 2 up, like range(2, 13)."
        )
    possible = [k for k in ks if k * min_areas <= areas and k < areas]
    if not possible:
        raise NotSupportedError(
            f"neighbourhoods: {areas} areas are too few to weigh a split into {ks[0]}; weigh fewer levels."
        )
    return possible


def _draw(weights: np.ndarray, size: int, rng: np.random.Generator) -> np.ndarray:
    if len(weights) <= size:
        return np.arange(len(weights))
    return np.sort(rng.choice(len(weights), size=size, replace=False, p=weights / weights.sum()))


def _silhouette(points: np.ndarray, labels: np.ndarray) -> float:
    return float(silhouette_score(points, labels)) if 1 < len(np.unique(labels)) < len(labels) else np.nan


def _bootstrap(
    points: np.ndarray, weights: np.ndarray, ks: list[int], times: int, rng: np.random.Generator
) -> dict[int, list[float]]:
    """Agreement of each resample's partition with the partition of the ground itself."""
    base = {
        k: fit_kmeans(points, k, weights, n_init=30, random_state=int(rng.integers(2**31))).labels for k in ks
    }
    found: dict[int, list[float]] = {k: [] for k in ks}
    for _ in range(times):
        counts = rng.multinomial(len(points), np.full(len(points), 1 / len(points)))
        drawn = counts > 0
        for k in ks:
            seed = int(rng.integers(2**31))
            fit = fit_kmeans(
                points[drawn], k, (weights * counts)[drawn], n_init=30, random_state=seed, keep=3
            )
            found[k].append(float(adjusted_rand_score(base[k], nearest(points, fit.centroids)[0])))
    return found


def _gap(
    points: np.ndarray, weights: np.ndarray, ks: list[int], rng: np.random.Generator, times: int = 5
) -> dict[int, tuple[float, float]]:
    """Tibshirani's gap with references uniform in the box along the principal components."""
    rows = _draw(weights, min(len(points), 3_000), rng)
    own = points[rows]
    middle = own.mean(axis=0)
    _, _, axes = np.linalg.svd(own - middle, full_matrices=False)
    turned = (own - middle) @ axes.T
    low, high = turned.min(axis=0), turned.max(axis=0)
    references = [rng.uniform(low, high, turned.shape) @ axes for _ in range(times)]
    out = {}
    for k in ks:
        log_own = np.log(max(fit_kmeans(own, k, n_init=20, keep=2).wcss, 1e-300))
        log_reference = np.array([np.log(fit_kmeans(ref, k, n_init=5, keep=1).wcss) for ref in references])
        out[k] = (float(log_reference.mean() - log_own), float(log_reference.std() * np.sqrt(1 + 1 / times)))
    return out


def _with_suggestion(table: pd.DataFrame) -> pd.DataFrame:
    """Mark peaks of the criteria; suggest the best score among the k that refits agree on."""
    table = table.copy()
    peaks: list[list[str]] = [[] for _ in range(len(table))]
    for name, words in CRITERIA.items():
        values = table[name].to_numpy(dtype=float)
        for i in range(1, len(values) - 1):
            if values[i] > values[i - 1] and values[i] > values[i + 1]:
                peaks[i].append(words)
    table["peaks"] = [", ".join(names) for names in peaks]
    compact = table[["silhouette", "calinski_harabasz"]]
    spread = (compact.max() - compact.min()).replace(0, 1)
    stable = table["bootstrap_ari"] >= STABLE * table["bootstrap_ari"].max()
    table["score"] = ((compact - compact.min()) / spread).mean(axis=1).where(stable)
    best = int(np.nanargmax(table["score"].to_numpy(dtype=float))) if table["score"].notna().any() else 0
    table["suggested"] = np.arange(len(table)) == best
    return table


def _clustergram(
    points: np.ndarray, weights: np.ndarray, fits: dict[int, KMeansFit]
) -> tuple[pd.DataFrame, pd.DataFrame]:
    share = weights / weights.sum()
    gaps = points - share @ points
    values, axes = np.linalg.eigh((gaps * share[:, None]).T @ gaps)
    axis = axes[:, int(np.argmax(values))]
    component = gaps @ (axis * np.sign(axis[np.argmax(np.abs(axis))]))
    nodes, flows = [], []
    for k, fit in fits.items():
        mass = np.bincount(fit.labels, share, minlength=k)
        position = np.bincount(fit.labels, share * component, minlength=k) / mass
        nodes += [{"k": k, "cluster": c, "position": position[c], "share": mass[c]} for c in range(k)]
        if k + 1 in fits:
            both = np.bincount(fit.labels * (k + 1) + fits[k + 1].labels, share, minlength=k * (k + 1))
            flows += [
                {"k": k, "cluster": c // (k + 1), "next_cluster": c % (k + 1), "share": both[c]}
                for c in np.flatnonzero(both > 0)
            ]
    columns = ["k", "cluster", "next_cluster", "share"]
    return pd.DataFrame(nodes), pd.DataFrame(flows, columns=columns)


def _best(rows: pd.DataFrame, criterion: str) -> int:
    return int(rows["k"].to_numpy()[int(np.nanargmax(rows[criterion].to_numpy(dtype=float)))])


def _in_words(level: str, parent: str, rows: pd.DataFrame) -> str:
    pick = rows[rows["suggested"]].iloc[0]
    where = f"{level}s of {parent}" if parent else f"{level}s"
    said = [
        f"{words} is highest at {_best(rows, name)}"
        for name, words in CRITERIA.items()
        if rows[name].notna().any()
    ]
    why = "best on silhouette and Calinski–Harabasz together among the numbers refits agree on"
    why += f"; {_peaks_there(str(pick['peaks']))}"
    other = rows[(rows["peaks"] != "") & ~rows["suggested"]]
    others = "; ".join(f"{k} ({peaks})" for k, peaks in zip(other["k"], other["peaks"], strict=True))
    return (
        f"{int(pick['k'])} {where} suggested: {why}. {', '.join(said)}; "
        f"the gap, a diagnostic only, at {_best(rows, 'gap')}. "
        f"A refit on resampled areas agrees {pick['bootstrap_ari']:.2f} (1 is perfect); "
        f"the smallest type holds {100 * pick['smallest_share']:.1f}%."
        + (f" Other peaks: {others}." if others else "")
        + (
            ""
            if rows["bootstrap_ari"].max() >= 0.8
            else " No number is stable: a cut of convenience, not of nature."
        )
    )


def _peaks_there(peaks: str) -> str:
    names = peaks.split(", ") if peaks else []
    if len(names) < 2:
        return f"{names[0]} peaks there" if names else "no criterion peaks there"
    return f"{', '.join(names[:-1])} and {names[-1]} peak there"


def _notes(points: np.ndarray, sample: int, times: int) -> tuple[str, ...]:
    if len(points) <= sample:
        return ()
    return (
        f"Bootstrap agreement ({times} resamples) and gap rest on {sample:,} of {len(points):,} areas, the silhouette "
        f"on {sample // 2:,}; fit and Calinski–Harabasz on all.",
    )


def _of(frame: pd.DataFrame, parent: str) -> pd.DataFrame:
    if parent not in set(frame["parent"]):
        raise SettingsError(
            f"No evidence for '{parent}'. Known are {', '.join(map(repr, frame['parent'].unique()))}."
        )
    return frame[frame["parent"] == parent]
