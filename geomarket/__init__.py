"""geomarket: a geodemographic local-marketing planner on H3 hexagons.

From raw tables to a plan per store cluster: who lives where, who shops where, which SKUs to list and which
promotions to run, and whether going local pays.

>>> import geomarket
>>> market = geomarket.simulate_market(n_customers=500, n_stores=6, n_skus=40, weeks=12)
>>> len(market.stores)
6
"""

from importlib.metadata import version as _version

import lazy_loader as _lazy

__version__ = _version("geomarket")

# Every public name, by the room it lives in. Rooms are imported when first used: a worker process that needs one
# of them does not wait for all.
__getattr__, __dir__, __all__ = _lazy.attach(
    __name__,
    submod_attrs={
        "assortment": [
            "RangeLimit",
            "RangePlan",
            "RangeRules",
            "SolverOptions",
            "plan_ranges",
        ],
        "catchments": [
            "Catchments",
            "Huff",
            "distance_pairs",
            "map_catchments",
            "trade_areas",
            "what_if",
        ],
        "customers": [
            "CustomerValue",
            "Penetration",
            "penetration",
            "place_customers",
            "value_customers",
        ],
        "datasets": [
            "boundary_sources",
            "load_boundaries",
            "load_iowa",
        ],
        "demand": [
            "Demand",
            "NewListingDiscount",
            "fit_demand",
            "learn_discount",
        ],
        "engine": [
            "connect",
            "customer_store_trips",
            "customer_totals",
            "periods_of",
            "sales_by_period",
            "store_sku_periods",
        ],
        "errors": [
            "CoverageWarning",
            "FitWarning",
            "GeomarketError",
            "GeomarketWarning",
            "InfeasibleError",
            "MissingDataError",
            "NotSupportedError",
            "SettingsError",
            "SolverError",
            "TableError",
        ],
        "frontier": [
            "Frontier",
            "Verdict",
            "fold_sales",
            "local_frontier",
        ],
        "hexes": [
            "HexLayer",
            "Hexes",
            "advise_resolution",
            "build_hexes",
            "cell_areas_km2",
            "cell_centres",
            "cell_polygons",
            "cell_strings",
            "cells_from_strings",
            "coarsen",
            "interpolate",
            "neighbours",
            "parents",
            "points_to_cells",
            "smooth",
        ],
        "hexmap": [
            "explore_cells",
        ],
        "market": [
            "AreaLayer",
            "Market",
            "PlanSettings",
            "Variable",
            "baskets_table",
            "load_market",
            "parse_settings",
            "quality_report",
            "read_settings",
            "sales_table",
            "stop_reasons",
            "write_template",
        ],
        "neighbourhoods": [
            "NeighbourhoodClassifier",
            "Neighbourhoods",
            "classify",
            "index_table",
        ],
        "planning": [
            "Plan",
            "demo_plan",
            "run_plan",
            "write_outputs",
        ],
        "promotions": [
            "PromotionPlan",
            "PromotionResponse",
            "PromotionRules",
            "fit_response",
            "plan_promotions",
            "promotion_panel",
        ],
        "report": [
            "write_report",
            "write_workbook",
        ],
        "safeguards": [
            "suppress_counts",
        ],
        "simulate": [
            "SimulatedTruth",
            "simulate_market",
        ],
        "store_clusters": [
            "StoreClustering",
            "StoreFeatures",
            "category_mix",
            "cluster_range",
            "cluster_stores",
            "describe_clusters",
            "store_features",
        ],
    },
)
