"""Asks a network's judge for its opinions, in a child process, when they are first needed."""

from __future__ import annotations

from pathlib import Path
from time import monotonic

from harness.files.arrays import read_arrays
from harness.judges.registry import JUDGES
from harness.measure.judgement import Opinion, Opinions
from harness.models.formats import format_of
from harness.processes.child import Child, ChildLost
from harness.processes.limits import lost_reason


class NetworkJudge:
    """The judge of the network in a file on the inputs in another. Use as a context manager.

    Its process may use `memory_mb` and, for all inputs together, `seconds`, and is started when an
    opinion is first asked for. After a failure it is not asked again.
    """

    def __init__(self, model: Path, inputs: Path, memory_mb: float, seconds: float) -> None:
        self._model = model
        self._inputs = inputs
        self._memory_mb = memory_mb
        self._allowed = self._left = seconds
        self._child: Child | None = None
        self._found: dict[tuple[int, int], Opinions] = {}
        self._absent: str | None = None

    def __enter__(self) -> NetworkJudge:
        return self

    def __exit__(self, *raised: object) -> None:
        if self._child is not None:
            self._child.kill()
            self._child = None

    def __call__(self, at: int, others: int) -> Opinions | str:
        """Its opinions on the outputs for one input, with so many `others` that they may be where
        rounding decides; or why it has none."""
        asked = at, others
        if asked not in self._found and self._absent is None:
            started = monotonic()
            try:
                self._found[asked] = self._evaluated(at, others)
            except ChildLost as error:
                self._absent = f"evaluating the network {lost_reason(error)}"
            self._left = max(0.1, self._left - (monotonic() - started))
        return self._absent if self._absent is not None else self._found[asked]

    def _evaluated(self, at: int, others: int) -> Opinions:
        """Raises ChildLost, also for errors that the child reports."""
        if self._child is None:
            self._child = Child("harness.judges.worker", memory_mb=self._memory_mb)
        outputs = self._inputs.with_name("judged.npz")
        self._child.send(
            {
                "model": str(self._model),
                "inputs": str(self._inputs),
                "at": at,
                "others": others,
                "outputs": str(outputs),
            }
        )
        answer = self._child.receive(self._left, allowed=self._allowed)
        if "error" in answer:
            raise ChildLost(f"failed: {answer['error']}")
        try:
            value, *rest = [list(row.values()) for row in read_arrays(outputs)]
        finally:
            outputs.unlink(missing_ok=True)
        return Opinions(
            JUDGES[format_of(self._model)].title,
            [
                Opinion(array, tuple(other[index] for other in rest))
                for index, array in enumerate(value)
            ],
        )
