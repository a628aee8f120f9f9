"""Slices of an array worked through by plain threads.

For work that leaves the interpreter lock (compiled kernels, GEOS, H3, large numpy operations). Slices are fixed
by their size alone and write to places of their own, so results don't depend on the number of threads.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numba

__all__ = ["each_slice"]


def _threads() -> int:
    return int(numba.config.NUMBA_NUM_THREADS)  # type: ignore[attr-defined]


def each_slice(task: Callable[[slice], None], n: int, size: int) -> None:
    """Call ``task`` for every slice of ``size`` out of ``n``; errors are raised.

    As many threads as numba would use: the processor's cores, or ``NUMBA_NUM_THREADS`` where it is set.
    """
    slices = [slice(start, min(start + size, n)) for start in range(0, n, size)]
    if not slices:
        return
    # The first one alone, so that a kernel is compiled once and not by every thread at the same time.
    task(slices[0])
    if len(slices) > 1:
        with ThreadPoolExecutor(max_workers=_threads()) as pool:
            list(pool.map(task, slices[1:]))
