"""Packed weights give the same network, fused as before."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from compiling import imported, kernel_names, reference, run_fused
from onnx import helper
from small_models import FLOAT, feeds, onnx_model, weights
from tvm_runs import operators_of

from harness.compiler.api import tvm
from harness.kernels.vectors import vector_lanes
from harness.passes.adapt import adapt
from harness.passes.canonicalise import canonicalise
from harness.passes.fusion import fuse
from harness.schedules.default import schedule_untuned
from harness.specs.target import Passes

TARGET = tvm.target.Target({"kind": "llvm", "num-cores": 2})
LANES = vector_lanes(TARGET)


def network(channels: int, groups: int = 1) -> onnx.ModelProto:
    """A convolution, a residual, a mean and a dense layer, all of so many channels."""
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["a"], pads=[1, 1, 1, 1], group=groups),
        helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("Conv", ["b", "v"], ["c"], pads=[1, 1, 1, 1], group=groups),
        helper.make_node("Add", ["b", "c"], ["d"]),
        helper.make_node("GlobalAveragePool", ["d"], ["e"]),
        helper.make_node("Flatten", ["e"], ["f"]),
        helper.make_node("MatMul", ["f", "u"], ["y"]),
    ]
    return onnx_model(
        nodes, [("x", FLOAT, [1, channels, 8, 8])], ["y"],
        {
            "w": weights(channels, channels // groups, 3, 3),
            "v": weights(channels, channels // groups, 3, 3),
            "u": weights(channels, channels),
        },
    )  # fmt: skip


@pytest.mark.parametrize("channels", [LANES, 2 * LANES, 3 * LANES])
def test_packed_network_gives_the_reference_outputs(channels: int, tmp_path: Path) -> None:
    model = network(channels)
    read = imported(model, tmp_path)
    adapted = adapt(canonicalise(read.module), Passes(), TARGET)
    assert "relax.nn.conv2d" not in operators_of(adapted)
    assert "relax.matmul" not in operators_of(adapted)
    fused = fuse(adapted, "full")
    values = feeds(read.inputs)
    (expected,) = reference(model, values)
    for module in (fused, schedule_untuned(fused, TARGET, 2)):
        (found,) = run_fused(module, list(values.values()))
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_packing_leaves_the_fusion_as_it_was(tmp_path: Path) -> None:
    canonical = canonicalise(imported(network(2 * LANES), tmp_path).module)
    packed, plain = (
        kernel_names(fuse(adapt(canonical, Passes(pack_weights=on), TARGET), "full"))
        for on in (True, False)
    )
    assert len(packed) == len(plain)


@pytest.mark.parametrize(("channels", "groups"), [(LANES + 1, 1), (LANES, LANES)])
def test_what_does_not_fit_is_left_alone(channels: int, groups: int, tmp_path: Path) -> None:
    canonical = canonicalise(imported(network(channels, groups), tmp_path).module)
    assert "relax.nn.conv2d" in operators_of(adapt(canonical, Passes(), TARGET))
