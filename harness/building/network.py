"""Compiles a fused network for a target and writes it as an artifact folder."""

from __future__ import annotations

import json
import math
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from harness.building.at_once import AT_ONCE, AtOnce, all_at_once
from harness.compiler.api import (
    INCLUDE,
    UNCHECKED,
    ArgInfo,
    Constant,
    PrimFunc,
    code_kind,
    estimate_tir_flops,
    lowering_passes,
    operator_name,
    relax,
    structural_walk,
    triple_of,
    tvm,
    values_of,
)
from harness.devices.graphics.cuda_compiler import CudaCompiler
from harness.devices.graphics.work import with_work
from harness.devices.linker import linker
from harness.errors import CellFailure, last_line
from harness.files.atomic import write_atomically
from harness.kernels.blocks import OPERATIONS, SCHEDULED
from harness.kernels.dot_products import in_products
from harness.kernels.lowering import use_our_lowering
from harness.models.imported import Imported
from harness.passes.fusion import KernelCall, kernels
from harness.passes.rewriter import MAIN
from harness.records.artifact import (
    DESCRIPTION,
    KERNELS,
    LIBRARY,
    Artifact,
    KernelDescription,
    TensorDescription,
)
from harness.records.compiled_code import KernelVerification, Launch, LoopThroughputs, MemorySafety
from harness.records.record import Fusion, Tuning
from harness.schedules.untuned import schedule_untuned
from harness.specs.target import Multiprocessor

_MEGABYTE = 1e6
_GRAPH = "relax.backend.use_cuda_graph"
_CALL_OPTIONS = ["-O2", "-std=c++17", f"-I{INCLUDE}"]


@dataclass(frozen=True)
class Made:
    """The origin of a network, as the artifact describes it."""

    imported: Imported
    fusion: Fusion
    tuning: Tuning | None = None
    entries: Mapping[str, Any] = field(default_factory=dict)
    """Fields of the record that steps filled, by name."""


@dataclass(frozen=True)
class Scrutiny:
    """Checks of code that does not run here, or not as a whole."""

    multiprocessor: Multiprocessor | None = None
    """A graphics processor's multiprocessor, if that is described."""
    verify: Callable[[tvm.IRModule], KernelVerification | None] = lambda scheduled: None
    """Looks at the scheduled network before it is compiled."""
    estimate: Callable[
        [tvm.runtime.Module, Sequence[KernelDescription]], LoopThroughputs | None
    ] = lambda code, kernels: None
    """Looks at the code of its kernels."""
    unsafe: Callable[[tvm.IRModule, Path], dict[str, str] | None] = lambda scheduled, library: None
    """The kernels of the scheduled network, or of the library that it was compiled to, that access
    memory outside their arguments, with how; None where nothing looked at them."""


def build(
    fused: tvm.IRModule,
    target: tvm.target.Target,
    threads: int,
    database: Any,
    folder: Path,
    made: Made,
    scrutiny: Scrutiny = Scrutiny(),
) -> Artifact:
    """Compile a fused network into `folder`: with the schedules of `database`, and the default
    schedule for `threads` threads where it has none.

    The folder appears complete or not at all. Raises CellFailure when TVM or the C compiler that
    links the library cannot do it.
    """
    compiler = linker(triple_of(target))
    calls = kernels(fused)
    with target, database, tvm.transform.PassContext(opt_level=3):
        tuned = relax.transform.MetaScheduleApplyDatabase()(fused)
    folder.parent.mkdir(parents=True, exist_ok=True)
    part = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}."))
    try:
        rejected: dict[str, str] = {}
        while True:
            scheduled = schedule_untuned(tuned, target, threads)
            schedules = scrutiny.verify(scheduled)
            compiled = compile_scheduled(scheduled, target, linked=True)
            _link(compiled, part / LIBRARY, compiler)
            unsafe = scrutiny.unsafe(scheduled, part / LIBRARY)
            if not unsafe:
                break
            tuned = _without_schedules(unsafe, tuned, fused)
            rejected |= unsafe
        launches: list[Launch] = []
        if not code_kind(target).in_process_memory:
            single = compile_scheduled(scheduled, target, at_once=False)
            _link(single, part / KERNELS, compiler)
            cuda, code = CudaCompiler(str(target.attrs["arch"])), single.executable.mod
            cuda.keep(code, part)
            launches = _with_work(scheduled, calls, [*cuda.launches(code, scrutiny.multiprocessor)])
        described = tuple(_kernel(call, tuned, fused) for call in calls)
        artifact = Artifact(
            inputs=tuple(_tensor(spec) for spec in made.imported.inputs),
            outputs=tuple(_tensor(spec) for spec in made.imported.outputs),
            function=AT_ONCE if compiled.at_once else MAIN,
            sequence=compiled.at_once.sequence if compiled.at_once else (),
            kernels=described,
            state=made.imported.state,
            unkept=made.imported.unkept,
            fusion=made.fusion,
            tuning=made.tuning,
            **made.entries,
            weights_mb=weights_bytes(fused) / _MEGABYTE,
            activation_mb=_planned_bytes(compiled.lowered) / _MEGABYTE,
            artifact_mb=(part / LIBRARY).stat().st_size / _MEGABYTE,
            target=json.loads(str(target)),
            launches=tuple(launches),
            schedules=schedules,
            memory_safety=None
            if unsafe is None
            else MemorySafety(kernels=len(calls), rejected=rejected),
            loops=scrutiny.estimate(compiled.executable.mod, described),
        )
        write_atomically(part / DESCRIPTION, artifact.model_dump_json(indent=1))
        shutil.rmtree(folder, ignore_errors=True)
        os.replace(part, folder)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return artifact


@dataclass(frozen=True)
class Compiled:
    """A network lowered to calls of the virtual machine, and compiled; `at_once` where it has the
    function `AT_ONCE` alone."""

    lowered: tvm.IRModule
    executable: relax.VMExecutable
    at_once: AtOnce | None = None


def _link(compiled: Compiled, library: Path, compiler: Any) -> None:
    with TemporaryDirectory(dir=library.parent) as folder:
        added = {}
        if compiled.at_once:
            source = compiled.at_once.write(Path(folder))
            added = {"addons": [str(source)], "options": _CALL_OPTIONS}
        _export(compiled.executable, library, cc=compiler, **added)


def _export(executable: relax.VMExecutable, library: Path, **options: Any) -> None:
    try:
        executable.export_library(str(library), **options)
    except RuntimeError as error:
        raise CellFailure(f"the compiled model cannot be linked: {last_line(error)}") from error


def compile_scheduled(
    scheduled: tvm.IRModule,
    target: tvm.target.Target,
    *,
    at_once: bool = True,
    linked: bool = False,
) -> Compiled:
    """A network whose kernels are scheduled, lowered to calls of the virtual machine, and compiled.

    Only the part of TVM's own pipeline after fusing is used: it would fuse the kernels again. Where
    kernels are small, starting one by one takes longer than running them. So on a graphics
    processor they are started `at_once`, from a graph that the first inference records; on a
    processor a library that is `linked` has one function alone, which calls them all.
    """
    use_our_lowering()
    in_memory = code_kind(target).in_process_memory
    graph = {} if in_memory else {_GRAPH: at_once}
    flow, rest = lowering_passes(target)
    with target, tvm.transform.PassContext(opt_level=3, config=UNCHECKED | graph):
        lowered = tvm.transform.Sequential(flow)(scheduled)
        finished = tvm.transform.Sequential(rest)(lowered)
        alone = all_at_once(finished) if linked and in_memory else None
        executable = relax.build(
            alone.module if alone else finished,
            target=target,
            relax_pipeline=tvm.transform.Sequential([]),
        )
    return Compiled(lowered, executable, alone)


def _without_schedules(
    unsafe: Mapping[str, str], tuned: tvm.IRModule, fused: tvm.IRModule
) -> tvm.IRModule:
    """A network whose unsafe kernels have their default schedules again. Raises CellFailure where
    one of them has had it already."""
    result = tuned.clone()
    for name, why in unsafe.items():
        if not _is_tuned(name, tuned, fused):
            raise CellFailure(f"kernel {name}, in its default schedule, {why}")
        result.update_func(tuned.get_global_var(name), fused[name])
    return result


def _with_work(
    scheduled: tvm.IRModule, calls: Sequence[KernelCall], launches: list[Launch]
) -> list[Launch]:
    """The launches with their work, where the kernels' loops tell it."""
    found = {launch.name: launch for launch in launches}
    for call in calls:
        with suppress(ValueError):
            working = with_work(scheduled[call.name], call.name, launches)
            found |= {launch.name: launch for launch in working}
    return list(found.values())


def machine_of(fused: tvm.IRModule, target: tvm.target.Target, threads: int) -> Any:
    """A fused network in its default schedule, compiled for this machine and ready to run."""
    compiled = compile_scheduled(schedule_untuned(fused, target, threads), target)
    return relax.VirtualMachine(compiled.executable, tvm.cpu())


def outputs_of(machine: Any, inputs: Sequence[np.ndarray]) -> np.ndarray:
    """All numbers that a network gives, in a row. `machine` as of `machine_of`."""
    return np.concatenate([each.ravel().astype(np.float64) for each in arrays_of(machine, inputs)])


def arrays_of(machine: Any, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
    """The outputs of a network. `machine` as of `machine_of`."""
    found = machine[MAIN](*map(tvm.runtime.tensor, inputs))
    outputs = [found] if isinstance(found, tvm.runtime.Tensor) else list(found)
    return [output.numpy() for output in outputs]


def _tensor(spec: Any) -> TensorDescription:
    return TensorDescription(name=spec.name, shape=spec.shape, dtype=spec.dtype)


def _is_tuned(name: str, tuned: tvm.IRModule, fused: tvm.IRModule) -> bool:
    """Whether a kernel has a schedule of the database. Some were written with one."""
    scheduled, before = (bool(each[name].attrs.get(SCHEDULED, False)) for each in (tuned, fused))
    return scheduled and not before


def _kernel(call: KernelCall, tuned: tvm.IRModule, fused: tvm.IRModule) -> KernelDescription:
    return KernelDescription(
        name=call.name,
        calls=call.calls,
        flops=flops(call.function),
        bytes=moved_bytes(call.function),
        tuned=_is_tuned(call.name, tuned, fused),
        layers=call.layers,
    )


def flops(kernel: PrimFunc) -> float:
    """Floating-point and integer arithmetic operations of one call, as TVM counts them or the
    kernel says."""
    if kernel.attrs and OPERATIONS in kernel.attrs:
        return float(kernel.attrs[OPERATIONS])
    return float(estimate_tir_flops(tvm.IRModule({MAIN: in_products(kernel)})))


def moved_bytes(kernel: PrimFunc) -> float:
    """The size of a kernel's arguments and results: the bytes that it moves if it moves each
    once."""
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
        sizes[constant.value.__hash__()] = values_of(constant).nbytes

    for block in module[MAIN].body.blocks:
        for binding in block.bindings:
            structural_walk(binding.value, (Constant, add))
    return sum(sizes.values())


def _planned_bytes(lowered: tvm.IRModule) -> int:
    """The bytes that TVM's static memory plan allocates for activations, outputs included."""
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
