"""Samples of one inference each, for a model that takes several."""

from __future__ import annotations

import numpy as np
import pytest

from harness.errors import InputError
from harness.models.accuracy.metrics import METRICS
from harness.models.data.batched import BatchedTask, Batching, batched
from harness.models.data.samples import Samples
from harness.models.data.task import Feeds, TrainingInputs

SCORES = np.eye(5, dtype=np.float32)
LABELS = np.asarray([0, 1, 2, 3, 0])
"""The last of them is not what the scores say."""


def sample(at: int) -> Feeds:
    return {"x": SCORES[at : at + 1], "rate": np.int64(16_000)}


def task(size: int) -> BatchedTask:
    samples = Samples(METRICS["top1"], LABELS, sample)
    return BatchedTask(samples, Batching(size, frozenset({"x"})))


def ignore(done: int, total: int) -> None:
    pass


def test_inputs_are_whole_batches_of_different_samples() -> None:
    first, second = task(2).inputs(9)
    assert np.array_equal(first["x"], SCORES[:2]) and np.array_equal(second["x"], SCORES[2:4])
    assert first["rate"] == 16_000


def test_too_few_samples_are_repeated() -> None:
    (only,) = task(7).inputs(3)
    assert np.array_equal(only["x"], SCORES[[0, 1, 2, 3, 4, 0, 1]])


@pytest.mark.parametrize("size", [1, 2, 3])
def test_accuracy_is_that_of_single_samples(size: int) -> None:
    def run(feeds: Feeds) -> list[np.ndarray]:
        assert feeds["x"].shape == (size, 5)
        return [feeds["x"]]

    found = task(size).evaluate(run, ignore)
    assert (found.value, found.samples) == (0.8, 5)
    assert task(size).evaluate(run, ignore, skip=1).samples == 5 - size


def test_inputs_without_a_batch_axis_must_not_differ() -> None:
    one, other = {"x": SCORES[:1], "rate": np.int64(1)}, {"x": SCORES[:1], "rate": np.int64(2)}
    with pytest.raises(InputError, match="input 'rate' has no batch axis and differs"):
        Batching(2, frozenset({"x"})).joined([one, other])


def test_training_inputs_are_whole_batches() -> None:
    found = batched(TrainingInputs(5, sample, "mark"), Batching(2, frozenset({"x"})))
    assert found.count == 2 and found.fingerprint == "mark"
    assert np.array_equal(found.inputs()[1]["x"], SCORES[2:4])


def test_examples_are_from_all_over_the_data() -> None:
    samples = Samples(METRICS["top1"], LABELS, sample)
    ends = [feeds["x"] for feeds in samples.examples(2)]
    assert np.array_equal(np.concatenate(ends), SCORES[[0, 4]])
    assert [len(samples.examples(count)) for count in (1, 3, 9)] == [1, 3, 5]
    (first,) = task(3).examples(1)
    assert np.array_equal(first["x"], SCORES[[0, 2, 4]])
