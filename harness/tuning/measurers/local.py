"""The kernel workers of all processors: they compile side by side and measure one at a time.

A worker that dies costs the candidate it was busy with. It is replaced, and other candidates that
it had compiled, or was compiling with it, is compiled again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from typing import Protocol

import numpy as np

from harness.compiler.api import code_kind, tvm
from harness.processes.child import ChildLost, Message
from harness.records.record import TuningCost
from harness.tuning.candidates.compiling import Compiling
from harness.tuning.candidates.final import Final, Standing
from harness.tuning.candidates.process import (
    CANDIDATE_SECONDS,
    COMPILE,
    Candidate,
    KernelFailed,
    KernelProcess,
    KernelTask,
)
from harness.tuning.database import kernel_identity

_CALIBRATION = -1
"""The slot of the calibration kernel."""


@dataclass(frozen=True)
class _Known:
    """The best candidate of a kernel's first round, and seconds per run."""

    candidate: Candidate
    seconds: float


class Measurer(Protocol):
    """The tuner's interface to a measurer: a context manager with these three, see
    `KernelMeasurer`. Its seconds are its `cost`, of which less is better."""

    @property
    def cost(self) -> TuningCost: ...

    def __enter__(self) -> Measurer: ...

    def __exit__(self, *raised: object) -> None: ...

    def turn_to(self, kernel: KernelTask) -> None: ...

    def measure(
        self, candidates: Sequence[Candidate], best: Callable[[], float | None]
    ) -> Iterator[list[float] | KernelFailed]: ...

    def finals(
        self,
        entries: Iterable[tuple[KernelTask, Sequence[Candidate]]],
        rounds: int,
        *,
        verified: bool = True,
    ) -> Iterator[Standing | KernelFailed]: ...


class KernelMeasurer:
    """Compiles candidates of one kernel at a time on all workers, and measures them one by one
    while every other worker is paused. Use as a context manager; where one is entered within
    another the workers stay until the outermost ends.

    `threads` is how many the kernels run with, and how many workers compile, up to eight for a
    graphics processor, as each takes half a gigabyte for its context. `footprint` is the
    size of the network's weights in bytes where they do not stay in the caches, otherwise 0.

    A machine that is not ours alone is now faster, now slower, for seconds at a time. So candidates
    are timed beside a calibration kernel, the best one of the first round, and their times are
    corrected by its time beside them. It stays the same for all rounds: with one chosen anew after
    each lucky time, recorded times would sink from round to round. Not on a graphics processor,
    which nobody shares, and for which compiling it for every worker takes longer than a trial.
    """

    cost: TuningCost = "seconds"

    def __init__(self, target: tvm.target.Target, threads: int, footprint: float = 0.0) -> None:
        self._target = target
        self._footprint = footprint
        self._environment = {"TVM_NUM_THREADS": str(threads)}
        workers = min(threads, code_kind(target).contexts or threads)
        self._workers = [KernelProcess(self._environment) for _ in range(workers)]
        self._kernel: Message = {}
        self._identity = ""
        self._known: dict[str, _Known] = {}
        self._depth = 0

    def __enter__(self) -> KernelMeasurer:
        self._depth += 1
        return self

    def __exit__(self, *raised: object) -> None:
        self._depth -= 1
        if self._depth == 0:
            for worker in self._workers:
                worker.stop()

    def turn_to(self, kernel: KernelTask) -> None:
        """Turn to the candidates of this kernel."""
        self._kernel = kernel.as_message(self._target, self._footprint)
        self._identity = kernel_identity(kernel.module)

    def measure(
        self, candidates: Sequence[Candidate], best: Callable[[], float | None]
    ) -> Iterator[list[float] | KernelFailed]:
        """Seconds per run of each candidate in order, fewer samples when it is far behind the
        best known so far, which `best` gives; or how it failed.

        All of them are compiled before the first is measured.
        """
        compiling = Compiling(self._workers, self._kernel, COMPILE, candidates)
        compiling.finish()
        failed = compiling.failed
        calibration = self._known.get(self._identity)
        if calibration is not None and code_kind(self._target).in_process_memory:
            self._lay_beside(calibration.candidate)
        for worker in self._workers:
            worker.pause()
        for slot, candidate in enumerate(candidates):
            if slot in failed:
                yield failed[slot]
                continue
            try:
                seconds = self._measure_one(candidate, slot, best(), calibration)
            except KernelFailed as error:
                yield error
                continue
            if calibration is None:
                self._note(_Known(candidate, float(np.median(seconds))))
            yield seconds

    def _note(self, found: _Known) -> None:
        """Know a candidate of the first round, if it is the best of it."""
        known = self._known.setdefault(self._identity, found)
        if found.seconds < known.seconds:
            self._known[self._identity] = found

    def _lay_beside(self, calibration: Candidate) -> None:
        """Compile it in each worker that has candidates; one that fails at it times them alone."""
        busy = [worker for worker in self._workers if worker.slots]
        for worker in busy:
            with suppress(ChildLost, KernelFailed):
                worker.begin(self._kernel, COMPILE, {_CALIBRATION: calibration})
        for worker in busy:
            try:
                worker.compiled([_CALIBRATION], worker.answer(CANDIDATE_SECONDS))
            except (ChildLost, KernelFailed):
                worker.stop()

    def _measure_one(
        self, candidate: Candidate, slot: int, best: float | None, calibration: _Known | None
    ) -> list[float]:
        worker = next((each for each in self._workers if slot in each.slots), self._workers[0])
        try:
            if slot not in worker.slots:  # it was in a worker that died since
                worker.compile(self._kernel, {slot: candidate})
            beside = None
            if calibration is not None and _CALIBRATION in worker.slots:
                beside = [_CALIBRATION, calibration.seconds]
            message = {"do": "measure", "slot": slot, "best": best, "calibration": beside}
            answer = worker.ask(self._kernel, message, CANDIDATE_SECONDS)
            return [float(value) for value in answer["seconds"]]
        finally:
            worker.slots.discard(slot)
            worker.pause()

    def finals(
        self,
        entries: Iterable[tuple[KernelTask, Sequence[Candidate]]],
        rounds: int,
        *,
        verified: bool = True,
    ) -> Iterator[Standing | KernelFailed]:
        """Measure candidates of one kernel interleaved, kernel after kernel; wrong ones are
        thrown out when they are to be verified. KernelFailed where a final did not come to its
        end.

        As many kernels as there are workers are made ready side by side; then one is measured at a
        time.
        """
        waiting = iter(entries)
        while batch := list(islice(waiting, len(self._workers))):
            for each in self._made_ready(batch, verified=verified):
                yield each.take(rounds)

    def _made_ready(
        self, entries: Sequence[tuple[KernelTask, Sequence[Candidate]]], *, verified: bool
    ) -> list[Final]:
        """A final of candidates for each of as many kernels as there are workers or fewer, ready
        to be measured: nothing else is running any more."""
        for worker in self._workers:
            worker.renew()
        finals = [
            Final(
                worker,
                kernel.as_message(self._target, self._footprint),
                candidates,
                verified=verified,
            )
            for worker, (kernel, candidates) in zip(self._workers, entries, strict=False)
        ]
        for each in finals:
            each.begin()
        for each in finals:
            each.finish()
        for worker in self._workers:
            worker.pause()
        return finals

    def rivals(
        self, entries: Sequence[tuple[KernelTask, Candidate]], rounds: int
    ) -> list[list[float]]:
        """Measure candidates of different kernels, one each, interleaved: seconds per run,
        [kernels][rounds]. Each is in a worker of its own. Raises KernelFailed."""
        while len(self._workers) < len(entries):
            self._workers.append(KernelProcess(self._environment))
        alone = [(kernel, [candidate]) for kernel, candidate in entries]
        finals = self._made_ready(alone, verified=False)
        seconds: list[list[float]] = [[] for _ in finals]
        for _ in range(rounds):
            for at, each in enumerate(finals):
                seconds[at] += _only(each.take(1))
        return seconds


def _only(standing: Standing | KernelFailed) -> list[float]:
    """The times of a final's one candidate. Raises KernelFailed."""
    if isinstance(standing, KernelFailed):
        raise standing
    (times,) = standing.times
    if times is None:
        raise KernelFailed(standing.failed.get(0, "it did not run"))
    return times
