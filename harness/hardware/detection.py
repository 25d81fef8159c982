"""Describes the machine this process runs on."""

from __future__ import annotations

import platform
from functools import cache

from harness.errors import InputError
from harness.hardware.processor import this_processor
from harness.specs.target import Hardware, TargetSpec, TvmTarget

HOST = "x86-host"
"""The name of this machine as a target."""

# Features worth a word in a description: those that decide which kernels a processor can run.
_ARITHMETIC = ("sse4", "avx", "fma", "f16c", "amx")


@cache
def detect_host() -> TargetSpec:
    """This machine as a target, without its measured roofs (see `harness.machine.roofline`).

    `mattr` is the difference between LLVM's features of the processor's name and those that are
    really there: a hypervisor may hide features, and code that used them would end in SIGILL.
    Raises InputError where the machine is not an x86 one.
    """
    if platform.machine().lower() not in ("x86_64", "amd64"):
        raise InputError(
            f"'{HOST}' describes an x86 machine, and this one is {platform.machine()}; "
            "write a description of it and pass its path"
        )
    from harness.hardware.llvm import (
        host_cpu,
        host_features,
        host_triple,
        target_features,
        vector_bits,
    )

    processor, features = this_processor(), host_features()
    named = TvmTarget.model_validate(
        {"mcpu": host_cpu(), "mtriple": host_triple(), "num-cores": processor.cores}
    )
    implied = target_features(named)
    added = sorted(f"+{name}" for name, there in features.items() if there and name not in implied)
    hidden = sorted(f"-{name}" for name, there in features.items() if not there and name in implied)
    target = named.model_copy(update={"mattr": (*added, *hidden)})
    present = sorted(name for name, there in features.items() if there)
    return TargetSpec(
        schema=1,
        name=HOST,
        description=f"{processor.name}, {processor.cores} usable cores, detected",
        architecture="x86",
        tvm=target,
        hardware=Hardware(
            cores=processor.cores,
            simd_bits=vector_bits(target),
            features=tuple(name for name in present if name.startswith(_ARITHMETIC)),
            l1d_kb=processor.l1d_kb,
            l2_kb=processor.l2_kb,
            l3_kb=processor.l3_kb,
            memory_mb=round(processor.memory_mb),
        ),
    )
