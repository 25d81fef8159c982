from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import tflite_graphs
from compiling import assert_agrees, compiled, imported, kernel_names, run_fused
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import helper
from small_models import FLOAT, convolutional, feeds, onnx_model, weights
from tflite_cases import WEIGHTED
from tvm_runs import operators_of

from harness.models.frontends import import_model
from harness.passes.canonicalise import canonicalise
from harness.passes.fusion import kernels
from harness.passes.layout import to_channels_last
from harness.passes.movement import is_stray


def _layouts(module: Any, of: str = "data_layout") -> set[str]:
    return {
        str(getattr(binding.value.attrs, of))
        for block in module["main"].body.blocks
        for binding in block.bindings
        if hasattr(getattr(binding.value, "attrs", None), of)
    }


def test_convolutions_become_channels_last_with_transposes_at_the_borders(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["a"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("Conv", ["b", "v"], ["c"]),
        helper.make_node("MaxPool", ["c"], ["y"], kernel_shape=[2, 2], strides=[2, 2]),
    ]
    model = onnx_model(
        nodes, [("x", FLOAT, [1, 3, 8, 8])], ["y"],
        {"w": weights(8, 3, 3, 3), "v": weights(5, 8, 1, 1)},
    )  # fmt: skip
    network = imported(model, tmp_path)
    module = to_channels_last(canonicalise(network.module))
    assert _layouts(module) == {"NHWC"}
    found = operators_of(module)
    assert found.count("relax.permute_dims") == 2
    assert found[0] == found[-1] == "relax.permute_dims"
    assert_agrees(model, network, compiled(network))


def test_weights_of_channels_last_data_have_output_channels_last(tmp_path: Path) -> None:
    """TFLite's depthwise weights have another layout, which no vector can be loaded from."""
    pytest.importorskip("tflite", reason="needs the extra: pip install 'layeredge[tflite]'")
    (case,) = [each for each in WEIGHTED if each.operator == "DEPTHWISE_CONV_2D"]
    path = tflite_graphs.save([case], tmp_path / "model.tflite")
    module = canonicalise(import_model(path, {}, tmp_path).module)
    assert _layouts(module, "kernel_layout") == {"HWOI"}
    assert _layouts(to_channels_last(module), "kernel_layout") == {"HWIO"}


def test_layout_change_is_a_reshape_when_there_is_one_channel(tmp_path: Path) -> None:
    model = onnx_model(
        [helper.make_node("Conv", ["x", "w"], ["y"])],
        [("x", FLOAT, [1, 1, 6, 6])],
        ["y"],
        {"w": weights(1, 1, 3, 3)},
    )
    network = imported(model, tmp_path)
    assert "relax.permute_dims" not in operators_of(to_channels_last(canonicalise(network.module)))
    assert_agrees(model, network, compiled(network))


def test_transposes_of_the_network_cancel_against_the_layouts(tmp_path: Path) -> None:
    model = onnx_model(
        [
            helper.make_node("Transpose", ["x"], ["t"], perm=[0, 3, 1, 2]),
            helper.make_node("Conv", ["t", "w"], ["c"], pads=[1, 1, 1, 1]),
            helper.make_node("Transpose", ["c"], ["y"], perm=[0, 2, 3, 1]),
        ],
        [("x", FLOAT, [1, 6, 6, 3])],
        ["y"],
        {"w": weights(8, 3, 3, 3)},
    )
    network = imported(model, tmp_path)
    found = operators_of(to_channels_last(canonicalise(network.module)))
    assert found == ["relax.nn.conv2d"]
    assert_agrees(model, network, compiled(network))


@pytest.mark.parametrize("name", ["ReduceMean", "ReduceMax", "ReduceSum"])
def test_reduction_over_the_image_needs_no_transpose(name: str, tmp_path: Path) -> None:
    axes: dict[str, Any] = {} if name == "ReduceSum" else {"axes": [2, 3]}
    names = ["c", "axes"] if name == "ReduceSum" else ["c"]
    model = onnx_model(
        [
            helper.make_node("Conv", ["x", "w"], ["c"]),
            helper.make_node(name, names, ["y"], keepdims=0, **axes),
        ],
        [("x", FLOAT, [1, 1, 6, 6])],
        ["y"],
        {"w": weights(5, 1, 3, 3), "axes": np.array([2, 3])},
    )
    network = imported(model, tmp_path)
    assert "relax.permute_dims" not in operators_of(to_channels_last(canonicalise(network.module)))
    assert_agrees(model, network, compiled(network))


def test_one_dimensional_convolution_becomes_channels_last(tmp_path: Path) -> None:
    model = onnx_model(
        [
            helper.make_node("Conv", ["x", "w", "b"], ["c"], pads=[1, 1], strides=[2]),
            helper.make_node("Relu", ["c"], ["y"]),
        ],
        [("x", FLOAT, [1, 3, 9])],
        ["y"],
        {"w": weights(4, 3, 3), "b": weights(4, seed=1)},
    )
    network = imported(model, tmp_path)
    assert _layouts(to_channels_last(canonicalise(network.module))) == {"NWC"}
    fused = compiled(network)
    assert len(kernel_names(fused)) == 1
    assert_agrees(model, network, fused)


def test_transposed_convolution_keeps_its_numbers_between_channels_last_layers(
    tmp_path: Path,
) -> None:
    model = onnx_model(
        [
            helper.make_node("Conv", ["x", "w"], ["c"]),
            helper.make_node("ConvTranspose", ["c", "t", "b"], ["d"], strides=[2, 2]),
            helper.make_node("Relu", ["d"], ["y"]),
        ],
        [("x", FLOAT, [1, 3, 6, 6])],
        ["y"],
        {"w": weights(4, 3, 3, 3), "t": weights(4, 2, 2, 2), "b": weights(2, seed=5)},
    )
    network = imported(model, tmp_path)
    fused = compiled(network)
    assert not [kernel.name for kernel in kernels(fused) if is_stray(kernel.function)]
    assert_agrees(model, network, fused)


def test_small_network_keeps_its_numbers(tmp_path: Path) -> None:
    network = imported(convolutional(), tmp_path)
    assert_agrees(convolutional(), network, compiled(network))


class _Net:
    """A random network: each step reads the value before it, and some an earlier one."""

    def __init__(self, channels: int, side: int) -> None:
        self.shape = (channels, side, side)
        self.value = "x"
        self.nodes: list[onnx.NodeProto] = []
        self.constants: dict[str, np.ndarray] = {}
        self.input: tuple[str, int, list[int]] = ("x", FLOAT, [1, *self.shape])
        self.earlier: dict[tuple[int, ...], str] = {}

    def constant(self, *shape: int) -> str:
        name = f"k{len(self.constants)}"
        self.constants[name] = weights(*shape, seed=len(self.constants))
        return name

    def node(self, operator: str, *inputs: str, **attributes: Any) -> None:
        name = f"v{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, [self.value, *inputs], [name], **attributes))
        self.value = name

    def add(self, step: str, number: int) -> None:
        channels, height, width = self.shape
        self.earlier[self.shape] = self.value
        if step == "convolution":
            self.node("Conv", self.constant(number, channels, 3, 3), pads=[1, 1, 1, 1],
                      strides=[1 + number % 2] * 2)  # fmt: skip
            stride = 1 + number % 2
            self.shape = (number, -(-height // stride), -(-width // stride))
        elif step == "depthwise":
            self.node("Conv", self.constant(channels, 1, 3, 3), self.constant(channels),
                      pads=[0, 1, 2, 1], group=channels)  # fmt: skip
        elif step == "residual":
            self.node("Relu")
            self.node("Add", self.earlier[self.shape])
        elif step == "concat":
            self.node("Concat", self.earlier[self.shape], axis=1)
            self.shape = (2 * channels, height, width)
        elif step == "pool":
            kind = ["MaxPool", "AveragePool"][number % 2]
            self.node(kind, kernel_shape=[2, 2], pads=[1, 0, 0, 1])
        elif step == "excite":
            before = self.value
            self.node("ReduceMean", axes=[2, 3], keepdims=1)
            self.node("Sigmoid")
            self.node("Mul", before)
        elif step == "resize":
            self.constants["scales"] = np.array([1, 1, 2, 2], np.float32)
            self.node("Resize", "", "scales", mode="nearest",
                      coordinate_transformation_mode="asymmetric",
                      nearest_mode="floor")  # fmt: skip
            self.shape = (channels, 2 * height, 2 * width)
        elif step == "scale":
            self.node(
                "Mul", self.constant(*[(channels, 1, 1), (width,), (1, channels, 1, 1)][number % 3])
            )
        elif step == "pad":
            self.constants["widths"] = np.array([0, 0, 1, 0, 0, 0, 0, 1])
            self.node("Pad", "widths", mode=["reflect", "constant"][number % 2])
            self.shape = (channels, height + 1, width + 1)
        elif step == "clip":
            self.constants["low"] = np.array(-0.2, np.float32)
            self.constants["high"] = np.array(0.4, np.float32)
            self.node("Clip", "low", "high")

    def model(self) -> onnx.ModelProto:
        return onnx_model(self.nodes, [self.input], [self.value], self.constants)


_STEPS = [
    "convolution", "convolution", "depthwise", "residual", "concat", "pool", "excite", "resize",
    "scale", "pad", "clip",
]  # fmt: skip


@pytest.mark.slow
@settings(max_examples=12, deadline=None, derandomize=True)
@given(
    channels=st.integers(1, 4),
    side=st.integers(4, 6),
    steps=st.lists(st.tuples(st.sampled_from(_STEPS), st.integers(1, 6)), min_size=4, max_size=8),
)
def test_random_networks_keep_their_numbers_in_any_layout_and_fusion(
    tmp_path_factory: pytest.TempPathFactory,
    channels: int,
    side: int,
    steps: list[tuple[str, int]],
) -> None:
    net = _Net(channels, side)
    for step, number in steps:
        net.add(step, number)
    model = net.model()
    network = imported(model, tmp_path_factory.mktemp("net"))
    plain = compiled(network, level="none", channels_last=False)
    fused = compiled(network)
    assert len(kernel_names(fused)) <= len(kernel_names(plain))
    assert_agrees(model, network, fused)
    values = [feeds(network.inputs)[spec.name] for spec in network.inputs]
    for output, right in zip(run_fused(fused, values), run_fused(plain, values), strict=True):
        scale = max(1e-3, float(np.abs(right).max()))
        np.testing.assert_allclose(output, right, rtol=0, atol=1e-4 * scale)
