"""LSTM, GRU and RNN of ONNX.

Source: the specifications of the three operators, and ONNX Runtime where those leave something
open: the defaults of `activation_alpha` and `activation_beta`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from harness.compiler.api import relax, shape_of
from harness.compiler.script import T
from harness.kernels.recurrent import GRU, GRU_RESET_AFTER, LSTM, RNN
from harness.kernels.recurrent_steps import Cell, Form, Function, Value
from harness.models.onnx.operators.converter import like, text
from harness.models.onnx.refusal import Unsupported
from harness.models.recurrent import Layer, emit_layer, of_type, relu, sigmoid, tanh

_DIRECTIONS = {"forward": 1, "reverse": 1, "bidirectional": 2}


@dataclass(frozen=True)
class Activation:
    """A function of a vector and of alpha and beta, with their defaults; None where it has none."""

    function: Callable[[Value, float, float], Value]
    alpha: float | None = None
    beta: float | None = None


ACTIVATIONS: Mapping[str, Activation] = {
    "affine": Activation(lambda x, a, b: of_type(a, x) * x + of_type(b, x), 1.0, 0.0),
    "elu": Activation(
        lambda x, a, b: T.Select(x >= of_type(0, x), x, of_type(a, x) * (T.exp(x) - of_type(1, x))),
        1.0,
    ),
    "hardsigmoid": Activation(
        lambda x, a, b: T.min(
            T.max(of_type(a, x) * x + of_type(b, x), of_type(0, x)), of_type(1, x)
        ),
        0.2,
        0.5,
    ),
    "leakyrelu": Activation(
        lambda x, a, b: T.Select(x >= of_type(0, x), x, of_type(a, x) * x), 0.01
    ),
    "relu": Activation(lambda x, a, b: relu(x)),
    "scaledtanh": Activation(lambda x, a, b: of_type(a, x) * T.tanh(of_type(b, x) * x), 1.0, 1.0),
    "sigmoid": Activation(lambda x, a, b: sigmoid(x)),
    "softplus": Activation(
        lambda x, a, b: T.max(x, of_type(0, x)) + T.log(of_type(1, x) + T.exp(-T.abs(x)))
    ),
    "softsign": Activation(lambda x, a, b: x / (of_type(1, x) + T.abs(x))),
    "tanh": Activation(lambda x, a, b: tanh(x)),
    "thresholdedrelu": Activation(
        lambda x, a, b: T.Select(x > of_type(a, x), x, of_type(0, x)), 1.0
    ),
}


def _activations(attributes: Any, kind: Kind, directions: int) -> list[tuple[Function, ...]]:
    """The activations of each direction. Raises Unsupported."""
    defaults = [name.lower() for name in kind.activations]
    names = [
        (name.decode() if isinstance(name, bytes) else str(name)).lower()
        for name in attributes.get("activations", defaults * directions)
    ]
    if directions == 1 and names == defaults * 2:
        names = defaults  # RNN's default in the schema, which ONNX Runtime writes out
    if len(names) != len(defaults) * directions:
        raise Unsupported(f"{len(names)} activations, expected {len(defaults) * directions}")
    alphas = iter(attributes.get("activation_alpha", ()))
    betas = iter(attributes.get("activation_beta", ()))
    made: dict[tuple[str, float, float], Function] = {}
    found = []
    for name in names:
        activation = kind.functions.get(name)
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


def _bound(activation: Activation, alpha: float, beta: float) -> Function:
    return lambda x: activation.function(x, alpha, beta)


@dataclass(frozen=True)
class Kind:
    """A kind of layer in ONNX: its cell; the default activations; whether there is a second state,
    peepholes; what activations there are."""

    cell: Callable[[Any], Cell]
    activations: Sequence[str]
    memory: bool = False
    functions: Mapping[str, Activation] = field(default_factory=lambda: ACTIVATIONS)


def _converter(kind: Kind) -> Callable[[relax.BlockBuilder, Any, Any, int], relax.Expr]:
    def convert(
        builder: relax.BlockBuilder, inputs: Any, attributes: Any, opset: int
    ) -> relax.Expr:
        return relax.Tuple(emit_layer(builder, layer_of(builder, kind, inputs, attributes)))

    return convert


def layer_of(builder: relax.BlockBuilder, kind: Kind, inputs: Any, attributes: Any) -> Layer:
    """The layer that a node is. Raises Unsupported."""
    cell, data, states = kind.cell(attributes), inputs[0], 2 if kind.memory else 1
    if attributes.get("layout", 0):
        raise Unsupported("layout=1: the batch first")
    direction = text(attributes, "direction", "forward")
    if direction not in _DIRECTIONS:
        raise Unsupported(f"direction={direction}")
    steps, batch, width = shape_of(data)
    if width != shape_of(inputs[1])[2]:
        raise Unsupported(
            f"data of {width} values a step, where its weights are of {shape_of(inputs[1])[2]}"
        )
    _, _, hidden = shape_of(inputs[2])
    attributes.get("hidden_size")  # the weights have it
    clip = attributes.get("clip")
    peepholes = inputs[7] if kind.memory else None
    form = Form(
        activations=_activations(attributes, kind, _DIRECTIONS[direction]),
        reverse=direction == "reverse",
        gates=cell.gates,
        steps=steps,
        batch=batch,
        hidden=hidden,
        dtype=str(data.ty.dtype),
        lengths=inputs[4] is not None,
        peepholes=peepholes is not None,
        input_forget=kind.memory and bool(attributes.get("input_forget", 0)),
        clip=None if clip is None else float(clip),
    )
    return Layer(
        cell, form, data, inputs[1], inputs[2], _biases(builder, inputs[3], form),
        [_begun(builder, state, inputs[4]) for state in inputs[5 : 5 + states]], inputs[4],
        peepholes,
    )  # fmt: skip


def _begun(
    builder: relax.BlockBuilder, state: relax.Expr | None, lengths: relax.Expr | None
) -> relax.Expr | None:
    """The state before the first step. ONNX Runtime's last state is 0 where there are no steps."""
    if state is None or lengths is None:
        return state
    rows = builder.emit(relax.op.reshape(lengths, (-1, 1)))
    some = builder.emit(relax.op.greater(rows, like(0, lengths)))
    return builder.emit(relax.op.where(some, state, like(0.0, state)))


def _biases(
    builder: relax.BlockBuilder, both: relax.Expr | None, form: Form
) -> tuple[relax.Expr, relax.Expr] | None:
    """Those of the inputs' weights and of the state's, [D, 1, G·H] each."""
    if both is None:
        return None
    each = builder.emit(relax.op.reshape(both, (form.directions, 2, form.gates * form.hidden)))
    of_inputs, of_state = (
        builder.emit(relax.op.strided_slice(each, [1], [at], [at + 1])) for at in range(2)
    )
    return of_inputs, of_state


_KINDS = {
    "LSTM": Kind(lambda attributes: LSTM, ("Sigmoid", "Tanh", "Tanh"), memory=True),
    "GRU": Kind(
        lambda attributes: GRU_RESET_AFTER if attributes.get("linear_before_reset", 0) else GRU,
        ("Sigmoid", "Tanh"),
    ),
    "RNN": Kind(lambda attributes: RNN, ("Tanh",)),
}
RECURRENT = {name: _converter(kind) for name, kind in _KINDS.items()}
