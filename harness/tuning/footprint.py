"""Whether a network's kernels find their weights in the caches."""

from __future__ import annotations

from harness.building.network import weights_bytes
from harness.compiler.api import tvm
from harness.compiler.code_kinds import CODE_KINDS
from harness.specs.target import TargetSpec


def footprint(fused: tvm.IRModule, spec: TargetSpec) -> float:
    """The size of a network's weights in bytes where they do not stay in the second-level caches
    from one inference to the next, otherwise 0."""
    if not CODE_KINDS[spec.tvm.kind].in_process_memory:
        return 0.0
    size, caches = weights_bytes(fused), 1024 * (spec.hardware.l2_kb or 0) * spec.tvm.num_cores
    return float(size) if size > caches / 2 else 0.0
