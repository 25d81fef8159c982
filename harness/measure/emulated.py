"""Verifies and counts the artifacts of one model on an emulated board.

The processes are those that measure elsewhere, run by the board's Python; the reference runs on
this machine. Nothing is timed: an emulator's time says nothing of the hardware's.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from harness.devices.emulated.board import Board
from harness.errors import CellFailure
from harness.files.arrays import write_arrays
from harness.measure.group import Group, GroupSettings
from harness.measure.member import Member, ProcessRunner, Runner
from harness.records.compiled_code import InstructionCount
from harness.specs.target import TargetSpec

_SCORED = 50
"""Labelled samples, where a sweep does not say how many: an emulated inference takes long."""
_ILLEGAL = "SIGILL"


class EmulatedGroup(Group):
    """A group on a board that is to be the processor of `spec`; the rest is as for any group."""

    def __init__(self, board: Board, spec: TargetSpec, settings: GroupSettings) -> None:
        super().__init__(settings)
        self._board = board
        self._spec = spec

    def _runner(self, member: Member) -> Runner:
        if not member.mark:  # a reference
            return super()._runner(member)
        counts = (self._work / f"counts-{member.mark}").absolute()
        return ProcessRunner(
            member,
            1,
            self._limits,
            self._board.environment(self._spec, counts),
            self._board.python,
        )

    def _outputs(self, runner: Runner, inputs: Path) -> list[list[np.ndarray]]:
        try:
            return super()._outputs(runner, inputs)
        except CellFailure as error:
            if _ILLEGAL in str(error):
                raise CellFailure(
                    "this code needs more than the described processor, "
                    f"'{self._spec.tvm.mcpu}', has: it {error}; is tvm.mattr right?"
                ) from None
            raise

    def _time(self, inputs: Path) -> None:
        """Count instead."""
        for runner in self._alive():
            self._listener("count", runner.member.label, 0, 1)
            self._step(runner, "count", lambda r: self._count(r, inputs))

    def _count(self, runner: Runner, inputs: Path) -> None:
        answer = runner.ask({"do": "count", "inputs": str(inputs)})
        runner.measured.instructions = InstructionCount.model_validate(answer["instructions"])

    def _accuracy(self, runner: Runner, reference: list[list[np.ndarray]]) -> None:
        """Scored on this machine, which has the metric's packages, from the board's outputs."""
        task, label = self._subject.task, runner.member.label
        if task is None:
            super()._accuracy(runner, reference)
            return
        sample = (self._work / "sample.npz").absolute()

        def run(feeds: Mapping[str, np.ndarray]) -> list[np.ndarray]:
            write_arrays(sample, [list(feeds.items())])
            return self._outputs(runner, sample)[0]

        runner.measured.accuracy = task.evaluate(
            run,
            lambda done, total: self._listener("accuracy", label, done, total),
            self._measure.accuracy_samples or _SCORED,
            self._unscored,
        )
