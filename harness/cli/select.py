"""`layeredge select`: a cell to deploy."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import click

from harness.cli.completion import in_results
from harness.cli.terminal import output
from harness.records.metrics import CHOOSABLE
from harness.specs.settings import AXES, Settings
from harness.specs.sweep import Kind

if TYPE_CHECKING:
    from harness.records.metrics import Metric
    from harness.records.select import Selection


class _Finite(click.FloatRange):
    def _describe_range(self) -> str:
        return super()._describe_range() if self.min is not None else "any"

    def convert(self, value: Any, param: Any, ctx: Any) -> float:
        found = float(super().convert(value, param, ctx))
        if not math.isfinite(found):
            self.fail(f"{value} is not a finite number.", param, ctx)
        return found


_ABOVE_ZERO = _Finite(min=0, min_open=True)
_NEAREST = 10
Command = Callable[..., Any]


def _parameter(option: str) -> str:
    """The name of the parameter with the limit of a metric."""
    return f"limit_{option.replace('-', '_')}"


def _limits(command: Command) -> Command:
    """An option for each metric that cells are chosen by, as `--max-latency-ms`."""
    for option, metric in reversed([*CHOOSABLE.items()]):
        added = click.option(
            metric.limit_option,
            _parameter(option),
            type=_Finite() if metric.most else _ABOVE_ZERO,
            help=metric.help or None,
        )
        command = added(command)
    return command


def _axes(command: Command) -> Command:
    """An option for each axis of a sweep, as `--batch`."""
    for name, axis in reversed([*AXES.items()]):
        command = click.option(f"--{name}", type=click.IntRange(min=1), help=axis.help)(command)
    return command


@click.command("select")
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@_limits
@click.option(
    "--any-accuracy",
    is_flag=True,
    help="Also consider configurations clearly less accurate than the uncompressed network.",
)
@click.option(
    "--objective",
    type=click.Choice([*CHOOSABLE]),
    show_default="latency, or the metric of the kind",
    help="The metric to be best in.",
)
@click.option("--allow-agreement", is_flag=True, help="Agreement with the reference will do.")
@click.option(
    "--model", shell_complete=in_results("model"), help="The model; needed when DIR holds several."
)
@click.option("--target", shell_complete=in_results("target"), help="Only cells of this target.")
@click.option(
    "--engine", shell_complete=in_results("engine"), help="Only cells of this engine, such as tvm."
)
@click.option(
    "--configuration",
    shell_complete=in_results("configuration"),
    help="Only cells of this configuration, such as tuned.",
)
@_axes
@click.option(
    "--kind",
    type=click.Choice(get_args(Kind)),
    default="measured",
    show_default=True,
    help="Which kind; they never mix.",
)
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
    from harness.records.candidates import Constraints
    from harness.records.narrow import narrow
    from harness.records.select import select
    from harness.records.store import FILE_NAME, Store

    limits = {
        option: limit
        for option in CHOOSABLE
        if (limit := options.pop(_parameter(option))) is not None
    }
    names = {name: options.pop(name) for name in ("model", "target", "engine", "configuration")}
    settings = Settings(**{name: options.pop(name) for name in AXES})
    aims = {name: options.pop(name) for name in ("objective", "kind")}
    with Store(folder / FILE_NAME) as store:
        everything = store.records()
        records = {one.fingerprint: one for one in narrow(everything, **names, settings=settings)}
        constraints = Constraints(limits=limits, **options)
        found = select(
            [*records.values()], constraints, samples=store.samples, beside=everything, **aims
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
        if not as_json:
            click.echo(
                f"exported: {out}/run.py runs it, and layeredge.Model({str(out)!r}) calls it"
            )


def _print(found: Selection) -> None:
    from rich.table import Table

    from harness.records.candidates import considered, units_of

    rows = [(found.choice, "the choice")] if found.choice else []
    for one in found.runners_up:
        beaten = f"; no better in anything than {one.dominated_by}" if one.dominated_by else ""
        tie = ", a tie" if one.tied else ""
        rows.append((one.candidate, f"{found.objective} {one.behind}{tie}{beaten}"))
    for miss in found.rejected[:_NEAREST]:
        rows.append((miss.candidate, "; ".join(broken.text for broken in miss.broken)))
    cells = [cell for cell, _ in rows]
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("cell", overflow="fold")
    shown = {
        option: _heading(metric, units_of(option, cells))
        for option, metric in considered(found.constraints, found.objective).items()
        if any(cell.figures[option] is not None for cell in cells)
    }
    for title in shown.values():
        table.add_column(title, justify="right", overflow="fold")
    table.add_column("standing", overflow="fold")
    for cell, standing in rows:
        figures = (_figure(cell.figures[option]) for option in shown)
        table.add_row(str(cell.key), *figures, standing)
    console = output()
    console.print(str(found.choice.key) if found.choice else "no cell fits", style="bold")
    for line in (*found.why, *found.flips, *found.left_out):
        console.print(f"  {line}", markup=False)
    console.print(table)


def _figure(value: float | None) -> str:
    """A figure for its column, which has the unit."""
    if value is None:
        return "–"
    return f"{value:,.0f}" if value >= 10_000 else f"{value:.4g}"


def _heading(metric: Metric, units: Sequence[str]) -> str:
    """The heading of a metric's column, with its unit."""
    return ", ".join(filter(None, (metric.title, " or ".join(units))))
