"""Reading a market: what is good comes through as it is; when a plan stops."""

from __future__ import annotations

import datetime as dt
import random

import geopandas as gpd
import numpy as np
import pandas as pd
from hypothesis import given, settings
from hypothesis import strategies as st
from market_files import areas, aside, changed, load, refused, rows_of, tables, write_market

from geomarket.errors import GeomarketError, SettingsError
from geomarket.market import check_plan, quality_report, read_settings, stop_reasons

# What is good


def test_a_good_market_comes_through(tmp_path):
    market = load(write_market(tmp_path))
    assert market.stores["store_id"].tolist() == ["007", "008", "009", "010"]
    assert market.stores["manager"].tolist() == ["Ada", "Ben", "Cem", "Dee"]
    assert market.products["sku"].tolist() == ["01", "02", "03"]
    assert market.product_attributes == ("organic",)
    sales = market.sales.to_pandas()
    assert len(sales) == 24 and sales["units"].sum() == 80 and float(sales["revenue"].sum()) == 232.0
    assert dict(market.sales.schema().items()).keys() == {"store_id", "sku", "period", "units", "revenue"}
    assert market.quarantine.empty and stop_reasons(market) == []
    assert set(market.inputs) == {"stores.csv", "products.csv", "sales.csv", "areas.gpkg"}
    assert all(len(digest) == 64 for digest in market.inputs.values())


def test_counts_rates_and_means_of_areas_are_told_apart(tmp_path):
    layer = load(write_market(tmp_path)).areas[0]
    kinds = {v.name: (v.kind, v.denominator, v.classify) for v in layer.variables}
    assert kinds == {
        "people": ("count", None, False),
        "young": ("rate", "people", True),
        "degree": ("mean", "people", True),
    }
    degree = next(v for v in layer.variables if v.name == "degree")
    assert np.allclose(layer.frame[degree.column], [0.2, 0.3, 0.4, 0.5])
    assert layer.population == "people" and layer.frame["area_id"].tolist() == ["a", "b", "c", "d"]


def test_the_same_table_in_every_format(tmp_path):
    frame = tables()["stores"]
    want = load(write_market(tmp_path)).stores
    points = gpd.GeoDataFrame(
        frame.drop(columns=["lon", "lat"]),
        geometry=gpd.points_from_xy(frame["lon"], frame["lat"]),
        crs="EPSG:4326",
    )
    frame.to_parquet(tmp_path / "s.parquet")
    frame.to_excel(tmp_path / "s.xlsx", index=False)
    points.to_parquet(tmp_path / "s.geoparquet")
    points.to_crs("EPSG:25832").to_file(tmp_path / "s.gpkg")
    points.to_file(tmp_path / "s.geojson")
    points.to_file(tmp_path / "s.shp")
    for suffix in ("parquet", "xlsx", "geoparquet", "gpkg", "geojson", "shp"):
        got = load(write_market(tmp_path, sections={"stores": {"path": f"s.{suffix}"}})).stores
        pd.testing.assert_frame_equal(got[want.columns], want, check_dtype=False, rtol=1e-9)


def test_areas_in_every_format(tmp_path):
    layer = areas()
    layer.to_parquet(tmp_path / "areas.parquet")
    layer.rename(columns={"degree_percent": "degree_percent"}).to_file(tmp_path / "areas.geojson")
    for name in ("areas.parquet", "areas.geojson"):
        got = load(write_market(tmp_path, areas_path=name)).areas[0].frame
        assert got["people"].tolist() == [100, 200, 300, 400] and got.crs == "EPSG:4326"


def test_columns_are_mapped_and_quoted(tmp_path):
    """Names that would be SQL, and ones with quotes, blanks and umlauts, are only names."""
    odd = {"units": 'Stück"; DROP TABLE stores; --', "revenue": "Umsatz (€)'"}
    frame = tables()["sales"].rename(columns=odd)
    market = load(write_market(tmp_path, {"sales": frame}, sections={"sales": {"columns": odd}}))
    assert market.sales.units.sum().to_pyarrow().as_py() == 80


def test_several_files_patterns_and_folders(tmp_path):
    sales = tables()["sales"]
    (tmp_path / "sales").mkdir()
    for i, (_, part) in enumerate(sales.groupby("period")):
        part.to_csv(tmp_path / "sales" / f"part{i}.csv", index=False)
    for path in (["sales/part0.csv", "sales/part1.csv"], "sales/part*.csv", "sales"):
        market = load(write_market(tmp_path, sections={"sales": {"path": path}}))
        assert market.sales.count().to_pyarrow().as_py() == 24
        assert {"sales/part0.csv", "sales/part1.csv"} <= set(market.inputs)


def test_parquet_with_whole_number_ids_and_real_dates(tmp_path):
    sales = tables()["sales"].assign(
        period=lambda f: pd.to_datetime(f["period"]), units=lambda f: f["units"] * 1.0
    )
    sales.to_parquet(tmp_path / "s.parquet")
    market = load(write_market(tmp_path, sections={"sales": {"path": "s.parquet"}}))
    assert market.sales.period.max().to_pyarrow().as_py() == dt.date(2024, 1, 8)


def test_days_become_iso_weeks_or_months(tmp_path):
    sales = changed("sales", 0, period="2024-01-07")
    weekly = load(write_market(tmp_path, {"sales": sales}))
    assert weekly.sales.period.min().to_pyarrow().as_py() == dt.date(2024, 1, 1)
    monthly = load(write_market(tmp_path, {"sales": sales}, extra='period = "month"\n'))
    assert monthly.sales.to_pandas()["period"].nunique() == 1
    assert monthly.sales.units.sum().to_pyarrow().as_py() == 80


def test_promotions_customers_and_baskets(tmp_path):
    promotions = pd.DataFrame(
        {
            "store_id": ["", "007"],
            "sku": ["01", "02"],
            "period": ["2024-01-03", "2024-01-08"],
            "depth": [0.1, 0.2],
        }
    )
    customers = pd.DataFrame(
        {
            "customer_id": ["0001", "0002"],
            "lon": [10.05, 10.15],
            "lat": [50.05, 50.1],
            "consent_mail": ["yes", ""],
        }
    )
    baskets = pd.DataFrame(
        {
            "customer_id": ["0001", "0001", "0002"],
            "basket_id": ["B-2", "B-1", "B-3"],
            "store_id": ["007", "008", "009"],
            "date": ["2024-01-03", "2024-01-04", "2024-01-05"],
            "sku": ["01", "02", "03"],
            "units": [1, -1, 2],
            "revenue": [2, -3, 8],
        }
    )
    market = load(
        write_market(tmp_path, {"promotions": promotions, "customers": customers, "baskets": baskets})
    )
    assert market.promotions["store_id"].isna().tolist() == [True, False]
    assert market.promotions["period"].tolist() == [pd.Timestamp("2024-01-01"), pd.Timestamp("2024-01-08")]
    assert market.customers["consent_mail"].tolist() == [True, False]
    assert not market.customers["consent_email"].any()
    lines = market.baskets.order_by("basket_id").to_pandas()
    assert lines["basket_id"].tolist() == [1, 2, 3] and lines["units"].tolist() == [-1, 1, 2]
    assert lines["channel"].tolist() == ["store"] * 3
    assert rows_of(market, "baskets", "kept")["rows"].tolist() == [1]


def test_travel_takes_cells_as_text_and_as_numbers(tmp_path):
    cell = "881f1d4885fffff"
    for written in (cell, str(int(cell, 16))):
        travel = pd.DataFrame({"store_id": ["007", "008"], "cell": [written, "zebra"], "minutes": [4.5, 9]})
        market = load(write_market(tmp_path, {"travel": travel}))
        assert market.travel["cell"].tolist() == [int(cell, 16)]
        assert aside(market, "travel")[0][1:] == ("cell", "zebra", "not an H3 cell")


# Whatever comes


SCRAPS = [
    b"",
    b",",
    b'"',
    b"\n",
    b"\r\n",
    b";",
    b"\xff",
    b"\x00",
    b"-1",
    b"9" * 30,
    b"nan",
    b"1e400",
    b"=1+1",
    b"1,5",
]
SCRAPS += [
    b"'; DROP TABLE sales; --",
    b"2024-13-45",
    b"1_000",
    b"\\",
    b"NULL",
    b"\xef\xbb\xbf",
    b"2024-01-01T25:00+99:99",
]


@settings(max_examples=12, deadline=None)
@given(st.sampled_from(["stores", "products", "sales"]), st.integers(0, 2**32 - 1))
def test_random_mutations_of_a_table_never_give_a_traceback(tmp_path_factory, name, seed):
    rng = random.Random(seed)
    content = tables()[name].to_csv(index=False).encode()
    for _ in range(rng.randint(1, 4)):
        start = rng.randrange(len(content) + 1)
        content = content[:start] + rng.choice(SCRAPS) + content[start + rng.choice([0, 1, 2, 5, 20]) :]
    plan = write_market(tmp_path_factory.mktemp("fuzz"), {name: content})
    try:
        market = load(plan)
    except GeomarketError as err:
        assert name in str(err)
        return
    read = rows_of(market, name, "read")["rows"].sum()
    lost = market.quality[
        market.quality["action"].isin(["set aside", "left out"]) & (market.quality["table"] == name)
    ]
    if name != "sales":
        assert len(getattr(market, name)) + lost["rows"].sum() == read


# When the plan stops


def test_the_plan_stops_past_the_share_and_not_before(tmp_path):
    sales = changed("sales", 0, units="x")
    lax = write_market(tmp_path, {"sales": sales})
    assert stop_reasons(load(lax), read_settings(lax)) == []
    strict = write_market(tmp_path, {"sales": sales}, extra="[quality]\nmax_quarantine_share = 0.01\n")
    reasons = stop_reasons(load(strict), read_settings(strict))
    assert len(reasons) == 1
    assert "sales: 1 of 24 rows (4.2%)" in reasons[0] and "max_quarantine_share" in reasons[0]


def test_the_quarantine_lists_up_to_a_cap_and_counts_all(tmp_path):
    sales = tables()["sales"]
    sales.loc[:9, "store_id"] = "x"
    promotions = pd.DataFrame({"store_id": list("abcde"), "sku": "01", "period": "2024-01-01", "depth": 0.1})
    frames = {"sales": sales, "promotions": promotions}
    market = load(write_market(tmp_path, frames, extra="[quality]\nquarantine_rows = 3\n"))
    for table, count in (("sales", 10), ("promotions", 5)):
        assert [row[0] for row in aside(market, table)] == [1, 2, 3]
        assert rows_of(market, table, "set aside")["rows"].tolist() == [count]


def test_every_row_is_accounted_for(tmp_path):
    """Rows read = rows used, set aside and left out, whatever is wrong with them."""
    rng = np.random.default_rng(5)
    sales = pd.concat([tables()["sales"]] * 20, ignore_index=True).astype(object)
    bad = {
        "store_id": ["", "x", "7"],
        "sku": ["", "99"],
        "period": ["", "soon", "1980-01-01", "2040-01-01", "2024-02-05"],
        "units": ["", "x", "0.5", 0, -1],
        "revenue": ["", "x", 0, -1],
    }
    for column, values in bad.items():
        for value in values:
            sales.loc[rng.choice(len(sales), 4, replace=False), column] = value
    market = load(write_market(tmp_path, {"sales": sales}, extra="end = 2024-02-01\n"))
    aside_rows = rows_of(market, "sales", "set aside")
    left = rows_of(market, "sales", "left out")["rows"].sum()
    assert rows_of(market, "sales", "read")["rows"].tolist() == [480]
    assert aside_rows["rows"].sum() > 30 and left > 0
    good = 480 - aside_rows["rows"].sum() - left
    listed = market.quarantine["row"].dropna().astype(int) - 1
    used = sales.drop(index=listed)
    used = used[(used["units"].astype(int) != 0) & (used["period"] < "2024-02-01")]
    assert market.sales.units.sum().to_pyarrow().as_py() == used["units"].astype(int).sum()
    assert good == len(used)


def test_a_table_of_which_nothing_is_left_stops_the_plan(tmp_path):
    sales = tables()["sales"].assign(period="2030-01-01")
    plan = write_market(tmp_path, {"sales": sales})
    assert "sales: no usable row is left." in stop_reasons(load(plan))


def test_check_prints_the_report_and_its_status(tmp_path):
    good = check_plan(write_market(tmp_path))
    assert good.status == 0 and "A plan can be made of this." in good.text
    assert "sales: 24 rows, nothing to report" in good.text
    bad = check_plan(write_market(tmp_path, {"stores": changed("stores", 2, lat="")}))
    assert bad.status == 2 and "lat: missing" in bad.text and "A plan can't be made of this" in bad.text
    broken = check_plan(write_market(tmp_path, sections={"sales": {"path": "gone.csv"}}))
    assert broken.status == 2 and "no file gone.csv" in broken.text
    assert check_plan(tmp_path / "nowhere.toml").status == 2
    assert max(len(line) for line in (good.text + bad.text + broken.text).splitlines()) <= 112


def test_the_report_names_the_market_and_keeps_the_table(tmp_path):
    market = load(write_market(tmp_path))
    report = quality_report(market)
    assert report.text.startswith("Data quality of tiny") and report.table is market.quality


def test_a_plan_without_its_tables_says_which(tmp_path):
    plan = tmp_path / "plan.toml"
    plan.write_text("[tables.stores]\npath = 's.csv'\n")
    found = refused(plan, SettingsError)
    assert "[tables.products], [tables.sales], [[areas]] are missing" in found


def test_an_engine_that_is_not_there_is_said(tmp_path, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "pyspark.sql", None)
    said = refused(write_market(tmp_path, extra='[engine]\nkind = "spark"\n'), SettingsError)
    assert "PySpark is not installed" in said
    assert 'kind = "duckdb"' in said


def test_loading_twice_gives_the_same(tmp_path):
    plan = write_market(tmp_path, {"sales": changed("sales", 4, units="five")})
    one, two = load(plan), load(plan)
    for name in ("stores", "products", "quarantine", "quality"):
        pd.testing.assert_frame_equal(getattr(one, name), getattr(two, name))
    pd.testing.assert_frame_equal(one.sales.to_pandas(), two.sales.to_pandas())
    assert one.inputs == two.inputs
