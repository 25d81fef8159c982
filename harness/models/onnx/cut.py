"""Writes an ONNX model up to some of its nodes: a detector without the selection of boxes, whose
number depends on the values."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import onnx

from harness.errors import InputError, unknown_name
from harness.files.atomic import write_atomically
from harness.models.onnx.file import check_onnx, label, load_onnx, walk_nodes
from harness.models.onnx.inference import value_types


def write_cut(path: Path, before: Sequence[str], to: Path) -> list[str]:
    """Write an ONNX file's model to `to`, in one file, without the nodes that `before` names, by
    their operators or their own names, and without all that is computed from them. The outputs,
    whose names are returned, are those of the file that are left, and what the nodes that are gone
    read of the others.

    Raises InputError for a file that is not a valid ONNX model, a name that is none, and where
    nothing is left that depends on an input.
    """
    model = load_onnx(path)
    check_onnx(model, path)
    graph = model.graph
    _require_known(before, graph)
    gone, kept = _parted(graph, frozenset(before))
    varying = _varying(graph, kept)
    read = (name for node in gone for name in _reads(node))
    wanted = dict.fromkeys([*(value.name for value in graph.output), *read])
    ends = [name for name in wanted if name in varying]
    if not ends:
        raise InputError(f"{path}: nothing is computed before {', '.join(before)}")
    types = value_types(model)
    needed = _needed(kept, ends)
    initializers = [tensor for tensor in graph.initializer if tensor.name in needed]
    inputs = [value for value in graph.input if value.name in needed]
    outputs = [onnx.ValueInfoProto(name=name, type=types.get(name)) for name in ends]
    nodes = [node for node in kept if not needed.isdisjoint(node.output)]
    for field, values in (
        (graph.node, nodes),
        (graph.input, inputs),
        (graph.output, outputs),
        (graph.initializer, initializers),
    ):
        copies = [type(each).FromString(each.SerializeToString()) for each in values]
        del field[:]
        field.extend(copies)
    check_onnx(model, path)
    write_atomically(to, model.SerializeToString())
    return ends


def _require_known(before: Iterable[str], graph: onnx.GraphProto) -> None:
    known = [name for node in graph.node for name in (node.op_type, label(node))]
    for name in before:
        if name not in known:
            raise unknown_name("operator or node", name, set(known))


def _parted(
    graph: onnx.GraphProto, before: frozenset[str]
) -> tuple[list[onnx.NodeProto], list[onnx.NodeProto]]:
    """The nodes that are named or computed from those, and the others."""
    gone, kept, lost = [], [], set[str]()
    for node in graph.node:
        if {node.op_type, label(node)} & before or not lost.isdisjoint(_reads(node)):
            gone.append(node)
            lost.update(node.output)
        else:
            kept.append(node)
    return gone, kept


def _reads(node: onnx.NodeProto) -> Iterator[str]:
    """The values that a node reads, in branches and loops too."""
    yield from node.input
    for attribute in node.attribute:
        for body in (attribute.g, *attribute.graphs):
            for each in walk_nodes(body):
                yield from each.input
            yield from (value.name for value in body.output)


def _varying(graph: onnx.GraphProto, nodes: Iterable[onnx.NodeProto]) -> set[str]:
    """The values that nodes compute from an input of the model."""
    constants = {tensor.name for tensor in graph.initializer}
    given = {value.name for value in graph.input} - constants
    found: set[str] = set()
    for node in nodes:
        if not (given | found).isdisjoint(_reads(node)):
            found.update(node.output)
    return found - {""}


def _needed(nodes: Sequence[onnx.NodeProto], ends: Iterable[str]) -> set[str]:
    needed = set(ends)
    for node in reversed(nodes):
        if not needed.isdisjoint(node.output):
            needed.update(_reads(node))
    return needed - {""}
