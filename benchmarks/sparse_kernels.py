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
from layer_kernels import LAYERS, ROUNDS, Form, Kernel, Maker, Shape
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from harness.compiler.api import target_of
from harness.edges.blocks import Block
from harness.edges.patterns import block_of
from harness.hardware import HOST, load_target
from harness.kernels.dot_products import products_of
from harness.kernels.vectors import vector_lanes
from harness.machine.environment import noise_warnings
from harness.machine.roofline import with_measured_roofs
from harness.report.plots.style import INK, SMALL_SIZE, TITLE_SIZE, colors
from harness.specs.patterns import BLOCKS, Pattern
from harness.specs.target import TargetSpec

_UNDISTURBED = 1.15
"""How much longer than at its best, see `_BEST`, the probe may take where nobody is beside it."""
_BEST = 0.01
"""Which quantile of all the times of the probe counts as its best."""
_LEAST_TURNS = 10
"""So many undisturbed turns it takes to say something of a layer."""


PROBE = Shape("MiniLM", 32, 384, 384)

Case = tuple[Pattern, float]
"""A pattern, and the share of blocks that are left out."""
PROBED: Case = ("block", 0.9)


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
        after[ROUNDS - 1 :: ROUNDS] = True
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


class SparseKernels:
    """The kernels of layers, dense and sparse, in floats or in integers."""

    def __init__(self, spec: TargetSpec, trials: int, seed: int, *, integers: bool) -> None:
        target = target_of(spec.tvm.as_tvm())
        self._products = products_of(target) if integers else None
        if integers and self._products is None:
            raise click.ClickException("this processor has no products of 8-bit integers")
        self._lanes = vector_lanes(target)
        self._maker = Maker(spec, trials, seed)

    def layer(self, shape: Shape, cases: Sequence[Case], probe: Kernel, folder: Path) -> Layer:
        """A layer, measured: dense, and in those cases whose blocks divide it."""
        fitting = [case for case in cases if self._fits(shape, block_of(case[0], self._lanes))]
        dense = self.kernel(shape, ("block", 0.0), folder / "dense")
        sparse = {case: self.kernel(shape, case, folder / f"{case}") for case in fitting}
        *times, probed = self._maker.in_turns([dense, *sparse.values(), probe])
        return Layer(shape, dense, sparse, np.array(times), probed)

    def kernel(self, shape: Shape, case: Case, folder: Path) -> Kernel:
        """A layer's kernel in one case."""
        pattern, sparsity = case
        form = Form(self._products, sparsity, block_of(pattern, self._lanes))
        return self._maker.kernel(shape, form, folder)

    def _fits(self, shape: Shape, block: Block) -> bool:
        return shape.inputs % block.inputs == 0 and shape.outputs % block.outputs == 0


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
    spec = with_measured_roofs(load_target(HOST))
    maker = SparseKernels(spec, trials, seed, integers=integers)
    bandwidth = 1e9 * (spec.hardware.memory_bandwidth_gbs or float("inf"))
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
