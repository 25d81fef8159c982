"""What do our threads for the loops of kernels gain over TVM's own?

    python benchmarks/fork_join.py [RESULTS]

Two processes run interleaved, one with each kind of threads. The first measurement is a kernel of
two threads that copies two numbers: the time to start and end a loop. The second is each compiled
network for processors of a results folder (default: results/quickstart): TVM's latency divided by
ours, with its interval.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import numpy as np
from rich.console import Console
from rich.progress import track
from rich.table import Table

from harness.machine.environment import noise_warnings
from harness.records.artifact import LIBRARY, Artifact
from harness.records.store import FILE_NAME, Store
from harness.statistics.verdicts import compare_paired

THREADS = 2
TURN = """
import os, sys, time
os.environ["TVM_USE_RUNTIME_LIB"] = str(int(sys.argv[2] != "kernel"))
import numpy as np, tvm
from harness.machine.awake import spread_threads
from harness.devices.threads.fork_join import use_fork_join
whose, folder, *network = sys.argv[1:]
if whose == "ours":
    use_fork_join()
if folder == "kernel":
    from tvm import te
    given = te.placeholder((2,), name="given")
    copied = te.compute((2,), lambda at: given[at], name="copied")
    schedule = tvm.s_tir.Schedule(te.create_prim_func([given, copied]))
    schedule.parallel(schedule.get_loops("copied")[0])
    built = tvm.compile(schedule.mod, target="llvm").jit()
    arrays = [tvm.runtime.tensor(np.zeros(2, "float32")) for _ in range(2)]
    timer = built.time_evaluator("main", tvm.cpu(), number=2000)
    turn = lambda: timer(*arrays).mean
    built["main"](*arrays)
else:
    from tvm.runtime.vm import VirtualMachine
    inputs, function = network
    machine = VirtualMachine(tvm.runtime.load_module(folder), tvm.cpu())
    machine.set_input(function, *(tvm.runtime.tensor(each) for each in np.load(inputs).values()))
    def turn():
        seconds, begin = [], time.perf_counter()
        while time.perf_counter() < begin + 0.1:
            started = time.perf_counter()
            machine.invoke_stateful(function)
            seconds.append(time.perf_counter() - started)
        return np.median(seconds[len(seconds) // 2 :])
    machine.invoke_stateful(function)
spread_threads()
turn()
print("ready", flush=True)
for line in sys.stdin:
    print(turn(), flush=True)
"""


class Turns:
    """A process with one kind of threads, stopped while it is not its turn."""

    def __init__(self, whose: str, what: list[str]) -> None:
        self._child = subprocess.Popen(
            [sys.executable, "-c", TURN, whose, *what],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "TVM_NUM_THREADS": str(THREADS)},
        )
        self._line()
        self._child.send_signal(signal.SIGSTOP)

    def take(self) -> float:
        """Seconds."""
        assert self._child.stdin is not None
        self._child.send_signal(signal.SIGCONT)
        print("go", file=self._child.stdin, flush=True)
        seconds = float(self._line())
        self._child.send_signal(signal.SIGSTOP)
        return seconds

    def end(self) -> None:
        self._child.kill()
        self._child.wait()

    def _line(self) -> str:
        assert self._child.stdout is not None
        line = self._child.stdout.readline()
        if not line:
            raise click.ClickException("a process ended early")
        return line


def in_turns(what: list[str], pairs: int, rounds: int) -> tuple[list[float], list[float]]:
    """Seconds of TVM's threads and of ours, in several pairs of processes."""
    found: tuple[list[float], list[float]] = ([], [])
    for _ in range(pairs):
        sides = [Turns(whose, what) for whose in ("TVM's", "ours")]
        try:
            for at in range(rounds):
                for side in (0, 1) if at % 2 else (1, 0):
                    found[side].append(sides[side].take())
        finally:
            for each in sides:
                each.end()
    return found


def networks(results: Path) -> Iterator[tuple[str, list[str]]]:
    """The compiled networks of a results folder: what they are, and what a process is told."""
    with Store(results / FILE_NAME) as store:
        records = store.records()
    for record in records:
        if record.status != "ok" or record.artifact is None or record.kind != "measured":
            continue
        folder = results / record.artifact
        artifact = Artifact.read(folder)
        generator = np.random.default_rng(0)
        inputs = {
            each.name: generator.standard_normal(each.shape).astype(each.dtype)
            if np.dtype(each.dtype).kind == "f"
            else np.zeros(each.shape, each.dtype)
            for each in artifact.inputs
        }
        np.savez(folder / "turns.npz", **inputs)
        name = f"{record.key.model}, {record.key.configuration}"
        yield name, [str(folder / LIBRARY), str(folder / "turns.npz"), artifact.function]


@click.command(help=__doc__.split("\n")[0])
@click.argument("results", type=click.Path(path_type=Path), default="results/quickstart")
@click.option("--pairs", type=click.IntRange(min=1), default=6, show_default=True)
@click.option("--rounds", type=click.IntRange(min=2), default=10, show_default=True)
def main(results: Path, pairs: int, rounds: int) -> None:
    console = Console()
    for warning in noise_warnings():
        console.print(f"[yellow]{warning}")
    table = Table("", "TVM's threads", "ours", "TVM's ÷ ours (95 %)")
    cases = [("a loop that copies two numbers", ["kernel"]), *networks(results)]
    for name, what in track(cases, "measuring", console=console):
        theirs, ours = in_turns(what, pairs, rounds)
        verdict = compare_paired(ours, theirs)
        table.add_row(
            name,
            f"{1e6 * np.median(theirs):.4g} µs",
            f"{1e6 * np.median(ours):.4g} µs",
            f"{verdict.ratio:.3f} ({verdict.ci_low:.3f}–{verdict.ci_high:.3f})",
        )
    console.print(table)


if __name__ == "__main__":
    main()
