"""What each store cluster should list: ranges by mixed-integer programming, with reasons."""

from __future__ import annotations

from geomarket.assortment.milp import SolverOptions
from geomarket.assortment.ranges import RangePlan, plan_ranges
from geomarket.assortment.rules import RangeRules
from geomarket.assortment.spaces import planogram_sizes

__all__ = ["RangePlan", "RangeRules", "SolverOptions", "plan_ranges", "planogram_sizes"]
