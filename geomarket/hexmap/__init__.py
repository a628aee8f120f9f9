"""Hexagon maps: cells packed for the browser, one canvas painter, and a folium layer that hosts it."""

from geomarket.hexmap.assets import asset_text, bundle
from geomarket.hexmap.encoding import (
    WORLD,
    HexColumn,
    as_script_json,
    central_meridian,
    encode_hexes,
    encode_json,
    encode_lines,
    encode_members,
    level_world,
    project,
)
from geomarket.hexmap.folium_layer import HexLayer, explore_cells, folium_map
from geomarket.hexmap.palette import class_colours, nice_breaks, number_colours, shades
from geomarket.hexmap.views import class_view, format_for, number_view, write_number

__all__ = [
    "WORLD",
    "HexColumn",
    "HexLayer",
    "as_script_json",
    "asset_text",
    "bundle",
    "central_meridian",
    "class_colours",
    "class_view",
    "encode_hexes",
    "encode_json",
    "encode_lines",
    "encode_members",
    "explore_cells",
    "folium_map",
    "format_for",
    "level_world",
    "nice_breaks",
    "number_colours",
    "number_view",
    "project",
    "shades",
    "write_number",
]
