"""`layeredge select`: what to deploy."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from harness.records.figures import Candidate, Objective
    from harness.records.select import Selection


class _Finite(click.FloatRange):
    def convert(self, value: Any, param: Any, ctx: Any) -> float:
        found = float(super().convert(value, param, ctx))
        if not math.isfinite(found):
            self.fail(f"{value} is not a finite number.", param, ctx)
        return found


_LIMIT = _Finite(min=0, min_open=True)
_NEAREST = 10
_OBJECTIVES = (
    "latency", "memory", "accuracy", "price", "energy", "instructions", "static-estimate"
)  # fmt: skip


def _one_of(names: str, *known: str, help: str) -> Callable[..., Any]:
    return click.option(
        *names.split(), type=click.Choice(known), default=known[0], show_default=True, help=help
    )


@click.command("select")
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.option("--max-latency-ms", type=_LIMIT)
@click.option("--max-memory-mb", type=_LIMIT)
@click.option(
    "--min-accuracy", type=_Finite(), help="Of the model's metric; instead of the default."
)
@click.option(
    "--any-accuracy",
    is_flag=True,
    help="Also consider what is clearly less accurate than the uncompressed network.",
)
@click.option("--max-price-per-million", type=_LIMIT, help="Of a million inferences.")
@click.option("--max-energy-mj", type=_LIMIT, help="Of an inference, at the hardware's full power.")
@click.option("--max-instructions", type=_LIMIT, help="Of an inference, on an emulated board.")
@click.option("--max-static-estimate-ms", type=_LIMIT, help="For what was only compiled.")
@click.option(
    "--objective",
    type=click.Choice(_OBJECTIVES),
    show_default="latency, or what the kind has",
    help="What to be best in.",
)
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

    Cells of several targets are compared, within one kind. Prices and energies are those of the
    measured latency on the described hardware, where its description says them. A tie in latency is
    broken by the smaller memory. Ends with 1 when no cell is within the limits, and shows by how
    much the nearest ones miss them.

    Without --min-accuracy, cells that are clearly less accurate than the uncompressed network are
    left out, and named: sample by sample where the records tell, otherwise by the 95 % intervals.
    Where there are no labels, a network with fewer edges must agree with the uncompressed one on
    seven of eight inputs. --any-accuracy turns this off.

    \b
    Example:
      layeredge select results/quickstart --model fashion-resnet8 --max-latency-ms 5 \\
          --max-memory-mb 150 --min-accuracy 0.9 --engine tvm --export deploy/
    """
    from harness.errors import InputError
    from harness.records.figures import Constraints
    from harness.records.select import narrow, select
    from harness.records.store import FILE_NAME, Store

    names = {name: options.pop(name) for name in ("model", "target", "engine")}
    aims = {name: options.pop(name) for name in ("objective", "kind")}
    with Store(folder / FILE_NAME) as store:
        everything = store.records()
        records = {one.fingerprint: one for one in narrow(everything, **names)}
        limits = Constraints(**options)
        found = select(
            [*records.values()], limits, samples=store.samples, beside=everything, **aims
        )
    if as_json:
        click.echo(found.model_dump_json(indent=2))
    else:
        _print(found)
    if found.choice is None:
        raise click.exceptions.Exit(1)
    if out is not None:
        from harness.records.record import OWN_ENGINE

        if (engine := found.choice.key.engine) != OWN_ENGINE:
            raise InputError(f"--export needs engine tvm, the choice is {engine}; add --engine tvm")
        from harness.deploy.folder import export

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
    cells = [cell for cell, _ in rows]
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("cell", overflow="fold")
    shown = {
        aspect: title
        for aspect, title in _titles(found, cells).items()
        if any(cell.figure(aspect) is not None for cell in cells)
    }
    for title in shown.values():
        table.add_column(title, justify="right", overflow="fold")
    table.add_column("standing", overflow="fold")
    for cell, standing in rows:
        figures = (_figure(cell.figure(aspect)) for aspect in shown)
        table.add_row(str(cell.key), *figures, standing)
    console = Console(highlight=False, markup=False)
    console.print(str(found.choice.key) if found.choice else "no cell fits", style="bold")
    for line in (*found.why, *found.left_out):
        console.print(f"  {line}", markup=False)
    console.print(table)


def _figure(value: float | None) -> str:
    """A figure for its column, which has the unit."""
    if value is None:
        return "–"
    return f"{value:,.0f}" if value >= 10_000 else f"{value:.4g}"


def _titles(found: Selection, cells: Sequence[Candidate]) -> dict[Objective, str]:
    """The columns that there are figures for, with their units."""
    currency = next((cell.currency for cell in cells if cell.currency), "")
    return {
        "latency": f"{found.constraints.latency_figure}, ms",
        "memory": f"{found.constraints.memory_figure}, MB",
        "accuracy": "accuracy",
        "price": f"a million, {currency}",
        "energy": "energy ≤, mJ",
        "instructions": "instructions",
        "static-estimate": "static estimate, ms",
    }
