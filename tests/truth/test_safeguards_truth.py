"""The attacker against a second opinion, and suppression against the attacker."""

import numpy as np
import pandas as pd
import pytest
from scipy.optimize import linprog

from geomarket.safeguards import Relation, attack, audit_tables, exposure_ratio, suppress


def two_way(seed, shape=(6, 5), scale=8.0):
    rng = np.random.default_rng(seed)
    index = pd.MultiIndex.from_product(
        [[f"T{i}" for i in range(shape[0])], [f"S{j}" for j in range(shape[1])]], names=["type", "store_id"]
    )
    table = index.to_frame(index=False)
    return table.assign(customers=rng.poisson(rng.gamma(1.0, scale, len(table))))


def published_tables(hidden):
    return {
        "cross": hidden.table,
        "types": hidden.totals[("type",)],
        "stores": hidden.totals[("store_id",)],
        "total": hidden.totals[()],
    }


KEYS = {"cross": ["type", "store_id"], "types": ["type"], "stores": ["store_id"], "total": []}
MARGINS = [("type",), ("store_id",), ()]


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("capped", [False, True])
def test_bounds_equal_those_of_another_solver(seed, capped):
    rng = np.random.default_rng(seed)
    values = rng.poisson(6, (4, 5)).astype(float)
    hidden = rng.random((4, 5)) < 0.5
    rows, columns = np.divmod(np.arange(20), 5)
    published = [np.where(hidden, np.nan, values).ravel(), values.sum(axis=1), values.sum(axis=0)]
    relations = [Relation(1, 0, rows), Relation(2, 0, columns)]
    caps = values.ravel() + rng.integers(0, 6, 20) if capped else np.full(20, np.inf)
    bounds = attack(published, relations, 1e9, [caps, np.full(4, np.inf), np.full(5, np.inf)])
    matrix = np.vstack([rows == i for i in range(4)] + [columns == j for j in range(5)]).astype(float)
    unknown = np.flatnonzero(hidden.ravel())
    shown = np.nan_to_num(published[0])
    right = np.concatenate([published[1], published[2]]) - matrix @ shown
    for i, j in enumerate(unknown):
        cost = np.zeros(len(unknown))
        cost[i] = 1
        box = [(0, c) for c in caps[unknown]]
        low = linprog(cost, A_eq=matrix[:, unknown], b_eq=right, bounds=box).fun
        high = -linprog(-cost, A_eq=matrix[:, unknown], b_eq=right, bounds=box).fun
        assert bounds.low[0][j] == pytest.approx(low, abs=1e-6)
        assert bounds.high[0][j] == pytest.approx(high, abs=1e-6)
    assert np.isnan(bounds.low[0][~hidden.ravel()]).all()


def test_counts_in_the_same_sums_share_their_bounds():
    # 105 heavy among customers of 12 and 100: the second cell has at least 93 of them
    heavy, total = np.array([np.nan, np.nan, 40.0]), np.array([145.0])
    relation = Relation(1, 0, np.zeros(3, dtype=np.intp))
    free = attack([heavy, total], [relation], 10)
    assert (free.low[0][:2].tolist(), free.high[0][:2].tolist()) == ([0.0, 0.0], [105.0, 105.0])
    capped = attack([heavy, total], [relation], 10, [np.array([12.0, 100.0, 60.0]), np.array([np.inf])])
    assert (capped.low[0][:2].tolist(), capped.high[0][:2].tolist()) == ([5.0, 93.0], [12.0, 100.0])
    assert capped.exposed(10)[0].tolist() == [True, True, False]


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("scale", [4.0, 25.0])
def test_no_hidden_count_of_a_two_way_table_is_pinned(seed, scale):
    table = two_way(seed, scale=scale)
    hidden = suppress(table, "customers", k=10, margins=MARGINS)
    audit = audit_tables(published_tables(hidden), KEYS, k=10)
    assert audit.passed, audit.table
    # all that is published is true
    assert (hidden.table["customers"].dropna() == table["customers"][hidden.table["customers"].notna()]).all()
    for margin in MARGINS:
        truth = (
            table.groupby(list(margin))["customers"].sum().to_numpy()
            if margin
            else [table["customers"].sum()]
        )
        shown = hidden.totals[margin]["customers"].to_numpy()
        known = ~np.isnan(shown)
        assert (shown[known] == np.asarray(truth)[known]).all()


def test_the_attacker_breaks_weaker_suppression():
    small_alone, rows_only = 0, 0
    for seed in range(8):
        table = two_way(seed, scale=25.0)
        totals = {
            "types": table.groupby("type", as_index=False)["customers"].sum(),
            "stores": table.groupby("store_id", as_index=False)["customers"].sum(),
        }
        keys = {name: KEYS[name] for name in ("cross", "types", "stores")}
        primary = table.assign(
            customers=table["customers"].astype(float).mask(table["customers"].between(1, 9))
        )
        small_alone += (audit_tables({"cross": primary, **totals}, keys).table["problem"] == "pinned").any()
        one = suppress(table, "customers", k=10, margins=[("type",)]).table
        rows_only += (audit_tables({"cross": one, **totals}, keys).table["problem"] == "pinned").any()
    assert small_alone >= 6
    assert rows_only >= 4


@pytest.mark.parametrize("seed", range(6))
def test_nested_levels_are_safe_together(seed):
    rng = np.random.default_rng(seed)
    table = pd.DataFrame(
        {"cell": np.arange(60), "parent": np.arange(60) // 6, "type": np.arange(60) // 6 % 3}
    )
    table["customers"] = rng.poisson(rng.gamma(0.5, 8, 60))
    hidden = suppress(table, "customers", k=10, margins=[("parent",), ("type",), ()])
    tables = {
        "cells": hidden.table,
        "parents": hidden.totals[("parent",)],
        "types": hidden.totals[("type",)],
        "total": hidden.totals[()],
    }
    keys = {"cells": ["cell"], "parents": ["parent"], "types": ["type"], "total": []}
    audit = audit_tables(tables, keys, k=10)
    assert audit.passed, audit.table


def offers(seed, ratio, n=500):
    rng = np.random.default_rng(seed)
    poverty = rng.normal(size=n)
    rank = poverty.argsort().argsort() / n
    level = np.where(rank >= 0.8, ratio, 1.0)
    return pd.DataFrame(
        {"skus": 100 * level * rng.lognormal(0, 0.3, n), "poverty": poverty, "people": rng.gamma(2, 500, n)}
    )


def test_unequal_offers_are_detected_and_equal_ones_pass():
    unequal = [
        exposure_ratio(offers(s, 0.6), "skus", "poverty", "people", n_bootstrap=200).verdict
        for s in range(40)
    ]
    equal = [
        exposure_ratio(offers(s, 1.0), "skus", "poverty", "people", n_bootstrap=200).verdict
        for s in range(40)
    ]
    assert unequal.count("unequal") >= 38
    assert equal.count("unequal") == 0
    assert equal.count("equal") >= 38


def test_the_interval_of_the_ratio_covers():
    covered = []
    for seed in range(150):
        found = exposure_ratio(
            offers(seed, 0.9), "skus", "poverty", "people", n_bootstrap=150, random_state=seed
        )
        covered.append(found.low <= 0.9 <= found.high)
    # 3 standard errors of 150 draws are 0.073; fifths of people differ a little from the fifths planted
    assert 0.80 <= np.mean(covered) <= 0.98
