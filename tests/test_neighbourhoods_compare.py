"""Published centroids, vintages, spatial look, examples and figures."""

from __future__ import annotations

import itertools
from types import SimpleNamespace

import matplotlib
import numpy as np
import pandas as pd
import pytest

from geomarket.errors import NotSupportedError, SettingsError, TableError
from geomarket.hexes import points_to_cells
from geomarket.market.model import Variable
from geomarket.neighbourhoods import (
    NeighbourhoodClassifier,
    assign_to_centroids,
    classify,
    compare_vintages,
    index_table,
    morans_i,
    plot_type,
    population_stability,
    prepare,
    residual_autocorrelation,
    smooth_types,
    suggest_levels,
)

matplotlib.use("Agg")
SIDE = 24


def grid_pairs(side: int = SIDE) -> pd.DataFrame:
    pairs = []
    for i, j in itertools.product(range(side), range(side)):
        for di, dj in ((0, 1), (1, 0), (0, -1), (-1, 0)):
            if 0 <= i + di < side and 0 <= j + dj < side:
                pairs.append((i * side + j, (i + di) * side + j + dj))
    return pd.DataFrame(pairs, columns=["cell", "neighbour"])


@pytest.fixture(scope="module")
def town() -> tuple[pd.DataFrame, np.ndarray]:
    """A grid in three vertical bands of types, with noise."""
    rng = np.random.default_rng(0)
    band = np.tile(np.arange(SIDE) * 3 // SIDE, SIDE)
    centres = np.array([[0.1, 0.5, 0.3], [0.4, 0.2, 0.5], [0.7, 0.6, 0.1]])
    return pd.DataFrame(
        centres[band] + rng.normal(0, 0.08, (SIDE**2, 3)).clip(-0.09), columns=["a", "b", "c"]
    ), band


@pytest.fixture(scope="module")
def fitted(town):
    return NeighbourhoodClassifier(levels=(3, 2), max_correlation=None, n_init=20).fit(town[0])


# -- published centroids ------------------------------------------------------------------------------------


def test_published_centroids_of_a_fit_give_back_the_fit(town, fitted):
    rates, _ = town
    top = fitted.centroids_[fitted.types_["level"].to_numpy() == "supergroup"]
    found = assign_to_centroids(rates, top)
    assert (found.table["code"] == fitted.labels_["supergroup"]).all()
    np.testing.assert_allclose(found.table["uncertainty"], fitted.labels_["uncertainty"])
    assert found.absent == ()
    # a part of the country, with the publisher's scaling handed over, gives the same codes there
    part = assign_to_centroids(rates.iloc[:50], top, bounds=fitted.preparation_.table)
    assert (part.table["code"] == fitted.labels_["supergroup"].iloc[:50]).all()
    assert "areas assigned" in found.summary()[0]


def test_published_variables_that_are_missing_are_named(town, fitted):
    top = fitted.centroids_.iloc[:3].assign(d=0.5)
    found = assign_to_centroids(town[0], top)
    assert found.absent == ("d",)
    assert "1 of 4 published variables" in found.notes[-1]
    with pytest.raises(NotSupportedError, match="only 1 of 4"):
        assign_to_centroids(town[0][["a"]], top)
    with pytest.raises(TableError, match="complete row"):
        assign_to_centroids(town[0], top.replace(0.5, np.nan))


def test_an_area_without_data_has_no_published_type(town, fitted):
    rates = town[0].copy()
    rates.iloc[0] = np.nan
    rates.iloc[1, 0] = np.nan
    table = assign_to_centroids(rates, fitted.centroids_.iloc[:3]).table
    assert table["code"].isna().tolist()[:2] == [True, False]
    assert table["n_missing"].tolist()[:3] == [3, 1, 0]


# -- vintages -----------------------------------------------------------------------------------------------


def test_the_same_areas_under_new_names_havent_moved(town, fitted):
    rates, _ = town
    old = fitted.labels_["supergroup"]
    new = old.map({"A": "C", "B": "A", "C": "B"})
    found = compare_vintages(old, new, rates, rates, fitted.preparation_)
    assert (found.moved, found.ari) == (0.0, 1.0)
    assert dict(found.matches[["old", "new"]].to_numpy()) == {"A": "C", "B": "A", "C": "B"}
    assert found.matches["distance"].max() < 1e-12
    assert (found.psi["verdict"] == "stable").all()
    assert "0.0%" in found.summary()[0]


def test_known_moves_are_counted_in_people(town, fitted):
    rates, _ = town
    old = fitted.labels_["supergroup"]
    people = pd.Series(np.where(np.arange(len(old)) < 30, 10.0, 1.0), index=old.index)
    new = old.copy()
    moved = old.index[:30]
    new.loc[moved] = old.loc[moved].map({"A": "B", "B": "C", "C": "A"})
    new.iloc[-1] = np.nan
    found = compare_vintages(old, new, rates, rates, fitted.preparation_, people)
    assert found.moved == pytest.approx(300 / (300 + len(old) - 31))
    assert found.table["population"].sum() == pytest.approx(300 + len(old) - 31)
    np.testing.assert_allclose(found.table.groupby("old")["share"].sum(), 1.0)
    assert "1 areas have a type in the old vintage only" in found.notes[0]
    assert found.plot().get_xlabel() == "new type"


def test_a_type_without_a_counterpart_is_said(town, fitted):
    rates, _ = town
    old = fitted.labels_["supergroup"]
    new = old.replace({"C": "B"})
    found = compare_vintages(old, new, rates, rates, fitted.preparation_)
    assert found.matches["new"].isna().sum() == 1
    assert any("Without a counterpart" in line for line in found.summary())
    back = compare_vintages(new, old, rates, rates, fitted.preparation_)
    assert any(line.startswith("New: ") for line in back.summary())
    with pytest.raises(NotSupportedError, match="no area has a type in both"):
        compare_vintages(old, new.set_axis(new.index + 10_000), rates, rates, fitted.preparation_)
    with pytest.raises(TableError, match="new_rates"):
        compare_vintages(old, new, rates, rates.iloc[5:], fitted.preparation_)


def test_psi_is_the_sum_it_is_defined_as():
    rng = np.random.default_rng(1)
    old, new = rng.normal(0, 1, 50_000), rng.normal(0.4, 1, 50_000)
    found = population_stability(pd.DataFrame({"x": old, "y": old}), pd.DataFrame({"x": new, "y": old}))
    cuts = np.quantile(old, np.arange(0.1, 1, 0.1))
    p, q = (np.bincount(np.searchsorted(cuts, v), minlength=10) / len(v) for v in (old, new))
    assert found.set_index("variable").loc["x", "psi"] == pytest.approx(
        ((q - p) * np.log(q / p)).sum(), rel=1e-3
    )
    assert found["verdict"].tolist() == ["shifted", "stable"]


# -- spatial ------------------------------------------------------------------------------------------------


def test_morans_i_and_its_variance_are_those_of_the_dense_definition():
    rng = np.random.default_rng(2)
    side = 7
    pairs = grid_pairs(side)
    n = side**2
    x = rng.gamma(1.0, 1.0, n)
    dense = np.zeros((n, n))
    dense[pairs["cell"], pairs["neighbour"]] = 1
    dense /= dense.sum(axis=1, keepdims=True)
    z = x - x.mean()

    def by_hand(values: np.ndarray) -> float:
        return float(
            sum(dense[i, j] * values[i] * values[j] for i in range(n) for j in range(n))
            / (values**2).mean()
            / n
        )

    found = morans_i(pd.DataFrame({"x": x}), pairs.sample(frac=1, random_state=0)).iloc[0]
    assert found["morans_i"] == pytest.approx(by_hand(z), rel=1e-10)
    # moments under randomisation: shuffle the values over the cells
    shuffled = [rng.permutation(z) for _ in range(4_000)]
    simulated = np.array([s @ dense @ s / (z @ z) for s in shuffled])
    implied = (found["morans_i"] - found["expected"]) / found["z"]
    assert simulated.mean() == pytest.approx(found["expected"], abs=4 * implied / np.sqrt(4_000))
    assert simulated.std() == pytest.approx(implied, rel=0.05)


def test_islands_and_missing_cells_are_left_out_and_counted():
    values = pd.DataFrame({"x": [1.0, 2.0, 4.0, 3.0, 9.0, np.nan], "flat": 1.0})
    line = pd.DataFrame({"cell": [0, 1, 1, 2, 2, 3, 5], "neighbour": [1, 0, 2, 1, 3, 2, 77]})
    found = morans_i(values, line).set_index("variable")
    assert found.loc["x", ["cells", "islands"]].tolist() == [4, 1]
    assert np.isnan(found.loc["flat", "morans_i"])
    with pytest.raises(NotSupportedError, match="fewer than four"):
        morans_i(values, line.iloc[:2])


def test_the_types_take_most_of_the_spatial_pattern(town, fitted):
    table = residual_autocorrelation(fitted, town[0], fitted.labels_["supergroup"], grid_pairs())
    assert (table["before"] > 0.4).all()
    assert (table["morans_i"].abs() < 0.1).all()  # the noise was drawn cell by cell


def test_smoothing_buys_larger_patches_with_fit(town, fitted):
    rates, band = town
    codes, pairs = fitted.labels_["supergroup"], grid_pairs()
    none = smooth_types(fitted, rates, codes, pairs, strength=0)
    assert none.fit_cost == 0 and none.moved == 0 and none.patches[0] == none.patches[1]
    some = smooth_types(fitted, rates, codes, pairs, strength=2)
    more = smooth_types(fitted, rates, codes, pairs, strength=6)
    assert 0 < some.fit_cost <= more.fit_cost
    assert some.patches[0] > some.patches[1] >= more.patches[1] >= 3
    assert some.alike[1] > some.alike[0]
    # the true bands are contiguous here, so smoothing must come nearer to them
    truth = pd.Series(band).map(dict(pd.crosstab(band, codes.to_numpy()).idxmax(axis=1)))
    assert (some.table["code"].to_numpy() == truth).mean() > (codes.to_numpy() == truth).mean()
    assert f"{100 * some.fit_cost:.1f}% of fit" in some.summary()[1]
    shuffled = rates.sample(frac=1, random_state=1)
    again = smooth_types(fitted, shuffled, codes.loc[shuffled.index], pairs, strength=2)
    assert (again.table["code"].loc[rates.index] == some.table["code"]).all()


def test_smoothing_refuses_nonsense_and_leaves_gaps(town, fitted):
    rates, _ = town
    codes = fitted.labels_["supergroup"].copy()
    codes.iloc[5] = np.nan
    assert smooth_types(fitted, rates, codes, grid_pairs()).table["code"].isna().tolist().index(True) == 5
    with pytest.raises(SettingsError, match="negative"):
        smooth_types(fitted, rates, codes, grid_pairs(), strength=-1)
    with pytest.raises(TableError, match="aren't types"):
        smooth_types(fitted, rates, codes.replace({"A": "Z"}), grid_pairs())


# -- index intervals ----------------------------------------------------------------------------------------


def test_index_intervals_hold_their_promise():
    variable = [Variable("v", "v", "rate", "v", "people")]
    hits, index = 0, 100 * 0.5 / (0.3 * 0.5 + 0.7 * 0.2)  # three areas in ten are of type A
    rng = np.random.default_rng(3)
    for _ in range(150):
        kind = rng.random(150) < 0.3
        base = pd.DataFrame({"v": rng.gamma(4, 50, 150)})
        rates = pd.DataFrame({"v": np.where(kind, 0.5, 0.2) + rng.normal(0, 0.1, 150)})
        row = index_table(
            rates, pd.DataFrame({"supergroup": np.where(kind, "A", "B")}), variable, None, base
        ).iloc[0]
        hits += row["index_low"] <= index <= row["index_high"]
    assert 0.89 <= hits / 150 <= 0.995


def test_thin_types_are_marked_unreliable():
    rates = pd.DataFrame({"v": [0.1, 0.2, 0.3, 0.4, 0.5, 0.9]})
    codes = pd.DataFrame({"supergroup": list("AAAAAB")})
    variable = [Variable("v", "v", "rate", "v", "people")]
    table = index_table(rates, codes, variable, pd.Series([50.0] * 6)).set_index("code")
    assert table["reliable"].tolist() == [True, False]
    assert np.isnan(table.loc["B", "index_low"])


# -- figures ------------------------------------------------------------------------------------------------


def test_type_figures_show_the_strongest_indices(town, fitted):
    rates, _ = town
    variables = [Variable(name, f"label {name}", "rate", name, "people") for name in rates]
    table = index_table(rates, fitted.labels_[["supergroup"]], variables, min_base=1)
    types = pd.DataFrame({"code": ["A", "B", "C"], "name": ["One", "Two", "Three"]})
    bars = plot_type(table, types, "B")
    assert [t.get_text() for t in bars.get_yticklabels()] == (
        table[table["code"] == "B"].sort_values("index")["label"].tolist()
    )
    radial = plot_type(table, types, "B", style="radial")
    assert radial.name == "polar" and radial.get_title() == "B  Two"
    assert not any("bars end" in text.get_text() for text in radial.texts)
    wide = plot_type(table.assign(index=table["index"] * 10), types, "B", style="radial")
    assert any(text.get_text() == "bars end at 300" for text in wide.texts)
    with pytest.raises(SettingsError, match="no type 'Q'"):
        plot_type(table, types, "Q")
    with pytest.raises(SettingsError, match="'bar' or 'radial'"):
        plot_type(table, types, "B", style="pie")


def test_evidence_is_drawn_and_told(town):
    template = NeighbourhoodClassifier(transform="none", max_correlation=None)
    found = suggest_levels(
        town[0], candidates=range(2, 6), children=(2, 3), n_bootstrap=4, classifier=template
    )
    assert found.levels[0] == 3
    assert len(found.levels[1]) == 3
    axes = found.plot_evidence()
    assert len(axes) == 5
    assert found.plot().get_xlabel() == "number of types"
    assert found.summary()[0].startswith("3 supergroups suggested")
    assert "diagnostic only" in found.summary()[0]
    np.testing.assert_allclose(found.clustergram.groupby(["parent", "k"])["share"].sum(), 1.0)
    out = found.flows.groupby(["parent", "k", "cluster"])["share"].sum()
    nodes = found.clustergram.set_index(["parent", "k", "cluster"])["share"]
    np.testing.assert_allclose(out, nodes.loc[out.index])
    chosen = NeighbourhoodClassifier(levels=found.levels, n_init=10).fit(town[0])
    assert chosen.types_["level"].value_counts()["group"] == sum(found.levels[1])
    with pytest.raises(SettingsError, match="consecutive"):
        suggest_levels(town[0], candidates=(2, 4))
    with pytest.raises(SettingsError, match="No evidence for 'Q'"):
        found.plot(parent="Q")


def test_a_fit_only_applies_to_its_own_variables(town, fitted):
    with pytest.raises(TableError, match="columns that aren't there"):
        prepare(town[0], np.ones(SIDE**2)).apply(town[0][["a"]])


def test_types_are_shown_on_a_map():
    rng = np.random.default_rng(4)
    lon, lat = np.meshgrid(4.3 + 0.02 * np.arange(6), 51.1 + 0.02 * np.arange(6))
    cells = np.unique(points_to_cells(lon.ravel(), lat.ravel(), 8))
    kind = rng.integers(0, 2, len(cells))
    table = pd.DataFrame({"cell": cells, "population": 100.0, "rent": np.where(kind, 0.7, 0.2)})
    table["rent"] += rng.normal(0, 0.02, len(cells))
    variables = (Variable("rent", "renting", "rate", "rent", "population"),)
    hexes = SimpleNamespace(table=table, variables=variables, denominators=None)
    found = classify(hexes, classifier=NeighbourhoodClassifier(levels=(2,)))
    page = found.explore(tiles=None).get_root().render()
    assert found.types["name"].iloc[0] in page
    doubt = found.explore("uncertainty", tiles=None).get_root().render()
    assert "0.90 or more" in doubt, "undecided has a class of its own, however many hexagons are"
    assert "under 0.25" in found.explore("uncertainty", tiles=None, breaks=[0.25]).get_root().render()
    with pytest.raises(TableError):
        found.explore("subgroup")
