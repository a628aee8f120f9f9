"""Several layers, of different vintages and grains, on one hexagon grid."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from geomarket.errors import TableError
from geomarket.hexes.cells import cell_centres, check_resolution
from geomarket.hexes.draw import check_drawn, draw_cells
from geomarket.hexes.interpolation import HexLayer, check_sentences, conservation_sentences, interpolate
from geomarket.hexes.layers import CHECK_COLUMNS
from geomarket.market.model import AreaLayer, Variable
from geomarket.results import Result

if TYPE_CHECKING:
    import folium

__all__ = ["Hexes", "build_hexes"]

_POPULATION = "population"


@dataclass(frozen=True)
class Hexes(Result):
    """Census variables of all layers on one grid of H3 cells.

    Attributes
    ----------
    table : DataFrame
        cell (int64, ascending), lon, lat (degrees, centre), population, coverage (share of the cell's surface
        the first layer covers), then one column a variable: counts as counts, rates as shares 0..1, means in
        their unit. NaN where a layer doesn't reach the cell or the denominator is 0.
    variables : tuple of Variable
        In the order of the columns.
    resolution : int
    conservation : DataFrame
        As in :class:`HexLayer`, all layers.
    checks : DataFrame
        As in :class:`HexLayer`, all layers.
    numerators, denominators : DataFrame
        cell, then one column for each rate and mean: what the value is the quotient of (weights for
        population-weighted averages; sums over cells are meaningful).
    coverage : DataFrame
        cell, then one column a layer: share of the cell's surface that the layer covers.
    layers : DataFrame
        layer, vintage, source, areas, variables, uncovered (largest share of a total that lies outside the grid
        or in areas without geometry, and was not placed), cells (of the grid that the layer reaches), coverage
        (mean over the grid's cells).
    notes : tuple of str
        Caveats to be stated with the result.

    Examples
    --------
    >>> import geopandas as gpd, shapely
    >>> from geomarket.hexes import build_hexes
    >>> from geomarket.market.model import AreaLayer, Variable
    >>> frame = gpd.GeoDataFrame({"area_id": ["a", "b"], "people": [100.0, 300.0], "young": [50.0, 60.0]},
    ...     geometry=[shapely.box(0, 50, 0.1, 50.1), shapely.box(0.1, 50, 0.2, 50.1)], crs=4326)
    >>> young = Variable("young", "aged under 30", "rate", "young", denominator="people")
    >>> hexes = build_hexes([AreaLayer("census", frame, (young,), population="people")], 7)
    >>> hexes.layers[["layer", "areas", "variables"]].values.tolist()
    [['census', 2, 1]]
    >>> hexes.summary()[1].split(" (")[0]
    '3 of 3 totals are conserved to 1e-09'
    """

    table: pd.DataFrame
    variables: tuple[Variable, ...]
    resolution: int
    conservation: pd.DataFrame
    checks: pd.DataFrame
    numerators: pd.DataFrame
    denominators: pd.DataFrame
    coverage: pd.DataFrame
    layers: pd.DataFrame
    notes: tuple[str, ...] = ()

    def variable(self, name: str) -> Variable:
        """One variable by its name.

        Examples
        --------
        >>> import geopandas as gpd, shapely
        >>> from geomarket.hexes import build_hexes
        >>> from geomarket.market.model import AreaLayer, Variable
        >>> frame = gpd.GeoDataFrame({"area_id": ["a", "b"], "people": [100.0, 300.0], "young": [50.0, 60.0]},
        ...     geometry=[shapely.box(0, 50, 0.1, 50.1), shapely.box(0.1, 50, 0.2, 50.1)], crs=4326)
        >>> young = Variable("young", "aged under 30", "rate", "young", denominator="people")
        >>> hexes = build_hexes([AreaLayer("census", frame, (young,), population="people")], 7)
        >>> hexes.variable("young").label
        'aged under 30'
        """
        for v in self.variables:
            if v.name == name:
                return v
        raise TableError(
            f"hexes: no variable '{name}'. There are: {', '.join(v.name for v in self.variables)}."
        )

    def summary(self) -> list[str]:
        """Say how large the grid is, whether totals were kept, and what was found in the layers."""
        people = self.table[_POPULATION]
        several = "layer" if len(self.layers) == 1 else "layers"
        held = f" holding a population of {people.sum():,.0f}" if people.notna().any() else ""
        return [
            f"{len(self.table):,} hexagons of resolution {self.resolution}{held}, "
            f"{len(self.variables)} variables from {len(self.layers)} {several}.",
            *conservation_sentences(self.conservation),
            *check_sentences(self.checks),
            *self.notes,
        ]

    def explore(self, column: str = _POPULATION, **options: Any) -> folium.Map:
        """Show one column on a map that can be panned and zoomed.

        Parameters
        ----------
        column : str
            A variable, ``population`` or ``coverage``.
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
        >>> from geomarket.hexes import build_hexes
        >>> from geomarket.market.model import AreaLayer, Variable
        >>> frame = gpd.GeoDataFrame({"area_id": ["a", "b"], "people": [100.0, 300.0], "young": [50.0, 60.0]},
        ...     geometry=[shapely.box(0, 50, 0.1, 50.1), shapely.box(0.1, 50, 0.2, 50.1)], crs=4326)
        >>> young = Variable("young", "aged under 30", "rate", "young", denominator="people")
        >>> hexes = build_hexes([AreaLayer("census", frame, (young,), population="people")], 7)
        >>> page = hexes.explore("young", tiles=None).get_root().render()
        >>> "Aged under 30" in page or "aged under 30" in page
        True
        """
        from geomarket.hexmap import explore_cells

        known = {variable.name: variable for variable in self.variables}
        shown: dict[str, Any] = {}
        if column in known:
            variable = known[column]
            shown = {"label": variable.label, "kind": variable.kind, "unit": variable.unit}
        elif column == _POPULATION:
            shown = {"label": "Population", "kind": "count", "unit": "people"}
        weight = _POPULATION if self.table[_POPULATION].notna().any() else None
        return explore_cells(self.table, column, **{**shown, "weight": weight, **options})

    def plot(self, ax: Any = None, column: str = _POPULATION) -> Any:
        """Draw one column (by default the population) and return the axes.

        Examples
        --------
        >>> import matplotlib
        >>> matplotlib.use("Agg")
        >>> import geopandas as gpd, shapely
        >>> from geomarket.hexes import build_hexes
        >>> from geomarket.market.model import AreaLayer, Variable
        >>> frame = gpd.GeoDataFrame({"area_id": ["a", "b"], "people": [100.0, 300.0], "young": [50.0, 60.0]},
        ...     geometry=[shapely.box(0, 50, 0.1, 50.1), shapely.box(0.1, 50, 0.2, 50.1)], crs=4326)
        >>> young = Variable("young", "aged under 30", "rate", "young", denominator="people")
        >>> hexes = build_hexes([AreaLayer("census", frame, (young,), population="people")], 7)
        >>> hexes.plot(column="young").figure.axes[-1].get_ylabel()
        'aged under 30'
        """
        check_drawn(self.table, column)
        label = next((v.label for v in self.variables if v.name == column), column)
        return draw_cells(self.table["cell"], self.table[column], label, ax)


def build_hexes(
    areas: Sequence[AreaLayer],
    resolution: int,
    points: pd.DataFrame | None = None,
    strict: bool = False,
) -> Hexes:
    """Put the variables of one or several polygon layers onto one hexagon grid.

    The grid is every cell the first layer overlaps. Other layers are interpolated onto it; what of them lies
    outside is reported as uncovered in ``conservation``.

    Parameters
    ----------
    areas : sequence of AreaLayer
        The finest first; its population is the reference population.
    resolution : int
        H3 resolution.
    points : DataFrame, optional
        Population points (lon, lat, weight), used for every layer; see :func:`interpolate`.
    strict : bool
        Refuse a resolution much finer than a layer's areas; by default a note says so.

    Returns
    -------
    Hexes

    Raises
    ------
    TableError
        No layer, two layers or two variables of one name, or a layer that doesn't meet the first one at all.
    NotSupportedError
        A grid too large, polygons near a pole, or, if ``strict``, a grid finer than the areas.

    Examples
    --------
    >>> import geopandas as gpd, shapely
    >>> from geomarket.hexes import build_hexes
    >>> from geomarket.market.model import AreaLayer, Variable
    >>> frame = gpd.GeoDataFrame({"area_id": ["a", "b"], "people": [100.0, 300.0], "young": [50.0, 60.0]},
    ...     geometry=[shapely.box(0, 50, 0.1, 50.1), shapely.box(0.1, 50, 0.2, 50.1)], crs=4326)
    >>> young = Variable("young", "aged under 30", "rate", "young", denominator="people")
    >>> hexes = build_hexes([AreaLayer("census", frame, (young,), population="people")], 7)
    >>> float(hexes.table["population"].sum().round(6))
    400.0
    >>> bool(hexes.table["young"].between(0.199, 0.501).all())
    True
    """
    resolution, areas = check_resolution(resolution), list(areas)
    _check_names(areas)
    found: list[HexLayer] = []
    for layer in areas:
        grid = found[0].table["cell"].to_numpy() if found else None
        found.append(
            interpolate(_with_population(layer), resolution, cells=grid, points=points, strict=strict)
        )
        _refuse_apart(found[0], found[-1], layer)
    return _joined(areas, found, resolution)


def _check_names(areas: Sequence[AreaLayer]) -> None:
    if not areas:
        raise TableError("areas: no polygon layer was given; at least one is needed to draw the grid.")
    seen: dict[str, str] = {}
    names = [layer.name for layer in areas]
    if len(set(names)) < len(names):
        raise TableError(f"areas: two layers have the same name ({', '.join(names)}). Give each its own.")
    for position, layer in enumerate(areas):
        for v in layer.variables:
            is_reference = position == 0 and v.kind == "count" and v.column == layer.population
            if v.name == _POPULATION and not is_reference:
                raise TableError(
                    f"areas '{layer.name}': the name '{_POPULATION}' is kept for the first layer's population. "
                    "Rename the variable, for example with its year."
                )
            if v.name in seen:
                raise TableError(
                    f"areas: variable {v.name} is in layer '{seen[v.name]}' and in layer '{layer.name}'. Rename "
                    "one, for example with its year."
                )
            seen[v.name] = layer.name


def _with_population(layer: AreaLayer) -> AreaLayer:
    """The layer with its population as a variable, under a name no user can take."""
    if layer.population is None:
        return layer
    population = Variable(f"{_POPULATION}__", _POPULATION, "count", layer.population, classify=False)
    return AreaLayer(
        layer.name,
        layer.frame,
        (population, *layer.variables),
        layer.population,
        layer.vintage,
        layer.source,
    )


def _refuse_apart(first: HexLayer, layer: HexLayer, source: AreaLayer) -> None:
    if layer is first or (layer.table["coverage"] > 0).any() or layer.table.iloc[:, 2:].notna().any().any():
        return
    box = source.frame.to_crs(4326).total_bounds.round(3).tolist()
    lon, lat = cell_centres(first.table["cell"])
    turned = bool(
        (box[0] <= lat.max()) & (box[2] >= lat.min()) & (box[1] <= lon.max()) & (box[3] >= lon.min())
    )
    cure = (
        "With longitude and latitude exchanged it would: they look swapped."
        if turned
        else "Check its CRS, and that it is a layer of the same region."
    )
    raise TableError(
        f"areas '{layer.name}': no polygon reaches a hexagon of the first layer '{first.name}' "
        f"(west, south, east, north: {box}). {cure}"
    )


def _joined(areas: Sequence[AreaLayer], found: list[HexLayer], resolution: int) -> Hexes:
    first = found[0].table
    lon, lat = cell_centres(first["cell"])
    columns: dict[str, Any] = {"cell": first["cell"].to_numpy(), "lon": lon, "lat": lat}
    notes = [note for layer in found for note in layer.notes]
    with_people = [layer for layer in found if f"{_POPULATION}__" in layer.table]
    if with_people:
        columns[_POPULATION] = with_people[0].table[f"{_POPULATION}__"].to_numpy()
        if with_people[0] is not found[0]:
            notes.append(f"Population is that of layer {with_people[0].name}: {found[0].name} has none.")
    else:
        columns[_POPULATION] = np.full(len(first), np.nan)
        notes.append("No layer names a population, so hexagons have none.")
    columns["coverage"] = first["coverage"].to_numpy()
    tops: dict[str, Any] = {"cell": columns["cell"]}
    bottoms: dict[str, Any] = {"cell": columns["cell"]}
    for source, layer in zip(areas, found, strict=True):
        for v in source.variables:
            columns[v.name] = layer.table[v.name].to_numpy()
            if v.kind != "count":
                tops[v.name] = layer.table[f"{v.name}__num"].to_numpy()
                bottoms[v.name] = layer.table[f"{v.name}__den"].to_numpy()
    conservation = pd.concat([layer.conservation for layer in found], ignore_index=True)
    conservation["variable"] = conservation["variable"].replace(f"{_POPULATION}__", _POPULATION)
    checks = [layer.checks for layer in found if len(layer.checks)]
    shares = {layer.name: layer.table["coverage"].to_numpy() for layer in found}
    coverage = pd.DataFrame({"cell": columns["cell"]} | shares)
    layers = pd.DataFrame(
        {
            "layer": [layer.name for layer in areas],
            "vintage": pd.array([layer.vintage for layer in areas], dtype="Int64"),
            "source": [layer.source for layer in areas],
            "areas": [len(layer.frame) for layer in areas],
            "variables": [len(layer.variables) for layer in areas],
            "uncovered": [_uncovered(layer.conservation) for layer in found],
        }
    )
    return Hexes(
        pd.DataFrame(columns),
        tuple(v for layer in areas for v in layer.variables),
        resolution,
        conservation.drop_duplicates(["layer", "variable", "part"], ignore_index=True),
        pd.concat(checks, ignore_index=True) if checks else pd.DataFrame(columns=CHECK_COLUMNS),
        pd.DataFrame(tops),
        pd.DataFrame(bottoms),
        coverage,
        layer_table(layers, coverage),
        tuple(notes),
    )


def _uncovered(conservation: pd.DataFrame) -> float:
    """Largest share of a layer's totals that was not placed; NaN where it has no total."""
    total = conservation["source_total"].abs().replace(0.0, np.nan)
    return float((conservation["uncovered"].abs() / total).max())


def layer_table(layers: pd.DataFrame, coverage: pd.DataFrame) -> pd.DataFrame:
    """The table of layers with what each covers of the grid."""
    shares = coverage.drop(columns="cell")
    return layers.assign(
        cells=(shares > 0).sum().to_numpy(dtype=np.int64), coverage=shares.mean().to_numpy(dtype=np.float64)
    )
