"""Is the reported latency that of a bare loop over the same artifact?

    python benchmarks/harness_honesty.py [RESULTS]

For each compiled model in a results folder (default: results/quickstart), the harness's own
measurement is interleaved with a loop of a few lines in a process that does not import the harness.
The loop runs for half a second each time; its median is that of the second half. The addresses of a
loop's weights and intermediate results make it some percent faster or slower as long as its process
lives. There are therefore many pairs of processes, and ratios are taken within a round. (The
harness changes the addresses from sample to sample.)
Prints the medians, and the median over the pairs of their ratio, with its range; exit code 1 where
it differs from 1 by more than 2 %.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
from pathlib import Path
from statistics import median

import numpy as np

from harness.devices.threads.fork_join import fork_join_library
from harness.files.arrays import write_arrays
from harness.measure.member import SETTLING_SECONDS
from harness.processes.child import Child
from harness.records.artifact import Artifact
from harness.records.store import FILE_NAME, Store

LIMIT = 0.02
BARE_LOOP = """
import ctypes, json, sys, time
import numpy as np
folder, inputs, threads = sys.argv[1:]
network, pool = ctypes.CDLL(folder + "/model.so"), ctypes.CDLL(threads)
loops = ctypes.cast(pool.layeredge_fork_join, ctypes.c_void_p).value
try:
    ctypes.c_void_p.in_dll(network, "__TVMBackendParallelLaunch").value = loops
except ValueError:
    pass
def placed(array):
    memory = np.empty(array.nbytes + 64, np.uint8)
    first = -memory.ctypes.data % 64
    memory[first : first + array.nbytes] = np.frombuffer(array.tobytes(), np.uint8)
    return memory, memory.ctypes.data + first
given = [placed(array) for array in np.load(inputs).values()]
found = [placed(np.zeros(each["shape"], each["dtype"]))
         for each in json.load(open(folder + "/artifact.json"))["outputs"]]
places = [(ctypes.c_void_p * len(each))(*(at for _, at in each)) for each in (given, found)]
network.layeredge_new.restype = ctypes.c_void_p
memory = ctypes.c_void_p(network.layeredge_new())
for line in sys.stdin:
    seconds, begin = [], time.perf_counter()
    while time.perf_counter() < begin + 0.5:
        started = time.perf_counter()
        network.layeredge_run(memory, *places)
        seconds.append(time.perf_counter() - started)
    print(np.median(seconds[len(seconds) // 2 :]), flush=True)
"""


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("results", type=Path, nargs="?", default=Path("results/quickstart"))
    parser.add_argument("--rounds", type=int, default=4, help="turns of each pair of processes")
    parser.add_argument("--pairs", type=int, default=30, help="pairs of processes")
    arguments = parser.parse_args()
    with Store(arguments.results / FILE_NAME) as store:
        records = [record for record in store.records() if record.artifact and record.latency]
    print(
        f"{'model · configuration':36}{'harness ms':>12}{'bare loop ms':>14}{'ratio':>8}  of pairs"
    )
    worst = 0.0
    for record in records:
        folder = arguments.results / str(record.artifact)
        pairs = [
            measure(folder, record.spec["threads"], record.latency, arguments.rounds)
            for _ in range(arguments.pairs)
        ]
        ratios = sorted(
            median(ours / theirs for ours, theirs in zip(harness, bare, strict=True))
            for harness, bare in pairs
        )
        worst = max(worst, abs(median(ratios) - 1))
        ours, theirs = (
            1e3 * median(seconds for pair in pairs for seconds in pair[side]) for side in (0, 1)
        )
        name = f"{record.key.model} · {record.key.configuration}"
        print(
            f"{name:36}{ours:12.4f}{theirs:14.4f}{median(ratios):8.3f}"
            f"  {ratios[0]:.3f} to {ratios[-1]:.3f}",
            flush=True,
        )
    print(f"largest difference {worst:.1%}, admitted {LIMIT:.0%}")
    return int(worst > LIMIT)


def measure(
    folder: Path, threads: int, latency: object, rounds: int
) -> tuple[list[float], list[float]]:
    """Seconds per run of the harness's worker and of the bare loop, interleaved."""
    artifact = Artifact.read(folder)
    generator = np.random.default_rng(0)
    inputs = folder / "honesty-inputs.npz"
    plain = folder / "honesty-plain.npz"
    arrays = [
        (i.name, generator.standard_normal(i.shape).astype(i.dtype)
         if np.dtype(i.dtype).kind == "f" else np.zeros(i.shape, i.dtype))
        for i in artifact.inputs
    ]  # fmt: skip
    write_arrays(inputs, [arrays])
    np.savez(plain, *[array for _, array in arrays])
    runs = latency.runs_per_sample
    environment = {"TVM_NUM_THREADS": str(threads)}
    library = str(fork_join_library(None))
    try:
        with (
            Child("harness.measure.worker", environment=environment) as worker,
            subprocess.Popen(
                [sys.executable, "-c", BARE_LOOP, str(folder), str(plain), library],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                env={**os.environ, **environment},
            ) as loop,
        ):
            ask = lambda **message: worker.call(message, 120)["answer"]  # noqa: E731
            ask(do="load", engine="tvm", path=str(folder), threads=threads)
            ask(do="prepare", inputs=str(inputs), warm_up_seconds=0.3)
            found: tuple[list[float], list[float]] = ([], [])
            for at in range(rounds):
                for turn in (0, 1) if at % 2 else (1, 0):
                    # The other one is paused, as the harness does: its threads spin for a while.
                    if turn:
                        worker.pause()
                        loop.send_signal(signal.SIGCONT)
                        print("go", file=loop.stdin, flush=True)
                        found[1].append(float(loop.stdout.readline()))
                        loop.send_signal(signal.SIGSTOP)
                    else:
                        worker.resume()
                        sample = ask(do="sample", warm_up_seconds=SETTLING_SECONDS, runs=runs)
                        found[0].append(sample["seconds"])
            loop.send_signal(signal.SIGCONT)
            loop.stdin.close()
            return found
    finally:
        inputs.unlink(missing_ok=True)
        plain.unlink(missing_ok=True)


if __name__ == "__main__":
    sys.exit(main())
