"""The categories of a range plan as jobs: kept when done, found again, and failing alone."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Sequence

from geomarket.assortment.ranges import CategoryJob, CategoryPart, plan_category
from geomarket.planning.checkpoints import MISSING
from geomarket.planning.jobs import Failure, JobOptions, run_jobs
from geomarket.planning.keeping import Keeper

__all__ = ["RangeJobs"]

_log = logging.getLogger(__name__)

SPARE_SECONDS = 120.0
"""What a category may take besides its solver."""


class RangeJobs:
    """Runs the jobs of :func:`geomarket.plan_ranges`; give it as ``run``.

    Parameters
    ----------
    keeper : Keeper
        Finds the categories that an earlier run finished.
    options : JobOptions
        Workers and backend. Without a time limit of its own a job gets that of its solver and two minutes more.

    Attributes
    ----------
    failures : list of Failure
        Categories that could not be planned, and why.
    """

    def __init__(self, keeper: Keeper | None = None, options: JobOptions | None = None) -> None:
        self.keeper = keeper or Keeper()
        self.options = options or JobOptions()
        self.failures: list[Failure] = []

    def __call__(self, jobs: Sequence[CategoryJob]) -> list[CategoryPart | None]:
        """Do the jobs; None stands for one that failed."""
        names = [f"Range of {job.category}" for job in jobs]
        found = [self.keeper.find(name, (job,)) for name, job in zip(names, jobs)]
        left = [i for i, part in enumerate(found) if part is MISSING]
        options = self.options
        if options.time_limit is None and jobs:
            limit = max(job.options.time_limit for job in jobs) + SPARE_SECONDS
            options = JobOptions(options.jobs, options.backend, limit)
        number = itertools.count(1)
        done = run_jobs(
            plan_category,
            [jobs[i] for i in left],
            [names[i] for i in left],
            options,
            lambda name: _log.info("%s: done, %d of %d", name, next(number), len(left)),
        )
        for i, part in zip(left, done):
            if isinstance(part, Failure):
                self.failures.append(part)
                found[i] = None
            else:
                found[i] = self.keeper.keep(names[i], (jobs[i],), part)
        return found
