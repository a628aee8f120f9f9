"""What the report's map shows: columns, legends, stores, competitors, boundaries, catchments."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import shapely

from geomarket.hexmap import (
    HexColumn,
    central_meridian,
    class_colours,
    class_view,
    encode_hexes,
    encode_lines,
    format_for,
    number_view,
    shades,
    write_number,
)
from geomarket.neighbourhoods import UNCERTAINTY_BREAKS
from geomarket.report.map_stores import CATCHMENT_BANDS, build_areas, build_stores, to_world, trade_by_type
from geomarket.report.numbers import count

__all__ = ["CATCHMENT_BANDS", "NeighbourhoodKey", "build_map", "neighbourhood_key", "trade_by_type"]

_MAX_CHAINS = 5
_MAX_NAMES = 1500
_BOUNDARY_STEPS = 4000
_NO_TYPE = "no residents or no data"
_CLASS_NOTE = "Zoomed out, a hexagon takes the type most of its residents live in."


@dataclass(frozen=True)
class NeighbourhoodKey:
    """Codes, names and colours of the neighbourhood types, in one fixed order for map, charts and tables."""

    codes: tuple[str, ...]
    names: tuple[str, ...]
    colours: tuple[str, ...]
    group_codes: tuple[str, ...]
    group_names: tuple[str, ...]
    group_colours: tuple[str, ...]

    def label(self, code: str) -> str:
        """Return "B · Families in houses"."""
        return f"{code} · {dict(zip(self.codes, self.names)).get(code, code)}"

    def colour(self, code: str) -> str:
        """Return the colour of a supergroup or group."""
        known = dict(zip(self.codes, self.colours)) | dict(zip(self.group_codes, self.group_colours))
        return known.get(code, "#8c8c8c")


def neighbourhood_key(neighbourhoods: Any) -> NeighbourhoodKey:
    """Return the key of a classification: supergroups in their own colours, groups in shades of them."""
    table, types = neighbourhoods.table, neighbourhoods.types
    named = types.set_index("code")["name"].to_dict()
    codes = sorted(table["supergroup"].dropna().unique())
    colours = class_colours(len(codes))
    groups = sorted(set(table["neighbourhood"].dropna()) - set(codes))
    parent = table.dropna(subset=["neighbourhood"]).groupby("neighbourhood")["supergroup"].first().to_dict()
    shade: dict[str, str] = {}
    for code, colour in zip(codes, colours):
        children = [group for group in groups if parent[group] == code]
        shade |= dict(zip(children, shades(colour, len(children))))
    return NeighbourhoodKey(
        codes=tuple(codes),
        names=tuple(str(named.get(code, code)) for code in codes),
        colours=tuple(colours),
        group_codes=tuple(groups),
        group_names=tuple(str(named.get(group, group)) for group in groups),
        group_colours=tuple(shade[group] for group in groups),
    )


def build_map(plan: Any, key: NeighbourhoodKey) -> dict[str, Any]:
    """Return everything the map's script needs, JSON-able, from a finished plan.

    ``hexes``, ``lines`` and ``catchments`` are packed; ``details`` is plain.
    """
    cells = _cells(plan)
    columns, views = _views(plan, cells, key)
    meridian = central_meridian(cells["lon"].to_numpy(dtype=float))
    population = cells["population"].to_numpy(dtype=float) if "population" in cells else None
    packed = encode_hexes(
        cells["cell"].to_numpy(dtype=np.int64), columns, weight=population, meridian=meridian
    )
    _say_rounding(views, packed["columns"])
    stores = build_stores(plan, key.codes, meridian)
    bounds = _bounds(cells, stores, meridian)
    lines, names = _boundaries(plan.market.boundaries, bounds, meridian)
    chains, competitors = _competitors(plan.market.competitors, meridian)
    details = {
        "bounds": [round(edge, 8) for edge in bounds],
        "views": views,
        "tooltip": _tooltip(views, key),
        "noClass": _NO_TYPE,
        "types": _types(plan, key),
        "stores": stores,
        "ownName": "Own",
        "chains": chains,
        "competitors": competitors,
        "names": names,
        "tiles": _tiles(plan.settings.report),
    }
    return {
        "hexes": packed,
        "lines": lines,
        "catchments": build_areas(
            plan, cells["cell"].to_numpy(dtype=np.int64), [store["id"] for store in stores]
        ),
        "details": details,
    }


def _tiles(report: Any) -> dict[str, Any] | None:
    """Where an online map comes from, if the settings allow one."""
    if not report.online_tiles:
        return None
    return {
        "url": report.tile_url,
        "attribution": report.tile_attribution,
        "maxZoom": report.tile_max_zoom,
    }


def _say_rounding(views: list[dict[str, Any]], columns: list[dict[str, Any]]) -> None:
    """Add to a number's note what its figures are rounded to, where a reader could notice."""
    packed = {column["name"]: column for column in columns}
    for view in views:
        if view["kind"] != "number":
            continue
        column, largest = packed[view["column"]], abs(view["breaks"][-1]) if view["breaks"] else 0.0
        # a sum is rounded as its square root: the more, the coarser
        summed = column["kind"] == "sum"
        step = 2 * column["step"] * float(np.sqrt(largest)) if summed else column["step"]
        unit = 100.0 if view["format"]["style"] == "percent" else 1.0
        if step * unit > 10.0 ** -view["format"]["digits"] * 1.001:
            written = write_number(float(f"{step:.1g}"), view["format"])
            finer = ", finer where there is less" if summed else ""
            view["note"] = f"{view['note']} On the map to the nearest {written}{finer}.".strip()


def _cells(plan: Any) -> pd.DataFrame:
    """One row per cell with every column the map may show; stages' columns can't meet a variable's name."""
    cells = plan.hexes.table
    types = plan.neighbourhoods.table
    types = types[[c for c in ("cell", "supergroup", "neighbourhood", "uncertainty") if c in types]]
    types = types.rename(columns={"uncertainty": "type:uncertainty"})
    cells = cells.merge(types, on="cell", how="left", validate="one_to_one")
    for stage, columns in (
        (plan.catchments, ["own_share", "market", "whitespace"]),
        (plan.customers, ["penetration"]),
    ):
        if stage is not None:
            found = [column for column in columns if column in stage.cells]
            named = stage.cells[["cell", *found]].rename(
                columns={column: f"trade:{column}" for column in found}
            )
            cells = cells.merge(named, on="cell", how="left", validate="one_to_one")
    targeting = getattr(plan, "targeting", None)
    if targeting is not None and len(targeting.doors.table):
        drops = targeting.doors.cells.set_index("cell")["drops"]
        cells["trade:door_drops"] = cells["cell"].map(drops[drops > 0]).astype(float)
    people = getattr(plan, "people", None)
    if people is not None and len(people.prospects):
        score = people.prospects[["cell", "score"]].rename(columns={"score": "people:score"})
        cells = cells.merge(score, on="cell", how="left", validate="one_to_one")
    return cells.sort_values("cell", ignore_index=True)


def _views(
    plan: Any, cells: pd.DataFrame, key: NeighbourhoodKey
) -> tuple[list[HexColumn], list[dict[str, Any]]]:
    columns: list[HexColumn] = []
    views: list[dict[str, Any]] = []

    def add_classes(
        column: str, label: str, codes: Sequence[str], names: Sequence[str], colours: Any
    ) -> None:
        position = {code: k for k, code in enumerate(codes)}
        values = cells[column].map(position).fillna(-1).to_numpy(dtype=np.int64)
        columns.append(HexColumn(column, values, "class"))
        views.append(
            class_view(
                column,
                label,
                [f"{code} · {name}" for code, name in zip(codes, names)],
                colours,
                missing=int((values < 0).sum()),
                missing_label=_NO_TYPE,
                group="Neighbourhoods",
                note=_CLASS_NOTE,
            )
        )

    def add_number(
        column: str,
        label: str,
        kind: str,
        unit: str,
        group: str,
        note: str = "",
        missing: str = "no data",
        breaks: Sequence[float] | None = None,
    ) -> None:
        if column not in cells:
            return
        values = cells[column].to_numpy(dtype=float, na_value=np.nan)
        if not np.isfinite(values).any():
            return
        written = format_for(kind, unit, values, plan.market.currency)
        counted = kind == "count"
        columns.append(HexColumn(column, values, "sum" if counted else "mean"))
        views.append(
            number_view(
                column,
                label,
                values,
                written,
                unit=""
                if written["style"] == "percent"
                else f"{written['unit']} a hexagon"
                if counted
                else "",
                per_hexagon=counted,
                missing_label=missing,
                group=group,
                note=note,
                breaks=breaks,
            )
        )

    add_classes("supergroup", "Neighbourhood types", key.codes, key.names, key.colours)
    if key.group_codes:
        add_classes(
            "neighbourhood", "Neighbourhood groups", key.group_codes, key.group_names, key.group_colours
        )
    doubt = "0: clearly its own type; 1: as near to the next type."
    add_number(
        "type:uncertainty",
        "Uncertainty of the type",
        "mean",
        "",
        "Neighbourhoods",
        doubt,
        _NO_TYPE,
        UNCERTAINTY_BREAKS,
    )
    modelled = "Expected by the catchment model."
    add_number("trade:own_share", "Own share of trade", "rate", "share", "Trade", modelled)
    add_number("trade:market", "Market size a year", "count", "money", "Trade")
    elsewhere = "Trade that goes to others, a year, by the catchment model."
    add_number("trade:whitespace", "Whitespace a year", "count", "money", "Trade", elsewhere)
    told = "Leaflets of the planned promotions that each door gets over the horizon."
    add_number("trade:door_drops", "Planned door drops", "mean", "a door", "Trade", told, "no leaflet")
    hidden = f"Hexagons with 1 to {plan.settings.privacy.k - 1} customers are not shown."
    too_few = "no residents, or too few customers to show"
    add_number("trade:penetration", "Customers per resident", "rate", "share", "Trade", hidden, too_few)
    score = "How much a place is like where heavy customers live; 100 is average."
    add_number(
        "people:score", "Prospect score", "mean", "", "Trade", score, "no residents, or too few to tell"
    )
    hidden_traits = not plan.settings.report.protected_on_map
    for variable in plan.hexes.variables:
        if variable.protected and hidden_traits:
            continue
        if variable.name in cells and variable.name not in {"cell", "lon", "lat"}:
            add_number(
                variable.name, _headline(variable.label), variable.kind, variable.unit, "Who lives there"
            )
    if not any(view["key"] == "population" for view in views):
        add_number("population", "Population", "count", "people", "Who lives there")
    return columns, views


def _headline(label: str) -> str:
    return label[:1].upper() + label[1:]


def _tooltip(views: list[dict[str, Any]], key: NeighbourhoodKey) -> list[dict[str, Any]]:
    """The lines every hexagon's tooltip has: type, group, population."""
    lines = []
    for wanted in ("supergroup", "neighbourhood", "population"):
        for view in views:
            if view["key"] == wanted:
                short = {"supergroup": "Type", "neighbourhood": "Group"}.get(wanted, view["label"])
                line = {"column": wanted, "label": short, "kind": view["kind"]}
                if view["kind"] == "class":
                    line["classes"] = view["names"]
                else:
                    # "People 2,325" needs no second "people"
                    line |= {"format": {**view["format"], "unit": ""}, "perHexagon": view["perHexagon"]}
                lines.append(line)
    return lines


def _types(plan: Any, key: NeighbourhoodKey) -> list[dict[str, str]]:
    described = plan.neighbourhoods.types.set_index("code")
    result = []
    for code in key.codes:
        row = described.loc[code] if code in described.index else pd.Series(dtype=object)
        result.append(
            {
                "code": code,
                "label": key.label(code),
                "colour": key.colour(code),
                "portrait": str(row.get("portrait", "") or ""),
                "people": count(row.get("population")),
                "href": f"#type-{code}",
            }
        )
    return result


def _bounds(cells: pd.DataFrame, stores: list[dict[str, Any]], meridian: float) -> list[float]:
    """West, north, east, south of hexagons and own stores in world units."""
    x, y = to_world(cells["lon"], cells["lat"], meridian)
    xs = np.concatenate([x, [store["x"] for store in stores]])
    ys = np.concatenate([y, [store["y"] for store in stores]])
    return [float(xs.min()), float(ys.min()), float(xs.max()), float(ys.max())]


def _boundaries(
    boundaries: Any, bounds: list[float], meridian: float
) -> tuple[dict[str, Any] | None, list[dict[str, Any]]]:
    """Boundary lines, each drawn once, simplified to what a screen can show; and place names."""
    if boundaries is None or boundaries.empty:
        return None, []
    frame = boundaries.to_crs(4326) if boundaries.crs is not None else boundaries
    shapes = shapely.transform(
        shapely.force_2d(frame.geometry.to_numpy()),
        lambda xy: np.column_stack([np.mod(xy[:, 0] - meridian + 180.0, 360.0) - 180.0 + meridian, xy[:, 1]]),
    )
    west, east = (edge * 360.0 - 180.0 for edge in (bounds[0], bounds[2]))
    north, south = (
        float(np.degrees(np.arctan(np.sinh((0.5 - y) * 2 * np.pi)))) for y in (bounds[1], bounds[3])
    )
    margin = 0.3 * max(east - west, north - south, 0.02)
    window = (west - margin, south - margin, east + margin, north + margin)
    outlines = np.where(np.isin(shapely.get_dimensions(shapes), [2]), shapely.boundary(shapes), shapes)
    drawn = shapely.line_merge(shapely.union_all(shapely.clip_by_rect(outlines, *window)))
    drawn = shapely.simplify(drawn, margin / 0.3 / _BOUNDARY_STEPS)
    lines = [
        shapely.get_coordinates(part) for part in shapely.get_parts(drawn) if part.geom_type == "LineString"
    ]
    lines = sorted((line for line in lines if len(line) > 1), key=lambda line: line.tolist())
    return encode_lines(lines, meridian) if lines else None, _names(frame, shapes, window, meridian)


def _names(frame: Any, shapes: Any, window: tuple[float, ...], meridian: float) -> list[dict[str, Any]]:
    if "name" not in frame:
        return []
    inside = shapely.intersects(shapes, shapely.box(*window)) & frame["name"].notna().to_numpy()
    spots = shapely.point_on_surface(shapes[inside])
    edges = shapely.bounds(shapes[inside])
    x, y = to_world(shapely.get_x(spots), shapely.get_y(spots), meridian)
    rows: list[dict[str, Any]] = [
        {"name": str(name), "x": float(px), "y": float(py), "width": round(float(width) / 360.0, 8)}
        for name, px, py, width in zip(frame["name"][inside], x, y, edges[:, 2] - edges[:, 0])
    ]
    return sorted(rows, key=lambda row: (-row["width"], row["name"]))[:_MAX_NAMES]


def _competitors(
    competitors: pd.DataFrame | None, meridian: float
) -> tuple[list[str], dict[str, Any] | None]:
    """Competitors by chain; chains beyond the largest few are drawn alike."""
    if competitors is None:
        return [], None
    placed = competitors.dropna(subset=["lon", "lat"]).sort_values("store_id")
    if placed.empty:
        return [], None
    chain = placed["chain"].fillna("no chain").astype("str")
    sizes = chain.value_counts()
    ranked = sorted(sizes.index, key=lambda name: (-sizes[name], name))
    largest = ranked[:_MAX_CHAINS]
    labels = [*largest, "other competitors"] if len(ranked) > len(largest) else largest
    position = {name: k for k, name in enumerate(largest)}
    x, y = to_world(placed["lon"], placed["lat"], meridian)
    return labels, {
        "x": x.tolist(),
        "y": y.tolist(),
        "chain": [position.get(name, len(largest)) for name in chain],
        "name": placed["name"].astype("str").tolist(),
    }
