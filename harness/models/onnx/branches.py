"""Writes If out: both branches, and a choice between their outputs."""

from __future__ import annotations

import onnx
from onnx import helper

from harness.models.onnx.refusal import BINDING, Unsupported
from harness.models.onnx.subgraphs import attribute_of, inlined, named, scope_of, separate_constants
from harness.models.onnx.surroundings import Surroundings

_FIRST_OPSET_OF_WHERE = 9


def chosen_branch(node: onnx.NodeProto, around: Surroundings) -> list[onnx.NodeProto]:
    """An If as nodes: those of the branch that a constant condition takes, or both branches and a
    Where. Raises Unsupported."""
    condition = around.array(node.input[0])
    if condition is not None:
        taken = "then_branch" if condition.reshape(-1)[0] else "else_branch"
        nodes, values = _branch(node, taken, around)
        return nodes + named(values, node.output)
    if around.opset < _FIRST_OPSET_OF_WHERE:
        raise Unsupported(
            f"its condition depends on the inputs' values, and opset {around.opset} has no Where"
        )
    for output in filter(None, node.output):
        if around.shape(output) is None:
            raise Unsupported(
                "its condition depends on the inputs' values, and the branches do not give its "
                f"output '{output}' one known shape and type{BINDING}"
            )
    nodes, scalar = [], node.input[0]
    if around.shape(scalar) != ():
        scalar = f"{scope_of(node).values}condition"
        nodes.append(helper.make_node("Squeeze", [node.input[0]], [scalar]))
    sides = []
    for name in ("then_branch", "else_branch"):
        more, values = _branch(node, name, around)
        around.perhaps_useless += more
        nodes += more
        sides.append(values)
    nodes += [
        helper.make_node("Where", [scalar, taken, other], [output])
        for taken, other, output in zip(*sides, node.output, strict=False)
        if output
    ]
    return nodes


def _branch(
    node: onnx.NodeProto, name: str, around: Surroundings
) -> tuple[list[onnx.NodeProto], list[str]]:
    scope = scope_of(node).inner(name.partition("_")[0])
    body, tensors, constants = separate_constants(attribute_of(node, name), scope)
    around.take(tensors, constants)
    nodes, values = inlined(body, {}, scope)
    return constants + nodes, values
