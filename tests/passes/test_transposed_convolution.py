"""Transposed convolutions are matrix products or convolutions where no zeros are needed for it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from compiling import assert_agrees, compiled, imported, reference
from onnx import helper
from small_models import FLOAT, onnx_model, weights
from tvm_runs import operators_of

from harness.building.network import machine_of, outputs_of
from harness.compiler.api import tvm
from harness.passes.canonicalise import canonicalise
from harness.passes.fusion import fuse, kernels
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
        ([1, 4], 1, {"strides": [2, 2]}),
        ([4, 4], 1, {"strides": [2, 2], "dilations": [2, 2]}),
        ([2, 2], 1, {"strides": [2, 2], "output_padding": [1, 1]}),
    ],
    ids=["smaller than the stride", "dilated", "padded outside"],
)
def test_what_is_neither_is_left(
    kernel: list[int], groups: int, attributes: dict[str, object], tmp_path: Path
) -> None:
    model = upscaling(4, kernel, groups, **attributes)
    network = imported(model, tmp_path)
    assert "relax.nn.conv2d_transpose" in operators_of(canonicalise(network.module))
    assert_agrees(model, network, compiled(network))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("outputs", "kernel", "attributes"),
    [
        (6, [4, 4], {"strides": [2, 2], "pads": [1, 1, 1, 1]}),
        (5, [4, 4], {"strides": [2, 2]}),
        (1, [6, 4], {"strides": [3, 2], "pads": [2, 0, 1, 3]}),
        (3, [4, 3], {"strides": [2, 1], "pads": [1, 1, 1, 1]}),
        (4, [2, 2], {"strides": [2, 2], "pads": [1, 1, 1, 1]}),
        (4, [4, 4], {"strides": [2, 2], "pads": [1, 1, 2, 2], "output_padding": [1, 1]}),
        (4, [8, 8], {"strides": [4, 4], "auto_pad": "SAME_UPPER"}),
        (6, [3, 3], {"strides": [2, 2], "pads": [1, 1, 1, 1], "output_padding": [1, 1]}),
        (5, [3, 4], {"strides": [2, 2]}),
        (4, [3, 3], {"strides": [1, 1], "pads": [1, 0, 2, 1]}),
        (3, [5, 7], {"strides": [3, 2], "pads": [2, 1, 0, 3]}),
    ],
)
def test_convolution_gives_the_same(
    outputs: int, kernel: list[int], attributes: dict[str, object], tmp_path: Path
) -> None:
    model = upscaling(outputs, kernel, **attributes)
    network = imported(model, tmp_path)
    assert "relax.nn.conv2d_transpose" not in operators_of(canonicalise(network.module))
    fused = compiled(network)
    assert not any(is_stray(kernel.function) for kernel in kernels(fused))
    assert_agrees(model, network, schedule_untuned(fused, TARGET, 2))


@pytest.mark.parametrize(
    ("size", "stride", "pads"),
    [(16, 8, [4, 4]), (4, 2, [1, 1]), (4, 2, [0, 3]), (6, 6, [0, 0]), (7, 3, [2, 2])],
)
def test_convolution_gives_the_same_in_one_dimension(
    size: int, stride: int, pads: list[int], tmp_path: Path
) -> None:
    nodes = [
        helper.make_node("ConvTranspose", ["x", "w", "b"], ["c"], strides=[stride], pads=pads),
        helper.make_node("LeakyRelu", ["c"], ["y"]),
    ]
    constants = {"w": weights(8, 5, size), "b": weights(5, seed=1)}
    model = onnx_model(nodes, [("x", FLOAT, [2, 8, 7])], ["y"], constants)
    network = imported(model, tmp_path)
    found = canonicalise(network.module, network.layer_names)
    assert "relax.nn.conv1d_transpose" not in operators_of(found)
    assert_agrees(model, network, schedule_untuned(compiled(network), TARGET, 2))


@pytest.mark.slow
@pytest.mark.parametrize(("outputs", "groups"), [(8, 8), (4, 2), (16, 4)])
@pytest.mark.parametrize("size", [2, 3, 4])
def test_groups_are_convolved_each_by_itself(
    outputs: int, groups: int, size: int, tmp_path: Path
) -> None:
    attributes = {"strides": [2, 2], "pads": [1, 0, 0, 1]}
    model = upscaling(outputs, [size, size], groups, **attributes)
    network = imported(model, tmp_path)
    assert "relax.nn.conv2d_transpose" not in operators_of(canonicalise(network.module))
    assert_agrees(model, network, schedule_untuned(compiled(network), TARGET, 2))


@pytest.mark.parametrize("size", [3, 4])
def test_infinity_stays_where_it_is(size: int, tmp_path: Path) -> None:
    attributes = {"strides": [2, 2], "pads": [1, 1, 1, 1]}
    node = helper.make_node("ConvTranspose", ["x", "w"], ["y"], **attributes)
    constants = {"w": np.abs(weights(2, 3, size, size)) + 0.1}
    model = onnx_model([node], [("x", FLOAT, [1, 2, 5, 5])], ["y"], constants)
    image = np.abs(weights(1, 2, 5, 5, seed=1))
    image[0, 0, 2, 2] = np.inf
    (expected,) = reference(model, {"x": image})
    module = canonicalise(imported(model, tmp_path).module)
    found = outputs_of(machine_of(fuse(module, "full"), TARGET, 2), [image])
    assert np.isinf(found).sum() == np.isinf(expected).sum() == 3 * size**2
    np.testing.assert_allclose(found, expected.ravel(), rtol=1e-4)
