"""Finds the executor of a target: a module of this room for each kind of device, with a class for
each kind of code that it runs."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn, cast

from harness.devices.servers.tracker import Servers
from harness.errors import CellFailure
from harness.executors.executor import CheckMemory, Executor, Verify
from harness.specs.target import DeviceKind, TargetSpec

if TYPE_CHECKING:
    from harness.measure.group import GroupSettings


def executor_of(target: TargetSpec, servers: Servers | None = None) -> Executor:
    """The executor of a target. Where its device does not run its kind of code, the executor's
    `require` says so."""
    known = executors(target.device.kind)
    found = known.get(target.tvm.kind)
    if found is not None:
        return found(target, servers)
    return _unsupported(next(iter(known.values())), sorted(known))(target, servers)


def executors(kind: DeviceKind) -> dict[str, type[Executor]]:
    """The executors on a kind of device, by the kind of code (`tvm.kind`)."""
    module = importlib.import_module(f"harness.executors.{kind}")
    return cast("dict[str, type[Executor]]", module.EXECUTORS)


def placed(target: TargetSpec, servers: Servers | None = None) -> TargetSpec:
    """A target with the device that its code runs on from here. Others than described are a
    graphics processor that is not in this machine, for which kernels are compiled and analysed, and
    a board that no server is known for, which is emulated."""
    found = executors(target.device.kind).get(target.tvm.kind)
    other = found.instead(target, servers) if found is not None else None
    if other is None:
        return target
    device = target.device.model_copy(update={"kind": other})
    return target.model_copy(update={"device": device})


def _unsupported(of: type[Executor], takes: list[str]) -> type[Executor]:
    """An executor for code that a kind of device does not run."""

    class Unsupported(Executor):
        kind = of.kind
        ability = of.ability

        def require(self) -> NoReturn:
            device, found = self.target.device.kind, self.target.tvm.kind
            raise CellFailure(
                f"target '{self.target.name}': a device of kind '{device}' runs code of tvm.kind "
                f"{' or '.join(map(repr, takes))}, found '{found}'"
            )

        def measurer(self, threads: int, footprint: float, folder: Path) -> NoReturn:
            self.require()

        def group(self, settings: GroupSettings) -> NoReturn:
            self.require()

        def scrutiny(self, check_memory: CheckMemory, verify: Verify) -> NoReturn:
            self.require()

    return Unsupported
