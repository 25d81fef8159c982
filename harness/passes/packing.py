"""Weights of convolutions and dense layers are packed ahead of time, by vectors of channels."""

from __future__ import annotations

from functools import partial

import numpy as np

from harness.compiler.api import relax, shape_of, tvm
from harness.compiler.names import constant_like
from harness.kernels import packed
from harness.passes.rewriter import Rewriter
from harness.passes.weighted import PRODUCT, weighted


class PackWeights(Rewriter):
    """Convolutions (NHWC, one group) and matrix products with constant float32 weights whose output
    channels are a whole number of vectors."""

    def __init__(self, module: tvm.IRModule, lanes: int) -> None:
        super().__init__(module)
        self._lanes = lanes

    def rewrite(self, call: relax.Call, original: relax.VarBinding) -> relax.Expr | None:
        found = weighted(call)
        if (
            found is None
            or not found.channels_last
            or found.weights.dtype != np.float32
            or found.outputs % self._lanes
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
        return self.builder.call_te(kernel, call.args[0], constant, primfunc_name_hint=hint)
