"""Files and columns that can't be read: found, and said with the cure."""

from __future__ import annotations

import numpy as np
import pandas as pd
from market_files import aside, changed, load, refused, rows_of, tables, write_market

from geomarket.errors import MissingDataError, SettingsError

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


def test_a_network_share_and_a_virtual_file_are_no_files(tmp_path):
    for path in ("/vsicurl/https://example.org/s.csv", "\\\\server\\share\\s.csv"):
        found = refused(write_market(tmp_path, sections={"stores": {"path": path}}), SettingsError)
        assert "only files and URLs are read. Copy it here first." in found


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
    assert "promotions: depth" in found and "0.2 for 20%" in found
