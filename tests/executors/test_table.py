"""Every kind of device has an executor, and says what it does not run."""

from __future__ import annotations

from typing import get_args

import pytest

from harness.errors import CellFailure
from harness.executors.table import executor_of, executors
from harness.hardware import load_target
from harness.specs.sweep import Kind
from harness.specs.target import Device, DeviceKind, TargetSpec


@pytest.mark.parametrize("kind", get_args(DeviceKind))
def test_every_kind_of_device_has_executors(kind: DeviceKind) -> None:
    found = executors(kind)
    assert found and set(found) <= {"llvm", "cuda"}
    assert {executor.kind for executor in found.values()} <= set(get_args(Kind))


def on(target: str, kind: DeviceKind) -> TargetSpec:
    return load_target(target).model_copy(update={"device": Device(kind=kind, key="board")})


@pytest.mark.parametrize(
    ("target", "kind", "takes"), [("znver4", "static", "cuda"), ("h100", "rpc", "llvm")]
)
def test_code_that_a_device_does_not_run_is_refused(
    target: str, kind: DeviceKind, takes: str
) -> None:
    found = executor_of(on(target, kind))
    with pytest.raises(CellFailure, match=f"of kind '{kind}' runs code of tvm.kind '{takes}'"):
        found.require()
    assert found.kind in get_args(Kind)


def test_devices_that_are_not_here_have_no_kernel_times() -> None:
    timed = {kind for kind in get_args(DeviceKind) if executor_of(on("znver4", kind)).times_kernels}
    assert "local" in timed and timed.isdisjoint({"rpc", "emulated", "static"})
