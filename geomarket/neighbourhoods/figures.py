"""Figures of the classification (matplotlib)."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import pandas as pd

from geomarket.errors import SettingsError

__all__ = ["plot_type"]

OVER, UNDER, NEUTRAL = "#b5482a", "#2f6f8f", "#8a8a8a"


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
        Bars on a log scale (half is as far from 100 as double) with 95 % intervals, or a radial chart
        (capped at 300).
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
    ax.set_title(f"{code}  {name}")
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
    values = np.minimum(rows["index"].to_numpy(dtype=float), 300)
    angle = np.linspace(0, 2 * np.pi, len(rows), endpoint=False)
    ax.bar(
        angle, values, width=2 * np.pi / max(len(rows), 1) * 0.9, color=np.where(values >= 100, OVER, UNDER)
    )
    ax.plot(np.linspace(0, 2 * np.pi, 200), np.full(200, 100.0), color="black", linewidth=0.8)
    ax.set_xticks(angle, rows["label"], fontsize=8)
    ax.set_rlim(0, max(150.0, float(values.max(initial=100)) * 1.05))
    ax.set_rticks([50, 100, 200])
    return ax
