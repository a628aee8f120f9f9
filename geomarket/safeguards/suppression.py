"""Counts of people fit to publish: small ones hidden, and so that no hidden one can be worked out.

Hiding the counts below k is not enough: one hidden cell beside a published total is the total less the others.
So further cells are hidden until, in every published sum, the hidden ones are at least two and together at
least k.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from geomarket.errors import SettingsError, TableError
from geomarket.results import Result
from geomarket.safeguards.attack import Relation, attack

__all__ = ["Suppressed", "suppress", "suppress_counts"]

_log = logging.getLogger(__name__)

Margin = tuple[str, ...]
States = NDArray[np.object_]
NONE, PRIMARY, COMPLEMENTARY = "", "primary", "complementary"


@dataclass(frozen=True)
class Suppressed(Result):
    """A table of counts and its totals, hidden together.

    Attributes
    ----------
    table : DataFrame
        The input with hidden counts and all that hangs on them NaN, and ``suppressed`` (bool). It does not say which
        counts are hidden for being small: that alone would tell that they are below k.
    totals : dict
        Margin (tuple of column names) -> DataFrame of those columns, the count (NaN where hidden), suppressed.
    reasons : Series
        "" (shown), "primary" (below k) or "complementary" (would give another away), on the table's index. Not to be
        published.
    k : int
    count : str
    """

    table: pd.DataFrame
    totals: Mapping[Margin, pd.DataFrame]
    reasons: pd.Series
    k: int = 10
    count: str = "customers"

    def summary(self) -> list[str]:
        """Return how many counts are hidden, and why."""
        reasons = self.reasons.value_counts()
        primary, complementary = int(reasons.get(PRIMARY, 0)), int(reasons.get(COMPLEMENTARY, 0))
        return [
            f"{primary + complementary:,} of {len(self.table):,} counts of {self.count} are hidden: {primary:,} are "
            f"below {self.k}, {complementary:,} would give one of those away."
        ]


def suppress_counts(
    table: pd.DataFrame,
    count: str,
    k: int = 10,
    margins: Sequence[Sequence[str]] = ((),),
    dependent: Sequence[str] = (),
    parts: Mapping[str, Sequence[str]] | None = None,
) -> pd.DataFrame:
    """Hide counts below k, and further ones so that none can be worked out from published totals.

    The table alone; :func:`suppress` gives the totals too.

    Parameters
    ----------
    table : DataFrame
        One row per combination of keys.
    count : str
        Column of whole numbers ≥ 0 (people).
    k : int
        Smallest count shown.
    margins : sequence of sequences of str
        Columns by which sums are published too; ``()`` is the sum over all rows.
    dependent : sequence of str
        Columns that give the count away; NaN wherever it is hidden.
    parts : mapping of str to sequence of str, optional
        Columns that count some of the same people -> columns that give those away.

    Returns
    -------
    DataFrame
        On the input's index, with a further column ``suppressed``.

    Examples
    --------
    >>> table = pd.DataFrame({"type": ["A", "B", "C"], "customers": [4, 30, 70], "share": [0.01, 0.05, 0.1]})
    >>> suppress_counts(table, "customers", dependent=["share"])["suppressed"].tolist()
    [True, True, False]
    """
    return suppress(table, count, k, margins, dependent, parts).table


def suppress(
    table: pd.DataFrame,
    count: str,
    k: int = 10,
    margins: Sequence[Sequence[str]] = ((),),
    dependent: Sequence[str] = (),
    parts: Mapping[str, Sequence[str]] | None = None,
) -> Suppressed:
    """Hide counts and totals below k, and further ones so that none can be worked out from the others.

    Parameters
    ----------
    table : DataFrame
        One row per combination of keys; its index is kept.
    count : str
        Column of whole numbers ≥ 0 (people). NaN counts as not published at all.
    k : int
        Smallest count shown. 0 is shown: it is no one.
    margins : sequence of sequences of str
        Columns by which sums of the count are published too; ``()`` is the sum over all rows. A margin whose
        columns contain another's is tied to it as well (types add up to the whole).
    dependent : sequence of str
        Columns that give the count away (revenue, penetration, index): NaN wherever the count is hidden.
    parts : mapping of str to sequence of str, optional
        Columns that count some of the same people (``heavy``) -> columns that give those away. A part is
        hidden with its count, when it or the rest of the count is below k, and against the margins likewise.

    Returns
    -------
    Suppressed

    Raises
    ------
    TableError
        A column is missing, or a count is negative or not whole.
    SettingsError
        k below 1.

    Notes
    -----
    Primary and complementary (secondary) cell suppression (Cox 1980). A greedy rule hides the smallest count that
    helps, sum by sum; then :func:`attack` bounds every hidden count from all sums together, and more is hidden until
    none can be pinned to a range narrower than k. Safe, but not the least that could be hidden.

    Examples
    --------
    >>> table = pd.DataFrame({"type": ["A", "A", "B"], "cell": [1, 2, 3], "customers": [4, 30, 70]})
    >>> hidden = suppress(table, "customers", margins=[("type",), ()])
    >>> hidden.table["customers"].isna().tolist(), hidden.totals[("type",)]["customers"].tolist()
    ([True, True, False], [34.0, 70.0])
    """
    if k < 1:
        raise SettingsError(f"k = {k}: at least 1 is expected.")
    keys = [tuple(margin) for margin in margins]
    _check(
        table, [count, *(parts or {})], keys, [*dependent, *(c for cs in (parts or {}).values() for c in cs)]
    )
    levels = _levels(table, count, keys)
    small = [_below(level.values, k) for level in levels]
    states = _protect(levels, small, k)
    out = table.copy()
    hidden = states[0] != NONE
    out[count] = table[count].astype(float).mask(hidden)
    out["suppressed"] = hidden
    for column in dependent:
        out[column] = table[column].astype(float).mask(hidden)
    totals = {
        key: level.keys.assign(
            **{count: np.where(state == NONE, level.values, np.nan), "suppressed": state != NONE}
        )
        for key, level, state in zip(keys, levels[1:], states[1:])
    }
    for part, ratios in (parts or {}).items():
        part_levels = _levels(table, part, keys)
        gone = _hidden_parts(levels, part_levels, states, k)
        for column in (part, *ratios):
            out[column] = table[column].astype(float).mask(gone[0])
        for key, level, flags in zip(keys, part_levels[1:], gone[1:]):
            totals[key][part] = np.where(flags, np.nan, level.values)
    reasons = pd.Series(states[0], index=table.index, dtype=str)
    return Suppressed(table=out, totals=totals, reasons=reasons, k=k, count=count)


@dataclass(frozen=True)
class _Level:
    """One published level: rows of the table, or sums of them by some columns."""

    columns: Margin | None
    keys: pd.DataFrame
    values: NDArray[np.float64]
    group: NDArray[np.intp]

    def contains(self, other: _Level) -> bool:
        """Whether every group of this level lies within one group of the other."""
        return other.columns is not None and (self.columns is None or set(other.columns) < set(self.columns))


def _levels(table: pd.DataFrame, count: str, keys: Sequence[Margin]) -> list[_Level]:
    values = table[count].to_numpy(dtype=float, na_value=np.nan)
    base = _Level(None, pd.DataFrame(index=range(len(table))), values, np.arange(len(table)))
    levels = [base]
    for key in keys:
        if key:
            grouped = table.groupby(list(key), dropna=False, sort=True)
            group = grouped.ngroup().to_numpy()
            frame = table[list(key)].assign(_group=group).drop_duplicates("_group").sort_values("_group")
            frame = frame.drop(columns="_group").reset_index(drop=True)
        else:
            group, frame = np.zeros(len(table), dtype=np.intp), pd.DataFrame(index=range(1))
        sums = np.bincount(group, weights=np.nan_to_num(values), minlength=len(frame)).astype(float)
        levels.append(_Level(key, frame, sums, group.astype(np.intp)))
    return levels


def _below(values: NDArray[np.float64], k: int) -> NDArray[np.bool_]:
    return (values > 0) & (values < k)


def _protect(
    levels: Sequence[_Level],
    small: Sequence[NDArray[np.bool_]],
    k: int,
    caps: Sequence[NDArray[np.float64]] | None = None,
) -> list[States]:
    """Hide small counts, and others until no hidden one is pinned to a range narrower than k."""
    states = [np.where(flags, PRIMARY, NONE).astype(object) for flags in small]
    relations = [
        Relation(p, c, _parent_of(child, parent))
        for p, parent in enumerate(levels)
        for c, child in enumerate(levels)
        if child.contains(parent)
    ]
    while True:
        _close(levels, relations, states, k)
        # counts NaN from the start are published nowhere: as if they were not there
        published = [np.where(s == NONE, np.nan_to_num(lv.values), np.nan) for lv, s in zip(levels, states)]
        exposed = attack(published, relations, k, caps).exposed(k)
        if not any(flags.any() for flags in exposed):
            return states
        _hide_more(levels, relations, states, exposed)


def _close(levels: Sequence[_Level], relations: Sequence[Relation], states: list[States], k: int) -> None:
    """Hide until, in every sum by itself, the hidden are none, or at least two and together at least k."""
    changed = True
    while changed:
        changed = False
        for r in relations:
            changed |= _close_relation(
                levels[r.parent], levels[r.child], states[r.parent], states[r.child], r.parent_of, k
            )


def _hide_more(
    levels: Sequence[_Level],
    relations: Sequence[Relation],
    states: list[States],
    exposed: Sequence[NDArray[np.bool_]],
) -> None:
    """Hide one more count in every sum that helps to expose one."""
    crowded = [
        np.bincount(r.parent_of[states[r.child] != NONE], minlength=len(levels[r.parent].values)) > 0
        for r in relations
    ]
    for r in relations:
        hit = exposed[r.parent].copy()
        hit[r.parent_of[exposed[r.child]]] = True
        shown = (states[r.child] == NONE) & ~np.isnan(levels[r.child].values)
        for row in np.flatnonzero(hit):
            members = np.flatnonzero((r.parent_of == row) & shown)
            if not len(members):
                if states[r.parent][row] == NONE:
                    states[r.parent][row] = COMPLEMENTARY
                continue
            values = levels[r.child].values[members]
            # a count whose other sums hide something already closes a ring and exposes nothing new
            rings = sum(
                flags[other.parent_of[members]].astype(int)
                for other, flags in zip(relations, crowded)
                if other.child == r.child and other is not r
            )
            best = np.lexsort((values, -np.asarray(rings) * np.ones(len(members)), values == 0))[0]
            states[r.child][members[best]] = COMPLEMENTARY


def _parent_of(child: _Level, parent: _Level) -> NDArray[np.intp]:
    """Group of the parent level each group of the child level lies in."""
    out = np.empty(len(child.values), dtype=np.intp)
    out[child.group] = parent.group
    return out


def _close_relation(
    parent: _Level,
    child: _Level,
    parent_state: States,
    child_state: States,
    parent_of: NDArray[np.intp],
    k: int,
) -> bool:
    hidden = child_state != NONE
    n_parents = len(parent.values)
    n_hidden = np.bincount(parent_of[hidden], minlength=n_parents)
    mass = np.bincount(parent_of[hidden], weights=child.values[hidden], minlength=n_parents)
    total_hidden = parent_state != NONE
    exposed = ~total_hidden & (n_hidden > 0) & ((n_hidden < 2) | (mass < k))
    exposed |= total_hidden & (n_hidden == 0)
    for group in np.flatnonzero(exposed):
        members = np.flatnonzero((parent_of == group) & ~hidden & ~np.isnan(child.values))
        positive = members[child.values[members] > 0]
        if len(positive):
            # the smallest that helps, the first of equals: the choice must not hang on row order more than need be
            child_state[positive[np.argmin(child.values[positive])]] = COMPLEMENTARY
        elif not total_hidden[group]:
            parent_state[group] = COMPLEMENTARY
        elif len(members):
            child_state[members[0]] = COMPLEMENTARY
    return bool(exposed.any())


def _hidden_parts(
    whole: Sequence[_Level], part: Sequence[_Level], states: Sequence[States], k: int
) -> list[NDArray[np.bool_]]:
    small = [
        _below(b.values, k) | _below(a.values - b.values, k) | (state != NONE)
        for a, b, state in zip(whole, part, states)
    ]
    # a part cannot exceed its whole where that is shown
    caps = [np.where(state == NONE, level.values, np.inf) for level, state in zip(whole, states)]
    return [state != NONE for state in _protect(part, small, k, caps)]


def _check(table: pd.DataFrame, counts: Sequence[str], keys: Sequence[Margin], others: Sequence[str]) -> None:
    needed = [*counts, *(column for key in keys for column in key), *others]
    missing = sorted({c for c in needed if c not in table.columns})
    if missing:
        raise TableError(
            f"table: column(s) {', '.join(missing)} missing (it has {', '.join(map(str, table.columns))})."
        )
    for column in counts:
        values = table[column].to_numpy(dtype=float, na_value=np.nan)
        bad = (values < 0) | (~np.isnan(values) & (values != np.round(values)))
        if bad.any():
            first = ", ".join(str(v) for v in values[bad][:3])
            raise TableError(
                f"table: {int(bad.sum())} of {len(table):,} values of {column} are negative or not whole ({first}); "
                "suppression is for counts of people. Count customers, not money or averages."
            )
