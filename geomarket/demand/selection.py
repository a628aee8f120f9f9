"""Which family speaks for which category: fitted, chosen and reported on three parts of the listed pairs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from geomarket.demand.baseline import fit_baseline
from geomarket.demand.blend import blend_weights, blended
from geomarket.demand.evidence import gather_evidence
from geomarket.demand.families import BaselineFamily, Family
from geomarket.demand.holdout import (
    INNER,
    OUTER,
    TRAIN,
    choose_families,
    holdout_table,
    quasi_deviance,
    split_pairs,
)
from geomarket.demand.pairs import Pairs
from geomarket.demand.shrinkage import Scatter, fit_scatter

__all__ = ["BLEND", "Selection", "select_families", "single_family"]

BLEND = "blend"


@dataclass(frozen=True)
class Selection:
    """The families kept, which of them speaks for each category, and what held-out pairs said of them.

    Attributes
    ----------
    families : tuple of Family
        With the settings chosen; the baseline first.
    weights : dict of str to float
        Weights of the blend by family; empty where no blend was made.
    chosen, holdout, variants : DataFrame
        As of :class:`~geomarket.demand.model.Demand`.
    scatter : list of Scatter
        Per category, about forecasts of pairs that were held out.
    """

    families: tuple[Family, ...]
    weights: dict[str, float]
    chosen: pd.DataFrame
    holdout: pd.DataFrame
    variants: pd.DataFrame
    scatter: list[Scatter]

    def surface(self, pairs: Pairs) -> np.ndarray:
        """Fit what is needed to all pairs and return units per period, shape (n_stores, n_skus)."""
        names = self.chosen["family"].tolist()
        needed = set(names) | (set(self.weights) if BLEND in names else set())
        fit = _Fit(pairs)
        base = fit.base
        lifts = {family.name: fit.lift(family) for family in self.families if family.name in needed}
        surface = np.empty_like(base)
        for c, name in enumerate(names):
            columns = pairs.category == c
            if name == BLEND:
                mine = {member: lifts[member][:, columns] for member in self.weights}
                surface[:, columns] = blended(base[:, columns], mine, self.weights)
            else:
                surface[:, columns] = base[:, columns] * lifts[name][:, columns]
        return surface


def select_families(
    pairs: Pairs, families: Sequence[Family], *, tune: bool, blend: bool, share: float, random_state: int
) -> Selection:
    """Choose settings, blend weights and a family per category on the inner part; report on the outer.

    Parameters
    ----------
    pairs : Pairs
        All listed pairs.
    families : sequence of Family
        Beside the baseline.
    tune : bool
        Whether to choose settings within the families too.
    blend : bool
        Whether a blend of all families may be chosen too (needs at least two).
    share : float
        Share of each SKU's pairs in the inner and in the outer part.
    random_state : int
        Seed of the parts.

    Returns
    -------
    Selection
    """
    part = split_pairs(pairs, share, random_state)
    inner, outer = np.flatnonzero(part == INNER), np.flatnonzero(part == OUTER)
    first = _Fit(pairs.only(part == TRAIN))
    base = first.at(pairs, inner)
    units, exposure = pairs.units[inner], pairs.exposure[inner]
    noise = _scatter_at(pairs, inner, base * exposure)

    kept: list[Family] = [BaselineFamily()]
    lifts: dict[str, np.ndarray] = {}
    rows = []
    for family in families:
        best, best_loss = family, np.inf
        for variant in family.variants(pairs.shape[0]) if tune else [family]:
            lift = first.lift(variant)[pairs.store[inner], pairs.sku[inner]]
            loss = float(np.nansum(quasi_deviance(units, base * lift * exposure, *noise)))
            rows.append((family.name, _settings(variant), loss / max(len(inner), 1)))
            if loss < best_loss:
                best, best_loss, lifts[family.name] = variant, loss, lift
        kept.append(best)
    known = np.isfinite(base)
    weights: dict[str, float] = {}
    if blend and len(lifts) > 1 and known.sum() >= 50:
        found = {name: lift[known] for name, lift in lifts.items()}
        weights = blend_weights(
            units[known], (base * exposure)[known], found, *(part[known] for part in noise)
        )
    forecasts = _forecasts(base, lifts, weights)
    losses = {name: quasi_deviance(units, rate * exposure, *noise) for name, rate in forecasts.items()}
    chosen = choose_families(pairs.categories, pairs.category[pairs.sku[inner]], pairs.store[inner], losses)
    names = chosen["family"].tolist()

    second = _Fit(pairs.only(part != OUTER))
    again = {family.name: second.lift(family)[pairs.store[outer], pairs.sku[outer]] for family in kept[1:]}
    reported = _forecasts(second.at(pairs, outer), again, weights)
    holdout = holdout_table(pairs, outer, reported, names)
    held = np.concatenate([inner, outer])
    rate = np.concatenate([_mixed(pairs, inner, forecasts, names), _mixed(pairs, outer, reported, names)])
    variants = pd.DataFrame(rows, columns=["family", "setting", "deviance"])
    variants["chosen"] = [
        (name, setting) in {(f.name, _settings(f)) for f in kept}
        for name, setting in zip(variants["family"], variants["setting"])
    ]
    scatter = fit_scatters(pairs, held, np.nan_to_num(rate) * pairs.exposure[held], lost=0.0)
    return Selection(tuple(kept), weights, chosen, holdout, variants, scatter)


def single_family(pairs: Pairs, family: Family) -> Selection:
    """Use one family everywhere without a hold-out.

    Parameters
    ----------
    pairs : Pairs
        All listed pairs.
    family : Family
        Used as it is set.

    Returns
    -------
    Selection
    """
    fit = _Fit(pairs)
    rate = fit.at(pairs, np.arange(len(pairs))) * fit.lift(family)[pairs.store, pairs.sku]
    scatter = fit_scatters(
        pairs, np.arange(len(pairs)), np.nan_to_num(rate) * pairs.exposure, lost=float(sum(pairs.shape))
    )
    chosen = pd.DataFrame(
        {
            "category": pairs.categories,
            "family": family.name,
            "pairs": 0,
            "gain": np.nan,
            "gain_se": np.nan,
            "reason": "no hold-out",
        }
    )
    columns = [
        "category",
        "family",
        "chosen",
        "pairs",
        "wmape",
        "poisson_deviance",
        "spearman_within_sku",
        "bias",
    ]
    variants = pd.DataFrame(columns=["family", "setting", "deviance", "chosen"])
    return Selection((family,), {}, chosen, pd.DataFrame(columns=columns), variants, scatter)


class _Fit:
    """The baseline and lifts learnt from one part of the pairs."""

    def __init__(self, pairs: Pairs) -> None:
        self.base = fit_baseline(pairs).surface(pairs.category)
        self.evidence = gather_evidence(pairs, self.base)

    def at(self, pairs: Pairs, rows: np.ndarray) -> np.ndarray:
        return self.base[pairs.store[rows], pairs.sku[rows]]

    def lift(self, family: Family) -> np.ndarray:
        return family.lift(self.evidence)


def _settings(family: Family) -> str:
    """Return what can be set in a family, in words."""
    names = ("k", "rank", "ridge", "weighting", "common", "own")
    shown = [
        f"{name} {getattr(family, name):g}"
        for name in names
        if isinstance(getattr(family, name, None), (int, float))
    ]
    shown += [str(family.weighting)] if hasattr(family, "weighting") else []
    return ", ".join(shown)


def _forecasts(
    base: np.ndarray, lifts: Mapping[str, np.ndarray], weights: dict[str, float]
) -> dict[str, np.ndarray]:
    found = {"baseline": base, **{name: base * lift for name, lift in lifts.items()}}
    if weights:
        found[BLEND] = blended(base, dict(lifts), weights)
    return found


def _mixed(
    pairs: Pairs, rows: np.ndarray, forecasts: Mapping[str, np.ndarray], chosen: Sequence[str]
) -> np.ndarray:
    category = pairs.category[pairs.sku[rows]]
    mixed = np.empty(len(rows))
    for c, name in enumerate(chosen):
        mixed[category == c] = forecasts[name][category == c]
    return mixed


def _scatter_at(pairs: Pairs, rows: np.ndarray, mean: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    category = pairs.category[pairs.sku[rows]]
    found = fit_scatters(pairs, rows, np.nan_to_num(mean), lost=0.0)
    return (
        np.array([scatter.dispersion for scatter in found])[category],
        np.array([scatter.heterogeneity for scatter in found])[category],
    )


def fit_scatters(
    pairs: Pairs, rows: np.ndarray, mean: np.ndarray, lost: float, smallest: int = 200
) -> list[Scatter]:
    """Fit the scatter per category; a category with few pairs takes that of the whole shop.

    Parameters
    ----------
    pairs : Pairs
        All listed pairs.
    rows : ndarray of int
        Places of the pairs to use.
    mean : ndarray
        Expected units of those pairs; 0 where unknown.
    lost : float
        Degrees of freedom the expectations cost over all pairs.
    smallest : int
        Pairs a category needs for a scatter of its own.

    Returns
    -------
    list of Scatter
    """
    units, category = pairs.units[rows], pairs.category[pairs.sku[rows]]
    overall = fit_scatter(units, mean, lost=lost)
    found = []
    for c in range(len(pairs.categories)):
        inside = (category == c) & (mean > 0)
        part = lost * inside.sum() / max(len(rows), 1)
        found.append(
            fit_scatter(units[inside], mean[inside], lost=part) if inside.sum() >= smallest else overall
        )
    return found
