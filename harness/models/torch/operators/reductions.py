"""Reductions, and sums and products along an axis."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from harness.compiler.api import relax, shape_of
from harness.models.torch.operators.converter import Call, Converter, axes_of, dtype_name
from harness.models.torch.refusal import Unsupported

op = relax.op
Reduction = Callable[..., relax.Expr]


def _reduced(call: Call, reduce: Reduction, x: relax.Expr) -> relax.Expr:
    """`x` without the axes that the call names."""
    axes = axes_of(call.arguments.get("dim"), len(shape_of(x)))
    if not axes:
        return x
    return call.emit(reduce(x, axes, keepdims=bool(call.arguments.get("keepdim"))))


def _reduction(reduce: Reduction) -> Converter:
    """A reduction in the type of the result."""
    return lambda call: _reduced(call, reduce, call.tensor("self", call.dtype))


def _largest(reduce: Reduction) -> Converter:
    """The largest or least elements; TVM has no extrema of truth values."""

    def convert(call: Call) -> relax.Expr:
        kind = "int8" if call.dtype == "bool" else call.dtype
        return call.cast(_reduced(call, reduce, call.tensor("self", kind)), call.dtype)

    return convert


def _any(call: Call) -> relax.Expr:
    """Whether any element is not zero; TVM has no maxima of truth values."""
    x = call.tensor("self")
    if str(x.ty.dtype) != "bool":
        x = call.emit(op.not_equal(x, relax.const(0, str(x.ty.dtype))))
    found = call.cast(_reduced(call, op.max, call.cast(x, "int8")), "bool")
    return call.cast(found, call.dtype)  # of uint8, PyTorch gives uint8


def _extreme(reduce: Reduction, position: Reduction) -> Converter:
    """The largest or least elements along an axis, and where they are."""

    def convert(call: Call) -> relax.Expr:
        x, rank = call.tensor("self"), len(call.described["self"].shape)
        if rank == 0:
            return relax.Tuple([x, relax.const(0, "int64")])
        axis, keep = call["dim"] % rank, bool(call["keepdim"])
        kind = str(x.ty.dtype)
        x = call.cast(x, "int8") if kind == "bool" else x
        values = call.cast(call.emit(reduce(x, axis, keepdims=keep)), kind)
        return relax.Tuple([values, _position(call, position, x, axis, keep)])

    return convert


def _position(call: Call, position: Reduction, x: relax.Expr, axis: Any, keep: bool) -> relax.Expr:
    if str(x.ty.dtype) == "bool":
        x = call.cast(x, "int8")
    return call.cast(call.emit(position(x, axis, keepdims=keep)), "int64")


def _where_extreme(position: Reduction) -> Converter:
    """The place along an axis, or among all elements."""

    def convert(call: Call) -> relax.Expr:
        x, axis = call.tensor("self"), call["dim"]
        if axis is None or not shape_of(x):
            flat = call.reshaped(x, [math.prod(shape_of(x))])
            return call.reshaped(_position(call, position, flat, 0, False), call.shape)
        return _position(call, position, x, axis, bool(call["keepdim"]))

    return convert


def _spread(call: Call) -> tuple[relax.Expr, list[int]]:
    """The variance with the call's correction, and the axes."""
    x = call.tensor("self")
    shape, axes = shape_of(x), axes_of(call["dim"], len(shape_of(x)))
    variance = call.emit(op.variance(x, axes, keepdims=bool(call["keepdim"])))
    correction = 1 if call["correction"] is None else call["correction"]
    count = math.prod(shape[axis] for axis in axes)
    left = max(0, count - correction)
    if correction:
        factor = count / left if left else math.nan
        variance = call.emit(op.multiply(variance, relax.const(factor, str(x.ty.dtype))))
    return variance, axes


def _variance(call: Call) -> relax.Expr:
    return _spread(call)[0]


def _variance_and_mean(call: Call) -> relax.Expr:
    variance, axes = _spread(call)
    mean = call.emit(op.mean(call.tensor("self"), axes, keepdims=bool(call["keepdim"])))
    return relax.Tuple([variance, mean])


def _norm(call: Call) -> relax.Expr:
    """The norm of an order: also of order 0, which counts, and of infinite ones."""
    size = call.emit(op.abs(call.tensor("self", call.dtype)))
    return _norm_of(call, size, float(call["ord"]), lambda reduce, x: _reduced(call, reduce, x))


def _norm_of(
    call: Call,
    size: relax.Expr,
    order: float,
    reduced: Callable[[Reduction, relax.Expr], relax.Expr],
) -> relax.Expr:
    dtype = call.dtype
    if math.isinf(order):
        return reduced(op.max if order > 0 else op.min, size)
    if order == 0:
        size = call.cast(call.emit(op.not_equal(size, relax.const(0, dtype))), dtype)
    if order in (0, 1):
        return reduced(op.sum, size)
    if order == 2:
        return call.emit(op.sqrt(reduced(op.sum, call.emit(op.multiply(size, size)))))
    total = reduced(op.sum, call.emit(op.power(size, relax.const(order, dtype))))
    return call.emit(op.power(total, relax.const(1 / order, dtype)))


def _distances(call: Call) -> relax.Expr:
    """The distance of each row of one tensor from each of the other, by a norm of an order."""
    left = call.emit(op.expand_dims(call.tensor("x1"), -2))
    right = call.emit(op.expand_dims(call.tensor("x2"), -3))
    size = call.emit(op.abs(op.subtract(left, right)))
    return _norm_of(call, size, float(call["p"]), lambda reduce, x: call.emit(reduce(x, -1)))


def _running(accumulate: Reduction) -> Converter:
    def convert(call: Call) -> relax.Expr:
        x = call.tensor("self", call.dtype)
        return call.emit(accumulate(x, call["dim"], dtype=call.dtype)) if call.shape else x

    return convert


def _running_extreme(better: Callable[..., relax.Expr]) -> Converter:
    """The largest or least element up to each, and where the last such is: by doubling, elements
    are compared with those 1, 2, 4, … before them."""

    def convert(call: Call) -> relax.Expr:
        x = call.tensor("self")
        shape = shape_of(x)
        if not shape:
            return relax.Tuple([x, relax.const(0, "int64")])
        axis = call["dim"] % len(shape)
        extent, dtype = shape[axis], str(x.ty.dtype)
        line = [extent if at == axis else 1 for at in range(len(shape))]
        places = op.reshape(op.arange(0, extent, 1, "int64"), line)
        places = call.emit(op.broadcast_to(places, shape))
        step = 1
        while step < extent:
            before = [
                call.emit(
                    op.concat(
                        [
                            op.strided_slice(each, [axis], [0], [step]),
                            op.strided_slice(each, [axis], [0], [extent - step]),
                        ],
                        axis=axis,
                    )
                )
                for each in (x, places)
            ]
            keep = better(x, before[0])
            if "float" in dtype:
                keep = op.logical_or(op.isnan(x), op.logical_and(keep, _number(before[0])))
            keep = call.emit(keep)
            x = call.emit(op.where(keep, x, before[0]))
            places = call.emit(op.where(keep, places, before[1]))
            step *= 2
        return relax.Tuple([x, places])

    return convert


def _number(x: relax.Expr) -> relax.Expr:
    return op.logical_not(op.isnan(x))


def _kth(call: Call) -> relax.Expr:
    """The element that `k` others, itself among them, are not greater than."""
    x, axis, count = call.tensor("self"), call["dim"], call["k"]
    if not shape_of(x):
        return relax.Tuple([x, relax.const(0, "int64")])
    return relax.Tuple(_without(call, _ranked(call, x, axis, count), axis))


def _ranked(call: Call, x: relax.Expr, axis: int, count: int) -> list[relax.Expr]:
    """The greatest of the `count` least elements along an axis, which is kept, and its place."""
    least = call.emit(op.topk(x, count, axis, "both", False, "int64"))
    pair = [call.emit(relax.TupleGetItem(least, at)) for at in range(2)]
    return [call.emit(op.strided_slice(each, [axis], [count - 1], [count])) for each in pair]


def _without(call: Call, values: list[relax.Expr], axis: int) -> list[relax.Expr]:
    """Values of which an axis of one element is kept as the call says."""
    if call["keepdim"]:
        return values
    return [call.emit(op.squeeze(each, [axis])) for each in values]


def _median(call: Call) -> relax.Expr:
    """The lower one of two in the middle; NaN where there is one."""
    x = call.tensor("self")
    if not shape_of(x):
        return relax.Tuple([x, relax.const(0, "int64")])
    return relax.Tuple(_without(call, _middle(call, x, call["dim"]), call["dim"]))


def _median_of_all(call: Call) -> relax.Expr:
    x = call.tensor("self")
    flat = call.reshaped(x, (math.prod(shape_of(x)),))
    return call.reshaped(_middle(call, flat, 0)[0], ())


def _middle(call: Call, x: relax.Expr, axis: int) -> list[relax.Expr]:
    found = _ranked(call, x, axis, (shape_of(x)[axis] - 1) // 2 + 1)
    if "float" not in str(x.ty.dtype):
        return found
    last = call.emit(op.max(x, axis, keepdims=True))  # NaN where there is one
    missing = call.emit(op.isnan(last))
    place = _position(call, op.argmax, x, axis, True)
    pairs = zip((last, place), found, strict=True)
    return [call.emit(op.where(missing, one, other)) for one, other in pairs]


def _total(call: Call) -> relax.Expr:
    """A sum: in `dtype` where the call has one."""
    wanted = call.arguments.get("dtype")
    if wanted is not None and dtype_name(wanted) != call.dtype:
        raise Unsupported(f"a sum in {dtype_name(wanted)}")
    return _reduced(call, op.sum, call.tensor("self", call.dtype))


def _histogram(call: Call) -> relax.Expr:
    """How many elements are in each of `bins` equal parts from `min` to `max`, itself included."""
    low, high, bins = call["min"], call["max"], call["bins"]
    if not low < high:
        raise Unsupported("`min` and `max` that are equal, and mean those of the data")
    dtype = call.dtype
    values = call.tensor("self", dtype)
    values = call.reshaped(values, (math.prod(shape_of(values)), 1))
    scaled = op.multiply(op.subtract(values, relax.const(low, dtype)), relax.const(bins, dtype))
    place = op.floor(op.divide(call.emit(scaled), relax.const(high - low, dtype)))
    place = call.emit(op.minimum(place, relax.const(bins - 1, dtype)))
    inside = op.logical_and(
        op.greater_equal(values, relax.const(low, dtype)),
        op.less_equal(values, relax.const(high, dtype)),
    )
    own = op.equal(place, relax.const(np.arange(bins)[None], dtype))
    return call.emit(op.sum(call.cast(call.emit(op.logical_and(own, inside)), dtype), 0))


REDUCTIONS: dict[str, Converter] = {
    "histc.default": _histogram,
    "sum.dim_IntList": _total,
    "mean.default": _reduction(op.mean),
    "mean.dim": _reduction(op.mean),
    "prod.default": _reduction(op.prod),
    "prod.dim_int": _reduction(op.prod),
    "amax.default": _largest(op.max),
    "amin.default": _largest(op.min),
    "max.default": _largest(op.max),
    "min.default": _largest(op.min),
    **{f"any.{form}": _any for form in ("default", "dim", "dims")},
    "max.dim": _extreme(op.max, op.argmax),
    "min.dim": _extreme(op.min, op.argmin),
    "argmax.default": _where_extreme(op.argmax),
    "argmin.default": _where_extreme(op.argmin),
    "var.correction": _variance,
    "var_mean.correction": _variance_and_mean,
    "linalg_vector_norm.default": _norm,
    "_cdist_forward.default": _distances,
    "cumsum.default": _running(op.cumsum),
    "cumprod.default": _running(op.cumprod),
    "cummax.default": _running_extreme(op.greater_equal),
    "cummin.default": _running_extreme(op.less_equal),
    "kthvalue.default": _kth,
    "median.default": _median_of_all,
    "median.dim": _median,
}
