"""How local to go: what 1, 2, 3 … store clusters gain, judged on periods the ranges were not planned on.

Ranges planned for each store look best on the figures they were planned from, and most of that lead is chance: the
winner's curse. So trade is dealt into three folds of alternating blocks. Ranges are planned on the first, their
number is chosen on the second, and what it gains is reported on the third. The planner here is deliberately simple
(rank by margin per unit of space and fill each store's own space), so that it is the same for every number of
clusters, and fast.
"""

from geomarket.frontier.by_category import CategoryFrontiers, category_frontiers
from geomarket.frontier.folds import FoldedSales, deal_periods, fold_sales
from geomarket.frontier.model import Frontier, Verdict, fold_demand, local_frontier

__all__ = [
    "CategoryFrontiers",
    "FoldedSales",
    "Frontier",
    "Verdict",
    "category_frontiers",
    "deal_periods",
    "fold_demand",
    "fold_sales",
    "local_frontier",
]
