"""LSTM, GRU and RNN of ONNX: one matrix product for all inputs, and a kernel that loops over time.

Source: the specifications of the three operators, and ONNX Runtime where those leave something
open: the defaults of `activation_alpha` and `activation_beta`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from harness.compiler.api import relax, shape_of, tirx
from harness.compiler.script import T
from harness.kernels.recurrent import (
    GRU,
    GRU_RESET_AFTER,
    LANES,
    LSTM,
    RNN,
    Cell,
    Form,
    Function,
    Value,
    recurrent,
)
from harness.models.onnx.refusal import Unsupported

_DIRECTIONS = {"forward": 1, "reverse": 1, "bidirectional": 2}


def _of(value: float, x: Value) -> Value:
    return T.Broadcast(tirx.const(value, str(x.ty.dtype).partition("x")[0]), LANES)


def _sigmoid(x: Value) -> Value:
    return _of(1, x) / (_of(1, x) + T.exp(-x))


@dataclass(frozen=True)
class _Activation:
    """A function of a vector and of alpha and beta, with their defaults; None where it has none."""

    function: Callable[[Value, float, float], Value]
    alpha: float | None = None
    beta: float | None = None


_ACTIVATIONS: Mapping[str, _Activation] = {
    "affine": _Activation(lambda x, a, b: _of(a, x) * x + _of(b, x), 1.0, 0.0),
    "elu": _Activation(
        lambda x, a, b: T.Select(x >= _of(0, x), x, _of(a, x) * (T.exp(x) - _of(1, x))), 1.0
    ),
    "hardsigmoid": _Activation(
        lambda x, a, b: T.min(T.max(_of(a, x) * x + _of(b, x), _of(0, x)), _of(1, x)), 0.2, 0.5
    ),
    "leakyrelu": _Activation(lambda x, a, b: T.Select(x >= _of(0, x), x, _of(a, x) * x), 0.01),
    "relu": _Activation(lambda x, a, b: T.max(x, _of(0, x))),
    "scaledtanh": _Activation(lambda x, a, b: _of(a, x) * T.tanh(_of(b, x) * x), 1.0, 1.0),
    "sigmoid": _Activation(lambda x, a, b: _sigmoid(x)),
    "softplus": _Activation(
        lambda x, a, b: T.max(x, _of(0, x)) + T.log(_of(1, x) + T.exp(-T.abs(x)))
    ),
    "softsign": _Activation(lambda x, a, b: x / (_of(1, x) + T.abs(x))),
    "tanh": _Activation(lambda x, a, b: T.tanh(x)),
    "thresholdedrelu": _Activation(lambda x, a, b: T.Select(x > _of(a, x), x, _of(0, x)), 1.0),
}


def _activations(
    attributes: Any, defaults: Sequence[str], directions: int
) -> list[tuple[Function, ...]]:
    """The activations of each direction. Raises Unsupported."""
    names = [
        (name.decode() if isinstance(name, bytes) else str(name)).lower()
        for name in attributes.get("activations", [*defaults] * directions)
    ]
    if len(names) != len(defaults) * directions:
        raise Unsupported(f"{len(names)} activations, expected {len(defaults) * directions}")
    alphas = iter(attributes.get("activation_alpha", ()))
    betas = iter(attributes.get("activation_beta", ()))
    made: dict[tuple[str, float, float], Function] = {}
    found = []
    for name in names:
        activation = _ACTIVATIONS.get(name)
        if activation is None:
            raise Unsupported(f"activation {name}")
        alpha, beta = (
            0.0 if default is None else float(next(given, default))
            for given, default in ((alphas, activation.alpha), (betas, activation.beta))
        )
        key = (name, alpha, beta)  # equal functions are the same: the kernel computes them once
        found.append(made.setdefault(key, _bound(activation, alpha, beta)))
    size = len(defaults)
    return [tuple(found[at : at + size]) for at in range(0, len(found), size)]


def _bound(activation: _Activation, alpha: float, beta: float) -> Function:
    return lambda x: activation.function(x, alpha, beta)


@dataclass(frozen=True)
class _Layer:
    """A kind of layer in ONNX: its cell; the default activations; the order in which the cell takes
    ONNX's gates; whether there is a second state, peepholes."""

    cell: Callable[[Any], Cell]
    activations: Sequence[str]
    memory: bool = False


def _converter(layer: _Layer) -> Callable[[relax.BlockBuilder, Any, Any, int], relax.Expr]:
    def convert(
        builder: relax.BlockBuilder, inputs: Any, attributes: Any, opset: int
    ) -> relax.Expr:
        return _Conversion(builder, layer, inputs, attributes).result()

    return convert


class _Conversion:
    """One layer. Names of extents: T steps, B rows, I inputs, D directions, G gates, H units, P
    units padded."""

    def __init__(
        self, builder: relax.BlockBuilder, layer: _Layer, inputs: Any, attributes: Any
    ) -> None:
        self._builder, self._layer, self._inputs = builder, layer, inputs
        self._cell = layer.cell(attributes)
        if attributes.get("layout", 0):
            raise Unsupported("layout=1: the batch first")
        direction = attributes.get("direction", b"forward")
        direction = direction.decode() if isinstance(direction, bytes) else str(direction)
        if direction not in _DIRECTIONS:
            raise Unsupported(f"direction={direction}")
        self._data = inputs[0]
        steps, batch, _ = shape_of(self._data)
        _, _, hidden = shape_of(inputs[2])
        attributes.get("hidden_size")  # the weights have it
        clip = attributes.get("clip")
        self._dtype = str(self._data.ty.dtype)
        self._form = Form(
            activations=_activations(attributes, layer.activations, _DIRECTIONS[direction]),
            reverse=direction == "reverse",
            gates=self._cell.gates,
            steps=steps,
            batch=batch,
            hidden=hidden,
            dtype=self._dtype,
            lengths=inputs[4] is not None,
            peepholes=layer.memory and inputs[7] is not None,
            input_forget=layer.memory and bool(attributes.get("input_forget", 0)),
            clip=None if clip is None else float(clip),
        )

    def result(self) -> relax.Expr:
        """Y, Y_h and, of an LSTM, Y_c."""
        form, names = self._form, ["state", "memory"] if self._layer.memory else ["state"]
        arguments = [self._projected(), self._packed(), *self._options()]
        arguments += [self._begun(at) for at, _ in enumerate(names, 5)]
        states = (form.directions, form.batch, form.hidden)
        outputs = [
            relax.TensorType(shape, self._dtype)
            for shape in ((form.steps, *states), *(states for _ in names))
        ]
        kernel = self._builder.add_func(recurrent(self._cell, form), "recurrent")
        call = relax.call_tir(kernel, relax.Tuple(arguments), outputs)
        given = self._emit(call)
        every, *last = (self._emit(relax.TupleGetItem(given, at)) for at in range(len(outputs)))
        return relax.Tuple([every, *last])

    def _projected(self) -> relax.Expr:
        """The inputs' part of all gates: [T, B, D·G·P]."""
        form = self._form
        weights = self._padded(self._inputs[1])  # [D, G, P, I]
        columns = form.directions * form.gates * form.padded
        matrix = self._reshaped(weights, columns, shape_of(self._data)[2])
        matrix = self._emit(relax.op.permute_dims(matrix))
        rows = self._reshaped(self._data, form.steps * form.batch, -1)
        product = self._emit(relax.op.matmul(rows, matrix))
        if self._inputs[3] is not None:
            of_inputs, of_state = self._biases()
            if self._cell.bias:  # the state's part of the last gate is added in the kernel
                kept = np.ones((1, form.gates, 1), self._dtype)
                kept[:, -1] = 0
                of_state = self._emit(relax.op.multiply(of_state, relax.const(kept)))
            bias = self._emit(relax.op.add(of_inputs, of_state))
            bias = self._reshaped(bias, form.directions, form.gates * form.hidden)
            bias = self._reshaped(self._padded(bias), columns)
            product = self._emit(relax.op.add(product, bias))
        return self._reshaped(product, form.steps, form.batch, columns)

    def _packed(self) -> relax.Expr:
        """The recurrent weights: [D, G·P / tile, H, tile]."""
        form = self._form
        weights = self._padded(self._inputs[2])  # [D, G, P, H]
        tiles = form.gates * form.padded // form.tile
        weights = self._reshaped(weights, form.directions, tiles, form.tile, form.hidden)
        return self._emit(relax.op.permute_dims(weights, [0, 1, 3, 2]))

    def _options(self) -> Iterator[relax.Expr]:
        """Lengths, peepholes and the bias, where there are some."""
        form = self._form
        if form.lengths:
            yield self._emit(relax.op.astype(self._inputs[4], "int32"))
        if form.peepholes:
            each = self._reshaped(self._inputs[7], form.directions, 3 * form.hidden)
            yield self._reshaped(self._padded(each, gates=3), form.directions, 3, form.padded)
        if self._cell.bias:
            if self._inputs[3] is None:
                yield self._zeros(form.directions, 1, form.padded)
            else:
                _, of_state = self._biases()
                last = self._emit(
                    relax.op.strided_slice(of_state, [1], [form.gates - 1], [form.gates])
                )
                last = self._reshaped(last, form.directions, form.hidden)
                yield self._reshaped(self._padded(last, gates=1), form.directions, 1, form.padded)

    def _begun(self, at: int) -> relax.Expr:
        """The state that an input begins with: [D, B, H]."""
        state = self._inputs[at]
        if state is None:
            return self._zeros(self._form.directions, self._form.batch, self._form.hidden)
        return state

    def _biases(self) -> tuple[relax.Expr, relax.Expr]:
        """Those of the inputs' weights and of the state's, [D, G, H] each."""
        form = self._form
        both = self._reshaped(self._inputs[3], form.directions, 2, form.gates, form.hidden)
        found = []
        for at in range(2):
            half = self._emit(relax.op.strided_slice(both, [1], [at], [at + 1]))
            found.append(self._reshaped(half, form.directions, form.gates, form.hidden))
        return found[0], found[1]

    def _padded(self, weights: relax.Expr, gates: int | None = None) -> relax.Expr:
        """Weights [D, G·H, …] as [D, G, P, …], with zeros for the units that pad a gate."""
        form = self._form
        count = form.gates if gates is None else gates
        rest = shape_of(weights)[2:]
        split = self._reshaped(weights, form.directions, count, form.hidden, *rest)
        if form.padded == form.hidden:
            return split
        zeros = self._zeros(form.directions, count, form.padded - form.hidden, *rest)
        return self._emit(relax.op.concat([split, zeros], axis=2))

    def _zeros(self, *shape: int) -> relax.Expr:
        return relax.const(np.zeros(shape), self._dtype)

    def _reshaped(self, value: relax.Expr, *shape: int) -> relax.Expr:
        return self._emit(relax.op.reshape(value, shape))

    def _emit(self, value: relax.Expr) -> relax.Expr:
        return self._builder.emit(value)


_LAYERS = {
    "LSTM": _Layer(lambda attributes: LSTM, ("Sigmoid", "Tanh", "Tanh"), memory=True),
    "GRU": _Layer(
        lambda attributes: GRU_RESET_AFTER if attributes.get("linear_before_reset", 0) else GRU,
        ("Sigmoid", "Tanh"),
    ),
    "RNN": _Layer(lambda attributes: RNN, ("Tanh",)),
}
RECURRENT = {name: _converter(layer) for name, layer in _LAYERS.items()}
