"""How much faster are block-sparse kernels than tuned dense ones, and how much can they be?

    python benchmarks/sparse_kernels.py --trials 64
    python benchmarks/sparse_kernels.py --trials 64 --int8 --pattern quad-block

Tunes dense layers and pointwise convolutions of EfficientNet-Lite0 and MiniLM, with bias and
activation: dense and at several sparsities, in blocks and in wide blocks, with the same number of
trials. A layer's kernels are then measured interleaved. The bound of a speed-up is the lower of two
rates: the dense kernel's arithmetic, and the bandwidth for the bytes that must be moved. Prints
tables, and draws speed-up against sparsity.

On a rented machine other guests sometimes use the sibling threads of the same cores, and half of
the nearest cache. Gathering kernels lose more by that than others. A probe, one sparse kernel that
is the same for all layers, detects these rounds, and a second set of tables leaves them out. On a
machine without other guests the two sets should agree.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import click
import matplotlib
import numpy as np
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from harness.building.network import flops, moved_bytes
from harness.compiler.api import relax, tvm
from harness.compiler.patches import load_tensor_intrinsics
from harness.edges.blocks import Block, summed
from harness.edges.patterns import block_of, mask_of
from harness.hardware import HOST, load_target
from harness.kernels.dot_products import data_type
from harness.kernels.lowering import use_our_lowering
from harness.kernels.vectors import vector_lanes
from harness.machine.environment import noise_warnings
from harness.machine.roofline import with_measured_roofs
from harness.passes.adapt import adapt
from harness.passes.canonicalise import canonicalise
from harness.passes.fusion import fuse
from harness.report.plots.style import INK, SMALL_SIZE, TITLE_SIZE, colors
from harness.specs.patterns import BLOCKS, Pattern
from harness.specs.sweep import Tune
from harness.specs.target import Passes
from harness.tuning.candidates.process import Candidate, KernelTask
from harness.tuning.candidates.real_inputs import record_kernel_inputs
from harness.tuning.database import TuningDatabase
from harness.tuning.measurers.local import KernelMeasurer
from harness.tuning.progress import TuningProgress
from harness.tuning.rivals import scheduled
from harness.tuning.tasks import tasks_of
from harness.tuning.tuner import Tuner

_BYTES = {"uint8": (0, 255), "int8": (-128, 127)}
_ROUNDS = 60
_PLACES = 5
"""How often kernels are opened anew: where their arguments lie in memory makes them faster or
slower for as long as they lie there."""
_UNDISTURBED = 1.15
"""How much longer than at its best, see `_BEST`, the probe may take where nobody is beside it."""
_BEST = 0.01
"""Which quantile of all the times of the probe counts as its best."""
_LEAST_TURNS = 10
"""So many undisturbed turns it takes to say something of a layer."""


@dataclass(frozen=True)
class Shape:
    """A layer: `rows` places of the output, each with `inputs` × `outputs` edges."""

    model: str
    rows: int
    inputs: int
    outputs: int

    def __str__(self) -> str:
        return f"{self.model} {self.rows}×{self.inputs}×{self.outputs}"


PROBE = Shape("MiniLM", 32, 384, 384)

Case = tuple[Pattern, float]
"""A pattern, and the share of blocks that are left out."""
PROBED: Case = ("block", 0.9)

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


def network(shape: Shape, sparsity: float, block: Block, dtype: str) -> tvm.IRModule:
    """A layer with bias and activation, without this share of its blocks. Its data are of such a
    type, and whole steps where that is one of integers, as its weights then are."""
    generator = np.random.default_rng(0)
    weights = generator.standard_normal((shape.inputs, shape.outputs)).astype(np.float32)
    if dtype != "float32":
        weights = np.clip(np.rint(32 * weights), -127, 127).astype(np.float32)
        weights[0] = 127  # the scale is found by the largest
    if sparsity:
        scores = summed(weights.astype(np.float64) ** 2, block)
        weights = weights * mask_of(scores, "block", sparsity, block)
    builder = relax.BlockBuilder()
    data = relax.Var("data", relax.TensorType((1, shape.rows, shape.inputs), dtype))
    with builder.function("main", [data]):
        with builder.dataflow():
            values = data
            if dtype != "float32":
                scale, point = relax.const(np.float32(0.05)), relax.const(np.int32(100))
                values = builder.emit(relax.op.dequantize(data, scale, point, -1))
            product = builder.emit(relax.op.matmul(values, relax.const(weights)))
            biased = builder.emit(relax.op.add(product, relax.const(weights[0].copy())))
            result = builder.emit_output(relax.op.nn.relu(biased))
        builder.emit_func_output(result)
    return builder.get()


@dataclass(frozen=True)
class Kernel:
    """A tuned kernel as a candidate to measure, with what a call of it computes and moves."""

    task: KernelTask
    module: tvm.IRModule
    flops: float
    bytes: float


@dataclass(frozen=True)
class Figures:
    """What so many turns say of a layer: seconds of its dense kernel and operations a second, and
    for each case how many times as fast, and which share of what the roof allows."""

    turns: int
    seconds: float
    rate: float
    sparse: Mapping[Case, tuple[float, float]]


@dataclass(frozen=True)
class Layer:
    """A layer's kernels with seconds per call, [kernels][turns], the dense one first, and those of
    the probe beside them, [turns]."""

    shape: Shape
    dense: Kernel
    sparse: Mapping[Case, Kernel]
    times: np.ndarray
    probed: np.ndarray

    def undisturbed(self, most: float) -> np.ndarray:
        """In which turns the probe took no longer than this, before and after; in the last turn of
        a process, before."""
        before: np.ndarray = self.probed <= most
        after = np.roll(before, -1)
        after[_ROUNDS - 1 :: _ROUNDS] = True
        found: np.ndarray = before & after
        return found

    def figures(self, bandwidth: float, turns: np.ndarray | None = None) -> Figures | None:
        """Of some turns, or of all; None where they are too few."""
        times = self.times if turns is None else self.times[:, turns]
        if times.shape[1] < _LEAST_TURNS:
            return None
        dense, *sparse = np.median(times, axis=1)
        rate = self.dense.flops / dense
        found = {}
        for (case, kernel), seconds in zip(self.sparse.items(), sparse, strict=True):
            allowed = max(kernel.flops / rate, kernel.bytes / bandwidth)
            found[case] = float(dense / seconds), float(allowed / seconds)
        return Figures(times.shape[1], float(dense), float(rate), found)


class Maker:
    """Tunes and compiles the kernels of layers."""

    def __init__(self, trials: int, seed: int, *, integers: bool) -> None:
        load_tensor_intrinsics("x86")
        use_our_lowering()
        self.spec = with_measured_roofs(load_target(HOST))
        self._target = tvm.target.Target(self.spec.tvm.as_tvm())
        self._threads = self.spec.tvm.num_cores
        self._lanes = vector_lanes(self._target)
        self._trials = trials
        self._seed = seed
        found = data_type(self._target) if integers else "float32"
        if found is None:
            raise click.ClickException("this processor has no products of 8-bit integers")
        self._dtype = found

    def layer(self, shape: Shape, cases: Sequence[Case], probe: Kernel, folder: Path) -> Layer:
        """A layer, measured: dense, and in those cases whose blocks divide its outputs."""
        blocks = {case: block_of(case[0], self._lanes) for case in cases}
        fitting = [
            case
            for case, block in blocks.items()
            if shape.inputs % block.inputs == 0 and shape.outputs % block.outputs == 0
        ]
        dense = self.kernel(shape, ("block", 0.0), folder / "dense")
        sparse = {case: self.kernel(shape, case, folder / f"{case}") for case in fitting}
        *times, probed = self._in_turns([dense, *sparse.values(), probe])
        return Layer(shape, dense, sparse, np.array(times), probed)

    def kernel(self, shape: Shape, case: Case, folder: Path) -> Kernel:
        """A layer's one kernel, tuned; `folder` keeps what it is given."""
        pattern, sparsity = case
        block = block_of(pattern, self._lanes)
        module = canonicalise(network(shape, sparsity, block, self._dtype))
        fused = fuse(adapt(module, Passes(), self._target), "full")
        feed = np.random.default_rng(1).standard_normal((1, shape.rows, shape.inputs))
        if self._dtype != "float32":
            feed = np.clip(100 + 20 * feed, *_BYTES[self._dtype])
        inputs = record_kernel_inputs(
            fused, self._target, self._threads, [feed.astype(self._dtype)], folder
        )
        (task,) = tasks_of(fused, self._target, inputs)
        tune = Tune(trials=self._trials)
        with TuningDatabase(folder / "tuning") as database:
            Tuner([task], self._target, self._threads, database, tune, self._seed, _deaf).run()
            best = scheduled(task, self._target, self._threads, database.chosen())
        function = task.module["main"]
        return Kernel(task, best, flops(function), moved_bytes(function))

    def _in_turns(self, kernels: Sequence[Kernel]) -> np.ndarray:
        """Seconds per call, [kernels][rounds], in several processes one after another."""
        entries = [(kernel.task, Candidate(module=kernel.module)) for kernel in kernels]
        found = []
        for _ in range(_PLACES):
            with KernelMeasurer(self._target, self._threads) as measurer:
                found.append(np.array(measurer.rivals(entries, _ROUNDS)))
        return np.concatenate(found, axis=1)


def _deaf(progress: TuningProgress) -> None:
    """Of a tuning that takes seconds nothing is shown."""


@click.command()
@click.option("--trials", type=click.IntRange(min=1), default=64, show_default=True)
@click.option("--sparsity", multiple=True, type=float, default=(0.35, 0.5, 0.75, 0.9))
@click.option(
    "--pattern",
    multiple=True,
    type=click.Choice(BLOCKS),
    default=("block", "wide-block"),
    show_default=True,
)
@click.option("--int8", "integers", is_flag=True, help="Layers of 8-bit integers, not floats.")
@click.option("--layers", type=int, default=len(LAYERS), help="Only as many of the layers.")
@click.option("--seed", type=int, default=0, show_default=True)
@click.option("--plot", type=click.Path(dir_okay=False, path_type=Path), default=None)
def main(
    trials: int,
    sparsity: tuple[float, ...],
    pattern: tuple[Pattern, ...],
    integers: bool,
    layers: int,
    seed: int,
    plot: Path | None,
) -> None:
    """Measure block-sparse kernels beside dense ones."""
    for warning in noise_warnings():
        click.echo(f"warning: {warning}", err=True)
    maker = Maker(trials, seed, integers=integers)
    bandwidth = 1e9 * (maker.spec.hardware.memory_bandwidth_gbs or float("inf"))
    cases = list(product(pattern, sparsity))
    layered: list[Layer] = []
    with Progress(transient=True) as progress, tempfile.TemporaryDirectory() as probe_folder:
        going = progress.add_task("layers", total=layers)
        probe = maker.kernel(PROBE, PROBED, Path(probe_folder))
        for shape in LAYERS[:layers]:
            with tempfile.TemporaryDirectory() as folder:
                layered.append(maker.layer(shape, cases, probe, Path(folder)))
            progress.advance(going)
    best = float(np.quantile([layer.probed for layer in layered], _BEST))
    every = {layer.shape: layer.figures(bandwidth) for layer in layered}
    alone = {
        layer.shape: layer.figures(bandwidth, layer.undisturbed(_UNDISTURBED * best))
        for layer in layered
    }
    console = Console(width=200)
    for each in pattern:
        for turns, shapes in (("all turns", every), ("undisturbed turns", alone)):
            console.print(f"{each}, {turns}", style="bold")
            console.print(table_of([(each, share) for share in sparsity], shapes))
    if plot:
        draw(pattern, sparsity, alone, plot)


def table_of(cases: Sequence[Case], layers: Mapping[Shape, Figures | None]) -> Table:
    """A row for each layer."""
    table = Table("layer", "turns", "dense µs", "GFLOP/s", box=None)
    for _, share in cases:
        table.add_column(f"{share:.0%}: speed-up")
        table.add_column("of the roof")
    for shape, figures in layers.items():
        if figures is None:
            table.add_row(str(shape), "too few")
            continue
        cells: list[str] = []
        for case in cases:
            fast, share = figures.sparse.get(case, (math.nan, math.nan))
            cells += [f"{fast:.2f}", f"{share:.1%}"]
        known = str(figures.turns), f"{1e6 * figures.seconds:.1f}", f"{1e-9 * figures.rate:.0f}"
        table.add_row(str(shape), *known, *cells)
    return table


def draw(
    patterns: Sequence[Pattern],
    sparsity: Sequence[float],
    layers: Mapping[Shape, Figures | None],
    path: Path,
) -> None:
    """Speed-up, and what of the roof is reached, against sparsity: a line for each layer, a colour
    for those with as many rows; a row of panels for each pattern."""
    matplotlib.use("Agg")
    from matplotlib import pyplot

    families = list(dict.fromkeys((shape.model, shape.rows) for shape in layers))
    colour = colors([str(family) for family in families], [])
    size = 10, 4 * len(patterns)
    figure, panels = pyplot.subplots(
        len(patterns), 2, figsize=size, layout="constrained", sharey="col", squeeze=False
    )
    titles = "times as fast as the tuned dense kernel", "of the roof, %"
    for (row, pattern), (at, title) in product(enumerate(patterns), enumerate(titles)):
        axes = panels[row][at]
        named = set()
        for shape, found in layers.items():
            values = found.sparse if found else {}
            if (pattern, sparsity[0]) not in values:
                continue
            family = (shape.model, shape.rows)
            axes.plot(
                [100 * share for share in sparsity],
                [values[pattern, share][at] * (1, 100)[at] for share in sparsity],
                marker="o",
                markersize=3.5,
                linewidth=1.2,
                color=colour[str(family)],
                label=None if family in named else f"{shape.model}, {shape.rows} rows",
            )
            named.add(family)
        axes.axhline((1, 70)[at], color=INK, linewidth=0.8)
        axes.set_xlabel("blocks left out, %")
        axes.set_xticks([100 * share for share in sparsity])
        axes.set_title(f"{pattern}: {title}", fontsize=TITLE_SIZE, loc="left")
        axes.spines[["top", "right"]].set_visible(False)
    panels[0][0].set_yscale("log", base=2)
    panels[0][0].set_yticks([1, 2, 4, 8], ["1", "2", "4", "8"])
    panels[0][1].set_ylim(bottom=0)
    panels[0][0].legend(fontsize=SMALL_SIZE, frameon=False)
    figure.savefig(path, dpi=120)


if __name__ == "__main__":
    main()
