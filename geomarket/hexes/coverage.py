"""How much the areas of one layer lie over each other."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import shapely

from geomarket.hexes.pieces import Pieces

__all__ = ["measure_overlap"]

FloatArray = npt.NDArray[np.float64]

_SAME_AREA = 1e-9
_SLIVER_M2 = 1.0


def measure_overlap(pieces: Pieces, area: FloatArray) -> tuple[int, float]:
    """Number of areas that lie over another one, and the doubly covered surface in km².

    Edges that two areas share cancel out when they are drawn in opposite directions. Where what is left encloses
    the sum of the areas and doesn't cross itself, no area lies over another; that takes a fraction of a second
    for a country. Only otherwise are pairs measured. Overlaps of less than 1 m² a pair are rounding, and ignored.
    Where three areas lie over each other every pair counts.

    Parameters
    ----------
    pieces : Pieces
        All pieces of the layer.
    area : ndarray of shape (n_areas,)
        m².
    """
    if len(pieces) < 2:
        return 0, 0.0
    polygons = pieces.shapes()
    total = float(area.sum())
    try:
        outline = shapely.coverage_union_all(polygons)
    except shapely.GEOSException:
        outline = shapely.Point()
    if abs(shapely.area(outline) - total) <= _SAME_AREA * total and shapely.is_valid(outline):
        return 0, 0.0
    suspect = np.flatnonzero(~shapely.is_empty(shapely.coverage_invalid_edges(polygons)))
    near, other = shapely.STRtree(polygons).query(polygons[suspect])
    first = suspect[near]
    # Each pair once, and no area against itself.
    low, high = np.minimum(first, other), np.maximum(first, other)
    pair = np.unique(np.column_stack([low, high])[pieces.owner[low] != pieces.owner[high]], axis=0)
    common = shapely.area(shapely.intersection(polygons[pair[:, 0]], polygons[pair[:, 1]]))
    real = common > _SLIVER_M2
    return len(np.unique(pieces.owner[pair[real]])), float(common[real].sum() / 1e6)
