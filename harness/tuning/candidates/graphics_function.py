"""A compiled kernel of a graphics processor, timed by that processor's own clock."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from harness.compiler.api import tvm


class GraphicsFunction:
    """One function of a compiled module. Calling it starts it; its results are there once it is
    read."""

    def __init__(self, library: Any, name: str, device: tvm.runtime.Device) -> None:
        self._library = library
        self._name = name
        self._device = device
        self._function = library[name]

    def __call__(self, *arguments: Any) -> None:
        self._function(*arguments)

    def seconds(self, arguments: Sequence[Any], runs: int) -> float:
        """The mean over some runs in a row: between two events on the device, so that the time it
        takes to start them is hidden as it is in a network."""
        timed = self._library.time_evaluator(self._name, self._device, number=runs)
        return float(timed(*arguments).mean)
