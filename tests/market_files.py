"""A tiny market on disk, for the tests of reading: four square areas, four stores, three SKUs, two weeks."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import geopandas as gpd
import pandas as pd
import pytest
from shapely.geometry import box

from geomarket.errors import TableError
from geomarket.market import load_market

TODAY = dt.date(2024, 6, 1)
AREAS = """
[[areas]]
name = "blocks"
path = "{path}"
id = "area"
population = "people"
counts = ["people"]
rates = [{{ name = "young", numerator = "young", denominator = "people" }}]
means = [{{ name = "degree", column = "degree_percent", weight = "people", scale = 0.01 }}]
"""


def tables() -> dict[str, pd.DataFrame]:
    """Good tables, as text: what a spreadsheet would hold."""
    stores = pd.DataFrame(
        {
            "store_id": ["007", "008", "009", "010"],
            "name": ["North", "East", "South", "West"],
            "lon": [10.05, 10.15, 10.05, 10.15],
            "lat": [50.15, 50.15, 50.05, 50.05],
            "size_m2": [400, 800, 1200, 600],
            "manager": ["Ada", "Ben", "Cem", "Dee"],
        }
    )
    products = pd.DataFrame(
        {
            "sku": ["01", "02", "03"],
            "name": ["tea", "jam", "rye bread"],
            "category": ["Drinks", "Spreads", "Bakery"],
            "price": [2.0, 3.0, 4.0],
            "cost": [1.0, 1.5, 2.5],
            "organic": ["yes", "no", "no"],
        }
    )
    weeks = ["2024-01-01", "2024-01-08"]
    rows = [
        (store, sku, week, units, units * price)
        for store in stores["store_id"]
        for sku, price, units in zip(products["sku"], products["price"], (3, 5, 2))
        for week in weeks
    ]
    sales = pd.DataFrame(rows, columns=["store_id", "sku", "period", "units", "revenue"])
    return {"stores": stores, "products": products, "sales": sales}


def areas() -> gpd.GeoDataFrame:
    """Four square areas of a tenth of a degree, side by side."""
    corners = [(x, y) for y in (50.0, 50.1) for x in (10.0, 10.1)]
    return gpd.GeoDataFrame(
        {
            "area": ["a", "b", "c", "d"],
            "people": [100, 200, 300, 400],
            "young": [10, 40, 90, 160],
            "degree_percent": [20.0, 30.0, 40.0, 50.0],
        },
        geometry=[box(x, y, x + 0.1, y + 0.1) for x, y in corners],
        crs="EPSG:4326",
    )


def write_market(
    folder: Path,
    frames: dict[str, pd.DataFrame | str | bytes] | None = None,
    layer: gpd.GeoDataFrame | None = None,
    sections: dict[str, dict[str, Any]] | None = None,
    extra: str = "",
    areas_path: str = "areas.gpkg",
) -> Path:
    """Write the tiny market, with some tables replaced, and return its plan.toml.

    ``frames``: table -> a frame, or the file's own text or bytes. ``sections``: table -> further keys of its section.
    """
    everything: dict[str, Any] = {**tables(), **(frames or {})}
    text = '[plan]\nname = "tiny"\n' + extra
    text += "" if "[engine]" in extra else "\n[engine]\nthreads = 1\n"
    for name, content in everything.items():
        path = folder / f"{name}.csv"
        keys = dict((sections or {}).get(name, {}))
        if isinstance(content, bytes):
            path.write_bytes(content)
        elif isinstance(content, str):
            path.write_text(content, encoding="utf-8")
        elif "path" not in keys:
            content.to_csv(path, index=False)
        keys = {"path": path.name, **keys}
        text += f"\n[tables.{name}]\n" + "".join(f"{key} = {_toml(value)}\n" for key, value in keys.items())
    if areas_path == "areas.gpkg":
        (areas() if layer is None else layer).to_file(folder / areas_path, layer="areas")
    plan = folder / "plan.toml"
    plan.write_text(text + AREAS.format(path=areas_path), encoding="utf-8")
    return plan


def _toml(value: Any) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f'"{key}" = {_toml(item)}' for key, item in value.items()) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(map(_toml, value)) + "]"
    return (
        '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"' if isinstance(value, str) else str(value)
    )


def load(plan):
    return load_market(plan, today=TODAY)


def refused(plan, kind=TableError) -> str:
    with pytest.raises(kind) as caught:
        load(plan)
    return str(caught.value)


def rows_of(market, table: str, action: str) -> pd.DataFrame:
    quality = market.quality
    return quality[(quality["table"] == table) & (quality["action"] == action)]


def aside(market, table: str) -> list[tuple]:
    """(row, column, value, reason) of what was set aside."""
    frame = market.quarantine[market.quarantine["table"] == table]
    return [tuple(row) for row in frame[["row", "column", "value", "reason"]].itertuples(index=False)]


def with_rows(name: str, *rows: dict) -> pd.DataFrame:
    frame = tables()[name]
    return pd.concat([frame, pd.DataFrame(rows)], ignore_index=True)


def changed(table: str, row: int, /, **values) -> pd.DataFrame:
    frame = tables()[table].astype(object)
    for column, value in values.items():
        frame.loc[row, column] = value
    return frame
