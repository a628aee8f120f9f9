"""Points and polygons to H3 cells, with conservation.

>>> from geomarket.hexes import points_to_cells
>>> int(points_to_cells([-93.62], [41.59], 8)[0])
613158982088916991
"""

from geomarket.hexes.categories import with_categories
from geomarket.hexes.cells import (
    cell_areas_km2,
    cell_centres,
    cell_polygons,
    cell_resolutions,
    cell_strings,
    cells_from_strings,
    neighbours,
    parents,
    points_to_cells,
)
from geomarket.hexes.grid import Hexes, build_hexes
from geomarket.hexes.interpolation import HexLayer, interpolate
from geomarket.hexes.reshape import coarsen, smooth
from geomarket.hexes.resolution import ResolutionAdvice, advise_resolution

__all__ = [
    "HexLayer",
    "Hexes",
    "ResolutionAdvice",
    "advise_resolution",
    "build_hexes",
    "cell_areas_km2",
    "cell_centres",
    "cell_polygons",
    "cell_resolutions",
    "cell_strings",
    "cells_from_strings",
    "coarsen",
    "interpolate",
    "neighbours",
    "parents",
    "points_to_cells",
    "smooth",
    "with_categories",
]
