"""What every command shares: logs, progress, exit codes, and how a run ends when it is told to stop."""

from __future__ import annotations

import atexit
import errno
import json
import logging
import os
import signal
import sys
import threading
import time
import traceback
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from geomarket.errors import GeomarketError, MissingDataError, SettingsError, TableError

__all__ = [
    "BAD_INPUT",
    "DONE",
    "FAILED",
    "JsonLines",
    "count_progress",
    "err",
    "errors_to_exit_codes",
    "expected_seconds",
    "out",
    "set_up_logging",
    "stage_progress",
]

DONE, FAILED, BAD_INPUT, INTERRUPTED, TERMINATED = 0, 1, 2, 130, 143

out = Console(soft_wrap=True, highlight=False)
err = Console(stderr=True, soft_wrap=True, highlight=False)

_log = logging.getLogger(__name__)


class JsonLines(logging.Formatter):
    """Log records as one JSON object a line, for a scheduler or a log store.

    Examples
    --------
    >>> record = logging.LogRecord("geomarket.planning", logging.INFO, "", 0, "%s: %.1f s", ("Demand", 2), None)
    >>> record.created = 0.0
    >>> JsonLines().format(record)
    '{"time": "1970-01-01T00:00:00.000Z", "level": "info", "logger": "geomarket.planning", "message": "Demand: 2.0 s"}'
    """

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as JSON, in one line."""
        stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        content: dict[str, Any] = {
            "time": f"{stamp}.{int(record.created % 1 * 1000):03d}Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        content.update(getattr(record, "fields", {}))
        if record.exc_info:
            content["trace"] = "".join(traceback.format_exception(*record.exc_info))
        return json.dumps(content, ensure_ascii=False)


def set_up_logging(verbose: bool, as_json: bool) -> None:
    """Send logs to standard error, as text or as JSON lines; JSON tells every stage, text only on request.

    With JSON, what others write to standard error (workers, Java, a wrong option) becomes JSON lines, too.
    """
    handler = logging.StreamHandler(_lines_only(sys.stderr) if as_json else sys.stderr)
    plain = logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s")
    handler.setFormatter(JsonLines() if as_json else plain)
    logging.basicConfig(
        level=logging.INFO if verbose or as_json else logging.WARNING, handlers=[handler], force=True
    )
    if not verbose:  # what libraries tell their programmers is not for planners
        for kind in (DeprecationWarning, PendingDeprecationWarning, FutureWarning):
            warnings.simplefilter("ignore", kind)
    logging.captureWarnings(True)


def _lines_only(stream: TextIO) -> TextIO:
    """Return where log lines go, after putting a pipe in the place of standard error, whose lines become records."""
    try:
        if stream.fileno() != 2:
            return stream
        direct = os.fdopen(os.dup(2), "w", encoding="utf-8", buffering=1)
        readable, writable = os.pipe()
    except (OSError, ValueError):  # a stream of a notebook or a test
        return stream
    os.dup2(writable, 2)
    os.close(writable)
    reader = threading.Thread(target=_pass_on, args=(readable, direct), daemon=True)
    reader.start()

    def end() -> None:
        stream.flush()
        os.dup2(direct.fileno(), 2)  # closes our end of the pipe: the reader comes to its end
        reader.join(timeout=1.0)  # unless somebody we started lives on and holds theirs

    atexit.register(end)
    return direct


def _pass_on(readable: int, direct: TextIO) -> None:
    with os.fdopen(readable, encoding="utf-8", errors="replace") as lines:
        for line in lines:
            if not (text := line.strip()):
                continue
            record = logging.LogRecord("stderr", logging.WARNING, "", 0, "%s", (text,), None)
            direct.write((text if _is_record(text) else JsonLines().format(record)) + "\n")


def _is_record(line: str) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except ValueError:
        return False


class _Terminated(BaseException):
    """The process was told to end (SIGTERM, as schedulers send it)."""


@contextmanager
def errors_to_exit_codes() -> Iterator[None]:
    """Say what went wrong in a line or two, and end with the code for it.

    2: the input is at fault. 1: the plan failed. 130: stopped with Ctrl-C. 143: told to end. Files being written go,
    and solvers started by this process end with it.
    """
    came: list[int] = []
    try:
        with _terminable(came):
            yield
    except typer.Exit:
        raise
    except (Exception, KeyboardInterrupt, _Terminated) as error:
        # A query that a signal interrupts raises an error of its own.
        if came or isinstance(error, (KeyboardInterrupt, _Terminated)):
            _say("Stopped. Finished steps are kept: the same command with --resume goes on from there.")
            raise typer.Exit(TERMINATED if signal.SIGTERM in came else INTERRUPTED) from error
        if isinstance(error, (TableError, SettingsError, MissingDataError)):
            _say(str(error))
            raise typer.Exit(BAD_INPUT) from error
        # Whatever it is, a scheduler gets a line and a code, and the log the trace.
        _say(f"The plan failed{f': {error}' if isinstance(error, GeomarketError) else _in_words(error)}")
        raise typer.Exit(FAILED) from error


_NO_MEMORY = ("cannot allocate memory", "failed to map segment", "bad_alloc", "can't start new thread")


def _in_words(error: Exception) -> str:
    said = f"{error} {error.__cause__ or error.__context__ or ''}".lower()
    if isinstance(error, MemoryError) or any(sign in said for sign in _NO_MEMORY):
        return ": not enough memory. Fewer --jobs, or a smaller [engine] memory_limit, leave more."
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        where = f" ({error.filename})" if error.filename else ""
        return (
            f": the disk is full{where}. Free some space; the same command with --resume goes on from here."
        )
    if isinstance(error, OSError):
        return f": {error.strerror or error}{f' ({error.filename})' if error.filename else ''}."
    _log.info("unforeseen fault", exc_info=True)
    return (
        f" on something unforeseen: {type(error).__name__}: {error}. "
        "Please report it with the trace that --verbose before the command shows."
    )


def _say(message: str) -> None:
    if any(isinstance(handler.formatter, JsonLines) for handler in logging.getLogger().handlers):
        _log.error("%s", message)
    else:
        err.print(message, style="red", markup=False)


@contextmanager
def _terminable(came: list[int]) -> Iterator[None]:
    """Raise where the process is told to end, and note the signal in ``came``."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(number: int, frame: Any) -> None:
        came.append(number)
        raise KeyboardInterrupt if number == signal.SIGINT else _Terminated

    before = {signal.SIGTERM: signal.signal(signal.SIGTERM, stop)}
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        before[signal.SIGINT] = signal.signal(signal.SIGINT, stop)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def stage_progress(stages: Mapping[str, float], extra: float = 0.0) -> Iterator[Callable[[str], None]]:
    """Show the running stage and the time left on a terminal; stay quiet elsewhere.

    Parameters
    ----------
    stages : mapping of str to float
        Each stage and the seconds it is expected to take, such as :func:`expected_seconds` gives.
    extra : float
        Seconds expected outside the stages (reading, writing).
    """
    if not err.is_terminal:
        yield lambda stage: None
        return
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(), TextColumn("about"))
    with Progress(*columns, TimeRemainingColumn(), TextColumn("left"), console=err, transient=True) as bar:
        task = bar.add_task("Starting", total=sum(stages.values()) + extra)
        running: list[str] = []

        def next_stage(stage: str) -> None:
            for done in running:
                bar.advance(task, stages.get(done, extra / 2))
            running[:] = [stage]
            bar.update(task, description=stage)

        yield next_stage


@contextmanager
def count_progress(what: str, total: int) -> Iterator[Callable[[int, int], None]]:
    """Show how many of ``total`` are done on a terminal; stay quiet elsewhere. Yields ``tell(done, total)``."""
    if not err.is_terminal:
        yield lambda done, of: None
        return
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.completed} of {task.total}"))
    with Progress(*columns, TimeRemainingColumn(), console=err, transient=True) as bar:
        task = bar.add_task(what, total=total)
        yield lambda done, of: bar.update(task, completed=done)


def expected_seconds(folder: Path, stages: Mapping[str, float]) -> dict[str, float]:
    """Return the seconds each stage took in the folder's last run; ``stages`` where there was none.

    Examples
    --------
    >>> expected_seconds(Path("never made"), {"Demand": 2.0})
    {'Demand': 2.0}
    """
    try:
        rows = json.loads((folder / "timings.json").read_text(encoding="utf-8"))["timings"]
        last = {str(row["stage"]): max(float(row["seconds"]), 0.01) for row in rows}
    except (OSError, ValueError, KeyError, TypeError):
        last = {}
    return {stage: last.get(stage, seconds) for stage, seconds in stages.items()}
