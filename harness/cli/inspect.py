"""`layeredge inspect`: the kernels of a fused model, and the edges that could be dropped."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from harness.cli.completion import model_or_file
from harness.cli.terminal import output
from harness.errors import printable

if TYPE_CHECKING:
    from rich.table import Table

    from harness.inspection.edges import EdgeInspection, InspectedLayer
    from harness.inspection.kernels import Inspection
    from harness.specs.sweep import FusionLevel


@click.command("inspect")
@click.argument("models", metavar="MODEL...", nargs=-1, required=True, shell_complete=model_or_file)
@click.option(
    "--fusion",
    "level",
    type=click.Choice(["none", "elementwise", "full"]),
    default="full",
    show_default=True,
    help="Which operators share a kernel.",
)
@click.option(
    "--target", default="x86-host", show_default=True, help="Its name or file; decides the layout."
)
@click.option(
    "--shape",
    "shapes",
    multiple=True,
    metavar="NAME=1,3,224,224",
    help="Static shape of an input; once for each.",
)
@click.option(
    "--edges", is_flag=True, help="Show the layers before fusion, and the value of their edges."
)
@click.option("--usable", is_flag=True, help="Only say whether a model can be used.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
def command(
    models: tuple[str, ...],
    level: FusionLevel,
    target: str,
    shapes: tuple[str, ...],
    edges: bool,
    usable: bool,
    as_json: bool,
) -> None:
    """Show the kernels of one MODEL, or which of several can be used.

    Of several models, a folder, or with --usable: imports each file and prints its format, inputs
    and quantization, whether it can be used, and what that takes: shapes to give, and operators
    that are not supported, with their nodes. Nothing is compiled. The exit code is 1 where a file
    cannot be used.

    Of one model, a catalog name or a file: its kernels at a fusion level.

    For each kernel: the operators in it, how often an inference calls it, and what a call computes
    and moves. FLOP/byte is its arithmetic intensity: kernels of little are bound by memory. A stray
    kernel only moves or clips data, and should be part of another one.

    With --edges: layer by layer what an inference computes in it, which share of the time its
    kernel takes, how the magnitude of its edges is spread over blocks, and which share of that
    dropping 50 % or 80 % of the blocks costs. A layer that would lose little is one to prune.
    Layers whose edges cannot be dropped are listed with the reason; names are those that a sweep's
    `exclude` takes.

    \b
    Example:
      layeredge inspect fashion-resnet8
      layeredge inspect fashion-resnet8 --edges
      layeredge inspect my-models/ other.tflite
      layeredge inspect network.onnx --fusion none --shape input=1,3,224,224
    """
    from harness.hardware import load_target
    from harness.inspection.process import inspected
    from harness.specs.sweep import parse_shapes

    paths = tuple(map(Path, models))
    if usable or len(paths) > 1 or paths[0].is_dir():
        from harness.cli import survey

        if edges:
            raise click.UsageError("--edges takes one model")
        if not survey.show(paths, parse_shapes(shapes), as_json=as_json):
            raise click.exceptions.Exit(1)
        return
    (model,) = models
    if edges:
        _inspect_edges(model, target, parse_shapes(shapes), as_json)
        return
    found = inspected(model, level, load_target(target), parse_shapes(shapes))
    if as_json:
        click.echo(found.model_dump_json(indent=2))
    else:
        _print(found)


_ANY_WIDTH = 10_000


def _inspect_edges(
    model: str, target: str, shapes: dict[str, tuple[int, ...]], as_json: bool
) -> None:
    from harness.files.cache import cache_folder
    from harness.hardware import load_target, target_fingerprint
    from harness.inspection.process import inspected_edges

    spec = load_target(target)
    tuned = cache_folder() / "tuning" / target_fingerprint(spec)
    found = inspected_edges(model, spec, shapes, tuned)
    if as_json:
        click.echo(found.model_dump_json(indent=2))
    else:
        _print_edges(found)


def _print_edges(found: EdgeInspection) -> None:
    console = output()
    prunable = sum(layer.scores is not None for layer in found.layers)
    console.print(
        f"{found.model}, target {found.target}: {len(found.layers)} layers, {prunable} of them "
        f"with blocks of {found.lanes} outputs",
        style="bold",
        markup=False,
    )
    table = _layer_table(found, named=True)
    unlimited = console.options.update(max_width=_ANY_WIDTH)
    fits = console.measure(table, options=unlimited).maximum <= console.width
    console.print(table if fits else _layer_table(found, named=False))
    if not fits:  # whole names, to be copied into `exclude`
        for layer in found.layers:
            name = f"{layer.number:>3} {printable(layer.name or layer.operator)}"
            console.print(name, markup=False, soft_wrap=True)
    console.print(_legend(found), style="dim", markup=False)


def _layer_table(found: EdgeInspection, *, named: bool) -> Table:
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 1, 0, 0))
    table.add_column("#", justify="right", no_wrap=True)
    if named:
        table.add_column("layer", no_wrap=True)
    table.add_column("weights", no_wrap=True)
    for name in ("edges", "MFLOP", "FLOPs", "time"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("blocks by score", width=len("blocks by score"))
    for name in ("50 %", "80 %"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("reads", min_width=5)
    for layer in found.layers:
        number, name, *figures = _layer_row(layer)
        cells = (number, name, *figures) if named else (number, *figures)
        table.add_row(*cells, style=None if layer.scores else "dim")
    return table


def _layer_row(layer: InspectedLayer) -> tuple[str, ...]:
    before = ", ".join(map(str, (*(["input"] if layer.reads_input else []), *layer.reads)))
    scores = layer.scores
    return (
        str(layer.number),
        printable(layer.name or layer.operator),
        "×".join(map(str, layer.shape)),
        f"{layer.parameters:,}" if layer.parameters else "–",
        _figure(layer.flops / 1e6),
        _share(layer.flops_share),
        _share(layer.time_share),
        _sparkline(scores.histogram) if scores else (layer.kept or ""),
        _share(scores.lowest_half if scores else None),
        _share(scores.lowest_80 if scores else None),
        before or "–",
    )


def _legend(found: EdgeInspection) -> str:
    from harness.inspection.edges import SCORE_BINS

    times = {
        "tuning": "of the kernels' times, measured while tuning",
        "roofline": "of the least times that the roofline allows; the tuning database has the "
        f"kernels of {found.layers_tuned} of {len(found.layers)} layers",
        None: "not known; layeredge targets detect --measure finds this machine's roofs",
    }
    return (
        f"time: {times[found.time_source]}.\n"
        "blocks by score: how many there are, by the sum of their squared weights: less than "
        f"1/{1 / SCORE_BINS[0]:.0f} of the layer's mean, up to twice that, and so on to "
        f"{SCORE_BINS[-1]:.0f} times the mean and more.\n"
        "50 %, 80 %: the share of the layer's score that block sparsity of as much drops; where it "
        "is small, the layer's least edges matter little."
    )


def _sparkline(counts: tuple[int, ...]) -> str:
    """A bar a bin, by its height as a part of the highest; any count at all can be seen."""
    bars = "▁▂▃▄▅▆▇█"
    highest = max(counts)
    return "".join(
        bars[max(0, round(count / highest * len(bars)) - 1)] if count else "·" for count in counts
    )


def _share(part: float | None) -> str:
    if part is None:
        return "–"
    return "<1 %" if 0 < part < 0.005 else f"{part:.0%}".replace("%", " %")


def _print(found: Inspection) -> None:
    from rich.console import Group
    from rich.padding import Padding
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    table.add_column("kernel, and its operators", overflow="fold")
    for name in ("calls", "MFLOP", "kB", "FLOP/byte"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("output", no_wrap=True)
    for kernel in found.kernels:
        title = Text.assemble(
            printable(kernel.name), (" stray" if kernel.stray else "", "bold red")
        )
        group = Text(" + ".join(kernel.operators), style="dim")
        figures = (kernel.flops / 1e6, kernel.bytes / 1e3, kernel.intensity)
        table.add_row(
            Group(title, Padding(group, (0, 0, 0, 2))) if len(kernel.operators) > 1 else title,
            str(kernel.calls),
            *map(_figure, figures),
            "\n".join("×".join(map(str, shape)) or "scalar" for shape in kernel.output_shapes),
        )
    fusion, flops, moved = found.fusion, found.total_flops, found.total_bytes
    totals = (flops / 1e6, moved / 1e3, flops / moved if moved else 0.0)
    table.add_section()
    table.add_row("one inference", str(fusion.kernels_after), *map(_figure, totals), style="bold")
    console = output()
    console.print(
        f"{found.model}, fusion {found.level}, target {found.target}: "
        f"{fusion.kernels_before} kernels before fusion, {fusion.kernels_after} after, "
        f"{len(fusion.stray)} stray",
        style="bold",
        markup=False,
    )
    if found.state:
        pairs = printable(", ".join(f"{each.output} → {each.input}" for each in found.state))
        console.print(f"Its state, outputs that are the next inputs: {pairs}.", markup=False)
    if found.unkept:
        names = printable(", ".join(found.unkept))
        console.print(
            f"Operators keep state in {len(found.unkept)} tensors ({names}). This is the first "
            "inference, with the values that they begin with.",
            markup=False,
        )
    console.print(table)


def _figure(value: float) -> str:
    """Three significant digits, and no exponent: the columns stay comparable by eye."""
    if 0 < value < 0.001:
        return "<0.001"
    return f"{value:,.0f}" if value >= 100 else f"{value:#.3g}" if value else "0"
