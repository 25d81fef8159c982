"""Schedules of a graphics processor that is not here are right, wrong, or cannot be told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from exchanging_kernel import exchanging, exchanging_in
from machine_needs import needs_pocl
from small_kernels import summing
from small_models import convolutional, save

from harness.building import network as build
from harness.compiler.api import PrimFunc, target_of, tvm
from harness.errors import CellFailure
from harness.files.arrays import write_arrays
from harness.hardware import load_target
from harness.inspection.kernels import import_named
from harness.passes.adapt import adapt
from harness.passes.canonicalise import canonicalise
from harness.passes.fusion import KernelCall, fuse, kernels
from harness.processes.child import Message
from harness.records.compiled_code import KernelVerification
from harness.run.cell import Order, compile_cell
from harness.schedules.untuned import schedule_untuned
from harness.specs.sweep import Configuration
from harness.specs.target import Device
from harness.tuning.candidates.opencl_verification import verify_schedules
from harness.tuning.candidates.real_inputs import record_kernel_inputs

HERE = target_of({"kind": "llvm", "num-cores": 2})
A100 = target_of(load_target("a100").tvm.as_tvm())


def verified(*scopes: str) -> tuple[KernelVerification, list[tuple[int, int]]]:
    """A network of kernels that exchange values in memory of some scopes, which name them."""
    module = exchanging()
    calls = [KernelCall(scope, module["main"], 1, (), 1) for scope in scopes]
    scheduled = tvm.IRModule({scope: exchanging_in(scope)["main"] for scope in scopes})
    heard: list[tuple[int, int]] = []
    found = verify_schedules(calls, scheduled, A100, {}, "PoCL", lambda *each: heard.append(each))
    return found, heard


@needs_pocl
@pytest.mark.slow
@pytest.mark.parametrize("name", ["a100", "t4"])
def test_all_default_schedules_of_an_embedded_network_are_right(name: str, tmp_path: Path) -> None:
    spec = load_target(name)
    target = target_of(spec.tvm.as_tvm())
    imported = import_named("fashion-resnet8", {})
    fused = fuse(adapt(canonicalise(imported.module), spec.passes, target), "full", target)
    image = np.random.default_rng(0).random(imported.inputs[0].shape).astype(np.float32)
    recorded = record_kernel_inputs(fused, HERE, 2, [image], tmp_path)
    calls = kernels(fused)
    assert len(calls) == len(recorded) > 10
    scheduled = schedule_untuned(fused, target, 1)
    found = verify_schedules(calls, scheduled, target, recorded, "PoCL", lambda *_: None)
    assert found == KernelVerification(by="PoCL", kernels=len(calls), unverified={})


@needs_pocl
def test_wrong_schedule_fails_and_is_named() -> None:
    with pytest.raises(CellFailure, match="schedule of 'local' is wrong: output 0: ") as raised:
        verified("shared", "local")
    assert "\n" not in str(raised.value)


@needs_pocl
def test_schedule_that_opencl_cannot_run_is_counted_with_its_reason() -> None:
    found, heard = verified("warp", "shared")
    assert found.kernels == 2
    assert found.unverified == {"warp": "it uses memory that OpenCL lacks: warp"}
    assert heard == [(0, 2), (1, 2)]


@needs_pocl
def test_schedule_that_is_wrong_on_recorded_inputs_only_fails(tmp_path: Path) -> None:
    """Random inputs are never as large as what this one caps."""
    recorded = tmp_path / "recorded.npz"
    write_arrays(recorded, [[("0", np.full((16, 16), 1e6, np.float32))]])
    call = KernelCall("capped", summing(16)["main"], 1, (), 1)
    scheduled = schedule_untuned(tvm.IRModule({"capped": summing(16, "capped")["main"]}), A100, 1)
    verify_schedules([call], scheduled, A100, {}, "PoCL", lambda *_: None)
    with pytest.raises(CellFailure, match="values differ"):
        verify_schedules([call], scheduled, A100, {"capped": recorded}, "PoCL", lambda *_: None)


@needs_pocl
@pytest.mark.slow
def test_cell_with_a_wrong_kernel_fails_to_verify_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def sums_from_one(module: tvm.IRModule, target: tvm.target.Target, threads: int) -> Any:
        scheduled = schedule_untuned(module, target, threads)
        for name, function in scheduled.functions_items():
            if isinstance(function, PrimFunc):
                wrong = function.script().replace("= T.float32(0.0)", "= T.float32(1.0)")
                scheduled.update_func(name, tvm.script.from_source(wrong))
        return scheduled

    monkeypatch.setattr(build, "schedule_untuned", sums_from_one)
    spec = load_target("a100")
    order = Order(
        model=save(convolutional(), tmp_path / "net.onnx"),
        shapes={},
        work=tmp_path,
        target=spec.model_copy(update={"device": Device(kind="static")}),
        configuration=Configuration(name="fused", fusion="full"),
        seed=0,
        tuning_database=tmp_path / "tuning",
        artifact=tmp_path / "artifact",
    )
    heard: list[Message] = []
    with pytest.raises(CellFailure, match=r"^the schedule of '\w+' is wrong: output 0: \d+ of"):
        compile_cell(order, heard.append)
    assert heard[-1]["stage"] == "verify" and not order.artifact.exists()
