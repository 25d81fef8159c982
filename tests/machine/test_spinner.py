"""A spinner, alone."""

from __future__ import annotations

import subprocess
import sys


def test_spinner_ends_when_its_parent_ended_while_it_started() -> None:
    """It would stop itself, and wait for ever to be told to go on."""
    gone = subprocess.Popen(["true"])
    gone.wait()
    command = [sys.executable, "-m", "harness.machine.spinner", "0", str(gone.pid)]
    spinner = subprocess.Popen(command)
    try:
        assert spinner.wait(20) == 1
    finally:
        spinner.kill()
        spinner.wait()
