"""`layeredge inspect`: what fusion makes of a model."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from harness.inspection import Inspection
    from harness.spec import FusionLevel


@click.command("inspect")
@click.argument("model")
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
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
def command(
    model: str, level: FusionLevel, target: str, shapes: tuple[str, ...], as_json: bool
) -> None:
    """Show the kernels of MODEL, a catalog name or a file, at a fusion level.

    For each kernel: the operators in it, how often an inference calls it, and what a call computes
    and moves. FLOP/byte is its arithmetic intensity: kernels of little are bound by memory. A stray
    kernel only moves or clips data, and should be part of another one.

    \b
    Example:
      layeredge inspect fashion-resnet8
      layeredge inspect network.onnx --fusion none --shape input=1,3,224,224
    """
    from harness.hardware import load_target
    from harness.inspection import inspect
    from harness.spec import parse_shapes

    found = inspect(model, level, load_target(target), parse_shapes(shapes))
    if as_json:
        click.echo(found.model_dump_json(indent=2))
    else:
        _print(found)


def _print(found: Inspection) -> None:
    from rich.console import Console, Group
    from rich.padding import Padding
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    table.add_column("kernel, and its operators", overflow="fold")
    for name in ("calls", "MFLOP", "kB", "FLOP/byte"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("output", no_wrap=True)
    for kernel in found.kernels:
        title = Text.assemble(kernel.name, (" stray" if kernel.stray else "", "bold red"))
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
    console = Console(highlight=False)
    console.print(
        f"{found.model}, fusion {found.level}, target {found.target}: "
        f"{fusion.kernels_before} kernels before fusion, {fusion.kernels_after} after, "
        f"{len(fusion.stray)} stray",
        style="bold",
        markup=False,
    )
    console.print(table)


def _figure(value: float) -> str:
    """Three significant digits, and no exponent: the columns stay comparable by eye."""
    if 0 < value < 0.001:
        return "<0.001"
    return f"{value:,.0f}" if value >= 100 else f"{value:#.3g}" if value else "0"
