"""Exports for spreadsheets and GIS: what is written is what the plan holds, in every format, and harmless."""

from __future__ import annotations

import hashlib
from pathlib import Path
from types import SimpleNamespace

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest

from geomarket.errors import SettingsError
from geomarket.hexes import cell_polygons, cell_strings, neighbours, points_to_cells
from geomarket.planning.dictionary import table_dictionary
from geomarket.report import EXPORT_FORMATS, map_layers, write_exports
from geomarket.report import exports as module

RISKY = '=HYPERLINK("http://x")'


def plan_like(monkeypatch: pytest.MonkeyPatch) -> dict[str, pd.DataFrame]:
    """Tables of a plan on 19 hexagons, in place of a whole run."""
    middle = points_to_cells([4.4], [51.2], 8)
    cells = np.sort(np.append(neighbours(middle, 2)["neighbour"].to_numpy(), middle))
    names = cell_strings(cells)
    tables: dict[str, pd.DataFrame] = {
        "hexes": gpd.GeoDataFrame(
            {"cell": names, "population": np.arange(19.0), "neighbourhood": ["A"] * 18 + [None]},
            geometry=cell_polygons(cells),
            crs="EPSG:4326",
        ),
        "stores": pd.DataFrame(
            {
                "store_id": ["1", "2", "3"],
                "name": [RISKY, "+44 shop", "Tea & <b>"],
                "lon": [4.4, 4.41, np.nan],
                "lat": [51.2, 51.21, np.nan],
                "n_list": [1, 2, 3],
                "opened": pd.to_datetime(["2020-01-01", None, "2021-02-03"]),
            }
        ),
        "catchments": pd.DataFrame(
            {
                "store_id": ["1"] * 7 + ["2"],
                "cell": [*names[:7], names[9]],
                "share": [0.3, 0.2, 0.1, 0.1, 0.1, 0.05, 0.05, 0.9],
                "band": [0.5, 0.5, 0.7, 0.7, 0.9, 0.9, 0.9, 0.5],
            }
        ),
        "changes": pd.DataFrame({"store_id": ["1"], "margin": [-3.5], "reason": ["-cmd|' /C calc'!A0"]}),
    }
    tables["dictionary"] = table_dictionary(tables)
    monkeypatch.setattr(module, "plan_tables", lambda plan: tables)
    return tables


@pytest.fixture
def tables(monkeypatch):
    return plan_like(monkeypatch)


def hashes(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_every_table_and_layer_in_every_format_and_the_same_again(tables, tmp_path):
    written = write_exports(SimpleNamespace(), tmp_path / "a")
    assert {path.parent.name for path in written[:-1]} == set(EXPORT_FORMATS)
    assert len(written) == 2 * len(tables) + 3 * 3 + 1
    assert set(written) == {path for path in (tmp_path / "a").rglob("*") if path.is_file()}
    write_exports(SimpleNamespace(), tmp_path / "b")
    assert hashes(tmp_path / "a") == hashes(tmp_path / "b")


@pytest.mark.parametrize("kind", ["geoparquet", "geojson", "kml"])
def test_gis_formats_hold_the_same_shapes_and_figures(tables, tmp_path, kind):
    write_exports(SimpleNamespace(), tmp_path, [kind])
    suffix = "parquet" if kind == "geoparquet" else kind
    wanted = map_layers(tables)
    for name, layer in wanted.items():
        path = tmp_path / kind / f"{name}.{suffix}"
        found = gpd.read_parquet(path) if kind == "geoparquet" else gpd.read_file(path)
        assert found.crs.to_epsg() == 4326
        assert len(found) == len(layer)
        assert np.abs(found.bounds.to_numpy() - layer.bounds.to_numpy()).max() < 2e-6
        head = {"kml": "Name"}.get(kind, "name")
        if name != "hexes":
            assert found[head].tolist() == layer["name"].tolist()
        else:
            assert found["population"].astype(float).tolist() == layer["population"].tolist()
            assert found["neighbourhood"].isna().sum() == 1


def test_catchments_hold_the_stronger_bands(tables):
    layer = map_layers(tables)["catchments"]
    first = layer[layer["store_id"] == "1"]
    assert first["hexagons"].tolist() == [2, 4, 7]
    assert first["share"].tolist() == pytest.approx([0.5, 0.7, 0.9])
    outer, inner = first.geometry.iloc[2], first.geometry.iloc[0]
    assert outer.buffer(1e-9).contains(inner)
    square = layer.to_crs("EPSG:6933").area
    cells = tables["hexes"].to_crs("EPSG:6933").area
    assert square.iloc[2] == pytest.approx(cells.iloc[:7].sum(), rel=1e-6)


def test_stores_without_a_place_are_not_on_the_map(tables):
    assert map_layers(tables)["stores"]["store_id"].tolist() == ["1", "2"]


def test_no_csv_cell_is_a_formula_and_figures_stay_figures(tables, tmp_path):
    write_exports(SimpleNamespace(), tmp_path, ["csv"])
    stores = pd.read_csv(tmp_path / "csv" / "stores.csv", dtype={"store_id": str})
    assert stores["name"].tolist() == [f"'{RISKY}", "'+44 shop", "Tea & <b>"]
    changes = pd.read_csv(tmp_path / "csv" / "changes.csv")
    assert changes["margin"].tolist() == [-3.5]
    assert changes["reason"].str.startswith("'-cmd").all()
    for path in (tmp_path / "csv").iterdir():
        for cells in pd.read_csv(path, dtype=str).select_dtypes(exclude="number").to_numpy().ravel():
            text = str(cells)
            assert not text.startswith(("=", "+", "@"))
            assert not text.startswith("-") or float(text) < 0


def test_unknown_formats_are_named(tmp_path):
    with pytest.raises(SettingsError, match="xls can't be written; choose from csv"):
        write_exports(SimpleNamespace(), tmp_path, ["csv", "xls"])


def test_every_column_of_every_file_is_in_the_dictionary(tables, tmp_path):
    written = write_exports(SimpleNamespace(), tmp_path)
    assert written[-1] == tmp_path / "dictionary.xlsx"
    known = pd.read_excel(written[-1], sheet_name="Data dictionary")
    named = set(zip(known["Table"], known["Column"]))
    # a plan's dictionary lists itself; the one these tables have was made without it
    for path in set(tmp_path.glob("csv/*.csv")) - {tmp_path / "csv" / "dictionary.csv"}:
        assert {(path.stem, column) for column in pd.read_csv(path, nrows=1)} <= named, path.name
    for path in tmp_path.glob("geoparquet/*.parquet"):
        table = f"{path.stem} (map layer)" if path.stem == "catchments" else path.stem
        columns = set(gpd.read_parquet(path).columns) - {"geometry"}
        assert {(table, column) for column in columns} <= named, path.name
