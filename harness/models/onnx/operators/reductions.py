"""Reductions."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from harness.compiler.api import constant_array, relax, shape_of
from harness.models.onnx.operators.converter import Builder, Converter, by_tvm, like
from harness.models.onnx.refusal import Unsupported


def _reduction(name: str, single: Callable[[relax.Expr], relax.Expr]) -> Converter:
    """A reduction that, asked to reduce no axis, applies `single` to each element."""

    def convert(builder: Builder, inputs: Any, attributes: Any, opset: int) -> relax.Expr:
        axes = constant_array(inputs[1]) if inputs[1] is not None else attributes.get("axes", ())
        if axes is not None and not len(axes) and attributes.get("noop_with_empty_axes", 0):
            attributes.get("keepdims")  # all are kept
            return single(inputs[0])
        return by_tvm(builder, inputs, attributes, opset, name)

    return convert


def _axes(inputs: Any, attributes: Any) -> list[int] | None:
    """The axes that are reduced; None for all. Raises Unsupported."""
    axes = constant_array(inputs[1]) if inputs[1] is not None else attributes.get("axes", ())
    if axes is None:
        raise Unsupported("its axes depend on the inputs' values")
    none = attributes.get("noop_with_empty_axes", 0)
    return [int(axis) for axis in axes] or ([] if none else None)


def _reduce_log_sum_exp(builder: Builder, inputs: Any, attributes: Any, opset: int) -> relax.Expr:
    """Less than the largest is the exponential of, unless that is infinite or NaN."""
    x = inputs[0]
    over, keep = _axes(inputs, attributes), attributes.get("keepdims", 1)
    if over == []:
        return x
    largest = builder.emit(relax.op.max(x, over, True))
    finite = builder.emit(relax.op.isfinite(largest))
    shift = builder.emit(relax.op.where(finite, largest, like(0.0, x)))
    powers = builder.emit(relax.op.exp(relax.op.subtract(x, shift)))
    logarithm = relax.op.log(relax.op.sum(powers, over, True))
    result = builder.emit(relax.op.add(logarithm, shift))
    return result if keep else relax.op.squeeze(result, over)


def _of_nothing(inputs: Any, attributes: Any) -> tuple[int, ...] | None:
    """The shape of a reduction's result where each of its elements is one of no elements."""
    extents = shape_of(inputs[0])
    over = _axes(inputs, attributes) if 0 in extents else []
    axes = {axis % len(extents) for axis in (range(len(extents)) if over is None else over)}
    left = [1 if at in axes else extent for at, extent in enumerate(extents)]
    if not any(extents[axis] == 0 for axis in axes) or 0 in left:
        return None
    keep = attributes.get("keepdims", 1)
    return tuple(extent for at, extent in enumerate(left) if keep or at not in axes)


def _outermost(dtype: np.dtype, *, least: bool) -> np.ndarray:
    """The least or greatest value of a type."""
    if dtype.kind == "f":
        return np.array(-np.inf if least else np.inf, dtype)
    if dtype.kind == "b":
        return np.array(not least)
    limits = np.iinfo(dtype)
    return np.array(limits.min if least else limits.max, dtype)


def _extremum(name: str) -> Converter:
    """The extremum of booleans is that of 0 and 1, of no elements the type's outermost value."""

    def convert(builder: Builder, inputs: Any, attributes: Any, opset: int) -> relax.Expr:
        if (shape := _of_nothing(inputs, attributes)) is not None:
            dtype = np.dtype(str(inputs[0].ty.dtype))
            outermost = _outermost(dtype, least=name == "ReduceMax")
            return relax.const(np.full(shape, outermost), str(dtype))
        if str(inputs[0].ty.dtype) != "bool":
            return by_tvm(builder, inputs, attributes, opset, name)
        numbers = builder.emit(relax.op.astype(inputs[0], "uint8"))
        found = by_tvm(builder, [numbers, inputs[1]], attributes, opset, name)
        return relax.op.astype(builder.emit(found), "bool")

    return convert


def _reduce_mean(builder: Builder, inputs: Any, attributes: Any, opset: int) -> relax.Expr:
    """Of integers it has their type, and is rounded towards 0; TVM's kernel gives 64 bits."""
    x = inputs[0]
    floats = str(x.ty.dtype).startswith("float")
    if floats and (shape := _of_nothing(inputs, attributes)) is not None:
        return relax.const(np.full(shape, np.nan), str(x.ty.dtype))
    if floats:
        return by_tvm(builder, inputs, attributes, opset, "ReduceMean")
    over = _axes(inputs, attributes)
    keep = bool(attributes.get("keepdims", 1))
    if over == []:
        return x
    extents = shape_of(x)
    count = math.prod(extents[axis] for axis in (range(len(extents)) if over is None else over))
    total = builder.emit(relax.op.sum(x, over, keep))
    return relax.op.divide(total, like(count, x))


def _cumulative(
    function: Callable[..., relax.Expr],
) -> Converter:
    """CumSum and CumProd, also from the end."""

    def convert(builder: Builder, inputs: Any, attributes: Any, opset: int) -> relax.Expr:
        x, axis = inputs[0], constant_array(inputs[1])
        if axis is None:
            raise Unsupported("its axis depends on the inputs' values")
        along = int(axis.reshape(-1)[0]) % len(shape_of(x))
        reverse, exclusive = attributes.get("reverse", 0), bool(attributes.get("exclusive", 0))
        if reverse:
            x = builder.emit(relax.op.flip(x, along))
        found = builder.emit(function(x, along, str(x.ty.dtype), exclusive))
        return relax.op.flip(found, along) if reverse else found

    return convert


REDUCTIONS: dict[str, Converter] = {
    "CumProd": _cumulative(relax.op.cumprod),
    "CumSum": _cumulative(relax.op.cumsum),
    "ReduceL1": _reduction("ReduceL1", relax.op.abs),
    "ReduceL2": _reduction("ReduceL2", relax.op.abs),
    "ReduceLogSum": _reduction("ReduceLogSum", relax.op.log),
    "ReduceLogSumExp": _reduce_log_sum_exp,
    "ReduceMax": _extremum("ReduceMax"),
    "ReduceMean": _reduce_mean,
    "ReduceMin": _extremum("ReduceMin"),
    "ReduceSumSquare": _reduction("ReduceSumSquare", relax.op.square),
}
