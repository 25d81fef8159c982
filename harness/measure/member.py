"""One member of a group: its engine and file, the process that runs it, and its measurements."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from time import monotonic

import numpy as np

from harness.errors import CellFailure, CellSkipped, HarnessError
from harness.processes.child import Child, ChildLost, Message
from harness.processes.limits import answer_seconds, lost_reason
from harness.records.compiled_code import InstructionCount
from harness.records.record import Accuracy, Inferences, Verification
from harness.specs.sweep import Limits

TOLD_AGAIN = frozenset({"load", "prepare"})
"""Messages that a network needs again in another process."""
_WATCH_SECONDS = 1.0
SETTLING_SECONDS = 0.03
"""Runs before each sample, in seconds: the caches hold data of the others."""


@dataclass(frozen=True)
class Member:
    """A member of a group: an engine and the file that it loads. `mark` is the cell's fingerprint,
    and `reference` an artifact that it is verified against where it computes something else than
    the model does, because its edges are compressed."""

    mark: str
    label: str
    engine: str
    path: Path
    wants_accuracy: bool = True
    reference: Path | None = None


@dataclass
class Measured:
    """The measurements of one member; `failure` is set when it failed."""

    verification: Verification | None = None
    samples: list[float] = field(default_factory=list)
    runs_per_sample: int = 1
    inferences: Inferences | None = None
    intervals: list[float] = field(default_factory=list)
    """Seconds between two inferences of all copies together, by sample, where there are several."""
    peak_rss_mb: float | None = None
    base_rss_mb: float | None = None
    load_seconds: float | None = None
    first_seconds: float | None = None
    kernel_seconds: dict[str, list[float]] = field(default_factory=dict)
    outside_seconds: list[float] = field(default_factory=list)
    accuracy: Accuracy | None = None
    instructions: InstructionCount | None = None
    failure: HarnessError | None = None
    stage: str = "verify"


class Runner(ABC):
    """One member on its device, and its measurements."""

    def __init__(self, member: Member, threads: int) -> None:
        self.member = member
        self.measured = Measured()
        self.seconds_per_run = 0.0
        self.singles: list[np.ndarray] = []
        """Seconds of single inferences, an array a process."""
        self._threads = threads

    @abstractmethod
    def ask(
        self,
        message: Message,
        heard: Callable[[float, float], None] | None = None,
    ) -> Message:
        """Send a message and wait for the answer, passing on progress meanwhile.

        Raises CellFailure, or CellSkipped where the engine says that it does not apply here.
        """

    @abstractmethod
    def close(self) -> None:
        """End it."""

    @abstractmethod
    def renew(self) -> None:
        """Go on in another process, with the same network. Raises as `ask` does."""

    def sample(self, runs: int) -> float:
        """One sample of the latency, in seconds: the median of `runs` inferences."""
        message = {"do": "sample", "warm_up_seconds": SETTLING_SECONDS, "runs": runs}
        return float(self.ask(message)["seconds"])

    def load(self) -> None:
        answer = self.ask(
            {
                "do": "load",
                "engine": self.member.engine,
                "path": str(self.member.path),
                "threads": self._threads,
            }
        )
        self.measured.base_rss_mb = answer["base_rss_mb"]
        self.measured.load_seconds = answer.get("load_seconds")  # not of a network elsewhere

    def fail(self, stage: str, error: HarnessError) -> None:
        self.measured.failure = error
        self.measured.stage = stage
        self.close()

    @property
    def alive(self) -> bool:
        return self.measured.failure is None


class ProcessRunner(Runner):
    """One member's process, paused while another runs. `cpus` are those that it may run on, as
    many as it has threads by default; `python` runs it where that is not this one."""

    def __init__(
        self,
        member: Member,
        threads: int,
        limits: Limits,
        environment: Mapping[str, str],
        python: Path | None = None,
        cpus: Sequence[int] | None = None,
    ) -> None:
        super().__init__(member, threads)
        self._seconds = answer_seconds(limits)
        self._told: list[Message] = []
        self._start = partial(
            Child,
            "harness.measure.worker",
            memory_mb=limits.memory_mb,
            environment={
                "TVM_NUM_THREADS": str(threads),
                "OMP_NUM_THREADS": str(threads),
                **environment,
            },
            # All on the same ones: a core whose sibling is busy is slower, for one as for all.
            cpus=cpus or sorted(os.sched_getaffinity(0))[:threads],
            python=python,
        )
        self._child = self._start()

    def ask(
        self,
        message: Message,
        heard: Callable[[float, float], None] | None = None,
    ) -> Message:
        self._child.resume()
        try:
            answer = answer_of(self._child, message, self._seconds, heard)
        except ChildLost as error:
            raise CellFailure(lost_reason(error)) from None
        finally:
            self._child.pause()
        if message["do"] in TOLD_AGAIN:
            self._told.append(message)
        return answer

    def renew(self) -> None:
        self._child.kill()
        self._child = self._start()
        told, self._told = self._told, []
        for message in told:
            self.ask(message)

    def close(self) -> None:
        self._child.kill()


def answer_of(
    child: Child, message: Message, seconds: float, heard: Callable[[float, float], None] | None
) -> Message:
    """A worker's answer to a message. Raises ChildLost, and CellFailure or CellSkipped as the
    worker says."""
    deadline = monotonic() + seconds
    child.send(message)
    while True:
        answer = child.receive(max(0.1, deadline - monotonic()), _WATCH_SECONDS, seconds)
        if "answer" in answer:
            found: Message = answer["answer"]
            return found
        if "error" in answer:
            skipped = answer["kind"] == CellSkipped.__name__
            raise (CellSkipped if skipped else CellFailure)(answer["error"])
        if heard:
            heard(answer["done"], answer["total"])
