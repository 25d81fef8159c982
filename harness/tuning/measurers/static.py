"""Tunes for a graphics processor that is not here, by its compiler's figures of each candidate.

A candidate costs the seconds that it is estimated to take. Those that spill registers to memory, or
of which no block of threads fits on a multiprocessor, are dropped. Nothing runs but the winner of a
final: in its OpenCL form on this machine's processor, where PoCL is installed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from harness.compiler.api import tvm
from harness.devices.graphics.pocl import pocl_version
from harness.devices.graphics.static_estimate import estimated_seconds, missing_figures
from harness.errors import CellFailure
from harness.processes.child import Message
from harness.records.compiled_code import Launch
from harness.records.record import TuningCost
from harness.specs.target import Hardware
from harness.tuning.candidates.process import Candidate, KernelFailed, KernelTask
from harness.tuning.measurers.repeatable import KernelWrong, RepeatableMeasurer

_VERIFY_SECONDS = 120.0
"""PoCL takes a second or two for most kernels, more for large ones."""


class StaticMeasurer(RepeatableMeasurer):
    """Ranks by `estimated_seconds`. Raises CellFailure where `hardware` lacks a figure for it."""

    cost: TuningCost = "static estimate"

    def __init__(self, target: tvm.target.Target, workers: int, hardware: Hardware) -> None:
        super().__init__(workers)
        self._target = target
        self._hardware = hardware
        if missing := missing_figures(hardware):
            raise CellFailure(
                "tuning for a device that is not here goes by an estimate, for which the target's "
                f"description lacks {', '.join(missing)}; add it, or leave tuning out"
            )

    def costs(
        self, kernel: KernelTask, candidates: Sequence[Candidate]
    ) -> Iterator[float | KernelFailed]:
        message = kernel.as_message(self._target, here=False)
        compiled = self._compiled(message, {"do": "analyse"}, candidates)
        for at in range(len(candidates)):
            if at in compiled.failed:
                yield compiled.failed[at]
            else:
                yield self._cost([Launch.model_validate(each) for each in compiled.found[at]])

    def final(
        self, kernel: KernelTask, candidates: Sequence[Candidate]
    ) -> list[float | KernelFailed]:
        """The cost of each; of wrong or crashing ones, only those that would have won are known to
        be."""
        costs = super().final(kernel, candidates)
        if pocl_version() is None:
            return costs
        message = kernel.as_message(self._target, here=False)
        known = {at: cost for at, cost in enumerate(costs) if not isinstance(cost, KernelFailed)}
        for at in sorted(known, key=lambda at: known[at]):
            failure = self._verified(message, candidates[at])
            if failure is None:
                break
            costs[at] = failure
        return costs

    def _verified(self, kernel: Message, candidate: Candidate) -> KernelFailed | None:
        """How a candidate fails when it runs in OpenCL; None where it is right, or where OpenCL
        cannot run it."""
        order = {"do": "verify_opencl"}
        try:
            answer = self._workers[0].carry_out(kernel, order, {0: candidate}, _VERIFY_SECONDS)
        except KernelFailed as failure:
            return failure
        return KernelWrong(answer["wrong"][0][1]) if answer["wrong"] else None

    def _cost(self, launches: Sequence[Launch]) -> float | KernelFailed:
        spilled = sum(launch.spill_bytes for launch in launches)
        if spilled:
            return KernelFailed(f"it spills {spilled} bytes of registers to memory")
        seconds = estimated_seconds(launches, self._hardware)
        return KernelFailed("no block fits on a multiprocessor") if seconds is None else seconds
