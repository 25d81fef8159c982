"""The last extents of inputs that a file leaves free, and that its weights do not.

A product or a recurrent layer says how many values its data have by the shape of its weights.
Inputs are followed to the first such operator, through operators that keep their last axis.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import takewhile

import onnx

from harness.models.onnx.file import STANDARD_DOMAINS
from harness.models.onnx.inputs import graph_inputs, input_dimensions

Extents = tuple[int, ...]


def _of_product(node: onnx.NodeProto, weights: Extents) -> Extents:
    return weights[-2:-1]


def _of_gemm(node: onnx.NodeProto, weights: Extents) -> Extents:
    turned = any(each.name == "transB" and each.i for each in node.attribute)
    return weights[-1:] if turned else weights[-2:-1]


def _of_layer(node: onnx.NodeProto, weights: Extents) -> Extents:
    return weights[2:3]


_ENDS: Mapping[str, Callable[[onnx.NodeProto, Extents], Extents]] = {
    "Gemm": _of_gemm,
    "GRU": _of_layer,
    "LSTM": _of_layer,
    "MatMul": _of_product,
    "RNN": _of_layer,
}
"""The last extents of the data of an operator whose second input is weights."""
_ELEMENTWISE = frozenset({"Add", "Div", "LayerNormalization", "Mul", "Sub"})
"""Operators whose data are as wide as a constant that they have beside them."""
_MOST_AXES = 8
_KEEP = frozenset(
    {"Abs", "Cast", "Clip", "Dropout", "Exp", "Identity", "LeakyRelu", "Log", "Neg", "Relu",
     "Sigmoid", "Sqrt", "Tanh"}
)  # fmt: skip


def trailing_extents(model: onnx.ModelProto) -> dict[str, Extents]:
    """The last extents that the data of inputs have to have, by the inputs' names."""
    graph = model.graph
    constants = {each.name: tuple(each.dims) for each in graph.initializer}
    lists = {
        each.name: [int(value) for value in onnx.numpy_helper.to_array(each)]
        for each in graph.initializer
        if len(each.dims) == 1 and each.dims[0] <= _MOST_AXES
    }
    # Values whose last axis is that of an input, with the input and how many axes they have.
    same = {
        value.name: (value.name, len(input_dimensions(value)))
        for value in graph_inputs(graph)
        if value.name not in constants
    }
    found: dict[str, Extents] = {}
    for node in graph.node:
        read = [same[name] for name in node.input if name in same]
        if not read or node.domain not in STANDARD_DOMAINS:
            continue
        others = [constants[each] for each in node.input if each in constants]
        end = _ENDS.get(node.op_type)
        if end is not None:
            if node.input[0] in same and node.input[1] in constants:
                source, _ = same[node.input[0]]
                found.setdefault(source, end(node, constants[node.input[1]]))
            continue
        if len(read) > 1:
            continue
        ((source, rank),) = read
        if node.op_type in _ELEMENTWISE and others:
            found.setdefault(source, _broadcast(others[0], rank))
        elif node.op_type == "Unsqueeze":
            axes = _axes(node, lists)
            if not axes or any(axis % (rank + len(axes)) == rank + len(axes) - 1 for axis in axes):
                continue
            rank += len(axes)
        elif node.op_type not in _KEEP:
            continue
        same[node.output[0]] = source, rank
    return {name: extents for name, extents in found.items() if extents}


def _broadcast(shape: Extents, rank: int) -> Extents:
    """The last extents of what is broadcast with a constant: those behind its last extent of 1."""
    if len(shape) > rank:
        return ()
    known = takewhile(lambda extent: extent != 1, reversed(shape))
    return tuple(known)[::-1]


def _axes(node: onnx.NodeProto, lists: Mapping[str, Sequence[int]]) -> list[int]:
    given = next((list(each.ints) for each in node.attribute if each.name == "axes"), None)
    if given is None and len(node.input) > 1:
        given = [int(axis) for axis in lists.get(node.input[1], ())]
    return given or []
