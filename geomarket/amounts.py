"""Amounts of money in sentences."""

from __future__ import annotations

import math

__all__ = ["as_money"]


def as_money(amount: float, currency: str, digits: int = 2) -> str:
    """Write an amount to the cent; nothing where there is none.

    Examples
    --------
    >>> as_money(-1234.5, "€"), as_money(12.3456, "", 3), as_money(float("nan"), "€")
    ('-€1,234.50', '12.346', '')
    """
    if not math.isfinite(amount):
        return ""
    return f"{'-' if round(amount, digits) < 0 else ''}{currency}{abs(amount):,.{digits}f}"
