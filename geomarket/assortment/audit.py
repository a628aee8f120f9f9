"""A plan checked outside the solver: every rule from the facings alone, with no part of the program."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd

from geomarket.assortment.problem import RangeProblem
from geomarket.assortment.rules import RangeRules

__all__ = ["check_ranges"]


def check_ranges(
    problem: RangeProblem, rules: RangeRules, facings: npt.NDArray[np.int64], objective: float
) -> pd.DataFrame:
    """Recompute every rule.

    Parameters
    ----------
    problem : RangeProblem
        The category.
    rules : RangeRules
        What has to hold.
    facings : ndarray of int, shape (n_planograms, n_skus)
        The plan; 0 where not listed.
    objective : float
        What the solver claims it earns.

    Returns
    -------
    DataFrame
        rule, checked (number of conditions), worst_violation (0 where it holds; of space and money as a share). The
        line "money" is how far the claim exceeds what is recomputed here.
    """
    lines: list[tuple[str, int, float]] = []
    listed = facings > 0

    def check(rule: str, excess: npt.ArrayLike) -> None:
        values = np.atleast_1d(np.asarray(excess, dtype=float))
        lines.append((rule, values.size, float(max(0.0, values.max(initial=0.0)))))

    check("space", (facings @ problem.space - problem.capacity) / np.maximum(problem.capacity, 1.0))
    check("facings", facings.max(axis=1) - rules.max_facings)
    smaller, larger = problem.nested.T
    check("nested", np.maximum(facings[smaller] - facings[larger], 0).sum(axis=1))
    held = listed[problem.core_planograms(rules)]
    check("core", (~held[:, problem.core]).sum(axis=1))
    if rules.core_share > 0:
        need = problem.core_needed(rules)
        check("core_share", (need - problem.space[held.all(axis=0)].sum()) / max(need, 1.0))
    check("must_list", (problem.must & ~listed).sum(axis=1))
    check("must_not", (problem.banned & listed).sum(axis=1))
    if problem.slow is not None:
        check("case_pack", (problem.slow & listed).sum(axis=1))
    if rules.min_stores > 1:
        stores = problem.stores @ listed
        check("min_stores", np.where(stores > 0, rules.min_stores - stores, 0))
    if rules.max_distinct is not None:
        check("max_distinct", int(listed.any(axis=0).sum()) - rules.max_distinct)
    if rules.order_periods is not None and problem.order_units is not None and problem.units is not None:
        sold, needed = (problem.units * listed).sum(axis=0), problem.order_units
        check("order", np.where(listed.any(axis=0), (needed - sold) / np.where(needed > 0, needed, 1.0), 0.0))
    if (
        rules.max_changes is not None
        and problem.ranges_today is not None
        and problem.store_planogram is not None
    ):
        changes = (listed[problem.store_planogram] != problem.ranges_today).sum(axis=1)
        check("max_changes", changes - rules.max_changes)
    for limit in problem.limits:
        held_here = listed[np.ix_(limit.where, limit.members)].sum(axis=1)
        check("limit", np.maximum(limit.least - held_here, held_here - limit.most))
    worth = problem.worth(facings, rules)
    # Fewer distinct ranges than the solver paid for is no violation.
    check("money", (objective - worth) / max(1.0, abs(worth)))
    return pd.DataFrame(lines, columns=["rule", "checked", "worst_violation"])
