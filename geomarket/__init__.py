"""geomarket: a geodemographic local-marketing planner on H3 hexagons.

From raw tables to a plan per store cluster: who lives where, who shops where, which SKUs to list and which
promotions to run, and whether going local pays.

>>> import geomarket
>>> market = geomarket.simulate_market(n_customers=500, n_stores=6, n_skus=40, weeks=12)
>>> len(market.stores)
6
"""

from importlib.metadata import version as _version

from geomarket.assortment import RangeLimit, RangePlan, RangeRules, SolverOptions, plan_ranges
from geomarket.catchments import (
    Catchments,
    Huff,
    distance_pairs,
    map_catchments,
    trade_areas,
    what_if,
)
from geomarket.customers import (
    CustomerValue,
    Penetration,
    penetration,
    place_customers,
    value_customers,
)
from geomarket.datasets import boundary_sources, load_boundaries, load_iowa
from geomarket.demand import Demand, NewListingDiscount, fit_demand, learn_discount
from geomarket.engine import (
    connect,
    customer_store_trips,
    customer_totals,
    periods_of,
    sales_by_period,
    store_sku_periods,
)
from geomarket.errors import (
    CoverageWarning,
    FitWarning,
    GeomarketError,
    GeomarketWarning,
    InfeasibleError,
    MissingDataError,
    NotSupportedError,
    SettingsError,
    SolverError,
    TableError,
)
from geomarket.frontier import Frontier, Verdict, fold_sales, local_frontier
from geomarket.hexes import (
    Hexes,
    HexLayer,
    advise_resolution,
    build_hexes,
    cell_areas_km2,
    cell_centres,
    cell_polygons,
    cell_strings,
    cells_from_strings,
    coarsen,
    interpolate,
    neighbours,
    parents,
    points_to_cells,
    smooth,
)
from geomarket.hexmap import explore_cells
from geomarket.market import (
    AreaLayer,
    Market,
    PlanSettings,
    Variable,
    baskets_table,
    load_market,
    parse_settings,
    quality_report,
    read_settings,
    sales_table,
    stop_reasons,
    write_template,
)
from geomarket.neighbourhoods import NeighbourhoodClassifier, Neighbourhoods, classify, index_table
from geomarket.planning import Plan, demo_plan, run_plan, write_outputs
from geomarket.promotions import (
    PromotionPlan,
    PromotionResponse,
    PromotionRules,
    fit_response,
    plan_promotions,
    promotion_panel,
)
from geomarket.report import write_report, write_workbook
from geomarket.safeguards import suppress_counts
from geomarket.simulate import SimulatedTruth, simulate_market
from geomarket.store_clusters import (
    StoreClustering,
    StoreFeatures,
    category_mix,
    cluster_range,
    cluster_stores,
    describe_clusters,
    store_features,
)

__version__ = _version("geomarket")

__all__ = [
    "AreaLayer",
    "Catchments",
    "CoverageWarning",
    "CustomerValue",
    "Demand",
    "FitWarning",
    "Frontier",
    "GeomarketError",
    "GeomarketWarning",
    "HexLayer",
    "Hexes",
    "Huff",
    "InfeasibleError",
    "Market",
    "MissingDataError",
    "NeighbourhoodClassifier",
    "Neighbourhoods",
    "NewListingDiscount",
    "NotSupportedError",
    "Penetration",
    "Plan",
    "PlanSettings",
    "PromotionPlan",
    "PromotionResponse",
    "PromotionRules",
    "RangeLimit",
    "RangePlan",
    "RangeRules",
    "SettingsError",
    "SimulatedTruth",
    "SolverError",
    "SolverOptions",
    "StoreClustering",
    "StoreFeatures",
    "TableError",
    "Variable",
    "Verdict",
    "__version__",
    "advise_resolution",
    "baskets_table",
    "boundary_sources",
    "build_hexes",
    "category_mix",
    "cell_areas_km2",
    "cell_centres",
    "cell_polygons",
    "cell_strings",
    "cells_from_strings",
    "classify",
    "cluster_range",
    "cluster_stores",
    "coarsen",
    "connect",
    "customer_store_trips",
    "customer_totals",
    "demo_plan",
    "describe_clusters",
    "distance_pairs",
    "explore_cells",
    "fit_demand",
    "fit_response",
    "fold_sales",
    "index_table",
    "interpolate",
    "learn_discount",
    "load_boundaries",
    "load_iowa",
    "load_market",
    "local_frontier",
    "map_catchments",
    "neighbours",
    "parents",
    "parse_settings",
    "penetration",
    "periods_of",
    "place_customers",
    "plan_promotions",
    "plan_ranges",
    "points_to_cells",
    "promotion_panel",
    "quality_report",
    "read_settings",
    "run_plan",
    "sales_by_period",
    "sales_table",
    "simulate_market",
    "smooth",
    "stop_reasons",
    "store_features",
    "store_sku_periods",
    "suppress_counts",
    "trade_areas",
    "value_customers",
    "what_if",
    "write_outputs",
    "write_report",
    "write_template",
    "write_workbook",
]
