"""The option `--tracker`, which several commands have."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from harness.devices.tracker import Servers

VARIABLE = "LAYEREDGE_TRACKER"

tracker_option = click.option(
    "--tracker",
    metavar="HOST:PORT",
    envvar=VARIABLE,
    show_envvar=True,
    help="The tracker of the servers that targets of the device `rpc` run on.",
)


def servers_of(tracker: str | None, most: int | None = None) -> Servers | None:
    """Where servers are found, if a tracker is named. Raises InputError."""
    from harness.devices.tracker import Address, Servers

    return Servers(tracker=Address.parse(tracker), most=most) if tracker else None
