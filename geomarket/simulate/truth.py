"""What is really so in a simulated market."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

__all__ = ["SimulatedTruth"]


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
        Gamma-Gamma p, q, gamma (€ per trip) of a type with index 1; ``index``: the type's multiple of gamma.
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
