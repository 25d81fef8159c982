"""How many trials per second, and how fast are the kernels, compared with TVM's own tuner?

    python benchmarks/tuning_throughput.py efficientnet-lite0 --stock-trials 256 --minutes 2

Runs TVM's `tune_tasks` with its own builder and runner, then our tuner, with the same kernels and
seed, each with an empty database. TVM's compile workers import the tensor intrinsics of every
architecture in each round. On two cores that takes longer than the 30 seconds a candidate has, and
none is compiled. Here they import those of x86 only, as ours do, which favours TVM. Prints trials
per second and the ends of both curves, and draws the curves: the sum over the kernels of the best
time so far, against wall-clock time. The best schedules of both are then measured interleaved,
because the times that a tuner reports of itself are not comparable.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import click
import numpy as np
from model_kernels import kernels_of
from rich.console import Console
from rich.table import Table
from tuning_curves import Curve, draw, latencies, tuned
from tvm.ir.utils import derived_object

from harness.compiler.api import meta_schedule, tvm
from harness.compiler.patches import load_tensor_intrinsics
from harness.hardware import HOST, load_target
from harness.machine.environment import noise_warnings
from harness.specs.sweep import Tune
from harness.tuning.candidates.process import KernelTask


def stock(
    kernels: Sequence[KernelTask], target: tvm.target.Target, threads: int, trials: int, seed: int
) -> tuple[Curve, object]:
    """TVM's tuner, with its database in memory and its compile workers' imports made short."""
    curve = Curve()
    best: dict[int, float] = {}
    started = time.monotonic()

    @derived_object
    class Watch(meta_schedule.measure_callback.PyMeasureCallback):  # type: ignore[misc]
        def apply(self, scheduler, task_id, candidates, builders, runners) -> None:  # type: ignore[no-untyped-def]
            for result in runners:
                if result.run_secs:
                    seconds = float(np.median([float(value) for value in result.run_secs]))
                    best[task_id] = min(best.get(task_id, float("inf")), seconds)
            curve.seconds.append(time.monotonic() - started)
            curve.trials.append((curve.trials or [0])[-1] + len(runners))
            whole = len(best) == len(kernels)
            total = sum(kernels[at].calls * value for at, value in best.items())
            curve.milliseconds.append(1e3 * total if whole else None)

    contexts = [
        meta_schedule.TuneContext(
            mod=kernel.module,
            target=target,
            space_generator="post-order-apply",
            search_strategy="evolutionary",
            task_name=kernel.name,
            rand_state=seed,
            num_threads=threads,
        )
        for kernel in kernels
    ]
    with tempfile.TemporaryDirectory() as folder:
        database = meta_schedule.tune_tasks(
            tasks=contexts,
            task_weights=[kernel.calls for kernel in kernels],
            work_dir=folder,
            max_trials_global=trials,
            num_trials_per_iter=32,
            builder=meta_schedule.builder.LocalBuilder(
                max_workers=threads, initializer=partial(load_tensor_intrinsics, "x86")
            ),
            database=meta_schedule.database.MemoryDatabase(),
            measure_callbacks=[
                meta_schedule.measure_callback.AddToDatabase(),
                meta_schedule.measure_callback.UpdateCostModel(),
                Watch(),
            ],
        )
    return curve, database


@click.command()
@click.argument("model", default="fashion-resnet8")
@click.option("--stock-trials", type=click.IntRange(min=1), default=256, show_default=True)
@click.option("--minutes", type=click.FloatRange(min=0.1), default=2.0, show_default=True)
@click.option("--seed", type=int, default=0, show_default=True)
@click.option("--plot", type=click.Path(dir_okay=False, path_type=Path), default=None)
def main(model: str, stock_trials: int, minutes: float, seed: int, plot: Path | None) -> None:
    """Tune MODEL, a catalog name or a file, with TVM's tuner and with ours."""
    for warning in noise_warnings():
        click.echo(f"warning: {warning}", err=True)
    load_tensor_intrinsics("x86")
    spec = load_target(HOST)
    target, threads = tvm.target.Target(spec.tvm.as_tvm()), spec.tvm.num_cores
    kernels = kernels_of(model, target)
    theirs, their_database = stock(kernels, target, threads, stock_trials, seed)
    with tempfile.TemporaryDirectory() as folder:
        mine, my_database = tuned(
            kernels, target, threads, Tune(minutes=minutes), seed, Path(folder)
        )
        found = latencies(kernels, target, threads, [their_database, my_database])
    table = Table("tuner", "trials", "seconds", "trials/s", "kernels interleaved, ms", box=None)
    for name, curve, milliseconds in (("TVM", theirs, found[0]), ("LayerEdge", mine, found[1])):
        table.add_row(
            name, str(curve.trials[-1]), f"{curve.seconds[-1]:.0f}", f"{curve.rate:.2f}",
            f"{milliseconds:.3f}",
        )  # fmt: skip
    Console().print(table)
    click.echo(f"trials per second: {mine.rate / theirs.rate:.1f} times TVM's")
    if plot:
        draw({"TVM": theirs, "LayerEdge": mine}, model, plot)


if __name__ == "__main__":
    main()
