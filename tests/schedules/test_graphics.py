"""Every kernel of a graphics processor gets a schedule: without one it does not run at all."""

from __future__ import annotations

from pathlib import Path

import pytest
from compiling import compiled, imported
from small_models import convolutional

from harness.compiler.api import dlight_rules, relax, target_of, tvm
from harness.hardware import load_target
from harness.kernels.blocks import SCHEDULED
from harness.passes.fusion import kernels
from harness.schedules.untuned import schedule_untuned


def a100() -> tvm.target.Target:
    return target_of(load_target("a100").tvm.as_tvm())


def test_every_kernel_of_a_network_is_scheduled_and_the_network_left_alone(tmp_path: Path) -> None:
    fused = compiled(imported(convolutional(), tmp_path))
    scheduled = schedule_untuned(fused, a100(), 1)
    for kernel in kernels(fused):
        assert scheduled[kernel.name].attrs[SCHEDULED]
        assert "threadIdx.x" in scheduled[kernel.name].script()
        assert SCHEDULED not in kernel.function.attrs


def test_kernel_that_a_rule_of_tvm_cannot_read_is_scheduled_all_the_same() -> None:
    builder = relax.BlockBuilder()
    data = relax.Var("data", relax.TensorType((1, 128, 1), "float32"))
    with builder.function("main", [data]):
        with builder.dataflow():
            result = builder.emit_output(relax.op.reshape(data, (1, 1, 128)))
        builder.emit_func_output(result)
    module = relax.transform.LegalizeOps()(builder.get())
    with a100(), pytest.raises(ValueError, match="Cannot use and"):
        dlight_rules()(module.clone())
    assert schedule_untuned(module, a100(), 1)["reshape"].attrs[SCHEDULED]
