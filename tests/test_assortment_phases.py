"""Changes dealt to phases: they fit the shelf, the surest come first, and what is not proven waits."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from geomarket.assortment import RangePlan, RangeRules, plan_ranges, range_margins
from geomarket.errors import SettingsError

WIDE = RangeRules(unit="width_cm", max_tiers=1)


def tables(seed: int = 0, n_stores: int = 8, n_skus: int = 40, doubt: float = 0.3) -> dict[str, pd.DataFrame]:
    rng = np.random.default_rng(seed)
    stores, skus = [f"s{i}" for i in range(n_stores)], [f"k{i:02d}" for i in range(n_skus)]
    demand = pd.DataFrame(
        {
            "store_id": np.repeat(stores, n_skus),
            "sku": np.tile(skus, n_stores),
            "category": np.tile(np.where(np.arange(n_skus) % 2, "tea", "coffee"), n_stores),
            "units": (rng.gamma(1, 5, n_skus) * rng.lognormal(0, 0.4, (n_stores, n_skus))).ravel(),
        }
    )
    demand["margin"] = demand["units"] * np.tile(rng.uniform(0.5, 2, n_skus), n_stores)
    demand["low"], demand["high"] = demand["units"] * (1 - doubt), demand["units"] * (1 + doubt)
    listed = rng.random((n_stores, n_skus)) < 0.5
    products = pd.DataFrame({"sku": skus, "name": skus, "category": demand["category"][:n_skus]})
    products["width_cm"] = rng.uniform(4, 12, n_skus)
    return {
        "demand": demand,
        "products": products,
        "clusters": pd.DataFrame({"store_id": stores, "store_cluster": "C1"}),
        "today": pd.DataFrame(
            {"store_id": np.repeat(stores, listed.sum(axis=1)), "sku": np.tile(skus, (n_stores, 1))[listed]}
        ),
    }


def planned(given: dict[str, pd.DataFrame], rules: RangeRules) -> RangePlan:
    return plan_ranges(**given, rules=rules)


def after(plan: RangePlan, phase: int) -> pd.DataFrame:
    """Ranges by store once phases up to this one are done."""
    changes = plan.changes
    done = changes["when"].isin([f"phase {n}" for n in range(1, phase + 1)])
    there = (changes["action"] == "keep") | (done & (changes["action"] == "list"))
    there |= ~done & (changes["action"] == "delist")
    return changes.loc[there, ["store_id", "sku"]]


@pytest.mark.parametrize("seed", range(4))
def test_every_phase_fits_the_shelf_and_the_cap(seed: int) -> None:
    given = tables(seed)
    plan = planned(given, replace(WIDE, phase_share=0.2, wait_for_proof=True))
    width = given["products"].set_index("sku")["width_cm"]
    kind = given["products"].set_index("sku")["category"]
    size = given["today"].assign(category=given["today"]["sku"].map(kind))
    size = size.groupby(["store_id", "category"])["sku"].size()
    today = given["today"].assign(
        cm=given["today"]["sku"].map(width), category=given["today"]["sku"].map(kind)
    )
    room = today.groupby(["store_id", "category"])["cm"].sum()
    last = int(plan.phases["phase"].str.startswith("phase").sum())
    assert last >= 2
    for phase in range(1, last + 1):
        there = after(plan, phase)
        there = there.assign(cm=there["sku"].map(width), category=there["sku"].map(kind))
        used = there.groupby(["store_id", "category"])["cm"].sum()
        # What a planogram has room for is no room: some stores have less space than its stores on average.
        assert (used <= room.reindex(used.index) + 1e-6).all()
        mine = plan.changes[plan.changes["when"] == f"phase {phase}"]
        listed = mine[mine["action"] == "list"].groupby(["store_id", "category"]).size()
        n_planned = plan.changes[plan.changes["action"] != "delist"].groupby(["store_id", "category"]).size()
        most = np.maximum(size, n_planned.reindex(size.index))
        assert (listed <= np.maximum(1, np.floor(0.2 * most)).reindex(listed.index)).all()


def test_where_nothing_waits_every_store_ends_with_the_range_planned() -> None:
    plan = planned(tables(), replace(WIDE, phase_share=0.2))
    last = int(plan.phases["phase"].str.startswith("phase").sum())
    end = set(map(tuple, after(plan, last).to_numpy()))
    wanted = plan.changes[plan.changes["action"] != "delist"]
    assert end == set(map(tuple, wanted[["store_id", "sku"]].to_numpy()))


def test_money_by_phase_is_that_of_the_ranges_and_the_first_brings_most() -> None:
    given = tables(1)
    plan = planned(given, replace(WIDE, phase_share=0.2))
    margin = plan.phases.set_index("phase")["margin"]
    assert margin["today"] == pytest.approx(plan.spaces["margin_today"].sum())
    assert margin.iloc[-1] == pytest.approx(plan.spaces["margin"].sum())
    last = len(margin) - 1
    for phase in range(1, last + 1):
        valued = range_margins(given["demand"], after(plan, phase))["margin"].sum()
        assert margin[f"phase {phase}"] == pytest.approx(valued)
    steps = np.diff(margin)
    assert steps[0] == steps.max() > 0


def test_what_is_not_proven_to_pay_waits() -> None:
    sure, unsure = tables(2, doubt=0.01), tables(2, doubt=0.9)
    rules = replace(WIDE, phase_share=0.25, change_cost=0.5, wait_for_proof=True)
    few, many = ((planned(given, rules).changes["when"] == "waits").sum() for given in (sure, unsure))
    assert few < many
    plan = planned(unsure, rules)
    assert "wait: at the lower end" in " ".join(plan.summary())
    waiting = plan.changes[plan.changes["when"] == "waits"]
    assert set(waiting["action"]) == {"list", "delist"}
    # Each listing made is worth more, at its lower end, than its cost alone.
    made = plan.changes[plan.changes["when"].str.startswith("phase") & (plan.changes["action"] == "list")]
    worth = made.merge(unsure["demand"], on=["store_id", "sku"])
    assert (worth["margin_y"] * worth["low"] / worth["units_y"] > 0.5).all()


def test_demanded_listings_never_wait() -> None:
    given = tables(3, doubt=0.95)
    weak = given["demand"].groupby("sku")["margin"].sum().nsmallest(3).index.tolist()
    rules = replace(WIDE, phase_share=0.25, change_cost=5.0, wait_for_proof=True, must_list=tuple(weak))
    changes = planned(given, rules).changes
    mine = changes[changes["sku"].isin(weak) & (changes["action"] == "list")]
    assert len(mine) and (mine["when"] != "waits").all()
    assert (mine["when"] == "phase 1").mean() > 0.5


def test_the_shelf_after_each_step() -> None:
    given = tables(5, doubt=0.6)
    plan = planned(given, replace(WIDE, phase_share=0.2, wait_for_proof=True, change_cost=0.2))

    def pairs(frame: pd.DataFrame) -> set[tuple[str, ...]]:
        return set(map(tuple, frame[["store_id", "sku"]].to_numpy()))

    last = int(plan.phases["phase"].str.startswith("phase").sum())
    assert pairs(plan.shelf("today")) == pairs(given["today"])
    assert pairs(plan.shelf("first phase")) == pairs(after(plan, 1))
    assert pairs(plan.shelf("all phases")) == pairs(after(plan, last))
    assert pairs(plan.shelf("whole plan")) == pairs(plan.changes[plan.changes["action"] != "delist"])
    with pytest.raises(SettingsError, match="step 'tomorrow'"):
        plan.shelf("tomorrow")


def test_without_a_share_everything_is_done_at_once() -> None:
    given = tables(4)
    plan = planned(given, WIDE)
    assert set(plan.changes["when"]) == {"phase 1", "stays"}
    assert (plan.changes["when"].eq("stays") == plan.changes["action"].eq("keep")).all()
    assert plan.phases["phase"].tolist() == ["today", "phase 1"]
    assert any(line.startswith("All at once") for line in plan.summary())
    with pytest.raises(SettingsError, match="phase_share is 0"):
        RangeRules(phase_share=0.0)


def test_ranges_are_valued_with_what_moves_between_skus() -> None:
    demand = pd.DataFrame(
        {"store_id": "1", "sku": ["a", "b", "c"], "category": "tea", "units": [10.0, 4.0, 2.0]}
    )
    demand["margin"] = demand["units"] * [1.0, 2.0, 3.0]
    listed = pd.DataFrame({"store_id": ["1", "1"], "sku": ["b", "c"]})
    moves = pd.DataFrame({"sku": ["a", "a", "b"], "substitute": ["b", "c", "c"], "share": [0.3, 0.2, 0.5]})
    alone, moved = range_margins(demand, listed), range_margins(demand, listed, moves)
    assert alone["margin"].tolist() == [8.0 + 6.0]
    # Of a's ten buyers three take b at 2 and two take c at 3; b is listed, so nobody leaves it.
    assert moved["margin"].tolist() == [pytest.approx(14.0 + 3 * 2 + 2 * 3)]
