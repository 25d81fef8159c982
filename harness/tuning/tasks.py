"""The kernels of a fused network as tuning tasks."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from harness.compiler.api import PrimFunc, extract_tasks, tvm
from harness.kernels.blocks import SCHEDULED, is_opaque
from harness.passes.fusion import kernels
from harness.tuning.candidates.process import KernelTask


def tasks_of(
    fused: tvm.IRModule, target: tvm.target.Target, inputs: Mapping[str, Path] | None = None
) -> list[KernelTask]:
    """The kernels of a fused network; equal ones once, with their calls added up. Those that are
    written with their schedule, as of recurrent layers, and those that no schedule may touch are
    left out.

    `inputs` has a file with each kernel's inputs in a real inference, by name.
    """
    wanted = {kernel.name: kernel for kernel in kernels(fused)}
    return [
        KernelTask(
            name=task.task_name,
            module=task.dispatched[0],
            calls=int(task.weight),
            constants=wanted[task.task_name].constants,
            outputs=wanted[task.task_name].outputs,
            inputs=(inputs or {}).get(task.task_name),
        )
        for task in extract_tasks(fused, target)
        if task.task_name in wanted and _has_schedules(task.dispatched[0]["main"])
    ]


def _has_schedules(kernel: PrimFunc) -> bool:
    return not (kernel.attrs or {}).get(SCHEDULED, False) and not is_opaque(kernel)
