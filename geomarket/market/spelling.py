"""The nearest known word to a misspelt one."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

__all__ = ["did_you_mean", "nearest"]


def nearest(word: str, known: Iterable[str]) -> str | None:
    """Return the known word most like this one, or None where none is like it.

    Parameters
    ----------
    word : str
        What was written.
    known : iterable of str
        What could have been meant.

    Returns
    -------
    str or None

    Examples
    --------
    >>> nearest("resolutoin", ["resolution", "points"])
    'resolution'
    >>> nearest("Store ID", ["sku", "store_id"])
    'store_id'
    >>> nearest("colour", ["sku", "units"]) is None
    True
    """
    folded: dict[str, str] = {}
    for candidate in known:
        folded.setdefault(_folded(candidate), candidate)
    found = difflib.get_close_matches(_folded(word), list(folded), n=1, cutoff=0.6)
    return folded[found[0]] if found else None


def did_you_mean(word: str, known: Iterable[str], otherwise: str = "") -> str:
    """Return "; did you mean 'x'?", or ``otherwise`` where nothing is like the word.

    Examples
    --------
    >>> did_you_mean("unit", ["units"])
    "; did you mean 'units'?"
    """
    best = nearest(word, known)
    return f"; did you mean {best!r}?" if best else otherwise


def _folded(word: str) -> str:
    return "_".join(word.casefold().replace("-", " ").replace("_", " ").split())
