"""The workbook in LibreOffice: opened without repair, every figure as it was written."""

from __future__ import annotations

import csv
import shutil
import subprocess
from pathlib import Path

import openpyxl
import pytest
import report_fixture

from geomarket.report import write_workbook

pytestmark = [
    pytest.mark.office,
    # openpyxl reads the workbook here; what it can't keep is of no concern
    pytest.mark.filterwarnings("ignore:.*extension is not supported:UserWarning"),
]
OFFICE = shutil.which("soffice") or shutil.which("libreoffice")
# comma, double quote, UTF-8, from row 1, formulas' results as they are, every sheet in a file of its own
CSV_OF_ALL_SHEETS = "csv:Text - txt - csv (StarCalc):44,34,76,1,,0,false,false,false,false,false,-1"


@pytest.fixture(scope="module")
def book(tmp_path_factory: pytest.TempPathFactory) -> Path:
    plan = report_fixture.make_plan(radius_km=3.0, n_stores=5, n_clusters=2, skus_per_category=4)
    plan.market.stores.loc[0, "name"] = '=HYPERLINK("http://x","y")'
    return write_workbook(plan, tmp_path_factory.mktemp("office") / "plan.xlsx")


def converted(book: Path, target: str) -> Path:
    if OFFICE is None:
        pytest.skip(
            "LibreOffice is not installed (Debian: libreoffice-calc): the workbook was not opened in it"
        )
    folder = book.parent / target.split(":")[0]
    profile = (book.parent / "profile").as_uri()
    command = [OFFICE, f"-env:UserInstallation={profile}", "--headless", "--norestore"]
    command += ["--convert-to", target, "--outdir", str(folder), str(book)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=180, check=False)
    assert done.returncode == 0, done.stderr
    assert "Error" not in done.stdout + done.stderr
    return folder


def test_every_sheet_is_read_with_every_figure(book):
    folder = converted(book, CSV_OF_ALL_SHEETS)
    sheets = openpyxl.load_workbook(book)
    for sheet in sheets:
        with (folder / f"plan-{sheet.title}.csv").open(newline="", encoding="utf-8") as file:
            lines = list(csv.reader(file))
        for row, line in zip(sheet.iter_rows(values_only=True), lines):
            for written, read in zip(row, line):
                if isinstance(written, (int, float)) and not isinstance(written, bool):
                    figure = float(read.rstrip("%")) / (100 if read.endswith("%") else 1)
                    assert figure == pytest.approx(written, rel=1e-9), (sheet.title, row)
                elif isinstance(written, str):
                    assert read == written, (sheet.title, row)
        assert len(lines) >= sum(any(cell is not None for cell in row) for row in sheet.values)


def test_choices_filters_colours_and_charts_survive(book):
    folder = converted(book, "xlsx")
    before = openpyxl.load_workbook(book)
    after = openpyxl.load_workbook(folder / "plan.xlsx")
    assert after.sheetnames == before.sheetnames
    for sheet in before:
        same = after[sheet.title]
        assert bool(same.auto_filter.ref) == bool(sheet.auto_filter.ref)
        assert len(same.data_validations.dataValidation) == len(sheet.data_validations.dataValidation)
        assert len(same._charts) == len(sheet._charts)
        assert len(same.conditional_formatting) == len(sheet.conditional_formatting)
    assert sum(len(sheet._charts) for sheet in after) > 0
