"""What each further rule does to a plan, seen in the frames."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from geomarket.assortment import RangeLimit, RangePlan, RangeRules, SolverOptions, plan_ranges
from geomarket.errors import InfeasibleError, SettingsError, TableError

EXACT = SolverOptions(gap=0.0)


def tables(seed: int = 0) -> dict[str, pd.DataFrame]:
    """Eight stores in two clusters, one category of twelve SKUs, five places each."""
    rng = np.random.default_rng(seed)
    stores, skus = [f"{i}" for i in range(8)], [f"k{i:02d}" for i in range(12)]
    demand = pd.DataFrame({"store_id": np.repeat(stores, 12), "sku": np.tile(skus, 8), "category": "tea"})
    taste = rng.gamma(1.5, 4.0, (2, 12))
    demand["units"] = (rng.uniform(0.5, 2.0, 8)[:, None] * taste[np.arange(8) % 2]).ravel()
    demand["margin"] = demand["units"] * np.tile(rng.uniform(0.5, 2.0, 12), 8)
    products = pd.DataFrame(
        {
            "sku": skus,
            "name": [f"Tea {i}" for i in range(12)],
            "category": "tea",
            "price": np.arange(12) + 1.0,
            "brand": np.where(np.arange(12) % 3 == 0, "Own", "Other"),
            "width_cm": 10.0,
            "case_pack": 6,
            "moq": 100.0,
        }
    )
    today = pd.concat(
        [pd.DataFrame({"store_id": s, "sku": rng.choice(skus, 5, replace=False)}) for s in stores],
        ignore_index=True,
    )
    clusters = pd.DataFrame({"store_id": stores, "store_cluster": ["C1", "C2"] * 4})
    return {"demand": demand, "products": products, "clusters": clusters, "today": today}


def planned(plan: RangePlan) -> pd.DataFrame:
    return plan.table[plan.table["status"] != "delist"]


def test_demand_moves_to_listed_substitutes() -> None:
    """Units, money and words, worked out again pair by pair."""
    given = tables()
    skus = given["products"]["sku"].tolist()
    substitutes = pd.DataFrame({"sku": skus, "substitute": skus[1:] + skus[:1], "share": 0.6})
    plan = plan_ranges(**given, substitutes=substitutes, solver=EXACT)
    listed = plan.changes[plan.changes["action"] != "delist"].groupby("store_id")["sku"].agg(set)
    demand = given["demand"].set_index(["store_id", "sku"])
    money, moved = 0.0, 0.0
    for store, range_ in listed.items():
        for sku, substitute in zip(substitutes["sku"], substitutes["substitute"]):
            if sku in range_:
                money += demand.loc[(store, sku), "margin"]
            elif substitute in range_:
                unit_margin = (
                    demand.loc[(store, substitute), "margin"] / demand.loc[(store, substitute), "units"]
                )
                money += 0.6 * demand.loc[(store, sku), "units"] * unit_margin
                moved += 0.6 * demand.loc[(store, sku), "units"]
    assert plan.solver.loc[0, "objective"] == pytest.approx(money, rel=1e-9)
    assert plan.spaces["margin"].sum() == pytest.approx(money, rel=1e-9)
    assert planned(plan)["margin"].sum() == pytest.approx(money, rel=1e-9)
    assert planned(plan)["units_transferred"].sum() == pytest.approx(moved, rel=1e-9)
    taken_over = planned(plan)[planned(plan)["units_transferred"] > 0]
    bounded = plan_ranges(
        **{
            **given,
            "demand": given["demand"].assign(low=lambda d: d["units"] * 0.8, high=lambda d: d["units"] * 1.5),
        },
        substitutes=substitutes,
        solver=EXACT,
    )
    lines = planned(bounded)
    for column, low, high in (("units", "low", "high"), ("margin", "margin_low", "margin_high")):
        assert (lines[low] <= lines[column] + 1e-9).all()
        assert (lines[column] <= lines[high] + 1e-9).all()
    direct = lines["units"] - lines["units_transferred"]
    assert (lines["high"] - lines["low"]).to_numpy() == pytest.approx(0.7 * direct.to_numpy(), rel=1e-9)
    assert taken_over["reason"].str.contains(r"replaces Tea \d+, which 60% of buyers would swap for it").all()
    assert "of the expected units move over" in " ".join(plan.summary())
    # Less is listed twice over: neighbours that take each other's buyers are spread out.
    alone = plan_ranges(**given, solver=EXACT)
    assert alone.spaces["margin"].sum() < money


def test_limits_by_kind_and_price_tier() -> None:
    rules = RangeRules(
        limits=(
            RangeLimit("brand", "Own", least=2, store_cluster="C1"),
            RangeLimit("price_tier", "high", most=1),
            RangeLimit("price_tier", "low", least=3),
        )
    )
    plan = plan_ranges(**tables(), rules=rules)
    kinds = planned(plan).merge(tables()["products"], on="sku")
    tier = pd.cut(kinds["price"], [0, 4, 8, 12], labels=["low", "middle", "high"])
    for cluster, mine in kinds.groupby("store_cluster"):
        assert (tier[mine.index] == "high").sum() <= 1
        assert (tier[mine.index] == "low").sum() >= 3
        assert (mine["brand"] == "Own").sum() >= (2 if cluster == "C1" else 0)
    with pytest.raises(InfeasibleError, match=r"space of C\d and at least 6 SKUs with brand Other"):
        plan_ranges(**tables(), rules=RangeRules(limits=(RangeLimit("brand", "Other", least=6),)))
    with pytest.raises(TableError, match=r"rules.limits: 1 values of brand are not in products \(Nobody\)"):
        plan_ranges(**tables(), rules=RangeRules(limits=(RangeLimit("brand", "Nobody", least=1),)))


def test_minimum_orders_and_cases() -> None:
    given = tables()
    plan = plan_ranges(**given, rules=RangeRules(order_periods=2.0))
    by_sku = planned(plan).groupby("sku")["units"].sum()
    assert (by_sku >= 50 - 1e-6).all()
    free = planned(plan_ranges(**given)).groupby("sku")["units"].sum()
    assert (free < 50).any()
    mean = given["demand"].merge(given["clusters"]).groupby(["store_cluster", "sku"])["units"].mean()
    plan = plan_ranges(**given, rules=RangeRules(case_periods=1.0, max_tiers=1))
    assert (mean.loc[list(zip(planned(plan)["store_cluster"], planned(plan)["sku"]))] >= 6).all()
    slow = plan.table[plan.table["reason"].str.contains("a case would last longer than 1")]
    assert len(slow)
    assert (mean.loc[list(zip(slow["store_cluster"], slow["sku"]))] < 6).all()


def test_costs_in_the_chain_narrow_the_range() -> None:
    given = tables()
    centres = pd.DataFrame({"store_id": [f"{i}" for i in range(8)], "centre": ["north"] * 4 + ["south"] * 4})
    free = planned(plan_ranges(**given))["sku"].nunique()
    assert free > 5
    for rules in (RangeRules(sku_cost=30.0), RangeRules(max_distinct=6), RangeRules(dc_cost=15.0)):
        plan = plan_ranges(**given, rules=rules, centres=centres)
        assert planned(plan)["sku"].nunique() < free
    plan = plan_ranges(**given, rules=RangeRules(dc_cost=1.0), centres=centres)
    money = planned(plan)["margin"].sum()
    both = plan.changes[plan.changes["action"] != "delist"].merge(centres)
    stocked = both.groupby("centre")["sku"].nunique().sum()
    assert plan.solver.loc[0, "objective"] == pytest.approx(money - stocked, rel=1e-9)
    with pytest.raises(TableError, match="centres: dc_cost is set"):
        plan_ranges(**given, rules=RangeRules(dc_cost=1.0))
    with pytest.raises(TableError, match="1 stores have no centre"):
        plan_ranges(**given, rules=RangeRules(dc_cost=1.0), centres=centres.head(7))


def test_dear_changes_are_fewer() -> None:
    given = tables()
    changes = []
    for cost in (0.0, 1.0, 3.0, 10.0):
        plan = plan_ranges(**given, rules=RangeRules(change_cost=cost), solver=EXACT)
        changed = plan.changes["action"].ne("keep").sum()
        changes.append(changed)
        assert plan.solver.loc[0, "objective"] == pytest.approx(
            planned(plan)["margin"].sum() - cost * changed, rel=1e-9
        )
    assert changes == sorted(changes, reverse=True)
    assert changes[-1] < changes[0]


def test_changes_in_a_store_are_capped_or_the_clash_is_named() -> None:
    given = tables()
    given["today"] = given["today"].assign(
        sku=lambda f: np.tile([f"k{i:02d}" for i in range(5)], 8)  # all stores list the same today
    )
    plan = plan_ranges(**given, rules=RangeRules(max_changes=2))
    changed = plan.changes[plan.changes["action"] != "keep"].groupby("store_id").size()
    assert changed.max() == 2
    with pytest.raises(InfeasibleError, match=r"must-list of C1.* and the most changes in a store"):
        plan_ranges(**given, rules=RangeRules(max_changes=2, must_list={"C1": ["k09", "k10", "k11"]}))


def test_facings_fill_the_shelf() -> None:
    given = tables()
    spaces = given["clusters"].assign(category="tea", capacity=100.0)
    rules = RangeRules(unit="width_cm", max_facings=3, facing_returns=(0.4, 0.1), listing_cost=20.0)
    plan = plan_ranges(**given, rules=rules, spaces=spaces, solver=EXACT)
    assert planned(plan)["facings"].between(1, 3).all()
    assert planned(plan)["facings"].max() > 1
    used = planned(plan).groupby("store_cluster")["facings"].sum() * 10
    assert (used <= 100).all()
    assert plan.spaces.set_index("store_cluster")["used"].to_dict() == used.to_dict()
    extra = planned(plan)["facings"].map({1: 1.0, 2: 1.4, 3: 1.5})
    alone = given["demand"].merge(given["clusters"]).groupby(["store_cluster", "sku"])["margin"].sum()
    worth = (
        alone.loc[list(zip(planned(plan)["store_cluster"], planned(plan)["sku"]))].to_numpy()
        * extra.to_numpy()
    )
    assert planned(plan)["margin"].to_numpy() == pytest.approx(worth, rel=1e-9)
    assert "Assumed, not estimated: further facings add 40%, 10%" in " ".join(plan.summary())


def test_delistings_name_their_cause() -> None:
    given = tables()
    causes = {
        "would not cover listing and changes": RangeRules(listing_cost=60.0),
        "but fewer than 9 stores of the chain have a place for it": RangeRules(min_stores=9),
        "but the chain would sell too little of it for an order": RangeRules(order_periods=0.9),
        "but the range holds at most 1 SKU with brand Other": RangeRules(
            limits=(RangeLimit("brand", "Other", most=1),)
        ),
        "core or must-list SKUs that earn less for their space hold places": RangeRules(
            must_list=["k02", "k09", "k10"]
        ),
        "ranks 6 for 5 places in this cluster": RangeRules(),
    }
    for words, rules in causes.items():
        plan = plan_ranges(**given, rules=rules)
        delisted = plan.table[plan.table["status"] == "delist"]
        assert delisted["reason"].str.contains(words, regex=False).any(), words
    plan = plan_ranges(**given, rules=RangeRules(listing_cost=60.0))
    dear = plan.table[plan.table["reason"].str.contains("would not cover")]
    mean = given["demand"].merge(given["clusters"]).groupby(["store_cluster", "sku"])["margin"].sum()
    assert (mean.loc[list(zip(dear["store_cluster"], dear["sku"]))] <= 60).all()


def test_bad_rules_and_tables_say_what_and_where() -> None:
    for settings, words in [
        ({"max_facings": 2}, "facing_returns has 0 values"),
        ({"max_facings": 2, "facing_returns": (-0.1,)}, "at least 0"),
        ({"max_changes": -1}, "at least 0"),
    ]:
        with pytest.raises(SettingsError, match=words):
            RangeRules(**settings)
    with pytest.raises(SettingsError, match="0 <= least <= most"):
        RangeLimit("brand", "Own", least=3, most=1)
    given = tables()
    for rules, column in (
        (RangeRules(order_periods=1.0), "moq"),
        (RangeRules(case_periods=1.0), "case_pack"),
    ):
        with pytest.raises(TableError, match=f"products: no column {column}"):
            plan_ranges(**{**given, "products": given["products"].drop(columns=column)}, rules=rules)
    pairs = pd.DataFrame({"sku": ["k00", "k00"], "substitute": ["k01", "k02"], "share": [0.7, 0.7]})
    with pytest.raises(TableError, match="add up to at most 1"):
        plan_ranges(**given, substitutes=pairs)


def test_large_programs_go_through_a_process_of_their_own() -> None:
    given = tables()
    one = plan_ranges(**given, rules=RangeRules(core_share=0.4), solver=SolverOptions(isolate_from=0))
    two = plan_ranges(**given, rules=RangeRules(core_share=0.4))
    pd.testing.assert_frame_equal(one.table, two.table)
    with pytest.raises(InfeasibleError, match="core list and the must-not list"):
        plan_ranges(
            **given, rules=RangeRules(core=["k01"], must_not=["k01"]), solver=SolverOptions(isolate_from=0)
        )


def test_what_is_at_stake_keeps_a_listing_and_is_no_part_of_the_margin() -> None:
    given = tables()
    free = plan_ranges(**given, solver=EXACT)
    gone = free.changes[free.changes["action"] == "delist"].iloc[0]
    stakes = pd.DataFrame({"store_id": [gone["store_id"]], "sku": [gone["sku"]], "money": [1e4]})
    held = plan_ranges(**given, stakes=stakes, solver=EXACT)
    kept = held.changes.set_index(["store_id", "sku"]).loc[(gone["store_id"], gone["sku"])]
    assert kept["action"] == "keep"
    assert held.spaces["margin"].sum() < free.spaces["margin"].sum()
    assert held.solver.loc[0, "objective"] == pytest.approx(held.spaces["margin"].sum(), rel=1e-9)
    small = plan_ranges(**given, stakes=stakes.assign(money=1e-6), solver=EXACT)
    assert small.spaces["margin"].sum() == pytest.approx(free.spaces["margin"].sum(), rel=1e-9)
    assert small.solver.loc[0, "objective"] == pytest.approx(free.spaces["margin"].sum() - 1e-6, rel=1e-12)
    # Nothing is at stake of what a store does not carry.
    absent = stakes.assign(
        sku=next(
            s
            for s in given["products"]["sku"]
            if s not in set(given["today"].loc[given["today"]["store_id"] == gone["store_id"], "sku"])
        )
    )
    same = plan_ranges(**given, stakes=absent, solver=EXACT)
    pd.testing.assert_frame_equal(same.changes, free.changes)
