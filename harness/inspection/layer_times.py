"""How long each layer of a network takes, as far as that is known without running anything."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from harness.building.network import flops, moved_bytes
from harness.compiler.api import target_of, tvm
from harness.machine.roofline import known_roofs
from harness.passes.adapt import adapt
from harness.passes.fusion import KernelCall, fuse, kernels, kernels_by_layer
from harness.specs.target import TargetSpec
from harness.tuning.database import chosen_in, kernel_identity
from harness.tuning.tasks import tasks_of

Source = Literal["tuning", "roofline"]


@dataclass(frozen=True)
class LayerTimes:
    """Microseconds of the kernel that each layer is in (None: in none that can be told), those of
    all kernels of an inference, and where both come from. `tuned` layers are in kernels that the
    tuning database knows."""

    each_us: tuple[float | None, ...]
    whole_us: float
    source: Source
    tuned: int


def layer_times(
    canonical: tvm.IRModule, layers: Sequence[str | None], spec: TargetSpec, tuned: Path
) -> LayerTimes | None:
    """The times of the layers with these names, when the network is fused in full.

    The kernels' times when the target's database `tuned` chose their schedules, where it knows
    every kernel that a layer is in (others are taken at their roofline); else the least time that
    the roofline allows each, because shares of two kinds of time would not add up; None where the
    machine's roofs are not known.
    """
    target = target_of(spec.tvm.as_tvm())
    fused = fuse(adapt(canonical, spec.passes, target), "full", target)
    found = kernels(fused)
    kernel_of = kernels_by_layer(fused)
    names = [kernel_of.get(layer or "") for layer in layers]
    least = _least_us(found, spec)
    measured = _measured_us(fused, target, tuned)
    source: Source
    tuned_layers = [name for name in names if name in measured]
    if tuned_layers and len(tuned_layers) == sum(name is not None for name in names):
        each, source = {**least, **measured}, "tuning"
    elif least:
        each, source = least, "roofline"
    else:
        return None
    return LayerTimes(
        each_us=tuple(each[name] if name else None for name in names),
        whole_us=sum(kernel.calls * each.get(kernel.name, 0.0) for kernel in found),
        source=source,
        tuned=len(tuned_layers),
    )


def _least_us(found: Sequence[KernelCall], spec: TargetSpec) -> dict[str, float]:
    """Kernel to the least time a call can take; empty where no roof is known."""
    peak, bandwidth = spec.hardware.peak_gflops, spec.hardware.memory_bandwidth_gbs
    if (roofs := known_roofs(spec)) is not None:
        peak, bandwidth = roofs.peak_gflops, roofs.memory_bandwidth_gbs
    if not peak or not bandwidth:
        return {}
    return {
        kernel.name: max(flops(kernel.function) / peak, moved_bytes(kernel.function) / bandwidth)
        / 1e3
        for kernel in found
    }


def _measured_us(fused: tvm.IRModule, target: tvm.target.Target, tuned: Path) -> dict[str, float]:
    chosen = chosen_in(tuned)
    if not chosen:
        return {}
    known = {
        task.name: chosen.get(kernel_identity(task.module)) for task in tasks_of(fused, target)
    }
    return {
        name: float(np.median(choice["seconds"])) * 1e6
        for name, choice in known.items()
        if choice is not None
    }
