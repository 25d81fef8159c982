"""What ties a process to the one that started it. Imports little: short processes use it."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal

_SET_PARENT_DEATH_SIGNAL = 1  # prctl(2)


def die_with_parent(parent: int) -> None:
    """Have this process killed when the thread that started it ends. `parent` is the process that
    did: it may have ended while this one was starting."""
    ctypes.CDLL(None).prctl(_SET_PARENT_DEATH_SIGNAL, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def kill_session(leader: int) -> None:
    """Kill a process and all of its session; `leader` has not been waited for, so that the number
    is its own. A process that was just forked may have no session yet: its own number is tried
    too."""
    for kill in (os.killpg, os.kill):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            kill(leader, signal.SIGKILL)
