"""Runs candidates of one kernel on an emulated board: counts the instructions of each, and compares
its results with the expected ones.

Run by `harness.tuning.measurers.emulated` with the board's Python, which has TVM's runtime only.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from harness.compiler.runtime import tvm
from harness.devices.emulated.board import COUNTS
from harness.errors import last_line
from harness.files.arrays import read_arrays
from harness.measure.counting import InstructionCounter
from harness.processes.child import Message, channel
from harness.tuning.candidates.difference import Reference, first_difference, reference_of


class Worker:
    """Answers messages about one kernel at a time."""

    def __init__(self) -> None:
        self._references: list[Reference] = []

    def kernel(self, message: Message) -> Message:
        """Turn to another kernel: rows of its inputs, with the expected outputs last."""
        rows = read_arrays(Path(message["references"]))
        self._references = [reference_of(row, message["outputs"]) for row in rows]
        return {}

    def count(self, message: Message) -> Message:
        """The instructions of one run of a candidate, and its error, if any."""
        path = Path(message["library"])
        library = tvm.runtime.load_module(str(path))
        counter = InstructionCounter(path, Path(os.environ[COUNTS]))
        function = library[message["name"]]

        def run(inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
            tensors = self._tensors(inputs)
            function(*tensors)
            return [each.numpy() for each in tensors[len(inputs) :]]

        wrong = first_difference(run, self._references)
        tensors = self._tensors(self._references[0].inputs)
        found = counter.count(lambda: function(*tensors))
        return {"instructions": found.total, "wrong": wrong}

    def _tensors(self, inputs: Sequence[np.ndarray]) -> list[tvm.runtime.Tensor]:
        """A candidate's arguments: the inputs, and room for its results."""
        results = [np.zeros_like(each) for each in self._references[0].outputs]
        return [tvm.runtime.tensor(array) for array in (*inputs, *results)]


def main() -> None:
    parent = channel()
    worker = Worker()
    for message in parent:
        try:
            answer = getattr(worker, message.pop("do"))(message)
        except Exception as error:
            # Anything a candidate raises is that candidate's failure.
            answer = {"error": last_line(error)}
        parent.send(answer)


if __name__ == "__main__":
    main()
