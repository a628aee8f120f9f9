"""Codes as file names, anchors and sort keys."""

from __future__ import annotations

import re

__all__ = ["natural_key", "slug"]


def slug(text: str) -> str:
    """Return a text as it may stand in a file name or an anchor.

    Examples
    --------
    >>> slug("C1"), slug("City / north"), slug("")
    ('C1', 'City___north', '_')
    """
    return re.sub(r"[^A-Za-z0-9_-]", "_", text) or "_"


def natural_key(code: str) -> tuple[tuple[int, int, str], ...]:
    """Return a key that sorts C2 before C10.

    Examples
    --------
    >>> sorted(["C10", "C2", "B3"], key=natural_key)
    ['B3', 'C2', 'C10']
    """
    parts = re.findall(r"\d+|\D+", code)
    return tuple((0, int(part), "") if part.isdecimal() else (1, 0, part) for part in parts)
