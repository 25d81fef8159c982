"""A compiled network in TVM's runtime, without its compiler: what a deployment would load."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

import numpy as np

from harness.artifact import LIBRARY, Artifact
from harness.awake import spread_threads
from harness.baselines.base import Feeds, checked
from harness.measure.stopwatch import Stopwatch
from harness.models.tensors import TensorSpec
from harness.without_torch import without_torch

# The runtime alone is wanted here: 250 MB of compiler would count as this model's memory.
os.environ["TVM_USE_RUNTIME_LIB"] = "1"
with without_torch():
    import tvm
    from tvm.runtime.vm import VirtualMachine

_FUNCTION = "main"


@dataclass(frozen=True)
class KernelTimes:
    """`kernels` has the seconds of each call, by kernel; `outside` the seconds that each inference
    spent in none of them."""

    kernels: dict[str, list[float]]
    outside: list[float]


class TvmSession:
    """An artifact folder, loaded. The number of threads is TVM's own: `TVM_NUM_THREADS`, set before
    this module is imported."""

    def __init__(self, folder: Path) -> None:
        artifact = Artifact.read(folder)
        self.inputs = tuple(TensorSpec(i.name, i.shape, i.dtype) for i in artifact.inputs)
        self._outputs = len(artifact.outputs)
        self._kernels = {kernel.name for kernel in artifact.kernels}
        self._executable = tvm.runtime.load_module(str(folder / LIBRARY))
        self._machine = VirtualMachine(self._executable, tvm.cpu())

    def run(self, feeds: Feeds) -> list[np.ndarray]:
        arguments = [tvm.runtime.tensor(array) for array in checked(self.inputs, feeds)]
        found = self._machine[_FUNCTION](*arguments)
        outputs = [found] if self._outputs == 1 and hasattr(found, "numpy") else list(found)
        return [output.numpy() for output in outputs]

    def bind(self, feeds: Feeds) -> Callable[[], object]:
        return self._bound(self._machine, feeds)

    def _bound(self, machine: VirtualMachine, feeds: Feeds) -> Callable[[], object]:
        arguments = [tvm.runtime.tensor(array) for array in checked(self.inputs, feeds)]
        machine.set_input(_FUNCTION, *arguments)
        invoke, function = machine._invoke_stateful, _FUNCTION
        invoke(function)  # starts TVM's threads
        spread_threads()
        return lambda: invoke(function)

    def kernel_times(self, feeds: Feeds, runs: int) -> KernelTimes:
        """Time each kernel, over `runs` inferences.

        Each is paired with one that nothing interrupts: what that takes longer than the other's
        kernels is what it spent outside of them.
        """
        plain = self.bind(feeds)
        stopwatch = Stopwatch(self._kernels)
        watched = VirtualMachine(self._executable, tvm.cpu())
        instrumented = self._bound(watched, feeds)
        watched.set_instrument(stopwatch)
        kernels: dict[str, list[float]] = defaultdict(list)
        outside = []
        for _ in range(runs):
            plain()  # the caches hold what the other one needs
            started = perf_counter()
            plain()
            elapsed = perf_counter() - started
            instrumented()
            stopwatch.read()
            instrumented()
            calls = stopwatch.read()
            for name, seconds in calls:
                kernels[name].append(seconds)
            outside.append(elapsed - sum(seconds for _, seconds in calls))
        return KernelTimes(kernels, outside)
