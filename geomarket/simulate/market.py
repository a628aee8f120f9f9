"""The simulated market: an invented city's trade, as a Market."""

from __future__ import annotations

from typing import Literal

import geopandas as gpd
import pandas as pd

from geomarket.market.model import Market
from geomarket.simulate.catalogue import CATEGORIES, OWN_CHAIN
from geomarket.simulate.census import area_layers
from geomarket.simulate.demand import Demand
from geomarket.simulate.geography import CITY, City
from geomarket.simulate.network import Network
from geomarket.simulate.people import build_contacts
from geomarket.simulate.products import ATTRIBUTES
from geomarket.simulate.settings import SimulationSettings
from geomarket.simulate.tables import load_tables, weekly_money, yearly_totals
from geomarket.simulate.truth import tell_truth
from geomarket.simulate.world import FIRST_DAY, build_world, people_of

__all__ = ["boundary_lines", "own_stores", "simulate_market", "weighted_points"]


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
        Card customers, 100 to 5,000,000. The city grows where they would be more than a quarter of it, and all
        trade where they would make more than 35% of it.
    n_stores : int
        Own stores, 4 to 2,000. Competitors number 1.3 times as many.
    n_skus : int
        Products, 40 to 20,000, about half of which each store lists.
    weeks : int
        ISO weeks of trade from 2 January 2023, 12 to 520. Time and memory grow with stores × SKUs × weeks: 4 seconds
        and 0.9 GB for the defaults, measured on one core of a 2-core machine.
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
    world = build_world(settings)
    sales, baskets = load_tables(world)
    return Market(
        name=f"{CITY} (simulated)",
        stores=own_stores(world.network, world.demand),
        competitors=world.network.competitors,
        products=world.skus.products,
        sales=sales,
        period="week",
        areas=area_layers(settings, world.city, people_of(settings)),
        store_totals=yearly_totals(settings, world.network, world.periods, weekly_money(world)),
        customers=world.customers.table,
        baskets=baskets,
        contacts=build_contacts(settings, world.customers, FIRST_DAY),
        promotions=world.trade.promotions,
        points=weighted_points(settings, world.city),
        travel=world.network.travel,
        boundaries=boundary_lines(world.city),
        product_attributes=ATTRIBUTES,
        currency="€",
        simulated=True,
        notes=_notes(settings),
        inputs={"simulated": settings.digest()},
        truth=tell_truth(world),
    )


def own_stores(network: Network, demand: Demand) -> pd.DataFrame:
    """Return own stores with the shelf width of each category."""
    names = [
        "shelf_cm_" + "_".join(name.lower().replace(",", "").replace("-", " ").split()) for name in CATEGORIES
    ]
    shelves = pd.DataFrame(demand.shelf_cm, columns=names)
    return pd.concat([network.stores, shelves], axis=1)


def weighted_points(settings: SimulationSettings, city: City) -> pd.DataFrame:
    """Return the market's table of population points."""
    return city.points[["lon", "lat"]].assign(weight=(city.points["weight"] * people_of(settings)).round(1))


def boundary_lines(city: City) -> gpd.GeoDataFrame:
    """Return the lines of the city's districts."""
    districts = city.districts
    return gpd.GeoDataFrame(
        {"name": districts["name"]}, geometry=districts.geometry.boundary, crs=districts.crs
    )


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
