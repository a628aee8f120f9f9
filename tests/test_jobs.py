"""Jobs: same results whatever the workers, a failure is told and fails alone, also when its process dies."""

import ctypes
import logging
import math
import os
import signal
import subprocess
import sys
import time
import warnings

import pytest

from geomarket.errors import SettingsError, TableError
from geomarket.planning.jobs import Failure, JobOptions, run_jobs


def root_of(x):
    if x < 0:
        raise TableError(f"no root of {x}")
    return math.sqrt(x)


def die_on_three(x):
    if x == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return 10 * x


def sleep_on_two(x):
    if x == 2:
        time.sleep(60)
    return x


def hold_on_two(x):
    if x == 2:
        # No signal gets through, and no other thread: as in a compiled library that never returns.
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGALRM])
        ctypes.PyDLL(None).sleep(60)
    return x


def spin_on_two(x):
    until = time.monotonic() + (60 if x == 2 else 0)
    while time.monotonic() < until:
        pass
    return x


def out_of_memory(x):
    return bytearray(2**60)


def talk(x):
    logging.getLogger("geomarket.assortment").warning("told of %s", x)
    warnings.warn(f"warned of {x}", stacklevel=1)
    warnings.warn("for programmers", FutureWarning, stacklevel=1)


def threads(x):
    from threadpoolctl import threadpool_info

    import geomarket.demand  # noqa: F401  (brings the libraries that have threads)

    return max(pool["num_threads"] for pool in threadpool_info())


NUMBERS = [4.0, 9.0, -1.0, 16.0]
NAMES = ["a", "b", "c", "d"]
EXPECTED = [2.0, 3.0, Failure("c", "TableError", "no root of -1.0"), 4.0]


@pytest.mark.parametrize(
    "options", [JobOptions(), JobOptions(jobs=2), JobOptions(jobs=3), JobOptions(jobs=2, backend="threading")]
)
def test_results_are_the_same_whatever_the_workers(options):
    done = []
    assert run_jobs(root_of, NUMBERS, NAMES, options, done.append) == EXPECTED
    assert done == NAMES


def test_a_killed_worker_costs_its_own_job_only():
    found = run_jobs(die_on_three, [1, 2, 3, 4], NAMES, JobOptions(jobs=2))
    assert found[:2] == [10, 20]
    assert found[3] == 40
    assert isinstance(found[2], Failure)
    assert found[2].name == "c"
    assert "memory" in found[2].message


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_job_that_takes_too_long_is_given_up(jobs):
    found = run_jobs(sleep_on_two, [1, 2, 3], NAMES[:3], JobOptions(jobs=jobs, time_limit=0.3))
    assert [found[0], found[2]] == [1, 3]
    assert found[1] == Failure("b", "TimeoutError", "not done within 0.3 s")


def test_a_job_no_signal_reaches_is_ended_with_its_process(monkeypatch):
    monkeypatch.setattr("geomarket.planning.attempts.GRACE", 0.3)
    monkeypatch.setattr("geomarket.planning.jobs.GRACE", 0.3)
    found = run_jobs(hold_on_two, [1, 2, 3], NAMES[:3], JobOptions(jobs=2, time_limit=0.3))
    assert [found[0], found[2]] == [1, 3]
    assert found[1].kind == "TimeoutError"
    assert "ending its process" in found[1].message


def test_a_time_limit_holds_in_threads_that_have_no_alarm():
    options = JobOptions(jobs=2, backend="threading", time_limit=0.3)
    found = run_jobs(spin_on_two, [1, 2, 3], NAMES[:3], options)
    assert found == [1, Failure("b", "TimeoutError", "not done within 0.3 s"), 3]


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_job_that_needs_more_memory_than_there_is_says_so(jobs):
    found = run_jobs(out_of_memory, [1, 2], NAMES[:2], JobOptions(jobs=jobs))
    assert [failure.kind for failure in found] == ["MemoryError"] * 2
    assert "Fewer --jobs" in found[0].message


def test_what_workers_log_is_logged_here(caplog):
    run_jobs(talk, [1, 2], NAMES[:2], JobOptions(jobs=2))
    said = [(record.name, record.getMessage()) for record in caplog.records]
    assert [line for line in said if line[0] == "geomarket.assortment"] == [
        ("geomarket.assortment", "told of 1"),
        ("geomarket.assortment", "told of 2"),
    ]
    assert any(name == "py.warnings" and "warned of 2" in words for name, words in said)
    assert not any("for programmers" in words for _, words in said)


def test_threads_of_workers_are_capped():
    assert run_jobs(threads, [1, 2], NAMES[:2], JobOptions(jobs=2)) == [1, 1]


@pytest.mark.parametrize("backend", ["dask", "ray"])
def test_jobs_elsewhere_give_what_they_give_here(backend):
    """In a process of its own: what these systems start ends with it."""
    reason = f"{backend.upper()} MISSING: pip install {'dask distributed' if backend == 'dask' else 'ray'}"
    pytest.importorskip("distributed" if backend == "dask" else backend, reason=reason)
    code = f"""if __name__ == "__main__":
    import math
    from geomarket.planning import JobOptions, run_jobs
    items, names = [16.0, -1.0, 9.0], ["a", "b", "c"]
    there = run_jobs(math.sqrt, items, names, JobOptions(jobs=2, backend="{backend}"))
    assert there == run_jobs(math.sqrt, items, names), there
    assert there[::2] == [4.0, 3.0], there
    print("the same")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "the same" in done.stdout, done.stderr[-2000:]


@pytest.mark.parametrize(
    ("backend", "words"),
    [
        ("dask", "dask and distributed are not installed .pip install dask distributed"),
        ("ray", "ray is not installed .pip install ray"),
        ("spark", "joblibspark and pyspark are not installed .pip install"),
        ("multiprocessing", "Use loky"),
    ],
)
def test_a_missing_package_is_named_with_its_cure(backend, words, monkeypatch):
    monkeypatch.setattr("geomarket.planning.backends.find_spec", lambda name: None)
    with pytest.raises(SettingsError, match=words):
        JobOptions(jobs=2, backend=backend)


@pytest.mark.skipif(
    sys.platform == "win32", reason="WORKERS OUTLIVE A KILLED RUN ON WINDOWS: not tried there"
)
def test_no_worker_outlives_a_killed_run(tmp_path):
    code = """if True:
    import os, pathlib, sys, time
    from geomarket.planning import JobOptions, run_jobs

    def work(folder):
        pathlib.Path(folder, str(os.getpid())).touch()
        time.sleep(60)

    run_jobs(work, sys.argv[1:] * 2, ["a", "b"], JobOptions(jobs=2))
"""
    started = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)])
    try:
        assert _within(120, lambda: len(list(tmp_path.iterdir())) == 2)
    finally:
        started.kill()
        started.wait()
    workers = [int(path.name) for path in tmp_path.iterdir()]
    assert _within(60, lambda: not any(map(_runs, workers)))


def _within(seconds, what):
    until = time.monotonic() + seconds
    while not what() and time.monotonic() < until:
        time.sleep(0.1)
    return what()


def _runs(pid):
    try:
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_faults_nobody_foresaw_are_told_with_their_place():
    found = run_jobs(lambda x: 1 / x, [0], ["zero"])
    assert found[0].kind == "ZeroDivisionError"
    assert "line" in found[0].message


def test_unknown_backends_and_numbers_are_refused():
    with pytest.raises(SettingsError, match="knows no such backend"):
        run_jobs(root_of, NUMBERS, NAMES, JobOptions(jobs=2, backend="teleport"))
    with pytest.raises(SettingsError, match="-1 for one on each core"):
        run_jobs(root_of, NUMBERS, NAMES, JobOptions(jobs=0))
