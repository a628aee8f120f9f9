"""A store's catchment as a small inline SVG map, for pages without a script."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
from markupsafe import Markup, escape

from geomarket.hexes.cells import cell_boundaries, cell_centres, cell_resolutions
from geomarket.hexmap import central_meridian, level_world, project

__all__ = ["catchment_map"]

_UNKNOWN = "#d9d6cc"
_FINENESS = 4.0


def catchment_map(
    cells: npt.NDArray[np.int64],
    colours: Mapping[int, str],
    core: frozenset[int],
    store: tuple[float, float],
    title: str,
    *,
    ground: npt.NDArray[np.int64] | None = None,
    frame: npt.NDArray[np.int64] | None = None,
    width: int = 340,
    height: int = 280,
) -> Markup:
    """Draw the cells of one catchment.

    Parameters
    ----------
    cells : ndarray of int64, shape (n_cells,)
        Cells of the catchment, at least one.
    colours : mapping
        Cell -> colour of its neighbourhood type; a cell without one is grey.
    core : frozenset of int
        Cells of the core, drawn with a dark edge.
    store : (lon, lat)
        Where the store stands.
    title : str
        For screen readers.
    ground : ndarray of int64, shape (n_ground,), optional
        Cells of the market, drawn pale beneath.
    frame : ndarray of int64, shape (n_frame,), optional
        Cells that must be in the picture, some of ``cells``; None: all of them. What lies outside is left out.
    width, height : int
        Pixels.
    """
    cells = np.sort(np.asarray(cells, dtype=np.int64))
    world = level_world(int(cell_resolutions(cells[:1])[0]))
    meridian = central_meridian(np.array([store[0]]))
    sx, sy = (float(axis[0]) for axis in project([store[0]], [store[1]], meridian, world))
    shown = cells if frame is None or not len(frame) else np.sort(np.asarray(frame, dtype=np.int64))
    corners = np.vstack([*_rings(shown, meridian, world), [[sx, sy]]])
    low, high = corners.min(axis=0), corners.max(axis=0)
    scale = min((width - 16) / max(high[0] - low[0], 1), (height - 16) / max(high[1] - low[1], 1))
    shift = np.array([width, height]) / 2 - scale * (low + high) / 2

    def inside(wanted: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        lon, lat = cell_centres(wanted)
        spots = np.column_stack(project(lon, lat, meridian, world)) * scale + shift
        return wanted[((spots >= 4) & (spots <= [width - 4, height - 4])).all(axis=1)]

    if frame is not None:
        cells = inside(cells)
    rings = _rings(cells, meridian, world)

    def path(members: list[int]) -> str:
        return "".join(_outline(rings[i] * scale + shift) for i in members)

    by_colour: dict[str, list[int]] = {}
    for i, cell in enumerate(cells.tolist()):
        by_colour.setdefault(colours.get(cell, _UNKNOWN), []).append(i)
    parts = [
        f'<path fill="{escape(colour)}" class="cells" d="{path(members)}"/>'
        for colour, members in sorted(by_colour.items())
    ]
    if ground is not None:
        others = inside(np.setdiff1d(np.asarray(ground, dtype=np.int64), cells))
        beneath = "".join(_outline(ring * scale + shift) for ring in _rings(others, meridian, world))
        parts.insert(0, f'<path class="ground" d="{beneath}"/>')
    inner = [i for i, cell in enumerate(cells.tolist()) if cell in core]
    if inner:
        parts.append(f'<path class="core" d="{path(inner)}"/>')
    x, y = scale * sx + shift[0], scale * sy + shift[1]
    parts.append(f'<circle class="store" cx="{x:.1f}" cy="{y:.1f}" r="6"/>')
    return Markup(
        f'<svg class="chart minimap" role="img" viewBox="0 0 {width} {height}" width="{width}" height="{height}">'
        f"<title>{escape(title)}</title>{''.join(parts)}</svg>"
    )


def _rings(cells: npt.NDArray[np.int64], meridian: float, world: int) -> list[npt.NDArray[np.float64]]:
    corners, plain, others = cell_boundaries(cells)
    odd = iter(others)
    rings = []
    for i in range(len(cells)):
        ring = corners[i] if plain[i] else next(odd)
        rings.append(np.column_stack(project(ring[:, 0], ring[:, 1], meridian, world)).astype(float))
    return rings


def _outline(ring: npt.NDArray[np.float64]) -> str:
    """Return a closed path, its later points relative to the first ones: half as long as absolute ones."""
    steps = np.rint(ring * _FINENESS)
    parts = [f"M{steps[0, 0] / _FINENESS:g},{steps[0, 1] / _FINENESS:g}l"]
    parts.append(" ".join(f"{dx / _FINENESS:g},{dy / _FINENESS:g}" for dx, dy in np.diff(steps, axis=0)))
    return "".join(parts) + "z"
