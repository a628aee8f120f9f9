"""The simple planner behind the frontier: rank by margin per unit of space, fill each store's own space."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from geomarket.demand import Demand, Family, NewListingDiscount, fit_demand
from geomarket.errors import NotSupportedError, TableError
from geomarket.frontier.folds import FOLDS, FoldedSales

__all__ = [
    "Gains",
    "Plan",
    "World",
    "build_world",
    "fit_fold",
    "gains_over_national",
    "labellings_of",
    "plan_ranges_for",
]


@dataclass(frozen=True)
class World:
    """Margin a year of every store × SKU in each fold, actual trade of the last, space SKUs take and stores have."""

    stores: pd.Index
    skus: pd.Index
    category: np.ndarray
    categories: pd.Index
    value: list[np.ndarray]
    trade: np.ndarray
    width: np.ndarray
    space: np.ndarray
    left_out: str


@dataclass(frozen=True)
class Plan:
    """Value of one plan by fold, store and category, and the SKUs it takes."""

    n_clusters: int
    label: str
    value: np.ndarray
    used: np.ndarray
    trade_held: float


@dataclass(frozen=True)
class Gains:
    """Gains over the national range: by_store has shape (n_plans, n_folds, n_stores), national is money by fold."""

    n_clusters: list[int]
    labels: list[str]
    by_store: np.ndarray
    national: np.ndarray
    extra_skus: np.ndarray
    distinct: np.ndarray


def fit_fold(
    folds: FoldedSales,
    number: int,
    stores: pd.DataFrame,
    products: pd.DataFrame,
    store_clusters: pd.Series | None = None,
    families: Sequence[Family] | None = None,
    discount: NewListingDiscount | None = None,
    random_state: int = 0,
) -> Demand:
    """Fit demand on one fold alone; arguments as of ``local_frontier``."""
    mine = folds.table[folds.table["fold"] == number]
    return fit_demand(
        mine,
        stores,
        products,
        store_clusters,
        folds.n_periods[number],
        families=families,
        tune=False,
        discount=discount,
        random_state=random_state,
    )


def build_world(
    folds: FoldedSales,
    fits: Sequence[Demand],
    products: pd.DataFrame,
    space: str,
    today: pd.DataFrame | None,
    periods_per_year: float,
) -> World:
    """Lay the folds' estimates side by side for the stores and SKUs known to all of them.

    Raises
    ------
    NotSupportedError
        If fewer than three stores or no SKU is left.
    """
    indexed = products.set_index("sku")
    known_stores, known_skus, margins = [], [], []
    for fit in fits:
        known_stores.append(pd.Index(fit.table["store_id"].unique()))
        lacking = fit.table.loc[fit.table["margin"].isna(), "sku"]
        known_skus.append(pd.Index(fit.table["sku"].unique()).difference(pd.Index(lacking)))
        margins.append(fit.table.pivot(index="store_id", columns="sku", values="margin"))
        del fit  # a large chain's may be read from disk one by one
    stores = known_stores[0].intersection(known_stores[1]).intersection(known_stores[2]).sort_values()
    skus = known_skus[0].intersection(known_skus[1]).intersection(known_skus[2]).sort_values()
    width = _widths(indexed, skus, space)
    skus, width = skus[np.isfinite(width)], width[np.isfinite(width)]
    if len(stores) < 3 or len(skus) == 0:
        raise NotSupportedError(
            f"frontier: {len(stores)} stores and {len(skus)} SKUs traded in all three folds, with price, cost and "
            "space known. At least three stores are needed; give more history."
        )
    value = [wide.reindex(index=stores, columns=skus).to_numpy() * periods_per_year for wide in margins]
    category, categories = pd.factorize(indexed["category"].astype("str").reindex(skus), sort=True)
    return World(
        stores=stores,
        skus=skus,
        category=category,
        categories=pd.Index(categories),
        value=value,
        trade=_trade(folds, stores, skus, indexed),
        width=width,
        space=_spaces(folds, stores, skus, category, len(categories), width, today),
        left_out=_left_out(folds, stores, skus),
    )


def _trade(folds: FoldedSales, stores: pd.Index, skus: pd.Index, indexed: pd.DataFrame) -> np.ndarray:
    """Return the margin each pair actually made in the reporting fold, shape (n_stores, n_skus)."""
    last = folds.table[folds.table["fold"] == len(FOLDS) - 1]
    store, sku = stores.get_indexer(pd.Index(last["store_id"])), skus.get_indexer(pd.Index(last["sku"]))
    use = (store >= 0) & (sku >= 0)
    margin = (indexed["price"].astype(float) - indexed["cost"].astype(float)).reindex(skus).to_numpy()
    made = last["units"].to_numpy(dtype=float)[use] * margin[sku[use]]
    cell = store[use] * len(skus) + sku[use]
    return np.bincount(cell, weights=made, minlength=len(stores) * len(skus)).reshape(len(stores), len(skus))


def _widths(indexed: pd.DataFrame, skus: pd.Index, space: str) -> np.ndarray:
    if space == "count":
        return np.ones(len(skus))
    if space not in indexed.columns:
        raise TableError(
            f"products: column '{space}' is missing. Name a column with the space a SKU takes, or 'count'."
        )
    width = indexed[space].astype(float).reindex(skus).to_numpy()
    if (width <= 0).any():
        raise TableError(f"products: {space} must be positive, or missing where unknown.")
    return width


def _spaces(
    folds: FoldedSales,
    stores: pd.Index,
    skus: pd.Index,
    category: np.ndarray,
    n_categories: int,
    width: np.ndarray,
    today: pd.DataFrame | None,
) -> np.ndarray:
    """Return the space each store has in each category, shape (n_stores, n_categories)."""
    if today is None:
        summed = folds.table.groupby(["store_id", "sku"])["exposure"].sum().reset_index()
        total, part = summed[["store_id", "sku"]], summed["exposure"].to_numpy() / sum(folds.n_periods)
    else:
        total = today[["store_id", "sku"]].drop_duplicates()
        part = np.ones(len(total))
    store, sku = stores.get_indexer(pd.Index(total["store_id"])), skus.get_indexer(pd.Index(total["sku"]))
    use = (store >= 0) & (sku >= 0)
    cell = store[use] * n_categories + category[sku[use]]
    taken = np.bincount(cell, weights=part[use] * width[sku[use]], minlength=len(stores) * n_categories)
    return taken.reshape(len(stores), n_categories)


def _left_out(folds: FoldedSales, stores: pd.Index, skus: pd.Index) -> str:
    table = folds.table
    inside = table["store_id"].isin(stores) & table["sku"].isin(skus)
    lost = table.loc[~inside, "units"].sum() / table["units"].sum()
    if inside.all():
        return ""
    return (
        f"{table['sku'].nunique() - len(skus):,} SKUs and {table['store_id'].nunique() - len(stores):,} stores that "
        f"did not trade in all three folds, or lack price, cost or space, are left out ({lost:.1%} of units)."
    )


def labellings_of(clusterings: Mapping[int, pd.Series], stores: pd.Index) -> dict[int, np.ndarray]:
    """Return cluster numbers by store for every number of clusters, national first and store level last."""
    found: dict[int, np.ndarray] = {1: np.zeros(len(stores), dtype=int)}
    for g in sorted(clusterings):
        if not 1 < g < len(stores):
            continue
        labels = clusterings[g].reindex(stores)
        if labels.isna().any():
            without = stores[labels.isna().to_numpy()]
            raise TableError(
                f"clusterings[{g}]: {len(without)} stores have no cluster ({', '.join(without[:3])}). "
                "Cluster every store that trades."
            )
        found[g] = pd.factorize(labels, sort=True)[0]
    found[len(stores)] = np.arange(len(stores))
    return found


def plan_ranges_for(world: World, home: np.ndarray) -> Plan:
    """Plan one range per cluster on the first fold and value it in all of them.

    Parameters
    ----------
    world : World
        Margins, widths and spaces.
    home : ndarray of int, shape (n_stores,)
        Cluster of each store.

    Returns
    -------
    Plan
    """
    n_clusters = int(home.max()) + 1
    n_stores = len(world.stores)
    value = np.zeros((len(FOLDS), n_stores, len(world.categories)))
    used = np.zeros((len(world.categories), len(world.skus)), dtype=bool)
    held = 0.0
    member = np.zeros((n_clusters, n_stores))
    member[home, np.arange(n_stores)] = 1.0
    for c in range(len(world.categories)):
        columns = np.flatnonzero(world.category == c)
        width, room = world.width[columns], world.space[:, c]
        # A store without space in the category has no say in what the others should carry.
        planned = np.where(room[:, None] > 0, world.value[0][:, columns], 0.0)
        density = (member @ planned) / width
        order = np.argsort(-density, axis=1, kind="stable")[home]
        taken = width[order]
        fill = np.clip((room[:, None] - (np.cumsum(taken, axis=1) - taken)) / taken, 0.0, 1.0)
        fill *= np.take_along_axis(density[home], order, axis=1) > 0
        for f in range(len(FOLDS)):
            value[f, :, c] = (fill * np.take_along_axis(world.value[f][:, columns], order, axis=1)).sum(
                axis=1
            )
        held += float((fill * np.take_along_axis(world.trade[:, columns], order, axis=1)).sum())
        used[c, columns[np.unique(order[fill > 0])]] = True
    if n_clusters == 1:
        label = "national"
    else:
        label = "store level" if n_clusters == n_stores else f"{n_clusters} clusters"
    total = float(world.trade.sum())
    return Plan(n_clusters, label, value, used, held / total if total > 0 else np.nan)


def gains_over_national(plans: Mapping[int, Plan], categories: np.ndarray) -> Gains:
    """Return what each plan brings over the national one, by fold and store, in the marked categories."""
    national = plans[1].value[:, :, categories].sum(axis=2)
    distinct = np.array([plan.used[categories].any(axis=0).sum() for plan in plans.values()])
    return Gains(
        n_clusters=[plan.n_clusters for plan in plans.values()],
        labels=[plan.label for plan in plans.values()],
        by_store=np.stack([plan.value[:, :, categories].sum(axis=2) - national for plan in plans.values()]),
        national=national.sum(axis=1),
        extra_skus=distinct - distinct[0],
        distinct=distinct,
    )
