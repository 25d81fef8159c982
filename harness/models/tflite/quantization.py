"""Real numbers in steps: how each TFLite operator sees them, and the way from one to the other."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum

import numpy as np

from harness.compiler.api import relax, shape_of
from harness.models.tflite.graph import Quantization
from harness.models.tflite.operation import Unsupported


class View(Enum):
    """What an operator sees of quantized tensors: `FLOATS` real numbers, its results are quantized
    again; `STEPS` integers in the steps of its result; `AS_STORED` integers as they are."""

    FLOATS = "floats"
    STEPS = "steps"
    AS_STORED = "as stored"


_STEPS = (
    *("BATCH_TO_SPACE_ND", "BROADCAST_TO", "CONCATENATION", "DEPTH_TO_SPACE", "EXPAND_DIMS"),
    *("DYNAMIC_UPDATE_SLICE", "GATHER", "GATHER_ND", "MAXIMUM", "MAX_POOL_2D", "MINIMUM"),
    *("MIRROR_PAD", "PACK", "PAD", "PADV2", "REDUCE_MAX", "REDUCE_MIN", "RESHAPE"),
    *("RESIZE_NEAREST_NEIGHBOR", "REVERSE_SEQUENCE", "REVERSE_V2", "SELECT", "SELECT_V2", "SLICE"),
    *("SPACE_TO_BATCH_ND", "SPACE_TO_DEPTH", "SPLIT", "SPLIT_V", "SQUEEZE", "STRIDED_SLICE"),
    *("AVERAGE_POOL_2D", "TILE", "TOPK_V2", "TRANSPOSE", "UNPACK"),
)
_AS_STORED = (
    *("ARG_MAX", "ARG_MIN", "BITCAST", "CAST", "DENSIFY", "DEQUANTIZE", "FILL", "QUANTIZE"),
    *("SCATTER_ND", "SHAPE", "ZEROS_LIKE", "HASHTABLE_LOOKUP", "CALL", "IF", "WHILE"),
)
VIEWS = dict.fromkeys(_STEPS, View.STEPS) | dict.fromkeys(_AS_STORED, View.AS_STORED)
"""By operator; of others it is floats. What only moves or selects values needs no arithmetic."""


def array_in_floats(values: np.ndarray, steps: Quantization) -> np.ndarray:
    """The real numbers of a constant."""
    shape = [1] * values.ndim
    if len(steps.scale) > 1:
        shape[steps.axis] = len(steps.scale)
    scale, point = steps.scale.reshape(shape), steps.zero_point.reshape(shape)
    if values.ndim == 0:
        scale, point = scale.reshape(()), point.reshape(())
    exact = (values.astype(np.int64) - point) * scale.astype(np.float64)
    return np.asarray(exact, np.float32)


def in_floats(value: relax.Expr, steps: Quantization) -> relax.Expr:
    """The real numbers of integers."""
    return relax.op.dequantize(value, *_parameters(steps), axis=_axis(value, steps))


def in_steps(value: relax.Expr, steps: Quantization, dtype: str) -> relax.Expr:
    """Real numbers rounded to steps."""
    axis = _axis(value, steps)
    return relax.op.quantize(value, *_parameters(steps), axis=axis, out_dtype=dtype)


def in_other_steps(
    value: relax.Expr, steps: Quantization, others: Quantization, dtype: str
) -> relax.Expr:
    """Integers in the steps of another tensor."""
    return in_steps(in_floats(value, steps), others, dtype)


_BOUNDS: Mapping[int, tuple[float | None, float | None]] = {
    0: (None, None),
    1: (0.0, None),
    2: (-1.0, 1.0),
    3: (0.0, 6.0),
}
"""Of real numbers, by the numbers of `ActivationFunctionType`."""


def within_activation(
    value: relax.Expr, function: int, steps: Quantization, dtype: str
) -> relax.Expr:
    """Integers in steps after an activation that bounds them."""
    if function not in _BOUNDS:
        raise Unsupported(f"activation {function} of integers")
    limits = np.iinfo(dtype)
    low, high = (
        limit if bound is None else round(bound / float(steps.scale[0])) + int(steps.zero_point[0])
        for bound, limit in zip(_BOUNDS[function], (limits.min, limits.max), strict=True)
    )
    low, high = max(low, limits.min), min(high, limits.max)
    if (low, high) == (limits.min, limits.max):
        return value
    return relax.op.clip(value, low, high)


_LEVELS = 255.0
_LOWEST, _HIGHEST = -128.0, 127.0


def rounded_dynamically(value: relax.Expr, rows: int) -> relax.Expr:
    """Floats rounded to 256 levels from the least to the largest of each row, 0 among them, as
    LiteRT does before it multiplies them with integer weights. `rows` counts the first axes, which
    a row each has.

    Source: `xnn_f32_qd8_asymmetric_quantization_params` of XNNPACK, with which LiteRT runs them.
    """
    shape = shape_of(value)
    axes = list(range(rows, len(shape)))

    def number(each: float) -> relax.Expr:
        return relax.const(each, "float32")

    zero = number(0.0)
    least = relax.op.minimum(relax.op.min(value, axes, keepdims=True), zero)
    largest = relax.op.maximum(relax.op.max(value, axes, keepdims=True), zero)
    extent = relax.op.subtract(largest, least)
    flat = relax.op.equal(extent, zero)
    one = number(1.0)
    inverse = relax.op.where(
        flat,
        one,
        relax.op.divide(number(_LEVELS), relax.op.where(flat, one, extent)),
    )
    low, high = relax.op.multiply(least, inverse), relax.op.multiply(largest, inverse)
    errors = relax.op.add(relax.op.add(number(_LOWEST), low), relax.op.add(number(_HIGHEST), high))
    point = relax.op.where(
        relax.op.greater(errors, zero),
        relax.op.subtract(number(_LOWEST), low),
        relax.op.subtract(number(_HIGHEST), high),
    )
    point = relax.op.round(relax.op.clip(point, _LOWEST, _HIGHEST))
    steps = relax.op.add(relax.op.round(relax.op.multiply(value, inverse)), point)
    steps = relax.op.subtract(relax.op.clip(steps, _LOWEST, _HIGHEST), point)
    return relax.op.divide(steps, inverse)


def _parameters(steps: Quantization) -> tuple[relax.Expr, relax.Expr]:
    if len(steps.scale) == 1:
        return (
            relax.const(float(steps.scale[0]), "float32"),
            relax.const(int(steps.zero_point[0]), "int32"),
        )
    return relax.const(steps.scale, "float32"), relax.const(steps.zero_point, "int32")


def _axis(value: relax.Expr, steps: Quantization) -> int:
    return steps.axis if len(steps.scale) > 1 else -1
