"""Categories of areas (land use, urban class) as shares, so that they travel the same road as rates."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd

from geomarket.errors import TableError
from geomarket.hexes.layers import prepare_layer
from geomarket.market.model import AreaLayer, Variable

__all__ = ["with_categories"]

_MOST_CATEGORIES = 50


def with_categories(
    layer: AreaLayer, column: str, by: str | None = None, classify: bool = True, protected: bool = False
) -> AreaLayer:
    """Add the categories of a column as share variables.

    Each category becomes a rate: the share of a hexagon's people (or surface) that belongs to areas of that
    category. The shares of one hexagon add up to 1; an area whose category is missing is left out of all.

    Parameters
    ----------
    layer : AreaLayer
        Not changed.
    column : str
        Column with one category an area.
    by : str, optional
        Count column the shares are of; by default the layer's population, or, if it has none, surface.
    classify : bool
        Whether the new variables may describe neighbourhood types.
    protected : bool
        Whether they are a protected trait.

    Returns
    -------
    AreaLayer
        With one more variable a category, named ``<column>_<category>``.

    Raises
    ------
    TableError
        No such column, or so many different values (more than 50) that it can't be a category.

    Examples
    --------
    >>> import geopandas as gpd, shapely
    >>> from geomarket.hexes import interpolate, with_categories
    >>> from geomarket.market.model import AreaLayer
    >>> frame = gpd.GeoDataFrame({"area_id": ["a", "b"], "use": ["urban", "rural"], "people": [300.0, 100.0]},
    ...     geometry=[shapely.box(0, 50, 0.1, 50.1), shapely.box(0.1, 50, 0.2, 50.1)], crs=4326)
    >>> layer = with_categories(AreaLayer("census", frame, (), population="people"), "use")
    >>> [v.name for v in layer.variables]
    ['use_rural', 'use_urban']
    >>> table = interpolate(layer, 6).table
    >>> bool(((table["use_rural"] + table["use_urban"] - 1).abs() < 1e-12).all())
    True
    """
    if column not in layer.frame.columns:
        raise TableError(
            f"areas '{layer.name}': no column '{column}' to take categories from "
            f"(columns: {', '.join(map(str, layer.frame.columns[:6]))} …)."
        )
    values = _as_text(layer.frame[column])
    known = values.notna()
    categories = sorted(values[known].unique())
    if len(categories) > _MOST_CATEGORIES:
        raise TableError(
            f"areas '{layer.name}': column '{column}' has {len(categories):,} different values, too many for "
            f"categories (at most {_MOST_CATEGORIES}). Group them first."
        )
    frame = layer.frame.copy()
    by = by or layer.population
    if by is None:
        by, surface = f"{column}=surface_km2", prepare_layer(layer)
        frame[by] = pd.Series(surface.area / 1e6, index=frame.index[surface.order])
    elif by not in frame.columns:
        raise TableError(f"areas '{layer.name}': no column '{by}' to weigh the categories of '{column}' by.")
    weight = frame[by].to_numpy(dtype=np.float64, na_value=np.nan)
    added: list[Variable] = []
    for category in categories:
        name = f"{column}_{_plain(category)}"
        if any(v.name == name for v in (*layer.variables, *added)):
            raise TableError(
                f"areas '{layer.name}': category '{category}' of '{column}' would be called {name}, which is "
                "taken. Rename the category or the variable."
            )
        share = np.where((values == category).fillna(False).to_numpy(dtype=bool), weight, 0.0)
        frame[f"{column}={category}"] = np.where(known.to_numpy(), share, np.nan)
        added.append(
            Variable(name, category, "rate", f"{column}={category}", by, classify, protected, "share")
        )
    return AreaLayer(
        layer.name, frame, (*layer.variables, *added), layer.population, layer.vintage, layer.source
    )


def _as_text(values: pd.Series) -> pd.Series:
    """Categories as text; codes read as floats because some are missing lose their point; blanks are missing."""
    if pd.api.types.is_float_dtype(values) and (values.dropna() % 1 == 0).all():
        values = values.astype("Int64")
    text = values.astype("string").str.strip()
    return text.mask(text == "")


def _plain(text: str) -> str:
    return re.sub(r"\W+", "_", text.strip().lower()).strip("_") or "blank"
