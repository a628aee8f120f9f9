"""Choice-based ranges as frames, and substitution matrices cut to pairs."""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
import pytest

from geomarket.assortment import strongest_substitutes
from geomarket.assortment.choice_plan import ChoicePlan, plan_choice_ranges
from geomarket.errors import InfeasibleError, TableError

TYPES, SKUS = ["A1", "B2", "C3"], [f"k{i}" for i in range(8)]


def tables(seed: int = 0) -> dict[str, pd.DataFrame]:
    rng = np.random.default_rng(seed)
    attraction = pd.DataFrame(list(itertools.product(TYPES, SKUS)), columns=["neighbourhood", "sku"])
    attraction["attraction"] = rng.lognormal(0.5, 1.2, len(attraction))
    customers = pd.DataFrame(
        list(itertools.product(["C1", "C2"], TYPES)), columns=["store_cluster", "neighbourhood"]
    )
    customers = customers.assign(category="tea", customers=rng.uniform(10, 200, 6))
    cost = rng.uniform(1, 3, 8)
    products = pd.DataFrame(
        {"sku": SKUS, "name": SKUS, "category": "tea", "price": cost + rng.uniform(0.5, 4, 8), "cost": cost}
    )
    spaces = pd.DataFrame({"store_cluster": ["C1", "C2"], "category": "tea", "capacity": [4, 5]})
    return {"attraction": attraction, "customers": customers, "products": products, "spaces": spaces}


def sold(given: dict[str, pd.DataFrame], cluster: str, listed: set[str]) -> pd.Series:
    """Units by SKU, worked out type by type."""
    units = pd.Series(0.0, index=sorted(listed))
    for row in given["customers"][given["customers"]["store_cluster"] == cluster].itertuples():
        mine = given["attraction"][given["attraction"]["neighbourhood"] == row.neighbourhood]
        v = mine.set_index("sku")["attraction"].loc[sorted(listed)]
        units += row.customers * v / (1 + v.sum())
    return units


@pytest.fixture(scope="module")
def plan() -> ChoicePlan:
    return plan_choice_ranges(**tables())


def test_each_range_is_the_best_of_all(plan: ChoicePlan) -> None:
    given = tables()
    margin = given["products"].set_index("sku").eval("price - cost")
    for cluster, capacity in (("C1", 4), ("C2", 5)):
        values = {
            frozenset(range_): float((sold(given, cluster, set(range_)) * margin.loc[sorted(range_)]).sum())
            for n in range(1, capacity + 1)
            for range_ in itertools.combinations(SKUS, n)
        }
        mine = plan.table[plan.table["store_cluster"] == cluster]
        assert values[frozenset(mine["sku"])] == pytest.approx(max(values.values()), rel=1e-4)
        assert mine.set_index("sku")["units"].sort_index().to_numpy() == pytest.approx(
            sold(given, cluster, set(mine["sku"])).to_numpy()
        )
    assert plan.solver["value"].to_numpy() == pytest.approx(
        plan.table.groupby("store_cluster")["margin"].sum().to_numpy()
    )
    assert (plan.solver["status"] == "optimal").all()
    assert (plan.solver["revenue_ordered"] <= plan.solver["value"] + 1e-9).all()


def test_reasons_name_the_main_buyers(plan: ChoicePlan) -> None:
    line = plan.table.iloc[0]
    assert line["main_buyers"] in TYPES
    assert f"{line['main_share']:.0%} of its buyers live in {line['main_buyers']}" in line["reason"]
    assert "ranges are expected to earn" in plan.summary()[0]
    assert len(plan.plot().patches) == 4


def test_lists_costs_and_mistakes() -> None:
    given = tables()
    listed = plan_choice_ranges(**given, must_list={"C1": ["k0"]}, must_not=["k1"]).table
    assert "k0" in set(listed.loc[listed["store_cluster"] == "C1", "sku"])
    assert "k1" not in set(listed["sku"])
    assert len(plan_choice_ranges(**given, listing_cost=300.0).table) < len(plan_choice_ranges(**given).table)
    with pytest.raises(InfeasibleError, match="must-list takes 8"):
        plan_choice_ranges(**given, must_list=SKUS)
    with pytest.raises(TableError, match="customers: no column neighbourhood"):
        plan_choice_ranges(**{**given, "customers": given["customers"].drop(columns="neighbourhood")})
    with pytest.raises(TableError, match="1 SKUs are not in products"):
        plan_choice_ranges(**given, must_list=["new"])


def test_strongest_substitutes_keep_the_total_or_lose_the_rest() -> None:
    rng = np.random.default_rng(0)
    matrix = rng.random((9, 9))
    np.fill_diagonal(matrix, 0)
    matrix = 0.7 * matrix / matrix.sum(axis=1, keepdims=True)
    skus = [f"k{i}" for i in range(9)]
    pairs = strongest_substitutes(matrix, skus, most=3)
    assert pairs.groupby("sku").size().eq(3).all()
    assert pairs.groupby("sku")["share"].sum().to_numpy() == pytest.approx(np.full(9, 0.7))
    first = pairs[pairs["sku"] == "k0"].sort_values("share")["substitute"].tolist()
    assert first == [skus[j] for j in np.argsort(matrix[0])[-3:]]
    lossy = strongest_substitutes(matrix, skus, most=3, keep_total=False)
    assert (lossy["share"] < pairs["share"]).all()
    every = strongest_substitutes(matrix, skus, most=20)
    assert every["share"].sum() == pytest.approx(matrix.sum())
    with pytest.raises(TableError, match="add up to at most 1"):
        strongest_substitutes(2 * matrix, skus)
    with pytest.raises(TableError, match="one row each"):
        strongest_substitutes(matrix, skus[:3])
