"""The promotion panel: what was sold, offered and not offered, small enough to fit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from geomarket.promotions.grid import DEPTH_STEP, OfferGrid, offer_grids

__all__ = ["PANEL_COLUMNS", "promotion_panel"]

#: Columns every panel must have.
PANEL_COLUMNS = [
    "store_cluster",
    "category",
    "sku",
    "period",
    "units",
    "exposure",
    "stores",
    "depth",
    "display",
    "mailer",
    "lag_depth",
]
#: Columns :func:`promotion_panel` adds, and a panel of another source may lack.
FURTHER_COLUMNS = ["mechanic", "lead", "zeros"]


def promotion_panel(
    sales: pd.DataFrame,
    promotions: pd.DataFrame,
    listings: pd.DataFrame,
    clusters: pd.DataFrame,
    products: pd.DataFrame,
    periods: Sequence[Any] | None = None,
) -> pd.DataFrame:
    """Add up sales by store cluster, SKU, period and offer, periods without a sale included.

    Stores of a cluster that made the same offer for a SKU in a period (depth, mechanic, display, mailer, depth the
    period before, and whether one follows) share a row; stores that did not are in another. So no offer is averaged
    with its absence, and a multiplicative response to the offer holds for the sum exactly as for each store.
    ``exposure`` is what those stores sell of the SKU in a plain period (no offer in it or just before it), the offset
    of a Poisson fit.

    Parameters
    ----------
    sales : DataFrame
        store_id, sku, period, units: one row per store, SKU and period with trade. Where returns exceed what a row
        of the panel sold, its units are set to 0.
    promotions : DataFrame
        store_id, sku, period, depth (0..1), display, mailer, and where known mechanic. A missing store_id means every
        store. Of two offers for one store, SKU and period the deeper counts, with the display and mailer of both.
    listings : DataFrame
        store_id, sku, and where known first_period, last_period: which pairs are on the shelf, and from when to
        when (inclusive). Sales outside are not used. Being out of stock counts as being on the shelf.
    clusters : DataFrame
        store_id, store_cluster.
    products : DataFrame
        sku, category.
    periods : sequence of dates, optional
        All trading periods in order; by default those with any sale.

    Returns
    -------
    DataFrame
        store_cluster, category, sku (all categorical), period, units, exposure, stores, depth, mechanic (categorical,
        the commonest first; on rows without a price cut the commonest), display, mailer, lag_depth, lead (an offer
        follows in the next period), zeros (stores of the row that sold nothing).
        SKUs that a cluster never sold are left out: a fit learns nothing from them.

    Raises
    ------
    TableError
        If a table lacks a column.

    Examples
    --------
    >>> sales = pd.DataFrame({"store_id": ["1", "2", "1"], "sku": "a", "units": [4.0, 2.0, 9.0],
    ...                       "period": pd.to_datetime(["2024-01-01", "2024-01-01", "2024-01-08"])})
    >>> offers = pd.DataFrame({"store_id": ["1"], "sku": ["a"], "period": pd.to_datetime(["2024-01-08"]),
    ...                        "depth": [0.2], "display": [False], "mailer": [True]})
    >>> pairs = pd.DataFrame({"store_id": ["1", "2"], "sku": ["a", "a"]})
    >>> panel = promotion_panel(sales, offers, pairs, pairs.assign(store_cluster="C1"),
    ...                         pd.DataFrame({"sku": ["a"], "category": ["tea"]}))
    >>> panel[["units", "stores", "depth"]].to_numpy().tolist()
    [[2.0, 1.0, 0.0], [4.0, 1.0, 0.0], [0.0, 1.0, 0.0], [9.0, 1.0, 0.2]]
    """
    grids = offer_grids(sales, promotions, listings, clusters, products, periods)
    parts: list[pd.DataFrame] = []
    mechanics: tuple[str, ...] = ("price cut",)
    for grid in grids:
        parts.append(_rows(grid).assign(category=grid.category))
        mechanics = grid.mechanics
    columns = [*PANEL_COLUMNS, *FURTHER_COLUMNS]
    panel = pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=columns)
    panel["mechanic"] = pd.Categorical.from_codes(
        panel["mechanic"].astype(int).to_numpy(), categories=pd.Index(list(mechanics))
    )
    for column in ("store_cluster", "category", "sku"):
        panel[column] = pd.Categorical(panel[column], categories=sorted(panel[column].unique()))
    return panel[columns]


def _rows(grid: OfferGrid) -> pd.DataFrame:
    """Add up one category's cells that share store cluster, SKU, period and offer."""
    cells, first = np.unique(
        grid.pairs["store_cluster"].astype(str) + "\x00" + grid.pairs["sku"].astype(str),
        return_inverse=True,
    )
    n_periods, n_mechanics = len(grid.calendar), len(grid.mechanics)
    pair, period = np.nonzero(grid.listed)
    cell = first[pair]
    weight = grid.plain_rate(first, len(cells))[pair]
    steps = np.round(grid.depth[pair, period] / DEPTH_STEP).astype(np.int64)
    lags = np.round(grid.lag_depth[pair, period] / DEPTH_STEP).astype(np.int64)
    state = lags * 20_000 + steps
    for flags in (grid.display, grid.mailer, grid.lead):
        state = state * 2 + flags[pair, period]
    state = state * n_mechanics + np.maximum(grid.mechanic[pair, period], 0)
    states, state = np.unique(state, return_inverse=True)
    rows, group = np.unique((cell * n_periods + period) * len(states) + state, return_inverse=True)
    sold = grid.units[pair, period]
    units = np.maximum(np.bincount(group, sold, len(rows)), 0.0)
    exposure = np.bincount(group, weight, len(rows))
    stores = np.bincount(group, minlength=len(rows))
    mechanic = states[rows % len(states)] % n_mechanics
    which = states[rows % len(states)] // n_mechanics
    rest = rows // len(states)
    names = np.array([c.split("\x00") for c in cells], dtype=object).reshape(-1, 2)[rest // n_periods]
    return pd.DataFrame(
        {
            "store_cluster": names[:, 0],
            "sku": names[:, 1],
            "period": grid.calendar[rest % n_periods],
            "units": units,
            "exposure": exposure,
            "stores": stores,
            "depth": np.round((which // 8) % 20_000 * DEPTH_STEP, 4),
            "mechanic": mechanic,
            "display": (which // 4) % 2 == 1,
            "mailer": (which // 2) % 2 == 1,
            "lead": which % 2 == 1,
            "lag_depth": np.round(which // 160_000 * DEPTH_STEP, 4),
            "zeros": np.bincount(group, sold <= 0, len(rows)),
        }
    )[exposure > 0]
