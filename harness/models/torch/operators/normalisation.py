"""Normalisations."""

from __future__ import annotations

import math

from harness.compiler.api import relax, shape_of
from harness.models.torch.operators.converter import Call, Converter

op = relax.op


def _normalised(call: Call, x: relax.Expr, axes: list[int], epsilon: float) -> relax.Expr:
    """(x - mean) / √(variance + ε) over axes."""
    mean = call.emit(op.mean(x, axes, keepdims=True))
    spread = call.emit(op.variance(x, axes, keepdims=True))
    scale = op.rsqrt(op.add(spread, relax.const(epsilon, str(x.ty.dtype))))
    return call.emit(op.multiply(op.subtract(x, mean), scale))


def _layer_norm(call: Call) -> relax.Expr:
    x, rank = call.tensor("input"), len(shape_of(call.tensor("input")))
    count = len(call["normalized_shape"])
    axes, dtype = list(range(rank - count, rank)), str(x.ty.dtype)
    gamma, beta = call["weight"], call["bias"]
    if dtype == "float32":
        shape = list(call["normalized_shape"])
        gamma = op.ones(shape, dtype) if gamma is None else gamma
        beta = op.zeros(shape, dtype) if beta is None else beta
        return relax.Tuple([call.emit(op.nn.layer_norm(x, gamma, beta, axes, call["eps"]))])
    found = _normalised(call, x, axes, call["eps"])
    return relax.Tuple([_scaled(call, found, gamma, beta)])


def _group_norm(call: Call) -> relax.Expr:
    x = call.tensor("input")
    shape, groups, dtype = shape_of(x), call["group"], str(x.ty.dtype)
    gamma, beta = call["weight"], call["bias"]
    if dtype == "float32" and len(shape) > 2:
        gamma = op.ones([shape[1]], dtype) if gamma is None else gamma
        beta = op.zeros([shape[1]], dtype) if beta is None else beta
        axes = list(range(2, len(shape)))
        found = op.nn.group_norm(x, gamma, beta, groups, 1, axes, call["eps"])
        return relax.Tuple([call.emit(found)])
    rows = call.reshaped(x, (shape[0], groups, math.prod(shape[1:]) // groups))
    found = call.reshaped(_normalised(call, rows, [2], call["eps"]), shape)
    line = (-1, *([1] * (len(shape) - 2)))
    gamma, beta = (
        None if each is None else call.emit(op.reshape(each, line)) for each in (gamma, beta)
    )
    return relax.Tuple([_scaled(call, found, gamma, beta)])


def _scaled(
    call: Call, x: relax.Expr, gamma: relax.Expr | None, beta: relax.Expr | None
) -> relax.Expr:
    if gamma is not None:
        x = call.emit(op.multiply(x, gamma))
    return x if beta is None else call.emit(op.add(x, beta))


def _norm_of_this_batch(call: Call) -> relax.Expr:
    """Each channel normalised by its own mean and variance: PyTorch makes instance normalisation of
    it, with all samples as channels of one."""
    x = call.tensor("input")
    shape, dtype = shape_of(x), str(x.ty.dtype)
    axes = [axis for axis in range(len(shape)) if axis != 1]
    gamma, beta = call["weight"], call["bias"]
    if dtype == "float32" and shape[0] == 1:
        gamma = op.ones([shape[1]], dtype) if gamma is None else gamma
        beta = op.zeros([shape[1]], dtype) if beta is None else beta
        return relax.Tuple(
            [call.emit(op.nn.instance_norm(x, gamma, beta, 1, axes[1:], call["eps"]))]
        )
    line = (1, -1, *([1] * (len(shape) - 2)))
    gamma, beta = (
        None if each is None else call.emit(op.reshape(each, line)) for each in (gamma, beta)
    )
    return relax.Tuple([_scaled(call, _normalised(call, x, axes, call["eps"]), gamma, beta)])


NORMALISATION: dict[str, Converter] = {
    "_native_batch_norm_legit.no_stats": _norm_of_this_batch,
    "native_layer_norm.default": _layer_norm,
    "native_group_norm.default": _group_norm,
}
