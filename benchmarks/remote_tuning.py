"""How many trials per second do one server and all servers of a key give?

    layeredge devices tracker &
    layeredge devices serve bench --tracker 127.0.0.1:9190 --threads 1 &
    layeredge devices serve bench --tracker 127.0.0.1:9190 --threads 1 &
    python benchmarks/remote_tuning.py fashion-resnet8 --tracker 127.0.0.1:9190 --key bench

Tunes the same kernels with an empty database each time, alternately with one server and with
several. Prints the trials per second of each search, from the first trial to the last, and their
ratio. Candidates are compiled on this machine: servers on it compete with the compiler for its
cores, boards do not.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import click
import numpy as np
from model_kernels import kernels_of
from rich.console import Console
from rich.table import Table
from tuning_curves import tuned

from harness.compiler.api import tvm
from harness.devices.servers.tracker import TRACKER_VARIABLE, Address, Servers, Tracker
from harness.errors import InputError
from harness.hardware import HOST, load_target
from harness.hardware.detection import detect_host
from harness.machine.environment import noise_warnings
from harness.specs.sweep import Tune
from harness.tuning.servers.measurer import RemoteMeasurer


@click.command()
@click.argument("model", default="fashion-resnet8")
@click.option("--tracker", required=True, envvar=TRACKER_VARIABLE, metavar="HOST:PORT")
@click.option("--key", default="bench", show_default=True)
@click.option("--target", "name", default=HOST, show_default=True, help="What the servers are.")
@click.option("--threads", default=1, show_default=True, help="Threads that kernels run with.")
@click.option("--trials", type=click.IntRange(min=1), default=128, show_default=True)
@click.option("--rounds", type=click.IntRange(min=1), default=3, show_default=True)
def main(
    model: str, tracker: str, key: str, name: str, threads: int, trials: int, rounds: int
) -> None:
    """Tune MODEL, a catalog name or a file, on one server of a key and on all."""
    for warning in noise_warnings():
        click.echo(f"warning: {warning}", err=True)
    address = Address.parse(tracker)
    with Tracker(address) as asked:
        servers = sum(server.key == key for server in asked.servers())
    if servers < 2:
        raise InputError(f"two servers of '{key}' are needed, the tracker has {servers}")
    described = load_target(name).tvm.model_copy(update={"num_cores": threads})
    target = tvm.target.Target(described.as_tvm())
    kernels = kernels_of(model, target)
    rates: dict[int, list[float]] = {1: [], servers: []}
    table = Table("servers", "trials", "seconds", "trials/s", "sum of kernels, ms", box=None)
    for at in range(rounds):
        for count in sorted(rates, reverse=bool(at % 2)):
            measurer = RemoteMeasurer(
                target, key, Servers(tracker=address, most=count), detect_host().tvm.num_cores
            )
            with tempfile.TemporaryDirectory() as folder:
                curve, _ = tuned(
                    kernels, target, threads, Tune(trials=trials), at, Path(folder), measurer
                )
            seconds = curve.seconds[-2] - curve.seconds[0]
            rate = curve.trials[-1] / seconds
            rates[count].append(rate)
            table.add_row(
                str(count), str(curve.trials[-1]), f"{seconds:.0f}", f"{rate:.2f}",
                f"{curve.milliseconds[-1] or float('nan'):.3f}",
            )  # fmt: skip
    Console().print(table)
    ratios = np.array(rates[servers]) / np.array(rates[1])
    click.echo(
        f"{servers} servers against one: {np.median(ratios):.2f} times the trials per second "
        f"({min(ratios):.2f} to {max(ratios):.2f} in {rounds} rounds)"
    )


if __name__ == "__main__":
    main()
