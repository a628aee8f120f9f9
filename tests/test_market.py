"""Reading a market: what is good comes through as it is; what is bad is found, counted, listed, and said."""

from __future__ import annotations

import datetime as dt
import importlib.util
import random
import sys
from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from shapely.geometry import LineString, Point, Polygon, box

from geomarket.errors import GeomarketError, MissingDataError, NotSupportedError, SettingsError, TableError
from geomarket.market import check_plan, load_market, quality_report, read_settings, stop_reasons

_spec = importlib.util.spec_from_file_location("market_files", Path(__file__).parent / "market_files.py")
market_files = sys.modules.setdefault("market_files", importlib.util.module_from_spec(_spec))
_spec.loader.exec_module(market_files)
areas, tables, write_market = market_files.areas, market_files.tables, market_files.write_market

TODAY = dt.date(2024, 6, 1)
ONE_IN_A_HUNDRED = "[quality]\nmax_quarantine_share = 0.01\n"


def load(plan):
    return load_market(plan, today=TODAY)


def refused(plan, kind=TableError) -> str:
    with pytest.raises(kind) as caught:
        load(plan)
    return str(caught.value)


def rows_of(market, table: str, action: str) -> pd.DataFrame:
    quality = market.quality
    return quality[(quality["table"] == table) & (quality["action"] == action)]


def aside(market, table: str) -> list[tuple]:
    """(row, column, value, reason) of what was set aside."""
    frame = market.quarantine[market.quarantine["table"] == table]
    return [tuple(row) for row in frame[["row", "column", "value", "reason"]].itertuples(index=False)]


def with_rows(name: str, *rows: dict) -> pd.DataFrame:
    frame = tables()[name]
    return pd.concat([frame, pd.DataFrame(rows)], ignore_index=True)


def changed(table: str, row: int, /, **values) -> pd.DataFrame:
    frame = tables()[table].astype(object)
    for column, value in values.items():
        frame.loc[row, column] = value
    return frame


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


# Files


def test_a_missing_file_names_the_nearest(tmp_path):
    found = refused(write_market(tmp_path, sections={"stores": {"path": "stroes.csv"}}), MissingDataError)
    assert "stores: no file stroes.csv" in found
    (tmp_path / "stores.csv").write_text("x")
    found = refused(write_market(tmp_path, sections={"stores": {"path": "stroes.csv"}}), MissingDataError)
    assert "did you mean 'stores.csv'" in found


def test_all_tables_that_cannot_be_used_are_named_at_once(tmp_path):
    found = refused(
        write_market(
            tmp_path,
            {"products": tables()["products"].drop(columns="price")},
            sections={"stores": {"path": "x.csv"}},
        )
    )
    assert "stores: no file x.csv" in found and "products: no column 'price'" in found


def test_only_local_files_are_read(tmp_path):
    for path in ("https://example.org/s.csv", "/vsicurl/https://example.org/s.csv"):
        assert "only local files" in refused(
            write_market(tmp_path, sections={"stores": {"path": path}}), SettingsError
        )


def test_files_of_unknown_kind_name_the_known_ones(tmp_path):
    (tmp_path / "s.xls").write_bytes(b"x")
    found = refused(write_market(tmp_path, sections={"stores": {"path": "s.xls"}}))
    assert "s.xls" in found and "Save it as .xlsx or CSV" in found


def test_an_empty_table_and_an_empty_file(tmp_path):
    found = refused(write_market(tmp_path, {"sales": tables()["sales"].head(0)}))
    assert "sales: sales.csv has no rows" in found
    assert "sales: sales.csv is empty" in refused(write_market(tmp_path, {"sales": ""}))


def test_a_file_that_is_not_utf8(tmp_path):
    text = tables()["stores"].replace("North", "Köln").to_csv(index=False)
    found = refused(write_market(tmp_path, {"stores": text.encode("cp1252")}))
    assert "stores: stores.csv is not utf-8 (line 2)" in found and 'encoding = "cp1252"' in found
    plan = write_market(
        tmp_path, {"stores": text.encode("cp1252")}, sections={"stores": {"encoding": "cp1252"}}
    )
    assert load(plan).stores["name"][0] == "Köln"


def test_utf16_names_its_cure(tmp_path):
    text = tables()["stores"].to_csv(index=False)
    found = refused(write_market(tmp_path, {"stores": text.encode("utf-16")}))
    assert 'encoding = "utf-16"' in found
    plan = write_market(
        tmp_path, {"stores": text.encode("utf-16")}, sections={"stores": {"encoding": "utf-16"}}
    )
    assert len(load(plan).stores) == 4


def test_windows_line_ends_and_a_byte_order_mark(tmp_path):
    text = tables()["stores"].to_csv(index=False).replace("\n", "\r\n")
    assert len(load(write_market(tmp_path, {"stores": text.encode("utf-8-sig")})).stores) == 4


def test_a_csv_with_decimal_commas(tmp_path):
    sales = tables()["sales"].assign(
        revenue=lambda f: f["revenue"].map("{:.2f}".format).str.replace(".", ",")
    )
    text = sales.to_csv(index=False, sep=";")
    found = refused(write_market(tmp_path, {"sales": text}))
    assert "sales: revenue: 24 of 24 values have a decimal comma" in found
    assert 'decimal = "," in [tables.sales]' in found
    market = load(write_market(tmp_path, {"sales": text}, sections={"sales": {"decimal": ","}}))
    assert float(market.sales.revenue.sum().to_pyarrow().as_py()) == 232.0


def test_points_in_numbers_where_commas_are_declared(tmp_path):
    """1.234 may be a thousand or a bit more than one: neither is guessed."""
    found = refused(
        write_market(
            tmp_path, {"sales": tables()["sales"].assign(revenue="1.5")}, sections={"sales": {"decimal": ","}}
        )
    )
    assert 'Set decimal = "." in [tables.sales]' in found


def test_a_wrong_separator_names_its_cure(tmp_path):
    text = tables()["stores"].to_csv(index=False, sep="^")
    found = refused(write_market(tmp_path, {"stores": text}))
    assert "separator" in found
    assert (
        len(load(write_market(tmp_path, {"stores": text}, sections={"stores": {"separator": "^"}})).stores)
        == 4
    )


def test_lines_with_too_few_and_too_many_values_are_set_aside(tmp_path):
    text = tables()["sales"].to_csv(index=False).splitlines()
    text[3] = "007,01"
    text[5] += ",surplus"
    text[10] = text[10].replace("0", "x", 1)
    market = load(write_market(tmp_path, {"sales": "\n".join(text)}))
    assert (3, "", "007,01", "too few values in the line") in aside(market, "sales")
    assert [row[0] for row in aside(market, "sales") if row[3] == "too many values in the line"] == [5]
    # Rows are those of the file: rejected lines count.
    assert [row[0] for row in aside(market, "sales") if row[1] == "store_id"] == [10]
    assert rows_of(market, "sales", "read")["rows"].tolist() == [24]


def test_a_quote_that_is_never_closed_is_no_single_row(tmp_path):
    text = tables()["sales"].to_csv(index=False).replace("008,02", '008,"02', 1)
    found = refused(write_market(tmp_path, {"sales": text}))
    assert "sales: sales.csv line 10" in found and "quot" in found


def test_a_truncated_parquet_file(tmp_path):
    tables()["sales"].to_parquet(tmp_path / "s.parquet")
    whole = (tmp_path / "s.parquet").read_bytes()
    (tmp_path / "s.parquet").write_bytes(whole[: len(whole) // 2])
    found = refused(write_market(tmp_path, sections={"sales": {"path": "s.parquet"}}))
    assert "sales: s.parquet can't be read" in found and "complete" in found


def test_what_only_looks_like_a_workbook(tmp_path):
    (tmp_path / "s.xlsx").write_bytes(b"PK not really")
    assert "s.xlsx is not an Excel workbook" in refused(
        write_market(tmp_path, sections={"stores": {"path": "s.xlsx"}})
    )


def test_a_workbook_that_unpacks_to_gigabytes(tmp_path):
    import zipfile

    with zipfile.ZipFile(tmp_path / "s.xlsx", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("xl/worksheets/sheet1.xml", b"\0" * (2**27 + 1))
    found = refused(write_market(tmp_path, sections={"stores": {"path": "s.xlsx"}}))
    assert "would unpack to 128 MB" in found


def test_a_workbook_with_an_entity_bomb(tmp_path):
    import zipfile

    tables()["stores"].to_excel(tmp_path / "good.xlsx", index=False)
    bomb = '<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a0 "ha">'
    bomb += "".join(f'<!ENTITY a{i + 1} "{f"&a{i};" * 10}">' for i in range(12))
    main = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
    cell = '<row r="1"><c r="A1" t="inlineStr"><is><t>&a12;</t></is></c></row>'
    bomb += f']><worksheet xmlns="{main}"><sheetData>{cell}</sheetData></worksheet>'
    with zipfile.ZipFile(tmp_path / "good.xlsx") as good, zipfile.ZipFile(tmp_path / "s.xlsx", "w") as bad:
        for item in good.infolist():
            bad.writestr(item, bomb if item.filename == "xl/worksheets/sheet1.xml" else good.read(item))
    assert "s.xlsx can't be read" in refused(write_market(tmp_path, sections={"stores": {"path": "s.xlsx"}}))


def test_a_missing_sheet_names_the_nearest(tmp_path):
    tables()["stores"].to_excel(tmp_path / "s.xlsx", sheet_name="Filialen", index=False)
    plan = write_market(tmp_path, sections={"stores": {"path": "s.xlsx", "sheet": "Filiale"}})
    assert "did you mean 'Filialen'" in refused(plan)


def test_a_file_that_changes_while_it_is_read(tmp_path, monkeypatch):
    from geomarket.market import load as module

    plan = write_market(tmp_path)
    original = module.clean_sales

    def slow(*given):
        with (tmp_path / "stores.csv").open("a") as file:
            file.write("011,New,10.1,50.1,500,Eve\n")
        return original(*given)

    monkeypatch.setattr(module, "clean_sales", slow)
    assert "stores: stores.csv changed while it was being read" in refused(plan)


# Columns


def test_a_missing_column_names_the_nearest_and_the_cure(tmp_path):
    found = refused(write_market(tmp_path, {"sales": tables()["sales"].rename(columns={"units": "unit"})}))
    assert "sales: no column 'units'" in found and "did you mean 'unit'" in found
    assert "[tables.sales.columns] units =" in found
    assert "Columns of sales.csv: store_id, sku, period, unit, revenue" in found


def test_a_mapped_column_that_is_not_there(tmp_path):
    found = refused(write_market(tmp_path, sections={"stores": {"columns": {"size_m2": "size"}}}))
    assert "stores: no column 'size'" in found and "size_m2" in found


def test_two_columns_of_one_name(tmp_path):
    text = tables()["stores"].to_csv(index=False).replace("manager", "name")
    assert "two columns named 'name'" in refused(write_market(tmp_path, {"stores": text}))


def test_a_whole_column_of_the_wrong_type(tmp_path):
    found = refused(write_market(tmp_path, {"sales": tables()["sales"].assign(units="many")}))
    assert "sales: units: 24 of 24 values are not a whole number (such as 'many')" in found


def test_single_values_of_the_wrong_type(tmp_path):
    market = load(write_market(tmp_path, {"sales": changed("sales", 4, units="five")}))
    assert aside(market, "sales") == [(5, "units", "five", "not a whole number")]
    assert market.sales.count().to_pyarrow().as_py() == 23


def test_a_bad_value_a_plan_can_do_without_does_not_cost_the_row(tmp_path):
    market = load(write_market(tmp_path, {"stores": changed("stores", 1, size_m2="large")}))
    assert len(market.stores) == 4 and np.isnan(market.stores["size_m2"][1])
    found = rows_of(market, "stores", "set to missing")
    assert found["rows"].tolist() == [1] and "large" in found["message"].iloc[0]


def test_zero_prices_of_products(tmp_path):
    market = load(write_market(tmp_path, {"products": changed("products", 0, price=0)}))
    assert np.isnan(market.products["price"][0]) and len(market.products) == 3
    assert "price" in rows_of(market, "products", "set to missing")["column"].tolist()


def test_percentages_where_shares_belong(tmp_path):
    promotions = pd.DataFrame({"sku": ["01"], "period": ["2024-01-01"], "depth": [20]})
    found = refused(write_market(tmp_path, {"promotions": promotions}))
    assert "promotions: depth" in found and "0.2 for 20 %" in found


# Keys and references


def test_duplicate_keys_keep_the_first(tmp_path):
    twice = {**tables()["stores"].iloc[0].to_dict(), "name": "Copy"}
    market = load(write_market(tmp_path, {"stores": with_rows("stores", twice)}))
    assert aside(market, "stores") == [(5, "store_id", "007", "is there already (the first row is used)")]
    assert market.stores["name"].tolist() == ["North", "East", "South", "West"]
    assert stop_reasons(market)[0].startswith("stores: 1 of 5 rows (20.0%)")


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
    first = market.stores.iloc[0]
    assert first["store_id"] == "NA" and first["name"] == "None" and np.isnan(first["size_m2"])
    assert market.quarantine.empty and market.sales.count().to_pyarrow().as_py() == 24


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


# Places


def test_swapped_coordinates_of_a_whole_table(tmp_path):
    stores = tables()["stores"].rename(columns={"lon": "lat", "lat": "lon"})
    found = refused(write_market(tmp_path, {"stores": stores}))
    assert "stores: lon and lat are swapped: 4 of 4 rows" in found
    assert '[tables.stores.columns] lon = "lat" and lat = "lon"' in found
    plan = write_market(
        tmp_path, {"stores": stores}, sections={"stores": {"columns": {"lon": "lat", "lat": "lon"}}}
    )
    assert load(plan).stores["lon"].tolist() == [10.05, 10.15, 10.05, 10.15]


def test_swapped_coordinates_of_one_row(tmp_path):
    market = load(write_market(tmp_path, {"stores": changed("stores", 2, lon=50.05, lat=10.05)}))
    assert aside(market, "stores") == [(3, "lon", "50.05, 10.05", "lon and lat look swapped")]


def test_a_point_outside_the_areas(tmp_path):
    market = load(write_market(tmp_path, {"stores": changed("stores", 2, lon=12.0)}))
    assert aside(market, "stores") == [(3, "lon", "12.0, 50.05", "more than 25 km outside the areas")]
    far = load(
        write_market(
            tmp_path, {"stores": changed("stores", 2, lon=12.0)}, extra="[quality]\nmax_outside_km = 500\n"
        )
    )
    assert len(far.stores) == 4


def test_a_whole_table_outside_the_areas(tmp_path):
    found = refused(
        write_market(tmp_path, {"stores": tables()["stores"].assign(lon=lambda f: f["lon"] + 20)})
    )
    assert "stores: 4 of 4 rows lie outside the areas" in found and "crs" in found


def test_competitors_elsewhere_are_left_out_with_their_totals(tmp_path):
    rivals = tables()["stores"].assign(store_id=["K1", "K2", "K3", "K4"])
    rivals.loc[3, "lon"] = 30.0
    totals = pd.DataFrame({"store_id": ["007", "K1", "K4", "Z9"], "year": 2023, "revenue": 5})
    market = load(write_market(tmp_path, {"competitors": rivals, "store_totals": totals}))
    assert market.competitors["store_id"].tolist() == ["K1", "K2", "K3"]
    assert rows_of(market, "competitors", "left out")["rows"].tolist() == [1]
    assert market.store_totals["store_id"].tolist() == ["007", "K1"]
    assert aside(market, "store_totals") == [(4, "store_id", "Z9", "is not in stores or competitors")]


def test_missing_coordinates_and_null_island(tmp_path):
    stores = tables()["stores"].astype(object)
    stores.loc[0, "lat"] = ""
    stores.loc[1, ["lon", "lat"]] = 0
    market = load(write_market(tmp_path, {"stores": stores}))
    assert aside(market, "stores") == [(2, "lon", "0, 0", "0, 0 is no place"), (1, "lat", "", "missing")]


def test_metres_without_a_crs_name_the_cure(tmp_path):
    stores = tables()["stores"]
    grid = gpd.GeoSeries(gpd.points_from_xy(stores["lon"], stores["lat"]), crs="EPSG:4326").to_crs(
        "EPSG:25832"
    )
    metres = stores.assign(lon=grid.x, lat=grid.y)
    found = refused(write_market(tmp_path, {"stores": metres}))
    assert "stores: lon: 4 of 4 values are not a longitude" in found and "set crs" in found
    market = load(write_market(tmp_path, {"stores": metres}, sections={"stores": {"crs": "EPSG:25832"}}))
    assert np.allclose(market.stores["lon"], stores["lon"], atol=1e-8)
    far = metres.assign(lon=1e30)
    wrong = write_market(tmp_path, {"stores": far}, sections={"stores": {"crs": "EPSG:25832"}})
    assert "EPSG:25832" in refused(wrong)


# Polygons


def test_invalid_polygons_are_repaired_and_counted(tmp_path):
    layer = areas()
    bowtie = Polygon([(10.0, 50.0), (10.1, 50.1), (10.1, 50.0), (10.0, 50.1)])
    layer.loc[0, "geometry"] = bowtie
    market = load(write_market(tmp_path, layer=layer))
    found = rows_of(market, "areas:blocks", "repaired")
    assert found["rows"].tolist() == [1] and "(a)" in found["message"].iloc[0]
    mended = market.areas[0].frame.geometry[0]
    assert mended.is_valid and mended.area == pytest.approx(0.005, rel=1e-9)
    assert not bowtie.is_valid


def test_overlapping_polygons_are_measured_and_stop_past_a_share(tmp_path):
    layer = areas()
    layer.loc[1, "geometry"] = box(10.05, 50.0, 10.2, 50.1)
    plan = write_market(tmp_path, layer=layer)
    market = load(plan)
    reasons = stop_reasons(market, read_settings(plan))
    # Half an area of four and a half in all lies in two.
    assert len(reasons) == 1 and "areas:blocks: 11.1" in reasons[0] and "a and b" in reasons[0]
    lax = write_market(tmp_path, layer=layer, extra="[quality]\nmax_overlap_share = 0.2\n")
    assert stop_reasons(load(lax), read_settings(lax)) == []
    assert rows_of(load(lax), "areas:blocks", "kept")["check"].tolist() == ["overlap"]


def test_no_crs_names_the_cure(tmp_path):
    layer = areas()
    layer.to_file(tmp_path / "areas.shp")
    (tmp_path / "areas.prj").unlink()
    plan = write_market(tmp_path, areas_path="areas.shp")
    text = plan.read_text().replace("degree_percent", "degree_per")
    plan.write_text(text)
    found = refused(plan)
    assert "areas:blocks: areas.shp does not say which coordinate reference system" in found
    assert 'crs = "EPSG:' in found
    plan.write_text(text.replace('id = "area"', 'id = "area"\ncrs = "EPSG:4326"'))
    assert len(load(plan).areas[0].frame) == 4


def test_a_wrong_crs_is_found(tmp_path):
    layer = areas().to_crs("EPSG:25832").set_crs("EPSG:4326", allow_override=True)
    assert "coordinates make no sense as EPSG:4326" in refused(write_market(tmp_path, layer=layer))


def test_areas_without_an_id_a_shape_or_of_another_kind(tmp_path):
    layer = pd.concat([areas(), areas(), areas().head(2)], ignore_index=True)
    layer["area"] = [*"abcd", None, "a", "e", "f", "g", "h"]
    layer.loc[6, "geometry"] = None
    layer.loc[7, "geometry"] = LineString([(10, 50), (10.1, 50.1)])
    layer.loc[8, "geometry"] = Point(10.05, 50.05)
    layer.loc[9, "geometry"] = box(10.2, 50.0, 10.3, 50.1)
    market = load(write_market(tmp_path, layer=layer))
    assert sorted((row[0], row[3]) for row in aside(market, "areas:blocks")) == [
        (5, "missing"),
        (6, "is there already (the first row is used)"),
        (7, "no shape"),
        (8, "not a polygon"),
        (9, "not a polygon"),
    ]
    assert market.areas[0].frame["area_id"].tolist() == ["a", "b", "c", "d", "h"]


def test_figures_of_areas_that_are_wrong(tmp_path):
    layer = areas().astype({"people": object, "young": object})
    layer.loc[0, "people"] = "many"
    layer.loc[1, "young"] = -5
    layer.loc[2, "young"] = 999
    layer["people"] = layer["people"].astype(str)
    layer["young"] = layer["young"].astype(float)
    market = load(write_market(tmp_path, layer=layer))
    frame = market.areas[0].frame
    assert np.isnan(frame["people"][0]) and np.isnan(frame["young"][1]) and frame["people"][3] == 400
    assert set(rows_of(market, "areas:blocks", "set to missing")["check"]) == {
        "not a number",
        "a count below 0",
    }
    assert "young exceeds people in 1" in rows_of(market, "areas:blocks", "kept")["message"].iloc[0]


def test_a_missing_column_of_areas(tmp_path):
    found = refused(write_market(tmp_path, layer=areas().rename(columns={"people": "peoples"})))
    assert "areas:blocks: no column 'people'" in found and "did you mean 'peoples'" in found


def test_a_missing_layer_of_a_geopackage(tmp_path):
    plan = write_market(tmp_path)
    plan.write_text(plan.read_text().replace('id = "area"', 'id = "area"\nlayer = "area"'))
    assert "did you mean 'areas'" in refused(plan)


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
    strict = write_market(tmp_path, {"sales": sales}, extra=ONE_IN_A_HUNDRED)
    reasons = stop_reasons(load(strict), read_settings(strict))
    assert len(reasons) == 1
    assert "sales: 1 of 24 rows (4.2%)" in reasons[0] and "max_quarantine_share" in reasons[0]


def test_the_quarantine_lists_up_to_a_cap_and_counts_all(tmp_path):
    sales = tables()["sales"]
    sales.loc[:9, "store_id"] = "x"
    market = load(write_market(tmp_path, {"sales": sales}, extra="[quality]\nquarantine_rows = 3\n"))
    assert [row[0] for row in aside(market, "sales")] == [1, 2, 3]
    assert rows_of(market, "sales", "set aside")["rows"].tolist() == [10]


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


def test_an_engine_that_is_not_there_is_said(tmp_path):
    assert "duckdb" in refused(write_market(tmp_path, extra='[engine]\nkind = "spark"\n'), NotSupportedError)


def test_loading_twice_gives_the_same(tmp_path):
    plan = write_market(tmp_path, {"sales": changed("sales", 4, units="five")})
    one, two = load(plan), load(plan)
    for name in ("stores", "products", "quarantine", "quality"):
        pd.testing.assert_frame_equal(getattr(one, name), getattr(two, name))
    pd.testing.assert_frame_equal(one.sales.to_pandas(), two.sales.to_pandas())
    assert one.inputs == two.inputs
