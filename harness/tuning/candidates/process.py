"""The parent's side of one kernel worker: a child process that compiles candidates of a kernel and
runs them, and is replaced when it dies.

The workers of a Dask cluster use this without TVM, which only their child processes load.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.processes.child import Child, ChildLost, Message

if TYPE_CHECKING:
    from harness.compiler.api import tvm

COMPILE: Message = {"do": "compile"}
_WORKER = "harness.tuning.candidates.worker"
CANDIDATE_SECONDS = 20.0
_START_SECONDS = 30.0
_MEMORY_MB = 4096.0
_CANDIDATES_PER_WORKER = 400
"""LLVM keeps memory for compiled code; a fresh worker now and then bounds it."""


class KernelFailed(Exception):
    """A candidate did not compile, or did not run to its end; the text says how."""


@dataclass(frozen=True)
class KernelTask:
    """A kernel to tune: the module that the database knows it by, and its calls an inference.

    `constants` are the positions of the arguments that are weights, the last `outputs` arguments
    are results, and `inputs` is an `.npz` of the kernel's inputs in a real inference.
    """

    name: str
    module: tvm.IRModule
    calls: int
    constants: tuple[int, ...] = ()
    outputs: int = 1
    inputs: Path | None = None

    def as_message(
        self, target: tvm.target.Target, footprint: float = 0.0, *, here: bool = True
    ) -> Message:
        """The message that describes the kernel to a worker. `footprint` is as in `KernelMeasurer`;
        code for the target runs `here`, or on another machine only."""
        from harness.compiler.api import tvm

        return {
            "do": "kernel",
            "target": str(target),
            "module": tvm.ir.save_json(self.module),
            "constants": list(self.constants),
            "outputs": self.outputs,
            "footprint": footprint,
            "inputs": str(self.inputs) if self.inputs else None,
            "here": here,
        }


@dataclass(frozen=True)
class Candidate:
    """Something to compile: the JSON of a trace that schedules the kernel, or a whole module."""

    trace: list[Any] | None = None
    module: tvm.IRModule | None = None

    def as_message(self, slot: int) -> Message:
        if self.trace is not None:
            return {"slot": slot, "trace": self.trace}
        from harness.compiler.api import tvm

        return {"slot": slot, "module": tvm.ir.save_json(self.module)}


class KernelProcess:
    """One child process, started when it is needed, and the candidates that it has compiled."""

    def __init__(self, environment: dict[str, str]) -> None:
        self._environment = environment
        self.child: Child | None = None
        self._served = 0
        self._kernel: Message | None = None
        self._ready = False
        self.slots: set[int] = set()

    def _spawn(self) -> None:
        """Start the child unless there is one, without waiting until it is ready."""
        if self.child is None:
            self.child = Child(_WORKER, memory_mb=_MEMORY_MB, environment=self._environment)
            self._served, self._kernel, self._ready = 0, None, False

    def start(self, kernel: Message) -> float:
        """Have a child that knows the kernel; how many seconds more its first answer may take."""
        self._spawn()
        extra = 0.0 if self._ready else _START_SECONDS
        if self._kernel is not kernel:
            self._kernel = kernel
            self.slots.clear()
            self._exchange(kernel, CANDIDATE_SECONDS + extra)
            self._ready = True
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
        seconds = CANDIDATE_SECONDS * len(candidates)
        self.compiled(list(candidates), self.carry_out(kernel, COMPILE, candidates, seconds))

    def carry_out(
        self, kernel: Message, order: Message, candidates: dict[int, Candidate], seconds: float
    ) -> Message:
        """Have something done with candidates, by slot, and wait for the answer. Raises
        KernelFailed."""
        self._served += len(candidates)
        return self.ask(kernel, _about(candidates, order), seconds)

    def begin(self, kernel: Message, order: Message, candidates: dict[int, Candidate]) -> None:
        """Have something done with candidates, by slot, without waiting. Raises ChildLost or
        KernelFailed."""
        self.start(kernel)
        assert self.child is not None
        self._served += len(candidates)
        self.child.resume()
        self.child.send(_about(candidates, order))

    def answer(self, seconds: float) -> Message:
        """Wait for the answer to `begin`. Raises ChildLost or KernelFailed."""
        if self.child is None:
            raise ChildLost("was lost before")
        return self.checked(self.child.receive(seconds))

    def compiled(self, slots: Sequence[int], answer: Message) -> dict[int, KernelFailed]:
        """Note the compiled candidates; returns the failures of the others, by slot."""
        failed = {slot: KernelFailed(why) for slot, why in answer["failed"]}
        self.slots |= set(slots) - set(failed)
        return failed

    def renew(self) -> None:
        """Forget compiled candidates, and have a child that has not served too long: several start
        side by side, where `start` would wait for each."""
        self.slots.clear()
        if self._served >= _CANDIDATES_PER_WORKER:
            self.stop()
        self._spawn()

    def pause(self) -> None:
        if self.child is not None:
            self.child.pause()

    def stop(self) -> None:
        self.slots.clear()
        if self.child is not None:
            self.child.kill()
            self.child = None


def _about(candidates: dict[int, Candidate], order: Message) -> Message:
    return {**order, "candidates": [each.as_message(slot) for slot, each in candidates.items()]}
