"""Suppression: nothing below k, and nothing that a subtraction gives away."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from geomarket.errors import NotSupportedError, SettingsError, TableError
from geomarket.safeguards import audit_tables, contact_list, exposure_ratio, suppress, suppress_counts


def subtract(hidden, truth, margin):
    """What an attacker learns from one margin: hidden groups with their sum, where the total is published."""
    total = hidden.totals[margin].set_index(list(margin))["customers"] if margin else None
    groups = truth.groupby(list(margin)) if margin else [((), truth)]
    for key, rows in groups:
        shown = hidden.table.loc[rows.index]
        published = hidden.totals[()]["customers"].iloc[0] if total is None else total.loc[key]
        gone = shown["customers"].isna()
        if gone.any() and not np.isnan(published):
            yield int(gone.sum()), published - shown["customers"].sum()


@settings(max_examples=60, deadline=None)
@given(
    counts=st.lists(st.integers(0, 40), min_size=1, max_size=30),
    k=st.integers(1, 12),
    n_types=st.integers(1, 5),
)
def test_no_published_sum_gives_a_hidden_count_away(counts, k, n_types):
    table = pd.DataFrame({"type": np.arange(len(counts)) % n_types, "customers": counts})
    hidden = suppress(table, "customers", k=k, margins=[("type",), ()])
    shown = hidden.table["customers"].dropna()
    assert not ((shown > 0) & (shown < k)).any()
    for totals in hidden.totals.values():
        values = totals["customers"].dropna()
        assert not ((values > 0) & (values < k)).any()
    for margin in [("type",), ()]:
        for n_hidden, mass in subtract(hidden, table, margin):
            assert n_hidden >= 2
            assert mass >= k
    # types against the whole: the same rule one floor up
    by_type = hidden.totals[("type",)]
    gone = by_type["customers"].isna()
    whole = hidden.totals[()]["customers"].iloc[0]
    if gone.any() and not np.isnan(whole):
        assert gone.sum() >= 2
        assert whole - by_type["customers"].sum() >= k
    # a hidden type whose cells are all shown would be their sum
    for code in by_type.loc[gone, "type"]:
        assert hidden.table.loc[hidden.table["type"] == code, "customers"].isna().any()


@settings(max_examples=60, deadline=None)
@given(counts=st.lists(st.integers(0, 40), min_size=2, max_size=20))
def test_published_figures_are_the_true_ones(counts):
    table = pd.DataFrame(
        {"customers": counts, "revenue": np.array(counts) * 2.5}, index=np.arange(len(counts)) + 7
    )
    hidden = suppress(table, "customers", dependent=["revenue"])
    shown = hidden.table["customers"].notna()
    assert hidden.table.index.equals(table.index)
    assert (hidden.table.loc[shown, "customers"] == table.loc[shown, "customers"]).all()
    assert hidden.table["revenue"].notna().equals(shown)
    total = hidden.totals[()]["customers"].iloc[0]
    assert np.isnan(total) or total == sum(counts)


def test_hiding_only_small_counts_would_give_many_away():
    # 300 parents of 7 cells: with small counts alone hidden, a good sixth of the parents can be differenced
    rng = np.random.default_rng(0)
    table = pd.DataFrame(
        {"parent": np.repeat(np.arange(300), 7), "customers": rng.poisson(rng.gamma(1.5, 12, 2100))}
    )
    small = table["customers"].between(1, 9)
    alone = small.groupby(table["parent"]).sum() == 1
    assert alone.mean() > 0.15
    hidden = suppress(table, "customers", margins=[("parent",), ()])
    exposed = [(n, mass) for n, mass in subtract(hidden, table, ("parent",)) if n < 2 or mass < 10]
    assert exposed == []
    assert hidden.table["customers"].isna().mean() < small.mean() + 0.12


def test_the_complement_is_the_smallest_that_helps():
    table = pd.DataFrame({"customers": [4, 30, 70, 0]})
    assert suppress_counts(table, "customers")["suppressed"].tolist() == [True, True, False, False]


def test_a_total_below_k_is_hidden_itself():
    hidden = suppress(
        pd.DataFrame({"type": ["A", "A", "B", "C"], "customers": [3, 0, 50, 60]}),
        "customers",
        margins=[("type",), ()],
    )
    by_type = hidden.totals[("type",)].set_index("type")
    assert by_type["suppressed"].to_dict() == {"A": True, "B": True, "C": False}
    assert hidden.totals[()]["customers"].tolist() == [113.0]


def test_parts_are_hidden_when_they_or_the_rest_are_few():
    table = pd.DataFrame(
        {"customers": [50, 60, 70, 80], "heavy": [3, 55, 30, 40], "share": [0.06, 0.9, 0.4, 0.5]}
    )
    hidden = suppress_counts(table, "customers", parts={"heavy": ["share"]})
    assert hidden["customers"].notna().all()
    assert hidden["heavy"].isna().tolist() == [True, True, False, False]
    assert hidden["share"].isna().tolist() == [True, True, False, False]


def test_the_input_is_left_alone_and_the_summary_counts():
    table = pd.DataFrame({"customers": [4, 30, 70]})
    copy = table.copy()
    hidden = suppress(table, "customers")
    pd.testing.assert_frame_equal(table, copy)
    assert "2 of 3 counts of customers are hidden: 1 are below 10, 1 would" in hidden.summary()[0]


@pytest.mark.parametrize(
    ("table", "arguments", "error", "message"),
    [
        ({"customers": [1.5]}, {}, TableError, "1 of 1 values of customers are negative or not whole"),
        ({"customers": [-1]}, {}, TableError, "negative or not whole"),
        ({"people": [1]}, {}, TableError, r"column\(s\) customers missing"),
        ({"customers": [1]}, {"margins": [("type",)]}, TableError, r"column\(s\) type missing"),
        ({"customers": [1]}, {"k": 0}, SettingsError, "k = 0"),
    ],
)
def test_bad_input_is_named(table, arguments, error, message):
    with pytest.raises(error, match=message):
        suppress(pd.DataFrame(table), "customers", **arguments)


def test_the_published_table_does_not_say_why_a_count_is_hidden():
    hidden = suppress(pd.DataFrame({"customers": [4, 30, 70]}), "customers")
    assert hidden.table["suppressed"].tolist() == [True, True, False]
    assert hidden.reasons.tolist() == ["primary", "complementary", ""]


def audit_example():
    cells = pd.DataFrame(
        {
            "cell": [1, 2, 3, 4],
            "type": ["A", "A", "B", None],
            "customers": [np.nan, np.nan, 40.0, 12.0],
            "penetration": [np.nan, np.nan, 0.1, 0.2],
        }
    )
    types = pd.DataFrame({"type": ["A", "B"], "customers": [25.0, 40.0]})
    return {"cells": cells, "types": types}, {"cells": ["cell"], "types": ["type"]}


def test_the_audit_passes_what_is_safe_and_counts_what_it_checked():
    tables, keys = audit_example()
    audit = audit_tables(tables, keys, dependent={"cells": ["penetration"]})
    assert audit.passed
    assert audit.checked.set_index("table")["hidden"].to_dict() == {"cells": 2, "types": 0}
    assert audit.checked["sums"].tolist() == [1, 1]
    assert "no hidden count can be pinned" in audit.summary()[0]


@pytest.mark.parametrize(
    ("change", "problem", "row"),
    [
        (lambda t: t["types"].loc.__setitem__((0, "customers"), 8.0), "pinned", "cell 1"),
        (lambda t: t["cells"].loc.__setitem__((3, "customers"), 5.0), "shown", "cell 4"),
        (lambda t: t["cells"].loc.__setitem__((0, "penetration"), 0.3), "given away", "cell 1 (penetration)"),
        (lambda t: t["types"].loc.__setitem__((1, "customers"), 41.0), "contradiction", "type B"),
    ],
)
def test_the_audit_names_what_it_finds(change, problem, row):
    tables, keys = audit_example()
    change(tables)
    audit = audit_tables(tables, keys, dependent={"cells": ["penetration"]})
    assert not audit.passed
    found = audit.table[audit.table["problem"] == problem]
    assert row in found["row"].tolist()
    assert any(line.startswith(problem) for line in audit.summary())


def test_the_audit_needs_keys_that_are_keys():
    tables, keys = audit_example()
    with pytest.raises(TableError, match="no keys given for table 'types'"):
        audit_tables(tables, {"cells": ["cell"]})
    with pytest.raises(TableError, match=r"cells: column\(s\) hexagon missing"):
        audit_tables(tables, {**keys, "cells": ["hexagon"]})
    with pytest.raises(TableError, match="types: 1 of 3 rows repeat its keys"):
        audit_tables({**tables, "types": pd.concat([tables["types"], tables["types"].head(1)])}, keys)


def test_only_a_clear_yes_is_consent():
    customers = pd.DataFrame(
        {"customer_id": list("abcd"), "consent_mail": [True, False, None, True], "consent_email": [False] * 4}
    )
    chosen = contact_list(customers, "mail", ["d", "c", "b", "a", "a"])
    assert chosen["customer_id"].tolist() == ["d", "a"]
    assert chosen.attrs["without_consent"] == 2
    assert contact_list(customers, "email", ["a"]).empty
    with pytest.raises(TableError, match="nobody may be contacted by mobile"):
        contact_list(customers, "mobile", ["a"])
    with pytest.raises(TableError, match=r"1 of the chosen are unknown \(x\)"):
        contact_list(customers, "mail", ["x"])
    with pytest.raises(SettingsError, match="channel 'door_drop'"):
        contact_list(customers, "door_drop", ["a"])


def test_exposure_is_weighted_by_people_and_gaps_left_out():
    areas = pd.DataFrame({"depth": np.linspace(0.1, 0.3, 25), "poverty": np.arange(25.0), "people": 100.0})
    areas.loc[0, "depth"] = np.nan
    found = exposure_ratio(areas, "depth", "poverty", "people")
    assert found.table["areas"].sum() == 24
    assert found.ratio == pytest.approx(found.table["mean"].iloc[4] / found.table["mean"].iloc[0])
    assert found.ratio > 1.25
    assert "Look into this" in found.summary()[0]
    shuffled = exposure_ratio(areas.sample(frac=1, random_state=1), "depth", "poverty", "people")
    assert (shuffled.ratio, shuffled.low, shuffled.high) == (found.ratio, found.low, found.high)
    heavy = areas.assign(people=np.where(areas["poverty"] == 22, 1e4, 1000.0))
    by = exposure_ratio(heavy, "depth", "poverty", "people").table
    # the area with most people of its fifth makes up most of its mean
    assert (by["mean"] - areas.loc[22, "depth"]).abs().min() < 0.01
    alone = areas.assign(people=np.where(areas["poverty"] == 24, 1e6, 1.0))
    with pytest.raises(NotSupportedError, match="no fifths"):
        exposure_ratio(alone, "depth", "poverty", "people")


def test_exposure_needs_areas_that_differ():
    areas = pd.DataFrame({"skus": [1.0] * 20, "poverty": [1.0] * 20})
    with pytest.raises(NotSupportedError, match="1 levels of poverty are too few"):
        exposure_ratio(areas, "skus", "poverty")
    with pytest.raises(TableError, match=r"column\(s\) wealth missing"):
        exposure_ratio(areas, "skus", "wealth")
    with pytest.raises(TableError, match="negative skus"):
        exposure_ratio(areas.assign(skus=-1.0), "skus", "poverty")
    with pytest.raises(NotSupportedError, match="no skus, so there is no ratio"):
        exposure_ratio(pd.DataFrame({"skus": [0.0] * 20, "poverty": range(20)}), "skus", "poverty")
    with pytest.raises(SettingsError, match="around 1"):
        exposure_ratio(areas, "skus", "poverty", band=(1.1, 1.2))
