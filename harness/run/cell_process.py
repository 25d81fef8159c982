"""A process for each step of a cell that may crash, hang or flood the memory."""

from __future__ import annotations

import errno
from pathlib import Path
from time import monotonic

from harness.errors import CellFailure, CellSkipped, says_disk_is_full
from harness.processes.child import Child, ChildLost, Message
from harness.processes.limits import answer_seconds, lost_reason
from harness.run.listener import Listener
from harness.specs.sweep import Limits, Tune

FAILURES = "failures.log"
_CELL = "harness.run.cell"
FORKED = (_CELL, "harness.tuning.candidates.worker")
"""Modules of processes that build and tune, one after the other in every cell."""
IMPORTED = (
    "harness.building.blame",
    "harness.models.frontends",
    "harness.run.tuning_stage",
    "harness.run.verification_stage",
)
"""What a cell imports when it comes to it."""
_SECONDS_PER_TRIAL = 10.0
"""An upper bound, for the time limit of a cell whose tuning budget is in trials."""
_INTERRUPT_SECONDS = 15.0


class CellProcess:
    """Has orders carried out by `harness.run.cell`, each in a child with limits of time and memory.

    `environment` is of the children; `failures` is the file for
    their tracebacks.
    """

    def __init__(
        self, limits: Limits, environment: dict[str, str], failures: Path, listener: Listener
    ) -> None:
        self._limits = limits
        self._environment = environment
        self._failures = failures
        self._listener = listener
        self.stage = "import"
        """Where the last order is, or failed."""

    def carry_out(self, do: str, order: Message, label: str, tune: Tune | None = None) -> Message:
        """The answer to an order, which may take the sweep's limit and the requested tuning time.

        Raises CellFailure or CellSkipped with the child's reason, and OSError where the disk is
        full: that is no failure of the cell.
        """
        self.stage = "import"
        allowed = self._seconds(tune)
        deadline = monotonic() + allowed
        with Child(_CELL, memory_mb=self._limits.memory_mb, environment=self._environment) as child:
            try:
                child.send({"do": do, "order": order})
                while True:
                    left = max(0.1, deadline - monotonic())
                    message = child.receive(left, allowed=allowed)
                    if "answer" in message:
                        answer: Message = message["answer"]
                        return answer
                    if "error" in message:
                        if message["full"]:
                            raise _full(self._failures.parent)
                        self._keep_trace(label, message["trace"])
                        kind = CellSkipped if message["skipped"] else CellFailure
                        raise kind(message["error"])
                    self._tell(label, message)
            except ChildLost as error:
                reason = lost_reason(error)
                if says_disk_is_full(reason):  # LLVM ends the process
                    raise _full(self._failures.parent) from None
                raise CellFailure(f"the {self.stage} stage {reason}") from None
            except KeyboardInterrupt:
                child.interrupt(_INTERRUPT_SECONDS)
                raise

    def _seconds(self, tune: Tune | None) -> float:
        budget = 0.0
        if tune is not None:
            budget = 60 * tune.minutes if tune.minutes else _SECONDS_PER_TRIAL * (tune.trials or 0)
        return answer_seconds(self._limits) + budget

    def _tell(self, label: str, message: Message) -> None:
        if "stage" not in message:
            self._listener.tuning(label, message["tuning"])
            return
        self.stage = message["stage"]
        if "total" in message:
            self._listener.progress(label, **message)
        else:
            self._listener.working(label, self.stage)

    def _keep_trace(self, label: str, trace: str) -> None:
        with self._failures.open("a", encoding="utf-8") as log:
            log.write(f"--- {label}: {self.stage}\n{trace}\n")


def _full(folder: Path) -> OSError:
    advice = "no space is left there, or for temporary files; free some, and run the command again"
    return OSError(errno.ENOSPC, advice, str(folder))
