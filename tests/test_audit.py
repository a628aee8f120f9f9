"""The attacker on a finished folder: quiet on an honest one, loud on every planted leak."""

import json

import geopandas as gpd
import numpy as np
import openpyxl
import pandas as pd
import pytest
from typer.testing import CliRunner

from geomarket.cli import app
from geomarket.customers import penetration, value_customers
from geomarket.errors import SettingsError
from geomarket.hexes import cell_polygons, cell_strings, cells_from_strings, parents, points_to_cells
from geomarket.planning import audit_folder
from geomarket.report.exports import _SUFFIXES, _write_layer

RES = 8


def world(seed=0, n_customers=2_000):
    rng = np.random.default_rng(seed)
    cells = np.unique(points_to_cells(rng.uniform(5.0, 5.18, 500), rng.uniform(52.0, 52.1, 500), RES))
    types = pd.DataFrame({"cell": cells, "neighbourhood": rng.choice(["A1", "A2", "B1", "B2"], len(cells))})
    types.loc[:2, "neighbourhood"] = None
    weight = rng.gamma(0.6, 1.0, len(cells))
    people = pd.DataFrame(
        {
            "customer_id": [f"c{i:04d}" for i in range(n_customers)],
            "cell": rng.choice(cells, n_customers, p=weight / weight.sum()),
        }
    )
    totals = people[["customer_id"]].assign(
        trips=3,
        last_date=pd.Timestamp("2024-01-01"),
        revenue=rng.lognormal(4, 1, n_customers).round(2),
        margin=1.0,
    )
    return people, pd.DataFrame({"cell": cells, "population": 400.0}), types, totals


def publish(folder, types=None, resolution=RES, seed=0, k=10):
    """Write what a plan publishes about customers: two tables, segments, a sheet, a page, the manifest."""
    people, cells, first_types, totals = world(seed)
    types = first_types if types is None else types
    if resolution != RES:
        people = people.assign(cell=parents(people["cell"], resolution))
        cells = pd.DataFrame({"cell": np.unique(people["cell"]), "population": 2_000.0})
        types = pd.DataFrame({"cell": cells["cell"], "neighbourhood": "A1"})
    value = value_customers(totals)
    shown = penetration(people, cells, types, value.table, outside=12).suppressed(k)
    (folder / "tables").mkdir(parents=True)
    by_cell = shown.cells.assign(cell=cell_strings(shown.cells["cell"].to_numpy()))
    by_cell.to_parquet(folder / "tables" / "customers_by_cell.parquet", index=False)
    shown.table.to_parquet(folder / "tables" / "customers_by_neighbourhood.parquet", index=False)
    value.segments.to_parquet(folder / "tables" / "customer_segments.parquet", index=False)
    write_sheet(folder, shown.table)
    write_page(folder, shown.table)
    counted = {
        "customers": len(people) + 12,
        "unplaced": shown.unplaced,
        "outside": shown.outside,
        "with_baskets": len(people),
    }
    manifest = {"complete": True, "resolution": resolution, "people": counted}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return shown


def write_sheet(folder, table):
    book = openpyxl.Workbook()
    book.active.title = "Neighbourhoods"
    dictionary = book.create_sheet("Data dictionary")
    dictionary.append(["Sheet", "Column", "Name in tables/", "Meaning"])
    book["Neighbourhoods"].append(["Code", "Customers", "Heavy customers"])
    for head, column in (("Code", "code"), ("Customers", "customers"), ("Heavy customers", "heavy_share")):
        dictionary.append(["Neighbourhoods", head, column, ""])
    # a line about a type of another level, which counts no customers
    book["Neighbourhoods"].append(["A", None, None])
    for row in table[["neighbourhood", "customers", "heavy_share"]].itertuples(index=False):
        book["Neighbourhoods"].append([row[0], *(None if np.isnan(v) else float(v) for v in row[1:])])
    book.save(folder / "plan.xlsx")


def write_page(folder, table):
    rows = "".join(
        f"<tr><td>{code}</td><td>{'' if np.isnan(n) else f'{n:,.0f}'}</td></tr>"
        for code, n in zip(table["neighbourhood"], table["customers"])
    )
    head = '<th data-name="neighbourhood">Code</th><th data-name="customers">Customers</th>'
    page = f"<figure><figcaption>Customers</figcaption><table><tr>{head}</tr>{rows}</table></figure>"
    (folder / "report.html").write_text(page)


@pytest.fixture
def folder(tmp_path):
    publish(tmp_path / "plan")
    return tmp_path / "plan"


def change(folder, name, edit):
    path = folder / "tables" / f"{name}.parquet"
    edit(pd.read_parquet(path)).to_parquet(path, index=False)


def reveal(frame, row, column, value):
    return frame.assign(**{column: frame[column].where(np.arange(len(frame)) != row, value)})


def truth_by_cell():
    people, _, _, _ = world()
    counts = people["cell"].value_counts()
    return dict(zip(cell_strings(counts.index.to_numpy()), counts))


def test_an_honest_folder_passes_and_says_what_was_examined(folder):
    found = audit_folder(folder)
    assert found.passed, found.table
    assert found.narrowest >= 10
    assert {"cell", "neighbourhood", "total", "segment"} <= set(found.checked["table"])
    assert int(found.checked["hidden"].sum()) > 0
    types = found.checked.set_index(["count", "table"]).loc[("customers", "neighbourhood")]
    assert "plan.xlsx" in types["found_in"]
    assert "report.html" in types["found_in"]
    assert types["rows"] == 4 + 2
    assert "at least 10" in " ".join(found.summary())


def test_a_small_count_put_back_is_seen(folder):
    true = truth_by_cell()

    def leak(frame):
        small = frame["customers"].isna() & frame["cell"].map(true).between(1, 9)
        row = int(np.flatnonzero(small)[0])
        return reveal(frame, row, "customers", float(true[frame["cell"].iloc[row]]))

    change(folder, "customers_by_cell", leak)
    found = audit_folder(folder)
    assert not found.passed
    assert "shown" in set(found.table["problem"])


def test_complements_put_back_pin_the_small_one(folder):
    """Every count shown is large; only sums tell what is left."""
    true = truth_by_cell()

    def leak(frame):
        small = frame["customers"].isna() & frame["cell"].map(true).between(1, 9)
        code = frame.loc[small, "neighbourhood"].dropna().iloc[0]
        mine = frame["customers"].isna() & (frame["neighbourhood"] == code)
        keep = frame.index[mine & small][0]
        back = mine & (frame.index != keep)
        # one published cell stands for all others of the type: their sum is told, no small count is
        others = float(frame.loc[back, "cell"].map(true).fillna(0).sum())
        first = frame.index[back][0]
        frame.loc[first, "customers"] = others
        return frame[~back | (frame.index == first)]

    change(folder, "customers_by_cell", leak)
    found = audit_folder(folder)
    assert "pinned" in set(found.table["problem"])
    assert "shown" not in set(found.table["problem"])
    assert found.narrowest < 10


def test_a_ratio_left_standing_gives_its_count_away(folder):
    change(
        folder,
        "customers_by_cell",
        lambda f: reveal(f, int(np.flatnonzero(f["customers"].isna())[0]), "penetration", 0.01),
    )
    assert set(audit_folder(folder).table["problem"]) == {"given away"}


def test_a_leak_in_the_workbook_or_on_the_page_counts_as_well(tmp_path):
    shown = publish(tmp_path / "plan")
    hidden = shown.table.assign(heavy=np.nan, heavy_share=np.nan)
    # heavy is hidden in the table of types, and the sheet tells its share
    hidden.to_parquet(tmp_path / "plan" / "tables" / "customers_by_neighbourhood.parquet", index=False)
    write_sheet(tmp_path / "plan", hidden.assign(heavy_share=0.5))
    found = audit_folder(tmp_path / "plan").table
    assert (found["problem"] == "given away").any()
    assert found["row"].str.contains("heavy_share").any()

    publish(tmp_path / "second")
    write_page(tmp_path / "second", shown.table.assign(customers=[4.0, 4.0, 4.0, 4.0]))
    problems = set(audit_folder(tmp_path / "second").table["problem"])
    assert "contradiction" in problems


def test_a_list_of_people_is_seen(folder):
    pd.DataFrame({"customer_id": ["c0001"], "value": [3.0]}).to_parquet(folder / "tables" / "best.parquet")
    found = audit_folder(folder)
    assert found.table["problem"].tolist() == ["row per person"]


def test_a_contact_list_is_in_order_only_where_it_was_asked_for_by_name(folder):
    (folder / "campaigns").mkdir()
    (folder / "campaigns" / "contacts_mail.csv").write_text("customer_id,period\nc0001,2024-01-01\n")
    assert audit_folder(folder).table["problem"].tolist() == ["row per person"]
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["settings"] = {"targeting": {"contact_lists": ["mail"]}}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    found = audit_folder(folder)
    assert found.passed
    assert "asked for by name" in " ".join(found.notes)


def test_exports_are_read_as_well(folder):
    frame = pd.read_parquet(folder / "tables" / "customers_by_neighbourhood.parquet")
    (folder / "exports").mkdir()
    frame.to_csv(folder / "exports" / "customers_by_neighbourhood.csv", index=False)
    assert audit_folder(folder).passed
    frame.assign(customers=3).to_csv(folder / "exports" / "customers_by_neighbourhood.csv", index=False)
    assert "contradiction" in set(audit_folder(folder).table["problem"])


@pytest.mark.parametrize("kind", ["parquet", "geoparquet", "geojson", "kml"])
def test_a_leak_in_an_exported_file_is_seen(folder, kind):
    """Hexagons as write_exports writes them: in order while they hide what the tables hide, and not a figure more."""
    true = truth_by_cell()
    frame = pd.read_parquet(folder / "tables" / "customers_by_cell.parquet")
    shapes = cell_polygons(cells_from_strings(frame["cell"]))
    layer = gpd.GeoDataFrame(frame, geometry=shapes, crs="EPSG:4326")
    path = folder / "exports" / kind / f"hexes.{_SUFFIXES.get(kind, kind)}"
    path.parent.mkdir(parents=True)

    def write(layer):
        if kind == "parquet":
            pd.DataFrame(layer.drop(columns="geometry")).to_parquet(path, index=False)
        else:
            _write_layer(layer, kind, path, "hexes")

    write(layer)
    found = audit_folder(folder)
    assert found.passed, found.table
    assert str(path.relative_to(folder)) in " ".join(found.checked["found_in"])
    small = next(k for k, cell in enumerate(frame["cell"]) if 0 < true.get(cell, 0) < 10)
    write(layer.assign(customers=reveal(frame, small, "customers", true[frame["cell"][small]])["customers"]))
    found = audit_folder(folder)
    assert frame["cell"][small] in " ".join(found.table.loc[found.table["problem"] == "shown", "row"])


def test_a_damaged_map_layer_is_refused_and_what_is_not_read_is_said(folder):
    (folder / "exports").mkdir()
    (folder / "exports" / "map.png").write_bytes(b"picture")
    assert "1 png" in " ".join(audit_folder(folder).notes)
    (folder / "exports" / "hexes.geojson").write_text('{"type": "FeatureCollection", "features": [')
    with pytest.raises(SettingsError, match=r"hexes\.geojson: can't be read"):
        audit_folder(folder)


def test_a_table_without_known_keys_is_still_seen(folder):
    for name, n in (("one", 40), ("two", 3)):
        pd.DataFrame({"pair": ["tea + jam", "oil + salt"], "customers": [50, n]}).to_csv(
            folder / f"{name}.csv", index=False
        )
    found = audit_folder(folder).table
    assert found["problem"].tolist() == ["shown"]
    assert "two.csv" in found["table"].iloc[0]


def test_two_runs_together_tell_more_than_each(tmp_path):
    """Moved borders: the types of both runs are safe, their difference is a handful of people."""
    people, _, types, _ = world()
    counts = types["cell"].map(people["cell"].value_counts()).fillna(0)
    few = types[(counts.between(1, 4)) & (types["neighbourhood"] == "A1")].index[:1]
    moved = types.assign(neighbourhood=types["neighbourhood"].where(~types.index.isin(few), "A2"))
    publish(tmp_path / "early")
    publish(tmp_path / "late", moved)
    for name in ("early", "late"):
        # only types are published: hexagons would be hidden with them
        (tmp_path / name / "tables" / "customers_by_cell.parquet").unlink()
        assert audit_folder(tmp_path / name).passed
    # the hexagons' types are known to everybody: they are on the map of both reports
    both = pd.DataFrame(
        {
            "cell": cell_strings(types["cell"].to_numpy()),
            "neighbourhood": types["neighbourhood"],
            "customers": np.nan,
        }
    )
    both.to_parquet(tmp_path / "early" / "tables" / "customers_by_cell.parquet", index=False)
    both.assign(neighbourhood=moved["neighbourhood"]).to_parquet(
        tmp_path / "late" / "tables" / "customers_by_cell.parquet", index=False
    )
    assert audit_folder(tmp_path / "late").passed
    assert audit_folder(tmp_path / "early").passed
    found = audit_folder(tmp_path / "late", tmp_path / "early")
    assert "pinned" in set(found.table["problem"])
    assert found.narrowest < 10
    assert any("put together" in note for note in found.notes)


def test_hexagons_of_two_sizes_are_put_together(tmp_path):
    publish(tmp_path / "fine")
    publish(tmp_path / "coarse", resolution=RES - 1)
    found = audit_folder(tmp_path / "fine", tmp_path / "coarse")
    assert {"cell", f"cell of resolution {RES - 1}"} <= set(found.checked["table"])
    # each was made safe by itself; together they are not, and that is told
    assert found.passed == (found.narrowest >= 10)
    same = audit_folder(tmp_path / "fine", tmp_path / "fine")
    assert same.passed


def test_runs_of_other_people_are_not_mixed(tmp_path):
    publish(tmp_path / "a")
    publish(tmp_path / "b", seed=1)
    found = audit_folder(tmp_path / "a", tmp_path / "b")
    assert found.passed
    assert any("different people" in note for note in found.notes)


def test_a_folder_without_customers_has_nothing_to_tell(tmp_path):
    (tmp_path / "manifest.json").write_text('{"complete": true}')
    found = audit_folder(tmp_path)
    assert found.passed
    assert "nothing to give away" in found.summary()[0]


def test_what_is_no_finished_folder_is_refused(tmp_path, folder):
    with pytest.raises(SettingsError, match=r"no readable manifest\.json"):
        audit_folder(tmp_path / "none")
    (tmp_path / "manifest.json").write_text('{"complete": false}')
    with pytest.raises(SettingsError, match="did not end"):
        audit_folder(tmp_path)
    (folder / "tables" / "torn.parquet").write_bytes(b"PAR1")
    with pytest.raises(SettingsError, match=r"torn\.parquet"):
        audit_folder(folder)


def test_the_command_ends_with_0_1_or_2(folder, tmp_path):
    runner = CliRunner()
    result = runner.invoke(app, ["audit", str(folder)])
    assert result.exit_code == 0, result.output
    assert "Narrowest range a hidden count is known to: at least 10" in result.output
    assert runner.invoke(app, ["audit", str(folder), "--against", str(folder)]).exit_code == 0
    # what was hidden below 10 does not hide enough for 40
    assert runner.invoke(app, ["audit", str(folder), "--k", "40"]).exit_code == 1
    assert runner.invoke(app, ["audit", str(tmp_path / "none")]).exit_code == 2
