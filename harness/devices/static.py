"""What is known of a network that was compiled for a device that is not here."""

from __future__ import annotations

from harness.artifact import Artifact, KernelDescription
from harness.record import Static
from harness.spec import Hardware


def static_of(artifact: Artifact, hardware: Hardware) -> Static:
    """The figures of a compiled network, see `Static`."""
    bounds = [_bound_seconds(kernel, hardware) for kernel in artifact.kernels]
    known = [seconds for seconds in bounds if seconds is not None]
    complete = len(known) == len(bounds)
    return Static(launches=artifact.launches, bound_ms=1e3 * sum(known) if complete else None)


def _bound_seconds(kernel: KernelDescription, hardware: Hardware) -> float | None:
    """What the calls of a kernel take at least, by the roofline model; None without its roofs."""
    if hardware.peak_gflops is None or hardware.memory_bandwidth_gbs is None:
        return None
    arithmetic = kernel.flops / (1e9 * hardware.peak_gflops)
    movement = kernel.bytes / (1e9 * hardware.memory_bandwidth_gbs)
    return kernel.calls * max(arithmetic, movement)
