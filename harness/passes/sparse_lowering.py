"""Operators whose weights are zero in whole blocks become kernels that leave those blocks out."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection
from functools import partial
from typing import Any

import numpy as np

from harness.compiler.api import OUT_FUSABLE, constant, relax, shape_of, tvm
from harness.compiler.names import constant_like, name_of
from harness.kernels import block_sparse
from harness.passes.rewriter import Rewriter
from harness.passes.weighted import PRODUCT, weighted

HAS_SPARSE_KERNELS = (PRODUCT, "relax.nn.conv2d")
_MOST_KEPT = 0.65
"""With more blocks than this the layer stays dense: an input is loaded for each vector of weights,
where the dense kernel has several share it. With as many, 15 of the 16 layers of
`benchmarks/sparse_kernels.py` were faster on AVX2; other targets were not measured."""
_MOST_KEPT_WIDE = 0.9
"""The same for wide blocks: with as many, all of those layers were faster, by 7 % in the median."""


class LowerSparse(Rewriter):
    """Convolutions (NHWC, one group) and matrix products with constant float32 weights that are
    zero in enough blocks of `lanes` outputs, or in enough wide ones, except the layers that `dense`
    names."""

    def __init__(
        self, module: tvm.IRModule, lanes: int, dense: Collection[str] = frozenset()
    ) -> None:
        super().__init__(module)
        self._lanes = lanes
        self._dense = dense

    def rewrite(self, call: relax.Call, original: relax.VarBinding) -> relax.Expr | None:
        found = weighted(call)
        if (
            found is None
            or found.operator not in HAS_SPARSE_KERNELS
            or not found.channels_last
            or found.weights.dtype != np.float32
            or name_of(call.args[1]) in self._dense
        ):
            return None
        matrix = found.matrix
        kernel: Any
        place: Callable[[np.ndarray], np.ndarray] = np.asarray
        if found.operator == PRODUCT:
            kernel, hint = block_sparse.matmul, "matmul"
        else:
            *taps, _, _ = found.weights.shape
            padding = [int(value) for value in call.attrs.padding]
            dilation = [int(value) for value in call.attrs.dilation]
            kernel = partial(
                block_sparse.conv2d,
                taps=taps,
                strides=[int(value) for value in call.attrs.strides],
                padding=padding,
                dilation=dilation,
            )
            place = partial(
                block_sparse.offsets,
                weights=found.weights.shape[:-1],
                width=shape_of(call.args[0])[2],
                padding=padding,
                dilation=dilation,
            )
            hint = "conv2d"
        sparse = block_sparse.widest(matrix, self._lanes)
        if sparse is None:
            return None
        most = _MOST_KEPT if sparse.weights.shape[2] == self._lanes else _MOST_KEPT_WIDE
        kept = sparse.indices.shape[1]
        # A mask keeps a block more where its sparsity leaves part of one: of few blocks, all.
        if kept == len(matrix) or kept > math.ceil(most * len(matrix)):
            return None
        return self.builder.call_te(
            kernel,
            call.args[0],
            constant_like(call.args[1], sparse.weights),
            constant(place(sparse.indices)),
            primfunc_name_hint=f"sparse_{hint}",
            primfunc_attrs={"op_pattern": OUT_FUSABLE},
        )
