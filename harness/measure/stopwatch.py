"""Times the functions that TVM's virtual machine calls, without the cost of the timing itself."""

from __future__ import annotations

from collections.abc import Collection
from statistics import median
from time import perf_counter

_BUILTIN = "vm.builtin."


class Stopwatch:
    """An instrument of the virtual machine; `kernels` are the names of the functions to time.

    Python is called before and after each function, and the second call takes some microseconds
    to arrive. How many is known from the machine's own functions, which do next to nothing, and is
    taken off every kernel.
    """

    def __init__(self, kernels: Collection[str]) -> None:
        self._kernels = kernels
        self._started = 0.0
        self._calls: list[tuple[str, float]] = []
        self._idle: list[float] = []

    def __call__(
        self, function: object, name: str, before: bool, result: object, *_: object
    ) -> int:
        elapsed = perf_counter() - self._started
        if before:
            self._started = perf_counter()
        elif name in self._kernels:
            self._calls.append((name, elapsed))
        elif name.startswith(_BUILTIN):
            self._idle.append(elapsed)
        return 0

    def read(self) -> list[tuple[str, float]]:
        """The kernels that were called since the last reading, and for how many seconds."""
        cost = median(self._idle) if self._idle else 0.0
        calls = [(name, max(0.0, elapsed - cost)) for name, elapsed in self._calls]
        self._calls, self._idle = [], []
        return calls
