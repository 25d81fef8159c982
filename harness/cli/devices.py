"""`layeredge devices`."""

from __future__ import annotations

import click


@click.group()
def command() -> None:
    """Where code can run from here: list, and set up an emulated board.

    \b
    Example:
      layeredge devices list
      layeredge devices setup arm-emulated
    """


@command.command("list")
def list_devices() -> None:
    """List this machine's processor, its graphics processor, and the emulated board."""
    from rich.console import Console
    from rich.table import Table

    from harness.devices.board import NAME, require_board
    from harness.devices.graphics import graphics_processor
    from harness.errors import CellSkipped
    from harness.hardware import this_processor

    processor, graphics = this_processor(), graphics_processor()
    try:
        board = f"ready, in {require_board().folder}"
    except CellSkipped as reason:
        board = str(reason)
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("device", "what it is"):
        table.add_column(heading, overflow="fold")
    table.add_row("local", f"{processor.name}, {processor.cores} usable cores")
    there = f"{graphics.name}, driver {graphics.driver}" if graphics else "none here"
    table.add_row("graphics", there)
    table.add_row(NAME, board)
    Console().print(table)


@command.command()
@click.argument("name", type=click.Choice(["arm-emulated"]))
def setup(name: str) -> None:
    """Make the emulated board NAME, unless it is there: Debian's packages (as root), a tree of
    Debian for Arm, TVM's runtime for it, and a plugin of QEMU that counts instructions.

    It takes a minute or two, 900 MB below the cache folder meanwhile, and 500 MB in the end.

    \b
    Example:
      layeredge devices setup arm-emulated
    """
    from rich.console import Console

    from harness.devices.board import make_board

    console = Console(stderr=True)
    with console.status("the emulated board") as status:
        board = make_board(lambda step: status.update(f"the emulated board: {step}"))
    click.echo(f"the emulated board is ready, in {board.folder}")
