"""What the neighbourhoods room refuses: every mistake ends in an error of ours that says what to do."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from geomarket.errors import NotSupportedError, SettingsError, TableError
from geomarket.market.model import Variable
from geomarket.neighbourhoods import (
    NeighbourhoodClassifier,
    assign_to_centroids,
    classify,
    compare_vintages,
    fit_kmeans,
    index_table,
    morans_i,
    nearest,
    population_stability,
    residual_autocorrelation,
    smooth_types,
    suggest_levels,
)

RNG = np.random.default_rng(0)
RATES = pd.DataFrame(
    np.repeat([[0.2] * 3, [0.6] * 3], 40, axis=0) + RNG.normal(0, 0.02, (80, 3)), columns=list("abc")
)
POINTS = RATES.to_numpy()
FITTED = NeighbourhoodClassifier(levels=(2,), max_correlation=None, n_init=5).fit(RATES)
CODES, CENTROIDS = FITTED.labels_["code"], FITTED.centroids_
BOUNDS = FITTED.preparation_.table
PAIRS = pd.DataFrame({"cell": range(79), "neighbour": range(1, 80)})
VARIABLES = [Variable(name, name, "rate", name, "people") for name in RATES]
ONE = pd.Series([1.0])


def vintages(old=CODES, new=CODES, rates=RATES, people=None):
    return compare_vintages(old, new, RATES, rates, FITTED.preparation_, people)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda: assign_to_centroids(RATES, CENTROIDS, bounds=BOUNDS.drop(index="b")),
            TableError,
            "no row for b",
        ),
        (
            lambda: assign_to_centroids(RATES, CENTROIDS, bounds=BOUNDS[["centre"]]),
            TableError,
            "no column spread",
        ),
        (lambda: assign_to_centroids(RATES, CENTROIDS, bounds=BOUNDS * 0), TableError, "isn't above 0"),
        (lambda: assign_to_centroids(RATES, CENTROIDS.astype(str)), TableError, "a, b, c aren't numbers"),
        (lambda: assign_to_centroids(RATES, CENTROIDS.iloc[:0]), TableError, "no rows"),
        (
            lambda: assign_to_centroids(RATES.assign(a=np.nan), CENTROIDS),
            NotSupportedError,
            "most missing: a",
        ),
        (lambda: assign_to_centroids(RATES, CENTROIDS, transform="sqrt"), SettingsError, "transform 'sqrt'"),
        (lambda: vintages(CODES.set_axis([0] * 80)), TableError, "old_codes: areas repeat"),
        (lambda: vintages(people=ONE), TableError, "population: missing or negative in areas .1, 2, 3."),
        (lambda: vintages(rates=RATES[["a", "b"]]), TableError, "1 columns that aren't there: c"),
        (lambda: population_stability(RATES, RATES[["a"]]), TableError, "no column b, c"),
        (
            lambda: index_table(RATES, FITTED.labels_[["supergroup"]], VARIABLES, ONE),
            TableError,
            "population has no row",
        ),
        (
            lambda: classify(SimpleNamespace(table=RATES, variables=VARIABLES, denominators=None)),
            TableError,
            "column cell",
        ),
        (lambda: fit_kmeans(np.array([[np.nan], [1.0]]), 1), TableError, "1 of 2 rows hold missing"),
        (lambda: fit_kmeans(POINTS, 2, -np.ones(80)), TableError, "negative"),
        (lambda: fit_kmeans(POINTS, 2, np.ones(3)), TableError, "one for each of 80 rows"),
        (lambda: fit_kmeans(POINTS.ravel(), 2), TableError, "shape .n, p."),
        (lambda: fit_kmeans(POINTS, 0), SettingsError, "at least one cluster"),
        (lambda: nearest(POINTS, POINTS[:, :2]), TableError, "rows of 3 variables"),
        (lambda: nearest(POINTS, POINTS[:0]), TableError, "one or more rows"),
        (lambda: suggest_levels(RATES, candidates=()), SettingsError, "consecutive"),
        (lambda: suggest_levels(RATES, levels=4), SettingsError, "1, 2 or 3 levels"),
        (lambda: suggest_levels(RATES, levels=1, n_bootstrap=1), SettingsError, "at least 2 resamples"),
        (
            lambda: suggest_levels(RATES.iloc[:5], candidates=range(2, 5)),
            NotSupportedError,
            "too few to weigh",
        ),
        (lambda: morans_i(RATES, PAIRS[["cell"]]), TableError, "two columns"),
        (lambda: morans_i(RATES.assign(a="x"), PAIRS), TableError, "columns a aren't numbers"),
        (
            lambda: smooth_types(FITTED, RATES, CODES.set_axis(CODES.index + 900), PAIRS),
            TableError,
            "cells .900, 901, 902.",
        ),
        (
            lambda: smooth_types(FITTED, RATES, CODES, PAIRS, population=ONE),
            TableError,
            "population has no row",
        ),
        (
            lambda: residual_autocorrelation(FITTED, RATES, CODES.replace("A", "Z"), PAIRS),
            TableError,
            "codes Z aren't",
        ),
        (
            lambda: NeighbourhoodClassifier(levels=(2,), shrink=True).fit(
                RATES, denominators=ONE.to_frame("a")
            ),
            TableError,
            "on the index of the rates",
        ),
        (lambda: NeighbourhoodClassifier(levels=6).fit(RATES), SettingsError, "a list with one number"),
        (lambda: NeighbourhoodClassifier(levels=(2,), n_init=0).fit(RATES), SettingsError, "one start"),
        (
            lambda: NeighbourhoodClassifier.from_json('{"format": "geomarket-neighbourhoods"}'),
            TableError,
            "checksum",
        ),
    ],
)
def test_mistakes_are_refused_with_the_cure(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_a_published_variable_that_is_the_same_everywhere_is_left_out_and_said():
    found = assign_to_centroids(RATES.assign(a=0.3), CENTROIDS)
    assert found.used == ("b", "c")
    assert any(note.startswith("a: the same in every area") for note in found.notes)
    assert (found.table["code"] == CODES).all() and (found.table["n_missing"] == 0).all()


def test_levels_may_be_an_array():
    assert NeighbourhoodClassifier(levels=np.array([2]), n_init=5, max_correlation=None).fit(RATES).types_[
        "code"
    ].tolist() == ["A", "B"]
