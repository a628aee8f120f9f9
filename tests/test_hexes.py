"""One layer and several on a grid: values, gaps, notes, refusals."""

import geopandas as gpd
import matplotlib
import numpy as np
import pandas as pd
import pytest
import shapely

from geomarket.errors import NotSupportedError, SettingsError, TableError
from geomarket.hexes import (
    advise_resolution,
    build_hexes,
    cell_areas_km2,
    coarsen,
    interpolate,
    neighbours,
    parents,
    points_to_cells,
    smooth,
    with_categories,
)
from geomarket.market.model import AreaLayer, Variable

matplotlib.use("Agg")

COUNT = Variable("residents", "residents", "count", "people")
RATE = Variable("young", "aged under 30", "rate", "young", denominator="people", unit="share")
MEAN = Variable("income", "median income", "mean", "income", denominator="people", unit="£", protected=True)
ALL = (COUNT, RATE, MEAN)


def squares(n=4, west=-1.0, south=51.0, side=0.05):
    boxes = [
        shapely.box(west + i * side, south + j * side, west + (i + 1) * side, south + (j + 1) * side)
        for i in range(n)
        for j in range(n)
    ]
    rng = np.random.default_rng(1)
    people = rng.integers(50, 500, len(boxes)).astype(float)
    return gpd.GeoDataFrame(
        {
            "area_id": [f"a{i:03d}" for i in range(len(boxes))],
            "people": people,
            "young": np.round(people * rng.uniform(0.1, 0.5, len(boxes))),
            "income": rng.uniform(20, 60, len(boxes)),
            "use": np.where(np.arange(len(boxes)) % 3 == 0, "Town & city", "rural"),
        },
        geometry=boxes,
        crs=4326,
    )


def layer_of(frame=None, variables=ALL, name="census", population="people"):
    return AreaLayer(name, squares() if frame is None else frame, tuple(variables), population=population)


@pytest.fixture(scope="module")
def hexes():
    return build_hexes([layer_of()], 8)


def test_result_has_the_columns_of_the_contract(hexes):
    assert list(hexes.table.columns) == [
        "cell", "lon", "lat", "population", "coverage", "residents", "young", "income",
    ]  # fmt: skip
    assert hexes.table["cell"].dtype == np.int64 and hexes.table["cell"].is_monotonic_increasing
    assert hexes.variables == ALL and hexes.variable("income").protected
    assert list(hexes.denominators.columns) == ["cell", "young", "income"]
    np.testing.assert_allclose(
        hexes.table["young"], hexes.numerators["young"] / hexes.denominators["young"], rtol=1e-12
    )
    np.testing.assert_array_equal(hexes.table["population"], hexes.table["residents"])
    with pytest.raises(TableError, match="residents, young"):
        hexes.variable("absent")


def test_a_cell_inside_one_area_has_the_values_of_that_area(hexes):
    frame = squares()
    cell = points_to_cells([-0.975], [51.025], 8)[0]
    row = hexes.table.set_index("cell").loc[cell]
    area = frame.iloc[0]
    surface = frame.to_crs(6933).area.iloc[0] / 1e6
    assert row["young"] == pytest.approx(area["young"] / area["people"])
    assert row["income"] == pytest.approx(area["income"])
    assert row["population"] == pytest.approx(area["people"] * cell_areas_km2([cell])[0] / surface)
    assert row["coverage"] == pytest.approx(1.0)


def test_cells_are_found_by_overlap_not_by_centre(hexes):
    outline = squares().union_all()
    inside = shapely.contains_xy(outline, hexes.table["lon"], hexes.table["lat"])
    rim = hexes.table[~inside]
    assert len(rim) > 20 and (rim["coverage"] > 0).all() and (rim["population"] > 0).all()


def test_the_input_is_not_changed():
    frame = squares()
    before = frame.copy()
    build_hexes([with_categories(layer_of(frame), "use")], 8)
    pd.testing.assert_frame_equal(frame, before)


def test_row_order_changes_no_digit(hexes):
    shuffled = squares().sample(frac=1, random_state=3)
    pd.testing.assert_frame_equal(build_hexes([layer_of(shuffled)], 8).table, hexes.table, check_exact=True)


def test_missing_values_are_not_zero():
    frame = squares(2, side=0.1)
    frame.loc[0, ["people", "income"]] = np.nan
    found = interpolate(layer_of(frame), 8)
    table = found.table.set_index("cell")
    inside = points_to_cells([-0.95], [51.05], 8)[0]
    assert table.loc[inside, ["residents", "young", "income"]].isna().all()
    assert table.loc[inside, "coverage"] == pytest.approx(1.0)
    # A cell shared with a known area shows the known part alone.
    shared = table[(table["coverage"] > 0.999) & table["residents"].notna()]
    assert shared["income"].between(frame["income"].min() - 1e-9, frame["income"].max() + 1e-9).all()
    account = found.conservation.set_index(["variable", "part"])
    assert (account["missing_areas"] == 1).all() and account["conserved"].all()
    assert account.loc[("residents", "count"), "source_total"] == frame["people"].sum()
    # Where people are missing, the numerator counts for nothing either.
    assert account.loc[("young", "numerator"), "source_total"] == frame["young"].iloc[1:].sum()
    assert any("missing in some areas" in note for note in found.notes)


def test_a_zero_denominator_gives_no_rate():
    frame = squares(2, side=0.1).assign(people=[0.0, 10, 10, 10], young=[0.0, 5, 5, 5])
    table = interpolate(layer_of(frame), 8).table.set_index("cell")
    inside = points_to_cells([-0.95], [51.05], 8)[0]
    assert table.loc[inside, "residents"] == 0 and np.isnan(table.loc[inside, "young"])


def test_a_mean_without_any_count_is_weighed_by_surface_and_says_so():
    frame = squares(2, side=0.1)
    found = interpolate(layer_of(frame, [Variable("income", "income", "mean", "income")], population=None), 7)
    surface = frame.to_crs(6933).area
    assert np.average(found.table["income"], weights=found.table["income__den"]) == pytest.approx(
        np.average(frame["income"], weights=surface), rel=1e-9
    )
    assert any("averaged by surface" in note for note in found.notes)


def test_layers_of_different_grain_meet_on_the_grid_of_the_first():
    wide = squares(2, west=-1.05, south=50.95, side=0.2).rename(columns={"people": "pop2001"})
    other = layer_of(wide, [Variable("pop2001", "in 2001", "count", "pop2001")], "2001", "pop2001")
    hexes = build_hexes([layer_of(), other], 8)
    row = hexes.conservation.query("variable == 'pop2001'").iloc[0]
    assert row["uncovered"] > 0.3 * row["source_total"]
    assert row["hex_total"] + row["uncovered"] == pytest.approx(row["source_total"], rel=1e-12)
    assert len(hexes.table) == len(build_hexes([layer_of()], 8).table)
    assert hexes.table["population"].sum() == pytest.approx(squares()["people"].sum())
    assert any("outside the grid" in line for line in hexes.summary())
    assert hexes.layers["layer"].tolist() == ["census", "2001"]
    np.testing.assert_allclose(
        hexes.layers["uncovered"], [0, row["uncovered"] / row["source_total"]], atol=1e-12
    )


def test_a_hexagon_a_layer_does_not_reach_shows_no_data():
    part = squares(2).rename(columns={"people": "pop2001"})
    other = layer_of(part, [Variable("pop2001", "in 2001", "count", "pop2001")], "2001", "pop2001")
    hexes = build_hexes([layer_of(), other], 8)
    reached = hexes.coverage["2001"] > 0
    assert hexes.table["pop2001"].isna().eq(~reached).all() and (~reached).sum() > 50
    assert hexes.layers["cells"].tolist() == [len(hexes.table), int(reached.sum())]


def test_no_population_is_said():
    hexes = build_hexes([layer_of(variables=[RATE], population=None)], 8)
    assert hexes.table["population"].isna().all()
    assert any("no population" in n.lower() or "none" in n for n in hexes.notes)


@pytest.mark.parametrize(
    ("areas", "message"),
    [
        (list, "no polygon layer"),
        (lambda: [layer_of(), layer_of()], "same name"),
        (lambda: [layer_of(), layer_of(name="old")], "residents is in layer 'census' and in layer 'old'"),
        (lambda: [layer_of(variables=[Variable("population", "p", "count", "young")])], "kept for the first"),
        (lambda: [layer_of(variables=[Variable("cell", "p", "count", "young")])], "can't be called 'cell'"),
        (lambda: [layer_of(variables=[COUNT, COUNT])], "residents"),
        (lambda: [layer_of(variables=[Variable("x", "x", "count", "absent")])], "column 'absent'"),
        (lambda: [layer_of(variables=[Variable("x", "x", "rate", "young")])], "needs a denominator"),
        (lambda: [layer_of(variables=[Variable("x", "x", "share", "young")])], "kind 'share'"),
        (lambda: [layer_of(variables=[Variable("x", "x", "count", "use")])], "expected numbers"),
        (lambda: [layer_of(squares().assign(people=np.inf))], "infinite"),
        (lambda: [layer_of(squares().assign(people=-1.0), [RATE])], "negative in 16 rows"),
    ],
)
def test_variables_that_cannot_be_read_are_refused(areas, message):
    with pytest.raises(TableError, match=message):
        build_hexes(areas(), 8)


def test_the_population_itself_may_be_a_variable_of_the_first_layer():
    hexes = build_hexes([layer_of(variables=[Variable("population", "people", "count", "people")])], 8)
    assert hexes.table["population"].sum() == pytest.approx(squares()["people"].sum())
    assert len(hexes.conservation) == 1


def test_a_layer_far_away_is_refused():
    far = layer_of(squares(west=10).rename(columns={"people": "p"}), [], "far", "p")
    with pytest.raises(TableError, match=r"no polygon reaches a hexagon .* same region"):
        build_hexes([layer_of(), far], 8)


def test_a_second_layer_with_lon_and_lat_swapped_is_refused():
    swapped = squares().rename(columns={"people": "p"})
    swapped.geometry = shapely.transform(swapped.geometry.to_numpy(), lambda xy: xy[:, ::-1])
    with pytest.raises(TableError, match="look swapped"):
        build_hexes([layer_of(), layer_of(swapped, [], "swapped", "p")], 8)


def test_a_grid_of_another_resolution_is_refused():
    with pytest.raises(TableError, match="not of resolution 8"):
        interpolate(layer_of(), 8, cells=points_to_cells([-1.0], [51.0], 7))


def test_a_grid_far_larger_than_memory_is_refused():
    with pytest.raises(NotSupportedError, match="more than 30,000,000 hexagons"):
        interpolate(layer_of(), 15)


def test_a_grid_finer_than_the_areas_says_so_or_is_refused():
    note = next(n for n in interpolate(layer_of(), 9).notes if "spread evenly" in n)
    assert "half of the people" in note and "finer than about resolution 7" in note
    assert not any("spread evenly" in n for n in interpolate(layer_of(), 7).notes)
    with pytest.raises(NotSupportedError, match="strict=False"):
        build_hexes([layer_of()], 9, strict=True)
    build_hexes([layer_of()], 7, strict=True)


def test_points_without_columns_weights_or_place_are_refused():
    good = pd.DataFrame({"lon": [-0.99, -0.97], "lat": [51.01, 51.02], "weight": [1.0, 2.0]})
    with pytest.raises(TableError, match="no column weight"):
        interpolate(layer_of(), 8, points=good.drop(columns="weight"))
    with pytest.raises(TableError, match=r"negative .*\[1\]"):
        interpolate(layer_of(), 8, points=good.assign(weight=[1, -2]))
    with pytest.raises(TableError, match="Swap the columns lon and lat"):
        interpolate(layer_of(), 8, points=good.rename(columns={"lon": "lat", "lat": "lon"}))


def test_areas_without_points_are_split_by_surface_and_counted():
    points = pd.DataFrame(
        {"lon": [-0.99, -0.97, 5.0], "lat": [51.01, 51.02, 51.0], "weight": [1.0, 3.0, 4.0]}
    )
    found = interpolate(layer_of(), 9, points=points)
    plain = interpolate(layer_of(), 9).table.set_index("cell")
    checks = found.checks.set_index("check")
    assert checks.loc["no population point", "areas"] == 15
    assert "50.00%" in checks.loc["points outside", "message"]
    table = found.table.set_index("cell")
    first = squares()["people"].iloc[0]
    cells = points_to_cells(points["lon"][:2], points["lat"][:2], 9)
    np.testing.assert_allclose(table.loc[cells, "residents"], [first / 4, 3 * first / 4])
    other = points_to_cells([-0.875], [51.125], 9)
    np.testing.assert_allclose(table.loc[other, "residents"], plain.loc[other, "residents"])
    np.testing.assert_allclose(table["coverage"], plain["coverage"].reindex(table.index).fillna(0))


def test_points_on_a_border_count_once():
    points = pd.DataFrame({"lon": [-0.95], "lat": [51.02], "weight": [1.0]})
    found = interpolate(layer_of(), 9, points=points)
    assert found.checks.set_index("check").loc["no population point", "areas"] == 15
    assert found.conservation["conserved"].all()


def test_categories_become_shares_that_add_up():
    layer = with_categories(layer_of(), "use")
    assert [v.name for v in layer.variables[-2:]] == ["use_town_city", "use_rural"]
    assert layer.variables[-2].label == "Town & city"
    table = interpolate(layer, 8).table
    np.testing.assert_allclose(table["use_town_city"] + table["use_rural"], 1.0, rtol=1e-12)
    frame = squares()
    expected = frame.loc[frame["use"] == "rural", "people"].sum()
    assert table["use_rural__num"].sum() == pytest.approx(expected)


def test_categories_by_surface_and_with_gaps():
    frame = squares(2, side=0.1).assign(use=["a", "b", None, "a"])
    layer = with_categories(layer_of(frame, [], population=None), "use")
    table = interpolate(layer, 8).table.set_index("cell")
    assert table.loc[points_to_cells([-0.85], [51.05], 8)[0], ["use_a", "use_b"]].isna().all()
    assert table.loc[points_to_cells([-0.95], [51.05], 8)[0], "use_a"] == 1
    surface = frame.to_crs(6933).area / 1e6
    assert table["use_a__den"].sum() == pytest.approx(surface[[0, 1, 3]].sum(), rel=1e-9)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: with_categories(layer_of(), "absent"), "no column 'absent'"),
        (lambda: with_categories(layer_of(), "use", by="absent"), "no column 'absent' to weigh"),
        (lambda: with_categories(layer_of(squares(8)), "area_id"), "too many for categories"),
        (lambda: with_categories(with_categories(layer_of(), "use"), "use"), "taken"),
    ],
)
def test_columns_that_are_no_categories_are_refused(call, message):
    with pytest.raises(TableError, match=message):
        call()


def test_smoothing_keeps_totals_and_weighs_by_people(hexes):
    smoothed = smooth(hexes, k=1)
    assert smoothed.conservation.query("layer == 'smoothing'")["conserved"].all()
    assert smoothed.table["young"].std() < hexes.table["young"].std()
    for frame in ("numerators", "denominators"):
        before, after = getattr(hexes, frame)["young"].sum(), getattr(smoothed, frame)["young"].sum()
        assert after == pytest.approx(before, rel=1e-12)
    pd.testing.assert_series_equal(smoothed.table["residents"], hexes.table["residents"])
    # An inner cell, by hand: each of the seven hands a seventh to everyone.
    pairs = neighbours(hexes.table["cell"], 2, among_cells=True)
    inner = pairs["cell"].value_counts().idxmax()
    ring = [inner, *pairs.query("cell == @inner and ring == 1")["neighbour"]]
    top = hexes.numerators.set_index("cell").loc[ring, "young"].sum()
    bottom = hexes.denominators.set_index("cell").loc[ring, "young"].sum()
    assert smoothed.table.set_index("cell").loc[inner, "young"] == pytest.approx(top / bottom)
    assert any("smoothed over 1 ring " in n for n in smoothed.notes)


def test_smoothing_of_named_counts_and_ring_weights(hexes):
    smoothed = smooth(hexes, k=2, variables=["population"], ring_weights=[4, 2, 1])
    assert smoothed.table["population"].sum() == pytest.approx(hexes.table["population"].sum(), rel=1e-12)
    assert smoothed.table["population"].std() < hexes.table["population"].std()
    pd.testing.assert_series_equal(smoothed.table["young"], hexes.table["young"])
    alone = smooth(hexes, k=1, ring_weights=[1, 0])
    np.testing.assert_allclose(alone.table["young"], hexes.table["young"], rtol=1e-12)


def test_smoothing_neither_fills_nor_leaks_into_cells_without_data():
    part = squares(2).rename(columns={"people": "pop2001"})
    other = layer_of(part, [Variable("pop2001", "in 2001", "count", "pop2001")], "2001", "pop2001")
    hexes = build_hexes([layer_of(), other], 8)
    smoothed = smooth(hexes, variables=["pop2001"])
    assert smoothed.table["pop2001"].isna().equals(hexes.table["pop2001"].isna())
    assert smoothed.table["pop2001"].sum() == pytest.approx(hexes.table["pop2001"].sum(), rel=1e-12)


def test_coarsening_sums_counts_and_divides_sums(hexes):
    coarse = coarsen(hexes, 6)
    group = parents(hexes.table["cell"], 6)
    expected = hexes.table.groupby(group)["population"].sum()
    np.testing.assert_allclose(coarse.table.set_index("cell")["population"], expected)
    top, bottom = (f["young"].groupby(group).sum() for f in (hexes.numerators, hexes.denominators))
    np.testing.assert_allclose(coarse.table["young"], top / bottom)
    assert coarse.resolution == 6 and coarse.conservation["conserved"].all()
    assert (coarse.table["coverage"] <= 1).all()
    covered = coarse.table["coverage"] @ cell_areas_km2(coarse.table["cell"])
    assert covered == pytest.approx(squares().to_crs(6933).area.sum() / 1e6, rel=1e-6)
    assert coarse.layers["cells"].tolist() == [len(coarse.table)]


def test_coarsening_keeps_missing_missing():
    frame = squares(2, side=0.1)
    frame.loc[0, "people"] = np.nan
    hexes = build_hexes([layer_of(frame)], 9)
    coarse = coarsen(hexes, 7)
    group = parents(hexes.table["cell"], 7)
    known = hexes.table["residents"].notna().groupby(group).any()
    assert coarse.table["residents"].notna().to_numpy().tolist() == known.tolist() and not known.all()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda h: smooth(h, k=0), "1 or more"),
        (lambda h: smooth(h, variables=["absent"]), "no variable absent"),
        (lambda h: smooth(h, ring_weights=[1]), "needs 2 values"),
        (lambda h: smooth(h, ring_weights=[0, 1]), "above 0"),
        (lambda h: coarsen(h, 8), "not coarser"),
        (lambda h: coarsen(h, 9), "can't be split"),
    ],
)
def test_impossible_reshaping_is_refused(hexes, call, message):
    with pytest.raises(SettingsError, match=message):
        call(hexes)


def test_resolution_advice():
    advice = advise_resolution([layer_of()], [5, 7, 9])
    table = advice.table.set_index("resolution")
    assert table["verdict"].to_dict() == {5: "coarse", 7: "suits", 9: "finer than the areas"}
    assert advice.recommended == 7
    people = squares()["people"].sum()
    assert table.loc[7, "cells"] == len(build_hexes([layer_of()], 7).table)
    assert table.loc[7, "mass_per_cell"] == pytest.approx(people / table.loc[7, "cells"])
    np.testing.assert_allclose(table["areas_per_cell"] * table["cells_per_area"], 1)
    assert len(advice.summary()) == 4 and advice.plot().get_yscale() == "log"
    assert advise_resolution(layer_of(population=None), [3]).table["mass_per_cell"].isna().all()


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda h: advise_resolution([]), SettingsError, "at least one layer"),
        (lambda h: advise_resolution(layer_of(), []), SettingsError, "one resolution"),
        (lambda h: h.plot(column="zzz"), TableError, "no column 'zzz'. There are: cell, lon"),
        (lambda h: interpolate(layer_of(), 7).plot(column="zzz"), TableError, "no column 'zzz'"),
        (lambda h: neighbours(h.table["cell"], k=1.5), SettingsError, "whole number"),
    ],
)
def test_questions_without_an_answer_are_refused(hexes, call, error, message):
    with pytest.raises(error, match=message):
        call(hexes)


def test_layers_may_come_one_by_one(hexes):
    pd.testing.assert_frame_equal(build_hexes(iter([layer_of()]), 8).table, hexes.table)


def test_results_draw_and_speak(hexes):
    layer = interpolate(layer_of(), 8)
    assert layer.plot().get_xlabel() == hexes.plot(column="young").get_xlabel() == "longitude"
    assert "3 variables" in layer.summary()[0] and "conserved" in layer.summary()[1]
    assert f"{len(hexes.table):,} hexagons" in str(hexes) and "<li>" in hexes._repr_html_()
