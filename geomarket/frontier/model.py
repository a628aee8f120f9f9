"""The frontier of localisation and its verdict."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import t as student

from geomarket.demand import Demand, Family, NewListingDiscount
from geomarket.errors import SettingsError
from geomarket.frontier.folds import FOLDS, FoldedSales
from geomarket.frontier.ranges import (
    Gains,
    Plan,
    World,
    build_world,
    fit_fold,
    gains_over_national,
    labellings_of,
    plan_ranges_for,
)
from geomarket.frontier.verdict import (
    Verdict,
    kind_of,
    reach_verdict,
    settle,
    smallest_unbeaten,
    standard_error,
)
from geomarket.results import Result

__all__ = ["Frontier", "Verdict", "fold_demand", "local_frontier"]

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Frontier(Result):
    """Gain of localising against the number of store clusters.

    Attributes
    ----------
    table : DataFrame
        n_clusters, label, gain_in_sample (what the plan claims on the fold it was made on), gain_choice (on the fold
        it is chosen on), gain_holdout with low and high (on the fold it is reported on; 90% over stores), cost,
        net, net_low, net_high, picked (by the choosing fold alone), chosen: money a year over one national range; the
        same over the national range's margin in columns ending in ``_share``; distinct_skus; net_choice,
        net_choice_low; trade_held (share of the reporting fold's actual margin that the ranges hold: no forecast in
        it, but it flatters local ranges, since a store can only have sold what it listed).
    categories : DataFrame
        category, kind, n_clusters, gain_holdout, low, high, cost, net, national_margin (money a year).
    verdict : Verdict
    national_margin : float
        Money a year of the national range on the reporting fold.
    notes : tuple of str
        What this comparison can't show.
    """

    table: pd.DataFrame
    categories: pd.DataFrame
    verdict: Verdict
    national_margin: float
    notes: tuple[str, ...]

    def summary(self) -> list[str]:
        """Return the verdict, how far in-sample gains mislead, and what can't be known from it."""
        store = self.table.iloc[-1]
        claims = (
            f"At store level the plan claims {store['gain_in_sample_share']:+.1%} on the periods it was made on and "
            f"brings {store['gain_holdout_share']:+.1%} on others."
        )
        why = self.verdict.explanation[:2] or (claims,)
        return [self.verdict.sentence, *why, *self.verdict.explanation[2:], *self.notes]

    def plot(self, ax: Any = None) -> Any:
        """Draw the gain in sample and on held-out periods against the number of clusters; return the axes."""
        import matplotlib.pyplot as plt

        axes = plt.subplots(figsize=(6.5, 3.8))[1] if ax is None else ax
        place = np.arange(len(self.table))
        percent = 100 * self.table.filter(like="_share")
        axes.plot(
            place, percent["gain_in_sample_share"], "--", color="0.6", label="on the periods planned on"
        )
        axes.plot(place, percent["gain_holdout_share"], marker="o", label="on other periods")
        axes.fill_between(place, percent["low_share"], percent["high_share"], alpha=0.2)
        axes.plot(place, percent["net_share"], ":", color="0.3", label="after complexity cost")
        chosen = np.flatnonzero(self.table["chosen"])
        axes.axvline(chosen[0], color="0.7", zorder=0)
        axes.axhline(0, color="0.8", zorder=0)
        axes.set_xticks(place, self.table["label"], rotation=45, ha="right")
        axes.set_ylabel("gain over one national range, %")
        axes.legend(frameon=False)
        return axes


def local_frontier(
    folds: FoldedSales,
    stores: pd.DataFrame,
    products: pd.DataFrame,
    clusterings: Mapping[int, pd.Series],
    *,
    periods_per_year: float,
    store_clusters: pd.Series | None = None,
    families: Sequence[Family] | None = None,
    discount: NewListingDiscount | None = None,
    space: str = "count",
    today: pd.DataFrame | None = None,
    cost_per_cluster: float = 0.0,
    cost_per_sku: float = 0.0,
    currency: str = "",
    fits: Sequence[Demand] | None = None,
    random_state: int = 0,
) -> Frontier:
    """Compare one national range, a range per store cluster and a range per store.

    For each number of clusters and each category, SKUs are ranked by the cluster's expected margin per unit of space
    (estimated on the first fold), and each store carries the top of its cluster's ranking until its own space is
    full; the last SKU counts for the part that fits. The space of a store is the same whatever the number of
    clusters. The ranges are then valued with estimates made on the second fold alone, to choose, and on the third
    alone, to report.

    Parameters
    ----------
    folds : FoldedSales
        From :func:`fold_sales`.
    stores : DataFrame
        store_id.
    products : DataFrame
        sku, category, price, cost (money) and the column ``space`` names.
    clusterings : mapping of int to Series
        Number of clusters -> store_cluster by store_id, as ``cluster_range(...).labels``. One national range and a
        range for every store are always added.
    periods_per_year : float
        Turns money per period into money a year.
    store_clusters : Series, optional
        Clusters that local lifts of the demand forecasts may use (the same for every number of clusters).
    families : sequence of Family, optional
        Families of local lifts, as set (``Demand.families``), instead of store clusters alone; fitted anew and chosen
        from in every fold.
    discount : NewListingDiscount, optional
        Applied to forecasts of unlisted pairs in every fold.
    space : str
        "count", or the column of ``products`` with the space one SKU takes (``width_cm``).
    today : DataFrame, optional
        store_id, sku: today's range, whose space each store keeps. Without it the space is what the store had listed
        on average over the window.
    cost_per_cluster : float
        Money a year for each cluster beyond the first (planograms, buying, data).
    cost_per_sku : float
        Money a year for each SKU in the chain beyond those of the national range.
    currency : str
        Sign for the sentences.
    fits : sequence of Demand, optional
        From :func:`fold_demand`, where they are at hand; fitted here from the other arguments when None.
    random_state : int
        Seed of the demand fits.

    Returns
    -------
    Frontier

    Raises
    ------
    NotSupportedError
        If fewer than three stores or no SKU traded in all three folds.

    Notes
    -----
    Choice: the smallest number of clusters that no larger number beats by more than one standard error of the paired
    difference over stores on the second fold, a form of the one-standard-error rule (Breiman et al. 1984). National is
    left only if the lower end of the 90% interval of the net gain on the third fold lies above zero; where it does
    not, the next smaller number for which it does is taken, else one national range. So a higher complexity cost never
    leads to more clusters. Intervals: Student's t over stores, taken as independent: what befalls all stores at once
    is not in them. The planner sees a third of the trade only, so a plan made on all of it will do somewhat
    better, and chance plays a larger part here than there.
    """
    if fits is None:
        fits = fold_demand(
            folds,
            stores,
            products,
            store_clusters=store_clusters,
            families=families,
            discount=discount,
            random_state=random_state,
        )
    world = build_world(folds, fits, products, space, today, periods_per_year)
    labellings = labellings_of(clusterings, world.stores)
    plans = {g: plan_ranges_for(world, labels) for g, labels in labellings.items()}
    whole = gains_over_national(plans, np.ones(len(world.categories), dtype=bool))
    table, _ = _judge(whole, cost_per_cluster, cost_per_sku)
    national = float(whole.national[2])
    table = _with_shares(table, whole.national).assign(
        trade_held=[plan.trade_held for plan in plans.values()]
    )
    validated = discount is not None
    verdict = reach_verdict(table, national, validated, currency)
    categories = _per_category(world, plans, cost_per_cluster, cost_per_sku)
    _log.info("frontier: %d numbers of clusters, verdict %s", len(table), verdict.kind)
    return Frontier(table, categories, verdict, national, _notes(world, validated))


def fold_demand(
    folds: FoldedSales,
    stores: pd.DataFrame,
    products: pd.DataFrame,
    *,
    store_clusters: pd.Series | None = None,
    families: Sequence[Family] | None = None,
    discount: NewListingDiscount | None = None,
    random_state: int = 0,
) -> tuple[Demand, ...]:
    """Forecast demand from each fold alone; arguments as of :func:`local_frontier`.

    Returns
    -------
    tuple of Demand
        For planning, choosing and reporting.
    """
    return tuple(
        fit_fold(folds, number, stores, products, store_clusters, families, discount, random_state)
        for number in range(len(FOLDS))
    )


def _judge(gains: Gains, cost_per_cluster: float, cost_per_sku: float) -> tuple[pd.DataFrame, int]:
    if cost_per_cluster < 0 or cost_per_sku < 0:
        raise SettingsError("frontier: costs must be 0 or more.")
    step = float(student.ppf(0.95, gains.by_store.shape[2] - 1))
    total, error = gains.by_store.sum(axis=2), standard_error(gains.by_store)
    n_clusters = np.array(gains.n_clusters)
    cost = cost_per_cluster * (n_clusters - 1) + cost_per_sku * gains.extra_skus
    table = pd.DataFrame(
        {
            "n_clusters": n_clusters,
            "label": gains.labels,
            "gain_in_sample": total[:, 0],
            "gain_choice": total[:, 1],
            "gain_holdout": total[:, 2],
            "low": total[:, 2] - step * error[:, 2],
            "high": total[:, 2] + step * error[:, 2],
            "cost": cost,
            "net": total[:, 2] - cost,
            "net_low": total[:, 2] - cost - step * error[:, 2],
            "net_high": total[:, 2] - cost + step * error[:, 2],
            "net_choice": total[:, 1] - cost,
            "net_choice_low": total[:, 1] - cost - step * error[:, 1],
            "distinct_skus": gains.distinct,
        }
    )
    picked = smallest_unbeaten(gains.by_store[:, 1], cost)
    chosen = settle(table["net_low"].to_numpy(), picked)
    table["picked"] = np.arange(len(table)) == picked
    table["chosen"] = np.arange(len(table)) == chosen
    return table, chosen


def _with_shares(table: pd.DataFrame, national: np.ndarray) -> pd.DataFrame:
    base = {"gain_in_sample": national[0], "gain_choice": national[1]}
    shares = {
        f"{column}_share": table[column] / base.get(column, national[2])
        for column in (
            "gain_in_sample",
            "gain_choice",
            "gain_holdout",
            "low",
            "high",
            "cost",
            "net",
            "net_low",
            "net_high",
        )
    }
    return table.assign(**shares)


def _per_category(
    world: World, plans: Mapping[int, Plan], cost_per_cluster: float, cost_per_sku: float
) -> pd.DataFrame:
    """Return the verdict for each category on its own; the cost of a cluster is shared out by national margin."""
    national = plans[1].value[2].sum(axis=0)
    share = np.maximum(national, 0.0) / max(np.maximum(national, 0.0).sum(), 1e-300)
    rows = []
    for c, name in enumerate(world.categories):
        gains = gains_over_national(plans, np.arange(len(world.categories)) == c)
        table, chosen = _judge(gains, cost_per_cluster * float(share[c]), cost_per_sku)
        row = table.iloc[chosen]
        rows.append(
            {
                "category": name,
                "kind": kind_of(table, chosen),
                **{k: row[k] for k in ("n_clusters", "gain_holdout", "low", "high", "cost", "net")},
                "national_margin": float(national[c]),
            }
        )
    return pd.DataFrame(rows)


def _notes(world: World, validated: bool) -> tuple[str, ...]:
    notes = [
        "A store can only sell what it listed: what a range would bring in a store that never had it is a "
        "forecast, in the judging folds too, and sales alone can't prove it. A trial in a few stores can.",
        "Intervals are over stores: what befalls all stores at once, such as a change of fashion, is not in them.",
        "Every store keeps the space it has; shoppers who would take another SKU instead are not counted here, so "
        "gains of listing a missing SKU are rather too high.",
    ]
    if not validated:
        notes.append(
            "Forecasts of unlisted SKUs carry no new-listing discount: gains are unvalidated, and too high if any."
        )
    if world.left_out:
        notes.append(world.left_out)
    return tuple(notes)
