"""Writes a canonical network as an ONNX model, which other engines run.

Quantized values and weights become QuantizeLinear and DequantizeLinear, weights as int8.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper
from onnxruntime import InferenceSession

from harness.compiler.api import constant_array, operator_name, relax, tvm
from harness.deploy.onnx.table import OPERATORS
from harness.deploy.onnx.writer import Writer
from harness.errors import CellFailure, first_line
from harness.files.atomic import write_atomically
from harness.models.tensors import TensorSpec
from harness.passes.rewriter import MAIN, uses_of

_OPSET, _IR_VERSION = 21, 10


def write_onnx(
    canonical: tvm.IRModule,
    inputs: Sequence[TensorSpec],
    outputs: Sequence[TensorSpec],
    path: Path,
    feeds: Sequence[np.ndarray],
) -> None:
    """Write a canonical network with its inputs and outputs. Raises CellFailure, with the operator,
    for one that ONNX has no operator for, and where ONNX Runtime does not run the model on `feeds`,
    the inputs in their order."""
    part = path.with_name(f".{path.name}.part")
    try:
        # The model is freed before ONNX Runtime reads it: weights can take half of the memory.
        write_atomically(part, _serialised(onnx_network(canonical, inputs, outputs)))
        _require_same_outputs(part, inputs, outputs, feeds)
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def _serialised(model: onnx.ModelProto) -> bytes:
    try:
        content: bytes = model.SerializeToString()
    except Exception as error:  # protobuf's limit of 2 GiB is another class in each of its versions
        raise CellFailure(f"it cannot be written as ONNX: {first_line(error)}") from error
    return content


def _require_same_outputs(
    path: Path,
    inputs: Sequence[TensorSpec],
    outputs: Sequence[TensorSpec],
    feeds: Sequence[np.ndarray],
) -> None:
    try:
        found = InferenceSession(path, providers=["CPUExecutionProvider"]).run(
            None, {spec.name: array for spec, array in zip(inputs, feeds, strict=True)}
        )
    except Exception as error:  # ONNX Runtime's have no common base
        raise CellFailure(f"ONNX Runtime does not run it: {first_line(error)}") from error
    for spec, output in zip(outputs, found, strict=True):
        if (tuple(output.shape), str(output.dtype)) != (tuple(spec.shape), spec.dtype):
            raise CellFailure(f"ONNX Runtime gives another '{spec.name}': {output.shape}")


def onnx_network(
    canonical: tvm.IRModule, inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec]
) -> onnx.ModelProto:
    """The same as a model in memory."""
    function = canonical[MAIN]
    model = onnx.ModelProto(ir_version=_IR_VERSION, opset_import=[helper.make_opsetid("", _OPSET)])
    graph = model.graph
    graph.name = "network"
    graph.input.extend(_values(inputs))
    graph.output.extend(_values(outputs))
    network = _Network(graph, uses_of(function))
    for variable, spec in zip(function.params, inputs, strict=True):
        network.names[variable] = spec.name
        network.taken.add(spec.name)
    network.taken.update(spec.name for spec in outputs)
    for block in function.body.blocks:
        for binding in block.bindings:
            network.bind(binding.var, binding.value)
    result = network.resolved(function.body.body)
    fields = result.fields if isinstance(result, relax.Tuple) else [result]
    for value, spec in zip(fields, outputs, strict=True):
        network.nodes.append(helper.make_node("Identity", [network.name(value)], [spec.name]))
    return model


def _values(specs: Sequence[TensorSpec]) -> list[onnx.ValueInfoProto]:
    return [
        helper.make_tensor_value_info(
            spec.name, helper.np_dtype_to_tensor_dtype(np.dtype(spec.dtype)), spec.shape
        )
        for spec in specs
    ]


class _Network(Writer):
    """A network that is written binding by binding, into a model that holds weights once."""

    def __init__(self, graph: onnx.GraphProto, uses: Mapping[relax.Var, int]) -> None:
        self.nodes = graph.node
        self.constants = graph.initializer
        self.names: dict[relax.Var, str] = {}
        self.taken: set[str] = set()
        self._uses = uses
        self._tuples: dict[relax.Var, Sequence[str] | relax.Expr] = {}
        self._made: dict[str, relax.Var] = {}

    def bind(self, variable: relax.Var, value: relax.Expr) -> None:
        """Write one binding."""
        if isinstance(value, relax.Call):
            found = self._called(variable, value)
            if isinstance(found, str):
                self.names[variable] = found
            else:
                self._tuples[variable] = found
        elif isinstance(value, relax.TupleGetItem):
            source = self._tuples[value.tuple_value]
            if isinstance(source, relax.Tuple):
                self.names[variable] = self.name(source.fields[value.index])
            else:
                self.names[variable] = source[value.index]
        elif isinstance(value, relax.Tuple):
            self._tuples[variable] = value
        else:
            self.names[variable] = self.name(value)

    def _called(self, variable: relax.Var, call: relax.Call) -> str | Sequence[str]:
        name = operator_name(call)
        rule: Callable[..., str | Sequence[str]] | None = OPERATORS.get(name)
        if rule is None:
            what = name.removeprefix("relax.") or "a kernel of its own"
            raise CellFailure(f"the network has {what}, which has no row in deploy/onnx")
        found = rule(self, call, variable)
        if isinstance(found, str):
            self._made[found] = variable
        return found

    def resolved(self, expr: relax.Expr) -> relax.Expr:
        """A tuple that a variable stands for; any other expression as it is."""
        bound = self._tuples.get(expr) if isinstance(expr, relax.Var) else None
        return expr if bound is None or not isinstance(bound, relax.Tuple) else bound

    def name(self, expr: relax.Expr) -> str:
        if isinstance(expr, relax.Var):
            return self.names[expr]
        values = constant_array(expr)
        if values is None:
            raise CellFailure(f"the network reads {type(expr).__name__}, expected a tensor")
        return self.constant(values)

    def fields(self, expr: relax.Expr) -> list[str]:
        found = self.resolved(expr)
        assert isinstance(found, relax.Tuple)
        return [self.name(each) for each in found.fields]

    def constant(self, values: np.ndarray) -> str:
        name = self._unique("constant")
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(values), name))
        return name

    def add(
        self, operator: str, inputs: Sequence[str], outputs: int = 1, **attributes: Any
    ) -> list[str]:
        names = [self._unique(operator) for _ in range(outputs)]
        self.nodes.append(helper.make_node(operator, inputs, names, names[0], **attributes))
        return names

    def divided(self, name: str) -> tuple[str, float] | None:
        if self.nodes and self.nodes[-1].op_type == "Mul" and name in self.nodes[-1].output:
            value, by = self.nodes[-1].input
            number = next((each for each in self.constants if each.name == by), None)
            if number is not None and not number.dims and self._uses[self._made[name]] == 1:
                self.nodes.pop()
                return value, 1 / float(numpy_helper.to_array(number))
        return None

    def with_bias(self, name: str, bias: np.ndarray) -> bool:
        """Add a bias `[channels]` to the convolution that made a value. False where a node of
        another kind made it, where it has one, or where others read it."""
        node = next((each for each in reversed(self.nodes) if name in each.output), None)
        if node is None or node.op_type != "Conv" or len(node.input) > 2:
            return False
        if self._uses[self._made[name]] > 1:
            return False
        node.input.append(self.constant(bias))
        return True

    def _unique(self, operator: str) -> str:
        name = f"{operator}_{len(self.taken)}"
        while name in self.taken:
            name += "_"
        self.taken.add(name)
        return name
