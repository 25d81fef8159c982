"""Which measurer tunes for a target, by where its code runs."""

from __future__ import annotations

from pathlib import Path

from harness.compiler.api import target_of
from harness.devices.emulated.board import require_board
from harness.devices.servers.tracker import Servers
from harness.specs.target import TargetSpec
from harness.tuning.cluster.connection import BuildCluster
from harness.tuning.measurers.emulated import CountingMeasurer
from harness.tuning.measurers.local import KernelMeasurer, Measurer
from harness.tuning.measurers.static import StaticMeasurer
from harness.tuning.servers.measurer import RemoteMeasurer


def measurer_for(
    spec: TargetSpec, threads: int, footprint: float, folder: Path, servers: Servers | None
) -> Measurer:
    """What runs the candidates for a target, or counts or analyses them; `threads` of this machine
    work on it, `footprint` is as in `KernelMeasurer`, `folder` is for what it has to write, and
    `servers` says where those of the target's key are found. Raises CellFailure and CellSkipped."""
    target = target_of(spec.tvm.as_tvm())
    if spec.device.kind == "emulated":
        return CountingMeasurer(spec, threads, require_board(), folder)
    if spec.device.kind == "static":
        return StaticMeasurer(target, threads, spec.hardware)
    if spec.device.kind == "rpc":
        assert spec.device.key is not None and servers is not None
        address = servers.build_cluster
        cluster = BuildCluster(address, [spec.tvm.mtriple]) if address is not None else None
        return RemoteMeasurer(target, spec.device.key, servers, threads, cluster=cluster)
    return KernelMeasurer(target, threads, footprint)
