"""From rates to the space k-means works in: shrink, transform, scale, weigh, and screen out what repeats itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
from scipy import optimize, stats

from geomarket.errors import SettingsError, TableError

__all__ = ["Preparation", "Shrinkage", "correlation_screen", "prepare", "shrink_rates"]

Transform = Literal["asinh", "log", "yeo-johnson", "none"]
Scaling = Literal["range", "z", "inter-decile"]
TRANSFORMS = ("asinh", "log", "yeo-johnson", "none")
SCALINGS = ("range", "z", "inter-decile")
DROPPED_COLUMNS = ["variable", "reason"]


@dataclass(frozen=True)
class Shrinkage:
    """Beta priors of each rate: mean (share) and strength (people or households worth of evidence)."""

    mean: pd.Series
    strength: pd.Series

    def only(self, names: pd.Index) -> Shrinkage:
        """Return the priors of some of the rates."""
        return Shrinkage(self.mean[names], self.strength[names])

    def apply(self, rates: pd.DataFrame, denominators: pd.DataFrame) -> pd.DataFrame:
        """Pull rates of small bases towards the prior mean."""
        out = rates.copy()
        for name in self.mean.index.astype(str):
            mean, base, strength = self.mean[name], denominators[name], self.strength[name]
            known = (base > 0) & rates[name].notna()
            shrunk = (rates[name] * base + mean * strength) / (base + strength)
            out[name] = shrunk.where(known)
        return out


def shrink_rates(rates: pd.DataFrame, denominators: pd.DataFrame) -> Shrinkage:
    """Estimate the beta-binomial prior of each rate by moments.

    Parameters
    ----------
    rates : DataFrame of shape (n_areas, n_rates)
        Shares 0..1; only columns also in ``denominators`` are used.
    denominators : DataFrame
        The count each rate is a share of, same index and column names.

    Returns
    -------
    Shrinkage
        A prior of strength 50 counts as much as 50 people. Where areas differ no more than chance would make
        them, the strength is capped at a million: every area then has the average.

    Notes
    -----
    Method of moments for the beta-binomial (Kleinman 1973). In simulations its gain was not established, so
    it is off unless asked for.

    Examples
    --------
    >>> rates = pd.DataFrame({"renting": [0.0, 0.5, 1.0, 0.4]})
    >>> base = pd.DataFrame({"renting": [2.0, 200.0, 2.0, 150.0]})
    >>> prior = shrink_rates(rates, base)
    >>> prior.apply(rates, base)["renting"].round(2).tolist()
    [0.43, 0.49, 0.48, 0.41]
    """
    means, strengths = {}, {}
    for name in [c for c in rates.columns if c in denominators.columns]:
        known = rates[name].notna() & (denominators[name] > 0)
        p = rates.loc[known, name].to_numpy(float)
        n = denominators.loc[known, name].to_numpy(float)
        if p.min(initial=0.0) < 0 or p.max(initial=0.0) > 1 + 1e-9:
            raise TableError(
                f"areas: {name} is to be shrunk as a share, but ranges from {p.min():.3g} to {p.max():.3g}. "
                "Leave it out of the denominators, or turn shrinkage off."
            )
        mean = float(n @ p / n.sum()) if len(p) else np.nan
        spread = float(n @ (p - mean) ** 2)
        # E[spread] = m(1-m) [ (N - 1') + rho (sum n - sum n²/N - (J - 1)) ] with rho = 1 / (strength + 1)
        chance = mean * (1 - mean)
        total, areas = n.sum(), len(p)
        room = total - (n**2).sum() / total - (areas - 1) if len(p) else 0.0
        rho = (spread / chance - (areas - 1)) / room if chance > 0 and room > 0 else 0.0
        rho = float(np.clip(rho, 1e-6, 1 - 1e-6))
        means[name], strengths[name] = mean, 1 / rho - 1
    return Shrinkage(pd.Series(means, dtype=float), pd.Series(strengths, dtype=float))


@dataclass(frozen=True)
class Preparation:
    """Stored transform: applied unchanged to areas that were not there at the fit.

    Attributes
    ----------
    table : DataFrame
        Index variable; columns multiplier, power (Yeo–Johnson's lambda or NaN), centre, spread, weight, fallback
        (1 where the range stood in for an inter-decile range of 0).
    transform, scaling : str

    Examples
    --------
    >>> rates = pd.DataFrame({"renting": [0.0, 0.2, 0.8]})
    >>> stored = prepare(rates, np.ones(3))
    >>> stored.variables, stored.transform, stored.scaling
    (['renting'], 'asinh', 'range')
    """

    table: pd.DataFrame
    transform: Transform
    scaling: Scaling

    @property
    def variables(self) -> list[str]:
        """Variables in the order of the columns of the prepared space."""
        return [str(name) for name in self.table.index]

    def apply(self, rates: pd.DataFrame) -> np.ndarray:
        """Return the prepared coordinates, shape (n_areas, n_variables); missing stays NaN.

        Raises
        ------
        TableError
            If a variable of the scheme isn't a column.

        Examples
        --------
        >>> rates = pd.DataFrame({"renting": [0.0, 0.2, 0.8]})
        >>> stored = prepare(rates, np.ones(3))
        >>> stored.apply(pd.DataFrame({"renting": [0.8, 0.4]})).ravel().round(3).tolist()
        [1.0, 0.863]
        """
        missing = [name for name in self.variables if name not in rates.columns]
        if missing:
            raise TableError(
                f"areas: the classification needs {len(missing)} columns that aren't there: {', '.join(missing[:5])}. "
                "Give them under the names used at the fit (as shares 0..1, where they were shares)."
            )
        values = rates[self.variables].to_numpy(dtype=float)
        out = np.empty_like(values)
        learnt = self.table[["multiplier", "power", "centre", "spread", "weight"]].to_numpy(dtype=float)
        for j, (multiplier, power, centre, spread, weight) in enumerate(learnt):
            changed = _transform(values[:, j] * multiplier, self.transform, power, self.variables[j])
            out[:, j] = (changed - centre) / spread * np.sqrt(weight)
        return out

    def notes(self) -> list[str]:
        """Say where the scaling had to differ from what was asked for."""
        fallback = [str(name) for name in self.table.index[self.table["fallback"] > 0]]
        if not fallback:
            return []
        return [
            f"{', '.join(fallback)}: four fifths of areas share one value, so the inter-decile range is 0; scaled by "
            "the whole range instead."
        ]

    def to_dict(self) -> dict[str, Any]:
        """Plain dict for JSON."""
        rows = [
            {
                "variable": str(name),
                **{k: (None if pd.isna(v) else float(v)) for k, v in row.items()},
            }
            for name, row in self.table.iterrows()
        ]
        return {"transform": self.transform, "scaling": self.scaling, "variables": rows}

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> Preparation:
        """Inverse of :meth:`to_dict`.

        Examples
        --------
        >>> rates = pd.DataFrame({"renting": [0.0, 0.2, 0.8]})
        >>> stored = prepare(rates, np.ones(3))
        >>> again = Preparation.from_dict(stored.to_dict())
        >>> bool((again.apply(rates) == stored.apply(rates)).all())
        True
        """
        table = pd.DataFrame(stored["variables"]).set_index("variable").astype(float)
        return cls(table, stored["transform"], stored["scaling"])


def prepare(
    rates: pd.DataFrame,
    mass: np.ndarray,
    transform: Transform = "asinh",
    scaling: Scaling = "range",
    multiplier: float | Mapping[str, float] = 100.0,
    weights: Mapping[str, float] | None = None,
) -> Preparation:
    """Learn how rates become coordinates.

    Parameters
    ----------
    rates : DataFrame of shape (n_areas, n_variables)
        Complete rows only.
    mass : ndarray of shape (n_areas,)
        Weight of each area in means, deviations, deciles and Yeo–Johnson powers. The range is the plain range.
    transform : {"asinh", "log", "yeo-johnson", "none"}
        Inverse hyperbolic sine, log(1 + x), Yeo–Johnson with a maximum-likelihood power, or none.
    scaling : {"range", "z", "inter-decile"}
        To 0..1; to mean 0 and standard deviation 1; or median 0 and 10th-to-90th-percentile distance 1.
    multiplier : float or mapping
        What values are multiplied by first. The open classifications transform percentages, so shares are
        taken times 100: asinh is close to linear below 1 and would leave shares as they are.
    weights : mapping, optional
        Weight of a variable in the squared distance, 1 by default.

    Returns
    -------
    Preparation

    Notes
    -----
    Inverse hyperbolic sine and range as in the UK output area classifications (Gale et al. 2016);
    inter-decile range as in Vickers and Rees (2007); Yeo and Johnson (2000).

    Examples
    --------
    >>> rates = pd.DataFrame({"renting": [0.0, 0.2, 0.8]})
    >>> prepare(rates, np.ones(3)).apply(rates).ravel().round(3).tolist()
    [0.0, 0.727, 1.0]
    """
    rows = []
    for name in rates.columns:
        times = float(multiplier.get(name, 100.0)) if isinstance(multiplier, Mapping) else float(multiplier)
        values = rates[name].to_numpy(dtype=float) * times
        power = _yeo_johnson_power(values, mass) if transform == "yeo-johnson" else np.nan
        centre, spread, fallback = _scale(_transform(values, transform, power, name), mass, scaling)
        weight = 1.0 if weights is None else float(weights.get(name, 1.0))
        rows.append((name, times, power, centre, spread, weight, fallback))
    columns = ["variable", "multiplier", "power", "centre", "spread", "weight", "fallback"]
    table = pd.DataFrame(rows, columns=columns)
    return Preparation(table.set_index("variable").astype(float), transform, scaling)


def correlation_screen(
    points: np.ndarray, names: list[str], mass: np.ndarray, max_correlation: float | None
) -> pd.DataFrame:
    """Say which variables to leave out because another one tells the same.

    While some pair correlates above the limit, the member of the strongest pair that correlates more with all
    the others goes (ties: the later column).

    Parameters
    ----------
    points : ndarray of shape (n_areas, n_variables)
        Prepared coordinates.
    names : list of str
        Name of each column.
    mass : ndarray of shape (n_areas,)
        Weight of each area.
    max_correlation : float or None
        Largest absolute weighted Pearson correlation allowed; None keeps everything.

    Returns
    -------
    DataFrame
        variable, reason.

    Examples
    --------
    >>> points = np.array([[0.0, 1.0, 3.0], [1.0, 0.0, 9.0], [2.0, -1.0, 4.0]])
    >>> correlation_screen(points, ["owned", "rented", "other"], np.ones(3), 0.9)["variable"].tolist()
    ['rented']
    """
    if max_correlation is None:
        return pd.DataFrame(columns=DROPPED_COLUMNS)
    share = mass / mass.sum()
    gaps = points - share @ points
    cov = (gaps * share[:, None]).T @ gaps
    deviation = np.sqrt(np.diag(cov))
    full = np.round(cov / np.outer(deviation, deviation), 12)
    strength = np.abs(full)
    np.fill_diagonal(strength, 0.0)
    left = list(range(len(names)))
    dropped = []
    while len(left) > 1:
        part = strength[np.ix_(left, left)]
        a, b = np.unravel_index(int(part.argmax()), part.shape)
        if part[a, b] <= max_correlation:
            break
        first, second = sorted((int(a), int(b)))
        goes = first if part[first].mean() > part[second].mean() + 1e-12 else second
        stays = second if goes == first else first
        dropped.append(
            (
                names[left[goes]],
                f"correlates {full[left[goes], left[stays]]:+.2f} with {names[left[stays]]}, which is kept "
                f"(limit {max_correlation:g})",
            )
        )
        del left[goes]
    return pd.DataFrame(dropped, columns=DROPPED_COLUMNS)


def check_choice(value: str, allowed: tuple[str, ...], setting: str) -> None:
    """Refuse a setting that isn't one of the allowed words."""
    if value not in allowed:
        options = ", ".join(f"'{word}'" for word in allowed)
        raise SettingsError(f"{setting} '{value}' is not known. Use one of {options}.")


def _transform(values: np.ndarray, transform: str, power: float, name: str) -> np.ndarray:
    if transform == "asinh":
        return np.arcsinh(values)
    if transform == "log":
        if np.nanmin(values, initial=0.0) <= -1:
            raise TableError(
                f"areas: {name} has values down to {np.nanmin(values):.3g}, and log(1 + x) needs more than -1. "
                "Use the transform 'asinh' or 'yeo-johnson'."
            )
        return np.log1p(values)
    if transform == "yeo-johnson":
        out = np.full_like(values, np.nan)
        known = ~np.isnan(values)
        out[known] = stats.yeojohnson(values[known], lmbda=power)
        return out
    return values


def _yeo_johnson_power(values: np.ndarray, mass: np.ndarray) -> float:
    """Weighted maximum-likelihood power, searched between -3 and 5."""
    share = mass / mass.sum()
    jacobian = float(share @ (np.sign(values) * np.log1p(np.abs(values))))

    def loss(power: float) -> float:
        changed = stats.yeojohnson(values, lmbda=power)
        variance = share @ (changed - share @ changed) ** 2
        return 0.5 * np.log(variance) - (power - 1) * jacobian if variance > 0 else np.inf

    return float(optimize.minimize_scalar(loss, bounds=(-3.0, 5.0), method="bounded").x)


def _scale(values: np.ndarray, mass: np.ndarray, scaling: str) -> tuple[float, float, bool]:
    """Centre, spread, and whether the range stood in."""
    low, high = float(values.min()), float(values.max())
    if scaling == "range":
        return low, high - low, False
    if scaling == "z":
        share = mass / mass.sum()
        mean = float(share @ values)
        return mean, float(np.sqrt(share @ (values - mean) ** 2)), False
    tenth, middle, ninetieth = _weighted_quantiles(values, mass, (0.1, 0.5, 0.9))
    if ninetieth > tenth:
        return middle, ninetieth - tenth, False
    return middle, high - low, True


def _weighted_quantiles(values: np.ndarray, mass: np.ndarray, at: tuple[float, ...]) -> list[float]:
    order = np.argsort(values, kind="stable")
    position = (np.cumsum(mass[order]) - 0.5 * mass[order]) / mass.sum()
    return [float(np.interp(q, position, values[order])) for q in at]
