"""Quantized operators: of ONNX, and of ONNX Runtime's own domain.

An integer q stands for the number (q - zero point) · scale. Products of integers are summed exactly
in 32 bits, from operands whose zero points are subtracted first. What is rounded, and in which
order, is as in ONNX Runtime, where the specification leaves it open: one ratio of the scales
multiplies a sum, and halves are rounded to even.

Sources: the specifications of the operators, and ONNX Runtime's `MlasQuantizeLinear`,
`MlasRequantizeOutput`, `GetQuantizationParameter`, `MlasQLinearAdd` and `MlasQLinearMul`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any

import numpy as np
import onnx

from harness.compiler.api import constant, constant_array, relax, shape_of
from harness.models.onnx.operators.converter import Builder, Converter, by_tvm
from harness.models.onnx.refusal import Unsupported

_BOUNDS: Mapping[str, tuple[int, int]] = {
    name: (int(np.iinfo(name).min), int(np.iinfo(name).max))
    for name in ("int8", "uint8", "int16", "uint16")
}
"""The types that numbers are quantized to."""
_LARGEST = float(np.finfo(np.float32).max)


@dataclass(frozen=True)
class _Values:
    """Integers, and what they stand for; scale and zero point broadcast to them."""

    data: relax.Expr
    scale: relax.Expr
    zero_point: relax.Expr | None


def _dtype(value: relax.Expr) -> str:
    return str(value.ty.dtype)


def _cast(builder: Builder, value: relax.Expr, dtype: str) -> relax.Expr:
    return value if _dtype(value) == dtype else builder.emit(relax.op.astype(value, dtype))


def _reshaped(builder: Builder, value: relax.Expr, shape: Sequence[int]) -> relax.Expr:
    return (
        value if shape_of(value) == tuple(shape) else builder.emit(relax.op.reshape(value, shape))
    )


def _one(value: float, dtype: str = "float32") -> relax.Expr:
    """A number as an array of one element. TVM writes scalars into its kernels, where it multiplies
    by the inverse of a divisor, which rounds twice."""
    return constant(np.full(1, value, dtype))


def _is_zero(value: relax.Expr | None) -> bool:
    array = None if value is None else constant_array(value)
    return value is None or (array is not None and not array.any())


def _along(
    builder: Builder, parameter: relax.Expr, shape: Sequence[int], axis: int, block: int = 0
) -> relax.Expr:
    """A scale or a zero point so that it broadcasts to a shape: one of all values, one of each
    index of an axis, or one of each block of an axis. Raises Unsupported."""
    given, rank = shape_of(parameter), max(1, len(shape))
    if math.prod(given) == 1:
        return _reshaped(builder, parameter, (1,) * rank)
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
    return _reshaped(
        builder, parameter, [extent if at == axis else 1 for at, extent in enumerate(shape)]
    )


def _centred(
    builder: Builder, data: relax.Expr, zero_point: relax.Expr | None, dtype: str = "int32"
) -> relax.Expr:
    """Integers less their zero point, which broadcasts to them."""
    wide = _cast(builder, data, dtype)
    if zero_point is None or _is_zero(zero_point):
        return wide
    return builder.emit(relax.op.subtract(wide, _cast(builder, zero_point, dtype)))


def _real(builder: Builder, values: _Values) -> relax.Expr:
    """The numbers that integers stand for, in single precision."""
    centred = _cast(builder, _centred(builder, values.data, values.zero_point), "float32")
    return builder.emit(relax.op.multiply(centred, _cast(builder, values.scale, "float32")))


def _rounded(
    builder: Builder, value: relax.Expr, zero_point: relax.Expr | None, dtype: str
) -> relax.Expr:
    """Numbers of unit scale as integers: the nearest that the type has, halves to even, of NaN the
    least. Raises Unsupported for a type that is not known."""
    if dtype not in _BOUNDS:
        raise Unsupported(f"numbers quantized to {dtype}")
    zero = None if zero_point is None else _cast(builder, zero_point, "int32")
    low, high = (_one(bound, "int32") for bound in _BOUNDS[dtype])
    if zero is not None:
        low, high = (builder.emit(relax.op.subtract(bound, zero)) for bound in (low, high))
    low, high = (_cast(builder, bound, "float32") for bound in (low, high))
    above = builder.emit(relax.op.greater(value, low))
    value = builder.emit(relax.op.where(above, value, low))
    value = builder.emit(relax.op.round(builder.emit(relax.op.minimum(value, high))))
    whole = _cast(builder, value, "int32")
    if zero is not None:
        whole = builder.emit(relax.op.add(whole, zero))
    return _cast(builder, whole, dtype)


def _quantized(
    builder: Builder,
    value: relax.Expr,
    scale: relax.Expr,
    zero_point: relax.Expr | None,
    dtype: str,
) -> relax.Expr:
    """Numbers as integers of a scale and a zero point that broadcast to them."""
    wide = (_cast(builder, each, "float32") for each in (value, scale))
    return _rounded(builder, builder.emit(relax.op.divide(*wide)), zero_point, dtype)


def _apart(builder: Builder, product: relax.Expr) -> relax.Expr:
    """A product that is rounded before something is added to it: the compiler fuses multiplication
    and addition otherwise."""
    return builder.emit(relax.op.minimum(product, _one(_LARGEST)))


def _ratio(builder: Builder, *scales: relax.Expr) -> relax.Expr:
    """The product of all scales but the last, divided by the last."""
    wide = [_cast(builder, scale, "float32") for scale in scales]
    product = reduce(lambda one, other: builder.emit(relax.op.multiply(one, other)), wide[:-1])
    return builder.emit(relax.op.divide(product, wide[-1]))


def _requantized(
    builder: Builder,
    total: relax.Expr,
    ratio: relax.Expr,
    zero_point: relax.Expr | None,
    dtype: str,
) -> relax.Expr:
    """Sums of products as integers of another scale."""
    scaled = relax.op.multiply(_cast(builder, total, "float32"), ratio)
    return _rounded(builder, builder.emit(scaled), zero_point, dtype)


def _given_dtype(attributes: Any, name: str) -> str | None:
    """A data type that an attribute gives as a number of ONNX; None where it gives none."""
    number = attributes.get(name, 0)
    return str(onnx.helper.tensor_dtype_to_np_dtype(number)) if number else None


def _parameters(
    builder: Builder,
    given: Iterable[relax.Expr | None],
    shape: Sequence[int],
    axis: int,
    block: int,
) -> Iterator[relax.Expr | None]:
    """Scale and zero point of an operator whose attributes are these. The axis of a vector may be
    1, the default of the attribute."""
    for each in given:
        place = axis if len(shape) > 1 else 0
        yield None if each is None else _along(builder, each, shape, place, block)


def _quantize_linear(builder: Builder, inputs: Any, attributes: Any, opset: int) -> relax.Expr:
    x, scale, zero_point = inputs[0], inputs[1], inputs[2]
    axis, block = attributes.get("axis", 1), attributes.get("block_size", 0)
    precision = _given_dtype(attributes, "precision")
    if precision not in (None, "float32"):
        raise Unsupported(f"precision={precision}, expected float32")
    dtype = _given_dtype(attributes, "output_dtype")
    if zero_point is not None:
        dtype = _dtype(zero_point)
    shape = shape_of(x)
    scale, zero_point = _parameters(builder, (scale, zero_point), shape, axis, block)
    data = _reshaped(builder, x, shape or (1,))
    found = _quantized(builder, data, scale, zero_point, dtype or "uint8")
    return relax.op.reshape(found, shape)


def _dequantize_linear(builder: Builder, inputs: Any, attributes: Any, opset: int) -> relax.Expr:
    x, scale, zero_point = inputs[0], inputs[1], inputs[2]
    axis, block = attributes.get("axis", 1), attributes.get("block_size", 0)
    dtype = _given_dtype(attributes, "output_dtype") or _dtype(scale)
    if _dtype(x) not in (*_BOUNDS, "int32"):
        raise Unsupported(f"numbers quantized to {_dtype(x)}")
    shape = shape_of(x)
    scale, zero_point = _parameters(builder, (scale, zero_point), shape, axis, block)
    data = _reshaped(builder, x, shape or (1,))
    real = _real(builder, _Values(data, scale, zero_point))
    return relax.op.reshape(_cast(builder, real, dtype), shape)


def _dynamically(builder: Builder, x: relax.Expr) -> tuple[relax.Expr, relax.Expr, relax.Expr]:
    """Numbers quantized to uint8 by their range and 0: the integers, scale and zero point, [1]
    each. The scale of a range of 0 is 1, as in ONNX Runtime; ONNX has 0."""
    zero = _one(0.0)
    high = builder.emit(
        relax.op.maximum(_reshaped(builder, builder.emit(relax.op.max(x)), (1,)), zero)
    )
    low = builder.emit(
        relax.op.minimum(_reshaped(builder, builder.emit(relax.op.min(x)), (1,)), zero)
    )
    scale = builder.emit(relax.op.divide(builder.emit(relax.op.subtract(high, low)), _one(255.0)))
    empty = builder.emit(relax.op.equal(high, low))
    scale = builder.emit(relax.op.where(empty, _one(1.0), scale))
    place = builder.emit(relax.op.subtract(zero, builder.emit(relax.op.divide(low, scale))))
    zero_point = _rounded(builder, place, None, "uint8")
    return _quantized(builder, x, scale, zero_point, "uint8"), scale, zero_point


def _dynamic_quantize_linear(
    builder: Builder, inputs: Any, attributes: Any, opset: int
) -> relax.Expr:
    shape = shape_of(inputs[0])
    data, scale, zero_point = _dynamically(builder, _reshaped(builder, inputs[0], shape or (1,)))
    parameters = (_reshaped(builder, each, ()) for each in (scale, zero_point))
    return relax.Tuple([_reshaped(builder, data, shape), *parameters])


def _of_rows(builder: Builder, parameter: relax.Expr | None) -> relax.Expr | None:
    """A parameter of the left factor of a matrix product, which has one for each row if any."""
    if parameter is None or len(shape_of(parameter)) > 1:
        return parameter
    return _reshaped(builder, parameter, (math.prod(shape_of(parameter)), 1))


def _of_columns(builder: Builder, parameter: relax.Expr | None) -> relax.Expr | None:
    """The same of the right factor, with columns."""
    if parameter is None or shape_of(parameter):
        return parameter
    return _reshaped(builder, parameter, (1,))


def _vector(builder: Builder, value: relax.Expr, parameter: relax.Expr | None) -> relax.Expr | None:
    """A parameter that broadcasts to a factor that may be a vector."""
    if parameter is None or len(shape_of(value)) > 1:
        return parameter
    return _reshaped(builder, parameter, (math.prod(shape_of(parameter)),))


_NARROW = frozenset({"int8", "uint8"})


def _product(
    builder: Builder,
    left: relax.Expr,
    right: relax.Expr,
    left_zero: relax.Expr | None = None,
    right_zero: relax.Expr | None = None,
) -> relax.Expr:
    """A matrix product of integers less their zero points, in 32 bits."""
    dtype = "int16" if {_dtype(left), _dtype(right)} <= _NARROW else "int32"
    left_zero = _vector(builder, left, _of_rows(builder, left_zero))
    right_zero = _vector(builder, right, _of_columns(builder, right_zero))
    factors = (
        _centred(builder, left, left_zero, dtype),
        _centred(builder, right, right_zero, dtype),
    )
    return builder.emit(relax.op.matmul(*factors, out_dtype="int32"))


def _matmul_integer(builder: Builder, inputs: Any, attributes: Any, opset: int) -> relax.Expr:
    return _product(builder, inputs[0], inputs[1], inputs[2], inputs[3])


def _qlinear_matmul(builder: Builder, inputs: Any, attributes: Any, opset: int) -> relax.Expr:
    left, left_scale, left_zero, right, right_scale, right_zero, scale, zero = (
        inputs[at] for at in range(8)
    )
    total = _product(builder, left, right, left_zero, right_zero)
    rows = [_of_rows(builder, each) for each in (left_scale, scale)]
    columns = _of_columns(builder, right_scale)
    ratio = _ratio(builder, rows[0], columns, rows[1])
    zero = _of_rows(builder, zero)
    ratio, zero = (_cut(builder, each, total) for each in (ratio, zero))
    return _requantized(builder, total, ratio, zero, _dtype(inputs[7]))


def _cut(builder: Builder, parameter: relax.Expr, value: relax.Expr) -> relax.Expr:
    """A parameter of no more dimensions than a value, one at least: leading ones are left out."""
    rank = max(1, len(shape_of(value)))
    return _reshaped(builder, parameter, shape_of(parameter)[-rank:])


def _convolution(
    builder: Builder,
    x: relax.Expr,
    weights: relax.Expr,
    x_zero: relax.Expr | None,
    weights_zero: relax.Expr | None,
    attributes: Any,
    opset: int,
) -> relax.Expr:
    """A convolution of integers less their zero points, in 32 bits; the padding stands for 0."""
    if x_zero is not None:
        x_zero = _along(builder, x_zero, shape_of(x), 0)
    if weights_zero is not None:
        weights_zero = _along(builder, weights_zero, shape_of(weights), 0)
    operands = [_centred(builder, x, x_zero), _centred(builder, weights, weights_zero), None]
    return builder.emit(by_tvm(builder, operands, attributes, opset, "Conv"))


def _conv_integer(builder: Builder, inputs: Any, attributes: Any, opset: int) -> relax.Expr:
    x, weights, x_zero, weights_zero = (inputs[at] for at in range(4))
    return _convolution(builder, x, weights, x_zero, weights_zero, attributes, opset)


def _qlinear_conv(builder: Builder, inputs: Any, attributes: Any, opset: int) -> relax.Expr:
    x, x_scale, x_zero, weights, weights_scale, weights_zero, scale, zero, bias = (
        inputs[at] for at in range(9)
    )
    if attributes.get("channels_last", 0):
        raise Unsupported("channels_last=1")
    total = _convolution(builder, x, weights, x_zero, weights_zero, attributes, opset)
    shape = shape_of(total)
    if bias is not None:
        total = builder.emit(relax.op.add(total, _along(builder, bias, shape, 1)))
    scales = (_along(builder, each, shape, 1) for each in (x_scale, weights_scale, scale))
    return _requantized(
        builder, total, _ratio(builder, *scales), _along(builder, zero, shape, 1), _dtype(zero)
    )


QUANTIZED: dict[str, Converter] = {
    "ConvInteger": _conv_integer,
    "DequantizeLinear": _dequantize_linear,
    "DynamicQuantizeLinear": _dynamic_quantize_linear,
    "MatMulInteger": _matmul_integer,
    "QLinearConv": _qlinear_conv,
    "QLinearMatMul": _qlinear_matmul,
    "QuantizeLinear": _quantize_linear,
}
