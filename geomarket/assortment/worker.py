"""The solver in a process of its own, which can be killed.

HiGHS was seen to ignore its time limit on large programs. A child process reports each better bound and point as
it finds them; when it overruns, it is killed and the best of them is what comes back. The child is started with
the interpreter of this process and runs :func:`main`; it never imports the caller's main module, so a script needs
no guard.
"""

from __future__ import annotations

import logging
import os
import pickle
import queue
import signal
import subprocess
import sys
import threading
import time
from types import TracebackType
from typing import IO, Any

import numpy as np

from geomarket.assortment.milp import LinearProgram, dual_bound, relative_gap, value
from geomarket.assortment.solving import (
    Report,
    SolverOptions,
    SolverResult,
    Start,
    clashing_groups,
    solve_here,
    usable,
)
from geomarket.errors import SolverError

__all__ = ["SolverProcess", "solve"]

_log = logging.getLogger(__name__)

#: Seconds past the time limit before the child is killed.
GRACE = 5.0


def solve(
    program: LinearProgram,
    options: SolverOptions | None = None,
    start: Start | None = None,
    process: SolverProcess | None = None,
    cutoff: float = -np.inf,
) -> SolverResult:
    """Solve a program, in a process of its own if it is large.

    Parameters
    ----------
    program : LinearProgram
        What to solve.
    options : SolverOptions, optional
        Gap, time limit, seed, and from which size on to isolate.
    start : callable, optional
        As in :func:`geomarket.assortment.solving.solve_here`; must be picklable for large programs.
    process : SolverProcess, optional
        One to use again; otherwise a new one is started where it is needed, and ended.
    cutoff : float
        Stop where the bound is no higher.

    Returns
    -------
    SolverResult

    Raises
    ------
    SolverError
        If the solver fails.
    """
    options = options or SolverOptions()
    if program.cost.size < options.isolate_from:
        return solve_here(program, options, start, cutoff=cutoff)
    if process is not None:
        return process.solve(program, options, start, cutoff)
    with SolverProcess() as own:
        return own.solve(program, options, start, cutoff)


class SolverProcess:
    """A child process that solves programs one after the other.

    Started when first needed, started again after having been killed, ended by :meth:`close` or the ``with`` block.
    """

    def __init__(self) -> None:
        self._child: subprocess.Popen | None = None
        self._messages: queue.Queue[tuple[str, Any]] = queue.Queue()

    def __enter__(self) -> SolverProcess:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def pid(self) -> int | None:
        """Process number of the child, None before it is started."""
        return self._child.pid if self._child else None

    def close(self) -> None:
        """End the child."""
        if self._child is None:
            return
        self._child.kill()
        self._child.wait()
        for stream in (self._child.stdin, self._child.stdout):
            if stream:
                stream.close()
        self._child = None

    def solve(
        self,
        program: LinearProgram,
        options: SolverOptions,
        start: Start | None = None,
        cutoff: float = -np.inf,
    ) -> SolverResult:
        """Solve in the child; after ``time_limit`` and a few seconds of grace kill it and return its best."""
        began = time.perf_counter()
        bound, best = dual_bound(program, np.zeros(program.row_lower.size))[0], None
        try:
            self._send(("solve", (program, options, start, cutoff)))
        except OSError as error:  # no further process may be started here
            _log.warning("solving in this process, without a kill switch: %s", error)
            return solve_here(program, options, start, cutoff=cutoff)
        deadline = time.perf_counter() + options.time_limit + GRACE
        while True:
            kind, what = self._next(deadline)
            if kind == "result":
                return what
            if kind == "error":
                raise what
            if kind == "bound":
                bound = min(bound, what)
            elif kind == "point":
                best = self._better(program, best, what)
            elif kind in ("late", "gone"):
                words = "overran its time limit and was killed" if kind == "late" else "ended unexpectedly"
                _log.warning("the solver %s after %.1f s", words, time.perf_counter() - began)
                self.close()
                return _rescued(program, options, bound, best, time.perf_counter() - began, words)

    def clashing_groups(self, program: LinearProgram, options: SolverOptions) -> list[tuple[str, str]]:
        """Find the rules that clash, in the child; empty where that takes too long."""
        self._send(("clash", (program, options)))
        deadline = time.perf_counter() + 5 * options.time_limit + GRACE
        kind, what = self._next(deadline)
        if kind == "result":
            return what
        self.close()
        if kind == "error":
            raise what
        return []

    @staticmethod
    def _better(program: LinearProgram, best: Any, point: Any) -> Any:
        checked = usable(program, point)
        if checked is None or (best is not None and value(program, checked) <= value(program, best)):
            return best
        return checked

    def _send(self, request: tuple[str, Any]) -> None:
        if self._child is None or self._child.poll() is not None:
            self.close()
            self._start()
        stream = self._child.stdin if self._child else None
        if stream is None:
            raise SolverError("the solver's process has no input; please report this.")
        pickle.dump(request, stream, protocol=5)
        stream.flush()

    def _start(self) -> None:
        # The child finds this package where we found it, installed or not.
        environment = dict(os.environ, PYTHONPATH=os.pathsep.join(p for p in sys.path if p))
        self._messages = queue.Queue()
        self._child = subprocess.Popen(
            [sys.executable, "-c", "from geomarket.assortment.worker import main; main()"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
        )
        threading.Thread(target=_listen, args=(self._child.stdout, self._messages), daemon=True).start()
        kind, _ = self._next(time.perf_counter() + 60.0)
        if kind != "ready":
            self.close()
            raise SolverError(
                "the solver's process did not start; set isolate_from high to solve in this one."
            )

    def _next(self, deadline: float) -> tuple[str, Any]:
        try:
            return self._messages.get(timeout=max(0.0, deadline - time.perf_counter()))
        except queue.Empty:
            return "late", None


def _listen(stream: IO[bytes], messages: queue.Queue[tuple[str, Any]]) -> None:
    """Pass on what the child says until it ends."""
    try:
        while True:
            messages.put(pickle.load(stream))
    except (EOFError, OSError, ValueError, pickle.UnpicklingError):
        messages.put(("gone", None))


def _rescued(
    program: LinearProgram, options: SolverOptions, bound: float, best: Any, seconds: float, words: str
) -> SolverResult:
    objective = -np.inf if best is None else value(program, best)
    gap = np.inf if best is None else relative_gap(bound, objective)
    return SolverResult(
        "optimal" if gap <= options.gap else "time limit",
        best,
        objective,
        max(bound, objective),
        max(bound, objective),
        gap,
        seconds,
        words,
        program.cost.size,
        program.row_lower.size,
    )


def _served(task: str, arguments: Any, say: Report) -> Any:
    if task == "clash":
        program, options = arguments
        return clashing_groups(program, options)
    program, options, start, cutoff = arguments
    return solve_here(program, options, start, say, cutoff)


def _take(requests: IO[bytes], tasks: queue.Queue[tuple[str, Any]]) -> None:
    """Take requests, and end this process, also in the midst of solving, when nobody is left to make them."""
    while True:
        try:
            tasks.put(pickle.load(requests))
        except EOFError:
            os._exit(0)


def main() -> None:
    """Serve requests from standard input until it closes."""
    requests, answers = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever else is printed must not get between the messages

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; whoever started us ends us

    def say(kind: str, what: Any) -> None:
        pickle.dump((kind, what), answers, protocol=5)
        answers.flush()

    tasks: queue.Queue[tuple[str, Any]] = queue.Queue()
    threading.Thread(target=_take, args=(requests, tasks), daemon=True).start()
    say("ready", None)
    while True:
        task, arguments = tasks.get()
        try:
            say("result", _served(task, arguments, say))
        except SolverError as error:
            say("error", error)
        except MemoryError:
            say("error", SolverError("not enough memory to solve this. Fewer --jobs leave more for each."))
