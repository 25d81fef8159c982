"""What a hardware description asks of a canonical graph before its operators are fused."""

from __future__ import annotations

from harness.passes.layout import to_channels_last
from harness.passes.packing import PackWeights
from harness.spec import Passes
from harness.tvm_api import tvm

_FLOAT_BYTES = 4


def adapt(canonical: tvm.IRModule, passes: Passes, target: tvm.target.Target) -> tvm.IRModule:
    """The same network in the layouts that `passes` names, its weights packed for the vectors of
    `target`."""
    adapted = to_channels_last(canonical) if passes.layout == "NHWC" else canonical
    lanes = tvm.target.codegen.llvm_get_vector_width(target) // (8 * _FLOAT_BYTES)
    return PackWeights.apply(adapted, lanes) if passes.pack_weights and lanes > 1 else adapted
