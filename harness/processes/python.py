"""Runs a piece of Python in a process of its own, so that a crash in native code stays there."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import harness
from harness.errors import HarnessError, last_line

_BOUND = "harness.processes.bound"


class ChildFailure(HarnessError):
    """The child crashed, failed or took too long; the text says which, in a few words."""


def run_python(
    arguments: Sequence[str],
    *,
    seconds: float,
    standard_input: str = "",
    environment: Mapping[str, str] | None = None,
) -> str:
    """Run this Python with `arguments`, `-m MODULE …` or `-c CODE …`, wait at most `seconds`, and
    return its standard output.

    The child ends with this process. It sees this package wherever it was imported from, and
    `environment` on top of this process's. Raises ChildFailure.
    """
    package_parent = str(Path(harness.__file__).parents[1])
    search_path = os.pathsep.join(filter(None, (package_parent, os.environ.get("PYTHONPATH"))))
    try:
        done = subprocess.run(
            [sys.executable, "-m", _BOUND, str(os.getpid()), *arguments],
            input=standard_input,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=seconds,
            env={**os.environ, "PYTHONPATH": search_path, **(environment or {})},
        )
    except subprocess.TimeoutExpired:
        raise ChildFailure(f"took more than {seconds:g} s") from None
    if done.returncode < 0:
        raise ChildFailure(f"crashed with {signal.Signals(-done.returncode).name}")
    if done.returncode:
        said = last_line(done.stderr) if done.stderr.strip() else None
        raise ChildFailure(said or f"ended with exit code {done.returncode}")
    return done.stdout
