"""The market `geomarket new` writes: the same every time, read without a finding, with something in it to find."""

from __future__ import annotations

import datetime as dt

import numpy as np
import pandas as pd
import pytest

from geomarket import engine
from geomarket.errors import SettingsError
from geomarket.market import load_market, quality_report, read_settings, write_template


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("new") / "example"
    write_template(folder)
    return folder


@pytest.fixture(scope="module")
def market(folder):
    return load_market(folder / "plan.toml", today=dt.date(2025, 1, 1))


def test_it_reads_without_a_finding(market, folder):
    report = quality_report(market, read_settings(folder / "plan.toml"))
    assert report.status == 0 and market.quarantine.empty
    assert set(market.quality["action"]) == {"read"}


def test_it_has_the_tables_it_should_have(market):
    assert len(market.stores) == 12 and len(market.products) == 40 and len(market.areas[0].frame) == 40
    assert market.products["category"].nunique() == 3 and len(engine.periods_of(market.sales)) == 36
    assert len(market.customers) == 300 and len(market.competitors) == 4 and len(market.promotions) > 50
    assert len(market.areas[0].variables) == 10
    assert market.stores["store_id"].is_unique and "(invented data)" in market.name


def test_it_is_the_same_every_time(folder, tmp_path):
    assert write_template(tmp_path) == tmp_path / "plan.toml"
    for path in sorted(folder.iterdir()):
        assert path.read_bytes() == (tmp_path / path.name).read_bytes(), path.name


def test_a_folder_with_something_in_it_is_left_alone(tmp_path):
    (tmp_path / "mine.txt").write_text("keep")
    with pytest.raises(SettingsError, match="not an empty folder"):
        write_template(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]
    with pytest.raises(SettingsError, match="not an empty folder"):
        write_template(tmp_path / "mine.txt")
    with pytest.raises(SettingsError, match="can't be written to"):
        write_template(tmp_path / "mine.txt" / "below")


def test_the_areas_cover_the_town_without_gap_or_overlap(market):
    shapes = market.areas[0].frame.to_crs("EPSG:6933").geometry
    assert shapes.area.sum() == pytest.approx(shapes.union_all().area, rel=1e-9)
    assert shapes.union_all().geom_type == "Polygon" and not shapes.union_all().interiors


def test_listing_follows_local_demand_but_not_in_every_case(market):
    sold = engine.store_sku_periods(market.sales)
    share = len(sold) / (12 * 40)
    assert 0.5 < share < 0.65
    assert sold.groupby("sku")["store_id"].nunique().between(1, 12).all()


def test_who_lives_around_a_store_moves_what_it_sells(market):
    """Noodle pots against family lasagne, in the centre against the suburbs: far beyond chance."""
    sold = engine.store_sku_periods(market.sales).merge(market.products[["sku", "subcategory"]], on="sku")
    quarter = market.stores.set_index("store_id")["name"].str.extract(r"(centre|suburb|village)")[0]
    sold["quarter"] = sold["store_id"].map(quarter)
    units = sold.pivot_table(index="quarter", columns="subcategory", values="units", aggfunc="sum")
    noodles, lasagne = units["noodle pot"], units["family lasagne"]
    ratio = (noodles["centre"] / lasagne["centre"]) / (noodles["suburb"] / lasagne["suburb"])
    error = np.sqrt(
        sum(1 / units.loc[q, kind] for q in ("centre", "suburb") for kind in ("noodle pot", "family lasagne"))
    )
    assert np.log(ratio) > 5 * error


def test_promotions_sell_more(market):
    sales = market.sales.to_pandas().assign(period=lambda f: pd.to_datetime(f["period"]))
    keys = market.promotions[["sku", "period", "depth"]]
    marked = sales.merge(keys, on=["sku", "period"], how="left")
    usual = (
        marked[marked["depth"].isna()]
        .groupby(["store_id", "sku"])["units"]
        .mean()
        .rename("usual")
        .reset_index()
    )
    cut = marked.dropna(subset=["depth"]).merge(usual, on=["store_id", "sku"])
    lift = cut.groupby("depth")["units"].sum() / cut.groupby("depth")["usual"].sum()
    assert lift.is_monotonic_increasing and lift.loc[0.1] > 1.2 and lift.loc[0.3] > 2


def test_near_stores_are_shopped_at_most(market):
    trips = engine.customer_store_trips(market.baskets)
    homes = market.customers.set_index("customer_id")[["lon", "lat"]]
    stores = market.stores.set_index("store_id")[["lon", "lat"]]
    gap = homes.loc[trips["customer_id"]].to_numpy() - stores.loc[trips["store_id"]].to_numpy()
    km = np.hypot(gap[:, 0] * 71.6, gap[:, 1] * 111.2)
    all_km = [
        np.hypot((h["lon"] - stores["lon"]) * 71.6, (h["lat"] - stores["lat"]) * 111.2).mean()
        for _, h in homes.iterrows()
    ]
    assert np.average(km, weights=trips["trips"]) < 0.6 * np.mean(all_km)
