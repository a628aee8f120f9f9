"""SKUs that nobody has sold yet, in a plan; and what its page says of gains that rest on forecasts."""

import dataclasses

import numpy as np
import pandas as pd
import pytest

from geomarket.errors import SettingsError
from geomarket.market import parse_settings
from geomarket.planning import run_plan
from geomarket.planning.clusters import describe_stores
from geomarket.planning.new_lines import add_new_skus
from geomarket.planning.steps import demand_families, find_demand
from geomarket.planning.trade import current_trade
from geomarket.report.page import render_report
from geomarket.report.pages import write_pages
from geomarket.report.sheets import plan_sheets
from geomarket.simulate import simulate_market

RULES = (
    '[assortment]\nsubstitution = 0.4\nmust_list = ["new3"]\n[demand]\nfamilies = ["baseline", "cluster"]\n'
)


@pytest.fixture(scope="module")
def market():
    made = simulate_market(n_customers=300, n_stores=12, n_skus=80, weeks=40, seed=3)
    # Twins of SKUs that sell, one much cheaper, and one nobody has priced.
    twins = made.products.iloc[[3, 20, 41, 7]].assign(sku=["new1", "new2", "new3", "new4"])
    twins["name"] = "New " + twins["name"]
    twins.loc[twins["sku"] == "new4", "price"] = np.nan
    products = pd.concat([made.products, twins], ignore_index=True)
    return dataclasses.replace(
        made, products=products, promotions=None, customers=None, baskets=None, contacts=None
    )


@pytest.fixture(scope="module")
def plan(market):
    return run_plan(market, parse_settings(f"{RULES}new_skus = true"))


def test_new_skus_are_forecast_from_attributes_and_said_to_be_unvalidated(plan):
    table = plan.demand.table
    mine = table[table["family"] == "attributes"]
    assert {"new1", "new2", "new3"} <= set(mine["sku"]) and "new4" not in set(mine["sku"])
    assert not set(mine["sku"]) & set(plan.demand.table.loc[plan.demand.table["listed"], "sku"])
    assert (mine["units"] > 0).all() and not mine["listed"].any()
    assert (mine["low"] <= mine["units"]).all() and (mine["units"] <= mine["high"]).all()
    said = " ".join(plan.warnings)
    assert f"{mine['sku'].nunique()} new SKUs are forecast from their attributes" in said
    assert "Forecasts of new SKUs are UNVALIDATED" in said
    assert "1 new SKUs lack a price, a cost or a category" in said


def test_a_must_list_nobody_sells_is_listed_with_a_reason_that_says_so(plan):
    lines = plan.ranges.table[plan.ranges.table["sku"] == "new3"]
    assert set(lines["status"]) == {"list"} and (lines["units"] > 0).all()
    assert lines["reason"].str.startswith("sold nowhere yet, forecast from its attributes; ").all()
    changes = plan.ranges.changes
    assert changes.loc[changes["sku"] == "new3", "reason"].str.contains("sold nowhere yet").all()


def test_every_prediction_has_mean_interval_family_and_transferable_share(plan):
    table = plan.demand.table
    assert table[["units", "low", "high", "family", "transferable_share"]].notna().all().all()
    assert table["transferable_share"].between(0, 0.4 + 1e-9).all()
    assert {"observed+shrunk", "attributes"} < set(table["family"])


def test_the_settings_name_skus_that_are_new_indeed(market, plan):
    trade = current_trade(market)
    sold = trade.products["sku"].iloc[0]
    for skus, said in ((f'["{sold}"]', "have sales and so are not new"), ('["nope"]', "are not in products")):
        settings = parse_settings(f"[demand]\nnew_skus = {skus}")
        with pytest.raises(SettingsError, match=said):
            add_new_skus(market, trade, plan.demand, [], None, settings)
    untouched = add_new_skus(market, trade, plan.demand, [], None, parse_settings(""))
    assert untouched[0] is plan.demand and untouched[1] is trade and untouched[2] == []


def test_a_sku_that_cannot_be_valued_stays_where_it_is(market):
    """A missing cost is no reason to delist what sells."""
    whole = current_trade(market)
    unknown = whole.products["sku"].iloc[[0, 3]].tolist()
    costless = market.products["cost"].mask(market.products["sku"].isin(unknown))
    trade = current_trade(dataclasses.replace(market, products=market.products.assign(cost=costless)))
    assert set(whole.products["sku"]) - set(trade.products["sku"]) == set(unknown)
    assert not set(unknown) & set(trade.today["sku"]) and not set(unknown) & set(trade.pairs["sku"])
    said = [note for note in trade.notes if "stay where they are" in note]
    assert f"2 SKUs ({', '.join(sorted(unknown))}) have no cost in products" in said[-1]
    nobody = current_trade(dataclasses.replace(market, products=market.products.assign(cost=np.nan)))
    assert len(nobody.products) == len(whole.products)


def test_all_families_and_their_blend_are_weighed_by_default(market, plan):
    settings = parse_settings("")
    trade = current_trade(market)
    features = describe_stores(trade, plan.hexes, plan.catchments, plan.neighbourhoods, settings)
    families = demand_families(market, trade, features, settings)
    names = ["cluster", "nearest by mix", "nearest by sales", "mix affinity", "low rank"]
    assert [family.name for family in families] == names
    demand = find_demand(trade, families, None, settings)
    assert {"baseline", *names, "blend"} <= set(demand.holdout["family"])
    assert set(demand.chosen["family"]) <= {"baseline", *names, "blend"}


def test_without_enough_new_listings_every_gain_on_the_page_is_called_unvalidated(plan):
    assert not plan.demand.validated
    page = render_report(plan)
    assert "Unvalidated" in page
    captions = ["Gain a year by number of store clusters (unvalidated)", "To list in C1 (unvalidated)"]
    assert [text for text in captions if text not in page] == []
    doubt = "Unvalidated: it rests on forecasts of products that stores don&#39;t list yet"
    assert page.count(doubt) >= 1
    sheets = {sheet.name: sheet.intro for sheet in plan_sheets(plan)}
    for name in ("Range by cluster", "Changes by store", "Frontier"):
        assert "Unvalidated: it rests on forecasts" in sheets[name], name
    assert "Unvalidated" not in sheets["Store clusters"]
    assert "unvalidated" in plan.frontier.verdict.sentence


def test_pages_for_stores_call_gains_unvalidated_too(plan, tmp_path):
    pages = {path.name: path.read_text(encoding="utf-8") for path in write_pages(plan, tmp_path / "pages")}
    assert "To list in C1 (unvalidated)" in pages["cluster-C1.html"]
    assert any("(unvalidated)" in text for name, text in pages.items() if name.startswith("store-"))


def test_with_a_learnt_discount_nothing_is_called_unvalidated(plan):
    sure = dataclasses.replace(plan, demand=dataclasses.replace(plan.demand, validated=True))
    page = render_report(sure)
    assert "(unvalidated)" not in page and "Unvalidated: it rests on forecasts of products" not in page
    assert all("Unvalidated" not in sheet.intro for sheet in plan_sheets(sure))
