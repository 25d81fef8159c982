"""Runs candidates of one kernel on an emulated board: counts the instructions of each, and compares
what it gives with what it should.

Run by `harness.tuning.counting_measurer` with the board's Python, which has TVM's runtime only.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np

from harness.child import Message, channel
from harness.devices.board import COUNTS
from harness.measure.counting import InstructionCounter
from harness.measure.inputs import read_arrays
from harness.tuning.difference import difference
from harness.without_torch import without_torch

os.environ["TVM_USE_RUNTIME_LIB"] = "1"
with without_torch():
    import tvm


class Worker:
    """Answers messages about one kernel at a time."""

    def __init__(self) -> None:
        self._rows: list[list[np.ndarray]] = []
        self._outputs = 0

    def kernel(self, message: Message) -> Message:
        """Turn to another kernel: rows of what it is given, with what it should give last."""
        self._rows = [list(row.values()) for row in read_arrays(Path(message["references"]))]
        self._outputs = message["outputs"]
        return {}

    def count(self, message: Message) -> Message:
        """The instructions of one run of a candidate, and what it gives wrong, if anything."""
        path = Path(message["library"])
        library = tvm.runtime.load_module(str(path))
        counter = InstructionCounter(path, Path(os.environ[COUNTS]))
        function = library[message["name"]]
        wrong = next(filter(None, (self._wrong(function, row) for row in self._rows)), None)
        arguments = self._arguments(self._rows[0])
        found = counter.count(lambda: function(*arguments))
        return {"instructions": found.total, "wrong": wrong}

    def _arguments(self, row: list[np.ndarray]) -> list[tvm.runtime.Tensor]:
        inputs = [tvm.runtime.tensor(array) for array in row[: -self._outputs]]
        results = [tvm.runtime.tensor(np.zeros_like(array)) for array in row[-self._outputs :]]
        return [*inputs, *results]

    def _wrong(self, function: Any, row: list[np.ndarray]) -> str | None:
        """The first output that differs, in words."""
        arguments = self._arguments(row)
        function(*arguments)
        expected, found = row[-self._outputs :], arguments[-self._outputs :]
        for at, (array, result) in enumerate(zip(expected, found, strict=True)):
            if why := difference(array, result.numpy()):
                return f"output {at}: {why}"
        return None


def main() -> None:
    parent = channel()
    worker = Worker()
    for message in parent:
        try:
            answer = getattr(worker, message.pop("do"))(message)
        except Exception as error:
            # Anything a candidate raises is that candidate's failure.
            lines = str(error).strip().splitlines()
            answer = {"error": lines[-1] if lines else repr(error)}
        parent.send(answer)


if __name__ == "__main__":
    main()
