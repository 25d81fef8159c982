"""Weights of convolutions and dense layers are packed ahead of time, by vectors of channels."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from harness.compiler.api import OUT_FUSABLE, operator_name, relax, shape_of, te, tvm
from harness.compiler.names import constant_like
from harness.kernels import packed
from harness.passes.rewriter import Rewriter
from harness.passes.weighted import PRODUCT, weighted


class PackWeights(Rewriter):
    """Convolutions (NHWC, one group) and matrix products with constant float32 weights, whose
    output channels are a whole number of vectors or are better filled up to one; and products of
    two computed matrices of which the latter is so."""

    def __init__(self, module: tvm.IRModule, lanes: int) -> None:
        super().__init__(module)
        self._lanes = lanes

    def rewrite(self, call: relax.Call, original: relax.VarBinding) -> relax.Expr | None:
        found = weighted(call)
        if found is None:
            return self._computed(call)
        channels = found.outputs
        if (
            not found.channels_last
            or found.weights.dtype != np.float32
            or (channels % self._lanes and not packed.is_worth_filling(channels, self._lanes))
        ):
            return None
        if found.operator == PRODUCT:
            if len(shape_of(call.args[0])) < 2:
                return None
            kernel, hint = packed.matmul, "matmul"
        else:
            attributes = call.attrs
            kernel = partial(
                packed.conv2d,
                strides=[int(value) for value in attributes.strides],
                padding=[int(value) for value in attributes.padding],
                dilation=[int(value) for value in attributes.dilation],
            )
            hint = "conv2d"
        constant = constant_like(call.args[1], packed.pack(found.weights, self._lanes))
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
