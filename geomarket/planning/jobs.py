"""Independent jobs, run side by side; one that fails fails alone.

The work goes through joblib: processes on this machine by default, and Spark, Dask or Ray where their joblib backend is
installed. Results come back in the order of the jobs, whatever the number of workers, so they don't depend on it.
"""

from __future__ import annotations

import contextlib
import importlib
import logging
import signal
import threading
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import joblib
from joblib.externals.loky.process_executor import TerminatedWorkerError

from geomarket.errors import GeomarketError, SettingsError

__all__ = ["Failure", "JobOptions", "run_jobs"]

_log = logging.getLogger(__name__)

_REGISTER = {
    "spark": ("joblibspark", "register_spark", "pip install joblibspark pyspark"),
    "ray": ("ray.util.joblib", "register_ray", "pip install ray"),
    "dask": ("dask.distributed", None, "pip install dask distributed, and connect a Client"),
}
_HERE = ("loky", "multiprocessing", "threading", "sequential")


@dataclass(frozen=True)
class JobOptions:
    """How jobs are run.

    Parameters
    ----------
    jobs : int
        Workers; 1 runs the jobs in this process, -1 takes as many as there are cores.
    backend : str, optional
        A joblib backend: "loky" (processes, the default), "spark", "dask", "ray", or one registered before.
    time_limit : float, optional
        Seconds after which a job is given up. Needs a Unix system; work inside one call of a compiled library ends
        only when that call does.
    """

    jobs: int = 1
    backend: str | None = None
    time_limit: float | None = None


@dataclass(frozen=True)
class Failure:
    """A job that did not end well: what was to be done, and why it wasn't."""

    name: str
    kind: str
    message: str


def run_jobs(
    work: Callable[[Any], Any],
    items: Sequence[Any],
    names: Sequence[str],
    options: JobOptions | None = None,
    on_done: Callable[[str], None] | None = None,
) -> list[Any]:
    """Do ``work(item)`` for every item.

    Parameters
    ----------
    work : callable
        Must be importable by a worker process (a function of a module), and so must what it takes and returns.
    items : sequence
        What to work on.
    names : sequence of str
        What to call each item in logs and failures.
    options : JobOptions, optional
        Workers, backend, time limit.
    on_done : callable, optional
        Called with the name of each job as it ends.

    Returns
    -------
    list
        For each item its result, or a :class:`Failure`.

    Raises
    ------
    SettingsError
        If the backend is unknown or not installed.

    Examples
    --------
    >>> from math import sqrt
    >>> run_jobs(sqrt, [4.0, -1.0], ["four", "minus one"])  # doctest: +NORMALIZE_WHITESPACE
    [2.0, Failure(name='minus one', kind='ValueError', message='...')]
    """
    options = options or JobOptions()
    tell = on_done or (lambda name: None)
    if options.jobs == 0 or options.jobs < -1:
        raise SettingsError(f"--jobs {options.jobs}: give a number of workers, or -1 for one on each core.")
    if options.backend is None and (options.jobs == 1 or len(items) <= 1):
        return [
            _told(_attempt(work, item, name, options.time_limit), name, tell)
            for item, name in zip(items, names)
        ]
    calls = [
        joblib.delayed(_attempt)(work, item, name, options.time_limit) for item, name in zip(items, names)
    ]
    backend = _backend(options.backend or "loky")
    found: list[Any] = []
    try:
        with _configured(backend, options.jobs):
            # Backends of other systems hand everything over at the end.
            form = "generator" if backend in _HERE else "list"
            for outcome in joblib.Parallel(return_as=form)(calls):
                found.append(_told(outcome, names[len(found)], tell))
    except TerminatedWorkerError:
        _log.warning("a worker was killed; the jobs that were not done are tried one by one")
        found += [_alone(work, items[i], names[i], options, tell) for i in range(len(found), len(items))]
    return found


def _told(outcome: Any, name: str, tell: Callable[[str], None]) -> Any:
    tell(name)
    if isinstance(outcome, Failure):
        _log.error("%s failed: %s", name, outcome.message)
    return outcome


def _alone(
    work: Callable[[Any], Any], item: Any, name: str, options: JobOptions, tell: Callable[[str], None]
) -> Any:
    """Do one job in a worker of its own, so that one that kills its worker is known by name."""
    try:
        with _configured("loky", 2):
            # Two calls, because joblib runs a single one in this process.
            calls = [joblib.delayed(_attempt)(work, item, name, options.time_limit), joblib.delayed(int)()]
            outcome = joblib.Parallel()(calls)[0]
    except TerminatedWorkerError:
        words = "its process was killed, perhaps for want of memory. Fewer --jobs leave more for each"
        outcome = Failure(name, "TerminatedWorkerError", words)
    return _told(outcome, name, tell)


def _configured(backend: str, jobs: int) -> Any:
    # One thread a worker: workers times threads would otherwise fight for the cores.
    inner = {"inner_max_num_threads": 1} if backend == "loky" else {}
    return joblib.parallel_config(backend=backend, n_jobs=jobs, **inner)


def _backend(name: str) -> str:
    if name in _REGISTER:
        module, register, cure = _REGISTER[name]
        try:
            found = importlib.import_module(module)
        except ImportError as error:
            raise SettingsError(f"--backend {name}: {module} is not installed ({cure}).") from error
        if register:
            getattr(found, register)()
    try:
        joblib.parallel_config(backend=name).unregister()
    except ValueError as error:
        known = ", ".join([*_HERE, *_REGISTER])
        raise SettingsError(
            f"--backend {name}: joblib knows no such backend. Choose one of {known}."
        ) from error
    return name


def _attempt(work: Callable[[Any], Any], item: Any, name: str, time_limit: float | None) -> Any:
    try:
        with _deadline(time_limit):
            return work(item)
    except _Overdue:
        return Failure(name, "TimeoutError", f"not done within {time_limit:g} s")
    except GeomarketError as error:
        return Failure(name, type(error).__name__, str(error))
    except MemoryError:
        return Failure(name, "MemoryError", "not enough memory. Fewer --jobs leave more for each")
    except Exception as error:  # a fault in one job must not take the others with it; its trace is kept
        place = traceback.extract_tb(error.__traceback__)[-1]
        words = f"{type(error).__name__}: {error} ({place.name}, line {place.lineno}). Please report this."
        _log.debug("%s", traceback.format_exc())
        return Failure(name, type(error).__name__, words)


class _Overdue(BaseException):
    """Raised in a job whose time is up; not an Exception, so that no handler on the way swallows it."""


@contextlib.contextmanager
def _deadline(seconds: float | None) -> Iterator[None]:
    usable = hasattr(signal, "setitimer") and threading.current_thread() is threading.main_thread()
    if seconds is None or not usable:
        yield
        return

    def overdue(number: int, frame: Any) -> None:
        raise _Overdue

    before = signal.signal(signal.SIGALRM, overdue)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
