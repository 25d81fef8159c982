"""This machine: its processor, or its graphics processor."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from harness.devices.graphics.processor import graphics_processor, library_folders, nvcc
from harness.devices.servers.tracker import Servers
from harness.errors import CellFailure
from harness.executors.executor import CheckMemory, Executor, Verify
from harness.hardware import missing_features
from harness.hardware.capability import missing_cores
from harness.specs.target import DeviceKind, TargetSpec, TvmTarget

if TYPE_CHECKING:
    from harness.building.network import Scrutiny
    from harness.measure.group import Group, GroupSettings
    from harness.tuning.measurers.local import Measurer

_LIBRARY_PATH = "LD_LIBRARY_PATH"


class _Local(Executor):
    kind = "measured"
    times_kernels = True
    ability = "run it"

    def measurer(self, threads: int, footprint: float, folder: Path) -> Measurer:
        from harness.compiler.api import target_of
        from harness.tuning.measurers.local import KernelMeasurer

        return KernelMeasurer(target_of(self.target.tvm.as_tvm()), threads, footprint)

    def group(self, settings: GroupSettings) -> Group:
        from harness.measure.group import Group

        return Group(settings)

    def scrutiny(self, check_memory: CheckMemory, verify: Verify) -> Scrutiny:
        from harness.building.network import Scrutiny

        return Scrutiny(self.target.hardware.multiprocessor, unsafe=check_memory(True))


class LocalProcessor(_Local):
    """This machine's processor."""

    runs_engines = True

    def require(self) -> None:
        missing = missing_features(self.target)
        if not missing:
            return
        advice = "use 'x86-host', which is detected, or a target whose features this machine has"
        if missing == missing_cores(self.target):
            advice = (
                "set fewer 'threads' in the sweep, or tvm.num-cores in a copy of the description"
            )
        raise CellFailure(
            f"target '{self.target.name}' cannot run on this machine, which lacks "
            f"{', '.join(missing)}; {advice}"
        )

    def working_target(self) -> TvmTarget:
        return self.target.tvm

    def described(self) -> TargetSpec:
        from harness.machine.roofline import with_measured_roofs

        return with_measured_roofs(self.target)

    def runs_here(self) -> str:
        missing = missing_features(self.target)
        return f"no: lacks {', '.join(missing)}" if missing else "yes"


class LocalGraphics(_Local):
    """This machine's graphics processor. A described one that is not this one is `static`."""

    @classmethod
    def instead(cls, target: TargetSpec, servers: Servers | None) -> DeviceKind | None:
        found = graphics_processor()
        return None if found is not None and found.runs(target) else "static"

    def require(self) -> None:
        nvcc()

    def environment(self) -> dict[str, str]:
        return super().environment() | {_LIBRARY_PATH: library_folders()}


EXECUTORS = {"llvm": LocalProcessor, "cuda": LocalGraphics}
