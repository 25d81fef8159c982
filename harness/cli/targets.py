"""`layeredge targets`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from harness.cli.tracker_option import servers_of, tracker_option

if TYPE_CHECKING:
    from harness.specs.target import TargetSpec


@click.group()
def command() -> None:
    """Hardware descriptions: list, show, check and detect them.

    \b
    Example:
      layeredge targets list
      layeredge targets show znver4
      layeredge targets detect --measure > my-machine.yaml
      layeredge targets check my-machine.yaml
    """


@command.command("list")
def list_targets() -> None:
    """List the known targets, and say which of them this machine can run."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from harness.hardware import known_targets, load_target

    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("target", "description", "cores", "SIMD bits", "runs here"):
        table.add_column(heading, overflow="fold")
    for name in known_targets():
        spec = load_target(name)
        runs = _runs_here(spec)
        bits = str(spec.hardware.simd_bits or "")
        table.add_row(name, Text(spec.description), str(spec.hardware.cores), bits, runs)
    Console().print(table)


def _runs_here(spec: TargetSpec) -> str:
    from harness.executors.table import executor_of, placed

    return executor_of(placed(spec)).runs_here()


@command.command()
@click.argument("name")
def show(name: str) -> None:
    """Print the description NAME, or that of a file, as YAML.

    \b
    Example:
      layeredge targets show x86-host
    """
    from harness.hardware import as_yaml, load_target

    click.echo(as_yaml(load_target(name)), nl=False)


@command.command()
@click.argument("file", type=click.Path(path_type=Path))
@tracker_option
def check(file: Path, tracker: str | None) -> None:
    """Check a description FILE: its keys, and its processor and features against LLVM.

    Says as well whether this machine can run it, which a good description need not.

    \b
    Example:
      layeredge targets check my-machine.yaml
    """
    from harness.errors import CellFailure, CellSkipped
    from harness.executors.table import executor_of, placed
    from harness.hardware import check_target_file

    servers = servers_of(tracker)
    spec = placed(check_target_file(file), servers)
    executor = executor_of(spec, servers)
    click.echo(f"{file}: ok, target '{spec.name}'")
    try:
        executor.require()
    except (CellFailure, CellSkipped) as reason:
        click.echo(f"note: {reason}")
    else:
        click.echo(f"this machine can {executor.ability}")


@command.command()
@click.option("--measure", is_flag=True, help="Measure peak GFLOP/s and memory bandwidth as well.")
@click.option("--name", default="my-machine", show_default=True, help="Name to write into it.")
def detect(measure: bool, name: str) -> None:
    """Describe this machine, as YAML that is ready to be saved.

    \b
    Example:
      layeredge targets detect --measure --name my-server > my-server.yaml
    """
    from harness.hardware import as_yaml, detect_host
    from harness.machine.roofline import with_measured_roofs

    spec = detect_host()
    if measure:
        spec = with_measured_roofs(spec, fresh=True)
    click.echo(as_yaml(spec.model_copy(update={"name": name})), nl=False)
