"""The option `--tracker`, which several commands have."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from harness.devices.servers.tracker import Servers

VARIABLE = "LAYEREDGE_TRACKER"

tracker_option = click.option(
    "--tracker",
    metavar="HOST:PORT",
    envvar=VARIABLE,
    show_envvar=True,
    help="The tracker of the servers that targets of the device `rpc` run on.",
)


def servers_of(
    tracker: str | None, most: int | None = None, build_cluster: str | None = None
) -> Servers | None:
    """Where servers are found, if a tracker is named, and the cluster that compiles for them.
    Raises InputError."""
    from harness.devices.servers.tracker import Address, Servers
    from harness.errors import InputError
    from harness.tuning.cluster.connection import require_address

    if build_cluster:
        require_address(build_cluster)
    if tracker:
        found = Address.parse(tracker)
        return Servers(tracker=found, most=most, build_cluster=build_cluster or None)
    if build_cluster:
        raise InputError(
            f"the cluster at {build_cluster} compiles candidates for servers to measure, and no "
            f"tracker of servers is named; name it with --tracker or {VARIABLE}, or leave "
            "--build-cluster out"
        )
    return None
