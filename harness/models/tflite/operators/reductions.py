"""Operators of TFLite that reduce an axis, or run along one."""

from __future__ import annotations

from collections.abc import Callable

from harness.compiler.api import relax
from harness.models.tflite.operation import Converter, Operation


def _extreme_place(function: Callable[..., relax.Expr]) -> Converter:
    def convert(operation: Operation) -> relax.Expr:
        (axis,) = operation.integers(1)
        found = function(operation.value(0), axis, keepdims=False)
        return relax.op.astype(found, operation.outputs[0].dtype)

    return convert


def _reduced(function: Callable[..., relax.Expr]) -> Converter:
    def convert(operation: Operation) -> relax.Expr:
        data, keep = operation.value(0), operation.options("ReducerOptions").KeepDims()
        rank = len(operation.shape(0))
        axes = sorted({axis % rank for axis in operation.integers(1)}) if rank else []
        if not axes:
            return data
        return function(data, axes, bool(keep))

    return convert


def _of_booleans(function: Callable[..., relax.Expr]) -> Converter:
    """Reductions of booleans, which TVM has of integers only."""

    def convert(data: relax.Expr, axes: list[int], keep: bool) -> relax.Expr:
        return relax.op.astype(function(relax.op.astype(data, "int8"), axes, keep), "bool")

    return _reduced(convert)


def _cumsum(operation: Operation) -> relax.Expr:
    options = operation.options("CumsumOptions")
    (axis,) = operation.integers(1)
    data, dtype = operation.value(0), operation.outputs[0].dtype
    if options.Reverse():
        data = operation.emit(relax.op.flip(data, axis))
    found = relax.op.cumsum(data, axis, dtype, bool(options.Exclusive()))
    return relax.op.flip(operation.emit(found), axis) if options.Reverse() else found


def _topk(operation: Operation) -> relax.Expr:
    (count,) = operation.integers(1)
    return relax.op.topk(operation.value(0), count, dtype=operation.outputs[1].dtype)


REDUCTIONS: dict[str, Converter] = {
    "ARG_MAX": _extreme_place(relax.op.argmax),
    "ARG_MIN": _extreme_place(relax.op.argmin),
    "CUMSUM": _cumsum,
    "MEAN": _reduced(relax.op.mean),
    "REDUCE_ALL": _of_booleans(relax.op.min),
    "REDUCE_ANY": _of_booleans(relax.op.max),
    "REDUCE_MAX": _reduced(relax.op.max),
    "REDUCE_MIN": _reduced(relax.op.min),
    "REDUCE_PROD": _reduced(relax.op.prod),
    "SUM": _reduced(relax.op.sum),
    "TOPK_V2": _topk,
}
