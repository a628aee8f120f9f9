"""What changed between two finished runs, and why: read from their output folders alone."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.optimize import linear_sum_assignment

from geomarket.errors import MissingDataError, NotSupportedError
from geomarket.planning.folders import MANIFEST, SIGNATURE
from geomarket.results import Result
from geomarket.store_clusters import ClusterMoves, compare_clusters

__all__ = ["RunDiff", "diff_runs"]

ROUNDING = 1e-9
"""Figures that differ by less than this share count as equal."""

STAGES: dict[str, dict[str, tuple[str, ...]]] = {
    "neighbourhoods": {
        "tables": ("neighbourhoods", "portraits"),
        "inputs": ("areas", "points"),
        "settings": ("areas", "hexes", "neighbourhoods"),
        "after": (),
    },
    "customers": {
        "tables": ("customers_by_neighbourhood", "customers_by_cell"),
        "inputs": ("customers", "baskets", "products"),
        "settings": ("customers", "privacy"),
        "after": ("neighbourhoods",),
    },
    "catchments": {
        # the table of hexagons holds what the catchments draw from each
        "tables": ("catchments", "catchment_profile", "catchment_model", "hexes"),
        "inputs": ("stores", "competitors", "travel", "store_totals", "customers", "baskets", "sales"),
        "settings": ("catchments",),
        "after": ("neighbourhoods",),
    },
    "demand": {
        "tables": ("demand", "demand_holdout"),
        "inputs": ("sales", "products", "stores"),
        "settings": ("demand",),
        "after": ("catchments",),
    },
    "how local to go": {
        "tables": ("frontier", "frontier_categories"),
        "inputs": ("sales", "products", "stores"),
        "settings": ("frontier", "store_clusters", "assortment", "demand"),
        "after": ("catchments",),
    },
    "store clusters": {
        "tables": ("store_cluster_members", "store_clusters"),
        "inputs": ("stores", "sales", "products"),
        "settings": ("store_clusters",),
        "after": ("catchments", "how local to go"),
    },
    "ranges": {
        "tables": ("assortment", "changes", "range_spaces", "gain_over_today"),
        "inputs": ("sales", "products", "baskets"),
        "settings": ("assortment", "customers"),
        "after": ("demand", "store clusters"),
    },
    "promotions": {
        "tables": ("promotions", "promotion_response"),
        "inputs": ("promotions", "sales", "products"),
        "settings": ("promotions",),
        "after": ("demand", "store clusters", "ranges"),
    },
}
"""The stages in the order things flow: their tables, what feeds them, and the stages before them."""

EVERYWHERE = ("plan", "quality", "tables", "engine")
"""Sections of the settings that bear on every stage."""
NO_EFFECT = ("report.", "plan.name")
"""Settings that change how a plan looks, not what is in it."""


@dataclass(frozen=True)
class RunDiff(Result):
    """What changed between two runs.

    Attributes
    ----------
    table : DataFrame
        part, item, before, after: what came out differently, most important parts first.
    causes : DataFrame
        kind ("input", "setting", "version"), item, before, after, enters (stages it feeds directly).
    stages : DataFrame
        stage, changed, why (words; empty where nothing changed).
    other_tables : tuple of str
        Tables that differ and belong to no stage above.
    before, after : str
        Names of the folders.
    """

    table: pd.DataFrame
    causes: pd.DataFrame
    stages: pd.DataFrame
    other_tables: tuple[str, ...]
    before: str
    after: str

    @property
    def same(self) -> bool:
        """Whether nothing at all changed: neither what went in nor what came out."""
        return self.causes.empty and self.table.empty and not self._changed and not self.other_tables

    @property
    def _changed(self) -> list[str]:
        return self.stages.loc[self.stages["changed"], "stage"].tolist()

    def summary(self) -> list[str]:
        """Say what changed first, and what it is due to."""
        if self.same:
            return ["Nothing changed: the same inputs, settings, versions and results."]
        lines = []
        verdict = self.table[self.table["part"] == "verdict"]
        changed = self._changed
        if not changed and self.table.empty:
            lines.append("The results are the same.")
        elif verdict.empty:
            lines.append("The verdict is the same.")
        else:
            before, after = (str(verdict.iloc[0][name]).partition(": ")[0] for name in ("before", "after"))
            lines.append(
                f"The advice is the same ({after}); its figures changed."
                if before == after
                else f"The advice changed from “{before}” to “{after}”."
            )
        lines.append(self._due_to())
        lines += [
            f"{row['stage'].capitalize()}: {row['why']}." for row in self._stage_rows() if row["changed"]
        ]
        return lines

    def _stage_rows(self) -> list[dict[str, Any]]:
        return [{str(k): v for k, v in row.items()} for row in self.stages.to_dict("records")]

    def _due_to(self) -> str:
        names = [f"{row.kind} {row.item}" for row in self.causes.itertuples()]
        if not names:
            return "Nothing that was recorded changed (inputs, settings, versions): please report this."
        if len(names) == 1:
            return f"One thing differs between the runs: {names[0]}; so all that changed is due to it."
        few = ", ".join(names[:6]) + (f" and {len(names) - 6} more" if len(names) > 6 else "")
        return (
            f"{len(names)} things differ between the runs: {few}. Which did what can't be told from two runs alone; "
            "run again with one of them changed at a time."
        )


def diff_runs(before: Path, after: Path) -> RunDiff:
    """Compare two output folders of ``geomarket plan``.

    Parameters
    ----------
    before, after : Path
        Folders of two finished runs.

    Returns
    -------
    RunDiff
        Store clusters and neighbourhood types are matched first, so a mere change of codes is no change.

    Raises
    ------
    MissingDataError
        If a folder or a table in it is missing.
    NotSupportedError
        If a folder was not written by geomarket, or its run did not finish.
    """
    runs = [_Run.read(before), _Run.read(after)]
    one, other = runs
    causes = _causes(one, other)
    differing = {
        name for name in sorted(set(one.tables) | set(other.tables)) if not _same_table(one, other, name)
    }
    moves = _cluster_moves(one, other)
    names = {} if moves is None else dict(zip(moves.matches["after"], moves.matches["before"]))
    rows = [
        *_verdict(one, other),
        *_money(one, other),
        *_neighbourhoods(one, other),
        *_clusters(moves),
        *_ranges(one, other, names),
        *_promotions(one, other, names),
        *_remarks(one, other),
    ]
    owned = {name for stage in STAGES.values() for name in stage["tables"]}
    stages = _stages(one, differing, causes)
    return RunDiff(
        pd.DataFrame(rows, columns=["part", "item", "before", "after"]),
        causes,
        stages,
        tuple(sorted(differing - owned - {"dictionary"})),
        before.name,
        after.name,
    )


@dataclass(frozen=True)
class _Run:
    """One output folder."""

    folder: Path
    manifest: dict[str, Any]

    @classmethod
    def read(cls, folder: Path) -> _Run:
        try:
            manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        except OSError as error:
            raise MissingDataError(
                f"diff: {folder} holds no {MANIFEST}. Name the output folder of a finished `geomarket plan`."
            ) from error
        except ValueError as error:
            raise NotSupportedError(f"diff: {folder / MANIFEST} is not readable: {error}.") from error
        if not isinstance(manifest, dict) or manifest.get("written_by") != SIGNATURE:
            raise NotSupportedError(f"diff: {folder} was not written by geomarket plan.")
        if not manifest.get("complete"):
            raise NotSupportedError(f"diff: the run in {folder} did not finish. Run it again.")
        return cls(folder, manifest)

    @property
    def tables(self) -> list[str]:
        return list(self.manifest["tables"])

    def table(self, name: str) -> pd.DataFrame:
        """Return a table of the run; empty where the run has none of that name."""
        if name not in self.manifest["tables"]:
            return pd.DataFrame()
        path = self.folder / "tables" / f"{name}.parquet"
        if not path.is_file():
            raise MissingDataError(
                f"diff: {path} is missing though the manifest names it. Run the plan again."
            )
        return pd.read_parquet(path)

    @property
    def currency(self) -> str:
        return str(self.manifest["settings"]["plan"]["currency"])

    def kind_of_input(self, file: str) -> str:
        """Which table a file was read as, by the settings; the file's own stem where they don't say."""
        settings = self.manifest["settings"]
        for table, asked in (settings.get("tables") or {}).items():
            if file in _files(asked):
                return str(table)
        if any(file in _files(asked) for asked in settings.get("areas") or []):
            return "areas"
        return Path(file).stem


def _files(asked: Any) -> set[str]:
    path = asked.get("path") if isinstance(asked, Mapping) else None
    paths = [path] if isinstance(path, str) else list(path or [])
    return {Path(name).name for name in paths} | set(paths)


def _flat(content: Any, prefix: str = "") -> dict[str, Any]:
    if isinstance(content, Mapping):
        found: dict[str, Any] = {}
        for name, value in content.items():
            found |= _flat(value, f"{prefix}.{name}" if prefix else str(name))
        return found
    return {prefix: content}


def _causes(one: _Run, other: _Run) -> pd.DataFrame:
    rows: list[dict[str, str]] = []

    def note(kind: str, item: str, values: tuple[Any, Any], enters: Iterable[str]) -> None:
        before, after = ("not there" if value is None else str(value) for value in values)
        rows.append(
            {"kind": kind, "item": item, "before": before, "after": after, "enters": ", ".join(enters)}
        )

    def pairs(name: str) -> Iterable[tuple[str, Any, Any]]:
        left, right = _flat(one.manifest.get(name) or {}), _flat(other.manifest.get(name) or {})
        for key in sorted(set(left) | set(right)):
            if left.get(key) != right.get(key):
                yield key, left.get(key), right.get(key)

    for file, before, after in _inputs(one, other):
        run = other if after is not None else one
        kind = run.kind_of_input(file)
        enters = [stage for stage, feeds in STAGES.items() if kind in feeds["inputs"]]
        note("input", f"{file} ({kind})", (before and before[:12], after and after[:12]), enters or STAGES)
    for key, before, after in pairs("settings"):
        section = key.split(".")[0]
        enters = [stage for stage, feeds in STAGES.items() if section in feeds["settings"]]
        if key.startswith(NO_EFFECT):
            enters = []
        elif section in EVERYWHERE:
            enters = list(STAGES)
        note("setting", f"[{section}] {key[len(section) + 1 :]}", (before, after), enters)
    for key, before, after in pairs("versions"):
        note("version", key, (before, after), STAGES)
    for key in ("geomarket", "python"):
        if one.manifest.get(key) != other.manifest.get(key):
            note("version", key, (one.manifest.get(key), other.manifest.get(key)), STAGES)
    return pd.DataFrame(rows, columns=["kind", "item", "before", "after", "enters"])


def _inputs(one: _Run, other: _Run) -> Iterable[tuple[str, str | None, str | None]]:
    left, right = one.manifest.get("inputs") or {}, other.manifest.get("inputs") or {}
    for file in sorted(set(left) | set(right)):
        if left.get(file) != right.get(file):
            yield file, left.get(file), right.get(file)


def _same_table(one: _Run, other: _Run, name: str) -> bool:
    """Whether a table is the same in both runs, up to rounding."""
    if (name in one.tables) != (name in other.tables):
        return False
    paths = [run.folder / "tables" / f"{name}.parquet" for run in (one, other)]
    if all(path.is_file() for path in paths) and paths[0].read_bytes() == paths[1].read_bytes():
        return True
    left, right = one.table(name), other.table(name)
    if left.shape != right.shape or list(left.columns) != list(right.columns):
        return False
    return all(_same_column(left[column], right[column]) for column in left.columns)


def _same_column(left: pd.Series, right: pd.Series) -> bool:
    numeric = [pd.api.types.is_numeric_dtype(c) and not pd.api.types.is_bool_dtype(c) for c in (left, right)]
    if all(numeric):
        one, other = (column.to_numpy(dtype=float, na_value=np.nan) for column in (left, right))
        return bool(np.allclose(one, other, rtol=ROUNDING, atol=1e-12, equal_nan=True))
    missing = left.isna().to_numpy()
    if not np.array_equal(missing, right.isna().to_numpy()):
        return False
    return bool((left[~missing].astype(str).to_numpy() == right[~missing].astype(str).to_numpy()).all())


def _stages(one: _Run, differing: set[str], causes: pd.DataFrame) -> pd.DataFrame:
    """Say for each stage whether it changed, and what fed the change: directly, or through an earlier stage."""
    changed = {name: bool(differing & set(stage["tables"])) for name, stage in STAGES.items()}
    versions = causes[causes["kind"] == "version"]
    rows = []
    for name, stage in STAGES.items():
        why = ""
        if changed[name]:
            mine = causes[
                (causes["kind"] != "version")
                & causes["enters"].str.split(", ").map(lambda enters, wanted=name: wanted in enters)
            ]
            direct = [f"{row.kind} {row.item}" for row in mine.itertuples()]
            through = [earlier for earlier in stage["after"] if changed[earlier]]
            parts = [f"changed with {', '.join(direct)}"] if direct else []
            parts += [f"through {' and '.join(through)}, which changed"] if through else []
            if not parts and len(versions):
                parts = [f"other versions of {', '.join(versions['item'])}"]
            why = "; ".join(parts) or "changed, and nothing recorded explains it"
        rows.append({"stage": name, "changed": changed[name], "why": why})
    return pd.DataFrame(rows)


Row = tuple[str, str, str, str]


def _verdict(one: _Run, other: _Run) -> list[Row]:
    before, after = (str(run.manifest.get("verdict", "")) for run in (one, other))
    return [("verdict", "advice", before, after)] if before != after else []


def _money(one: _Run, other: _Run) -> list[Row]:
    figures = [_figures(run) for run in (one, other)]
    rows = []
    for name in dict.fromkeys([*figures[0], *figures[1]]):
        values = [found.get(name, float("nan")) for found in figures]
        if not np.allclose(values[0], values[1], rtol=ROUNDING, atol=1e-12, equal_nan=True):
            before, after = (_money_text(value, run) for value, run in zip(values, (one, other)))
            rows.append(("money", name, before, after))
    return rows


def _figures(run: _Run) -> dict[str, float]:
    """The figures a director looks at, money a year unless said."""
    found = {}
    frontier = run.table("frontier")
    if len(frontier):
        found["net gain of going local"] = float(frontier.loc[frontier["chosen"], "net"].sum())
    gain = run.table("gain_over_today")
    if len(gain):
        rows = gain.set_index("ranges")["gain"]
        found["gain of the first phase over today's ranges"] = float(rows["first phase"])
        found["gain of all phases over today's ranges"] = float(rows["all phases"])
    promotions = run.table("promotions")
    if len(promotions):
        found["promotions, net, over the horizon"] = float(promotions["net"].sum())
    return found


def _money_text(value: float, run: _Run) -> str:
    if not np.isfinite(value):
        return "not known"
    sign = "−" if round(value) < 0 else ""
    return f"{sign}{run.currency}{abs(value):,.0f}"


def _matched(before: pd.Series, after: pd.Series, weight: pd.Series) -> dict[str, str]:
    """Match codes of ``after`` to those of ``before`` so that most weight keeps its code (Kuhn 1955)."""
    frame = pd.DataFrame({"before": before, "after": after, "weight": weight}).dropna()
    if frame.empty:
        return {}
    counts = frame.pivot_table(
        index="before", columns="after", values="weight", aggfunc="sum", fill_value=0.0
    )
    rows, columns = linear_sum_assignment(-counts.to_numpy())
    return {str(counts.columns[j]): str(counts.index[i]) for i, j in zip(rows, columns)}


def _neighbourhoods(one: _Run, other: _Run) -> list[Row]:
    columns = ["cell", "neighbourhood", "population"]
    left, right = (run.table("hexes") for run in (one, other))
    if left.empty or right.empty:
        return []
    left, right = (pd.DataFrame(frame[[c for c in columns if c in frame]]) for frame in (left, right))
    rows: list[Row] = []
    types = [frame["neighbourhood"].nunique() for frame in (left, right)]
    if types[0] != types[1]:
        rows.append(("neighbourhoods", "types", str(types[0]), str(types[1])))
    both = left.merge(right, on="cell", suffixes=("", "_after"))
    for item, lost in (
        ("hexagons only before", len(left) - len(both)),
        ("hexagons only after", len(right) - len(both)),
    ):
        if lost:
            rows.append(("neighbourhoods", item, "", f"{lost:,}"))
    people = both["population"] if "population" in both else pd.Series(1.0, index=both.index)
    names = _matched(both["neighbourhood"], both["neighbourhood_after"], people)
    now = both["neighbourhood_after"].map(names)
    moved = both["neighbourhood"].fillna("") != now.fillna("")
    if moved.any():
        share = float(people[moved].sum() / people.sum()) if people.sum() else 0.0
        words = f"{int(moved.sum()):,} of {len(both):,}, {share:.1%} of residents"
        rows.append(("neighbourhoods", "hexagons of another type (codes matched)", "", words))
    return rows


def _cluster_moves(one: _Run, other: _Run) -> ClusterMoves | None:
    members = [run.table("store_cluster_members") for run in (one, other)]
    if any(frame.empty for frame in members):
        return None
    codes = [frame.set_index("store_id")["store_cluster"].astype(str) for frame in members]
    return compare_clusters(*codes) if len(codes[0].index.intersection(codes[1].index)) else None


def _clusters(moves: ClusterMoves | None) -> list[Row]:
    if moves is None:
        return []
    table = moves.table[moves.table["change"] != "stayed"]
    counts = [moves.table[name].nunique() for name in ("before", "after")]
    rows: list[Row] = []
    if counts[0] != counts[1]:
        rows.append(("store clusters", "number", str(counts[0]), str(counts[1])))
    filled = table.sort_values("store_id").astype(object).where(table.notna(), "").astype(str)
    for store, before, after, change in filled[["store_id", "before", "after_matched", "change"]].to_numpy():
        rows.append(("store clusters", f"store {store} {change}", before, after))
    return rows


def _ranges(one: _Run, other: _Run, names: Mapping[str, str]) -> list[Row]:
    left, right = (run.table("assortment") for run in (one, other))
    if left.empty or right.empty:
        return []
    right = right.assign(store_cluster=[names.get(code, f"new {code}") for code in right["store_cluster"]])
    lists = []
    for frame in (left, right):
        planned = frame[frame["status"] != "delist"]
        lists.append(planned.drop_duplicates(["store_cluster", "sku"]).set_index(["store_cluster", "sku"]))
    come, gone = lists[1].index.difference(lists[0].index), lists[0].index.difference(lists[1].index)
    rows: list[Row] = []
    codes = sorted({*lists[0].index.get_level_values(0), *lists[1].index.get_level_values(0)})
    for code in codes:
        new, old = (found[found.get_level_values(0) == code] for found in (come, gone))
        if len(new) or len(old):
            rows.append(
                (
                    "ranges",
                    f"cluster {code}",
                    _named(lists[0].loc[old], "leave"),
                    _named(lists[1].loc[new], "enter"),
                )
            )
    pairs = []
    for run in (one, other):
        changes = run.table("changes")
        planned = changes[changes["action"] != "delist"]
        pairs.append(pd.MultiIndex.from_frame(planned[["store_id", "sku"]]))
    moved = len(pairs[0].symmetric_difference(pairs[1]))
    if moved:
        before, after = (f"{len(index):,} listings" for index in pairs)
        rows.append(("ranges", f"{moved:,} listings by store differ", before, after))
    phases = [_first_phase(run) for run in (one, other)]
    if phases[0] != phases[1]:
        rows.append(("ranges", "changes in the first phase", f"{phases[0]:,}", f"{phases[1]:,}"))
    return rows


def _first_phase(run: _Run) -> int:
    changes = run.table("changes")
    if "when" not in changes:
        return int((changes["action"] != "keep").sum())
    return int((changes["when"] == "phase 1").sum())


def _named(lines: pd.DataFrame, verb: str) -> str:
    """The number of SKUs that enter or leave, and those worth most by name."""
    if lines.empty:
        return ""
    best = lines.sort_values(["margin", "name"], ascending=[False, True])["name"].astype(str).head(3)
    more = ", …" if len(lines) > 3 else ""
    return f"{len(lines):,} {verb}: {', '.join(best)}{more}"


def _promotions(one: _Run, other: _Run, names: Mapping[str, str]) -> list[Row]:
    left, right = (run.table("promotions") for run in (one, other))
    if left.empty and right.empty:
        return []
    frames = []
    for frame, codes in ((left, {}), (right, names)):
        if frame.empty:
            frame = pd.DataFrame(columns=["store_cluster", "sku", "period", "depth"])
        frame = frame.assign(store_cluster=[codes.get(code, code) for code in frame["store_cluster"]])
        frames.append(frame.groupby(["store_cluster", "sku", "period"])["depth"].max())
    added, dropped = frames[1].index.difference(frames[0].index), frames[0].index.difference(frames[1].index)
    both = frames[0].index.intersection(frames[1].index)
    deeper = int((~np.isclose(frames[0][both].to_numpy(float), frames[1][both].to_numpy(float))).sum())
    rows: list[Row] = []
    if len(added) or len(dropped):
        rows.append(("promotions", "promotions", f"{len(dropped):,} dropped", f"{len(added):,} added"))
    if deeper:
        rows.append(("promotions", "with another price cut", "", f"{deeper:,}"))
    return rows


def _remarks(one: _Run, other: _Run) -> list[Row]:
    rows: list[Row] = []
    skipped = [run.manifest.get("skipped") or {} for run in (one, other)]
    for stage in sorted(set(skipped[0]) | set(skipped[1])):
        if skipped[0].get(stage) != skipped[1].get(stage):
            before, after = (f"left out: {found[stage]}" if stage in found else "done" for found in skipped)
            rows.append(("left out", stage, before, after))
    if one.manifest.get("window") != other.manifest.get("window"):
        first, second = (" to ".join(map(str, run.manifest.get("window") or [])) for run in (one, other))
        rows.append(("data", "window of sales", first, second))
    return rows
