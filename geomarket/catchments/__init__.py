"""Who shops where: Huff's model on flows or store totals, catchments, trade areas, whitespace and what-ifs."""

from geomarket.catchments.distances import distance_pairs, great_circle_km, nearest_stores
from geomarket.catchments.huff import Huff
from geomarket.catchments.mapping import Catchments, map_catchments
from geomarket.catchments.mci import fit_log_centred
from geomarket.catchments.observed import observed_areas
from geomarket.catchments.reach import distance_decay, store_overlap, store_reach
from geomarket.catchments.streaming import Evaluation, evaluate
from geomarket.catchments.trade_areas import trade_areas
from geomarket.catchments.twins import Voids, find_voids, stores_in_areas, twin_areas
from geomarket.catchments.whatif import WhatIf, rank_sites, what_if

__all__ = [
    "Catchments",
    "Evaluation",
    "Huff",
    "Voids",
    "WhatIf",
    "distance_decay",
    "distance_pairs",
    "evaluate",
    "find_voids",
    "fit_log_centred",
    "great_circle_km",
    "map_catchments",
    "nearest_stores",
    "observed_areas",
    "rank_sites",
    "store_overlap",
    "store_reach",
    "stores_in_areas",
    "trade_areas",
    "twin_areas",
    "what_if",
]
