"""Areal interpolation: census variables of polygons onto hexagons, with every total accounted for.

Counts are split by the share of an area's surface in each cell (or of its population points, where given);
rates through numerator and denominator apart; means weighted by the interpolated count they are a mean over.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import scipy.sparse as sp

from geomarket.errors import TableError
from geomarket.hexes.cells import cell_resolutions, check_cells, check_resolution
from geomarket.hexes.coverage import measure_overlap
from geomarket.hexes.draw import check_drawn, draw_cells
from geomarket.hexes.kernel import spread
from geomarket.hexes.layers import CHECK_COLUMNS, PreparedLayer, prepare_layer
from geomarket.hexes.overlaps import Overlaps, overlap_shares
from geomarket.hexes.population_points import spread_by_points
from geomarket.hexes.resolution import check_support, people_of
from geomarket.market.model import AreaLayer, Variable
from geomarket.results import Result

if TYPE_CHECKING:
    import folium

__all__ = ["CONSERVATION_COLUMNS", "CONSERVATION_TOLERANCE", "HexLayer", "interpolate"]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

CONSERVATION_TOLERANCE = 1e-9
"""Relative difference up to which a total counts as conserved."""

CONSERVATION_COLUMNS = [
    "layer",
    "variable",
    "part",
    "source_total",
    "hex_total",
    "uncovered",
    "relative_error",
    "conserved",
    "missing_areas",
]
_RESERVED = ("cell", "lon", "lat", "coverage")


@dataclass(frozen=True)
class HexLayer(Result):
    """One polygon layer on hexagons.

    Attributes
    ----------
    name : str
        Name of the layer.
    resolution : int
    table : DataFrame
        cell (int64, ascending), coverage (share of the cell's surface the layer covers), one column a variable;
        for rates and means also ``<name>__num`` and ``<name>__den``, the interpolated numerator (for a mean:
        value × weight) and denominator. Values are NaN where no area with a known value reaches the cell, and
        where the denominator is 0.
    variables : tuple of Variable
    conservation : DataFrame
        layer, variable, part (count, numerator, denominator, weighted sum), source_total, hex_total, uncovered
        (mass outside the grid, or of areas without geometry), relative_error (what is left unexplained, as a
        share of the sum of absolute values), conserved (at most 1e-9), missing_areas (areas whose value is
        missing; they hold no mass).
    checks : DataFrame
        layer, check, areas, km2, message: what was found in the geometry and what was done about it.
    notes : tuple of str
        Caveats to be stated with the result.

    Examples
    --------
    >>> import geopandas as gpd, shapely
    >>> from geomarket.hexes import interpolate
    >>> from geomarket.market.model import AreaLayer, Variable
    >>> frame = gpd.GeoDataFrame({"area_id": ["a", "b"], "people": [100.0, 300.0], "young": [50.0, 60.0]},
    ...     geometry=[shapely.box(0, 50, 0.1, 50.1), shapely.box(0.1, 50, 0.2, 50.1)], crs=4326)
    >>> young = Variable("young", "aged under 30", "rate", "young", denominator="people")
    >>> found = interpolate(AreaLayer("census", frame, (young,), population="people"), 7)
    >>> found.conservation[["part", "hex_total", "conserved"]].values.tolist()
    [['numerator', 110.0, True], ['denominator', 400.0, True]]
    >>> found.summary()[0]
    'census: 1 variables on 50 hexagons of resolution 7.'
    """

    name: str
    resolution: int
    table: pd.DataFrame
    variables: tuple[Variable, ...]
    conservation: pd.DataFrame
    checks: pd.DataFrame
    notes: tuple[str, ...] = ()

    def explore(self, column: str | None = None, **options: Any) -> folium.Map:
        """Show one variable of the layer on a map that can be panned and zoomed.

        Parameters
        ----------
        column : str or None
            A variable or ``coverage``; None: the first variable.
        **options
            Passed to :func:`geomarket.explore_cells`: ``stores``, ``tooltip``, ``tiles``, ``palette``.

        Returns
        -------
        folium.Map

        Raises
        ------
        TableError
            If there is no such column; the message names those there are.

        Examples
        --------
        >>> import geopandas as gpd, shapely
        >>> from geomarket.hexes import interpolate
        >>> from geomarket.market.model import AreaLayer, Variable
        >>> frame = gpd.GeoDataFrame({"area_id": ["a"], "people": [100.0]},
        ...     geometry=[shapely.box(0, 50, 0.1, 50.1)], crs=4326)
        >>> found = interpolate(AreaLayer("census", frame, (Variable("people", "residents", "count", "people"),)), 7)
        >>> "residents" in found.explore(tiles=None).get_root().render()
        True
        """
        from geomarket.hexmap import explore_cells

        known = {variable.name: variable for variable in self.variables}
        column = column if column is not None else next(iter(known), "coverage")
        if column != "coverage" and column not in known:
            raise TableError(
                f"{self.name}: there is no variable {column!r}; choose from {', '.join([*known, 'coverage'])}."
            )
        shown = known.get(column)
        looks = {"label": "Covered share", "kind": "rate", "unit": "share"}
        if shown is not None:
            looks = {"label": shown.label, "kind": shown.kind, "unit": shown.unit}
        return explore_cells(self.table, column, **{**looks, **options})

    def summary(self) -> list[str]:
        """Say how many cells, whether totals were kept, and what was found in the layer."""
        return [
            f"{self.name}: {len(self.variables)} variables on {len(self.table):,} hexagons of resolution "
            f"{self.resolution}.",
            *conservation_sentences(self.conservation),
            *check_sentences(self.checks),
            *self.notes,
        ]

    def plot(self, ax: Any = None, column: str | None = None) -> Any:
        """Draw one variable (by default the first) and return the axes.

        Examples
        --------
        >>> import matplotlib
        >>> matplotlib.use("Agg")
        >>> import geopandas as gpd, shapely
        >>> from geomarket.hexes import interpolate
        >>> from geomarket.market.model import AreaLayer, Variable
        >>> frame = gpd.GeoDataFrame({"area_id": ["a", "b"], "people": [100.0, 300.0], "young": [50.0, 60.0]},
        ...     geometry=[shapely.box(0, 50, 0.1, 50.1), shapely.box(0.1, 50, 0.2, 50.1)], crs=4326)
        >>> young = Variable("young", "aged under 30", "rate", "young", denominator="people")
        >>> found = interpolate(AreaLayer("census", frame, (young,), population="people"), 7)
        >>> found.plot(column="young").get_xlabel()
        'longitude'
        """
        column = column or (self.variables[0].name if self.variables else "coverage")
        check_drawn(self.table, column)
        return draw_cells(self.table["cell"], self.table[column], column, ax)


def conservation_sentences(conservation: pd.DataFrame) -> list[str]:
    """The conservation table in a few plain sentences."""
    if not len(conservation):
        return []
    worst = conservation["relative_error"].max()
    kept = int(conservation["conserved"].sum())
    lines = [
        f"{kept} of {len(conservation)} totals are conserved to {CONSERVATION_TOLERANCE:g} "
        f"(largest relative error {worst:.1e})."
    ]
    base = conservation["source_total"].abs().replace(0, np.nan)
    outside = conservation["uncovered"].abs() / base
    for layer in conservation["layer"].unique():
        share = float(outside[conservation["layer"] == layer].max())
        if share > CONSERVATION_TOLERANCE:
            lines.append(
                f"{layer}: up to {100 * share:.2g}% of a total lies outside the grid and was not placed."
            )
    return lines


def check_sentences(checks: pd.DataFrame) -> list[str]:
    """What was found in the geometry, one sentence a finding."""
    lines = []
    for row in checks.to_dict("records"):
        where = f" in {row['areas']:,} areas" if row["areas"] else ""
        surface = f" ({row['km2']:,.3g} km²)" if row["km2"] > 0 else ""
        lines.append(f"{row['layer']}: {row['check']}{where}{surface}; {row['message']}.")
    return lines


def interpolate(
    layer: AreaLayer,
    resolution: int,
    cells: npt.ArrayLike | None = None,
    points: pd.DataFrame | None = None,
    strict: bool = False,
) -> HexLayer:
    """Interpolate every variable of a polygon layer onto H3 cells.

    Cells are found by overlap, never by centre, and areas measured exactly in an equal-area projection
    (EPSG:6933; edges straight between projected corners).

    Parameters
    ----------
    layer : AreaLayer
        Polygons in any CRS, and the variables to interpolate. Areas given as points put all their mass into
        the cell of the point.
    resolution : int
        H3 resolution.
    cells : array-like of int64, optional
        The grid wanted; mass outside it is reported as uncovered. By default every cell the layer overlaps.
    points : DataFrame, optional
        Population points (lon, lat, weight): an area's mass is split over its points in proportion to their
        weight instead of over its surface. An area without a weighted point is split by surface, and counted
        in ``checks``.
    strict : bool
        Refuse a resolution much finer than the layer's areas (the median person's area spread over more than 7
        hexagons); by default a note says so.

    Returns
    -------
    HexLayer

    Raises
    ------
    TableError
        Geometry, CRS, variables or points that can't be used; the message names the cure.
    NotSupportedError
        Polygons beyond 85° latitude, a grid of more than 30 million cells, or, if ``strict``, a grid finer than
        the areas.

    Notes
    -----
    A median can't be put together from medians: a mean of medians weighted by population is the usual
    approximation, and that is what a variable of kind ``mean`` gets. Splitting by surface assumes that people
    live evenly all over an area.

    Source: Goodchild and Lam (1980), Areal interpolation: a variant of the traditional spatial problem.

    Examples
    --------
    >>> import geopandas as gpd, shapely
    >>> from geomarket.hexes import interpolate
    >>> from geomarket.market.model import AreaLayer, Variable
    >>> frame = gpd.GeoDataFrame({"area_id": ["a", "b"], "people": [100.0, 300.0]},
    ...     geometry=[shapely.box(0, 50, 0.1, 50.1), shapely.box(0.1, 50, 0.2, 50.1)], crs=4326)
    >>> layer = AreaLayer("census", frame, (Variable("people", "people", "count", "people"),))
    >>> found = interpolate(layer, 7)
    >>> float(found.table["people"].sum().round(6))
    400.0
    >>> bool(found.conservation["conserved"].all())
    True
    """
    resolution = check_resolution(resolution)
    check_variables(layer)
    prepared = prepare_layer(layer)
    overlaps = overlap_shares(prepared, resolution)
    checks = list(prepared.checks)
    if points is not None:
        overlaps = spread_by_points(prepared, overlaps, points, resolution, checks)
    grid = overlaps.cells if cells is None else _grid(cells, resolution)
    table, conservation, notes = _values(layer, prepared, overlaps, grid)
    _note_overlap(prepared, checks)
    thin = check_support(
        layer, prepared.area, people_of(layer, prepared), overlaps.cell_km2, resolution, strict
    )
    if thin:
        notes.append(thin + (" Its mass follows the population points." if points is not None else ""))
    return HexLayer(
        layer.name,
        resolution,
        table,
        layer.variables,
        conservation,
        pd.DataFrame(checks, columns=CHECK_COLUMNS),
        tuple(notes),
    )


def _grid(cells: npt.ArrayLike, resolution: int) -> IntArray:
    values = check_cells(cells)
    if (cell_resolutions(values) != resolution).any():
        raise TableError(
            f"cells: some are not of resolution {resolution}. Give the grid and the resolution that belong together."
        )
    return np.unique(values)


def check_variables(layer: AreaLayer) -> None:
    """Refuse variables that can't be read from the layer's frame."""
    where = f"areas '{layer.name}'"
    names = [v.name for v in layer.variables]
    twice = sorted({n for n in names if names.count(n) > 1})
    if twice:
        raise TableError(f"{where}: variable names appear more than once: {', '.join(twice[:3])}.")
    for v in layer.variables:
        if v.name in _RESERVED:
            raise TableError(
                f"{where}: a variable can't be called '{v.name}', a column of every hexagon table."
            )
        if v.kind not in ("count", "rate", "mean"):
            raise TableError(
                f"{where}: kind '{v.kind}' of variable {v.name} is not known. Use count, rate or mean."
            )
        if v.kind == "rate" and v.denominator is None:
            raise TableError(
                f"{where}: rate {v.name} needs a denominator (the count column that {v.column} is a share of)."
            )
        for column in (v.column, v.denominator):
            if column is not None:
                _check_column(layer, v, column)
    if layer.population is not None:
        _check_column(layer, None, layer.population)


def _check_column(layer: AreaLayer, variable: Variable | None, column: str) -> None:
    what = f"variable {variable.name}" if variable else "population"
    if column not in layer.frame.columns:
        raise TableError(
            f"areas '{layer.name}': {what} reads column '{column}', which the layer has not "
            f"(columns: {', '.join(map(str, layer.frame.columns[:6]))} …)."
        )
    values = layer.frame[column]
    if not pd.api.types.is_numeric_dtype(values):
        raise TableError(
            f"areas '{layer.name}': column '{column}' ({what}) is {values.dtype}, expected numbers; "
            f"first values {values.head(3).tolist()}."
        )
    if np.isinf(values.to_numpy(dtype=float, na_value=np.nan)).any():
        raise TableError(f"areas '{layer.name}': column '{column}' ({what}) holds infinite values.")
    is_weight = variable is None or (variable.denominator == column and variable.kind != "count")
    if is_weight and (values < 0).any():
        rows = np.flatnonzero((values < 0).to_numpy(dtype=bool, na_value=False))
        raise TableError(
            f"areas '{layer.name}': column '{column}' weighs {what} but is negative in {len(rows):,} rows "
            f"(first {rows[:3].tolist()}, 0-based). Set suppressed values to missing instead."
        )


@dataclass(frozen=True)
class _Amount:
    """One additive quantity to be interpolated, and which variable needs it as what."""

    variable: str
    part: str
    values: FloatArray


def _by_surface(layer: AreaLayer, variable: Variable) -> bool:
    """Whether a mean has no count to be weighted by, neither its own nor the layer's population."""
    return variable.kind == "mean" and (variable.denominator or layer.population) is None


def _amounts(layer: AreaLayer, prepared: PreparedLayer) -> list[_Amount]:
    """Additive quantities of all variables, areas as prepared; both of a pair are missing together."""

    def column(name: str) -> FloatArray:
        return layer.frame[name].to_numpy(dtype=np.float64, na_value=np.nan)[prepared.order]

    out: list[_Amount] = []
    for v in layer.variables:
        values = column(v.column)
        if v.kind == "count":
            out.append(_Amount(v.name, "count", values))
            continue
        weight_column = v.denominator or layer.population
        weight = prepared.area / 1e6 if weight_column is None else column(weight_column)
        missing = np.isnan(values) | np.isnan(weight)
        weight = np.where(missing, np.nan, weight)
        top = np.where(missing, np.nan, values if v.kind == "rate" else values * weight)
        out.append(_Amount(v.name, "numerator" if v.kind == "rate" else "weighted sum", top))
        out.append(_Amount(v.name, "denominator", weight))
    return out


def _values(
    layer: AreaLayer, prepared: PreparedLayer, overlaps: Overlaps, grid: IntArray
) -> tuple[pd.DataFrame, pd.DataFrame, list[str]]:
    amounts = _amounts(layer, prepared)
    placed = np.zeros(len(prepared.area_ids), dtype=bool)
    placed[overlaps.shares.indices] = True
    on_cells = _spread(overlaps.shares, amounts)
    at, inside = _positions(overlaps.cells, grid)
    in_grid = np.zeros(len(overlaps.cells), dtype=bool)
    in_grid[at] = True
    rows = [
        _conservation_row(layer.name, a, row, in_grid, placed)
        for a, row in zip(amounts, on_cells, strict=True)
    ]
    coverage = np.minimum(overlaps.coverage, 1.0)
    if not (in_grid.all() and inside.all()):
        on_cells = _placed(on_cells, at, inside, np.nan)
        coverage = _placed(coverage[None], at, inside, 0.0)[0]
    gridded = {(a.variable, a.part): row for a, row in zip(amounts, on_cells, strict=True)}
    columns: dict[str, npt.NDArray[Any]] = {"cell": grid, "coverage": coverage}
    for v in layer.variables:
        if v.kind == "count":
            columns[v.name] = gridded[v.name, "count"]
            continue
        top = gridded[v.name, "numerator" if v.kind == "rate" else "weighted sum"]
        bottom = gridded[v.name, "denominator"]
        columns[v.name] = divide(top, bottom)
        columns[f"{v.name}__num"], columns[f"{v.name}__den"] = top, bottom
    notes = [
        f"{layer.name}: {v.name} has no count to weigh by and was averaged by surface."
        for v in layer.variables
        if _by_surface(layer, v)
    ]
    notes += _missing_notes(layer.name, rows)
    # copy=False: the columns are views of arrays made here, and no one else's.
    return pd.DataFrame(columns, copy=False), pd.DataFrame(rows, columns=CONSERVATION_COLUMNS), notes


def _positions(cells: IntArray, grid: IntArray) -> tuple[IntArray, npt.NDArray[np.bool_]]:
    """Where in ``cells`` the grid's cells stand, and which of the grid's cells are there at all."""
    if not len(cells):
        return np.empty(0, dtype=np.int64), np.zeros(len(grid), dtype=bool)
    at = np.minimum(np.searchsorted(cells, grid), len(cells) - 1)
    inside = cells[at] == grid
    return at[inside], inside


def _placed(rows: FloatArray, at: IntArray, inside: npt.NDArray[np.bool_], elsewhere: float) -> FloatArray:
    out = np.full((len(rows), len(inside)), elsewhere)
    for source, target in zip(rows, out, strict=True):
        target[inside] = source[at]
    return out


def divide(top: FloatArray, bottom: FloatArray) -> FloatArray:
    """Quotient, NaN where the bottom is 0 or missing."""
    out = np.full(len(top), np.nan)
    np.divide(top, bottom, out=out, where=bottom > 0)
    return out


def _spread(shares: sp.csr_array, amounts: Sequence[_Amount]) -> FloatArray:
    """Amounts on the cells, one row an amount; NaN in cells that only areas with a missing value reach."""
    values = np.empty((shares.shape[1], len(amounts)))
    for j, amount in enumerate(amounts):
        values[:, j] = amount.values
    known = ~np.isnan(values)
    partly = np.flatnonzero(~known.all(axis=0))
    values[~known] = 0.0
    on_cells = spread(shares, values)
    if len(partly):
        # A mask is shared by many variables as a rule (suppressed areas), so each is looked at once.
        masks, which = np.unique(known[:, partly], axis=1, return_inverse=True)
        reached = spread(shares, masks.astype(np.float64)) > 0
        for column, mask in zip(partly.tolist(), which.ravel().tolist(), strict=True):
            on_cells[column, ~reached[mask]] = np.nan
    return on_cells


def _conservation_row(
    layer: str,
    amount: _Amount,
    on_cells: FloatArray,
    in_grid: npt.NDArray[np.bool_],
    placed: npt.NDArray[np.bool_],
) -> dict[str, Any]:
    source = float(np.nansum(amount.values))
    size = float(np.nansum(np.abs(amount.values)))
    whole = bool(in_grid.all())
    inside = float(np.nansum(on_cells if whole else on_cells[in_grid]))
    outside = 0.0 if whole else float(np.nansum(on_cells[~in_grid]))
    uncovered = outside + float(np.nansum(amount.values[~placed]))
    error = abs(source - inside - uncovered) / size if size > 0 else 0.0
    return {
        "layer": layer,
        "variable": amount.variable,
        "part": amount.part,
        "source_total": source,
        "hex_total": inside,
        "uncovered": uncovered,
        "relative_error": error,
        "conserved": error <= CONSERVATION_TOLERANCE,
        "missing_areas": int(np.isnan(amount.values).sum()),
    }


def _missing_notes(layer: str, rows: list[dict[str, Any]]) -> list[str]:
    missing = {r["variable"]: r["missing_areas"] for r in rows if r["missing_areas"]}
    if not missing:
        return []
    worst = max(missing, key=lambda name: missing[name])
    return [
        f"{layer}: {len(missing)} variables are missing in some areas (most: {worst}, {missing[worst]:,} areas). "
        "A hexagon those areas share with others shows the others' values alone; one they fill shows no data."
    ]


def _note_overlap(layer: PreparedLayer, checks: list[dict[str, Any]]) -> None:
    areas, km2 = measure_overlap(layer.pieces, layer.area)
    if areas:
        checks.append(
            {
                "layer": layer.name, "check": "overlapping areas", "areas": areas, "km2": km2,
                "message": "they lie over each other; each keeps its own mass, so hexagons there hold both",
            }
        )  # fmt: skip
