"""The kernels that measure a machine's roofs; a program that `harness.machine.roofline` runs.

`python -m harness.hardware.roof_kernels` reads a description as JSON from standard input and
prints the roofs as JSON. Both come from kernels that TVM compiles for the description:

- compute: fused multiply-adds on independent accumulators in SIMD registers, without memory;
- memory: STREAM's triad `a = b + 3 * c` (McCalpin, "Memory Bandwidth and Machine Balance in
  Current High Performance Computers", 1995), counted as STREAM does: two arrays read and one
  written, without the read that a write may cause.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import psutil

from harness.compiler.script import IRBuilder, T, tvm
from harness.hardware.llvm import vector_bits
from harness.hardware.processor import this_processor
from harness.specs.target import TargetSpec

# Two FMA units of four to five cycles' latency need ten operations in flight; in AVX2's sixteen
# registers twelve accumulators fit beside the operand.
ACCUMULATORS = 12
FMA_STEPS = 1 << 16
SECONDS_EACH = 0.8
# The triad's arrays together are this many times the last-level cache, so that little of one pass
# is left there at the next; but never more than this part of the free memory.
CACHE_MULTIPLE = 2
MEMORY_SHARE = 0.25
SMALLEST_TRIAD_MB = 192


def main() -> None:
    """Read a description from standard input, measure, print the fields of `Roofs`."""
    spec = TargetSpec.model_validate_json(sys.stdin.read())
    target = tvm.target.Target(spec.tvm.as_tvm())
    threads, lanes = spec.tvm.num_cores, vector_bits(spec.tvm) // 32
    megabytes, beyond_cache = triad_size_mb()
    roofs = {
        "peak_gflops": fma_rate(target, threads, lanes) / 1e9,
        "memory_bandwidth_gbs": triad_rate(target, threads, lanes, megabytes) / 1e9,
        "threads": threads,
        "triad_mb": megabytes,
        "beyond_cache": beyond_cache,
    }
    print(json.dumps(roofs))


def triad_size_mb() -> tuple[float, bool]:
    """Size of the triad's three arrays together, and whether the last-level cache is too small."""
    processor = this_processor()
    last_level_mb = (processor.l3_kb or processor.l2_kb or 0) * 1024 / 1e6
    wanted = max(CACHE_MULTIPLE * last_level_mb, SMALLEST_TRIAD_MB)
    size = min(wanted, psutil.virtual_memory().available / 1e6 * MEMORY_SHARE)
    return size, size >= CACHE_MULTIPLE * last_level_mb


def fma_rate(target: Any, threads: int, lanes: int) -> float:
    """Floating-point operations a second; a fused multiply-add is two."""
    run = _compiled(fma_kernel(threads, lanes), target)
    # With 0.5 every accumulator tends to 1: no overflow, and no slow subnormal numbers.
    factors = tvm.runtime.tensor(np.full((threads, lanes), 0.5, "float32"))
    sums = tvm.runtime.tensor(np.zeros((threads, ACCUMULATORS * lanes), "float32"))
    seconds = _fastest(lambda: run(factors, sums))
    if not np.allclose(sums.numpy(), 1.0):
        raise ArithmeticError("the multiply-add kernel computed a wrong result")
    return 2.0 * threads * FMA_STEPS * ACCUMULATORS * lanes / seconds


def triad_rate(target: Any, threads: int, lanes: int, megabytes: float) -> float:
    """Bytes a second of `a = b + 3 * c` on arrays of `megabytes` together; 12 for each element."""
    steps = max(1, int(megabytes * 1e6 / 12 / threads / lanes))
    run = _compiled(triad_kernel(threads, steps, lanes), target)
    fill = _compiled(fill_kernel(threads, steps, lanes), target)
    shape = (threads, steps * lanes)
    written, first, second = (tvm.runtime.empty(shape, "float32") for _ in range(3))
    # Filled by the threads that will read it: a page lies in the memory next to its first writer.
    for array, value in ((written, 0.0), (first, 1.0), (second, 2.0)):
        fill(array, value)
    seconds = _fastest(lambda: run(written, first, second))
    if not (np.from_dlpack(written)[:, -1] == 7.0).all():
        raise ArithmeticError("the triad kernel computed a wrong result")
    return 12.0 * threads * steps * lanes / seconds


def _fastest(call: Callable[[], object]) -> float:
    """Seconds of the fastest of as many calls as fit: a roofline is reached undisturbed."""
    call()
    best, end = float("inf"), time.perf_counter() + SECONDS_EACH
    while time.perf_counter() < end:
        start = time.perf_counter()
        call()
        best = min(best, time.perf_counter() - start)
    return best


def _compiled(function: Any, target: Any) -> Any:
    return tvm.compile(tvm.IRModule({"main": function}), target=target)["main"]


def fma_kernel(threads: int, lanes: int) -> Any:
    """Each thread: `sum = sum * factor + factor` on every accumulator, FMA_STEPS times."""
    width = ACCUMULATORS * lanes
    parts = [T.Ramp(index * lanes, 1, lanes) for index in range(ACCUMULATORS)]
    with IRBuilder() as builder:
        with T.prim_func():
            T.func_name("main")
            factors = T.arg("factors", T.buffer((threads, lanes), "float32"))
            sums = T.arg("sums", T.buffer((threads, width), "float32"))
            with T.parallel(threads) as thread:
                held = T.alloc_buffer((width,), "float32", scope="local")
                # Bound once: a load inside the loop might alias `held`, and force it to memory.
                factor = T.bind(factors[thread, parts[0]])
                for index, part in enumerate(parts):
                    T.buffer_store(held, T.Broadcast(T.float32(index), lanes), [part])
                with T.serial(FMA_STEPS):
                    for part in parts:
                        T.buffer_store(held, held[part] * factor + factor, [part])
                for part in parts:
                    T.buffer_store(sums, held[part], [thread, part])
        return builder.get()


def triad_kernel(threads: int, steps: int, lanes: int) -> Any:
    """Each thread, on its own contiguous part: `written = first + 3 * second`."""
    shape = (threads, steps * lanes)
    with IRBuilder() as builder:
        with T.prim_func():
            T.func_name("main")
            written = T.arg("written", T.buffer(shape, "float32"))
            first = T.arg("first", T.buffer(shape, "float32"))
            second = T.arg("second", T.buffer(shape, "float32"))
            with T.parallel(threads) as thread, T.serial(steps) as step:
                part = T.Ramp(step * lanes, 1, lanes)
                three = T.Broadcast(T.float32(3), lanes)
                value = first[thread, part] + three * second[thread, part]
                T.buffer_store(written, value, [thread, part])
        return builder.get()


def fill_kernel(threads: int, steps: int, lanes: int) -> Any:
    """Each thread writes one value all over its part."""
    with IRBuilder() as builder:
        with T.prim_func():
            T.func_name("main")
            written = T.arg("written", T.buffer((threads, steps * lanes), "float32"))
            value = T.arg("value", T.float32())
            with T.parallel(threads) as thread, T.serial(steps) as step:
                part = T.Ramp(step * lanes, 1, lanes)
                T.buffer_store(written, T.Broadcast(value, lanes), [thread, part])
        return builder.get()


if __name__ == "__main__":
    main()
