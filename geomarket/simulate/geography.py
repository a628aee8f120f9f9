"""The invented city: its areas, districts, wards and population points."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import geopandas as gpd
import h3ronpy
import h3ronpy.vector
import numpy as np
import pandas as pd
import pyarrow as pa
import shapely
from pyproj import Transformer
from scipy.spatial import Voronoi, cKDTree

from geomarket.simulate.settings import SimulationSettings
from geomarket.simulate.types import SHARES, TYPES

__all__ = ["CITY", "RESOLUTION", "City", "build_city", "km_between", "points_to_cells"]

CITY = "Quillhaven"
RESOLUTION = 8
CRS = "EPSG:4326"
# Open country; the city is invented and nothing of it is there.
CENTRE_LON, CENTRE_LAT = 1.30, 46.74

_N_SEEDS = 560
_N_WARDS = 64
_LLOYD_ROUNDS = 6
_EDGE_KM = 0.9
_POINTS_PER_AREA = 9
_DECIMALS = 5
_EARTH_KM = 6371.0088

# Name and rough place (km east and north of the centre) of each district.
_DISTRICTS = (
    ("Old Quays", 0.3, 0.4),
    ("Lantern Hill", -3.4, 3.2),
    ("Tanners' Row", 4.2, -2.2),
    ("College Green", 3.2, 4.4),
    ("Millrace", -4.2, -3.6),
    ("Northfold", -1.5, 11.5),
    ("Hartsmead", 10.5, 7.5),
    ("Foundry Flats", 11.5, -3.5),
    ("Southmere", 4.5, -11.5),
    ("Larkfield", -6.5, -11.0),
    ("Beacon Heath", -12.5, -1.5),
    ("Orchard Vale", -9.8, 8.6),
)
STREETS = (
    "Almoner's Way", "Barley Lane", "Bellfounder Street", "Bittern Road", "Brickfield Road", "Candle Street",
    "Chandler's Yard", "Clover Bank", "Cooper Street", "Crane Wharf", "Damson Avenue", "Dovecote Lane",
    "Drover's Road", "Ferry Street", "Fuller's Gate", "Gasworks Road", "Glebe Avenue", "Granary Square",
    "Hawthorn Drive", "Heron Walk", "Hop Garden", "Juniper Way", "Kiln Lane", "Linden Avenue", "Loom Street",
    "Maltings Road", "Market Cross", "Meadow Rise", "Mulberry Road", "Nettle Lane", "Observatory Hill",
    "Paddock Road", "Pear Tree Close", "Plover Road", "Quarry Street", "Rope Walk", "Rowan Drive", "Sawmill Lane",
    "Sexton Street", "Sluice Road", "Spinner's Court", "Station Parade", "Stonecutter Lane", "Teasel Road",
    "Tollgate", "Turnpike Road", "Viaduct Street", "Walnut Grove", "Weaver's Gate", "Windmill Road",
)  # fmt: skip


@dataclass(frozen=True)
class City:
    """Geometry and people of the invented city, all as drawn from one seed.

    Attributes
    ----------
    areas : GeoDataFrame
        area_id, name, district_id, district, geometry (EPSG:4326); finest first layer without its counts.
    districts : GeoDataFrame
        district_id, name, geometry.
    wards : GeoDataFrame
        area_id, name, geometry: an older, coarser tessellation that does not nest with the areas.
    area_types : ndarray of shape (n_areas, n_types)
        Share of each latent type among the people of an area.
    population : ndarray of shape (n_areas,)
        Share of the city's people in each area; sums to 1.
    points : DataFrame
        lon, lat, weight (share of the city's people), area (row of ``areas``), ward (row of ``wards``), cell (int64).
    cells : DataFrame
        cell (int64), lon, lat of every H3 cell that touches the city.
    """

    areas: gpd.GeoDataFrame
    districts: gpd.GeoDataFrame
    wards: gpd.GeoDataFrame
    area_types: np.ndarray
    population: np.ndarray
    points: pd.DataFrame
    cells: pd.DataFrame


def points_to_cells(lon: np.ndarray, lat: np.ndarray) -> np.ndarray:
    """Return the H3 cell (int64, resolution 8) of each point in degrees."""
    cells = h3ronpy.vector.coordinates_to_cells(
        np.ascontiguousarray(lat, dtype=float), np.ascontiguousarray(lon, dtype=float), RESOLUTION
    )
    return pa.array(cells).to_numpy().astype(np.int64)


def km_between(lon: np.ndarray, lat: np.ndarray, to_lon: np.ndarray, to_lat: np.ndarray) -> np.ndarray:
    """Return great-circle distances in km, shape (n_from, n_to)."""
    phi, to_phi = np.radians(lat)[:, None], np.radians(to_lat)[None, :]
    half_dphi = (to_phi - phi) / 2
    half_dlambda = (np.radians(to_lon)[None, :] - np.radians(lon)[:, None]) / 2
    a = np.sin(half_dphi) ** 2 + np.cos(phi) * np.cos(to_phi) * np.sin(half_dlambda) ** 2
    return 2 * _EARTH_KM * np.arcsin(np.sqrt(a))


@lru_cache(maxsize=4)
def build_city(seed: int) -> City:
    """Return the city of one seed; treat it as read-only, it is shared between calls.

    Parameters
    ----------
    seed : int
        Seed of the simulation.
    """
    settings = SimulationSettings(seed=seed)
    rng = settings.stream("seeds")
    warp = _Warp(rng)
    inside, seeds = _settle(rng)
    polygons = _tessellate(seeds, inside, warp)
    seeds = seeds[inside]
    outline = shapely.union_all(polygons)

    district = cKDTree(np.array([place[1:] for place in _DISTRICTS])).query(seeds)[1]
    order = np.lexsort((-seeds[:, 1].round(6), district))
    polygons, seeds, district = polygons[order], seeds[order], district[order]
    area_types = _draw_types(settings.stream("types"), seeds)
    areas = _area_frame(polygons, district)
    districts = _district_frame(areas)
    wards = _ward_frame(rng, warp, outline, areas)
    population = settings.stream("types", 1).gamma(18.0, 1.0 / 18.0, len(areas))
    points = _points(settings.stream("points"), areas, wards, population)
    cells = _cells(areas)
    return City(areas, districts, wards, area_types, population / population.sum(), points, cells)


class _Warp:
    """Smooth one-to-one bending of the plane that turns straight Voronoi edges into curved ones."""

    def __init__(self, rng: np.random.Generator) -> None:
        waves = 6
        angle = rng.uniform(0, 2 * np.pi, waves)
        length = rng.uniform(3.0, 9.0, waves)
        self.k = 2 * np.pi / length[:, None] * np.column_stack([np.cos(angle), np.sin(angle)])
        # The gradients add up to less than one, so the bending can't fold the plane.
        self.amplitude = 0.10 * length[:, None] / (2 * np.pi) * rng.normal(0, 1, (waves, 2)).clip(-1.5, 1.5)
        self.phase = rng.uniform(0, 2 * np.pi, waves)

    def __call__(self, xy: np.ndarray) -> np.ndarray:
        return xy + np.sin(xy @ self.k.T + self.phase) @ self.amplitude


def _density(xy: np.ndarray) -> np.ndarray:
    """Relative population density at places in km from the centre: a core, a ring and four satellites."""
    r = np.hypot(*xy.T)
    density = np.exp(-r / 4.2) + 0.10 * np.exp(-r / 14.0)
    for x, y, weight, width in (
        (10.5, 8.0, 0.26, 2.2),
        (4.5, -12.0, 0.22, 2.0),
        (-12.5, -2.0, 0.24, 2.3),
        (-7, 10, 0.16, 2),
    ):
        density += weight * np.exp(-((xy[:, 0] - x) ** 2 + (xy[:, 1] - y) ** 2) / (2 * width**2))
    return density


def _settle(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Return (inside the city limits, seeds): Voronoi seeds so that areas hold about equally many people."""
    people = rng.uniform(-27, 27, (90_000, 2))
    people = people[np.hypot(*people.T) < 27]
    weight = _density(people)
    people = people[rng.random(len(people)) < weight / weight.max() * 6]
    seeds = people[rng.choice(len(people), _N_SEEDS, replace=False)]
    for _ in range(_LLOYD_ROUNDS):
        nearest = cKDTree(seeds).query(people)[1]
        n = np.bincount(nearest, minlength=len(seeds)).clip(1)
        moved = np.column_stack([np.bincount(nearest, people[:, axis], len(seeds)) / n for axis in (0, 1)])
        seeds = np.where(np.bincount(nearest, minlength=len(seeds))[:, None] > 0, moved, seeds)
    theta = np.arctan2(seeds[:, 1], seeds[:, 0])
    limit = 18.2 + sum(
        rng.normal(0, 1.5 / wave**0.7) * np.cos(wave * theta + rng.uniform(0, 2 * np.pi))
        for wave in (1, 2, 3, 4, 5)
    )
    inside = np.hypot(*seeds.T) < limit
    ring = np.linspace(0, 2 * np.pi, 24, endpoint=False)
    guards = 45 * np.column_stack([np.cos(ring), np.sin(ring)])
    return np.concatenate([inside, np.zeros(len(guards), bool)]), np.vstack([seeds, guards])


def _tessellate(seeds: np.ndarray, inside: np.ndarray, warp: _Warp) -> np.ndarray:
    """Return bent Voronoi polygons (lon/lat) of the seeds inside; neighbours share vertices exactly.

    Each edge is cut into pieces once, whichever polygon asks for it, so no gap or overlap can open between two.
    """
    voronoi = Voronoi(seeds)
    edges: dict[tuple[int, int], np.ndarray] = {}

    def edge(a: int, b: int) -> np.ndarray:
        key = (a, b) if a < b else (b, a)
        if key not in edges:
            start, end = voronoi.vertices[key[0]], voronoi.vertices[key[1]]
            pieces = max(1, int(np.ceil(np.hypot(*(end - start)) / _EDGE_KM)))
            along = np.linspace(0, 1, pieces + 1)[:, None]
            edges[key] = start + along * (end - start)
        line = edges[key]
        return line[:-1] if (a, b) == key else line[:0:-1]

    rings = []
    for seed in np.flatnonzero(inside):
        region = voronoi.regions[voronoi.point_region[seed]]
        rings.append(np.vstack([edge(a, b) for a, b in zip(region, region[1:] + region[:1])]))
    sizes = [len(ring) for ring in rings]
    lonlat = _to_lonlat(warp(np.vstack(rings)))
    parts = np.split(lonlat, np.cumsum(sizes)[:-1])
    return shapely.polygons([shapely.linearrings(part) for part in parts])


def _laea() -> str:
    return f"+proj=laea +lat_0={CENTRE_LAT} +lon_0={CENTRE_LON} +datum=WGS84 +units=km"


@lru_cache(maxsize=1)
def _transformer() -> Transformer:
    return Transformer.from_crs(_laea(), CRS, always_xy=True)


def _to_lonlat(km: np.ndarray) -> np.ndarray:
    lon, lat = _transformer().transform(km[:, 0], km[:, 1])
    return np.column_stack([lon, lat]).round(_DECIMALS)


def _draw_types(rng: np.random.Generator, seeds: np.ndarray) -> np.ndarray:
    """Return the type mix of each area: one dominant type per area, in patches a few km wide, and a minority."""
    r = np.hypot(*seeds.T)
    campus = np.hypot(seeds[:, 0] - 3.2, seeds[:, 1] - 4.4)
    works = np.minimum(
        np.hypot(seeds[:, 0] - 10.5, seeds[:, 1] + 3.5), np.hypot(seeds[:, 0] + 4.5, seeds[:, 1] + 4.0)
    )
    affinity = np.column_stack(
        [2.2 - r / 2.6, 2.6 - campus / 1.5, r / 9 - 1.0, r / 7 - 1.2, r / 12 - 0.9, 1.2 - works / 3.2]
    )
    for column in range(len(TYPES)):
        affinity[:, column] += 1.15 * _smooth_field(rng, seeds, 5.0)
    bias = np.zeros(len(TYPES))
    for _ in range(60):
        share = np.bincount((affinity + bias).argmax(axis=1), minlength=len(TYPES)) / len(seeds)
        bias += 0.15 * np.log(SHARES / share.clip(0.01))
    dominant = (affinity + bias).argmax(axis=1)
    closeness = affinity + bias - (affinity + bias).max(axis=1, keepdims=True)
    minority = np.exp(0.6 * closeness)
    minority[np.arange(len(seeds)), dominant] = 0
    minority *= rng.gamma(1.0, 1.0, minority.shape)
    minority /= minority.sum(axis=1, keepdims=True)
    main = rng.beta(15, 3.5, len(seeds)).clip(0.55, 0.97)
    mix = minority * (1 - main)[:, None]
    mix[np.arange(len(seeds)), dominant] = main
    return mix


def _smooth_field(rng: np.random.Generator, xy: np.ndarray, length: float) -> np.ndarray:
    """Gaussian random field of unit variance by random Fourier features (Rahimi and Recht 2007)."""
    waves = 200
    k = rng.normal(0, 1 / length, (waves, 2))
    phase = rng.uniform(0, 2 * np.pi, waves)
    return np.sqrt(2 / waves) * np.cos(xy @ k.T + phase).sum(axis=1)


def _area_frame(polygons: np.ndarray, district: np.ndarray) -> gpd.GeoDataFrame:
    number = np.arange(1, len(polygons) + 1)
    within = pd.Series(district).groupby(district).cumcount().to_numpy() + 1
    names = np.array([place[0] for place in _DISTRICTS])
    return gpd.GeoDataFrame(
        {
            "area_id": [f"QH{i:04d}" for i in number],
            "name": [f"{names[d]} {i:02d}" for d, i in zip(district, within)],
            "district_id": [f"D{d + 1:02d}" for d in district],
            "district": names[district],
        },
        geometry=polygons,
        crs=CRS,
    )


def _district_frame(areas: gpd.GeoDataFrame) -> gpd.GeoDataFrame:
    parts = areas.groupby("district_id", sort=True)
    return gpd.GeoDataFrame(
        {"district_id": list(parts.groups), "name": parts["district"].first().to_numpy()},
        geometry=[shapely.coverage_union_all(part.geometry.to_numpy()) for _, part in parts],
        crs=CRS,
    )


def _ward_frame(
    rng: np.random.Generator, warp: _Warp, outline: shapely.Geometry, areas: gpd.GeoDataFrame
) -> gpd.GeoDataFrame:
    """Coarser polygons of an older census: other seeds, clipped to the same outline."""
    centroid = shapely.centroid(areas.geometry.to_numpy())
    x, y = _transformer().transform(shapely.get_x(centroid), shapely.get_y(centroid), direction="INVERSE")
    xy = np.column_stack([x, y])
    seeds = xy[rng.choice(len(xy), _N_WARDS, replace=False)] + rng.normal(0, 0.4, (_N_WARDS, 2))
    ring = np.linspace(0, 2 * np.pi, 24, endpoint=False)
    guards = 60 * np.column_stack([np.cos(ring), np.sin(ring)])
    inside = np.arange(_N_WARDS + 24) < _N_WARDS
    polygons = _tessellate(np.vstack([seeds, guards]), inside, warp)
    clipped = shapely.make_valid(shapely.intersection(polygons, outline))
    kept = clipped[shapely.area(clipped) > 0]
    return gpd.GeoDataFrame(
        {
            "area_id": [f"QW{i:02d}" for i in range(1, len(kept) + 1)],
            "name": [f"Ward {i}" for i in range(1, len(kept) + 1)],
        },
        geometry=kept,
        crs=CRS,
    )


def _points(
    rng: np.random.Generator, areas: gpd.GeoDataFrame, wards: gpd.GeoDataFrame, population: np.ndarray
) -> pd.DataFrame:
    """Population points: about nine places per area with unequal weights that add up to its people."""
    geometry = areas.geometry.to_numpy()
    shapely.prepare(geometry)
    bounds = shapely.bounds(geometry)
    area = np.repeat(np.arange(len(areas)), _POINTS_PER_AREA)
    lon, lat = np.full(len(area), np.nan), np.full(len(area), np.nan)
    missing = np.arange(len(area))
    while len(missing):
        low, high = bounds[area[missing], :2], bounds[area[missing], 2:]
        place = (low + rng.random((len(missing), 2)) * (high - low)).round(_DECIMALS)
        hit = shapely.contains_xy(geometry[area[missing]], place[:, 0], place[:, 1])
        lon[missing[hit]], lat[missing[hit]] = place[hit].T
        missing = missing[~hit]
    weight = rng.gamma(1.3, 1.0, len(area))
    weight *= (population / population.sum())[area] / np.bincount(area, weight)[area]
    found, ward = shapely.STRtree(wards.geometry.to_numpy()).query(
        shapely.points(lon, lat), predicate="intersects"
    )
    ward_of = pd.Series(ward, index=found).groupby(level=0).first().reindex(range(len(area)))
    nearest = shapely.STRtree(wards.geometry.to_numpy()).nearest(shapely.points(lon, lat))
    return pd.DataFrame(
        {
            "lon": lon,
            "lat": lat,
            "weight": weight,
            "area": area,
            "ward": ward_of.fillna(pd.Series(nearest)).astype(int).to_numpy(),
            "cell": points_to_cells(lon, lat),
        }
    )


def _cells(areas: gpd.GeoDataFrame) -> pd.DataFrame:
    """Every cell that touches an area, in order of its index."""
    found = h3ronpy.vector.wkb_to_cells(
        pa.array(shapely.to_wkb(areas.geometry.to_numpy())),
        RESOLUTION,
        containment_mode=h3ronpy.ContainmentMode.IntersectsBoundary,
        flatten=True,
    )
    cells = np.unique(pa.array(found).to_numpy())
    centres = pa.record_batch(h3ronpy.vector.cells_to_coordinates(cells)).to_pandas()
    return pd.DataFrame({"cell": cells.astype(np.int64), "lon": centres["lng"], "lat": centres["lat"]})
