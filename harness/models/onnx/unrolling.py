"""Writes Loop and Scan out: their bodies as often as they run.

A network in Relax has no loops here. How often a body runs has to be known, and the graph must not
become too large.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import onnx
from onnx import helper, numpy_helper

from harness.models.onnx.evaluation import evaluated
from harness.models.onnx.file import label, walk_nodes
from harness.models.onnx.inference import static_shape
from harness.models.onnx.refusal import BINDING, Unsupported
from harness.models.onnx.subgraphs import (
    attribute_of,
    inlined,
    named,
    reads,
    scope_of,
    separate_constants,
)
from harness.models.onnx.surroundings import Surroundings

MOST_RUNS = 1024
"""Of a body."""
MOST_NODES = 16_384
"""Of all runs of a body."""


def unrolled_loop(node: onnx.NodeProto, around: Surroundings) -> list[onnx.NodeProto]:
    """A Loop as nodes. Raises Unsupported."""
    scope = scope_of(node)
    body, tensors, nodes = separate_constants(attribute_of(node, "body"), scope)
    around.take(tensors, nodes)
    runs = _runs_of_loop(node, body, around)
    _require_few(runs, body)
    states = list(node.input[2:])
    of_body = body.output[len(body.input) - 1 :]
    scanned: list[list[str]] = [[] for _ in of_body]
    condition = around.constant(f"{scope.values}condition", np.asarray(True))
    for run in range(runs):
        number = around.constant(f"{scope.values}{run}", np.asarray(run, np.int64))
        names = (value.name for value in body.input)
        arguments = dict(zip(names, (number, condition, *states), strict=True))
        more, outputs = inlined(body, arguments, scope.inner(str(run)))
        nodes += more
        after, *states = outputs[: len(body.input) - 1]
        if not _input(node, 1):
            condition = after  # it ends nothing, but the body sees it
        for parts, part in zip(scanned, outputs[len(body.input) - 1 :], strict=True):
            parts.append(part)
    nodes += named(states, node.output)
    for parts, output, each in zip(scanned, node.output[len(states) :], of_body, strict=False):
        nodes += _stacked(parts, output, 0, around, each)
    return nodes


def unrolled_scan(node: onnx.NodeProto, around: Surroundings) -> list[onnx.NodeProto]:
    """A Scan as nodes. Raises Unsupported."""
    return _batches(node, around) if around.opset < 9 else _Scan(node, around).nodes()


class _Scan:
    """A Scan of opset 9 or later."""

    def __init__(self, node: onnx.NodeProto, around: Surroundings) -> None:
        self._node, self._around = node, around
        self._given = int(attribute_of(node, "num_scan_inputs"))
        states = len(node.input) - self._given
        self._states, self._scanned = node.input[:states], node.input[states:]
        self._outputs = node.output[states:]

    def nodes(self) -> list[onnx.NodeProto]:
        scope, around = scope_of(self._node), self._around
        body, tensors, nodes = separate_constants(attribute_of(self._node, "body"), scope)
        around.take(tensors, nodes)
        axes = self._options("scan_input_axes", self._given)
        backwards = self._options("scan_input_directions", self._given)
        runs = _length(self._scanned, axes, around)
        _require_few(runs, body)
        states = list(self._states)
        parts: list[list[str]] = [[] for _ in body.output[len(states) :]]
        for run in range(runs):
            arguments = list(states)
            for at, value in enumerate(self._scanned):
                index = runs - 1 - run if backwards[at] else run
                arguments.append(f"{scope.values}{run}/#{at}")
                nodes.append(_element(value, arguments[-1], index, axes[at], around))
            names = (value.name for value in body.input)
            more, outputs = inlined(
                body, dict(zip(names, arguments, strict=True)), scope.inner(str(run))
            )
            nodes += more
            states, given = outputs[: len(states)], outputs[len(states) :]
            for each, part in zip(parts, given, strict=True):
                each.append(part)
        nodes += named(states, self._node.output)
        axes = self._options("scan_output_axes", len(parts))
        backwards = self._options("scan_output_directions", len(parts))
        for at, output in enumerate(self._outputs):
            ordered = parts[at][::-1] if backwards[at] else parts[at]
            nodes += _stacked(ordered, output, axes[at], around, body.output[len(states) + at])
        return nodes

    def _options(self, name: str, count: int) -> list[int]:
        return list(attribute_of(self._node, name, [0] * count))


def _batches(node: onnx.NodeProto, around: Surroundings) -> list[onnx.NodeProto]:
    """A Scan of opset 8, which runs once a row of a batch: a Scan of opset 9 a row."""
    if _input(node, 0):
        raise Unsupported("its rows have different lengths (input 'sequence_lens')")
    shape = around.shape(node.input[1])
    if not shape:
        raise Unsupported("the shapes of its inputs are not known")
    scope, given = scope_of(node), node.input[1:]
    nodes: list[onnx.NodeProto] = []
    parts: list[list[str]] = [[] for _ in node.output]
    for row in range(shape[0]):
        of_row = [f"{scope.values}row{row}/{at}" for at in range(len(given))]
        nodes += [
            _element(value, name, row, 0, around) for value, name in zip(given, of_row, strict=True)
        ]
        outputs = [f"{scope.values}row{row}/output{at}" for at in range(len(node.output))]
        scan = helper.make_node(
            "Scan",
            of_row,
            outputs,
            f"{label(node)}/row{row}",
            body=attribute_of(node, "body"),
            num_scan_inputs=attribute_of(node, "num_scan_inputs"),
            scan_input_directions=attribute_of(
                node, "directions", [0] * int(attribute_of(node, "num_scan_inputs"))
            ),
        )
        for value, name in zip(given, of_row, strict=True):
            _know_element(value, name, around)
        nodes += _Scan(scan, around).nodes()
        for each, output in zip(parts, outputs, strict=True):
            each.append(output)
    for each, output in zip(parts, node.output, strict=True):
        nodes += _stacked(each, output, 0, around)
    return nodes


def _runs_of_loop(node: onnx.NodeProto, body: onnx.GraphProto, around: Surroundings) -> int:
    most = None
    if count := _input(node, 0):
        known = around.array(count)
        if known is None:
            raise Unsupported(f"how often it runs depends on the inputs' values{BINDING}")
        most = max(0, int(known.reshape(-1)[0]))
    if not (condition := _input(node, 1)):
        if most is None:
            raise Unsupported("it never ends")
        return most
    begins = around.array(condition)
    if begins is None:
        raise Unsupported(f"its condition depends on the inputs' values{BINDING}")
    ended = _Condition(node, body, around).ends(begins)
    return next((run for run, end in enumerate(ended) if end or run == most), 0)


class _Condition:
    """The condition of a Loop, computed run by run from what is known before any input is."""

    def __init__(self, node: onnx.NodeProto, body: onnx.GraphProto, around: Surroundings) -> None:
        self._around = around
        self._inputs = [value.name for value in body.input]
        self._outputs = [value.name for value in body.output][: len(self._inputs) - 1]
        self._begin = {
            name: around.array(value)
            for name, value in zip(self._inputs[2:], node.input[2:], strict=True)
        }
        self._nodes = self._needed(body)

    def ends(self, condition: np.ndarray) -> Iterator[bool]:
        """Whether the loop has ended before its first run, its second, and so on. Raises
        Unsupported."""
        known = {name: value for name, value in self._begin.items() if value is not None}
        for run in range(MOST_RUNS + 1):
            yield not condition.reshape(-1)[0]
            values = {
                **known,
                self._inputs[0]: np.asarray(run, np.int64),
                self._inputs[1]: condition,
            }
            for node in self._nodes:
                given = {name: self._value(name, values) for name in node.input if name}
                arrays = {name: array for name, array in given.items() if array is not None}
                values |= evaluated(node, arrays, self._around.opsets) or {}
            after = [self._value(name, values) for name in self._outputs]
            if after[0] is None:
                raise Unsupported(f"its condition depends on the inputs' values{BINDING}")
            condition = after[0]
            known = {
                name: value
                for name, value in zip(self._inputs[2:], after[1:], strict=True)
                if value is not None
            }
        raise Unsupported(f"it runs more than {MOST_RUNS} times")

    def _value(self, name: str, values: dict[str, np.ndarray]) -> np.ndarray | None:
        return values[name] if name in values else self._around.array(name)

    def _needed(self, body: onnx.GraphProto) -> list[onnx.NodeProto]:
        """The nodes that the condition is computed by, in this run or a later one."""
        fed = dict(zip(self._inputs[1:], self._outputs, strict=True))
        wanted, size = {self._outputs[0]}, 0
        while len(wanted) != size:
            size = len(wanted)
            wanted |= {fed[name] for name in wanted & fed.keys()}
            for node in reversed(body.node):
                if wanted & set(node.output):
                    wanted |= set(reads(node))
        return [node for node in body.node if wanted & set(node.output)]


def _require_few(runs: int, body: onnx.GraphProto) -> None:
    nodes = runs * max(1, sum(1 for _ in walk_nodes(body)))
    if runs > MOST_RUNS or nodes > MOST_NODES:
        raise Unsupported(
            f"it runs {runs} times, {nodes} nodes in all; expected at most {MOST_RUNS} and "
            f"{MOST_NODES}"
        )


def _length(values: Sequence[str], axes: Sequence[int], around: Surroundings) -> int:
    """How long the values are that a Scan goes along."""
    shape = around.shape(values[0])
    if shape is None:
        raise Unsupported(f"the shape of its input '{values[0]}' is not known")
    return shape[axes[0]]


def _element(
    value: str, output: str, index: int, axis: int, around: Surroundings
) -> onnx.NodeProto:
    at = around.constant(f"{output}#index", np.asarray(index, np.int64))
    return helper.make_node("Gather", [value, at], [output], axis=axis)


def _know_element(value: str, element: str, around: Surroundings) -> None:
    """The type of a row of a batch, for those that ask for it."""
    shape = around.shape(value)
    if shape is not None:
        around.types[element] = helper.make_tensor_type_proto(
            around.types[value].tensor_type.elem_type, shape[1:]
        )


def _stacked(
    parts: Sequence[str],
    output: str,
    axis: int,
    around: Surroundings,
    of_run: onnx.ValueInfoProto | None = None,
) -> list[onnx.NodeProto]:
    """The outputs of all runs along a new axis; without runs it has no elements. `of_run` is what
    the body says of a run's output."""
    if not output:
        return []
    if parts:
        return around.stacked(parts, output, axis)
    type_ = around.types.get(output) or (of_run.type if of_run else onnx.TypeProto())
    shape, each = around.shape(output), static_shape(of_run.type) if of_run else None
    if shape is None and each is not None:
        at = axis % (len(each) + 1)
        shape = (*each[:at], 0, *each[at:])
    if shape is None:
        raise Unsupported(f"it does not run, and the shape of its output '{output}' is not known")
    dtype = helper.tensor_dtype_to_np_dtype(type_.tensor_type.elem_type)
    value = numpy_helper.from_array(np.zeros(shape, dtype))
    return [helper.make_node("Constant", [], [output], value=value)]


def _input(node: onnx.NodeProto, at: int) -> str:
    return node.input[at] if at < len(node.input) else ""
