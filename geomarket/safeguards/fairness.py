"""Whether poor and rich areas are offered the same."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from geomarket.errors import NotSupportedError, SettingsError, TableError
from geomarket.results import Result

__all__ = ["Exposure", "exposure_ratio"]

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Exposure(Result):
    """What the most deprived fifth of the people is offered, against the least deprived fifth.

    Attributes
    ----------
    table : DataFrame
        quintile (1 = least deprived), areas, weight, mean (weighted exposure).
    ratio, low, high : float
        Most over least deprived, and its bootstrap interval.
    verdict : {"unequal", "unclear", "equal"}
        unequal: the interval lies outside the band; unclear: the ratio does, the interval does not; equal: the ratio
        lies inside.
    band : tuple of float
    """

    table: pd.DataFrame
    ratio: float
    low: float
    high: float
    verdict: str
    band: tuple[float, float]
    exposure: str
    confidence: float

    def summary(self) -> list[str]:
        """Return whether the offer differs by deprivation."""
        text = (
            f"{self.exposure}: the most deprived fifth gets {self.ratio:.2f} times what the least deprived fifth gets "
            f"({self.confidence:.0%} interval {self.low:.2f} to {self.high:.2f}; {self.band[0]:g} to {self.band[1]:g} "
            "counts as equal)."
        )
        ends = {
            "unequal": " Look into this before the plan goes out.",
            "unclear": " That may be chance: look again with more areas.",
            "equal": "",
        }
        return [text + ends[self.verdict]]

    def plot(self, ax: Any = None) -> Any:
        """Draw the mean exposure by quintile of deprivation."""
        import matplotlib.pyplot as plt

        axes = plt.subplots(figsize=(4, 3))[1] if ax is None else ax
        axes.bar(self.table["quintile"], self.table["mean"])
        axes.set_xlabel("Fifth of the people, 5 = most deprived")
        axes.set_ylabel(self.exposure)
        return axes


def exposure_ratio(
    areas: pd.DataFrame,
    exposure: str,
    deprivation: str,
    weight: str | None = None,
    band: tuple[float, float] = (0.8, 1.25),
    n_bootstrap: int = 1000,
    confidence: float = 0.9,
    random_state: int = 0,
) -> Exposure:
    """Compare what deprived and well-off areas are offered.

    Parameters
    ----------
    areas : DataFrame
        One row per area or store catchment: ``exposure`` (SKUs listed, depth of promotions, share of healthy SKUs …,
        ≥ 0), ``deprivation`` (higher = more deprived), and ``weight`` (people). Rows with a gap are left out.
    exposure, deprivation : str
        Columns.
    weight : str or None
        Column of people; areas count alike without it.
    band : tuple of float
        Ratios that count as equal.
    n_bootstrap : int
        Resamples of areas for the interval.
    confidence : float
        Level of the interval.
    random_state : int
        Seed of the resamples.

    Returns
    -------
    Exposure

    Raises
    ------
    TableError
        A column is missing, or an exposure or weight is negative.
    NotSupportedError
        Fewer than 10 areas, no spread in deprivation, or nothing offered to the least deprived fifth.

    Notes
    -----
    The four-fifths band is a convention to start a conversation, not a legal test. Neighbouring areas share stores, so
    the interval, which takes areas as independent, is rather too narrow.

    Examples
    --------
    >>> areas = pd.DataFrame({"skus": [100.0] * 15 + [50.0] * 15, "poverty": range(30)})
    >>> exposure_ratio(areas, "skus", "poverty").verdict
    'unequal'
    """
    if not 0 < band[0] < 1 < band[1]:
        raise SettingsError(f"band = {band}: a range around 1, such as (0.8, 1.25), is expected.")
    used = _usable(areas, exposure, deprivation, weight)
    value = used[exposure].to_numpy(dtype=float)
    people = np.ones(len(used)) if weight is None else used[weight].to_numpy(dtype=float)
    rank = used[deprivation].to_numpy(dtype=float)
    fifth = _weighted_fifths(rank, people)
    poor, rich = fifth == 5, fifth == 1
    if not (poor.any() and rich.any()):
        raise NotSupportedError(
            "areas: one area holds so many of the people that there are no fifths; use smaller areas."
        )
    top = np.average(value[rich], weights=people[rich])
    if not top > 0:
        raise NotSupportedError(
            f"areas: the least deprived fifth has no {exposure}, so there is no ratio to it."
        )
    ratio = float(np.average(value[poor], weights=people[poor]) / top)
    rng = np.random.default_rng(random_state)
    above = _resampled_means(value[poor], people[poor], n_bootstrap, rng)
    below = _resampled_means(value[rich], people[rich], n_bootstrap, rng)
    draws = above / np.where(below > 0, below, np.nan)
    low, high = (float(q) for q in np.nanquantile(draws, [0.5 - confidence / 2, 0.5 + confidence / 2]))
    outside = not band[0] <= ratio <= band[1]
    verdict = "unequal" if low > band[1] or high < band[0] else "unclear" if outside else "equal"
    table = pd.DataFrame({"quintile": fifth, "weight": people, "_sum": value * people})
    table = table.groupby("quintile").agg(
        areas=("weight", "size"), weight=("weight", "sum"), mean=("_sum", "sum")
    )
    table["mean"] = table["mean"] / table["weight"]
    return Exposure(table.reset_index(), ratio, low, high, verdict, band, exposure, confidence)


def _usable(areas: pd.DataFrame, exposure: str, deprivation: str, weight: str | None) -> pd.DataFrame:
    columns = [exposure, deprivation, *([weight] if weight else [])]
    missing = [c for c in columns if c not in areas.columns]
    if missing:
        raise TableError(f"areas: column(s) {', '.join(missing)} missing; {', '.join(columns)} are needed.")
    used = areas[columns].dropna()
    for column in [exposure, *([weight] if weight else [])]:
        if (used[column] < 0).any():
            raise TableError(
                f"areas: {int((used[column] < 0).sum())} rows have negative {column}; 0 or more is expected."
            )
    if weight:
        used = used[used[weight] > 0]
    if len(used) < 10 or used[deprivation].nunique() < 5:
        raise NotSupportedError(
            f"areas: {len(used)} usable areas with {used[deprivation].nunique()} levels of {deprivation} are too few "
            "to tell fifths apart; at least 10 and 5 are needed."
        )
    return used.sort_values([deprivation, exposure], kind="stable")


def _weighted_fifths(rank: Floats, people: Floats) -> NDArray[np.intp]:
    """Fifths of the people by deprivation; areas of equal deprivation stay together."""
    levels, group = np.unique(rank, return_inverse=True)
    mass = np.bincount(group, weights=people, minlength=len(levels))
    middle = (np.cumsum(mass) - mass / 2) / mass.sum()
    return np.minimum((middle * 5).astype(np.intp), 4)[group] + 1


def _resampled_means(value: Floats, people: Floats, n: int, rng: np.random.Generator) -> Floats:
    pick = rng.integers(0, len(value), (n, len(value)))
    return (value[pick] * people[pick]).sum(axis=1) / people[pick].sum(axis=1)
