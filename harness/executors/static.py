"""No device: code for a graphics processor that is not here is only analysed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from harness.devices.graphics.processor import nvcc
from harness.executors.executor import CheckMemory, Executor, Verify

if TYPE_CHECKING:
    from harness.building.network import Scrutiny
    from harness.measure.group import GroupSettings
    from harness.tuning.measurers.local import Measurer


class StaticGraphics(Executor):
    """Kernels are tuned by a static estimate, and their schedules verified as OpenCL."""

    kind = "static"
    tuning_suffix = "-static-estimate"
    ability = "compile for it, not run it"

    def require(self) -> None:
        nvcc()

    def measurer(self, threads: int, footprint: float, folder: Path) -> Measurer:
        from harness.compiler.api import target_of
        from harness.tuning.measurers.static import StaticMeasurer

        target = target_of(self.target.tvm.as_tvm())
        return StaticMeasurer(target, threads, self.target.hardware)

    def runs_here(self) -> str:
        return "no: compiled and analysed only"

    def group(self, settings: GroupSettings) -> None:
        return None

    def scrutiny(self, check_memory: CheckMemory, verify: Verify) -> Scrutiny:
        from harness.building.network import Scrutiny

        return Scrutiny(self.target.hardware.multiprocessor, verify=verify)


EXECUTORS = {"cuda": StaticGraphics}
