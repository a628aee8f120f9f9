"""Log-centred least squares: the classic way to calibrate Huff's model, kept for comparison only."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from geomarket.catchments.huff import Huff, match_flows
from geomarket.errors import FitWarning, NotSupportedError, SettingsError

__all__ = ["fit_log_centred"]


def fit_log_centred(
    pairs: pd.DataFrame,
    stores: pd.DataFrame,
    flows: pd.DataFrame,
    attraction: Sequence[str] = (),
    decay: str = "power",
    distance: str = "km",
    value: str = "trips",
    add: float = 0.0,
) -> pd.DataFrame:
    """Regress log shares on log attributes, both centred on their cell's mean; zeros have no logarithm.

    Use :meth:`Huff.fit` for results: dropping zero flows, or adding a constant to them, biases the exponents
    towards zero by a third and more. This is here to compare with older studies.

    Parameters
    ----------
    pairs, stores, flows, value
        As in :meth:`Huff.fit`.
    attraction, decay, distance
        As in :class:`Huff`.
    add : float
        Added to every flow; with 0, pairs without flow are left out.

    Returns
    -------
    DataFrame
        term, estimate; ``attrs["zero_share"]`` is the share of pairs without flow.

    Raises
    ------
    NotSupportedError
        Too few pairs with flow.

    Warns
    -----
    FitWarning
        More than 1% of the pairs have no flow.

    Notes
    -----
    Nakanishi & Cooper (1974). With noise-free shares it is exact.

    Examples
    --------
    >>> pairs = pd.DataFrame({"cell": [1, 1, 2, 2], "store_id": ["A", "B"] * 2, "km": [1.0, 2.0, 4.0, 1.0]})
    >>> stores = pd.DataFrame({"store_id": ["A", "B"]})
    >>> flows = pairs.assign(trips=1 / pairs["km"] ** 2)
    >>> fit_log_centred(pairs, stores, flows)["estimate"].round(6).tolist()
    [-2.0]
    """
    if add < 0:
        raise SettingsError(f"add = {add}: 0 or a small positive number is expected.")
    huff = Huff(attraction, decay=decay, distance=distance).fix(stores, {})  # type: ignore[arg-type]
    sets = huff.choice_sets(pairs, stores)
    trips = match_flows(pairs, flows, value)[0][sets.order]
    zero_share = float((trips == 0).mean())
    if zero_share > 0.01:
        warnings.warn(
            f"{zero_share:.1%} of the (cell, store) pairs have no flow. Log-centred least squares "
            f"{'leaves them out' if add == 0 else f'adds {add} to them'} and is biased; use Huff.fit.",
            FitWarning,
            stacklevel=2,
        )
    used = trips + add > 0
    cell = np.repeat(np.arange(sets.n_cells), sets.sizes)[used]
    columns = np.column_stack([sets.by_store[sets.store], sets.by_pair])[used]
    centred = _centre(np.column_stack([np.log(trips[used] + add), columns]), cell)
    if used.sum() <= sets.n_terms + len(np.unique(cell)):
        raise NotSupportedError(
            f"flows: {int(used.sum())} pairs with flow are too few for {sets.n_terms} coefficients."
        )
    estimate = np.linalg.lstsq(centred[:, 1:], centred[:, 0], rcond=None)[0]
    table = pd.DataFrame({"term": huff.params_["term"], "estimate": estimate})
    table.attrs["zero_share"] = zero_share
    return table


def _centre(values: NDArray[np.float64], group: NDArray[np.intp]) -> NDArray[np.float64]:
    size = np.bincount(group)
    out = np.empty_like(values)
    for j, column in enumerate(values.T):
        out[:, j] = column - (np.bincount(group, weights=column) / np.maximum(size, 1))[group]
    return out
