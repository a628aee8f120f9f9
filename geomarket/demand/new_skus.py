"""SKUs that no store has sold yet: what they would sell, from their attributes.

A SKU's rate (units in a store of average size) is regressed on its attributes over the SKUs that do sell, with a
ridge that leaves categories alone; where it would sell better than elsewhere follows the SKUs most alike it. How far
such forecasts go wrong is measured on SKUs held out whole, and the interval is as wide as that.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import spearmanr

from geomarket.demand.exposure import listing_exposure
from geomarket.demand.holdout import holdout_metrics
from geomarket.demand.model import Demand
from geomarket.demand.sku_rates import (
    FOLDS,
    NEW,
    Shelf,
    cross_validated,
    judged_interval,
    likeness,
    predicted_rates,
    store_pattern,
)
from geomarket.errors import NotSupportedError, TableError
from geomarket.results import Result

__all__ = ["LaunchEvidence", "NewSkuForecast", "forecast_new_skus", "learn_launches", "with_new_skus"]

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class LaunchEvidence:
    """What SKUs sold that came after a forecast had been made from their attributes.

    Attributes
    ----------
    skus, pairs : int
        Launched SKUs, and their store × SKU pairs.
    ratio, se : float
        Units sold over units forecast in the stores that listed them, and its relative standard error over SKUs.
    wmape, coverage, spearman : float
        Of those forecasts after the ratio; share of pairs inside the 90% interval; rank correlation of rates over
        SKUs.
    """

    skus: int
    pairs: int
    ratio: float
    se: float
    wmape: float
    coverage: float
    spearman: float


@dataclass(frozen=True)
class NewSkuForecast(Result):
    """Forecasts for SKUs without sales, from their attributes.

    Attributes
    ----------
    table : DataFrame
        The columns of ``Demand.table``, one row per store × new SKU; ``family`` is "attributes".
    skus : DataFrame
        sku, category, units (per period in a store of average size), low, high (90%), alike (the existing SKU most
        like it), likeness (0 to 1).
    holdout : DataFrame
        model ("attributes", "category average"), skus, pairs, wmape, bias, spearman (over SKUs), coverage (share of
        pairs inside the 90% interval): existing SKUs held out whole.
    ridge : float
        Strength of the ridge that did best.
    factor : float
        What forecasts were multiplied by, because SKUs sell less in stores that have yet to list them.
    source : str
        Where the factor is from: "launches", "new listings" or "none".
    """

    table: pd.DataFrame
    skus: pd.DataFrame
    holdout: pd.DataFrame
    ridge: float
    factor: float
    source: str

    @property
    def validated(self) -> bool:
        """Whether SKUs launched later have shown how far such forecasts run high."""
        return self.source == "launches"

    def summary(self) -> list[str]:
        """Say how well held-out SKUs were met, and whether launches back the level."""
        held = self.holdout.set_index("model").to_dict("index")
        ours, plain = held[NEW], held["category average"]
        better = "better" if ours["wmape"] < plain["wmape"] else "NOT better"
        lines = [
            f"{len(self.skus):,} new SKUs are forecast from their attributes. On {int(ours['skus']):,} existing SKUs "
            f"held out whole such forecasts miss by {ours['wmape']:.0%} of units (WMAPE; {better} than the category's "
            f"average, {plain['wmape']:.0%}), and the 90% interval holds what {ours['coverage']:.0%} of them sold."
        ]
        if self.validated:
            lines.append(
                f"SKUs launched in the window sold {self.factor:.2f} of such forecasts or more: that factor is applied."
            )
        else:
            taken = "no discount is known"
            if self.source == "new listings":
                taken = "the discount of new listings is taken instead"
            lines.append(
                "Forecasts of new SKUs are UNVALIDATED: too few launches to tell how high they run; "
                f"{taken}. Try them out in a few stores."
            )
        return lines


def forecast_new_skus(
    demand: Demand,
    products: pd.DataFrame,
    skus: Sequence[str],
    attributes: Sequence[str],
    *,
    launches: LaunchEvidence | None = None,
    random_state: int = 0,
) -> NewSkuForecast:
    """Forecast SKUs that no store has sold, from their attributes.

    Parameters
    ----------
    demand : Demand
        Of the SKUs that sell.
    products : DataFrame
        sku, category, price, cost (money) and the attributes, of existing and new SKUs.
    skus : sequence of str
        The new ones. Their category must be one that sells.
    attributes : sequence of str
        Columns of ``products``: words (brand, subcategory) and figures (pack size). The price always counts.
    launches : LaunchEvidence, optional
        From :func:`learn_launches`; without it the forecasts are unvalidated.
    random_state : int
        Seed of the folds.

    Returns
    -------
    NewSkuForecast

    Raises
    ------
    TableError
        If a SKU isn't in ``products``, has sales already, or lacks a price, a cost or a known category.
    NotSupportedError
        If fewer than 30 SKUs sell: nothing can be learnt from their attributes.

    Notes
    -----
    Attribute-based forecasts of SKUs not carried follow Fisher & Vaidyanathan (2014); ridge: Hoerl & Kennard (1970).
    Log rates of existing SKUs count the more the more stores list them; the mean is right on SKUs held out (smearing;
    Duan 1983). The interval spans 5% to 95% of what held-out SKUs sold over their forecasts, each SKU counting
    alike (a cross-validated form of the jackknife+; Barber et al. 2021): it holds for SKUs like the ones that sell.
    What a new SKU takes from others is the transference's question, not this one's.

    Examples
    --------
    >>> from geomarket.demand import fit_demand
    >>> rng = np.random.default_rng(0)
    >>> products = pd.DataFrame({"sku": [f"k{i:02d}" for i in range(41)], "category": "tea", "cost": 1.0,
    ...     "price": np.tile([2.0, 3.0], 21)[:41], "brand": ["own" if i % 3 else "dear" for i in range(41)]})
    >>> rate = np.where(products["brand"] == "own", 8.0, 2.0)
    >>> sold = [(f"s{i}", f"k{j:02d}", rng.poisson(10 * rate[j]), 10.0) for i in range(6) for j in range(40)]
    >>> sales = pd.DataFrame(sold, columns=["store_id", "sku", "units", "exposure"])
    >>> stores = pd.DataFrame({"store_id": [f"s{i}" for i in range(6)]})
    >>> demand = fit_demand(sales, stores, products, None, 10)
    >>> found = forecast_new_skus(demand, products, ["k40"], ["brand"])
    >>> bool(6 < found.skus["units"].iloc[0] < 10)
    True
    """
    indexed = _checked(demand, products, skus, attributes)
    shelf = Shelf.of(demand, indexed)
    folds = np.random.default_rng([random_state, 11]).permutation(len(shelf.skus)) % FOLDS
    columns = [name for name in dict.fromkeys(["price", *attributes]) if name != "category"]
    ridge, held = cross_validated(shelf, indexed, columns, folds)
    level, low, high, holdout = judged_interval(shelf, held, folds)
    factor, source = _factor(demand, launches)

    known = indexed.loc[shelf.skus]
    fresh = indexed.loc[[*dict.fromkeys(str(sku) for sku in skus)]]
    rate = (
        np.exp(predicted_rates(known, fresh, shelf.rate, shelf.weight, columns, [ridge])[0]) * level * factor
    )
    alike = likeness(known, fresh, columns)
    units = rate[None, :] * store_pattern(shelf, known, fresh, alike)
    table = _table(demand, shelf, fresh, units, low, high)
    nearest = alike.argmax(axis=0)
    described = pd.DataFrame(
        {
            "sku": fresh.index.astype("str"),
            "category": fresh["category"].to_numpy(),
            "units": rate,
            "low": rate * low,
            "high": rate * high,
            "alike": known.index.to_numpy()[nearest],
            "likeness": alike[nearest, np.arange(len(fresh))],
        }
    )
    _log.info("new SKUs: %d forecast, ridge %g, factor %.2f (%s)", len(fresh), ridge, factor, source)
    return NewSkuForecast(table, described, holdout, ridge, factor, source)


def learn_launches(
    demand: Demand,
    later: pd.DataFrame,
    n_periods: int,
    products: pd.DataFrame,
    attributes: Sequence[str],
    *,
    calendar: Sequence[Any] | None = None,
    growth: float = 1.0,
    min_skus: int = 20,
    random_state: int = 0,
) -> LaunchEvidence:
    """Compare forecasts from attributes with what SKUs sold that were launched later.

    Parameters
    ----------
    demand : Demand
        Fitted on an earlier window.
    later : DataFrame
        Sales per pair in a later window, as :func:`~geomarket.demand.model.fit_demand` takes them.
    n_periods : int
        Periods in the later window.
    products : DataFrame
        sku, category, price, cost and the attributes.
    attributes : sequence of str
        As for :func:`forecast_new_skus`.
    calendar : sequence of dates, optional
        The later window's periods.
    growth : float
        How pairs listed in both windows grew (``NewListingDiscount.growth``): taken out of the ratio.
    min_skus : int
        Launches asked for.
    random_state : int
        Seed of the folds.

    Returns
    -------
    LaunchEvidence

    Raises
    ------
    NotSupportedError
        If too few SKUs were launched. Go without: forecasts of new SKUs stay unvalidated.
    """
    frame = later.sort_values(["store_id", "sku"], kind="stable", ignore_index=True)
    if "exposure" not in frame.columns:
        frame["exposure"] = listing_exposure(frame, n_periods, calendar=calendar)
    categories = products.drop_duplicates("sku").set_index("sku")["category"]
    sold = set(demand.table["sku"])
    fresh = frame[~frame["sku"].isin(sold) & frame["store_id"].isin(demand.table["store_id"])]
    fresh = fresh[fresh["sku"].map(categories).isin(demand.table["category"]) & (fresh["exposure"] > 0)]
    launched = sorted(fresh["sku"].unique())
    if len(launched) < min_skus:
        raise NotSupportedError(
            f"new SKUs: only {len(launched)} were launched in the later window, {min_skus} are asked for. "
            "Go without: forecasts of new SKUs stay unvalidated."
        )
    plain = replace(demand, discount=None)
    forecast = forecast_new_skus(plain, products, launched, attributes, random_state=random_state).table
    both = fresh.merge(
        forecast[["store_id", "sku", "units", "low", "high"]], on=["store_id", "sku"], suffixes=("", "_ahead")
    )
    expected = both["units_ahead"] * both["exposure"] * growth
    sums = pd.DataFrame({"seen": both["units"], "ahead": expected, "periods": both["exposure"]})
    sums = sums.groupby(both["sku"]).sum()
    ratio = float(sums["seen"].sum() / sums["ahead"].sum())
    left = sums["seen"] - ratio * sums["ahead"]
    n = len(sums)
    error = float(np.sqrt(n / (n - 1) * (left**2).sum()) / sums["seen"].sum())
    rate = (both["units"] / both["exposure"]).to_numpy()
    scale = min(ratio, 1.0) * growth
    inside = (rate >= both["low"] * scale) & (rate <= both["high"] * scale)
    figures = holdout_metrics(
        pd.factorize(both["sku"])[0],
        both["units"].to_numpy(dtype=float),
        both["exposure"].to_numpy(dtype=float),
        (both["units_ahead"] * ratio * growth).to_numpy(),
    )
    return LaunchEvidence(
        skus=n,
        pairs=len(both),
        ratio=ratio,
        se=error,
        wmape=figures["wmape"],
        coverage=float(inside.mean()),
        spearman=float(spearmanr(sums["seen"] / sums["periods"], sums["ahead"] / sums["periods"])[0]),
    )


def with_new_skus(demand: Demand, forecast: NewSkuForecast) -> Demand:
    """Return the demand with the new SKUs' forecasts in its table, and what is to be known of them in its notes.

    Parameters
    ----------
    demand : Demand
        Of the SKUs that sell.
    forecast : NewSkuForecast
        From :func:`forecast_new_skus`.

    Returns
    -------
    Demand
    """
    table = pd.concat([demand.table, forecast.table[demand.table.columns]], ignore_index=True)
    return replace(
        demand,
        table=table.sort_values(["store_id", "sku"], ignore_index=True),
        notes=(*demand.notes, *forecast.summary()),
    )


def _checked(
    demand: Demand, products: pd.DataFrame, skus: Sequence[str], attributes: Sequence[str]
) -> pd.DataFrame:
    missing = [c for c in ("sku", "category", "price", "cost", *attributes) if c not in products.columns]
    if missing:
        raise TableError(f"products: column '{missing[0]}' is missing. Forecasts of new SKUs need it.")
    indexed = products.drop_duplicates("sku").set_index("sku")
    unknown = [sku for sku in skus if sku not in indexed.index]
    if unknown:
        raise TableError(
            f"new SKUs: {len(unknown)} are not in products ({', '.join(unknown[:3])}). Add them there."
        )
    selling = demand.table["sku"].unique()
    sold = sorted(set(skus) & set(selling))
    if sold:
        raise TableError(f"new SKUs: {', '.join(sold[:3])} have sales already. Leave them out.")
    mine = indexed.loc[list(skus)]
    bare = mine.index[mine[["category", "price", "cost"]].isna().any(axis=1)]
    if len(bare):
        raise TableError(f"products: new SKU {bare[0]} lacks a category, price or cost. Fill it in.")
    odd = mine.index[~mine["category"].isin(demand.table["category"])]
    if len(odd):
        raise TableError(
            f"products: new SKU {odd[0]} is in category '{mine.loc[odd[0], 'category']}', in which nothing sells. "
            "Give it a category with sales."
        )
    if len(selling) < 30:
        raise NotSupportedError(
            f"new SKUs: only {len(selling)} SKUs sell, 30 are needed to learn from their attributes. "
            "Leave new SKUs out, or list them by must_list."
        )
    return indexed


def _factor(demand: Demand, launches: LaunchEvidence | None) -> tuple[float, str]:
    if launches is not None:
        return min(launches.ratio, 1.0), "launches"
    if demand.discount is not None:
        return min(demand.discount.overall, 1.0), "new listings"
    return 1.0, "none"


def _table(
    demand: Demand, shelf: Shelf, fresh: pd.DataFrame, units: np.ndarray, low: float, high: float
) -> pd.DataFrame:
    n_stores, n_new = units.shape
    margin = (fresh["price"].astype(float) - fresh["cost"].astype(float)).to_numpy()
    return pd.DataFrame(
        {
            "store_id": shelf.stores.repeat(n_new).astype("str"),
            "sku": np.tile(fresh.index.to_numpy(dtype=object), n_stores),
            "category": np.tile(fresh["category"].to_numpy(dtype=object), n_stores),
            "listed": False,
            "units": units.ravel(),
            "low": (units * low).ravel(),
            "high": (units * high).ravel(),
            "margin": (units * margin).ravel(),
            "family": NEW,
            "exposure": 0.0,
            "transferable_share": np.nan,
        }
    ).astype({"sku": "str", "category": "str", "family": "str"})
