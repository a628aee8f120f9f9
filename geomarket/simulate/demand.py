"""What every store would sell of every product, and what it lists."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from geomarket.simulate.catalogue import CATEGORIES
from geomarket.simulate.network import Network
from geomarket.simulate.products import Range
from geomarket.simulate.settings import SimulationSettings

__all__ = ["TRANSFER", "Demand", "build_demand", "listing_table", "substitution_inflow"]

# Share of the buyers of an absent product who take a substitute, by category in the order of CATEGORIES.
TRANSFER = np.array([0.40, 0.45, 0.55, 0.35, 0.50, 0.55, 0.45, 0.30])
_UNITS_PER_PAIR = 5.0
_MOST_CARD_MONEY = 0.35
_PAIR_SPREAD = 0.20
_LATENT_FACTORS = 4
_LATENT_SPREAD = 0.20
# Retailers list what sells locally, but see it through noise; a range review halfway draws half of it anew.
_LISTING_SPREAD = 0.55
_TRIAL_SHARE = 0.025


@dataclass(frozen=True)
class Demand:
    """Demand and listing of every store (rows) and SKU (columns).

    Attributes
    ----------
    rate : ndarray of shape (n_stores, n_skus)
        First-choice demand in units per week, before season and promotions.
    sku_rate : ndarray of shape (n_skus,)
        First-choice demand in a store of size 1 with no lift, in units per week.
    lift : ndarray of shape (n_stores, n_skus)
        Local lift contained in ``rate``.
    first, last : ndarray of int, shape (n_stores, n_skus)
        First week listed and the week after the last; equal where never listed.
    trial : ndarray of bool, shape (n_stores, n_skus)
        Listed at random, not because it sells.
    shelf_cm : ndarray of shape (n_stores, n_categories)
        Shelf width of each category.
    """

    rate: np.ndarray
    sku_rate: np.ndarray
    lift: np.ndarray
    first: np.ndarray
    last: np.ndarray
    trial: np.ndarray
    shelf_cm: np.ndarray


def build_demand(settings: SimulationSettings, network: Network, skus: Range, card_money: float) -> Demand:
    """Return the demand truth and the listings.

    Parameters
    ----------
    settings, network, skus
        The parts built before.
    card_money : float
        What card customers mean to spend in the whole window, €. Where it would be more than a good part of the
        usual trade, all trade is raised in proportion.
    """
    lift = _lift(settings, network, skus)
    sku_rate = _UNITS_PER_PAIR * skus.rate
    rate = network.size[:, None] * sku_rate[None, :] * lift
    shelf = _shelves(settings, network, skus)
    width = skus.products["width_cm"].to_numpy()
    early = np.zeros(rate.shape, dtype=bool)
    late = np.zeros(rate.shape, dtype=bool)
    for store in range(len(rate)):
        noise = settings.stream("listing", store).normal(size=(len(width), 2))
        seen = np.log(rate[store]) + _LISTING_SPREAD * noise[:, 0]
        seen_later = np.log(rate[store]) + _LISTING_SPREAD * (
            0.9 * noise[:, 0] + np.sqrt(1 - 0.81) * noise[:, 1]
        )
        for code in range(len(CATEGORIES)):
            member = np.flatnonzero(skus.category == code)
            for score, listed in ((seen, early), (seen_later, late)):
                order = member[np.argsort(-score[member], kind="stable")]
                listed[store, order] = np.cumsum(width[order]) <= shelf[store, code]
    usual = settings.weeks * float(((rate * early) @ skus.products["price"].to_numpy()).sum())
    level = max(1.0, card_money / (_MOST_CARD_MONEY * usual))
    return Demand(
        level * rate, level * sku_rate, lift, *_listing_weeks(settings, early, late), shelf.round(0)
    )


def _lift(settings: SimulationSettings, network: Network, skus: Range) -> np.ndarray:
    """Local lift of each pair, averaging 1 over the chain's trade for every SKU (before pair noise)."""
    n_stores, n_skus = len(network.size), len(skus.rate)
    if settings.localisation == "none":
        return np.ones((n_stores, n_skus))
    weight = network.size / network.size.sum()
    if settings.localisation == "strong":
        lift = network.mix @ np.exp(skus.taste)
    else:
        leaning = np.stack(
            [settings.stream("local", 1, store).normal(size=_LATENT_FACTORS) for store in range(n_stores)]
        )
        loading = settings.stream("local", 0).normal(0, _LATENT_SPREAD, (n_skus, _LATENT_FACTORS))
        lift = np.exp(leaning @ loading.T)
    lift /= weight @ lift
    noise = np.stack([settings.stream("local", 2, store).normal(size=n_skus) for store in range(n_stores)])
    return lift * np.exp(_PAIR_SPREAD * noise - _PAIR_SPREAD**2 / 2)


def _shelves(settings: SimulationSettings, network: Network, skus: Range) -> np.ndarray:
    """Shelf width by store and category: about half of the whole range, more in large stores."""
    area = network.stores["size_m2"].to_numpy()
    share = (0.45 + 0.115 * (np.log(area) - np.log(area).mean())).clip(0.22, 0.88)
    total = np.bincount(skus.category, skus.products["width_cm"], len(CATEGORIES))
    taste = np.stack(
        [settings.stream("listing", 1_000_000 + s).normal(0, 0.05, len(CATEGORIES)) for s in range(len(area))]
    )
    return share[:, None] * np.exp(taste) * total[None, :]


def _listing_weeks(
    settings: SimulationSettings, early: np.ndarray, late: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """First week, week after the last, and trial flag of each pair; a trial starts mid-way and stays."""
    weeks, review = settings.weeks, settings.weeks // 2
    first = np.where(early, 0, np.where(late, review, 0))
    last = np.where(late, weeks, np.where(early, review, 0))
    never = first == last
    trial = np.zeros_like(early)
    for store in range(len(early)):
        draw = settings.stream("listing", 2_000_000 + store).random((early.shape[1], 2))
        trial[store] = never[store] & (draw[:, 0] < _TRIAL_SHARE)
        start = (weeks * (0.10 + 0.40 * draw[:, 1])).astype(int)
        first[store] = np.where(trial[store], start, first[store])
        last[store] = np.where(trial[store], weeks, last[store])
    return first, last, trial


def substitution_inflow(lost: np.ndarray, skus: Range) -> np.ndarray:
    """Units that listed SKUs gain from absent ones: one step, exogenous shares.

    Smith and Agrawal (2000): a share of the buyers of an absent SKU turns once to a substitute; who finds that one
    absent too buys nothing.

    Parameters
    ----------
    lost : ndarray of shape (n_skus, any)
        First-choice demand of the absent SKUs, zero for listed ones.
    skus : Range
        Gives the substitution shares.

    Returns
    -------
    ndarray of the same shape
    """
    return skus.substitutes.T @ (TRANSFER[skus.category][:, None] * lost)


def listing_table(demand: Demand, network: Network, skus: Range, periods: np.ndarray) -> pd.DataFrame:
    """One row per listed pair: store_id, sku, first_period, last_period, trial."""
    store, sku = np.nonzero(demand.last > demand.first)
    return pd.DataFrame(
        {
            "store_id": network.stores["store_id"].to_numpy()[store],
            "sku": skus.products["sku"].to_numpy()[sku],
            "first_period": periods[demand.first[store, sku]],
            "last_period": periods[demand.last[store, sku] - 1],
            "trial": demand.trial[store, sku],
        }
    )
