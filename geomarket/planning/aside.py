"""Large results that are needed again later, but not now: on disk, out of memory."""

from __future__ import annotations

import logging
import pickle
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, TypeVar, overload

__all__ = ["SetAside"]

T = TypeVar("T")

_log = logging.getLogger(__name__)


class SetAside(Sequence[T]):
    """A sequence whose items lie on disk: each is read anew whenever it is asked for.

    The file has no name and is this process's own: nothing else can write to it, and it goes with the process, however
    that ends. What there is no room for on disk stays in memory.

    Parameters
    ----------
    items : iterable
        What can be pickled; taken one by one.
    folder : path, optional
        A folder with room; the system's folder for temporary files by default.

    Examples
    --------
    >>> aside = SetAside([10, 20])
    >>> len(aside), aside[-1]
    (2, 20)
    """

    def __init__(self, items: Iterable[T], folder: str | Path | None = None) -> None:
        self._starts: list[int] = []
        self._kept: dict[int, T] = {}
        self._file: Any = None
        for number, item in enumerate(items):
            try:
                self._file = self._file or tempfile.TemporaryFile(dir=folder)  # noqa: SIM115
                self._starts.append(self._file.seek(0, 2))
                pickle.dump(item, self._file, protocol=pickle.HIGHEST_PROTOCOL)
                self._file.flush()
            except OSError as error:
                _log.warning(
                    "no room on disk to set a result aside (%s): kept in memory", error.strerror or error
                )
                self._starts[number:] = [-1]
                self._kept[number] = item
            del item

    @overload
    def __getitem__(self, index: int) -> T: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[T]: ...
    def __getitem__(self, index: int | slice) -> Any:
        if isinstance(index, slice):
            return [self[i] for i in range(len(self))[index]]
        number = range(len(self))[index]
        if number in self._kept:
            return self._kept[number]
        self._file.seek(self._starts[number])
        return pickle.load(self._file)

    def __len__(self) -> int:
        return len(self._starts)
