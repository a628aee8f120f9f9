"""The hexagon painter in a folium map, for notebooks.

``folium.GeoJson`` writes every hexagon as text and asks Leaflet to draw each on its own: 50,000 hexagons make a
30 MB page that takes a minute to show. Here they are packed and painted on one canvas.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import folium
import numpy as np
import pandas as pd
from branca.element import MacroElement
from jinja2 import Template

from geomarket.errors import TableError
from geomarket.hexes.cells import cell_centres
from geomarket.hexmap.assets import asset_text, bundle
from geomarket.hexmap.encoding import HexColumn, as_script_json, central_meridian, encode_hexes
from geomarket.hexmap.palette import class_colours
from geomarket.hexmap.views import class_view, format_for, number_view

__all__ = ["HexLayer", "explore_cells", "folium_map"]

_MAX_CLASSES = 60


class HexLayer(MacroElement):
    """Packed hexagons as a layer of a folium map.

    Parameters
    ----------
    packed : dict
        From :func:`geomarket.hexmap.encode_hexes`.
    views : sequence of dict
        From :func:`class_view` or :func:`number_view`: the first colours the hexagons, all stand in the tooltip.
    opacity : float
        0..1.
    """

    _template = Template(
        """
        {% macro script(this, kwargs) %}
        (function () {
        "use strict";
        {{ "{% raw %}" }}
        {{ this.code }}
        const packed = {{ this.packed }};
        const views = {{ this.views }};
        {{ "{% endraw %}" }}
        addHexLayer({{ this._parent.get_name() }}, packed, views, {{ this.opacity }});
        })();
        {% endmacro %}
        """
    )

    def __init__(self, packed: Mapping[str, Any], views: Sequence[Mapping[str, Any]], opacity: float = 0.8):
        super().__init__()
        self._name = "HexLayer"
        self.code = bundle([asset_text("hexpainter.js"), asset_text("leaflethost.js")])
        self.packed = _template_free(as_script_json(packed))
        self.views = _template_free(as_script_json(list(views)))
        self.opacity = float(opacity)


def folium_map(
    layer: HexLayer,
    bounds: Sequence[Sequence[float]],
    *,
    stores: pd.DataFrame | None = None,
    meridian: float = 0.0,
    tiles: str | None = "OpenStreetMap",
) -> folium.Map:
    """Return a folium map with one hexagon layer and, above it, stores as dots.

    Ids are fixed, so the same input gives the same HTML.

    Parameters
    ----------
    layer : HexLayer
        The packed hexagons.
    bounds : [[south, west], [north, east]]
        Degrees.
    stores : DataFrame or None
        name (or store_id), lon, lat.
    meridian : float
        Middle longitude; stores are drawn within 180° of it.
    tiles : str or None
        Base map, loaded from the network when the map is shown; None draws on plain ground.
    """
    result = folium.Map(tiles=tiles, prefer_canvas=True)
    result.fit_bounds([list(corner) for corner in bounds])
    layer.add_to(result)
    if stores is not None:
        for store in stores.to_dict("records"):
            lon = (float(store["lon"]) - meridian + 180.0) % 360.0 - 180.0 + meridian
            dot = folium.CircleMarker(
                [float(store["lat"]), lon],
                radius=5,
                color="#ffffff",
                weight=2,
                fill_color="#1b1b1b",
                fill_opacity=1,
            )
            label = str(store.get("name", store.get("store_id", "store")))
            dot.add_child(folium.Tooltip(_markup_free(label)))
            dot.add_to(result)
    _fix_ids(result)
    return result


def explore_cells(
    table: pd.DataFrame,
    column: str,
    *,
    label: str | None = None,
    labels: Mapping[str, str] | None = None,
    palette: Sequence[str] | Mapping[str, str] | None = None,
    kind: str = "mean",
    unit: str = "",
    weight: str | None = None,
    tooltip: Mapping[str, str] | None = None,
    stores: pd.DataFrame | None = None,
    tiles: str | None = "OpenStreetMap",
    breaks: Sequence[float] | None = None,
) -> folium.Map:
    """Return a folium map of one column of a table of cells.

    Parameters
    ----------
    table : DataFrame
        ``cell`` (int64, one resolution, each once) and ``column``: text or categories are coloured as classes,
        numbers in classes of about equally many cells. Missing values are hatched.
    column : str
        What the hexagons are coloured by.
    label : str or None
        What the legend is headed; None: the column's name.
    labels : mapping or None
        Class -> text of the legend ("B" -> "B · Families in houses").
    palette : sequence or mapping of class to colour, or None
        Colours of classes, in order of the sorted classes; None: colour-blind-safe schemes.
    kind : {"mean", "rate", "count"}
        Of a number: counts are added up in coarser levels and shown per hexagon.
    unit : str
        "share", "people", a currency sign …
    weight : str or None
        Column that weighs coarser levels (population).
    tooltip : mapping or None
        Further columns of the tooltip -> their labels.
    stores : DataFrame or None
        name, lon, lat: drawn as dots.
    tiles : str or None
        Base map of folium; None: none.
    breaks : sequence of float or None
        Class limits of a number, rising; None: classes of about equally many cells.

    Returns
    -------
    folium.Map

    Raises
    ------
    TableError
        If a column is missing or there are too many classes to tell apart.

    Examples
    --------
    >>> from geomarket.hexes.cells import points_to_cells
    >>> cells = points_to_cells([4.40, 4.45], [51.20, 51.22], 8)
    >>> type(explore_cells(pd.DataFrame({"cell": cells, "share": [0.2, 0.4]}), "share", unit="share"))
    <class 'folium.folium.Map'>
    """
    wanted = {column: label or column, **(tooltip or {})}
    missing = [name for name in ["cell", *wanted, *([weight] if weight else [])] if name not in table]
    if missing:
        raise TableError(
            f"explore: the table has no column {', '.join(map(repr, missing))}. "
            f"It has {', '.join(map(str, list(table.columns)[:12]))}."
        )
    columns, views = [], []
    for name, text in wanted.items():
        is_main = name == column
        shown, view = _column_view(
            table[name],
            name,
            text,
            labels if is_main else None,
            palette if is_main else None,
            kind if is_main else "mean",
            unit if is_main else "",
            breaks if is_main else None,
        )
        columns.append(shown)
        views.append(view)
    cells = table["cell"].to_numpy(dtype=np.int64)
    lon, lat = cell_centres(cells)
    meridian = central_meridian(lon)
    weights = None if weight is None else table[weight].to_numpy(dtype=float)
    packed = encode_hexes(cells, columns, weight=weights, meridian=meridian)
    near = np.mod(lon - meridian + 180.0, 360.0) - 180.0 + meridian
    bounds = [[float(lat.min()), float(near.min())], [float(lat.max()), float(near.max())]]
    return folium_map(HexLayer(packed, views), bounds, stores=stores, meridian=meridian, tiles=tiles)


def _column_view(
    values: pd.Series,
    name: str,
    label: str,
    labels: Mapping[str, str] | None,
    palette: Sequence[str] | Mapping[str, str] | None,
    kind: str,
    unit: str,
    breaks: Sequence[float] | None,
) -> tuple[HexColumn, dict[str, Any]]:
    if pd.api.types.is_numeric_dtype(values) and not pd.api.types.is_bool_dtype(values):
        numbers = values.to_numpy(dtype=float, na_value=np.nan)
        written = format_for(kind, unit, numbers)
        view = number_view(name, label, numbers, written, per_hexagon=kind == "count", breaks=breaks)
        return HexColumn(name, numbers, "sum" if kind == "count" else "mean"), view
    text = values.astype("str").where(values.notna(), None)
    classes = sorted({str(value) for value in text.dropna()})
    if len(classes) > _MAX_CLASSES:
        raise TableError(
            f"explore: column '{name}' has {len(classes):,} different values, more than a legend can hold "
            f"({_MAX_CLASSES}). Show a coarser classification or a number."
        )
    codes = text.map({value: k for k, value in enumerate(classes)}).fillna(-1).to_numpy(dtype=np.int64)
    if isinstance(palette, Mapping):
        colours = [palette[value] for value in classes]
    else:
        colours = list(palette)[: len(classes)] if palette is not None else class_colours(len(classes))
    names = [str((labels or {}).get(value, value)) for value in classes]
    return HexColumn(name, codes, "class"), class_view(
        name, label, names, colours, missing=int((codes < 0).sum())
    )


def _template_free(json_text: str) -> str:
    """Take away what could end the raw block: branca reads every rendered script as a template once more."""
    return json_text.replace("%", "\\u0025")


def _markup_free(text: str) -> str:
    """Escape text that folium would place as HTML inside a JavaScript template string."""
    signs = {"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&#39;", "`": "&#96;", "\\": "&#92;"}
    escaped = "".join(signs.get(sign, sign) for sign in text)
    return escaped.replace("$", "&#36;").replace("{", "&#123;").replace("}", "&#125;")


def _fix_ids(root: folium.Map) -> None:
    """Number all elements instead of folium's random ids: same input, same bytes."""
    number = 0

    def renumber(element: Any) -> None:
        nonlocal number
        element._id = f"{number:08x}"
        number += 1
        children = list(element._children.values())
        names = list(element._children)
        element._children.clear()
        for name, child in zip(names, children):
            old = child.get_name()
            renumber(child)
            element._children[child.get_name() if name == old else name] = child

    renumber(root.get_root())
