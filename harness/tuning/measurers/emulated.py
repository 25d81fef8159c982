"""Tunes for an emulated board: a candidate costs the instructions that one run of it executes.

Candidates are compiled here, side by side, into libraries for the board. One process on the board
runs them one after another: starting it takes ten seconds, running a kernel far less.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from harness.compiler.api import target_of
from harness.devices.emulated.board import Board
from harness.processes.child import Child, ChildLost, Message
from harness.records.record import TuningCost
from harness.specs.target import TargetSpec
from harness.tuning.candidates.process import CANDIDATE_SECONDS, Candidate, KernelFailed, KernelTask
from harness.tuning.database import kernel_identity
from harness.tuning.measurers.repeatable import KernelWrong, RepeatableMeasurer

_WORKER = "harness.tuning.measurers.board_worker"
_START_SECONDS = 120.0
_MEMORY_MB = 4096.0


class CountingMeasurer(RepeatableMeasurer):
    """Counts on a board that is to be the processor of `spec`. Every candidate is verified when it
    is counted, on random inputs and on those of a real inference. Libraries, references and counts
    are written to `folder`."""

    cost: TuningCost = "instructions"

    def __init__(self, spec: TargetSpec, workers: int, board: Board, folder: Path) -> None:
        super().__init__(workers)
        self._target = target_of(spec.tvm.as_tvm())
        self._board = board
        self._spec = spec
        self._folder = folder.absolute()
        self._child: Child | None = None
        self._shown: Path | None = None
        """The references that the process on the board has read."""

    def __exit__(self, *raised: object) -> None:
        super().__exit__(*raised)
        self._stop()

    def costs(
        self, kernel: KernelTask, candidates: Sequence[Candidate]
    ) -> Iterator[float | KernelFailed]:
        message = kernel.as_message(self._target, here=False)
        # A folder of its own: a library that is still loaded has its name.
        with TemporaryDirectory(dir=self._folder) as folder:
            order = {"do": "export", "folder": folder, "whole": True}
            compiled = self._compiled(message, order, candidates)
            for at in range(len(candidates)):
                if at in compiled.failed:
                    yield compiled.failed[at]
                    continue
                try:
                    yield self._count(kernel, compiled.found[at])
                except KernelFailed as error:
                    yield error

    def _references(self, kernel: KernelTask) -> Path:
        """A file with the kernel's inputs, and its results without any schedule."""
        path = self._folder / f"{kernel_identity(kernel.module)}.npz"
        if not path.exists():
            message = kernel.as_message(self._target, here=False)
            order = {"do": "references", "path": str(path)}
            self._workers[0].ask(message, order, CANDIDATE_SECONDS)
        return path

    def _count(self, kernel: KernelTask, function: Message) -> float:
        """The instructions of one run. Raises KernelFailed, and KernelWrong."""
        references = self._references(kernel)
        order = {"do": "count", **function}
        try:
            child, seconds = self._started()
            if self._shown != references:
                child.call(
                    {"do": "kernel", "references": str(references), "outputs": kernel.outputs},
                    seconds,
                )
                self._shown = references
            answer = child.call(order, CANDIDATE_SECONDS)
        except ChildLost as error:
            self._stop()
            raise KernelFailed(f"on the board it {error}") from None
        if "error" in answer:
            raise KernelFailed(answer["error"])
        if answer["wrong"]:
            raise KernelWrong(answer["wrong"])
        return float(answer["instructions"])

    def _started(self) -> tuple[Child, float]:
        """The process on the board, and how long its first answer may take."""
        if self._child is not None:
            return self._child, CANDIDATE_SECONDS
        self._child = Child(
            _WORKER,
            memory_mb=_MEMORY_MB,
            environment=self._board.environment(self._spec, self._folder / "counts"),
            python=self._board.python,
        )
        return self._child, _START_SECONDS

    def _stop(self) -> None:
        if self._child is not None:
            self._child.kill()
        self._child, self._shown = None, None
