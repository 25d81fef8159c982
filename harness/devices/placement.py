"""Says where a target's code can run from here, and with what in a process's environment."""

from __future__ import annotations

from typing import Literal

from harness.devices.emulated.board import require_board
from harness.devices.graphics.processor import graphics_processor, library_folders, nvcc
from harness.devices.linker import linker
from harness.devices.servers.tracker import TRACKER_VARIABLE, Servers, Tracker, TrackerLost
from harness.errors import CellFailure, did_you_mean
from harness.hardware import missing_features
from harness.hardware.capability import missing_cores
from harness.specs.target import TargetSpec

LIBRARY_PATH = "LD_LIBRARY_PATH"


def placed(spec: TargetSpec, servers: Servers | None = None) -> TargetSpec:
    """A target with the device that its code runs on from here; `servers` says where a tracker is,
    which is asked for those of the target's key.

    A graphics processor that is described but not in this machine becomes `static`: its kernels are
    compiled for it all the same, and analysed. An Arm board that is reached by its key becomes
    `emulated` where the tracker knows no server of the key, or there is no tracker. Others are what
    their description says.
    """
    if spec.architecture == "arm" and spec.device.kind == "rpc" and not _served(spec, servers):
        return _on(spec, "emulated")
    if spec.tvm.kind != "cuda" or spec.device.kind != "local":
        return spec
    found = graphics_processor()
    if found is not None and found.runs(spec):
        return spec
    return _on(spec, "static")


def _served(spec: TargetSpec, servers: Servers | None) -> bool:
    """Whether there is a server for a target. A tracker that does not answer is no reason to take
    another device than the one that was meant: `require_runnable` says so."""
    if servers is None:
        return False
    try:
        return spec.device.key in _known_keys(servers)
    except TrackerLost:
        return True


def _known_keys(servers: Servers) -> frozenset[str]:
    """The keys that have a server. Raises TrackerLost."""
    with Tracker(servers.tracker) as tracker:
        return frozenset(server.key for server in tracker.servers())


def _on(spec: TargetSpec, kind: Literal["emulated", "static"]) -> TargetSpec:
    return spec.model_copy(update={"device": spec.device.model_copy(update={"kind": kind})})


def child_environment(spec: TargetSpec) -> dict[str, str]:
    """What a process that works for a target needs in its environment: the number of threads, and
    the folders of CUDA's libraries where its code runs on a graphics processor."""
    threads = str(spec.tvm.num_cores)
    found = {"TVM_NUM_THREADS": threads, "OMP_NUM_THREADS": threads}
    if spec.tvm.kind == "cuda" and spec.device.kind == "local":
        found[LIBRARY_PATH] = library_folders()
    return found


def require_runnable(spec: TargetSpec, servers: Servers | None = None) -> None:
    """Raise CellFailure, in one line that names what is missing, unless `spec` can run here or on a
    server, or be compiled where its device is `static`; CellSkipped where there is no emulated
    board for it."""
    if spec.tvm.kind == "cuda" and spec.device.kind in ("local", "static"):
        nvcc()
        return
    if spec.device.kind == "emulated":
        require_board()
        return
    if spec.device.kind == "rpc":
        _require_served(spec, servers)
        return
    if spec.device.kind != "local":
        raise CellFailure(
            f"target '{spec.name}' is a processor on a device of kind 'static'; expected 'local', "
            "'rpc' or 'emulated'"
        )
    missing = missing_features(spec)
    if not missing:
        return
    advice = "use 'x86-host', which is detected, or a target whose features this machine has"
    if missing == missing_cores(spec):
        advice = "set measure.threads in the sweep, or tvm.num-cores in a copy of the description"
    raise CellFailure(
        f"target '{spec.name}' cannot run on this machine, which lacks {', '.join(missing)}; "
        f"{advice}"
    )


def _require_served(spec: TargetSpec, servers: Servers | None) -> None:
    """Raise CellFailure unless code can be compiled for a target, and its key has a server."""
    key = spec.device.key
    if spec.tvm.kind != "llvm" or key is None:
        raise CellFailure(
            f"target '{spec.name}' is on a device of kind 'rpc', which takes a processor (tvm.kind "
            "'llvm') and the key of its servers: device: {kind: rpc, key: KEY}"
        )
    if servers is None:
        raise CellFailure(
            f"target '{spec.name}' runs on the servers of '{key}', and no tracker is named; name "
            f"the one that knows them with --tracker HOST:PORT or {TRACKER_VARIABLE}"
        )
    linker(spec.tvm.mtriple)
    try:
        known = _known_keys(servers)
    except TrackerLost as error:
        raise CellFailure(str(error)) from None
    if key not in known:
        raise CellFailure(
            f"the tracker at {servers.tracker} has no server of '{key}'{did_you_mean(key, known)}; "
            f"start one: layeredge devices serve {key} --tracker {servers.tracker}"
        )
