"""Neighbourhoods of a plan: a frozen scheme applied unchanged, shrinkage, names and overrides from small tables."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from market_files import areas, load, refused, write_market

from geomarket.errors import MissingDataError, SettingsError, TableError
from geomarket.hexes import cell_strings
from geomarket.market import PlanSettings, read_neighbourhood_files, read_settings
from geomarket.neighbourhoods import NeighbourhoodClassifier
from geomarket.planning.classification import SCHEME_FILE, find_neighbourhoods, scheme_text
from geomarket.planning.steps import find_hexes
from geomarket.simulate import simulate_market

FITTED = "levels = [3, 2]\n"


@pytest.fixture(scope="module")
def hexes():
    market = simulate_market(n_customers=300, n_stores=6, n_skus=40, weeks=12, seed=2)
    return find_hexes(market, PlanSettings())


@pytest.fixture(scope="module")
def first(hexes):
    from geomarket.market import parse_settings

    settings = parse_settings(f"[plan]\nname = 'Town 2024'\n[neighbourhoods]\n{FITTED}")
    return find_neighbourhoods(hexes, settings), settings


def typed(folder, hexes, text, **files):
    """Write a plan and its small tables; return the neighbourhoods it gets."""
    for name, content in files.items():
        (folder / f"{name}.{'json' if name == 'scheme' else 'csv'}").write_text(content, encoding="utf-8")
    (folder / "plan.toml").write_text(f"[neighbourhoods]\n{text}", encoding="utf-8")
    settings = read_settings(folder / "plan.toml")
    return find_neighbourhoods(hexes, settings, read_neighbourhood_files(settings)), settings


def test_a_scheme_kept_by_one_plan_gives_another_plan_identical_labels(hexes, first, tmp_path):
    found, settings = first
    text = scheme_text(found, settings)
    assert json.loads(text)["version"] == "Town 2024" and json.loads(text)["frozen"] is True
    again, later = typed(tmp_path, hexes, 'scheme = "scheme.json"', scheme=text)
    pd.testing.assert_frame_equal(again.table, found.table)
    pd.testing.assert_frame_equal(again.types, found.types)
    pd.testing.assert_frame_equal(again.index, found.index)
    assert scheme_text(again, later) == text, "a scheme handed on stays as it is, version and all"
    assert any("'Town 2024' were applied as they are" in note for note in again.notes)


def test_a_scheme_types_hexagons_it_never_saw_by_its_stored_transform(hexes, first, tmp_path):
    from dataclasses import replace

    found, settings = first
    half = replace(
        hexes,
        table=hexes.table.iloc[::2].reset_index(drop=True),
        denominators=hexes.denominators.iloc[::2].reset_index(drop=True),
    )
    again, _ = typed(tmp_path, half, 'scheme = "scheme.json"', scheme=scheme_text(found, settings))
    expected = found.table.iloc[::2].reset_index(drop=True)
    assert (again.table["neighbourhood"].fillna("") == expected["neighbourhood"].fillna("")).all()
    np.testing.assert_array_equal(again.table["uncertainty"], expected["uncertainty"])


def test_the_version_may_be_named(hexes, tmp_path):
    found, settings = typed(tmp_path, hexes, FITTED + 'version = "2024.1"')
    assert json.loads(scheme_text(found, settings))["version"] == "2024.1"


def test_shrinkage_is_off_by_default_and_said_where_on(hexes, first, tmp_path):
    assert first[0].classifier.shrinkage_ is None
    found, settings = typed(tmp_path, hexes, FITTED + "shrink = true")
    shares = {v.name for v in hexes.variables if v.kind == "rate" and not v.protected}
    assert set(found.classifier.shrinkage_.mean.index) <= shares
    assert len(found.classifier.shrinkage_.mean) > 0
    assert any("pulled towards the average" in note for note in found.notes)
    # and a scheme that shrinks is applied with the priors it learnt
    (tmp_path / "b").mkdir()
    again, _ = typed(tmp_path / "b", hexes, 'scheme = "scheme.json"', scheme=scheme_text(found, settings))
    assert (again.table["neighbourhood"].fillna("") == found.table["neighbourhood"].fillna("")).all()


def corrections(found):
    """A cell and the code of another group for it, and the two tables that say so."""
    row = found.table[found.table["neighbourhood"].notna()].iloc[0]
    code = next(c for c in found.types.query("level == 'group'")["code"] if c[0] != str(row["supergroup"]))
    cell = cell_strings([row["cell"]])[0]
    overrides = f"cell;neighbourhood;reason;author\n{cell};{code};halls opened, autumn 2024;J. Planner\n\n"
    names = "neighbourhood,name,reason,author\nA,Heartland,known by that name,J. Planner\n"
    return int(row["cell"]), code, {"overrides": overrides, "names": names}


def test_names_and_overrides_come_from_small_tables(hexes, first, tmp_path):
    found, _ = first
    cell, code, files = corrections(found)
    text = FITTED + 'names = "names.csv"\noverrides = "overrides.csv"'
    edited, settings = typed(tmp_path, hexes, text, **files)
    row = edited.table.set_index("cell").loc[cell]
    assert (row["neighbourhood"], row["supergroup"], row["status"]) == (code, code[0], "set by hand")
    assert edited.types.set_index("code").loc["A", "name"] == "Heartland"
    assert edited.edits["reason"].tolist() == ["known by that name", "halls opened, autumn 2024"]
    assert set(edited.edits["author"]) == {"J. Planner"}
    others = edited.table["cell"] != cell
    assert (
        edited.table.loc[others, "neighbourhood"].fillna("")
        == found.table.loc[others, "neighbourhood"].fillna("")
    ).all()
    assert edited.types["cells"].sum() == found.types["cells"].sum()
    assert any("1 types renamed, 1 hexagons" in note for note in edited.notes)
    assert any(SCHEME_FILE in note for note in edited.notes), "codes of a fresh fit may change their meaning"
    # the scheme carries them on; the same tables beside it are not made twice
    (tmp_path / "b").mkdir()
    text = 'scheme = "scheme.json"\nnames = "names.csv"\noverrides = "overrides.csv"'
    again, _ = typed(tmp_path / "b", hexes, text, scheme=scheme_text(edited, settings), **files)
    pd.testing.assert_frame_equal(again.table, edited.table)
    pd.testing.assert_frame_equal(again.edits, edited.edits)
    assert not any(SCHEME_FILE in note for note in again.notes)


def test_tables_may_be_excel_or_parquet_and_cells_whole_numbers(hexes, first, tmp_path):
    cell, code, _ = corrections(first[0])
    rows = pd.DataFrame(
        {"note": ["x"], "cell": [cell], "neighbourhood": [code], "reason": ["r"], "author": ["a"]}
    )
    rows.to_parquet(tmp_path / "overrides.parquet")
    rows.assign(cell=cell_strings([cell])).to_excel(tmp_path / "overrides.xlsx", index=False)
    for kind in ("parquet", "xlsx"):
        found, _ = typed(tmp_path, hexes, f'{FITTED}overrides = "overrides.{kind}"')
        assert found.table.set_index("cell").loc[cell, "neighbourhood"] == code


def test_a_scheme_that_misses_a_variable_or_was_changed_is_refused_by_name(hexes, first, tmp_path):
    from dataclasses import replace

    found, settings = first
    text = scheme_text(found, settings)
    used = found.classifier.preparation_.variables[0]
    poorer = replace(hexes, table=hexes.table.drop(columns=used))
    with pytest.raises(TableError, match=rf"scheme = 'scheme.json'.*1 columns that aren't there: {used}"):
        typed(tmp_path, poorer, 'scheme = "scheme.json"', scheme=text)
    with pytest.raises(TableError, match=r"scheme = 'scheme.json'.*checksum"):
        typed(tmp_path, hexes, 'scheme = "scheme.json"', scheme=text.replace("Town 2024", "Town 2023"))
    with pytest.raises(TableError, match=r"scheme = 'scheme.json'.*not JSON"):
        typed(tmp_path, hexes, 'scheme = "scheme.json"', scheme="hello")
    with pytest.raises(TableError, match=r"is no \.json file"):
        typed(tmp_path, hexes, 'scheme = "names.csv"', names="x")
    with pytest.raises(SettingsError, match="levels, shrink would do nothing; leave them out"):
        typed(tmp_path, hexes, 'scheme = "scheme.json"\nlevels = [4]\nshrink = true')


def test_protected_variables_and_far_corrections_of_a_scheme_are_said(hexes, first, tmp_path):
    from dataclasses import replace

    found, settings = first
    cell, _, files = corrections(found)
    edited, _ = typed(tmp_path, hexes, FITTED + 'overrides = "overrides.csv"', **files)
    used = found.classifier.preparation_.variables[0]
    flagged = tuple(replace(v, protected=v.protected or v.name == used) for v in hexes.variables)
    elsewhere = replace(hexes, table=hexes.table[hexes.table["cell"] != cell], variables=flagged)
    again, _ = typed(tmp_path, elsewhere, 'scheme = "scheme.json"', scheme=scheme_text(edited, settings))
    label = next(v.label for v in hexes.variables if v.name == used)
    assert f"The scheme rests on protected traits: {label}." in again.notes
    assert any(note.startswith("1 of the scheme's corrections by hand") for note in again.notes)


CELL = "88260d8763fffff"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "has no rows"),
        ("cell,neighbourhood,reason,author\n", "has no rows"),
        (f"cell,neighbourhood,reason,auhtor\n{CELL},A1,r,a\n", "no column 'author'.*did you mean 'auhtor'"),
        ("cell,neighbourhood,reason,author\n8826,A1,r,a\n", "line 2: '8826' is no H3 cell"),
        (f"cell,neighbourhood,reason,author\n{CELL},A1,,a\n", "line 2: reason is empty.*needs a reason"),
        (f"cell,neighbourhood,reason,author\n\n{CELL},,r,a\n", "line 3: neighbourhood is empty. Fill it"),
        (f"cell,neighbourhood,reason,author\n{CELL},A1,r, or so,a\n", "line 2 has another number of values"),
        (
            f"cell,neighbourhood,reason,author\n{CELL},A1,r,a\n{CELL},B1,r,a\n",
            rf"names {CELL} more than once .line 2, 3",
        ),
        (f"cell,cell,neighbourhood,reason,author\n{CELL},x,A1,r,a\n", "two columns named 'cell'"),
        (f"cell,neighbourhood,reason,author\n{CELL},Q7,r,a\n", "overrides = 'overrides.csv'.*one cell isn't"),
        ("cell,neighbourhood,reason,author\nHERE,Q7,r,a\n", "'Q7' is no type of the finest level"),
        ("cell,neighbourhood,reason,author\nHERE,A,r,a\n", "'A' is no type of the finest level"),
    ],
)
def test_mistakes_in_overrides_are_named(hexes, first, tmp_path, text, message):
    here = cell_strings(first[0].table["cell"].iloc[[0]])[0]
    with pytest.raises((TableError, SettingsError), match=message):
        typed(tmp_path, hexes, f'{FITTED}overrides = "overrides.csv"', overrides=text.replace("HERE", here))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("neighbourhood,name,reason,author\nZ,x,r,a\n", "names = 'names.csv': rename: there is no type 'Z'"),
        ("neighbourhood,name,reason,author\nA,x,r,a\nB,x,r,a\n", "already called 'x'"),
        ("neighbourhood,name,reason,author\nA,x,r,a\nA,y,r,a\n", "names A more than once"),
        ("neighbourhood,name,reason,author\nA,,r,a\n", "line 2: name is empty"),
    ],
)
def test_mistakes_in_names_are_named(hexes, tmp_path, text, message):
    with pytest.raises((TableError, SettingsError), match=message):
        typed(tmp_path, hexes, f'{FITTED}names = "names.csv"', names=text)


def test_files_that_are_not_there_or_not_text_are_named(hexes, tmp_path):
    (tmp_path / "overrides.csv").write_bytes("cell,neighbourhood,reason,author\nx,A,Größe,a".encode("cp1252"))
    with pytest.raises(MissingDataError, match=r"no file overides.csv; did you mean 'overrides.csv'"):
        typed(tmp_path, hexes, 'overrides = "overides.csv"')
    with pytest.raises(TableError, match="not utf-8"):
        typed(tmp_path, hexes, 'overrides = "overrides.csv"')
    with pytest.raises(SettingsError, match="scheme is ''"):
        typed(tmp_path, hexes, 'scheme = ""')
    (tmp_path / "o.geojson").write_text("{}")
    with pytest.raises(TableError, match="expected a CSV, Excel"):
        typed(tmp_path, hexes, 'overrides = "o.geojson"')


def test_hashes_of_the_files_are_kept_under_their_names(hexes, first, tmp_path):
    _, _, files = corrections(first[0])
    _, settings = typed(tmp_path, hexes, FITTED + 'overrides = "overrides.csv"', **files)
    hashes = read_neighbourhood_files(settings).hashes
    assert list(hashes) == ["overrides.csv"] and len(hashes["overrides.csv"]) == 64


def test_two_types_may_change_names(first):
    found, _ = first
    names = found.types.set_index("code")["name"]
    swap = pd.DataFrame({"neighbourhood": ["A", "B"], "name": [names["B"], names["A"]]})
    edited = found.corrected(names=swap.assign(reason="the other way round", author="J. Planner"))
    swapped = edited.types.set_index("code")["name"]
    assert (swapped["A"], swapped["B"]) == (names["B"], names["A"])
    again = NeighbourhoodClassifier.from_json(edited.to_json())
    assert again.names_["A"] == names["B"]


# -- categories -----------------------------------------------------------------------------------------------


def categories_plan(folder, categories, **columns):
    layer = areas().assign(**columns)
    plan = write_market(
        folder, layer=layer, extra="[hexes]\nresolution = 7\n[quality]\nmax_outside_km = 50.0\n"
    )
    plan.write_text(plan.read_text() + f"categories = [{categories}]\n")
    return read_settings(plan), plan


def test_categories_of_areas_become_shares_of_people(tmp_path):
    settings, plan = categories_plan(
        tmp_path, '"land", { column = "zone", by = "young", classify = false, protected = true }',
        land=["Town & city", "rural", "rural", None], zone=[1.0, 2.0, 2.0, None],
    )  # fmt: skip
    hexes = find_hexes(load(plan), settings)
    shares = {v.name: v for v in hexes.variables}
    assert {"land_town_city", "land_rural", "zone_1", "zone_2"} <= set(shares)
    assert shares["zone_2"].protected and not shares["zone_2"].classify and shares["land_rural"].classify
    # counted in people: 100 of the 600 whose area has a category live in town
    bases = hexes.denominators
    assert (hexes.table["land_town_city"] * bases["land_town_city"]).sum() == pytest.approx(100, rel=1e-9)
    assert bases["land_town_city"].sum() == pytest.approx(600, rel=1e-9)
    assert bases["zone_1"].sum() == pytest.approx(10 + 40 + 90, rel=1e-9)
    known = hexes.table[["land_town_city", "land_rural"]].dropna()
    np.testing.assert_allclose(known.sum(axis=1), 1.0, rtol=1e-9)


def test_categories_that_are_not_there_or_figures_too_are_refused(tmp_path):
    _, plan = categories_plan(tmp_path, '"lnad"', land="x")
    assert "no column 'lnad' (categories, lnad)" in refused(plan) and "did you mean 'land'" in refused(plan)
    _, plan = categories_plan(tmp_path, '"young"')
    assert "young is given as categories and as a figure" in refused(plan)
