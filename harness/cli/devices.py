"""`layeredge devices`."""

from __future__ import annotations

from contextlib import suppress

import click

from harness.cli.terminal import output
from harness.cli.tracker_option import VARIABLE, tracker_option

_host_option = click.option(
    "--host", default="127.0.0.1", show_default=True, help="Where to listen."
)
_expose_option = click.option(
    "--expose", is_flag=True, help="Let other machines reach it, and run any code here."
)


@click.group()
def command() -> None:
    """Where code can run from here: list, serve this machine, and set up an emulated board.

    Boards and other machines are reached through a tracker: each runs a server of a key, and a
    target with `device: {kind: rpc, key: KEY}` is tuned and measured on all servers of its key.

    \b
    Example:
      layeredge devices list
      layeredge devices setup arm-emulated
      layeredge devices tracker
      layeredge devices serve rpi4 --tracker 192.168.1.2:9190 --host 0.0.0.0 --expose
    """


@command.command("list")
@tracker_option
def list_devices(tracker: str | None) -> None:
    """List this machine's processor, its graphics processor, the emulated board, and the servers
    that a tracker knows.

    \b
    Example:
      layeredge devices list --tracker 127.0.0.1:9190
    """
    from rich.table import Table

    from harness.devices.emulated.board import NAME, require_board
    from harness.devices.graphics.processor import graphics_processor
    from harness.devices.servers.tracker import Address, Tracker
    from harness.errors import CellSkipped
    from harness.hardware import this_processor

    processor, graphics = this_processor(), graphics_processor()
    try:
        board = f"ready, in {require_board().folder}"
    except CellSkipped as reason:
        board = str(reason)
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("device", "description"):
        table.add_column(heading, overflow="fold")
    table.add_row("local", f"{processor.name}, {processor.cores} usable cores")
    there = f"{graphics.name}, driver {graphics.driver}" if graphics else "none here"
    table.add_row("graphics", there)
    table.add_row(NAME, board)
    if tracker is None:
        table.add_row("rpc", f"no tracker named; name one with --tracker or {VARIABLE}")
    else:
        with Tracker(Address.parse(tracker)) as found:
            servers, free = found.servers(), found.free()
        for server in servers:
            table.add_row(f"rpc {server.key}", f"a server at {server.address}")
        for key in sorted({server.key for server in servers}):
            table.add_row(f"rpc {key}", f"{free.get(key, 0)} free")
        if not servers:
            table.add_row("rpc", f"the tracker at {tracker} knows no server")
    output(markup=True).print(table)


@command.command("tracker")
@_host_option
@click.option("--port", default=9190, show_default=True, type=click.IntRange(1, 65535))
@_expose_option
def run_tracker(host: str, port: int, expose: bool) -> None:
    """Run a tracker, which knows the servers of each key, until Ctrl-C.

    It listens on this machine alone unless --host and --expose say otherwise: whoever reaches it
    or one of its servers can run any code there.

    \b
    Example:
      layeredge devices tracker --port 9190
    """
    from harness.devices.servers.listening import exposure
    from harness.devices.servers.tracker_server import run_tracker as run

    _warn(exposure(host, exposed=expose))
    with suppress(KeyboardInterrupt):
        run(host, port, _tell)


@command.command()
@click.argument("key")
@tracker_option
@_host_option
@_expose_option
@click.option(
    "--threads",
    type=click.IntRange(min=1),
    help="Threads that kernels run with; all usable cores otherwise.",
)
def serve(key: str, tracker: str | None, host: str, expose: bool, threads: int | None) -> None:
    """Serve this machine under KEY, until Ctrl-C: run what clients of the tracker send.

    A session that crashes, hangs or is left alone is ended, and the next client taken.

    \b
    Example:
      layeredge devices serve my-board --tracker 127.0.0.1:9190 --threads 4
    """
    from harness.devices.servers.listening import exposure
    from harness.devices.servers.serving import run_server
    from harness.devices.servers.tracker import Address
    from harness.errors import InputError
    from harness.hardware import this_processor

    if tracker is None:
        raise InputError(f"no tracker named; name one with --tracker or {VARIABLE}")
    _warn(exposure(host, exposed=expose))
    threads = threads or this_processor().cores
    with suppress(KeyboardInterrupt):
        run_server(key, Address.parse(tracker), host, threads, _tell)


def _warn(words: str) -> None:
    if words:
        click.echo(f"warning: {words}", err=True)


def _tell(words: str) -> None:
    click.echo(words, err=True)


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

    from harness.devices.emulated.board import make_board

    console = Console(stderr=True)
    with console.status("the emulated board") as status:
        board = make_board(lambda step: status.update(f"the emulated board: {step}"))
    click.echo(f"the emulated board is ready, in {board.folder}")
