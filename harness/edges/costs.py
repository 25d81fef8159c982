"""What a layer costs in milliseconds for each block sparsity, measured on the target.

Each layer is tuned a little on its own, dense and at two sparsities; the time of a sparse kernel is
a part that stays, for what it reads and writes whatever its weights, and a part for each block.
Layers of the same geometry are measured once, and what was tuned stays in the target's database.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from harness.build import flops
from harness.edges.layers import Layer
from harness.edges.patterns import mask_of
from harness.errors import CellFailure
from harness.passes.adapt import adapt
from harness.passes.fusion import fuse, kernels
from harness.passes.sparse_lowering import MOST_KEPT
from harness.passes.vectors import vector_lanes
from harness.spec import Tune
from harness.target_spec import TargetSpec
from harness.tuning.database import TuningDatabase
from harness.tuning.kernel_process import Candidate, KernelFailed, KernelTask
from harness.tuning.measurer import KernelMeasurer
from harness.tuning.progress import Listener
from harness.tuning.real_inputs import record_kernel_inputs
from harness.tuning.rivals import scheduled
from harness.tuning.tuner import Tuner, tasks_of
from harness.tvm_api import relax, target_of, tvm

_SHARES = (0.0, 0.5, 0.9)
_TRIALS = 10
"""For each kernel: the search's first round, which is most of what tuning gains."""
_ROUNDS = 11

Prices = Mapping[str, Callable[[float], float]]
"""What a layer costs at a block sparsity, by the layer's name: seconds here."""


def measured_prices(
    layers: Sequence[Layer],
    spec: TargetSpec,
    database: TuningDatabase,
    folder: Path,
    seed: int,
    listener: Listener,
) -> Prices:
    """The prices of layers on a target that is this machine. `folder` is for what their kernels are
    given. A kernel that could not be measured raises CellFailure, as in any tuning."""
    if spec.device.kind != "local":
        raise CellFailure(
            f"a budget of latency is spent by measured times, and '{spec.name}' is not here: its "
            f"device is {spec.device.kind}; use the budget 'edges' or 'uniform'"
        )
    target, threads = target_of(spec.tvm.as_tvm()), spec.tvm.num_cores
    found: dict[str, list[float]] = {}
    with KernelMeasurer(target, threads) as measurer:
        for layer in layers:
            if _geometry(layer) in found:
                continue
            tasks = [
                _task(layer, share, spec, target, folder / f"{len(found)}-{share}", seed)
                for share in _SHARES
            ]
            for task in tasks:
                tune = Tune(trials=_TRIALS)
                Tuner(
                    [task], target, threads, database, tune, seed, listener, measurer=measurer
                ).run()
            modules = [scheduled(task, target, threads, database.chosen()) for task in tasks]
            found[_geometry(layer)] = _in_turns(layer, tasks, modules, measurer)
    return {layer.name: price(*found[_geometry(layer)]) for layer in layers}


def _in_turns(
    layer: Layer,
    tasks: Sequence[KernelTask],
    modules: Sequence[tvm.IRModule],
    measurer: KernelMeasurer,
) -> list[float]:
    """Seconds of each kernel of a layer: those from when they were tuned do not compare."""
    entries = [
        (task, Candidate(module=module)) for task, module in zip(tasks, modules, strict=True)
    ]
    try:
        return [float(np.median(seconds)) for seconds in measurer.rivals(entries, _ROUNDS)]
    except KernelFailed as error:
        raise CellFailure(f"the kernels of {layer.name} could not be measured: {error}") from None


def _task(
    layer: Layer,
    share: float,
    spec: TargetSpec,
    target: tvm.target.Target,
    folder: Path,
    seed: int,
) -> KernelTask:
    """The kernel of a layer alone, to be tuned."""
    alone = _alone(layer, share, vector_lanes(target))
    fused = fuse(adapt(alone, spec.passes, target), "full")
    feed = np.random.default_rng(seed).standard_normal(_input_shape(layer)).astype(np.float32)
    inputs = record_kernel_inputs(fused, target, spec.tvm.num_cores, [feed], folder)
    # Beside it are changes of layout, which a network has at its borders only.
    anchor = max(kernels(fused), key=lambda kernel: flops(kernel.function)).name
    return next(task for task in tasks_of(fused, target, inputs) if task.name == anchor)


def price(dense: float, *sparse: float) -> Callable[[float], float]:
    """Seconds at a block sparsity, from those of the dense kernel and at the measured ones: of the
    faster kernel, and of the dense one where too little is left out for a sparse kernel."""
    slope, fixed = np.polyfit([1 - share for share in _SHARES[1:]], sparse, 1)

    def seconds(sparsity: float) -> float:
        if 1 - sparsity > MOST_KEPT:
            return dense
        return float(min(dense, max(fixed + slope * (1 - sparsity), min(sparse) / 2)))

    return seconds


def _alone(layer: Layer, sparsity: float, lanes: int) -> tvm.IRModule:
    """A network of one layer, with weights of a random mask."""
    matrix = layer.matrix
    if sparsity:
        blocks = np.random.default_rng(0).random((len(matrix), matrix.shape[1] // lanes))
        matrix = matrix * mask_of(blocks, "block", sparsity, lanes)
    builder = relax.BlockBuilder()
    data = relax.Var("data", relax.TensorType(_input_shape(layer), "float32"))
    with builder.function("main", [data]):
        with builder.dataflow():
            weights = relax.const(layer.stored(matrix))
            call = relax.Call(layer.call.op, [data, weights], layer.call.attrs, layer.call.ty_args)
            result = builder.emit_output(call)
        builder.emit_func_output(result)
    return builder.get()


def _input_shape(layer: Layer) -> tuple[int, ...]:
    return tuple(int(extent) for extent in layer.call.args[0].ty.shape)


def _geometry(layer: Layer) -> str:
    return f"{layer.call.op} {_input_shape(layer)} {layer.weights.shape} {layer.call.attrs}"
