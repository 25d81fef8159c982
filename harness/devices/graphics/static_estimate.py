"""How long a launch may take on a graphics processor that is not here: an estimate from the code
that it was compiled to and from the hardware's description, for telling schedules apart. It is no
latency.

Sources
-------
[Roofline]  S. Williams, A. Waterman, D. Patterson: Roofline, CACM 52(4), 2009: no more than the
            peak, or than the bytes at the memory's bandwidth allow.
[CUDA]      NVIDIA, CUDA C++ Programming Guide, "Multiprocessor Level": most arithmetic takes 4
            cycles, so that each of 4 schedulers needs 4 warps to have one to go on with in each.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

from harness.devices.graphics.occupancy import occupancy
from harness.records.compiled_code import Launch
from harness.specs.target import Hardware

_BUSY_THREADS = 512
"""Threads that keep a multiprocessor's arithmetic busy, by [CUDA]: 4 schedulers, 4 warps of 32."""
_NEEDED = ("peak_gflops", "memory_bandwidth_gbs", "multiprocessor")


def missing_figures(hardware: Hardware) -> list[str]:
    """Figures that a description lacks for an estimate."""
    return [f"hardware.{name}" for name in _NEEDED if getattr(hardware, name) is None]


def estimated_seconds(launches: Iterable[Launch], hardware: Hardware) -> float | None:
    """The time of launches one after another, by the [Roofline] of the multiprocessor with most
    blocks of each: it has its part of the device's peak and bandwidth, and in proportion less where
    fewer threads are there at a time than keep it busy.

    It knows nothing of caches, of access patterns, of spilled registers, or of instructions other
    than arithmetic. None where a launch does not fit on a multiprocessor, or where a figure is
    missing.
    """
    if missing_figures(hardware):
        return None
    total = 0.0
    for launch in launches:
        seconds = _seconds(launch, hardware)
        if seconds is None:
            return None
        total += seconds
    return total


def _seconds(launch: Launch, hardware: Hardware) -> float | None:
    shape = hardware.multiprocessor
    assert hardware.peak_gflops and hardware.memory_bandwidth_gbs and shape
    share = occupancy(launch, launch.threads, shape)
    if not share or not launch.blocks:
        return None
    most_blocks = math.ceil(launch.blocks / hardware.cores)
    threads = min(share * shape.threads, most_blocks * launch.threads)
    arithmetic = launch.flops / (1e9 * hardware.peak_gflops)
    movement = launch.bytes / (1e9 * hardware.memory_bandwidth_gbs)
    its_part = most_blocks * hardware.cores / launch.blocks
    return its_part * max(arithmetic, movement) / min(1.0, threads / _BUSY_THREADS)
