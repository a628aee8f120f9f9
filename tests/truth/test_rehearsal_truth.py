"""What planned ranges bring: rehearsed on other periods, against the truth of a simulated market."""

from __future__ import annotations

import dataclasses

import pandas as pd
import pytest

from geomarket.assortment import range_margins
from geomarket.market import Market, parse_settings
from geomarket.planning import Plan, run_plan
from geomarket.planning.rehearsal import ranges_of
from geomarket.simulate import simulate_market

SETTINGS = """
[assortment]
space = "width_cm"
core_share = 0.3
cost_per_change = 60.0
min_stores = 3
[store_clusters]
n_clusters = 2
max_clusters = 3
[promotions]
enabled = false
"""


def true_margin(market: Market, listed: pd.DataFrame) -> float:
    """Margin a week, with true demand and true substitution."""
    truth, products = market.truth, market.products.set_index("sku")
    demand = truth.demand.stack().rename("units").rename_axis(["store_id", "sku"]).reset_index()
    demand["category"] = demand["sku"].map(products["category"])
    demand["margin"] = demand["units"] * demand["sku"].map(products["price"] - products["cost"])
    switch = truth.substitution["sku"].map(products["category"]).map(truth.transfer)
    moves = truth.substitution.assign(share=truth.substitution["share"] * switch)
    return float(range_margins(demand, listed, moves)["margin"].sum())


@pytest.fixture(scope="module", params=[0, 1])
def judged(request) -> tuple[Plan, dict[str, float]]:
    world = simulate_market(n_customers=600, n_stores=18, n_skus=120, weeks=60, seed=request.param)
    market = dataclasses.replace(world, customers=None, baskets=None, contacts=None, promotions=None)
    plan = run_plan(market, parse_settings(SETTINGS))
    earned = {step: true_margin(market, listed) for step, listed in ranges_of(plan.ranges).items()}
    return plan, {step: money / earned["today"] - 1 for step, money in earned.items()}


def test_the_truth_lies_in_the_rehearsals_interval_and_below_the_claim(judged) -> None:
    plan, true = judged
    rehearsed = plan.rehearsal.table.set_index("ranges")
    row = rehearsed.loc["all phases"]
    assert row["low_share"] <= true["all phases"] <= row["high_share"]
    claims = plan.ranges.spaces[["margin", "margin_today"]].sum()
    assert true["whole plan"] < claims["margin"] / claims["margin_today"] - 1


def test_what_is_done_first_truly_pays(judged) -> None:
    plan, true = judged
    assert true["first phase"] > 0
    assert true["all phases"] >= true["first phase"]
    # Per change, what is done first is worth several times what waits.
    changes = plan.rehearsal.table.set_index("ranges")["changes"]
    done, waiting = changes["all phases"], changes["whole plan"] - changes["all phases"]
    assert true["all phases"] / done > 2 * (true["whole plan"] - true["all phases"]) / waiting
