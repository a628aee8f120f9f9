"""The whole relationship: who is small in one category and big overall."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import rankdata

from geomarket.customers.coded import numbered
from geomarket.errors import SettingsError, TableError
from geomarket.results import Result

__all__ = ["Relationship", "relationship_value"]


@dataclass(frozen=True)
class Relationship(Result):
    """Customers a category would call small and the business as a whole big.

    Attributes
    ----------
    table : DataFrame
        category, customers (who buy in it), flagged (small here, big overall), value_here, value_overall (of the
        flagged: what they bring in the category and in all), share_overall (of the business' value).
    flags : DataFrame
        customer_id, category, here, overall: one row per flagged customer and category. Never publish it as it is.
    measure : str
        What value is: "margin" or "revenue".
    """

    table: pd.DataFrame
    flags: pd.DataFrame
    measure: str

    def summary(self) -> list[str]:
        """Return where a plan for one category would hit customers who matter elsewhere."""
        if self.table.empty or not self.table["flagged"].any():
            return ["No customer is small in a category and big overall."]
        top = self.table.sort_values(["share_overall", "category"], ascending=[False, True]).iloc[0]
        return [
            f"In {top['category']}, {top['flagged']:,} of {top['customers']:,} customers spend little there but are "
            f"among the business' best: {top['value_here']:,.0f} {self.measure} here stands for "
            f"{top['value_overall']:,.0f} overall ({top['share_overall']:.0%} of all {self.measure}). Cutting what "
            "they come for risks the rest."
        ]

    def plot(self, ax: Any = None) -> Any:
        """Draw, by category, the share of all value that flagged customers stand for."""
        import matplotlib.pyplot as plt

        axes = plt.subplots(figsize=(6, 0.3 * len(self.table) + 1))[1] if ax is None else ax
        rows = self.table.sort_values("share_overall")
        axes.barh(rows["category"].astype(str), rows["share_overall"])
        axes.set_xlabel(f"Share of all {self.measure} that customers small here stand for")
        return axes


def relationship_value(
    by_category: pd.DataFrame, measure: str = "margin", bottom: float = 0.5, top: float = 0.2
) -> Relationship:
    """Flag customers in the bottom half of a category who are in the top fifth of the business.

    Parameters
    ----------
    by_category : DataFrame
        customer_id, category (texts or categoricals), ``measure`` (:func:`geomarket.engine.customer_category`); rows
        of a missing category count in the total only.
    measure : str
        Column that is value: margin, or revenue where costs are unknown.
    bottom : float
        Share of a category's customers that counts as small there.
    top : float
        Share of all customers that counts as big overall.

    Returns
    -------
    Relationship

    Raises
    ------
    TableError
        A column is missing, or the measure is missing throughout.

    Notes
    -----
    Ranks among the customers who buy in a category; equal values share their average rank. Those who buy nothing in
    it have nothing to lose there and are not flagged.

    Examples
    --------
    >>> by_category = pd.DataFrame({"customer_id": list("aabcde"), "category": ["tea", "meat"] + ["tea"] * 4,
    ...     "margin": [1.0, 90.0, 2.0, 3.0, 4.0, 5.0]})
    >>> relationship_value(by_category).flags[["customer_id", "category", "overall"]].values.tolist()
    [['a', 'tea', 91.0]]
    """
    if not (0 < bottom < 1 and 0 < top < 1):
        raise SettingsError(f"bottom = {bottom}, top = {top}: shares between 0 and 1 are expected.")
    missing = [c for c in ("customer_id", "category", measure) if c not in by_category.columns]
    if missing:
        raise TableError(
            f"by_category: column(s) {', '.join(missing)} missing; customer_category makes such a table."
        )
    if by_category[measure].isna().all():
        raise TableError(
            f"by_category: {measure} is missing throughout. Give costs, or use measure = 'revenue'."
        )
    by_category = by_category.dropna(subset=["customer_id"])
    # Numbers for names, in the names' order: there may be tens of millions of rows.
    customer, names = numbered(by_category["customer_id"])
    here = by_category[measure].astype(float).fillna(0.0).to_numpy()
    overall = np.bincount(customer, weights=here, minlength=len(names))
    big = pd.Series(overall).rank(pct=True, method="average").to_numpy() > 1 - top
    category, categories = numbered(by_category["category"])
    known, n = category >= 0, max(len(names), 1)
    pairs, row = np.unique(category[known].astype(np.int64) * n + customer[known], return_inverse=True)
    worth = np.bincount(row, weights=here[known], minlength=len(pairs))
    del category, customer, row, here
    edges = np.searchsorted(pairs, np.arange(len(categories) + 1) * n)
    flag = np.zeros(len(pairs), dtype=bool)
    for start, end in pairwise(edges):
        flag[start:end] = rankdata(worth[start:end]) <= bottom * (end - start)
        flag[start:end] &= big[pairs[start:end] % n]
    who = pairs[flag] % n
    flags = pd.DataFrame(
        {
            "customer_id": names.take(who),
            "category": categories.take(pairs[flag] // n),
            "here": worth[flag],
            "overall": overall[who],
        }
    )
    table = pd.DataFrame({"customers": np.diff(edges)}, index=categories.rename("category"))
    found = flags.groupby("category").agg(
        flagged=("here", "size"), value_here=("here", "sum"), value_overall=("overall", "sum")
    )
    table = table.join(found).fillna({"flagged": 0, "value_here": 0.0, "value_overall": 0.0})
    table["flagged"] = table["flagged"].astype(int)
    total = float(overall.sum())
    table["share_overall"] = table["value_overall"] / total if total > 0 else np.nan
    return Relationship(table=table.reset_index(), flags=flags, measure=measure)
