"""Pooling."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from harness.compiler.api import constant, relax, shape_of
from harness.models.torch.operators.converter import Call, Converter

op = relax.op


@dataclass(frozen=True)
class _Axis:
    """How windows lie along an axis: `size` of them."""

    length: int
    size: int
    window: int
    stride: int
    padding: int
    dilation: int

    @property
    def places(self) -> np.ndarray:
        """Where in the input the elements of each window are, [size, window]; outside too."""
        starts = np.arange(self.size) * self.stride - self.padding
        return starts[:, None] + np.arange(self.window) * self.dilation

    @property
    def reach(self) -> int:
        """How far the last window reaches beyond the input and its padding, when it is cut there:
        PyTorch rounds up with `ceil_mode`."""
        last = int(self.places[-1, -1])
        return max(0, last + 1 - self.length)


def _axes(call: Call, spatial: int) -> list[_Axis]:
    lengths = shape_of(call.tensor("self"))[-spatial:]
    sizes = _values(call)[-spatial:]
    window = _each(call["kernel_size"], spatial)
    stride = _each(call["stride"] or window, spatial)
    padding = _each(call["padding"], spatial)
    dilation = _each(call.arguments.get("dilation", 1), spatial)
    return [
        _Axis(*each) for each in zip(lengths, sizes, window, stride, padding, dilation, strict=True)
    ]


def _values(call: Call) -> tuple[int, ...]:
    found = call.result[0] if isinstance(call.result, (list, tuple)) else call.result
    return tuple(found.shape)


def _each(value: Any, count: int) -> list[int]:
    given = list(value) if isinstance(value, (list, tuple)) else [value]
    return given * count if len(given) == 1 else given


@dataclass(frozen=True)
class _Pools:
    """TVM's operators for a number of spatial axes, and their names of these."""

    largest: Callable[..., relax.Expr]
    mean: Callable[..., relax.Expr]
    axes: str


_POOLS = {
    1: _Pools(op.nn.max_pool1d, op.nn.avg_pool1d, "W"),
    2: _Pools(op.nn.max_pool2d, op.nn.avg_pool2d, "HW"),
    3: _Pools(op.nn.max_pool3d, op.nn.avg_pool3d, "DHW"),
}


def _batched(call: Call, spatial: int) -> relax.Expr:
    x = call.tensor("self")
    return call.reshaped(x, (1, *shape_of(x))) if len(shape_of(x)) == spatial + 1 else x


def _pooled(
    call: Call, pool: Callable[..., relax.Expr], x: relax.Expr, axes: Sequence[_Axis], **form: Any
) -> relax.Expr:
    """TVM's pooling, padded as far as the windows reach: so it gives as many as PyTorch does."""
    found = pool(
        x,
        [axis.window for axis in axes],
        [axis.stride for axis in axes],
        [axis.padding for axis in axes] + [axis.reach for axis in axes],
        [axis.dilation for axis in axes],
        False,
        layout=f"NC{_POOLS[len(axes)].axes}",
        **form,
    )
    return call.emit(found)


def _largest(spatial: int) -> Converter:
    def convert(call: Call) -> relax.Expr:
        axes, x = _axes(call, spatial), _batched(call, spatial)
        values = _pooled(call, _POOLS[spatial].largest, x, axes)
        return relax.Tuple([call.reshaped(values, _values(call)), _places(call, x, axes)])

    return convert


def _places(call: Call, x: relax.Expr, axes: Sequence[_Axis]) -> relax.Expr:
    """Where each maximum is, in the flattened image: of the first of equal elements."""
    spatial, shape = len(axes), shape_of(x)
    flat: Any = np.zeros((), np.int64)
    inside: Any = np.ones((), bool)
    for at, axis in enumerate(axes):
        line = [1] * (2 * spatial)
        line[at], line[spatial + at] = axis.size, axis.window
        places = axis.places.reshape(line)
        flat = flat * axis.length + np.clip(places, 0, axis.length - 1)
        inside = inside & (places >= 0) & (places < axis.length)
    windows = math.prod(axis.size for axis in axes)
    flat = flat.reshape(windows, -1)
    rows = call.reshaped(x, (*shape[:2], math.prod(shape[2:])))
    taken = op.take(rows, relax.const(flat, "int64"), axis=2)  # [N, C, windows, window]
    low = relax.const(-math.inf if "float" in str(x.ty.dtype) else np.iinfo(str(x.ty.dtype)).min,
                      str(x.ty.dtype))  # fmt: skip
    taken = call.emit(op.where(constant(inside.reshape(windows, -1)), taken, low))
    first = call.cast(call.emit(op.argmax(taken, 3)), "int64")
    within = relax.const(np.arange(windows) * flat.shape[1], "int64")
    found = op.take(relax.const(flat.reshape(-1), "int64"), op.add(first, within), axis=0)
    return call.reshaped(call.emit(found), _values(call))


def _mean(spatial: int) -> Converter:
    """The mean, or the sum over a divisor: with what pads it or without; never with what only
    `ceil_mode` reaches."""

    def convert(call: Call) -> relax.Expr:
        axes, x = _axes(call, spatial), _batched(call, spatial)
        sums = _pooled(call, _POOLS[spatial].mean, x, axes, count_include_pad=True)
        window = math.prod(axis.window for axis in axes)
        counts = _counts(axes, bool(call["count_include_pad"]))
        if call.arguments.get("divisor_override"):
            counts = np.full_like(counts, call["divisor_override"])
        if np.any(counts != window):
            factor = (window / counts).astype(str(x.ty.dtype))
            sums = call.emit(op.multiply(sums, relax.const(factor, str(x.ty.dtype))))
        return call.reshaped(sums, call.shape)

    return convert


def _counts(axes: Sequence[_Axis], padding: bool) -> np.ndarray:
    """How many elements count in each window."""
    result = np.ones((), np.int64)
    for axis in axes:
        low = -axis.padding if padding else 0
        high = axis.length + (axis.padding if padding else 0)
        inside = ((axis.places >= low) & (axis.places < high)).sum(axis=1)
        result = result[..., None] * inside
    return result


def _adaptive_largest(call: Call) -> relax.Expr:
    """Windows that cover the input, of different lengths where the extents do not divide: one axis
    after the other."""
    x = call.tensor("self")
    for axis, size in enumerate(_values(call)):
        x = _covered(call, op.max, x, axis, size)
    return relax.Tuple([x])


def _covered(
    call: Call, reduce: Callable[..., relax.Expr], x: relax.Expr, axis: int, size: int
) -> relax.Expr:
    shape = shape_of(x)
    length = shape[axis]
    if length == size:
        return x
    if length % size == 0:
        split = (*shape[:axis], size, length // size, *shape[axis + 1 :])
        return call.emit(reduce(call.reshaped(x, split), axis + 1))
    parts = []
    for at in range(size):
        start, end = at * length // size, -(-(at + 1) * length // size)
        window = op.strided_slice(x, [axis], [start], [end])
        parts.append(call.emit(reduce(call.emit(window), axis, keepdims=True)))
    return call.emit(op.concat(parts, axis=axis))


POOLING: dict[str, Converter] = {
    **{f"max_pool{rank}d_with_indices.default": _largest(rank) for rank in (2, 3)},
    **{f"avg_pool{rank}d.default": _mean(rank) for rank in (2, 3)},
    **{f"adaptive_max_pool{rank}d.default": _adaptive_largest for rank in (2, 3)},
}
