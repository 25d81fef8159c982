"""The interface of executors: the device of a target's code, and its tuning and measuring."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from harness.devices.servers.tracker import Servers
from harness.hardware import target_fingerprint
from harness.specs.sweep import Kind
from harness.specs.target import DeviceKind, TargetSpec, TvmTarget

if TYPE_CHECKING:
    from harness.building.network import Scrutiny
    from harness.compiler.api import tvm
    from harness.measure.group import Group, GroupSettings
    from harness.measure.memory_safety import MemoryCheck
    from harness.records.compiled_code import KernelVerification
    from harness.tuning.measurers.local import Measurer

Verify = Callable[["tvm.IRModule"], "KernelVerification | None"]
"""Verifies the schedules of a network that does not run here."""
CheckMemory = Callable[[bool], "MemoryCheck"]
"""The memory check of a network, told whether its code runs on this machine."""


class Executor(ABC):
    """Where the code of one target runs. `servers` says where those of its key are found."""

    kind: ClassVar[Kind]
    """The kind of its records."""
    runs_engines: ClassVar[bool] = False
    """Whether other engines can be measured beside its cells."""
    times_kernels: ClassVar[bool] = False
    """Whether single kernels can be timed, as a budget of latency needs."""
    compiles_on_clusters: ClassVar[bool] = False
    """Whether candidates may be compiled by a cluster."""
    tuning_suffix: ClassVar[str] = ""
    """Distinguishes its tuning databases from those of schedules that were timed."""
    ability: ClassVar[str]
    """The ability of this machine, after "this machine can"."""

    def __init__(self, target: TargetSpec, servers: Servers | None = None) -> None:
        self.target = target
        self.servers = servers

    @classmethod
    def instead(cls, target: TargetSpec, servers: Servers | None) -> DeviceKind | None:
        """The kind of device that a target is run on instead, where this one is not there."""
        return None

    @abstractmethod
    def require(self) -> None:
        """Raises CellFailure, in one line that names missing parts, unless the target can run or
        be compiled; CellSkipped where an optional part of the installation is missing."""

    @abstractmethod
    def measurer(self, threads: int, footprint: float, folder: Path) -> Measurer:
        """The measurer of candidates in tuning, with `threads` of this machine and files in
        `folder`; `footprint` is as in `KernelMeasurer`. Raises CellFailure and CellSkipped."""

    @abstractmethod
    def group(self, settings: GroupSettings) -> Group | None:
        """The group that verifies and measures networks; None if nothing runs them."""

    @abstractmethod
    def scrutiny(self, check_memory: CheckMemory, verify: Verify) -> Scrutiny:
        """The checks of code when it is built."""

    def environment(self) -> dict[str, str]:
        """Environment variables of processes that work for the target."""
        threads = str(self.target.tvm.num_cores)
        return {"TVM_NUM_THREADS": threads, "OMP_NUM_THREADS": threads}

    def working_target(self) -> TvmTarget:
        """The processor that networks run on while they are prepared for the target, as for
        calibrating them: this machine's."""
        from harness.hardware import detect_host

        return detect_host().tvm

    def runs_here(self) -> str:
        """Whether this machine runs the target's code, for a table: "yes", or "no" and why."""
        return "yes"

    def described(self) -> TargetSpec:
        """The target with measured figures of its hardware."""
        return self.target

    @property
    def tuning_folder(self) -> str:
        """The name of the target's folder of tuning records."""
        return target_fingerprint(self.target) + self.tuning_suffix
