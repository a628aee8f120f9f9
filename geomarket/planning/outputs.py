"""Writing a run's folder: atomically, reproducibly, and never over somebody else's files."""

from __future__ import annotations

import json
import secrets
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from geomarket.errors import SettingsError
from geomarket.hexes import cell_polygons, cell_strings
from geomarket.planning.campaigns import CAMPAIGNS, campaign_files, write_campaigns
from geomarket.planning.classification import SCHEME_FILE, scheme_text
from geomarket.planning.clusters import CLUSTERS_FILE, clusters_text
from geomarket.planning.dictionary import table_dictionary
from geomarket.planning.folders import MANIFEST, SIGNATURE, clear_leftovers
from geomarket.planning.people import people_tables
from geomarket.planning.plan import Plan
from geomarket.writing import replacing

__all__ = ["plan_tables", "write_outputs"]

_EXTRA_FOLDERS = (CAMPAIGNS, "exports", "figures", "pages")
_OURS = ".geomarket"


def write_outputs(
    plan: Plan,
    folder: Path,
    documents: Mapping[str, Callable[[Plan, Path], object]],
    folders: Mapping[str, Callable[[Plan, Path], object]] | None = None,
) -> list[Path]:
    """Write documents, tables, the scheme of the neighbourhoods, manifest and timings of a plan.

    Parameters
    ----------
    plan : Plan
        The finished run.
    folder : Path
        Claimed with :func:`claim_folder` before.
    documents : mapping of file name to function(plan, path)
        What draws itself: report and workbook.
    folders : mapping of folder name to function(plan, path), optional
        What fills a folder of its own: ``pages``, ``figures``, ``exports``. ``campaigns`` is written wherever the plan
        has something to hand on. A folder is replaced as a whole; one of these four that an earlier run wrote and this
        one doesn't is removed, for it would show another plan.

    Returns
    -------
    list of Path
        Written files and folders, the manifest last: a folder with a manifest is complete.

    Raises
    ------
    SettingsError
        If there is a folder ``campaigns``, ``pages``, ``figures`` or ``exports`` that geomarket didn't write. Move it.
    """
    folders = dict(folders or {})
    if campaign_files(plan):
        folders[CAMPAIGNS] = write_campaigns
    for name in folders:
        if (folder / name).exists() and not (folder / name / _OURS).exists():
            raise SettingsError(
                f"{folder / name} was not written by geomarket. Move it, or name another --out."
            )
    clear_leftovers(folder)
    # from here until the end the folder stays recognisably ours, also after a crash
    _write_json({"written_by": SIGNATURE, "complete": False}, folder / MANIFEST)
    written = []
    for name, draw in documents.items():
        with replacing(folder / name) as temporary:
            draw(plan, temporary)
        written.append(folder / name)
    tables = plan_tables(plan)
    for name, frame in tables.items():
        path = folder / "tables" / f"{name}.parquet"
        with replacing(path) as temporary:
            _write_parquet(frame, temporary)
        written.append(path)
    with replacing(folder / SCHEME_FILE) as temporary:
        temporary.write_text(scheme_text(plan.neighbourhoods, plan.settings), encoding="utf-8")
    written.append(folder / SCHEME_FILE)
    with replacing(folder / CLUSTERS_FILE) as temporary:
        temporary.write_text(clusters_text(plan.store_clusters), encoding="utf-8")
    written.append(folder / CLUSTERS_FILE)
    for stale in (folder / "tables").glob("*.parquet"):
        if stale.stem not in tables:
            stale.unlink()
    written += _write_folders(plan, folder, folders)
    _write_json({"timings": plan.timings.round(3).to_dict("records")}, folder / "timings.json")
    manifest = {
        "written_by": SIGNATURE,
        "complete": True,
        **plan.manifest,
        "tables": {
            name: {"rows": len(frame), "columns": list(frame.columns)} for name, frame in tables.items()
        },
    }
    _write_json(manifest, folder / MANIFEST)
    return [*written, folder / "timings.json", folder / MANIFEST]


def _write_folders(
    plan: Plan, folder: Path, folders: Mapping[str, Callable[[Plan, Path], object]]
) -> list[Path]:
    """Fill each folder beside its place and put it there when it is whole."""
    for name in _EXTRA_FOLDERS:
        if name not in folders and (folder / name / _OURS).exists():
            _remove(folder / name)
    written = []
    for name, fill in folders.items():
        aside = folder / f".{name}.{secrets.token_hex(4)}.part"
        try:
            fill(plan, aside)
            (aside / _OURS).write_text(
                "Written by a geomarket plan; replaced as a whole.\n", encoding="utf-8"
            )
            if (folder / name).exists():
                _remove(folder / name)
            aside.rename(folder / name)
        finally:
            shutil.rmtree(aside, ignore_errors=True)
        written.append(folder / name)
    return written


def _remove(folder: Path) -> None:
    """Remove a folder of ours; one that is killed meanwhile leaves no folder under that name."""
    going = folder.with_name(f".{folder.name}.{secrets.token_hex(4)}.part")
    folder.rename(going)
    shutil.rmtree(going, ignore_errors=True)


def plan_tables(plan: Plan) -> dict[str, pd.DataFrame]:
    """Return the tables of a plan as they are published: cells as hex strings, nothing about single customers."""
    tables: dict[str, pd.DataFrame] = {
        "hexes": _hexes(plan),
        "neighbourhoods": plan.neighbourhoods.types,
        "portraits": plan.neighbourhoods.index,
        "stores": plan.stores,
        "demand": plan.demand.table,
        "demand_holdout": plan.demand.holdout,
        "assortment": plan.ranges.table,
        "changes": plan.ranges.changes,
        "range_spaces": plan.ranges.spaces,
        "range_phases": plan.ranges.phases,
        "frontier": plan.frontier.table,
        "frontier_categories": plan.frontier.categories,
        "quarantine": plan.market.quarantine.astype("str"),
        "data_quality": plan.market.quality,
        "conservation": plan.hexes.conservation,
        "area_layers": plan.hexes.layers,
        "store_clusters": plan.store_clusters.profile,
        "store_cluster_members": plan.store_clusters.table,
    }
    if plan.store_clusters.evidence is not None:
        tables["store_cluster_evidence"] = plan.store_clusters.evidence.table
    if plan.rehearsal is not None:
        tables["gain_over_today"] = plan.rehearsal.table
        tables["gain_by_category"] = plan.rehearsal.categories
        tables["gain_by_store"] = plan.rehearsal.stores
    if plan.overrides is not None:
        tables["decisions"] = plan.overrides
    if plan.cluster_moves is not None:
        tables["store_cluster_moves"] = plan.cluster_moves.table
    if not plan.neighbourhoods.edits.empty:
        tables["neighbourhood_corrections"] = _edits(plan)
    if plan.vintages is not None:
        tables["neighbourhood_migration"] = plan.vintages.table
        tables["neighbourhood_drift"] = plan.vintages.psi
    if plan.catchments is not None:
        tables["catchments"] = plan.catchments.areas
        tables["catchment_profile"] = plan.catchments.profile
        tables["catchment_model"] = plan.catchments.comparison
    if plan.catchment_details is not None:
        tables["catchment_stores"] = plan.catchment_details.table
        tables["catchment_decay"] = plan.catchment_details.decay
        tables["store_overlap"] = plan.catchment_details.overlap
        tables["twin_areas"] = plan.catchment_details.twins
        tables["whitespace"] = plan.catchment_details.whitespace
        if len(plan.catchment_details.observed):
            tables["catchments_observed"] = plan.catchment_details.observed
    if plan.whatifs is not None:
        tables["what_ifs"] = plan.whatifs.table
        tables["what_if_stores"] = plan.whatifs.stores
        tables["sites"] = plan.whatifs.sites
    if plan.targeting is not None:
        tables["door_drops"] = plan.targeting.doors.table
        tables["door_drop_hexagons"] = plan.targeting.doors.cells
        tables["door_drop_money"] = plan.targeting.doors.money
        if plan.targeting.contacts is not None:
            tables["contacts"] = plan.targeting.contacts
    if plan.fairness is not None:
        tables["fairness"] = plan.fairness.table
        tables["fairness_fifths"] = plan.fairness.quintiles
    if plan.customers is not None:
        tables["customers_by_neighbourhood"] = plan.customers.table
        tables["customers_by_cell"] = plan.customers.cells
    if plan.people is not None:
        tables |= people_tables(plan.people)
    if plan.promotions is not None:
        tables["promotions"] = plan.promotions.table
    if plan.response is not None:
        tables |= _response_tables(plan.response)
    if plan.experiment is not None:
        design = plan.experiment.design
        tables["test_design"] = design.table
        tables["test_pairs"] = design.pairs
        tables["test_power"] = design.power
        tables["test_check"] = design.placebo
        tables["test_balance"] = design.balance
        tables["test_sales"] = plan.experiment.sales
        tables["test_products"] = plan.experiment.products
    published = {name: _published(frame) for name, frame in tables.items()}
    published["dictionary"] = pd.DataFrame(columns=["table", "column", "type", "meaning"])
    published["dictionary"] = table_dictionary(published, plan.hexes.variables)
    return published


def _response_tables(response: Any) -> dict[str, pd.DataFrame]:
    tables = {"promotion_response": response.table}
    if response.relationship is not None:
        tables["promotion_effects"] = response.relationship.table
        tables["promotion_cannibalisation"] = response.relationship.cannibalisation
    if response.holdout is not None:
        tables["promotion_holdout"] = response.holdout
    if response.by_type is not None:
        tables["promotion_by_type"] = response.by_type
    return tables


def _published(frame: pd.DataFrame) -> pd.DataFrame:
    if "cell" in frame and pd.api.types.is_integer_dtype(frame["cell"]):
        frame = frame.assign(cell=cell_strings(frame["cell"].to_numpy()))
    return frame.reset_index(drop=True)


def _edits(plan: Plan) -> pd.DataFrame:
    """Corrections by hand, cells as hex strings."""
    edits = plan.neighbourhoods.edits
    of_cells = edits["kind"] == "override"
    targets = edits["target"].astype(object)
    targets[of_cells] = cell_strings(edits.loc[of_cells, "target"].astype("int64"))
    return edits.assign(target=targets)


def _hexes(plan: Plan) -> gpd.GeoDataFrame:
    cells = plan.hexes.table
    named = plan.neighbourhoods.table.drop(columns=["population"], errors="ignore")
    frame = cells.merge(named, on="cell", how="left", validate="one_to_one")
    if plan.catchments is not None:
        frame = frame.merge(plan.catchments.cells, on="cell", how="left", validate="one_to_one")
    return gpd.GeoDataFrame(frame, geometry=cell_polygons(frame["cell"].to_numpy()), crs="EPSG:4326")


def _write_parquet(frame: pd.DataFrame, path: Path) -> None:
    if isinstance(frame, gpd.GeoDataFrame):
        frame.to_parquet(path, compression="zstd", index=False)
        return
    objects = [column for column in frame.columns if frame[column].dtype == object]
    frame = frame.assign(**{c: frame[c].map(_plain, na_action="ignore") for c in objects})
    pq.write_table(pa.Table.from_pandas(frame, preserve_index=False), path, compression="zstd")


def _plain(value: Any) -> Any:
    return value if isinstance(value, (bool, np.bool_)) or hasattr(value, "isoformat") else str(value)


def _write_json(content: Mapping[str, Any], path: Path) -> None:
    with replacing(path) as temporary:
        text = json.dumps(content, indent=1, sort_keys=True, ensure_ascii=False, default=_json_value)
        temporary.write_text(text + "\n", encoding="utf-8")


def _json_value(value: Any) -> Any:
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, (set, frozenset)):
        return sorted(value)
    return str(value)
