"""What this machine itself computes with while it works for a target that is another one."""

from __future__ import annotations

from harness.hardware.detection import detect_host
from harness.specs.target import TargetSpec, TvmTarget


def working_target(spec: TargetSpec) -> TvmTarget:
    """The processor that networks run on while they are prepared for `spec`, as for calibrating
    them: the target itself where it is a processor here, else this machine's."""
    if spec.tvm.kind == "llvm" and spec.device.kind == "local":
        return spec.tvm
    return detect_host().tvm
