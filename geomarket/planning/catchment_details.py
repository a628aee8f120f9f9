"""What a planner reads off the catchments: reach, overlap, twins, what is missing, and where the whitespace is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd

from geomarket.catchments import (
    Catchments,
    distance_decay,
    find_voids,
    observed_areas,
    store_overlap,
    store_reach,
    stores_in_areas,
    trade_areas,
    twin_areas,
)
from geomarket.catchments.distances import great_circle_km
from geomarket.hexes import Hexes, cell_areas_km2, cell_centres
from geomarket.market import Market, PlanSettings
from geomarket.neighbourhoods import Neighbourhoods
from geomarket.results import Result

__all__ = ["CatchmentDetails", "describe_catchments"]

DECAY_EDGES = (0, 1, 2, 3, 5, 8, 12, 20, 30, 50)
MIN_OVERLAP = 0.05
TWINS = 5
VOID_BAND = 0.7
MOST_WHITESPACE = 200


@dataclass(frozen=True)
class CatchmentDetails(Result):
    """Own stores' trade areas beside each other, and the hexagons that shop elsewhere.

    Nothing here counts customers. Observed figures rest on known customers' trips; those of a store or a distance with
    fewer customers than the privacy threshold are missing.

    Attributes
    ----------
    table : DataFrame
        One row per own store: store_id, name, demand, and by the model, for each band b (50, 70, 90): km_b (within
        which b % of its trade comes), hexagons_b and km2_b (its smallest trade area); observed_km_b and
        observed_hexagons_b from known customers' trips; overlap_with, overlap (strongest own neighbour), twin,
        twin_distance (0 the same people, 1 none in common), voids (in words).
    decay : DataFrame
        from, to (km), modelled, observed (shares of trade and of trips), people_won (share of the market at that
        distance).
    overlap : DataFrame
        store_id, other, overlap, shared, observed: pairs of own stores, each once, strongest first.
    twins : DataFrame
        store_id, twin, rank, distance.
    voids : DataFrame
        store_id, item (store format), expected, present_in, chance: formats absent from a store's trade area that
        most areas like it have.
    whitespace : DataFrame
        cell, place, neighbourhood, name, population, market, own_share, whitespace, nearest_store, nearest_own_km:
        the hexagons with most trade that goes elsewhere.
    observed : DataFrame
        store_id, cell, band, joined, shown: trade areas of known customers' trips, hexagons with few of them joined
        (see :func:`geomarket.catchments.observed_areas`); no rows where trips are not known.
    """

    table: pd.DataFrame
    decay: pd.DataFrame
    overlap: pd.DataFrame
    twins: pd.DataFrame
    voids: pd.DataFrame
    whitespace: pd.DataFrame
    unit: str
    notes: tuple[str, ...] = ()
    observed: pd.DataFrame = field(default_factory=pd.DataFrame)

    @property
    def bands(self) -> list[str]:
        """The bands of the trade areas in per cent, as in the names of the columns."""
        return [str(name).removeprefix("km_") for name in self.table if str(name).startswith("km_")]

    def summary(self) -> list[str]:
        """Return reach, strongest overlap and largest whitespace in words."""
        band = "50" if "50" in self.bands else self.bands[0]
        lines = [
            f"{'Half' if band == '50' else f'{band}%'} of a typical store's trade comes from within "
            f"{self.table[f'km_{band}'].median():.1f} km ({int(self.table[f'hexagons_{band}'].median())} hexagons)."
        ]
        if len(self.overlap):
            pair = self.overlap.iloc[0]
            lines.append(
                f"{pair['name']} and {pair['other_name']} share most: {pair['overlap']:.0%} of their trade areas."
            )
        if len(self.whitespace):
            top = self.whitespace.iloc[0]
            lines.append(
                f"Most trade goes elsewhere in {top['place'] or 'the hexagon'} ({top['whitespace']:,.0f} {self.unit})."
            )
        return [*lines, *self.notes]

    def plot(self, ax: Any = None) -> Any:
        """Draw the decay of trade with distance, modelled and observed."""
        import matplotlib.pyplot as plt

        axes = plt.subplots(figsize=(6, 3))[1] if ax is None else ax
        for column in ("modelled", "observed"):
            if self.decay[column].notna().any():
                axes.plot(self.decay["from"], self.decay[column], "o-", label=column)
        axes.set_xlabel("km from the store")
        axes.set_ylabel("share of trade")
        axes.legend()
        return axes


def describe_catchments(
    catchments: Catchments,
    market: Market,
    hexes: Hexes,
    neighbourhoods: Neighbourhoods,
    flows: pd.DataFrame | None,
    settings: PlanSettings,
) -> CatchmentDetails:
    """Describe own stores' trade areas and the hexagons they do not win.

    Parameters
    ----------
    catchments : Catchments
        Modelled trade.
    market, hexes, neighbourhoods
        Names of places and types.
    flows : DataFrame or None
        cell, store_id, trips, customers (people behind the trips) of known customers.
    settings : PlanSettings
        Bands, and the privacy threshold.
    """
    own = catchments.table[catchments.table["own"]]
    bands = settings.catchments.bands
    seen = _observed(flows, catchments.stores, settings.privacy.k)
    overlap = _overlap(own, seen, catchments.stores)
    twins = twin_areas(catchments.profile, TWINS) if len(catchments.profile) else pd.DataFrame()
    voids = _voids(catchments, twins)
    notes = []
    if seen is not None and len(seen):
        notes.append(
            "Observed figures are of known customers, who need not be like everybody; the model stands for all."
        )
    return CatchmentDetails(
        table=_stores(catchments, own, seen, bands, overlap, twins, voids),
        decay=_decay(own, seen, catchments, settings.privacy.k),
        overlap=overlap,
        twins=twins,
        voids=voids,
        whitespace=_whitespace(catchments, own, market, hexes, neighbourhoods),
        unit=catchments.unit,
        notes=tuple(notes),
        observed=pd.DataFrame()
        if seen is None
        else observed_areas(seen, hexes.table["cell"].to_numpy(), bands, k=settings.privacy.k),
    )


def _observed(flows: pd.DataFrame | None, stores: pd.DataFrame, k: int) -> pd.DataFrame | None:
    """Trips with their distance, of own stores that at least ``k`` known customers visit."""
    if flows is None or "customers" not in flows or flows.empty:
        return None
    known = flows[flows["store_id"].isin(stores.loc[stores["own"], "store_id"])]
    people = known.groupby("store_id")["customers"].transform("sum")
    known = known[people >= k].reset_index(drop=True)
    place = stores.set_index("store_id")[["lon", "lat"]].loc[known["store_id"]]
    lon, lat = cell_centres(known["cell"].to_numpy(dtype=np.int64))
    return known.assign(km=great_circle_km(lon, lat, place["lon"].to_numpy(), place["lat"].to_numpy()))


def _stores(
    catchments: Catchments,
    own: pd.DataFrame,
    seen: pd.DataFrame | None,
    bands: Sequence[float],
    overlap: pd.DataFrame,
    twins: pd.DataFrame,
    voids: pd.DataFrame,
) -> pd.DataFrame:
    stores = catchments.stores[catchments.stores["own"].astype(bool)]
    names = stores.set_index("store_id")["name"]
    table = stores[["store_id", "name"]].sort_values("store_id", ignore_index=True)
    table["demand"] = table["store_id"].map(own.groupby("store_id")["demand"].sum()).fillna(0.0)
    for prefix, frame, value in (("", own, "demand"), ("observed_", seen, "trips")):
        reach = None if frame is None or frame.empty else store_reach(frame, value, "km", bands)
        areas = None if frame is None or frame.empty else trade_areas(frame, value, bands)
        for band in bands:
            name = f"{band * 100:.0f}"
            if reach is None or areas is None:
                table[f"{prefix}km_{name}"] = np.nan
                table[f"{prefix}hexagons_{name}"] = np.nan
                continue
            far = reach[reach["share"] == band].set_index("store_id")["km"]
            held = areas[areas["band"] <= band]
            table[f"{prefix}km_{name}"] = table["store_id"].map(far)
            table[f"{prefix}hexagons_{name}"] = table["store_id"].map(held.groupby("store_id").size())
            if not prefix:
                size = pd.Series(cell_areas_km2(held["cell"].to_numpy(dtype=np.int64)), index=held.index)
                table[f"km2_{name}"] = table["store_id"].map(size.groupby(held["store_id"]).sum())
    both = pd.concat([overlap, overlap.rename(columns={"store_id": "other", "other": "store_id"})])
    nearest = both.sort_values("overlap", ascending=False, kind="stable").drop_duplicates("store_id")
    nearest = nearest.set_index("store_id")
    table["overlap_with"] = table["store_id"].map(nearest["other"]).map(names)
    table["overlap"] = table["store_id"].map(nearest["overlap"])
    first = twins[twins["rank"] == 1].set_index("store_id") if len(twins) else pd.DataFrame()
    table["twin"] = table["store_id"].map(first["twin"]).map(names) if len(first) else None
    table["twin_distance"] = table["store_id"].map(first["distance"]) if len(first) else np.nan
    missing = voids.groupby("store_id")["item"].agg(", ".join)
    table["voids"] = table["store_id"].map(missing).fillna("")
    return table


def _overlap(own: pd.DataFrame, seen: pd.DataFrame | None, stores: pd.DataFrame) -> pd.DataFrame:
    """Each pair of own stores once, with the overlap of known customers' trips beside the model's."""
    names = stores.set_index("store_id")["name"]
    found = store_overlap(own, min_overlap=MIN_OVERLAP)
    found = found[found["store_id"] < found["other"]].reset_index(drop=True)
    found["observed"] = np.nan
    if seen is not None and len(seen):
        trips = store_overlap(seen, "trips", min_overlap=0.0).set_index(["store_id", "other"])["overlap"]
        known = set(seen["store_id"])
        pairs = pd.MultiIndex.from_frame(found[["store_id", "other"]])
        both = found["store_id"].isin(known) & found["other"].isin(known)
        found["observed"] = np.where(both, trips.reindex(pairs).fillna(0.0).to_numpy(), np.nan)
    return found.assign(name=found["store_id"].map(names), other_name=found["other"].map(names))


def _voids(catchments: Catchments, twins: pd.DataFrame) -> pd.DataFrame:
    columns = ["store_id", "item", "expected", "present_in", "chance"]
    stores = catchments.stores
    if twins.empty or "format" not in stores or stores["format"].replace("", np.nan).nunique() < 2:
        return pd.DataFrame(columns=columns)
    kinds = stores.assign(format=stores["format"].replace("", np.nan))
    presence = stores_in_areas(catchments.areas, kinds, "format", VOID_BAND)
    inside = catchments.areas[catchments.areas["band"] <= VOID_BAND]
    market = inside["cell"].map(catchments.cells.set_index("cell")["market"])
    size = market.groupby(inside["store_id"]).sum()
    found = []
    for store, like in twins.groupby("store_id")["twin"]:
        usable = [twin for twin in like if size.get(twin, 0.0) > 0]
        if usable and size.get(store, 0.0) > 0:
            table = find_voids(presence, str(store), usable, size).table
            found.append(table[table["void"].astype(bool)].assign(store_id=store))
    return pd.concat(found, ignore_index=True)[columns] if found else pd.DataFrame(columns=columns)


def _decay(own: pd.DataFrame, seen: pd.DataFrame | None, catchments: Catchments, k: int) -> pd.DataFrame:
    edges = [float(edge) for edge in DECAY_EDGES]
    if seen is not None and len(seen):
        edges = _edges_with_people(seen, edges, k)
    market = catchments.cells.set_index("cell")["market"]
    modelled = distance_decay(own, "demand", "km", edges, market)
    table = modelled[["from", "to"]].assign(modelled=modelled["share"], people_won=modelled["penetration"])
    table["observed"] = np.nan
    if seen is not None and len(seen) and len(edges) > 1:
        table["observed"] = distance_decay(seen, "trips", "km", edges)["share"]
    return table[["from", "to", "modelled", "observed", "people_won"]]


def _edges_with_people(seen: pd.DataFrame, edges: list[float], k: int) -> list[float]:
    """Join distance bands until each is travelled by at least ``k`` customers of one store.

    A customer lives in one cell, so the customers of one store in a band are different people; of several stores
    they might be the same.
    """
    kept = list(edges)
    while len(kept) > 1:
        band = np.searchsorted(kept, seen["km"].to_numpy(), side="right") - 1
        people = seen.groupby([band, "store_id"])["customers"].sum().groupby(level=0).max()
        thin = [i for i in range(len(kept)) if people.get(i, 0) < k]
        if not thin:
            break
        # a thin band joins the nearer one, the first the next farther
        kept.pop(max(thin[-1], 1))
    return kept


def _whitespace(
    catchments: Catchments, own: pd.DataFrame, market: Market, hexes: Hexes, neighbourhoods: Neighbourhoods
) -> pd.DataFrame:
    cells = catchments.cells[catchments.cells["whitespace"] > 0]
    top = cells.sort_values(["whitespace", "cell"], ascending=[False, True]).head(MOST_WHITESPACE)
    top = top.merge(hexes.table[["cell", "lon", "lat", "population"]], on="cell", how="left")
    types = neighbourhoods.table.set_index("cell")
    top["neighbourhood"] = top["cell"].map(types["neighbourhood"])
    names = dict(zip(neighbourhoods.types["code"], neighbourhoods.types["name"], strict=True))
    top["name"] = top["neighbourhood"].map(names)
    top["place"] = place_names(top["lon"], top["lat"], market)
    near = own.sort_values(["km", "store_id"]).drop_duplicates("cell").set_index("cell")["store_id"]
    top["nearest_store"] = top["cell"].map(near).map(catchments.stores.set_index("store_id")["name"])
    columns = ["cell", "place", "neighbourhood", "name", "population", "market", "own_share", "whitespace"]
    return top[[*columns, "nearest_store", "nearest_own_km"]].reset_index(drop=True)


def place_names(lon: pd.Series, lat: pd.Series, market: Market) -> pd.Series:
    """Return the name of the boundary or census area each point lies in; empty where none has a name."""
    points = gpd.GeoDataFrame(index=lon.index, geometry=gpd.points_from_xy(lon, lat), crs="EPSG:4326")
    found = pd.Series("", index=lon.index, dtype="str")
    layers = [market.boundaries, *(layer.frame for layer in market.areas[:1])]
    for layer in layers:
        if layer is None or "name" not in layer:
            continue
        named = layer[layer.geometry.geom_type.isin(["Polygon", "MultiPolygon"])]
        if named.empty:
            continue
        inside = gpd.sjoin(points, named[["name", "geometry"]].to_crs(4326), predicate="within")
        first = inside.loc[~inside.index.duplicated(), "name"].dropna().astype(str)
        found = found.mask(found == "", first.reindex(found.index).fillna(""))
    return found
