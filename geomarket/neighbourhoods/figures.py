"""Figures of the classification (matplotlib)."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import pandas as pd

from geomarket.errors import SettingsError

__all__ = ["plot_clustergram", "plot_evidence", "plot_migration", "plot_type"]

OVER, UNDER, NEUTRAL = "#b5482a", "#2f6f8f", "#8a8a8a"
_RADIAL_END = 300


def plot_type(
    index: pd.DataFrame,
    types: pd.DataFrame,
    code: str,
    features: int = 16,
    style: Literal["bar", "radial"] = "bar",
    ax: Any = None,
) -> Any:
    """Draw the indices of one type against the average of 100.

    Parameters
    ----------
    index : DataFrame
        As from :func:`~geomarket.neighbourhoods.index_table`.
    types : DataFrame
        code, name.
    code : str
        The type.
    features : int
        How many variables are drawn, strongest first (in standard deviations between areas).
    style : {"bar", "radial"}
        Bars on a log scale (half is as far from 100 as double) with 95% intervals, or a radial chart
        (which ends at 300, and says so where a bar would be longer).
    ax : matplotlib axes, optional
        Polar for the radial style.

    Returns
    -------
    matplotlib axes

    Raises
    ------
    SettingsError
        Unknown code or style.

    Examples
    --------
    >>> import matplotlib
    >>> matplotlib.use("Agg")
    >>> table = pd.DataFrame({"code": ["A"], "label": ["renting"], "index": [200.0], "index_low": [180.0],
    ...                       "index_high": [220.0], "strength": [1.5], "reliable": [True]})
    >>> ax = plot_type(table, pd.DataFrame({"code": ["A"], "name": ["Renters"]}), "A")
    >>> ax.get_title()
    'A  Renters'
    """
    rows = index[(index["code"] == code) & index["reliable"].astype(bool) & (index["index"] > 0)]
    if code not in set(index["code"]):
        raise SettingsError(
            f"plot: there is no type '{code}'. Known are {', '.join(index['code'].unique()[:12])}."
        )
    order = rows["strength"].abs().round(9).sort_values(ascending=False, kind="stable").index[:features]
    rows = rows.loc[order].sort_values("index", kind="stable")
    if style == "radial":
        ax = _radial(rows, ax)
    elif style == "bar":
        ax = _bars(rows, ax)
    else:
        raise SettingsError(f"style '{style}' is not known. Use 'bar' or 'radial'.")
    name = types.loc[types["code"] == code, "name"].iloc[0]
    ax.set_title(f"{code}  {name}", pad=6 if style == "bar" else 30)
    return ax


def plot_clustergram(nodes: pd.DataFrame, flows: pd.DataFrame, ax: Any = None) -> Any:
    """Draw how clusters part as k grows: dots at the mean of the first component, bands where areas go.

    Parameters
    ----------
    nodes, flows : DataFrame
        ``clustergram`` and ``flows`` of one parent of a :class:`LevelEvidence`.
    ax : matplotlib axes, optional
        Where to draw.

    Returns
    -------
    matplotlib axes

    Examples
    --------
    >>> import matplotlib
    >>> matplotlib.use("Agg")
    >>> nodes = pd.DataFrame({"k": [1, 2, 2], "cluster": [0, 0, 1], "position": [0, -1, 1], "share": [1, 0.6, 0.4]})
    >>> flows = pd.DataFrame({"k": [1, 1], "cluster": [0, 0], "next_cluster": [0, 1], "share": [0.6, 0.4]})
    >>> len(plot_clustergram(nodes, flows).lines)
    2
    """
    ax = new_axes(ax)
    place = nodes.set_index(["k", "cluster"])["position"]
    for k, cluster, next_cluster, share in flows[["k", "cluster", "next_cluster", "share"]].to_numpy():
        ends = [place[int(k), int(cluster)], place[int(k) + 1, int(next_cluster)]]
        ax.plot(
            [k, k + 1], ends, color=UNDER, alpha=0.5, linewidth=max(0.3, 14 * share), solid_capstyle="butt"
        )
    ax.scatter(
        nodes["k"], nodes["position"], s=25 + 500 * nodes["share"], color=OVER, zorder=3, edgecolor="white"
    )
    ax.set_xlabel("number of types")
    ax.set_ylabel("mean of the first principal component")
    ax.set_xticks(sorted(nodes["k"].unique()))
    ax.spines[["top", "right"]].set_visible(False)
    return ax


def plot_evidence(table: pd.DataFrame, nodes: pd.DataFrame, flows: pd.DataFrame) -> np.ndarray:
    """Draw clustergram, silhouette, Calinski–Harabasz, bootstrap agreement and gap side by side.

    Parameters
    ----------
    table, nodes, flows : DataFrame
        ``table``, ``clustergram`` and ``flows`` of one parent of a :class:`LevelEvidence`.

    Returns
    -------
    ndarray of matplotlib axes

    Examples
    --------
    >>> import matplotlib
    >>> matplotlib.use("Agg")
    >>> from geomarket.neighbourhoods import level_evidence
    >>> points = np.random.default_rng(0).normal(size=(40, 2))
    >>> table, nodes, flows, _ = level_evidence(points, np.ones(40), range(2, 5), n_bootstrap=2)
    >>> [ax.get_title() for ax in plot_evidence(table, nodes, flows)[1:3]]
    ['silhouette', 'Calinski–Harabasz']
    """
    import matplotlib.pyplot as plt

    figure = plt.figure(figsize=(12, 7), layout="constrained")
    grid = figure.add_gridspec(2, 4)
    first = plot_clustergram(nodes, flows, ax=figure.add_subplot(grid[0, :]))
    panels = {
        "silhouette": ("silhouette", None),
        "calinski_harabasz": ("Calinski–Harabasz", None),
        "bootstrap_ari": ("bootstrap agreement", "bootstrap_ari_se"),
        "gap": ("gap (diagnostic)", "gap_se"),
    }
    axes = [first]
    chosen = int(table.loc[table["suggested"], "k"].iloc[0])
    for i, (column, (words, error)) in enumerate(panels.items()):
        ax = figure.add_subplot(grid[1, i])
        spread = table[error] if error else None
        ax.errorbar(table["k"], table[column], yerr=spread, color=UNDER, marker="o", markersize=4, capsize=2)
        ax.axvline(chosen, color=OVER, linewidth=0.8, linestyle="--")
        ax.set_title(words, fontsize=10)
        ax.set_xticks(table["k"])
        ax.spines[["top", "right"]].set_visible(False)
        axes.append(ax)
    first.axvline(chosen, color=OVER, linewidth=0.8, linestyle="--")
    first.set_title(f"{chosen} suggested", loc="left", fontsize=10)
    return np.array(axes, dtype=object)


def plot_migration(table: pd.DataFrame, ax: Any = None) -> Any:
    """Draw where the people of each old type are now, as a share of the old type.

    Parameters
    ----------
    table : DataFrame
        ``table`` of a :class:`VintageComparison`.
    ax : matplotlib axes, optional
        Where to draw.

    Returns
    -------
    matplotlib axes

    Examples
    --------
    >>> import matplotlib
    >>> matplotlib.use("Agg")
    >>> moves = pd.DataFrame({"old": ["A", "A"], "new": ["A", "B"], "matched": [True, False], "share": [0.8, 0.2]})
    >>> [text.get_text() for text in plot_migration(moves).texts]
    ['80', '20']
    """
    wide = table.pivot(index="old", columns="new", values="share").fillna(0.0)
    matched = table[table["matched"]].set_index("old")["new"]
    order = [matched[code] for code in wide.index if code in matched.index]
    wide = wide[[*order, *(code for code in wide.columns if code not in order)]]
    ax = new_axes(ax, height=0.4 * len(wide) + 1.5)
    ax.imshow(wide, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    shares = wide.to_numpy(dtype=float)
    for i, j in np.argwhere(shares >= 0.005):
        share = shares[i, j]
        ax.text(
            j, i, f"{100 * share:.0f}", ha="center", va="center", color="white" if share > 0.6 else "black"
        )
    ax.set_xticks(range(wide.shape[1]), wide.columns)
    ax.set_yticks(range(len(wide)), wide.index)
    ax.set_xlabel("new type")
    ax.set_ylabel("old type (% of its people)")
    return ax


def new_axes(ax: Any, height: float = 4.5, projection: str | None = None) -> Any:
    """Return the axes given, or fresh ones."""
    if ax is not None:
        return ax
    import matplotlib.pyplot as plt

    return plt.figure(figsize=(7, height), layout="constrained").add_subplot(projection=projection)


def _bars(rows: pd.DataFrame, ax: Any) -> Any:
    ax = new_axes(ax, height=0.3 * len(rows) + 1.2)
    values = rows["index"].to_numpy(dtype=float)
    place = np.arange(len(rows))
    colours = np.where(values >= 100, OVER, UNDER)
    ax.barh(place, values - 100, left=100, color=colours, height=0.7)
    low = np.clip(values - rows["index_low"].fillna(rows["index"]).to_numpy(dtype=float), 0, values * 0.98)
    high = np.clip(rows["index_high"].fillna(rows["index"]).to_numpy(dtype=float) - values, 0, None)
    ax.errorbar(values, place, xerr=[low, high], fmt="none", ecolor="black", elinewidth=0.8, capsize=2)
    ax.set_xscale("log")
    ticks = [
        t
        for t in (10, 25, 50, 100, 200, 400, 800)
        if values.min() / 1.5 <= t <= values.max() * 1.5 or t == 100
    ]
    ax.set_xticks(ticks, [str(t) for t in ticks])
    ax.minorticks_off()
    ax.set_yticks(place, rows["label"])
    ax.axvline(100, color="black", linewidth=0.8)
    ax.set_xlabel("index (100 = average)")
    ax.spines[["top", "right"]].set_visible(False)
    return ax


def _radial(rows: pd.DataFrame, ax: Any) -> Any:
    ax = new_axes(ax, height=7, projection="polar")
    values = np.minimum(rows["index"].to_numpy(dtype=float), _RADIAL_END)
    angle = np.linspace(0, 2 * np.pi, len(rows), endpoint=False)
    ax.bar(
        angle, values, width=2 * np.pi / max(len(rows), 1) * 0.9, color=np.where(values >= 100, OVER, UNDER)
    )
    ax.plot(np.linspace(0, 2 * np.pi, 200), np.full(200, 100.0), color="black", linewidth=0.8)
    edge = max(150.0, float(values.max(initial=100)) * 1.05)
    ax.set_rlim(0, edge)
    ax.set_xticks(angle, [])
    for turn, label in zip(angle, rows["label"], strict=True):
        side = np.cos(turn)  # labels grow away from the circle
        align = "center" if abs(side) < 0.2 else "left" if side > 0 else "right"
        ax.text(turn, edge * 1.05, label, ha=align, va="bottom" if np.sin(turn) >= 0 else "top", fontsize=8)
    ax.set_rticks([50, 100, 200])
    if (rows["index"] > _RADIAL_END).any():
        ax.text(0.5, -0.12, f"bars end at {_RADIAL_END}", transform=ax.transAxes, ha="center", fontsize=8)
    return ax
