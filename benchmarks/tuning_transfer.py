"""Does what was tuned before make the next model quicker to tune?

    python benchmarks/tuning_transfer.py ppocr-cls ppocr-det --trials 600

Tunes FIRST, and then SECOND twice: with an empty database, and with FIRST's. Prints after how many
trials the latter is where the former was at its end, and what both chose, measured in turns. Draws
the curves over the number of trials. Ends with 1 where it takes more than half the trials.
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

from harness.environment import noise_warnings
from harness.hardware import HOST, load_target
from harness.spec import Tune
from harness.tvm_api import load_tensor_intrinsics, tvm

MOST_TRIALS = 0.5


def reached(curve: Curve, milliseconds: float) -> int | None:
    """After how many trials a curve is at so many milliseconds, if ever."""
    points = zip(curve.trials, curve.milliseconds, strict=True)
    return next((trials for trials, ms in points if ms is not None and ms <= milliseconds), None)


@click.command()
@click.argument("first")
@click.argument("second")
@click.option("--first-trials", type=click.IntRange(min=1), default=1000, show_default=True)
@click.option("--trials", type=click.IntRange(min=1), default=1000, show_default=True)
@click.option("--seed", type=int, default=0, show_default=True)
@click.option("--plot", type=click.Path(dir_okay=False, path_type=Path), default=None)
def main(
    first: str,
    second: str,
    first_trials: int,
    trials: int,
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
        runs = {
            name: tuned(kernels, target, threads, Tune(trials=trials), seed, Path(folder))
            for name, folder in (("without", empty), ("with", filled))
        }
        databases = [database for _, database in runs.values()]
        found = latencies(kernels, target, threads, databases)
    curves = {name: curve for name, (curve, _) in runs.items()}
    table = Table("database", "trials", "seconds", "kernels in turns, ms", box=None)
    for (name, curve), milliseconds in zip(curves.items(), found, strict=True):
        table.add_row(
            name, str(curve.trials[-1]), f"{curve.seconds[-1]:.0f}", f"{milliseconds:.3f}"
        )
    Console().print(table)
    # The last point is what the final contest says, which is stricter than the search was.
    known = [ms for ms in curves["without"].milliseconds[:-1] if ms is not None]
    goal = reached(curves["without"], known[-1]) or curves["without"].trials[-1]
    took = reached(curves["with"], known[-1])
    said = "never" if took is None else f"after {took} trials instead of {goal}"
    click.echo(f"with the database it is where the other one ends {said}")
    if plot:
        named = {f"{name} {first}'s database": curve for name, curve in curves.items()}
        draw(named, second, plot, over_trials=True)
    sys.exit(0 if took is not None and took <= MOST_TRIALS * goal else 1)


if __name__ == "__main__":
    main()
