"""What layers are given, in the order in which their weights are a matrix."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from compiling import reference
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import helper
from small_models import FLOAT, onnx_model, save, weights

from harness.compiler.api import tvm
from harness.edges.compress import compress
from harness.errors import CellFailure
from harness.models.frontends import import_model
from harness.networks.calibration import Calibration, unfolded
from harness.networks.layers import Layer, layers_of
from harness.passes.canonicalise import canonicalise
from harness.specs.edges import Edges

TARGET = tvm.target.Target({"kind": "llvm", "num-cores": 2})
LANES = 8


def convolution(
    taps: tuple[int, int], stride: int, dilation: int, pads: tuple[int, ...]
) -> onnx.ModelProto:
    node = helper.make_node(
        "Conv", ["x", "w"], ["y"], strides=[stride, 1], dilations=[1, dilation], pads=list(pads)
    )
    return onnx_model([node], [("x", FLOAT, [1, 3, 9, 8])], ["y"], {"w": weights(8, 3, *taps)})


@pytest.mark.slow
@settings(max_examples=20, deadline=None)
@given(
    taps=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    stride=st.integers(1, 2),
    dilation=st.integers(1, 2),
    pads=st.tuples(*[st.integers(0, 2)] * 4),
)
def test_unfolded_input_times_matrix_is_the_layer(
    tmp_path_factory: pytest.TempPathFactory,
    taps: tuple[int, int],
    stride: int,
    dilation: int,
    pads: tuple[int, ...],
) -> None:
    model = convolution(taps, stride, dilation, pads)
    folder = tmp_path_factory.mktemp("model")
    imported = import_model(save(model, folder / "net.onnx"), {}, folder)
    (layer,) = layers_of(canonicalise(imported.module))
    data = np.random.default_rng(0).standard_normal((1, 3, 9, 8)).astype(np.float32)
    (expected,) = reference(model, {"x": data})
    found = unfolded(layer.call, data) @ layer.matrix
    np.testing.assert_allclose(found, expected[0].reshape(8, -1).T, atol=1e-4)


def two_layers() -> onnx.ModelProto:
    nodes = [
        helper.make_node("MatMul", ["x", "a"], ["p"]),
        helper.make_node("Relu", ["p"], ["q"]),
        helper.make_node("MatMul", ["q", "b"], ["y"]),
    ]
    constants = {"a": weights(16, 24), "b": weights(24, 8)}
    return onnx_model(nodes, [("x", FLOAT, [1, 4, 16])], ["y"], constants)


@pytest.fixture(scope="module")
def module(tmp_path_factory: pytest.TempPathFactory) -> tvm.IRModule:
    folder = tmp_path_factory.mktemp("model")
    return canonicalise(import_model(save(two_layers(), folder / "n.onnx"), {}, folder).module)


@pytest.fixture(scope="module")
def samples() -> list[list[np.ndarray]]:
    generator = np.random.default_rng(0)
    return [[generator.standard_normal((1, 4, 16)).astype(np.float32)] for _ in range(20)]


def test_layers_see_what_those_before_them_give(
    module: tvm.IRModule, samples: list[list[np.ndarray]]
) -> None:
    first, second = layers = layers_of(module)
    found = Calibration(module, layers, samples, TARGET, 2)
    data = np.concatenate([sample[0][0] for sample in samples])
    np.testing.assert_allclose(found.dense[first.name], data)
    expected = np.maximum(data @ first.matrix, 0)
    np.testing.assert_allclose(found.dense[second.name], expected, atol=1e-4)
    halved = {first.variable: first.weights / 2}
    np.testing.assert_allclose(found.inputs([second], halved)[second.name], expected / 2, atol=1e-4)


def outputs(module: tvm.IRModule, data: np.ndarray) -> np.ndarray:
    first, second = layers_of(module)
    found: np.ndarray = np.maximum(data @ first.matrix, 0) @ second.matrix
    return found


def test_reconstructed_network_is_closer_and_keeps_its_masks(
    module: tvm.IRModule, samples: list[list[np.ndarray]]
) -> None:
    def calibrate(module: tvm.IRModule, layers: list[Layer]) -> Calibration:
        return Calibration(module, layers, samples, TARGET, 2)

    plain, _ = compress(module, Edges(sparsity=0.5), LANES, 0)
    edges = Edges(sparsity=0.5, reconstruct=True)
    fitted, _ = compress(module, edges, LANES, 0, calibrate)
    for one, other in zip(layers_of(plain), layers_of(fitted), strict=True):
        np.testing.assert_array_equal(one.matrix == 0, other.matrix == 0)
    fresh = np.random.default_rng(1).standard_normal((200, 16))
    dense = outputs(module, fresh)
    errors = [np.square(outputs(each, fresh) - dense).sum() for each in (plain, fitted)]
    assert errors[1] < errors[0]


@pytest.mark.parametrize(
    "edges", [Edges(sparsity=0.5, reconstruct=True), Edges(sparsity=0.5, score="activation")]
)
def test_what_needs_data_fails_without(module: tvm.IRModule, edges: Edges) -> None:
    with pytest.raises(CellFailure, match="needs inputs to calibrate on and the model has no data"):
        compress(module, edges, LANES, 0)


def test_activation_score_leaves_out_inputs_that_are_never_there(module: tvm.IRModule) -> None:
    generator = np.random.default_rng(0)
    quiet = [generator.standard_normal((1, 4, 16)).astype(np.float32) for _ in range(8)]
    for sample in quiet:
        sample[..., 8:] = 0
    edges = Edges(sparsity=0.5, score="activation")
    compressed, _ = compress(
        module,
        edges,
        LANES,
        0,
        lambda module, layers: Calibration(module, layers, [[each] for each in quiet], TARGET, 2),
    )
    first = layers_of(compressed)[0]
    assert (first.matrix[8:] == 0).all() and (first.matrix[:8] != 0).all()
