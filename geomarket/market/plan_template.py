"""The commented plan.toml that ``geomarket new`` writes, made from the settings themselves."""

from __future__ import annotations

import datetime as dt
import json
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel

from geomarket.market.contract import REQUIRED_TABLES, TABLES
from geomarket.market.settings import AreaSettings, PlanSettings, TableSettings

__all__ = ["plan_toml"]

_WIDTH = 100
_TITLES = {
    "plan": "The plan itself",
    "quality": "Bad rows: what to do with them, and when to stop",
    "hexes": "The hexagon grid everything is put on",
    "neighbourhoods": "Neighbourhood types: who lives where",
    "catchments": "Catchments: who shops where",
    "customers": "Customer value, where customers and baskets are given",
    "store_clusters": "Store clusters: stores alike in who lives around them and what they sell",
    "demand": "Demand: what each store would sell of each SKU",
    "assortment": "Ranges: what each store cluster lists",
    "promotions": "Promotions, where their history is given",
    "targeting": "Targeting: where leaflets and messages about the promotions go",
    "fairness": "Fairness: what deprived and well-off areas are offered",
    "measurement": "The test of the plan: which stores change first, which wait, and what can be seen",
    "frontier": "How local to go: national, store clusters, or store by store",
    "privacy": "Protection of persons",
    "report": "The report",
    "engine": "Where big tables are aggregated",
}


def plan_toml(
    values: Mapping[str, Mapping[str, Any]],
    tables: Mapping[str, Mapping[str, Any]],
    areas: Mapping[str, Any] | Sequence[Mapping[str, Any]],
) -> str:
    """Write a plan.toml in which every setting stands with its meaning.

    Parameters
    ----------
    values : mapping
        Section -> key -> value, for settings that are to differ from their default; all others stand as comments.
    tables : mapping
        Table -> settings of its section. Tables not named stand as comments.
    areas : mapping, or a sequence of them
        Settings of one area layer, or of several.

    Returns
    -------
    str
    """
    lines = [
        "# Settings of a geomarket plan. `geomarket check plan.toml` checks the tables; `geomarket plan plan.toml`",
        "# makes the plan. Lines that begin with # are comments: a setting in one has the value shown, its default.",
        "# File names are relative to the folder of this file.",
    ]
    for section in PlanSettings.model_fields:
        if section == "tables":
            lines += _tables(tables)
        elif section == "areas":
            layers = [areas] if isinstance(areas, Mapping) else areas
            lines += [line for first, layer in enumerate(layers) for line in _areas(layer, told=first > 0)]
        else:
            lines += ["", "", f"# {_TITLES[section]}.", f"[{section}]"]
            lines += _keys(_section(section), values.get(section, {}))
    return "\n".join(lines) + "\n"


def _section(name: str) -> BaseModel:
    section = getattr(PlanSettings(), name)
    assert isinstance(section, BaseModel)
    return section


def _keys(defaults: BaseModel, values: Mapping[str, Any]) -> list[str]:
    lines = []
    for key, field in type(defaults).model_fields.items():
        lines += _comment(field.description or "")
        if key in values:
            lines.append(f"{key} = {_toml(values[key])}")
        else:
            default = getattr(defaults, key)
            lines.append(f"# {key} = {_toml(default)}" if default is not None else f"# {key} =")
    return lines


def _tables(tables: Mapping[str, Mapping[str, Any]]) -> list[str]:
    lines = [
        "",
        "",
        "# The tables. CSV, Parquet and Excel (.xlsx); tables of places also as GeoPackage, GeoJSON,",
    ]
    lines += [
        "# GeoParquet or Shapefile. A column named differently in a file is mapped by",
        '#   columns = { store_id = "Filiale" }',
    ]
    lines += ["# Each of these may stand in the section of a table:"]
    for key, field in TableSettings.model_fields.items():
        text = textwrap.wrap(f"{key}: {' '.join((field.description or '').split())}", _WIDTH)
        lines += [f"#   {text[0]}", *(f"#     {more}" for more in text[1:])]
    for name, contract in TABLES.items():
        needed = " (needed)" if name in REQUIRED_TABLES else ""
        columns = ", ".join(c.name if c.required else f"[{c.name}]" for c in contract.columns)
        lines += ["", *_comment(f"{contract.doc[0].upper()}{contract.doc[1:]}{needed}: {columns}")]
        given = tables.get(name)
        mark = "" if given else "# "
        lines.append(f"{mark}[tables.{name}]")
        for key, value in (given or {"path": _default_path(name)}).items():
            lines.append(f"{mark}{key} = {_toml(value)}")
    lines += [
        "",
        "# Columns in [brackets] may be absent. Further columns of stores and products are kept as attributes.",
    ]
    return lines


def _default_path(table: str) -> str:
    return "boundaries.geojson" if table == "boundaries" else f"{table}.csv"


def _areas(areas: Mapping[str, Any], told: bool) -> list[str]:
    if told:
        given = [
            line for key in AreaSettings.model_fields if key in areas for line in _assignment(key, areas[key])
        ]
        return ["", "[[areas]]", *given]
    lines = [
        "",
        "",
        "# Census areas: polygons and their figures. Write [[areas]] again for each further layer;",
    ]
    lines += ["# the first is the reference: its extent and its population count.", "[[areas]]"]
    for key, field in AreaSettings.model_fields.items():
        lines += _comment(field.description or "")
        if key in areas:
            lines += _assignment(key, areas[key])
        else:
            lines.append(
                f"# {key} ="
                if field.is_required() or field.default is None
                else f"# {key} = {_toml(field.default)}"
            )
    return lines


def _assignment(key: str, value: Any) -> list[str]:
    if isinstance(value, list | tuple) and value and isinstance(value[0], Mapping):
        return [f"{key} = [", *(f"  {_toml(item)}," for item in value), "]"]
    return [f"{key} = {_toml(value)}"]


def _comment(text: str) -> list[str]:
    return [f"# {line}" for line in textwrap.wrap(" ".join(text.split()), _WIDTH)]


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, dt.date):
        return value.isoformat()
    if isinstance(value, Mapping):
        inside = ", ".join(f"{key} = {_toml(item)}" for key, item in value.items())
        return "{ " + inside + " }" if inside else "{}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_toml(item) for item in value) + "]"
    return repr(value)
