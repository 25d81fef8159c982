"""Does memory stay flat over a long tuning, and does a kill leave no process?

    python benchmarks/tuning_endurance.py --trials 10000

Tunes the kernels of several networks in one run with an empty database, and prints the resident
memory of the tuner and of its largest kernel worker. Then starts another tuning and stops it with
SIGINT, and one with SIGKILL, and looks for processes that are left. Ends with 1 when memory grew by
more than a tenth after the first thousand trials, or when a process is left.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import click
import psutil
from model_kernels import kernels_of
from rich.console import Console
from rich.table import Table

from harness.compiler.api import tvm
from harness.hardware import HOST, load_target
from harness.specs.sweep import Tune
from harness.tuning.database import TuningDatabase
from harness.tuning.progress import TuningProgress
from harness.tuning.tuner import Tuner

MODELS = ("efficientnet-lite0", "ppocr-det", "ppocr-cls", "minilm-l6")
SETTLED_TRIALS, MOST_GROWTH = 1000, 1.10
LONG_ENOUGH_SECONDS, GRACE_SECONDS = 40.0, 10.0


class Memory:
    """Listens to a tuner, and notes how much memory it and its workers hold."""

    def __init__(self, every: int) -> None:
        self._every = every
        self._process = psutil.Process()
        self.rows: list[tuple[int, float, float, float]] = []

    def __call__(self, progress: TuningProgress) -> None:
        if progress.trials < self._every * (len(self.rows) + 1):
            return
        workers = [megabytes(child) for child in self._process.children(recursive=True)]
        row = (
            progress.trials,
            progress.trials_per_second,
            megabytes(self._process),
            max(workers, default=0.0),
        )
        self.rows.append(row)
        click.echo(
            f"{row[0]:6} trials  {row[1]:5.1f}/s  tuner {row[2]:6.0f} MB  "
            f"largest worker {row[3]:6.0f} MB",
            err=True,
        )


def megabytes(process: psutil.Process) -> float:
    try:
        return float(process.memory_info().rss) / 1e6
    except psutil.Error:  # it ended meanwhile
        return 0.0


def tune(trials: int, listener: object) -> int:
    """Tune the kernels of all models with an empty database; the number of trials measured."""
    spec = load_target(HOST)
    target = tvm.target.Target(spec.tvm.as_tvm())
    kernels = {
        tvm.ir.save_json(kernel.module): kernel
        for model in MODELS
        for kernel in kernels_of(model, target)
    }
    with tempfile.TemporaryDirectory() as folder, TuningDatabase(Path(folder)) as database:
        tuner = Tuner(
            list(kernels.values()),
            target,
            spec.tvm.num_cores,
            database,
            Tune(trials=trials),
            0,
            listener,  # type: ignore[arg-type]
        )
        return tuner.run().trials


def left_over(signal_number: int) -> list[str]:
    """What still runs some seconds after a tuning got a signal."""
    tuning = subprocess.Popen(
        [sys.executable, __file__, "--only-tune"],
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        stderr=subprocess.DEVNULL,
    )
    time.sleep(LONG_ENOUGH_SECONDS)
    started = psutil.Process(tuning.pid).children(recursive=True)
    if not started:
        raise click.ClickException("the tuning to be killed had not started its workers yet")
    os.kill(tuning.pid, signal_number)
    tuning.wait(60)
    _, alive = psutil.wait_procs(started, GRACE_SECONDS)
    return [f"{process.pid}" for process in alive if process.status() != psutil.STATUS_ZOMBIE]


@click.command()
@click.option("--trials", type=click.IntRange(min=SETTLED_TRIALS * 2), default=10_000)
@click.option("--every", type=click.IntRange(min=1), default=500, show_default=True)
@click.option("--only-tune", is_flag=True, hidden=True)
def main(trials: int, every: int, only_tune: bool) -> None:
    """Tune for so many trials and watch the memory; then kill two tunings."""
    if only_tune:
        tune(trials, lambda _: None)
        return
    memory = Memory(every)
    measured = tune(trials, memory)
    settled = [row for row in memory.rows if row[0] >= SETTLED_TRIALS]
    table = Table("", "after the first thousand, MB", "most after that, MB", "growth", box=None)
    flat = True
    for name, column in (("tuner", 2), ("largest worker", 3)):
        first, most = settled[0][column], max(row[column] for row in settled)
        flat &= most <= MOST_GROWTH * first
        table.add_row(name, f"{first:.0f}", f"{most:.0f}", f"{most / first - 1:+.1%}")
    Console().print(table)
    click.echo(f"{measured} trials")
    clean = True
    for number in (signal.SIGINT, signal.SIGKILL):
        left = left_over(number)
        clean &= not left
        click.echo(f"{number.name}: {len(left)} processes left {' '.join(left)}".rstrip())
    sys.exit(0 if flat and clean and measured >= trials else 1)


if __name__ == "__main__":
    main()
