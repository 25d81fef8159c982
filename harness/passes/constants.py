"""Evaluates operators on constants with NumPy.

TVM's own FoldConstant compiles a kernel for each such operator, 0.1 s a time; frontends reshape
every bias. Operators that are not listed here are left to it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from harness.compiler.api import constant, constant_array, operator_name, relax, shape_of
from harness.passes.rewriter import Rewriter, with_arguments

_ARITHMETIC: dict[str, Callable[..., Any]] = {
    "relax.add": np.add,
    "relax.isnan": np.isnan,
    "relax.less": np.less,
    "relax.multiply": np.multiply,
    "relax.negative": np.negative,
    "relax.sqrt": np.sqrt,
    "relax.rsqrt": lambda value: np.reciprocal(np.sqrt(value)),
    "relax.subtract": np.subtract,
    "relax.where": np.where,
}
_RESHAPES = {"relax.reshape", "relax.expand_dims", "relax.squeeze", "relax.flatten"}


class EvaluateConstants(Rewriter):
    """Replaces calls whose arguments are all constant, and static shapes, by their values."""

    def rewrite(self, call: relax.Call, original: relax.VarBinding) -> relax.Expr | None:
        name = operator_name(call)
        if name == "relax.shape_of":
            return relax.ShapeExpr(shape_of(call.args[0]))
        if name == "relax.shape_to_tensor" and isinstance(call.args[0], relax.ShapeExpr):
            return relax.const([int(value) for value in call.args[0].values], "int64")
        with np.errstate(all="ignore"):
            evaluated = _evaluated(name, call, original)
        if evaluated is None:
            return None
        # Without its type, an array of int64 would become one of int32.
        return relax.const(evaluated.copy(order="C"), str(original.var.ty.dtype))


def _evaluated(name: str, call: relax.Call, original: relax.VarBinding) -> np.ndarray | None:
    arrays = [constant_array(argument) for argument in call.args]
    if not arrays or arrays[0] is None:
        return None
    if name in _RESHAPES:
        return arrays[0].reshape(shape_of(original.var))
    if name == "relax.permute_dims":
        return arrays[0].transpose(call.attrs.axes and [int(axis) for axis in call.attrs.axes])
    known = [array for array in arrays if array is not None]
    if len(known) < len(arrays):
        return None
    if name == "relax.take" and call.attrs.axis is not None:
        values, indices, axis = known[0], known[1], int(call.attrs.axis)
        extent = values.shape[axis]
        inside = np.all((indices >= -extent) & (indices < extent))
        return np.asarray(values.take(indices, axis=axis)) if inside else None
    if name == "relax.divide" and known[0].dtype.kind == "f":
        return np.asarray(np.divide(*known))
    if name in _ARITHMETIC:
        return np.asarray(_ARITHMETIC[name](*known), dtype=str(original.var.ty.dtype))
    return None


class ZerosAsArrays(Rewriter):
    """Makes a float 0 that multiplies, divides or is divided an array of one value.

    As a number TVM would compute with it when it writes the kernel: any product with 0 is 0 then,
    NaN and infinity too, so is 0 divided by 0, and to divide by 0 is an error.
    """

    def rewrite(self, call: relax.Call, original: relax.VarBinding) -> relax.Expr | None:
        if operator_name(call) not in ("relax.multiply", "relax.divide"):
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
