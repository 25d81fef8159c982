"""One network's evaluation in a process of its own. Run by `harness.measure.judge`."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

from harness.errors import last_line
from harness.files.arrays import read_arrays, write_arrays
from harness.judges.base import Evaluation
from harness.judges.registry import open_evaluation
from harness.models.formats import format_of
from harness.processes.child import Message, channel


class Worker:
    """Answers about the one network it has."""

    def __init__(self) -> None:
        self._evaluation: Evaluation | None = None

    def evaluate(self, message: Message) -> Message:
        """Evaluate on one of the inputs in a file, and write the first outcome, or all, to
        another."""
        if self._evaluation is None:
            path = Path(message["model"])
            self._evaluation = open_evaluation(format_of(path), path)
        feeds = read_arrays(Path(message["inputs"]))[message["at"]]
        outcomes = islice(self._evaluation.outcomes(feeds), None if message["all"] else 1)
        rows = [[(str(at), array) for at, array in enumerate(row)] for row in outcomes]
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
