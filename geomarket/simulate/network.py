"""Own stores and competitors, where they stand, and who would shop where (Huff 1963)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from geomarket.simulate.catalogue import OWN_CHAIN
from geomarket.simulate.geography import CENTRE_LAT, CENTRE_LON, STREETS, City, km_between
from geomarket.simulate.settings import SimulationSettings
from geomarket.simulate.types import SPEND_INDEX, TYPES

__all__ = ["DISTANCE_EXPONENT", "FLOOR_KM", "PROMO_REGIONS", "SIZE_EXPONENT", "Network", "build_network"]

SIZE_EXPONENT = 0.85
DISTANCE_EXPONENT = -2.1
FLOOR_KM = 0.5
COMPETITORS_PER_STORE = 1.3

_COMPETING_CHAINS = (("Orrinda", 0.36), ("Kestova", 0.27), ("Plimmer & Wray", 0.22), ("Zafferel", 0.15))
# format, share of stores, floor area m² (median, sd of log), pull towards the centre
_FORMATS = (
    ("convenience", 0.42, 260.0, 0.22, 0.6),
    ("supermarket", 0.45, 1_250.0, 0.28, 0.0),
    ("hypermarket", 0.13, 4_300.0, 0.22, -0.7),
)
PROMO_REGIONS = ("North", "East", "South", "West")


@dataclass(frozen=True)
class Network:
    """Stores of all chains and the true flows to them.

    Attributes
    ----------
    stores, competitors : DataFrame
        The market's tables of those names.
    travel : DataFrame
        store_id, cell, minutes: by road from the middle of every cell to every own store.
    cell_demand : ndarray of shape (n_cells,)
        Share of the city's grocery money that lives in each cell; sums to 1.
    cell_types : ndarray of shape (n_cells, n_types)
        Type mix of that money; zeros where nobody lives.
    probability : ndarray of shape (n_cells, n_stores + n_competitors)
        Huff share of each store, own stores first; rows add up to 1.
    size : ndarray of shape (n_stores,)
        Trade of each own store relative to the chain's average; mean 1.
    mix : ndarray of shape (n_stores, n_types)
        Type mix of each own store's catchment, weighted by money; rows add up to 1.
    demand_share : ndarray of shape (n_stores + n_competitors,)
        Share of the city's money each store expects.
    """

    stores: pd.DataFrame
    competitors: pd.DataFrame
    travel: pd.DataFrame
    cell_demand: np.ndarray
    cell_types: np.ndarray
    probability: np.ndarray
    size: np.ndarray
    mix: np.ndarray
    demand_share: np.ndarray


def build_network(settings: SimulationSettings, city: City) -> Network:
    """Return the stores of a simulation and the Huff truth of who shops where."""
    n_competitors = round(COMPETITORS_PER_STORE * settings.n_stores)
    own = _site(settings, "stores", city, settings.n_stores, ((OWN_CHAIN, 1.0),), "H")
    rivals = _site(settings, "competitors", city, n_competitors, _COMPETING_CHAINS, "R")
    own["promo_region"] = np.array(PROMO_REGIONS)[
        settings.stream("stores", 1).integers(0, len(PROMO_REGIONS), len(own))
    ]

    cells = city.cells
    everyone = pd.concat([own, rivals], ignore_index=True)
    km = km_between(*(table[axis].to_numpy() for table in (cells, everyone) for axis in ("lon", "lat")))
    utility = SIZE_EXPONENT * np.log(everyone["size_m2"].to_numpy()) + DISTANCE_EXPONENT * np.log(
        np.maximum(km, FLOOR_KM)
    )
    probability = np.exp(utility - utility.max(axis=1, keepdims=True))
    probability /= probability.sum(axis=1, keepdims=True)

    demand, mix_of_cell = _cell_demand(city)
    flows = demand[:, None] * probability
    own_flows = flows[:, : len(own)]
    mix = own_flows.T @ mix_of_cell / own_flows.sum(axis=0)[:, None]
    # Good and bad managers: stores trade a little above or below what their catchment promises.
    managed = flows.sum(axis=0)[: len(own)] * np.exp(settings.stream("stores", 2).normal(0, 0.10, len(own)))
    return Network(
        stores=own,
        competitors=rivals,
        travel=_travel(settings, city, own, km[:, : len(own)]),
        cell_demand=demand,
        cell_types=mix_of_cell,
        probability=probability,
        size=managed / managed.mean(),
        mix=mix,
        demand_share=flows.sum(axis=0),
    )


def _site(
    settings: SimulationSettings,
    stream: str,
    city: City,
    n: int,
    chains: tuple[tuple[str, float], ...],
    prefix: str,
) -> pd.DataFrame:
    """Place stores one by one where people are and sisters of the same kind are not."""
    draws = settings.stream(stream).random((n, 4))
    sizes = settings.stream(stream, 11).normal(size=n)
    kinds = _spread_by_share(n, [kind[1] for kind in _FORMATS])
    chain_names = [name for name, _ in chains]
    chain = np.searchsorted(np.cumsum([share for _, share in chains]), draws[:, 0]).clip(0, len(chains) - 1)
    points = city.points
    lon, lat = points["lon"].to_numpy(), points["lat"].to_numpy()
    middle = km_between(lon, lat, np.array([lon.mean()]), np.array([lat.mean()]))[:, 0]
    free = points["weight"].to_numpy().copy()
    chosen = np.empty(n, dtype=int)
    for i in range(n):
        pull = free * np.exp(-_FORMATS[kinds[i]][4] * middle / 8.0)
        chosen[i] = np.searchsorted(np.cumsum(pull), draws[i, 1] * pull.sum())
        near = km_between(lon, lat, lon[[chosen[i]]], lat[[chosen[i]]])[:, 0]
        free = free * (1 - 0.9 * np.exp(-((near / (0.8 + 0.9 * kinds[i])) ** 2)))
    median = np.array([kind[2] for kind in _FORMATS])[kinds]
    spread = np.array([kind[3] for kind in _FORMATS])[kinds]
    district = city.areas["district"].to_numpy()[points["area"].to_numpy()[chosen]]
    names = [chain_names[c] for c in chain]
    return pd.DataFrame(
        {
            "store_id": [f"{prefix}{i:03d}" for i in range(1, n + 1)],
            "name": _store_names(settings, stream, names, district),
            "lon": (lon[chosen] + 0.0009 * (draws[:, 2] - 0.5)).round(5),
            "lat": (lat[chosen] + 0.0006 * (draws[:, 3] - 0.5)).round(5),
            "chain": names,
            "format": np.array([kind[0] for kind in _FORMATS])[kinds],
            "size_m2": (np.round(median * np.exp(spread * sizes) / 10) * 10).astype(float),
            "district": district,
        }
    )


def _spread_by_share(n: int, shares: list[float]) -> np.ndarray:
    """Assign items to groups in the given shares, evenly along the order (golden-ratio sequence)."""
    place = (np.arange(n) * 0.6180339887498949 + 0.5) % 1.0
    return np.searchsorted(np.cumsum(shares), place, side="right").clip(0, len(shares) - 1)


def _store_names(
    settings: SimulationSettings, stream: str, chains: list[str], district: np.ndarray
) -> list[str]:
    """Chain, district and street; a number only where a district runs out of streets."""
    streets = settings.stream(stream, 12).permutation(len(STREETS))
    used: dict[tuple[str, str], int] = {}
    names = []
    for i, (chain, place) in enumerate(zip(chains, district)):
        street = STREETS[streets[i % len(STREETS)]]
        turn = used[(place, street)] = used.get((place, street), 0) + 1
        names.append(f"{chain} {place}, {street}" + (f" {turn}" if turn > 1 else ""))
    return names


def _cell_demand(city: City) -> tuple[np.ndarray, np.ndarray]:
    """Money by cell and its type mix, from the population points."""
    place = city.cells["cell"].searchsorted(city.points["cell"])
    money = city.points["weight"].to_numpy()[:, None] * city.area_types[city.points["area"]] * SPEND_INDEX
    by_type = np.column_stack([np.bincount(place, money[:, t], len(city.cells)) for t in range(len(TYPES))])
    demand = by_type.sum(axis=1)
    mix = np.divide(by_type, demand[:, None], out=np.zeros_like(by_type), where=demand[:, None] > 0)
    return demand / demand.sum(), mix


def _travel(settings: SimulationSettings, city: City, own: pd.DataFrame, km: np.ndarray) -> pd.DataFrame:
    """Minutes by road: a detour factor per pair, slower streets in the centre, two minutes to park."""
    noise = settings.stream("travel").normal(0, 0.10, km.T.shape).T
    cell_lon, cell_lat = city.cells["lon"].to_numpy(), city.cells["lat"].to_numpy()
    centre = km_between(cell_lon, cell_lat, np.array([CENTRE_LON]), np.array([CENTRE_LAT]))[:, 0]
    speed = 22 + 26 * (1 - np.exp(-centre / 7.0))
    road_km = np.maximum(km, 0.2) * 1.28 * np.exp(noise)
    minutes = 2.0 + 60 * road_km / np.minimum(speed[:, None] + 6 * np.log1p(km), 65)
    n_cells, n_stores = km.shape
    return pd.DataFrame(
        {
            "store_id": np.repeat(own["store_id"].to_numpy(), n_cells),
            "cell": np.tile(city.cells["cell"].to_numpy(), n_stores),
            "minutes": minutes.T.ravel().round(1),
        }
    )
