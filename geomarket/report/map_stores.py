"""Own stores on the report's map: where they stand, what their cards say, where their trade comes from."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from geomarket.hexmap import WORLD, encode_members, project
from geomarket.report.names import slug
from geomarket.report.ranges import first_phase

__all__ = ["CATCHMENT_BANDS", "build_areas", "build_stores", "to_world", "trade_by_type", "trial_by_store"]

CATCHMENT_BANDS = (50, 70, 90)


def to_world(lon: Any, lat: Any, meridian: float) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return positions as shares of the world's width in Web Mercator."""
    x, y = project(lon, lat, meridian)
    return (x / WORLD).round(8), (y / WORLD).round(8)


def build_stores(plan: Any, codes: tuple[str, ...], meridian: float) -> list[dict[str, Any]]:
    """Return own stores as markers, each with what its card says.

    Parameters
    ----------
    plan : Plan
        A finished plan.
    codes : tuple of str
        Supergroups, in the order of the map's key.
    meridian : float
        Middle longitude of the map.
    """
    clusters = plan.store_clusters.table.set_index("store_id")
    known = plan.stores.set_index("store_id") if plan.stores is not None else pd.DataFrame()
    changes = _changes_by_store(plan)
    shares = _profile_shares(plan, codes)
    trial = trial_by_store(plan)
    stores = plan.market.stores.dropna(subset=["lon", "lat"]).sort_values("store_id")
    x, y = to_world(stores["lon"], stores["lat"], meridian)
    result = []
    for store, px, py in zip(stores.to_dict("records"), x, y):
        store_id = str(store["store_id"])
        cluster = str(clusters["store_cluster"].get(store_id, ""))
        name = str(clusters["name"].get(store_id, ""))
        result.append(
            {
                "id": store_id,
                "name": str(store["name"]),
                "x": float(px),
                "y": float(py),
                "text": cluster.removeprefix("C")[:3],
                "clusterName": f"{cluster} · {name}" if cluster else "in no store cluster",
                "facts": _facts(store, known, changes.get(store_id, {}), plan.market.currency),
                **trial.get(store_id, {}),
                "shares": shares.get(store_id, []),
                "href": f"#cluster-{slug(cluster)}" if cluster else "",
            }
        )
    return result


def _facts(
    store: dict[str, Any], known: pd.DataFrame, changes: dict[str, int], currency: str
) -> list[list[str]]:
    facts = []
    if isinstance(store.get("format"), str):
        facts.append(["Format", str(store["format"])])
    if pd.notna(store.get("size_m2")):
        facts.append(["Sales area", f"{store['size_m2']:,.0f} m²"])
    if "revenue_year" in known and pd.notna(known["revenue_year"].get(str(store["store_id"]))):
        facts.append(["Revenue a year", f"{currency}{known['revenue_year'][str(store['store_id'])]:,.0f}"])
    for action, label in (("list", "To list first"), ("delist", "To delist first")):
        if action in changes:
            facts.append([label, f"{changes[action]:,} products"])
    return facts


def trial_by_store(plan: Any) -> dict[str, dict[str, str]]:
    """Return each store's part in the plan's test.

    Returns
    -------
    dict
        Store -> ``arm`` ("test", "control", or missing where it is not compared), ``partner``, ``trial`` (in words)
        and, for stores that wait, ``until`` (the day in words; missing where the test has no start yet). Empty
        without a test.
    """
    experiment = getattr(plan, "experiment", None)
    if experiment is None:
        return {}
    design = experiment.design
    names = plan.market.stores.drop_duplicates("store_id").set_index("store_id")["name"].astype("str")
    end = _end_of(design)
    waits = f"waits until {end}" if end else "waits"
    until = {"until": end} if end else {}
    result = {}
    for pair in design.pairs.to_dict("records"):
        test, control = str(pair["test"]), str(pair["control"])
        words = f"test, changes first, matched with {names.get(control, control)}"
        result[test] = {"arm": "test", "partner": control, "trial": words}
        words = f"control, {waits}, matched with {names.get(test, test)}"
        result[control] = {"arm": "control", "partner": test, "trial": words, **until}
    for store in design.table.loc[design.table["arm"] == "out", "store_id"].astype("str"):
        result[store] = {"trial": f"{waits}, not compared", **until}
    return result


def _end_of(design: Any) -> str:
    """Return the first day after the test, in words."""
    if design.start is None:
        return ""
    months = design.period == "month"
    length = pd.DateOffset(months=design.periods) if months else pd.Timedelta(weeks=design.periods)
    end = design.start + length
    return f"{end.day} {end:%B %Y}"


def _changes_by_store(plan: Any) -> dict[str, dict[str, int]]:
    """Count what each store lists and delists first."""
    counted = first_phase(plan.ranges.changes).groupby(["store_id", "action"]).size()
    result: dict[str, dict[str, int]] = {}
    for row in counted.rename("changes").reset_index().to_dict("records"):
        result.setdefault(str(row["store_id"]), {})[str(row["action"])] = int(row["changes"])
    return result


def trade_by_type(plan: Any) -> pd.DataFrame:
    """Return each store's trade by supergroup: store_id, supergroup, share, demand (no rows without catchments)."""
    columns = ["store_id", "supergroup", "share", "demand"]
    if plan.catchments is None:
        return pd.DataFrame(columns=columns)
    profile = plan.catchments.profile
    types = plan.neighbourhoods.table[["neighbourhood", "supergroup"]].dropna().drop_duplicates()
    to_type = dict(zip(types["neighbourhood"], types["supergroup"]))
    named = profile["neighbourhood"].map(lambda code: to_type.get(code, code))
    return (
        profile.assign(supergroup=named)
        .groupby(["store_id", "supergroup"], as_index=False)[["share", "demand"]]
        .sum()
    )


def _profile_shares(plan: Any, codes: tuple[str, ...]) -> dict[str, list[list[float]]]:
    """Store -> [[position of the supergroup, share of the catchment's trade], …]."""
    position = {code: k for k, code in enumerate(codes)}
    result: dict[str, list[list[float]]] = {}
    for row in trade_by_type(plan).to_dict("records"):
        if row["supergroup"] in position and row["share"] > 0:
            entry = [position[row["supergroup"]], round(float(row["share"]), 4)]
            result.setdefault(str(row["store_id"]), []).append(entry)
    return result


def build_areas(plan: Any, cells: npt.NDArray[np.int64], stores: list[str]) -> dict[str, Any] | None:
    """Return which cells each store's trade area holds, band by band, as positions in the sorted cells.

    Parameters
    ----------
    plan : Plan
        A finished plan.
    cells : ndarray of int64, shape (n_cells,)
        The map's cells, sorted.
    stores : list of str
        Stores, in the order of the map's markers.

    Returns
    -------
    dict or None
        ``stores``, ``bands``, packed ``members`` by the model; where trips of known customers are known, ``observed``:
        its packed ``members``, ``shown`` (share of each store's trips from places with enough customers; None where
        none) and ``k``. None without catchments.
    """
    catchments = plan.catchments
    if catchments is None or catchments.areas.empty:
        return None
    bands = np.unique(_percentages(catchments.areas)).tolist()
    result = {
        "stores": stores,
        "bands": [band / 100 for band in bands],
        "members": _members(catchments.areas, bands, cells, stores),
    }
    seen = getattr(getattr(plan, "catchment_details", None), "observed", None)
    if seen is not None and len(seen):
        shown = seen.groupby("store_id")["shown"].first()
        result["observed"] = {
            "members": _members(seen, bands, cells, stores),
            "shown": [float(shown[store]) if store in shown.index else None for store in stores],
            "k": int(plan.settings.privacy.k),
        }
    return result


def _percentages(areas: pd.DataFrame) -> npt.NDArray[np.int64]:
    """Return the bands as whole percentages, whichever way they are written."""
    band = areas["band"].to_numpy(dtype=float) * (100 if areas["band"].max() <= 1 else 1)
    return np.rint(band).astype(np.int64)


def _members(
    areas: pd.DataFrame, bands: list[int], cells: npt.NDArray[np.int64], stores: list[str]
) -> dict[str, Any]:
    wanted = areas["cell"].to_numpy(dtype=np.int64)
    place = np.searchsorted(cells, wanted).clip(max=len(cells) - 1)
    here = cells[place] == wanted
    known = areas.assign(place=place, band=_percentages(areas))[here]
    members = known.groupby(["store_id", "band"])["place"].apply(np.array).to_dict()
    return encode_members(
        [members.get((store, band), np.array([], dtype=np.int64)) for store in stores for band in bands]
    )
