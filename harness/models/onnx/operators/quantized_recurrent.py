"""DynamicQuantizeLSTM of ONNX Runtime: an LSTM whose products are of integers.

The inputs of all steps are quantized together, the states of all rows before each step, by their
ranges. Values are those of ONNX Runtime on one thread: with several it may quantize the rows of a
batch in groups. Source: `DynamicQuantizeLSTM`, `UniDirectionalLstm` and `ComputeGemm` of ONNX
Runtime.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from harness.compiler.api import relax, shape_of
from harness.kernels.rational import logistic, tanh
from harness.kernels.recurrent import LSTM
from harness.kernels.recurrent_steps import LANES
from harness.models.onnx.operators.converter import Builder, Converter
from harness.models.onnx.operators.integers import cast, centred, dynamically, product, reshaped
from harness.models.onnx.operators.recurrent import ACTIVATIONS, Activation, Kind, layer_of
from harness.models.recurrent import Conversion, Layer

_KIND = Kind(
    lambda attributes: LSTM,
    ("Sigmoid", "Tanh", "Tanh"),
    memory=True,
    functions={
        **ACTIVATIONS,
        "sigmoid": Activation(lambda x, a, b: logistic(x, LANES)),
        "tanh": Activation(lambda x, a, b: tanh(x, LANES)),
    },
)
"""Errors of an activation may move the next state by a step, so these are ONNX Runtime's own."""


class _QuantizedConversion(Conversion):
    """A layer with weights of integers; scales of the inputs' weights and of the state's, [D] or
    [D, G·H]."""

    def __init__(
        self, builder: Builder, layer: Layer, scales: tuple[relax.Expr, relax.Expr]
    ) -> None:
        super().__init__(builder, layer)
        self._scales = [self._scale(each) for each in scales]

    def _projected(self) -> relax.Expr:
        form = self._form
        columns = form.directions * form.gates * form.padded
        matrix = self._reshaped(self._padded(self._layer.weights), columns, -1)
        matrix = self._emit(relax.op.permute_dims(matrix))
        data, scale, zero_point = dynamically(self._builder, self._within_lengths())
        rows = self._reshaped(data, form.steps * form.batch, -1)
        total = product(self._builder, rows, matrix, zero_point)
        factor = self._emit(relax.op.multiply(scale, self._reshaped(self._scales[0], columns)))
        found = relax.op.multiply(cast(self._builder, total, form.dtype), factor)
        return self._reshaped(self._emit(found), form.steps, form.batch, columns)

    def _within_lengths(self) -> relax.Expr:
        """The inputs, 0 beyond the longest sequence: those have no part in the range."""
        data, lengths = self._layer.data, self._layer.lengths
        if lengths is None:
            return data
        longest = self._reshaped(self._emit(relax.op.max(lengths)), 1, 1, 1)
        steps = np.arange(self._form.steps).reshape(-1, 1, 1)
        steps = relax.const(steps, str(lengths.ty.dtype))
        within = self._emit(relax.op.less(steps, longest))
        return self._emit(relax.op.where(within, data, relax.const(0.0, self._form.dtype)))

    def _scale(self, scale: relax.Expr) -> relax.Expr:
        """[D, G, P]"""
        form = self._form
        rows = form.gates * form.hidden
        scale = self._reshaped(scale, form.directions, math.prod(shape_of(scale)[1:]))
        return self._padded(self._emit(relax.op.broadcast_to(scale, (form.directions, rows))))

    def _options(self) -> Iterator[relax.Expr]:
        form, biases = self._form, self._layer.biases
        yield from super()._options()
        yield self._scales[1]
        if biases is None:
            yield self._zeros(form.directions, form.gates, form.padded)
        else:
            both = self._emit(relax.op.add(*biases))
            yield self._padded(self._reshaped(both, form.directions, form.gates * form.hidden))


def _as_in_onnx(builder: Builder, weights: relax.Expr, zero_point: relax.Expr) -> relax.Expr:
    """Weights [D, I, G·H] less their zero points, [D] or [D, G·H], as [D, G·H, I]."""
    given = shape_of(zero_point)
    zero = reshaped(builder, zero_point, (given[0], 1, math.prod(given[1:])))
    return builder.emit(relax.op.permute_dims(centred(builder, weights, zero, "int16"), [0, 2, 1]))


def _lstm(builder: Builder, inputs: Any, attributes: Any, opset: int) -> relax.Expr:
    weights = [_as_in_onnx(builder, inputs[at], inputs[zero]) for at, zero in ((1, 9), (2, 11))]
    others = [inputs[at] for at in range(3, 8)]
    layer = layer_of(builder, _KIND, [inputs[0], *weights, *others], attributes)
    layer = replace(layer, form=replace(layer.form, quantized=True))
    conversion = _QuantizedConversion(builder, layer, (inputs[8], inputs[10]))
    return relax.Tuple(conversion.results())


QUANTIZED_RECURRENT: dict[str, Converter] = {"DynamicQuantizeLSTM": _lstm}
