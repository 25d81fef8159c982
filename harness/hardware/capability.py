"""Says, before anything is compiled, whether this machine can run code for a description."""

from __future__ import annotations

import platform

from harness.hardware.processor import this_processor
from harness.specs.target import TargetSpec

_MACHINES = {"x86": ("x86_64", "amd64"), "arm": ("aarch64", "arm64")}


def missing_features(spec: TargetSpec) -> list[str]:
    """Features that code for `spec` needs and this machine lacks, in words; empty when it can run
    here.

    Instruction sets come first, by LLVM's names (`avx512f`): every one that the description's
    `mcpu` and `mattr` let the compiler use. Then the cores. A description with an `mcpu` or
    `mattr` LLVM does not know raises InputError.
    """
    return [*_missing_instructions(spec), *missing_cores(spec)]


def _missing_instructions(spec: TargetSpec) -> list[str]:
    if platform.machine().lower() not in _MACHINES.get(spec.architecture, ()):
        return [f"an {spec.architecture} processor (this one is {platform.machine()})"]
    from harness.hardware.llvm import check_target, host_features, target_features

    check_target(spec.tvm, spec.architecture)
    needed = target_features(spec.tvm)
    return sorted(name for name, there in host_features().items() if not there and name in needed)


def missing_cores(spec: TargetSpec) -> list[str]:
    """How many cores code for `spec` runs on and this machine lacks, in words; else nothing."""
    needed, cores = spec.tvm.num_cores, this_processor().cores
    return [f"{needed} cores (there are {cores})"] if needed > cores else []
