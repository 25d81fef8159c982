"""A network whose kernels access memory outside their arguments is found out, kernel by kernel."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
import pytest
from onnx import helper
from small_models import FLOAT, convolutional, onnx_model, save, weights

from harness.building import network as build
from harness.compiler.api import PrimFunc, relax, target_of, tvm
from harness.errors import CellFailure
from harness.hardware import load_target
from harness.records.artifact import Artifact
from harness.run.cell import Order, compile_cell
from harness.schedules.untuned import schedule_untuned
from harness.specs.sweep import Configuration

HOST = "x86-host"
DENSE = "fused_matmul_add1"
INPUT = "lv7[v_i0, v_k]"
OUTSIDE = f"T.max({INPUT}, T.min(lv7[v_i0, v_k + T.int64(64)], T.float32(-1e38)))"
"""The same value, for which what lies 256 bytes behind it is loaded too."""


def order(folder: Path, target: str = HOST, model: onnx.ModelProto | None = None) -> Order:
    return Order(
        model=save(model or convolutional(), folder / "net.onnx"),
        shapes={},
        work=folder,
        target=load_target(target),
        configuration=Configuration(name="fused", fusion="full"),
        seed=0,
        tuning_database=folder / "tuning",
        artifact=folder / "artifact",
    )


def compiled(given: Order) -> Artifact:
    return compile_cell(given, lambda _: None)


def with_outside_read(scheduled: tvm.IRModule) -> tvm.IRModule:
    """A scheduled network whose dense layer loads from behind its input."""
    result = scheduled.clone()
    for name, function in scheduled.functions_items():
        if isinstance(function, PrimFunc) and name.name_hint == DENSE:
            text = function.script()
            assert f"{INPUT} * " in text
            result.update_func(
                name, tvm.script.from_source(text.replace(f"{INPUT} * ", f"{OUTSIDE} * "))
            )
    return result


@pytest.mark.parametrize("target", [HOST, "raspberry-pi-4"])
def test_kernels_of_every_build_for_a_processor_are_looked_at(target: str, tmp_path: Path) -> None:
    safety = compiled(order(tmp_path, target)).memory_safety
    assert safety is not None and safety.kernels >= 3 and not safety.rejected


def test_cell_fails_whose_kernel_reads_outside_in_its_default_schedule(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def faulty(*arguments: Any) -> tvm.IRModule:
        return with_outside_read(schedule_untuned(*arguments))

    monkeypatch.setattr(build, "schedule_untuned", faulty)
    given = order(tmp_path)
    why = f"^kernel {DENSE}, in its default schedule, accesses memory behind argument 0$"
    with pytest.raises(CellFailure, match=why):
        compiled(given)
    assert not given.artifact.exists()


@pytest.mark.slow
def test_tuned_schedule_that_reads_outside_is_replaced_and_reported(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def faulty() -> Callable[[tvm.IRModule], tvm.IRModule]:
        target = target_of(load_target(HOST).tvm.as_tvm())
        return lambda fused: with_outside_read(schedule_untuned(fused, target, 2))

    monkeypatch.setattr(relax.transform, "MetaScheduleApplyDatabase", faulty)
    artifact = compiled(order(tmp_path))
    assert artifact.memory_safety is not None
    assert artifact.memory_safety.rejected == {DENSE: "accesses memory behind argument 0"}
    assert not next(each for each in artifact.kernels if each.name == DENSE).tuned


def test_padded_depthwise_convolution_reads_inside_its_input_only(tmp_path: Path) -> None:
    """The clamp of its index used to be simplified away within the selected value."""
    nodes = [
        helper.make_node("Conv", ["x", "p"], ["a"]),
        helper.make_node("Conv", ["a", "w"], ["y"], group=32, pads=[1, 1, 1, 1]),
    ]
    filters = {"p": weights(32, 3, 1, 1), "w": weights(32, 1, 3, 3)}
    model = onnx_model(nodes, [("x", FLOAT, [1, 3, 20, 20])], ["y"], filters)
    safety = compiled(order(tmp_path, model=model)).memory_safety
    assert safety is not None and not safety.rejected
