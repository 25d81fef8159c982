"""The arguments of a kernel while it is measured."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import numpy as np

from harness.compiler.api import ArgInfo, tvm
from harness.files.arrays import read_arrays
from harness.tuning.candidates.graphics_function import GraphicsFunction

_SEED = 0
_MOST_COPIES = 64
_MOST_COPIED_BYTES = 64e6


class Arguments:
    """Random arguments of a kernel, its outputs included, on a device.

    In a network whose weights do not fit into the caches, a kernel finds its weights in memory
    every time. There are as many copies of the `constants` as it takes to have it so here too:
    runs use them one after the other. `footprint` is the size of all the network's weights, or 0
    where they stay in the caches. Integers, which may say where to read, are those of `real`, an
    `.npz` of the kernel's inputs in an inference, or zeros where there is none.
    """

    def __init__(
        self,
        module: tvm.IRModule,
        constants: list[int],
        footprint: float,
        real: Path | None = None,
        device: tvm.runtime.Device | None = None,
    ) -> None:
        generator = np.random.default_rng(_SEED)
        infos = ArgInfo.from_prim_func(module["main"])
        arrays = [
            _values(generator, str(info.dtype), tuple(map(int, info.shape))) for info in infos
        ]
        if real is not None and any(array.dtype.kind != "f" for array in arrays):
            for at, array in enumerate(given_in(real)):
                if array.dtype.kind != "f":
                    arrays[at] = array
        self.arrays = arrays
        tensors = [tvm.runtime.tensor(array, device) for array in arrays]
        copied = max(1, sum(arrays[at].nbytes for at in constants))
        copies = math.ceil(min(footprint, _MOST_COPIED_BYTES) / copied)
        self.sets = [tensors]
        for _ in range(1, min(copies, _MOST_COPIES)):
            fresh = list(tensors)
            for at in constants:
                fresh[at] = tvm.runtime.tensor(arrays[at], device)
            self.sets.append(fresh)
        self._next = 0

    def seconds(self, function: Callable[..., object], runs: int) -> float:
        """The median of some runs; on a graphics processor their mean."""
        if isinstance(function, GraphicsFunction):
            return function.seconds(self.sets[0], runs)
        times = []
        for _ in range(runs):
            arguments = self.sets[self._next]
            self._next = (self._next + 1) % len(self.sets)
            started = time.perf_counter()
            function(*arguments)
            times.append(time.perf_counter() - started)
        return median(times)


def given_in(path: Path) -> list[np.ndarray]:
    """A kernel's inputs in a real inference, from its file."""
    return list(read_arrays(path)[0].values())


def _values(generator: np.random.Generator, dtype: str, shape: tuple[int, ...]) -> np.ndarray:
    """Random values for floats; zeros for integers, which may be indices and must be in range."""
    if dtype.startswith("float"):
        return generator.standard_normal(shape).astype(dtype)
    return np.zeros(shape, dtype)
