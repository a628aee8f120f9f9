"""Figures of stores: what sets their clusters apart, where their trade comes from, what-ifs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from geomarket.report.catchments import score_bars, trade_writer, unit_words, what_if_steps
from geomarket.report.clusters import cluster_traits
from geomarket.report.figures.slides import (
    ACCENT,
    INK,
    UP,
    bare,
    heading,
    index_bars,
    key_above,
    pages_of,
    panels,
    same_scale,
    slide,
    stacked_bars,
    waterfall,
)
from geomarket.report.map import NeighbourhoodKey, trade_by_type
from geomarket.report.names import natural_key
from geomarket.report.numbers import percent, plural, signed
from geomarket.report.people import strongest_bars
from geomarket.report.sections import seen_by_distance, trade_by_distance

__all__ = [
    "catchment_models",
    "catchments",
    "store_cluster_trade",
    "store_clusters",
    "store_trade",
    "what_ifs",
]

_PLAIN = "#a9b4b0"


def _names(plan: Any) -> dict[str, str]:
    named = plan.store_clusters.table.drop_duplicates("store_cluster").set_index("store_cluster")["name"]
    return {code: str(named[code]) for code in sorted(named.index.astype("str"), key=natural_key)}


def store_clusters(plan: Any, key: NeighbourhoodKey) -> list[Figure] | None:
    """What sets each store cluster apart."""
    names = _names(plan)
    traits = {code: cluster_traits(plan, code) for code in names}
    told = [code for code, mine in traits.items() if not mine.empty]
    if not told:
        return None
    sizes = plan.store_clusters.table["store_cluster"].astype("str").value_counts()
    figures = []
    for codes in pages_of(told, 9):
        figure = slide(
            plan,
            "One store cluster, and what its stores are like"
            if len(names) == 1
            else f"{len(names)} store clusters, and what sets them apart",
            "Index of the strongest traits of shoppers, sales and stores: 100 is the chain's average",
        )
        every = panels(figure, len(codes))
        for axes, code in zip(every, codes):
            bars = strongest_bars(traits[code])
            index_bars(
                axes,
                bars,
                letters=28 if len(codes) > 2 else 44,
                top=260.0,
                size=10 if len(codes) > 4 else 11.5,
            )
            heading(
                axes,
                f"{code} · {names[code]} ({plural(int(sizes[code]), 'store')})",
                34 if len(codes) > 4 else 52,
            )
        same_scale(every)
        figures.append(figure)
    return figures


def _widest(wide: pd.DataFrame, key: NeighbourhoodKey, names: Mapping[str, str]) -> str:
    """Say which type's share differs most between the rows; a row without a name goes by its code."""
    spans = wide.max() - wide.min()
    code = str(spans.idxmax())
    if len(wide) < 2:
        code = str(wide.iloc[0].idxmax())
        only = str(wide.index[0])
        return f"{key.label(code)}: {percent(wide.iloc[0][code])} of the trade of {names.get(only, only)}"
    low, high = str(wide[code].idxmin()), str(wide[code].idxmax())
    shares = [percent(wide[code][which]) for which in (high, low)]
    most, least = (names.get(row, row) for row in (high, low))
    return f"{key.label(code)}: {shares[0]} of the trade of {most}, {shares[1]} of {least}"


def _trade_slide(plan: Any, key: NeighbourhoodKey, title: str, what: str) -> Figure:
    figure = slide(plan, title, f"Share of the expected trade by neighbourhood type of the shoppers, {what}")
    entries = [Patch(color=key.colour(code), label=key.label(code)) for code in key.codes]
    key_above(figure, entries)
    return figure


def store_cluster_trade(plan: Any, key: NeighbourhoodKey) -> list[Figure] | None:
    """Where each store cluster's trade comes from."""
    trade = trade_by_type(plan)
    cluster = plan.store_clusters.table.set_index("store_id")["store_cluster"].astype("str")
    demand = trade.assign(store_cluster=trade["store_id"].map(cluster))
    wide = demand.pivot_table(index="store_cluster", columns="supergroup", values="demand", aggfunc="sum")
    wide = wide.reindex(columns=list(key.codes)).fillna(0.0)
    wide = wide[wide.sum(axis=1) > 0]
    if wide.empty:
        return None
    wide = wide.div(wide.sum(axis=1), axis=0)
    names = _names(plan)
    figures = []
    for codes in pages_of(sorted(wide.index, key=natural_key), 16):
        figure = _trade_slide(plan, key, _widest(wide, key, {}), "by store cluster")
        axes = figure.add_subplot()
        labels = [f"{code} · {names[code]}" for code in codes]
        rows = wide.loc[list(codes), list(key.codes)].to_numpy(dtype=float)
        stacked_bars(axes, labels, rows, [key.colour(code) for code in key.codes], letters=30)
        figures.append(figure)
    return figures


def store_trade(plan: Any, key: NeighbourhoodKey) -> list[Figure] | None:
    """Where each store's trade comes from."""
    trade = trade_by_type(plan)
    if trade.empty:
        return None
    wide = trade.pivot_table(index="store_id", columns="supergroup", values="share", aggfunc="sum")
    wide = wide.reindex(columns=list(key.codes)).fillna(0.0)
    named = plan.market.stores.drop_duplicates("store_id")
    stores = dict(zip(named["store_id"], named["name"].astype("str")))
    table = plan.store_clusters.table.set_index("store_id")["store_cluster"].astype("str")
    ordered = sorted(
        (store for store in table.index if store in wide.index),
        key=lambda s: (natural_key(table[s]), natural_key(s)),
    )
    if not ordered:
        return None
    figures = []
    for page in pages_of(ordered, 60):
        what = "store by store, in the order of their store clusters"
        figure = _trade_slide(plan, key, _widest(wide.loc[ordered], key, stores), what)
        columns = pages_of(page, 30) if len(page) > 30 else [page]
        for k, part in enumerate(columns):
            axes = figure.add_subplot(1, len(columns), k + 1)
            labels = [f"{table[store]} · {stores.get(store, store)}" for store in part]
            rows = wide.loc[list(part), list(key.codes)].to_numpy(dtype=float)
            size = 8.5 if len(part) > 20 else 11
            stacked_bars(
                axes,
                labels,
                rows,
                [key.colour(c) for c in key.codes],
                size=size,
                letters=90,
                written=len(part) <= 20,
            )
            if len(part) > 20:
                axes.tick_params(axis="x", labelsize=10)
        figures.append(figure)
    return figures


def catchments(plan: Any, key: NeighbourhoodKey) -> Figure | None:
    """How far away own stores' trade comes from."""
    found = trade_by_distance(plan)
    if found is None:
        return None
    km, share, reach = found
    seen = [(a, b) for a, b in seen_by_distance(plan) if a <= km[-1]]
    figure = slide(
        plan,
        f"Half of own stores' trade comes from within {reach[0.5]:.1f} km, 90% from within {reach[0.9]:.1f} km",
        "Share of own stores' trade from within a distance, as the crow flies"
        + ("; crosses: known customers' trips" if seen else ""),
    )
    axes = figure.add_subplot()
    axes.plot(km, share, color=ACCENT, linewidth=3, label="catchment model")
    if seen:
        axes.plot(
            *zip(*seen), "x", color=INK, markersize=10, markeredgewidth=2, label="known customers' trips"
        )
        axes.legend(frameon=False, loc="lower right")
    for part, far in reach.items():
        axes.plot([far], [part], "o", color=ACCENT, markersize=10)
        axes.annotate(
            f"{part:.0%}: {far:.1f} km",
            (far, part),
            xytext=(12, -16),
            textcoords="offset points",
            fontsize=14,
        )
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.set_xlabel("km from the store")
    axes.set_ylabel("share of trade")
    axes.set_xlim(0, km[-1] * 1.02)
    axes.set_ylim(0, 1.02)
    bare(axes)
    return figure


def catchment_models(plan: Any, key: NeighbourhoodKey) -> Figure | None:
    """How well the catchment model does on trade it had not seen."""
    comparison = (
        getattr(plan.catchments, "comparison", pd.DataFrame())
        if plan.catchments is not None
        else pd.DataFrame()
    )
    if comparison.empty or "huff" not in set(comparison["model"]):
        return None
    bars, label, test = score_bars(comparison)
    (_, score, _), others = bars[0], bars[1:]
    best = max((value for _, value, _ in others if np.isfinite(value)), default=float("nan"))
    verdict = "The fitted catchment model explains trade it had not seen better than any simple rule"
    if not round(score, 2) > round(best, 2):
        rule = next(name for name, value, _ in others if value == best)
        verdict = f"The fitted catchment model explains trade it had not seen no better than: {rule}"
    figure = slide(plan, verdict, f"{label}, on {test}; longer is better")
    axes = figure.add_subplot()
    place = np.arange(len(bars))
    values = np.array([value for _, value, _ in bars], dtype=float)
    axes.barh(place, np.nan_to_num(values), height=0.6, color=[UP] + [_PLAIN] * len(others))
    for k, (_, value, text) in enumerate(bars):
        axes.annotate(
            text,
            (max(value, 0.0) if np.isfinite(value) else 0.0, k),
            xytext=(7, 0),
            textcoords="offset points",
            va="center",
            fontsize=14,
            fontweight="bold" if k == 0 else "normal",
        )
    axes.axvline(0, color=INK, linewidth=0.9)
    axes.set_yticks(place, [name for name, _, _ in bars], fontsize=14)
    axes.set_ylim(len(bars) - 0.4, -0.6)
    axes.spines["left"].set_visible(False)
    axes.margins(x=0.1)
    bare(axes, "x")
    return figure


def what_ifs(plan: Any, key: NeighbourhoodKey) -> list[Figure] | None:
    """What each what-if does to the chain."""
    found = getattr(plan, "whatifs", None)
    if found is None or found.table.empty:
        return None
    write = trade_writer(plan)
    figures = []
    for row in found.table.to_dict("records"):
        net = signed(write(row["net_own"]))
        figure = slide(
            plan,
            f"{row['what_if']}: the chain as a whole {net} {unit_words(plan)}",
            f"Expected trade {unit_words(plan)}: from the stores it touches to the chain as a whole",
            f"Competitors {signed(write(row['competitors']))}.",
        )
        waterfall(
            figure.add_subplot(),
            what_if_steps(row),
            ("The chain as a whole", float(row["net_own"])),
            write,
            write,
        )
        figures.append(figure)
    return figures
