"""What is really so in a simulated market."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np
import pandas as pd

from geomarket.simulate.catalogue import CATEGORIES
from geomarket.simulate.demand import TRANSFER, listing_table, substitution_inflow
from geomarket.simulate.network import DISTANCE_EXPONENT, FLOOR_KM, SIZE_EXPONENT
from geomarket.simulate.people import LOYALTY, SPEND
from geomarket.simulate.trade import CANNIBALISATION, HALO, PRICE_FACTOR, effects_by_store
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
from geomarket.simulate.world import World

__all__ = ["SimulatedTruth", "tell_truth"]


@dataclass(frozen=True)
class SimulatedTruth:
    """The known truth of a simulated market (``market.truth``).

    Attributes
    ----------
    settings : dict
        Arguments of :func:`geomarket.simulate.simulate_market`.
    types : dict
        Code of each latent type -> what a planner would call it.
    area_types : DataFrame
        Index area_id; ``type`` (dominant) and the share of each type among the people of the area.
    type_profiles : DataFrame
        Index census variable; expected share by type.
    huff : dict
        ``size`` and ``distance``: exponents on size_m2 and on great-circle km from the middle of the H3 cell
        (resolution 8), and ``floor_km``, the least distance.
    flows : DataFrame
        cell (int64), store_id, own, probability, demand (share of the city's money that goes from the cell to the
        store; sums to 1). Cells where nobody lives are left out.
    catchment_mix : DataFrame
        Index store_id; type shares of each own store's catchment, weighted by money.
    store_size : Series
        Index store_id; trade relative to the chain's average.
    sku_rate : Series
        Index sku; units per week of first-choice demand in a store of size 1.
    demand : DataFrame
        Index store_id, columns sku: units per week of first-choice demand if listed, before season, promotions
        and substitution. Equals store_size × sku_rate × lift.
    lift : DataFrame
        Index store_id, columns sku: the local lift within ``demand``; all 1 without localisation.
    sales_rate : DataFrame
        Index store_id, columns sku: ``demand`` plus what comes from SKUs the store does not list in the last
        week; what a listed pair sells in a plain week, and what an unlisted one would gain if it were added.
    weekly_units : DataFrame
        Index store_id, columns sku: mean units of a week had the pair been listed throughout, with its seasons,
        promotions and substitution as they were. What a forecast of units per listed week should come to.
    expected_units : DataFrame
        Index store_id, columns sku: Poisson mean of the units sold in the whole window, everything included.
    listings : DataFrame
        store_id, sku, first_period, last_period, trial (listed at random).
    substitution : DataFrame
        sku, substitute, share: to whom the switching buyers of an absent SKU turn; shares of one SKU sum to 1.
    transfer : Series
        Index category; share of the buyers of an absent SKU who switch at all. The rest buy nothing.
    cannibalisation : float
        Share of a promotion's extra units taken from substitutes in the same store, by ``substitution``.
    season : DataFrame
        Index period, columns subcategory: seasonal index.
    response : DataFrame
        Index type; ``price`` (elasticity), ``display``, ``mailer``, ``dip`` (week after a promotion): log units.
    response_by_store : DataFrame
        Index store_id: the same, averaged over the catchment mix; this is what acts on sales.
    price_factor : Series
        Index category; multiplies the price elasticity.
    halo : DataFrame
        category, gains, strength: log units the second category gains when all of the first one's usual trade is
        in the mailer; in proportion for a part of it.
    taste : DataFrame
        Index type, columns sku: relative liking; 1 is the chain's average. All 1 unless localisation is strong.
    customers : DataFrame
        Index customer_id; type, cell.
    loyalty : dict
        BG/NBD r, alpha, a, b, time in weeks; a customer's first trip is on the day they joined.
    spend : dict
        Gamma-Gamma p, q, gamma (€ per trip) of a type with index 1; ``index``: the type's multiple of gamma. It is
        the money a customer means to spend: a basket comes to it within the price of a unit, so that means agree
        and p, fitted to baskets, comes out smaller.
    channel_tastes : DataFrame
        Index type; ``online``: share of trips ordered online; response rates by contact channel.
    lost_trips : int
        Card trips that found nothing left in their store and week and are missing from the baskets.
    """

    settings: dict[str, int | str]
    types: dict[str, str]
    area_types: pd.DataFrame
    type_profiles: pd.DataFrame
    huff: dict[str, float]
    flows: pd.DataFrame
    catchment_mix: pd.DataFrame
    store_size: pd.Series
    sku_rate: pd.Series
    demand: pd.DataFrame
    lift: pd.DataFrame
    sales_rate: pd.DataFrame
    weekly_units: pd.DataFrame
    expected_units: pd.DataFrame
    listings: pd.DataFrame
    substitution: pd.DataFrame
    transfer: pd.Series
    cannibalisation: float
    season: pd.DataFrame
    response: pd.DataFrame
    response_by_store: pd.DataFrame
    price_factor: pd.Series
    halo: pd.DataFrame
    taste: pd.DataFrame
    customers: pd.DataFrame
    loyalty: dict[str, float]
    spend: dict[str, float | dict[str, float]]
    channel_tastes: pd.DataFrame
    lost_trips: int

    def trial_pairs(self) -> pd.DataFrame:
        """Return the pairs listed at random: store_id, sku, first_period, last_period."""
        return self.listings.loc[self.listings["trial"]].drop(columns="trial").reset_index(drop=True)

    def listed_at(self, period: np.datetime64 | pd.Timestamp) -> pd.DataFrame:
        """Return which pairs are listed in a week, as a frame of bool with the shape of ``demand``."""
        when = pd.Timestamp(period)
        rows = self.listings[(self.listings["first_period"] <= when) & (self.listings["last_period"] >= when)]
        listed = np.zeros(self.demand.shape, dtype=bool)
        store = self.demand.index.get_indexer(pd.Index(rows["store_id"]))
        listed[store, self.demand.columns.get_indexer(pd.Index(rows["sku"]))] = True
        return pd.DataFrame(listed, index=self.demand.index, columns=self.demand.columns)


def tell_truth(world: World) -> SimulatedTruth:
    """Return what is really so in a simulation."""
    settings, network, skus, demand = world.settings, world.network, world.skus, world.demand
    stores = pd.Index(network.stores["store_id"], name="store_id")
    codes = pd.Index(skus.products["sku"], name="sku")
    types = pd.Index(TYPES, name="type")
    categories = pd.Index(list(CATEGORIES), name="category")

    def pairs(values: np.ndarray) -> pd.DataFrame:
        return pd.DataFrame(values, index=stores, columns=codes)

    absent = np.where(demand.last == settings.weeks, 0.0, demand.rate)
    channels = np.column_stack([CHANNEL_TASTES, CONTACT_RESPONSE])
    return SimulatedTruth(
        settings=asdict(settings),
        types=dict(TYPE_LABELS),
        area_types=_area_types(world),
        type_profiles=_profiles(),
        huff={"size": SIZE_EXPONENT, "distance": DISTANCE_EXPONENT, "floor_km": FLOOR_KM},
        flows=_flows(world),
        catchment_mix=pd.DataFrame(network.mix, index=stores, columns=list(TYPES)),
        store_size=pd.Series(network.size, index=stores, name="size"),
        sku_rate=pd.Series(demand.sku_rate, index=codes, name="rate"),
        demand=pairs(demand.rate),
        lift=pairs(demand.lift),
        sales_rate=pairs(demand.rate + substitution_inflow(absent.T, skus).T),
        weekly_units=pairs(world.trade.if_listed),
        expected_units=pairs(world.trade.expected),
        listings=listing_table(demand, network, skus, world.periods),
        substitution=_substitution(world),
        transfer=pd.Series(TRANSFER, index=categories, name="transfer"),
        cannibalisation=CANNIBALISATION,
        season=_season(world),
        response=pd.DataFrame(
            response_effects(settings.localisation), index=types, columns=list(RESPONSE_TERMS)
        ),
        response_by_store=effects_by_store(settings, network),
        price_factor=pd.Series(PRICE_FACTOR, index=categories, name="factor"),
        halo=pd.DataFrame(HALO, columns=["category", "gains", "strength"]),
        taste=pd.DataFrame(world.taste, index=types, columns=codes),
        customers=_customers(world),
        loyalty=dict(LOYALTY),
        spend={**SPEND, "index": dict(zip(TYPES, SPEND_INDEX.tolist()))},
        channel_tastes=pd.DataFrame(channels, index=types, columns=["online", *CONTACT_CHANNELS]),
        lost_trips=world.lost_trips,
    )


def _area_types(world: World) -> pd.DataFrame:
    mix = world.city.area_types
    table = pd.DataFrame(mix.copy(), index=pd.Index(world.city.areas["area_id"]), columns=list(TYPES))
    table.insert(0, "type", np.array(TYPES)[mix.argmax(axis=1)])
    return table


def _profiles() -> pd.DataFrame:
    rows = {name: share for columns in PARTITIONS.values() for name, (_, share) in columns.items()}
    return pd.DataFrame(rows, index=list(TYPES)).T.rename_axis("variable")


def _flows(world: World) -> pd.DataFrame:
    network = world.network
    lived_in = np.flatnonzero(network.cell_demand > 0)
    ids = np.concatenate([network.stores["store_id"], network.competitors["store_id"]])
    probability = network.probability[lived_in]
    return pd.DataFrame(
        {
            "cell": np.repeat(world.city.cells["cell"].to_numpy()[lived_in], len(ids)),
            "store_id": np.tile(ids, len(lived_in)),
            "own": np.tile(np.arange(len(ids)) < len(network.stores), len(lived_in)),
            "probability": probability.ravel(),
            "demand": (network.cell_demand[lived_in, None] * probability).ravel(),
        }
    )


def _substitution(world: World) -> pd.DataFrame:
    codes = world.skus.products["sku"].to_numpy()
    share = world.skus.substitutes.tocoo()
    return pd.DataFrame({"sku": codes[share.row], "substitute": codes[share.col], "share": share.data})


def _season(world: World) -> pd.DataFrame:
    first = world.skus.products.drop_duplicates("subcategory")
    return pd.DataFrame(
        world.skus.season[first.index].T,
        index=pd.DatetimeIndex(world.periods, name="period"),
        columns=pd.Index(first["subcategory"], name="subcategory"),
    )


def _customers(world: World) -> pd.DataFrame:
    customers = world.customers
    return pd.DataFrame(
        {
            "type": np.array(TYPES)[customers.type],
            "cell": world.city.cells["cell"].to_numpy()[customers.place],
        },
        index=pd.Index(customers.table["customer_id"]),
    )
