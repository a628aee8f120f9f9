"""Every figure of the report as PNG and SVG for slides, drawn without a browser."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import numpy.typing as npt
import pandas as pd
import shapely
from matplotlib.collections import LineCollection, PolyCollection
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from geomarket.errors import SettingsError
from geomarket.hexes.cells import cell_boundaries, cell_centres
from geomarket.hexmap import central_meridian, format_for, number_view, project
from geomarket.report.clusters import cluster_traits
from geomarket.report.map import NeighbourhoodKey, neighbourhood_key
from geomarket.report.names import natural_key
from geomarket.report.numbers import money_tick
from geomarket.report.people import strongest_bars
from geomarket.report.sections import promotion_steps, trade_by_distance

__all__ = ["map_figure", "write_figures"]

_INK, _MUTED, _RULE, _ACCENT = "#1b2422", "#5a6561", "#dddad1", "#0b6663"
_UP, _DOWN, _NO_DATA = "#0b7a75", "#b3541e", "#eae8e1"
_STYLE: Any = {
    "font.family": "sans-serif",
    "font.sans-serif": ["Helvetica Neue", "Arial", "Liberation Sans", "DejaVu Sans"],
    "font.size": 10,
    "text.color": _INK,
    "axes.edgecolor": _MUTED,
    "axes.labelcolor": _MUTED,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": _MUTED,
    "ytick.color": _MUTED,
    "axes.titlelocation": "left",
    "axes.titleweight": "bold",
    # SVG elements get ids from this instead of a random number
    "svg.hashsalt": "geomarket",
    "svg.fonttype": "none",
}


def write_figures(
    plan: Any, folder: str | os.PathLike[str], formats: Sequence[str] = ("png", "svg"), dpi: int = 160
) -> list[Path]:
    """Write the report's figures as image files.

    Parameters
    ----------
    plan : Plan
        A finished plan.
    folder : path-like
        Made if missing; files of the same name are replaced.
    formats : sequence of {"png", "svg", "pdf"}
        What to write.
    dpi : int
        Dots an inch of PNG files.

    Returns
    -------
    list of Path
        ``map_neighbourhoods``, ``map_own_share``, ``map_whitespace`` and ``catchments`` (where they are known),
        ``frontier``, ``neighbourhoods``, ``migration`` (where an earlier plan was named), ``store_clusters``,
        ``customers`` (where known) and ``promotions`` (where planned), in each format. The same plan gives the same
        bytes under one version of matplotlib.

    Raises
    ------
    SettingsError
        If a format is not one of the three.
    """
    unknown = sorted(set(formats) - {"png", "svg", "pdf"})
    if unknown:
        raise SettingsError(f"formats: {', '.join(unknown)} can't be written; choose from png, svg and pdf.")
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    key = neighbourhood_key(plan.neighbourhoods)
    drawings: dict[str, Callable[[], Figure]] = {"map_neighbourhoods": lambda: map_figure(plan)}
    if plan.catchments is not None:
        drawings["map_own_share"] = lambda: map_figure(plan, "own_share")
        drawings["map_whitespace"] = lambda: map_figure(plan, "whitespace")
        reach = trade_by_distance(plan)
        if reach is not None:
            drawings["catchments"] = lambda: _decay(*reach)
    drawings["frontier"] = lambda: _frontier(plan)
    drawings["neighbourhoods"] = lambda: _neighbourhoods(plan, key)
    if getattr(plan, "vintages", None) is not None:
        drawings["migration"] = lambda: _migration(plan)
    if len(plan.store_clusters.profile):
        drawings["store_clusters"] = lambda: _store_clusters(plan)
    if plan.customers is not None and len(plan.customers.table):
        drawings["customers"] = lambda: _customers(plan)
    if plan.promotions is not None and len(plan.promotions.table):
        drawings["promotions"] = lambda: _promotions(plan)
    written = []
    with matplotlib.rc_context(_STYLE):
        for name, draw in drawings.items():
            figure = draw()
            for extension in formats:
                path = folder / f"{name}.{extension}"
                # a date in the file would change its bytes from run to run
                undated = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}.get(
                    extension, {"Software": None}
                )
                figure.savefig(path, dpi=dpi, metadata=undated)
                written.append(path)
    return written


def map_figure(plan: Any, column: str | None = None) -> Figure:
    """Draw the market's hexagons with boundaries and own stores.

    Parameters
    ----------
    plan : Plan
        A finished plan.
    column : str or None
        A census variable, or ``own_share``, ``market`` or ``whitespace`` of the catchments; None: neighbourhood
        types.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    SettingsError
        If there is no such column.
    """
    key = neighbourhood_key(plan.neighbourhoods)
    cells = plan.hexes.table[["cell"]].copy()
    if column is None:
        types = plan.neighbourhoods.table.set_index("cell")["supergroup"]
        colours = cells["cell"].map(types).map({code: key.colour(code) for code in key.codes})
        entries = [(key.label(code), key.colour(code)) for code in key.codes]
        title = "Neighbourhood types"
    else:
        colours, entries, title = _number_colours(plan, cells, column)
    missing = colours.isna()
    if missing.any():
        entries = [*entries, ("no residents or no data" if column is None else "no data", _NO_DATA)]
    figure = Figure(figsize=(9.6, 6.4), layout="constrained")
    axes = figure.add_subplot()
    meridian = central_meridian(cell_centres(cells["cell"].to_numpy())[0])
    _paint_hexagons(axes, cells["cell"].to_numpy(dtype=np.int64), colours, meridian)
    _paint_boundaries(axes, plan.market.boundaries, meridian)
    stores = plan.market.stores.dropna(subset=["lon", "lat"])
    x, y = _place(stores["lon"], stores["lat"], meridian)
    axes.scatter(x, y, s=22, color=_INK, edgecolor="white", linewidth=0.8, zorder=4)
    axes.set_aspect("equal")
    axes.axis("off")
    axes.set_title(title)
    axes.legend(
        handles=[Patch(facecolor=colour, label=label) for label, colour in entries],
        loc="center left",
        bbox_to_anchor=(1.0, 0.5),
        frameon=False,
    )
    return figure


def _number_colours(
    plan: Any, cells: pd.DataFrame, column: str
) -> tuple[pd.Series, list[tuple[str, str]], str]:
    """Return a colour per cell, the legend from high to low, and the title."""
    trade = {
        "own_share": "Own share of trade",
        "market": "Market size a year",
        "whitespace": "Whitespace a year",
    }
    variables = {variable.name: variable for variable in plan.hexes.variables}
    if column in trade and plan.catchments is not None and column in plan.catchments.cells:
        source, title = plan.catchments.cells, trade[column]
        kind, unit = ("rate", "share") if column == "own_share" else ("count", "money")
    elif column in variables:
        source, title = plan.hexes.table, variables[column].label.capitalize()
        kind, unit = variables[column].kind, variables[column].unit
    else:
        known = ", ".join([*variables, *(trade if plan.catchments is not None else [])])
        raise SettingsError(f"map_figure: there is no column {column!r}; choose from {known}.")
    values = cells["cell"].map(source.set_index("cell")[column]).to_numpy(dtype=float, na_value=np.nan)
    written = format_for(kind, unit, values, plan.market.currency)
    view = number_view(column, title, values, written)
    place = np.searchsorted(view["breaks"], np.nan_to_num(values), side="right")
    palette = np.array(view["colours"], dtype=object)
    colours = pd.Series(np.where(np.isfinite(values), palette[place], None), index=cells.index)
    heading = (
        f"{title}, {written['unit']} a hexagon" if kind == "count" and written["style"] == "number" else title
    )
    return colours, list(zip(view["classLabels"], view["colours"]))[::-1], heading


def _place(lon: Any, lat: Any, meridian: float) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    x, y = project(lon, lat, meridian)
    return x.astype(float), -y.astype(float)


def _paint_hexagons(axes: Any, cells: npt.NDArray[np.int64], colours: pd.Series, meridian: float) -> None:
    corners, plain, others = cell_boundaries(cells)
    rings: list[Any] = [None] * len(cells)
    for i in np.flatnonzero(plain):
        rings[i] = corners[i]
    for i, ring in zip(np.flatnonzero(~plain), others, strict=True):
        rings[i] = ring
    shapes = [np.column_stack(_place(ring[:, 0], ring[:, 1], meridian)) for ring in rings]
    known = colours.notna().to_numpy()
    filled = [shape for shape, is_known in zip(shapes, known) if is_known]
    empty = [shape for shape, is_known in zip(shapes, known) if not is_known]
    # an edge in the hexagon's own colour hides the seams
    axes.add_collection(
        PolyCollection(filled, facecolors=colours[known].tolist(), edgecolors="face", linewidths=0.3)
    )
    if empty:
        axes.add_collection(
            PolyCollection(empty, facecolors=_NO_DATA, edgecolors="#c9c5b9", linewidths=0.2, hatch="////")
        )
    axes.autoscale_view()


def _paint_boundaries(axes: Any, boundaries: Any, meridian: float) -> None:
    if boundaries is None or boundaries.empty:
        return
    frame = boundaries.to_crs(4326) if boundaries.crs is not None else boundaries
    lines = []
    for part in shapely.get_parts(shapely.boundary(frame.geometry.to_numpy())):
        points = shapely.get_coordinates(part)
        if len(points) > 1:
            lines.append(np.column_stack(_place(points[:, 0], points[:, 1], meridian)))
    for part in shapely.get_parts(frame.geometry[frame.geometry.geom_type.str.contains("Line")].to_numpy()):
        points = shapely.get_coordinates(part)
        lines.append(np.column_stack(_place(points[:, 0], points[:, 1], meridian)))
    limits = axes.get_xlim(), axes.get_ylim()
    axes.add_collection(LineCollection(lines, colors="white", linewidths=1.8, alpha=0.8))
    axes.add_collection(LineCollection(lines, colors="#2b3331", linewidths=0.6, linestyles="dashed"))
    axes.set_xlim(limits[0])
    axes.set_ylim(limits[1])


def _frontier(plan: Any) -> Figure:
    table, currency = plan.frontier.table, plan.market.currency
    figure = Figure(figsize=(8.4, 4.4), layout="constrained")
    axes = figure.add_subplot()
    place = np.arange(len(table))
    top = float(np.nanmax(table[["gain_in_sample", "gain_holdout", "net_high"]].to_numpy(dtype=float)))
    axes.plot(place, table["gain_in_sample"], ":", color=_MUTED, label="promised (in sample)")
    axes.plot(place, table["gain_holdout"], color=_INK, linewidth=1.3, label="kept (held out)")
    axes.plot(place, table["net"], "o-", color=_ACCENT, linewidth=2.4, markersize=4, label="net of costs")
    axes.fill_between(
        place,
        table["net_low"].to_numpy(dtype=float),
        table["net_high"].to_numpy(dtype=float),
        color=_ACCENT,
        alpha=0.15,
        linewidth=0,
        label="interval of the net gain",
    )
    chosen = np.flatnonzero(table["chosen"].astype(bool).to_numpy())
    for k in chosen:
        axes.axvline(float(k), color=_ACCENT, linestyle=(0, (2, 3)), linewidth=1, zorder=0)
    axes.axhline(0, color=_INK, linewidth=0.8)
    low = float(np.nanmin(table[["net", "net_low"]].to_numpy(dtype=float)))
    axes.set_ylim(max(low, -0.6 * max(top, 1.0)) * 1.05, max(top, 1.0) * 1.06)
    axes.set_xticks(place, [str(int(n)) for n in table["n_clusters"]])
    axes.yaxis.set_major_formatter(lambda value, _: money_tick(value, currency))
    axes.set_xlabel("store clusters")
    axes.set_title("Gain a year over one range for all")
    axes.legend(frameon=False, loc="lower left")
    axes.grid(axis="y", color=_RULE, linewidth=0.7)
    axes.set_axisbelow(True)
    return figure


def _decay(km: list[float], share: list[float], reach: dict[float, float]) -> Figure:
    figure = Figure(figsize=(7.2, 4.2), layout="constrained")
    axes = figure.add_subplot()
    axes.plot(km, share, color=_ACCENT, linewidth=2.4)
    for part, far in reach.items():
        axes.plot([far], [part], "o", color=_ACCENT, markersize=7)
        axes.annotate(
            f"{part:.0%}: {far:.1f} km", (far, part), xytext=(8, -12), textcoords="offset points", fontsize=9
        )
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
    axes.set_xlabel("km from the store")
    axes.set_title("How far away own stores' trade comes from")
    axes.grid(axis="y", color=_RULE, linewidth=0.7)
    axes.set_axisbelow(True)
    axes.set_xlim(left=0)
    axes.set_ylim(0, 1)
    return figure


def _migration(plan: Any) -> Figure:
    figure = Figure(figsize=(7.2, 4.8), layout="constrained")
    axes = figure.add_subplot()
    plan.vintages.plot(ax=axes)
    axes.set_title("What the neighbourhood types of the earlier plan became")
    return figure


def _store_clusters(plan: Any) -> Figure:
    names = plan.store_clusters.table.drop_duplicates("store_cluster").set_index("store_cluster")["name"]
    codes = sorted(names.index.astype("str"), key=natural_key)
    columns = min(3, len(codes))
    rows = -(-len(codes) // columns)
    figure = Figure(figsize=(4.2 * columns, 2.7 * rows), layout="constrained")
    for position, code in enumerate(codes):
        axes = figure.add_subplot(rows, columns, position + 1)
        bars = strongest_bars(cluster_traits(plan, code))
        _index_bars(axes, [bar.label for bar in bars], [bar.index for bar in bars])
        axes.set_title(f"{code} · {names[code]}", fontsize=10, color=_INK)
    return figure


def _neighbourhoods(plan: Any, key: NeighbourhoodKey) -> Figure:
    protected = {variable.name for variable in plan.hexes.variables if variable.protected}
    index = plan.neighbourhoods.index
    columns = min(3, max(len(key.codes), 1))
    rows = -(-max(len(key.codes), 1) // columns)
    figure = Figure(figsize=(4.2 * columns, 2.7 * rows), layout="constrained")
    for position, code in enumerate(key.codes):
        axes = figure.add_subplot(rows, columns, position + 1)
        bars = strongest_bars(index[(index["code"] == code) & ~index["variable"].isin(protected)])
        _index_bars(axes, [bar.label for bar in bars], [bar.index for bar in bars])
        axes.set_title(key.label(code), fontsize=10, color=_INK)
    return figure


def _customers(plan: Any) -> Figure:
    table = plan.customers.table.dropna(subset=["index"]).sort_values("index", ascending=False)
    figure = Figure(figsize=(7.2, 0.34 * len(table) + 1.2), layout="constrained")
    axes = figure.add_subplot()
    labels = [f"{code} · {name}" for code, name in zip(table["neighbourhood"], table["name"])]
    ends = np.where(table["index"] > 100, table["index_high"], table["index_low"])
    _index_bars(axes, labels, table["index"].tolist(), ends.tolist())
    axes.hlines(np.arange(len(table)), table["index_low"], table["index_high"], color=_INK, linewidth=1)
    axes.set_title("Customers per resident: index, 100 is the market")
    return figure


def _index_bars(
    axes: Any, labels: Sequence[str], values: Sequence[float], ends: Sequence[float] | None = None
) -> None:
    """Draw bars from 100; ``ends`` is where the numbers stand, if not at the end of the bars."""
    place = np.arange(len(labels))
    heights = np.asarray(values, dtype=float) - 100
    axes.barh(place, heights, left=100, height=0.55, color=np.where(heights > 0, _UP, _DOWN))
    axes.axvline(100, color=_INK, linewidth=0.8)
    axes.set_yticks(place, labels)
    axes.invert_yaxis()
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    for k, value, end in zip(place, values, ends or values):
        axes.annotate(
            f"{value:.0f}",
            (end, k),
            xytext=(4 if value > 100 else -4, 0),
            textcoords="offset points",
            ha="left" if value > 100 else "right",
            va="center",
            fontsize=9,
        )
    axes.margins(x=0.16)


def _promotions(plan: Any) -> Figure:
    steps = promotion_steps(plan)
    net = float(plan.promotions.table["net"].sum())
    labels = [label for label, _ in steps] + ["Net"]
    amounts = np.array([amount for _, amount in steps])
    starts = np.concatenate([[0.0], np.cumsum(amounts)[:-1], [0.0]])
    widths = np.append(amounts, net)
    colours = [_UP if amount > 0 else _DOWN for amount in amounts] + [_INK]
    figure = Figure(figsize=(8.4, 0.5 * len(labels) + 1.2), layout="constrained")
    axes = figure.add_subplot()
    place = np.arange(len(labels))
    axes.barh(place, widths, left=starts, height=0.6, color=colours)
    axes.axvline(0, color=_INK, linewidth=0.8)
    axes.set_yticks(place, labels)
    axes.invert_yaxis()
    axes.xaxis.set_major_formatter(lambda value, _: money_tick(value, plan.market.currency))
    axes.grid(axis="x", color=_RULE, linewidth=0.7)
    axes.set_axisbelow(True)
    axes.set_title("What the planned promotions bring")
    return figure
