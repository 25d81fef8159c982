"""The cost of a layer at each of some block sparsities, measured on the target.

The network is thinned at random to each sparsity and fused as its cells are, so the timed kernels
are those that a cell would have, with the operators fused to their layer. Each is tuned a little,
unless the target's database knows it already; then those of a layer are measured interleaved. No
time between the sparsities is guessed: a layer may only be as sparse as was measured.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from harness.compiler.api import relax, target_of, tvm
from harness.edges.patterns import block_of, mask_of
from harness.errors import CellFailure
from harness.kernels.vectors import vector_lanes
from harness.networks.layers import Layer, ReplaceConstants
from harness.passes.adapt import adapt
from harness.passes.fusion import fuse, kernels_by_layer
from harness.specs.patterns import Pattern
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

Prices = Mapping[str, np.ndarray]
"""The cost of a layer at each of some sparsities, `[sparsities]` by the layer's name: seconds here.
"""
KernelInputs = Callable[[tvm.IRModule, Path], Mapping[str, Path]]
"""Writes the inputs of each kernel of a fused network into a folder; the files, by its name."""


@dataclass(frozen=True)
class Appraiser:
    """Finds the prices of layers on a target that is this machine.

    Edges go in a `pattern`; `database` is the target's, `folder` for kernels'
    inputs.
    """

    spec: TargetSpec
    fusion: FusionLevel
    pattern: Pattern
    database: TuningDatabase
    inputs_of: KernelInputs
    folder: Path
    seed: int
    listener: Listener

    def prices(
        self, canonical: tvm.IRModule, layers: Sequence[Layer], sparsities: Sequence[float]
    ) -> Prices:
        """The prices of layers of a canonical network; the first sparsity is 0, the dense layer's.

        A sparse kernel that is slower than the dense one costs as much as that: the network would
        have the dense one. A layer that has no kernel of its own saves nothing, and is free. Raises
        CellFailure for a kernel that could not be measured.
        """
        target, threads = target_of(self.spec.tvm.as_tvm()), self.spec.tvm.num_cores
        kernels = self._kernels(canonical, layers, sparsities, target)
        unique = {kernel_identity(task.module): task for each in kernels.values() for task in each}
        own = {
            name: [kernel_identity(task.module) for task in each] for name, each in kernels.items()
        }
        # Layers that are alike have the same kernels, which meet once.
        together = {tuple(dict.fromkeys(each)): name for name, each in own.items()}
        dense = self._fused(canonical, {}, target)
        found = {layer.name: np.zeros(len(sparsities)) for layer in layers}
        with KernelMeasurer(target, threads, footprint(dense, self.spec)) as measurer:
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
        self,
        canonical: tvm.IRModule,
        layers: Sequence[Layer],
        sparsities: Sequence[float],
        target: tvm.target.Target,
    ) -> dict[str, list[KernelTask]]:
        """The kernel of each layer at each sparsity, by the layer's name, of those that have one at
        all of them."""
        found: dict[str, list[KernelTask]] = {layer.name: [] for layer in layers}
        lanes = vector_lanes(target)
        for sparsity in sparsities:
            weights = {
                layer.variable: _thinned(layer, sparsity, self.pattern, lanes) for layer in layers
            }
            fused = self._fused(canonical, weights, target)
            inputs = self.inputs_of(fused, self.folder / f"{sparsity:g}")
            tasks = {task.name: task for task in tasks_of(fused, target, inputs)}
            kernel_of = kernels_by_layer(fused)
            for layer in layers:
                task = tasks.get(kernel_of.get(layer.name, ""))
                if task is not None:
                    found[layer.name].append(task)
        return {name: tasks for name, tasks in found.items() if len(tasks) == len(sparsities)}

    def _fused(
        self,
        canonical: tvm.IRModule,
        weights: Mapping[relax.Var, np.ndarray],
        target: tvm.target.Target,
    ) -> tvm.IRModule:
        network = ReplaceConstants.apply(canonical, weights)
        return fuse(adapt(network, self.spec.passes, target), self.fusion, target)


def _interleaved(
    name: str, entries: Sequence[tuple[KernelTask, Candidate]], measurer: KernelMeasurer
) -> list[float]:
    """Seconds of each kernel of a layer: those from when they were tuned do not compare."""
    try:
        return [float(np.median(seconds)) for seconds in measurer.rivals(entries, _ROUNDS)]
    except KernelFailed as error:
        raise CellFailure(f"the kernels of {name} could not be measured: {error}") from None


def _thinned(layer: Layer, sparsity: float, pattern: Pattern, lanes: int) -> np.ndarray:
    """A layer's weights as it stores them, without a share of their blocks, drawn at random."""
    if not sparsity:
        return layer.weights
    block, (rows, outputs) = block_of(pattern, lanes), layer.matrix.shape
    scores = np.random.default_rng(0).random((rows // block.inputs, outputs // block.outputs))
    return layer.stored(layer.matrix * mask_of(scores, pattern, sparsity, block))
