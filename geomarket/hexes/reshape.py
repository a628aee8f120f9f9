"""Grids changed with their totals kept: smoothed over rings of neighbours, summed to a coarser resolution."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pandas as pd
import scipy.sparse as sp

from geomarket.errors import SettingsError
from geomarket.hexes.cells import cell_areas_km2, cell_centres, check_resolution, neighbours, parents
from geomarket.hexes.grid import Hexes, layer_table
from geomarket.hexes.interpolation import CONSERVATION_COLUMNS, CONSERVATION_TOLERANCE, divide
from geomarket.market.model import Variable

__all__ = ["coarsen", "smooth"]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]


def smooth(
    hexes: Hexes,
    k: int = 1,
    variables: Sequence[str] | None = None,
    ring_weights: Sequence[float] | None = None,
) -> Hexes:
    """Smooth variables over rings of neighbours, weighted by people and with every total kept.

    Each cell hands its people out to itself and the cells of the grid within ``k`` rings; a rate is then the
    numerators received over the denominators received. So a cell of many people counts for more in its
    neighbours' value than an empty one, and the overall mean stays exactly what it was.

    Parameters
    ----------
    hexes : Hexes
        Not changed.
    k : int
        Rings, 1 or more.
    variables : sequence of str, optional
        By default all rates and means. Counts (and "population") are smoothed only if named: their mass is
        moved to neighbours, which a planner who counts customers does not want.
    ring_weights : sequence of float of length k + 1, optional
        Relative weight of the cell itself and of a cell in each ring; by default all 1.

    Returns
    -------
    Hexes
        With the totals before and after added to ``conservation`` (layer "smoothing"). Cells without data hand
        nothing out and stay without data; cells at the rim share among fewer.

    Examples
    --------
    >>> import geopandas as gpd, shapely
    >>> from geomarket.hexes import build_hexes, smooth
    >>> from geomarket.market.model import AreaLayer, Variable
    >>> frame = gpd.GeoDataFrame({"area_id": ["a", "b"], "people": [100.0, 300.0], "young": [50.0, 60.0]},
    ...     geometry=[shapely.box(0, 50, 0.1, 50.1), shapely.box(0.1, 50, 0.2, 50.1)], crs=4326)
    >>> young = Variable("young", "aged under 30", "rate", "young", denominator="people")
    >>> hexes = build_hexes([AreaLayer("census", frame, (young,), population="people")], 7)
    >>> smoothed = smooth(hexes, k=1)
    >>> bool(smoothed.table["young"].std() < hexes.table["young"].std())
    True
    >>> bool(smoothed.conservation["conserved"].all())
    True
    """
    if k < 1:
        raise SettingsError(f"smooth: k must be 1 or more rings, got {k!r}.")
    weights = np.ones(k + 1) if ring_weights is None else np.asarray(ring_weights, dtype=np.float64)
    if len(weights) != k + 1 or not np.isfinite(weights).all() or (weights < 0).any() or weights[0] <= 0:
        raise SettingsError(
            f"smooth: ring_weights needs {k + 1} values of at least 0 (the cell itself first, above 0), "
            f"got {ring_weights!r}."
        )
    by_name = {v.name: v for v in hexes.variables}
    names = [v.name for v in hexes.variables if v.kind != "count"] if variables is None else list(variables)
    unknown = [n for n in names if n not in by_name and n != "population"]
    if unknown:
        raise SettingsError(
            f"smooth: no variable {', '.join(unknown[:3])}. There are: {', '.join(by_name)}, population."
        )
    links = _links(hexes.table["cell"].to_numpy(), k, weights)
    changed = _changed(hexes, names, lambda mass: _handed_out(links, mass), "smoothing")
    rings = "ring" if k == 1 else "rings"
    note = f"{len(names)} variables are smoothed over {k} {rings} of neighbouring hexagons, totals kept."
    return replace(changed, notes=(*hexes.notes, note))


def _links(cells: IntArray, k: int, ring_weights: FloatArray) -> sp.csr_array:
    """Weight with which each cell (column) hands to each cell (row)."""
    pairs = neighbours(cells, k, among_cells=True)
    order = np.argsort(cells, kind="stable")
    source = order[np.searchsorted(cells, pairs["cell"], sorter=order)]
    target = order[np.searchsorted(cells, pairs["neighbour"], sorter=order)]
    own = np.arange(len(cells))
    data = np.concatenate([np.full(len(cells), ring_weights[0]), ring_weights[pairs["ring"].to_numpy()]])
    where = (np.concatenate([own, target]), np.concatenate([own, source]))
    return sp.csr_array(sp.coo_array((data, where), shape=(len(cells), len(cells))))


def _handed_out(links: sp.csr_array, mass: FloatArray) -> FloatArray:
    """Mass after each cell with data has shared its own among itself and its neighbours with data."""
    known = np.isfinite(mass)
    shared_among = links.T @ known.astype(np.float64)
    given = np.divide(mass, shared_among, out=np.zeros(len(mass)), where=known)
    return np.where(known, links @ given, np.nan)


def coarsen(hexes: Hexes, resolution: int) -> Hexes:
    """Sum a grid up to a coarser resolution: counts add up, rates and means through their denominators.

    Parameters
    ----------
    hexes : Hexes
        Not changed.
    resolution : int
        Coarser than the grid's own.

    Returns
    -------
    Hexes
        One row a parent cell, totals before and after added to ``conservation`` (layer "coarsening"). A parent
        is known where any of its children is. In H3 the children of a cell do not fill it exactly: along its
        border a child lies partly in the next parent, so this is a grouping of cells, not a new interpolation.

    Examples
    --------
    >>> import geopandas as gpd, shapely
    >>> from geomarket.hexes import build_hexes, coarsen
    >>> from geomarket.market.model import AreaLayer
    >>> frame = gpd.GeoDataFrame({"area_id": ["a", "b"], "people": [100.0, 300.0]},
    ...     geometry=[shapely.box(0, 50, 0.1, 50.1), shapely.box(0.1, 50, 0.2, 50.1)], crs=4326)
    >>> coarse = coarsen(build_hexes([AreaLayer("census", frame, (), population="people")], 8), 6)
    >>> float(coarse.table["population"].sum().round(6))
    400.0
    """
    resolution = check_resolution(resolution)
    if resolution >= hexes.resolution:
        raise SettingsError(
            f"coarsen: resolution {resolution} is not coarser than the grid's own ({hexes.resolution}). To go "
            "finer, interpolate the areas again: hexagons can't be split into what they don't know."
        )
    cells = hexes.table["cell"].to_numpy()
    above, group = np.unique(parents(cells, resolution), return_inverse=True)

    def summed(mass: FloatArray) -> FloatArray:
        known = np.isfinite(mass)
        total = np.bincount(group, weights=np.where(known, mass, 0.0), minlength=len(above))
        return np.where(np.bincount(group[known], minlength=len(above)) > 0, total, np.nan)

    lon, lat = cell_centres(above)
    km2, above_km2 = cell_areas_km2(cells), cell_areas_km2(above)
    covered = {
        name: np.minimum(summed(share.to_numpy() * km2) / above_km2, 1.0)
        for name, share in hexes.coverage.drop(columns="cell").items()
    }
    empty = np.full(len(above), np.nan)
    base = {
        "cell": above,
        "lon": lon,
        "lat": lat,
        "population": empty,
        "coverage": next(iter(covered.values())),
    }
    blank = replace(
        hexes,
        table=pd.DataFrame(base | {v.name: empty for v in hexes.variables}),
        numerators=pd.DataFrame({"cell": above} | dict.fromkeys(hexes.numerators.columns[1:], empty)),
        denominators=pd.DataFrame({"cell": above} | dict.fromkeys(hexes.denominators.columns[1:], empty)),
        coverage=pd.DataFrame({"cell": above} | covered),
        resolution=resolution,
        notes=(
            *hexes.notes,
            f"Hexagons of resolution {hexes.resolution} were summed to resolution {resolution}.",
        ),
    )
    blank = replace(blank, layers=layer_table(blank.layers, blank.coverage))
    names = list(dict.fromkeys(["population", *(v.name for v in hexes.variables)]))
    return _changed(hexes, names, summed, "coarsening", onto=blank)


def _changed(
    hexes: Hexes,
    names: Sequence[str],
    change: Callable[[FloatArray], FloatArray],
    what: str,
    onto: Hexes | None = None,
) -> Hexes:
    """Apply a change of mass to counts, numerators and denominators, and account for it."""
    onto = onto or hexes
    table, tops, bottoms = onto.table.copy(), onto.numerators.copy(), onto.denominators.copy()
    by_name: dict[str, Variable] = {v.name: v for v in hexes.variables}
    rows = []
    for name in names:
        variable = by_name.get(name)
        if variable is None or variable.kind == "count":
            before = hexes.table[name].to_numpy(dtype=np.float64)
            table[name] = change(before)
            rows.append(_row(what, name, "count", before, table[name].to_numpy()))
            continue
        top, bottom = hexes.numerators[name].to_numpy(), hexes.denominators[name].to_numpy()
        tops[name], bottoms[name] = change(top), change(bottom)
        table[name] = divide(tops[name].to_numpy(), bottoms[name].to_numpy())
        part = "numerator" if variable.kind == "rate" else "weighted sum"
        rows.append(_row(what, name, part, top, tops[name].to_numpy()))
        rows.append(_row(what, name, "denominator", bottom, bottoms[name].to_numpy()))
    account = pd.DataFrame(rows, columns=CONSERVATION_COLUMNS)
    conservation = pd.concat([hexes.conservation, account], ignore_index=True) if rows else hexes.conservation
    return replace(onto, table=table, numerators=tops, denominators=bottoms, conservation=conservation)


def _row(what: str, name: str, part: str, before: FloatArray, after: FloatArray) -> dict[str, object]:
    source, total = float(np.nansum(before)), float(np.nansum(after))
    size = float(np.nansum(np.abs(before)))
    error = abs(source - total) / size if size > 0 else 0.0
    return {
        "layer": what,
        "variable": name,
        "part": part,
        "source_total": source,
        "hex_total": total,
        "uncovered": 0.0,
        "relative_error": error,
        "conserved": error <= CONSERVATION_TOLERANCE,
        "missing_areas": int(np.isnan(before).sum()),
    }
