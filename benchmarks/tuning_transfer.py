"""Does the database of one model shorten the tuning of the next?

    python benchmarks/tuning_transfer.py ppocr-cls ppocr-det --trials 600

Tunes FIRST, and then SECOND twice: with an empty database, and with FIRST's. The second of these
stops after a share of the trials and then continues. The three sets of schedules are measured
interleaved, because a machine's speed changes over the hours that the curves span. Draws the curves
over the number of trials. Ends with 1 when the share of the trials with the database gives slower
kernels than all trials without it.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import click
from model_kernels import kernels_of
from rich.console import Console
from rich.table import Table
from tuning_curves import Curve, draw, latencies, tuned

from harness.compiler.api import tvm
from harness.compiler.patches import load_tensor_intrinsics
from harness.hardware import HOST, load_target
from harness.machine.environment import noise_warnings
from harness.specs.sweep import Tune
from harness.statistics.verdicts import MINIMUM_EFFECT

AS_GOOD = 1 + MINIMUM_EFFECT
"""The least difference that a sweep calls one, see `harness.statistics.verdicts`."""


@click.command()
@click.argument("first")
@click.argument("second")
@click.option("--first-trials", type=click.IntRange(min=1), default=1000, show_default=True)
@click.option("--trials", type=click.IntRange(min=1), default=1000, show_default=True)
@click.option(
    "--share",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    default=0.4,
    show_default=True,
    help="Of the trials with the database: where the first stop is.",
)
@click.option("--seed", type=int, default=0, show_default=True)
@click.option("--plot", type=click.Path(dir_okay=False, path_type=Path), default=None)
def main(
    first: str,
    second: str,
    first_trials: int,
    trials: int,
    share: float,
    seed: int,
    plot: Path | None,
) -> None:
    """Tune FIRST, then SECOND with and without its database."""
    for warning in noise_warnings():
        click.echo(f"warning: {warning}", err=True)
    load_tensor_intrinsics("x86")
    spec = load_target(HOST)
    target, threads = tvm.target.Target(spec.tvm.as_tvm()), spec.tvm.num_cores
    before = kernels_of(first, target)
    kernels = kernels_of(second, target)
    with tempfile.TemporaryDirectory() as empty, tempfile.TemporaryDirectory() as filled:
        tuned(before, target, threads, Tune(trials=first_trials), seed, Path(filled))
        alone = tuned(kernels, target, threads, Tune(trials=trials), seed, Path(empty))
        some = tuned(
            kernels, target, threads, Tune(trials=round(share * trials)), seed, Path(filled)
        )
        rest = tuned(kernels, target, threads, Tune(trials=trials), seed, Path(filled))
        runs = {"none": alone, f"{first}'s, {share:.0%}": some, f"{first}'s, all": rest}
        found = latencies(kernels, target, threads, [chosen for _, chosen in runs.values()])
    table = Table("database", "trials", "kernels interleaved, ms", "of those without", box=None)
    known = [alone[0].trials[-1], some[0].trials[-1], some[0].trials[-1] + rest[0].trials[-1]]
    for name, count, milliseconds in zip(runs, known, found, strict=True):
        table.add_row(name, str(count), f"{milliseconds:.3f}", f"{milliseconds / found[0]:.3f}")
    Console().print(table)
    if plot:
        named = {
            "without a database": alone[0],
            f"with {first}'s": joined(some[0], rest[0]),
        }
        draw(named, second, plot, over_trials=True)
    sys.exit(0 if found[1] <= AS_GOOD * found[0] else 1)


def joined(first: Curve, second: Curve) -> Curve:
    """The curve of a tuning that was stopped and went on; without the points of the final that it
    stopped with, which measures again what was the best of many."""
    return Curve(
        [*first.seconds[:-1], *(first.seconds[-1] + seconds for seconds in second.seconds[1:])],
        [*first.trials[:-1], *(first.trials[-1] + trials for trials in second.trials[1:])],
        [*first.milliseconds[:-1], *second.milliseconds[1:]],
    )


if __name__ == "__main__":
    main()
