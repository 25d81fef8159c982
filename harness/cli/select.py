"""`layeredge select`: what to deploy."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from harness.select import Selection

_LIMIT = click.FloatRange(min=0, min_open=True)
_NEAREST = 10


def _one_of(names: str, *known: str, help: str) -> Callable[..., Any]:
    return click.option(
        *names.split(), type=click.Choice(known), default=known[0], show_default=True, help=help
    )


@click.command("select")
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.option("--max-latency-ms", type=_LIMIT)
@click.option("--max-memory-mb", type=_LIMIT)
@click.option("--min-accuracy", type=_LIMIT)
@_one_of("--objective", "latency", "memory", "accuracy", help="What to be best in.")
@_one_of("--latency-percentile latency_figure", "median", "p90", "p99", help="Which latency.")
@_one_of(
    "--memory memory_figure", "peak", "weights", "activation", "artifact",
    help="Which memory; peak is all that a process which only runs the model ever holds.",
)  # fmt: skip
@click.option("--allow-agreement", is_flag=True, help="Agreement with the reference will do.")
@click.option("--model", help="The model; needed when DIR holds several.")
@click.option("--target", help="Only cells of this target.")
@click.option("--engine", help="Only cells of this engine, such as tvm.")
@_one_of("--kind", "measured", "emulated-count", "static", help="Which kind; they never mix.")
@click.option("--export", "out", type=click.Path(path_type=Path), help="Write the choice here.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of tables.")
def command(folder: Path, out: Path | None, as_json: bool, **options: Any) -> None:
    """Choose which cell of the results in DIR to deploy, and say why.

    A tie in latency is broken by the smaller memory. Ends with 1 when no cell is within the limits,
    and shows by how much the nearest ones miss them.

    \b
    Example:
      layeredge select results/quickstart --model fashion-resnet8 --max-latency-ms 5 \\
          --max-memory-mb 150 --min-accuracy 0.9 --engine tvm --export deploy/
    """
    from harness.errors import InputError
    from harness.select import Constraints, narrow, select
    from harness.store import FILE_NAME, Store

    names = {name: options.pop(name) for name in ("model", "target", "engine")}
    aims = {name: options.pop(name) for name in ("objective", "kind")}
    with Store(folder / FILE_NAME) as store:
        records = {one.fingerprint: one for one in narrow(store.records(), **names)}
        limits = Constraints(**options)
        found = select([*records.values()], limits, samples=store.samples, **aims)
    if as_json:
        click.echo(found.model_dump_json(indent=2))
    else:
        _print(found)
    if found.choice is None:
        raise click.exceptions.Exit(1)
    if out is not None:
        if (engine := found.choice.key.engine) != "tvm":
            raise InputError(f"--export needs engine tvm, the choice is {engine}; add --engine tvm")
        from harness.deploy import export

        export(folder, records[found.choice.fingerprint], out)


def _print(found: Selection) -> None:
    from rich.console import Console
    from rich.table import Table

    rows = [(found.choice, "the choice")] if found.choice else []
    for one in found.runners_up:
        beaten = f"; no better in anything than {one.dominated_by}" if one.dominated_by else ""
        rows.append((one.candidate, f"{found.objective} {one.behind}{beaten}"))
    for miss in found.rejected[:_NEAREST]:
        rows.append((miss.candidate, "; ".join(broken.text for broken in miss.broken)))
    latency, memory = found.constraints.latency_figure, found.constraints.memory_figure
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("cell", f"{latency}, ms", f"{memory}, MB", "accuracy", "standing"):
        left = name in ("cell", "standing")
        table.add_column(name, justify="left" if left else "right", overflow="fold")
    for cell, standing in rows:
        figures = (cell.latency_ms, cell.memory_mb, cell.accuracy)
        written = ("–" if figure is None else f"{figure:.4g}" for figure in figures)
        table.add_row(str(cell.key), *written, standing)
    console = Console(highlight=False)
    console.print(str(found.choice.key) if found.choice else "no cell fits", style="bold")
    for line in (*found.why, *found.left_out):
        console.print(f"  {line}", markup=False)
    console.print(table)
