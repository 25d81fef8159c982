"""Weights of convolutions and dense layers are packed ahead of time, by vectors of channels.

Weights that a narrower type represents exactly are stored in it: where they come from memory, as
those of large dense layers at batch 1 do, reading them is most of the time. Kernels widen a vector
when they read it, so results are the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np

from harness.compiler.api import OUT_FUSABLE, operator_name, relax, shape_of, te, tvm
from harness.compiler.names import constant_like
from harness.kernels import packed
from harness.passes.rewriter import Rewriter
from harness.passes.weighted import PRODUCT, Weighted, weighted


def packs(layer: Weighted, lanes: int) -> bool:
    """Whether a layer's weights are packed, in a network whose channels are last."""
    if layer.weights.dtype != np.float32 or layer.operator not in _PACKED or layer.groups != 1:
        return False
    channels = layer.outputs
    if channels % lanes and not packed.is_worth_filling(channels, lanes):
        return False
    return layer.operator != PRODUCT or len(shape_of(layer.call.args[0])) > 1


_PACKED = (PRODUCT, "relax.nn.conv1d", "relax.nn.conv2d")


def narrowed(weights: np.ndarray, types: Sequence[str]) -> np.ndarray:
    """Weights in the first of some types that has all of their values; as they are if none has."""
    for dtype in types:
        with np.errstate(invalid="ignore", over="ignore"):
            stored = weights.astype(dtype)
        if np.array_equal(stored.astype(weights.dtype), weights):
            return stored
    return weights


class PackWeights(Rewriter):
    """Convolutions (NHWC or NWC, one group) and matrix products with constant float32 weights,
    whose output channels are a whole number of vectors or are better filled up to one; and products
    of two computed matrices of which the latter is so. Weights are stored in the first of the types
    `narrow` that has all of their values, or else as they are."""

    def __init__(self, module: tvm.IRModule, lanes: int, narrow: Sequence[str] = ()) -> None:
        super().__init__(module)
        self._lanes = lanes
        self._narrow = narrow

    def rewrite(self, call: relax.Call, original: relax.VarBinding) -> relax.Expr | None:
        found = weighted(call)
        if found is None:
            return self._computed(call)
        if not (found.channels_last and packs(found, self._lanes)):
            return None
        channels = found.outputs
        if found.operator == PRODUCT:
            kernel, hint = packed.matmul, "matmul"
        else:
            attributes = call.attrs
            kernel = partial(
                packed.convolution,
                strides=[int(value) for value in attributes.strides],
                padding=[int(value) for value in attributes.padding],
                dilation=[int(value) for value in attributes.dilation],
            )
            hint = found.operator.removeprefix("relax.nn.")
        stored = narrowed(found.weights, self._narrow)
        constant = constant_like(call.args[1], packed.pack(stored, self._lanes))
        if channels % self._lanes == 0:
            return self.builder.call_te(kernel, call.args[0], constant, primfunc_name_hint=hint)

        def filled(data: te.Tensor, weights: te.Tensor) -> te.Tensor:
            return packed.first_channels(kernel(data, weights), channels)

        return self._fusable(filled, call.args[0], constant, hint=hint)

    def _computed(self, call: relax.Call) -> relax.Expr | None:
        if operator_name(call) != PRODUCT:
            return None
        left, right = (shape_of(argument) for argument in call.args)
        if (
            any(str(argument.ty.dtype) != "float32" for argument in call.args)
            or min(len(left), len(right)) < 2
            or left[:-2] != right[:-2]
            or not packed.is_worth_filling(right[-1], self._lanes)
        ):
            return None
        kernel = partial(packed.product, lanes=self._lanes)
        return self._fusable(kernel, *call.args, hint="matmul")

    def _fusable(self, kernel: Any, *arguments: relax.Expr, hint: str) -> relax.Expr:
        """A kernel of several parts that elementwise operators may follow in it."""
        return self.builder.call_te(
            kernel,
            *arguments,
            primfunc_name_hint=hint,
            primfunc_attrs={"op_pattern": OUT_FUSABLE},
        )
