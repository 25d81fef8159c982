"""How long the layers of a network take in several forms of it, measured on the target.

The network is fused in each form as its cells are, so the timed kernels are those that a cell would
have, with the operators fused to their layer. Each is tuned a little, unless the target's database
knows it already; then those of a layer are measured interleaved.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from harness.compiler.api import target_of, tvm
from harness.errors import CellFailure
from harness.networks.context import Context
from harness.passes.adapt import adapt
from harness.passes.fusion import fuse, kernels_by_layer
from harness.specs.sweep import FusionLevel, Tune
from harness.specs.target import TargetSpec
from harness.tuning.candidates.process import Candidate, KernelFailed, KernelTask
from harness.tuning.database import TuningDatabase, kernel_identity
from harness.tuning.footprint import footprint
from harness.tuning.measurers.local import KernelMeasurer
from harness.tuning.progress import Listener
from harness.tuning.rivals import scheduled
from harness.tuning.tasks import tasks_of
from harness.tuning.tuner import Tuner

_TRIALS = 10
"""For each kernel: the search's first round, most of the gain of tuning."""
_ROUNDS = 11

KernelInputs = Callable[[tvm.IRModule, Path], Mapping[str, Path]]
"""Writes the inputs of each kernel of a fused network into a folder; the files, by its name."""


@dataclass(frozen=True)
class LayerTimer:
    """Measures layers on a target that is this machine. `database` is the target's, `folder` for
    kernels' inputs."""

    spec: TargetSpec
    fusion: FusionLevel
    database: TuningDatabase
    inputs_of: KernelInputs
    folder: Path
    seed: int
    listener: Listener

    def seconds(
        self, forms: Sequence[tvm.IRModule], layers: Sequence[str]
    ) -> dict[str, np.ndarray]:
        """Seconds of each layer in each form of a canonical network, `[forms]` by the layer's name.

        A kernel that is slower than the first form's counts as that: the network would have the
        first form's. A layer that has no kernel of its own saves nothing, and is free. Raises
        CellFailure for a kernel that could not be measured.
        """
        target, threads = target_of(self.spec.tvm.as_tvm()), self.spec.tvm.num_cores
        fused = [fuse(adapt(form, self.spec.passes, target), self.fusion, target) for form in forms]
        kernels = self._kernels(fused, layers, target)
        unique = {kernel_identity(task.module): task for each in kernels.values() for task in each}
        own = {
            name: [kernel_identity(task.module) for task in each] for name, each in kernels.items()
        }
        # Layers that are alike have the same kernels, which meet once.
        together = {tuple(dict.fromkeys(each)): name for name, each in own.items()}
        found = {layer: np.zeros(len(forms)) for layer in layers}
        with KernelMeasurer(target, threads, footprint(fused[0], self.spec)) as measurer:
            entries = self._tuned(unique, target, threads, measurer)
            seconds = {
                rivals: _interleaved(name, [entries[each] for each in rivals], measurer)
                for rivals, name in together.items()
            }
        for name, identities in own.items():
            rivals = tuple(dict.fromkeys(identities))
            times = dict(zip(rivals, seconds[rivals], strict=True))
            found[name] = np.array([min(times[each], times[identities[0]]) for each in identities])
        return found

    def _tuned(
        self,
        tasks: Mapping[str, KernelTask],
        target: tvm.target.Target,
        threads: int,
        measurer: KernelMeasurer,
    ) -> dict[str, tuple[KernelTask, Candidate]]:
        """The kernels, by their identity, as the target's database schedules them after tuning."""
        tune = Tune(trials=_TRIALS)
        for task in tasks.values():
            Tuner(
                [task], target, threads, self.database, tune, self.seed, self.listener, measurer
            ).run()
        chosen = self.database.chosen()
        return {
            identity: (task, Candidate(module=scheduled(task, target, threads, chosen)))
            for identity, task in tasks.items()
        }

    def _kernels(
        self, fused: Sequence[tvm.IRModule], layers: Sequence[str], target: tvm.target.Target
    ) -> dict[str, list[KernelTask]]:
        """The kernel of each layer in each form, by the layer's name, of those that have one in all
        of them."""
        found: dict[str, list[KernelTask]] = {layer: [] for layer in layers}
        for number, network in enumerate(fused):
            inputs = self.inputs_of(network, self.folder / f"{number}")
            tasks = {task.name: task for task in tasks_of(network, target, inputs)}
            kernel_of = kernels_by_layer(network)
            for layer in layers:
                task = tasks.get(kernel_of.get(layer, ""))
                if task is not None:
                    found[layer].append(task)
        return {name: tasks for name, tasks in found.items() if len(tasks) == len(fused)}


def _interleaved(
    name: str, entries: Sequence[tuple[KernelTask, Candidate]], measurer: KernelMeasurer
) -> list[float]:
    """Seconds of each kernel of a layer: those from when they were tuned do not compare."""
    try:
        return [float(np.median(seconds)) for seconds in measurer.rivals(entries, _ROUNDS)]
    except KernelFailed as error:
        raise CellFailure(f"the kernels of {name} could not be measured: {error}") from None


def layer_seconds(
    context: Context, forms: Sequence[tvm.IRModule], layers: Sequence[str]
) -> dict[str, np.ndarray]:
    """`LayerTimer.seconds` for a step of a configuration."""
    context.tell({"stage": "appraise"})
    with TuningDatabase(context.tuning_database) as database, context.folder() as folder:
        return LayerTimer(
            context.spec,
            context.fusion,
            database,
            context.kernel_inputs,
            folder,
            context.seed,
            context.progress,
        ).seconds(forms, layers)
