"""A folder that something is written into for the first time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from geomarket.errors import SettingsError

__all__ = ["new_folder"]


@contextmanager
def new_folder(name: str | Path) -> Iterator[Path]:
    """Make a folder for what is written in the ``with`` block.

    Raises
    ------
    SettingsError
        If it has something in it already, or can't be written to. Give another name.
    """
    folder = Path(name)
    try:
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise SettingsError(f"{folder} is there already and not an empty folder. Give a new name.")
        folder.mkdir(parents=True, exist_ok=True)
        yield folder
    except OSError as err:
        raise SettingsError(
            f"{folder} can't be written to ({err.strerror or err}). Give another name."
        ) from err
