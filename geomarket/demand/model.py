"""Expected units and margin of every store × SKU, listed or not, with provenance and interval."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd
from scipy.stats import gamma

from geomarket.demand.affinity import MixAffinity
from geomarket.demand.families import BaselineFamily, ClusterFamily, Family
from geomarket.demand.lowrank import LowRank
from geomarket.demand.neighbours import NearestByMix, NearestBySales
from geomarket.demand.pairs import Pairs, make_pairs
from geomarket.demand.selection import Selection, select_families, single_family
from geomarket.demand.shrinkage import Scatter, poisson_gamma
from geomarket.errors import TableError
from geomarket.results import Result

if TYPE_CHECKING:
    from geomarket.demand.discount import NewListingDiscount

__all__ = ["Demand", "fit_demand"]

_log = logging.getLogger(__name__)

OBSERVED = "observed+shrunk"
_PLAIN = {
    "nearest by mix": "the nearest stores by mix",
    "nearest by sales": "the nearest stores by sales",
}


@dataclass(frozen=True)
class Demand(Result):
    """What each store would sell of each SKU per period, if it listed it.

    Attributes
    ----------
    table : DataFrame
        One row per store × SKU with any trade, ordered by both: store_id, sku, category, listed (seen listed in the
        window), units (mean expected units per period if listed), low, high (90% interval of that mean, not of a
        single period's sales), margin (money per period at today's price and cost), family (where the figure
        comes from: "observed+shrunk" for listed pairs, else the chosen family), exposure (periods listed, 0 if
        not), transferable_share (share of the demand that would move to other SKUs; NaN until known).
    holdout : DataFrame
        category, family, chosen, pairs, wmape, poisson_deviance, spearman_within_sku, bias: forecasts of listed
        pairs that were held out, each beside the baseline.
    chosen : DataFrame
        category, family, pairs, gain, gain_se, reason.
    validated : bool
        Whether unlisted forecasts carry a new-listing discount learnt from pairs that were listed later.
    discount : NewListingDiscount or None
        The discount they carry.
    families : tuple of Family
        Those tried beside the baseline, as they were set in the end.
    variants : DataFrame
        family, setting, deviance (mean per inner pair), chosen: settings tried within the families.
    blend : dict of str to float
        Weight of each family's log lift in the blend; what lacks to 1 is the baseline's. Empty without a blend.
    scatter : DataFrame
        category, dispersion, heterogeneity, pairs: how pairs scatter about their forecast.
    unused : DataFrame
        table, id, reason: stores and SKUs without trade, about which nothing is said.
    n_periods : int
        Periods of the window.
    notes : tuple of str
    """

    table: pd.DataFrame
    holdout: pd.DataFrame
    chosen: pd.DataFrame
    validated: bool
    scatter: pd.DataFrame
    unused: pd.DataFrame
    n_periods: int
    discount: NewListingDiscount | None = None
    families: tuple[Family, ...] = ()
    variants: pd.DataFrame = field(default_factory=pd.DataFrame)
    blend: dict[str, float] = field(default_factory=dict)
    notes: tuple[str, ...] = field(default_factory=tuple)

    def plot(self, ax: Any = None) -> Any:
        """Draw the error of the forecasts used and of the baseline, on held-out pairs by category; return the axes."""
        import matplotlib.pyplot as plt

        error = self.holdout.set_index("category")["wmape"]
        base = error[(self.holdout["family"] == "baseline").to_numpy()]
        used = error[self.holdout["chosen"].astype(bool).to_numpy()].groupby(level=0, sort=False).last()
        names = [name for name in used.index if name in base.index][::-1]
        axes = (
            plt.subplots(figsize=(6, 0.36 * len(names) + 1.2), layout="constrained")[1] if ax is None else ax
        )
        axes.hlines(names, 100 * base[names], 100 * used[names], color="0.8", linewidth=3)
        axes.plot(100 * base[names], names, "o", mfc="none", color="0.3", label="baseline")
        axes.plot(100 * used[names], names, "o", color="#2a6f97", label="forecast used")
        axes.set_xlabel("error on held-out pairs, % of units (WMAPE)")
        axes.legend(frameon=False, loc="lower left", bbox_to_anchor=(0.0, 1.0), ncols=2)
        axes.spines[["top", "right"]].set_visible(False)
        return axes

    def summary(self) -> list[str]:
        """Say what was forecast, how well held-out pairs were met, and what is not validated."""
        listed = int(self.table["listed"].sum())
        lines = [
            f"Demand of {self.table['store_id'].nunique():,} stores × {self.table['sku'].nunique():,} SKUs: "
            f"{listed:,} pairs seen listed, {len(self.table) - listed:,} forecast."
        ]
        overall = self.holdout[self.holdout["category"] == "all"].set_index("family").to_dict("index")
        if overall and overall["chosen"]["pairs"] > 0:
            ours, base = overall["chosen"], overall["baseline"]
            local = int((self.chosen["family"] != "baseline").sum())
            lines.append(
                f"On {int(ours['pairs']):,} listed pairs held out: WMAPE {ours['wmape']:.3f} "
                f"(baseline {base['wmape']:.3f}), rank correlation over stores {ours['spearman_within_sku']:.2f} "
                f"({base['spearman_within_sku']:.2f}), bias {ours['bias']:+.1%}; a local family was clearly better "
                f"than the baseline in {local} of {len(self.chosen)} categories."
            )
        lines += [line] if (line := self.against_baselines()) else []
        if self.discount is None:
            lines.append(
                "Forecasts for SKUs a store doesn't list are UNVALIDATED and probably too high: stores list what "
                "sells, and the hold-out has listed pairs only. Learn a new-listing discount from pairs listed later."
            )
        else:
            lines.append(self.discount.summary()[0])
        if len(self.unused):
            counts = self.unused["table"].value_counts()
            lines.append(
                "Without trade and so without a forecast: "
                + ", ".join(f"{number:,} of {table}" for table, number in counts.sort_index().items())
                + "."
            )
        return lines + list(self.notes)

    def against_baselines(self) -> str:
        """Say whether the forecasts beat size × rate and both nearest-store forecasts on held-out pairs.

        Returns
        -------
        str
            Empty where nothing was held out.
        """
        overall = self.holdout[self.holdout["category"] == "all"].set_index("family")["wmape"].dropna()
        if "chosen" not in overall.index:
            return ""
        if (self.chosen["family"] == "baseline").all():
            return "On pairs held out no family beats size × rate clearly: it is used everywhere."
        tried = [name for name in (*_PLAIN, "baseline") if name in overall.index]
        missed = [_PLAIN.get(name, "size × rate") for name in tried if overall[name] <= overall["chosen"]]
        met = [_PLAIN.get(name, "size × rate") for name in tried if overall[name] > overall["chosen"]]
        parts = [f"beat {', '.join(met)}"] if met else []
        parts += [f"do NOT beat {', '.join(missed)}"] if missed else []
        return f"On pairs held out the forecasts chosen {', but '.join(parts)} (WMAPE)."


def fit_demand(
    sales: pd.DataFrame,
    stores: pd.DataFrame,
    products: pd.DataFrame,
    store_clusters: pd.Series | None,
    n_periods: int,
    *,
    features: pd.DataFrame | None = None,
    attributes: Sequence[str] = (),
    families: Sequence[Family] | None = None,
    tune: bool = True,
    blend: bool = True,
    discount: NewListingDiscount | None = None,
    calendar: Sequence[Any] | None = None,
    exposure: Literal["extended", "span", "window"] = "extended",
    holdout_share: float = 0.2,
    random_state: int = 0,
) -> Demand:
    """Estimate the demand of every store × SKU from the pairs seen listed.

    Listed pairs get what they sold, drawn towards size × rate × local lift as far as chance explains the
    difference. Unlisted pairs get size × rate × local lift, times the new-listing discount if one is given. Which
    family of local lifts speaks for a category is decided on pairs held out, the baseline (no lift) on ties.

    Parameters
    ----------
    sales : DataFrame
        One row per store × SKU as of ``engine.store_sku_periods``: store_id, sku, units, periods_sold,
        first_period, last_period. A column ``exposure`` (periods listed and in stock) is used as it is; rows
        with units 0 and exposure > 0 (listed, unsold) then count as what they are.
    stores : DataFrame
        store_id.
    products : DataFrame
        sku, category, price, cost (money) and the ``attributes``.
    store_clusters : Series or None
        store_cluster by store_id (index); adds the family "cluster".
    n_periods : int
        Periods in the window.
    features : DataFrame, optional
        Store coordinates (index store_id), as of ``StoreFeatures.points()``; adds "nearest by mix" and "mix
        affinity". With it, "nearest by sales" and "low rank" are tried too.
    attributes : sequence of str
        Columns of ``products`` the mix affinity may use.
    families : sequence of Family, optional
        Families to choose from beside the baseline, instead of those above.
    tune : bool
        Whether settings within the families (neighbours, ranks, ridges) are chosen on the hold-out too.
    blend : bool
        Whether a blend of all families may be chosen, if there are at least two.
    discount : NewListingDiscount, optional
        From :func:`~geomarket.demand.discount.learn_discount`.
    calendar : sequence of dates, optional
        The window's periods in order; see :func:`~geomarket.demand.exposure.listing_exposure`.
    exposure : {"extended", "span", "window"}
        How the time on the shelf is judged from dates of sale.
    holdout_share : float
        Share of each SKU's pairs held out to choose by, and again to report on. 0 skips both: the last of the
        families is then used without proof (said in the notes).
    random_state : int
        Seed of the hold-out.

    Returns
    -------
    Demand

    Raises
    ------
    TableError
        If a table lacks a column, repeats a key or names an unknown id.

    Notes
    -----
    Posterior mean of a listed pair: (a + y) / (b + E) with a / b = size × rate × lift and a by variance components of
    held-out pairs, chance beyond Poisson counted as less evidence. Families are compared by the deviance that goes with
    that variance. Intervals: 5% and 95% points of the gamma posterior of the mean (listed) and of the gamma spread of
    true rates about forecasts (unlisted). They don't hold the uncertainty of sizes. Store × SKU tables are held in
    memory whole (8 bytes a cell, several at a time): above some 20 million cells fit chains or regions apart.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> listed = [(i, j) for i in range(4) for j in range(5) if (i + j) % 4]
    >>> sales = pd.DataFrame({"store_id": [f"s{i}" for i, _ in listed], "sku": [f"k{j}" for _, j in listed],
    ...                       "units": [rng.poisson(20.0 * (1 + i) * (1 + j)) for i, j in listed], "exposure": 10.0})
    >>> stores = pd.DataFrame({"store_id": [f"s{i}" for i in range(4)]})
    >>> products = pd.DataFrame({"sku": [f"k{j}" for j in range(5)], "category": "tea", "price": 3.0, "cost": 2.0})
    >>> demand = fit_demand(sales, stores, products, None, n_periods=10)
    >>> demand.table.loc[~demand.table["listed"], ["store_id", "sku", "family"]].head(2).values.tolist()
    [['s0', 'k0', 'baseline'], ['s0', 'k4', 'baseline']]
    """
    for column in ("price", "cost", *attributes):
        if column not in products.columns:
            raise TableError(
                f"products: column '{column}' is missing. Margins need price and cost of every SKU."
            )
    pairs = make_pairs(sales, stores, products, n_periods, calendar=calendar, exposure=exposure)
    tried = (
        list(families) if families is not None else _families(store_clusters, features, products, attributes)
    )
    tried = [family for family in tried if family.name != "baseline"]
    notes = list(pairs.notes)
    if holdout_share > 0:
        selection = select_families(
            pairs, tried, tune=tune, blend=blend, share=holdout_share, random_state=random_state
        )
    else:
        last = tried[-1] if tried else BaselineFamily()
        selection = single_family(pairs, last)
        notes.append(f"No hold-out was made: family '{last.name}' is used everywhere without proof.")
    _log.info("demand: %d pairs, %d families tried", len(pairs), len(tried))
    table = _table(pairs, selection, products, discount)
    return Demand(
        table=table,
        holdout=selection.holdout,
        chosen=selection.chosen,
        validated=discount is not None,
        scatter=_scatter_table(pairs, selection.scatter),
        unused=pairs.unused,
        n_periods=n_periods,
        discount=discount,
        families=tuple(family for family in selection.families if family.name != "baseline"),
        variants=selection.variants,
        blend=selection.weights,
        notes=tuple(notes),
    )


def _families(
    store_clusters: pd.Series | None,
    features: pd.DataFrame | None,
    products: pd.DataFrame,
    attributes: Sequence[str],
) -> list[Family]:
    found: list[Family] = []
    if store_clusters is not None:
        found.append(ClusterFamily(store_clusters))
    if features is not None:
        found += [
            NearestByMix(features),
            NearestBySales(),
            MixAffinity(features, products, tuple(attributes)),
            LowRank(),
        ]
    return found


def _scatter_table(pairs: Pairs, scatter: Sequence[Scatter]) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "category": pairs.categories,
            "dispersion": [s.dispersion for s in scatter],
            "heterogeneity": [s.heterogeneity for s in scatter],
            "pairs": np.bincount(pairs.pair_category, minlength=len(pairs.categories)),
        }
    )


def _table(
    pairs: Pairs, selection: Selection, products: pd.DataFrame, discount: NewListingDiscount | None
) -> pd.DataFrame:
    n_stores, n_skus = pairs.shape
    surface, scatter = selection.surface(pairs), selection.scatter
    chosen = selection.chosen["family"].tolist()
    units, factor_cv2 = surface.copy(), np.zeros(n_skus)
    if discount is not None:
        breadth = np.bincount(pairs.sku, minlength=n_skus) / n_stores
        factor, factor_cv2 = discount.factors(surface, pairs.categories[pairs.category], breadth)
        units = surface * factor
    low, high = _unlisted_interval(pairs, units, scatter, factor_cv2)
    place = (pairs.store, pairs.sku)
    units[place], low[place], high[place] = _listed(pairs, surface[place], scatter)
    listed = np.zeros((n_stores, n_skus), dtype=bool)
    exposure = np.zeros((n_stores, n_skus))
    listed[place], exposure[place] = True, pairs.exposure
    indexed = products.set_index("sku")
    unit_margin = (
        (indexed["price"].astype(float) - indexed["cost"].astype(float)).reindex(pairs.skus).to_numpy()
    )
    names = np.asarray([*chosen, OBSERVED], dtype=object)
    source = np.where(listed, len(chosen), pairs.category[None, :])
    return pd.DataFrame(
        {
            "store_id": pairs.stores.repeat(n_skus).astype("str"),
            "sku": np.tile(pairs.skus.to_numpy(dtype=object), n_stores),
            "category": np.tile(pairs.categories.to_numpy(dtype=object)[pairs.category], n_stores),
            "listed": listed.ravel(),
            "units": units.ravel(),
            "low": low.ravel(),
            "high": high.ravel(),
            "margin": (units * unit_margin).ravel(),
            "family": names[source.ravel()],
            "exposure": exposure.ravel(),
            "transferable_share": np.nan,
        }
    ).astype({"sku": "str", "category": "str", "family": "str"})


def _listed(
    pairs: Pairs, prior: np.ndarray, scatter: Sequence[Scatter]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return posterior mean and 90% interval of the rates of listed pairs."""
    mean, low, high = np.empty(len(pairs)), np.empty(len(pairs)), np.empty(len(pairs))
    for c, spread in enumerate(scatter):
        rows = np.flatnonzero(pairs.pair_category == c)
        shape, rate = spread.prior(prior[rows])
        mean[rows] = poisson_gamma(pairs.units[rows], pairs.exposure[rows], shape, rate)
        # Chance beyond Poisson: dispersion units carry the evidence of one.
        evidence = (shape + pairs.units[rows]) / spread.dispersion
        low[rows] = mean[rows] * gamma.ppf(0.05, evidence) / evidence
        high[rows] = mean[rows] * gamma.ppf(0.95, evidence) / evidence
    return mean, low, high


def _unlisted_interval(
    pairs: Pairs, units: np.ndarray, scatter: Sequence[Scatter], factor_cv2: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return the 90% interval of the true rates about their forecasts, wider for SKUs few stores list."""
    stores_listing = np.maximum(np.bincount(pairs.sku, minlength=pairs.shape[1]), 1)
    sold = np.maximum(np.bincount(pairs.sku, weights=pairs.units, minlength=pairs.shape[1]), 1.0)
    heterogeneity = np.array([s.heterogeneity for s in scatter])[pairs.category]
    dispersion = np.array([s.dispersion for s in scatter])[pairs.category]
    cv2 = heterogeneity * (1 + 1 / stores_listing) + dispersion / sold + factor_cv2
    shape = 1 / np.maximum(cv2, 1e-6)
    return units * (gamma.ppf(0.05, shape) / shape), units * (gamma.ppf(0.95, shape) / shape)
