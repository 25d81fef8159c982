"""Which sparse kernels of a network are slower than the dense ones that do the same.

Both were tuned at some time; their times then do not compare, on a machine that
is a third faster at one hour than at another. Here they are measured in interleaved rounds.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from harness.compiler.api import target_of, tvm
from harness.passes.adapt import adapt
from harness.passes.fusion import fuse, kernels_by_layer
from harness.schedules.untuned import schedule_untuned
from harness.specs.sweep import FusionLevel
from harness.specs.target import TargetSpec
from harness.tuning.candidates.process import Candidate, KernelFailed, KernelTask
from harness.tuning.database import Choice, database_of, kernel_identity
from harness.tuning.measurers.local import KernelMeasurer
from harness.tuning.tasks import tasks_of

_ROUNDS = 15


def slower_when_sparse(
    canonical: tvm.IRModule,
    lowered: tvm.IRModule,
    tasks: Sequence[KernelTask],
    level: FusionLevel,
    spec: TargetSpec,
    chosen: Mapping[str, Choice],
    footprint: float,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> frozenset[str]:
    """The names of the layers whose sparse kernel takes longer than the dense one, of those of
    which tuning has chosen a schedule for both.

    `lowered` is the network with sparse kernels, fused, and `tasks` its kernels; `footprint` is as
    in `KernelMeasurer`; `progress` is told how many pairs were measured, and of how many.
    """
    target, threads = target_of(spec.tvm.as_tvm()), spec.tvm.num_cores
    plain = spec.passes.model_copy(update={"sparse_kernels": False})
    dense = fuse(adapt(canonical, plain, target), level, target)
    pairs = _pairs(lowered, tasks, dense, tasks_of(dense, target), chosen)
    slower: set[str] = set()
    if not pairs:
        return frozenset()
    with KernelMeasurer(target, threads, footprint) as measurer:
        for done, (sparse_task, dense_task, layers) in enumerate(pairs):
            progress(done, len(pairs))
            entries = [
                (task, Candidate(module=scheduled(task, target, threads, chosen)))
                for task in (sparse_task, dense_task)
            ]
            try:
                sparse_seconds, dense_seconds = measurer.rivals(entries, _ROUNDS)
            except KernelFailed:  # nothing is known of it then, and the layer stays as it is
                continue
            if np.median(np.log(sparse_seconds) - np.log(dense_seconds)) > 0:
                slower |= layers
    return frozenset(slower)


def scheduled(
    task: KernelTask, target: tvm.target.Target, threads: int, chosen: Mapping[str, Choice]
) -> tvm.IRModule:
    """A kernel in the schedule that tuning has chosen for it, or in the default one."""
    database = database_of([task.module], dict(chosen))
    found = database.query_schedule(task.module, target, task.name)
    return schedule_untuned(task.module, target, threads) if found is None else found.mod


def _pairs(
    lowered: tvm.IRModule,
    sparse_tasks: Sequence[KernelTask],
    dense: tvm.IRModule,
    dense_tasks: Sequence[KernelTask],
    chosen: Mapping[str, Choice],
) -> list[tuple[KernelTask, KernelTask, set[str]]]:
    """A sparse kernel, the dense one, and the layers that both compute."""
    sparse_known, dense_known = (
        {task.name: task for task in tasks if kernel_identity(task.module) in chosen}
        for tasks in (sparse_tasks, dense_tasks)
    )
    in_dense = kernels_by_layer(dense)
    found: dict[tuple[str, str], set[str]] = defaultdict(set)
    for layer, name in kernels_by_layer(lowered).items():
        other = in_dense.get(layer)
        if name in sparse_known and other is not None and other in dense_known:
            found[name, other].add(layer)
    return [
        (sparse_known[name], dense_known[other], layers)
        for (name, other), layers in found.items()
        if kernel_identity(sparse_known[name].module) != kernel_identity(dense_known[other].module)
    ]
