"""What a hexagon map can be coloured by: classes or numbers, with the words of their legends."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, TypedDict

import numpy as np
import numpy.typing as npt

from geomarket.hexmap.palette import nice_breaks, number_colours

__all__ = ["NumberFormat", "class_view", "format_for", "number_view", "write_number"]

_CURRENCIES = frozenset("€$£¥")


class NumberFormat(TypedDict):
    """How numbers of one kind are written.

    ``style`` is "number", "percent" (of shares 0..1) or "money"; ``digits`` are decimals; ``unit`` is a word
    after the number or the currency before it.
    """

    style: str
    digits: int
    unit: str


def write_number(value: float, number_format: NumberFormat) -> str:
    """Write a number as the page's script does.

    Examples
    --------
    >>> write_number(0.125, {"style": "percent", "digits": 1, "unit": ""})
    '12.5%'
    >>> write_number(-1234.4, {"style": "money", "digits": 0, "unit": "€"})
    '−€1,234'
    """
    if not np.isfinite(value):
        return "no data"
    digits, unit = number_format["digits"], number_format["unit"]
    if number_format["style"] == "percent":
        return f"{_rounded(value * 100, digits)}%"
    text = _rounded(abs(value), digits)
    sign = "−" if value < 0 and float(text.replace(",", "")) > 0 else ""
    if number_format["style"] == "money":
        return f"{sign}{unit}{text}"
    return f"{sign}{text} {unit}" if unit else f"{sign}{text}"


def format_for(kind: str, unit: str, values: npt.ArrayLike, currency: str = "€") -> NumberFormat:
    """Return the format of a variable from its kind ("count", "rate" or "mean"), unit and range."""
    known = np.asarray(values, dtype=float)
    known = known[np.isfinite(known)]
    largest = float(np.abs(known).max()) if known.size else 1.0
    if kind == "rate" or unit in {"share", "%"}:
        return {"style": "percent", "digits": 1 if largest < 0.2 else 0, "unit": ""}
    digits = 0 if largest >= 100 else 1 if largest >= 10 else 2
    if unit == "money" or unit in _CURRENCIES:
        return {"style": "money", "digits": digits, "unit": currency if unit == "money" else unit}
    return {"style": "number", "digits": 0 if kind == "count" and largest >= 10 else digits, "unit": unit}


def class_view(
    key: str,
    label: str,
    names: Sequence[str],
    colours: Sequence[str],
    *,
    missing: int = 0,
    missing_label: str = "no data",
    group: str = "",
    note: str = "",
) -> dict[str, Any]:
    """Return a view that colours classes; ``key`` is the column whose codes index ``names`` and ``colours``."""
    return {
        "key": key,
        "column": key,
        "label": label,
        "group": group,
        "kind": "class",
        "unit": "",
        "names": list(names),
        "colours": list(colours),
        "missing": int(missing),
        "missingLabel": missing_label,
        "note": note,
    }


def number_view(
    key: str,
    label: str,
    values: npt.ArrayLike,
    number_format: NumberFormat,
    *,
    unit: str = "",
    per_hexagon: bool = False,
    missing_label: str = "no data",
    group: str = "",
    note: str = "",
    n_classes: int = 7,
    breaks: Sequence[float] | None = None,
) -> dict[str, Any]:
    """Return a view that colours numbers in classes of about equally many cells.

    Parameters
    ----------
    key, label : str
        Column, and what the reader sees.
    values : array-like of shape (n_cells,)
        NaN where missing; the classes are made from the others.
    number_format : NumberFormat
        Digits are raised where the class limits need them.
    unit : str
        Unit for the legend's title.
    per_hexagon : bool
        The figure is an amount: coarser levels show the average per hexagon.
    missing_label, group, note : str
        Legend text of missing values; heading in the list of views; a sentence under the legend.
    n_classes : int
        Wanted number of classes.
    breaks : sequence of float, optional
        Class limits, rising, for a figure whose scale means something; made from the values by default.

    Examples
    --------
    >>> view = number_view("v", "V", [0.2, 0.6, 0.9], format_for("mean", "", [0.5]), breaks=[0.5, 0.8])
    >>> view["classLabels"]
    ['under 0.50', '0.50 to 0.80', '0.80 or more']
    """
    known = np.asarray(values, dtype=float)
    limits = nice_breaks(known, n_classes) if breaks is None else [float(limit) for limit in breaks]
    number_format = _enough_digits(limits, number_format)
    return {
        "key": key,
        "column": key,
        "label": label,
        "group": group,
        "kind": "number",
        "unit": unit,
        "format": number_format,
        "breaks": limits,
        "classLabels": _class_labels(limits, number_format, known),
        "colours": number_colours(len(limits) + 1),
        "missing": int(np.count_nonzero(~np.isfinite(known))),
        "missingLabel": missing_label,
        "perHexagon": per_hexagon,
        "note": note,
    }


def _class_labels(
    breaks: list[float], number_format: NumberFormat, values: npt.NDArray[np.float64]
) -> list[str]:
    known = values[np.isfinite(values)]
    if not breaks:
        return [write_number(float(known[0]), number_format) if known.size else "no values"]
    # the legend's title carries the unit
    bare: NumberFormat = (
        {**number_format, "unit": ""} if number_format["style"] == "number" else number_format
    )
    words = [write_number(value, bare) for value in breaks]
    between = [f"{low} to {high}" for low, high in pairwise(words)]
    return [f"under {words[0]}", *between, f"{words[-1]} or more"]


def _enough_digits(breaks: list[float], number_format: NumberFormat) -> NumberFormat:
    """Raise the decimals until every class limit is written apart from the next."""
    for digits in range(number_format["digits"], 7):
        tried: NumberFormat = {**number_format, "digits": digits}
        words = [write_number(value, tried) for value in breaks]
        exact = all(
            np.isclose(_read(word), value * (100 if tried["style"] == "percent" else 1), rtol=1e-3)
            for word, value in zip(words, breaks)
        )
        if exact and len(set(words)) == len(words):
            return tried
    return number_format


def _read(word: str) -> float:
    digits = "".join(sign for sign in word if sign.isdigit() or sign in ".−")
    return float(digits.replace("−", "-"))


def _rounded(value: float, digits: int) -> str:
    """Round halves away from zero, as browsers do (Python's format rounds them to even)."""
    text = f"{value:,.{digits}f}"
    halved = np.floor(abs(value) * 10**digits + 0.5) / 10**digits
    if abs(abs(value) * 10**digits % 1 - 0.5) < 1e-9:
        text = f"{np.copysign(halved, value):,.{digits}f}"
    return "0" + text[2:] if text.startswith("-0") and float(text.replace(",", "")) == 0 else text
