"""The workbook: every line, no formulas from anybody's table, the same from run to run."""

from __future__ import annotations

import copy
import warnings
import zipfile

import openpyxl
import pandas as pd
import pytest
import report_fixture

from geomarket.errors import MissingDataError, TableError
from geomarket.report import read_decisions, write_workbook
from geomarket.report.sheets import plan_sheets
from geomarket.report.workbook import _shown_as, looks_like_formula

SHEETS = [
    "Read me",
    "Store clusters",
    "Range by cluster",
    "Changes by store",
    "Promotions",
    "Neighbourhoods",
    "Neighbourhood traits",
    "Frontier",
    "Data quality",
    "Rows set aside",
    "Data dictionary",
]
RISKY = ["=1+1", "+44 tea", "-20% tea", "@home", "\t=1+1", '=HYPERLINK("x")', " =1"]


def small_plan(**options):
    sizes = {"radius_km": 3.0, "n_stores": 6, "n_clusters": 2, "skus_per_category": 4}
    return report_fixture.make_plan(**{**sizes, **options})


def load(path):
    with warnings.catch_warnings():
        # openpyxl does not read data bars and says so
        warnings.simplefilter("ignore", UserWarning)
        return openpyxl.load_workbook(path)


@pytest.fixture(scope="module")
def plan():
    return small_plan()


@pytest.fixture(scope="module")
def path(plan, tmp_path_factory):
    return write_workbook(plan, tmp_path_factory.mktemp("book") / "plan.xlsx")


@pytest.fixture(scope="module")
def book(path):
    return load(path)


def test_sheets_are_there_and_can_be_worked_in(book):
    assert book.sheetnames == SHEETS
    for sheet in book.worksheets[1:]:
        assert sheet.freeze_panes is not None
        assert sheet.freeze_panes.endswith("2")
        assert sheet.auto_filter.ref is not None
        widths = [sheet.column_dimensions[cell.column_letter].width for cell in sheet[1]]
        assert min(widths) >= 9


def test_figures_have_the_decimals_they_call_for():
    assert _shown_as("money", [12_000.0, 350.5, None, 0.0]) == "whole_money"
    assert _shown_as("money", [12_000.0, 3.5, 2.5, 8.0]) == "money"
    assert _shown_as("number", [38_646.2, *[0.17] * 30]) == "number"
    assert _shown_as("number", [25.5, 40.0]) == "tenths"
    assert _shown_as("count", [25.0]) == "count"
    assert _shown_as("number", []) == "number"


def test_heads_stand_over_their_figures_and_texts_fit(book):
    sheet = book["Range by cluster"]
    head = {cell.value: cell for cell in sheet[1]}
    units, product = head["Stores"], head["Product"]
    assert units.alignment.horizontal == "right"
    assert sheet.cell(2, units.column).number_format == "#,##0_)_)"
    longest = max(
        len(row[0].value)
        for row in sheet.iter_rows(min_row=2, min_col=product.column, max_col=product.column)
    )
    assert sheet.column_dimensions[product.column_letter].width >= min(0.95 * longest, 44)


def test_a_sheet_without_rows_says_so(book):
    assert book["Rows set aside"].max_row > 1 or book["Rows set aside"]["A2"].value == "None."


def test_every_column_is_in_the_dictionary(book):
    known = {(row[0], row[1]) for row in book["Data dictionary"].iter_rows(min_row=2, values_only=True)}
    shown = {
        (sheet.title, cell.value)
        for sheet in book.worksheets[1:-1]
        for cell in sheet[1]
        if sheet.auto_filter.ref
    }
    assert shown - known == set()


def test_figures_are_those_of_the_plan(plan, path):
    def read(sheet: str) -> pd.DataFrame:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            return pd.read_excel(path, sheet_name=sheet, dtype={"SKU": str, "Store": str})

    changes = plan.ranges.changes[plan.ranges.changes["action"] != "keep"]
    found = read("Changes by store")
    assert len(found) == len(changes)
    assert found["Margin a week"].sum() == pytest.approx(changes["margin"].sum())
    assert found["Action"].value_counts().to_dict() == changes["action"].value_counts().to_dict()
    ranges = read("Range by cluster")
    assert ranges["SKU"].tolist() == plan.ranges.table["sku"].tolist()
    assert ranges["Units, low"].tolist() == pytest.approx(plan.ranges.table["low"].tolist())
    clusters = read("Store clusters")
    assert sorted(clusters["Store"]) == sorted(plan.market.stores["store_id"])
    assert clusters["To list"].sum() == (changes["action"] == "list").sum()
    shares = clusters.filter(like="From ")
    assert shares.sum(axis=1).tolist() == pytest.approx([1.0] * len(clusters))
    assert read("Promotions")["Net"].sum() == pytest.approx(plan.promotions.table["net"].sum())
    frontier = read("Frontier")
    assert frontier["Net"].tolist() == pytest.approx(plan.frontier.table["net"].tolist())
    assert frontier["Advised"].eq("yes").sum() == 1


def test_numbers_are_numbers_and_dates_are_dates(book):
    head = {cell.value: cell.column for cell in book["Promotions"][1]}
    first = book["Promotions"][2]
    assert first[head["From"] - 1].is_date
    assert first[head["Net"] - 1].data_type == "n"
    assert "€" in first[head["Net"] - 1].number_format
    assert first[head["Price cut"] - 1].number_format.startswith("0.0%")


def test_dictionary_explains_every_column(book):
    rows = [[cell.value for cell in row] for row in book["Data dictionary"].iter_rows(min_row=2)]
    explained = {(sheet, head) for sheet, head, _, _ in rows}
    for sheet in book.worksheets[1:-1]:
        assert {(sheet.title, cell.value) for cell in sheet[1]} <= explained
    assert all(meaning for *_, meaning in rows)


def test_read_me_says_simulated_verdict_and_skipped_stages(tmp_path):
    plan = small_plan(promotions=False, customers=False)
    book = load(write_workbook(plan, tmp_path / "plan.xlsx"))
    text = "\n".join(str(row[0].value) for row in book["Read me"].iter_rows() if row[0].value)
    assert "Simulated market" in text
    assert plan.frontier.verdict.sentence in text
    assert plan.skipped["promotions"] in text
    assert plan.skipped["promotions"] in book["Promotions"]["A1"].value
    assert "Penetration" not in {cell.value for cell in book["Neighbourhoods"][1]}


def test_no_text_becomes_a_formula(tmp_path):
    plan = small_plan()
    names = plan.market.stores["name"].tolist()
    plan.market.stores["name"] = [RISKY[k % len(RISKY)] for k in range(len(names))]
    plan.ranges.table["name"] = [RISKY[k % len(RISKY)] for k in range(len(plan.ranges.table))]
    plan.ranges.table["reason"] = "=cmd|' /C calc'!A0"
    plan.market.notes = ("=1+1",)
    path = write_workbook(plan, tmp_path / "plan.xlsx")
    book = load(path)
    seen = set()
    for sheet in book.worksheets:
        for row in sheet.iter_rows():
            for cell in row:
                assert cell.data_type != "f", (sheet.title, cell.coordinate)
                if (
                    isinstance(cell.value, str)
                    and sheet.title != "Read me"
                    and looks_like_formula(cell.value)
                ):
                    assert cell.quotePrefix, (sheet.title, cell.coordinate)
                    seen.add(cell.value)
    assert {name.strip() for name in RISKY} <= {value.strip() for value in seen}
    with zipfile.ZipFile(path) as parts:
        sheets = [name for name in parts.namelist() if name.startswith("xl/worksheets/sheet")]
        assert sheets
        assert not any(b"<f>" in parts.read(name) for name in sheets)


def test_decisions_are_chosen_from_a_list(book):
    rules = book["Range by cluster"].data_validations.dataValidation
    assert {rule.formula1 for rule in rules} == {'"accept,reject,override"', '"list,delist"'}
    last = book["Range by cluster"].max_row
    assert all(str(rule.sqref).endswith(str(last)) for rule in rules)


def test_frontier_and_penetration_have_charts_of_their_own(path, tmp_path):
    with zipfile.ZipFile(path) as parts:
        charts = [
            parts.read(name).decode() for name in parts.namelist() if name.startswith("xl/charts/chart")
        ]
    assert len(charts) == 2
    assert {"Frontier!" in chart for chart in charts} == {True, False}
    assert {"Neighbourhoods!" in chart for chart in charts} == {True, False}
    bare = report_fixture.make_plan(
        radius_km=3.0, n_stores=2, n_clusters=1, customers=False, promotions=False
    )
    with zipfile.ZipFile(write_workbook(bare, tmp_path / "bare.xlsx")) as parts:
        assert sum(name.startswith("xl/charts/chart") for name in parts.namelist()) == 1


def test_rows_are_as_high_as_their_text(book):
    sheet = book["Range by cluster"]
    heads = [cell.value for cell in sheet[1]]
    why = heads.index("Why") + 1
    for row in range(2, sheet.max_row + 1):
        lines = -(-len(sheet.cell(row, why).value or "") // 79)
        height = sheet.row_dimensions[row].height or 15
        assert height >= 13 * min(lines, 8)


def test_same_plan_same_bytes(plan, path, tmp_path):
    again = write_workbook(small_plan(), tmp_path / "plan.xlsx")
    assert again.read_bytes() == path.read_bytes()
    assert [p.name for p in tmp_path.iterdir()] == ["plan.xlsx"]


@pytest.mark.parametrize(
    "options",
    [{"catchments": False}, {"n_stores": 1, "n_clusters": 1}, {"customers": False, "promotions": False}],
)
def test_optional_parts_may_be_missing(options, tmp_path):
    book = load(write_workbook(small_plan(**options), tmp_path / "plan.xlsx"))
    assert book.sheetnames == SHEETS


def test_missing_figures_are_empty_not_zero(tmp_path):
    plan = small_plan()
    plan.ranges.table.loc[0, "margin"] = float("nan")
    found = pd.read_excel(write_workbook(plan, tmp_path / "plan.xlsx"), sheet_name="Range by cluster")
    assert found["Margin a week"].isna().tolist() == plan.ranges.table["margin"].isna().tolist()


def fill_in(path, out, entries):
    """Write decisions into a workbook as a planner would: {row: (decision, own choice, reason)}."""
    book = load(path)
    sheet = book["Range by cluster"]
    heads = {cell.value: cell.column for cell in sheet[1]}
    for row, words in entries.items():
        for head, word in zip(("Decision", "Own choice", "Your reason"), words):
            sheet.cell(row, heads[head]).value = word
    book.save(out)
    return out


def test_decisions_come_back_as_rules(plan, path, tmp_path):
    table = plan.ranges.table
    rows = {
        status: int(table.index[table["status"] == status][0]) + 2 for status in ("list", "delist", "keep")
    }
    other = int(table.index[table["status"] == "keep"][1]) + 2
    accepted = int(table.index[table["status"] == "list"][1]) + 2
    filled = fill_in(
        path,
        tmp_path / "filled.xlsx",
        {
            rows["list"]: ("reject", None, "no supplier"),
            rows["delist"]: (" Reject", None, "- too dear to lose"),
            rows["keep"]: ("override", "delist", None),
            other: ("override", "list", "star product"),
            accepted: ("accept", None, "fine"),
        },
    )
    found = read_decisions(filled)

    def key(row):
        return table["store_cluster"][row - 2], table["sku"][row - 2]

    rules = {(line.store_cluster, line.sku): line.rule for line in found.table.itertuples()}
    assert rules == {
        key(rows["list"]): "must_not",
        key(rows["delist"]): "must_list",
        key(rows["keep"]): "must_not",
        key(other): "must_list",
    }
    assert sum(map(len, found.must_list.values())) == sum(map(len, found.must_not.values())) == 2
    assert key(other)[1] in found.must_list[key(other)[0]]
    assert found.summary() == [
        "4 lines overruled: 2 to be listed, 2 not to be listed.",
        "1 of them give no reason.",
    ]


def test_an_untouched_workbook_overrules_nothing(path):
    found = read_decisions(path)
    assert found.table.empty
    assert found.must_list == found.must_not == {}
    assert "No line" in found.summary()[0]


@pytest.mark.parametrize(
    ("entries", "words"),
    [
        ({5: ("maybe", None, None)}, "1 lines hold 'maybe' in column decision .rows 5."),
        ({5: ("override", None, None)}, "override without an own choice .rows 5."),
        ({7: ("override", "drop", None)}, "'drop' in column own choice"),
    ],
)
def test_decisions_that_cannot_be_read_are_named(path, tmp_path, entries, words):
    with pytest.raises(TableError, match=words):
        read_decisions(fill_in(path, tmp_path / "filled.xlsx", entries))


def test_other_files_are_named(tmp_path):
    with pytest.raises(MissingDataError, match="no file"):
        read_decisions(tmp_path / "none.xlsx")
    book = openpyxl.Workbook()
    book.save(tmp_path / "other.xlsx")
    with pytest.raises(TableError, match="no sheet 'Range by cluster'"):
        read_decisions(tmp_path / "other.xlsx")
    book.active.title = "Range by cluster"
    book.active.append(["Cluster", "SKU"])
    book.save(tmp_path / "other.xlsx")
    with pytest.raises(TableError, match="no column 'Product', 'Plan'"):
        read_decisions(tmp_path / "other.xlsx")


def test_waiting_changes_too_many_to_list_are_left_to_the_tables(plan, monkeypatch):
    changes = plan.ranges.changes.copy()
    moved = changes.index[changes["action"] != "keep"]
    changes.loc[moved[::2], "when"] = "waits"
    changes.loc[moved[1::2], "when"] = "phase 1"
    many, ranges = copy.copy(plan), copy.copy(plan.ranges)
    object.__setattr__(ranges, "changes", changes)
    object.__setattr__(many, "ranges", ranges)

    def sheet():
        return next(found for found in plan_sheets(many) if found.name == "Changes by store")

    assert len(sheet().frame) == len(moved) > 2
    monkeypatch.setattr("geomarket.report.sheets._MOST_CHANGES", 1)
    assert set(sheet().frame["when"]) == {"phase 1"}
    assert f"{len(moved[::2])} changes that wait" in sheet().intro
