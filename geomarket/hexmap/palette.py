"""Colours that colour-blind readers can tell apart, and breaks a reader can remember.

Classes: Paul Tol's *bright* (to seven classes) and *muted* (to nine) schemes; numbers: viridis (van der Walt and
Smith, 2015). Missing data is never a colour of these scales.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from matplotlib import colormaps
from matplotlib.colors import to_hex, to_rgb

__all__ = ["class_colours", "nice_breaks", "number_colours", "shades"]

_TOL_BRIGHT = ("#4477AA", "#EE6677", "#228833", "#CCBB44", "#66CCEE", "#AA3377", "#BBBBBB")
_TOL_MUTED = (
    "#332288",
    "#88CCEE",
    "#44AA99",
    "#117733",
    "#999933",
    "#DDCC77",
    "#CC6677",
    "#882255",
    "#AA4499",
)


def class_colours(n_classes: int) -> list[str]:
    """Return one colour per class: Tol bright up to seven, muted up to nine, then lighter and darker shades.

    Examples
    --------
    >>> class_colours(2)
    ['#4477AA', '#EE6677']
    """
    if n_classes <= len(_TOL_BRIGHT):
        return list(_TOL_BRIGHT[:n_classes])
    if n_classes <= len(_TOL_MUTED):
        return list(_TOL_MUTED[:n_classes])
    rounds = -(-n_classes // len(_TOL_MUTED))
    spread = [shades(colour, rounds) for colour in _TOL_MUTED]
    return [spread[i % len(_TOL_MUTED)][i // len(_TOL_MUTED)] for i in range(n_classes)]


def shades(colour: str, n_shades: int) -> list[str]:
    """Return the colour in darker and lighter steps, for the groups within one supergroup.

    Examples
    --------
    >>> shades("#4477AA", 1)
    ['#4477aa']
    """
    base = np.array(to_rgb(colour))
    if n_shades <= 1:
        return [to_hex(colour)]
    steps = np.linspace(-0.38, 0.5, n_shades)
    mixed = [base * (1 + s) if s < 0 else base + (1 - base) * s for s in steps]
    return [to_hex((float(red), float(green), float(blue))) for red, green, blue in mixed]


def number_colours(n_classes: int, name: str = "viridis") -> list[str]:
    """Return colours of a numeric scale from low to high.

    Examples
    --------
    >>> number_colours(2)
    ['#440154', '#fde725']
    """
    colours = colormaps[name](np.linspace(0, 1, max(n_classes, 1)))
    return [to_hex(colour) for colour in colours]


def nice_breaks(values: npt.ArrayLike, n_classes: int = 7) -> list[float]:
    """Return inner class breaks near the quantiles, rounded to as few digits as keeps them apart.

    Parameters
    ----------
    values : array-like of float
        NaN are left out.
    n_classes : int
        Wanted number of classes; fewer where values repeat.

    Returns
    -------
    list of float
        Ascending, at most ``n_classes - 1``; empty where all values are alike.

    Examples
    --------
    >>> nice_breaks(np.arange(0, 701), 7)
    [100.0, 200.0, 300.0, 400.0, 500.0, 600.0]
    """
    known = np.asarray(values, dtype=float)
    known = known[np.isfinite(known)]
    if known.size == 0 or known.min() == known.max():
        return []
    quantiles = np.unique(np.quantile(known, np.arange(1, n_classes) / n_classes))
    quantiles = quantiles[(quantiles > known.min())]
    if quantiles.size == 0:
        quantiles = np.array([(known.min() + known.max()) / 2])
    for digits in range(1, 8):
        rounded = _round_significant(quantiles, digits)
        apart = np.unique(rounded)
        if apart.size == quantiles.size and _close(apart, quantiles, known):
            return [float(value) for value in apart]
    return [float(value) for value in quantiles]


def _round_significant(values: npt.NDArray[np.float64], digits: int) -> npt.NDArray[np.float64]:
    return np.array([float(f"{value:.{digits}g}") for value in values])


def _close(
    breaks: Sequence[float] | npt.NDArray[np.float64],
    quantiles: npt.NDArray[np.float64],
    known: npt.NDArray[np.float64],
) -> bool:
    """Whether rounding moved no break by more than a quarter of a class."""
    share = np.searchsorted(np.sort(known), breaks) / known.size
    wanted = np.searchsorted(np.sort(known), quantiles) / known.size
    return bool(np.abs(share - wanted).max() <= 0.25 / (len(quantiles) + 1))
