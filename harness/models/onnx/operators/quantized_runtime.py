"""Quantized operators of ONNX Runtime's own domain.

Sources: the schemas of the operators, and ONNX Runtime's kernels for what is rounded in which
order: sums and products of two values are rounded after their zero point is added, those of more
values before.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from harness.compiler.api import constant_array, relax, shape_of
from harness.models.onnx.operators.converter import (
    Builder,
    Converter,
    by_tvm,
    in_either_layout,
    like,
)
from harness.models.onnx.operators.integers import (
    Values,
    along,
    apart,
    cast,
    centred,
    dtype_of,
    dynamically,
    of_columns,
    one_of,
    product,
    quantized,
    ratio_of,
    real,
    requantized,
    reshaped,
    rounded,
)

_Function = Callable[[Builder, relax.Expr, Any], relax.Expr]


def _number(builder: Builder, parameter: relax.Expr | None) -> relax.Expr:
    """A scale or a zero point of all values, which may be left out, as a float [1]."""
    if parameter is None:
        return one_of(0.0)
    return cast(builder, along(builder, parameter, (1,), 0), "float32")


def _real(
    builder: Builder, x: relax.Expr, scale: relax.Expr, zero_point: relax.Expr | None
) -> relax.Expr:
    """What integers of one scale stand for."""
    scale, zero = (
        None if each is None else along(builder, each, (1,), 0) for each in (scale, zero_point)
    )
    return real(builder, Values(x, scale, zero))


def _quantized(
    builder: Builder,
    value: relax.Expr,
    scale: relax.Expr,
    zero_point: relax.Expr | None,
    dtype: str,
) -> relax.Expr:
    """Numbers as integers of one scale."""
    scale, zero = (
        None if each is None else along(builder, each, (1,), 0) for each in (scale, zero_point)
    )
    return quantized(builder, value, scale, zero, dtype)


def _operands(inputs: Any) -> tuple[list[relax.Expr], relax.Expr, relax.Expr | None]:
    """Both operands, each with scale and zero point; the scale and zero point of the result."""
    return [inputs[at] for at in range(6)], inputs[6], inputs[7]


def _sum(builder: Builder, inputs: Any, attributes: Any, opset: int) -> relax.Expr:
    (a, a_scale, a_zero, b, b_scale, b_zero), scale, zero = _operands(inputs)
    of_a, of_b, of_result = (_number(builder, each) for each in (a_scale, b_scale, scale))
    ratios = [builder.emit(relax.op.divide(each, of_result)) for each in (of_a, of_b)]
    zeros = (
        builder.emit(relax.op.multiply(ratio, _number(builder, each)))
        for ratio, each in zip(ratios, (a_zero, b_zero), strict=True)
    )
    total = builder.emit(relax.op.add(*zeros))
    total = builder.emit(relax.op.subtract(_number(builder, zero), total))
    for ratio, each in ((ratios[1], b), (ratios[0], a)):
        scaled = builder.emit(relax.op.multiply(cast(builder, each, "float32"), ratio))
        total = builder.emit(relax.op.add(scaled, total))
    return rounded(builder, total, None, dtype_of(a))


def _product(builder: Builder, inputs: Any, attributes: Any, opset: int) -> relax.Expr:
    (a, a_scale, a_zero, b, b_scale, b_zero), scale, zero = _operands(inputs)
    of_a, of_b, of_result = (_number(builder, each) for each in (a_scale, b_scale, scale))
    factors = (
        centred(builder, each, None if zero is None else along(builder, zero, (1,), 0))
        for each, zero in ((a, a_zero), (b, b_zero))
    )
    total = cast(builder, builder.emit(relax.op.multiply(*factors)), "float32")
    scaled = builder.emit(relax.op.multiply(total, ratio_of(builder, of_a, of_b, of_result)))
    moved = builder.emit(relax.op.add(apart(builder, scaled), _number(builder, zero)))
    return rounded(builder, moved, None, dtype_of(a))


def _elementwise(function: _Function) -> Converter:
    """The converter of a function of real numbers."""

    def convert(builder: Builder, inputs: Any, attributes: Any, opset: int) -> relax.Expr:
        x = inputs[0]
        value = function(builder, _real(builder, x, inputs[1], inputs[2]), attributes)
        return _quantized(builder, value, inputs[3], inputs[4], dtype_of(x))

    return convert


def _sigmoid(builder: Builder, x: relax.Expr, attributes: Any) -> relax.Expr:
    return builder.emit(relax.op.sigmoid(x))


def _leaky_relu(builder: Builder, x: relax.Expr, attributes: Any) -> relax.Expr:
    return builder.emit(relax.op.nn.leakyrelu(x, float(attributes.get("alpha", 0.01))))


def _softmax(builder: Builder, inputs: Any, attributes: Any, opset: int) -> relax.Expr:
    """Of as many whole steps as 1 has. Before opset 13 of all axes from one on."""
    x, scale, zero = inputs[0], inputs[3], inputs[4]
    shape, given = shape_of(x), int(attributes["opset"])
    axis = int(attributes.get("axis", -1)) % len(shape)
    value = _real(builder, x, inputs[1], inputs[2])
    if given < 13:
        value = reshaped(builder, value, (math.prod(shape[:axis]), math.prod(shape[axis:])))
        axis = 1
    value = builder.emit(relax.op.nn.softmax(value, axis))
    steps = builder.emit(relax.op.divide(one_of(1.0), _number(builder, scale)))
    value = builder.emit(relax.op.multiply(value, builder.emit(relax.op.floor(steps))))
    zero = None if zero is None else along(builder, zero, (1,), 0)
    return reshaped(builder, rounded(builder, value, zero, dtype_of(x)), shape)


def _global_average(builder: Builder, inputs: Any, attributes: Any, opset: int) -> relax.Expr:
    x, x_scale, x_zero, scale, zero = (inputs[at] for at in range(5))
    image = shape_of(x)[2:]
    zero_point = along(builder, x_zero, (1,), 0)
    steps = centred(builder, x, zero_point)
    total = builder.emit(relax.op.sum(steps, list(range(2, 2 + len(image))), keepdims=True))
    size = one_of(float(math.prod(image)))
    whole = builder.emit(relax.op.multiply(_number(builder, scale), size))
    ratio = builder.emit(relax.op.divide(_number(builder, x_scale), whole))
    return requantized(builder, total, ratio, along(builder, zero, (1,), 0), dtype_of(x))


def _average(builder: Builder, inputs: Any, attributes: Any, opset: int) -> relax.Expr:
    x, scale, zero = inputs[0], inputs[3], inputs[4]
    value = apart(builder, _real(builder, x, inputs[1], inputs[2]))
    mean = builder.emit(by_tvm(builder, [value], attributes, opset, "AveragePool"))
    steps = builder.emit(relax.op.divide(mean, _number(builder, scale)))
    moved = builder.emit(relax.op.add(steps, _number(builder, zero)))
    return rounded(builder, moved, None, dtype_of(x))


def _same(one: relax.Expr, other: relax.Expr) -> bool:
    """Whether two parameters are known to be equal."""
    arrays = [constant_array(each) for each in (one, other)]
    first, second = arrays
    return first is not None and second is not None and np.array_equal(first, second)


def _changed(
    builder: Builder,
    x: relax.Expr,
    given: tuple[relax.Expr, relax.Expr],
    wanted: tuple[relax.Expr, relax.Expr],
) -> relax.Expr:
    """Integers as those of another scale and zero point."""
    if all(_same(*pair) for pair in zip(given, wanted, strict=True)):
        return x
    return _quantized(builder, _real(builder, x, *given), *wanted, dtype_of(wanted[1]))


def _concat(builder: Builder, inputs: Any, attributes: Any, opset: int) -> relax.Expr:
    scale, zero, *rest = inputs
    parts = [
        _changed(builder, rest[at], (rest[at + 1], rest[at + 2]), (scale, zero))
        for at in range(0, len(rest), 3)
    ]
    return relax.op.concat(parts, int(attributes["axis"]))


def _where(builder: Builder, inputs: Any, attributes: Any, opset: int) -> relax.Expr:
    condition, *rest = (inputs[at] for at in range(9))
    wanted = (rest[6], rest[7])
    either = (_changed(builder, rest[at], (rest[at + 1], rest[at + 2]), wanted) for at in (0, 3))
    return relax.op.where(condition, *either)


def _scaled(
    builder: Builder, total: relax.Expr, scale: relax.Expr, bias: relax.Expr | None
) -> relax.Expr:
    """Sums of products as real numbers."""
    value = builder.emit(relax.op.multiply(cast(builder, total, "float32"), scale))
    return value if bias is None else builder.emit(relax.op.add(apart(builder, value), bias))


def _dense(builder: Builder, inputs: Any, attributes: Any, opset: int) -> relax.Expr:
    """QGemm: integers if there is a scale of the result, else real numbers."""
    a, a_scale, a_zero, b, b_scale, b_zero, c, scale, zero = (inputs[at] for at in range(9))
    if attributes.get("transA", 0):
        a = builder.emit(relax.op.permute_dims(a))
    if attributes.get("transB", 0):
        b = builder.emit(relax.op.permute_dims(b))
    total = product(builder, a, b, a_zero, b_zero)
    if c is not None:
        total = builder.emit(relax.op.add(total, c))
    factor = builder.emit(
        relax.op.multiply(like(float(attributes.get("alpha", 1.0)), a_scale), a_scale)
    )
    factor = builder.emit(relax.op.multiply(_number(builder, factor), of_columns(builder, b_scale)))
    if scale is None:
        return _scaled(builder, total, factor, None)
    ratio = builder.emit(relax.op.divide(factor, _number(builder, scale)))
    return requantized(builder, total, ratio, along(builder, zero, (1,), 0), dtype_of(zero))


def _matmul_to_real(builder: Builder, inputs: Any, attributes: Any, opset: int) -> relax.Expr:
    a, b, a_scale, b_scale, a_zero, b_zero, bias = (inputs[at] for at in range(7))
    scales = (of_columns(builder, each) for each in (a_scale, b_scale))
    factor = builder.emit(relax.op.multiply(*scales))
    return _scaled(builder, product(builder, a, b, a_zero, b_zero), factor, bias)


def _matmul_of_real(builder: Builder, inputs: Any, attributes: Any, opset: int) -> relax.Expr:
    """DynamicQuantizeMatMul: the left factor is quantized by its range."""
    x, b, b_scale, b_zero, bias = (inputs[at] for at in range(5))
    a, a_scale, a_zero = dynamically(builder, x)
    factor = builder.emit(relax.op.multiply(a_scale, of_columns(builder, b_scale)))
    return _scaled(builder, product(builder, a, b, a_zero, b_zero), factor, bias)


QUANTIZED_RUNTIME: dict[str, Converter] = {
    "DynamicQuantizeMatMul": _matmul_of_real,
    "MatMulIntegerToFloat": _matmul_to_real,
    "QGemm": _dense,
    "QLinearAdd": _sum,
    "QLinearAveragePool": in_either_layout(_average),
    "QLinearConcat": _concat,
    "QLinearGlobalAveragePool": in_either_layout(_global_average),
    "QLinearLeakyRelu": _elementwise(_leaky_relu),
    "QLinearMul": _product,
    "QLinearSigmoid": _elementwise(_sigmoid),
    "QLinearSoftmax": _softmax,
    "QLinearWhere": _where,
}
