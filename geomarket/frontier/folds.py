"""Sales dealt into three folds: one to plan ranges on, one to choose by, one to report on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import ibis.expr.types as ir
import numpy as np
import pandas as pd

from geomarket import engine
from geomarket.demand import listing_spans
from geomarket.errors import NotSupportedError, SettingsError

__all__ = ["FOLDS", "FoldedSales", "deal_periods", "fold_sales"]

FOLDS = ("plan", "choose", "report")


@dataclass(frozen=True)
class FoldedSales:
    """Sales of each store × SKU in three folds of the same window.

    Attributes
    ----------
    table : DataFrame
        store_id, sku, fold (0 plan, 1 choose, 2 report), units, exposure (periods of the fold in which the pair was
        listed, judged from its first and last sale in the whole window). A pair on sale in a fold that sold
        nothing there is a row with units 0.
    calendar : DataFrame
        period, fold.
    """

    table: pd.DataFrame
    calendar: pd.DataFrame

    @property
    def n_periods(self) -> list[int]:
        """Periods in each fold."""
        return np.bincount(self.calendar["fold"], minlength=len(FOLDS)).tolist()


def deal_periods(periods: Sequence[Any], block: int, n_folds: int = 3) -> np.ndarray:
    """Deal consecutive blocks of periods to folds in turn, so that every fold has all seasons.

    Parameters
    ----------
    periods : sequence of dates
        All periods in order.
    block : int
        Periods per block: long enough that stocking up in one fold hardly spills into the next.
    n_folds : int
        Number of folds.

    Returns
    -------
    ndarray of int, shape (n_periods,)

    Examples
    --------
    >>> deal_periods(range(8), block=2).tolist()
    [0, 0, 1, 1, 2, 2, 0, 0]
    """
    if block < 1:
        raise SettingsError("frontier: block must be 1 period or more.")
    return np.arange(len(periods)) // block % n_folds


def fold_sales(
    sales: ir.Table, period: Literal["week", "month"] = "week", *, block: int | None = None
) -> FoldedSales:
    """Add up sales per store × SKU in three folds of alternating blocks.

    Parameters
    ----------
    sales : ibis table
        ``Market.sales``.
    period : {"week", "month"}
        Grain of the sales.
    block : int, optional
        Periods per block; 4 weeks or 1 month when None.

    Returns
    -------
    FoldedSales

    Raises
    ------
    NotSupportedError
        If there are fewer than two blocks for each fold. Give more history, or shorter blocks.
    """
    size = block if block is not None else (4 if period == "week" else 1)
    periods = engine.periods_of(sales)
    fold = deal_periods(periods, size)
    if len(periods) < 2 * len(FOLDS) * size:
        raise NotSupportedError(
            f"frontier: {len(periods)} periods make fewer than two blocks of {size} for each of three folds. "
            "Give more history or a shorter block."
        )
    frames = []
    for number in range(len(FOLDS)):
        mine = [day for day, f in zip(periods, fold) if f == number]
        frames.append(engine.store_sku_periods(sales.filter(sales["period"].isin(mine))).assign(fold=number))
    return FoldedSales(
        table=_exposures(pd.concat(frames, ignore_index=True), periods, fold),
        calendar=pd.DataFrame({"period": periods, "fold": fold}),
    )


def _exposures(frame: pd.DataFrame, periods: Sequence[Any], fold: np.ndarray) -> pd.DataFrame:
    keys = ["store_id", "sku"]
    whole = frame.groupby(keys, as_index=False, sort=True).agg(
        first_period=("first_period", "min"),
        last_period=("last_period", "max"),
        periods_sold=("periods_sold", "sum"),
    )
    start, end = listing_spans(whole, len(periods), calendar=periods)
    rows = []
    edges = np.arange(len(periods) + 1)
    for number in range(len(FOLDS)):
        passed = np.concatenate([[0], np.cumsum(fold == number)])
        exposure = np.interp(end, edges, passed) - np.interp(start, edges, passed)
        rows.append(whole[keys].assign(fold=number, exposure=exposure))
    listed = pd.concat(rows, ignore_index=True)
    both = listed.merge(
        frame[[*keys, "fold", "units"]], on=[*keys, "fold"], how="left", validate="one_to_one"
    )
    both["units"] = both["units"].fillna(0.0)
    both = both[(both["exposure"] > 0.5) | (both["units"] != 0)]
    return both[[*keys, "fold", "units", "exposure"]].sort_values([*keys, "fold"], ignore_index=True)
