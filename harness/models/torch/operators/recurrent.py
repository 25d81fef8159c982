"""LSTM, GRU and RNN: each layer is one kernel that loops over time.

Source: the documentation of `torch.nn.LSTM`, `GRU` and `RNN`. Weights of a layer, of each
direction: of the inputs, of the state, and with biases one of each.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from harness.compiler.api import relax, shape_of
from harness.kernels.recurrent import GRU_RESET_AFTER, LSTM, RNN
from harness.kernels.recurrent_steps import Cell, Form, Function
from harness.models.recurrent import Layer, emit_layer, relu, sigmoid, tanh
from harness.models.torch.operators.converter import Call, Converter

op = relax.op


@dataclass(frozen=True)
class _Kind:
    """A kind of layer: its cell, the activations of that, and where the gates in the cell's order
    are in PyTorch's."""

    cell: Cell
    activations: Sequence[Function]
    gates: Sequence[int]

    @property
    def states(self) -> int:
        """The state, and the memory where the cell has one."""
        return 2 if self.cell.memory else 1


_LSTM = _Kind(LSTM, (sigmoid, tanh, tanh), (0, 3, 1, 2))
_GRU = _Kind(GRU_RESET_AFTER, (sigmoid, tanh), (1, 0, 2))
_TANH = _Kind(RNN, (tanh,), (0,))
_RELU = _Kind(RNN, (relu,), (0,))


def _converter(kind: _Kind) -> Converter:
    def convert(call: Call) -> relax.Expr:
        return _Conversion(call, kind).results()

    return convert


class _Conversion:
    def __init__(self, call: Call, kind: _Kind) -> None:
        self._call, self._kind = call, kind
        self._directions = 2 if call["bidirectional"] else 1
        begun = call["hx"]
        self._begun = list(begun) if isinstance(begun, (list, tuple)) else [begun]

    def results(self) -> relax.Expr:
        """The output of the last layer, and the last states of all layers."""
        call = self._call
        data = call.tensor("input")
        batched = len(shape_of(data)) == 3
        if not batched:
            data = call.emit(op.expand_dims(data, 1))
            self._begun = [call.emit(op.expand_dims(each, 1)) for each in self._begun]
        elif call["batch_first"]:
            data = call.emit(op.permute_dims(data, [1, 0, 2]))
        ended: list[list[relax.Expr]] = [[] for _ in range(self._kind.states)]
        for at in range(call["num_layers"]):
            data, last = self._layer(at, data)
            for states, state in zip(ended, last, strict=True):
                states.append(state)
        lasts = [
            each[0] if len(each) == 1 else call.emit(op.concat(each, axis=0)) for each in ended
        ]
        if not batched:
            data = call.emit(op.squeeze(data, [1]))
            lasts = [call.emit(op.squeeze(each, [1])) for each in lasts]
        elif call["batch_first"]:
            data = call.emit(op.permute_dims(data, [1, 0, 2]))
        return relax.Tuple([data, *lasts])

    def _layer(self, at: int, data: relax.Expr) -> tuple[relax.Expr, Sequence[relax.Expr]]:
        """What layer number `at` gives for [T, B, I]: [T, B, D·H], and its last states."""
        call, count = self._call, self._directions
        size = 4 if call["has_biases"] else 2
        first = at * count * size
        by_direction = [
            call["params"][first + each * size : first + (each + 1) * size] for each in range(count)
        ]
        tensors = [self._joined([each[part] for each in by_direction]) for part in range(size)]
        steps, batch, _ = shape_of(data)
        hidden = shape_of(tensors[1])[2]
        form = Form(
            activations=[self._kind.activations] * count,
            reverse=False,
            gates=self._kind.cell.gates,
            steps=steps,
            batch=batch,
            hidden=hidden,
            dtype=str(data.ty.dtype),
        )
        begun = [
            call.emit(op.strided_slice(each, [0], [at * count], [(at + 1) * count]))
            for each in self._begun
        ]
        biases = (tensors[2], tensors[3]) if size == 4 else None
        layer = Layer(self._kind.cell, form, data, tensors[0], tensors[1], biases, begun)
        every, *last = emit_layer(call.builder, layer)
        every = call.emit(op.permute_dims(every, [0, 2, 1, 3]))
        return call.reshaped(every, (steps, batch, count * hidden)), last

    def _joined(self, weights: Sequence[relax.Expr]) -> relax.Expr:
        """A weight of each direction, [D, G·H, …], its gates in the cell's order."""
        found = []
        for each in weights:
            rows = shape_of(each)[0] // self._kind.cell.gates
            gates = [
                op.strided_slice(each, [0], [gate * rows], [(gate + 1) * rows])
                for gate in self._kind.gates
            ]
            found.append(gates[0] if len(gates) == 1 else op.concat(gates, axis=0))
        return self._call.emit(op.stack([self._call.emit(each) for each in found], axis=0))


_KINDS = {"lstm": _LSTM, "gru": _GRU, "rnn_tanh": _TANH, "rnn_relu": _RELU}
RECURRENT: dict[str, Converter] = {
    f"{name}.input": _converter(kind) for name, kind in _KINDS.items()
}


def is_converted(node: Any) -> bool:
    """Whether a node is a layer that a kernel is there for: not one with projections, of which
    PyTorch makes its steps instead."""
    if node.target.__name__ not in RECURRENT:
        return False
    bound = {
        argument.name: node.args[at] if at < len(node.args) else node.kwargs.get(argument.name)
        for at, argument in enumerate(node.target._schema.arguments)
    }
    weights = 4 if bound["has_biases"] else 2
    directions = 2 if bound["bidirectional"] else 1
    expected: int = bound["num_layers"] * directions * weights
    return len(bound["params"]) == expected
