"""How local to go where each category may group the stores in its own way."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd

from geomarket.demand import Demand, NewListingDiscount
from geomarket.errors import TableError
from geomarket.frontier.folds import FoldedSales
from geomarket.frontier.model import Frontier, local_frontier
from geomarket.results import Result

__all__ = ["CategoryFrontiers", "category_frontiers"]


@dataclass(frozen=True)
class CategoryFrontiers(Result):
    """The frontier of every category with clusters of its own, beside clusters shared by the whole shop.

    Attributes
    ----------
    table : DataFrame
        category, kind, n_clusters, gain_holdout, low, high, cost, net (money a year, clusters of its own),
        shop_n_clusters, shop_net (clusters of the whole shop, chosen for the category alone), own_over_shop (what
        clusters of its own net more), national_margin.
    frontiers : dict of str to Frontier
        By category.
    """

    table: pd.DataFrame
    frontiers: dict[str, Frontier]

    def plot(self, ax: Any = None) -> Any:
        """Draw what each category nets with clusters of its own and with the shop's; return the axes."""
        import matplotlib.pyplot as plt

        rows = self.table[::-1]
        axes = (
            plt.subplots(figsize=(6, 0.36 * len(rows) + 1.2), layout="constrained")[1] if ax is None else ax
        )
        axes.barh(rows["category"], rows["net"], color="#2a6f97", label="clusters of its own")
        axes.plot(
            rows["shop_net"], rows["category"], "o", mfc="none", color="0.3", label="clusters of the shop"
        )
        axes.axvline(0, color="0.3", linewidth=0.8)
        axes.set_xlabel("net gain a year over one national range")
        axes.legend(frameon=False, loc="lower left", bbox_to_anchor=(0.0, 1.0), ncols=2)
        axes.spines[["top", "right"]].set_visible(False)
        return axes

    def summary(self) -> list[str]:
        """Say how many categories go local with clusters of their own, and what that nets beside shared ones."""
        local = int((self.table["kind"] != "national").sum())
        own, shop = self.table["net"].sum(), self.table["shop_net"].sum()
        return [
            f"With clusters of their own {local} of {len(self.table)} categories leave the national range and net "
            f"{own:,.0f} a year; with clusters shared by the whole shop {shop:,.0f}. Each verdict is a choice among "
            "many, so that sums over categories flatter."
        ]


def category_frontiers(
    folds: FoldedSales,
    stores: pd.DataFrame,
    products: pd.DataFrame,
    clusterings: Mapping[str, Mapping[int, pd.Series]],
    shop: Mapping[int, pd.Series],
    fits: Sequence[Demand],
    *,
    periods_per_year: float,
    discount: NewListingDiscount | None = None,
    space: str = "count",
    today: pd.DataFrame | None = None,
    cost_per_cluster: float = 0.0,
    cost_per_sku: float = 0.0,
    currency: str = "",
) -> CategoryFrontiers:
    """Judge, category by category, clusters made for it against one national range and against shared clusters.

    Parameters
    ----------
    folds : FoldedSales
        From :func:`fold_sales`.
    stores, products : DataFrame
        As of :func:`local_frontier`.
    clusterings : mapping of category to mapping of int to Series
        ``cluster_range(features).labels`` for the features of each category
        (:func:`geomarket.store_clusters.category_features`).
    shop : mapping of int to Series
        Clusterings of the whole shop, to compare with.
    fits : sequence of Demand
        From :func:`fold_demand`, for all categories.
    periods_per_year : float
        Turns money per period into money a year.
    discount : NewListingDiscount, optional
        The one ``fits`` carry; without it verdicts are called unvalidated.
    space, today, cost_per_sku, currency
        As of :func:`local_frontier`.
    cost_per_cluster : float
        Money a year for each cluster beyond the first of the whole shop; a category bears its share of margin.

    Returns
    -------
    CategoryFrontiers

    Raises
    ------
    TableError
        If a category of ``clusterings`` isn't in products.
    NotSupportedError
        If fewer than three stores or no SKU of a category traded in all three folds.

    Notes
    -----
    The rule is that of :func:`local_frontier`: chosen on the second fold, reported on the third.
    """
    unknown = sorted(set(clusterings) - set(products["category"]))
    if unknown:
        raise TableError(
            f"clusterings: category {unknown[0]!r} is not in products. Use the names products have."
        )
    options: dict[str, Any] = {
        "periods_per_year": periods_per_year,
        "discount": discount,
        "space": space,
        "today": today,
        "cost_per_sku": cost_per_sku,
        "currency": currency,
    }
    shared = local_frontier(
        folds,
        stores,
        products,
        shop,
        fits=fits,
        cost_per_cluster=cost_per_cluster,
        **options,
    ).categories.set_index("category")
    margin = shared["national_margin"].clip(lower=0.0)
    share = margin / max(float(margin.sum()), 1e-300)
    frontiers, rows = {}, []
    for category in sorted(set(clusterings) & set(shared.index)):
        skus = products.loc[products["category"] == category, "sku"]
        mine = [replace(fit, table=fit.table[fit.table["category"] == category]) for fit in fits]
        found = local_frontier(
            replace(folds, table=folds.table[folds.table["sku"].isin(skus)]),
            stores,
            products,
            clusterings[category],
            fits=mine,
            cost_per_cluster=cost_per_cluster * float(share[category]),
            **options,
        )
        frontiers[category] = found
        chosen = found.table[found.table["chosen"]].iloc[0]
        rows.append(
            {
                "category": category,
                "kind": found.verdict.kind,
                **{
                    name: chosen[name]
                    for name in ("n_clusters", "gain_holdout", "low", "high", "cost", "net")
                },
                "shop_n_clusters": shared.loc[category, "n_clusters"],
                "shop_net": shared.loc[category, "net"],
                "own_over_shop": chosen["net"] - shared.loc[category, "net"],
                "national_margin": shared.loc[category, "national_margin"],
            }
        )
    return CategoryFrontiers(pd.DataFrame(rows), frontiers)
