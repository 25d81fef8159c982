"""Small networks for the mutation check: each has outputs that are hard to verify."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

FLOAT, INT64 = TensorProto.FLOAT, TensorProto.INT64
Value = tuple[str, int, Sequence[int] | None]


def _weights(*shape: int, seed: int) -> np.ndarray:
    values = np.random.default_rng(seed).standard_normal(shape)
    return (values / np.sqrt(max(1, int(np.prod(shape[1:]))))).astype(np.float32)


def _model(
    nodes: Sequence[onnx.NodeProto],
    inputs: Sequence[Value],
    outputs: Sequence[Value],
    constants: Mapping[str, np.ndarray],
) -> onnx.ModelProto:
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info(*value) for value in inputs],
        [helper.make_tensor_value_info(*value) for value in outputs],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    opset = [helper.make_opsetid("", 17)]
    return onnx.shape_inference.infer_shapes(
        helper.make_model(graph, opset_imports=opset, ir_version=8)
    )


def detector() -> onnx.ModelProto:
    """Scores of 0 to 1 and coordinates of thousands in one output, and the best place's index."""
    node = helper.make_node
    return _model(
        [
            node("Conv", ["x", "w", "b"], ["c"], pads=[1, 1, 1, 1]),
            node("Relu", ["c"], ["r"]),
            node("MaxPool", ["r"], ["m"], kernel_shape=[2, 2], strides=[2, 2]),
            node("Conv", ["m", "ws", "bs"], ["s"]),
            node("Sigmoid", ["s"], ["scores"]),
            node("Conv", ["m", "wb", "bb"], ["o"], pads=[1, 1, 1, 1]),
            node("Mul", ["o", "size"], ["scaled"]),
            node("Add", ["scaled", "anchors"], ["boxes"]),
            node("Concat", ["scores", "boxes"], ["y"], axis=1),
            node("ReduceMean", ["scores"], ["mean"], axes=[1], keepdims=0),
            node("Flatten", ["mean"], ["flat"]),
            node("ArgMax", ["flat"], ["best"], axis=1, keepdims=0),
        ],
        [("x", FLOAT, [1, 3, 12, 12])],
        [("y", FLOAT, None), ("best", INT64, None)],
        {
            "w": _weights(8, 3, 3, 3, seed=0),
            "b": _weights(8, seed=1),
            "ws": _weights(3, 8, 1, 1, seed=2),
            "bs": np.array([-4, -3, -2], np.float32),
            "wb": _weights(4, 8, 3, 3, seed=3),
            "bb": _weights(4, seed=4),
            "size": np.float32(64),
            "anchors": np.linspace(0, 9000, 36, dtype=np.float32).reshape(1, 1, 6, 6),
        },
    )


def attention() -> onnx.ModelProto:
    """Words, a mask, an attention head and a feed-forward layer; masked logits are an output."""
    node = helper.make_node
    return _model(
        [
            node("Gather", ["words", "ids"], ["e"]),
            node("Add", ["e", "places"], ["h"]),
            node("LayerNormalization", ["h", "gain", "shift"], ["n"], epsilon=1e-5),
            node("MatMul", ["n", "wq"], ["q"]),
            node("MatMul", ["n", "wk"], ["k"]),
            node("MatMul", ["n", "wv"], ["v"]),
            node("Transpose", ["k"], ["kt"], perm=[0, 2, 1]),
            node("MatMul", ["q", "kt"], ["qk"]),
            node("Mul", ["qk", "root"], ["logits"]),
            node("Cast", ["mask"], ["m"], to=FLOAT),
            node("Sub", ["one", "m"], ["off"]),
            node("Mul", ["off", "least"], ["far"]),
            node("Add", ["logits", "far"], ["masked"]),
            node("Softmax", ["masked"], ["p"], axis=-1),
            node("MatMul", ["p", "v"], ["a"]),
            node("MatMul", ["a", "wo"], ["o"]),
            node("Add", ["o", "h"], ["residual"]),
            node("MatMul", ["residual", "w1"], ["up"]),
            node("Add", ["up", "b1"], ["biased"]),
            node("Erf", ["biased"], ["erf"]),
            node("Mul", ["biased", "erf"], ["gelu"]),
            node("MatMul", ["gelu", "w2"], ["down"]),
            node("Add", ["down", "residual"], ["z"]),
            node("Slice", ["z", "from", "to", "axes"], ["y"]),
        ],
        [("ids", INT64, [1, 8]), ("mask", INT64, [1, 1, 8])],
        [("y", FLOAT, None), ("masked", FLOAT, None)],
        {
            "words": _weights(50, 16, seed=0) * np.float32(4),
            "places": _weights(8, 16, seed=1) * np.float32(4),
            "gain": 1 + _weights(16, seed=2),
            "shift": _weights(16, seed=3),
            **{
                name: _weights(16, 16, seed=4 + at)
                for at, name in enumerate(("wq", "wk", "wv", "wo"))
            },
            "w1": _weights(16, 32, seed=8) * np.float32(2),
            "b1": _weights(32, seed=9),
            "w2": _weights(32, 16, seed=10),
            "root": np.float32(0.25),
            "one": np.float32(1),
            "least": np.float32(-3.4e38),
            "from": np.array([1]),
            "to": np.array([7]),
            "axes": np.array([1]),
        },
    )


def regressor() -> onnx.ModelProto:
    """Quotients and differences of what is close to each other, clipped and rounded."""
    node = helper.make_node
    return _model(
        [
            node("Gemm", ["x", "w1", "b1"], ["h"]),
            node("Tanh", ["h"], ["t"]),
            node("Gemm", ["t", "w2", "b2"], ["g"]),
            node("BatchNormalization", ["g", "gain", "shift", "mean", "var"], ["n"], epsilon=1e-3),
            node("LeakyRelu", ["n"], ["l"], alpha=0.1),
            node("Exp", ["l"], ["e"]),
            node("Add", ["e", "one"], ["d"]),
            node("Div", ["l", "d"], ["y"]),
            node("Mul", ["n", "steps"], ["s"]),
            node("Floor", ["s"], ["f"]),
            node("Cast", ["f"], ["place"], to=INT64),
        ],
        [("x", FLOAT, [4, 10])],
        [("y", FLOAT, None), ("place", INT64, None)],
        {
            "w1": _weights(10, 24, seed=0) * np.float32(2),
            "b1": _weights(24, seed=1),
            "w2": _weights(24, 6, seed=2),
            "b2": _weights(6, seed=3),
            "gain": 1 + _weights(6, seed=4),
            "shift": _weights(6, seed=5),
            "mean": _weights(6, seed=6),
            "var": np.abs(_weights(6, seed=7)) + np.float32(0.2),
            "one": np.float32(1),
            "steps": np.float32(30),
        },
    )


NETWORKS = {"detector": detector, "attention": attention, "regressor": regressor}
