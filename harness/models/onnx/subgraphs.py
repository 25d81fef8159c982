"""Takes the bodies of If, Loop and Scan into the graph around them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import onnx
from onnx import helper

from harness.models.onnx.file import label


class Scope(NamedTuple):
    """What the names of a body's values and nodes begin with in the graph around it."""

    values: str
    nodes: str

    def inner(self, name: str) -> Scope:
        """One of several bodies, or one run of a body."""
        return Scope(f"{self.values}{name}/", f"{self.nodes}{name}/")


def scope_of(node: onnx.NodeProto) -> Scope:
    """The scope of a node's bodies."""
    return Scope(next(name for name in node.output if name) + "#", label(node) + "/")


def separate_constants(
    body: onnx.GraphProto, scope: Scope
) -> tuple[onnx.GraphProto, list[onnx.TensorProto], list[onnx.NodeProto]]:
    """A body without its constants, and those: weights and Constant nodes, as values of the graph
    around it of `scope`. A body that is taken several times shares them."""
    constant = [node for node in body.node if node.op_type == "Constant"]
    names = {tensor.name: scope.values + tensor.name for tensor in body.initializer}
    names |= {node.output[0]: scope.values + node.output[0] for node in constant}
    tensors = []
    for tensor in body.initializer:
        tensors.append(onnx.TensorProto())
        tensors[-1].CopyFrom(tensor)
        tensors[-1].name = names[tensor.name]
    nodes = [_renamed(node, names, scope.nodes) for node in constant]
    rest = onnx.GraphProto()
    rest.input.extend(value for value in body.input if value.name not in names)
    rest.node.extend(_renamed(node, names, "") for node in body.node if node.op_type != "Constant")
    rest.output.extend(body.output)
    for value in rest.output:
        value.name = names.get(value.name, value.name)
    return rest, tensors, nodes


def inlined(
    body: onnx.GraphProto, arguments: Mapping[str, str], scope: Scope
) -> tuple[list[onnx.NodeProto], list[str]]:
    """The nodes of a body without constants, as nodes of the graph around it, and the names of its
    outputs there. `arguments` has the name of the value for each input."""
    made = [name for node in body.node for name in node.output if name]
    names = {**{name: scope.values + name for name in made}, **arguments}
    nodes = [_renamed(node, names, scope.nodes) for node in body.node]
    return nodes, [names.get(value.name, value.name) for value in body.output]


def reads(node: onnx.NodeProto) -> Iterator[str]:
    """The names of all values that a node reads, in its bodies too. Values of a body are among
    them."""
    yield from filter(None, node.input)
    for body in bodies(node):
        yield from (value.name for value in body.output)
        for inner in body.node:
            yield from reads(inner)


def bodies(node: onnx.NodeProto) -> Iterator[onnx.GraphProto]:
    """The graphs in a node's attributes."""
    for attribute in node.attribute:
        if attribute.HasField("g"):
            yield attribute.g
        yield from attribute.graphs


def attribute_of(node: onnx.NodeProto, name: str, default: Any = None) -> Any:
    """The value of a node's attribute."""
    for attribute in node.attribute:
        if attribute.name == name:
            return helper.get_attribute_value(attribute)
    return default


def named(values: Iterable[str], outputs: Iterable[str]) -> list[onnx.NodeProto]:
    """Nodes that give values other names; none for an empty name."""
    return [
        helper.make_node("Identity", [value], [output])
        for value, output in zip(values, outputs, strict=False)
        if output
    ]


def _renamed(node: onnx.NodeProto, names: Mapping[str, str], prefix: str) -> onnx.NodeProto:
    result = onnx.NodeProto()
    result.CopyFrom(node)
    if result.name:
        result.name = prefix + result.name
    _rename(result, names)
    return result


def _rename(node: onnx.NodeProto, names: Mapping[str, str]) -> None:
    """Rename the values that a node reads and makes, those that its bodies read among them."""
    for field in (node.input, node.output):
        given = [names.get(name, name) for name in field]
        del field[:]
        field.extend(given)
    for body in bodies(node):
        own = {value.name for value in (*body.input, *body.initializer)}
        own |= {name for inner in body.node for name in inner.output}
        outer = {name: new for name, new in names.items() if name not in own}
        for inner in body.node:
            _rename(inner, outer)
        for value in body.output:
            value.name = outer.get(value.name, value.name)
