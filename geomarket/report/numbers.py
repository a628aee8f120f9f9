"""How figures are written for people: thousands, money, shares, ranges."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

__all__ = ["count", "money", "money_short", "money_tick", "percent", "plural", "signed"]

MISSING = "–"


def _missing(value: Any) -> bool:
    return value is None or bool(pd.isna(value)) or not np.isfinite(float(value))


def count(value: Any, digits: int = 0) -> str:
    """Write a number with thousands separators.

    Examples
    --------
    >>> count(12345.6)
    '12,346'
    >>> count(float("nan"))
    '–'
    """
    if _missing(value):
        return MISSING
    return _minus(f"{float(value):,.{digits}f}")


def money(value: Any, currency: str, digits: int = 0) -> str:
    """Write an amount in full.

    Examples
    --------
    >>> money(-1234.5, "€", 2)
    '−€1,234.50'
    """
    if _missing(value):
        return MISSING
    text = f"{abs(float(value)):,.{digits}f}"
    sign = "−" if float(value) < 0 and float(text.replace(",", "")) > 0 else ""
    return f"{sign}{currency}{text}"


def money_short(value: Any, currency: str) -> str:
    """Write an amount to three figures.

    Examples
    --------
    >>> money_short(1_234_567, "$"), money_short(-45_678, "$"), money_short(310, "$")
    ('$1.23m', '−$45.7k', '$310')
    """
    if _missing(value):
        return MISSING
    amount = abs(float(value))
    for size, letter in ((1e9, "bn"), (1e6, "m"), (1e3, "k")):
        # 999,600 is 1.00m, not 1,000k
        if float(f"{amount:.3g}") >= size:
            scaled = float(f"{amount / size:.3g}")
            digits = max(0, 2 - int(np.floor(np.log10(scaled))))
            text = f"{scaled:,.{digits}f}{letter}"
            break
    else:
        text = f"{amount:,.0f}"
    sign = "−" if float(value) < 0 and text != "0" else ""
    return f"{sign}{currency}{text}"


def money_tick(value: Any, currency: str) -> str:
    """Write a round amount as short as it goes, for axes.

    Examples
    --------
    >>> money_tick(50_000, "€"), money_tick(2_500_000, "€"), money_tick(0, "€")
    ('€50k', '€2.5m', '€0')
    """
    text = money_short(value, currency)
    number = text.rstrip("kmbn")
    unit = text[len(number) :]
    return (number.rstrip("0").rstrip(".") if "." in number else number) + unit


def percent(value: Any, digits: int = 0) -> str:
    """Write a share of 1 as a percentage.

    Examples
    --------
    >>> percent(0.1234, 1)
    '12.3%'
    """
    return MISSING if _missing(value) else _minus(f"{100 * float(value):.{digits}f}%")


def signed(text: str) -> str:
    """Put a plus before a positive figure.

    Examples
    --------
    >>> signed("€12k"), signed("−€3k"), signed("–")
    ('+€12k', '−€3k', '–')
    """
    return text if text.startswith(("−", MISSING)) or text.strip("€$£0.%km") == "" else f"+{text}"


def plural(number: int, one: str, many: str | None = None) -> str:
    """Write a number with its noun.

    Examples
    --------
    >>> plural(1, "store"), plural(2, "store")
    ('1 store', '2 stores')
    """
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def _minus(text: str) -> str:
    if text.startswith("-"):
        bare = text[1:]
        return bare if float(bare.replace(",", "").rstrip("%")) == 0 else f"−{bare}"
    return text
