"""Everything public in the two geographic rooms shows an example that runs (they run as doctests)."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Iterator

import pytest

ROOMS = ("geomarket.hexes", "geomarket.neighbourhoods")


def documented(room: str) -> Iterator[tuple[str, str]]:
    """Public functions, classes, and methods that take arguments, with their docstrings."""
    module = importlib.import_module(room)
    for name in module.__all__:
        thing = getattr(module, name)
        if not (inspect.isclass(thing) or inspect.isfunction(thing)):
            continue
        yield name, thing.__doc__ or ""
        for method, raw in vars(thing).items() if inspect.isclass(thing) else ():
            function = getattr(raw, "__func__", raw)
            if method.startswith("_") or not inspect.isfunction(function):
                continue
            if set(inspect.signature(function).parameters) - {"self", "cls"}:
                yield f"{name}.{method}", function.__doc__ or ""


@pytest.mark.parametrize("room", ROOMS)
def test_every_public_name_has_an_example(room):
    found = dict(documented(room))
    assert len(found) > 15
    assert [name for name, text in found.items() if ">>> " not in text] == []
