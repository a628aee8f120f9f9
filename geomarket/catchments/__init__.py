"""Who shops where: Huff's model on flows or store totals, catchments, trade areas and whitespace."""

from geomarket.catchments.distances import distance_pairs, great_circle_km, nearest_stores
from geomarket.catchments.huff import Huff
from geomarket.catchments.mapping import Catchments, map_catchments
from geomarket.catchments.mci import fit_log_centred
from geomarket.catchments.trade_areas import trade_areas
from geomarket.catchments.whatif import WhatIf, rank_sites, what_if

__all__ = [
    "Catchments",
    "Huff",
    "WhatIf",
    "distance_pairs",
    "fit_log_centred",
    "great_circle_km",
    "map_catchments",
    "nearest_stores",
    "rank_sites",
    "trade_areas",
    "what_if",
]
