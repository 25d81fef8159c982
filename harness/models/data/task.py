"""A task is a model's labelled data and the metric that scores outputs against it; training inputs
are unlabelled data that is not scored."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from harness.models.tensors import TensorSpec
from harness.records.record import Accuracy

SAMPLES_REVISION = 2
"""To be raised when a model's data come in another order, so that no sweep has cells scored on
different samples, or fitted to some that others are scored on."""

Feeds = dict[str, np.ndarray]
"""Input name to array, as one inference of batch 1 takes it."""

Run = Callable[[Feeds], list[np.ndarray]]
"""Runs a model once: inputs by name in, outputs in the model's order out."""

Progress = Callable[[int, int], None]
"""Told (done, total) while something long goes on."""


def spread(total: int, count: int) -> list[int]:
    """`count` places (or all) of `total`, from the first to the last, as far apart as can be."""
    return sorted(set(np.linspace(0, total - 1, min(count, total)).round().astype(int).tolist()))


class ScoredInputs(Protocol):
    """Inputs of one model with a metric that scores its outputs for them. Deterministic: the same
    samples in the same order, always."""

    metric: str
    """The metric's name as shown to people, such as `top-1 accuracy`."""

    def inputs(self, count: int) -> list[Feeds]:
        """The first `count` (or fewer) real inputs, preprocessed."""
        ...

    def examples(self, count: int) -> list[Feeds]:
        """`count` (or fewer) real inputs, the first among them, to verify and measure with."""
        return self.inputs(count)

    def evaluate(
        self, run: Run, progress: Progress, limit: int | None = None, skip: int = 0
    ) -> Accuracy:
        """Score a model on the data without the samples of `inputs(skip)`, or on the first `limit`
        of the others. InputError if there are none."""
        ...


class Task(ScoredInputs, Protocol):
    """Labelled data of one model, and how they fit it."""

    def fitted(self, inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec]) -> Task:
        """This task, once the model's inputs and outputs are known. Raises InputError where the
        data do not fit that."""
        return self

    def require(self) -> None:
        """Raises InputError where nothing can be scored here."""
        return None

    def remarks(self) -> list[str]:
        """Remarks on the data that are no errors."""
        return []


@dataclass(frozen=True)
class TrainingInputs:
    """Inputs of one model, without labels, to compress its edges by: none of them is scored on.

    `feeds` gives those of a sample by its index; `fingerprint` changes with them; `refit`
    adapts them to the model's inputs, where these were not known.
    """

    count: int
    feeds: Callable[[int], Feeds]
    fingerprint: str
    refit: Callable[[Sequence[TensorSpec]], TrainingInputs] | None = None

    def fitted(self, inputs: Sequence[TensorSpec]) -> TrainingInputs:
        """These, once the model's inputs are known. Raises InputError where they do not fit."""
        return self.refit(inputs) if self.refit else self

    def inputs(self, count: int | None = None) -> list[Feeds]:
        """The first `count` (or fewer) samples, or all."""
        return [self.feeds(at) for at in range(self.count)[:count]]
