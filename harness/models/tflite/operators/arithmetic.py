"""Elementwise operators of TFLite."""

from __future__ import annotations

import numpy as np

from harness.compiler.api import constant, relax
from harness.models.tflite.operation import Converter, Operation


def _like(value: float, other: relax.Expr) -> relax.Expr:
    return constant(np.array(value, str(other.ty.dtype)))


def _prelu(operation: Operation) -> relax.Expr:
    data, slope = operation.value(0), operation.value(1)
    scaled = relax.op.multiply(data, slope)
    return relax.op.where(relax.op.greater_equal(data, _like(0, data)), data, scaled)


def _elu(operation: Operation) -> relax.Expr:
    data = operation.value(0)
    below = relax.op.subtract(relax.op.exp(relax.op.minimum(data, _like(0, data))), _like(1, data))
    return relax.op.where(relax.op.less(data, _like(0, data)), below, data)


def _gelu(operation: Operation) -> relax.Expr:
    approximate = operation.options("GeluOptions").Approximate()
    function = relax.op.nn.gelu_tanh if approximate else relax.op.nn.gelu
    return function(operation.value(0))


def _softmax(operation: Operation) -> relax.Expr:
    beta, data = operation.options("SoftmaxOptions").Beta(), operation.value(0)
    scaled = data if beta == 1 else relax.op.multiply(data, _like(beta, data))
    return relax.op.nn.softmax(scaled, axis=-1)


def _square(operation: Operation) -> relax.Expr:
    return relax.op.multiply(operation.value(0), operation.value(0))


def _squared_difference(operation: Operation) -> relax.Expr:
    apart = operation.emit(relax.op.subtract(operation.value(0), operation.value(1)))
    return relax.op.multiply(apart, apart)


def _cast(operation: Operation) -> relax.Expr:
    data, dtype = operation.value(0), operation.outputs[0].dtype
    if dtype == "bool":
        return relax.op.not_equal(data, _like(0, data))
    return relax.op.astype(data, dtype)


def _l2_normalization(operation: Operation) -> relax.Expr:
    data = operation.value(0)
    length = relax.op.sqrt(relax.op.sum(relax.op.multiply(data, data), -1, keepdims=True))
    return relax.op.divide(data, relax.op.maximum(length, _like(1e-6, data)))


def _sign(operation: Operation) -> relax.Expr:
    return relax.op.sign(operation.value(0))


ARITHMETIC: dict[str, Converter] = {
    "CAST": _cast,
    "ELU": _elu,
    "GELU": _gelu,
    "L2_NORMALIZATION": _l2_normalization,
    "PRELU": _prelu,
    "SIGN": _sign,
    "SOFTMAX": _softmax,
    "SQUARE": _square,
    "SQUARED_DIFFERENCE": _squared_difference,
}
