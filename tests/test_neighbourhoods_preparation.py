"""Transforms, scaling, screening and shrinkage against definitions and established packages."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from sklearn.preprocessing import MinMaxScaler, PowerTransformer, StandardScaler

from geomarket.errors import NotSupportedError, TableError
from geomarket.neighbourhoods import (
    NeighbourhoodClassifier,
    Preparation,
    correlation_screen,
    prepare,
    shrink_rates,
)


@pytest.fixture
def rates() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    return pd.DataFrame(rng.beta([1, 3, 8], [4, 3, 30], (400, 3)), columns=["a", "b", "c"])


EVEN = np.ones(400)


@pytest.mark.parametrize(
    ("transform", "expected"),
    [
        ("asinh", lambda x: np.log(x + np.sqrt(x**2 + 1))),
        ("log", lambda x: np.log(1 + x)),
        ("none", lambda x: x),
        ("yeo-johnson", lambda x: PowerTransformer("yeo-johnson", standardize=False).fit_transform(x)),
    ],
)
def test_transforms_are_what_they_are_called(rates, transform, expected):
    values = expected(100 * rates.to_numpy())
    ours = prepare(rates, EVEN, transform, "range").apply(rates)
    np.testing.assert_allclose(ours, MinMaxScaler().fit_transform(values), atol=2e-5)


def test_scalings_are_what_they_are_called(rates):
    values = np.arcsinh(100 * rates.to_numpy())
    np.testing.assert_allclose(
        prepare(rates, EVEN, "asinh", "z").apply(rates), StandardScaler().fit_transform(values)
    )
    tenth, middle, ninetieth = np.quantile(values, [0.1, 0.5, 0.9], axis=0)
    ours = prepare(rates, EVEN, "asinh", "inter-decile").apply(rates)
    np.testing.assert_allclose(ours, (values - middle) / (ninetieth - tenth), atol=0.02)


@pytest.mark.parametrize("scaling", ["z", "inter-decile"])
@pytest.mark.parametrize("transform", ["asinh", "yeo-johnson"])
def test_a_weight_of_two_is_the_same_as_being_there_twice(rates, transform, scaling):
    weight = np.where(np.arange(400) < 100, 2.0, 1.0)
    twice = pd.concat([rates, rates.iloc[:100]], ignore_index=True)
    weighted = prepare(rates, weight, transform, scaling).apply(rates)
    repeated = prepare(twice, np.ones(500), transform, scaling).apply(rates)
    np.testing.assert_allclose(weighted, repeated, atol=2e-2 if scaling == "inter-decile" else 1e-4)


def test_variable_weights_multiply_the_squared_distance(rates):
    plain = prepare(rates, EVEN).apply(rates)
    heavy = prepare(rates, EVEN, weights={"b": 4.0}).apply(rates)
    np.testing.assert_allclose(heavy[:, 1], 2 * plain[:, 1])
    np.testing.assert_allclose(heavy[:, [0, 2]], plain[:, [0, 2]])


def test_the_stored_transform_comes_back_from_its_dict(rates):
    learnt = prepare(rates, EVEN, "yeo-johnson", "z", {"a": 1.0})
    again = Preparation.from_dict(learnt.to_dict())
    assert np.array_equal(again.apply(rates), learnt.apply(rates))
    assert list(again.table["multiplier"]) == [1.0, 100.0, 100.0]


def test_log_refuses_what_has_no_logarithm(rates):
    with pytest.raises(TableError, match="'asinh' or 'yeo-johnson'"):
        prepare(rates.assign(a=-0.5), EVEN, "log")


def test_an_inter_decile_range_of_nothing_falls_back_and_says_so():
    rng = np.random.default_rng(1)
    rates = pd.DataFrame({"rare": np.where(rng.random(200) < 0.05, 0.3, 0.0), "x": rng.random(200)})
    fitted = NeighbourhoodClassifier(levels=(2,), scaling="inter-decile").fit(rates)
    assert any("rare" in note and "whole range" in note for note in fitted.notes_)
    assert np.isfinite(fitted.centroids_.to_numpy()).all()


def test_of_two_that_tell_the_same_the_more_entangled_one_goes():
    rng = np.random.default_rng(2)
    owned = rng.random(500)
    others = rng.normal(0, 0.3, (500, 2)) + owned[:, None]
    points = np.column_stack([others, 1 - owned + rng.normal(0, 0.01, 500), owned])
    gone = correlation_screen(points, ["p", "q", "rented", "owned"], np.ones(500), 0.9)
    assert gone["variable"].tolist() == ["owned"]
    assert "correlates -1.00 with rented" in gone["reason"][0]
    kept = np.delete(points, 3, axis=1)
    assert np.abs(np.corrcoef(kept.T) - np.eye(3)).max() <= 0.9
    assert correlation_screen(points, list("abcd"), np.ones(500), None).empty


def test_every_variable_left_out_has_a_reason():
    rng = np.random.default_rng(3)
    rates = pd.DataFrame(rng.random((100, 3)), columns=["a", "b", "c"])
    rates["flat"] = 0.2
    rates["holes"] = rates["a"].where(rng.random(100) < 0.5)
    rates["twin"] = rates["b"] * 0.9
    fitted = NeighbourhoodClassifier(levels=(2,), weights={"c": 0.0}).fit(rates)
    reasons = fitted.dropped_.set_index("variable")["reason"]
    assert set(reasons.index) == {"c", "flat", "holes", "twin"} or set(reasons.index) == {
        "c",
        "flat",
        "holes",
        "b",
    }
    assert reasons["c"] == "weight 0"
    assert reasons["flat"] == "the same in every populated area"
    assert "missing in" in reasons["holes"]
    assert sorted([*fitted.preparation_.variables, *reasons.index]) == sorted(rates.columns)


def test_shrinkage_finds_the_prior_it_was_drawn_from():
    rng = np.random.default_rng(4)
    base = rng.integers(5, 120, 6_000)
    truth = rng.beta(0.2 * 40, 0.8 * 40, 6_000)
    rates = pd.DataFrame({"rent": rng.binomial(base, truth) / base})
    bases = pd.DataFrame({"rent": base.astype(float)})
    prior = shrink_rates(rates, bases)
    assert prior.mean["rent"] == pytest.approx(0.2, abs=0.004)
    assert prior.strength["rent"] == pytest.approx(40, rel=0.12)
    shrunk = prior.apply(rates, bases)["rent"]
    # posterior mean: the error must fall, and by the amount theory says (b / (b + m))
    raw_error, error = ((rates["rent"] - truth) ** 2).mean(), ((shrunk - truth) ** 2).mean()
    assert error < 0.8 * raw_error


def test_shrinkage_is_stored_and_needs_denominators_again():
    rng = np.random.default_rng(5)
    base = pd.DataFrame(rng.integers(5, 60, (300, 2)).astype(float), columns=["a", "b"])
    kind = rng.random(300) < 0.5
    chance = np.where(kind[:, None], [0.2, 0.6], [0.7, 0.1])
    rates = pd.DataFrame(rng.binomial(base.astype(int), chance) / base.to_numpy(), columns=["a", "b"])
    fitted = NeighbourhoodClassifier(levels=(2,), shrink=True, max_correlation=None).fit(rates, None, base)
    again = NeighbourhoodClassifier.from_json(fitted.to_json())
    assert (again.predict(rates, None, base) == fitted.labels_["code"].to_numpy()).all()
    with pytest.raises(TableError, match="shrinks rates"):
        again.predict(rates)
    # what distances are measured in is the shrunk space: the centroids are means there, not of the raw rates
    points = fitted.transform_rates(rates, base)
    means = points.groupby(fitted.labels_["code"]).mean()
    np.testing.assert_allclose(means.to_numpy(), fitted.centroids_.loc[means.index].to_numpy(), rtol=1e-9)
    with pytest.raises(TableError, match="as a share"):
        shrink_rates(rates * 3, base)


def test_population_weights_move_the_types_to_where_people_are():
    rng = np.random.default_rng(6)
    empty = rng.normal([0.1, 0.2], 0.01, (300, 2))  # 300 cells, 600 people: three kinds of countryside
    empty[::3, 0] += 0.1
    empty[1::3, 1] += 0.1
    city = np.vstack([rng.normal(centre, 0.02, (40, 2)) for centre in ([0.5, 0.3], [0.7, 0.6], [0.4, 0.8])])
    rates = pd.DataFrame(np.vstack([empty, city]), columns=["a", "b"])
    people = pd.Series([2.0] * 300 + [4_000.0] * 120)
    settings = {"levels": (3,), "max_correlation": None, "transform": "none"}
    weighted = NeighbourhoodClassifier(**settings).fit(rates, people).labels_["code"]
    equal = NeighbourhoodClassifier(**settings, area_weights="equal").fit(rates, people).labels_["code"]
    assert weighted[300:].nunique() == 3
    assert equal[300:].nunique() < 3


def test_no_rows_left_is_an_error_that_names_the_gaps():
    rates = pd.DataFrame({"a": [0.1, np.nan, 0.3, np.nan], "b": [np.nan, 0.2, np.nan, 0.4]})
    with pytest.raises(NotSupportedError, match=r"only 0 of 4 areas|none of the 2 variables"):
        NeighbourhoodClassifier(levels=(2,), max_missing=0.6).fit(rates)


def test_the_yeo_johnson_power_is_the_one_scipy_finds(rates):
    learnt = prepare(rates, EVEN, "yeo-johnson").table["power"]
    for name in rates:
        assert learnt[name] == pytest.approx(stats.yeojohnson_normmax(100 * rates[name].to_numpy()), abs=1e-3)
