"""Compiles a fused network for a target and writes it as an artifact folder."""

from __future__ import annotations

import json
import math
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from harness.artifact import DESCRIPTION, LIBRARY, Artifact, KernelDescription, TensorDescription
from harness.cache import write_atomically
from harness.errors import CellFailure
from harness.kernels.elementary import use_vector_arithmetic
from harness.models.imported import Imported
from harness.passes.default_schedule import SCHEDULED, schedule_untuned
from harness.passes.fusion import KernelCall, kernels
from harness.passes.rewriter import MAIN
from harness.record import Compression, Fusion, Tuning
from harness.tvm_api import (
    ArgInfo,
    Constant,
    PrimFunc,
    dataflow_lower_passes,
    estimate_tir_flops,
    finalize_passes,
    operator_name,
    relax,
    structural_walk,
    tvm,
)

_MEGABYTE = 1e6


def build(
    fused: tvm.IRModule,
    target: tvm.target.Target,
    threads: int,
    database: Any,
    imported: Imported,
    fusion: Fusion,
    tuning: Tuning | None,
    folder: Path,
    edges: Compression | None = None,
) -> Artifact:
    """Compile a fused network into `folder`: with the schedules of `database`, and the default
    schedule for `threads` threads where it has none.

    The folder appears complete or not at all. Raises CellFailure when TVM or the C compiler that
    links the library cannot do it.
    """
    if shutil.which("cc") is None and shutil.which("g++") is None:
        raise CellFailure(
            "no C compiler to link the compiled model; install one: apt-get install g++"
        )
    calls = kernels(fused)
    with target, database, tvm.transform.PassContext(opt_level=3):
        tuned = relax.transform.MetaScheduleApplyDatabase()(fused)
    lowered, executable = compile_scheduled(schedule_untuned(tuned, target, threads), target)
    folder.parent.mkdir(parents=True, exist_ok=True)
    part = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}."))
    try:
        executable.export_library(str(part / LIBRARY), cc=shutil.which("g++") or "cc")
        artifact = Artifact(
            inputs=tuple(_tensor(spec) for spec in imported.inputs),
            outputs=tuple(_tensor(spec) for spec in imported.outputs),
            kernels=tuple(_kernel(call, tuned) for call in calls),
            fusion=fusion,
            tuning=tuning,
            edges=edges,
            weights_mb=weights_bytes(fused) / _MEGABYTE,
            activation_mb=_planned_bytes(lowered) / _MEGABYTE,
            artifact_mb=(part / LIBRARY).stat().st_size / _MEGABYTE,
            target=json.loads(str(target)),
        )
        write_atomically(part / DESCRIPTION, artifact.model_dump_json(indent=1))
        shutil.rmtree(folder, ignore_errors=True)
        os.replace(part, folder)
    except RuntimeError as error:
        raise CellFailure(f"the compiled model cannot be linked: {_last_line(error)}") from error
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return artifact


def compile_scheduled(
    scheduled: tvm.IRModule, target: tvm.target.Target
) -> tuple[tvm.IRModule, relax.VMExecutable]:
    """A network whose kernels are scheduled, lowered to calls of the virtual machine, and compiled.

    Of TVM's own pipeline what comes after fusing: it would fuse the kernels again.
    """
    use_vector_arithmetic()
    with target, tvm.transform.PassContext(opt_level=3):
        lowered = tvm.transform.Sequential(dataflow_lower_passes(target))(scheduled)
        finished = tvm.transform.Sequential(finalize_passes(target))(lowered)
        executable = relax.build(
            finished, target=target, relax_pipeline=tvm.transform.Sequential([])
        )
    return lowered, executable


def machine_of(fused: tvm.IRModule, target: tvm.target.Target, threads: int) -> Any:
    """A fused network in its default schedule, compiled for this machine and ready to run."""
    _, executable = compile_scheduled(schedule_untuned(fused, target, threads), target)
    return relax.VirtualMachine(executable, tvm.cpu())


def _tensor(spec: Any) -> TensorDescription:
    return TensorDescription(name=spec.name, shape=spec.shape, dtype=spec.dtype)


def _kernel(call: KernelCall, tuned: tvm.IRModule) -> KernelDescription:
    return KernelDescription(
        name=call.name,
        calls=call.calls,
        flops=flops(call.function),
        bytes=moved_bytes(call.function),
        tuned=bool(tuned[call.name].attrs.get(SCHEDULED, False)),
    )


def flops(kernel: PrimFunc) -> float:
    """Floating-point and integer arithmetic operations of one call, as TVM counts them."""
    return float(estimate_tir_flops(tvm.IRModule({MAIN: kernel})))


def moved_bytes(kernel: PrimFunc) -> float:
    """The size of a kernel's arguments and results: what it must move, if it moves each once."""
    return float(
        sum(
            math.prod(int(extent) for extent in info.shape) * np.dtype(str(info.dtype)).itemsize
            for info in ArgInfo.from_prim_func(kernel)
        )
    )


def weights_bytes(module: tvm.IRModule) -> int:
    """The size of the network's constants, shared ones once."""
    sizes: dict[int, int] = {}

    def add(constant: Constant) -> None:
        sizes[constant.__hash__()] = constant.value.numpy().nbytes

    for block in module[MAIN].body.blocks:
        for binding in block.bindings:
            structural_walk(binding.value, (Constant, add))
    return sum(sizes.values())


def _planned_bytes(lowered: tvm.IRModule) -> int:
    """What TVM's static memory plan allocates for activations, outputs included."""
    planned = relax.transform.StaticPlanBlockMemory()(lowered)
    total = 0
    for block in planned[MAIN].body.blocks:
        for binding in block.bindings:
            name = operator_name(binding.value)
            if name == "relax.memory.alloc_storage":
                total += int(binding.value.args[0].values[0])
            elif name == "relax.builtin.alloc_tensor":
                shape = [int(extent) for extent in binding.var.ty.shape]
                total += math.prod(shape) * np.dtype(str(binding.var.ty.dtype)).itemsize
    return total


def _last_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else repr(error)
