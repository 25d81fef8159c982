"""Says where a target's code can run from here, and with what in a process's environment."""

from __future__ import annotations

from typing import Literal

from harness.devices.board import require_board
from harness.devices.graphics import graphics_processor, library_folders, nvcc
from harness.errors import CellFailure
from harness.hardware import missing_features
from harness.hardware.capability import missing_cores
from harness.spec import TargetSpec

LIBRARY_PATH = "LD_LIBRARY_PATH"


def placed(spec: TargetSpec) -> TargetSpec:
    """A target with the device that its code runs on from here.

    A graphics processor that is described but not in this machine becomes `static`: its kernels are
    compiled for it all the same, and analysed. An Arm board that is reached by its key becomes
    `emulated` where no tracker serves it. Others are what their description says.
    """
    if spec.architecture == "arm" and spec.device.kind == "rpc":
        return _on(spec, "emulated")
    if spec.tvm.kind != "cuda" or spec.device.kind != "local":
        return spec
    found = graphics_processor()
    if found is not None and found.runs(spec):
        return spec
    return _on(spec, "static")


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


def require_runnable(spec: TargetSpec) -> None:
    """Raise CellFailure, in one line that names what is missing, unless `spec` can run here, or be
    compiled where its device is `static`; CellSkipped where there is no emulated board for it."""
    if spec.tvm.kind == "cuda" and spec.device.kind in ("local", "static"):
        nvcc()
        return
    if spec.device.kind == "emulated":
        require_board()
        return
    if spec.device.kind != "local":
        raise CellFailure(
            f"target '{spec.name}' runs on a device of kind '{spec.device.kind}'; only 'local' "
            "targets can run on this machine"
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
