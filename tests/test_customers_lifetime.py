"""Lifetime value, relationship, deciles: behaviour and messages."""

import numpy as np
import pandas as pd
import pytest

from geomarket.customers import (
    BgNbd,
    GammaGamma,
    check_lifetime,
    lifetime_value,
    relationship_value,
    value_deciles,
    worth_contacting,
)
from geomarket.errors import FitWarning, NotSupportedError, SettingsError, TableError

END = pd.Timestamp("2024-06-01")


def make_totals(n=800, seed=0):
    """Customers who shop at random and leave at random, as they look on the last day."""
    rng = np.random.default_rng(seed)
    age = rng.integers(60, 365, n)
    rate, leave = rng.gamma(0.8, 1 / 28, n), rng.beta(0.6, 2.4, n)
    trips, last = np.ones(n, dtype=int), np.zeros(n)
    for i in range(n):
        now = rng.exponential(1 / rate[i])
        while now < age[i]:
            trips[i], last[i] = trips[i] + 1, now
            if rng.random() < leave[i]:
                break
            now += rng.exponential(1 / rate[i])
    first = END - pd.to_timedelta(age, unit="D")
    revenue = rng.gamma(6.0 * trips, 1 / rng.gamma(4, 1 / 15, n))
    return pd.DataFrame(
        {
            "customer_id": [f"c{i:04d}" for i in range(n)],
            "trips": trips,
            "first_date": first,
            "last_date": first + pd.to_timedelta(np.floor(last), unit="D"),
            "revenue": revenue.round(2),
            "margin": (0.3 * revenue).round(2),
            "costed_revenue": revenue.round(2),
        }
    )


def test_value_adds_up_and_does_not_hang_on_row_order():
    totals = make_totals()
    copy = totals.copy()
    value = lifetime_value(totals, as_of=END, n_draws=50)
    pd.testing.assert_frame_equal(totals, copy)
    assert value.table.index.equals(totals.index)
    assert value.table["customer_id"].tolist() == totals["customer_id"].tolist()
    assert value.margin_rate == pytest.approx(0.3, abs=1e-4)
    measured = value.totals.set_index("measure")["expected"]
    for column in ("trips", "revenue", "lifetime_value"):
        assert measured[column] == pytest.approx(value.table[column].sum())
    assert (value.table["low"] <= value.table["high"]).all()
    assert value.table["lifetime_value"].sum() < 0.3 * value.table["revenue"].sum()
    assert value.deciles["value"].sum() == pytest.approx(value.table["lifetime_value"].sum())
    assert value.deciles["share"].is_monotonic_decreasing
    shuffled = lifetime_value(totals.sample(frac=1, random_state=1), as_of=END, n_draws=50)
    pd.testing.assert_frame_equal(shuffled.table.sort_index(), value.table)
    pd.testing.assert_frame_equal(shuffled.totals, value.totals)
    assert "expected to bring" in value.summary()[0]


def test_more_of_anything_good_is_worth_more():
    value = lifetime_value(make_totals(), as_of=END, horizon_months=6, n_draws=20)
    longer = lifetime_value(make_totals(), as_of=END, horizon_months=12, n_draws=20)
    assert (longer.table["trips"] > value.table["trips"]).all()
    dearer = lifetime_value(make_totals(), as_of=END, horizon_months=6, discount_rate=0.5, n_draws=20)
    assert (dearer.table["lifetime_value"] < value.table["lifetime_value"]).all()
    free = lifetime_value(make_totals(), as_of=END, horizon_months=6, discount_rate=0.0, n_draws=20)
    assert np.allclose(free.table["lifetime_value"], free.table["revenue"] * free.margin_rate)


def test_what_is_missing_is_said():
    totals = make_totals().drop(columns=["margin", "costed_revenue"])
    totals.loc[3, "revenue"] = -4.0
    value = lifetime_value(totals, as_of=END, n_draws=20)
    assert np.isnan(value.margin_rate)
    assert any("revenue, not margin" in note for note in value.notes)
    assert any("1 customers returned" in note for note in value.notes)
    assert value.table["lifetime_value"].notna().all()
    noise = np.random.default_rng(0).lognormal(0, 0.4, len(totals))
    related = totals.assign(revenue=totals["trips"] ** 2.0 * noise)
    assert any("are related" in note for note in lifetime_value(related, as_of=END, n_draws=20).notes)


@pytest.mark.parametrize(
    ("change", "arguments", "error", "message"),
    [
        (lambda t: t.drop(columns="first_date"), {}, TableError, r"column\(s\) first_date missing"),
        (lambda t: t.assign(customer_id="x"), {}, TableError, r"repeat a customer_id \(x"),
        (lambda t: t, {"as_of": "2023-12-01"}, TableError, "shopped after as_of = 2023-12-01"),
        (lambda t: t, {"horizon_months": 0}, SettingsError, "at least one month"),
        (
            lambda t: t.assign(trips=1, last_date=t["first_date"]),
            {},
            NotSupportedError,
            "no customer has a second trip",
        ),
    ],
)
def test_bad_totals_are_named(change, arguments, error, message):
    with pytest.raises(error, match=message):
        lifetime_value(change(make_totals(50)), **{"as_of": END, **arguments})


def test_customers_who_are_all_alike_are_forecast_with_a_warning():
    rng = np.random.default_rng(0)
    totals = make_totals(400)
    trips = 1 + rng.poisson(12, 400)
    age = (END - totals["first_date"]).dt.days
    last = totals["first_date"] + pd.to_timedelta(np.floor(age * trips / (trips + 1)), unit="D")
    with pytest.warns(FitWarning, match="hardly differ"):
        value = lifetime_value(totals.assign(trips=trips, last_date=last), as_of=END, n_draws=20)
    assert np.isfinite(value.table.drop(columns="customer_id")).all().all()
    assert np.isfinite(value.totals.drop(columns="measure")).all().all()


def test_impossible_histories_are_named():
    with pytest.raises(TableError, match=r"1 of 2 histories .* \(1, 50, 40\)"):
        BgNbd().fit([1, 1], [50, 10], [40, 40])
    with pytest.raises(TableError, match="recency 0 without repeat trips"):
        BgNbd().fit([0], [5], [40])
    with pytest.raises(TableError, match="1 of 2 customers have no trip or no positive mean"):
        GammaGamma().fit([1, 2], [10, -1])


def test_the_check_compares_with_what_came():
    before = make_totals()
    rng = np.random.default_rng(1)
    after = before.sample(frac=0.5, random_state=1)[["customer_id"]].assign(
        trips=lambda t: rng.poisson(4, len(t)) + 1
    )
    new = pd.DataFrame({"customer_id": ["new"], "trips": [1000]})
    result = check_lifetime(before, pd.concat([after, new]), END, END + pd.Timedelta(weeks=26))
    assert result.weeks == 26
    assert result.table["customers"].sum() == len(before)
    made = (result.table["actual"] * result.table["customers"]).sum()
    assert made == pytest.approx(after["trips"].sum())
    assert result.ratio == pytest.approx((result.table["predicted"] * result.table["customers"]).sum() / made)
    assert result.table["predicted"].is_monotonic_decreasing
    assert result.by_frequency["customers"].sum() == len(before)
    assert "rank correlation" in result.summary()[0]
    with pytest.raises(SettingsError, match="not after cut"):
        check_lifetime(before, after, END, END)


def test_deciles_of_nothing():
    table = value_deciles(pd.Series([0.0, np.nan]))
    assert table["customers"].sum() == 2
    assert table["share"].isna().all()


def test_a_contact_must_repay_its_cost():
    value = lifetime_value(make_totals(), as_of=END, n_draws=20)
    table = worth_contacting(value, cost=0.2, lift=0.1)
    assert table["contact"].equals(table["gain"] > 0.2)
    assert 0 < table["contact"].sum() < len(table)
    week = value.table["revenue"].iloc[0] * value.margin_rate / (365.2425 / 7)
    assert table["gain"].iloc[0] == pytest.approx(0.1 * 4 * week)
    assert not worth_contacting(value, cost=0.2, lift=0.0)["contact"].any()
    with pytest.raises(SettingsError, match="cost = -1"):
        worth_contacting(value, cost=-1, lift=0.1)


def make_categories(seed=0, n=400):
    rng = np.random.default_rng(seed)
    rows = pd.MultiIndex.from_product([[f"c{i:03d}" for i in range(n)], ["tea", "meat", "wine"]])
    frame = rows.to_frame(index=False, name=["customer_id", "category"])
    frame["margin"] = rng.lognormal(1, 1.2, len(frame))
    return frame[rng.random(len(frame)) < 0.7].reset_index(drop=True)


def test_small_here_big_overall_matches_its_definition():
    frame = make_categories()
    result = relationship_value(frame)
    overall = frame.groupby("customer_id")["margin"].sum()
    big = overall.sort_values().index[int(0.8 * len(overall)) :]
    tea = frame[frame["category"] == "tea"].set_index("customer_id")["margin"]
    expected = set(tea.sort_values().index[: int(0.5 * len(tea))]) & set(big)
    flagged = result.flags[result.flags["category"] == "tea"]
    assert set(flagged["customer_id"]) == expected
    row = result.table.set_index("category").loc["tea"]
    assert row["flagged"] == len(expected)
    assert row["customers"] == len(tea)
    assert row["value_here"] == pytest.approx(tea[list(expected)].sum())
    assert row["value_overall"] == pytest.approx(overall[list(expected)].sum())
    assert row["share_overall"] == pytest.approx(row["value_overall"] / overall.sum())
    assert "stands for" in result.summary()[0]


def test_trade_without_a_category_counts_overall_only():
    frame = make_categories()
    extra = pd.DataFrame({"customer_id": ["c000"], "category": [None], "margin": [1e6]})
    result = relationship_value(pd.concat([frame, extra]))
    assert set(result.table["category"]) == {"tea", "meat", "wine"}
    assert result.flags.loc[result.flags["customer_id"] == "c000", "overall"].gt(1e6).all()


def test_relationship_needs_a_measure():
    frame = make_categories()
    with pytest.raises(TableError, match="margin is missing throughout"):
        relationship_value(frame.assign(margin=np.nan))
    with pytest.raises(TableError, match=r"column\(s\) revenue missing"):
        relationship_value(frame, measure="revenue")
    with pytest.raises(SettingsError, match="between 0 and 1"):
        relationship_value(frame, top=0)
    same = relationship_value(frame.assign(margin=1.0).drop_duplicates("customer_id"))
    assert same.summary() == ["No customer is small in a category and big overall."]


def test_figures_draw():
    import matplotlib

    matplotlib.use("Agg")
    totals = make_totals(300)
    value = lifetime_value(totals, as_of=END, n_draws=20)
    assert len(value.plot().patches) == 10
    after = totals[["customer_id"]].assign(trips=1)
    assert check_lifetime(totals, after, END, END + pd.Timedelta(weeks=4)).plot().get_ylabel() == "Trips made"
    assert len(relationship_value(make_categories()).plot().patches) == 3
