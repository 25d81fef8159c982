"""Recurrent layers of TFLite. An LSTM and an RNN are one kernel that loops over time.

States are variables: they have the values of the first inference.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from harness.compiler.api import constant, relax, tirx
from harness.compiler.script import T
from harness.kernels.recurrent import LSTM, RNN, recurrent
from harness.kernels.recurrent_steps import LANES, Cell, Form, Function, Value
from harness.models.tflite.operation import Converter, Operation, Unsupported, activated


def _svdf(operation: Operation) -> relax.Expr:
    """Features of the last steps, weighted by time: a layer factored into vectors of `rank`."""
    options = operation.options("SVDFOptions")
    (batch, _), (filters, memory) = operation.shape(0), operation.shape(2)
    units = filters // options.Rank()
    features = operation.emit(
        relax.op.matmul(operation.value(0), relax.op.permute_dims(operation.value(1)))
    )
    newest = operation.emit(relax.op.reshape(features, (batch, filters, 1)))
    state = operation.emit(relax.op.reshape(operation.value(4), (batch, filters, memory)))
    if memory > 1:
        kept = operation.emit(relax.op.strided_slice(state, [2], [1], [memory]))
        newest = operation.emit(relax.op.concat([kept, newest], 2))
    weighted = operation.emit(relax.op.multiply(newest, operation.value(2)))
    summed = operation.emit(
        relax.op.sum(
            relax.op.reshape(weighted, (batch, units, options.Rank() * memory)), [2], False
        )
    )
    if operation.given(3):
        summed = relax.op.add(summed, operation.value(3))
    return activated(summed, options.FusedActivationFunction())


def _number(value: float, x: Value) -> Value:
    return T.Broadcast(tirx.const(value, str(x.ty.dtype).partition("x")[0]), LANES)


def _sigmoid(x: Value) -> Value:
    return _number(1, x) / (_number(1, x) + T.exp(-x))


def _limited(x: Value, low: float, high: float) -> Value:
    return T.min(T.max(x, _number(low, x)), _number(high, x))


_FUNCTIONS: Mapping[int, Function] = {
    0: lambda x: x,
    1: lambda x: T.max(x, _number(0, x)),
    2: lambda x: _limited(x, -1, 1),
    3: lambda x: _limited(x, 0, 6),
    4: T.tanh,
}
"""By the numbers of `ActivationFunctionType`."""


def _function(number: int) -> Function:
    if number not in _FUNCTIONS:
        raise Unsupported(f"activation {number}")
    return _FUNCTIONS[number]


@dataclass(frozen=True)
class _Weights:
    """Constants of a layer: of inputs [gates, units, inputs], of the state [gates, units, units],
    biases [gates, units], and peepholes [3, units] of an LSTM that has some."""

    inputs: np.ndarray
    state: np.ndarray
    bias: np.ndarray
    peepholes: np.ndarray | None = None


def _time_first(operation: Operation, options: Any) -> relax.Expr:
    """The data [steps, batch, inputs]."""
    if options.TimeMajor():
        return operation.value(0)
    return operation.emit(relax.op.permute_dims(operation.value(0), [1, 0, 2]))


def _as_given(value: relax.Expr, options: Any) -> relax.Expr:
    """States [steps, batch, units] with time where the data has it."""
    return value if options.TimeMajor() else relax.op.permute_dims(value, [1, 0, 2])


def _run(
    operation: Operation,
    cell: Cell,
    data: relax.Expr,
    weights: _Weights,
    states: Sequence[int],
    activations: Sequence[Function],
    **form_options: Any,
) -> relax.Expr:
    """All states, [steps, batch, units], of a layer that begins with the inputs number `states`."""
    steps, batch, width = (int(extent) for extent in data.ty.shape)
    gates, hidden, _ = weights.inputs.shape
    form = Form(
        activations=[tuple(activations)],
        gates=gates,
        steps=steps,
        batch=batch,
        hidden=hidden,
        dtype="float32",
        peepholes=weights.peepholes is not None,
        **form_options,
    )
    matrix = _padded(weights.inputs, form, 1).reshape(gates * form.padded, width).T
    bias = _padded(weights.bias, form, 1).reshape(-1)
    rows = operation.emit(relax.op.reshape(data, (steps * batch, width)))
    product = relax.op.add(relax.op.matmul(rows, _constant(matrix)), _constant(bias))
    projected = operation.emit(relax.op.reshape(product, (steps, batch, gates * form.padded)))
    tiles = gates * form.padded // form.tile
    packed = _padded(weights.state, form, 1).reshape(1, tiles, form.tile, hidden)
    arguments = [projected, _constant(packed.transpose(0, 1, 3, 2))]
    if weights.peepholes is not None:
        arguments.append(_constant(_padded(weights.peepholes, form, 1)[np.newaxis]))
    arguments += [
        operation.emit(relax.op.reshape(operation.value(at), (1, batch, hidden))) for at in states
    ]
    results = [(steps, 1, batch, hidden), *((1, batch, hidden) for _ in states)]
    kernel = operation.builder.add_func(recurrent(cell, form), "recurrent")
    types = [relax.TensorType(shape, "float32") for shape in results]
    given = operation.emit(relax.call_tir(kernel, relax.Tuple(arguments), types))
    every = operation.emit(relax.TupleGetItem(given, 0))
    return operation.emit(relax.op.reshape(every, (steps, batch, hidden)))


def _both_ways(forward: relax.Expr, backward: relax.Expr, options: Any) -> relax.Expr:
    """Both directions' states, side by side if they are merged."""
    if options.MergeOutputs():
        return _as_given(relax.op.concat([forward, backward], -1), options)
    return relax.Tuple([_as_given(forward, options), _as_given(backward, options)])


def _constant(values: np.ndarray) -> relax.Expr:
    return constant(np.ascontiguousarray(values, np.float32))


def _padded(values: np.ndarray, form: Form, axis: int) -> np.ndarray:
    """Zeros for the units that pad a gate."""
    widths = [(0, 0)] * values.ndim
    widths[axis] = (0, form.padded - form.hidden)
    return np.pad(values, widths)


_INPUT, _FORGET, _CELL, _OUTPUT = range(4)
"""An LSTM's gates in the order of TFLite's inputs."""
_ORDER = (_INPUT, _OUTPUT, _FORGET, _CELL)
"""The gates in the order of the kernel."""


@dataclass(frozen=True)
class _Places:
    """Which inputs an LSTM has: the first of its weights, its states, and its factors of layer
    normalisation."""

    first: int = 1
    states: tuple[int, int] = (18, 19)
    factors: range = range(20, 24)


def _lstm_states(
    operation: Operation, data: relax.Expr, options: Any, places: _Places, reverse: bool = False
) -> relax.Expr:
    first = places.first
    projection = range(first + 15, first + 17)
    for inputs, what in ((projection, "a projection"), (places.factors, "layer normalisation")):
        if any(map(operation.given, inputs)):
            raise Unsupported(f"an LSTM with {what}")
    coupled = not operation.given(first)
    weights = _Weights(
        _gates(operation, first, coupled),
        _gates(operation, first + 4, coupled),
        _gates(operation, first + 11, coupled),
        _peepholes(operation, first + 8, coupled),
    )
    activation = _function(options.FusedActivationFunction())
    steps = operation.tensor(places.states[0]).steps
    return _run(
        operation,
        LSTM,
        data,
        weights,
        places.states,
        (_sigmoid, activation, activation),
        reverse=reverse,
        input_forget=coupled,
        cell_clip=options.CellClip() or None,
        rounded=None if steps is None else (float(steps.scale[0]), int(steps.zero_point[0])),
    )


def _lstm_over_time(operation: Operation) -> relax.Expr:
    options = operation.options("UnidirectionalSequenceLSTMOptions")
    data = _time_first(operation, options)
    return _as_given(_lstm_states(operation, data, options, _Places()), options)


def _lstm_step(operation: Operation) -> relax.Expr:
    """One step of a layer."""
    options = operation.options("LSTMOptions")
    if options.KernelType():
        raise Unsupported("an LSTM of the basic kind, with all gates' weights in one tensor")
    data = operation.emit(relax.op.expand_dims(operation.value(0), 0))
    return relax.op.squeeze(_lstm_states(operation, data, options, _Places()), [0])


def _lstm_both_ways(operation: Operation) -> relax.Expr:
    options = operation.options("BidirectionalSequenceLSTMOptions")
    _require_no_second_data(operation, range(39, 48))
    data = _time_first(operation, options)
    forward = _lstm_states(operation, data, options, _Places(1, (35, 36), range(0)))
    backward = _lstm_states(operation, data, options, _Places(18, (37, 38), range(0)), True)
    return _both_ways(forward, backward, options)


def _require_no_second_data(operation: Operation, inputs: range) -> None:
    if any(map(operation.given, inputs)):
        raise Unsupported("a second, auxiliary input")


def _gates(operation: Operation, first: int, coupled: bool) -> np.ndarray:
    """Weights of all gates. Where the input gate is what the forget gate leaves, it is computed
    from the forget gate's weights: 1 − sigmoid(x) is sigmoid(−x)."""
    known = {at: operation.array(first + at) for at in range(4) if operation.given(first + at)}
    if coupled:
        known[_INPUT] = -known[_FORGET]
    return np.stack([known[gate] for gate in _ORDER])


def _peepholes(operation: Operation, first: int, coupled: bool) -> np.ndarray | None:
    """Those of the input, output and forget gates."""
    if not operation.given(first + 1):
        return None
    forget, out = operation.array(first + 1), operation.array(first + 2)
    return np.stack([-forget if coupled else operation.array(first), out, forget])


def _rnn_states(
    operation: Operation, data: relax.Expr, options: Any, first: int, reverse: bool = False
) -> relax.Expr:
    """Inputs from `first`: weights of inputs and of the state, bias, state."""
    weights = _Weights(*(operation.array(first + at)[np.newaxis] for at in range(3)))
    activation = _function(options.FusedActivationFunction())
    return _run(operation, RNN, data, weights, (first + 3,), (activation,), reverse=reverse)


def _rnn_over_time(operation: Operation) -> relax.Expr:
    options = operation.options("SequenceRNNOptions")
    data = _time_first(operation, options)
    return _as_given(_rnn_states(operation, data, options, 1), options)


def _rnn_both_ways(operation: Operation) -> relax.Expr:
    options = operation.options("BidirectionalSequenceRNNOptions")
    _require_no_second_data(operation, range(9, 12))
    data = _time_first(operation, options)
    forward = _rnn_states(operation, data, options, 1)
    return _both_ways(forward, _rnn_states(operation, data, options, 5, True), options)


RECURRENT: dict[str, Converter] = {
    "BIDIRECTIONAL_SEQUENCE_LSTM": _lstm_both_ways,
    "BIDIRECTIONAL_SEQUENCE_RNN": _rnn_both_ways,
    "LSTM": _lstm_step,
    "SVDF": _svdf,
    "UNIDIRECTIONAL_SEQUENCE_LSTM": _lstm_over_time,
    "UNIDIRECTIONAL_SEQUENCE_RNN": _rnn_over_time,
}
