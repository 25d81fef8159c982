"""The kernel workers of all processors, which compile candidates of one kernel side by side.

A worker that dies costs the candidate it was busy with. It is replaced, and what else it had
compiled, or was compiling with it, is compiled again.
"""

from __future__ import annotations

import select
import time
from collections import deque
from collections.abc import Iterator, Sequence
from typing import Any

from harness.child import ChildLost, Message
from harness.tuning.kernel_process import (
    CANDIDATE_SECONDS,
    Candidate,
    KernelFailed,
    KernelProcess,
)

_WATCH_SECONDS = 0.25
_TOGETHER = 4
"""Candidates compiled as one module, at most."""


class KernelCrew:
    """Some kernel workers, each a process that is started when it is needed."""

    def __init__(self, workers: list[KernelProcess]) -> None:
        self.workers = workers

    def stop(self) -> None:
        for worker in self.workers:
            worker.stop()

    def pause(self) -> None:
        for worker in self.workers:
            worker.pause()

    def renew(self) -> None:
        """Have all of them forget what is compiled."""
        for worker in self.workers:
            worker.renew()

    def carry_out(
        self, kernel: Message, do: str, candidates: Sequence[Candidate], **more: Any
    ) -> tuple[dict[int, KernelFailed], dict[int, Any]]:
        """Have all workers do something with candidates, some at a time: how those failed that did,
        and what was found of others where that is said, by position. `more` is what the workers
        are told beside the candidates."""
        waiting = deque(_batches(len(candidates), len(self.workers)))
        busy: dict[KernelProcess, tuple[list[int], float]] = {}
        failed: dict[int, KernelFailed] = {}
        found: dict[int, Any] = {}
        self.renew()
        while waiting or busy:
            for worker in self.workers:
                if waiting and worker not in busy:
                    batch = waiting.popleft()
                    try:
                        worker.begin(kernel, do, {at: candidates[at] for at in batch}, **more)
                    except (ChildLost, KernelFailed) as error:
                        worker.stop()
                        failed |= {slot: KernelFailed(str(error)) for slot in batch}
                    else:
                        deadline = time.monotonic() + CANDIDATE_SECONDS * len(batch)
                        busy[worker] = batch, deadline
            if busy:
                self._collect(busy, waiting, failed, found)
        return failed, found

    def _collect(
        self,
        busy: dict[KernelProcess, tuple[list[int], float]],
        waiting: deque[list[int]],
        failed: dict[int, KernelFailed],
        found: dict[int, Any],
    ) -> None:
        """Take the answers that are there, and stop the workers that are lost or too slow."""
        children = {worker.child: worker for worker in busy if worker.child is not None}
        ready, _, _ = select.select(list(children), [], [], _WATCH_SECONDS)
        for child, worker in children.items():
            batch, deadline = busy[worker]
            try:
                if child in ready:
                    answer = worker.checked(child.receive(CANDIDATE_SECONDS))
                    failed |= worker.compiled(batch, answer)
                    found |= dict(answer.get("found", ()))
                elif time.monotonic() > deadline:
                    raise ChildLost(f"took more than {CANDIDATE_SECONDS:.0f} s to compile")
                else:
                    child.check_memory()
                    continue
            except KernelFailed as error:
                failed |= {slot: error for slot in batch}
            except ChildLost as error:
                if len(batch) == 1:
                    failed[batch[0]] = KernelFailed(str(error))
                else:  # one of them is to blame: alone, it will show
                    waiting.extend([slot] for slot in batch)
                waiting.extend([slot] for slot in sorted(worker.slots))
                worker.stop()
            del busy[worker]


def _batches(candidates: int, workers: int) -> Iterator[list[int]]:
    """Slots to compile as one module: fewer towards the end, so that the workers end together."""
    begin = 0
    while begin < candidates:
        left = candidates - begin
        end = begin + max(1, min(_TOGETHER, left // (2 * workers)))
        yield list(range(begin, end))
        begin = end
