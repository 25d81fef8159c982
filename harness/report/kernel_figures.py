"""A kernel against the roof its hardware puts over it.

The roofline model (Williams, Waterman, Patterson: Roofline, CACM 52(4), 2009): a kernel of
arithmetic intensity I can reach no more than min(peak, I × bandwidth).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from harness.records.record import KernelTime, Record


@dataclass(frozen=True)
class Roof:
    """The hardware's limits: 10^9 operations, and 10^9 bytes, a second."""

    peak_gflops: float
    bandwidth_gbs: float

    @property
    def ridge(self) -> float:
        """The intensity, in FLOP a byte, from which on arithmetic is the limit."""
        return self.peak_gflops / self.bandwidth_gbs

    def reachable_gflops(self, intensity: float) -> float:
        return min(self.peak_gflops, intensity * self.bandwidth_gbs)

    def least_us(self, kernel: KernelTime) -> float:
        """The least time one call can take, in microseconds."""
        return max(kernel.flops / self.peak_gflops, kernel.bytes / self.bandwidth_gbs) / 1e3


@dataclass(frozen=True)
class KernelFigures:
    """One kernel of a model; figures that cannot be known are None."""

    name: str
    layers: tuple[str, ...]
    calls: int
    total_us: float
    share: float
    intensity: float | None
    gflops: float | None
    gbs: float | None
    roof_us: float | None
    part_of_roof: float | None


def roof_of(records: Iterable[Record]) -> Roof | None:
    """The roof over the kernels of records of one target, or None when no description gives one.

    The highest figures that any of them has: each was measured at another moment, and a rate that
    the machine reached at one of them it can reach.
    """
    found = [figures for record in records if (figures := _measured(record))]
    if not found:
        return None
    peaks, bandwidths = zip(*found, strict=True)
    return Roof(max(peaks), max(bandwidths))


def _measured(record: Record) -> tuple[float, float] | None:
    target = record.spec.get("target")
    hardware: Any = target.get("hardware") if isinstance(target, dict) else None
    if not isinstance(hardware, dict):
        return None
    peak, bandwidth = hardware.get("peak_gflops"), hardware.get("memory_bandwidth_gbs")
    return (float(peak), float(bandwidth)) if peak and bandwidth else None


def kernel_figures(record: Record, roof: Roof | None) -> list[KernelFigures]:
    """The record's kernels with their shares of the roofline, those that take longest first.

    Times are of one inference: all calls together. `share` is of the time in kernels.
    """
    whole = sum(kernel.calls * kernel.median_us for kernel in record.kernels)
    figures = [_figures(kernel, whole, roof) for kernel in record.kernels]
    return sorted(figures, key=lambda kernel: (-kernel.total_us, kernel.name))


def thinned_kernels(compressed: Record, dense: Record) -> list[tuple[KernelTime, KernelTime]]:
    """The kernels of a compressed network that compute less than the dense network's kernel of the
    same layers, each with that one."""
    of_layers = {kernel.layers: kernel for kernel in dense.kernels if kernel.layers}
    return [
        (kernel, other)
        for kernel in compressed.kernels
        if (other := of_layers.get(kernel.layers)) is not None and kernel.flops < other.flops
    ]


def _figures(kernel: KernelTime, whole_us: float, roof: Roof | None) -> KernelFigures:
    one = kernel.median_us
    roof_us = roof.least_us(kernel) * kernel.calls if roof else None
    return KernelFigures(
        name=kernel.name,
        layers=kernel.layers,
        calls=kernel.calls,
        total_us=one * kernel.calls,
        share=one * kernel.calls / whole_us if whole_us else 0.0,
        intensity=kernel.flops / kernel.bytes if kernel.bytes else None,
        gflops=kernel.flops / one / 1e3 if one else None,
        gbs=kernel.bytes / one / 1e3 if one else None,
        roof_us=roof_us,
        part_of_roof=roof_us / (one * kernel.calls) if roof_us is not None and one else None,
    )
