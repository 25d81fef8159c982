"""Padding that is read by vectors of channels is a selection, and no copy is left of it."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import onnx
import pytest
from compiling import assert_agrees, compiled, imported
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import helper
from onnx_nodes import computed, network
from small_models import FLOAT, onnx_model, weights

from harness.compiler.api import PrimFunc, SBlock, structural_equal, structural_walk, tvm
from harness.kernels.blocks import is_copy
from harness.passes.fusion import kernels
from harness.passes.padding import is_masked_padding, mask_padding
from harness.schedules.untuned import schedule_untuned
from harness.specs.sweep import FusionLevel

TARGET = tvm.target.Target({"kind": "llvm", "num-cores": 2})
CHANNELS = 16


def convolution(
    groups: int, kernel: int = 3, side: int = 9, **attributes: object
) -> onnx.ModelProto:
    filters = weights(CHANNELS, CHANNELS // groups, kernel, kernel)
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], group=groups, **attributes),
        helper.make_node("Relu", ["c"], ["y"]),
    ]
    return onnx_model(nodes, [("x", FLOAT, [1, CHANNELS, side, side])], ["y"], {"w": filters})


def pool(kind: str) -> onnx.ModelProto:
    """A pool between convolutions, so that it is computed with the channels last."""
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"]),
        helper.make_node(kind, ["c"], ["p"], kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
        helper.make_node("Conv", ["p", "w"], ["y"]),
    ]
    filters = weights(CHANNELS, CHANNELS, 1, 1)
    return onnx_model(nodes, [("x", FLOAT, [1, CHANNELS, 9, 9])], ["y"], {"w": filters})


def blocks_of(function: PrimFunc) -> list[SBlock]:
    found: list[SBlock] = []
    structural_walk(function.body, (SBlock, found.append))
    return [block for block in found if block.name_hint != "root"]


def padding_of(function: PrimFunc) -> list[bool]:
    """Of each padding block of a kernel, whether it is by selection."""
    padding = [block for block in blocks_of(function) if "pad" in block.name_hint]
    return [is_masked_padding(block) for block in padding if not is_copy(block)]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("model", "selected"),
    [
        (convolution(CHANNELS, pads=[1, 1, 1, 1]), True),
        (pool("MaxPool"), True),
        (pool("AveragePool"), True),
        (convolution(1, pads=[1, 1, 1, 1]), False),
        (convolution(4, pads=[1, 1, 1, 1]), False),
    ],
    ids=["depthwise", "maximum", "average", "all channels", "groups"],
)
def test_padding_is_selected_where_vectors_of_channels_are_read(
    model: onnx.ModelProto, selected: bool, tmp_path: Path
) -> None:
    network = imported(model, tmp_path)
    fused = compiled(network)
    assert [how for kernel in kernels(fused) for how in padding_of(kernel.function)] == [selected]
    assert_agrees(model, network, fused)


def test_default_schedule_makes_no_copy_of_what_is_padded(tmp_path: Path) -> None:
    network = imported(convolution(CHANNELS, pads=[1, 1, 1, 1]), tmp_path)
    scheduled = schedule_untuned(compiled(network), TARGET, 2)
    (kernel,) = kernels(scheduled)
    assert not padding_of(kernel.function)
    assert "if_then_else" not in str(kernel.function)


def test_what_is_selected_is_left_alone_the_second_time(tmp_path: Path) -> None:
    fused = compiled(imported(convolution(CHANNELS, pads=[1, 1, 1, 1]), tmp_path))
    assert structural_equal(mask_padding(fused), fused)


@pytest.mark.slow
@settings(max_examples=15, deadline=None)
@given(
    kernel=st.sampled_from([1, 2, 3, 5]),
    stride=st.integers(1, 3),
    dilation=st.integers(1, 2),
    pads=st.lists(st.integers(0, 3), min_size=4, max_size=4),
)
def test_results_are_the_same_whatever_is_padded(
    kernel: int, stride: int, dilation: int, pads: list[int]
) -> None:
    model = convolution(CHANNELS, kernel, strides=[stride] * 2, dilations=[dilation] * 2, pads=pads)
    with tempfile.TemporaryDirectory() as folder:
        network = imported(model, Path(folder))
    assert_agrees(model, network, schedule_untuned(compiled(network), TARGET, 2))


@pytest.mark.parametrize("channels", [1, 8])
@pytest.mark.parametrize("level", ["none", "full"])
def test_maxima_of_negative_infinity(channels: int, level: FusionLevel, tmp_path: Path) -> None:
    data = np.full((1, channels, 6, 6), -np.inf, np.float32)
    data[..., 5, 5] = 1
    node = helper.make_node("MaxPool", ["x"], ["o"], kernel_shape=[3, 3], pads=[1, 1, 1, 1])
    (found,) = computed(network([node], ["o"], {"x": data}), {"x": data}, tmp_path, level)
    right = np.full_like(data, -np.inf)
    right[..., 4:, 4:] = 1
    np.testing.assert_array_equal(found, right)
