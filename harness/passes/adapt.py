"""The rewrites of a canonical graph, before its operators are fused, that a hardware description
asks for."""

from __future__ import annotations

from collections.abc import Collection

from harness.compiler.api import tvm
from harness.kernels.dot_products import products_of
from harness.kernels.vectors import vector_lanes, widened_types
from harness.passes.integers import ComputeInIntegers
from harness.passes.layout import to_channels_last
from harness.passes.packing import PackWeights
from harness.passes.sparse_lowering import LowerSparse
from harness.specs.target import Passes


def adapt(
    canonical: tvm.IRModule,
    passes: Passes,
    target: tvm.target.Target,
    dense: Collection[str] = (),
) -> tvm.IRModule:
    """The same network in the layouts that `passes` names, its weights packed for the vectors of
    `target`. Blocks of zeros are left out where that is likely to be faster, except in the layers
    that `dense` names, for which it is not."""
    adapted = to_channels_last(canonical) if passes.layout == "NHWC" else canonical
    lanes = vector_lanes(target)
    if lanes == 1:
        return adapted
    products = products_of(target)
    if passes.integer_kernels and products is not None:
        of_integers = dense if passes.sparse_kernels else None
        adapted = ComputeInIntegers.apply(adapted, lanes, products, of_integers)
    if passes.sparse_kernels:
        adapted = LowerSparse.apply(adapted, lanes, dense)
    if not passes.pack_weights:
        return adapted
    return PackWeights.apply(adapted, lanes, widened_types(target))
