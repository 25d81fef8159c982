"""The emulated board: networks are verified and their instructions counted; nothing is timed."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from harness.devices.emulated.board import require_board
from harness.executors.executor import CheckMemory, Executor, Verify

if TYPE_CHECKING:
    from harness.building.network import Scrutiny
    from harness.measure.group import Group, GroupSettings
    from harness.tuning.measurers.local import Measurer


class EmulatedBoard(Executor):
    """A 64-bit Arm system that QEMU runs on this machine."""

    kind = "emulated-count"
    tuning_suffix = "-instructions"
    ability = "emulate it"

    def require(self) -> None:
        require_board()

    def measurer(self, threads: int, footprint: float, folder: Path) -> Measurer:
        from harness.tuning.measurers.emulated import CountingMeasurer

        return CountingMeasurer(self.target, threads, require_board(), folder)

    def runs_here(self) -> str:
        return "no: emulated, verified and counted only"

    def group(self, settings: GroupSettings) -> Group:
        from harness.measure.emulated import EmulatedGroup

        return EmulatedGroup(require_board(), self.target, settings)

    def scrutiny(self, check_memory: CheckMemory, verify: Verify) -> Scrutiny:
        from harness.building.network import Scrutiny
        from harness.devices.emulated.loop_throughput import loop_throughputs

        estimate = partial(loop_throughputs, self.target)
        return Scrutiny(estimate=estimate, unsafe=check_memory(False))


EXECUTORS = {"llvm": EmulatedBoard}
