"""Where own stores stand against competitors, from what each side sells in all."""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy.optimize import brentq

from geomarket.catchments.huff import Huff, market_of, outside_utility, totals_of

__all__ = ["own_constant"]


def own_constant(
    huff: Huff, pairs: pd.DataFrame, stores: pd.DataFrame, totals: pd.DataFrame | None, market: pd.Series
) -> list[str]:
    """Set the coefficient of ``own`` so that own stores' share of all known totals is met; return what to say.

    Flows of own customers alone cannot tell what makes an own store differ from a competitor of the same
    size and distance. Totals of both sides can: one number, solved for, not estimated. Does nothing where
    ``own`` is no term or was already fitted; without competitors' totals it stays 0 and the note says so.

    Parameters
    ----------
    huff : Huff
        Fitted to flows; its ``beta_`` and ``params_`` are updated.
    pairs, stores, totals, market
        As in :meth:`Huff.fit_totals`; ``stores`` holds ``own``.

    Returns
    -------
    list of str
        Sentences for the plan's notes.
    """
    terms = huff.params_["term"]
    position = np.flatnonzero(terms == "own")
    if not len(position) or huff.params_["estimate"].notna().iloc[position[0]]:
        return []
    observed = np.full(len(stores), np.nan) if totals is None else totals_of(stores, totals, "revenue")
    known, own = np.isfinite(observed) & (observed > 0), stores["own"].to_numpy(dtype=bool)
    if not (known & ~own).any() or not (known & own).any():
        return [
            "Only own stores' customers are known, so a competitor is taken to draw as an own store of the same "
            "attributes would. Shares against competitors, the market's size and whitespace rest on that; give "
            "totals of competitors to set it from data."
        ]
    target = float(observed[known & own].sum() / observed[known].sum())
    sets = huff.choice_sets(pairs, stores)
    by_cell = market_of(sets.cells, market)
    size = sets.per_pair(by_cell)

    def own_share(constant: float) -> float:
        beta = huff.beta_.copy()
        beta[position[0]] = constant
        choice = sets
        if huff.outside_share > 0:
            choice = sets.with_outside(outside_utility(sets, beta, by_cell, huff.outside_share))
        drawn = sets.by_store_sum(size * choice.probabilities(beta))
        return float(drawn[known & own].sum() / drawn[known].sum())

    low, high = -10.0, 10.0
    if not own_share(low) < target < own_share(high):
        return [
            f"Own stores' share of known totals ({target:.1%}) cannot be met by any constant for own stores; "
            "competitors are taken to draw as own stores of the same attributes would."
        ]
    constant = float(brentq(lambda c: own_share(c) - target, low, high, xtol=1e-10))
    huff.beta_[position[0]] = constant
    huff.params_.loc[position[0], "estimate"] = constant
    huff.notes_ = [note for note in huff.notes_ if "as the reference level): own." not in note]
    return [
        f"Own stores draw {np.exp(constant):.2f} times what competitors of the same attributes would: set so "
        f"that their share of all known totals is met ({target:.1%})."
    ]
