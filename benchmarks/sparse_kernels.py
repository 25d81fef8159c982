"""Block-sparse kernels beside the tuned dense ones: how much faster, and how much the roof allows.

    python benchmarks/sparse_kernels.py --trials 64

Dense layers and pointwise convolutions of EfficientNet-Lite0 and MiniLM, with bias and activation,
dense and at several sparsities, each tuned with as many trials. A layer's kernels are then measured
in turns. What the roof allows is the lesser of two rates: that of the dense kernel's arithmetic,
and what the bytes need that must be moved. Prints tables, and draws speed-up against sparsity.

On a rented machine others use the other threads of the same cores, now and then, and with them half
of the nearest cache. What gathers suffers more from it than what does not. A probe, one more sparse
kernel that is the same for all layers, tells in which turns nobody was there: a second table is of
those alone. Who has a machine to himself should find the two alike.
"""

from __future__ import annotations

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

from harness.build import flops, moved_bytes
from harness.edges.patterns import mask_of
from harness.edges.scores import grouped
from harness.environment import noise_warnings
from harness.hardware import HOST, load_target
from harness.kernels.elementary import use_vector_arithmetic
from harness.passes.adapt import adapt
from harness.passes.canonicalise import canonicalise
from harness.passes.fusion import fuse
from harness.passes.vectors import vector_lanes
from harness.report.plots.style import INK, SMALL_SIZE, TITLE_SIZE, colors
from harness.roofline import with_measured_roofs
from harness.spec import Tune
from harness.target_spec import Passes
from harness.tuning.database import TuningDatabase
from harness.tuning.kernel_process import Candidate, KernelTask
from harness.tuning.measurer import KernelMeasurer
from harness.tuning.progress import TuningProgress
from harness.tuning.real_inputs import record_kernel_inputs
from harness.tuning.rivals import scheduled
from harness.tuning.tasks import tasks_of
from harness.tuning.tuner import Tuner
from harness.tvm_api import load_tensor_intrinsics, relax, tvm

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
PROBE_SPARSITY = 0.9

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


def network(shape: Shape, sparsity: float, lanes: int) -> tvm.IRModule:
    """A layer with bias and activation, and with weights of this block sparsity."""
    generator = np.random.default_rng(0)
    weights = generator.standard_normal((shape.inputs, shape.outputs)).astype(np.float32)
    if sparsity:
        if shape.outputs % lanes:
            raise click.ClickException(f"{shape}: outputs are no whole vectors of {lanes}")
        scores = grouped(weights.astype(np.float64) ** 2, lanes)
        weights = weights * mask_of(scores, "block", sparsity, lanes)
    builder = relax.BlockBuilder()
    data = relax.Var("data", relax.TensorType((1, shape.rows, shape.inputs), "float32"))
    with builder.function("main", [data]):
        with builder.dataflow():
            product = builder.emit(relax.op.matmul(data, relax.const(weights)))
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
    for each sparsity how many times as fast, and which share of what the roof allows."""

    turns: int
    seconds: float
    rate: float
    sparse: list[tuple[float, float]]


@dataclass(frozen=True)
class Layer:
    """A layer's kernels, the dense one first, with seconds per call, [kernels][turns], and those of
    the probe beside them, [turns]."""

    shape: Shape
    kernels: Sequence[Kernel]
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
        rate = self.kernels[0].flops / dense
        found = []
        for kernel, seconds in zip(self.kernels[1:], sparse, strict=True):
            allowed = max(kernel.flops / rate, kernel.bytes / bandwidth)
            found.append((float(dense / seconds), float(allowed / seconds)))
        return Figures(times.shape[1], float(dense), float(rate), found)


class Maker:
    """Tunes and compiles the kernels of layers."""

    def __init__(self, trials: int, seed: int) -> None:
        load_tensor_intrinsics("x86")
        use_vector_arithmetic()
        self.spec = with_measured_roofs(load_target(HOST))
        self._target = tvm.target.Target(self.spec.tvm.as_tvm())
        self._threads = self.spec.tvm.num_cores
        self.lanes = vector_lanes(self._target)
        self._trials = trials
        self._seed = seed

    def kernel(self, shape: Shape, sparsity: float, folder: Path) -> Kernel:
        """A layer's one kernel, tuned; `folder` keeps what it is given."""
        module = canonicalise(network(shape, sparsity, self.lanes))
        fused = fuse(adapt(module, Passes(), self._target), "full")
        feed = np.random.default_rng(1).standard_normal((1, shape.rows, shape.inputs))
        inputs = record_kernel_inputs(
            fused, self._target, self._threads, [feed.astype(np.float32)], folder
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
                found.append(np.array(measurer.rivals(entries, _ROUNDS)))
        return np.concatenate(found, axis=1)


def _deaf(progress: TuningProgress) -> None:
    """Of a tuning that takes seconds nothing is shown."""


@click.command()
@click.option("--trials", type=click.IntRange(min=1), default=64, show_default=True)
@click.option("--sparsity", multiple=True, type=float, default=(0.35, 0.5, 0.75, 0.9))
@click.option("--layers", type=int, default=len(LAYERS), help="Only as many of the layers.")
@click.option("--seed", type=int, default=0, show_default=True)
@click.option("--plot", type=click.Path(dir_okay=False, path_type=Path), default=None)
def main(
    trials: int, sparsity: tuple[float, ...], layers: int, seed: int, plot: Path | None
) -> None:
    """Measure block-sparse kernels beside dense ones."""
    for warning in noise_warnings():
        click.echo(f"warning: {warning}", err=True)
    maker = Maker(trials, seed)
    bandwidth = 1e9 * (maker.spec.hardware.memory_bandwidth_gbs or float("inf"))
    layered: list[Layer] = []
    with Progress(transient=True) as progress, tempfile.TemporaryDirectory() as probe_folder:
        going = progress.add_task("layers", total=layers)
        probe = maker.kernel(PROBE, PROBE_SPARSITY, Path(probe_folder))
        for shape in LAYERS[:layers]:
            with tempfile.TemporaryDirectory() as folder:
                kernels = [
                    maker.kernel(shape, share, Path(folder) / str(share))
                    for share in (0.0, *sparsity)
                ]
                *times, probed = maker.in_turns([*kernels, probe])
            layered.append(Layer(shape, kernels, np.array(times), probed))
            progress.advance(going)
    best = float(np.quantile([layer.probed for layer in layered], _BEST))
    every = {layer.shape: layer.figures(bandwidth) for layer in layered}
    alone = {
        layer.shape: layer.figures(bandwidth, layer.undisturbed(_UNDISTURBED * best))
        for layer in layered
    }
    console = Console(width=200)
    console.print("All turns", style="bold")
    console.print(table_of(sparsity, every))
    console.print("Undisturbed turns", style="bold")
    console.print(table_of(sparsity, alone))
    if plot:
        draw(sparsity, every, alone, plot)


def table_of(sparsity: Sequence[float], layers: Mapping[Shape, Figures | None]) -> Table:
    """A row for each layer."""
    table = Table("layer", "turns", "dense µs", "GFLOP/s", box=None)
    for share in sparsity:
        table.add_column(f"{share:.0%}: speed-up")
        table.add_column("of the roof")
    for shape, figures in layers.items():
        if figures is None:
            table.add_row(str(shape), "too few")
            continue
        cells = [text for fast, share in figures.sparse for text in (f"{fast:.2f}", f"{share:.1%}")]
        known = str(figures.turns), f"{1e6 * figures.seconds:.1f}", f"{1e-9 * figures.rate:.0f}"
        table.add_row(str(shape), *known, *cells)
    return table


def draw(
    sparsity: Sequence[float],
    every: Mapping[Shape, Figures | None],
    alone: Mapping[Shape, Figures | None],
    path: Path,
) -> None:
    """Speed-up, and what of the roof is reached, against sparsity: a line for each layer, a colour
    for those with as many rows. Those of all turns above those of undisturbed ones."""
    matplotlib.use("Agg")
    from matplotlib import pyplot

    families = list(dict.fromkeys((shape.model, shape.rows) for shape in every))
    colour = colors([str(family) for family in families], [])
    figure, panels = pyplot.subplots(2, 2, figsize=(10, 8), layout="constrained", sharey="col")
    titles = "times as fast as the tuned dense kernel", "of the roof, %"
    rows = ("all turns", every), ("undisturbed turns", alone)
    for (row, (turns, layers)), (at, title) in product(enumerate(rows), enumerate(titles)):
        axes = panels[row][at]
        named = set()
        for shape, found in layers.items():
            if found is None:
                continue
            family = (shape.model, shape.rows)
            axes.plot(
                [100 * share for share in sparsity],
                [each[at] * (1, 100)[at] for each in found.sparse],
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
        axes.set_title(f"{title}: {turns}", fontsize=TITLE_SIZE, loc="left")
        axes.spines[["top", "right"]].set_visible(False)
    panels[0][0].set_yscale("log", base=2)
    panels[0][0].set_yticks([1, 2, 4, 8], ["1", "2", "4", "8"])
    panels[0][1].set_ylim(bottom=0)
    panels[0][0].legend(fontsize=SMALL_SIZE, frameon=False)
    figure.savefig(path, dpi=120)


if __name__ == "__main__":
    main()
