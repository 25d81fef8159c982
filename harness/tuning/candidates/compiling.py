"""Compiles candidates of one kernel on several workers side by side.

A worker that dies costs the candidate it was busy with. Other candidates that it had compiled, or
was compiling with it, is compiled again.
"""

from __future__ import annotations

import select
import time
from collections import deque
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

from harness.processes.child import Child, ChildLost, Message
from harness.tuning.candidates.process import (
    CANDIDATE_SECONDS,
    Candidate,
    KernelFailed,
    KernelProcess,
)

WATCH_SECONDS = 0.25
_TOGETHER = 4
"""Candidates compiled as one module, at most."""


class Compiling:
    """Candidates on their way through the workers: `begin` and `collect`, again and again while it
    is `going`. `order` is the workers' order for them; `together` has the positions of
    those that are compiled as one module, by default as many as keep all workers busy.

    `failed` has the failures, and `found` the workers' answers about the others, if they
    do: where they were exported to, for one; both by position.
    """

    def __init__(
        self,
        workers: Sequence[KernelProcess],
        kernel: Message,
        order: Message,
        candidates: Sequence[Candidate],
        together: Iterable[list[int]] | None = None,
    ) -> None:
        self._workers = workers
        self._kernel = kernel
        self._order = order
        self._candidates = candidates
        self._waiting = deque(together or batches(len(candidates), len(workers)))
        self._busy: dict[KernelProcess, tuple[list[int], float]] = {}
        self.failed: dict[int, KernelFailed] = {}
        self.found: dict[int, Any] = {}
        for worker in workers:
            worker.renew()

    def finish(self) -> None:
        """Go on until all are through."""
        while self.going:
            self.begin()
            found, _, _ = select.select(self.sources(), [], [], WATCH_SECONDS)
            self.collect(found)

    @property
    def going(self) -> bool:
        return bool(self._waiting or self._busy)

    def begin(self) -> None:
        """Give work to each worker that has none."""
        for worker in self._workers:
            if self._waiting and worker not in self._busy:
                batch = self._waiting.popleft()
                candidates = {at: self._candidates[at] for at in batch}
                try:
                    worker.begin(self._kernel, self._order, candidates)
                except (ChildLost, KernelFailed) as error:
                    worker.stop()
                    self.failed |= {slot: KernelFailed(str(error)) for slot in batch}
                else:
                    self._busy[worker] = batch, time.monotonic() + CANDIDATE_SECONDS * len(batch)

    def sources(self) -> list[Child]:
        """The file descriptors that `select` waits on until there is something to `collect`."""
        return list(self._children())

    def _children(self) -> Mapping[Child, KernelProcess]:
        """The processes that are at work, with their workers."""
        return {worker.child: worker for worker in self._busy if worker.child is not None}

    def collect(self, ready: Collection[object]) -> None:
        """Take the answers that are there, and stop the workers that are lost or too slow."""
        for child, worker in self._children().items():
            batch, deadline = self._busy[worker]
            try:
                if child in ready:
                    answer = worker.checked(child.receive(CANDIDATE_SECONDS))
                    self.failed |= worker.compiled(batch, answer)
                    self.found |= dict(answer.get("found", ()))
                elif time.monotonic() > deadline:
                    raise ChildLost(f"took more than {CANDIDATE_SECONDS:.0f} s to compile")
                else:
                    child.check_memory()
                    continue
            except KernelFailed as error:
                self.failed |= {slot: error for slot in batch}
            except ChildLost as error:
                if len(batch) == 1:
                    self.failed[batch[0]] = KernelFailed(str(error))
                else:  # one of them is to blame: alone, it will show
                    self._waiting.extend([slot] for slot in batch)
                # Results that are known, or in a file, stay; the others were in the worker.
                gone = sorted(worker.slots - set(self.found))
                self._waiting.extend([slot] for slot in gone)
                worker.stop()
            del self._busy[worker]

    def stop(self) -> None:
        """End the workers that are still busy."""
        for worker in self._busy:
            worker.stop()


def batches(candidates: int, workers: int) -> Iterator[list[int]]:
    """Slots to compile as one module: fewer towards the end, so that the workers end together."""
    begin = 0
    while begin < candidates:
        left = candidates - begin
        end = begin + max(1, min(_TOGETHER, left // (2 * workers)))
        yield list(range(begin, end))
        begin = end
