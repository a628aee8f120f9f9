"""Suppression: nothing below k, and nothing that a subtraction gives away."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from geomarket.errors import SettingsError, TableError
from geomarket.safeguards import suppress, suppress_counts


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


@settings(max_examples=150, deadline=None)
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
    assert suppress_counts(table, "customers")["suppressed"].tolist() == ["primary", "complementary", "", ""]


def test_a_total_below_k_is_hidden_itself():
    hidden = suppress(
        pd.DataFrame({"type": ["A", "A", "B", "C"], "customers": [3, 0, 50, 60]}),
        "customers",
        margins=[("type",), ()],
    )
    by_type = hidden.totals[("type",)].set_index("type")
    assert by_type["suppressed"].to_dict() == {"A": "primary", "B": "complementary", "C": ""}
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
