"""Samples of one inference each, put together for a model that takes several at a time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from harness.errors import InputError
from harness.models.data.task import Feeds, Progress, Run, Task, TrainingInputs
from harness.models.tensors import TensorSpec
from harness.records.record import Accuracy


@dataclass(frozen=True)
class Batching:
    """Batches of `size` samples. The first axis of the inputs with these `names`, and of each
    output that is as long, is the batch; other inputs are the same for all samples of one."""

    size: int
    names: frozenset[str]

    def joined(self, samples: Sequence[Feeds]) -> Feeds:
        """`size` samples as one inference. Raises InputError where they differ in an input that
        has no batch axis."""
        first = samples[0]
        for name in first.keys() - self.names:
            if any(not np.array_equal(first[name], one[name]) for one in samples):
                raise InputError(
                    f"input '{name}' has no batch axis and differs from sample to sample: leave "
                    "'batch' out"
                )
        return {
            name: np.concatenate([one[name] for one in samples]) if name in self.names else array
            for name, array in first.items()
        }

    def of_one(self, tensor: TensorSpec) -> TensorSpec:
        """An input or output as it is for one sample."""
        if tensor.shape[:1] != (self.size,):
            return tensor
        return replace(tensor, shape=(1, *tensor.shape[1:]))


class BatchedTask(Task):
    """A task whose inputs are batches of samples of `task`, one after the other.

    To score a sample, the batch is filled with it, and the first of the outputs counts: `evaluate`
    takes as many times as long as a batch has samples.
    """

    def __init__(self, task: Task, batching: Batching) -> None:
        self.metric = task.metric
        self._task = task
        self._batching = batching

    def inputs(self, count: int) -> list[Feeds]:
        """The first `count` (or fewer) whole batches; of too few samples for one, a batch that
        repeats them."""
        return self._batches(self._task.inputs(count * self._batching.size))

    def examples(self, count: int) -> list[Feeds]:
        """Batches of samples from all over the data."""
        return self._batches(self._task.examples(count * self._batching.size))

    def _batches(self, samples: list[Feeds]) -> list[Feeds]:
        size = self._batching.size
        if 0 < len(samples) < size:
            samples = [samples[at % len(samples)] for at in range(size)]
        starts = range(0, len(samples) - size + 1, size)
        return [self._batching.joined(samples[at : at + size]) for at in starts]

    def evaluate(
        self, run: Run, progress: Progress, limit: int | None = None, skip: int = 0
    ) -> Accuracy:
        """Score a model on the data without the samples of `inputs(skip)`, or on the first `limit`
        of the others."""
        size = self._batching.size

        def one(feeds: Feeds) -> list[np.ndarray]:
            outputs = run(self._batching.joined([feeds] * size))
            return [each[:1] if each.shape[:1] == (size,) else each for each in outputs]

        return self._task.evaluate(one, progress, limit, skip * size)

    def fitted(self, inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec]) -> Task:
        of_one: Callable[[TensorSpec], TensorSpec] = self._batching.of_one
        task = self._task.fitted([*map(of_one, inputs)], [*map(of_one, outputs)])
        return BatchedTask(task, self._batching)

    def require(self) -> None:
        self._task.require()

    def remarks(self) -> list[str]:
        return self._task.remarks()


def batched(training: TrainingInputs, batching: Batching) -> TrainingInputs:
    """Training inputs in batches; a last, smaller one is left out."""
    size = batching.size

    def feeds(at: int) -> Feeds:
        return batching.joined([training.feeds(each) for each in range(at * size, (at + 1) * size)])

    return TrainingInputs(training.count // size, feeds, training.fingerprint)
