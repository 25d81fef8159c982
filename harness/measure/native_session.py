"""A compiled network that is called as an exported folder calls it: by its library's own functions,
without TVM."""

from __future__ import annotations

import json
import os
from collections import defaultdict
from collections.abc import Callable, Mapping
from ctypes import CDLL
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

from harness.baselines.base import Feeds, Session, checked
from harness.deploy.runner import Library, aligned
from harness.devices.threads.fork_join import fork_join_library
from harness.machine.awake import spread_threads
from harness.measure.kernel_times import KernelTimes
from harness.models.tensors import TensorSpec

# As in `harness.records.artifact`, which takes as much memory to import as a small network.
_LIBRARY, _DESCRIPTION = "model.so", "artifact.json"
_THREADS = "TVM_NUM_THREADS"


class NativeSession:
    """An artifact folder, loaded; one whose library calls its kernels in a known `sequence`. It has
    as many threads as `TVM_NUM_THREADS` says."""

    def __init__(self, folder: Path) -> None:
        about = json.loads((folder / _DESCRIPTION).read_text(encoding="utf-8"))
        self.inputs = tuple(
            TensorSpec(each["name"], tuple(each["shape"]), each["dtype"])
            for each in about["inputs"]
        )
        self._sequence = about["sequence"]
        self._library = Library(folder / _LIBRARY, about["outputs"], _threads())

    def run(self, feeds: Feeds) -> list[np.ndarray]:
        return self._library.infer(list(checked(self.inputs, feeds)))

    def bind(self, feeds: Feeds) -> Callable[[], object]:
        given = []
        for array in checked(self.inputs, feeds):
            given.append(aligned(array.shape, array.dtype))
            given[-1][...] = array
        self._library.infer(given)  # starts the threads
        spread_threads()
        return self._library.again

    def kernel_times(self, feeds: Feeds, runs: int) -> KernelTimes:
        """Time each kernel, over `runs` inferences: the library writes the times, which takes some
        tens of nanoseconds a kernel."""
        run = self.bind(feeds)
        times = np.zeros(len(self._sequence) + 1, np.int64)
        kernels: dict[str, list[float]] = defaultdict(list)
        outside = []
        with self._library.watched(times):
            for _ in range(runs):
                started = perf_counter()
                run()
                elapsed = perf_counter() - started
                seconds = 1e-9 * np.diff(times)
                for name, each in zip(self._sequence, seconds.tolist(), strict=True):
                    kernels[name].append(each)
                outside.append(elapsed - float(seconds.sum()))
        return KernelTimes(kernels, outside)


def open_network(folder: Path) -> Session:
    """An artifact folder, loaded by itself where it can be, and in TVM's runtime elsewhere."""
    about = json.loads((folder / _DESCRIPTION).read_text(encoding="utf-8"))
    if about.get("sequence") and all(map(_is_numpys, (*about["inputs"], *about["outputs"]))):
        return NativeSession(folder)
    from harness.measure.tvm_session import TvmSession

    return TvmSession(folder)


def _is_numpys(tensor: Mapping[str, Any]) -> bool:
    """Whether NumPy has a tensor's type; it has no bfloat16."""
    try:
        return bool(np.dtype(tensor["dtype"]).name == tensor["dtype"])
    except TypeError:
        return False


def _threads() -> CDLL | None:
    """The threads for loops; None where an inference has one alone."""
    count = int(os.environ.get(_THREADS) or os.cpu_count() or 1)
    if count == 1:
        return None
    threads = CDLL(str(fork_join_library(None)))
    threads.layeredge_set_threads(count)
    return threads
