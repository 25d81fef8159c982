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

from harness.compiler.api import ArgInfo, tvm
from harness.kernels.vectors import vector_lanes
from harness.passes.adapt import adapt
from harness.passes.canonicalise import canonicalise
from harness.passes.fusion import fuse, kernels
from harness.schedules.untuned import schedule_untuned
from harness.specs.sweep import FusionLevel
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


ODD = [LANES + 1, 3 * LANES + 1, 5 * LANES - 1]
"""Numbers of channels that no vector of half of the lanes divides."""


@pytest.mark.slow
@pytest.mark.parametrize("channels", [LANES, 2 * LANES, 3 * LANES, *ODD])
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


@pytest.mark.parametrize(("channels", "groups"), [(LANES + LANES // 2, 1), (LANES, LANES)])
def test_what_does_not_fit_is_left_alone(channels: int, groups: int, tmp_path: Path) -> None:
    canonical = canonicalise(imported(network(channels, groups), tmp_path).module)
    assert "relax.nn.conv2d" in operators_of(adapt(canonical, Passes(), TARGET))


@pytest.mark.slow
@pytest.mark.parametrize("channels", [*ODD, 2 * LANES])
@pytest.mark.parametrize("level", ["none", "full"])
def test_product_of_computed_matrices_is_right_for_any_number_of_channels(
    channels: int, level: FusionLevel, tmp_path: Path
) -> None:
    """As attention computes scores of an odd number of tokens, and then scales them."""
    nodes = [
        helper.make_node("Transpose", ["k"], ["t"], perm=[0, 1, 3, 2]),
        helper.make_node("MatMul", ["q", "t"], ["s"]),
        helper.make_node("Mul", ["s", "scale"], ["m"]),
        helper.make_node("Softmax", ["m"], ["a"], axis=-1),
        helper.make_node("MatMul", ["a", "v"], ["y"]),
    ]
    shapes = [(name, FLOAT, [1, 3, channels, 12]) for name in "qkv"]
    model = onnx_model(nodes, shapes, ["y"], {"scale": np.float32(0.3)})
    read = imported(model, tmp_path)
    values = feeds(read.inputs)
    (expected,) = reference(model, values)
    fused = fuse(adapt(canonicalise(read.module), Passes(), TARGET), level)
    for module in (fused, schedule_untuned(fused, TARGET, 2)):
        (found,) = run_fused(module, list(values.values()))
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_odd_channels_are_computed_in_whole_vectors(tmp_path: Path) -> None:
    """With the bias and the activation after it in the same kernel."""
    channels = 2 * LANES + 1
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["p"]),
        helper.make_node("Add", ["p", "b"], ["q"]),
        helper.make_node("Relu", ["q"], ["y"]),
    ]
    constants = {"w": weights(6, channels), "b": weights(channels)}
    model = onnx_model(nodes, [("x", FLOAT, [5, 6])], ["y"], constants)
    fused = fuse(adapt(canonicalise(imported(model, tmp_path).module), Passes(), TARGET), "full")
    (kernel,) = kernels(fused)
    assert [info.shape for info in ArgInfo.from_prim_func(kernel.function)][1] == (3, 6, LANES)


def test_convolution_of_a_row_with_odd_channels_is_packed(tmp_path: Path) -> None:
    """As a spectrum is computed by networks that avoid complex numbers."""
    channels = 2 * LANES + 1
    nodes = [
        helper.make_node("Conv", ["x", "w", "b"], ["p"], strides=[5]),
        helper.make_node("Relu", ["p"], ["y"]),
    ]
    constants = {"w": weights(channels, 1, 12), "b": weights(channels)}
    model = onnx_model(nodes, [("x", FLOAT, [1, 1, 40])], ["y"], constants)
    read = imported(model, tmp_path)
    fused = fuse(adapt(canonicalise(read.module), Passes(), TARGET), "full")
    assert (3, 12, 1, LANES) in [
        info.shape for kernel in kernels(fused) for info in ArgInfo.from_prim_func(kernel.function)
    ]
    values = feeds(read.inputs)
    (expected,) = reference(model, values)
    (found,) = run_fused(schedule_untuned(fused, TARGET, 2), list(values.values()))
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
