"""One engine with one model, which runs when it is told to: a child of `masked_peers.py`.

    python benchmarks/engine_turns.py ENGINE MODEL.onnx INPUTS.npz THREADS

Imports nothing but the engine and NumPy, so that it works in the environment of an engine that goes
with no other. Each line of the standard input is a number of seconds to run for; the answer is the
median of the runs, in seconds.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np


def opened(engine: str, model: str, threads: int, feeds: dict[str, Any]) -> Callable[[], object]:
    if engine == "onnxruntime":
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        session = onnxruntime.InferenceSession(model, options, ["CPUExecutionProvider"])
        return lambda: session.run(None, feeds)
    if engine == "openvino":
        import openvino

        settings = {
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_PRECISION_HINT": "f32",
            "INFERENCE_NUM_THREADS": threads,
        }
        request = openvino.Core().compile_model(model, "CPU", settings).create_infer_request()
        return lambda: request.infer(feeds)
    if engine == "deepsparse":
        import deepsparse

        compiled = deepsparse.compile_model(model, batch_size=1, num_cores=threads)
        return lambda: compiled.run(list(feeds.values()))
    raise SystemExit(f"no engine '{engine}': expected onnxruntime, openvino or deepsparse")


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
