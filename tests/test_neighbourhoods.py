"""Behaviour of the neighbourhoods room: inputs, missing values, names, edits, schemes."""

from __future__ import annotations

import json
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from geomarket.errors import NotSupportedError, SettingsError, TableError
from geomarket.market.model import Variable
from geomarket.neighbourhoods import NeighbourhoodClassifier, classify, name_types
from geomarket.neighbourhoods.portraits import sensitive

VARIABLES = (
    Variable("population", "residents", "count", "population", classify=False),
    Variable("young", "aged 20 to 29", "rate", "young", "population"),
    Variable("old", "aged 65 and over", "rate", "old", "population"),
    Variable("rent", "renting privately", "rate", "rent", "households"),
    Variable("own", "owning their home", "rate", "own", "households"),
    Variable("cars", "with two cars or more", "rate", "cars", "households"),
    Variable("income", "median household income", "mean", "income", "households", unit="€"),
    Variable("born_abroad", "born abroad", "rate", "born_abroad", "population", protected=True),
)
PROFILES = {
    "young": (0.35, 0.12, 0.06),
    "old": (0.05, 0.15, 0.40),
    "rent": (0.65, 0.25, 0.08),
    "own": (0.20, 0.60, 0.85),
    "cars": (0.05, 0.45, 0.30),
    "income": (24e3, 45e3, 33e3),
    "born_abroad": (0.4, 0.05, 0.02),
}


def make_hexes(cells: int = 240, seed: int = 0) -> SimpleNamespace:
    rng = np.random.default_rng(seed)
    kind = rng.choice(3, size=cells, p=(0.5, 0.3, 0.2))
    table = pd.DataFrame(
        {"cell": 600_000_000_000_000_000 + np.arange(cells), "population": rng.integers(20, 900, cells)}
    )
    for name, levels in PROFILES.items():
        table[name] = np.array(levels)[kind] * np.exp(rng.normal(0, 0.05, cells))
    bases = pd.DataFrame({v.name: table["population"] * 1.0 for v in VARIABLES if v.kind != "count"})
    bases.insert(0, "cell", table["cell"])
    return SimpleNamespace(table=table, variables=VARIABLES, denominators=bases, kind=kind)


@pytest.fixture(scope="module")
def found():
    return classify(
        make_hexes(), classifier=NeighbourhoodClassifier(levels=(3, 2), max_correlation=None, n_init=20)
    )


def test_frames_have_the_agreed_columns(found):
    assert {"cell", "neighbourhood", "supergroup", "name", "uncertainty"} <= set(found.table)
    assert {"code", "level", "parent", "name", "portrait", "cells", "population", "population_share"} <= set(
        found.types
    )
    assert {"code", "level", "variable", "label", "mean", "overall", "index", "n_areas", "base"} <= set(
        found.index
    )
    assert set(found.table["neighbourhood"]) == {"A1", "A2", "B1", "B2", "C1", "C2"}
    top = found.types[found.types["level"] == "supergroup"]
    assert top["population"].is_monotonic_decreasing
    assert top["population_share"].sum() == pytest.approx(1)
    assert found.table["uncertainty"].between(0, 1).all()


def test_names_and_portraits_say_what_is_over_represented(found):
    names = found.types.set_index("code")["name"]
    assert names.is_unique
    young = (
        found.index.query("level == 'supergroup' and variable == 'young'").set_index("code")["index"].idxmax()
    )
    old = found.index.query("level == 'supergroup' and variable == 'old'").set_index("code")["index"].idxmax()
    assert "young" in names[young].lower() and "private renters" in names[young].lower()
    assert "older" in names[old].lower() and "owners" in names[old].lower()
    portrait = found.types.set_index("code").loc[young, "portrait"]
    assert "renting privately" in portrait and "Below average" in portrait and "%" in portrait
    assert found.summary()[0].startswith("240 of 240 hexagons sorted into 3 supergroups and 6 groups")


def test_protected_traits_stay_out_unless_named(found):
    assert "born_abroad" not in found.classifier.preparation_.variables
    assert "born_abroad" not in set(found.index["variable"])
    assert not found.types["portrait"].str.contains("born").any()
    assert any("born abroad" in note for note in found.notes)
    used = classify(make_hexes(), levels=(3,), use_protected=["born_abroad"], describe_protected=True)
    assert "born_abroad" in used.classifier.feature_names_in_
    assert "born_abroad" in set(used.index["variable"])
    assert not used.types["name"].str.contains("born|abroad", case=False).any()
    with pytest.raises(SettingsError, match="no protected rates"):
        classify(make_hexes(), use_protected=["young"])


def test_an_unflagged_protected_label_never_enters_a_name():
    rows = [
        {"code": code, "level": "supergroup", "variable": "v", "label": label, "mean": 0.5, "overall": 0.1}
        | {"index": 500.0, "strength": 3.0, "parent_strength": 3.0, "protected": False, "reliable": True}
        for code, label in zip(
            "ABCDE", ["Muslim", "Black African", "disabled", "born abroad", "divorced"], strict=True
        )
    ]
    names = name_types(pd.DataFrame(rows).assign(unit="share"))
    assert all("Mixed households" in name for name in names.values())
    assert len(set(names.values())) == 5


@pytest.mark.parametrize(
    "label",
    [
        "Gypsy or Irish Traveller", "arab", "rel_none religion", "cob_eu", "long-term sick or disabled", "deaf",
        "heterosexual", "LGB+", "trade union members", "Labour voters", "never married", "cannot speak English",
        "other ethnic group", "skin colour", "HIV", "mixed parentage", "synagogue", "political party membership",
    ],
)  # fmt: skip
def test_labels_that_read_like_a_protected_trait_are_known(label):
    assert sensitive(label)


@pytest.mark.parametrize(
    "label",
    [
        "white-collar work", "living alone", "married couples with children", "renting privately", "studying full time",
        "provides unpaid care", "works in caring occupations", "social rented", "terraced", "elementary occupations",
        "aged 65 to 84", "communal establishment", "median rent", "without a car", "in a detached house",
    ],
)  # fmt: skip
def test_everyday_labels_are_no_protected_trait(label):
    assert not sensitive(label)


def test_unpopulated_and_incomplete_cells_are_missing_and_counted():
    hexes = make_hexes()
    hexes.table.loc[:4, "population"] = 0
    hexes.table.loc[5, "population"] = np.nan
    hexes.table["population"] = hexes.table["population"].astype(float)
    hexes.table.loc[10:12, ["young", "old", "rent", "own"]] = np.nan
    hexes.table.loc[20, "cars"] = np.nan
    before = hexes.table.copy()
    found = classify(hexes, classifier=NeighbourhoodClassifier(levels=(3,), max_correlation=None))
    table = found.table.set_index("cell")
    cells = hexes.table["cell"]
    assert table.loc[cells[:6], "neighbourhood"].isna().all()
    assert (table.loc[cells[:6], "status"] == "unpopulated").all()
    assert (table.loc[cells[10:13], "status"] == "too little data").all()
    assert table.loc[cells[10:13], "neighbourhood"].isna().all()
    assert table.loc[cells[20], "status"] == "partial data"
    assert pd.notna(table.loc[cells[20], "neighbourhood"])
    said = " ".join(found.summary())
    assert "6 of 240" in said and "3 of 240" in said and "1 of 240" in said
    pd.testing.assert_frame_equal(hexes.table, before)


def test_an_area_without_a_type_is_predicted_as_none():
    table = rates()
    fitted = NeighbourhoodClassifier(levels=(2,)).fit(table)
    table.iloc[0] = np.nan
    codes = fitted.predict(table)
    assert codes[0] is None and (codes[1:] == fitted.labels_["code"].to_numpy()[1:]).all()


def test_shrinkage_leaves_means_alone_and_moves_small_bases_most():
    hexes = make_hexes()
    settings = {"levels": (3,), "max_correlation": None, "n_init": 10}
    found = classify(hexes, classifier=NeighbourhoodClassifier(shrink=True, **settings))
    shrunk = found.classifier.shrinkage_.mean.index
    assert set(shrunk) == {"young", "old", "rent", "own", "cars"}, "income is no share"
    plain = hexes.table.set_index("cell")
    bases = hexes.denominators.set_index("cell")
    moved = (found.classifier.shrinkage_.apply(plain, bases)["rent"] - plain["rent"]).abs()
    small = plain["population"] < plain["population"].median()
    assert moved[small].mean() > 1.5 * moved[~small].mean()


def test_a_cell_that_lacks_one_variable_is_still_typed_right():
    hexes = make_hexes()
    full = classify(hexes, levels=(3,)).table["neighbourhood"]
    hexes.table.loc[::7, "cars"] = np.nan
    assert (classify(hexes, levels=(3,)).table["neighbourhood"] == full).all()


def test_renames_and_overrides_keep_reason_and_author_and_survive_json(found):
    cell = int(found.table["cell"].iloc[0])
    old = found.table["neighbourhood"].iloc[0]
    new = next(c for c in ("A1", "B1", "C2") if c[0] != old[0])
    edited = found.rename("A", "Heartland", "known by that name here", "J. Planner")
    edited = edited.override(cell, new, "new student residence", "J. Planner")
    assert edited.edits[["kind", "target", "old", "new"]].values.tolist()[1] == [
        "override",
        str(cell),
        old,
        new,
    ]
    assert edited.types.set_index("code").loc["A", "name"] == "Heartland"
    row = edited.table.iloc[0]
    assert (row["neighbourhood"], row["supergroup"], row["group"], row["status"]) == (
        new,
        new[0],
        new,
        "set by hand",
    )
    assert edited.types["cells"].sum() == found.types["cells"].sum()
    assert len(found.edits) == 0, "the original is left alone"
    assert "2 corrections by hand" in " ".join(edited.summary())

    scheme = NeighbourhoodClassifier.from_json(edited.to_json())
    again = classify(make_hexes(), classifier=scheme)
    pd.testing.assert_frame_equal(again.table, edited.table)
    pd.testing.assert_frame_equal(again.types, edited.types)
    pd.testing.assert_frame_equal(again.edits, edited.edits)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda f: f.rename("Z", "x", "r", "a"), "no type 'Z'"),
        (lambda f: f.rename("A", "x", " ", "a"), "reason and an author"),
        (lambda f: f.rename("A", " ", "r", "a"), "empty"),
        (lambda f: f.rename("A", f.types["name"].iloc[1], "r", "a"), "already called"),
        (lambda f: f.override(1, "A1", "r", "a"), "isn't in the table"),
        (lambda f: f.override(int(f.table["cell"].iloc[0]), "A", "r", "a"), "finest level"),
    ],
)
def test_bad_edits_are_refused(found, call, message):
    with pytest.raises(SettingsError, match=message):
        call(found)


def test_a_frozen_scheme_keeps_its_version_and_cant_be_refitted(found):
    frozen = found.classifier.freeze("2021.1")
    again = NeighbourhoodClassifier.from_json(frozen.to_json())
    assert again.version == "2021.1"
    with pytest.raises(SettingsError, match=r"2021\.1.*frozen"):
        again.fit(make_hexes().table[["young", "old"]])


def test_a_scheme_changed_by_hand_is_noticed(found):
    text = found.to_json()
    stored = json.loads(text)
    stored["centroids"][0][0] += 0.1
    with pytest.raises(TableError, match="checksum"):
        NeighbourhoodClassifier.from_json(json.dumps(stored))
    with pytest.raises(TableError, match="not JSON"):
        NeighbourhoodClassifier.from_json("hello")
    with pytest.raises(TableError, match="no format"):
        NeighbourhoodClassifier.from_json("{}")
    stored["format_version"] = 99
    with pytest.raises(TableError, match="newer"):
        NeighbourhoodClassifier.from_json(json.dumps(stored))


def rates(rows: int = 60) -> pd.DataFrame:
    return make_hexes(rows).table[["young", "old", "rent", "own"]]


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"transform": "sqrt"}, SettingsError, "transform 'sqrt'"),
        ({"scaling": "minmax"}, SettingsError, "scaling 'minmax'"),
        ({"levels": (1, 2)}, SettingsError, "2 to 26"),
        ({"levels": (3, 2, 2, 2)}, SettingsError, "4 entries"),
        ({"levels": (3, (2, 2))}, SettingsError, "each of the 3 types"),
        ({"levels": (3, 99), "counts": "total"}, SettingsError, "allow 3 to"),
        ({"weights": {"yuong": 2}}, SettingsError, "yuong"),
        ({"weights": {"young": -1}}, SettingsError, "negative"),
        ({"max_correlation": 0}, SettingsError, "max_correlation"),
        ({"shrink": True}, SettingsError, "denominators"),
        ({"levels": (26,), "min_population": 890}, NotSupportedError, "26 supergroups"),
    ],
)
def test_bad_settings_are_refused(settings, error, message):
    population = make_hexes(60).table["population"]
    with pytest.raises(error, match=message):
        NeighbourhoodClassifier(**{"levels": (3,), **settings}).fit(rates(), population)


def test_bad_tables_are_refused():
    table, classifier = rates(), NeighbourhoodClassifier(levels=(3,))
    with pytest.raises(TableError, match="aren't numbers"):
        classifier.fit(table.assign(young="many"))
    with pytest.raises(TableError, match="infinite"):
        classifier.fit(table.replace({"young": {table["young"].iloc[3]: np.inf}}))
    with pytest.raises(TableError, match="repeats"):
        classifier.fit(table.set_axis([0] * len(table)))
    with pytest.raises(TableError, match="index"):
        classifier.fit(table, pd.Series(1.0, index=range(5)))
    with pytest.raises(TableError, match="negative"):
        classifier.fit(table, pd.Series(-1.0, index=table.index))
    words = table.assign(name="somewhere")  # other columns are nobody's business when predicting
    assert (classifier.fit(table).predict(words) == classifier.labels_["code"].to_numpy()).all()
    with pytest.raises(TableError, match="DataFrame"):
        classifier.fit(table.to_numpy())
    with pytest.raises(NotSupportedError, match="no types yet"):
        NeighbourhoodClassifier().predict(table)
    with pytest.raises(TableError, match="1 columns that"):
        kept = classifier.fit(table).preparation_.variables[0]
        classifier.predict(table.drop(columns=kept))
    with pytest.raises(NotSupportedError, match="different profiles"):
        classifier.fit(pd.DataFrame({"x": [0.1, 0.2] * 30}))
    with pytest.raises(NotSupportedError, match="none of the 1 variables"):
        classifier.fit(pd.DataFrame({"x": [0.1] * 30}))


def test_three_levels_with_totals_nest_and_add_up():
    table = make_hexes(600).table.set_index("cell")
    names = ["young", "old", "rent", "own", "cars", "income"]
    settings = {"max_correlation": None, "n_init": 15}
    fitted = NeighbourhoodClassifier(levels=(3, 7, 12), counts="total", **settings).fit(table[names])
    types = fitted.types_
    assert types["level"].value_counts().to_dict() == {"subgroup": 12, "group": 7, "supergroup": 3}
    assert list(fitted.wcss_.values()) == sorted(fitted.wcss_.values(), reverse=True)
    below = types[types["parent"] != ""]
    assert all(code.startswith(parent) for code, parent in zip(below["code"], below["parent"], strict=True))
    for level in ("group", "subgroup"):
        sums = types[types["level"] == level].groupby("parent")["areas"].sum()
        assert (sums == types.set_index("code").loc[sums.index, "areas"]).all()
        assert (
            types[types["level"] == level]
            .groupby("parent")["areas"]
            .apply(lambda sizes: sizes.is_monotonic_decreasing)
            .all()
        )
    labels = fitted.labels_
    assert labels["code"].str.fullmatch(r"[A-C][1-4][a-d]").all()
    assert (labels["code"].str[:2] == labels["group"]).all() and (
        labels["code"].str[:1] == labels["supergroup"]
    ).all()
    # the numbers it came to, written out, give the same groups
    chosen = types[types["level"] == "group"].groupby("parent").size().tolist()
    same = NeighbourhoodClassifier(levels=(3, tuple(chosen)), **settings).fit(table[names])
    assert same.wcss_["group"] == pytest.approx(fitted.wcss_["group"], rel=1e-12)


def test_one_child_keeps_its_parents_areas():
    table = make_hexes().table.set_index("cell")[["young", "old", "rent"]]
    fitted = NeighbourhoodClassifier(levels=(3, (1, 2, 3)), max_correlation=None, n_init=10).fit(table)
    assert (fitted.labels_["supergroup"] == "A").sum() == (fitted.labels_["group"] == "A1").sum()
    assert fitted.labels_.loc[fitted.labels_["group"] == "A1", "group_uncertainty"].isna().all()


def test_a_parent_too_small_to_split_says_so():
    table = make_hexes(60).table.set_index("cell")[["young", "old", "rent"]]
    fitted = NeighbourhoodClassifier(levels=(3, 4), max_correlation=None, n_init=10, min_areas=5).fit(table)
    small = fitted.types_.query("level == 'supergroup' and areas < 20")["code"].tolist()
    assert small
    assert any(code in fitted.notes_[0] and "too few areas" in fitted.notes_[0] for code in small)


def test_the_input_is_left_as_it_was():
    hexes = make_hexes()
    table, bases = hexes.table.copy(), hexes.denominators.copy()
    classify(hexes, levels=(3, 2))
    pd.testing.assert_frame_equal(hexes.table, table)
    pd.testing.assert_frame_equal(hexes.denominators, bases)


def test_the_same_seed_gives_the_same_bytes():
    first, second = (classify(make_hexes(), levels=(3, 2), random_state=3) for _ in range(2))
    assert first.to_json() == second.to_json()
    assert first.table.to_csv() == second.table.to_csv()
    assert first.index.to_csv() == second.index.to_csv()


def test_typical_cells_lie_nearer_their_type_than_extreme_ones(found):
    examples = found.examples(2)
    assert examples.groupby(["code", "kind"]).size().eq(2).all()
    wide = examples.pivot_table(index="code", columns="kind", values="own_distance", aggfunc="mean")
    assert (wide["typical"] < wide["extreme"]).all()
    places = found.table.set_index("cell").loc[examples["cell"], "neighbourhood"]
    assert (places.to_numpy() == examples["code"].to_numpy()).all()


def test_without_population_areas_count_alike():
    hexes = make_hexes()
    hexes.table["population"] = np.nan
    found = classify(hexes, levels=(3,))
    assert found.base == "areas" and "% of areas" in found.types["portrait"].iloc[0]
    assert found.types["population"].sum() == len(hexes.table)
