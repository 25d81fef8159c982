"""`layeredge doctor`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

from harness.cli.terminal import output

if TYPE_CHECKING:
    from harness.machine.doctor import Check


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print the checks as JSON.")
@click.pass_context
def command(context: click.Context, as_json: bool) -> None:
    """Check this machine and installation, and say what to do.

    Looks at Python, TVM and its ffi library, the C compiler, a kernel compiled and run, XGBoost,
    ONNX Runtime, cores, frequency governor, other load, memory, disk, PoCL and the optional extras.
    Takes a few seconds. Ends with 1 if something has to be repaired first; a warning is no such
    thing.

    \b
    Example:
      layeredge doctor
      layeredge doctor --json > doctor.json
    """
    from harness.machine.doctor import examine

    checks = examine()
    if as_json:
        click.echo(json.dumps([check.model_dump() for check in checks], indent=2))
    else:
        _show(checks)
    context.exit(1 if any(check.status == "problem" for check in checks) else 0)


def _show(checks: list[Check]) -> None:
    from rich.table import Table
    from rich.text import Text

    colours = {"ok": "green", "warning": "yellow", "problem": "bold red"}
    table = Table(box=None, pad_edge=False)
    for heading in ("", "check", "found, and advice"):
        table.add_column(heading, overflow="fold")
    for check in checks:
        status = Text(check.status, style=colours[check.status])
        found = Text(check.found)
        if check.advice:
            found.append(f"\n→ {check.advice}", style="bold")
        table.add_row(status, Text(check.name), found)
    console = output(markup=True)
    console.print(table)
    problems = sum(check.status == "problem" for check in checks)
    warnings = sum(check.status == "warning" for check in checks)
    console.print(f"\n{problems} to repair, {warnings} to know about")
