"""The parent's side of the kernel worker: a dead worker costs one candidate and is replaced."""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType

from harness.child import Child, ChildLost, Message
from harness.tvm_api import tvm

_CANDIDATE_SECONDS = 20.0
_CONTEST_SECONDS = 120.0
_MEMORY_MB = 4096.0
_CANDIDATES_PER_WORKER = 400
"""LLVM keeps memory of what it compiled; a fresh worker now and then bounds it."""


_WORKER = "harness.tuning.kernel_worker"


class KernelFailed(Exception):
    """A candidate did not compile, or did not run to its end; the text says how."""


class KernelMeasurer:
    """Measures scheduled kernels one after another in a worker process. Use as a context manager.

    `threads` is how many the kernels run with.
    """

    def __init__(self, target: tvm.target.Target, threads: int) -> None:
        self._target = str(target)
        self._threads = threads
        self._child: Child | None = None
        self._served = 0

    def __enter__(self) -> KernelMeasurer:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop()

    def measure(self, module: tvm.IRModule, best: float | None) -> list[float]:
        """Seconds per run of one candidate; fewer samples when it is far behind `best`.

        Raises KernelFailed.
        """
        answer = self._ask(
            {"do": "measure", "module": tvm.ir.save_json(module), "best": best},
            _CANDIDATE_SECONDS,
        )
        return [float(value) for value in answer["seconds"]]

    def contest(self, modules: Sequence[tvm.IRModule], rounds: int) -> list[list[float]]:
        """Seconds per run of several candidates in turns, [candidates][rounds].

        Raises KernelFailed when any of them fails.
        """
        texts = [tvm.ir.save_json(module) for module in modules]
        answer = self._ask({"do": "contest", "modules": texts, "rounds": rounds}, _CONTEST_SECONDS)
        return [[float(value) for value in row] for row in answer["seconds"]]

    def _ask(self, message: Message, seconds: float) -> Message:
        if self._served >= _CANDIDATES_PER_WORKER:
            self._stop()
        if self._child is None:
            self._child = Child(
                _WORKER,
                memory_mb=_MEMORY_MB,
                environment={"TVM_NUM_THREADS": str(self._threads)},
            )
            self._served = 0
            seconds += _CANDIDATE_SECONDS  # importing TVM
        self._served += 1
        try:
            answer = self._child.call({**message, "target": self._target}, seconds)
        except ChildLost as error:
            self._stop()
            raise KernelFailed(str(error)) from None
        if "error" in answer:
            raise KernelFailed(str(answer["error"]))
        return answer

    def _stop(self) -> None:
        if self._child is not None:
            self._child.kill()
            self._child = None
