"""What whole-relationship customers may take with them, worked out again customer by customer."""

import pandas as pd
import pytest

from geomarket import engine
from geomarket.customers import relationship_value
from geomarket.market import parse_settings
from geomarket.planning.relationship import money_at_stake
from geomarket.simulate import simulate_market


@pytest.fixture(scope="module")
def market():
    return simulate_market(n_customers=800, n_stores=6, n_skus=60, weeks=26, seed=4)


def settings(risk):
    return parse_settings(f"[customers]\nrelationship_risk = {risk}\n")


def test_the_money_is_the_share_at_risk_of_what_the_flagged_bring(market):
    stakes, words = money_at_stake(market, settings(0.1))
    flags = relationship_value(engine.customer_category(market.baskets, market.products), "margin").flags
    lines = market.baskets.to_pandas()
    lines["revenue"] = lines["revenue"].astype(float)
    weeks = ((pd.to_datetime(lines["date"]).max() - pd.to_datetime(lines["date"]).min()).days + 1) / 7
    bought = lines.merge(market.products[["sku", "category"]], on="sku").merge(
        flags, on=["customer_id", "category"]
    )
    one = bought.groupby(["customer_id", "category", "store_id", "sku"], as_index=False)["revenue"].sum()
    reached = one[one["revenue"] > 0][["customer_id", "category"]].drop_duplicates().merge(flags)
    expected = 0.1 * reached.loc[reached["overall"] > 0, "overall"].sum() / weeks
    assert len(flags) > 50
    assert stakes["money"].sum() == pytest.approx(expected, rel=1e-9)
    assert (stakes["money"] >= 0).all()
    assert not stakes.duplicated(["store_id", "sku"]).any()
    assert "10%" in words[0]


def test_nothing_is_at_stake_where_it_is_switched_off_or_unknown(market):
    import dataclasses

    assert money_at_stake(market, settings(0.0)) == (None, [])
    assert money_at_stake(dataclasses.replace(market, baskets=None), settings(0.1)) == (None, [])
    unpriced = dataclasses.replace(market, products=market.products.assign(cost=float("nan")))
    assert money_at_stake(unpriced, settings(0.1)) == (None, [])
