"""Promotions and weekly sales of every store and product."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from geomarket.simulate.catalogue import CATEGORIES
from geomarket.simulate.demand import Demand, substitution_inflow
from geomarket.simulate.network import PROMO_REGIONS, Network
from geomarket.simulate.products import Range
from geomarket.simulate.settings import SimulationSettings
from geomarket.simulate.types import RESPONSE_TERMS, response_effects

__all__ = [
    "CANNIBALISATION",
    "HALO",
    "PRICE_FACTOR",
    "Lines",
    "StoreTrade",
    "Trade",
    "build_trade",
    "promotion_table",
    "trade_by_store",
]

# Category elasticity relative to the types' own, in the order of CATEGORIES; mean 1.
PRICE_FACTOR = np.array([1.10, 0.90, 0.80, 1.15, 1.05, 0.90, 1.15, 0.95])
# (promoted category, category that gains, log units when all of the promoted category's trade is in the mailer)
HALO = (
    ("Coffee and tea", "Breakfast", 0.30),
    ("Beer and wine", "Snacks", 0.35),
    ("Soft drinks", "Snacks", 0.20),
    ("Pasta, rice and world foods", "Dairy and plant-based", 0.22),
)
# Share of a promotion's extra units that substitutes in the same store lose.
CANNIBALISATION = 0.25
_DEPTHS = np.array([0.10, 0.15, 0.20, 0.25, 0.30, 0.33, 0.40])
_DEPTH_CHANCE = np.array([0.12, 0.18, 0.24, 0.20, 0.12, 0.08, 0.06])
_MECHANICS = np.array(
    ["price cut", "price cut", "price cut", "second at half price", "price cut", "3 for 2", "price cut"]
)
_STORE_WEEK_SPREAD = 0.05
_PAIR_WEEK_SPREAD = 0.10


@dataclass(frozen=True)
class Lines:
    """Lines of sales of one store, int32 each: SKU (column), week, units sold (at least 1), cents a unit."""

    sku: np.ndarray
    week: np.ndarray
    units: np.ndarray
    cents: np.ndarray

    @property
    def takings(self) -> np.ndarray:
        """Money of each line in cents, int64."""
        return self.units.astype(np.int64) * self.cents


@dataclass(frozen=True)
class StoreTrade:
    """What one store sold.

    Attributes
    ----------
    lines : Lines
    expected, if_listed : ndarray of shape (n_skus,)
        The store's rows of those of :class:`Trade`.
    promotions : tuple of ndarray
        Store, SKU, week, depth, mechanic, display and mailer of every offer it ran.
    """

    lines: Lines
    expected: np.ndarray
    if_listed: np.ndarray
    promotions: tuple[np.ndarray, ...]


@dataclass(frozen=True)
class Trade:
    """What was sold, at which price, and what had been expected.

    Attributes
    ----------
    store, sku, week : ndarray of int32
        Row, column and week of each line of sales.
    units : ndarray of int32
        Units sold, at least 1.
    cents : ndarray of int32
        Price of one unit in cents, after any discount.
    expected : ndarray of shape (n_stores, n_skus)
        Poisson mean of the units over the whole window.
    if_listed : ndarray of shape (n_stores, n_skus)
        Poisson mean of the units of one week, averaged over the window, had the pair been listed throughout.
    promotions : DataFrame
        The market's table of that name.
    """

    store: np.ndarray
    sku: np.ndarray
    week: np.ndarray
    units: np.ndarray
    cents: np.ndarray
    expected: np.ndarray
    if_listed: np.ndarray
    promotions: pd.DataFrame

    def lines(self, rows: slice) -> Lines:
        """Return some lines, of one store."""
        return Lines(self.sku[rows], self.week[rows], self.units[rows], self.cents[rows])

    @property
    def takings(self) -> np.ndarray:
        """Money of each line in cents, int64."""
        return self.units.astype(np.int64) * self.cents


def build_trade(
    settings: SimulationSettings, network: Network, skus: Range, demand: Demand, periods: np.ndarray
) -> Trade:
    """Return sales and promotions of the whole chain."""
    stores = list(trade_by_store(settings, network, skus, demand))
    columns = {
        name: np.concatenate([getattr(store.lines, name) for store in stores])
        for name in ("sku", "week", "units", "cents")
    }
    return Trade(
        store=np.repeat(np.arange(len(stores), dtype=np.int32), [len(store.lines.sku) for store in stores]),
        **columns,
        expected=np.stack([store.expected for store in stores]),
        if_listed=np.stack([store.if_listed for store in stores]),
        promotions=promotion_table([store.promotions for store in stores], network, skus, periods),
    )


def trade_by_store(
    settings: SimulationSettings, network: Network, skus: Range, demand: Demand
) -> Iterator[StoreTrade]:
    """Yield the trade of one store after the other, each from its own random stream."""
    effects = network.mix @ response_effects(settings.localisation)
    calendar = _Calendar(settings, skus)
    base_cents = np.rint(skus.products["price"].to_numpy() * 100).astype(np.int64)
    region = pd.Categorical(network.stores["promo_region"], categories=PROMO_REGIONS).codes
    large = network.stores["format"].eq("hypermarket").to_numpy()
    for store in range(len(demand.rate)):
        rng = settings.stream("sales", store)
        listed = _listed(demand, store, settings.weeks)
        plan = calendar.for_store(settings.stream("promotions", 1, store), region[store], bool(large[store]))
        usual = _usual_units(settings, rng, demand.rate[store], skus, listed)
        throughout = _promoted_units(usual, skus, plan, effects[store], listed)
        mean = np.where(listed, throughout, 0.0)
        units = rng.poisson(mean)
        sku, week = np.nonzero(units)
        cents = np.rint(base_cents[:, None] * (1 - plan.depth)).astype(np.int64)
        columns = (sku, week, units[sku, week], cents[sku, week])
        yield StoreTrade(
            Lines(*(column.astype(np.int32) for column in columns)),
            expected=mean.sum(axis=1),
            if_listed=throughout.mean(axis=1),
            promotions=_promotion_lines(store, plan, listed),
        )


@dataclass(frozen=True)
class _StorePlan:
    """Promotions of one store, arrays of shape (n_skus, weeks)."""

    depth: np.ndarray
    mechanic: np.ndarray
    display: np.ndarray
    mailer: np.ndarray


class _Calendar:
    """Promotions by region: who is on offer when, how deep, and whether in the mailer.

    Timing is drawn without regard to season or demand, and apart for each region, so that the effects are
    identified; real chains time offers to demand peaks.
    """

    def __init__(self, settings: SimulationSettings, skus: Range) -> None:
        n, weeks = settings.n_skus, settings.weeks
        shape = (len(PROMO_REGIONS), n, weeks)
        self.depth = np.zeros(shape)
        self.mechanic = np.zeros(shape, dtype=np.int8)
        self.mailer = np.zeros(shape, dtype=bool)
        tier = skus.products["tier"].map({"own label": 18.0, "mainstream": 11.0, "premium": 13.0}).to_numpy()
        slots = weeks // 6 + 2
        for region in range(len(PROMO_REGIONS)):
            draw = settings.stream("promotions", 0, region).random((n, slots, 5))
            gap = 5 + np.floor(-np.log1p(-draw[..., 0]) * (tier[:, None] - 5)).astype(int)
            gap[:, 0] = np.floor(draw[:, 0, 0] * tier).astype(int)
            start = np.cumsum(gap, axis=1)
            deal = np.searchsorted(np.cumsum(_DEPTH_CHANCE), draw[..., 1]).clip(0, len(_DEPTHS) - 1)
            mailer = draw[..., 2] < 0.40
            for extra in (0, 1):
                on = (start + extra < weeks) & ((extra == 0) | (draw[..., 3] < 0.35))
                sku, slot = np.nonzero(on)
                week = start[sku, slot] + extra
                self.depth[region, sku, week] = _DEPTHS[deal[sku, slot]]
                self.mechanic[region, sku, week] = deal[sku, slot]
                self.mailer[region, sku, week] = mailer[sku, slot]

    def for_store(self, rng: np.random.Generator, region: int, large: bool) -> _StorePlan:
        """The region's calendar as one store runs it: some offers left out, displays as space allows."""
        shape = self.depth.shape[1:]
        draw = rng.random(shape, dtype=np.float32)
        runs = (self.depth[region] > 0) & (draw < 0.93)
        display = runs & (rng.random(shape, dtype=np.float32) < (0.42 if large else 0.27))
        return _StorePlan(
            depth=np.where(runs, self.depth[region], 0.0),
            mechanic=self.mechanic[region],
            display=display,
            mailer=runs & self.mailer[region],
        )


def _listed(demand: Demand, store: int, weeks: int) -> np.ndarray:
    week = np.arange(weeks)[None, :]
    return (week >= demand.first[store][:, None]) & (week < demand.last[store][:, None])


def _usual_units(
    settings: SimulationSettings, rng: np.random.Generator, rate: np.ndarray, skus: Range, listed: np.ndarray
) -> np.ndarray:
    """Units of one store without promotions, for every SKU as if listed, shape (n_skus, weeks)."""
    absent = np.where(listed, 0.0, rate[:, None])
    usual = (rate[:, None] + substitution_inflow(absent, skus)) * skus.season
    # Weather and events move the whole store; small local surprises move one product for one week.
    usual *= np.exp(_STORE_WEEK_SPREAD * rng.normal(size=settings.weeks) - _STORE_WEEK_SPREAD**2 / 2)
    return usual * np.exp(_PAIR_WEEK_SPREAD * rng.normal(size=usual.shape) - _PAIR_WEEK_SPREAD**2 / 2)


def _promoted_units(
    usual: np.ndarray, skus: Range, plan: _StorePlan, effects: np.ndarray, listed: np.ndarray
) -> np.ndarray:
    """Poisson mean of one store for every SKU as if listed; only what is listed acts on other SKUs."""
    price, display, mailer, dip = effects
    on = plan.depth > 0
    log_uplift = price * PRICE_FACTOR[skus.category][:, None] * np.log1p(-plan.depth)
    log_uplift += display * plan.display + mailer * plan.mailer
    after = np.zeros_like(on)
    after[:, 1:] = on[:, :-1] & ~on[:, 1:]
    mean = usual * np.exp(log_uplift + dip * after + _halo(usual * listed, skus, plan.mailer))
    extra = usual * listed * np.expm1(log_uplift)
    taken = CANNIBALISATION * (skus.substitutes.T @ extra)
    # Substitutes may take much of a product's trade, never all of it.
    return np.maximum(mean - taken, 0.3 * mean)


def _halo(base: np.ndarray, skus: Range, mailed: np.ndarray) -> np.ndarray:
    """Log lift of each SKU from the mailed share of the complementary category's usual trade."""
    codes = list(CATEGORIES)
    lift = np.zeros((len(codes), base.shape[1]))
    for source, target, strength in HALO:
        member = skus.category == codes.index(source)
        total = base[member].sum(axis=0)
        mailed_units = np.where(mailed[member], base[member], 0.0).sum(axis=0)
        lift[codes.index(target)] += strength * np.divide(
            mailed_units, total, out=np.zeros_like(total), where=total > 0
        )
    return lift[skus.category]


def _promotion_lines(store: int, plan: _StorePlan, listed: np.ndarray) -> tuple[np.ndarray, ...]:
    sku, week = np.nonzero((plan.depth > 0) & listed)
    return (
        np.full(len(sku), store),
        sku,
        week,
        plan.depth[sku, week],
        plan.mechanic[sku, week],
        plan.display[sku, week],
        plan.mailer[sku, week],
    )


def promotion_table(
    lines: Sequence[tuple[np.ndarray, ...]], network: Network, skus: Range, periods: np.ndarray
) -> pd.DataFrame:
    """Return the offers of some stores as the market's table."""
    store, sku, week, depth, mechanic, display, mailer = (np.concatenate(parts) for parts in zip(*lines))
    return pd.DataFrame(
        {
            "store_id": network.stores["store_id"].to_numpy()[store],
            "sku": skus.products["sku"].to_numpy()[sku],
            "period": periods[week],
            "depth": depth,
            "mechanic": _MECHANICS[mechanic],
            "display": display,
            "mailer": mailer,
        }
    )


def effects_by_store(settings: SimulationSettings, network: Network) -> pd.DataFrame:
    """Promotion effects averaged over each store's catchment mix."""
    effects = network.mix @ response_effects(settings.localisation)
    return pd.DataFrame(effects, index=network.stores["store_id"], columns=list(RESPONSE_TERMS))
