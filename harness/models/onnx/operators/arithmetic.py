"""Elementwise operators."""

from __future__ import annotations

from functools import reduce
from typing import Any

import numpy as np

from harness.compiler.api import constant, constant_array, relax, shape_of
from harness.models.onnx.operators.converter import Builder, Converter, by_tvm, like

_SERIES_TERMS = {"float16": 4, "float32": 8, "float64": 17}
"""Of artanh up to 1/3, for the precision of a dtype."""
_MOST_FACTORS = 64
"""Integer powers up to this are products."""


def _celu(builder: Builder, inputs: Any, attributes: Any, opset: int) -> relax.Expr:
    x, zero = inputs[0], like(0.0, inputs[0])
    alpha = like(attributes.get("alpha", 1.0), x)
    below = relax.op.subtract(relax.op.exp(relax.op.divide(x, alpha)), like(1.0, x))
    below = relax.op.minimum(relax.op.multiply(alpha, below), zero)
    return relax.op.add(relax.op.maximum(x, zero), below)


def _clip(builder: Builder, inputs: Any, attributes: Any, opset: int) -> relax.Expr:
    """Bounds are attributes before opset 11. A bound of NaN is none."""
    x = inputs[0]
    if opset < 11:
        low, high = (attributes.get("min", -np.inf), attributes.get("max", np.inf))
        bounds = [like(low, x) if np.isfinite(low) else None]
        bounds.append(like(high, x) if np.isfinite(high) else None)
    else:
        bounds = [inputs[1], inputs[2]]
    for bound, limited, unlimited in zip(
        bounds, (relax.op.maximum, relax.op.minimum), (-np.inf, np.inf), strict=True
    ):
        if bound is None:
            continue
        if str(x.ty.dtype).startswith("float"):
            values = constant_array(bound)
            if values is None:
                bound = relax.op.where(relax.op.isnan(bound), like(unlimited, x), bound)
            elif np.isnan(values).any():
                continue
        x = builder.emit(limited(x, bound))
    return x


def _gemm(builder: Builder, inputs: Any, attributes: Any, opset: int) -> relax.Expr:
    """Where `beta` is 0 there is no addend, whatever its values are."""
    left, right, addend = (inputs[at] for at in range(3))
    if attributes.get("beta", 1.0) == 0:
        addend = None
    return by_tvm(builder, [left, right, addend], attributes, opset, "Gemm")


def _is_infinite(builder: Builder, inputs: Any, attributes: Any, opset: int) -> relax.Expr:
    x = inputs[0]
    signs = [
        sign
        for name, sign in (("detect_negative", -np.inf), ("detect_positive", np.inf))
        if attributes.get(name, 1)
    ]
    if not signs:
        return constant(np.zeros(shape_of(x), bool))
    return reduce(
        lambda left, right: builder.emit(relax.op.logical_or(left, right)),
        [builder.emit(relax.op.equal(x, like(sign, x))) for sign in signs],
    )


def _modulo(builder: Builder, inputs: Any, attributes: Any, opset: int) -> relax.Expr:
    """A float's remainder has the sign of the dividend with `fmod`, of the divisor without."""
    x, divisor = inputs[0], inputs[1]
    if attributes.get("fmod", 0) or not str(x.ty.dtype).startswith("float"):
        return by_tvm(builder, inputs, attributes, opset, "Mod")
    zero = like(0.0, x)
    rest = builder.emit(relax.op.mod(x, divisor))
    sides = [builder.emit(relax.op.less(each, zero)) for each in (rest, divisor)]
    other = builder.emit(relax.op.logical_xor(*sides))
    moved = builder.emit(relax.op.logical_and(other, builder.emit(relax.op.not_equal(rest, zero))))
    return relax.op.where(moved, builder.emit(relax.op.add(rest, divisor)), rest)


def _power(builder: Builder, inputs: Any, attributes: Any, opset: int) -> relax.Expr:
    """The result has the base's type; integers are products where the power is a small constant,
    and computed in double precision otherwise, as ONNX Runtime does."""
    base, exponent = inputs[0], inputs[1]
    dtype, values = str(base.ty.dtype), constant_array(exponent)
    if dtype.startswith("float"):
        if str(exponent.ty.dtype) != dtype:
            exponent = relax.op.astype(exponent, dtype)
        return relax.op.power(base, exponent)
    if values is not None and values.ndim == 0 and float(values) in range(1, _MOST_FACTORS + 1):
        return _product(builder, base, int(values))
    wide = [builder.emit(relax.op.astype(each, "float64")) for each in (base, exponent)]
    return relax.op.astype(builder.emit(relax.op.power(*wide)), dtype)


def _product(builder: Builder, base: relax.Expr, factors: int) -> relax.Expr:
    """A power by repeated squaring."""
    result, square = None, base
    while factors:
        if factors % 2:
            result = square if result is None else builder.emit(relax.op.multiply(result, square))
        factors //= 2
        if factors:
            square = builder.emit(relax.op.multiply(square, square))
    return result


def _sign(builder: Builder, inputs: Any, attributes: Any, opset: int) -> relax.Expr:
    """TVM has none of numbers without a sign."""
    x = inputs[0]
    if str(x.ty.dtype).startswith("uint"):
        return relax.op.minimum(x, like(1, x))
    return relax.op.sign(x)


def _softplus(builder: Builder, inputs: Any, attributes: Any, opset: int) -> relax.Expr:
    """max(x, 0) + log(1 + y) of y = e^-|x|, which is 2·artanh(s) of s = y / (2 + y) ≤ 1/3, a series
    whose last term here is below the rounding of a float: neither is infinite or 0 too early."""
    x = inputs[0]
    y = builder.emit(relax.op.exp(relax.op.negative(relax.op.abs(x))))
    s = builder.emit(relax.op.divide(y, relax.op.add(like(2.0, x), y)))
    square = builder.emit(relax.op.multiply(s, s))
    terms = _SERIES_TERMS[str(x.ty.dtype)]
    series = like(2 / (2 * terms - 1), x)
    for term in reversed(range(1, terms)):
        scaled = builder.emit(relax.op.multiply(series, square))
        series = builder.emit(relax.op.add(scaled, like(2 / (2 * term - 1), x)))
    return relax.op.add(relax.op.maximum(x, like(0.0, x)), relax.op.multiply(series, s))


def _thresholded_relu(builder: Builder, inputs: Any, attributes: Any, opset: int) -> relax.Expr:
    x = inputs[0]
    above = builder.emit(relax.op.greater(x, like(attributes.get("alpha", 1.0), x)))
    return relax.op.where(above, x, like(0.0, x))


ARITHMETIC: dict[str, Converter] = {
    "Celu": _celu,
    "Clip": _clip,
    "Gemm": _gemm,
    "IsInf": _is_infinite,
    "Mod": _modulo,
    "Pow": _power,
    "Sign": _sign,
    "Softplus": _softplus,
    "ThresholdedRelu": _thresholded_relu,
}
