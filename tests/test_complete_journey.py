"""The grocer's panel: a small folder made here, and the real one where it is there."""

import pandas as pd
import pytest

from geomarket import engine
from geomarket.datasets import load_complete_journey
from geomarket.datasets.complete_journey import FILES, week_start
from geomarket.errors import MissingDataError


@pytest.fixture
def folder(tmp_path):
    home = tmp_path / "completejourney"
    home.mkdir()
    lines = [
        # household, store, basket, product, quantity, money, time
        (1, 7, 10, 100, 2, 150.0, "2017-01-03 12:00:00"),
        (1, 7, 10, 101, 0, 0.0, "2017-01-03 12:00:00"),
        (2, 8, 11, 100, 1, 4.0, "2017-01-03 04:30:00"),  # half past eleven the evening before, at the shop
        (3, 8, 12, 102, 9_000, 25.0, "2017-01-04 12:00:00"),
        (2, 7, 13, 999, 1, 2.0, "2017-01-09 12:00:00"),
    ]
    columns = ["household_id", "store_id", "basket_id", "product_id", "quantity", "sales_value"]
    frame = pd.DataFrame([line[:-1] for line in lines], columns=columns)
    frame["transaction_timestamp"] = pd.to_datetime([line[-1] for line in lines])
    frame["week"] = [2, 2, 2, 2, 3]
    for column in ("retail_disc", "coupon_disc", "coupon_match_disc"):
        frame[column] = 0.25
    products = pd.DataFrame(
        {
            "product_id": [100, 101, 102],
            "manufacturer_id": [1, 1, 2],
            "department": ["GROCERY", "PRODUCE", "FUEL"],
            "brand": ["National", "Private", "National"],
            "product_category": ["TEA", None, "FUEL"],
            "product_type": ["TEA BAGS", None, "GASOLINE"],
            "package_size": ["40 CT", None, None],
        }
    )
    demographics = pd.DataFrame({"household_id": [2], "age": ["45-54"]})
    campaigns = pd.DataFrame({"campaign_id": [5, 5], "household_id": [2, 1]})
    described = pd.DataFrame(
        {
            "campaign_id": [5],
            "campaign_type": ["Type A"],
            "start_date": pd.to_datetime(["2017-01-01"]),
            "end_date": pd.to_datetime(["2017-02-01"]),
        }
    )
    coupons = pd.DataFrame({"coupon_upc": [1, 1], "product_id": [100, 100], "campaign_id": [5, 5]})
    redeemed = pd.DataFrame(
        {
            "household_id": [2],
            "coupon_upc": [1],
            "campaign_id": [5],
            "redemption_date": pd.to_datetime(["2017-01-09"]),
        }
    )
    frames = (frame, products, demographics, campaigns, described, coupons, redeemed)
    for name, part in zip(FILES, frames):
        part.to_parquet(home / f"{name}.parquet")
    return tmp_path


def test_lines_that_are_no_goods_are_set_aside_and_counted(folder):
    panel = load_complete_journey(folder)
    lines = panel.baskets.to_pandas()
    assert sorted(lines["units"]) == [1, 1, 2]
    assert float(lines["revenue"].sum()) == 156.0
    counted = panel.quality.set_index("check")["rows"]
    assert counted["quantity 0"] == 1
    assert counted["quantity above 1,000"] == 1
    assert "25 dollars" in panel.quality.set_index("check")["message"]["quantity above 1,000"]
    assert counted["product not in the product list"] == 1
    assert counted["repeated row"] == 1


def test_dates_are_those_of_the_shop_and_agree_with_its_weeks(folder):
    lines = load_complete_journey(folder).lines.to_pandas()
    assert str(pd.Timestamp(lines.loc[lines["basket_id"] == 11, "date"].iloc[0]).date()) == "2017-01-02"
    monday = week_start(lines["week"])
    days = (pd.to_datetime(lines["date"]) - monday).dt.days
    assert days.between(0, 6).all()


def test_households_without_goods_and_without_answers_stay(folder):
    panel = load_complete_journey(folder)
    assert panel.customers["customer_id"].tolist() == ["1", "2", "3"]
    assert panel.customers["age"].isna().tolist() == [True, False, True]
    assert panel.products["category"].tolist() == ["Tea", "Produce", "Fuel"]
    assert panel.stores.set_index("store_id")["small"].to_dict() == {"7": False, "8": True}


def test_campaigns_say_whom_they_reached_and_who_redeemed(folder):
    table = load_complete_journey(folder).table
    assert table[["contacts", "redeemers"]].values.tolist() == [[2, 1]]


def test_the_engine_reads_the_baskets(folder):
    panel = load_complete_journey(folder)
    totals = engine.customer_totals(panel.baskets, panel.products)
    assert totals.set_index("customer_id")["trips"].to_dict() == {"1": 1, "2": 2}
    assert totals["margin"].isna().all()


def test_a_folder_without_the_files_says_what_is_missing(tmp_path, monkeypatch):
    (tmp_path / "completejourney").mkdir()
    with pytest.raises(MissingDataError, match=r"transactions\.parquet"):
        load_complete_journey(tmp_path)
    monkeypatch.delenv("GEOMARKET_DATA", raising=False)
    with pytest.raises(MissingDataError, match="not set"):
        load_complete_journey()


@pytest.mark.real
def test_the_real_panel_is_cleaned_as_its_readme_counts(data_home):
    panel = load_complete_journey(data_home)
    assert len(panel.customers) == 2469
    assert int(panel.customers["age"].notna().sum()) == 801
    counted = panel.quality.set_index("check")["rows"]
    assert counted["quantity 0"] == 8869
    assert counted["quantity above 1,000"] == 13494
    # the year's revenue of goods, the same in both shapes
    total = panel.baskets.aggregate(panel.baskets.revenue.sum().cast("float64")).to_pandas().iloc[0, 0]
    assert total == pytest.approx(panel.stores["revenue"].sum())
    assert 4.0e6 < total < 4.6e6
    assert set(panel.redemptions["customer_id"]) <= set(panel.contacts["customer_id"])
