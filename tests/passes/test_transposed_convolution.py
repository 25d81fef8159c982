"""Transposed convolutions whose windows do not overlap are matrix products; others are left."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest
from compiling import assert_agrees, compiled, imported
from onnx import helper
from small_models import FLOAT, onnx_model, weights
from tvm_runs import operators_of

from harness.compiler.api import tvm
from harness.passes.canonicalise import canonicalise
from harness.passes.fusion import kernels
from harness.passes.movement import is_stray
from harness.schedules.untuned import schedule_untuned

TARGET = tvm.target.Target({"kind": "llvm", "num-cores": 2})


def upscaling(
    outputs: int, kernel: list[int], groups: int = 1, **attributes: object
) -> onnx.ModelProto:
    """A convolution, a transposed one with bias and activation, and a convolution."""
    nodes = [
        helper.make_node("Conv", ["x", "v"], ["a"], pads=[1, 1, 1, 1]),
        helper.make_node("ConvTranspose", ["a", "w", "b"], ["c"], group=groups, **attributes),
        helper.make_node("Relu", ["c"], ["d"]),
        helper.make_node("Conv", ["d", "u"], ["y"], pads=[1, 1, 1, 1]),
    ]
    return onnx_model(
        nodes, [("x", FLOAT, [1, 3, 5, 6])], ["y"],
        {
            "v": weights(8, 3, 3, 3),
            "w": weights(8, outputs // groups, *kernel),
            "b": weights(outputs, seed=1),
            "u": weights(4, outputs, 3, 3, seed=2),
        },
    )  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize(
    ("outputs", "kernel"), [(16, [2, 2]), (1, [2, 2]), (6, [3, 3]), (5, [1, 4])]
)
def test_product_gives_the_same(outputs: int, kernel: list[int], tmp_path: Path) -> None:
    model = upscaling(outputs, kernel, strides=kernel)
    network = imported(model, tmp_path)
    assert "relax.nn.conv2d_transpose" not in operators_of(canonicalise(network.module))
    fused = compiled(network)
    assert not any(is_stray(kernel.function) for kernel in kernels(fused))
    assert_agrees(model, network, schedule_untuned(fused, TARGET, 2))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kernel", "groups", "attributes"),
    [
        ([3, 3], 1, {"strides": [2, 2]}),
        ([2, 2], 1, {"strides": [2, 2], "pads": [1, 1, 1, 1]}),
        ([2, 2], 1, {"strides": [2, 2], "output_padding": [1, 1]}),
        ([2, 2], 2, {"strides": [2, 2]}),
    ],
    ids=["overlapping", "padded", "padded outside", "groups"],
)
def test_what_is_no_product_is_left(
    kernel: list[int], groups: int, attributes: dict[str, object], tmp_path: Path
) -> None:
    model = upscaling(4, kernel, groups, **attributes)
    network = imported(model, tmp_path)
    assert "relax.nn.conv2d_transpose" in operators_of(canonicalise(network.module))
    assert_agrees(model, network, compiled(network))
