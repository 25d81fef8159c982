"""Keeps a virtual machine's processors from falling asleep while something is measured.

A virtual processor that idles gives its core back to the host. Woken up, it may have to share one
with its siblings for a while: on the machine this was found on, a kernel on two threads then took
20 ms instead of 0.2, call after call, until the host had sorted it out. Spinning on each processor
at the lowest priority there is keeps the host from taking them; whatever else wants to run
preempts it at once. A thread that gives way while it waits gives way to a spinner, though, which
costs a microsecond: timed code should keep the processors busy itself.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

from harness.hardware import this_processor

_SPINNER = "harness.machine.spinner"


class KeepAwake:
    """Keeps the processors that this process may use awake, where they are virtual ones, while its
    block runs. May be entered again and again.

    The spinning processes are of this one's session and end with it. Of another session they would
    be no help: Linux shares the processors out among sessions first, whatever the priorities.
    """

    def __init__(self) -> None:
        virtual = "hypervisor" in this_processor().flags
        self._spinners = [
            subprocess.Popen(
                [sys.executable, "-m", _SPINNER, str(cpu), str(os.getpid())],
                stdin=subprocess.DEVNULL,
            )
            for cpu in (os.sched_getaffinity(0) if virtual else ())
        ]
        for spinner in self._spinners:
            os.waitpid(spinner.pid, os.WUNTRACED)  # it stops itself once it could spin

    def __enter__(self) -> None:
        self._tell(signal.SIGCONT)

    def __exit__(self, *raised: object) -> None:
        self.rest()

    def rest(self) -> None:
        """Stop spinning. Continuing a whole session continues its spinners, too."""
        self._tell(signal.SIGSTOP)

    def end(self) -> None:
        """End the spinning processes, which would end with this one otherwise."""
        for spinner in self._spinners:
            spinner.kill()
            spinner.wait()

    def _tell(self, word: signal.Signals) -> None:
        for spinner in self._spinners:
            spinner.send_signal(word)


def spread_threads() -> None:
    """Move this thread away from the processors that others of this process are bound to.

    TVM binds its threads to a processor each, except the one that it is called from. Where the
    system puts that one beside another, each waits for the other to finish its time slice.
    """
    taken: set[int] = set()
    for thread in Path("/proc/self/task").iterdir():
        with suppress(ProcessLookupError):  # it has just ended
            cpus = os.sched_getaffinity(int(thread.name))
            taken |= cpus if len(cpus) == 1 and int(thread.name) != os.getpid() else set()
    free = os.sched_getaffinity(0) - taken
    if taken and free:
        os.sched_setaffinity(0, {min(free)})
