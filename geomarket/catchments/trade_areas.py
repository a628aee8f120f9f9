"""Core trade areas: the fewest cells that hold most of a store's custom."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from geomarket.errors import SettingsError, TableError

__all__ = ["trade_areas"]


def trade_areas(
    demand: pd.DataFrame, value: str = "demand", bands: Sequence[float] = (0.5, 0.7, 0.9)
) -> pd.DataFrame:
    """Find each store's smallest set of cells that holds 50, 70 and 90% of its custom.

    Parameters
    ----------
    demand : DataFrame
        cell, store_id and ``value`` (customers, trips or money; modelled or observed).
    value : str
        Column to accumulate; rows at or below 0 or missing hold no custom.
    bands : sequence of float
        Shares between 0 and 1, ascending.

    Returns
    -------
    DataFrame
        store_id, cell, share (of the store's total), cumulative, band (the smallest band the cell belongs to);
        per store from the strongest cell outwards; cells beyond the last band are left out.

    Notes
    -----
    The primary, secondary and tertiary trade areas of Applebaum (1966), taken over cells instead of rings.

    Examples
    --------
    >>> demand = pd.DataFrame({"cell": [1, 2, 3], "store_id": ["A"] * 3, "demand": [60.0, 30.0, 10.0]})
    >>> trade_areas(demand)[["cell", "share", "band"]].to_dict("list")
    {'cell': [1, 2], 'share': [0.6, 0.3], 'band': [0.5, 0.7]}
    """
    edges = np.asarray(bands, dtype=float)
    if not len(edges) or (np.diff(edges) <= 0).any() or edges[0] <= 0 or edges[-1] > 1:
        raise SettingsError(f"bands = {list(bands)}: ascending shares above 0 and up to 1 are expected.")
    missing = [c for c in ("cell", "store_id", value) if c not in demand.columns]
    if missing:
        raise TableError(
            f"demand: column(s) {', '.join(missing)} missing; cell, store_id and {value} are needed."
        )
    held = demand.loc[demand[value] > 0, ["store_id", "cell", value]]
    held = held.groupby(["store_id", "cell"], sort=True)[[value]].sum().reset_index()
    held = held.sort_values(["store_id", value, "cell"], ascending=[True, False, True], kind="stable")
    by_store = held.groupby("store_id", sort=False)[value]
    share = held[value] / by_store.transform("sum")
    cumulative = share.groupby(held["store_id"], sort=False).cumsum()
    # a cell is in a band when the cells before it do not fill the band yet (up to rounding)
    position = np.searchsorted(edges - 1e-12, (cumulative - share).to_numpy(), side="right")
    inside = position < len(edges)
    return pd.DataFrame(
        {
            "store_id": held["store_id"][inside],
            "cell": held["cell"][inside],
            "share": share[inside],
            "cumulative": cumulative[inside].clip(upper=1.0),
            "band": edges[position[inside]],
        }
    ).reset_index(drop=True)
