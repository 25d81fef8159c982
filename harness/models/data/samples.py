"""Labelled samples scored one inference at a time: the usual kind of task."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from harness.models.accuracy.metrics import Metric, accuracy
from harness.models.data.task import Feeds, Progress, Run, Task, spread
from harness.records.record import Accuracy


class Samples(Task):
    """A `harness.models.data.task.Task` of which each sample is one inference with one label.

    `feeds` gives the inputs of a sample by its index, so that large inputs are made when needed.
    """

    def __init__(
        self,
        scored_by: Metric,
        labels: Sequence[np.ndarray] | np.ndarray,
        feeds: Callable[[int], Feeds],
    ) -> None:
        self.metric = scored_by.title
        self.scored_by = scored_by
        self.labels = labels
        self.feeds = feeds

    def __len__(self) -> int:
        return len(self.labels)

    def inputs(self, count: int) -> list[Feeds]:
        """The first `count` samples, or all if there are fewer."""
        return [self.feeds(at) for at in range(min(count, len(self)))]

    def examples(self, count: int) -> list[Feeds]:
        """Samples from all over the data."""
        return [self.feeds(at) for at in spread(len(self), count)]

    def evaluate(
        self, run: Run, progress: Progress, limit: int | None = None, skip: int = 0
    ) -> Accuracy:
        """Score a model on all samples but the first `skip`, or on the first `limit` of those.
        InputError if a label cannot fit, or nothing is left."""
        scored = range(len(self))[skip:][:limit]
        rows = []
        for done, at in enumerate(scored, start=1):
            rows.append(self.scored_by.sample(run(self.feeds(at)), np.asarray(self.labels[at])))
            progress(done, len(scored))
        return accuracy(self.scored_by, np.asarray(rows, dtype=np.float64))
