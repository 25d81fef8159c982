"""Arithmetic of quantized numbers in Relax.

An integer q stands for the number (q - zero point) · scale. Products of integers are summed exactly
in 32 bits, from operands whose zero points are subtracted first. What is rounded, and in which
order, is as in ONNX Runtime, where the specification leaves it open: one ratio of the scales
multiplies a sum, and halves are rounded to even.

Sources: ONNX Runtime's `MlasQuantizeLinear`, `MlasRequantizeOutput`, `GetQuantizationParameter`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import reduce

import numpy as np

from harness.compiler.api import constant, constant_array, constant_number, relax, shape_of
from harness.models.onnx.operators.converter import Builder
from harness.models.onnx.refusal import Unsupported

BOUNDS: Mapping[str, tuple[int, int]] = {
    name: (int(np.iinfo(name).min), int(np.iinfo(name).max))
    for name in ("int8", "uint8", "int16", "uint16")
}
"""The types that numbers are quantized to."""
_BYTES = ("int8", "uint8")
_LARGEST = float(np.finfo(np.float32).max)


@dataclass(frozen=True)
class Values:
    """Integers, and what they stand for; scale and zero point broadcast to them."""

    data: relax.Expr
    scale: relax.Expr
    zero_point: relax.Expr | None


def dtype_of(value: relax.Expr) -> str:
    return str(value.ty.dtype)


def cast(builder: Builder, value: relax.Expr, dtype: str) -> relax.Expr:
    return value if dtype_of(value) == dtype else builder.emit(relax.op.astype(value, dtype))


def reshaped(builder: Builder, value: relax.Expr, shape: Sequence[int]) -> relax.Expr:
    if shape_of(value) == tuple(shape):
        return value
    array = constant_array(value)
    if array is not None:
        return constant(array.reshape(tuple(shape)))
    return builder.emit(relax.op.reshape(value, shape))


def one_of(value: float, dtype: str = "float32") -> relax.Expr:
    """A number as an array of one element. TVM writes scalars into its kernels, where it multiplies
    by the inverse of a divisor, which rounds twice."""
    return constant(np.full(1, value, dtype))


def _is_zero(value: relax.Expr | None) -> bool:
    array = None if value is None else constant_array(value)
    return value is None or (array is not None and not array.any())


def along(
    builder: Builder, parameter: relax.Expr, shape: Sequence[int], axis: int, block: int = 0
) -> relax.Expr:
    """A scale or a zero point so that it broadcasts to a shape: one of all values, one of each
    index of an axis, or one of each block of an axis. Raises Unsupported."""
    given, rank = shape_of(parameter), max(1, len(shape))
    if math.prod(given) == 1:
        return reshaped(builder, parameter, (1,) * rank)
    if not -rank <= axis < rank:
        raise Unsupported(f"axis={axis} of {rank} dimensions")
    axis %= rank
    if block:
        wanted = [*shape[:axis], -(-shape[axis] // block), *shape[axis + 1 :]]
        if list(given) != wanted:
            raise Unsupported(f"scales {list(given)} of blocks, expected {wanted}")
        each = builder.emit(relax.op.repeat(parameter, block, axis))
        if shape_of(each)[axis] == shape[axis]:
            return each
        return builder.emit(relax.op.strided_slice(each, [axis], [0], [shape[axis]]))
    if given != (shape[axis],):
        raise Unsupported(f"scales {list(given)} along axis {axis} of {list(shape)}")
    return reshaped(
        builder, parameter, [extent if at == axis else 1 for at, extent in enumerate(shape)]
    )


def centred(
    builder: Builder, data: relax.Expr, zero_point: relax.Expr | None, dtype: str = "int32"
) -> relax.Expr:
    """Integers less their zero point, which broadcasts to them."""
    wide = cast(builder, data, dtype)
    if zero_point is None or _is_zero(zero_point):
        return wide
    return builder.emit(relax.op.subtract(wide, cast(builder, zero_point, dtype)))


def real(builder: Builder, values: Values) -> relax.Expr:
    """The numbers that integers stand for, in single precision. Passes know `dequantize`, which
    8-bit integers of one known scale become."""
    scale = constant_number(values.scale)
    point = 0 if values.zero_point is None else constant_number(values.zero_point)
    if dtype_of(values.data) in _BYTES and scale is not None and point is not None:
        parameters = relax.const(scale, "float32"), relax.const(int(point), "int32")
        return builder.emit(relax.op.dequantize(values.data, *parameters))
    steps = cast(builder, centred(builder, values.data, values.zero_point), "float32")
    return builder.emit(relax.op.multiply(steps, cast(builder, values.scale, "float32")))


def rounded(
    builder: Builder, value: relax.Expr, zero_point: relax.Expr | None, dtype: str
) -> relax.Expr:
    """Numbers of unit scale as integers: the nearest that the type has, halves to even, of NaN the
    least. Raises Unsupported for a type that is not known."""
    if dtype not in BOUNDS:
        raise Unsupported(f"numbers quantized to {dtype}")
    zero = None if zero_point is None else cast(builder, zero_point, "int32")
    low, high = (one_of(bound, "int32") for bound in BOUNDS[dtype])
    if zero is not None:
        low, high = (builder.emit(relax.op.subtract(bound, zero)) for bound in (low, high))
    low, high = (cast(builder, bound, "float32") for bound in (low, high))
    above = builder.emit(relax.op.greater(value, low))
    value = builder.emit(relax.op.where(above, value, low))
    value = builder.emit(relax.op.round(builder.emit(relax.op.minimum(value, high))))
    whole = cast(builder, value, "int32")
    if zero is not None:
        whole = builder.emit(relax.op.add(whole, zero))
    return cast(builder, whole, dtype)


def quantized(
    builder: Builder,
    value: relax.Expr,
    scale: relax.Expr,
    zero_point: relax.Expr | None,
    dtype: str,
) -> relax.Expr:
    """Numbers as integers of a scale and a zero point that broadcast to them."""
    wide = (cast(builder, each, "float32") for each in (value, scale))
    return rounded(builder, builder.emit(relax.op.divide(*wide)), zero_point, dtype)


def apart(builder: Builder, product: relax.Expr) -> relax.Expr:
    """A product that is rounded before something is added to it: the compiler fuses multiplication
    and addition otherwise."""
    return builder.emit(relax.op.minimum(product, one_of(_LARGEST)))


def ratio_of(builder: Builder, *scales: relax.Expr) -> relax.Expr:
    """The product of all scales but the last, divided by the last."""
    wide = [cast(builder, scale, "float32") for scale in scales]
    product = reduce(lambda one, other: builder.emit(relax.op.multiply(one, other)), wide[:-1])
    return builder.emit(relax.op.divide(product, wide[-1]))


def requantized(
    builder: Builder,
    total: relax.Expr,
    ratio: relax.Expr,
    zero_point: relax.Expr | None,
    dtype: str,
) -> relax.Expr:
    """Sums of products as integers of another scale."""
    scaled = relax.op.multiply(cast(builder, total, "float32"), ratio)
    return rounded(builder, builder.emit(scaled), zero_point, dtype)


def dynamically(builder: Builder, x: relax.Expr) -> tuple[relax.Expr, relax.Expr, relax.Expr]:
    """Numbers quantized to uint8 by their range and 0: the integers, scale and zero point, [1]
    each. The scale of a range of 0 is 1, as in ONNX Runtime; ONNX has 0."""
    zero = one_of(0.0)
    high = builder.emit(
        relax.op.maximum(reshaped(builder, builder.emit(relax.op.max(x)), (1,)), zero)
    )
    low = builder.emit(
        relax.op.minimum(reshaped(builder, builder.emit(relax.op.min(x)), (1,)), zero)
    )
    scale = builder.emit(relax.op.divide(builder.emit(relax.op.subtract(high, low)), one_of(255.0)))
    empty = builder.emit(relax.op.equal(high, low))
    scale = builder.emit(relax.op.where(empty, one_of(1.0), scale))
    place = builder.emit(relax.op.subtract(zero, builder.emit(relax.op.divide(low, scale))))
    zero_point = rounded(builder, place, None, "uint8")
    return quantized(builder, x, scale, zero_point, "uint8"), scale, zero_point


def of_rows(builder: Builder, parameter: relax.Expr | None) -> relax.Expr | None:
    """A parameter of the left factor of a matrix product, which has one for each row if any."""
    if parameter is None or len(shape_of(parameter)) > 1:
        return parameter
    return reshaped(builder, parameter, (math.prod(shape_of(parameter)), 1))


def of_columns(builder: Builder, parameter: relax.Expr | None) -> relax.Expr | None:
    """The same of the right factor, with columns."""
    if parameter is None or shape_of(parameter):
        return parameter
    return reshaped(builder, parameter, (1,))


def _vector(builder: Builder, value: relax.Expr, parameter: relax.Expr | None) -> relax.Expr | None:
    """A parameter that broadcasts to a factor that may be a vector."""
    if parameter is None or len(shape_of(value)) > 1:
        return parameter
    return reshaped(builder, parameter, (math.prod(shape_of(parameter)),))


def _fits(value: relax.Expr, zero_point: relax.Expr | None) -> bool:
    """Whether integers less their zero point have 16 bits."""
    dtype = dtype_of(value)
    return dtype in ("int8", "uint8") or (dtype == "int16" and _is_zero(zero_point))


def product(
    builder: Builder,
    left: relax.Expr,
    right: relax.Expr,
    left_zero: relax.Expr | None = None,
    right_zero: relax.Expr | None = None,
) -> relax.Expr:
    """A matrix product of integers less their zero points, in 32 bits."""
    narrow = _fits(left, left_zero) and _fits(right, right_zero)
    dtype = "int16" if narrow else "int32"
    left_zero = _vector(builder, left, of_rows(builder, left_zero))
    right_zero = _vector(builder, right, of_columns(builder, right_zero))
    factors = (
        centred(builder, left, left_zero, dtype),
        centred(builder, right, right_zero, dtype),
    )
    return builder.emit(relax.op.matmul(*factors, out_dtype="int32"))


def without_leading(builder: Builder, parameter: relax.Expr, value: relax.Expr) -> relax.Expr:
    """A parameter of no more dimensions than a value, one at least: leading ones are left out."""
    rank = max(1, len(shape_of(value)))
    return reshaped(builder, parameter, shape_of(parameter)[-rank:])
