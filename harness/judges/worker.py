"""One network's evaluation in a process of its own. Run by `harness.measure.judge`."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import numpy as np

from harness.errors import last_line
from harness.files.arrays import read_arrays, write_arrays
from harness.judges.base import Evaluation
from harness.judges.registry import open_evaluation
from harness.models.formats import format_of
from harness.processes.child import Message, channel

Outputs = list[np.ndarray]


class Worker:
    """Answers about the one network it has."""

    def __init__(self) -> None:
        self._evaluation: Evaluation | None = None
        self._outcomes: dict[int, Iterator[Outputs]] = {}
        self._found: defaultdict[int, list[Outputs]] = defaultdict(list)

    def evaluate(self, message: Message) -> Message:
        """Evaluate on one of the inputs in a file, and write the outcome and so many others to
        another file. Those that were found before are kept."""
        if self._evaluation is None:
            path = Path(message["model"])
            self._evaluation = open_evaluation(format_of(path), path)
        at, wanted = message["at"], 1 + message["others"]
        if at not in self._outcomes:
            feeds = read_arrays(Path(message["inputs"]))[at]
            self._outcomes[at] = self._evaluation.outcomes(feeds)
        found = self._found[at]
        found += islice(self._outcomes[at], max(0, wanted - len(found)))
        rows = [[(str(index), array) for index, array in enumerate(row)] for row in found[:wanted]]
        write_arrays(Path(message["outputs"]), rows)
        return {}


def main() -> None:
    parent, worker = channel(), Worker()
    for message in parent:
        try:
            answer = worker.evaluate(message)
        except Exception as error:
            # Whatever an evaluation raises is why there is no judge.
            answer = {"error": last_line(error)}
        parent.send(answer)


if __name__ == "__main__":
    main()
