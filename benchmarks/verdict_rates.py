"""How often "faster" and "slower" are said of real inferences: the same twice, and a slower one.

Each comparison starts two processes that run the same network and take turns in rounds. First they
are compared as they are (A/A: neither is faster). Then the second one also spins after every
inference for 5 % of the measured median, and is compared again. The promises: "faster" or "slower"
at most once in a hundred of the first, "slower" at least nine times in ten of the second.

    python benchmarks/verdict_rates.py --comparisons 200 --rounds 30

Ends with 1 when a promise is broken. Needs a quiet machine: other load hides a 5 % slow-down.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path

import click
import numpy as np
from rich.console import Console
from rich.table import Table

from harness.environment import noise_warnings
from harness.statistics import compare_paired, wilson_interval

Inference = Callable[[], object]
Workload = Callable[[], Inference]
"""Loads, in the process that will run it, what one call of its result runs once; can be pickled."""

SLOWDOWN = 0.05
SAMPLE_SECONDS = 0.005
WARM_UP_SECONDS = 0.1
MOST_FALSE, LEAST_FOUND = 0.01, 0.9


def onnx_runtime(model: bytes) -> Inference:
    """An inference of an ONNX model with static shapes, on one thread, on random inputs."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    random = np.random.default_rng(0)
    feeds = {
        given.name: random.standard_normal(given.shape, dtype=np.float32)
        for given in session.get_inputs()
    }
    return partial(session.run, None, feeds)


def small_network() -> bytes:
    """Four convolutions on a 64 × 64 image, as ONNX: a fraction of a millisecond."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    random = np.random.default_rng(0)
    nodes, weights, here, channels = [], [], "image", 3
    for at, (filters, stride) in enumerate([(16, 2), (32, 1), (32, 2), (64, 2)]):
        kernel = random.normal(0, 0.1, (filters, channels, 3, 3)).astype(np.float32)
        weights.append(numpy_helper.from_array(kernel, f"weight{at}"))
        nodes.append(
            helper.make_node(
                "Conv", [here, f"weight{at}"], [f"sum{at}"], pads=[1] * 4, strides=[stride] * 2
            )
        )
        nodes.append(helper.make_node("Relu", [f"sum{at}"], [f"out{at}"]))
        here, channels = f"out{at}", filters
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, 64, 64])],
        [helper.make_tensor_value_info(here, TensorProto.FLOAT, [1, channels, 8, 8])],
        weights,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


def serve(workload: Workload, connection: Connection) -> None:
    """Answer each (runs, extra seconds a run) with seconds per run, until the other side closes.

    Every process stays on the same core, which is free when its turn comes: two cores of a machine
    can differ by 40 % for minutes, as long as something else runs on the sibling of one of them.
    """
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    run = workload()

    def sample(runs: int, extra_seconds: float) -> float:
        for _ in range(runs):  # The caches hold the other process's data.
            run()
        start = time.perf_counter()
        for _ in range(runs):
            run()
            until = time.perf_counter() + extra_seconds
            while time.perf_counter() < until:
                pass
        return (time.perf_counter() - start) / runs

    ready = time.perf_counter() + WARM_UP_SECONDS
    while time.perf_counter() < ready:
        run()
    connection.send("ready")
    try:
        while True:
            connection.send(sample(*connection.recv()))
    except EOFError:
        return


@contextmanager
def two_processes(workload: Workload) -> Iterator[list[Connection]]:
    """Two processes that serve the workload, warmed up, one after the other."""
    context = multiprocessing.get_context("spawn")
    connections, processes = [], []
    try:
        for _ in range(2):
            ours, theirs = context.Pipe()
            process = context.Process(target=serve, args=(workload, theirs), daemon=True)
            process.start()
            theirs.close()
            connections.append(ours)
            processes.append(process)
        for connection in connections:
            connection.recv()
        yield connections
    finally:
        for connection in connections:
            connection.close()
        for process in processes:
            process.join()


def measure(
    sides: list[Connection], rounds: int, extra_seconds: float, random: np.random.Generator
) -> np.ndarray:
    """Seconds per inference, shape [2, rounds], in turns whose order is drawn anew each round."""
    seconds = np.empty((2, rounds))
    typical = float(np.median([ask(side, 1, 0.0) for side in sides for _ in range(10)]))
    runs = max(1, round(SAMPLE_SECONDS / typical))
    for turn in range(rounds):
        for side in random.permutation(2):
            extra = extra_seconds if side else 0.0
            seconds[side, turn] = ask(sides[side], runs, extra)
    return seconds


def ask(side: Connection, runs: int, extra_seconds: float) -> float:
    side.send((runs, extra_seconds))
    return float(side.recv())


def rates(
    workload: Workload, comparisons: int, rounds: int, seed: int
) -> tuple[Counter[str], Counter[str]]:
    """How often each verdict came: of the workload with itself, and with the slower one."""
    random = np.random.default_rng(seed)
    same: Counter[str] = Counter()
    slower: Counter[str] = Counter()
    # Not a bar that redraws itself: its thread would run beside the inferences.
    with click.progressbar(range(comparisons), label="comparing", file=sys.stderr) as progress:
        for _ in progress:
            with two_processes(workload) as sides:
                samples = measure(sides, rounds, 0.0, random)
                same[compare_paired(*samples).verdict] += 1
                extra_seconds = SLOWDOWN * float(np.median(samples))
                samples = measure(sides, rounds, extra_seconds, random)
                slower[compare_paired(*samples).verdict] += 1
    return same, slower


@click.command()
@click.option("--comparisons", type=click.IntRange(min=1), default=200, show_default=True)
@click.option("--rounds", type=click.IntRange(min=1), default=30, show_default=True)
@click.option("--seed", type=int, default=0, show_default=True)
@click.option(
    "--model",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="An ONNX model with float inputs of static shapes, instead of a small network.",
)
def main(comparisons: int, rounds: int, seed: int, model: Path | None) -> None:
    """Count the verdicts on a real inference compared with itself and with a slower one."""
    for warning in noise_warnings():
        click.echo(f"warning: {warning}", err=True)
    workload = partial(onnx_runtime, model.read_bytes() if model else small_network())
    same, slower = rates(workload, comparisons, rounds, seed)
    false_rate = (same["faster"] + same["slower"]) / comparisons
    found_rate = slower["slower"] / comparisons
    kept = [false_rate <= MOST_FALSE, found_rate >= LEAST_FOUND]
    words = ("faster", "slower", "no difference", "too few samples")
    headings = ("compared", *words, "rate", "95 % interval", "promise", "kept")
    table = Table(*headings, box=None, pad_edge=False)
    for name, found, rate, promise, holds in (
        ("with itself", same, false_rate, f"at most {MOST_FALSE:.0%}", kept[0]),
        (f"{SLOWDOWN:.0%} slower", slower, found_rate, f"at least {LEAST_FOUND:.0%}", kept[1]),
    ):
        low, high = wilson_interval(round(rate * comparisons), comparisons)
        counts = (str(found[word]) for word in words)
        interval = f"{low:.1%}–{high:.1%}"
        table.add_row(name, *counts, f"{rate:.1%}", interval, promise, "yes" if holds else "NO")
    Console().print(table)
    sys.exit(0 if all(kept) else 1)


if __name__ == "__main__":
    main()
