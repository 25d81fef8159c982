"""Spins on one processor at the lowest priority there is, once it is told to by SIGCONT.

python -m harness.machine.spinner CPU PARENT

Two of them start for each measurement, so this imports little.
"""

from __future__ import annotations

import os
import signal
import sys

from harness.processes.parent import die_with_parent

_YIELDS = 1000


def main() -> None:
    """As the module says; it ends with the process PARENT, which started it."""
    die_with_parent(int(sys.argv[2]))
    os.sched_setaffinity(0, {int(sys.argv[1])})
    os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    os.kill(os.getpid(), signal.SIGSTOP)  # until it is told to
    give_way = os.sched_yield
    while True:
        for _ in range(_YIELDS):
            give_way()


if __name__ == "__main__":
    main()
