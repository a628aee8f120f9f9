"""Ranges as a planner gets them: frames in, frames out."""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np
import pandas as pd
import pytest

from geomarket.assortment import RangePlan, RangeRules, plan_ranges, planogram_sizes
from geomarket.errors import InfeasibleError, SettingsError, TableError

World = tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame, pd.DataFrame]


def world(
    seed: int = 0, n_stores: int = 18, n_skus: int = 24, categories: tuple[str, ...] = ("tea", "soup")
) -> World:
    rng = np.random.default_rng(seed)
    stores = [f"{i:03d}" for i in range(n_stores)]
    clusters = pd.DataFrame({"store_id": stores, "store_cluster": [f"C{1 + i % 3}" for i in range(n_stores)]})
    size = rng.choice([0.5, 1.0, 2.0], n_stores)
    demand, products, today = [], [], []
    for category in categories:
        skus = [f"{category}-{i:02d}" for i in range(n_skus)]
        taste = rng.gamma(1.0, 2.0, n_skus) * np.exp(rng.normal(0, 0.6, (3, n_skus)))
        units = size[:, None] * taste[np.arange(n_stores) % 3]
        frame = pd.DataFrame({"store_id": np.repeat(stores, n_skus), "sku": np.tile(skus, n_stores)})
        unit_margin = np.tile(rng.uniform(0.5, 2.0, n_skus), n_stores)
        demand.append(
            frame.assign(
                category=category,
                units=units.ravel(),
                margin=units.ravel() * unit_margin,
                low=units.ravel() * 0.6,
                high=units.ravel() * 1.5,
            )
        )
        products.append(
            pd.DataFrame(
                {
                    "sku": skus,
                    "name": skus,
                    "category": category,
                    "width_cm": rng.uniform(4, 16, n_skus).round(1),
                }
            )
        )
        for i, store in enumerate(stores):
            n_listed = int(6 + 4 * size[i])
            today.append(pd.DataFrame({"store_id": store, "sku": rng.choice(skus, n_listed, replace=False)}))
    return tuple(pd.concat(parts, ignore_index=True) for parts in (demand, products, [clusters], today))


@pytest.fixture(scope="module")
def tables() -> World:
    return world()


@pytest.fixture(scope="module")
def plan(tables: World) -> RangePlan:
    demand, products, clusters, today = tables
    rules = RangeRules(
        core_share=0.3, min_stores=3, listing_cost=0.5, must_not=["tea-03"], must_list={"C2": ["soup-07"]}
    )
    return plan_ranges(demand, products, clusters, rules, today, period="week")


def listed_in(plan: RangePlan) -> pd.DataFrame:
    return plan.changes[plan.changes["action"] != "delist"]


def test_every_rule_holds_in_the_frames_alone(plan: RangePlan, tables: World) -> None:
    """T7.8 on the output: nothing but the frames a planner receives is used."""
    clusters = tables[2]
    listed = listed_in(plan).merge(plan.planograms, on=["store_id", "store_cluster", "category", "tier"])
    room = listed.merge(plan.spaces, on=["store_cluster", "category", "tier"], suffixes=("", "_space"))
    counts = room.groupby(["store_id", "category", "capacity"]).size().reset_index(name="n")
    assert len(counts) == 2 * len(clusters)
    assert (counts["n"] <= counts["capacity"]).all()
    # Stores of one planogram list the same; a smaller one is part of the next.
    for (_, category), stores in plan.planograms.groupby(["store_cluster", "category"]):
        ranges = {}
        for tier, members in stores.groupby("tier"):
            mine = listed[(listed["category"] == category)].groupby("store_id")["sku"].agg(frozenset)
            assert mine[members["store_id"]].nunique() == 1
            ranges[tier] = mine[members["store_id"].iloc[0]]
        sizes = [ranges[tier] for tier in ("S", "M", "L") if tier in ranges]
        assert all(small < large for small, large in itertools.pairwise(sizes))
    assert listed.groupby("sku")["store_id"].nunique().min() >= 3
    assert "tea-03" not in set(listed["sku"])
    in_c2 = set(clusters.loc[clusters["store_cluster"] == "C2", "store_id"])
    assert (
        set(listed.loc[(listed["sku"] == "soup-07") & (listed["store_cluster"] == "C2"), "store_id"]) == in_c2
    )
    # A share of 0.3 of the smallest of the clusters' largest planograms is common to all clusters.
    for category, spaces in plan.spaces.groupby("category"):
        smallest = spaces.groupby("store_cluster")["capacity"].max().min()
        by_cluster = listed[listed["category"] == category].groupby("store_cluster")["sku"].agg(set)
        assert len(set.intersection(*by_cluster)) >= 0.3 * smallest
    assert (plan.checks["worst_violation"] <= 1e-9).all()
    assert plan.solver["constraints_checked"].min() > 40


def test_money_adds_up(plan: RangePlan, tables: World) -> None:
    demand = tables[0]
    planned = plan.table[plan.table["status"] != "delist"]
    listed = listed_in(plan)
    assert listed["margin"].sum() == pytest.approx(planned["margin"].sum(), rel=1e-12)
    assert plan.spaces["margin"].sum() == pytest.approx(planned["margin"].sum(), rel=1e-12)
    costs = 0.5 * len(planned)
    assert plan.solver["objective"].sum() == pytest.approx(planned["margin"].sum() - costs, rel=1e-9)
    today = demand.merge(tables[3], on=["store_id", "sku"])
    assert plan.spaces["margin_today"].sum() == pytest.approx(today["margin"].sum(), rel=1e-12)
    assert (plan.solver["bound"] >= plan.solver["objective"]).all()
    assert (plan.solver["lp_bound"] >= plan.solver["bound"] - 1e-9).all()
    assert (plan.solver["gap"] <= 1e-3).all()
    assert planned["margin"].sum() > today["margin"].sum()


def test_changes_tell_today_from_the_plan(plan: RangePlan, tables: World) -> None:
    today = set(map(tuple, tables[3][["store_id", "sku"]].to_numpy()))
    before = plan.changes[plan.changes["action"] != "list"]
    assert set(map(tuple, before[["store_id", "sku"]].to_numpy())) == today
    assert not plan.changes.duplicated(["store_id", "sku"]).any()
    lines = plan.table.set_index(["store_cluster", "sku"])
    listed = listed_in(plan).groupby(["store_cluster", "sku"]).size()
    assert (lines["stores_planned"].reindex(listed.index) == listed).all()
    assert (lines.loc[lines["status"] == "delist", "stores_planned"] == 0).all()
    kept = lines[lines["status"] == "keep"]
    assert (2 * kept["stores_today"] >= kept["stores_planned"]).all()


def test_each_line_has_its_reason(plan: RangePlan) -> None:
    reasons = plan.table.set_index(["store_cluster", "sku"])["reason"]
    assert reasons.str.len().min() > 20
    assert plan.changes["reason"].str.len().min() > 20
    assert "must-list" in reasons["C2", "soup-07"]
    national = plan.table[(plan.table["scope"] == "national") & (plan.table["status"] != "delist")]
    assert national["reason"].str.contains(r"^in the national core|^on the must-list").all()
    delisted = plan.table[(plan.table["status"] == "delist") & (plan.table["sku"] == "tea-03")]
    assert delisted["reason"].str.contains("must-not").all()
    # The lift in words is the lift of the numbers.
    top = plan.table[plan.table["lift"] > 1.2].iloc[0]
    assert f"sells {top['lift']:.1f}× the chain rate here" in top["reason"]


def test_row_order_and_repetition_change_nothing(plan: RangePlan, tables: World) -> None:
    shuffled = [t.sample(frac=1, random_state=5) for t in tables]
    again = plan_ranges(*shuffled[:3], plan.rules, shuffled[3], period="week")
    for name in ("table", "changes", "spaces", "planograms", "checks"):
        pd.testing.assert_frame_equal(getattr(plan, name), getattr(again, name))
    pd.testing.assert_frame_equal(plan.solver.drop(columns="seconds"), again.solver.drop(columns="seconds"))


def test_inputs_stay_as_they_were(tables: World) -> None:
    before = [t.copy(deep=True) for t in tables]
    plan_ranges(*tables[:3], RangeRules(unit="width_cm"), tables[3])
    for frame, copy in zip(tables, before):
        pd.testing.assert_frame_equal(frame, copy)


def test_width_is_kept(tables: World) -> None:
    plan = plan_ranges(*tables[:3], RangeRules(unit="width_cm"), tables[3])
    used = listed_in(plan).merge(tables[1][["sku", "width_cm"]], on="sku")
    used = used.groupby(["store_id", "category"])["width_cm"].sum().reset_index()
    room = plan.planograms.merge(plan.spaces, on=["store_cluster", "category", "tier"]).merge(used)
    assert (room["width_cm"] <= room["capacity"] + 1e-9).all()


def test_a_dear_range_brings_clusters_together(tables: World) -> None:
    free = plan_ranges(*tables[:3], RangeRules(), tables[3])
    dear = plan_ranges(*tables[:3], RangeRules(range_cost=1e4), tables[3])
    for category in ("tea", "soup"):

        def ladder(plan: RangePlan, category: str = category) -> bool:
            spaces = plan.spaces[plan.spaces["category"] == category].sort_values("capacity", kind="stable")
            ranges = [
                set(
                    listed_in(plan).merge(
                        plan.planograms[
                            (plan.planograms["store_cluster"] == row.store_cluster)
                            & (plan.planograms["tier"] == row.tier)
                        ],
                        on=["store_id", "store_cluster", "category", "tier"],
                    )["sku"]
                )
                & set(plan.table.loc[plan.table["category"] == category, "sku"])
                for row in spaces.itertuples()
            ]
            return all(small <= large for small, large in itertools.pairwise(ranges))

        assert ladder(dear)
        assert not ladder(free)
    assert dear.spaces["margin"].sum() < free.spaces["margin"].sum()


def test_infeasible_rules_are_named(tables: World) -> None:
    skus = sorted(tables[1].loc[tables[1]["category"] == "tea", "sku"])
    with pytest.raises(
        InfeasibleError, match=r"tea: no range satisfies the space of C\d.*the core list"
    ) as error:
        plan_ranges(*tables[:3], RangeRules(core=skus, listing_cost=2.0, min_stores=2), tables[3])
    assert "stores per SKU" not in str(error.value)
    with pytest.raises(InfeasibleError, match="core list and the must-not list of C2"):
        plan_ranges(*tables[:3], RangeRules(core=["tea-01"], must_not={"C2": ["tea-01"]}), tables[3])
    with pytest.raises(InfeasibleError, match="must-list of C1 and the least number of stores"):
        plan_ranges(*tables[:3], RangeRules(must_list={"C1": ["tea-01"]}, min_stores=19), tables[3])


def test_what_cannot_be_planned_is_returned(tables: World) -> None:
    demand, products, clusters, today = tables
    extra = pd.DataFrame({"sku": ["tea-99"], "name": ["new"], "category": ["tea"], "width_cm": [5.0]})
    more = pd.concat([today, pd.DataFrame({"store_id": ["000"], "sku": ["tea-99"]})])
    no_tea = more[~((more["store_id"] == "004") & more["sku"].str.startswith("tea"))]
    plan = plan_ranges(
        demand, pd.concat([products, extra]), clusters[clusters["store_id"] != "001"], None, no_tea
    )
    told = plan.skipped.set_index("store_id")["reason"]
    assert "no store cluster" in told["001"]
    assert "no space" in told["004"]
    assert "without a forecast" in told["000"]
    assert "tea-99" not in set(plan.changes["sku"])
    assert "001" not in set(plan.changes["store_id"])


def test_given_spaces_replace_todays(tables: World) -> None:
    demand, products, clusters, today = tables
    spaces = clusters.assign(category="tea", capacity=5.0)
    plan = plan_ranges(demand, products, clusters, None, today, spaces=spaces)
    assert set(plan.spaces["category"]) == {"tea"}
    assert (plan.spaces["used"] == 5).all()
    assert (plan.skipped["category"] == "soup").all()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda d, p, c, t: (d.drop(columns="margin"), p, c, t), "demand: no column margin"),
        (
            lambda d, p, c, t: (pd.concat([d, d.head(2)]), p, c, t),
            "demand: 2 of .* repeat a store_id and sku",
        ),
        (lambda d, p, c, t: (d, p[p["sku"] != "tea-00"], c, t), "not in products"),
        (lambda d, p, c, t: (d, p, pd.concat([c, c.head(1)]), t), "clusters: 1 of"),
        (lambda d, p, c, t: (d.assign(margin=np.inf), p, c, t), "infinite"),
    ],
)
def test_bad_tables_say_what_and_where(tables: World, change: object, words: str) -> None:
    demand, products, clusters, today = change(*tables)
    with pytest.raises(TableError, match=words):
        plan_ranges(demand, products, clusters, None, today)


def test_bad_rules_say_what_and_where(tables: World) -> None:
    for settings, words in [
        ({"unit": "metres"}, "unit 'metres' is not supported"),
        ({"core_share": 1.5}, "between 0 and 1"),
        ({"core": "tea-01"}, "one string"),
        ({"listing_cost": float("nan")}, "finite"),
    ]:
        with pytest.raises(SettingsError, match=words):
            RangeRules(**settings)
    with pytest.raises(TableError, match=r"rules.core: 1 values of sku are not in demand"):
        plan_ranges(*tables[:3], RangeRules(core=["nothing"]), tables[3])
    no_width = tables[1].assign(width_cm=0.0)
    with pytest.raises(TableError, match="width_cm above 0"):
        plan_ranges(tables[0], no_width, tables[2], RangeRules(unit="width_cm"), tables[3])


def test_planogram_sizes_follow_the_space() -> None:
    assert planogram_sizes([5.0]).tolist() == [0]
    assert planogram_sizes([10, 10, 11, 10]).tolist() == [0, 0, 0, 0]
    assert planogram_sizes([30, 10, 31, 11, 90, 92, 91]).tolist() == [1, 0, 1, 0, 2, 2, 2]
    assert planogram_sizes([30, 10, 31, 11, 90, 92], max_tiers=1).tolist() == [0] * 6
    values = np.random.default_rng(0).gamma(3, 10, 40)
    sizes = planogram_sizes(values)
    assert np.all(np.diff(sizes[np.argsort(values)]) >= 0)
    order = np.random.default_rng(1).permutation(40)
    assert np.array_equal(planogram_sizes(values[order]), sizes[order])


def test_summary_and_figure(plan: RangePlan) -> None:
    words = plan.summary()
    total = plan.spaces["margin"].sum()
    assert f"{total:,.2f} a week" in words[-1] and "in sample and flattering" in words[-1]
    assert "re-checked outside the solver" in " ".join(words)
    axes = plan.plot()
    assert len(axes.patches) == 2 * plan.spaces["store_cluster"].nunique()
    assert "<table" in plan._repr_html_()


def test_a_plan_without_any_rule_lists_the_best(tables: World) -> None:
    """Counted places and no rules: a single planogram's range is the top of the ranking."""
    demand, products, clusters, today = tables
    plan = plan_ranges(demand, products, clusters, RangeRules(max_tiers=1), today)
    by_cluster = demand.merge(clusters).groupby(["store_cluster", "category", "sku"])["margin"].sum()
    for row in plan.spaces.itertuples():
        best = set(by_cluster[row.store_cluster, row.category].nlargest(int(row.capacity)).index)
        mine = plan.table[
            (plan.table["store_cluster"] == row.store_cluster) & (plan.table["status"] != "delist")
        ]
        assert set(mine.loc[mine["category"] == row.category, "sku"]) == best


def test_rules_are_frozen() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        RangeRules().min_stores = 3  # type: ignore[misc]
