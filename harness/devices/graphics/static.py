"""Figures of a network that was compiled for a device that is not here."""

from __future__ import annotations

import re

from harness.devices.graphics.static_estimate import estimated_seconds
from harness.records.artifact import Artifact, KernelDescription
from harness.records.compiled_code import Static
from harness.specs.target import Hardware


def static_of(artifact: Artifact, hardware: Hardware) -> Static:
    """The figures of a compiled network, see `Static`."""
    bounds = [_bound_seconds(kernel, hardware) for kernel in artifact.kernels]
    known = [seconds for seconds in bounds if seconds is not None]
    complete = len(known) == len(bounds)
    return Static(
        launches=artifact.launches,
        bound_ms=1e3 * sum(known) if complete else None,
        estimate_ms=_estimate_ms(artifact, hardware),
        schedules=artifact.schedules,
    )


def _estimate_ms(artifact: Artifact, hardware: Hardware) -> float | None:
    """The estimated time of the launches of an inference; None unless all can be estimated."""
    total = 0.0
    for kernel in artifact.kernels:
        seconds = kernel_estimate(artifact, kernel, hardware)
        if seconds is None:
            return None
        total += kernel.calls * seconds
    return 1e3 * total


def kernel_estimate(
    artifact: Artifact, kernel: KernelDescription, hardware: Hardware
) -> float | None:
    """The seconds that one call of a kernel is estimated to take, see `estimated_seconds`."""
    own = re.compile(rf"{re.escape(kernel.name)}_kernel(_\d+)?")
    launches = [launch for launch in artifact.launches if own.fullmatch(launch.name)]
    return estimated_seconds(launches, hardware) if launches else None


def _bound_seconds(kernel: KernelDescription, hardware: Hardware) -> float | None:
    """The least time of a kernel's calls, by the roofline model; None without its rooflines."""
    if hardware.peak_gflops is None or hardware.memory_bandwidth_gbs is None:
        return None
    arithmetic = kernel.flops / (1e9 * hardware.peak_gflops)
    movement = kernel.bytes / (1e9 * hardware.memory_bandwidth_gbs)
    return kernel.calls * max(arithmetic, movement)
