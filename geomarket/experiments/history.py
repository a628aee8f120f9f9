"""What past tests say about the next plan: how much of what was promised came true."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from geomarket.errors import TableError
from geomarket.experiments.measure import PairedLift

__all__ = ["HISTORY_COLUMNS", "KeptShare", "as_history", "kept_share"]

HISTORY_COLUMNS = ["test", "start", "end", "kpi", "promised", "lift", "se", "pairs"]
"""Columns of the table ``measured``: one row per test and kpi."""

PRIOR_SD = 0.5
"""How far, before any test, the kept share is taken to lie from 1: within 0 to 2 in 19 cases of 20."""


@dataclass(frozen=True)
class KeptShare:
    """Share of the promised gains that tests found, and its standard error; ``tests``: how many there were."""

    estimate: float
    se: float
    tests: int

    def sentence(self) -> str:
        """Say it in words."""
        if not self.tests:
            return "No past test says how much of a promised gain is kept: the promise is taken as it is."
        one = self.tests == 1
        return (
            f"{self.tests} past {'test' if one else 'tests'} found {self.estimate:.0%} (± {1.645 * self.se:.0%}) of "
            "what was promised, drawn towards 100% as far as "
            f"{'it leaves' if one else 'they leave'} room; the expected gain is scaled by it."
        )


def as_history(lift: PairedLift, name: str, promised: float = float("nan")) -> pd.DataFrame:
    """Turn a measured test into rows that the next plan reads as the table ``measured``.

    A test says what all changes of a plan brought together. The next plan scales the gain it expects by that (see
    :func:`kept_share`); the response to single price cuts or displays can't be told from it and is left alone.

    Parameters
    ----------
    lift : PairedLift
        The finding.
    name : str
        Name of the test.
    promised : float
        Relative effect that the plan expected of the kpi its sentence is about; NaN where unknown.

    Returns
    -------
    DataFrame
        :data:`HISTORY_COLUMNS`: start and end (half open), promised (relative; of the main kpi only), lift (relative),
        se (log scale), pairs.
    """
    table = lift.table
    return pd.DataFrame(
        {
            "test": name,
            "start": lift.start,
            "end": lift.end,
            "kpi": table["kpi"],
            "promised": np.where(table["kpi"] == lift.kpi, promised, np.nan),
            "lift": table["lift"],
            "se": table["se"],
            "pairs": table["pairs"],
        }
    )[HISTORY_COLUMNS]


def kept_share(history: pd.DataFrame | None, prior_sd: float = PRIOR_SD) -> KeptShare:
    """Estimate how much of a promised gain is kept, from past tests.

    Each test says measured = share × promised + error. Before any test the share is taken to be 1, give or take
    ``prior_sd``: a promise that no test contradicts stands, and noisy tests move it little (normal-normal shrinkage,
    towards 1 and never towards 0).

    Parameters
    ----------
    history : DataFrame or None
        promised, lift (relative), se (log scale); rows where one is missing are not used, nor are promises of 0.
    prior_sd : float
        Spread of the share before any test.

    Returns
    -------
    KeptShare

    Raises
    ------
    TableError
        If a column is missing, or a standard error is not above 0.

    Examples
    --------
    >>> past = pd.DataFrame({"promised": [0.05, 0.04], "lift": [0.02, 0.02], "se": [0.01, 0.01]})
    >>> share = kept_share(past)
    >>> round(share.estimate, 2), share.tests
    (0.5, 2)
    """
    if history is None or history.empty:
        return KeptShare(1.0, prior_sd, 0)
    missing = [column for column in ("promised", "lift", "se") if column not in history]
    if missing:
        raise TableError(f"measured: no column {', '.join(missing)}; expected {', '.join(HISTORY_COLUMNS)}.")
    known = history[["promised", "lift", "se"]].astype(float).dropna()
    known = known[known["promised"] != 0]
    if (known["se"] <= 0).any():
        raise TableError(
            "measured: se must be above 0; it is the standard error of the lift on the log scale."
        )
    promised, found = np.log1p(known["promised"].to_numpy()), np.log1p(known["lift"].to_numpy())
    weight = 1 / known["se"].to_numpy() ** 2
    precision = 1 / prior_sd**2 + float((weight * promised**2).sum())
    mean = (1 / prior_sd**2 + float((weight * promised * found).sum())) / precision
    return KeptShare(float(mean), float(precision**-0.5), len(known))
