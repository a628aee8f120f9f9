"""A planner's decisions about one plan, kept in a file and honoured in the next."""

from __future__ import annotations

import hashlib
import json
import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pandas as pd

from geomarket.assortment import RangePlan
from geomarket.errors import MissingDataError, TableError
from geomarket.market import read_settings
from geomarket.results import Result
from geomarket.writing import replacing

__all__ = [
    "MatchedOverrides",
    "Overrides",
    "overrides_line",
    "read_overrides",
    "with_outcome",
    "write_overrides",
]

RULES = ("must_list", "must_not")
COLUMNS = ["store_cluster", "sku", "name", "rule", "reason"]
EVERYWHERE = "all"
"""Stands for every store cluster in a decision."""
SAME_CLUSTER = 0.5
"""A cluster of an earlier plan is found again where one of now holds at least this share of its stores."""


@dataclass(frozen=True)
class MatchedOverrides(Result):
    """Decisions on the store clusters of this plan.

    Attributes
    ----------
    table : DataFrame
        store_cluster (as it was called when decided), sku, name, rule ("must_list", "must_not"), reason, cluster_now
        (missing where not found again), applied (bool), remark (why not, or what changed).
    sources : mapping of str to str
        The file they were read from, and its SHA-256.
    """

    table: pd.DataFrame
    sources: Mapping[str, str] = field(default_factory=dict)

    def rule(self, name: str) -> dict[str, tuple[str, ...]]:
        """SKUs by store cluster of this plan, for ``RangeRules``."""
        mine = self.table[self.table["applied"] & (self.table["rule"] == name)]
        return {str(code): tuple(sorted(set(lines["sku"]))) for code, lines in mine.groupby("cluster_now")}

    def summary(self) -> list[str]:
        """Say how many decisions are in force, and which are not and why."""
        applied = int(self.table["applied"].sum())
        lines = [f"{applied:,} of {len(self.table):,} decisions about an earlier plan are in force."]
        for line in self.table[~self.table["applied"]].head(5).to_dict("records"):
            lines.append(
                f"Not in force: {line['name'] or line['sku']} in {line['store_cluster']}: {line['remark']}."
            )
        return lines


@dataclass(frozen=True)
class Overrides(Result):
    """Decisions as they were made.

    Attributes
    ----------
    table : DataFrame
        store_cluster ("all" for every cluster), sku, name, rule ("must_list", "must_not"), reason.
    members : mapping of str to tuple of str
        Stores of each cluster when the decisions were made: codes may change from run to run, stores hardly do.
    sources : mapping of str to str
        The file they were read from, and its SHA-256.
    """

    table: pd.DataFrame
    members: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    sources: Mapping[str, str] = field(default_factory=dict)

    def summary(self) -> list[str]:
        """Say how many decisions there are, which way, and how many give no reason."""
        counts = self.table["rule"].value_counts()
        lines = [
            f"{len(self.table):,} decisions: {int(counts.get('must_list', 0)):,} to list, "
            f"{int(counts.get('must_not', 0)):,} not to list."
        ]
        if silent := int(self.table["reason"].eq("").sum()):
            lines.append(f"{silent:,} of them give no reason.")
        return lines

    def match(self, clusters: pd.Series, forecast: set[str]) -> MatchedOverrides:
        """Find each decision's store cluster again among those of a plan.

        Parameters
        ----------
        clusters : Series
            store_cluster by store_id, of the plan being made.
        forecast : set of str
            SKUs that can be planned.

        Returns
        -------
        MatchedOverrides
            A decision about a cluster that was scattered, or a SKU that no longer trades, is not applied, and says so.
        """
        now = {code: self._now(code, clusters) for code in self.table["store_cluster"].unique()}
        rows: list[dict[str, Any]] = []
        for values in self.table[COLUMNS].itertuples(index=False):
            line: dict[str, Any] = dict(zip(COLUMNS, values))
            found, remark = now[line["store_cluster"]]
            if not found:
                rows.append(line | {"cluster_now": None, "applied": False, "remark": remark})
            elif line["sku"] not in forecast:
                remark = "the SKU has no forecast; it no longer trades, or too little"
                rows += [line | {"cluster_now": code, "applied": False, "remark": remark} for code in found]
            else:
                rows += [line | {"cluster_now": code, "applied": True, "remark": remark} for code in found]
        table = pd.DataFrame(rows, columns=[*COLUMNS, "cluster_now", "applied", "remark"])
        table["applied"] = table["applied"].astype(bool)
        torn = table["applied"] & (
            table.groupby(["cluster_now", "sku"])["rule"].transform("nunique").fillna(0) > 1
        )
        table.loc[torn, "applied"] = False
        table.loc[torn, "remark"] = "decided both ways for clusters that are one now"
        return MatchedOverrides(table, self.sources)

    def _now(self, code: str, clusters: pd.Series) -> tuple[list[str], str]:
        if code == EVERYWHERE:
            return sorted(clusters.unique()), ""
        stores = [store for store in self.members.get(code, ()) if store in clusters.index]
        if not stores:
            if code in set(clusters):
                return [code], ""
            return [], f"there is no store cluster {code} now"
        counts = clusters[stores].value_counts()
        best = sorted(counts.index[counts == counts.max()])[0]
        held = int(counts.max())
        if held < SAME_CLUSTER * len(stores):
            return [], f"the stores of {code} are spread over {len(counts)} clusters now"
        if best == code and held == len(stores):
            return [best], ""
        return [best], f"{held} of the {len(stores)} stores of {code} are in {best} now"


def read_overrides(path: str | os.PathLike[str]) -> Overrides:
    """Read decisions from the file :func:`write_overrides` wrote, or from a filled-in workbook.

    Parameters
    ----------
    path : path-like
        ``overrides.toml`` or ``plan.xlsx``. Of a workbook, decisions already in force are carried on unless they are
        withdrawn there or decided anew.

    Returns
    -------
    Overrides

    Raises
    ------
    MissingDataError
        If there is no such file.
    TableError
        If the file can't be read; names the line or the rows.
    """
    path = Path(path)
    if not path.is_file():
        raise MissingDataError(
            f"overrides: there is no file {path}. Make it with: geomarket apply-overrides plan.xlsx --out {path.name}"
        )
    read = _from_workbook(path) if path.suffix.lower() in (".xlsx", ".xlsm") else _from_toml(path)
    return replace(read, sources={path.name: hashlib.sha256(path.read_bytes()).hexdigest()})


def _from_toml(path: Path) -> Overrides:
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise TableError(f"overrides: {path.name} is not readable as TOML: {error}.") from error
    unknown = sorted(set(content) - {"decision", "clusters"})
    if unknown:
        raise TableError(
            f"overrides: {path.name} has {', '.join(unknown)}; it may hold [[decision]] and [clusters] only."
        )
    rows = []
    for number, entry in enumerate(content.get("decision", []), start=1):
        lacking = [name for name in ("store_cluster", "sku", "rule") if not isinstance(entry.get(name), str)]
        strange = sorted(set(entry) - set(COLUMNS))
        if lacking or strange or entry["rule"] not in RULES:
            raise TableError(
                f"overrides: decision {number} of {path.name} needs store_cluster, sku and rule "
                f'("{RULES[0]}" or "{RULES[1]}") as text, and may have name and reason; it has {entry}.'
            )
        rows.append({name: str(entry.get(name, "")) for name in COLUMNS})
    members = {str(code): tuple(map(str, stores)) for code, stores in content.get("clusters", {}).items()}
    return Overrides(_checked(pd.DataFrame(rows, columns=COLUMNS), path.name), members)


def _from_workbook(path: Path) -> Overrides:
    # Only here, and not above: drawing is no part of planning, but the workbook's sheets are the report's.
    from geomarket.report.decisions import read_decisions, read_standing

    standing, members = read_standing(path)
    new = read_decisions(path).table[COLUMNS]
    both = pd.concat([new, standing[COLUMNS]], ignore_index=True)
    return Overrides(
        _checked(both.drop_duplicates(["store_cluster", "sku"], ignore_index=True), path.name), members
    )


def _checked(table: pd.DataFrame, name: str) -> pd.DataFrame:
    twice = table[table.duplicated(["store_cluster", "sku"], keep=False)]
    if len(twice):
        few = twice[["store_cluster", "sku"]].drop_duplicates().head(3).to_numpy().tolist()
        raise TableError(
            f"overrides: {name} decides the same SKU of a store cluster more than once ({few}). Keep one."
        )
    return table.sort_values(["store_cluster", "sku"], ignore_index=True).astype("str")


def write_overrides(overrides: Overrides, path: str | os.PathLike[str]) -> Path:
    """Write decisions to a file that ``[assortment] overrides`` in ``plan.toml`` may name.

    The same decisions give the same bytes; the file is written whole or not at all.

    Examples
    --------
    >>> import tempfile
    >>> decided = pd.DataFrame([["C1", "17", "Earl Grey", "must_not", "delisted by the supplier"]], columns=COLUMNS)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = write_overrides(Overrides(decided, {"C1": ("1", "2")}), Path(folder) / "overrides.toml")
    ...     read_overrides(path).table.loc[0, "reason"]
    'delisted by the supplier'
    """
    lines = [
        "# Decisions of a planner about an earlier plan. Take a block out to withdraw a decision.",
        '# In plan.toml, under [assortment]: overrides = "name of this file"',
        '# rule: must_list or must_not; store_cluster = "all" stands for every store cluster.',
    ]
    for row in overrides.table[COLUMNS].to_dict("records"):
        lines += ["", "[[decision]]", *(f"{name} = {_text(row[name])}" for name in COLUMNS)]
    if overrides.members:
        lines += [
            "",
            "# Stores of each cluster when this was decided: clusters are found again by them.",
            "[clusters]",
        ]
        for code, stores in sorted(overrides.members.items()):
            lines.append(f"{_text(code)} = [{', '.join(_text(store) for store in sorted(stores))}]")
    path = Path(path)
    with replacing(path) as temporary:
        temporary.write_text("\n".join(lines) + "\n", encoding="utf-8", newline="\n")
    return path


def overrides_line(settings: Path | None, path: Path) -> str:
    """Say what ``plan.toml`` needs for the file to count.

    Parameters
    ----------
    settings : Path or None
        The plan.toml of the next run, where it is known.
    path : Path
        The file of decisions.

    Returns
    -------
    str
        One sentence.

    Raises
    ------
    SettingsError, MissingDataError
        If ``settings`` can't be read.
    """
    if settings is None:
        return (
            f'Put under [assortment] in plan.toml, with its path from there: overrides = "{path.as_posix()}"'
        )
    read = read_settings(settings)
    named = read.assortment.overrides
    if named is not None and (read.folder / named).resolve() == path.resolve():
        return f"{settings.name} already names it."
    wanted = os.path.relpath(path.resolve(), read.folder.resolve()).replace(os.sep, "/")
    instead = f" (instead of {named!r})" if named is not None else ""
    return f'Put under [assortment] in {settings.name}{instead}: overrides = "{wanted}"'


def with_outcome(overrides: MatchedOverrides, plan: RangePlan) -> MatchedOverrides:
    """Return the decisions with ``outcome``: what became of each in the ranges planned."""
    lines = plan.table.set_index(["store_cluster", "sku"])[["status", "stores_planned"]]
    said = []
    for row in overrides.table.to_dict("records"):
        key = (row["cluster_now"], row["sku"])
        if not row["applied"]:
            said.append("not in force")
        elif key not in lines.index or lines.loc[key, "status"] == "delist":
            said.append("not listed")
        else:
            said.append(f"listed in {int(lines.loc[key, 'stores_planned'])} stores")
    return replace(overrides, table=overrides.table.assign(outcome=said))


def _text(value: str) -> str:
    """Write a TOML basic string: JSON's escapes are TOML's, but for DEL."""
    return json.dumps(str(value), ensure_ascii=False).replace("\x7f", "\\u007f")
