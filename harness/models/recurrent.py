"""Recurrent layers in Relax, from whatever format: one matrix product for all inputs, and a kernel
that loops over time.

Names of extents: T steps, B rows, I inputs, D directions, G gates, H units, P units padded.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from harness.compiler.api import constant, relax, shape_of, tirx
from harness.compiler.script import T
from harness.kernels.recurrent import recurrent
from harness.kernels.recurrent_steps import LANES, Cell, Form, Value


def of_type(value: float, x: Value) -> Value:
    """A vector of one number, of the data type of another vector."""
    return T.Broadcast(tirx.const(value, str(x.ty.dtype).partition("x")[0]), LANES)


def sigmoid(x: Value) -> Value:
    """1 / (1 + e^-x)."""
    return of_type(1, x) / (of_type(1, x) + T.exp(-x))


def tanh(x: Value) -> Value:
    """The hyperbolic tangent."""
    return T.tanh(x)


def relu(x: Value) -> Value:
    """max(x, 0)."""
    return T.max(x, of_type(0, x))


@dataclass(frozen=True)
class Layer:
    """A layer and its tensors; the gates of weights and biases are in the cell's order."""

    cell: Cell
    form: Form
    data: relax.Expr
    """[T, B, I]"""
    weights: relax.Expr
    """[D, G·H, I]"""
    recurrent: relax.Expr
    """[D, G·H, H]"""
    biases: tuple[relax.Expr, relax.Expr] | None
    """Those of the inputs' weights and of the state's, of D·G·H elements each."""
    begun: Sequence[relax.Expr | None]
    """The state and, where the cell has one, the memory before the first step: [D, B, H]."""
    lengths: relax.Expr | None = None
    """[B]"""
    peepholes: relax.Expr | None = None
    """[D, 3·H]"""


def emit_layer(builder: relax.BlockBuilder, layer: Layer) -> list[relax.Expr]:
    """All states [T, D, B, H], the last state [D, B, H] and, where the cell has one, the last
    memory. bfloat16 is computed in single precision: TVM lowers no named values of it."""
    if layer.form.dtype != "bfloat16":
        return Conversion(builder, layer).results()

    def single(value: relax.Expr | None) -> relax.Expr | None:
        return None if value is None else builder.emit(relax.op.astype(value, "float32"))

    wide = Layer(
        layer.cell,
        replace(layer.form, dtype="float32"),
        single(layer.data),
        single(layer.weights),
        single(layer.recurrent),
        layer.biases and (single(layer.biases[0]), single(layer.biases[1])),
        [single(each) for each in layer.begun],
        layer.lengths,
        single(layer.peepholes),
    )
    found = Conversion(builder, wide).results()
    return [builder.emit(relax.op.astype(each, layer.form.dtype)) for each in found]


class Conversion:
    """What the kernel of a layer takes and gives."""

    def __init__(self, builder: relax.BlockBuilder, layer: Layer) -> None:
        self._builder, self._layer = builder, layer
        self._cell, self._form = layer.cell, layer.form

    def results(self) -> list[relax.Expr]:
        form, begun = self._form, self._layer.begun
        arguments = [self._projected(), self._packed(), *self._options()]
        arguments += [self._state(state) for state in begun]
        states = (form.directions, form.batch, form.hidden)
        outputs = [
            relax.TensorType(shape, form.dtype)
            for shape in ((form.steps, *states), *(states for _ in begun))
        ]
        kernel = self._builder.add_func(recurrent(self._cell, form), "recurrent")
        given = self._emit(relax.call_tir(kernel, relax.Tuple(arguments), outputs))
        return [self._emit(relax.TupleGetItem(given, at)) for at in range(len(outputs))]

    def _projected(self) -> relax.Expr:
        """The inputs' part of all gates: [T, B, D·G·P]."""
        form, data = self._form, self._layer.data
        weights = self._padded(self._layer.weights)  # [D, G, P, I]
        columns = form.directions * form.gates * form.padded
        matrix = self._reshaped(weights, columns, shape_of(data)[2])
        matrix = self._emit(relax.op.permute_dims(matrix))
        rows = self._reshaped(data, form.steps * form.batch, -1)
        product = self._emit(relax.op.matmul(rows, matrix))
        if self._layer.biases is not None:
            of_inputs, of_state = map(self._by_gate, self._layer.biases)
            if self._cell.bias:  # the state's part of the last gate is added in the kernel
                kept = np.ones((1, form.gates, 1), form.dtype)
                kept[:, -1] = 0
                of_state = self._emit(relax.op.multiply(of_state, relax.const(kept, form.dtype)))
            bias = self._emit(relax.op.add(of_inputs, of_state))
            bias = self._reshaped(bias, form.directions, form.gates * form.hidden)
            bias = self._reshaped(self._padded(bias), columns)
            product = self._emit(relax.op.add(product, bias))
        return self._reshaped(product, form.steps, form.batch, columns)

    def _packed(self) -> relax.Expr:
        """The recurrent weights: [D, G·P / tile, H, tile]."""
        form = self._form
        weights = self._padded(self._layer.recurrent)  # [D, G, P, H]
        tiles = form.gates * form.padded // form.tile
        weights = self._reshaped(weights, form.directions, tiles, form.tile, form.hidden)
        return self._emit(relax.op.permute_dims(weights, [0, 1, 3, 2]))

    def _options(self) -> Iterator[relax.Expr]:
        """Lengths, peepholes and the bias, where there are some."""
        form, layer = self._form, self._layer
        if layer.lengths is not None:
            yield self._emit(relax.op.astype(layer.lengths, "int32"))
        if layer.peepholes is not None:
            each = self._reshaped(layer.peepholes, form.directions, 3 * form.hidden)
            yield self._reshaped(self._padded(each, gates=3), form.directions, 3, form.padded)
        if self._cell.bias:
            if layer.biases is None:
                yield self._zeros(form.directions, 1, form.padded)
            else:
                of_state = self._by_gate(layer.biases[1])
                last = self._emit(
                    relax.op.strided_slice(of_state, [1], [form.gates - 1], [form.gates])
                )
                last = self._reshaped(last, form.directions, form.hidden)
                yield self._reshaped(self._padded(last, gates=1), form.directions, 1, form.padded)

    def _state(self, state: relax.Expr | None) -> relax.Expr:
        if state is None:
            return self._zeros(self._form.directions, self._form.batch, self._form.hidden)
        return state

    def _by_gate(self, bias: relax.Expr) -> relax.Expr:
        form = self._form
        return self._reshaped(bias, form.directions, form.gates, form.hidden)

    def _padded(self, weights: relax.Expr, gates: int | None = None) -> relax.Expr:
        """Weights [D, G·H, …] as [D, G, P, …], with zeros for the units that pad a gate."""
        form = self._form
        count = form.gates if gates is None else gates
        rest = shape_of(weights)[2:]
        split = self._reshaped(weights, form.directions, count, form.hidden, *rest)
        if form.padded == form.hidden:
            return split
        added = (form.directions, count, form.padded - form.hidden, *rest)
        zeros = constant(np.zeros(added, str(weights.ty.dtype)))
        return self._emit(relax.op.concat([split, zeros], axis=2))

    def _zeros(self, *shape: int) -> relax.Expr:
        return relax.const(np.zeros(shape), self._form.dtype)

    def _reshaped(self, value: relax.Expr, *shape: int) -> relax.Expr:
        return self._emit(relax.op.reshape(value, shape))

    def _emit(self, value: relax.Expr) -> relax.Expr:
        return self._builder.emit(value)
