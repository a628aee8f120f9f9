"""Gains that rest on forecasts nobody has checked are called unvalidated, wherever the page shows one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from geomarket.report.tables import Table

__all__ = ["UNVALIDATED", "doubted", "is_validated"]

UNVALIDATED = "unvalidated"

_MONEY = ("Gain", "Kept", "Promised", "Net", "Margin", "Claimed")
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
    section : dict, list or None
        Plain values of the section.
    name : {"verdict", "tiles", "clusters", "frontier", "ranges", "monday"}
        Which one.
    """
    if section is None or is_validated(plan):
        return section
    return _SECTIONS[name](section)


def _verdict(section: dict[str, Any]) -> dict[str, Any]:
    if section.get("kind") == "national":
        return section
    return {**section, "headline": f"{section['headline']} ({UNVALIDATED})"}


def _tiles(tiles: Sequence[dict[str, str]]) -> list[dict[str, str]]:
    return [
        {**tile, "note": f"{UNVALIDATED}; {tile['note']}"} if tile["label"] in _TILES else tile
        for tile in tiles
    ]


def _clusters(clusters: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    return [
        {
            **cluster,
            "margin": f"{cluster['margin']} {_WHY}" if cluster["margin"] else "",
            "to_list": _heads(cluster["to_list"]),
        }
        for cluster in clusters
    ]


def _tables(section: dict[str, Any]) -> dict[str, Any]:
    marked = {key: _heads(value) if isinstance(value, Table) else value for key, value in section.items()}
    lines = marked.get("lines")
    return (
        {**marked, "lines": [f"{line} {_WHY}" if i == 0 else line for i, line in enumerate(lines)]}
        if lines
        else marked
    )


def _heads(table: Table) -> Table:
    """Return the table with the heads of its gains marked."""
    columns = [
        replace(column, label=f"{column.label}, {UNVALIDATED}") if column.label.startswith(_MONEY) else column
        for column in table.columns
    ]
    return replace(table, columns=columns)


_SECTIONS = {
    "verdict": _verdict,
    "tiles": _tiles,
    "clusters": _clusters,
    "frontier": _tables,
    "ranges": _tables,
    "monday": _tables,
}
