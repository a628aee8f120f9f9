"""Bad keys, references, quantities and dates: set aside row by row, counted, listed."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from market_files import aside, changed, load, refused, rows_of, tables, with_rows, write_market

from geomarket.errors import SettingsError
from geomarket.market import read_settings, stop_reasons

# Keys and references


def test_duplicate_keys_keep_the_first(tmp_path):
    twice = {**tables()["stores"].iloc[0].to_dict(), "name": "Copy"}
    market = load(write_market(tmp_path, {"stores": with_rows("stores", twice)}))
    assert aside(market, "stores") == [(5, "store_id", "007", "is there already (the first row is used)")]
    assert market.stores["name"].tolist() == ["North", "East", "South", "West"]
    assert stop_reasons(market)[0].startswith("stores: 1 of 5 rows (20.0%)")


def test_duplicates_without_a_store_are_listed_too(tmp_path):
    chainwide = {"store_id": None, "sku": "01", "period": "2024-01-01", "depth": 0.2}
    market = load(write_market(tmp_path, {"promotions": pd.DataFrame([chainwide, chainwide])}))
    set_aside = market.quarantine[market.quarantine["table"] == "promotions"]
    assert set_aside["value"].tolist() == ["–, 01, 2024-01-01 00:00:00"]


def test_unknown_stores_and_skus_in_sales(tmp_path):
    new = {"period": "2024-01-01", "units": 1, "revenue": 2}
    sales = with_rows(
        "sales", {"store_id": "9102", "sku": "01", **new}, {"store_id": "007", "sku": "99", **new}
    )
    plan = write_market(tmp_path, {"sales": sales})
    market = load(plan)
    assert aside(market, "sales") == [
        (25, "store_id", "9102", "is not in stores"),
        (26, "sku", "99", "is not in products"),
    ]
    message = rows_of(market, "sales", "set aside")["message"].iloc[0]
    assert "sales: 1 of 26 rows" in message and "9102" in message and "Add them to stores" in message
    assert market.sales.units.sum().to_pyarrow().as_py() == 80
    strict = write_market(
        tmp_path, {"sales": sales}, extra='[quality]\non_unknown_store = "stop"\nmax_quarantine_share = 0.5\n'
    )
    reasons = stop_reasons(load(strict), read_settings(strict))
    assert len(reasons) == 1 and 'on_unknown_store = "stop"' in reasons[0]


def test_lost_leading_zeros_are_recognised(tmp_path):
    sales = tables()["sales"]
    sales.loc[0, "store_id"] = "7"
    market = load(write_market(tmp_path, {"sales": sales}))
    assert "leading zeros" in rows_of(market, "sales", "set aside")["message"].iloc[0]
    sales["store_id"] = sales["store_id"].str.lstrip("0").replace("10", "11")
    assert "leading zeros" in refused(write_market(tmp_path, {"sales": sales}))


def test_trade_of_a_store_that_was_set_aside_says_so(tmp_path):
    market = load(write_market(tmp_path, {"stores": changed("stores", 3, lat="")}))
    assert {row[3] for row in aside(market, "sales")} == {"was set aside in stores"}
    assert rows_of(market, "sales", "set aside")["rows"].tolist() == [6]


def test_what_is_said_of_a_store_that_was_set_aside_is_told_from_the_unknown(tmp_path):
    promotions = pd.DataFrame(
        {"store_id": ["010", "011"], "sku": ["01", "02"], "period": ["2024-01-01"] * 2, "depth": [0.1, 0.1]}
    )
    market = load(write_market(tmp_path, {"stores": changed("stores", 3, lat=""), "promotions": promotions}))
    assert [row[2:] for row in aside(market, "promotions")] == [
        ("010", "was set aside in stores"),
        ("011", "is not in stores"),
    ]


def test_na_is_a_fine_identifier_but_no_number(tmp_path):
    """Namibia has shops, too."""
    stores = changed("stores", 0, store_id="NA", name="None", size_m2="NA")
    sales = tables()["sales"].replace({"store_id": {"007": "NA"}})
    market = load(write_market(tmp_path, {"stores": stores, "sales": sales}))
    first = market.stores.set_index("store_id").loc["NA"]
    assert first["name"] == "None" and np.isnan(first["size_m2"])
    assert market.quarantine.empty and market.sales.count().to_pyarrow().as_py() == 24


def test_the_order_of_rows_means_nothing(tmp_path):
    backwards = {name: tables()[name].iloc[::-1] for name in ("stores", "products", "sales")}
    one = load(write_market(tmp_path, {}))
    other = load(write_market(tmp_path, backwards))
    for name in ("stores", "products"):
        assert backwards[name].iloc[0, 0] != tables()[name].iloc[0, 0]
        pd.testing.assert_frame_equal(getattr(one, name), getattr(other, name))


def test_a_price_no_sum_can_hold_is_none(tmp_path):
    market = load(write_market(tmp_path, {"products": changed("products", 0, cost="1e40", price="2e9")}))
    assert market.products.loc[0, ["price", "cost"]].isna().all() and len(market.products) == 3
    said = rows_of(market, "products", "set to missing").set_index("column")["message"]
    assert "at most 1,000,000,000" in said["price"] and "to 1,000,000,000" in said["cost"]


def test_a_competitor_that_is_an_own_store(tmp_path):
    rivals = tables()["stores"].assign(store_id=["007", "K1", "K2", "K3"])
    market = load(write_market(tmp_path, {"competitors": rivals}))
    assert aside(market, "competitors")[0][3] == "is also one of the own stores"
    assert market.competitors["store_id"].tolist() == ["K1", "K2", "K3"]


def test_a_promotion_in_an_unknown_store_is_not_one_in_every_store(tmp_path):
    promotions = pd.DataFrame(
        {"store_id": ["x", "007"], "sku": ["01", "02"], "period": ["2024-01-01"] * 2, "depth": [0.1, 0.1]}
    )
    market = load(write_market(tmp_path, {"promotions": promotions}))
    assert market.promotions["store_id"].tolist() == ["007"]
    assert aside(market, "promotions")[0][1:] == ("store_id", "x", "is not in stores")


# Quantities and money


def test_returns_are_netted_and_counted(tmp_path):
    back = {"store_id": "007", "sku": "01", "period": "2024-01-01", "units": -2, "revenue": -4}
    market = load(write_market(tmp_path, {"sales": with_rows("sales", back)}))
    row = market.sales.filter(market.sales.store_id == "007").order_by("sku", "period").to_pandas().iloc[0]
    assert row["units"] == 1 and float(row["revenue"]) == 2.0
    assert rows_of(market, "sales", "netted")["rows"].tolist() == [1]
    assert market.sales.count().to_pyarrow().as_py() == 24 and market.quarantine.empty


def test_more_returned_than_sold_is_set_aside(tmp_path):
    back = {"store_id": "007", "sku": "01", "period": "2024-01-01", "units": -5, "revenue": -10}
    market = load(write_market(tmp_path, {"sales": with_rows("sales", back)}))
    assert market.quarantine["row"].isna().all()
    assert aside(market, "sales")[0][2:] == (
        "007, 01, 2024-01-01: -2",
        "more returned than sold in the period",
    )
    assert rows_of(market, "sales", "set aside")["rows"].tolist() == [2]
    assert market.sales.count().to_pyarrow().as_py() == 23


def test_what_cancels_out_is_no_trade(tmp_path):
    back = {"store_id": "007", "sku": "01", "period": "2024-01-01", "units": -3, "revenue": -6}
    market = load(write_market(tmp_path, {"sales": with_rows("sales", back)}))
    assert market.sales.count().to_pyarrow().as_py() == 23 and market.quarantine.empty
    assert rows_of(market, "sales", "left out")["rows"].tolist() == [2]


def test_zero_prices_in_sales(tmp_path):
    sales = changed("sales", 0, revenue=0)
    market = load(write_market(tmp_path, {"sales": sales}))
    assert aside(market, "sales") == [(1, "revenue", "3, 0.00", "units without revenue (zero price)")]
    kept = load(write_market(tmp_path, {"sales": sales}, extra='[quality]\non_zero_price = "keep"\n'))
    assert kept.quarantine.empty and kept.sales.units.sum().to_pyarrow().as_py() == 80


def test_units_and_revenue_that_contradict_each_other(tmp_path):
    sales = tables()["sales"]
    sales.loc[0, "revenue"] = -6
    sales.loc[1, "units"] = 0
    market = load(write_market(tmp_path, {"sales": sales}))
    assert {row[3] for row in aside(market, "sales")} == {
        "units and revenue have opposite signs",
        "revenue without units",
    }


def test_several_rows_of_a_key_are_added_up_and_said(tmp_path):
    again = tables()["sales"].iloc[0].to_dict()
    market = load(write_market(tmp_path, {"sales": with_rows("sales", again)}))
    assert market.sales.units.sum().to_pyarrow().as_py() == 83
    message = rows_of(market, "sales", "added up")["message"].iloc[0]
    assert "2 of 25 rows" in message and "loaded twice" in message


def test_rows_without_trade_are_left_out(tmp_path):
    idle = {"store_id": "007", "sku": "01", "period": "2024-01-15", "units": 0, "revenue": 0}
    market = load(write_market(tmp_path, {"sales": with_rows("sales", idle)}))
    assert rows_of(market, "sales", "left out")["rows"].tolist() == [1] and market.quarantine.empty


# Dates


def test_dates_out_of_range(tmp_path):
    sales = tables()["sales"]
    sales.loc[0, "period"] = "1889-12-31"
    sales.loc[1, "period"] = "2031-01-01"
    sales.loc[2, "period"] = "2024-02-30"
    market = load(write_market(tmp_path, {"sales": sales}))
    assert [(row[0], row[2], row[3]) for row in aside(market, "sales")] == [
        (3, "2024-02-30", "not a date"),
        (1, "1889-12-31", "before 1990-01-01"),
        (2, "2031-01-01", "after 2024-06-01 (in the future)"),
    ]


@pytest.mark.parametrize("day", ["9999-12-31", "0001-01-01", "-124-01-01", "1500-06-15"])
def test_dates_no_frame_can_hold(tmp_path, day):
    promotions = pd.DataFrame({"sku": ["01", "02"], "period": ["2024-01-01", day], "depth": 0.1})
    frames = {"promotions": promotions, "sales": changed("sales", 3, period=day)}
    market = load(write_market(tmp_path, frames))
    for table, row in (("promotions", 2), ("sales", 4)):
        found = aside(market, table)
        assert [(found[0][0], found[0][1], found[0][2])] == [(row, "period", day)] and len(found) == 1
    assert len(market.promotions) == 1 and market.sales.count().to_pyarrow().as_py() == 23


def test_dates_outside_the_window_are_left_out_not_set_aside(tmp_path):
    market = load(write_market(tmp_path, extra="start = 2024-01-08\n"))
    assert market.quarantine.empty and market.sales.count().to_pyarrow().as_py() == 12
    left = rows_of(market, "sales", "left out")
    assert left["rows"].tolist() == [12] and "2024-01-08" in left["message"].iloc[0]


def test_dates_in_another_format(tmp_path):
    sales = tables()["sales"].assign(period=lambda f: pd.to_datetime(f["period"]).dt.strftime("%d/%m/%Y"))
    found = refused(write_market(tmp_path, {"sales": sales}))
    assert "sales: period: 24 of 24 values are not a date" in found and "date_format" in found
    market = load(write_market(tmp_path, {"sales": sales}, sections={"sales": {"date_format": "%d/%m/%Y"}}))
    assert market.sales.period.max().to_pyarrow().as_py() == dt.date(2024, 1, 8)
    wrong = write_market(tmp_path, {"sales": sales}, sections={"sales": {"date_format": "%Q"}})
    assert "date_format = '%Q' can't be used" in refused(wrong, SettingsError)


def test_mixed_time_zones(tmp_path):
    sales = tables()["sales"].assign(period=lambda f: f["period"] + "T12:00:00+01:00")
    sales.loc[0, "period"] = "2023-12-31T23:30:00Z"
    found = refused(write_market(tmp_path, {"sales": sales}))
    assert "sales: period mixes time zones (+01:00, Z)" in found and "timezone" in found
    plan = write_market(tmp_path, {"sales": sales}, sections={"sales": {"timezone": "Europe/Berlin"}})
    # Half past eleven in the evening in UTC is the next day, and week, in Berlin.
    assert load(plan).sales.period.min().to_pyarrow().as_py() == dt.date(2024, 1, 1)
    plan = write_market(tmp_path, {"sales": sales}, sections={"sales": {"timezone": "UTC"}})
    assert load(plan).sales.period.min().to_pyarrow().as_py() == dt.date(2023, 12, 25)


def test_times_of_parquet_are_cut_into_days_where_the_plan_says(tmp_path):
    stamps = pd.to_datetime(tables()["sales"]["period"]).dt.tz_localize("Europe/Berlin")
    tables()["sales"].assign(period=stamps).to_parquet(tmp_path / "s.parquet")
    utc = load(write_market(tmp_path, sections={"sales": {"path": "s.parquet"}}))
    # Midnight in Berlin is still the day, and week, before in UTC: allowed, but said.
    assert utc.sales.period.min().to_pyarrow().as_py() == dt.date(2023, 12, 25)
    assert "is in UTC" in " ".join(rows_of(utc, "sales", "kept")["message"])
    keys = {"path": "s.parquet", "timezone": "Europe/Berlin"}
    local = load(write_market(tmp_path, sections={"sales": keys}))
    assert local.sales.period.min().to_pyarrow().as_py() == dt.date(2024, 1, 1)
    assert rows_of(local, "sales", "kept").empty


def test_daily_data_that_end_within_a_week_say_so(tmp_path):
    market = load(write_market(tmp_path, {"sales": changed("sales", 0, period="2024-01-10")}))
    assert "the last week ends on 2024-01-10" in " ".join(rows_of(market, "sales", "kept")["message"])


def test_weeks_dated_by_their_sunday_say_so(tmp_path):
    sales = tables()["sales"].assign(
        period=lambda f: f["period"].replace({"2024-01-01": "2024-01-07", "2024-01-08": "2024-01-14"})
    )
    market = load(write_market(tmp_path, {"sales": sales}))
    assert "dated by their Sunday" in " ".join(rows_of(market, "sales", "kept")["message"])
    assert market.sales.period.min().to_pyarrow().as_py() == dt.date(2024, 1, 1)


def test_large_tables_netted_in_parts_on_disk_are_the_same(tmp_path, monkeypatch):
    new = {"period": "2024-01-01", "sku": "01", "revenue": 2}
    odd = [
        {"store_id": "007", "units": 1, **new},
        {"store_id": "007", "units": -400, **new, "revenue": -900},
        {"store_id": "10", "units": -3, **new, "period": "2024-03-04", "revenue": -4},
        {"store_id": "nowhere", "units": 1, **new},
    ]
    plan = write_market(tmp_path, {"sales": with_rows("sales", *odd)})
    whole = load(plan)
    monkeypatch.setattr("geomarket.market.scratch.LARGE", 1)
    monkeypatch.setattr("geomarket.market.scratch.PART", 10)
    parts = load(plan)
    assert len(aside(whole, "sales")) >= 3
    for name in ("quality", "quarantine"):
        pd.testing.assert_frame_equal(getattr(parts, name), getattr(whole, name))
    one, other = (market.sales.to_pyarrow() for market in (whole, parts))
    assert one.equals(other) and one.num_rows > 0
    spill = parts.sales.get_backend().con.execute("SELECT current_setting('temp_directory')").fetchone()[0]
    assert sorted(path.name for path in Path(spill).iterdir()) == ["tables.duckdb", "tables.duckdb.wal"]
