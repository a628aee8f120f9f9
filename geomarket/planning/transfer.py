"""Substitution for the range stage: what buyers of an absent SKU take instead."""

from __future__ import annotations

import numpy as np
import pandas as pd

from geomarket import engine
from geomarket.assortment.pairs import Pairs
from geomarket.demand import Demand, Transference, assumed_transference, first_choices, learn_transference
from geomarket.errors import NotSupportedError
from geomarket.market import Market, PlanSettings
from geomarket.planning.trade import Trade

__all__ = ["choices_and_substitutes", "find_transference"]

MOST_SUBSTITUTES = 4


def find_transference(
    market: Market, trade: Trade, demand: Demand, settings: PlanSettings
) -> Transference | None:
    """Learn, from SKUs that came and went, how much of the demand for an absent SKU stays in the store.

    None where the settings switch substitution off, or where the sales can't tell it: ranges are then planned as if
    nobody substituted. A share in the settings is taken as it is and called assumed.
    """
    share = settings.assortment.substitution
    if share == "none":
        return None
    categories = sorted(demand.table["category"].unique())
    attributes = market.product_attributes
    if share != "auto":
        return assumed_transference(categories, attributes, float(share))
    half = len(trade.periods) // 2
    middle = trade.periods[half]
    early = engine.store_sku_periods(trade.sales, (None, middle))
    late = engine.store_sku_periods(trade.sales, (middle, None))
    try:
        learnt = learn_transference(
            demand, early, late, trade.products, attributes, (half, len(trade.periods) - half)
        )
    except NotSupportedError:
        return None
    return None if (learnt.table["source"] == "assumed").all() else learnt


def choices_and_substitutes(
    demand: pd.DataFrame, today: pd.DataFrame, products: pd.DataFrame, transference: Transference
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Turn forecasts under today's ranges into first choices, and list each SKU's substitutes.

    What a SKU sells today includes buyers of SKUs its store does not list. The optimiser moves buyers itself, so it
    must start from first choices, or it would count them twice.

    Parameters
    ----------
    demand : DataFrame
        store_id, sku, category, units, margin, low, high.
    today : DataFrame
        store_id, sku on the shelf.
    products : DataFrame
        sku, category and the attributes of the transference.
    transference : Transference
        Shares and likeness.

    Returns
    -------
    demand : DataFrame
        Units, margin, low and high of first choices, on the index of the input.
    substitutes : DataFrame
        sku, substitute, share: each SKU's strongest substitutes, which take what all of them together would.
    """
    there = Pairs(demand).among(today)
    indexed = products.set_index("sku")
    factor = pd.Series(1.0, index=demand.index)
    lines = []
    for _, rows in demand.assign(there=there).groupby("category", sort=True):
        units = rows.pivot(index="store_id", columns="sku", values="units").fillna(0.0)
        listed = rows.pivot(index="store_id", columns="sku", values="there").eq(True).to_numpy(dtype=float)
        matrix = transference.matrix(indexed.loc[units.columns].reset_index(), units.mean().to_numpy())
        first = first_choices(units.to_numpy(), listed, matrix)
        ratio = pd.DataFrame(
            np.divide(first, units.to_numpy(), out=np.ones_like(first), where=units.to_numpy() > 0),
            index=units.index,
            columns=units.columns,
        )
        keys = pd.MultiIndex.from_frame(rows[["store_id", "sku"]])
        factor.loc[rows.index] = ratio.stack().reindex(keys).to_numpy()
        lines.append(_strongest(matrix, units.columns.to_numpy()))
    scaled = {name: demand[name] * factor for name in ("units", "margin", "low", "high")}
    return demand.assign(**scaled), pd.concat(lines, ignore_index=True)


def _strongest(matrix: np.ndarray, skus: np.ndarray) -> pd.DataFrame:
    """Keep each row's largest shares, raised to the row's sum: what the others would have taken goes to them."""
    n = min(MOST_SUBSTITUTES, max(len(skus) - 1, 0))
    best = np.argsort(-matrix, axis=1, kind="stable")[:, :n]
    shares = np.take_along_axis(matrix, best, axis=1)
    kept = shares.sum(axis=1, keepdims=True)
    shares = np.divide(
        shares * matrix.sum(axis=1, keepdims=True), kept, out=np.zeros_like(shares), where=kept > 0
    )
    frame = pd.DataFrame(
        {
            "sku": np.repeat(skus, n),
            "substitute": skus[best.ravel()],
            "share": shares.ravel(),
        }
    )
    return frame[frame["share"] > 0]
