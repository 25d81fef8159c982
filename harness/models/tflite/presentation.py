"""Presents the inputs of an operator as its row of `VIEWS` says, and takes its results back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import tflite

from harness.compiler.api import relax
from harness.models.tflite.graph import Graph, Quantization, Tensor
from harness.models.tflite.quantization import (
    VIEWS,
    View,
    array_in_floats,
    in_floats,
    in_other_steps,
    in_steps,
    rounded_dynamically,
)

_FLOAT32 = 0
"""TFLite's number of the type."""


def _of_images(raw: Any, weights: Tensor) -> int:
    """A convolution that is a product with one matrix rounds each pixel, any other an image."""
    options, table = tflite.Conv2DOptions(), raw.BuiltinOptions()
    options.Init(table.Bytes, table.Pos)
    product = (*weights.shape[1:3], options.StrideH(), options.StrideW()) == (1, 1, 1, 1)
    return 3 if product else 1


_ROUNDED: dict[str, Callable[[Any, Tensor], int]] = {
    "CONV_2D": _of_images,
    "FULLY_CONNECTED": lambda raw, weights: -1,
}
"""Operators with kernels that round floats before they multiply them with integer weights, to how
many first axes these floats have rows of their own for; of -1 it is all but the last."""
_WEIGHTED = frozenset({"CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "CONV_3D"})
_TRANSPOSED = frozenset({"TRANSPOSE_CONV", "CONV_3D_TRANSPOSE"})
_RECURRENT = frozenset({"LSTM", "SVDF", "UNIDIRECTIONAL_SEQUENCE_LSTM"})
_BIASED: dict[str, tuple[int, int, int]] = {
    **dict.fromkeys(_WEIGHTED, (0, 1, 2)),
    **dict.fromkeys(_TRANSPOSED, (2, 1, 3)),
}
"""Operators to their inputs that hold data, weights and a bias in steps of data and weights."""


class Presented(NamedTuple):
    """Values of an operator's inputs, and arrays of those that are constants, by their tensors."""

    values: dict[int, relax.Expr]
    arrays: dict[int, np.ndarray]

    @property
    def types(self) -> dict[int, int]:
        """TFLite's numbers of types that are not the file's."""
        return {
            index: _FLOAT32
            for index, value in self.values.items()
            if str(value.ty.dtype) == "float32"
        }


def present(
    name: str,
    raw: Any,
    inputs: Sequence[Tensor | None],
    outputs: Sequence[Tensor],
    computed: Callable[[int], relax.Expr | None],
    graph: Graph,
    builder: relax.BlockBuilder,
) -> Presented:
    """The inputs of an operator as it sees them. `computed` gives the value of a tensor that is
    none of the graph's constants."""
    view = VIEWS.get(name, View.FLOATS)
    found = Presented({}, {})
    biases = _bias_steps(name, inputs) if view is View.FLOATS else {}
    target = outputs[0].steps if outputs and view is View.STEPS else None
    for tensor in inputs:
        if tensor is None or tensor.index in found.values:
            continue
        value = computed(tensor.index)
        array = graph.constant(tensor.index) if value is None else None
        steps = biases.get(tensor.index, tensor.steps)
        if steps is not None and view is View.FLOATS:
            value = None if value is None else builder.emit(in_floats(value, steps))
            array = None if array is None else array_in_floats(array, steps)
        elif steps is not None and target is not None and not steps.same_steps(target):
            held = relax.const(array, tensor.dtype) if value is None else value
            array = None
            value = builder.emit(in_other_steps(held, steps, target, outputs[0].dtype))
        if array is not None:
            found.arrays[tensor.index] = array
            value = relax.const(array, str(array.dtype))
        if value is not None:
            found.values[tensor.index] = value
    _round_floats(name, raw, inputs, outputs, found, builder)
    return found


def _round_floats(
    name: str,
    raw: Any,
    inputs: Sequence[Tensor | None],
    outputs: Sequence[Tensor],
    found: Presented,
    builder: relax.BlockBuilder,
) -> None:
    """Dynamic range quantization: floats are rounded where weights are integers."""
    if name not in _ROUNDED or any(each is None for each in inputs[:2]):
        return
    data, weights = inputs[0], inputs[1]
    assert data is not None and weights is not None
    if data.dtype == "float32" and weights.steps is not None and outputs[0].dtype == "float32":
        value = found.values[data.index]
        rows = _ROUNDED[name](raw, weights) % len(value.ty.shape)
        found.values[data.index] = builder.emit(rounded_dynamically(value, rows))


def _bias_steps(name: str, inputs: Sequence[Tensor | None]) -> dict[int, Quantization]:
    """The steps of a bias in integers: the product of those of data and weights, if the file does
    not say it."""
    if name in _RECURRENT:
        return {
            each.index: each.scaled
            for each in inputs
            if each is not None and each.dtype == "int32" and each.scaled is not None
        }
    if name not in _BIASED:
        return {}
    data, weights, bias = (inputs[at] if at < len(inputs) else None for at in _BIASED[name])
    if bias is None or weights is None or data is None or not bias.dtype.startswith("int"):
        return {}
    if bias.scaled is not None:
        return {bias.index: Quantization(bias.scaled.scale, bias.scaled.zero_point, 0)}
    if data.steps is None or weights.steps is None:
        return {}
    scale = (data.steps.scale * weights.steps.scale).astype(np.float32)
    return {bias.index: Quantization(scale, np.zeros(scale.shape, np.int32), 0)}


def returned(
    name: str, value: relax.Expr, tensor: Tensor, builder: relax.BlockBuilder
) -> relax.Expr:
    """A result as the graph holds it: in the steps of its tensor."""
    view = VIEWS.get(name, View.FLOATS)
    if tensor.steps is not None and view is View.FLOATS and str(value.ty.dtype) == "float32":
        value = in_steps(value, tensor.steps, tensor.dtype)
    return builder.emit(value) if isinstance(value, relax.Call | relax.TupleGetItem) else value
