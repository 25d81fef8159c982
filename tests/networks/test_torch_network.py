"""Networks evaluated in torch give what ONNX Runtime gives, many samples at once."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from compiling import imported, reference
from onnx import TensorProto, helper
from small_models import FLOAT, INT64, onnx_model, weights

from harness.errors import CellFailure
from harness.networks.layers import layers_of
from harness.passes.canonicalise import canonicalise
from harness.passes.layout import to_channels_last

torch = pytest.importorskip("torch", reason="needs the extra: pip install 'layeredge[torch]'")

from harness.networks.torch_network import TorchNetwork  # noqa: E402 (torch is there)

SAMPLES = 3
IMAGE = ("x", FLOAT, [1, 4, 9, 8])
ROWS = ("x", FLOAT, [1, 6, 8])


def node(operator: str, inputs: str, output: str = "y", **attributes: Any) -> onnx.NodeProto:
    return helper.make_node(operator, inputs.split(), [output], **attributes)


def small(
    nodes: Sequence[onnx.NodeProto], value: Any = IMAGE, **constants: np.ndarray
) -> onnx.ModelProto:
    return onnx_model(nodes, [value], ["y"], constants)


NETWORKS = {
    "grouped, dilated": small(
        [node("Conv", "x w b", group=2, dilations=[2, 1], pads=[1, 0, 1, 0])],
        w=weights(8, 2, 3, 3), b=weights(8),
    ),
    "depthwise, padded on one side": small(
        [node("Conv", "x w", group=4, strides=[2, 2], pads=[0, 1, 1, 2])], w=weights(4, 1, 3, 3)
    ),
    "one dimension": small(
        [node("Conv", "x w", "c", pads=[2, 0], strides=[2]), node("Tanh", "c")],
        ROWS, w=weights(5, 6, 3),
    ),
    "pooling": small(
        [
            node("MaxPool", "x", "m", kernel_shape=[3, 3], pads=[1, 0, 0, 1], strides=[2, 1]),
            node("AveragePool", "m", "a", kernel_shape=[2, 2], pads=[1, 1, 0, 0]),
            node("GlobalAveragePool", "a"),
        ]
    ),
    "activations": small(
        [
            node("Relu", "x", "r"),
            node("HardSwish", "r", "h"),
            node("Clip", "h zero six", "c"),
            node("Sigmoid", "c", "s"),
            node("Sqrt", "s", "q"),
            node("Concat", "q x", axis=1),
        ],
        zero=np.array(0, np.float32), six=np.array(6, np.float32),
    ),
    "attention": small(
        [
            node("MatMul", "x w", "p"),
            node("Transpose", "p", "t", perm=[0, 2, 1]),
            node("MatMul", "p t", "m"),
            node("Softmax", "m", "s", axis=-1),
            node("MatMul", "s p", "o"),
            node("LayerNormalization", "o g w0", "n", epsilon=1e-5),
            node("Erf", "n"),
        ],
        ROWS, w=weights(8, 8), g=weights(8), w0=weights(8, seed=1),
    ),
    "reductions and shapes": small(
        [
            node("ReduceSum", "x last", "s", keepdims=0),
            node("ReduceMax", "x", "m", axes=[2], keepdims=0),
            node("Sub", "s m", "d"),
            node("Pow", "d two", "p"),
            node("Unsqueeze", "p last", "u"),
            node("Reshape", "u flat", "f"),
            node("Gemm", "f w b"),
        ],
        ROWS, last=np.array([2]), two=np.array(2, np.float32), flat=np.array([1, 6]),
        w=weights(6, 3), b=weights(3),
    ),
    "chosen": small(
        [node("Less", "x half", "l"), node("Where", "l x half", "c"), node("Div", "c half")],
        ROWS, half=np.array(0.5, np.float32),
    ),
}  # fmt: skip


def drawn(value: Any) -> list[np.ndarray]:
    generator = np.random.default_rng(0)
    return [generator.standard_normal(value[2]).astype(np.float32) for _ in range(SAMPLES)]


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("name", NETWORKS)
def test_outputs_are_those_of_onnx_runtime(name: str, channels_last: bool, tmp_path: Path) -> None:
    model = NETWORKS[name]
    module = canonicalise(imported(model, tmp_path).module)
    network = TorchNetwork(to_channels_last(module) if channels_last else module)
    shape = [axis.dim_value for axis in model.graph.input[0].type.tensor_type.shape.dim]
    samples = drawn(("x", FLOAT, shape))
    (found,) = network([torch.from_numpy(np.stack(samples))])
    for at, sample in enumerate(samples):
        (expected,) = reference(model, {"x": sample})
        np.testing.assert_allclose(found[at].numpy(), expected, atol=1e-4)


def test_embeddings_are_looked_up(tmp_path: Path) -> None:
    nodes = [
        node("Gather", "w x", "g", axis=0),
        node("Cast", "x", "f", to=TensorProto.FLOAT),
        node("ReduceSum", "g last", "s", keepdims=0),
        node("Add", "s f"),
    ]
    constants = {"w": weights(10, 4), "last": np.array([2])}
    model = onnx_model(nodes, [("x", INT64, [1, 5])], ["y"], constants)
    network = TorchNetwork(canonicalise(imported(model, tmp_path).module))
    samples = np.random.default_rng(0).integers(0, 10, (SAMPLES, 1, 5))
    (found,) = network([torch.from_numpy(samples)])
    for at, sample in enumerate(samples):
        np.testing.assert_allclose(found[at].numpy(), reference(model, {"x": sample})[0], atol=1e-5)


def test_parameters_stand_for_constants_and_have_gradients(tmp_path: Path) -> None:
    module = canonicalise(imported(NETWORKS["grouped, dilated"], tmp_path).module)
    network, batch = TorchNetwork(module), [torch.from_numpy(np.stack(drawn(IMAGE)))]
    (binding, *_) = module["main"].body.blocks[0].bindings
    halved = torch.from_numpy(weights(8, 2, 3, 3) / 2).requires_grad_()
    bias = torch.from_numpy(weights(8)).reshape(8, 1, 1)
    (dense,), (found,) = network(batch), network(batch, {binding.var: halved})
    torch.testing.assert_close(found - bias, (dense - bias) / 2)
    found.sum().backward()
    assert halved.grad is not None and halved.grad.abs().min() > 0


def test_networks_beside_each_other_give_what_each_does(tmp_path: Path) -> None:
    """And what comes before the first parameter is the first one's."""
    model = small(
        [
            node("Conv", "x a", "p"), node("Relu", "p", "q"),
            node("Conv", "q b", "r"), node("Relu", "r", "s"), node("Conv", "s c"),
        ],
        a=weights(6, 4, 1, 1), b=weights(8, 6, 1, 1, seed=1), c=weights(5, 8, 1, 1, seed=2),
    )  # fmt: skip
    modules = []
    for at in range(2):
        (folder := tmp_path / str(at)).mkdir()
        modules.append(canonicalise(imported(model, folder).module))
    one, other = map(TorchNetwork, modules)
    layers = [layers_of(module) for module in modules]
    second = layers[1][1]
    parameters = {second.variable: torch.from_numpy(2 * second.weights).requires_grad_()}
    batch = [torch.randn(SAMPLES, *IMAGE[2], generator=torch.Generator().manual_seed(0))]
    inside = [(ours.variable, theirs.variable) for ours, theirs in zip(*layers, strict=True)]
    outputs, within = one.beside(other, parameters, batch, inside)
    expected = [
        one.watched(batch, None, [pair[0] for pair in inside]),
        other.watched(batch, parameters, [pair[1] for pair in inside]),
    ]
    for side in (0, 1):
        for found, wanted in zip((outputs, within), expected[side], strict=True):
            for pair, each in zip(found, wanted, strict=True):
                torch.testing.assert_close(pair[side], each)
    assert within[0][0] is within[0][1] or (within[0][0] == within[0][1]).all()
    outputs[0][1].square().sum().backward()
    assert parameters[second.variable].grad.abs().max() > 0


def test_operator_that_is_missing_is_named(tmp_path: Path) -> None:
    model = small([node("CumSum", "x axis")], ROWS, axis=np.array(1))
    module = canonicalise(imported(model, tmp_path).module)
    with pytest.raises(CellFailure, match=r"does not know how .* relax\.cumsum"):
        TorchNetwork(module)
