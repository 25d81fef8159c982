"""A results folder belongs to one run at a time; leftovers of a killed run are removed."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from harness.errors import InputError
from harness.records.artifact import DESCRIPTION, REFERENCE_SUFFIX

ARTIFACTS = "artifacts"
WORK = "work"
SCRATCH = "scratch"
LOCK = ".lock"


@contextmanager
def held(out: Path) -> Iterator[None]:
    """Hold a results folder, which is created if it is not there, for this process.

    Raises InputError where another run holds it, and where it cannot be written. The kernel lets go
    of it when this process ends, however it ends.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
        handle = os.open(out / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise InputError(f"{out}: cannot be written: {reason}; name another folder") from None
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InputError(
                f"{out}: another run is writing to it; wait for that to end, or name another folder"
            ) from None
        remove_leftovers(out)
        yield
    finally:
        os.close(handle)


def remove_leftovers(out: Path) -> None:
    """Remove unfinished files of killed runs: their working files, folders that
    artifacts were built in, and artifacts without a description."""
    shutil.rmtree(out / WORK, ignore_errors=True)
    for path in list((out / ARTIFACTS).glob("*")):
        artifact = path.with_name(path.name.removesuffix(REFERENCE_SUFFIX))
        whole = all((each / DESCRIPTION).exists() for each in (path, artifact))
        if not whole or path.name.startswith("."):
            shutil.rmtree(path, ignore_errors=True)


def scratch(out: Path) -> Path:
    """The folder for temporary files of a run's processes; it goes with the rest of their
    work."""
    folder = (out / WORK / SCRATCH).absolute()
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def scratch_in(folder: Path) -> dict[str, str]:
    """Environment variables that put a process's temporary files into a folder. One that is killed
    leaves them, and they are removed with the folder."""
    return {"TMPDIR": str(folder)}
