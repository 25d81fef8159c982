"""Quantized layers multiply integers, and give what ONNX Runtime gives."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import onnx
import pytest
from compiling import PLAIN, imported, reference
from onnx import helper
from onnx_nodes import network
from quantized_nodes import node, scales, whole
from tvm_runs import operators_of

from harness.building.network import machine_of
from harness.compiler.api import (
    PrimFunc,
    constant_array,
    operator_name,
    structural_walk,
    target_of,
    tvm,
)
from harness.hardware import HOST, load_target
from harness.kernels.dot_products import FUNCTIONS, Products
from harness.kernels.dot_products import products_of as target_products
from harness.networks.layers import weighted_layers_of
from harness.passes.adapt import adapt
from harness.passes.canonicalise import canonicalise
from harness.passes.fusion import fuse
from harness.passes.integers import ComputeInIntegers
from harness.passes.layout import to_channels_last
from harness.passes.rewriter import MAIN
from harness.specs.target import Passes

HERE = target_of(load_target(HOST).tvm.as_tvm())
AVX2 = tvm.target.Target(
    {"kind": "llvm", "mtriple": "x86_64-linux-gnu", "mattr": ["+avx2"], "num-cores": 2}
)
Model = tuple[onnx.ModelProto, dict[str, np.ndarray]]


def adapted_of(model: onnx.ModelProto, folder: Path, target: tvm.target.Target) -> tvm.IRModule:
    return adapt(canonicalise(imported(model, folder).module), Passes(), target)


def products_of(module: tvm.IRModule) -> int:
    """How many kernels have dot products of bytes."""
    count = 0
    for kernel in module.functions.values():
        found: set[str] = set()
        if isinstance(kernel, PrimFunc):
            structural_walk(
                kernel.body, (tvm.ir.Call, lambda call, to=found: to.add(operator_name(call)))
            )
        count += not FUNCTIONS.isdisjoint(found)
    return count


def _weights(dtype: str, *shape: int) -> np.ndarray:
    found = whole(dtype, *shape)
    found.flat[0] = np.iinfo(dtype).max  # the scale is found by the largest
    return found


def qdq_convolution(
    x: str = "uint8", inputs: int = 5, outputs: int = 6, groups: int = 1, size: int = 3
) -> Model:
    """Floats between integers, as quantizers write them: per channel, with a bias."""
    feeds = {"x": whole(x, 1, inputs, 7, 8)}
    constants = {
        "xs": np.float32(0.043),
        "xz": np.asarray(np.iinfo(x).max - 100, x),
        "w": _weights("int8", outputs, inputs // groups, size, size),
        "ws": scales(outputs),
        "wz": np.zeros(outputs, np.int8),
        "b": np.asarray(whole("int8", outputs), np.float32),
        "ys": np.float32(0.5),
        "yz": np.asarray(3, x),
    }
    nodes = [
        node("DequantizeLinear", "x xs xz", "d"),
        node("DequantizeLinear", "w ws wz", "v", axis=0),
        node("Conv", "d v b", "c", pads=[1, 0, 1, 2], strides=[1, 2], group=groups),
        node("Relu", "c", "r"),
        node("QuantizeLinear", "r ys yz", "y"),
    ]
    return network(nodes, [f"y:{x}"], feeds, constants), feeds


def integer_convolution(x: str = "uint8", w: str = "int8", wz: int = 128) -> Model:
    feeds = {"x": whole(x, 2, 3, 6, 6)}
    constants = {
        "xs": np.float32(0.02),
        "xz": np.asarray(11, x),
        "w": whole(w, 9, 3, 2, 3),
        "ws": scales(9),
        "wz": np.full(9, wz if w == "uint8" else 0, w),
        "ys": np.float32(0.6),
        "yz": np.asarray(100, x),
        "b": whole("int8", 9).astype(np.int32),
    }
    nodes = [node("QLinearConv", "x xs xz w ws wz ys yz b", pads=[0, 1, 1, 0], dilations=[2, 1])]
    return network(nodes, [f"y:{x}"], feeds, constants), feeds


def dynamic_product(w: str = "int8") -> Model:
    feeds = {"x": np.asarray(np.random.default_rng(3).normal(size=(3, 37)), np.float32)}
    nodes = [
        node("DynamicQuantizeLinear", "x", "q s z"),
        node("MatMulInteger", "q w z wz", "y"),
    ]
    constants = {"w": whole(w, 37, 10), "wz": np.asarray(9, w)}
    return network(nodes, ["y:int32"], feeds, constants), feeds


def integer_product() -> Model:
    feeds = {"x": whole("int8", 4, 21)}
    constants = {
        "xs": np.float32(0.03),
        "xz": np.asarray(-7, np.int8),
        "w": whole("int8", 21, 17),
        "ws": scales(17),
        "wz": np.zeros(17, np.int8),
        "ys": np.float32(0.9),
        "yz": np.asarray(5, np.int8),
    }
    nodes = [node("QLinearMatMul", "x xs xz w ws wz ys yz")]
    return network(nodes, ["y:int8"], feeds, constants), feeds


def signed_chain() -> Model:
    """Signed integers that are moved, pooled, and read in several ways."""
    feeds = {"x": np.asarray(np.random.default_rng(4).normal(size=(1, 4, 8, 8)), np.float32)}
    constants = {
        "s": np.float32(0.04),
        "z": np.asarray(-20, np.int8),
        "w": _weights("int8", 4, 4, 3, 3),
        "ws": scales(4, about=0.01),
        "v": _weights("int8", 16 * 4, 10),
        "vs": np.float32(0.02),
        "wz": np.zeros(4, np.int8),
        "vz": np.asarray(0, np.int8),
        "flat": np.asarray([1, -1]),
    }
    nodes = [
        node("QuantizeLinear", "x s z", "a"),
        node("DequantizeLinear", "a s z", "b"),
        node("DequantizeLinear", "w ws wz", "wf", axis=0),
        node("Conv", "b wf", "c", pads=[1, 1, 1, 1]),
        node("Add", "c b", "sum"),
        node("QuantizeLinear", "sum s z", "d"),
        node("MaxPool", "d", "e", kernel_shape=[2, 2], strides=[2, 2]),
        node("Transpose", "e", "t", perm=[0, 2, 3, 1]),
        node("Reshape", "t flat", "f"),
        node("DequantizeLinear", "f s z", "g"),
        node("DequantizeLinear", "v vs vz", "vf"),
        node("MatMul", "g vf", "y"),
    ]
    return network(nodes, ["y", "d:int8"], feeds, constants, opset=21), feeds


_MODELS: Mapping[str, tuple[Callable[[], Model], int]] = {
    "unsigned data": (qdq_convolution, 1),
    "signed data": (lambda: qdq_convolution("int8"), 1),
    "one channel": (lambda: qdq_convolution(inputs=1, outputs=1), 1),
    "whole vectors": (lambda: qdq_convolution(inputs=16, outputs=32, size=1), 1),
    "convolution of integers": (integer_convolution, 1),
    "signed convolution": (lambda: integer_convolution("int8"), 1),
    "unsigned weights": (lambda: integer_convolution("uint8", "uint8"), 1),
    "product of integers": (integer_product, 1),
    "zero point known late": (dynamic_product, 2),
    "unsigned weights, zero point known late": (lambda: dynamic_product("uint8"), 2),
    "weights of nine bits": (lambda: integer_convolution("uint8", "uint8", 3), 2),
    "signed chain": (signed_chain, 2),
}
"""Models, and how many of their layers sum dot products of bytes."""


_VARIANTS = [
    (case, dtype)
    for at, case in enumerate(_MODELS)
    for dtype in ("as here", ("uint8", "int8")[at % 2])
]


@pytest.mark.parametrize(("case", "dtype"), _VARIANTS)
def test_quantized_layers_multiply_integers(case: str, dtype: str, tmp_path: Path) -> None:
    make, products = _MODELS[case]
    model, feeds = make()
    target = HERE if dtype == "as here" else PLAIN
    if dtype == "as here":
        if target_products(HERE) is None:
            pytest.skip("this processor has no instruction for products of bytes")
        adapted = adapted_of(model, tmp_path, HERE)
    else:
        plain = to_channels_last(canonicalise(imported(model, tmp_path).module))
        adapted = ComputeInIntegers.apply(plain, 4, Products(dtype))
    assert not set(operators_of(adapted)) & {"relax.nn.conv2d", "relax.matmul"}
    assert products_of(adapted) == products
    machine = machine_of(fuse(adapted, "full"), target, 2)
    found = machine["main"](*map(tvm.runtime.tensor, feeds.values()))
    arrays = [found.numpy()] if hasattr(found, "numpy") else [each.numpy() for each in found]
    for array, right in zip(arrays, reference(model, feeds), strict=True):
        assert (array.dtype, array.shape) == (right.dtype, right.shape)
        if array.dtype == np.float32:
            np.testing.assert_allclose(array, right, rtol=1e-5, atol=1e-5)
        else:  # where a sum of floats lies between two steps, either may be taken
            differences = np.abs(array.astype(int) - right.astype(int))
            assert differences.max() <= 1 and differences.mean() < 0.02


@pytest.mark.parametrize(
    ("dtype", "channels", "groups"), [("uint8", 6, 6), ("int8", 6, 6), ("int8", 6, 3)]
)
def test_convolutions_in_groups_sum_whole_numbers(
    dtype: str, channels: int, groups: int, tmp_path: Path
) -> None:
    """Nothing is rounded before their scales: no sum lies between two steps."""
    model, feeds = qdq_convolution(dtype, channels, channels, groups)
    plain = to_channels_last(canonicalise(imported(model, tmp_path).module))
    adapted = ComputeInIntegers.apply(plain, 4, Products("uint8"))
    (weights,) = (
        constant_array(binding.value.args[1])
        for block in adapted[MAIN].body.blocks
        for binding in block.bindings
        if operator_name(binding.value) == "relax.nn.conv2d"
    )
    assert weights is not None
    np.testing.assert_array_equal(weights, np.rint(weights))
    machine = machine_of(fuse(adapted, "full"), PLAIN, 2)
    found = machine["main"](*map(tvm.runtime.tensor, feeds.values())).numpy().astype(int)
    assert np.abs(found - reference(model, feeds)[0].astype(int)).max() <= 1


def _weights_of_floats() -> Model:
    """Nothing is quantized after them: ONNX Runtime quantizes such weights too where it is."""
    feeds = {"x": whole("uint8", 1, 5, 7, 8)}
    constants = {
        "s": np.float32(0.1),
        "z": np.asarray(7, np.uint8),
        "w": np.asarray(np.random.default_rng(0).normal(size=(6, 5, 3, 3)), np.float32),
    }
    nodes = [node("DequantizeLinear", "x s z", "d"), node("Conv", "d w")]
    return network(nodes, ["y"], feeds, constants), feeds


def test_weights_of_floats_stay_so(tmp_path: Path) -> None:
    model, _ = _weights_of_floats()
    assert products_of(adapted_of(model, tmp_path, AVX2)) == 0


def test_sums_beyond_32_bits_stay_in_floats(tmp_path: Path) -> None:
    inputs = 2**31 // (255 * 127) + 1
    feeds = {"x": np.zeros((1, inputs), np.uint8)}
    constants = {
        "s": np.float32(0.1),
        "z": np.asarray(0, np.uint8),
        "w": np.where(np.arange(inputs)[:, None] < 9, 126, np.full((1, 2), 127)).astype(np.int8),
        "wz": np.asarray(0, np.int8),
    }
    nodes = [
        node("DequantizeLinear", "x s z", "d"),
        node("DequantizeLinear", "w s wz", "v"),
        helper.make_node("MatMul", ["d", "v"], ["y"]),
    ]
    model = network(nodes, ["y"], feeds, constants)
    assert products_of(adapted_of(model, tmp_path, AVX2)) == 0


@pytest.mark.parametrize("bits", [7, 8])
def test_weights_of_seven_bits_are_summed_in_pairs(bits: int, tmp_path: Path) -> None:
    model, _ = qdq_convolution()
    (weights,) = (each for each in model.graph.initializer if each.name == "w")
    array = onnx.numpy_helper.to_array(weights) // 2 ** (8 - bits)
    weights.CopyFrom(onnx.numpy_helper.from_array(array, "w"))
    found: set[str] = set()
    for kernel in adapted_of(model, tmp_path, AVX2).functions.values():
        if isinstance(kernel, PrimFunc):
            structural_walk(kernel.body, (tvm.ir.Call, lambda call: found.add(operator_name(call))))
    assert ("layeredge.dot4_pairs" in found, "layeredge.dot4_unsigned" in found) == (
        bits == 7,
        bits == 8,
    )


def test_targets_with_the_instructions_alone_multiply_integers(tmp_path: Path) -> None:
    model, _ = qdq_convolution()
    assert products_of(adapted_of(model, tmp_path, AVX2)) == 1
    assert products_of(adapted_of(model, tmp_path, PLAIN)) == 0


def test_hardware_can_do_without(tmp_path: Path) -> None:
    model, _ = qdq_convolution()
    canonical = canonicalise(imported(model, tmp_path).module)
    assert products_of(adapt(canonical, Passes(integer_kernels=False), AVX2)) == 0


def _without_blocks(model: Model, kept: int) -> Model:
    """The same with so many quads of each output's inputs left, under the first taps."""
    proto, feeds = model
    (weights,) = (each for each in proto.graph.initializer if each.name == "w")
    array = onnx.numpy_helper.to_array(weights).copy()
    outputs_first = np.moveaxis(array, 1, -1) if array.ndim == 4 else array.T
    rows = outputs_first.reshape(len(outputs_first), -1)
    rows[:, kept * 4 :] = 0
    array = rows.reshape(outputs_first.shape)
    array = np.moveaxis(array, -1, 1) if array.ndim == 4 else array.T
    weights.CopyFrom(onnx.numpy_helper.from_array(np.ascontiguousarray(array), "w"))
    return proto, feeds


@pytest.mark.parametrize("kept", [1, 8, 13])
@pytest.mark.parametrize("dtype", ["uint8", "int8"])
def test_blocks_of_zeros_are_left_out(dtype: str, kept: int, tmp_path: Path) -> None:
    """Nine taps of two quads: with 13 of 18 left, all are multiplied."""
    model, feeds = _without_blocks(qdq_convolution(dtype, 8, 16), kept)
    adapted = adapt(canonicalise(imported(model, tmp_path).module), Passes(), AVX2)
    names = [variable.name_hint for variable in adapted.get_global_vars()]
    assert any("sparse" in name for name in names) == (kept < 13)
    assert products_of(adapted) == 1
    plain = to_channels_last(canonicalise(imported(model, tmp_path).module))
    lanes_of_plain = ComputeInIntegers.apply(plain, 4, Products(dtype), ())
    machine = machine_of(fuse(lanes_of_plain, "full"), PLAIN, 2)
    found = machine["main"](*map(tvm.runtime.tensor, feeds.values())).numpy().astype(int)
    assert np.abs(found - reference(model, feeds)[0].astype(int)).max() <= 1


@pytest.mark.parametrize("how", ["dense layer", "dense target"])
def test_blocks_of_zeros_are_multiplied_where_that_is_faster(how: str, tmp_path: Path) -> None:
    model, _ = _without_blocks(qdq_convolution("uint8", 8, 16), 1)
    canonical = canonicalise(imported(model, tmp_path).module)
    (layer,) = weighted_layers_of(canonical)
    passes = Passes(sparse_kernels=how == "dense layer")
    adapted = adapt(canonical, passes, AVX2, [layer.name] if how == "dense layer" else [])
    assert not any("sparse" in each.name_hint for each in adapted.get_global_vars())
    assert products_of(adapted) == 1
