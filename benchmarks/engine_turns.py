"""Runs one engine with one model on request: a child process of `masked_peers.py`.

    python benchmarks/engine_turns.py ENGINE MODEL INPUTS.npz THREADS

MODEL is an ONNX file, or for `layeredge` the folder of a compiled network. DeepSparse needs an
environment of its own; with it this script imports DeepSparse and NumPy only. Each line of the
standard input is a number of seconds to run for; the answer is the median of the runs, in
seconds.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np


def opened(engine: str, model: str, threads: int, feeds: dict[str, Any]) -> Callable[[], object]:
    if engine == "deepsparse":
        import deepsparse

        compiled = deepsparse.compile_model(model, batch_size=1, num_cores=threads)
        return lambda: compiled.run(list(feeds.values()))
    if engine == "layeredge":  # takes as many threads as TVM_NUM_THREADS says
        from harness.measure.native_session import open_network

        return open_network(Path(model)).bind(feeds)
    from harness.baselines.registry import open_session

    return open_session(engine, Path(model), threads).bind(feeds)


def main() -> None:
    engine, model, inputs, threads = sys.argv[1:]
    run = opened(engine, model, int(threads), dict(np.load(inputs)))
    for _ in range(3):
        run()
    print("ready", flush=True)
    for line in sys.stdin:
        end, times = time.perf_counter() + float(line), []
        while not times or time.perf_counter() < end:
            started = time.perf_counter()
            run()
            times.append(time.perf_counter() - started)
        print(float(np.median(times[len(times) // 4 :])), flush=True)


if __name__ == "__main__":
    main()
