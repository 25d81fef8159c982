"""The parent's side of the kernel workers: they compile side by side and measure one at a time.

A worker that dies costs the candidate it was busy with. It is replaced, and what else it had
compiled, or was compiling with it, is compiled again.
"""

from __future__ import annotations

import select
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from harness.child import Child, ChildLost, Message
from harness.tvm_api import tvm

_WORKER = "harness.tuning.kernel_worker"
_CANDIDATE_SECONDS = 20.0
_START_SECONDS = 30.0
_CONTEST_SECONDS = 120.0
_MEMORY_MB = 4096.0
_WATCH_SECONDS = 0.25
_TOGETHER = 4
"""Candidates compiled as one module."""
_CANDIDATES_PER_WORKER = 400
"""LLVM keeps memory of what it compiled; a fresh worker now and then bounds it."""


class KernelFailed(Exception):
    """A candidate did not compile, or did not run to its end; the text says how."""


@dataclass(frozen=True)
class KernelTask:
    """A kernel to tune: the module that the database knows it by, and its calls an inference.

    `constants` are the positions of the arguments that are weights, the last `outputs` arguments
    are results, and `inputs` is an `.npz` of what the kernel is given in a real inference.
    """

    name: str
    module: tvm.IRModule
    calls: int
    constants: tuple[int, ...] = ()
    outputs: int = 1
    inputs: Path | None = None


@dataclass(frozen=True)
class Candidate:
    """Something to compile: the JSON of a trace that schedules the kernel, or a whole module."""

    trace: list[Any] | None = None
    module: tvm.IRModule | None = None

    def as_message(self, slot: int) -> Message:
        if self.trace is not None:
            return {"slot": slot, "trace": self.trace}
        return {"slot": slot, "module": tvm.ir.save_json(self.module)}


class _Worker:
    """One child process, started when it is needed."""

    def __init__(self, environment: dict[str, str]) -> None:
        self._environment = environment
        self.child: Child | None = None
        self._served = 0
        self._kernel: Message | None = None
        self.slots: set[int] = set()

    def start(self, kernel: Message) -> float:
        """Have a child that knows the kernel; how many seconds more its first answer may take."""
        extra = 0.0
        if self.child is None:
            self.child = Child(_WORKER, memory_mb=_MEMORY_MB, environment=self._environment)
            self._served, self._kernel, extra = 0, None, _START_SECONDS
        if self._kernel is not kernel:
            self._kernel = kernel
            self.slots.clear()
            self._exchange(kernel, _CANDIDATE_SECONDS + extra)
        return extra

    def ask(self, kernel: Message, message: Message, seconds: float) -> Message:
        """Send a message about the kernel and wait for the answer. Raises KernelFailed."""
        try:
            seconds += self.start(kernel)
            return self._exchange(message, seconds)
        except ChildLost as error:
            self.stop()
            raise KernelFailed(str(error)) from None

    def _exchange(self, message: Message, seconds: float) -> Message:
        assert self.child is not None
        self.child.resume()
        return self.checked(self.child.call(message, seconds))

    def checked(self, answer: Message) -> Message:
        """An answer that is no error. Raises KernelFailed."""
        if "error" in answer:
            raise KernelFailed(str(answer["error"]))
        return answer

    def compile(self, kernel: Message, candidates: dict[int, Candidate]) -> None:
        """Compile candidates, by slot, and wait for them; `slots` has those that did compile.
        Raises KernelFailed where the child is lost."""
        self._served += len(candidates)
        seconds = _CANDIDATE_SECONDS * len(candidates)
        answer = self.ask(kernel, _to_compile(candidates), seconds)
        self.compiled(list(candidates), answer)

    def begin_compile(self, kernel: Message, candidates: dict[int, Candidate]) -> None:
        """Send candidates, by slot, without waiting. Raises ChildLost or KernelFailed."""
        self.start(kernel)
        assert self.child is not None
        self._served += len(candidates)
        self.child.resume()
        self.child.send(_to_compile(candidates))

    def compiled(self, slots: Sequence[int], answer: Message) -> dict[int, KernelFailed]:
        """Take note of what was compiled; how the others failed, by slot."""
        failed = {slot: KernelFailed(why) for slot, why in answer["failed"]}
        self.slots |= set(slots) - set(failed)
        return failed

    def renew(self) -> None:
        """Forget what is compiled; end a child that has served long enough."""
        self.slots.clear()
        if self._served >= _CANDIDATES_PER_WORKER:
            self.stop()

    def pause(self) -> None:
        if self.child is not None:
            self.child.pause()

    def stop(self) -> None:
        self.slots.clear()
        if self.child is not None:
            self.child.kill()
            self.child = None


def _to_compile(candidates: dict[int, Candidate]) -> Message:
    return {
        "do": "compile",
        "candidates": [each.as_message(slot) for slot, each in candidates.items()],
    }


class KernelMeasurer:
    """Compiles candidates of one kernel at a time on all workers, and measures them one by one
    while every other worker is paused. Use as a context manager.

    `threads` is how many the kernels run with, and how many workers compile. `footprint` is the
    size of the network's weights in bytes where they do not stay in the caches, otherwise 0.
    """

    def __init__(self, target: tvm.target.Target, threads: int, footprint: float = 0.0) -> None:
        self._target = str(target)
        self._footprint = footprint
        environment = {"TVM_NUM_THREADS": str(threads)}
        self._workers = [_Worker(environment) for _ in range(threads)]
        self._kernel: Message = {}

    def __enter__(self) -> KernelMeasurer:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for worker in self._workers:
            worker.stop()

    def turn_to(self, kernel: KernelTask) -> None:
        """What follows is about this kernel."""
        self._kernel = {
            "do": "kernel",
            "target": self._target,
            "module": tvm.ir.save_json(kernel.module),
            "constants": list(kernel.constants),
            "outputs": kernel.outputs,
            "footprint": self._footprint,
            "inputs": str(kernel.inputs) if kernel.inputs else None,
        }

    def measure(
        self, candidates: Sequence[Candidate], best: Callable[[], float | None]
    ) -> Iterator[list[float] | KernelFailed]:
        """Seconds per run of each candidate in order, fewer samples when it is far behind the
        best known so far, which `best` gives; or how it failed.

        All of them are compiled before the first is measured.
        """
        failed = self._compile_all(candidates)
        for worker in self._workers:
            worker.pause()
        for slot, candidate in enumerate(candidates):
            if slot in failed:
                yield failed[slot]
                continue
            try:
                yield self._measure_one(candidate, slot, best())
            except KernelFailed as error:
                yield error

    def _measure_one(self, candidate: Candidate, slot: int, best: float | None) -> list[float]:
        worker = next((each for each in self._workers if slot in each.slots), self._workers[0])
        try:
            if slot not in worker.slots:  # it was in a worker that died since
                worker.compile(self._kernel, {slot: candidate})
            message = {"do": "measure", "slot": slot, "best": best}
            answer = worker.ask(self._kernel, message, _CANDIDATE_SECONDS)
            return [float(value) for value in answer["seconds"]]
        finally:
            worker.slots.discard(slot)
            worker.pause()

    def _compile_all(self, candidates: Sequence[Candidate]) -> dict[int, KernelFailed]:
        """Compile on all workers, some at a time; the failures, by position."""
        slots = list(range(len(candidates)))
        waiting = deque(slots[at : at + _TOGETHER] for at in range(0, len(slots), _TOGETHER))
        busy: dict[_Worker, tuple[list[int], float]] = {}
        failed: dict[int, KernelFailed] = {}
        for worker in self._workers:
            worker.renew()
        while waiting or busy:
            for worker in self._workers:
                if waiting and worker not in busy:
                    batch = waiting.popleft()
                    try:
                        worker.begin_compile(self._kernel, {at: candidates[at] for at in batch})
                    except (ChildLost, KernelFailed) as error:
                        worker.stop()
                        failed |= {slot: KernelFailed(str(error)) for slot in batch}
                    else:
                        deadline = time.monotonic() + _CANDIDATE_SECONDS * len(batch)
                        busy[worker] = batch, deadline
            if busy:
                self._collect(busy, waiting, failed)
        return failed

    def _collect(
        self,
        busy: dict[_Worker, tuple[list[int], float]],
        waiting: deque[list[int]],
        failed: dict[int, KernelFailed],
    ) -> None:
        """Take the answers that are there, and stop the workers that are lost or too slow."""
        children = {worker.child: worker for worker in busy if worker.child is not None}
        ready, _, _ = select.select(list(children), [], [], _WATCH_SECONDS)
        for child, worker in children.items():
            batch, deadline = busy[worker]
            try:
                if child in ready:
                    answer = worker.checked(child.receive(_CANDIDATE_SECONDS))
                    failed |= worker.compiled(batch, answer)
                elif time.monotonic() > deadline:
                    raise ChildLost(f"took more than {_CANDIDATE_SECONDS:.0f} s to compile")
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

    def contest(
        self, candidates: Sequence[Candidate], rounds: int
    ) -> tuple[list[list[float] | None], dict[int, str]]:
        """Seconds per run of several candidates in turns, [candidates][rounds], and those that
        compute something else than the unscheduled kernel, by position with what they get wrong.

        A candidate that is wrong or fails has no times. Raises KernelFailed where the contest
        itself does not come to its end.
        """
        worker = self._workers[0]
        for other in self._workers[1:]:
            other.pause()
        wrong: dict[int, str] = {}
        sound: list[int] = []
        worker.ask(self._kernel, {"do": "release"}, _CANDIDATE_SECONDS)
        worker.slots.clear()
        with suppress(KernelFailed):  # then one by one
            worker.compile(self._kernel, dict(enumerate(candidates)))
        for slot, candidate in enumerate(candidates):
            try:
                if slot not in worker.slots:
                    worker.compile(self._kernel, {slot: candidate})
                answer = worker.ask(self._kernel, {"do": "verify", "slot": slot}, _CONTEST_SECONDS)
            except KernelFailed:
                if worker.child is None and sound:  # what was compiled is gone with the worker
                    worker.compile(self._kernel, {at: candidates[at] for at in sound})
                continue
            if answer["wrong"]:
                wrong[slot] = answer["wrong"]
            else:
                sound.append(slot)
        times: list[list[float] | None] = [None] * len(candidates)
        if sound:
            message = {"do": "contest", "slots": sound, "rounds": rounds}
            answer = worker.ask(self._kernel, message, _CONTEST_SECONDS)
            for slot, seconds in zip(sound, answer["seconds"], strict=True):
                times[slot] = [float(value) for value in seconds]
        worker.pause()
        return times, wrong
