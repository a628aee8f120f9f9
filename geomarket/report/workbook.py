"""The workbook: every line of the plan, formatted to be filtered, sorted and worked in."""

from __future__ import annotations

import datetime as dt
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xlsxwriter

from geomarket.report.reach_sheets import reach_sheets
from geomarket.report.sheets import Field, Sheet, dictionary_sheet, plan_sheets, readme_lines
from geomarket.writing import replacing

__all__ = ["looks_like_formula", "write_dictionary", "write_workbook"]

# a workbook stores when it was made; a fixed day keeps the bytes the same from run to run
_CREATED = dt.datetime(2020, 1, 1)
_TEXT_ONLY = {
    "strings_to_formulas": False,
    "strings_to_urls": False,
    "strings_to_numbers": False,
    "nan_inf_to_errors": False,
}
_MAX_ROWS = 1_048_575
_MAX_TEXT = 32_767
_HEAD_ROW = 0
_INK, _ACCENT, _SOFT, _RULE, _MUTED = "#1B2422", "#0B6663", "#EFEDE6", "#DDDAD1", "#5A6561"
_GAIN, _LOSS = "#0B7A75", "#B3541E"
_LINE_POINTS, _MOST_LINES = 13.5, 8
_README_WIDTH = 92
_FIGURES = frozenset({"count", "number", "money", "share", "index"})
_NUMERIC = _FIGURES | {"tenths", "whole_money"}
_FINE = frozenset({"money", "number"})
_BETWEEN = {"id": (10.0, 20.0), "text": (12.0, 44.0)}
_WIDTHS: dict[str, float] = {
    "id": 12,
    "text": 24,
    "wide": 70,
    "count": 11,
    "number": 11,
    "money": 13,
    "share": 11,
    "index": 9,
    "date": 12,
    "flag": 9,
    "action": 9,
    "input": 16,
}


def looks_like_formula(text: str) -> bool:
    """Whether a spreadsheet could take a text for a formula when it is edited or pasted.

    Examples
    --------
    >>> looks_like_formula("=HYPERLINK(…)"), looks_like_formula(" +44"), looks_like_formula("Tea - green")
    (True, True, False)
    """
    return text.lstrip().startswith(("=", "+", "-", "@")) or text.startswith(("\t", "\r", "\n"))


def write_workbook(plan: Any, path: str | os.PathLike[str]) -> Path:
    """Write the workbook of a plan.

    Texts are stored as texts, never as formulas; one that looks like a formula also carries the mark Excel gives a
    text typed after an apostrophe, so that editing it doesn't turn it into one.

    Parameters
    ----------
    plan : Plan
        A finished plan; a sheet whose stage was skipped says why.
    path : path-like
        The xlsx file to write; replaced only when the new one is complete.

    Returns
    -------
    Path
        ``path``. The same plan gives the same bytes.
    """
    path = Path(path)
    with replacing(path) as temporary:
        _write(plan, temporary)
    return path


def _write(plan: Any, path: Path) -> None:
    with xlsxwriter.Workbook(str(path), {"constant_memory": True, **_TEXT_ONLY}) as book:
        book.set_properties({"title": str(plan.market.name), "author": "geomarket", "created": _CREATED})
        book.set_calc_mode("auto")
        styles = _Styles(book, plan.market.currency)
        sheets = [*plan_sheets(plan), *reach_sheets(plan)]
        sheets.append(dictionary_sheet(sheets))
        _write_readme(book, styles, readme_lines(plan, sheets) + _cut_notes(sheets))
        for sheet in sheets:
            page = _write_sheet(book, styles, sheet)
            if sheet.name in _CHARTS and len(sheet.frame):
                _CHARTS[sheet.name](book, page, sheet, plan.market.currency)


def write_dictionary(dictionary: pd.DataFrame, path: str | os.PathLike[str]) -> None:
    """Write what the columns of exported tables mean, as a workbook of one sheet.

    Parameters
    ----------
    dictionary : DataFrame
        table, column, type, meaning.
    path : path-like
        File to write. The same dictionary gives the same bytes.
    """
    fields = [
        Field("table", "Table", "id", "Table or map layer."),
        Field("column", "Column", "text", "Name of the column."),
        Field("type", "Type", "text", "What it is written as."),
        Field("meaning", "Meaning", "wide", "What it holds."),
    ]
    with xlsxwriter.Workbook(os.fspath(path), {"constant_memory": True, **_TEXT_ONLY}) as book:
        book.set_properties({"author": "geomarket", "created": _CREATED})
        sheet = Sheet("Data dictionary", "Every column of the exported tables.", dictionary, fields)
        _write_sheet(book, _Styles(book, ""), sheet)


def _cut_notes(sheets: list[Sheet]) -> list[tuple[str, str]]:
    """Say which sheets hold fewer rows than the plan: Excel has a limit."""
    return [
        (
            "item",
            f"{sheet.name}: the first {_MAX_ROWS:,} of {len(sheet.frame):,} rows; all are in the tables folder.",
        )
        for sheet in sheets
        if len(sheet.frame) > _MAX_ROWS
    ]


class _Styles:
    """Cell formats, made once each."""

    def __init__(self, book: Any, currency: str) -> None:
        self._book = book
        self._made: dict[tuple[str, bool], Any] = {}
        sign = currency.replace('"', "")
        base = {"font_name": "Arial", "font_size": 10, "font_color": _INK, "valign": "top"}
        self._base = base
        self._numbers = {
            "count": "#,##0",
            "number": "#,##0.00",
            "tenths": "#,##0.0",
            "money": f'"{sign}"#,##0.00;-"{sign}"#,##0.00',
            "whole_money": f'"{sign}"#,##0;-"{sign}"#,##0',
            "share": "0.0%",
            "index": "0",
            "date": "d mmm yyyy",
        }
        self.head = self.make(
            bold=True, font_color="#FFFFFF", bg_color=_ACCENT, text_wrap=True, valign="vcenter"
        )
        self.number_head = self.make(
            bold=True,
            font_color="#FFFFFF",
            bg_color=_ACCENT,
            text_wrap=True,
            valign="vcenter",
            align="right",
            indent=1,
        )
        self.input_head = self.make(
            bold=True, font_color=_INK, bg_color="#F4D58D", text_wrap=True, valign="vcenter"
        )
        self.intro = self.make(font_color=_MUTED, italic=True)
        self.readme = {
            "title": self.make(font_size=18, bold=True),
            "badge": self.make(bold=True, font_color="#8A5300", bg_color="#FDF1DC"),
            "head": self.make(font_size=12, bold=True, font_color=_ACCENT),
            "text": self.make(text_wrap=True),
            "item": self.make(text_wrap=True, indent=1),
        }
        self.gain = book.add_format({"font_color": _GAIN, "bold": True})
        self.loss = book.add_format({"font_color": _LOSS, "bold": True})

    def make(self, **changes: Any) -> Any:
        """Return a new format: the common look with changes."""
        return self._book.add_format({**self._base, **changes})

    def head_of(self, kind: str) -> Any:
        """Return the format of a head: over figures it stands at the right, as they do."""
        return self.input_head if kind == "input" else self.number_head if kind in _FIGURES else self.head

    def of(self, kind: str, quoted: bool = False) -> Any:
        """Return the format of a kind of column; ``quoted`` marks text that looks like a formula."""
        if (kind, quoted) not in self._made:
            changes: dict[str, Any] = {"bottom": 1, "bottom_color": _RULE}
            if kind in self._numbers:
                parts = self._numbers[kind].split(";")
                # figures keep clear of the words in the next column; not every program indents from the right
                changes["num_format"] = ";".join(part + ("" if kind == "date" else "_)_)") for part in parts)
            if kind == "wide":
                changes["text_wrap"] = True
            if kind == "input":
                changes |= {"bg_color": "#FFF9E9", "locked": False}
            if kind == "id":
                changes["num_format"] = "@"
            if quoted:
                changes["quote_prefix"] = True
            self._made[kind, quoted] = self.make(**changes)
        return self._made[kind, quoted]


def _write_readme(book: Any, styles: _Styles, lines: list[tuple[str, str]]) -> None:
    page = book.add_worksheet("Read me")
    page.hide_gridlines(2)
    page.set_column(0, 0, _README_WIDTH)
    page.set_paper(9)
    page.fit_to_pages(1, 0)
    row = 0
    for style, text in lines:
        if style == "head":
            row += 1
        if style == "title":
            page.set_row(row, 30)
        elif (lines_needed := _lines(text, _README_WIDTH)) > 1:
            page.set_row(row, _LINE_POINTS * lines_needed + 2)
        page.write_string(row, 0, text[:_MAX_TEXT], styles.readme[style])
        row += 1
    page.set_first_sheet()
    page.activate()


def _write_sheet(book: Any, styles: _Styles, sheet: Sheet) -> Any:
    page = book.add_worksheet(sheet.name)
    page.hide_gridlines(2)
    fields = sheet.shown
    if not fields:
        page.set_column(0, 0, 100)
        page.write_string(0, 0, sheet.intro[:_MAX_TEXT], styles.intro)
        return page
    frame = sheet.frame.head(_MAX_ROWS)
    columns = [_column(frame[field.column], field.kind) for field in fields]
    widths = [_width(field.kind, values) for field, values in zip(fields, columns)]
    for k, width in enumerate(widths):
        page.set_column(k, k, width)
    heads = max(_lines(field.head, width, spare=3) for field, width in zip(fields, widths))
    page.set_row(_HEAD_ROW, max(32, _LINE_POINTS * heads + 6))
    for k, field in enumerate(fields):
        page.write_string(_HEAD_ROW, k, field.head, styles.head_of(field.kind))
    kinds = [_shown_as(field.kind, values) for field, values in zip(fields, columns)]
    writers = [_writer(page, styles, kind) for kind in kinds]
    blanks = [styles.of(kind) for kind in kinds]
    wrapped = [k for k, field in enumerate(fields) if field.kind == "wide"]
    for row, values in enumerate(zip(*columns), start=_HEAD_ROW + 1):
        # not every program makes a row as high as its text
        lines = max((_lines(values[k] or "", _WIDTHS["wide"]) for k in wrapped), default=1)
        if lines > 1:
            page.set_row(row, _LINE_POINTS * lines + 2)
        for k, value in enumerate(values):
            if value is None:
                page.write_blank(row, k, None, blanks[k])
            else:
                writers[k](row, k, value)
    last = _HEAD_ROW + len(frame)
    page.freeze_panes(_HEAD_ROW + 1, _frozen(fields))
    page.autofilter(_HEAD_ROW, 0, max(last, _HEAD_ROW + 1), len(fields) - 1)
    if len(frame):
        _add_colours(page, styles, fields, last)
        _add_choices(page, sheet, fields, last)
    else:
        page.write_string(last + 1, 0, "None.", styles.intro)
    page.set_landscape()
    page.set_paper(9)
    page.fit_to_pages(1, 0)
    page.repeat_rows(_HEAD_ROW)
    return page


def _width(kind: str, values: list[Any]) -> float:
    """Return how many characters a column is wide: as its texts are long, within limits."""
    if kind not in _BETWEEN:
        return _WIDTHS[kind]
    longest = max((len(value) for value in values if value is not None), default=0)
    # a character of a text is rather narrower than a figure
    least, most = _BETWEEN[kind]
    return min(max(least, 0.95 * longest + 2), most)


def _shown_as(kind: str, values: list[Any]) -> str:
    """Return the kind with no more decimals than four in five of the column's figures call for."""
    sizes = [abs(value) for value in values if value] if kind in _FINE else []
    usual = float(np.quantile(sizes, 0.2)) if sizes else 0.0
    if kind == "money" and usual >= 100:
        return "whole_money"
    if kind == "number" and usual >= 10:
        return "count" if usual >= 100 else "tenths"
    return kind


def _lines(text: str, width: float, spare: int = 0) -> int:
    """Return how many lines a wrapped text takes in a column of so many characters."""
    # a column of n figures holds rather more letters
    room = max(int(1.12 * (width - spare)), 1)
    taken = sum(-(-len(part) // room) or 1 for part in text.split("\n"))
    return min(max(taken, 1), _MOST_LINES)


def _frozen(fields: list[Field]) -> int:
    """Columns that stay in sight: the leading ids, at most two."""
    leading = next((k for k, field in enumerate(fields) if field.kind != "id"), len(fields))
    return min(max(leading, 1), 2)


def _column(values: pd.Series, kind: str) -> list[Any]:
    """Return a column's values ready to be written; None where missing."""
    if kind in _NUMERIC:
        numbers = pd.to_numeric(values, errors="coerce").to_numpy(dtype=float, na_value=np.nan)
        return [
            value if known else None for value, known in zip(numbers.tolist(), np.isfinite(numbers).tolist())
        ]
    present = values.notna().tolist()
    if kind == "date":
        return [pd.Timestamp(v).to_pydatetime() if known else None for v, known in zip(values, present)]
    if kind == "flag":
        return ["yes" if known and bool(v) else None for v, known in zip(values, present)]
    return [str(v)[:_MAX_TEXT] if known else None for v, known in zip(values, present)]


def _writer(page: Any, styles: _Styles, kind: str) -> Callable[[int, int, Any], Any]:
    plain, quoted = styles.of(kind), styles.of(kind, quoted=True)
    if kind in _NUMERIC:
        return lambda row, column, value: page.write_number(row, column, value, plain)
    if kind == "date":
        return lambda row, column, value: page.write_datetime(row, column, value, plain)

    def write_text(row: int, column: int, value: str) -> None:
        page.write_string(row, column, value, quoted if looks_like_formula(value) else plain)

    return write_text


def _add_colours(page: Any, styles: _Styles, fields: list[Field], last: int) -> None:
    first = _HEAD_ROW + 1
    for k, field in enumerate(fields):
        if field.kind == "action":
            for word, style in (("list", styles.gain), ("delist", styles.loss)):
                rule = {"type": "cell", "criteria": "==", "value": f'"{word}"', "format": style}
                page.conditional_format(first, k, last, k, rule)
        elif field.kind == "index":
            scale = {
                "type": "3_color_scale",
                "min_color": "#E8B48F",
                "mid_color": "#FFFFFF",
                "max_color": "#8CCBC5",
                "mid_type": "num",
                "mid_value": 100,
            }
            page.conditional_format(first, k, last, k, scale)
        elif field.kind == "share":
            bar = {
                "type": "data_bar",
                "bar_color": "#BFDEDB",
                "bar_solid": True,
                "min_type": "num",
                "min_value": 0,
            }
            page.conditional_format(first, k, last, k, bar)


def _add_choices(page: Any, sheet: Sheet, fields: list[Field], last: int) -> None:
    place = {field.column: k for k, field in enumerate(fields)}
    for column, words in sheet.choices:
        if column in place:
            page.data_validation(
                _HEAD_ROW + 1,
                place[column],
                last,
                place[column],
                {
                    "validate": "list",
                    "source": list(words),
                    "error_title": "Please choose",
                    "error_message": f"One of: {', '.join(words)}; or leave it empty.",
                },
            )


def _add_frontier_chart(book: Any, page: Any, sheet: Sheet, currency: str) -> None:
    """Draw gain against number of clusters as a chart of the workbook's own."""
    place = {field.column: k for k, field in enumerate(sheet.shown)}
    first, last = _HEAD_ROW + 1, _HEAD_ROW + len(sheet.frame)
    chart = book.add_chart({"type": "line"})
    looks = {
        "gain_in_sample": {"color": "#9AA19E", "dash_type": "round_dot", "width": 1.75},
        "gain_holdout": {"color": _INK, "width": 1.5},
        "net": {"color": _ACCENT, "width": 2.75},
    }
    for column, line in looks.items():
        if column in place:
            chart.add_series(
                {
                    "name": ["Frontier", _HEAD_ROW, place[column]],
                    "categories": ["Frontier", first, place["n_clusters"], last, place["n_clusters"]],
                    "values": ["Frontier", first, place[column], last, place[column]],
                    "line": line,
                }
            )
    sign = currency.replace('"', "")
    gains = sheet.frame[[column for column in looks if column in sheet.frame]].to_numpy(dtype=float)
    kept = sheet.frame[[column for column in ("gain_holdout", "net") if column in sheet.frame]]
    promised = float(np.nanmax(gains, initial=0.0))
    top = max(float(np.nanmax(kept.to_numpy(dtype=float), initial=0.0)), 1.0)
    axis: dict[str, Any] = {
        "num_format": f'"{sign}"#,##0;-"{sign}"#,##0',
        "num_font": {"name": "Arial", "color": _MUTED},
        "major_gridlines": {"visible": True, "line": {"color": _RULE}},
    }
    if np.nanmin(gains, initial=0.0) < -0.6 * top:
        # a plan that loses many times what others gain would flatten everything else
        axis["min"] = -float(f"{0.6 * top:.1g}")
    if promised > 2 * top:
        # and so would a promise many times what is kept
        axis["max"] = float(f"{2 * top:.1g}")
    _finish(chart, "Gain a year by number of store clusters")
    chart.set_x_axis({"name": "Store clusters", "label_position": "low"})
    chart.set_y_axis(axis)
    page.insert_chart(last + 2, 0, chart)


def _add_penetration_chart(book: Any, page: Any, sheet: Sheet, currency: str) -> None:
    """Draw the index of customers per resident, a bar for each type of the finest level."""
    place = {field.column: k for k, field in enumerate(sheet.shown)}
    frame = sheet.frame.reset_index(drop=True)
    if "index" not in place or not frame["index"].notna().any():
        return
    known = frame.index[frame["index"].notna()]
    first, last = _HEAD_ROW + 1 + int(known.min()), _HEAD_ROW + 1 + int(known.max())
    chart = book.add_chart({"type": "bar"})
    chart.add_series(
        {
            "name": "Customers per resident",
            "categories": ["Neighbourhoods", first, place["name"], last, place["name"]],
            "values": ["Neighbourhoods", first, place["index"], last, place["index"]],
            "fill": {"color": _ACCENT},
            "gap": 60,
        }
    )
    _finish(chart, "Customers per resident: index, 100 is the market")
    chart.set_legend({"none": True})
    chart.set_x_axis({"crossing": 100, "major_gridlines": {"visible": True, "line": {"color": _RULE}}})
    chart.set_y_axis({"reverse": True, "label_position": "low", "crossing": "min"})
    chart.set_size({"width": 760, "height": 60 + 24 * len(known)})
    page.insert_chart(_HEAD_ROW + len(frame) + 3, 0, chart)


def _finish(chart: Any, title: str) -> None:
    looks = {"name": "Arial", "size": 12, "bold": True, "color": _INK}
    chart.set_title({"name": title, "overlay": False, "name_font": looks})
    chart.set_legend({"position": "bottom"})
    chart.set_size({"width": 760, "height": 380})


_CHARTS = {"Frontier": _add_frontier_chart, "Neighbourhoods": _add_penetration_chart}
