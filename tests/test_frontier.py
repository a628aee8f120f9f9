import datetime as dt

import numpy as np
import pandas as pd
import pytest

from geomarket.errors import NotSupportedError, SettingsError, TableError
from geomarket.frontier import FoldedSales, deal_periods, fold_sales, local_frontier
from geomarket.frontier.verdict import reach_verdict, settle, smallest_unbeaten
from geomarket.market.connection import sales_table


def trade(n_stores=6, n_skus=8, weeks=48, seed=0):
    """Weekly sales of a chain whose even stores love even SKUs."""
    rng = np.random.default_rng(seed)
    start = dt.date(2024, 1, 1)
    store, sku, week = (
        g.ravel() for g in np.meshgrid(range(n_stores), range(n_skus), range(weeks), indexing="ij")
    )
    rate = np.where(store % 2 == sku % 2, 6.0, 2.0)
    frame = pd.DataFrame(
        {
            "store_id": [f"s{i}" for i in store],
            "sku": [f"k{i}" for i in sku],
            "period": [start + dt.timedelta(weeks=int(w)) for w in week],
            "units": rng.poisson(rate),
        }
    )
    frame = frame[frame["units"] > 0]
    frame["revenue"] = frame["units"] * 2.0
    return frame


def products(n_skus=8):
    return pd.DataFrame(
        {
            "sku": [f"k{i}" for i in range(n_skus)],
            "category": ["a" if i < 4 else "b" for i in range(n_skus)],
            "price": 3.0,
            "cost": 2.0,
            "width_cm": [5.0, 10.0] * (n_skus // 2),
        }
    )


def stores(n_stores=6):
    return pd.DataFrame({"store_id": [f"s{i}" for i in range(n_stores)]})


def half_range(n_stores=6, n_skus=8):
    return pd.DataFrame(
        {
            "store_id": np.repeat([f"s{i}" for i in range(n_stores)], n_skus // 2),
            "sku": ["k0", "k1", "k4", "k5"] * n_stores,
        }
    )


CLUSTERS = {2: pd.Series(["even", "odd"] * 3, index=[f"s{i}" for i in range(6)])}


def frontier(**changes):
    folds = changes.pop("folds", None) or fold_sales(sales_table(trade()), "week")
    arguments = {"periods_per_year": 52.0, "today": half_range(), "store_clusters": CLUSTERS[2]} | changes
    return local_frontier(folds, stores(), products(), CLUSTERS, **arguments)


def test_blocks_go_round_the_folds():
    assert deal_periods(range(14), 4).tolist() == [0] * 4 + [1] * 4 + [2] * 4 + [0] * 2
    with pytest.raises(SettingsError, match="block must be 1"):
        deal_periods(range(3), 0)


def test_folds_hold_every_unit_once_and_exposure_adds_up():
    frame = trade()
    folds = fold_sales(sales_table(frame), "week")
    assert folds.table["units"].sum() == frame["units"].sum()
    assert folds.n_periods == [16, 16, 16]
    exposure = folds.table.groupby(["store_id", "sku"])["exposure"].sum()
    assert (exposure <= 48 + 1e-9).all() and exposure.mean() > 46
    assert not folds.table.duplicated(["store_id", "sku", "fold"]).any()


def test_a_fold_in_which_a_listed_pair_sold_nothing_counts_as_zero_not_as_unlisted():
    frame = trade()
    gap = (
        (frame["store_id"] == "s0")
        & (frame["sku"] == "k1")
        & frame["period"].map(lambda day: (day - dt.date(2024, 1, 1)).days // 28 % 3 == 1)
    )
    folds = fold_sales(sales_table(frame[~gap]), "week").table
    row = folds[(folds["store_id"] == "s0") & (folds["sku"] == "k1") & (folds["fold"] == 1)]
    assert row["units"].tolist() == [0.0] and row["exposure"].iloc[0] > 14


def test_too_little_history_is_refused():
    frame = trade(weeks=20)
    with pytest.raises(NotSupportedError, match="Give more history or a shorter block"):
        fold_sales(sales_table(frame), "week")
    assert fold_sales(sales_table(frame), "week", block=3).n_periods == [8, 6, 6]


def test_two_kinds_of_stores_ask_for_two_clusters():
    found = frontier(cost_per_cluster=50.0)
    assert found.verdict.kind == "cluster" and found.verdict.n_clusters == 2
    assert found.table["n_clusters"].tolist() == [1, 2, 6]
    assert found.table["label"].tolist() == ["national", "2 clusters", "store level"]
    assert found.table["chosen"].tolist() == [False, True, False]
    assert found.verdict.sentence.startswith("Plan 2 store clusters: on periods used neither to plan")
    assert "unvalidated" in found.verdict.sentence and not found.verdict.validated
    # Six stores, four SKUs each: the national range sells 4 a week of each, the local one 6; margin 1 each.
    row = found.table.iloc[1]
    assert row["gain_holdout"] == pytest.approx(6 * 4 * 2 * 52, rel=0.1)
    assert row["gain_holdout_share"] == pytest.approx(row["gain_holdout"] / found.national_margin)
    assert row["net"] == pytest.approx(row["gain_holdout"] - 50)
    assert set(found.categories["kind"]) == {"cluster"}
    assert found.categories["gain_holdout"].sum() == pytest.approx(row["gain_holdout"])


def test_costs_count_clusters_and_distinct_skus():
    found = frontier(cost_per_cluster=7.0, cost_per_sku=100.0).table
    extra = found["distinct_skus"] - found["distinct_skus"].iloc[0]
    np.testing.assert_allclose(found["cost"], 7.0 * (found["n_clusters"] - 1) + 100.0 * extra)
    assert frontier(cost_per_cluster=1e9).verdict.sentence.startswith("Stay with one national range")
    with pytest.raises(SettingsError, match="costs must be 0 or more"):
        frontier(cost_per_cluster=-1.0)


def test_every_plan_fills_the_same_space():
    everything = pd.DataFrame(
        [(s, k) for s in stores()["store_id"] for k in products()["sku"]], columns=["store_id", "sku"]
    )
    whole = frontier(today=everything)
    np.testing.assert_allclose(whole.table["gain_holdout"], 0.0, atol=1e-6)
    assert whole.verdict.kind == "national" and (whole.table["trade_held"] > 0.999).all()


def test_width_is_a_space_too():
    found = frontier(space="width_cm")
    assert found.table["gain_holdout"].iloc[1] > 0
    with pytest.raises(TableError, match="column 'depth_cm' is missing"):
        frontier(space="depth_cm")


def test_space_comes_from_the_average_listing_when_no_range_is_given():
    found = frontier(today=None)
    assert found.table["trade_held"].between(0.95, 1.0).all()


def test_stores_without_a_cluster_are_an_error():
    folds = fold_sales(sales_table(trade()), "week")
    with pytest.raises(TableError, match=r"1 stores have no cluster \(s5\)"):
        local_frontier(folds, stores(), products(), {2: CLUSTERS[2].drop("s5")}, periods_per_year=52)


def test_what_did_not_trade_throughout_is_left_out_and_said():
    frame = trade()
    frame = frame[(frame["sku"] != "k7") | (frame["period"] < dt.date(2024, 1, 20))]
    found = frontier(folds=fold_sales(sales_table(frame), "week"))
    assert any("1 SKUs and 0 stores" in line for line in found.summary())


def test_one_fold_alone_cannot_be_judged():
    folds = fold_sales(sales_table(trade()), "week")
    only = FoldedSales(folds.table[folds.table["store_id"].isin(["s0", "s1"])], folds.calendar)
    with pytest.raises(NotSupportedError, match="At least three stores"):
        local_frontier(only, stores(), products(), {}, periods_per_year=52)


def test_smallest_number_that_no_larger_one_beats_by_a_standard_error():
    rng = np.random.default_rng(0)
    noise = rng.normal(0, 0.1, (4, 50))
    by_store = np.array([0.0, 1.0, 1.001, 1.5])[:, None] + noise
    assert smallest_unbeaten(by_store, np.zeros(4)) == 3
    assert smallest_unbeaten(by_store, np.array([0, 0, 0, 40.0])) == 1
    assert smallest_unbeaten(by_store, np.array([0, 90, 90, 90.0])) == 0


def test_same_input_same_answer_and_a_figure():
    import matplotlib

    matplotlib.use("Agg")
    first, again = frontier(), frontier()
    pd.testing.assert_frame_equal(first.table, again.table)
    axes = first.plot()
    assert len(axes.lines) >= 3 and axes.get_ylabel()
    assert any("planned on" in text.get_text() for text in axes.get_legend().get_texts())


def judged(rng, n=6):
    """A frontier's table with random gains, chosen as the rule says."""
    table = pd.DataFrame({"n_clusters": [1, 2, 3, 5, 8, 40]})
    table["label"] = ["national", *(f"{g} clusters" for g in table["n_clusters"].iloc[1:-1]), "store level"]
    for name in ("gain_in_sample", "gain_holdout", "net_choice"):
        table[name] = np.append(0.0, rng.normal(50, 80, n - 1))
    error = np.append(0.0, rng.uniform(10, 90, n - 1))
    table["cost"] = 5.0 * (table["n_clusters"] - 1)
    table["low"], table["high"] = table["gain_holdout"] - error, table["gain_holdout"] + error
    for end in ("", "_low", "_high"):
        table[f"net{end}"] = table[{"": "gain_holdout", "_low": "low", "_high": "high"}[end]] - table["cost"]
    picked = int(rng.integers(n))
    chosen = settle(table["net_low"].to_numpy(), picked)
    for name, place in (("picked", picked), ("chosen", chosen)):
        table[name] = np.arange(n) == place
    for name in ("gain_in_sample", "gain_holdout"):
        table[f"{name}_share"] = table[name] / 1000
    return table


def test_verdict_and_figures_quoted_never_contradict_each_other():
    kinds = set()
    for seed in range(200):
        table = judged(np.random.default_rng(seed))
        verdict = reach_verdict(table, 1000.0, True, "€")
        row = table[table["chosen"]].iloc[0]
        picked = int(np.flatnonzero(table["picked"])[0])
        kinds.add((verdict.kind, picked > 0))
        assert len(verdict.explanation) == 3 and all(line.endswith(".") for line in verdict.explanation)
        if verdict.kind == "national":
            # Nothing that the rule allowed is surely above zero; the figure in the sentence isn't either.
            assert not (table["net_low"].iloc[1 : picked + 1] > 0).any()
            assert verdict.sentence.startswith("Stay with one national range")
            if picked:
                assert table["label"].iloc[picked] in verdict.sentence
        else:
            assert row["net_low"] > 0 and verdict.low == row["low"]
            assert "lower end is above zero" in verdict.explanation[1]
            edge = row["n_clusters"] == 8 and picked == len(table) - 2
            assert ("more clusters may bring more" in verdict.explanation[0]) == edge
        better = table.iloc[1:].loc[table["net_low"].iloc[1:] > 0, "label"]
        if verdict.kind == "national" and len(better):
            assert "known only afterwards" in verdict.explanation[1]
    assert kinds == {("national", False), ("national", True), ("cluster", True), ("store", True)}


def test_a_dearer_cluster_never_leads_to_more_of_them_whatever_the_figures():
    for seed in range(300):
        rng = np.random.default_rng(seed)
        by_store = rng.normal(rng.uniform(-1, 4, (6, 1)), 5.0, (6, 30))
        by_store[0] = 0.0
        low = by_store.sum(axis=1) - rng.uniform(0, 80, 6)
        found = []
        for price in (0.0, 3.0, 10.0, 30.0, 100.0):
            cost = price * np.arange(6)
            found.append(settle(low - cost, smallest_unbeaten(by_store, cost)))
        assert (np.diff(found) <= 0).all(), found
