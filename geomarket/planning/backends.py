"""Where jobs are run: joblib's backends here, and Spark, Dask and Ray where they are installed."""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import signal
import threading
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from typing import Any, NamedTuple

import joblib
from joblib.externals.loky import get_reusable_executor

from geomarket.errors import SettingsError

__all__ = ["BACKENDS", "check_backend", "close_workers", "opened"]

_OPENED: dict[str, bool] = {}  # backends whose workers may be waiting


class _Elsewhere(NamedTuple):
    packages: tuple[str, ...]
    cure: str
    start: Callable[[int], Any]


def _start_spark(jobs: int) -> str:
    from joblibspark import register_spark
    from pyspark.sql import SparkSession

    SparkSession.builder.getOrCreate()  # or the first job would start it
    register_spark()
    return "spark"


def _start_dask(jobs: int) -> Any:
    """Use the client that is there; else the scheduler that Dask's configuration names; else workers here."""
    import dask
    from distributed import Client, default_client
    from joblib._dask import DaskDistributedBackend

    class Backend(DaskDistributedBackend):
        """joblib's own waits for ever for a job whose workers were killed: it isn't told of errors of Dask itself."""

        def submit(self, func: Any, callback: Any = None) -> Any:
            future = super().submit(func, callback)
            future.add_done_callback(lambda done: callback(done.exception()) if done.exception() else None)
            return future

        def retrieve_result_callback(self, out: Any) -> Any:
            if isinstance(out, BaseException):
                raise out
            return super().retrieve_result_callback(out)

    logging.getLogger("distributed").setLevel(logging.ERROR)  # it tells each connection
    try:
        client = default_client()
    except ValueError:
        here = {
            "n_workers": jobs,
            "threads_per_worker": 1,
            "dashboard_address": ":0",
            "silence_logs": logging.ERROR,
        }
        client = Client(**({} if dask.config.get("scheduler-address", None) else here))
    return Backend(client=client)


def _start_ray(jobs: int) -> str:
    """Use the cluster that is joined, or that RAY_ADDRESS names; else workers here."""
    import ray
    from ray.util.joblib import register_ray

    if not ray.is_initialized():
        here: dict[str, Any] = {"num_cpus": jobs, "include_dashboard": False}
        ray.init(
            **({} if os.environ.get("RAY_ADDRESS") else here),
            logging_level=logging.ERROR,
            log_to_driver=False,
        )
    register_ray()
    return "ray"


_HERE = ("loky", "threading", "sequential")
_ELSEWHERE = {
    "spark": _Elsewhere(("joblibspark", "pyspark"), "pip install joblibspark pyspark", _start_spark),
    "dask": _Elsewhere(("dask", "distributed"), "pip install dask distributed", _start_dask),
    "ray": _Elsewhere(("ray",), "pip install ray", _start_ray),
}

BACKENDS = (*_HERE, *_ELSEWHERE)
"""Names that ``--backend`` takes; besides, any that was registered with joblib before."""


def check_backend(name: str) -> None:
    """Refuse a backend that isn't there, before any work is done for it.

    Parameters
    ----------
    name : str
        One of :data:`BACKENDS`, or a backend registered with joblib.

    Raises
    ------
    SettingsError
        If it is unknown, or what it needs is not installed; the message says what to install.

    Examples
    --------
    >>> check_backend("threading")
    >>> check_backend("teleport")
    Traceback (most recent call last):
    geomarket.errors.SettingsError: --backend teleport: joblib knows no such backend. Choose one of loky, ...
    """
    if name in _ELSEWHERE:
        missing = [package for package in _ELSEWHERE[name].packages if find_spec(package) is None]
        if missing:
            words = f"{' and '.join(missing)} {'is' if len(missing) == 1 else 'are'} not installed"
            raise SettingsError(f"--backend {name}: {words} ({_ELSEWHERE[name].cure}).")
        if name == "spark" and shutil.which("java") is None and not os.environ.get("JAVA_HOME"):
            raise SettingsError("--backend spark: no Java was found. Install Java 17, or set JAVA_HOME.")
    elif name == "multiprocessing":
        raise SettingsError(
            "--backend multiprocessing waits for ever for a worker that was killed. Use loky: processes, too."
        )
    elif name not in _HERE:
        try:
            joblib.parallel_config(backend=name).unregister()
        except ValueError as error:
            raise SettingsError(
                f"--backend {name}: joblib knows no such backend. Choose one of {', '.join(BACKENDS)}."
            ) from error


@contextlib.contextmanager
def opened(name: str, jobs: int) -> Iterator[bool]:
    """Let joblib use a backend inside the block; whether it hands results over one by one.

    What is started for it (a Dask or Ray instance on this machine) serves until the process ends, for the next jobs.

    Raises
    ------
    SettingsError
        If the backend can't be started.
    """
    check_backend(name)
    workers = jobs if jobs > 0 else joblib.cpu_count()
    backend: Any = name
    if name in _ELSEWHERE:
        try:
            with _undisturbed():
                backend = _ELSEWHERE[name].start(workers)
        except Exception as error:  # of whatever kind these systems raise
            reason = str(error).strip().split("\n")[0] or type(error).__name__
            raise SettingsError(f"--backend {name} can't be started: {reason}") from error
    # One thread a worker: workers times threads would otherwise fight for the cores.
    inner = {"inner_max_num_threads": 1} if name == "loky" else {}
    _OPENED[name] = True
    # Arrays are sent, not mapped from shared memory: a killed run would leave them there, and workers could not write.
    with joblib.parallel_config(backend=backend, n_jobs=workers, max_nbytes=None, **inner):
        yield joblib.parallel.get_active_backend()[0].supports_return_generator


def close_workers() -> None:
    """End processes that wait for further jobs: they hold what they imported and what they last worked on."""
    if _OPENED.pop("loky", False):
        get_reusable_executor(reuse=True).shutdown(wait=True)


@contextlib.contextmanager
def _undisturbed() -> Iterator[None]:
    """Let Ctrl-C and SIGTERM wait while others start: they lose them, replace their handlers or leave things behind."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    came: list[int] = []
    for number in before:
        signal.signal(number, lambda number, frame: came.append(number))
    try:
        yield
    except SystemExit:  # Ray's own answer to SIGTERM
        came.append(signal.SIGTERM)
    finally:
        for number, handler in before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
    if came:
        signal.raise_signal(came[0])
