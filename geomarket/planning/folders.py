"""The folder of a run: claimed, held by one run at a time, and written so that no file is ever half there."""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import filelock

from geomarket.errors import SettingsError
from geomarket.writing import replacing

__all__ = ["MANIFEST", "SIGNATURE", "claim_folder", "clear_leftovers", "hold_folder"]

MANIFEST = "manifest.json"
SIGNATURE = "geomarket plan"
_LOCK = ".geomarket.lock"


def claim_folder(folder: Path) -> None:
    """Make the output folder, or accept one that an earlier run of ours wrote.

    Raises
    ------
    SettingsError
        If the folder exists, isn't empty and holds no manifest of geomarket: it isn't ours to write into. Or if it
        can't be made or written to.
    """
    if folder.is_file():
        raise SettingsError(
            f"--out {folder} is a file; name a folder that is new or was written by geomarket."
        )
    if folder.is_dir() and any(path.name != _LOCK for path in folder.iterdir()) and not _is_ours(folder):
        raise SettingsError(
            f"--out {folder} exists and was not written by geomarket (no {MANIFEST} of ours in it). "
            "Name another folder, or empty this one."
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with replacing(folder / ".geomarket.try") as temporary:
            temporary.write_bytes(b"")
        (folder / ".geomarket.try").unlink()
    except OSError as error:
        raise SettingsError(f"--out {folder} can't be written to: {error.strerror}.") from error


def _is_ours(folder: Path) -> bool:
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(manifest, dict) and manifest.get("written_by") == SIGNATURE


@contextlib.contextmanager
def hold_folder(folder: Path) -> Iterator[None]:
    """Claim the folder and keep other runs out of it until the block ends, however it ends.

    The lock is the operating system's: it goes with the process, also when that is killed. Its empty file stays, since
    removing it would let two runs that come at the same moment lock two files of that name.

    Raises
    ------
    SettingsError
        If another run holds the folder, or it isn't ours (see :func:`claim_folder`).

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as base, hold_folder(Path(base) / "plan"):
    ...     (Path(base) / "plan").is_dir()
    True
    """
    claim_folder(folder)
    lock = filelock.FileLock(folder / _LOCK, timeout=0)
    try:
        lock.acquire()
    except filelock.Timeout as error:
        raise SettingsError(
            f"--out {folder}: another run is writing into it. Wait for it to end, or name another folder."
        ) from error
    try:
        yield
    finally:
        lock.release()


def clear_leftovers(folder: Path) -> None:
    """Remove what a killed run was writing when it was killed: nothing of it ever had its final name.

    Only the run that holds the folder (:func:`hold_folder`) may do this.
    """
    for left in sorted(folder.rglob(".*.part"), reverse=True):
        if left.is_dir() and not left.is_symlink():
            shutil.rmtree(left, ignore_errors=True)
        else:
            left.unlink(missing_ok=True)
