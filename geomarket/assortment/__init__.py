"""What each store cluster should list: ranges by mixed-integer programming, with reasons."""

from __future__ import annotations

from geomarket.assortment.ranges import RangePlan, plan_ranges
from geomarket.assortment.rules import RangeLimit, RangeRules
from geomarket.assortment.solving import SolverOptions
from geomarket.assortment.spaces import planogram_sizes
from geomarket.assortment.substitutes import strongest_substitutes
from geomarket.assortment.valuation import range_margins

__all__ = [
    "RangeLimit",
    "RangePlan",
    "RangeRules",
    "SolverOptions",
    "plan_ranges",
    "planogram_sizes",
    "range_margins",
    "strongest_substitutes",
]
