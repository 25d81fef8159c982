"""The rewrites of a canonical graph, before its operators are fused, that a hardware description
asks for."""

from __future__ import annotations

from collections.abc import Collection

from harness.compiler.api import tvm
from harness.kernels.vectors import vector_lanes
from harness.passes.layout import to_channels_last
from harness.passes.packing import PackWeights
from harness.passes.sparse_lowering import LowerSparse
from harness.passes.weight_values import Values
from harness.specs.target import Passes


def adapt(
    canonical: tvm.IRModule,
    passes: Passes,
    target: tvm.target.Target,
    dense: Collection[Values] = (),
) -> tvm.IRModule:
    """The same network in the layouts that `passes` names, its weights packed for the vectors of
    `target`, and without their blocks of zeros where that is likely to be faster and `dense`, the
    layers for which it is not, does not have them."""
    adapted = to_channels_last(canonical) if passes.layout == "NHWC" else canonical
    lanes = vector_lanes(target)
    if lanes == 1:
        return adapted
    if passes.sparse_kernels:
        adapted = LowerSparse.apply(adapted, lanes, dense)
    return PackWeights.apply(adapted, lanes) if passes.pack_weights else adapted
