"""Index tables: how each neighbourhood type compares with the average, 100 being the average."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from geomarket.errors import TableError
from geomarket.market.model import Variable

__all__ = ["index_table"]

INDEX_COLUMNS = [
    "code",
    "level",
    "variable",
    "label",
    "unit",
    "mean",
    "overall",
    "index",
    "index_low",
    "index_high",
    "n_areas",
    "base",
    "strength",
    "parent_strength",
    "protected",
    "reliable",
]
Z_95 = 1.959963984540054


def index_table(
    rates: pd.DataFrame,
    codes: pd.DataFrame,
    variables: Sequence[Variable],
    population: pd.Series | None = None,
    denominators: pd.DataFrame | None = None,
    min_areas: int = 5,
    min_base: float = 100.0,
) -> pd.DataFrame:
    """Compare every type with the average of all typed areas, variable by variable.

    Parameters
    ----------
    rates : DataFrame of shape (n_areas, n_variables)
        Rates and means as published, before any transform.
    codes : DataFrame
        One column per level (``supergroup``, ``group`` …) on the same index; missing where an area has no type.
    variables : sequence of Variable
        Which columns to compare, with their labels.
    population : Series, optional
        People of each area; the base of variables without a denominator.
    denominators : DataFrame, optional
        Columns named by variable: the count each is a share of. A variable's average is then total over total.
    min_areas, min_base : int, float
        An index on fewer areas or a smaller base isn't ``reliable`` and is left out of names and portraits.

    Returns
    -------
    DataFrame
        code, level, variable, label, unit, mean, overall, index (100 = average of the typed areas: the mean of
        a variable's indices weighted by ``base`` is 100), index_low and index_high (95%), n_areas, base
        (people or households it is a share of), strength and parent_strength (distance of the mean from the
        average, and from the parent's mean, in standard deviations between areas), protected, reliable.

    Raises
    ------
    TableError
        If the indices differ.

    Notes
    -----
    The interval takes the areas as a sample of areas of this kind and follows from the linearised variance of
    the ratio of two ratio estimators (Cochran 1977); a census has no sampling error, so it says how much the
    areas of a type agree, not how well people were counted.

    Examples
    --------
    >>> rates = pd.DataFrame({"renting": [0.1, 0.2, 0.6]})
    >>> codes = pd.DataFrame({"supergroup": ["A", "A", "B"]})
    >>> renting = Variable("renting", "renting", "rate", "renting", "households")
    >>> table = index_table(rates, codes, [renting])
    >>> table[["code", "index"]].round(1).values.tolist()
    [['A', 50.0], ['B', 200.0]]
    """
    if not rates.index.equals(codes.index):
        raise TableError(
            "index table: rates and codes must be on the same index. Select both from one table."
        )
    for name, given in (("population", population), ("denominators", denominators)):
        if given is not None and not rates.index.isin(given.index).all():
            lost = rates.index[~rates.index.isin(given.index)][:3].tolist()
            raise TableError(f"index table: {name} has no row for areas {lost}. Select both from one table.")
    parts = []
    for variable in variables:
        if variable.name not in rates.columns:
            continue
        base = _base(variable.name, rates.index, population, denominators)
        parts.append(_one_variable(rates[variable.name], base, codes, variable))
    if not parts:
        return pd.DataFrame(columns=INDEX_COLUMNS)
    table = pd.concat(parts, ignore_index=True)
    table["reliable"] = (table["n_areas"] >= min_areas) & (table["base"] >= min_base) & table["index"].notna()
    order = {level: i for i, level in enumerate(codes.columns)}
    place = {variable.name: i for i, variable in enumerate(variables)}
    keys = pd.DataFrame(
        {"level": table["level"].map(order), "code": table["code"], "place": table["variable"].map(place)}
    )
    return table.loc[keys.sort_values(["level", "code", "place"]).index, INDEX_COLUMNS].reset_index(drop=True)


def _base(
    name: str, index: pd.Index, population: pd.Series | None, denominators: pd.DataFrame | None
) -> np.ndarray:
    if denominators is not None and name in denominators.columns:
        return denominators.loc[index, name].to_numpy(dtype=float)
    if population is not None:
        return population.loc[index].to_numpy(dtype=float)
    return np.ones(len(index))


def _one_variable(rate: pd.Series, base: np.ndarray, codes: pd.DataFrame, variable: Variable) -> pd.DataFrame:
    values = rate.to_numpy(dtype=float)
    typed = codes.iloc[:, 0].notna().to_numpy()
    use = typed & ~np.isnan(values) & (base > 0)
    x, d = values[use], base[use]
    total = d.sum()
    overall = float(d @ x / total) if total > 0 else np.nan
    spread = float(np.sqrt(d @ (x - overall) ** 2 / total)) if total > 0 else np.nan
    parts = []
    means: dict[str, float] = {"": overall}
    for level in codes.columns:
        kinds, place = np.unique(codes[level].to_numpy(dtype=object)[use].astype(str), return_inverse=True)
        everywhere = sorted(codes[level].dropna().astype(str).unique())
        part = _one_level(x, d, place, len(kinds), overall)
        part.insert(0, "code", kinds)
        part = part.set_index("code").reindex(everywhere).rename_axis("code").reset_index()
        part["base"], part["n_areas"] = part["base"].fillna(0.0), part["n_areas"].fillna(0).astype(int)
        above = part["code"].map(_parents(codes, level)).map(means)
        part["level"] = level
        part["strength"] = (part["mean"] - overall) / spread if spread > 0 else 0.0
        part["parent_strength"] = (part["mean"] - above) / spread if spread > 0 else 0.0
        means = dict(zip(part["code"], part["mean"], strict=True))
        parts.append(part)
    table = pd.concat(parts, ignore_index=True)
    table["overall"] = overall
    table["variable"], table["label"] = variable.name, variable.label
    table["unit"] = "share" if variable.kind == "rate" and not variable.unit else variable.unit
    table["protected"] = variable.protected
    return table


def _parents(codes: pd.DataFrame, level: str) -> Mapping[str, str]:
    """Code of the parent of every code of a level; the first level hangs on "" (all areas)."""
    place = list(codes.columns).index(level)
    own = codes[level].dropna()
    if place == 0:
        return dict.fromkeys(own.astype(str).unique(), "")
    above = codes.iloc[:, place - 1].loc[own.index]
    return dict(zip(own.astype(str), above.astype(str), strict=True))


def _one_level(x: np.ndarray, d: np.ndarray, place: np.ndarray, k: int, overall: float) -> pd.DataFrame:
    n, total = len(x), d.sum()
    base = np.bincount(place, d, minlength=k)
    areas = np.bincount(place, minlength=k)
    mean = np.bincount(place, d * x, minlength=k) / base
    scale = 100 / overall if overall > 0 else np.nan  # no index against an average of nothing
    with np.errstate(divide="ignore", invalid="ignore"):
        index = scale * mean
        # influence of each area on mean/overall: own part a where it is of the type, b everywhere
        ratio = mean / overall
        a = d / base[place] * (x - mean[place])
        b = d / total * (x - overall)
        own = np.bincount(place, a**2, minlength=k)
        cross = np.bincount(place, a * b, minlength=k)
        squares = own - 2 * ratio * cross + ratio**2 * (b**2).sum()
        error = scale * np.sqrt(np.maximum(squares, 0) * n / max(n - 1, 1))
    error = np.where(areas > 1, error, np.nan)  # one area says nothing about how much areas agree
    return pd.DataFrame(
        {
            "mean": mean,
            "index": index,
            "index_low": index - Z_95 * error,
            "index_high": index + Z_95 * error,
            "n_areas": areas,
            "base": base,
        }
    )
