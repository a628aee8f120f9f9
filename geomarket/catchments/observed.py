"""Trade areas of known customers, drawn so that no place stands for a few people."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd

from geomarket.errors import SettingsError, TableError
from geomarket.hexes import parents
from geomarket.hexes.cells import cell_resolutions

__all__ = ["observed_areas"]

_COLUMNS = ["store_id", "cell", "band", "joined", "shown"]


def observed_areas(
    flows: pd.DataFrame,
    cells: npt.NDArray[np.int64],
    bands: Sequence[float] = (0.5, 0.7, 0.9),
    *,
    k: int = 10,
    value: str = "trips",
    levels: int = 2,
) -> pd.DataFrame:
    """Find where most of each store's known custom comes from, without showing where a few customers live.

    A hexagon with fewer than ``k`` of the store's customers is joined with its neighbours: all such hexagons of one
    parent make one place, and where that still holds too few, those of one grandparent. Places are taken in order of
    custom per hexagon until a band is full. What stays below ``k`` is left out of every band, but not out of the
    total: a band that the shown places can't fill is missing.

    Parameters
    ----------
    flows : DataFrame
        cell (int64, one resolution), store_id, ``value`` and customers (people behind the row, each counted in one
        cell only).
    cells : ndarray of int64, shape (n_cells,)
        Cells of the market, of the same resolution: what joined places are made of.
    bands : sequence of float
        Shares between 0 and 1, ascending.
    k : int
        Fewest customers of the store that a place may stand for.
    value : str
        Column to accumulate.
    levels : int
        How many resolutions coarser a joined place may be.

    Returns
    -------
    DataFrame
        store_id, cell, band (the smallest band the cell belongs to), joined (cells of its place), shown (share of the
        store's custom that places with enough customers hold, rounded down to a hundredth: bands up to it are full,
        wider ones are not drawn); by store, band and cell. Every place stands for at least ``k`` of the store's
        customers.

    Raises
    ------
    TableError
        If a column is missing, or cells mix resolutions.
    SettingsError
        If bands do not rise from above 0 to at most 1.

    Notes
    -----
    The smallest places that hold a share of custom, as :func:`trade_areas` finds them (Applebaum, 1966); joining small
    counts with neighbours before they are published is the disclosure control of census tables (Hundepool et al.,
    2012). The shape depends on joined places, so it is coarser where customers are few.

    Examples
    --------
    >>> from geomarket.hexes import neighbours, points_to_cells
    >>> home = points_to_cells([4.40], [51.22], 8)
    >>> cells = neighbours(home, 2)["neighbour"].to_numpy()
    >>> flows = pd.DataFrame(
    ...     {"cell": [home[0], cells[0]], "store_id": "A", "trips": [80.0, 20.0], "customers": [30, 2]}
    ... )
    >>> observed_areas(flows, cells)[["band", "joined", "shown"]].to_dict("list")
    {'band': [0.5], 'joined': [1], 'shown': [0.8]}
    """
    edges = _edges(bands)
    missing = [name for name in ("cell", "store_id", value, "customers") if name not in flows]
    if missing:
        raise TableError(
            f"flows: column(s) {', '.join(missing)} missing; cell, store_id, {value} and customers are needed."
        )
    held = flows[(flows[value] > 0) & (flows["customers"] > 0)]
    held = held.groupby(["store_id", "cell"], sort=True)[[value, "customers"]].sum().reset_index()
    if held.empty:
        return _empty()
    cells = np.unique(np.concatenate([np.asarray(cells, dtype=np.int64), held["cell"].to_numpy()]))
    family = _family(cells, levels)
    found = [
        _bands_of(str(store), mine, value, family, edges, k)
        for store, mine in held.groupby("store_id", sort=True)
    ]
    return pd.concat([_empty(), *found], ignore_index=True)


def _edges(bands: Sequence[float]) -> npt.NDArray[np.float64]:
    edges = np.asarray(bands, dtype=float)
    if not len(edges) or (np.diff(edges) <= 0).any() or edges[0] <= 0 or edges[-1] > 1:
        raise SettingsError(f"bands = {list(bands)}: ascending shares above 0 and up to 1 are expected.")
    return edges


def _empty() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "store_id": pd.Series(dtype="str"),
            "cell": pd.Series(dtype="int64"),
            "band": pd.Series(dtype="float64"),
            "joined": pd.Series(dtype="int64"),
            "shown": pd.Series(dtype="float64"),
        }
    )


def _family(cells: npt.NDArray[np.int64], levels: int) -> pd.DataFrame:
    """Return the cells and, in columns 1 to ``levels``, what they lie in at coarser resolutions."""
    resolutions = np.unique(cell_resolutions(cells))
    if len(resolutions) > 1:
        raise TableError(f"flows: cells of resolutions {resolutions.tolist()}; give cells of one resolution.")
    finest = int(resolutions[0])
    family = pd.DataFrame({0: cells})
    for level in range(1, min(levels, finest) + 1):
        family[level] = parents(cells, finest - level)
    return family


def _bands_of(
    store: str,
    mine: pd.DataFrame,
    value: str,
    family: pd.DataFrame,
    edges: npt.NDArray[np.float64],
    k: int,
) -> pd.DataFrame:
    """Join the cells of one store to places with enough customers, and take the densest until each band is full."""
    known = mine.set_index("cell")[[value, "customers"]]
    cells = family.merge(known, left_on=0, right_index=True, how="left").fillna({value: 0.0, "customers": 0})
    # the place a cell belongs to: (level, ancestor); level -1 while it has none
    level = np.full(len(cells), -1)
    for coarser in family.columns:
        free = level < 0
        people = cells["customers"].where(free, 0).groupby(cells[coarser]).transform("sum")
        level[free & (people >= k).to_numpy()] = coarser
    ancestor = np.where(level < 0, 0, family.to_numpy()[np.arange(len(cells)), np.maximum(level, 0)])
    placed = cells.assign(level=level, ancestor=ancestor)[level >= 0]
    places = placed.groupby(["level", "ancestor"], as_index=False).agg(
        custom=(value, "sum"), joined=(0, "size")
    )
    places["density"] = places["custom"] / places["joined"]
    places = places.sort_values(
        ["density", "ancestor", "level"], ascending=[False, True, True], kind="stable"
    )
    share = places["custom"] / mine[value].sum()
    before = share.cumsum() - share
    position = np.searchsorted(edges - 1e-12, before.to_numpy(), side="right")
    shown = float(np.floor(share.sum() * 100 + 1e-9) / 100)
    # a band that the places shown don't fill is not drawn as if it were full
    inside = position < np.count_nonzero(edges <= shown)
    places = places[inside].assign(band=edges[position[inside]])
    table = placed.merge(places[["level", "ancestor", "joined", "band"]], on=["level", "ancestor"])
    table = (
        table.rename(columns={0: "cell"}).assign(store_id=store, shown=shown).sort_values(["band", "cell"])
    )
    return table[_COLUMNS].reset_index(drop=True)
