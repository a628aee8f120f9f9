"""A planner's decisions in the workbook, read back as rules for the next plan."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import openpyxl
import pandas as pd

from geomarket.errors import MissingDataError, TableError
from geomarket.report.range_sheets import STANDING_SHEET, WITHDRAW
from geomarket.report.sheets import DECISIONS, OWN_CHOICES, RANGE_SHEET

__all__ = ["Decisions", "read_decisions", "read_standing"]

_HEADS = {
    "Cluster": "store_cluster",
    "SKU": "sku",
    "Product": "name",
    "Plan": "status",
    "Decision": "decision",
    "Own choice": "own_choice",
    "Your reason": "reason",
}


@dataclass(frozen=True)
class Decisions:
    """What a planner decided against the plan.

    Attributes
    ----------
    table : DataFrame
        store_cluster, sku, name, status (of the plan), decision, own_choice, reason, rule ("must_list" or
        "must_not"): one row per line that was rejected or overridden.
    must_list, must_not : dict
        store_cluster -> SKUs, as :class:`geomarket.assortment.RangeRules` takes them.
    """

    table: pd.DataFrame

    @property
    def must_list(self) -> dict[str, tuple[str, ...]]:
        """SKUs each cluster has to list."""
        return self._rule("must_list")

    @property
    def must_not(self) -> dict[str, tuple[str, ...]]:
        """SKUs each cluster must not list."""
        return self._rule("must_not")

    def _rule(self, rule: str) -> dict[str, tuple[str, ...]]:
        mine = self.table[self.table["rule"] == rule]
        return {str(cluster): tuple(sorted(lines["sku"])) for cluster, lines in mine.groupby("store_cluster")}

    def summary(self) -> list[str]:
        """Say how many lines were overruled and which way."""
        if self.table.empty:
            return ["No line of the plan was overruled."]
        counts = self.table["rule"].value_counts()
        lines = [
            f"{len(self.table):,} lines overruled: {int(counts.get('must_list', 0)):,} to be listed, "
            f"{int(counts.get('must_not', 0)):,} not to be listed."
        ]
        silent = int(self.table["reason"].eq("").sum())
        if silent:
            lines.append(f"{silent:,} of them give no reason.")
        return lines


def read_decisions(path: str | os.PathLike[str]) -> Decisions:
    """Read the planner's columns of sheet "Range by cluster" from a workbook of :func:`write_workbook`.

    An empty decision or "accept" leaves a line to the plan. "reject" keeps things as they are today: a planned
    listing becomes "must not", a planned delisting or a kept line "must list". "override" takes the own choice.

    Parameters
    ----------
    path : path-like
        The workbook, saved after filling in.

    Returns
    -------
    Decisions

    Raises
    ------
    MissingDataError
        If there is no such file.
    TableError
        If the sheet or a column is gone, a word is not one of the choices, an override has no own choice, or a line
        is decided twice in different ways. The message names the rows.
    """
    path = Path(path)
    if not path.is_file():
        raise MissingDataError(f"decisions: there is no file {path}. Name the workbook that a plan wrote.")
    book = openpyxl.load_workbook(path, read_only=True, data_only=True)
    if RANGE_SHEET not in book.sheetnames:
        raise TableError(
            f"decisions: {path.name} has no sheet '{RANGE_SHEET}' (it has {', '.join(book.sheetnames)}). "
            "Fill in the workbook that a plan wrote, and keep its sheets."
        )
    rows = book[RANGE_SHEET].iter_rows(values_only=True)
    heads = [str(head) for head in next(rows, ()) if head is not None]
    lost = [head for head in _HEADS if head not in heads]
    if lost:
        raise TableError(
            f"decisions: sheet '{RANGE_SHEET}' has no column {', '.join(map(repr, lost))}. "
            "Keep the heads as they were written."
        )
    frame = pd.DataFrame([row[: len(heads)] for row in rows], columns=heads)
    frame = frame[list(_HEADS)].rename(columns=_HEADS)
    frame.insert(0, "row", range(2, len(frame) + 2))
    book.close()
    for column in _HEADS.values():
        frame[column] = ["" if pd.isna(value) else str(value).strip() for value in frame[column]]
    for column in ("decision", "own_choice", "status"):
        frame[column] = frame[column].str.lower()
    frame = frame[frame["sku"] != ""]
    _check(frame, "decision", DECISIONS)
    _check(frame, "own_choice", OWN_CHOICES)
    bare = frame[(frame["decision"] == "override") & (frame["own_choice"] == "")]
    if len(bare):
        raise TableError(
            f"decisions: {len(bare):,} lines say override without an own choice (rows {_rows(bare)}). "
            "Choose list or delist."
        )
    decided = frame[frame["decision"].isin(["reject", "override"])].copy()
    decided["rule"] = [
        _rule(*line) for line in zip(decided["decision"], decided["status"], decided["own_choice"])
    ]
    clash = decided[decided.groupby(["store_cluster", "sku"])["rule"].transform("nunique") > 1]
    if len(clash):
        raise TableError(
            f"decisions: the same product of a cluster is decided in two ways (rows {_rows(clash)}). Keep one line."
        )
    kept = decided.drop(columns="row").drop_duplicates(["store_cluster", "sku"], ignore_index=True)
    return Decisions(kept)


def read_standing(path: str | os.PathLike[str]) -> tuple[pd.DataFrame, dict[str, tuple[str, ...]]]:
    """Read the decisions a workbook's plan already honours, and the stores of its clusters.

    Parameters
    ----------
    path : path-like
        A workbook of :func:`write_workbook`.

    Returns
    -------
    decisions : DataFrame
        store_cluster (of that plan), sku, name, rule, reason; without those withdrawn there, and without those whose
        store cluster is gone.
    members : dict
        store_cluster -> its stores.

    Raises
    ------
    TableError
        If a line says neither yes nor nothing under "Withdraw", or the sheet with the stores is gone.
    """
    book = openpyxl.load_workbook(Path(path), read_only=True, data_only=True)
    stores = _sheet(book, "Store clusters", ["Store", "Cluster"])
    if stores is None:
        raise TableError(
            f"decisions: {Path(path).name} has no sheet 'Store clusters' with columns Store and Cluster. "
            "Fill in the workbook that a plan wrote, and keep its sheets."
        )
    members = {str(code): tuple(sorted(some["Store"])) for code, some in stores.groupby("Cluster")}
    heads = ["Cluster", "SKU", "Product", "Decision", "Reason", "Withdraw"]
    frame = _sheet(book, STANDING_SHEET, heads)
    book.close()
    columns = ["store_cluster", "sku", "name", "rule", "reason"]
    if frame is None:
        return pd.DataFrame(columns=columns), members
    frame["row"] = range(2, len(frame) + 2)
    frame["withdraw"] = frame["Withdraw"].str.lower()
    _check(frame, "withdraw", WITHDRAW)
    kept = frame[(frame["withdraw"] == "") & (frame["Cluster"] != "") & (frame["SKU"] != "")].reset_index()
    rule = ["must_list" if wish.lower() == "list" else "must_not" for wish in kept["Decision"]]
    kept = kept.assign(rule=rule).rename(
        columns={"Cluster": "store_cluster", "SKU": "sku", "Product": "name", "Reason": "reason"}
    )
    return kept[columns], members


def _sheet(book: openpyxl.Workbook, name: str, heads: list[str]) -> pd.DataFrame | None:
    """Return columns of a sheet as stripped text; None where the sheet or one of them is not there."""
    if name not in book.sheetnames:
        return None
    rows = book[name].iter_rows(values_only=True)
    found = [str(head) for head in next(rows, ()) if head is not None]
    if not set(heads) <= set(found):
        return None
    frame = pd.DataFrame([row[: len(found)] for row in rows], columns=found)[heads]
    for column in heads:
        frame[column] = ["" if pd.isna(value) else str(value).strip() for value in frame[column]]
    return frame


def _rule(decision: str, status: str, own_choice: str) -> str:
    if decision == "override":
        return "must_list" if own_choice == "list" else "must_not"
    return "must_not" if status == "list" else "must_list"


def _check(frame: pd.DataFrame, column: str, words: tuple[str, ...]) -> None:
    wrong = frame[~frame[column].isin(["", *words])]
    if len(wrong):
        found = ", ".join(repr(word) for word in wrong[column].unique()[:3])
        raise TableError(
            f"decisions: {len(wrong):,} lines hold {found} in column {column.replace('_', ' ')} "
            f"(rows {_rows(wrong)}). Use {', '.join(words)}, or leave it empty."
        )


def _rows(frame: pd.DataFrame) -> str:
    return ", ".join(str(row) for row in frame["row"].head(3))
