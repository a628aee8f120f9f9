"""Play the attacker on finished tables and report every hidden count that is given away."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from geomarket.errors import TableError
from geomarket.results import Result
from geomarket.safeguards.attack import Relation, attack

__all__ = ["Audit", "audit_tables"]

FINDING_COLUMNS = ["table", "row", "problem", "low", "high"]


@dataclass(frozen=True)
class Audit(Result):
    """What the attacker found.

    Attributes
    ----------
    table : DataFrame
        table, row (its keys), problem, low, high; empty where nothing was found. Problems: "shown" (a count below k is
        printed), "pinned" (a hidden count is known to a range narrower than k), "given away" (another column of a
        hidden row tells its count) and "contradiction" (a published sum is not that of its published parts).
    checked : DataFrame
        table, rows, hidden, sums (published sums it takes part in that hide something).
    k : int
    count : str
    narrowest : float
        Narrowest range a hidden count is known to; the search stops at ``k``, so a figure from there on is a lower
        bound. Infinite where nothing is hidden, NaN where published figures contradict one another.
    """

    table: pd.DataFrame
    checked: pd.DataFrame
    k: int
    count: str
    narrowest: float = np.inf

    @property
    def passed(self) -> bool:
        """Whether nothing was found."""
        return self.table.empty

    def summary(self) -> list[str]:
        """Return whether the tables may go out, and if not why."""
        hidden, rows = int(self.checked["hidden"].sum()), int(self.checked["rows"].sum())
        head = f"{rows:,} counts of {self.count} in {len(self.checked)} tables, {hidden:,} of them hidden: "
        if self.passed:
            return [head + f"no hidden count can be pinned to a range narrower than {self.k}."]
        lines = [head + f"{len(self.table):,} problems."]
        for problem, found in self.table.groupby("problem", sort=True):
            first = ", ".join(f"{row['table']} {row['row']}" for _, row in found.head(3).iterrows())
            lines.append(f"{problem}: {len(found):,} ({first}).")
        return lines


def audit_tables(
    tables: Mapping[str, pd.DataFrame],
    keys: Mapping[str, Sequence[str]],
    count: str = "customers",
    k: int = 10,
    dependent: Mapping[str, Sequence[str]] | None = None,
    within: str | None = None,
) -> Audit:
    """Bound every hidden count from all the tables together, as an attacker with all of them would.

    One table adds up to another where it holds the other's keys as columns: cells with a column ``neighbourhood`` to
    neighbourhoods, (cell, store) to cells and to stores, everything to a table without keys.

    Parameters
    ----------
    tables : mapping of str to DataFrame
        Tables as published, with their keys and ``count`` (NaN where hidden). Rows whose key the coarser table does not
        have are part of none of its sums.
    keys : mapping of str to sequence of str
        Key columns of each table; an empty sequence for a single total.
    count : str
        Column of people counted; all tables count the same people.
    k : int
        Smallest count that may be shown, and narrowest range a hidden one may be known to.
    dependent : mapping of str to sequence of str, optional
        Columns of each table that tell the count and must be missing with it.
    within : str or None
        Column that counts all of whom ``count`` counts a part (heavy within customers): the attacker knows that the
        part is no more, and a rest below k is a problem too.

    Returns
    -------
    Audit

    Raises
    ------
    TableError
        A table lacks a key or the count, or repeats a key.

    Notes
    -----
    Tables of different dates or of overlapping but not nested areas can be differenced too; give their rows as parts
    of a common finer table to have that tested.

    Examples
    --------
    >>> types = pd.DataFrame({"type": ["A", "B"], "customers": [np.nan, 40.0]})
    >>> total = pd.DataFrame({"customers": [44.0]})
    >>> audit_tables({"types": types, "total": total}, {"types": ["type"], "total": []}).table["problem"].tolist()
    ['pinned']
    """
    names = list(tables)
    _check(tables, keys, [count, *([within] if within else [])])
    published = [tables[name][count].to_numpy(dtype=float, na_value=np.nan) for name in names]
    relations, notes = [], []
    for p, parent in enumerate(names):
        for c, child in enumerate(names):
            if p != c and _refines(tables[child], keys[child], keys[parent]):
                relation = Relation(p, c, _parent_of(tables[child], tables[parent], keys[parent]))
                notes += _contradictions(relation, published, tables[parent], parent, keys[parent])
                relations.append(relation)
    findings = [*notes, *_shown(tables, keys, names, published, k)]
    caps = None
    if within is not None:
        wholes = [tables[name][within].to_numpy(dtype=float, na_value=np.nan) for name in names]
        findings += _shown(tables, keys, names, [w - p for w, p in zip(wholes, published)], k)
        caps = [np.nan_to_num(w, nan=np.inf, posinf=np.inf) for w in wholes]
    findings += _given_away(tables, keys, names, published, dependent or {})
    sums, narrowest = np.zeros(len(names), dtype=int), np.nan
    if not notes:
        # figures that contradict each other bound nothing
        bounds = attack(published, relations, k, caps)
        for t, flags in enumerate(bounds.exposed(k)):
            for row in np.flatnonzero(flags).tolist():
                low, high = float(bounds.low[t][row]), float(bounds.high[t][row])
                findings.append(
                    (names[t], _label(tables[names[t]], keys[names[t]], row), "pinned", low, high)
                )
        ranges = [high - low for low, high in zip(bounds.low, bounds.high)]
        narrowest = float(
            np.nanmin([np.inf, *(r.min() for r in (x[~np.isnan(x)] for x in ranges) if len(r))])
        )
        for index, _ in bounds.equations:
            sums[relations[index].parent] += 1
            sums[relations[index].child] += 1
    checked = pd.DataFrame(
        {
            "table": names,
            "rows": [len(p) for p in published],
            "hidden": [int(np.isnan(p).sum()) for p in published],
            "sums": sums,
        }
    )
    return Audit(pd.DataFrame(findings, columns=FINDING_COLUMNS), checked, k, count, narrowest)


def _check(
    tables: Mapping[str, pd.DataFrame], keys: Mapping[str, Sequence[str]], counts: Sequence[str]
) -> None:
    for name, frame in tables.items():
        if name not in keys:
            raise TableError(f"audit: no keys given for table '{name}'; give [] if it is a single total.")
        missing = [c for c in [*keys[name], *counts] if c not in frame.columns]
        if missing:
            raise TableError(
                f"{name}: column(s) {', '.join(missing)} missing; its keys and {counts[0]} are needed."
            )
        repeated = frame.duplicated(list(keys[name])) if keys[name] else pd.Series(range(len(frame))) > 0
        if repeated.any():
            raise TableError(
                f"{name}: {int(repeated.sum()):,} of {len(frame):,} rows repeat its keys; each may stand once."
            )


def _refines(child: pd.DataFrame, child_keys: Sequence[str], parent_keys: Sequence[str]) -> bool:
    return set(parent_keys) <= set(child.columns) and not set(child_keys) <= set(parent_keys)


def _parent_of(child: pd.DataFrame, parent: pd.DataFrame, keys: Sequence[str]) -> NDArray[np.intp]:
    if not keys:
        return np.zeros(len(child), dtype=np.intp)
    index = pd.MultiIndex.from_frame(parent[list(keys)])
    return np.asarray(index.get_indexer(pd.MultiIndex.from_frame(child[list(keys)])), dtype=np.intp)


def _contradictions(
    relation: Relation,
    published: Sequence[NDArray[np.float64]],
    parent: pd.DataFrame,
    name: str,
    keys: Sequence[str],
) -> list[tuple[str, str, str, float, float]]:
    child, part = published[relation.child], relation.parent_of >= 0
    n = len(parent)
    rows = relation.parent_of[part]
    hidden = np.bincount(rows, weights=np.isnan(child[part]), minlength=n)
    shown = np.bincount(rows, weights=np.nan_to_num(child[part]), minlength=n)
    total = published[relation.parent]
    off = np.where(hidden > 0, total < shown - 1e-6, np.abs(total - shown) > 1e-6)
    off &= ~np.isnan(total) & (np.bincount(rows, minlength=n) > 0)
    return [
        (name, _label(parent, keys, row), "contradiction", float(shown[row]), float(total[row]))
        for row in np.flatnonzero(off).tolist()
    ]


def _shown(
    tables: Mapping[str, pd.DataFrame],
    keys: Mapping[str, Sequence[str]],
    names: Sequence[str],
    published: Sequence[NDArray[np.float64]],
    k: int,
) -> list[tuple[str, str, str, float, float]]:
    return [
        (name, _label(tables[name], keys[name], row), "shown", float(values[row]), float(values[row]))
        for name, values in zip(names, published)
        for row in np.flatnonzero((values > 0) & (values < k)).tolist()
    ]


def _given_away(
    tables: Mapping[str, pd.DataFrame],
    keys: Mapping[str, Sequence[str]],
    names: Sequence[str],
    published: Sequence[NDArray[np.float64]],
    dependent: Mapping[str, Sequence[str]],
) -> list[tuple[str, str, str, float, float]]:
    found = []
    for name, values in zip(names, published):
        for column in dependent.get(name, ()):
            if column in tables[name].columns:
                told = np.isnan(values) & tables[name][column].notna().to_numpy()
                found += [
                    (
                        name,
                        f"{_label(tables[name], keys[name], row)} ({column})",
                        "given away",
                        np.nan,
                        np.nan,
                    )
                    for row in np.flatnonzero(told).tolist()
                ]
    return found


def _label(frame: pd.DataFrame, keys: Sequence[str], row: int) -> str:
    return ", ".join(f"{key} {frame[key].iloc[row]}" for key in keys) or "total"
