"""Weights of convolutions and dense layers are packed ahead of time, by vectors of channels."""

from __future__ import annotations

from functools import partial

from harness.compiler.api import constant_array, operator_name, relax, shape_of, tvm
from harness.kernels import packed
from harness.passes.rewriter import Rewriter


class PackWeights(Rewriter):
    """Convolutions (NHWC, one group) and matrix products with constant float32 weights whose output
    channels are a whole number of vectors."""

    def __init__(self, module: tvm.IRModule, lanes: int) -> None:
        super().__init__(module)
        self._lanes = lanes

    def rewrite(self, call: relax.Call, original: relax.VarBinding) -> relax.Expr | None:
        name = operator_name(call)
        if name not in {"relax.nn.conv2d", "relax.matmul"}:
            return None
        weights = constant_array(call.args[1])
        if weights is None or weights.dtype != "float32" or weights.shape[-1] % self._lanes:
            return None
        if name == "relax.matmul":
            if weights.ndim != 2 or len(shape_of(call.args[0])) < 2:
                return None
            kernel, hint = packed.matmul, "matmul"
        else:
            attributes = call.attrs
            layouts = attributes.data_layout, attributes.kernel_layout
            if layouts != ("NHWC", "HWIO") or int(attributes.groups) != 1:
                return None
            kernel = partial(
                packed.conv2d,
                strides=[int(value) for value in attributes.strides],
                padding=[int(value) for value in attributes.padding],
                dilation=[int(value) for value in attributes.dilation],
            )
            hint = "conv2d"
        constant = relax.const(packed.pack(weights, self._lanes))
        return self.builder.call_te(kernel, call.args[0], constant, primfunc_name_hint=hint)
