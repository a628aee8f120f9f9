"""Put the parts of a simulated market together."""

from __future__ import annotations

from dataclasses import asdict
from typing import Literal

import geopandas as gpd
import numpy as np
import pandas as pd

from geomarket.market.model import Market
from geomarket.simulate.catalogue import CATEGORIES, OWN_CHAIN
from geomarket.simulate.census import area_layers
from geomarket.simulate.demand import TRANSFER, Demand, build_demand, listing_table, substitution_inflow
from geomarket.simulate.geography import CITY, City, build_city
from geomarket.simulate.network import DISTANCE_EXPONENT, FLOOR_KM, SIZE_EXPONENT, Network, build_network
from geomarket.simulate.people import (
    LOYALTY,
    SPEND,
    Customers,
    build_contacts,
    build_customers,
    build_trips,
)
from geomarket.simulate.products import ATTRIBUTES, Range, build_range
from geomarket.simulate.settings import SimulationSettings
from geomarket.simulate.shopping import build_baskets
from geomarket.simulate.tables import load_tables, yearly_totals
from geomarket.simulate.trade import CANNIBALISATION, HALO, PRICE_FACTOR, Trade, build_trade, effects_by_store
from geomarket.simulate.truth import SimulatedTruth
from geomarket.simulate.types import (
    CHANNEL_TASTES,
    CONTACT_CHANNELS,
    CONTACT_RESPONSE,
    PARTITIONS,
    RESPONSE_TERMS,
    SPEND_INDEX,
    TYPE_LABELS,
    TYPES,
    response_effects,
)

__all__ = ["simulate_market"]

_START = np.datetime64("2023-01-02")  # an ISO Monday
_PEOPLE = 820_000
_USUAL_CUSTOMERS_PER_PAIR = 50_000 / (60 * 600)


def simulate_market(
    n_customers: int = 50_000,
    n_stores: int = 60,
    n_skus: int = 600,
    weeks: int = 104,
    seed: int = 0,
    localisation: Literal["strong", "none", "latent"] = "strong",
) -> Market:
    """Return an invented city's grocery market with every table of the contract and its known truth.

    The city, its people, the chains, brands and figures are all invented; the coordinates lie in open country and
    stand for nothing there. The range is a sample of a grocer's categories, so takings are those of a few aisles.

    What was left simple: regular prices never change and are the same in every store; promotions are timed at
    random, so that their effects are identified; nothing is ever out of stock; competitors neither answer
    promotions nor change; the mechanic of an offer acts through its depth alone.

    Parameters
    ----------
    n_customers : int
        Card customers, 100 to 5,000,000. The city grows with them where they would be more than a quarter of it.
    n_stores : int
        Own stores, 4 to 2,000. Competitors number 1.3 times as many.
    n_skus : int
        Products, 40 to 20,000, about half of which each store lists.
    weeks : int
        ISO weeks of trade from 2 January 2023, 12 to 520.
    seed : int
        Seed; the same arguments give the same tables byte for byte. Each table has random streams of its own.
    localisation : {"strong", "none", "latent"}
        ``strong``: local demand follows the types of people in a store's catchment and their tastes for what
        products are. ``latent``: it follows tastes of each store that no census shows. ``none``: demand is
        store size × SKU rate, and every type responds alike to promotions.

    Returns
    -------
    Market
        With ``truth`` a :class:`SimulatedTruth`.

    Raises
    ------
    SettingsError
        An argument is not a whole number within its limits, or the localisation is unknown; give one that is.

    References
    ----------
    Huff (1963) for store choice; Smith and Agrawal (2000) for substitution; Fader, Hardie and Lee (2005) for visits
    (BG/NBD) and Fader and Hardie (2013) for money per visit (Gamma-Gamma).

    Examples
    --------
    >>> market = simulate_market(n_customers=500, n_stores=6, n_skus=40, weeks=12)
    >>> market.simulated, len(market.stores), market.truth.demand.shape
    (True, 6, (6, 40))
    """
    settings = SimulationSettings(n_customers, n_stores, n_skus, weeks, seed, localisation)
    city = build_city(settings.seed)
    people = max(_PEOPLE, 4 * settings.n_customers)
    layers = area_layers(settings, city, people)
    network = build_network(settings, city)
    skus = build_range(settings)
    periods = _START + np.arange(settings.weeks) * np.timedelta64(7, "D")
    per_pair = settings.n_customers / (settings.n_stores * settings.n_skus)
    demand = build_demand(
        settings, network, skus, level=max(1.0, per_pair / (2.5 * _USUAL_CUSTOMERS_PER_PAIR))
    )
    trade = build_trade(settings, network, skus, demand, _stamps(periods))
    customers = build_customers(settings, city, network, _START)
    trips = build_trips(settings, network, customers)
    taste = _normalised_taste(settings, network, skus)
    baskets = build_baskets(settings, trade, customers, trips, taste)
    ids = {
        "store": network.stores["store_id"].to_numpy(),
        "sku": skus.products["sku"].to_numpy(),
        "customer": customers.table["customer_id"].to_numpy(),
    }
    sales, lines = load_tables(trade, baskets, trips, ids, periods)
    lost = len(trips.customer) - len(np.unique(baskets.trip))
    rival_noise = settings.stream("totals").normal(size=len(network.competitors))
    return Market(
        name=f"{CITY} (simulated)",
        stores=_with_shelves(network.stores, demand),
        competitors=network.competitors,
        products=skus.products,
        sales=sales,
        period="week",
        areas=layers,
        store_totals=yearly_totals(
            trade, network.stores, network.competitors, network.demand_share, rival_noise, periods
        ),
        customers=customers.table,
        baskets=lines,
        contacts=build_contacts(settings, customers, _START),
        promotions=trade.promotions,
        points=_points(city, people),
        travel=network.travel,
        boundaries=_boundaries(city),
        product_attributes=ATTRIBUTES,
        currency="€",
        simulated=True,
        notes=_notes(settings),
        inputs={"simulated": settings.digest()},
        truth=_truth(settings, city, network, skus, demand, trade, customers, taste, periods, lost),
    )


def _stamps(periods: np.ndarray) -> np.ndarray:
    return periods.astype("datetime64[ns]")


def _points(city: City, people: int) -> pd.DataFrame:
    return city.points[["lon", "lat"]].assign(weight=(city.points["weight"] * people).round(1))


def _boundaries(city: City) -> gpd.GeoDataFrame:
    lines = city.districts.geometry.boundary
    return gpd.GeoDataFrame({"name": city.districts["name"]}, geometry=lines, crs=city.districts.crs)


def _with_shelves(stores: pd.DataFrame, demand: Demand) -> pd.DataFrame:
    names = [
        f"shelf_cm_{name.lower().replace(',', '').replace('-', '_').replace(' ', '_')}" for name in CATEGORIES
    ]
    return pd.concat([stores, pd.DataFrame(demand.shelf_cm, columns=names)], axis=1)


def _normalised_taste(settings: SimulationSettings, network: Network, skus: Range) -> np.ndarray:
    if settings.localisation != "strong":
        return np.ones_like(skus.taste)
    taste = np.exp(skus.taste)
    chain_mix = network.size / network.size.sum() @ network.mix
    return taste / (chain_mix @ taste)


def _notes(settings: SimulationSettings) -> tuple[str, ...]:
    how = {
        "strong": "Local demand was made to follow the types of people in each catchment.",
        "latent": "Local demand was made to follow tastes that no census variable shows.",
        "none": "No local differences in demand were built in.",
    }[settings.localisation]
    return (
        f"This market is simulated: {CITY}, its people, {OWN_CHAIN}, all other chains, brands, products and "
        "customers are invented, and any figure is an illustration, not evidence about a real place.",
        how,
        "Simplified: regular prices never change and are the same in every store, offers are timed at random, "
        "nothing is ever out of stock, and competitors don't react.",
    )


def _truth(
    settings: SimulationSettings,
    city: City,
    network: Network,
    skus: Range,
    demand: Demand,
    trade: Trade,
    customers: Customers,
    taste: np.ndarray,
    periods: np.ndarray,
    lost_trips: int,
) -> SimulatedTruth:
    stores = pd.Index(network.stores["store_id"], name="store_id")
    codes = pd.Index(skus.products["sku"], name="sku")
    types = pd.Index(TYPES, name="type")
    categories = pd.Index(list(CATEGORIES), name="category")

    def pairs(values: np.ndarray) -> pd.DataFrame:
        return pd.DataFrame(values, index=stores, columns=codes)

    absent = np.where(demand.last == settings.weeks, 0.0, demand.rate)
    substitution = skus.substitutes.tocoo()
    area_types = pd.DataFrame(
        city.area_types.copy(), index=pd.Index(city.areas["area_id"]), columns=list(TYPES)
    )
    area_types.insert(0, "type", np.array(TYPES)[city.area_types.argmax(axis=1)])
    return SimulatedTruth(
        settings=asdict(settings),
        types=dict(TYPE_LABELS),
        area_types=area_types,
        type_profiles=_profiles(),
        huff={"size": SIZE_EXPONENT, "distance": DISTANCE_EXPONENT, "floor_km": FLOOR_KM},
        flows=_flows(city, network),
        catchment_mix=pd.DataFrame(network.mix, index=stores, columns=list(TYPES)),
        store_size=pd.Series(network.size, index=stores, name="size"),
        sku_rate=pd.Series((demand.rate / demand.lift)[0] / network.size[0], index=codes, name="rate"),
        demand=pairs(demand.rate),
        lift=pairs(demand.lift),
        sales_rate=pairs(demand.rate + substitution_inflow(absent.T, skus).T),
        expected_units=pairs(trade.expected),
        listings=listing_table(demand, network, skus, _stamps(periods)),
        substitution=pd.DataFrame(
            {
                "sku": codes[substitution.row],
                "substitute": codes[substitution.col],
                "share": substitution.data,
            }
        ),
        transfer=pd.Series(TRANSFER, index=categories, name="transfer"),
        cannibalisation=CANNIBALISATION,
        season=_season(skus, periods),
        response=pd.DataFrame(
            response_effects(settings.localisation), index=types, columns=list(RESPONSE_TERMS)
        ),
        response_by_store=effects_by_store(settings, network),
        price_factor=pd.Series(PRICE_FACTOR, index=categories, name="factor"),
        halo=pd.DataFrame(HALO, columns=["category", "gains", "strength"]),
        taste=pd.DataFrame(taste, index=types, columns=codes),
        customers=pd.DataFrame(
            {"type": np.array(TYPES)[customers.type], "cell": city.cells["cell"].to_numpy()[customers.place]},
            index=pd.Index(customers.table["customer_id"]),
        ),
        loyalty=dict(LOYALTY),
        spend={**SPEND, "index": dict(zip(TYPES, SPEND_INDEX.tolist()))},
        channel_tastes=pd.DataFrame(
            np.column_stack([CHANNEL_TASTES, CONTACT_RESPONSE]),
            index=types,
            columns=["online", *CONTACT_CHANNELS],
        ),
        lost_trips=lost_trips,
    )


def _profiles() -> pd.DataFrame:
    rows = {name: share for columns in PARTITIONS.values() for name, (_, share) in columns.items()}
    return pd.DataFrame(rows, index=list(TYPES)).T.rename_axis("variable")


def _season(skus: Range, periods: np.ndarray) -> pd.DataFrame:
    first = skus.products.drop_duplicates("subcategory")
    return pd.DataFrame(
        skus.season[first.index].T,
        index=pd.DatetimeIndex(_stamps(periods), name="period"),
        columns=pd.Index(first["subcategory"], name="subcategory"),
    )


def _flows(city: City, network: Network) -> pd.DataFrame:
    lived_in = np.flatnonzero(network.cell_demand > 0)
    ids = np.concatenate([network.stores["store_id"], network.competitors["store_id"]])
    probability = network.probability[lived_in]
    return pd.DataFrame(
        {
            "cell": np.repeat(city.cells["cell"].to_numpy()[lived_in], len(ids)),
            "store_id": np.tile(ids, len(lived_in)),
            "own": np.tile(np.arange(len(ids)) < len(network.stores), len(lived_in)),
            "probability": probability.ravel(),
            "demand": (network.cell_demand[lived_in, None] * probability).ravel(),
        }
    )
