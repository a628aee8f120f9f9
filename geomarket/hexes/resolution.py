"""What resolution a layer supports: how many hexagons an area is spread over, how many people a hexagon holds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import shapely

from geomarket.errors import NotSupportedError, SettingsError
from geomarket.hexes.cells import cell_areas_km2, check_resolution, points_to_cells
from geomarket.hexes.layers import PreparedLayer, prepare_layer
from geomarket.hexes.overlaps import overlap_shares
from geomarket.hexes.projection import from_cylinder_x, latitude_of
from geomarket.market.model import AreaLayer
from geomarket.results import Result

__all__ = ["HEXAGONS_AN_AREA", "ResolutionAdvice", "advise_resolution", "check_support", "people_of"]

FloatArray = npt.NDArray[np.float64]

HEXAGONS_AN_AREA = 7.0
"""Hexagons an area may be spread over before a grid counts as finer than its layer: one step of H3."""

_COUNTED_UP_TO = 300_000
_SAMPLED_AREAS = 500


def check_support(
    layer: AreaLayer,
    area: FloatArray,
    weight: FloatArray,
    cell_km2: FloatArray,
    resolution: int,
    strict: bool,
) -> str | None:
    """Say where a grid is finer than what its layer can tell, or raise if ``strict``.

    Parameters
    ----------
    layer : AreaLayer
        For its name, and whether it has a population.
    area : ndarray of shape (n_areas,)
        m²; areas without a surface play no part.
    weight : ndarray of shape (n_areas,)
        People in each area, or ones.
    cell_km2 : ndarray of shape (n_cells,)
        Areas of the grid's cells.
    resolution : int
        The grid's.
    strict : bool
        Raise instead of saying so.
    """
    solid = area > 0
    if not solid.any() or not len(cell_km2):
        return None
    spread = _weighted_median(area[solid] / 1e6 / float(np.median(cell_km2)), weight[solid])
    if spread <= HEXAGONS_AN_AREA:
        return None
    steps = int(np.ceil(np.log(spread / HEXAGONS_AN_AREA) / np.log(7)))
    who = "areas are" if layer.population is None else "people live in areas"
    message = (
        f"half of the {who} spread evenly over {spread:,.0f} or more hexagons; finer than about resolution "
        f"{max(resolution - steps, 0)}, differences between hexagons are not in the data"
    )
    if strict:
        raise NotSupportedError(
            f"areas '{layer.name}': {message}. Take that one, or strict=False to go on with a note."
        )
    return f"{layer.name}: {message}."


def _weighted_median(values: FloatArray, weights: FloatArray) -> float:
    """Value at or below which half of the weight lies; plain where all weights are 0."""
    weights = np.nan_to_num(weights)
    if weights.sum() <= 0:
        weights = np.ones(len(values))
    order = np.argsort(values, kind="stable")
    below = np.cumsum(weights[order])
    return float(values[order][np.searchsorted(below, below[-1] / 2)])


def _short(value: float) -> str:
    return f"{value:,.0f}" if value >= 10 else f"{value:.2g}"


@dataclass(frozen=True)
class ResolutionAdvice(Result):
    """What each resolution would mean for a layer.

    Attributes
    ----------
    table : DataFrame
        layer, resolution, cell_km2 (mean, at this place), cells (counted up to about 300,000, otherwise surface
        over cell area), areas_per_cell and cells_per_area (of the area the median person lives in),
        mass_per_cell (people in an average hexagon; NaN where the layer has no population), verdict ("coarse",
        "suits", "finer than the areas").
    recommended : int
        Of the resolutions that suit the first layer, the one whose hexagons are nearest in size to its areas;
        if none suits, the nearest of all.

    Examples
    --------
    >>> import geopandas as gpd, shapely
    >>> from geomarket.hexes import advise_resolution
    >>> from geomarket.market.model import AreaLayer
    >>> frame = gpd.GeoDataFrame({"area_id": ["a", "b"], "people": [100.0, 300.0]},
    ...     geometry=[shapely.box(0, 50, 0.01, 50.01), shapely.box(0.01, 50, 0.02, 50.01)], crs=4326)
    >>> advice = advise_resolution(AreaLayer("census", frame, (), population="people"), [7, 8, 9])
    >>> advice.table[["resolution", "verdict"]].values.tolist()
    [[7, 'suits'], [8, 'suits'], [9, 'finer than the areas']]
    """

    table: pd.DataFrame
    recommended: int

    def summary(self) -> list[str]:
        """Say which resolution suits the first layer, and what the others would mean."""
        first = self.table[self.table["layer"] == self.table["layer"].iloc[0]]
        lines = [f"{first['layer'].iloc[0]}: resolution {self.recommended} is nearest in size to its areas."]
        for row in first.to_dict("records"):
            held = "" if np.isnan(row["mass_per_cell"]) else f", {_short(row['mass_per_cell'])} people each"
            lines.append(
                f"Resolution {row['resolution']}: about {row['cells']:,} hexagons{held}, "
                f"{_short(row['cells_per_area'])} to an area: {row['verdict']}."
            )
        return lines

    def plot(self, ax: Any = None) -> Any:
        """Draw hexagons to an area against resolution (log scale) and return the axes.

        Examples
        --------
        >>> import matplotlib
        >>> matplotlib.use("Agg")
        >>> import geopandas as gpd, shapely
        >>> from geomarket.hexes import advise_resolution
        >>> from geomarket.market.model import AreaLayer
        >>> frame = gpd.GeoDataFrame({"area_id": ["a", "b"], "people": [100.0, 300.0]},
        ...     geometry=[shapely.box(0, 50, 0.01, 50.01), shapely.box(0.01, 50, 0.02, 50.01)], crs=4326)
        >>> advice = advise_resolution(AreaLayer("census", frame, (), population="people"), [7, 8, 9])
        >>> advice.plot().get_yscale()
        'log'
        """
        import matplotlib.pyplot as plt

        if ax is None:
            _, ax = plt.subplots()
        for name, part in self.table.groupby("layer", sort=False):
            ax.plot(part["resolution"], part["cells_per_area"], marker="o", label=str(name))
        ax.axhspan(1 / HEXAGONS_AN_AREA, HEXAGONS_AN_AREA, color="0.9", label="suits")
        ax.set(yscale="log", xlabel="resolution", ylabel="hexagons to an area (median person)")
        ax.legend()
        return ax


def advise_resolution(
    areas: AreaLayer | Sequence[AreaLayer], resolutions: Sequence[int] = (5, 6, 7, 8, 9, 10)
) -> ResolutionAdvice:
    """Compare resolutions: how many cells, how many areas a cell, what mass a cell, and whether that suits.

    Parameters
    ----------
    areas : AreaLayer or sequence of AreaLayer
        The first one decides which resolution is recommended.
    resolutions : sequence of int
        H3 resolutions to compare.

    Returns
    -------
    ResolutionAdvice

    Examples
    --------
    >>> import geopandas as gpd, numpy as np, shapely
    >>> from geomarket.hexes import advise_resolution
    >>> from geomarket.market.model import AreaLayer
    >>> side = np.arange(4) * 0.01
    >>> frame = gpd.GeoDataFrame({"area_id": [f"a{i}" for i in range(16)], "people": 300.0},
    ...     geometry=[shapely.box(x, 50 + y, x + 0.01, 50.01 + y) for x in side for y in side], crs=4326)
    >>> advice = advise_resolution(AreaLayer("census", frame, (), population="people"), [7, 8, 10])
    >>> advice.recommended
    8
    >>> advice.table["verdict"].tolist()
    ['suits', 'suits', 'finer than the areas']
    """
    layers = [areas] if isinstance(areas, AreaLayer) else list(areas)
    if not layers or not len(resolutions):
        raise SettingsError("advice needs at least one layer of areas and one resolution.")
    rows: list[dict[str, Any]] = []
    for layer in layers:
        prepared = prepare_layer(layer)
        people = people_of(layer, prepared)
        rows += [_advice(layer, prepared, people, check_resolution(r)) for r in sorted(set(resolutions))]
    table = pd.DataFrame(rows)
    first = table[table["layer"] == layers[0].name]
    suits = first[first["verdict"] == "suits"]
    distance = np.abs(np.log((suits if len(suits) else first)["cells_per_area"]))
    return ResolutionAdvice(table, int(table.loc[distance.idxmin(), "resolution"]))


def people_of(layer: AreaLayer, prepared: PreparedLayer) -> FloatArray:
    """What weighs the layer's areas, as prepared: its population, or ones."""
    if layer.population is None:
        return np.ones(len(prepared.order))
    return layer.frame[layer.population].to_numpy(dtype=np.float64, na_value=np.nan)[prepared.order]


def _advice(layer: AreaLayer, prepared: PreparedLayer, people: FloatArray, resolution: int) -> dict[str, Any]:
    solid = prepared.area > 0
    km2 = prepared.area[solid] / 1e6
    cell_km2 = _typical_cell(prepared, resolution)
    spread = _weighted_median(km2 / cell_km2, people[solid])
    estimate = max(int(np.ceil(km2.sum() / cell_km2)), 1)
    small = estimate <= _COUNTED_UP_TO
    cells = len(overlap_shares(prepared, resolution).cells) if small else estimate
    verdict = "suits"
    if spread > HEXAGONS_AN_AREA:
        verdict = "finer than the areas"
    elif spread < 1 / HEXAGONS_AN_AREA:
        verdict = "coarse"
    return {
        "layer": layer.name,
        "resolution": resolution,
        "cell_km2": cell_km2,
        "cells": cells,
        "areas_per_cell": 1 / spread,
        "cells_per_area": spread,
        "mass_per_cell": np.nan if layer.population is None else float(np.nansum(people)) / cells,
        "verdict": verdict,
    }


def _typical_cell(prepared: PreparedLayer, resolution: int) -> float:
    """Mean cell area, km², at a sample of the layer's pieces: cells differ by up to a factor of 2 on Earth."""
    if not len(prepared.pieces):
        raise NotSupportedError(
            f"areas '{prepared.name}': the layer has no polygon with a surface, so no resolution suits it better "
            "than another. Choose one by hand."
        )
    step = max(len(prepared.pieces) // _SAMPLED_AREAS, 1)
    inside = shapely.get_coordinates(shapely.point_on_surface(prepared.pieces.shapes()[::step]))
    lon = (from_cylinder_x(inside[:, 0]) + 180) % 360 - 180
    cells = points_to_cells(lon, latitude_of(inside[:, 1]), resolution)
    return float(cell_areas_km2(cells).mean())
