"""Steps of a run that are not done twice: each is known by the content of all it depends on."""

from __future__ import annotations

import logging
import weakref
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from geomarket.planning.checkpoints import MISSING, Checkpoints, code_version, fingerprint

__all__ = ["Keeper"]

_log = logging.getLogger(__name__)

T = TypeVar("T")


class Keeper:
    """Does steps, keeps what they return, and finds it again.

    A step is found again only where its name, the code, the versions of the libraries and the content of everything it
    was said to depend on are the same. So a changed input redoes what depends on it and nothing else: a step that comes
    out as before stops the change there.

    Parameters
    ----------
    checkpoints : Checkpoints, optional
        Where results are kept; without it every step is done.
    resume : bool
        Whether to look for what an earlier run kept. Results are kept either way.

    Examples
    --------
    >>> keeper = Keeper()
    >>> keeper.do("answer", lambda: 6 * 7, on=(6, 7))
    42
    >>> keeper.reused
    []
    """

    def __init__(self, checkpoints: Checkpoints | None = None, resume: bool = True) -> None:
        self.checkpoints = checkpoints
        self.resume = resume
        self.reused: list[str] = []
        # What finds the object stands beside its hash, for its address may be given to another.
        self._seen: dict[int, tuple[Callable[[], Any], str]] = {}

    def do(self, name: str, work: Callable[[], T], on: Sequence[Any]) -> T:
        """Return what ``work()`` gives, or gave in an earlier run with the same ``on``."""
        found = self.find(name, on)
        return self.keep(name, on, work()) if found is MISSING else found

    def find(self, name: str, on: Sequence[Any]) -> Any:
        """Return what an earlier run kept of this step; :data:`MISSING` if nothing."""
        if self.checkpoints is None or not self.resume:
            return MISSING
        found = self.checkpoints.load(self._key(name, on))
        if found is not MISSING:
            self.reused.append(name)
            _log.info("%s: reused", name)
        return found

    def keep(self, name: str, on: Sequence[Any], value: T) -> T:
        """Keep the result of a step and return it."""
        if self.checkpoints is not None:
            self.checkpoints.save(self._key(name, on), value)
        return value

    def _key(self, name: str, on: Sequence[Any]) -> str:
        return fingerprint(name, code_version(), [self._print_of(value) for value in on])

    def _print_of(self, value: Any) -> str:
        known = self._seen.get(id(value))
        if known is None or known[0]() is not value:
            known = self._seen[id(value)] = (_finder(value), fingerprint(value))
        return known[1]


def _finder(value: Any) -> Callable[[], Any]:
    """Return what gives the object as long as it is there; large ones are not kept alive for it."""
    try:
        return weakref.ref(value)
    except TypeError:
        return lambda: value
