"""Jobs: same results whatever the workers, a failure is told and fails alone, also when its process dies."""

import math
import os
import signal
import time

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


def test_faults_nobody_foresaw_are_told_with_their_place():
    found = run_jobs(lambda x: 1 / x, [0], ["zero"])
    assert found[0].kind == "ZeroDivisionError"
    assert "line" in found[0].message


def test_unknown_backends_and_numbers_are_refused():
    with pytest.raises(SettingsError, match="knows no such backend"):
        run_jobs(root_of, NUMBERS, NAMES, JobOptions(jobs=2, backend="teleport"))
    with pytest.raises(SettingsError, match="-1 for one on each core"):
        run_jobs(root_of, NUMBERS, NAMES, JobOptions(jobs=0))
