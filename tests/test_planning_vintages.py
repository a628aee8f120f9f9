"""An earlier plan's neighbourhood types compared with today's: read, measured, refused where it can't be."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from geomarket.errors import NotSupportedError, TableError
from geomarket.hexes import cell_strings, neighbours, points_to_cells
from geomarket.market import parse_settings, read_neighbourhood_files
from geomarket.neighbourhoods import prepare
from geomarket.planning.vintages import compare_with_earlier


def two_vintages():
    """A plan whose types are told apart by renting, and the same place before: one hexagon in ten rented less."""
    middle = points_to_cells([4.4], [51.2], 8)
    cells = np.sort(np.append(neighbours(middle, 8)["neighbour"].to_numpy(), middle))
    rng = np.random.default_rng(1)
    renting = np.where(np.arange(len(cells)) % 2 == 0, 0.2, 0.8) + rng.normal(0, 0.02, len(cells))
    before = renting.copy()
    moved = np.arange(len(cells)) % 20 == 1
    before[moved] -= 0.6
    people = np.full(len(cells), 100.0)
    hexes = SimpleNamespace(table=pd.DataFrame({"cell": cells, "population": people, "renting": renting}))
    table = pd.DataFrame({"cell": cells, "supergroup": np.where(renting > 0.5, "B", "A")})
    preparation = prepare(pd.DataFrame({"renting": renting}), people)
    now = SimpleNamespace(table=table, classifier=SimpleNamespace(preparation_=preparation))
    earlier = pd.DataFrame({"cell": cells, "supergroup": np.where(before > 0.5, "B", "A"), "renting": before})
    return hexes, now, earlier, moved


def test_who_lives_where_the_type_changed_is_counted():
    hexes, now, earlier, moved = two_vintages()
    found = compare_with_earlier(earlier, hexes, now)
    assert found.moved == pytest.approx(moved.mean())
    assert found.matches[["old", "new"]].to_numpy().tolist() == [["A", "A"], ["B", "B"]]
    assert found.table["population"].sum() == 100.0 * len(earlier)
    assert 0 < found.psi["psi"].iloc[0] < 0.1  # five hexagons in a hundred are no drift


def test_plans_that_cannot_be_compared_are_named():
    hexes, now, earlier, _ = two_vintages()
    with pytest.raises(TableError, match="no column renting"):
        compare_with_earlier(earlier.drop(columns="renting"), hexes, now)
    with pytest.raises(NotSupportedError, match="no hexagon in common"):
        compare_with_earlier(earlier.assign(cell=earlier["cell"] + 1), hexes, now)


def settings_with(path):
    return parse_settings(f"[neighbourhoods]\nearlier = '{path.as_posix()}'\n")


def test_the_table_of_an_earlier_plan_is_read(tmp_path):
    _, _, earlier, _ = two_vintages()
    path = tmp_path / "hexes.parquet"
    earlier.assign(cell=cell_strings(earlier["cell"].to_numpy()), geometry=b"x").to_parquet(path)
    found = read_neighbourhood_files(settings_with(path))
    assert found.earlier["cell"].tolist() == earlier["cell"].tolist()
    assert "geometry" not in found.earlier
    assert list(found.hashes) == ["hexes.parquet"]


def test_other_files_are_refused(tmp_path):
    (tmp_path / "hexes.csv").write_text("cell,supergroup\n")
    with pytest.raises(TableError, match="is no Parquet file"):
        read_neighbourhood_files(settings_with(tmp_path / "hexes.csv"))
    pd.DataFrame({"cell": ["a"]}).to_parquet(tmp_path / "other.parquet")
    with pytest.raises(TableError, match="no column 'supergroup'"):
        read_neighbourhood_files(settings_with(tmp_path / "other.parquet"))
    (tmp_path / "bad.parquet").write_bytes(b"no")
    with pytest.raises(TableError, match=r"bad.parquet can't be read"):
        read_neighbourhood_files(settings_with(tmp_path / "bad.parquet"))
