"""Maps for slides: every layer the report's map can be coloured by, the stores, and where the test is."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import shapely
from matplotlib.collections import LineCollection, PolyCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from geomarket.errors import SettingsError
from geomarket.hexes.cells import cell_boundaries
from geomarket.hexmap import WORLD, central_meridian, class_colours, project, write_number
from geomarket.report.figures.slides import INK, MUTED, NO_DATA, slide, styled
from geomarket.report.map import CATCHMENT_BANDS, NeighbourhoodKey, _cells, _views, neighbourhood_key
from geomarket.report.names import natural_key, slug
from geomarket.report.numbers import count, money_short, percent, plural

__all__ = ["PlanMap", "map_figure"]

_EARTH_KM = 40_075.017
_MANY_HEXAGONS = 20_000
_MAP_BOX = (0.035, 0.085, 0.67, 0.725)
_LEGEND_LEFT = 0.735
_GROUND, _GROUND_EDGE = "#e9e6de", "#d3cfc4"
_SHAPES = ("o", "s", "^", "D", "v", "P", "X", "p", "<", ">", "h", "8")
_RIVAL_SHAPES = ("x", "+", "1", "2", "3", "4")
_MAX_CHAINS = 5
_MANY_STORES = 80
_FILES = {
    "supergroup": "neighbourhoods",
    "neighbourhood": "neighbourhood_groups",
    "type:uncertainty": "uncertainty",
    "people:score": "prospect_score",
}
_ARMS = {
    "test": ("changes first (test)", "o", "#0b6663"),
    "control": ("waits (control)", "s", "#d9a441"),
    "out": ("waits, not compared", ".", "#5a6561"),
}


@styled
def map_figure(plan: Any, column: str | None = None, *, store_id: str | None = None) -> Figure:
    """Draw the market's hexagons with boundaries, own stores, legend and scale bar, as the report's map shows them.

    Parameters
    ----------
    plan : Plan
        A finished plan.
    column : str or None
        What to colour by: a census variable's name, or ``neighbourhood``, ``uncertainty``, ``own_share``, ``market``,
        ``whitespace``, ``penetration``, ``door_drops`` or ``score``, as far as the plan has them; None: neighbourhood
        types.
    store_id : str or None
        An own store whose catchment is outlined: the hexagons 50, 70 and 90% of its trade come from.

    Returns
    -------
    matplotlib.figure.Figure
        A slide, 16 by 9. Few customers are hidden as they are in the report, and so are protected traits.

    Raises
    ------
    SettingsError
        If the report's map has no such column, or the plan no catchment of such a store.
    """
    return PlanMap(plan).draw("supergroup" if column is None else column, store_id)


@dataclass(frozen=True)
class PlanMap:
    """A plan's ground, projected once for all of its maps."""

    plan: Any

    @cached_property
    def key(self) -> NeighbourhoodKey:
        """Codes, names and colours of the neighbourhood types."""
        return neighbourhood_key(self.plan.neighbourhoods)

    @cached_property
    def cells(self) -> pd.DataFrame:
        """One row a cell, with all that can be shown."""
        return _cells(self.plan)

    @cached_property
    def views(self) -> list[dict[str, Any]]:
        """What the report's map can be coloured by."""
        return _views(self.plan, self.cells, self.key)[1]

    @cached_property
    def meridian(self) -> float:
        """The longitude the ground is laid out around."""
        return central_meridian(self.cells["lon"].to_numpy(dtype=float))

    @cached_property
    def hexagons(self) -> list[npt.NDArray[np.float64]]:
        """Each cell's corners on the map."""
        corners, plain, others = cell_boundaries(self.cells["cell"].to_numpy(dtype=np.int64))
        odd = iter(others)
        rings = [corners[i] if plain[i] else next(odd) for i in range(len(plain))]
        places = self.place(*np.concatenate(rings).T)
        return np.split(places, np.cumsum([len(ring) for ring in rings])[:-1])

    @cached_property
    def lines(self) -> list[npt.NDArray[np.float64]]:
        """The user's boundaries on the map."""
        boundaries = self.plan.market.boundaries
        if boundaries is None or boundaries.empty:
            return []
        frame = boundaries.to_crs(4326) if boundaries.crs is not None else boundaries
        shapes = shapely.force_2d(frame.geometry.to_numpy())
        outlines = np.where(shapely.get_dimensions(shapes) == 2, shapely.boundary(shapes), shapes)
        parts = [p for p in shapely.get_parts(outlines) if p is not None and p.geom_type != "Point"]
        return [self.place(*shapely.get_coordinates(part).T) for part in parts if not part.is_empty]

    def place(self, lon: Any, lat: Any) -> npt.NDArray[np.float64]:
        """Return positions on the map, y to the north."""
        x, y = project(lon, lat, self.meridian)
        return np.column_stack([x, -y]).astype(float)

    def names(self) -> dict[str, str]:
        """Return file name -> key of every view, in the order of the report's menu."""
        found: dict[str, str] = {}
        for view in self.views:
            stem = _FILES.get(view["key"]) or slug(view["key"].rsplit(":", 1)[-1]).replace("-", "_")
            name, number = f"map_{stem}", 2
            while name.lower() in {known.lower() for known in found}:
                name, number = f"map_{stem}_{number}", number + 1
            found[name] = view["key"]
        return found

    def draw(self, column: str, store_id: str | None = None) -> Figure:
        """Draw one view of the map, with a store's catchment if one is named."""
        view = self._view(column)
        values = self.cells[view["column"]]
        colours, entries = _class_colours(view, values) if view["kind"] == "class" else _colours(view, values)
        missing = colours.isna().to_numpy()
        if missing.any():
            entries = [*entries, (view["missingLabel"], NO_DATA)]
        title, subtitle = _words(view, self.cells)
        figure = slide(self.plan, title, subtitle, view["note"] if view["kind"] == "number" else "")
        axes = self._ground(figure)
        self._hexagons(axes, colours.to_numpy(dtype=object), missing)
        self._boundaries(axes)
        extra = self._catchment(axes, store_id) if store_id is not None else []
        extra += self._stores(axes)
        _scale_bar(axes, self._km_per_unit(axes))
        heading = f"{view['label']}, {view['unit']}" if view["unit"] else view["label"]
        _legend(figure, heading, entries, extra + self._line_entry())
        return figure

    def draw_stores(self) -> Figure:
        """Draw own stores by store cluster, and competitors by chain."""
        plan = self.plan
        stores = plan.market.stores.dropna(subset=["lon", "lat"]).sort_values("store_id")
        clusters = plan.store_clusters.table.set_index("store_id")["store_cluster"].astype("str")
        names = plan.store_clusters.table.drop_duplicates("store_cluster").set_index("store_cluster")["name"]
        mine = stores["store_id"].map(clusters)
        codes = sorted(mine.dropna().unique(), key=natural_key)
        rivals = _rivals(plan.market.competitors)
        number = sum(len(places) for _, places in rivals)
        title = f"{plural(len(stores), 'own store')} in {plural(len(codes), 'store cluster')}"
        title += f", {plural(number, 'competitor')} around them" if number else ""
        figure = slide(
            plan, title, "Own stores by store cluster" + ("; competitors by chain" if number else "")
        )
        axes = self._ground(figure)
        self._hexagons(axes, np.full(len(self.cells), _GROUND, dtype=object), np.zeros(len(self.cells), bool))
        self._boundaries(axes)
        entries: list[Any] = []
        for (label, places), shape in zip(rivals, _RIVAL_SHAPES):
            points = self.place(places["lon"], places["lat"])
            size = 26 if number <= _MANY_STORES else 14
            axes.scatter(*points.T, marker=shape, s=size, color=MUTED, linewidth=0.9, zorder=4)
            entries.append(_mark(f"{label}: {plural(len(places), 'store')}", shape, MUTED))
        own: list[Any] = []
        few = len(stores) <= _MANY_STORES
        for k, (code, colour) in enumerate(zip(codes, class_colours(len(codes)))):
            points = self.place(*stores.loc[mine == code, ["lon", "lat"]].to_numpy(dtype=float).T)
            shape = _SHAPES[k % len(_SHAPES)]
            axes.scatter(
                *points.T,
                marker=shape,
                s=110 if few else 48,
                color=colour,
                edgecolor=INK,
                linewidth=0.8,
                zorder=5,
            )
            own.append(_mark(f"{code} · {names.get(code, '')}: {len(points)}", shape, colour, INK))
        _scale_bar(axes, self._km_per_unit(axes))
        _legend(figure, "Own stores by store cluster", own, [*entries, *self._line_entry()])
        return figure

    def draw_catchments(self, store_ids: Sequence[str]) -> Figure:
        """Draw the catchments of a few stores side by side, each on the types of people who live there."""
        plan = self.plan
        areas = plan.catchments.areas
        names = plan.market.stores.drop_duplicates("store_id").set_index("store_id")["name"].astype("str")
        cluster = plan.store_clusters.table.drop_duplicates("store_id").set_index("store_id")["store_cluster"]
        core = areas[_bands(areas) <= 50].groupby("store_id").size().reindex(list(store_ids), fill_value=0)
        span = f"{core.min():,} to {core.max():,}" if core.min() < core.max() else f"{core.min():,}"
        figure = slide(
            plan,
            f"Half of a typical store's trade comes from {span} of {len(self.cells):,} hexagons",
            "Typical store of each store cluster: hexagons that 90% of its expected trade comes from, by neighbourhood "
            "type, and the line around half of it",
        )
        columns = min(3, len(store_ids)) if len(store_ids) != 4 else 2
        rows = -(-len(store_ids) // columns)
        grid = figure.add_gridspec(rows, columns + 1, width_ratios=[*[1.0] * columns, 1.3 / columns])
        colours, entries = _class_colours(self._view("supergroup"), self.cells["supergroup"])
        position = {cell: k for k, cell in enumerate(self.cells["cell"])}
        for k, store in enumerate(store_ids):
            axes = figure.add_subplot(grid[k // columns, k % columns])
            area = areas[(areas["store_id"] == store) & areas["cell"].isin(position)]
            inside = np.array([position[cell] for cell in area["cell"]], dtype=int)
            ground = np.setdiff1d(np.arange(len(self.cells)), inside)
            self._hexagons(
                axes, np.full(len(ground), _GROUND, dtype=object), np.zeros(len(ground), bool), ground
            )
            chosen = colours.to_numpy(dtype=object)[inside]
            self._hexagons(axes, chosen, pd.isna(chosen), inside)
            self._outline(axes, inside[(_bands(area) <= 50).to_numpy()], "-", 1.8)
            here = plan.market.stores[plan.market.stores["store_id"] == store].iloc[:1]
            place = self.place(here["lon"], here["lat"])
            axes.scatter(
                place[:, 0], place[:, 1], s=70, color=INK, edgecolor="white", linewidth=1.2, zorder=6
            )
            _look_at(
                axes, np.vstack([place, *(self.hexagons[i] for i in inside[(_bands(area) <= 70).to_numpy()])])
            )
            axes.set_title(f"{cluster.get(store, '')} · {names.get(store, store)}", fontsize=12)
            _scale_bar(axes, self._km_per_unit(axes))
        side = figure.add_subplot(grid[:, columns])
        side.axis("off")
        marks: list[Any] = [Patch(facecolor=colour, label=label) for label, colour in entries]
        marks.append(Patch(facecolor=_GROUND, label="the last 10% of its trade, or none"))
        marks += [_line("half of its trade", "-", 1.8), _mark("the store", "o", INK, "white")]
        side.legend(
            handles=_folded(marks, 30), loc="center left", frameon=False, fontsize=11, handlelength=1.4
        )
        return figure

    def draw_arms(self, design: Any) -> Figure:
        """Draw where test and control stores are."""
        stores = self.plan.market.stores.drop_duplicates("store_id")[["store_id", "lon", "lat"]]
        placed = stores.merge(design.table[["store_id", "arm"]], on="store_id").dropna(subset=["lon", "lat"])
        figure = slide(
            self.plan,
            f"{plural(int(design.n_pairs), 'store')} change first, as many like them wait {design.periods} "
            f"{design.period}s for comparison",
            f"Drawn by lot within pairs of alike stores; no two of them within "
            f"{plural(int(design.buffer_rings), 'ring')} of hexagons of each other",
        )
        axes = self._ground(figure)
        self._hexagons(axes, np.full(len(self.cells), _GROUND, dtype=object), np.zeros(len(self.cells), bool))
        self._boundaries(axes)
        entries: list[Any] = []
        for arm in ("out", "control", "test"):
            label, shape, colour = _ARMS[arm]
            points = self.place(*placed.loc[placed["arm"] == arm, ["lon", "lat"]].to_numpy(dtype=float).T)
            if not len(points):
                continue
            size = 40 if arm == "out" else 110
            axes.scatter(
                *points.T, marker=shape, s=size, color=colour, edgecolor=INK, linewidth=0.7, zorder=5
            )
            entries.insert(0, _mark(f"{label}: {len(points)}", shape, colour, INK))
        _scale_bar(axes, self._km_per_unit(axes))
        _legend(figure, "Own stores", entries, self._line_entry())
        return figure

    def _view(self, column: str) -> dict[str, Any]:
        by_key = {view["key"]: view for view in self.views}
        for key in (column, f"trade:{column}", f"type:{column}", f"people:{column}"):
            if key in by_key:
                return by_key[key]
        known = ", ".join(key.rsplit(":", 1)[-1] for key in by_key)
        raise SettingsError(f"map_figure: there is no column {column!r}; choose from {known}.")

    def _ground(self, figure: Figure) -> Any:
        figure.set_layout_engine("none")
        axes = figure.add_axes(_MAP_BOX)
        axes.axis("off")
        points = np.concatenate(self.hexagons)
        stores = self.plan.market.stores.dropna(subset=["lon", "lat"])
        points = np.concatenate([points, self.place(stores["lon"], stores["lat"])])
        low, high = points.min(axis=0), points.max(axis=0)
        edge = 0.02 * max(high - low)
        axes.set_xlim(low[0] - edge, high[0] + edge)
        axes.set_ylim(low[1] - edge, high[1] + edge)
        axes.set_aspect("equal", anchor="W")
        return axes

    def _hexagons(
        self,
        axes: Any,
        colours: npt.NDArray[np.object_],
        missing: npt.NDArray[np.bool_],
        chosen: npt.NDArray[np.int64] | None = None,
    ) -> None:
        shapes = self.hexagons if chosen is None else [self.hexagons[i] for i in chosen]
        filled = [shape for shape, is_missing in zip(shapes, missing) if not is_missing]
        empty = [shape for shape, is_missing in zip(shapes, missing) if is_missing]
        # as vectors, so many would make a file no slide can open; an edge in the hexagon's own colour hides seams
        many = len(shapes) > _MANY_HEXAGONS
        axes.add_collection(
            PolyCollection(
                filled,
                facecolors=colours[~missing].tolist(),
                edgecolors="face",
                linewidths=0.3,
                rasterized=many,
            ),
            autolim=chosen is not None,
        )
        if empty:
            axes.add_collection(
                PolyCollection(
                    empty,
                    facecolors=NO_DATA,
                    edgecolors="#c9c5b9",
                    linewidths=0.2,
                    hatch="////",
                    rasterized=many,
                ),
                autolim=chosen is not None,
            )
        if chosen is not None:
            axes.autoscale_view()

    def _boundaries(self, axes: Any) -> None:
        if self.lines:
            axes.add_collection(
                LineCollection(self.lines, colors="white", linewidths=2.2, alpha=0.75), autolim=False
            )
            axes.add_collection(
                LineCollection(self.lines, colors="#2b3331", linewidths=0.7, linestyles="dashed"),
                autolim=False,
            )

    def _line_entry(self) -> list[Any]:
        return [_line("boundary", "--", 0.9, "#2b3331")] if self.lines else []

    def _stores(self, axes: Any) -> list[Any]:
        stores = self.plan.market.stores.dropna(subset=["lon", "lat"])
        size = 60 if len(stores) <= _MANY_STORES else 22
        axes.scatter(
            *self.place(stores["lon"], stores["lat"]).T,
            s=size,
            color=INK,
            edgecolor="white",
            linewidth=1.0,
            zorder=5,
        )
        return [_mark(plural(len(stores), "own store"), "o", INK, "white")]

    def _catchment(self, axes: Any, store_id: str) -> list[Any]:
        areas = None if self.plan.catchments is None else self.plan.catchments.areas
        mine = None if areas is None else areas[areas["store_id"].astype("str") == store_id]
        if mine is None or mine.empty:
            raise SettingsError(f"map_figure: the plan has no catchment of a store {store_id!r}.")
        position = {cell: k for k, cell in enumerate(self.cells["cell"])}
        mine = mine[mine["cell"].isin(position)]
        entries = []
        for band, style, width in zip(CATCHMENT_BANDS, ("-", "--", ":"), (2.6, 2.0, 1.8)):
            inside = [position[cell] for cell in mine.loc[_bands(mine) <= band, "cell"]]
            self._outline(axes, np.array(inside, dtype=int), style, width)
            entries.append(_line(f"{band}% of the trade of {store_id}", style, width))
        return entries

    def _outline(self, axes: Any, inside: npt.NDArray[np.int64], style: str, width: float) -> None:
        """Draw the edges that only one of the hexagons has."""
        edges: dict[tuple[tuple[float, float], ...], int] = {}
        for i in inside:
            ring = self.hexagons[i]
            closed = ring if (ring[0] == ring[-1]).all() else np.vstack([ring, ring[:1]])
            for a, b in pairwise(closed):
                edge = tuple(sorted([(float(a[0]), float(a[1])), (float(b[0]), float(b[1]))]))
                edges[edge] = edges.get(edge, 0) + 1
        lines = [np.array(edge) for edge, times in sorted(edges.items()) if times == 1]
        axes.add_collection(LineCollection(lines, colors="white", linewidths=width + 1.6), autolim=False)
        axes.add_collection(
            LineCollection(lines, colors=INK, linewidths=width, linestyles=style), autolim=False
        )

    def _km_per_unit(self, axes: Any) -> float:
        """Kilometres a unit of the map, at the middle of what is drawn."""
        middle = sum(axes.get_ylim()) / 2
        latitude = np.arctan(np.sinh((0.5 + middle / WORLD) * 2 * np.pi))
        return float(_EARTH_KM / WORLD * np.cos(latitude))


def _look_at(axes: Any, points: npt.NDArray[np.float64]) -> None:
    """Show these points in the middle, at the shape of the axes."""
    low, high = points.min(axis=0), points.max(axis=0)
    middle, half = (low + high) / 2, 0.54 * float((high - low).max())
    axes.set_xlim(middle[0] - 1.5 * half, middle[0] + 1.5 * half)
    axes.set_ylim(middle[1] - half, middle[1] + half)
    axes.set_aspect("equal")
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_visible(True)
    axes.spines[:].set_color(_GROUND_EDGE)


def _bands(areas: pd.DataFrame) -> pd.Series:
    scale = 100 if areas["band"].max() <= 1 else 1
    return pd.Series(np.rint(areas["band"].to_numpy(dtype=float) * scale), index=areas.index)


def _class_colours(view: dict[str, Any], values: pd.Series) -> tuple[pd.Series, list[tuple[str, str]]]:
    codes = [name.split(" · ", 1)[0] for name in view["names"]]
    return values.map(dict(zip(codes, view["colours"]))), list(zip(view["names"], view["colours"]))


def _colours(view: dict[str, Any], values: pd.Series) -> tuple[pd.Series, list[tuple[str, str]]]:
    """Return a colour per cell, and the legend from high to low."""
    figures = values.to_numpy(dtype=float, na_value=np.nan)
    place = np.searchsorted(view["breaks"], np.nan_to_num(figures), side="right")
    palette = np.array(view["colours"], dtype=object)
    colours = pd.Series(np.where(np.isfinite(figures), palette[place], None), index=values.index)
    return colours, list(zip(view["classLabels"], view["colours"]))[::-1]


def _words(view: dict[str, Any], cells: pd.DataFrame) -> tuple[str, str]:
    """Return what the map says, and what is drawn."""
    values, label = cells[view["column"]], view["label"]
    if view["kind"] == "class":
        counted = "population" in cells
        shares = (cells["population"] if counted else pd.Series(1.0, cells.index)).groupby(values).sum()
        largest = {name.split(" · ", 1)[0]: name for name in view["names"]}[str(shares.idxmax())]
        kinds = label.lower() if len(view["names"]) > 1 else label.lower().removesuffix("s")
        share = percent(shares.max() / shares.sum())
        title = f"{len(view['names'])} {kinds}; the largest is {largest}, with {share} of"
        return f"{title} {'residents' if counted else 'hexagons'}", f"{label} by hexagon"
    figures = values.to_numpy(dtype=float, na_value=np.nan)
    figures = figures[np.isfinite(figures)]
    written = view["format"]
    drawn = f"{label}, {view['unit']}" if view["unit"] else f"{label}, by hexagon"
    if view["perHexagon"] and figures.sum() > 0:
        ordered = np.sort(figures)[::-1]
        half = int(np.searchsorted(np.cumsum(ordered), 0.5 * ordered.sum())) + 1
        total = float(figures.sum())
        amount = money_short(total, written["unit"]) if written["style"] == "money" else count(total)
        return f"{label}: {amount} in all, half of it in {percent(half / len(cells))} of hexagons", drawn
    low, middle, high = (write_number(float(v), written) for v in np.quantile(figures, [0.05, 0.5, 0.95]))
    return f"{label}: {middle} in the median hexagon, {low} to {high} in nine of ten", drawn


def _rivals(competitors: pd.DataFrame | None) -> list[tuple[str, pd.DataFrame]]:
    """Return competitors by chain, the largest first; further chains together."""
    if competitors is None:
        return []
    placed = competitors.dropna(subset=["lon", "lat"])
    chain = placed["chain"].fillna("no chain").astype("str")
    sizes = chain.value_counts()
    ranked = sorted(sizes.index, key=lambda name: (-sizes[name], name))
    found = [(name, placed[chain == name]) for name in ranked[:_MAX_CHAINS]]
    if len(ranked) > _MAX_CHAINS:
        found.append(("other competitors", placed[chain.isin(ranked[_MAX_CHAINS:])]))
    return found


def _mark(label: str, shape: str, colour: str, edge: str | None = None) -> Line2D:
    return Line2D(
        [],
        [],
        linestyle="",
        marker=shape,
        markersize=9,
        color=colour,
        markeredgecolor=edge or colour,
        label=label,
    )


def _line(label: str, style: Any, width: float, colour: str = INK) -> Line2D:
    return Line2D([], [], linestyle=style, linewidth=width, color=colour, label=label)


def _folded(marks: Sequence[Any], letters: int) -> list[Any]:
    for mark in marks:
        mark.set_label("\n".join(textwrap.wrap(str(mark.get_label()), letters)))
    return list(marks)


def _legend(figure: Figure, heading: str, entries: Sequence[Any], extra: Sequence[Any]) -> None:
    """Write the legend at the right: the colours, and beneath them stores and lines."""
    marks = [
        entry
        if not isinstance(entry, tuple)
        else Patch(
            facecolor=entry[1],
            label=entry[0],
            hatch="////" if entry[1] == NO_DATA else None,
            edgecolor="#b9b5a8" if entry[1] == NO_DATA else "none",
            linewidth=0.4,
        )
        for entry in entries
    ]
    blank = Line2D([], [], linestyle="", label=" ")
    marks = [*marks, blank, *extra] if extra else marks
    for size, letters in ((12, 36), (11, 40), (10, 44), (9, 48), (7.5, 58)):
        lines = sum(max(1, -(-len(str(mark.get_label())) // letters)) for mark in marks)
        if lines * size * 1.5 < 360:
            break
    figure.legend(
        handles=_folded(marks, letters),
        loc="upper left",
        bbox_to_anchor=(_LEGEND_LEFT - 0.008, 0.81),
        frameon=False,
        fontsize=size,
        handlelength=1.5,
        labelspacing=0.42,
        title="\n".join(textwrap.wrap(heading, 30)),
        title_fontproperties={"weight": "bold", "size": 12.5},
        alignment="left",
    )


def _scale_bar(axes: Any, km_per_unit: float, share: float = 0.22) -> None:
    """Draw a bar of a round number of kilometres at the foot of the map, at the left."""
    low, high = axes.get_xlim()
    foot, head = axes.get_ylim()
    wanted = share * (high - low) * km_per_unit
    power = 10.0 ** np.floor(np.log10(wanted))
    km = float(max(step * power for step in (1, 2, 5) if step * power <= wanted))
    across = km / km_per_unit
    x, y = low + 0.01 * (high - low), foot + 0.012 * (head - foot)
    tick = 0.012 * (head - foot)
    axes.plot(
        [x, x, x + across, x + across],
        [y + tick, y, y, y + tick],
        color=INK,
        linewidth=1.3,
        zorder=7,
        clip_on=False,
    )
    label = f"{km:g} km" if km >= 1 else f"{1000 * km:g} m"
    axes.annotate(
        label,
        (x + across, y),
        xytext=(6, -1),
        textcoords="offset points",
        fontsize=10.5,
        va="bottom",
        zorder=7,
    )
