"""Corrections by hand: names and single cells changed by a planner, with the reason and the author kept."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from geomarket.errors import SettingsError
from geomarket.neighbourhoods.classifier import NeighbourhoodClassifier
from geomarket.neighbourhoods.hierarchy import LEVELS
from geomarket.neighbourhoods.portraits import portray_types
from geomarket.neighbourhoods.scheme import records

if TYPE_CHECKING:
    from geomarket.neighbourhoods.result import Neighbourhoods

__all__ = ["EDIT_COLUMNS", "copy_of", "corrected", "portrayed", "with_overrides", "with_sizes"]

EDIT_COLUMNS = ["kind", "target", "old", "new", "reason", "author"]
_SHOWN = 5


def corrected(
    found: Neighbourhoods, names: pd.DataFrame | None = None, overrides: pd.DataFrame | None = None
) -> Neighbourhoods:
    """Return a copy with many corrections made at once; see :meth:`Neighbourhoods.corrected`."""
    wanted = [*_renames(found, names), *_overrides(found, overrides)]
    last = {(edit["kind"], edit["target"]): edit for edit in records(found.edits)}
    same = ("new", "reason", "author")
    new = [
        edit
        for edit in wanted
        if not all(last.get((edit["kind"], edit["target"]), {}).get(key) == edit[key] for key in same)
    ]
    if not new:
        return found
    made = pd.DataFrame(new, columns=EDIT_COLUMNS)
    edits = pd.concat([found.edits, made], ignore_index=True) if len(found.edits) else made
    renamed = {edit["target"]: edit["new"] for edit in new if edit["kind"] == "rename"}
    types = found.types.copy()
    old = types["name"]
    named = [renamed.get(code, name) for code, name in zip(types["code"], old, strict=True)]
    types["name"] = pd.Series(named, index=types.index, dtype=old.dtype)
    table = with_overrides(found.table, made, types)
    table["name"] = table["neighbourhood"].map(dict(zip(types["code"], types["name"], strict=True)))
    scheme = copy_of(found.classifier)
    scheme.names_ = {**scheme.names_, **renamed}
    scheme.edits_ = records(edits)
    if (made["kind"] == "override").any():
        types = portrayed(with_sizes(types, table), found.index, found.base)
    return dataclasses.replace(found, table=table, types=types, classifier=scheme, edits=edits)


def _renames(found: Neighbourhoods, names: pd.DataFrame | None) -> list[dict[str, str]]:
    if names is None or names.empty:
        return []
    known = dict(zip(found.types["code"], found.types["name"], strict=True))
    after = dict(known)
    edits = []
    for row in names.to_dict("records"):
        code, name = str(row["neighbourhood"]), str(row["name"]).strip()
        _check_reason(row)
        if code not in known:
            raise SettingsError(f"rename: there is no type '{code}'. {_nearest(code, list(known))}")
        if not name:
            raise SettingsError(f"rename: the new name of '{code}' is empty. Give one.")
        after[code] = name
        edits.append(_edit("rename", code, known[code], name, row))
    renamed = {edit["target"] for edit in edits}
    for code in renamed:
        holder = sorted(other for other, name in after.items() if name == after[code] and other != code)
        if holder:
            raise SettingsError(
                f"rename: '{holder[0]}' is already called '{after[code]}'. Choose another name for '{code}'."
            )
    return edits


def _overrides(found: Neighbourhoods, overrides: pd.DataFrame | None) -> list[dict[str, str]]:
    if overrides is None or overrides.empty:
        return []
    types = found.types
    finest = types.loc[types["level"] == types["level"].iloc[-1], "code"].tolist()
    old = dict(zip(found.table["cell"].tolist(), found.table["neighbourhood"], strict=True))
    away = [int(cell) for cell in overrides["cell"] if int(cell) not in old]
    if away:
        shown = ", ".join(f"{cell:x} ({cell})" for cell in away[:_SHOWN])
        several = f"{len(away):,} cells aren't" if len(away) > 1 else "one cell isn't"
        raise SettingsError(
            f"override: {several} in the table of {len(found.table):,} cells: {shown}. "
            "Give cells of the same grid and resolution."
        )
    edits = []
    for row in overrides.to_dict("records"):
        cell, code = int(row["cell"]), str(row["neighbourhood"])
        _check_reason(row)
        if code not in finest:
            raise SettingsError(
                f"override: '{code}' is no type of the finest level. {_nearest(code, finest)}"
            )
        edits.append(_edit("override", str(cell), "" if pd.isna(old[cell]) else old[cell], code, row))
    return edits


def _edit(kind: str, target: str, old: str, new: str, row: Mapping[Any, Any]) -> dict[str, str]:
    values = (kind, target, str(old), new, str(row["reason"]), str(row["author"]))
    return dict(zip(EDIT_COLUMNS, values, strict=True))


def _check_reason(row: Mapping[Any, Any]) -> None:
    if any(pd.isna(row[key]) or not str(row[key]).strip() for key in ("reason", "author")):
        raise SettingsError(
            "A correction by hand needs a reason and an author, so that others can follow it."
        )


def _nearest(word: str, known: list[str]) -> str:
    close = get_close_matches(word, known, n=1)
    return f"Did you mean '{close[0]}'?" if close else f"Known are {', '.join(known[:12])}."


def with_overrides(table: pd.DataFrame, edits: pd.DataFrame, types: pd.DataFrame) -> pd.DataFrame:
    """Put overridden cells under their new code, at every level; cells that aren't there are left out."""
    table = table.copy()
    chosen = edits[edits["kind"] == "override"]
    code_of = dict(zip(chosen["target"].astype("int64"), chosen["new"], strict=True))
    rows = table["cell"].isin(list(code_of))
    if not rows.any():
        return table
    parents = dict(zip(types["code"], types["parent"], strict=True))
    codes = table.loc[rows, "cell"].map(code_of)
    levels = [level for level in LEVELS if level in table]
    table.loc[rows, "neighbourhood"] = codes
    for level in reversed(levels):
        table.loc[rows, level] = codes
        codes = codes.map(parents)
    table.loc[rows, "name"] = table.loc[rows, "neighbourhood"].map(
        dict(zip(types["code"], types["name"], strict=True))
    )
    table.loc[rows, "status"] = "set by hand"
    return table


def with_sizes(types: pd.DataFrame, cells: pd.DataFrame) -> pd.DataFrame:
    """Count the cells and people of every type."""
    total = cells.loc[cells[LEVELS[0]].notna(), "population"].sum()
    counted = [cells.groupby(level)["population"].agg(["size", "sum"]) for level in LEVELS if level in cells]
    sizes = pd.concat(counted)
    out = types.copy()
    out["cells"] = out["code"].map(sizes["size"]).fillna(0).astype(int)
    out["population"] = out["code"].map(sizes["sum"]).fillna(0.0)
    out["population_share"] = out["population"] / total if total > 0 else np.nan
    return out


def portrayed(types: pd.DataFrame, index: pd.DataFrame, base: str) -> pd.DataFrame:
    """Give every type its portrait."""
    said = types["code"].map(portray_types(index, types, base)).fillna("No area here is of this type.")
    out = types.drop(columns="portrait", errors="ignore")
    out.insert(4, "portrait", said)
    return out


def copy_of(scheme: NeighbourhoodClassifier) -> NeighbourhoodClassifier:
    """Return a scheme of its own, without the labels of the areas it was fitted on."""
    return NeighbourhoodClassifier.from_json(scheme.to_json())
