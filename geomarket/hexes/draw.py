"""Cells on matplotlib axes, for notebooks and reports' static figures."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import shapely

from geomarket.errors import TableError
from geomarket.hexes.cells import cell_polygons

__all__ = ["check_drawn", "draw_cells"]

_NO_DATA = "#dddddd"


def check_drawn(table: pd.DataFrame, column: str) -> None:
    """Refuse a column the table hasn't."""
    if column not in table.columns:
        raise TableError(
            f"plot: no column '{column}'. There are: {', '.join(map(str, table.columns[:20]))}"
            + (" …." if len(table.columns) > 20 else ".")
        )


def draw_cells(cells: npt.ArrayLike, values: npt.ArrayLike, label: str, ax: Any = None) -> Any:
    """Draw cells coloured by a value (viridis; light grey where it is missing) and return the axes."""
    import matplotlib
    import matplotlib.pyplot as plt
    from matplotlib.collections import PolyCollection

    if ax is None:
        _, ax = plt.subplots(figsize=(7, 7))
    polygons, owner = shapely.get_parts(cell_polygons(cells), return_index=True)
    corners = [shapely.get_coordinates(p) for p in polygons]
    shade = np.asarray(values, dtype=float)[owner]
    colours = matplotlib.colormaps["viridis"].with_extremes(bad=_NO_DATA)
    drawn = PolyCollection(corners, array=np.ma.masked_invalid(shade), cmap=colours, linewidths=0)
    ax.add_collection(drawn)
    ax.autoscale_view()
    if len(polygons):
        middle = np.radians(np.mean(shapely.bounds(polygons)[:, [1, 3]]))
        ax.set_aspect(1 / max(np.cos(middle), 0.05))
        ax.figure.colorbar(drawn, ax=ax, label=label, shrink=0.7)
    ax.set_xlabel("longitude")
    ax.set_ylabel("latitude")
    return ax
