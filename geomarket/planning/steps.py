"""The stages of a plan, in order, from the market to the verdict."""

from __future__ import annotations

import logging
import resource
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

import pandas as pd

from geomarket import engine
from geomarket.catchments import Catchments, map_catchments
from geomarket.customers import Penetration, penetration, place_customers, value_customers
from geomarket.errors import SettingsError
from geomarket.hexes import Hexes, build_hexes, points_to_cells
from geomarket.market import Market, PlanSettings
from geomarket.neighbourhoods import NeighbourhoodClassifier, Neighbourhoods, classify

__all__ = ["STAGES", "Stopwatch", "find_catchments", "find_customers", "find_hexes", "find_neighbourhoods"]

_log = logging.getLogger(__name__)

STAGES = (
    "Hexagons",
    "Neighbourhoods",
    "Customers",
    "Catchments",
    "Store clusters",
    "How local to go",
    "Demand",
    "Ranges",
    "Promotions",
)


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
        seconds = time.perf_counter() - start
        self.rows.append({"stage": name, "seconds": seconds, "peak_mb": _peak_mb()})
        _log.info("%s: %.1f s, peak %.0f MB", name, seconds, _peak_mb())

    def table(self) -> pd.DataFrame:
        """Return stage, seconds, peak_mb."""
        return pd.DataFrame(self.rows, columns=["stage", "seconds", "peak_mb"])


def _peak_mb() -> float:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)


def find_hexes(market: Market, settings: PlanSettings) -> Hexes:
    """Bring every layer of areas onto one grid of hexagons."""
    resolution = settings.hexes.resolution
    if resolution == "auto":
        resolution = fitting_resolution(market)
    points = market.points if settings.hexes.points else None
    return build_hexes(market.areas, resolution, points)


def fitting_resolution(market: Market) -> int:
    """Return the resolution whose cells are about as large as the smaller areas of the finest layer.

    Finer cells would show detail that the areas do not hold; coarser ones would blur the towns, where areas are small
    and customers many. "About": the cell size nearest, in logs, to the lower quartile of the areas' sizes.
    """
    import h3
    import numpy as np

    areas = market.areas[0].frame.geometry.to_crs("EPSG:6933").area / 1e6
    wanted = np.log(areas[areas > 0].quantile(0.25))
    return min(range(4, 11), key=lambda r: abs(np.log(h3.average_hexagon_area(r, "km^2")) - wanted))


def find_neighbourhoods(hexes: Hexes, settings: PlanSettings) -> Neighbourhoods:
    """Group the hexagons into types of neighbourhood."""
    chosen = settings.neighbourhoods
    unknown = sorted(set(chosen.exclude) - {variable.name for variable in hexes.variables})
    if unknown:
        raise SettingsError(
            f"[neighbourhoods] exclude names {', '.join(unknown)}, which no layer of areas has; "
            f"it has {', '.join(variable.name for variable in hexes.variables)}."
        )
    described = tuple(
        replace(variable, classify=variable.classify and variable.name not in chosen.exclude)
        for variable in hexes.variables
    )
    classifier = NeighbourhoodClassifier(
        chosen.levels,
        transform=chosen.transform,
        scaling=chosen.scaling,
        max_correlation=chosen.max_correlation,
        min_population=chosen.min_population,
        n_init=chosen.n_init,
        weights=chosen.weights or None,
        random_state=settings.plan.seed,
    )
    return classify(replace(hexes, variables=described), classifier=classifier, random_state=settings.plan.seed)


def find_customers(
    market: Market, hexes: Hexes, neighbourhoods: Neighbourhoods, settings: PlanSettings
) -> tuple[Penetration, pd.DataFrame | None]:
    """Place and value the customers; return penetration by type and cell, and their trips (cell, store_id, trips)."""
    assert market.customers is not None
    placed = place_customers(market.customers, hexes.resolution, hexes.table["cell"])
    value, flows = None, None
    if market.baskets is not None:
        totals = engine.customer_totals(market.baskets, market.products)
        chosen = settings.customers
        value = value_customers(totals, chosen.as_of, chosen.heavy_share, chosen.medium_share).table
        trips = engine.customer_store_trips(market.baskets).merge(placed.table, on="customer_id")
        flows = trips.groupby(["cell", "store_id"], as_index=False).agg(trips=("trips", "sum"))
    counted = penetration(
        placed.table, hexes.table, neighbourhoods.table, value, confidence=settings.customers.confidence
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
    given = chosen.fit == "given"
    return map_catchments(
        hexes.table,
        market.stores,
        market.competitors,
        flows=None if given or chosen.fit == "totals" else flows,
        totals=None if given or chosen.fit == "flows" else totals,
        neighbourhoods=neighbourhoods.table,
        travel=_travel_of(market, hexes),
        attraction=list(chosen.attraction) if "attraction" in chosen.model_fields_set else None,
        decay=chosen.decay,
        k_nearest=chosen.k_nearest,
        floor_km=chosen.floor_km,
        max_km=chosen.max_km,
        parameters={"log_size": chosen.size_exponent, "log_km": -chosen.distance_exponent} if given else None,
        fit_year=int(years[0]) if len(years) == 2 else None,
        judge_year=int(years[1]) if len(years) == 2 else None,
        bands=chosen.bands,
        random_state=settings.plan.seed,
    )


def _travel_of(market: Market, hexes: Hexes) -> pd.DataFrame | None:
    """Return the travel table if its cells are of the plan's resolution."""
    from geomarket.hexes import cell_resolutions

    if market.travel is None:
        return None
    if (cell_resolutions(market.travel["cell"].to_numpy()) != hexes.resolution).any():
        _log.warning("travel: cells are of another resolution than the plan's %d; not used", hexes.resolution)
        return None
    return market.travel


def store_cells(stores: pd.DataFrame, hexes: Hexes) -> pd.Series:
    """Return the cell of every store."""
    return pd.Series(points_to_cells(stores["lon"], stores["lat"], hexes.resolution), index=stores.index)
