"""Points and polygons to H3 cells, with conservation.

>>> from geomarket.hexes import points_to_cells
>>> int(points_to_cells([-93.62], [41.59], 8)[0])
613158982088916991
"""

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

__all__ = [
    "HexLayer",
    "Hexes",
    "build_hexes",
    "cell_areas_km2",
    "cell_centres",
    "cell_polygons",
    "cell_resolutions",
    "cell_strings",
    "cells_from_strings",
    "interpolate",
    "neighbours",
    "parents",
    "points_to_cells",
]
