"""Designs, measurements and synthetic controls on small markets with a known answer."""

import numpy as np
import pandas as pd
import pytest

from geomarket.errors import NotSupportedError, TableError
from geomarket.experiments import (
    as_history,
    design_test,
    kept_share,
    measure_pairs,
    minimum_detectable_effect,
    paired_estimate,
    pairs_needed,
    power_of,
    sign_flip_interval,
    synthetic_control,
)
from geomarket.experiments.matching import near_units
from geomarket.experiments.power import placebo_differences
from geomarket.hexes import neighbours, points_to_cells

WEEKS = 78


def make_market(n=24, weeks=WEEKS, seed=0, spacing=0.06, noise=0.04, unlike=1.0):
    """Stores on a line, alike in twos; returns sales and places."""
    rng = np.random.default_rng(seed)
    store = np.array([f"s{i:02d}" for i in range(n)])
    level = rng.normal(9, 0.6, n // 2).repeat(2)
    trend = unlike * rng.normal(0, 0.2, n // 2).repeat(2)
    season = unlike * rng.normal(0, 0.1, n // 2).repeat(2)
    time = np.arange(weeks)
    logs = level[:, None] + trend[:, None] * time / 52 + season[:, None] * np.sin(2 * np.pi * time / 52)
    logs = logs + rng.normal(0, noise, logs.shape)
    revenue = np.exp(logs)
    sales = pd.DataFrame(
        {
            "store_id": store.repeat(weeks),
            "period": np.tile(pd.date_range("2023-01-02", periods=weeks, freq="7D"), n),
            "units": np.round(revenue.ravel() / 3),
            "revenue": revenue.ravel(),
            "margin": 0.3 * revenue.ravel(),
        }
    )
    order = rng.permutation(n)
    cells = points_to_cells(4 + spacing * order, np.full(n, 51.0), 8)
    return sales, pd.DataFrame({"store_id": store, "cell": cells})


@pytest.fixture(scope="module")
def market():
    return make_market()


@pytest.fixture(scope="module")
def design(market):
    return design_test(*market, buffer_rings=2, expected=0.05, random_state=3)


def with_effect(sales, design, lift, weeks=13, seed=1):
    """Sales of the weeks after, test stores raised by ``lift``."""
    later, _ = make_market(weeks=WEEKS + weeks, seed=0)
    later = later[later["period"] > sales["period"].max()].copy()
    test = design.table.loc[design.table["arm"] == "test", "store_id"]
    factor = np.where(later["store_id"].isin(test), 1 + lift, 1.0)
    for column in ("units", "revenue", "margin"):
        later[column] = later[column] * factor
    return later


def test_twins_become_pairs(design):
    twin = {(f"s{i:02d}", f"s{i + 1:02d}") for i in range(0, 24, 2)}
    pairs = {tuple(sorted(pair)) for pair in design.pairs[["test", "control"]].itertuples(index=False)}
    assert len(pairs & twin) >= 10
    assert design.n_pairs == 12 and design.optimal


def test_arms_are_drawn_by_the_seed_alone(market):
    sales, places = market
    first = design_test(sales, places, random_state=3)
    again = design_test(
        sales.sample(frac=1, random_state=1), places.sample(frac=1, random_state=2), random_state=3
    )
    pd.testing.assert_frame_equal(first.table, again.table)
    pd.testing.assert_frame_equal(first.power, again.power)
    draws = [design_test(sales, places, random_state=seed).pairs["test"].tolist() for seed in range(4)]
    assert len({tuple(draw) for draw in draws}) > 1


def test_each_store_of_a_pair_is_as_likely_to_be_the_test_store(market):
    sales, places = market
    first = [design_test(sales, places, random_state=seed).pairs["test"] for seed in range(16)]
    share = np.mean([(test.str[1:].astype(int) % 2 == 0).mean() for test in first])
    assert share == pytest.approx(0.5, abs=0.11)


@pytest.mark.parametrize("rings", [0, 2, 5])
def test_no_two_stores_of_the_test_are_within_the_buffer(rings):
    sales, places = make_market(n=30, spacing=0.024)
    design = design_test(sales, places, buffer_rings=rings)
    inside = design.table[design.table["arm"] != "out"]
    around = neighbours(np.unique(inside["cell"].to_numpy(dtype=np.int64)), max(rings, 1))
    met = inside.merge(around, on="cell").merge(
        inside, left_on="neighbour", right_on="cell", suffixes=("", "_other")
    )
    near = met[(met["ring"] <= rings) & (met["store_id"] != met["store_id_other"])]
    assert near.empty
    assert inside["cell"].is_unique
    out = design.table[design.table["arm"] == "out"]
    assert len(inside) + len(out) == 30
    assert (out["reason"] != "").all()
    if rings == 5:
        assert len(out) > 0 and out["near"].isin(["test", "control", "both", ""]).all()


def test_catchments_as_footprints_keep_more_apart():
    sales, places = make_market(n=20, spacing=0.03)
    wide = neighbours(places["cell"].to_numpy(), 2).merge(places, on="cell")
    footprints = pd.concat([places, wide[["store_id", "neighbour"]].rename(columns={"neighbour": "cell"})])
    own = design_test(sales, places, buffer_rings=1)
    core = design_test(sales, places, buffer_rings=1, footprints=footprints)
    assert core.n_pairs < own.n_pairs
    chosen = set(core.table.loc[core.table["arm"] != "out", "store_id"])
    near = near_units(footprints, "store_id", 1)
    assert near[near["store_id"].isin(chosen) & near["other"].isin(chosen)].empty


def test_features_make_partners_alike_in_them(market):
    sales, places = market
    flat = sales.assign(revenue=np.random.default_rng(0).lognormal(9, 0.02, len(sales)))
    kind = pd.DataFrame({"kind": [i % 2 for i in range(24)]}, index=places["store_id"])
    design = design_test(flat, places, kind)
    of = kind["kind"].to_dict()
    assert (design.pairs["test"].map(of) == design.pairs["control"].map(of)).all()


def test_stores_that_cant_be_in_it_are_named(market):
    sales, places = market
    closed = sales["store_id"].eq("s00") & (sales["period"] > "2023-06-01")
    some = [f"s{i:02d}" for i in range(20)]
    design = design_test(sales[~closed], places, eligible=some)
    reasons = design.table.set_index("store_id")["reason"]
    assert reasons["s00"].startswith("without sales in more than")
    assert reasons["s23"] == "nothing changes there"


def test_the_power_table_agrees_with_the_design(design):
    row = design.power[(design.power["periods"] == 13) & (design.power["pairs"] == design.n_pairs)].iloc[0]
    assert row["mde"] == pytest.approx(design.mde)
    assert row["sd"] == pytest.approx(design.sd)
    assert row["se"] == pytest.approx(design.sd / np.sqrt(design.n_pairs))
    assert power_of(design.mde, design.sd, design.n_pairs) == pytest.approx(0.8, abs=1e-3)
    assert (design.power.groupby("periods")["mde"].diff().dropna() < 0).all()


def test_noise_is_judged_on_periods_the_pairs_were_not_matched_on(design):
    # two stores' means over 13 and 26 weeks, each week with 4% noise
    expected = 0.04 * np.sqrt(2 * (1 / 13 + 1 / 26))
    assert design.sd == pytest.approx(expected, rel=0.35)


def test_what_can_be_seen_is_said(market):
    large = design_test(*market, expected=0.05)
    assert large.visible and "can be seen in 13 weeks" in large.summary()[1]
    small = design_test(*market, expected=0.002)
    assert small.visible is False and "can't be relied on" in small.summary()[1]
    unknown = design_test(*market)
    assert unknown.visible is None and "can't be said" in unknown.summary()[1]
    assert "nothing to be seen" in design_test(*market, expected=-0.01).summary()[1]


def test_a_longer_test_is_asked_for_where_that_helps():
    sales, places = make_market(n=12, weeks=104)
    short = design_test(sales, places, periods=2, expected=0.03)
    assert short.visible is False
    assert short.periods_needed(0.03) > 2
    assert f"it takes {short.periods_needed(0.03)} weeks" in short.summary()[1]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda s, p: (s[s["store_id"] < "s04"], p), "needs at least 6"),
        (lambda s, p: (s[s["period"] < "2023-01-16"], p), "too few for a test of 13"),
        (lambda s, p: (s, p.assign(cell=p["cell"].iloc[0])), "smaller [measurement] buffer_rings"),
    ],
)
def test_a_test_that_cant_be_is_refused(market, change, words):
    with pytest.raises(NotSupportedError) as refused:
        design_test(*change(*market))
    assert words in str(refused.value)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda s, p: (s.drop(columns="revenue"), p), "no column revenue"),
        (lambda s, p: (s.assign(revenue=np.nan), p), "no finite revenue"),
        (lambda s, p: (s.iloc[:0], p), "is empty"),
        (lambda s, p: (s, p.drop(columns="cell")), "no column cell"),
        (
            lambda s, p: (s, pd.concat([p, p.assign(cell=p["cell"].to_numpy()[::-1])])),
            "stand in two hexagons",
        ),
    ],
)
def test_bad_tables_name_the_cure(market, change, words):
    with pytest.raises(TableError) as refused:
        design_test(*change(*market))
    assert words in str(refused.value)


def test_a_planted_effect_lies_in_the_interval(market, design):
    sales, _ = market
    later = with_effect(sales, design, 0.05)
    found = measure_pairs(design.table, pd.concat([sales, later]), design.start, cost=1000.0, currency="€")
    row = found.table.set_index("kpi").loc["margin"]
    assert row["low"] < 0.05 < row["high"] and row["low"] > 0
    assert row["flip_low"] < 0.05 < row["flip_high"]
    assert found.sentence.startswith("12 test stores made") and "more margin" in found.sentence
    test = design.table.loc[design.table["arm"] == "test", "store_id"]
    truth = later.loc[later["store_id"].isin(test), "margin"].sum() * 0.05 / 1.05
    assert row["incremental_low"] < truth < row["incremental_high"]
    assert found.roi["roi"] == pytest.approx(row["incremental"] / 1000 - 1)
    assert (found.n_periods, found.baseline) == (13, 26)


def test_no_effect_is_not_found(market, design):
    sales, _ = market
    found = measure_pairs(design.table, pd.concat([sales, with_effect(sales, design, 0.0)]), design.start)
    assert found.sentence.startswith("No difference in margin can be told")
    assert found.roi == {}


def test_the_season_of_all_stores_is_no_effect(market, design):
    sales, _ = market
    later = with_effect(sales, design, 0.0)
    easter = later.assign(**{name: later[name] * 1.3 for name in ("units", "revenue", "margin")})
    plain = measure_pairs(design.table, pd.concat([sales, later]), design.start)
    season = measure_pairs(design.table, pd.concat([sales, easter]), design.start)
    np.testing.assert_allclose(season.table["lift"], plain.table["lift"], atol=1e-12)


def test_spillover_on_neighbours_is_seen():
    sales, places = make_market(n=40, spacing=0.012, noise=0.01, unlike=0.0)
    design = design_test(sales, places, buffer_rings=2)
    assert design.table["near"].value_counts().get("test", 0) >= 2
    later = make_market(n=40, weeks=WEEKS + 13, spacing=0.012, noise=0.01, unlike=0.0)[0]
    later = later[later["period"] > sales["period"].max()]
    beside = design.table.loc[(design.table["arm"] == "out") & (design.table["near"] == "test"), "store_id"]
    hit = later.assign(revenue=later["revenue"] * np.where(later["store_id"].isin(beside), 0.9, 1.0))
    found = measure_pairs(design.table, pd.concat([sales, hit]), design.start, kpis=["revenue"])
    row = found.spillover.iloc[0]
    assert row["low"] < -0.1 < row["high"] < 0
    assert "changed" in found.summary()[-1]
    clean = measure_pairs(design.table, pd.concat([sales, later]), design.start, kpis=["revenue"])
    assert clean.spillover.iloc[0]["low"] < 0 < clean.spillover.iloc[0]["high"]


def test_pairs_with_a_closed_store_are_left_out_and_named(market, design):
    sales, _ = market
    later = with_effect(sales, design, 0.05)
    gone = str(design.pairs["control"].iloc[0])
    found = measure_pairs(design.table, pd.concat([sales, later[later["store_id"] != gone]]), design.start)
    assert found.table["pairs"].eq(11).all()
    assert found.dropped.to_dict("records") == [{"pair": 1, "reason": f"{gone} sold nothing during the test"}]


def test_clusters_of_pairs_widen_the_interval(market, design):
    sales, _ = market
    both = pd.concat([sales, with_effect(sales, design, 0.05)])
    town = pd.Series(np.arange(12) // 4, index=design.pairs["pair"])
    found = measure_pairs(design.table, both, design.start, clusters=town)
    assert found.table["groups"].eq(3).all()
    assert np.isinf(found.table["flip_low"]).all()
    same = measure_pairs(design.table, both, design.start, clusters=pd.Series(range(12), index=range(1, 13)))
    plain = measure_pairs(design.table, both, design.start)
    pd.testing.assert_frame_equal(same.table, plain.table)


def test_sales_outside_the_test_are_refused(market, design):
    with pytest.raises(TableError, match="both are needed"):
        measure_pairs(design.table, market[0], "2030-01-07")
    with pytest.raises(TableError, match="none of the columns"):
        measure_pairs(design.table, market[0][["store_id", "period"]], design.start)
    twice = design.table.assign(pair=1)
    with pytest.raises(TableError, match="two units in one arm"):
        measure_pairs(twice, market[0], "2024-01-01")


def test_one_pair_has_no_interval():
    with pytest.raises(NotSupportedError, match="at least two"):
        paired_estimate([0.1])


def test_few_pairs_have_no_sign_flip_interval_at_all():
    assert sign_flip_interval([0.1, 0.2, 0.3, 0.4]) == (-np.inf, np.inf)
    assert sign_flip_interval([0.1, 0.2, 0.3, 0.4, 0.5])[0] > 0


def test_sign_flip_interval_is_the_inverted_test():
    """An effect is in the interval exactly where its sign-flip test does not reject."""
    values = np.random.default_rng(2).normal(0.1, 0.2, 8)
    low, high = sign_flip_interval(values, 0.9)
    for effect in np.linspace(low - 0.1, high + 0.1, 41):
        p = paired_estimate(values - effect).flip_p
        assert (low <= effect <= high) == (p > 0.1), effect


def test_pairs_needed_is_the_smallest_number():
    n = pairs_needed(0.02, 0.05)
    assert power_of(0.02, 0.05, n) >= 0.8 > power_of(0.02, 0.05, n - 1)
    assert pairs_needed(1e-6, 0.05) is None
    assert np.isnan(minimum_detectable_effect(0.05, 1))


def test_placebo_tests_do_not_overlap_and_end_with_the_history():
    a = np.exp(np.random.default_rng(0).normal(0, 0.1, (3, 50)))
    b = np.exp(np.random.default_rng(1).normal(0, 0.1, (3, 50)))
    found = placebo_differences(a, b, length=10, baseline=15)
    assert found.shape == (3, 3)
    last = np.log(a[:, 40:].mean(1) / a[:, 25:40].mean(1)) - np.log(b[:, 40:].mean(1) / b[:, 25:40].mean(1))
    np.testing.assert_allclose(found[:, -1], last)
    with pytest.raises(NotSupportedError, match="needs 60"):
        placebo_differences(a, b, length=30, baseline=30)


def test_hexagons_can_be_paired_too(market, design):
    sales, places = market
    cell = places.set_index("store_id")["cell"]
    by_cell = sales.assign(cell=sales["store_id"].map(cell)).drop(columns="store_id")
    found = design_test(by_cell, places[["cell"]], unit="cell", random_state=3)
    assert found.n_pairs == design.n_pairs
    assert found.sd == pytest.approx(design.sd)
    assert found.table["cell"].dtype == "int64"


def test_history_turns_into_a_kept_share(market, design):
    sales, _ = market
    found = measure_pairs(design.table, pd.concat([sales, with_effect(sales, design, 0.05)]), design.start)
    rows = as_history(found, "spring", promised=0.10)
    assert rows["promised"].notna().sum() == 1
    share = kept_share(rows)
    assert share.tests == 1 and 0.4 < share.estimate < 0.75
    assert "of what was promised" in share.sentence()
    assert kept_share(None).estimate == 1.0
    noisy = kept_share(rows.assign(se=10.0))
    assert noisy.estimate == pytest.approx(1.0, abs=0.01)
    with pytest.raises(TableError, match="se must be above 0"):
        kept_share(rows.assign(se=0.0))


def make_panel(effect, seed=0, n=20):
    rng = np.random.default_rng(seed)
    day = pd.date_range("2024-01-01", periods=60)
    factors = rng.normal(0, 1, (2, 60)).cumsum(axis=1)
    values = 100 + rng.normal(1, 0.5, (n, 2)) @ factors + rng.normal(0, 0.5, (n, 60))
    values[0, 50:] += effect
    values[1, 50:] += effect
    names = [f"m{i:02d}" for i in range(n)]
    return day, pd.DataFrame(
        {"store_id": np.repeat(names, 60), "period": np.tile(day, n), "revenue": values.ravel()}
    )


def test_synthetic_control_of_two_markets_finds_the_effect():
    day, sales = make_panel(5.0)
    found = synthetic_control(sales.sample(frac=1, random_state=0), ["m00", "m01"], day[50])
    assert found.low < 5.0 < found.high and found.low > 0
    assert found.incremental == pytest.approx(found.effect * 20)
    assert found.p < 0.05 and found.p_time <= 0.2
    assert len(found.placebo) == 18 * 17 // 2
    assert not found.weights["unit"].isin(["m00", "m01"]).any()
    np.testing.assert_allclose(found.table["gap"], found.table["actual"] - found.table["synthetic"])


def test_synthetic_control_without_effect_finds_none():
    day, sales = make_panel(0.0, seed=4)
    found = synthetic_control(sales, "m00", day[50])
    assert found.low < 0 < found.high and found.p > 0.05


def test_placebo_sets_are_drawn_where_there_are_too_many():
    day, sales = make_panel(0.0)
    found = synthetic_control(sales, ["m00", "m01", "m02"], day[50], most_placebos=60)
    assert len(found.placebo) == 60
    again = synthetic_control(sales, ["m00", "m01", "m02"], day[50], most_placebos=60)
    pd.testing.assert_frame_equal(found.placebo, again.placebo)


def test_synthetic_control_refuses_what_it_cant_tell():
    day, sales = make_panel(0.0)
    with pytest.raises(NotSupportedError, match="twice as many donors"):
        synthetic_control(sales, [f"m{i:02d}" for i in range(10)], day[50])
    with pytest.raises(NotSupportedError, match="periods before"):
        synthetic_control(sales, "m00", day[0])
    with pytest.raises(TableError, match="no rows of 1 units"):
        synthetic_control(sales, "nowhere", day[50])


def test_figures_draw(market, design):
    import matplotlib

    matplotlib.use("agg")
    sales, _ = market
    found = measure_pairs(design.table, pd.concat([sales, with_effect(sales, design, 0.05)]), design.start)
    day, panel = make_panel(5.0)
    for result in (design, found, synthetic_control(panel, "m00", day[50])):
        assert result.plot().lines
        assert all(line.strip() for line in result.summary())


def test_a_map_of_arms_escapes_names():
    from geomarket.report.measurement_charts import arms_map, power_chart

    _, places = make_market(n=6)
    stores = pd.DataFrame(
        {
            "name": "<b>&",
            "lon": np.linspace(4, 4.3, 6),
            "lat": 51.0,
            "arm": ["test", "control", "out"] * 2,
            "pair": [1, 1, pd.NA, 2, 2, pd.NA],
        }
    )
    drawn = str(arms_map(places["cell"].to_numpy(), stores, "<i>"))
    assert "<b>" not in drawn and "&lt;b&gt;&amp;" in drawn and "&lt;i&gt;" in drawn
    assert drawn.count("<circle") == 4 and drawn.count("<rect") == 2
    assert str(power_chart(design_test(*make_market()), "power")).count('class="line') >= 4
