"""How fast and how well kernels are tuned, beside TVM's own tuner: same kernels, seed and machine.

    python benchmarks/tuning_throughput.py efficientnet-lite0 --stock-trials 256 --minutes 2

First TVM's `tune_tasks` with its own builder and runner, then ours, each with an empty database.
TVM's compile workers import the tensor intrinsics of every architecture, anew for each round, which
here takes longer than the 30 seconds that each has for a candidate, so that none is compiled. They
import those of x86 alone, as ours do: the comparison is with TVM as it would be on a better day.
Prints trials per second and where both curves end, and draws the curves: the sum over the kernels
of the best time found so far, against wall-clock time. Both sides' best schedules of each kernel
are then measured in turns, because what each tuner believes of itself is no comparison.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import click
import matplotlib
import numpy as np
from model_kernels import kernels_of
from rich.console import Console
from rich.table import Table
from tvm.ir.utils import derived_object

from harness.environment import noise_warnings
from harness.hardware import HOST, load_target
from harness.passes.default_schedule import schedule_untuned
from harness.spec import Tune
from harness.tuning.database import TuningDatabase, database_of
from harness.tuning.kernel_process import Candidate, KernelFailed, KernelTask
from harness.tuning.measurer import KernelMeasurer
from harness.tuning.tuner import Tuner
from harness.tvm_api import load_tensor_intrinsics, meta_schedule, tvm

CONTEST_ROUNDS = 15


@dataclass
class Curve:
    """What a tuner did: wall-clock seconds to trials and to the sum of its kernels' best times."""

    seconds: list[float] = field(default_factory=list)
    trials: list[int] = field(default_factory=list)
    milliseconds: list[float | None] = field(default_factory=list)

    @property
    def rate(self) -> float:
        return self.trials[-1] / self.seconds[-1]


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


def ours(
    kernels: Sequence[KernelTask],
    target: tvm.target.Target,
    threads: int,
    minutes: float,
    seed: int,
    folder: Path,
) -> tuple[Curve, object]:
    with TuningDatabase(folder) as database:
        tuner = Tuner(
            kernels, target, threads, database, Tune(minutes=minutes), seed, lambda _: None
        )
        points = tuner.run().curve
        chosen = database_of([kernel.module for kernel in kernels], database.chosen())
    curve = Curve(
        [point.seconds for point in points],
        [point.trials for point in points],
        [point.estimate_ms for point in points],
    )
    return curve, chosen


def latencies(
    kernels: Sequence[KernelTask],
    target: tvm.target.Target,
    threads: int,
    databases: Sequence[object],
) -> np.ndarray:
    """The sum over the kernels of the best schedules' times, in turns: [databases], in ms."""

    def contenders() -> Iterator[tuple[KernelTask, list[Candidate]]]:
        for kernel in kernels:
            candidates = []
            for database in databases:
                found = database.query_schedule(kernel.module, target, kernel.name)  # type: ignore[attr-defined]
                untuned = schedule_untuned(kernel.module, target, threads)
                module = untuned if found is None else found.mod
                candidates.append(Candidate(module=module))
            yield kernel, candidates

    total = np.zeros(len(databases))
    with KernelMeasurer(target, threads) as measurer:
        standings = measurer.contests(contenders(), CONTEST_ROUNDS)
        for kernel, standing in zip(kernels, standings, strict=True):
            if isinstance(standing, KernelFailed):
                raise click.ClickException(f"{kernel.name}: {standing}")
            for at, seconds in enumerate(standing.times):
                total[at] += 1e3 * kernel.calls * float(np.median(seconds or [np.nan]))
    return total


def draw(curves: dict[str, Curve], title: str, path: Path) -> None:
    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(7, 4), layout="constrained")
    for name, curve in curves.items():
        points = [
            (s, ms)
            for s, ms in zip(curve.seconds, curve.milliseconds, strict=True)
            if ms is not None
        ]
        if points:  # a tuner has none before each kernel was measured once
            axes.step(*zip(*points, strict=True), where="post", label=name)
    axes.set(
        xlabel="wall-clock time, s", ylabel="sum of the kernels' best times, ms", title=title,
        xscale="log", yscale="log",
    )  # fmt: skip
    axes.grid(alpha=0.3, which="both")
    axes.legend()
    figure.savefig(path, dpi=150)


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
        mine, my_database = ours(kernels, target, threads, minutes, seed, Path(folder))
        found = latencies(kernels, target, threads, [their_database, my_database])
    table = Table("tuner", "trials", "seconds", "trials/s", "kernels in turns, ms", box=None)
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
