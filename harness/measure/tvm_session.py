"""A compiled network in TVM's runtime, without its compiler: for a graphics processor, or one that
is more than a sequence of kernels."""

from __future__ import annotations

import ctypes
from collections import Counter, defaultdict
from collections.abc import Callable
from pathlib import Path
from statistics import median
from time import perf_counter

import numpy as np

from harness.baselines.base import Feeds, checked
from harness.compiler.code_kinds import CODE_KINDS
from harness.compiler.runtime import VirtualMachine, tvm
from harness.devices.graphics.cuda_compiler import CudaCompiler
from harness.devices.threads.fork_join import use_fork_join
from harness.errors import CellFailure
from harness.machine.awake import spread_threads
from harness.measure.kernel_times import KernelTimes
from harness.measure.stopwatch import Stopwatch
from harness.models.tensors import TensorSpec
from harness.records.artifact import KERNELS, LIBRARY, Artifact

_WATCHED = "main"
"""The function whose kernels can be timed."""


class TvmSession:
    """An artifact folder, loaded. It has as many threads as `TVM_NUM_THREADS` says, set before this
    module is imported."""

    def __init__(self, folder: Path) -> None:
        artifact = Artifact.read(folder)
        self._folder = folder
        kind = CODE_KINDS[str(artifact.target["kind"])]
        self._graphics = not kind.in_process_memory
        self._device = tvm.device(kind.device)
        if self._graphics:
            _require_graphics(self._device)
            CudaCompiler(str(artifact.target["arch"]), kept=folder).use()
        else:
            use_fork_join()
        self.inputs = tuple(TensorSpec(i.name, i.shape, i.dtype) for i in artifact.inputs)
        self._outputs = len(artifact.outputs)
        self._function = artifact.function
        self._kernels = {kernel.name for kernel in artifact.kernels}
        self._executable = tvm.runtime.load_module(str(folder / LIBRARY))
        self._machine = VirtualMachine(self._executable, self._device)

    def run(self, feeds: Feeds) -> list[np.ndarray]:
        found = self._machine[self._function](*self._given(feeds))
        outputs = [found] if self._outputs == 1 and hasattr(found, "numpy") else list(found)
        return [output.numpy() for output in outputs]

    def _given(self, feeds: Feeds) -> list[tvm.runtime.Tensor]:
        return [tvm.runtime.tensor(array, self._device) for array in checked(self.inputs, feeds)]

    def bind(self, feeds: Feeds) -> Callable[[], object]:
        return self._bound(self._machine, self._function, feeds)

    def _bound(self, machine: VirtualMachine, function: str, feeds: Feeds) -> Callable[[], object]:
        machine.set_input(function, *self._given(feeds))
        invoke = machine._invoke_stateful
        invoke(function)  # starts the threads
        if self._graphics:
            wait = self._device.sync

            def run() -> None:
                invoke(function)
                wait()

            return run
        spread_threads()
        return lambda: invoke(function)

    def kernel_times(self, feeds: Feeds, runs: int) -> KernelTimes:
        """Time each kernel, over `runs` inferences.

        Each is paired with an uninterrupted one: the difference between its time and the sum of
        the other's kernels is the time outside kernels.
        """
        if self._graphics:
            return self._graphics_kernel_times(feeds, runs)
        plain = self.bind(feeds)
        stopwatch = Stopwatch(self._kernels)
        watched = VirtualMachine(self._executable, tvm.cpu())
        instrumented = self._bound(watched, _WATCHED, feeds)
        watched.set_instrument(stopwatch)
        kernels: dict[str, list[float]] = defaultdict(list)
        outside = []
        for _ in range(runs):
            plain()  # the caches hold the other one's data
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

    def _graphics_kernel_times(self, feeds: Feeds, runs: int) -> KernelTimes:
        """The same on a graphics processor, by its own clock: each kernel is started some times in
        a row on its inputs in an inference: waiting for each run would take longer than the run."""
        plain = self.bind(feeds)
        executable = tvm.runtime.load_module(str(self._folder / KERNELS))
        library = executable.imports[0]  # whose functions are the kernels
        watched = VirtualMachine(executable, self._device)
        kernels: dict[str, list[float]] = {}
        calls: Counter[str] = Counter()

        def instrument(function: object, name: str, before: bool, *rest: object) -> int:
            if before and name in self._kernels:
                calls[name] += 1
                if name not in kernels:
                    timed = library.time_evaluator(name, self._device, number=runs, repeat=3)
                    kernels[name] = [float(each) for each in timed(*rest[1:]).results]
            return 0

        watched.set_instrument(instrument)
        watched[_WATCHED](*self._given(feeds))
        inside = sum(median(kernels[name]) * count for name, count in calls.items())
        outside = []
        for _ in range(runs):
            started = perf_counter()
            plain()
            outside.append(perf_counter() - started - inside)
        return KernelTimes(kernels, outside)


def _require_graphics(device: tvm.runtime.Device) -> None:
    """Raise CellFailure, with the reason that TVM hides, if CUDA's runtime does not load."""
    if device.exist:
        return
    try:
        ctypes.CDLL(str(Path(tvm.__file__).parent / "lib" / "libtvm_runtime_cuda.so"))
    except OSError as error:
        raise CellFailure(f"TVM's runtime for CUDA does not load: {error}") from None
    if not device.exist:
        raise CellFailure("CUDA finds no graphics processor here")
