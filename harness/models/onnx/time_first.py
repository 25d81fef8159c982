"""Writes recurrent layers with time first: ONNX Runtime has none with the batch first, layout 1."""

from __future__ import annotations

from collections.abc import Iterator

import onnx
from onnx import helper

from harness.models.onnx.file import STANDARD_DOMAINS, walk_nodes
from harness.models.onnx.subgraphs import attribute_of, bodies

_LAYERS = frozenset({"GRU", "LSTM", "RNN"})
_INPUTS = {0: (1, 0, 2), 5: (1, 0, 2), 6: (1, 0, 2)}
"""The permutations of the data, and of the states that a layer begins with."""
_OUTPUTS = {0: (2, 0, 1, 3), 1: (1, 0, 2), 2: (1, 0, 2)}


def with_time_first(model: onnx.ModelProto) -> onnx.ModelProto:
    """An equal model whose recurrent layers have layout 0, with Transposes around them; the same
    one where they have it already."""
    if not any(map(_has_batch_first, walk_nodes(model.graph))):
        return model
    result = onnx.ModelProto()
    result.CopyFrom(model)
    _rewrite(result.graph)
    return result


def _has_batch_first(node: onnx.NodeProto) -> bool:
    return (
        node.op_type in _LAYERS
        and node.domain in STANDARD_DOMAINS
        and attribute_of(node, "layout", 0) == 1
    )


def _rewrite(graph: onnx.GraphProto) -> None:
    nodes: list[onnx.NodeProto] = []
    for node in graph.node:
        for body in bodies(node):
            _rewrite(body)
        nodes += _transposed(node) if _has_batch_first(node) else [node]
    del graph.node[:]
    graph.node.extend(nodes)


def _transposed(node: onnx.NodeProto) -> Iterator[onnx.NodeProto]:
    layer = onnx.NodeProto()
    layer.CopyFrom(node)
    kept = [attribute for attribute in node.attribute if attribute.name != "layout"]
    del layer.attribute[:]
    layer.attribute.extend(kept)
    first = next(name for name in node.output if name)
    for at, permutation in _INPUTS.items():
        if at < len(node.input) and node.input[at]:
            layer.input[at] = f"{first}#input{at}"
            yield helper.make_node(
                "Transpose", [node.input[at]], [layer.input[at]], perm=permutation
            )
    made = []
    for at, name in enumerate(node.output):
        if name:
            layer.output[at] = f"{name}#time"
            made.append(
                helper.make_node("Transpose", [layer.output[at]], [name], perm=_OUTPUTS[at])
            )
    yield layer
    yield from made
