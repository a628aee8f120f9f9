"""The stages of a plan, in order, from the market to the verdict."""

from __future__ import annotations

import ctypes
import logging
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

import h3
import numpy as np
import pandas as pd
import pyarrow as pa

from geomarket import engine
from geomarket.catchments import Catchments, map_catchments
from geomarket.customers import Penetration, penetration, place_customers, value_customers
from geomarket.demand import (
    ClusterFamily,
    Demand,
    Family,
    LowRank,
    MixAffinity,
    NearestByMix,
    NearestBySales,
    NewListingDiscount,
    fit_demand,
    learn_discount,
)
from geomarket.errors import NotSupportedError
from geomarket.frontier import FoldedSales, Frontier, local_frontier
from geomarket.frontier.ranges import fit_fold
from geomarket.hexes import Hexes, build_hexes, cell_resolutions, points_to_cells, with_categories
from geomarket.market import Market, PlanSettings
from geomarket.neighbourhoods import Neighbourhoods
from geomarket.planning.trade import Trade
from geomarket.store_clusters import StoreFeatures, cluster_range

_log = logging.getLogger(__name__)

DEMAND_CLUSTERS = 8
"""Store clusters that the demand forecasts may lean on, whatever the number of ranges."""


@dataclass
class Stopwatch:
    """Times the stages, logs them, and tells whoever shows progress."""

    on_stage: Callable[[str], None]
    rows: list[dict[str, object]] = field(default_factory=list)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Announce a stage and note its seconds and the process's peak memory so far."""
        self.on_stage(name)
        start = time.perf_counter()
        yield
        _hand_back()
        seconds = time.perf_counter() - start
        self.rows.append({"stage": name, "seconds": seconds, "peak_mb": _peak_mb()})
        _log.info("%s: %.1f s, peak %.0f MB", name, seconds, _peak_mb())

    def table(self) -> pd.DataFrame:
        """Return stage, seconds, peak_mb."""
        return pd.DataFrame(self.rows, columns=["stage", "seconds", "peak_mb"])


def _hand_back() -> None:
    """Give memory that was let go back to the system: the next stage may need it in other sizes, or in workers."""
    pa.default_memory_pool().release_unused()
    with suppress(OSError, AttributeError, TypeError):  # only glibc has it
        ctypes.CDLL(None).malloc_trim(0)


def _peak_mb() -> float:
    try:
        import resource
    except ImportError:  # Windows
        return float("nan")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)


def find_hexes(market: Market, settings: PlanSettings) -> Hexes:
    """Bring every layer of areas onto one grid of hexagons."""
    resolution = settings.hexes.resolution
    if resolution == "auto":
        resolution = fitting_resolution(market)
    points = market.points if settings.hexes.points else None
    layers = []
    for layer in market.areas:
        for chosen in (c for area in settings.areas if area.name == layer.name for c in area.categories):
            layer = with_categories(layer, chosen.column, chosen.by, chosen.classify, chosen.protected)
        layers.append(layer)
    return build_hexes(layers, resolution, points)


def fitting_resolution(market: Market) -> int:
    """Return the resolution whose cells are about as large as the smaller areas of the finest layer.

    Finer cells would show detail that the areas do not hold; coarser ones would blur the towns, where areas are small
    and customers many. "About": the cell size nearest, in logs, to the lower quartile of the areas' sizes.
    """
    areas = market.areas[0].frame.geometry.to_crs("EPSG:6933").area / 1e6
    wanted = np.log(areas[areas > 0].quantile(0.25))
    return min(range(4, 11), key=lambda r: abs(np.log(h3.average_hexagon_area(r, "km^2")) - wanted))


def find_customers(
    market: Market, hexes: Hexes, neighbourhoods: Neighbourhoods, settings: PlanSettings
) -> tuple[Penetration, pd.DataFrame | None]:
    """Place and value the customers; return penetration by type and cell, and trips by cell and store."""
    assert market.customers is not None
    placed = place_customers(market.customers, hexes.resolution, hexes.table["cell"])
    value, flows = None, None
    if market.baskets is not None:
        totals = engine.customer_totals(market.baskets, market.products)
        chosen = settings.customers
        value = value_customers(totals, chosen.as_of, chosen.heavy_share, chosen.medium_share).table
        trips = engine.customer_store_trips(market.baskets).merge(placed.table, on="customer_id")
        flows = trips.groupby(["cell", "store_id"], as_index=False).agg(
            trips=("trips", "sum"), customers=("customer_id", "nunique")
        )
    counted = penetration(
        placed.table,
        hexes.table,
        neighbourhoods.table,
        value,
        confidence=settings.customers.confidence,
        outside=len(placed.unplaced),
    )
    return counted, flows


def find_catchments(
    market: Market,
    hexes: Hexes,
    neighbourhoods: Neighbourhoods,
    flows: pd.DataFrame | None,
    settings: PlanSettings,
) -> Catchments:
    """Work out who shops where."""
    chosen = settings.catchments
    totals = market.store_totals
    years = sorted(totals["year"].unique())[-2:] if totals is not None else []
    if totals is None and flows is not None:
        totals = _own_totals(market)
    given = chosen.fit == "given"
    return map_catchments(
        hexes.table,
        market.stores,
        market.competitors,
        flows=None if given or chosen.fit == "totals" else flows,
        totals=None if given or chosen.fit == "flows" else totals,
        neighbourhoods=neighbourhoods.table,
        travel=_travel_of(market, hexes),
        attraction=list(chosen.attraction) if given or "attraction" in chosen.model_fields_set else None,
        decay=chosen.decay,
        k_nearest=chosen.k_nearest,
        distance=chosen.distance,
        loss=chosen.loss,
        outside_share=chosen.outside_share,
        floor_km=chosen.floor_km,
        max_km=chosen.max_km,
        parameters={"log_size": chosen.size_exponent, "distance": -chosen.distance_exponent}
        if given
        else None,
        fit_year=int(years[0]) if len(years) == 2 else None,
        judge_year=int(years[1]) if len(years) == 2 else None,
        bands=chosen.bands,
        random_state=settings.plan.seed,
    )


def _own_totals(market: Market) -> pd.DataFrame:
    """Return own stores' revenue a year: the money catchments share out where no totals are given."""
    revenue = engine.sales_by_period(market.sales, ("store_id",)).groupby("store_id")["revenue"].sum()
    periods = len(engine.periods_of(market.sales))
    yearly = (revenue * market.periods_per_year / periods).rename("revenue").reset_index()
    return yearly.assign(year=0)


def _travel_of(market: Market, hexes: Hexes) -> pd.DataFrame | None:
    """Return the travel table if its cells are of the plan's resolution."""
    if market.travel is None:
        return None
    if (cell_resolutions(market.travel["cell"].to_numpy()) != hexes.resolution).any():
        _log.warning("travel: cells are of another resolution than the plan's %d; not used", hexes.resolution)
        return None
    return market.travel


def store_cells(stores: pd.DataFrame, hexes: Hexes) -> pd.Series:
    """Return the cell of every store."""
    return pd.Series(points_to_cells(stores["lon"], stores["lat"], hexes.resolution), index=stores.index)


def demand_families(
    market: Market, trade: Trade, features: StoreFeatures, settings: PlanSettings
) -> list[Family]:
    """Return the kinds of demand model the settings ask for; each category takes the one that does best held out."""
    asked = settings.demand.families
    points = features.points()
    found: list[Family] = []
    if "cluster" in asked and len(trade.stores) > DEMAND_CLUSTERS:
        fine = cluster_range(
            features,
            DEMAND_CLUSTERS,
            numbers=[DEMAND_CLUSTERS],
            n_bootstrap=2,
            random_state=settings.plan.seed,
        )
        found.append(ClusterFamily(fine.labels[DEMAND_CLUSTERS]))
    if "neighbours" in asked:
        found += [NearestByMix(points), NearestBySales()]
    if "mix" in asked:
        found.append(MixAffinity(points, trade.products, tuple(market.product_attributes)))
    if "factors" in asked:
        found.append(LowRank())
    return found


def learn_new_listing_discount(
    trade: Trade, families: Sequence[Family], settings: PlanSettings
) -> tuple[NewListingDiscount | None, str]:
    """Learn from pairs listed in the second half of the window how far forecasts for unlisted pairs run high."""
    if settings.demand.new_listing_discount == "none":
        return None, "The new-listing discount is switched off: forecasts of unlisted SKUs run high."
    middle = trade.periods[len(trade.periods) // 2]
    early = engine.store_sku_periods(trade.sales, (None, middle))
    late = engine.store_sku_periods(trade.sales, (middle, None))
    half = len(trade.periods) // 2
    try:
        before = fit_demand(
            early,
            trade.stores,
            trade.products,
            None,
            half,
            families=families,
            tune=False,
            calendar=trade.periods[:half],
            random_state=settings.plan.seed,
        )
        learnt = learn_discount(before, late, len(trade.periods) - half, calendar=trade.periods[half:])
    except NotSupportedError as reason:
        return None, f"No new-listing discount could be learnt: {reason}"
    return learnt, ""


def find_fold_demand(
    folds: FoldedSales,
    number: int,
    trade: Trade,
    families: Sequence[Family],
    discount: NewListingDiscount | None,
    settings: PlanSettings,
) -> Demand:
    """Forecast from one fold of the periods alone: to plan on (0), to choose by (1), or to report on (2)."""
    return fit_fold(
        folds,
        number,
        trade.stores,
        trade.products,
        families=families[-1:],  # one is fitted in each of three folds: the one that carries most local taste
        discount=discount,
        random_state=settings.plan.seed,
    )


def find_frontier(
    market: Market,
    trade: Trade,
    clusterings: Mapping[int, pd.Series],
    folds: FoldedSales,
    fits: Sequence[Demand],
    discount: NewListingDiscount | None,
    settings: PlanSettings,
) -> Frontier:
    """Weigh every number of store clusters against one national range, out of sample."""
    return local_frontier(
        folds,
        trade.stores,
        trade.products,
        clusterings,
        periods_per_year=market.periods_per_year,
        fits=fits,
        discount=discount,
        space=settings.assortment.space,
        today=trade.today,
        cost_per_cluster=settings.frontier.cost_per_cluster,
        cost_per_sku=settings.assortment.cost_per_sku,
        currency=market.currency,
        random_state=settings.plan.seed,
    )


def find_demand(
    trade: Trade, families: Sequence[Family], discount: NewListingDiscount | None, settings: PlanSettings
) -> Demand:
    """Forecast what each store would sell of each SKU."""
    return fit_demand(
        trade.pairs,
        trade.stores,
        trade.products,
        None,
        len(trade.periods),
        families=families,
        tune=False,
        discount=discount,
        calendar=trade.periods,
        holdout_share=settings.demand.holdout_share,
        random_state=settings.plan.seed,
    )
