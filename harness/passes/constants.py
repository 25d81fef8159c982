"""Evaluates operators on constants with NumPy.

TVM's own FoldConstant compiles a kernel for each such operator, 0.1 s a time; frontends reshape
every bias. Operators that are not listed here are left to it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from harness.compiler.api import constant, constant_array, operator_name, relax, shape_of, tirx
from harness.passes.rewriter import Rewriter, with_arguments

_ELEMENTWISE: dict[str, Callable[..., Any]] = {
    "abs": np.abs,
    "add": np.add,
    "bitwise_and": np.bitwise_and,
    "bitwise_not": np.bitwise_not,
    "bitwise_or": np.bitwise_or,
    "bitwise_xor": np.bitwise_xor,
    "ceil": np.ceil,
    "equal": np.equal,
    "floor": np.floor,
    "greater": np.greater,
    "greater_equal": np.greater_equal,
    "isnan": np.isnan,
    "less": np.less,
    "less_equal": np.less_equal,
    "logical_and": np.logical_and,
    "logical_not": np.logical_not,
    "logical_or": np.logical_or,
    "logical_xor": np.logical_xor,
    "maximum": np.maximum,
    "minimum": np.minimum,
    "multiply": np.multiply,
    "negative": np.negative,
    "not_equal": np.not_equal,
    "rsqrt": lambda value: np.reciprocal(np.sqrt(value)),
    "sqrt": np.sqrt,
    "subtract": np.subtract,
    "where": np.where,
}
_SHAPING: dict[str, Callable[..., Any]] = {
    "broadcast_to": np.broadcast_to,
    "expand_dims": np.reshape,
    "flatten": np.reshape,
    "full": lambda value, shape: np.full(shape, value),
    "reshape": np.reshape,
    "squeeze": np.reshape,
}
"""Functions of an array and the shape of the result."""


_CREATED: dict[str, Callable[..., np.ndarray]] = {"ones": np.ones, "zeros": np.zeros}
"""Functions of the result's shape alone."""


def _converted(call: relax.Call, values: np.ndarray) -> np.ndarray | None:
    """None for floats that no integer of the result's type is: what they become is TVM's to say."""
    dtype = np.dtype(str(call.attrs.dtype))
    if values.dtype.kind == "f" and dtype.kind in "iu":
        limits = np.iinfo(dtype)
        if not np.all((values > limits.min - 1.0) & (values < limits.max + 1.0)):
            return None
    return values.astype(dtype)


def _sliced(call: relax.Call, values: np.ndarray, *_: np.ndarray) -> np.ndarray | None:
    axes, first, last, *rest = ([int(each) for each in part.fields] for part in call.args[1:])
    steps = rest[0] if rest else [1] * len(axes)
    if min(steps, default=1) < 1:
        return None
    parts = [slice(None)] * values.ndim
    for axis, begin, end, step in zip(axes, first, last, steps, strict=True):
        parts[axis] = slice(begin, end, step)
    return values[tuple(parts)]


def _repeated(call: relax.Call, values: np.ndarray) -> np.ndarray:
    axis = call.attrs.axis
    return np.repeat(values, int(call.attrs.repeats), None if axis is None else int(axis))


def _permuted(call: relax.Call, values: np.ndarray) -> np.ndarray:
    return values.transpose(call.attrs.axes and [int(axis) for axis in call.attrs.axes])


def _taken(call: relax.Call, values: np.ndarray, indices: np.ndarray) -> np.ndarray | None:
    """None where an index is outside: what is there is TVM's to say."""
    if call.attrs.axis is None:
        return None
    axis = int(call.attrs.axis)
    extent = values.shape[axis]
    inside = np.all((indices >= -extent) & (indices < extent))
    return np.asarray(values.take(indices, axis=axis)) if inside else None


def _divided(call: relax.Call, left: np.ndarray, right: np.ndarray) -> np.ndarray | None:
    return np.asarray(np.divide(left, right)) if left.dtype.kind == "f" else None


def _floor_divided(call: relax.Call, left: np.ndarray, right: np.ndarray) -> np.ndarray | None:
    exact = left.dtype.kind in "iu" and bool(np.all(right))
    return np.asarray(np.floor_divide(left, right)) if exact else None


def _stacked(call: relax.Call, *arrays: np.ndarray) -> np.ndarray:
    return np.stack(arrays, int(call.attrs.axis or 0))


def _concatenated(call: relax.Call, *arrays: np.ndarray) -> np.ndarray:
    axis = call.attrs.axis
    return np.concatenate(arrays, None if axis is None else int(axis))


_OTHERS: dict[str, Callable[..., np.ndarray | None]] = {
    "astype": _converted,
    "concat": _concatenated,
    "divide": _divided,
    "floor_divide": _floor_divided,
    "permute_dims": _permuted,
    "repeat": _repeated,
    "stack": _stacked,
    "strided_slice": _sliced,
    "take": _taken,
}
"""Functions of a call and its arrays; None leaves the call to TVM."""


class EvaluateConstants(Rewriter):
    """Replaces calls whose arguments are all constant, and static shapes, by their values."""

    def rewrite(self, call: relax.Call, original: relax.VarBinding) -> relax.Expr | None:
        name = operator_name(call)
        if name == "relax.shape_of":
            return relax.ShapeExpr(shape_of(call.args[0]))
        if name == "relax.shape_to_tensor" and isinstance(call.args[0], relax.ShapeExpr):
            return relax.const([int(value) for value in call.args[0].values], "int64")
        with np.errstate(all="ignore"):
            evaluated = _evaluated(name.removeprefix("relax."), call, original)
        if evaluated is None:
            return None
        # Without its type, an array of int64 would become one of int32.
        return relax.const(np.array(evaluated, order="C"), str(original.var.ty.dtype))


def _evaluated(name: str, call: relax.Call, original: relax.VarBinding) -> np.ndarray | None:
    arrays = _arrays(call)
    if arrays is None:
        return None
    if name in _CREATED:
        return _CREATED[name](shape_of(original.var))
    if not arrays:
        return None
    if name in _SHAPING:
        return np.asarray(_SHAPING[name](*arrays, shape_of(original.var)))
    if name in _ELEMENTWISE:
        return np.asarray(_ELEMENTWISE[name](*arrays), dtype=str(original.var.ty.dtype))
    return _OTHERS[name](call, *arrays) if name in _OTHERS else None


def _arrays(call: relax.Call) -> list[np.ndarray] | None:
    """The values of a call's tensors; None where one is no constant."""
    found = []
    for argument in call.args:
        for part in argument.fields if isinstance(argument, relax.Tuple) else [argument]:
            if isinstance(part, (relax.ShapeExpr, tirx.IntImm)):
                continue
            array = constant_array(part)
            if array is None:
                return None
            found.append(array)
    return found


class ZerosAsArrays(Rewriter):
    """Makes a float 0 that is added, multiplies, divides or is divided an array of one value.

    As a number TVM would compute with it when it writes the kernel: any product with 0 is 0 then,
    NaN and infinity too, so is 0 divided by 0, to divide by 0 is an error, and -0 + 0 is -0.
    """

    def rewrite(self, call: relax.Call, original: relax.VarBinding) -> relax.Expr | None:
        if operator_name(call) not in ("relax.add", "relax.multiply", "relax.divide"):
            return None
        arrays = [constant_array(argument) for argument in call.args]
        zeros = [array is not None and array.ndim == 0 and not array for array in arrays]
        if not any(zeros) or str(original.var.ty.dtype).startswith(("int", "uint")):
            return None
        shape = shape_of(original.var)
        ones = (1,) * max(len(shape), 1)
        arguments = [
            constant(array.reshape(ones)) if zero and array is not None else argument
            for argument, array, zero in zip(call.args, arrays, zeros, strict=True)
        ]
        computed = with_arguments(call, arguments)
        return computed if shape else relax.op.reshape(computed, ())
