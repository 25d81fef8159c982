"""`layeredge targets`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from harness.cli.completion import TARGETS
from harness.cli.terminal import output
from harness.cli.tracker_option import servers_of, tracker_option

if TYPE_CHECKING:
    from pydantic import BaseModel

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
    output(markup=True).print(table)


def _runs_here(spec: TargetSpec) -> str:
    from harness.executors.table import executor_of, placed

    return executor_of(placed(spec)).runs_here()


@command.command()
@click.argument("name", shell_complete=TARGETS)
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
    from harness.hardware.description import copied_figures

    servers = servers_of(tracker)
    spec = placed(check_target_file(file), servers)
    executor = executor_of(spec, servers)
    click.echo(f"{file}: ok, target '{spec.name}'")
    for key, other in copied_figures(spec).items():
        click.echo(f"beware: hardware.{key} is that of {other}, another processor; is it measured?")
    try:
        executor.require()
    except (CellFailure, CellSkipped) as reason:
        click.echo(f"note: {reason}")
    else:
        click.echo(f"this machine can {executor.ability}")


@command.command()
@click.argument("name")
@click.option(
    "--like",
    required=True,
    help="The description to begin with: a name or a file.",
    shell_complete=TARGETS,
)
@click.option("--out", type=click.Path(path_type=Path), help="Where to write it; NAME.yaml.")
def new(name: str, like: str, out: Path | None) -> None:
    """Describe hardware NAME by how it differs from a description that is there.

    Asks for each figure; an empty answer keeps the other's, and `-` leaves it out: an unknown
    figure is better left out than guessed.

    \b
    Example:
      layeredge targets new my-board --like raspberry-pi-4
      layeredge targets check my-board.yaml
    """
    from harness.errors import InputError
    from harness.files.atomic import write_atomically
    from harness.hardware import as_yaml, load_target
    from harness.hardware.description import with_values
    from harness.specs.schema import descriptions

    spec = load_target(like)
    path = out or Path(f"{name}.yaml")
    if path.exists():
        raise InputError(f"{path}: is there already; name another file with --out")
    values: dict[str, str | None] = {"name": name}
    values["description"] = click.prompt("description", default=spec.description)
    for part in ("tvm", "device", "hardware"):
        model: BaseModel = getattr(spec, part)
        for field, text in descriptions(type(model)).items():
            key = f"{part}.{type(model).model_fields[field].alias or field}"
            known = getattr(model, field)
            if known in (None, ()) or not isinstance(known, (int, float, str)) or field == "kind":
                continue
            answer = click.prompt(f"{key} ({text})", default=f"{known}")
            values[key] = None if answer == "-" else answer
    write_atomically(path, as_yaml(with_values(spec, values)))
    click.echo(f"{path}; next: layeredge targets check {path}")


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
