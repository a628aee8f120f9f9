"""Amounts of money, and chances, in sentences."""

from __future__ import annotations

import math

__all__ = ["as_chance", "as_money"]


def as_chance(share: float) -> str:
    """Write a chance as a percentage that claims no certainty; nothing where it is unknown.

    Examples
    --------
    >>> as_chance(0.876), as_chance(0.9999), as_chance(0.001), as_chance(float("nan"))
    ('88%', 'over 99%', 'under 1%', '')
    """
    if math.isnan(share):
        return ""
    if share > 0.99:
        return "over 99%"
    return "under 1%" if share < 0.01 else f"{share:.0%}"


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
