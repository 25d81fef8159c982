"""Tunes the kernels of one cell, and gives up sparse kernels that turn out to be slower."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from harness.compiler.api import code_kind, tvm
from harness.executors.executor import Executor
from harness.tuning.database import TuningDatabase, database_of
from harness.tuning.footprint import footprint
from harness.tuning.rivals import slower_when_sparse
from harness.tuning.tasks import tasks_of
from harness.tuning.tuner import Tuner

if TYPE_CHECKING:
    from harness.networks.context import Context
    from harness.records.record import Tuning
    from harness.specs.sweep import Tune

Networks = tuple[tvm.IRModule, tvm.IRModule]
"""A network as the hardware asks for it, and the same fused."""


def tuned(
    canonical: tvm.IRModule,
    networks: Networks,
    fused: Callable[[frozenset[str]], Networks],
    tune: Tune,
    context: Context,
    executor: Executor,
    *,
    compressed: bool,
) -> tuple[Networks, Tuning, Any]:
    """The networks, what tuning did, and the schedules that it chose.

    Of a `compressed` network, layers whose sparse kernel is slower than the dense one are dense
    after it: `fused` gives the networks in which the layers that it is told leave out no edges.
    """
    spec, target = context.spec, context.target
    cold = footprint(networks[1], spec)
    context.tell({"stage": "tune"})
    with TuningDatabase(context.tuning_database) as found, context.folder() as folder:
        tasks = tasks_of(networks[1], target, context.kernel_inputs(networks[1], folder))
        tuning = Tuner(
            tasks,
            target,
            spec.tvm.num_cores if code_kind(target).vectors else context.threads,
            found,
            tune,
            context.seed,
            context.progress,
            executor.measurer(context.threads, cold, folder),
        ).run()
        if compressed and executor.times_kernels:
            slower = slower_when_sparse(
                canonical,
                networks[1],
                tasks,
                context.fusion,
                spec,
                found.chosen(),
                cold,
                lambda done, total: context.tell({"stage": "weigh", "done": done, "total": total}),
            )
            if slower:
                networks = fused(slower)
                tasks = tasks_of(networks[1], target)
        schedules = database_of([task.module for task in tasks], found.chosen())
    return networks, tuning, schedules
