"""Targeting against enumeration, against another solver's bound, and against the formulas it stands for."""

import itertools

import numpy as np
import pandas as pd
import pytest
from scipy.optimize import linprog

from geomarket.promotions.contact_choice import choose_contacts
from geomarket.promotions.targeting import leaflet_values, target_customers, target_hexagons


def best_by_enumeration(benefit, cost, budget, most):
    n_units, n_periods, n_channels = benefit.shape
    rows = list(itertools.product(range(-1, n_channels), repeat=n_periods))
    best = 0.0
    for picked in itertools.product(rows, repeat=n_units):
        net = spent = 0.0
        for unit, row in enumerate(picked):
            if sum(channel >= 0 for channel in row) > most[unit]:
                break
            for period, channel in enumerate(row):
                if channel >= 0:
                    net += benefit[unit, period, channel] - cost[unit, channel]
                    spent += cost[unit, channel]
        else:
            if spent <= budget + 1e-12 and net > best:  # comparisons with NaN are false
                best = net
    return best


@pytest.mark.parametrize("seed", range(40))
def test_small_choices_against_enumeration(seed):
    rng = np.random.default_rng(seed)
    n_units, n_periods, n_channels = rng.integers(1, 4), rng.integers(1, 4), rng.integers(1, 3)
    benefit = rng.gamma(2.0, 2.0, (n_units, n_periods, n_channels))
    benefit[rng.random(benefit.shape) < 0.2] = np.nan
    cost = rng.gamma(2.0, 1.0, (n_units, n_channels)).round(1)
    budget = float(rng.uniform(0, cost.sum() * n_periods * 0.6))
    most = rng.integers(0, n_periods + 1, n_units)
    found = choose_contacts(benefit, cost, budget, most)
    best = best_by_enumeration(benefit, cost, budget, most)
    assert found.cost <= budget + 1e-9
    assert ((found.channel >= 0).sum(axis=1) <= most).all()
    assert found.net <= best + 1e-9
    assert best <= found.bound + 1e-9
    assert found.bound - found.net <= found.largest + 1e-9  # the loss is never more than one unit's worth


@pytest.mark.parametrize("seed", range(3))
def test_the_bound_is_that_of_the_linear_program(seed):
    rng = np.random.default_rng(seed)
    benefit = rng.gamma(2.0, 2.0, (30, 4, 2))
    cost = rng.uniform(0.5, 3.0, (30, 2))
    most, budget = 2, 40.0
    net = (benefit - cost[:, None, :]).ravel()
    unit = np.repeat(np.arange(30), 8)
    slot = np.repeat(np.arange(120), 2)
    rows = [np.tile(cost[:, None, :], (1, 4, 1)).ravel()]
    rows += [(unit == u).astype(float) for u in range(30)] + [(slot == s).astype(float) for s in range(120)]
    limits = [budget, *[most] * 30, *[1] * 120]
    solved = linprog(-net, A_ub=np.array(rows), b_ub=limits, bounds=(0, 1), method="highs")
    assert choose_contacts(benefit, cost, budget, most).bound == pytest.approx(-solved.fun, rel=1e-9)


def test_large_choices_are_certified():
    rng = np.random.default_rng(0)
    benefit, cost = rng.gamma(2.0, 30.0, (5_000, 6, 1)), rng.gamma(3.0, 20.0, (5_000, 1))
    found = choose_contacts(benefit, cost, 50_000.0, 3)
    assert 0 <= found.gap < 1e-4
    assert found.cost == pytest.approx(50_000.0, rel=1e-3)


def offers_of(price, leaflet, channel, *, base=100.0, unit_margin=2.0, regular=5.0, depth=0.2, funding=0.3):
    """One offer's money by the plan's own definition: units times what a unit earns, with or without the leaflet."""
    lift = np.exp(price * np.log1p(-depth) + (leaflet if channel == "mailer" else 0.0))
    uplift, cut = base * (lift - 1), depth * regular
    return {
        "store_cluster": "C1",
        "category": "Tea",
        "sku": "a",
        "period": pd.Timestamp("2024-01-01"),
        "channel": channel,
        "baseline_units": base,
        "uplift_units": uplift,
        "incremental_margin": uplift * (unit_margin - cut),
        "cannibalised": 0.25 * uplift * 1.5,
        "halo": 0.1 * uplift,
        "funding": funding * cut * (base + uplift),
        "subsidised": base * cut,
    }


def net_of(offer):
    return (
        offer["incremental_margin"]
        - offer["subsidised"]
        - offer["cannibalised"]
        + offer["halo"]
        + offer["funding"]
    )


def test_a_leaflet_is_worth_what_the_offer_nets_with_it_less_without_it():
    response = pd.DataFrame(
        [{"store_cluster": "C1", "category": "Tea", "term": "mailer", "estimate": 0.3, "low": 0.1}]
    )
    with_it, without = offers_of(-2.0, 0.3, "mailer"), offers_of(-2.0, 0.3, "shelf")
    worth = net_of(with_it) - net_of(without)
    counted = leaflet_values(pd.DataFrame([with_it]), response).iloc[0]
    assert counted["value"] == pytest.approx(worth, rel=1e-12)
    assert counted["in_plan"] == counted["value"]
    added = leaflet_values(pd.DataFrame([without]), response).iloc[0]
    assert added["value"] == pytest.approx(worth, rel=1e-12)
    assert added["in_plan"] == 0
    low = net_of(offers_of(-2.0, 0.1, "mailer")) - net_of(without)
    assert added["value_low"] == pytest.approx(low, rel=1e-12)


def some_trade(seed, n_cells=300):
    rng = np.random.default_rng(seed)
    cells = np.arange(1, n_cells + 1)
    trade = pd.DataFrame(
        {
            "cell": np.tile(cells, 3),
            "store_cluster": np.repeat(["C1", "C2", "C3"], n_cells),
            "demand": rng.gamma(0.5, 100.0, 3 * n_cells),
        }
    )
    weeks = pd.to_datetime(["2024-01-01", "2024-01-08", "2024-01-15", "2024-01-22"])
    values = pd.DataFrame(
        [(cluster, week, rng.gamma(2.0, 2_000.0)) for cluster in ("C1", "C2", "C3") for week in weeks[1:]],
        columns=["store_cluster", "period", "value"],
    )
    return values, trade, pd.Series(rng.gamma(1.0, 200.0, n_cells), index=cells)


@pytest.mark.parametrize("seed", range(3))
def test_money_of_the_leaflets_adds_up(seed):
    values, trade, doors = some_trade(seed)
    answers = pd.Series(np.random.default_rng(seed).uniform(0.5, 2.0, len(doors)), index=doors.index)
    found = target_hexagons(
        values, trade, doors, 0.05, budget=900.0, most=2, response=answers, excluded=[1, 2, 3]
    )
    parts = found.money.iloc[:-1]["amount"].sum()
    whole = values["value"].sum()
    assert parts == pytest.approx(whole, rel=1e-9)
    assert found.money["amount"].iloc[-1] == pytest.approx(whole, rel=1e-9)
    assert found.money["amount"].iloc[0] == pytest.approx(found.table["benefit"].sum(), rel=1e-9)
    assert found.table["cost"].sum() <= 900.0 + 1e-9
    assert found.cells["drops"].max() <= 2
    assert not found.table["cell"].isin([1, 2, 3]).any()
    assert (found.table["net"] > 0).all()
    assert found.certificate["gap"].iloc[0] < 0.01
    assert (found.cells["drops"] > 0).sum() == found.table["cell"].nunique()


def test_no_drop_where_none_pays_and_the_price_at_which_the_first_would():
    values, trade, doors = some_trade(5)
    none = target_hexagons(values, trade, doors, 1e6)
    assert none.table.empty and "No door drop pays" in none.summary()[0]
    just_above = target_hexagons(values, trade, doors, none.break_even * 1.0001)
    just_below = target_hexagons(values, trade, doors, none.break_even * 0.9999)
    assert just_above.table.empty and len(just_below.table) == 1


def test_customers_get_nothing_they_did_not_agree_to_and_no_more_than_the_cap():
    rng = np.random.default_rng(1)
    ids = [f"K{i:04d}" for i in range(500)]
    spend = pd.DataFrame({"customer_id": ids, "store_cluster": rng.choice(["C1", "C2"], 500)})
    spend["share"] = rng.gamma(0.5, 1.0, 500)
    spend["share"] /= spend["share"].sum()
    weeks = pd.date_range("2024-01-01", periods=5, freq="7D")
    values = pd.DataFrame(
        [(cluster, week, rng.gamma(2.0, 500.0)) for cluster in ("C1", "C2") for week in weeks],
        columns=["store_cluster", "period", "value"],
    )
    consent = {"mail": rng.choice(ids, 200, replace=False), "mobile": rng.choice(ids, 300, replace=False)}
    reached = pd.DataFrame({"customer_id": ids[:100], "period": weeks[0]})
    found = target_customers(
        values,
        spend,
        consent,
        {"mail": 0.7, "mobile": 0.05},
        budget=100.0,
        most=2,
        response={"mail": 2.0},
        reached=reached,
    )
    table = found.table
    assert len(table) > 50
    for channel, rows in table.groupby("channel"):
        assert set(rows["customer_id"]) <= set(consent[channel])
    assert table.groupby("customer_id").size().max() <= 2
    assert not table.duplicated(["customer_id", "period"]).any()
    assert table["cost"].sum() <= 100.0 + 1e-9
    assert (table["net"] > 0).all()
    already = set(zip(reached["customer_id"], reached["period"]))
    assert not already & set(zip(table["customer_id"], table["period"]))
    assert found.customers["customer_id"].tolist() == ids
    # whoever is left out as not worth a contact can bring no more than the cheapest contact they agreed to costs
    top = values.groupby("store_cluster")["value"].max()
    best = spend.set_index("customer_id").assign(v=lambda t: t["share"] * t["store_cluster"].map(top))["v"]
    left = found.customers.loc[found.customers["reason"] == "not worth a contact", "customer_id"]
    assert len(left) > 20
    mail = left.isin(consent["mail"])
    assert (best[left[mail]] * 2.0 <= 0.7 + 1e-12).all()
    assert (best[left[left.isin(consent["mobile"])]] <= 0.05 + 1e-12).all()


def test_rows_in_another_order_choose_the_same():
    values, trade, doors = some_trade(7)
    once = target_hexagons(values, trade, doors, 0.05, budget=500.0)
    shuffled = target_hexagons(
        values.sample(frac=1, random_state=1),
        trade.sample(frac=1, random_state=2),
        doors[::-1],
        0.05,
        budget=500.0,
    )
    pd.testing.assert_frame_equal(once.table, shuffled.table)
