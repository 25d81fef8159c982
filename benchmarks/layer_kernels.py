"""Kernels of single dense layers, tuned and measured interleaved, for the benchmarks of kernels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from harness.building.network import flops, moved_bytes
from harness.compiler.api import relax, target_of, tvm
from harness.compiler.patches import load_tensor_intrinsics
from harness.edges.blocks import EDGE, Block, summed
from harness.edges.patterns import mask_of
from harness.kernels.dot_products import Products
from harness.kernels.lowering import use_our_lowering
from harness.passes.adapt import adapt
from harness.passes.canonicalise import canonicalise
from harness.passes.fusion import fuse
from harness.quantization.rounding import (
    nearest,
    scales_of,
    steps_for,
    summed_together,
    within_sums,
)
from harness.specs.sweep import Tune
from harness.specs.target import TargetSpec
from harness.tuning.candidates.process import Candidate, KernelTask
from harness.tuning.candidates.real_inputs import record_kernel_inputs
from harness.tuning.database import TuningDatabase
from harness.tuning.measurers.local import KernelMeasurer
from harness.tuning.progress import TuningProgress
from harness.tuning.rivals import scheduled
from harness.tuning.tasks import tasks_of
from harness.tuning.tuner import Tuner

_BYTES = {"uint8": (0, 255), "int8": (-128, 127)}
POINT, SCALE = 100, 0.05
"""Of the data of layers in integers."""
ROUNDS = 60
_PLACES = 5
"""How often kernels are opened anew: where their arguments lie in memory makes them faster or
slower for as long as they lie there."""


@dataclass(frozen=True)
class Shape:
    """A layer: `rows` places of the output, each with `inputs` × `outputs` edges."""

    model: str
    rows: int
    inputs: int
    outputs: int

    def __str__(self) -> str:
        return f"{self.model} {self.rows}×{self.inputs}×{self.outputs}"


LAYERS = [
    *(
        Shape("EfficientNet-Lite0", side * side, inputs, outputs)
        for side, inputs, outputs in (
            (56, 24, 144),
            (28, 40, 240),
            (14, 240, 80),
            (14, 80, 480),
            (14, 480, 80),
            (14, 480, 112),
            (14, 112, 672),
            (14, 672, 112),
            (7, 672, 192),
            (7, 192, 1152),
            (7, 1152, 192),
            (7, 1152, 320),
            (7, 320, 1280),
        )
    ),
    *(Shape("MiniLM", 32, *edges) for edges in ((384, 384), (384, 1536), (1536, 384))),
]


@dataclass(frozen=True)
class Kernel:
    """A tuned kernel as a candidate to measure, with what a call of it computes and moves."""

    task: KernelTask
    module: tvm.IRModule
    flops: float
    bytes: float


@dataclass(frozen=True)
class Form:
    """The form of a layer: in floats, or as the target multiplies 8-bit integers, and without a
    share of its blocks."""

    products: Products | None = None
    sparsity: float = 0.0
    block: Block = EDGE


def weights_of(shape: Shape, form: Form) -> np.ndarray:
    """Weights `[inputs, outputs]` of a normal distribution; whole steps in a form of integers."""
    weights = np.random.default_rng(0).standard_normal((shape.inputs, shape.outputs))
    if form.products is not None:
        most = steps_for(form.products, "auto").most
        together = summed_together(most, shape.inputs)
        scales = scales_of(weights, np.ones((shape.inputs, 1)), most, together=together)
        weights = nearest(weights, scales, most)
        weights = within_sums(weights) if together else weights
    if form.sparsity:
        scores = summed(np.square(weights), form.block)
        weights = weights * mask_of(scores, "block", form.sparsity, form.block)
    return weights.astype(np.float32)


def data_of(shape: Shape, form: Form) -> np.ndarray:
    """Data of a normal distribution for the layer of `network`."""
    data = np.random.default_rng(1).standard_normal((1, shape.rows, shape.inputs))
    if form.products is None:
        return data.astype(np.float32)
    dtype = form.products.dtype
    return np.clip(POINT + 20 * data, *_BYTES[dtype]).astype(dtype)


def bias_of(shape: Shape) -> np.ndarray:
    """A layer's bias, in whole numbers."""
    return np.arange(shape.outputs, dtype=np.float32) % 7 - 3


def network(shape: Shape, form: Form) -> tvm.IRModule:
    """A layer with bias and activation."""
    dtype = "float32" if form.products is None else form.products.dtype
    builder = relax.BlockBuilder()
    data = relax.Var("data", relax.TensorType((1, shape.rows, shape.inputs), dtype))
    with builder.function("main", [data]):
        with builder.dataflow():
            values = data
            if form.products is not None:
                scale, point = relax.const(np.float32(SCALE)), relax.const(np.int32(POINT))
                values = builder.emit(relax.op.dequantize(data, scale, point, -1))
            product = builder.emit(relax.op.matmul(values, relax.const(weights_of(shape, form))))
            biased = builder.emit(relax.op.add(product, relax.const(bias_of(shape))))
            result = builder.emit_output(relax.op.nn.relu(biased))
        builder.emit_func_output(result)
    return builder.get()


class Maker:
    """Tunes, compiles and measures kernels of layers for a target whose code this machine runs."""

    def __init__(self, spec: TargetSpec, trials: int, seed: int) -> None:
        load_tensor_intrinsics("x86")
        use_our_lowering()
        self._spec = spec
        self._target = target_of(spec.tvm.as_tvm())
        self._threads = spec.tvm.num_cores
        self._trials = trials
        self._seed = seed

    def kernel(self, shape: Shape, form: Form, folder: Path) -> Kernel:
        """A layer's one kernel, tuned; `folder` keeps what it is given."""
        module = canonicalise(network(shape, form))
        fused = fuse(adapt(module, self._spec.passes, self._target), "full")
        inputs = record_kernel_inputs(
            fused, self._target, self._threads, [data_of(shape, form)], folder
        )
        (task,) = tasks_of(fused, self._target, inputs)
        tune = Tune(trials=self._trials)
        with TuningDatabase(folder / "tuning") as database:
            Tuner([task], self._target, self._threads, database, tune, self._seed, _deaf).run()
            best = scheduled(task, self._target, self._threads, database.chosen())
        function = task.module["main"]
        return Kernel(task, best, flops(function), moved_bytes(function))

    def in_turns(self, kernels: Sequence[Kernel]) -> np.ndarray:
        """Seconds per call, [kernels][rounds], in several processes one after another."""
        entries = [(kernel.task, Candidate(module=kernel.module)) for kernel in kernels]
        found = []
        for _ in range(_PLACES):
            with KernelMeasurer(self._target, self._threads) as measurer:
                found.append(np.array(measurer.rivals(entries, ROUNDS)))
        return np.concatenate(found, axis=1)


def _deaf(progress: TuningProgress) -> None:
    """Of a tuning that takes seconds nothing is shown."""
