"""Simplifies a network operator by operator: operators without effect are removed, those that
move no data become reshapes, and roundabout forms become the operator that fuses."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import reduce

import numpy as np

from harness.compiler.api import constant_array, operator_name, relax, shape_of
from harness.errors import CellFailure
from harness.passes.rewriter import Rewriter, permutation

_NEUTRAL = {
    "relax.add": -0.0,
    "relax.subtract": 0.0,
    "relax.multiply": 1.0,
    "relax.divide": 1.0,
}
_COMMUTATIVE = {"relax.add", "relax.multiply"}
_OF_MANY: dict[str, Callable[[relax.Expr, relax.Expr], relax.Expr]] = {
    "relax.max": relax.op.maximum,
    "relax.min": relax.op.minimum,
    "relax.sum": relax.op.add,
    "relax.mean": relax.op.add,
}
_RELABELLING = {"relax.permute_dims", "relax.reshape"}


class Simplify(Rewriter):
    """Each operator's own rule; None keeps the call."""

    def rewrite(self, call: relax.Call, original: relax.VarBinding) -> relax.Expr | None:
        name = operator_name(call)
        if name == "relax.permute_dims":
            return self.permuted(call.args[0], permutation(call))
        if name in {"relax.reshape", "relax.broadcast_to"}:
            return call.args[0] if _same_shape(call, original) else None
        if name == "relax.strided_slice":
            return call.args[0] if _same_shape(call, original) and _ascending(call) else None
        if name == "relax.take":
            contiguous = self._contiguous(call, original)
            return _taken_within(call) if contiguous is None else contiguous
        if name in _OF_MANY:
            if call.attrs.axis is not None and _size(call.args[0]) == _size(original.var):
                return relax.op.reshape(call.args[0], shape_of(original.var))
            chain = self._of_many(call, original)
            return self._over_image(call, original) if chain is None else chain
        if name in _NEUTRAL:
            kept = self._neutral(call, original)
            return self._scaled_earlier(call, original) if kept is None else kept
        return None

    def _neutral(self, call: relax.Call, original: relax.VarBinding) -> relax.Expr | None:
        """`x - 0`, `x · 1` and the like, where the constant does not widen `x`. `x + 0` is none of
        floats: it makes 0 of -0."""
        name = operator_name(call)
        for at, kept in ((1, 0), (0, 1)) if name in _COMMUTATIVE else ((1, 0),):
            values = constant_array(call.args[at])
            if (
                values is not None
                and _all_are(values, _NEUTRAL[name])
                and shape_of(call.args[kept]) == shape_of(original.var)
            ):
                return call.args[kept]
        return None

    def _scaled_earlier(self, call: relax.Call, original: relax.VarBinding) -> relax.Expr | None:
        """`transpose(x) · s` as `transpose(x · s)`, where `s` can be folded into a layer."""
        name = operator_name(call)
        if name not in {"relax.multiply", "relax.divide"}:
            return None
        at = 1 if constant_array(call.args[1]) is not None else 0
        values = constant_array(call.args[at])
        value, before = call.args[1 - at], original.value.args[1 - at]
        if (
            values is None
            or values.size != 1
            or (at == 0 and name == "relax.divide")
            or not isinstance(before, relax.Var)
            or self.uses[before] != 1
            or shape_of(value) != shape_of(original.var)
        ):
            return None
        moved = self.source(value)
        if operator_name(moved) not in _RELABELLING:
            return None
        chain = []
        while operator_name(moved) in _RELABELLING:
            chain.append(moved)
            value = moved.args[0]
            moved = self.source(value)
        scalar = relax.const(values.reshape(()), str(values.dtype))
        scaled = self.emit(relax.Call(call.op, [value, scalar], call.attrs))
        for step in reversed(chain):
            scaled = self.emit(
                relax.Call(step.op, [scaled, *step.args[1:]], step.attrs, step.ty_args)
            )
        return scaled

    def _of_many(self, call: relax.Call, original: relax.VarBinding) -> relax.Expr | None:
        """A reduction over values stacked for it, as a chain of binary operators."""
        name, stack = operator_name(call), self.source(call.args[0])
        if operator_name(stack) != "relax.stack" or call.attrs.axis is None:
            return None
        rank = len(shape_of(call.args[0]))
        stacked = int(stack.attrs.axis or 0) % rank
        if [int(axis) % rank for axis in call.attrs.axis] != [stacked] or call.attrs.keepdims:
            return None
        fields = list(stack.args[0].fields)
        build = _OF_MANY[name]
        result = reduce(lambda left, right: self.emit(build(left, right)), fields)
        if name == "relax.mean":
            dtype = str(original.var.ty.dtype)
            result = relax.op.divide(result, relax.const(len(fields), dtype))
        return result

    def _over_image(self, call: relax.Call, original: relax.VarBinding) -> relax.Expr | None:
        """A reduction over all of an image keeps its rank, then drops it, in any layout."""
        rank = len(shape_of(call.args[0]))
        if call.attrs.keepdims or call.attrs.axis is None or rank < 3:
            return None
        axes = sorted(int(axis) % rank for axis in call.attrs.axis)
        if axes != list(range(2, rank)):
            return None
        build = getattr(relax.op, operator_name(call).removeprefix("relax."))
        reduced = self.emit(build(call.args[0], axis=axes, keepdims=True))
        return relax.op.reshape(reduced, shape_of(original.var))

    def _contiguous(self, call: relax.Call, original: relax.VarBinding) -> relax.Expr | None:
        """`take` of one constant index, or of a range without gaps, is a slice."""
        indices = constant_array(call.args[1])
        if indices is None or indices.ndim > 1 or not indices.size or call.attrs.axis is None:
            return None
        shape = shape_of(call.args[0])
        axis = int(call.attrs.axis) % len(shape)
        flat = indices.reshape(-1)
        flat = np.where(flat < 0, flat + shape[axis], flat)
        first, last = int(flat[0]), int(flat[-1])
        if first < 0 or last >= shape[axis] or not np.array_equal(flat, np.arange(first, last + 1)):
            return None
        taken = call.args[0]
        if flat.size != shape[axis]:
            taken = self.emit(
                relax.op.strided_slice(taken, axes=[axis], begin=[first], end=[last + 1])
            )
        return taken if indices.ndim else relax.op.reshape(taken, shape_of(original.var))


def _taken_within(call: relax.Call) -> relax.Expr | None:
    """`take` that counts constant negative indices from the end.

    Raises CellFailure for a constant index beyond the end.
    """
    data, indices, axis = call.args[0], call.args[1], call.attrs.axis
    values = constant_array(indices)
    if values is None or call.attrs.mode != "fast":
        return None
    extent = _size(data) if axis is None else shape_of(data)[int(axis)]
    beyond = values[(values < -extent) | (values >= extent)]
    if beyond.size:
        raise CellFailure(f"element {int(beyond.flat[0])} is taken of an axis of {extent} elements")
    if np.all(values >= 0):
        return None
    positive = relax.const(np.where(values < 0, values + extent, values), str(values.dtype))
    return relax.op.take(data, positive, axis, mode="fast")


def _all_are(values: np.ndarray, number: float) -> bool:
    """Whether all values are a number, zeros of floats with its sign."""
    signs = np.signbit(values) == np.signbit(number) if values.dtype.kind == "f" else True
    return bool(np.all((values == number) & signs))


def _same_shape(call: relax.Call, original: relax.VarBinding) -> bool:
    return shape_of(call.args[0]) == shape_of(original.var)


def _size(value: relax.Expr) -> int:
    return math.prod(shape_of(value))


def _ascending(call: relax.Call) -> bool:
    """Whether a strided slice goes forward; with the shape unchanged it then takes everything."""
    return len(call.args) < 5 or all(int(stride.value) > 0 for stride in call.args[4])
