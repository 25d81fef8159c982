"""Group and instance normalisation by the deviations from the mean.

TVM's kernels take E[x²] - E[x]² for the variance: where the mean is far larger than the spread
little is left of it, and it may even be negative. Its layer normalisation takes the deviations.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from harness.compiler.api import relax, shape_of, te, tirx, topi

_NARROW = ("float16", "bfloat16")


def instance_norm(builder: relax.BlockBuilder, call: relax.Call) -> relax.Expr:
    """Legalises relax.nn.instance_norm."""
    shape = shape_of(call.args[0])
    channel = int(call.attrs.channel_axis) % len(shape)
    factors = [1] * len(shape)
    factors[channel] = shape[channel]
    return _normalised(builder, call, shape, factors, _axes(call, len(shape)))


def group_norm(builder: relax.BlockBuilder, call: relax.Call) -> relax.Expr:
    """Legalises relax.nn.group_norm: the channels become two dimensions, groups and the channels of
    one."""
    shape, groups = shape_of(call.args[0]), int(call.attrs.num_groups)
    channel = int(call.attrs.channel_axis) % len(shape)
    before, after = shape[:channel], shape[channel + 1 :]
    split = (groups, shape[channel] // groups)
    factors = [*(1 for _ in before), *split, *(1 for _ in after)]
    axes = [channel + 1, *(axis + (axis > channel) for axis in _axes(call, len(shape)))]
    return _normalised(builder, call, (*before, *split, *after), factors, axes)


def _axes(call: relax.Call, dimensions: int) -> list[int]:
    return [int(axis) % dimensions for axis in call.attrs.axes]


def _normalised(
    builder: relax.BlockBuilder,
    call: relax.Call,
    shape: Sequence[int],
    factors: Sequence[int],
    axes: Sequence[int],
) -> relax.Expr:
    """A call's data, seen in another shape, normalised over axes of that; its scale and offset are
    `factors` in that shape."""
    arguments = (
        _seen_as(builder, argument, extents)
        for argument, extents in zip(call.args, (shape, factors, factors), strict=True)
    )
    name = str(call.op.name).rpartition(".")[2]
    found = builder.emit_te(
        _kernel, *arguments, axes, float(call.attrs.epsilon), primfunc_name_hint=name
    )
    return _seen_as(builder, found, shape_of(call))


def _seen_as(builder: relax.BlockBuilder, value: relax.Expr, shape: Sequence[int]) -> relax.Expr:
    if shape_of(value) == tuple(shape):
        return value
    return builder.emit(relax.op.reshape(value, tuple(shape)))


def _kernel(
    data: te.Tensor, scale: te.Tensor, offset: te.Tensor, axes: Sequence[int], epsilon: float
) -> te.Tensor:
    dtype = str(data.dtype)
    wide = "float32" if dtype in _NARROW else dtype
    if dtype in _NARROW:
        data, scale, offset = (topi.cast(each, wide) for each in (data, scale, offset))
    count = tirx.const(math.prod(int(data.shape[axis]) for axis in axes), wide)

    def mean(of: te.Tensor) -> Any:
        return topi.divide(topi.sum(of, list(axes), keepdims=True), count)

    deviation = topi.subtract(data, mean(data))
    variance = mean(topi.multiply(deviation, deviation))
    normal = topi.multiply(deviation, topi.rsqrt(topi.add(variance, tirx.const(epsilon, wide))))
    result = topi.add(topi.multiply(normal, scale), offset)
    return topi.cast(result, dtype) if dtype in _NARROW else result
