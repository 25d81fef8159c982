"""Removes tensors without elements from an ONNX graph: TVM compiles none.

A part of nothing, as where rotary embeddings turn whole heads, comes from a Split or a Slice, and
ends in a Concat, which is the same without it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import onnx
from onnx import helper, numpy_helper

from harness.models.onnx.file import opset_of
from harness.models.onnx.inference import static_shape, value_types
from harness.models.onnx.subgraphs import attribute_of, reads

Shape = tuple[int, ...]


def without_empties(model: onnx.ModelProto) -> onnx.ModelProto:
    """An equal model whose Concats read no tensor without elements, and whose Splits make none that
    nothing reads; the same one where there is nothing to remove."""
    shapes = {
        name: shape
        for name, given in value_types(model).items()
        if (shape := static_shape(given)) is not None
    }
    empty = {name for name, shape in shapes.items() if 0 in shape}
    if not empty:
        return model
    result = onnx.ModelProto()
    result.CopyFrom(model)
    outputs = [value.name for value in model.graph.output]
    nodes = _read([_joined(node, empty) for node in model.graph.node], outputs)
    used = {name for node in nodes for name in reads(node)} | {*outputs}
    added: list[onnx.TensorProto] = []
    nodes = [_parted(node, empty - used, shapes, opset_of(model), added) for node in nodes]
    if nodes == list(model.graph.node):
        return model
    del result.graph.node[:]
    result.graph.node.extend(nodes)
    result.graph.initializer.extend(added)
    return result


def _joined(node: onnx.NodeProto, empty: set[str]) -> onnx.NodeProto:
    """A Concat of those parts that have elements."""
    kept = [name for name in node.input if name not in empty]
    if node.op_type != "Concat" or not kept or len(kept) == len(node.input):
        return node
    if len(kept) == 1:
        return helper.make_node("Identity", kept, node.output, node.name)
    result = onnx.NodeProto()
    result.CopyFrom(node)
    del result.input[:]
    result.input.extend(kept)
    return result


def _parted(
    node: onnx.NodeProto,
    unread: set[str],
    shapes: Mapping[str, Shape],
    opset: int,
    added: list[onnx.TensorProto],
) -> onnx.NodeProto:
    """A Split into those parts that have elements, or that something reads."""
    kept = [name for name in node.output if name and name not in unread]
    if node.op_type != "Split" or not kept or not set(node.output) & unread:
        return node
    if not all(name in shapes for name in kept):
        return node
    if len(kept) == 1:  # all of it
        return helper.make_node("Identity", node.input[:1], kept, node.name)
    axis = int(attribute_of(node, "axis", 0))
    sizes = [shapes[name][axis] for name in kept]
    return _split(node, kept, sizes, axis, opset, added)


def _split(
    node: onnx.NodeProto,
    outputs: Sequence[str],
    sizes: Sequence[int],
    axis: int,
    opset: int,
    added: list[onnx.TensorProto],
) -> onnx.NodeProto:
    if opset < 13:
        return helper.make_node("Split", node.input[:1], outputs, node.name, axis=axis, split=sizes)
    name = f"{outputs[0]}#sizes"
    added.append(numpy_helper.from_array(np.asarray(sizes, np.int64), name))
    return helper.make_node("Split", [node.input[0], name], outputs, node.name, axis=axis)


def _read(nodes: Sequence[onnx.NodeProto], outputs: Sequence[str]) -> list[onnx.NodeProto]:
    """The nodes that outputs depend on."""
    wanted, kept = set(outputs), []
    for node in reversed(nodes):
        if wanted & set(node.output):
            wanted |= set(reads(node))
            kept.append(node)
    return kept[::-1]
