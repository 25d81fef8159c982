"""Two layers with nothing between them but a bias are one, where that computes less."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from harness.compiler.api import constant_array, operator_name, relax, shape_of, tvm
from harness.networks.layers import as_matrix, weight_axes
from harness.passes.rewriter import Rewriter


@dataclass(frozen=True)
class _First:
    """A layer that may be the first of two. `call` has its arguments in the new network; `bias` is
    the number added to each output."""

    call: relax.Call
    positions: int
    bias: np.ndarray


class MergeLinearChains(Rewriter):
    """Products of two constant matrices, and convolutions of which one is of 1 × 1, become one.

    Products of a layer with zero do not count: its kernel may leave it out.
    """

    def __init__(self, module: tvm.IRModule) -> None:
        super().__init__(module)
        self._firsts: dict[relax.Var, _First] = {}

    def rewrite(self, call: relax.Call, original: relax.VarBinding) -> relax.Expr | None:
        if operator_name(call) == "relax.add":
            self._with_bias(call, original)
            return None
        axes = weight_axes(call)
        if axes is None:
            return None
        positions = _positions(original.var, shape_of(call.args[1])[axes[-1]])
        source = original.value.args[0]
        first = self._firsts.get(source) if isinstance(source, relax.Var) else None
        if first is not None and self.uses[source] == 1:
            merged = _merged(first, call, positions)
            if merged is not None:
                return self._emit(merged, original)
        bias = np.zeros(shape_of(call.args[1])[axes[-1]])
        self._firsts[original.var] = _First(call, positions, bias)
        return None

    def _with_bias(self, call: relax.Call, original: relax.VarBinding) -> None:
        source, values = original.value.args[0], constant_array(call.args[1])
        if values is None or not isinstance(source, relax.Var) or self.uses[source] != 1:
            return
        first = self._firsts.get(source)
        if first is None or shape_of(source) != shape_of(original.var):
            return
        at = _output_axis(first.call, len(shape_of(original.var)))
        shape = (1,) * (len(shape_of(original.var)) - values.ndim) + values.shape
        if any(extent != 1 for axis, extent in enumerate(shape) if axis != at):
            return
        bias = first.bias + values.reshape(-1)
        self._firsts[original.var] = _First(first.call, first.positions, bias)

    def _emit(self, merged: _First, original: relax.VarBinding) -> relax.Expr:
        self._firsts[original.var] = merged
        if not merged.bias.any():
            return merged.call
        rank = len(shape_of(original.var))
        shape = [1] * rank
        shape[_output_axis(merged.call, rank)] = -1
        bias = relax.const(merged.bias.reshape(shape).astype(np.float32))
        return relax.op.add(self.builder.emit(merged.call), bias)


def _merged(first: _First, second: relax.Call, positions: int) -> _First | None:
    """Both layers as one; None where they are not one layer or it would compute more."""
    outer, inner = weight_axes(first.call), weight_axes(second)
    left, right = constant_array(first.call.args[1]), constant_array(second.args[1])
    assert outer is not None and inner is not None and left is not None and right is not None
    if operator_name(first.call) != operator_name(second):
        return None
    kept = second
    if operator_name(second) != "relax.matmul":
        pointwise = [_is_pointwise(call) for call in (first.call, second)]
        if not any(pointwise):
            return None
        kept = second if pointwise[0] else first.call
        # Around an image there are zeros where the first layer would have given its bias.
        if first.bias.any() and any(int(padding) for padding in second.attrs.padding):
            return None
    taps = as_matrix(right, inner).reshape(-1, left.shape[outer[-1]], right.shape[inner[-1]])
    sources = as_matrix(left, outer).reshape(-1, left.shape[outer[-2]], left.shape[outer[-1]])
    # One of the two has a single tap.
    product = np.einsum("sim,tmo->stio", sources.astype(np.float64), taps.astype(np.float64))
    before = first.positions * np.count_nonzero(left) + positions * np.count_nonzero(right)
    if positions * np.count_nonzero(product) >= before:
        return None
    axes, shaped = (inner, right) if kept is second else (outer, left)
    *tap_shape, _, _ = (shaped.shape[axis] for axis in axes)
    ordered = product.reshape(*tap_shape, product.shape[2], product.shape[3])
    weights = np.ascontiguousarray(np.transpose(ordered, np.argsort(axes)), dtype=np.float32)
    call = relax.Call(kept.op, [first.call.args[0], relax.const(weights)], kept.attrs, kept.ty_args)
    return _First(call, positions, np.einsum("m,tmo->o", first.bias, taps))


def _is_pointwise(call: relax.Call) -> bool:
    """Whether a convolution sees one place for each of its output, at the same place."""
    axes = weight_axes(call)
    assert axes is not None
    return (
        all(shape_of(call.args[1])[axis] == 1 for axis in axes[:-2])
        and all(int(stride) == 1 for stride in call.attrs.strides)
        and not any(int(padding) for padding in call.attrs.padding)
    )


def _output_axis(call: relax.Call, rank: int) -> int:
    if operator_name(call) == "relax.matmul":
        return rank - 1
    return str(call.attrs.out_layout or call.attrs.data_layout).index("C")


def _positions(variable: relax.Var, outputs: int) -> int:
    return int(np.prod(shape_of(variable))) // outputs
