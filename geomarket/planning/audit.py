"""Play the attacker on a finished output folder: what all its published figures together tell about hidden ones."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from geomarket.errors import SettingsError, SolverError
from geomarket.hexes import cell_strings, cells_from_strings, parents
from geomarket.planning.published_pages import Page, not_read, read_pages
from geomarket.results import Result
from geomarket.safeguards import Audit, audit_tables
from geomarket.safeguards.published import COUNT, GIVES_AWAY, KEYS, ONCE, PARTS, PERSON_KEYS, key_of

__all__ = ["FolderAudit", "audit_folder"]

Key = tuple[str, ...]
FINDINGS = ["count", "table", "row", "problem", "low", "high"]
NO_TYPE, NOWHERE, EARLIER = "in no type", "nowhere on the map", " (earlier run)"


@dataclass(frozen=True)
class FolderAudit(Result):
    """What an attacker with the whole folder would learn.

    Attributes
    ----------
    table : DataFrame
        count (column), table, row (its keys), problem, low, high; empty where nothing was found. Problems are those of
        :class:`geomarket.Audit`, and "row per person".
    checked : DataFrame
        count, table, found_in (files, sheets, tables of the page), rows, hidden, sums.
    narrowest : float
        Narrowest range any hidden count is known to; a lower bound from ``k`` on, infinite where nothing is hidden.
    k : int
    notes : tuple of str
    """

    table: pd.DataFrame
    checked: pd.DataFrame
    narrowest: float
    k: int
    notes: tuple[str, ...] = ()

    @property
    def passed(self) -> bool:
        """Whether nothing was found."""
        return self.table.empty

    def summary(self) -> list[str]:
        """Return what was examined, the narrowest range, and each problem."""
        if self.checked.empty and self.passed:
            return [
                "No table, sheet or page of this folder counts customers: nothing to give away.",
                *self.notes,
            ]
        lines = [
            f"{row['table']}: {row['count']}, {row['rows']:,} figures, {row['hidden']:,} hidden, "
            f"{row['sums']:,} sums with something hidden (in {row['found_in']})"
            for row in self.checked.to_dict("records")
        ]
        if np.isnan(self.narrowest):
            lines.append("Published figures contradict one another, so their bounds are not known.")
        elif np.isfinite(self.narrowest):
            more = "at least " if self.narrowest >= self.k else ""
            lines.append(f"Narrowest range a hidden count is known to: {more}{self.narrowest:.0f}.")
        else:
            lines.append("No hidden count is bounded from above by any published sum.")
        for problem, found in self.table.groupby("problem", sort=True):
            first = "; ".join(f"{r['table']}, {r['row']}" for r in found.head(3).to_dict("records"))
            lines.append(f"{problem}: {len(found):,} ({first})")
        verdict = (
            f"Passed: no hidden count can be pinned to a range narrower than {self.k}."
            if self.passed
            else f"Failed: {len(self.table):,} problems at k = {self.k}."
        )
        return [*lines, *self.notes, verdict]


@dataclass(frozen=True)
class _Table:
    """All that is published by one set of keys, from wherever in the folder."""

    keys: Key
    frame: pd.DataFrame
    sources: tuple[str, ...]


def audit_folder(folder: str | Path, against: str | Path | None = None, k: int = 10) -> FolderAudit:
    """Bound every hidden count of customers from all that a finished output folder publishes.

    Read are all tables (Parquet and CSV), map layers (GeoParquet, GeoJSON, KML and GeoPackage), sheets of workbooks and
    tables of pages that count customers, or list them one by one; such a list is in order only for a channel that the
    settings asked a contact list for by name. What one of them shows is known; a count is hidden only if all hide it.
    The attacker adds up hexagons to types, types to everybody, parts to wholes, and with ``against`` all this across
    two runs. Pictures are not read: they draw what the page shows.

    Parameters
    ----------
    folder : path
        Written by ``geomarket plan`` or ``geomarket demo``.
    against : path, optional
        Folder of an earlier run with the same customers: figures of the two are put together.
    k : int
        Smallest count that may be shown, and narrowest range a hidden one may be known to.

    Returns
    -------
    FolderAudit

    Raises
    ------
    SettingsError
        A folder is not one of a finished run, or a file in it can't be read.

    Notes
    -----
    Bounds are exact for sums (linear programming). Not tried: what an outsider knows beside the folder, and
    differences between lists of customers that changed from run to run.
    """
    pages, people, resolution = _read(Path(folder))
    notes: list[str] = []
    now = _tables(pages)
    if against is not None:
        earlier_pages, earlier_people, earlier_resolution = _read(Path(against))
        earlier = _tables(_as_earlier(earlier_pages, earlier_resolution, resolution))
        pages = [*pages, *earlier_pages]
        joined, differing, compared = _joined(now, earlier)
        if differing or (people.get("customers") != earlier_people.get("customers")):
            notes.append(
                f"The two runs count different people ({differing:,} of {compared:,} figures shown in both differ): "
                "their figures can't be put together, and each must be judged by itself. This is about the later one."
            )
        else:
            now = _with_parents(joined, resolution, earlier_resolution)
            before = {name: earlier_people.get(name) for name in ("unplaced", "unplaced_heavy")}
            people = {**people, **{f"{name}{EARLIER}": value for name, value in before.items()}}
            notes.append(f"{compared:,} figures are shown in both runs and agree; the two were put together.")
    findings = _persons([p for p in pages if not _asked_for(p, people)])
    notes += [
        f"{p.source} lists single persons: it was asked for by name." for p in pages if _asked_for(p, people)
    ]
    unread = not_read(Path(folder))
    if unread:
        kinds = ", ".join(f"{number:,} {kind}" for kind, number in unread.items())
        notes.append(f"Not read, because they hold no tables: {kinds}.")
    checked: list[dict[str, Any]] = []
    narrowest = [np.inf]
    for group in _groups(now, people):
        for count in (COUNT, *PARTS):
            audit, found, seen = _attack(group, count, k)
            findings += found
            checked += seen
            narrowest += [audit.narrowest] if audit is not None else []
    table = pd.DataFrame(findings, columns=FINDINGS).drop_duplicates(ignore_index=True)
    columns = ["count", "table", "found_in", "rows", "hidden", "sums"]
    # a contradiction leaves bounds unknown; that must not read as wide ones
    least = float(np.min(narrowest))
    return FolderAudit(table, pd.DataFrame(checked, columns=columns), least, k, tuple(notes))


def _read(folder: Path) -> tuple[list[Page], dict[str, Any], int]:
    manifest_path = folder / "manifest.json"
    try:
        manifest = json.loads(manifest_path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise SettingsError(
            f"{folder}: no readable manifest.json ({error}). Name a folder that geomarket plan or geomarket demo wrote."
        ) from error
    if not isinstance(manifest, dict) or not manifest.get("complete"):
        raise SettingsError(
            f"{folder}: its run did not end, or it isn't one of geomarket's. Run the plan again."
        )
    people = dict(manifest.get("people") or {})
    targeting = (manifest.get("settings") or {}).get("targeting") or {}
    people["lists"] = list(targeting.get("contact_lists") or [])
    return read_pages(folder), people, int(manifest.get("resolution", 0))


def _asked_for(page: Page, people: Mapping[str, Any]) -> bool:
    names = {f"contacts_{channel}.csv" for channel in people.get("lists", ())}
    return Path(page.source.removeprefix("earlier ")).name in names


def _persons(pages: Iterable[Page]) -> list[tuple[Any, ...]]:
    return [
        (name, page.source, f"{len(page.frame):,} rows", "row per person", np.nan, np.nan)
        for page in pages
        for name in PERSON_KEYS
        if name in page.frame
    ]


def _tables(pages: Sequence[Page]) -> dict[Key, _Table]:
    """Put pages of the same keys together; Parquet tables come first and say which rows there are."""
    found: dict[Key, _Table] = {}
    for page in pages:
        if COUNT not in page.frame:
            continue
        keys = key_of(page.frame, (*_with_earlier(ONCE["everyone"]), *KEYS))
        frame = _keys_as_text(page.frame, keys)
        if not keys or frame.duplicated(list(keys)).any():
            # nothing adds up without keys, but what it shows is still seen
            keys = (f"row of {page.source}",)
            frame = frame.assign(**{keys[0]: np.arange(1, len(frame) + 1).astype(str)})
        if keys not in found:
            found[keys] = _Table(keys, frame.reset_index(drop=True), (page.source,))
            continue
        found[keys], _, _ = _merged(found[keys], frame, (page.source,), page.complete)
    return found


def _keys_as_text(frame: pd.DataFrame, keys: Key) -> pd.DataFrame:
    """Write keys alike: numbers are text on a page, and door_drop may stand there as door drop."""
    written = {}
    for key in keys:
        number = pd.api.types.is_numeric_dtype(frame[key])
        write = "{:g}".format if number else lambda text: str(text).replace("_", " ")
        written[key] = frame[key].map(write, na_action="ignore")
    return frame.assign(**written)


def _merged(
    table: _Table, other: pd.DataFrame, sources: tuple[str, ...], complete: bool = True
) -> tuple[_Table, int, int]:
    """Add what another page shows; return the table, how many figures differ and how many are in both."""
    keys = list(table.keys)
    figures = [c for c in (COUNT, *PARTS, *GIVES_AWAY) if c in other]
    if not complete:
        # an empty cell of a sheet or page may be of a row that is not about customers at all
        other = other.dropna(subset=figures, how="all")
    both = table.frame.merge(other, on=keys, how="outer", suffixes=("", "\0other"), sort=True)
    differing = compared = 0
    clashes = np.zeros(len(both), dtype=bool)
    for column in [c for c in other.columns if c not in keys and c in table.frame]:
        second = both.pop(f"{column}\0other")
        if column in (COUNT, *PARTS):
            first, second = both[column].astype(float), second.astype(float)
            shown = first.notna() & second.notna()
            clash = (shown & ((first - second).abs() > 0.5)).to_numpy()
            clashes |= clash
            differing, compared = differing + int(clash.sum()), compared + int(shown.sum())
        both[column] = both[column].where(both[column].notna(), second)
    if clashes.any():
        both[_CLASH] = (
            both.get(_CLASH, pd.Series(False, index=both.index)).fillna(False).astype(bool) | clashes
        )
    return _Table(table.keys, both, (*table.sources, *sources)), differing, compared


_CLASH = "\0clash"


def _as_earlier(pages: Sequence[Page], resolution: int, now: int) -> list[Page]:
    """Rename what means something else in another run: its types, and cells of another size."""
    renamed = {"neighbourhood": f"neighbourhood{EARLIER}", "supergroup": f"supergroup{EARLIER}"}
    if resolution != now:
        renamed["cell"] = f"cell of resolution {resolution}"
    return [replace(p, source=f"earlier {p.source}", frame=p.frame.rename(columns=renamed)) for p in pages]


def _joined(now: Mapping[Key, _Table], earlier: Mapping[Key, _Table]) -> tuple[dict[Key, _Table], int, int]:
    out, differing, compared = dict(now), 0, 0
    for keys, table in earlier.items():
        if keys in out:
            out[keys], d, c = _merged(out[keys], table.frame, table.sources)
            differing, compared = differing + d, compared + c
        else:
            out[keys] = table
    return out, differing, compared


def _with_parents(tables: dict[Key, _Table], resolution: int, earlier: int) -> dict[Key, _Table]:
    """Tell the smaller cells which of the larger ones they lie in."""
    if resolution == earlier:
        return tables
    names = {resolution: "cell", earlier: f"cell of resolution {earlier}"}
    fine, coarse = names[max(names)], names[min(names)]
    out = dict(tables)
    for keys, table in tables.items():
        if fine in table.frame and coarse not in table.frame:
            above = parents(cells_from_strings(table.frame[fine]), min(names))
            out[keys] = replace(table, frame=table.frame.assign(**{coarse: cell_strings(above)}))
    return out


def _groups(tables: Mapping[Key, _Table], people: Mapping[str, Any]) -> list[dict[str, _Table]]:
    """Tables that count the same people, each once: only those add up."""
    groups: dict[tuple[str, ...], dict[str, _Table]] = {}
    once = {name: _with_earlier(keys) for name, keys in ONCE.items()}
    for keys, table in tables.items():
        whose = "valued" if set(keys) & set(once["valued"]) else "everyone"
        repeated = tuple(sorted(set(keys) - set(once["valued"]) - set(once["everyone"])))
        groups.setdefault((whose, *repeated), {})[" x ".join(keys) or "total"] = table
    everyone, valued = groups.get(("everyone",)), groups.get(("valued",))
    if everyone and people.get("customers") is not None:
        groups["everyone",] = _with_total(everyone, people, valued)
    if valued and people.get("with_baskets") is not None:
        total = pd.DataFrame({COUNT: [float(people["with_baskets"])]})
        groups["valued",] = {**valued, "total": _Table((), total, ("manifest.json",))}
    return list(groups.values())


def _with_earlier(keys: Sequence[str]) -> list[str]:
    larger = [f"cell of resolution {r}" for r in range(16)] if "cell" in keys else []
    return [*keys, *(f"{key}{EARLIER}" for key in keys), *larger]


def _with_total(
    tables: Mapping[str, _Table], people: Mapping[str, Any], valued: Mapping[str, _Table] | None
) -> dict[str, _Table]:
    """Add everybody, and those who are in no type or nowhere on the map, so that all adds up."""
    out = dict(tables)
    types = [c for c in _with_earlier(["neighbourhood"])[:2] if any(c in t.frame for t in tables.values())]
    nowhere = {COUNT: people.get("outside"), "heavy": people.get("outside_heavy")}
    cells = [name for name, table in tables.items() if any(key.startswith("cell") for key in table.keys)]
    for name in cells:
        frame = tables[name].frame
        labelled = frame.assign(**{c: frame[c].fillna(NO_TYPE) for c in types if c in frame})
        row = dict.fromkeys((*tables[name].keys, *types), NOWHERE)
        out[name] = replace(tables[name], frame=_plus(labelled, {**row, **nowhere}))
    for name, table in tables.items():
        if name in types:
            frame = _plus(table.frame, {name: NOWHERE, **nowhere})
            run = "" if name == "neighbourhood" else EARLIER
            without = {COUNT: people.get(f"unplaced{run}"), "heavy": people.get(f"unplaced_heavy{run}")}
            frame = _plus(frame, {name: NO_TYPE, **without})
            out[name] = replace(table, frame=frame)
    total: dict[str, Any] = {COUNT: [float(people["customers"])]}
    segments = valued.get("segment") if valued else None
    if segments is not None:
        heavy = segments.frame.loc[segments.frame["segment"] == "heavy", COUNT]
        total["heavy"] = [float(heavy.iloc[0])] if len(heavy) else [np.nan]
    out["total"] = _Table((), pd.DataFrame(total), ("manifest.json",))
    return out


def _plus(frame: pd.DataFrame, row: Mapping[str, Any]) -> pd.DataFrame:
    values = {c: row.get(c) for c in frame.columns}
    return pd.concat([frame.astype(object), pd.DataFrame([values], dtype=object)], ignore_index=True)


def _attack(
    group: Mapping[str, _Table], count: str, k: int
) -> tuple[Audit | None, list[tuple[Any, ...]], list[dict[str, Any]]]:
    tables = {name: table for name, table in group.items() if count in table.frame}
    if not tables or (count != COUNT and set(tables) == {"total"}):
        return None, [], []
    frames = {name: _numbers(table.frame) for name, table in tables.items()}
    told = {
        name: [c for c in (GIVES_AWAY if count == COUNT else PARTS[count]) if c in frame]
        for name, frame in frames.items()
    }
    clashes = [
        (
            count,
            name,
            ", ".join(f"{key} {frame[key].iloc[row]}" for key in tables[name].keys),
            "contradiction",
        )
        for name, frame in frames.items()
        if _CLASH in frame
        for row in np.flatnonzero(frame[_CLASH].fillna(False).astype(bool)).tolist()
    ]
    try:
        audit = audit_tables(
            frames,
            {name: list(table.keys) for name, table in tables.items()},
            count,
            k,
            told,
            within=None if count == COUNT else COUNT,
        )
    except SolverError as error:
        found = [(count, " / ".join(tables), str(error), "contradiction", np.nan, np.nan)]
        return None, found, []
    findings = [(count, *row) for row in audit.table.itertuples(index=False, name=None)]
    findings += [(*clash, np.nan, np.nan) for clash in clashes]
    findings += _pairs(frames, tables, count, k)
    seen = [
        {**row, "count": count, "found_in": ", ".join(dict.fromkeys(tables[row["table"]].sources))}
        for row in audit.checked.astype(object).to_dict("records")
    ]
    return audit, findings, [{str(name): value for name, value in row.items()} for row in seen]


def _numbers(frame: pd.DataFrame) -> pd.DataFrame:
    figures = [c for c in (COUNT, *PARTS) if c in frame]
    return frame.assign(**{c: pd.to_numeric(frame[c], errors="coerce").astype(float) for c in figures})


def _pairs(
    frames: Mapping[str, pd.DataFrame], tables: Mapping[str, _Table], count: str, k: int
) -> list[tuple[Any, ...]]:
    """Pairs of items: those who have one and not the other are a group as well."""
    found = []
    for name, frame in frames.items():
        for whole in (f"{COUNT}_a", f"{COUNT}_b"):
            if count != COUNT or whole not in frame:
                continue
            rest = frame[whole].astype(float) - frame[COUNT]
            for row in np.flatnonzero((rest > 0) & (rest < k)).tolist():
                label = ", ".join(f"{key} {frame[key].iloc[row]}" for key in tables[name].keys)
                found.append(
                    (count, name, f"{label} (those without the other)", "shown", rest[row], rest[row])
                )
    return found
