"""Independent jobs, run side by side; one that fails fails alone.

The work goes through joblib: processes on this machine by default, and Spark, Dask or Ray where they are installed.
Results come back in the order of the jobs, whatever the number of workers, so they don't depend on it.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import joblib
from joblib.externals.loky.process_executor import TerminatedWorkerError

from geomarket.errors import SettingsError
from geomarket.planning.attempts import GRACE, Attempt, Failure, Outcome
from geomarket.planning.backends import check_backend, opened

__all__ = ["Failure", "JobOptions", "run_jobs"]

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class JobOptions:
    """How jobs are run.

    Parameters
    ----------
    jobs : int
        Workers; 1 runs the jobs in this process, -1 takes as many as there are cores.
    backend : str, optional
        A joblib backend: "loky" (processes, the default), "threading", "spark", "dask", "ray", or one registered
        before. Dask's scheduler and Ray's cluster are those their own configuration names; else they start here.
    time_limit : float, optional
        Seconds after which a job is given up. Work inside one call of a compiled library ends only when that call
        does; a process of the default backend that it holds up is ended half a minute later.

    Raises
    ------
    SettingsError
        If the backend is unknown or not installed, or the number of workers makes no sense.
    """

    jobs: int = 1
    backend: str | None = None
    time_limit: float | None = None

    def __post_init__(self) -> None:
        if self.jobs == 0 or self.jobs < -1:
            raise SettingsError(f"--jobs {self.jobs}: give a number of workers, or -1 for one on each core.")
        if self.backend is not None:
            check_backend(self.backend)


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
        For each item its result, or a :class:`Failure`. What workers log is logged here.

    Raises
    ------
    SettingsError
        If the backend can't be started.

    Examples
    --------
    >>> from math import sqrt
    >>> run_jobs(sqrt, [4.0, -1.0], ["four", "minus one"])  # doctest: +NORMALIZE_WHITESPACE
    [2.0, Failure(name='minus one', kind='ValueError', message='...')]
    """
    options = options or JobOptions()
    tell = on_done or (lambda name: None)
    backend = options.backend or "loky"
    here = options.backend is None and (options.jobs == 1 or len(items) <= 1)
    attempts = [Attempt.of(work, name, options.time_limit, own_process=backend == "loky") for name in names]
    if here:
        return [_told(attempt(item), tell) for attempt, item in zip(attempts, items)]
    calls = [joblib.delayed(attempt)(item) for attempt, item in zip(attempts, items)]
    found: list[Any] = []
    with opened(backend, options.jobs) as one_by_one:
        try:
            outcomes = joblib.Parallel(return_as="generator" if one_by_one else "list")(calls)
            for outcome in outcomes:
                found.append(_told(outcome, tell))
        except SettingsError:
            raise
        except Exception as error:  # of whatever kind: each of these systems has its own for a lost worker
            words = "a worker was killed" if isinstance(error, TerminatedWorkerError) else _in_short(error)
            _log.warning("%s; the jobs that were not done are tried one by one, on this machine", words)
    left = range(len(found), len(items))
    return found + [_told(_alone(attempts[i], items[i]), tell) for i in left]


def _in_short(error: Exception) -> str:
    first = (str(error).strip() or "no reason given").split("\n")[0]
    return f"the backend stopped ({type(error).__name__}: {first[:300]})"


def _told(outcome: Outcome, tell: Callable[[str], None]) -> Any:
    for record in outcome.records:
        logger = logging.getLogger(record.name)
        if logger.isEnabledFor(record.levelno):
            logger.handle(record)
    tell(outcome.name)
    if isinstance(outcome.value, Failure):
        _log.error("%s failed: %s", outcome.name, outcome.value.message)
    return outcome.value


def _alone(attempt: Attempt, item: Any) -> Outcome:
    """Do one job in a worker of its own, so that one that kills its worker is known by name."""
    began = time.perf_counter()
    try:
        with opened("loky", 2):
            # Two calls, because joblib runs a single one in this process.
            calls = [joblib.delayed(attempt.in_a_process())(item), joblib.delayed(int)()]
            return joblib.Parallel()(calls)[0]
    except TerminatedWorkerError:
        limit = attempt.time_limit
        if limit is not None and time.perf_counter() - began >= limit + GRACE:
            words = f"not done within {limit:g} s, and not to be stopped but by ending its process"
            return Outcome(attempt.name, Failure(attempt.name, "TimeoutError", words))
        words = "its process was killed, perhaps for want of memory. Fewer --jobs leave more for each"
        return Outcome(attempt.name, Failure(attempt.name, "TerminatedWorkerError", words))
