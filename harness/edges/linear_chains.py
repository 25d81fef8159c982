"""Two layers with nothing between them but a bias are one, where that computes less."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from harness.compiler.api import constant, constant_array, operator_name, relax, shape_of, tvm
from harness.compiler.names import constant_like
from harness.passes.rewriter import Rewriter, with_arguments
from harness.passes.weighted import PRODUCT, Weighted, weighted


@dataclass(frozen=True)
class _First:
    """A layer of the new network that may be the first of two; `bias` is
    the number added to each output."""

    layer: Weighted
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
        layer = weighted(call)
        if layer is None or not layer.prunable:
            return None
        positions = math.prod(shape_of(original.var)) // layer.outputs
        source = original.value.args[0]
        first = self._firsts.get(source) if isinstance(source, relax.Var) else None
        if first is not None and self.uses[source] == 1:
            merged = _merged(first, layer, positions)
            if merged is not None:
                return self._emit(merged, original)
        self._firsts[original.var] = _First(layer, positions, np.zeros(layer.outputs))
        return None

    def _with_bias(self, call: relax.Call, original: relax.VarBinding) -> None:
        source, values = original.value.args[0], constant_array(call.args[1])
        if values is None or not isinstance(source, relax.Var) or self.uses[source] != 1:
            return
        first = self._firsts.get(source)
        if first is None or shape_of(source) != shape_of(original.var):
            return
        at = first.layer.channel_axis
        shape = (1,) * (len(shape_of(original.var)) - values.ndim) + values.shape
        if any(extent != 1 for axis, extent in enumerate(shape) if axis != at):
            return
        bias = first.bias + values.reshape(-1)
        self._firsts[original.var] = _First(first.layer, first.positions, bias)

    def _emit(self, merged: _First, original: relax.VarBinding) -> relax.Expr:
        self._firsts[original.var] = merged
        if not merged.bias.any():
            return merged.layer.call
        shape = [1] * len(shape_of(original.var))
        shape[merged.layer.channel_axis] = -1
        bias = constant(merged.bias.reshape(shape).astype(np.float32))
        return relax.op.add(self.emit(merged.layer.call), bias)


def _merged(earlier: _First, second: Weighted, positions: int) -> _First | None:
    """Both layers as one; None where they are not one layer or it would compute more."""
    first = earlier.layer
    if first.operator != second.operator:
        return None
    kept = second
    if second.operator != PRODUCT:
        pointwise = [_is_pointwise(layer) for layer in (first, second)]
        if not any(pointwise):
            return None
        kept = second if pointwise[0] else first
        # Around an image there are zeros where the first layer would have given its bias.
        if earlier.bias.any() and any(int(padding) for padding in second.call.attrs.padding):
            return None
    taps = second.matrix.reshape(-1, first.outputs, second.outputs)
    sources = first.matrix.reshape(-1, first.weights.shape[first.axes[-2]], first.outputs)
    # One of the two has a single tap.
    product = np.einsum("sim,tmo->stio", sources.astype(np.float64), taps.astype(np.float64))
    before = earlier.positions * np.count_nonzero(first.weights) + positions * np.count_nonzero(
        second.weights
    )
    if positions * np.count_nonzero(product) >= before:
        return None
    *tap_shape, _, _ = (kept.weights.shape[axis] for axis in kept.axes)
    ordered = product.reshape(*tap_shape, product.shape[2], product.shape[3])
    weights = np.ascontiguousarray(np.transpose(ordered, np.argsort(kept.axes)), dtype=np.float32)
    constant = constant_like(kept.call.args[1], weights)
    call = with_arguments(kept.call, [first.call.args[0], constant])
    return _First(
        replace(kept, call=call, weights=weights),
        positions,
        np.einsum("m,tmo->o", earlier.bias, taps),
    )


def _is_pointwise(layer: Weighted) -> bool:
    """Whether a convolution sees one place for each of its output, at the same place."""
    attributes = layer.call.attrs
    return (
        all(layer.weights.shape[axis] == 1 for axis in layer.axes[:-2])
        and all(int(stride) == 1 for stride in attributes.strides)
        and not any(int(padding) for padding in attributes.padding)
    )
