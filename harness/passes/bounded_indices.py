"""Keeps gathers and scatters within the tensors that they index, whatever the indices are.

TVM's kernels read and write where an index says. An index that a model computes from its input, or
that a user gives it, may lie outside: ONNX leaves the result open, and a crash is none. Here an
index that is out of range means the nearest element; one from the end, as -1, means the same as in
ONNX and PyTorch.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from harness.compiler.api import constant_array, operator_name, relax, shape_of
from harness.passes.rewriter import Rewriter, with_arguments

_SIGNED = ("int32", "int64")
"""Types of indices that hold every extent, and the number after it."""
_Bounded = Callable[["BoundIndices", relax.Call], list[relax.Expr]]


class BoundIndices(Rewriter):
    """Clamps the indices of all operators that have some, but for constants that are in range."""

    def rewrite(self, call: relax.Call, original: relax.VarBinding) -> relax.Expr | None:
        name = operator_name(call)
        if name == "relax.take":
            return self._bounded_take(call)
        if name not in _OPERATORS:
            return None
        try:
            arguments = _OPERATORS[name](self, call)
        except ValueError:  # a shape that is not static
            return None
        return with_arguments(call, arguments)

    def bounded(self, indices: relax.Expr, extents: Sequence[int]) -> relax.Expr:
        """Indices within the extents of an axis, or of several where the last dimension of the
        indices goes through these."""
        known = constant_array(indices)
        limits = np.asarray(extents[0] if len(extents) == 1 else extents)
        if known is not None and bool(np.all((known >= 0) & (known < limits))):
            return indices
        counted = self._counted(indices, limits)
        dtype = str(counted.ty.dtype)
        low = self.emit(relax.op.maximum(counted, relax.const(0, dtype)))
        return self.emit(relax.op.minimum(low, relax.const(limits - 1, dtype)))

    def _counted(self, indices: relax.Expr, limits: np.ndarray) -> relax.Expr:
        """Indices that are counted from the end where they are negative."""
        if str(indices.ty.dtype) not in _SIGNED:
            indices = self.emit(relax.op.astype(indices, _SIGNED[-1]))
        dtype = str(indices.ty.dtype)
        behind = self.emit(relax.op.add(indices, relax.const(limits, dtype)))
        negative = self.emit(relax.op.less(indices, relax.const(0, dtype)))
        return self.emit(relax.op.where(negative, behind, indices))

    def _bounded_take(self, call: relax.Call) -> relax.Expr | None:
        """`take`, which has a mode that clamps. Constant indices are looked at by `Simplify`."""
        values, indices = call.args
        if call.attrs.mode != "fast" or constant_array(indices) is not None:
            return None
        axis = None if call.attrs.axis is None else int(call.attrs.axis)
        shape = shape_of(values)
        limit = math.prod(shape) if axis is None else shape[axis]
        return relax.op.take(values, self._counted(indices, np.asarray(limit)), axis, mode="clip")


def _along_axis(walker: BoundIndices, call: relax.Call) -> list[relax.Expr]:
    """`gather_elements` and `scatter_elements`: one axis."""
    values, indices, *rest = call.args
    extent = shape_of(values)[int(call.attrs.axis)]
    return [values, walker.bounded(indices, [extent]), *rest]


def _by_places(walker: BoundIndices, call: relax.Call) -> list[relax.Expr]:
    """`gather_nd` and `scatter_nd`: the last dimension of the indices goes through axes."""
    values, indices, *rest = call.args
    first = int(getattr(call.attrs, "batch_dims", 0))
    extents = shape_of(values)[first : first + shape_of(indices)[-1]]
    return [values, walker.bounded(indices, extents), *rest]


def _each_axis(walker: BoundIndices, call: relax.Call) -> list[relax.Expr]:
    """`index_tensor` and `index_put`: a tensor of indices for each of the first axes."""
    values, indices, *rest = call.args
    if not isinstance(indices, relax.Tuple):
        return list(call.args)
    bounded = [
        walker.bounded(each, [extent])
        for each, extent in zip(indices.fields, shape_of(values), strict=False)
    ]
    return [values, relax.Tuple(bounded), *rest]


_OPERATORS: dict[str, _Bounded] = {
    "relax.gather_elements": _along_axis,
    "relax.gather_nd": _by_places,
    "relax.index_put": _each_axis,
    "relax.index_tensor": _each_axis,
    "relax.scatter_elements": _along_axis,
    "relax.scatter_nd": _by_places,
}
