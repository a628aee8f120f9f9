"""Gains that rest on forecasts nobody has checked are called unvalidated, wherever the page shows one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from geomarket.report.sheet_types import Sheet
from geomarket.report.tables import Table

__all__ = ["UNVALIDATED", "doubted", "doubted_sheets", "is_validated"]

UNVALIDATED = "unvalidated"

_MONEY = ("Gain", "Kept", "Promised", "Net", "Margin", "Claimed")
_FIGURES = {"gain", "gain_holdout", "margin"}
_TILES = ("net gain of going local, a year", "margin over today's ranges")
_WHY = (
    "Unvalidated: it rests on forecasts of products that stores don't list yet, which run high if anything."
)


def is_validated(plan: Any) -> bool:
    """Whether forecasts of products that a store doesn't list carry a discount learnt from later listings."""
    return bool(getattr(plan.demand, "validated", False))


def doubted(plan: Any, section: Any, name: str) -> Any:
    """Return a section of the page with "unvalidated" beside every gain; as it is where forecasts are validated.

    Parameters
    ----------
    plan : Plan
        Its demand knows whether it is validated.
    section : dict, list, Table or None
        Plain values of the section.
    name : {"verdict", "tiles", "clusters", "store_groups", "frontier", "ranges", "monday", "table"}
        Which one; "table" for a table by itself.
    """
    if section is None or is_validated(plan):
        return section
    return _SECTIONS[name](section)


def doubted_sheets(plan: Any, sheets: Sequence[Sheet]) -> list[Sheet]:
    """Return the sheets of the workbook with the doubt over every table that shows such gains."""
    if is_validated(plan):
        return list(sheets)
    return [
        replace(sheet, intro=f"{sheet.intro} {_WHY}")
        if sheet.name != "Promotions" and _FIGURES & {field.column for field in sheet.shown}
        else sheet
        for sheet in sheets
    ]


def _verdict(section: dict[str, Any]) -> dict[str, Any]:
    if section.get("kind") == "national":
        return section
    return {**section, "headline": f"{section['headline']} ({UNVALIDATED})"}


def _tiles(tiles: Sequence[dict[str, str]]) -> list[dict[str, str]]:
    """Mark the tiles of gains; one that says there is none needs no doubt."""
    return [
        {**tile, "note": f"{UNVALIDATED}; {tile['note']}"}
        if tile["label"] in _TILES and tile["value"] != "None"
        else tile
        for tile in tiles
    ]


def _clusters(clusters: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    return [
        {
            **cluster,
            "margin": f"{cluster['margin']} {_WHY}" if cluster["margin"] else "",
            "to_list": _marked(cluster["to_list"]),
        }
        for cluster in clusters
    ]


def _tables(section: dict[str, Any]) -> dict[str, Any]:
    marked: dict[str, Any] = {
        key: _marked(value) if isinstance(value, Table) else value for key, value in section.items()
    }
    if lines := section.get("lines"):
        marked["lines"] = [f"{lines[0]} {_WHY}", *lines[1:]]
    return marked


def _marked(table: Table) -> Table:
    """Return the table with its caption marked, if it shows money that might be gained."""
    if not any(column.label.startswith(_MONEY) for column in table.columns):
        return table
    return replace(table, caption=f"{table.caption} ({UNVALIDATED})")


_SECTIONS: dict[str, Callable[[Any], Any]] = {
    "verdict": _verdict,
    "tiles": _tiles,
    "clusters": _clusters,
    "store_groups": _tables,
    "frontier": _tables,
    "ranges": _tables,
    "monday": _tables,
    "table": _marked,
}
