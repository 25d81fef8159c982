"""Labelled data of a network with state, whose samples say nothing of it: each is the first
inference of a sequence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from harness.models.data.task import Feeds, Progress, Run, Task, TrainingInputs
from harness.models.tensors import TensorSpec
from harness.records.record import Accuracy


class TaskFromInitialState(Task):
    """A task of a network's other inputs, and `initial`, the first values of its state."""

    def __init__(self, task: Task, initial: Mapping[str, np.ndarray]) -> None:
        self.metric = task.metric
        self._task = task
        self._initial = initial

    def inputs(self, count: int) -> list[Feeds]:
        return [{**feeds, **self._initial} for feeds in self._task.inputs(count)]

    def examples(self, count: int) -> list[Feeds]:
        return [{**feeds, **self._initial} for feeds in self._task.examples(count)]

    def evaluate(
        self, run: Run, progress: Progress, limit: int | None = None, skip: int = 0
    ) -> Accuracy:
        def first(feeds: Feeds) -> list[np.ndarray]:
            return run({**feeds, **self._initial})

        return self._task.evaluate(first, progress, limit, skip)

    def fitted(self, inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec]) -> Task:
        others = [each for each in inputs if each.name not in self._initial]
        return TaskFromInitialState(self._task.fitted(others, outputs), self._initial)

    def require(self) -> None:
        self._task.require()

    def remarks(self) -> list[str]:
        return self._task.remarks()


def training_from_initial_state(
    training: TrainingInputs, initial: Mapping[str, np.ndarray]
) -> TrainingInputs:
    """Training inputs of a network's other inputs, with the first values of its state."""
    return replace(training, feeds=lambda at: {**training.feeds(at), **initial}, refit=None)
