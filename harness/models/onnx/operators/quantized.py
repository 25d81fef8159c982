"""Quantized operators of ONNX, and of ONNX Runtime's own domain.

Sources: the specifications of the operators, and ONNX Runtime's `MlasQLinearAdd` and
`MlasQLinearMul` for what is rounded in which order.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import onnx

from harness.compiler.api import relax, shape_of
from harness.models.onnx.operators.converter import (
    Builder,
    Converter,
    by_tvm,
    in_either_layout,
)
from harness.models.onnx.operators.integers import (
    BOUNDS,
    Values,
    along,
    cast,
    centred,
    dtype_of,
    dynamically,
    of_columns,
    of_rows,
    product,
    quantized,
    ratio_of,
    real,
    requantized,
    reshaped,
    without_leading,
)
from harness.models.onnx.refusal import Unsupported


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
        yield None if each is None else along(builder, each, shape, place, block)


def _quantize_linear(builder: Builder, inputs: Any, attributes: Any, opset: int) -> relax.Expr:
    x, scale, zero_point = inputs[0], inputs[1], inputs[2]
    axis, block = attributes.get("axis", 1), attributes.get("block_size", 0)
    precision = _given_dtype(attributes, "precision")
    if precision not in (None, "float32"):
        raise Unsupported(f"precision={precision}, expected float32")
    dtype = _given_dtype(attributes, "output_dtype")
    if zero_point is not None:
        dtype = dtype_of(zero_point)
    shape = shape_of(x)
    scale, zero_point = _parameters(builder, (scale, zero_point), shape, axis, block)
    data = reshaped(builder, x, shape or (1,))
    found = quantized(builder, data, scale, zero_point, dtype or "uint8")
    return relax.op.reshape(found, shape)


def _dequantize_linear(builder: Builder, inputs: Any, attributes: Any, opset: int) -> relax.Expr:
    x, scale, zero_point = inputs[0], inputs[1], inputs[2]
    axis, block = attributes.get("axis", 1), attributes.get("block_size", 0)
    dtype = _given_dtype(attributes, "output_dtype") or dtype_of(scale)
    if dtype_of(x) not in (*BOUNDS, "int32"):
        raise Unsupported(f"numbers quantized to {dtype_of(x)}")
    shape = shape_of(x)
    scale, zero_point = _parameters(builder, (scale, zero_point), shape, axis, block)
    data = reshaped(builder, x, shape or (1,))
    found = real(builder, Values(data, scale, zero_point))
    return relax.op.reshape(cast(builder, found, dtype), shape)


def _dynamic_quantize_linear(
    builder: Builder, inputs: Any, attributes: Any, opset: int
) -> relax.Expr:
    shape = shape_of(inputs[0])
    data, scale, zero_point = dynamically(builder, reshaped(builder, inputs[0], shape or (1,)))
    parameters = (reshaped(builder, each, ()) for each in (scale, zero_point))
    return relax.Tuple([reshaped(builder, data, shape), *parameters])


def _matmul_integer(builder: Builder, inputs: Any, attributes: Any, opset: int) -> relax.Expr:
    return product(builder, inputs[0], inputs[1], inputs[2], inputs[3])


def _qlinear_matmul(builder: Builder, inputs: Any, attributes: Any, opset: int) -> relax.Expr:
    left, left_scale, left_zero, right, right_scale, right_zero, scale, zero = (
        inputs[at] for at in range(8)
    )
    total = product(builder, left, right, left_zero, right_zero)
    rows = [of_rows(builder, each) for each in (left_scale, scale)]
    columns = of_columns(builder, right_scale)
    ratio = ratio_of(builder, rows[0], columns, rows[1])
    zero = of_rows(builder, zero)
    ratio, zero = (without_leading(builder, each, total) for each in (ratio, zero))
    return requantized(builder, total, ratio, zero, dtype_of(inputs[7]))


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
        x_zero = along(builder, x_zero, shape_of(x), 0)
    if weights_zero is not None:
        weights_zero = along(builder, weights_zero, shape_of(weights), 0)
    operands = [centred(builder, x, x_zero), centred(builder, weights, weights_zero), None]
    return builder.emit(by_tvm(builder, operands, attributes, opset, "Conv"))


def _conv_integer(builder: Builder, inputs: Any, attributes: Any, opset: int) -> relax.Expr:
    x, weights, x_zero, weights_zero = (inputs[at] for at in range(4))
    return _convolution(builder, x, weights, x_zero, weights_zero, attributes, opset)


def _qlinear_conv(builder: Builder, inputs: Any, attributes: Any, opset: int) -> relax.Expr:
    x, x_scale, x_zero, weights, weights_scale, weights_zero, scale, zero, bias = (
        inputs[at] for at in range(9)
    )
    total = _convolution(builder, x, weights, x_zero, weights_zero, attributes, opset)
    shape = shape_of(total)
    if bias is not None:
        total = builder.emit(relax.op.add(total, along(builder, bias, shape, 1)))
    scales = (along(builder, each, shape, 1) for each in (x_scale, weights_scale, scale))
    return requantized(
        builder, total, ratio_of(builder, *scales), along(builder, zero, shape, 1), dtype_of(zero)
    )


QUANTIZED: dict[str, Converter] = {
    "ConvInteger": _conv_integer,
    "DequantizeLinear": _dequantize_linear,
    "DynamicQuantizeLinear": _dynamic_quantize_linear,
    "MatMulInteger": _matmul_integer,
    "QLinearConv": in_either_layout(_qlinear_conv),
    "QLinearMatMul": _qlinear_matmul,
    "QuantizeLinear": _quantize_linear,
}
