"""Curves of tuning, for the benchmarks of tuning."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import click
import matplotlib
import numpy as np

from harness.compiler.api import tvm
from harness.schedules.untuned import schedule_untuned
from harness.specs.sweep import Tune
from harness.tuning.candidates.process import Candidate, KernelFailed, KernelTask
from harness.tuning.database import TuningDatabase, database_of
from harness.tuning.measurers.local import KernelMeasurer, Measurer
from harness.tuning.tuner import Tuner

FINAL_ROUNDS = 15


@dataclass
class Curve:
    """What a tuner did: wall-clock seconds to trials and to the sum of its kernels' best times."""

    seconds: list[float] = field(default_factory=list)
    trials: list[int] = field(default_factory=list)
    milliseconds: list[float | None] = field(default_factory=list)

    @property
    def rate(self) -> float:
        return self.trials[-1] / self.seconds[-1]


def tuned(
    kernels: Sequence[KernelTask],
    target: tvm.target.Target,
    threads: int,
    tune: Tune,
    seed: int,
    folder: Path,
    measurer: Measurer | None = None,
) -> tuple[Curve, object]:
    """Tune kernels with the database in a folder: the curve, and a database of what was chosen."""
    with TuningDatabase(folder) as database:
        tuner = Tuner(
            kernels, target, threads, database, tune, seed, lambda _: None, measurer=measurer
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
    """The sum over the kernels of the best schedules' times, interleaved: [databases], in ms."""

    def finalists() -> Iterator[tuple[KernelTask, list[Candidate]]]:
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
        standings = measurer.finals(finalists(), FINAL_ROUNDS)
        for kernel, standing in zip(kernels, standings, strict=True):
            if isinstance(standing, KernelFailed):
                raise click.ClickException(f"{kernel.name}: {standing}")
            for at, seconds in enumerate(standing.times):
                total[at] += 1e3 * kernel.calls * float(np.median(seconds or [np.nan]))
    return total


def draw(curves: dict[str, Curve], title: str, path: Path, *, over_trials: bool = False) -> None:
    """Draw curves over wall-clock time, or over the number of trials."""
    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(7, 4), layout="constrained")
    for name, curve in curves.items():
        points = [
            (across, ms)
            for across, ms in zip(
                curve.trials if over_trials else curve.seconds, curve.milliseconds, strict=True
            )
            if ms is not None
        ]
        if points:  # a tuner has none before each kernel was measured once
            axes.step(*zip(*points, strict=True), where="post", label=name)
    scale = "linear" if over_trials else "log"
    axes.set(
        xlabel="trials" if over_trials else "wall-clock time, s",
        ylabel="sum of the kernels' best times, ms",
        title=title,
        xscale=scale,
        yscale=scale,
    )
    axes.grid(alpha=0.3, which="both")
    axes.legend()
    figure.savefig(path, dpi=150)
