"""A compiled network in TVM's runtime, without its compiler: what a deployment would load."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from time import perf_counter

import numpy as np

from harness.artifact import LIBRARY, Artifact
from harness.awake import spread_threads
from harness.baselines.base import Feeds, checked
from harness.models.tensors import TensorSpec
from harness.without_torch import without_torch

# The runtime alone is wanted here: 250 MB of compiler would count as this model's memory.
os.environ["TVM_USE_RUNTIME_LIB"] = "1"
with without_torch():
    import tvm
    from tvm.runtime.vm import VirtualMachine

_FUNCTION = "main"


class TvmSession:
    """An artifact folder, loaded. The number of threads is TVM's own: `TVM_NUM_THREADS`, set before
    this module is imported."""

    def __init__(self, folder: Path) -> None:
        artifact = Artifact.read(folder)
        self.inputs = tuple(TensorSpec(i.name, i.shape, i.dtype) for i in artifact.inputs)
        self._outputs = len(artifact.outputs)
        self._kernels = {kernel.name for kernel in artifact.kernels}
        self._machine = VirtualMachine(tvm.runtime.load_module(str(folder / LIBRARY)), tvm.cpu())

    def run(self, feeds: Feeds) -> list[np.ndarray]:
        arguments = [tvm.runtime.tensor(array) for array in checked(self.inputs, feeds)]
        found = self._machine[_FUNCTION](*arguments)
        outputs = [found] if self._outputs == 1 and hasattr(found, "numpy") else list(found)
        return [output.numpy() for output in outputs]

    def bind(self, feeds: Feeds) -> Callable[[], object]:
        arguments = [tvm.runtime.tensor(array) for array in checked(self.inputs, feeds)]
        self._machine.set_input(_FUNCTION, *arguments)
        invoke, function = self._machine._invoke_stateful, _FUNCTION
        invoke(function)  # starts TVM's threads
        spread_threads()
        return lambda: invoke(function)

    def kernel_times(self, feeds: Feeds, runs: int) -> dict[str, list[float]]:
        """Kernel name to seconds per call, over `runs` inferences after one that warms up.

        Python is called before and after each kernel; what that costs, measured on kernels that do
        nothing, cannot be told from the kernel's own time and is some microseconds.
        """
        seconds: dict[str, list[float]] = {}
        started = [0.0]

        def instrument(
            function: object, name: str, before: bool, result: object, *_: object
        ) -> int:
            now = perf_counter()
            if before:
                started[0] = perf_counter()
            elif name in self._kernels:
                seconds.setdefault(name, []).append(now - started[0])
            return 0

        run = self.bind(feeds)
        run()
        self._machine.set_instrument(instrument)
        try:
            for _ in range(runs):
                run()
        finally:
            self._machine.set_instrument(lambda *_: 0)
        return seconds
