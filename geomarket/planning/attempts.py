"""One job where it is done, here or in a worker: its time limit, its failure, and what it logs."""

from __future__ import annotations

import contextlib
import copy
import ctypes
import faulthandler
import logging
import os
import secrets
import signal
import threading
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from threadpoolctl import threadpool_limits

from geomarket.errors import GeomarketError

__all__ = ["GRACE", "Attempt", "Failure", "Outcome"]

_log = logging.getLogger(__name__)

GRACE = 30.0
"""Seconds past its time limit after which a worker process that can't be interrupted is ended."""

_TOKEN = secrets.token_hex(8)


@dataclass(frozen=True)
class Failure:
    """A job that did not end well: what was to be done, and why it wasn't."""

    name: str
    kind: str
    message: str


@dataclass(frozen=True)
class Outcome:
    """What became of a job: its result or failure, and what a worker elsewhere logged on the way."""

    name: str
    value: Any
    records: list[logging.LogRecord] = field(default_factory=list)


def _this_process() -> tuple[str, int]:
    # A forked process has its parent's token, one on another machine may have our number.
    return _TOKEN, os.getpid()


@dataclass(frozen=True)
class Attempt:
    """Does one job; made by the process that wants it, called where it is done.

    Parameters
    ----------
    work : callable
        What to call.
    name : str
        What to call the job in a failure.
    time_limit : float, optional
        Seconds.
    own_process : bool
        Whether a worker is a process that is there for us alone: it ends with us, and may be ended.
    home : tuple of str and int
        The process that asked for it.
    level : int
        From which level on it wants to hear what is logged.
    grace : float
        See :data:`GRACE`.
    """

    work: Callable[[Any], Any]
    name: str
    time_limit: float | None
    own_process: bool
    home: tuple[str, int]
    level: int
    grace: float = GRACE

    @classmethod
    def of(
        cls, work: Callable[[Any], Any], name: str, time_limit: float | None, own_process: bool
    ) -> Attempt:
        """Make one for this process."""
        return cls(
            work,
            name,
            time_limit,
            own_process,
            _this_process(),
            logging.getLogger().getEffectiveLevel(),
            GRACE,
        )

    def in_a_process(self) -> Attempt:
        """Return the same for a worker process of ours."""
        return replace(self, own_process=True)

    def __call__(self, item: Any) -> Outcome:
        """Do the job."""
        if self.home == _this_process():
            return Outcome(self.name, self._tried(item))
        if self.own_process:
            _end_with(self.home[1])
        with _as_worker(self.level) as records:
            value = self._tried(item)
        return Outcome(self.name, value, records)

    def _tried(self, item: Any) -> Any:
        elsewhere = self.home != _this_process()
        try:
            with (
                _last_resort(self.time_limit, self.grace, self.own_process and elsewhere),
                _deadline(self.time_limit),
            ):
                return self.work(item)
        except _Overdue:
            return Failure(self.name, "TimeoutError", f"not done within {self.time_limit:g} s")
        except GeomarketError as error:
            return Failure(self.name, type(error).__name__, str(error))
        except MemoryError:
            return Failure(self.name, "MemoryError", "not enough memory. Fewer --jobs leave more for each")
        except Exception as error:  # a fault in one job must not take the others with it; its trace is kept
            place = traceback.extract_tb(error.__traceback__)[-1]
            words = (
                f"{type(error).__name__}: {error} ({place.name}, line {place.lineno}). Please report this."
            )
            _log.info("%s", traceback.format_exc())
            return Failure(self.name, type(error).__name__, words)


class _Overdue(BaseException):
    """Raised in a job whose time is up; not an Exception, so that no handler on the way swallows it."""


@contextlib.contextmanager
def _deadline(seconds: float | None) -> Iterator[None]:
    if seconds is None:
        yield
    elif hasattr(signal, "setitimer") and threading.current_thread() is threading.main_thread():
        with _alarm(seconds):
            yield
    else:
        with _interruption(seconds):
            yield


@contextlib.contextmanager
def _alarm(seconds: float) -> Iterator[None]:
    def overdue(number: int, frame: Any) -> None:
        raise _Overdue

    before = signal.signal(signal.SIGALRM, overdue)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@contextlib.contextmanager
def _interruption(seconds: float) -> Iterator[None]:
    """Do without the system's alarm, which only the main thread of a Unix process can have."""
    thread, lock, done = ctypes.c_ulong(threading.get_ident()), threading.Lock(), False

    def overdue() -> None:
        with lock:
            if not done:
                ctypes.pythonapi.PyThreadState_SetAsyncExc(thread, ctypes.py_object(_Overdue))

    timer = threading.Timer(seconds, overdue)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        with lock:
            done = True
        timer.cancel()
        ctypes.pythonapi.PyThreadState_SetAsyncExc(
            thread, None
        )  # one that has not struck yet must not strike later


@contextlib.contextmanager
def _last_resort(seconds: float | None, grace: float, wanted: bool) -> Iterator[None]:
    """End this worker when a compiled call holds it up past all limits; a watch of its own, which needs no Python."""
    if seconds is None or not wanted:
        yield
        return
    with open(os.devnull, "w") as nowhere:
        faulthandler.dump_traceback_later(seconds + grace, exit=True, file=nowhere)
        try:
            yield
        finally:
            faulthandler.cancel_dump_traceback_later()


_watched: set[int] = set()


def _end_with(parent: int) -> None:
    """End this process when its parent has ended: killed, that can't tell its workers, and they would stay."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1.0)
        os._exit(1)

    if parent not in _watched:
        _watched.add(parent)
        threading.Thread(target=watch, daemon=True).start()


class _Kept(logging.Handler):
    """Keeps what one thread logs, ready to travel."""

    def __init__(self) -> None:
        super().__init__()
        self.thread, self.records = threading.get_ident(), []  # type: tuple[int, list[logging.LogRecord]]

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a copy with its words put together: arguments and traces may not travel."""
        if record.thread != self.thread:
            return
        kept = copy.copy(record)
        kept.msg, kept.args = record.getMessage(), None
        if record.exc_info:
            kept.msg += "\n" + "".join(traceback.format_exception(*record.exc_info))
        kept.exc_info = kept.exc_text = kept.stack_info = None
        self.records.append(kept)


class _Room:
    """What jobs in one worker share: a limit of threads and a way of logging, from the first of them to the last."""

    def __init__(self) -> None:
        self.lock, self.users = threading.Lock(), 0
        self.limits: Any = None
        self.level = logging.WARNING

    def enter(self, level: int) -> None:
        with self.lock:
            self.users += 1
            if self.users == 1:
                self.limits = threadpool_limits(limits=1)
                root = logging.getLogger()
                self.level = root.level
                root.setLevel(level)
                logging.captureWarnings(True)
                for kind in (DeprecationWarning, PendingDeprecationWarning, FutureWarning):
                    warnings.simplefilter("ignore", kind)

    def leave(self) -> None:
        with self.lock:
            self.users -= 1
            if self.users == 0:
                self.limits.restore_original_limits()
                logging.getLogger().setLevel(self.level)
                logging.captureWarnings(False)


_room = _Room()


@contextlib.contextmanager
def _as_worker(level: int) -> Iterator[list[logging.LogRecord]]:
    """Cap the threads and collect what is logged, for the process that wants the job done."""
    kept = _Kept()
    root = logging.getLogger()
    _room.enter(level)
    root.addHandler(kept)
    try:
        yield kept.records
    finally:
        root.removeHandler(kept)
        _room.leave()
